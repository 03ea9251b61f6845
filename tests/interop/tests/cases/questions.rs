//! Questions to servers besides sends: topics, offsets, stored messages, and what is wrong.

use std::time::{Duration, SystemTime};

use rocketmq_interop::{Comparison, Context, Result, compare, request};
use rocketmq_tokio::{
    Config, Message, MessageQueue, QueryErrorKind, Severity, Subject, TopicSettings, TopicType,
};

use super::{NamedCase, Setting, expect, since, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("topic created with a type", topic_with_type),
    ("offsets", offsets),
    ("messages viewed", viewed),
    ("diagnosis", diagnosis),
];

fn topic_with_type(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, other) = (context.topic("typed"), context.topic("odd"));
    let (created, odd, sent) = setting.run(setting.config(context), async |client, producer| {
        let settings = TopicSettings::new(topic.clone(), 3).with_type(TopicType::Fifo);
        let created = client.admin().create_topic(settings).await;
        let settings = TopicSettings::new(other.clone(), 3).with_attribute("no.such", "thing");
        let odd = client.admin().create_topic(settings).await;
        let mut sent = Vec::new();
        for number in 0..6 {
            let message = Message::new(topic.clone(), format!("body {number}"));
            sent.push(told(&message, producer.send(message.clone()).await));
        }
        (created, odd, sent)
    })?;
    let created = created.map_err(text)?;
    expect(created.is_complete() && created.brokers.len() == 2, || format!("{created:?}"))?;
    let route = context.servers.route(&topic)?.unwrap_or_default();
    expect(route.queues.values().eq([&3, &3]), || format!("{route:?}"))?;
    if since(context, "5.0") {
        let fields = [("topic", topic.as_str())];
        let broker = context.servers.broker(0);
        let config = request(&broker, 351, &fields, &[], Duration::from_secs(5))?;
        let config = String::from_utf8_lossy(&config.body).into_owned();
        let typed = config.contains("\"message.type\":\"FIFO\"");
        expect(typed, || format!("the broker has {config}"))?;
        let refused = odd.as_ref().is_err_and(|error| error.code().is_some_and(|c| c.0 == 1));
        expect(refused, || format!("an attribute that is none: {odd:?}"))?;
    } else {
        // These know no attributes, and say nothing about them.
        expect(odd.is_ok(), || format!("{odd:?}"))?;
    }
    let comparison = compare(&sent, &context.reader.read(&[&topic])?).exactly_once();
    expect(comparison.acknowledged == 6, || format!("{comparison:?}"))?;
    Ok(comparison)
}

fn offsets(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, absent) = (context.topic("offsets"), context.topic("absent"));
    context.servers.create_topic(&topic, 2)?;
    let queue = MessageQueue::new(context.servers.broker_name(1), 1);
    let begin = SystemTime::now();
    let pause = |millis| std::thread::sleep(Duration::from_millis(millis));
    let sent = setting.run(setting.config(context), async |client, producer| {
        let admin = client.admin();
        let mut sent = Vec::new();
        let mut middle = begin;
        for number in 0..5 {
            if number == 3 {
                pause(100);
                middle = SystemTime::now();
                pause(500);
            }
            let message = Message::new(topic.clone(), format!("body {number}"));
            let result = producer.send_to(queue.clone(), message.clone()).await;
            sent.push(told(&message, result));
        }
        // A broker indexes a moment after it acknowledges.
        pause(300);
        let max = admin.max_offset(&topic, &queue).await.map_err(text)?;
        let min = admin.min_offset(&topic, &queue).await.map_err(text)?;
        expect((min, max) == (0, 5), || format!("offsets {min} to {max}"))?;
        let later = SystemTime::now() + Duration::from_secs(60);
        let mut found = Vec::new();
        for time in [begin, middle, later] {
            found.push(admin.search_offset(&topic, &queue, time).await.map_err(text)?);
        }
        // Brokers before 5.0 look for the nearest message, the one before the time among them.
        let wanted = if since(context, "5.0") { [0, 3, 5] } else { [0, 2, 4] };
        expect(found == wanted, || format!("found {found:?}, not {wanted:?}"))?;
        let earliest = admin.earliest_time(&topic, &queue).await.map_err(text)?;
        // Brokers know milliseconds.
        let known = earliest.is_some_and(|time| time + Duration::from_millis(1) > begin);
        expect(known && earliest < Some(middle), || format!("{earliest:?} after {begin:?}"))?;
        let all = admin.offsets(&topic).await.map_err(text)?;
        let ranges: Vec<_> = all.iter().map(|of| of.range.clone().map_or(9, |r| r.max)).collect();
        expect(ranges == [0, 0, 0, 5], || format!("{all:?}"))?;
        let none = admin.offsets(&absent).await.map_err(|error| error.kind().clone());
        expect(none == Err(QueryErrorKind::TopicNotFound), || format!("{none:?}"))?;
        Ok::<_, String>(sent)
    })??;
    Ok(compare(&sent, &context.reader.read(&[&topic])?).exactly_once())
}

/// Messages of both producers, short and compressed, by every name that they have.
fn viewed(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("viewed");
    context.servers.create_topic(&topic, 2)?;
    let mut sent = context.reader.send(&topic, 2)?;
    sent.extend(context.reader.send_long(&topic, 2, 20_000)?);
    let ours = setting.run(setting.config(context), async |_, producer| {
        let mut sent = Vec::new();
        for (number, length) in [(90, 10), (91, 30_000)] {
            let body = "word ".bytes().cycle().take(length).collect::<Vec<_>>();
            let message = Message::new(topic.clone(), body)
                .with_key(format!("key{number}"))
                .with_key("schlüssel")
                .with_tag("ours")
                .with_property("city", "Köln")
                .with_flag(number);
            sent.push(told(&message, producer.send(message.clone()).await));
        }
        sent
    })?;
    sent.extend(ours);
    let read = context.reader.read(&[&topic])?;
    // A broker indexes keys a moment after it lets messages be read.
    std::thread::sleep(Duration::from_millis(500));
    setting.run(setting.config(context), async |client, _| {
        let admin = client.admin();
        for sent in &sent {
            let stored = read.iter().find(|read| read.unique_key == sent.unique_key);
            let stored = stored.ok_or_else(|| format!("{sent:?} is not there"))?;
            for id in [&stored.offset_message_id, &stored.unique_key] {
                let view = admin.view(&topic, id).await.map_err(text)?;
                let place = (stored.queue, stored.offset, stored.flag, stored.store_timestamp);
                let same = view.body == sent.body
                    && !view.is_compressed()
                    && view.store_time.as_millis() == stored.store_timestamp
                    && (view.queue_id, view.queue_offset) == (stored.queue, stored.offset)
                    && view.flag == sent.flag
                    && view.tag().unwrap_or_default() == sent.tags
                    && view.keys().collect::<Vec<_>>().join(" ") == sent.keys
                    && view.unique_key() == Some(&*sent.unique_key)
                    && view.offset_message_id().to_string() == stored.offset_message_id
                    && view.property("city") == sent.properties.get("city").map(|city| &**city);
                expect(same, || format!("{id}: {view:?} is not at {place:?}"))?;
            }
        }
        let found = admin.messages_by_key(&topic, "schlüssel", 32).await.map_err(text)?;
        let flags: Vec<_> = found.iter().map(|message| message.flag).collect();
        expect(flags == [90, 91], || format!("by key: {flags:?}"))?;
        let none = admin.view(&topic, "7F0000010000000000000000000000FF").await;
        expect(none.is_err(), || format!("found what is not there: {none:?}"))?;
        let none = admin.view(&topic, "0123456789ABCDEF0123456789ABCDEF01234567").await;
        let kind = none.as_ref().map_err(|error| error.kind().clone());
        let absent = kind == Err(QueryErrorKind::MessageNotFound);
        expect(absent, || format!("found what is not there: {none:?}"))
    })??;
    Ok(compare(&sent, &read).exactly_once())
}

fn diagnosis(context: &Context, setting: Setting) -> Result<Comparison> {
    let (topic, absent) = (context.topic("diagnosed"), context.topic("absent"));
    context.servers.create_topic(&topic, 2)?;
    let walk = |name_servers: &str, topic: &str| {
        let config = Config::builder(name_servers).encoding(setting.encoding);
        let topic = (!topic.is_empty()).then_some(topic);
        setting.run(config, async |client, _| client.diagnose(topic).await)
    };
    let name_server = context.servers.name_server();
    let fine = walk(&name_server, &topic)?;
    expect(fine.severity() == Severity::Ok, || format!("{fine}"))?;
    // The client, the name server, the topic; of each broker itself, its clock and its VIP port.
    expect(fine.findings.len() == 9, || format!("{fine}"))?;
    let said = fine.to_string();
    let version = format!("RocketMQ {}", context.servers.version());
    expect(said.matches(&version).count() >= 2, || format!("no {version}: {said}"))?;
    expect(said.matches("agrees").count() == 2, || said.clone())?;
    expect(said.matches("is open").count() == 2, || said.clone())?;
    let general = walk(&name_server, "")?;
    expect(general.severity() == Severity::Ok, || format!("{general}"))?;

    let new = walk(&name_server, &absent)?;
    let of_topic = |finding: &&rocketmq_tokio::Finding| {
        finding.severity != Severity::Ok && matches!(finding.subject, Subject::Topic { .. })
    };
    expect(new.findings.iter().filter(of_topic).count() == 1, || format!("{new}"))?;
    expect(new.severity() == Severity::Warning, || format!("{new}"))?;

    let wrong = walk(&context.servers.broker(0), &topic)?;
    let told = wrong.findings.iter().any(|finding| {
        finding.severity == Severity::Problem
            && finding.remedy.as_ref().is_some_and(|remedy| remedy.contains("broker's port"))
    });
    expect(told, || format!("a broker's port: {wrong}"))?;

    context.servers.set_broker(0, "brokerPermission", "4")?;
    let read_only = walk(&name_server, &topic);
    context.servers.set_broker(0, "brokerPermission", "6")?;
    let read_only = read_only?;
    let told = read_only.findings.iter().filter(of_topic).count() == 1;
    expect(told && read_only.severity() == Severity::Warning, || format!("{read_only}"))?;
    Ok(Comparison::default())
}
