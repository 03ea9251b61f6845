//! The options of `rmq sim`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use rocketmq_testkit::world::swarm;

/// Most threads that can be asked for.
const JOBS_MAX: i64 = 1_024;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what")
        .args(["seed", "seeds", "list_faults", "list_invariants"])
        .required(true),
    after_help = "Everything in a run follows from its seed: the cluster, the settings, what is \
                  sent and what breaks.\nFaults strike, then all is healed, then every message \
                  must get through, then the clients close.\nWhat must hold of every run is \
                  checked from outside: on the wire and in the brokers' logs.\n\
                  \n\
                  Exit status: 0 if everything held, 1 if something did not, 2 if the command \
                  line cannot work.\n\
                  \n\
                  --json prints these keys, null where unknown: seed, outcome (held, violated), \
                  hash,\ninvariant, violations, simulated_ms, elapsed_ms, sends, events, faults, \
                  replay.\n\
                  \n\
                  Example: rmq sim --seed 7 --svg seven.svg"
)]
pub(crate) struct SimArguments {
    /// Run one seed and tell its story
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Run all seeds from A up to, but without B, on all cores; stop at the first violation
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub(crate) seeds: Option<Range<u64>>,

    /// Draw the run as a timeline
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pub(crate) svg: Option<PathBuf>,

    /// Write every input and output of the clients to standard error while the run goes on
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) trace: bool,

    /// Let only these faults strike, by their numbers in the story; `none` for none
    #[arg(long, value_name = "3,9..12", conflicts_with = "seeds", value_parser = numbers)]
    pub(crate) only_strikes: Option<Numbers>,

    /// Call only these sends; `none` for none
    #[arg(long, value_name = "3,9..12", conflicts_with = "seeds", value_parser = numbers)]
    pub(crate) only_sends: Option<Numbers>,

    /// End the phase of faults after this time
    #[arg(long, value_name = "SECONDS", conflicts_with = "seeds", value_parser = swarm::parse_span)]
    pub(crate) span: Option<Duration>,

    /// Threads
    #[arg(
        short,
        long,
        value_name = "N",
        conflicts_with = "seed",
        value_parser = clap::value_parser!(u32).range(1..=JOBS_MAX)
    )]
    pub(crate) jobs: Option<u32>,

    /// Go on after a violation
    #[arg(long, conflicts_with = "seed")]
    pub(crate) keep_going: bool,

    /// Run each seed twice: both must tell the same story
    #[arg(long)]
    pub(crate) twice: bool,

    /// Write a line with seed and hash for each run, to compare with another build
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub(crate) hashes: Option<PathBuf>,

    /// Fail if something that a large range reaches was never reached
    #[arg(long, conflicts_with = "seed")]
    pub(crate) require_marks: bool,

    /// Print how often each kind of thing happened
    #[arg(long)]
    pub(crate) marks: bool,

    /// Look for a smaller run that fails in the same way; done after the first violation anyway
    #[arg(long, conflicts_with = "no_shrink")]
    pub(crate) shrink: bool,

    /// Do not look for a smaller run
    #[arg(long)]
    pub(crate) no_shrink: bool,

    /// Most runs for a smaller one
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) shrink_runs: u32,

    /// Append what fails to a file of runs that are replayed in every test; with --note also a
    /// seed that holds
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,

    /// What the run has found, for --save
    #[arg(long, value_name = "TEXT", requires = "save", value_parser = note)]
    pub(crate) note: Option<String>,

    /// Print one line of JSON for each seed on standard output, in the order of the seeds
    #[arg(long)]
    pub(crate) json: bool,

    /// List the kinds of faults
    #[arg(long)]
    pub(crate) list_faults: bool,

    /// List what must hold of every run
    #[arg(long)]
    pub(crate) list_invariants: bool,
}

/// Numbers of faults or sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers(pub(crate) BTreeSet<usize>);

fn numbers(text: &str) -> Result<Numbers, String> {
    swarm::parse_numbers(text).map(Numbers)
}

/// A line of the file without one could not be read again.
fn note(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("say what it has found".to_owned()) } else { Ok(text.to_owned()) }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    let range = text.split_once("..").and_then(|(a, b)| Some(number(a)?..number(b)?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "write A..B with A below B, for example 1..1001 for 1000 seeds".to_owned())
}

impl SimArguments {
    /// What is left of the plan.
    pub(super) fn cuts(&self) -> swarm::Cuts {
        let set = |numbers: &Option<Numbers>| numbers.as_ref().map(|numbers| numbers.0.clone());
        swarm::Cuts {
            strikes: set(&self.only_strikes),
            sends: set(&self.only_sends),
            span: self.span,
        }
    }
}
