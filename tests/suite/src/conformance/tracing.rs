//! The message trace: what is recorded, and that it costs nobody anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketmq_driver::{
    AttemptOutcome, ConfigBuilder, Delivery, Event, EventSet, Interceptor, Message, Producer,
    ProducerOptions, SendContext, SendErrorKind, SendReceipt, SendStatus, TraceOptions, TraceStats,
    TransactionState,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Rule, Stored, TopicConfig, TraceRecord};

use super::scene::*;
use super::{Harness, Servers};

/// Where records go by default.
const SYSTEM: &str = "RMQ_SYS_TRACE_TOPIC";

/// Nothing is sent for its age.
const LONG: Duration = Duration::from_secs(3_600);

/// A cluster whose trace topics exist.
fn traces(brokers: usize) -> ClusterConfig {
    ClusterConfig::new().brokers(brokers).topic(SYSTEM, 1).topic("OrdersTrace", 1)
}

fn traced<H: Harness>(on: &H, config: ConfigBuilder, trace: TraceOptions) -> Producer {
    let client = on.start(build(config));
    client.producer_with("orders", ProducerOptions::new().with_trace(trace)).expect("a group")
}

fn on_full() -> TraceOptions {
    TraceOptions::new().with_interval(LONG)
}

/// Messages with records, broker by broker in the order in which they were stored.
fn trace_messages(cluster: &impl Servers, topic: &str) -> Vec<Stored> {
    cluster.with(|cluster| cluster.stored(topic))
}

fn records(cluster: &impl Servers, topic: &str) -> Vec<TraceRecord> {
    trace_messages(cluster, topic).iter().flat_map(Stored::trace_records).collect()
}

async fn until_counts<H: Harness>(on: &H, producer: &Producer, counts: (u64, u64, u64)) {
    until(on, &format!("the counters are {counts:?}"), || stats(producer) == counts).await;
}

/// Recorded, sent, dropped.
fn stats(producer: &Producer) -> (u64, u64, u64) {
    let TraceStats { recorded, sent, dropped, .. } = producer.trace_stats();
    (recorded, sent, dropped)
}

/// Each record holds what the receipt says, under the user's names; it is found by id and keys.
pub async fn a_record_tells_of_each_send<H: Harness>(on: &H) {
    for (namespace, topic) in [("", SYSTEM), ("shop", SYSTEM), ("", "OrdersTrace")] {
        let cluster = cluster_with(on, traces(2).region("east"));
        let trace = on_full().with_topic(topic).with_batch(1);
        let producer = traced(on, config(&cluster).namespace(namespace), trace);
        let body = noise(300, 1);
        let plain = Message::new(TOPIC, body).with_tag("paid").with_key("k1").with_key("k2");
        let later = message("later").with_delay_level(2);
        let mut receipts = Vec::new();
        for message in [plain, later] {
            receipts.push(producer.send(message).await.expect("sent"));
            until_counts(on, &producer, (receipts.len() as u64, receipts.len() as u64, 0)).await;
        }
        let mut messages = trace_messages(&cluster, topic);
        messages.sort_by_key(|message| message.store_ns);
        assert_eq!(messages.len(), 2);
        let expected = [("paid", "k1 k2", "300", "0"), ("null", "null", "5", "3")];
        for ((receipt, message), (tag, keys, length, kind)) in
            receipts.iter().zip(&messages).zip(expected)
        {
            let records = message.trace_records();
            let [record] = &records[..] else { panic!("{records:?}") };
            let key = receipt.unique_key.to_string();
            for (name, value) in [
                ("regionId", "east"),
                ("groupName", "orders"),
                ("topic", TOPIC),
                ("msgId", &key),
                ("tags", tag),
                ("keys", keys),
                ("storeHost", &receipt.address),
                ("bodyLength", length),
                ("costTime", &receipt.attempt_elapsed.as_millis().to_string()),
                ("msgType", kind),
                ("offsetMsgId", &receipt.offset_message_id.expect("an id").to_string()),
                ("success", "true"),
            ] {
                assert_eq!(record.field(name), value, "{name} of {record:?}");
            }
            assert_eq!(record.kind, "Pub");
            // The attempt began before its frame was made: it may have dialled.
            let began: i64 = record.field("timeStamp").parse().expect("a number");
            let made = stored(&cluster, &rename(receipt, namespace)).born_timestamp_ms;
            assert!((made - 60_000..=made).contains(&began), "{began} {made}");
            let found = if keys == "null" { key } else { format!("{key} {keys}") };
            assert_eq!(message.keys.as_deref(), Some(&*found));
            let group = "_INNER_TRACE_PRODUCER-orders-PRODUCE-1";
            let prefix = if namespace.is_empty() { "" } else { "shop%" };
            assert_eq!(message.group, format!("{prefix}{group}"));
        }
        idle(on, &producer).await;
    }
}

/// The receipt with the name that brokers give its topic.
fn rename(receipt: &SendReceipt, namespace: &str) -> SendReceipt {
    let mut receipt = receipt.clone();
    if !namespace.is_empty() {
        receipt.topic = format!("{namespace}%{}", receipt.topic).into();
    }
    receipt
}

/// Whichever comes first.
pub async fn records_leave_in_batches_or_after_the_interval<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let producer = traced(on, config(&cluster), on_full().with_batch(4));
    for number in 0..11 {
        producer.send(message(number)).await.expect("sent");
    }
    until_counts(on, &producer, (11, 8, 0)).await;
    let sizes = |cluster: &H::Cluster| {
        let messages = trace_messages(cluster, SYSTEM);
        messages.iter().map(|message| message.trace_records().len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&cluster), [4, 4]);
    let cluster = cluster_with(on, traces(1));
    let interval = Duration::from_millis(80);
    let trace = TraceOptions::new().with_interval(interval).with_batch(20);
    let start = on.now();
    let producer = traced(on, config(&cluster), trace);
    for number in 0..3 {
        producer.send(message(number)).await.expect("sent");
    }
    until_counts(on, &producer, (3, 3, 0)).await;
    assert!(on.since(start) >= interval, "they waited for others");
    // Of a slow machine some may have left before the others were there.
    assert!(sizes(&cluster).len() < 3 || on.since(start) > 2 * interval);
}

/// So that who follows one topic reads no others.
pub async fn each_topic_has_trace_messages_of_its_own<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1).topic("Bills", 1));
    let producer = traced(on, config(&cluster), on_full().with_batch(4));
    for topic in [TOPIC, "Bills", TOPIC, "Bills"] {
        producer.send(Message::new(topic, "x")).await.expect("sent");
    }
    until_counts(on, &producer, (4, 4, 0)).await;
    let messages = trace_messages(&cluster, SYSTEM);
    let topics: Vec<Vec<_>> = messages
        .iter()
        .map(|it| it.trace_records().iter().map(|it| it.field("topic").to_owned()).collect())
        .collect();
    assert_eq!(topics, [["Bills", "Bills"], ["Orders", "Orders"]]);
}

/// As it is one request: with the ids of all, or with its own if the broker keeps it whole.
pub async fn a_batch_is_one_record<H: Harness>(on: &H) {
    for whole in [false, true] {
        let topics = if whole { traces(1).batch_topic("Whole", 2) } else { traces(1) };
        let topic = if whole { "Whole" } else { TOPIC };
        let cluster = cluster_with(on, topics);
        let producer = traced(on, config(&cluster), on_full().with_batch(1));
        let messages = (0..3).map(|n| Message::new(topic, format!("{n}")).with_key("k"));
        let receipts = producer.send_batch(messages).await.expect("sent");
        until_counts(on, &producer, (1, 1, 0)).await;
        let found = records(&cluster, SYSTEM);
        let [record] = &found[..] else { panic!("{found:?}") };
        let keys: Vec<_> = receipts.iter().map(|it| it.unique_key.to_string()).collect();
        let ids: Vec<_> =
            receipts.iter().map(|it| it.offset_message_id.expect("an id").to_string()).collect();
        let key = record.field("msgId");
        if whole {
            assert!(key.len() == 32 && !keys.contains(&key.to_owned()), "the batch's own: {key}");
            assert_eq!(record.field("offsetMsgId"), ids[0]);
        } else {
            assert_eq!((key, record.field("offsetMsgId")), (&*keys.join(","), &*ids.join(",")));
        }
        assert_eq!((record.field("keys"), record.field("success")), ("null", "true"));
        assert_eq!(trace_messages(&cluster, SYSTEM)[0].keys.as_deref(), Some(key));
    }
}

/// Neither what failed nor what nobody answers for; nor where a broker wants no trace; nor the
/// trace itself.
pub async fn nothing_is_recorded_without_a_receipt<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let producer = traced(on, config(&cluster), on_full().with_batch(1));
    producer.send_oneway(message("oneway")).await.expect("handed over");
    until(on, "the oneway message is there", || count(&cluster) == 1).await;
    cluster.with(|cluster| cluster.script(A, Rule::sends().topic(TOPIC), Fault::answer(13, "no")));
    let refused = producer.send(message("refused")).await;
    assert_eq!(refused.expect_err("refused").delivery(), Delivery::Refused);
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().topic(TOPIC), Fault::without_receipt());
    });
    let receipt = producer.send(message("somewhere")).await.expect("stored");
    assert_eq!(receipt.position, None);
    let own = Message::new(format!("{SYSTEM}_MINE"), "by hand");
    producer.send(own).await.expect("sent");
    producer.send(message("recorded")).await.expect("sent");
    until_counts(on, &producer, (1, 1, 0)).await;
    let report = promptly(on, "close", producer.close(PROMPT)).await;
    assert_eq!((report.acknowledged, report.failed), (0, 0), "traces are no sends of the user");
    assert_eq!(records(&cluster, SYSTEM).len(), 1, "a trace message is not recorded itself");
    assert_eq!(stats(&producer), (1, 1, 0));

    let cluster = cluster_with(on, traces(1).trace_on(false));
    let producer = traced(on, config(&cluster), on_full().with_batch(1));
    producer.send(message("unwanted")).await.expect("sent");
    promptly(on, "close", producer.close(PROMPT)).await;
    assert_eq!((stats(&producer), records(&cluster, SYSTEM).len()), ((0, 0, 0), 0));
    let untraced = of(&on.start(build(config(&cluster))));
    assert_eq!(untraced.trace_stats(), TraceStats::default());
}

/// It comes from outside, and the other records are in the same message.
pub async fn a_bad_region_breaks_no_record<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    for region in ["a\u{1}b\u{2}c", ""] {
        let odd = Fault::with_field("MSG_REGION", region);
        cluster.with(|cluster| cluster.script(A, Rule::sends().topic(TOPIC), odd));
    }
    let producer = traced(on, config(&cluster), on_full().with_batch(3));
    for number in 0..3 {
        producer.send(message(number)).await.expect("sent");
    }
    until_counts(on, &producer, (3, 3, 0)).await;
    let found = records(&cluster, SYSTEM);
    let regions: Vec<_> = found.iter().map(|record| record.field("regionId")).collect();
    assert_eq!(regions, ["a b c", "DefaultRegion", "DefaultRegion"]);
}

/// The attempt that was answered, and one that was stored less safely than wanted is no success.
pub async fn a_retried_send_is_one_record<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(2));
    for broker in [A, B] {
        let weak = Fault::weak_acknowledgement(10);
        cluster.with(|cluster| {
            cluster.script(broker, Rule::sends().topic(TOPIC), Fault::answer(2, "busy"));
            cluster.script(broker, Rule::sends().topic(TOPIC), weak);
        });
    }
    let producer = traced(on, config(&cluster), on_full().with_batch(1));
    let receipt = producer.send(message("again")).await.expect("stored");
    assert!(!receipt.failed_attempts.is_empty(), "{receipt:?}");
    until_counts(on, &producer, (1, 1, 0)).await;
    let found = records(&cluster, SYSTEM);
    assert_eq!(found.len(), 1);
    assert_eq!(receipt.status, SendStatus::FlushDiskTimeout);
    assert_eq!(found[0].field("success"), "false");
    assert_eq!(found[0].field("storeHost"), &*receipt.address);
    assert_eq!(found[0].field("msgId"), receipt.unique_key.to_string());
    assert_eq!(producer.client().stats().retries, receipt.failed_attempts.len() as u64);
}

/// Users' sends have all of their room and time, and see nothing of it.
pub async fn a_trace_that_cannot_keep_up_is_dropped_and_counted<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let silent = Rule::sends().topic(SYSTEM).always();
    cluster.with(|cluster| cluster.script(A, silent, Fault::silent()));
    let config = config(&cluster).in_flight_messages_max(1);
    let producer = traced(on, config, on_full().with_batch(1));
    let start = on.now();
    let sends = 2_200;
    for number in 0..sends {
        producer.try_submit(message(number)).expect("the one place is free").await.expect("sent");
    }
    assert!(on.since(start) < PROMPT);
    // 32 are on their way, 2,048 wait.
    let (recorded, sent, dropped) = stats(&producer);
    assert_eq!((recorded, sent), (sends, 0));
    let slow = on.since(start) > Duration::from_secs(4);
    assert!(dropped == sends - 32 - 2_048 || (slow && dropped >= 1), "{dropped}");
    let stats_of_user = producer.client().stats();
    let user = (stats_of_user.accepted, stats_of_user.acknowledged, stats_of_user.unknown);
    assert_eq!(user, (sends, sends, 0));
    // The close takes its time for them and no more.
    let (start, time) = (on.now(), Duration::from_millis(300));
    let report = promptly(on, "close", producer.close(time)).await;
    assert!(on.since(start) < time + Duration::from_secs(1) + H::TOLERANCE);
    assert_eq!((report.acknowledged, report.failed), (0, 0));
    assert_eq!(stats(&producer), (sends, 0, sends));
}

/// Not even a client that closes waits for it long, however much is left.
pub async fn a_trace_topic_that_takes_nothing_fails_nothing<H: Harness>(on: &H) {
    let read_only = TopicConfig { perm: 4, ..TopicConfig::new(1) };
    for (config_of, silent) in [
        (ClusterConfig::new().auto_create_topics(false), false),
        (ClusterConfig::new().topic_with(SYSTEM, read_only), false),
        (traces(1), true),
    ] {
        let cluster = cluster_with(on, config_of);
        if silent {
            let sends = Rule::sends().topic(SYSTEM).always();
            cluster.with(|cluster| cluster.script(A, sends, Fault::silent()));
        }
        let producer =
            traced(on, config(&cluster).events(EventSet::FAULTS), on_full().with_batch(1));
        let mut events = producer.client().events();
        for number in 0..100 {
            producer.send(message(number)).await.expect("sent");
        }
        let start = on.now();
        promptly(on, "close", producer.close(Duration::from_secs(60))).await;
        // What becomes of records says nothing about brokers to those who send messages.
        while let Some(event) = events.try_next() {
            assert!(!matches!(event, Event::FaultUpdated { .. }), "{event:?}");
        }
        // One more for telling the brokers.
        let most = Duration::from_secs(6) + H::TOLERANCE;
        assert!(on.since(start) < most, "{:?}", on.since(start));
        assert_eq!(stats(&producer), (100, 0, 100));
        assert_eq!(count(&cluster), 100);
    }
}

/// Also of sends that were under way.
pub async fn close_sends_what_was_recorded<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let producer = traced(on, config(&cluster), on_full().with_batch(20));
    fence(on, &producer).await;
    let late = Fault::delay(Duration::from_millis(60));
    cluster.with(|cluster| cluster.script(A, Rule::sends().topic(TOPIC).always(), late));
    for number in 0..45 {
        drop(producer.submit(message(number)).await.expect("room"));
    }
    let report = promptly(on, "close", producer.close(PROMPT)).await;
    assert_eq!((report.acknowledged, report.failed), (45, 0));
    assert_eq!((stats(&producer), records(&cluster, SYSTEM).len()), ((46, 46, 0), 46));
    let told = cluster.with(|cluster| cluster.unregistrations(0).to_vec());
    let mut groups: Vec<_> = told.iter().filter_map(|it| it.producer_group.as_deref()).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["_INNER_TRACE_PRODUCER-orders-PRODUCE-1", "orders"]);
}

/// Whether the client goes on or ends with it.
pub async fn the_last_handle_sends_what_was_recorded<H: Harness>(on: &H) {
    for client_stays in [true, false] {
        let cluster = cluster_with(on, traces(1));
        let producer = traced(on, config(&cluster), on_full());
        for number in 0..3 {
            producer.send(message(number)).await.expect("sent");
        }
        drop(producer.submit(message("detached")).await.expect("room"));
        let client = client_stays.then(|| producer.client());
        drop(producer);
        until(on, "all is sent", || records(&cluster, SYSTEM).len() == 4).await;
        if let Some(client) = client {
            // The group can be used again, and its trace has a group of its own again.
            until(on, "the group has gone", || {
                cluster.with(|cluster| !cluster.unregistrations(0).is_empty())
            })
            .await;
            let options = ProducerOptions::new().with_trace(on_full().with_batch(1));
            let next = client.producer_with("orders", options).expect("the group is free");
            next.send(message("next")).await.expect("sent");
            until_counts(on, &next, (1, 1, 0)).await;
        }
    }
}

/// Decided here, and decided for a broker that asks.
pub async fn the_ends_of_transactions_are_recorded<H: Harness>(on: &H) {
    let asks = Duration::from_millis(150);
    let cluster = cluster_with(on, traces(1).region("east").transaction_checks(asks, asks, 100));
    let client = on.start(build(config(&cluster).namespace("shop").topic(TOPIC)));
    let options = ProducerOptions::new()
        .with_trace(on_full().with_batch(1))
        .with_transaction_checks(|_| async { TransactionState::Rollback });
    let producer = client.producer_with("orders", options).expect("the group is free");
    let begin = async |body: &str| {
        let message = message(body).with_tag("paid").with_key("k1");
        producer.begin_transaction(message).await.expect("begun")
    };
    let (commit, forgotten) = (begin("commit").await, begin("forgotten").await);
    let receipt = commit.receipt().clone();
    let (committed, asked) = (commit.id().to_string(), forgotten.id().to_string());
    commit.commit().await.expect("committed");
    drop(forgotten);
    let ends = || -> Vec<TraceRecord> {
        let records = records(&cluster, SYSTEM);
        records.into_iter().filter(|record| record.kind == "EndTransaction").collect()
    };
    until(on, "the broker has asked", || {
        ends().iter().any(|it| it.field("transactionState") == "ROLLBACK_MESSAGE")
    })
    .await;
    for (id, state, checked, region) in [
        (&committed, "COMMIT_MESSAGE", "false", "DefaultRegion"),
        (&asked, "ROLLBACK_MESSAGE", "true", "east"),
    ] {
        let of_it =
            |it: &&TraceRecord| it.field("msgId") == id && it.field("transactionState") != "UNKNOW";
        let ends = ends();
        let record = ends.iter().find(of_it).expect("a record");
        for (name, value) in [
            ("regionId", region),
            ("groupName", "orders"),
            ("topic", TOPIC),
            ("tags", "paid"),
            ("keys", "k1"),
            ("storeHost", &*receipt.address),
            ("msgType", "2"),
            ("transactionId", &**id),
            ("transactionState", state),
            ("fromTransactionCheck", checked),
        ] {
            assert_eq!(record.field(name), value, "{name} of {record:?}");
        }
    }
    let halves: Vec<_> =
        records(&cluster, SYSTEM).into_iter().filter(|it| it.kind == "Pub").collect();
    assert_eq!(halves.len(), 2);
    assert!(halves.iter().all(|it| it.field("msgType") == "1"), "{halves:?}");
}

/// Whether or not the broker does it.
pub async fn a_recall_is_recorded<H: Harness>(on: &H) {
    for recalls in [true, false] {
        let cluster = cluster_with(on, traces(1).recalls(recalls).region("east"));
        let config = config(&cluster).namespace("shop");
        let producer = traced(on, config, on_full().with_batch(2));
        let message = message("later").deliver_after(LONG);
        let receipt = producer.send(message).await.expect("sent");
        let handle = receipt.recall_handle.expect("a handle");
        assert_eq!(producer.recall(TOPIC, &handle).await.is_ok(), recalls);
        until_counts(on, &producer, (2, 2, 0)).await;
        let records = records(&cluster, SYSTEM);
        assert_eq!(records[0].field("msgType"), "3");
        let recall = records.iter().find(|it| it.kind == "Recall").expect("a record");
        for (name, value) in [
            ("regionId", "east"),
            ("groupName", "orders"),
            ("topic", TOPIC),
            ("msgId", &*receipt.unique_key.to_string()),
            ("success", &*recalls.to_string()),
        ] {
            assert_eq!(recall.field(name), value, "{name}");
        }
    }
}

/// Counts attempts.
#[derive(Default)]
struct Attempts(AtomicUsize);

impl Interceptor for Attempts {
    fn before_send(&self, _: &SendContext<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn after_send(&self, context: &SendContext<'_>, _: &AttemptOutcome<'_>) {
        assert_eq!(context.message.topic(), TOPIC);
    }
}

/// By interceptors, events, counters and who is out of retries.
pub async fn traces_are_not_heard_of<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let busy = Rule::sends().topic(SYSTEM).times(2);
    cluster.with(|cluster| cluster.script(A, busy, Fault::answer(2, "busy")));
    let attempts = Arc::new(Attempts::default());
    let config = config(&cluster).events(EventSet::ALL);
    let config = config.interceptor(Arc::clone(&attempts) as Arc<dyn Interceptor>);
    let producer = traced(on, config, on_full().with_batch(1));
    let mut events = producer.client().events();
    for number in 0..4 {
        producer.send(message(number)).await.expect("sent");
    }
    until_counts(on, &producer, (4, 2, 2)).await;
    assert_eq!(attempts.0.load(Ordering::Relaxed), 4);
    let stats = producer.client().stats();
    assert_eq!((stats.accepted, stats.acknowledged, stats.retries), (4, 4, 0));
    assert_eq!((stats.refused, stats.in_flight), (0, 0));
    drop(producer.close(PROMPT).await);
    let mut started = 0;
    while let Some(event) = promptly(on, "the next event", events.next()).await {
        let text = format!("{event:?}");
        started += usize::from(text.contains("AttemptStarted"));
        assert!(!text.contains("AttemptFailed") && !text.contains("RetryWithheld"), "{text}");
    }
    assert_eq!(started, 4);
}

/// On the same client, each with its own settings; a third has none.
pub async fn two_producers_have_traces_of_their_own<H: Harness>(on: &H) {
    let cluster = cluster_with(on, traces(1));
    let client = on.start(build(config(&cluster)));
    let options = |topic: &'static str| {
        ProducerOptions::new().with_trace(on_full().with_topic(topic).with_batch(1))
    };
    let long = "x".repeat(100);
    let one = client.producer_with(&long, options(SYSTEM)).expect("a group");
    let other = client.producer_with("bills", options("OrdersTrace")).expect("a group");
    let none = of(&client);
    for producer in [&one, &other, &none] {
        producer.send(message("x")).await.expect("sent");
    }
    until_counts(on, &one, (1, 1, 0)).await;
    until_counts(on, &other, (1, 1, 0)).await;
    assert_eq!(stats(&none), (0, 0, 0));
    let group = |topic| records(&cluster, topic)[0].field("groupName").to_owned();
    assert_eq!((group(SYSTEM), group("OrdersTrace")), (long, "bills".to_owned()));
    for options in [
        TraceOptions::new().with_topic("no good"),
        TraceOptions::new().with_batch(21),
        TraceOptions::new().with_interval(Duration::ZERO),
    ] {
        let options = ProducerOptions::new().with_trace(options);
        let refused = client.producer_with("third", options).expect_err("refused");
        assert!(refused.to_string().contains("TraceOptions::"), "{refused}");
    }
    let error = other.send(Message::new("no topic", "x")).await.expect_err("not sent");
    assert!(matches!(error.kind(), SendErrorKind::Invalid(_)));
    assert_eq!(stats(&other), (1, 1, 0));
}
