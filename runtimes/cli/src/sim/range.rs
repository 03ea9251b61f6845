//! Many seeds, on all cores, told in the order of the seeds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rocketmq_testkit::world::story::Story;
use rocketmq_testkit::world::swarm::{self, Cuts, Failure, Options};

use super::one::again;
use super::tally::{Ran, Tally};
use super::{Screen, SimArguments, TAIL, THREAD, cannot, follow_up, in_thread, json, replay};
use crate::console::{Console, Progress};
use crate::interrupt::Stop;
use crate::text::{grouped, harmless};
use crate::{DONE, INCOMPLETE};

/// No run begins while one is going on that is so many seeds behind: what waits for it is kept.
const AHEAD_MAX: u64 = 10_000;

/// Violations of one seed that are shown.
const SHOWN: usize = 5;

/// Seeds that are listed as failed in the end.
const LISTED: usize = 100;

pub(super) fn run(arguments: &SimArguments, seeds: Range<u64>) -> io::Result<u8> {
    let jobs = match arguments.jobs {
        Some(jobs) => jobs as usize,
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let hashes = match &arguments.hashes {
        Some(file) => {
            Some(BufWriter::new(File::create(file).map_err(|error| cannot(file, &error))?))
        }
        None => None,
    };
    let console = Console::new(Some(seeds.end - seeds.start));
    let stop = Stop::new();
    let notes = console.clone();
    // Without it Ctrl-C ends the process at once, which loses the sums and nothing else.
    let _ = stop.on_interrupt(move || notes.line("rmq: the runs under way are the last"));
    let mut show = Show {
        arguments,
        console: console.clone(),
        progress: Progress::new(console.clone()),
        started: Instant::now(),
        tally: Tally::default(),
        hashes,
        failed: Vec::new(),
        first: None,
    };
    let (next, told) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.start));
    let work = Work {
        seeds: seeds.clone(),
        next: &next,
        told: &told,
        stop: &stop,
        twice: arguments.twice,
    };
    let shown = thread::scope(|scope| -> io::Result<()> {
        let (sender, receiver) = sync_channel(1_024);
        for _ in 0..jobs {
            let (work, sender) = (work.clone(), sender.clone());
            let thread = thread::Builder::new().name(THREAD.into());
            thread.spawn_scoped(scope, move || work.run(&sender))?;
        }
        drop(sender);
        let shown = show.all(&receiver, &work);
        stop.stop();
        // Who waits for room must see that nobody listens any more.
        drop(receiver);
        shown
    });
    let time = show.started.elapsed();
    console.finish();
    shown?;
    show.end(time, jobs, seeds.end - seeds.start)
}

/// What the threads share.
#[derive(Clone)]
struct Work<'a> {
    seeds: Range<u64>,
    next: &'a AtomicU64,
    /// All seeds before this one are told.
    told: &'a AtomicU64,
    stop: &'a Stop,
    twice: bool,
}

impl Work<'_> {
    fn run(&self, results: &SyncSender<Ran>) {
        let options = Options::default();
        while !self.stop.is_stopped() {
            // A range may end with the last number that there is.
            let step = |seed: u64| (seed < self.seeds.end).then(|| seed + 1);
            let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
            let Ok(seed) = taken else { return };
            while seed > self.told.load(Ordering::Relaxed).saturating_add(AHEAD_MAX) {
                if self.stop.is_stopped() {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            let started = Instant::now();
            let result = swarm::simulate(seed, &options);
            let result = if self.twice { again(seed, &options, result) } else { result };
            if results.send(Ran { seed, elapsed: started.elapsed(), result }).is_err() {
                return;
            }
        }
    }
}

/// What is shown of the runs.
struct Show<'a> {
    arguments: &'a SimArguments,
    console: Console,
    progress: Progress,
    started: Instant,
    tally: Tally,
    hashes: Option<BufWriter<File>>,
    failed: Vec<u64>,
    first: Option<(u64, Box<Failure>)>,
}

impl Show<'_> {
    /// Takes results as they come and tells them in order, until one is a violation.
    fn all(&mut self, results: &Receiver<Ran>, work: &Work<'_>) -> io::Result<()> {
        let mut early = BTreeMap::new();
        let mut due = work.seeds.start;
        for ran in results {
            early.insert(ran.seed, ran);
            while let Some(ran) = early.remove(&due) {
                due += 1;
                work.told.store(due, Ordering::Relaxed);
                self.told(ran)?;
                if !self.failed.is_empty() && !self.arguments.keep_going {
                    return Ok(());
                }
            }
            let (tally, time) = (&self.tally, self.started.elapsed());
            self.progress.show(tally.runs, "seed", || tally.progress(time));
        }
        // After an interruption: those that were faster than one that was never begun.
        early.into_values().try_for_each(|ran| self.told(ran))
    }

    fn told(&mut self, ran: Ran) -> io::Result<()> {
        self.tally.add(&ran);
        if self.arguments.json {
            self.console.print(&json::line(&ran, &Cuts::default()));
        }
        if let (Some(file), Some(path)) = (&mut self.hashes, &self.arguments.hashes) {
            let line = writeln!(file, "{} {:032x}", ran.seed, ran.report().hash);
            line.map_err(|error| cannot(path, &error))?;
        }
        let seed = ran.seed;
        if let Err(failure) = ran.result {
            self.say(&format!("Seed {seed} breaks a promise:"));
            for violation in failure.violations.iter().take(SHOWN) {
                self.say(&format!("  {}", harmless(violation)));
            }
            if failure.violations.len() > SHOWN {
                self.say(&format!("  and {} more", failure.violations.len() - SHOWN));
            }
            self.failed.push(seed);
            if self.arguments.keep_going {
                return self.follow_up(seed, &failure);
            }
            self.first.get_or_insert((seed, failure));
        }
        Ok(())
    }

    /// With --keep-going: only what was asked for, so that the rest goes on.
    fn follow_up(&self, seed: u64, failure: &Failure) -> io::Result<()> {
        if self.arguments.shrink || self.arguments.save.is_some() {
            return follow_up(self.arguments, seed, failure, &self.console);
        }
        self.say(&format!("  replay: {}", replay(seed, &Cuts::default())));
        Ok(())
    }

    fn say(&self, line: &str) {
        if self.arguments.json { self.console.line(line) } else { self.console.print(line) }
    }

    /// The sums, and the first violation in full.
    fn end(mut self, time: Duration, jobs: usize, wanted: u64) -> io::Result<u8> {
        if let (Some(file), Some(path)) = (&mut self.hashes, &self.arguments.hashes) {
            file.flush().map_err(|error| cannot(path, &error))?;
        }
        if let Some((seed, failure)) = self.first.take() {
            self.story(seed, &failure)?;
            follow_up(self.arguments, seed, &failure, &self.console)?;
            self.say("");
        }
        for line in self.tally.lines(time, jobs, self.arguments.twice) {
            self.say(&line);
        }
        let missing = self.tally.missing_line();
        if let Some(line) = &missing {
            self.say(line);
        }
        if self.arguments.marks {
            self.tally.marks().iter().for_each(|line| self.say(line));
        }
        if self.failed.len() > 1 {
            let listed: Vec<_> = self.failed.iter().take(LISTED).map(ToString::to_string).collect();
            self.say(&format!("  failed seeds: {}", listed.join(" ")));
        }
        if self.tally.runs < wanted && self.failed.is_empty() {
            self.say(&format!("  not run: {} seeds", grouped(wanted - self.tally.runs)));
            return Ok(INCOMPLETE);
        }
        let lacking = self.arguments.require_marks && missing.is_some();
        Ok(if self.failed.is_empty() && !lacking { DONE } else { INCOMPLETE })
    }

    /// The end of the story of a run that failed.
    fn story(&self, seed: u64, failure: &Failure) -> io::Result<()> {
        let options = Options::default();
        let tail = in_thread(|| Story::of(&swarm::simulate_world(seed, &options).0).tail(TAIL))?;
        let screen = Screen::new();
        self.say("The end of its story:");
        tail.iter().for_each(|line| self.say(&screen.coloured(line)));
        let trace = failure.tail.lines().rev().take(8).collect::<Vec<_>>();
        if !trace.is_empty() {
            self.say("The last lines of its trace:");
            trace.iter().rev().for_each(|line| self.say(&format!("  {}", harmless(line))));
        }
        Ok(())
    }
}
