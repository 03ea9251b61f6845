//! What an adapter provides: a clock, a timer, tasks and sockets. No policy.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use rocketmq_core::{Address, Event};
pub use rocketmq_core::{Instant, WallTime};

#[cfg(feature = "futures-io")]
pub use crate::futures_stream::FuturesStream;

use crate::identity;

/// An executor with its reactor. Cheap to clone; given once, when a client is started.
///
/// Not for users: it may change in any release.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A connected socket.
    type Stream: Stream;
    /// A timer that can be set again and again.
    type Timer: Timer;

    /// Time since a base that is the same for all clones.
    fn now(&self) -> Instant;

    /// The wall clock.
    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// A timer that is not set. May be called outside the runtime's own threads.
    fn timer(&self) -> Self::Timer;

    /// Starts a task that runs until it ends, or until the runtime does.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Connects to `address`. A name is resolved now, and all its addresses are tried in order;
    /// [`connect_first`] and [`name_not_resolved`] are of help. The socket sends without delay
    /// (`TCP_NODELAY`).
    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static;

    /// A number that nobody can guess, and a different one at each call.
    fn seed(&self) -> u64 {
        identity::seed()
    }

    /// The address by which this host is known to others.
    fn host(&self) -> IpAddr {
        identity::local_address()
    }

    /// The number of this process: another one after a fork.
    fn process_id(&self) -> u32 {
        std::process::id()
    }

    /// Is told of every event of the client, for runtimes that keep a record. A stream of events
    /// would be a handle, and keep the client alive.
    fn observe(&self, _event: &Event) {}
}

/// A connected socket.
pub trait Stream: Send + Unpin + 'static {
    /// Appends what has arrived to `buf`, at most as much as its spare capacity, which is never
    /// zero. Zero bytes mean that the peer has closed.
    ///
    /// # Errors
    /// Those of the operating system.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Hands as many bytes as possible to the socket, in one system call.
    ///
    /// # Errors
    /// Those of the operating system.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Tells the peer that nothing more comes. Called once, before the socket is dropped.
    ///
    /// # Errors
    /// Those of the operating system.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A timer of a runtime.
pub trait Timer: Send + Unpin + 'static {
    /// Sets the timer to `at`, a time of the runtime's own clock.
    fn reset(&mut self, at: Instant);

    /// Whether the time has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Dials one address after the other until one connects. Every call begins with another one, so
/// that one that does not answer cannot take the time of every dial.
///
/// # Errors
/// The last one, or `NotFound` if there is no address at all.
pub async fn connect_first<S, F: Future<Output = io::Result<S>>>(
    addresses: impl Iterator<Item = SocketAddr>,
    mut dial: impl FnMut(SocketAddr) -> F,
) -> io::Result<S> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    if let Some(first) = TURN.fetch_add(1, Ordering::Relaxed).checked_rem(addresses.len()) {
        addresses.rotate_left(first);
    }
    let mut last = name_not_resolved("no address");
    for address in addresses {
        match dial(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The error by which the driver knows that a name could not be resolved. Operating systems give
/// no kind of their own to that.
pub fn name_not_resolved(error: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, error.to_string())
}

/// A runtime's clocks without its type, so that handles need no type parameter.
pub(crate) trait Clock: Send + Sync {
    fn now(&self) -> Instant;
    fn wall(&self) -> WallTime;
    fn seed(&self) -> u64;
    fn process_id(&self) -> u32;
}

impl<R: Runtime> Clock for R {
    fn now(&self) -> Instant {
        Runtime::now(self)
    }

    fn wall(&self) -> WallTime {
        Runtime::wall(self)
    }

    fn seed(&self) -> u64 {
        Runtime::seed(self)
    }

    fn process_id(&self) -> u32 {
        Runtime::process_id(self)
    }
}
