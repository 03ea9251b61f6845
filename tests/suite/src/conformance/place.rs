//! Where the cases run: the servers that a runtime reaches, and the threads beside it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Cluster, Node};

/// Name servers and brokers as the cases use them. Dropping it ends them all.
pub trait Servers: Send + Sync {
    /// The name servers as clients take them.
    fn name_server_addresses(&self) -> String;

    /// Where a server listens.
    fn address(&self, node: Node) -> SocketAddr;

    /// Where a server listens, with a name for its host.
    fn address_by_name(&self, node: Node) -> String;

    /// Scripts and inspects them.
    fn with<T>(&self, use_cluster: impl FnOnce(&mut Cluster) -> T) -> T;
}

impl Servers for LoopbackCluster {
    fn name_server_addresses(&self) -> String {
        LoopbackCluster::name_server_addresses(self)
    }

    fn address(&self, node: Node) -> SocketAddr {
        LoopbackCluster::address(self, node)
    }

    /// `localhost` may stand for several addresses, of which only one listens.
    fn address_by_name(&self, node: Node) -> String {
        format!("localhost:{}", LoopbackCluster::address(self, node).port())
    }

    fn with<T>(&self, use_cluster: impl FnOnce(&mut Cluster) -> T) -> T {
        LoopbackCluster::with(self, use_cluster)
    }
}

/// How a thread waits that knows nothing of runtimes.
pub trait Park {
    /// Ends one [`Park::park`], also one that comes later. May be called from anywhere.
    fn waker(&self) -> Waker;

    /// Waits for the waker; may end without a reason.
    fn park(&self);
}

/// Parks the thread itself.
pub(super) struct ThisThread(Arc<Unpark>);

struct Unpark(Thread);

impl ThisThread {
    pub(super) fn new() -> ThisThread {
        ThisThread(Arc::new(Unpark(thread::current())))
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Park for ThisThread {
    fn waker(&self) -> Waker {
        Arc::clone(&self.0).into()
    }

    fn park(&self) {
        thread::park();
    }
}

/// The real time, since some moment.
pub(super) fn real_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
