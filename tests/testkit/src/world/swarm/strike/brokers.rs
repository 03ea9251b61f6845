//! Faults of processes, and changes of what a broker has.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Blow, Kind, TOPICS, pick};
use crate::cluster::{Fault, Node, Rule, TopicConfig};
use crate::world::World;

impl Blow {
    pub(super) fn strike_broker(&mut self, world: &mut World) {
        let (node, index) = (self.node, self.broker);
        let broker = Node::Broker(index);
        match self.kind {
            Kind::Kill => self.for_a_while(world, |c| c.kill(node), move |c| c.restart(node)),
            Kind::Stall => self.for_a_while(world, |c| c.stall(node), move |c| c.resume(node)),
            Kind::KillAll => {
                let all: Vec<_> = (0..self.brokers).map(Node::Broker).collect();
                let again = all.clone();
                self.for_a_while(
                    world,
                    |cluster| all.into_iter().for_each(|node| cluster.kill(node)),
                    move |cluster| again.into_iter().for_each(|node| cluster.restart(node)),
                );
            }
            Kind::CrashLoop => {
                let turn = self.length / 6;
                for number in 0..3 {
                    world.after(turn * (2 * number), move |world| world.with(|c| c.kill(node)));
                    let up = turn * (2 * number + 1);
                    world.after(up, move |world| world.with(|c| c.restart(node)));
                }
            }
            Kind::Loss => {
                let messages = self.random.between(1, 5) as usize;
                self.for_a_while(
                    world,
                    |cluster| {
                        cluster.kill(broker);
                        cluster.lose_tail(index, messages);
                    },
                    move |cluster| cluster.restart(broker),
                );
            }
            Kind::Moved => {
                let host = self.random.between(1, 250) as u8;
                let address = SocketAddr::from(([10, 3, index as u8, host], 10911));
                self.for_a_while(
                    world,
                    |cluster| cluster.kill(broker),
                    move |cluster| {
                        cluster.set_address(broker, address);
                        cluster.restart(broker);
                    },
                );
            }
            Kind::SlowFixed => {
                let delay = self.millis(&[1, 60, 700, 2_000]);
                self.rule(world, broker, Rule::any().always(), Fault::delay(delay));
            }
            Kind::SlowUniform => {
                for _ in 0..30 {
                    let delay = Duration::from_millis(self.random.below(2_000));
                    self.rule(world, broker, Rule::sends(), Fault::delay(delay));
                }
            }
            Kind::SlowTail => {
                let delay = self.millis(&[800, 3_500, 9_000]);
                for number in 0..4 {
                    let rule = Rule::sends().after(number * 9);
                    self.rule(world, broker, rule, Fault::delay(delay));
                }
            }
            Kind::MasterGone => {
                self.for_a_while(
                    world,
                    |cluster| {
                        let slaves = cluster.slaves(index);
                        cluster.announce(index, slaves);
                        cluster.kill(broker);
                    },
                    move |cluster| {
                        cluster.announce_itself(index);
                        cluster.restart(broker);
                    },
                );
            }
            Kind::BrokerRemoved => {
                self.for_a_while(
                    world,
                    |cluster| cluster.unregister_broker(index),
                    move |cluster| cluster.register_broker(index),
                );
            }
            _ => self.change_topic(world),
        }
    }

    fn change_topic(&mut self, world: &mut World) {
        let (index, topic) = (self.broker, pick(&mut self.random, &TOPICS));
        let queues = self.queues;
        let config = match self.kind {
            Kind::ReadOnly => Some(TopicConfig { perm: 4, ..TopicConfig::new(queues) }),
            Kind::QueuesShrunk => Some(TopicConfig::new((queues / 2).max(1))),
            Kind::QueuesGrown => Some(TopicConfig::new(queues + 5)),
            _ => None,
        };
        let original = TopicConfig::new(queues);
        self.for_a_while(
            world,
            |cluster| match config {
                Some(config) => cluster.set_topic(index, topic, config),
                None => cluster.remove_topic(index, topic),
            },
            move |cluster| cluster.set_topic(index, topic, original),
        );
    }
}
