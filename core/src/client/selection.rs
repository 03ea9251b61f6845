//! Choosing a queue for an attempt, and the way to it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Client;
use super::operation::Op;
use super::publish::{BrokerQueues, queue_at};
use super::static_topic::is_mock_broker;
use super::strategy::current::{Standing, Tried, tier};
use super::strategy::last_tried;
use crate::error::SendErrorKind;
use crate::id::{ConnId, OpId};
use crate::receipt::MessageQueue;
use crate::selection::Selection;
use crate::slab::Key;

/// A queue and how to get there.
pub(super) struct Chosen {
    pub(super) broker: Key,
    pub(super) broker_name: Arc<str>,
    pub(super) endpoint: Key,
    pub(super) address: Arc<str>,
    /// The connection to it, be it still dialling.
    pub(super) conn: Option<ConnId>,
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
        if !op.command.selection.is_free() && !moves {
            return self.choose_own(id);
        }
        let random = op.command.selection == Selection::Random;
        let drawn = random.then(|| self.rng.next_u64() as u32);
        let Some(topic) = self.topics.get(op.topic) else {
            return Err(SendErrorKind::TopicNotFound);
        };
        let Some(route) = &topic.route else {
            return Err(SendErrorKind::TopicNotFound);
        };
        if self.walks_javas_list() && !random {
            return self.choose_listed(id).ok_or(SendErrorKind::NoWritableQueue);
        }
        let all = route.publish.brokers();
        // A new position for each attempt; the counters belong to the topic. Retries count for
        // themselves: else, with two brokers, every send would begin with the same one.
        let retry = !op.tried.is_empty();
        let turn = if retry { topic.retry_position } else { topic.position };
        let position = drawn.unwrap_or(turn);
        let healthy = !retry && self.trouble_until <= self.now;
        let picked = if healthy { queue_at(all, position) } else { None };
        let meant = |(broker, nth)| {
            let mut chosen = self.chosen(broker, route.publish.queue_id(broker, nth))?;
            chosen.others = is_another_left(op, all, broker);
            Some(chosen)
        };
        // A broker's master may be gone though this route still names the broker.
        let chosen = picked
            .and_then(meant)
            .or_else(|| queue_at(&self.candidates(op, all), position).and_then(meant));
        if let Some(topic) = self.topics.get_mut(op.topic).filter(|_| !random) {
            let counter = if retry { &mut topic.retry_position } else { &mut topic.position };
            *counter = counter.wrapping_add(1);
        }
        chosen.ok_or(SendErrorKind::NoWritableQueue)
    }

    /// The broker of a queue that the caller gave.
    pub(super) fn given_broker(&self, op: &Op, queue: &MessageQueue) -> Option<Key> {
        let name = queue.broker_name();
        if is_mock_broker(name) {
            let route = self.topics.get(op.topic)?.route.as_ref()?;
            return route.publish.owner(queue.queue_id());
        }
        self.brokers_by_name.get(name).copied()
    }

    /// The queue of a broker whose master is known.
    pub(super) fn chosen(&self, broker: Key, queue_id: u32) -> Option<Chosen> {
        let entry = self.brokers.get(broker)?;
        let endpoint = entry.master?;
        let known = self.endpoints.get(endpoint)?;
        let address = Arc::clone(&known.text);
        let conn = known.conn.filter(|_| !planted!(DialledTwice));
        let broker_name = Arc::clone(&entry.name);
        Some(Chosen { broker, broker_name, endpoint, address, conn, queue_id, others: false })
    }

    /// The brokers of the best tier that has any.
    fn candidates(&self, op: &Op, all: &[BrokerQueues]) -> Vec<BrokerQueues> {
        let last = last_tried(op);
        let tier_of = |queues: &BrokerQueues| {
            let entry = self.brokers.get(queues.broker)?;
            let endpoint = self.endpoints.get(entry.master?)?;
            let dialable = endpoint.conn.is_some() || endpoint.retry_at <= self.now;
            let tried = op.tried.contains(&queues.broker) && !planted!(SameBrokerTwice);
            Some(tier(Standing {
                tried: match tried {
                    false => Tried::No,
                    true if Some(queues.broker) != last => Tried::Earlier,
                    true => Tried::Last,
                },
                available: entry.fault.is_available(self.now) || planted!(IsolationIgnored),
                reachable: dialable && entry.fault.is_reachable(self.now),
            }))
        };
        let best = all.iter().filter_map(tier_of).min();
        let Some(best) = best else { return Vec::new() };
        all.iter().copied().filter(|queues| tier_of(queues) == Some(best)).collect()
    }
}

/// Whether a broker is left that the send has not tried and does not try now.
#[inline]
pub(super) fn is_another_left(op: &Op, all: &[BrokerQueues], now: Key) -> bool {
    all.iter().any(|queues| queues.broker != now && !op.tried.contains(&queues.broker))
}
