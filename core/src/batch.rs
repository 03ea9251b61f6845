//! Several messages in one request: what may be in one, how it is put together, and how one answer
//! becomes a receipt for each.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::Config;
use crate::error::SendError;
use crate::invalid::InvalidMessage;
use crate::limits;
use crate::message::Message;
use crate::prepared::{PreparedMessage, SendKind, Special, entry_properties_length};
use crate::receipt::{QueuePosition, SendReceipt};
use crate::time::ClockReading;
use crate::wire::{
    BATCH_ENTRY_OVERHEAD, OffsetMessageId, PropertyWriter, UniqueKey, encode_batch_entry, property,
};

/// Why messages cannot be sent as one batch. Nothing was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// There is no message.
    #[error("the batch holds no message")]
    Empty,
    /// There are too many messages for the header of the broker's answer.
    #[error("the batch holds {count} messages, more than {max}; split it")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The most allowed.
        max: usize,
    },
    /// A message has another topic than the first.
    #[error("message {index} of the batch has another topic than the first; one batch, one topic")]
    MixedTopics {
        /// The first such message, counted from 0.
        index: usize,
    },
    /// A message asks for another durability than the first.
    #[error(
        "message {index} of the batch has another wait_stored than the first; it holds for a \
         whole batch"
    )]
    MixedWait {
        /// The first such message, counted from 0.
        index: usize,
    },
    /// Brokers take no batches for topics of retried messages.
    #[error("the batch goes to a %RETRY% topic, for which brokers take no batches")]
    RetryTopic,
    /// A message of a batch cannot be delivered later: brokers would deliver it at once.
    #[error("message {index} of the batch has a delay; send it by itself")]
    Delayed {
        /// The first such message, counted from 0.
        index: usize,
    },
    /// A message cannot be sent at all.
    #[error("message {index} of the batch: {reason}")]
    Message {
        /// The first such message, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: InvalidMessage,
    },
    /// The batch is too large for one request.
    #[error(
        "the batch has {length} bytes as sent, more than body_length_max = {max}; split it with \
         split_batch"
    )]
    TooLarge {
        /// Its length in bytes, as sent.
        length: usize,
        /// The largest allowed.
        max: usize,
    },
}

/// What a batch keeps of its messages: enough to give each its receipt, or to give it back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Batch {
    pub(crate) members: Vec<Member>,
    /// Where the members were stored according to the latest acknowledgement; empty if it did not
    /// say so.
    pub(crate) ids: Vec<OffsetMessageId>,
}

/// One message of a batch.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Member {
    pub(crate) unique_key: UniqueKey,
    pub(crate) message: Message,
}

impl PreparedMessage {
    /// Puts messages together into one batch, which is sent, retried and acknowledged as one
    /// message. `unique_key` is the batch's own, `clock` is now.
    ///
    /// The bodies go as they were given: a batch is never compressed.
    ///
    /// # Errors
    /// Says what stands against it, and gives the messages back.
    // Java: MessageBatch#generateFromList, DefaultMQProducer#batch
    pub fn batch_of(
        members: Vec<PreparedMessage>,
        unique_key: UniqueKey,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidBatch, Vec<PreparedMessage>)> {
        assemble(members, unique_key, clock, config, false)
    }

    /// As [`PreparedMessage::batch_of`], for messages that share their tag. The batch gets it, too:
    /// a topic whose queues keep batches whole filters them by it.
    ///
    /// # Errors
    /// As [`PreparedMessage::batch_of`].
    // Java: ProduceAccumulator#batch
    pub fn gathered(
        members: Vec<PreparedMessage>,
        unique_key: UniqueKey,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidBatch, Vec<PreparedMessage>)> {
        assemble(members, unique_key, clock, config, true)
    }

    /// Whether it can go into a batch with others: it is plain, without a delay, and not of a topic
    /// of retried messages.
    // Java: DefaultMQProducer#canBatch
    pub fn is_batchable(&self) -> bool {
        self.special.is_none() && !is_retry_topic(self.message.topic()) && !self.message.is_marked()
    }

    /// Bytes that the message takes as part of a batch, or a few more.
    pub fn batch_entry_length_max(&self) -> usize {
        BATCH_ENTRY_OVERHEAD + self.message.body().len() + self.properties.length_max()
    }
}

fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with("%RETRY%")
}

fn assemble(
    members: Vec<PreparedMessage>,
    unique_key: UniqueKey,
    clock: ClockReading,
    config: &Config,
    tagged: bool,
) -> Result<PreparedMessage, (InvalidBatch, Vec<PreparedMessage>)> {
    let (first, body) = match check(&members).and_then(|first| {
        let body = encode(&members, config)?;
        Ok((first, body))
    }) {
        Ok(checked) => checked,
        Err(error) => return Err((error, members)),
    };
    // "UNIQ_KEY", "WAIT", separators and up to 56 hex digits.
    let tag = first.tag().filter(|_| tagged);
    let mut out = PropertyWriter::new(config.encoding, 140 + tag.map_or(0, str::len));
    if let Some(tag) = tag {
        out.push(property::TAGS, tag);
    }
    out.push_key_and_wait(unique_key, first.wait_stored());
    if !config.namespace.is_empty() {
        // Java: DefaultMQProducerImpl#sendKernelImpl, MessageConst#PROPERTY_INSTANCE_ID
        out.push(property::INSTANCE_ID, &config.namespace);
    }
    let message =
        Message::new(first.topic_shared(), Bytes::from(body)).with_wait_stored(first.wait_stored());
    let member =
        |member: PreparedMessage| Member { unique_key: member.unique_key, message: member.message };
    let members = members.into_iter().map(member).collect();
    let batch = Some(Batch { members, ids: Vec::new() });
    let special = Special { kind: SendKind::Batch, batch, ..Special::default() };
    let special = Some(Box::new(special));
    Ok(PreparedMessage { message, properties: out.text, unique_key, clock, special })
}

/// Gives the first message.
fn check(members: &[PreparedMessage]) -> Result<&Message, InvalidBatch> {
    let first = members.first().ok_or(InvalidBatch::Empty)?;
    let first = first.message();
    let (count, max) = (members.len(), limits::BATCH_MESSAGES_MAX);
    if count > max {
        return Err(InvalidBatch::TooMany { count, max });
    }
    if is_retry_topic(first.topic()) {
        return Err(InvalidBatch::RetryTopic);
    }
    for (index, member) in members.iter().enumerate() {
        let message = member.message();
        if message.topic() != first.topic() {
            return Err(InvalidBatch::MixedTopics { index });
        }
        if message.wait_stored() != first.wait_stored() {
            return Err(InvalidBatch::MixedWait { index });
        }
        if message.is_marked() {
            return Err(InvalidBatch::Delayed { index });
        }
    }
    Ok(first)
}

fn encode(members: &[PreparedMessage], config: &Config) -> Result<Vec<u8>, InvalidBatch> {
    let at_most = |member: &PreparedMessage| member.batch_entry_length_max();
    let room: usize = members.iter().map(at_most).sum();
    // More than this is refused below, so it need not be had.
    let mut body = Vec::with_capacity(room.min(config.body_length_max));
    let mut length = 0_usize;
    for (index, member) in members.iter().enumerate() {
        let properties = member.properties.plain();
        let message = member.message();
        let entry = BATCH_ENTRY_OVERHEAD + message.body().len() + properties.len();
        length = length.saturating_add(entry);
        if length > config.body_length_max {
            // Only counted from here on.
            continue;
        }
        encode_batch_entry(&mut body, message.flag(), &properties, message.body()).map_err(
            // Every member was checked by itself for far less than this.
            |_| {
                let length = properties.len();
                InvalidBatch::Message {
                    index,
                    reason: InvalidMessage::PropertiesTooLong { length },
                }
            },
        )?;
    }
    if length > config.body_length_max {
        return Err(InvalidBatch::TooLarge { length, max: config.body_length_max });
    }
    Ok(body)
}

impl Batch {
    /// One receipt for each message, of the one for the whole batch: the offsets follow each other.
    // Java: ProduceAccumulator#splitSendResults
    pub(crate) fn receipts(&self, whole: &SendReceipt) -> Vec<SendReceipt> {
        let receipt = |(index, member): (usize, &Member)| SendReceipt {
            topic: member.message.topic_shared(),
            unique_key: member.unique_key,
            position: whole.position.and_then(|first| {
                let queue_offset = first.queue_offset.checked_add(index as u64)?;
                Some(QueuePosition { queue_offset, ..first })
            }),
            offset_message_id: self.ids.get(index).copied(),
            ..whole.clone()
        };
        self.members.iter().enumerate().map(receipt).collect()
    }
}

/// Cuts messages into batches that each fit into one request, by their true size as sent. Each
/// batch has as many messages as fit, in order, and ends where the topic or
/// [`wait_stored`](Message::with_wait_stored) changes. A message that is too large by itself comes
/// alone; sending it says how large it is.
///
/// Made by a producer's `split_batch`.
#[derive(Clone, Debug)]
#[must_use = "iterators are lazy"]
pub struct Batches<I> {
    messages: I,
    /// The first message of the next batch, with its size.
    ahead: Option<(Message, usize)>,
    key: UniqueKey,
    config: Config,
    bytes_max: usize,
}

impl<I: Iterator<Item = Message>> Batches<I> {
    /// Cuts `messages` into batches of at most `bytes_max`. `key` has the length of the unique
    /// keys that the messages will get.
    pub fn new(messages: I, key: UniqueKey, config: &Config, bytes_max: usize) -> Batches<I> {
        let bytes_max = bytes_max.min(config.body_length_max);
        Batches { messages, ahead: None, key, config: config.clone(), bytes_max }
    }

    fn pull(&mut self) -> Option<(Message, usize)> {
        let message = self.messages.next()?;
        let properties = entry_properties_length(&message, self.key, &self.config);
        let length = BATCH_ENTRY_OVERHEAD + message.body().len() + properties;
        Some((message, length))
    }
}

impl<I: Iterator<Item = Message>> Iterator for Batches<I> {
    type Item = Vec<Message>;

    fn next(&mut self) -> Option<Vec<Message>> {
        let (first, mut length) = self.ahead.take().or_else(|| self.pull())?;
        let mut batch = Vec::from([first]);
        while batch.len() < limits::BATCH_MESSAGES_MAX {
            let Some((message, more)) = self.pull() else { break };
            let alike = batch.first().is_some_and(|first| {
                first.topic() == message.topic() && first.wait_stored() == message.wait_stored()
            });
            length = length.saturating_add(more);
            if !alike || length > self.bytes_max {
                self.ahead = Some((message, more));
                break;
            }
            batch.push(message);
        }
        Some(batch)
    }
}

impl SendError {
    /// The errors of the messages of a batch, one for each, all with the same verdict.
    #[doc(hidden)]
    pub fn into_members(mut self) -> Vec<SendError> {
        let members = self.take_members();
        members.map(|(key, message)| self.clone().with_message(key, message)).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::time::Duration;

    use super::*;
    use crate::time::WallTime;
    use crate::wire::UniqueKey;

    fn prepared(message: Message) -> PreparedMessage {
        let key: UniqueKey = "7F000001000100000000000000000001".parse().unwrap();
        let config = Config::builder("127.0.0.1:9876").build().unwrap();
        PreparedMessage::new(message, key, ClockReading::default(), &config).unwrap()
    }

    #[test]
    fn what_is_delayed_is_in_no_batch_whatever_the_property() {
        let config = Config::builder("127.0.0.1:9876").build().unwrap();
        let plain = || Message::new("Orders", "body").with_property("city", "Oslo");
        let later = [
            plain().with_delay_level(3),
            plain().deliver_after(Duration::from_secs(3)),
            plain().deliver_at(WallTime::from_millis(3)),
            plain().with_system_property(property::TIMER_DELAY_SEC, Some("3".into())),
        ];
        for message in later {
            let delayed = prepared(message);
            assert!(!delayed.is_batchable(), "{delayed:?}");
            let (key, clock) = (delayed.unique_key, delayed.clock);
            let members = vec![prepared(plain()), delayed];
            let refused = PreparedMessage::batch_of(members, key, clock, &config);
            let (reason, members) = refused.unwrap_err();
            assert_eq!((reason, members.len()), (InvalidBatch::Delayed { index: 1 }, 2));
        }
        assert!(prepared(plain()).is_batchable());
    }
}
