//! What TLS costs: our client with it and without it, in turn.

use std::time::Duration;

use rocketmq_bench::load::{self, End, Outcome};
use rocketmq_bench::process::{Kind, Server};
use rocketmq_bench::samples;
use rocketmq_tokio::{ClientOptions, Compression, Config, Producer, TlsConfig};

use crate::Failure;
use crate::floor::median;

/// Prints the table; whether every message was stored.
pub(crate) fn run(quick: bool) -> Result<bool, Failure> {
    let (time, repetitions) = if quick { (150, 1) } else { (1_000, 3) };
    let (time, mut failed) = (Duration::from_millis(time), 0);
    let servers = [Server::start(Kind::InstantJson)?, Server::start(Kind::InstantTls)?];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("1 thread, medians of {} runs of {time:?} each", 2 * repetitions);
    println!("{:>6}{:>7} |{:>14}{:>8}{:>7}", "body", "flight", "CPU µs: plain", "TLS", "ratio");
    for size in [128, 4 * 1024, 64 * 1024] {
        for in_flight in [1, 64, 512] {
            let body = samples::body(size);
            let outcomes = runtime.block_on(async {
                let producers =
                    [producer(&servers[0], false).await?, producer(&servers[1], true).await?];
                let mut outcomes: [Vec<Outcome>; 2] = Default::default();
                for producer in &producers {
                    load::run(producer, in_flight, &body, End::After(time / 5)).await;
                }
                for _ in 0..repetitions {
                    for which in [0, 1, 1, 0] {
                        let end = End::After(time);
                        let outcome = load::run(&producers[which], in_flight, &body, end).await;
                        outcomes[which].push(outcome);
                    }
                }
                for producer in &producers {
                    producer.close(Duration::from_secs(3)).await;
                }
                Ok::<_, Failure>(outcomes)
            })?;
            failed += outcomes.iter().flatten().map(|outcome| outcome.failed).sum::<u64>();
            let [plain, tls] =
                outcomes.map(|all| median(all.iter().map(Outcome::cpu_us).collect()));
            println!("{size:>6}{in_flight:>7} |{plain:>14.2}{tls:>8.2}{:>7.2}", tls / plain);
        }
    }
    println!("failed sends: {failed}");
    Ok(failed == 0)
}

async fn producer(server: &Server, encrypted: bool) -> Result<Producer, Failure> {
    let config =
        Config::builder(server.address()).topic(samples::TOPIC).compression(Compression::None);
    let mut options = ClientOptions::new(config.build()?);
    if encrypted {
        let tls = TlsConfig::builder().dangerous_accept_any_certificate();
        options = options.with_tls(tls.build()?);
    }
    let producer = rocketmq_tokio::start(options)?.producer(samples::GROUP)?;
    producer.wait_ready(Duration::from_secs(3)).await?;
    Ok(producer)
}
