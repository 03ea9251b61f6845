//! What scenarios share.

use std::time::Duration;

use rocketmq_core::{Config, ConfigBuilder, Event};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::world::{SendId, World};

pub(crate) const TOPIC: &str = "Orders";
pub(crate) const A: Node = Node::Broker(0);
pub(crate) const B: Node = Node::Broker(1);
pub(crate) const NS: Node = Node::NameServer(0);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One name server, so many brokers, one topic with four queues on each.
pub(crate) fn cluster(brokers: usize) -> ClusterConfig {
    ClusterConfig::new().brokers(brokers).topic(TOPIC, 4)
}

pub(crate) fn world(brokers: usize) -> World {
    world_with(1, brokers, |config| config)
}

pub(crate) fn world_with(
    seed: u64,
    brokers: usize,
    settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> World {
    World::new(seed, cluster(brokers), config(settings))
}

pub(crate) fn config(settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Config {
    settings(World::config(1)).build().expect("scenarios have legal settings")
}

/// A world that has sent a message and has a connection to every broker.
pub(crate) fn warm(brokers: usize) -> World {
    warm_with(1, brokers, |config| config)
}

pub(crate) fn warm_with(
    seed: u64,
    brokers: usize,
    settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
) -> World {
    let mut world = world_with(seed, brokers, settings);
    warm_up(&mut world);
    world
}

/// Sends until a message is stored, and lets the first heartbeats reach all brokers.
pub(crate) fn warm_up(world: &mut World) {
    let id = world.send(TOPIC, "warm");
    let outcome = world.wait(id);
    assert!(outcome.is_stored(), "{outcome:?}");
    world.run_for(secs(2));
}

/// Makes every send to a broker suffer the fault from now on.
pub(crate) fn script_sends(world: &mut World, node: Node, fault: Fault) {
    world.with(|cluster| cluster.script(node, Rule::sends().always(), fault));
}

/// Sends until the first attempt goes to this broker.
pub(crate) fn send_via(world: &mut World, node: Node) -> SendId {
    for number in 0..64 {
        let id = world.send(TOPIC, &format!("via {number}"));
        world.run_for(ms(1));
        if world.frames_of(id).first().is_some_and(|frame| frame.node == node) {
            return id;
        }
    }
    panic!("no attempt went to {node:?}");
}

/// Time from the call of a send to its end.
pub(crate) fn elapsed(world: &World, id: SendId) -> Duration {
    let record = world.record(id);
    Duration::from_nanos(record.ended_ns.expect("it has ended") - record.started_ns)
}

/// Events of the first client that match, with their times.
pub(crate) fn events(world: &World, wanted: impl Fn(&Event) -> bool) -> Vec<(Duration, Event)> {
    let events = world.events(0).iter().filter(|(_, event)| wanted(event));
    events.map(|(at, event)| (Duration::from_nanos(*at), event.clone())).collect()
}
