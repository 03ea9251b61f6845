//! Requests other than sends: route queries, heartbeats, unregistering. Each ends once, with an
//! answer or with a reason why there is none.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::outbox::Owner;
use super::receive::remark_of;
use super::requests::Request;
use super::session::Queued;
use super::timers::{TimerId, TimerKey};
use super::transaction::End;
use super::{Client, Life};
use crate::error::{AttemptFailure, CloseReason};
use crate::id::ConnId;
use crate::output::{Event, EventSet};
use crate::query::QueryRequest;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::{Command, ResponseCode, property};

/// What a request is for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum ControlKind {
    /// The route of `name`, asked for by the look-up of `topic`.
    RouteQuery { topic: Key, name: Arc<str> },
    /// A heartbeat; as a `probe` it decides whether a silent connection lives.
    Heartbeat { probe: bool },
    /// A heartbeat by which the detector finds out whether a broker can be reached.
    Reach { broker: Key },
    /// The group is no longer served by this client.
    Unregister { group: Arc<str> },
    /// How a transaction ends, or that it is undecided.
    EndTransaction(Arc<End>),
    /// A question of the application.
    Query { query: Key, request: Arc<QueryRequest> },
}

/// A request that has not ended.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) kind: ControlKind,
    pub(super) endpoint: Key,
    pub(super) conn: Option<ConnId>,
    pub(super) opaque: Option<i32>,
    /// The socket has taken all of it.
    pub(super) written: bool,
    started: Instant,
    timer: TimerId,
}

impl Control {
    pub(super) fn is_heartbeat(&self) -> bool {
        matches!(self.kind, ControlKind::Heartbeat { .. } | ControlKind::Reach { .. })
    }
}

impl Client {
    /// Starts a request to an address, dialling if needed.
    pub(super) fn start_control(
        &mut self,
        endpoint: Key,
        kind: ControlKind,
        timeout: Duration,
    ) -> Key {
        let key = self.new_control(endpoint, kind, timeout);
        self.enqueue(endpoint, Queued::Control(key));
        key
    }

    /// Starts a request on one connection, before everything that waits there.
    pub(super) fn start_control_first(
        &mut self,
        conn: ConnId,
        kind: ControlKind,
        timeout: Duration,
    ) {
        let Some(endpoint) = self.session(conn).map(|session| session.endpoint) else {
            return;
        };
        let key = self.new_control(endpoint, kind, timeout);
        if let Some(control) = self.controls.get_mut(key) {
            control.conn = Some(conn);
        }
        if let Some(session) = self.session(conn) {
            session.queue.push_front(Queued::Control(key));
        }
        self.mark_dirty(conn);
    }

    fn new_control(&mut self, endpoint: Key, kind: ControlKind, timeout: Duration) -> Key {
        let key = self.controls.next_key();
        let timer = self.timers.schedule(self.now + timeout, TimerKey::Control(key));
        let started = self.now;
        let (conn, opaque, written) = (None, None, false);
        self.controls.insert(Control { kind, endpoint, conn, opaque, written, started, timer })
    }

    /// Ends a request without an answer.
    pub(super) fn control_failed(&mut self, key: Key, failure: AttemptFailure) {
        if planted!(RequestLeftAtClose)
            && matches!(failure, AttemptFailure::Closed(_))
            && let Some(control) = self.controls.get_mut(key)
        {
            return self.timers.cancel(&mut control.timer);
        }
        let Some(control) = self.end_control(key) else {
            return;
        };
        match &control.kind {
            ControlKind::RouteQuery { topic, .. } => self.query_failed(*topic, key, failure),
            ControlKind::Heartbeat { .. } => {
                self.heartbeat_failed(control.endpoint, failure);
                self.greeting_ended(control.endpoint, control.conn, false);
            }
            ControlKind::Reach { broker } => self.reach_failed(*broker, &failure),
            ControlKind::Unregister { group } => {
                self.finish_unregistering();
                self.group_left(control.conn, group);
            }
            ControlKind::EndTransaction(end) => self.end_unanswered(&control, end, failure),
            ControlKind::Query { query, .. } => self.query_lost(*query, failure),
        }
    }

    /// Ends a request with its answer.
    pub(super) fn control_answered(&mut self, key: Key, command: &Command<'_>, body: &[u8]) {
        let (code, remark) = (ResponseCode(command.code), remark_of(command));
        let Some(control) = self.end_control(key) else {
            return;
        };
        match &control.kind {
            ControlKind::RouteQuery { topic, .. } => {
                self.query_answered(*topic, key, code, remark, body);
            }
            ControlKind::Heartbeat { probe } => {
                if let Some(session) = control.conn.and_then(|conn| self.session(conn)) {
                    session.probing &= !*probe;
                }
                let well = code == ResponseCode::SUCCESS;
                if !well {
                    let failure = AttemptFailure::Answered { code, remark };
                    self.heartbeat_failed(control.endpoint, failure);
                }
                self.greeting_ended(control.endpoint, control.conn, well);
            }
            ControlKind::Reach { broker } => self.reach_answered(*broker, code),
            ControlKind::Unregister { group } => {
                self.finish_unregistering();
                self.group_left(control.conn, group);
            }
            ControlKind::EndTransaction(end) => {
                // Java: proxy AbstractRemotingActivity#writeResponse; brokers add nothing here.
                let proxied = command.ext_fields.get(property::MSG_REGION).is_some();
                self.end_answered(&control, end, code, remark, proxied);
            }
            ControlKind::Query { query, request } => {
                if self.has_traces() {
                    self.trace_recall(request, command);
                }
                self.query_reply(*query, command, body);
            }
        }
    }

    /// Ends greetings that are not on the wire yet: a client that says farewell greets nobody, for
    /// it would leave without another word.
    pub(super) fn end_greetings(&mut self) {
        let waits = |control: &Control| control.is_heartbeat() && control.opaque.is_none();
        let waiting = self.controls.iter().filter(|(_, control)| waits(control));
        let keys: Vec<Key> = waiting.map(|(key, _)| key).collect();
        for key in keys {
            self.end_control(key);
        }
    }

    /// The time of a request is over.
    pub(super) fn control_timeout(&mut self, key: Key) {
        self.take_back_end(key);
        let Some(control) = self.controls.get(key) else {
            return;
        };
        let (conn, started) = (control.conn, control.started);
        let probe = matches!(control.kind, ControlKind::Heartbeat { probe: true });
        let name_server = matches!(control.kind, ControlKind::RouteQuery { .. })
            || self.name_servers.contains(&control.endpoint);
        // How long a query may take is the application's choice: a short time shows nothing.
        let hasty =
            matches!(control.kind, ControlKind::Query { .. } | ControlKind::EndTransaction(_))
                && self.now.saturating_since(started) < self.config.request_timeout;
        // A request that waits behind large bodies says nothing about the peer; whether it takes
        // bytes at all is for the stalled write to say.
        let unsent = self.is_unsent(key, conn);
        if probe && unsent {
            let at = self.now + crate::limits::PROBE_TIMEOUT;
            let timer = self.timers.schedule(at, TimerKey::Control(key));
            if let Some(control) = self.controls.get_mut(key) {
                control.timer = timer;
            }
            return;
        }
        let connected = conn.and_then(|conn| self.session(conn)).is_some_and(|it| it.ready);
        let failure = match self.controls.get(key).map(|control| &control.kind) {
            // Nor does a question of the detector.
            Some(ControlKind::Reach { .. }) if unsent && connected => AttemptFailure::GivenUp,
            _ => self
                .credentials_awaited()
                .map_or(AttemptFailure::TimedOut, AttemptFailure::NoCredentials),
        };
        self.control_failed(key, failure);
        let Some(conn) = conn else { return };
        let Some(session) = self.session(conn) else {
            return;
        };
        session.probing &= !probe;
        let silent = session.ready && session.last_received <= started && !unsent && !hasty;
        // A name server has no heartbeat to be probed with, and nothing else to lose.
        if silent && (probe || name_server) && self.life != Life::Closed {
            self.close_session(conn, CloseReason::Silent, true);
        } else if silent {
            self.probe(conn);
        }
    }

    /// Whether the socket has not taken all of a request yet.
    fn is_unsent(&self, key: Key, conn: Option<ConnId>) -> bool {
        let queued = self.controls.get(key).is_some_and(|control| control.opaque.is_none());
        let session = conn.and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
        let owner = Owner::Control(key);
        queued || session.is_some_and(|session| session.outbox.owners().any(|o| o == owner))
    }

    /// Asks a silent connection for a sign of life, once at a time.
    pub(super) fn probe(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn) else {
            return;
        };
        if session.probing || !session.ready || planted!(ProbeForgotten) {
            return;
        }
        session.probing = true;
        let kind = ControlKind::Heartbeat { probe: true };
        self.start_control_first(conn, kind, crate::limits::PROBE_TIMEOUT);
    }

    pub(super) fn end_control(&mut self, key: Key) -> Option<Control> {
        let mut control = self.controls.remove(key)?;
        self.timers.cancel(&mut control.timer);
        if let (Some(conn), Some(opaque)) = (control.conn, control.opaque)
            && let Some(session) = self.session(conn)
        {
            // Absent if it was answered; then this does nothing.
            if let Some(other) = session.requests.remove(opaque) {
                debug_assert_eq!(other, Request::Control(key));
            }
            self.close_if_drained(conn);
        }
        Some(control)
    }

    fn heartbeat_failed(&mut self, endpoint: Key, failure: AttemptFailure) {
        if let Some(endpoint) = self.endpoints.get(endpoint) {
            let address = Arc::clone(&endpoint.text);
            self.event(EventSet::HEARTBEATS, || Event::HeartbeatFailed { address, failure });
        }
    }
}
