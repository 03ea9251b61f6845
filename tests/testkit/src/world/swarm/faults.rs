//! The menu of faults: which exist at all in a run, when they strike and how they end.

use std::time::Duration;

use super::super::{Cut, DialFault, Random, Relaxed, World};
use super::{excuse, pick, topic};
use crate::cluster::{Fault, Node, RouteOverride, Rule, TopicConfig};

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Stall,
    Listener,
    Dial,
    Refusal,
    Weak,
    Slow,
    Silent,
    Ending,
    Strange,
    Garbage,
    Requests,
    Silence,
    Unread,
    CutOut,
    CutIn,
    Resets,
    NameServer,
    Routes,
    Shape,
    Loss,
    Wall,
}

const KINDS: [Kind; 22] = [
    Kind::Kill,
    Kind::Stall,
    Kind::Listener,
    Kind::Dial,
    Kind::Refusal,
    Kind::Weak,
    Kind::Slow,
    Kind::Silent,
    Kind::Ending,
    Kind::Strange,
    Kind::Garbage,
    Kind::Requests,
    Kind::Silence,
    Kind::Unread,
    Kind::CutOut,
    Kind::CutIn,
    Kind::Resets,
    Kind::NameServer,
    Kind::Routes,
    Kind::Shape,
    Kind::Loss,
    Kind::Wall,
];

/// The faults of one run.
#[derive(Debug)]
pub(super) struct Menu {
    kinds: Vec<Kind>,
    strikes: u64,
    brokers: usize,
    name_servers: usize,
}

impl Menu {
    /// The seed first chooses which faults exist, so that some runs are about few of them.
    pub(super) fn draw(random: &mut Random, brokers: usize, name_servers: usize) -> Menu {
        let share = pick(random, &[100, 300, 600]);
        let kinds = KINDS.iter().copied().filter(|_| random.chance(share)).collect();
        let strikes = pick(random, &[3, 10, 40]);
        Menu { kinds, strikes, brokers, name_servers }
    }

    pub(super) fn relaxed(&self) -> Relaxed {
        let shape = self.kinds.contains(&Kind::Shape) || self.kinds.contains(&Kind::Routes);
        excuse(self.kinds.contains(&Kind::Loss), shape)
    }

    /// Plans all faults within the next `span` nanoseconds.
    pub(super) fn strike(&self, world: &mut World, random: &mut Random, span: u64) {
        if self.kinds.is_empty() {
            return;
        }
        for number in 0..self.strikes {
            let kind = pick(random, &self.kinds);
            let broker = Node::Broker(random.below(self.brokers as u64) as usize);
            let server = Node::NameServer(random.below(self.name_servers as u64) as usize);
            let at = Duration::from_nanos(random.below(span));
            let mut own = random.fork(number);
            world.after(at, move |world| {
                world.note(format!("fault {kind:?} at {broker:?} or {server:?}"));
                let node = if own.chance(200) { server } else { broker };
                strike(world, &mut own, kind, node, broker, server);
            });
        }
    }
}

fn strike(
    world: &mut World,
    random: &mut Random,
    kind: Kind,
    node: Node,
    broker: Node,
    server: Node,
) {
    let length = Duration::from_millis(pick(random, &[20, 500, 3_000, 12_000]));
    let Node::Broker(index) = broker else { return };
    match kind {
        Kind::Kill => {
            world.with(|cluster| cluster.kill(node));
            world.after(length, move |world| world.with(|cluster| cluster.restart(node)));
        }
        Kind::Stall => {
            world.with(|cluster| cluster.stall(node));
            world.after(length, move |world| world.with(|cluster| cluster.resume(node)));
        }
        Kind::Listener => {
            let what = random.below(3);
            world.with(|cluster| match what {
                0 => cluster.refuse(node),
                1 => cluster.blackhole(node),
                _ => cluster.mute(node),
            });
            world.after(length, move |world| world.with(|cluster| cluster.accept(node)));
        }
        Kind::Dial => {
            let faults = [DialFault::Refused, DialFault::BlackHole, DialFault::NoName];
            world.set_dial_fault(node, Some(pick(random, &faults)));
            world.after(length, move |world| world.set_dial_fault(node, None));
        }
        Kind::Silence => world.silence(node),
        Kind::Unread => world.stop_reading(node),
        Kind::CutOut => world.cut_outgoing(node, random.below(2_000), cut(random)),
        Kind::CutIn => world.cut_incoming(node, random.below(600), cut(random)),
        Kind::Resets => world.with(|cluster| cluster.reset_connections(node)),
        Kind::Loss => {
            let messages = random.between(1, 5) as usize;
            world.with(|cluster| {
                cluster.kill(broker);
                cluster.lose_tail(index, messages);
            });
            world.after(length, move |world| world.with(|cluster| cluster.restart(broker)));
        }
        Kind::Wall => {
            let walls = [0, 1_600_000_000_000, 2_147_483_648_000, 4_294_967_296_000];
            world.jump_wall(pick(random, &walls));
        }
        Kind::NameServer => name_server(world, random, server, length),
        Kind::Routes => routes(world, random, server, length),
        Kind::Shape => shape(world, random, index, length),
        Kind::Requests => requests(world, random, broker),
        _ => answers(world, random, kind, broker),
    }
}

fn cut(random: &mut Random) -> Cut {
    if random.chance(500) { Cut::Reset } else { Cut::Fin }
}

/// What brokers do to single requests.
fn answers(world: &mut World, random: &mut Random, kind: Kind, broker: Node) {
    let delay = Duration::from_millis(pick(random, &[1, 100, 700, 2_000, 5_000]));
    let bytes = random.below(400) as usize;
    let fault = match kind {
        Kind::Refusal => {
            let codes =
                [1, 2, 2, 3, 13, 14, 15, 16, 17, 26, 29, 204, 205, 215, 501, 777, 1500, 1500, -1];
            let code = pick(random, &codes);
            // Only these may have stored the message, and then the broker does not lie.
            let stores = [1, 777, -1].contains(&code) && random.chance(500);
            let remark = "x".repeat(pick(random, &[0, 10, 20_000]));
            if stores {
                Fault::answer_after_storing(code, remark)
            } else {
                Fault::answer(code, remark)
            }
        }
        Kind::Weak => Fault::weak_acknowledgement(pick(random, &[10, 11, 12])),
        Kind::Slow => Fault::delay(delay),
        Kind::Silent if random.chance(500) => Fault::silent(),
        Kind::Silent => Fault::silent_after_storing(),
        Kind::Ending => match random.below(5) {
            0 => Fault::close(),
            1 => Fault::reset(),
            2 => Fault::reset_in_answer(bytes),
            3 => Fault::silent_after_storing().then_reset(),
            _ => Fault::reset_in_request(bytes),
        },
        Kind::Strange => match random.below(5) {
            0 => Fault::twice(),
            1 => Fault::wrong_opaque(1 << 30),
            2 => Fault::without_receipt(),
            3 => Fault::with_field("queueOffset", "many"),
            _ => Fault::none().even_oneway(),
        },
        _ => {
            let junk: Vec<u8> = (0..bytes + 8).map(|_| random.draw() as u8).collect();
            if random.chance(500) {
                Fault::garbage(junk)
            } else {
                Fault::garbage_after_storing(junk)
            }
        }
    };
    let rule = if random.chance(800) { Rule::sends() } else { Rule::any() };
    let rule = rule.after(random.below(4)).times(pick(random, &[1, 3, 20]));
    let late = kind != Kind::Slow && random.chance(200);
    let fault = if late { fault.delayed_by(delay) } else { fault };
    world.with(|cluster| cluster.script(broker, rule, fault));
}

fn name_server(world: &mut World, random: &mut Random, server: Node, length: Duration) {
    let fault = match random.below(5) {
        0 => Fault::answer(1, "not ready"),
        1 => Fault::delay(Duration::from_millis(random.below(4_000))),
        2 => Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n"),
        3 => Fault::silent(),
        _ => Fault::reset_in_answer(random.below(300) as usize),
    };
    world.with(|cluster| cluster.script(server, Rule::routes().always(), fault));
    world.after(length, move |world| world.with(|cluster| cluster.clear_script(server)));
}

fn routes(world: &mut World, random: &mut Random, server: Node, length: Duration) {
    let Node::NameServer(index) = server else { return };
    let name = pick(random, &super::TOPICS);
    let bodies = ["", "{", "null", "{\"queueDatas\":[],\"brokerDatas\":[]}"];
    let body = pick(random, &bodies).as_bytes().to_vec();
    match random.below(4) {
        0 => world.with(|cluster| cluster.forget_routes(index)),
        1 => world.with(|cluster| cluster.freeze_routes(index)),
        2 => world.with(|cluster| {
            cluster.override_route(index, name, Some(RouteOverride::Missing));
        }),
        _ => world.with(|cluster| {
            cluster.override_route(index, name, Some(RouteOverride::Body(body)));
        }),
    }
    world.after(length, move |world| {
        world.with(|cluster| {
            cluster.learn_routes(index);
            cluster.override_route(index, name, None);
        });
    });
}

/// The cluster changes: brokers leave and come back, topics grow, shrink and close.
fn shape(world: &mut World, random: &mut Random, broker: usize, length: Duration) {
    let name = pick(random, &super::TOPICS);
    let queues = random.between(1, 12) as i64;
    let what = random.below(4);
    world.with(|cluster| match what {
        0 => cluster.unregister_broker(broker),
        1 => cluster.set_topic(broker, name, TopicConfig::new(queues)),
        2 => cluster.set_topic(broker, name, TopicConfig { perm: 4, ..TopicConfig::new(queues) }),
        _ => cluster.remove_topic(broker, name),
    });
    world.after(length, move |world| world.with(|cluster| cluster.register_broker(broker)));
}

/// Requests of brokers that a producer does not serve.
fn requests(world: &mut World, random: &mut Random, broker: Node) {
    for _ in 0..random.between(1, 30) {
        let code = pick(random, &[39, 40, 307, 326, 12_345]);
        world.with(|cluster| {
            let connections = cluster.connections(broker);
            if let Some(connection) = connections.first() {
                let request = cluster.broker_request(code).with_body("junk");
                cluster.send_request(broker, *connection, request);
            }
        });
    }
}

/// Ends every fault that does not end by itself.
pub(super) fn heal(world: &mut World, topics: &[&str], queues: i64) {
    world.note("all faults end".to_owned());
    // Ends of faults that are still planned do no harm: they undo what is undone already.
    let nodes = world.cluster().nodes();
    for node in &nodes {
        world.set_dial_fault(*node, None);
    }
    world.with(|cluster| {
        for node in nodes {
            cluster.clear_script(node);
            cluster.restart(node);
            cluster.resume(node);
            cluster.accept(node);
            match node {
                Node::Broker(index) => {
                    cluster.register_broker(index);
                    topics.iter().for_each(|name| cluster.set_topic(index, name, topic(queues)));
                }
                Node::NameServer(index) => {
                    cluster.learn_routes(index);
                    topics.iter().for_each(|name| cluster.override_route(index, name, None));
                }
            }
        }
    });
}
