//! Load on a client: so many tasks that send one message after the other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use rocketmq_tokio::Producer;

use crate::{process, samples};

/// A client that is loaded.
pub trait Target: Clone + Send + Sync + 'static {
    /// Sends a message of the given body; whether it was stored.
    fn send(&self, body: Bytes) -> impl Future<Output = bool> + Send;
}

impl Target for Producer {
    fn send(&self, body: Bytes) -> impl Future<Output = bool> + Send {
        let sent = Producer::send(self, samples::message(&body));
        async move { sent.await.is_ok() }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After so many messages.
    Count(u64),
    /// After that time.
    After(Duration),
}

/// What a load cost.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Messages that were stored.
    pub sent: u64,
    /// Messages that were not.
    pub failed: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// CPU time of this process.
    pub cpu: Duration,
    /// From call to answer, in ns.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    /// CPU time for a message, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.sent.max(1) as f64
    }

    /// Messages for a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share of the messages was within, in µs.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

struct Share {
    latencies: Vec<u64>,
    failed: u64,
}

/// Keeps `in_flight` messages in flight until `end`.
pub async fn run<T: Target>(target: &T, in_flight: usize, body: &Bytes, end: End) -> Outcome {
    let left = Arc::new(AtomicU64::new(match end {
        End::Count(count) => count,
        End::After(_) => u64::MAX,
    }));
    let (started, cpu) = (Instant::now(), process::cpu());
    let until = match end {
        End::Count(_) => None,
        End::After(time) => Some(started + time),
    };
    // Allocations are counted, too: those of the load itself should be few.
    let room = match end {
        End::Count(count) => 2 * count as usize / in_flight + 16,
        End::After(_) => 1_024,
    };
    let one = || send_all(target.clone(), body.clone(), Arc::clone(&left), until, room);
    let senders: Vec<_> = (0..in_flight).map(|_| tokio::spawn(one())).collect();
    let mut shares = Vec::with_capacity(in_flight);
    for sender in senders {
        shares.push(sender.await.expect("a sender that ends"));
    }
    let (elapsed, cpu) = (started.elapsed(), process::cpu() - cpu);
    let mut latencies = Histogram::new(3).expect("three digits");
    for latency in shares.iter().flat_map(|share| &share.latencies) {
        latencies.record(*latency).expect("a histogram that grows");
    }
    let failed = shares.iter().map(|share| share.failed).sum();
    let total: u64 = shares.iter().map(|share| share.latencies.len() as u64).sum();
    Outcome { sent: total - failed, failed, elapsed, cpu, latencies }
}

async fn send_all<T: Target>(
    target: T,
    body: Bytes,
    left: Arc<AtomicU64>,
    until: Option<Instant>,
    room: usize,
) -> Share {
    let mut share = Share { latencies: Vec::with_capacity(room), failed: 0 };
    let mut started = Instant::now();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        let stored = target.send(body.clone()).await;
        let ended = Instant::now();
        share.latencies.push(u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX));
        share.failed += u64::from(!stored);
        started = ended;
        if until.is_some_and(|until| ended >= until) {
            break;
        }
    }
    share
}
