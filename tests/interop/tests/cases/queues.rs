//! Which queue a message comes to, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Outcome, ReadBack, Result, Sent, compare, request};
use rocketmq_tokio::{Message, MessageQueue, Producer, QueueStrategy, Selector, SendOptions};

use super::{NamedCase, Setting, all_told, expect, since, text, told};

pub(super) const CASES: &[NamedCase] = &[
    ("queue by Java's hash", java_hash),
    ("static topic", static_topic),
    ("strategy of Java 5.0.0", java_500),
    ("in order, a broker stalled", ordered_stalled),
    ("in order, a broker killed", ordered_killed),
    ("in order, queues configured", ordered_configured),
];

fn java_hash(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("hash");
    context.servers.create_topic(&topic, 3)?;
    let mut keys: Vec<String> = (0..46).map(|number| format!("customer-{}", number * 37)).collect();
    // The hash is the smallest number; it is negative; the text is beyond ASCII and beyond 16 bits.
    keys.extend(["polygenelubricants", "Grüße-世界", "🚀🚀", "0"].map(str::to_owned));
    let theirs = context.reader.send_by_hash(&topic, &keys)?;
    let ours = setting.run(setting.config(context), async |_, producer| {
        let mut sent = Vec::new();
        for key in &keys {
            let message = Message::new(topic.clone(), key.clone()).with_key(key.clone());
            let options = SendOptions::new().with_selector(Selector::java_hash(key));
            sent.push(told(&message, producer.send_with(message.clone(), options).await));
        }
        sent
    })?;
    let queue = |sent: &Sent| match &sent.outcome {
        Outcome::Acknowledged { broker, queue, .. } => Some((broker.clone(), *queue)),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    for ((key, ours), theirs) in keys.iter().zip(&ours).zip(&theirs) {
        let (ours, theirs) = (queue(ours), queue(theirs));
        let same = ours.is_some() && ours == theirs;
        expect(same, || format!("{key} is at {ours:?}, Java's at {theirs:?}"))?;
        seen.insert(ours);
    }
    expect(seen.len() == 6, || format!("50 keys are on {seen:?} alone"))?;
    let sent: Vec<_> = ours.into_iter().chain(theirs).collect();
    Ok(compare(&sent, &context.reader.read(&[&topic])?).exactly_once())
}

/// It goes round all queues, and around a broker that is gone.
fn java_500(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("strategy");
    context.servers.create_topic(&topic, 2)?;
    // A broker counts as slow from 50 ms on, which the first send may well take here.
    let config = setting.config(context).queue_strategy(QueueStrategy::Java500);
    let config = config.send_timeout(Duration::from_secs(10));
    let config = config.latency_classes(Vec::new());
    let send = async |producer: &Producer, from: usize, to: usize| {
        let mut sent = Vec::new();
        for number in from..to {
            let message = Message::new(topic.clone(), format!("body {number}"));
            sent.push(told(&message, producer.send(message.clone()).await));
        }
        sent
    };
    let mut broken = Ok(());
    let (before, after) = setting.run(config, async |_, producer| {
        let before = send(producer, 0, 40).await;
        context.servers.kill_broker(0);
        let after = send(producer, 40, 60).await;
        broken = context.servers.restart_broker(0);
        (before, after)
    })?;
    broken?;
    let on = |sent: &[Sent], index| {
        let name = context.servers.broker_name(index);
        let there = |sent: &&Sent| match &sent.outcome {
            Outcome::Acknowledged { broker, .. } => *broker == name,
            _ => false,
        };
        sent.iter().filter(there).count()
    };
    expect(on(&before, 0) > 0 && on(&before, 1) > 0, || format!("one broker only: {before:?}"))?;
    expect(on(&after, 1) == 20, || format!("{after:?}"))?;
    let sent: Vec<_> = before.into_iter().chain(after).collect();
    Ok(compare(&sent, &context.reader.read(&[&topic])?))
}

const KEYS: usize = 8;

/// Sends 120 rounds of one message for each key without waiting for any, for two seconds or so.
async fn rounds(producer: &Producer, topic: &str) -> Vec<Sent> {
    let mut pending = Vec::new();
    for number in 0..120 * KEYS {
        let (key, number) = (number % KEYS, number / KEYS);
        let message = Message::new(topic.to_owned(), format!("{key} {number}"))
            .with_key(format!("key{key}"))
            .with_flag(number as i32);
        let options = SendOptions::new().ordered(format!("key{key}"));
        pending.push((message.clone(), producer.submit_with(message, options).await));
        if key == 0 {
            // The driver is on other threads, so that this pause holds nothing up.
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    all_told(pending).await
}

/// What Java reads of each key is in one queue and in the order in which it was sent; if keys may
/// move, it is so in each of their queues.
fn in_order(sent: &[Sent], read: &[ReadBack], may_move: bool) -> Result<()> {
    let acknowledged: BTreeSet<_> = sent
        .iter()
        .filter(|sent| matches!(sent.outcome, Outcome::Acknowledged { .. }))
        .map(|sent| &sent.unique_key)
        .collect();
    let mut keys: BTreeMap<&str, BTreeMap<_, Vec<&ReadBack>>> = BTreeMap::new();
    for message in read {
        if acknowledged.contains(&message.unique_key) {
            let queues = keys.entry(&message.keys).or_default();
            queues.entry((&message.broker, message.queue)).or_default().push(message);
        }
    }
    expect(keys.len() == KEYS, || format!("{} keys", keys.len()))?;
    for (key, queues) in keys {
        let used: Vec<_> = queues.keys().collect();
        expect(used.len() == 1 || may_move, || format!("{key} is on {used:?}"))?;
        for mut messages in queues.into_values() {
            messages.sort_by_key(|message| message.offset);
            let numbers: Vec<_> = messages.iter().map(|message| message.flag).collect();
            let sorted = numbers.windows(2).all(|two| two[0] < two[1]);
            expect(sorted, || format!("the order of {key} is {numbers:?}"))?;
        }
    }
    let brokers: BTreeSet<_> = read.iter().map(|message| &message.broker).collect();
    expect(brokers.len() == 2, || format!("all keys are on {brokers:?}"))
}

/// Sends in rounds while something happens to the servers.
fn ordered(
    context: &Context,
    setting: Setting,
    topic: &str,
    may_move: bool,
    happen: impl FnOnce() -> Result<()> + Send,
) -> Result<Comparison> {
    context.servers.create_topic(topic, 4)?;
    let config = setting.config(context).send_timeout(Duration::from_secs(30));
    let (sent, happened) = std::thread::scope(|scope| {
        let happening = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            happen()
        });
        let sent = setting.run(config, async |_, producer| rounds(producer, topic).await);
        (sent, happening.join())
    });
    happened.map_err(|_| "the fault panicked".to_owned())??;
    let (sent, read) = (sent?, context.reader.read(&[topic])?);
    in_order(&sent, &read, may_move)?;
    Ok(compare(&sent, &read))
}

fn ordered_stalled(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("stalled");
    let comparison = ordered(context, setting, &topic, false, || {
        context.servers.stall_broker(0)?;
        std::thread::sleep(Duration::from_secs(2));
        context.servers.resume_broker(0)
    })?;
    // The broker only let them wait, so each is there once.
    expect(comparison.acknowledged == 120 * KEYS, || format!("{comparison:?}"))?;
    Ok(comparison.exactly_once())
}

/// The name server takes out the queues of a broker that died, so its keys go elsewhere.
fn ordered_killed(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("killed");
    killed(context, setting, &topic, true)
}

/// Where the queues are configured the keys of a broker that died wait for it.
fn ordered_configured(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("configured");
    let queues = "broker-a:4;broker-b:4";
    // Java: RequestCode#PUT_KV_CONFIG, NamesrvUtil#NAMESPACE_ORDER_TOPIC_CONFIG
    let fields = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", &*topic), ("value", queues)];
    let name_server = context.servers.name_server();
    let answer = request(&name_server, 100, &fields, &[], Duration::from_secs(5))?;
    expect(answer.code == 0, || format!("code {}: {}", answer.code, answer.remark))?;
    killed(context, setting, &topic, false)
}

fn killed(context: &Context, setting: Setting, topic: &str, may_move: bool) -> Result<Comparison> {
    let comparison = ordered(context, setting, topic, may_move, || {
        context.servers.kill_broker(0);
        std::thread::sleep(Duration::from_millis(500));
        context.servers.restart_broker(0)
    })?;
    // At most the one of each key that was under way is in doubt: nothing repeats it.
    let doubtful = comparison.unknown <= KEYS && comparison.duplicates.is_empty();
    let failed = comparison.refused + comparison.not_sent;
    expect(doubtful && failed == 0, || format!("{comparison:?}"))?;
    Ok(comparison)
}

/// The name that stands for all brokers of a static topic.
// Java: TopicQueueMappingUtils#getMockBrokerName
const GLOBAL: &str = "__syslo__global__";

/// Six logical queues over two brokers; then all of them on one, of which the client is not told.
fn static_topic(context: &Context, setting: Setting) -> Result<Comparison> {
    let topic = context.topic("static");
    if !since(context, "5.0") {
        // The request that makes one is unknown to these brokers.
        let answer = request(&context.servers.broker(0), 513, &[], &[], Duration::from_secs(5))?;
        expect(answer.code == 3, || format!("code {}: {}", answer.code, answer.remark))?;
        return Ok(Comparison::default());
    }
    let mqadmin = |command, words: &str| {
        context.reader.mqadmin(&context.servers, command, &format!("-t {topic} {words}"))
    };
    mqadmin("updateStaticTopic", "-qn 6 -c DefaultCluster")?;
    let mut remapped = Ok(());
    let (before, after) = setting.run(setting.config(context), async |client, producer| {
        let queues = client.queues(&topic).await.map_err(text)?;
        let ids: Vec<_> =
            queues.iter().map(|q| (q.broker_name() == GLOBAL, q.queue_id())).collect();
        expect(ids == [0, 1, 2, 3, 4, 5].map(|id| (true, id)), || format!("{queues:?}"))?;
        let before = to_each(producer, &topic).await;
        remapped = mqadmin("remappingStaticTopic", "-b broker-a");
        Ok::<_, String>((before, to_each(producer, &topic).await))
    })??;
    remapped?;
    let brokers = |sent: &[Sent]| -> BTreeSet<String> {
        let broker = |sent: &Sent| match &sent.outcome {
            Outcome::Acknowledged { broker, .. } => Some(broker.clone()),
            _ => None,
        };
        sent.iter().filter_map(broker).collect()
    };
    expect(brokers(&before).len() == 2, || format!("{before:?}"))?;
    expect(brokers(&after) == ["broker-a".to_owned()].into(), || format!("{after:?}"))?;
    // The Java client knows the queues by that one name.
    let mut sent: Vec<_> = before.into_iter().chain(after).collect();
    for sent in &mut sent {
        if let Outcome::Acknowledged { broker, .. } = &mut sent.outcome {
            *broker = GLOBAL.to_owned();
        }
    }
    let comparison = compare(&sent, &read_static(context, &topic)?).exactly_once();
    expect(comparison.acknowledged == 24, || format!("{comparison:?}"))?;
    Ok(comparison)
}

/// Sends a message to each of six logical queues, and as many to any. Name servers hear a moment
/// later that a queue has moved, and nobody tells the client: it has to find out by itself.
async fn to_each(producer: &Producer, topic: &str) -> Vec<Sent> {
    let mut sent = Vec::new();
    for queue in 0..12 {
        let message = Message::new(topic.to_owned(), format!("body {queue}"));
        let mut options = SendOptions::new();
        if queue < 6 {
            options = options.with_queue(MessageQueue::new(GLOBAL, queue));
        }
        sent.push(told(&message, producer.send_with(message.clone(), options).await));
    }
    sent
}

/// A broker asks the other one for queues that were there; within ten seconds of its start it does
/// not know its address.
fn read_static(context: &Context, topic: &str) -> Result<Vec<ReadBack>> {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let read = context.reader.read(&[topic]);
        let early = matches!(&read, Err(error) if error.contains("cannot find addr for broker"));
        if !early || Instant::now() > limit {
            return read;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
