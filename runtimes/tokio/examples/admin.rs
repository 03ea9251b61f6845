//! Makes a topic, sends to it, asks for its offsets, reads a message back by its unique key, and
//! looks at everything in between.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::{Config, Message, TopicSettings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let client = rocketmq_tokio::start(Config::builder(name_servers).build()?)?;
    let admin = client.admin();
    let made = admin.create_topic(TopicSettings::new("AdminExample", 4)).await?;
    println!("on all brokers: {}", made.is_complete());

    let producer = client.producer("example")?;
    let receipt = producer.send(Message::new("AdminExample", "find me")).await?;
    for queue in admin.offsets("AdminExample").await? {
        println!("{queue:?}");
    }
    let found = admin.view("AdminExample", &receipt.unique_key.to_string()).await?;
    println!("{found:?}");

    println!("{}", client.diagnose(Some("AdminExample")).await);
    client.close(Duration::from_secs(3)).await;
    Ok(())
}
