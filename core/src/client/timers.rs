//! All deadlines, each with the reason why it exists.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::{ConnId, OpId};
use crate::output::TimeoutReason;
use crate::slab::Key;
use crate::time::Instant;
use crate::transaction::CheckId;

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
    /// The list of name servers is to be looked up, or that has taken too long.
    Discovery,
    /// A provider is to be asked for credentials, or has taken too long.
    Credentials,
    /// All routes are to be refreshed.
    RouteRefresh,
    /// Brokers are to be cleaned and heartbeats to be sent.
    Heartbeat,
    /// Brokers are to be asked whether they can be reached.
    Detector,
    /// A wait for readiness ends.
    Ready(u64),
    /// A question for a topic's queues ends.
    QueueWaiter(u64),
    /// The application's time to answer a check is over.
    Check(CheckId),
    /// A reply comes too late.
    Reply(Key),
    /// The shutdown's time is over.
    Shutdown,
}

impl TimerKey {
    fn reason(self) -> TimeoutReason {
        match self {
            TimerKey::Op(_) => TimeoutReason::Send,
            TimerKey::Topic(_) | TimerKey::QueueWaiter(_) => TimeoutReason::Lookup,
            TimerKey::Control(_) => TimeoutReason::Request,
            TimerKey::Dial(_) | TimerKey::Redial(_) => TimeoutReason::Dial,
            TimerKey::Conn(_) => TimeoutReason::Connection,
            TimerKey::Discovery => TimeoutReason::Discovery,
            TimerKey::Credentials => TimeoutReason::Credentials,
            TimerKey::RouteRefresh => TimeoutReason::RouteRefresh,
            TimerKey::Heartbeat => TimeoutReason::Heartbeat,
            TimerKey::Detector => TimeoutReason::Detector,
            TimerKey::Ready(_) => TimeoutReason::Ready,
            TimerKey::Check(_) => TimeoutReason::Check,
            TimerKey::Reply(_) => TimeoutReason::Reply,
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

#[derive(Copy, Clone, Debug)]
struct Item {
    at: Instant,
    /// Deadlines at the same instant pass in the order in which they were set.
    sequence: u64,
    /// [`DEAD`] in the lane, once the deadline was taken out.
    slot: u32,
}

const DEAD: u32 = u32::MAX;

impl Item {
    fn before(&self, other: &Item) -> bool {
        (self.at, self.sequence) < (other.at, other.sequence)
    }
}

#[derive(Debug)]
struct Slot {
    key: TimerKey,
    generation: u32,
    place: Place,
}

/// Where a deadline is.
#[derive(Copy, Clone, Debug)]
enum Place {
    Heap(u32),
    /// Counted over all deadlines that were ever in the lane.
    Lane(u64),
}

/// Two queues. Most deadlines are those of sends, which are set in the order in which they would
/// pass and are taken out, roughly in that order, long before: one that is no earlier than the
/// lane's last goes to its end, and dies there when it is taken out. All others are in a binary
/// heap that knows where each is, so that one can be taken out in place.
#[derive(Debug)]
pub(super) struct Timers {
    heap: Vec<Item>,
    /// Begins and ends with a live one. Dead ones do not pile up between: there are never many
    /// more of them than of the others.
    lane: VecDeque<Item>,
    /// Deadlines that have left the lane's front.
    lane_start: u64,
    lane_dead: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    sequence: u64,
}

/// Dead deadlines that the lane may hold however few live ones there are.
const DEAD_MIN: usize = 64;

impl Timers {
    pub(super) const fn new() -> Timers {
        Timers {
            heap: Vec::new(),
            lane: VecDeque::new(),
            lane_start: 0,
            lane_dead: 0,
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }

    /// Sets a deadline.
    pub(super) fn schedule(&mut self, at: Instant, key: TimerKey) -> TimerId {
        // Other deadlines are much later and would keep those of sends out of the lane.
        let in_lane =
            matches!(key, TimerKey::Op(_)) && self.lane.back().is_none_or(|last| last.at <= at);
        let place = if in_lane {
            Place::Lane(self.lane_start + self.lane.len() as u64)
        } else {
            Place::Heap(self.heap.len() as u32)
        };
        let (slot, generation) = self.name(key, place);
        self.sequence += 1;
        let item = Item { at, sequence: self.sequence, slot };
        if in_lane {
            self.lane.push_back(item);
        } else {
            self.heap.push(item);
            self.rise(self.heap.len() - 1);
        }
        TimerId { slot, generation }
    }

    fn name(&mut self, key: TimerKey, place: Place) -> (u32, u32) {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            (slot.key, slot.place) = (key, place);
            return (index, slot.generation);
        }
        self.slots.push(Slot { key, generation: 1, place });
        ((self.slots.len() - 1) as u32, 1)
    }

    /// Takes a deadline out and forgets its name.
    pub(super) fn cancel(&mut self, id: &mut TimerId) {
        let known = self.slots.get(id.slot as usize);
        if let Some(slot) = known.filter(|slot| slot.generation == id.generation) {
            self.remove(id.slot, slot.place);
        }
        *id = TimerId::NONE;
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Instant, TimeoutReason)> {
        let item = self.first()?;
        Some((item.at, self.slots[item.slot as usize].key.reason()))
    }

    fn first(&self) -> Option<&Item> {
        match (self.lane.front(), self.heap.first()) {
            (Some(lane), Some(heap)) if heap.before(lane) => Some(heap),
            (Some(lane), _) => Some(lane),
            (None, heap) => heap,
        }
    }

    /// Takes out a deadline that has passed at `now`, the earliest first.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<TimerKey> {
        let item = *self.first()?;
        if item.at > now {
            return None;
        }
        let slot = &self.slots[item.slot as usize];
        let key = slot.key;
        self.remove(item.slot, slot.place);
        Some(key)
    }

    /// Deadlines that are set.
    pub(super) fn len(&self) -> usize {
        self.heap.len() + self.lane.len() - self.lane_dead
    }

    // Positions and slots below are the queues' own: every live item names a slot, whose place
    // names the item.

    fn remove(&mut self, slot: u32, place: Place) {
        let named = &mut self.slots[slot as usize];
        named.generation = named.generation.wrapping_add(1);
        self.free.push(slot);
        match place {
            Place::Heap(position) => self.remove_from_heap(position as usize),
            Place::Lane(position) => {
                self.lane[(position - self.lane_start) as usize].slot = DEAD;
                self.lane_dead += 1;
                self.tidy_lane();
            }
        }
    }

    /// Lets the lane begin and end with a live deadline, and tidies it when most of it is dead.
    fn tidy_lane(&mut self) {
        while self.lane.front().is_some_and(|item| item.slot == DEAD) {
            self.lane.pop_front();
            self.lane_start += 1;
            self.lane_dead -= 1;
        }
        while self.lane.back().is_some_and(|item| item.slot == DEAD) {
            self.lane.pop_back();
            self.lane_dead -= 1;
        }
        if self.lane_dead > self.lane.len() / 2 + DEAD_MIN {
            self.lane.retain(|item| item.slot != DEAD);
            self.lane_dead = 0;
            for (item, position) in self.lane.iter().zip(self.lane_start..) {
                self.slots[item.slot as usize].place = Place::Lane(position);
            }
        }
    }

    fn remove_from_heap(&mut self, position: usize) {
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.rise(position);
            self.sink(position);
        }
    }

    fn place(&mut self, position: usize) {
        let slot = self.heap[position].slot as usize;
        self.slots[slot].place = Place::Heap(position as u32);
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

    /// Deadlines as sends set them: each later than the one before, most taken out early, some
    /// never.
    #[test]
    fn deadlines_in_order_leave_nothing_behind() {
        let mut rng = Rng::from_seed(4);
        let mut timers = Timers::new();
        let mut open = VecDeque::new();
        for round in 0..20_000_u64 {
            let early = timers.schedule(Instant::from_nanos(round), key(0));
            open.push_back((
                round + 500,
                timers.schedule(Instant::from_nanos(round + 500), key(1)),
            ));
            timers.cancel(&mut { early });
            if round % 1_000 != 0 && rng.below(50) != 0 {
                let index = rng.below(open.len().min(8) as u32) as usize;
                let (_, mut id) = open.remove(index).unwrap();
                timers.cancel(&mut id);
            }
            while let Some(key_due) = timers.pop_due(Instant::from_nanos(round)) {
                let (at, _) = open.pop_front().unwrap();
                assert_eq!((key_due, at), (key(1), round), "in order, and none early or late");
            }
            assert_eq!(timers.len(), open.len());
            assert!(timers.lane_dead <= timers.lane.len() / 2 + DEAD_MIN);
        }
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
