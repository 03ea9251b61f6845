//! Messages that arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    Address, AddressMap, Delivery, Encoding, GroupError, InvalidMessage, Message, MessageQueue,
    Periodic, SendErrorKind, SendOptions, SendStatus,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule, ServerVersion};
use rocketmq_testkit::wire;

use super::scene::*;
use super::{Harness, Servers};

/// One message, one receipt.
pub async fn send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let receipt = producer.send(message("hello")).await.expect("sent");
    assert_eq!(receipt.status, SendStatus::SendOk);
    assert!(receipt.is_complete() && receipt.failed_attempts.is_empty());
    assert_eq!(stored_once(&cluster, &receipt).body, b"hello");
    idle(on, &producer).await;
}

/// Every field of message and receipt against the store.
pub async fn receipts_tell_what_the_broker_stored<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    for wait_stored in [true, false] {
        let message = Message::new(TOPIC, "body")
            .with_tag("paid")
            .with_key("k1")
            .with_key("k2")
            .with_property("shop", "Zürich")
            .with_flag(7)
            .with_wait_stored(wait_stored);
        let receipt = producer.send(message).await.expect("sent");
        let stored = stored_once(&cluster, &receipt);
        assert_eq!((&*stored.body, stored.flag), (&b"body"[..], 7));
        assert_eq!(stored.tags.as_deref(), Some("paid"));
        assert_eq!(stored.keys.as_deref(), Some("k1 k2"));
        assert_eq!(&stored.properties["shop"], "Zürich");
        assert_eq!(stored.properties["WAIT"], wait_stored.to_string());
        assert_eq!(stored.group, producer.group());
        let id = receipt.offset_message_id.expect("brokers give an id");
        assert_eq!(id.commit_log_offset, stored.commit_log_offset as i64);
        assert_eq!(*receipt.address, format!("{}:{}", id.host, id.port));
        let index = usize::from(stored.broker == "broker-b");
        assert_eq!(*receipt.address, cluster.address(Node::Broker(index)).to_string());
        assert!(receipt.attempt_elapsed <= receipt.elapsed);
    }
}

/// Done when the socket has the bytes; stored soon after.
pub async fn oneway<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    for number in 0..20 {
        let receipt = producer.send_oneway(message(number)).await.expect("handed over");
        assert_eq!(*receipt.broker_name, *"broker-a");
    }
    until(on, "all are stored", || count(&cluster) == 20).await;
    assert_eq!(producer.client().stats().oneway, 20);
    let oneway = cluster.with(|cluster| {
        let sends = cluster.frames_of(A, 310).into_iter();
        sends.filter(|frame| frame.flag & 2 != 0).count()
    });
    assert_eq!(oneway, 20, "none of them asked for an answer");
}

/// 200 tasks, 5 messages each.
pub async fn many_tasks_send_at_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 3);
    let producer = producer(on, config(&cluster));
    let receipts = Arc::new(Mutex::new(Vec::new()));
    for task in 0..200 {
        let (producer, receipts) = (producer.clone(), Arc::clone(&receipts));
        on.spawn(async move {
            for number in 0..5 {
                let body = format!("{task}-{number}");
                let result = producer.send(message(&body)).await;
                receipts.lock().unwrap().push((body, result));
            }
        });
    }
    until(on, "all tasks are done", || receipts.lock().unwrap().len() == 1_000).await;
    let receipts = std::mem::take(&mut *receipts.lock().unwrap());
    let expected: BTreeSet<String> = receipts.iter().map(|(body, _)| body.clone()).collect();
    let bodies = bodies(&cluster);
    assert_eq!(bodies.len(), 1_000);
    assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), expected);
    // One of each task is enough: judging takes a walk through the store.
    for (body, result) in receipts.into_iter().filter(|(body, _)| body.ends_with("-3")) {
        let receipt = result.expect("sent");
        assert_eq!(stored_once(&cluster, &receipt).body, body.as_bytes());
    }
    idle(on, &producer).await;
}

/// 2,000 submits; some answers overtake others by far.
pub async fn one_task_submits_thousands_and_answers_come_out_of_order<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        for node in [A, Node::Broker(1)] {
            for nth in [1, 7, 8, 100, 333, 700] {
                let rule = Rule::sends().nth(nth);
                cluster.script(node, rule, Fault::delay(Duration::from_millis(40)));
            }
        }
    });
    let producer = producer(on, config(&cluster));
    let mut pending = Vec::new();
    for number in 0..2_000 {
        pending.push(producer.submit(message(number)).await.expect("there is room in time"));
    }
    let mut positions = BTreeMap::new();
    for (number, pending) in pending.into_iter().enumerate() {
        let key = pending.unique_key();
        let receipt = pending.await.expect("sent");
        assert_eq!(receipt.unique_key, key);
        let position = (receipt.broker_name.to_string(), receipt.position.expect("whole"));
        assert_eq!(positions.insert(position, number.to_string()), None, "one place, one message");
    }
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    assert_eq!(stored.len(), 2_000);
    for stored in stored {
        let (queue_id, queue_offset) = (stored.queue_id as u32, stored.queue_offset);
        let position = rocketmq_driver::QueuePosition { queue_id, queue_offset };
        assert_eq!(positions[&(stored.broker, position)].as_bytes(), stored.body);
    }
}

/// What one task submits to one queue is stored in that order.
pub async fn submits_to_one_queue_keep_their_order<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster).in_flight_messages_max(64));
    let queue = MessageQueue::new("broker-b", 2);
    let options = SendOptions::new().with_queue(queue);
    let mut pending = Vec::new();
    for number in 0..600 {
        // Others in between, to other queues.
        pending.push(producer.submit(message("other")).await.expect("room"));
        let submit = producer.submit_with(message(number), options.clone());
        pending.push(submit.await.expect("room"));
    }
    for pending in pending {
        pending.await.expect("sent");
    }
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    let queue: Vec<String> = stored
        .into_iter()
        .filter(|stored| (&*stored.broker, stored.queue_id) == ("broker-b", 2))
        .map(|stored| String::from_utf8_lossy(&stored.body).into_owned())
        .filter(|body| body != "other")
        .collect();
    assert_eq!(queue, (0..600).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// 1 byte and 4 MiB.
pub async fn the_smallest_and_the_largest_body<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    for length in [1, 4 << 20] {
        let body = noise(length, 0);
        let receipt = producer.send(Message::new(TOPIC, body.clone())).await.expect("sent");
        assert!(stored_once(&cluster, &receipt).body == body, "{length} bytes differ");
    }
}

/// More than sockets hold, so that writes end in the middle of chunks.
pub async fn a_broker_that_stops_reading_gets_every_byte_in_the_end<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    // A heartbeat would wait behind all of it.
    let far = Duration::from_secs(3_600);
    let duty = Periodic { first: far, period: far };
    let producer = producer(on, config(&cluster).heartbeat(duty));
    fence(on, &producer).await;
    cluster.with(|cluster| cluster.stall(A));
    let mut pending = Vec::new();
    for (number, length) in [3 << 20, 100, 4 << 20, 70_000, 1, 4 << 20, 3 << 20].iter().enumerate()
    {
        let body = noise(*length, number);
        let submit = producer.submit(Message::new(TOPIC, body.clone())).await.expect("room");
        pending.push((body, submit));
    }
    // Nothing tells when the socket is full; both cases have to work.
    on.sleep(Duration::from_millis(50)).await;
    cluster.with(|cluster| cluster.resume(A));
    for (body, pending) in pending {
        let receipt = promptly(on, "a large send", pending).await.expect("sent");
        assert!(receipt.failed_attempts.is_empty(), "{:?}", receipt.failed_attempts);
        assert!(stored_once(&cluster, &receipt).body == body, "{} bytes differ", body.len());
    }
}

/// Requests in binary, and answers too where servers mirror.
pub async fn binary_headers<H: Harness>(on: &H) {
    for version in [ServerVersion::V4_9, ServerVersion::V5_5] {
        let cluster = cluster_with(on, ClusterConfig::new().version(version));
        let producer = producer(on, config(&cluster).encoding(Encoding::Binary));
        let sent = producer.send(message("hello").with_property("shop", "Zürich"));
        let receipt = sent.await.expect("sent");
        let stored = stored_once(&cluster, &receipt);
        assert_eq!((&*stored.body, &stored.properties["shop"]), (&b"hello"[..], "Zürich"));
    }
}

/// As the servers read it, in whichever encoding they answer.
pub async fn the_encoding_is_on_the_wire<H: Harness>(on: &H) {
    for (encoding, wire) in
        [(Encoding::Json, wire::Encoding::Json), (Encoding::Binary, wire::Encoding::Binary)]
    {
        let cluster = cluster(on, 1);
        let producer = producer(on, config(&cluster).encoding(encoding));
        fence(on, &producer).await;
        let seen = cluster.with(|cluster| {
            cluster.frames().iter().map(|frame| (frame.node, frame.encoding)).collect::<Vec<_>>()
        });
        assert!(seen.contains(&(NAMES, wire)) && seen.contains(&(A, wire)), "{seen:?}");
        assert!(seen.iter().all(|(_, encoding)| *encoding == wire), "{seen:?}");
    }
}

/// Both of them.
pub async fn name_servers_by_host_name<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let local = |node| cluster.address_by_name(node);
    let [announced, reachable] = [cluster.address(A).to_string(), local(A)].map(address);
    let map = AddressMap::new().with_rule(announced, reachable);
    let config = rocketmq_driver::Config::builder(&local(NAMES)).address_map(map);
    let producer = producer(on, config);
    let receipt = producer.send(message("hello")).await.expect("sent");
    assert_eq!(*receipt.address, local(A));
    stored_once(&cluster, &receipt);
}

fn address(text: String) -> Address {
    text.parse().expect("an address")
}

/// A broker in a container announces what nobody outside can reach.
pub async fn addresses_are_mapped<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let announced = "broker.invalid:10911";
    cluster.with(|cluster| cluster.announce(0, [(0, announced.to_owned())].into()));
    let reachable = address(cluster.address(A).to_string());
    let map = AddressMap::new()
        .with_function(move |asked| (asked.to_string() == announced).then(|| reachable.clone()));
    let producer = producer(on, config(&cluster).address_map(map));
    let receipt = producer.send(message("hello")).await.expect("sent");
    stored_once(&cluster, &receipt);
}

/// Each message under its group; a second producer of one group is refused until the first goes.
pub async fn two_groups_share_a_client<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let client = on.start(build(config(&cluster)));
    let [orders, refunds] =
        ["orders", "refunds"].map(|group| client.producer(group).expect("the group is free"));
    let duplicate = client.producer("orders").expect_err("taken");
    assert_eq!(duplicate, GroupError::Duplicate("orders".into()));
    assert!(matches!(client.producer("no good"), Err(GroupError::Illegal(_))));
    for producer in [&orders, &refunds] {
        let receipt = producer.send(message("hello")).await.expect("sent");
        assert_eq!(stored_once(&cluster, &receipt).group, producer.group());
    }
    assert_eq!(client.stats().connections, 2, "name server and broker, once");
    drop(orders.clone());
    client.producer("orders").expect_err("a clone is not the last handle");
    drop(orders);
    let orders = client.producer("orders").expect("free again");
    orders.send(message("hello")).await.expect("sent");
    refunds.send(message("hello")).await.expect("sent");
}

/// Idle connections stay, and work again afterwards.
pub async fn a_busy_connection_leaves_idle_ones_alone<H: Harness>(on: &H) {
    let cluster = cluster(on, 6);
    let producer = producer(on, config(&cluster));
    let to = |broker: usize| {
        let name = cluster.with(|cluster| cluster.broker_name(broker));
        SendOptions::new().with_queue(MessageQueue::new(name, 0))
    };
    for broker in 0..6 {
        producer.send_with(message("first"), to(broker)).await.expect("sent");
    }
    let before = cluster.with(|cluster| {
        (0..6).flat_map(|broker| cluster.connections(Node::Broker(broker))).collect::<Vec<_>>()
    });
    let sends = (0..10).map(async |_| {
        for number in 0..30 {
            producer.send_with(message(number), to(0)).await.expect("sent");
        }
    });
    all(sends).await;
    for broker in 0..6 {
        producer.send_with(message("last"), to(broker)).await.expect("sent");
    }
    let after = cluster.with(|cluster| {
        (0..6).flat_map(|broker| cluster.connections(Node::Broker(broker))).collect::<Vec<_>>()
    });
    assert_eq!((before.len(), before), (6, after));
    assert_eq!(count(&cluster), 12 + 300);
}

/// Refused before anything is sent, and the message comes back.
pub async fn an_invalid_message_comes_back<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let bad = [
        (Message::new("", "x"), InvalidMessage::TopicEmpty),
        (message(""), InvalidMessage::BodyEmpty),
        (message("x").with_tag(" "), InvalidMessage::Tag),
    ];
    for (message, reason) in bad {
        let kind = SendErrorKind::Invalid(reason);
        let error = failed(producer.send(message.clone()).await, &kind, Delivery::NotSent);
        assert_eq!(error.into_message(), Some(message.clone()));
        failed(producer.submit(message.clone()).await, &kind, Delivery::NotSent);
        failed(producer.send_oneway(message.clone()).await, &kind, Delivery::NotSent);
        failed(producer.try_submit(message), &kind, Delivery::NotSent);
    }
    idle(on, &producer).await;
    assert!(bodies(&cluster).is_empty());
}
