//! Sends ten messages to `TopicTest` and prints where each was stored. The name servers are taken
//! from the environment variable `NAMESRV_ADDR`, by default `127.0.0.1:9876`.

use std::error::Error;
use std::time::Duration;

use rocketmq_smol::Message;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let name_servers = std::env::var("NAMESRV_ADDR");
    let name_servers = name_servers.as_deref().unwrap_or("127.0.0.1:9876");
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
