//! The futures of sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    ClockReading, Completion, Instant, Message, Mode, OnewayReceipt, PreparedMessage, SendError,
    SendErrorKind, SendReceipt,
};

use crate::producer::{Producer, SendOptions};
use crate::shared::{Placement, Request, SendSlot};
use crate::slot::Slot;

/// One send as its caller sees it.
pub(crate) struct Operation {
    producer: Producer,
    stage: Stage,
}

enum Stage {
    /// Called, but not polled.
    New(New),
    /// Submitted.
    Open(Open),
    /// The result was given out.
    Done,
}

struct New {
    message: Message,
    options: SendOptions,
    mode: Mode,
    called: ClockReading,
    announce: bool,
}

struct Open {
    slot: Arc<SendSlot>,
    /// The number under which it waited for room, or still does.
    number: Option<u64>,
    unique_key: UniqueKey,
}

impl Operation {
    pub(crate) fn new(
        producer: &Producer,
        message: Message,
        options: SendOptions,
        mode: Mode,
    ) -> Operation {
        let clock = &producer.shared().clock;
        let called = ClockReading { instant: clock.now(), wall: clock.wall() };
        let new = New { message, options, mode, called, announce: false };
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
        self.start(false)?;
        self.into_pending()
    }

    /// Ready once the send has room; with an error if it never had.
    fn poll_accepted(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        if let Err(error) = self.start(true) {
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
    fn poll_result(&mut self, cx: &Context<'_>) -> Poll<Result<Completion, SendError>> {
        if let Err(error) = self.start(true) {
            return Poll::Ready(Err(error));
        }
        let Stage::Open(open) = &self.stage else { return Poll::Pending };
        let key = open.unique_key;
        let result = ready!(open.slot.poll(cx)).map_err(|error| error.or_unique_key(key));
        self.stage = Stage::Done;
        Poll::Ready(result)
    }

    /// Prepares and submits the message, once.
    fn start(&mut self, wait: bool) -> Result<(), SendError> {
        let Stage::New(_) = self.stage else { return Ok(()) };
        let Stage::New(new) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Ok(());
        };
        let shared = self.producer.shared();
        let unique_key = shared.identity.next_key(new.called.wall, &*shared.clock);
        let started = new.called.instant;
        let message = PreparedMessage::new(new.message, unique_key, new.called, &shared.config)
            .map_err(|(error, message)| {
                SendError::not_sent(SendErrorKind::Invalid(error), message)
                    .or_unique_key(unique_key)
            })?;
        let slot = Arc::new(Slot::new());
        let time = new.options.timeout.unwrap_or(shared.config.send_timeout);
        let unlimited = new.options.unlimited_wait_for_room;
        let patient = wait && unlimited.unwrap_or(shared.config.unlimited_wait_for_room);
        let request = Request {
            message,
            group: self.producer.group_number(),
            mode: new.mode,
            queue: new.options.queue,
            retries_max: new.options.retries_max,
            started,
            deadline: if patient { Instant::FAR_FUTURE } else { started + time },
            time_with_room: patient.then_some(time),
            slot: Arc::clone(&slot),
            announce: new.announce,
        };
        let number = match shared.submit(request, wait)? {
            Placement::Accepted => None,
            Placement::Waiting(number) => Some(number),
        };
        self.stage = Stage::Open(Open { slot, number, unique_key });
        Ok(())
    }

    /// The caller has gone.
    fn abandon(&mut self) {
        if let Stage::Open(open) = &self.stage {
            self.producer.shared().cancel(&open.slot, open.number);
        }
    }

    /// The handle of a send that has room.
    fn into_pending(self) -> Result<PendingSend, SendError> {
        match self.stage {
            Stage::Open(open) => Ok(PendingSend { producer: self.producer, open }),
            // Only called between acceptance and result.
            Stage::New(_) | Stage::Done => unreachable!("a send is open until its result is taken"),
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
        self.producer.shared().cancel(&self.open.slot, None);
    }

    /// The client's own id of the message, the same over all attempts.
    pub fn unique_key(&self) -> UniqueKey {
        self.open.unique_key
    }
}

impl Future for PendingSend {
    type Output = Result<SendReceipt, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.open.unique_key;
        self.open.slot.poll(cx).map_ok(receipt).map_err(|error| error.or_unique_key(key))
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
            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($name)).finish_non_exhaustive()
                }
            }
        )*
    };
}

debug!(SendFuture, OnewayFuture, SubmitFuture, PendingSend);
