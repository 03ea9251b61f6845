//! What a run reached, so that a swarm that reaches too little can be told from one that is fine.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use rocketmq_core::{Event, Mode, Selection};

use crate::world::{Outcome, World};

/// What happened in a run, and how often.
pub(super) fn of(world: &World) -> BTreeMap<String, u64> {
    let mut marks = Marks::default();
    for fault in world.faults() {
        marks.add(format_args!("fault {}", fault.name));
    }
    for reason in &world.timeouts {
        marks.add_many(format_args!("timeout {:?}", reason.0), reason.1);
    }
    marks.sends(world);
    for client in 0..world.clients.len() {
        world.events(client).iter().for_each(|(_, event)| marks.event(event));
    }
    marks.counts
}

#[derive(Default)]
struct Marks {
    counts: BTreeMap<String, u64>,
    name: String,
}

impl Marks {
    fn add(&mut self, name: fmt::Arguments<'_>) {
        self.add_many(name, 1);
    }

    fn add_many(&mut self, name: fmt::Arguments<'_>, many: u64) {
        self.name.clear();
        // Writing to memory does not fail.
        let _ = self.name.write_fmt(name);
        match self.counts.get_mut(&self.name) {
            Some(count) => *count += many,
            None => _ = self.counts.insert(self.name.clone(), many),
        }
    }

    fn sends(&mut self, world: &World) {
        for record in world.records() {
            if record.cancelled_ns.is_some() {
                self.add(format_args!("cancelled"));
            }
            match &record.outcome {
                Some(Outcome::Stored(receipt)) => {
                    self.add(format_args!("stored {:?}", receipt.status));
                    self.add(format_args!("stored after {} failed", receipt.failed_attempts.len()));
                    if record.spec.selection != Selection::Any {
                        self.add(format_args!("stored by {}", word(&record.spec.selection)));
                    }
                    if record.spec.order.is_some() {
                        self.add(format_args!("stored in order"));
                    }
                    if receipt.position.is_none() {
                        self.add(format_args!("stored without receipt"));
                    }
                }
                Some(Outcome::Sent(_)) => self.add(format_args!("sent oneway")),
                Some(Outcome::Failed(error)) => {
                    let kind = word(&error.kind());
                    self.add(format_args!("failed {kind} {:?}", error.delivery()));
                    if record.spec.mode == Mode::Oneway {
                        self.add(format_args!("failed oneway"));
                    }
                }
                Some(Outcome::Rejected(kind)) => self.add(format_args!("rejected {}", word(kind))),
                None => {}
            }
            let outcome = record.outcome.as_ref();
            for attempt in outcome.map(Outcome::failed_attempts).unwrap_or_default() {
                self.add(format_args!("attempt {:?} {:?}", attempt.stage, attempt.delivery));
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Disconnected { reason, .. } => {
                self.add(format_args!("disconnected {}", word(reason)));
            }
            Event::ConnectFailed { failure, .. } => self.add(format_args!("dial {failure:?}")),
            Event::LateAnswer { op, .. } => self.add(format_args!("late answer {}", op.is_some())),
            Event::RouteFailed { .. } => self.add(format_args!("route failed")),
            Event::RequestRefused { .. } => self.add(format_args!("request refused")),
            Event::HeartbeatFailed { .. } => self.add(format_args!("heartbeat failed")),
            other => self.add(format_args!("event {}", word(other))),
        }
    }
}

/// The name of a variant.
fn word(value: &impl fmt::Debug) -> String {
    let mut word = Word(String::new());
    // The error is how the rest is kept from being written.
    let _ = write!(word, "{value:?}");
    word.0
}

/// Takes the first word, and no more.
struct Word(String);

impl fmt::Write for Word {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find([' ', '(', '{']);
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}
