//! The machine: inputs, outputs and the tables they act on.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::address::Address;
use crate::config::{Config, GroupError};
use crate::error::{CloseReason, ConnectFailure, NotReady, SendErrorKind};
use crate::id::{ConnId, GroupId, OpId};
use crate::limits;
use crate::output::{Event, EventSet, Output, TimeoutReason};
use crate::prepared::{PreparedMessage, SendKind};
use crate::rng::Rng;
use crate::slab::{Key, Slab};
use crate::time::Instant;

mod attempt;
mod broker;
mod budget;
mod busy;
mod check;
mod connection;
mod control;
mod credentials;
mod detector;
mod discovery;
mod ending;
mod fault;
mod framing;
mod hashing;
mod heartbeat;
mod hooks;
mod lanes;
mod lookup;
mod operation;
mod outbox;
mod publish;
mod query;
mod queue_waiters;
mod receive;
mod replies;
mod requests;
mod selection;
mod session;
mod static_topic;
mod strategy;
mod timers;
mod topic;
mod tracing;
mod transaction;
mod verdict;

use broker::Broker;
use budget::Budget;
use check::Checks;
use connection::Endpoint;
use control::Control;
use credentials::Access;
use discovery::Discovery;
pub use ending::CancelOutcome;
use fault::Latency;
use lanes::Lanes;
pub use operation::{Mode, Rejected, SendCommand};
use operation::{Op, Ops};
use query::OpenQuery;
use queue_waiters::QueueWaiter;
use replies::Replies;
use session::Session;
use timers::{TimerId, TimerKey, Timers};
use topic::Topic;
use tracing::Tracing;
use transaction::Transactions;

/// A RocketMQ client without IO, clock or chance of its own.
///
/// Methods come in four classes. Getters answer at any time. `handle_*` tell what the world did.
/// Commands ([`send`](Client::send), [`cancel`](Client::cancel), …) tell what the application
/// wants. `poll_*` give what is to be done. Inputs never fail and are legal at any moment, in any
/// order; reports about connections that no longer exist are ignored.
///
/// The same configuration, seed and inputs give the same outputs, to the byte.
#[derive(Debug)]
pub struct Client {
    config: Config,
    /// Bound of the names of operations.
    operations_max: u32,
    /// What is left for attempts after the first.
    budget: Budget,
    now: Instant,
    rng: Rng,
    timers: Timers,
    outputs: VecDeque<Output>,
    /// Connections that have bytes to send and were not polled since.
    dirty: VecDeque<ConnId>,
    ops: Ops,
    lanes: Lanes,
    groups: Vec<Option<Arc<str>>>,
    topics: Slab<Topic>,
    topics_by_name: BTreeMap<Arc<str>, Key>,
    brokers: Slab<Broker>,
    brokers_by_name: BTreeMap<Arc<str>, Key>,
    endpoints: Slab<Endpoint>,
    endpoints_by_address: BTreeMap<Arc<Address>, Key>,
    sessions: Slab<Session>,
    controls: Slab<Control>,
    open_queries: Slab<OpenQuery>,
    transactions: Transactions,
    checks: Checks,
    replies: Replies,
    tracing: Tracing,
    /// Addresses that wait because too many dials are under way.
    dial_queue: VecDeque<Key>,
    /// The same for addresses that are dialled for a heartbeat alone.
    greeting_queue: VecDeque<Key>,
    dials: usize,
    name_servers: Vec<Key>,
    discovery: Discovery,
    /// Fields that every request gets.
    extra_fields: Vec<(String, String)>,
    access: Access,
    /// The name server that is asked first: the one that answered last.
    chosen_name_server: usize,
    name_server_answered: bool,
    ready_waiters: Vec<ReadyWaiter>,
    /// Who asks for the queues of a topic whose route is not known yet.
    queue_waiters: BTreeMap<u64, QueueWaiter>,
    /// Until then a broker may have to be avoided; afterwards all are well.
    trouble_until: Instant,
    /// Where the choice among the better half stands, for the strategy of Java 5.0.0.
    worst_position: u32,
    latency: Latency,
    life: Life,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Life {
    Running,
    /// No new send; those open may go on until the timer.
    Draining,
    /// All sends have ended; the brokers are being told.
    Unregistering,
    Closed,
}

#[derive(Debug)]
struct ReadyWaiter {
    waiter: u64,
    timer: TimerId,
}

impl Client {
    /// A client that has done nothing yet. Everything that it leaves to chance follows from
    /// `seed`; `now` is the moment of the first input.
    pub fn new(config: Config, seed: u64, now: Instant) -> Client {
        let operations_max = config.operations_max();
        let extra_fields = extra_fields(&config);
        let mut client = Client {
            operations_max,
            budget: Budget::new(config.retry_budget, operations_max, now),
            now,
            rng: Rng::from_seed(seed),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            dirty: VecDeque::new(),
            ops: Ops::default(),
            lanes: Lanes::default(),
            groups: Vec::new(),
            topics: Slab::new(),
            topics_by_name: BTreeMap::new(),
            brokers: Slab::new(),
            brokers_by_name: BTreeMap::new(),
            endpoints: Slab::new(),
            endpoints_by_address: BTreeMap::new(),
            sessions: Slab::new(),
            controls: Slab::new(),
            open_queries: Slab::new(),
            transactions: Transactions::default(),
            checks: Checks::default(),
            replies: Replies::new(),
            tracing: Tracing::default(),
            dial_queue: VecDeque::new(),
            greeting_queue: VecDeque::new(),
            dials: 0,
            name_servers: Vec::new(),
            discovery: Discovery::new(&config),
            access: Access::new(&config, &extra_fields),
            extra_fields,
            chosen_name_server: 0,
            name_server_answered: false,
            ready_waiters: Vec::new(),
            queue_waiters: BTreeMap::new(),
            trouble_until: Instant::ZERO,
            worst_position: 0,
            latency: Latency::new(&config),
            life: Life::Running,
            config,
        };
        client.begin_with_name_servers();
        client.begin_with_credentials();
        client.worst_position = client.rng.fork("better half").next_u64() as u32;
        for name in client.config.topics.clone() {
            client.topic(&name);
        }
        let first = client.config.route_refresh.first;
        client.timers.schedule(now + first, TimerKey::RouteRefresh);
        client.timers.schedule(now + client.config.heartbeat.first, TimerKey::Heartbeat);
        client.schedule_detector();
        client
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sends that have not ended.
    pub fn in_flight(&self) -> usize {
        self.ops.len()
    }

    /// Sizes of the internal tables, for leak checks.
    pub fn table_sizes(&self) -> TableSizes {
        TableSizes {
            operations: self.ops.len(),
            connections: self.sessions.len(),
            addresses: self.endpoints.len(),
            topics: self.topics.len(),
            brokers: self.brokers.len(),
            requests: self.controls.len(),
            open_queries: self.open_queries.len(),
            timers: self.timers.len(),
            orders: self.lanes.len(),
            queue_waiters: self.queue_waiters.len(),
            transactions: self.transactions.live(),
            decisions: self.transactions.remembered(),
            checks: self.checks.len(),
            replies: self.replies.len(),
        }
    }

    // ---- What the world did -----------------------------------------------------------------

    /// A dial ended.
    pub fn handle_connected(
        &mut self,
        now: Instant,
        conn: ConnId,
        result: Result<(), ConnectFailure>,
    ) {
        self.advance(now);
        match result {
            Ok(()) => self.connected(conn),
            Err(failure) => self.connect_failed(conn, failure),
        }
    }

    /// Bytes came in. Whole frames are taken off the front of `buf`; the rest stays for the next
    /// call. If the bytes are not RocketMQ's, the connection is closed and `buf` emptied.
    pub fn handle_received(&mut self, now: Instant, conn: ConnId, buf: &mut BytesMut) {
        self.advance(now);
        self.received(conn, buf);
    }

    /// The socket took `n` more of the bytes offered by [`transmit_chunks`](Self::transmit_chunks).
    pub fn handle_transmitted(&mut self, now: Instant, conn: ConnId, n: usize) {
        self.advance(now);
        self.transmitted(conn, n);
    }

    /// The connection ended: the peer closed or reset it, or the operating system gave up.
    pub fn handle_closed(&mut self, now: Instant, conn: ConnId, reason: CloseReason) {
        self.advance(now);
        self.close_session(conn, reason, false);
    }

    /// Time has passed. Calls before the deadline, or without one, do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(key) = self.timers.pop_due(self.now) {
            match key {
                TimerKey::Op(op) => self.op_timeout(op),
                TimerKey::Topic(topic) => self.lookup_timeout(topic),
                TimerKey::Control(control) => self.control_timeout(control),
                TimerKey::Dial(conn) => self.dial_timeout(conn),
                TimerKey::Redial(endpoint) => self.redial(endpoint),
                TimerKey::Conn(conn) => self.connection_timeout(conn),
                TimerKey::Discovery => self.discovery_timeout(),
                TimerKey::Credentials => self.credentials_timeout(),
                TimerKey::RouteRefresh => self.refresh_routes(),
                TimerKey::Heartbeat => self.heartbeat_round(),
                TimerKey::Detector => self.detect(),
                TimerKey::Ready(waiter) => self.ready_timeout(waiter),
                TimerKey::QueueWaiter(waiter) => self.queue_wait_timeout(waiter),
                TimerKey::Check(check) => self.check_timeout(check),
                TimerKey::Reply(request) => self.reply_timeout(request),
                TimerKey::Shutdown => self.shutdown_timeout(),
            }
        }
    }

    // ---- What the application wants ---------------------------------------------------------

    /// Registers a producer group. Brokers hear of it with the next heartbeat, which is sent now.
    ///
    /// # Errors
    /// If the name is not legal or already registered, or the client is closing.
    pub fn register(&mut self, now: Instant, group: &str) -> Result<GroupId, GroupError> {
        self.advance(now);
        let wire = self.config.wire_group(group)?;
        if self.life != Life::Running {
            return Err(GroupError::Closed);
        }
        if self.groups.iter().flatten().any(|known| **known == *wire) {
            return Err(GroupError::Duplicate(group.into()));
        }
        let name: Arc<str> = (&*wire).into();
        let index = match self.groups.iter().position(Option::is_none) {
            Some(index) => {
                if let Some(slot) = self.groups.get_mut(index) {
                    *slot = Some(name);
                }
                index
            }
            None if self.groups.len() >= limits::GROUPS_MAX + self.tracing.sender_slots() => {
                return Err(GroupError::TooMany);
            }
            None => {
                self.groups.push(Some(name));
                self.groups.len() - 1
            }
        };
        self.heartbeat_all();
        Ok(GroupId(index as u32))
    }

    /// Forgets a producer group and tells the connected brokers. Its open sends go on.
    pub fn unregister(&mut self, now: Instant, group: GroupId) {
        self.advance(now);
        let name = self.groups.get_mut(group.0 as usize).and_then(Option::take);
        if let Some(name) = name {
            self.tracing.unregistered(&name);
            self.unregister_everywhere(&name);
        }
    }

    /// Takes in a message to send. Its end is reported as [`Output::Complete`].
    ///
    /// # Errors
    /// Gives the message back if the client is closing, the group is not registered, the
    /// operation's name is in use or beyond [`Config::operations_max`] (of the most that
    /// [`Client::set_in_flight_max`] has allowed), or too many topics are known.
    // The message goes back unboxed: a refusal must not allocate.
    #[allow(clippy::result_large_err)]
    pub fn send(
        &mut self,
        now: Instant,
        op: OpId,
        message: PreparedMessage,
        command: SendCommand,
    ) -> Result<(), Rejected> {
        self.advance(now);
        let reject = |kind, message| Err(Rejected { kind, message });
        if self.life != Life::Running && !(planted!(SendAfterClose) && self.life != Life::Closed) {
            return reject(SendErrorKind::Closed, message);
        }
        if op.index >= self.operations_max || self.ops.contains_slot(op) {
            return reject(SendErrorKind::Backpressure(crate::error::Bound::Messages), message);
        }
        let group = self.groups.get(command.group.0 as usize).and_then(Option::as_ref);
        let Some(group) = group.map(Arc::clone) else {
            return reject(SendErrorKind::Closed, message);
        };
        let topic = match message.kind() {
            // Of the cluster, and not of a tenant.
            SendKind::Reply => self.system_topic(message.message.topic()),
            _ => self.topic(message.message.topic()),
        };
        let Some(topic) = topic else {
            return reject(SendErrorKind::Backpressure(crate::error::Bound::Topics), message);
        };
        if message.is_half() && !self.begin_transaction(&message, &group, topic) {
            let bound = crate::error::Bound::Transactions;
            return reject(SendErrorKind::Backpressure(bound), message);
        }
        if let Some(id) = message.correlation_id()
            && !self.begin_request(id, op, command.deadline)
        {
            let bound = crate::error::Bound::Requests;
            return reject(SendErrorKind::Backpressure(bound), message);
        }
        let own = command.retries_max.filter(|_| !planted!(RetriesOptionIgnored));
        let retries = own.unwrap_or(self.config.retries_max);
        let mut attempts_max = retries.min(limits::RETRIES_MAX) + 1;
        attempts_max += u32::from(planted!(AttemptCapIgnored));
        let order = command.order;
        if let Some(slot) = self.ops.enter(op) {
            *slot = Some(Op::new(message, command, group, topic, attempts_max));
        }
        match order {
            None => self.route_and_attempt(op),
            Some(order) => self.begin_in_order(op, topic, order),
        }
        Ok(())
    }

    /// Lets so many sends be in flight, from now on. The bound on operations only grows: names that
    /// were allowed stay allowed.
    pub fn set_in_flight_max(&mut self, now: Instant, messages_max: u32) {
        self.advance(now);
        let messages_max = messages_max.min(limits::OPERATIONS_MAX / 2);
        self.operations_max = self.operations_max.max(2 * messages_max + self.tracing.operations());
        self.budget.set_burst(self.config.retry_budget, 2 * messages_max);
    }

    /// Waits until a name server has answered, at most until `deadline`. The end is reported as
    /// [`Output::Ready`] with the same `waiter`.
    pub fn wait_ready(&mut self, now: Instant, waiter: u64, deadline: Instant) {
        self.advance(now);
        if self.life != Life::Running {
            let result = Err(NotReady { name_servers: Vec::new() });
            self.outputs.push_back(Output::Ready { waiter, result });
            return;
        }
        if self.name_server_answered {
            self.outputs.push_back(Output::Ready { waiter, result: Ok(()) });
            return;
        }
        let timer = self.timers.schedule(deadline, TimerKey::Ready(waiter));
        self.ready_waiters.push(ReadyWaiter { waiter, timer });
        self.look_up_for_readiness();
    }

    // ---- What is to be done -----------------------------------------------------------------

    /// The next thing to do or to know.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, and what for.
    pub fn poll_timeout(&mut self) -> Option<(Instant, TimeoutReason)> {
        if planted!(PollTimeoutPast) {
            let early = |at: Instant| Instant::from_nanos(at.as_nanos().saturating_sub(1_000_000));
            return self.timers.next().map(|(at, reason)| (early(at), reason));
        }
        self.timers.next()
    }

    /// The next connection with bytes for its socket. Each is named once per change; after a
    /// partial write it is for the caller to come back when the socket takes more.
    pub fn poll_transmit(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.dirty.pop_front() {
            if self.fill(conn) {
                return Some(conn);
            }
        }
        None
    }

    /// The bytes for a connection's socket, in order. Report how many it took with
    /// [`handle_transmitted`](Self::handle_transmitted).
    pub fn transmit_chunks(&self, conn: ConnId) -> impl Iterator<Item = &[u8]> {
        let session = self.sessions.get(Key::from_u64(conn.0));
        session.into_iter().flat_map(|session| session.outbox.chunks())
    }

    // ---- Shared by the parts ----------------------------------------------------------------

    fn advance(&mut self, now: Instant) {
        // A clock that steps back is held, so that no timer or latency can go wrong.
        self.now = self.now.max(now);
    }

    fn event(&mut self, kind: EventSet, make: impl FnOnce() -> Event) {
        if self.config.events.contains(kind) {
            self.outputs.push_back(Output::Event(make()));
        }
    }

    fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.sessions.get_mut(Key::from_u64(conn.0))
    }
}

// Java: NamespaceRpcHook#doBeforeRequest
fn extra_fields(config: &Config) -> Vec<(String, String)> {
    if config.namespace_v2.is_empty() {
        return Vec::new();
    }
    Vec::from([("nsd".into(), "true".into()), ("ns".into(), config.namespace_v2.clone().into())])
}

/// How many entries the machine's tables hold.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TableSizes {
    /// Sends that have not ended.
    pub operations: usize,
    /// Connections, dials included.
    pub connections: usize,
    /// Known addresses.
    pub addresses: usize,
    /// Known topics.
    pub topics: usize,
    /// Known brokers.
    pub brokers: usize,
    /// Requests other than sends that wait for an answer.
    pub requests: usize,
    /// Queries to servers that have not ended.
    pub open_queries: usize,
    /// Deadlines that are set.
    pub timers: usize,
    /// Order keys with an open send.
    pub orders: usize,
    /// Questions for the queues of a topic.
    pub queue_waiters: usize,
    /// Transactions that are not decided, or whose decision is on its way.
    pub transactions: usize,
    /// Decisions that are remembered.
    pub decisions: usize,
    /// Checks that the application has not answered.
    pub checks: usize,
    /// Requests that wait for a reply.
    pub replies: usize,
}
