//! Requests, with the Java client on the other side.

use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Outcome, Result, compare};
use rocketmq_tokio::{
    Attempt, Delivery, Message, NoReply, Producer, QueryErrorKind, RequestError, StoredMessage,
};

use super::{NamedCase, Setting, expect, sent, text};

pub(super) const CASES: &[NamedCase] =
    &[("requests that Java replies to", java_replies), ("replies to requests of Java", java_asks)];

const COUNT: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(15);

/// The Java client compresses bodies of 4 KiB and more, requests and replies.
const LONG: usize = 20_000;

fn body(number: usize) -> String {
    let body = format!("how much is {number}? ");
    if number % 5 == 4 { body.repeat(LONG / body.len()) } else { body }
}

/// A Java consumer replies to what our producer asks, by way of either of two brokers.
fn java_replies(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("asked");
    context.servers.create_topic(&topic, 2)?;
    let lonely = context.topic("lonely");
    context.servers.create_topic(&lonely, 1)?;
    context.reader.respond(&topic)?;
    let message = |number| {
        let message = Message::new(topic.clone(), body(number)).with_tag("ask");
        message.with_key(format!("ask-{number}")).with_property("number", number.to_string())
    };
    let asked = setting.run(setting.config(context), async |_, producer| {
        let mut asked = Vec::new();
        for number in 0..COUNT {
            let request = producer.request(message(number), TIMEOUT);
            let id = request.correlation_id().to_string();
            // Whoever replies prints why it could not.
            let reply = request.await;
            let reply =
                reply.map_err(|error| format!("{error}; Java says:\n{}", context.reader.said()))?;
            expect(reply.body == format!("re: {}", body(number)), || {
                format!("{} bytes in reply to {number}", reply.body.len())
            })?;
            expect(reply.tag() == Some("reply"), || format!("{reply:?}"))?;
            expect(reply.property("number") == Some(&*number.to_string()), || {
                format!("{reply:?}")
            })?;
            asked.push((number, id));
        }
        let error = producer.request(Message::new(lonely.clone(), "who?"), TIMEOUT / 15).await;
        match error {
            Err(RequestError::NoReply { reason: NoReply::TimedOut, .. }) => Ok(asked),
            other => Err(format!("nobody replies, and we got {other:?}")),
        }
    })??;
    let read = context.reader.read(&[&topic])?;
    let sent = asked.into_iter().map(|(number, id)| {
        let is_it =
            |it: &&rocketmq_interop::ReadBack| it.properties.get("CORRELATION_ID") == Some(&id);
        let found = read.iter().find(is_it).ok_or_else(|| format!("request {number} is lost"))?;
        let time = found.properties.get("TTL").map(String::as_str);
        expect(time == Some("15000"), || format!("{:?}", found.properties))?;
        let mut sent = sent(&message(number), found.unique_key.clone(), Outcome::Stored);
        let own = ["CORRELATION_ID", "REPLY_TO_CLIENT", "TTL"];
        for name in own {
            let value = found.properties.get(name).ok_or_else(|| format!("no {name}"))?;
            sent.properties.insert(name.to_owned(), value.clone());
        }
        Ok(sent)
    });
    let sent: Vec<_> = sent.collect::<Result<_>>()?;
    Ok(compare(&sent, &read).exactly_once())
}

/// What Java has asked, once it can be found.
async fn find(producer: &Producer, topic: &str, number: usize) -> Result<StoredMessage> {
    let admin = producer.client().admin();
    let limit = Instant::now() + TIMEOUT;
    loop {
        match admin.messages_by_key(topic, &format!("ask-{number}"), 1).await {
            Ok(found) => return found.into_iter().next().ok_or("found nothing".to_owned()),
            Err(error) if *error.kind() != QueryErrorKind::MessageNotFound => {
                return Err(text(error));
            }
            Err(error) if Instant::now() > limit => return Err(text(error)),
            // The broker indexes a moment after it acknowledges.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Our producer replies to what the Java client asks.
fn java_asks(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("asking");
    context.servers.create_topic(&topic, 2)?;
    let (replies, receipts) = std::thread::scope(|scope| {
        let asks = scope.spawn(|| context.reader.request(&topic, COUNT, TIMEOUT));
        let receipts = setting.run(setting.config(context), async |_, producer| {
            let mut receipts = Vec::new();
            for number in 0..COUNT {
                let request = find(producer, &topic, number).await?;
                let answer = format!("re: {}", body(number));
                let reply = Message::reply_to(&request, answer).map_err(text)?;
                receipts.push(producer.send(reply.with_tag("reply")).await.map_err(text)?);
            }
            Ok::<_, String>(receipts)
        });
        let replies = asks.join().map_err(|_| "the thread that asks panicked".to_owned());
        (replies, receipts)
    });
    let (replies, receipts) = (replies??, receipts??);
    for (number, reply) in replies.iter().enumerate() {
        let told = format!("re: {}", body(number));
        let digest = rocketmq_interop::sha256(told.as_bytes());
        expect(reply["sha256"] == *digest, || format!("Java got {reply} in reply to {number}"))?;
        expect(reply["tags"] == "reply", || format!("{reply}"))?;
    }
    expect(replies.len() == COUNT, || format!("{} replies", replies.len()))?;
    let topics: Vec<_> = receipts.iter().map(|receipt| receipt.topic.to_string()).collect();
    let cluster = topics.iter().all(|topic| topic.ends_with("_REPLY_TOPIC"));
    expect(cluster, || format!("replies went to {topics:?}"))?;
    // Brokers store replies as well, unless they are told not to.
    let read = context.reader.read(&[&topics[0]])?;
    for receipt in &receipts {
        let key = receipt.unique_key.to_string();
        let copies = read.iter().filter(|message| message.unique_key == key).count();
        // A broker that the requester has not greeted yet stores the reply and says no.
        let unknown = |attempt: &&Attempt| attempt.delivery == Delivery::Unknown;
        let most = 1 + receipt.failed_attempts.iter().filter(unknown).count();
        expect((1..=most).contains(&copies), || format!("{copies} copies by {receipt:?}"))?;
    }
    Ok(compare(&[], &[]))
}
