//! Helpers for text on the wire: searching eight bytes at a time, numbers, JSON escapes.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

const ONES: u64 = u64::MAX / 0xff;
const TOPS: u64 = ONES << 7;

/// Marks the zero bytes of `word` by their top bit. Only the lowest mark is exact, and it is the
/// only one used.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & TOPS
}

const fn bytes_equal_to(word: u64, byte: u8) -> u64 {
    zero_bytes(word ^ (ONES * byte as u64))
}

/// How many bytes of `bytes` come before the first quote or backslash; all when there is none.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let found = bytes_equal_to(word, b'"') | bytes_equal_to(word, b'\\');
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    bytes.len() - rest.len() + plain_length_of_few(rest)
}

#[cold]
fn plain_length_of_few(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'"' || byte == b'\\').unwrap_or(bytes.len())
}

/// Appends `text` as the inside of a JSON string.
#[inline]
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    // Blocks of a fixed size are copied without a call. One with a special byte is copied whole,
    // too, and cut after it.
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // A byte below 32 borrows from its top bit. Bytes of 128 and more are no control
        // characters and are masked out.
        let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let found = control | bytes_equal_to(word, b'"') | bytes_equal_to(word, b'\\');
        out.extend_from_slice(chunk);
        if found == 0 {
            rest = after;
            continue;
        }
        let plain = (found.trailing_zeros() / 8) as usize;
        out.truncate(out.len().saturating_sub(8 - plain));
        let Some((&byte, after)) = rest.get(plain..).and_then(<[u8]>::split_first) else {
            return;
        };
        push_escape(out, byte);
        rest = after;
    }
    for &byte in rest {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            push_escape(out, byte);
        } else {
            out.push(byte);
        }
    }
}

#[inline]
fn push_escape(out: &mut Vec<u8>, byte: u8) {
    if byte < 0x20 {
        let (high, low) = (hex_digit(byte >> 4), hex_digit(byte));
        out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
    } else {
        out.extend_from_slice(&[b'\\', byte]);
    }
}

/// The upper-case hexadecimal digit of the low four bits.
pub(super) const fn hex_digit(nibble: u8) -> u8 {
    let nibble = nibble & 15;
    if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) }
}

/// The value of a hexadecimal digit of either case.
pub(super) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Bytes as text, with U+FFFD in place of what is not UTF-8.
#[inline]
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// A number's decimal digits, without an allocation.
pub(super) struct Decimal {
    buffer: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits of `value`.
    #[inline]
    pub(super) fn new(value: i64) -> Self {
        let mut decimal = Self { buffer: [0; 20], start: 20 };
        let mut rest = value.unsigned_abs();
        // Two digits at a time halve the divisions, which are what takes time.
        while rest >= 10 {
            let pair = (rest % 100) as u8;
            rest /= 100;
            decimal.push_front([b'0' + pair / 10, b'0' + pair % 10]);
        }
        if rest > 0 || decimal.start == 20 {
            decimal.push_front([b'0' + rest as u8]);
        }
        if value < 0 {
            decimal.push_front(*b"-");
        }
        decimal
    }

    #[inline]
    fn push_front<const N: usize>(&mut self, bytes: [u8; N]) {
        // 20 bytes hold every i64 with its sign, so neither of the two can fail.
        self.start = self.start.saturating_sub(N);
        let slot = self.buffer.get_mut(self.start..).and_then(|rest| rest.first_chunk_mut::<N>());
        if let Some(slot) = slot {
            *slot = bytes;
        }
    }

    /// The digits, with a leading `-` where needed.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

/// Reads an optional `-` and decimal digits that fit in 64 bits, and nothing else.
#[inline]
pub(super) fn parse_decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_i64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Negative numbers reach one further, so the sum runs below zero.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}
