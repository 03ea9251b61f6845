//! Very many sends in flight at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocketmq_bench::process::{self, Kind, Server};
use rocketmq_bench::samples;
use rocketmq_tokio::{Config, Producer};

use crate::Failure;

/// `count` sends while the broker stands still, then all are answered. Whether none failed.
pub(crate) fn run(count: usize) -> Result<bool, Failure> {
    let mut server = Server::start(Kind::Cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = Config::builder(server.address())
            .topic(samples::TOPIC)
            .send_timeout(Duration::from_secs(60))
            .in_flight_messages_max(u32::try_from(count)?.max(1_024));
        let client = rocketmq_tokio::start(config.build()?)?;
        let producer = client.producer(samples::GROUP)?;
        producer.send(samples::message(&samples::body(128))).await?;
        let good = send_all(&producer, &mut server, count).await?;
        client.close(Duration::from_secs(3)).await;
        Ok(good)
    })
}

async fn send_all(producer: &Producer, server: &mut Server, count: usize) -> Result<bool, Failure> {
    let body = samples::body(128);
    server.tell("stall")?;
    let before = process::resident_bytes();
    let started = Instant::now();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut sends = Vec::with_capacity(count);
    for _ in 0..count {
        let (producer, body) = (producer.clone(), body.clone());
        let begun = Arc::clone(&begun);
        sends.push(tokio::spawn(async move {
            let send = producer.send(samples::message(&body));
            begun.fetch_add(1, Ordering::Relaxed);
            send.await.map(drop)
        }));
    }
    while begun.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
    // The driver takes them all in.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let in_flight = process::resident_bytes().saturating_sub(before);
    let full = started.elapsed();
    server.tell("resume")?;
    let resumed = Instant::now();
    let mut failed = 0;
    let mut first = None;
    for send in sends {
        if let Err(error) = send.await? {
            failed += 1;
            first.get_or_insert_with(|| error.to_string());
        }
    }
    println!("{count} sends of 128 bytes in flight after {full:?}");
    println!("memory for each, its task and future included: {} bytes", in_flight / count as u64);
    println!("failed: {failed}, all ended {:?} after the broker went on", resumed.elapsed());
    if let Some(error) = first {
        println!("the first: {}", error.chars().take(400).collect::<String>());
    }
    Ok(failed == 0)
}
