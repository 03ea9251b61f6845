//! Sends a thousand messages in batches: one request and one answer for as many as fit, and a
//! receipt for each message.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::Message;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let producer = rocketmq_tokio::producer(name_servers, "example")?;
    let messages = (0..1_000).map(|number| Message::new("TopicTest", format!("line {number}")));
    // By their true size as sent. Without `_at`, as many as `body_length_max` allows.
    for batch in producer.split_batch_at(messages, 32 * 1024) {
        let receipts = producer.send_batch(batch).await?;
        let (first, last) = (receipts.first(), receipts.last());
        println!("{} messages: {:?}", receipts.len(), first.map(|receipt| &receipt.position));
        println!("  the last one is {:?}", last.map(|receipt| receipt.unique_key));
    }
    producer.close(Duration::from_secs(3)).await;
    Ok(())
}
