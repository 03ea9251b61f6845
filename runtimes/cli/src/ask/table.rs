//! Answers for people.

use std::time::Duration;

use rocketmq_tokio::{QueueOffsets, ReplyMessage, StoredMessage, TopicCreation, TopicRoute};

use crate::text::{bounded, bytes, counted, grouped, short_millis};

/// Longest part of a body that is shown.
const BODY_MAX: usize = 4 * 1024;

pub(super) fn route(route: &TopicRoute) -> Vec<String> {
    let mut lines = Vec::new();
    for data in &route.queues {
        let broker = route.brokers.iter().find(|broker| broker.broker_name == data.broker_name);
        let addresses = broker.map_or_else(String::new, |broker| {
            let each = broker.addresses.iter().map(|(id, address)| match id {
                0 => format!("master {address}"),
                id => format!("slave {id} {address}"),
            });
            each.collect::<Vec<_>>().join(", ")
        });
        lines.push(format!(
            "broker \"{}\": {} to write, {} to read, {}; {addresses}",
            data.broker_name,
            data.write_queue_nums,
            data.read_queue_nums,
            permission(data.perm),
        ));
    }
    if lines.is_empty() {
        lines.push(String::from("the route has no queue"));
    }
    lines
}

fn permission(perm: i32) -> &'static str {
    match (perm & 4 != 0, perm & 2 != 0) {
        (true, true) => "readable and writable",
        (true, false) => "readable only",
        (false, true) => "writable only",
        (false, false) => "neither readable nor writable",
    }
}

pub(super) fn created(created: &TopicCreation, queues: u32) -> Vec<String> {
    let line = |broker: &rocketmq_tokio::BrokerResult| {
        let (name, address) = (&broker.broker_name, &broker.address);
        match &broker.result {
            Ok(()) => {
                let queues = counted(u64::from(queues), "queue");
                format!("broker \"{name}\" at {address}: created with {queues}")
            }
            Err(error) => format!("broker \"{name}\" at {address}: failed, {error}"),
        }
    };
    created.brokers.iter().map(line).collect()
}

pub(super) fn offsets(offsets: &[QueueOffsets]) -> Vec<String> {
    let mut total = 0;
    let mut lines: Vec<_> = offsets
        .iter()
        .map(|queue| {
            let name = format!("{}:{}", queue.queue.broker_name(), queue.queue.queue_id());
            match &queue.range {
                Ok(range) => {
                    let messages = range.max.saturating_sub(range.min);
                    total += messages;
                    let (min, max) = (range.min, range.max);
                    format!("{name}: {min}..{max}, {}", counted(messages, "message"))
                }
                Err(error) => format!("{name}: unknown, {error}"),
            }
        })
        .collect();
    lines.push(format!(
        "{} in {}",
        counted(total, "message"),
        counted(offsets.len() as u64, "queue")
    ));
    lines
}

pub(super) fn message(message: &StoredMessage) -> Vec<String> {
    let time = |time: rocketmq_tokio::WallTime| format!("{} ms", grouped(time.as_millis() as u64));
    let mut lines = vec![
        format!(
            "topic \"{}\", queue {} at offset {}",
            message.topic, message.queue_id, message.queue_offset
        ),
        format!("id {}", message.offset_message_id()),
        format!("born {} since 1970, from {}", time(message.born_time), message.born_host),
        format!("stored {} since 1970, on {}", time(message.store_time), message.store_host),
    ];
    lines.extend(properties(&message.properties));
    lines.push(body(&message.body, message.is_compressed()));
    lines
}

pub(super) fn reply(reply: &ReplyMessage, elapsed: Duration) -> Vec<String> {
    let mut lines = vec![format!(
        "reply of group \"{}\" after {}",
        bounded(&reply.producer_group),
        short_millis(elapsed)
    )];
    lines.extend(properties(&reply.properties));
    lines.push(body(&reply.body, reply.is_compressed()));
    lines
}

fn properties(all: &[(Box<str>, Box<str>)]) -> impl Iterator<Item = String> {
    all.iter().map(|(name, value)| format!("property {} = {}", bounded(name), bounded(value)))
}

fn body(body: &[u8], compressed: bool) -> String {
    let size = bytes(body.len() as f64);
    let kind = if compressed { ", compressed" } else { "" };
    match std::str::from_utf8(body).ok().filter(|_| !compressed) {
        Some(text) if text.len() <= BODY_MAX => format!("body, {size}: {text}"),
        Some(text) => format!("body, {size}, the first 4 KiB: {}", bounded(text)),
        None => format!("body, {size}{kind}: not text; --json shows it"),
    }
}
