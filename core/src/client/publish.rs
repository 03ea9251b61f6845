//! The queues of a topic that can be written to, kept as ranges, and the choice among them.

use alloc::vec::Vec;

use crate::slab::Key;

/// Queues `0..write_queues` of one broker.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct BrokerQueues {
    pub(super) broker: Key,
    pub(super) write_queues: u32,
}

/// All queues of a topic that can be written to, at the cost of one entry per broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct PublishInfo {
    /// Brokers with more queues come first; no broker without queues.
    brokers: Vec<BrokerQueues>,
}

impl PublishInfo {
    pub(super) fn new(brokers: impl IntoIterator<Item = BrokerQueues>) -> PublishInfo {
        let mut brokers: Vec<_> = brokers.into_iter().filter(|b| b.write_queues > 0).collect();
        brokers.sort_by_key(|queues| core::cmp::Reverse(queues.write_queues));
        PublishInfo { brokers }
    }

    pub(super) fn brokers(&self) -> &[BrokerQueues] {
        &self.brokers
    }

    pub(super) fn contains(&self, broker: Key) -> bool {
        self.brokers.iter().any(|queues| queues.broker == broker)
    }

    /// Number of queues.
    pub(super) fn queues(&self) -> u64 {
        self.brokers.iter().map(|queues| u64::from(queues.write_queues)).sum()
    }
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
        PublishInfo::new(
            counts
                .iter()
                .enumerate()
                .map(|(i, n)| BrokerQueues { broker: key(i), write_queues: *n }),
        )
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
}
