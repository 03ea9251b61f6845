//! Bounds on what is in flight.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{Bound, Delivery, InvalidMessage, Message, SendErrorKind, SendOptions};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

const MESSAGES: SendErrorKind = SendErrorKind::Backpressure(Bound::Messages);
const TOPIC_MESSAGES: SendErrorKind = SendErrorKind::Backpressure(Bound::TopicMessages);
const BYTES: SendErrorKind = SendErrorKind::Backpressure(Bound::Bytes);

/// With room for one, the broker's log shows in which order they were let in.
pub async fn senders_wait_and_go_on_in_the_order_in_which_they_came<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("0")).expect("room for one");
    let mut waiting: Vec<_> =
        (1..20).map(|number| Box::pin(producer.send(message(number)))).collect();
    for send in &mut waiting {
        assert!(poll_once(send.as_mut()).is_none());
    }
    assert_eq!(producer.client().stats().waiting, 19);
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    for result in all(waiting).await {
        result.expect("sent");
    }
    assert_eq!(bodies(&cluster), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    idle(on, &producer).await;
}

/// Never waits, and does not overtake.
pub async fn try_submit_without_room_gives_the_message_back<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(2));
    cluster.with(|cluster| cluster.stall(A));
    let open = [0, 1].map(|number| producer.try_submit(message(number)).expect("room"));
    let third = message("2").with_tag("third");
    let error = failed(producer.try_submit(third.clone()), &MESSAGES, Delivery::NotSent);
    assert_eq!(error.into_message(), Some(third));
    cluster.with(|cluster| cluster.resume(A));
    for pending in open {
        pending.await.expect("sent");
    }
    idle(on, &producer).await;
    let pending = producer.try_submit(message("3")).expect("room again");
    pending.await.expect("sent");
    let mut bodies = bodies(&cluster);
    bodies.sort();
    assert_eq!(bodies, ["0", "1", "3"]);
}

/// The error names the setting.
pub async fn no_room_in_time_names_the_bound_on_messages<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("first")).expect("room for one");
    let timeout = Duration::from_millis(60);
    let options = SendOptions::new().with_timeout(timeout);
    let start = on.now();
    let result = producer.send_with(message("second"), options.clone()).await;
    let took = on.since(start);
    let error = failed(result, &MESSAGES, Delivery::NotSent);
    assert!(took >= timeout && took < timeout + H::TOLERANCE, "{took:?}");
    assert!(error.elapsed() >= timeout && error.attempts().is_empty());
    assert!(error.to_string().contains("in_flight_messages_max"), "{error}");
    assert_eq!(error.into_message(), Some(message("second")));
    failed(producer.submit_with(message("x"), options.clone()).await, &MESSAGES, Delivery::NotSent);
    failed(producer.send_oneway_with(message("x"), options).await, &MESSAGES, Delivery::NotSent);
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["first", "fence"]);
}

/// Bytes of bodies are counted, and given back.
pub async fn no_room_in_time_names_the_bound_on_bytes<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_bytes_max(1_000));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("x".repeat(600))).expect("room");
    let options = SendOptions::new().with_timeout(Duration::from_millis(60));
    let result = producer.send_with(message("y".repeat(401)), options).await;
    let error = failed(result, &BYTES, Delivery::NotSent);
    assert!(error.to_string().contains("in_flight_bytes_max"), "{error}");
    let fits = producer.try_submit(message("z".repeat(400))).expect("exactly fits");
    failed(producer.try_submit(message("z")), &BYTES, Delivery::NotSent);
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    fits.await.expect("sent");
    idle(on, &producer).await;
}

/// A topic at its bound waits for itself; the others pass it.
pub async fn a_topic_at_its_bound_does_not_hold_up_others<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().topic("Other", 4));
    let producer = producer(on, config(&cluster).topic_in_flight_messages_max(1));
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().topic(TOPIC).nth(1), Fault::silent_after_storing());
    });
    let options = SendOptions::new().with_timeout(PROMPT).with_retries_max(0);
    let first = producer.try_submit_with(message("0"), options).expect("room for one");
    let mut second = Box::pin(producer.send(message("1")));
    assert!(poll_once(second.as_mut()).is_none());
    failed(producer.try_submit(message("x")), &TOPIC_MESSAGES, Delivery::NotSent);
    for number in 0..5 {
        let other = Message::new("Other", number.to_string());
        promptly(on, "another topic", producer.send(other)).await.expect("sent");
    }
    assert!(poll_once(second.as_mut()).is_none());
    let limit = SendOptions::new().with_timeout(Duration::from_millis(60));
    let result = producer.send_with(message("late"), limit).await;
    let error = failed(result, &TOPIC_MESSAGES, Delivery::NotSent);
    assert!(error.to_string().contains("topic_in_flight_messages_max"), "{error}");
    first.cancel();
    drop(first);
    cluster.with(|cluster| cluster.reset_connections(A));
    promptly(on, "the second", second).await.expect("sent");
    idle(on, &producer).await;
}

/// The time for the send starts with its room.
pub async fn an_unlimited_wait_for_room_spends_no_time_of_the_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("0")).expect("room for one");
    let time = Duration::from_millis(100);
    let options = SendOptions::new().with_timeout(time).with_unlimited_wait_for_room(true);
    failed(producer.try_submit_with(message("x"), options.clone()), &MESSAGES, Delivery::NotSent);
    let mut patient = Box::pin(producer.send_with(message("1"), options.clone()));
    assert!(poll_once(patient.as_mut()).is_none());
    on.sleep(3 * time).await;
    assert!(poll_once(patient.as_mut()).is_none(), "it would have been over long ago");
    // Its own time is limited all the same, once it has room.
    let start = on.now();
    first.cancel();
    cluster.with(|cluster| cluster.kill(A));
    let error = promptly(on, "the patient send", patient).await.expect_err("nobody is there");
    assert!(!matches!(error.kind(), SendErrorKind::Backpressure(_)), "{error}");
    assert!(on.since(start) < time + H::TOLERANCE, "{:?}", on.since(start));
    assert!(error.elapsed() >= 3 * time, "the wait is told: {:?}", error.elapsed());
    // A close ends the wait.
    idle(on, &producer).await;
    cluster.with(|cluster| cluster.blackhole(A));
    let _first = producer.try_submit(message("2")).expect("room for one");
    let mut patient = Box::pin(producer.send_with(message("3"), options));
    assert!(poll_once(patient.as_mut()).is_none());
    producer.close(Duration::from_millis(50)).await;
    failed(patient.await, &SendErrorKind::Closed, Delivery::NotSent);
}

/// Only the limits change; nothing in flight or waiting is lost.
pub async fn room_is_resized_while_sends_wait<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    let client = producer.client();
    assert!(client.set_in_flight_max(0, 1).is_err() && client.set_in_flight_max(1, 0).is_err());
    cluster.with(|cluster| cluster.stall(A));
    let mut sends: Vec<_> =
        (0..40).map(|number| Box::pin(producer.send(message(number)))).collect();
    for send in &mut sends {
        assert!(poll_once(send.as_mut()).is_none());
    }
    assert_eq!((client.stats().in_flight, client.stats().waiting), (1, 39));
    client.set_in_flight_max(30, 1_000).expect("legal");
    assert_eq!((client.stats().in_flight, client.stats().waiting), (30, 10));
    until(on, "the driver has them", || client.stats().accepted == 30).await;
    client.set_in_flight_max(2, 1_000).expect("legal");
    assert_eq!((client.stats().in_flight, client.stats().waiting), (30, 10));
    failed(producer.try_submit(message("x")), &MESSAGES, Delivery::NotSent);
    cluster.with(|cluster| cluster.resume(A));
    for result in all(sends).await {
        result.expect("sent");
    }
    idle(on, &producer).await;
    let mut stored = bodies(&cluster);
    stored.sort_by_key(|body| body.parse::<u32>().expect("a number"));
    assert_eq!(stored, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    let large = producer.send(message("y".repeat(1_001))).await;
    let reason =
        InvalidMessage::LargerThanBudget { length: 1_001, max: 1_000, bound: Bound::Bytes };
    failed(large, &SendErrorKind::Invalid(reason), Delivery::NotSent);
    client.set_in_flight_max(2, 2_000).expect("legal");
    producer.send(message("y".repeat(1_001))).await.expect("fits now");
}

/// One that has a number and no bytes holds neither: a small one of the right size still fits.
pub async fn a_send_that_fails_on_bytes_gives_its_number_back<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let settings = config(&cluster).in_flight_messages_max(2).in_flight_bytes_max(100);
    let producer = producer(on, settings);
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("x".repeat(60))).expect("room");
    for _ in 0..10 {
        failed(producer.try_submit(message("y".repeat(41))), &BYTES, Delivery::NotSent);
        let options = SendOptions::new().with_timeout(Duration::from_millis(2));
        let result = producer.send_with(message("y".repeat(41)), options).await;
        failed(result, &BYTES, Delivery::NotSent);
    }
    assert_eq!(producer.client().stats().in_flight, 1);
    let second = producer.try_submit(message("z".repeat(40))).expect("exactly fits");
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    second.await.expect("sent");
    idle(on, &producer).await;
}

/// It would wait for ever.
pub async fn a_body_larger_than_all_room_is_refused_at_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_bytes_max(1_000));
    let too_large = message("x".repeat(1_001));
    let result = poll_once(pin!(producer.send(too_large.clone()))).expect("at once");
    let reason =
        InvalidMessage::LargerThanBudget { length: 1_001, max: 1_000, bound: Bound::Bytes };
    let error = failed(result, &SendErrorKind::Invalid(reason), Delivery::NotSent);
    assert_eq!(error.into_message(), Some(too_large));
    producer.send(message("x".repeat(1_000))).await.expect("exactly fits");
}

/// A submit is done when there is room, long before the answer.
pub async fn submit_waits_for_room_alone<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(2));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.submit(message("0")).await.expect("room");
    let second = producer.submit(message("1")).await.expect("room");
    let mut third = pin!(producer.submit(message("2")));
    assert!(poll_once(third.as_mut()).is_none());
    until(on, "both are with the driver", || producer.client().stats().accepted == 2).await;
    assert!(poll_once(third.as_mut()).is_none());
    cluster.with(|cluster| cluster.resume(A));
    let third = promptly(on, "submit", third).await.expect("room");
    for pending in [first, second, third] {
        pending.await.expect("sent");
    }
    assert_eq!(count(&cluster), 3);
}
