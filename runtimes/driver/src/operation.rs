//! The futures of sends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Bound, ClockReading, Completion, CorrelationId, Instant, InvalidBatch, Message, Mode,
    NameServerFailure, OnewayReceipt, PreparedMessage, PublishQueues, QueuesError, Selection,
    SelectorFailure, SendError, SendErrorKind, SendReceipt,
};

use crate::batch;
use crate::compression::compress_message;
use crate::producer::{Producer, SendOptions};
use crate::shared::{Placement, QueuesSlot, Request, SendSlot, Shared};
use crate::slot::Slot;

/// One send as its caller sees it.
pub(crate) struct Operation {
    producer: Producer,
    stage: Stage,
}

enum Stage {
    /// Called, but not polled.
    New(New),
    /// Asks for the queues among which a function is to choose.
    Selecting(New, Arc<QueuesSlot>),
    /// Submitted.
    Open(Open),
    /// The result was given out.
    Done,
}

/// What is to be sent.
pub(crate) enum Content {
    One(Message),
    /// Begins a transaction.
    Half(Message),
    /// Asks for a reply within some time.
    Request(Message, CorrelationId, Duration),
    Batch(Vec<Message>),
}

impl Content {
    /// The message, or the first of a batch.
    fn first(&self) -> Option<&Message> {
        match self {
            Content::One(message) | Content::Half(message) | Content::Request(message, ..) => {
                Some(message)
            }
            Content::Batch(messages) => messages.first(),
        }
    }

    #[cfg(feature = "tracing")]
    fn messages(&self) -> &[Message] {
        match self {
            Content::One(message) | Content::Half(message) | Content::Request(message, ..) => {
                std::slice::from_ref(message)
            }
            Content::Batch(messages) => messages,
        }
    }

    /// Gives everything back, because of `kind`.
    fn not_sent(self, kind: SendErrorKind) -> SendError {
        match self {
            Content::One(message) | Content::Half(message) | Content::Request(message, ..) => {
                SendError::not_sent(kind, message)
            }
            Content::Batch(messages) => SendError::not_sent_all(kind, messages),
        }
    }

    #[inline]
    fn prepare(
        self,
        producer: &Producer,
        called: ClockReading,
    ) -> Result<PreparedMessage, SendError> {
        let shared = producer.shared();
        let config = &shared.config;
        if let Content::Batch(messages) = self {
            return batch::prepare(shared, messages, called);
        }
        let unique_key = shared.identity.next_key(called.wall, &*shared.clock);
        let prepared = match self {
            Content::One(message) => PreparedMessage::new(message, unique_key, called, config),
            Content::Half(message) => {
                // The group is registered, so it has a name.
                let group = config.wire_group(producer.group()).unwrap_or_default();
                PreparedMessage::half(message, unique_key, &group, called, config)
            }
            Content::Request(message, id, time) => {
                PreparedMessage::request(message, unique_key, id, time, called, config)
            }
            Content::Batch(messages) => return batch::prepare(shared, messages, called),
        };
        prepared.map_err(|(error, message)| {
            let kind = SendErrorKind::Invalid(error);
            SendError::not_sent(kind, message).or_unique_key(unique_key)
        })
    }
}

struct New {
    /// `None` once it was taken to be submitted, in case that panics.
    content: Option<Content>,
    options: SendOptions,
    mode: Mode,
    called: ClockReading,
    announce: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

pub(crate) struct Open {
    slot: Arc<SendSlot>,
    /// The number under which it waited for room, or still does.
    number: Option<u64>,
    unique_key: UniqueKey,
}

impl Open {
    pub(crate) fn cancel(&self, producer: &Producer) {
        producer.shared().cancel(&self.slot, self.number);
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Completion, SendError>> {
        let key = self.unique_key;
        self.slot.poll(cx).map_err(|error| error.or_unique_key(key))
    }

    pub(crate) fn unique_key(&self) -> UniqueKey {
        self.unique_key
    }
}

impl New {
    fn deadline(&self, shared: &Shared) -> Instant {
        self.called.instant + self.options.timeout.unwrap_or(shared.config.send_timeout)
    }

    fn first(&self) -> Option<&Message> {
        self.content.as_ref().and_then(Content::first)
    }

    fn selection(&self) -> Option<Selection> {
        self.options.selector.selection(self.options.order)
    }

    /// Asks the function of the caller, if the queues are known. Otherwise the kind of error, and
    /// what the name servers said.
    fn ask(&self, queues: Result<PublishQueues, QueuesError>) -> Result<Selection, Refusal> {
        let no_route = |kind| (kind, Vec::new());
        let queues = queues.map_err(|error| match error {
            QueuesError::Invalid(invalid) => no_route(SendErrorKind::Invalid(invalid)),
            QueuesError::TopicNotFound { name_servers } => {
                (SendErrorKind::TopicNotFound, name_servers)
            }
            QueuesError::NameServerUnreachable { name_servers } if name_servers.is_empty() => {
                no_route(SendErrorKind::Timeout)
            }
            QueuesError::NameServerUnreachable { name_servers } => {
                (SendErrorKind::NameServerUnreachable, name_servers)
            }
            QueuesError::TooMany => no_route(SendErrorKind::Backpressure(Bound::Topics)),
            QueuesError::Closed => no_route(SendErrorKind::Closed),
            _ => no_route(SendErrorKind::DriverStopped),
        })?;
        let empty = || no_route(SendErrorKind::InvalidBatch(Box::new(InvalidBatch::Empty)));
        let message = self.first().ok_or_else(empty)?;
        self.options.selector.ask(&queues, message).map_err(no_route)
    }

    /// Ends a send that has no queue.
    fn refuse(
        &self,
        producer: &Producer,
        content: Content,
        kind: SendErrorKind,
        said: Vec<NameServerFailure>,
    ) -> SendError {
        let shared = producer.shared();
        let elapsed = shared.clock.now().saturating_since(self.called.instant);
        let unique_key = shared.identity.next_key(self.called.wall, &*shared.clock);
        let error = content.not_sent(kind).with_name_servers(said);
        let error = error.with_elapsed(elapsed).or_unique_key(unique_key);
        #[cfg(feature = "tracing")]
        crate::telemetry::failed(&self.span, &error);
        error
    }

    /// Prepares and submits what is to be sent.
    #[inline]
    fn submit(
        &self,
        producer: &Producer,
        content: Content,
        selection: Selection,
        wait: bool,
    ) -> Result<Open, SendError> {
        let open = self.open(producer, content, selection, wait);
        #[cfg(feature = "tracing")]
        match &open {
            Ok(open) => crate::telemetry::named(&self.span, open.unique_key),
            Err(error) => crate::telemetry::failed(&self.span, error),
        }
        open
    }

    #[inline]
    fn open(
        &self,
        producer: &Producer,
        content: Content,
        selection: Selection,
        wait: bool,
    ) -> Result<Open, SendError> {
        let (shared, options) = (producer.shared(), &self.options);
        let started = self.called.instant;
        let alone = !matches!(content, Content::One(_));
        let mut message = content.prepare(producer, self.called)?;
        if let Err(invalid) = compress_message(&mut message, options, &shared.config) {
            return Err(SendError::not_sent_prepared(SendErrorKind::Invalid(invalid), message));
        }
        let unique_key = message.unique_key();
        #[cfg(not(feature = "tracing"))]
        let slot = Arc::new(Slot::new());
        #[cfg(feature = "tracing")]
        let slot = Arc::new(Slot::with_span(self.span.clone()));
        let time = options.timeout.unwrap_or(shared.config.send_timeout);
        let unlimited = options.unlimited_wait_for_room;
        let patient = wait && unlimited.unwrap_or(shared.config.unlimited_wait_for_room);
        let gather = producer.gathers()
            && !alone
            && !patient
            && self.mode == Mode::Awaited
            && *options == SendOptions::default()
            && message.is_batchable();
        let request = Request {
            message,
            group: producer.group_number(),
            mode: self.mode,
            selection,
            when_down: options.when_down,
            order: options.order,
            retries_max: options.retries_max,
            started,
            deadline: if patient { Instant::FAR_FUTURE } else { started + time },
            time_with_room: patient.then_some(time),
            slot: Arc::clone(&slot),
            announce: self.announce,
            gather,
        };
        let number = match shared.submit(request, wait)? {
            Placement::Accepted => None,
            Placement::Waiting(number) => Some(number),
        };
        Ok(Open { slot, number, unique_key })
    }
}

/// Why there is no queue, and what the name servers said.
type Refusal = (SendErrorKind, Vec<NameServerFailure>);

impl Operation {
    #[inline]
    pub(crate) fn new(
        producer: &Producer,
        content: Content,
        options: SendOptions,
        mode: Mode,
    ) -> Operation {
        let clock = &producer.shared().clock;
        let called = ClockReading { instant: clock.now(), wall: clock.wall() };
        #[cfg(feature = "tracing")]
        let span = crate::telemetry::span(content.messages(), &producer.shared().config);
        let new = New {
            content: Some(content),
            options,
            mode,
            called,
            announce: false,
            #[cfg(feature = "tracing")]
            span,
        };
        Operation { producer: producer.clone(), stage: Stage::New(new) }
    }

    /// Wakes the caller as soon as there is room.
    pub(crate) fn announce(&mut self) {
        if let Stage::New(new) = &mut self.stage {
            new.announce = true;
        }
    }

    /// Submits without waiting for room.
    pub(crate) fn submit_now(mut self) -> Result<PendingSend, SendError> {
        if let Stage::New(new) = &mut self.stage
            && let Some(content) = new.content.take()
        {
            let Some(selection) = new.selection() else {
                let kind = SendErrorKind::Selector(SelectorFailure::WouldWait);
                return Err(new.refuse(&self.producer, content, kind, Vec::new()));
            };
            let open = new.submit(&self.producer, content, selection, false)?;
            self.stage = Stage::Open(open);
        }
        self.into_pending()
    }

    /// Ready once the send has room; with an error if it never had.
    pub(crate) fn poll_accepted(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        if let Err(error) = ready!(self.poll_started(cx)) {
            return Poll::Ready(Err(error));
        }
        let Stage::Open(open) = &self.stage else { return Poll::Pending };
        if ready!(open.slot.poll_accepted(cx)) {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.poll_result(cx)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Ready when the send has ended. Pending for ever after that.
    pub(crate) fn poll_result(&mut self, cx: &Context<'_>) -> Poll<Result<Completion, SendError>> {
        if !matches!(self.stage, Stage::Open(_))
            && let Err(error) = ready!(self.poll_started(cx))
        {
            return Poll::Ready(Err(error));
        }
        let Stage::Open(open) = &self.stage else { return Poll::Pending };
        let key = open.unique_key;
        let result = ready!(open.slot.poll(cx)).map_err(|error| error.or_unique_key(key));
        self.stage = Stage::Done;
        Poll::Ready(result)
    }

    /// Submits the message, once; before that it asks a function of the caller for the queue, if
    /// there is one.
    fn poll_started(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let open = match &mut self.stage {
            // Where it is: what is to be sent is too large to be moved for nothing.
            Stage::New(new) => {
                let Some(selection) = new.selection() else { return self.poll_selecting(cx) };
                let Some(content) = new.content.take() else { return Poll::Pending };
                new.submit(&self.producer, content, selection, true)
            }
            Stage::Selecting(..) => return self.poll_selecting(cx),
            Stage::Open(_) | Stage::Done => return Poll::Ready(Ok(())),
        };
        Poll::Ready(self.started(open))
    }

    /// Gets the queues, asks the function of the caller, and submits the message.
    fn poll_selecting(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let (mut new, slot) = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::New(new) => {
                let (shared, slot) = (self.producer.shared(), Arc::new(Slot::new()));
                let topic = new.first().map(Message::topic).unwrap_or_default();
                shared.queues(topic, &slot, new.deadline(shared));
                (new, slot)
            }
            Stage::Selecting(new, slot) => (new, slot),
            Stage::Open(_) | Stage::Done => return Poll::Ready(Ok(())),
        };
        let Poll::Ready(queues) = slot.poll(cx) else {
            self.stage = Stage::Selecting(new, slot);
            return Poll::Pending;
        };
        let asked = new.ask(queues);
        let Some(content) = new.content.take() else { return Poll::Pending };
        let open = match asked {
            Ok(selection) => new.submit(&self.producer, content, selection, true),
            Err((kind, said)) => Err(new.refuse(&self.producer, content, kind, said)),
        };
        Poll::Ready(self.started(open))
    }

    #[inline]
    fn started(&mut self, open: Result<Open, SendError>) -> Result<(), SendError> {
        let (stage, result) = match open {
            Ok(open) => (Stage::Open(open), Ok(())),
            Err(error) => (Stage::Done, Err(error)),
        };
        self.stage = stage;
        result
    }

    /// The caller has gone.
    pub(crate) fn abandon(&mut self) {
        if let Stage::Open(open) = &self.stage {
            self.producer.shared().cancel(&open.slot, open.number);
        }
    }

    pub(crate) fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The unique key of a send that is open: submitted, and its result not taken.
    pub(crate) fn open_key(&self) -> Option<UniqueKey> {
        match &self.stage {
            Stage::Open(open) => Some(open.unique_key),
            Stage::New(_) | Stage::Selecting(..) | Stage::Done => None,
        }
    }

    /// The handle of a send that has room.
    fn into_pending(self) -> Result<PendingSend, SendError> {
        match self.into_open() {
            Some((producer, open)) => Ok(PendingSend { producer, open }),
            // Only called between acceptance and result.
            None => unreachable!("a send is open until its result is taken"),
        }
    }

    /// `None` unless it has been submitted and its result was not taken.
    pub(crate) fn into_open(self) -> Option<(Producer, Open)> {
        match self.stage {
            Stage::Open(open) => Some((self.producer, open)),
            Stage::New(_) | Stage::Selecting(..) | Stage::Done => None,
        }
    }
}

/// The future of [`Producer::send`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct SendFuture(Operation);

impl SendFuture {
    pub(crate) fn new(operation: Operation) -> SendFuture {
        SendFuture(operation)
    }
}

impl Future for SendFuture {
    type Output = Result<SendReceipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_result(cx).map_ok(receipt)
    }
}

impl Drop for SendFuture {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The future of [`Producer::send_oneway`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct OnewayFuture(Operation);

impl OnewayFuture {
    pub(crate) fn new(operation: Operation) -> OnewayFuture {
        OnewayFuture(operation)
    }
}

impl Future for OnewayFuture {
    type Output = Result<OnewayReceipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_result(cx).map_ok(|completion| match completion {
            Completion::Sent(receipt) => receipt,
            _ => unreachable!("the machine ends a oneway send with Sent"),
        })
    }
}

impl Drop for OnewayFuture {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The future of [`Producer::submit`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct SubmitFuture(Option<Operation>);

impl SubmitFuture {
    pub(crate) fn new(operation: Operation) -> SubmitFuture {
        SubmitFuture(Some(operation))
    }
}

impl Future for SubmitFuture {
    type Output = Result<PendingSend, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(operation) = &mut self.0 else { return Poll::Pending };
        let accepted = ready!(operation.poll_accepted(cx));
        let operation = self.0.take();
        match (accepted, operation) {
            (Ok(()), Some(operation)) => Poll::Ready(operation.into_pending()),
            (Err(error), _) => Poll::Ready(Err(error)),
            (Ok(()), None) => Poll::Pending,
        }
    }
}

impl Drop for SubmitFuture {
    fn drop(&mut self) {
        if let Some(operation) = &mut self.0 {
            operation.abandon();
        }
    }
}

/// A send that has room and is under way. Await it for the acknowledgement.
///
/// # Cancel safety
/// Dropping it lets the send go on; how it ends is then seen in
/// [`Client::stats`](crate::Client::stats), and in [`CloseReport::unclaimed`] if it fails during
/// [`Client::close`](crate::Client::close). To stop it, call [`PendingSend::cancel`].
///
/// [`CloseReport::unclaimed`]: crate::CloseReport::unclaimed
#[must_use = "await it for the acknowledgement, or drop it to let the send go on unobserved"]
pub struct PendingSend {
    producer: Producer,
    open: Open,
}

impl PendingSend {
    /// Cancels the send, as far as that is possible. If no byte has left, it ends with
    /// [`SendErrorKind::Cancelled`]. Otherwise there is no further attempt, and it ends with what
    /// the broker answers to this one.
    ///
    /// Await the handle to know which.
    pub fn cancel(&self) {
        self.open.cancel(&self.producer);
    }

    /// The client's own id of the message, the same over all attempts.
    pub fn unique_key(&self) -> UniqueKey {
        self.open.unique_key()
    }
}

impl Future for PendingSend {
    type Output = Result<SendReceipt, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.open.poll(cx).map_ok(receipt)
    }
}

fn receipt(completion: Completion) -> SendReceipt {
    match completion {
        Completion::Stored(receipt) => receipt,
        _ => unreachable!("the machine ends an awaited send with Stored"),
    }
}

macro_rules! debug {
    ($($name:ident),*) => {
        $(
            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($name)).finish_non_exhaustive()
                }
            }
        )*
    };
}

pub(crate) use debug;

debug!(SendFuture, OnewayFuture, SubmitFuture, PendingSend);
