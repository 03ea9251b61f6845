//! Sends by way of the proxy of RocketMQ 5, which looks like a name server and brokers.

use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Outcome, Proxy, Result, compare};
use rocketmq_tokio::{Config, Message, SendErrorKind, TopicSettings, TopicType, Unsuitable};

use super::{NamedCase, Setting, all_of, expect, sent, text, told};

pub(super) const CASES: &[NamedCase] = &[("by way of the proxy", by_way_of_the_proxy)];

const COUNT: usize = 20;

fn by_way_of_the_proxy(context: &Context, setting: Setting) -> Result<Comparison> {
    let proxy = Proxy::start(&context.servers)?;
    // A proxy tells brokers of its producers once in 20 s.
    let patience = |checks: &str| {
        let set = |index| context.servers.set_broker(index, "transactionCheckMax", checks);
        (0..context.servers.brokers()).try_for_each(set)
    };
    patience("100")?;
    let plain = context.topic("proxied");
    let paid = context.topic("proxied_paid");
    let direct = setting.run(setting.config(context), async |client, _| {
        let normal = TopicSettings::new(&*plain, 2).with_type(TopicType::Normal);
        let transactions = TopicSettings::new(&*paid, 2).with_type(TopicType::Transaction);
        let admin = client.admin();
        admin.create_topic(normal).await?;
        admin.create_topic(transactions).await
    })?;
    direct.map_err(text)?;
    let address = proxy.address();
    let config = || Config::builder(&address).encoding(setting.encoding);
    await_topics(setting, config().build().map_err(text)?, &[&plain, &paid])?;
    let message = |number: usize| {
        Message::new(plain.clone(), format!("message {number}")).with_flag(number as i32)
    };
    let (sends, ends) = setting.run(config(), async |_, producer| {
        let mut sends = Vec::new();
        for number in 0..COUNT {
            let message = message(number);
            sends.push(told(&message, producer.send(message.clone()).await));
        }
        let oneway = message(COUNT);
        let receipt = producer.send_oneway(oneway.clone()).await.map_err(text)?;
        sends.push(sent(&oneway, receipt.unique_key.to_string(), Outcome::Stored));
        let batch: Vec<_> = (COUNT + 1..2 * COUNT).map(message).collect();
        let receipts = producer.send_batch(batch.clone()).await.map_err(text)?;
        expect(receipts.len() == batch.len(), || format!("{} receipts", receipts.len()))?;
        for (message, receipt) in batch.iter().zip(receipts) {
            sends.push(told(message, Ok(receipt)));
        }
        let mut ends = Vec::new();
        for number in 0..4 {
            // Without a flag: brokers lose it when they put a half message back to ask about it.
            let message = Message::new(paid.clone(), format!("paid {number}"));
            let begun = producer.begin_transaction(message.clone()).await;
            let transaction = begun.map_err(text)?;
            let key = transaction.id().to_string();
            if number % 2 == 0 {
                transaction.commit().await.map_err(text)?;
                ends.push(sent(&message, key, Outcome::Stored));
            } else {
                transaction.rollback().await.map_err(text)?;
            }
        }
        // The proxy drops decisions until the brokers have asked, and they ask here.
        let limit = Instant::now() + Duration::from_secs(60);
        while context.reader.read(&[&paid])?.len() < ends.len() {
            expect(Instant::now() < limit, || "commits are never delivered".to_owned())?;
            std::thread::sleep(Duration::from_millis(200));
        }
        // What does not fit is refused in words that say so.
        let error = producer.begin_transaction(message(0)).await.map(drop);
        unsuitable(error.map_err(|error| error.kind().clone()), Unsuitable::TopicType)?;
        let unknown = Message::new(context.topic("unknown"), "to nobody");
        let error = producer.send(unknown).await.map(drop);
        unsuitable(error.map_err(|error| error.kind().clone()), Unsuitable::NoTopicType)?;
        Ok::<_, String>((sends, ends))
    })??;
    patience("15")?;
    let plain = compare(&sends, &context.reader.read(&[&plain])?);
    let paid = compare(&ends, &context.reader.read(&[&paid])?);
    Ok(all_of([plain.exactly_once(), paid.exactly_once()]))
}

/// The proxy looks topics up once in a while.
fn await_topics(setting: Setting, config: Config, topics: &[&str]) -> Result<()> {
    setting.runtime.run(config, async |client| {
        let limit = Instant::now() + Duration::from_secs(60);
        for topic in topics {
            while let Err(error) = client.admin().route(topic).await {
                expect(Instant::now() < limit, || error.to_string())?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    })
}

fn unsuitable(result: std::result::Result<(), SendErrorKind>, expected: Unsuitable) -> Result<()> {
    match result {
        Err(SendErrorKind::Unsuitable { reason, .. }) if reason == expected => Ok(()),
        other => Err(format!("{expected}, and we got {other:?}")),
    }
}
