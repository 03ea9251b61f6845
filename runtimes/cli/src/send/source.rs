//! Where bodies come from: the command line or standard input, on a thread of its own and at the
//! wanted rate.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smol::channel::{Receiver, Sender, bounded};

use super::args::SendArguments;
use crate::console::Console;
use crate::interrupt::Stop;

/// Longest line that is read whole. A longer one is cut here, still too long to be sent.
const LINE_LENGTH_MAX: u64 = 4 * 1024 * 1024;

/// Empty lines that are told one by one.
const EMPTY_LINES_TOLD: u64 = 10;

/// How long sending may lag behind the wanted rate and still catch up.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// Longest sleep before looking whether to stop.
const NAP_MAX: Duration = Duration::from_millis(50);

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Repeated { body: Bytes, count: u64 },
    Lines,
}

impl Content {
    pub(crate) fn new(arguments: &SendArguments) -> Content {
        let count = arguments.count;
        if let Some(body) = &arguments.body {
            return Content::Repeated { body: Bytes::from(body.clone()), count };
        }
        let letters = |size: u32| (b'a'..=b'z').cycle().take(size as usize).collect();
        let sized = arguments.size.map(letters);
        sized.map_or(Content::Lines, |body| Content::Repeated { body, count })
    }

    /// How many messages there are, if that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        match self {
            Content::Repeated { count, .. } => Some(*count),
            Content::Lines => None,
        }
    }
}

/// Bodies that are sent together: one, or those of a batch.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Load {
    /// The number of the first among all messages, from 0.
    pub(crate) first: u64,
    pub(crate) bodies: Vec<Bytes>,
}

/// The running source.
#[derive(Debug)]
pub(crate) struct Source {
    items: Receiver<Load>,
    state: Arc<State>,
    total: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    taken: AtomicU64,
    failed: AtomicBool,
}

impl Source {
    /// Starts the thread, which puts up to `together` bodies into a load. It ends with the content,
    /// or when sending shall stop; one that waits for standard input then is left behind.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        content: Content,
        rate: Option<f64>,
        together: usize,
        capacity: usize,
        stop: &Stop,
        console: &Console,
    ) -> io::Result<Source> {
        let (sender, items) = bounded(capacity);
        let state = Arc::<State>::default();
        let total = content.total();
        let feed = Feed {
            sender,
            state: Arc::clone(&state),
            stop: stop.clone(),
            pace: rate.map(Pace::new),
            together,
            load: Load { first: 0, bodies: Vec::new() },
        };
        let console = console.clone();
        let thread = thread::Builder::new().name("messages".into());
        thread.spawn(move || match content {
            Content::Repeated { body, count } => feed.repeat(&body, count),
            Content::Lines => feed.lines(io::stdin().lock(), &console),
        })?;
        Ok(Source { items, state, total })
    }

    pub(crate) fn items(&self) -> &Receiver<Load> {
        &self.items
    }

    /// Messages that were to be sent, less those that were.
    pub(crate) fn missing(&self, sent: u64) -> u64 {
        let taken = self.state.taken.load(Ordering::Acquire);
        self.total.unwrap_or(taken).saturating_sub(sent)
    }

    /// Whether the input broke off.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.failed.load(Ordering::Acquire)
    }
}

/// The thread's side.
struct Feed {
    sender: Sender<Load>,
    state: Arc<State>,
    stop: Stop,
    pace: Option<Pace>,
    together: usize,
    /// What is being put together.
    load: Load,
}

impl Feed {
    fn repeat(mut self, body: &Bytes, count: u64) {
        for _ in 0..count {
            if !self.pass_on(body.clone()) {
                return;
            }
        }
        self.send_load();
    }

    fn lines(mut self, mut input: impl BufRead, console: &Console) {
        let mut empty = 0_u64;
        for number in 1_u64.. {
            let line = match read_line(&mut input) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.state.failed.store(true, Ordering::Release);
                    console.line(&format!("rmq: standard input, line {number}: {error}"));
                    break;
                }
            };
            if line.is_empty() {
                empty += 1;
                if empty <= EMPTY_LINES_TOLD {
                    console.line(&format!("line {number} is empty: skipped"));
                }
                continue;
            }
            if !self.pass_on(line) {
                break;
            }
        }
        self.send_load();
        if empty > EMPTY_LINES_TOLD {
            console.line(&format!("{empty} empty lines skipped in all"));
        }
    }

    /// `false` if nothing more is wanted.
    fn pass_on(&mut self, body: Bytes) -> bool {
        self.state.taken.fetch_add(1, Ordering::AcqRel);
        if let Some(pace) = &mut self.pace {
            pace.wait(&self.stop);
        }
        self.load.bodies.push(body);
        let full = self.load.bodies.len() >= self.together;
        !self.stop.is_stopped() && (!full || self.send_load())
    }

    /// Sends what is put together. `false` if nothing more is wanted.
    fn send_load(&mut self) -> bool {
        let load = Load { first: self.load.first, bodies: std::mem::take(&mut self.load.bodies) };
        if load.bodies.is_empty() {
            return true;
        }
        self.load.first += load.bodies.len() as u64;
        !self.stop.is_stopped() && self.sender.send_blocking(load).is_ok()
    }
}

/// The next line without its end, or `None` at the end of the input.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    // One byte more than fits makes the line too long, two are for its end.
    let count = input.take(LINE_LENGTH_MAX + 3).read_until(b'\n', &mut line)?;
    if count == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        let _ = line.pop_if(|last| *last == b'\r');
    } else if count as u64 == LINE_LENGTH_MAX + 3 {
        input.skip_until(b'\n')?;
    }
    Ok(Some(line.into()))
}

/// Keeps to a number of messages per second.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: f64) -> Pace {
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        Pace { interval, next: Instant::now() }
    }

    /// Waits for the turn of the next message.
    fn wait(&mut self, stop: &Stop) {
        let mut now = Instant::now();
        while now < self.next && !stop.is_stopped() {
            thread::sleep((self.next - now).min(NAP_MAX));
            now = Instant::now();
        }
        let earliest = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
        let base = self.next.max(earliest);
        // An interval beyond the clock's range: no second message in this process.
        const AGES: Duration = Duration::from_secs(u32::MAX as u64);
        self.next = base.checked_add(self.interval).unwrap_or(base + AGES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Bytes> {
        let mut input = io::BufReader::with_capacity(16, input);
        std::iter::from_fn(|| read_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines_end_with_or_without_a_line_feed_and_are_not_read_as_text() {
        assert_eq!(
            lines(b"a\nb\r\n\nc\rd\n\xff\xfe"),
            ["a", "b", "", "c\rd"]
                .map(Bytes::from)
                .into_iter()
                .chain([Bytes::from_static(b"\xff\xfe")])
                .collect::<Vec<_>>()
        );
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_too_long_stays_too_long_and_hides_no_other() {
        let fits = LINE_LENGTH_MAX as usize;
        for (length, read) in [(fits, fits), (fits + 1, fits + 1), (fits + 50, fits + 3)] {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\r\nnext\n");
            let lines = lines(&input);
            assert_eq!(lines.iter().map(Bytes::len).collect::<Vec<_>>(), [read, 4]);
        }
    }

    #[test]
    fn loads_are_full_but_for_the_last_and_count_their_messages() {
        let (sender, items) = bounded(10);
        let (state, stop) = (Arc::default(), Stop::new());
        let load = Load { first: 0, bodies: Vec::new() };
        let feed = Feed { sender, state, stop, pace: None, together: 3, load };
        feed.lines(&b"a\nb\n\nc\nd\ne\nf\ng"[..], &Console::new(Some(1)));
        let loads: Vec<_> = std::iter::from_fn(|| items.try_recv().ok()).collect();
        let load = |first, bodies: &'static str| Load {
            first,
            bodies: bodies.split(' ').map(Bytes::from).collect(),
        };
        assert_eq!(loads, [load(0, "a b c"), load(3, "d e f"), load(6, "g")]);
    }

    #[test]
    fn a_rate_is_kept_and_lost_time_is_not_made_up_for_ever() {
        let stop = Stop::new();
        let start = Instant::now();
        let mut pace = Pace::new(200.0);
        for _ in 0..5 {
            pace.wait(&stop);
        }
        assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
        let mut pace = Pace::new(1e-300);
        pace.wait(&stop);
        stop.stop();
        pace.wait(&stop);
        assert!(pace.next > Instant::now() + Duration::from_secs(1_000_000));
    }
}
