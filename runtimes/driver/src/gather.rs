//! Automatic batches: sends of one producer that are held for a moment and leave together.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_core::{Config, Instant, Message, Room};

use crate::shared::Request;

/// How a producer puts single sends together into batches by itself.
///
/// A send that may be gathered is held until its batch is full or the linger ends, and then leaves
/// as part of one request. Sends go together that have the same topic, the same
/// [`wait_stored`](rocketmq_core::Message::with_wait_stored) and the same tag. One that stays alone
/// goes as a plain send.
///
/// Gathered are awaited sends without options of their own. Those with options, oneway ones,
/// delayed ones, compressed ones, and those to a `%RETRY%` topic go by themselves, and so do
/// messages larger than a batch. With
/// [`unlimited_wait_for_room`](rocketmq_core::Config::unlimited_wait_for_room) only
/// [`try_submit`](crate::Producer::try_submit) gathers.
///
/// Dropping or cancelling a send whose batch has left changes nothing: the batch goes on.
///
/// ```
/// use std::time::Duration;
/// use rocketmq_driver::{AutoBatch, ProducerOptions};
///
/// let auto_batch = AutoBatch::new().with_linger(Duration::from_millis(2));
/// let options = ProducerOptions::new().with_auto_batch(auto_batch);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AutoBatch {
    /// How long the first message of a batch waits for others, at most; 10 ms by default.
    // Java: ProduceAccumulator#holdMs
    pub linger: Duration,
    /// Bytes of one batch as sent, at most; 32 KiB by default.
    // Java: ProduceAccumulator#holdSize, which lets one message more in
    pub bytes_max: usize,
    /// Bytes that are held at once, at most; 32 MiB by default. What comes beyond goes by itself.
    // Java: ProduceAccumulator#totalHoldSize
    pub total_bytes_max: usize,
    /// Messages of one batch, at most; 1,024 by default.
    pub messages_max: usize,
}

impl AutoBatch {
    /// The defaults of the Java client.
    pub fn new() -> AutoBatch {
        AutoBatch {
            linger: Duration::from_millis(10),
            bytes_max: 32 * 1024,
            total_bytes_max: 32 * 1024 * 1024,
            messages_max: 1_024,
        }
    }

    /// Sets how long the first message of a batch waits for others: 1 ms to 30 s, and less than
    /// half of [`Config::send_timeout`](rocketmq_core::Config::send_timeout), which runs meanwhile.
    #[must_use]
    pub fn with_linger(self, linger: Duration) -> AutoBatch {
        AutoBatch { linger, ..self }
    }

    /// Sets the bytes of one batch: 1 to 2 MiB, and no more than
    /// [`Config::body_length_max`](rocketmq_core::Config::body_length_max).
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: usize) -> AutoBatch {
        AutoBatch { bytes_max, ..self }
    }

    /// Sets the bytes that are held at once: 1 or more.
    #[must_use]
    pub fn with_total_bytes_max(self, total_bytes_max: usize) -> AutoBatch {
        AutoBatch { total_bytes_max, ..self }
    }

    /// Sets the messages of one batch: 1 to 16,384.
    #[must_use]
    pub fn with_messages_max(self, messages_max: usize) -> AutoBatch {
        AutoBatch { messages_max, ..self }
    }

    // Java: ProduceAccumulator#batchMaxDelayMs, #batchMaxBytes, #totalBatchMaxBytes
    pub(crate) fn check(&self, config: &Config) -> Result<(), AutoBatchError> {
        let linger_max = LINGER_MAX.min(config.send_timeout / 2);
        if self.linger < LINGER_MIN || self.linger > linger_max {
            let linger = self.linger;
            return Err(AutoBatchError::Linger { linger, min: LINGER_MIN, max: linger_max });
        }
        let bytes_max = BYTES_MAX.min(config.body_length_max);
        for (field, value, max) in [
            ("bytes_max", self.bytes_max, bytes_max),
            ("total_bytes_max", self.total_bytes_max, usize::MAX),
            ("messages_max", self.messages_max, rocketmq_core::limits::BATCH_MESSAGES_MAX),
        ] {
            if value == 0 || value > max {
                return Err(AutoBatchError::Range { field, value, max });
            }
        }
        Ok(())
    }
}

impl Default for AutoBatch {
    fn default() -> AutoBatch {
        AutoBatch::new()
    }
}

const LINGER_MIN: Duration = Duration::from_millis(1);
const LINGER_MAX: Duration = Duration::from_secs(30);
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// A setting of [`AutoBatch`] that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AutoBatchError {
    /// The linger is too short or too long.
    #[error(
        "AutoBatch::linger is {linger:?}; it must be {min:?} to {max:?}, at most half of \
         send_timeout"
    )]
    Linger {
        /// The value.
        linger: Duration,
        /// The smallest allowed.
        min: Duration,
        /// The largest allowed.
        max: Duration,
    },
    /// A number is out of range.
    #[error("AutoBatch::{field} is {value}; it must be 1 to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// The value.
        value: usize,
        /// The largest allowed.
        max: usize,
    },
}

/// A send that holds its room and waits for others to leave with.
#[derive(Debug)]
pub(crate) struct Held {
    /// By which it is found when its caller goes.
    pub(crate) number: u64,
    pub(crate) request: Request,
    pub(crate) room: Room,
}

/// Sends that leave together.
pub(crate) type Group = Vec<Held>;

#[derive(Debug)]
struct Open {
    members: Group,
    /// Bytes as sent, or a few more.
    bytes: usize,
    leaves_at: Instant,
    /// Of the member that has the least time.
    deadline: Instant,
}

/// What goes together: topic, `wait_stored` and tag.
type Key = (Box<str>, bool, Option<Box<str>>);

fn key(message: &Message) -> Key {
    (message.topic().into(), message.wait_stored(), message.tag().map(Into::into))
}

/// What one producer holds. It knows no time and wakes nobody.
#[derive(Debug)]
pub(crate) struct Gatherer {
    settings: AutoBatch,
    open: BTreeMap<Key, Open>,
    bytes: usize,
}

impl Gatherer {
    pub(crate) fn new(settings: AutoBatch) -> Gatherer {
        Gatherer { settings, open: BTreeMap::new(), bytes: 0 }
    }

    pub(crate) fn settings(&self) -> AutoBatch {
        self.settings
    }

    /// Holds a send until `now` and the linger at the latest. Gives what has to leave: groups that
    /// are full, or the send itself if it cannot be held.
    // Java: ProduceAccumulator#send, which counts bytes before it knows whether it will hold them
    pub(crate) fn hold(&mut self, now: Instant, held: Held, leaving: &mut Vec<Group>) {
        let bytes = held.request.message.batch_entry_length_max();
        let (max, deadline) = (self.settings.bytes_max, held.request.deadline);
        if bytes > max || bytes > self.settings.total_bytes_max.saturating_sub(self.bytes) {
            leaving.push(vec![held]);
            return;
        }
        let key = key(held.request.message.message());
        let apart = |a: Instant, b: Instant| a.saturating_since(b).max(b.saturating_since(a));
        let linger = self.settings.linger;
        // Nobody loses more of its time than the linger to the one that has the least.
        let joins =
            |open: &Open| open.bytes + bytes <= max && apart(open.deadline, deadline) <= linger;
        if self.open.get(&key).is_some_and(|open| !joins(open)) {
            leaving.extend(self.remove(&key));
        }
        self.bytes += bytes;
        let open = self.open.entry(key.clone()).or_insert_with(|| Open {
            members: Vec::new(),
            bytes: 0,
            leaves_at: now + linger,
            deadline,
        });
        open.bytes += bytes;
        open.deadline = open.deadline.min(deadline);
        open.members.push(held);
        let full = open.bytes >= max || open.members.len() >= self.settings.messages_max;
        if full {
            leaving.extend(self.remove(&key));
        }
    }

    /// What has lingered until `now`.
    pub(crate) fn due(&mut self, now: Instant, leaving: &mut Vec<Group>) {
        let due = self.open.iter().filter(|(_, open)| open.leaves_at <= now);
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        leaving.extend(due.iter().filter_map(|key| self.remove(key)));
    }

    /// Everything.
    pub(crate) fn all(&mut self, leaving: &mut Vec<Group>) {
        self.bytes = 0;
        leaving.extend(std::mem::take(&mut self.open).into_values().map(|open| open.members));
    }

    /// When the next group leaves.
    pub(crate) fn leaves_at(&self) -> Option<Instant> {
        self.open.values().map(|open| open.leaves_at).min()
    }

    /// Takes one send out.
    pub(crate) fn take(&mut self, number: u64) -> Option<Held> {
        let place = |(key, open): (&Key, &Open)| {
            let index = open.members.binary_search_by_key(&number, |held| held.number).ok()?;
            Some((key.clone(), index))
        };
        let (key, index) = self.open.iter().find_map(place)?;
        let open = self.open.get_mut(&key)?;
        let held = open.members.remove(index);
        let bytes = held.request.message.batch_entry_length_max();
        open.bytes -= bytes;
        self.bytes -= bytes;
        if open.members.is_empty() {
            self.open.remove(&key);
        }
        Some(held)
    }

    fn remove(&mut self, key: &Key) -> Option<Group> {
        let open = self.open.remove(key)?;
        self.bytes -= open.bytes;
        Some(open.members)
    }
}
