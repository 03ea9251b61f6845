//! How a send comes to its queue, and in which order sends go.

use core::num::NonZeroU64;

use crate::hash;
use crate::receipt::MessageQueue;

/// How the queue of a send is chosen.
///
/// The hashes look at all queues of the topic that can be written to, whether their brokers are
/// well or not; what follows when the broker is down says [`WhenDown`]. Each attempt asks again,
/// with the route that is known by then, so a retry goes to the same queue unless the route has
/// changed.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub enum Selection {
    /// The client chooses, anew for each attempt: broker after broker, around those that fail.
    #[default]
    Any,
    /// As [`Selection::Any`], by chance instead of in turn.
    Random,
    /// This queue and no other.
    Queue(MessageQueue),
    /// The queue that a Java client chooses for an argument with this hash.
    // Java: SelectMessageQueueByHash
    JavaHash(i32),
    /// The queue that a Go client chooses for a sharding key with this hash.
    // Go: producer/selector.go hashQueueSelector
    GoHash(u32),
    /// Weighted rendezvous over the brokers by name, then a jump consistent hash over the queues
    /// of the broker: of all keys, only about the share of the new queues moves when a broker or
    /// queues are added.
    Rendezvous(u64),
}

impl Selection {
    /// By the hash that `java.lang.String#hashCode` gives for `key`.
    pub fn java_hash(key: &str) -> Selection {
        Selection::JavaHash(hash::java_string(key))
    }

    /// By the FNV-1a hash of `key`, 32 bits.
    pub fn go_hash(key: &[u8]) -> Selection {
        Selection::GoHash(hash::fnv1a_32(key))
    }

    /// By a hash of `key` with 64 bits.
    pub fn rendezvous(key: &[u8]) -> Selection {
        Selection::Rendezvous(hash::mixed_64(key))
    }

    /// Whether the client has the choice among brokers.
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Selection::Any | Selection::Random)
    }
}

/// What a send does that belongs to one queue while the broker of that queue is down.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum WhenDown {
    /// Waits for the broker, until the time of the send is over.
    #[default]
    Wait,
    /// Ends.
    Fail,
    /// Goes to a queue of another broker. What has the same key is then on two queues, and nothing
    /// tells a consumer which came first.
    Move,
}

/// The order in which a send belongs: of all that have the same one and the same topic, one is
/// under way at a time, in the order in which they were taken in.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderKey(NonZeroU64);

impl OrderKey {
    pub(crate) const MIN: OrderKey = OrderKey(NonZeroU64::MIN);
    pub(crate) const MAX: OrderKey = OrderKey(NonZeroU64::MAX);

    /// The order of `key`. Two keys may share one; then they wait for each other.
    pub fn of(key: &[u8]) -> OrderKey {
        OrderKey(NonZeroU64::new(hash::mixed_64(key)).unwrap_or(NonZeroU64::MIN))
    }

    /// The order as a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Why a selector named no queue.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectorFailure {
    /// The function returned `None`.
    #[error("the selector returned no queue; let it return one of those it was given")]
    NoQueue,
    /// The function panicked.
    #[error("the selector panicked; the panic has been reported where the panic hook reports")]
    Panicked,
    /// The function needs the topic's route, and the call must not wait for it.
    #[error("a selector of one's own needs the route; use submit or send, which may wait for it")]
    WouldWait,
}
