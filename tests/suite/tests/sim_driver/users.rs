//! Users of a producer that do all that handles and futures allow.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rocketmq_driver::{MessageQueue, PendingSend, Producer, SendOptions};
use rocketmq_testkit::SimHandle;
use rocketmq_testkit::network::Random;

use super::ledger::{Ledger, Told, in_time};

use crate::message;

/// One task that uses a producer.
pub(crate) struct User {
    pub(crate) cx: SimHandle,
    pub(crate) name: String,
    pub(crate) producer: Producer,
    pub(crate) ledger: Ledger,
    pub(crate) random: Random,
    pub(crate) brokers: u64,
    /// Time of a send if nothing else is said.
    pub(crate) timeout: Duration,
    /// The longest time that any send of the client may have.
    pub(crate) longest: Duration,
}

impl User {
    /// Does so many things, one after the other.
    pub(crate) async fn run(mut self, actions: usize) {
        for number in 0..actions {
            let body = format!("{}-{number}", self.name);
            let pause = self.random.below(4);
            if pause == 0 {
                let pause = Duration::from_micros(self.random.between(1, 300_000));
                self.cx.sleep(pause).await;
            }
            match self.random.below(13) {
                0..=2 => self.send(&body).await,
                3 => self.send_to(&body).await,
                4 => self.submit(&body).await,
                5 => self.submit_and_drop(&body).await,
                6 => self.submit_and_cancel(&body).await,
                7 => self.try_submit(&body).await,
                8 | 9 => self.oneway(&body).await,
                10 => self.drop_while_open(&body).await,
                11 => self.never_poll(&body),
                _ => self.flush().await,
            }
        }
    }

    /// Options with a time, and the time.
    fn options(&mut self) -> (SendOptions, Duration) {
        if self.random.chance(500) {
            return (SendOptions::new(), self.timeout);
        }
        let limit = Duration::from_micros(self.random.between(100, 2_000_000)).min(self.longest);
        let options = SendOptions::new().with_timeout(limit);
        let retries = self.random.below(4) as u32;
        (if retries < 3 { options.with_retries_max(retries) } else { options }, limit)
    }

    async fn send(&mut self, body: &str) {
        let (options, limit) = self.options();
        let begun = self.cx.now();
        let result = self.producer.send_with(message(body), options).await;
        in_time(&self.cx, "a send", begun, limit);
        self.ledger.note(&self.cx, body, result.map_or_else(Told::Failed, Told::from));
    }

    async fn send_to(&mut self, body: &str) {
        let broker = (b'a' + self.random.below(self.brokers) as u8) as char;
        let queue = MessageQueue::new(format!("broker-{broker}"), self.random.below(4) as u32);
        let begun = self.cx.now();
        let result = self.producer.send_to(queue.clone(), message(body)).await;
        in_time(&self.cx, "a send to a queue", begun, self.timeout);
        if let Ok(receipt) = &result {
            assert!(receipt.position.is_none() || receipt.queue() == Some(queue), "{receipt:?}");
        }
        self.ledger.note(&self.cx, body, result.map_or_else(Told::Failed, Told::from));
    }

    async fn submit(&mut self, body: &str) {
        let (options, limit) = self.options();
        let begun = self.cx.now();
        let submitted = self.producer.submit_with(message(body), options).await;
        in_time(&self.cx, "a wait for room", begun, limit);
        match submitted {
            Ok(pending) => self.await_pending(body, pending, begun, limit).await,
            Err(error) => self.ledger.note(&self.cx, body, Told::Failed(error)),
        }
    }

    async fn await_pending(
        &self,
        body: &str,
        pending: PendingSend,
        begun: Duration,
        limit: Duration,
    ) {
        let key = pending.unique_key();
        let result = pending.await;
        in_time(&self.cx, "a submitted send", begun, limit);
        let told = match result {
            Ok(receipt) => {
                assert_eq!(receipt.unique_key, key);
                Told::from(receipt)
            }
            Err(error) => {
                assert_eq!(error.unique_key(), Some(key), "{error}");
                Told::Failed(error)
            }
        };
        self.ledger.note(&self.cx, body, told);
    }

    async fn submit_and_drop(&mut self, body: &str) {
        let told = match self.producer.submit(message(body)).await {
            Ok(pending) => {
                drop(pending);
                Told::Dropped
            }
            Err(error) => Told::Failed(error),
        };
        self.ledger.note(&self.cx, body, told);
    }

    async fn submit_and_cancel(&mut self, body: &str) {
        let begun = self.cx.now();
        let limit = self.timeout;
        match self.producer.submit(message(body)).await {
            Ok(pending) => {
                let wait = Duration::from_micros(self.random.below(50_000));
                self.cx.sleep(wait.min(limit.saturating_sub(self.cx.now() - begun))).await;
                pending.cancel();
                self.await_pending(body, pending, begun, limit).await;
            }
            Err(error) => self.ledger.note(&self.cx, body, Told::Failed(error)),
        }
    }

    async fn try_submit(&mut self, body: &str) {
        let begun = self.cx.now();
        match self.producer.try_submit(message(body)) {
            Ok(pending) => self.await_pending(body, pending, begun, self.timeout).await,
            Err(error) => self.ledger.note(&self.cx, body, Told::Failed(error)),
        }
    }

    async fn oneway(&mut self, body: &str) {
        let (options, limit) = self.options();
        let begun = self.cx.now();
        let result = self.producer.send_oneway_with(message(body), options).await;
        in_time(&self.cx, "a oneway send", begun, limit);
        self.ledger.note(&self.cx, body, result.map_or_else(Told::Failed, |_| Told::Sent));
    }

    async fn drop_while_open(&mut self, body: &str) {
        let patience = Duration::from_micros(self.random.below(30_000));
        let result = match self.random.below(3) {
            0 => {
                let mut send = pin!(self.producer.send(message(body)));
                let poll = send.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                match poll {
                    std::task::Poll::Ready(result) => Some(result),
                    std::task::Poll::Pending => None,
                }
            }
            1 => {
                let send = self.producer.send(message(body));
                self.cx.timeout(patience, send).await
            }
            _ => {
                let submit = self.producer.submit(message(body));
                match self.cx.timeout(patience, submit).await {
                    Some(Err(error)) => Some(Err(error)),
                    Some(Ok(_)) | None => None,
                }
            }
        };
        let told = match result {
            Some(Ok(receipt)) => Told::from(receipt),
            Some(Err(error)) => Told::Failed(error),
            None => Told::Dropped,
        };
        self.ledger.note(&self.cx, body, told);
    }

    fn never_poll(&mut self, body: &str) {
        drop(self.producer.send(message(body)));
        drop(self.producer.submit(message(body)));
        drop(self.producer.send_oneway(message(body)));
        self.ledger.note(&self.cx, body, Told::NeverPolled);
    }

    async fn flush(&mut self) {
        let begun = self.cx.now();
        self.producer.flush().await;
        in_time(&self.cx, "a flush", begun, self.longest);
    }
}
