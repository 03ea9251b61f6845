//! What the driver needs of a runtime, over the simulated network.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use rocketmq_driver::runtime::{Instant, Runtime, Stream, Timer, WallTime, name_not_resolved};
use rocketmq_driver::{Address, Event};

use super::executor::Core;
use crate::network::{DialFailure, End, LinkId, Notice};

/// Bytes that are offered to a socket at once, at most.
const WRITE_MAX: usize = 256 * 1024;

/// Which network, and which of its connections.
pub(super) type SocketId = (u64, LinkId);

/// The client's end of a connection.
#[derive(Debug, Default)]
pub(super) struct Socket {
    dialled: Option<Result<(), DialFailure>>,
    ended: Option<End>,
    /// What was read from the network and found no room at the reader.
    rest: Vec<u8>,
    read: Option<Waker>,
    write: Option<Waker>,
}

impl Socket {
    /// Takes note of something. The wakers are to be woken without the lock.
    pub(super) fn heed(&mut self, notice: &Notice) -> Vec<Waker> {
        match notice {
            Notice::Connected(_) => self.dialled = Some(Ok(())),
            Notice::Failed(_, failure) => self.dialled = Some(Err(*failure)),
            Notice::Ended(_, end) => self.ended = Some(*end),
            Notice::Readable(_) => return self.read.take().into_iter().collect(),
            Notice::Writable(_) => return self.write.take().into_iter().collect(),
        }
        self.read.take().into_iter().chain(self.write.take()).collect()
    }

    /// The whole network has gone.
    pub(super) fn lose(&mut self) -> Vec<Waker> {
        self.dialled.get_or_insert(Err(DialFailure::Unreachable));
        self.ended.get_or_insert(End::Reset);
        self.read.take().into_iter().chain(self.write.take()).collect()
    }
}

/// The simulation as the driver sees it: one client's view, with an address of its own.
///
/// Users need it only to drive a client themselves, with [`Client::new`](rocketmq_driver::Client);
/// [`SimHandle::runtime`](super::SimHandle::runtime) makes one.
#[derive(Clone)]
pub struct SimRuntime {
    pub(super) core: Arc<Core>,
    /// Whose connections, for the network.
    pub(super) client: usize,
    pub(super) process: u64,
}

impl Runtime for SimRuntime {
    type Stream = SimStream;
    type Timer = SimTimer;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.core.now())
    }

    fn wall(&self) -> WallTime {
        WallTime::from_millis(self.core.wall_ms())
    }

    fn timer(&self) -> SimTimer {
        SimTimer { core: Arc::clone(&self.core), at: Instant::FAR_FUTURE, set: None }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.core.spawn(self.process, Box::pin(future));
    }

    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<SimStream>> + Send + 'static {
        Dial { runtime: self.clone(), address: address.to_string(), stream: None }
    }

    fn seed(&self) -> u64 {
        self.core.secret()
    }

    fn host(&self) -> IpAddr {
        let [high, low] = [self.client / 250, self.client % 250 + 1].map(|part| part as u8);
        IpAddr::V4(Ipv4Addr::new(10, 9, high, low))
    }

    fn process_id(&self) -> u32 {
        4711 + self.process as u32
    }

    fn observe(&self, event: &Event) {
        self.core.note(&format!("client {} reports {event:?}", self.client));
    }
}

impl fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRuntime").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The future of a dial. Gives it up when it is dropped.
struct Dial {
    runtime: SimRuntime,
    address: String,
    stream: Option<SimStream>,
}

impl Future for Dial {
    type Output = io::Result<SimStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SimStream>> {
        let core = Arc::clone(&self.runtime.core);
        let mut state = core.state();
        if self.stream.is_none() {
            let link = state.network.dial(self.runtime.client, &self.address);
            let (client, address) = (self.runtime.client, &self.address);
            let line = format!("client {client} dials {address}, link {}", link.0);
            let node = state.network.node(link).map_or(String::new(), |node| format!(" {node:?}"));
            state.note(&(line + &node));
            let id = (state.era, link);
            state.sockets.insert(id, Socket::default());
            self.stream = Some(SimStream { core: Arc::clone(&core), id });
        }
        let id = self.stream.as_ref().map(|stream| stream.id);
        let socket = id.and_then(|id| state.sockets.get_mut(&id));
        let Some(socket) = socket else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let Some(dialled) = socket.dialled else {
            socket.read = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        let stream = self.stream.take();
        Poll::Ready(match (dialled, stream) {
            (Ok(()), Some(stream)) => Ok(stream),
            (Ok(()), None) => Err(ErrorKind::NotConnected.into()),
            (Err(failure), _) => Err(io_error(failure)),
        })
    }
}

/// The error that an operating system gives.
fn io_error(failure: DialFailure) -> io::Error {
    match failure {
        DialFailure::Refused => ErrorKind::ConnectionRefused.into(),
        DialFailure::Unreachable => ErrorKind::HostUnreachable.into(),
        DialFailure::NoName => name_not_resolved("no such host in the simulation"),
    }
}

/// A connection of a simulation.
pub struct SimStream {
    core: Arc<Core>,
    id: SocketId,
}

impl Stream for SimStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut state = self.core.state();
        let current = state.era == self.id.0;
        let state = &mut *state;
        let Some(socket) = state.sockets.get_mut(&self.id) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if socket.rest.is_empty() && current {
            socket.rest = state.network.read(self.id.1).unwrap_or_default();
        }
        let count = socket.rest.len().min(buf.capacity() - buf.len());
        if count > 0 {
            buf.extend_from_slice(&socket.rest[..count]);
            socket.rest.drain(..count);
            state.absorb(&[self.id.1.0, count as u64]);
            return Poll::Ready(Ok(count));
        }
        match socket.ended {
            Some(End::Eof) => Poll::Ready(Ok(0)),
            Some(End::Reset) => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            None => {
                socket.read = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = Vec::new();
        for slice in slices {
            let room = WRITE_MAX - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let mut state = self.core.state();
        let current = state.era == self.id.0;
        let state = &mut *state;
        let Some(socket) = state.sockets.get_mut(&self.id) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        if socket.ended == Some(End::Reset) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() || !current {
            return Poll::Ready(Ok(0));
        }
        let count = state.network.write(self.id.1, &bytes);
        if count == 0 {
            socket.write = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.absorb(&[!self.id.1.0, count as u64]);
        Poll::Ready(Ok(count))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl SimStream {
    fn close(&mut self) {
        let mut state = self.core.state();
        if state.sockets.remove(&self.id).is_none() {
            return;
        }
        let failed = state.era != self.id.0 || !state.network.is_open(self.id.1);
        if !failed {
            state.network.close(self.id.1);
            let line = format!("link {} is closed by its client", self.id.1.0);
            state.note(&line);
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("link", &self.id.1).finish_non_exhaustive()
    }
}

/// A timer of a simulation.
pub struct SimTimer {
    core: Arc<Core>,
    at: Instant,
    /// Its name among the timers.
    set: Option<(u64, u64)>,
}

impl SimTimer {
    /// One that is set.
    pub(super) fn at(core: &Arc<Core>, at: u64) -> SimTimer {
        SimTimer { core: Arc::clone(core), at: Instant::from_nanos(at), set: None }
    }

    fn unset(&mut self) -> Option<Waker> {
        self.set.take().and_then(|set| self.core.state().take_timer(set))
    }
}

impl Timer for SimTimer {
    fn reset(&mut self, at: Instant) {
        self.at = at;
        self.unset();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.unset();
        if self.at.as_nanos() <= self.core.now() {
            return Poll::Ready(());
        }
        if self.at != Instant::FAR_FUTURE {
            let set = self.core.state().set_timer(self.at.as_nanos(), cx.waker().clone());
            self.set = Some(set);
        }
        Poll::Pending
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.unset();
    }
}

impl fmt::Debug for SimTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTimer").field("at", &self.at).finish_non_exhaustive()
    }
}
