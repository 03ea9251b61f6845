//! The hunt for planted mistakes: for each one, which seed of the swarm finds it first.
//!
//! Each mistake is hunted in a process of its own, because it is chosen for a whole process and
//! may hang it or eat its memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocketmq_testkit::world::swarm::{Options, simulate};

mod options;
pub mod transactions;
mod verdict;

pub use options::{Arguments, Task};
pub use verdict::{Finding, invariant_of};

/// Longest time of one seed, which takes a fraction of a second: what takes longer hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(30);

/// Most memory of the process, which needs a few dozen megabytes.
const MEMORY_MAX: u64 = 2 << 30;

/// The seed that a thread runs, and since when.
type Begun = Option<(u64, Instant)>;

const UNHARMED: &str = "no thread panics with it";

/// Runs one seed of the swarm; what is wrong with it, if something is.
///
/// # Errors
/// What the first checker to complain said.
pub fn run_seed(seed: u64) -> Result<(), String> {
    let failure = match simulate(seed, &Options::default()) {
        Ok(_) => return Ok(()),
        Err(failure) => failure,
    };
    Err(failure.violations.first().cloned().unwrap_or_default())
}

/// Runs one seed and prints its story.
pub fn show_seed(seed: u64) {
    match simulate(seed, &Options { echo: true, ..Options::default() }) {
        Ok(_) => println!("nothing is wrong with seed {seed}"),
        Err(failure) => println!("{failure}"),
    }
}

/// Runs these seeds on `threads` threads and gives the first that fails: the lowest, unless one
/// hangs.
pub fn first_failure(
    seeds: &[u64],
    threads: usize,
    run: impl Fn(u64) -> Result<(), String> + Sync,
) -> Option<Finding> {
    let failures = run_until(seeds, threads, run, |found, seed| found < seed);
    failures.into_iter().min_by_key(|found| found.seed)
}

/// Runs all of these seeds and gives those that fail.
pub fn all_failures(
    seeds: &[u64],
    threads: usize,
    run: impl Fn(u64) -> Result<(), String> + Sync,
) -> Vec<Finding> {
    let mut failures = run_until(seeds, threads, run, |_, _| false);
    failures.sort_by_key(|found| found.seed);
    failures
}

/// Runs seeds, except those of which `spared` says that a failure of another makes them needless.
fn run_until(
    seeds: &[u64],
    threads: usize,
    run: impl Fn(u64) -> Result<(), String> + Sync,
    spared: impl Fn(u64, u64) -> bool + Sync,
) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::<Finding>::new());
    let begun: Vec<Mutex<Begun>> = (0..threads).map(|_| Mutex::default()).collect();
    let work = |slot: &Mutex<Begun>| {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let needless = |found: &Finding| spared(found.seed, *seed);
            if failures.lock().expect(UNHARMED).iter().any(needless) {
                break;
            }
            *slot.lock().expect(UNHARMED) = Some((*seed, Instant::now()));
            if let Err(text) = run(*seed) {
                failures.lock().expect(UNHARMED).push(Finding::new(*seed, &text));
            }
        }
        *slot.lock().expect(UNHARMED) = None;
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = begun.iter().map(|slot| scope.spawn(|| work(slot))).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
            watch(&begun);
        }
    });
    failures.into_inner().expect(UNHARMED)
}

/// Ends the process if a seed hangs or takes all memory: no thread can be stopped from outside.
fn watch(begun: &[Mutex<Begun>]) {
    let too_large = memory() > MEMORY_MAX;
    for slot in begun {
        let slot = *slot.lock().expect(UNHARMED);
        let Some((seed, start)) = slot else { continue };
        let finding = if start.elapsed() > SEED_TIME_MAX {
            Finding::new(seed, "I-24: hangs in an endless loop")
        } else if too_large {
            Finding::new(seed, "I-14: takes more than 2 GiB of memory")
        } else {
            continue;
        };
        println!("{}", finding.line());
        std::process::exit(0);
    }
}

/// Bytes of memory that this process holds; 0 where that cannot be told.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(last: u64) -> Vec<u64> {
        (1..=last).collect()
    }

    #[test]
    fn the_lowest_failing_seed_is_the_finding_on_any_number_of_threads() {
        let run = |seed: u64| {
            // The lower ones take longer, so that higher ones fail first.
            std::thread::sleep(Duration::from_millis(30 - seed.min(30)));
            if seed >= 7 { Err(format!("I-05: seed {seed}")) } else { Ok(()) }
        };
        for threads in [1, 4] {
            let found = first_failure(&seeds(100), threads, run).expect("seed 7 fails");
            assert_eq!((found.seed, found.invariant.as_str()), (7, "I-05"));
        }
        assert_eq!(first_failure(&seeds(6), 4, run), None);
        assert_eq!(first_failure(&[1, 8, 9], 4, run).map(|found| found.seed), Some(8));
    }

    #[test]
    fn every_seed_runs_once_when_all_failures_are_wanted() {
        let ran = Mutex::new(Vec::new());
        let run = |seed| {
            ran.lock().expect(UNHARMED).push(seed);
            if seed % 20 == 0 { Err(String::new()) } else { Ok(()) }
        };
        let failures = all_failures(&seeds(50), 3, run);
        assert_eq!(failures.iter().map(|found| found.seed).collect::<Vec<_>>(), [20, 40]);
        let mut ran = ran.into_inner().expect(UNHARMED);
        ran.sort_unstable();
        assert_eq!(ran, (1..=50).collect::<Vec<u64>>());
    }
}
