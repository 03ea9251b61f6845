//! Cancelling one send, and closing the whole client.

use super::control::ControlKind;
use super::operation::{Mode, OpState};
use super::outbox::TakenBack;
use super::session::Late;
use super::timers::TimerKey;
use super::{Client, Life};
use crate::error::{
    AttemptFailure, CloseReason, Delivery, NotReady, SendError, SendErrorKind, Stage,
};
use crate::id::OpId;
use crate::output::Output;
use crate::slab::Key;
use crate::time::Instant;

/// What became of a send that was cancelled.
#[derive(Clone, PartialEq, Debug)]
pub enum CancelOutcome {
    /// It has ended now; no [`Output::Complete`] follows. The error gives the message back and
    /// says what earlier attempts may have done.
    Ended(SendError),
    /// Bytes of it have left: it ends with the answer or its deadline, without another attempt,
    /// and is reported as [`Output::Complete`]. So is one that a broker has stored already, at
    /// once, while a better receipt was wanted.
    Detached,
    /// There is no such send.
    NotFound,
}

impl Client {
    /// Gives a send up. A message of which no byte has left is not sent.
    pub fn cancel(&mut self, now: Instant, op: OpId) -> CancelOutcome {
        self.advance(now);
        let outcome = self.give_up(op);
        if let CancelOutcome::Ended(_) = outcome {
            self.begin_due();
            self.check_drained();
        }
        outcome
    }

    /// As [`Client::cancel`]; a send that has ended is still to be reported or followed up.
    pub(super) fn give_up(&mut self, op: OpId) -> CancelOutcome {
        if planted!(SlotLostPerCancel)
            && let Some(op) = self.ops.get_mut(op).filter(|op| op.state != OpState::Sending)
        {
            self.timers.cancel(&mut op.timer);
            return CancelOutcome::Detached;
        }
        let Some(entry) = self.ops.get(op) else {
            return CancelOutcome::NotFound;
        };
        let (number, state) = (entry.number, entry.state);
        if state == OpState::Sending {
            let Some(current) = entry.current.clone() else {
                return CancelOutcome::NotFound;
            };
            let taken_back = if planted!(CancelledSent) {
                TakenBack::Absent
            } else {
                self.take_back(op, number, &current)
            };
            if current.stage == Stage::Await || taken_back == TakenBack::Started {
                if let Some(op) = self.ops.get_mut(op) {
                    op.detached = true;
                }
                return CancelOutcome::Detached;
            }
            self.fail_current(op, current.stage, AttemptFailure::GivenUp, Delivery::NotSent);
        }
        match self.end_failed(op, SendErrorKind::Cancelled) {
            // A broker has stored it: that is how it ends, whoever has lost interest.
            Some((_, Some(receipt))) => {
                self.complete(op, Ok(receipt));
                CancelOutcome::Detached
            }
            Some((error, None)) => CancelOutcome::Ended(error),
            None => CancelOutcome::NotFound,
        }
    }

    /// Closes the client: no new sends; those open may go on until `deadline`, and so may
    /// transactions until they are decided and requests until they are replied to; then queries
    /// end, the brokers are told and the connections closed. The end is reported as
    /// [`Output::Closed`]. Further calls can only bring the deadline forward.
    pub fn shutdown(&mut self, now: Instant, deadline: Instant) {
        self.advance(now);
        if self.life == Life::Running {
            self.life = Life::Draining;
        }
        if self.life == Life::Draining {
            if !planted!(GraceIgnored) {
                self.timers.schedule(deadline, TimerKey::Shutdown);
            }
            self.check_drained();
        }
    }

    /// The time for draining is over: every send still open ends now, with its verdict.
    pub(super) fn shutdown_timeout(&mut self) {
        if self.life != Life::Draining {
            return;
        }
        // Whoever waits for its turn gets none.
        self.lanes.clear();
        for id in self.ops.ids() {
            let Some(op) = self.ops.get(id) else { continue };
            let (number, mode) = (op.number, op.command.mode);
            if let Some(current) = op.current.clone() {
                let taken_back = self.take_back(id, number, &current);
                let left = current.stage == Stage::Await && mode == Mode::Awaited
                    || taken_back == TakenBack::Started;
                let delivery = if left { Delivery::Unknown } else { Delivery::NotSent };
                let failure = AttemptFailure::GivenUp;
                if let Some(current) = self.fail_current(id, current.stage, failure, delivery) {
                    self.abandon(id, &current);
                }
            }
            self.fail(id, SendErrorKind::Closed);
        }
        self.end_transactions();
        self.end_requests();
        self.check_drained();
    }

    fn abandon(&mut self, id: OpId, current: &super::operation::Current) {
        let Some(unique_key) = self.ops.get(id).map(|op| op.message.unique_key) else {
            return;
        };
        let Some(session) = current.conn.and_then(|conn| self.session(conn)) else {
            return;
        };
        if current.stage >= Stage::Write && session.requests.remove(current.opaque).is_some() {
            session.remember_late(Late { opaque: current.opaque, op: id, unique_key });
        }
    }

    /// Goes on with the shutdown once no send is open.
    #[inline]
    pub(super) fn check_drained(&mut self) {
        let open = self.ops.len() + self.transactions.live() + self.replies.len();
        if self.life == Life::Draining && open == 0 {
            self.begin_unregistering();
        }
    }

    fn begin_unregistering(&mut self) {
        self.life = Life::Unregistering;
        self.end_greetings();
        self.end_open_queries();
        self.end_checks();
        for waiter in core::mem::take(&mut self.ready_waiters) {
            let result = Err(NotReady { name_servers: alloc::vec::Vec::new() });
            self.outputs.push_back(Output::Ready { waiter: waiter.waiter, result });
        }
        self.end_queue_waiters();
        for group in core::mem::take(&mut self.groups).into_iter().flatten() {
            self.unregister_everywhere(&group);
        }
        self.finish_unregistering();
    }

    /// Closes everything once no broker remains to be told, or those told have had their time.
    pub(super) fn finish_unregistering(&mut self) {
        let unregisters = |kind: &ControlKind| matches!(kind, ControlKind::Unregister { .. });
        if self.life != Life::Unregistering
            || self.controls.iter().any(|(_, control)| unregisters(&control.kind))
        {
            return;
        }
        self.life = Life::Closed;
        let kept = usize::from(planted!(ConnectionLeftAtClose));
        for key in self.sessions.keys().into_iter().skip(kept) {
            let conn = crate::id::ConnId(key.to_u64());
            self.close_session(conn, CloseReason::Shutdown, true);
        }
        self.forget_everything();
        self.outputs.push_back(Output::Closed);
    }

    /// Nothing may be left of a closed client: no timer, no table entry.
    fn forget_everything(&mut self) {
        self.end_discovery();
        self.timers = super::Timers::new();
        self.lanes.clear();
        self.transactions = super::transaction::Transactions::default();
        self.replies = super::Replies::new();
        self.tracing = super::tracing::Tracing::default();
        self.dirty.clear();
        self.dial_queue.clear();
        self.greeting_queue.clear();
        self.dials = 0;
        self.controls = crate::slab::Slab::new();
        self.topics = crate::slab::Slab::new();
        self.topics_by_name.clear();
        self.brokers = crate::slab::Slab::new();
        self.brokers_by_name.clear();
        self.endpoints = crate::slab::Slab::new();
        self.endpoints_by_address.clear();
        self.name_servers.clear();
        debug_assert_eq!(self.sessions.keys(), alloc::vec::Vec::<Key>::new());
    }
}
