//! Apache RocketMQ client for smol.
//!
//! ```no_run
//! use rocketmq_smol::Message;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = rocketmq_smol::producer("127.0.0.1:9876", "orders")?;
//! let receipt = producer.send(Message::new("TopicTest", "hello")).await?;
//! println!("stored on {} as {}", receipt.broker_name, receipt.unique_key);
//! producer.close(std::time::Duration::from_secs(3)).await;
//! # Ok(())
//! # }
//! ```
//!
//! The [`manual`] tells what the client does and what one can rely on.
//!
//! A client is one task of the executor on which it was started. Handles may be used from any
//! thread and any executor.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rocketmq_driver::runtime::{FuturesStream, Runtime, Timer, connect_first, name_not_resolved};
use smol::{Async, Executor};

#[doc(inline)]
pub use rocketmq_driver::*;

/// Starts a client on smol's global executor. Needs no reachable name server; see
/// [`Client::wait_ready`] for that.
pub fn start(options: impl Into<ClientOptions>) -> Client {
    Client::start_with(options, SmolRuntime::new(None))
}

/// Starts a client on the given executor, which somebody has to run. When it is dropped, open
/// sends fail with [`SendErrorKind::DriverStopped`].
pub fn start_on(options: impl Into<ClientOptions>, executor: Arc<Executor<'static>>) -> Client {
    Client::start_with(options, SmolRuntime::new(Some(executor)))
}

/// A producer with a client of its own, on smol's global executor. `name_servers` is a list like
/// `10.0.0.1:9876;10.0.0.2:9876`.
///
/// # Errors
/// If an address or the group's name cannot be read.
pub fn producer(name_servers: &str, group: &str) -> Result<Producer, StartError> {
    Ok(start(Config::builder(name_servers).build()?).producer(group)?)
}

/// An executor of smol, with the one reactor, as the driver sees it.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct SmolRuntime {
    /// `None` for the global one. The driver is a task of the executor, and would keep it for ever
    /// if this counted as a handle on it.
    executor: Option<Weak<Executor<'static>>>,
    base: Instant,
}

impl SmolRuntime {
    /// The given executor, or the global one.
    pub fn new(executor: Option<Arc<Executor<'static>>>) -> SmolRuntime {
        let executor = executor.as_ref().map(Arc::downgrade);
        SmolRuntime { executor, base: Instant::now() }
    }
}

impl Runtime for SmolRuntime {
    type Stream = FuturesStream<Async<TcpStream>>;
    type Timer = SmolTimer;

    fn now(&self) -> rocketmq_driver::runtime::Instant {
        rocketmq_driver::runtime::Instant::ZERO + self.base.elapsed()
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer { timer: smol::Timer::never(), base: self.base }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // A task of smol is cancelled when its handle is dropped.
        match self.executor.as_ref().map(Weak::upgrade) {
            Some(Some(executor)) => executor.spawn(future).detach(),
            // The executor has gone, and what would have been its task goes as well.
            Some(None) => drop(future),
            None => smol::spawn(future).detach(),
        }
    }

    fn connect(
        &self,
        address: &Address,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        let address = address.clone();
        async move {
            let resolved = match address.host() {
                Host::Ip(ip) => vec![(*ip, address.port()).into()],
                Host::Name(name) => {
                    let found = smol::net::resolve((&**name, address.port())).await;
                    found.map_err(name_not_resolved)?
                }
            };
            let stream = connect_first(resolved.into_iter(), Async::<TcpStream>::connect).await?;
            stream.get_ref().set_nodelay(true)?;
            Ok(FuturesStream::new(stream))
        }
    }
}

/// A timer of smol.
#[doc(hidden)]
#[derive(Debug)]
pub struct SmolTimer {
    timer: smol::Timer,
    base: Instant,
}

impl Timer for SmolTimer {
    fn reset(&mut self, at: rocketmq_driver::runtime::Instant) {
        self.timer.set_at(self.base + Duration::from_nanos(at.as_nanos()));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(cx).map(|_| ())
    }
}
