//! Why a send failed, what was tried, and whether the message may have been stored.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::batch::{InvalidBatch, Member};
use crate::credentials::ProviderFailure;
use crate::discovery::DiscoveryFailure;
use crate::invalid::InvalidMessage;
use crate::message::Message;
use crate::permission::PermissionReason;
use crate::prepared::PreparedMessage;
use crate::selection::SelectorFailure;
use crate::unsuitable::Unsuitable;
use crate::wire::{ResponseCode, SendStatus, UniqueKey};

mod connection;

pub use connection::{CloseReason, ConnectFailure};

/// A send that was not acknowledged.
#[derive(Clone, PartialEq, Debug)]
pub struct SendError(Box<Failure>);

#[derive(Clone, PartialEq, Debug)]
struct Failure {
    kind: SendErrorKind,
    delivery: Delivery,
    attempts: Vec<Attempt>,
    name_servers: Vec<NameServerFailure>,
    unwritable: Vec<UnwritableBroker>,
    topic: Box<str>,
    unique_key: Option<UniqueKey>,
    message: Option<Message>,
    /// Of a batch, its messages, and their keys once they had any.
    members: Vec<Message>,
    member_keys: Vec<UniqueKey>,
    elapsed: Duration,
    retry_withheld: bool,
}

impl SendError {
    /// A failure of a send that had no attempt: nothing was sent.
    pub fn not_sent(kind: SendErrorKind, message: Message) -> SendError {
        SendError::new(kind, Delivery::NotSent, Vec::new(), None, message, Duration::ZERO)
    }

    /// The same for a message that has its unique key already.
    pub fn not_sent_prepared(kind: SendErrorKind, message: PreparedMessage) -> SendError {
        SendError::of(kind, Delivery::NotSent, Vec::new(), message, Duration::ZERO)
    }

    /// The same for messages that cannot be sent as one batch.
    pub fn invalid_batch(reason: InvalidBatch, messages: Vec<Message>) -> SendError {
        SendError::not_sent_all(SendErrorKind::InvalidBatch(Box::new(reason)), messages)
    }

    /// A failure of several messages that had no attempt together.
    pub fn not_sent_all(kind: SendErrorKind, messages: Vec<Message>) -> SendError {
        let topic = messages.first().map(Message::topic).unwrap_or_default().into();
        let nothing = Message::new("", Bytes::new());
        let mut error = SendError::not_sent(kind, nothing);
        (error.0.message, error.0.topic, error.0.members) = (None, topic, messages);
        error
    }

    /// A failure of a message that is given back; of a batch all its messages.
    pub(crate) fn of(
        kind: SendErrorKind,
        delivery: Delivery,
        attempts: Vec<Attempt>,
        mut message: PreparedMessage,
        elapsed: Duration,
    ) -> SendError {
        let key = Some(message.unique_key);
        let batch = message.take_batch();
        let mut error =
            SendError::new(kind, delivery, attempts, key, message.into_message(), elapsed);
        if let Some(batch) = batch {
            let pair = |member: Member| (member.unique_key, member.message);
            (error.0.member_keys, error.0.members) = batch.members.into_iter().map(pair).unzip();
            error.0.message = None;
        }
        error
    }

    pub(crate) fn take_members(&mut self) -> impl Iterator<Item = (UniqueKey, Message)> + use<> {
        let messages = core::mem::take(&mut self.0.members);
        core::mem::take(&mut self.0.member_keys).into_iter().zip(messages)
    }

    pub(crate) fn with_message(mut self, unique_key: UniqueKey, message: Message) -> SendError {
        self.0.unique_key = Some(unique_key);
        self.0.message = Some(message);
        self
    }

    pub(crate) fn new(
        kind: SendErrorKind,
        delivery: Delivery,
        attempts: Vec<Attempt>,
        unique_key: Option<UniqueKey>,
        message: Message,
        elapsed: Duration,
    ) -> SendError {
        SendError(Box::new(Failure {
            kind,
            delivery,
            attempts,
            name_servers: Vec::new(),
            unwritable: Vec::new(),
            topic: message.topic().into(),
            unique_key,
            message: Some(message),
            members: Vec::new(),
            member_keys: Vec::new(),
            elapsed,
            retry_withheld: false,
        }))
    }

    /// Sets the time from the call to the failure, for a driver that waited before the core.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> SendError {
        self.0.elapsed = elapsed;
        self
    }

    /// Sets what went wrong, for a driver that knows better than the core why it was given up.
    #[must_use]
    pub fn with_kind(mut self, kind: SendErrorKind) -> SendError {
        self.0.kind = kind;
        self
    }

    /// Sets the unique key, unless it is known already, for a driver that chose it.
    #[must_use]
    pub fn or_unique_key(mut self, unique_key: UniqueKey) -> SendError {
        self.0.unique_key.get_or_insert(unique_key);
        self
    }

    /// A failure of which nothing is known, because the machine itself has failed: the message may
    /// have been stored, and is lost to the caller.
    #[doc(hidden)]
    pub fn lost() -> SendError {
        SendError(Box::new(Failure {
            kind: SendErrorKind::DriverStopped,
            delivery: Delivery::Unknown,
            attempts: Vec::new(),
            name_servers: Vec::new(),
            unwritable: Vec::new(),
            topic: "".into(),
            unique_key: None,
            message: None,
            members: Vec::new(),
            member_keys: Vec::new(),
            elapsed: Duration::ZERO,
            retry_withheld: false,
        }))
    }

    pub(crate) fn with_retry_withheld(mut self, withheld: bool) -> SendError {
        self.0.retry_withheld = withheld;
        self
    }

    pub(crate) fn with_unwritable(mut self, brokers: Vec<UnwritableBroker>) -> SendError {
        self.0.unwritable = brokers;
        self
    }

    /// Sets what the name servers did, for a driver that asked for a route itself.
    #[doc(hidden)]
    #[must_use]
    pub fn with_name_servers(mut self, failures: Vec<NameServerFailure>) -> SendError {
        self.0.name_servers = failures;
        self
    }

    /// Whether the send ended before its attempts and its time were used up, because the client had
    /// made too many attempts again: see [`Config::retry_budget`](crate::Config::retry_budget).
    pub fn is_retry_withheld(&self) -> bool {
        self.0.retry_withheld
    }

    /// What went wrong in the end.
    pub fn kind(&self) -> &SendErrorKind {
        &self.0.kind
    }

    /// Whether a broker may have stored the message: over all attempts, the most that can be
    /// proved.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Every attempt, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Name servers that could not be asked for the route.
    pub fn name_servers(&self) -> &[NameServerFailure] {
        &self.0.name_servers
    }

    /// With [`SendErrorKind::NoWritableQueue`]: the brokers of the topic, and why none of them
    /// takes messages.
    pub fn unwritable_brokers(&self) -> &[UnwritableBroker] {
        &self.0.unwritable
    }

    /// The message's topic.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The client's own id of the message, once it had one.
    pub fn unique_key(&self) -> Option<UniqueKey> {
        self.0.unique_key
    }

    /// Time from the call to the failure.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The message, unless it was taken out before. `None` for a batch: see
    /// [`SendError::messages`].
    pub fn message(&self) -> Option<&Message> {
        self.0.message.as_ref()
    }

    /// Takes the message out, to send it again.
    pub fn into_message(self) -> Option<Message> {
        self.0.message
    }

    /// All messages that were to be sent: of a batch several, in order.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.0.message.iter().chain(&self.0.members)
    }

    /// Takes all messages out, to send them again.
    pub fn into_messages(self) -> Vec<Message> {
        self.0.message.into_iter().chain(self.0.members).collect()
    }

    /// The unique keys of the messages of a batch, in order, once they had any. Consumers know the
    /// messages by these; [`SendError::unique_key`] is that of the batch as a whole.
    pub fn member_keys(&self) -> &[UniqueKey] {
        &self.0.member_keys
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &*self.0;
        write!(f, "send to topic \"{}\": {}", failure.topic, failure.kind)?;
        for server in &failure.name_servers {
            write!(f, "; {server}")?;
        }
        for broker in &failure.unwritable {
            write!(f, "; {broker}")?;
        }
        for (number, attempt) in failure.attempts.iter().enumerate() {
            write!(f, "; attempt {}: {attempt}", number + 1)?;
        }
        if failure.retry_withheld {
            f.write_str("; not tried again, because the client's retry_budget is used up")?;
        }
        write!(f, "; {}", failure.delivery)?;
        match failure.unique_key {
            Some(key) if failure.delivery == Delivery::Unknown => {
                write!(f, ", under the unique key {key}; sending it again may store it twice")
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for SendError {}

/// Shows what happened with each name server, at the end of a line.
pub(crate) struct NameServersSaid<'a>(pub(crate) &'a [NameServerFailure]);

impl fmt::Display for NameServersSaid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in self.0 {
            write!(f, "; name server {}: {}", server.address, server.failure)?;
        }
        Ok(())
    }
}

/// Whether a broker may have stored a message that was not acknowledged.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Delivery {
    /// No attempt had its last byte handed to a socket: no broker has the message.
    NotSent,
    /// Every broker that had the whole message refused it: no broker stored it.
    Refused,
    /// At least one broker had the whole message and did not say what became of it. Sending again
    /// may store a duplicate, with the same unique key if the same [`Message`] is retried by the
    /// client itself.
    Unknown,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::NotSent => "the message was not sent",
            Delivery::Refused => "no broker stored the message",
            Delivery::Unknown => "the message may have been stored",
        })
    }
}

/// What went wrong in the end.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The message itself cannot be sent.
    #[error("{0}")]
    Invalid(InvalidMessage),
    /// The messages cannot be sent as one batch.
    #[error("{0}")]
    InvalidBatch(Box<InvalidBatch>),
    /// No name server gave a route within the time of the send.
    #[error("no name server gave a route; check the addresses and that they are name servers")]
    NameServerUnreachable,
    /// The name servers do not know the topic, nor a default topic to create it from.
    #[error(
        "the topic does not exist, nor a default topic to create it from; create it, or allow \
         brokers to create topics"
    )]
    TopicNotFound,
    /// The topic has no queue that can be written to.
    #[error("the topic has no writable queue; check its permission and that its brokers run")]
    NoWritableQueue,
    /// No known route names the given queue's broker, or it has no master.
    #[error("broker \"{0}\" of the given queue is in no known route; check its name")]
    NoSuchQueue(Box<str>),
    /// The time of the send was over.
    #[error(
        "the time of the send is over; give it more if the brokers are well; the attempts, if \
         there were any, say where it went"
    )]
    Timeout,
    /// The time of the send was over before its turn came: earlier sends with the same order key
    /// were still open.
    #[error(
        "the time of the send was over while earlier messages with the same order key were under \
         way; give it more time, or send less with one key"
    )]
    WaitedForOrder,
    /// The selector of the send named no queue.
    #[error("{0}")]
    Selector(SelectorFailure),
    /// The broker has acknowledged the message that begins a transaction with less durability than
    /// asked for, or without saying where it is. The transaction is rolled back.
    #[error(
        "the broker acknowledged the message of the transaction as {status}, {}, so it is rolled \
         back; begin it again",
        if *status == SendStatus::SendOk { "without its place" } else { "which is too little" }
    )]
    NotPrepared {
        /// How it was acknowledged.
        status: SendStatus,
    },
    /// A broker refused the message or failed, and no other attempt did better.
    #[error("the broker answered {code}: {remark}{}", advice(*code))]
    Broker {
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// A server refused the client: unknown key, wrong signature or missing permission.
    #[error("permission denied, {code}: {remark}; {reason}")]
    PermissionDenied {
        /// What the server has against the client.
        reason: PermissionReason,
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The broker takes messages, but not this one.
    #[error("{reason}, {code}: {remark}; {}", .reason.advice())]
    Unsuitable {
        /// What it has against the message.
        reason: Unsuitable,
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The provider of credentials gave none within the time of the send, and nothing leaves
    /// without.
    #[error(
        "there are no credentials yet, because their provider: {0}; check it, or give the client \
         some to begin with"
    )]
    NoCredentials(ProviderFailure),
    /// No attempt got through to a broker, or the connection was lost.
    #[error(
        "no broker could be reached, or the connection to it was lost; check that the brokers run \
         and that the addresses that they announce can be reached from here"
    )]
    Transport,
    /// There was no room for the message within the time of the send.
    #[error("too much is in flight: {0}; let earlier sends end first, or raise it")]
    Backpressure(Bound),
    /// The caller cancelled the send.
    #[error("the send was cancelled")]
    Cancelled,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// An interceptor panicked while it was asked about this send.
    #[error("an interceptor of the application panicked")]
    InterceptorPanicked,
    /// The client's driver has ended: its runtime was shut down, or it panicked.
    #[error("the client's driver has ended, perhaps with its runtime")]
    DriverStopped,
}

impl SendErrorKind {
    /// The kind in a word of lower case, for metrics and for whoever counts failures by class.
    ///
    /// ```
    /// use rocketmq_core::SendErrorKind;
    ///
    /// assert_eq!(SendErrorKind::TopicNotFound.name(), "topic_not_found");
    /// ```
    pub const fn name(&self) -> &'static str {
        match self {
            SendErrorKind::Invalid(_) => "invalid",
            SendErrorKind::InvalidBatch(_) => "invalid_batch",
            SendErrorKind::NameServerUnreachable => "name_server_unreachable",
            SendErrorKind::TopicNotFound => "topic_not_found",
            SendErrorKind::NoWritableQueue => "no_writable_queue",
            SendErrorKind::NoSuchQueue(_) => "no_such_queue",
            SendErrorKind::Timeout => "timeout",
            SendErrorKind::WaitedForOrder => "waited_for_order",
            SendErrorKind::Selector(_) => "selector",
            SendErrorKind::NotPrepared { .. } => "not_prepared",
            SendErrorKind::Broker { .. } => "broker",
            SendErrorKind::PermissionDenied { .. } => "permission_denied",
            SendErrorKind::Unsuitable { .. } => "unsuitable",
            SendErrorKind::NoCredentials(_) => "no_credentials",
            SendErrorKind::Transport => "transport",
            SendErrorKind::Backpressure(_) => "backpressure",
            SendErrorKind::Cancelled => "cancelled",
            SendErrorKind::Closed => "closed",
            SendErrorKind::InterceptorPanicked => "interceptor_panicked",
            SendErrorKind::DriverStopped => "driver_stopped",
        }
    }

    /// The section of the manual that explains the failure and what to do about it: the path of
    /// the module that is the page, and the section there.
    ///
    /// ```
    /// use rocketmq_core::SendErrorKind;
    ///
    /// assert_eq!(SendErrorKind::Timeout.manual(), "rocketmq_driver::manual::verdicts#time");
    /// ```
    pub const fn manual(&self) -> &'static str {
        macro_rules! manual {
            ($section:literal) => {
                concat!("rocketmq_driver::manual::", $section)
            };
        }
        match self {
            SendErrorKind::Invalid(_) | SendErrorKind::InvalidBatch(_) => {
                manual!("verdicts#invalid")
            }
            SendErrorKind::NameServerUnreachable => manual!("verdicts#name-servers"),
            SendErrorKind::TopicNotFound
            | SendErrorKind::NoWritableQueue
            | SendErrorKind::NoSuchQueue(_) => manual!("verdicts#routes"),
            SendErrorKind::WaitedForOrder => manual!("ordering#when-a-send-fails"),
            SendErrorKind::Selector(_) => manual!("ordering#choosing-the-queue"),
            SendErrorKind::Timeout => manual!("verdicts#time"),
            SendErrorKind::NotPrepared { .. } => manual!("transactions#beginning"),
            SendErrorKind::Broker { .. } => manual!("verdicts#answers"),
            SendErrorKind::PermissionDenied { .. } => manual!("verdicts#permission"),
            SendErrorKind::Unsuitable { .. } => manual!("messages#delivered-later"),
            SendErrorKind::NoCredentials(_) => manual!("credentials#providers"),
            SendErrorKind::Transport => manual!("verdicts#transport"),
            SendErrorKind::InterceptorPanicked => manual!("verdicts#interceptors"),
            SendErrorKind::Backpressure(_) => manual!("back_pressure#bounds"),
            SendErrorKind::Cancelled => manual!("closing#cancelling"),
            SendErrorKind::Closed => manual!("closing#closing"),
            SendErrorKind::DriverStopped => manual!("runtimes#the-driver"),
        }
    }
}

/// A bound on what is in flight.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Bound {
    /// [`Config::in_flight_messages_max`](crate::Config::in_flight_messages_max).
    Messages,
    /// [`Config::in_flight_bytes_max`](crate::Config::in_flight_bytes_max).
    Bytes,
    /// [`Config::topic_in_flight_messages_max`](crate::Config::topic_in_flight_messages_max).
    TopicMessages,
    /// [`Config::topic_in_flight_bytes_max`](crate::Config::topic_in_flight_bytes_max).
    TopicBytes,
    /// Topics known to the client at once.
    Topics,
    /// [`limits::TRANSACTIONS_MAX`](crate::limits::TRANSACTIONS_MAX).
    Transactions,
    /// [`limits::REQUESTS_MAX`](crate::limits::REQUESTS_MAX).
    Requests,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Messages => "the limit is in_flight_messages_max",
            Bound::Bytes => "the limit is in_flight_bytes_max",
            Bound::TopicMessages => "the limit is topic_in_flight_messages_max",
            Bound::TopicBytes => "the limit is topic_in_flight_bytes_max",
            Bound::Topics => "the limit is 65,536 topics used within ten minutes",
            Bound::Transactions => {
                "the limit is 262,144 transactions that no broker has acknowledged the end of"
            }
            Bound::Requests => "the limit is 65,536 requests that wait for a reply",
        })
    }
}

/// One try to get a message to a broker.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The broker's name.
    pub broker_name: Arc<str>,
    /// The address that was used; empty if the broker has none.
    pub address: Arc<str>,
    /// The queue on that broker.
    pub queue_id: u32,
    /// How far it got.
    pub stage: Stage,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it failed.
    pub failure: AttemptFailure,
    /// Whether this attempt may have stored the message.
    pub delivery: Delivery,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker_name, address, queue_id, stage, failure, .. } = self;
        let elapsed = rounded(self.elapsed);
        write!(
            f,
            "broker \"{broker_name}\" at {address} queue {queue_id}, {stage} after {elapsed:?}"
        )?;
        match (stage, failure) {
            (Stage::Connect, AttemptFailure::TimedOut) => f.write_str(
                ": no connection in time; the address may be wrong from here or blocked by a \
                 firewall",
            ),
            _ => write!(f, ": {failure}"),
        }
    }
}

/// Without the digits that nobody reads.
fn rounded(elapsed: Duration) -> Duration {
    let unit = if elapsed >= Duration::from_millis(10) { 1_000_000 } else { 1_000 };
    let nanos = elapsed.as_nanos() / unit * unit;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What to do about an answer.
fn advice(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::SYSTEM_ERROR => "; the broker's log says more",
        ResponseCode::SYSTEM_BUSY | ResponseCode::FLOW_CONTROL => {
            "; send more slowly, or give the send more time, or add brokers"
        }
        ResponseCode::SERVICE_NOT_AVAILABLE => {
            "; the broker stores nothing now: its disk may be full, or it may be a slave"
        }
        ResponseCode::NO_PERMISSION => "; check the permissions of the topic and of the broker",
        ResponseCode::TOPIC_NOT_EXIST => "; create the topic on this broker",
        ResponseCode::MESSAGE_ILLEGAL => "; the broker's limits may be lower than this client's",
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED => "; check that this is a broker's port",
        _ => "",
    }
}

/// How far an attempt got.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// A queue was being chosen.
    Select,
    /// The connection was being made.
    Connect,
    /// The connection was there; not every byte had been handed to the socket.
    Write,
    /// Every byte had been handed to the socket; no answer had come.
    Await,
    /// The broker had answered.
    Answered,
}

impl Stage {
    /// The stage in lower case, as in machine-readable output.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Select => "select",
            Stage::Connect => "connect",
            Stage::Write => "write",
            Stage::Await => "await",
            Stage::Answered => "answered",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an attempt failed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptFailure {
    /// The peer answered with something else than success.
    #[error("answered {code}: {remark}")]
    Answered {
        /// The code.
        code: ResponseCode,
        /// The explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The dial failed.
    #[error("connecting failed: {0}")]
    Connect(ConnectFailure),
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    Closed(CloseReason),
    /// The time of the attempt was over.
    #[error("no answer in time")]
    TimedOut,
    /// The route names no address for the broker's master.
    #[error("the route has no address for the broker's master")]
    NoAddress,
    /// The send was cancelled, the client closed, or an earlier attempt was answered after all
    /// while this one ran.
    #[error("given up")]
    GivenUp,
    /// An interceptor panicked when it was shown the attempt or its request.
    #[error("an interceptor of the application panicked")]
    InterceptorPanicked,
    /// The provider of credentials gave none, and nothing leaves without.
    #[error("there are no credentials yet, because their provider: {0}")]
    NoCredentials(ProviderFailure),
    /// The list of name servers could not be looked up.
    #[error("looking up the name servers failed: {0}")]
    Discovery(DiscoveryFailure),
    /// A name server's answer was not a route.
    #[error("the answer is not a route: {0}")]
    BadRoute(Box<str>),
}

/// A name server that did not give a route.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct NameServerFailure {
    /// Its address, or the URL that was asked for name servers.
    pub address: Arc<str>,
    /// What happened.
    pub failure: AttemptFailure,
}

impl fmt::Display for NameServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name server {}: {}", self.address, self.failure)?;
        match self.failure {
            AttemptFailure::Answered { code: ResponseCode::REQUEST_CODE_NOT_SUPPORTED, .. } => {
                f.write_str("; this is not a name server but perhaps a broker, check the port")
            }
            _ => Ok(()),
        }
    }
}

/// A broker that a route names and that takes no messages for the topic.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnwritableBroker {
    /// The broker's name.
    pub broker_name: Arc<str>,
    /// Permission bits of the topic there: 4 to read, 2 to write, 1 to be inherited.
    pub permission: i32,
    /// Queues of the topic there that could be written to.
    pub write_queue_nums: i32,
}

impl fmt::Display for UnwritableBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker_name, permission, write_queue_nums } = self;
        write!(f, "broker \"{broker_name}\": ")?;
        match permission {
            _ if permission & 2 != 0 && *write_queue_nums > 0 => f.write_str("no master"),
            _ if permission & 2 != 0 => f.write_str("no queue to write to"),
            4 | 5 => write!(f, "read-only, permission {permission}"),
            _ => write!(f, "no permission to write, permission {permission}"),
        }
    }
}

/// No name server could be reached within the time.
#[derive(Clone, PartialEq, Debug)]
pub struct NotReady {
    /// What happened with each that was asked.
    pub name_servers: Vec<NameServerFailure>,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no name server answered")?;
        for server in &self.name_servers {
            write!(f, "; {server}")?;
        }
        Ok(())
    }
}

impl core::error::Error for NotReady {}
