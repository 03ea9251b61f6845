//! One line about a message that was stored.

use rocketmq_tokio::SendReceipt;

use crate::text::{bounded, harmless, short_millis};

/// The line. Nothing in it moves the cursor, whatever a peer has said.
pub(crate) fn line(receipt: &SendReceipt) -> String {
    let place = receipt.position.map_or_else(String::new, |position| {
        format!(" queue {} at offset {}", position.queue_id, position.queue_offset)
    });
    let handle = receipt.recall_handle.as_deref().map(bounded);
    let handle = handle.map_or_else(String::new, |handle| format!("; recall handle {handle}"));
    harmless(&format!(
        "stored on broker \"{}\"{place} as {} after {}: {}{handle}",
        receipt.broker_name,
        receipt.unique_key,
        short_millis(receipt.elapsed),
        receipt.status
    ))
}
