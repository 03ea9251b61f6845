//! What a test tells a cluster, and what it asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{
    AccessControl, Action, ActionKind, Cluster, ClusterConfig, ConnectionId, Fault, FrameRecord,
    HALF_TOPIC, HeartbeatRecord, Listener, Node, NodeState, Process, RouteOverride, Rule, RuleId,
    Stored, TopicConfig, UnregisterRecord, announced_route,
};
use super::{broker, transactions};
use crate::wire::{Command, TopicRoute, request_code};

/// Scripts and the state of servers.
///
/// An index beyond the servers of the cluster changes nothing.
impl Cluster {
    /// Who may do what from now on; everybody everything with `None`.
    pub fn set_access(&mut self, access: Option<AccessControl>) {
        self.config.access = access;
    }

    /// Sets the clock for calls that carry no time; it never goes back.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// The latest time it was told.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// From now on requests to this server that match the rule suffer the fault.
    pub fn script(&mut self, node: Node, rule: Rule, fault: Fault) -> RuleId {
        self.scripts.entry(node).or_default().add(rule, fault)
    }

    /// Takes a rule back, unless it is used up.
    pub fn unscript(&mut self, node: Node, rule: RuleId) {
        self.scripts.entry(node).or_default().remove(rule);
    }

    /// Forgets the rules of a server.
    pub fn clear_script(&mut self, node: Node) {
        self.scripts.entry(node).or_default().clear();
    }

    /// What a server's process and listener do.
    pub fn node_state(&self, node: Node) -> NodeState {
        let dead = NodeState { process: Process::Dead, listener: Listener::Refusing };
        self.states.get(&node).copied().unwrap_or(dead)
    }

    /// Stops a server like SIGSTOP: its connections stay, bytes pile up, nothing is answered.
    pub fn stall(&mut self, node: Node) {
        self.set_process(node, Process::Stalled);
    }

    /// Lets a stalled server work off what piled up, connection by connection.
    pub fn resume(&mut self, node: Node) {
        if self.node_state(node).process != Process::Stalled {
            return;
        }
        self.set_process(node, Process::Running);
        for connection in self.connections(node) {
            self.work_off(node, connection);
        }
    }

    /// Kills a server: its connections are reset, new ones refused. Its log stays.
    pub fn kill(&mut self, node: Node) {
        self.set_process(node, Process::Dead);
        self.reset_connections(node);
        if let Node::Broker(index) = node
            && let Some(broker) = self.brokers.get_mut(index)
        {
            broker.transactions.crash();
        }
        // What a dead process had not written yet is lost.
        self.actions
            .retain(|action| action.node != node || !matches!(action.kind, ActionKind::Write(_)));
    }

    /// Starts a killed server with the log it had.
    pub fn restart(&mut self, node: Node) {
        if self.node_state(node).process == Process::Dead {
            self.set_process(node, Process::Running);
            if let Node::Broker(index) = node
                && let Some(broker) = self.brokers.get_mut(index)
            {
                // Woken while it was dead, it did nothing.
                broker.wake_ns = None;
            }
            self.plan_wake(node);
        }
    }

    /// Resets all connections of a server, which goes on.
    pub fn reset_connections(&mut self, node: Node) {
        for connection in self.connections(node) {
            self.reset_connection(connection);
        }
    }

    /// Resets one connection.
    pub fn reset_connection(&mut self, connection: ConnectionId) {
        if let Some(node) = self.connections.get(&connection).map(|state| state.node) {
            self.end(0, node, connection, super::Ending::Reset);
        }
    }

    /// Closes one connection in order.
    pub fn close_connection(&mut self, connection: ConnectionId) {
        if let Some(node) = self.connections.get(&connection).map(|state| state.node) {
            self.end(0, node, connection, super::Ending::Close);
        }
    }

    /// Decides what happens to new connections; open ones go on.
    pub fn set_listener(&mut self, node: Node, listener: Listener) {
        if let Some(state) = self.states.get_mut(&node) {
            state.listener = listener;
        }
    }

    /// New connections are refused.
    pub fn refuse(&mut self, node: Node) {
        self.set_listener(node, Listener::Refusing);
    }

    /// New connections hang.
    pub fn blackhole(&mut self, node: Node) {
        self.set_listener(node, Listener::BlackHole);
    }

    /// New connections are accepted, but never served.
    pub fn mute(&mut self, node: Node) {
        self.set_listener(node, Listener::Mute);
    }

    /// New connections are served again.
    pub fn accept(&mut self, node: Node) {
        self.set_listener(node, Listener::Open);
    }

    /// Makes a broker lose its last stored messages, as a crash before the flush does.
    pub fn lose_tail(&mut self, broker: usize, messages: usize) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.store.lose_tail(messages);
        }
    }

    /// Sends a request of a server to a client; the answer shows up in [`frames`](Self::frames).
    ///
    /// The request gets its own id, which is returned; `None` when the connection is not open.
    pub fn send_request(
        &mut self,
        node: Node,
        to: ConnectionId,
        mut request: Command,
    ) -> Option<i32> {
        self.next_opaque = self.next_opaque.wrapping_add(1);
        request.opaque = self.next_opaque;
        self.send_frame(node, to, request.encode()).then_some(request.opaque)
    }

    /// Sends any bytes of a server to a client; `false` when the connection is not open.
    pub fn send_frame(&mut self, node: Node, to: ConnectionId, frame: Vec<u8>) -> bool {
        let open = self.connections.get(&to).is_some_and(|state| state.node == node);
        if open {
            self.push_action(0, node, to, ActionKind::Write(frame));
        }
        open
    }

    /// A request as this cluster's brokers send it, to fill and pass to
    /// [`send_request`](Self::send_request).
    pub fn broker_request(&self, code: i32) -> Command {
        broker::server_request(&self.config, code)
    }

    /// A reply of the group `answers` as a broker passes it on to the client that has asked, with
    /// these properties, from an IPv6 address and by a broker that tells none of its own.
    pub fn reply_request(&self, properties: &str, body: impl Into<Vec<u8>>) -> Command {
        self.broker_request(request_code::PUSH_REPLY_MESSAGE_TO_CLIENT)
            .field("producerGroup", "answers")
            .field("topic", format!("{}_REPLY_TOPIC", self.config.cluster_name))
            .field("queueId", "0")
            .field("flag", "0")
            .field("sysFlag", "0")
            .field("bornTimestamp", "1")
            .field("bornHost", "0:0:0:0:0:0:0:1:77")
            .field("storeTimestamp", "2")
            .field("storeHost", "nowhere")
            .field("properties", properties)
            .with_body(body)
    }

    /// The check of a prepared message, as a broker sends it to a producer of its group.
    ///
    /// `half` is one of the messages stored under [`HALF_TOPIC`].
    pub fn check_request(&self, half: &Stored) -> Option<Command> {
        let index = self.brokers.iter().position(|broker| broker.name == half.broker)?;
        let address = self.address(Node::Broker(index));
        (half.topic == HALF_TOPIC).then(|| transactions::check_request(&self.config, address, half))
    }

    fn set_process(&mut self, node: Node, process: Process) {
        if let Some(state) = self.states.get_mut(&node) {
            state.process = process;
        }
    }
}

/// Routes. By default every name server tells what the brokers have.
impl Cluster {
    /// Gives a topic to a broker, or changes its queues; routes show it at once.
    pub fn set_topic(&mut self, broker: usize, topic: &str, config: TopicConfig) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.topics.insert(topic.to_owned(), config);
        }
    }

    /// Takes a topic from a broker.
    pub fn remove_topic(&mut self, broker: usize, topic: &str) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.topics.remove(topic);
        }
    }

    /// Takes a broker out of all routes; it goes on serving who knows it.
    pub fn unregister_broker(&mut self, broker: usize) {
        self.set_registered(broker, false);
    }

    /// Puts a broker back into the routes.
    pub fn register_broker(&mut self, broker: usize) {
        self.set_registered(broker, true);
    }

    /// Makes a broker announce these addresses by broker id: another address, slaves only, text
    /// that is no address.
    pub fn announce(&mut self, broker: usize, addresses: BTreeMap<i64, String>) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.announced = Some(addresses);
        }
    }

    /// Makes a broker announce its true addresses again.
    pub fn announce_itself(&mut self, broker: usize) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.announced = None;
        }
    }

    /// The slaves of a broker, by broker id: where they would listen. Producers have no business
    /// with them, so nobody does.
    pub fn slaves(&self, broker: usize) -> BTreeMap<i64, String> {
        let address = |id: usize| (id as i64, format!("10.2.{broker}.{id}:10911"));
        (1..=self.config.slaves).map(address).collect()
    }

    /// Makes one name server tell something else about a topic; `None` ends that.
    pub fn override_route(&mut self, name_server: usize, topic: &str, says: Option<RouteOverride>) {
        let Some(server) = self.name_servers.get_mut(name_server) else {
            return;
        };
        match says {
            Some(says) => server.overrides.insert(topic.to_owned(), says),
            None => server.overrides.remove(topic),
        };
    }

    /// Makes every name server tell something else about a topic.
    pub fn override_routes(&mut self, topic: &str, says: Option<RouteOverride>) {
        for name_server in 0..self.name_servers.len() {
            self.override_route(name_server, topic, says.clone());
        }
    }

    /// A name server stops to listen to brokers: it goes on telling what is true now.
    pub fn freeze_routes(&mut self, name_server: usize) {
        let topics: std::collections::BTreeSet<&String> =
            self.brokers.iter().flat_map(|broker| broker.topics.keys()).collect();
        let frozen = topics
            .into_iter()
            .filter_map(|topic| Some((topic.clone(), self.route(topic)?)))
            .collect();
        if let Some(server) = self.name_servers.get_mut(name_server) {
            server.frozen = Some(frozen);
        }
    }

    /// A name server knows nothing, as after a restart before brokers register again.
    pub fn forget_routes(&mut self, name_server: usize) {
        if let Some(server) = self.name_servers.get_mut(name_server) {
            server.frozen = Some(BTreeMap::new());
        }
    }

    /// A name server listens to brokers again.
    pub fn learn_routes(&mut self, name_server: usize) {
        if let Some(server) = self.name_servers.get_mut(name_server) {
            server.frozen = None;
        }
    }

    /// The true route of a topic: what a name server says that nobody told to lie.
    pub fn route(&self, topic: &str) -> Option<TopicRoute> {
        announced_route(&self.brokers, &self.broker_data(), topic)
    }

    fn set_registered(&mut self, broker: usize, registered: bool) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.registered = registered;
        }
    }
}

/// What the servers have seen and stored.
impl Cluster {
    /// Every server, name servers first.
    pub fn nodes(&self) -> Vec<Node> {
        self.states.keys().copied().collect()
    }

    /// What the cluster was made of.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The name of a broker.
    pub fn broker_name(&self, broker: usize) -> String {
        ClusterConfig::broker_name(broker)
    }

    /// Where a server listens.
    pub fn address(&self, node: Node) -> SocketAddr {
        let default = || ClusterConfig::default_address(node);
        self.addresses.get(&node).copied().unwrap_or_else(default)
    }

    /// The server that listens at an address, `host:port`.
    pub fn node_at(&self, address: &str) -> Option<Node> {
        let is = |it: SocketAddr| it.to_string() == address;
        let listens =
            |node: &&Node| is(self.address(**node)) || self.vip_address(**node).is_some_and(is);
        self.states.keys().find(listens).copied()
    }

    /// The VIP port of a broker, if brokers have one.
    // Java: BrokerStartup, the fast remoting server listens two ports below.
    pub fn vip_address(&self, node: Node) -> Option<SocketAddr> {
        if !self.config.vip_ports || !matches!(node, Node::Broker(_)) {
            return None;
        }
        let mut address = self.address(node);
        address.set_port(address.port().checked_sub(2)?);
        Some(address)
    }

    /// The host says where a server listens; routes and message ids show it.
    pub fn set_address(&mut self, node: Node, address: SocketAddr) {
        self.addresses.insert(node, address);
    }

    /// Messages stored under a topic, broker by broker, in the order in which they were stored.
    pub fn stored(&self, topic: &str) -> Vec<Stored> {
        self.stored_all().filter(|stored| stored.topic == topic).cloned().collect()
    }

    /// Every stored copy of the message with this unique key.
    pub fn stored_by_key(&self, unique_key: &str) -> Vec<Stored> {
        let wanted = Some(unique_key);
        self.stored_all().filter(|it| it.unique_key.as_deref() == wanted).cloned().collect()
    }

    /// Whether a broker holds a message, at this queue and offset if they are given.
    pub fn holds(
        &self,
        broker_name: &str,
        topic: &str,
        unique_key: &str,
        position: Option<(u32, u64)>,
    ) -> bool {
        let copies = self.brokers.iter().flat_map(|broker| broker.store.copies(unique_key));
        copies.into_iter().any(|stored| {
            stored.broker == broker_name
                && stored.topic == topic
                && position.is_none_or(|(queue_id, queue_offset)| {
                    i64::from(stored.queue_id) == i64::from(queue_id)
                        && stored.queue_offset == queue_offset
                })
        })
    }

    /// Everything stored, broker by broker.
    pub fn stored_all(&self) -> impl Iterator<Item = &Stored> {
        self.brokers.iter().flat_map(|broker| broker.store.iter())
    }

    /// The unique keys of timer messages that were taken back.
    pub fn recalled(&self) -> Vec<String> {
        self.brokers.iter().flat_map(|broker| broker.recalled.iter().cloned()).collect()
    }

    /// Half messages whose end no broker has heard of, and that it still asks about.
    pub fn open_transactions(&self) -> usize {
        self.brokers.iter().map(|broker| broker.transactions.open()).sum()
    }

    /// How often a broker has missed the end of the transaction with this unique key: it crashed
    /// before that was noted, or had put the half message back in the meantime and works with that
    /// copy. It asks again then, and may deliver once more.
    pub fn forgotten_ends(&self, unique_key: &str) -> usize {
        let of = |broker: &broker::Broker| {
            let lost = broker.transactions.lost_ends().iter();
            let halves = lost.filter_map(|offset| broker.store.at_commit_log_offset(*offset));
            halves.filter(|half| half.unique_key.as_deref() == Some(unique_key)).count()
        };
        self.brokers.iter().map(of).sum()
    }

    /// Heartbeats that a broker received.
    pub fn heartbeats(&self, broker: usize) -> &[HeartbeatRecord] {
        self.brokers.get(broker).map_or(&[], |broker| &broker.heartbeats)
    }

    /// Requests to unregister that a broker received.
    pub fn unregistrations(&self, broker: usize) -> &[UnregisterRecord] {
        self.brokers.get(broker).map_or(&[], |broker| &broker.unregistrations)
    }

    /// How often a name server was asked for the route of a topic.
    pub fn route_queries(&self, name_server: usize, topic: &str) -> u64 {
        let server = self.name_servers.get(name_server);
        server.and_then(|server| server.route_queries.get(topic)).copied().unwrap_or(0)
    }

    /// The open connections of a server.
    pub fn connections(&self, node: Node) -> Vec<ConnectionId> {
        let connections = self.connections.iter().filter(|(_, state)| state.node == node);
        connections.map(|(connection, _)| *connection).collect()
    }

    /// Over which connection a client sent its last heartbeat to a broker.
    pub fn client_connection(&self, broker: usize, client_id: &str) -> Option<ConnectionId> {
        self.brokers.get(broker)?.clients.get(client_id).copied()
    }

    /// Whether a connection is open but never served.
    pub fn is_mute(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|state| state.mute)
    }

    /// Frames received, in order; answers of clients to requests of brokers included.
    pub fn frames(&self) -> &[FrameRecord] {
        &self.frames
    }

    /// Frames that a server received, with this code.
    pub fn frames_of(&self, node: Node, code: i32) -> Vec<&FrameRecord> {
        self.frames.iter().filter(|frame| frame.node == node && frame.code == code).collect()
    }

    /// Forgets the frames received so far.
    pub fn clear_frames(&mut self) {
        self.frames.clear();
    }

    /// Actions that wait to be polled.
    pub fn pending_actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter()
    }
}
