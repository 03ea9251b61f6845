//! Batches: several messages in one request, stored whole or not at all.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{
    Delivery, InvalidBatch, InvalidMessage, Message, SendErrorKind, SendReceipt,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule, ServerVersion};

use super::scene::{
    A, TOPIC, all, bodies, cluster, cluster_with, config, copies, count, failed, fence, idle,
    message, poll_once, producer, promptly, stored_once, until,
};
use super::{Harness, Servers};

/// How many requests brought batches.
fn batch_requests(cluster: &impl Servers, broker: usize) -> usize {
    cluster.with(|cluster| cluster.frames_of(Node::Broker(broker), 320).len())
}

fn three() -> Vec<Message> {
    vec![
        message("one").with_tag("a").with_key("k1").with_flag(7),
        message("two").with_property("city", "Zürich"),
        message("three"),
    ]
}

/// One after the other, in one queue.
fn are_consecutive(receipts: &[SendReceipt]) -> bool {
    let places = receipts.iter().map(|receipt| receipt.position.expect("a whole receipt"));
    let places: Vec<_> = places.collect();
    places.windows(2).all(|pair| {
        pair[0].queue_id == pair[1].queue_id && pair[0].queue_offset + 1 == pair[1].queue_offset
    })
}

/// One request; every message has its own key, place and id.
pub async fn a_batch_is_one_request_and_a_receipt_for_each<H: Harness>(on: &H) {
    for binary in [false, true] {
        let encoding = if binary {
            rocketmq_driver::Encoding::Binary
        } else {
            rocketmq_driver::Encoding::Json
        };
        let cluster = cluster(on, 1);
        let producer = producer(on, config(&cluster).encoding(encoding));
        let receipts = producer.send_batch(three()).await.expect("sent");
        assert_eq!(receipts.len(), 3);
        assert!(are_consecutive(&receipts), "{receipts:?}");
        let mut ids = Vec::new();
        for (receipt, sent) in receipts.iter().zip(three()) {
            let stored = stored_once(&cluster, receipt);
            assert_eq!(stored.body, **sent.body());
            assert_eq!((stored.flag, stored.tags.as_deref()), (sent.flag(), sent.tag()));
            assert_eq!(stored.keys.as_deref(), sent.keys().next());
            let city = sent.properties().next().map(|(_, value)| value);
            assert_eq!(stored.properties.get("city"), city);
            let id = receipt.offset_message_id.expect("an id");
            assert_eq!(id.commit_log_offset, stored.commit_log_offset as i64);
            ids.push(id);
        }
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
        let frames = cluster.with(|cluster| {
            let frames = cluster.frames_of(A, 320);
            frames.into_iter().cloned().collect::<Vec<_>>()
        });
        let [frame] = &*frames else { panic!("{} requests", frames.len()) };
        assert_eq!((frame.ext.get("m"), frame.ext.get("f")), (Some("true"), Some("0")));
        let outer = rocketmq_testkit::wire::parse_properties(frame.ext.get("i").expect("there"));
        let names: Vec<_> = outer.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["UNIQ_KEY", "WAIT"], "as the Java client sends them");
        assert_eq!(producer.client().stats().acknowledged, 1, "a batch is one send");
    }
}

/// A topic that keeps batches as one unit answers with one id for all.
pub async fn a_batch_kept_as_one_unit_has_one_id<H: Harness>(on: &H) {
    let cluster = on.cluster(ClusterConfig::new().batch_topic(TOPIC, 2));
    let producer = producer(on, config(&cluster));
    let receipts = producer.send_batch(three()).await.expect("sent");
    assert!(are_consecutive(&receipts), "{receipts:?}");
    let first = receipts[0].offset_message_id;
    assert!(first.is_some() && receipts.iter().all(|it| it.offset_message_id == first));
    for receipt in &receipts {
        stored_once(&cluster, receipt);
    }
}

/// Brokers before 5.5 append the batch's properties to every message's.
pub async fn an_old_broker_shows_the_key_of_the_batch<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().version(ServerVersion::V5_1));
    let producer = producer(on, config(&cluster));
    let batch = producer.submit_batch(three()).await.expect("room");
    let key = batch.unique_key();
    let receipts = batch.await.expect("sent");
    assert!(receipts.iter().all(|receipt| receipt.unique_key != key));
    assert_eq!((copies(&cluster, key), count(&cluster)), (3, 3));
}

/// Refused before anything is sent; all messages come back.
pub async fn an_invalid_batch_comes_back_whole<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).body_length_max(300));
    let body = |length: usize| Message::new(TOPIC, vec![b'x'; length]);
    let two = |second: Message| vec![message("fine"), second];
    let cases = [
        (Vec::new(), InvalidBatch::Empty),
        (two(Message::new("Other", "x")), InvalidBatch::MixedTopics { index: 1 }),
        (two(message("x").with_wait_stored(false)), InvalidBatch::MixedWait { index: 1 }),
        (vec![Message::new("%RETRY%g", "x")], InvalidBatch::RetryTopic),
        (two(message("")), InvalidBatch::Message { index: 1, reason: InvalidMessage::BodyEmpty }),
        (
            two(body(301)),
            InvalidBatch::Message {
                index: 1,
                reason: InvalidMessage::BodyTooLarge { length: 301, max: 300 },
            },
        ),
        // Each with 22 bytes of lengths and "UNIQ_KEY", 32 or 56 digits, and "WAIT".
        (vec![body(100), body(100), body(100)], InvalidBatch::TooLarge { length: 0, max: 300 }),
    ];
    for (messages, mut reason) in cases {
        let error = producer.send_batch(messages.clone()).await.expect_err("refused");
        if let InvalidBatch::TooLarge { length, .. } = &mut reason {
            let digits = producer_key_digits(&producer).await;
            *length = 3 * (100 + 22 + 9 + digits + 1 + 4 + 1 + 4 + 1);
        }
        assert_eq!(error.kind(), &SendErrorKind::InvalidBatch(Box::new(reason)));
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(error.messages().cloned().collect::<Vec<_>>(), messages);
        let submitted = producer.submit_batch(messages.clone()).await.expect_err("refused");
        assert_eq!(submitted.into_messages(), messages);
    }
    idle(on, &producer).await;
    assert_eq!((count(&cluster), batch_requests(&cluster, 0)), (1, 0));
}

/// How many digits this client's unique keys have.
async fn producer_key_digits(producer: &rocketmq_driver::Producer) -> usize {
    let receipt = producer.send(message("key")).await.expect("sent");
    receipt.unique_key.to_string().len()
}

/// Many more messages than fit into one request: each request is full, none too large.
pub async fn messages_are_split_by_their_size_as_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).body_length_max(4_096));
    let messages = (0..200).map(|n| message("x".repeat(n)).with_property("n", n.to_string()));
    let messages: Vec<_> = messages.skip(1).collect();
    let (mut sent, mut batches) = (0, 0);
    for batch in producer.split_batch(messages.clone()) {
        batches += 1;
        let receipts = producer.send_batch(batch.clone()).await.expect("fits");
        assert_eq!(receipts.len(), batch.len());
        for (receipt, message) in receipts.iter().zip(&messages[sent..]) {
            assert_eq!(stored_once(&cluster, receipt).body, **message.body());
        }
        sent += receipts.len();
    }
    assert_eq!((sent, batch_requests(&cluster, 0)), (199, batches));
    let lengths: Vec<_> = cluster.with(|cluster| {
        let frames = cluster.frames_of(A, 320);
        frames.iter().map(|frame| frame.body_bytes).collect()
    });
    let (last, full) = lengths.split_last().expect("batches");
    assert!(*last <= 4_096 && full.iter().all(|length| (3_700..=4_096).contains(length)));
}

/// The whole batch moves to the other broker.
pub async fn a_dead_broker_moves_the_whole_batch<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| cluster.kill(A));
    let producer = producer(on, config(&cluster));
    for _ in 0..3 {
        let receipts = promptly(on, "the batch", producer.send_batch(three())).await.expect("sent");
        assert!(receipts.iter().all(|receipt| &*receipt.broker_name == "broker-b"));
        assert!(are_consecutive(&receipts), "{receipts:?}");
        for receipt in &receipts {
            stored_once(&cluster, receipt);
        }
    }
    assert_eq!(count(&cluster), 9);
}

/// One verdict for all, and all come back.
pub async fn a_refused_batch_gives_all_messages_back<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).retries_max(0));
    let refusal = Fault::answer(13, "too odd");
    cluster.with(|cluster| cluster.script(A, Rule::sends().nth(1), refusal));
    let error = producer.send_batch(three()).await.expect_err("refused");
    let error = failed(Err::<(), _>(error), &broker_error(13, "too odd"), Delivery::Refused);
    assert_eq!(error.member_keys().len(), 3);
    assert_eq!(error.message(), None);
    assert_eq!(error.into_messages(), three());
    cluster.with(|cluster| cluster.script(A, Rule::sends().nth(1), Fault::close()));
    let error = producer.send_batch(three()).await.expect_err("nobody answers");
    assert_eq!(error.delivery(), Delivery::Unknown);
    let keys = error.member_keys().to_vec();
    assert_eq!(error.into_messages(), three());
    fence(on, &producer).await;
    assert!(keys.iter().all(|key| copies(&cluster, *key) == 0));
}

fn broker_error(code: i32, remark: &str) -> SendErrorKind {
    let code = rocketmq_driver::ResponseCode(code);
    SendErrorKind::Broker { code, remark: remark.into() }
}

/// An answer without a readable place is an acknowledgement for all.
pub async fn an_unreadable_receipt_of_a_batch_is_one_for_all<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let script = |fault| {
        cluster.with(|cluster| cluster.script(A, Rule::sends().nth(1), fault));
    };
    script(Fault::without_receipt());
    let receipts = producer.send_batch(three()).await.expect("stored");
    assert!(receipts.len() == 3 && receipts.iter().all(|receipt| receipt.position.is_none()));
    script(Fault::with_field("msgId", "7F,,x"));
    let receipts = producer.send_batch(three()).await.expect("stored");
    assert!(receipts.iter().all(|receipt| receipt.offset_message_id.is_none()));
    assert!(are_consecutive(&receipts), "the place is readable");
    for receipt in &receipts {
        stored_once(&cluster, receipt);
    }
}

/// The size as sent counts, and one place.
pub async fn a_batch_takes_room_for_its_size_as_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let config = config(&cluster).in_flight_messages_max(1);
    let producer = producer(on, config);
    let _ = cluster.with(|cluster| {
        cluster.script(A, Rule::sends().nth(1), Fault::delay(Duration::from_millis(50)))
    });
    let batch = producer.submit_batch(three()).await.expect("room");
    let stats = producer.client().stats();
    let bodies_length: usize = three().iter().map(|message| message.body().len()).sum();
    assert_eq!(stats.in_flight, 1);
    assert!(stats.in_flight_bytes > bodies_length + 3 * 22, "{stats:?}");
    let mut waits = pin!(producer.send_batch(three()));
    assert!(poll_once(waits.as_mut()).is_none());
    assert_eq!(producer.client().stats().waiting, 1);
    assert_eq!(batch.await.expect("sent").len(), 3);
    assert_eq!(waits.await.expect("sent").len(), 3);
    assert_eq!(bodies(&cluster).len(), 6);
}

/// Dropping cancels all of it; many at once do not mix.
pub async fn batches_are_cancelled_whole_and_do_not_mix<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    cluster.with(|cluster| {
        cluster.script(super::scene::NAMES, Rule::routes(), Fault::delay(Duration::from_millis(20)))
    });
    let mut dropped = Box::pin(producer.send_batch(three()));
    assert!(poll_once(dropped.as_mut()).is_none());
    drop(dropped);
    let batches = (0..20).map(|number| {
        producer.send_batch((0..5).map(move |part| message(format!("{number}-{part}"))))
    });
    for (number, receipts) in all(batches).await.into_iter().enumerate() {
        let receipts = receipts.expect("sent");
        assert!(are_consecutive(&receipts), "{receipts:?}");
        for (part, receipt) in receipts.iter().enumerate() {
            let stored = stored_once(&cluster, receipt);
            assert_eq!(stored.body, format!("{number}-{part}").into_bytes());
        }
    }
    until(on, "all are stored", || count(&cluster) >= 100).await;
    assert_eq!(count(&cluster), 100, "the cancelled one is not there");
}
