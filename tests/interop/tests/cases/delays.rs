//! Messages that are delivered later.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocketmq_interop::{Comparison, Context, Outcome, ReadBack, Result, Sent, compare};
use rocketmq_tokio::{
    Message, QueryErrorKind, RecallHandle, SendErrorKind, SendReceipt, Unsuitable, WallTime,
};

use super::{NamedCase, Setting, expect, sent, since, text};

pub(super) const CASES: &[NamedCase] = &[
    ("delay by level", by_level),
    ("delay by time", by_time),
    ("delay too long", too_long),
    ("recall", recall),
];

/// The suite has brokers count in tenths of a second, and they round down.
const PRECISION: i64 = 100;
/// Longer than this after its time a message may not come, on a machine that does other things.
const LATE: i64 = 5_000;

/// Reads again and again until `count` messages are there, or for 20 seconds.
fn await_messages(context: &Context, topic: &str, count: usize) -> Result<Vec<ReadBack>> {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let read = context.reader.read(&[topic])?;
        if read.len() >= count || Instant::now() > limit {
            return Ok(read);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether each message came so many milliseconds after it was made, or shortly after that.
fn in_time(read: &[ReadBack], delays: &[i64]) -> Result<()> {
    for message in read {
        let delay = delays[message.flag as usize];
        let after = message.store_timestamp - message.born_timestamp;
        let range = delay - PRECISION..=delay + LATE;
        expect(range.contains(&after), || {
            format!("message {} came after {after} ms, not {delay}", message.flag)
        })?;
    }
    Ok(())
}

fn submit(
    context: &Context,
    setting: Setting,
    messages: &[Message],
) -> Result<Vec<(Sent, SendReceipt)>> {
    let receipts = setting.run(setting.config(context), async |_, producer| {
        let mut receipts = Vec::new();
        for message in messages {
            receipts.push(producer.send(message.clone()).await);
        }
        receipts
    })?;
    let pairs = messages.iter().zip(receipts).map(|(message, receipt)| {
        let receipt = receipt.map_err(text)?;
        // The place in the receipt is that of the wait, not of the delivery.
        Ok((sent(message, receipt.unique_key.to_string(), Outcome::Stored), receipt))
    });
    pairs.collect()
}

fn by_level(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("level");
    context.servers.create_topic(&topic, 2)?;
    let delays = [0, 1_000, 5_000];
    let message = |level: u32| {
        let message = Message::new(topic.clone(), format!("level {level}")).with_tag("later");
        message.with_flag(level as i32).with_delay_level(level)
    };
    let messages: Vec<_> = (0..3).map(message).collect();
    let sent = submit(context, setting, &messages)?;
    let early = context.reader.read(&[&topic])?;
    let levels: Vec<_> = early.iter().map(|message| message.flag).collect();
    expect(levels == [0], || format!("at once came {levels:?}"))?;
    let read = await_messages(context, &topic, 3)?;
    in_time(&read, &delays)?;
    let sent: Vec<_> = sent.into_iter().map(|(sent, _)| sent).collect();
    Ok(compare(&sent, &read).exactly_once())
}

fn by_time(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("time");
    context.servers.create_topic(&topic, 2)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(text)?.as_millis() as i64;
    let message = |flag| Message::new(topic.clone(), "later").with_flag(flag);
    let messages = [
        message(0).deliver_after(Duration::from_secs(3)),
        message(1).deliver_at(WallTime::from_millis(now + 4_000)),
        message(2).deliver_at(WallTime::from_millis(now - 60_000)),
    ];
    let sent = submit(context, setting, &messages)?;
    let (sent, receipts): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
    let early = context.reader.read(&[&topic])?.len();
    let read = await_messages(context, &topic, 3)?;
    let handles: Vec<_> = receipts.iter().map(|one| one.recall_handle.is_some()).collect();
    if since(context, "5.0") {
        expect(early <= 1, || format!("{early} came at once"))?;
        // The second was made a moment after `now`; the third was due before that.
        let made = read.iter().find(|message| message.flag == 1).map_or(0, |m| m.born_timestamp);
        in_time(&read, &[3_000, now + 4_000 - made, 0])?;
        let recalls = since(context, "5.3.2");
        expect(handles == [recalls, recalls, false], || format!("handles: {handles:?}"))?;
    } else {
        // These know no timer, and say nothing about it.
        expect(early == 3, || format!("{early} of 3 came at once"))?;
        expect(handles == [false; 3], || format!("handles: {handles:?}"))?;
    }
    Ok(compare(&sent, &read).exactly_once())
}

/// Further away than the three days that brokers allow.
fn too_long(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("too_long");
    context.servers.create_topic(&topic, 1)?;
    let message = Message::new(topic.clone(), "much later");
    let message = message.deliver_after(Duration::from_secs(4 * 24 * 3_600));
    let config = setting.config(context);
    let result = setting.run(config, async |_, producer| producer.send(message.clone()).await)?;
    if !since(context, "5.0") {
        // These know no timer, and say nothing about it.
        let receipt = result.map_err(text)?;
        let sent = sent(&message, receipt.unique_key.to_string(), Outcome::Stored);
        return Ok(compare(&[sent], &context.reader.read(&[&topic])?).exactly_once());
    }
    match result.as_ref().map_err(|error| error.kind()) {
        Err(SendErrorKind::Unsuitable { reason: Unsuitable::DelayTooLong, .. }) => {}
        other => return Err(format!("four days are too long, and we got {other:?}")),
    }
    Ok(compare(&[super::told(&message, result)], &context.reader.read(&[&topic])?))
}

/// Of two messages for later one is taken back: the other comes, and is too late then.
fn recall(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("recall");
    context.servers.create_topic(&topic, 2)?;
    let message = |flag| {
        let message = Message::new(topic.clone(), "later").with_flag(flag);
        message.deliver_after(Duration::from_secs(4))
    };
    let sent = submit(context, setting, &[message(0), message(1)])?;
    let (sent, receipts): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
    let recall = |handle: &str| {
        setting.run(setting.config(context), async |_, producer| {
            producer.recall(&topic, handle).await.map_err(|error| error.kind().clone())
        })
    };
    if !since(context, "5.3.2") {
        let handle =
            "djEgVCBicm9rZXItYSAxNzAwMDAwMDYwMDAxIDdGMDAwMDAxMDAwMTAwMDAwMDAwMDAwMDAwMDAwMDJB";
        let mut handle: RecallHandle = handle.parse().map_err(text)?;
        (handle.topic, handle.broker_name) = ((*topic).into(), (*receipts[0].broker_name).into());
        let recalled = recall(&handle.to_string())?;
        let disabled = matches!(&recalled, Err(QueryErrorKind::RecallDisabled { .. }));
        expect(disabled, || format!("an old broker recalls: {recalled:?}"))?;
        return Ok(compare(&sent, &await_messages(context, &topic, 2)?).exactly_once());
    }
    let handles: Vec<_> = receipts.iter().filter_map(|one| one.recall_handle.clone()).collect();
    let [first, second] = handles.as_slice() else {
        return Err(format!("handles: {handles:?}"));
    };
    let recalled = recall(first)?;
    expect(recalled.is_ok(), || format!("not recalled: {recalled:?}"))?;
    await_messages(context, &topic, 1)?;
    // The other would have come together with it.
    std::thread::sleep(Duration::from_secs(2));
    let read = context.reader.read(&[&topic])?;
    let late = recall(second)?;
    let refused = matches!(&late, Err(QueryErrorKind::NotRecallable { .. }));
    expect(refused, || format!("recalled after its time: {late:?}"))?;
    in_time(&read, &[0, 4_000])?;
    Ok(compare(&sent[1..], &read).exactly_once())
}
