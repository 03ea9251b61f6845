//! Sends at a fixed rate while one broker of three does not work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rocketmq_bench::samples;
use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Cluster, ClusterConfig, Node};
use rocketmq_tokio::{Config, Producer, SendError, SendReceipt};

use crate::Failure;

const SENDS: u32 = 2_000;
const PERIOD: Duration = Duration::from_millis(5);
const BUDGET: Duration = Duration::from_secs(3);

/// Both troubles; whether at least 99 % of the sends succeeded in each.
pub(crate) fn run() -> Result<bool, Failure> {
    println!("{SENDS} sends, one each {PERIOD:?}, {BUDGET:?} for each, 3 brokers");
    let hole = share("one never answers a dial", |cluster| cluster.blackhole(Node::Broker(0)))?;
    let silent = share("one stands still, connected", |cluster| cluster.stall(Node::Broker(0)))?;
    Ok(hole >= 0.99 && silent >= 0.99)
}

/// What came of the sends so far.
struct Tally {
    latencies: Histogram<u64>,
    attempts: BTreeMap<usize, u32>,
    errors: BTreeMap<String, u32>,
    stored: u32,
}

fn share(name: &str, trouble: impl Fn(&mut Cluster)) -> Result<f64, Failure> {
    let config = ClusterConfig::new().brokers(3).topic(samples::TOPIC, 4).record_frames(false);
    let cluster = LoopbackCluster::start(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let addresses = cluster.name_server_addresses();
        let config = Config::builder(&addresses).topic(samples::TOPIC).send_timeout(BUDGET);
        let client = rocketmq_tokio::start(config.build()?)?;
        let producer = client.producer(samples::GROUP)?;
        producer.wait_ready(BUDGET).await?;
        let is_hole = name.contains("dial");
        if is_hole {
            cluster.with(&trouble);
        } else {
            // All three are connected before.
            for _ in 0..12 {
                producer.send(samples::message(&samples::body(128))).await?;
            }
        }
        let tally = send_all(&producer, || {
            if !is_hole {
                cluster.with(&trouble);
            }
        });
        let tally = tally.await?;
        tally.print(name);
        client.close(Duration::from_secs(1)).await;
        Ok(f64::from(tally.stored) / f64::from(SENDS))
    })
}

/// Sends on time, however long the earlier ones take. Trouble begins after a tenth of them.
async fn send_all(producer: &Producer, trouble: impl Fn()) -> Result<Tally, Failure> {
    let body = samples::body(128);
    let started = Instant::now();
    let mut sends = Vec::new();
    for number in 0..SENDS {
        let due = started + PERIOD * number;
        tokio::time::sleep_until(due.into()).await;
        if number == SENDS / 10 {
            trouble();
        }
        let send = producer.send(samples::message(&body));
        sends.push(tokio::spawn(async move { (send.await, due.elapsed()) }));
    }
    let latencies = Histogram::new(3)?;
    let (attempts, errors) = (BTreeMap::new(), BTreeMap::new());
    let mut tally = Tally { latencies, attempts, errors, stored: 0 };
    for send in sends {
        let (result, elapsed) = send.await?;
        tally.add(&result, elapsed);
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, result: &Result<SendReceipt, SendError>, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.latencies.record(micros).expect("a histogram that grows");
        let attempts = match result {
            Ok(receipt) => receipt.failed_attempts.len() + 1,
            Err(error) => error.attempts().len(),
        };
        *self.attempts.entry(attempts).or_default() += 1;
        match result {
            Ok(_) => self.stored += 1,
            Err(error) => *self.errors.entry(error.kind().to_string()).or_default() += 1,
        }
    }

    fn print(&self, name: &str) {
        let ms = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        println!("{name}: {} of {SENDS} stored within {BUDGET:?}", self.stored);
        println!(
            "  ms from the call: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, most {:.1}",
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(0.999),
            ms(1.0),
        );
        for (attempts, sends) in &self.attempts {
            println!("  {attempts} attempts: {sends} sends");
        }
        for (error, sends) in &self.errors {
            println!("  {sends} times: {error}");
        }
    }
}
