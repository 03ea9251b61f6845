//! Many runs together.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_testkit::world::swarm::{Failure, Report, expected_marks};

use crate::text::{counted, grouped, rate};

/// Marks that are named when they are missing or rare; the rest is counted.
const NAMED: usize = 12;

/// A run that is over.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) seed: u64,
    pub(super) elapsed: Duration,
    pub(super) result: Result<Report, Box<Failure>>,
}

impl Ran {
    pub(super) fn report(&self) -> &Report {
        match &self.result {
            Ok(report) => report,
            Err(failure) => &failure.report,
        }
    }

    pub(super) fn violations(&self) -> &[String] {
        self.result.as_ref().err().map_or(&[], |failure| &failure.violations)
    }
}

/// Sums over runs; no larger for a million than for one.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) runs: u64,
    pub(super) violated: u64,
    simulated_ns: u128,
    busy_ns: u128,
    sends: u64,
    events: u64,
    faults: u64,
    marks: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, ran: &Ran) {
        let report = ran.report();
        self.runs += 1;
        self.violated += u64::from(ran.result.is_err());
        self.simulated_ns += u128::from(report.simulated_ns);
        self.busy_ns += u128::from(report.busy_ns);
        self.sends += report.sends;
        self.events += report.events;
        self.faults += report.strikes;
        for (mark, count) in &report.marks {
            match self.marks.get_mut(mark) {
                Some(sum) => *sum += count,
                None => drop(self.marks.insert(mark.clone(), *count)),
            }
        }
    }

    fn hours(&self) -> f64 {
        self.simulated_ns as f64 / 3.6e12
    }

    fn ratio(&self, time: Duration) -> f64 {
        self.simulated_ns as f64 / 1e9 / time.as_secs_f64().max(1e-9)
    }

    /// Next to the bar.
    pub(super) fn progress(&self, time: Duration) -> String {
        format!(
            "{:.1} h simulated, {} : 1, {}",
            self.hours(),
            grouped(self.ratio(time) as u64),
            counted(self.violated, "violation")
        )
    }

    /// What came of all runs.
    pub(super) fn lines(&self, time: Duration, jobs: usize, twice: bool) -> Vec<String> {
        let (runs, seconds) = (rate(self.runs, time), time.as_secs_f64());
        let ratio = self.ratio(time);
        let missing = self.missing().len();
        let mut lines = vec![
            format!("{} in {seconds:.1} s: {runs} seeds a second", counted(self.runs, "seed")),
            format!(
                "  {:.1} h simulated, {:.1} h of them with ten sends a second and more",
                self.hours(),
                self.busy_ns as f64 / 3.6e12
            ),
            format!(
                "  simulated to real time {} : 1, on each of {} {} : 1",
                grouped(ratio as u64),
                counted(jobs as u64, "thread"),
                grouped((ratio / jobs.max(1) as f64) as u64)
            ),
            format!(
                "  {}, {}, {}",
                counted(self.sends, "send"),
                counted(self.faults, "fault"),
                counted(self.events, "line") + " of trace"
            ),
        ];
        if twice {
            lines.push("  every run was made twice".to_owned());
        }
        let expected = expected_marks().len();
        lines.push(format!("  reached {} of {expected} expected marks", expected - missing));
        lines.push(format!("  violations: {}", grouped(self.violated)));
        lines
    }

    /// What was expected and never happened.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = expected_marks();
        missing.retain(|mark| !self.marks.contains_key(mark));
        missing
    }

    /// The missing ones in a line.
    pub(super) fn missing_line(&self) -> Option<String> {
        let missing = self.missing();
        let named: Vec<_> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = missing.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!missing.is_empty()).then(|| format!("  never reached: {}{more}", named.join(", ")))
    }

    /// Everything that happened, and how often.
    pub(super) fn marks(&self) -> Vec<String> {
        let marks = self.marks.iter();
        marks.map(|(mark, count)| format!("  {:>12}  {mark}", grouped(*count))).collect()
    }
}
