//! Requests: messages whose sender waits for a message in return.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rocketmq_core::{
    Completion, CorrelationId, Delivery, Message, Mode, NoReply, ReplyMessage, SendError,
    SendReceipt, limits,
};

use crate::compression::{DecompressError, decompress};
use crate::operation::{Content, Operation, debug};
use crate::producer::{Producer, SendOptions};
use crate::shared::{Command, Shared};
use crate::slot::Slot;

/// Where a reply is left.
pub(crate) type ReplySlot = Slot<Result<Box<ReplyMessage>, NoReply>>;

impl Producer {
    /// Sends a message to which somebody is to reply, and waits for the reply: for `timeout` from
    /// the call, sending included (with [`SendOptions::with_unlimited_wait_for_room`], from when
    /// there is room).
    ///
    /// Whoever consumes the message replies with [`Message::reply_to`], or with the same of another
    /// client. Of several consumer groups each may reply; the first reply counts, and the others
    /// are [`Event::StrayReply`](crate::Event::StrayReply)s. So is one that comes too late. The
    /// body of the reply has been decompressed.
    ///
    /// Replies come by way of all brokers of the cluster, which have to know this client: before
    /// the first request each of them is greeted, which takes a moment, and up to a quarter of the
    /// timeout if one does not answer. The proxy of RocketMQ 5 passes no replies on.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use rocketmq_driver::{Message, Producer};
    /// # async fn example(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = Message::new("Prices", "how much is the fish?");
    /// let reply = producer.request(request, Duration::from_secs(3)).await?;
    /// println!("{}", String::from_utf8_lossy(&reply.body));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Tells whether the message may have reached anybody: see [`RequestError::delivery`]. Without
    /// a reply, whoever was asked may have done what was asked for.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the send as in [`Producer::send`], and nobody waits for the
    /// reply any more.
    // Java: DefaultMQProducer#request
    pub fn request(&self, message: impl Into<Message>, timeout: Duration) -> RequestFuture {
        self.request_with(message, timeout, SendOptions::new())
    }

    /// As [`Producer::request`], with options. Their timeout does not count.
    ///
    /// # Errors
    /// As [`Producer::request`].
    ///
    /// # Cancel safety
    /// As [`Producer::request`].
    pub fn request_with(
        &self,
        message: impl Into<Message>,
        timeout: Duration,
        options: SendOptions,
    ) -> RequestFuture {
        let clock = &self.shared().clock;
        // Two draws, each of 64 bits that nobody can guess.
        let bits = u128::from(clock.seed()) << 64 | u128::from(clock.seed());
        let id = CorrelationId::from_random(bits);
        let content = Content::Request(message.into(), id, timeout);
        let options = options.with_timeout(timeout);
        RequestFuture {
            operation: Operation::new(self, content, options, Mode::Awaited),
            correlation_id: id,
            slot: None,
            receipt: None,
            no_reply: None,
            replied: false,
            done: false,
        }
    }
}

/// The future of [`Producer::request`]. Does nothing until polled.
#[must_use = "futures do nothing unless awaited"]
pub struct RequestFuture {
    operation: Operation,
    correlation_id: CorrelationId,
    /// Where the reply is left; `None` before the first poll.
    slot: Option<Arc<ReplySlot>>,
    receipt: Option<Box<SendReceipt>>,
    no_reply: Option<NoReply>,
    /// The slot has given its result.
    replied: bool,
    done: bool,
}

impl RequestFuture {
    /// Which reply it waits for; as the property `CORRELATION_ID` of request and reply.
    pub fn correlation_id(&self) -> CorrelationId {
        self.correlation_id
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<ReplyMessage, RequestError>> {
        let slot = match &self.slot {
            Some(slot) => slot,
            None => {
                let slot = Arc::new(ReplySlot::new());
                self.operation.producer().shared().await_reply(self.correlation_id, &slot);
                self.slot.insert(slot)
            }
        };
        if let Poll::Ready(replied) = slot.poll(cx) {
            self.replied = true;
            match replied {
                Ok(reply) => return Poll::Ready(readable(*reply)),
                Err(no_reply) => self.no_reply = Some(no_reply),
            }
        }
        if self.receipt.is_none()
            && let Poll::Ready(sent) = self.operation.poll_result(cx)
        {
            match sent {
                Ok(Completion::Stored(receipt)) => self.receipt = Some(Box::new(receipt)),
                Ok(_) => unreachable!("the machine ends an awaited send with Stored"),
                Err(error) => return Poll::Ready(Err(RequestError::Send(error))),
            }
        }
        match (self.no_reply, self.receipt.take()) {
            (Some(reason), Some(receipt)) => {
                Poll::Ready(Err(RequestError::NoReply { reason, receipt }))
            }
            (_, receipt) => {
                self.receipt = receipt;
                Poll::Pending
            }
        }
    }
}

impl Future for RequestFuture {
    type Output = Result<ReplyMessage, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.poll_reply(cx);
        self.done |= polled.is_ready();
        polled
    }
}

impl Drop for RequestFuture {
    fn drop(&mut self) {
        if self.slot.is_some() && !self.done {
            self.operation.abandon();
        }
        if self.slot.is_some() && !self.replied {
            self.operation.producer().shared().forget_request(self.correlation_id);
        }
    }
}

debug!(RequestFuture);

/// Why a request has no reply.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not sent, or nobody knows whether it was.
    #[error("the request could not be sent: {0}")]
    Send(#[from] SendError),
    /// A broker has stored the request, and no reply has come. Whoever was asked may have done what
    /// was asked for, or may do it yet.
    #[error(
        "{reason}: request {} of topic \"{}\" was stored by {} and may have been, or may yet be, \
         acted upon; check that its consumers reply and that they can reach the cluster",
        .receipt.unique_key, .receipt.topic, .receipt.broker_name
    )]
    NoReply {
        /// Why none is waited for any more.
        reason: NoReply,
        /// Where the request was stored.
        receipt: Box<SendReceipt>,
    },
    /// A reply has come whose body cannot be read.
    #[error(
        "the reply cannot be read: {reason}; if its compression is not part of this build, add the \
         feature"
    )]
    Unreadable {
        /// The reply, with its body as it came.
        reply: Box<ReplyMessage>,
        /// What is wrong with its body.
        reason: DecompressError,
    },
}

impl RequestError {
    /// What is known of the request itself; `None` if a broker has stored it.
    pub fn delivery(&self) -> Option<Delivery> {
        match self {
            RequestError::Send(error) => Some(error.delivery()),
            RequestError::NoReply { .. } | RequestError::Unreadable { .. } => None,
        }
    }
}

/// The reply with its body as it was before it was sent. No reply could be larger uncompressed than
/// what is read here.
fn readable(mut reply: ReplyMessage) -> Result<ReplyMessage, RequestError> {
    if reply.is_compressed() {
        match decompress(reply.sys_flag, &reply.body, limits::FRAME_LENGTH_MAX) {
            Ok(body) => reply.set_decompressed(body),
            Err(reason) => {
                return Err(RequestError::Unreadable { reply: Box::new(reply), reason });
            }
        }
    }
    Ok(reply)
}

/// Who waits for replies.
#[derive(Debug, Default)]
pub(crate) struct OpenRequests(BTreeMap<CorrelationId, Arc<ReplySlot>>);

impl OpenRequests {
    pub(crate) fn enter(&mut self, id: CorrelationId, slot: Arc<ReplySlot>) {
        self.0.insert(id, slot);
    }

    pub(crate) fn forget(&mut self, id: CorrelationId) -> bool {
        self.0.remove(&id).is_some()
    }

    /// Leaves a result for its caller, whose waker it gives.
    pub(crate) fn end(
        &mut self,
        id: CorrelationId,
        result: Result<Box<ReplyMessage>, NoReply>,
    ) -> Option<Waker> {
        self.0.remove(&id)?.end(result)
    }

    /// Ends all that are left: no reply comes any more.
    pub(crate) fn end_all(&mut self, reason: NoReply, wakers: &mut Vec<Waker>) {
        for (_, slot) in std::mem::take(&mut self.0) {
            wakers.extend(slot.end(Err(reason)));
        }
    }
}

impl Shared {
    /// Has the reply to a request, which is sent next, left in `slot`.
    fn await_reply(&self, id: CorrelationId, slot: &Arc<ReplySlot>) {
        if !self.push(Command::AwaitReply { id, slot: Arc::clone(slot) }) {
            // The send fails as well, and says more.
            let _ = slot.end(Err(NoReply::DriverStopped));
        }
    }

    /// Nobody waits for the reply any more.
    fn forget_request(&self, id: CorrelationId) {
        self.push(Command::ForgetRequest { id });
    }
}
