//! The built binary against a cluster on loopback sockets.

mod ask;
mod common;
mod demo;
mod interrupt;
mod outcomes;
mod send;
mod sim;
