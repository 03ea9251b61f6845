//! Sends ten messages to `TopicTest` and prints where each was stored.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

#[path = "../../tokio/examples/support/mod.rs"]
mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_smol::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    smol::block_on(run(servers.name_servers()))
}

async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let producer = rocketmq_smol::producer(name_servers, "example")?;
    producer.wait_ready(Duration::from_secs(3)).await?;

    let mut pending = Vec::new();
    for number in 0..10 {
        let message = Message::new("TopicTest", format!("hello {number}"));
        pending.push(producer.submit(message.with_tag("example")).await?);
    }
    for send in pending {
        let receipt = send.await?;
        println!("{:?} {} {:?}", receipt.status, receipt.broker_name, receipt.position);
    }
    producer.close(Duration::from_secs(3)).await;
    Ok(())
}
