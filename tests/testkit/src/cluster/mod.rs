//! Name servers and brokers in memory, as one state machine without sockets, threads or a clock.
//!
//! Bytes and times go in, [`Action`]s come out. The host (a simulated network, or
//! [`LoopbackCluster`](crate::LoopbackCluster)) names the connections and moves the bytes. The
//! same object is the script of a test and its witness: it can be told to lie, and asked what it
//! stored and saw.
//!
//! # Examples
//!
//! ```
//! use rocketmq_testkit::cluster::{ActionKind, Cluster, ClusterConfig, ConnectionId, Node};
//! use rocketmq_testkit::wire::Command;
//!
//! let mut cluster = Cluster::new(ClusterConfig::new().topic("Orders", 4));
//! let (node, connection) = (Node::NameServer(0), ConnectionId(1));
//! cluster.handle_connected(0, node, connection);
//! let query = Command::request(105, 7).field("topic", "Orders");
//! cluster.handle_bytes(0, node, connection, &query.encode());
//! let action = cluster.poll_action().expect("name servers answer");
//! let ActionKind::Write(frame) = action.kind else { panic!("an answer is bytes") };
//! let answer = Command::decode(&frame)?;
//! assert_eq!((answer.code, answer.opaque), (0, 7));
//! # Ok::<(), rocketmq_testkit::wire::WireError>(())
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::wire::{
    BrokerData, Command, Encoding, Fields, Heartbeat, QueueData, TopicRoute, split_frame,
};

mod access;
mod admin;
mod broker;
mod config;
mod control;
mod lookup;
mod name_server;
mod script;
mod static_topic;
mod store;
mod timers;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod transactions;

pub use access::AccessControl;
pub use config::{
    AUTO_CREATE_TOPIC, ClusterConfig, HALF_TOPIC, ReplyEncoding, ServerVersion, TopicConfig,
};
pub use lookup::LookupRecord;
pub use name_server::RouteOverride;
pub use script::{Fault, Rule, RuleId};
pub use store::Stored;
#[cfg(feature = "tls")]
pub use tls::TlsHandshake;
pub use trace::TraceRecord;

use broker::{Broker, Context, Refusal, Reply, respond};
use name_server::NameServer;
use script::{Effect, Ending, Script};

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The name server with this index.
    NameServer(usize),
    /// The broker with this index; 0 is `broker-a`.
    Broker(usize),
}

/// A connection, named by the host; never used again after it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Something the host has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Not before this time. Actions of one connection that are due are done in the order in
    /// which they were polled; later ones overtake an earlier one that is not due yet.
    pub at_ns: u64,
    /// Which server does it. While that server is [stalled](Process::Stalled), it waits.
    pub node: Node,
    /// On which connection; ignored if that is gone.
    pub connection: ConnectionId,
    /// What.
    pub kind: ActionKind,
}

/// What to do with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Send these bytes to the client.
    Write(Vec<u8>),
    /// Close in order.
    Close,
    /// Reset: the client gets an error, and may lose bytes in flight.
    Reset,
    /// Call [`Cluster::handle_wake`]; no connection is meant.
    Wake,
}

/// What a server's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// It works.
    Running,
    /// It stands still, as after SIGSTOP: connections open, bytes pile up, nothing is answered.
    Stalled,
    /// There is no process: connections are refused (unless the listener is a
    /// [`BlackHole`](Listener::BlackHole): then the whole machine is gone).
    Dead,
}

/// What happens to new connections of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    /// They are accepted.
    Open,
    /// They are refused.
    Refusing,
    /// Nobody answers: the client waits until it gives up.
    BlackHole,
    /// They are accepted, but never read from or written to.
    Mute,
}

/// Process and listener of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeState {
    /// The process.
    pub process: Process,
    /// New connections.
    pub listener: Listener,
}

/// A frame that a server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// When it was complete.
    pub at_ns: u64,
    /// Which server.
    pub node: Node,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Whether that leads to a broker's VIP port.
    pub vip: bool,
    /// Code of the request, or of an answer to a request of the server.
    pub code: i32,
    /// Response and oneway bits.
    pub flag: i32,
    /// Request id.
    pub opaque: i32,
    /// How the header was written.
    pub encoding: Encoding,
    /// Text.
    pub remark: Option<String>,
    /// Fields.
    pub ext: Fields,
    /// Length of the body.
    pub body_bytes: usize,
}

/// A heartbeat that a broker received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRecord {
    /// When.
    pub at_ns: u64,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Client and groups.
    pub heartbeat: Heartbeat,
}

/// A request to unregister that a broker received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnregisterRecord {
    /// When.
    pub at_ns: u64,
    /// Over which connection.
    pub connection: ConnectionId,
    /// The client.
    pub client_id: String,
    /// The producer group that leaves.
    pub producer_group: Option<String>,
    /// The consumer group that leaves.
    pub consumer_group: Option<String>,
}

/// All servers and the truth they share.
#[derive(Clone, Debug)]
pub struct Cluster {
    config: ClusterConfig,
    now_ns: u64,
    name_servers: Vec<NameServer>,
    brokers: Vec<Broker>,
    states: BTreeMap<Node, NodeState>,
    addresses: BTreeMap<Node, SocketAddr>,
    scripts: BTreeMap<Node, Script>,
    connections: BTreeMap<ConnectionId, Connection>,
    actions: VecDeque<Action>,
    frames: Vec<FrameRecord>,
    lookup: lookup::Lookup,
    #[cfg(feature = "tls")]
    tls: tls::TlsState,
    /// Answers held until another client answered: by the connection and id of that request.
    held_answers: BTreeMap<(ConnectionId, i32), HeldAnswer>,
    next_opaque: i32,
}

#[derive(Clone, Debug)]
struct Connection {
    node: Node,
    mute: bool,
    vip: bool,
    /// Not a byte has come.
    #[cfg(feature = "tls")]
    untouched: bool,
    /// A delayed end is under way: nothing is read any more.
    ending: bool,
    buffer: Vec<u8>,
    /// The verdict on the request at the front of the buffer, once its header was readable.
    decided: Option<Option<Fault>>,
}

#[derive(Clone, Debug)]
struct HeldAnswer {
    node: Node,
    connection: ConnectionId,
    answer: Command,
}

impl Cluster {
    /// Servers that all run; broker `n` has the address `10.0.0.n+1:10911` until the host sets
    /// another.
    pub fn new(config: ClusterConfig) -> Self {
        let brokers: Vec<_> = (0..config.brokers)
            .map(|index| Broker::new(ClusterConfig::broker_name(index), &config))
            .collect();
        let name_servers = vec![NameServer::default(); config.name_servers];
        let nodes: Vec<_> = (0..config.name_servers)
            .map(Node::NameServer)
            .chain((0..config.brokers).map(Node::Broker))
            .collect();
        let running = NodeState { process: Process::Running, listener: Listener::Open };
        Self {
            config,
            now_ns: 0,
            name_servers,
            brokers,
            states: nodes.iter().map(|node| (*node, running)).collect(),
            addresses: nodes
                .iter()
                .map(|node| (*node, ClusterConfig::default_address(*node)))
                .collect(),
            scripts: BTreeMap::new(),
            connections: BTreeMap::new(),
            actions: VecDeque::new(),
            frames: Vec::new(),
            lookup: lookup::Lookup::default(),
            #[cfg(feature = "tls")]
            tls: tls::TlsState::default(),
            held_answers: BTreeMap::new(),
            next_opaque: 0,
        }
    }

    /// A client connected. The host has asked [`node_state`](Self::node_state) whether it can; on
    /// a dead or refusing server the connection is reset.
    pub fn handle_connected(&mut self, now_ns: u64, node: Node, connection: ConnectionId) {
        self.set_now(now_ns);
        let state = self.node_state(node);
        if state.process == Process::Dead || state.listener == Listener::Refusing {
            self.push_action(0, node, connection, ActionKind::Reset);
            return;
        }
        let mute = state.listener == Listener::Mute;
        let (vip, ending, buffer, decided) = (false, false, Vec::new(), None);
        let fresh = Connection {
            node,
            mute,
            vip,
            #[cfg(feature = "tls")]
            untouched: true,
            ending,
            buffer,
            decided,
        };
        self.connections.insert(connection, fresh);
    }

    /// The connection leads to the VIP port of its broker.
    pub fn mark_vip(&mut self, connection: ConnectionId) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.vip = true;
        }
    }

    /// Bytes of a client arrived.
    pub fn handle_bytes(
        &mut self,
        now_ns: u64,
        node: Node,
        connection: ConnectionId,
        bytes: &[u8],
    ) {
        self.set_now(now_ns);
        #[cfg(feature = "tls")]
        let plain = self.unseal(node, connection, bytes);
        #[cfg(feature = "tls")]
        let Some(bytes) = plain.as_deref() else { return };
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        #[cfg(feature = "tls")]
        {
            state.untouched = false;
        }
        state.buffer.extend_from_slice(bytes);
        // Bytes may come one at a time: nothing can happen before the frame is whole, unless a
        // script or a verdict waits for a part of it.
        let unscripted = self.scripts.get(&node).is_none_or(Script::is_empty);
        let waits = unscripted && matches!(state.decided, None | Some(None));
        if !(waits && split_frame(&state.buffer) == Ok(None)) {
            self.work_off(node, connection);
        }
    }

    /// A client's connection ended, whoever ended it.
    pub fn handle_closed(&mut self, now_ns: u64, connection: ConnectionId) {
        self.set_now(now_ns);
        self.forget(connection);
    }

    /// The time of an [`ActionKind::Wake`] has come.
    pub fn handle_wake(&mut self, now_ns: u64, node: Node) {
        self.set_now(now_ns);
        let address = self.address(node);
        if self.node_state(node).process != Process::Running {
            return;
        }
        let Node::Broker(index) = node else { return };
        let Some(broker) = self.brokers.get_mut(index) else { return };
        broker.wake_ns = None;
        for (producer, question) in broker.check_transactions(&self.config, self.now_ns, address) {
            self.send_request(node, producer, question);
        }
        self.plan_wake(node);
    }

    /// Has the host wake a broker when it is time to look after half messages.
    fn plan_wake(&mut self, node: Node) {
        let Node::Broker(index) = node else { return };
        let Some(broker) = self.brokers.get_mut(index) else { return };
        let Some(at_ns) = broker.next_check() else { return };
        if broker.wake_ns.is_none_or(|known| at_ns < known) {
            broker.wake_ns = Some(at_ns);
            let kind = ActionKind::Wake;
            self.actions.push_back(Action { at_ns, node, connection: ConnectionId(0), kind });
        }
    }

    /// The bytes that the host has to write for an action: frames as they go over the wire. To be
    /// called when the action is carried out, not before.
    #[cfg(not(feature = "tls"))]
    pub fn seal(&mut self, _: Node, _: ConnectionId, kind: &mut ActionKind) -> Option<Vec<u8>> {
        match kind {
            ActionKind::Write(bytes) => Some(std::mem::take(bytes)),
            ActionKind::Close | ActionKind::Reset | ActionKind::Wake => None,
        }
    }

    /// The next thing the host has to do. Its bytes are those of frames; [`Cluster::seal`] makes
    /// those of the wire of them.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Handles the whole frames in a connection's buffer.
    fn work_off(&mut self, node: Node, connection: ConnectionId) {
        if self.node_state(node).process != Process::Running {
            return;
        }
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        if state.mute || self.serve_lookup(node, connection) {
            return;
        }
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        let buffer = std::mem::take(&mut state.buffer);
        let mut rest = buffer.as_slice();
        // A fault may end the connection in between; what follows is then not read any more.
        while self.connections.get(&connection).is_some_and(|state| !state.ending) {
            match split_frame(rest) {
                Ok(Some(length)) => {
                    let (frame, behind) = rest.split_at(length);
                    rest = behind;
                    self.handle_frame(node, connection, frame);
                }
                Ok(None) => {
                    self.peek(node, connection, rest);
                    break;
                }
                Err(_) => self.end(0, node, connection, Ending::Close),
            }
        }
        let taken = buffer.len() - rest.len();
        if let Some(state) = self.connections.get_mut(&connection) {
            // The allocation stays: bytes may come one at a time.
            state.buffer = buffer;
            state.buffer.drain(..taken);
        }
    }

    /// Looks at an incomplete request: a script may end the connection in the middle of it.
    fn peek(&mut self, node: Node, connection: ConnectionId, part: &[u8]) {
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        let script = self.scripts.entry(node).or_default();
        if state.decided.is_none() && !part.is_empty() && !script.is_empty() {
            // Errors are judged when the frame is complete, as Java does.
            if header_is_whole(part)
                && let Ok(command) = Command::decode_prefix(part)
            {
                let request = !command.is_response();
                state.decided = Some(if request { script.decide(&command) } else { None });
            } else if let Some(fault) = script.decide_blind(part.len()) {
                state.decided = Some(Some(fault));
            }
        }
        if let Some(Some(Fault { effect: Effect::CutRequest(bytes), .. })) = &state.decided
            && part.len() >= *bytes
        {
            self.end(0, node, connection, Ending::Reset);
        }
    }

    fn handle_frame(&mut self, node: Node, connection: ConnectionId, frame: &[u8]) {
        let Ok(command) = Command::decode(frame) else {
            self.end(0, node, connection, Ending::Close);
            return;
        };
        if self.config.record_frames {
            let vip = self.connections.get(&connection).is_some_and(|state| state.vip);
            self.frames.push(FrameRecord {
                at_ns: self.now_ns,
                node,
                connection,
                vip,
                code: command.code,
                flag: command.flag,
                opaque: command.opaque,
                encoding: command.encoding,
                remark: command.remark.clone(),
                ext: command.ext.clone(),
                body_bytes: command.body.len(),
            });
        }
        if command.is_response() {
            self.handle_client_answer(connection, &command);
            return;
        }
        let decided = match self.connections.get_mut(&connection) {
            Some(state) => state.decided.take(),
            None => return,
        };
        let fault = decided
            .unwrap_or_else(|| self.scripts.get_mut(&node).and_then(|it| it.decide(&command)))
            .unwrap_or_default();
        if matches!(fault.effect, Effect::CutRequest(_)) {
            self.end(0, node, connection, Ending::Reset);
            return;
        }
        let reply = if fault.processes() {
            self.process(node, connection, &command)
        } else {
            Reply::Nothing
        };
        self.plan_wake(node);
        self.deliver(node, connection, &command, reply, &fault);
    }

    fn process(&mut self, node: Node, connection: ConnectionId, command: &Command) -> Reply {
        let address = self.address(node);
        if let Some(refusal) = self.refused_access(node, command) {
            return Reply::Answer(respond(&self.config, command, refusal));
        }
        match node {
            Node::Broker(index) => {
                let Some(broker) = self.brokers.get_mut(index) else {
                    return Reply::Nothing;
                };
                let context =
                    Context { config: &self.config, now_ns: self.now_ns, connection, address };
                broker.process(&context, command)
            }
            Node::NameServer(index) => {
                let brokers = self.broker_data();
                let known = &self.brokers;
                let routes = |topic: &str| announced_route(known, &brokers, topic);
                let Some(server) = self.name_servers.get_mut(index) else {
                    return Reply::Nothing;
                };
                server.process(&self.config, &routes, &brokers, command)
            }
        }
    }

    /// What access control has against a request, if there is any.
    fn refused_access(&self, node: Node, command: &Command) -> Option<Refusal> {
        let checks = |access: &&AccessControl| access.checks(matches!(node, Node::NameServer(_)));
        let access = self.config.access.as_ref().filter(checks)?;
        access.check(self.config.version, command).err()
    }

    /// Turns what came of a request into actions, bent by the fault.
    fn deliver(
        &mut self,
        node: Node,
        connection: ConnectionId,
        command: &Command,
        reply: Reply,
        fault: &Fault,
    ) {
        let answer = match reply {
            Reply::Answer(answer) => Some(answer),
            Reply::Nothing => None,
            Reply::CloseConnection => {
                self.end(0, node, connection, Ending::Close);
                return;
            }
            Reply::Push { to, push, answer } => {
                if let Some(opaque) = self.send_request(node, to, push) {
                    let held = HeldAnswer { node, connection, answer };
                    self.held_answers.insert((to, opaque), held);
                }
                None
            }
        };
        let bytes = match self.bend(command, answer, fault) {
            Some(answer) if !command.is_oneway() || fault.even_oneway => {
                Some(if fault.odd_json { answer.encode_oddly() } else { answer.encode() })
            }
            _ => None,
        };
        let bytes = match &fault.effect {
            Effect::Bytes { bytes, .. } => Some(bytes.clone()),
            _ => bytes,
        };
        if let Some(mut bytes) = bytes {
            bytes.truncate(fault.cut_answer.unwrap_or(bytes.len()));
            for _ in 0..=fault.copies_more {
                self.push_action(
                    fault.delay_ns,
                    node,
                    connection,
                    ActionKind::Write(bytes.clone()),
                );
            }
        }
        if let Some(ending) = fault.ending {
            self.end(fault.delay_ns, node, connection, ending);
        }
    }

    /// The answer as the fault wants it.
    fn bend(&self, command: &Command, answer: Option<Command>, fault: &Fault) -> Option<Command> {
        let refusal = |code: &i32, remark: &Option<String>| {
            broker::respond(&self.config, command, (*code, remark.clone()))
        };
        let mut answer = match &fault.effect {
            Effect::Process => answer?,
            Effect::Instead(code, remark) | Effect::After(code, remark) => refusal(code, remark),
            Effect::Weak(code) => {
                let mut answer = answer?;
                // A refusal stays what it is.
                answer.code = if answer.code == 0 { *code } else { answer.code };
                answer
            }
            Effect::Ignore | Effect::Swallow | Effect::Bytes { .. } | Effect::CutRequest(_) => {
                return None;
            }
        };
        if fault.clear_fields {
            answer.ext.clear();
        }
        for (name, value) in &fault.fields {
            match value {
                Some(value) => answer.ext.insert(name, value),
                None => _ = answer.ext.remove(name),
            }
        }
        if let Some(body) = &fault.body {
            answer.body.clone_from(body);
        }
        answer.opaque = fault.opaque.unwrap_or(answer.opaque);
        Some(answer)
    }

    /// A client answered a request of a broker; an unmatched answer is ignored (measured).
    fn handle_client_answer(&mut self, connection: ConnectionId, command: &Command) {
        let Some(held) = self.held_answers.remove(&(connection, command.opaque)) else {
            return;
        };
        let mut answer = held.answer;
        if command.code != 0 {
            answer.code = crate::wire::response_code::SYSTEM_ERROR;
            answer.remark = Some("push reply message to client failed".into());
        }
        self.push_action(0, held.node, held.connection, ActionKind::Write(answer.encode()));
    }

    fn end(&mut self, delay_ns: u64, node: Node, connection: ConnectionId, ending: Ending) {
        let kind = match ending {
            Ending::Close => ActionKind::Close,
            Ending::Reset => ActionKind::Reset,
        };
        self.push_action(delay_ns, node, connection, kind);
        match self.connections.get_mut(&connection) {
            // Until then it counts as open, and a kill still resets it.
            Some(state) if delay_ns > 0 => state.ending = true,
            _ => self.forget(connection),
        }
    }

    fn forget(&mut self, connection: ConnectionId) {
        if let Some(Connection { node: Node::Broker(index), .. }) =
            self.connections.remove(&connection)
            && let Some(broker) = self.brokers.get_mut(index)
        {
            broker.connection_closed(connection);
        }
    }

    fn push_action(
        &mut self,
        delay_ns: u64,
        node: Node,
        connection: ConnectionId,
        kind: ActionKind,
    ) {
        let at_ns = self.now_ns.saturating_add(delay_ns);
        self.actions.push_back(Action { at_ns, node, connection, kind });
    }

    /// What brokers tell name servers about themselves.
    fn broker_data(&self) -> Vec<BrokerData> {
        let registered = self.brokers.iter().enumerate().filter(|(_, broker)| broker.registered);
        registered
            .map(|(index, broker)| BrokerData {
                cluster: self.config.cluster_name.clone(),
                broker_name: broker.name.clone(),
                addresses: broker.announced.clone().unwrap_or_else(|| {
                    let master = self.address(Node::Broker(index)).to_string();
                    self.slaves(index).into_iter().chain([(0, master)]).collect()
                }),
            })
            .collect()
    }
}

/// Whether a frame that is still coming in has all of its header.
fn header_is_whole(part: &[u8]) -> bool {
    let word = part.get(5..8).and_then(|word| word.first_chunk::<3>());
    word.is_some_and(|[a, b, c]| part.len() >= 8 + u32::from_be_bytes([0, *a, *b, *c]) as usize)
}

/// The route of a topic as the brokers announce it.
// Java: RouteInfoManager#pickupTopicRouteData.
fn announced_route(brokers: &[Broker], data: &[BrokerData], topic: &str) -> Option<TopicRoute> {
    let mut route = TopicRoute::default();
    for broker in brokers.iter().filter(|broker| broker.registered) {
        let Some(queues) = broker.topics.get(topic) else {
            continue;
        };
        route.queues.push(QueueData {
            broker_name: broker.name.clone(),
            read_queues: queues.read_queues,
            write_queues: queues.write_queues,
            perm: queues.perm,
        });
        if let Some(queues) = broker.static_topics.get(topic) {
            route.static_queues.push(queues.clone());
            route.static_topic = topic.to_owned();
        }
        route.brokers.extend(data.iter().filter(|data| data.broker_name == broker.name).cloned());
    }
    (!route.queues.is_empty()).then_some(route)
}
