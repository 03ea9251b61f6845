//! The end of a transaction, and a broker's question about one.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::codes::RequestCode;
use super::command::Command;
use super::encode::{EncodeError, RequestHead, encode_request};
use super::frame::Encoding;
use super::stored::{StoredMessage, decode_stored};
use crate::limits::CHECK_TEXT_LENGTH_MAX;
use crate::transaction::TransactionState;

/// What ends a transaction, or leaves it undecided.
// Java: EndTransactionRequestHeader
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransaction<'a> {
    /// The message's topic; after a check, what the check says.
    pub topic: &'a str,
    /// The group that has sent the half message.
    pub producer_group: &'a str,
    /// The half message's place in its queue.
    pub queue_offset: i64,
    /// The half message's place in the broker's log.
    pub commit_log_offset: i64,
    /// What has become of the transaction.
    pub state: TransactionState,
    /// Whether a broker has asked.
    pub from_check: bool,
    /// The unique key.
    pub unique_key: &'a str,
    /// The transaction's id, which is the unique key as well.
    pub transaction_id: &'a str,
    /// The broker that has the half message.
    pub broker_name: &'a str,
}

/// Appends the request that ends a transaction. No answer is wanted to one that leaves it
/// undecided: brokers give none.
///
/// # Errors
///
/// See [`encode_request`].
// Java: MQClientAPIImpl#endTransactionOneway; EndTransactionProcessor answers if it is asked to
pub fn encode_end_transaction(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    end: &EndTransaction<'_>,
) -> Result<(), EncodeError> {
    let oneway = end.state == TransactionState::Undecided;
    let head = RequestHead { encoding, code: RequestCode::END_TRANSACTION, opaque, oneway };
    let fields = [
        ("topic", end.topic),
        ("producerGroup", end.producer_group),
        ("tranStateTableOffset", &end.queue_offset.to_string()),
        ("commitLogOffset", &end.commit_log_offset.to_string()),
        ("commitOrRollback", end.state.code()),
        ("fromTransactionCheck", if end.from_check { "true" } else { "false" }),
        ("msgId", end.unique_key),
        ("transactionId", end.transaction_id),
        ("bname", end.broker_name),
    ];
    encode_request(out, &head, &fields, &[])
}

/// A broker asks what has become of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckRequest {
    /// The topic that the answer has to name; not that of the message.
    pub(crate) topic: Box<str>,
    pub(crate) queue_offset: i64,
    pub(crate) commit_log_offset: i64,
    pub(crate) transaction_id: Box<str>,
    /// Empty on 4.x.
    pub(crate) broker_name: Box<str>,
    /// The half message, with its real topic and queue.
    pub(crate) message: StoredMessage,
}

impl CheckRequest {
    /// Reads one; `None` if it lacks what an answer needs, or is beyond a bound.
    // Java: CheckTransactionStateRequestHeader, ClientRemotingProcessor#checkTransactionState
    pub(crate) fn read(command: &Command<'_>, body: &[u8]) -> Option<CheckRequest> {
        let text = |name: &str| -> Option<Box<str>> {
            let text = command.ext_fields.get(name).unwrap_or_default();
            (text.len() <= CHECK_TEXT_LENGTH_MAX).then(|| text.as_ref().into())
        };
        let number = |name: &str| command.ext_fields.get(name)?.parse::<i64>().ok();
        let mut messages = decode_stored(body).ok()?.into_iter();
        let message = messages.next().filter(|_| messages.len() == 0)?;
        Some(CheckRequest {
            topic: text("topic")?,
            queue_offset: number("tranStateTableOffset")?,
            commit_log_offset: number("commitLogOffset")?,
            transaction_id: text("transactionId")?,
            broker_name: text("bname")?,
            message,
        })
    }
}
