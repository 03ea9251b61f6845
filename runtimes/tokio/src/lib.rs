//! Apache RocketMQ client for tokio.
//!
//! ```no_run
//! use rocketmq_tokio::Message;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = rocketmq_tokio::producer("127.0.0.1:9876", "orders")?;
//! let receipt = producer.send(Message::new("TopicTest", "hello")).await?;
//! println!("stored on {} as {}", receipt.broker_name, receipt.unique_key);
//! producer.close(std::time::Duration::from_secs(3)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The [`manual`] tells what the client does and what one can rely on.
//!
//! A client is one task of the runtime on which it was started. Handles may be used from any
//! thread and any runtime. The runtime needs its IO and time drivers (`enable_all`).
#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_driver::runtime::{Runtime, Stream, Timer, connect_first, name_not_resolved};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

#[doc(inline)]
pub use rocketmq_driver::*;

/// Starts a client on the runtime of the caller. Needs no reachable name server; see
/// [`Client::wait_ready`] for that.
///
/// # Errors
/// If the caller does not run inside of a tokio runtime; see [`start_on`] then.
pub fn start(options: impl Into<ClientOptions>) -> Result<Client, StartError> {
    let handle = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    Ok(start_on(options, &handle))
}

/// Starts a client on the given runtime, from wherever. When that runtime ends, open sends fail
/// with [`SendErrorKind::DriverStopped`].
pub fn start_on(options: impl Into<ClientOptions>, handle: &Handle) -> Client {
    Client::start_with(options, TokioRuntime::new(handle.clone()))
}

/// A producer with a client of its own, on the runtime of the caller. `name_servers` is a list
/// like `10.0.0.1:9876;10.0.0.2:9876`.
///
/// # Errors
/// If an address or the group's name cannot be read, or there is no tokio runtime here.
pub fn producer(name_servers: &str, group: &str) -> Result<Producer, StartError> {
    let client = start(Config::builder(name_servers).build()?)?;
    Ok(client.producer(group)?)
}

/// The tokio runtime as the driver sees it.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct TokioRuntime {
    handle: Handle,
    base: Instant,
}

impl TokioRuntime {
    /// The runtime behind `handle`.
    pub fn new(handle: Handle) -> TokioRuntime {
        let base = in_runtime(&handle, Instant::now);
        TokioRuntime { handle, base }
    }
}

/// tokio's clock and timers are those of the runtime that the thread is in.
fn in_runtime<T>(handle: &Handle, make: impl FnOnce() -> T) -> T {
    let _guard = handle.enter();
    make()
}

impl Runtime for TokioRuntime {
    type Stream = TokioStream;
    type Timer = TokioTimer;

    fn now(&self) -> rocketmq_driver::runtime::Instant {
        // tokio's own clock, so that a paused one is obeyed.
        let passed = Instant::now().saturating_duration_since(self.base);
        rocketmq_driver::runtime::Instant::ZERO + passed
    }

    fn timer(&self) -> TokioTimer {
        let sleep = in_runtime(&self.handle, || tokio::time::sleep_until(self.base));
        TokioTimer { sleep: Box::pin(sleep), base: self.base }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<TokioStream>> + Send + 'static {
        let address = address.clone();
        async move {
            let resolved = match address.host() {
                Host::Ip(ip) => vec![(*ip, address.port()).into()],
                Host::Name(name) => {
                    let found = tokio::net::lookup_host((&**name, address.port())).await;
                    found.map_err(name_not_resolved)?.collect()
                }
            };
            let stream = connect_first(resolved.into_iter(), TcpStream::connect).await?;
            stream.set_nodelay(true)?;
            Ok(TokioStream(stream))
        }
    }
}

/// A socket of tokio.
#[doc(hidden)]
#[derive(Debug)]
pub struct TokioStream(TcpStream);

impl Stream for TokioStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Reads into uninitialised memory, and asks the system once only after a short read. The
        // future holds no state, so it may be made anew for each poll.
        pin!(self.0.read_buf(buf)).poll(cx)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A timer of tokio.
#[doc(hidden)]
#[derive(Debug)]
pub struct TokioTimer {
    sleep: Pin<Box<Sleep>>,
    base: Instant,
}

impl Timer for TokioTimer {
    fn reset(&mut self, at: rocketmq_driver::runtime::Instant) {
        self.sleep.as_mut().reset(self.base + Duration::from_nanos(at.as_nanos()));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}
