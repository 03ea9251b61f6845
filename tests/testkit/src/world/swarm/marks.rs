//! What a run reached, so that a swarm that reaches too little can be told from one that is fine.

use std::collections::BTreeMap;

use rocketmq_core::{Event, Mode};

use crate::world::{Outcome, World};

/// What happened in a run, and how often.
pub(super) fn of(world: &World) -> BTreeMap<String, u64> {
    let mut marks = Marks(BTreeMap::new());
    for fault in world.faults() {
        marks.add(format!("fault {}", fault.name));
    }
    for reason in &world.timeouts {
        *marks.0.entry(format!("timeout {:?}", reason.0)).or_default() += reason.1;
    }
    marks.sends(world);
    for client in 0..world.clients.len() {
        world.events(client).iter().for_each(|(_, event)| marks.event(event));
    }
    marks.0
}

struct Marks(BTreeMap<String, u64>);

impl Marks {
    fn add(&mut self, name: String) {
        *self.0.entry(name).or_default() += 1;
    }

    fn sends(&mut self, world: &World) {
        for record in world.records() {
            if record.cancelled_ns.is_some() {
                self.add("cancelled".into());
            }
            match &record.outcome {
                Some(Outcome::Stored(receipt)) => {
                    self.add(format!("stored {:?}", receipt.status));
                    self.add(format!("stored after {} failed", receipt.failed_attempts.len()));
                    if receipt.position.is_none() {
                        self.add("stored without receipt".into());
                    }
                }
                Some(Outcome::Sent(_)) => self.add("sent oneway".into()),
                Some(Outcome::Failed(error)) => {
                    let kind = word(&error.kind());
                    self.add(format!("failed {kind} {:?}", error.delivery()));
                    if record.spec.mode == Mode::Oneway {
                        self.add("failed oneway".into());
                    }
                }
                Some(Outcome::Rejected(kind)) => self.add(format!("rejected {}", word(kind))),
                None => {}
            }
            let outcome = record.outcome.as_ref();
            for attempt in outcome.map(Outcome::failed_attempts).unwrap_or_default() {
                self.add(format!("attempt {:?} {:?}", attempt.stage, attempt.delivery));
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Disconnected { reason, .. } => {
                self.add(format!("disconnected {}", word(reason)));
            }
            Event::ConnectFailed { failure, .. } => self.add(format!("dial {failure:?}")),
            Event::LateAnswer { op, .. } => self.add(format!("late answer {}", op.is_some())),
            Event::RouteFailed { .. } => self.add("route failed".into()),
            Event::RequestRefused { .. } => self.add("request refused".into()),
            Event::HeartbeatFailed { .. } => self.add("heartbeat failed".into()),
            other => self.add(format!("event {}", word(other))),
        }
    }
}

/// The name of a variant.
fn word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
