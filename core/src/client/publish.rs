//! The queues of a topic that can be written to, kept as ranges, and the two orders in which they
//! are walked: brokers in turn, and Java's list.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::static_topic::LogicalQueues;
use crate::slab::Key;

/// Queues `0..write_queues` of one broker; of a static topic, as many of its logical queues.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct BrokerQueues {
    pub(super) broker: Key,
    pub(super) write_queues: u32,
}

/// All queues of a topic that can be written to, at the cost of a few entries per broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct PublishInfo {
    /// Brokers with more queues come first; no broker without queues.
    brokers: Vec<BrokerQueues>,
    /// The same brokers, names ascending.
    listed: Vec<BrokerQueues>,
    /// What hashes count: Java's list also where an order configuration makes it.
    hashed: Vec<BrokerQueues>,
    /// What hashes of Go count.
    go_listed: Vec<BrokerQueues>,
    /// Which queues are meant, if the topic is static.
    logical: Option<Box<LogicalQueues>>,
}

impl PublishInfo {
    /// `name` tells the names of the brokers, for Java's order.
    pub(super) fn new<'a>(
        brokers: impl IntoIterator<Item = BrokerQueues>,
        name: impl Fn(Key) -> &'a str,
    ) -> PublishInfo {
        let mut brokers: Vec<_> = brokers.into_iter().filter(|b| b.write_queues > 0).collect();
        let mut listed = brokers.clone();
        listed.sort_by(|a, b| by_utf16(name(a.broker), name(b.broker)));
        brokers.sort_by_key(|queues| core::cmp::Reverse(queues.write_queues));
        let (hashed, go_listed) = (listed.clone(), listed.clone());
        PublishInfo { brokers, listed, hashed, go_listed, logical: None }
    }

    /// The queues of a static topic.
    pub(super) fn of_static<'a>(
        queues: LogicalQueues,
        name: impl Fn(Key) -> &'a str,
    ) -> PublishInfo {
        let mut info = PublishInfo::new(queues.brokers(), name);
        info.logical = Some(Box::new(queues));
        info
    }

    /// Sets what hashes of Go count, and with an order configuration what all others count.
    pub(super) fn with_lists(
        mut self,
        go_listed: Vec<BrokerQueues>,
        configured: Option<Vec<BrokerQueues>>,
    ) -> PublishInfo {
        self.go_listed = go_listed;
        self.hashed = configured.unwrap_or(self.hashed);
        self
    }

    /// Adds the queues of other brokers.
    pub(super) fn with<'a>(
        &self,
        more: &[BrokerQueues],
        name: impl Fn(Key) -> &'a str,
    ) -> PublishInfo {
        let configured = (self.hashed != self.listed).then(|| self.hashed.clone());
        PublishInfo::new([&*self.brokers, more].concat(), name)
            .with_lists([&*self.go_listed, more].concat(), configured)
    }

    /// Leaves a broker out.
    pub(super) fn without(mut self, broker: Key) -> PublishInfo {
        let lists = [&mut self.brokers, &mut self.listed, &mut self.hashed, &mut self.go_listed];
        for list in lists {
            list.retain(|queues| queues.broker != broker);
        }
        self
    }

    pub(super) fn brokers(&self) -> &[BrokerQueues] {
        &self.brokers
    }

    pub(super) fn contains(&self, broker: Key) -> bool {
        self.brokers.iter().any(|queues| queues.broker == broker)
    }

    /// The brokers as hashes count their queues: in Java's order, and with an order configuration
    /// in the order of that, those without a known master as well.
    pub(super) fn hashed(&self) -> &[BrokerQueues] {
        &self.hashed
    }

    /// The brokers as hashes of Go count their queues.
    pub(super) fn go_listed(&self) -> &[BrokerQueues] {
        &self.go_listed
    }

    /// Whether the queues are numbered over all brokers.
    pub(super) fn is_static(&self) -> bool {
        self.logical.is_some()
    }

    /// Number of queues.
    pub(super) fn queues(&self) -> u64 {
        total(&self.brokers)
    }

    /// Number of queues of one broker.
    pub(super) fn queues_of(&self, broker: Key) -> u32 {
        let queues = self.brokers.iter().find(|queues| queues.broker == broker);
        queues.map_or(0, |queues| queues.write_queues)
    }

    /// The number to send for the queue `nth` of a broker: of a static topic, the logical one.
    #[inline]
    pub(super) fn queue_id(&self, broker: Key, nth: u32) -> u32 {
        match &self.logical {
            None => nth,
            Some(logical) => logical.nth_of(broker, nth).unwrap_or(nth),
        }
    }

    /// The broker of a logical queue, if the topic is static.
    pub(super) fn owner(&self, logical: u32) -> Option<Key> {
        self.logical.as_ref()?.owner(logical)
    }

    // ---- Java's list ------------------------------------------------------------------------

    /// The queue at a position of Java's list: broker by broker, names ascending, the numbers of
    /// each ascending; of a static topic, the logical numbers ascending.
    // Java: MQClientInstance#topicRouteData2TopicPublishInfo
    pub(super) fn listed_at(&self, position: u64) -> Option<(Key, u32)> {
        if let Some(logical) = &self.logical {
            return logical.at(position);
        }
        let mut rest = position;
        for queues in &self.listed {
            let count = u64::from(queues.write_queues);
            if rest < count {
                return Some((queues.broker, rest as u32));
            }
            rest -= count;
        }
        None
    }

    /// Walks Java's list upwards from a position, around its end, to the first queue of a broker
    /// that is wanted. How many queues were passed over, and the queue. The cost is that of the
    /// brokers, not of the queues.
    pub(super) fn ascend(&self, from: u64, wanted: impl Fn(Key) -> bool) -> Option<Found> {
        let total = self.queues();
        let steps = |places: Places<'_>| match places.first_from(from) {
            Some(place) => Some(place - from),
            None => Some(places.first()? + total - from),
        };
        self.nearest(wanted, steps, |steps| (from + steps) % total)
    }

    /// The same downwards.
    pub(super) fn descend(&self, from: u64, wanted: impl Fn(Key) -> bool) -> Option<Found> {
        let total = self.queues();
        let steps = |places: Places<'_>| match places.last_until(from) {
            Some(place) => Some(from - place),
            None => Some(from + total - places.last()?),
        };
        self.nearest(wanted, steps, |steps| (from + total - steps) % total)
    }

    fn nearest(
        &self,
        wanted: impl Fn(Key) -> bool,
        steps: impl Fn(Places<'_>) -> Option<u64>,
        place: impl Fn(u64) -> u64,
    ) -> Option<Found> {
        let mut start = 0;
        let mut best: Option<u64> = None;
        for queues in &self.listed {
            let end = start + u64::from(queues.write_queues);
            let places = match &self.logical {
                None => Places::Range(start, end),
                Some(logical) => Places::Listed(logical.places_of(queues.broker)),
            };
            start = end;
            if wanted(queues.broker) {
                best = best.into_iter().chain(steps(places)).min();
            }
        }
        let steps = best?;
        let (broker, queue_id) = self.listed_at(place(steps))?;
        Some(Found { steps, broker, queue_id })
    }
}

/// A queue of Java's list.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Queues that were passed over on the way.
    pub(super) steps: u64,
    pub(super) broker: Key,
    pub(super) queue_id: u32,
}

/// Where the queues of one broker are in Java's list.
enum Places<'a> {
    Range(u64, u64),
    /// Ascending.
    Listed(&'a [u32]),
}

impl Places<'_> {
    fn first(&self) -> Option<u64> {
        match self {
            Places::Range(start, end) => (start < end).then_some(*start),
            Places::Listed(places) => places.first().map(|place| u64::from(*place)),
        }
    }

    fn last(&self) -> Option<u64> {
        match self {
            Places::Range(start, end) => (start < end).then(|| end - 1),
            Places::Listed(places) => places.last().map(|place| u64::from(*place)),
        }
    }

    fn first_from(&self, from: u64) -> Option<u64> {
        match self {
            Places::Range(start, end) => (from < *end && start < end).then_some(from.max(*start)),
            Places::Listed(places) => {
                let index = places.partition_point(|place| u64::from(*place) < from);
                places.get(index).map(|place| u64::from(*place))
            }
        }
    }

    fn last_until(&self, from: u64) -> Option<u64> {
        match self {
            Places::Range(start, end) => (from >= *start && start < end).then(|| from.min(end - 1)),
            Places::Listed(places) => {
                let index = places.partition_point(|place| u64::from(*place) <= from);
                places.get(index.checked_sub(1)?).map(|place| u64::from(*place))
            }
        }
    }
}

/// Number of queues.
pub(super) fn total(brokers: &[BrokerQueues]) -> u64 {
    brokers.iter().map(|queues| u64::from(queues.write_queues)).sum()
}

/// Java's order of strings.
// Java: QueueData#compareTo
fn by_utf16(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// The queue at `position` of an endless round over the queues of `candidates` (sorted as in
/// [`PublishInfo`]): queue 0 of each broker, then queue 1 of each that has one, and so on. Every
/// queue comes once in a round, and brokers follow each other as evenly as their queues allow.
// Java: TopicPublishInfo#selectOneMessageQueue walks all queues of one broker before the next.
pub(super) fn queue_at(candidates: &[BrokerQueues], position: u32) -> Option<(Key, u32)> {
    let total = candidates.iter().map(|queues| u64::from(queues.write_queues)).sum::<u64>();
    let mut rest = u64::from(position).checked_rem(total)?;
    // Rows of equal width: the brokers with more than `row` queues are a prefix.
    let mut row = 0_u64;
    let mut width = candidates.len();
    while let Some(last) = candidates.get(width.wrapping_sub(1)) {
        let rows = u64::from(last.write_queues) - row;
        let block = rows * width as u64;
        if rest < block {
            let broker = candidates.get((rest % width as u64) as usize)?;
            return Some((broker.broker, (row + rest / width as u64) as u32));
        }
        rest -= block;
        row += rows;
        while width > 0 && candidates.get(width - 1)?.write_queues as u64 == row {
            width -= 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn info(counts: &[u32]) -> PublishInfo {
        let key = |index: usize| Key { index: index as u32, generation: 1 };
        let queues = counts.iter().enumerate();
        let queues = queues.map(|(i, n)| BrokerQueues { broker: key(i), write_queues: *n });
        // Names in the order of the keys.
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        PublishInfo::new(queues, |key| NAMES[key.index as usize])
    }

    #[test]
    fn a_round_takes_every_queue_once_and_alternates_brokers() {
        for counts in [&[4, 4, 4][..], &[1, 8, 3], &[5], &[0, 2, 2, 7]] {
            let info = info(counts);
            let total = info.queues() as u32;
            let mut seen = BTreeMap::new();
            for position in 0..total {
                *seen.entry(queue_at(info.brokers(), position).unwrap()).or_insert(0) += 1;
            }
            assert_eq!(seen.len(), total as usize, "{counts:?}");
            assert!(seen.keys().all(|(b, q)| *q < counts[b.index as usize]));
            let wrapped = queue_at(info.brokers(), total);
            assert_eq!(wrapped, queue_at(info.brokers(), 0));
        }
        let even = info(&[4, 4, 4]);
        let broker = |position| queue_at(even.brokers(), position).unwrap().0.index;
        assert_eq!([broker(0), broker(1), broker(2), broker(3)], [0, 1, 2, 0]);
    }

    #[test]
    fn no_queue_is_no_panic_and_huge_counts_cost_nothing() {
        assert_eq!(queue_at(info(&[0, 0]).brokers(), 7), None);
        let huge = info(&[u32::MAX, u32::MAX, 1]);
        let (_, queue) = queue_at(huge.brokers(), u32::MAX).unwrap();
        assert!(queue > u32::MAX / 2 - 2);
    }

    #[test]
    fn javas_list_goes_broker_by_broker() {
        let info = info(&[2, 0, 3]);
        let listed: Vec<_> =
            (0..6).map(|at| info.listed_at(at).map(|(b, q)| (b.index, q))).collect();
        let expected = [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)];
        assert_eq!(listed[..5], expected.map(Some));
        assert_eq!(listed[5], None);
    }
}
