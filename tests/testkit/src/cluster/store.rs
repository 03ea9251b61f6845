//! What a broker keeps: one commit log, and queues that point into it.

use std::collections::BTreeMap;

use super::ConnectionId;
use crate::wire::{Fields, properties_bytes};

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The broker's name.
    pub broker: String,
    /// The topic it is stored under; prepared messages are under
    /// [`HALF_TOPIC`](super::HALF_TOPIC).
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// Place in the queue.
    pub queue_offset: u64,
    /// Place in the broker's commit log.
    pub commit_log_offset: u64,
    /// The body as it was sent.
    pub body: Vec<u8>,
    /// The properties as they were sent (a real broker adds its own).
    pub properties: Fields,
    /// Property `UNIQ_KEY`.
    pub unique_key: Option<String>,
    /// Property `TAGS`.
    pub tags: Option<String>,
    /// Property `KEYS`.
    pub keys: Option<String>,
    /// Compression and transaction bits.
    pub sys_flag: i32,
    /// The application's flag.
    pub flag: i32,
    /// When the client says it made the message.
    pub born_timestamp_ms: i64,
    /// When it was stored, on the cluster's clock.
    pub store_ns: u64,
    /// The producer group.
    pub group: String,
    /// The connection it came over.
    pub connection: ConnectionId,
}

/// A message about to be stored.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) topic: String,
    pub(super) queue_id: i32,
    pub(super) body: Vec<u8>,
    pub(super) properties: Fields,
    pub(super) sys_flag: i32,
    pub(super) flag: i32,
    pub(super) born_timestamp_ms: i64,
    pub(super) store_ns: u64,
    pub(super) group: String,
    pub(super) connection: ConnectionId,
}

/// One broker's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    log: Vec<Stored>,
    /// By topic and queue, where its messages are in the log.
    queues: BTreeMap<String, BTreeMap<i32, Vec<usize>>>,
    /// Where copies of a message are in the log, by unique key.
    keys: BTreeMap<String, Vec<usize>>,
    end: u64,
}

impl Store {
    /// Appends a message and returns it as stored.
    pub(super) fn append(&mut self, broker: &str, message: Incoming) -> &Stored {
        let queues = self.queues.entry(message.topic.clone()).or_default();
        let queue = queues.entry(message.queue_id).or_default();
        let queue_offset = queue.len() as u64;
        queue.push(self.log.len());
        let property = |name: &str| message.properties.get(name).map(str::to_owned);
        let stored = Stored {
            broker: broker.to_owned(),
            queue_offset,
            commit_log_offset: self.end,
            unique_key: property("UNIQ_KEY"),
            tags: property("TAGS"),
            keys: property("KEYS"),
            topic: message.topic,
            queue_id: message.queue_id,
            body: message.body,
            properties: message.properties,
            sys_flag: message.sys_flag,
            flag: message.flag,
            born_timestamp_ms: message.born_timestamp_ms,
            store_ns: message.store_ns,
            group: message.group,
            connection: message.connection,
        };
        // The fixed part of a stored message of version 1 is 91 bytes.
        // Java: MessageDecoder, MessageVersion.
        let properties = properties_bytes(&stored.properties);
        let size = 91 + stored.topic.len() + stored.body.len() + properties;
        self.end += size as u64;
        if let Some(key) = &stored.unique_key {
            self.keys.entry(key.clone()).or_default().push(self.log.len());
        }
        self.log.push(stored);
        &self.log[self.log.len() - 1]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.log.iter()
    }

    /// The messages of a queue, in order.
    pub(super) fn queue(&self, topic: &str, queue_id: i32) -> impl Iterator<Item = &Stored> {
        let places = self.queues.get(topic).and_then(|queues| queues.get(&queue_id));
        places.into_iter().flatten().filter_map(|index| self.log.get(*index))
    }

    /// Copies of a message.
    pub(super) fn copies(&self, key: &str) -> impl Iterator<Item = &Stored> {
        self.keys.get(key).into_iter().flatten().filter_map(|index| self.log.get(*index))
    }

    pub(super) fn at_commit_log_offset(&self, offset: u64) -> Option<&Stored> {
        let index = self.log.binary_search_by_key(&offset, |stored| stored.commit_log_offset);
        index.ok().map(|index| &self.log[index])
    }

    /// Forgets the last messages, as a crash does before the disk has them.
    pub(super) fn lose_tail(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(lost) = self.log.pop() else { return };
            self.end = lost.commit_log_offset;
            let queue = self.queues.get_mut(&lost.topic).and_then(|it| it.get_mut(&lost.queue_id));
            queue.map(Vec::pop);
            lost.unique_key.and_then(|key| self.keys.get_mut(&key)).map(Vec::pop);
        }
    }
}
