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

/// The 8 upper-case hexadecimal digits of a number, all lanes of a word at once.
#[inline]
pub(super) const fn hex_digits(number: u32) -> [u8; 8] {
    let pairs = (number as u64 | (number as u64) << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (bytes | bytes << 4) & (ONES * 0x0f);
    let above_nine = ((values + ONES * 6) >> 4) & ONES;
    (values + ONES * b'0' as u64 + above_nine * (b'A' - b'9' - 1) as u64).to_be_bytes()
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

/// The numbers that words of 8 hexadecimal digits of either case stand for.
#[inline]
pub(super) fn parse_hex<const N: usize>(words: [[u8; 8]; N]) -> Option<[u32; N]> {
    let mut wrong = 0;
    let numbers = words.map(|digits| {
        let word = u64::from_be_bytes(digits);
        // Letters have bit 6, and their low bits count from 1. No lane can overflow.
        let letters = word & (ONES * 0x40);
        let values = (word & (ONES * 0x0f)) + (letters >> 6) * 9;
        // Whatever is no digit is not what its value is written as. Bit 5 makes letters small.
        let above_nine = ((values + ONES * 6) >> 4) & ONES;
        let written = values + ONES * b'0' as u64 + above_nine * (b'a' - b'9' - 1) as u64;
        wrong |= (values & (ONES * 0xf0)) | (written ^ (word | (letters >> 1)));
        let bytes = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
        let pairs = (bytes | (bytes >> 8)) & 0x0000_ffff_0000_ffff;
        (pairs | (pairs >> 16)) as u32
    });
    (wrong == 0).then_some(numbers)
}

/// Bytes as text, with U+FFFD in place of what is not UTF-8.
#[inline]
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
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
    fn numbers_are_read_back() {
        let mut numbers = alloc::vec![0, 9, 10, 99_999_999, i64::MAX, i64::MIN];
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            numbers.extend([ten - 1, ten, -ten, 7 * (ten / 10)]);
        }
        for number in numbers {
            assert_eq!(parse_decimal(alloc::format!("{number}").as_bytes()), Some(number));
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
    fn numbers_are_written_in_hexadecimal() {
        for byte in 0..=u8::MAX {
            for place in 0..4 {
                let number = u32::from(byte) << (8 * place) | 0x0f_u32.rotate_left(byte.into());
                let expected = alloc::format!("{number:08X}");
                assert_eq!(str::from_utf8(&hex_digits(number)), Ok(&*expected));
            }
        }
    }

    #[test]
    fn hexadecimal_digits_and_nothing_else() {
        assert_eq!(parse_hex([*b"0189afAF", *b"FedCBA98"]), Some([0x0189_afaf, 0xfedc_ba98]));
        for byte in 0..=u8::MAX {
            let mut digits = *b"ffffffff";
            digits[3] = byte;
            let expected = byte.is_ascii_hexdigit();
            assert_eq!(parse_hex([*b"00000000", digits]).is_some(), expected, "{byte}");
            assert_eq!(parse_hex([digits, *b"00000000"]).is_some(), expected, "{byte}");
        }
    }
}
