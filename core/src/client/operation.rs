//! One send from the call to its end, and the table of all that are open.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::timers::TimerId;
use crate::error::{Attempt, AttemptFailure, Delivery, SendErrorKind, Stage};
use crate::id::{ConnId, GroupId, OpId};
use crate::message::PreparedMessage;
use crate::receipt::{MessageQueue, SendReceipt};
use crate::slab::Key;
use crate::time::Instant;

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
    /// The queue to send to; `None` lets the client choose, anew for each attempt.
    pub queue: Option<MessageQueue>,
    /// Attempts after the first; `None` for [`Config::retries_max`](crate::Config::retries_max).
    pub retries_max: Option<u32>,
    /// When the user called.
    pub started: Instant,
    /// When the send must have ended.
    pub deadline: Instant,
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
    /// Waits for the topic's route.
    Routing,
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
    /// Busy answers so far, for the back-off.
    pub(super) busy: u32,
    pub(super) timer: TimerId,
}

impl Op {
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
            state: OpState::Routing,
            current: None,
            number: 0,
            tried: Vec::new(),
            failed: Vec::new(),
            outstanding: Vec::new(),
            weak: None,
            detached: false,
            busy: 0,
            timer: TimerId::NONE,
        }
    }

    /// The strongest that can be proved over all attempts that have ended.
    pub(super) fn delivery(&self) -> Delivery {
        self.failed.iter().map(|attempt| attempt.delivery).max().unwrap_or(Delivery::NotSent)
    }

    pub(super) fn is_last_attempt(&self) -> bool {
        self.number >= self.attempts_max
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
    slots: Vec<Option<(u32, Op)>>,
    len: usize,
}

impl Ops {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains_slot(&self, op: OpId) -> bool {
        matches!(self.slots.get(op.index as usize), Some(Some(_)))
    }

    /// Puts a send into its slot, which must be free.
    pub(super) fn insert(&mut self, id: OpId, op: Op) {
        let index = id.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some((id.generation, op));
            self.len += 1;
        }
    }

    pub(super) fn get(&self, id: OpId) -> Option<&Op> {
        match self.slots.get(id.index as usize)? {
            Some((generation, op)) if *generation == id.generation => Some(op),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Op> {
        match self.slots.get_mut(id.index as usize)? {
            Some((generation, op)) if *generation == id.generation => Some(op),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: OpId) -> Option<Op> {
        self.get(id)?;
        let (_, op) = self.slots.get_mut(id.index as usize)?.take()?;
        self.len -= 1;
        Some(op)
    }

    pub(super) fn ids(&self) -> Vec<OpId> {
        let id = |(index, slot): (usize, &Option<(u32, Op)>)| {
            let generation = slot.as_ref()?.0;
            Some(OpId { index: index as u32, generation })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }
}
