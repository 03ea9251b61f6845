//! The pure heart of a client for Apache RocketMQ's remoting protocol: bytes, time and commands go
//! in; bytes, deadlines, completions and events come out.
//!
//! There is no socket, clock, thread or source of chance in here, so the same code runs under any
//! runtime, in a fuzzer and in a simulator, and a failure can be replayed from its inputs. To send
//! messages from an application, take one of the adapters instead: `rocketmq-tokio`,
//! `rocketmq-smol` or `rocketmq-async-std`.
//!
//! # The loop
//!
//! Whoever drives a [`Client`] repeats:
//!
//! 1. Take [`Client::poll_output`] until it is empty: dial, close, tell the application.
//! 2. Take [`Client::poll_transmit`] until it is empty; for each connection offer
//!    [`Client::transmit_chunks`] to its socket and report with [`Client::handle_transmitted`].
//! 3. Wait for a socket, a command, or the time of [`Client::poll_timeout`].
//! 4. Report what happened: [`Client::handle_connected`], [`Client::handle_received`],
//!    [`Client::handle_closed`], [`Client::handle_timeout`].
//! 5. Hand in commands: [`Client::send`], [`Client::cancel`], [`Client::shutdown`].
//!
//! Every input is legal at any moment; nothing has to be drained first.
//!
//! ```
//! use rocketmq_core::{Client, Config, Instant, Output};
//!
//! let config = Config::builder("127.0.0.1:9876").topic("orders").build()?;
//! let mut client = Client::new(config, 42, Instant::ZERO);
//! // The first deadline asks for the route of "orders", which takes a connection.
//! let (first, _) = client.poll_timeout().expect("the route refresh is scheduled");
//! client.handle_timeout(first);
//! match client.poll_output() {
//!     Some(Output::Connect { address, .. }) => assert_eq!(address.to_string(), "127.0.0.1:9876"),
//!     other => panic!("expected a dial, got {other:?}"),
//! }
//! # Ok::<(), rocketmq_core::ConfigError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

// First, for the macro that it defines.
#[macro_use]
#[doc(hidden)]
pub mod planted;

pub mod limits;
pub mod namespace;
pub mod wire;

mod address;
mod admission;
mod batch;
mod client;
mod compression;
mod config;
mod credentials;
mod discovery;
mod error;
mod hash;
mod id;
mod interceptor;
mod invalid;
mod message;
mod output;
mod permission;
mod prepared;
mod proxy;
mod query;
mod queues;
mod recall;
mod receipt;
mod request;
mod rng;
mod selection;
mod slab;
mod strategy;
mod time;
mod tls;
mod transaction;
mod unsuitable;

pub use address::{Address, AddressError, AddressMap, Host};
pub use admission::{Admission, Room};
pub use batch::{Batches, InvalidBatch};
pub use client::{CancelOutcome, Client, Mode, Rejected, SendCommand, TableSizes};
pub use compression::Compression;
pub use config::{
    Config, ConfigBuilder, ConfigError, GroupError, Periodic, RetryBudget, check_group,
    check_in_flight_max,
};
pub use credentials::{
    Credentials, CredentialsError, CredentialsPart, CredentialsProvider, FetchReason, Lease,
    ProviderFailure, ProviderFuture,
};
pub use discovery::{DiscoveryFailure, NameServerUrl, UrlError};
pub use error::{
    Attempt, AttemptFailure, Bound, CloseReason, ConnectFailure, Delivery, NameServerFailure,
    NotReady, SendError, SendErrorKind, Stage, UnwritableBroker,
};
pub use id::{ConnId, GroupId, OpId, OpIds, TracerId};
pub use interceptor::{
    AttemptOutcome, FieldError, Forbidden, Hook, Interceptor, Interceptors, MessageType,
    RequestContext, ResponseContext, SendAttempt, SendContext,
};
pub use invalid::InvalidMessage;
pub use message::Message;
pub use output::{Completion, Event, EventSet, Output, TimeoutReason};
pub use permission::PermissionReason;
pub use prepared::{PreparedMessage, SendKind, check_send_topic};
pub use proxy::ProxyFailure;
pub use query::{
    Answer, AnswerValue, BrokerInfo, Query, QueryError, QueryErrorKind, QueryId, QueryRequest,
    Target, TopicSettings, TopicType,
};
pub use queues::{PublishQueues, QueueRange, QueuesError};
pub use recall::{RecallHandle, RecallHandleError};
pub use receipt::{MessageQueue, OnewayReceipt, QueuePosition, SendReceipt};
pub use request::{CorrelationId, CorrelationIdError, NoReply, NotARequest, ReplyMessage};
pub use rng::Rng;
pub use selection::{OrderKey, Selection, SelectorFailure, WhenDown};
pub use strategy::{Detector, LatencyClass, QueueStrategy};
pub use time::{ClockReading, Instant, WallTime};
pub use tls::TlsFailure;
pub use transaction::{
    CheckId, CheckOutcome, Decision, TransactionCheck, TransactionError, TransactionErrorKind,
    TransactionSettings, TransactionState,
};
pub use unsuitable::Unsuitable;
