//! Runs that differ in one thing, and must not differ in what they come to.
//!
//! A run cannot show that something has no effect; two runs can. Both twins are told the same
//! story, which follows from the seed; one of them is cut into other pieces, has another wall
//! clock, or has a broken broker.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cluster::{ClusterConfig, Fault, Node, Rule};
use crate::network::{LinkProfile, Random, Segmentation};

use super::{Outcome, SendSpec, Violation, WireFrame, World};

const TOPIC: &str = "Orders";
const BROKERS: u64 = 3;

/// What is sent and what breaks, drawn from a seed.
struct Story {
    seed: u64,
    segmentation: Segmentation,
    /// Where the wall clock jumps to, and after how many sends.
    wall: Option<(i64, usize)>,
    sends: usize,
    faults: bool,
    /// From when on the last broker gives no answer, if it does.
    broken: Option<usize>,
}

impl Story {
    fn new(seed: u64) -> Story {
        let segmentation = Segmentation::Whole;
        Story { seed, segmentation, wall: None, sends: 80, faults: true, broken: None }
    }

    fn world(&self) -> World {
        let mut draw = Random::new(self.seed).fork(0x2b);
        let cluster = ClusterConfig::new().brokers(BROKERS as usize).topic(TOPIC, 4);
        let config = World::config(1).build().expect("the settings are legal");
        let mut world = World::new(self.seed, cluster, config);
        let profile = LinkProfile { segmentation: self.segmentation, ..LinkProfile::default() };
        world.set_profile(profile);
        if self.faults {
            let codes = [1, 2, 14, 16, 17, 215, 501, 1500];
            for _ in 0..draw.between(2, 6) {
                let broker = Node::Broker(draw.below(BROKERS) as usize);
                let rule = Rule::sends().after(draw.below(20)).times(draw.between(1, 4));
                let fault = match draw.below(4) {
                    0 => Fault::delay(Duration::from_millis(draw.below(2_000))),
                    1 => Fault::silent_after_storing(),
                    2 => Fault::reset(),
                    _ => Fault::answer(codes[draw.below(8) as usize], "no"),
                };
                world.with(|cluster| cluster.script(broker, rule, fault));
            }
        }
        world
    }

    /// Tells the story to the end.
    fn run(&self) -> World {
        let mut world = self.world();
        let mut draw = Random::new(self.seed).fork(0x2c);
        for number in 0..self.sends {
            if self.wall.is_some_and(|(_, after)| after == number)
                && let Some((to, _)) = self.wall
            {
                world.jump_wall(to);
            }
            if self.broken == Some(number) {
                let last = Node::Broker(BROKERS as usize - 1);
                world.with(|cluster| cluster.script(last, Rule::any().always(), Fault::silent()));
            }
            let body = "x".repeat(draw.between(1, 6_000) as usize);
            let spec = SendSpec::new(TOPIC, body);
            let spec = match draw.below(8) {
                0 => spec.oneway(),
                1 => spec.to("broker-b", draw.below(4) as u32),
                _ => spec,
            };
            world.submit(spec);
            world.run_for(Duration::from_millis(draw.below(60)));
        }
        world.run_for(Duration::from_secs(20));
        world.finish();
        world
    }
}

/// I-27: the same bytes in other pieces are the same frames and come to the same ends.
///
/// # Errors
/// Where the twins differ.
///
/// # Panics
/// If one of them breaks another promise.
pub fn segmentation(seed: u64) -> Result<(), Violation> {
    let whole = Story::new(seed).run();
    let most = Random::new(seed).fork(0x2d).between(2, 400) as usize;
    for segmentation in [Segmentation::Bytes, Segmentation::Random(most)] {
        let cut = Story { segmentation, ..Story::new(seed) }.run();
        compare(27, &whole, &cut, true)?;
    }
    Ok(())
}

/// I-28: a wall clock that jumps changes nothing but time stamps and ids.
///
/// # Errors
/// Where the twins differ.
///
/// # Panics
/// If one of them breaks another promise.
pub fn wall_clock(seed: u64) -> Result<(), Violation> {
    let steady = Story::new(seed).run();
    let mut draw = Random::new(seed).fork(0x2e);
    let hour = 3_600_000;
    let now = 1_700_000_000_000;
    for to in [0, now - hour, now + hour, 2_147_483_648_000, 4_294_967_296_000] {
        let wall = Some((to, draw.below(60) as usize));
        let jumping = Story { wall, ..Story::new(seed) }.run();
        compare(28, &steady, &jumping, false)?;
    }
    Ok(())
}

/// I-25: sends to healthy brokers take as long as without a fault elsewhere, up to a tenth.
///
/// # Errors
/// If the slowest but one in a thousand takes longer.
///
/// # Panics
/// If one of the twins breaks another promise.
pub fn isolation(seed: u64) -> Result<(), Violation> {
    let healthy = Story { faults: false, sends: 300, ..Story::new(seed) };
    let broken = Story { broken: Some(40), faults: false, sends: 300, ..Story::new(seed) };
    let (healthy, broken) = (latency(&healthy.run()), latency(&broken.run()));
    if broken * 10 > healthy * 11 {
        let (healthy, broken) = (Duration::from_nanos(healthy), Duration::from_nanos(broken));
        let text = format!("seed {seed}: {broken:?} with a fault elsewhere, {healthy:?} without");
        return Err(Violation::new(25, text));
    }
    Ok(())
}

/// The slowest send but one in a thousand, of those whose attempts all went to healthy brokers.
fn latency(world: &World) -> u64 {
    let healthy = |frame: &&WireFrame| frame.node != Node::Broker(BROKERS as usize - 1);
    let mut latencies: Vec<u64> = Vec::new();
    for (index, record) in world.records().iter().enumerate() {
        let frames = world.frames_of(super::SendId(index));
        if !frames.is_empty() && frames.iter().all(healthy) {
            latencies.extend(record.ended_ns.map(|ended| ended - record.started_ns));
        }
    }
    latencies.sort_unstable();
    let rank = (latencies.len() * 999).div_ceil(1_000).max(1) - 1;
    latencies.get(rank).copied().unwrap_or(0)
}

/// Compares what twins came to. `exactly`: down to every byte that they wrote.
fn compare(number: u8, one: &World, other: &World, exactly: bool) -> Result<(), Violation> {
    let seed = one.seed();
    let pairs = one.records().iter().zip(other.records());
    for (index, (left, right)) in pairs.enumerate() {
        let end = |outcome: &Option<Outcome>| outcome.as_ref().map_or(String::new(), end_of);
        let (left, right) = (end(&left.outcome), end(&right.outcome));
        if left != right {
            let text = format!("seed {seed}: send #{index} ended as {left}, its twin as {right}");
            return Err(Violation::new(number, text));
        }
    }
    let (left, right) = (frames_of(one, exactly), frames_of(other, exactly));
    if left != right {
        let count = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        let text = format!("seed {seed}: frame {count} of {} differs", left.len());
        return Err(Violation::new(number, text));
    }
    Ok(())
}

/// An end without times and keys.
fn end_of(outcome: &Outcome) -> String {
    let mut text = match outcome {
        Outcome::Stored(r) => format!("{:?} {} {:?}", r.status, r.broker_name, r.position),
        Outcome::Sent(r) => format!("sent {} {}", r.broker_name, r.queue_id),
        Outcome::Failed(error) => format!("{:?} {:?}", error.kind(), error.delivery()),
        Outcome::Rejected(kind) => format!("{kind:?}"),
    };
    for attempt in outcome.failed_attempts() {
        let (broker, queue) = (&attempt.broker_name, attempt.queue_id);
        let _ = write!(text, "; {broker} {queue} {} {}", attempt.stage, attempt.failure);
    }
    text
}

/// The frames, connection by connection, in the order of each.
fn frames_of(world: &World, exactly: bool) -> Vec<String> {
    let mut frames: Vec<_> = world.frames().iter().collect();
    frames.sort_by_key(|frame| (frame.link, frame.command.opaque));
    let line = |frame: &&WireFrame| {
        let command = &frame.command;
        let mut ext = command.ext.clone();
        if !exactly {
            // Time stamps, and properties with the unique key.
            ["g", "bornTimestamp", "i", "properties"]
                .iter()
                .for_each(|name| drop(ext.remove(name)));
        }
        let what = (frame.link, frame.node, command.code, command.opaque, command.flag);
        format!("{what:?} {ext:?} {}", command.body.len())
    };
    frames.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_come_to_the_same() {
        for seed in 1..=3 {
            assert_eq!(segmentation(seed), Ok(()));
            assert_eq!(wall_clock(seed), Ok(()));
            assert_eq!(isolation(seed), Ok(()));
        }
    }

    #[test]
    fn runs_that_are_no_twins_are_told_apart() {
        let one = Story::new(1).run();
        let other = Story::new(2).run();
        assert!(compare(27, &one, &other, false).is_err());
        // The same story at another time of the day is another one to the byte only.
        let later = Story { wall: Some((0, 3)), ..Story::new(1) }.run();
        assert_eq!(compare(28, &one, &later, false), Ok(()));
        assert!(compare(28, &one, &later, true).is_err());
    }

    #[test]
    fn a_fault_that_slows_all_down_is_seen() {
        let healthy = Story { faults: false, ..Story::new(1) }.run();
        let slow = Story { faults: false, ..Story::new(1) };
        let mut world = slow.world();
        world
            .set_profile(LinkProfile { delay: Duration::from_millis(2), ..LinkProfile::default() });
        for _ in 0..50 {
            world.send(TOPIC, "slow");
            world.run_for(Duration::from_millis(20));
        }
        assert!(latency(&world) * 10 > latency(&healthy) * 11);
    }
}
