//! A service that works with transactions, under fire, for each seed another one: what was
//! committed is delivered, what was rolled back never is, and nobody is asked twice.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    Decision, Message, Producer, ProducerOptions, TransactionErrorKind, TransactionState,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::network::{Cut, Random};
use rocketmq_testkit::wire::request_code::END_TRANSACTION;
use rocketmq_testkit::{Sim, SimHandle};

use super::UNHARMED;

/// Orders of one run.
const ORDERS: usize = 30;

/// What a service has written down about its orders: the truth that survives it.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    decisions: BTreeMap<String, Decision>,
    /// Those whose decision a broker has acknowledged.
    acknowledged: Vec<String>,
    /// Those that the handler was asked about.
    asked: Vec<String>,
}

impl Book {
    /// What was decided about an order.
    ///
    /// # Panics
    /// If another thread has panicked with the book, as all methods do.
    pub fn read(&self, order: &str) -> Option<Decision> {
        self.0.lock().expect(UNHARMED).decisions.get(order).copied()
    }

    /// Writes a decision down.
    ///
    /// # Panics
    /// As [`Book::read`].
    pub fn write(&self, order: &str, decision: Decision) {
        self.0.lock().expect(UNHARMED).decisions.insert(order.to_owned(), decision);
    }

    /// How many orders it has, and how many of them are committed.
    ///
    /// # Panics
    /// As [`Book::read`].
    pub fn counts(&self) -> (usize, usize) {
        let pages = self.0.lock().expect(UNHARMED);
        let committed = pages.decisions.values().filter(|it| **it == Decision::Commit).count();
        (pages.decisions.len(), committed)
    }

    /// The service of one process. What it finds nothing about was begun by one that has died.
    ///
    /// # Panics
    /// If the simulation's addresses are not legal.
    pub fn service(&self, process: &SimHandle) -> Producer {
        let book = self.clone();
        let options = ProducerOptions::new().with_transaction_checks(move |check| {
            let order = String::from_utf8_lossy(&check.message.body).into_owned();
            let decision = book.read(&order).unwrap_or(Decision::Rollback);
            book.0.lock().expect(UNHARMED).asked.push(order);
            async move { TransactionState::from(decision) }
        });
        let config = process.config().topic("Orders").build().expect("legal");
        process.start(config).producer_with("shop", options).expect("legal")
    }

    /// One order: begun, worked on, written down, and told to the broker. Whether it was begun.
    pub async fn order(
        &self,
        cx: &SimHandle,
        producer: &Producer,
        name: &str,
        work: Duration,
        decision: Decision,
    ) -> bool {
        let message = Message::new("Orders", name.to_owned());
        let Ok(transaction) = producer.begin_transaction(message).await else { return false };
        cx.sleep(work).await;
        self.write(name, decision);
        // Told or not, the decision stands.
        match transaction.decide(decision).await {
            Ok(()) => self.0.lock().expect(UNHARMED).acknowledged.push(name.to_owned()),
            Err(error) => assert!(
                !matches!(error.kind(), TransactionErrorKind::NotUnderWay),
                "I-20: {name} was forgotten while it was worked on"
            ),
        }
        true
    }

    /// An order that is committed is delivered, and once more at most for each time that a broker
    /// has missed that. One that is not is never delivered.
    ///
    /// # Panics
    /// If it is not so.
    pub fn judge(&self, cx: &SimHandle, name: &str) {
        let (copies, missed) = delivered(cx, name);
        let acknowledged = self.0.lock().expect(UNHARMED).acknowledged.iter().any(|it| it == name);
        match self.read(name) {
            // Nobody tells a broker again what it has acknowledged.
            Some(Decision::Commit) if acknowledged => {
                assert!(copies == 1, "I-20: {copies} copies of {name}, which was acknowledged");
            }
            Some(Decision::Commit) => assert!(
                (1..=1 + missed).contains(&copies),
                "I-20: {copies} copies of {name}, which brokers have missed {missed} times"
            ),
            other => assert!(copies == 0, "I-20: {name} is delivered although it is {other:?}"),
        }
    }
}

/// How often an order was delivered, and how often a broker has missed that it was decided.
pub fn delivered(cx: &SimHandle, order: &str) -> (usize, usize) {
    cx.look(|cluster| {
        let copies: Vec<_> =
            cluster.stored_all().filter(|stored| stored.body == order.as_bytes()).collect();
        let real = copies.iter().filter(|stored| stored.topic == "Orders").count();
        let key = copies.first().and_then(|stored| stored.unique_key.clone());
        (real, key.map_or(0, |key| cluster.forgotten_ends(&key)))
    })
}

/// Waits until no broker asks about anything any more.
///
/// # Panics
/// If one never stops, or gives up what was not delivered.
pub async fn all_settled(cx: &SimHandle) {
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
    assert!(open() == 0, "I-20: a transaction is never decided");
    // A commit that was acknowledged is not told again, even if the broker has forgotten it or asks
    // about a copy that it has made. Nothing else may be given up.
    for half in cx.look(|cluster| cluster.stored("TRANS_CHECK_MAX_TIME_TOPIC")) {
        let order = String::from_utf8_lossy(&half.body).into_owned();
        assert!(delivered(cx, &order).0 > 0, "I-20: {order} is given up, and was not delivered");
    }
}

/// Runs one seed: orders committed and copies delivered.
///
/// # Errors
/// What is wrong with it.
pub fn run_transactions(seed: u64) -> Result<(usize, usize), String> {
    let brokers = 1 + seed as usize % 3;
    let cluster = ClusterConfig::new().brokers(brokers).topic("Orders", 4);
    let run = || Sim::new(seed, cluster).run(async |cx| under_fire(cx, seed % 2 == 1).await);
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without a text".to_owned())
    })
}

async fn under_fire(cx: SimHandle, crashes: bool) -> (usize, usize) {
    let mut random = cx.random();
    let book = Book::default();
    let producer = book.service(&cx);
    let fire = rage(cx.clone(), cx.random(), Duration::from_secs(20), crashes);
    let raging = cx.spawn(fire);
    let mut tasks = Vec::new();
    for number in 0..ORDERS {
        let (inside, producer, book) = (cx.clone(), producer.clone(), book.clone());
        let start = Duration::from_micros(random.below(20_000_000));
        let work = Duration::from_micros(random.below(12_000_000));
        let rolls_back = random.chance(300);
        let decision = if rolls_back { Decision::Rollback } else { Decision::Commit };
        tasks.push(cx.spawn(async move {
            inside.sleep(start).await;
            book.order(&inside, &producer, &format!("order {number}"), work, decision).await;
        }));
    }
    for task in tasks {
        task.await;
    }
    raging.await;
    all_settled(&cx).await;
    let mut copies = 0;
    for number in 0..ORDERS {
        let name = format!("order {number}");
        book.judge(&cx, &name);
        copies += delivered(&cx, &name).0;
    }
    let asked = book.0.lock().expect(UNHARMED).asked.clone();
    assert!(asked.is_empty(), "I-20: the handler was asked about what the client knows: {asked:?}");
    let limit = Duration::from_secs(5);
    let report = cx.timeout(limit, producer.close(Duration::from_secs(4))).await;
    let report = report.expect("I-20: the close does not end");
    assert!(report.undecided.is_empty(), "I-20: decided, and yet reported");
    cx.assert_nothing_left();
    (book.counts().1, copies)
}

/// Breaks something now and then. Nothing stands still for longer than a client keeps quiet after
/// it has decided.
async fn rage(cx: SimHandle, mut random: Random, length: Duration, crashes: bool) {
    let end = cx.now() + length;
    while cx.now() < end {
        cx.sleep(Duration::from_micros(random.between(1, 2_000_000))).await;
        strike(&cx, &mut random, crashes);
    }
    let nodes = cx.look(|cluster| cluster.nodes());
    cx.sleep(Duration::from_millis(2_100)).await;
    cx.with(|cluster| nodes.iter().for_each(|node| cluster.clear_script(*node)));
}

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
