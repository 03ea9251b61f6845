//! The model, row by row: what a broker does, and which ends are legal then.

use std::time::Duration;

use super::judge;
use crate::cluster::{ClusterConfig, Fault, Node, Rule};
use crate::world::check::{Facts, Found};
use crate::world::{Outcome, SendSpec, World};

const BROKER: Node = Node::Broker(0);

/// What happens to the only attempt of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Stored,
    Weak,
    NoReceipt,
    /// Refused with this code.
    Refused(i32),
    /// Answered with a code that leaves it open.
    Unclear(i32),
    Denied,
    Silent,
    Lost,
    Unreachable,
    Oneway,
    Cancelled,
}

const ROWS: [Row; 27] = [
    Row::Stored,
    Row::Weak,
    Row::NoReceipt,
    Row::Refused(2),
    Row::Refused(3),
    Row::Refused(13),
    Row::Refused(14),
    Row::Refused(15),
    Row::Refused(16),
    Row::Refused(17),
    Row::Refused(26),
    Row::Refused(29),
    Row::Refused(204),
    Row::Refused(205),
    Row::Refused(215),
    Row::Refused(501),
    Row::Refused(1500),
    Row::Unclear(1),
    Row::Unclear(777),
    Row::Unclear(-7),
    Row::Denied,
    Row::Silent,
    Row::Lost,
    Row::Unreachable,
    Row::Oneway,
    Row::Cancelled,
    Row::Unclear(100),
];

impl Row {
    fn fault(self) -> Option<Fault> {
        match self {
            Row::Weak => Some(Fault::weak_acknowledgement(11)),
            Row::NoReceipt => Some(Fault::without_receipt()),
            Row::Refused(code) | Row::Unclear(code) => Some(Fault::answer(code, "no")),
            Row::Denied => Some(Fault::answer(16, "check signature failed")),
            Row::Silent => Some(Fault::silent()),
            Row::Lost => Some(Fault::reset()),
            _ => None,
        }
    }

    /// One send with one attempt to the only queue, and what was seen of it.
    fn world(self) -> World {
        let cluster = ClusterConfig::new().brokers(1).topic("Orders", 1);
        let config = World::config(1).retries_max(0).build().expect("legal");
        let mut world = World::new(1, cluster, config);
        if let Some(fault) = self.fault() {
            world.with(|cluster| cluster.script(BROKER, Rule::sends().always(), fault));
        }
        if self == Row::Unreachable {
            world.with(|cluster| cluster.kill(BROKER));
        }
        let spec = SendSpec::new("Orders", "an order").timeout(Duration::from_secs(1));
        let spec = if self == Row::Oneway { spec.oneway() } else { spec };
        let id = world.submit(spec);
        if self == Row::Cancelled {
            world.cancel(id);
        }
        world.run_for(Duration::from_secs(2));
        assert!(world.outcome(id).is_some(), "{self:?}");
        world
    }
}

fn verdict(facts: &Facts) -> Found {
    let mut found = Found::default();
    judge(facts, 0, &mut found);
    found
}

fn outcome(world: &World) -> Outcome {
    world.checks.facts.sends[0].end.as_ref().expect("it has ended").outcome.clone()
}

/// Each row ends as the client ended it, and no row may end like another.
#[test]
fn every_row_has_its_own_end() {
    let worlds: Vec<(Row, World)> = ROWS.iter().map(|row| (*row, row.world())).collect();
    let ends: Vec<_> = worlds.iter().map(|(row, world)| (*row, outcome(world))).collect();
    for (row, mut world) in worlds {
        for (other, end) in &ends {
            let facts = &mut world.checks.facts;
            facts.sends[0].end.as_mut().expect("it has ended").outcome = end.clone();
            let found = verdict(facts).0;
            if row == *other {
                assert_eq!(found, [], "{row:?}");
            } else {
                assert!(!found.is_empty(), "{row:?} may not end like {other:?}: {end:?}");
            }
        }
    }
}

/// The same end a little too early, or without what it tells of.
#[test]
fn an_end_needs_its_reason() {
    // A time-out before the time is over.
    let mut world = Row::Silent.world();
    let send = &mut world.checks.facts.sends[0];
    let end = send.end.as_mut().expect("it has ended");
    (end.at.ns, end.after.ns) = (end.at.ns - 500_000_000, end.after.ns.saturating_sub(500_000_000));
    assert_ne!(verdict(&world.checks.facts).0, []);
    // A cancelled send that nobody cancelled.
    let mut world = Row::Cancelled.world();
    world.checks.facts.sends[0].cancelled = None;
    assert_ne!(verdict(&world.checks.facts).0, []);
    // A receipt that is another's.
    let mut world = Row::Stored.world();
    let frame = &mut world.checks.facts.sends[0].frames[0];
    frame.answer.as_mut().expect("answered").position = Some((0, 99));
    assert_ne!(verdict(&world.checks.facts).0, []);
    // A oneway message whose last byte was never written.
    let mut world = Row::Oneway.world();
    world.checks.facts.sends[0].frames[0].whole = None;
    assert_ne!(verdict(&world.checks.facts).0, []);
    // A refusal after which there were attempts and time left.
    let mut world = Row::Refused(14).world();
    world.checks.facts.sends[0].attempts_max = 3;
    assert_ne!(verdict(&world.checks.facts).0, []);
    // The same with a final refusal is right.
    let mut world = Row::Refused(13).world();
    world.checks.facts.sends[0].attempts_max = 3;
    assert_eq!(verdict(&world.checks.facts).0, []);
}

/// What a lazy loop cannot have known is not held against the client.
#[test]
fn an_answer_after_the_decision_is_no_answer() {
    let mut world = Row::Silent.world();
    let mut stored = Row::Stored.world();
    let answer = stored.checks.facts.sends[0].frames[0].answer.take().expect("answered");
    let send = &mut world.checks.facts.sends[0];
    let end = send.end.clone().expect("it has ended");
    let mut late = answer.clone();
    late.at = end.at;
    send.frames[0].answer = Some(late);
    assert_eq!(verdict(&world.checks.facts).0, [], "it may have come after the decision");
    let send = &mut world.checks.facts.sends[0];
    let mut early = answer;
    early.at = end.after;
    send.frames[0].answer = Some(early);
    assert_ne!(verdict(&world.checks.facts).0, [], "it was there before");
}
