//! Brokers that lag, lie and die.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    AttemptFailure, CloseReason, Delivery, Event, MessageQueue, ResponseCode, SendErrorKind,
    SendOptions, Stage,
};
use rocketmq_testkit::cluster::{Fault, Node, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// The verdict is open, and the attempt is told.
pub async fn a_silent_broker_costs_the_time_of_the_send_and_no_more<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::silent()));
    let timeout = Duration::from_millis(200);
    let start = on.now();
    let options = SendOptions::new().with_timeout(timeout);
    let result = producer.send_with(message("lost"), options).await;
    let took = on.since(start);
    let error = failed(result, &SendErrorKind::Timeout, Delivery::Unknown);
    assert!(took >= timeout && took < timeout + H::TOLERANCE, "{took:?}");
    let [attempt] = error.attempts() else { panic!("{error}") };
    assert_eq!(*attempt.broker_name, *"broker-a");
    assert_eq!(*attempt.address, cluster.address(A).to_string());
    assert_eq!((attempt.stage, attempt.delivery), (Stage::Await, Delivery::Unknown));
    assert_eq!(attempt.failure, AttemptFailure::TimedOut);
    assert!(error.elapsed() >= attempt.elapsed && error.elapsed() >= timeout);
    assert_eq!(error.into_message(), Some(message("lost")));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence", "fence"]);
}

/// Each gets its share of the time, and no broker gets a second chance before all had the first.
pub async fn three_silent_brokers_are_all_tried_and_listed<H: Harness>(on: &H) {
    let cluster = cluster(on, 3);
    let producer = producer(on, config(&cluster));
    for name in ["broker-a", "broker-b", "broker-c"] {
        let queue = MessageQueue::new(name, 0);
        producer.send_to(queue, message("first")).await.expect("sent, the connection is there");
    }
    cluster.with(|cluster| {
        for broker in 0..3 {
            let node = Node::Broker(broker);
            cluster.script(node, Rule::sends().always(), Fault::silent_after_storing());
        }
    });
    let timeout = Duration::from_millis(900);
    let start = on.now();
    let options = SendOptions::new().with_timeout(timeout);
    let result = producer.send_with(message("unanswered"), options).await;
    let took = on.since(start);
    let error = failed(result, &SendErrorKind::Timeout, Delivery::Unknown);
    assert!(took >= timeout && took < timeout + H::TOLERANCE, "{took:?}");
    let tried: BTreeSet<_> = error.attempts().iter().map(|it| &*it.broker_name).collect();
    assert_eq!((tried.len(), error.attempts().len()), (3, 3), "{error}");
    let key = error.unique_key().expect("it was sent");
    until(on, "each has stored it", || copies(&cluster, key) == 3).await;
    let text = error.to_string();
    assert!(text.contains("attempt 3") && text.contains("may have been stored"), "{text}");
}

/// Acknowledged is stored; not sent is not stored.
pub async fn a_broker_that_dies_and_returns_under_load_loses_nothing_acknowledged<H: Harness>(
    on: &H,
) {
    let cluster = cluster(on, 1);
    let dial = Duration::from_millis(50);
    let config = config(&cluster).dial_back_off_min(dial).dial_back_off_max(dial);
    let config = config.send_timeout(Duration::from_secs(3));
    let producer = producer(on, config);
    let results = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(Mutex::new(0));
    for _ in 0..8 {
        let (producer, results, done) = (producer.clone(), Arc::clone(&results), Arc::clone(&done));
        let pause = on.sleep(Duration::ZERO);
        on.spawn(async move {
            pause.await;
            let mut acknowledged = 0;
            while acknowledged < 60 {
                let result = producer.send(message("load")).await;
                acknowledged += usize::from(result.is_ok());
                results.lock().unwrap().push(result);
            }
            *done.lock().unwrap() += 1;
        });
    }
    for stop in [60, 200] {
        let enough = || count(&cluster) >= stop;
        until(on, "the load goes on", enough).await;
        cluster.with(|cluster| cluster.kill(A));
        on.sleep(Duration::from_millis(20)).await;
        cluster.with(|cluster| cluster.restart(A));
    }
    until(on, "all tasks are done", || *done.lock().unwrap() == 8).await;
    let results = std::mem::take(&mut *results.lock().unwrap());
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 8 * 60);
    for result in results {
        match result {
            Ok(receipt) => drop(stored(&cluster, &receipt)),
            Err(error) => {
                let copies = copies(&cluster, error.unique_key().expect("it was accepted"));
                assert!(copies == 0 || error.delivery() == Delivery::Unknown, "{error}");
            }
        }
    }
    idle(on, &producer).await;
}

/// Every send finds another broker in time.
pub async fn a_black_hole_among_three_brokers_fails_no_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 3);
    cluster.with(|cluster| cluster.blackhole(Node::Broker(1)));
    let producer = producer(on, config(&cluster).send_timeout(Duration::from_secs(3)));
    for result in all((0..30).map(|number| producer.send(message(number)))).await {
        let receipt = result.expect("sent");
        assert!(receipt.elapsed < Duration::from_secs(3) + H::TOLERANCE, "{:?}", receipt.elapsed);
        stored_once(&cluster, &receipt);
    }
    // It is known by now, and avoided.
    let start = on.now();
    for number in 0..20 {
        producer.send(message(number)).await.expect("sent");
    }
    assert!(on.since(start) < Duration::from_secs(2), "{:?}", on.since(start));
}

/// One second is well within the time of a send: no error, no duplicate.
pub async fn a_stalled_broker_is_waited_for<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    cluster.with(|cluster| cluster.stall(A));
    let pending = producer.submit(message("patient")).await.expect("room");
    on.sleep(Duration::from_secs(1)).await;
    cluster.with(|cluster| cluster.resume(A));
    let receipt = promptly(on, "the send", pending).await.expect("sent");
    assert!(receipt.elapsed >= Duration::from_secs(1) && receipt.failed_attempts.is_empty());
    stored_once(&cluster, &receipt);
}

/// The send has ended; its answer is an event, and harms nobody.
pub async fn a_late_answer_is_told_apart<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    let late = Fault::delay(Duration::from_millis(400));
    cluster.with(|cluster| cluster.script(A, Rule::sends(), late));
    let mut events = producer.client().events();
    let options = SendOptions::new().with_timeout(Duration::from_millis(200));
    let result = producer.send_with(message("late"), options).await;
    let error = failed(result, &SendErrorKind::Timeout, Delivery::Unknown);
    let next = async {
        while let Some(event) = events.next().await {
            if let Event::LateAnswer { code, op, unique_key, .. } = event {
                assert_eq!((code, op.is_some()), (0, true));
                assert_eq!(unique_key, error.unique_key());
                return;
            }
        }
        panic!("the client ended");
    };
    promptly(on, "the event", next).await;
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence", "late", "fence"]);
}

/// Once for its send, and never for another one.
pub async fn an_answer_that_comes_twice_counts_once<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.script(A, Rule::sends().always(), Fault::twice()));
    let producer = producer(on, config(&cluster));
    for result in all((0..40).map(|number| producer.send(message(number)))).await {
        stored_once(&cluster, &result.expect("sent"));
    }
    for number in 0..10 {
        let receipt = producer.send(message(number)).await.expect("sent");
        stored_once(&cluster, &receipt);
    }
    assert_eq!(producer.client().stats().acknowledged, 50);
}

/// Others on the connection are answered all the same.
pub async fn an_answer_to_another_request_is_ignored<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let wrong = Fault::wrong_opaque(i32::MAX - 5);
    let producer = producer(on, config(&cluster).send_timeout(Duration::from_millis(400)));
    until_sent(on, &producer).await;
    cluster.with(|cluster| cluster.script(A, Rule::sends().nth(3), wrong));
    let results = all((0..10).map(|number| producer.send(message(number)))).await;
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (9, 1));
    for result in bad {
        failed(result, &SendErrorKind::Timeout, Delivery::Unknown);
    }
    for result in good {
        stored_once(&cluster, &result.expect("good"));
    }
    until_sent(on, &producer).await;
}

/// The connection ends, the send is repeated over a new one.
pub async fn garbage_costs_one_attempt<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    let no_header = [0, 0, 0, 8, 0, 0, 0, 4, b'[', b']', b'[', b']'];
    let garbage: [&[u8]; 3] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 64], &no_header];
    for bytes in garbage {
        cluster.with(|cluster| {
            cluster.script(A, Rule::sends(), Fault::garbage_after_storing(bytes));
        });
        let receipt = producer.send(message("twice")).await.expect("sent by another attempt");
        let [failed] = &receipt.failed_attempts[..] else { panic!("{receipt:?}") };
        assert_eq!((failed.stage, failed.delivery), (Stage::Await, Delivery::Unknown));
        let protocol = matches!(failed.failure, AttemptFailure::Closed(CloseReason::Protocol(_)));
        assert!(protocol, "{failed}");
        stored(&cluster, &receipt);
    }
    assert_eq!(count(&cluster), 7);
}

/// Half an answer is none.
pub async fn an_answer_cut_short_costs_one_attempt<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        for node in cluster.nodes() {
            cluster.script(node, Rule::sends(), Fault::reset_in_answer(30));
        }
    });
    let producer = producer(on, config(&cluster));
    let receipt = producer.send(message("cut")).await.expect("the third attempt works");
    assert_eq!(receipt.failed_attempts.len(), 2);
    for attempt in &receipt.failed_attempts {
        let lost = matches!(attempt.failure, AttemptFailure::Closed(_));
        assert!(lost && attempt.delivery == Delivery::Unknown, "{attempt}");
    }
    assert_eq!(count(&cluster), 3);
}

/// And the receipt tells of it.
pub async fn a_busy_broker_is_left_for_another<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().always(), Fault::answer(2, "[TIMEOUT_CLEAN_QUEUE]busy"));
    });
    let producer = producer(on, config(&cluster));
    let mut failures = 0;
    for result in all((0..10).map(|number| producer.send(message(number)))).await {
        let receipt = result.expect("sent");
        assert_eq!(*receipt.broker_name, *"broker-b");
        stored_once(&cluster, &receipt);
        for attempt in &receipt.failed_attempts {
            failures += 1;
            assert_eq!((attempt.stage, attempt.delivery), (Stage::Answered, Delivery::Refused));
        }
    }
    assert!(failures > 0);
    assert_eq!(producer.client().stats().retries, failures);
}

/// Final: no other broker would say anything else.
pub async fn a_refusal_tells_code_and_remark<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        for node in cluster.nodes() {
            cluster.script(node, Rule::sends().always(), Fault::answer(13, "too long"));
        }
    });
    let producer = producer(on, config(&cluster));
    let error = producer.send(message("refused")).await.expect_err("refused");
    let code = ResponseCode(13);
    let kind = SendErrorKind::Broker { code, remark: "too long".into() };
    assert_eq!((error.kind(), error.delivery()), (&kind, Delivery::Refused));
    assert_eq!(error.attempts().len(), 1);
    assert!(error.to_string().contains("too long"), "{error}");
    assert_eq!(producer.client().stats().refused, 1);
}
