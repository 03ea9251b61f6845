//! What must hold of every run, judged from outside: from the wire, the servers' logs and the
//! calls of the application, never from the machine's own word alone.
//!
//! The world tells what it sees as it happens; the observers file it and judge it at once. Each
//! look costs the same however long the run is. What can only be known in the end is judged in
//! the end.

use std::collections::BTreeMap;

use rocketmq_core::{Config, Event, Instant, OpId, TableSizes};

use super::{Habits, Outcome, Relaxed, SendRecord, WireAnswer, WireFrame, model};
use crate::cluster::{Cluster, Node};
use crate::network::nanos;

mod attempts;
mod avoidance;
mod choice;
mod connections;
mod delivery;
mod facts;
mod invariant;
mod manners;
mod memory;
mod once;
mod order;
mod routes;
mod secrecy;
#[cfg(test)]
mod tests;
mod timing;

pub(crate) use attempts::{is_denial, is_final, is_refusal, share};
pub(crate) use delivery::stems_from;
pub(crate) use facts::{AnswerFacts, End, Facts, FrameFacts, Moment, SendFacts, Start};
pub(crate) use invariant::Found;
pub use invariant::{Invariant, Status, Violation};
pub(crate) use secrecy::SECRET;

/// Something that happened at the border between the machines and the rest of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    /// There is another client.
    Client { config: &'a Config },
    /// The application cancels a send.
    Cancelled { send: usize },
    /// The application closes a client; sends may go on until then.
    Shut { client: usize, until_ns: u64 },
    /// A client dials.
    Dialled { link: u64, client: usize, address: &'a str, node: Option<Node> },
    /// A dial succeeded.
    Connected { link: u64 },
    /// A client is about to close a connection of its own accord. `excused`: there is no way to
    /// say a word on it.
    Leaves { link: u64, excused: bool },
    /// The client's end of a connection is gone.
    Gone { link: u64 },
    /// A client's request went into a socket, whole or as far as its connection lasted.
    Frame { frame: &'a WireFrame },
    /// A frame was begun and never finished, too short to tell what it was.
    Fragment { link: u64, begun: Moment },
    /// A client received an answer, to the given frame if to any on this connection.
    Answer { link: u64, frame: Option<&'a WireFrame>, answer: &'a WireAnswer },
    /// A client received bytes that begin or end a frame. `whole`: one ended; `partial`: one has
    /// begun.
    Read { link: u64, whole: bool, partial: bool },
    /// A client reported something.
    Event { client: usize, event: &'a Event },
    /// A send ended.
    Ended { client: usize, op: OpId, outcome: &'a Outcome },
    /// A client forgets a group.
    Ungrouped,
    /// A client is closed.
    Closed { client: usize },
    /// A client's clock is set wrong.
    WrongClock { client: usize },
    /// A client offers so many bytes to a socket.
    Offered { client: usize, bytes: usize },
    /// A client was drained and rests.
    Rest { client: usize, tables: &'a TableSizes, next: Option<Instant>, links: usize },
}

/// What brokers hold.
pub(crate) trait Logs {
    /// Whether the message is there, at this queue and offset if they are given.
    fn holds(&self, broker: &str, topic: &str, key: &str, position: Option<(u32, u64)>) -> bool;

    /// Copies by unique key, over all brokers.
    fn copies(&self) -> BTreeMap<String, usize>;
}

impl Logs for Cluster {
    fn holds(&self, broker: &str, topic: &str, key: &str, position: Option<(u32, u64)>) -> bool {
        self.holds(broker, topic, key, position)
    }

    fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        for stored in self.stored_all() {
            let key = stored.unique_key.as_deref().unwrap_or_default();
            match copies.get_mut(key) {
                Some(count) => *count += 1,
                None => drop(copies.insert(key.to_owned(), 1)),
            }
        }
        copies
    }
}

/// One observer.
trait Observer {
    /// Judges what was just seen, and filed in `facts` already.
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found);

    /// Judges a run so far. `over`: every client is closed and everything has arrived.
    fn finish(&mut self, _facts: &Facts, _over: bool, _found: &mut Found) {}
}

/// What must hold although no byte can be trusted.
const JUDGED_BLINDLY: [Invariant; 8] = [
    Invariant::number(2),
    Invariant::number(3),
    Invariant::number(4),
    Invariant::number(14),
    Invariant::number(16),
    Invariant::number(22),
    Invariant::number(24),
    Invariant::number(29),
];

/// Those who need nothing but the facts.
#[derive(Debug, Default)]
struct Observers {
    attempts: attempts::Attempts,
    connections: connections::Connections,
    manners: manners::Manners,
    memory: memory::Memory,
    once: once::Once,
    order: order::Order,
    routes: routes::Routes,
    secrecy: secrecy::Secrecy,
    timing: timing::Timing,
}

impl Observers {
    fn all(&mut self) -> [&mut dyn Observer; 9] {
        [
            &mut self.once,
            &mut self.attempts,
            &mut self.routes,
            &mut self.connections,
            &mut self.order,
            &mut self.timing,
            &mut self.manners,
            &mut self.memory,
            &mut self.secrecy,
        ]
    }
}

/// All observers of a world.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) facts: Facts,
    observers: Observers,
    /// These two ask the routes of the others.
    avoidance: avoidance::Avoidance,
    choice: choice::Choice,
    /// Sends that ended while a frame was half written: what it was is not known yet.
    unjudged: Vec<usize>,
    found: Found,
}

impl Checks {
    /// How the loop around the machines behaves.
    pub(crate) fn behave(&mut self, habits: &Habits) {
        let facts = &mut self.facts;
        facts.late = nanos(habits.late_timers);
        facts.lazy = habits.lazy > 0;
        // Noise that comes before a late timer makes it pass with an older time.
        facts.vague = facts.lazy || (habits.noise > 0 && facts.late > 0);
    }

    /// What a test lets the cluster do.
    pub(crate) fn relax(&mut self, relaxed: Relaxed) {
        self.facts.relaxed = relaxed;
    }

    /// A line of the story.
    pub(crate) fn line(&mut self, text: &str) {
        secrecy::line(text, &mut self.found);
    }

    /// The time `now`, after everything that was seen so far.
    pub(crate) fn moment(&self, now: u64) -> Moment {
        Moment { ns: now, seq: self.facts.now.seq }
    }

    fn advance(&mut self, now: u64) {
        self.facts.now = Moment { ns: now, seq: self.facts.now.seq + 1 };
    }

    /// The application sends.
    pub(crate) fn called(&mut self, now: u64, record: &SendRecord) {
        self.advance(now);
        let (client, body) = (record.spec.client, &record.spec.body);
        if !self.facts.call(record, client, body) {
            self.found.add(28, format!("two messages share the unique key {}", record.unique_key));
        }
        self.observers.once.called(&self.facts);
        self.observers.manners.called(record);
    }

    /// Something happened.
    pub(crate) fn see(&mut self, now: u64, seen: Seen<'_>) {
        self.advance(now);
        self.facts.file(&seen);
        let (facts, found) = (&self.facts, &mut self.found);
        for observer in self.observers.all() {
            observer.see(facts, &seen, found);
        }
        let routes = &self.observers.routes;
        self.choice.see(facts, routes, &seen, found);
        self.avoidance.see(facts, routes, &seen, found);
    }

    /// A send has ended: legally, and if as stored, is it? `unfinished`: a frame of its client is
    /// half written.
    pub(crate) fn ended(&mut self, send: usize, unfinished: bool, logs: &dyn Logs) {
        delivery::receipt_holds(&self.facts, send, logs, &mut self.found);
        if unfinished {
            self.unjudged.push(send);
        } else {
            model::judge(&self.facts, send, &mut self.found);
        }
    }

    /// Everything that the machines had to say was taken from them.
    pub(crate) fn settled(&mut self) {
        self.facts.settled = self.facts.now;
    }

    /// While all is well the first brokers are greeted in time.
    pub(crate) fn greets(&mut self, now: u64, client: usize, cluster: &Cluster, brokers: usize) {
        self.advance(now);
        connections::greets(&self.facts, cluster, client, brokers, &mut self.found);
    }

    /// Reports what an observer saw outside of this module.
    pub(crate) fn violation(&mut self, violation: Violation) {
        self.found.0.push(violation);
    }

    /// What was found since the last call.
    pub(crate) fn take(&mut self) -> Vec<Violation> {
        let mut found = std::mem::take(&mut self.found.0);
        if self.facts.relaxed.corruption {
            // A flipped bit can forge anything: what is said about messages cannot be judged.
            found.retain(|it| JUDGED_BLINDLY.contains(&it.invariant));
        }
        if self.facts.relaxed.replays {
            found.retain(|it| it.invariant != Invariant::number(6));
        }
        found
    }

    /// Judges the run so far. `over`: every client is closed and everything has arrived.
    pub(crate) fn finish(&mut self, over: bool, logs: &dyn Logs) {
        let (facts, found) = (&self.facts, &mut self.found);
        for observer in self.observers.all() {
            observer.finish(facts, over, found);
        }
        delivery::finish(facts, over, logs, found);
        if over {
            let unjudged = std::mem::take(&mut self.unjudged);
            unjudged.into_iter().for_each(|send| model::judge(facts, send, found));
        }
    }
}
