//! Hunts for the mistakes that are planted in the core: the swarm must find each of them.
//!
//! ```text
//! CARGO_TARGET_DIR=target/planted RUSTFLAGS="--cfg rocketmq_planted" \
//!     cargo run --profile sim -p rocketmq-suite --bin planted
//! ```
//!
//! Fails if one is not found (but those for which no checker looks yet), if anything is found where
//! nothing is planted, or if the canary is
//! not found at once. A seed that fails with nothing planted finds nothing.

use std::process::ExitCode;

#[cfg(not(rocketmq_planted))]
fn main() -> ExitCode {
    eprintln!("not run: build with RUSTFLAGS=\"--cfg rocketmq_planted\"");
    ExitCode::from(2)
}

#[cfg(rocketmq_planted)]
fn main() -> ExitCode {
    hunt::main()
}

#[cfg(rocketmq_planted)]
mod hunt {
    use std::io;
    use std::process::{Command, ExitCode};
    use std::time::Instant;

    use rocketmq_core::planted::{Bug, choose};
    use rocketmq_suite::hunt::transactions::run_transactions;
    use rocketmq_suite::hunt::{
        Arguments, Finding, Task, all_failures, first_failure, run_seed, show_seed,
    };

    /// Found by each of the first seeds, or the checkers are asleep.
    const CANARY: Bug = Bug::Canary;
    const CANARY_SEEDS: u64 = 20;

    /// What no checker can see yet: that a healthy name server was not asked while a send waited
    /// for a route, and that a refusal is followed by a look-up within a second.
    const UNSEEN: [Bug; 2] = [Bug::NameServerNotRotated, Bug::RefreshSoonForgotten];

    pub(super) fn main() -> ExitCode {
        let arguments = match Arguments::read(std::env::args().skip(1)) {
            Ok(arguments) => arguments,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        match work(&arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    fn work(arguments: &Arguments) -> Result<bool, String> {
        match &arguments.task {
            Task::List => {
                for bug in Bug::ALL {
                    println!("{:<28} {}", bug.name(), bug.breaks().trim());
                }
                Ok(true)
            }
            Task::Show(name, seed) => {
                choose(
                    Some(name)
                        .filter(|name| *name != "none")
                        .map(|name| named(name))
                        .transpose()?,
                );
                show_seed(*seed);
                Ok(true)
            }
            Task::Alone(name) => {
                let bug = name.as_deref().map(named).transpose()?;
                let mut seeds: Vec<u64> = (1..=arguments.seeds).collect();
                seeds.retain(|seed| !arguments.without.contains(seed));
                alone(bug, &seeds);
                Ok(true)
            }
            Task::Hunt(names) => {
                let named: Result<Vec<Bug>, String> = names.iter().map(|n| named(n)).collect();
                let mut bugs = named?;
                if bugs.is_empty() {
                    bugs = Bug::ALL.to_vec();
                }
                hunt(&bugs, arguments.seeds).map_err(|error| format!("cannot hunt: {error}"))
            }
        }
    }

    fn named(name: &str) -> Result<Bug, String> {
        let known = Bug::ALL.iter().find(|bug| bug.name() == name);
        known.copied().ok_or(format!("there is no mistake called {name}; see --list"))
    }

    /// Hunts in this process. Where nothing is planted and for the canary, what counts is how many
    /// seeds fail.
    fn alone(bug: Option<Bug>, seeds: &[u64]) {
        choose(bug);
        std::panic::set_hook(Box::new(|_| {}));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        // The swarm has no transactions; they have seeds of their own.
        let of_transactions = bug.is_some_and(|bug| bug.name().starts_with("Transaction"));
        let run = |seed| match bug {
            Some(_) if of_transactions => run_transactions(seed).map(drop),
            Some(_) => run_seed(seed),
            None => run_seed(seed).and_then(|()| run_transactions(seed).map(drop)),
        };
        if bug.is_none() || bug == Some(CANARY) {
            let failures = all_failures(seeds, threads, run);
            failures.iter().for_each(|finding| println!("{}", finding.line()));
            println!("done");
        } else if let Some(finding) = first_failure(seeds, threads, run) {
            println!("{}", finding.line());
        } else {
            println!("done");
        }
    }

    /// Hunts each mistake in a process of its own.
    fn hunt(bugs: &[Bug], seeds: u64) -> io::Result<bool> {
        let started = Instant::now();
        let clean = ask("none", seeds, &[])?;
        for finding in &clean {
            println!("NOTHING IS PLANTED, AND YET: {}", finding.line());
        }
        let dirty: Vec<u64> = clean.iter().map(|finding| finding.seed).collect();
        println!("nothing planted: {} of {seeds} seeds fail", dirty.len());
        let canary = ask(CANARY.name(), CANARY_SEEDS.min(seeds), &[])?.len() as u64;
        println!("canary: found by {canary} of {} seeds", CANARY_SEEDS.min(seeds));
        println!("{:<28} {:>5} {:<6} first complaint", "planted", "seed", "by");
        let (mut needed, mut missed) = (Vec::new(), 0);
        for bug in bugs.iter().filter(|bug| **bug != CANARY) {
            if let Some(found) = ask(bug.name(), seeds, &dirty)?.first() {
                let (seed, by, said) = (found.seed, &found.invariant, &found.complaint);
                println!("{:<28} {seed:>5} {by:<6} {said}", bug.name());
                needed.push(seed);
            } else if UNSEEN.contains(bug) {
                println!("{:<28} {:>5} not found: no checker looks for it yet", bug.name(), "-");
            } else {
                println!("{:<28} {:>5} NOT FOUND", bug.name(), "-");
                missed += 1;
            }
        }
        needed.sort_unstable();
        println!(
            "{} of {} found, median {} seeds, {:.0} s",
            needed.len(),
            bugs.iter().filter(|bug| **bug != CANARY).count(),
            needed.get(needed.len() / 2).copied().unwrap_or(0),
            started.elapsed().as_secs_f64(),
        );
        Ok(missed == 0 && canary == CANARY_SEEDS.min(seeds) && clean.is_empty())
    }

    /// Hunts in another process: what it found.
    fn ask(name: &str, seeds: u64, without: &[u64]) -> io::Result<Vec<Finding>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--alone", name, "--seeds", &seeds.to_string()]);
        for seed in without {
            command.args(["--without", &seed.to_string()]);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut found: Vec<Finding> = said.lines().filter_map(Finding::read).collect();
        if !output.status.success() {
            // A stack that overflows or a panic inside a panic: as good as any complaint.
            found.push(Finding::new(0, &format!("I-29: the process died: {}", output.status)));
        }
        Ok(found)
    }
}
