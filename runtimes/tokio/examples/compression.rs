//! Sends a body that zlib makes smaller, and one that stays as it is. Needs the feature `zlib`,
//! which is on by default; `lz4` and `zstd` are features, too. Java consumers read all three.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::{Compression, Config, Message, SendOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = Config::builder(name_servers)
        .compression(Compression::Zlib)
        .compression_level(5)
        .compress_over(4 * 1024);
    let client = rocketmq_tokio::start(config.build()?)?;
    let producer = client.producer("example")?;

    let text = "the same words again and again ".repeat(1_000);
    let receipt = producer.send(Message::new("TopicTest", text.clone())).await?;
    println!("compressed: {} as {}", receipt.broker_name, receipt.unique_key);

    // Not every send has to be: this one is sent as it is.
    let plain = SendOptions::new().with_compression(Compression::None);
    let receipt = producer.send_with(Message::new("TopicTest", text), plain).await?;
    println!("plain: {} as {}", receipt.broker_name, receipt.unique_key);

    client.close(Duration::from_secs(3)).await;
    Ok(())
}
