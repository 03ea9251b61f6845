//! A network in virtual time: connections that behave like TCP, and the servers at their far end.
//!
//! Connections carry bytes in order, but late, in any pieces, at any bandwidth, and may be cut
//! anywhere, fall silent or be refused. Nothing is lost or overtaken inside of one; several race.
//! Time is a number that the host moves forward: it asks when something is [due](Network::next_at),
//! moves the [clock](Network::advance), lets it [happen](Network::step) and reads the
//! [notices](Network::poll_notice).
//!
//! The clients' ends belong to the host: [`World`](crate::world::World) holds machines of
//! `rocketmq-core` there.
//!
//! # Chance
//!
//! Everything that is drawn comes from one seed, by SplitMix64. Each connection has a stream of
//! its own, forked from the seed by its number, so what one connection draws leaves the others
//! alone, and a new kind of fault does not change what an old seed does elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::cluster::{Action, Cluster, ClusterConfig, Listener, Node};

mod link;
mod random;
mod traffic;

pub use link::{Cut, LinkProfile, Segmentation, Writes};
pub use random::Random;

use link::Link;
pub(crate) use random::nanos;

/// A connection, or the dial for one; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a client's end of a connection learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The dial has succeeded.
    Connected(LinkId),
    /// The dial has failed; the connection is gone.
    Failed(LinkId, DialFailure),
    /// There is something to [`read`](Network::read).
    Readable(LinkId),
    /// A [`write`](Network::write) that found no room may be tried again.
    Writable(LinkId),
    /// Nothing more comes, after what can be read. Reset: nothing can be written either.
    Ended(LinkId, End),
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// There is no way to that address.
    Unreachable,
    /// The name does not resolve.
    NoName,
}

/// How the far end finished a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Eof,
    /// With an error.
    Reset,
}

/// How a dial to a server ends, whatever the server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// Refused.
    Refused,
    /// No answer.
    BlackHole,
    /// The name does not resolve.
    NoName,
    /// Accepted, and closed at once.
    ClosedAtOnce,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// Servers, and the connections to them.
pub struct Network {
    seed: u64,
    now: u64,
    cluster: Cluster,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    profile: LinkProfile,
    profiles: BTreeMap<Node, LinkProfile>,
    dial_faults: BTreeMap<Node, DialFault>,
    aliases: BTreeMap<String, Node>,
    /// Where nothing gets through for now: client and server, one way.
    partitions: BTreeSet<(usize, Node, Direction)>,
    /// How many of a million bytes are changed on the way.
    corruption: BTreeMap<Node, u64>,
    /// What will happen: by time, then in order.
    agenda: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Actions of servers that stand still.
    held: Vec<Action>,
    notices: VecDeque<Notice>,
}

/// Something that will happen.
enum Event {
    Dialled(LinkId),
    ToServer(LinkId),
    ToClient(LinkId),
    EndToServer(LinkId),
    EndToClient(LinkId, End),
    Writable(LinkId),
    Act(Action),
}

impl Network {
    /// A network with these servers and no connection.
    pub fn new(seed: u64, cluster: ClusterConfig) -> Self {
        Self {
            seed,
            now: 0,
            cluster: Cluster::new(cluster),
            links: BTreeMap::new(),
            next_link: 1,
            profile: LinkProfile::default(),
            profiles: BTreeMap::new(),
            dial_faults: BTreeMap::new(),
            aliases: BTreeMap::new(),
            partitions: BTreeSet::new(),
            corruption: BTreeMap::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            held: Vec::new(),
            notices: VecDeque::new(),
        }
    }

    // ---- Time -------------------------------------------------------------------------------

    /// Nanoseconds since the network began.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// When the next thing happens, if nobody does anything before.
    pub fn next_at(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|(key, _)| key.0)
    }

    /// Moves the clock to `to`; it never goes back. What is due by then is still to be done.
    pub fn advance(&mut self, to: u64) {
        self.now = self.now.max(to);
        self.cluster.set_now(self.now);
    }

    /// Does the first thing that is due. Whether there was one.
    pub fn step(&mut self) -> bool {
        if self.next_at().is_none_or(|at| at > self.now) {
            return false;
        }
        if let Some((_, event)) = self.agenda.pop_first() {
            self.happen(event);
        }
        true
    }

    /// The next thing that a client's end learns.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    // ---- The clients' ends ------------------------------------------------------------------

    /// Dials an address, `host:port`. A [`Notice`] tells what comes of it, if anything does.
    pub fn dial(&mut self, client: usize, address: &str) -> LinkId {
        let node = self.resolve(address);
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let profile = node.and_then(|node| self.profiles.get(&node)).unwrap_or(&self.profile);
        let random = Random::new(self.seed).fork(id.0);
        let mut link = Link::new(client, node, address.to_owned(), profile.clone(), random);
        let jitter = link.profile.jitter;
        let wait = nanos(link.profile.connect).saturating_add(link.random.up_to(jitter));
        self.links.insert(id, link);
        self.plan(self.now.saturating_add(wait), Event::Dialled(id));
        id
    }

    /// Puts bytes into the socket and says how many it took. If fewer than all, a notice tells
    /// when there is room again.
    pub fn write(&mut self, id: LinkId, bytes: &[u8]) -> usize {
        self.put(id, bytes)
    }

    /// The next piece of what has arrived, as long as the link cuts it.
    pub fn read(&mut self, id: LinkId) -> Option<Vec<u8>> {
        self.links.get_mut(&id)?.next_piece()
    }

    /// Closes the client's end; what the socket has taken still arrives. Ends a dial as well.
    pub fn close(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client_open) else {
            return;
        };
        link.client_open = false;
        let at = link.arrival(now).max(link.to_server.last_arrival);
        self.plan(at, Event::EndToServer(id));
        self.tidy(id);
    }

    /// Which server a connection leads to.
    pub fn node(&self, id: LinkId) -> Option<Node> {
        self.links.get(&id)?.node
    }

    /// Whether the connection has a client's end, be it dialled yet or not.
    pub fn is_open(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.client_open)
    }

    /// Whether bytes may get through: it is not half-open, clogged or unread, and nothing waits.
    pub fn is_clear(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| {
            let clogged = link.clogged_to_server || link.clogged_to_client;
            !link.silent && !link.unread && !clogged && link.to_server.held == 0
        })
    }

    /// The connections of a client to a server, dials included.
    pub fn links(&self, client: usize, node: Node) -> Vec<LinkId> {
        let mine =
            |link: &Link| link.client == client && link.node == Some(node) && link.client_open;
        self.links.iter().filter(|(_, link)| mine(link)).map(|(id, _)| *id).collect()
    }

    /// The connections that have a client's end: number, client and dialled address.
    pub fn open_links(&self) -> impl Iterator<Item = (LinkId, usize, &str)> {
        let open = self.links.iter().filter(|(_, link)| link.client_open);
        open.map(|(id, link)| (*id, link.client, &*link.address))
    }

    // ---- The servers ------------------------------------------------------------------------

    /// The servers and what they saw.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Tells the servers something: scripts, states, routes.
    pub fn with<T>(&mut self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        self.cluster.set_now(self.now);
        let result = change(&mut self.cluster);
        // A server that works again finds what piled up.
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.plan(self.now, Event::ToServer(id));
        }
        for action in std::mem::take(&mut self.held) {
            self.plan(self.now.max(action.at_ns), Event::Act(action));
        }
        self.absorb();
        result
    }

    /// The server that listens at an address.
    pub fn resolve(&self, address: &str) -> Option<Node> {
        let known = self.aliases.get(address).copied();
        known.or_else(|| self.cluster.node_at(address))
    }

    /// Another address, as `host:port`, under which a server is reached.
    pub fn alias(&mut self, address: &str, node: Node) {
        self.aliases.insert(address.to_owned(), node);
    }

    // ---- Settings and faults ----------------------------------------------------------------

    /// How new connections behave.
    pub fn set_profile(&mut self, profile: LinkProfile) {
        self.profile = profile;
    }

    /// How new connections to one server behave.
    pub fn set_profile_of(&mut self, node: Node, profile: LinkProfile) {
        self.profiles.insert(node, profile);
    }

    /// How connections to a server behave from now on, live ones too; `None`: as all others.
    pub fn reshape(&mut self, node: Node, profile: Option<LinkProfile>) {
        let wanted = profile.clone().unwrap_or_else(|| self.profile.clone());
        for link in self.links.values_mut().filter(|link| link.node == Some(node)) {
            link.profile = wanted.clone();
        }
        match profile {
            Some(profile) => self.profiles.insert(node, profile),
            None => self.profiles.remove(&node),
        };
        self.hasten(node);
    }

    /// How connections behave if nothing else is said.
    pub fn profile(&self) -> &LinkProfile {
        &self.profile
    }

    /// How new dials to one server end; `None`: as the server's state says.
    pub fn set_dial_fault(&mut self, node: Node, fault: Option<DialFault>) {
        match fault {
            Some(fault) => self.dial_faults.insert(node, fault),
            None => self.dial_faults.remove(&node),
        };
    }

    /// Makes the live connections of a server half-open: nothing gets through any more.
    pub fn silence(&mut self, node: Node) {
        for link in self.links.values_mut().filter(|link| link.node == Some(node)) {
            link.silent = true;
        }
    }

    /// The server stops to read from its live connections.
    pub fn stop_reading(&mut self, node: Node) {
        for link in self.links.values_mut().filter(|link| link.node == Some(node)) {
            link.unread = true;
        }
    }

    /// Cuts the live connections of a server once so many more bytes have gone towards it.
    pub fn cut_outgoing(&mut self, node: Node, more: u64, cut: Cut) {
        for link in self.links.values_mut().filter(|link| link.node == Some(node)) {
            link.to_server.cut = Some((link.to_server.written + more, cut));
        }
    }

    /// Cuts the live connections of a server once so many more bytes have come from it.
    pub fn cut_incoming(&mut self, node: Node, more: u64, cut: Cut) {
        for link in self.links.values_mut().filter(|link| link.node == Some(node)) {
            link.to_client.cut = Some((link.to_client.written + more, cut));
        }
    }

    /// Takes back every cut that has not happened yet.
    pub fn disarm(&mut self) {
        for link in self.links.values_mut() {
            (link.to_server.cut, link.to_client.cut) = (None, None);
        }
    }

    /// From now on nothing gets through between a client and a server, one way. What is written
    /// waits, as with TCP, and goes on after [`rejoin`](Self::rejoin). Dials wait as well.
    pub fn part(&mut self, client: usize, node: Node, direction: Direction) {
        self.partitions.insert((client, node, direction));
    }

    /// Ends a [partition](Self::part). What waited arrives within `spread`.
    pub fn rejoin(&mut self, client: usize, node: Node, direction: Direction, spread: Duration) {
        if !self.partitions.remove(&(client, node, direction)) {
            return;
        }
        // Those that the client has closed meanwhile as well: what they carry still arrives.
        let mine = |link: &Link| link.client == client && link.node == Some(node);
        let links = self.links.iter().filter(|(_, link)| mine(link));
        let ids: Vec<_> = links.map(|(id, _)| *id).collect();
        for id in ids {
            self.revive(id, spread);
        }
    }

    /// Ends every partition and every clogged connection.
    pub fn rejoin_all(&mut self, spread: Duration) {
        self.partitions.clear();
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.unclog(id, spread);
        }
    }

    /// Stops one connection, both ways, until it is [unclogged](Self::unclog).
    pub fn clog(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            (link.clogged_to_server, link.clogged_to_client) = (true, true);
        }
    }

    /// Lets a clogged connection go on. What waited arrives within `spread`.
    pub fn unclog(&mut self, id: LinkId, spread: Duration) {
        if let Some(link) = self.links.get_mut(&id) {
            (link.clogged_to_server, link.clogged_to_client) = (false, false);
            self.revive(id, spread);
        }
    }

    /// Changes so many of a million bytes to and from a server; 0 ends it.
    pub fn corrupt(&mut self, node: Node, per_million: u64) {
        self.corruption.insert(node, per_million);
    }

    /// A middlebox delivers everything that a client has sent on a live connection of a server
    /// that is [recorded](LinkProfile::recorded)
    /// once more, on a connection of its own. Nobody gets the answers.
    pub fn replay(&mut self, node: Node) {
        let recorded: Vec<Vec<u8>> = self
            .links
            .values()
            .filter(|link| link.node == Some(node) && link.server_open)
            .map(|link| link.recorded.clone())
            .collect();
        for bytes in recorded {
            self.deliver_again(node, &bytes);
        }
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.agenda.insert((at, self.sequence), event);
    }

    /// Whether nothing gets through on a connection, one way, for now.
    fn is_stopped(&self, link: &Link, direction: Direction) -> bool {
        let clogged = match direction {
            Direction::ToServer => link.clogged_to_server,
            Direction::ToClient => link.clogged_to_client,
        };
        let parted =
            link.node.is_some_and(|node| self.partitions.contains(&(link.client, node, direction)));
        clogged || parted
    }

    /// Whether a dial gets no answer at all.
    fn is_hole(&self, node: Node) -> bool {
        match self.dial_faults.get(&node) {
            Some(DialFault::BlackHole) => true,
            Some(_) => false,
            None => self.cluster.node_state(node).listener == Listener::BlackHole,
        }
    }
}
