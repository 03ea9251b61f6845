//! Runs in virtual time: one with its story, or many.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use rocketmq_testkit::world::story::{StoryLine, Tone};
use rocketmq_testkit::world::swarm::{self, Cuts, Failure, Kind, Options, Regression, Size};
use rocketmq_testkit::world::{Invariant, Status};

use crate::console::{Console, write_line};
use crate::text::{counted, harmless};
use crate::{DONE, USAGE};

mod args;
mod json;
mod one;
mod range;
mod tally;

pub(crate) use args::SimArguments;

/// Name of the threads in which a panic is a result and not an accident.
const THREAD: &str = "sim";

/// Lines of the story that are shown of a run that failed among many.
const TAIL: usize = 30;

/// Longest description of what was found, in characters.
const FOUND_MAX: usize = 120;

/// Runs `rmq sim`.
pub(crate) fn run(arguments: &SimArguments) -> ExitCode {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // The world tells of it as a violation.
        if thread::current().name() != Some(THREAD) {
            default(info);
        }
    }));
    let status = if arguments.list_faults {
        list_faults();
        Ok(DONE)
    } else if arguments.list_invariants {
        list_invariants();
        Ok(DONE)
    } else if let Some(seeds) = &arguments.seeds {
        range::run(arguments, seeds.clone())
    } else {
        one::run(arguments, arguments.seed.unwrap_or_default())
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        write_line(&format!("rmq: {error}"));
        USAGE
    }))
}

fn list_faults() {
    let screen = Screen::new();
    let mut group = None;
    for kind in Kind::ALL {
        if group.replace(kind.group()) != Some(kind.group()) {
            screen.line(&StoryLine::new(Tone::Heading, format!("{:?}", kind.group())));
        }
        screen.plain(&format!("  {:<20} {}", kind.name(), kind.text()));
    }
    screen.plain(&counted(Kind::ALL.len() as u64, "kind"));
}

fn list_invariants() {
    let screen = Screen::new();
    for invariant in Invariant::all() {
        let (number, name) = (invariant.to_string(), invariant.name());
        let status = match invariant.status() {
            Status::NotYet(why) => format!(" (not yet applicable: {why})"),
            Status::Elsewhere(where_) => format!(" (looked after by {where_})"),
            _ => String::new(),
        };
        screen.plain(&format!("{number}  {name:<20} {}{status}", invariant.rule()));
    }
}

/// Calls something in a thread whose panics are not told.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(THREAD.into()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the simulation itself has failed"))
    })
}

/// The command that runs a seed again.
fn replay(seed: u64, cuts: &Cuts) -> String {
    format!("rmq sim --seed {seed}{}", cuts.arguments())
}

// ---- What failed ----------------------------------------------------------------------------

/// Looks for a smaller run, shows how to repeat it and saves it as it is asked for.
fn follow_up(
    arguments: &SimArguments,
    seed: u64,
    failure: &Failure,
    console: &Console,
) -> io::Result<()> {
    let say = |line: &str| {
        if arguments.json { console.line(line) } else { console.print(line) }
    };
    let mut cuts = arguments.cuts();
    let mut found = failure.violations.first().cloned().unwrap_or_default();
    let first = arguments.shrink || !arguments.keep_going;
    if first && !arguments.no_shrink {
        let options = Options { cuts: cuts.clone(), ..Options::default() };
        let whole = swarm::plan_size(seed, &options);
        say(&format!("Looking for a smaller run than this one: {}", size(&whole)));
        let small =
            in_thread(|| swarm::shrink(seed, &options, failure, arguments.shrink_runs, |_, _| {}))?;
        say(&format!("  after {}: {}", counted(small.runs.into(), "run"), size(&small.size)));
        if let Some(violation) = small.failure.violations.first() {
            say(&format!("  it fails so: {}", harmless(violation)));
            found.clone_from(violation);
        }
        cuts = small.cuts;
    }
    say(&format!("Replay: {}", replay(seed, &cuts)));
    let found = arguments.note.clone().unwrap_or(found);
    let found = match found.char_indices().nth(FOUND_MAX) {
        Some((end, _)) => format!("{}…", found.get(..end).unwrap_or_default()),
        None => found,
    };
    let run = Regression { seed, cuts, date: today(), found: harmless(&found) };
    match &arguments.save {
        Some(file) => {
            save(file, &run)?;
            say(&format!("Saved to {}", file.display()));
        }
        None => say(&format!("To keep it: {run}")),
    }
    Ok(())
}

fn size(size: &Size) -> String {
    format!(
        "{}, {}, {:.2} s",
        counted(size.strikes as u64, "fault"),
        counted(size.sends as u64, "send"),
        size.span.as_secs_f64()
    )
}

fn save(file: &Path, run: &Regression) -> io::Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    opened.and_then(|mut file| writeln!(file, "{run}")).map_err(|error| cannot(file, &error))
}

fn cannot(file: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("cannot write {}: {error}", file.display()))
}

/// The day, by Greenwich.
fn today() -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date so many days after 1 January 1970.
fn date(days: u64) -> String {
    // Years begin in March here, so that the leap day is their last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + later)
}

// ---- The screen -----------------------------------------------------------------------------

/// Standard output, with a little colour on a terminal. Nothing fails when it is closed.
struct Screen {
    colour: bool,
}

impl Screen {
    fn new() -> Screen {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { colour: wanted && io::stdout().is_terminal() }
    }

    fn line(&self, line: &StoryLine) {
        self.plain(&self.coloured(line));
    }

    fn coloured(&self, line: &StoryLine) -> String {
        let text = harmless(&line.text);
        let code = match line.tone {
            Tone::Heading => "1",
            Tone::Fault => "35",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Plain => return text,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }

    fn plain(&self, line: &str) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let known = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29")];
        for (days, text) in
            known.into_iter().chain([(20_454, "2026-01-01"), (47_540, "2100-02-28")])
        {
            assert_eq!(date(days), text);
        }
        assert_eq!(date(47_541), "2100-03-01");
    }
}
