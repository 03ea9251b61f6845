//! Requests that wait for a reply, and the greetings by which brokers learn where replies go.
//!
//! A reply does not come from whoever gives it, but from the broker that it was sent to. That one
//! passes it on over the connection on which the requesting client has greeted it: so all brokers
//! of the cluster are greeted before the first request leaves.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::control::{Control, ControlKind};
use super::operation::OpState;
use super::publish::BrokerQueues;
use super::timers::{TimerId, TimerKey};
use super::{CancelOutcome, Client, Life};
use crate::id::{ConnId, OpId};
use crate::limits;
use crate::output::{Event, EventSet, Output};
use crate::request::{CorrelationId, NoReply, ReplyMessage, reply_topic};
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::wire::{Command, Encoding, ResponseCode, read_reply};

/// The requests of a client.
#[derive(Debug)]
pub(super) struct Replies {
    entries: Slab<Awaited>,
    by_id: BTreeMap<CorrelationId, Key>,
    /// Sends that wait until brokers are greeted.
    ungreeted: Vec<OpId>,
    /// There has been a request.
    used: bool,
}

/// A request without a reply.
#[derive(Debug)]
struct Awaited {
    correlation_id: CorrelationId,
    op: OpId,
    deadline: Instant,
    /// Set once a broker has the request; before, the send has a deadline of its own.
    timer: Option<TimerId>,
}

impl Replies {
    pub(super) fn new() -> Replies {
        let (by_id, ungreeted) = (BTreeMap::new(), Vec::new());
        Replies { entries: Slab::new(), by_id, ungreeted, used: false }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of two sends with one id, which a caller should not make, each sees its own.
    fn of_send(&mut self, id: &CorrelationId, op: OpId) -> Option<(Key, &mut Awaited)> {
        let key = *self.by_id.get(id)?;
        let entry = self.entries.get_mut(key).filter(|entry| entry.op == op)?;
        Some((key, entry))
    }

    fn take(&mut self, id: &CorrelationId) -> Option<Awaited> {
        self.entries.remove(self.by_id.remove(id)?)
    }
}

impl Client {
    /// Nobody waits for the reply to a request any more. If it comes, it is an
    /// [`Event::StrayReply`]. The send goes on; see [`Client::cancel`].
    pub fn forget_request(&mut self, now: Instant, id: CorrelationId) {
        self.advance(now);
        if let Some(mut timer) = self.replies.take(&id).and_then(|entry| entry.timer) {
            self.timers.cancel(&mut timer);
        }
        self.check_drained();
    }

    /// Takes a request in, unless there are too many or its id is in use.
    pub(super) fn begin_request(&mut self, id: CorrelationId, op: OpId, deadline: Instant) -> bool {
        let replies = &mut self.replies;
        if replies.by_id.contains_key(&id) || replies.entries.len() >= limits::REQUESTS_MAX {
            return false;
        }
        replies.used = true;
        let entry = Awaited { correlation_id: id, op, deadline, timer: None };
        let key = replies.entries.insert(entry);
        replies.by_id.insert(id, key);
        true
    }

    /// A broker has stored a request: from now on it is the reply that is waited for.
    pub(super) fn request_stored(&mut self, id: &CorrelationId, op: OpId) {
        if let Some((key, entry)) = self.replies.of_send(id, op) {
            entry.timer = Some(self.timers.schedule(entry.deadline, TimerKey::Reply(key)));
        }
    }

    /// The send of a request has failed, and says so itself.
    pub(super) fn request_failed(&mut self, id: &CorrelationId, op: OpId) {
        if self.replies.of_send(id, op).is_some() {
            self.replies.take(id);
        }
    }

    /// No reply has come in time.
    pub(super) fn reply_timeout(&mut self, key: Key) {
        let Some(id) = self.replies.entries.get(key).map(|entry| entry.correlation_id) else {
            return;
        };
        self.replies.take(&id);
        self.outputs
            .push_back(Output::Replied { correlation_id: id, result: Err(NoReply::TimedOut) });
        self.check_drained();
    }

    /// The client closes, and no reply is waited for any more.
    pub(super) fn end_requests(&mut self) {
        self.replies.ungreeted.clear();
        for (correlation_id, key) in core::mem::take(&mut self.replies.by_id) {
            let Some(entry) = self.replies.entries.remove(key) else { continue };
            if let Some(mut timer) = entry.timer {
                self.timers.cancel(&mut timer);
                let result = Err(NoReply::Closed);
                self.outputs.push_back(Output::Replied { correlation_id, result });
            }
        }
    }

    // ---- The reply --------------------------------------------------------------------------

    /// A broker passes a reply on.
    // Java: ClientRemotingProcessor#receiveReplyMessage, which answers well to whatever it can read
    pub(super) fn replied(
        &mut self,
        conn: ConnId,
        encoding: Encoding,
        command: &Command<'_>,
        body: &[u8],
    ) {
        let Some(reply) = read_reply(command, body) else {
            let (code, now) = (command.code, self.now);
            if self.session(conn).is_some_and(|session| session.may_refuse(now)) {
                self.answer(conn, encoding, command, ResponseCode::SYSTEM_ERROR, UNREADABLE);
            }
            self.event(EventSet::STRAYS, || Event::RequestRefused { conn, code });
            return;
        };
        let correlation_id = reply.correlation_id();
        let awaited = correlation_id.and_then(|id| self.replies.take(&id));
        self.answer(conn, encoding, command, ResponseCode::SUCCESS, "");
        match awaited {
            Some(awaited) => self.hand_out(awaited, reply),
            None => {
                let address = self.address_of(conn);
                let producer_group = reply.producer_group;
                self.event(EventSet::STRAYS, || Event::StrayReply {
                    address,
                    correlation_id,
                    producer_group,
                });
            }
        }
    }

    fn hand_out(&mut self, awaited: Awaited, reply: ReplyMessage) {
        let Awaited { correlation_id, op, timer, .. } = awaited;
        let result = Ok(Box::new(reply));
        self.outputs.push_back(Output::Replied { correlation_id, result });
        match timer {
            Some(mut timer) => self.timers.cancel(&mut timer),
            // It has been stored, whatever its broker says of it: no further attempt.
            None => {
                if let CancelOutcome::Ended(error) = self.give_up(op) {
                    self.complete(op, Err(error));
                }
            }
        }
        self.check_drained();
    }

    // ---- Greetings --------------------------------------------------------------------------

    /// Greets the brokers of the cluster that have not answered a greeting on their connection.
    /// Whether the send has to wait for that; then it goes on by itself.
    // Java: DefaultMQProducerImpl#prepareSendRequest, which greets once when it learns of a topic
    #[cold]
    pub(super) fn greet_for(&mut self, id: OpId) -> bool {
        let now = self.now;
        let Some(op) = self.ops.get(id) else { return false };
        let first = op.state != OpState::Greeting;
        let remaining = op.command.deadline.saturating_since(now);
        let waits = self.life == Life::Running && self.greet_cluster(op.topic, first);
        let Some(op) = self.ops.get_mut(id) else { return waits };
        if !waits {
            op.greeted = true;
            op.state = OpState::Begun;
            self.timers.cancel(&mut op.timer);
            return false;
        }
        if first {
            op.state = OpState::Greeting;
            self.timers.cancel(&mut op.timer);
            let until = now + remaining / limits::GREETING_SHARE;
            op.timer = self.timers.schedule(until, TimerKey::Op(id));
        }
        let (ungreeted, ops) = (&mut self.replies.ungreeted, &self.ops);
        ungreeted.push(id);
        if ungreeted.len() > 2 * self.replies.entries.len() + 64 {
            ungreeted.retain(|id| ops.get(*id).is_some_and(|op| op.state == OpState::Greeting));
        }
        true
    }

    /// The time for greetings is over: the request leaves without them.
    pub(super) fn greeting_timeout(&mut self, id: OpId) {
        if let Some(op) = self.ops.get_mut(id) {
            op.greeted = true;
            op.state = OpState::Begun;
        }
        self.next_attempt(id);
    }

    /// Something that requests wait for has ended.
    #[inline]
    pub(super) fn go_on_greeting(&mut self) {
        if !self.replies.ungreeted.is_empty() {
            self.greet_again();
        }
    }

    #[cold]
    fn greet_again(&mut self) {
        let ungreeted = core::mem::take(&mut self.replies.ungreeted);
        // Most wait for the same brokers: each topic is looked at once.
        let mut waiting: Vec<Key> = Vec::new();
        for id in ungreeted {
            let Some(op) = self.ops.get(id).filter(|op| op.state == OpState::Greeting) else {
                continue;
            };
            let topic = op.topic;
            if waiting.contains(&topic) {
                self.replies.ungreeted.push(id);
                continue;
            }
            self.next_attempt(id);
            if self.ops.get(id).is_some_and(|op| op.state == OpState::Greeting) {
                waiting.push(topic);
            }
        }
    }

    /// Whether an answer is awaited from a broker to which replies for this topic's consumers may
    /// be sent. `first`: those are greeted as well that did not answer before.
    fn greet_cluster(&mut self, topic: Key, first: bool) -> bool {
        let clusters = self.topics.get(topic).map(|topic| Arc::clone(&topic.clusters));
        let mut waits = false;
        let mut endpoints: Vec<Key> = Vec::new();
        for cluster in clusters.iter().flat_map(|clusters| clusters.iter()) {
            let Some(key) = self.system_topic(&reply_topic(cluster)) else { continue };
            if first && self.topics.get(key).is_some_and(|it| it.route.is_none()) {
                self.look_up_replies(key);
            }
            let Some(topic) = self.topics.get_mut(key) else { continue };
            topic.last_used = self.now;
            match &topic.route {
                Some(route) => {
                    let brokers = route.publish.brokers().iter();
                    let greeted = |queues: &BrokerQueues| self.brokers.get(queues.broker)?.greeted;
                    endpoints.extend(brokers.filter_map(greeted));
                }
                None => waits |= topic.lookup.is_some(),
            }
        }
        endpoints.sort_unstable();
        endpoints.dedup();
        for endpoint in endpoints {
            waits |= !self.is_greeted(endpoint) && self.greet(endpoint, first);
        }
        waits
    }

    fn look_up_replies(&mut self, key: Key) {
        let fresh = |at: Instant| self.now.saturating_since(at) < limits::LOOKUP_INTERVAL_MIN;
        let topic = self.topics.get(key);
        if topic.is_some_and(|topic| !topic.not_found_at.is_some_and(fresh)) {
            self.start_lookup(key);
        }
    }

    fn is_greeted(&self, endpoint: Key) -> bool {
        let session =
            self.conn_to(endpoint).and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
        session.is_some_and(|session| session.greeted && !session.draining)
    }

    /// Greets a broker unless that is under way. Whether its answer is worth waiting for.
    fn greet(&mut self, endpoint: Key, first: bool) -> bool {
        let greets = |kind: &ControlKind| {
            matches!(kind, ControlKind::Heartbeat { .. } | ControlKind::Unregister { .. })
        };
        let greets = |(_, it): (Key, &Control)| it.endpoint == endpoint && greets(&it.kind);
        let greets = self.controls.iter().any(greets)
            || self.conn_to(endpoint).is_some_and(|conn| self.be_found_again(conn));
        let deaf = |client: &Client| client.endpoints.get(endpoint).is_none_or(|it| it.deaf);
        if !greets && (first || !deaf(self)) {
            let kind = ControlKind::Heartbeat { probe: false };
            self.start_control(endpoint, kind, self.config.request_timeout);
        }
        !deaf(self)
    }

    /// A greeting was answered, well or not, or never.
    pub(super) fn greeting_ended(&mut self, endpoint: Key, conn: Option<ConnId>, well: bool) {
        let leaves = |(_, it): (Key, &Control)| {
            it.conn == conn && matches!(it.kind, ControlKind::Unregister { .. })
        };
        // What a group that is about to leave takes along is seen when it has left.
        let well_known = well && !self.controls.iter().any(leaves);
        if let Some(session) = conn.and_then(|conn| self.session(conn)) {
            session.greeted |= well_known;
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.deaf = !well;
        }
        self.go_on_greeting();
    }

    /// A broker was told that a group has gone, and forgets with any group by which connection
    /// replies reach this client. It notes that again with the first heartbeat of a group that it
    /// does not know: so another group goes, and comes back. Only for those who send requests.
    // Java: ProducerManager#unregisterProducer, #registerProducer
    pub(super) fn group_left(&mut self, conn: Option<ConnId>, group: &Arc<str>) {
        let used = self.replies.used;
        let running = matches!(self.life, Life::Running | Life::Draining);
        let came_back = self.groups.iter().flatten().any(|known| known == group);
        let Some(conn) = conn.filter(|_| running) else { return };
        let Some(session) = self.session(conn).filter(|session| !session.draining) else { return };
        session.greeted = false;
        session.forgotten = !came_back;
        if came_back {
            let kind = ControlKind::Heartbeat { probe: false };
            self.start_control_first(conn, kind, self.config.request_timeout);
        } else if used {
            self.be_found_again(conn);
        }
    }

    /// Has a group leave a broker that has forgotten this client. Whether there is one.
    fn be_found_again(&mut self, conn: ConnId) -> bool {
        let group = self.groups.iter().flatten().next().map(Arc::clone);
        let session = self.session(conn).filter(|session| session.forgotten);
        let (Some(session), Some(group)) = (session, group) else { return false };
        session.forgotten = false;
        let kind = ControlKind::Unregister { group };
        self.start_control_first(conn, kind, self.config.request_timeout);
        true
    }
}

/// What a broker is told of a reply that cannot be read.
const UNREADABLE: &str = "the reply cannot be read";

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::config::Config;

    const A: OpId = OpId { index: 0, generation: 0 };
    const B: OpId = OpId { index: 1, generation: 0 };

    fn client() -> Client {
        let config = Config::builder("10.0.0.1:9876").build().unwrap();
        let mut client = Client::new(config, 1, Instant::ZERO);
        client.register(Instant::ZERO, "shop").unwrap();
        client
    }

    fn replies(client: &mut Client) -> Vec<(CorrelationId, Option<NoReply>)> {
        let mut replies = Vec::new();
        while let Some(output) = client.poll_output() {
            if let Output::Replied { correlation_id, result } = output {
                replies.push((correlation_id, result.err()));
            }
        }
        replies
    }

    #[test]
    fn a_stored_request_ends_with_its_time_or_with_the_client() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let [first, second, third] = [1, 2, 3].map(CorrelationId::from_random);
        let mut client = client();
        let timers = client.table_sizes().timers;
        for (id, op, deadline) in [(first, A, at(1)), (second, B, at(60)), (third, B, at(60))] {
            assert!(client.begin_request(id, op, deadline));
            client.request_stored(&id, op);
        }
        client.handle_timeout(at(1));
        assert_eq!(replies(&mut client), [(first, Some(NoReply::TimedOut))]);
        client.forget_request(at(2), third);
        assert_eq!((client.table_sizes().replies, client.replies.by_id.len()), (1, 1));
        assert_eq!(client.table_sizes().timers, timers + 1);
        client.shutdown(at(2), at(3));
        assert_eq!(replies(&mut client), []);
        client.handle_timeout(at(3));
        assert_eq!(replies(&mut client), [(second, Some(NoReply::Closed))]);
        assert_eq!((client.table_sizes().replies, client.table_sizes().timers), (0, 0));
    }

    #[test]
    fn of_two_sends_with_one_id_each_sees_its_own() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let id = CorrelationId::from_random(7);
        let mut client = client();
        assert!(client.begin_request(id, A, at(1)));
        assert!(!client.begin_request(id, B, at(9)), "in use");
        client.forget_request(at(0), id);
        assert!(client.begin_request(id, B, at(9)));
        let timers = client.table_sizes().timers;
        client.request_stored(&id, A);
        client.request_failed(&id, A);
        assert_eq!(client.table_sizes().timers, timers);
        client.request_stored(&id, B);
        client.handle_timeout(at(8));
        assert_eq!(replies(&mut client), []);
        client.handle_timeout(at(9));
        assert_eq!(replies(&mut client), [(id, Some(NoReply::TimedOut))]);
    }
}
