//! The fuzz targets without a fuzzer: every committed seed, and inputs made from them by chance.
//!
//! `FUZZ_INPUTS` sets the number of inputs for each target, `FUZZ_SEED` which ones they are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use rocketmq_suite::fuzz::{Body, Mutator, TARGETS, client_outcome, dictionary, seeds};

/// Longer inputs find little more and cost much.
const LENGTH_MAX: usize = 2_048;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(target: &str, name: &str, body: Body, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(data))).is_err() {
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("target {target}, input {name}: {digits}");
    }
}

#[test]
fn every_seed_is_replayed() {
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        for (name, data) in &seeds {
            run(target, name, body, data);
        }
        assert!(seeds.len() >= 10, "target {target} has {} seeds", seeds.len());
    }
}

#[test]
fn inputs_made_by_chance() {
    let (inputs, seed) = (setting("FUZZ_INPUTS", 20_000), setting("FUZZ_SEED", 1_u64));
    std::thread::scope(|scope| {
        for (target, body) in TARGETS {
            scope.spawn(move || {
                let pool: Vec<_> = seeds(target).into_iter().map(|(_, data)| data).collect();
                let mut mutator = Mutator::new(seed, LENGTH_MAX);
                for number in 0..inputs {
                    run(target, &number.to_string(), body, &mutator.next(&pool));
                }
            });
        }
    });
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let pool: Vec<_> = seeds("client").into_iter().map(|(_, data)| data).collect();
    let mut mutator = Mutator::new(7, LENGTH_MAX);
    let mut outcomes = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let data = mutator.next(&pool);
        let outcome = client_outcome(&data);
        assert_eq!(client_outcome(&data), outcome, "{data:02x?}");
        outcomes.insert(outcome);
    }
    assert!(outcomes.len() > 100, "{} different outcomes", outcomes.len());
}

#[test]
fn a_wrong_body_is_noticed() {
    let wrong: Body = |data| assert!(!data.starts_with(b"{"), "canary");
    let noticed = seeds("route").iter().any(|(_, data)| catch_unwind(|| wrong(data)).is_err());
    assert!(noticed && dictionary().iter().any(|token| *token == [0, 0xff, 0xff, 0xfc]));
}
