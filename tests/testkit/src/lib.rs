//! Test RocketMQ code without RocketMQ: name servers and brokers in memory, scripted faults.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod instant;
pub mod loopback;
pub mod wire;

pub use instant::{InstantConfig, InstantServer};
pub use loopback::LoopbackCluster;
