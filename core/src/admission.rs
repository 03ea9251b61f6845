//! Room for what is in flight: bounds by number and by bytes, for all and for each topic, and a
//! fair queue in front of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::Bound;

/// Bounds what is in flight by number of messages and by bytes of bodies, and keeps those who wait
/// for room in the order in which they came.
///
/// It knows no time and wakes nobody: whoever holds it removes waiters whose time is over, and asks
/// [`Admission::poll_admitted`] after every [`Admission::release`], [`Admission::remove`] and
/// [`Admission::resize`]. Room is taken whole or not at all: a message for which there is a number
/// but no bytes holds neither.
///
/// # Fairness
/// The first that waits for the room of all blocks everybody behind it, so a stream of small
/// messages cannot starve a large one. One that waits for its topic alone blocks nobody but the
/// messages of that topic: they keep their order, the others pass. As soon as the topic has room,
/// its first message is back in its old place among all, so others cannot starve it either.
#[derive(Debug)]
pub struct Admission {
    messages_max: u32,
    bytes_max: usize,
    messages: u32,
    bytes: usize,
    /// Those who wait for the room of all, by number: all, or with bounds on topics at most one of
    /// each topic.
    queue: BTreeMap<u64, Waiter>,
    /// `None` without bounds on topics: then they cost nothing.
    topics: Option<Box<Topics>>,
}

/// What one message takes. It goes back with [`Admission::release`], once: it cannot be copied.
#[derive(Debug)]
#[must_use = "room that is dropped is never given back"]
pub struct Room {
    bytes: usize,
    lane: Lane,
}

impl Room {
    /// Bytes of the body.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The place of a topic among those with something in flight or waiting.
type Lane = u32;

/// The lane of every message without bounds on topics.
const NO_LANE: Lane = Lane::MAX;

#[derive(Copy, Clone, Debug)]
struct Waiter {
    bytes: usize,
    lane: Lane,
}

/// The bounds on topics, and where each topic with something in flight or waiting stands.
#[derive(Debug)]
struct Topics {
    messages_max: u32,
    bytes_max: usize,
    names: BTreeMap<Box<str>, Lane>,
    lanes: Vec<Topic>,
    /// Lanes that no topic uses.
    free: Vec<Lane>,
    /// The lanes of those who wait in one.
    parked: BTreeMap<u64, Lane>,
}

#[derive(Debug, Default)]
struct Topic {
    name: Box<str>,
    messages: u32,
    bytes: usize,
    /// Bytes of those who wait behind the first, or for room of the topic, by number.
    queue: BTreeMap<u64, usize>,
    /// The first that waits has room in its topic and stands in the queue of all.
    is_out: bool,
}

impl Admission {
    /// Room for `messages_max` messages of `bytes_max` bytes in all.
    pub fn new(messages_max: u32, bytes_max: usize) -> Admission {
        Admission {
            messages_max,
            bytes_max,
            messages: 0,
            bytes: 0,
            queue: BTreeMap::new(),
            topics: None,
        }
    }

    /// Bounds what each topic may take of it. Without either bound, topics are not told apart.
    #[must_use]
    pub fn with_topic_bounds(
        mut self,
        messages_max: Option<u32>,
        bytes_max: Option<usize>,
    ) -> Admission {
        self.topics = (messages_max.is_some() || bytes_max.is_some()).then(|| {
            Box::new(Topics {
                messages_max: messages_max.unwrap_or(u32::MAX),
                bytes_max: bytes_max.unwrap_or(usize::MAX),
                names: BTreeMap::new(),
                lanes: Vec::new(),
                free: Vec::new(),
                parked: BTreeMap::new(),
            })
        });
        self
    }

    /// Takes room for one message of `bytes` at once. `None`, and nothing is taken, if there is
    /// none or if anybody waits who would be overtaken.
    pub fn try_acquire(&mut self, topic: &str, bytes: usize) -> Option<Room> {
        if !self.queue.is_empty() || !self.fits(bytes) {
            return None;
        }
        let lane = match &mut self.topics {
            None => NO_LANE,
            Some(topics) => {
                let free = |lane: &Topic| !lane.has_waiters() && topics.fits(lane, bytes);
                if !topics.get(topic).is_none_or(free) {
                    return None;
                }
                topics.lane(topic)
            }
        };
        Some(self.take(lane, bytes))
    }

    /// Lets `waiter` wait for room for one message of `bytes`, after [`Admission::try_acquire`] has
    /// found none.
    ///
    /// A message of more than [`Admission::bytes_max`] is let in when nothing else is in flight. It
    /// should be refused before: all others wait behind it.
    ///
    /// # Panics
    /// If `waiter` is not larger than the number of everybody who waits: the order rests on it.
    pub fn enqueue(&mut self, waiter: u64, topic: &str, bytes: usize) {
        let last = self.queue.last_key_value().map(|(last, _)| *last);
        let parked = self.topics.as_ref().and_then(|topics| topics.parked.last_key_value());
        let last = last.max(parked.map(|(last, _)| *last));
        assert!(last.is_none_or(|last| last < waiter), "numbers of waiters increase");
        let Some(topics) = &mut self.topics else {
            self.queue.insert(waiter, Waiter { bytes, lane: NO_LANE });
            return;
        };
        let lane = topics.lane(topic);
        topics.parked.insert(waiter, lane);
        if let Some(topic) = topics.lanes.get_mut(lane as usize) {
            topic.queue.insert(waiter, bytes);
        }
        self.call_out(lane);
    }

    /// Gives back the room of one message.
    pub fn release(&mut self, room: Room) {
        let Room { bytes, lane } = room;
        debug_assert!(self.messages > 0 && self.bytes >= bytes, "released more than was taken");
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if lane == NO_LANE {
            return;
        }
        let topics = self.topics.as_mut();
        if let Some(topic) = topics.and_then(|topics| topics.lanes.get_mut(lane as usize)) {
            topic.messages = topic.messages.saturating_sub(1);
            topic.bytes = topic.bytes.saturating_sub(bytes);
        }
        self.call_out(lane);
    }

    /// Takes `waiter` out of the queue: it was cancelled, or its time is over. `false` if it does
    /// not wait, for instance because it has been admitted.
    pub fn remove(&mut self, waiter: u64) -> bool {
        if let Some(Waiter { lane, .. }) = self.queue.remove(&waiter) {
            self.went_in(lane);
            return true;
        }
        let Some(topics) = &mut self.topics else { return false };
        let Some(lane) = topics.parked.remove(&waiter) else { return false };
        if let Some(topic) = topics.lanes.get_mut(lane as usize) {
            topic.queue.remove(&waiter);
        }
        self.call_out(lane);
        true
    }

    /// The next waiter that now holds its room. Call until `None`.
    pub fn poll_admitted(&mut self) -> Option<(u64, Room)> {
        let (number, Waiter { bytes, lane }) = self.queue.first_key_value()?;
        let (number, bytes, lane) = (*number, *bytes, *lane);
        if !self.fits(bytes) {
            return None;
        }
        self.queue.remove(&number);
        let room = self.take(lane, bytes);
        self.went_in(lane);
        Some((number, room))
    }

    /// Changes the bounds on all. Nothing in flight is touched: with less room than is taken,
    /// nobody is let in until enough has ended.
    pub fn resize(&mut self, messages_max: u32, bytes_max: usize) {
        self.messages_max = messages_max;
        self.bytes_max = bytes_max;
    }

    /// The bound for which `waiter` waits; `None` if it does not wait.
    pub fn bound_of(&self, waiter: u64) -> Option<Bound> {
        if self.queue.contains_key(&waiter) {
            return Some(self.blocking_bound());
        }
        let topics = self.topics.as_ref()?;
        let lane = topics.parked.get(&waiter)?;
        Some(self.bound_of_lane(topics, topics.lanes.get(*lane as usize)?))
    }

    /// The bound for which a message of `topic` would wait that
    /// [`Admission::try_acquire`] does not let in.
    pub fn bound_for(&self, topic: &str, bytes: usize) -> Bound {
        let topics = self.topics.as_ref().filter(|_| self.queue.is_empty() && self.fits(bytes));
        let found = topics.and_then(|topics| Some((topics, topics.get(topic)?)));
        found.map_or_else(|| self.blocking_bound(), |(topics, lane)| topics.bound(lane))
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

    /// Most bytes that one message may have to be let in beside others, and what bounds it.
    pub fn message_bytes_max(&self) -> (usize, Bound) {
        match self.topics.as_ref().map(|topics| topics.bytes_max) {
            Some(max) if max < self.bytes_max => (max, Bound::TopicBytes),
            _ => (self.bytes_max, Bound::Bytes),
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.topics.as_ref().map_or(0, |topics| topics.parked.len())
    }

    /// Room for one message of `bytes` among all. One that is larger than all room, because the
    /// bound was lowered while it waited, goes alone.
    fn fits(&self, bytes: usize) -> bool {
        self.messages < self.messages_max
            && (self.bytes.saturating_add(bytes) <= self.bytes_max
                || (self.messages == 0 && bytes > self.bytes_max))
    }

    fn take(&mut self, lane: Lane, bytes: usize) -> Room {
        self.messages += 1;
        self.bytes += bytes;
        let topics = self.topics.as_mut();
        if let Some(topic) = topics.and_then(|topics| topics.lanes.get_mut(lane as usize)) {
            topic.messages += 1;
            topic.bytes += bytes;
        }
        Room { bytes, lane }
    }

    /// The bound for which the queue of all waits.
    fn blocking_bound(&self) -> Bound {
        if self.messages >= self.messages_max { Bound::Messages } else { Bound::Bytes }
    }

    fn bound_of_lane(&self, topics: &Topics, topic: &Topic) -> Bound {
        // Behind one that waits for the room of all, one waits for that as well.
        if topic.is_out { self.blocking_bound() } else { topics.bound(topic) }
    }

    /// The first of a topic has left the queue of all.
    fn went_in(&mut self, lane: Lane) {
        if lane == NO_LANE {
            return;
        }
        let topics = self.topics.as_mut();
        if let Some(topic) = topics.and_then(|topics| topics.lanes.get_mut(lane as usize)) {
            topic.is_out = false;
        }
        self.call_out(lane);
    }

    /// Puts the first of a topic into the queue of all if the topic has room for it, and forgets
    /// topics with nothing in flight or waiting.
    fn call_out(&mut self, lane: Lane) {
        let Some(topics) = &mut self.topics else { return };
        let Some(topic) = topics.lanes.get(lane as usize) else { return };
        if topic.is_out {
            return;
        }
        let Some((&number, &bytes)) = topic.queue.first_key_value() else {
            if topic.messages == 0 {
                topics.forget(lane);
            }
            return;
        };
        if !topics.fits(topic, bytes) {
            return;
        }
        topics.parked.remove(&number);
        if let Some(topic) = topics.lanes.get_mut(lane as usize) {
            topic.queue.remove(&number);
            topic.is_out = true;
        }
        self.queue.insert(number, Waiter { bytes, lane });
    }
}

impl Topics {
    fn get(&self, name: &str) -> Option<&Topic> {
        self.lanes.get(*self.names.get(name)? as usize)
    }

    /// The lane of a topic, made if it has none.
    fn lane(&mut self, name: &str) -> Lane {
        if let Some(lane) = self.names.get(name) {
            return *lane;
        }
        let lane = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Topic::default());
            self.lanes.len() as Lane - 1
        });
        if let Some(topic) = self.lanes.get_mut(lane as usize) {
            topic.name = name.into();
        }
        self.names.insert(name.into(), lane);
        lane
    }

    fn forget(&mut self, lane: Lane) {
        let Some(topic) = self.lanes.get_mut(lane as usize) else { return };
        self.names.remove(&core::mem::take(&mut topic.name));
        self.free.push(lane);
    }

    fn fits(&self, topic: &Topic, bytes: usize) -> bool {
        topic.messages < self.messages_max
            && (topic.bytes.saturating_add(bytes) <= self.bytes_max
                || (topic.messages == 0 && bytes > self.bytes_max))
    }

    fn bound(&self, topic: &Topic) -> Bound {
        if topic.messages >= self.messages_max { Bound::TopicMessages } else { Bound::TopicBytes }
    }
}

impl Topic {
    fn has_waiters(&self) -> bool {
        self.is_out || !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn admitted(admission: &mut Admission) -> Vec<u64> {
        let next = || admission.poll_admitted().map(|(number, _)| number);
        core::iter::from_fn(next).collect()
    }

    #[test]
    fn both_bounds_hold_and_the_error_names_the_right_one() {
        let mut admission = Admission::new(2, 100);
        let sixty = admission.try_acquire("t", 60).unwrap();
        assert!(admission.try_acquire("t", 41).is_none());
        assert_eq!(admission.bound_for("t", 41), Bound::Bytes);
        assert_eq!(admission.messages(), 1, "without bytes it holds no number either");
        assert!(admission.try_acquire("t", 40).is_some());
        assert!(admission.try_acquire("t", 0).is_none());
        assert_eq!(admission.bound_for("t", 0), Bound::Messages);
        admission.release(sixty);
        assert!(admission.try_acquire("t", 60).is_some());
    }

    #[test]
    fn small_ones_do_not_overtake_a_large_one() {
        let mut admission = Admission::new(10, 100);
        let room = admission.try_acquire("t", 50).unwrap();
        admission.enqueue(1, "t", 80);
        admission.enqueue(2, "t", 1);
        assert!(admitted(&mut admission).is_empty());
        assert!(admission.try_acquire("t", 1).is_none());
        assert_eq!(admission.bound_of(2), Some(Bound::Bytes));
        admission.release(room);
        assert_eq!(admitted(&mut admission), [1, 2]);
        assert_eq!(admission.bound_of(2), None);
    }

    #[test]
    fn a_head_that_leaves_makes_way() {
        let mut admission = Admission::new(10, 100);
        assert!(admission.try_acquire("t", 50).is_some());
        for (waiter, bytes) in [(1, 80), (2, 80), (3, 10)] {
            admission.enqueue(waiter, "t", bytes);
        }
        assert!(admission.remove(2));
        assert!(!admission.remove(2));
        assert_eq!(admission.waiting(), 2);
        assert!(admission.remove(1));
        assert_eq!(admitted(&mut admission), [3]);
        assert!(!admission.remove(3));
        assert!(admission.try_acquire("t", 40).is_some());
    }

    #[test]
    fn a_topic_at_its_bound_blocks_itself_alone_and_keeps_its_place() {
        let mut admission = Admission::new(3, 100).with_topic_bounds(Some(1), Some(50));
        let a = admission.try_acquire("a", 10).unwrap();
        assert!(admission.try_acquire("a", 10).is_none());
        assert_eq!(admission.bound_for("a", 10), Bound::TopicMessages);
        admission.enqueue(1, "a", 10);
        admission.enqueue(2, "a", 10);
        assert_eq!(admission.bound_of(1), Some(Bound::TopicMessages));
        let b = admission.try_acquire("b", 10).expect("another topic passes");
        let c = admission.try_acquire("c", 10).expect("another topic passes");
        admission.enqueue(3, "d", 10);
        assert!(admitted(&mut admission).is_empty());
        admission.release(a);
        assert_eq!(admitted(&mut admission), [1], "before d, which came later");
        assert_eq!(admission.bound_of(3), Some(Bound::Messages));
        assert_eq!(admission.bound_of(2), Some(Bound::TopicMessages));
        admission.release(b);
        assert_eq!(admitted(&mut admission), [3]);
        admission.release(c);
        assert!(admitted(&mut admission).is_empty(), "a is at its bound");
    }

    #[test]
    fn a_topic_is_bounded_by_bytes_as_well() {
        let mut admission = Admission::new(9, 100).with_topic_bounds(None, Some(50));
        assert_eq!(admission.message_bytes_max(), (50, Bound::TopicBytes));
        let room = admission.try_acquire("a", 40).unwrap();
        assert!(admission.try_acquire("a", 11).is_none());
        assert_eq!(admission.bound_for("a", 11), Bound::TopicBytes);
        admission.enqueue(1, "a", 11);
        admission.enqueue(2, "a", 1);
        assert!(admitted(&mut admission).is_empty(), "the small one does not overtake");
        admission.release(room);
        assert_eq!(admitted(&mut admission), [1, 2]);
    }

    #[test]
    fn topics_without_anything_in_flight_take_no_memory() {
        let mut admission = Admission::new(1, 100).with_topic_bounds(Some(1), None);
        for number in 0..1_000 {
            let topic = alloc::format!("topic {number}");
            let room = admission.try_acquire(&topic, 1).unwrap();
            admission.enqueue(number, &topic, 1);
            assert!(admission.remove(number));
            admission.release(room);
        }
        let topics = admission.topics.as_ref().unwrap();
        assert_eq!((topics.lanes.len(), topics.names.len(), topics.parked.len()), (1, 0, 0));
    }

    #[test]
    fn other_bounds_lose_nothing() {
        let mut admission = Admission::new(2, 100);
        let held = [60, 40].map(|bytes| admission.try_acquire("t", bytes).unwrap());
        admission.enqueue(1, "t", 60);
        admission.enqueue(2, "t", 10);
        admission.resize(4, 50);
        assert!(admitted(&mut admission).is_empty());
        assert_eq!(admission.bound_of(1), Some(Bound::Bytes));
        let [first, second] = held;
        admission.release(first);
        assert!(admitted(&mut admission).is_empty(), "40 of 50 are taken");
        admission.release(second);
        assert_eq!(admitted(&mut admission), [1], "larger than all room, so alone");
        assert_eq!(admission.waiting(), 1);
        admission.resize(4, 70);
        assert_eq!(admitted(&mut admission), [2]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(u8, usize),
        Release(prop::sample::Index),
        Remove(prop::sample::Index),
        Resize(u32, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0_u8..4, 0_usize..=40).prop_map(|(topic, bytes)| Step::Acquire(topic, bytes)),
            8 => any::<prop::sample::Index>().prop_map(Step::Release),
            4 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => (1_u32..6, 20_usize..80).prop_map(|(messages, bytes)| {
                Step::Resize(messages, bytes)
            }),
        ]
    }

    /// The rules once more, over plain lists.
    #[derive(Debug, Default)]
    struct Plain {
        bounds: (u32, usize),
        topic_bounds: (Option<u32>, Option<usize>),
        held: Vec<(u8, usize)>,
        waiting: Vec<(u64, u8, usize)>,
    }

    impl Plain {
        fn topic_fits(&self, topic: u8, bytes: usize) -> bool {
            let held = self.held.iter().filter(|(other, _)| *other == topic);
            let (messages, taken) =
                held.fold((0, 0), |(messages, taken), (_, bytes)| (messages + 1, taken + bytes));
            self.topic_bounds.0.is_none_or(|max| messages < max)
                && self
                    .topic_bounds
                    .1
                    .is_none_or(|max| taken + bytes <= max || (messages == 0 && bytes > max))
        }

        fn fits(&self, bytes: usize) -> bool {
            let taken: usize = self.held.iter().map(|(_, bytes)| bytes).sum();
            let (messages_max, bytes_max) = self.bounds;
            (self.held.len() as u32) < messages_max
                && (taken + bytes <= bytes_max || (self.held.is_empty() && bytes > bytes_max))
        }

        /// The first that waits for nothing but the room of all.
        fn first(&self) -> Option<usize> {
            self.waiting.iter().enumerate().position(|(index, (_, topic, bytes))| {
                let is_next = !self.waiting[..index].iter().any(|(_, other, _)| other == topic);
                let bounded = self.topic_bounds != (None, None);
                (!bounded && index == 0) || (bounded && is_next && self.topic_fits(*topic, *bytes))
            })
        }

        fn admits(&self) -> Option<usize> {
            self.first().filter(|index| self.fits(self.waiting[*index].2))
        }

        fn takes(&self, topic: u8, bytes: usize) -> bool {
            let bounded = self.topic_bounds != (None, None);
            let behind = |(_, other, _): &(u64, u8, usize)| !bounded || *other == topic;
            self.first().is_none()
                && !self.waiting.iter().any(behind)
                && self.topic_fits(topic, bytes)
                && self.fits(bytes)
        }
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    proptest! {
        /// Against plain lists: bounds hold, order is kept, and everything returns to zero.
        #[test]
        fn it_is_a_bounded_fair_queue(
            steps in prop::collection::vec(step(), 0..400),
            messages_max in 1_u32..6,
            topic_bounds in (prop::option::of(1_u32..4), prop::option::of(10_usize..40)),
        ) {
            let bounds = (messages_max, 40);
            let mut admission = Admission::new(bounds.0, bounds.1)
                .with_topic_bounds(topic_bounds.0, topic_bounds.1);
            let mut plain = Plain { bounds, topic_bounds, ..Plain::default() };
            let mut rooms: Vec<Room> = Vec::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Acquire(topic, bytes) => {
                        let room = admission.try_acquire(NAMES[topic as usize], bytes);
                        prop_assert_eq!(room.is_some(), plain.takes(topic, bytes));
                        if let Some(room) = room {
                            rooms.push(room);
                            plain.held.push((topic, bytes));
                        } else {
                            number += 1;
                            admission.enqueue(number, NAMES[topic as usize], bytes);
                            plain.waiting.push((number, topic, bytes));
                        }
                    }
                    Step::Release(_) if rooms.is_empty() => {}
                    Step::Release(index) => {
                        let index = index.index(rooms.len());
                        admission.release(rooms.remove(index));
                        plain.held.remove(index);
                    }
                    Step::Remove(_) if plain.waiting.is_empty() => {}
                    Step::Remove(index) => {
                        let index = index.index(plain.waiting.len());
                        let (waiter, ..) = plain.waiting.remove(index);
                        prop_assert!(admission.remove(waiter));
                        prop_assert!(!admission.remove(waiter));
                    }
                    Step::Resize(messages, bytes) => {
                        admission.resize(messages, bytes);
                        plain.bounds = (messages, bytes);
                    }
                }
                while let Some(index) = plain.admits() {
                    let (waiter, topic, bytes) = plain.waiting.remove(index);
                    let next = admission.poll_admitted();
                    prop_assert_eq!(next.as_ref().map(|(number, _)| *number), Some(waiter));
                    rooms.extend(next.map(|(_, room)| room));
                    plain.held.push((topic, bytes));
                }
                prop_assert!(admission.poll_admitted().is_none());
                let total: usize = plain.held.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(admission.bytes(), total);
                prop_assert_eq!(admission.messages() as usize, plain.held.len());
                prop_assert_eq!(admission.waiting(), plain.waiting.len());
                for (waiter, ..) in &plain.waiting {
                    prop_assert!(admission.bound_of(*waiter).is_some());
                }
            }
            while let Some(room) = rooms.pop() {
                admission.release(room);
                while let Some((_, room)) = admission.poll_admitted() {
                    rooms.push(room);
                }
            }
            prop_assert_eq!((admission.messages(), admission.bytes()), (0, 0));
            prop_assert_eq!(admission.waiting(), 0);
            if let Some(topics) = &admission.topics {
                prop_assert!(topics.names.is_empty() && topics.parked.is_empty());
            }
        }
    }
}
