//! All sends together.

use std::time::Duration;

use hdrhistogram::Histogram;
use rocketmq_tokio::SendError;

use super::{Ended, Outcome};
use crate::text::{bytes, counted, grouped, rate, short_millis};

/// Counts and latencies of sends that have ended.
#[derive(Debug)]
pub(crate) struct Summary {
    counts: [u64; 8],
    /// Batches in which they went; 0 if each went by itself.
    batches: u64,
    /// Acknowledged after more than one attempt.
    retried: u64,
    bytes: u64,
    /// Microseconds of the sends that went well. `None` if there is no memory for it.
    latencies: Option<Histogram<u64>>,
    /// Messages that were to be sent, but never got a send.
    unsent: u64,
    /// Input or output broke off.
    broken: bool,
}

impl Summary {
    pub(crate) fn new() -> Summary {
        Summary {
            counts: [0; 8],
            batches: 0,
            retried: 0,
            bytes: 0,
            // Up to an hour; what is beyond counts as an hour. A range that is too small would be
            // cut without a word.
            latencies: Histogram::new_with_bounds(1, 3_600_000_000, 3).ok(),
            unsent: 0,
            broken: false,
        }
    }

    /// Adds a send of a body of so many bytes.
    pub(crate) fn add(&mut self, ended: &Ended, body_bytes: usize) {
        if let Some(count) = self.counts.get_mut(ended.outcome() as usize) {
            *count += 1;
        }
        let (elapsed, retried) = match ended {
            Ended::Stored(receipt) => (receipt.elapsed, !receipt.failed_attempts.is_empty()),
            Ended::Sent(receipt) => (receipt.elapsed, !receipt.failed_attempts.is_empty()),
            Ended::Failed(_) | Ended::NotDecided(..) => return,
        };
        self.retried += u64::from(retried);
        self.bytes += body_bytes as u64;
        self.record(elapsed);
    }

    /// Adds so many messages that failed together.
    pub(crate) fn add_failed(&mut self, error: &SendError, messages: u64) {
        if let Some(count) = self.counts.get_mut(Outcome::of(error) as usize) {
            *count += messages;
        }
    }

    /// Notes in how many batches the messages went.
    pub(crate) fn note_batches(&mut self, batches: u64) {
        self.batches = batches;
    }

    fn record(&mut self, elapsed: Duration) {
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Adds messages that never got a send.
    pub(crate) fn add_unsent(&mut self, count: u64) {
        self.unsent += count;
    }

    /// Notes that input or output broke off.
    pub(crate) fn note_failure(&mut self) {
        self.broken = true;
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(outcome as usize).copied().unwrap_or_default()
    }

    /// Sends that ended.
    pub(crate) fn ended(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn sent(&self) -> u64 {
        self.count(Outcome::Sent)
    }

    fn acknowledged(&self) -> u64 {
        use Outcome::{Acknowledged, AcknowledgedNoReceipt, AcknowledgedWeak};
        [Acknowledged, AcknowledgedWeak, AcknowledgedNoReceipt].map(|o| self.count(o)).iter().sum()
    }

    /// Sends that ended without what was asked for.
    pub(crate) fn failed(&self) -> u64 {
        self.ended() - self.acknowledged() - self.sent()
    }

    /// Whether everything that was to be sent was acknowledged or, oneway, sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.failed() == 0 && self.unsent == 0 && !self.broken
    }

    /// The lines for people. `time` is what all of it took.
    pub(crate) fn lines(&self, topic: &str, time: Duration) -> Vec<String> {
        let good = self.acknowledged() + self.sent();
        let sends = match self.batches {
            0 => counted(self.ended(), "send"),
            1 => format!("{} in 1 batch", counted(self.ended(), "message")),
            batches => {
                format!("{} in {} batches", counted(self.ended(), "message"), grouped(batches))
            }
        };
        let mut first = format!("{sends} to topic \"{topic}\" in {:.2} s", time.as_secs_f64());
        if good > 1 {
            let throughput = self.bytes as f64 / time.as_secs_f64().max(1e-9);
            first.push_str(&format!(": {} and {} a second", rate(good, time), bytes(throughput)));
        }
        let mut lines = vec![first];
        lines.push(self.outcomes());
        lines.extend(self.latency_line());
        if self.unsent > 0 {
            lines.push(format!("  never sent: {}", counted(self.unsent, "message")));
        }
        lines
    }

    fn outcomes(&self) -> String {
        let list = |parts: &[(u64, &str)]| {
            let told = parts.iter().filter(|(count, _)| *count > 0);
            let told: Vec<_> =
                told.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
            if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
        };
        let well = list(&[
            (self.count(Outcome::AcknowledgedWeak), "weakly: see status in --json"),
            (self.count(Outcome::AcknowledgedNoReceipt), "without a receipt"),
            (self.retried, "after a retry"),
        ]);
        let badly = list(&[
            (self.count(Outcome::Refused), "refused"),
            (self.count(Outcome::NotSent), "not sent"),
            (self.count(Outcome::Unknown), "unknown: may have been stored"),
            (self.count(Outcome::Invalid), "invalid"),
        ]);
        let (verb, count) = match self.sent() {
            0 => ("acknowledged", self.acknowledged()),
            sent => ("sent oneway", sent),
        };
        format!("  {verb} {}{well}, failed {}{badly}", grouped(count), grouped(self.failed()))
    }

    fn latency_line(&self) -> Option<String> {
        let latencies = self.latencies.as_ref().filter(|latencies| !latencies.is_empty())?;
        let time = |micros: u64| short_millis(Duration::from_micros(micros));
        let mut line = format!("  latency: min {}", time(latencies.min()));
        for (name, quantile) in [("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999)]
        {
            line.push_str(&format!(", {name} {}", time(latencies.value_at_quantile(quantile))));
        }
        line.push_str(&format!(", max {}", time(latencies.max())));
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocketmq_tokio::{Message, SendError, SendErrorKind};

    #[test]
    fn latencies_are_what_they_were() {
        let mut summary = Summary::new();
        for millis in [5, 100, 100, 100, 2_500] {
            summary.record(Duration::from_millis(millis));
        }
        let latencies = summary.latencies.as_ref().expect("memory for it");
        let close = |micros: u64, millis: u64| micros.abs_diff(millis * 1_000) <= millis;
        assert!(close(latencies.min(), 5), "{}", latencies.min());
        assert!(close(latencies.value_at_quantile(0.5), 100));
        assert!(close(latencies.max(), 2_500), "{}", latencies.max());
    }

    #[test]
    fn failures_and_what_never_got_a_send_make_it_incomplete() {
        let mut summary = Summary::new();
        assert!(summary.is_complete());
        summary.add_unsent(3);
        assert!(!summary.is_complete());
        let mut summary = Summary::new();
        let error = SendError::not_sent(SendErrorKind::Transport, Message::new("T", "x"));
        summary.add(&Ended::Failed(error), 1);
        assert!(!summary.is_complete());
        let lines = summary.lines("T", Duration::from_secs(1));
        assert_eq!(lines[1], "  acknowledged 0, failed 1 (1 not sent)");
        assert_eq!(lines.len(), 2, "no latency without a send that went well");
        let mut summary = Summary::new();
        summary.note_failure();
        assert!(!summary.is_complete());
    }
}
