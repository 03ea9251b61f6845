//! I-14: the tables hold what is open. I-15: what is framed ahead of a socket is bounded.

use super::facts::Facts;
use super::{Found, Observer, Seen};

/// More than any header in the simulation.
const HEADER: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The longest message of all.
    longest: usize,
    filed: usize,
}

impl Observer for Memory {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Rest { client, tables, next, links } => {
                let (held, open) = (tables.operations, facts.clients[*client].open);
                if held != open {
                    found.add(14, format!("{held} operations in the table, {open} sends are open"));
                }
                if facts.clients[*client].closed.is_none() {
                    return;
                }
                let left = tables.operations
                    + tables.connections
                    + tables.addresses
                    + tables.topics
                    + tables.brokers
                    + tables.requests
                    + tables.timers;
                if left > 0 || next.is_some() || *links > 0 {
                    found.add(22, format!("left after the close: {tables:?}, {next:?}"));
                }
            }
            Seen::Offered { client, bytes } => {
                let lengths = facts.sends.iter().skip(self.filed).map(|send| send.body.len());
                self.longest = lengths.fold(self.longest, usize::max);
                self.filed = facts.sends.len();
                // One frame may begin below the bound and end above it.
                let most = facts.clients[*client].config.unsent_bytes_max + self.longest + HEADER;
                if *bytes > most {
                    found.add(15, format!("{bytes} bytes wait for one socket, more than {most}"));
                }
            }
            _ => {}
        }
    }
}
