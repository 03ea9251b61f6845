//! What a test does in a simulation.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rocketmq_driver::runtime::Timer;
use rocketmq_driver::{Client, ClientOptions, Config, ConfigBuilder, Producer};

use super::executor::Core;
use super::guest::{self, Guest};
use super::stream::{SimRuntime, SimTimer};
use super::task::{self, SimTask};
use crate::cluster::{Cluster, ClusterConfig, Node};
use crate::network::{Direction, LinkProfile, Network, Random, Segmentation, Writes, nanos};

/// A simulation, seen from inside: its clock, its servers, its links, its tasks.
///
/// [`Sim::run`](super::Sim::run) gives one to the test. Clones are cheap and mean the same
/// simulation; give them to tasks, and to a service under test that needs to sleep. Times are
/// virtual: only what waits makes the clock move.
#[derive(Clone)]
pub struct SimHandle {
    pub(super) core: Arc<Core>,
    process: u64,
}

/// Time.
impl SimHandle {
    /// Time since the simulation began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.now())
    }

    /// Waits, from the call on.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut timer = SimTimer::at(&self.core, self.core.now().saturating_add(nanos(time)));
        poll_fn(move |cx| timer.poll(cx))
    }

    /// What `future` gives, or `None` if it takes longer than `limit`. It is dropped then.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut over = pin!(self.sleep(limit));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => over.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Waits until the servers satisfy a condition, at most for `limit`. Whether they do.
    pub async fn wait_until(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&Cluster) -> bool,
    ) -> bool {
        let end = self.now().saturating_add(limit);
        while !self.look(&mut condition) {
            if self.now() >= end {
                return false;
            }
            self.sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// The wall clock in Unix milliseconds. It goes with the virtual time, from
    /// [`ClusterConfig::wall_start_ms`] on.
    pub fn wall_ms(&self) -> i64 {
        self.core.wall_ms()
    }

    /// Sets the wall clock of all clients, as an operator or NTP does. Nothing but the times in
    /// messages and ids may change by that.
    pub fn jump_wall(&self, to_ms: i64) {
        self.core.set_wall_ms(to_ms);
    }
}

/// Chance.
impl SimHandle {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// A generator for what the test itself wants to leave to chance. It follows from the seed,
    /// and is another one at each call.
    pub fn random(&self) -> Random {
        self.core.fork_random()
    }
}

/// Clients and tasks.
impl SimHandle {
    /// Settings for a client of this simulation's name servers.
    pub fn config(&self) -> ConfigBuilder {
        let servers = self.look(|cluster| {
            let nodes = cluster.nodes().into_iter();
            let names = nodes.filter(|node| matches!(node, Node::NameServer(_)));
            names.map(|node| cluster.address(node).to_string()).collect::<Vec<_>>()
        });
        Config::builder(&servers.join(";"))
    }

    /// Starts a client, which gets an address of its own.
    pub fn start(&self, options: impl Into<ClientOptions>) -> Client {
        Client::start_with(options, self.runtime())
    }

    /// A producer of `group` with a client of its own, and with default settings.
    ///
    /// # Panics
    /// If the name of the group is not legal, or this [process](SimHandle::process) was killed.
    pub fn producer(&self, group: &str) -> Producer {
        let config = self.config().build().expect("the addresses of the simulation are legal");
        let producer = self.start(config).producer(group);
        producer.unwrap_or_else(|error| panic!("no producer of group {group}: {error}"))
    }

    /// A runtime for one client more, for those who drive it themselves.
    pub fn runtime(&self) -> SimRuntime {
        let mut state = self.core.state();
        let client = state.clients;
        state.clients += 1;
        for node in state.parted.clone() {
            for direction in [Direction::ToServer, Direction::ToClient] {
                state.network.part(client, node, direction);
            }
        }
        drop(state);
        SimRuntime { core: Arc::clone(&self.core), client, process: self.process }
    }

    /// Starts a task. It goes on if what this returns is dropped.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> SimTask<T> {
        let (task, future) = task::new(future);
        self.core.spawn(self.process, future);
        task
    }

    /// The same simulation, as another process sees it: the clients and tasks that are started
    /// with it end together, by [`kill`](SimHandle::kill).
    #[must_use]
    pub fn process(&self) -> SimHandle {
        let mut state = self.core.state();
        state.processes += 1;
        let process = state.processes;
        drop(state);
        SimHandle { core: Arc::clone(&self.core), process }
    }

    /// Ends a [process](SimHandle::process) like SIGKILL: its tasks are dropped where they stand,
    /// its connections close, and what is started with it later is dropped at once.
    pub fn kill(&self) {
        self.core.kill(self.process);
    }

    /// Runs `body` on a real thread, in lockstep: while it runs, the simulation stands still, and
    /// when it [waits](Guest::block_on), the simulation goes on.
    ///
    /// For code that uses handles of clients without any runtime. A thread that waits in another
    /// way stops the simulation for as long.
    pub fn thread<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Guest) -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        guest::start(&self.core, body)
    }
}

/// Servers and their faults.
impl SimHandle {
    /// Scripts and inspects the servers. See [`Cluster`] for all that they can be told.
    ///
    /// # Panics
    /// If the closure calls the simulation: it has to come back first.
    pub fn with<T>(&self, use_cluster: impl FnOnce(&mut Cluster) -> T) -> T {
        self.core.with_network(|network| network.with(use_cluster))
    }

    /// Asks the servers, and changes nothing.
    ///
    /// # Panics
    /// As [`SimHandle::with`].
    pub fn look<T>(&self, ask: impl FnOnce(&Cluster) -> T) -> T {
        self.core.with_network(|network| ask(network.cluster()))
    }

    /// Tells the servers something later, whatever the test waits for by then.
    pub fn after(&self, delay: Duration, use_cluster: impl FnOnce(&mut Cluster) + Send + 'static) {
        let at = self.core.now().saturating_add(nanos(delay));
        let call = Box::new(move |network: &mut Network| network.with(use_cluster));
        self.core.state().plan(at, call);
    }

    /// Replaces all servers by new and empty ones. Every connection is reset.
    pub fn replace_cluster(&self, config: ClusterConfig) {
        let mut state = self.core.state();
        state.note("the servers are replaced");
        let wakers = state.replace_network(self.core.seed, config);
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Connections and their faults.
///
/// These act on the connections of all clients alike. For more, and for finer ones, see
/// [`SimHandle::with_network`].
impl SimHandle {
    /// Cuts a server off: from now on nothing gets through, either way. Connections stay, what is
    /// written waits, and new dials hang, until [`rejoin`](SimHandle::rejoin).
    pub fn part(&self, node: Node) {
        let mut state = self.core.state();
        state.parted.insert(node);
        state.note(&format!("{node:?} is cut off"));
        for client in 0..state.clients {
            for direction in [Direction::ToServer, Direction::ToClient] {
                state.network.part(client, node, direction);
            }
        }
    }

    /// Ends what [`part`](SimHandle::part) began; what waited arrives at once.
    pub fn rejoin(&self, node: Node) {
        let mut state = self.core.state();
        state.parted.remove(&node);
        state.note(&format!("{node:?} is reached again"));
        for client in 0..state.clients {
            for direction in [Direction::ToServer, Direction::ToClient] {
                state.network.rejoin(client, node, direction, Duration::ZERO);
            }
        }
    }

    /// Makes the live connections of a server half-open for good, as when a firewall forgets them:
    /// nobody gets an error, and nothing arrives. New connections work.
    pub fn silence(&self, node: Node) {
        let mut state = self.core.state();
        state.note(&format!("{node:?} is silenced"));
        state.network.silence(node);
    }

    /// How long bytes take from now on to one server and back, each way.
    pub fn set_delay(&self, node: Node, delay: Duration) {
        self.core.with_network(|network| {
            let profile = LinkProfile { delay, ..network.profile().clone() };
            network.reshape(node, Some(profile));
        });
    }

    /// How new connections behave, unless something else was said of their server.
    pub fn set_profile(&self, profile: LinkProfile) {
        self.core.with_network(|network| network.set_profile(profile));
    }

    /// Lets the seed choose how new connections behave: delays, jitter, small buffers, and bytes in
    /// any pieces. Worth a line at the begin of every test that is run over many seeds.
    pub fn rough_links(&self) {
        let mut random = self.random();
        let profile = LinkProfile {
            connect: Duration::from_micros(random.between(50, 20_000)),
            delay: Duration::from_micros(random.between(50, 10_000)),
            jitter: Duration::from_micros(random.between(0, 20_000)),
            segmentation: match random.below(4) {
                0 => Segmentation::Whole,
                1 => Segmentation::Bytes,
                _ => Segmentation::Random(random.between(2, 600) as usize),
            },
            buffer_bytes: random.between(500, 256 * 1024) as usize,
            writes: match random.below(4) {
                0 | 1 => Writes::Whole,
                2 => Writes::Partial,
                _ => Writes::Blocking,
            },
            ..LinkProfile::default()
        };
        self.note(&format!("{profile:?}"));
        self.set_profile(profile);
    }

    /// Everything that the network can do: cuts at a byte, dial faults, partitions one way,
    /// corruption, replays. Clients count from 0 in the order in which they were started.
    ///
    /// # Panics
    /// As [`SimHandle::with`].
    pub fn with_network<T>(&self, use_network: impl FnOnce(&mut Network) -> T) -> T {
        self.core.with_network(use_network)
    }
}

impl fmt::Debug for SimHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SimHandle");
        debug.field("seed", &self.seed()).field("now", &self.now()).finish_non_exhaustive()
    }
}

impl SimHandle {
    pub(super) fn new(core: &Arc<Core>) -> SimHandle {
        SimHandle { core: Arc::clone(core), process: 0 }
    }
}
