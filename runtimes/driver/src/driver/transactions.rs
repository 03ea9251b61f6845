//! Decisions on their way, and the tasks in which the application answers checks.

use std::collections::BTreeMap;
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
use crate::slot::Slot;
use crate::transaction::EndSlot;

/// The decisions that the driver has handed to the machine.
#[derive(Debug, Default)]
pub(super) struct OpenEnds(BTreeMap<UniqueKey, (Decision, Arc<EndSlot>)>);

impl OpenEnds {
    pub(super) fn enter(&mut self, unique_key: UniqueKey, decision: Decision, slot: Arc<EndSlot>) {
        self.0.insert(unique_key, (decision, slot));
    }

    /// Leaves a result for its caller, whose waker it gives.
    pub(super) fn end(
        &mut self,
        unique_key: UniqueKey,
        result: Result<(), TransactionError>,
    ) -> Option<Waker> {
        self.0.remove(&unique_key)?.1.end(result)
    }

    /// Ends all that are left: nobody knows what has become of them.
    pub(super) fn end_all(&mut self, wakers: &mut Vec<Waker>) {
        for (unique_key, (decision, slot)) in std::mem::take(&mut self.0) {
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
                let (shared, abandoned) = (Arc::clone(&self.shared), Arc::new(Slot::new()));
                self.answering.insert(id, Arc::clone(&abandoned));
                self.runtime.spawn(Answering::new(shared, id, handler, check, abandoned));
            }
            None => self.machine.answer_check(now, id, TransactionState::Undecided),
        }
    }
}
