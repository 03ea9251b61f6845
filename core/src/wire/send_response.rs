//! What a broker says about a message that it has stored.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::command::ExtFields;
use super::identifier::OffsetMessageId;
use super::json::Text;
use super::text::{parse_decimal, plain_length};

/// The receipt of a stored message.
// Java: SendMessageResponseHeader
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResponse<'a> {
    /// The queue that holds the message; not negative.
    pub queue_id: i32,
    /// The message's place in the queue, of a batch that of its first message; not negative.
    pub queue_offset: i64,
    /// Where the broker stored the message, of a batch several ids with commas between.
    pub offset_message_id: Option<Cow<'a, str>>,
    /// The message's unique key; old brokers leave it out. It says nothing about transactions.
    pub transaction_id: Option<Cow<'a, str>>,
    /// The unique key of a batch that the broker stores as one unit.
    pub batch_unique_id: Option<Cow<'a, str>>,
    /// What a timer message can be recalled with.
    pub recall_handle: Option<Cow<'a, str>>,
    /// The broker's region.
    pub region_id: Option<Cow<'a, str>>,
    /// Whether the broker wants traces; true unless it says `false`.
    pub trace_on: bool,
}

impl<'a> SendResponse<'a> {
    /// Reads a receipt in one pass. `None` when the queue or the offset is missing, not a number,
    /// too large or negative: the message is stored, but its place is not known.
    // Java: MQClientAPIImpl#processSendResponse
    #[inline]
    pub fn read(ext: &ExtFields<'a>) -> Option<Self> {
        let mut queue_id = None;
        let mut queue_offset = None;
        let mut response = Self {
            queue_id: 0,
            queue_offset: 0,
            offset_message_id: None,
            transaction_id: None,
            batch_unique_id: None,
            recall_handle: None,
            region_id: None,
            trace_on: true,
        };
        visit(ext, |name, value| match name {
            b"queueId" => queue_id = value.and_then(number),
            b"queueOffset" => queue_offset = value.and_then(number),
            b"msgId" => response.offset_message_id = value.map(Text::decode),
            b"transactionId" => response.transaction_id = value.map(Text::decode),
            b"batchUniqId" => response.batch_unique_id = value.map(Text::decode),
            b"recallHandle" => response.recall_handle = value.map(Text::decode),
            b"MSG_REGION" => response.region_id = value.map(Text::decode),
            b"TRACE_ON" => response.trace_on = value.is_none_or(|text| !text.is("false")),
            _ => {}
        });
        response.queue_id = i32::try_from(queue_id?).ok()?;
        response.queue_offset = queue_offset?;
        Some(response)
    }
}

/// The part of a receipt that a client passes on to the application, which costs a fraction of
/// the whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredPlace<'a> {
    /// The queue and the offset; `None` where [`SendResponse::read`] gives `None`. Without it the
    /// rest is not read either.
    pub position: Option<(u32, u64)>,
    /// Where the broker stored the message; `None` if the id is not a single one.
    pub offset_message_id: Option<OffsetMessageId>,
    /// What a timer message can be recalled with.
    pub recall_handle: Option<Cow<'a, str>>,
}

impl<'a> StoredPlace<'a> {
    /// Reads what [`SendResponse::read`] does, as far as it is wanted.
    #[inline]
    pub fn read(ext: &ExtFields<'a>) -> Self {
        match ext.noted() {
            Some(noted) => Self::new(noted, None),
            None => Self::walk(ext),
        }
    }

    fn walk(ext: &ExtFields<'a>) -> Self {
        let mut noted = Noted::default();
        let mut recall_handle = None;
        visit(ext, |name, value| match name {
            b"queueId" => noted.queue_id = value.and_then(number),
            b"queueOffset" => noted.queue_offset = value.and_then(number),
            b"msgId" => noted.message_id = value.and_then(message_id),
            b"recallHandle" => recall_handle = value,
            _ => {}
        });
        Self::new(noted, recall_handle)
    }

    #[inline]
    fn new(noted: Noted, recall_handle: Option<Text<'a>>) -> Self {
        let queue_id = noted.queue_id.and_then(|queue| i32::try_from(queue).ok());
        let (Some(queue_id), Some(queue_offset)) = (queue_id, noted.queue_offset) else {
            return Self::default();
        };
        Self {
            position: Some((queue_id.unsigned_abs(), queue_offset.unsigned_abs())),
            offset_message_id: noted.message_id,
            recall_handle: recall_handle.map(Text::decode),
        }
    }
}

/// Where a broker stored the `count` messages of a batch: so many ids, or none if the answer does
/// not say so.
// Java: MQClientAPIImpl#processSendResponse, ProduceAccumulator#splitSendResults
pub(crate) fn batch_message_ids(ext: &ExtFields<'_>, count: usize) -> Vec<OffsetMessageId> {
    let (mut ids, mut is_one_unit) = (None, false);
    visit(ext, |name, value| match name {
        b"msgId" => ids = value.map(Text::decode),
        b"batchUniqId" => is_one_unit = value.is_some(),
        _ => {}
    });
    let ids = ids.unwrap_or_default();
    // One more than fits shows that there are too many.
    let read = ids.as_bytes().split(|byte| *byte == b',').take(count.saturating_add(1));
    let read: Option<Vec<_>> = read.map(OffsetMessageId::from_digits).collect();
    match read.unwrap_or_default() {
        ids if ids.len() == count => ids,
        // A batch that the broker stores as one unit has one place.
        ids if is_one_unit && ids.len() == 1 => ids.repeat(count),
        _ => Vec::new(),
    }
}

/// What the check of a header notes of a receipt, so that the answers met most are walked over
/// only once: all that is wanted of a receipt without a handle.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted {
    /// Not negative.
    queue_id: Option<i64>,
    /// Not negative.
    queue_offset: Option<i64>,
    message_id: Option<OffsetMessageId>,
}

/// Fields that a receipt may have to be noted; six is usual.
const NOTED_MAX: usize = 16;

impl Noted {
    /// Takes an object off `text` if it is a receipt as brokers write theirs: all values are
    /// strings, there is no space and no escape.
    ///
    /// What is known to come is compared, or read as what it is, instead of being searched for its
    /// end first.
    #[inline]
    pub(super) fn split_json(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut noted = Self::default();
        let mut rest = text.strip_prefix(b"{")?;
        for _ in 0..NOTED_MAX {
            rest = rest.strip_prefix(b"\"")?;
            rest = match rest.first() {
                Some(b'q') => noted.take_number(rest)?,
                Some(b'm') => {
                    let digits = rest.strip_prefix(b"msgId\":\"")?;
                    let (digits, after) = digits.split_first_chunk::<32>()?;
                    noted.message_id = Some(OffsetMessageId::from_digits(digits)?);
                    after
                }
                Some(b't') => skip_text(rest.strip_prefix(b"transactionId\":\"")?)?,
                Some(b'T') => rest.strip_prefix(b"TRACE_ON\":\"true")?,
                Some(b'M') => {
                    let region = rest.strip_prefix(b"MSG_REGION\":\"")?;
                    region.strip_prefix(b"DefaultRegion").or_else(|| skip_text(region))?
                }
                _ => return None,
            };
            match rest {
                [b'"', b',', after @ ..] => rest = after,
                [b'"', b'}', after @ ..] => return Some((noted, after)),
                _ => return None,
            }
        }
        None
    }

    /// Takes the key and the digits of the queue or the offset.
    #[inline]
    fn take_number<'a>(&mut self, key: &'a [u8]) -> Option<&'a [u8]> {
        let (field, text) = if let Some(text) = key.strip_prefix(b"queueId\":\"") {
            (&mut self.queue_id, text)
        } else {
            (&mut self.queue_offset, key.strip_prefix(b"queueOffset\":\"")?)
        };
        let mut value = 0;
        // So many digits fit for sure.
        for (length, &byte) in text.iter().take(18).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                *field = (length > 0).then_some(value);
                return field.and(text.get(length..));
            }
            value = value * 10 + i64::from(digit);
        }
        None
    }

    /// Notes a field of a binary header. False if it is beyond what can be noted.
    #[inline]
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        match key.len() {
            7 if key == b"queueId" => self.queue_id = not_negative(value),
            11 if key == b"queueOffset" => self.queue_offset = not_negative(value),
            5 if key == b"msgId" => self.message_id = OffsetMessageId::from_digits(value),
            12 if key == b"recallHandle" => return false,
            _ => {}
        }
        // An empty key or value does not mean what it seems to, see `binary::next_pair`.
        !key.is_empty() && !value.is_empty()
    }
}

/// Calls `each` with every field in the order of the frame, null values included.
fn visit<'a>(ext: &ExtFields<'a>, mut each: impl FnMut(&[u8], Option<Text<'a>>)) {
    for (key, value) in ext.raw() {
        match key.unescaped_bytes() {
            Some(key) => each(key, value),
            None => each(key.decode().as_bytes(), value),
        }
    }
}

/// Skips what comes before a quote or backslash.
#[inline]
fn skip_text(text: &[u8]) -> Option<&[u8]> {
    text.get(plain_length(text)..)
}

fn message_id(text: Text<'_>) -> Option<OffsetMessageId> {
    match text.unescaped_bytes() {
        Some(digits) => OffsetMessageId::from_digits(digits),
        None => OffsetMessageId::from_digits(text.decode().as_bytes()),
    }
}

/// A number that is not negative.
fn number(text: Text<'_>) -> Option<i64> {
    match text.unescaped_bytes() {
        Some(digits) => not_negative(digits),
        None => not_negative(text.decode().as_bytes()),
    }
}

#[inline]
fn not_negative(digits: &[u8]) -> Option<i64> {
    parse_decimal(digits).filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::wire::{Command, Encoding};

    #[test]
    fn the_wanted_part_agrees_with_the_whole() {
        let id = "7F0000020000876B00000000000000F5";
        for (queue, offset, id, handle) in [
            ("\"3\"", "\"100000\"", id, "\"h\""),
            ("\"2147483647\"", "\"9223372036854775807\"", id, "null"),
            ("\"2147483648\"", "\"1\"", id, "\"h\""),
            ("\"-1\"", "\"1\"", id, "\"h\""),
            ("\"1\"", "\"9223372036854775808\"", id, "\"h\""),
            ("null", "\"1\"", id, "\"h\""),
            ("7", "8", "7F", "\"\\u0041\""),
            ("\"\\u0031\"", "\"1\"", "7F0000020000876B000000000000\\u003000F5", "\"\""),
        ] {
            let text = format!(
                "{{\"extFields\":{{\"queueId\":{queue},\"queueOffset\":{offset},\
                 \"msgId\":\"{id}\",\"recallHandle\":{handle}}}}}"
            );
            let command = Command::decode(Encoding::Json, text.as_bytes()).unwrap();
            let place = StoredPlace::read(&command.ext_fields);
            let whole = SendResponse::read(&command.ext_fields);
            let position = whole
                .as_ref()
                .map(|whole| (whole.queue_id.unsigned_abs(), whole.queue_offset.unsigned_abs()));
            assert_eq!(place.position, position, "{text}");
            let id = whole.as_ref().and_then(|whole| whole.offset_message_id.as_deref());
            assert_eq!(place.offset_message_id, id.and_then(|id| id.parse().ok()), "{text}");
            assert_eq!(place.recall_handle, whole.and_then(|whole| whole.recall_handle), "{text}");
        }
    }
}
