//! Route look-ups: one at a time per topic, fail-over between name servers inside one budget.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::control::ControlKind;
use super::operation::OpState;
use super::timers::TimerKey;
use super::{Client, Life};
use crate::error::{AttemptFailure, ConnectFailure, NameServerFailure, NotReady, SendErrorKind};
use crate::id::OpId;
use crate::limits;
use crate::output::{Event, EventSet, Output};
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::{ResponseCode, decode_route};

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Lookup {
    /// The topic itself as it is called on the wire, or the default topic from which it may be
    /// created.
    name: Arc<str>,
    from_default: bool,
    deadline: Instant,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    server: Key,
    control: Key,
    outcome: Outcome,
}

#[derive(Clone, PartialEq, Debug)]
enum Outcome {
    Pending,
    NotFound,
    Failed(AttemptFailure),
}

impl Client {
    /// Sends the message if the topic's route is known, or makes it wait for the route.
    #[inline]
    pub(super) fn route_and_attempt(&mut self, id: OpId) {
        let now = self.now;
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        let key = op.topic;
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        topic.last_used = now;
        if topic.route.is_some() {
            return self.next_attempt(id);
        }
        let fresh = |at: Instant| now.saturating_since(at) < limits::LOOKUP_INTERVAL_MIN;
        if topic.not_found_at.is_some_and(fresh) {
            return self.fail_not_found(id);
        }
        topic.wait(id);
        op.state = OpState::Routing;
        op.timer = self.timers.schedule(op.command.deadline, TimerKey::Op(id));
        // After a look-up that failed the next one has its time, however many sends come by then.
        if topic.lookup.is_some() || topic.timer == super::TimerId::NONE {
            self.start_lookup(key);
        }
    }

    /// Starts a look-up unless one is under way or about to start.
    pub(super) fn start_lookup(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        let under_way = topic.lookup.is_some() && !planted!(LookupTwice);
        // Without a name server it begins when there is one.
        if under_way || self.life == Life::Closed || self.name_servers.is_empty() {
            return;
        }
        let name = Arc::clone(&topic.wire);
        self.begin_lookup(key, name, false);
    }

    fn begin_lookup(&mut self, key: Key, name: Arc<str>, from_default: bool) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        self.timers.cancel(&mut topic.timer);
        topic.last_lookup = Some(now);
        let deadline = now + self.config.request_timeout;
        topic.lookup = Some(Lookup { name, from_default, deadline, asked: Vec::new() });
        self.ask_next_name_server(key);
    }

    /// Looks a topic up soon because a send to it failed in a way that a new route may mend.
    pub(super) fn refresh_soon(&mut self, key: Key, id: OpId, code: ResponseCode) {
        if code == ResponseCode::TOPIC_NOT_EXIST {
            let current = self.ops.get(id).and_then(|op| op.current.as_ref());
            if let Some(broker) = current.map(|current| current.broker) {
                self.exclude_from_default_route(key, broker);
            }
        }
        let now = self.now;
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        if topic.lookup.is_some() || planted!(RefreshSoonForgotten) {
            return;
        }
        let earliest = topic.last_lookup.map_or(now, |at| at + limits::LOOKUP_INTERVAL_MIN);
        if earliest <= now {
            return self.start_lookup(key);
        }
        // A refresh that failed has its next try later than that.
        self.timers.cancel(&mut topic.timer);
        topic.timer = self.timers.schedule(earliest, TimerKey::Topic(key));
    }

    /// When a look-up that [`Client::refresh_soon`] was asked for begins, or now if it has begun.
    pub(super) fn lookup_due(&self, key: Key) -> Instant {
        let waiting = self.topics.get(key).filter(|topic| topic.lookup.is_none());
        let earliest = waiting.and_then(|topic| topic.last_lookup);
        earliest.map_or(self.now, |at| (at + limits::LOOKUP_INTERVAL_MIN).max(self.now))
    }

    /// Whether the topic's queues may move between brokers.
    pub(super) fn is_static(&self, key: Key) -> bool {
        let route = self.topics.get(key).and_then(|topic| topic.route.as_ref());
        route.is_some_and(|route| route.publish.is_static())
    }

    /// Refreshes all routes, on the named timer.
    pub(super) fn refresh_routes(&mut self) {
        let period = self.config.route_refresh.period;
        // Up to a tenth early, so that clients started together spread out.
        let wait = period - period / 5 + self.rng.jitter(period / 5);
        self.timers.schedule(self.now + wait, TimerKey::RouteRefresh);
        for key in self.topics.keys() {
            let known = || self.topics.get(key).is_some_and(|topic| topic.route.is_some());
            if planted!(RouteKeptForEver) && known() {
                continue;
            }
            self.start_lookup(key);
        }
    }

    /// Asks the next name server that this look-up has not asked. Servers that cannot be dialled
    /// right now come last.
    fn ask_next_name_server(&mut self, key: Key) -> bool {
        let (now, servers) = (self.now, self.name_servers.len());
        let Some(topic) = self.topics.get(key) else {
            return false;
        };
        let Some(lookup) = topic.lookup.as_ref() else {
            return false;
        };
        let servers = if planted!(NameServerNotRotated) { 1 } else { servers };
        let unasked = |server: &Key| !lookup.asked.iter().any(|asked| asked.server == *server);
        let order = (0..servers).map(|step| (self.chosen_name_server + step) % servers);
        let order: Vec<Key> = order
            .filter_map(|index| self.name_servers.get(index).copied())
            .filter(unasked)
            .collect();
        let live = |server: &&Key| {
            let endpoint = self.endpoints.get(**server);
            endpoint.is_some_and(|e| e.conn.is_some() || e.retry_at <= now)
        };
        let Some(server) = order.iter().find(live).or(order.first()).copied() else {
            return false;
        };
        let (name, deadline) = (Arc::clone(&lookup.name), lookup.deadline);
        let more = order.len() > 1;
        let kind = ControlKind::RouteQuery { topic: key, name };
        let control = self.start_control(server, kind, deadline.saturating_since(now));
        let patience = self.config.name_server_patience;
        let Some(topic) = self.topics.get_mut(key) else {
            return false;
        };
        if let Some(lookup) = topic.lookup.as_mut() {
            lookup.asked.push(Asked { server, control, outcome: Outcome::Pending });
        }
        self.timers.cancel(&mut topic.timer);
        if more {
            topic.timer = self.timers.schedule(now + patience, TimerKey::Topic(key));
        }
        true
    }

    /// Patience with a name server is over, or a look-up is to start.
    pub(super) fn lookup_timeout(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        topic.timer = super::TimerId::NONE;
        if topic.lookup.is_some() {
            self.ask_next_name_server(key);
        } else {
            self.start_lookup(key);
        }
    }

    /// A name server did not answer.
    pub(super) fn query_failed(&mut self, key: Key, control: Key, failure: AttemptFailure) {
        self.query_ended(key, control, Outcome::Failed(failure));
    }

    /// A name server answered.
    pub(super) fn query_answered(
        &mut self,
        key: Key,
        control: Key,
        code: ResponseCode,
        remark: Box<str>,
        body: &[u8],
    ) {
        let Some(server) = self.asked_server(key, control) else {
            return;
        };
        let outcome = match code {
            ResponseCode::SUCCESS => match decode_route(body) {
                Ok(route) => {
                    self.name_server_works(server);
                    let Some(topic) = self.topics.get_mut(key) else {
                        return;
                    };
                    self.timers.cancel(&mut topic.timer);
                    let Some(lookup) = topic.lookup.take() else {
                        return;
                    };
                    self.adopt_route(key, &route, lookup.from_default);
                    return;
                }
                Err(error) => Outcome::Failed(AttemptFailure::BadRoute(error.to_string().into())),
            },
            ResponseCode::TOPIC_NOT_EXIST => {
                self.name_server_works(server);
                Outcome::NotFound
            }
            _ => Outcome::Failed(AttemptFailure::Answered { code, remark }),
        };
        self.query_ended(key, control, outcome);
    }

    fn asked_server(&self, key: Key, control: Key) -> Option<Key> {
        let lookup = self.topics.get(key)?.lookup.as_ref()?;
        lookup.asked.iter().find(|asked| asked.control == control).map(|asked| asked.server)
    }

    fn name_server_works(&mut self, server: Key) {
        if let Some(index) = self.name_servers.iter().position(|known| *known == server) {
            self.chosen_name_server = index;
        }
        self.name_server_answered = true;
        for waiter in core::mem::take(&mut self.ready_waiters) {
            self.timers.cancel(&mut { waiter.timer });
            let output = Output::Ready { waiter: waiter.waiter, result: Ok(()) };
            self.outputs.push_back(output);
        }
    }

    fn query_ended(&mut self, key: Key, control: Key, outcome: Outcome) {
        let Some(server) = self.asked_server(key, control) else {
            return;
        };
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        let name = Arc::clone(&topic.name);
        let Some(lookup) = topic.lookup.as_mut() else {
            return;
        };
        for asked in lookup.asked.iter_mut().filter(|asked| asked.control == control) {
            asked.outcome = outcome.clone();
        }
        let address = self.endpoints.get(server).map(|endpoint| Arc::clone(&endpoint.text));
        if let (Outcome::Failed(failure), Some(address)) = (outcome, address) {
            self.event(EventSet::ROUTES, || Event::RouteFailed { topic: name, address, failure });
        }
        // The event took the machine for itself: look again.
        let lookup = self.topics.get(key).and_then(|topic| topic.lookup.as_ref());
        let Some(lookup) = lookup else { return };
        let in_time = self.now < lookup.deadline;
        let pending = lookup.asked.iter().any(|asked| asked.outcome == Outcome::Pending);
        if in_time && self.ask_next_name_server(key) {
            return;
        }
        if !pending {
            self.conclude_lookup(key);
        }
    }

    /// Every name server was asked and none gave a route.
    fn conclude_lookup(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        self.timers.cancel(&mut topic.timer);
        let Some(lookup) = topic.lookup.take() else {
            return;
        };
        let known = topic.route.is_some();
        if lookup.asked.iter().any(|asked| asked.outcome == Outcome::NotFound) {
            let default: Arc<str> = (*self.config.create_topic_key).into();
            if self.config.create_topics && !known && lookup.name != default {
                return self.begin_lookup(key, default, true);
            }
            let mut said = self.failures_of(&lookup);
            said.extend(self.not_found_by(key, &lookup));
            return self.topic_not_found(key, said);
        }
        let failures = self.failures_of(&lookup);
        let denied = Client::denial_among(failures.iter().map(|server| &server.failure)).is_some();
        if let Some(topic) = self.topics.get_mut(key) {
            topic.failures = failures;
        }
        if denied && !known {
            self.fail_denied(key);
        }
        let wanted = self.is_lookup_wanted(key);
        let pause = if wanted { limits::LOOKUP_RETRY } else { limits::REFRESH_RETRY };
        let declared = self.is_declared(key);
        let mut wait = self.rng.jitter(pause);
        if planted!(LookupStorm) {
            wait = core::time::Duration::ZERO;
        }
        let Some(topic) = self.topics.get_mut(key) else {
            return;
        };
        if planted!(RouteDroppedOnError) {
            topic.route = None;
        }
        if wanted || known || declared {
            topic.timer = self.timers.schedule(self.now + wait, TimerKey::Topic(key));
        }
        self.tidy_waiters(key);
        self.go_on_greeting();
    }

    /// Ends the sends that wait for a route, because whoever would give it refuses this client.
    fn fail_denied(&mut self, key: Key) {
        let waiters = self.topics.get_mut(key).map(|topic| topic.take_waiters());
        for op in waiters.unwrap_or_default() {
            if self.stops_routing(op) {
                self.fail_without_route(op);
            }
        }
    }

    pub(super) fn is_lookup_wanted(&self, key: Key) -> bool {
        let Some(topic) = self.topics.get(key) else {
            return false;
        };
        let for_readiness =
            !self.ready_waiters.is_empty() && *topic.name == *self.config.create_topic_key;
        topic.has_waiters() || for_readiness
    }

    fn failures_of(&self, lookup: &Lookup) -> Vec<NameServerFailure> {
        let failure = |asked: &Asked| {
            let failure = match &asked.outcome {
                Outcome::Failed(failure) => failure.clone(),
                Outcome::Pending => self.pending_failure(asked.server),
                Outcome::NotFound => return None,
            };
            let address = Arc::clone(&self.endpoints.get(asked.server)?.text);
            Some(NameServerFailure { address, failure })
        };
        lookup.asked.iter().filter_map(failure).collect()
    }

    /// The name servers that said that the topic does not exist.
    fn not_found_by(&self, key: Key, lookup: &Lookup) -> Vec<NameServerFailure> {
        let topic = self.topics.get(key).filter(|_| !lookup.from_default);
        let name = topic.map_or(&lookup.name, |topic| &topic.name);
        let said = |asked: &Asked| {
            let found = asked.outcome != Outcome::NotFound;
            let address = Arc::clone(&self.endpoints.get(asked.server).filter(|_| !found)?.text);
            let code = ResponseCode::TOPIC_NOT_EXIST;
            let remark = alloc::format!("no route for \"{name}\"").into();
            Some(NameServerFailure { address, failure: AttemptFailure::Answered { code, remark } })
        };
        lookup.asked.iter().filter_map(said).collect()
    }

    /// Ends a send to a topic that no name server knows.
    pub(super) fn fail_not_found(&mut self, id: OpId) {
        let Some(key) = self.ops.get(id).map(|op| op.topic) else { return };
        let said = self.topics.get(key).map(|topic| topic.failures.clone()).unwrap_or_default();
        if let Some((error, _)) = self.end_failed(id, SendErrorKind::TopicNotFound) {
            self.complete(id, Err(error.with_name_servers(said)));
        }
    }

    /// What to say of a name server that has not answered yet.
    pub(super) fn pending_failure(&self, server: Key) -> AttemptFailure {
        let Some(endpoint) = self.endpoints.get(server) else {
            return AttemptFailure::TimedOut;
        };
        let session = endpoint.conn.and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
        match (endpoint.last_failure, session) {
            (_, Some(session)) if session.ready => self
                .credentials_awaited()
                .map_or(AttemptFailure::TimedOut, AttemptFailure::NoCredentials),
            // The dial before says more than the one that is under way.
            (Some(failure), _) => AttemptFailure::Connect(failure),
            (_, Some(_)) => AttemptFailure::Connect(ConnectFailure::TimedOut),
            (None, None) => AttemptFailure::TimedOut,
        }
    }

    /// What the name servers did, for the error of a send or a wait that got no route.
    pub(super) fn name_server_failures(&self, key: Key) -> Vec<NameServerFailure> {
        let Some(topic) = self.topics.get(key) else {
            return Vec::new();
        };
        let mut failures = topic.failures.clone();
        failures.extend(self.discovery_failure());
        for failure in topic.lookup.iter().flat_map(|lookup| self.failures_of(lookup)) {
            // What is known of a server beats that it has not answered this time.
            let known = failures.iter_mut().find(|known| known.address == failure.address);
            match known {
                Some(known) if !is_silence(&failure.failure) => *known = failure,
                Some(_) => {}
                None => failures.push(failure),
            }
        }
        failures
    }

    /// The time of a send is over before there was a route.
    pub(super) fn fail_without_route(&mut self, id: OpId) {
        let Some(op) = self.ops.get(id) else { return };
        let key = op.topic;
        let failures = self.name_server_failures(key);
        let said = failures.iter().map(|server| &server.failure);
        let kind = match (self.credentials_awaited(), Client::denial_among(said)) {
            (Some(failure), _) => SendErrorKind::NoCredentials(failure),
            (None, Some(denial)) => denial,
            (None, None) if failures.is_empty() => SendErrorKind::Timeout,
            (None, None) => SendErrorKind::NameServerUnreachable,
        };
        if let Some((error, _)) = self.end_failed(id, kind) {
            self.complete(id, Err(error.with_name_servers(failures)));
        }
        self.tidy_waiters(key);
    }

    // ---- Readiness --------------------------------------------------------------------------

    /// Asks for the default topic's route: any answer shows that a name server is there.
    pub(super) fn look_up_for_readiness(&mut self) {
        let name = self.config.create_topic_key.clone();
        if let Some(key) = self.topic(&name) {
            if let Some(topic) = self.topics.get_mut(key) {
                topic.last_used = self.now;
            }
            self.start_lookup(key);
        }
    }

    pub(super) fn ready_timeout(&mut self, waiter: u64) {
        let Some(index) = self.ready_waiters.iter().position(|w| w.waiter == waiter) else {
            return;
        };
        self.ready_waiters.remove(index);
        let key = self.topics_by_name.get(&*self.config.create_topic_key).copied();
        let name_servers = match key {
            Some(key) => self.name_server_failures(key),
            None => self.discovery_failure().into_iter().collect(),
        };
        let result = Err(NotReady { name_servers });
        self.outputs.push_back(Output::Ready { waiter, result });
    }
}

/// Nothing has come, neither an answer nor a connection: the server may still be at it.
fn is_silence(failure: &AttemptFailure) -> bool {
    let dials = AttemptFailure::Connect(ConnectFailure::TimedOut);
    *failure == AttemptFailure::TimedOut || *failure == dials
}
