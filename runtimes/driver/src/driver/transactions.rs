//! Decisions on their way, and the tasks in which the application answers checks.

use std::sync::Arc;
use std::task::Waker;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    CheckId, Decision, Delivery, GroupId, Instant, TransactionCheck, TransactionError,
    TransactionErrorKind, TransactionState,
};

use super::Driver;
use crate::checks::Answering;
use crate::runtime::Runtime;
use crate::transaction::EndSlot;

/// The decisions that the driver has handed to the machine.
#[derive(Debug, Default)]
pub(super) struct OpenEnds(Vec<(UniqueKey, Decision, Arc<EndSlot>)>);

impl OpenEnds {
    pub(super) fn enter(&mut self, unique_key: UniqueKey, decision: Decision, slot: Arc<EndSlot>) {
        self.0.push((unique_key, decision, slot));
    }

    /// Leaves a result for its caller, whose waker it gives.
    pub(super) fn end(
        &mut self,
        unique_key: UniqueKey,
        result: Result<(), TransactionError>,
    ) -> Option<Waker> {
        let position = self.0.iter().position(|(known, ..)| *known == unique_key)?;
        self.0.swap_remove(position).2.end(result)
    }

    /// Ends all that are left: nobody knows what has become of them.
    pub(super) fn end_all(&mut self, wakers: &mut Vec<Waker>) {
        for (unique_key, decision, slot) in self.0.drain(..) {
            let kind = TransactionErrorKind::DriverStopped;
            let error = TransactionError::new(decision, unique_key, kind, Delivery::Unknown);
            wakers.extend(slot.end(Err(error)));
        }
    }
}

impl<R: Runtime> Driver<R> {
    /// Asks the handler of the group, or says that there is none.
    pub(super) fn check_transaction(
        &mut self,
        now: Instant,
        id: CheckId,
        group: GroupId,
        check: Box<TransactionCheck>,
    ) {
        let number = self.groups.iter().position(|known| *known == Some(group));
        let handler = number.and_then(|number| self.check_handlers.get(number).cloned().flatten());
        match handler {
            Some(handler) => {
                let shared = Arc::clone(&self.shared);
                self.runtime.spawn(Answering::new(shared, id, handler, check));
            }
            None => self.machine.answer_check(now, id, TransactionState::Undecided),
        }
    }
}
