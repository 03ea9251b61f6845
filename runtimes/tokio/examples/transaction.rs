//! Begins two transactions: one whose work is done, which is committed, and one whose work fails,
//! which is rolled back. A third one is left to the handler of the group, which finds what it needs
//! to know in the book of orders.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_tokio::{Config, Message, ProducerOptions, TransactionState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    // What a service has in its database.
    let paid = Arc::new(Mutex::new(BTreeSet::new()));
    let book = Arc::clone(&paid);
    let options = ProducerOptions::new().with_transaction_checks(move |check| {
        let order = check.message.keys().next().unwrap_or_default().to_owned();
        let is_paid = book.lock().is_ok_and(|book| book.contains(&order));
        async move { if is_paid { TransactionState::Commit } else { TransactionState::Rollback } }
    });
    let client = rocketmq_tokio::start(Config::builder(name_servers).topic("TopicTest").build()?)?;
    let producer = client.producer_with("example", options)?;

    for (order, succeeds) in [("order-1", true), ("order-2", false)] {
        let message = Message::new("TopicTest", "paid").with_key(order);
        let transaction = producer.begin_transaction(message).await?;
        if succeeds {
            paid.lock().map_err(|_| "poisoned")?.insert(order.to_owned());
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        println!("{order}: {}", if succeeds { "committed" } else { "rolled back" });
    }

    let message = Message::new("TopicTest", "paid").with_key("order-3");
    let left = producer.begin_transaction(message).await?;
    println!("order-3: left to the handler as {}", left.id());
    drop(left);
    let report = producer.close(Duration::from_secs(3)).await;
    println!("undecided at the end: {}", report.undecided.len());
    Ok(())
}
