//! I-02: a send ends once. I-24: while it is open something will end it. I-08, I-12: an answer that
//! settles the matter ends it at once.

use std::collections::BTreeSet;

use rocketmq_core::{Event, Instant};

use super::facts::Facts;
use super::{Found, Observer, Seen, is_final};
use crate::world::WireFrame;

#[derive(Debug, Default)]
pub(super) struct Once {
    /// Deadlines of open sends, client by client.
    open: Vec<BTreeSet<(Instant, usize)>>,
    /// Sends that were answered and did not end yet, with the answer and its connection.
    answered: Vec<(usize, i32, u64)>,
}

impl Once {
    pub(super) fn called(&mut self, facts: &Facts) {
        let send = facts.sends.len() - 1;
        let known = &facts.sends[send];
        if let Some(open) = self.open.get_mut(known.client) {
            open.insert((known.deadline, send));
        }
    }

    fn answered(&mut self, facts: &Facts, link: u64, frame: &WireFrame) {
        let Some(send) = facts.send_of(frame).filter(|_| frame.answer.is_none()) else { return };
        let known = &facts.sends[send];
        let id = (link, frame.command.opaque);
        let Some(filed) = known.frames.iter().find(|it| (it.link, it.opaque) == id) else { return };
        let Some(answer) = &filed.answer else { return };
        let config = &facts.clients[known.client].config;
        let last = known.starts.len().checked_sub(1);
        let current = last.is_some() && known.attempt_of(filed) == last;
        let again = answer.is_weak() && config.retry_weak_acknowledgement;
        let stored = answer.is_stored() && !again;
        let refused = !answer.is_stored() && current && is_final(answer, &config.retry_codes);
        if known.is_open() && !known.is_oneway() && (stored || refused) {
            self.answered.push((send, answer.code, link));
        }
    }

    /// Whoever was answered has ended by now.
    fn at_rest(&mut self, facts: &Facts, client: usize, found: &mut Found) {
        self.answered.retain(|(send, code, link)| {
            let known = &facts.sends[*send];
            let mine = known.client == client;
            let lost = facts.links.get(link).is_none_or(|link| link.gone.is_some());
            if mine && known.is_open() && !lost {
                let number = if *code == 0 { 12 } else { 8 };
                found.add(number, format!("send #{send} was answered {code}, and did not end"));
            }
            !mine
        });
    }
}

impl Observer for Once {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Client { .. } => self.open.push(BTreeSet::new()),
            Seen::Ended { client, op, .. } => {
                let Some(send) = facts.by_op(*client, *op) else {
                    return found.add(2, format!("{op} of client {client} ended, but never began"));
                };
                let known = &facts.sends[send];
                if known.end.as_ref().is_some_and(|end| end.at < facts.now) {
                    found.add(2, format!("send #{send} ended twice"));
                }
                if let Some(open) = self.open.get_mut(*client) {
                    open.remove(&(known.deadline, send));
                }
            }
            Seen::Event { client, event: Event::AttemptFailed { op, .. } } => {
                let send = facts.by_op(*client, *op);
                let Some(send) = send.map(|send| (send, &facts.sends[send])) else { return };
                if send.1.end.as_ref().is_some_and(|end| end.at <= facts.settled) {
                    found.add(2, format!("an attempt of send #{} failed after its end", send.0));
                }
            }
            Seen::Answer { link, frame: Some(frame), .. } if frame.is_send() => {
                self.answered(facts, *link, frame);
            }
            Seen::Rest { client, next, .. } => {
                self.at_rest(facts, *client, found);
                let Some((deadline, send)) = self.open.get(*client).and_then(BTreeSet::first)
                else {
                    return;
                };
                match next {
                    None => found.add(24, format!("send #{send} is open without any timer")),
                    Some(at) if at > deadline && !facts.clients[*client].wrong_clock => {
                        found.add(24, format!("the next timer is after the end of send #{send}"));
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, facts: &Facts, over: bool, found: &mut Found) {
        let open = facts.sends.iter().enumerate().filter(|(_, send)| over && send.is_open());
        open.for_each(|(send, _)| found.add(2, format!("send #{send} never ended")));
    }
}
