//! Several messages in one request: put together by the caller, or by the producer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rocketmq_interop::{Comparison, Context, Outcome, ReadBack, Result, Sent, compare};
use rocketmq_tokio::{
    AutoBatch, Client, Delivery, InvalidBatch, Message, MessageQueue, ProducerOptions, RequestCode,
    SendErrorKind, SendOptions,
};

use super::{NamedCase, Requests, Setting, all_told, expect, failed, since, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("batch: three messages", three),
    ("batch: split, 1,000 messages", split),
    ("batch: refused here", refused_here),
    ("batch: refused by brokers", refused_there),
    ("batches made by the producer", gathered),
];

fn numbered(topic: &str, number: usize) -> Message {
    Message::new(topic.to_owned(), format!("body {number}"))
        .with_tag(format!("tag{}", number % 3))
        .with_key(format!("order-{number}"))
        .with_property("größe", format!("{number} \"значение\""))
        .with_flag(number as i32)
}

/// Brokers up to 5.3 add the properties of a batch to each of its messages: all have its unique key
/// then. The key that the client gave each message is put back by its place, after it was seen
/// that it is lost and for whom.
pub(super) fn with_own_keys(
    context: &Context,
    sent: &[Sent],
    mut read: Vec<ReadBack>,
) -> Result<Vec<ReadBack>> {
    let keys: BTreeSet<&String> = read.iter().map(|message| &message.unique_key).collect();
    if since(context, "5.4") {
        expect(keys.len() == read.len(), || format!("of {} keys: {keys:?}", read.len()))?;
        return Ok(read);
    }
    let ours = sent.iter().find(|sent| keys.contains(&sent.unique_key));
    expect(ours.is_none(), || format!("this broker keeps the keys of messages: {ours:?}"))?;
    let mut places = HashMap::new();
    for sent in sent {
        if let Outcome::Acknowledged { broker, queue, offset } = &sent.outcome {
            places.insert((broker.clone(), *queue, *offset), sent.unique_key.clone());
        }
    }
    for message in &mut read {
        let place = (message.broker.clone(), message.queue, message.offset);
        message.unique_key = places.get(&place).cloned().unwrap_or_default();
    }
    Ok(read)
}

fn three(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("batch");
    context.servers.create_topic(&topic, 2)?;
    let requests = Arc::new(Requests::default());
    let config = setting.config(context).interceptor(Arc::<Requests>::clone(&requests));
    let messages: Vec<_> = (0..3).map(|number| numbered(&topic, number)).collect();
    let receipts = setting
        .run(config, async |_, producer| producer.send_batch(messages.clone()).await)?
        .map_err(text)?;
    expect(requests.count(RequestCode::SEND_BATCH_MESSAGE) == 1, || "not one request".into())?;
    let offsets: Vec<_> = receipts.iter().flat_map(|receipt| receipt.position).collect();
    let in_a_row = offsets.len() == 3
        && offsets.windows(2).all(|two| {
            two[0].queue_id == two[1].queue_id && two[0].queue_offset + 1 == two[1].queue_offset
        });
    expect(in_a_row, || format!("offsets {offsets:?}"))?;
    let read = context.reader.read(&[&topic])?;
    for (receipt, position) in receipts.iter().zip(&offsets) {
        let offset = position.queue_offset as i64;
        let found = read.iter().find(|message| message.offset == offset);
        let theirs = found.map(|message| message.offset_message_id.clone());
        let ours = receipt.offset_message_id.map(|id| id.to_string());
        expect(ours == theirs && ours.is_some(), || format!("ids {ours:?} and {theirs:?}"))?;
    }
    let sent: Vec<_> =
        messages.iter().zip(receipts).map(|(message, one)| told(message, Ok(one))).collect();
    let read = with_own_keys(context, &sent, read)?;
    Ok(compare(&sent, &read).exactly_once())
}

fn split(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("split");
    context.servers.create_topic(&topic, 2)?;
    let requests = Arc::new(Requests::default());
    let config = setting.config(context).interceptor(Arc::<Requests>::clone(&requests));
    let sent = setting.run(config, async |_, producer| {
        let messages: Vec<_> = (0..1_000).map(|number| numbered(&topic, number)).collect();
        let mut sent = Vec::new();
        for batch in producer.split_batch_at(messages, 10_000) {
            let result = producer.send_batch(batch.clone()).await.map_err(text)?;
            sent.extend(batch.iter().zip(result).map(|(message, one)| told(message, Ok(one))));
        }
        Ok::<_, String>(sent)
    })??;
    let count = requests.count(RequestCode::SEND_BATCH_MESSAGE);
    expect((5..100).contains(&count), || format!("{count} requests"))?;
    let read = with_own_keys(context, &sent, context.reader.read(&[&topic])?)?;
    Ok(compare(&sent, &read).exactly_once())
}

fn refused_here(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, other) = (context.topic("refused"), context.topic("other"));
    context.servers.create_topic(&topic, 2)?;
    context.servers.create_topic(&other, 2)?;
    let requests = Arc::new(Requests::default());
    let config = setting.config(context).interceptor(Arc::<Requests>::clone(&requests));
    let one = |number| numbered(&topic, number);
    let large = |number| Message::new(topic.clone(), vec![7; 1 << 21]).with_flag(number);
    let batches = [
        vec![large(0), large(1)],
        vec![one(2), numbered(&other, 3)],
        vec![one(4), one(5).with_wait_stored(false)],
        vec![one(6), one(7).with_delay_level(1)],
        vec![one(8), Message::new(topic.clone(), "")],
        Vec::new(),
    ];
    let errors = setting.run(config, async |_, producer| {
        let mut errors = Vec::new();
        for batch in batches.clone() {
            errors.push(producer.send_batch(batch).await.err());
        }
        errors
    })?;
    let reasons: Vec<_> = errors
        .iter()
        .map(|error| match error.as_ref().map(|error| error.kind()) {
            Some(SendErrorKind::InvalidBatch(reason)) => Some(&**reason),
            _ => None,
        })
        .collect();
    let expected = matches!(
        &reasons[..],
        [
            Some(InvalidBatch::TooLarge { length: 4_194_304.., max: 4_194_304 }),
            Some(InvalidBatch::MixedTopics { index: 1 }),
            Some(InvalidBatch::MixedWait { index: 1 }),
            Some(InvalidBatch::Delayed { index: 1 }),
            Some(InvalidBatch::Message { index: 1, .. }),
            Some(InvalidBatch::Empty),
        ]
    );
    expect(expected, || format!("{errors:?}"))?;
    expect(requests.count(RequestCode::SEND_BATCH_MESSAGE) == 0, || "something left".into())?;
    for (error, batch) in errors.into_iter().flatten().zip(batches) {
        let delivery = error.delivery();
        let back = error.into_messages();
        expect(delivery == Delivery::NotSent && back == batch, || format!("back: {back:?}"))?;
    }
    Ok(compare(&[], &context.reader.read(&[&topic, &other])?))
}

/// Two that only a broker can refuse: a queue that is none, and more bytes than it takes.
fn refused_there(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("refused");
    context.servers.create_topic(&topic, 2)?;
    let config = setting.config(context).body_length_max(8 << 20);
    let config = config.send_timeout(Duration::from_secs(10));
    let large =
        |number: i32| Message::new(topic.clone(), vec![number as u8; 3 << 20]).with_flag(number);
    let small = |number| numbered(&topic, number);
    let queue = MessageQueue::new(context.servers.broker_name(0), 99);
    let tries = [
        (vec![small(0), small(1)], SendOptions::new().with_queue(queue).with_retries_max(0)),
        (vec![large(2), large(3)], SendOptions::new()),
    ];
    let errors = setting.run(config, async |_, producer| {
        let mut errors = Vec::new();
        for (batch, options) in tries.clone() {
            errors.push(producer.send_batch_with(batch, options).await.err());
        }
        errors
    })?;
    let codes: Vec<_> = errors
        .iter()
        .flatten()
        .map(|error| match error.kind() {
            SendErrorKind::Broker { code, .. } => (code.0, error.delivery()),
            _ => (-1, error.delivery()),
        })
        .collect();
    // A broker that gives code 1 does not say whether it stored anything, so nobody knows.
    let queue =
        if since(context, "5.3") { (29, Delivery::Refused) } else { (1, Delivery::Unknown) };
    let size = if since(context, "5.0") { (1, Delivery::Unknown) } else { (13, Delivery::Refused) };
    expect(codes == [queue, size], || format!("{codes:?}: {errors:?}"))?;
    let mut sent = Vec::new();
    for error in errors.iter().flatten() {
        for (message, key) in error.messages().zip(error.member_keys()) {
            sent.push(Sent { unique_key: key.to_string(), ..failed(message, error) });
        }
    }
    let comparison = compare(&sent, &context.reader.read(&[&topic])?).exactly_once();
    expect(comparison.read_back == 0 && comparison.sent == 4, || format!("{comparison:?}"))?;
    Ok(comparison)
}

fn gathered(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("gathered");
    context.servers.create_topic(&topic, 2)?;
    let requests = Arc::new(Requests::default());
    let config = setting.config(context).interceptor(Arc::<Requests>::clone(&requests));
    let sent = setting.run(config, async |client: &Client, _| {
        let options = AutoBatch::new().with_linger(Duration::from_millis(20));
        let options = ProducerOptions::new().with_auto_batch(options);
        let producer = client.producer_with("interop_batches", options).expect("legal options");
        let mut pending = Vec::new();
        for number in 0..100 {
            let message = numbered(&topic, number);
            pending.push((message.clone(), producer.submit(message).await));
        }
        all_told(pending).await
    })?;
    // Messages of three tags do not share a batch.
    let count = requests.count(RequestCode::SEND_BATCH_MESSAGE);
    let single = requests.count(RequestCode::SEND_MESSAGE_V2);
    expect((3..=20).contains(&count) && single == 0, || format!("{count}, {single} requests"))?;
    let read = with_own_keys(context, &sent, context.reader.read(&[&topic])?)?;
    let comparison = compare(&sent, &read).exactly_once();
    expect(comparison.acknowledged == 100, || format!("{comparison:?}"))?;
    Ok(comparison)
}
