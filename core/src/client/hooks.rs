//! Where interceptors are called. All of it costs one branch if there is none.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Client;
use super::attempt::is_weak;
use super::control::ControlKind;
use super::operation::{Current, Op};
use super::requests::Request;
use super::selection::Chosen;
use super::verdict::Fault;
use crate::config::Config;
use crate::error::{AttemptFailure, Delivery, SendErrorKind, Stage};
use crate::id::{ConnId, OpId};
use crate::interceptor::{
    AttemptOutcome, Hook, MessageType, Panicked, RequestContext, ResponseContext, SendAttempt,
    SendContext,
};
use crate::invalid::InvalidMessage;
use crate::namespace;
use crate::output::{Event, EventSet};
use crate::prepared::PreparedMessage;
use crate::receipt::SendReceipt;
use crate::request::REPLY;
use crate::slab::Key;
use crate::wire::{
    Command, EncodeError, RequestCode, ResponseCode, UniqueKey, insert_fields, properties,
    property, split_written,
};

/// Where an attempt goes.
pub(super) struct Place<'a> {
    broker_name: &'a str,
    address: &'a str,
    queue_id: u32,
}

impl<'a> From<&'a Current> for Place<'a> {
    fn from(current: &'a Current) -> Place<'a> {
        let Current { broker_name, address, queue_id, .. } = current;
        Place { broker_name, address, queue_id: *queue_id }
    }
}

/// Why a request did not become a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum NotFramed {
    Encoding(EncodeError),
    Panicked,
}

impl From<EncodeError> for NotFramed {
    fn from(error: EncodeError) -> NotFramed {
        NotFramed::Encoding(error)
    }
}

impl Client {
    #[inline]
    pub(super) fn has_interceptors(&self) -> bool {
        !self.config.interceptors.is_empty()
    }

    // ---- Attempts ---------------------------------------------------------------------------

    /// Whether all interceptors let the next attempt of a send go.
    #[cold]
    pub(super) fn check_forbidden(&mut self, id: OpId, to: &Chosen) -> Result<(), SendErrorKind> {
        let Some(op) = self.ops.get(id).filter(|_| !self.carries_records(id)) else {
            return Ok(());
        };
        let Chosen { broker_name, address, queue_id, .. } = to;
        let place = Place { broker_name, address, queue_id: *queue_id };
        let context = context(&self.config, op, &place, op.number + 1);
        let mut refusal = None;
        let result = self.config.interceptors.each(|interceptor| {
            // The first refusal counts, and spares the others the question.
            if refusal.is_none() {
                refusal = interceptor.check_forbidden(&context).err();
            }
        });
        let unique_key = context.unique_key;
        match (refusal, result) {
            (Some(forbidden), _) => {
                // Java 5.0.0: DefaultMQProducerImpl#sendDefaultImpl, MQClientException. For the
                // default strategy this is nobody's fault.
                self.record_fault_of(to.broker, Duration::ZERO, Fault::None);
                Err(SendErrorKind::Invalid(InvalidMessage::Forbidden(forbidden)))
            }
            (None, Ok(())) => Ok(()),
            (None, Err(Panicked)) => {
                self.report_panic(Hook::CheckForbidden, Some(unique_key));
                Err(SendErrorKind::InterceptorPanicked)
            }
        }
    }

    /// Tells that the attempt under way begins. Whether nobody panicked.
    #[cold]
    pub(super) fn before_send(&mut self, id: OpId) -> Result<(), Panicked> {
        let Some(op) = self.ops.get(id).filter(|_| !self.carries_records(id)) else {
            return Ok(());
        };
        let Some(current) = &op.current else {
            return Ok(());
        };
        let context = context(&self.config, op, &current.into(), op.number);
        let result = self.config.interceptors.each(|it| it.before_send(&context));
        let unique_key = context.unique_key;
        if result.is_err() {
            self.report_panic(Hook::BeforeSend, Some(unique_key));
        }
        result
    }

    /// Moves the attempt under way to the failed ones, and tells of it.
    pub(super) fn fail_current(
        &mut self,
        id: OpId,
        stage: Stage,
        failure: AttemptFailure,
        delivery: Delivery,
    ) -> Option<Current> {
        let now = self.now;
        let current = self.ops.get_mut(id)?.fail_current(now, stage, failure, delivery)?;
        if self.has_interceptors() {
            self.after_failed(id, &current);
        }
        Some(current)
    }

    #[cold]
    fn after_failed(&mut self, id: OpId, current: &Current) {
        let Some(op) = self.ops.get(id).filter(|_| !self.carries_records(id)) else { return };
        let Some(attempt) = op.failed.last() else {
            return;
        };
        let weak = op.weak.as_deref().filter(|_| is_weak(attempt)).map(|receipt| SendReceipt {
            topic: op.message.message.topic_shared(),
            ..receipt.clone()
        });
        let outcome = match &weak {
            // Another broker is tried for a better one, but the message is stored.
            Some(receipt) => AttemptOutcome::Stored(receipt),
            None => AttemptOutcome::Failed(attempt),
        };
        let result = after_send(&self.config, op, current, &outcome);
        self.note_after(result, id);
    }

    /// Tells of an attempt that a broker acknowledged. `receipt` lacks nothing but its topic.
    #[cold]
    pub(super) fn after_stored(&mut self, id: OpId, current: &Current, receipt: &mut SendReceipt) {
        let Some(op) = self.ops.get(id) else { return };
        receipt.topic = op.message.message.topic_shared();
        if self.carries_records(id) {
            return;
        }
        let outcome = AttemptOutcome::Stored(receipt);
        let result = after_send(&self.config, op, current, &outcome);
        self.note_after(result, id);
    }

    /// Tells of a oneway attempt that the socket has taken.
    #[cold]
    pub(super) fn after_sent(&mut self, id: OpId) {
        let now = self.now;
        let Some(op) = self.ops.get(id) else { return };
        let Some(current) = &op.current else { return };
        let outcome = AttemptOutcome::Sent { elapsed: now.saturating_since(op.command.started) };
        let result = after_send(&self.config, op, current, &outcome);
        self.note_after(result, id);
    }

    fn note_after(&mut self, result: Result<(), Panicked>, id: OpId) {
        if result.is_err() {
            let unique_key = self.ops.get(id).map(|op| op.message.unique_key);
            self.report_panic(Hook::AfterSend, unique_key);
        }
    }

    pub(super) fn report_panic(&mut self, hook: Hook, unique_key: Option<UniqueKey>) {
        self.event(EventSet::INTERCEPTORS, || Event::InterceptorPanicked { hook, unique_key });
    }

    // ---- Requests and answers ---------------------------------------------------------------

    /// Tells of the answer to a request for which the client waits.
    #[cold]
    pub(super) fn response_hooks(
        &mut self,
        conn: ConnId,
        request: Request,
        command: &Command<'_>,
        body: &[u8],
    ) {
        let (code, send) = match request {
            Request::Send { op, number } => {
                let Some(op) = self.ops.get(op) else { return };
                let unique_key = op.message.unique_key;
                let code = op.message.kind().request_code(self.config.long_send_header);
                (code, Some(SendAttempt { unique_key, attempt: number }))
            }
            Request::Control(key) => match self.controls.get(key) {
                Some(control) => (control.kind.code(), None),
                None => return,
            },
        };
        let address = self.address_of(conn);
        let context = ResponseContext {
            request: code,
            opaque: command.opaque,
            address: &address,
            send,
            code: ResponseCode(command.code),
            remark: command.remark.as_deref().unwrap_or_default(),
            fields: command.ext_fields,
            body,
        };
        if self.config.interceptors.each(|it| it.response(&context)).is_err() {
            self.report_panic(Hook::Response, send.map(|send| send.unique_key));
        }
    }

    /// The address at the other end of a connection; empty if it is not known any more.
    pub(super) fn address_of(&self, conn: ConnId) -> Arc<str> {
        let session = self.sessions.get(Key::from_u64(conn.0));
        let endpoint = session.and_then(|session| self.endpoints.get(session.endpoint));
        endpoint.map(|endpoint| Arc::clone(&endpoint.text)).unwrap_or_default()
    }
}

/// Shows the frame that begins at `start` to the interceptors, and puts in the fields that they
/// add. `signed`: a signature follows. `body` is what follows the frame, if it holds no body
/// itself.
#[cold]
pub(super) fn request_hooks(
    config: &Config,
    signed: bool,
    address: &str,
    send: Option<SendAttempt>,
    out: &mut Vec<u8>,
    start: usize,
    body: &[u8],
) -> Result<(), NotFramed> {
    let added = {
        let frame = out.get(start..).unwrap_or_default();
        let Some((encoding, header, rest)) = split_written(frame) else {
            return Ok(());
        };
        // Read back from the very bytes that leave: what is shown is what the server sees.
        let Ok(command) = Command::decode(encoding, header) else {
            return Ok(());
        };
        let mut context = RequestContext {
            code: RequestCode(command.code),
            opaque: command.opaque,
            oneway: command.is_oneway(),
            address,
            send,
            fields: command.ext_fields,
            body: if rest.is_empty() { body } else { rest },
            added: Vec::new(),
            added_bytes: 0,
            signed,
        };
        let result = config.interceptors.each(|it| it.request(&mut context));
        result.map_err(|Panicked| NotFramed::Panicked)?;
        context.added
    };
    if !added.is_empty() {
        insert_fields(out, start, &added)?;
    }
    Ok(())
}

fn after_send(
    config: &Config,
    op: &Op,
    current: &Current,
    outcome: &AttemptOutcome<'_>,
) -> Result<(), Panicked> {
    let context = context(config, op, &current.into(), op.number);
    config.interceptors.each(|it| it.after_send(&context, outcome))
}

// Java: DefaultMQProducerImpl#sendKernelImpl
fn context<'a>(config: &'a Config, op: &'a Op, place: &Place<'a>, attempt: u32) -> SendContext<'a> {
    let message = &op.message.message;
    SendContext {
        name_servers: &config.name_servers,
        client_id: &config.client_id,
        group: match namespace::unwrap(&config.namespace, &op.group) {
            Cow::Borrowed(group) => group,
            Cow::Owned(_) => &op.group,
        },
        mode: op.command.mode,
        broker_name: place.broker_name,
        broker_address: place.address,
        queue_id: place.queue_id,
        message,
        body: op.message.body(),
        namespace: Some(&*config.namespace).filter(|namespace| !namespace.is_empty()),
        unit_mode: config.unit_mode,
        message_type: message_type(&op.message),
        attempt,
        unique_key: op.message.unique_key,
    }
}

/// The kind of a message, from the properties that it is sent with.
// Java: DefaultMQProducerImpl#sendKernelImpl, which knows of DELAY and __STARTDELIVERTIME alone
pub(super) fn message_type(message: &PreparedMessage) -> MessageType {
    const START_DELIVER_TIME: &str = "__STARTDELIVERTIME";
    let mut kind = MessageType::Normal;
    let text: Cow<'_, str> = message.properties.plain();
    for (name, value) in properties(&text) {
        match name {
            property::DELAY
            | property::TIMER_DELAY_SEC
            | property::TIMER_DELAY_MS
            | property::TIMER_DELIVER_MS
            | START_DELIVER_TIME => return MessageType::Delay,
            property::TRAN_MSG if value.eq_ignore_ascii_case("true") => kind = MessageType::Half,
            property::MSG_TYPE if value == REPLY => kind = MessageType::Reply,
            _ => {}
        }
    }
    kind
}

impl ControlKind {
    /// What the request asks for.
    pub(super) fn code(&self) -> RequestCode {
        match self {
            ControlKind::RouteQuery { .. } => RequestCode::GET_ROUTEINFO_BY_TOPIC,
            ControlKind::Heartbeat { .. } | ControlKind::Reach { .. } => RequestCode::HEART_BEAT,
            ControlKind::Unregister { .. } => RequestCode::UNREGISTER_CLIENT,
            ControlKind::EndTransaction(_) => RequestCode::END_TRANSACTION,
            ControlKind::Query { request, .. } => request.code(),
        }
    }
}
