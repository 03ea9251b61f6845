//! What the client wants done and what it has to tell.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::address::Address;
use crate::credentials::{FetchReason, ProviderFailure};
use crate::discovery::{DiscoveryFailure, NameServerUrl};
use crate::error::{AttemptFailure, CloseReason, ConnectFailure, NotReady, SendError};
use crate::id::{ConnId, GroupId, OpId, TracerId};
use crate::interceptor::Hook;
use crate::query::{Answer, QueryError, QueryId};
use crate::queues::{PublishQueues, QueuesError};
use crate::receipt::{OnewayReceipt, SendReceipt};
use crate::request::{CorrelationId, NoReply, ReplyMessage};
use crate::time::Instant;
use crate::transaction::{CheckId, CheckOutcome, TransactionCheck, TransactionError};
use crate::wire::{TraceRecord, UniqueKey};

/// One thing to do or to know, in the order in which they came about.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Dial `address` and report with `handle_connected`. A host name is to be resolved now.
    Connect {
        /// Name of the connection to be.
        conn: ConnId,
        /// Where to.
        address: Arc<Address>,
    },
    /// Close the connection, or give up its dial. Nothing more is to be reported about it.
    Close {
        /// Its name, which is not used again.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Ask `url` for the list of name servers: the first line of the answer's body. Report with
    /// `handle_name_servers`. It replaces one that is still under way.
    FetchNameServers {
        /// Names this look-up.
        fetch: u64,
        /// What to ask.
        url: Arc<NameServerUrl>,
    },
    /// The look-up took too long, or nobody wants its answer any more. Nothing is to be reported.
    AbandonFetch {
        /// Its name.
        fetch: u64,
    },
    /// Ask the provider of the settings for credentials, and report with `handle_credentials`. It
    /// replaces a question that is still under way.
    FetchCredentials {
        /// Names this question.
        fetch: u64,
        /// Why it is asked.
        why: FetchReason,
    },
    /// The provider took too long. Nothing is to be reported.
    AbandonCredentials {
        /// The name of the question.
        fetch: u64,
    },
    /// An operation has ended. Its name is free again.
    Complete {
        /// Its name.
        op: OpId,
        /// How it ended.
        result: Result<Completion, SendError>,
    },
    /// The wait for a name server has ended.
    Ready {
        /// The number given to `wait_ready`.
        waiter: u64,
        /// Whether one answered.
        result: Result<(), NotReady>,
    },
    /// A question for the queues of a topic has its answer.
    Queues {
        /// The number given to `query_queues`.
        waiter: u64,
        /// The queues, or why they are not known.
        result: Result<PublishQueues, QueuesError>,
    },
    /// A query has ended. Its name is free again.
    Answer {
        /// Its name.
        id: QueryId,
        /// The answer, or why there is none.
        result: Result<Answer, QueryError>,
    },
    /// The decision about a transaction has been acknowledged by its broker, or has not.
    TransactionEnded {
        /// The transaction's id.
        unique_key: UniqueKey,
        /// Whether the broker has it.
        result: Result<(), TransactionError>,
    },
    /// A broker asks about a transaction that the application has to know. Answer with
    /// `answer_check`.
    CheckTransaction {
        /// Names the question.
        id: CheckId,
        /// The group that has sent the message.
        group: GroupId,
        /// The question.
        check: Box<TransactionCheck>,
    },
    /// The wait for the reply to a request that a broker has stored is over. A reply may come even
    /// before the [`Complete`](Output::Complete) of its request, which always comes as well.
    Replied {
        /// Which request.
        correlation_id: CorrelationId,
        /// The reply, its body as it was sent; or why there is none.
        result: Result<Box<ReplyMessage>, NoReply>,
    },
    /// The application's time to answer a check is over. Whatever it does for that may end.
    AbandonCheck {
        /// Names the question.
        id: CheckId,
    },
    /// The client closes while this transaction is undecided. Its broker will ask another process
    /// of the group.
    TransactionLeft {
        /// The transaction's id.
        unique_key: UniqueKey,
    },
    /// Something has become of a message of a group that is traced.
    Trace {
        /// The name given to `register_traced`.
        tracer: TracerId,
        /// What.
        record: Box<TraceRecord>,
    },
    /// The shutdown is complete: every operation has ended, every connection is closed.
    Closed,
    /// Something happened that is worth knowing.
    Event(Event),
}

/// How an operation ended well.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Completion {
    /// A broker stored the message.
    Stored(SendReceipt),
    /// A broker stored the messages of a batch, all of them: one receipt for each, in order.
    StoredBatch(Vec<SendReceipt>),
    /// A oneway message was handed to the socket.
    Sent(OnewayReceipt),
}

/// Why the next deadline exists.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TimeoutReason {
    /// A send, or one of its attempts, runs out of time or starts again.
    Send,
    /// A route is looked up again, or another name server is asked.
    Lookup,
    /// The list of name servers is looked up, or that takes too long.
    Discovery,
    /// A provider is asked for credentials, or takes too long.
    Credentials,
    /// The routes are refreshed.
    RouteRefresh,
    /// Heartbeats are due.
    Heartbeat,
    /// The detector asks the brokers.
    Detector,
    /// A dial runs out of time or may start again.
    Dial,
    /// A request other than a send runs out of time.
    Request,
    /// A connection is idle, or a frame or write takes too long.
    Connection,
    /// The application runs out of time to answer a check.
    Check,
    /// A reply comes too late.
    Reply,
    /// A wait for readiness runs out of time.
    Ready,
    /// The shutdown runs out of time.
    Shutdown,
}

/// Something that happened. Bodies and secrets never appear.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is ready.
    Connected {
        /// Its name.
        conn: ConnId,
        /// Where to.
        address: Arc<str>,
    },
    /// A dial failed.
    ConnectFailed {
        /// Where to.
        address: Arc<str>,
        /// Why.
        failure: ConnectFailure,
        /// When the address may be dialled again.
        retry_at: Instant,
    },
    /// A connection ended.
    Disconnected {
        /// Its name.
        conn: ConnId,
        /// Where to.
        address: Arc<str>,
        /// Why.
        reason: CloseReason,
    },
    /// A topic's route is new or different.
    RouteChanged {
        /// The topic.
        topic: Arc<str>,
        /// Brokers with a queue that can be written to.
        brokers: u32,
        /// Queues that can be written to.
        queues: u32,
    },
    /// A route could not be looked up; the old one, if any, stays.
    RouteFailed {
        /// The topic.
        topic: Arc<str>,
        /// The name server that was asked.
        address: Arc<str>,
        /// What it said or did.
        failure: AttemptFailure,
    },
    /// The list of name servers is a different one.
    NameServersChanged {
        /// Their addresses.
        addresses: Arc<[Arc<str>]>,
    },
    /// The list of name servers could not be looked up; the old one, if any, stays.
    DiscoveryFailed {
        /// The URL that was asked.
        url: Arc<NameServerUrl>,
        /// What happened.
        failure: DiscoveryFailure,
    },
    /// A queue was chosen and an attempt began.
    AttemptStarted {
        /// The operation.
        op: OpId,
        /// The message's unique key, which receipts and errors carry as well.
        unique_key: UniqueKey,
        /// 1 for the first.
        number: u32,
        /// The broker.
        broker_name: Arc<str>,
        /// The queue on it.
        queue_id: u32,
    },
    /// An attempt failed.
    AttemptFailed {
        /// The operation.
        op: OpId,
        /// The message's unique key, which receipts and errors carry as well.
        unique_key: UniqueKey,
        /// 1 for the first.
        number: u32,
        /// The broker.
        broker_name: Arc<str>,
        /// Why.
        failure: AttemptFailure,
        /// When the next attempt begins, if there is one.
        retry_at: Option<Instant>,
    },
    /// A send would have made another attempt, but the budget for retries is used up: it ends with
    /// its last failure. See [`Config::retry_budget`](crate::Config::retry_budget).
    RetryWithheld {
        /// The operation.
        op: OpId,
        /// The message's unique key, which receipts and errors carry as well.
        unique_key: UniqueKey,
        /// The attempt that was the last.
        number: u32,
    },
    /// A broker was slow or failed, or is well again.
    FaultUpdated {
        /// The broker.
        broker_name: Arc<str>,
        /// It is avoided until then; in the past if it is well.
        isolated_until: Instant,
    },
    /// The detector reached a broker again, or no longer.
    BrokerReachable {
        /// The broker.
        broker_name: Arc<str>,
        /// Whether it can be reached.
        reachable: bool,
    },
    /// A heartbeat was not answered with success.
    HeartbeatFailed {
        /// The broker's address.
        address: Arc<str>,
        /// Why.
        failure: AttemptFailure,
    },
    /// An answer came for which nobody waits: too late, twice, or to a request never made.
    LateAnswer {
        /// The connection.
        conn: ConnId,
        /// The request's number.
        opaque: i32,
        /// The operation it belonged to, if it is still known.
        op: Option<OpId>,
        /// The unique key of the message that it was about, if it is still known.
        unique_key: Option<UniqueKey>,
        /// The answer's code.
        code: i32,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// A broker passed a reply on for which nobody waits: it came too late, twice, or belongs to a
    /// request of another process.
    StrayReply {
        /// The broker's address.
        address: Arc<str>,
        /// Which request it belongs to; `None` if that is no id of this client's kind.
        correlation_id: Option<CorrelationId>,
        /// The producer group that has replied.
        producer_group: Box<str>,
    },
    /// A broker sent a request that this client does not serve.
    RequestRefused {
        /// The connection.
        conn: ConnId,
        /// The request's code.
        code: i32,
    },
    /// A provider has given credentials, which are used from now on.
    CredentialsRefreshed {
        /// For how long they are good, if that is known.
        expires_in: Option<Duration>,
    },
    /// A provider has given nothing; what there was, if anything, is used on.
    CredentialsFailed {
        /// Why.
        failure: ProviderFailure,
        /// When it is asked again.
        retry_at: Instant,
    },
    /// A broker has asked about a transaction.
    TransactionChecked {
        /// The producer group that has begun the transaction.
        producer_group: Box<str>,
        /// The transaction's id: the unique key of its message.
        transaction_id: Box<str>,
        /// The broker's address.
        address: Arc<str>,
        /// What became of the question.
        outcome: CheckOutcome,
    },
    /// An interceptor panicked, and was caught.
    InterceptorPanicked {
        /// What it was called for.
        hook: Hook,
        /// The unique key of the message that it was about; `None` for other requests.
        unique_key: Option<UniqueKey>,
    },
}

/// A set of kinds of events. What is not in the set is not even built.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct EventSet(u16);

impl EventSet {
    /// No event.
    pub const NONE: EventSet = EventSet(0);
    /// Connections: made, failed, ended.
    pub const CONNECTIONS: EventSet = EventSet(1);
    /// Routes and the list of name servers: changed, failed.
    pub const ROUTES: EventSet = EventSet(2);
    /// Attempts that failed, and retries that were withheld.
    pub const ATTEMPT_FAILURES: EventSet = EventSet(4);
    /// Attempts that started: one event for each send at least.
    pub const ATTEMPT_STARTS: EventSet = EventSet(8);
    /// Brokers that are avoided or well again.
    pub const FAULTS: EventSet = EventSet(16);
    /// Heartbeats that failed.
    pub const HEARTBEATS: EventSet = EventSet(32);
    /// Answers and replies nobody waits for, and requests that are not served.
    pub const STRAYS: EventSet = EventSet(64);
    /// Interceptors that panicked.
    pub const INTERCEPTORS: EventSet = EventSet(128);
    /// Credentials that were fetched, or could not be.
    pub const CREDENTIALS: EventSet = EventSet(256);
    /// Brokers that ask about transactions.
    pub const TRANSACTIONS: EventSet = EventSet(512);
    /// Everything that is not part of a send that goes well.
    pub const STATE_CHANGES: EventSet = EventSet(1023 - 8);
    /// Everything.
    pub const ALL: EventSet = EventSet(1023);

    /// Whether all of `other` is in the set.
    pub const fn contains(self, other: EventSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: EventSet) -> EventSet {
        EventSet(self.0 | other.0)
    }
}
