//! A place where one result is left for one who waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rocketmq_core::OpId;

/// Holds the way of one request from the call to its result. Shared by the one who waits and the
/// driver.
#[derive(Debug)]
pub(crate) struct Slot<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    /// `op` is set once a send has room and a name.
    Pending {
        op: Option<OpId>,
        /// It has room, but is held until it leaves with others.
        held: bool,
        waker: Option<Waker>,
        /// Closes when the send ends, whoever still holds the slot.
        #[cfg(feature = "tracing")]
        span: tracing::Span,
    },
    Ended {
        /// `None` once it was taken.
        result: Option<T>,
        accepted: bool,
    },
}

impl<T> Slot<T> {
    pub(crate) const fn new() -> Slot<T> {
        Slot(Mutex::new(State::Pending {
            op: None,
            held: false,
            waker: None,
            #[cfg(feature = "tracing")]
            span: tracing::Span::none(),
        }))
    }

    /// For a send with this span.
    #[cfg(feature = "tracing")]
    pub(crate) fn with_span(span: tracing::Span) -> Slot<T> {
        Slot(Mutex::new(State::Pending { op: None, held: false, waker: None, span }))
    }

    /// The span of the send, while it is open.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> tracing::Span {
        match &*self.lock() {
            State::Pending { span, .. } => span.clone(),
            State::Ended { .. } => tracing::Span::none(),
        }
    }

    /// Notes that the send has room, under the name `op`. Gives the waker of the one who waits if
    /// `announce` is set; otherwise it stays for the result.
    pub(crate) fn accept(&self, accepted: OpId, announce: bool) -> Option<Waker> {
        match &mut *self.lock() {
            State::Pending { op, waker, .. } => {
                *op = Some(accepted);
                if announce { waker.take() } else { None }
            }
            State::Ended { .. } => None,
        }
    }

    /// Notes that the send has room, and no name of its own yet. As [`Slot::accept`] otherwise.
    pub(crate) fn hold(&self, announce: bool) -> Option<Waker> {
        match &mut *self.lock() {
            State::Pending { held, waker, .. } => {
                *held = true;
                if announce { waker.take() } else { None }
            }
            State::Ended { .. } => None,
        }
    }

    /// Leaves the result, once. Gives the waker of the one who waits, to be woken when no lock is
    /// held.
    pub(crate) fn end(&self, result: T) -> Option<Waker> {
        // Dropped after the lock: that closes it, which is the subscriber's code.
        #[cfg(feature = "tracing")]
        let _span = self.span();
        let mut state = self.lock();
        match &mut *state {
            State::Pending { op, held, waker, .. } => {
                let (waker, accepted) = (waker.take(), op.is_some() || *held);
                *state = State::Ended { result: Some(result), accepted };
                waker
            }
            State::Ended { .. } => {
                debug_assert!(false, "a request ends once");
                None
            }
        }
    }

    /// The name of the send, while it is open.
    pub(crate) fn op(&self) -> Option<OpId> {
        match &*self.lock() {
            State::Pending { op, .. } => *op,
            State::Ended { .. } => None,
        }
    }

    /// Takes the result. Pending for ever once it has been taken.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<T> {
        match &mut *self.lock() {
            State::Pending { waker, .. } => {
                remember(waker, cx);
                Poll::Pending
            }
            State::Ended { result, .. } => result.take().map_or(Poll::Pending, Poll::Ready),
        }
    }

    /// Waits for room: ready once the send has a name, or with `false` if it ended without.
    pub(crate) fn poll_accepted(&self, cx: &Context<'_>) -> Poll<bool> {
        match &mut *self.lock() {
            State::Pending { op: None, held: false, waker, .. } => {
                remember(waker, cx);
                Poll::Pending
            }
            State::Pending { .. } => Poll::Ready(true),
            State::Ended { accepted, .. } => Poll::Ready(*accepted),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(known) => known.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::tests::orders;

    const OP: OpId = OpId { index: 3, generation: 1 };

    /// What may happen to a slot, in every order: a poll for room, a poll for the result, the
    /// acceptance and the end.
    #[derive(Copy, Clone, PartialEq, Debug)]
    enum Step {
        PollAccepted,
        Poll,
        Accept,
        End,
    }

    #[test]
    fn in_every_order_the_result_arrives_once_and_a_waiter_is_woken() {
        let steps =
            [Step::PollAccepted, Step::Poll, Step::Accept, Step::End, Step::Poll, Step::Poll];
        for order in orders(&steps) {
            let slot = Slot::new();
            let cx = Context::from_waker(Waker::noop());
            let (mut ended, mut accepted, mut waits, mut results) = (false, false, false, 0);
            for step in &order {
                match step {
                    Step::PollAccepted => {
                        let poll = slot.poll_accepted(&cx);
                        let ready = poll.is_ready();
                        assert_eq!(ready, ended || accepted, "{order:?}");
                        waits |= !ready;
                    }
                    Step::Poll => match slot.poll(&cx) {
                        Poll::Ready(value) => {
                            assert!(ended && value == 9, "{order:?}");
                            results += 1;
                        }
                        Poll::Pending => waits |= !ended,
                    },
                    Step::Accept => {
                        let waker = slot.accept(OP, true);
                        assert_eq!(waker.is_some(), waits && !ended, "{order:?}");
                        accepted = true;
                        waits &= ended;
                        assert_eq!(slot.op(), (!ended).then_some(OP), "{order:?}");
                    }
                    Step::End => {
                        assert_eq!(slot.end(9).is_some(), waits, "{order:?}");
                        ended = true;
                        assert_eq!(slot.op(), None);
                    }
                }
            }
            results += u32::from(slot.poll(&cx).is_ready());
            assert_eq!(results, 1, "{order:?}");
            assert!(slot.poll(&cx).is_pending());
        }
    }

    #[test]
    fn an_acceptance_nobody_asked_for_leaves_the_waker_for_the_result() {
        let slot = Slot::new();
        assert!(slot.poll(&Context::from_waker(Waker::noop())).is_pending());
        assert!(slot.accept(OP, false).is_none());
        assert!(slot.end(1).is_some());
    }
}
