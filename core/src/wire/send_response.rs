//! What a broker says about a message that it has stored.

use alloc::borrow::Cow;

use super::command::ExtFields;
use super::identifier::OffsetMessageId;
use super::json::Text;
use super::text::parse_decimal;

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
        ext.visit(|name, value| match name {
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

/// The part of a receipt that is passed on to the application. Text that nobody is going to see is
/// not looked at.
#[derive(Debug, Default)]
pub(crate) struct StoredPlace<'a> {
    /// Queue and offset; without them the rest is not read either.
    pub(crate) position: Option<(u32, u64)>,
    pub(crate) offset_message_id: Option<OffsetMessageId>,
    pub(crate) recall_handle: Option<Cow<'a, str>>,
}

impl<'a> StoredPlace<'a> {
    /// Reads what [`SendResponse::read`] does, as far as it is wanted.
    #[inline]
    pub(crate) fn read(ext: &ExtFields<'a>) -> Self {
        let (mut queue_id, mut queue_offset) = (None, None);
        let (mut message_id, mut recall_handle) = (None, None);
        ext.visit(|name, value| match name.len() {
            7 if name == b"queueId" => queue_id = value.and_then(number),
            11 if name == b"queueOffset" => queue_offset = value.and_then(number),
            5 if name == b"msgId" => message_id = value,
            12 if name == b"recallHandle" => recall_handle = value,
            _ => {}
        });
        let queue_id = queue_id.and_then(|queue| u32::try_from(queue).ok());
        let queue_id = queue_id.filter(|queue| i32::try_from(*queue).is_ok());
        let (Some(queue_id), Some(queue_offset)) = (queue_id, queue_offset) else {
            return Self::default();
        };
        Self {
            position: Some((queue_id, queue_offset.unsigned_abs())),
            offset_message_id: message_id.and_then(|text| match text.unescaped_bytes() {
                Some(digits) => OffsetMessageId::from_digits(digits),
                None => OffsetMessageId::from_digits(text.decode().as_bytes()),
            }),
            recall_handle: recall_handle.map(Text::decode),
        }
    }
}

/// A number that is not negative.
#[inline]
fn number(text: Text<'_>) -> Option<i64> {
    let value = match text.unescaped_bytes() {
        Some(bytes) => parse_decimal(bytes),
        None => parse_decimal(text.decode().as_bytes()),
    };
    value.filter(|number| *number >= 0)
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
