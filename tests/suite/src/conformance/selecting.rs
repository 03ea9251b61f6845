//! Queues chosen by the caller, the queues of a topic, and the order of a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketmq_driver::{
    Delivery, Message, MessageQueue, QueuesError, Selector, SelectorFailure, SendErrorKind,
    SendOptions, WhenDown,
};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// All messages with one key are in one queue, which is that of Java or Go.
pub async fn hashes_choose_the_queue<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    let queues = producer.client().queues(TOPIC).await.expect("the topic exists");
    for key in ["a", "order-42", "foobar", "用户"] {
        let selectors =
            [Selector::java_hash(key), Selector::go_hash(key), Selector::rendezvous(key)];
        for (number, selector) in selectors.into_iter().enumerate() {
            let options = SendOptions::new().with_selector(selector);
            let mut places = Vec::new();
            for _ in 0..3 {
                let receipt = producer.send_with(message(key), options.clone()).await;
                let receipt = receipt.expect("sent");
                stored_once(&cluster, &receipt);
                places.push(receipt.queue().expect("whole"));
            }
            assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
            if number == 0 {
                // String#hashCode of the four, from a JVM.
                let hash = match key {
                    "a" => 97,
                    "order-42" => 1_234_255_197,
                    "foobar" => -1_268_878_963,
                    _ => 954_895_i32,
                };
                let position = u64::from((hash % 8).unsigned_abs());
                assert_eq!(Some(&places[0]), queues.get(position).as_ref(), "{key}");
            }
        }
    }
}

/// The queues of a topic, known or not, and why they are not known.
pub async fn the_queues_of_a_topic<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let asks = config(&cluster).create_topics(false).route_refresh(RARELY);
    let client = on.start(build(asks));
    let queues = client.queues(TOPIC).await.expect("the topic exists");
    assert_eq!((queues.len(), queues.is_empty(), queues.brokers().len()), (8, false, 2));
    let all: Vec<MessageQueue> = queues.iter().collect();
    assert_eq!(all[5], MessageQueue::new("broker-b", 1));
    assert_eq!(queues.get(8), None);
    assert_eq!(client.queues(TOPIC).await.as_ref(), Ok(&queues));
    assert_eq!(cluster.with(|cluster| cluster.route_queries(0, TOPIC)), 1, "asked once");
    let error = client.queues("Nowhere").await.expect_err("no such topic");
    assert!(matches!(error, QueuesError::TopicNotFound { .. }), "{error}");
    let error = client.queues("no good").await.expect_err("no legal name");
    assert!(matches!(error, QueuesError::Invalid(_)), "{error}");
    client.close(PROMPT).await;
    let error = client.queues(TOPIC).await.expect_err("closed");
    assert!(matches!(error, QueuesError::Closed), "{error}");
    let (client, driver) = on.client(build(config(&cluster)));
    drop(driver);
    let error = client.queues(TOPIC).await.expect_err("nobody answers");
    assert!(matches!(error, QueuesError::DriverStopped), "{error}");
}

/// A silent name server costs a question its time, and no more.
pub async fn a_question_for_queues_ends_in_time<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let time = Duration::from_millis(300);
    let client = on.start(build(config(&cluster).send_timeout(time)));
    let start = on.now();
    let error = client.queues(TOPIC).await.expect_err("nobody answers");
    assert!(matches!(error, QueuesError::NameServerUnreachable { .. }), "{error}");
    assert!((time..time + H::TOLERANCE).contains(&on.since(start)), "{:?}", on.since(start));
    // So it is for a send whose selector needs them.
    let selector = Selector::custom(|queues, _| queues.get(0));
    let options = SendOptions::new().with_selector(selector);
    let start = on.now();
    let error = of(&client).send_with(message("m"), options).await;
    let error = failed(error, &SendErrorKind::NameServerUnreachable, Delivery::NotSent);
    assert!(!error.name_servers().is_empty() && error.message().is_some());
    assert!((time..time + H::TOLERANCE).contains(&on.since(start)), "{:?}", on.since(start));
}

/// A function chooses among the queues, sees the message, and is asked once for each send.
pub async fn a_function_chooses_the_queue<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let last = Selector::custom(move |queues, message| {
        counter.fetch_add(1, Ordering::Relaxed);
        assert_eq!((message.topic(), queues.len()), (TOPIC, 8));
        queues.get(queues.len() - 1)
    });
    let options = SendOptions::new().with_selector(last);
    // Retries go there, too.
    cluster.with(|cluster| {
        cluster.script(B, Rule::sends().nth(1), Fault::answer(14, "soon"));
    });
    let receipt = producer.send_with(message("one"), options.clone()).await.expect("sent");
    assert_eq!(receipt.queue(), Some(MessageQueue::new("broker-b", 3)));
    assert_eq!((receipt.failed_attempts.len(), asked.load(Ordering::Relaxed)), (1, 1));
    let pending = producer.submit_with(message("two"), options.clone()).await.expect("room");
    stored_once(&cluster, &pending.await.expect("sent"));
    producer.send_oneway_with(message("three"), options.clone()).await.expect("handed over");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    // Dropped while it asks: nothing is sent.
    let mut dropped = Box::pin(producer.send_with(message("four"), options.clone()));
    assert!(poll_once(dropped.as_mut()).is_none());
    drop(dropped);
    let error = producer.try_submit_with(message("five"), options).expect_err("it would wait");
    assert_eq!(error.kind(), &SendErrorKind::Selector(SelectorFailure::WouldWait));
    assert!(error.message().is_some());
    until(on, "three are stored", || count(&cluster) == 3).await;
    idle(on, &producer).await;
}

/// A function that panics, or names no queue, fails its own send and nothing else.
pub async fn a_function_that_fails_fails_its_own_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let with = |selector| SendOptions::new().with_selector(selector);
    let silent = |_: &_, message: &Message| -> Option<MessageQueue> {
        std::panic::resume_unwind(Box::new(message.topic().to_owned()))
    };
    let error = producer.send_with(message("m"), with(Selector::custom(silent))).await;
    let kind = SendErrorKind::Selector(SelectorFailure::Panicked);
    assert!(failed(error, &kind, Delivery::NotSent).message().is_some());
    let error = producer.send_with(message("m"), with(Selector::custom(|_, _| None))).await;
    failed(error, &SendErrorKind::Selector(SelectorFailure::NoQueue), Delivery::NotSent);
    let nowhere = Selector::custom(|_, _| Some(MessageQueue::new("nowhere", 0)));
    let error = producer.send_with(message("m"), with(nowhere)).await;
    failed(error, &SendErrorKind::NoSuchQueue("nowhere".into()), Delivery::NotSent);
    fence(on, &producer).await;
    assert_eq!(count(&cluster), 1);
    idle(on, &producer).await;
}

/// What is submitted with one key is stored in that order, though brokers refuse in between.
pub async fn ordered_submits_are_stored_in_order<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        for node in [A, B] {
            for nth in [3, 10, 11, 40] {
                cluster.script(node, Rule::sends().nth(nth), Fault::answer(2, "busy"));
            }
        }
    });
    let producer = producer(on, config(&cluster));
    let mut pending = Vec::new();
    for number in 0..120 {
        let key = format!("k{}", number % 3);
        let options = SendOptions::new().ordered(&key).with_when_down(WhenDown::Wait);
        let body = format!("{key} {number:03}");
        pending.push(producer.submit_with(message(body), options).await.expect("room"));
    }
    for pending in pending {
        pending.await.expect("sent");
    }
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    for key in ["k0", "k1", "k2"] {
        let of_key = |body: &String| body.starts_with(key);
        let bodies: Vec<String> = stored
            .iter()
            .map(|stored| String::from_utf8_lossy(&stored.body).into_owned())
            .filter(of_key)
            .collect();
        assert_eq!(bodies.len(), 40);
        assert!(bodies.is_sorted(), "{bodies:?}");
    }
    idle(on, &producer).await;
}
