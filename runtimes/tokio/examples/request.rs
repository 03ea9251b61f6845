//! Asks for prices and waits for the replies. Whoever replies is another client of this process, as
//! it would be another service; it finds the requests by their keys.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::{Config, Message, Producer};

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let config = Config::builder(name_servers).build()?;
    let asking = rocketmq_tokio::start(config.clone())?.producer("example-asking")?;
    let replying = rocketmq_tokio::start(config)?.producer("example-replying")?;
    for fish in ["cod", "eel"] {
        let request = Message::new("TopicTest", format!("how much is the {fish}?")).with_key(fish);
        let replies = tokio::spawn(reply(replying.clone(), fish));
        let reply = asking.request(request, TIMEOUT).await?;
        println!("{fish}: {}", String::from_utf8_lossy(&reply.body));
        replies.await?;
    }
    asking.close(TIMEOUT).await;
    replying.close(TIMEOUT).await;
    Ok(())
}

/// Replies to the request with this key, as soon as it can be found.
async fn reply(producer: Producer, key: &'static str) {
    let admin = producer.client().admin();
    loop {
        let found = admin.messages_by_key("TopicTest", key, 1).await.unwrap_or_default();
        if let Some(Ok(reply)) = found.first().map(|it| Message::reply_to(it, "seven")) {
            if let Err(error) = producer.send(reply).await {
                println!("the reply was not passed on: {error}");
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
