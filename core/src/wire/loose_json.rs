//! Turns the loose JSON of old name servers, whose map keys may stand without quotes, into JSON.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::text::plain_length;
use crate::limits::JSON_DEPTH_MAX;

/// Puts quotes around bare keys; text without any is borrowed. `None` when it is nested deeper
/// than [`JSON_DEPTH_MAX`], so that a parser that recurses may read the result.
///
/// This does not check anything else: what is malformed stays malformed.
// Java: RemotingSerializable#toJson writes map keys that are no strings without quotes
pub(super) fn quote_bare_keys(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut quoted = Vec::new();
    // Text up to here is in `quoted`, if there is any.
    let mut copied = 0_usize;
    let mut position = 0_usize;
    let mut depth = 0_usize;
    // One bit for each open bracket, the last in the lowest place: 1 for an object.
    let mut objects = 0_u64;
    let mut key_expected = false;
    while let Some(&byte) = text.get(position) {
        let mut length = 1_usize;
        match byte {
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if depth > JSON_DEPTH_MAX {
                    return None;
                }
                key_expected = byte == b'{';
                objects = objects << 1 | u64::from(key_expected);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                objects >>= 1;
                key_expected = false;
            }
            b',' => key_expected = objects & 1 == 1,
            b'"' => {
                length = string_length(text.get(position..).unwrap_or_default());
                key_expected = false;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ if key_expected => {
                length = key_length(text.get(position..).unwrap_or_default());
                let end = position.saturating_add(length);
                quoted.extend_from_slice(text.get(copied..position).unwrap_or_default());
                quoted.push(b'"');
                quoted.extend_from_slice(text.get(position..end).unwrap_or_default());
                quoted.push(b'"');
                copied = end;
                key_expected = false;
            }
            _ => {}
        }
        position = position.saturating_add(length);
    }
    if copied == 0 {
        return Some(Cow::Borrowed(text));
    }
    quoted.extend_from_slice(text.get(copied..).unwrap_or_default());
    Some(Cow::Owned(quoted))
}

/// Bytes of a string with its quotes; all when it does not end.
fn string_length(text: &[u8]) -> usize {
    let mut length = 1_usize;
    loop {
        let rest = text.get(length..).unwrap_or_default();
        length = length.saturating_add(plain_length(rest));
        match text.get(length) {
            Some(b'"') => return length.saturating_add(1),
            // A backslash and what it escapes.
            Some(_) => length = length.saturating_add(2),
            None => return text.len(),
        }
    }
}

/// Bytes of a bare key, at least one.
fn key_length(text: &[u8]) -> usize {
    let in_key = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_');
    text.iter().take_while(in_key).count().max(1)
}
