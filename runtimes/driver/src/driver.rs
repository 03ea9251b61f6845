//! The event loop: one task per client that moves bytes, time and commands into the machine and
//! carries out what it asks for.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rocketmq_core::{
    Bound, CheckId, Client as Machine, CloseReason, ConnId, GroupId, Instant, NoReply, NotReady,
    Output, QueryError, QueryErrorKind, QueuesError, SendError, SendErrorKind,
    TransactionErrorKind,
};

use crate::checks::CheckHandler;
use crate::client::CloseReport;
use crate::connection::Connection;
use crate::credentials::Question;
use crate::discovery::Fetch;
use crate::gather::Held;
use crate::ledger::Ledger;
use crate::query::OpenQueries;
use crate::request::OpenRequests;
use crate::runtime::{Runtime, Timer};
use crate::shared::{Command, Ended, QueuesSlot, ReadySlot, Request, Shared};
use crate::signal::Source;
use crate::slot::Slot;
use crate::transport::Transport;

mod commands;
mod tracing;
mod transactions;

use tracing::Tracers;
use transactions::OpenEnds;

/// Turns in one poll, after which the executor gives the others theirs.
const TURNS_MAX: usize = 8;

/// Reads in one turn, over all connections.
const READS_MAX: usize = 64;

/// Reads of one connection in one turn, so that a peer that floods holds nobody else up.
const READS_EACH_MAX: usize = 4;

/// Writes in one turn, over all connections.
const WRITES_MAX: usize = 64;

/// Chunks in one write.
const SLICES_MAX: usize = 64;

/// Bytes submitted in one turn from which on waiting for more to write with them is pointless.
const YIELD_BYTES_MAX: usize = 64 * 1024;

/// Commands for which the queue keeps room when less is used.
const COMMANDS_KEPT: usize = 1_024;

/// Longest time for which the timer is set. Runtimes differ in what they do with far ones.
const TIMER_MAX: Duration = Duration::from_secs(3_600);

/// The name of the timer among the sources; connections count from 0.
const TIMER: usize = usize::MAX;

/// The name of the look-up of the name servers among the sources.
const FETCH: usize = usize::MAX - 1;

/// The name of the provider of credentials among the sources.
const PROVIDER: usize = usize::MAX - 2;

/// The future that drives one client: its connections, its timer and its sends. It ends after
/// [`Client::close`](crate::Client::close), or when all handles have gone and their sends have
/// ended.
///
/// When it is dropped before, or panics, every open send fails with
/// [`SendErrorKind::DriverStopped`] and its true delivery, and everything else that waits is
/// answered.
#[must_use = "a client does nothing unless its driver runs"]
pub struct Driver<R: Runtime> {
    runtime: R,
    shared: Arc<Shared>,
    transport: Arc<Transport>,
    machine: Machine,
    ledger: Ledger,
    /// By slot of their names.
    connections: Vec<Option<Connection<R>>>,
    open_connections: usize,
    /// Names of the registered groups, by the number that handles use.
    groups: Vec<Option<GroupId>>,
    /// Who answers checks of transactions, by the same number.
    check_handlers: Vec<Option<CheckHandler>>,
    ends: OpenEnds,
    requests: OpenRequests,
    /// The tasks in which handlers answer checks, to be told when it is too late.
    answering: BTreeMap<CheckId, Arc<Slot<()>>>,
    /// Who waits for readiness, by the number given to the machine.
    ready_slots: Vec<(u64, Arc<ReadySlot>)>,
    /// Who waits for the queues of a topic, numbered together with those.
    queues_slots: BTreeMap<u64, Arc<QueuesSlot>>,
    next_ready: u64,
    queries: OpenQueries,
    closing: Option<Closing>,
    tracers: Tracers,
    /// The look-up of the name servers that is under way.
    fetch: Option<Fetch>,
    /// What the provider of credentials is being asked.
    question: Option<Question>,
    timer: R::Timer,
    timer_source: Arc<Source>,
    timer_waker: Waker,
    /// When the timer fires.
    armed: Instant,
    /// Connections with bytes to write.
    dirty: Vec<ConnId>,
    /// Sources to go on with in the next turn, because the budget was used up.
    backlog: Vec<usize>,
    /// Bytes of bodies taken in since the last write.
    fresh_bytes: usize,
    /// The others had their turn since the last write.
    yielded: bool,
    /// The machine has closed.
    closed: bool,
    /// Everybody has been answered.
    finished: bool,
    // Kept for their memory only; empty between two uses.
    batch: VecDeque<Command>,
    ready: Vec<usize>,
    expired: Vec<(Request, Bound)>,
}

struct Closing {
    deadline: Instant,
    slots: Vec<Arc<Slot<CloseReport>>>,
    /// The machine knows.
    begun: bool,
}

enum Turn {
    /// There is more to do.
    Again,
    /// There is something to write; the executor's other tasks may add to it first.
    Yield,
    /// Nothing to do until a wake.
    Sleep,
    /// The client is closed.
    End,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(runtime: R, shared: Arc<Shared>, transport: Arc<Transport>) -> Driver<R> {
        let now = runtime.now();
        let machine = Machine::new(shared.config.clone(), runtime.seed(), now);
        let latency = Arc::clone(&shared.latency);
        let timer_source = Source::new(TIMER, &shared.signal);
        Driver {
            timer: runtime.timer(),
            timer_waker: Waker::from(Arc::clone(&timer_source)),
            timer_source,
            runtime,
            shared,
            transport,
            machine,
            ledger: Ledger::new(latency),
            connections: Vec::new(),
            open_connections: 0,
            groups: Vec::new(),
            check_handlers: Vec::new(),
            ends: OpenEnds::default(),
            requests: OpenRequests::default(),
            answering: BTreeMap::new(),
            ready_slots: Vec::new(),
            queues_slots: BTreeMap::new(),
            next_ready: 0,
            queries: OpenQueries::default(),
            closing: None,
            tracers: Tracers::default(),
            fetch: None,
            question: None,
            armed: Instant::FAR_FUTURE,
            dirty: Vec::new(),
            backlog: Vec::new(),
            fresh_bytes: 0,
            yielded: false,
            closed: false,
            finished: false,
            batch: VecDeque::new(),
            ready: Vec::new(),
            expired: Vec::new(),
        }
    }

    fn turn(&mut self) -> Turn {
        let now = self.runtime.now();
        let exchange = self.take_commands(now);
        self.poll_ready(now);
        if self.machine.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.machine.handle_timeout(now);
        }
        self.go_on_closing(now, exchange.waiting);
        self.carry_out(now);
        if !self.tracers.is_empty() {
            self.send_traces(now);
        }
        while let Some(conn) = self.machine.poll_transmit() {
            self.list(conn);
        }
        if self.worth_a_yield() {
            self.yielded = true;
            return Turn::Yield;
        }
        self.write(now);
        self.carry_out(now);
        if self.closed {
            return Turn::End;
        }
        if !self.dirty.is_empty() || !self.backlog.is_empty() {
            return Turn::Again;
        }
        self.arm(now, exchange.deadline)
    }

    // ---- Sockets and timer ------------------------------------------------------------------

    /// Polls what reported itself, and nothing else.
    fn poll_ready(&mut self, now: Instant) {
        let mut ready = std::mem::take(&mut self.ready);
        self.shared.signal.take_ready(&mut ready);
        ready.append(&mut self.backlog);
        let mut reads_left = READS_MAX;
        for name in ready.drain(..) {
            match name {
                TIMER => self.armed = Instant::FAR_FUTURE,
                FETCH => self.go_on_fetching(now),
                PROVIDER => self.go_on_asking(now),
                name if name % 2 == 0 => self.read(now, name / 2, &mut reads_left),
                name => self.unblock(name / 2),
            }
        }
        self.ready = ready;
    }

    fn read(&mut self, now: Instant, slot: usize, reads_left: &mut usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        let id = connection.id;
        if connection.is_dialing() {
            match connection.poll_dial() {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => self.machine.handle_connected(now, id, Ok(())),
                Poll::Ready(Err(failure)) => {
                    self.remove(id);
                    return self.machine.handle_connected(now, id, Err(failure));
                }
            }
        }
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        let mut own_reads_left = READS_EACH_MAX;
        loop {
            if *reads_left == 0 || own_reads_left == 0 {
                return self.backlog.push(2 * slot);
            }
            *reads_left -= 1;
            own_reads_left -= 1;
            match connection.poll_read() {
                Poll::Pending => {
                    connection.idle();
                    // Reading may have given rise to an answer of the connection itself.
                    if connection.needs_flush() {
                        self.list(id);
                    }
                    return;
                }
                Poll::Ready(Ok(())) => {
                    self.machine.handle_received(now, id, &mut connection.received);
                }
                Poll::Ready(Err(reason)) => {
                    self.remove(id);
                    return self.machine.handle_closed(now, id, reason);
                }
            }
        }
    }

    fn unblock(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.blocked = false;
            let id = connection.id;
            self.list(id);
        }
    }

    /// Puts a connection on the list of those with bytes to write.
    fn list(&mut self, id: ConnId) {
        let Some(connection) = self.connection(id) else { return };
        if !connection.blocked && !connection.listed {
            connection.listed = true;
            self.dirty.push(id);
        }
    }

    /// Whether to let the executor's other tasks run before writing, so that what they send goes
    /// out in the same system call. A lone send has nobody to wait for.
    fn worth_a_yield(&mut self) -> bool {
        let wait = !self.dirty.is_empty()
            && !self.yielded
            && self.machine.in_flight() > 1
            && self.fresh_bytes < YIELD_BYTES_MAX;
        if !wait {
            self.yielded = false;
            self.fresh_bytes = 0;
        }
        wait
    }

    fn write(&mut self, now: Instant) {
        let mut writes_left = WRITES_MAX;
        let mut dirty = std::mem::take(&mut self.dirty);
        // Framing for one connection may give another one something to write.
        while let Some(id) = dirty.pop() {
            if writes_left == 0 {
                dirty.push(id);
                break;
            }
            self.write_to(now, id, &mut writes_left);
            while let Some(conn) = self.machine.poll_transmit() {
                self.list(conn);
            }
            dirty.append(&mut self.dirty);
        }
        self.dirty = dirty;
    }

    fn write_to(&mut self, now: Instant, id: ConnId, writes_left: &mut usize) {
        let Some(Some(connection)) = self.connections.get_mut(id.slot()) else { return };
        if connection.id != id {
            return;
        }
        connection.listed = false;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(self.machine.transmit_chunks(id)) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            if slices.is_empty() {
                return self.flush(now, id);
            }
            if *writes_left == 0 {
                return self.list(id);
            }
            *writes_left -= 1;
            match connection.poll_write(slices) {
                Poll::Pending => {
                    connection.blocked = true;
                    return;
                }
                Poll::Ready(Ok(n)) => self.machine.handle_transmitted(now, id, n),
                Poll::Ready(Err(reason)) => return self.break_off(now, id, reason),
            }
        }
    }

    /// Goes on with what the connection has taken and its socket has not.
    fn flush(&mut self, now: Instant, id: ConnId) {
        let Some(connection) = self.connection(id).filter(|it| it.needs_flush()) else { return };
        match connection.poll_flush() {
            Poll::Pending => connection.blocked = true,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(reason)) => self.break_off(now, id, reason),
        }
    }

    /// A write failed. Answers that came before the peer went away are read first: what they
    /// acknowledge is stored, and not unknown.
    fn break_off(&mut self, now: Instant, id: ConnId, reason: CloseReason) {
        let mut reads_left = READS_MAX;
        self.read(now, id.slot(), &mut reads_left);
        if self.remove(id).is_some() {
            self.machine.handle_closed(now, id, reason);
        }
    }

    /// Sets the timer, but only if it would fire too late: most deadlines never come, and firing
    /// early costs less than setting it for every send.
    fn arm(&mut self, now: Instant, waiters: Instant) -> Turn {
        let mut next = self.machine.poll_timeout().map_or(Instant::FAR_FUTURE, |(at, _)| at);
        next = next.min(waiters);
        if let Some(closing) = self.closing.as_ref().filter(|closing| !closing.begun) {
            next = next.min(closing.deadline);
        }
        if !self.tracers.is_empty() {
            next = next.min(self.traces_due());
        }
        if next >= self.armed {
            return Turn::Sleep;
        }
        if next <= now {
            return Turn::Again;
        }
        self.armed = next.min(now + TIMER_MAX);
        self.timer.reset(self.armed);
        self.timer_source.rearm();
        match self.timer.poll(&mut Context::from_waker(&self.timer_waker)) {
            Poll::Pending => Turn::Sleep,
            Poll::Ready(()) => {
                self.armed = Instant::FAR_FUTURE;
                Turn::Again
            }
        }
    }

    // ---- What the machine asks for ----------------------------------------------------------

    /// Carries out the machine's outputs, gives back room and wakes callers.
    fn carry_out(&mut self, now: Instant) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Connect { conn, address } => self.connect(now, conn, &address),
                Output::Close { conn, .. } => {
                    if let Some(connection) = self.remove(conn) {
                        connection.close();
                    }
                }
                Output::FetchNameServers { fetch, url } => {
                    let connect = self.transport.socket(&self.runtime, url.address());
                    let source = Source::new(FETCH, &self.shared.signal);
                    self.fetch = Some(Fetch::new(fetch, connect, &url, source));
                    self.go_on_fetching(now);
                }
                Output::AbandonFetch { .. } => self.fetch = None,
                Output::FetchCredentials { fetch, why } => {
                    let source = Source::new(PROVIDER, &self.shared.signal);
                    let provider = self.shared.config.credentials_provider();
                    self.question = provider.map(|it| Question::new(fetch, it, why, source));
                    self.go_on_asking(now);
                }
                Output::AbandonCredentials { .. } => self.question = None,
                Output::Complete { op, result } if self.tracers.is_open(op) => {
                    self.trace_ended(op, result.is_ok());
                }
                Output::Complete { op, result } => self.ledger.end(op, result),
                Output::Trace { tracer, record } => self.tracers.add(tracer, &record),
                Output::Ready { waiter, result } => {
                    let position = self.ready_slots.iter().position(|(w, _)| *w == waiter);
                    if let Some(position) = position {
                        let (_, slot) = self.ready_slots.swap_remove(position);
                        self.ledger.wakers.extend(slot.end(result));
                    }
                }
                Output::Queues { waiter, result } => {
                    let slot = self.queues_slots.remove(&waiter);
                    self.ledger.wakers.extend(slot.and_then(|slot| slot.end(result)));
                }
                Output::Answer { id, result } => {
                    let slot = self.queries.take(id);
                    self.ledger.wakers.extend(slot.and_then(|slot| slot.end(result)));
                }
                Output::TransactionEnded { unique_key, result } => {
                    self.ledger.wakers.extend(self.ends.end(unique_key, result));
                }
                Output::Replied { correlation_id, result } => {
                    self.ledger.wakers.extend(self.requests.end(correlation_id, result));
                }
                Output::CheckTransaction { id, group, check } => {
                    self.check_transaction(now, id, group, check);
                }
                Output::AbandonCheck { id } => {
                    let slot = self.answering.remove(&id);
                    self.ledger.wakers.extend(slot.and_then(|slot| slot.end(())));
                }
                Output::TransactionLeft { unique_key } => self.ledger.undecided(unique_key),
                Output::Closed => self.closed = true,
                Output::Event(event) => {
                    #[cfg(feature = "tracing")]
                    crate::telemetry::event(&event, |op| self.ledger.span(op));
                    self.runtime.observe(&event);
                    self.shared.hub.publish(event, &mut self.ledger.wakers);
                }
                _ => {}
            }
        }
        if !self.ledger.ended.is_empty() {
            self.release();
        }
        self.ledger.wake();
    }

    /// Goes on with the look-up of the name servers.
    fn go_on_fetching(&mut self, now: Instant) {
        let Some(Poll::Ready((fetch, result))) = self.fetch.as_mut().map(Fetch::poll) else {
            return;
        };
        self.fetch = None;
        let result = result.as_ref().map(|line| &**line).map_err(Clone::clone);
        self.machine.handle_name_servers(now, fetch, result);
    }

    /// Goes on with asking the provider of credentials.
    fn go_on_asking(&mut self, now: Instant) {
        let question = self.question.as_mut().map(Question::poll);
        if let Some(Poll::Ready((fetch, answer))) = question {
            self.question = None;
            self.machine.handle_credentials(now, fetch, answer);
        }
    }

    /// Gives back the room of what has ended.
    fn release(&mut self) {
        let counts = self.ledger.counts(self.open_connections);
        self.shared.release(counts, &mut self.ledger.ended, &mut self.ledger.wakers);
    }

    fn connect(&mut self, now: Instant, id: ConnId, address: &rocketmq_core::Address) {
        let slot = id.slot();
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        let dial = self.transport.dial(&self.runtime, address);
        let connection = Connection::new(id, dial, &self.shared.signal);
        if let Some(entry) = self.connections.get_mut(slot) {
            debug_assert!(entry.is_none(), "slots are free before they are used again");
            *entry = Some(connection);
            self.open_connections += 1;
        }
        // The first poll starts the dial.
        let mut reads_left = 1;
        self.read(now, slot, &mut reads_left);
    }

    fn connection(&mut self, id: ConnId) -> Option<&mut Connection<R>> {
        let connection = self.connections.get_mut(id.slot())?.as_mut();
        connection.filter(|connection| connection.id == id)
    }

    fn remove(&mut self, id: ConnId) -> Option<Connection<R>> {
        let entry = self.connections.get_mut(id.slot())?;
        let connection = entry.take_if(|connection| connection.id == id);
        self.open_connections -= usize::from(connection.is_some());
        connection
    }

    /// Goes to sleep, unless there is something to do by now.
    fn sleep(&self) -> bool {
        self.shared.signal.sleep();
        if !self.shared.signal.has_ready() && self.shared.may_sleep(self.armed) {
            return true;
        }
        self.shared.signal.stay_awake();
        false
    }

    // ---- The end ----------------------------------------------------------------------------

    /// Answers everybody who still waits. After this nobody waits for the driver any more.
    fn finish(&mut self) {
        let now = self.runtime.now();
        self.finished = true;
        let kind = if self.closed { SendErrorKind::Closed } else { SendErrorKind::DriverStopped };
        let (commands, waiting) = self.shared.stop();
        if commands.iter().any(|command| matches!(command, Command::Close { .. })) {
            self.ledger.begin_report();
        }
        self.fail_open(now);
        for request in waiting {
            self.ledger.refuse(request, kind.clone(), now);
        }
        for command in commands {
            match command {
                Command::Send { op, room, request } => {
                    self.ledger.ended.push(Ended { op: Some(op), room });
                    self.ledger.refuse(request, kind.clone(), now);
                }
                Command::SendGroup { op, group } => {
                    let mut name = Some(op);
                    for Held { request, room, .. } in group {
                        self.ledger.ended.push(Ended { op: name.take(), room });
                        self.ledger.refuse(request, kind.clone(), now);
                    }
                }
                Command::NameServers { slot } => {
                    let used = self.machine.name_servers().to_vec();
                    self.ledger.wakers.extend(slot.end(used));
                }
                Command::WaitReady { slot, .. } => {
                    self.ready_slots.push((0, slot));
                }
                Command::Queues { slot, .. } => {
                    self.next_ready += 1;
                    self.queues_slots.insert(self.next_ready, slot);
                }
                Command::Flush { slot } => self.ledger.flush(slot),
                Command::Close { slot, .. } => self.close_slot(slot),
                Command::Query { id, slot, .. } => self.queries.enter(id, slot),
                Command::EndTransaction { unique_key, decision, slot, .. } => {
                    let error = self.shared.not_ended(unique_key, decision);
                    self.ledger.wakers.extend(slot.end(Err(error)));
                }
                Command::AwaitReply { id, slot } => self.requests.enter(id, slot),
                Command::Cancel { .. }
                | Command::Register { .. }
                | Command::Unregister { .. }
                | Command::CancelQuery { .. }
                | Command::AbandonTransaction { .. }
                | Command::ForgetTransaction { .. }
                | Command::AnswerCheck { .. }
                | Command::ForgetRequest { .. }
                | Command::Resize { .. }
                | Command::SetCredentials { .. }
                | Command::SetNameServers { .. } => {}
            }
        }
        self.ends.end_all(&mut self.ledger.wakers);
        let reason = if self.closed { NoReply::Closed } else { NoReply::DriverStopped };
        self.requests.end_all(reason, &mut self.ledger.wakers);
        let answering = std::mem::take(&mut self.answering).into_values();
        self.ledger.wakers.extend(answering.filter_map(|slot| slot.end(())));
        for slot in self.queries.take_all() {
            let kind =
                if self.closed { QueryErrorKind::Closed } else { QueryErrorKind::DriverStopped };
            self.ledger.wakers.extend(slot.end(Err(QueryError::new(kind, "query"))));
        }
        for (_, slot) in std::mem::take(&mut self.ready_slots) {
            let result = Err(NotReady { name_servers: Vec::new() });
            self.ledger.wakers.extend(slot.end(result));
        }
        let closed = self.closed;
        for (_, slot) in std::mem::take(&mut self.queues_slots) {
            let error = if closed { QueuesError::Closed } else { QueuesError::DriverStopped };
            self.ledger.wakers.extend(slot.end(Err(error)));
        }
        for slot in self.closing.take().map(|closing| closing.slots).unwrap_or_default() {
            self.close_slot(slot);
        }
        self.tracers.drop_all();
        self.connections.clear();
        (self.fetch, self.question) = (None, None);
        self.release();
        self.shared.hub.end(&mut self.ledger.wakers);
        self.ledger.wake();
    }

    fn close_slot(&mut self, slot: Arc<Slot<CloseReport>>) {
        let report = self.ledger.take_report();
        self.ledger.wakers.extend(slot.end(report));
    }

    /// Ends every send that the machine has, with what it knows about each. After a panic the
    /// machine may panic once more; what is left then is answered without it.
    fn fail_open(&mut self, now: Instant) {
        let machine = &mut self.machine;
        let (mut results, mut ends) = (Vec::new(), Vec::new());
        let asked = catch_unwind(AssertUnwindSafe(|| {
            machine.shutdown(now, now);
            machine.handle_timeout(now);
            while let Some(output) = machine.poll_output() {
                match output {
                    Output::Complete { op, result } => results.push((op, result)),
                    Output::TransactionEnded { unique_key, result } => {
                        ends.push((unique_key, result));
                    }
                    _ => {}
                }
            }
        }));
        drop(asked);
        for (unique_key, result) in ends {
            let result =
                result.map_err(|error| error.with_kind(TransactionErrorKind::DriverStopped));
            self.ledger.wakers.extend(self.ends.end(unique_key, result));
        }
        for (op, result) in results {
            self.ledger
                .end(op, result.map_err(|error| error.with_kind(SendErrorKind::DriverStopped)));
        }
        for op in self.ledger.open_ops() {
            self.ledger.end(op, Err(SendError::lost()));
        }
    }
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.finished {
            return Poll::Ready(());
        }
        self.shared.signal.begin(cx.waker());
        for _ in 0..TURNS_MAX {
            match self.turn() {
                Turn::Again => {}
                Turn::Yield => break,
                Turn::Sleep if self.sleep() => return Poll::Pending,
                Turn::Sleep => {}
                Turn::End => {
                    self.finish();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Unpin for Driver<R> {}

impl<R: Runtime> Drop for Driver<R> {
    fn drop(&mut self) {
        if !self.finished {
            self.finish();
        }
    }
}

impl<R: Runtime> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("in_flight", &self.machine.in_flight())
            .finish_non_exhaustive()
    }
}
