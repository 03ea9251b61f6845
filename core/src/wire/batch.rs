//! The body of a batch: messages after each other, each with its own lengths.

use alloc::vec::Vec;

/// Bytes that one message of a batch takes besides its properties and its body.
pub const BATCH_ENTRY_OVERHEAD: usize = 22;

/// Why a message cannot be part of a batch. The buffer is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The properties have a length field of 16 bits with a sign.
    #[error("the properties have {length} bytes, more than 32,767")]
    PropertiesTooLong {
        /// Bytes of the properties.
        length: usize,
    },
    /// The message has a length field of 32 bits with a sign.
    #[error("the message has {length} bytes, more than 2,147,483,647")]
    EntryTooLong {
        /// Bytes of the whole entry.
        length: usize,
    },
}

/// Appends one message to the body of a batch. The body is not compressed, and the properties
/// hold the message's own unique key.
///
/// # Errors
///
/// A length field cannot hold its value.
// Java: MessageDecoder#encodeMessage
pub fn encode_batch_entry(
    out: &mut Vec<u8>,
    flag: i32,
    properties: &str,
    body: &[u8],
) -> Result<(), BatchError> {
    let length = properties.len();
    let properties_length =
        i16::try_from(length).map_err(|_| BatchError::PropertiesTooLong { length })?;
    let length = BATCH_ENTRY_OVERHEAD.saturating_add(length).saturating_add(body.len());
    let total = i32::try_from(length).map_err(|_| BatchError::EntryTooLong { length })?;
    out.reserve(length);
    out.extend_from_slice(&total.to_be_bytes());
    // The magic number and the checksum are not looked at by brokers; Java writes zeros.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&flag.to_be_bytes());
    // Shorter than the total, which fits.
    out.extend_from_slice(&(body.len() as i32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&properties_length.to_be_bytes());
    out.extend_from_slice(properties.as_bytes());
    Ok(())
}
