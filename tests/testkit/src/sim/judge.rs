//! What was stored, and what a test may claim about it.

use rocketmq_driver::{Delivery, SendError, SendReceipt, UniqueKey};

use super::SimHandle;
use crate::cluster::Stored;

/// What clients still hold in a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// Tasks that have not ended, drivers of clients among them. The future that was given to
    /// [`Sim::run`](super::Sim::run) does not count.
    pub tasks: usize,
    /// Connections that a client holds, dials among them.
    pub sockets: usize,
    /// Timers that are set.
    pub timers: usize,
}

/// Judging. What fails here panics with the seed, the time and the end of the story.
impl SimHandle {
    /// The messages stored under a topic, broker by broker, in the order in which they were stored.
    pub fn stored(&self, topic: &str) -> Vec<Stored> {
        self.look(|cluster| cluster.stored(topic))
    }

    /// Every stored copy of the message with this unique key.
    pub fn copies(&self, key: UniqueKey) -> Vec<Stored> {
        self.look(|cluster| cluster.stored_by_key(&key.to_string()))
    }

    /// The one stored copy of the message with this unique key.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[track_caller]
    pub fn stored_once(&self, key: UniqueKey) -> Stored {
        let mut copies = self.copies(key);
        match copies.pop() {
            Some(stored) if copies.is_empty() => stored,
            Some(_) => self.fail(&format!(
                "message {key} is stored {} times. A retry after a lost answer stores a second \
                 copy: let consumers drop what they know by its key, or expect one or more",
                copies.len() + 1
            )),
            None => self.fail(&format!("message {key} is not stored on any broker")),
        }
    }

    /// The stored message that a receipt names, at the very place that it names.
    ///
    /// # Panics
    /// If it is not there: an acknowledged message was lost.
    #[track_caller]
    pub fn stored_as(&self, receipt: &SendReceipt) -> Stored {
        let Some(position) = receipt.position else {
            self.fail(&format!("the broker gave no position: {receipt:?}"));
        };
        let copies = self.copies(receipt.unique_key);
        let found = copies.into_iter().find(|stored| {
            stored.broker == *receipt.broker_name
                && stored.topic == *receipt.topic
                && stored.queue_id == position.queue_id as i32
                && stored.queue_offset == position.queue_offset
        });
        found.unwrap_or_else(|| {
            self.fail(&format!(
                "message {} was acknowledged, but is not on {} in queue {} at {}",
                receipt.unique_key, receipt.broker_name, position.queue_id, position.queue_offset
            ))
        })
    }

    /// Claims that what an error says about its message is true: if it was not sent, or refused,
    /// no broker has it.
    ///
    /// Only when no broker was told to [lie](crate::cluster::Fault::answer_after_storing).
    ///
    /// # Panics
    /// If a broker has it.
    #[track_caller]
    pub fn assert_true(&self, error: &SendError) {
        let Some(key) = error.unique_key() else { return };
        let copies = self.copies(key).len();
        if copies > 0 && error.delivery() != Delivery::Unknown {
            self.fail(&format!(
                "message {key} failed with {:?}, but is stored {copies} times: {error}",
                error.delivery()
            ));
        }
    }

    /// What clients still hold.
    pub fn leftovers(&self) -> Leftovers {
        let state = self.core.state();
        let (sockets, timers) = (state.sockets.len(), state.timers());
        drop(state);
        Leftovers { tasks: self.core.tasks(), sockets, timers }
    }

    /// Claims that every client has ended and holds nothing any more.
    ///
    /// # Panics
    /// If something is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = self.leftovers();
        if left != (Leftovers { tasks: 0, sockets: 0, timers: 0 }) {
            self.fail(&format!(
                "something is left: {left:?}. Close every client and await every task before"
            ));
        }
    }

    /// Adds a line to the story.
    pub fn note(&self, text: &str) {
        self.core.note(&format!("# {text}"));
    }

    /// Fails the test, with the seed, the time and the end of the story.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn fail(&self, text: &str) -> ! {
        self.core.fail(self.core.state(), text)
    }
}
