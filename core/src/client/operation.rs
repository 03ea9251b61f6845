//! One send from the call to its end, and the table of all that are open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::static_topic::is_mock_broker;
use super::timers::TimerId;
use crate::error::{Attempt, AttemptFailure, Delivery, SendErrorKind, Stage};
use crate::id::{ConnId, GroupId, OpId};
use crate::prepared::PreparedMessage;
use crate::receipt::{QueuePosition, SendReceipt};
use crate::selection::{OrderKey, Selection, WhenDown};
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::{ResponseCode, SendStatus, StoredPlace};

/// Whether a send waits for an answer.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// The broker answers with a receipt.
    Awaited,
    /// The broker is told not to answer; the send ends when the socket has taken it.
    Oneway,
}

/// How one message is to be sent.
#[derive(Clone, PartialEq, Debug)]
pub struct SendCommand {
    /// The producer group that sends.
    pub group: GroupId,
    /// Whether to wait for an answer.
    pub mode: Mode,
    /// How the queue is chosen.
    pub selection: Selection,
    /// What it does while the broker of its one queue is down.
    pub when_down: WhenDown,
    /// The order in which it belongs, if any.
    pub order: Option<OrderKey>,
    /// Attempts after the first; `None` for [`Config::retries_max`](crate::Config::retries_max).
    pub retries_max: Option<u32>,
    /// When the user called.
    pub started: Instant,
    /// When the send must have ended.
    pub deadline: Instant,
}

impl SendCommand {
    /// A send with an answer, to any queue, in no order, with the retries of the settings.
    pub const fn new(group: GroupId, started: Instant, deadline: Instant) -> SendCommand {
        SendCommand {
            group,
            mode: Mode::Awaited,
            selection: Selection::Any,
            when_down: WhenDown::Wait,
            order: None,
            retries_max: None,
            started,
            deadline,
        }
    }
}

/// A send that was not taken in; the message comes back.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejected {
    /// Why.
    pub kind: SendErrorKind,
    /// The message.
    pub message: PreparedMessage,
}

/// Where a send stands between two inputs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum OpState {
    /// Has just begun, or goes on now: it waits for nothing.
    Begun,
    /// Waits for an earlier send of its order to end.
    InOrder,
    /// Waits for the topic's route.
    Routing,
    /// Waits until brokers know where to pass its reply on.
    Greeting,
    /// An attempt is under way.
    Sending,
    /// Waits before the next attempt.
    BackingOff,
}

/// The attempt under way.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) broker: Key,
    pub(super) broker_name: Arc<str>,
    pub(super) address: Arc<str>,
    pub(super) queue_id: u32,
    pub(super) endpoint: Key,
    /// Set once the connection exists, be it still dialling.
    pub(super) conn: Option<ConnId>,
    pub(super) opaque: i32,
    pub(super) started: Instant,
    pub(super) stage: Stage,
}

/// An earlier attempt whose answer may still come.
#[derive(Copy, Clone, Debug)]
pub(super) struct Outstanding {
    pub(super) conn: ConnId,
    pub(super) opaque: i32,
    pub(super) number: u32,
}

/// One send.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) message: PreparedMessage,
    pub(super) command: SendCommand,
    /// The group's name: it may be unregistered while the send is open.
    pub(super) group: Arc<str>,
    pub(super) topic: Key,
    pub(super) attempts_max: u32,
    pub(super) state: OpState,
    pub(super) current: Option<Current>,
    /// Attempts begun.
    pub(super) number: u32,
    pub(super) tried: Vec<Key>,
    pub(super) failed: Vec<Attempt>,
    pub(super) outstanding: Vec<Outstanding>,
    /// A weak receipt, while another broker is tried for a better one.
    pub(super) weak: Option<Box<SendReceipt>>,
    /// The caller gave up after bytes had left: no further attempt.
    pub(super) detached: bool,
    /// Brokers know where to pass its reply on, or have had their time.
    pub(super) greeted: bool,
    /// The next attempt was not made because the budget for retries was used up.
    pub(super) withheld: bool,
    /// Busy answers so far, for the back-off.
    pub(super) busy: u32,
    pub(super) timer: TimerId,
}

impl Op {
    #[inline(always)]
    pub(super) fn new(
        message: PreparedMessage,
        command: SendCommand,
        group: Arc<str>,
        topic: Key,
        attempts_max: u32,
    ) -> Op {
        Op {
            message,
            command,
            group,
            topic,
            attempts_max,
            state: OpState::Begun,
            current: None,
            number: 0,
            tried: Vec::new(),
            failed: Vec::new(),
            outstanding: Vec::new(),
            weak: None,
            detached: false,
            greeted: false,
            withheld: false,
            busy: 0,
            timer: TimerId::NONE,
        }
    }

    /// The strongest that can be proved over all attempts that have ended.
    pub(super) fn delivery(&self) -> Delivery {
        if planted!(RefusedAfterUnknown) {
            return self.failed.last().map_or(Delivery::NotSent, |attempt| attempt.delivery);
        }
        self.failed.iter().map(|attempt| attempt.delivery).max().unwrap_or(Delivery::NotSent)
    }

    pub(super) fn is_last_attempt(&self) -> bool {
        self.number >= self.attempts_max
    }

    /// Whether it waits, as long as it has time, for the broker of its queue to come back.
    pub(super) fn waits_for_broker(&self) -> bool {
        let command = &self.command;
        // A given queue has its attempts like any other send, unless it is to keep an order.
        let given = matches!(command.selection, Selection::Queue(_));
        command.when_down == WhenDown::Wait
            && !command.selection.is_free()
            && (!given || command.order.is_some())
    }

    /// Whether its queue has gone to another broker of a static topic, as this failure says, and it
    /// is to follow.
    pub(super) fn is_moved(&self, failure: &AttemptFailure) -> bool {
        let code = ResponseCode::NOT_LEADER_FOR_QUEUE;
        let follows = match &self.command.selection {
            Selection::Any | Selection::Random => false,
            Selection::Queue(queue) => is_mock_broker(queue.broker_name()),
            Selection::JavaHash(_) | Selection::GoHash(_) | Selection::Rendezvous(_) => true,
        };
        let said =
            matches!(failure, AttemptFailure::Answered { code: found, .. } if *found == code);
        said && follows && self.command.when_down != WhenDown::Move
    }

    /// Whether it ends when the broker of its queue cannot be reached.
    pub(super) fn fails_with_broker(&self) -> bool {
        self.command.when_down == WhenDown::Fail && !self.command.selection.is_free()
    }

    /// The receipt of attempt `number`, still without topic and failed attempts. `current` is that
    /// attempt if it was under way, else it is one of those that were given up.
    #[inline]
    pub(super) fn receipt(
        &self,
        now: Instant,
        number: u32,
        current: Option<Current>,
        status: SendStatus,
        place: StoredPlace<'_>,
    ) -> Option<SendReceipt> {
        let elapsed = now.saturating_since(self.command.started);
        let (broker_name, address, attempt_elapsed) = match current {
            Some(current) => {
                let elapsed = now.saturating_since(current.started);
                (current.broker_name, current.address, elapsed)
            }
            None => {
                let attempt = self.failed.get((number as usize).wrapping_sub(1))?;
                (Arc::clone(&attempt.broker_name), Arc::clone(&attempt.address), elapsed)
            }
        };
        let position = |(queue_id, queue_offset)| QueuePosition { queue_id, queue_offset };
        Some(SendReceipt {
            status,
            topic: "".into(),
            broker_name,
            address,
            position: place.position.map(position),
            unique_key: self.message.unique_key,
            offset_message_id: place.offset_message_id,
            recall_handle: place.recall_handle.map(Into::into),
            elapsed,
            attempt_elapsed,
            failed_attempts: Vec::new(),
        })
    }

    /// Moves the attempt under way to the failed ones.
    pub(super) fn fail_current(
        &mut self,
        now: Instant,
        stage: Stage,
        failure: AttemptFailure,
        delivery: Delivery,
    ) -> Option<Current> {
        let current = self.current.take()?;
        self.failed.push(Attempt {
            broker_name: Arc::clone(&current.broker_name),
            address: Arc::clone(&current.address),
            queue_id: current.queue_id,
            stage,
            elapsed: now.saturating_since(current.started),
            failure,
            delivery,
        });
        Some(current)
    }
}

/// All open sends, in the slots that their callers chose.
#[derive(Debug, Default)]
pub(super) struct Ops {
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    op: Option<Op>,
}

impl Ops {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains_slot(&self, op: OpId) -> bool {
        self.slots.get(op.index as usize).is_some_and(|slot| slot.op.is_some())
    }

    /// The slot of a new send, which must be free, to be filled now.
    // Not the send itself, which is too large to be moved for nothing.
    #[inline]
    pub(super) fn enter(&mut self, id: OpId) -> Option<&mut Option<Op>> {
        let index = id.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = self.slots.get_mut(index)?;
        slot.generation = id.generation;
        self.len += 1;
        Some(&mut slot.op)
    }

    pub(super) fn get(&self, id: OpId) -> Option<&Op> {
        let slot = self.slots.get(id.index as usize)?;
        slot.op.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Op> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.op.as_mut().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: OpId) -> Option<Op> {
        let slot = self.slots.get_mut(id.index as usize)?;
        let op = slot.op.take_if(|_| slot.generation == id.generation)?;
        self.len -= 1;
        Some(op)
    }

    /// Removes a send without moving it anywhere.
    pub(super) fn discard(&mut self, id: OpId) {
        let slot = self.slots.get_mut(id.index as usize);
        if let Some(slot) = slot.filter(|slot| slot.generation == id.generation)
            && slot.op.is_some()
        {
            slot.op = None;
            self.len -= 1;
        }
    }

    pub(super) fn ids(&self) -> Vec<OpId> {
        let id = |(index, slot): (usize, &Slot)| {
            let generation = slot.generation;
            slot.op.as_ref().map(|_| OpId { index: index as u32, generation })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }
}
