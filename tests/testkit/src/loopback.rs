//! The cluster behind real sockets of the loopback interface, on plain threads.
//!
//! [`LoopbackCluster`] plays every script of [`cluster`](crate::cluster) over TCP: any client can
//! connect, whatever runtime it uses. Time is real, so delays take as long as they say.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cluster::{
    Action, ActionKind, Cluster, ClusterConfig, ConnectionId, Listener, Node, Process,
};

mod port;
mod socks;

pub(crate) use port::{AcceptThread, listen};
use port::{Mode, Port};
pub use socks::{ProxyFault, ProxyRecord, ProxySettings, SocksProxy};

// A client that does not read for this long loses its connection: it must not stop the timer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Name servers and brokers on loopback ports.
///
/// Ends with all its threads and sockets when dropped.
///
/// # Examples
///
/// ```
/// use rocketmq_testkit::LoopbackCluster;
/// use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
///
/// let cluster = LoopbackCluster::start(ClusterConfig::new().brokers(2).topic("Orders", 4))?;
/// cluster.with(|cluster| {
///     cluster.script(Node::Broker(0), Rule::sends().times(2), Fault::answer(2, "busy"));
/// });
/// println!("connect to {}", cluster.name_server_addresses());
/// // … run the client …
/// assert_eq!(cluster.with(|cluster| cluster.stored("Orders").len()), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LoopbackCluster {
    shared: Arc<Shared>,
    timer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    inner: Mutex<Inner>,
    /// Readers of stalled servers wait here.
    changed: Condvar,
    /// The timer waits here.
    due: Condvar,
    /// Taken before `inner`, never while holding it.
    ports: Mutex<BTreeMap<(Node, Gate), Port>>,
}

/// Which of a server's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gate {
    Own,
    Vip,
}

#[derive(Debug)]
struct Inner {
    cluster: Cluster,
    sockets: BTreeMap<ConnectionId, Arc<Socket>>,
    delayed: BTreeMap<(u64, u64), Action>,
    /// Actions of stalled servers.
    held: Vec<Action>,
    sequence: u64,
    next_connection: u64,
    stopping: bool,
    readers: Vec<JoinHandle<()>>,
}

/// One accepted connection.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    pending: Mutex<Vec<ActionKind>>,
    /// Held by whoever writes.
    writer: Mutex<()>,
}

impl LoopbackCluster {
    /// Starts all servers of the cluster on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When the system gives no port or no thread.
    pub fn start(config: ClusterConfig) -> io::Result<Self> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut cluster = Cluster::new(config.wall_start_ms(wall.as_millis() as i64));
        let mut ports = BTreeMap::new();
        for node in cluster.nodes() {
            if cluster.vip_address(node).is_some() {
                let (port, vip) = Port::reserve_pair()?;
                cluster.set_address(node, port.address());
                ports.insert((node, Gate::Own), port);
                ports.insert((node, Gate::Vip), vip);
                continue;
            }
            let port = Port::reserve()?;
            cluster.set_address(node, port.address());
            ports.insert((node, Gate::Own), port);
        }
        let shared = Arc::new(Shared {
            start: Instant::now(),
            inner: Mutex::new(Inner {
                cluster,
                sockets: BTreeMap::new(),
                delayed: BTreeMap::new(),
                held: Vec::new(),
                sequence: 0,
                next_connection: 0,
                stopping: false,
                readers: Vec::new(),
            }),
            changed: Condvar::new(),
            due: Condvar::new(),
            ports: Mutex::new(ports),
        });
        let mut started = Self { shared: Arc::clone(&shared), timer: None };
        started.shared.settle_ports()?;
        let timer = thread::Builder::new().name("cluster timer".into());
        started.timer = Some(timer.spawn(move || shared.run_timer())?);
        Ok(started)
    }

    /// The name servers as clients take them: `127.0.0.1:p;127.0.0.1:q`.
    pub fn name_server_addresses(&self) -> String {
        let addresses: Vec<_> = self.with(|cluster| {
            let nodes = cluster.nodes().into_iter();
            nodes
                .filter(|node| matches!(node, Node::NameServer(_)))
                .map(|node| cluster.address(node).to_string())
                .collect()
        });
        addresses.join(";")
    }

    /// Where a server listens.
    pub fn address(&self, node: Node) -> SocketAddr {
        self.with(|cluster| cluster.address(node))
    }

    /// Scripts and inspects the cluster, with the clock set to now.
    ///
    /// When it returns, what was asked for has happened: killed servers refuse connections,
    /// restarted ones listen.
    ///
    /// # Panics
    ///
    /// When a restarted server cannot listen on its port again.
    pub fn with<T>(&self, use_cluster: impl FnOnce(&mut Cluster) -> T) -> T {
        let result = self.shared.apply(use_cluster);
        if let Err(error) = self.shared.settle_ports() {
            panic!("a server cannot listen on its port: {error}");
        }
        result
    }

    /// Waits until the cluster satisfies a condition; `false` when it took too long.
    ///
    /// Oneway sends, heartbeats and closed connections have no answer to wait for.
    pub fn wait_until(&self, patience: Duration, condition: impl Fn(&mut Cluster) -> bool) -> bool {
        let give_up = Instant::now() + patience;
        loop {
            if self.with(&condition) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends all servers, their threads and sockets.
    pub fn stop(self) {}
}

impl Drop for LoopbackCluster {
    fn drop(&mut self) {
        {
            let mut inner = self.shared.lock();
            inner.stopping = true;
            for socket in inner.sockets.values() {
                // The peer may be gone already.
                let _ = socket.stream.shutdown(Shutdown::Both);
            }
            inner.sockets.clear();
        }
        self.shared.changed.notify_all();
        self.shared.due.notify_all();
        lock(&self.shared.ports).clear();
        let readers = std::mem::take(&mut self.shared.lock().readers);
        for thread in readers.into_iter().chain(self.timer.take()) {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Does something to the cluster and then what the cluster wants done.
    fn apply<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let mut inner = self.lock();
        let now_ns = self.now_ns();
        inner.cluster.set_now(now_ns);
        let result = change(&mut inner.cluster);
        self.finish(inner, now_ns);
        result
    }

    /// Releases the lock and writes what is due.
    fn finish(&self, mut inner: MutexGuard<'_, Inner>, now_ns: u64) {
        let touched = inner.collect(now_ns);
        let timer_waits = !inner.delayed.is_empty();
        drop(inner);
        self.changed.notify_all();
        if timer_waits {
            self.due.notify_all();
        }
        for socket in touched {
            socket.flush();
        }
    }

    fn run_timer(&self) {
        loop {
            let inner = self.lock();
            if inner.stopping {
                return;
            }
            let now_ns = self.now_ns();
            let next = inner.delayed.first_key_value().map(|((at_ns, _), _)| *at_ns);
            match next {
                Some(at_ns) if at_ns <= now_ns => {
                    let touched = { inner }.collect(now_ns);
                    for socket in touched {
                        socket.flush();
                    }
                }
                Some(at_ns) => {
                    let wait = Duration::from_nanos(at_ns - now_ns);
                    drop(self.due.wait_timeout(inner, wait));
                }
                None => drop(self.due.wait(inner)),
            }
        }
    }

    /// Makes every port do what its server's state says.
    fn settle_ports(self: &Arc<Self>) -> io::Result<()> {
        let mut ports = lock(&self.ports);
        let wanted: Vec<_> = {
            let inner = self.lock();
            let mode = |node| {
                let state = inner.cluster.node_state(node);
                match (state.listener, state.process) {
                    (Listener::BlackHole, _) => Mode::Hole,
                    (_, Process::Dead) | (Listener::Refusing, _) => Mode::Closed,
                    (Listener::Open | Listener::Mute, _) => Mode::Accepting,
                }
            };
            ports.keys().map(|(node, gate)| (*node, *gate, mode(*node))).collect()
        };
        for (node, gate, mode) in wanted {
            let Some(port) = ports.get_mut(&(node, gate)) else {
                continue;
            };
            let shared = Arc::clone(self);
            port.change(mode, move |stream| shared.connected(node, gate, stream))?;
        }
        Ok(())
    }

    fn connected(self: &Arc<Self>, node: Node, gate: Gate, stream: TcpStream) {
        // Both only shape timing; a socket that refuses them is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let mut inner = self.lock();
        if inner.stopping {
            return;
        }
        inner.next_connection += 1;
        let connection = ConnectionId(inner.next_connection);
        let socket =
            Arc::new(Socket { stream, pending: Mutex::new(Vec::new()), writer: Mutex::new(()) });
        inner.sockets.insert(connection, Arc::clone(&socket));
        let now_ns = self.now_ns();
        inner.cluster.handle_connected(now_ns, node, connection);
        if gate == Gate::Vip {
            inner.cluster.mark_vip(connection);
        }
        let shared = Arc::clone(self);
        let reader = thread::Builder::new().name(format!("{node:?} {}", connection.0));
        let reader = reader.spawn(move || shared.serve(node, connection, &socket));
        inner.readers.retain(|reader| !reader.is_finished());
        // Without a thread the socket is dropped with the closure, and the client sees it close.
        inner.readers.extend(reader);
        self.finish(inner, now_ns);
    }

    /// Reads one connection to its end.
    fn serve(&self, node: Node, connection: ConnectionId, socket: &Socket) {
        let mut buffer = vec![0; 64 * 1024];
        while self.wait_readable(node, connection) {
            match (&socket.stream).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.apply(|cluster| {
                    let now_ns = cluster.now_ns();
                    cluster.handle_bytes(now_ns, node, connection, &buffer[..count]);
                }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.apply(|cluster| {
            let now_ns = cluster.now_ns();
            cluster.handle_closed(now_ns, connection);
        });
        // A delayed end still needs the socket, if it has one to come.
        self.lock().sockets.remove(&connection);
    }

    /// Waits while nobody would read; `false` when the connection is over.
    fn wait_readable(&self, node: Node, connection: ConnectionId) -> bool {
        let mut inner = self.lock();
        loop {
            if inner.stopping || !inner.sockets.contains_key(&connection) {
                return false;
            }
            let stalled = inner.cluster.node_state(node).process == Process::Stalled;
            if !stalled && !inner.cluster.is_mute(connection) {
                return true;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Inner {
    /// Hands due actions to their sockets and returns those, to be flushed without the lock.
    fn collect(&mut self, now_ns: u64) -> Vec<Arc<Socket>> {
        self.cluster.set_now(now_ns);
        let mut due = std::mem::take(&mut self.held);
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now_ns {
                break;
            }
            due.push(entry.remove());
        }
        let mut touched: BTreeMap<ConnectionId, Arc<Socket>> = BTreeMap::new();
        for action in due {
            if self.is_stalled(action.node) {
                self.held.push(action);
            } else {
                self.hand_over(action, &mut touched);
            }
        }
        while let Some(action) = self.cluster.poll_action() {
            let is_write = matches!(action.kind, ActionKind::Write(_));
            if action.at_ns > now_ns {
                self.sequence += 1;
                self.delayed.insert((action.at_ns, self.sequence), action);
            } else if is_write && self.is_stalled(action.node) {
                self.held.push(action);
            } else {
                self.hand_over(action, &mut touched);
            }
        }
        touched.into_values().collect()
    }

    fn is_stalled(&self, node: Node) -> bool {
        self.cluster.node_state(node).process == Process::Stalled
    }

    fn hand_over(&mut self, mut action: Action, touched: &mut BTreeMap<ConnectionId, Arc<Socket>>) {
        let socket = match &action.kind {
            ActionKind::Wake => {
                return self.cluster.handle_wake(self.cluster.now_ns(), action.node);
            }
            ActionKind::Write(_) => self.sockets.get(&action.connection).cloned(),
            ActionKind::Close | ActionKind::Reset => self.sockets.remove(&action.connection),
        };
        let Some(socket) = socket else { return };
        let bytes = self.cluster.seal(action.node, action.connection, &mut action.kind);
        let mut pending = lock(&socket.pending);
        // One system call for all answers to what was read at once.
        match (pending.last_mut(), bytes) {
            (_, None) => {}
            (Some(ActionKind::Write(last)), Some(bytes)) => last.extend(bytes),
            (_, Some(bytes)) => pending.push(ActionKind::Write(bytes)),
        }
        if !matches!(action.kind, ActionKind::Write(_)) {
            pending.push(action.kind);
        }
        drop(pending);
        touched.insert(action.connection, socket);
    }
}

impl Socket {
    /// Does what is pending, unless another thread is at it: that one looks again afterwards.
    fn flush(&self) {
        while !lock(&self.pending).is_empty() {
            let Ok(_writer) = self.writer.try_lock() else {
                return;
            };
            let pending = std::mem::take(&mut *lock(&self.pending));
            for kind in pending {
                self.act(kind);
            }
        }
    }

    // Errors mean that the connection is over; its reader finds out by itself.
    fn act(&self, kind: ActionKind) {
        match kind {
            ActionKind::Write(bytes) => {
                if (&self.stream).write_all(&bytes).is_err() {
                    let _ = self.stream.shutdown(Shutdown::Both);
                }
            }
            ActionKind::Close => {
                let _ = self.stream.shutdown(Shutdown::Both);
            }
            ActionKind::Wake => {}
            ActionKind::Reset => {
                // Without lingering the last drop sends RST. Ending only the reading direction
                // wakes the reader, which holds the socket, and says nothing to the client yet.
                let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                let _ = self.stream.shutdown(Shutdown::Read);
            }
        }
    }
}

/// A lock that a panicking test does not poison: the state behind it is whole after every call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any free port of 127.0.0.1.
pub(crate) const LOCALHOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
