//! What a broker acknowledged.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::error::Attempt;
use crate::wire::{OffsetMessageId, SendStatus, UniqueKey};

/// One queue of a topic: the broker's name and the queue's number there. The topic is that of the
/// message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageQueue {
    broker_name: Arc<str>,
    queue_id: u32,
}

impl MessageQueue {
    /// Queue `queue_id` of broker `broker_name`.
    pub fn new(broker_name: impl Into<Arc<str>>, queue_id: u32) -> MessageQueue {
        MessageQueue { broker_name: broker_name.into(), queue_id }
    }

    /// The broker's name, not its address.
    pub fn broker_name(&self) -> &str {
        &self.broker_name
    }

    /// The queue's number on that broker.
    pub fn queue_id(&self) -> u32 {
        self.queue_id
    }
}

/// A broker has stored the message.
///
/// `SEND_OK` means what the broker is configured for: with asynchronous flush it does not mean
/// "on disk".
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct SendReceipt {
    /// Stored, or stored with less durability than asked for.
    pub status: SendStatus,
    /// The message's topic.
    pub topic: Cow<'static, str>,
    /// Name of the broker that stored it.
    pub broker_name: Arc<str>,
    /// Address to which the message was sent.
    pub address: Arc<str>,
    /// Where it was stored. `None` if the broker acknowledged without a readable receipt: stored,
    /// position unknown.
    pub position: Option<QueuePosition>,
    /// The client's own id of the message, the same over all attempts.
    pub unique_key: UniqueKey,
    /// The broker's id of the message.
    pub offset_message_id: Option<OffsetMessageId>,
    /// Handle with which a timer message can be recalled.
    pub recall_handle: Option<Box<str>>,
    /// Time from the call to the acknowledgement.
    pub elapsed: Duration,
    /// Time from the start of the successful attempt to the acknowledgement.
    pub attempt_elapsed: Duration,
    /// The attempts that failed before; and the one that was under way, if an earlier one was
    /// answered after all. Each that is [`Unknown`](crate::Delivery::Unknown) may be one more copy.
    pub failed_attempts: Vec<Attempt>,
}

/// A place in a topic.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueuePosition {
    /// Queue on the broker.
    pub queue_id: u32,
    /// Offset in that queue, from 0.
    pub queue_offset: u64,
}

impl SendReceipt {
    /// The queue that holds the message, unless the receipt was unreadable.
    pub fn queue(&self) -> Option<MessageQueue> {
        let position = self.position?;
        Some(MessageQueue::new(Arc::clone(&self.broker_name), position.queue_id))
    }

    /// Whether the broker met the durability it is configured for and told where the message is.
    pub fn is_complete(&self) -> bool {
        self.status == SendStatus::SendOk && self.position.is_some()
    }
}

/// A oneway message was handed to a broker's socket. Nothing is known about its fate.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct OnewayReceipt {
    /// The message's topic.
    pub topic: Cow<'static, str>,
    /// Name of the broker.
    pub broker_name: Arc<str>,
    /// Address to which the message was sent.
    pub address: Arc<str>,
    /// Queue that was asked for.
    pub queue_id: u32,
    /// The client's own id of the message.
    pub unique_key: UniqueKey,
    /// Time from the call until the socket had taken the last byte.
    pub elapsed: Duration,
    /// The attempts that failed before.
    pub failed_attempts: Vec<Attempt>,
}
