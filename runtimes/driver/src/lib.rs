//! The event loop of the RocketMQ client, with its handles and futures.
//!
//! Users depend on the crate for their runtime, `rocketmq-tokio`, `rocketmq-smol` or
//! `rocketmq-async-std`, which re-exports everything from here. This crate does IO through the
//! small traits of [`runtime`] alone, holds the one event loop, [`Driver`], and keeps no state
//! outside of [`Client`]s.
//!
//! The [`manual`] tells what the client does and what one can rely on.
//!
//! What is sent when, retried where and reported how is decided by the pure state machine
//! [`rocketmq_core::Client`]. The loop moves bytes, time and commands into it and carries out what
//! it asks for. [`Client`], [`Producer`] and the futures of sends talk to the loop through one
//! short lock and carry no type parameter.
#![forbid(unsafe_code)]

mod admin;
mod batch;
mod checks;
mod client;
mod compression;
mod connection;
mod credentials;
mod diagnose;
mod discovery;
mod driver;
mod environment;
mod events;
#[cfg(feature = "futures-io")]
mod futures_stream;
mod gather;
mod guard;
mod histogram;
mod identity;
mod ledger;
pub mod manual;
mod operation;
mod options;
mod producer;
mod query;
mod recall;
mod request;
#[doc(hidden)]
pub mod runtime;
mod selector;
mod shared;
mod signal;
mod slot;
mod socks;
#[cfg(feature = "tracing")]
mod telemetry;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod transaction;
mod transport;

pub use admin::{Admin, BrokerResult, OffsetRange, QueueOffsets, TopicCreation};
pub use batch::{Batches, InvalidBatch, PendingBatch, SendBatchFuture, SubmitBatchFuture};
pub use checks::CheckHandler;
pub use client::{Client, CloseReport, StartError, Stats};
pub use compression::{DecompressError, decompress};
pub use diagnose::{Diagnosis, Finding, Severity, Subject};
pub use driver::Driver;
pub use environment::{NAMESRV_ADDR, config_from_env};
pub use events::{EVENTS_MAX, EventStream};
pub use gather::{AutoBatch, AutoBatchError};
pub use histogram::Histogram;
pub use operation::{OnewayFuture, PendingSend, SendFuture, SubmitFuture};
pub use options::ClientOptions;
pub use producer::{Producer, ProducerOptions, SendOptions};
pub use rocketmq_core::wire::{
    Encoding, OffsetMessageId, RequestCode, ResponseCode, SendStatus, UniqueKey,
};
// Of the calls of `Admin`.
pub use request::{RequestError, RequestFuture};
pub use rocketmq_core::wire::{BrokerData, QueueData, StoredMessage, TopicRoute, version_name};
pub use rocketmq_core::{
    Address, AddressError, AddressMap, Attempt, AttemptFailure, AttemptOutcome, Bound, BrokerInfo,
    CheckOutcome, CloseReason, Compression, Config, ConfigBuilder, ConfigError, ConnectFailure,
    CorrelationId, CorrelationIdError, Credentials, CredentialsError, CredentialsPart,
    CredentialsProvider, Decision, Delivery, Detector, DiscoveryFailure, Event, EventSet,
    FetchReason, FieldError, Forbidden, GroupError, Hook, Host, Interceptor, Interceptors,
    InvalidMessage, LatencyClass, Lease, Message, MessageQueue, MessageType, Mode,
    NameServerFailure, NameServerUrl, NoReply, NotARequest, NotReady, OnewayReceipt, OrderKey,
    Periodic, PermissionReason, ProviderFailure, ProviderFuture, ProxyFailure, PublishQueues,
    QueryError, QueryErrorKind, QueuePosition, QueueRange, QueueStrategy, QueuesError,
    RecallHandle, RecallHandleError, ReplyMessage, RequestContext, ResponseContext, RetryBudget,
    SelectorFailure, SendAttempt, SendContext, SendError, SendErrorKind, SendReceipt, Stage,
    TlsFailure, TopicSettings, TopicType, TransactionCheck, TransactionError, TransactionErrorKind,
    TransactionSettings, TransactionState, Unsuitable, UnwritableBroker, UrlError, WallTime,
    WhenDown,
};
pub use selector::Selector;
pub use socks::{Socks5, Socks5Error};
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsConfigBuilder, TlsConfigError};
pub use trace::{TraceError, TraceOptions, TraceStats};
pub use transaction::{BeginFuture, Transaction};
