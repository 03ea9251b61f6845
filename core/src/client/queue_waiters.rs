//! Questions for the queues of a topic. They share the look-ups with sends.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::publish::{BrokerQueues, PublishInfo};
use super::static_topic::MOCK_BROKER;
use super::timers::{TimerId, TimerKey};
use super::{Client, Life};
use crate::limits;

use crate::output::Output;
use crate::prepared::check_topic;
use crate::queues::{PublishQueues, QueueRange, QueuesError};
use crate::slab::Key;
use crate::time::Instant;

/// A question that waits for a route.
#[derive(Debug)]
pub(super) struct QueueWaiter {
    topic: Key,
    timer: TimerId,
}

impl Client {
    /// Asks for the queues of a topic that can be written to, and looks its route up if it is not
    /// known. The end is reported as [`Output::Queues`] with the same `waiter`, at `deadline` at
    /// the latest. A number must not be used again while it waits.
    pub fn query_queues(&mut self, now: Instant, waiter: u64, topic: &str, deadline: Instant) {
        self.advance(now);
        if let Some(result) = self.begin_queue_wait(waiter, topic, deadline) {
            self.outputs.push_back(Output::Queues { waiter, result });
        }
    }

    fn begin_queue_wait(
        &mut self,
        waiter: u64,
        topic: &str,
        deadline: Instant,
    ) -> Option<Result<PublishQueues, QueuesError>> {
        if self.life != Life::Running {
            return Some(Err(QueuesError::Closed));
        }
        if let Err(invalid) = check_topic(topic, &self.config.namespace) {
            return Some(Err(QueuesError::Invalid(invalid)));
        }
        if self.queue_waiters.len() >= limits::QUEUE_WAITERS_MAX {
            return Some(Err(QueuesError::TooMany));
        }
        let Some(key) = self.topic(topic) else {
            return Some(Err(QueuesError::TooMany));
        };
        let now = self.now;
        let fresh = |at: Instant| now.saturating_since(at) < limits::LOOKUP_INTERVAL_MIN;
        let topic = self.topics.get_mut(key)?;
        topic.last_used = now;
        if topic.route.is_some() {
            return self.snapshot(key).map(Ok);
        }
        if topic.not_found_at.is_some_and(fresh) {
            return Some(Err(self.not_found(key)));
        }
        topic.queue_waiters += 1;
        let idle = topic.lookup.is_some() || topic.timer == TimerId::NONE;
        let timer = self.timers.schedule(deadline, TimerKey::QueueWaiter(waiter));
        self.queue_waiters.insert(waiter, QueueWaiter { topic: key, timer });
        if idle {
            self.start_lookup(key);
        }
        None
    }

    /// The queues of a topic whose route is known. Made once for each route.
    fn snapshot(&mut self, key: Key) -> Option<PublishQueues> {
        let brokers = &self.brokers;
        let route = self.topics.get_mut(key)?.route.as_mut()?;
        if let Some(known) = &route.snapshot {
            return Some(known.clone());
        }
        let range = |queues: &BrokerQueues| {
            let broker_name = Arc::clone(&brokers.get(queues.broker)?.name);
            Some(QueueRange { broker_name, first: 0, count: queues.write_queues })
        };
        let ranges = if route.publish.is_static() {
            logical_ranges(&route.publish)
        } else {
            route.publish.hashed().iter().filter_map(range).collect()
        };
        let made = PublishQueues::new(ranges);
        route.snapshot = Some(made.clone());
        Some(made)
    }

    fn not_found(&self, key: Key) -> QueuesError {
        let said = self.topics.get(key).map(|topic| topic.failures.clone());
        QueuesError::TopicNotFound { name_servers: said.unwrap_or_default() }
    }

    /// A route has come for a topic, or no name server knows the topic.
    pub(super) fn answer_queue_waiters(&mut self, key: Key) {
        if self.topics.get(key).is_none_or(|topic| topic.queue_waiters == 0) {
            return;
        }
        let asks = |(waiter, wait): (&u64, &QueueWaiter)| (wait.topic == key).then_some(*waiter);
        let waiters: Vec<u64> = self.queue_waiters.iter().filter_map(asks).collect();
        for waiter in waiters {
            let result = self.snapshot(key).ok_or_else(|| self.not_found(key));
            self.end_queue_waiter(waiter, result);
        }
    }

    /// The time of a question is over.
    pub(super) fn queue_wait_timeout(&mut self, waiter: u64) {
        let Some(key) = self.queue_waiters.get(&waiter).map(|wait| wait.topic) else { return };
        let name_servers = self.name_server_failures(key);
        self.end_queue_waiter(waiter, Err(QueuesError::NameServerUnreachable { name_servers }));
    }

    /// The client closes: nobody answers any more.
    pub(super) fn end_queue_waiters(&mut self) {
        let waiters: Vec<u64> = self.queue_waiters.keys().copied().collect();
        for waiter in waiters {
            self.end_queue_waiter(waiter, Err(QueuesError::Closed));
        }
    }

    fn end_queue_waiter(&mut self, waiter: u64, result: Result<PublishQueues, QueuesError>) {
        let Some(mut wait) = self.queue_waiters.remove(&waiter) else { return };
        self.timers.cancel(&mut wait.timer);
        if let Some(topic) = self.topics.get_mut(wait.topic) {
            topic.queue_waiters -= 1;
        }
        self.outputs.push_back(Output::Queues { waiter, result });
    }
}

/// The logical queues of a static topic, which belong to no broker for good.
fn logical_ranges(publish: &PublishInfo) -> Vec<QueueRange> {
    let name: Arc<str> = MOCK_BROKER.into();
    let mut ranges: Vec<QueueRange> = Vec::new();
    let numbers = (0..publish.queues()).filter_map(|place| publish.listed_at(place));
    for (_, number) in numbers {
        match ranges.last_mut().filter(|last| last.first + last.count == number) {
            Some(last) => last.count += 1,
            None => {
                let broker_name = Arc::clone(&name);
                ranges.push(QueueRange { broker_name, first: number, count: 1 });
            }
        }
    }
    ranges
}
