//! A service as it might be in a shop: orders are accepted into a database, and a relay sends them
//! to RocketMQ until a broker has acknowledged each.
//!
//! It knows neither the simulation nor any runtime: what it needs of its surroundings is a
//! [`Clock`].
#![allow(unreachable_pub, reason = "it stands for a crate of its own")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{Delivery, Message, Producer, SendReceipt};

/// Between two rounds of the relay, and after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// How the service waits.
pub trait Clock: Send + Sync + 'static {
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// The table of orders that are to be sent: the part of the database that survives a crash.
#[derive(Clone, Default)]
pub struct Outbox {
    rows: Arc<Mutex<BTreeMap<u64, Row>>>,
}

/// One order on its way.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub text: String,
    /// Set when a broker has acknowledged it.
    pub receipt: Option<SendReceipt>,
    /// A send may have stored it without saying so, so it may be there more than once. Set before
    /// each send, because the service may die in it.
    pub doubtful: bool,
}

impl Outbox {
    /// Accepts an order. From here on it must not be lost.
    pub fn accept(&self, order: u64, text: &str) {
        let row = Row { text: text.to_owned(), ..Row::default() };
        self.rows.lock().unwrap().insert(order, row);
    }

    /// Every order that was accepted.
    pub fn rows(&self) -> BTreeMap<u64, Row> {
        self.rows.lock().unwrap().clone()
    }

    /// Whether everything has been acknowledged.
    pub fn is_settled(&self) -> bool {
        self.rows.lock().unwrap().values().all(|row| row.receipt.is_some())
    }

    fn change(&self, order: u64, change: impl FnOnce(&mut Row)) {
        self.rows.lock().unwrap().entry(order).and_modify(change);
    }
}

/// Sends what is in the outbox.
pub struct OrderService<C> {
    outbox: Outbox,
    producer: Producer,
    clock: C,
}

impl<C: Clock> OrderService<C> {
    pub fn new(outbox: Outbox, producer: Producer, clock: C) -> OrderService<C> {
        OrderService { outbox, producer, clock }
    }

    /// Relays orders for ever.
    pub async fn relay(self) {
        loop {
            for (order, row) in self.outbox.rows() {
                if row.receipt.is_none() {
                    self.send(order, &row.text).await;
                }
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    /// Sends one order, once. If that fails, the next round sends it again.
    async fn send(&self, order: u64, text: &str) {
        // Consumers know an order by its key, and drop what they have seen.
        let message = Message::new("Orders", text.to_owned()).with_key(order.to_string());
        let mut before = false;
        self.outbox.change(order, |row| before = std::mem::replace(&mut row.doubtful, true));
        match self.producer.send(message).await {
            Ok(receipt) => {
                // This copy is known; an attempt before it may have left another one.
                let mut earlier = receipt.failed_attempts.iter();
                let doubtful = earlier.any(|attempt| attempt.delivery == Delivery::Unknown);
                self.outbox.change(order, |row| {
                    row.doubtful = before || doubtful;
                    row.receipt = Some(receipt);
                });
            }
            Err(error) => {
                // Unless it may be stored, no broker has it, and there is nothing to doubt.
                let doubtful = before || error.delivery() == Delivery::Unknown;
                self.outbox.change(order, |row| row.doubtful = doubtful);
                self.clock.sleep(PAUSE).await;
            }
        }
    }
}
