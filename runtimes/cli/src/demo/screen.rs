//! What the demo prints: plain lines, with a little colour on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rocketmq_tokio::{Attempt, AttemptFailure, ConnectFailure, Delivery, SendReceipt};

use super::{ANSWER_TIME, IN_FLIGHT, MESSAGES, Send, TOPIC, Tally};
use crate::args::RuntimeName;
use crate::report::failure;
use crate::text::{harmless, short_millis};

/// Sends that are shown with all their attempts.
const SENDS_SHOWN: usize = 4;

/// Standard output. Nothing fails when it is closed.
#[derive(Debug)]
pub(super) struct Screen {
    colour: bool,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { colour: wanted && std::io::stdout().is_terminal() }
    }

    pub(super) fn title(&self, runtime: RuntimeName) {
        self.line(&format!(
            "{MESSAGES} messages to topic {TOPIC}, {IN_FLIGHT} at a time, over {}. One of three \
             brokers dies.",
            runtime.crate_name()
        ));
        self.line("Name servers and brokers run in this process: no RocketMQ is needed.");
        self.heading(&format!(
            "What happens (brokers take {} ms to answer)",
            ANSWER_TIME.as_millis()
        ));
    }

    /// Something happened just now.
    pub(super) fn moment(&self, at: Duration, what: &str) {
        self.line(&format!("  {:5.2} s  {what}", at.as_secs_f64()));
    }

    /// The sends that did not go well at the first attempt.
    pub(super) fn failures(&self, sends: &[Send]) {
        self.heading("The sends that met the failure, attempt by attempt");
        let mut attempts = Vec::new();
        let mut hit = 0;
        for send in sends {
            let (failed, end) = match &send.result {
                Ok(receipt) if receipt.failed_attempts.is_empty() => continue,
                Ok(receipt) => (&receipt.failed_attempts[..], success(receipt)),
                Err(error) => (error.attempts(), failure::line(error, false)),
            };
            hit += 1;
            attempts.extend(failed);
            if hit > SENDS_SHOWN {
                continue;
            }
            let mut label = format!("order {}", send.number);
            for attempt in failed {
                self.line(&format!("  {label:<10} {}", failed_attempt(attempt)));
                label.clear();
            }
            self.line(&format!("  {label:<10} {end}"));
        }
        match hit {
            0 => self.line("  none this time: no send was under way to the broker as it died"),
            hit if hit > SENDS_SHOWN => {
                self.line(&format!("  … and {} more like these", hit - SENDS_SHOWN));
            }
            _ => {}
        }
        self.explain(&attempts);
    }

    /// What the attempts prove.
    fn explain(&self, attempts: &[&Attempt]) {
        let any = |delivery| attempts.iter().any(|attempt| attempt.delivery == delivery);
        if any(Delivery::Unknown) {
            self.line(
                "  \"await\": the whole message had left, so the broker may have stored it. It was",
            );
            self.line(
                "  sent again to another broker, under the same key: rather twice than lost.",
            );
        }
        if any(Delivery::NotSent) {
            self.line(
                "  \"not sent\": not all of the message had left, so that broker has not got it.",
            );
        }
    }

    /// What became of all messages.
    pub(super) fn tally(&self, tally: &Tally, time: Duration) {
        self.heading("What the brokers stored, next to what they acknowledged");
        for broker in &tally.brokers {
            let more = broker.stored.saturating_sub(broker.acknowledged);
            let more = match more {
                0 => String::new(),
                more => format!("   {more} whose acknowledgement was lost with a connection"),
            };
            self.line(&format!(
                "  {:<10} {:>4} stored   {:>4} acknowledged{more}",
                broker.name, broker.stored, broker.acknowledged
            ));
        }
        let sends = tally.acknowledged + tally.failed;
        self.heading(&format!(
            "{} of {sends} acknowledged, {} after a retry, {} failed, in {:.2} s",
            tally.acknowledged,
            tally.retried,
            tally.failed,
            time.as_secs_f64()
        ));
        let twice = match tally.twice {
            0 => "none is there twice".to_owned(),
            twice => format!("{twice} there twice"),
        };
        if tally.lost == 0 {
            let good = self.coloured("32", "Lost: 0.");
            self.line(&format!("{good} Every acknowledged message is in its place; {twice}."));
        } else {
            let bad = self.coloured("31", &format!("Lost: {}.", tally.lost));
            self.line(&format!("{bad} That many acknowledged messages are missing; {twice}."));
        }
        self.line("Next: rmq send --name-server HOST:9876 --topic TopicTest --body hello");
    }

    fn heading(&self, text: &str) {
        self.line("");
        self.line(&self.coloured("1", text));
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn line(&self, line: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

fn success(receipt: &SendReceipt) -> String {
    let (queue, offset) = receipt.position.map_or((String::new(), String::new()), |position| {
        (format!(" queue {}", position.queue_id), format!(" at offset {}", position.queue_offset))
    });
    format!(
        "{}{queue}  {:<8} {:>8}  stored{offset}",
        receipt.broker_name,
        "answered",
        short_millis(receipt.attempt_elapsed)
    )
}

fn failed_attempt(attempt: &Attempt) -> String {
    let failure = match &attempt.failure {
        AttemptFailure::Closed(reason) => format!("connection lost: {reason}"),
        AttemptFailure::Connect(ConnectFailure::Refused) => "connection refused".to_owned(),
        failure => failure.to_string(),
    };
    let delivery = match attempt.delivery {
        Delivery::NotSent => "not sent",
        Delivery::Refused => "refused",
        Delivery::Unknown => "may be stored",
    };
    harmless(&format!(
        "{} queue {}  {:<8} {:>8}  {failure}: {delivery}",
        attempt.broker_name,
        attempt.queue_id,
        attempt.stage.name(),
        short_millis(attempt.elapsed)
    ))
}
