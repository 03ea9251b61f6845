//! Every case in the simulation: virtual time, simulated connections, and a seed that decides
//! which task is next. Each case is run under several seeds.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use rocketmq_driver::{Client, ClientOptions, Config};
use rocketmq_suite::conformance::{BoxFuture, Harness, Mortal, Park, Servers};
use rocketmq_testkit::cluster::{Cluster, ClusterConfig, Node};
use rocketmq_testkit::sim::Guest;
use rocketmq_testkit::{Sim, SimHandle};

struct Simulated {
    sim: Mutex<Sim>,
    handle: SimHandle,
}

impl Harness for Simulated {
    type Cluster = SimServers;

    /// What comes on time comes to the nanosecond; some cases add a way to a broker and back.
    const TOLERANCE: Duration = Duration::from_millis(2);

    const RUNS: u64 = 8;

    fn new(run: u64) -> Simulated {
        let sim = Sim::new(run, ClusterConfig::new());
        let handle = sim.handle();
        Simulated { sim: Mutex::new(sim), handle }
    }

    fn cluster(&self, config: ClusterConfig) -> SimServers {
        // The first one as well: the simulation was made before the case said what it needs.
        self.handle.replace_cluster(config);
        SimServers(self.handle.clone())
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.sim.lock().unwrap().run(async |_| future.await)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(future));
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.handle.sleep(time)
    }

    fn now(&self) -> Duration {
        self.handle.now()
    }

    fn thread<T: Send + 'static>(
        &self,
        body: impl FnOnce(&dyn Park) -> T + Send + 'static,
    ) -> impl Future<Output = T> {
        self.handle.thread(move |guest| body(&Lockstep(guest)))
    }

    fn start(&self, options: impl Into<ClientOptions>) -> Client {
        self.handle.start(options)
    }

    fn client(&self, config: Config) -> (Client, BoxFuture) {
        let (client, driver) = Client::new(config, self.handle.runtime());
        (client, Box::pin(driver))
    }

    fn mortal(&self) -> Box<dyn Mortal> {
        Box::new(Process(self.handle.process()))
    }
}

/// The servers of the simulation; there is one cluster at a time.
struct SimServers(SimHandle);

impl Servers for SimServers {
    fn name_server_addresses(&self) -> String {
        let addresses: Vec<String> = self.0.look(|cluster| {
            let nodes = cluster.nodes().into_iter();
            let names = nodes.filter(|node| matches!(node, Node::NameServer(_)));
            names.map(|node| cluster.address(node).to_string()).collect()
        });
        addresses.join(";")
    }

    fn address(&self, node: Node) -> SocketAddr {
        self.0.look(|cluster| cluster.address(node))
    }

    fn address_by_name(&self, node: Node) -> String {
        let name = match node {
            Node::NameServer(index) => format!("names-{index}.test:9876"),
            Node::Broker(index) => format!("broker-{index}.test:10911"),
        };
        self.0.with_network(|network| network.alias(&name, node));
        name
    }

    fn with<T>(&self, use_cluster: impl FnOnce(&mut Cluster) -> T) -> T {
        self.0.with(use_cluster)
    }
}

/// A real thread that parks in lockstep with the virtual time.
struct Lockstep<'a>(&'a Guest);

impl Park for Lockstep<'_> {
    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn park(&self) {
        self.0.park();
    }
}

/// A process of the simulation: what dies with it is what dies with a runtime.
struct Process(SimHandle);

impl Mortal for Process {
    fn start(&self, config: Config) -> Client {
        self.0.start(config)
    }

    fn spawn(&self, future: BoxFuture) {
        drop(self.0.spawn(future));
    }

    fn end(self: Box<Self>) {
        self.0.kill();
    }
}

rocketmq_suite::conformance!(Simulated);
