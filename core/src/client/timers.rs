//! All deadlines in one heap, each with the reason why it exists.

use alloc::vec::Vec;

use crate::id::{ConnId, OpId};
use crate::output::TimeoutReason;
use crate::slab::Key;
use crate::time::Instant;

/// What a deadline belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum TimerKey {
    /// An attempt's or a send's end, or the end of its back-off.
    Op(OpId),
    /// A topic's look-up: patience with a name server, its end, or its next try.
    Topic(Key),
    /// A request other than a send.
    Control(Key),
    /// A dial's end.
    Dial(ConnId),
    /// An address may be dialled again.
    Redial(Key),
    /// Idle, a partial frame or a write without progress.
    Conn(ConnId),
    /// All routes are to be refreshed.
    RouteRefresh,
    /// Brokers are to be cleaned and heartbeats to be sent.
    Heartbeat,
    /// A wait for readiness ends.
    Ready(u64),
    /// The shutdown's time is over.
    Shutdown,
}

impl TimerKey {
    fn reason(self) -> TimeoutReason {
        match self {
            TimerKey::Op(_) => TimeoutReason::Send,
            TimerKey::Topic(_) => TimeoutReason::Lookup,
            TimerKey::Control(_) => TimeoutReason::Request,
            TimerKey::Dial(_) | TimerKey::Redial(_) => TimeoutReason::Dial,
            TimerKey::Conn(_) => TimeoutReason::Connection,
            TimerKey::RouteRefresh => TimeoutReason::RouteRefresh,
            TimerKey::Heartbeat => TimeoutReason::Heartbeat,
            TimerKey::Ready(_) => TimeoutReason::Ready,
            TimerKey::Shutdown => TimeoutReason::Shutdown,
        }
    }
}

/// Names a deadline. One that has passed or was cancelled names nothing.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct TimerId {
    slot: u32,
    generation: u32,
}

impl TimerId {
    /// No deadline.
    pub(super) const NONE: TimerId = TimerId { slot: u32::MAX, generation: 0 };
}

#[derive(Debug)]
struct Item {
    at: Instant,
    /// Deadlines at the same instant pass in the order in which they were set.
    sequence: u64,
    slot: u32,
}

impl Item {
    fn before(&self, other: &Item) -> bool {
        (self.at, self.sequence) < (other.at, other.sequence)
    }
}

#[derive(Debug)]
struct Slot {
    key: TimerKey,
    generation: u32,
    position: u32,
}

/// A binary heap that knows where each deadline is, so that one can be taken out in place: sends
/// end long before their deadlines, and dead entries would pile up.
#[derive(Debug)]
pub(super) struct Timers {
    heap: Vec<Item>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    sequence: u64,
}

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    /// Sets a deadline.
    pub(super) fn schedule(&mut self, at: Instant, key: TimerKey) -> TimerId {
        let position = self.heap.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].key = key;
                slot
            }
            None => {
                self.slots.push(Slot { key, generation: 1, position: 0 });
                (self.slots.len() - 1) as u32
            }
        };
        self.sequence += 1;
        self.heap.push(Item { at, sequence: self.sequence, slot });
        self.rise(position);
        TimerId { slot, generation: self.slots[slot as usize].generation }
    }

    /// Takes a deadline out and forgets its name.
    pub(super) fn cancel(&mut self, id: &mut TimerId) {
        let known = self.slots.get(id.slot as usize);
        if let Some(slot) = known.filter(|slot| slot.generation == id.generation) {
            self.remove(slot.position as usize);
        }
        *id = TimerId::NONE;
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Instant, TimeoutReason)> {
        let item = self.heap.first()?;
        Some((item.at, self.slots[item.slot as usize].key.reason()))
    }

    /// Takes out the earliest deadline that has passed.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<TimerKey> {
        let item = self.heap.first()?;
        if item.at > now {
            return None;
        }
        let key = self.slots[item.slot as usize].key;
        self.remove(0);
        Some(key)
    }

    /// Deadlines that are set.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    // Positions and slots below are the heap's own: every item names a slot, whose position names
    // the item.

    fn remove(&mut self, position: usize) {
        let item = self.heap.swap_remove(position);
        let slot = &mut self.slots[item.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(item.slot);
        if position < self.heap.len() {
            self.rise(position);
            self.sink(position);
        }
    }

    fn place(&mut self, position: usize) {
        let slot = self.heap[position].slot as usize;
        self.slots[slot].position = position as u32;
    }

    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if !self.heap[position].before(&self.heap[parent]) {
                break;
            }
            self.heap.swap(position, parent);
            self.place(position);
            position = parent;
        }
        self.place(position);
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let left = position * 2 + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let right_first = right < self.heap.len() && self.heap[right].before(&self.heap[left]);
            let child = if right_first { right } else { left };
            if !self.heap[child].before(&self.heap[position]) {
                break;
            }
            self.heap.swap(position, child);
            self.place(position);
            position = child;
        }
        self.place(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn key(index: u32) -> TimerKey {
        TimerKey::Op(OpId { index, generation: 0 })
    }

    #[test]
    fn deadlines_pass_in_order_and_ties_in_the_order_of_setting() {
        let mut timers = Timers::new();
        for (at, index) in [(5, 0), (3, 1), (5, 2), (1, 3)] {
            timers.schedule(Instant::from_nanos(at), key(index));
        }
        assert_eq!(timers.pop_due(Instant::ZERO), None);
        let order: Vec<_> =
            core::iter::from_fn(|| timers.pop_due(Instant::from_nanos(5))).collect();
        assert_eq!(order, [key(3), key(1), key(0), key(2)]);
    }

    #[test]
    fn against_a_sorted_list_with_random_cancels() {
        let mut rng = Rng::from_seed(3);
        let mut timers = Timers::new();
        let mut model: Vec<(u64, u64, TimerId, TimerKey)> = Vec::new();
        for round in 0..5_000_u64 {
            match rng.below(3) {
                0 | 1 => {
                    let at = u64::from(rng.below(1_000));
                    let key = key(round as u32);
                    let id = timers.schedule(Instant::from_nanos(at), key);
                    model.push((at, round, id, key));
                }
                _ if !model.is_empty() => {
                    let index = rng.below(model.len() as u32) as usize;
                    let (_, _, mut id, _) = model.swap_remove(index);
                    timers.cancel(&mut id);
                    assert_eq!(id, TimerId::NONE);
                    timers.cancel(&mut id);
                }
                _ => {}
            }
        }
        model.sort_by_key(|entry| (entry.0, entry.1));
        assert_eq!(timers.len(), model.len());
        for (at, _, _, key) in model {
            assert_eq!(timers.next().map(|next| next.0), Some(Instant::from_nanos(at)));
            assert_eq!(timers.pop_due(Instant::from_nanos(at)), Some(key));
        }
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn an_old_name_does_not_cancel_the_slots_next_deadline() {
        let mut timers = Timers::new();
        let old = timers.schedule(Instant::from_nanos(1), key(1));
        assert!(timers.pop_due(Instant::from_nanos(1)).is_some());
        timers.schedule(Instant::from_nanos(2), key(2));
        timers.cancel(&mut { old });
        assert_eq!(timers.len(), 1);
    }
}
