//! Automatic batches: single sends that leave together.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{
    AutoBatch, AutoBatchError, Delivery, Message, MessageQueue, Producer, ProducerOptions,
    ResponseCode, SendErrorKind, SendOptions, StartError,
};
use rocketmq_testkit::cluster::{Fault, Node, Rule};

use super::scene::{
    A, NAMES, TOPIC, all, build, cluster, config, copies, count, failed, message, poll_once,
    promptly, stored_once, until,
};
use super::{Harness, Servers};

/// Long enough for a case to do something in the meantime, on any machine.
const LONG: Duration = Duration::from_secs(4);

fn lingering(linger: Duration) -> ProducerOptions {
    ProducerOptions::new().with_auto_batch(AutoBatch::new().with_linger(linger))
}

fn gathering<H: Harness>(on: &H, cluster: &H::Cluster, linger: Duration) -> Producer {
    let client = on.start(build(config(cluster)));
    client.producer_with("orders", lingering(linger)).expect("the settings work")
}

fn requests(cluster: &impl Servers, code: i32) -> usize {
    cluster.with(|cluster| cluster.frames_of(Node::Broker(0), code).len())
}

/// A hundred sends, few requests; each has its own receipt, which is true.
pub async fn sends_at_once_leave_together<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, Duration::from_millis(10));
    let sends = (0..100).map(|number| producer.send(message(number)));
    for (number, receipt) in all(sends).await.into_iter().enumerate() {
        let receipt = receipt.expect("sent");
        assert_eq!(stored_once(&cluster, &receipt).body, number.to_string().into_bytes());
        assert!(receipt.offset_message_id.is_some());
    }
    let batches = requests(&cluster, 320);
    assert!((1..20).contains(&batches), "{batches} batches");
    assert_eq!(requests(&cluster, 310), 0);
    let stats = producer.client().stats();
    assert_eq!((stats.accepted, stats.acknowledged), (100, 100), "{stats:?}");
    assert_eq!((stats.in_flight, stats.in_flight_bytes), (0, 0));
}

/// Alone, with a delay of the linger and no more.
pub async fn a_lone_send_is_a_plain_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let linger = Duration::from_millis(20);
    let producer = gathering(on, &cluster, linger);
    let start = on.now();
    let receipt = producer.send(message("alone")).await.expect("sent");
    assert!(on.since(start) >= linger);
    stored_once(&cluster, &receipt);
    assert_eq!((requests(&cluster, 320), requests(&cluster, 310)), (0, 1));
}

/// Tags, topics and durability do not mix, and options of their own go by themselves at once.
pub async fn only_alike_sends_leave_together<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, LONG);
    let alike = [
        message("a1").with_tag("a"),
        message("a2").with_tag("a"),
        message("b1").with_tag("b"),
        message("b2").with_tag("b"),
        message("w1").with_wait_stored(false),
        message("w2").with_wait_stored(false),
    ];
    let mut held = Vec::new();
    for message in alike {
        held.push(producer.submit(message).await.expect("room"));
    }
    let queue = SendOptions::new().with_queue(MessageQueue::new("broker-a", 1));
    producer.send_with(message("queue"), queue).await.expect("sent");
    let timeout = SendOptions::new().with_timeout(Duration::from_secs(9));
    producer.send_with(message("time"), timeout).await.expect("sent");
    producer.send_oneway(message("oneway")).await.expect("sent");
    producer.send(message("x".repeat(40_000))).await.expect("larger than a batch");
    assert_eq!(requests(&cluster, 320), 0, "still held");
    assert_eq!(producer.client().stats().in_flight, 6);
    promptly(on, "the flush", producer.flush()).await;
    for receipt in all(held).await {
        stored_once(&cluster, &receipt.expect("sent"));
    }
    assert_eq!(requests(&cluster, 320), 3);
}

/// A full batch does not linger, and no request is larger than a batch.
pub async fn a_full_batch_leaves_at_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let client = on.start(build(config(&cluster)));
    let settings = AutoBatch::new().with_linger(LONG).with_bytes_max(2_000).with_messages_max(5);
    let options = ProducerOptions::new().with_auto_batch(settings);
    let producer = client.producer_with("orders", options).expect("the settings work");
    let start = on.now();
    let small = all((0..10).map(|number| producer.send(message(number))));
    assert!(promptly(on, "two full batches", small).await.iter().all(Result::is_ok));
    let large = (0..2).map(|_| producer.send(message("x".repeat(1_850))));
    assert!(
        promptly(on, "full by bytes", async {
            let mut large = pin!(all(large));
            assert!(poll_once(large.as_mut()).is_none());
            producer.flush().await;
            large.await
        })
        .await
        .iter()
        .all(Result::is_ok)
    );
    assert!(on.since(start) < LONG);
    let lengths: Vec<_> = cluster.with(|cluster| {
        let frames = cluster.frames_of(A, 320);
        frames.iter().map(|frame| frame.body_bytes).collect()
    });
    assert!(lengths.len() == 2 && lengths.iter().all(|length| *length <= 2_000), "{lengths:?}");
    assert_eq!(count(&cluster), 12);
}

/// What is held leaves at once and ends well.
pub async fn close_sends_what_is_held<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, LONG);
    let mut held = Vec::new();
    for number in 0..7 {
        held.push(producer.submit(message(number)).await.expect("room"));
    }
    let unseen = producer.submit(message("unseen").with_tag("t")).await.expect("room");
    drop(unseen);
    let start = on.now();
    let report = promptly(on, "the close", producer.close(LONG)).await;
    assert!(on.since(start) < LONG);
    assert_eq!((report.acknowledged, report.failed), (8, 0), "{report:?}");
    for receipt in all(held).await {
        stored_once(&cluster, &receipt.expect("sent"));
    }
    assert_eq!(count(&cluster), 8);
    failed(producer.send(message("late")).await, &SendErrorKind::Closed, Delivery::NotSent);
}

/// So does the end of the last producer, and of the last handle.
pub async fn the_last_handle_sends_what_is_held<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, LONG);
    let client = producer.client();
    for number in 0..3 {
        drop(producer.submit(message(number)).await.expect("room"));
    }
    drop(producer);
    let start = on.now();
    until(on, "the dropped producer's are stored", || count(&cluster) == 3).await;
    let producer = client.producer_with("orders", lingering(LONG)).expect("free again");
    for number in 0..3 {
        drop(producer.submit(message(number)).await.expect("room"));
    }
    drop((client, producer));
    until(on, "the dropped client's are stored", || count(&cluster) == 6).await;
    assert!(on.since(start) < LONG);
}

/// Who goes before the batch leaves is not in it; the others are.
pub async fn a_send_dropped_while_it_is_held_is_not_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, LONG);
    let mut sends: Vec<_> = (0..4).map(|number| Box::pin(producer.send(message(number)))).collect();
    for send in &mut sends {
        assert!(poll_once(send.as_mut()).is_none());
    }
    let cancelled = producer.submit(message("cancelled")).await.expect("room");
    let key = cancelled.unique_key();
    assert_eq!(producer.client().stats().in_flight, 5);
    drop(sends.remove(1));
    cancelled.cancel();
    failed(cancelled.await, &SendErrorKind::Cancelled, Delivery::NotSent);
    assert_eq!(producer.client().stats().in_flight, 3);
    producer.flush().await;
    for receipt in all(sends).await {
        let stored = stored_once(&cluster, &receipt.expect("sent"));
        assert_ne!(stored.body, b"1");
    }
    assert_eq!((count(&cluster), copies(&cluster, key)), (3, 0));
    assert_eq!(requests(&cluster, 320), 1);
    drop(producer.send(message("all")));
    let mut only = Box::pin(producer.send(message("only")));
    assert!(poll_once(only.as_mut()).is_none());
    drop(only);
    producer.flush().await;
    assert_eq!(count(&cluster), 3);
}

/// Each gets the error, with its own message.
pub async fn a_refused_batch_fails_each_of_its_sends<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = gathering(on, &cluster, Duration::from_millis(10));
    cluster.with(|cluster| cluster.script(A, Rule::sends().nth(1), Fault::answer(13, "too odd")));
    let sends = (0..5).map(|number| producer.send(message(number)));
    let kind = SendErrorKind::Broker { code: ResponseCode(13), remark: "too odd".into() };
    let mut keys = Vec::new();
    for (number, result) in all(sends).await.into_iter().enumerate() {
        let error = failed(result, &kind, Delivery::Refused);
        keys.push(error.unique_key().expect("a key"));
        assert_eq!(error.attempts().len(), 1);
        assert_eq!(error.into_message(), Some(message(number)));
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
    assert_eq!((requests(&cluster, 320), count(&cluster)), (1, 0));
    assert_eq!(producer.client().stats().refused, 5);
}

/// The whole batch goes to the other broker.
pub async fn a_dead_broker_moves_what_was_gathered<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| cluster.kill(A));
    let producer = gathering(on, &cluster, Duration::from_millis(10));
    for _ in 0..3 {
        let sends = (0..10).map(|number| producer.send(message(number)));
        for receipt in promptly(on, "the sends", all(sends)).await {
            let receipt = receipt.expect("sent");
            assert_eq!(&*receipt.broker_name, "broker-b");
            stored_once(&cluster, &receipt);
        }
    }
    assert_eq!(count(&cluster), 30);
}

/// Held sends fill the room; who waits for it does not wait for the linger, and leaves in batches.
pub async fn who_waits_for_room_does_not_wait_for_the_linger<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let client = on.start(build(config(&cluster).in_flight_messages_max(4)));
    let producer = client.producer_with("orders", lingering(LONG)).expect("the settings work");
    let start = on.now();
    let sends = all((0..18).map(|number| producer.send(message(number))));
    let results = promptly(on, "the sends", sends).await;
    assert!(on.since(start) < LONG);
    for receipt in results {
        stored_once(&cluster, &receipt.expect("sent"));
    }
    assert!(requests(&cluster, 320) >= 4, "batches under pressure, too");
}

/// The time of a send runs while it is held, and its end is told in time.
pub async fn the_time_of_a_held_send_runs<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.script(NAMES, Rule::any().always(), Fault::silent()));
    let time = Duration::from_millis(400);
    let client = on.start(build(config(&cluster).send_timeout(time)));
    let options = lingering(Duration::from_millis(100));
    let producer = client.producer_with("orders", options).expect("the settings work");
    let start = on.now();
    for result in all((0..3).map(|number| producer.send(message(number)))).await {
        let error = result.expect_err("no route");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(error.message().is_some() && error.elapsed() >= time / 2, "{error:?}");
    }
    assert!(on.since(start) <= time + H::TOLERANCE);
}

/// Refused with the range.
pub async fn settings_out_of_range_are_refused<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let client = on.start(build(config(&cluster).send_timeout(Duration::from_secs(3))));
    let refused = |settings: AutoBatch| {
        let options = ProducerOptions::new().with_auto_batch(settings);
        match client.producer_with("orders", options) {
            Err(StartError::AutoBatch(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let new = AutoBatch::new;
    let [short, long] = [Duration::from_micros(900), Duration::from_millis(1_501)]
        .map(|linger| refused(new().with_linger(linger)));
    for error in [short, long] {
        let AutoBatchError::Linger { min, max, .. } = error else { panic!("{error}") };
        assert_eq!((min, max), (Duration::from_millis(1), Duration::from_millis(1_500)));
    }
    let range = |field, value, max| AutoBatchError::Range { field, value, max };
    let (large, two) = (2 * 1024 * 1024 + 1, 2 * 1024 * 1024);
    assert_eq!(refused(new().with_bytes_max(0)), range("bytes_max", 0, two));
    assert_eq!(refused(new().with_bytes_max(large)), range("bytes_max", large, two));
    assert_eq!(refused(new().with_messages_max(0)), range("messages_max", 0, 16_384));
    let none = refused(new().with_total_bytes_max(0));
    assert_eq!(none, range("total_bytes_max", 0, usize::MAX));
    let producer = client.producer_with("orders", lingering(Duration::from_millis(1)));
    let producer = producer.expect("a refusal registers nothing");
    producer.send(Message::new(TOPIC, "works")).await.expect("sent");
}
