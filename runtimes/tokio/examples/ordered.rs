//! Sends the steps of three orders. The steps of one order go to one queue and arrive in the order
//! of the calls, while the orders do not wait for each other.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::{Message, SendOptions, WhenDown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let producer = rocketmq_tokio::producer(name_servers, "example")?;
    let mut pending = Vec::new();
    for step in ["created", "paid", "shipped"] {
        for order in 1..=3 {
            let key = format!("order-{order}");
            let message = Message::new("TopicTest", step).with_key(key.clone());
            // What to do while the broker of the queue is down: wait for it, which is the default.
            let options = SendOptions::new().ordered(&key).with_when_down(WhenDown::Wait);
            pending.push((key, step, producer.submit_with(message, options).await?));
        }
    }
    for (key, step, send) in pending {
        let receipt = send.await?;
        println!("{key} {step}: {} {:?}", receipt.broker_name, receipt.position);
    }
    producer.close(Duration::from_secs(3)).await;
    Ok(())
}
