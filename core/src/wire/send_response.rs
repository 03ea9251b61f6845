//! What a broker says about a message that it has stored.

use alloc::borrow::Cow;

use super::command::ExtFields;
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
        for (key, value) in ext.raw() {
            let owned;
            let name = if let Some(name) = key.unescaped_bytes() {
                name
            } else {
                owned = key.decode();
                owned.as_bytes()
            };
            match name {
                b"queueId" => queue_id = value.and_then(number),
                b"queueOffset" => queue_offset = value.and_then(number),
                b"msgId" => response.offset_message_id = value.map(Text::decode),
                b"transactionId" => response.transaction_id = value.map(Text::decode),
                b"batchUniqId" => response.batch_unique_id = value.map(Text::decode),
                b"recallHandle" => response.recall_handle = value.map(Text::decode),
                b"MSG_REGION" => response.region_id = value.map(Text::decode),
                b"TRACE_ON" => response.trace_on = value.is_none_or(|text| !text.is("false")),
                _ => {}
            }
        }
        response.queue_id = i32::try_from(queue_id?).ok()?;
        response.queue_offset = queue_offset?;
        Some(response)
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
