//! Name servers that are dead, gone or something else.

use std::time::Duration;

use rocketmq_driver::{
    AttemptFailure, ConnectFailure, Delivery, Message, Producer, SendError, SendErrorKind,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

const TIMEOUT: Duration = Duration::from_millis(300);

fn two_name_servers<H: Harness>(on: &H) -> H::Cluster {
    cluster_with(on, ClusterConfig::new().name_servers(2))
}

/// Nobody listens on the first one's port.
pub async fn the_second_name_server_answers_for_a_dead_first<H: Harness>(on: &H) {
    let cluster = two_name_servers(on);
    cluster.with(|cluster| cluster.kill(NAMES));
    let start = on.now();
    let producer = producer(on, config(&cluster));
    producer.wait_ready(PROMPT).await.expect("the other one answers");
    // Not only when a look-up that failed is tried again.
    assert!(on.since(start) < H::TOLERANCE, "{:?}", on.since(start));
    stored_once(&cluster, &producer.send(message("hello")).await.expect("sent"));
}

/// The first one's machine is gone; the other is asked long before the dial fails.
pub async fn the_second_name_server_answers_for_a_black_hole<H: Harness>(on: &H) {
    let cluster = two_name_servers(on);
    cluster.with(|cluster| cluster.blackhole(NAMES));
    let patience = Duration::from_millis(50);
    let producer = producer(on, config(&cluster).name_server_patience(patience));
    let receipt = producer.send(message("hello")).await.expect("sent");
    assert!(receipt.elapsed < Duration::from_secs(2), "{:?}", receipt.elapsed);
    stored_once(&cluster, &receipt);
}

/// A wrong port: something answers, in another protocol.
pub async fn something_else_than_a_name_server_is_named<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let garbage = Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n");
    cluster.with(|cluster| cluster.script(NAMES, Rule::any().always(), garbage));
    let producer = producer(on, config(&cluster).send_timeout(TIMEOUT));
    let error = told(on, &producer, "broke the protocol").await;
    let text = error.to_string();
    assert!(text.contains(&cluster.address(NAMES).to_string()), "{text}");
    assert!(text.contains("that they are name servers"), "{text}");
    assert_eq!(error.into_message(), Some(message("lost")));
}

/// The error of a send that says `what`. A busy machine may not find out within the first one.
async fn told<H: Harness>(on: &H, producer: &Producer, what: &str) -> SendError {
    let start = on.now();
    loop {
        let result = promptly(on, "the send", producer.send(message("lost"))).await;
        let error = failed(result, &SendErrorKind::NameServerUnreachable, Delivery::NotSent);
        if error.to_string().contains(what) {
            return error;
        }
        assert!(on.since(start) < PROMPT, "{error}");
    }
}

/// A wrong port: nobody listens.
pub async fn a_closed_port_is_named_with_what_to_do<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.kill(NAMES));
    let producer = producer(on, config(&cluster).send_timeout(TIMEOUT));
    let start = on.now();
    let result = producer.send(message("lost")).await;
    assert!(on.since(start) < TIMEOUT + H::TOLERANCE, "{:?}", on.since(start));
    failed(result, &SendErrorKind::NameServerUnreachable, Delivery::NotSent);
    let text = told(on, &producer, "nobody listens").await.to_string();
    assert!(text.contains(&cluster.address(NAMES).to_string()), "{text}");
    assert!(text.contains("check the addresses"), "{text}");
    // The client is not stuck with it.
    cluster.with(|cluster| cluster.restart(NAMES));
    until_sent(on, &producer).await;
}

/// Neither the topic nor one to make it after.
pub async fn an_unknown_topic_says_so<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().auto_create_topics(false));
    let producer = producer(on, config(&cluster).send_timeout(TIMEOUT));
    let result = producer.send(Message::new("Nowhere", "lost")).await;
    let error = failed(result, &SendErrorKind::TopicNotFound, Delivery::NotSent);
    assert!(error.to_string().contains("Nowhere"), "{error}");
    until_sent(on, &producer).await;
}

/// Before any send.
pub async fn ready_when_a_name_server_answers<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let client = on.start(build(config(&cluster)));
    let mut ready = Box::pin(client.wait_ready(PROMPT));
    assert!(poll_once(ready.as_mut()).is_none());
    drop(client.wait_ready(PROMPT));
    on.sleep(Duration::from_millis(50)).await;
    assert!(poll_once(ready.as_mut()).is_none(), "nobody has answered");
    cluster.with(|cluster| cluster.resume(NAMES));
    promptly(on, "wait_ready", ready).await.expect("it answers");
    promptly(on, "wait_ready", client.wait_ready(PROMPT)).await.expect("still");
}

/// In time, and with what happened to each.
pub async fn not_ready_names_every_name_server<H: Harness>(on: &H) {
    let cluster = two_name_servers(on);
    cluster.with(|cluster| cluster.nodes().into_iter().for_each(|node| cluster.kill(node)));
    let client = on.start(build(config(&cluster)));
    let start = on.now();
    let mut error = client.wait_ready(TIMEOUT).await.expect_err("nobody answers");
    let took = on.since(start);
    assert!(took < TIMEOUT + H::TOLERANCE, "{took:?}");
    let refused = AttemptFailure::Connect(ConnectFailure::Refused);
    while error.name_servers.len() < 2 || error.name_servers.iter().any(|it| it.failure != refused)
    {
        assert!(on.since(start) < PROMPT, "{error}");
        error = client.wait_ready(TIMEOUT).await.expect_err("nobody answers");
    }
    for server in &error.name_servers {
        assert!(cluster.name_server_addresses().contains(&*server.address), "{error}");
    }
}
