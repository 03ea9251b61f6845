//! The form in which a message goes to the machine: checked, rendered, with its unique key.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::time::Duration;

use bytes::Bytes;

use crate::batch::Batch;
use crate::config::{Config, is_name_byte};
use crate::invalid::InvalidMessage;
use crate::limits;
use crate::message::Message;
use crate::namespace;
use crate::request::{CorrelationId, REPLY};
use crate::time::{ClockReading, WallTime};
use crate::wire::{
    PropertyText, PropertyWriter, RequestCode, UniqueKey, check_property, is_reserved, property,
    send_request_code,
};

/// A message that has been checked and has its unique key and its property string. Made on the
/// caller's task, so that the machine has little left to do.
#[derive(Clone, PartialEq, Debug)]
pub struct PreparedMessage {
    pub(crate) message: Message,
    pub(crate) properties: PropertyText,
    pub(crate) unique_key: UniqueKey,
    pub(crate) clock: ClockReading,
    /// What only few messages have; `None` for a plain one, which then costs nothing more.
    pub(crate) special: Option<Box<Special>>,
}

/// What goes on the wire besides, or instead of, what the message itself says.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Special {
    /// The body as sent, if it is not the message's own.
    pub(crate) body: Option<Bytes>,
    /// How the body is compressed, and whether the message is half of a transaction.
    // Java: MessageSysFlag
    pub(crate) sys_flag: i32,
    pub(crate) kind: SendKind,
    /// How often a message of a retry topic was consumed.
    pub(crate) reconsume_times: i32,
    /// How often it may be consumed.
    pub(crate) max_reconsume_times: Option<i32>,
    /// Of a batch, the messages in it.
    pub(crate) batch: Option<Batch>,
    /// It begins a transaction.
    pub(crate) half: bool,
    /// Somebody waits for a reply to it.
    pub(crate) request: Option<CorrelationId>,
}

/// What kind of request carries a message.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum SendKind {
    /// One message.
    #[default]
    Plain,
    /// Several messages in one body.
    Batch,
    /// The reply to a request message.
    Reply,
}

impl SendKind {
    /// The code of the request.
    pub(crate) fn request_code(self, long_header: bool) -> RequestCode {
        send_request_code(self == SendKind::Reply, self == SendKind::Batch, long_header)
    }
}

impl PreparedMessage {
    /// Checks `message` and renders its properties. `clock` is now.
    ///
    /// # Errors
    /// Says which part of the message is wrong, and gives the message back.
    // The message goes back unboxed: a refusal must not allocate.
    #[allow(clippy::result_large_err)]
    pub fn new(
        message: Message,
        unique_key: UniqueKey,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidMessage, Message)> {
        PreparedMessage::with_purpose(message, unique_key, Purpose::Delivery, clock, config)
    }

    #[inline]
    #[allow(clippy::result_large_err)]
    fn with_purpose(
        message: Message,
        unique_key: UniqueKey,
        purpose: Purpose<'_>,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidMessage, Message)> {
        let rendered = check(&message, config)
            .and_then(|()| render(&message, unique_key, purpose, config))
            .and_then(|properties| Ok((properties.text, special(&message, clock.wall)?)));
        match rendered {
            Ok((properties, special)) => {
                Ok(PreparedMessage { message, properties, unique_key, clock, special })
            }
            Err(error) => Err((error, message)),
        }
    }

    /// As [`PreparedMessage::new`], for the message that begins a transaction of `producer_group`,
    /// which is the group's name on the wire. Brokers keep it from consumers until the commit.
    ///
    /// # Errors
    /// As [`PreparedMessage::new`], or if the message has a delay level.
    // Java: DefaultMQProducerImpl#sendMessageInTransaction, which drops the level
    #[allow(clippy::result_large_err)]
    pub fn half(
        message: Message,
        unique_key: UniqueKey,
        producer_group: &str,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidMessage, Message)> {
        if message.has_system_property(property::DELAY) {
            return Err((InvalidMessage::DelayInTransaction, message));
        }
        let purpose = Purpose::Half(producer_group);
        let mut prepared =
            PreparedMessage::with_purpose(message, unique_key, purpose, clock, config)?;
        let special = prepared.special.get_or_insert_default();
        special.sys_flag |= PREPARED;
        special.half = true;
        Ok(prepared)
    }

    /// As [`PreparedMessage::new`], for a message that asks for a reply, which comes within
    /// `time_to_live` or not at all. No other request of any process may have the same
    /// `correlation_id`.
    ///
    /// # Errors
    /// As [`PreparedMessage::new`], or if the message is a reply.
    // Java: DefaultMQProducerImpl#prepareSendRequest
    #[allow(clippy::result_large_err)]
    pub fn request(
        message: Message,
        unique_key: UniqueKey,
        correlation_id: CorrelationId,
        time_to_live: Duration,
        clock: ClockReading,
        config: &Config,
    ) -> Result<PreparedMessage, (InvalidMessage, Message)> {
        // Brokers would pass it back as the reply to itself.
        if let Some(name) = REPLY_PROPERTIES.into_iter().find(|it| message.has_system_property(it))
        {
            return Err((InvalidMessage::PropertyReserved { name: name.into() }, message));
        }
        let purpose = Purpose::Request(correlation_id, time_to_live);
        let mut prepared =
            PreparedMessage::with_purpose(message, unique_key, purpose, clock, config)?;
        prepared.special.get_or_insert_default().request = Some(correlation_id);
        Ok(prepared)
    }

    /// Which reply is waited for, if it is a request.
    #[inline]
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.special.as_ref()?.request
    }

    /// Whether it begins a transaction.
    #[inline]
    pub fn is_half(&self) -> bool {
        self.special.as_ref().is_some_and(|special| special.half)
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Its unique key.
    pub fn unique_key(&self) -> UniqueKey {
        self.unique_key
    }

    /// The body as it is sent: compressed, or that of a batch.
    pub fn body(&self) -> &Bytes {
        let own = self.special.as_ref().and_then(|special| special.body.as_ref());
        own.unwrap_or(self.message.body())
    }

    /// What kind of request carries it.
    pub fn kind(&self) -> SendKind {
        self.special.as_ref().map_or(SendKind::Plain, |special| special.kind)
    }

    /// Bits that say how the body is compressed and whether the message is half of a transaction.
    pub fn sys_flag(&self) -> i32 {
        self.special.as_ref().map_or(0, |special| special.sys_flag)
    }

    /// Sends `body` in place of the message's own, which is what comes back if the send fails.
    /// `sys_flag` says how it is to be read.
    pub fn set_body(&mut self, body: Bytes, sys_flag: i32) {
        let special = self.special.get_or_insert_default();
        special.body = Some(body);
        special.sys_flag |= sys_flag;
    }

    /// Of a batch, the messages in it.
    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.special.as_ref()?.batch.as_ref()
    }

    #[inline]
    pub(crate) fn batch_mut(&mut self) -> Option<&mut Batch> {
        self.special.as_mut()?.batch.as_mut()
    }

    #[inline]
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        self.special.as_mut()?.batch.take()
    }

    /// Gives the message back.
    pub fn into_message(self) -> Message {
        self.message
    }
}

/// What makes a message a reply.
const REPLY_PROPERTIES: [&str; 2] = [property::MSG_TYPE, property::CORRELATION_ID];

/// Marks the message that begins a transaction.
// Java: MessageSysFlag#TRANSACTION_PREPARED_TYPE
const PREPARED: i32 = 0x4;

/// Topics to which no client may send.
// Java: TopicValidator#NOT_ALLOWED_SEND_TOPIC_SET
const FORBIDDEN_TOPICS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Checks that messages can be sent to a topic of this name.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_send_topic(topic: &str, config: &Config) -> Result<(), InvalidMessage> {
    check_topic(topic, &config.namespace)?;
    if FORBIDDEN_TOPICS.contains(&topic) {
        return Err(InvalidMessage::TopicReserved);
    }
    Ok(())
}

// Java: Validators#checkTopic
pub(crate) fn check_topic(topic: &str, namespace: &str) -> Result<(), InvalidMessage> {
    if topic.is_empty() {
        return Err(InvalidMessage::TopicEmpty);
    }
    let length = match namespace {
        "" => topic.len(),
        // Java: DefaultMQProducer#send wraps the topic before it is checked.
        namespace => namespace::wrap(namespace, topic).len(),
    };
    if length > limits::TOPIC_LENGTH_MAX {
        return Err(InvalidMessage::TopicTooLong { length });
    }
    if !topic.bytes().all(is_name_byte) {
        let illegal = |c: &char| !c.is_ascii() || !is_name_byte(*c as u8);
        let character = topic.chars().find(illegal).unwrap_or_default();
        return Err(InvalidMessage::TopicCharacter { character });
    }
    Ok(())
}

// Java: Validators#checkMessage
fn check(message: &Message, config: &Config) -> Result<(), InvalidMessage> {
    check_topic(message.topic(), &config.namespace)?;
    if FORBIDDEN_TOPICS.contains(&message.topic()) {
        return Err(InvalidMessage::TopicReserved);
    }
    let length = message.body.len();
    if length == 0 {
        return Err(InvalidMessage::BodyEmpty);
    }
    if length > config.body_length_max {
        return Err(InvalidMessage::BodyTooLarge { length, max: config.body_length_max });
    }
    Ok(())
}

/// What a message is for, as far as its properties tell.
#[derive(Copy, Clone)]
enum Purpose<'a> {
    /// To be delivered.
    Delivery,
    /// To begin a transaction of this group.
    Half(&'a str),
    /// To be replied to, within some time.
    Request(CorrelationId, Duration),
}

impl Purpose<'_> {
    /// Bytes of its properties at most, separators included.
    fn room(self, config: &Config) -> usize {
        match self {
            Purpose::Delivery => 0,
            Purpose::Half(group) => group.len() + 20,
            Purpose::Request(..) => config.client_id.len() + 100,
        }
    }

    fn render(self, out: &mut PropertyWriter, config: &Config) -> Result<(), InvalidMessage> {
        match self {
            Purpose::Delivery => {}
            Purpose::Half(group) => {
                out.push(property::TRAN_MSG, "true");
                out.push(property::PGROUP, group);
            }
            Purpose::Request(correlation_id, time_to_live) => {
                let name = property::REPLY_TO_CLIENT;
                check_property(name, &config.client_id)
                    .map_err(|_| InvalidMessage::PropertyValue { name: name.into() })?;
                out.push(property::CORRELATION_ID, &correlation_id.to_string());
                out.push(name, &config.client_id);
                out.push(property::TTL, &time_to_live.as_millis().to_string());
            }
        }
        Ok(())
    }
}

fn render(
    message: &Message,
    unique_key: UniqueKey,
    purpose: Purpose<'_>,
    config: &Config,
) -> Result<PropertyWriter, InvalidMessage> {
    // One allocation: the fixed part is "UNIQ_KEY", "WAIT", separators and up to 56 hex digits.
    let pair = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.len() + value.len() + 12;
    let own = message.properties.iter().map(pair).sum::<usize>();
    let keys = message.keys.iter().map(|key| key.len() + 1).sum::<usize>();
    let tag = message.tag.as_ref().map_or(0, |tag| tag.len());
    let namespace = if config.namespace.is_empty() { 0 } else { config.namespace.len() + 14 };
    let room = own + keys + tag + namespace + purpose.room(config) + 140;
    let mut out = PropertyWriter::new(config.encoding, room);

    for (index, (name, value)) in message.properties.iter().enumerate() {
        if index >= usize::from(message.system) && is_reserved(name) {
            return Err(InvalidMessage::PropertyReserved { name: bounded(name) });
        }
        if is_bad(name) {
            return Err(InvalidMessage::PropertyName { name: bounded(name) });
        }
        check_property(name, value)
            .map_err(|_| InvalidMessage::PropertyValue { name: bounded(name) })?;
        if name == property::INNER_MULTI_DISPATCH {
            check_dispatch(value)?;
        }
        out.push(name, value);
    }
    purpose.render(&mut out, config)?;
    if let Some(tag) = &message.tag {
        check_property(property::TAGS, tag).map_err(|_| InvalidMessage::Tag)?;
        out.push(property::TAGS, tag);
    }
    render_keys(message, &mut out)?;
    out.push_key_and_wait(unique_key, message.wait_stored);
    if !config.namespace.is_empty() {
        // Java: DefaultMQProducerImpl#sendKernelImpl, MessageConst#PROPERTY_INSTANCE_ID
        out.push(property::INSTANCE_ID, &config.namespace);
    }
    if out.length > limits::PROPERTIES_LENGTH_MAX {
        return Err(InvalidMessage::PropertiesTooLong { length: out.length });
    }
    Ok(out)
}

/// Bytes of the properties of `message` as part of a batch, with a unique key as long as `key`. Of
/// a message that cannot be sent, nothing: it is refused whatever it is counted for.
pub(crate) fn entry_properties_length(message: &Message, key: UniqueKey, config: &Config) -> usize {
    render(message, key, Purpose::Delivery, config).map_or(0, |properties| properties.length)
}

/// The names become those of folders on the broker. Java looks for the separator of the platform
/// of the client; that of the broker is not known, so both count.
// Java: Validators#checkMessage
fn check_dispatch(value: &str) -> Result<(), InvalidMessage> {
    match value.chars().find(|character| matches!(character, '/' | '\\')) {
        Some(character) => Err(InvalidMessage::DispatchPath { character }),
        None => Ok(()),
    }
}

/// What RocketMQ's own properties ask for besides being sent. Looked at once: every attempt is
/// written from the same values.
// Java: DefaultMQProducerImpl#sendKernelImpl, which takes two of them out of the message at the
// first attempt
fn special(message: &Message, now: WallTime) -> Result<Option<Box<Special>>, InvalidMessage> {
    if message.system == 0 {
        return Ok(None);
    }
    let mut special = Special::default();
    let retry = message.topic.starts_with("%RETRY%");
    let mut delay = None;
    for (name, value) in message.properties.iter().take(usize::from(message.system)) {
        let number = || {
            let invalid = |_| InvalidMessage::PropertyValue { name: bounded(name) };
            value.parse::<i32>().map_err(invalid)
        };
        match &**name {
            // Java: Boolean#parseBoolean
            property::TRAN_MSG if value.eq_ignore_ascii_case("true") => {
                special.sys_flag |= PREPARED;
            }
            // Java: MQClientAPIImpl#sendMessage
            property::MSG_TYPE if value == REPLY => special.kind = SendKind::Reply,
            property::RECONSUME_TIME if retry => special.reconsume_times = number()?,
            property::MAX_RECONSUME_TIMES if retry => special.max_reconsume_times = Some(number()?),
            property::DELAY => check_delay(&mut delay, property::DELAY, true)?,
            property::TIMER_DELAY_MS => {
                let short = value.parse().is_ok_and(|ms: u64| ms <= limits::DELAY_MS_MAX);
                check_delay(&mut delay, property::TIMER_DELAY_MS, short)?;
            }
            property::TIMER_DELIVER_MS => {
                let latest = now.as_millis().saturating_add_unsigned(limits::DELAY_MS_MAX);
                let short = value.parse().is_ok_and(|ms: i64| ms <= latest);
                check_delay(&mut delay, property::TIMER_DELIVER_MS, short)?;
            }
            _ => {}
        }
    }
    Ok((special != Special::default()).then(|| Box::new(special)))
}

/// At most one property says when to deliver, and not too late. `seen` is the one before.
// Java: HookUtils#checkIfTimerMessage, which has the level win
fn check_delay(
    seen: &mut Option<&'static str>,
    property: &'static str,
    short: bool,
) -> Result<(), InvalidMessage> {
    match seen.replace(property) {
        Some(first) => Err(InvalidMessage::DelayTwice { first, second: property }),
        None if short => Ok(()),
        None => Err(InvalidMessage::DelayTooLong { property }),
    }
}

fn render_keys(message: &Message, out: &mut PropertyWriter) -> Result<(), InvalidMessage> {
    if message.keys.is_empty() {
        return Ok(());
    }
    for (index, key) in message.keys.iter().enumerate() {
        if is_bad(key) || key.contains(' ') {
            return Err(InvalidMessage::Key { key: bounded(key) });
        }
        if index == 0 {
            out.begin(property::KEYS);
        } else {
            // Java: MessageConst#KEY_SEPARATOR
            out.text(" ");
        }
        out.text(key);
    }
    out.end();
    Ok(())
}

fn is_bad(text: &str) -> bool {
    text.trim().is_empty() || text.contains(['\u{1}', '\u{2}'])
}

fn bounded(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
