//! The header of a send, the request that a producer writes more often than any other.

use alloc::vec::Vec;

use super::codes::RequestCode;
use super::encode::{
    EncodeError, FIXED_ROOM, OpenFrame, OpenLength, RequestHead, Start, push_decimal,
};
use super::frame::Encoding;
use super::text::push_escaped;

/// The fields of a send. Those that are empty strings are left out of the frame.
// Java: SendMessageRequestHeader
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// The producer's group.
    pub producer_group: &'a str,
    /// The topic, with the prefix of its namespace.
    pub topic: &'a str,
    /// The topic whose settings a topic made on the way takes over.
    pub default_topic: &'a str,
    /// How many queues a topic made on the way gets at most.
    pub default_topic_queue_nums: i32,
    /// The queue; a negative one lets the broker choose.
    pub queue_id: i32,
    /// Bits that say how the body is compressed and whether the message is half of a transaction.
    pub sys_flag: i32,
    /// When this attempt was made, in ms since 1970 in UTC.
    pub born_timestamp_ms: i64,
    /// A number of the application.
    pub flag: i32,
    /// All properties as one string, see [`push_property`](super::push_property).
    pub properties: &'a str,
    /// How often a message of a retry topic was consumed.
    pub reconsume_times: i32,
    /// Whether the client belongs to a unit of a deployment.
    pub unit_mode: bool,
    /// How often a message of a retry topic may be consumed; only sent for those.
    pub max_reconsume_times: Option<i32>,
    /// Whether the body holds several messages. Brokers look at this and not at the code.
    pub batch: bool,
    /// The broker that is meant, which a proxy needs to know.
    pub broker_name: &'a str,
}

impl SendHeader<'_> {
    /// Whether the message is neither a retry nor of a unit nor a batch.
    #[inline]
    fn is_unmarked(&self) -> bool {
        let of_retry = self.reconsume_times != 0 || self.max_reconsume_times.is_some();
        !(of_retry || self.unit_mode || self.batch)
    }
}

/// The value of a field as it is signed.
#[derive(Copy, Clone)]
pub(super) enum SignedValue<'a> {
    /// The field is not in the frame.
    Absent,
    Text(&'a str),
    /// A text as the inside of a JSON string.
    Escaped(&'a str),
    Number(i64),
    Flag(bool),
}

impl<'a> SendHeader<'a> {
    /// All fields in the order in which they are signed, that of their names. An empty text is
    /// signed as nothing, and is not in the frame either. `properties` stand in for the header's.
    pub(super) fn signed_fields(
        &self,
        long_names: bool,
        properties: SignedValue<'a>,
    ) -> [(&'static str, SignedValue<'a>); 14] {
        use SignedValue::{Absent, Flag, Number, Text};
        let max_reconsume_times =
            self.max_reconsume_times.map_or(Absent, |times| Number(i64::from(times)));
        let letters = [
            ("a", Text(self.producer_group)),
            ("b", Text(self.topic)),
            ("c", Text(self.default_topic)),
            ("d", Number(i64::from(self.default_topic_queue_nums))),
            ("e", Number(i64::from(self.queue_id))),
            ("f", Number(i64::from(self.sys_flag))),
            ("g", Number(self.born_timestamp_ms)),
            ("h", Number(i64::from(self.flag))),
            ("i", properties),
            ("j", Number(i64::from(self.reconsume_times))),
            ("k", Flag(self.unit_mode)),
            ("l", max_reconsume_times),
            ("m", Flag(self.batch)),
            ("n", Text(self.broker_name)),
        ];
        if !long_names {
            return letters;
        }
        let [group, topic, default, queues, queue, sys, born, flag, text, times, unit, max, ..] =
            letters.map(|(_, value)| value);
        [
            ("batch", Flag(self.batch)),
            ("bname", Text(self.broker_name)),
            ("bornTimestamp", born),
            ("defaultTopic", default),
            ("defaultTopicQueueNums", queues),
            ("flag", flag),
            ("maxReconsumeTimes", max),
            ("producerGroup", group),
            ("properties", text),
            ("queueId", queue),
            ("reconsumeTimes", times),
            ("sysFlag", sys),
            ("topic", topic),
            ("unitMode", unit),
        ]
    }
}

/// Appends the frame of a send up to its body, with all lengths filled in for a body of
/// `body_length` bytes, which the caller appends. The layout of the fields follows the code.
///
/// # Errors
///
/// The code does not send messages, or the frame would be refused; see [`EncodeError`].
// Java: MQClientAPIImpl#sendMessage, SendMessageRequestHeaderV2#encode
pub fn encode_send(
    out: &mut Vec<u8>,
    head: &RequestHead,
    header: &SendHeader<'_>,
    body_length: usize,
) -> Result<(), EncodeError> {
    encode(out, head, header, None, body_length)
}

/// Like [`encode_send`] with a JSON header, for which `properties` are given as the inside of a
/// JSON string; those of `header` do not count.
pub(crate) fn encode_send_escaped(
    out: &mut Vec<u8>,
    head: &RequestHead,
    header: &SendHeader<'_>,
    properties: &str,
    body_length: usize,
) -> Result<(), EncodeError> {
    encode(out, head, header, Some(properties), body_length)
}

fn encode(
    out: &mut Vec<u8>,
    head: &RequestHead,
    header: &SendHeader<'_>,
    escaped: Option<&str>,
    body_length: usize,
) -> Result<(), EncodeError> {
    let start = head.start()?;
    match head.code {
        RequestCode::SEND_MESSAGE | RequestCode::SEND_REPLY_MESSAGE => {
            write::<LongNames>(out, head.encoding, &start, header, escaped, body_length)
        }
        RequestCode::SEND_MESSAGE_V2
        | RequestCode::SEND_BATCH_MESSAGE
        | RequestCode::SEND_REPLY_MESSAGE_V2 => {
            write::<LetterNames>(out, head.encoding, &start, header, escaped, body_length)
        }
        code => Err(EncodeError::NotASend(code)),
    }
}

/// A field's name with all that stands around it.
struct Key {
    /// Closes the value before, and opens the value of this field.
    json: &'static str,
    /// The name after its length of 16 bits.
    binary: &'static str,
}

/// The names of one layout.
trait Names {
    const PRODUCER_GROUP: Key;
    const TOPIC: Key;
    const DEFAULT_TOPIC: Key;
    const DEFAULT_TOPIC_QUEUE_NUMS: Key;
    const QUEUE_ID: Key;
    const SYS_FLAG: Key;
    const BORN_TIMESTAMP: Key;
    const FLAG: Key;
    const PROPERTIES: Key;
    const RECONSUME_TIMES: Key;
    const UNIT_MODE: Key;
    const MAX_RECONSUME_TIMES: Key;
    const BATCH: Key;
    const BROKER_NAME: Key;
    /// [`MARKS`](Self::MARKS) of nearly all messages, in one piece, which costs less than three.
    const UNMARKED: Key;
    /// What follows the properties, with the values of a message that is neither a retry nor of a
    /// unit nor a batch.
    #[cfg(test)]
    const MARKS: [(Key, &'static str); 3] =
        [(Self::RECONSUME_TIMES, "0"), (Self::UNIT_MODE, "false"), (Self::BATCH, "false")];
    /// All keys, for the test of the length bytes.
    #[cfg(test)]
    const ALL: [Key; 14];
}

macro_rules! names {
    ($type:ident $unmarked:tt { $($field:ident = $length:literal $name:literal,)+ }) => {
        impl Names for $type {
            $(const $field: Key = Key {
                json: concat!("\",\"", $name, "\":\""),
                binary: concat!("\0", $length, $name),
            };)+
            const UNMARKED: Key = Key $unmarked;
            #[cfg(test)]
            const ALL: [Key; 14] = [$(Self::$field,)+];
        }
    };
}

/// The layout of the codes 10 and 324.
// Java: SendMessageRequestHeader
struct LongNames;

names! { LongNames {
    json: "\",\"reconsumeTimes\":\"0\",\"unitMode\":\"false\",\"batch\":\"false",
    binary: concat!(
        "\0\x0ereconsumeTimes\0\0\0\x010",
        "\0\x08unitMode\0\0\0\x05false\0\x05batch\0\0\0\x05false",
    ),
} {
    PRODUCER_GROUP = "\x0d" "producerGroup",
    TOPIC = "\x05" "topic",
    DEFAULT_TOPIC = "\x0c" "defaultTopic",
    DEFAULT_TOPIC_QUEUE_NUMS = "\x15" "defaultTopicQueueNums",
    QUEUE_ID = "\x07" "queueId",
    SYS_FLAG = "\x07" "sysFlag",
    BORN_TIMESTAMP = "\x0d" "bornTimestamp",
    FLAG = "\x04" "flag",
    PROPERTIES = "\x0a" "properties",
    RECONSUME_TIMES = "\x0e" "reconsumeTimes",
    UNIT_MODE = "\x08" "unitMode",
    MAX_RECONSUME_TIMES = "\x11" "maxReconsumeTimes",
    BATCH = "\x05" "batch",
    BROKER_NAME = "\x05" "bname",
} }

/// The layout of the codes 310, 320 and 325.
// Java: SendMessageRequestHeaderV2
struct LetterNames;

names! { LetterNames {
    json: "\",\"j\":\"0\",\"k\":\"false\",\"m\":\"false",
    binary: "\0\x01j\0\0\0\x010\0\x01k\0\0\0\x05false\0\x01m\0\0\0\x05false",
} {
    PRODUCER_GROUP = "\x01" "a",
    TOPIC = "\x01" "b",
    DEFAULT_TOPIC = "\x01" "c",
    DEFAULT_TOPIC_QUEUE_NUMS = "\x01" "d",
    QUEUE_ID = "\x01" "e",
    SYS_FLAG = "\x01" "f",
    BORN_TIMESTAMP = "\x01" "g",
    FLAG = "\x01" "h",
    PROPERTIES = "\x01" "i",
    RECONSUME_TIMES = "\x01" "j",
    UNIT_MODE = "\x01" "k",
    MAX_RECONSUME_TIMES = "\x01" "l",
    BATCH = "\x01" "m",
    BROKER_NAME = "\x01" "n",
} }

#[inline]
fn write<N: Names>(
    out: &mut Vec<u8>,
    encoding: Encoding,
    start: &Start<'_>,
    header: &SendHeader<'_>,
    escaped: Option<&str>,
    body_length: usize,
) -> Result<(), EncodeError> {
    let properties = escaped.unwrap_or(header.properties);
    out.reserve(FIXED_ROOM.saturating_add(properties.len()));
    let frame = OpenFrame::new(out, encoding);
    let written = match encoding {
        Encoding::Json => {
            start.json_before(out);
            write_json::<N>(out, header, escaped);
            start.json_after(out);
            Ok(())
        }
        Encoding::Binary => write_binary::<N>(out, start, header),
    };
    frame.close_before_body(out, written, body_length)
}

fn write_json<N: Names>(out: &mut Vec<u8>, header: &SendHeader<'_>, escaped: Option<&str>) {
    // A key closes the value before it; the first field is one that is always there.
    let first = N::DEFAULT_TOPIC_QUEUE_NUMS.json.as_bytes();
    out.extend_from_slice(first.get(2..).unwrap_or_default());
    push_decimal(out, i64::from(header.default_topic_queue_nums));
    json_text(out, N::PRODUCER_GROUP, header.producer_group);
    json_text(out, N::TOPIC, header.topic);
    json_text(out, N::DEFAULT_TOPIC, header.default_topic);
    json_number(out, N::QUEUE_ID, i64::from(header.queue_id));
    json_number(out, N::SYS_FLAG, i64::from(header.sys_flag));
    json_number(out, N::BORN_TIMESTAMP, header.born_timestamp_ms);
    json_number(out, N::FLAG, i64::from(header.flag));
    if let Some(properties) = escaped {
        out.extend_from_slice(N::PROPERTIES.json.as_bytes());
        out.extend_from_slice(properties.as_bytes());
    } else {
        json_text(out, N::PROPERTIES, header.properties);
    }
    if header.is_unmarked() {
        out.extend_from_slice(N::UNMARKED.json.as_bytes());
    } else {
        json_number(out, N::RECONSUME_TIMES, i64::from(header.reconsume_times));
        json_boolean(out, N::UNIT_MODE, header.unit_mode);
        if let Some(times) = header.max_reconsume_times {
            json_number(out, N::MAX_RECONSUME_TIMES, i64::from(times));
        }
        json_boolean(out, N::BATCH, header.batch);
    }
    json_text(out, N::BROKER_NAME, header.broker_name);
    out.extend_from_slice(b"\"}");
}

// Forced, like those below: the length of the key has to be known for it to be copied without a
// call.
#[inline(always)]
fn json_number(out: &mut Vec<u8>, key: Key, value: i64) {
    if let 0..=9 = value {
        return push_joined(out, key.json.as_bytes(), &[b'0' + value as u8]);
    }
    out.extend_from_slice(key.json.as_bytes());
    push_decimal(out, value);
}

#[inline(always)]
fn json_text(out: &mut Vec<u8>, key: Key, value: &str) {
    if !value.is_empty() {
        out.extend_from_slice(key.json.as_bytes());
        push_escaped(out, value);
    }
}

#[inline(always)]
fn json_boolean(out: &mut Vec<u8>, key: Key, value: bool) {
    // Both of a length that is known.
    if value {
        push_joined(out, key.json.as_bytes(), b"true");
    } else {
        push_joined(out, key.json.as_bytes(), b"false");
    }
}

/// Appends two texts of known lengths, which then takes one look at the room and no call.
#[inline(always)]
fn push_joined(out: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    let mut joined = [0; 32];
    let room = joined.split_at_mut_checked(first.len());
    let room = room.and_then(|(a, b)| Some((a, b.split_at_mut_checked(second.len())?.0)));
    if let Some((a, b)) = room {
        a.copy_from_slice(first);
        b.copy_from_slice(second);
    }
    match joined.get(..first.len() + second.len()) {
        Some(joined) => out.extend_from_slice(joined),
        None => {
            out.extend_from_slice(first);
            out.extend_from_slice(second);
        }
    }
}

fn write_binary<N: Names>(
    out: &mut Vec<u8>,
    start: &Start<'_>,
    header: &SendHeader<'_>,
) -> Result<(), EncodeError> {
    start.binary_before(out)?;
    let map = OpenLength::new(out);
    binary_text(out, N::PRODUCER_GROUP, header.producer_group.as_bytes())?;
    binary_text(out, N::TOPIC, header.topic.as_bytes())?;
    binary_text(out, N::DEFAULT_TOPIC, header.default_topic.as_bytes())?;
    binary_number(out, N::DEFAULT_TOPIC_QUEUE_NUMS, i64::from(header.default_topic_queue_nums))?;
    binary_number(out, N::QUEUE_ID, i64::from(header.queue_id))?;
    binary_number(out, N::SYS_FLAG, i64::from(header.sys_flag))?;
    binary_number(out, N::BORN_TIMESTAMP, header.born_timestamp_ms)?;
    binary_number(out, N::FLAG, i64::from(header.flag))?;
    binary_text(out, N::PROPERTIES, header.properties.as_bytes())?;
    if header.is_unmarked() {
        out.extend_from_slice(N::UNMARKED.binary.as_bytes());
    } else {
        binary_number(out, N::RECONSUME_TIMES, i64::from(header.reconsume_times))?;
        binary_boolean(out, N::UNIT_MODE, header.unit_mode);
        if let Some(times) = header.max_reconsume_times {
            binary_number(out, N::MAX_RECONSUME_TIMES, i64::from(times))?;
        }
        binary_boolean(out, N::BATCH, header.batch);
    }
    binary_text(out, N::BROKER_NAME, header.broker_name.as_bytes())?;
    map.close(out)
}

#[inline(always)]
fn binary_text(out: &mut Vec<u8>, key: Key, value: &[u8]) -> Result<(), EncodeError> {
    if value.is_empty() {
        return Ok(());
    }
    let length = value.len();
    let prefix = i32::try_from(length).map_err(|_| EncodeError::HeaderTooLong { length })?;
    push_joined(out, key.binary.as_bytes(), &prefix.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

#[inline(always)]
fn binary_number(out: &mut Vec<u8>, key: Key, value: i64) -> Result<(), EncodeError> {
    if let 0..=9 = value {
        push_joined(out, key.binary.as_bytes(), &[0, 0, 0, 1, b'0' + value as u8]);
        return Ok(());
    }
    binary_text(out, key, itoa::Buffer::new().format(value).as_bytes())
}

#[inline(always)]
fn binary_boolean(out: &mut Vec<u8>, key: Key, value: bool) {
    if value {
        push_joined(out, key.binary.as_bytes(), b"\0\0\0\x04true");
    } else {
        push_joined(out, key.binary.as_bytes(), b"\0\0\0\x05false");
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::{Key, LetterNames, LongNames, Names};

    #[test]
    fn one_piece_says_what_its_fields_say() {
        fn check<N: Names>() {
            let (mut json, mut binary) = (String::new(), String::new());
            for (key, value) in N::MARKS {
                json += key.json;
                json += value;
                binary += key.binary;
                binary += if value == "0" { "\0\0\0\x01" } else { "\0\0\0\x05" };
                binary += value;
            }
            assert_eq!((&*json, &*binary), (N::UNMARKED.json, N::UNMARKED.binary));
        }
        check::<LetterNames>();
        check::<LongNames>();
    }

    #[test]
    fn binary_keys_begin_with_their_length() {
        for Key { json, binary } in LongNames::ALL.into_iter().chain(LetterNames::ALL) {
            let (length, name) = binary.as_bytes().split_first_chunk::<2>().unwrap();
            assert_eq!(usize::from(u16::from_be_bytes(*length)), name.len(), "{json}");
        }
    }
}
