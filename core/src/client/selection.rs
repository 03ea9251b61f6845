//! Choosing a queue for an attempt, and the way to it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Client;
use super::operation::Op;
use super::publish::{BrokerQueues, queue_at};
use crate::error::SendErrorKind;
use crate::id::OpId;
use crate::slab::Key;

/// A queue and how to get there.
pub(super) struct Chosen {
    pub(super) broker: Key,
    pub(super) broker_name: Arc<str>,
    pub(super) endpoint: Key,
    pub(super) address: Arc<str>,
    pub(super) queue_id: u32,
    /// Another broker is left that the send has not tried.
    pub(super) others: bool,
}

impl Client {
    /// The queue for the next attempt.
    pub(super) fn choose(&mut self, id: OpId) -> Result<Chosen, SendErrorKind> {
        let Some(op) = self.ops.get(id) else {
            return Err(SendErrorKind::Cancelled);
        };
        let moves = planted!(GivenQueueMoved) && op.number > 0;
        if let Some(queue) = op.command.queue.as_ref().filter(|_| !moves) {
            let name = queue.shared_name();
            let broker = self.brokers_by_name.get(&name).copied();
            let chosen = broker.and_then(|broker| self.chosen(broker, queue.queue_id()));
            return chosen.ok_or_else(|| SendErrorKind::NoSuchQueue((&*name).into()));
        }
        let Some(topic) = self.topics.get(op.topic) else {
            return Err(SendErrorKind::TopicNotFound);
        };
        let Some(route) = &topic.route else {
            return Err(SendErrorKind::TopicNotFound);
        };
        let all = route.publish.brokers();
        // A new position for each attempt; the counters belong to the topic. Retries count for
        // themselves: else, with two brokers, every send would begin with the same one.
        let retry = !op.tried.is_empty();
        let position = if retry { topic.retry_position } else { topic.position };
        let healthy = !retry && self.trouble_until <= self.now;
        let picked = if healthy { queue_at(all, position) } else { None };
        // A broker's master may be gone though this route still names the broker.
        let mut chosen =
            picked.and_then(|(broker, queue)| self.chosen(broker, queue)).or_else(|| {
                let (broker, queue) = queue_at(&self.candidates(op, all), position)?;
                self.chosen(broker, queue)
            });
        if let Some(chosen) = &mut chosen {
            let other =
                |b: &BrokerQueues| b.broker != chosen.broker && !op.tried.contains(&b.broker);
            chosen.others = all.iter().any(other);
        }
        if let Some(topic) = self.topics.get_mut(op.topic) {
            let counter = if retry { &mut topic.retry_position } else { &mut topic.position };
            *counter = counter.wrapping_add(1);
        }
        chosen.ok_or(SendErrorKind::NoWritableQueue)
    }

    /// The queue of a broker whose master is known.
    fn chosen(&self, broker: Key, queue_id: u32) -> Option<Chosen> {
        let entry = self.brokers.get(broker)?;
        let endpoint = entry.master?;
        let address = Arc::clone(&self.endpoints.get(endpoint)?.text);
        let broker_name = Arc::clone(&entry.name);
        Some(Chosen { broker, broker_name, endpoint, address, queue_id, others: false })
    }

    /// The brokers of the best tier that has any.
    fn candidates(&self, op: &Op, all: &[BrokerQueues]) -> Vec<BrokerQueues> {
        let last = op.tried.last().copied().filter(|_| !planted!(SameBrokerTwice));
        let tier = |broker: Key| -> u8 {
            let Some(entry) = self.brokers.get(broker) else {
                return 5;
            };
            let Some(endpoint) = entry.master.and_then(|key| self.endpoints.get(key)) else {
                return 5;
            };
            if !self.config.latency_avoidance {
                // Java: MQFaultStrategy#selectOneMessageQueue with the strategy off
                return u8::from(Some(broker) == last);
            }
            let reachable = endpoint.conn.is_some() || endpoint.retry_at <= self.now;
            let available = entry.fault.is_available(self.now) || planted!(IsolationIgnored);
            let tried = op.tried.contains(&broker) && !planted!(SameBrokerTwice);
            match (tried, available && reachable) {
                (false, true) => 0,
                (false, false) => 1,
                (true, _) if Some(broker) != last => 2,
                (true, _) => 3,
            }
        };
        let best = all.iter().map(|queues| tier(queues.broker)).filter(|tier| *tier < 5).min();
        let Some(best) = best else { return Vec::new() };
        all.iter().copied().filter(|queues| tier(queues.broker) == best).collect()
    }
}
