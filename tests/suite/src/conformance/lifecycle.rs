//! The states of a client and what each call does in them, as one table.
//!
//! | state | send, submit | `producer` | `close` | `wait_ready` | start |
//! | --- | --- | --- | --- | --- | --- |
//! | no client yet | – | – | – | – | a client |
//! | Idle: the driver was not polled | waits | works | closes | waits | another client |
//! | Running | works | works | closes | works | another client |
//! | Draining: open sends end | `Closed` | `Closed` | waits too | not ready | another client |
//! | Closed | `Closed` | `Closed` | empty report | not ready | another client |
//!
//! A client cannot be started twice: starting consumes its settings. What cannot be read or
//! registered leaves nothing behind and may be tried again.

use std::collections::BTreeSet;

use rocketmq_driver::{
    Client, Config, ConfigError, Delivery, GroupError, NotReady, Producer, SendErrorKind,
};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// What one state does with every call.
async fn refused<H: Harness>(on: &H, client: &Client, producer: &Producer) {
    let closed = SendErrorKind::Closed;
    let sent = promptly(on, "a send", producer.send(message("late"))).await;
    let error = failed(sent, &closed, Delivery::NotSent);
    assert_eq!(error.into_message(), Some(message("late")));
    let submitted = promptly(on, "a submit", producer.submit(message("late"))).await;
    failed(submitted, &closed, Delivery::NotSent);
    failed(producer.try_submit(message("late")), &closed, Delivery::NotSent);
    let oneway = promptly(on, "a oneway send", producer.send_oneway(message("late"))).await;
    failed(oneway, &closed, Delivery::NotSent);
    assert_eq!(client.producer("refunds").err(), Some(GroupError::Closed));
    assert_eq!(client.set_name_servers("127.0.0.1:1"), Ok(()));
}

/// Before the driver has run, while it runs, while it closes, and afterwards.
pub async fn every_call_in_every_state<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let settings = build(config(&cluster));
    // Idle: everything is accepted and waits.
    let (client, driver) = on.client(settings.clone());
    let producer = of(&client);
    assert_eq!(client.producer("orders").err(), Some(GroupError::Duplicate("orders".into())));
    let early = producer.try_submit(message("early")).expect("room");
    let mut ready = Box::pin(client.wait_ready(2 * PROMPT));
    assert!(poll_once(ready.as_mut()).is_none());
    on.spawn(driver);
    // Running.
    promptly(on, "wait_ready", ready).await.expect("it answers");
    stored_once(&cluster, &promptly(on, "the early send", early).await.expect("sent"));
    let refunds = client.producer("refunds").expect("another group");
    fence(on, &producer).await;
    drop(refunds);
    let again = on.start(settings.clone());
    assert_ne!(again.config().client_id, client.config().client_id, "it is another client");
    fence(on, &of(&again)).await;
    // Draining.
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::silent_after_storing()));
    let open = producer.try_submit(message("open")).expect("room");
    until(on, "it is stored", || bodies(&cluster).contains(&"open".to_owned())).await;
    let mut close = Box::pin(client.close(2 * PROMPT));
    assert!(poll_once(close.as_mut()).is_none());
    refused(on, &client, &producer).await;
    let mut second = Box::pin(client.close(2 * PROMPT));
    assert!(poll_once(second.as_mut()).is_none());
    let short = std::time::Duration::from_millis(20);
    promptly(on, "the third close", client.close(short)).await;
    failed(promptly(on, "the open send", open).await, &SendErrorKind::Closed, Delivery::Unknown);
    let reports = [promptly(on, "close", close).await, promptly(on, "close", second).await];
    assert!(reports.iter().map(|report| report.failed).sum::<u64>() <= 1);
    // Closed.
    refused(on, &client, &producer).await;
    let ready = promptly(on, "wait_ready", client.wait_ready(PROMPT)).await;
    assert_eq!(ready, Err(NotReady { name_servers: Vec::new() }));
    let report = promptly(on, "close", client.close(PROMPT)).await;
    assert_eq!((report.acknowledged, report.failed), (0, 0));
    promptly(on, "flush", client.flush()).await;
    // The other client was never touched, and one with the same settings may be started again.
    fence(on, &of(&on.start(settings))).await;
}

/// What fails to start registers nothing, and may be tried again (P55).
pub async fn a_start_that_fails_leaves_nothing<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    assert!(matches!(Config::builder("nowhere").build(), Err(ConfigError::Address(_))));
    assert_eq!(Config::builder("").build().unwrap_err(), ConfigError::NoNameServer);
    let client = on.start(build(config(&cluster).topic(TOPIC)));
    for bad in ["", " ", "DEFAULT_PRODUCER", "a b", &"x".repeat(121)] {
        assert!(matches!(client.producer(bad), Err(GroupError::Illegal(_))), "{bad}");
    }
    let first = of(&client);
    for _ in 0..2 {
        assert_eq!(client.producer("orders").err(), Some(GroupError::Duplicate("orders".into())));
    }
    fence(on, &first).await;
    drop(first);
    let again = of(&client);
    fence(on, &again).await;
    let other = client.producer("refunds").expect("several groups share a client");
    fence(on, &other).await;
    promptly(on, "close", client.close(PROMPT)).await;
    let greeted: BTreeSet<String> = cluster.with(|cluster| {
        let groups = cluster.heartbeats(0).iter().flat_map(|it| &it.heartbeat.producer_groups);
        groups.cloned().collect()
    });
    assert_eq!(greeted.into_iter().collect::<Vec<_>>(), ["orders", "refunds"]);
}
