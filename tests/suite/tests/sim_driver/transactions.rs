//! Transactions while processes die: what was committed is delivered, what was rolled back never
//! is, whatever breaks between any two steps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    Decision, Event, Interceptor, Message, ProducerOptions, RequestCode, RequestContext,
    SendErrorKind, TransactionErrorKind,
};
use rocketmq_suite::hunt::transactions::{Book, all_settled, delivered, run_transactions};
use rocketmq_testkit::Sim;
use rocketmq_testkit::cluster::{ClusterConfig, HALF_TOPIC, Node, ServerVersion};
use rocketmq_testkit::wire::request_code::END_TRANSACTION;

use super::{message, ms, servers};

const A: Node = Node::Broker(0);

fn decisions() -> [Decision; 2] {
    [Decision::Commit, Decision::Rollback]
}

/// Steps of the protocol take 100 µs and more: between any two of them lies one of these moments.
const MOMENTS: u64 = 60;

#[test]
fn a_process_may_die_between_any_two_steps() {
    let (mut begun, mut told) = (0, 0);
    for decision in decisions() {
        for moment in 0..MOMENTS {
            Sim::new(moment, servers(2)).run(async |cx| {
                let book = Book::default();
                let doomed = cx.process();
                let (inside, own_book) = (doomed.clone(), book.clone());
                let producer = book.service(&doomed);
                drop(doomed.spawn(async move {
                    own_book.order(&inside, &producer, "one", ms(1) / 4, decision).await;
                }));
                cx.sleep(moment as u32 * ms(1) / 20).await;
                doomed.kill();
                let heir = book.service(&cx.process());
                all_settled(&cx).await;
                begun += cx.look(|cluster| cluster.stored(HALF_TOPIC).len().min(1));
                told += book.counts().0;
                book.judge(&cx, "one");
                let sent = heir.send(message("after")).await;
                sent.expect("the heir works");
            });
        }
    }
    // Some moments come before the half message is stored, some before the decision.
    assert!((20..100).contains(&begun) && (10..90).contains(&told), "{begun}, {told}");
}

#[test]
fn a_broker_may_die_between_any_two_steps() {
    let (mut forgotten, mut unanswered) = (0, 0);
    for version in [ServerVersion::V5_5, ServerVersion::V4_9] {
        for decision in decisions() {
            for moment in 0..MOMENTS {
                Sim::new(moment, servers(1).version(version)).run(async |cx| {
                    let book = Book::default();
                    let producer = book.service(&cx);
                    cx.after(moment as u32 * ms(1) / 20, |cluster| cluster.kill(A));
                    cx.after(moment as u32 * ms(1) / 20 + ms(700), |cluster| cluster.restart(A));
                    let begun = book.order(&cx, &producer, "one", ms(1) / 4, decision).await;
                    all_settled(&cx).await;
                    unanswered += usize::from(!begun);
                    forgotten += delivered(&cx, "one").1;
                    book.judge(&cx, "one");
                    producer.close(ms(1_000)).await;
                    cx.assert_nothing_left();
                });
            }
        }
    }
    // A broker that comes back in time costs nobody a transaction.
    assert_eq!(unanswered, 0);
    assert!(forgotten > 20, "{forgotten}: crashes before an end was noted");
}

/// A service under fire, for each seed another one.
#[test]
fn whatever_breaks_a_commit_is_delivered_and_a_rollback_is_not() {
    let (mut orders, mut copies) = (0, 0);
    for seed in 0..100 {
        let run = run_transactions(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        (orders, copies) = (orders + run.0, copies + run.1);
    }
    assert!(orders > 1_500, "{orders} committed");
    assert!(copies < orders * 11 / 10, "{copies} copies of {orders}");
}

/// Values that are dropped, or whose client closes, are left to who knows.
#[test]
fn a_process_that_closes_leaves_its_transactions_to_the_others() {
    Sim::new(7, servers(2)).run(async |cx| {
        let book = Book::default();
        let first = book.service(&cx.process());
        let dropped = first.begin_transaction(message("dropped")).await.expect("begun");
        let open = first.begin_transaction(message("open")).await.expect("begun");
        drop(dropped);
        let report = first.close(ms(500)).await;
        assert_eq!(report.undecided, [open.id()]);
        let late = open.commit().await.expect_err("the client is closed");
        assert_eq!(*late.kind(), TransactionErrorKind::Closed);
        book.write("dropped", Decision::Commit);
        book.write("open", Decision::Commit);
        let second = book.service(&cx.process());
        all_settled(&cx).await;
        book.judge(&cx, "dropped");
        book.judge(&cx, "open");
        second.close(ms(500)).await;
    });
}

/// A delay level would be dropped by brokers; a timer begins with the commit.
#[test]
fn what_cannot_be_part_of_a_transaction_is_refused() {
    Sim::new(1, ClusterConfig::new().topic("Orders", 4)).run(async |cx| {
        let producer = cx.producer("shop");
        let late = Message::new("Orders", "late").with_delay_level(3);
        let error = producer.begin_transaction(late).await.expect_err("refused");
        assert!(matches!(error.kind(), SendErrorKind::Invalid(_)), "{error}");
        assert!(error.to_string().contains("deliver_after"), "{error}");
        assert!(error.into_message().is_some());
        let timer = Message::new("Orders", "timer").deliver_after(Duration::from_secs(60));
        let transaction = producer.begin_transaction(timer).await.expect("begun");
        transaction.commit().await.expect("committed");
        let stored = cx.look(|cluster| cluster.stored("Orders"));
        assert_eq!(stored[0].properties.get("TIMER_DELAY_MS"), Some("60000"));
    });
}

/// What a client reports about checks: for each outcome, how often.
fn outcomes(events: &mut rocketmq_driver::EventStream) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    while let Some(event) = events.try_next() {
        if let Event::TransactionChecked { outcome, .. } = event {
            *counts.entry(format!("{outcome:?}")).or_default() += 1;
        }
    }
    counts
}

/// A broker that asks about more than anybody could answer.
#[test]
fn a_flood_of_checks_is_bounded() {
    Sim::new(3, servers(1)).run(async |cx| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let options = ProducerOptions::new().with_transaction_checks(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        });
        let config = cx.config().topic("Orders").build().expect("legal");
        let client = cx.start(config);
        let producer = client.producer_with("shop", options).expect("legal");
        let mut events = client.events();
        drop(producer.begin_transaction(message("one")).await.expect("begun"));
        let half = cx.look(|cluster| cluster.stored(HALF_TOPIC)).remove(0);
        let key = half.unique_key.clone().expect("a key");
        let check = cx.look(|cluster| cluster.check_request(&half)).expect("a half message");
        let forged = |number: usize| {
            let other = format!("{}{number:08X}", &key[..24]);
            let mut check = check.clone();
            check.ext.insert("transactionId", &other);
            let at = check.body.windows(32).position(|part| part == key.as_bytes());
            let at = at.expect("the key is in the message");
            check.body[at..at + 32].copy_from_slice(other.as_bytes());
            check
        };
        let mut seen = BTreeMap::new();
        for number in 0..3_000 {
            cx.with(|cluster| {
                let to = cluster.connections(A)[0];
                cluster.send_request(A, to, forged(number));
            });
            if number % 100 == 99 {
                cx.sleep(ms(1)).await;
                for (outcome, count) in outcomes(&mut events) {
                    *seen.entry(outcome).or_default() += count;
                }
            }
        }
        assert_eq!(seen.get("Asked"), Some(&2_000), "{seen:?}");
        assert_eq!(seen.get("TooMany"), Some(&1_000), "{seen:?}");
        assert_eq!(calls.load(Ordering::Relaxed), 16, "so many at once, and no more");
        cx.sleep(ms(11_000)).await;
        let late = outcomes(&mut events);
        assert!(late.get("Late").is_some_and(|late| *late > 500), "{late:?}");
        // Those that were dropped have made room for as many others.
        assert_eq!(calls.load(Ordering::Relaxed), 32);
        producer.send(message("after")).await.expect("the client works");
        let told = cx.look(|cluster| cluster.frames_of(A, END_TRANSACTION).len());
        assert_eq!(told, 3_001 - 16, "each that nobody works on is answered as undecided");
        producer.close(ms(1_000)).await;
    });
}

/// Those who watch see the decision that leaves, and what came of each question.
#[test]
fn decisions_and_checks_are_seen_by_interceptors_and_events() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(bool, String)>>);
    impl Interceptor for Seen {
        fn request(&self, request: &mut RequestContext<'_>) {
            if request.code == RequestCode::END_TRANSACTION {
                let decision = request.fields().find(|(name, _)| name == "commitOrRollback");
                let decision = decision.map(|(_, value)| value.into_owned());
                let end = (request.oneway, decision.expect("a decision"));
                self.0.lock().expect("no panic").push(end);
                request.add_field("seen", "yes").expect("a field");
            }
        }
    }
    Sim::new(5, servers(1)).run(async |cx| {
        let seen = Arc::new(Seen::default());
        let watching: Arc<dyn Interceptor> = Arc::<Seen>::clone(&seen);
        let config = cx.config().topic("Orders").interceptor(watching).build().expect("legal");
        let client = cx.start(config);
        let mut events = client.events();
        let producer = client.producer("shop").expect("legal");
        let transaction = producer.begin_transaction(message("one")).await.expect("begun");
        let dropped = producer.begin_transaction(message("two")).await.expect("begun");
        drop(dropped);
        cx.sleep(ms(6_500)).await;
        transaction.commit().await.expect("committed");
        let undecided = || (true, "0".to_owned());
        let expected = [undecided(), undecided(), (false, "8".to_owned())];
        assert_eq!(*seen.0.lock().expect("no panic"), expected);
        let ends = cx.look(|cluster| {
            let ends = cluster.frames_of(A, END_TRANSACTION).into_iter();
            ends.map(|end| end.ext.get("seen").map(str::to_owned)).collect::<Vec<_>>()
        });
        assert_eq!(ends, vec![Some("yes".to_owned()); 3]);
        let counts = outcomes(&mut events);
        let told = [("UnderWay", 1), ("Asked", 1), ("Answered(Undecided)", 1)];
        let told = told.map(|(outcome, count)| (outcome.to_owned(), count));
        assert_eq!(counts, BTreeMap::from(told));
    });
}

/// Checks that wait while their producer goes are nobody's, least of all those of a group that has
/// come in its place.
#[test]
fn a_check_is_never_shown_to_another_group() {
    Sim::new(9, servers(1)).run(async |cx| {
        let client = cx.start(cx.config().topic("Orders").build().expect("legal"));
        let never = |_| std::future::pending();
        let options = ProducerOptions::new().with_transaction_checks(never);
        let first = client.producer_with("shop", options).expect("legal");
        for number in 0..20 {
            drop(first.begin_transaction(message(&number.to_string())).await.expect("begun"));
        }
        cx.sleep(ms(8_000)).await;
        let mut events = client.events();
        drop(first);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let options = ProducerOptions::new().with_transaction_checks(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { rocketmq_driver::TransactionState::Rollback }
        });
        let second = client.producer_with("mall", options).expect("legal");
        cx.sleep(ms(12_000)).await;
        let counts = outcomes(&mut events);
        assert_eq!(counts.get("NotServed"), Some(&4), "{counts:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        let told = cx.look(|cluster| {
            let ends = cluster.frames_of(A, END_TRANSACTION).into_iter();
            ends.filter(|end| end.ext.get("commitOrRollback") != Some("0")).count()
        });
        assert_eq!(told, 0, "nobody has decided");
        second.close(ms(500)).await;
    });
}
