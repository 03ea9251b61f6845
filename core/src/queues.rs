//! The queues of a topic that can be written to, as a value.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::error::{NameServerFailure, NameServersSaid};
use crate::invalid::InvalidMessage;
use crate::receipt::MessageQueue;

/// The queues of a topic that can be written to, at one moment. Kept as ranges: neither the value
/// nor a clone of it grows with the number of queues.
///
/// They are in the order of the Java client's list: by broker name, then by queue number. A topic
/// with an order configuration has the order that says, and the queues of brokers that are away.
/// The queues of a static topic belong to no broker for good; they have Java's name for that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishQueues {
    ranges: Arc<[QueueRange]>,
    len: u64,
}

/// Queues of one broker, with numbers that follow each other.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QueueRange {
    /// The broker's name.
    pub broker_name: Arc<str>,
    /// The first one's number: 0, except in static topics.
    pub first: u32,
    /// How many there are; never 0.
    pub count: u32,
}

impl PublishQueues {
    pub(crate) fn new(ranges: Vec<QueueRange>) -> PublishQueues {
        let len = ranges.iter().map(|range| u64::from(range.count)).sum();
        PublishQueues { ranges: ranges.into(), len }
    }

    /// How many queues there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The queue at this place of the list.
    pub fn get(&self, index: u64) -> Option<MessageQueue> {
        let mut rest = index;
        for range in self.ranges.iter() {
            if rest < u64::from(range.count) {
                return Some(range.queue(rest as u32));
            }
            rest -= u64::from(range.count);
        }
        None
    }

    /// All queues, made one by one as they are taken.
    pub fn iter(&self) -> impl Iterator<Item = MessageQueue> + '_ {
        let of = |range: &'_ QueueRange| {
            let range = range.clone();
            (0..range.count).map(move |nth| range.queue(nth))
        };
        self.ranges.iter().flat_map(of)
    }

    /// The brokers and their numbers of queues.
    pub fn brokers(&self) -> &[QueueRange] {
        &self.ranges
    }
}

impl QueueRange {
    fn queue(&self, nth: u32) -> MessageQueue {
        MessageQueue::new(Arc::clone(&self.broker_name), self.first.saturating_add(nth))
    }
}

/// Why the queues of a topic are not known.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueuesError {
    /// The topic's name is not legal.
    #[error("{0}")]
    Invalid(InvalidMessage),
    /// The name servers do not know the topic, nor a default topic to create it from.
    #[error(
        "the topic does not exist, nor a default topic to create it from; create it, or allow \
         brokers to create topics{}",
        NameServersSaid(name_servers)
    )]
    TopicNotFound {
        /// What they said.
        name_servers: Vec<NameServerFailure>,
    },
    /// No name server gave a route in time.
    #[error(
        "no name server gave a route; check the addresses and that they are name servers{}",
        NameServersSaid(name_servers)
    )]
    NameServerUnreachable {
        /// What happened with each that was asked.
        name_servers: Vec<NameServerFailure>,
    },
    /// Too many topics are known, or too many ask at once.
    #[error("too many topics used within ten minutes, or too many questions at once")]
    TooMany,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The client's driver has ended: its runtime was shut down, or it panicked.
    #[error("the client's driver has ended, perhaps with its runtime")]
    DriverStopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_items_agree() {
        let range = |name: &str, count| QueueRange { broker_name: name.into(), first: 0, count };
        let queues = PublishQueues::new(alloc::vec![range("a", 3), range("b", 1), range("c", 2)]);
        let all: Vec<MessageQueue> = queues.iter().collect();
        assert_eq!((all.len() as u64, queues.len()), (6, 6));
        for (index, queue) in all.iter().enumerate() {
            assert_eq!(queues.get(index as u64).as_ref(), Some(queue));
        }
        assert_eq!(queues.get(6), None);
        assert_eq!((all[3].broker_name(), all[3].queue_id()), ("b", 0));
        assert!(PublishQueues::default().is_empty());
    }

    #[test]
    fn huge_counts_cost_nothing() {
        let range = |name: &str| QueueRange { broker_name: name.into(), first: 0, count: u32::MAX };
        let queues = PublishQueues::new(alloc::vec![range("a"), range("b")]);
        let last = queues.get(queues.len() - 1).unwrap();
        assert_eq!((last.broker_name(), last.queue_id()), ("b", u32::MAX - 1));
        assert_eq!(queues.iter().next().unwrap().queue_id(), 0);
    }
}
