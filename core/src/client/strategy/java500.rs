//! The strategy of Java 5.0.0 with latency avoidance on, to the letter but for one thing: it gives
//! the queue as a value, where Java overwrites an entry of the list that all threads share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Queue, next, step};
use crate::client::publish::PublishInfo;
use crate::slab::Key;
use crate::time::Instant;

/// What is chosen, and what becomes of the table of faults.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::client) struct Choice {
    pub(in crate::client) queue: Option<Queue>,
    /// The broker whose entry is to be dropped: it has no queue of the topic.
    pub(in crate::client) dropped: Option<Key>,
}

/// An entry of the table of faults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::client) struct Entry {
    pub(in crate::client) broker: Key,
    pub(in crate::client) name: Arc<str>,
    pub(in crate::client) available: bool,
    pub(in crate::client) latency: Duration,
    /// When it is, or was, available again.
    pub(in crate::client) start: Instant,
}

/// The first queue from the counter on whose broker is available, even if it was tried last. If
/// there is none, a queue of one of the better half of all known brokers. If that broker has no
/// queue of the topic, simply the next queue.
// Java: MQFaultStrategy#selectOneMessageQueue(tpInfo, lastBrokerName) of 5.0.0
pub(in crate::client) fn choose(
    info: &PublishInfo,
    counter: &mut u32,
    worst: &mut u32,
    available: impl Fn(Key) -> bool,
    usable: impl Fn(Key) -> bool,
    entries: impl FnOnce() -> Vec<Entry>,
) -> Choice {
    let found = |queue| Choice { queue, dropped: None };
    if info.queues() == 0 {
        // Java fails with a division by zero, inside and outside of its net.
        return found(None);
    }
    let index = step(counter) as i32;
    let queue = scan(info, index, |broker| available(broker) && usable(broker));
    if queue.is_some() {
        return found(queue);
    }
    let best = pick_one_at_least(entries(), worst);
    let queues = best.filter(|best| usable(*best)).map_or(0, |best| info.queues_of(best));
    if let Some(best) = best.filter(|_| queues > 0) {
        // Java takes the next queue here, only to overwrite it.
        step(counter);
        let nth = step(counter) % queues;
        return found(Some((best, info.queue_id(best, nth))));
    }
    // Without any entry Java fails inside of its net, and ends here as well.
    Choice { queue: next(info, counter, usable), dropped: best }
}

/// Looks at one queue for each number from `index` on, once for each queue: the queue at the
/// number's absolute value. Behind the largest number that means the first queue and then
/// downwards, so that some may be seen twice and others not at all.
// Java: Math.abs(index++) % size, and position 0 where that is negative: abs(MIN) is MIN.
fn scan(info: &PublishInfo, index: i32, wanted: impl Fn(Key) -> bool) -> Option<Queue> {
    let total = info.queues();
    let (mut number, mut left) = (i64::from(index), total);
    while left > 0 {
        let from = number.unsigned_abs() % total;
        // How far the numbers go in one direction, and where they go on.
        let (run, after, found) = if number == i64::from(i32::MIN) {
            (1, number + 1, info.ascend(0, &wanted))
        } else if number < 0 {
            (number.unsigned_abs(), 0, info.descend(from, &wanted))
        } else {
            let run = (i64::from(i32::MAX) - number + 1).unsigned_abs();
            (run, i64::from(i32::MIN), info.ascend(from, &wanted))
        };
        if let Some(found) = found.filter(|found| found.steps < run.min(left)) {
            return Some((found.broker, found.queue_id));
        }
        left = left.saturating_sub(run);
        number = after;
    }
    None
}

/// One of the better half of all brokers with an entry, in turn; the best if there is only one.
// Java: LatencyFaultToleranceImpl#pickOneAtLeast of 5.0.0. Where entries are equal Java's order
// depends on a hash table; here it is that of the names.
fn pick_one_at_least(mut entries: Vec<Entry>, worst: &mut u32) -> Option<Key> {
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| (!entry.available, entry.latency, entry.start);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let half = entries.len() / 2;
    let index = match half {
        0 => 0,
        half => step(worst) as usize % half,
    };
    entries.get(index).map(|entry| entry.broker)
}
