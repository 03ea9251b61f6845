//! I-11: on one connection, messages for one given queue go out in the order of the calls.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Found, Observer, Seen};

#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last first attempt that went out, by connection, topic and queue.
    last: BTreeMap<u64, BTreeMap<(String, i32), usize>>,
}

impl Observer for Order {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Frame { frame } => {
                let Some(send) = facts.send_of(frame) else { return };
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
}
