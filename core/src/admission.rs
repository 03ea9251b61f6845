//! Room for what is in flight: bounds by number and by bytes, and a fair queue in front of them.

use alloc::collections::VecDeque;

use crate::error::Bound;

/// Bounds what is in flight by number of messages and by bytes of bodies, and keeps those who wait
/// for room in the order in which they came.
///
/// It knows no time and wakes nobody: whoever holds it removes waiters whose time is over, and asks
/// [`Admission::poll_admitted`] after every [`Admission::release`] and [`Admission::remove`]. The
/// head of the queue blocks all behind it, so a stream of small messages cannot starve a large one.
#[derive(Debug)]
pub struct Admission {
    messages_max: u32,
    bytes_max: usize,
    messages: u32,
    bytes: usize,
    /// By increasing number. The head is never one that has left.
    queue: VecDeque<Waiter>,
    /// How many entries of the queue have left it.
    left: usize,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    bytes: usize,
    left: bool,
}

/// Entries that have left the queue are swept out when they outnumber the others by this many.
const SWEEP_SLACK: usize = 32;

impl Admission {
    /// Room for `messages_max` messages of `bytes_max` bytes in all.
    pub fn new(messages_max: u32, bytes_max: usize) -> Admission {
        Admission {
            messages_max,
            bytes_max,
            messages: 0,
            bytes: 0,
            queue: VecDeque::new(),
            left: 0,
        }
    }

    /// Takes room for one message of `bytes` at once. `false`, and nothing is taken, if there is
    /// none or if anybody waits: nobody overtakes.
    pub fn try_acquire(&mut self, bytes: usize) -> bool {
        if !self.queue.is_empty() || !self.fits(bytes) {
            return false;
        }
        self.take(bytes);
        true
    }

    /// Lets `waiter` wait for room for one message of `bytes`. Take what
    /// [`Admission::poll_admitted`] returns afterwards: there may be room already.
    ///
    /// A message of more than [`Admission::bytes_max`] would wait for ever and block all behind it,
    /// so it has to be refused before.
    ///
    /// # Panics
    /// If `waiter` is not larger than the number of everybody who waits: removal rests on it.
    pub fn enqueue(&mut self, waiter: u64, bytes: usize) {
        let increasing = self.queue.back().is_none_or(|last| last.number < waiter);
        assert!(increasing, "numbers of waiters increase");
        debug_assert!(bytes <= self.bytes_max, "the whole room is too small");
        self.queue.push_back(Waiter { number: waiter, bytes, left: false });
    }

    /// Gives back the room of one message of `bytes`.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(self.messages > 0 && self.bytes >= bytes, "released more than was taken");
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes `waiter` out of the queue: it was cancelled, or its time is over. `false` if it does
    /// not wait, for instance because it has been admitted.
    pub fn remove(&mut self, waiter: u64) -> bool {
        let Ok(index) = self.queue.binary_search_by_key(&waiter, |entry| entry.number) else {
            return false;
        };
        let Some(entry) = self.queue.get_mut(index).filter(|entry| !entry.left) else {
            return false;
        };
        entry.left = true;
        self.left += 1;
        self.trim();
        if self.left > self.queue.len() / 2 + SWEEP_SLACK {
            self.queue.retain(|entry| !entry.left);
            self.left = 0;
        }
        true
    }

    /// The next waiter that now holds its room. Call until `None`.
    pub fn poll_admitted(&mut self) -> Option<u64> {
        let bytes = self.queue.front()?.bytes;
        if !self.fits(bytes) {
            return None;
        }
        self.take(bytes);
        let admitted = self.queue.pop_front()?.number;
        self.trim();
        Some(admitted)
    }

    /// The bound for which the head of the queue waits. With nobody waiting, the bound that is
    /// nearer to being reached.
    pub fn blocking_bound(&self) -> Bound {
        if self.messages >= self.messages_max { Bound::Messages } else { Bound::Bytes }
    }

    /// Messages that hold room.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes that are taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most messages that hold room at once.
    pub fn messages_max(&self) -> u32 {
        self.messages_max
    }

    /// Most bytes that are taken at once.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() - self.left
    }

    fn fits(&self, bytes: usize) -> bool {
        self.messages < self.messages_max && bytes <= self.bytes_max.saturating_sub(self.bytes)
    }

    fn take(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Drops entries that have left from the head, so that the head always waits.
    fn trim(&mut self) {
        while self.queue.front().is_some_and(|entry| entry.left) {
            self.queue.pop_front();
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn admitted(admission: &mut Admission) -> Vec<u64> {
        core::iter::from_fn(|| admission.poll_admitted()).collect()
    }

    #[test]
    fn both_bounds_hold_and_the_error_names_the_right_one() {
        let mut admission = Admission::new(2, 100);
        assert!(admission.try_acquire(60));
        assert!(!admission.try_acquire(41));
        assert_eq!(admission.blocking_bound(), Bound::Bytes);
        assert!(admission.try_acquire(40));
        assert!(!admission.try_acquire(0));
        assert_eq!(admission.blocking_bound(), Bound::Messages);
        admission.release(60);
        assert!(admission.try_acquire(60));
    }

    #[test]
    fn small_ones_do_not_overtake_a_large_one() {
        let mut admission = Admission::new(10, 100);
        assert!(admission.try_acquire(50));
        admission.enqueue(1, 80);
        admission.enqueue(2, 1);
        assert!(admitted(&mut admission).is_empty());
        assert!(!admission.try_acquire(1));
        admission.release(50);
        assert_eq!(admitted(&mut admission), [1, 2]);
    }

    #[test]
    fn a_head_that_leaves_makes_way() {
        let mut admission = Admission::new(10, 100);
        assert!(admission.try_acquire(50));
        for (waiter, bytes) in [(1, 80), (2, 80), (3, 10)] {
            admission.enqueue(waiter, bytes);
        }
        assert!(admission.remove(2));
        assert!(!admission.remove(2));
        assert_eq!(admission.waiting(), 2);
        assert!(admission.remove(1));
        assert_eq!(admitted(&mut admission), [3]);
        assert!(!admission.remove(3));
        assert!(admission.try_acquire(40));
    }

    #[test]
    fn those_who_leave_behind_a_blocked_head_take_no_memory() {
        let mut admission = Admission::new(1, 100);
        assert!(admission.try_acquire(100));
        admission.enqueue(0, 1);
        for waiter in 1..10_000 {
            admission.enqueue(waiter, 1);
            assert!(admission.remove(waiter));
        }
        assert!(admission.queue.len() < 200);
        assert_eq!(admission.waiting(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(usize),
        Release(prop::sample::Index),
        Remove(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_usize..=40).prop_map(Step::Acquire),
            2 => any::<prop::sample::Index>().prop_map(Step::Release),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Against a plain list: bounds hold, order is kept, and everything returns to zero.
        #[test]
        fn it_is_a_bounded_fair_queue(
            steps in prop::collection::vec(step(), 0..400),
            messages_max in 1_u32..6,
        ) {
            let bytes_max = 40;
            let mut admission = Admission::new(messages_max, bytes_max);
            let mut held: Vec<usize> = Vec::new();
            let mut queue: Vec<(u64, usize)> = Vec::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Acquire(bytes) if admission.try_acquire(bytes) => {
                        prop_assert!(queue.is_empty());
                        held.push(bytes);
                    }
                    Step::Acquire(bytes) => {
                        number += 1;
                        admission.enqueue(number, bytes);
                        queue.push((number, bytes));
                    }
                    Step::Release(_) if held.is_empty() => {}
                    Step::Release(index) => {
                        admission.release(held.swap_remove(index.index(held.len())));
                    }
                    Step::Remove(_) if queue.is_empty() => {}
                    Step::Remove(index) => {
                        let (waiter, _) = queue.remove(index.index(queue.len()));
                        prop_assert!(admission.remove(waiter));
                    }
                }
                while let Some(waiter) = admission.poll_admitted() {
                    let (first, bytes) = queue.remove(0);
                    prop_assert_eq!(waiter, first);
                    held.push(bytes);
                }
                let total: usize = held.iter().sum();
                prop_assert_eq!(admission.bytes(), total);
                prop_assert_eq!(admission.messages() as usize, held.len());
                prop_assert_eq!(admission.waiting(), queue.len());
                prop_assert!(total <= bytes_max && held.len() <= messages_max as usize);
                // Nobody waits while there is room for the head.
                if let Some((_, bytes)) = queue.first() {
                    let full = held.len() == messages_max as usize;
                    prop_assert!(full || total + bytes > bytes_max);
                }
            }
            while let Some(bytes) = held.pop() {
                admission.release(bytes);
                while admission.poll_admitted().is_some() {
                    held.push(queue.remove(0).1);
                }
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!((admission.messages(), admission.bytes()), (0, 0));
            prop_assert_eq!(admission.waiting(), 0);
        }
    }
}
