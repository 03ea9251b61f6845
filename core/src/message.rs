//! A message, and the form in which it goes to the machine.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::config::{Config, is_name_byte};
use crate::error::Bound;
use crate::interceptor::Forbidden;
use crate::limits;
use crate::time::ClockReading;
use crate::wire::{
    EncodeError, Encoding, PropertyText, PropertyWriter, UniqueKey, check_property, is_reserved,
    property,
};

/// A message to be sent. The body is shared, never copied, when the message is cloned.
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Message {
    topic: Cow<'static, str>,
    body: Bytes,
    tag: Option<Cow<'static, str>>,
    keys: Vec<Cow<'static, str>>,
    properties: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    wait_stored: bool,
    flag: i32,
}

impl Message {
    /// A message with nothing but a topic and a body. Everything is checked when it is sent.
    pub fn new(topic: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.into(),
            body: body.into(),
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            wait_stored: true,
            flag: 0,
        }
    }

    /// Sets the tag, by which consumers filter. It should hold no `||`.
    pub fn with_tag(mut self, tag: impl Into<Cow<'static, str>>) -> Message {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key, by which the message can be found. It must hold no space: a space separates
    /// keys on the wire.
    pub fn with_key(mut self, key: impl Into<Cow<'static, str>>) -> Message {
        self.keys.push(key.into());
        self
    }

    /// Adds a property of the application. A second one of the same name replaces the first.
    pub fn with_property(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Message {
        let (name, value) = (name.into(), value.into());
        match self.properties.iter_mut().find(|(known, _)| *known == name) {
            Some(property) => property.1 = value,
            None => self.properties.push((name, value)),
        }
        self
    }

    /// Whether the broker answers only after the message is flushed and replicated as it is
    /// configured to do. On by default.
    // Java: Message#setWaitStoreMsgOK, property WAIT
    pub fn with_wait_stored(mut self, wait_stored: bool) -> Message {
        self.wait_stored = wait_stored;
        self
    }

    /// Sets a number that travels with the message and that RocketMQ does not look at.
    // Java: Message#setFlag
    pub fn with_flag(mut self, flag: i32) -> Message {
        self.flag = flag;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The tag, if one is set.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// The application's properties.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether the broker waits for flush and replication.
    pub fn wait_stored(&self) -> bool {
        self.wait_stored
    }

    /// The application's number.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    pub(crate) fn topic_shared(&self) -> Cow<'static, str> {
        self.topic.clone()
    }

    pub(crate) fn into_topic(self) -> Cow<'static, str> {
        self.topic
    }

    /// Takes the topic out of a message that is about to go.
    pub(crate) fn take_topic(&mut self) -> Cow<'static, str> {
        core::mem::take(&mut self.topic)
    }
}

/// Of the body only its length: errors carry the message, and end up in logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("tag", &self.tag)
            .field("keys", &self.keys)
            .field("properties", &self.properties)
            .field("wait_stored", &self.wait_stored)
            .field("flag", &self.flag)
            .finish()
    }
}

/// A message that has been checked and has its unique key and its property string. Made on the
/// caller's task, so that the machine has little left to do.
#[derive(Clone, PartialEq, Debug)]
pub struct PreparedMessage {
    pub(crate) message: Message,
    pub(crate) properties: PropertyText,
    pub(crate) unique_key: UniqueKey,
    pub(crate) clock: ClockReading,
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
        let encoding = config.encoding;
        match check(&message, config).and_then(|()| render(&message, unique_key, encoding)) {
            Ok(properties) => Ok(PreparedMessage { message, properties, unique_key, clock }),
            Err(error) => Err((error, message)),
        }
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Its unique key.
    pub fn unique_key(&self) -> UniqueKey {
        self.unique_key
    }

    /// Gives the message back.
    pub fn into_message(self) -> Message {
        self.message
    }
}

/// A part of a message that cannot be sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The topic is empty.
    #[error("the topic is empty")]
    TopicEmpty,
    /// The topic is too long.
    #[error("the topic has {length} bytes, more than 127")]
    TopicTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The topic holds a character that is not allowed.
    #[error("the topic holds {character:?}; only letters, digits, %, |, - and _ are allowed")]
    TopicCharacter {
        /// The first such character.
        character: char,
    },
    /// The topic belongs to RocketMQ itself.
    #[error("the topic is reserved by RocketMQ")]
    TopicReserved,
    /// The body is empty.
    #[error("the body is empty; brokers of 5.x refuse that")]
    BodyEmpty,
    /// The body is too large.
    #[error("the body has {length} bytes, more than body_length_max = {max}")]
    BodyTooLarge {
        /// Its length in bytes.
        length: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The body would never have room among what is in flight.
    #[error(
        "the body has {length} bytes, more than all room for what is in flight, {max}; {bound}"
    )]
    LargerThanBudget {
        /// Its length in bytes.
        length: usize,
        /// The whole room.
        max: usize,
        /// What bounds it.
        bound: Bound,
    },
    /// The tag is blank or holds a control character.
    #[error("the tag is blank or holds U+0001 or U+0002")]
    Tag,
    /// A key is blank, or holds a space or a control character.
    #[error("key {key:?} is blank, or holds a space, U+0001 or U+0002")]
    Key {
        /// The key.
        key: String,
    },
    /// A property's name is empty, or holds a control character.
    #[error("property name {name:?} is blank, or holds U+0001 or U+0002")]
    PropertyName {
        /// The name.
        name: String,
    },
    /// A property's name belongs to RocketMQ itself.
    #[error("property {name:?} is reserved by RocketMQ")]
    PropertyReserved {
        /// The name.
        name: String,
    },
    /// A property's value is blank (it would be lost) or holds a control character.
    #[error("the value of property {name:?} is blank, or holds U+0001 or U+0002")]
    PropertyValue {
        /// The property's name.
        name: String,
    },
    /// All properties together are too long.
    #[error("the properties have {length} bytes in all, more than 32,000")]
    PropertiesTooLong {
        /// Their length in bytes, as sent.
        length: usize,
    },
    /// An interceptor refused to let the message out.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The message does not fit into a frame.
    #[error("the message cannot be put into a frame: {0}")]
    Encoding(EncodeError),
}

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

// Java: Validators#checkTopic
pub(crate) fn check_topic(topic: &str) -> Result<(), InvalidMessage> {
    if topic.is_empty() {
        return Err(InvalidMessage::TopicEmpty);
    }
    if topic.len() > limits::TOPIC_LENGTH_MAX {
        return Err(InvalidMessage::TopicTooLong { length: topic.len() });
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
    check_topic(&message.topic)?;
    if FORBIDDEN_TOPICS.contains(&&*message.topic) {
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

fn render(
    message: &Message,
    unique_key: UniqueKey,
    encoding: Encoding,
) -> Result<PropertyText, InvalidMessage> {
    // One allocation: the fixed part is "UNIQ_KEY", "WAIT", separators and up to 56 hex digits.
    let pair = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.len() + value.len() + 12;
    let own = message.properties.iter().map(pair).sum::<usize>();
    let keys = message.keys.iter().map(|key| key.len() + 1).sum::<usize>();
    let tag = message.tag.as_ref().map_or(0, |tag| tag.len());
    let mut out = PropertyWriter::new(encoding, own + keys + tag + 140);

    for (name, value) in &message.properties {
        if is_reserved(name) {
            return Err(InvalidMessage::PropertyReserved { name: bounded(name) });
        }
        if is_bad(name) {
            return Err(InvalidMessage::PropertyName { name: bounded(name) });
        }
        check_property(name, value)
            .map_err(|_| InvalidMessage::PropertyValue { name: bounded(name) })?;
        out.push(name, value);
    }
    if let Some(tag) = &message.tag {
        check_property(property::TAGS, tag).map_err(|_| InvalidMessage::Tag)?;
        out.push(property::TAGS, tag);
    }
    render_keys(message, &mut out)?;
    unique_key.with_hex(|digits| out.push_known(property::UNIQ_KEY, digits));
    out.push_known(property::WAIT, if message.wait_stored { "true" } else { "false" });
    if out.length > limits::PROPERTIES_LENGTH_MAX {
        return Err(InvalidMessage::PropertiesTooLong { length: out.length });
    }
    Ok(out.text)
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
mod tests {
    use super::*;
    use crate::error::{SendError, SendErrorKind};

    #[test]
    fn i30_a_body_is_not_shown_by_the_error_that_carries_it() {
        let message = Message::new("Orders", "a secret order").with_tag("paid");
        let error = SendError::not_sent(SendErrorKind::Closed, message);
        let shown = alloc::format!("{error:?} {error}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("14 bytes") && shown.contains("paid"), "{shown}");
    }
}
