//! One line of JSON for each seed. Every key is always there.

use rocketmq_testkit::world::swarm::{Cuts, subject};
use serde::Serialize;

use super::replay;
use super::tally::Ran;
use crate::report::json::escaped;
use crate::text::millis;

#[derive(Debug, Serialize)]
struct Line<'a> {
    seed: u64,
    outcome: &'static str,
    hash: String,
    /// The number of the first that does not hold, if it has one.
    invariant: Option<String>,
    violations: &'a [String],
    simulated_ms: f64,
    elapsed_ms: f64,
    sends: u64,
    events: u64,
    faults: u64,
    replay: String,
}

/// The line, without its end.
pub(super) fn line(ran: &Ran, cuts: &Cuts) -> String {
    let report = ran.report();
    let violations = ran.violations();
    let number = violations.first().and_then(|text| text.split(':').next());
    let number = number.filter(|number| subject(&format!("{number}:")) == **number);
    let line = Line {
        seed: ran.seed,
        outcome: if violations.is_empty() { "held" } else { "violated" },
        hash: format!("{:032x}", report.hash),
        invariant: number.filter(|number| number.len() == 4).map(str::to_owned),
        violations,
        simulated_ms: report.simulated_ns as f64 / 1e6,
        elapsed_ms: millis(ran.elapsed),
        sends: report.sends,
        events: report.events,
        faults: report.strikes,
        replay: replay(ran.seed, cuts),
    };
    // Text and numbers alone, and no map with other keys than text: this cannot fail.
    escaped(&serde_json::to_string(&line).unwrap_or_default())
}
