//! Transactions while processes die: what was committed is delivered, what was rolled back never
//! is, whatever breaks between any two steps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    Decision, Event, Interceptor, Message, Producer, ProducerOptions, RequestCode, RequestContext,
    SendErrorKind, TransactionErrorKind, TransactionState,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, HALF_TOPIC, Node, Rule, ServerVersion};
use rocketmq_testkit::network::{Cut, Random};
use rocketmq_testkit::wire::request_code::END_TRANSACTION;
use rocketmq_testkit::{Sim, SimHandle};

use super::{message, ms, servers};

const A: Node = Node::Broker(0);

/// What the service has written down about its orders: the truth that survives it.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, Decision>>>);

impl Book {
    fn write(&self, order: &str, decision: Decision) {
        self.0.lock().expect("no panic").insert(order.to_owned(), decision);
    }

    fn read(&self, order: &str) -> Option<Decision> {
        self.0.lock().expect("no panic").get(order).copied()
    }

    fn orders(&self) -> BTreeMap<String, Decision> {
        self.0.lock().expect("no panic").clone()
    }

    /// The service of one process. What it finds nothing about was begun by one that has died.
    fn service(&self, process: &SimHandle) -> Producer {
        let book = self.clone();
        let options = ProducerOptions::new().with_transaction_checks(move |check| {
            let order = String::from_utf8(check.message.body.to_vec()).expect("an order");
            let decision = book.read(&order).unwrap_or(Decision::Rollback);
            async move { TransactionState::from(decision) }
        });
        let config = process.config().topic("Orders").build().expect("legal");
        process.start(config).producer_with("shop", options).expect("legal")
    }
}

/// One order: begun, decided, written down, and told to the broker. Whether it was begun.
async fn order(
    cx: &SimHandle,
    producer: &Producer,
    book: &Book,
    name: &str,
    work: Duration,
    decision: Decision,
) -> bool {
    let Ok(transaction) = producer.begin_transaction(message(name)).await else { return false };
    cx.sleep(work).await;
    book.write(name, decision);
    // Told or not, the decision stands.
    let _ = transaction.decide(decision).await;
    true
}

/// How often an order was delivered, and how often a broker has forgotten that it was decided.
fn delivered(cx: &SimHandle, order: &str) -> (usize, usize) {
    cx.look(|cluster| {
        let copies: Vec<_> =
            cluster.stored_all().filter(|stored| stored.body == order.as_bytes()).collect();
        let real = copies.iter().filter(|stored| stored.topic == "Orders").count();
        let key = copies.first().and_then(|stored| stored.unique_key.clone());
        (real, key.map_or(0, |key| cluster.forgotten_ends(&key)))
    })
}

/// Until no broker asks about anything any more.
async fn all_settled(cx: &SimHandle) {
    // What is to break has broken by then.
    cx.sleep(Duration::from_secs(10)).await;
    let open = || cx.look(|cluster| cluster.open_transactions());
    for _ in 0..200 {
        if open() == 0 {
            break;
        }
        cx.sleep(Duration::from_secs(5)).await;
    }
    cx.sleep(Duration::from_secs(60)).await;
    assert_eq!(open(), 0, "a transaction is never decided");
    // A commit that was acknowledged is not told again, even if the broker has forgotten it or asks
    // about a copy that it has made. Nothing else may be given up.
    let given_up = cx.look(|cluster| cluster.stored("TRANS_CHECK_MAX_TIME_TOPIC"));
    for half in given_up {
        let order = String::from_utf8(half.body).expect("an order");
        assert!(delivered(cx, &order).0 > 0, "{order} is given up, and was not delivered");
    }
}

/// Committed: once, and once more at most for each time that a broker forgot. Else never.
fn judge(cx: &SimHandle, name: &str, decision: Option<Decision>) {
    let (copies, forgotten) = delivered(cx, name);
    match decision {
        Some(Decision::Commit) => {
            assert!((1..=1 + forgotten).contains(&copies), "{name}: {copies} for {forgotten}");
        }
        _ => assert_eq!(copies, 0, "{name} is delivered, but was not committed: {decision:?}"),
    }
}

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
                    order(&inside, &producer, &own_book, "one", ms(1) / 4, decision).await;
                }));
                cx.sleep(moment as u32 * ms(1) / 20).await;
                doomed.kill();
                let heir = book.service(&cx.process());
                all_settled(&cx).await;
                begun += cx.look(|cluster| cluster.stored(HALF_TOPIC).len().min(1));
                told += book.orders().len();
                judge(&cx, "one", book.read("one"));
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
                    let begun = order(&cx, &producer, &book, "one", ms(1) / 4, decision).await;
                    all_settled(&cx).await;
                    unanswered += usize::from(!begun);
                    forgotten += delivered(&cx, "one").1;
                    judge(&cx, "one", book.read("one"));
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

/// What breaks on the way of decisions. Nothing that stands still for longer than a client keeps
/// quiet after it has decided.
fn strike(cx: &SimHandle, random: &mut Random, crashes: bool) {
    let brokers = cx.look(|cluster| {
        let nodes = cluster.nodes().into_iter();
        nodes.filter(|node| matches!(node, Node::Broker(_))).collect::<Vec<_>>()
    });
    let node = brokers[random.below(brokers.len() as u64) as usize];
    let length = Duration::from_micros(random.between(1_000, 2_000_000));
    let bytes = random.below(600);
    let cut = if random.chance(500) { Cut::Fin } else { Cut::Reset };
    match random.below(if crashes { 8 } else { 7 }) {
        0 => cx.with(|cluster| cluster.reset_connections(node)),
        1 => cx.silence(node),
        2 => {
            cx.part(node);
            let later = cx.clone();
            drop(cx.spawn(async move {
                later.sleep(length).await;
                later.rejoin(node);
            }));
        }
        3 => cx.with_network(|network| network.cut_outgoing(node, bytes, cut)),
        4 => cx.with_network(|network| network.cut_incoming(node, bytes, cut)),
        5 => {
            cx.with(|cluster| cluster.refuse(node));
            cx.after(length, move |cluster| cluster.accept(node));
        }
        6 => {
            let fault = match random.below(8) {
                0 => Fault::silent(),
                1 => Fault::silent_after_storing(),
                2 => Fault::answer(2, "busy"),
                3 => Fault::answer(1, "what"),
                4 => Fault::delay(length),
                5 => Fault::reset_in_answer(random.below(200) as usize),
                6 => Fault::reset_in_request(random.below(200) as usize),
                _ => Fault::go_away(),
            };
            let rule = if random.chance(700) { Rule::code(END_TRANSACTION) } else { Rule::sends() };
            cx.with(|cluster| cluster.script(node, rule.times(random.between(1, 4)), fault));
        }
        _ => {
            cx.with(|cluster| cluster.kill(node));
            cx.after(length, move |cluster| cluster.restart(node));
        }
    }
}

async fn rage(cx: SimHandle, mut random: Random, length: Duration, crashes: bool) {
    let end = cx.now() + length;
    while cx.now() < end {
        cx.sleep(Duration::from_micros(random.between(1, 2_000_000))).await;
        strike(&cx, &mut random, crashes);
    }
    let nodes = cx.look(|cluster| cluster.nodes());
    cx.sleep(ms(2_100)).await;
    cx.with(|cluster| nodes.iter().for_each(|node| cluster.clear_script(*node)));
}

/// A service under fire, for each seed another one.
#[test]
fn whatever_breaks_a_commit_is_delivered_and_a_rollback_is_not() {
    let (mut orders, mut copies) = (0, 0);
    for seed in 0..60 {
        Sim::new(seed, servers(1 + seed as usize % 3)).run(async |cx| {
            let mut random = cx.random();
            let book = Book::default();
            let crashes = seed % 2 == 1;
            let producer = book.service(&cx);
            let fire = cx.random();
            let raging = cx.spawn(rage(cx.clone(), fire, Duration::from_secs(20), crashes));
            let tasks: Vec<_> = (0..30)
                .map(|number| {
                    let (inside, producer, book) = (cx.clone(), producer.clone(), book.clone());
                    let start = Duration::from_micros(random.below(20_000_000));
                    let work = Duration::from_micros(random.below(12_000_000));
                    let decision = decisions()[usize::from(random.chance(300))];
                    cx.spawn(async move {
                        inside.sleep(start).await;
                        let name = format!("order {number}");
                        order(&inside, &producer, &book, &name, work, decision).await;
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            raging.await;
            all_settled(&cx).await;
            for number in 0..30 {
                let name = format!("order {number}");
                judge(&cx, &name, book.read(&name));
                copies += delivered(&cx, &name).0;
            }
            orders += book.orders().values().filter(|it| **it == Decision::Commit).count();
            let report = producer.close(ms(1_000)).await;
            assert_eq!(report.undecided, []);
            cx.assert_nothing_left();
        });
    }
    assert!(orders > 800, "{orders} committed");
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
        judge(&cx, "dropped", Some(Decision::Commit));
        judge(&cx, "open", Some(Decision::Commit));
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
        assert_eq!(calls.load(Ordering::Relaxed), 16, "nobody else has his turn");
        producer.send(message("after")).await.expect("the client works");
        let told = cx.look(|cluster| cluster.frames_of(A, END_TRANSACTION).len());
        assert!(told >= 3_000, "{told}: each is answered as undecided");
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
