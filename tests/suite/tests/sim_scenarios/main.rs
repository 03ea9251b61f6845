//! Scripted scenarios in the simulated world: one behaviour of the client per test.
//!
//! Every scenario ends with `World::finish`, which closes the client and judges the whole run by
//! the invariants that hold of every run.
#![allow(missing_docs)]

mod answers;
mod attempts;
mod cancel;
mod close;
mod common;
mod connections;
mod hooks;
mod name_servers;
mod ordered;
mod peers;
mod pressure;
mod routes;
mod selecting;
mod static_topics;
mod strategies;
mod twins;
