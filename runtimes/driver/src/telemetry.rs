//! Sends as `tracing` spans and what happens as `tracing` events, with the names that OpenTelemetry
//! gives them. Levels go by meaning: `warn` for what a person may have to look at, `info` for sends
//! and changes of state, `debug` for single attempts.
//!
//! Neither bodies nor properties appear, so tag and keys, which are properties, do not either.

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Completion, Config, Event, InvalidBatch, InvalidMessage, Message, OpId, SendError,
    SendErrorKind, SendReceipt,
};
use tracing::field::{Empty, display};
use tracing::{Span, debug, info, info_span, warn};

const SYSTEM: &str = "rocketmq";

// ---- Sends ----------------------------------------------------------------------------------

/// The span of a send of one message or of a batch, from the call to the end, whoever awaits it.
// OpenTelemetry: semantic conventions for messaging spans, "send" spans of producers
pub(crate) fn span(messages: &[Message], config: &Config) -> Span {
    let topic = messages.first().map(Message::topic).unwrap_or_default();
    let bytes: usize = messages.iter().map(|message| message.body().len()).sum();
    let span = info_span!(
        "send",
        otel.name = Empty,
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = SYSTEM,
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.client.id = &*config.client_id,
        messaging.destination.name = topic,
        messaging.destination.partition.id = Empty,
        messaging.message.id = Empty,
        messaging.message.body.size = bytes,
        messaging.batch.message_count = Empty,
        messaging.rocketmq.namespace = Empty,
        server.address = Empty,
        error.type = Empty,
        delivery = Empty,
        attempts = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", display(format_args!("send {topic}")));
        if messages.len() != 1 {
            span.record("messaging.batch.message_count", messages.len() as u64);
        }
        if !config.namespace.is_empty() {
            span.record("messaging.rocketmq.namespace", &*config.namespace);
        }
    }
    span
}

/// The send has its unique key.
pub(crate) fn named(span: &Span, unique_key: UniqueKey) {
    if !span.is_disabled() {
        span.record("messaging.message.id", display(unique_key));
    }
}

/// The send has ended; its span closes.
pub(crate) fn ended(span: &Span, result: &Result<Completion, SendError>) {
    match result {
        Ok(Completion::Stored(receipt)) if !span.is_disabled() => {
            stored(span, receipt);
        }
        Ok(Completion::Sent(receipt)) if !span.is_disabled() => {
            span.record("server.address", &*receipt.address);
            span.record("messaging.destination.partition.id", display(receipt.queue_id));
            span.record("delivery", "handed over");
            span.record("attempts", receipt.failed_attempts.len() as u64 + 1);
        }
        Ok(Completion::StoredBatch(receipts)) if !span.is_disabled() => {
            // One request carried them all: the first tells where to.
            if let Some(receipt) = receipts.first() {
                stored(span, receipt);
            }
        }
        Ok(_) => {}
        Err(error) => failed(span, error),
    }
}

fn stored(span: &Span, receipt: &SendReceipt) {
    span.record("server.address", &*receipt.address);
    if let Some(position) = receipt.position {
        span.record("messaging.destination.partition.id", display(position.queue_id));
    }
    span.record("delivery", "stored");
    span.record("attempts", receipt.failed_attempts.len() as u64 + 1);
}

/// The send has failed; its span closes.
pub(crate) fn failed(span: &Span, error: &SendError) {
    let (kind, delivery) = (error.kind().name(), display(error.delivery()));
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
    span.record("delivery", &delivery);
    span.record("attempts", error.attempts().len() as u64);
    let _in = span.enter();
    let id = error.unique_key().map(display);
    let shown = Some(error).filter(|error| is_tellable(error.kind()));
    warn!(
        messaging.system = SYSTEM,
        messaging.operation.name = "send",
        messaging.destination.name = error.topic(),
        messaging.message.id = id,
        error.type = kind,
        delivery,
        error = shown.map(display),
        "send failed"
    );
}

/// Whether the text of a failure holds no part of a message.
fn is_tellable(kind: &SendErrorKind) -> bool {
    match kind {
        SendErrorKind::Invalid(invalid) => matches!(invalid, InvalidMessage::Forbidden(_)),
        SendErrorKind::InvalidBatch(invalid) => !matches!(**invalid, InvalidBatch::Message { .. }),
        _ => true,
    }
}

// ---- Events ---------------------------------------------------------------------------------

/// Emits one event of the core, in the span of the send that it is about.
pub(crate) fn event(event: &Event, span_of: impl Fn(OpId) -> Span) {
    match event {
        Event::Connected { address, .. } => {
            info!(messaging.system = SYSTEM, server.address = %address, "connected");
        }
        Event::ConnectFailed { address, failure, .. } => {
            warn!(messaging.system = SYSTEM, server.address = %address, %failure, "connect failed");
        }
        Event::Disconnected { address, reason, .. } => {
            info!(messaging.system = SYSTEM, server.address = %address, %reason, "disconnected");
        }
        Event::RouteChanged { topic, brokers, queues } => info!(
            messaging.system = SYSTEM,
            messaging.destination.name = %topic,
            brokers,
            queues,
            "route changed"
        ),
        Event::RouteFailed { topic, address, failure } => warn!(
            messaging.system = SYSTEM,
            messaging.destination.name = %topic,
            server.address = %address,
            %failure,
            "route look-up failed"
        ),
        Event::CredentialsRefreshed { expires_in } => info!(
            messaging.system = SYSTEM,
            expires_in_s = expires_in.map(|time| time.as_secs()),
            "credentials refreshed"
        ),
        Event::CredentialsFailed { failure, .. } => {
            warn!(messaging.system = SYSTEM, %failure, "no credentials from their provider");
        }
        Event::InterceptorPanicked { hook, unique_key } => warn!(
            messaging.system = SYSTEM,
            messaging.message.id = unique_key.map(display),
            %hook,
            "an interceptor panicked"
        ),
        other => attempt(other, span_of),
    }
}

fn attempt(event: &Event, span_of: impl Fn(OpId) -> Span) {
    match event {
        Event::AttemptStarted { op, unique_key, number, broker_name, queue_id } => {
            let _in = span_of(*op).entered();
            debug!(
                messaging.system = SYSTEM,
                messaging.operation.name = "send",
                messaging.message.id = %unique_key,
                messaging.destination.partition.id = queue_id,
                broker = %broker_name,
                attempt = number,
                "attempt started"
            );
        }
        Event::AttemptFailed { op, unique_key, number, broker_name, failure, retry_at } => {
            let _in = span_of(*op).entered();
            debug!(
                messaging.system = SYSTEM,
                messaging.operation.name = "send",
                messaging.message.id = %unique_key,
                broker = %broker_name,
                attempt = number,
                %failure,
                again = retry_at.is_some(),
                "attempt failed"
            );
        }
        Event::RetryWithheld { op, unique_key, .. } => {
            let _in = span_of(*op).entered();
            debug!(
                messaging.system = SYSTEM,
                messaging.operation.name = "send",
                messaging.message.id = %unique_key,
                "no budget for another attempt"
            );
        }
        other => debug!(messaging.system = SYSTEM, event = ?other, "client event"),
    }
}

#[cfg(test)]
mod tests {
    use rocketmq_core::Forbidden;

    use super::*;

    #[test]
    fn a_part_of_a_message_is_not_told_not_even_of_one_in_a_batch() {
        let reason = || InvalidMessage::Key { key: "a secret".into() };
        let batch = |invalid| SendErrorKind::InvalidBatch(Box::new(invalid));
        assert!(!is_tellable(&SendErrorKind::Invalid(reason())));
        assert!(!is_tellable(&batch(InvalidBatch::Message { index: 1, reason: reason() })));
        assert!(is_tellable(&batch(InvalidBatch::Empty)));
        let forbidden = InvalidMessage::Forbidden(Forbidden::new("not here"));
        assert!(is_tellable(&SendErrorKind::Invalid(forbidden)));
    }
}
