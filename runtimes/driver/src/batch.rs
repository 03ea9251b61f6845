//! Batches that the caller puts together: several messages in one request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rocketmq_core::wire::UniqueKey;
pub use rocketmq_core::{Batches, InvalidBatch};
use rocketmq_core::{
    ClockReading, Completion, Message, Mode, PreparedMessage, SendError, SendReceipt,
};

use crate::operation::{Content, Open, Operation};
use crate::producer::{Producer, SendOptions};
use crate::shared::Shared;

/// Several messages in one request.
impl Producer {
    /// Sends messages of one topic as one batch and waits for the acknowledgement: one request,
    /// one queue, one answer. Gives one receipt for each message, in order; their offsets follow
    /// each other.
    ///
    /// A broker stores a batch whole or not at all. After an attempt whose fate is unknown a retry
    /// may store a second copy of the whole batch, as with single messages.
    ///
    /// A batch holds one place of
    /// [`in_flight_messages_max`](rocketmq_core::Config::in_flight_messages_max) and its size as
    /// sent of [`in_flight_bytes_max`](rocketmq_core::Config::in_flight_bytes_max); the whole of it
    /// may have [`body_length_max`](rocketmq_core::Config::body_length_max) bytes. Use
    /// [`Producer::split_batch`] for more. Batches are never compressed.
    ///
    /// Brokers before 5.5 give every message of a batch the properties of the batch as well, its
    /// unique key among them: consumers of those see one key for all messages of a batch.
    ///
    /// ```
    /// # use rocketmq_driver::{Message, Producer, SendError};
    /// # async fn example(producer: Producer) -> Result<(), SendError> {
    /// let messages = ["one", "two", "three"].map(|body| Message::new("Orders", body));
    /// for receipt in producer.send_batch(messages).await? {
    ///     println!("{} is at {:?}", receipt.unique_key, receipt.position);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error holds for all messages together and gives all of them back:
    /// [`SendError::into_messages`]. It is
    /// [`InvalidBatch`](rocketmq_core::SendErrorKind::InvalidBatch), and nothing was sent, if there
    /// is no message, if they differ in topic or in
    /// [`wait_stored`](rocketmq_core::Message::with_wait_stored), have a delay, go to a `%RETRY%`
    /// topic, are too large together, or if one of them cannot be sent at all.
    ///
    /// # Cancel safety
    /// As [`Producer::send`], for all messages together.
    pub fn send_batch(&self, messages: impl IntoIterator<Item = Message>) -> SendBatchFuture {
        self.send_batch_with(messages, SendOptions::new())
    }

    /// As [`Producer::send_batch`], with options.
    ///
    /// # Errors
    /// As [`Producer::send_batch`].
    ///
    /// # Cancel safety
    /// As [`Producer::send_batch`].
    pub fn send_batch_with(
        &self,
        messages: impl IntoIterator<Item = Message>,
        options: SendOptions,
    ) -> SendBatchFuture {
        let content = Content::Batch(messages.into_iter().collect());
        SendBatchFuture(Operation::new(self, content, options, Mode::Awaited))
    }

    /// Waits for room alone, and gives a future for the acknowledgement of a batch.
    ///
    /// # Errors
    /// As [`Producer::send_batch`], as far as it can be known by then.
    ///
    /// # Cancel safety
    /// As [`Producer::submit`].
    pub fn submit_batch(&self, messages: impl IntoIterator<Item = Message>) -> SubmitBatchFuture {
        self.submit_batch_with(messages, SendOptions::new())
    }

    /// As [`Producer::submit_batch`], with options.
    ///
    /// # Errors
    /// As [`Producer::submit_batch`].
    ///
    /// # Cancel safety
    /// As [`Producer::submit_batch`].
    pub fn submit_batch_with(
        &self,
        messages: impl IntoIterator<Item = Message>,
        options: SendOptions,
    ) -> SubmitBatchFuture {
        let content = Content::Batch(messages.into_iter().collect());
        let mut operation = Operation::new(self, content, options, Mode::Awaited);
        operation.announce();
        SubmitBatchFuture(Some(operation))
    }

    /// Cuts messages into batches that each fit into one request, for [`Producer::send_batch`].
    /// Each is stored whole or not at all by itself.
    ///
    /// The true size as sent counts: 22 bytes, the body and all properties of each message.
    ///
    /// ```
    /// # use rocketmq_driver::{Message, Producer, SendError};
    /// # async fn example(producer: Producer, messages: Vec<Message>) -> Result<(), SendError> {
    /// for batch in producer.split_batch(messages) {
    ///     producer.send_batch(batch).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn split_batch<I: IntoIterator<Item = Message>>(
        &self,
        messages: I,
    ) -> Batches<I::IntoIter> {
        self.split_batch_at(messages, self.shared().config.body_length_max)
    }

    /// As [`Producer::split_batch`], with at most `bytes_max` bytes for each batch. More than
    /// [`body_length_max`](rocketmq_core::Config::body_length_max) counts as that.
    pub fn split_batch_at<I: IntoIterator<Item = Message>>(
        &self,
        messages: I,
        bytes_max: usize,
    ) -> Batches<I::IntoIter> {
        let shared = self.shared();
        // Only its length counts.
        let key = shared.identity.next_key(shared.clock.wall(), &*shared.clock);
        Batches::new(messages.into_iter(), key, &shared.config, bytes_max)
    }
}

/// Checks and renders every message and puts them together.
#[allow(clippy::result_large_err)]
pub(crate) fn prepare(
    shared: &Shared,
    messages: Vec<Message>,
    called: ClockReading,
) -> Result<PreparedMessage, SendError> {
    let next_key = || shared.identity.next_key(called.wall, &*shared.clock);
    let mut members = Vec::with_capacity(messages.len());
    let mut messages = messages.into_iter();
    while let Some(message) = messages.next() {
        match PreparedMessage::new(message, next_key(), called, &shared.config) {
            Ok(member) => members.push(member),
            Err((reason, message)) => {
                let index = members.len();
                let before = members.into_iter().map(PreparedMessage::into_message);
                let all = before.chain([message]).chain(messages).collect();
                return Err(SendError::invalid_batch(InvalidBatch::Message { index, reason }, all));
            }
        }
    }
    // The batch's own key comes after those of its messages, as in Java.
    PreparedMessage::batch_of(members, next_key(), called, &shared.config).map_err(
        |(reason, members)| {
            let all = members.into_iter().map(PreparedMessage::into_message).collect();
            SendError::invalid_batch(reason, all)
        },
    )
}

/// The future of [`Producer::send_batch`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct SendBatchFuture(Operation);

impl Future for SendBatchFuture {
    type Output = Result<Vec<SendReceipt>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_result(cx).map_ok(receipts)
    }
}

impl Drop for SendBatchFuture {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The future of [`Producer::submit_batch`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct SubmitBatchFuture(Option<Operation>);

impl Future for SubmitBatchFuture {
    type Output = Result<PendingBatch, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(operation) = &mut self.0 else { return Poll::Pending };
        let accepted = ready!(operation.poll_accepted(cx));
        match (accepted, self.0.take().and_then(Operation::into_open)) {
            (Ok(()), Some((producer, open))) => Poll::Ready(Ok(PendingBatch { producer, open })),
            (Err(error), _) => Poll::Ready(Err(error)),
            (Ok(()), None) => Poll::Pending,
        }
    }
}

impl Drop for SubmitBatchFuture {
    fn drop(&mut self) {
        if let Some(operation) = &mut self.0 {
            operation.abandon();
        }
    }
}

/// A batch that has room and is under way. Await it for the acknowledgement.
///
/// # Cancel safety
/// As [`PendingSend`](crate::PendingSend).
#[must_use = "await it for the acknowledgement, or drop it to let the batch go on unobserved"]
pub struct PendingBatch {
    producer: Producer,
    open: Open,
}

impl PendingBatch {
    /// As [`PendingSend::cancel`](crate::PendingSend::cancel), for the whole batch.
    pub fn cancel(&self) {
        self.open.cancel(&self.producer);
    }

    /// The client's own id of the batch, the same over all attempts. Each message has one of its
    /// own besides, which its receipt tells.
    pub fn unique_key(&self) -> UniqueKey {
        self.open.unique_key()
    }
}

impl Future for PendingBatch {
    type Output = Result<Vec<SendReceipt>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.open.poll(cx).map_ok(receipts)
    }
}

fn receipts(completion: Completion) -> Vec<SendReceipt> {
    match completion {
        Completion::StoredBatch(receipts) => receipts,
        _ => unreachable!("the machine ends a batch with StoredBatch"),
    }
}

crate::operation::debug!(SendBatchFuture, SubmitBatchFuture, PendingBatch);
