//! What a client tells about itself.

use rocketmq_driver::{AttemptFailure, EVENTS_MAX, Event, EventSet, EventStream};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

fn drain(events: &mut EventStream) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

/// Chosen, failed, avoided, chosen again: in this order, under one name.
pub async fn a_fail_over_is_told_in_order<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().always(), Fault::answer(14, "not writable"));
    });
    let producer = producer(on, config(&cluster).events(EventSet::ALL));
    let mut events = producer.client().events();
    let mut told = Vec::new();
    let failed_over = loop {
        let receipt = producer.send(message("hello")).await.expect("sent");
        told = drain(&mut events).into_iter().chain(told).collect();
        if !receipt.failed_attempts.is_empty() {
            break receipt;
        }
        assert!(told.len() < EVENTS_MAX, "broker-a is never chosen");
        told.clear();
    };
    assert_eq!(*failed_over.broker_name, *"broker-b");
    let mut story = Vec::new();
    let mut ops = Vec::new();
    for event in &told {
        match event {
            Event::AttemptStarted { op, unique_key, number, broker_name, .. } => {
                ops.push(*op);
                assert_eq!(*unique_key, failed_over.unique_key);
                story.push(format!("{number} starts at {broker_name}"));
            }
            Event::AttemptFailed { op, unique_key, number, broker_name, failure, retry_at } => {
                ops.push(*op);
                assert_eq!(*unique_key, failed_over.unique_key);
                let AttemptFailure::Answered { code, .. } = failure else { panic!("{failure:?}") };
                let again = if retry_at.is_some() { ", again" } else { "" };
                story.push(format!("{number} fails at {broker_name} with {}{again}", code.0));
            }
            _ => {}
        }
    }
    let expected =
        ["1 starts at broker-a", "1 fails at broker-a with 14, again", "2 starts at broker-b"];
    assert_eq!(story, expected, "{told:#?}");
    assert!(ops.iter().all(|op| *op == ops[0]));
    let avoided = |event: &Event| match event {
        Event::FaultUpdated { broker_name, .. } => **broker_name == *"broker-a",
        _ => false,
    };
    assert!(told.iter().any(avoided), "{told:#?}");
}

/// Bounded; the counter says how many are missing.
pub async fn a_slow_reader_loses_the_oldest_events<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).events(EventSet::ATTEMPT_STARTS));
    let (mut slow, mut slower) = (producer.client().events(), producer.client().events());
    let total = EVENTS_MAX + 300;
    let mut last = None;
    for number in 0..total {
        if number == 200 {
            assert_eq!((slow.dropped(), drain(&mut slow).len()), (0, 200));
        }
        last = Some(producer.send(message(number)).await.expect("sent"));
    }
    assert_eq!((slow.dropped(), slower.dropped()), (100, 300));
    let (slow, slower) = (drain(&mut slow), drain(&mut slower));
    assert_eq!((slow.len(), slower.len()), (EVENTS_MAX, EVENTS_MAX));
    assert_eq!(slow, slower, "both have the newest");
    let queue = last.and_then(|receipt| receipt.position).expect("a whole receipt").queue_id;
    let newest = slow.last().expect("many");
    assert!(matches!(newest, Event::AttemptStarted { queue_id, .. } if *queue_id == queue));
}

/// After close the stream gives what is left, and then ends.
pub async fn events_end_with_the_client<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let mut events = producer.client().events();
    fence(on, &producer).await;
    promptly(on, "close", producer.close(PROMPT)).await;
    let mut connected = 0;
    let mut disconnected = 0;
    while let Some(event) = promptly(on, "the next event", events.next()).await {
        connected += usize::from(matches!(event, Event::Connected { .. }));
        disconnected += usize::from(matches!(event, Event::Disconnected { .. }));
    }
    assert_eq!((connected, disconnected), (2, 2));
    let mut late = producer.client().events();
    assert_eq!(promptly(on, "a stream made too late", late.next()).await, None);
}
