//! How the caller of a send chooses its queue.

use std::fmt;
use std::sync::Arc;

use rocketmq_core::{
    Message, MessageQueue, OrderKey, PublishQueues, Selection, SelectorFailure, SendErrorKind,
};

use crate::guard::guarded;

/// Chooses the queue of a send; see [`SendOptions::with_selector`](crate::SendOptions).
///
/// The hashes send messages with one key to one queue, as long as the route stays. They look at all
/// queues of the topic that can be written to, also at those of brokers that are down just now;
/// [`WhenDown`](crate::WhenDown) says what happens then.
///
/// # When the route changes
/// A queue or a broker more, or a broker that the name servers take out because it died, changes
/// the queue of keys:
///
/// - With [`Selector::java_hash`] and [`Selector::go_hash`] that is nearly all of them: the hash
///   is taken modulo the number of queues. They are here to agree with producers in Java and Go.
/// - With [`Selector::rendezvous`] it is about the share of what came or went: with a fourth broker
///   beside three, a quarter of the keys moves, all of them to the new one.
///
/// A topic with an order configuration keeps the queues of brokers that are away, so that none of
/// its keys moves because a broker dies.
///
/// There is no selector by machine room: the Java client's returns nothing, whatever it is given.
/// [`Selector::custom`] can tell brokers apart by their names.
///
/// ```
/// use rocketmq_driver::{SendOptions, Selector};
///
/// let by_customer = SendOptions::new().with_selector(Selector::rendezvous("customer-42"));
/// let as_in_java = SendOptions::new().with_selector(Selector::java_hash("customer-42"));
/// let first_queue = SendOptions::new().with_selector(Selector::custom(|queues, _| queues.get(0)));
/// # let _ = (by_customer, as_in_java, first_queue);
/// ```
#[derive(Clone)]
pub struct Selector(Choice);

/// The function of [`Selector::custom`].
type Custom = dyn Fn(&PublishQueues, &Message) -> Option<MessageQueue> + Send + Sync;

#[derive(Clone)]
enum Choice {
    Core(Selection),
    Custom(Arc<Custom>),
}

impl Selector {
    /// The client's own strategy, which is the default: in turn, around brokers that fail.
    pub fn round_robin() -> Selector {
        Selector(Choice::Core(Selection::Any))
    }

    /// By chance, around brokers that fail.
    // Java: SelectMessageQueueByRandom
    pub fn random() -> Selector {
        Selector(Choice::Core(Selection::Random))
    }

    /// This queue and no other: retries go there, too.
    pub fn queue(queue: MessageQueue) -> Selector {
        Selector(Choice::Core(Selection::Queue(queue)))
    }

    /// The queue that the Java client chooses with `SelectMessageQueueByHash` and the string `key`
    /// as its argument. For another argument, give its `hashCode` to
    /// [`Selector::java_hash_code`].
    pub fn java_hash(key: &str) -> Selector {
        Selector(Choice::Core(Selection::java_hash(key)))
    }

    /// The queue that the Java client chooses for an argument with this `hashCode`.
    pub fn java_hash_code(hash: i32) -> Selector {
        Selector(Choice::Core(Selection::JavaHash(hash)))
    }

    /// The queue that the Go client chooses with `NewHashQueueSelector` for the sharding key `key`,
    /// built for 64 bits, in a topic on at most six brokers: it takes the queues in the order in
    /// which its name server lists the brokers, turned round, and beyond that in an order that
    /// depends on the version of Go. A name server before 5.0 lists brokers in the order in which
    /// they came to it, so even two Go clients may differ.
    pub fn go_hash(key: impl AsRef<[u8]>) -> Selector {
        Selector(Choice::Core(Selection::go_hash(key.as_ref())))
    }

    /// By weighted rendezvous over the brokers, then a jump consistent hash over the queues of the
    /// broker. Few keys move when brokers or queues come or go. The queue follows from the key and
    /// the route alone, the same in every process and every version.
    pub fn rendezvous(key: impl AsRef<[u8]>) -> Selector {
        Selector(Choice::Core(Selection::rendezvous(key.as_ref())))
    }

    /// By a function that gets the queues of the topic that can be written to, and the message. It
    /// runs on the task that polls the send, once for each send, before anything is sent; retries
    /// go to the same queue.
    ///
    /// The send first asks the client for the queues, within its own time: that makes it slower
    /// than the other selectors by one turn of the client's task, and may let another send overtake
    /// it.
    ///
    /// # Errors
    /// A send ends with [`SendErrorKind::Selector`] if the function returns `None` or panics, and
    /// with [`SendErrorKind::NoSuchQueue`] if it names a broker that is in no known route.
    /// `try_submit`, which never waits, refuses it.
    pub fn custom(
        select: impl Fn(&PublishQueues, &Message) -> Option<MessageQueue> + Send + Sync + 'static,
    ) -> Selector {
        Selector(Choice::Custom(Arc::new(select)))
    }

    /// What the machine is to do; `None` if the function has to be asked first.
    pub(crate) fn selection(&self, order: Option<OrderKey>) -> Option<Selection> {
        match (&self.0, order) {
            // An order needs one queue.
            (Choice::Core(Selection::Any), Some(order)) => Some(Selection::Rendezvous(order.get())),
            (Choice::Core(selection), _) => Some(selection.clone()),
            (Choice::Custom(_), _) => None,
        }
    }

    /// Asks the function.
    pub(crate) fn ask(
        &self,
        queues: &PublishQueues,
        message: &Message,
    ) -> Result<Selection, SendErrorKind> {
        let select = match &self.0 {
            Choice::Core(selection) => return Ok(selection.clone()),
            Choice::Custom(select) => select,
        };
        // What it leaves behind of its own is its own business: it is only called again.
        match guarded(|| select(queues, message)) {
            Some(Some(queue)) => Ok(Selection::Queue(queue)),
            Some(None) => Err(SendErrorKind::Selector(SelectorFailure::NoQueue)),
            None => Err(SendErrorKind::Selector(SelectorFailure::Panicked)),
        }
    }
}

impl Default for Selector {
    fn default() -> Selector {
        Selector::round_robin()
    }
}

/// Two functions are the same if they were made by one call.
impl PartialEq for Selector {
    fn eq(&self, other: &Selector) -> bool {
        match (&self.0, &other.0) {
            (Choice::Core(own), Choice::Core(other)) => own == other,
            (Choice::Custom(own), Choice::Custom(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Core(selection) => write!(f, "Selector({selection:?})"),
            Choice::Custom(_) => f.write_str("Selector(Custom)"),
        }
    }
}
