//! The handle that sends.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use rocketmq_core::limits;
use rocketmq_core::{
    Compression, GroupError, Message, MessageQueue, Mode, NotReady, OrderKey, SendError,
    TransactionCheck, TransactionState, WhenDown,
};

use crate::checks::CheckHandler;
use crate::client::{Client, CloseReport, Handle, StartError};
use crate::gather::AutoBatch;
use crate::operation::{Content, OnewayFuture, Operation, PendingSend, SendFuture, SubmitFuture};
use crate::selector::Selector;
use crate::shared::Shared;
use crate::trace::{TraceCounters, TraceOptions, TraceStart, TraceStats};

/// Sends messages on behalf of one producer group. Clones are cheap and mean the same producer;
/// all methods take `&self`, and any number of sends may be open at once.
///
/// # Time
/// The time of a send runs from the call, not from the first poll of the future, and is spent
/// while waiting for room as well: [`SendOptions::with_timeout`], or
/// [`Config::send_timeout`](rocketmq_core::Config::send_timeout).
///
/// # Room
/// What is in flight is bounded by number and bytes, and, if so configured, for each topic. When
/// there is no room, sends wait for it in the order in which they came; those that wait for their
/// topic alone do not hold up other topics. One whose time is over by then ends with
/// [`Backpressure`](rocketmq_core::SendErrorKind::Backpressure), which names the bound; it was not
/// sent. With [`SendOptions::with_unlimited_wait_for_room`] the time starts when there is room.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Arc<Handle>,
    group: u32,
    name: Box<str>,
    gathers: bool,
    traced: Option<Arc<TraceCounters>>,
}

impl Producer {
    pub(crate) fn new(handle: Arc<Handle>, group: &str) -> Result<Producer, GroupError> {
        let number = handle.shared.register(group, None, None)?;
        Ok(Producer::of(handle, group, number, false, None))
    }

    fn of(
        handle: Arc<Handle>,
        group: &str,
        number: u32,
        gathers: bool,
        traced: Option<Arc<TraceCounters>>,
    ) -> Producer {
        let inner = Inner { handle, group: number, name: group.into(), gathers, traced };
        Producer { inner: Arc::new(inner) }
    }

    pub(crate) fn with_options(
        handle: Arc<Handle>,
        group: &str,
        options: ProducerOptions,
    ) -> Result<Producer, StartError> {
        let ProducerOptions { auto_batch, transaction_checks, trace } = options;
        auto_batch.map_or(Ok(()), |settings| settings.check(&handle.shared.config))?;
        if let Some(trace) = &trace {
            trace.check(&handle.shared.config)?;
        }
        let trace = trace.map(|options| TraceStart { options, counters: Arc::default() });
        let traced = trace.as_ref().map(|trace| Arc::clone(&trace.counters));
        let number = handle.shared.register(group, transaction_checks, trace)?;
        if let Some(settings) = auto_batch {
            handle.shared.gather(number, settings);
        }
        Ok(Producer::of(handle, group, number, auto_batch.is_some(), traced))
    }

    /// Whether its sends are gathered into batches.
    pub(crate) fn gathers(&self) -> bool {
        self.inner.gathers
    }

    /// Sends a message and waits for a broker's acknowledgement.
    ///
    /// # Errors
    /// The error tells what was tried, whether the message may have been stored, and gives the
    /// message back.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the send, as far as that is possible. One that waits for room
    /// leaves the queue, and one of which no byte has left is not sent. After that it goes on by
    /// itself without a further attempt: the message may be stored, and nobody is told.
    pub fn send(&self, message: impl Into<Message>) -> SendFuture {
        self.send_with(message, SendOptions::new())
    }

    /// As [`Producer::send`], with options.
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn send_with(&self, message: impl Into<Message>, options: SendOptions) -> SendFuture {
        SendFuture::new(Operation::new(self, Content::One(message.into()), options, Mode::Awaited))
    }

    /// As [`Producer::send`], to one queue and no other: retries go there, too.
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn send_to(&self, queue: MessageQueue, message: impl Into<Message>) -> SendFuture {
        self.send_with(message, SendOptions::new().with_queue(queue))
    }

    /// Waits for room alone, and gives a future for the acknowledgement: for many sends at once
    /// from one task, in order of the calls.
    ///
    /// # Errors
    /// If the message is not valid, or there was no room in time.
    ///
    /// # Cancel safety
    /// Dropping this future cancels the send as in [`Producer::send`]. Dropping the
    /// [`PendingSend`] that comes out of it does not.
    pub fn submit(&self, message: impl Into<Message>) -> SubmitFuture {
        self.submit_with(message, SendOptions::new())
    }

    /// As [`Producer::submit`], with options.
    ///
    /// # Errors
    /// As [`Producer::submit`].
    ///
    /// # Cancel safety
    /// As [`Producer::submit`].
    pub fn submit_with(&self, message: impl Into<Message>, options: SendOptions) -> SubmitFuture {
        let mut operation =
            Operation::new(self, Content::One(message.into()), options, Mode::Awaited);
        operation.announce();
        SubmitFuture::new(operation)
    }

    /// As [`Producer::submit`], but never waits.
    ///
    /// # Errors
    /// If there is no room at once, with the kind
    /// [`Backpressure`](rocketmq_core::SendErrorKind::Backpressure); the message comes back with
    /// the error. Others who wait for room are not overtaken.
    pub fn try_submit(&self, message: impl Into<Message>) -> Result<PendingSend, SendError> {
        self.try_submit_with(message, SendOptions::new())
    }

    /// As [`Producer::try_submit`], with options.
    ///
    /// # Errors
    /// As [`Producer::try_submit`].
    pub fn try_submit_with(
        &self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> Result<PendingSend, SendError> {
        Operation::new(self, Content::One(message.into()), options, Mode::Awaited).submit_now()
    }

    /// Sends a message without asking the broker for an answer. The future is done when the socket
    /// has taken all bytes, which does not mean that a broker has them.
    ///
    /// # Errors
    /// If no byte could be handed to any broker's socket, or not all of them. The message comes
    /// back with the error.
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn send_oneway(&self, message: impl Into<Message>) -> OnewayFuture {
        self.send_oneway_with(message, SendOptions::new())
    }

    /// As [`Producer::send_oneway`], with options.
    ///
    /// # Errors
    /// As [`Producer::send_oneway`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn send_oneway_with(
        &self,
        message: impl Into<Message>,
        options: SendOptions,
    ) -> OnewayFuture {
        OnewayFuture::new(Operation::new(self, Content::One(message.into()), options, Mode::Oneway))
    }

    /// As [`Client::flush`]: for all producers of the client.
    ///
    /// # Cancel safety
    /// As [`Client::flush`].
    pub async fn flush(&self) {
        self.client().flush().await;
    }

    /// As [`Client::wait_ready`].
    ///
    /// # Errors
    /// As [`Client::wait_ready`].
    ///
    /// # Cancel safety
    /// As [`Client::wait_ready`].
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReady> {
        self.client().wait_ready(timeout).await
    }

    /// As [`Client::close`]: closes the client with all its producers.
    ///
    /// # Cancel safety
    /// As [`Client::close`].
    pub async fn close(&self, timeout: Duration) -> CloseReport {
        self.client().close(timeout).await
    }

    /// The client that the producer belongs to.
    pub fn client(&self) -> Client {
        Client::from_handle(Arc::clone(&self.inner.handle))
    }

    /// The producer group.
    pub fn group(&self) -> &str {
        &self.inner.name
    }

    /// What has become of the records of the message trace; all 0 if there is none. See
    /// [`ProducerOptions::with_trace`].
    pub fn trace_stats(&self) -> TraceStats {
        self.inner.traced.as_ref().map(|counters| counters.read()).unwrap_or_default()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.handle.shared
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.inner.handle
    }

    pub(crate) fn group_number(&self) -> u32 {
        self.inner.group
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("group", &self.inner.name).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.shared.unregister(self.group);
    }
}

/// What one producer does differently from others of its client.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// How single sends are put together into batches; `None`, the default, sends each by itself.
    pub auto_batch: Option<AutoBatch>,
    /// Who knows what has become of a transaction when a broker asks about one that this client
    /// does not remember; `None`, the default, if nobody does.
    pub transaction_checks: Option<CheckHandler>,
    /// How it is recorded what becomes of messages; `None`, the default, if it is not.
    pub trace: Option<TraceOptions>,
}

impl ProducerOptions {
    /// The defaults.
    pub fn new() -> ProducerOptions {
        ProducerOptions::default()
    }

    /// Has single sends put together into batches.
    #[must_use]
    pub fn with_auto_batch(mut self, auto_batch: AutoBatch) -> ProducerOptions {
        self.auto_batch = Some(auto_batch);
        self
    }

    /// Has it recorded, in messages of a trace topic, what becomes of each message. Nothing that
    /// happens to these messages is seen by the sends that they tell of: what cannot be sent is
    /// dropped, and counted by [`Producer::trace_stats`].
    // Java: DefaultMQProducer#enableTrace
    #[must_use]
    pub fn with_trace(mut self, trace: TraceOptions) -> ProducerOptions {
        self.trace = Some(trace);
        self
    }

    /// Sets who knows what has become of a transaction when a broker asks about one that this
    /// client does not remember: another process of the group has begun it, or this one before it
    /// was started again, or its [`Transaction`](crate::Transaction) was dropped. The answer is
    /// mostly found in the database that the local work was done in.
    ///
    /// It is called on the client's runtime, up to [`limits::CHECKS_ASKED_MAX`] times at once for
    /// all groups, and has
    /// [`TransactionSettings::check_timeout`](rocketmq_core::TransactionSettings) to answer. Then
    /// its future is dropped, and the broker asks again, as it does if it panics. The body of the
    /// message is [as it was sent](crate::StoredMessage::is_compressed); [`decompress`] helps.
    ///
    /// [`decompress`]: crate::decompress
    ///
    /// Brokers ask clients that they know: name the topics in
    /// [`Config::topics`](rocketmq_core::Config::topics), so that they know this one before its
    /// first send.
    ///
    /// ```
    /// use rocketmq_driver::{ProducerOptions, TransactionCheck, TransactionState};
    ///
    /// # async fn is_paid(order: &str) -> Option<bool> { Some(order.is_empty()) }
    /// async fn decide(check: TransactionCheck) -> TransactionState {
    ///     let order = check.message.keys().next().unwrap_or_default();
    ///     match is_paid(order).await {
    ///         Some(true) => TransactionState::Commit,
    ///         Some(false) => TransactionState::Rollback,
    ///         None => TransactionState::Undecided,
    ///     }
    /// }
    /// let options = ProducerOptions::new().with_transaction_checks(decide);
    /// ```
    // Java: TransactionListener#checkLocalTransaction
    #[must_use]
    pub fn with_transaction_checks<F, A>(mut self, handler: F) -> ProducerOptions
    where
        F: Fn(TransactionCheck) -> A + Send + Sync + 'static,
        A: Future<Output = TransactionState> + Send + 'static,
    {
        self.transaction_checks = Some(CheckHandler::new(handler));
        self
    }
}

/// What one send does differently from the client's settings.
///
/// ```
/// use std::time::Duration;
/// use rocketmq_driver::{MessageQueue, SendOptions};
///
/// let options = SendOptions::new()
///     .with_timeout(Duration::from_millis(500))
///     .with_queue(MessageQueue::new("broker-a", 2));
/// assert_eq!(options.retries_max, None);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct SendOptions {
    /// Time for the whole send, from the call; `None` for
    /// [`Config::send_timeout`](rocketmq_core::Config::send_timeout).
    pub timeout: Option<Duration>,
    /// Attempts after the first; `None` for
    /// [`Config::retries_max`](rocketmq_core::Config::retries_max).
    pub retries_max: Option<u32>,
    /// How the queue is chosen.
    pub selector: Selector,
    /// What happens while the broker of the chosen queue is down; for selectors that leave no
    /// choice of the broker.
    pub when_down: WhenDown,
    /// The order in which the message belongs; see [`SendOptions::ordered`].
    pub order: Option<OrderKey>,
    /// How the body is compressed; `None` for
    /// [`Config::compression`](rocketmq_core::Config::compression). It has to be part of this
    /// build.
    pub compression: Option<Compression>,
    /// Whether to wait for room as long as it takes; `None` for
    /// [`Config::unlimited_wait_for_room`](rocketmq_core::Config::unlimited_wait_for_room).
    pub unlimited_wait_for_room: Option<bool>,
}

impl SendOptions {
    /// The client's settings.
    pub fn new() -> SendOptions {
        SendOptions::default()
    }

    /// Sets the time for the whole send, from the call. With [`Duration::MAX`] it has no limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> SendOptions {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the attempts after the first.
    #[must_use]
    pub fn with_retries_max(mut self, retries_max: u32) -> SendOptions {
        self.retries_max = Some(retries_max);
        self
    }

    /// Sets whether to wait for room as long as it takes. The time for the send then starts when
    /// it has room, instead of with the call.
    ///
    /// The wait ends as well when the client is closed or its driver ends. A call that never waits,
    /// like [`Producer::try_submit`], does not wait for that either.
    #[must_use]
    pub fn with_unlimited_wait_for_room(mut self, unlimited: bool) -> SendOptions {
        self.unlimited_wait_for_room = Some(unlimited);
        self
    }

    /// Sets how the body is compressed, if it is long enough for that.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> SendOptions {
        self.compression = Some(compression);
        self
    }

    /// Sets the queue.
    #[must_use]
    pub fn with_queue(self, queue: MessageQueue) -> SendOptions {
        self.with_selector(Selector::queue(queue))
    }

    /// Sets how the queue is chosen.
    #[must_use]
    pub fn with_selector(mut self, selector: Selector) -> SendOptions {
        self.selector = selector;
        self
    }

    /// Sets what happens while the broker of the chosen queue is down. Means nothing with a
    /// selector that has the choice among brokers.
    #[must_use]
    pub fn with_when_down(mut self, when_down: WhenDown) -> SendOptions {
        self.when_down = when_down;
        self
    }

    /// Keeps the order of messages with this key: of all sends of the client with the same topic
    /// and key, one is under way at a time, in the order in which they were taken in. They go to
    /// the queue of the key, by [`Selector::rendezvous`] unless another selector is set, and an
    /// attempt of which nobody knows whether it was stored is the last.
    ///
    /// So the acknowledged ones are in their queue in that order. Those behind one that fails go
    /// on; [the manual](crate::manual::ordering) says what that means for one that ends as unknown.
    ///
    /// ```
    /// use rocketmq_driver::{SendOptions, WhenDown};
    ///
    /// let order = SendOptions::new().ordered("order-42").with_when_down(WhenDown::Fail);
    /// assert!(order.order.is_some());
    /// ```
    #[must_use]
    pub fn ordered(mut self, key: impl AsRef<[u8]>) -> SendOptions {
        self.order = Some(OrderKey::of(key.as_ref()));
        self
    }
}
