//! Each observer sees what it is there for: stories that are told right but for one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    AttemptFailure, Client, Config, Event, Instant, OpId, OpIds, Selection, SendErrorKind,
    SendReceipt,
};

use super::{Checks, Invariant, Logs, Seen, Status, Violation};
use crate::cluster::{ClusterConfig, Fault, Node, Rule};
use crate::wire::{Command, format_properties, request_code};
use crate::world::{Outcome, SendRecord, SendSpec, WireAnswer, WireFrame, World};

const MS: u64 = 1_000_000;
const NAME_SERVER: u64 = 1;
const BROKER: u64 = 2;

/// A key for events, which no observer reads it from.
fn any_key() -> UniqueKey {
    "0".repeat(32).parse().expect("a key")
}

/// What the brokers of a scene hold.
#[derive(Default)]
struct Log(BTreeMap<String, usize>);

impl Logs for Log {
    fn holds(&self, _: &str, _: &str, key: &str, _: Option<(u32, u64)>) -> bool {
        self.0.contains_key(key)
    }

    fn copies(&self) -> BTreeMap<String, usize> {
        self.0.clone()
    }
}

/// A client that has told an observer everything as it should be.
struct Scene {
    checks: Checks,
    now: u64,
    ids: OpIds,
    ops: Vec<OpId>,
    opaque: i32,
    log: Log,
    /// A receipt and an error, as the machine makes them.
    receipt: SendReceipt,
    error: rocketmq_core::SendError,
}

fn config() -> Config {
    World::config(1).build().expect("legal")
}

/// What the machine makes of two sends: one stored, one refused for good.
fn specimens() -> (SendReceipt, rocketmq_core::SendError) {
    let cluster = ClusterConfig::new().brokers(1).topic("Orders", 4);
    let mut world = World::new(1, cluster, config());
    let id = world.send("Orders", "one");
    let receipt = world.wait(id).receipt().expect("stored").clone();
    let refusal = Fault::answer(13, "illegal");
    world.with(|cluster| cluster.script(Node::Broker(0), Rule::sends(), refusal));
    let id = world.send("Orders", "two");
    let error = world.wait(id).error().expect("refused").clone();
    (receipt, error)
}

impl Scene {
    fn new() -> Scene {
        Scene::with(config())
    }

    /// Two brokers with two queues each, known and connected.
    fn with(config: Config) -> Scene {
        let (receipt, error) = specimens();
        let mut scene = Scene {
            checks: Checks::default(),
            now: 0,
            ids: OpIds::new(),
            ops: Vec::new(),
            opaque: 0,
            log: Log::default(),
            receipt,
            error,
        };
        scene.see(Seen::Client { config: &config });
        scene.connect(NAME_SERVER, "10.1.0.1:9876", Node::NameServer(0));
        scene.connect(BROKER, "10.0.0.1:10911", Node::Broker(0));
        scene.connect(BROKER + 1, "10.0.0.2:10911", Node::Broker(1));
        scene.route(&["broker-a", "broker-b"]);
        scene
    }

    fn see(&mut self, seen: Seen<'_>) {
        self.now += 1;
        self.checks.see(self.now, seen);
    }

    fn settle(&mut self) {
        self.checks.settled();
    }

    fn pass(&mut self, millis: u64) {
        self.settle();
        self.now += millis * MS;
    }

    fn connect(&mut self, link: u64, address: &str, node: Node) {
        self.see(Seen::Dialled { link, client: 0, address, node: Some(node) });
        self.see(Seen::Connected { link });
    }

    fn query(&mut self) -> WireFrame {
        let mut command = self.request(request_code::GET_ROUTEINFO_BY_TOPIC);
        command.ext.insert("topic", "Orders");
        self.frame(NAME_SERVER, Node::NameServer(0), command, true)
    }

    fn route(&mut self, brokers: &[&str]) {
        let query = self.query();
        let queue = |name: &&str| {
            format!(
                "{{\"brokerName\":\"{name}\",\"perm\":6,\"readQueueNums\":2,\"writeQueueNums\":2}}"
            )
        };
        let data = |name: &&str| {
            let host = if *name == "broker-a" { "10.0.0.1" } else { "10.0.0.2" };
            let addresses = format!("{{\"0\":\"{host}:10911\"}}");
            format!("{{\"brokerAddrs\":{addresses},\"brokerName\":\"{name}\"}}")
        };
        let queues: Vec<_> = brokers.iter().map(queue).collect();
        let brokers_text: Vec<_> = brokers.iter().map(data).collect();
        let body = format!(
            "{{\"brokerDatas\":[{}],\"queueDatas\":[{}]}}",
            brokers_text.join(","),
            queues.join(",")
        );
        self.answer_with(&query, 0, body.into_bytes());
        let count = brokers.len() as u32;
        let event =
            Event::RouteChanged { topic: "Orders".into(), brokers: count, queues: count * 2 };
        self.see(Seen::Event { client: 0, event: &event });
        self.rest(|_| {});
    }

    fn request(&mut self, code: i32) -> Command {
        self.opaque += 1;
        Command::request(code, self.opaque)
    }

    fn frame(&mut self, link: u64, node: Node, command: Command, whole: bool) -> WireFrame {
        self.now += 1;
        let begun = self.checks.moment(self.now);
        let frame = WireFrame::new(link, (0, node), begun, command);
        let frame = WireFrame { written_ns: whole.then_some(self.now), ..frame };
        self.see(Seen::Frame { frame: &frame });
        frame
    }

    fn answer_with(&mut self, frame: &WireFrame, code: i32, body: Vec<u8>) {
        let mut ext = crate::wire::Fields::default();
        ext.insert("queueId", "1");
        ext.insert("queueOffset", "7");
        let answer = WireAnswer { at_ns: self.now, code, ext, remark: String::new(), body };
        self.see(Seen::Answer { link: frame.link, frame: Some(frame), answer: &answer });
    }

    fn answer(&mut self, frame: &WireFrame, code: i32) {
        self.answer_with(frame, code, Vec::new());
    }

    // ---- Sends ------------------------------------------------------------------------------

    fn call(&mut self) -> usize {
        let key = format!("KEY{}", self.ops.len());
        self.call_as(SendSpec::new("Orders", "an order"), &key)
    }

    fn call_as(&mut self, spec: SendSpec, key: &str) -> usize {
        let op = self.ids.allocate();
        self.now += 1;
        let deadline_ns = self.now + 3_000 * MS;
        let record = SendRecord {
            spec,
            op,
            unique_key: key.to_owned(),
            wall_ms: 1_700_000_000_000,
            started_ns: self.now,
            deadline_ns,
            deadline: Instant::from_nanos(deadline_ns),
            attempts_max: 3,
            ended_ns: None,
            outcome: None,
            cancelled_ns: None,
        };
        self.checks.called(self.now, &record);
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn start(&mut self, send: usize, number: u32, broker: &str, queue_id: u32) {
        let broker_name: Arc<str> = broker.into();
        let (op, unique_key) = (self.ops[send], any_key());
        let event = Event::AttemptStarted { op, unique_key, number, broker_name, queue_id };
        self.see(Seen::Event { client: 0, event: &event });
    }

    fn fail_attempt(&mut self, send: usize, number: u32, broker: &str, failure: AttemptFailure) {
        let (op, broker_name) = (self.ops[send], broker.into());
        let retry_at = Some(Instant::from_nanos(self.now));
        let unique_key = any_key();
        let event = Event::AttemptFailed { op, unique_key, number, broker_name, failure, retry_at };
        self.see(Seen::Event { client: 0, event: &event });
    }

    fn message(&mut self, send: usize, queue: u32) -> Command {
        let known = &self.checks.facts.sends[send];
        let (key, body) = (known.unique_key.clone(), known.body.clone());
        let (topic, oneway) = (known.topic.clone(), known.is_oneway());
        let field = |name: &str, value: String| (name.to_owned(), value);
        let properties = [
            field("UNIQ_KEY", key),
            field("WAIT", "true".into()),
            field("number", send.to_string()),
        ]
        .into_iter()
        .collect();
        let mut command = self.request(request_code::SEND_MESSAGE_V2);
        command.flag = if oneway { crate::wire::FLAG_ONEWAY } else { 0 };
        command.ext.insert("b", topic);
        command.ext.insert("g", "1700000000000");
        command.ext.insert("e", queue.to_string());
        command.ext.insert("i", format_properties(&properties));
        command.with_body(body)
    }

    fn write(&mut self, send: usize, queue: u32) -> WireFrame {
        let command = self.message(send, queue);
        self.frame(BROKER, Node::Broker(0), command, true)
    }

    fn end(&mut self, send: usize, outcome: &Outcome) {
        self.see(Seen::Ended { client: 0, op: self.ops[send], outcome });
        self.checks.ended(send, false, &self.log);
    }

    /// The receipt that belongs to the answers of [`answer`](Self::answer).
    fn stored(&mut self, send: usize) -> Outcome {
        let key = self.checks.facts.sends[send].unique_key.clone();
        self.log.0.insert(key, 1);
        let mut receipt = self.receipt.clone();
        // Keys are the machine's own; scenes take the one of the specimen.
        receipt.address = "10.0.0.1:10911".into();
        receipt.position = receipt.position.map(|mut position| {
            (position.queue_id, position.queue_offset) = (1, 7);
            position
        });
        Outcome::Stored(receipt)
    }

    /// A send as it should be: one attempt, stored.
    fn good(&mut self) -> usize {
        let key = self.receipt.unique_key.to_string();
        let send = self.call_as(SendSpec::new("Orders", "an order"), &key);
        self.start(send, 1, "broker-a", 1);
        let frame = self.write(send, 1);
        self.pass(5);
        self.answer(&frame, 0);
        let outcome = self.stored(send);
        self.end(send, &outcome);
        self.settle();
        send
    }

    fn rest(&mut self, change: impl FnOnce(&mut Rest)) {
        let mut machine = Client::new(config(), 1, Instant::ZERO);
        let mut tables = machine.table_sizes();
        tables.operations = self.checks.facts.clients[0].open;
        let next = machine.poll_timeout().map(|_| Instant::from_nanos(self.now));
        let mut rest = Rest { tables, next, links: 0 };
        change(&mut rest);
        let Rest { tables, next, links } = rest;
        self.see(Seen::Rest { client: 0, tables: &tables, next, links });
        self.settle();
    }

    fn finish(&mut self) {
        let log = std::mem::take(&mut self.log);
        self.checks.finish(true, &log);
        self.log = log;
    }

    fn found(mut self) -> Vec<Violation> {
        self.checks.take()
    }
}

struct Rest {
    tables: rocketmq_core::TableSizes,
    next: Option<Instant>,
    links: usize,
}

#[test]
fn a_story_told_right_is_no_violation() {
    let mut scene = Scene::new();
    scene.good();
    scene.rest(|_| {});
    let closing = scene.now;
    scene.see(Seen::Shut { client: 0, until_ns: closing });
    for link in [NAME_SERVER, BROKER, BROKER + 1] {
        scene.see(Seen::Gone { link });
    }
    scene.see(Seen::Closed { client: 0 });
    scene.finish();
    assert_eq!(scene.found(), []);
}

/// Two sends of one order, called one after the other.
fn in_order(scene: &mut Scene) -> [usize; 2] {
    let spec = || SendSpec::new("Orders", "an order").ordered("key");
    ["first", "second"].map(|key| scene.call_as(spec(), key))
}

/// A number, and a story that breaks that promise.
type Case = (u8, fn(&mut Scene));

const CASES: &[Case] = &[
    (1, |scene| {
        scene.good();
        scene.log.0.clear();
        scene.finish();
    }),
    (2, |scene| {
        let send = scene.good();
        let again = scene.stored(send);
        scene.see(Seen::Ended { client: 0, op: scene.ops[send], outcome: &again });
    }),
    (3, |scene| {
        let send = scene.call();
        scene.pass(3_001);
        scene.end(send, &Outcome::Failed(scene.error.clone().with_kind(SendErrorKind::Timeout)));
    }),
    (4, |scene| {
        let send = scene.call();
        for number in 1..=4 {
            scene.start(send, number, if number % 2 == 1 { "broker-a" } else { "broker-b" }, 1);
            scene.settle();
        }
    }),
    (5, |scene| {
        // Written and never answered, yet called refused.
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        scene.write(send, 1);
        scene.end(send, &Outcome::Failed(scene.error.clone()));
    }),
    (6, |scene| {
        let send = scene.good();
        let key = scene.checks.facts.sends[send].unique_key.clone();
        scene.log.0.insert(key, 2);
        scene.finish();
    }),
    (7, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        let command = scene.message(send, 1).with_body("another order");
        scene.frame(BROKER, Node::Broker(0), command, true);
    }),
    (8, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        let frame = scene.write(send, 1);
        scene.pass(5);
        scene.answer(&frame, 13);
        scene.pass(5);
        scene.start(send, 2, "broker-b", 1);
    }),
    (9, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        let isolated_until = Instant::from_nanos(scene.now + 2 + 10_000 * MS);
        let event = Event::FaultUpdated { broker_name: "broker-a".into(), isolated_until };
        scene.see(Seen::Event { client: 0, event: &event });
        scene.fail_attempt(send, 1, "broker-a", AttemptFailure::NoAddress);
        scene.pass(5);
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
    }),
    (10, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        scene.pass(5);
        scene.start(send, 2, "broker-a", 0);
    }),
    (11, |scene| {
        let spec = || SendSpec::new("Orders", "an order").to("broker-a", 1);
        let first = scene.call_as(spec(), "first");
        let second = scene.call_as(spec(), "second");
        scene.start(first, 1, "broker-a", 1);
        scene.start(second, 1, "broker-a", 1);
        scene.write(second, 1);
        scene.write(first, 1);
    }),
    (11, |scene| {
        // The first of the order is still under way.
        let [first, second] = in_order(scene);
        scene.start(first, 1, "broker-a", 1);
        scene.write(first, 1);
        scene.start(second, 1, "broker-a", 1);
        scene.write(second, 1);
    }),
    (11, |scene| {
        // What may be stored is sent again.
        let [first, _] = in_order(scene);
        for number in 1..=2 {
            scene.start(first, number, "broker-a", 1);
            scene.write(first, 1);
        }
    }),
    (11, |scene| {
        // Both are acknowledged, and at one offset.
        for send in in_order(scene) {
            scene.start(send, 1, "broker-a", 1);
            let frame = scene.write(send, 1);
            scene.pass(5);
            scene.answer(&frame, 0);
            let outcome = scene.stored(send);
            scene.end(send, &outcome);
        }
        let of_order = |it: &Violation| it.invariant == Invariant::number(11);
        assert!(!scene.checks.found.0.iter().any(of_order), "only the end shows it");
        scene.finish();
    }),
    (12, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        scene.write(send, 1);
        let outcome = scene.stored(send);
        scene.end(send, &outcome);
    }),
    (14, |scene| scene.rest(|rest| rest.tables.operations += 1)),
    (15, |scene| scene.see(Seen::Offered { client: 0, bytes: 1 << 20 })),
    (16, |scene| scene.rest(|rest| rest.tables.timers += 1_000)),
    (17, |scene| {
        let send = scene.call();
        scene.route(&["broker-b"]);
        scene.start(send, 1, "broker-a", 1);
    }),
    (17, |scene| {
        // One hash, two queues.
        for (key, broker) in [("first", "broker-a"), ("second", "broker-b")] {
            let spec = SendSpec::new("Orders", "an order").select(Selection::JavaHash(1));
            let send = scene.call_as(spec, key);
            scene.start(send, 1, broker, 1);
            scene.pass(5);
        }
    }),
    (18, |scene| {
        scene.pass(2_000);
        scene.query();
        scene.pass(5);
        scene.query();
    }),
    (19, |scene| scene.connect(9, "10.0.0.1:10911", Node::Broker(0))),
    (22, |scene| {
        scene.see(Seen::Closed { client: 0 });
        scene.rest(|_| {});
    }),
    (24, |scene| {
        scene.call();
        scene.rest(|rest| rest.next = None);
    }),
    (28, |scene| {
        scene.call_as(SendSpec::new("Orders", "one"), "the same");
        scene.call_as(SendSpec::new("Orders", "two"), "the same");
    }),
    (30, |scene| scene.checks.line(&format!("a story about {}", super::secrecy::SECRET))),
    (31, |scene| {
        let send = scene.call();
        scene.start(send, 1, "broker-a", 1);
        let frame = scene.write(send, 1);
        scene.pass(5);
        scene.answer(&frame, 10);
        scene.pass(5);
        scene.start(send, 2, "broker-b", 1);
    }),
];

#[test]
fn every_observer_sees_what_it_is_there_for() {
    for (number, story) in CASES {
        let mut scene = Scene::new();
        story(&mut scene);
        let found = scene.found();
        let wanted = Invariant::number(*number);
        assert!(found.iter().any(|it| it.invariant == wanted), "{wanted}: {found:?}");
    }
}

/// Seen by the tap, by the swarm's phases, and by runs that are compared.
const ELSEWHERE: [u8; 6] = [13, 21, 23, 25, 26, 27];

#[test]
fn every_invariant_that_is_checked_was_seen_broken() {
    let cases = CASES.iter().map(|(number, _)| *number).chain(ELSEWHERE);
    let cases: BTreeSet<_> = cases.map(Invariant::number).collect();
    let checked = Invariant::all().filter(|it| it.status() == Status::Checked).collect();
    assert_eq!(cases, checked);
}

#[test]
fn the_list_has_a_name_and_a_rule_for_each_number() {
    assert_eq!(Invariant::all().count(), 32);
    let names: BTreeSet<_> = Invariant::all().map(Invariant::name).collect();
    assert_eq!(names.len(), 32);
    assert!(Invariant::all().all(|it| !it.rule().is_empty()));
    assert_eq!(Violation::new(7, "x").to_string(), "I-07: x");
}

#[test]
fn i13_an_id_in_use_is_not_given_again() {
    let mut scene = Scene::new();
    let mut tap = crate::world::tap::Tap::default();
    for _ in 0..2 {
        let bytes = Command::request(request_code::HEART_BEAT, 5).encode();
        tap.sent(BROKER, (0, Node::Broker(0)), 1, &bytes, &mut scene.checks);
    }
    let found = scene.found();
    assert!(found.iter().any(|it| it.invariant == Invariant::number(13)), "{found:?}");
}

#[test]
fn i21_a_broker_that_is_not_greeted_is_noticed() {
    let mut scene = Scene::new();
    let cluster = crate::cluster::Cluster::new(ClusterConfig::new().brokers(1));
    scene.checks.greets(60_000 * MS, 0, &cluster, 1);
    let found = scene.found();
    assert!(found.iter().any(|it| it.invariant == Invariant::number(21)), "{found:?}");
}

#[test]
fn with_bytes_that_cannot_be_trusted_only_the_machine_itself_is_judged() {
    let mut scene = Scene::new();
    scene.checks.relax(crate::world::Relaxed { corruption: true, ..Default::default() });
    scene.checks.violation(Violation::new(5, "a lie"));
    scene.checks.violation(Violation::new(3, "too late"));
    assert_eq!(scene.found(), [Violation::new(3, "too late")]);
}
