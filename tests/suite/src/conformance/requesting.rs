//! Requests, and the replies to them.

use std::pin::pin;
use std::time::Duration;

use rocketmq_driver::{
    Client, Compression, CorrelationId, Delivery, Encoding, Event, EventSet, EventStream, Message,
    MessageQueue, NoReply, Producer, ReplyMessage, RequestError, SendErrorKind, SendReceipt,
    StoredMessage,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, FrameRecord, Node, Rule, Stored};
use rocketmq_testkit::wire::request_code::{SEND_MESSAGE_V2, SEND_REPLY_MESSAGE_V2};

use super::scene::*;
use super::{Harness, Servers};

const SHORT: Duration = Duration::from_millis(200);

/// A request's time when a reply comes.
const PATIENT: Duration = PROMPT;

/// Another process, which replies.
fn responder<H: Harness>(on: &H, cluster: &H::Cluster) -> Producer {
    on.start(build(config(cluster))).producer("answers").expect("the group is free")
}

/// The requests that brokers have stored.
fn requests(cluster: &impl Servers) -> Vec<Stored> {
    let all = cluster.with(|cluster| cluster.stored_all().cloned().collect::<Vec<_>>());
    let asks = |stored: &Stored| {
        let has = |name| stored.properties.get(name).is_some();
        has("CORRELATION_ID") && !has("MSG_TYPE")
    };
    all.into_iter().filter(asks).collect()
}

/// Request number `index`, as a consumer gets it.
async fn asked<H: Harness>(
    on: &H,
    cluster: &H::Cluster,
    responder: &Producer,
    index: usize,
) -> StoredMessage {
    until(on, "the request is stored", || requests(cluster).len() > index).await;
    let request = requests(cluster).remove(index);
    let key = request.unique_key.expect("a key");
    let admin = responder.client().admin();
    admin.view(&request.topic, &key).await.expect("stored")
}

/// Replies to request number `index`.
async fn reply<H: Harness>(
    on: &H,
    cluster: &H::Cluster,
    responder: &Producer,
    index: usize,
    body: &str,
) -> SendReceipt {
    let request = asked(on, cluster, responder, index).await;
    let reply = Message::reply_to(&request, body.to_owned()).expect("a request");
    let queue = MessageQueue::new("broker-a", 0);
    responder.send_to(queue, reply.with_property("said", "yes")).await.expect("passed on")
}

fn frames(cluster: &impl Servers, code: i32) -> Vec<FrameRecord> {
    let of = |frame: &&FrameRecord| frame.code == code;
    cluster.with(|cluster| cluster.frames().iter().filter(of).cloned().collect())
}

fn client_id(client: &Client, cluster: &impl Servers, broker: usize) -> String {
    let id = cluster.with(|cluster| cluster.heartbeats(broker)[0].heartbeat.client_id.clone());
    assert!(format!("{client:?}").contains(&id), "{client:?} {id}");
    id
}

fn text(reply: &ReplyMessage) -> &str {
    std::str::from_utf8(&reply.body).expect("UTF-8")
}

/// The replies that nobody waited for.
async fn strays<H: Harness>(
    on: &H,
    events: &mut EventStream,
    count: usize,
) -> Vec<Option<CorrelationId>> {
    let mut strays = Vec::new();
    until(on, "replies nobody waits for", || {
        while let Some(event) = events.try_next() {
            if let Event::StrayReply { correlation_id, producer_group, .. } = event {
                assert_eq!(&*producer_group, "answers");
                strays.push(correlation_id);
            }
        }
        strays.len() >= count
    })
    .await;
    strays
}

fn timed_out(result: Result<ReplyMessage, RequestError>) -> Box<SendReceipt> {
    match result {
        Err(RequestError::NoReply { reason: NoReply::TimedOut, receipt }) => receipt,
        other => panic!("{other:?}"),
    }
}

/// What is sent is a message with three properties more, and what comes back is the reply to it.
pub async fn a_request_gets_its_reply<H: Harness>(on: &H) {
    for (namespace, encoding) in [("", Encoding::Json), ("shop", Encoding::Binary)] {
        let cluster = cluster_with(on, ClusterConfig::new().brokers(2));
        let config = config(&cluster).namespace(namespace).encoding(encoding);
        let producer = producer(on, config.clone());
        let responder = on.start(build(config)).producer("answers").expect("free");
        let first = producer.request(message("price?").with_key("fish"), PATIENT);
        let (first_id, mut first) = (first.correlation_id(), pin!(first));
        assert!(poll_once(first.as_mut()).is_none());
        let second = producer.request(message("weight?"), PATIENT);
        let (second_id, mut second) = (second.correlation_id(), pin!(second));
        assert!(poll_once(second.as_mut()).is_none());
        assert_ne!(first_id, second_id);
        asked(on, &cluster, &responder, 1).await;
        // What a tenant calls so is another topic.
        let _ = responder.client().queues("DefaultCluster_REPLY_TOPIC").await;
        for request in &requests(&cluster) {
            let first = request.body == b"price?";
            let id = if first { first_id } else { second_id };
            let property = |name| request.properties.get(name).map(str::to_owned);
            assert_eq!(property("CORRELATION_ID"), Some(id.to_string()));
            assert_eq!(property("TTL"), Some(PATIENT.as_millis().to_string()));
            let client = client_id(&producer.client(), &cluster, 0);
            assert_eq!(property("REPLY_TO_CLIENT"), Some(client));
            assert_eq!(request.keys.as_deref(), first.then_some("fish"));
        }
        for index in 0..2 {
            let about = String::from_utf8(requests(&cluster)[index].body.clone()).expect("UTF-8");
            let receipt = reply(on, &cluster, &responder, index, &format!("{about} 7")).await;
            assert_eq!(receipt.topic, "DefaultCluster_REPLY_TOPIC");
        }
        let first = promptly(on, "the reply", first).await.expect("a reply");
        let second = promptly(on, "the reply", second).await.expect("a reply");
        assert_eq!((text(&first), text(&second)), ("price? 7", "weight? 7"));
        assert_eq!(first.correlation_id(), Some(first_id));
        assert_eq!(first.property("said"), Some("yes"));
        let group = if namespace.is_empty() { "answers" } else { "shop%answers" };
        assert_eq!(&*first.producer_group, group);
        assert_eq!(&*first.topic, "DefaultCluster_REPLY_TOPIC");
        let replies = frames(&cluster, SEND_REPLY_MESSAGE_V2);
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[0].ext.get("b"), Some("DefaultCluster_REPLY_TOPIC"));
        idle(on, &producer).await;
    }
}

/// Replies come by way of any broker of the cluster, so each of them knows the client first.
pub async fn every_broker_is_greeted_before_a_request_leaves<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().brokers(3));
    cluster.with(|cluster| {
        cluster.remove_topic(1, TOPIC);
        cluster.remove_topic(2, TOPIC);
        let late = Fault::none().delayed_by(SHORT);
        cluster.script(Node::Broker(2), Rule::heartbeats(), late);
    });
    let producer = producer(on, config(&cluster));
    let request = producer.request(message("who?"), PATIENT);
    let responder = responder(on, &cluster);
    let mut request = pin!(request);
    assert!(poll_once(request.as_mut()).is_none());
    asked(on, &cluster, &responder, 0).await;
    let sent = frames(&cluster, SEND_MESSAGE_V2)[0].at_ns;
    let client = client_id(&producer.client(), &cluster, 0);
    for broker in 0..3 {
        let greeted = cluster.with(|cluster| {
            let of = |it: &&_| client_of(it) == client;
            cluster.heartbeats(broker).iter().find(of).map(|record| record.at_ns)
        });
        let answered = if broker == 2 { SHORT.as_nanos() as u64 } else { 0 };
        let greeted = greeted.expect("greeted");
        assert!(greeted + answered <= sent, "broker {broker}: {greeted} and {sent}");
    }
    // Through the broker that has nothing to do with the request.
    let stored = asked(on, &cluster, &responder, 0).await;
    let message = Message::reply_to(&stored, "me").expect("a request");
    let queue = MessageQueue::new("broker-c", 0);
    responder.send_to(queue, message).await.expect("passed on");
    let reply = promptly(on, "the reply", request).await.expect("a reply");
    assert_eq!(text(&reply), "me");
}

fn client_of(record: &rocketmq_testkit::cluster::HeartbeatRecord) -> String {
    record.heartbeat.client_id.clone()
}

/// It costs the first request a part of its time, and others nothing.
pub async fn a_broker_that_is_away_holds_up_the_first_request_alone<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().brokers(2));
    cluster.with(|cluster| {
        cluster.remove_topic(1, TOPIC);
        cluster.blackhole(B);
    });
    let config = config(&cluster).request_timeout(SHORT).connect_timeout(SHORT);
    let producer = producer(on, config);
    let responder = responder(on, &cluster);
    for index in 0..2 {
        let start = on.now();
        let mut request = pin!(producer.request(message("who?"), PATIENT));
        assert!(poll_once(request.as_mut()).is_none());
        until(on, "it leaves", || requests(&cluster).len() > index).await;
        let most = if index == 0 { PATIENT / 4 + H::TOLERANCE } else { H::TOLERANCE };
        assert!(on.since(start) <= most, "{index}: {:?}", on.since(start));
        reply(on, &cluster, &responder, index, "me").await;
        promptly(on, "the reply", request).await.expect("a reply");
    }
    // A silent one costs a quarter of the time, and what is left is enough.
    cluster.with(|cluster| cluster.script(A, Rule::heartbeats().always(), Fault::silent()));
    let other = on.start(build(self::config(&cluster))).producer("others").expect("free");
    let start = on.now();
    let time = 2 * SHORT;
    let receipt = timed_out(other.request(message("who?"), time).await);
    let took = on.since(start);
    assert!(took >= time && took <= time + H::TOLERANCE, "{took:?}");
    assert!(receipt.elapsed >= time / 4, "{:?}", receipt.elapsed);
    assert!(receipt.elapsed <= time / 4 + H::TOLERANCE, "{:?}", receipt.elapsed);
}

/// The error says where the request is, and the reply that comes later is told.
pub async fn a_request_without_reply_ends_in_time<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).events(EventSet::STRAYS));
    let responder = responder(on, &cluster);
    let mut events = producer.client().events();
    // Greets the brokers.
    let _ = producer.request(message("first"), SHORT).await;
    let (start, request) = (on.now(), producer.request(message("second"), 2 * SHORT));
    let id = request.correlation_id();
    let result = request.await;
    let took = on.since(start);
    assert!(took >= 2 * SHORT && took <= 2 * SHORT + H::TOLERANCE, "{took:?}");
    let error = result.clone().expect_err("no reply");
    assert_eq!(error.delivery(), None);
    let receipt = timed_out(result);
    let stored = stored_once(&cluster, &receipt);
    assert_eq!(stored.body, b"second");
    let said = error.to_string();
    assert!(said.contains("no reply in time") && said.contains(TOPIC), "{said}");
    assert!(said.contains(&receipt.unique_key.to_string()), "{said}");
    let index = requests(&cluster).iter().position(|it| it.body == b"second").expect("stored");
    reply(on, &cluster, &responder, index, "too late").await;
    assert_eq!(strays(on, &mut events, 1).await, [Some(id)]);
    idle(on, &producer).await;
}

/// Somebody who was asked by two copies, or two who were asked, reply twice.
pub async fn the_first_reply_counts<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    // One copy is stored whose answer is lost, and so there is another.
    cluster.with(|cluster| {
        for node in [A, B] {
            cluster.script(node, Rule::sends().topic(TOPIC), Fault::silent_after_storing());
        }
    });
    let config = config(&cluster).events(EventSet::STRAYS).attempt_timeout_min(SHORT);
    let producer = producer(on, config);
    let responder = responder(on, &cluster);
    let mut events = producer.client().events();
    let request = producer.request(message("who?"), 2 * PATIENT);
    let (id, mut request) = (request.correlation_id(), pin!(request));
    assert!(poll_once(request.as_mut()).is_none());
    reply(on, &cluster, &responder, 0, "me").await;
    let answer = promptly(on, "the reply", request).await.expect("a reply");
    assert_eq!(text(&answer), "me");
    // The first broker said nothing: without the reply there would be a second copy in the end.
    on.sleep(2 * SHORT).await;
    assert_eq!(requests(&cluster).len(), 1, "no other attempt after the reply");
    reply(on, &cluster, &responder, 0, "me, too").await;
    assert_eq!(strays(on, &mut events, 1).await, [Some(id)]);
    idle(on, &producer).await;
}

/// The broker may be slower to acknowledge than somebody is to reply.
pub async fn a_reply_may_come_before_the_receipt<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let late = Fault::none().delayed_by(10 * SHORT);
    cluster.with(|cluster| cluster.script(A, Rule::sends().topic(TOPIC), late));
    let producer = producer(on, config(&cluster));
    let responder = responder(on, &cluster);
    let mut request = pin!(producer.request(message("who?"), 2 * PATIENT));
    let start = on.now();
    assert!(poll_once(request.as_mut()).is_none());
    reply(on, &cluster, &responder, 0, "me").await;
    let reply = promptly(on, "the reply", request).await.expect("a reply");
    assert_eq!(text(&reply), "me");
    assert!(on.since(start) < 10 * SHORT, "{:?}", on.since(start));
    idle(on, &producer).await;
    fence(on, &producer).await;
}

/// Bodies are compressed on the way, and as they were at the end.
pub async fn a_reply_is_decompressed<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let config = config(&cluster).compression(Compression::Zlib);
    let responder = on.start(build(config)).producer("answers").expect("free");
    let long = "so on and ".repeat(1_000);
    let mut request = pin!(producer.request(message("and?"), PATIENT));
    assert!(poll_once(request.as_mut()).is_none());
    reply(on, &cluster, &responder, 0, &long).await;
    let pushed = frames(&cluster, SEND_REPLY_MESSAGE_V2)[0].body_bytes;
    assert!(pushed < long.len() / 10, "{pushed} bytes");
    let answer = promptly(on, "the reply", request).await.expect("a reply");
    assert_eq!((text(&answer), answer.is_compressed()), (&*long, false));
    // Flags that promise what the body does not hold.
    let mut request = pin!(producer.request(message("and?"), PATIENT));
    assert!(poll_once(request.as_mut()).is_none());
    let stored = asked(on, &cluster, &responder, 1).await;
    push(&cluster, &producer, &stored, |push| push.field("sysFlag", "1"));
    let error = promptly(on, "the reply", request).await.expect_err("damaged");
    let RequestError::Unreadable { reply, .. } = &error else { panic!("{error:?}") };
    assert_eq!(&reply.body[..], b"pushed");
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

/// Has the first broker push a reply of its own making. Gives the request's id there.
fn push(
    cluster: &impl Servers,
    producer: &Producer,
    request: &StoredMessage,
    change: impl FnOnce(rocketmq_testkit::wire::Command) -> rocketmq_testkit::wire::Command,
) -> i32 {
    let id = client_id(&producer.client(), cluster, 0);
    let correlation_id = request.property("CORRELATION_ID").unwrap_or_default();
    let properties = format!("CORRELATION_ID\u{1}{correlation_id}\u{2}");
    cluster.with(|cluster| {
        let push = cluster.reply_request(&properties, *b"pushed");
        let to = cluster.client_connection(0, &id).expect("greeted");
        cluster.send_request(A, to, change(push)).expect("open")
    })
}

/// What the first broker was answered.
async fn answer<H: Harness>(on: &H, cluster: &H::Cluster, opaque: i32) -> FrameRecord {
    let find = |cluster: &H::Cluster| {
        let it = |frame: &&FrameRecord| frame.flag & 1 == 1 && frame.opaque == opaque;
        cluster.with(|cluster| cluster.frames().iter().find(it).cloned())
    };
    until(on, "an answer", || find(cluster).is_some()).await;
    find(cluster).expect("there")
}

/// Hosts and properties are whatever a broker makes of them; what is missing is refused.
pub async fn odd_pushes_are_answered<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).events(EventSet::STRAYS));
    let responder = responder(on, &cluster);
    let mut events = producer.client().events();
    let mut request = pin!(producer.request(message("who?"), 2 * PATIENT));
    assert!(poll_once(request.as_mut()).is_none());
    let stored = asked(on, &cluster, &responder, 0).await;
    let missing = |name: &'static str| {
        move |mut push: rocketmq_testkit::wire::Command| {
            push.ext.remove(name);
            push
        }
    };
    for name in ["topic", "producerGroup", "queueId", "sysFlag", "bornTimestamp", "storeHost"] {
        let opaque = push(&cluster, &producer, &stored, missing(name));
        let answer = answer(on, &cluster, opaque).await;
        assert_eq!((answer.code, answer.remark.as_deref()), (1, Some("the reply cannot be read")));
    }
    let opaque = push(&cluster, &producer, &stored, |push| {
        push.field("properties", format!("CORRELATION_ID\u{1}{}\u{2}", "x".repeat(70_000)))
    });
    assert_eq!(answer(on, &cluster, opaque).await.code, 1, "too long");
    let opaque = push(&cluster, &producer, &stored, |push| push.field("properties", ""));
    assert_eq!(answer(on, &cluster, opaque).await.code, 0, "nobody's");
    assert_eq!(strays(on, &mut events, 1).await, [None]);
    assert!(poll_once(request.as_mut()).is_none(), "still waiting");
    let opaque = push(&cluster, &producer, &stored, |push| push);
    assert_eq!(answer(on, &cluster, opaque).await.code, 0);
    let reply = promptly(on, "the reply", request).await.expect("a reply");
    assert_eq!((text(&reply), reply.store_host), ("pushed", None));
    assert_eq!(reply.born_host, Some("[::1]:77".parse().expect("an address")));
    // The body stays out of logs.
    assert!(!format!("{reply:?}").contains("pushed"), "{reply:?}");
    fence(on, &producer).await;
}

/// What fails is the send, and that is what is told.
pub async fn a_request_that_is_not_sent_says_so<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().auto_create_topics(false));
    let producer = producer(on, config(&cluster));
    let error = producer.request(Message::new("Unknown", "who?"), PATIENT).await;
    let Err(RequestError::Send(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), &SendErrorKind::TopicNotFound);
    assert_eq!(error.delivery(), Delivery::NotSent);
    let message = error.into_message().expect("it comes back");
    assert_eq!(message, Message::new("Unknown", "who?"), "as it was");
    let error = producer.request(Message::new(TOPIC, ""), PATIENT).await;
    assert!(matches!(error, Err(RequestError::Send(_))), "{error:?}");
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().topic(TOPIC).always(), Fault::answer(16, "not you"));
    });
    let error = producer.request(self::message("who?"), PATIENT).await.expect_err("refused");
    assert_eq!(error.delivery(), Some(Delivery::Refused), "{error}");
    assert!(error.to_string().contains("not you"), "{error}");
    assert_eq!(requests(&cluster).len(), 0);
    idle(on, &producer).await;
}

/// Whoever drops it gets no reply, and nothing is left of it.
pub async fn a_dropped_request_leaves_nothing_behind<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).events(EventSet::STRAYS));
    let responder = responder(on, &cluster);
    let mut events = producer.client().events();
    drop(producer.request(message("never polled"), PATIENT));
    cluster.with(|cluster| cluster.stall(NAMES));
    {
        let mut request = pin!(producer.request(message("without a route"), PATIENT));
        assert!(poll_once(request.as_mut()).is_none());
        on.sleep(SHORT).await;
    }
    cluster.with(|cluster| cluster.resume(NAMES));
    {
        let mut request = pin!(producer.request(message("dropped"), PATIENT));
        assert!(poll_once(request.as_mut()).is_none());
        asked(on, &cluster, &responder, 0).await;
    }
    reply(on, &cluster, &responder, 0, "anybody?").await;
    strays(on, &mut events, 1).await;
    assert_eq!(requests(&cluster).len(), 1);
    idle(on, &producer).await;
    // Nothing is waited for any more.
    let start = on.now();
    producer.close(PATIENT).await;
    assert!(on.since(start) < PATIENT / 2, "{:?}", on.since(start));
}

/// Close waits for replies as it waits for receipts.
pub async fn close_waits_for_replies<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let responder = responder(on, &cluster);
    let mut first = pin!(producer.request(message("first"), 2 * PATIENT));
    assert!(poll_once(first.as_mut()).is_none());
    asked(on, &cluster, &responder, 0).await;
    let client = producer.client();
    let mut close = pin!(client.close(PATIENT));
    assert!(poll_once(close.as_mut()).is_none());
    reply(on, &cluster, &responder, 0, "just in time").await;
    let answer = promptly(on, "the reply", first).await.expect("a reply");
    assert_eq!(text(&answer), "just in time");
    promptly(on, "the end", close).await;
    // And not longer than it may.
    let producer = self::producer(on, config(&cluster));
    let mut second = pin!(producer.request(message("second"), 2 * PATIENT));
    assert!(poll_once(second.as_mut()).is_none());
    until(on, "it is stored", || requests(&cluster).len() == 2).await;
    let start = on.now();
    promptly(on, "the end", producer.close(SHORT)).await;
    assert!(on.since(start) <= SHORT + 2 * H::TOLERANCE, "{:?}", on.since(start));
    let error = promptly(on, "the request", second).await.expect_err("closed");
    let closed = matches!(error, RequestError::NoReply { reason: NoReply::Closed, .. });
    // Its receipt may have been under way.
    assert!(closed || matches!(error, RequestError::Send(_)), "{error:?}");
    assert!(error.to_string().contains("closed"), "{error}");
    let refused = producer.request(message("third"), PATIENT).await;
    let Err(RequestError::Send(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), &SendErrorKind::Closed);
}

/// Nobody who waits for a reply hangs when the runtime ends.
pub async fn the_end_of_the_driver_ends_requests<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (client, driver) = on.client(build(config(&cluster)));
    let producer = of(&client);
    let mut driver = Some(Box::pin(driver));
    let mut request = pin!(producer.request(message("who?"), PATIENT));
    assert!(poll_once(request.as_mut()).is_none());
    let start = on.now();
    while requests(&cluster).is_empty() || producer.client().stats().in_flight > 0 {
        assert!(on.since(start) < PROMPT, "never sent");
        if let Some(driver) = &mut driver {
            let _ = poll_once(driver.as_mut());
        }
        on.sleep(Duration::from_millis(1)).await;
    }
    drop(driver.take());
    let error = promptly(on, "the request", request).await.expect_err("no driver");
    let stopped = RequestError::NoReply {
        reason: NoReply::DriverStopped,
        receipt: match &error {
            RequestError::NoReply { receipt, .. } => receipt.clone(),
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(error, stopped);
}

/// Brokers forget with one group where replies for a client go, and are reminded.
pub async fn another_group_that_goes_takes_no_replies_along<H: Harness>(on: &H) {
    for before in [false, true] {
        let cluster = cluster(on, 1);
        let producer = producer(on, config(&cluster));
        let responder = responder(on, &cluster);
        let other = producer.client().producer("others").expect("free");
        fence(on, &other).await;
        let id = client_id(&producer.client(), &cluster, 0);
        let leave = async |other: Producer| {
            drop(other);
            until(on, "the group has left", || {
                let left = cluster.with(|cluster| cluster.unregistrations(0).to_vec());
                let is_it = |group: &Option<String>| group.as_deref() == Some("others");
                left.iter().any(|record| is_it(&record.producer_group))
            })
            .await;
        };
        let mut request = pin!(producer.request(message("who?"), 2 * PATIENT));
        if before {
            leave(other).await;
            assert!(poll_once(request.as_mut()).is_none());
            asked(on, &cluster, &responder, 0).await;
        } else {
            assert!(poll_once(request.as_mut()).is_none());
            asked(on, &cluster, &responder, 0).await;
            leave(other).await;
        }
        until(on, "the broker is reminded", || {
            cluster.with(|cluster| cluster.client_connection(0, &id).is_some())
        })
        .await;
        reply(on, &cluster, &responder, 0, "me").await;
        let reply = promptly(on, "the reply", request).await.expect("a reply");
        assert_eq!(text(&reply), "me");
        fence(on, &producer).await;
    }
}

/// What was not asked cannot be replied to.
pub async fn only_requests_are_replied_to<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let receipt = producer.send(message("no question")).await.expect("sent");
    let admin = producer.client().admin();
    let stored = admin.view(TOPIC, &receipt.unique_key.to_string()).await.expect("there");
    let error = Message::reply_to(&stored, "why?").expect_err("no request");
    assert_eq!(error.missing, "CORRELATION_ID");
    assert!(error.to_string().contains("not sent as a request"), "{error}");
    // Nobody has asked from there.
    let mut request = pin!(producer.request(message("who?"), SHORT));
    assert!(poll_once(request.as_mut()).is_none());
    let stored = asked(on, &cluster, &producer, 0).await;
    let client = client_id(&producer.client(), &cluster, 0);
    assert_eq!(stored.property("REPLY_TO_CLIENT"), Some(&*client));
    timed_out(request.await);
    // A broker would pass a request that is a reply back as the reply to itself.
    let both = Message::reply_to(&stored, "me?").expect("a request");
    let refused = producer.request(both, PATIENT).await;
    let Err(RequestError::Send(error)) = refused else { panic!("{refused:?}") };
    assert!(matches!(error.kind(), SendErrorKind::Invalid(_)), "{error}");
    producer.close(PROMPT).await;
    let responder = responder(on, &cluster);
    let reply = Message::reply_to(&stored, "too late").expect("a request");
    let error = responder.send(reply).await.expect_err("nobody is there");
    assert!(error.to_string().contains("not found"), "{error}");
}
