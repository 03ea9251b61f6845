//! The driver in virtual time: handles, futures, close and cancellation against a faulty cluster.

use std::time::Duration;

use rocketmq_driver::Message;
use rocketmq_testkit::cluster::ClusterConfig;

mod batches;
mod chaos;
mod corners;
mod discovery;
mod edges;
mod ledger;
mod messages;
mod providers;
mod scenarios;
mod swarm;
mod transactions;
mod users;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Brokers with four queues each.
fn servers(brokers: usize) -> ClusterConfig {
    ClusterConfig::new().brokers(brokers).topic("Orders", 4)
}

fn message(text: &str) -> Message {
    Message::new("Orders", text.to_owned())
}
