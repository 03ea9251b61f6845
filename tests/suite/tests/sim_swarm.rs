//! Hundreds of simulated runs, each with faults, settings and load drawn from its seed.
//!
//! `ROCKETMQ_SIM_SEEDS` sets how many runs there are (300 by default), `ROCKETMQ_SIM_FIRST` the
//! first seed, and `ROCKETMQ_SIM_SEED` replays one seed and prints its whole story.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rocketmq_testkit::world::swarm::{self, Options};
use rocketmq_testkit::world::twins;

/// What a swarm of the usual size reaches, or it has become too tame to find anything.
const EXPECTED: [&str; 27] = [
    "attempt Answered Refused",
    "attempt Answered Unknown",
    "attempt Await Unknown",
    "attempt Connect NotSent",
    "attempt Write NotSent",
    "cancelled",
    "dial NameNotResolved",
    "dial Refused",
    "dial TimedOut",
    "disconnected Drained",
    "disconnected Eof",
    "disconnected Protocol",
    "disconnected Reset",
    "disconnected Silent",
    "failed Broker Refused",
    "failed Cancelled NotSent",
    "failed NameServerUnreachable NotSent",
    "failed Timeout NotSent",
    "failed Timeout Unknown",
    "failed oneway",
    "late answer true",
    "request refused",
    "route failed",
    "sent oneway",
    "stored FlushDiskTimeout",
    "stored after 2 failed",
    "stored without receipt",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Runs a seed; every tenth twice, for both must tell the same story.
fn judge(seed: u64) -> BTreeMap<String, u64> {
    let options = Options::default();
    let run = || swarm::simulate(seed, &options).unwrap_or_else(|failure| panic!("{failure}"));
    let report = run();
    if seed.is_multiple_of(10) {
        assert_eq!(report.hash, run().hash, "I-26: seed {seed} told two stories");
    }
    // Twins come to the same: a third of this tenth of all seeds for each kind.
    let twins = match seed % 30 {
        5 => twins::segmentation(seed),
        15 => twins::wall_clock(seed),
        25 => twins::isolation(seed),
        _ => Ok(()),
    };
    twins.unwrap_or_else(|violation| panic!("{violation}"));
    report.marks
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("ROCKETMQ_SIM_SEED") {
        let options = Options { echo: true, ..Options::default() };
        swarm::simulate(seed, &options).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let first = number("ROCKETMQ_SIM_FIRST").unwrap_or(1);
    let seeds = number("ROCKETMQ_SIM_SEEDS").unwrap_or(300);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    let marks = Mutex::new(BTreeMap::<String, u64>::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            match catch_unwind(|| judge(seed)) {
                Ok(reached) => {
                    let mut marks = marks.lock().expect("no thread panics with it");
                    for (name, count) in reached {
                        *marks.entry(name).or_default() += count;
                    }
                }
                Err(_) => failed.lock().expect("no thread panics with it").push(seed),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let mut failed = failed.into_inner().expect("all threads are done");
    failed.sort_unstable();
    let replay = "cargo test -p rocketmq-suite --test sim_swarm -- --nocapture";
    let commands: Vec<_> =
        failed.iter().map(|seed| format!("ROCKETMQ_SIM_SEED={seed} {replay}")).collect();
    assert!(failed.is_empty(), "{} seeds failed; replay:\n{}", failed.len(), commands.join("\n"));
    let marks = marks.into_inner().expect("all threads are done");
    println!("{seeds} seeds from {first} on reached {marks:#?}");
    if seeds >= 300 {
        let missing: Vec<_> = EXPECTED.iter().filter(|name| !marks.contains_key(**name)).collect();
        assert!(missing.is_empty(), "the swarm never reached {missing:?}");
    }
}
