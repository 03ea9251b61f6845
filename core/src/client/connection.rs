//! Addresses and their connections: dialling, framing, what the socket took, and the end.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::operation::Mode;
use super::outbox::Owner;
use super::requests::Request;
use super::session::{Queued, Session};
use super::timers::{TimerId, TimerKey};
use super::verdict::Next;
use super::{Client, Life};
use crate::address::Address;
use crate::error::{AttemptFailure, CloseReason, ConnectFailure};
use crate::id::{ConnId, OpId};
use crate::limits;
use crate::output::{Event, EventSet, Output};
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::ResponseCode;

/// An address that a name server list or a route names. It has one connection at most that takes
/// new requests.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: Arc<Address>,
    pub(super) text: Arc<str>,
    pub(super) conn: Option<ConnId>,
    /// Dials, and connections that never brought a frame, since the last one that did.
    failures: u32,
    pub(super) retry_at: Instant,
    pub(super) last_failure: Option<ConnectFailure>,
    /// Requests that wait for the dial to be allowed.
    waiting: VecDeque<Queued>,
    timer: TimerId,
    /// Waits for a slot to dial: `true` if something but a greeting waits for it.
    in_dial_queue: Option<bool>,
    /// The last greeting was not answered well.
    pub(super) deaf: bool,
}

impl Client {
    /// The connection to an address, be it still dialling.
    pub(super) fn conn_to(&self, endpoint: Key) -> Option<ConnId> {
        self.endpoints.get(endpoint)?.conn
    }

    /// The entry of an address, made if it is new.
    pub(super) fn endpoint(&mut self, address: Address) -> Key {
        if let Some(key) = self.endpoints_by_address.get(&address) {
            return *key;
        }
        let text: Arc<str> = address.to_string().into();
        let address = Arc::new(address);
        let key = self.endpoints.insert(Endpoint {
            address: Arc::clone(&address),
            text,
            conn: None,
            failures: 0,
            retry_at: Instant::ZERO,
            last_failure: None,
            waiting: VecDeque::new(),
            timer: TimerId::NONE,
            in_dial_queue: None,
            deaf: false,
        });
        self.endpoints_by_address.insert(address, key);
        key
    }

    /// Forgets an address unless something still names it. Its connection finishes what is under
    /// way and closes.
    pub(super) fn release_endpoint(&mut self, key: Key) {
        if self.is_endpoint_used(key) {
            return;
        }
        let Some(mut endpoint) = self.endpoints.remove(key) else {
            return;
        };
        self.endpoints_by_address.remove(&endpoint.address);
        self.timers.cancel(&mut endpoint.timer);
        if let Some(conn) = endpoint.conn {
            if let Some(session) = self.session(conn) {
                session.draining = true;
            }
            self.close_if_drained(conn);
        }
        for queued in endpoint.waiting {
            self.not_framed(queued, &AttemptFailure::NoAddress);
        }
    }

    /// Hands a request to the address' connection, dialling if there is none.
    pub(super) fn enqueue(&mut self, key: Key, queued: Queued) {
        let Some(endpoint) = self.endpoints.get_mut(key) else {
            self.not_framed(queued, &AttemptFailure::NoAddress);
            return;
        };
        let Some(conn) = endpoint.conn.filter(|_| !planted!(DialledTwice)) else {
            endpoint.waiting.push_back(queued);
            self.dial_if_due(key);
            return;
        };
        self.assign(queued, Some(conn));
        self.enqueue_on(conn, queued);
    }

    /// Has a request framed on this connection, which it knows to be its own.
    #[inline]
    pub(super) fn enqueue_on(&mut self, conn: ConnId, queued: Queued) {
        if let Some(session) = self.sessions.get_mut(Key::from_u64(conn.0)) {
            session.queue.push_back(queued);
            if session.ready && !session.dirty {
                session.dirty = true;
                self.dirty.push_back(conn);
            }
        }
    }

    fn dial_if_due(&mut self, key: Key) {
        let now = self.now;
        let Some(endpoint) = self.endpoints.get_mut(key) else {
            return;
        };
        // A connection that closes with the client may leave a request that would go elsewhere.
        let connected = endpoint.conn.is_some() && !planted!(DialledTwice);
        if self.life == Life::Closed || connected || endpoint.waiting.is_empty() {
            return;
        }
        if endpoint.retry_at > now {
            if endpoint.timer == TimerId::NONE {
                endpoint.timer = self.timers.schedule(endpoint.retry_at, TimerKey::Redial(key));
            }
            return;
        }
        // Dials that only greet a broker leave slots to those that something waits for.
        let controls = &self.controls;
        let greets = |queued: &Queued| match queued {
            Queued::Control(key) => controls.get(*key).is_none_or(|control| control.is_heartbeat()),
            Queued::Send { .. } => false,
        };
        let wanted = !endpoint.waiting.iter().all(greets);
        let dials_max = if wanted { limits::DIALS_MAX } else { limits::GREETING_DIALS_MAX };
        if self.dials < dials_max {
            self.dial(key);
        } else if wanted && endpoint.in_dial_queue != Some(true) {
            endpoint.in_dial_queue = Some(true);
            self.dial_queue.push_back(key);
        } else if endpoint.in_dial_queue.is_none() {
            endpoint.in_dial_queue = Some(false);
            self.greeting_queue.push_back(key);
        }
    }

    fn dial(&mut self, key: Key) {
        let conn = ConnId(self.sessions.next_key().to_u64());
        let Some(endpoint) = self.endpoints.get_mut(key) else {
            return;
        };
        let mut session = Session::new(key, self.now);
        session.queue = core::mem::take(&mut endpoint.waiting);
        let deadline = self.now + self.config.connect_timeout;
        if !planted!(DialWithoutEnd) {
            session.dial_timer = self.timers.schedule(deadline, TimerKey::Dial(conn));
        }
        endpoint.conn = Some(conn);
        let address = Arc::clone(&endpoint.address);
        let queued: Vec<Queued> = session.queue.iter().copied().collect();
        self.sessions.insert(session);
        self.dials += 1;
        for queued in queued {
            self.assign(queued, Some(conn));
        }
        self.outputs.push_back(Output::Connect { conn, address });
    }

    pub(super) fn redial(&mut self, key: Key) {
        if let Some(endpoint) = self.endpoints.get_mut(key) {
            endpoint.timer = TimerId::NONE;
        }
        self.dial_if_due(key);
    }

    fn dial_ended(&mut self) {
        self.dials = self.dials.saturating_sub(1);
        loop {
            let next = match self.dials {
                dials if dials < limits::GREETING_DIALS_MAX => {
                    self.dial_queue.pop_front().or_else(|| self.greeting_queue.pop_front())
                }
                dials if dials < limits::DIALS_MAX => self.dial_queue.pop_front(),
                _ => None,
            };
            let Some(key) = next else {
                break;
            };
            if let Some(endpoint) = self.endpoints.get_mut(key) {
                endpoint.in_dial_queue = None;
            }
            self.dial_if_due(key);
        }
    }

    /// Tells a request which connection it is on.
    fn assign(&mut self, queued: Queued, conn: Option<ConnId>) {
        match queued {
            Queued::Send { op, number } => {
                let op = self.ops.get_mut(op).filter(|op| op.number == number);
                if let Some(current) = op.and_then(|op| op.current.as_mut()) {
                    current.conn = conn;
                }
            }
            Queued::Control(key) => {
                if let Some(control) = self.controls.get_mut(key) {
                    control.conn = conn;
                }
            }
        }
    }

    pub(super) fn connected(&mut self, conn: ConnId) {
        let now = self.now;
        let key = Key::from_u64(conn.0);
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.ready) else {
            return;
        };
        session.ready = true;
        session.last_received = now;
        session.last_activity = now;
        self.timers.cancel(&mut session.dial_timer);
        let endpoint = session.endpoint;
        let beats = |queued: &Queued| match queued {
            Queued::Control(key) => self.controls.get(*key).is_some_and(|c| c.is_heartbeat()),
            Queued::Send { .. } => false,
        };
        let has_heartbeat = session.queue.iter().any(beats);
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.last_failure = None;
            let address = Arc::clone(&endpoint.text);
            self.event(EventSet::CONNECTIONS, || Event::Connected { conn, address });
        }
        if !has_heartbeat {
            self.heartbeat_on_connect(conn, endpoint);
        }
        self.arm_connection_timer(conn);
        self.mark_dirty(conn);
        self.dial_ended();
        self.close_if_drained(conn);
    }

    pub(super) fn dial_timeout(&mut self, conn: ConnId) {
        if self.session(conn).is_some_and(|session| !session.ready) {
            self.outputs.push_back(Output::Close { conn, reason: CloseReason::WriteStalled });
            self.connect_failed(conn, ConnectFailure::TimedOut);
        }
    }

    pub(super) fn connect_failed(&mut self, conn: ConnId, failure: ConnectFailure) {
        let key = Key::from_u64(conn.0);
        match self.sessions.get(key).map(|session| session.ready) {
            None => return,
            Some(true) => return self.close_session(conn, CloseReason::Io, false),
            Some(false) => {}
        }
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        self.timers.cancel(&mut session.dial_timer);
        self.back_off(session.endpoint, conn);
        if let Some(endpoint) = self.endpoints.get_mut(session.endpoint) {
            endpoint.last_failure = Some(failure);
            let (address, retry_at) = (Arc::clone(&endpoint.text), endpoint.retry_at);
            self.event(EventSet::CONNECTIONS, || Event::ConnectFailed {
                address,
                failure,
                retry_at,
            });
        }
        for queued in session.queue {
            if self.lingers(queued) {
                self.assign(queued, None);
                self.enqueue(session.endpoint, queued);
                self.look_for_address(queued);
            } else {
                self.not_framed(queued, &AttemptFailure::Connect(failure));
            }
        }
        if planted!(DialSlotLost) {
            return;
        }
        self.dial_ended();
    }

    /// Whether a send is on its last attempt, or has no other broker to go to: as long as nothing
    /// was sent, it may as well wait for the address to come back until its time is over.
    fn lingers(&self, queued: Queued) -> bool {
        let Queued::Send { op, number } = queued else {
            return false;
        };
        self.ops.get(op).is_some_and(|op| {
            op.number == number
                && !op.fails_with_broker()
                && (op.is_last_attempt() || op.waits_for_broker())
        })
    }

    /// A send waits for its broker: a new route may know a better address.
    fn look_for_address(&mut self, queued: Queued) {
        let Queued::Send { op: id, .. } = queued else { return };
        if let Some(op) = self.ops.get(id).filter(|op| op.waits_for_broker()) {
            self.refresh_soon(op.topic, id, ResponseCode::SUCCESS);
        }
    }

    /// Notes that a connection never came to life, so that the next dial waits.
    fn back_off(&mut self, key: Key, conn: ConnId) {
        let Some(endpoint) = self.endpoints.get_mut(key) else {
            return;
        };
        if endpoint.conn == Some(conn) {
            endpoint.conn = None;
        }
        let doublings = endpoint.failures.min(16);
        endpoint.failures = endpoint.failures.saturating_add(1);
        let full = self.config.dial_back_off_min.saturating_mul(1 << doublings);
        let most = self.config.dial_back_off_max;
        let wait = self.rng.jitter(full.min(most).max(if planted!(DialBackOffUnbounded) {
            full
        } else {
            Duration::ZERO
        }));
        endpoint.retry_at = self.now + wait;
        if planted!(DialBackOffZero) {
            endpoint.retry_at = self.now;
        }
        self.trouble_until = self.trouble_until.max(endpoint.retry_at);
    }

    /// Ends the attempt or the request behind an entry that never became a frame.
    fn not_framed(&mut self, queued: Queued, failure: &AttemptFailure) {
        match queued {
            Queued::Send { op, number } => self.attempt_lost(op, number, failure.clone(), false),
            Queued::Control(key) => self.control_failed(key, failure.clone()),
        }
    }

    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(session) = self.session(conn)
            && session.ready
            && !session.dirty
        {
            session.dirty = true;
            self.dirty.push_back(conn);
        }
    }

    /// Frames what waits on a connection, up to the bound. Whether there are bytes to send.
    pub(super) fn fill(&mut self, conn: ConnId) -> bool {
        let unsent_max = self.config.unsent_bytes_max.max(1);
        let awaited = self.credentials_awaited().is_some();
        loop {
            let Some(session) = self.session(conn) else {
                return false;
            };
            session.dirty = false;
            let held_back = awaited || !session.requests.has_room();
            if held_back || session.outbox.unsent() >= unsent_max {
                break;
            }
            match session.queue.pop_front() {
                Some(Queued::Send { op, number }) => self.frame_send(conn, op, number),
                Some(Queued::Control(key)) => self.frame_control(conn, key),
                None => break,
            }
        }
        let now = self.now;
        let Some(session) = self.session(conn) else {
            return false;
        };
        if session.outbox.unsent() == 0 {
            self.close_if_drained(conn);
            return false;
        }
        if session.stalled_since.is_none() && !planted!(WriteStallIgnored) {
            session.stalled_since = Some(now);
            self.arm_connection_timer(conn);
        }
        true
    }

    pub(super) fn transmitted(&mut self, conn: ConnId, n: usize) {
        let now = self.now;
        let Some(session) = self.session(conn) else {
            return;
        };
        if n == 0 || !session.ready {
            return;
        }
        session.outbox.advance(n - usize::from(planted!(TransmitOffByOne)));
        session.last_activity = now;
        let since = session.stalled_since.filter(|_| planted!(WriteStallNotReset)).unwrap_or(now);
        let stalls = session.outbox.unsent() > 0 && !planted!(WriteStallIgnored);
        session.stalled_since = stalls.then_some(since);
        while let Some(owner) = self.session(conn).and_then(|s| s.outbox.pop_written()) {
            match owner {
                Owner::Send { op, number } => self.attempt_written(op, number),
                Owner::Control(key) => {
                    if let Some(control) = self.controls.get_mut(key) {
                        control.written = true;
                    }
                }
                Owner::Answer => {}
            }
        }
        if self.session(conn).is_some_and(|session| !session.queue.is_empty()) {
            self.mark_dirty(conn);
        }
        self.close_if_drained(conn);
    }

    /// The connection takes no new request; what waits on it goes to a new one.
    pub(super) fn drain(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn).filter(|_| !planted!(GoAwayIgnored)) else {
            return;
        };
        session.draining = true;
        let key = session.endpoint;
        let queue = core::mem::take(&mut session.queue);
        if let Some(endpoint) = self.endpoints.get_mut(key)
            && endpoint.conn == Some(conn)
        {
            endpoint.conn = None;
        }
        for queued in queue {
            self.assign(queued, None);
            self.enqueue(key, queued);
        }
        if planted!(GoAwayClosesAtOnce) {
            self.close_session(conn, CloseReason::Drained, true);
        }
    }

    pub(super) fn close_if_drained(&mut self, conn: ConnId) {
        if self.session(conn).is_some_and(|session| session.draining && session.is_quiet()) {
            self.close_session(conn, CloseReason::Drained, true);
        }
    }

    /// Ends a connection and everything on it. `ours`: the other side is to be told.
    pub(super) fn close_session(&mut self, conn: ConnId, reason: CloseReason, ours: bool) {
        let Some(mut session) = self.sessions.remove(Key::from_u64(conn.0)) else {
            return;
        };
        let dialling = !session.ready;
        self.timers.cancel(&mut session.dial_timer);
        if !planted!(ConnectionTimerKept) {
            self.timers.cancel(&mut session.timer);
        }
        if ours {
            self.outputs.push_back(Output::Close { conn, reason });
        }
        self.endpoint_lost(&session, conn, reason);
        // Whoever was on it, in the order in which they came.
        let mut ended: Vec<(Owner, Option<i32>)> = Vec::new();
        let mut requests: Vec<(i32, Request)> = session.requests.iter().collect();
        requests.sort_unstable_by_key(|(opaque, _)| *opaque);
        ended.extend(requests.into_iter().map(|(opaque, request)| match request {
            Request::Send { op, number } => (Owner::Send { op, number }, Some(opaque)),
            Request::Control(key) => (Owner::Control(key), Some(opaque)),
        }));
        ended.extend(session.outbox.owners().map(|owner| (owner, None)));
        ended.extend(session.queue.iter().map(|queued| match *queued {
            Queued::Send { op, number } => (Owner::Send { op, number }, None),
            Queued::Control(key) => (Owner::Control(key), None),
        }));
        for (owner, opaque) in ended {
            match owner {
                Owner::Send { op, number } => {
                    if let Some(opaque) = opaque {
                        self.forget_outstanding(op, conn, opaque);
                    }
                    if planted!(LostNotTold) {
                        continue;
                    }
                    let started = session.outbox.is_started(owner);
                    self.attempt_lost(op, number, AttemptFailure::Closed(reason), started);
                }
                Owner::Control(key) => self.control_failed(key, AttemptFailure::Closed(reason)),
                Owner::Answer => {}
            }
        }
        if dialling {
            self.dial_ended();
        }
    }

    fn endpoint_lost(&mut self, session: &Session, conn: ConnId, reason: CloseReason) {
        let key = session.endpoint;
        if self.name_servers.contains(&key) {
            self.name_server_answered = false;
        }
        if session.frames == 0 && !matches!(reason, CloseReason::Drained | CloseReason::Shutdown) {
            self.back_off(key, conn);
        }
        let Some(endpoint) = self.endpoints.get_mut(key) else {
            return;
        };
        if session.frames > 0 {
            endpoint.failures = 0;
        }
        if endpoint.conn == Some(conn) {
            endpoint.conn = None;
        }
        let address = Arc::clone(&endpoint.text);
        self.event(EventSet::CONNECTIONS, || Event::Disconnected { conn, address, reason });
    }

    fn forget_outstanding(&mut self, op: OpId, conn: ConnId, opaque: i32) {
        if let Some(op) = self.ops.get_mut(op) {
            op.outstanding.retain(|entry| (entry.conn, entry.opaque) != (conn, opaque));
        }
    }

    /// Ends the attempt `number` of a send if it is the one under way: its connection is gone.
    /// `started`: some of its bytes have left.
    fn attempt_lost(&mut self, id: OpId, number: u32, failure: AttemptFailure, started: bool) {
        let Some(op) = self.ops.get(id).filter(|op| op.number == number) else { return };
        // Oneway messages are never sent twice: with the first byte out, this was the only try.
        let only = started && op.command.mode == Mode::Oneway && !planted!(OnewayRetried);
        let next = if only { Next::Final } else { Next::AnotherBroker };
        if op.current.is_some() {
            self.transport_failed(id, failure, next);
        }
    }

    // ---- Idle, partial frames, stalled writes -----------------------------------------------

    /// When the connection is to be looked at next. Activity does not move a timer that is
    /// already set; the look finds out how much time is left.
    pub(super) fn arm_connection_timer(&mut self, conn: ConnId) {
        let idle_max = self.connection_idle_max(conn);
        let Some(session) = self.sessions.get_mut(Key::from_u64(conn.0)) else {
            return;
        };
        let mut at = next_look(session, idle_max);
        if planted!(TimerLoops) && session.timer_at < Instant::FAR_FUTURE {
            at = session.timer_at;
        }
        if session.timer == TimerId::NONE || at < session.timer_at {
            self.timers.cancel(&mut session.timer);
            session.timer_at = at;
            session.timer = self.timers.schedule(at, TimerKey::Conn(conn));
        }
    }

    fn connection_idle_max(&self, conn: ConnId) -> Duration {
        let idle_max = self.config.connection_idle_max / if planted!(IdleTooEarly) { 8 } else { 1 };
        if !self.config.vip_channel {
            return idle_max;
        }
        let session = self.sessions.get(Key::from_u64(conn.0));
        // No heartbeat keeps it alive, and brokers close after the same time: whoever is first
        // must be us, or a message may be under way to a connection that is no more.
        if session.is_some_and(|session| self.is_vip(session.endpoint)) {
            return idle_max / 2;
        }
        idle_max
    }

    pub(super) fn connection_timeout(&mut self, conn: ConnId) {
        let (now, idle_max) = (self.now, self.connection_idle_max(conn));
        let Some(session) = self.session(conn) else {
            return;
        };
        session.timer = TimerId::NONE;
        let over = |since: Option<Instant>, max: Duration| since.is_some_and(|s| now >= s + max);
        let reason = if over(session.partial_since, limits::PARTIAL_FRAME_AGE_MAX) {
            CloseReason::PartialFrame
        } else if over(session.stalled_since, limits::WRITE_STALL_MAX) {
            CloseReason::WriteStalled
        } else if over(Some(session.last_activity), idle_max) {
            CloseReason::Idle
        } else {
            self.arm_connection_timer(conn);
            return;
        };
        self.close_session(conn, reason, true);
    }
}

fn next_look(session: &Session, idle_max: Duration) -> Instant {
    let partial = session.partial_since.map(|since| since + limits::PARTIAL_FRAME_AGE_MAX);
    let stalled = session.stalled_since.map(|since| since + limits::WRITE_STALL_MAX);
    let idle = session.last_activity + idle_max;
    [partial, stalled].into_iter().flatten().fold(idle, Instant::min)
}
