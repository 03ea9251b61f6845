//! Timer messages that are taken back.

use std::time::Duration;

use rocketmq_driver::{AttemptFailure, Message, Producer, QueryErrorKind, RecallHandle, WallTime};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule, ServerVersion};
use rocketmq_testkit::wire::request_code::RECALL_MESSAGE;

use super::scene::*;
use super::{Harness, Servers};

const HOUR: Duration = Duration::from_secs(3_600);

/// Sends a message for later and gives its key and its handle.
async fn later(producer: &Producer, delay: Duration) -> (String, String) {
    let receipt = producer.send(message("later").deliver_after(delay)).await.expect("sent");
    let handle = receipt.recall_handle.expect("a handle");
    (receipt.unique_key.to_string(), handle.into())
}

fn asked(cluster: &impl Servers) -> Vec<rocketmq_testkit::cluster::FrameRecord> {
    cluster.with(|cluster| {
        cluster.frames().iter().filter(|frame| frame.code == RECALL_MESSAGE).cloned().collect()
    })
}

/// Questions to name servers.
fn questions(cluster: &impl Servers) -> usize {
    cluster.with(|cluster| cluster.frames().iter().filter(|frame| frame.code == 105).count())
}

/// The broker that has it takes it back, and no other message.
pub async fn a_timer_message_is_recalled<H: Harness>(on: &H) {
    for namespace in ["", "shop"] {
        let cluster = cluster_with(on, ClusterConfig::new().brokers(2).recalls(true));
        let producer = producer(on, config(&cluster).namespace(namespace));
        later(&producer, HOUR).await;
        let (key, handle) = later(&producer, HOUR).await;
        later(&producer, HOUR).await;
        // A text that was copied may have lost its end and won a line break.
        let copied = format!("{}\n", handle.trim_end_matches('='));
        producer.recall(TOPIC, &copied).await.expect("recalled");
        assert_eq!(cluster.with(|cluster| cluster.recalled()), [&*key]);
        let prefix = if namespace.is_empty() { "" } else { "shop%" };
        let parsed: RecallHandle = handle.parse().expect("a handle");
        assert_eq!((&*parsed.topic, &*parsed.unique_key), (&*format!("{prefix}{TOPIC}"), &*key));
        for (name, value) in [
            ("topic", format!("{prefix}{TOPIC}")),
            ("producerGroup", format!("{prefix}orders")),
            ("bname", parsed.broker_name.into()),
            ("recallHandle", handle),
        ] {
            let asked = asked(&cluster);
            assert!(asked.iter().all(|frame| frame.ext.get(name) == Some(&value)), "{asked:?}");
            assert_eq!(asked.len(), 1);
        }
        idle(on, &producer).await;
    }
}

/// Whoever is told why knows what to do.
pub async fn what_is_not_recalled_says_why<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().recalls(true));
    let producer = producer(on, config(&cluster).route_refresh(RARELY));
    let (_, handle) = later(&producer, HOUR).await;
    let parsed: RecallHandle = handle.parse().expect("a handle");
    let changed = |change: fn(&mut RecallHandle)| {
        let mut handle = parsed.clone();
        change(&mut handle);
        handle.to_string()
    };
    let recall = async |topic: &str, handle: &str| {
        producer.recall(topic, handle).await.expect_err("not recalled").kind().clone()
    };
    cluster.with(|cluster| cluster.clear_frames());
    assert_eq!(recall(TOPIC, "no handle").await, QueryErrorKind::InvalidRecallHandle);
    let other = changed(|handle| handle.topic = "Bills".into());
    let foreign = QueryErrorKind::ForeignRecallHandle("Bills".into());
    assert_eq!(recall(TOPIC, &other).await, foreign);
    assert_eq!(recall("Unknown", &handle).await, QueryErrorKind::ForeignRecallHandle(TOPIC.into()));
    assert_eq!(questions(&cluster), 0, "nobody was asked");
    let other = changed(|handle| handle.broker_name = "broker-z".into());
    assert_eq!(recall(TOPIC, &other).await, QueryErrorKind::NoSuchBroker("broker-z".into()));
    let other = changed(|handle| handle.topic = "Unknown".into());
    assert_eq!(recall("Unknown", &other).await, QueryErrorKind::TopicNotFound);
    assert_eq!(asked(&cluster).len(), 0, "no broker was asked");
    let due = changed(|handle| handle.deliver_at = WallTime::from_millis(1_600_000_000_000));
    let late = producer.recall(TOPIC, &due).await.expect_err("too late");
    assert!(matches!(late.kind(), QueryErrorKind::NotRecallable { .. }), "{late}");
    assert!(!late.may_be_done());
    assert!(late.to_string().contains("may have been delivered"), "{late}");
    let remark = "recall failed, timestamp invalid";
    assert_eq!((late.code().map(|code| code.0), late.remark()), (Some(604), Some(remark)));
    assert_eq!(cluster.with(|cluster| cluster.recalled()), [""; 0]);
    idle(on, &producer).await;
}

/// By default they do not, and older ones cannot.
pub async fn a_broker_that_recalls_nothing_says_so<H: Harness>(on: &H) {
    for (version, code) in [(ServerVersion::V5_5, 16), (ServerVersion::V5_1, 3)] {
        let cluster = cluster_with(on, ClusterConfig::new().version(version));
        let producer = producer(on, config(&cluster));
        producer.send(Message::new(TOPIC, "now")).await.expect("sent");
        let handle = "djEgT3JkZXJzIGJyb2tlci1hIDk5OTk5OTk5OTk5OTkgN0YwMA==";
        let error = producer.recall(TOPIC, handle).await.expect_err("not recalled");
        assert!(matches!(error.kind(), QueryErrorKind::RecallDisabled { .. }), "{error}");
        assert_eq!(error.code().map(|code| code.0), Some(code));
        assert!(error.to_string().contains("recallMessageEnable=true"), "{error}");
        idle(on, &producer).await;
    }
}

/// Of an answer that was lost nobody knows what it said.
pub async fn a_recall_whose_answer_is_lost_may_be_done<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().recalls(true));
    let config = config(&cluster).send_timeout(PROMPT).route_refresh(RARELY);
    let producer = producer(on, config);
    let (key, handle) = later(&producer, HOUR).await;
    let lost = Fault::silent_after_storing();
    cluster.with(|cluster| cluster.script(A, Rule::code(RECALL_MESSAGE), lost));
    let error = producer.recall(TOPIC, &handle).await.expect_err("no answer");
    assert_eq!(*error.kind(), QueryErrorKind::Lost(AttemptFailure::TimedOut));
    assert!(error.may_be_done(), "{error}");
    assert_eq!(cluster.with(|cluster| cluster.recalled()), [&*key]);
    let mute = Fault::silent();
    cluster.with(|cluster| cluster.script(Node::NameServer(0), Rule::routes(), mute));
    let error = producer.recall(TOPIC, &handle).await.expect_err("no route");
    assert!(matches!(error.kind(), QueryErrorKind::Lost(_)), "{error}");
    assert!(!error.may_be_done(), "the broker was not asked: {error}");
    assert_eq!(asked(&cluster).len(), 1);
    idle(on, &producer).await;
}
