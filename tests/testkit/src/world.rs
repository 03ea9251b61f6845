//! A small world in one thread: clients, a cluster, and the network between them, in virtual time.
//!
//! The world runs the unmodified machine of `rocketmq-core` against a
//! [`Cluster`], and carries bytes between them over connections that
//! behave like TCP: ordered, but late, in any pieces, cut anywhere. Time is a number that jumps to
//! whatever happens next. One seed decides everything, so a run can be repeated to the byte.
//!
//! # Examples
//!
//! ```
//! use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
//! use rocketmq_testkit::world::World;
//!
//! let cluster = ClusterConfig::new().brokers(2).topic("Orders", 4);
//! let config = World::config(1).build().unwrap();
//! let mut world = World::new(42, cluster, config);
//! // One broker stores the message, but its answer is lost.
//! let fault = Fault::silent_after_storing();
//! world.with(|cluster| cluster.script(Node::Broker(0), Rule::sends(), fault));
//! let id = world.send("Orders", "an order");
//! assert!(world.wait(id).is_stored());
//! // Once for each attempt that reached a broker: the retry made a second copy, or there was none.
//! assert_eq!(world.cluster().stored("Orders").len(), world.frames_of(id).len());
//! world.finish();
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_core::wire::UniqueKeySource;
use rocketmq_core::{
    CancelOutcome, Client, ClockReading, Completion, Config, ConfigBuilder, ConnId, Event,
    EventSet, GroupId, Instant, Message, NotReady, OpIds, PreparedMessage, TableSizes,
    TimeoutReason, WallTime,
};

use crate::cluster::{Cluster, ClusterConfig, Node};
use crate::network::{Direction, LinkId, Network, nanos};

mod check;
mod drive;
mod machine;
mod model;
mod send;
pub mod story;
pub mod swarm;
mod tap;
pub mod timeline;
mod trace;
pub mod twins;

pub use crate::network::{Cut, DialFault, LinkProfile, Random, Segmentation, Writes};
pub use check::{Invariant, Status, Violation};
pub use send::{Outcome, SendId, SendRecord, SendSpec};
pub use tap::{WireAnswer, WireFrame};
pub use trace::Trace;

use check::{Checks, Seen};
use machine::Machine;
use tap::Tap;

/// How the loop around the machine behaves, within what it may do.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Timers are served up to this much too late.
    pub late_timers: Duration,
    /// In so many of a thousand steps the machine gets an input that means nothing.
    pub noise: u64,
    /// In so many of a thousand steps nothing is drained; what was to be done comes a little later.
    pub lazy: u64,
}

/// What the checkers cannot know: that a test lets the cluster break its word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relaxed {
    /// Brokers lose stored messages.
    pub loss: bool,
    /// Brokers refuse messages that they store, or acknowledge what they do not.
    pub lies: bool,
    /// Addresses of servers change.
    pub addresses: bool,
    /// A middlebox delivers frames again.
    pub replays: bool,
    /// Bytes are changed on the way. A changed bit can forge an answer, so only promises about the
    /// machine itself are judged then.
    pub corruption: bool,
}

/// A fault, and how long it lasted.
#[derive(Clone, Debug)]
pub struct FaultSpan {
    /// Its place in the plan before anything was cut off.
    pub number: usize,
    /// Its kind.
    pub name: &'static str,
    /// Which server it was about, if it was about one.
    pub node: Option<Node>,
    /// When it began.
    pub begin_ns: u64,
    /// When it ended, if it had a length.
    pub end_ns: u64,
}

/// Clients, servers and the network between them.
pub struct World {
    seed: u64,
    network: Network,
    wall_ms: i64,
    /// Time at which `wall_ms` was read off.
    wall_at: u64,
    random: Random,
    habits: Habits,
    clients: Vec<Peer>,
    /// Whose a connection is: the client and its name for it.
    owners: BTreeMap<LinkId, (usize, ConnId)>,
    /// What will happen: by time, then in order.
    agenda: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    sends: Vec<SendRecord>,
    tap: Tap,
    checks: Checks,
    trace: Trace,
    violations: Vec<Violation>,
    finished: bool,
    standing: u32,
    faults: Vec<FaultSpan>,
    /// Names of phases and when they began.
    phases: Vec<(&'static str, u64)>,
    /// How often timers were served, by reason.
    timeouts: Vec<(TimeoutReason, u64)>,
}

/// A client and what the application around it remembers.
struct Peer {
    machine: Machine,
    ids: OpIds,
    keys: UniqueKeySource,
    group: GroupId,
    open: BTreeMap<rocketmq_core::OpId, usize>,
    links: BTreeMap<ConnId, Wire>,
    gone: Vec<ConnId>,
    /// Connections that the machine has closed.
    closed: BTreeSet<ConnId>,
    events: Vec<(u64, Event)>,
    ready: Vec<(u64, u64, Result<(), NotReady>)>,
    closed_ns: Option<u64>,
    /// It was told to close.
    closing: bool,
    /// What the client's clock shows more or less than the world's.
    clock_error: i64,
    /// The deadline for which a wake-up was drawn, and when it is.
    wake: Option<(Instant, u64)>,
    zero_polls: u32,
}

/// A connection as its client holds it.
struct Wire {
    link: LinkId,
    connected: bool,
    /// What has come and was not taken.
    inbox: BytesMut,
}

/// Something that will happen, besides what the network does.
enum Happening {
    /// Nothing but another look at the outputs.
    Nudge,
    Call(Box<dyn FnOnce(&mut World)>),
}

impl World {
    /// A world with one client, whose producer group `group` is registered.
    pub fn new(seed: u64, cluster: ClusterConfig, config: Config) -> World {
        let mut world = World {
            seed,
            network: Network::new(seed, cluster),
            wall_ms: 1_700_000_000_000,
            wall_at: 0,
            random: Random::new(seed),
            habits: Habits::default(),
            clients: Vec::new(),
            owners: BTreeMap::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            sends: Vec::new(),
            tap: Tap::default(),
            checks: Checks::default(),
            trace: Trace::new(),
            violations: Vec::new(),
            finished: false,
            standing: 0,
            faults: Vec::new(),
            phases: Vec::new(),
            timeouts: Vec::new(),
        };
        world.add_client(config, "group");
        world
    }

    /// Settings for a client of the first `name_servers` name servers of a cluster.
    pub fn config(name_servers: usize) -> ConfigBuilder {
        let address = |index| format!("10.1.0.{}:9876", index + 1);
        let list: Vec<_> = (0..name_servers).map(address).collect();
        Config::builder(&list.join(";")).events(EventSet::ALL)
    }

    /// Adds a client whose sends belong to `group`, and returns its index.
    pub fn add_client(&mut self, mut config: Config, group: &str) -> usize {
        let index = self.clients.len();
        if config.client_id.is_empty() {
            config.client_id = format!("10.9.0.{}@sim", index + 1).into();
        }
        self.see(Seen::Client { config: &config });
        let mut machine = Client::new(config, self.seed ^ index as u64, Instant::ZERO);
        let group = machine.register(Instant::ZERO, group).expect("the group is legal and new");
        let host = IpAddr::V4(Ipv4Addr::new(10, 9, 0, index as u8 + 1));
        self.clients.push(Peer {
            machine: Machine::new(machine),
            ids: OpIds::new(),
            keys: UniqueKeySource::new(host, 4711, index as u32, 0),
            group,
            open: BTreeMap::new(),
            links: BTreeMap::new(),
            gone: Vec::new(),
            closed: BTreeSet::new(),
            events: Vec::new(),
            ready: Vec::new(),
            closed_ns: None,
            closing: false,
            clock_error: 0,
            wake: None,
            zero_polls: 0,
        });
        self.settle();
        index
    }

    // ---- Settings ---------------------------------------------------------------------------

    /// How the loop around the machine behaves.
    pub fn set_habits(&mut self, habits: Habits) {
        self.checks.behave(&habits);
        self.habits = habits;
    }

    /// What the checkers are to overlook.
    pub fn relax(&mut self, relaxed: Relaxed) {
        self.checks.relax(relaxed);
    }

    /// How new connections behave.
    pub fn set_profile(&mut self, profile: LinkProfile) {
        self.network.set_profile(profile);
    }

    /// How new connections to one server behave.
    pub fn set_profile_of(&mut self, node: Node, profile: LinkProfile) {
        self.network.set_profile_of(node, profile);
    }

    /// How new dials to one server end; `None`: as the server's state says.
    pub fn set_dial_fault(&mut self, node: Node, fault: Option<DialFault>) {
        self.network.set_dial_fault(node, fault);
    }

    /// Another address, as `host:port`, under which a server is reached.
    pub fn alias(&mut self, address: &str, node: Node) {
        self.network.alias(address, node);
    }

    // ---- The application --------------------------------------------------------------------

    /// Sends with the first client.
    pub fn send(&mut self, topic: &str, body: &str) -> SendId {
        self.submit(SendSpec::new(topic, body))
    }

    /// Sends.
    pub fn submit(&mut self, spec: SendSpec) -> SendId {
        let (now, wall) = (self.now(), self.wall());
        let index = self.sends.len();
        let clock = self.clock(spec.client);
        let peer = &mut self.clients[spec.client];
        let config = peer.machine.config();
        let unique_key = peer.keys.next(wall.as_millis());
        let timeout = spec.timeout.unwrap_or(config.send_timeout);
        let message = Message::new(spec.topic.clone(), spec.body.clone())
            .with_wait_stored(spec.wait_stored)
            .with_property("number", index.to_string());
        let reading = ClockReading { instant: clock, wall };
        let message = PreparedMessage::new(message, unique_key, reading, config)
            .expect("scenarios send legal messages");
        let command = spec.command(peer.group, clock, clock + timeout);
        let op = peer.ids.allocate();
        let deadline = command.deadline;
        self.sends.push(SendRecord {
            attempts_max: spec.retries_max.unwrap_or(config.retries_max) + 1,
            op,
            unique_key: unique_key.to_string(),
            started_ns: now,
            wall_ms: wall.as_millis(),
            deadline_ns: now.saturating_add(nanos(timeout)),
            deadline,
            ended_ns: None,
            outcome: None,
            cancelled_ns: None,
            spec,
        });
        let client = self.sends[index].spec.client;
        self.note(format_args!("c{client} < send {op} #{index} {unique_key}"));
        let peer = &mut self.clients[client];
        peer.open.insert(op, index);
        self.checks.called(now, &self.sends[index]);
        let peer = &mut self.clients[client];
        if let Err(rejected) = peer.machine.send(clock, op, message, command) {
            self.end_send(client, op, Outcome::Rejected(rejected.kind));
        }
        self.after_input();
        SendId(index)
    }

    /// Gives a send up; whether it ended at once.
    pub fn cancel(&mut self, id: SendId) -> bool {
        let (client, op) = (self.sends[id.0].spec.client, self.sends[id.0].op);
        let clock = self.clock(client);
        self.note(format_args!("c{client} < cancel {op} #{}", id.0));
        if self.sends[id.0].outcome.is_none() {
            let now = self.now();
            self.sends[id.0].cancelled_ns.get_or_insert(now);
        }
        self.see(Seen::Cancelled { send: id.0 });
        let outcome = self.clients[client].machine.cancel(clock, op);
        let ended = match outcome {
            CancelOutcome::Ended(error) => {
                // A lazy loop may not have fetched what happened to it before.
                self.fetch(client);
                self.end_send(client, op, Outcome::Failed(error));
                true
            }
            CancelOutcome::Detached => false,
            CancelOutcome::NotFound => {
                // A lazy loop may not have fetched the end yet.
                self.settle();
                if self.sends[id.0].outcome.is_none() {
                    self.violate(2, format!("send #{} is open, but cannot be cancelled", id.0));
                }
                false
            }
        };
        self.after_input();
        ended
    }

    /// Closes a client; sends may go on for `grace`.
    pub fn shutdown(&mut self, client: usize, grace: Duration) {
        let clock = self.clock(client);
        self.note(format_args!("c{client} < shutdown {grace:?}"));
        self.clients[client].closing = true;
        let until_ns = self.now().saturating_add(nanos(grace));
        self.see(Seen::Shut { client, until_ns });
        self.clients[client].machine.shutdown(clock, clock + grace);
        self.after_input();
    }

    /// Waits for a name server with the first client; see [`World::ready`].
    pub fn wait_ready(&mut self, waiter: u64, timeout: Duration) {
        let clock = self.clock(0);
        self.note(format_args!("c0 < wait_ready {waiter}"));
        self.clients[0].machine.wait_ready(clock, waiter, clock + timeout);
        self.after_input();
    }

    /// The group to which a client's sends belong.
    pub fn group(&self, client: usize) -> GroupId {
        self.clients[client].group
    }

    /// Registers another group with a client; from now on its sends belong to that one.
    pub fn register(&mut self, client: usize, group: &str) -> GroupId {
        let clock = self.clock(client);
        let id = self.clients[client].machine.register(clock, group);
        let id = id.expect("the group is legal and new");
        self.clients[client].group = id;
        self.after_input();
        id
    }

    /// Forgets a group of a client.
    pub fn unregister(&mut self, client: usize, group: GroupId) {
        let clock = self.clock(client);
        self.see(Seen::Ungrouped);
        self.clients[client].machine.unregister(clock, group);
        self.after_input();
    }

    // ---- Faults -----------------------------------------------------------------------------

    /// Tells the cluster something: scripts, states, routes.
    pub fn with<T>(&mut self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let result = self.network.with(change);
        self.settle();
        result
    }

    /// The network, for faults that have no name here.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Calls a function later.
    pub fn after(&mut self, delay: Duration, call: impl FnOnce(&mut World) + 'static) {
        let at = self.now().saturating_add(nanos(delay));
        self.plan(at, Happening::Call(Box::new(call)));
    }

    /// Makes the live connections of a server half-open: nothing gets through any more.
    pub fn silence(&mut self, node: Node) {
        self.network.silence(node);
        self.note(format_args!("{node:?} silenced"));
    }

    /// The server stops to read from its live connections.
    pub fn stop_reading(&mut self, node: Node) {
        self.network.stop_reading(node);
        self.note(format_args!("{node:?} reads no more"));
    }

    /// Cuts the live connections of a server once so many more bytes have gone towards it.
    pub fn cut_outgoing(&mut self, node: Node, more: u64, cut: Cut) {
        self.network.cut_outgoing(node, more, cut);
    }

    /// Cuts the live connections of a server once so many more bytes have come from it.
    pub fn cut_incoming(&mut self, node: Node, more: u64, cut: Cut) {
        self.network.cut_incoming(node, more, cut);
    }

    /// Parts all clients from a server, both ways, for so long; then what waited goes on.
    pub fn part(&mut self, node: Node, length: Duration) {
        let pairs: Vec<_> = (0..self.clients.len())
            .flat_map(|client| [Direction::ToServer, Direction::ToClient].map(|d| (client, d)))
            .collect();
        for (client, direction) in &pairs {
            self.network.part(*client, node, *direction);
        }
        self.after(length, move |world| {
            for (client, direction) in pairs {
                world.network.rejoin(client, node, direction, Duration::from_millis(50));
            }
        });
    }

    /// Changes the wall clock; the monotonic one goes on.
    pub fn jump_wall(&mut self, to_ms: i64) {
        (self.wall_ms, self.wall_at) = (to_ms, self.now());
    }

    /// Makes a client's monotonic clock wrong by so many nanoseconds from now on.
    pub fn set_clock_error(&mut self, client: usize, error_ns: i64) {
        self.see(Seen::WrongClock { client });
        self.clients[client].clock_error = error_ns;
        self.clients[client].wake = None;
    }

    // ---- Questions --------------------------------------------------------------------------

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Nanoseconds since the world began.
    pub fn now(&self) -> u64 {
        self.network.now()
    }

    /// The servers and what they saw.
    pub fn cluster(&self) -> &Cluster {
        self.network.cluster()
    }

    /// One send.
    pub fn record(&self, id: SendId) -> &SendRecord {
        &self.sends[id.0]
    }

    /// Every send.
    pub fn records(&self) -> &[SendRecord] {
        &self.sends
    }

    /// How a send ended, if it did.
    pub fn outcome(&self, id: SendId) -> Option<&Outcome> {
        self.sends[id.0].outcome.as_ref()
    }

    /// What a client reported, with the time.
    pub fn events(&self, client: usize) -> &[(u64, Event)] {
        &self.clients[client].events
    }

    /// How the waits for a name server ended: time, waiter, result.
    pub fn ready(&self) -> &[(u64, u64, Result<(), NotReady>)] {
        &self.clients[0].ready
    }

    /// Every request on the wire.
    pub fn frames(&self) -> &[WireFrame] {
        &self.tap.frames
    }

    /// The frames that carried one send.
    pub fn frames_of(&self, id: SendId) -> Vec<&WireFrame> {
        let key = Some(self.sends[id.0].unique_key.as_str());
        self.tap.frames.iter().filter(|frame| frame.unique_key.as_deref() == key).collect()
    }

    /// Answers of clients to requests of servers: connection, code, request id.
    pub fn client_answers(&self) -> &[(u64, i32, i32)] {
        &self.tap.client_answers
    }

    /// Connections that a client holds to a server, dials included.
    pub fn connections(&self, client: usize, node: Node) -> usize {
        self.network.links(client, node).len()
    }

    /// The tables of a client.
    pub fn tables(&self, client: usize) -> TableSizes {
        self.clients[client].machine.table_sizes()
    }

    /// When a client was closed.
    pub fn closed_ns(&self, client: usize) -> Option<u64> {
        self.clients[client].closed_ns
    }

    /// Whether a client was told to close.
    pub fn closing(&self, client: usize) -> bool {
        self.clients[client].closing
    }

    /// The faults so far that were given a name.
    pub fn faults(&self) -> &[FaultSpan] {
        &self.faults
    }

    /// The phases so far and when they began, in nanoseconds.
    pub fn phases(&self) -> &[(&'static str, u64)] {
        &self.phases
    }

    /// What the wall clock shows, in Unix milliseconds.
    pub fn wall_ms_now(&self) -> i64 {
        self.wall().as_millis()
    }

    /// Sends that have not ended.
    pub fn open(&self) -> usize {
        self.clients.iter().map(|peer| peer.open.len()).sum()
    }

    /// What did not hold so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The story so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Keeps the whole story instead of its end.
    pub fn keep_trace(&mut self) {
        self.trace.keep_all();
    }

    // ---- Running ----------------------------------------------------------------------------

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now().saturating_add(nanos(duration));
        while self.step(until) {}
    }

    /// Runs until the condition holds, at most for `limit`; whether it holds.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&World) -> bool,
    ) -> bool {
        let until = self.now().saturating_add(nanos(limit));
        loop {
            if condition(self) {
                return true;
            }
            if !self.step(until) {
                return condition(self);
            }
        }
    }

    /// Runs until every send has ended.
    ///
    /// # Panics
    /// If one is open long after its deadline.
    pub fn run_until_idle(&mut self) {
        let last = self.sends.iter().map(|send| send.deadline_ns).max().unwrap_or(0);
        let limit = last.saturating_sub(self.now()) + 10_000_000_000;
        if !self.run_until(Duration::from_nanos(limit), |world| world.open() == 0) {
            self.violate(24, "sends are open and nothing ends them");
            self.report();
        }
    }

    /// Runs until a send has ended and says how.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait(&mut self, id: SendId) -> Outcome {
        let limit = self.sends[id.0].deadline_ns.saturating_sub(self.now()) + 10_000_000_000;
        self.run_until(Duration::from_nanos(limit), |world| world.outcome(id).is_some());
        if let Some(outcome) = self.outcome(id) {
            return outcome.clone();
        }
        self.violate(24, format!("send #{} does not end", id.0));
        self.report();
        unreachable!("the report panics")
    }

    /// Ends the run: waits for all sends, closes the clients, lets everything under way arrive,
    /// and checks what must hold of every run.
    ///
    /// # Panics
    /// If something does not hold, with the seed and the end of the story.
    pub fn finish(&mut self) {
        self.run_until_idle();
        for client in 0..self.clients.len() {
            self.shutdown(client, Duration::from_secs(5));
        }
        let all_closed = |world: &World| world.clients.iter().all(|p| p.closed_ns.is_some());
        if !self.run_until(Duration::from_secs(30), all_closed) {
            self.violate(22, "a client does not close");
        }
        // Whatever servers still hold back may arrive: the truth is what is stored in the end.
        let nodes = self.cluster().nodes();
        self.with(|cluster| nodes.iter().for_each(|node| cluster.resume(*node)));
        self.run_for(Duration::from_secs(60));
        self.finished = true;
        self.verify();
    }

    /// Checks what must hold so far.
    ///
    /// # Panics
    /// As [`World::finish`].
    pub fn verify(&mut self) {
        self.checks.finish(self.finished, self.network.cluster());
        self.judge();
    }

    fn fault_begins(
        &mut self,
        number: usize,
        name: &'static str,
        node: Option<Node>,
        length: Duration,
    ) {
        let begin_ns = self.now();
        let end_ns = begin_ns.saturating_add(nanos(length));
        self.note(format_args!("fault {name} at {node:?} for {length:?}"));
        self.faults.push(FaultSpan { number, name, node, begin_ns, end_ns });
    }

    fn begin_phase(&mut self, name: &'static str) {
        if self.phases.last().is_none_or(|(last, _)| *last != name) {
            self.note(format_args!("phase {name}"));
            self.phases.push((name, self.now()));
        }
    }

    /// Everything gets through again, and as `profile` says.
    fn heal_network(&mut self, profile: LinkProfile) {
        for node in self.cluster().nodes() {
            self.network.set_dial_fault(node, None);
            self.network.corrupt(node, 0);
            self.network.reshape(node, None);
        }
        self.network.disarm();
        self.network.rejoin_all(Duration::from_millis(300));
        self.network.set_profile(profile);
    }

    fn report(&self) {
        let violations: Vec<_> =
            self.violations.iter().take(20).map(Violation::to_string).collect();
        let violations = violations.join("\n  ");
        panic!(
            "the simulation failed, seed {}:\n  {violations}\nthe last lines of the story:\n{}",
            self.seed,
            self.trace.tail(50)
        );
    }

    /// Notes that invariant `number` does not hold.
    fn violate(&mut self, number: u8, text: impl Into<String>) {
        self.checks.violation(Violation::new(number, text));
        self.gather();
    }

    /// What the observers found goes into the story.
    fn gather(&mut self) {
        for violation in self.checks.take() {
            self.note(format_args!("! {violation}"));
            self.violations.push(violation);
        }
    }

    /// Ends a run in which something does not hold.
    fn judge(&mut self) {
        self.gather();
        if !self.violations.is_empty() {
            self.report();
        }
    }

    /// I-21, while all is well: the client greets these brokers in time.
    fn greets(&mut self, client: usize, brokers: usize) {
        let now = self.network.now();
        self.checks.greets(now, client, self.network.cluster(), brokers);
        self.gather();
    }

    fn see(&mut self, seen: Seen<'_>) {
        self.checks.see(self.network.now(), seen);
    }

    fn note(&mut self, text: fmt::Arguments<'_>) {
        let line = self.trace.push(self.network.now(), text);
        self.checks.line(line);
    }

    fn plan(&mut self, at: u64, what: Happening) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), what);
    }

    fn clock(&self, client: usize) -> Instant {
        Instant::from_nanos(self.now().saturating_add_signed(self.clients[client].clock_error))
    }

    fn wall(&self) -> WallTime {
        WallTime::from_millis(self.wall_ms + ((self.now() - self.wall_at) / 1_000_000) as i64)
    }

    /// Notes the end of a send, once.
    fn end_send(&mut self, client: usize, op: rocketmq_core::OpId, outcome: Outcome) {
        self.see(Seen::Ended { client, op, outcome: &outcome });
        let Some(index) = self.clients[client].open.remove(&op) else {
            return;
        };
        let unfinished = self.tap.is_unfinished(client);
        self.checks.ended(index, unfinished, self.network.cluster());
        self.note(format_args!("c{client} > {op} #{index} {}", outcome.line()));
        let peer = &mut self.clients[client];
        peer.ids.free(op);
        let record = &mut self.sends[index];
        record.ended_ns = Some(self.network.now());
        record.outcome = Some(outcome);
    }
}

/// How an operation of the machine ended, as an outcome.
fn outcome_of(result: Result<Completion, rocketmq_core::SendError>) -> Option<Outcome> {
    match result {
        Ok(Completion::Stored(receipt)) => Some(Outcome::Stored(receipt)),
        Ok(Completion::Sent(receipt)) => Some(Outcome::Sent(receipt)),
        Ok(_) => None,
        Err(error) => Some(Outcome::Failed(error)),
    }
}
