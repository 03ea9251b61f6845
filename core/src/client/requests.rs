//! Requests on one connection that wait for an answer, found by their number.

use alloc::vec::Vec;

use crate::id::OpId;
use crate::limits::REQUESTS_PER_CONNECTION_MAX;
use crate::slab::Key;

/// What an answer belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// Attempt `number` of a send.
    Send { op: OpId, number: u32 },
    /// Any other request.
    Control(Key),
}

/// A ring of slots addressed by the low bits of the request's number. Numbers are handed out in
/// order and skip slots in use, so no hashing and no search is needed.
#[derive(Debug, Default)]
pub(super) struct Requests {
    slots: Vec<Option<(i32, Request)>>,
    len: usize,
    next: i32,
}

impl Requests {
    /// Starts counting at `next`, for tests of the wrap.
    #[cfg(test)]
    fn starting_at(next: i32) -> Requests {
        Requests { next, ..Requests::default() }
    }

    /// A number for a request that gets no answer.
    pub(super) fn skip(&mut self) -> i32 {
        let opaque = self.next;
        // Brokers read 32 bits, but some answer only non-negative numbers: count within 31.
        self.next =
            opaque.wrapping_add(1) & if planted!(RequestNumberReused) { 63 } else { i32::MAX };
        opaque
    }

    /// Remembers a request and gives it a number. `None` if too many wait already.
    pub(super) fn insert(&mut self, request: Request) -> Option<i32> {
        if self.len >= REQUESTS_PER_CONNECTION_MAX {
            return None;
        }
        // At most half full, so that a free slot is near.
        if self.len * 2 >= self.slots.len() {
            self.grow();
        }
        loop {
            let opaque = self.skip();
            let slot = self.slot(opaque)?;
            if slot.is_none() {
                *slot = Some((opaque, request));
                self.len += 1;
                return Some(opaque);
            }
        }
    }

    /// Whether another request can be remembered.
    pub(super) fn has_room(&self) -> bool {
        self.len < REQUESTS_PER_CONNECTION_MAX
    }

    /// Takes out the request with this number.
    pub(super) fn remove(&mut self, opaque: i32) -> Option<Request> {
        let slot = self.slot(opaque)?;
        if slot.as_ref()?.0 != opaque {
            return None;
        }
        let (_, request) = slot.take()?;
        self.len -= 1;
        Some(request)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, Request)> {
        self.slots.iter().flatten().copied()
    }

    fn slot(&mut self, opaque: i32) -> Option<&mut Option<(i32, Request)>> {
        let mask = self.slots.len().wrapping_sub(1);
        self.slots.get_mut(opaque as u32 as usize & mask)
    }

    /// Doubles the ring. Numbers that differ in the low bits still do with one bit more.
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = core::mem::take(&mut self.slots);
        self.slots.resize(size, None);
        for entry in old.into_iter().flatten() {
            if let Some(slot) = self.slot(entry.0) {
                *slot = Some(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u32) -> Request {
        Request::Send { op: OpId { index: number, generation: 0 }, number }
    }

    #[test]
    fn t70_numbers_wrap_within_31_bits_and_skip_those_in_use() {
        let mut requests = Requests::starting_at(i32::MAX - 1);
        let numbers: Vec<_> = (0..4).filter_map(|n| requests.insert(request(n))).collect();
        assert_eq!(numbers, [i32::MAX - 1, i32::MAX, 0, 1]);
        requests.next = i32::MAX - 1;
        let after = requests.insert(request(9)).unwrap();
        assert!(!numbers.contains(&after), "{after} is in use");
        assert_eq!(requests.remove(i32::MAX), Some(request(1)));
    }

    #[test]
    fn a_number_is_found_once_and_only_by_its_full_value() {
        let mut requests = Requests::default();
        let first = requests.insert(request(1)).unwrap();
        assert_eq!(requests.remove(first + 16), None);
        assert_eq!(requests.remove(-1), None);
        assert_eq!(requests.remove(first), Some(request(1)));
        assert_eq!(requests.remove(first), None);
        assert!(requests.is_empty());
    }

    #[test]
    fn every_request_survives_growth_and_the_bound_holds() {
        let mut requests = Requests::default();
        let numbers: Vec<_> = (0..70_000).map_while(|n| requests.insert(request(n))).collect();
        assert_eq!(numbers.len(), REQUESTS_PER_CONNECTION_MAX);
        assert!(!requests.has_room());
        for (n, opaque) in numbers.iter().enumerate() {
            assert_eq!(requests.remove(*opaque), Some(request(n as u32)));
        }
        assert!(requests.is_empty());
    }
}
