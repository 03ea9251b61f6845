//! Static topics: a broker serves the logical queues that it leads, and no other.

use super::Cluster;
use super::broker::{Broker, Refusal};
use super::config::TopicConfig;
use crate::wire::{StaticQueues, response_code as answer};

impl Cluster {
    /// Makes a broker's part of a topic static, or changes which logical queues it leads. Its own
    /// queues are made as needed.
    pub fn set_static_topic(&mut self, broker: usize, topic: &str, mut queues: StaticQueues) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            queues.broker_name.clone_from(&broker.name);
            let own = queues.queues.values().max().map_or(0, |last| i64::from(*last) + 1);
            broker.topics.insert(topic.to_owned(), TopicConfig::new(own));
            broker.static_topics.insert(topic.to_owned(), queues);
        }
    }
}

impl Broker {
    /// The broker's own queue behind the number in a request.
    // Java: TopicQueueMappingManager#rewriteRequestForStaticTopic, SendMessageProcessor.
    pub(super) fn own_queue(&self, topic: &str, queue_id: i32) -> Result<i32, Refusal> {
        let Some(mapping) = self.static_topics.get(topic) else {
            return Ok(queue_id);
        };
        let own = mapping.queues.get(&queue_id).copied();
        own.ok_or_else(|| {
            let remark = format!(
                "{topic}-{queue_id} does not exit in request process of current broker {}",
                self.name
            );
            (answer::NOT_LEADER_FOR_QUEUE, Some(remark))
        })
    }
}
