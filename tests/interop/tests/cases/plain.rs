//! Every way to send, with servers that are well.

use rocketmq_interop::{Comparison, Context, Outcome, Result, Sent};
use rocketmq_tokio::{Message, MessageQueue, SendErrorKind, SendOptions};

use super::{NamedCase, Setting, all_told, expect, failed, sent, told};

pub(super) const CASES: &[NamedCase] = &[
    ("awaited, 1 B to 4 MiB", awaited),
    ("pipelined", pipelined),
    ("oneway", oneway),
    ("given queue", given_queue),
    ("topic created by the send", created),
    ("long header", long_header),
    ("refused and not sent", refused),
];

/// Text that has to survive JSON, the property string and Java.
const DIFFICULT: &str = "Grüße, 世界 🚀 \"quoted\" \\ / <tag> &amp; \u{7f} \t end";

fn numbered(topic: &str, number: usize, body: Vec<u8>) -> Message {
    Message::new(topic.to_owned(), body)
        .with_tag(format!("tag{}", number % 3))
        .with_key(format!("order-{number}"))
        .with_key(format!("schlüssel-{number}"))
        .with_property("number", number.to_string())
        .with_property("a name", DIFFICULT)
        .with_property("größe", "значение")
        .with_flag(number as i32 - 3)
        .with_wait_stored(number.is_multiple_of(2))
}

fn awaited(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("awaited");
    context.servers.create_topic(&topic, 4)?;
    let sizes = [1, 2, 127, 4_095, 4_096, 65_535, 1 << 20, 4 << 20];
    let config = setting.config(context).send_timeout(std::time::Duration::from_secs(10));
    let comparison = setting.check(context, config, &[&topic], async |producer| {
        let mut all = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let body = (0..size).map(|at| (at * 31 + number) as u8).collect();
            let message = numbered(&topic, number, body);
            all.push(told(&message, producer.send(message.clone()).await));
        }
        all
    })?;
    expect(comparison.acknowledged == sizes.len(), || format!("{comparison:?}"))?;
    Ok(comparison.exactly_once())
}

fn pipelined(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("pipelined");
    context.servers.create_topic(&topic, 4)?;
    let count = 1_000;
    let config = setting.config(context);
    let comparison = setting.check(context, config, &[&topic], async |producer| {
        let mut pending = Vec::new();
        for number in 0..count {
            let message = numbered(&topic, number, format!("body {number}").into_bytes());
            pending.push((message.clone(), producer.submit(message).await));
        }
        all_told(pending).await
    })?;
    expect(comparison.acknowledged == count, || format!("{comparison:?}"))?;
    Ok(comparison.exactly_once())
}

fn oneway(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("oneway");
    context.servers.create_topic(&topic, 2)?;
    let count = 100;
    let comparison =
        setting.check(context, setting.config(context), &[&topic], async |producer| {
            let mut all = Vec::new();
            for number in 0..count {
                let message = numbered(&topic, number, vec![number as u8; 100]);
                all.push(match producer.send_oneway(message.clone()).await {
                    Ok(receipt) => {
                        sent(&message, receipt.unique_key.to_string(), Outcome::SentOneway)
                    }
                    Err(error) => failed(&message, &error),
                });
            }
            // One acknowledged message for each broker, behind the oneway ones on its connection.
            for index in 0..context.servers.brokers() {
                let queue = MessageQueue::new(context.servers.broker_name(index), 0);
                let message = numbered(&topic, 1_000 + index, b"last".to_vec());
                all.push(told(&message, producer.send_to(queue, message.clone()).await));
            }
            all
        })?;
    // Brokers that are well and not busy store every one of them.
    expect(comparison.oneway == count && comparison.oneway_found == count, || {
        format!("{} of {count} oneway messages are there", comparison.oneway_found)
    })?;
    Ok(comparison.exactly_once())
}

fn given_queue(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("given");
    context.servers.create_topic(&topic, 4)?;
    let broker = context.servers.broker_name(1);
    let comparison =
        setting.check(context, setting.config(context), &[&topic], async |producer| {
            let mut all = Vec::new();
            for number in 0..10 {
                let queue = MessageQueue::new(broker.clone(), 3);
                let message = numbered(&topic, number, vec![1; 10]);
                all.push(told(&message, producer.send_to(queue, message.clone()).await));
            }
            all
        })?;
    let read = context.reader.read(&[&topic])?;
    let astray =
        read.iter().find(|message| (message.broker.as_str(), message.queue) != (&broker, 3));
    expect(astray.is_none() && comparison.acknowledged == 10, || format!("{astray:?}"))?;
    Ok(comparison.exactly_once())
}

fn created(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("created");
    // Strict turns: a broker that is slow to create the topic would be avoided otherwise.
    let config = setting.config(context).latency_avoidance(false);
    let comparison = setting.check(context, config, &[&topic], async |producer| {
        let mut all = Vec::new();
        for number in 0..16 {
            let message = numbered(&topic, number, vec![2; 20]);
            all.push(told(&message, producer.send(message.clone()).await));
        }
        all
    })?;
    expect(comparison.acknowledged == 16, || format!("{comparison:?}"))?;
    // The default route is kept until each broker had its chance, so both created the topic. The
    // turn is strict within a route; where the topic's own follows on the default one, wherever
    // among the 16 that is, a broker may come twice in a row: 9 and 7 at most.
    let read = context.reader.read(&[&topic])?;
    for index in 0..context.servers.brokers() {
        let name = context.servers.broker_name(index);
        let found = read.iter().filter(|message| message.broker == name).count();
        expect((7..=9).contains(&found), || format!("{found} of 16 messages on {name}"))?;
    }
    Ok(comparison.exactly_once())
}

fn long_header(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("long");
    context.servers.create_topic(&topic, 2)?;
    let config = setting.config(context).long_send_header(true);
    let comparison = setting.check(context, config, &[&topic], async |producer| {
        let mut all = Vec::new();
        for number in 0..10 {
            let message = numbered(&topic, number, vec![3; 30]);
            all.push(told(&message, producer.send(message.clone()).await));
        }
        all
    })?;
    expect(comparison.acknowledged == 10, || format!("{comparison:?}"))?;
    Ok(comparison.exactly_once())
}

/// What must not be stored: refused by a broker, refused here, never sent.
fn refused(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, absent) = (context.topic("refused"), context.topic("absent"));
    context.servers.create_topic(&topic, 2)?;
    let config = setting.config(context).create_topics(false);
    let topics = [&*topic, &*absent];
    let mut kinds = Vec::new();
    let comparison = setting.check(context, config, &topics, async |producer| {
        let mut all: Vec<Sent> = Vec::new();
        let name = context.servers.broker_name(0);
        let tries = [
            (numbered(&topic, 1, vec![4; 10]), Some(MessageQueue::new(name, 99))),
            (numbered(&topic, 2, vec![4; 10]), Some(MessageQueue::new("nobody", 0))),
            (numbered(&topic, 3, vec![4; (4 << 20) + 1]), None),
            (numbered(&topic, 4, Vec::new()), None),
            (numbered(&topic, 5, vec![4; 10]).with_property("x", "\u{2}TRAN_MSG\u{1}true"), None),
            (numbered(&absent, 6, vec![4; 10]), None),
        ];
        for (message, queue) in tries {
            let options = match queue {
                Some(queue) => SendOptions::new().with_queue(queue).with_retries_max(0),
                None => SendOptions::new(),
            };
            let result = producer.send_with(message.clone(), options).await;
            kinds.push(result.as_ref().err().map(|error| error.kind().clone()));
            all.push(told(&message, result));
        }
        all
    })?;
    let invalid = |kind: &Option<SendErrorKind>| matches!(kind, Some(SendErrorKind::Invalid(_)));
    let expected = matches!(kinds[0], Some(SendErrorKind::Broker { .. }))
        && matches!(kinds[1], Some(SendErrorKind::NoSuchQueue(_)))
        && kinds[2..5].iter().all(invalid)
        && kinds[5] == Some(SendErrorKind::TopicNotFound);
    expect(expected && comparison.acknowledged == 0, || format!("{kinds:?}"))?;
    Ok(comparison.exactly_once())
}
