//! One seed: its story on standard output, its timeline in a file.

use std::fs;
use std::io;
use std::time::Instant;

use rocketmq_testkit::world::story::Story;
use rocketmq_testkit::world::swarm::{self, Failure, Options, Regression, Report};
use rocketmq_testkit::world::timeline;

use super::tally::{Ran, Tally};
use super::{Screen, SimArguments, cannot, follow_up, in_thread, json, replay, save, today};
use crate::console::Console;
use crate::text::grouped;
use crate::{DONE, INCOMPLETE};

pub(super) fn run(arguments: &SimArguments, seed: u64) -> io::Result<u8> {
    let options = Options { echo: arguments.trace, cuts: arguments.cuts(), ..Options::default() };
    let started = Instant::now();
    let (story, result) = in_thread(|| tell(seed, &options, arguments.twice))?;
    let ran = Ran { seed, elapsed: started.elapsed(), result };
    if let Some(file) = &arguments.svg {
        fs::write(file, timeline::draw(&story)).map_err(|error| cannot(file, &error))?;
    }
    let console = Console::new(Some(1));
    if arguments.json {
        console.print(&json::line(&ran, &options.cuts));
    } else {
        let screen = Screen::new();
        story.lines().iter().for_each(|line| screen.line(line));
        let time = ran.elapsed.as_secs_f64();
        let ratio = story.end_ns as f64 / 1e9 / time.max(1e-9);
        let faster = grouped(ratio as u64);
        screen.plain(&format!("  {:<14}{time:.3} s; simulated to real {faster} : 1", "real time"));
    }
    if arguments.marks {
        let mut tally = Tally::default();
        tally.add(&ran);
        tally.marks().iter().for_each(|line| console.line(line));
    }
    match (&ran.result, &arguments.save, &arguments.note) {
        (Err(failure), _, _) => {
            follow_up(arguments, seed, failure, &console)?;
            return Ok(INCOMPLETE);
        }
        (Ok(_), Some(file), Some(note)) => {
            let cuts = arguments.cuts();
            save(file, &Regression { seed, cuts, date: today(), found: note.clone() })?;
        }
        _ => {}
    }
    if !arguments.json {
        console.print(&format!("  {:<14}{}", "replay", replay(seed, &options.cuts)));
    }
    Ok(DONE)
}

fn tell(seed: u64, options: &Options, twice: bool) -> (Story, Result<Report, Box<Failure>>) {
    let (world, result) = swarm::simulate_world(seed, options);
    let story = Story::of(&world);
    (story, if twice { again(seed, options, result) } else { result })
}

/// Runs a seed once more: both runs must tell the same story.
pub(super) fn again(
    seed: u64,
    options: &Options,
    result: Result<Report, Box<Failure>>,
) -> Result<Report, Box<Failure>> {
    let report = result?;
    let options = Options { echo: false, ..options.clone() };
    let second = swarm::simulate(seed, &options)?;
    if (second.hash, second.events) == (report.hash, report.events) {
        return Ok(report);
    }
    let violation = format!(
        "I-26: two runs told two stories: {} lines with hash {:032x}, {} lines with hash {:032x}",
        report.events, report.hash, second.events, second.hash
    );
    Err(Box::new(Failure { report, violations: vec![violation], tail: String::new() }))
}
