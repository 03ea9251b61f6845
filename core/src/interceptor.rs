//! Code of the application that is called in the course of every send and every request.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::client::Mode;
use crate::credentials::is_signature_field;
use crate::error::Attempt;
use crate::limits;
use crate::receipt::SendReceipt;
use crate::wire::{ExtFields, RequestCode, ResponseCode, UniqueKey};

/// Watches, refuses or signs what a client does. Handed in with
/// [`ConfigBuilder::interceptor`](crate::ConfigBuilder::interceptor); does nothing but what its
/// author overrides.
///
/// Interceptors are called on the task of the client's driver, one after the other in the order in
/// which they were handed in. They hold up every send of the client for as long as they take: they
/// should never wait for anything. They see everything by reference; nothing of a message can be
/// changed.
///
/// # Panics
/// A panic is caught by the driver. In [`check_forbidden`](Self::check_forbidden),
/// [`before_send`](Self::before_send) and [`request`](Self::request) it fails that one send (or
/// that one other request), with
/// [`SendErrorKind::InterceptorPanicked`](crate::SendErrorKind::InterceptorPanicked). Every panic
/// is reported as [`Event::InterceptorPanicked`](crate::Event::InterceptorPanicked).
///
/// ```
/// use std::sync::Arc;
/// use rocketmq_core::{Config, Forbidden, Interceptor, SendContext};
///
/// /// Lets nothing but orders out.
/// struct OrdersOnly;
///
/// impl Interceptor for OrdersOnly {
///     fn check_forbidden(&self, context: &SendContext<'_>) -> Result<(), Forbidden> {
///         match context.message.topic() {
///             "orders" => Ok(()),
///             other => Err(Forbidden::new(format!("\"{other}\" is not for this service"))),
///         }
///     }
/// }
///
/// let config = Config::builder("127.0.0.1:9876").interceptor(Arc::new(OrdersOnly)).build()?;
/// assert_eq!(config.interceptors.len(), 1);
/// # Ok::<(), rocketmq_core::ConfigError>(())
/// ```
// Java: CheckForbiddenHook, SendMessageHook, RPCHook. EndTransactionHook has its place here once
// there are transactions to end.
pub trait Interceptor: Send + Sync {
    /// Asked before every attempt, when its queue is chosen and the body has its final form.
    ///
    /// # Errors
    /// A refusal ends the send as
    /// [`InvalidMessage::Forbidden`](crate::InvalidMessage::Forbidden), without another attempt:
    /// what is forbidden is the message, and asking again until some broker is let through would
    /// make the check worthless. (The Java client does ask again.) If an earlier attempt may have
    /// stored the message, the error says so as always.
    // Java: CheckForbiddenHook#checkForbidden; a refusal fails the attempt alone
    fn check_forbidden(&self, context: &SendContext<'_>) -> Result<(), Forbidden> {
        let _ = context;
        Ok(())
    }

    /// An attempt begins. Each gets exactly one [`after_send`](Self::after_send).
    // Java: SendMessageHook#sendMessageBefore
    fn before_send(&self, context: &SendContext<'_>) {
        let _ = context;
    }

    /// An attempt has ended: with an answer, with a failure, or because the client no longer waits
    /// for it. Called exactly once for each [`before_send`](Self::before_send).
    ///
    /// The answer to an attempt that was given up may still come and be taken: then the send ends
    /// with a receipt of that attempt, though this was told
    /// [`Delivery::Unknown`](crate::Delivery::Unknown) of it, which stays true.
    // Java: SendMessageHook#sendMessageAfter, which async sends call twice, first with nothing
    fn after_send(&self, context: &SendContext<'_>, outcome: &AttemptOutcome<'_>) {
        let _ = (context, outcome);
    }

    /// A request of any kind has its final form and is about to be put on the wire; fields may be
    /// added. Interceptors handed in later see what earlier ones added, so one that signs belongs
    /// at the end: it then sees exactly what the server will.
    ///
    /// A request that is given up before a byte of it has left may have been seen here, too.
    // Java: RPCHook#doBeforeRequest
    fn request(&self, request: &mut RequestContext<'_>) {
        let _ = request;
    }

    /// A request was answered, well or not, and the client was waiting for it. Answers that come
    /// later are [`Event::LateAnswer`](crate::Event::LateAnswer)s.
    // Java: RPCHook#doAfterResponse
    fn response(&self, response: &ResponseContext<'_>) {
        let _ = response;
    }
}

/// One attempt of a send, as interceptors see it.
// Java: SendMessageContext, CheckForbiddenContext
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub struct SendContext<'a> {
    /// The name servers of the client.
    pub name_servers: &'a [Address],
    /// How brokers tell this client from others.
    pub client_id: &'a str,
    /// The producer group.
    pub group: &'a str,
    /// Whether the send waits for an answer.
    pub mode: Mode,
    /// Name of the broker that was chosen.
    pub broker_name: &'a str,
    /// Its address.
    pub broker_address: &'a str,
    /// The queue on that broker.
    pub queue_id: u32,
    /// The message, as the caller handed it in.
    pub message: &'a crate::Message,
    /// The body as it is sent.
    pub body: &'a Bytes,
    /// The namespace, if the client has one.
    pub namespace: Option<&'a str>,
    /// Whether the client belongs to a unit of a deployment.
    pub unit_mode: bool,
    /// What kind of message it is.
    pub message_type: MessageType,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The client's own id of the message, the same over all attempts.
    pub unique_key: UniqueKey,
}

impl SendContext<'_> {
    /// The client's own address, as far as it is part of its id: what stands before the first `@`.
    // Java: SendMessageContext#setBornHost with ClientConfig#clientIP
    pub fn client_address(&self) -> Option<&str> {
        self.client_id.split_once('@').map(|(address, _)| address)
    }
}

/// Kinds of messages.
// Java: org.apache.rocketmq.common.message.MessageType
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MessageType {
    /// Delivered at once.
    Normal,
    /// Delivered later: by level, or at a time. Also if it is half of a transaction.
    Delay,
    /// The first half of a transaction.
    Half,
    /// The answer to another message.
    Reply,
}

/// How an attempt ended.
#[derive(Copy, Clone, Debug)]
#[non_exhaustive]
pub enum AttemptOutcome<'a> {
    /// A broker stored the message; see the receipt's status for how safely.
    Stored(&'a SendReceipt),
    /// A oneway message was handed to the socket, so long after the call. Nothing more will be
    /// known.
    Sent {
        /// Time since the call.
        elapsed: Duration,
    },
    /// The attempt failed or was given up.
    Failed(&'a Attempt),
}

/// An interceptor's refusal to let a message out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("forbidden by an interceptor: {reason}")]
pub struct Forbidden {
    reason: Box<str>,
}

impl Forbidden {
    /// A refusal for this reason, which is shown to whoever sent the message; cut to 4 KiB.
    pub fn new(reason: impl Into<String>) -> Forbidden {
        let mut reason = reason.into();
        let mut end = reason.len().min(limits::REMARK_LENGTH_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Forbidden { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Which send, and which attempt of it, a request belongs to.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct SendAttempt {
    /// The client's own id of the message.
    pub unique_key: UniqueKey,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// A request about to be put on the wire.
#[derive(Debug)]
#[non_exhaustive]
pub struct RequestContext<'a> {
    /// What is asked for.
    pub code: RequestCode,
    /// The request's number on its connection; its answer has the same.
    pub opaque: i32,
    /// Whether the server is told not to answer.
    pub oneway: bool,
    /// The server's address.
    pub address: &'a str,
    /// The send that it belongs to; `None` for heartbeats, route queries and the like.
    pub send: Option<SendAttempt>,
    pub(crate) fields: ExtFields<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) added: Vec<(String, String)>,
    pub(crate) added_bytes: usize,
    /// The client signs the request, when all of them have seen it.
    pub(crate) signed: bool,
}

impl RequestContext<'_> {
    /// All fields that the request has by now, in the order in which they were made.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let added = |(key, value): &(String, String)| {
            (Cow::Owned::<str>(key.clone()), Cow::Owned::<str>(value.clone()))
        };
        self.fields.iter().chain(self.added.iter().map(added))
    }

    /// The body as it is sent.
    pub fn body(&self) -> &[u8] {
        self.body
    }

    /// Adds a field.
    ///
    /// # Errors
    /// If the field cannot be added; the request goes out without it.
    pub fn add_field(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), FieldError> {
        let (key, value) = (key.into(), value.into());
        let bytes = self.added_bytes + key.len() + value.len();
        if key.is_empty() || value.is_empty() {
            return Err(FieldError::Empty);
        }
        let letter = matches!(key.as_bytes(), [b'a'..=b'z']);
        let signature = self.signed && is_signature_field(&key);
        if letter || signature || self.fields().any(|(known, _)| known == *key) {
            return Err(FieldError::Taken { key });
        }
        if self.added.len() >= limits::ADDED_FIELDS_MAX || bytes > limits::ADDED_FIELD_BYTES_MAX {
            return Err(FieldError::TooMuch);
        }
        self.added.push((key, value));
        self.added_bytes = bytes;
        Ok(())
    }
}

/// A field that cannot be added to a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The key or the value is empty. Servers read an empty value of a binary header as none, and
    /// then compute other signatures.
    #[error("the key or the value is empty")]
    Empty,
    /// The request has a field of this name, or the protocol gives the name a meaning: single
    /// small letters are the fields of sends.
    #[error("the field \"{key}\" belongs to the client")]
    Taken {
        /// Its name.
        key: String,
    },
    /// Interceptors may add 64 fields to a request, of 32 KiB in all.
    #[error("interceptors add at most 64 fields of 32 KiB in all to one request")]
    TooMuch,
}

/// An answer to a request of this client.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResponseContext<'a> {
    /// What was asked for.
    pub request: RequestCode,
    /// The request's number on its connection.
    pub opaque: i32,
    /// The server's address.
    pub address: &'a str,
    /// The send that it belongs to; `None` for heartbeats, route queries and the like.
    pub send: Option<SendAttempt>,
    /// The answer's code.
    pub code: ResponseCode,
    /// Its explanation; empty if there is none.
    pub remark: &'a str,
    pub(crate) fields: ExtFields<'a>,
    pub(crate) body: &'a [u8],
}

impl ResponseContext<'_> {
    /// The answer's fields, in the order of the frame.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.fields.iter()
    }

    /// The answer's body.
    pub fn body(&self) -> &[u8] {
        self.body
    }
}

/// A point at which interceptors are called.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Hook {
    /// [`Interceptor::check_forbidden`].
    CheckForbidden,
    /// [`Interceptor::before_send`].
    BeforeSend,
    /// [`Interceptor::after_send`].
    AfterSend,
    /// [`Interceptor::request`].
    Request,
    /// [`Interceptor::response`].
    Response,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::CheckForbidden => "check_forbidden",
            Hook::BeforeSend => "before_send",
            Hook::AfterSend => "after_send",
            Hook::Request => "request",
            Hook::Response => "response",
        })
    }
}

/// The interceptors of one client, in the order in which they are called.
///
/// `Debug` shows their number alone: one that signs holds a secret.
#[derive(Clone, Default)]
pub struct Interceptors {
    list: Vec<Arc<dyn Interceptor>>,
    guard: Option<fn(&mut dyn FnMut())>,
}

impl Interceptors {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Calls of interceptors go through `guard` from now on, which has to call what it gets once,
    /// and to catch its panic.
    #[doc(hidden)]
    pub fn guard(&mut self, guard: fn(&mut dyn FnMut())) {
        self.guard = Some(guard);
    }

    pub(crate) fn push(&mut self, interceptor: Arc<dyn Interceptor>) {
        self.list.push(interceptor);
    }

    /// Calls all of them, also if one panics. Whether none did.
    pub(crate) fn each(&self, mut call: impl FnMut(&dyn Interceptor)) -> Result<(), Panicked> {
        let mut result = Ok(());
        for interceptor in &self.list {
            let mut returned = false;
            let mut run = || {
                call(&**interceptor);
                returned = true;
            };
            match self.guard {
                Some(guard) => guard(&mut run),
                None => run(),
            }
            if !returned {
                result = Err(Panicked);
            }
        }
        result
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptors", self.len())
    }
}

/// An interceptor panicked, and its guard caught it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Panicked;
