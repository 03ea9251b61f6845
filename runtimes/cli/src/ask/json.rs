//! Answers for machines. Every key is always there.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_tokio::{
    CorrelationId, Finding, QueryError, QueryErrorKind, QueueOffsets, ReplyMessage, RequestError,
    StoredMessage, Subject, TopicCreation, TopicRoute,
};
use serde::Serialize;

use super::args::CreateArguments;
use crate::report::Outcome;
use crate::report::json::escaped;
use crate::text::{bounded, millis};

#[derive(Debug, Serialize)]
struct ErrorLine {
    request: &'static str,
    kind: &'static str,
    code: Option<i32>,
    address: Option<String>,
    elapsed_ms: f64,
    text: String,
}

fn error_line(error: &QueryError) -> ErrorLine {
    ErrorLine {
        request: error.request(),
        kind: kind_name(error.kind()),
        code: error.code().map(|code| code.0),
        address: error.address().map(str::to_owned),
        elapsed_ms: millis(error.elapsed()),
        text: bounded(&error.to_string()).to_owned(),
    }
}

fn kind_name(kind: &QueryErrorKind) -> &'static str {
    match kind {
        QueryErrorKind::InvalidTopic(_)
        | QueryErrorKind::InvalidQueues { .. }
        | QueryErrorKind::InvalidAttribute { .. }
        | QueryErrorKind::InvalidRecallHandle
        | QueryErrorKind::ForeignRecallHandle(_)
        | QueryErrorKind::InvalidId => "invalid",
        QueryErrorKind::NotRecallable { .. } => "not_recallable",
        QueryErrorKind::RecallDisabled { .. } => "recall_disabled",
        QueryErrorKind::TopicNotFound => "topic_not_found",
        QueryErrorKind::MessageNotFound => "message_not_found",
        QueryErrorKind::NoSuchBroker(_) => "no_such_broker",
        QueryErrorKind::NoBroker => "no_broker",
        QueryErrorKind::PermissionDenied { .. } => "permission_denied",
        QueryErrorKind::Refused { .. } => "refused",
        QueryErrorKind::Lost(_) => "lost",
        QueryErrorKind::BadAnswer(_) => "bad_answer",
        QueryErrorKind::TooMany => "too_many",
        QueryErrorKind::Closed => "closed",
        QueryErrorKind::DriverStopped => "driver_stopped",
        // A kind that this version of the tool does not know yet.
        _ => "other",
    }
}

/// Text, numbers and maps with text as keys: this cannot fail.
fn line(value: &impl Serialize) -> String {
    escaped(&serde_json::to_string(value).unwrap_or_default())
}

#[derive(Debug, Serialize)]
struct ReplyLine<'a> {
    outcome: &'static str,
    topic: &'a str,
    correlation_id: String,
    broker: Option<&'a str>,
    unique_key: Option<String>,
    producer_group: Option<&'a str>,
    tag: Option<&'a str>,
    keys: Option<Vec<&'a str>>,
    properties: Option<BTreeMap<&'a str, &'a str>>,
    body: Option<&'a str>,
    body_hex: Option<String>,
    elapsed_ms: f64,
    error: Option<String>,
}

pub(super) fn replied(
    topic: &str,
    correlation_id: CorrelationId,
    replied: &Result<ReplyMessage, RequestError>,
    elapsed: Duration,
) -> String {
    let (outcome, receipt, reply) = match replied {
        Ok(reply) => ("replied", None, Some(reply)),
        Err(RequestError::NoReply { receipt, .. }) => ("no_reply", Some(receipt), None),
        Err(RequestError::Unreadable { reply, .. }) => ("unreadable", None, Some(&**reply)),
        Err(RequestError::Send(error)) => (Outcome::of(error).name(), None, None),
        // A failure that this version of the tool does not know yet.
        Err(_) => ("other", None, None),
    };
    let shown = reply.map(|reply| shown(&reply.body, reply.is_compressed()));
    line(&ReplyLine {
        outcome,
        topic,
        correlation_id: correlation_id.to_string(),
        broker: receipt.map(|receipt| bounded(&receipt.broker_name)),
        unique_key: match (receipt, replied) {
            (Some(receipt), _) => Some(receipt.unique_key.to_string()),
            (None, Err(RequestError::Send(error))) => error.unique_key().map(|key| key.to_string()),
            _ => None,
        },
        producer_group: reply.map(|reply| &*reply.producer_group),
        tag: reply.and_then(ReplyMessage::tag),
        keys: reply.map(|reply| reply.keys().collect()),
        properties: reply.map(|reply| {
            reply.properties.iter().map(|(name, value)| (&**name, &**value)).collect()
        }),
        body: shown.as_ref().and_then(|shown| shown.as_ref().ok().copied()),
        body_hex: shown.and_then(Result::err),
        elapsed_ms: millis(elapsed),
        error: replied.as_ref().err().map(|error| bounded(&error.to_string()).to_owned()),
    })
}

/// A body as text; in hexadecimal if it is none, or compressed.
fn shown(body: &[u8], compressed: bool) -> Result<&str, String> {
    let hex = || body.iter().map(|byte| format!("{byte:02x}")).collect();
    std::str::from_utf8(body).ok().filter(|_| !compressed).ok_or_else(hex)
}

#[derive(Debug, Serialize)]
struct RouteLine<'a> {
    topic: &'a str,
    order: Option<&'a str>,
    queues: Vec<QueuesLine<'a>>,
    error: Option<ErrorLine>,
}

#[derive(Debug, Serialize)]
struct QueuesLine<'a> {
    broker: &'a str,
    cluster: Option<&'a str>,
    master: Option<&'a str>,
    read_queues: i32,
    write_queues: i32,
    perm: i32,
}

pub(super) fn route(topic: &str, route: &Result<TopicRoute, QueryError>) -> String {
    let found = route.as_ref().ok();
    let queues = found.iter().flat_map(|route| {
        route.queues.iter().map(|data| {
            let broker = route.brokers.iter().find(|known| known.broker_name == data.broker_name);
            let master = broker.and_then(|it| it.addresses.iter().find(|(id, _)| *id == 0));
            QueuesLine {
                broker: &data.broker_name,
                cluster: broker.map(|broker| &*broker.cluster),
                master: master.map(|(_, address)| &**address),
                read_queues: data.read_queue_nums,
                write_queues: data.write_queue_nums,
                perm: data.perm,
            }
        })
    });
    line(&RouteLine {
        topic,
        order: found.and_then(|route| route.order_topic_conf.as_deref()),
        queues: queues.collect(),
        error: route.as_ref().err().map(error_line),
    })
}

#[derive(Debug, Serialize)]
struct RecallLine<'a> {
    topic: &'a str,
    handle: &'a str,
    recalled: Option<bool>,
    error: Option<ErrorLine>,
}

pub(super) fn recalled(topic: &str, handle: &str, recalled: &Result<(), QueryError>) -> String {
    let known = match recalled {
        Ok(()) => Some(true),
        Err(error) => (!error.may_be_done()).then_some(false),
    };
    let error = recalled.as_ref().err().map(error_line);
    line(&RecallLine { topic, handle: bounded(handle), recalled: known, error })
}

#[derive(Debug, Serialize)]
struct CreatedLine<'a> {
    topic: &'a str,
    queues: u32,
    r#type: Option<String>,
    brokers: Vec<BrokerLine<'a>>,
    error: Option<ErrorLine>,
}

#[derive(Debug, Serialize)]
struct BrokerLine<'a> {
    broker: &'a str,
    address: String,
    created: bool,
    error: Option<ErrorLine>,
}

pub(super) fn created(
    arguments: &CreateArguments,
    created: &Result<TopicCreation, QueryError>,
) -> String {
    let brokers = created.iter().flat_map(|created| &created.brokers).map(|broker| BrokerLine {
        broker: &broker.broker_name,
        address: broker.address.to_string(),
        created: broker.result.is_ok(),
        error: broker.result.as_ref().err().map(error_line),
    });
    line(&CreatedLine {
        topic: &arguments.topic,
        queues: arguments.queues,
        r#type: arguments.topic_type.map(|name| format!("{name:?}").to_lowercase()),
        brokers: brokers.collect(),
        error: created.as_ref().err().map(error_line),
    })
}

#[derive(Debug, Serialize)]
struct OffsetsLine<'a> {
    topic: &'a str,
    broker: Option<&'a str>,
    queue: Option<u32>,
    min: Option<u64>,
    max: Option<u64>,
    messages: Option<u64>,
    error: Option<ErrorLine>,
}

pub(super) fn offsets(topic: &str, offsets: &Result<Vec<QueueOffsets>, QueryError>) -> Vec<String> {
    let unknown = |error| OffsetsLine {
        topic,
        broker: None,
        queue: None,
        min: None,
        max: None,
        messages: None,
        error,
    };
    let queues = match offsets {
        Ok(queues) => queues,
        Err(error) => return vec![line(&unknown(Some(error_line(error))))],
    };
    let each = queues.iter().map(|queue| {
        let range = queue.range.as_ref().ok();
        line(&OffsetsLine {
            broker: Some(queue.queue.broker_name()),
            queue: Some(queue.queue.queue_id()),
            min: range.map(|range| range.min),
            max: range.map(|range| range.max),
            messages: range.map(|range| range.max.saturating_sub(range.min)),
            ..unknown(queue.range.as_ref().err().map(error_line))
        })
    });
    each.collect()
}

#[derive(Debug, Serialize)]
struct MessageLine<'a> {
    topic: &'a str,
    queue: Option<i32>,
    offset: Option<i64>,
    commit_log_offset: Option<i64>,
    offset_message_id: Option<String>,
    unique_key: Option<&'a str>,
    tag: Option<&'a str>,
    keys: Option<Vec<&'a str>>,
    properties: Option<BTreeMap<&'a str, &'a str>>,
    flag: Option<i32>,
    sys_flag: Option<i32>,
    compressed: Option<bool>,
    born_ms: Option<i64>,
    born_host: Option<String>,
    stored_ms: Option<i64>,
    store_host: Option<String>,
    reconsume_times: Option<i32>,
    body: Option<&'a str>,
    body_hex: Option<String>,
    error: Option<ErrorLine>,
}

pub(super) fn message(topic: &str, found: &Result<StoredMessage, QueryError>) -> String {
    let message = found.as_ref().ok();
    let shown = message.map(|message| shown(&message.body, message.is_compressed()));
    line(&MessageLine {
        topic,
        queue: message.map(|message| message.queue_id),
        offset: message.map(|message| message.queue_offset),
        commit_log_offset: message.map(|message| message.commit_log_offset),
        offset_message_id: message.map(|message| message.offset_message_id().to_string()),
        unique_key: message.and_then(StoredMessage::unique_key),
        tag: message.and_then(StoredMessage::tag),
        keys: message.map(|message| message.keys().collect()),
        properties: message.map(|message| {
            message.properties.iter().map(|(name, value)| (&**name, &**value)).collect()
        }),
        flag: message.map(|message| message.flag),
        sys_flag: message.map(|message| message.sys_flag),
        compressed: message.map(StoredMessage::is_compressed),
        born_ms: message.map(|message| message.born_time.as_millis()),
        born_host: message.map(|message| message.born_host.to_string()),
        stored_ms: message.map(|message| message.store_time.as_millis()),
        store_host: message.map(|message| message.store_host.to_string()),
        reconsume_times: message.map(|message| message.reconsume_times),
        body: shown.as_ref().and_then(|shown| shown.as_ref().ok().copied()),
        body_hex: shown.and_then(Result::err),
        error: found.as_ref().err().map(error_line),
    })
}

#[derive(Debug, Serialize)]
struct FindingLine<'a> {
    severity: &'static str,
    subject: &'static str,
    name: Option<&'a str>,
    address: Option<String>,
    what: &'a str,
    remedy: Option<&'a str>,
}

pub(super) fn finding(finding: &Finding) -> String {
    let (subject, name, address) = match &finding.subject {
        Subject::Client => ("client", None, None),
        Subject::NameServer { address } => ("name_server", None, Some(address.to_string())),
        Subject::Topic { topic } => ("topic", Some(&**topic), None),
        Subject::Broker { broker_name, address } => {
            ("broker", Some(&**broker_name), address.as_ref().map(ToString::to_string))
        }
        // A subject that this version of the tool does not know yet.
        _ => ("other", None, None),
    };
    line(&FindingLine {
        severity: finding.severity.name(),
        subject,
        name,
        address,
        what: &finding.what,
        remedy: finding.remedy.as_deref(),
    })
}
