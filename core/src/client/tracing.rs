//! The message trace: what is recorded of the messages of groups that want it. All of it costs one
//! branch if there is none.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Client;
use super::transaction::End;
use crate::config::GroupError;
use crate::id::{GroupId, OpId, TracerId};
use crate::interceptor::MessageType;
use crate::limits;
use crate::namespace;
use crate::output::Output;
use crate::prepared::PreparedMessage;
use crate::query::QueryRequest;
use crate::recall::RecallHandle;
use crate::slab::Key;
use crate::time::{ClockReading, Instant, WallTime};
use crate::wire::{
    Command, EndTransactionRecord, PubRecord, RecallRecord, ResponseCode, SendResponse, SendStatus,
    StoredMessage, TraceMessageType, TraceRecord, properties, property,
};

/// The region of a broker that tells none.
// Java: MixAll#DEFAULT_TRACE_REGION_ID
const DEFAULT_REGION: &str = "DefaultRegion";

/// The groups whose messages are recorded, and those that send the records.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    traced: Vec<Traced>,
    senders: Vec<Arc<str>>,
    /// Groups that are, or are about to be, in `senders`.
    sender_slots: usize,
    /// There was one. What the bound on operations has grown by, it does not lose again.
    has_had_senders: bool,
    /// The latest reading of both clocks, for what has no message to have it from.
    clock: ClockReading,
}

#[derive(Debug)]
struct Traced {
    tracer: TracerId,
    /// As servers know it. Sends hold the very same text, so that one that comes after its group
    /// has gone is not taken for another group's.
    group: Arc<str>,
    /// Messages of topics that begin like this one are not recorded.
    topic: Box<str>,
    registered: bool,
}

/// What is recorded of the message of a transaction besides where it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Labels {
    tag: Option<Box<str>>,
    keys: Option<Box<str>>,
    /// Of a message that a broker asks about, which names another topic in its question.
    topic: Option<Box<str>>,
    region: Option<Box<str>>,
}

impl Tracing {
    fn of(&self, group: &Arc<str>) -> Option<&Traced> {
        self.traced.iter().find(|traced| Arc::ptr_eq(&traced.group, group))
    }

    /// Forgets the groups that have gone and of which no send is open any more.
    fn tidy(&mut self) {
        self.traced.retain(|traced| traced.registered || Arc::strong_count(&traced.group) > 1);
    }

    /// Groups beyond those of the application.
    pub(super) fn sender_slots(&self) -> usize {
        self.sender_slots
    }

    /// Operations beyond those of the application.
    pub(super) fn operations(&self) -> u32 {
        if self.has_had_senders { limits::TRACES_IN_FLIGHT_MAX } else { 0 }
    }

    /// A group is not registered any more.
    pub(super) fn unregistered(&mut self, group: &Arc<str>) {
        for traced in self.traced.iter_mut().filter(|traced| Arc::ptr_eq(&traced.group, group)) {
            traced.registered = false;
        }
        self.tidy();
        let before = self.senders.len();
        self.senders.retain(|sender| !Arc::ptr_eq(sender, group));
        self.sender_slots -= before - self.senders.len();
    }
}

impl Client {
    /// Registers a producer group as [`Client::register`] does, and reports what becomes of its
    /// messages as [`Output::Trace`] with the name `tracer`. Messages of topics whose names begin
    /// with `topic`, where the records go, are left out. `clock` is now.
    ///
    /// Recorded is each send that a broker has answered with a receipt, unless the broker says
    /// that it wants no trace; what brokers are told about transactions; and each recall that a
    /// broker has answered.
    ///
    /// # Errors
    /// As [`Client::register`].
    // Java: SendMessageTraceHookImpl, EndTransactionTraceHookImpl, DefaultRecallMessageTraceHook
    pub fn register_traced(
        &mut self,
        now: Instant,
        group: &str,
        tracer: TracerId,
        topic: &str,
        clock: ClockReading,
    ) -> Result<GroupId, GroupError> {
        let id = self.register(now, group)?;
        self.tracing.tidy();
        self.tracing.clock = clock;
        if let Some(group) = self.groups.get(id.0 as usize).cloned().flatten() {
            let topic = topic.into();
            self.tracing.traced.push(Traced { tracer, group, topic, registered: true });
        }
        Ok(id)
    }

    /// Registers the group that sends records, beyond the bound on the application's groups. From
    /// the first one on, [`limits::TRACES_IN_FLIGHT_MAX`] more operations may be open.
    ///
    /// Its sends are made again only as long as that puts no load on a broker, so they take nothing
    /// from the retry budget; interceptors and events hear nothing of their attempts.
    ///
    /// # Errors
    /// As [`Client::register`].
    pub fn register_trace_sender(
        &mut self,
        now: Instant,
        group: &str,
    ) -> Result<GroupId, GroupError> {
        if self.tracing.sender_slots >= limits::GROUPS_MAX {
            return Err(GroupError::TooMany);
        }
        self.tracing.sender_slots += 1;
        let registered = self.register(now, group);
        let name = registered.as_ref().ok().and_then(|id| self.groups.get(id.0 as usize));
        match name.cloned().flatten() {
            Some(name) => {
                self.tracing.senders.push(name);
                if !core::mem::replace(&mut self.tracing.has_had_senders, true) {
                    self.operations_max += limits::TRACES_IN_FLIGHT_MAX;
                }
            }
            None => self.tracing.sender_slots -= 1,
        }
        registered
    }

    /// Whether there may be further records of that name: its group is registered, or sends of it
    /// are open.
    pub fn is_tracing(&mut self, tracer: TracerId) -> bool {
        self.tracing.tidy();
        self.tracing.traced.iter().any(|traced| traced.tracer == tracer)
    }

    #[inline]
    pub(super) fn has_traces(&self) -> bool {
        !self.tracing.traced.is_empty()
    }

    /// Whether a send carries records: the application has no part in it, and what becomes of it
    /// says nothing to the application's sends.
    #[inline]
    pub(super) fn carries_records(&self, id: OpId) -> bool {
        !self.tracing.senders.is_empty() && self.is_of_sender(id)
    }

    // Kept out of line: who asks is on the path of every send.
    #[cold]
    #[inline(never)]
    fn is_of_sender(&self, id: OpId) -> bool {
        self.ops.get(id).is_some_and(|op| {
            self.tracing.senders.iter().any(|sender| Arc::ptr_eq(sender, &op.group))
        })
    }

    // ---- Sends ------------------------------------------------------------------------------

    /// A broker has stored the message of a send, at the attempt with this number.
    // Java: SendMessageTraceHookImpl#sendMessageAfter
    #[cold]
    #[inline(never)]
    pub(super) fn trace_send(
        &mut self,
        id: OpId,
        number: u32,
        status: SendStatus,
        command: &Command<'_>,
    ) {
        let now = self.now;
        let Some(op) = self.ops.get(id) else { return };
        let Some(traced) = self.tracing.of(&op.group) else { return };
        let topic = op.message.message.topic();
        // Without a receipt that can be read there is no result in Java.
        let response = SendResponse::read(&command.ext_fields).filter(|answer| answer.trace_on);
        let Some(response) = response.filter(|_| !topic.starts_with(&*traced.topic)) else {
            return;
        };
        let current = op.current.as_ref().filter(|_| op.number == number);
        let (address, started) = match current {
            Some(current) => (&current.address, current.started),
            // Of an attempt that was given up nobody knows when it began.
            None => match op.failed.get((number as usize).wrapping_sub(1)) {
                Some(attempt) => (&attempt.address, op.command.started),
                None => return,
            },
        };
        let config = &self.config;
        let (tag, keys) = labels_on_wire(&op.message);
        let record = PubRecord {
            time: op.message.clock.wall_at(started),
            region: region(response.region_id),
            group: unwrapped(&config.namespace, &op.group),
            topic: unwrapped(&config.namespace, topic),
            message_id: message_id(&op.message, response.batch_unique_id.is_some()),
            tag,
            keys,
            store_host: (**address).into(),
            body_length: op.message.body().len(),
            cost: now.saturating_since(started),
            message_type: match super::hooks::message_type(&op.message) {
                MessageType::Half => TraceMessageType::Half,
                MessageType::Delay => TraceMessageType::Delay,
                _ => TraceMessageType::Normal,
            },
            offset_message_id: response.offset_message_id.map(Into::into),
            success: status == SendStatus::SendOk,
        };
        let tracer = traced.tracer;
        self.tracing.clock = op.message.clock;
        self.outputs.push_back(trace(tracer, TraceRecord::Pub(record)));
    }

    // ---- Transactions -----------------------------------------------------------------------

    /// What will be recorded of a message that begins a transaction; `None` if nothing will.
    pub(super) fn labels(
        &self,
        group: &Arc<str>,
        message: &PreparedMessage,
    ) -> Option<Box<Labels>> {
        self.tracing.of(group)?;
        let (tag, keys) = labels_on_wire(message);
        Some(Box::new(Labels { tag, keys, ..Labels::default() }))
    }

    /// The same of a message that a broker asks about.
    pub(super) fn labels_of_stored(
        &self,
        group: &Arc<str>,
        message: &StoredMessage,
    ) -> Option<Box<Labels>> {
        self.tracing.of(group)?;
        let own = |name: &str| message.property(name).map(Into::into);
        let (tag, keys) = (own(property::TAGS), own(property::KEYS));
        let topic = Some(message.topic.clone());
        Some(Box::new(Labels { tag, keys, topic, region: own(property::MSG_REGION) }))
    }

    /// A broker is about to be told how a transaction ends.
    // Java: EndTransactionTraceHookImpl#endTransaction
    pub(super) fn trace_end(&mut self, end: &End, endpoint: Key) {
        if !self.has_traces() {
            return;
        }
        let Some(traced) = self.tracing.of(&end.group) else { return };
        let namespace = &self.config.namespace;
        let labels = end.labels.as_deref().cloned().unwrap_or_default();
        let Labels { tag, keys, topic, region } = labels;
        let topic = unwrapped(namespace, topic.as_deref().unwrap_or(&end.topic));
        if topic.starts_with(&*traced.topic) {
            return;
        }
        let record = EndTransactionRecord {
            time: self.wall_time(),
            region: region.unwrap_or_else(|| DEFAULT_REGION.into()),
            group: unwrapped(namespace, &end.group),
            topic,
            message_id: end.unique_key_text.clone(),
            tag,
            keys,
            store_host: self.endpoints.get(endpoint).map_or("", |endpoint| &endpoint.text).into(),
            message_type: TraceMessageType::Commit,
            transaction_id: end.transaction_id.clone(),
            state: end.state,
            from_check: end.from_check,
        };
        let tracer = traced.tracer;
        self.outputs.push_back(trace(tracer, TraceRecord::EndTransaction(record)));
    }

    // ---- Recalls ----------------------------------------------------------------------------

    /// A broker has answered a question.
    // Java: DefaultRecallMessageTraceHook#doAfterResponse, which has to be switched on by itself.
    #[cold]
    pub(super) fn trace_recall(&mut self, request: &QueryRequest, command: &Command<'_>) {
        let QueryRequest::Recall { topic, producer_group, handle, .. } = request else { return };
        let region = command.ext_fields.get(property::MSG_REGION);
        let (Some(region), Ok(handle)) = (region, handle.parse::<RecallHandle>()) else { return };
        let named = |traced: &&Traced| traced.registered && *traced.group == **producer_group;
        let Some(traced) = self.tracing.traced.iter().find(named) else { return };
        let namespace = &self.config.namespace;
        let record = RecallRecord {
            time: self.wall_time(),
            region: (*region).into(),
            group: unwrapped(namespace, producer_group),
            topic: unwrapped(namespace, topic),
            message_id: handle.unique_key,
            success: ResponseCode(command.code) == ResponseCode::SUCCESS,
        };
        let tracer = traced.tracer;
        self.outputs.push_back(trace(tracer, TraceRecord::Recall(record)));
    }

    fn wall_time(&self) -> WallTime {
        self.tracing.clock.wall_at(self.now)
    }
}

fn trace(tracer: TracerId, record: TraceRecord) -> Output {
    Output::Trace { tracer, record: Box::new(record) }
}

fn region(told: Option<Cow<'_, str>>) -> Box<str> {
    told.filter(|region| !region.is_empty()).map_or_else(|| DEFAULT_REGION.into(), Into::into)
}

fn unwrapped(namespace: &str, name: &str) -> Box<str> {
    namespace::unwrap(namespace, name).into()
}

/// The tag and the keys that a message is sent with.
fn labels_on_wire(message: &PreparedMessage) -> (Option<Box<str>>, Option<Box<str>>) {
    let text: Cow<'_, str> = message.properties.plain();
    let (mut tag, mut keys) = (None, None);
    for (name, value) in properties(&text) {
        match name {
            property::TAGS => tag = Some(value.into()),
            property::KEYS => keys = Some(value.into()),
            _ => {}
        }
    }
    (tag, keys)
}

/// The id of a message. Brokers that take a batch apart give each of its messages its own.
// Java: MQClientAPIImpl#processSendResponse
fn message_id(message: &PreparedMessage, is_one_unit: bool) -> Box<str> {
    let Some(batch) = message.batch().filter(|_| !is_one_unit) else {
        return message.unique_key.to_string().into();
    };
    let mut ids = String::new();
    for (index, member) in batch.members.iter().enumerate() {
        if index > 0 {
            ids.push(',');
        }
        ids.push_str(&member.unique_key.to_string());
    }
    ids.into()
}
