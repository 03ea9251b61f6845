//! Static topics: their queues are numbered over all brokers, and a queue may move from one broker
//! to another while its number stays.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::publish::BrokerQueues;
use crate::slab::Key;
use crate::wire::TopicQueueMapping;

/// Start of the names that stand for all brokers of a static topic.
// Java: MixAll#LOGICAL_QUEUE_MOCK_BROKER_PREFIX
const MOCK_PREFIX: &str = "__syslo__";

/// The name of all brokers of the static topics of the global scope.
// Java: TopicQueueMappingUtils#getMockBrokerName
pub(super) const MOCK_BROKER: &str = "__syslo__global__";

/// Whether a broker name stands for the brokers of a static topic: the broker of a logical queue is
/// to be looked up in the route.
pub(super) fn is_mock_broker(name: &str) -> bool {
    name.starts_with(MOCK_PREFIX)
}

/// The logical queues of a static topic that have a broker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct LogicalQueues {
    /// Logical number and broker, sorted: Java's list without the queues that nobody has.
    listed: Vec<(u32, Key)>,
    /// Where the queues of each broker are in that list, ascending.
    places: BTreeMap<Key, Vec<u32>>,
}

impl LogicalQueues {
    /// `broker` finds the broker of a name; queues of a broker that cannot be written to are left
    /// out, as are those that no broker has.
    pub(super) fn new(
        mappings: &[TopicQueueMapping],
        broker: impl Fn(&str) -> Option<Key>,
    ) -> LogicalQueues {
        let mut listed: Vec<(u32, Key)> = owners(mappings)
            .into_iter()
            .filter_map(|(queue, name)| Some((queue, broker(name)?)))
            .collect();
        listed.sort_unstable();
        listed.dedup();
        let mut places: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
        for ((_, broker), place) in listed.iter().zip(0..) {
            places.entry(*broker).or_default().push(place);
        }
        LogicalQueues { listed, places }
    }

    pub(super) fn brokers(&self) -> Vec<BrokerQueues> {
        let queues = self.places.iter();
        queues
            .map(|(broker, places)| BrokerQueues {
                broker: *broker,
                write_queues: places.len() as u32,
            })
            .collect()
    }

    pub(super) fn at(&self, place: u64) -> Option<(Key, u32)> {
        let (queue, broker) = self.listed.get(usize::try_from(place).ok()?)?;
        Some((*broker, *queue))
    }

    /// Ascending.
    pub(super) fn places_of(&self, broker: Key) -> &[u32] {
        self.places.get(&broker).map_or(&[], |places| places)
    }

    /// The logical number of a broker's queue `nth`.
    pub(super) fn nth_of(&self, broker: Key, nth: u32) -> Option<u32> {
        let place = self.places_of(broker).get(nth as usize)?;
        self.listed.get(*place as usize).map(|(queue, _)| *queue)
    }

    /// The broker that has a logical queue.
    pub(super) fn owner(&self, queue: u32) -> Option<Key> {
        let place = self.listed.partition_point(|(listed, _)| *listed < queue);
        self.listed.get(place).filter(|(listed, _)| *listed == queue).map(|(_, broker)| *broker)
    }
}

/// Which broker has each logical queue: the one whose mapping has the highest epoch. Queues that
/// nobody has are not in it.
// Java: ClientMetadata#topicRouteData2EndpointsForStaticTopic
fn owners(mappings: &[TopicQueueMapping]) -> Vec<(u32, &str)> {
    // By scope: mappings without one do not count.
    let mut scopes: BTreeMap<&str, Vec<&TopicQueueMapping>> = BTreeMap::new();
    for mapping in mappings {
        if let Some(scope) = &mapping.scope {
            scopes.entry(scope).or_default().push(mapping);
        }
    }
    let mut found = Vec::new();
    for mappings in scopes.into_values() {
        let total = mappings.iter().map(|mapping| mapping.total_queues).max().unwrap_or(0);
        // Of equal epochs Java takes any; here the name decides, so that it is always the same.
        let mut newest: BTreeMap<i32, (i64, &str)> = BTreeMap::new();
        for mapping in mappings {
            let claim = (mapping.epoch, &*mapping.bname);
            for (queue, _) in &mapping.curr_id_map {
                if (0..total).contains(queue) {
                    let owner = newest.entry(*queue).or_insert(claim);
                    *owner = claim.max(*owner);
                }
            }
        }
        found.extend(newest.into_iter().map(|(queue, (_, name))| (queue as u32, name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(bname: &str, epoch: i64, total: i32, queues: &[i32]) -> TopicQueueMapping {
        TopicQueueMapping {
            bname: bname.into(),
            scope: Some("__global__".into()),
            epoch,
            total_queues: total,
            curr_id_map: queues.iter().map(|queue| (*queue, 0)).collect(),
        }
    }

    fn sorted(mappings: &[TopicQueueMapping]) -> Vec<(u32, &str)> {
        let mut owners = owners(mappings);
        owners.sort_unstable();
        owners
    }

    #[test]
    fn the_newest_epoch_owns_a_queue_and_the_largest_total_bounds_them() {
        let a = mapping("a", 7, 2, &[0, 1, 4, -1]);
        let b = mapping("b", 9, 4, &[1, 2, 9]);
        let expected = [(0, "a"), (1, "b"), (2, "b")];
        assert_eq!(sorted(&[a.clone(), b.clone()]), expected, "3 has nobody");
        assert_eq!(sorted(&[b, a]), expected, "in any order");
    }

    #[test]
    fn equal_epochs_and_strange_scopes_are_settled() {
        let a = mapping("a", 7, 1, &[0]);
        let b = mapping("b", 7, 1, &[0]);
        assert_eq!(sorted(&[b.clone(), a.clone()]), [(0, "b")]);
        let without = TopicQueueMapping { scope: None, epoch: 99, ..a.clone() };
        assert_eq!(sorted(&[without, b.clone()]), [(0, "b")]);
        let other = TopicQueueMapping { scope: Some("x".into()), ..a };
        assert_eq!(sorted(&[other, b]), [(0, "a"), (0, "b")]);
        assert!(sorted(&[mapping("a", 1, -5, &[0])]).is_empty());
    }

    #[test]
    fn names_for_all_brokers_are_known_by_their_start() {
        assert!(is_mock_broker("__syslo__global__") && is_mock_broker("__syslo__x"));
        assert!(!is_mock_broker("broker-a"));
    }
}
