//! Text for people: numbers, and words of others made harmless.

use std::fmt::Write as _;
use std::time::Duration;

/// Longest text taken over from a peer, in bytes.
pub(crate) const PEER_TEXT_MAX: usize = 4 * 1024;

/// Cuts a text of a peer to [`PEER_TEXT_MAX`] bytes, between characters.
pub(crate) fn bounded(text: &str) -> &str {
    let mut end = text.len().min(PEER_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // The end is a boundary, so the whole text is never the answer to a text that is too long.
    text.get(..end).unwrap_or(text)
}

/// Spells out everything that could move the cursor, change colours or reorder what is seen.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Line and paragraph separators, and marks of the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// A number with a comma at every thousand.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Milliseconds, as machines read them.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds with about three digits that say something.
pub(crate) fn short_millis(duration: Duration) -> String {
    let millis = millis(duration);
    let decimals = if millis >= 100.0 { 0 } else { usize::from(millis < 10.0) + 1 };
    format!("{millis:.decimals$} ms")
}

/// A number per second, with decimals where they matter.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let per_second = count as f64 / time.as_secs_f64().max(1e-9);
    if per_second >= 100.0 { grouped(per_second as u64) } else { format!("{per_second:.1}") }
}

/// Bytes in the unit that fits.
pub(crate) fn bytes(count: f64) -> String {
    let mut out = String::new();
    let (value, unit) = match count {
        count if count >= 1e9 => (count / 1e9, "GB"),
        count if count >= 1e6 => (count / 1e6, "MB"),
        count if count >= 1e3 => (count / 1e3, "kB"),
        count => (count, "B"),
    };
    // Writing to a string does not fail.
    let _ = write!(out, "{value:.decimals$} {unit}", decimals = usize::from(unit != "B"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_gets_through() {
        let nasty = "a\u{1b}[31mb\u{9b}2J\rc\nd\te\u{202e}f\u{7f}ü";
        let seen = harmless(nasty);
        assert_eq!(seen, "a\\u{1b}[31mb\\u{9b}2J\\rc\\nd\\te\\u{202e}f\\u{7f}ü");
        assert!(!seen.chars().any(char::is_control));
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(bounded("short"), "short");
        let long = "ü".repeat(3_000);
        assert_eq!(bounded(&long).len(), PEER_TEXT_MAX);
        let odd = format!("x{long}");
        assert_eq!(bounded(&odd).len(), PEER_TEXT_MAX - 1);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            (counted(1, "message"), counted(2, "message")),
            ("1 message".into(), "2 messages".into())
        );
        let times = [1_234, 12_345, 123_456].map(|us| short_millis(Duration::from_micros(us)));
        assert_eq!(times, ["1.23 ms", "12.3 ms", "123 ms"]);
        assert_eq!(rate(5, Duration::from_secs(2)), "2.5");
        assert_eq!(rate(5_000, Duration::from_secs(2)), "2,500");
        assert_eq!([12.0, 1_500.0, 2.5e6].map(bytes), ["12 B", "1.5 kB", "2.5 MB"]);
    }
}
