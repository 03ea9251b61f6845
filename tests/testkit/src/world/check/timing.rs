//! I-03: sends end in time. I-16: deadlines are few and do not stay in the past.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::Facts;
use super::{Found, Observer, Seen};

const MS: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Timing {
    /// Open sends by the time at which they must have ended, client by client.
    due: Vec<BTreeSet<(u64, usize)>>,
    filed: usize,
}

/// By how much a send may be late, whatever its client does.
fn allowed(facts: &Facts, client: usize) -> u64 {
    let wrong = facts.clients.get(client).is_some_and(|client| client.wrong_clock);
    facts.slack() + if wrong { MS } else { 0 }
}

impl Observer for Timing {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Client { .. } => self.due.push(BTreeSet::new()),
            Seen::Ended { client, op, .. } => {
                self.take_in(facts);
                let Some(send) = facts.by_op(*client, *op) else { return };
                let known = &facts.sends[send];
                if let Some(due) = self.due.get_mut(*client) {
                    due.remove(&(known.deadline_ns, send));
                }
                let late = facts.now.ns.saturating_sub(known.deadline_ns);
                if late > allowed(facts, *client) {
                    let late = Duration::from_nanos(late);
                    found.add(3, format!("send #{send} ended {late:?} after its deadline"));
                }
            }
            Seen::Rest { client, tables, .. } => {
                self.take_in(facts);
                if let Some((due, send)) = self.due.get(*client).and_then(BTreeSet::first)
                    && facts.now.ns > due.saturating_add(allowed(facts, *client))
                    && !facts.clients[*client].wrong_clock
                {
                    found.add(3, format!("send #{send} is still open after its deadline"));
                }
                let bound = tables.operations
                    + tables.requests
                    + tables.connections * 3
                    + tables.addresses
                    + tables.topics
                    + 8;
                if tables.timers > bound {
                    let text = format!("{} timers, more than {bound}: {tables:?}", tables.timers);
                    found.add(16, text);
                }
            }
            _ => {}
        }
    }
}

impl Timing {
    fn take_in(&mut self, facts: &Facts) {
        for (send, known) in facts.sends.iter().enumerate().skip(self.filed) {
            if let Some(due) = self.due.get_mut(known.client) {
                due.insert((known.deadline_ns, send));
            }
        }
        self.filed = facts.sends.len();
    }
}
