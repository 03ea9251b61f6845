//! What most cases begin with, and how they wait and judge.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rocketmq_driver::{
    Client, Config, ConfigBuilder, Delivery, Message, Periodic, Producer, SendError, SendErrorKind,
    SendReceipt, UniqueKey,
};
use rocketmq_testkit::cluster::{ClusterConfig, Node, Stored};

use super::{Harness, Servers};

pub(super) const TOPIC: &str = "Orders";

/// The first broker.
pub(super) const A: Node = Node::Broker(0);

/// The second broker.
pub(super) const B: Node = Node::Broker(1);

/// The first name server.
pub(super) const NAMES: Node = Node::NameServer(0);

/// What happens "promptly" happens within this time, even on a busy machine.
pub(super) const PROMPT: Duration = Duration::from_secs(10);

/// For cases that count questions: by default all routes are refreshed 10 ms after the start, which
/// may be in the middle of a case.
pub(super) const RARELY: Periodic =
    Periodic { first: Duration::from_secs(600), period: Duration::from_secs(600) };

/// One name server and brokers with four queues each.
pub(super) fn cluster<H: Harness>(on: &H, brokers: usize) -> H::Cluster {
    cluster_with(on, ClusterConfig::new().brokers(brokers))
}

pub(super) fn cluster_with<H: Harness>(on: &H, config: ClusterConfig) -> H::Cluster {
    on.cluster(config.topic(TOPIC, 4))
}

/// With more time for a send than the default: a busy machine is no reason for another attempt.
pub(super) fn config(cluster: &impl Servers) -> ConfigBuilder {
    Config::builder(&cluster.name_server_addresses()).send_timeout(2 * PROMPT)
}

pub(super) fn build(config: ConfigBuilder) -> Config {
    config.build().expect("the settings work")
}

/// A producer with a client of its own.
pub(super) fn producer<H: Harness>(on: &H, config: ConfigBuilder) -> Producer {
    of(&on.start(build(config)))
}

/// The producer of a client.
pub(super) fn of(client: &Client) -> Producer {
    client.producer("orders").expect("the group is free")
}

pub(super) fn message(body: impl std::fmt::Display) -> Message {
    Message::new(TOPIC, body.to_string())
}

/// Waits until `condition` holds.
pub(super) async fn until<H: Harness>(on: &H, what: &str, mut condition: impl FnMut() -> bool) {
    let start = on.now();
    while !condition() {
        assert!(on.since(start) < PROMPT, "waited in vain until {what}");
        on.sleep(Duration::from_millis(1)).await;
    }
}

/// What `future` gives, which has to be prompt.
pub(super) async fn promptly<H: Harness, F: Future>(on: &H, what: &str, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut limit = pin!(on.sleep(PROMPT));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if limit.as_mut().poll(cx).is_ready() => panic!("{what} hangs"),
        poll => poll,
    })
    .await
}

/// Polls once; `None` while the future is pending.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls all at once, for a few futures.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if futures.iter().any(|(_, output)| output.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(futures.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

/// The bodies stored under the topic, broker by broker.
pub(super) fn bodies(cluster: &impl Servers) -> Vec<String> {
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    stored.into_iter().map(|stored| String::from_utf8(stored.body).expect("UTF-8")).collect()
}

/// How many messages are stored under the topic.
pub(super) fn count(cluster: &impl Servers) -> usize {
    cluster.with(|cluster| cluster.stored_all().filter(|stored| stored.topic == TOPIC).count())
}

/// How many copies of a message are stored.
pub(super) fn copies(cluster: &impl Servers, key: UniqueKey) -> usize {
    let key = Some(key.to_string());
    cluster.with(|cluster| cluster.stored_all().filter(|stored| stored.unique_key == key).count())
}

/// The stored message that a receipt names; it has to be where the receipt says.
pub(super) fn stored(cluster: &impl Servers, receipt: &SendReceipt) -> Stored {
    let position = receipt.position.expect("the broker gives a whole receipt");
    let named = |stored: &&Stored| {
        *stored.broker == *receipt.broker_name
            && *stored.topic == *receipt.topic
            && stored.queue_id == position.queue_id as i32
            && stored.queue_offset == position.queue_offset
    };
    let stored = cluster.with(|cluster| cluster.stored_all().find(named).cloned());
    let stored = stored.expect("something is stored where the receipt says");
    assert_eq!(stored.unique_key, Some(receipt.unique_key.to_string()), "{receipt:?}");
    stored
}

/// As [`stored`], and there is no other copy.
pub(super) fn stored_once(cluster: &impl Servers, receipt: &SendReceipt) -> Stored {
    assert_eq!(copies(cluster, receipt.unique_key), 1, "{receipt:?}");
    stored(cluster, receipt)
}

/// The client works: sends a message, which is then the fence behind everything before it.
pub(super) async fn fence<H: Harness>(on: &H, producer: &Producer) {
    let sent = promptly(on, "the next send", producer.send(message("fence"))).await;
    sent.expect("the next send succeeds");
}

/// Sends until one succeeds, for a client with little time for each.
pub(super) async fn until_sent<H: Harness>(on: &H, producer: &Producer) {
    let start = on.now();
    while let Err(error) = producer.send(message("again")).await {
        assert!(on.since(start) < PROMPT, "{error}");
        on.sleep(Duration::from_millis(5)).await;
    }
}

/// The error of a send, which must have it.
#[track_caller]
pub(super) fn failed<T: std::fmt::Debug>(
    result: Result<T, SendError>,
    kind: &SendErrorKind,
    delivery: Delivery,
) -> SendError {
    let error = result.expect_err("the send fails");
    assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{error}");
    error
}

/// All room of the client is free again.
pub(super) async fn idle<H: Harness>(on: &H, producer: &Producer) {
    until(on, "nothing is in flight", || {
        let stats = producer.client().stats();
        (stats.in_flight, stats.in_flight_bytes, stats.waiting) == (0, 0, 0)
    })
    .await;
}

/// Bytes that no mix-up leaves as they are.
pub(super) fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u32 + 1;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}
