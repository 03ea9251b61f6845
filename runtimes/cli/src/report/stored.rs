//! One line about a message that was stored.

use rocketmq_tokio::SendReceipt;

use crate::send::args::EndName;
use crate::text::{bounded, harmless, short_millis};

/// The line. Nothing in it moves the cursor, whatever a peer has said.
pub(crate) fn line(receipt: &SendReceipt, transaction: Option<EndName>) -> String {
    let place = receipt.position.map_or_else(String::new, |position| {
        format!(" queue {} at offset {}", position.queue_id, position.queue_offset)
    });
    let handle = receipt.recall_handle.as_deref().map(bounded);
    let handle = handle.map_or_else(String::new, |handle| format!("; recall handle {handle}"));
    let end = transaction.map_or_else(String::new, |end| match end {
        EndName::Commit => String::from("; committed"),
        EndName::Rollback => String::from("; rolled back"),
        EndName::Undecided => String::from("; left undecided"),
    });
    harmless(&format!(
        "stored on broker \"{}\"{place} as {} after {}: {}{handle}{end}",
        receipt.broker_name,
        receipt.unique_key,
        short_millis(receipt.elapsed),
        receipt.status
    ))
}
