//! Flush and close.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{Delivery, GroupError, SendErrorKind};
use rocketmq_testkit::cluster::{Fault, Node, Rule};

use super::scene::*;
use super::{Harness, Servers};

fn delay_answers(cluster: &impl Servers) {
    let delay = Fault::delay(Duration::from_millis(60));
    cluster.with(|cluster| cluster.script(A, Rule::sends().always(), delay));
}

async fn until_disconnected<H: Harness>(on: &H, cluster: &impl Servers) {
    until(on, "all connections are closed", || {
        cluster.with(|cluster| {
            cluster.nodes().into_iter().all(|node| cluster.connections(node).is_empty())
        })
    })
    .await;
}

/// Whether anybody waits for the sends or not.
pub async fn flush_waits_for_all_that_was_accepted<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    promptly(on, "a flush of nothing", producer.flush()).await;
    delay_answers(&cluster);
    for number in 0..50 {
        drop(producer.submit(message(number)).await.expect("room"));
    }
    let oneway = producer.send_oneway(message("oneway")).await;
    oneway.expect("handed over");
    promptly(on, "flush", producer.flush()).await;
    let stats = producer.client().stats();
    assert_eq!((stats.in_flight, count(&cluster) >= 50), (0, true));
    until(on, "the counters are there", || producer.client().stats().acknowledged == 50).await;
    // A failure ends a flush as well, and one that was dropped does no harm.
    cluster.with(|cluster| cluster.clear_script(A));
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::answer(13, "no")));
    let pending = producer.try_submit(message("refused")).expect("room");
    drop(producer.flush());
    let mut dropped = Box::pin(producer.flush());
    let _ = poll_once(dropped.as_mut());
    drop(dropped);
    promptly(on, "flush", producer.flush()).await;
    assert!(poll_once(Box::pin(pending).as_mut()).expect("it has ended").is_err());
}

/// Open sends end well, the report counts them, and the brokers are told.
pub async fn close_lets_open_sends_end<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    delay_answers(&cluster);
    let mut held = Vec::new();
    for number in 0..20 {
        let pending = producer.submit(message(number)).await.expect("room");
        if number % 2 == 0 {
            held.push(pending);
        }
    }
    let report = promptly(on, "close", producer.close(PROMPT)).await;
    assert_eq!((report.acknowledged, report.failed), (20, 0));
    assert_eq!(producer.client().stats().acknowledged, 21);
    assert!(report.failures.is_empty() && report.unclaimed.is_empty());
    for pending in held {
        stored_once(&cluster, &pending.await.expect("sent"));
    }
    assert_eq!(count(&cluster), 21);
    until_disconnected(on, &cluster).await;
    let told = cluster.with(|cluster| cluster.unregistrations(0).to_vec());
    let groups: Vec<_> = told.iter().map(|told| told.producer_group.as_deref()).collect();
    assert_eq!(groups, [Some("orders")]);
}

/// Each with the truth about it; those that nobody else will hear of are in the report.
pub async fn close_ends_at_its_time_and_gives_back_what_is_open<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    cluster.with(|cluster| cluster.script(A, Rule::sends().always(), Fault::silent()));
    let held = producer.submit(message("held")).await.expect("room");
    for _ in 0..3 {
        drop(producer.submit(message("unclaimed")).await.expect("room"));
    }
    until(on, "the broker has all", || cluster.with(|c| c.frames_of(A, 310).len() == 5)).await;
    let time = Duration::from_millis(80);
    let start = on.now();
    let report = promptly(on, "close", producer.close(time)).await;
    let took = on.since(start);
    // Telling the brokers is given a second of its own.
    assert!(took >= time && took < time + H::TOLERANCE, "{took:?}");
    assert_eq!((report.acknowledged, report.failed, report.failures.len()), (0, 4, 4));
    assert!(report.failures.iter().all(|(_, delivery)| *delivery == Delivery::Unknown));
    assert_eq!(report.unclaimed.len(), 3);
    for error in report.unclaimed {
        assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Closed, Delivery::Unknown));
        assert_eq!(error.into_message(), Some(message("unclaimed")));
    }
    let result = promptly(on, "the send", held).await;
    let error = failed(result, &SendErrorKind::Closed, Delivery::Unknown);
    assert_eq!(error.into_message(), Some(message("held")));
    until_disconnected(on, &cluster).await;
}

/// They were called before it.
pub async fn close_lets_in_who_waits_for_room<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).in_flight_messages_max(1));
    cluster.with(|cluster| cluster.stall(A));
    let first = producer.try_submit(message("0")).expect("room");
    let mut waiting: Vec<_> =
        (1..6).map(|number| Box::pin(producer.send(message(number)))).collect();
    for send in &mut waiting {
        assert!(poll_once(send.as_mut()).is_none());
    }
    let mut close = Box::pin(producer.close(PROMPT));
    assert!(poll_once(close.as_mut()).is_none());
    cluster.with(|cluster| cluster.resume(A));
    let report = promptly(on, "close", close).await;
    assert_eq!((report.acknowledged, report.failed), (6, 0));
    first.await.expect("sent");
    for result in all(waiting).await {
        result.expect("sent");
    }
    assert_eq!(bodies(&cluster), ["0", "1", "2", "3", "4", "5"]);
}

/// The second one waits as well, and is empty.
pub async fn closing_twice_reports_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    delay_answers(&cluster);
    let pending = producer.submit(message("open")).await.expect("room");
    let client = producer.client();
    let (mut first, mut second) =
        (Box::pin(producer.close(PROMPT)), Box::pin(client.close(PROMPT)));
    assert!(poll_once(first.as_mut()).is_none() && poll_once(second.as_mut()).is_none());
    let second = promptly(on, "the second close", second).await;
    let first = promptly(on, "the first close", first).await;
    assert_eq!((first.acknowledged, second.acknowledged), (1, 0));
    let third = promptly(on, "a close long after", producer.close(PROMPT)).await;
    assert_eq!((third.acknowledged, third.failed), (0, 0));
    pending.await.expect("sent");
}

/// Somebody has less patience.
pub async fn a_later_close_shortens_the_wait<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).send_timeout(PROMPT));
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::silent_after_storing()));
    let pending = producer.submit(message("open")).await.expect("room");
    until(on, "it is stored", || count(&cluster) == 1).await;
    let mut patient = Box::pin(producer.close(4 * PROMPT));
    assert!(poll_once(patient.as_mut()).is_none());
    promptly(on, "the impatient close", producer.close(Duration::from_millis(30))).await;
    let report = promptly(on, "the patient close", patient).await;
    assert_eq!(report.failed, 1);
    let result = promptly(on, "the send", pending).await;
    failed(result, &SendErrorKind::Closed, Delivery::Unknown);
}

/// At once, with the message.
pub async fn after_close_every_call_is_refused<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    let client = producer.client();
    let prepared = producer.send(message("prepared"));
    promptly(on, "close", producer.close(PROMPT)).await;
    let closed = SendErrorKind::Closed;
    failed(promptly(on, "a send", prepared).await, &closed, Delivery::NotSent);
    let result = promptly(on, "a send", producer.send(message("late"))).await;
    let error = failed(result, &closed, Delivery::NotSent);
    assert_eq!(error.into_message(), Some(message("late")));
    let result = promptly(on, "a submit", producer.submit(message("late"))).await;
    failed(result, &closed, Delivery::NotSent);
    let result = promptly(on, "a oneway send", producer.send_oneway(message("late"))).await;
    failed(result, &closed, Delivery::NotSent);
    failed(producer.try_submit(message("late")), &closed, Delivery::NotSent);
    assert_eq!(client.producer("refunds").err(), Some(GroupError::Closed));
    promptly(on, "a flush", client.flush()).await;
    promptly(on, "wait_ready", client.wait_ready(PROMPT)).await.expect_err("closed");
    assert_eq!(bodies(&cluster), ["fence"]);
}

/// Everybody waits, and each send is in exactly one report.
pub async fn many_tasks_close_at_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    delay_answers(&cluster);
    for number in 0..30 {
        drop(producer.submit(message(number)).await.expect("room"));
    }
    let reports = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..8 {
        let (producer, reports) = (producer.clone(), Arc::clone(&reports));
        on.spawn(async move {
            let report = producer.close(PROMPT).await;
            reports.lock().unwrap().push((report.acknowledged, report.failed));
        });
    }
    until(on, "all closes have ended", || reports.lock().unwrap().len() == 8).await;
    let reports = reports.lock().unwrap();
    assert!(reports.iter().all(|(_, failed)| *failed == 0), "{reports:?}");
    let stored = count(&cluster);
    assert_eq!(stored, 31);
    // Those answered before the first close are in no report.
    assert!(reports.iter().filter(|(acknowledged, _)| *acknowledged > 0).count() <= 1);
}

/// The client ends by itself, after its sends.
pub async fn without_handles_accepted_sends_still_end<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    cluster.with(|cluster| cluster.stall(NAMES));
    for number in 0..10 {
        drop(producer.try_submit(message(number)).expect("room"));
    }
    let kept = producer.try_submit(message("kept")).expect("room");
    drop(producer);
    cluster.with(|cluster| cluster.resume(NAMES));
    stored_once(&cluster, &promptly(on, "the kept send", kept).await.expect("sent"));
    until(on, "all are stored", || count(&cluster) == 11).await;
    until_disconnected(on, &cluster).await;
    let told = cluster.with(|cluster| cluster.unregistrations(0).len());
    assert!(told <= 1 && cluster.with(|cluster| cluster.connections(Node::Broker(0))).is_empty());
}
