//! The hunt for planted mistakes: for each one, which seed of the swarm finds it first.
//!
//! Each mistake is hunted in a process of its own, because it is chosen for a whole process and
//! may hang it or eat its memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocketmq_testkit::world::swarm::{Options, simulate};

mod options;
mod verdict;

pub use options::{Arguments, Task};
pub use verdict::{Finding, invariant_of};

/// Longest time of one seed, which takes a fraction of a second: what takes longer hangs.
const SEED_TIME_MAX: Duration = Duration::from_secs(30);

/// Most memory of the process, which needs a few dozen megabytes.
const MEMORY_MAX: u64 = 2 << 30;

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

/// Runs the seeds `1..=last` on `threads` threads and gives the first that fails: the lowest,
/// unless one hangs.
pub fn first_failure(
    last: u64,
    threads: usize,
    run: impl Fn(u64) -> Result<(), String> + Sync,
) -> Option<Finding> {
    let next = AtomicU64::new(1);
    let found = Mutex::new(None::<Finding>);
    let beyond = |seed: u64| {
        let found = found.lock().expect("no thread panics with it");
        seed > last || found.as_ref().is_some_and(|found| found.seed < seed)
    };
    let begun: Vec<Mutex<Option<(u64, Instant)>>> =
        (0..threads).map(|_| Mutex::default()).collect();
    let work = |slot: &Mutex<Option<(u64, Instant)>>| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if beyond(seed) {
                break;
            }
            *slot.lock().expect("no thread panics with it") = Some((seed, Instant::now()));
            let ended = run(seed);
            if let Err(text) = ended
                && !beyond(seed)
            {
                *found.lock().expect("no thread panics with it") = Some(Finding::new(seed, &text));
            }
        }
        *slot.lock().expect("no thread panics with it") = None;
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = begun.iter().map(|slot| scope.spawn(|| work(slot))).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
            watch(&begun);
        }
    });
    found.into_inner().expect("all threads are done")
}

/// Ends the process if a seed hangs or takes all memory: no thread can be stopped from outside.
fn watch(begun: &[Mutex<Option<(u64, Instant)>>]) {
    let too_large = memory() > MEMORY_MAX;
    for slot in begun {
        let slot = *slot.lock().expect("no thread panics with it");
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

    #[test]
    fn the_lowest_failing_seed_is_the_finding_on_any_number_of_threads() {
        let run = |seed: u64| {
            // The lower ones take longer, so that higher ones fail first.
            std::thread::sleep(Duration::from_millis(30 - seed.min(30)));
            if seed >= 7 { Err(format!("I-05: seed {seed}")) } else { Ok(()) }
        };
        for threads in [1, 4] {
            let found = first_failure(100, threads, run).expect("seed 7 fails");
            assert_eq!((found.seed, found.invariant.as_str()), (7, "I-05"));
        }
        assert_eq!(first_failure(6, 4, run), None);
    }

    #[test]
    fn every_seed_runs_once_when_none_fails() {
        let ran = Mutex::new(Vec::new());
        let run = |seed| {
            ran.lock().expect("no thread panics with it").push(seed);
            Ok(())
        };
        assert_eq!(first_failure(50, 3, run), None);
        let mut ran = ran.into_inner().expect("all threads are done");
        ran.sort_unstable();
        assert_eq!(ran, (1..=50).collect::<Vec<u64>>());
    }
}
