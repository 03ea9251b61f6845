//! What brokers ask about transactions, and the application that knows.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rocketmq_core::{CheckId, TransactionCheck, TransactionState};

use crate::guard::guarded;
use crate::shared::Shared;
use crate::slot::Slot;

type Answer = Pin<Box<dyn Future<Output = TransactionState> + Send>>;

/// Who knows what has become of a transaction. Made by
/// [`ProducerOptions::with_transaction_checks`](crate::ProducerOptions::with_transaction_checks).
#[derive(Clone)]
pub struct CheckHandler(Arc<dyn Fn(TransactionCheck) -> Answer + Send + Sync>);

impl CheckHandler {
    pub(crate) fn new<F, A>(handler: F) -> CheckHandler
    where
        F: Fn(TransactionCheck) -> A + Send + Sync + 'static,
        A: Future<Output = TransactionState> + Send + 'static,
    {
        CheckHandler(Arc::new(move |check| Box::pin(handler(check))))
    }
}

/// The same handler, not an equal one.
impl PartialEq for CheckHandler {
    fn eq(&self, other: &CheckHandler) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for CheckHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckHandler")
    }
}

/// The task in which the application answers one check. However it ends, there is an answer.
pub(crate) struct Answering {
    shared: Arc<Shared>,
    id: CheckId,
    stage: Stage,
    /// Ended when it is too late.
    abandoned: Arc<Slot<()>>,
}

enum Stage {
    New(CheckHandler, Box<TransactionCheck>),
    Open(Answer),
    Done,
}

impl Answering {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: CheckId,
        handler: CheckHandler,
        check: Box<TransactionCheck>,
        abandoned: Arc<Slot<()>>,
    ) -> Answering {
        Answering { shared, id, stage: Stage::New(handler, check), abandoned }
    }

    fn answer(&mut self, state: TransactionState) {
        self.shared.answer_check(self.id, state);
    }
}

impl Future for Answering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        // Code of the application: its panic must not end more than this answer.
        let polled = guarded(|| {
            let mut open = match stage {
                Stage::New(handler, check) => (handler.0)(*check),
                Stage::Open(open) => open,
                Stage::Done => return None,
            };
            Some(match open.as_mut().poll(cx) {
                Poll::Ready(state) => Ok(state),
                Poll::Pending => Err(open),
            })
        });
        match polled {
            Some(Some(Err(open))) => {
                if self.abandoned.poll(cx).is_pending() {
                    self.stage = Stage::Open(open);
                    return Poll::Pending;
                }
                // Code of the application, too.
                guarded(|| drop(open));
            }
            Some(Some(Ok(state))) => self.answer(state),
            Some(None) => {}
            None => self.answer(TransactionState::Undecided),
        }
        Poll::Ready(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Done) {
            self.answer(TransactionState::Undecided);
        }
    }
}
