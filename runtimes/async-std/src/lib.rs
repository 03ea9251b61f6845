//! Apache RocketMQ client for async-std.
//!
//! ```no_run
//! use rocketmq_async_std::Message;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = rocketmq_async_std::producer("127.0.0.1:9876", "orders")?;
//! let receipt = producer.send(Message::new("TopicTest", "hello")).await?;
//! println!("stored on {} as {}", receipt.broker_name, receipt.unique_key);
//! producer.close(std::time::Duration::from_secs(3)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The [`manual`] tells what the client does and what one can rely on.
//!
//! async-std is discontinued in favour of smol; `rocketmq-smol` is the same client. A client is one
//! task of async-std's global executor. Handles may be used from any thread.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_std::net::{TcpStream, ToSocketAddrs};
use rocketmq_driver::runtime::{FuturesStream, Runtime, Timer, connect_first, name_not_resolved};

#[doc(inline)]
pub use rocketmq_driver::*;

/// Starts a client on async-std's executor. Needs no reachable name server; see
/// [`Client::wait_ready`] for that.
pub fn start(options: impl Into<ClientOptions>) -> Client {
    Client::start_with(options, AsyncStdRuntime::new())
}

/// A producer with a client of its own. `name_servers` is a list like
/// `10.0.0.1:9876;10.0.0.2:9876`.
///
/// # Errors
/// If an address or the group's name cannot be read.
pub fn producer(name_servers: &str, group: &str) -> Result<Producer, StartError> {
    Ok(start(Config::builder(name_servers).build()?).producer(group)?)
}

/// The one executor of async-std as the driver sees it.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct AsyncStdRuntime {
    base: Instant,
}

impl AsyncStdRuntime {
    /// The global executor.
    #[expect(clippy::new_without_default, reason = "the moment of the call matters")]
    pub fn new() -> AsyncStdRuntime {
        AsyncStdRuntime { base: Instant::now() }
    }
}

impl Runtime for AsyncStdRuntime {
    type Stream = FuturesStream<TcpStream>;
    type Timer = AsyncStdTimer;

    fn now(&self) -> rocketmq_driver::runtime::Instant {
        rocketmq_driver::runtime::Instant::ZERO + self.base.elapsed()
    }

    fn timer(&self) -> AsyncStdTimer {
        AsyncStdTimer { timer: async_io::Timer::never(), base: self.base }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // Dropping the handle of a task of async-std detaches it.
        async_std::task::spawn(future);
    }

    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        let address = address.clone();
        async move {
            let resolved: Vec<SocketAddr> = match address.host() {
                Host::Ip(ip) => vec![(*ip, address.port()).into()],
                Host::Name(name) => {
                    let found = (&**name, address.port()).to_socket_addrs().await;
                    found.map_err(name_not_resolved)?.collect()
                }
            };
            let stream = connect_first(resolved.into_iter(), TcpStream::connect).await?;
            stream.set_nodelay(true)?;
            Ok(FuturesStream::new(stream))
        }
    }
}

/// A timer of the reactor that async-std uses.
#[doc(hidden)]
#[derive(Debug)]
pub struct AsyncStdTimer {
    timer: async_io::Timer,
    base: Instant,
}

impl Timer for AsyncStdTimer {
    fn reset(&mut self, at: rocketmq_driver::runtime::Instant) {
        self.timer.set_at(self.base + Duration::from_nanos(at.as_nanos()));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(cx).map(|_| ())
    }
}
