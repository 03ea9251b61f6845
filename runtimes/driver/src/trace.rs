//! The message trace of a producer: its settings, its counters, and what waits to be sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocketmq_core::wire::TraceRecord;
use rocketmq_core::{Config, Instant, InvalidMessage, Message, check_send_topic, limits};

/// Has a producer record what becomes of its messages, in ordinary messages of a trace topic, as
/// the Java client does with `enableTrace`; see the page `trace` of the manual.
///
/// ```
/// use std::time::Duration;
/// use rocketmq_driver::{ProducerOptions, TraceOptions};
///
/// let trace = TraceOptions::new().with_topic("OrdersTrace").with_interval(Duration::from_secs(1));
/// let options = ProducerOptions::new().with_trace(trace);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TraceOptions {
    /// Where the records go; `RMQ_SYS_TRACE_TOPIC` by default. Messages to topics whose names begin
    /// like this are not recorded.
    // Java: ClientConfig#traceTopic
    pub topic: Cow<'static, str>,
    /// Records that wait before they are sent together; 10 by default.
    // Java: ClientConfig#traceMsgBatchNum
    pub batch: usize,
    /// Time after which fewer are sent as well; 5 s by default.
    // Java: AsyncTraceDispatcher#flushTraceInterval
    pub interval: Duration,
}

impl TraceOptions {
    /// The defaults of the Java client.
    pub fn new() -> TraceOptions {
        // Java: TopicValidator#RMQ_SYS_TRACE_TOPIC
        let topic = "RMQ_SYS_TRACE_TOPIC".into();
        TraceOptions { topic, batch: 10, interval: Duration::from_secs(5) }
    }

    /// Sets the topic. It is one of the client's namespace, if there is one.
    #[must_use]
    pub fn with_topic(self, topic: impl Into<Cow<'static, str>>) -> TraceOptions {
        TraceOptions { topic: topic.into(), ..self }
    }

    /// Sets how many records are sent together: 1 to 20.
    #[must_use]
    pub fn with_batch(self, batch: usize) -> TraceOptions {
        TraceOptions { batch, ..self }
    }

    /// Sets the time after which fewer are sent as well: 1 ms to 1 h.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> TraceOptions {
        TraceOptions { interval, ..self }
    }

    pub(crate) fn check(&self, config: &Config) -> Result<(), TraceError> {
        check_send_topic(&self.topic, config).map_err(|error| TraceError::Topic {
            topic: self.topic.chars().take(limits::TOPIC_LENGTH_MAX + 1).collect(),
            error,
        })?;
        if self.batch == 0 || self.batch > limits::TRACE_BATCH_MAX {
            return Err(TraceError::Batch { batch: self.batch, max: limits::TRACE_BATCH_MAX });
        }
        if self.interval < INTERVAL_MIN || self.interval > INTERVAL_MAX {
            let (min, max) = (INTERVAL_MIN, INTERVAL_MAX);
            return Err(TraceError::Interval { interval: self.interval, min, max });
        }
        Ok(())
    }
}

impl Default for TraceOptions {
    fn default() -> TraceOptions {
        TraceOptions::new()
    }
}

const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// A setting of [`TraceOptions`] that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The topic cannot be one.
    #[error("TraceOptions::topic is \"{topic}\": {error}")]
    Topic {
        /// The topic, cut if it is long.
        topic: String,
        /// What is wrong with it.
        error: InvalidMessage,
    },
    /// No record, or too many, in one message.
    #[error("TraceOptions::batch is {batch}; it must be 1 to {max}")]
    Batch {
        /// The value.
        batch: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The interval is too short or too long.
    #[error("TraceOptions::interval is {interval:?}; it must be {min:?} to {max:?}")]
    Interval {
        /// The value.
        interval: Duration,
        /// The smallest allowed.
        min: Duration,
        /// The largest allowed.
        max: Duration,
    },
}

/// What has become of the records of one producer. Those that are neither sent nor dropped wait,
/// or are on their way.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TraceStats {
    /// Records that were made.
    pub recorded: u64,
    /// Those that a broker has stored.
    pub sent: u64,
    /// Those that are lost, or may be: too many waited, they were too large, or their message
    /// could not be sent.
    pub dropped: u64,
}

/// Counted by the driver, read by handles.
#[derive(Debug, Default)]
pub(crate) struct TraceCounters {
    recorded: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl TraceCounters {
    pub(crate) fn read(&self) -> TraceStats {
        // Sent and dropped first: they never show more than was recorded.
        let sent = self.sent.load(Ordering::Acquire);
        let dropped = self.dropped.load(Ordering::Acquire);
        TraceStats { recorded: self.recorded.load(Ordering::Acquire), sent, dropped }
    }

    pub(crate) fn sent(&self, records: usize) {
        self.sent.fetch_add(records as u64, Ordering::Release);
    }

    pub(crate) fn dropped(&self, records: usize) {
        self.dropped.fetch_add(records as u64, Ordering::Release);
    }
}

/// What the driver needs to trace a producer.
#[derive(Clone, Debug)]
pub(crate) struct TraceStart {
    pub(crate) options: TraceOptions,
    pub(crate) counters: Arc<TraceCounters>,
}

/// The records of one producer that wait to be sent.
#[derive(Debug)]
pub(crate) struct Collector {
    options: TraceOptions,
    pub(crate) counters: Arc<TraceCounters>,
    /// Longest body of a message.
    body_max: usize,
    waiting: VecDeque<Waiting>,
    /// Of their texts and keys.
    bytes: usize,
    /// Messages that are made and wait for room.
    ready: VecDeque<TraceMessage>,
    flushed: Instant,
}

#[derive(Debug)]
struct Waiting {
    topic: Box<str>,
    text: String,
    keys: Box<str>,
}

/// A message with records.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TraceMessage {
    pub(crate) message: Message,
    pub(crate) records: usize,
}

impl Collector {
    pub(crate) fn new(start: TraceStart, config: &Config, now: Instant) -> Collector {
        Collector {
            options: start.options,
            counters: start.counters,
            body_max: limits::TRACE_BODY_LENGTH_MAX.min(config.body_length_max),
            waiting: VecDeque::new(),
            bytes: 0,
            ready: VecDeque::new(),
            flushed: now,
        }
    }

    /// Takes a record in, or drops it if too much waits.
    pub(crate) fn add(&mut self, record: &TraceRecord) {
        self.counters.recorded.fetch_add(1, Ordering::Release);
        let mut text = String::with_capacity(256);
        record.encode(&mut text);
        let mut keys = String::new();
        for key in record.keys().filter(|key| !key.contains(char::is_control)) {
            if keys.len() + key.len() < limits::TRACE_KEYS_LENGTH_MAX {
                append_key(&mut keys, key);
            }
        }
        let bytes = text.len() + keys.len();
        if text.len() > self.body_max
            || self.waiting.len() >= limits::TRACE_RECORDS_MAX
            || self.bytes + bytes > limits::TRACE_RECORD_BYTES_MAX
        {
            return self.counters.dropped(1);
        }
        self.bytes += bytes;
        let (topic, keys) = (record.topic().into(), keys.into());
        self.waiting.push_back(Waiting { topic, text, keys });
    }

    /// The next message to send. With `hurry`, records wait for no others.
    pub(crate) fn next(&mut self, now: Instant, hurry: bool) -> Option<TraceMessage> {
        if self.ready.is_empty() && self.due(hurry) <= now {
            self.flush(now);
        }
        self.ready.pop_front()
    }

    /// Puts a message back that had no room.
    pub(crate) fn put_back(&mut self, message: TraceMessage) {
        self.ready.push_front(message);
    }

    /// When the next message is to be sent.
    pub(crate) fn due(&self, hurry: bool) -> Instant {
        if !self.ready.is_empty() {
            return Instant::ZERO;
        }
        match self.waiting.len() {
            0 => Instant::FAR_FUTURE,
            count if hurry || count >= self.options.batch => Instant::ZERO,
            _ => self.flushed + self.options.interval,
        }
    }

    /// Bytes of the message that is made and waits for room, if one does.
    pub(crate) fn ready_bytes(&self) -> Option<usize> {
        self.ready.front().map(|ready| ready.message.body().len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    /// Makes messages of the records that are first: one for each topic that they are about, and
    /// more if they would be too long.
    // Java: AsyncTraceDispatcher#flushTraceContext, AsyncDataSendTask#sendTraceData
    fn flush(&mut self, now: Instant) {
        self.flushed = now;
        let count = self.options.batch.min(self.waiting.len());
        let mut topics: BTreeMap<Box<str>, Vec<Waiting>> = BTreeMap::new();
        for record in self.waiting.drain(..count) {
            self.bytes -= record.text.len() + record.keys.len();
            topics.entry(record.topic.clone()).or_default().push(record);
        }
        for records in topics.into_values() {
            let mut body = String::new();
            let (mut keys, mut first) = (String::new(), 0);
            for (index, record) in records.iter().enumerate() {
                if index > first && body.len() + record.text.len() > self.body_max {
                    let full = (std::mem::take(&mut body), std::mem::take(&mut keys));
                    self.ready.push_back(message(self.options.topic.clone(), full, index - first));
                    first = index;
                }
                body += &record.text;
                append_key(&mut keys, &record.keys);
            }
            let count = records.len() - first;
            self.ready.push_back(message(self.options.topic.clone(), (body, keys), count));
        }
    }

    /// Gives up all that waits.
    pub(crate) fn drop_all(&mut self) {
        let ready: usize = self.ready.drain(..).map(|message| message.records).sum();
        self.counters.dropped(ready + self.waiting.len());
        self.waiting.clear();
        self.bytes = 0;
    }
}

fn append_key(keys: &mut String, key: &str) {
    if !keys.is_empty() {
        keys.push(' ');
    }
    keys.push_str(key);
}

/// Each key stands once, as far as there is room for them.
fn message(
    topic: Cow<'static, str>,
    (body, keys): (String, String),
    records: usize,
) -> TraceMessage {
    let mut message = Message::new(topic, body);
    let mut length = 0;
    let mut seen = BTreeSet::new();
    for key in keys.split(' ').filter(|key| !key.trim().is_empty()) {
        if length + key.len() < limits::TRACE_KEYS_LENGTH_MAX && seen.insert(key) {
            length += key.len() + 1;
            message = message.with_key(key.to_owned());
        }
    }
    TraceMessage { message, records }
}

#[cfg(test)]
mod tests;
