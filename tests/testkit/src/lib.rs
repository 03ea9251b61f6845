//! Test RocketMQ code without RocketMQ: name servers and brokers in memory, scripted faults.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod wire;
