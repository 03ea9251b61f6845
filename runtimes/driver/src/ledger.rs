//! The driver's book of open sends: who waits for each, what is counted, who waits for all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use rocketmq_core::wire::{SendStatus, UniqueKey};
use rocketmq_core::{Completion, Delivery, Instant, OpId, Room, SendError, SendErrorKind};

use crate::client::CloseReport;
use crate::histogram::Recorder;
use crate::shared::{Ended, Request, SendSlot};
use crate::slot::Slot;

/// Every send that the driver has taken in and that has not ended.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// By index of the operation.
    open: Vec<Option<Open>>,
    epochs: Epochs,
    counts: Counts,
    /// Sends whose room is to be given back.
    pub(crate) ended: Vec<Ended>,
    /// Callers to be woken once no lock is held, all together.
    pub(crate) wakers: Vec<Waker>,
    /// Latencies of stored sends.
    latency: Arc<Recorder>,
    /// What happened since the close began.
    report: Option<CloseReport>,
}

#[derive(Debug)]
struct Open {
    generation: u32,
    slot: Arc<SendSlot>,
    room: Room,
    epoch: u64,
    /// Others that left with it and end with it.
    others: Vec<Member>,
}

/// The counters of [`Stats`](crate::Stats) that the driver keeps, passed on with each of its turns.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) weak: u64,
    pub(crate) oneway: u64,
    pub(crate) refused: u64,
    pub(crate) not_sent: u64,
    pub(crate) unknown: u64,
    pub(crate) retries: u64,
    pub(crate) connections: usize,
}

/// A send that left as part of a batch.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Arc<SendSlot>,
    pub(crate) room: Room,
    /// By how much later than the batch's time it was called.
    pub(crate) later: Duration,
}

impl Ledger {
    pub(crate) fn new(latency: Arc<Recorder>) -> Ledger {
        Ledger {
            open: Vec::new(),
            epochs: Epochs::new(),
            counts: Counts::default(),
            ended: Vec::new(),
            wakers: Vec::new(),
            latency,
            report: None,
        }
    }

    /// Enters a send that is about to go to the machine.
    pub(crate) fn enter(&mut self, op: OpId, slot: Arc<SendSlot>, room: Room) {
        let index = op.index as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        if let Some(entry) = self.open.get_mut(index) {
            debug_assert!(entry.is_none(), "names are not used twice");
            let epoch = self.epochs.enter();
            let others = Vec::new();
            *entry = Some(Open { generation: op.generation, slot, room, epoch, others });
            self.counts.accepted += 1;
        }
    }

    /// Notes that `others` left with the send `op`, which comes first, and end with it.
    pub(crate) fn join(&mut self, op: OpId, others: Vec<Member>) {
        if let Some(Some(open)) = self.open.get_mut(op.index as usize) {
            self.counts.accepted += others.len() as u64;
            open.others = others;
        }
    }

    /// Notes the end of a send and leaves the result for its caller.
    pub(crate) fn end(&mut self, op: OpId, result: Result<Completion, SendError>) {
        let entry = self.open.get_mut(op.index as usize);
        let Some(open) = entry.and_then(|e| e.take_if(|e| e.generation == op.generation)) else {
            return;
        };
        if open.others.is_empty() {
            self.end_one(&open.slot, result);
        } else {
            self.end_batch(&open.slot, open.others, result);
        }
        self.epochs.leave(open.epoch, &mut self.wakers);
        self.ended.push(Ended { op: Some(op), room: open.room });
    }

    fn end_batch(
        &mut self,
        first: &Arc<SendSlot>,
        others: Vec<Member>,
        result: Result<Completion, SendError>,
    ) {
        let mut results = apart(result, others.len() + 1).into_iter();
        self.end_one(first, results.next().unwrap_or_else(lost));
        // The attempts were those of the one batch.
        let retries = self.counts.retries;
        for Member { slot, room, later } in others {
            let result = results.next().unwrap_or_else(lost);
            self.end_one(&slot, called_later(result, later));
            self.ended.push(Ended { op: None, room });
        }
        self.counts.retries = retries;
    }

    // Forced: a result is too large to be moved for nothing.
    #[inline(always)]
    fn end_one(&mut self, slot: &Arc<SendSlot>, result: Result<Completion, SendError>) {
        #[cfg(feature = "tracing")]
        crate::telemetry::ended(&slot.span(), &result);
        self.count(&result);
        if let Some(report) = &mut self.report {
            note(report, &result, slot);
        }
        self.wakers.extend(slot.end(result));
    }

    /// Ends a send that waited for room and gets none.
    pub(crate) fn refuse(&mut self, request: Request, kind: SendErrorKind, now: Instant) {
        self.counts.not_sent += 1;
        if let Some(report) = &mut self.report {
            report.failed += 1;
            report.failures.push((request.message.unique_key(), Delivery::NotSent));
            if Arc::strong_count(&request.slot) == 1 {
                report.unclaimed.push(request.error(kind.clone(), now));
            }
        }
        self.wakers.extend(request.refuse(kind, now));
    }

    /// Has `slot` ended when all sends entered so far have ended.
    pub(crate) fn flush(&mut self, slot: Arc<Slot<()>>) {
        self.epochs.wait(slot, &mut self.wakers);
    }

    /// From now on counts for the report of the close.
    pub(crate) fn begin_report(&mut self) {
        self.report.get_or_insert_default();
    }

    /// A transaction was not decided before the close.
    pub(crate) fn undecided(&mut self, unique_key: UniqueKey) {
        if let Some(report) = &mut self.report {
            report.undecided.push(unique_key);
        }
    }

    /// The report of the close; empty when taken before.
    pub(crate) fn take_report(&mut self) -> CloseReport {
        self.report.replace(CloseReport::default()).unwrap_or_default()
    }

    /// The counters, with the number of connections filled in.
    pub(crate) fn counts(&self, connections: usize) -> Counts {
        Counts { connections, ..self.counts }
    }

    /// The span of a send that has not ended.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self, op: OpId) -> tracing::Span {
        let open = self.open.get(op.index as usize).and_then(Option::as_ref);
        let open = open.filter(|open| open.generation == op.generation);
        open.map_or_else(tracing::Span::none, |open| open.slot.span())
    }

    /// Names of all sends that have not ended.
    pub(crate) fn open_ops(&self) -> Vec<OpId> {
        let name = |(index, open): (usize, &Option<Open>)| {
            let generation = open.as_ref()?.generation;
            Some(OpId { index: index as u32, generation })
        };
        self.open.iter().enumerate().filter_map(name).collect()
    }

    /// Wakes all callers. No lock may be held.
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    #[inline]
    fn count(&mut self, result: &Result<Completion, SendError>) {
        let counts = &mut self.counts;
        let failed = match result {
            Ok(Completion::Stored(receipt)) => {
                counts.acknowledged += 1;
                self.latency.record(receipt.elapsed);
                counts.weak += u64::from(receipt.status != SendStatus::SendOk);
                receipt.failed_attempts.len()
            }
            Ok(Completion::StoredBatch(receipts)) => {
                counts.acknowledged += 1;
                let first = receipts.first();
                if let Some(receipt) = first {
                    self.latency.record(receipt.elapsed);
                }
                counts.weak += u64::from(first.is_some_and(|r| r.status != SendStatus::SendOk));
                first.map_or(0, |receipt| receipt.failed_attempts.len())
            }
            Ok(Completion::Sent(receipt)) => {
                counts.oneway += 1;
                receipt.failed_attempts.len()
            }
            Ok(_) => 0,
            Err(error) => {
                match error.delivery() {
                    Delivery::NotSent => counts.not_sent += 1,
                    Delivery::Refused => counts.refused += 1,
                    Delivery::Unknown => counts.unknown += 1,
                }
                error.attempts().len().saturating_sub(1)
            }
        };
        counts.retries += failed as u64;
    }
}

/// The result of each of the `count` messages of a batch.
fn apart(
    result: Result<Completion, SendError>,
    count: usize,
) -> Vec<Result<Completion, SendError>> {
    match result {
        Ok(Completion::StoredBatch(receipts)) => {
            receipts.into_iter().map(|receipt| Ok(Completion::Stored(receipt))).collect()
        }
        Ok(_) => Vec::new(),
        Err(error) if error.member_keys().len() == count => {
            error.into_members().into_iter().map(Err).collect()
        }
        Err(error) => vec![Err(error); count],
    }
}

fn lost() -> Result<Completion, SendError> {
    Err(SendError::lost())
}

fn called_later(
    result: Result<Completion, SendError>,
    later: Duration,
) -> Result<Completion, SendError> {
    match result {
        Ok(Completion::Stored(mut receipt)) => {
            receipt.elapsed = receipt.elapsed.saturating_sub(later);
            Ok(Completion::Stored(receipt))
        }
        Ok(completion) => Ok(completion),
        Err(error) => {
            let elapsed = error.elapsed().saturating_sub(later);
            Err(error.with_elapsed(elapsed))
        }
    }
}

fn note(report: &mut CloseReport, result: &Result<Completion, SendError>, slot: &Arc<SendSlot>) {
    let Err(error) = result else {
        report.acknowledged += 1;
        return;
    };
    report.failed += 1;
    report.failures.extend(error.unique_key().map(|key| (key, error.delivery())));
    // A cancelled send was given up on purpose.
    if Arc::strong_count(slot) == 1 && *error.kind() != SendErrorKind::Cancelled {
        report.unclaimed.push(error.clone());
    }
}

/// Sends between two flushes, counted together, so that a flush costs nothing per send.
#[derive(Debug)]
struct Epochs {
    /// Number of the first in the list.
    first: u64,
    /// Never empty. Sends enter the last one.
    list: VecDeque<Epoch>,
}

#[derive(Debug, Default)]
struct Epoch {
    open: usize,
    /// Those who wait for this epoch and all before it.
    slots: Vec<Arc<Slot<()>>>,
}

impl Epochs {
    fn new() -> Epochs {
        Epochs { first: 0, list: VecDeque::from([Epoch::default()]) }
    }

    fn enter(&mut self) -> u64 {
        if let Some(last) = self.list.back_mut() {
            last.open += 1;
        }
        self.first + self.list.len() as u64 - 1
    }

    fn leave(&mut self, epoch: u64, wakers: &mut Vec<Waker>) {
        if let Some(epoch) = self.list.get_mut((epoch - self.first) as usize) {
            epoch.open -= 1;
        }
        self.retire(wakers);
    }

    fn wait(&mut self, slot: Arc<Slot<()>>, wakers: &mut Vec<Waker>) {
        if let Some(last) = self.list.back_mut() {
            last.slots.push(slot);
        }
        self.list.push_back(Epoch::default());
        self.retire(wakers);
    }

    /// Drops finished epochs from the front, all but the last.
    fn retire(&mut self, wakers: &mut Vec<Waker>) {
        while self.list.len() > 1 && self.list.front().is_some_and(|epoch| epoch.open == 0) {
            if let Some(epoch) = self.list.pop_front() {
                self.first += 1;
                wakers.extend(epoch.slots.iter().filter_map(|slot| slot.end(())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    #[test]
    fn a_flush_waits_for_what_came_before_it_and_for_no_more() {
        let mut epochs = Epochs::new();
        let mut wakers = Vec::new();
        let slot = || Arc::new(Slot::new());
        let done = |slot: &Slot<()>| slot.poll(&Context::from_waker(Waker::noop())).is_ready();
        let [none, one, both] = [slot(), slot(), slot()];
        epochs.wait(Arc::clone(&none), &mut wakers);
        assert!(done(&none));
        let a = epochs.enter();
        epochs.wait(Arc::clone(&one), &mut wakers);
        let b = epochs.enter();
        epochs.wait(Arc::clone(&both), &mut wakers);
        let c = epochs.enter();
        epochs.leave(b, &mut wakers);
        assert!(!done(&one) && !done(&both));
        epochs.leave(a, &mut wakers);
        assert!(done(&one) && done(&both));
        epochs.leave(c, &mut wakers);
        assert_eq!(epochs.list.len(), 1);
    }
}
