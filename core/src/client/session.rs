//! One connection, from the dial to the close.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::outbox::Outbox;
use super::requests::Requests;
use super::timers::TimerId;
use crate::id::OpId;
use crate::limits;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::UniqueKey;

/// A request that waits to be framed. Entries whose send or request has ended are skipped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Queued {
    /// Attempt `number` of a send.
    Send { op: OpId, number: u32 },
    /// Any other request.
    Control(Key),
}

/// A request that was given up and may be answered yet.
#[derive(Copy, Clone, Debug)]
pub(super) struct Late {
    pub(super) opaque: i32,
    pub(super) op: OpId,
    pub(super) unique_key: UniqueKey,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) endpoint: Key,
    /// False while the dial is under way.
    pub(super) ready: bool,
    /// Takes no new request and closes when all are answered.
    pub(super) draining: bool,
    pub(super) dial_timer: TimerId,
    pub(super) queue: VecDeque<Queued>,
    pub(super) outbox: Outbox,
    pub(super) requests: Requests,
    /// Numbers of requests given up whose answers may still come.
    pub(super) late: VecDeque<Late>,
    /// Listed in [`Client::dirty`](super::Client).
    pub(super) dirty: bool,
    /// Whole frames received.
    pub(super) frames: u64,
    pub(super) last_received: Instant,
    pub(super) last_activity: Instant,
    /// A frame has begun since then and has not ended.
    pub(super) partial_since: Option<Instant>,
    /// The peer has taken no byte since then although there are some.
    pub(super) stalled_since: Option<Instant>,
    pub(super) timer: TimerId,
    pub(super) timer_at: Instant,
    /// A probe for life is under way.
    pub(super) probing: bool,
    /// The broker has answered a heartbeat: it knows this client by this connection.
    pub(super) greeted: bool,
    /// The broker has forgotten where this client is, although a group is known to it.
    pub(super) forgotten: bool,
    /// Requests of the peer that were refused since then.
    pub(super) refused: (Instant, u32),
}

impl Session {
    pub(super) fn new(endpoint: Key, now: Instant) -> Session {
        Session {
            endpoint,
            ready: false,
            draining: false,
            dial_timer: TimerId::NONE,
            queue: VecDeque::new(),
            outbox: Outbox::default(),
            requests: Requests::default(),
            late: VecDeque::new(),
            dirty: false,
            frames: 0,
            last_received: now,
            last_activity: now,
            partial_since: None,
            stalled_since: None,
            timer: TimerId::NONE,
            timer_at: Instant::FAR_FUTURE,
            probing: false,
            greeted: false,
            forgotten: false,
            refused: (now, 0),
        }
    }

    /// Nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.outbox.unsent() == 0 && self.requests.is_empty()
    }

    /// Whether one more request of the peer is refused with an answer: of a flood most are dropped.
    pub(super) fn may_refuse(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.refused;
        if now.saturating_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= limits::REFUSALS_PER_SECOND
    }

    /// Remembers the number of a request given up, so that a late answer can be told apart.
    pub(super) fn remember_late(&mut self, late: Late) {
        if self.late.len() >= crate::limits::LATE_ANSWERS_MAX {
            self.late.pop_front();
        }
        self.late.push_back(late);
    }
}
