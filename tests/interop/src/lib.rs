//! Real RocketMQ servers, and the official Java client as the judge of what they stored.
//!
//! [`environment()`] finds Java and fetches RocketMQ from Maven, [`Servers`] starts a name server
//! and brokers as processes that can be killed, stalled and restarted, [`Reader`] reads back what
//! is stored, [`compare()`] holds that against what the sender was told, and [`run`] goes through a
//! list of [`Case`]s and prints a [`Table`].

mod compare;
mod digest;
mod environment;
mod frame;
mod jvm;
mod proxy;
mod reader;
mod run;
mod servers;
mod table;
mod tls;

pub use compare::{Comparison, Outcome, Sent, compare};
pub use digest::{hex, sha256};
pub use environment::{Environment, environment};
pub use frame::{Answer, Route, request};
pub use proxy::Proxy;
pub use reader::{ReadBack, Reader};
pub use run::{Arguments, Case, Context, run};
pub use servers::{ServerOptions, Servers};
pub use table::{Row, Table};
pub use tls::Tls;

/// What this crate returns: a failure is a sentence for the person who reads the test's output.
pub type Result<T, E = String> = std::result::Result<T, E>;
