//! One line about a send that was not acknowledged: what was tried, what that proves, what to do.

use rocketmq_tokio::{
    Delivery, InvalidBatch, PermissionReason, ResponseCode, SendError, SendErrorKind,
    TransactionError,
};

use crate::text::{bounded, counted, harmless, short_millis};

/// The line. Nothing in it moves the cursor, whatever a peer has said. `vip` says whether messages
/// go to the VIP ports.
pub(crate) fn line(error: &SendError, vip: bool) -> String {
    let kind = error.kind().to_string();
    let what = match error.message() {
        Some(_) => String::from("send"),
        None => format!("batch of {}", counted(error.messages().count() as u64, "message")),
    };
    let mut out = format!(
        "{what} to topic \"{}\" failed after {}: {}",
        error.topic(),
        short_millis(error.elapsed()),
        bounded(&kind)
    );
    for server in error.name_servers() {
        let failure = server.failure.to_string();
        out.push_str(&format!("; name server {}: {}", server.address, bounded(&failure)));
    }
    for broker in error.unwritable_brokers() {
        out.push_str(&format!("; {}", bounded(&broker.to_string())));
    }
    for (number, attempt) in error.attempts().iter().enumerate() {
        let failure = attempt.failure.to_string();
        out.push_str(&format!(
            "; attempt {}: broker \"{}\" at {} queue {}, {} after {}: {}",
            number + 1,
            bounded(&attempt.broker_name),
            bounded(&attempt.address),
            attempt.queue_id,
            attempt.stage,
            short_millis(attempt.elapsed),
            bounded(&failure)
        ));
    }
    out.push_str(&format!("; {}.", error.delivery()));
    if let Some(advice) = advice(error, vip) {
        out.push_str(" To do: ");
        out.push_str(advice);
        out.push('.');
    }
    harmless(&out)
}

/// The line for a transaction whose end no broker has acknowledged.
pub(crate) fn not_decided(error: &TransactionError) -> String {
    harmless(bounded(&error.to_string()))
}

fn advice(error: &SendError, vip: bool) -> Option<&'static str> {
    let advice = match error.kind() {
        SendErrorKind::NameServerUnreachable => {
            "check --name-server (name servers usually listen on port 9876) and that one runs there"
        }
        SendErrorKind::TopicNotFound => {
            "check --topic and --namespace for a typing error, create the topic (rmq topic \
             create), or set autoCreateTopicEnable on the brokers"
        }
        SendErrorKind::NoWritableQueue => {
            "check that a broker of the topic runs and may be written"
        }
        SendErrorKind::NoSuchQueue(_) => {
            "leave --queue out, or name a broker of the topic (its name, not its address)"
        }
        SendErrorKind::PermissionDenied { reason, .. } => match reason {
            PermissionReason::NoCredentials => {
                "give --access-key and --secret-key, or ROCKETMQ_ACCESS_KEY and \
                 ROCKETMQ_SECRET_KEY in the environment, or --credentials-file"
            }
            PermissionReason::UnknownAccessKey => "check --access-key",
            PermissionReason::WrongSecret => "check --secret-key",
            _ => "check the permissions of the user on that broker",
        },
        SendErrorKind::Transport if vip => {
            "check that the broker runs and that its VIP port, two below the announced one, is \
             reachable from here; leave --vip out, or give a reachable address with --map \
             ANNOUNCED=REACHABLE"
        }
        SendErrorKind::Transport => {
            "check that the broker runs and that its address is reachable from here; if it is \
             not (containers, NAT), give the reachable one with --map ANNOUNCED=REACHABLE"
        }
        SendErrorKind::Timeout => {
            "see the attempts for where the time went; raise --timeout if that was to be expected"
        }
        SendErrorKind::WaitedForOrder => "raise --timeout, or lower --in-flight",
        SendErrorKind::InvalidBatch(reason) => match **reason {
            InvalidBatch::TooLarge { .. } | InvalidBatch::TooMany { .. } => "lower --batch",
            _ => {
                "leave --batch out, or what cannot be in a batch: one such message keeps back all \
                 of its batch"
            }
        },
        SendErrorKind::Backpressure(_) => "lower --in-flight or raise --timeout",
        SendErrorKind::Broker { code, .. } => return broker_advice(*code, error.delivery()),
        _ => return unknown_advice(error.delivery()),
    };
    Some(advice)
}

fn broker_advice(code: ResponseCode, delivery: Delivery) -> Option<&'static str> {
    match code {
        ResponseCode::SYSTEM_BUSY | ResponseCode::FLOW_CONTROL => {
            Some("the brokers are busy; send more slowly with --rate or a lower --in-flight")
        }
        ResponseCode::TOPIC_NOT_EXIST => Some("create the topic on that broker (rmq topic create)"),
        ResponseCode::NO_PERMISSION => Some("check the permissions of the topic and the broker"),
        _ => unknown_advice(delivery),
    }
}

fn unknown_advice(delivery: Delivery) -> Option<&'static str> {
    let unknown = delivery == Delivery::Unknown;
    unknown.then_some(
        "look for its key on the broker before sending it again, or accept a second copy",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocketmq_tokio::Message;

    #[test]
    fn a_line_says_what_happened_and_what_to_do_without_control_characters() {
        let remark = format!("\u{1b}]0;owned\u{7}\n{}", "x".repeat(10_000));
        let kind = SendErrorKind::Broker { code: ResponseCode(2), remark: remark.into() };
        let line = line(&SendError::not_sent(kind, Message::new("T", "x")), false);
        assert!(!line.contains(char::is_control), "{line}");
        assert!(line.len() < 5_000, "{}", line.len());
        assert!(line.starts_with("send to topic \"T\" failed after 0.00 ms: the broker answered"));
        assert!(line.ends_with("lower --in-flight."), "{line}");
    }

    #[test]
    fn every_kind_with_a_remedy_names_an_option_or_a_place() {
        for (kind, words) in [
            (SendErrorKind::NameServerUnreachable, "--name-server"),
            (SendErrorKind::TopicNotFound, "--topic"),
            (SendErrorKind::NoSuchQueue("b".into()), "--queue"),
            (SendErrorKind::Transport, "--map"),
            (SendErrorKind::Timeout, "--timeout"),
        ] {
            let line = line(&SendError::not_sent(kind, Message::new("T", "x")), false);
            assert!(line.contains(words), "{line}");
        }
        let error = SendError::not_sent(SendErrorKind::Transport, Message::new("T", "x"));
        assert!(line(&error, true).contains("--vip") && !line(&error, false).contains("--vip"));
    }

    #[test]
    fn a_batch_is_told_as_one() {
        let messages = vec![Message::new("T", "x"), Message::new("T", "y")];
        for (reason, words) in [
            (InvalidBatch::TooLarge { length: 9, max: 8 }, "lower --batch"),
            (InvalidBatch::Delayed { index: 1 }, "leave --batch out"),
        ] {
            let line = line(&SendError::invalid_batch(reason, messages.clone()), false);
            assert!(line.starts_with("batch of 2 messages to topic \"T\" failed"), "{line}");
            assert!(line.contains(words), "{line}");
        }
    }
}
