//! Tests of the test cluster itself, with raw bytes and without any client.

mod broker;
mod common;
mod instant;
mod links;
mod loopback;
mod name_server;
mod script;
mod sim;
mod wire;
