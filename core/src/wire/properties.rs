//! The property string of a message: `name U+0001 value U+0002`, repeated, without any escaping.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::iter::FusedIterator;

use super::frame::Encoding;
use super::json::Text;
use super::text::push_escaped_text;
use super::unique_key::UniqueKey;

/// Stands between a property's name and its value.
// Java: MessageDecoder#NAME_VALUE_SEPARATOR
const NAME_VALUE_SEPARATOR: char = '\u{1}';

/// Stands after a property.
// Java: MessageDecoder#PROPERTY_SEPARATOR
const PROPERTY_SEPARATOR: char = '\u{2}';

/// Names of properties that the client itself reads or writes.
pub mod property {
    /// Declares one constant a line, each with its Java constant.
    macro_rules! names {
        ($($(#[doc = $doc:literal])+ $java:ident $name:ident = $text:literal;)+) => {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nJava: `MessageConst#", stringify!($java), "`.")]
                pub const $name: &str = $text;
            )+
        };
    }

    names! {
        /// Index keys with spaces between.
        PROPERTY_KEYS KEYS = "KEYS";
        /// The tag.
        PROPERTY_TAGS TAGS = "TAGS";
        /// `true` or `false`: wait until the message is flushed and copied.
        PROPERTY_WAIT_STORE_MSG_OK WAIT = "WAIT";
        /// The message's unique key.
        PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX UNIQ_KEY = "UNIQ_KEY";
        /// The delay level.
        PROPERTY_DELAY_TIME_LEVEL DELAY = "DELAY";
        /// `reply` for the reply to a request message.
        PROPERTY_MESSAGE_TYPE MSG_TYPE = "MSG_TYPE";
        /// `true` for half of a transaction.
        PROPERTY_TRANSACTION_PREPARED TRAN_MSG = "TRAN_MSG";
        /// The producer group of a half message.
        PROPERTY_PRODUCER_GROUP PGROUP = "PGROUP";
        /// Seconds before the first check of a transaction.
        PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS CHECK_IMMUNITY_TIME_IN_SECONDS =
            "CHECK_IMMUNITY_TIME_IN_SECONDS";
        /// How often a transaction was checked.
        PROPERTY_TRANSACTION_CHECK_TIMES TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
        /// The transaction's id, set locally.
        PROPERTY_TRANSACTION_ID TRANSACTION_ID = "__transactionId__";
        /// The message's real topic while it waits.
        PROPERTY_REAL_TOPIC REAL_TOPIC = "REAL_TOPIC";
        /// The message's real queue while it waits.
        PROPERTY_REAL_QUEUE_ID REAL_QID = "REAL_QID";
        /// Pairs a reply with its request.
        PROPERTY_CORRELATION_ID CORRELATION_ID = "CORRELATION_ID";
        /// The client that gets the reply.
        PROPERTY_MESSAGE_REPLY_TO_CLIENT REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
        /// How long the requester waits, in ms.
        PROPERTY_MESSAGE_TTL TTL = "TTL";
        /// When a reply arrived, in ms since 1970.
        PROPERTY_REPLY_MESSAGE_ARRIVE_TIME ARRIVE_TIME = "ARRIVE_TIME";
        /// When a broker pushed a reply, in ms since 1970.
        PROPERTY_PUSH_REPLY_TIME PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
        /// The broker's cluster.
        PROPERTY_CLUSTER CLUSTER = "CLUSTER";
        /// The namespace.
        PROPERTY_INSTANCE_ID INSTANCE_ID = "INSTANCE_ID";
        /// Names of further queues, with commas between.
        PROPERTY_INNER_MULTI_DISPATCH INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
        /// Messages of equal keys stay in order.
        PROPERTY_SHARDING_KEY SHARDING_KEY = "__SHARDINGKEY";
        /// Seconds of delay.
        PROPERTY_TIMER_DELAY_SEC TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
        /// Milliseconds of delay.
        PROPERTY_TIMER_DELAY_MS TIMER_DELAY_MS = "TIMER_DELAY_MS";
        /// When to deliver, in ms since 1970.
        PROPERTY_TIMER_DELIVER_MS TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
        /// How often a message was consumed.
        PROPERTY_RECONSUME_TIME RECONSUME_TIME = "RECONSUME_TIME";
        /// How often a message may be consumed.
        PROPERTY_MAX_RECONSUME_TIMES MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
        /// The broker's region.
        PROPERTY_MSG_REGION MSG_REGION = "MSG_REGION";
        /// Whether the broker wants traces.
        PROPERTY_TRACE_SWITCH TRACE_ON = "TRACE_ON";
    }
}

/// Names that an application may not set as properties of its own, sorted.
// Java: MessageConst#STRING_HASH_SET
pub const RESERVED_PROPERTIES: &[&str] = &[
    "1ST_POP_TIME",
    "ARRIVE_TIME",
    "BORN_TIMESTAMP",
    "BUYER_ID",
    "CLUSTER",
    "CONSUME_START_TIME",
    "CORRECTION_FLAG",
    "CORRELATION_ID",
    "DELAY",
    "DLQ_ORIGIN_MESSAGE_ID",
    "DLQ_ORIGIN_TOPIC",
    "DUP_INFO",
    "EXTEND_UNIQ_INFO",
    "INNER_MULTI_QUEUE_OFFSET",
    "INSTANCE_ID",
    "KEYS",
    "MAX_OFFSET",
    "MAX_RECONSUME_TIMES",
    "MIN_OFFSET",
    "MQ2_FLAG",
    "MSG_REGION",
    "MSG_TYPE",
    "ORIGIN_MESSAGE_ID",
    "PGROUP",
    "POP_CK",
    "POP_CK_OFFSET",
    "PUSH_REPLY_TIME",
    "REAL_QID",
    "REAL_TOPIC",
    "RECONSUME_TIME",
    "REPLY_TO_CLIENT",
    "RETRY_TOPIC",
    "TAGS",
    "TIMER_DELAY_LEVEL",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TRACE_ON",
    "TRANSFER_FLAG",
    "TRAN_MSG",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TTL",
    "UNIQ_KEY",
    "WAIT",
    "__BORNHOST",
    "__CRC32#",
];

/// Whether an application may not set this property itself.
// Java: Message#putUserProperty
pub fn is_reserved(name: &str) -> bool {
    RESERVED_PROPERTIES.binary_search(&name).is_ok()
}

/// Why a property cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The name is empty or only white space.
    #[error("the property's name is empty")]
    NameEmpty,
    /// The value is empty or only white space; an empty one would be lost.
    #[error("the property's value is empty")]
    ValueEmpty,
    /// The name holds U+0001 or U+0002.
    #[error("the property's name holds a separator, U+0001 or U+0002")]
    SeparatorInName,
    /// The value holds U+0001 or U+0002, with which it could forge other properties.
    #[error("the property's value holds a separator, U+0001 or U+0002")]
    SeparatorInValue,
}

/// Appends one property to a property string.
///
/// # Errors
///
/// The property would be lost, or would be read as something else; `out` is as it was.
// Java: MessageDecoder#messageProperties2String, which does not check
pub fn push_property(out: &mut String, name: &str, value: &str) -> Result<(), PropertyError> {
    check_property(name, value)?;
    out.reserve(name.len().saturating_add(value.len()).saturating_add(2));
    out.push_str(name);
    out.push(NAME_VALUE_SEPARATOR);
    out.push_str(value);
    out.push(PROPERTY_SEPARATOR);
    Ok(())
}

/// Whether a property can be written.
pub(crate) fn check_property(name: &str, value: &str) -> Result<(), PropertyError> {
    if name.trim().is_empty() {
        return Err(PropertyError::NameEmpty);
    }
    if value.trim().is_empty() {
        return Err(PropertyError::ValueEmpty);
    }
    let separator = |byte: u8| byte == 1 || byte == 2;
    if name.bytes().any(separator) {
        return Err(PropertyError::SeparatorInName);
    }
    if value.bytes().any(separator) {
        return Err(PropertyError::SeparatorInValue);
    }
    Ok(())
}

/// All properties of a message, as they stand in a header of one encoding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PropertyText {
    /// As they are.
    Plain(String),
    /// As the inside of a JSON string.
    Escaped(String),
}

impl PropertyText {
    /// The text itself.
    pub(crate) fn plain(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Escaped(text) => Text::escaped(text.as_bytes()).decode(),
        }
    }

    /// Bytes of the text itself, or a few more.
    pub(crate) fn length_max(&self) -> usize {
        match self {
            Self::Plain(text) | Self::Escaped(text) => text.len(),
        }
    }
}

/// Writes the properties of a message. They are escaped here, by the caller's task, and not when
/// the header is written, which may be more than once.
#[derive(Debug)]
pub(crate) struct PropertyWriter {
    pub(crate) text: PropertyText,
    /// Bytes of the plain text.
    pub(crate) length: usize,
}

impl PropertyWriter {
    pub(crate) fn new(encoding: Encoding, capacity: usize) -> Self {
        let text = String::with_capacity(capacity);
        let text = match encoding {
            Encoding::Json => PropertyText::Escaped(text),
            Encoding::Binary => PropertyText::Plain(text),
        };
        Self { text, length: 0 }
    }

    /// Appends one property, which has been checked.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.begin(name);
        self.text(value);
        self.end();
    }

    /// Appends [`property::UNIQ_KEY`] and [`property::WAIT`], which every message has: in pieces
    /// that are as long as can be, which costs a fraction of the same in single ones.
    #[inline]
    pub(crate) fn push_key_and_wait(&mut self, key: UniqueKey, wait: bool) {
        key.with_hex(|digits| match &mut self.text {
            PropertyText::Plain(out) => {
                out.push_str("UNIQ_KEY\u{1}");
                out.push_str(digits);
                out.push_str(match wait {
                    true => "\u{2}WAIT\u{1}true\u{2}",
                    false => "\u{2}WAIT\u{1}false\u{2}",
                });
            }
            PropertyText::Escaped(out) => {
                out.push_str("UNIQ_KEY\\u0001");
                out.push_str(digits);
                out.push_str(match wait {
                    true => "\\u0002WAIT\\u0001true\\u0002",
                    false => "\\u0002WAIT\\u0001false\\u0002",
                });
            }
        });
        let wait = if wait { "true" } else { "false" };
        let names = property::UNIQ_KEY.len() + property::WAIT.len();
        self.length += names + 2 * key.as_bytes().len() + wait.len() + 4;
    }

    /// Begins a property.
    pub(crate) fn begin(&mut self, name: &str) {
        self.text(name);
        match &mut self.text {
            PropertyText::Plain(out) => out.push(NAME_VALUE_SEPARATOR),
            PropertyText::Escaped(out) => out.push_str("\\u0001"),
        }
        self.length += 1;
    }

    /// Appends a part of a property.
    pub(crate) fn text(&mut self, text: &str) {
        match &mut self.text {
            PropertyText::Plain(out) => out.push_str(text),
            PropertyText::Escaped(out) => push_escaped_text(out, text),
        }
        self.length += text.len();
    }

    /// Ends a property.
    pub(crate) fn end(&mut self) {
        match &mut self.text {
            PropertyText::Plain(out) => out.push(PROPERTY_SEPARATOR),
            PropertyText::Escaped(out) => out.push_str("\\u0002"),
        }
        self.length += 1;
    }
}

/// The properties of a property string, in its order. Pieces without a separator, with an empty
/// name or with an empty value are passed over; the last property need not be terminated.
// Java: MessageDecoder#string2messageProperties
pub const fn properties(text: &str) -> Properties<'_> {
    Properties { rest: text }
}

/// The iterator of [`properties`].
#[derive(Debug, Clone)]
pub struct Properties<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Properties<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (piece, rest) = self.rest.split_once(PROPERTY_SEPARATOR).unwrap_or((self.rest, ""));
            self.rest = rest;
            match piece.split_once(NAME_VALUE_SEPARATOR) {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    return Some((name, value));
                }
                _ => {}
            }
        }
        None
    }
}

impl FusedIterator for Properties<'_> {}

/// The value of a property of a message that was received.
pub(crate) fn value_of<'a>(all: &'a [(Box<str>, Box<str>)], name: &str) -> Option<&'a str> {
    all.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
}

/// The keys in the value of [`property::KEYS`].
// Java: MessageConst#KEY_SEPARATOR
pub(crate) fn split_keys(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_complete_and_sorted() {
        assert_eq!(RESERVED_PROPERTIES.len(), 51);
        assert!(RESERVED_PROPERTIES.is_sorted());
        assert!(is_reserved(property::TRAN_MSG) && !is_reserved(property::SHARDING_KEY));
    }

    #[test]
    fn the_two_that_every_message_has_are_written_like_others() {
        let keys = ["7F0000012C4B2A139A4E5B7E1D2F0003", &"0123456789abCDEFFEDC".repeat(3)[..56]];
        for (key, encoding, wait) in keys
            .iter()
            .flat_map(|key| {
                [Encoding::Json, Encoding::Binary]
                    .map(|encoding| [(key, encoding, true), (key, encoding, false)])
            })
            .flatten()
        {
            let (mut known, mut others) =
                (PropertyWriter::new(encoding, 0), PropertyWriter::new(encoding, 0));
            known.push_key_and_wait(key.parse().unwrap(), wait);
            others.push(property::UNIQ_KEY, &key.to_uppercase());
            others.push(property::WAIT, if wait { "true" } else { "false" });
            assert_eq!((known.text, known.length), (others.text, others.length));
        }
    }
}
