//! I-11: on one connection, messages for one given queue go out in the order of the calls; and of
//! those with one order key one is under way at a time, so that what is acknowledged is in the
//! order of the calls.

use std::collections::BTreeMap;

use rocketmq_core::OrderKey;

use super::attempts::is_refusal;
use super::facts::{Facts, SendFacts};
use super::{Found, Observer, Seen};
use crate::world::Outcome;

#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last first attempt that went out, by connection, topic and queue.
    last: BTreeMap<u64, BTreeMap<(String, i32), usize>>,
    /// Sends that keep an order and may still be open, in the order of the calls.
    lanes: BTreeMap<Lane, Vec<usize>>,
    /// Sends that were looked through for `lanes`.
    filed: usize,
}

/// Client, topic and key.
type Lane = (usize, String, OrderKey);

fn lane(known: &SendFacts) -> Option<Lane> {
    Some((known.client, known.topic.clone(), known.order?))
}

impl Order {
    fn file(&mut self, facts: &Facts) {
        for (send, known) in facts.sends.iter().enumerate().skip(self.filed) {
            if let Some(lane) = lane(known) {
                self.lanes.entry(lane).or_default().push(send);
            }
        }
        self.filed = facts.sends.len();
    }

    /// The send begins a frame: those before it have ended, and so has its own last attempt.
    fn one_at_a_time(&mut self, facts: &Facts, send: usize, found: &mut Found) {
        let Some(lane) = lane(&facts.sends[send]) else { return };
        self.file(facts);
        let before = self.lanes.entry(lane).or_default();
        before.retain(|other| facts.sends[*other].end.is_none() || *other >= send);
        if let Some(other) = before.iter().find(|other| **other < send) {
            found.add(11, format!("send #{send} went out while #{other} was open before it"));
        }
        let frames = facts.sends[send].frames.split_last();
        for frame in frames.into_iter().flat_map(|(_, earlier)| earlier) {
            let refused = frame.answer.as_ref().is_some_and(is_refusal);
            if frame.whole.is_some() && !refused && !facts.relaxed.lies {
                found.add(11, format!("send #{send} was repeated though it may be stored"));
            }
        }
    }
}

impl Observer for Order {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Frame { frame } => {
                let Some(send) = facts.send_of(frame) else { return };
                self.one_at_a_time(facts, send, found);
                let known = &facts.sends[send];
                // Whoever was tried before may come late.
                if known.queue.is_none() || known.starts.len() != 1 {
                    return;
                }
                let queues = self.last.entry(frame.link).or_default();
                let last = queues.insert((known.topic.clone(), frame.queue_id()), send);
                if let Some(last) = last.filter(|last| *last > send) {
                    let text = format!(
                        "send #{send} went out after send #{last}, to the same queue on the same \
                         connection"
                    );
                    found.add(11, text);
                }
            }
            Seen::Gone { link } => drop(self.last.remove(link)),
            _ => {}
        }
    }

    /// What was acknowledged with one key is, in each queue, in the order of the calls.
    fn finish(&mut self, facts: &Facts, _over: bool, found: &mut Found) {
        if facts.relaxed.lies || facts.relaxed.loss {
            return;
        }
        let mut last: BTreeMap<(Lane, String, u32), (usize, u64)> = BTreeMap::new();
        for (send, known) in facts.sends.iter().enumerate() {
            let Some(lane) = lane(known) else { continue };
            let Some(Outcome::Stored(receipt)) = known.end.as_ref().map(|end| &end.outcome) else {
                continue;
            };
            let Some(at) = receipt.position else { continue };
            let queue = (lane, receipt.broker_name.to_string(), at.queue_id);
            let before = last.insert(queue, (send, at.queue_offset));
            if let Some((other, offset)) = before.filter(|(_, offset)| *offset >= at.queue_offset) {
                let own = at.queue_offset;
                found.add(11, format!("send #{send} is at {own}, #{other} before it at {offset}"));
            }
        }
    }
}
