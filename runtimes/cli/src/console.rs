//! Standard error: notes, and a bar on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;

/// Time between two lines of progress where there is no terminal.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Standard error. Clones write to the same one. Nothing fails when it is closed.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    bar: Option<ProgressBar>,
}

impl Console {
    /// `total` is the number of messages, if it is known and there is more than one.
    pub(crate) fn new(total: Option<u64>) -> Console {
        let wanted = std::io::stderr().is_terminal() && total.is_none_or(|total| total > 1);
        Console { bar: wanted.then(|| bar(total)) }
    }

    /// Prints a line without disturbing the bar.
    pub(crate) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| write_line(line)),
            None => write_line(line),
        }
    }

    /// Prints a line on standard output without disturbing the bar.
    pub(crate) fn print(&self, line: &str) {
        let write = || {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What of the work is done, shown now and then.
#[derive(Debug)]
pub(crate) struct Progress {
    console: Console,
    started: Instant,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new(console: Console) -> Progress {
        let now = Instant::now();
        Progress { console, started: now, shown: now }
    }

    /// So many sends have ended, so many of them without an acknowledgement.
    pub(crate) fn update(&mut self, ended: u64, failed: u64) {
        let told = self.console.bar.is_none() || failed > 0;
        self.show(ended, "send", || {
            if told { format!("{} failed", text::grouped(failed)) } else { String::new() }
        });
    }

    /// So many of something are done; `message` says more about them.
    pub(crate) fn show(&mut self, done: u64, noun: &str, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.console.bar {
            bar.set_position(done);
            bar.set_message(message());
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.shown) >= PROGRESS_PERIOD {
            self.shown = now;
            let time = now.duration_since(self.started).as_secs_f64();
            let done = text::counted(done, noun);
            self.console.line(&format!("{time:.0} s: {done}, {}", message()));
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{bar:30} {human_pos}/{human_len}  {per_sec}  {eta} left  {msg}",
        None => "{spinner} {human_pos} done  {per_sec}  {elapsed}  {msg}",
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    // A template that cannot be read leaves the default style.
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

/// Standard error may be closed; then there is nobody to tell.
pub(crate) fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
