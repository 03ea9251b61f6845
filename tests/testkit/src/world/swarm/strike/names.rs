//! Faults of name servers and of what they say.

use std::time::Duration;

use super::{Blow, Kind, TOPICS, pick};
use crate::cluster::{Fault, Node, RouteOverride, Rule};
use crate::wire::TopicRoute;
use crate::world::World;

/// Routes that are wrong in one way each; `%` stands for a topic's name.
const HOSTILE: [&str; 12] = [
    "",
    "{",
    "null",
    "[]",
    "\u{feff}{}",
    r#"{"queueDatas":null,"brokerDatas":7}"#,
    r#"{"brokerDatas":[],"queueDatas":[{"brokerName":"x","perm":6,"writeQueueNums":4}]}"#,
    r#"{"brokerDatas":[{"brokerName":"x","brokerAddrs":{"0":"10.9.9.9"}}],"queueDatas":
        [{"brokerName":"x","perm":6,"readQueueNums":4,"writeQueueNums":2147483647}]}"#,
    r#"{"brokerDatas":[{"brokerName":"x","brokerAddrs":{"0":"nowhere:99999"}}],"queueDatas":
        [{"brokerName":"x","perm":6,"readQueueNums":4,"writeQueueNums":4}]}"#,
    r#"{"brokerDatas":[{"brokerName":"x","brokerAddrs":{"1":"10.9.9.9:1"}}],"queueDatas":
        [{"brokerName":"x","perm":6,"readQueueNums":-4,"writeQueueNums":-4}]}"#,
    r#"{"brokerDatas":[{"brokerName":"x","brokerAddrs":{"0":"10.9.9.9:10911"}}],"queueDatas":
        [{"brokerName":"x","perm":6,"readQueueNums":4,"writeQueueNums":4}]}"#,
    r#"{"orderTopicConf":"x","brokerDatas":[{"brokerName":"x","brokerAddrs":{}}],"queueDatas":
        [{"brokerName":"x","perm":2147483647,"readQueueNums":0,"writeQueueNums":0}]}"#,
];

impl Blow {
    pub(super) fn name_server(&mut self, world: &mut World) {
        let (index, node) = (self.name_server, Node::NameServer(self.name_server));
        match self.kind {
            Kind::NameServerDown => {
                self.for_a_while(world, |c| c.kill(node), move |c| c.restart(node));
            }
            Kind::HalfDown => {
                let half = self.name_servers.div_ceil(2);
                self.for_a_while(
                    world,
                    |cluster| (0..half).for_each(|index| cluster.kill(Node::NameServer(index))),
                    move |cluster| {
                        (0..half).for_each(|index| cluster.restart(Node::NameServer(index)));
                    },
                );
            }
            Kind::NameServerHole => {
                let dead = |cluster: &mut crate::cluster::Cluster| {
                    cluster.kill(node);
                    cluster.blackhole(node);
                };
                self.for_a_while(world, dead, move |cluster| {
                    cluster.accept(node);
                    cluster.restart(node);
                });
            }
            Kind::Forgets => {
                self.for_a_while(world, |c| c.forget_routes(index), move |c| c.learn_routes(index));
            }
            Kind::StaleRoutes => {
                self.for_a_while(world, |c| c.freeze_routes(index), move |c| c.learn_routes(index));
            }
            Kind::NameServerSlow | Kind::NotReady | Kind::NameServerGarbage => {
                let fault = match self.kind {
                    Kind::NameServerSlow => Fault::delay(self.millis(&[50, 350, 1_500, 4_000])),
                    Kind::NotReady => Fault::answer(1, "not ready"),
                    _ => Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n"),
                };
                self.rule(world, node, Rule::any().always(), fault);
            }
            Kind::NameServerSilent => {
                self.rule(world, node, Rule::routes().always(), Fault::silent());
            }
            Kind::EmptyRoute => {
                self.say(world, index, RouteOverride::Route(TopicRoute::default()));
            }
            Kind::HostileRoute => {
                let body = pick(&mut self.random, &HOSTILE).as_bytes().to_vec();
                self.say(world, index, RouteOverride::Body(body));
            }
            Kind::LooseJson => {
                let topic = pick(&mut self.random, &TOPICS);
                if let Some(route) = world.cluster().route(topic) {
                    let body = RouteOverride::Body(route.to_json(false, true).into_bytes());
                    self.say_of(world, index, topic, body);
                }
            }
            Kind::RoutesDisagree => {
                for index in 0..self.name_servers {
                    self.say_part(world, index, self.length);
                }
            }
            // At every look another one.
            _ => {
                let turn = (self.length / 8).max(Duration::from_millis(50));
                for number in 0..8 {
                    let mut blow = Blow { random: self.random.fork(number), ..self.copy() };
                    world.after(turn * number as u32, move |world| {
                        blow.say_part(world, index, turn);
                    });
                }
            }
        }
    }

    fn copy(&self) -> Blow {
        Blow { random: self.random.clone(), profile: self.profile.clone(), ..*self }
    }

    /// A name server leaves some brokers out.
    fn say_part(&mut self, world: &mut World, index: usize, length: Duration) {
        let topic = pick(&mut self.random, &TOPICS);
        let Some(mut route) = world.cluster().route(topic) else { return };
        route.queues.retain(|_| self.random.chance(600));
        if self.random.chance(500) {
            let kept: Vec<_> = route.queues.iter().map(|queue| queue.broker_name.clone()).collect();
            route.brokers.retain(|broker| kept.contains(&broker.broker_name));
        }
        world.with(|cluster| {
            cluster.override_route(index, topic, Some(RouteOverride::Route(route)));
        });
        world.after(length, move |world| {
            world.with(|cluster| cluster.override_route(index, topic, None));
        });
    }

    fn say(&mut self, world: &mut World, index: usize, says: RouteOverride) {
        let topic = pick(&mut self.random, &TOPICS);
        self.say_of(world, index, topic, says);
    }

    fn say_of(&self, world: &mut World, index: usize, topic: &'static str, says: RouteOverride) {
        self.for_a_while(
            world,
            |cluster| cluster.override_route(index, topic, Some(says)),
            move |cluster| cluster.override_route(index, topic, None),
        );
    }
}
