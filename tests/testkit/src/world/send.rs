//! What a simulated application sends, and how it ended.

use std::fmt;
use std::time::Duration;

use rocketmq_core::{
    Attempt, Delivery, GroupId, Instant, MessageQueue, Mode, OnewayReceipt, OpId, OrderKey,
    Selection, SendCommand, SendError, SendErrorKind, SendReceipt, WhenDown,
};

/// Names a send of a [`World`](super::World), in the order of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub usize);

/// A message to send and how.
#[derive(Clone, Debug)]
#[must_use]
pub struct SendSpec {
    pub(super) client: usize,
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) selection: Selection,
    pub(super) when_down: WhenDown,
    pub(super) order: Option<OrderKey>,
    pub(super) retries_max: Option<u32>,
    pub(super) timeout: Option<Duration>,
    pub(super) wait_stored: bool,
}

impl SendSpec {
    /// An awaited send by the first client, with the client's settings.
    pub fn new(topic: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            client: 0,
            topic: topic.into(),
            body: body.into(),
            mode: Mode::Awaited,
            selection: Selection::Any,
            when_down: WhenDown::Wait,
            order: None,
            retries_max: None,
            timeout: None,
            wait_stored: true,
        }
    }

    /// What the machine is told.
    pub(super) fn command(
        &self,
        group: GroupId,
        started: Instant,
        deadline: Instant,
    ) -> SendCommand {
        SendCommand {
            group,
            mode: self.mode,
            selection: self.selection.clone(),
            when_down: self.when_down,
            order: self.order,
            retries_max: self.retries_max,
            started,
            deadline,
        }
    }

    /// Another client.
    pub fn by(mut self, client: usize) -> Self {
        self.client = client;
        self
    }

    /// Without an answer.
    pub fn oneway(mut self) -> Self {
        self.mode = Mode::Oneway;
        self
    }

    /// To this queue only.
    pub fn to(mut self, broker_name: &str, queue_id: u32) -> Self {
        self.selection = Selection::Queue(MessageQueue::new(broker_name, queue_id));
        self
    }

    /// To the queue chosen like this.
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// What it does while the broker of its queue is down.
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// In the order of this key, to the queue of the key.
    pub fn ordered(mut self, key: &str) -> Self {
        self.order = Some(OrderKey::of(key.as_bytes()));
        if self.selection == Selection::Any {
            self.selection = Selection::rendezvous(key.as_bytes());
        }
        self
    }

    /// Attempts after the first.
    pub fn retries(mut self, retries_max: u32) -> Self {
        self.retries_max = Some(retries_max);
        self
    }

    /// Time from the call to the end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether the broker waits for flush and replication.
    pub fn wait_stored(mut self, wait: bool) -> Self {
        self.wait_stored = wait;
        self
    }
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A broker stored it.
    Stored(SendReceipt),
    /// A oneway message went into a socket.
    Sent(OnewayReceipt),
    /// It failed, or was cancelled in time.
    Failed(SendError),
    /// The client did not take it in.
    Rejected(SendErrorKind),
}

impl Outcome {
    /// The receipt of a stored message.
    pub fn receipt(&self) -> Option<&SendReceipt> {
        match self {
            Outcome::Stored(receipt) => Some(receipt),
            _ => None,
        }
    }

    /// The error of a send that failed.
    pub fn error(&self) -> Option<&SendError> {
        match self {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether a broker acknowledged it.
    pub fn is_stored(&self) -> bool {
        matches!(self, Outcome::Stored(_))
    }

    /// What a failure proves about the message.
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            Outcome::Failed(error) => Some(error.delivery()),
            Outcome::Rejected(_) => Some(Delivery::NotSent),
            _ => None,
        }
    }

    /// The attempts that failed.
    pub fn failed_attempts(&self) -> &[Attempt] {
        match self {
            Outcome::Stored(receipt) => &receipt.failed_attempts,
            Outcome::Sent(receipt) => &receipt.failed_attempts,
            Outcome::Failed(error) => error.attempts(),
            Outcome::Rejected(_) => &[],
        }
    }

    /// For the trace: everything that matters about the end.
    pub(super) fn line(&self) -> impl fmt::Display {
        Line(self)
    }
}

struct Line<'a>(&'a Outcome);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Stored(r) => write!(
                f,
                "stored {:?} {} {:?} after {} failed",
                r.status,
                r.broker_name,
                r.position.map(|p| (p.queue_id, p.queue_offset)),
                r.failed_attempts.len()
            ),
            Outcome::Sent(r) => write!(f, "sent {} {}", r.broker_name, r.queue_id),
            Outcome::Failed(error) => write!(f, "failed {error}"),
            Outcome::Rejected(kind) => write!(f, "rejected {kind}"),
        }
    }
}

/// One send from the call to the end.
#[derive(Clone, Debug)]
pub struct SendRecord {
    /// What was to be sent.
    pub spec: SendSpec,
    /// The operation's name at the client.
    pub op: OpId,
    /// Its unique key, as text.
    pub unique_key: String,
    /// When the application called.
    pub started_ns: u64,
    /// What the wall clock showed then, in milliseconds.
    pub(super) wall_ms: i64,
    /// When it must have ended, on the world's clock.
    pub deadline_ns: u64,
    /// The same on the client's clock.
    pub(super) deadline: rocketmq_core::Instant,
    /// Most attempts it may have.
    pub attempts_max: u32,
    /// When it ended.
    pub ended_ns: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it was cancelled.
    pub cancelled_ns: Option<u64>,
}

impl SendRecord {
    /// The body that was to be sent.
    pub fn body(&self) -> &[u8] {
        &self.spec.body
    }

    /// Whether no answer was asked for.
    pub fn is_oneway(&self) -> bool {
        self.spec.mode == Mode::Oneway
    }
}
