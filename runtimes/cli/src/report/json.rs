//! One line of JSON for each send. Every key is always there.

use std::time::Duration;

use rocketmq_tokio::{
    Attempt, AttemptFailure, NameServerFailure, OnewayReceipt, SendError, SendErrorKind,
    SendReceipt, SendStatus, Stage,
};
use serde::Serialize;

use super::{Ended, Outcome};
use crate::send::args::EndName;
use crate::text::{bounded, millis};

#[derive(Debug, Serialize)]
struct Line<'a> {
    outcome: &'static str,
    status: Option<&'static str>,
    topic: &'a str,
    broker: Option<&'a str>,
    queue: Option<u32>,
    offset: Option<u64>,
    unique_key: Option<String>,
    offset_message_id: Option<String>,
    recall_handle: Option<&'a str>,
    batch: Option<u64>,
    transaction: Option<&'static str>,
    kind: Option<&'static str>,
    code: Option<i32>,
    elapsed_ms: f64,
    attempts: Vec<AttemptLine<'a>>,
}

#[derive(Debug, Serialize)]
struct AttemptLine<'a> {
    /// `None` for a name server that gave no route.
    broker: Option<&'a str>,
    address: Option<&'a str>,
    queue: Option<u32>,
    stage: &'static str,
    elapsed_ms: Option<f64>,
    code: Option<i32>,
    /// The peer's words, or the client's own about what happened instead of an answer.
    remark: Option<String>,
}

/// The line, without its end, of a message that went by itself, in this batch, or in a transaction
/// that was to end so.
pub(crate) fn line(ended: &Ended, batch: Option<u64>, transaction: Option<EndName>) -> String {
    let outcome = ended.outcome().name();
    let mut line = match ended {
        Ended::Stored(receipt) => stored(outcome, receipt),
        Ended::Sent(receipt) => sent(outcome, receipt),
        Ended::Failed(error) => failed(outcome, error),
        Ended::NotDecided(receipt, error) => {
            let kind = Some(error.kind().name());
            Line { kind, code: error.kind().code(), ..stored(outcome, receipt) }
        }
    };
    line.batch = batch;
    line.transaction = transaction.map(EndName::name);
    written(&line)
}

/// The line, without its end, of one message of a batch that failed.
pub(crate) fn member_line(error: &SendError, index: usize, batch: u64) -> String {
    let mut line = failed(Outcome::of(error).name(), error);
    // Consumers know it by its own key, not by that of the batch.
    line.unique_key = error.member_keys().get(index).map(ToString::to_string);
    line.batch = Some(batch);
    written(&line)
}

fn written(line: &Line<'_>) -> String {
    // Text and numbers alone, and no map with other keys than text: this cannot fail.
    escaped(&serde_json::to_string(line).unwrap_or_default())
}

/// JSON lets the control characters from U+007F on stand as they are, terminals obey some of them.
pub(crate) fn escaped(line: &str) -> String {
    if !line.contains(char::is_control) {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

fn stored<'a>(outcome: &'static str, receipt: &'a SendReceipt) -> Line<'a> {
    let queue = receipt.position.map(|position| position.queue_id);
    let code = code_of(receipt.status);
    let mut attempts: Vec<_> = receipt.failed_attempts.iter().map(attempt).collect();
    attempts.push(AttemptLine {
        broker: Some(bounded(&receipt.broker_name)),
        address: known(&receipt.address),
        queue,
        stage: Stage::Answered.name(),
        elapsed_ms: Some(millis(receipt.attempt_elapsed)),
        code: Some(code),
        remark: None,
    });
    Line {
        outcome,
        status: Some(receipt.status.name()),
        topic: &receipt.topic,
        broker: Some(bounded(&receipt.broker_name)),
        queue,
        offset: receipt.position.map(|position| position.queue_offset),
        unique_key: Some(receipt.unique_key.to_string()),
        offset_message_id: receipt.offset_message_id.map(|id| id.to_string()),
        recall_handle: receipt.recall_handle.as_deref().map(bounded),
        batch: None,
        transaction: None,
        kind: None,
        code: Some(code),
        elapsed_ms: millis(receipt.elapsed),
        attempts,
    }
}

fn sent<'a>(outcome: &'static str, receipt: &'a OnewayReceipt) -> Line<'a> {
    let mut attempts: Vec<_> = receipt.failed_attempts.iter().map(attempt).collect();
    // How the time was spread over the attempts is known only if there was one.
    let alone: Option<Duration> = attempts.is_empty().then_some(receipt.elapsed);
    attempts.push(AttemptLine {
        broker: Some(bounded(&receipt.broker_name)),
        address: known(&receipt.address),
        queue: Some(receipt.queue_id),
        stage: Stage::Await.name(),
        elapsed_ms: alone.map(millis),
        code: None,
        remark: None,
    });
    Line {
        outcome,
        status: None,
        topic: &receipt.topic,
        broker: Some(bounded(&receipt.broker_name)),
        queue: Some(receipt.queue_id),
        offset: None,
        unique_key: Some(receipt.unique_key.to_string()),
        offset_message_id: None,
        recall_handle: None,
        batch: None,
        transaction: None,
        kind: None,
        code: None,
        elapsed_ms: millis(receipt.elapsed),
        attempts,
    }
}

fn failed<'a>(outcome: &'static str, error: &'a SendError) -> Line<'a> {
    let code = match error.kind() {
        SendErrorKind::Broker { code, .. }
        | SendErrorKind::PermissionDenied { code, .. }
        | SendErrorKind::Unsuitable { code, .. } => Some(code.0),
        _ => None,
    };
    Line {
        outcome,
        status: None,
        topic: error.topic(),
        broker: None,
        queue: None,
        offset: None,
        unique_key: error.unique_key().map(|key| key.to_string()),
        offset_message_id: None,
        recall_handle: None,
        batch: None,
        transaction: None,
        kind: Some(error.kind().name()),
        code,
        elapsed_ms: millis(error.elapsed()),
        attempts: error
            .name_servers()
            .iter()
            .map(name_server)
            .chain(error.attempts().iter().map(attempt))
            .collect(),
    }
}

/// A name server that was asked for the route: an attempt that did not get to a queue.
fn name_server(server: &NameServerFailure) -> AttemptLine<'_> {
    let (code, remark) = words(&server.failure);
    AttemptLine {
        broker: None,
        address: known(&server.address),
        queue: None,
        stage: Stage::Select.name(),
        elapsed_ms: None,
        code,
        remark: Some(remark),
    }
}

/// The peer's code and words, or the client's own words.
fn words(failure: &AttemptFailure) -> (Option<i32>, String) {
    match failure {
        AttemptFailure::Answered { code, remark } => (Some(code.0), bounded(remark).to_owned()),
        failure => (None, bounded(&failure.to_string()).to_owned()),
    }
}

fn attempt(attempt: &Attempt) -> AttemptLine<'_> {
    let (code, remark) = words(&attempt.failure);
    AttemptLine {
        broker: Some(bounded(&attempt.broker_name)),
        address: known(&attempt.address),
        queue: Some(attempt.queue_id),
        stage: attempt.stage.name(),
        elapsed_ms: Some(millis(attempt.elapsed)),
        code,
        remark: Some(remark),
    }
}

fn known(address: &str) -> Option<&str> {
    Some(bounded(address)).filter(|address| !address.is_empty())
}

fn code_of(status: SendStatus) -> i32 {
    match status {
        SendStatus::SendOk => 0,
        SendStatus::FlushDiskTimeout => 10,
        SendStatus::SlaveNotAvailable => 11,
        SendStatus::FlushSlaveTimeout => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocketmq_tokio::{InvalidMessage, Message};

    const KEYS: [&str; 15] = [
        "outcome",
        "status",
        "topic",
        "broker",
        "queue",
        "offset",
        "unique_key",
        "offset_message_id",
        "recall_handle",
        "batch",
        "transaction",
        "kind",
        "code",
        "elapsed_ms",
        "attempts",
    ];

    #[test]
    fn a_failure_without_attempts_has_every_key_in_order() {
        let kind = SendErrorKind::Invalid(InvalidMessage::BodyEmpty);
        let error = SendError::not_sent(kind, Message::new("T", ""));
        let error = error.with_elapsed(Duration::from_micros(1_500));
        let text = line(&Ended::Failed(error), None, None);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let places: Vec<_> =
            KEYS.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
        assert_eq!(value.as_object().unwrap().len(), KEYS.len());
        assert_eq!(value["outcome"], "invalid");
        assert_eq!(value["kind"], "invalid");
        assert_eq!(value["elapsed_ms"], 1.5);
        assert!(value["broker"].is_null() && value["attempts"].as_array().unwrap().is_empty());
    }

    #[test]
    fn control_characters_beyond_ascii_are_escaped_too() {
        let text = serde_json::to_string("a\u{1b}b\u{9b}c\u{7f}ü").unwrap();
        let safe = escaped(&text);
        assert!(!safe.contains(char::is_control), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{1b}b\u{9b}c\u{7f}ü");
    }
}
