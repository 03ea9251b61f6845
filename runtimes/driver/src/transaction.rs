//! Transactions as values.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Completion, Decision, Message, Mode, SendError, SendReceipt, TransactionError,
};

use crate::operation::{Content, Operation, debug};
use crate::producer::{Producer, SendOptions};
use crate::slot::Slot;

/// Where the result of a decision is left.
pub(crate) type EndSlot = Slot<Result<(), TransactionError>>;

impl Producer {
    /// Begins a transaction: sends the message in a form that brokers keep from consumers until
    /// [`Transaction::commit`]. Do the local work after this, and then decide.
    ///
    /// ```no_run
    /// # use rocketmq_driver::{Message, Producer};
    /// # async fn pay() -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn example(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let transaction = producer.begin_transaction(Message::new("Paid", "order 7")).await?;
    /// match pay().await {
    ///     Ok(()) => transaction.commit().await?,
    ///     Err(_) => transaction.rollback().await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send`], and [`NotPrepared`](rocketmq_core::SendErrorKind::NotPrepared) after
    /// a weak acknowledgement. The transaction has not begun, whatever the error's delivery says:
    /// if a broker has stored the message all the same, it is rolled back when that broker asks.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the send as in [`Producer::send`]. If the message gets stored
    /// all the same, it is rolled back.
    pub fn begin_transaction(&self, message: impl Into<Message>) -> BeginFuture {
        self.begin_transaction_with(message, SendOptions::new())
    }

    /// As [`Producer::begin_transaction`], with options.
    ///
    /// # Errors
    /// As [`Producer::begin_transaction`].
    ///
    /// # Cancel safety
    /// As [`Producer::begin_transaction`].
    pub fn begin_transaction_with(
        &self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> BeginFuture {
        let content = Content::Half(message.into());
        BeginFuture(Operation::new(self, content, options, Mode::Awaited))
    }
}

/// The future of [`Producer::begin_transaction`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct BeginFuture(Operation);

impl Future for BeginFuture {
    type Output = Result<Transaction, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let receipt = match ready!(self.0.poll_result(cx))? {
            Completion::Stored(receipt) => receipt,
            _ => unreachable!("the machine ends an awaited send with Stored"),
        };
        let producer = self.0.producer().clone();
        Poll::Ready(Ok(Transaction { producer, receipt, open: true }))
    }
}

impl Drop for BeginFuture {
    fn drop(&mut self) {
        let key = self.0.open_key();
        self.0.abandon();
        // Its result may be there already.
        if let Some(key) = key {
            self.0.producer().shared().abandon_transaction(key);
        }
    }
}

debug!(BeginFuture);

/// A transaction whose message is stored and not delivered: it waits for [`Transaction::commit`]
/// or [`Transaction::rollback`].
///
/// While it lives, brokers that ask about it are told that it is undecided. Those of 5.x ask from
/// 6 s on, every 30 s and 15 times, and then give the message up; 4.x waits 60 s each time.
///
/// Dropping it leaves it undecided: the next time that its broker asks, the
/// [handler of the group](crate::ProducerOptions::with_transaction_checks) is asked, here or in
/// another process.
#[must_use = "commit or roll back; a transaction that is dropped is decided by the group's handler"]
pub struct Transaction {
    producer: Producer,
    receipt: SendReceipt,
    /// Nothing has been decided.
    open: bool,
}

impl Transaction {
    /// Where the message is kept for now.
    pub fn receipt(&self) -> &SendReceipt {
        &self.receipt
    }

    /// The transaction's id: the unique key of its message, which handlers of checks see as
    /// [`TransactionCheck::transaction_id`](crate::TransactionCheck::transaction_id).
    pub fn id(&self) -> UniqueKey {
        self.receipt.unique_key
    }

    /// Has the message delivered, and waits at most
    /// [`Config::send_timeout`](rocketmq_core::Config::send_timeout) for the broker to acknowledge
    /// that.
    ///
    /// # Errors
    /// If the broker has not acknowledged it. The decision stands all the same and is not to be
    /// repeated: a commit that arrives twice delivers twice, so this client sends it once. The
    /// broker asks by and by, and is told then, as long as the client runs and
    /// [`TransactionSettings::memory`](rocketmq_core::TransactionSettings::memory) lasts.
    ///
    /// # Cancel safety
    /// Once polled, the decision stands, and dropping the future gives up its result alone. Before,
    /// it is as if the transaction was dropped.
    // Java: DefaultMQProducerImpl#endTransaction, oneway
    pub async fn commit(self) -> Result<(), TransactionError> {
        self.decide(Decision::Commit).await
    }

    /// Has the message never delivered. As [`Transaction::commit`] otherwise.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    ///
    /// # Cancel safety
    /// As [`Transaction::commit`].
    pub async fn rollback(self) -> Result<(), TransactionError> {
        self.decide(Decision::Rollback).await
    }

    /// Commits or rolls back, as [`Transaction::commit`].
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    ///
    /// # Cancel safety
    /// As [`Transaction::commit`].
    pub async fn decide(self, decision: Decision) -> Result<(), TransactionError> {
        let timeout = self.producer.shared().config.send_timeout;
        self.decide_within(decision, timeout).await
    }

    /// As [`Transaction::decide`], and waits so long at most for the broker.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    ///
    /// # Cancel safety
    /// As [`Transaction::commit`].
    pub async fn decide_within(
        mut self,
        decision: Decision,
        timeout: Duration,
    ) -> Result<(), TransactionError> {
        self.open = false;
        let shared = self.producer.shared();
        let slot = Arc::new(EndSlot::new());
        shared.end_transaction(self.id(), decision, shared.clock.now() + timeout, &slot);
        poll_fn(|cx| slot.poll(cx)).await
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id())
            .field("producer", &self.producer)
            .finish_non_exhaustive()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            self.producer.shared().forget_transaction(self.id());
        }
    }
}
