//! Fails in four ways, and shows what an error tells: its kind, whether the message may have been
//! stored, what was tried, and the message itself.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::time::Duration;

use rocketmq_tokio::{Client, Config, Delivery, Message, SendError, SendErrorKind};

fn tell(what: &str, error: SendError) {
    println!("{what}:\n  {error}");
    let next = match (error.kind(), error.delivery()) {
        (SendErrorKind::Invalid(_), _) => "mend the message",
        (_, Delivery::NotSent) => "send it again, there is no copy",
        (_, Delivery::Refused) => "send it again once the cause is mended",
        // `Unknown`, and whatever a later version adds.
        _ => "look whether it was stored, by its unique key, before you send it again",
    };
    println!("  read more in {}", error.kind().manual());
    println!("  next: {next}; unique key {:?}", error.unique_key());
    // Nothing is lost: `error.into_message()` gives the message back.
}

/// Starts a client for `name_servers` that makes no topics.
fn client(name_servers: &str) -> Result<Client, Box<dyn Error>> {
    let config = Config::builder(name_servers)
        .create_topics(false)
        .send_timeout(Duration::from_millis(500))
        .body_length_max(1024 * 1024);
    Ok(rocketmq_tokio::start(config.build()?)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let there = client(name_servers)?;
    let producer = there.producer("example")?;
    let failing = [
        ("no such topic", Message::new("NoSuchTopic", "hello")),
        ("too large", Message::new("TopicTest", vec![0; 2 * 1024 * 1024])),
        ("a reserved property", Message::new("TopicTest", "hello").with_property("KEYS", "a")),
    ];
    for (what, message) in failing {
        match producer.send(message).await {
            Ok(receipt) => println!("{what}: stored after all, as {}", receipt.unique_key),
            Err(error) => tell(what, error),
        }
    }
    there.close(Duration::from_secs(3)).await;

    // Nobody listens on port 1.
    let nowhere = client("127.0.0.1:1")?;
    let error = nowhere.producer("example")?.send(Message::new("TopicTest", "hello")).await;
    tell("a wrong port", error.err().ok_or("somebody listens on port 1")?);
    nowhere.close(Duration::from_secs(1)).await;
    Ok(())
}
