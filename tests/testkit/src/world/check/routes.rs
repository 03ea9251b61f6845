//! I-17: attempts go where a route in force says. I-18: name servers are not pestered.
//!
//! What the client knows of routes is put together from the answers that it received. Which of
//! them it took over is certain if it says that the route changed, or if there was nobody else to
//! ask; otherwise both the old and the new one may be in force.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rocketmq_core::Event;

use super::facts::{ClientFacts, Facts, LinkFacts, Moment, Start};
use super::{Found, Observer, Seen};
use crate::cluster::Node;
use crate::network::nanos;
use crate::wire::{BrokerData, TopicRoute};
use crate::world::{WireAnswer, WireFrame};

const SECOND: u64 = 1_000_000_000;
/// For so long a query that was given up may wait for its socket, and is still sent then.
const STALL_MAX: u64 = 15 * SECOND;
/// May be written to.
const PERM_WRITE: i32 = 2;
/// A route with more queues than that on one broker is malformed.
const QUEUES_MAX: i64 = 65_536;
/// The answer of a name server that knows no such topic.
const TOPIC_NOT_EXIST: i32 = 17;
/// For so long a known route outlives name servers that say that there is no such topic.
const GRACE: u64 = 120 * SECOND;
/// A topic that nobody has sent to for so long is forgotten.
const IDLE_MAX: u64 = 600 * SECOND;

#[derive(Debug, Default)]
pub(super) struct Routes {
    clients: Vec<Known>,
    queries: BTreeMap<(usize, Node, String), Queries>,
    /// When a client last got a route for a topic: the look-up was over then.
    found: BTreeMap<(usize, String), Moment>,
    /// When a client last gave a server up that it had asked for a topic, by the server's address.
    given_up: BTreeMap<(usize, String, String), Moment>,
}

/// What a client may know of routes.
#[derive(Debug, Default)]
struct Known {
    topics: BTreeMap<String, TopicView>,
    masters: BTreeMap<String, Vec<Master>>,
    /// Answers since the client last rested.
    fresh: Vec<Answered>,
    /// One of them was too odd to be read.
    unread: bool,
}

/// An address at which a broker's master was said to be.
#[derive(Debug)]
struct Master {
    /// Empty: there is none.
    address: String,
    /// When it was last said.
    named: Moment,
    /// When another took its place for sure.
    until: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Answered {
    at: Moment,
    topic: String,
    opaque: i32,
    route: TopicRoute,
}

/// Writable queues by broker.
pub(super) type Published = BTreeMap<String, u32>;

/// What may be in force for a topic.
#[derive(Debug, Default)]
pub(super) struct TopicView {
    /// In force for sure, unless one of the others is.
    pub(super) sure: Option<Published>,
    pub(super) since: Moment,
    pub(super) maybe: Vec<Published>,
    /// Made from the default topic, or not understood: it cannot be told what is in force.
    pub(super) vague: bool,
    /// Since when name servers may be saying that there is no such topic, and when one said so
    /// last.
    missing: Option<(Moment, Moment)>,
    /// When a send last began.
    used: Moment,
}

/// Queries of one client to one server for one topic.
#[derive(Debug, Default)]
struct Queries {
    begun: VecDeque<u64>,
    /// The last one: its connection and id, and when it was begun.
    last: Option<(u64, i32, Moment)>,
    told: bool,
}

impl Observer for Routes {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Client { .. } => self.clients.push(Known::default()),
            Seen::Frame { frame } if frame.is_route_query() => self.query(facts, frame, found),
            Seen::Frame { frame } if frame.is_send() => self.addressed(facts, frame, found),
            Seen::Answer { frame: Some(frame), answer, .. } if frame.is_route_query() => {
                self.answered(facts, frame, answer);
            }
            Seen::Event { client, event } => self.event(facts, *client, event, found),
            Seen::Rest { client, .. } => self.rest(facts, *client),
            _ => {}
        }
    }
}

impl Routes {
    /// The topic of an unordered send as its client knows it.
    pub(super) fn view(&self, client: usize, topic: &str) -> Option<&TopicView> {
        self.clients.get(client)?.topics.get(topic)
    }

    /// Whether a route that may be in force names a broker.
    pub(super) fn is_named(&self, client: usize, broker: &str) -> bool {
        let Some(known) = self.clients.get(client) else { return false };
        known.topics.values().filter(|view| !view.vague).any(|view| {
            view.sure.iter().chain(&view.maybe).all(|published| published.contains_key(broker))
        })
    }

    /// Where a broker's master is for sure.
    pub(super) fn master(&self, client: usize, broker: &str) -> Option<&str> {
        let masters = self.clients.get(client)?.masters.get(broker)?;
        let mut live = masters.iter().filter(|master| master.until.is_none());
        let only = live.next().filter(|master| !master.address.is_empty())?;
        live.next().is_none().then_some(&*only.address)
    }

    // ---- Answers ----------------------------------------------------------------------------

    fn answered(&mut self, facts: &Facts, frame: &WireFrame, answer: &WireAnswer) {
        let mine = frame.answer.is_none() && answer.code == 0;
        if mine {
            self.found.insert((frame.client, frame.topic().to_owned()), facts.now);
        }
        let Some(known) = self.clients.get_mut(frame.client) else { return };
        if frame.answer.is_none() && answer.code == TOPIC_NOT_EXIST {
            if let Some(view) = known.topics.get_mut(frame.topic()) {
                view.missing.get_or_insert((facts.now, facts.now)).1 = facts.now;
            }
            return;
        }
        if !mine {
            return;
        }
        let text = String::from_utf8_lossy(&answer.body);
        let (topic, opaque) = (frame.topic().to_owned(), frame.command.opaque);
        let sane = |route: &TopicRoute| {
            route.queues.iter().all(|it| it.write_queues.max(it.read_queues) <= QUEUES_MAX)
        };
        let Some(route) = TopicRoute::from_json(&text).filter(sane) else {
            known.unread = true;
            return;
        };
        // The queues of static topics are numbered over all brokers.
        let odd = text.contains("\"orderTopicConf\":\"") || !route.static_queues.is_empty();
        for broker in route.brokers.iter().filter(|broker| is_somewhere(broker)) {
            let address = master_of(broker);
            let masters = known.masters.entry(broker.broker_name.clone()).or_default();
            let live = |it: &&mut Master| it.address == address && it.until.is_none();
            match masters.iter_mut().find(live) {
                Some(known) => known.named = facts.now,
                None => {
                    let address = address.to_owned();
                    masters.push(Master { address, named: facts.now, until: None });
                }
            }
        }
        let config = &facts.clients[frame.client].config;
        let from_default = *topic == *config.create_topic_key;
        let published = published(&route, from_default.then_some(config.default_topic_queue_nums));
        let answered = Answered { at: facts.now, topic, opaque, route };
        if from_default {
            for view in known.topics.values_mut().filter(|view| view.vague) {
                view.maybe.push(published.clone());
            }
            // It is no topic of this client, unless the client says so.
            known.fresh.push(answered);
            return;
        }
        let view = known.topics.entry(answered.topic.clone()).or_default();
        view.vague |= odd;
        view.maybe.push(published);
        known.fresh.push(answered);
    }

    fn event(&mut self, facts: &Facts, client: usize, event: &Event, found: &mut Found) {
        if let Event::RouteFailed { topic, address, .. } = event {
            self.gave_up(facts, client, topic, address);
        }
        let Some(known) = self.clients.get_mut(client) else { return };
        match event {
            Event::RouteChanged { topic, brokers, queues } => {
                known.changed(facts, client, topic, (*brokers, *queues), found);
            }
            Event::LateAnswer { opaque, .. } => {
                known.fresh.retain(|answered| answered.opaque != *opaque);
            }
            Event::AttemptStarted { op, .. } => {
                let Some(send) = facts.by_op(client, *op) else { return };
                let Some(start) = facts.sends[send].starts.last() else { return };
                let view = known.topics.get_mut(&facts.sends[send].topic);
                if let Some(view) = view.filter(|_| start.number == 1) {
                    view.used = facts.now;
                }
                known.started(facts, send, start, found);
            }
            _ => {}
        }
    }

    /// Everything that the client had to say is known.
    fn rest(&mut self, facts: &Facts, client: usize) {
        let Some(known) = self.clients.get_mut(client) else { return };
        known.unread = false;
        if known.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut known.fresh);
        let config = &facts.clients[client].config;
        let alone = config.name_servers.len() == 1;
        let own = |answered: &Answered| *answered.topic != *config.create_topic_key;
        for answered in fresh.into_iter().filter(|it| alone && own(it)) {
            known.adopt(facts, &facts.clients[client], &answered, None);
        }
    }

    // ---- Where attempts go ------------------------------------------------------------------

    /// I-17: the address was that of the broker when the attempt began.
    fn addressed(&self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let Some(send) = facts.send_of(frame) else { return };
        let known = &facts.sends[send];
        let id = (frame.link, frame.command.opaque);
        let filed = known.frames.iter().find(|filed| (filed.link, filed.opaque) == id);
        let Some(attempt) = filed.and_then(|filed| known.attempt_of(filed)) else { return };
        let start = &known.starts[attempt];
        let Some(link) = facts.links.get(&frame.link) else { return };
        let map = &facts.clients[known.client].config.address_map;
        let reachable = |announced: &str| {
            announced.parse().map(|address| map.reachable(address).to_string()).unwrap_or_default()
        };
        let masters = self.clients.get(known.client).and_then(|it| it.masters.get(&start.broker));
        let right = |master: &Master| {
            reachable(&master.address) == link.address
                && master.until.is_none_or(|until| until > start.after)
        };
        if !masters.is_some_and(|masters| masters.iter().any(right)) {
            let (broker, address) = (&start.broker, &link.address);
            found.add(17, format!("send #{send} to {broker} went to {address}"));
        }
    }

    // ---- Queries ----------------------------------------------------------------------------

    /// The client does not wait for an answer of this server any more.
    fn gave_up(&mut self, facts: &Facts, client: usize, topic: &str, address: &str) {
        self.given_up.insert((client, topic.to_owned(), address.to_owned()), facts.now);
    }

    /// I-18: one query at a time for a topic, and not too many.
    fn query(&mut self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let (client, node, topic) = (frame.client, frame.node, frame.topic());
        let config = &facts.clients[client].config;
        // The template is asked for on behalf of any number of topics.
        if *topic == *config.create_topic_key {
            return;
        }
        let timeout = nanos(config.request_timeout);
        let queries = self.queries.entry((client, node, topic.to_owned())).or_default();
        let over = self.found.get(&(client, topic.to_owned()));
        let address = facts.links.get(&frame.link).map_or("", |link| &link.address);
        let given_up = self.given_up.get(&(client, topic.to_owned(), address.to_owned()));
        if let Some((link, opaque, begun)) = queries.last
            && link == frame.link
            && frame.first_ns < begun.ns + timeout
            && !facts.answered(link, opaque)
            && given_up.is_none_or(|at| at.ns + STALL_MAX < begun.ns)
            && over.is_none_or(|over| *over < begun && !waited(&facts.links[&link], begun))
        {
            found.add(18, format!("{node:?} was asked twice at once for {topic}"));
        }
        queries.last = Some((frame.link, frame.command.opaque, frame.begun));
        queries.begun.push_back(frame.first_ns);
        // With sends waiting, a failed look-up is tried again after 100 to 200 ms.
        if queries.begun.len() >= 16 {
            let first = queries.begun.pop_front().unwrap_or(0);
            if frame.first_ns - first < SECOND && !queries.told {
                queries.told = true;
                let at = Duration::from_nanos(first);
                found.add(18, format!("{node:?} was asked 16 times in 1 s for {topic}, {at:?}"));
            }
        }
    }
}

impl Known {
    /// The client says that a route changed.
    fn changed(
        &mut self,
        facts: &Facts,
        client: usize,
        topic: &str,
        (brokers, queues): (u32, u32),
        found: &mut Found,
    ) {
        let client = &facts.clients[client];
        let key = &*client.config.create_topic_key;
        let says = |answered: &&Answered| {
            let template = (answered.topic == key && topic != key)
                .then_some(client.config.default_topic_queue_nums);
            let published = published(&answered.route, template);
            let sum = published.values().map(|count| u64::from(*count)).sum::<u64>();
            (answered.topic == topic || answered.topic == key)
                && published.len() == brokers as usize
                && sum == u64::from(queues)
        };
        let mut said = self.fresh.iter().rev().filter(says);
        let answered = said.next().cloned();
        let certain = said.next().is_none();
        match answered {
            Some(answered) => {
                if certain {
                    self.kept(facts, topic, &answered, found);
                }
                self.adopt(facts, client, &answered, Some(topic));
            }
            // Parts of a route from the default topic stay for a while.
            None if self.topics.get(topic).is_some_and(|view| view.vague) => {}
            None if self.unread => self.topics.entry(topic.to_owned()).or_default().vague = true,
            None => found.add(17, format!("the route of {topic} changed, but nobody said so")),
        }
    }

    /// I-17: a route that changes to what it was had been lost, and a topic only loses its route
    /// when no name server has known it for long.
    fn kept(&self, facts: &Facts, topic: &str, answered: &Answered, found: &mut Found) {
        let Some(view) = self.topics.get(topic).filter(|view| !view.vague && !self.unread) else {
            return;
        };
        let now = published(&answered.route, None);
        let same = view.sure.as_ref() == Some(&now) && view.maybe.iter().all(|it| *it == now);
        let passed = |since: Moment, long: u64| facts.now.ns.saturating_sub(since.ns) >= long;
        let lapsed = view.missing.is_some_and(|(since, _)| passed(since, GRACE));
        if same && answered.topic == topic && !lapsed && !passed(view.used, IDLE_MAX) {
            found.add(17, format!("the route of {topic} was lost before its time"));
        }
    }

    /// An answer was taken over for sure, for the topic that was asked for or for `another`.
    fn adopt(
        &mut self,
        facts: &Facts,
        client: &ClientFacts,
        answered: &Answered,
        another: Option<&str>,
    ) {
        let topic = another.unwrap_or(&answered.topic);
        let from_default = *topic != *answered.topic;
        let view = self.topics.entry(topic.to_owned()).or_default();
        view.vague |= from_default || !answered.route.static_queues.is_empty();
        let template = from_default.then_some(client.config.default_topic_queue_nums);
        let published = published(&answered.route, template);
        if view.vague {
            view.maybe.push(published);
        } else {
            if view.sure.as_ref() != Some(&published) {
                view.since = facts.now;
            }
            view.sure = Some(published);
            view.maybe.clear();
            view.missing = view.missing.filter(|(_, last)| *last > answered.at);
        }
        for broker in answered.route.brokers.iter().filter(|broker| is_somewhere(broker)) {
            let address = master_of(broker);
            let masters = self.masters.entry(broker.broker_name.clone()).or_default();
            // A route that came later, and changed nothing that is told, may name another again.
            let older = |it: &&mut Master| it.address != address && it.named < answered.at;
            for master in masters.iter_mut().filter(older) {
                master.until.get_or_insert(facts.now);
            }
        }
    }

    /// I-17: the queue is one of those in force.
    fn started(&self, facts: &Facts, send: usize, start: &Start, found: &mut Found) {
        let known = &facts.sends[send];
        let (broker, queue_id) = (&start.broker, start.queue_id);
        if !self.masters.contains_key(broker) {
            return found.add(17, format!("send #{send} goes to {broker}, which no route names"));
        }
        let Some(view) = self.topics.get(&known.topic).filter(|_| known.queue.is_none()) else {
            return;
        };
        let has = |published: &Published| published.get(broker).is_some_and(|n| queue_id < *n);
        if !self.unread && !view.sure.iter().chain(&view.maybe).any(has) {
            found.add(17, format!("send #{send} goes to {broker} {queue_id}, not in the route"));
        }
    }
}

/// The queues to which a producer may send. `template`: those of the default topic, at most so
/// many on each broker.
// Java: MQClientInstance#topicRouteData2TopicPublishInfo.
fn published(route: &TopicRoute, template: Option<u32>) -> Published {
    let mut published = Published::new();
    // Of a static topic only the highest number of each broker is known here.
    for part in &route.static_queues {
        let broker = route.brokers.iter().find(|it| it.broker_name == part.broker_name);
        let last = part.queues.keys().max().and_then(|last| u32::try_from(*last).ok());
        if let Some(last) = last.filter(|_| broker.is_some_and(|it| !master_of(it).is_empty())) {
            published.insert(part.broker_name.clone(), last + 1);
        }
    }
    if !route.static_queues.is_empty() {
        return published;
    }
    for queues in &route.queues {
        // Of two entries for one name the first counts.
        let broker = route.brokers.iter().find(|it| it.broker_name == queues.broker_name);
        let master = broker.is_some_and(|broker| !master_of(broker).is_empty());
        let count = match template {
            Some(most) => queues.read_queues.min(i64::from(most)),
            None => queues.write_queues,
        };
        let count = u32::try_from(count).unwrap_or(0);
        if master && count > 0 && queues.perm & PERM_WRITE != 0 {
            published.entry(queues.broker_name.clone()).or_insert(count);
        }
    }
    published
}

/// Whether a query may have waited for the dial, and for the pause before it, since a look-up that
/// is over: it is still sent, though nobody waits for its answer.
fn waited(link: &LinkFacts, begun: Moment) -> bool {
    let connected = link.connected.map_or(u64::MAX, |at| at.ns);
    begun.ns < connected.saturating_add(SECOND)
}

/// A broker without any address is as good as not named.
fn is_somewhere(broker: &BrokerData) -> bool {
    broker.addresses.values().any(|address| !address.is_empty())
}

/// The address of a broker's master; empty if there is none.
fn master_of(broker: &BrokerData) -> &str {
    let address = broker.addresses.get(&0).map_or("", String::as_str);
    if is_dialable(address) { address } else { "" }
}

/// Whether a text is a host and a port.
fn is_dialable(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let odd = |c: char| c.is_whitespace() || c.is_control() || ";,/".contains(c);
    !host.is_empty() && !host.contains(odd) && port.parse::<u16>().is_ok_and(|port| port > 0)
}
