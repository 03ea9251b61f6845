//! The whole client on tokio, against a server in another process.

use std::time::Duration;

use rocketmq_bench::load::{self, End};
use rocketmq_bench::process::{Kind, Server};
use rocketmq_bench::samples;
use rocketmq_tokio::Config;

use crate::allocations;

/// One case: so many sends in flight on a current-thread runtime.
pub(crate) struct TokioCase {
    pub(crate) name: &'static str,
    in_flight: usize,
}

/// All of them, in the order of the table.
pub(crate) const CASES: [TokioCase; 2] = [
    TokioCase { name: "tokio-json-1", in_flight: 1 },
    TokioCase { name: "tokio-json-64", in_flight: 64 },
];

/// The most instructions that a send may cost.
pub(crate) const INSTRUCTIONS_MAX: f64 = 10_000.0;

/// The most allocations that a send may cost: one is the property string.
pub(crate) const ALLOCATIONS_MAX: f64 = 3.0;

pub(crate) fn find(name: &str) -> Option<&'static TokioCase> {
    CASES.iter().find(|case| case.name == name)
}

impl TokioCase {
    /// Allocations of `count` sends.
    pub(crate) fn run(&self, count: usize) -> Result<usize, String> {
        let server = Server::start(Kind::InstantJson).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(self.send(&server, count))
    }

    async fn send(&self, server: &Server, count: usize) -> Result<usize, String> {
        let config = Config::builder(server.address()).topic(samples::TOPIC).build();
        let config = config.map_err(|error| error.to_string())?;
        let client = rocketmq_tokio::start(config).map_err(|error| error.to_string())?;
        let producer = client.producer(samples::GROUP).map_err(|error| error.to_string())?;
        let body = samples::body(128);
        load::run(&producer, self.in_flight, &body, End::Count(1_024)).await;
        let before = allocations();
        let outcome = load::run(&producer, self.in_flight, &body, End::Count(count as u64)).await;
        let allocations = allocations() - before;
        client.close(Duration::from_secs(3)).await;
        match outcome.failed {
            0 => Ok(allocations),
            failed => Err(format!("{failed} of {count} sends failed")),
        }
    }
}
