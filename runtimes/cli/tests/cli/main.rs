//! The built binary against a cluster on loopback sockets.

mod access;
mod ask;
mod batches;
mod common;
mod conflicts;
mod demo;
mod interrupt;
mod options;
mod outcomes;
mod queues;
mod send;
mod sim;
mod socks;
#[cfg(feature = "tls")]
mod tls;
mod transactions;
