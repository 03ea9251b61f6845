//! Transactions: begun, decided, asked about.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    AttemptFailure, Compression, Decision, Delivery, Encoding, Message, Producer, ProducerOptions,
    SendErrorKind, SendStatus, TransactionCheck, TransactionErrorKind, TransactionSettings,
    TransactionState,
};
use rocketmq_testkit::cluster::{
    ClusterConfig, Fault, FrameRecord, HALF_TOPIC, Rule, ServerVersion,
};
use rocketmq_testkit::wire::request_code::END_TRANSACTION;

use super::scene::*;
use super::{Harness, Servers};

/// Between two questions of a broker.
const ASKS: Duration = Duration::from_millis(200);

/// How long a client keeps quiet after a decision has left.
const SETTLE: Duration = Duration::from_millis(100);

const SHORT: Duration = Duration::from_millis(50);

/// Brokers that ask at once and often.
fn asking(brokers: usize) -> ClusterConfig {
    ClusterConfig::new().brokers(brokers).transaction_checks(ASKS, ASKS, 100)
}

fn settings() -> TransactionSettings {
    TransactionSettings::DEFAULT.with_settle(SETTLE)
}

fn transactional(on: &impl Harness, cluster: &impl Servers, options: ProducerOptions) -> Producer {
    let client = on.start(build(config(cluster).transactions(settings()).topic(TOPIC)));
    client.producer_with("orders", options).expect("the group is free")
}

/// What brokers were told about transactions.
fn ends(cluster: &impl Servers) -> Vec<FrameRecord> {
    let end = |frame: &&FrameRecord| frame.code == END_TRANSACTION;
    cluster.with(|cluster| cluster.frames().iter().filter(end).cloned().collect())
}

fn field(frame: &FrameRecord, name: &str) -> String {
    frame.ext.get(name).unwrap_or_default().to_owned()
}

/// The decisions that brokers were told: 8 commits, 12 rolls back, 0 leaves open.
fn told(cluster: &impl Servers) -> Vec<String> {
    ends(cluster).iter().map(|frame| field(frame, "commitOrRollback")).collect()
}

/// A handler that says this, and how often it was asked.
fn says(state: TransactionState) -> (ProducerOptions, Arc<Mutex<Vec<TransactionCheck>>>) {
    let checks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&checks);
    let options = ProducerOptions::new().with_transaction_checks(move |check| {
        seen.lock().expect("no panic").push(check);
        async move { state }
    });
    (options, checks)
}

/// Nobody sees it before, and everybody once after.
pub async fn a_transaction_is_delivered_when_it_is_committed<H: Harness>(on: &H) {
    for (namespace, encoding) in [("", Encoding::Json), ("shop", Encoding::Binary)] {
        let cluster = cluster_with(on, ClusterConfig::new().brokers(2));
        let config = config(&cluster).namespace(namespace).encoding(encoding);
        let producer = producer(on, config.compression(Compression::None));
        let message = message("paid").with_key("order-7").with_property("shop", "3");
        let transaction = producer.begin_transaction(message).await.expect("begun");
        let wire = if namespace.is_empty() { TOPIC } else { "shop%Orders" };
        assert_eq!(cluster.with(|cluster| cluster.stored(wire).len()), 0, "not delivered yet");
        let half = cluster.with(|cluster| cluster.stored(HALF_TOPIC)).remove(0);
        assert_eq!(half.unique_key, Some(transaction.id().to_string()));
        let receipt = transaction.receipt().clone();
        assert_eq!(receipt.topic, TOPIC);
        transaction.commit().await.expect("committed");
        let delivered = cluster.with(|cluster| cluster.stored(wire));
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].body, b"paid");
        assert_eq!(delivered[0].keys.as_deref(), Some("order-7"));
        assert_eq!(delivered[0].properties.get("shop"), Some("3"));
        assert_eq!(*delivered[0].broker, *receipt.broker_name);
        let group = if namespace.is_empty() { "orders" } else { "shop%orders" };
        assert_eq!(delivered[0].properties.get("PGROUP"), Some(group));
        let ends = ends(&cluster);
        assert_eq!(ends.len(), 1);
        for (name, value) in [
            ("topic", wire.to_owned()),
            ("producerGroup", group.to_owned()),
            ("tranStateTableOffset", half.queue_offset.to_string()),
            ("commitLogOffset", half.commit_log_offset.to_string()),
            ("commitOrRollback", "8".to_owned()),
            ("fromTransactionCheck", "false".to_owned()),
            ("msgId", receipt.unique_key.to_string()),
            ("transactionId", receipt.unique_key.to_string()),
            ("bname", receipt.broker_name.to_string()),
        ] {
            assert_eq!(field(&ends[0], name), value, "{name}");
        }
        assert_eq!((ends[0].flag & 2, ends[0].encoding as u8), (0, wire_encoding(encoding)));
        idle(on, &producer).await;
    }
}

fn wire_encoding(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Json => rocketmq_testkit::wire::Encoding::Json as u8,
        Encoding::Binary => rocketmq_testkit::wire::Encoding::Binary as u8,
    }
}

/// The proxy of RocketMQ 5 acknowledges ends that it cannot pass on. The broker is told when it
/// asks.
pub async fn what_a_proxy_acknowledges_is_told_again_when_asked<H: Harness>(on: &H) {
    for (proxied, told) in [(true, 2), (false, 1)] {
        let cluster = cluster_with(on, ClusterConfig::new());
        if proxied {
            let region = Fault::with_field("MSG_REGION", "DefaultRegion");
            cluster.with(|cluster| cluster.script(A, Rule::code(END_TRANSACTION).always(), region));
        }
        let producer = transactional(on, &cluster, ProducerOptions::new());
        let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
        transaction.commit().await.expect("acknowledged");
        on.sleep(2 * SETTLE).await;
        cluster.with(|cluster| {
            let half = cluster.stored(HALF_TOPIC).remove(0);
            let check = cluster.check_request(&half).expect("a half message");
            let connection = cluster.connections(A)[0];
            cluster.send_request(A, connection, check).expect("open");
        });
        on.sleep(2 * SETTLE).await;
        let ends = ends(&cluster);
        assert_eq!(ends.len(), told, "by way of a proxy: {proxied}");
        assert!(ends.iter().all(|end| field(end, "commitOrRollback") == "8"), "{ends:?}");
        let last = ends.last().expect("an end");
        assert_eq!(field(last, "fromTransactionCheck"), proxied.to_string());
        idle(on, &producer).await;
    }
}

/// Nobody ever sees it.
pub async fn a_transaction_that_is_rolled_back_is_not_delivered<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let producer = producer(on, config(&cluster));
    let transaction = producer.begin_transaction(message("never")).await.expect("begun");
    transaction.rollback().await.expect("rolled back");
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
    assert_eq!(told(&cluster), ["12"]);
}

/// Each commit that arrives delivers one more copy: it is sent once, and the broker asks.
pub async fn a_commit_without_answer_leaves_once_and_is_told_when_asked<H: Harness>(on: &H) {
    let (options, checks) = says(TransactionState::Rollback);
    let cluster = cluster_with(on, asking(1));
    let producer = transactional(on, &cluster, options);
    cluster.with(|cluster| cluster.script(A, Rule::code(END_TRANSACTION), Fault::silent()));
    let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
    let id = transaction.id();
    let error = transaction.decide_within(Decision::Commit, 8 * SHORT).await;
    let error = error.expect_err("no answer");
    assert_eq!((error.delivery(), error.decision()), (Delivery::Unknown, Decision::Commit));
    assert_eq!((error.unique_key(), error.broker_name()), (id, "broker-a"));
    let silent = TransactionErrorKind::Lost(AttemptFailure::TimedOut);
    assert_eq!(*error.kind(), silent, "{error}");
    assert!(error.to_string().contains("do not repeat it"), "{error}");
    until(on, "the commit is delivered", || count(&cluster) == 1).await;
    let ends = ends(&cluster);
    assert_eq!(field(&ends[1], "fromTransactionCheck"), "true");
    assert_eq!(field(&ends[1], "topic"), HALF_TOPIC);
    assert_eq!(field(&ends[1], "transactionId"), id.to_string());
    on.sleep(4 * ASKS).await;
    assert_eq!(told(&cluster), ["8", "8"], "acknowledged, and not repeated");
    assert_eq!((bodies(&cluster).len(), checks.lock().expect("no panic").len()), (1, 0));
}

/// The local work takes longer than the broker waits.
pub async fn a_broker_that_asks_too_early_hears_undecided<H: Harness>(on: &H) {
    let (options, checks) = says(TransactionState::Rollback);
    let cluster = cluster_with(on, asking(1));
    let producer = transactional(on, &cluster, options);
    let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
    until(on, "two questions are answered", || told(&cluster).len() >= 2).await;
    assert!(told(&cluster).iter().all(|told| told == "0"), "{:?}", told(&cluster));
    // Nobody answers those, and nobody waits for an answer.
    assert!(ends(&cluster).iter().all(|frame| frame.flag & 2 == 2));
    transaction.commit().await.expect("committed");
    assert_eq!(bodies(&cluster), ["paid"]);
    // What has ended is a copy that the broker works with, and not the message as it was stored.
    let decided = ends(&cluster).last().cloned().expect("the commit");
    let first = cluster.with(|cluster| cluster.stored(HALF_TOPIC)).remove(0);
    assert_ne!(field(&decided, "commitLogOffset"), first.commit_log_offset.to_string());
    let told_before = told(&cluster).len();
    on.sleep(4 * ASKS).await;
    assert_eq!((told(&cluster).len(), bodies(&cluster).len()), (told_before, 1));
    assert_eq!(checks.lock().expect("no panic").len(), 0);
}

/// Whoever drops a transaction leaves it to the handler.
pub async fn a_dropped_transaction_is_decided_by_the_handler<H: Harness>(on: &H) {
    for (state, copies) in [(TransactionState::Commit, 1), (TransactionState::Rollback, 0)] {
        let (options, checks) = says(state);
        let cluster = cluster_with(on, asking(1));
        let producer = transactional(on, &cluster, options);
        let paid = message("paid").with_key("order-7");
        let transaction = producer.begin_transaction(paid).await.expect("begun");
        let id = transaction.id().to_string();
        drop(transaction);
        until(on, "the handler was asked", || told(&cluster).len() == 1).await;
        on.sleep(4 * ASKS).await;
        assert_eq!(bodies(&cluster).len(), copies);
        let checks = checks.lock().expect("no panic");
        assert_eq!(checks.len(), 1, "what is decided is not asked again");
        assert_eq!(*checks[0].transaction_id, *id);
        assert_eq!((&*checks[0].message.topic, &*checks[0].message.body), (TOPIC, &b"paid"[..]));
        assert_eq!(checks[0].message.keys().collect::<Vec<_>>(), ["order-7"]);
    }
}

/// A check goes to any process of the group.
pub async fn another_process_of_the_group_decides<H: Harness>(on: &H) {
    let cluster = cluster_with(on, asking(2));
    let first = transactional(on, &cluster, ProducerOptions::new());
    let transaction = first.begin_transaction(message("paid")).await.expect("begun");
    first.close(Duration::ZERO).await;
    drop(transaction);
    let (options, checks) = says(TransactionState::Commit);
    let second = transactional(on, &cluster, options);
    until(on, "the second process has committed", || count(&cluster) == 1).await;
    on.sleep(4 * ASKS).await;
    assert_eq!(checks.lock().expect("no panic").len(), 1);
    assert_eq!(bodies(&cluster), ["paid"]);
    idle(on, &second).await;
}

/// The broker asks again, and so does the client.
pub async fn a_handler_that_is_late_or_panics_is_asked_again<H: Harness>(on: &H) {
    let cluster = cluster_with(on, asking(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let options = ProducerOptions::new().with_transaction_checks(move |_| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        assert!(call != 1, "the second call panics before there is a future");
        async move {
            assert!(call != 2, "the third one panics in it");
            if call == 0 {
                std::future::pending::<()>().await;
            }
            TransactionState::Commit
        }
    });
    let config = config(&cluster).transactions(settings().with_check_timeout(SHORT)).topic(TOPIC);
    let client = on.start(build(config));
    let producer = client.producer_with("orders", options).expect("the group is free");
    drop(producer.begin_transaction(message("paid")).await.expect("begun"));
    until(on, "the fourth call commits", || count(&cluster) == 1).await;
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    assert_eq!(told(&cluster), ["0", "0", "0", "8"]);
    fence(on, &producer).await;
}

/// As Java does for a producer that is not of transactions, but with an answer.
pub async fn without_a_handler_nothing_is_decided<H: Harness>(on: &H) {
    let cluster = cluster_with(on, asking(1));
    let producer = transactional(on, &cluster, ProducerOptions::new());
    drop(producer.begin_transaction(message("paid")).await.expect("begun"));
    until(on, "two questions are answered", || told(&cluster).len() >= 2).await;
    assert!(told(&cluster).iter().all(|told| told == "0"), "{:?}", told(&cluster));
    fence(on, &producer).await;
    assert_eq!(bodies(&cluster), ["fence"]);
}

/// Nobody has the value, so nobody will decide.
pub async fn a_begin_that_is_dropped_is_rolled_back<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let producer = producer(on, config(&cluster));
    fence(on, &producer).await;
    let halves = || cluster.with(|cluster| cluster.stored(HALF_TOPIC).len());
    // The broker has it, and its answer comes after the future was dropped.
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::delay(4 * SHORT)));
    {
        let mut begin = pin!(producer.begin_transaction(message("never")));
        assert!(poll_once(begin.as_mut()).is_none());
        until(on, "it is stored", || halves() == 1).await;
    }
    // This one is answered before it is dropped.
    let mut begin = Box::pin(producer.begin_transaction(message("never")));
    assert!(poll_once(begin.as_mut()).is_none());
    until(on, "both are stored", || halves() == 2).await;
    fence(on, &producer).await;
    drop(begin);
    until(on, "both are rolled back", || told(&cluster) == ["12", "12"]).await;
    assert_eq!(bodies(&cluster), ["fence", "fence"]);
    let report = promptly(on, "the close", producer.close(PROMPT)).await;
    assert_eq!(report.undecided, []);
}

/// The user was told that nothing has begun; what may be stored all the same is rolled back.
pub async fn a_begin_that_fails_is_rolled_back<H: Harness>(on: &H) {
    let (options, checks) = says(TransactionState::Commit);
    let cluster = cluster_with(on, asking(1));
    let client = on.start(build(
        config(&cluster).transactions(settings()).topic(TOPIC).send_timeout(4 * SHORT),
    ));
    let producer = client.producer_with("orders", options).expect("the group is free");
    until_sent(on, &producer).await;
    cluster.with(|cluster| {
        cluster.script(A, Rule::sends().always(), Fault::silent_after_storing());
    });
    let error = producer.begin_transaction(message("never")).await.expect_err("no answer");
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    cluster.with(|cluster| cluster.clear_script(A));
    // While the send was under way it may have heard that nothing is decided.
    until(on, "the broker was told", || told(&cluster).contains(&"12".to_owned())).await;
    on.sleep(4 * ASKS).await;
    assert!(!told(&cluster).contains(&"8".to_owned()), "{:?}", told(&cluster));
    assert_eq!(
        (bodies(&cluster), checks.lock().expect("no panic").len()),
        (vec!["again".into()], 0)
    );
}

/// As in Java: the local work is not to begin on a message that may get lost.
pub async fn a_weak_beginning_is_none<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let producer = producer(on, config(&cluster));
    for (code, status) in [(10, SendStatus::FlushDiskTimeout), (11, SendStatus::SlaveNotAvailable)]
    {
        cluster.with(|cluster| {
            cluster.script(A, Rule::sends(), Fault::weak_acknowledgement(code));
        });
        let begun = producer.begin_transaction(message("never")).await;
        let kind = SendErrorKind::NotPrepared { status };
        let error = failed(begun, &kind, Delivery::Unknown);
        assert_eq!(error.attempts().len(), 1);
        assert!(error.to_string().contains("begin it again"), "{error}");
    }
    until(on, "both are rolled back", || told(&cluster) == ["12", "12"]).await;
    // Without its place it can be ended by nobody but the broker.
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::without_receipt()));
    let begun = producer.begin_transaction(message("never")).await;
    let kind = SendErrorKind::NotPrepared { status: SendStatus::SendOk };
    failed(begun, &kind, Delivery::Unknown);
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::without_field("msgId")));
    let begun = producer.begin_transaction(message("never")).await;
    let error = failed(begun, &kind, Delivery::Unknown);
    assert!(error.to_string().contains("without its place"), "{error}");
    fence(on, &producer).await;
    assert_eq!((bodies(&cluster), told(&cluster).len()), (vec!["fence".into()], 2));
    let report = promptly(on, "the close", producer.close(2 * PROMPT)).await;
    assert_eq!(report.undecided, []);
}

/// An attempt of unknown fate has left a copy at another broker than the one that has it now.
pub async fn a_half_message_that_was_left_behind_is_rolled_back<H: Harness>(on: &H) {
    // Brokers of 4.x do not tell their names.
    for version in [ServerVersion::V5_5, ServerVersion::V4_9] {
        let cluster = cluster_with(on, asking(2).version(version));
        let client = on.start(build(
            config(&cluster).transactions(settings()).topic(TOPIC).send_timeout(PROMPT / 10),
        ));
        let producer = client.producer("orders").expect("the group is free");
        until_sent(on, &producer).await;
        cluster.with(|cluster| {
            cluster.script(A, Rule::sends().always(), Fault::silent_after_storing());
        });
        // Until an attempt has been made at the silent one first.
        let mut begun = producer.begin_transaction(message("paid")).await.expect("begun");
        while begun.receipt().failed_attempts.is_empty() {
            begun.rollback().await.expect("rolled back");
            begun = producer.begin_transaction(message("paid")).await.expect("begun");
        }
        let transaction = begun;
        let id = transaction.id().to_string();
        transaction.commit().await.expect("committed");
        let left = |frame: &&FrameRecord| frame.node == A && field(frame, "msgId") == id;
        let told_a = || {
            ends(&cluster)
                .iter()
                .filter(left)
                .map(|it| field(it, "commitOrRollback"))
                .collect::<Vec<_>>()
        };
        until(on, "the copy is rolled back", || told_a().contains(&"12".to_owned())).await;
        on.sleep(4 * ASKS).await;
        assert!(!told_a().contains(&"8".to_owned()), "{:?}", told_a());
        assert_eq!(bodies(&cluster).iter().filter(|body| *body == "paid").count(), 1);
    }
}

/// An attempt of unknown fate has left a copy at the very broker that has the other one. Which of
/// the two it asks about shows in the time at which they were made.
pub async fn a_copy_at_the_same_broker_is_told_apart<H: Harness>(on: &H) {
    for decision in [Decision::Commit, Decision::Rollback] {
        // These note an end at once, and do not ask about it any more.
        let cluster = cluster_with(on, asking(1).version(ServerVersion::V4_9));
        let client = on.start(build(
            config(&cluster).transactions(settings()).topic(TOPIC).send_timeout(PROMPT / 10),
        ));
        let producer = client.producer("orders").expect("the group is free");
        until_sent(on, &producer).await;
        cluster.with(|cluster| {
            let lost = Fault::reset_in_answer(0);
            cluster.script(A, Rule::sends(), lost.clone());
            cluster.script(A, Rule::code(END_TRANSACTION), lost);
        });
        let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
        assert_eq!(transaction.receipt().failed_attempts.len(), 1);
        let halves = cluster.with(|cluster| cluster.stored(HALF_TOPIC));
        assert_eq!(halves.iter().filter(|half| half.body == b"paid").count(), 2);
        transaction.decide(decision).await.expect_err("no answer");
        until(on, "both have ended", || cluster.with(|cluster| cluster.open_transactions() == 0))
            .await;
        on.sleep(2 * ASKS).await;
        let copies = bodies(&cluster).iter().filter(|body| *body == "paid").count();
        assert_eq!(copies, usize::from(decision == Decision::Commit), "{:?}", told(&cluster));
        let ends = told(&cluster);
        let commits = ends.iter().filter(|state| *state == "8").count();
        assert_eq!(commits, copies, "{ends:?}");
    }
}

/// A value that is alive is work that is open.
pub async fn close_waits_for_decisions_and_reports_the_rest<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let producer = producer(on, config(&cluster));
    let paid = producer.begin_transaction(message("paid")).await.expect("begun");
    let left = producer.begin_transaction(message("left")).await.expect("begun");
    let left_id = left.id();
    let mut close = Box::pin(producer.close(20 * SHORT));
    assert!(poll_once(close.as_mut()).is_none());
    on.sleep(SHORT).await;
    assert!(poll_once(close.as_mut()).is_none(), "two are undecided");
    assert!(producer.begin_transaction(message("late")).await.is_err());
    paid.commit().await.expect("a decision is taken while the client closes");
    let report = promptly(on, "the close", close).await;
    assert_eq!(report.undecided, [left_id]);
    assert_eq!(bodies(&cluster), ["paid"]);
    let error = left.commit().await.expect_err("too late");
    assert_eq!(
        (error.kind(), error.delivery()),
        (&TransactionErrorKind::Closed, Delivery::NotSent)
    );
}

/// A broker that goes away has not processed it.
pub async fn a_decision_moves_to_another_connection<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let producer = producer(on, config(&cluster));
    let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
    cluster.with(|cluster| cluster.script(A, Rule::code(END_TRANSACTION), Fault::go_away()));
    transaction.commit().await.expect("committed over a new connection");
    let ends = ends(&cluster);
    assert_eq!(ends.len(), 2);
    assert_ne!(ends[0].connection, ends[1].connection);
    assert_eq!(bodies(&cluster), ["paid"]);
}

/// Until its time is over; after that the broker asks.
pub async fn a_decision_for_a_dead_broker_waits_and_is_told_later<H: Harness>(on: &H) {
    let cluster = cluster_with(on, asking(1));
    let producer = transactional(on, &cluster, ProducerOptions::new());
    let [waits, fails] = ["waits", "fails"].map(|body| producer.begin_transaction(message(body)));
    let (waits, fails) = (waits.await.expect("begun"), fails.await.expect("begun"));
    cluster.with(|cluster| cluster.kill(A));
    until(on, "the client has seen it go", || producer.client().stats().connections == 1).await;
    let error = fails.decide_within(Decision::Commit, 2 * SHORT).await.expect_err("nobody there");
    assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    assert!(matches!(error.kind(), TransactionErrorKind::Lost(_)), "{error}");
    let mut commit = Box::pin(waits.commit());
    assert!(poll_once(commit.as_mut()).is_none());
    on.sleep(SHORT).await;
    cluster.with(|cluster| cluster.restart(A));
    promptly(on, "the commit", commit).await.expect("committed when the broker was back");
    until(on, "the broker has asked", || count(&cluster) == 2).await;
    let mut delivered = bodies(&cluster);
    delivered.sort();
    assert_eq!(delivered, ["fails", "waits"]);
}

/// Whoever decides after the end, or just before, is told.
pub async fn a_decision_after_the_end_says_so<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let (client, driver) = on.client(build(config(&cluster)));
    let producer = of(&client);
    let mut driver = driver;
    let mut begin = Box::pin(async {
        let one = producer.begin_transaction(message("one")).await.expect("begun");
        let two = producer.begin_transaction(message("two")).await.expect("begun");
        (one, two)
    });
    let (one, two) = std::future::poll_fn(|cx| {
        assert!(driver.as_mut().poll(cx).is_pending(), "the driver runs");
        begin.as_mut().poll(cx)
    })
    .await;
    drop(begin);
    // Handed in, and never looked at.
    let mut open = Box::pin(one.commit());
    assert!(poll_once(open.as_mut()).is_none());
    drop(driver);
    let error = promptly(on, "the open decision", open).await.expect_err("the driver has gone");
    assert_eq!(*error.kind(), TransactionErrorKind::DriverStopped, "{error}");
    let error = two.rollback().await.expect_err("the driver has gone");
    assert_eq!(*error.kind(), TransactionErrorKind::DriverStopped);
    assert_eq!((error.delivery(), error.decision()), (Delivery::NotSent, Decision::Rollback));
    let begun = producer.begin_transaction(Message::new(TOPIC, "three")).await;
    assert_eq!(*begun.expect_err("no driver").kind(), SendErrorKind::DriverStopped);
}
