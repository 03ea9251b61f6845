//! How faults strike, and how they end.

use std::time::Duration;

use super::kinds::{Group, Kind};
use super::plan::{Plan, Strike, TOPICS, pick};
use crate::cluster::{Cluster, Fault, Node, Rule, TopicConfig};
use crate::network::{LinkProfile, Random};
use crate::world::World;

mod answers;
mod brokers;
mod links;
mod local;
mod names;

/// One fault at work: what it strikes, for how long, and its own stream of chance.
struct Blow {
    number: usize,
    kind: Kind,
    random: Random,
    length: Duration,
    clients: usize,
    brokers: usize,
    name_servers: usize,
    /// One of the brokers.
    broker: usize,
    /// One of the name servers.
    name_server: usize,
    /// The one or the other, more often the broker.
    node: Node,
    /// How many queues a topic has on that broker.
    queues: i64,
    profile: LinkProfile,
}

/// Plans all faults of a run.
pub(super) fn plan(world: &mut World, plan: &Plan) {
    for strike in &plan.strikes {
        let blow = Blow::new(plan, strike);
        world.after(Duration::from_nanos(strike.at_ns), move |world| blow.fall(world));
    }
}

impl Blow {
    fn new(plan: &Plan, strike: &Strike) -> Blow {
        let mut random = strike.random.clone();
        let broker = random.below(plan.brokers as u64) as usize;
        let name_server = random.below(plan.name_servers as u64) as usize;
        let other = random.chance(200);
        Blow {
            number: strike.number,
            kind: strike.kind,
            random,
            length: Duration::from_nanos(strike.length_ns),
            clients: plan.clients,
            brokers: plan.brokers,
            name_servers: plan.name_servers,
            broker,
            name_server,
            node: if other { Node::NameServer(name_server) } else { Node::Broker(broker) },
            queues: plan.queues_on(broker),
            profile: plan.profile.clone(),
        }
    }

    fn fall(mut self, world: &mut World) {
        let node = match self.kind.group() {
            Group::Answer => Some(Node::Broker(self.broker)),
            Group::NameServer => Some(Node::NameServer(self.name_server)),
            Group::Link | Group::Segmentation | Group::Broker => Some(self.node),
            Group::Time | Group::Local => None,
        };
        world.fault_begins(self.number, self.kind.name(), node, self.length);
        match self.kind.group() {
            Group::Link | Group::Segmentation => self.link(world),
            Group::Broker => self.strike_broker(world),
            Group::Answer => self.answer(world),
            Group::NameServer => self.name_server(world),
            Group::Time | Group::Local => self.local(world),
        }
    }

    /// Undoes something when the fault is over.
    fn afterwards(&self, world: &mut World, undo: impl FnOnce(&mut World) + 'static) {
        world.after(self.length, undo);
    }

    /// Tells the cluster something, and something else afterwards.
    fn for_a_while(
        &self,
        world: &mut World,
        change: impl FnOnce(&mut Cluster),
        undo: impl FnOnce(&mut Cluster) + 'static,
    ) {
        world.with(change);
        self.afterwards(world, move |world| world.with(undo));
    }

    /// A rule that is taken back when the fault is over.
    fn rule(&self, world: &mut World, node: Node, rule: Rule, fault: Fault) {
        let id = world.with(|cluster| cluster.script(node, rule, fault));
        self.afterwards(world, move |world| {
            world.with(|cluster| cluster.unscript(node, id));
        });
    }

    fn millis(&mut self, choices: &[u64]) -> Duration {
        Duration::from_millis(pick(&mut self.random, choices))
    }
}

/// Ends every fault that does not end by itself.
pub(super) fn heal(world: &mut World, plan: &Plan) {
    world.heal_network(plan.profile.clone());
    // Ends of faults that are still planned do no harm: they undo what is undone already.
    let nodes = world.cluster().nodes();
    world.with(|cluster| {
        for node in nodes {
            cluster.clear_script(node);
            cluster.restart(node);
            cluster.resume(node);
            cluster.accept(node);
            match node {
                Node::Broker(index) => {
                    cluster.register_broker(index);
                    cluster.announce_itself(index);
                    for name in TOPICS {
                        let queues = TopicConfig::new(plan.queues_on(index));
                        cluster.set_topic(index, name, queues);
                    }
                }
                Node::NameServer(index) => {
                    cluster.learn_routes(index);
                    TOPICS.iter().for_each(|name| cluster.override_route(index, name, None));
                }
            }
        }
    });
}
