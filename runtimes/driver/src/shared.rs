//! What handles and driver share: one lock around room, waiters and submitted commands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Address, Admission, Bound, CheckId, Completion, Config, CorrelationId, Credentials, Decision,
    Delivery, GroupError, Instant, InvalidMessage, Mode, NotReady, OpId, OpIds, OrderKey,
    PreparedMessage, PublishQueues, Query, QueryError, QueryErrorKind, QueryId, QueuesError, Room,
    Selection, SendError, SendErrorKind, TransactionError, TransactionErrorKind, TransactionState,
    WhenDown, limits,
};

use crate::checks::CheckHandler;
use crate::client::{CloseReport, Stats};
use crate::events::Hub;
use crate::gather::{AutoBatch, Gatherer, Group, Held};
use crate::histogram::Recorder;
use crate::identity::Identity;
use crate::ledger::Counts;
use crate::query::QuerySlot;
use crate::request::ReplySlot;
use crate::runtime::Clock;
use crate::signal::Signal;
use crate::slot::Slot;
use crate::trace::TraceStart;
use crate::transaction::EndSlot;

mod holding;
mod lending;

/// Where the result of a send is left.
pub(crate) type SendSlot = Slot<Result<Completion, SendError>>;

/// Where the result of a wait for readiness is left.
pub(crate) type ReadySlot = Slot<Result<(), NotReady>>;

/// Where the queues of a topic are left.
pub(crate) type QueuesSlot = Slot<Result<PublishQueues, QueuesError>>;

/// A send on its way from the handle to the machine.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) message: PreparedMessage,
    /// The number given by [`Shared::register`].
    pub(crate) group: u32,
    pub(crate) mode: Mode,
    pub(crate) selection: Selection,
    pub(crate) when_down: WhenDown,
    pub(crate) order: Option<OrderKey>,
    pub(crate) retries_max: Option<u32>,
    pub(crate) started: Instant,
    /// When its time is over. With `time_with_room`, until there is room, it has no end.
    pub(crate) deadline: Instant,
    /// The time that it has from when it has room; `None` if that runs already.
    pub(crate) time_with_room: Option<Duration>,
    pub(crate) slot: Arc<SendSlot>,
    /// Whether the caller waits for room alone, and is to be woken when there is.
    pub(crate) announce: bool,
    /// Whether it may be held, to leave with others.
    pub(crate) gather: bool,
}

impl Request {
    /// Room that the send takes.
    pub(crate) fn bytes(&self) -> usize {
        self.message.message().body().len()
    }

    /// Whose room it takes.
    pub(crate) fn topic(&self) -> &str {
        self.message.message().topic()
    }

    /// Ends a send that the machine never saw, at `now`. Gives the waker of the caller.
    pub(crate) fn refuse(self, kind: SendErrorKind, now: Instant) -> Option<Waker> {
        let result = Err(self.error(kind, now));
        #[cfg(feature = "tracing")]
        crate::telemetry::ended(&self.slot.span(), &result);
        self.slot.end(result)
    }

    /// What a send ends with at `now` that the machine never saw.
    pub(crate) fn error(&self, kind: SendErrorKind, now: Instant) -> SendError {
        let elapsed = now.saturating_since(self.started);
        SendError::not_sent_prepared(kind, self.message.clone()).with_elapsed(elapsed)
    }
}

/// What handles ask of the driver, in the order in which they asked.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all commands are sends; a box is one more")]
pub(crate) enum Command {
    /// The send holds its room and is named `op`.
    Send {
        op: OpId,
        room: Room,
        request: Request,
    },
    /// Sends that hold their room and leave as one batch, which is named `op`.
    SendGroup {
        op: OpId,
        group: Group,
    },
    /// Nobody wants the send any more, unless it is too late.
    Cancel {
        op: OpId,
    },
    Register {
        group: u32,
        name: Box<str>,
        checks: Option<CheckHandler>,
        trace: Option<TraceStart>,
    },
    Unregister {
        group: u32,
    },
    /// So many sends may be in flight from now on.
    Resize {
        messages_max: u32,
    },
    SetCredentials {
        credentials: Option<Credentials>,
    },
    SetNameServers {
        addresses: Vec<Address>,
    },
    NameServers {
        slot: Arc<Slot<Vec<Address>>>,
    },
    WaitReady {
        slot: Arc<ReadySlot>,
        deadline: Instant,
    },
    Queues {
        topic: Box<str>,
        slot: Arc<QueuesSlot>,
        deadline: Instant,
    },
    Flush {
        slot: Arc<Slot<()>>,
    },
    Close {
        slot: Arc<Slot<CloseReport>>,
        deadline: Instant,
    },
    Query {
        id: QueryId,
        query: Box<Query>,
        slot: Arc<QuerySlot>,
        deadline: Instant,
    },
    /// Nobody wants the answer any more.
    CancelQuery {
        id: QueryId,
    },
    EndTransaction {
        unique_key: UniqueKey,
        decision: Decision,
        deadline: Instant,
        slot: Arc<EndSlot>,
    },
    /// Nobody has got the transaction, or will.
    AbandonTransaction {
        unique_key: UniqueKey,
    },
    /// The transaction was dropped undecided.
    ForgetTransaction {
        unique_key: UniqueKey,
    },
    AnswerCheck {
        id: CheckId,
        state: TransactionState,
    },
    AwaitReply {
        id: CorrelationId,
        slot: Arc<ReplySlot>,
    },
    /// Nobody waits for the reply any more.
    ForgetRequest {
        id: CorrelationId,
    },
}

/// Whether a submitted send has room.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// It has room and is on its way.
    Accepted,
    /// It waits for room, or for others to leave with, under this number.
    Waiting(u64),
}

/// A send that holds room no longer.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its name, unless another has it too.
    pub(crate) op: Option<OpId>,
    pub(crate) room: Room,
}

/// What the driver learns when it takes commands.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Exchange {
    /// Sends that wait for room.
    pub(crate) waiting: usize,
    /// When the first of them runs out of time.
    pub(crate) deadline: Instant,
    /// Nobody can send any more.
    pub(crate) handles_gone: bool,
}

/// State of one client that its handles, its futures and its driver share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) identity: Identity,
    pub(crate) hub: Hub,
    /// Latencies of stored sends, recorded by the driver.
    pub(crate) latency: Arc<Recorder>,
    /// There are credentials, or somebody who provides them.
    signs: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Closing or closed: no new sends.
    closed: bool,
    /// The driver has ended: nobody takes commands.
    stopped: bool,
    handles_gone: bool,
    admission: Admission,
    ids: OpIds,
    commands: VecDeque<Command>,
    /// Sends that wait for room, by number.
    waiting: BTreeMap<u64, Request>,
    next_number: u64,
    next_query: u64,
    /// When those who wait run out of time. Numbers that no longer wait are swept out.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The driver wakes by itself until then.
    armed: Instant,
    /// Names on the wire of the registered producer groups, by number.
    groups: Vec<Option<Box<str>>>,
    /// What producers hold that send in batches, by number of the group.
    gatherers: BTreeMap<u32, Gatherer>,
    /// When the next of it leaves.
    leaves_at: Instant,
    counts: Counts,
}

impl Shared {
    pub(crate) fn new(config: Config, clock: Box<dyn Clock>, identity: Identity) -> Shared {
        let admission = Admission::new(config.in_flight_messages_max, config.in_flight_bytes_max)
            .with_topic_bounds(
                config.topic_in_flight_messages_max,
                config.topic_in_flight_bytes_max,
            );
        let state = State {
            closed: false,
            stopped: false,
            handles_gone: false,
            admission,
            ids: OpIds::new(),
            commands: VecDeque::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            next_query: 0,
            deadlines: BinaryHeap::new(),
            armed: Instant::FAR_FUTURE,
            groups: Vec::new(),
            gatherers: BTreeMap::new(),
            leaves_at: Instant::FAR_FUTURE,
            counts: Counts::default(),
        };
        let signs = config.credentials.is_some() || config.credentials_provider().is_some();
        Shared {
            signs: AtomicBool::new(signs),
            config,
            clock,
            signal: Arc::default(),
            identity,
            hub: Hub::default(),
            latency: Arc::new(Recorder::new()),
            state: Mutex::new(state),
        }
    }

    // ---- For handles ------------------------------------------------------------------------

    /// Sends, or waits for room if there is none and `wait` is set.
    ///
    /// # Errors
    /// If there is no room and `wait` is not set, or the client is closed or its driver has ended.
    #[inline]
    pub(crate) fn submit(&self, request: Request, wait: bool) -> Result<Placement, SendError> {
        let now = if request.gather { self.clock.now() } else { Instant::ZERO };
        let mut state = self.lock();
        // A request is large: nothing moves it before its place is known.
        let (placement, wake) = match state.room_for(&request, wait) {
            Ok(Some(room)) if request.gather => state.hold(now, request, room),
            Ok(Some(room)) => {
                state.accept(request, room);
                (Placement::Accepted, true)
            }
            Ok(None) => state.enqueue(request),
            Err(kind) => {
                drop(state);
                let elapsed = self.clock.now().saturating_since(request.started);
                let error = SendError::not_sent_prepared(kind, request.message);
                return Err(error.with_elapsed(elapsed));
            }
        };
        drop(state);
        if wake {
            self.signal.wake();
        }
        Ok(placement)
    }

    /// The caller of a send has gone, or cancels. `number` is what [`Placement::Waiting`] gave.
    ///
    /// A send that still waits for room ends here.
    pub(crate) fn cancel(&self, slot: &SendSlot, number: Option<u64>) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let waited = number.and_then(|number| state.leave(number).or_else(|| state.unhold(number)));
        if waited.is_some() {
            // Others may have waited behind it.
            state.admit(&mut wakers);
        } else if let Some(op) = slot.op().filter(|_| !state.stopped) {
            state.commands.push_back(Command::Cancel { op });
        }
        let wake = !state.commands.is_empty();
        drop(state);
        if wake {
            self.signal.wake();
        }
        if let Some(request) = waited {
            wakers.extend(request.refuse(SendErrorKind::Cancelled, self.clock.now()));
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Registers a producer group and gives it a number.
    pub(crate) fn register(
        &self,
        name: &str,
        checks: Option<CheckHandler>,
        trace: Option<TraceStart>,
    ) -> Result<u32, GroupError> {
        let wire = &*self.config.wire_group(name)?;
        let mut state = self.lock();
        if state.closed || state.stopped {
            return Err(GroupError::Closed);
        }
        let group = state.name_group(wire, name)?;
        let name = name.into();
        state.commands.push_back(Command::Register { group, name, checks, trace });
        drop(state);
        self.signal.wake();
        Ok(group)
    }

    /// Forgets a producer group: its last handle has gone.
    pub(crate) fn unregister(&self, group: u32) {
        let mut state = self.lock();
        if let Some(name) = state.groups.get_mut(group as usize) {
            *name = None;
        }
        state.let_go();
        state.gatherers.remove(&group);
        if !state.stopped {
            state.commands.push_back(Command::Unregister { group });
            drop(state);
            self.signal.wake();
        }
    }

    /// The last handle has gone.
    pub(crate) fn handles_gone(&self) {
        let mut state = self.lock();
        state.handles_gone = true;
        state.let_go();
        drop(state);
        self.signal.wake();
    }

    /// Has the driver use these name servers, if there is one.
    pub(crate) fn set_name_servers(&self, addresses: Vec<Address>) {
        self.push(Command::SetNameServers { addresses });
    }

    /// Whether requests are signed, as far as this side knows: a provider may not have answered.
    pub(crate) fn signs(&self) -> bool {
        self.signs.load(Ordering::Relaxed)
    }

    /// Has the driver sign requests with these credentials, if there is one.
    pub(crate) fn set_credentials(&self, credentials: Option<Credentials>) {
        self.signs.store(credentials.is_some(), Ordering::Relaxed);
        self.push(Command::SetCredentials { credentials });
    }

    /// Has `slot` ended with the name servers that are in use; those of the settings if there is no
    /// driver any more.
    pub(crate) fn name_servers(&self, slot: &Arc<Slot<Vec<Address>>>) {
        if !self.push(Command::NameServers { slot: Arc::clone(slot) }) {
            let _ = slot.end(self.config.name_servers.clone());
        }
    }

    /// Has `slot` ended when a name server has answered, or at `deadline`.
    pub(crate) fn wait_ready(&self, slot: &Arc<ReadySlot>, deadline: Instant) {
        if !self.push(Command::WaitReady { slot: Arc::clone(slot), deadline }) {
            let _ = slot.end(Err(NotReady { name_servers: Vec::new() }));
        }
    }

    /// Has `slot` ended with the queues of a topic, or why they are not known, at `deadline` at the
    /// latest.
    pub(crate) fn queues(&self, topic: &str, slot: &Arc<QueuesSlot>, deadline: Instant) {
        let slot = Arc::clone(slot);
        let command = Command::Queues { topic: topic.into(), slot: Arc::clone(&slot), deadline };
        if !self.push(command) {
            let _ = slot.end(Err(self.ended()));
        }
    }

    /// Why a driver that has ended answers no more.
    fn ended(&self) -> QueuesError {
        if self.lock().closed { QueuesError::Closed } else { QueuesError::DriverStopped }
    }

    /// Has `slot` ended when everything accepted so far has ended.
    pub(crate) fn flush(&self, slot: &Arc<Slot<()>>) {
        self.lock().let_go();
        if !self.push(Command::Flush { slot: Arc::clone(slot) }) {
            let _ = slot.end(());
        }
    }

    /// Refuses new sends, and has `slot` ended when the others have, at `deadline` at the latest.
    pub(crate) fn close(&self, slot: &Arc<Slot<CloseReport>>, deadline: Instant) {
        let mut state = self.lock();
        state.closed = true;
        state.let_go();
        drop(state);
        if !self.push(Command::Close { slot: Arc::clone(slot), deadline }) {
            let _ = slot.end(CloseReport::default());
        }
    }

    /// Changes how much may be in flight. Those who now have room are let in.
    pub(crate) fn resize(&self, messages_max: u32, bytes_max: usize) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.admission.resize(messages_max, bytes_max);
        if !state.stopped {
            // Before those who are let in.
            state.commands.push_back(Command::Resize { messages_max });
            state.admit(&mut wakers);
        }
        drop(state);
        self.signal.wake();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Has `slot` ended with the answer to a query, at `deadline` at the latest.
    pub(crate) fn query(&self, query: Query, deadline: Instant, slot: &Arc<QuerySlot>) -> QueryId {
        let request = query.request.name();
        let mut state = self.lock();
        state.next_query += 1;
        let id = QueryId(state.next_query);
        let (stopped, closed) = (state.stopped, state.closed);
        if !stopped {
            let (query, slot) = (Box::new(query), Arc::clone(slot));
            state.commands.push_back(Command::Query { id, query, slot, deadline });
            drop(state);
            self.signal.wake();
        } else {
            let kind = if closed { QueryErrorKind::Closed } else { QueryErrorKind::DriverStopped };
            let _ = slot.end(Err(QueryError::new(kind, request)));
        }
        id
    }

    /// Nobody wants the answer to a query any more.
    pub(crate) fn cancel_query(&self, id: QueryId) {
        self.push(Command::CancelQuery { id });
    }

    /// Has a transaction ended, and `slot` with what its broker says, at `deadline` at the latest.
    pub(crate) fn end_transaction(
        &self,
        unique_key: UniqueKey,
        decision: Decision,
        deadline: Instant,
        slot: &Arc<EndSlot>,
    ) {
        let slot = Arc::clone(slot);
        let command =
            Command::EndTransaction { unique_key, decision, deadline, slot: Arc::clone(&slot) };
        if !self.push(command) {
            let _ = slot.end(Err(self.not_ended(unique_key, decision)));
        }
    }

    /// What a decision ends with that the machine never saw.
    pub(crate) fn not_ended(&self, unique_key: UniqueKey, decision: Decision) -> TransactionError {
        let kind = match self.ended() {
            QueuesError::Closed => TransactionErrorKind::Closed,
            _ => TransactionErrorKind::DriverStopped,
        };
        TransactionError::new(decision, unique_key, kind, Delivery::NotSent)
    }

    /// Nobody has got a transaction whose half message was to be sent.
    pub(crate) fn abandon_transaction(&self, unique_key: UniqueKey) {
        self.push(Command::AbandonTransaction { unique_key });
    }

    /// A transaction was dropped undecided.
    pub(crate) fn forget_transaction(&self, unique_key: UniqueKey) {
        self.push(Command::ForgetTransaction { unique_key });
    }

    /// What the application says about a transaction that a broker has asked about.
    pub(crate) fn answer_check(&self, id: CheckId, state: TransactionState) {
        self.push(Command::AnswerCheck { id, state });
    }

    /// Counters, as of the driver's latest turn.
    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        let counts = state.counts;
        let (in_flight, in_flight_bytes) = (state.admission.messages(), state.admission.bytes());
        let waiting = state.waiting.len();
        drop(state);
        Stats {
            accepted: counts.accepted,
            acknowledged: counts.acknowledged,
            weak: counts.weak,
            oneway: counts.oneway,
            refused: counts.refused,
            not_sent: counts.not_sent,
            unknown: counts.unknown,
            retries: counts.retries,
            in_flight,
            in_flight_bytes,
            waiting,
            connections: counts.connections,
            latency: self.latency.snapshot(),
        }
    }

    /// `false` if there is no driver any more that could answer.
    pub(crate) fn push(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.stopped {
            return false;
        }
        state.commands.push_back(command);
        drop(state);
        self.signal.wake();
        true
    }

    // ---- For the driver ---------------------------------------------------------------------

    /// Moves those who wait and are out of time to `expired`, lets others in, and swaps the
    /// commands with `batch`, which is empty. `wakers` are to be woken afterwards.
    pub(crate) fn exchange(
        &self,
        now: Instant,
        counts: Counts,
        batch: &mut VecDeque<Command>,
        expired: &mut Vec<(Request, Bound)>,
        wakers: &mut Vec<Waker>,
    ) -> Exchange {
        let mut state = self.lock();
        state.counts = counts;
        state.expire(now, expired);
        state.admit(wakers);
        state.let_go_due(now);
        std::mem::swap(&mut state.commands, batch);
        let deadline = state.next_deadline().min(state.leaves_at);
        Exchange { waiting: state.waiting.len(), deadline, handles_gone: state.handles_gone }
    }

    /// Gives back the room of what has ended, and lets in who waits for it. `wakers` are to be
    /// woken afterwards.
    pub(crate) fn release(&self, counts: Counts, ended: &mut Vec<Ended>, wakers: &mut Vec<Waker>) {
        let mut state = self.lock();
        state.counts = counts;
        for Ended { op, room } in ended.drain(..) {
            state.admission.release(room);
            if let Some(op) = op {
                state.ids.free(op);
            }
        }
        state.admit(wakers);
    }

    /// The driver will wake by itself at `armed`. `false` if it must not sleep, because there is
    /// something to do by now.
    pub(crate) fn may_sleep(&self, armed: Instant) -> bool {
        let mut state = self.lock();
        state.armed = armed;
        state.commands.is_empty() && state.next_deadline().min(state.leaves_at) >= armed
    }

    /// Takes all sends that wait for room, because there will be none for them.
    pub(crate) fn take_waiting(&self) -> Vec<Request> {
        self.lock().take_waiting()
    }

    /// The driver ends. Nobody waits from now on; what it had not taken in comes back.
    pub(crate) fn stop(&self) -> (VecDeque<Command>, Vec<Request>) {
        let mut state = self.lock();
        state.let_go();
        state.stopped = true;
        (std::mem::take(&mut state.commands), state.take_waiting())
    }

    /// Has a producer's sends gathered into batches.
    pub(crate) fn gather(&self, group: u32, settings: AutoBatch) {
        self.lock().gatherers.insert(group, Gatherer::new(settings));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes room for a send; none if it is to wait for that.
    fn room_for(&mut self, request: &Request, wait: bool) -> Result<Option<Room>, SendErrorKind> {
        if self.closed {
            return Err(SendErrorKind::Closed);
        }
        if self.stopped {
            return Err(SendErrorKind::DriverStopped);
        }
        let bytes = request.bytes();
        let (max, bound) = self.admission.message_bytes_max();
        if bytes > max {
            // It would wait for ever.
            let invalid = InvalidMessage::LargerThanBudget { length: bytes, max, bound };
            return Err(SendErrorKind::Invalid(invalid));
        }
        let room = self.admission.try_acquire(request.topic(), bytes);
        if room.is_none() && !wait {
            let bound = self.admission.bound_for(request.topic(), bytes);
            return Err(SendErrorKind::Backpressure(bound));
        }
        Ok(room)
    }

    /// Makes a send wait for room. Its place, and whether the driver is to wake.
    fn enqueue(&mut self, request: Request) -> (Placement, bool) {
        // Nothing more can join what is held.
        self.let_go();
        let number = self.next_number;
        self.next_number += 1;
        let deadline = request.deadline;
        self.admission.enqueue(number, request.topic(), request.bytes());
        if deadline < Instant::FAR_FUTURE {
            self.deadlines.push(Reverse((deadline, number)));
        }
        self.waiting.insert(number, request);
        let wake = deadline < self.armed || !self.commands.is_empty();
        (Placement::Waiting(number), wake)
    }

    /// Names a send that has its room and hands it to the driver.
    #[inline]
    fn accept(&mut self, request: Request, room: Room) -> Option<Waker> {
        let op = self.ids.allocate();
        let waker = request.slot.accept(op, request.announce);
        self.commands.push_back(Command::Send { op, room, request });
        waker
    }

    /// Lets in who waits, as far as there is room. To be called whenever room was given back or
    /// somebody left the queue.
    fn admit(&mut self, wakers: &mut Vec<Waker>) {
        let mut admitted = self.admission.poll_admitted();
        if admitted.is_none() {
            return;
        }
        // Those who had to wait leave together with the others that are let in now.
        let mut gathered: BTreeMap<u32, Gatherer> = BTreeMap::new();
        while let Some((number, room)) = admitted {
            match self.waiting.remove(&number) {
                Some(request) if request.gather && self.gatherers.contains_key(&request.group) => {
                    wakers.extend(request.slot.hold(request.announce));
                    let settings = self.gatherers.get(&request.group).map(Gatherer::settings);
                    let gatherer = gathered
                        .entry(request.group)
                        .or_insert_with(|| Gatherer::new(settings.unwrap_or_default()));
                    let mut leaving = Vec::new();
                    gatherer.hold(Instant::ZERO, Held { number, request, room }, &mut leaving);
                    self.leave_together(leaving);
                }
                Some(request) => wakers.extend(self.accept(request, room)),
                None => self.admission.release(room),
            }
            admitted = self.admission.poll_admitted();
        }
        for mut gatherer in gathered.into_values() {
            let mut leaving = Vec::new();
            gatherer.all(&mut leaving);
            self.leave_together(leaving);
        }
    }

    /// Takes a send that waits for room out of the queue.
    fn leave(&mut self, number: u64) -> Option<Request> {
        let request = self.waiting.remove(&number)?;
        self.admission.remove(number);
        Some(request)
    }

    fn expire(&mut self, now: Instant, expired: &mut Vec<(Request, Bound)>) {
        while self.deadlines.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, number))) = self.deadlines.pop() {
                let bound = self.admission.bound_of(number);
                expired.extend(self.leave(number).zip(bound));
            }
        }
    }

    /// When the next of those who wait runs out of time. Sweeps out those who wait no longer.
    fn next_deadline(&mut self) -> Instant {
        if self.deadlines.len() > 2 * self.waiting.len() + SWEEP_SLACK {
            let waiting = &self.waiting;
            self.deadlines.retain(|Reverse((_, number))| waiting.contains_key(number));
        }
        while let Some(Reverse((at, number))) = self.deadlines.peek() {
            if self.waiting.contains_key(number) {
                return *at;
            }
            self.deadlines.pop();
        }
        Instant::FAR_FUTURE
    }

    fn take_waiting(&mut self) -> Vec<Request> {
        let waiting = std::mem::take(&mut self.waiting);
        for number in waiting.keys() {
            self.admission.remove(*number);
        }
        waiting.into_values().collect()
    }

    /// `wire`: as brokers call it, by which two groups are the same.
    fn name_group(&mut self, wire: &str, name: &str) -> Result<u32, GroupError> {
        if self.groups.iter().flatten().any(|known| **known == *wire) {
            return Err(GroupError::Duplicate(name.into()));
        }
        let free = self.groups.iter().position(Option::is_none);
        if free.is_none() && self.groups.len() >= limits::GROUPS_MAX {
            return Err(GroupError::TooMany);
        }
        let group = free.unwrap_or(self.groups.len());
        if group == self.groups.len() {
            self.groups.push(None);
        }
        if let Some(slot) = self.groups.get_mut(group) {
            *slot = Some(wire.into());
        }
        Ok(group as u32)
    }
}

/// Deadlines of those who wait no longer are swept out when they outnumber the others by this many.
const SWEEP_SLACK: usize = 64;

#[cfg(test)]
pub(crate) mod tests;
