//! Ends a service in good order: no new sends, open ones end until a deadline, and a report tells
//! of each that did not.
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
    let worker = {
        let producer = producer.clone();
        tokio::spawn(async move {
            let mut stored = 0;
            // Ends with the first send that is refused because the client closes.
            while producer.send(Message::new("TopicTest", "work")).await.is_ok() {
                stored += 1;
            }
            stored
        })
    };
    // A service waits for its signal here.
    tokio::time::sleep(Duration::from_millis(50)).await;

    let report = producer.close(Duration::from_secs(5)).await;
    println!("stored before and during the close: {}", worker.await?);
    println!("ended during the close: {} well, {} not", report.acknowledged, report.failed);
    for (unique_key, delivery) in report.failures {
        println!("  {unique_key}: {delivery:?}");
    }
    for error in report.unclaimed {
        // Nobody else hears of these. Their messages can be kept for the next start.
        println!("  {error}: {:?}", error.message());
    }
    Ok(())
}
