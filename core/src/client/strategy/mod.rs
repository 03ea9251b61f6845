//! The named strategies of choosing a queue, as tables and arithmetic over the ranges of a route.
//!
//! | latency avoidance | `Current` | `Java500` |
//! |---|---|---|
//! | off | [`plain`]: Java's list, not the last broker, then any | the same |
//! | on | [`current`]: tiers of brokers, walked in turn | [`java500`]: Java's list |

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Client;
use super::operation::Op;
use super::publish::PublishInfo;
use super::selection::{Chosen, is_another_left};
use crate::id::OpId;
use crate::output::{Event, EventSet};
use crate::slab::Key;
use crate::strategy::QueueStrategy;
use crate::time::Instant;

pub(super) mod current;
pub(super) mod java500;

#[cfg(test)]
mod tests;

/// A broker and a queue on it.
pub(super) type Queue = (Key, u32);

/// Java counts with 32 bits and uses 31 of them.
// Java: ThreadLocalIndex#incrementAndGet, POSITIVE_MASK
const COUNTER_MASK: u32 = 0x7fff_ffff;

/// Java's `incrementAndGet`.
pub(super) fn step(counter: &mut u32) -> u32 {
    *counter = counter.wrapping_add(1);
    *counter & COUNTER_MASK
}

/// Java's default: the next queue of the list that is not on the broker of the last attempt, at
/// most once around; then simply the next. `usable` passes over brokers without a master.
// Java: TopicPublishInfo#selectOneMessageQueue(lastBrokerName)
pub(super) fn plain(
    info: &PublishInfo,
    counter: &mut u32,
    last: Option<Key>,
    usable: impl Fn(Key) -> bool,
) -> Option<Queue> {
    let other =
        last.and_then(|last| once_around(info, counter, |broker| broker != last && usable(broker)));
    other.or_else(|| next(info, counter, usable))
}

/// The next queue of Java's list, passing over brokers that are not usable.
pub(super) fn next(
    info: &PublishInfo,
    counter: &mut u32,
    usable: impl Fn(Key) -> bool,
) -> Option<Queue> {
    let from = u64::from(step(counter)).checked_rem(info.queues())?;
    info.ascend(from, usable).map(|found| (found.broker, found.queue_id))
}

/// Counts on, one queue of Java's list at a time, until one is wanted or all have been seen.
fn once_around(
    info: &PublishInfo,
    counter: &mut u32,
    wanted: impl Fn(Key) -> bool,
) -> Option<Queue> {
    let total = info.queues();
    let first = u64::from(counter.wrapping_add(1) & COUNTER_MASK);
    // After so many steps the counter begins at 0 again, somewhere in the middle of the list.
    let wrap = u64::from(COUNTER_MASK) + 1 - first;
    let found = info
        .ascend(first.checked_rem(total)?, &wanted)
        .filter(|found| found.steps < wrap)
        .or_else(|| {
            let mut found = info.ascend(0, &wanted)?;
            found.steps += wrap;
            Some(found)
        })
        .filter(|found| found.steps < total);
    let steps = found.map_or(total, |found| found.steps + 1);
    *counter = counter.wrapping_add(steps as u32);
    found.map(|found| (found.broker, found.queue_id))
}

impl Client {
    /// Whether queues are chosen in the order of Java's list.
    pub(super) fn walks_javas_list(&self) -> bool {
        !self.config.latency_avoidance || self.config.queue_strategy == QueueStrategy::Java500
    }

    /// The queue for the next attempt by Java's list: with latency avoidance off, or by the
    /// strategy of Java 5.0.0.
    pub(super) fn choose_listed(&mut self, id: OpId) -> Option<Chosen> {
        let op = self.ops.get(id)?;
        let last = last_tried(op);
        let (now, brokers, endpoints) = (self.now, &self.brokers, &self.endpoints);
        let topic = self.topics.get_mut(op.topic)?;
        let info = &topic.route.as_ref()?.publish;
        // A broker's master may be gone though this route still names the broker. Java would spend
        // an attempt to find out.
        let usable = |key: Key| {
            let master = brokers.get(key).and_then(|broker| broker.master);
            master.is_some_and(|master| endpoints.get(master).is_some())
        };
        let counter = &mut topic.position;
        let (queue, dropped) = if !self.config.latency_avoidance {
            (plain(info, counter, last, usable), None)
        } else {
            let available =
                |key: Key| brokers.get(key).is_none_or(|broker| broker.fault.is_available(now));
            let entries = || {
                let known = brokers.iter().filter(|(_, broker)| broker.fault.is_known());
                let entry = |(key, broker): (Key, &super::Broker)| java500::Entry {
                    broker: key,
                    name: Arc::clone(&broker.name),
                    available: broker.fault.is_available(now),
                    latency: broker.fault.latency(),
                    start: broker.fault.available_from(),
                };
                known.map(entry).collect::<Vec<_>>()
            };
            let worst = &mut self.worst_position;
            let choice = java500::choose(info, counter, worst, available, usable, entries);
            (choice.queue, choice.dropped)
        };
        if let Some(broker) = dropped.and_then(|key| self.brokers.get_mut(key)) {
            broker.fault.forget();
            let broker_name = Arc::clone(&broker.name);
            let isolated_until = Instant::ZERO;
            self.event(EventSet::FAULTS, || Event::FaultUpdated { broker_name, isolated_until });
        }
        let (broker, queue_id) = queue?;
        let mut chosen = self.chosen(broker, queue_id)?;
        let op = self.ops.get(id)?;
        let route = self.topics.get(op.topic)?.route.as_ref()?;
        chosen.others = is_another_left(op, route.publish.brokers(), broker);
        Some(chosen)
    }
}

/// The broker of the last attempt.
pub(super) fn last_tried(op: &Op) -> Option<Key> {
    op.tried.last().copied().filter(|_| !planted!(SameBrokerTwice))
}
