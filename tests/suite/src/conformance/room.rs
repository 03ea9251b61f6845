//! Bounds on what is in flight.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{Bound, Delivery, InvalidMessage, SendErrorKind, SendOptions};

use super::scene::*;
use super::{Harness, Servers};

const MESSAGES: SendErrorKind = SendErrorKind::Backpressure(Bound::Messages);
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
