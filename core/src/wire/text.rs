//! Helpers for text on the wire: searching eight bytes at a time, numbers, JSON escapes.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

const ONES: u64 = u64::MAX / 0xff;
const TOPS: u64 = ONES << 7;

/// How many bytes of `bytes` come before the first quote or backslash; all when there is none.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let (chunks, tail) = bytes.as_chunks::<8>();
    let mut start = 0;
    for chunk in chunks {
        let found = quotes(u64::from_le_bytes(*chunk));
        if found != 0 {
            return start + (found.trailing_zeros() / 8) as usize;
        }
        start += 8;
    }
    start + plain_length_of_few(tail)
}

/// Marks quotes and backslashes by their top bit; only the lowest mark is exact.
const fn quotes(word: u64) -> u64 {
    // Both are ASCII: of a byte that is, the difference to either has no top bit, so that only a
    // zero gets one by the subtraction. Bytes of 128 and more are masked out.
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quote | backslash) & !word & TOPS
}

#[cold]
fn plain_length_of_few(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'"' || byte == b'\\').unwrap_or(bytes.len())
}

/// Appends `text` as the inside of a JSON string.
// Forced: names have nothing to escape, and the call would cost more than the look at them.
#[inline(always)]
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    if is_unescaped(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escape(out, text.as_bytes());
    }
}

/// Appends `text` as the inside of a JSON string.
pub(super) fn push_escaped_text(out: &mut String, text: &str) {
    if is_unescaped(text.as_bytes()) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match character {
            '\0'..='\x1f' => {
                let byte = character as u8;
                out.push_str("\\u00");
                out.extend([hex_digit(byte >> 4), hex_digit(byte)].map(char::from));
            }
            '"' | '\\' => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
}

/// Whether no byte has to be escaped.
#[inline(always)]
fn is_unescaped(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<8>() {
        let (chunks, _) = bytes.as_chunks::<8>();
        return specials(u64::from_le_bytes(*last)) == 0
            && chunks.iter().all(|chunk| specials(u64::from_le_bytes(*chunk)) == 0);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let [a, b, c, d] = *first;
        let [e, f, g, h] = *last;
        return specials(u64::from_le_bytes([a, b, c, d, e, f, g, h])) == 0;
    }
    bytes.iter().all(|byte| !is_special(*byte))
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[inline(never)]
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let last = text.last_chunk::<8>();
    let mut rest = text;
    while let Some((plain, special)) = rest.split_at_checked(unescaped_length(rest, last)) {
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            return;
        };
        push_escape(out, byte);
        rest = after;
    }
}

/// How many bytes of `bytes` come before the first one that has to be escaped; all when there is
/// none. They may be the end of a longer text, of which `last` are the last bytes.
#[inline(always)]
fn unescaped_length(bytes: &[u8], last: Option<&[u8; 8]>) -> usize {
    let (chunks, tail) = bytes.as_chunks::<8>();
    let mut start = 0;
    for chunk in chunks {
        let found = specials(u64::from_le_bytes(*chunk));
        if found != 0 {
            return start + (found.trailing_zeros() / 8) as usize;
        }
        start += 8;
    }
    let Some(last) = last.filter(|_| !tail.is_empty()) else {
        let special = tail.iter().position(|byte| is_special(*byte));
        return start + special.unwrap_or(tail.len());
    };
    // The tail with zeros behind it, which count as special and end the search.
    let word = u64::from_le_bytes(*last) >> (64 - 8 * tail.len());
    start + (specials(word).trailing_zeros() / 8) as usize
}

/// Marks quotes, backslashes and control characters by their top bit; only the lowest mark is
/// exact.
const fn specials(word: u64) -> u64 {
    // A byte below 32 borrows from its top bit.
    let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
    control | quotes(word)
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

/// The number that 8 hexadecimal digits of either case stand for.
#[inline]
pub(super) const fn parse_hex(digits: [u8; 8]) -> Option<u32> {
    let word = u64::from_be_bytes(digits);
    // Letters have bit 6, and their low bits count from 1. No lane can overflow.
    let letters = word & (ONES * 0x40);
    let values = (word & (ONES * 0x0f)) + (letters >> 6) * 9;
    // Whatever is no digit is not what its value is written as. Bit 5 makes letters small.
    let above_nine = ((values + ONES * 6) >> 4) & ONES;
    let written = values + ONES * b'0' as u64 + above_nine * (b'a' - b'9' - 1) as u64;
    if values & (ONES * 0xf0) != 0 || written != word | (letters >> 1) {
        return None;
    }
    let bytes = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | (bytes >> 8)) & 0x0000_ffff_0000_ffff;
    Some((pairs | (pairs >> 16)) as u32)
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
    blocks: [[u8; 8]; 3],
    start: usize,
}

impl Decimal {
    /// The digits of `value`.
    #[inline]
    pub(super) fn new(value: i64) -> Self {
        const BLOCK: u64 = 100_000_000;
        let number = value.unsigned_abs();
        let mut decimal = Self { blocks: [*b"00000000"; 3], start: 16 };
        let [top, middle, low] = &mut decimal.blocks;
        *low = eight_digits((number % BLOCK) as u32);
        let mut first = *low;
        if number >= BLOCK {
            *middle = eight_digits((number / BLOCK % BLOCK) as u32);
            (first, decimal.start) = (*middle, 8);
            if number >= BLOCK * BLOCK {
                *top = eight_digits((number / BLOCK / BLOCK) as u32);
                (first, decimal.start) = (*top, 0);
            }
        }
        let digits = u64::from_le_bytes(first) ^ (ONES * b'0' as u64);
        decimal.start += (digits.trailing_zeros() / 8).min(7) as usize;
        if value < 0 {
            // No number has more than 19 digits, so there is room for the sign.
            decimal.start = decimal.start.saturating_sub(1);
            if let Some(sign) = decimal.blocks.as_flattened_mut().get_mut(decimal.start) {
                *sign = b'-';
            }
        }
        decimal
    }

    /// The digits, with a leading `-` where needed.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.blocks.as_flattened().get(self.start..).unwrap_or_default()
    }
}

/// The eight digits of a number below 10^8, leading zeros included.
#[inline]
const fn eight_digits(number: u32) -> [u8; 8] {
    // Each step halves the number of digits in a lane and doubles the lanes: two of four digits,
    // four of two, eight of one. The first lane is the lowest. Multiplying and shifting divides
    // all lanes at once; what spills over into the next lane is masked out.
    let number = number as u64;
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let high = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = high | ((fours - 100 * high) << 16);
    let high = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    let ones = high | ((twos - 10 * high) << 8);
    (ones | (ONES * b'0' as u64)).to_le_bytes()
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
    if digits.len() > 18 {
        return parse_long(negative, digits);
    }
    // So many digits always fit.
    let mut value = 0_i64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

#[cold]
fn parse_long(negative: bool, digits: &[u8]) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_eight_digits_is_written_right() {
        for number in (0..10_000).chain((10_000..100_000_000).step_by(997)).chain([99_999_999]) {
            let text = alloc::format!("{number:08}");
            assert_eq!(eight_digits(number), text.as_bytes(), "{number}");
        }
    }

    #[test]
    fn numbers_are_written_and_read_back() {
        let mut numbers = alloc::vec![0, 9, 10, 99_999_999, i64::MAX, i64::MIN];
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            numbers.extend([ten - 1, ten, -ten, 7 * (ten / 10)]);
        }
        for number in numbers {
            let decimal = Decimal::new(number);
            assert_eq!(decimal.as_bytes(), alloc::format!("{number}").as_bytes());
            assert_eq!(parse_decimal(decimal.as_bytes()), Some(number));
        }
        for text in ["9223372036854775808", "-9223372036854775809", "1_", "-", ""] {
            assert_eq!(parse_decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn special_bytes_are_found_at_every_place() {
        for length in 0..40 {
            for place in 0..=length {
                for special in [b'"', b'\\', 0, 1, 0x1f] {
                    let mut bytes = alloc::vec![b'a'; length];
                    let plain = [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff];
                    for (index, byte) in bytes.iter_mut().enumerate() {
                        *byte = plain[(index + place) % plain.len()];
                    }
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = special;
                    }
                    assert_eq!(is_unescaped(&bytes), place == length);
                    for from in 0..=place {
                        let found = unescaped_length(&bytes[from..], bytes.last_chunk());
                        assert_eq!(from + found, place, "{bytes:?}");
                    }
                    assert_eq!(unescaped_length(&bytes, None), place, "{bytes:?}");
                    let control = special < 0x20;
                    let expected = if control { length } else { place };
                    assert_eq!(plain_length(&bytes), expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn text_is_escaped_in_one_way() {
        for text in ["", "plain", "q\"b\\c\u{1}\u{1f}\u{7f}é漢😀", "longer than eight\n"] {
            let (mut bytes, mut string) = (Vec::new(), String::new());
            push_escaped(&mut bytes, text);
            push_escaped_text(&mut string, text);
            assert_eq!(bytes, string.as_bytes());
        }
    }

    #[test]
    fn hexadecimal_digits_and_nothing_else() {
        assert_eq!(parse_hex(*b"0189afAF"), Some(0x0189_afaf));
        for byte in 0..=u8::MAX {
            let mut digits = *b"ffffffff";
            digits[3] = byte;
            assert_eq!(parse_hex(digits).is_some(), byte.is_ascii_hexdigit(), "{byte}");
        }
    }
}
