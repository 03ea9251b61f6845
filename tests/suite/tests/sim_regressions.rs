//! Runs that once found something are made again in every test run.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use rocketmq_testkit::world::swarm::{self, Cuts, Options, Regression};

/// `rmq sim --save tests/suite/regressions.txt` adds to it.
const FILE: &str = include_str!("../regressions.txt");

fn all() -> Vec<Regression> {
    Regression::parse_all(FILE).unwrap_or_else(|error| panic!("regressions.txt: {error}"))
}

#[test]
fn what_was_found_once_stays_mended() {
    let runs = all();
    assert!(!runs.is_empty(), "regressions.txt has no runs");
    for run in runs {
        if let Err(failure) = swarm::simulate(run.seed, &run.options()) {
            let replay = format!("rmq sim --seed {}{}", run.seed, run.cuts.arguments());
            panic!("{}: again; {replay}\n{failure}", run.found);
        }
    }
}

/// A plan may change with the code that draws it; then the cuts of a run mean nothing any more.
#[test]
fn cuts_name_what_the_plans_have() {
    for run in all() {
        let whole = swarm::plan_of(run.seed, &Options::default());
        let strikes: BTreeSet<_> = whole.strikes.iter().map(|strike| strike.number).collect();
        let sends: BTreeSet<_> = whole.sends.iter().map(|send| send.number).collect();
        let Cuts { strikes: kept, sends: called, .. } = &run.cuts;
        for (kept, all) in [(kept, strikes), (called, sends)] {
            let lost = kept.iter().flatten().find(|number| !all.contains(number));
            assert_eq!(lost, None, "{run}: the plan of the seed has no such number any more");
        }
    }
}
