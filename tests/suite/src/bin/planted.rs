//! Hunts for the mistakes that are planted in the core: the swarm must find each of them.
//!
//! ```text
//! CARGO_TARGET_DIR=target/planted RUSTFLAGS="--cfg rocketmq_planted" \
//!     cargo run --profile sim -p rocketmq-suite --bin planted
//! ```
//!
//! Fails if one is not found, if anything is found where nothing is planted, or if the canary is
//! not found at once.

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
    use rocketmq_suite::hunt::{Arguments, Finding, Task, first_failure, run_seed, show_seed};

    /// Found by each of the first seeds, or the checkers are asleep.
    const CANARY: Bug = Bug::Canary;
    const CANARY_SEEDS: u64 = 20;

    /// Seeds that are run without a mistake, at least.
    const CLEAN_SEEDS: u64 = 100;

    pub(super) fn main() -> ExitCode {
        let options = match Arguments::read(std::env::args().skip(1)) {
            Ok(options) => options,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        match work(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    fn work(options: &Arguments) -> Result<bool, String> {
        match &options.task {
            Task::List => {
                for bug in Bug::ALL {
                    println!("{:<28} {}", bug.name(), bug.breaks().trim());
                }
                Ok(true)
            }
            Task::Show(name, seed) => {
                choose(Some(named(name)?));
                show_seed(*seed);
                Ok(true)
            }
            Task::Alone(name) => {
                let bug = name.as_deref().map(named).transpose()?;
                alone(bug, options.seeds);
                Ok(true)
            }
            Task::Hunt(names) => {
                let named: Result<Vec<Bug>, String> = names.iter().map(|n| named(n)).collect();
                let mut bugs = named?;
                if bugs.is_empty() {
                    bugs = Bug::ALL.to_vec();
                }
                hunt(&bugs, options.seeds).map_err(|error| format!("cannot hunt: {error}"))
            }
        }
    }

    fn named(name: &str) -> Result<Bug, String> {
        let known = Bug::ALL.iter().find(|bug| bug.name() == name);
        known.copied().ok_or(format!("there is no mistake called {name}; see --list"))
    }

    /// Hunts in this process. For the canary the seeds are run one by one, and the last line says
    /// how many found it.
    fn alone(bug: Option<Bug>, seeds: u64) {
        choose(bug);
        std::panic::set_hook(Box::new(|_| {}));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        if bug == Some(CANARY) {
            let found = (1..=CANARY_SEEDS).filter(|seed| run_seed(*seed).is_err()).count();
            println!("canary {found}");
            return;
        }
        match first_failure(seeds, threads, run_seed) {
            Some(finding) => println!("{}", finding.line()),
            None => println!("clean"),
        }
    }

    /// Hunts each mistake in a process of its own.
    fn hunt(bugs: &[Bug], seeds: u64) -> io::Result<bool> {
        let started = Instant::now();
        println!("{:<28} {:>5} {:<6} first complaint", "planted", "seeds", "by");
        let (mut needed, mut missed) = (Vec::new(), 0);
        for bug in bugs.iter().filter(|bug| **bug != CANARY) {
            match ask(bug.name(), seeds)? {
                Ok(found) => {
                    let (seed, by, said) = (found.seed, found.invariant, found.complaint);
                    println!("{:<28} {seed:>5} {by:<6} {said}", bug.name());
                    needed.push(seed);
                }
                Err(said) => {
                    println!("{:<28} {:>5} NOT FOUND: {said}", bug.name(), "-");
                    missed += 1;
                }
            }
        }
        needed.sort_unstable();
        let clean_seeds = needed.last().copied().unwrap_or(0).max(CLEAN_SEEDS.min(seeds));
        let clean = ask("none", clean_seeds)?;
        match &clean {
            Err(said) if said == "clean" => println!("nothing planted: {clean_seeds} seeds clean"),
            Err(said) => println!("NOTHING PLANTED, AND IT DIED: {said}"),
            Ok(found) => println!("NOTHING PLANTED, AND FOUND: {}", found.line()),
        }
        let canary = ask(CANARY.name(), CANARY_SEEDS)?;
        let sings = canary == Err(format!("canary {CANARY_SEEDS}"));
        println!("canary: {}", if sings { "found by every seed" } else { "NOT FOUND" });
        println!(
            "{} of {} found, median {} seeds, {:.0} s",
            needed.len(),
            needed.len() + missed,
            needed.get(needed.len() / 2).copied().unwrap_or(0),
            started.elapsed().as_secs_f64(),
        );
        Ok(missed == 0 && sings && clean == Err("clean".to_owned()))
    }

    /// Hunts in another process: what it found, or what it said instead.
    fn ask(name: &str, seeds: u64) -> io::Result<Result<Finding, String>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--alone", name, "--seeds", &seeds.to_string()]);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        if let Some(found) = Finding::read(last) {
            return Ok(Ok(found));
        }
        if output.status.success() {
            return Ok(Err(last.to_owned()));
        }
        // A stack that overflows or a panic inside a panic: as good as any complaint.
        Ok(Ok(Finding::new(0, &format!("I-29: the process died: {}", output.status))))
    }
}
