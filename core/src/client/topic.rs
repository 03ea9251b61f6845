//! Topics: their routes, and the sends that wait for one.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::broker::{Broker, name_in};
use super::lookup::Lookup;
use super::operation::OpState;
use super::publish::{BrokerQueues, PublishInfo};
use super::static_topic::LogicalQueues;
use super::timers::TimerId;
use super::{Client, Life};
use crate::error::{NameServerFailure, UnwritableBroker};
use crate::id::OpId;
use crate::limits;
use crate::output::{Event, EventSet};
use crate::queues::PublishQueues;
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::wire::TopicRoute;

/// What is known about a topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// As it is called in the table of names.
    known_as: Arc<str>,
    /// As users call it.
    pub(super) name: Arc<str>,
    /// As it is called on the wire: with its namespace. The same allocation if there is none.
    pub(super) wire: Arc<str>,
    pub(super) route: Option<Route>,
    /// The clusters of the brokers in the route.
    pub(super) clusters: Arc<[Box<str>]>,
    /// Where the next choice of a queue stands in the round.
    pub(super) position: u32,
    /// The same for choices after a failed attempt.
    pub(super) retry_position: u32,
    /// Sends that wait for the route.
    waiting: Vec<OpId>,
    /// Entries of `waiting` whose send has ended.
    gone: usize,
    /// Questions for the queues that wait for the route.
    pub(super) queue_waiters: usize,
    pub(super) lookup: Option<Lookup>,
    pub(super) last_lookup: Option<Instant>,
    /// Patience with a name server while a look-up runs; otherwise when the next one starts.
    pub(super) timer: TimerId,
    /// What the name servers did in the last look-up that failed.
    pub(super) failures: Vec<NameServerFailure>,
    /// Why no broker takes messages, if the route has no queue to write to.
    pub(super) unwritable: Vec<UnwritableBroker>,
    /// When the name servers said that the topic does not exist.
    pub(super) not_found_at: Option<Instant>,
    /// Since when they say so although there is a route.
    missing_since: Option<Instant>,
    pub(super) last_used: Instant,
}

/// A topic's route as far as a producer needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub(super) publish: PublishInfo,
    /// The queues as a value, once somebody has asked for it.
    pub(super) snapshot: Option<PublishQueues>,
    /// Brokers that were taken from the default topic, and until when they count: the first send
    /// creates the topic on one broker, and the rest must get their chance too.
    pub(super) default_until: Option<Instant>,
}

impl Topic {
    pub(super) fn wait(&mut self, op: OpId) {
        self.waiting.push(op);
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.waiting.len() > self.gone || self.queue_waiters > 0
    }

    pub(super) fn take_waiters(&mut self) -> Vec<OpId> {
        self.gone = 0;
        core::mem::take(&mut self.waiting)
    }

    /// A waiting send has ended. The list is tidied when half of it is stale.
    pub(super) fn forget_waiter(&mut self, op: OpId) {
        if let Some(last) = self.waiting.last()
            && *last == op
        {
            self.waiting.pop();
            return;
        }
        self.gone += 1;
    }
}

impl Client {
    /// The entry of a topic, made if it is new. `None` if there are too many.
    pub(super) fn topic(&mut self, name: &str) -> Option<Key> {
        if let Some(key) = self.topics_by_name.get(name) {
            return Some(*key);
        }
        let name: Arc<str> = name.into();
        let wire = match self.config.wire_topic(&name) {
            Cow::Borrowed(_) => Arc::clone(&name),
            Cow::Owned(wire) => wire.into(),
        };
        self.new_topic(Arc::clone(&name), name, wire)
    }

    /// As [`Client::topic`], for a topic that is the cluster's own and not in a namespace.
    pub(super) fn system_topic(&mut self, name: &str) -> Option<Key> {
        // Nobody can name it so: a tenant's topic of the same name is another one.
        let known: Arc<str> = match &*self.config.namespace {
            "" => name.into(),
            _ => alloc::format!("\u{1}{name}").into(),
        };
        if let Some(key) = self.topics_by_name.get(&known) {
            return Some(*key);
        }
        let name: Arc<str> = name.into();
        self.new_topic(known, Arc::clone(&name), name)
    }

    fn new_topic(&mut self, known_as: Arc<str>, name: Arc<str>, wire: Arc<str>) -> Option<Key> {
        if self.topics.len() >= limits::TOPICS_MAX {
            return None;
        }
        let key = self.topics.insert(Topic {
            known_as: Arc::clone(&known_as),
            name,
            wire,
            route: None,
            clusters: Arc::default(),
            position: self.rng.next_u64() as u32,
            retry_position: self.rng.next_u64() as u32,
            waiting: Vec::new(),
            gone: 0,
            queue_waiters: 0,
            lookup: None,
            last_lookup: None,
            timer: TimerId::NONE,
            failures: Vec::new(),
            unwritable: Vec::new(),
            not_found_at: None,
            missing_since: None,
            last_used: self.now,
        });
        self.topics_by_name.insert(known_as, key);
        Some(key)
    }

    /// Forgets topics that nobody has sent to for long, except those named in the settings.
    pub(super) fn clean_idle_topics(&mut self) {
        for key in self.topics.keys() {
            let Some(topic) = self.topics.get(key) else {
                continue;
            };
            let used = self.now.saturating_since(topic.last_used) < limits::TOPIC_IDLE_MAX;
            let configured = self.config.topics.iter().any(|name| **name == *topic.name);
            let busy = topic.has_waiters() || topic.lookup.is_some() || self.lanes.uses(key);
            if used || configured || busy {
                continue;
            }
            if let Some(mut topic) = self.topics.remove(key) {
                self.timers.cancel(&mut topic.timer);
                self.topics_by_name.remove(&topic.known_as);
            }
        }
    }

    /// Tidies the list of waiters when most of its entries are stale.
    pub(super) fn tidy_waiters(&mut self, key: Key) {
        let ops = &self.ops;
        if let Some(topic) = self.topics.get_mut(key)
            && topic.gone * 2 > topic.waiting.len() + 64
        {
            topic.waiting.retain(|op| ops.get(*op).is_some());
            topic.gone = 0;
        }
    }

    /// Takes over a route that a name server gave for a topic.
    pub(super) fn adopt_route(&mut self, key: Key, route: &TopicRoute, from_default: bool) {
        let mut publish = self.publish_info(route, from_default);
        let now = self.now;
        let clusters = clusters(route);
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        let mut default_until = from_default.then_some(now + limits::DEFAULT_ROUTE_GRACE);
        if let Some(old) = topic.route.as_ref().filter(|_| !from_default) {
            let kept = old.default_until.filter(|until| *until > now && !publish.is_static());
            if kept.is_some() {
                let missing =
                    old.publish.brokers().iter().filter(|b| !publish.contains(b.broker)).copied();
                let missing: Vec<BrokerQueues> = missing.collect();
                publish = publish.with(&missing, name_in(&self.brokers));
                default_until = kept;
            }
        }
        if planted!(RouteShrinkIgnored)
            && let Some(known) = &topic.route
            && publish.brokers().iter().all(|queues| known.publish.contains(queues.broker))
        {
            publish = known.publish.clone();
        }
        let unwritable = if publish.brokers().is_empty() { unwritable(route) } else { Vec::new() };
        let known = topic.route.replace(Route { publish, snapshot: None, default_until });
        topic.clusters = clusters;
        topic.not_found_at = None;
        topic.missing_since = None;
        topic.failures.clear();
        topic.unwritable = unwritable;
        let Some(route) = topic.route.as_ref() else {
            return;
        };
        if known.is_none_or(|known| known.publish.brokers() != route.publish.brokers()) {
            let name = Arc::clone(&topic.name);
            let brokers = route.publish.brokers().len() as u32;
            let queues = u32::try_from(route.publish.queues()).unwrap_or(u32::MAX);
            self.event(EventSet::ROUTES, || Event::RouteChanged { topic: name, brokers, queues });
        }
        self.wake_waiters(key);
    }

    /// The name servers say that the topic does not exist.
    pub(super) fn topic_not_found(&mut self, key: Key, said: Vec<NameServerFailure>) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        topic.not_found_at = Some(now);
        let since = *topic.missing_since.get_or_insert(now);
        let stale =
            now.saturating_since(since) >= limits::ROUTE_GRACE || planted!(RouteDroppedWhenMissing);
        // A restarted name server knows nothing yet: a known route outlives that.
        if topic.route.is_some() && !stale {
            return;
        }
        topic.route = None;
        topic.failures = said;
        for op in topic.take_waiters() {
            if self.stops_routing(op) {
                self.fail_not_found(op);
            }
        }
        self.answer_queue_waiters(key);
        self.go_on_greeting();
    }

    /// A broker of the default route turned out not to create topics.
    pub(super) fn exclude_from_default_route(&mut self, key: Key, broker: Key) {
        let route = self.topics.get_mut(key).and_then(|topic| topic.route.as_mut());
        if let Some(route) = route.filter(|route| route.default_until.is_some()) {
            let rest = route.publish.clone().without(broker);
            // With none left, the refusal itself is the better explanation.
            if !rest.brokers().is_empty() {
                route.publish = rest;
                route.snapshot = None;
            }
        }
    }

    fn wake_waiters(&mut self, key: Key) {
        self.answer_queue_waiters(key);
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        for op in topic.take_waiters() {
            if planted!(WaiterNotWoken) {
                continue;
            }
            if self.stops_routing(op) {
                self.next_attempt(op);
            }
        }
        self.go_on_greeting();
    }

    /// Notes that a send was taken off its topic's list. Whether it waited for the route until now.
    pub(super) fn stops_routing(&mut self, id: OpId) -> bool {
        let op = self.ops.get_mut(id).filter(|op| op.state == OpState::Routing);
        op.map(|op| op.state = OpState::Begun).is_some()
    }

    /// The queues that can be written to.
    // Java: MQClientInstance#topicRouteData2TopicPublishInfo
    fn publish_info(&mut self, route: &TopicRoute, from_default: bool) -> PublishInfo {
        let mut brokers: BTreeMap<&str, Key> = BTreeMap::new();
        for data in &route.brokers {
            // A broker that lost its address may have ended the last send of a client that closes.
            if self.life == Life::Closed {
                break;
            }
            // Of two entries for one name the first counts.
            if !brokers.contains_key(&*data.broker_name) {
                brokers.insert(&data.broker_name, self.update_broker(data));
            }
        }
        let clamp = self.config.default_topic_queue_nums;
        let master = |broker: Key| self.brokers.get(broker).and_then(|broker| broker.master);
        let static_topic = route.order_topic_conf.is_none() && !route.static_queues.is_empty();
        if static_topic && !from_default {
            let of = |name: &str| brokers.get(name).copied().filter(|key| master(*key).is_some());
            let queues = LogicalQueues::new(&route.static_queues, of);
            return PublishInfo::of_static(queues, name_in(&self.brokers));
        }
        // By broker: the order must not depend on the name server's.
        let mut queues: BTreeMap<Key, u32> = BTreeMap::new();
        let reachable = |broker: Key, table: &Slab<Broker>| {
            table.get(broker).is_some_and(|broker| broker.master.is_some())
        };
        let mut answered = Vec::new();
        for data in route.queues.iter().filter(|data| data.is_writable()) {
            let count = if from_default {
                // Java: DefaultMQProducerImpl clamps the default topic's queues.
                u32::try_from(data.read_queue_nums).unwrap_or(0).min(clamp)
            } else {
                u32::try_from(data.write_queue_nums).unwrap_or(0)
            };
            let broker = brokers.get(&*data.broker_name).copied();
            let broker = broker.filter(|broker| reachable(*broker, &self.brokers));
            let Some(broker) = broker.filter(|_| count > 0) else { continue };
            if let Entry::Vacant(entry) = queues.entry(broker) {
                entry.insert(count);
                answered.push(BrokerQueues { broker, write_queues: count });
            }
        }
        // Go: routeData2PublishInfo compares positions instead of entries, which turns short lists
        // round. It does not read order configurations.
        answered.reverse();
        let mut configured = None;
        let ordered = route.order_topic_conf.as_deref().filter(|conf| !conf.is_empty());
        if let Some(conf) = ordered.filter(|_| !from_default) {
            let listed = self.ordered_queues(conf);
            let known = |queues: &&BrokerQueues| reachable(queues.broker, &self.brokers);
            let there = listed.iter().filter(known);
            queues = there.map(|queues| (queues.broker, queues.write_queues)).collect();
            configured = Some(listed);
        }
        let ranges = queues.into_iter();
        let ranges = ranges.map(|(broker, write_queues)| BrokerQueues { broker, write_queues });
        PublishInfo::new(ranges, name_in(&self.brokers)).with_lists(answered, configured)
    }

    /// The queues of an order configuration like `broker-a:4;broker-b:4`. It names the brokers that
    /// are there in good times, so those without an address stay in the list: the queue of a key
    /// does not change while its broker is away. Entries that cannot be read are skipped.
    // Java: MQClientInstance#topicRouteData2TopicPublishInfo
    fn ordered_queues(&mut self, conf: &str) -> Vec<BrokerQueues> {
        let mut listed: Vec<BrokerQueues> = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, count) in conf.split(';').filter_map(|entry| entry.rsplit_once(':')) {
            let count = count.trim().parse::<u32>().unwrap_or(0);
            let write_queues = count.min(limits::QUEUES_PER_BROKER_MAX);
            if write_queues == 0 || self.life == Life::Closed {
                continue;
            }
            if listed.len() >= limits::ROUTE_BROKERS_MAX {
                break;
            }
            if seen.insert(name.trim()) {
                listed.push(BrokerQueues { broker: self.broker_named(name.trim()), write_queues });
            }
        }
        listed
    }
}

/// The clusters that a route names, once each.
fn clusters(route: &TopicRoute) -> Arc<[Box<str>]> {
    let named = route.brokers.iter().map(|data| &data.cluster).filter(|name| !name.is_empty());
    let named: BTreeSet<&Box<str>> = named.take(limits::ROUTE_BROKERS_MAX).collect();
    named.into_iter().take(limits::REPLY_CLUSTERS_MAX).cloned().collect()
}

/// The brokers of a route that has no queue to write to.
fn unwritable(route: &TopicRoute) -> Vec<UnwritableBroker> {
    let broker = |data: &crate::wire::QueueData| UnwritableBroker {
        broker_name: (*data.broker_name).into(),
        permission: data.perm,
        write_queue_nums: data.write_queue_nums,
    };
    route.queues.iter().take(limits::UNWRITABLE_BROKERS_MAX).map(broker).collect()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::client::SendCommand;
    use crate::config::Config;
    use crate::message::Message;
    use crate::prepared::PreparedMessage;

    use crate::time::ClockReading;

    /// As long as no name server is known no look-up ends, and callers give up one after the other.
    #[test]
    fn sends_given_up_before_there_is_a_name_server_leave_nothing() {
        let config = Config::builder("").name_server_url("http://10.0.0.1:80/x").build().unwrap();
        let now = Instant::ZERO;
        let mut client = Client::new(config.clone(), 1, now);
        let group = client.register(now, "shop").unwrap();
        let unique_key = "7F000001000100000000000000000001".parse().unwrap();
        let id = |round: u32| OpId { index: round % 100, generation: round };
        for round in 0..10_000_u32 {
            let (message, clock) = (Message::new("Orders", "m"), ClockReading::default());
            let message = PreparedMessage::new(message, unique_key, clock, &config).unwrap();
            let command = SendCommand::new(group, now, now + Duration::from_secs(3));
            client.send(now, id(round), message, command).unwrap();
            if let Some(oldest) = round.checked_sub(50) {
                client.cancel(now, id(oldest));
            }
            while client.poll_output().is_some() {}
            let topic = client.topics_by_name.get("Orders").and_then(|key| client.topics.get(*key));
            let waiting = topic.map_or(0, |topic| topic.waiting.len());
            assert!(waiting <= 2 * client.in_flight() + 66, "{waiting} entries in round {round}");
        }
    }
}
