//! Futures and handles that are dropped, at every stage of a send. The broker's store is the judge.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{Delivery, SendErrorKind};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// Calling without polling is nothing.
pub async fn a_send_that_was_never_polled_does_nothing<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    drop(producer.send(message("dropped")));
    drop(producer.submit(message("dropped")));
    drop(producer.send_oneway(message("dropped")));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
    assert_eq!(producer.client().stats().accepted, 1);
}

/// And those behind it move up.
pub async fn a_send_dropped_while_it_waits_for_room_leaves_the_queue<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("first")).expect("room");
    let mut dropped = Box::pin(producer.send(message("dropped")));
    let mut third = Box::pin(producer.send(message("third")));
    assert!(poll_once(dropped.as_mut()).is_none() && poll_once(third.as_mut()).is_none());
    assert_eq!(producer.client().stats().waiting, 2);
    drop(dropped);
    assert_eq!(producer.client().stats().waiting, 1);
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    promptly(on, "the one behind", third).await.expect("sent");
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["first", "third", "fence"]);
    idle(on, &producer).await;
}

/// As with a send.
pub async fn a_submit_dropped_while_it_waits_for_room_leaves_the_queue<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_bytes_max(10));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("first")).expect("room");
    let mut large = Box::pin(producer.submit(message("dropped")));
    let mut small = Box::pin(producer.submit(message("small")));
    assert!(poll_once(large.as_mut()).is_none());
    assert!(poll_once(small.as_mut()).is_none(), "it fits, but does not overtake");
    drop(large);
    // With the one before it gone there is room, without any doing of the driver.
    let small = poll_once(small.as_mut()).expect("at once").expect("room");
    cluster.with(|cluster| cluster.resume(A));
    first.await.expect("sent");
    small.await.expect("sent");
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["first", "small", "fence"]);
}

/// The name server stands still.
pub async fn a_send_dropped_while_it_waits_for_a_route_is_not_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let producer = producer(on, config(&cluster));
    let mut send = Box::pin(producer.send(message("dropped")));
    let mut oneway = Box::pin(producer.send_oneway(message("dropped")));
    assert!(poll_once(send.as_mut()).is_none() && poll_once(oneway.as_mut()).is_none());
    until(on, "the driver has them", || {
        let stats = producer.client().stats();
        (stats.accepted, stats.in_flight) == (2, 2)
    })
    .await;
    drop((send, oneway));
    idle(on, &producer).await;
    cluster.with(|cluster| cluster.resume(NAMES));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
}

/// The broker is a black hole.
pub async fn a_send_dropped_while_it_waits_for_a_connection_is_not_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.blackhole(A));
    let producer = producer(on, config(&cluster).connect_timeout(Duration::from_millis(300)));
    let mut send = Box::pin(producer.send(message("dropped")));
    assert!(poll_once(send.as_mut()).is_none());
    until(on, "the broker is dialled", || producer.client().stats().connections == 2).await;
    assert!(poll_once(send.as_mut()).is_none());
    drop(send);
    idle(on, &producer).await;
    cluster.with(|cluster| cluster.accept(A));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
}

/// It goes on by itself, but there is no second attempt.
pub async fn a_send_dropped_after_its_bytes_left_is_stored_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    cluster.with(|cluster| {
        for node in cluster.nodes() {
            let fault = Fault::answer_after_storing(1, "an answer that asks for another attempt");
            cluster.script(node, Rule::sends(), fault.delayed_by(Duration::from_millis(30)));
        }
    });
    let mut send = Box::pin(producer.send(message("dropped")));
    assert!(poll_once(send.as_mut()).is_none());
    until(on, "it is stored", || count(&cluster) == 2).await;
    drop(send);
    idle(on, &producer).await;
    cluster.with(|cluster| cluster.nodes().into_iter().for_each(|node| cluster.clear_script(node)));
    fence(on, &producer).await;
    let bodies = bodies(&cluster);
    assert_eq!(bodies.iter().filter(|body| *body == "dropped").count(), 1, "{bodies:?}");
}

/// Whoever drops the handle does not want to know, but wants it sent.
pub async fn a_dropped_handle_lets_the_send_go_on<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let producer = producer(on, config(&cluster));
    drop(producer.submit(message("submitted")).await.expect("room"));
    drop(producer.try_submit(message("tried")).expect("room"));
    cluster.with(|cluster| cluster.resume(NAMES));
    until(on, "both are stored", || count(&cluster) == 2).await;
    until(on, "both count", || producer.client().stats().acknowledged == 2).await;
    idle(on, &producer).await;
}

/// Nothing is sent, and the message comes back.
pub async fn cancel_before_a_byte_has_left_ends_the_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let producer = producer(on, config(&cluster));
    let pending = producer.submit(message("cancelled")).await.expect("room");
    pending.cancel();
    let key = pending.unique_key();
    let result = promptly(on, "a cancelled send", pending).await;
    let error = failed(result, &SendErrorKind::Cancelled, Delivery::NotSent);
    assert_eq!(error.unique_key(), Some(key));
    assert_eq!(error.into_message(), Some(message("cancelled")));
    cluster.with(|cluster| cluster.resume(NAMES));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
}

/// The broker has it by now; its answer is the truth.
pub async fn cancel_after_the_bytes_left_waits_for_the_answer<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let delay = Fault::delay(Duration::from_millis(50));
    cluster.with(|cluster| cluster.script(A, Rule::sends(), delay));
    let producer = producer(on, config(&cluster));
    let pending = producer.submit(message("cancelled")).await.expect("room");
    until(on, "it is stored", || count(&cluster) == 1).await;
    pending.cancel();
    pending.cancel();
    let receipt = promptly(on, "a cancelled send", pending).await.expect("stored after all");
    stored_once(&cluster, &receipt);
}

/// Room, names and frames of dropped sends are all given back.
pub async fn sends_dropped_at_any_moment_leave_nothing_behind<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster).in_flight_messages_max(8));
    for turn in 0..60 {
        let mut sends: Vec<_> = (0..12).map(|_| Box::pin(producer.send(message(turn)))).collect();
        let mut oneway = pin!(producer.send_oneway(message(turn)));
        for send in &mut sends {
            let _ = poll_once(send.as_mut());
        }
        let _ = poll_once(oneway.as_mut());
        for _ in 0..turn % 4 {
            on.sleep(Duration::from_micros(100)).await;
        }
        // From the front, from the back, and some of them not before the next turn.
        if turn % 2 == 0 {
            sends.reverse();
        }
        sends.truncate(turn % 12);
        for send in sends.iter_mut().take(3) {
            let _ = promptly(on, "a send", poll_at_most(send.as_mut(), turn)).await;
        }
    }
    idle(on, &producer).await;
    fence(on, &producer).await;
    let keys = cluster.with(|cluster| {
        let stored = cluster.stored(TOPIC);
        stored.into_iter().map(|stored| stored.unique_key).collect::<Vec<_>>()
    });
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "nothing is stored twice");
}

/// Polls up to `polls` times and at the second wake at the latest gives up.
async fn poll_at_most<F: Future>(mut future: std::pin::Pin<&mut F>, polls: usize) {
    let mut left = 1 + polls % 2;
    std::future::poll_fn(|cx| {
        left -= 1;
        let over = future.as_mut().poll(cx).is_ready() || left == 0;
        if over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
