//! A scanner for JSON headers. It borrows, never recurses and allocates only for escaped strings.
//!
//! It is a little more tolerant than the standard, as the Java peer's parser is: raw control
//! characters inside strings and leading zeros of numbers pass.

use alloc::borrow::Cow;
use alloc::string::String;

use super::error::DecodeErrorKind;
use super::text::{hex_value, lossy, plain_length};
use crate::limits::JSON_DEPTH_MAX;

/// The inside of a string, or the text of another value, as it stands in the header. Most of them
/// are never looked at, so whether they are UTF-8 is checked when they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Text that stands for itself.
    #[inline]
    pub(super) const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, escaped: false }
    }

    /// The inside of a JSON string that may have escapes.
    #[inline]
    pub(super) const fn escaped(bytes: &'a [u8]) -> Self {
        Self { bytes, escaped: true }
    }

    /// The bytes of text without escapes.
    #[inline]
    pub(super) const fn unescaped_bytes(self) -> Option<&'a [u8]> {
        if self.escaped { None } else { Some(self.bytes) }
    }

    /// The text that is meant: borrowed when nothing has to be replaced.
    #[inline]
    pub(super) fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.bytes)) } else { lossy(self.bytes) }
    }

    /// Whether the text that is meant equals `name`.
    #[inline]
    pub(super) fn is(self, name: &str) -> bool {
        // Replaced and escaped bytes may still spell the name.
        (!self.escaped && self.bytes == name.as_bytes())
            || ((self.escaped || !self.bytes.is_ascii()) && self.decode() == name)
    }
}

/// One value of an object, as far as the caller needs to tell kinds apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// `null`.
    Null,
    /// A string.
    String(Text<'a>),
    /// A number, `true`, `false`, an object or an array, as written.
    Other(Text<'a>),
}

/// Walks over one JSON text. An error stands where [`rest`](Self::rest) begins.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    #[inline]
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What was read since the rest was `before`.
    #[inline]
    pub(super) fn since(&self, before: &'a [u8]) -> &'a [u8] {
        before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    #[inline]
    fn advance(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// The next byte that is not white space, not taken yet.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        match self.rest.first() {
            Some(&byte) if byte > b' ' => Some(byte),
            _ => self.token_after_space(),
        }
    }

    // Servers write no white space.
    #[cold]
    fn token_after_space(&mut self) -> Option<u8> {
        while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = self.rest {
            self.rest = after;
        }
        self.peek()
    }

    /// Takes `byte` if it is the next token.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.token() == Some(byte);
        if found {
            self.advance();
        }
        found
    }

    /// Takes `byte`, which has to be the next token.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), DecodeErrorKind> {
        if self.take(byte) { Ok(()) } else { Err(DecodeErrorKind::InvalidJson) }
    }

    /// Steps to the next key of an object whose opening brace is taken, or past its end (`None`).
    /// The colon is taken too. `first` is true for the first step of an object and set to false.
    // Forced: kept apart, the result goes through memory and costs more than the work.
    #[inline(always)]
    pub(super) fn next_key(
        &mut self,
        first: &mut bool,
    ) -> Result<Option<Text<'a>>, DecodeErrorKind> {
        match self.token() {
            Some(b'}') => {
                self.advance();
                return Ok(None);
            }
            Some(b',') if !*first => {
                self.advance();
                self.expect(b'"')?;
            }
            Some(b'"') if *first => {
                self.advance();
                *first = false;
            }
            _ => return Err(DecodeErrorKind::InvalidJson),
        }
        let key = self.string_rest()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Reads a string whose opening quote is taken.
    #[inline(always)]
    fn string_rest(&mut self) -> Result<Text<'a>, DecodeErrorKind> {
        match self.rest.split_at_checked(plain_length(self.rest)) {
            Some((inside, [b'"', after @ ..])) => {
                self.rest = after;
                Ok(Text::plain(inside))
            }
            _ => self.escaped_rest(),
        }
    }

    /// Reads a string that has escapes or no end.
    #[cold]
    fn escaped_rest(&mut self) -> Result<Text<'a>, DecodeErrorKind> {
        let start = self.rest;
        loop {
            self.rest = self.rest.get(plain_length(self.rest)..).unwrap_or_default();
            match self.peek() {
                Some(b'"') => {
                    let bytes = self.since(start);
                    self.advance();
                    return Ok(Text { bytes, escaped: true });
                }
                Some(_) => self.escape()?,
                None => return Err(DecodeErrorKind::InvalidJson),
            }
        }
    }

    /// Checks one escape, standing at its backslash.
    fn escape(&mut self) -> Result<(), DecodeErrorKind> {
        self.rest = match self.rest {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            [_, b'u', a, b, c, d, after @ ..]
                if [a, b, c, d].iter().all(|digit| hex_value(**digit).is_some()) =>
            {
                after
            }
            _ => return Err(DecodeErrorKind::InvalidJson),
        };
        Ok(())
    }

    /// Reads any value. `depth` is the number of objects and arrays that it stands in.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Result<Value<'a>, DecodeErrorKind> {
        if self.take(b'"') {
            return Ok(Value::String(self.string_rest()?));
        }
        self.other_value(depth)
    }

    #[inline(never)]
    fn other_value(&mut self, depth: usize) -> Result<Value<'a>, DecodeErrorKind> {
        if self.peek() == Some(b'n') {
            self.literal(b"null")?;
            return Ok(Value::Null);
        }
        let start = self.rest;
        self.skip(depth)?;
        Ok(Value::Other(Text::plain(self.since(start))))
    }

    /// Reads an integer of 32 bits; `null` is 0, as it is for a Java `int`.
    #[inline(always)]
    pub(super) fn integer(&mut self) -> Result<i32, DecodeErrorKind> {
        let token = self.token();
        let negative = token == Some(b'-');
        if negative {
            self.advance();
        } else if token == Some(b'n') {
            return self.literal(b"null").map(|()| 0);
        }
        let digits = self.rest;
        let mut value = 0_i64;
        while let [byte @ b'0'..=b'9', after @ ..] = self.rest {
            // Already too large for 32 bits, and far from too large for 64.
            if value > i64::from(u32::MAX) {
                return Err(DecodeErrorKind::NumberOutOfRange);
            }
            value = value * 10 + i64::from(byte - b'0');
            self.rest = after;
        }
        if self.rest.len() == digits.len() {
            return Err(DecodeErrorKind::InvalidJson);
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return Err(DecodeErrorKind::NumberOutOfRange);
        }
        let value = if negative { -value } else { value };
        i32::try_from(value).map_err(|_| DecodeErrorKind::NumberOutOfRange)
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), DecodeErrorKind> {
        self.rest = self.rest.strip_prefix(word).ok_or(DecodeErrorKind::InvalidJson)?;
        Ok(())
    }

    /// Skips one value that stands in `depth` objects and arrays. Open brackets are kept as one
    /// bit each (1 for an object), so nesting costs no stack.
    fn skip(&mut self, depth: usize) -> Result<(), DecodeErrorKind> {
        let mut depth = depth;
        let mut open = 0_usize;
        let mut objects = 0_u64;
        loop {
            let opened = match self.token() {
                Some(b'{') => Some(1),
                Some(b'[') => Some(0),
                _ => {
                    self.scalar()?;
                    None
                }
            };
            if let Some(object) = opened {
                depth = depth.saturating_add(1);
                if depth > JSON_DEPTH_MAX {
                    return Err(DecodeErrorKind::NestingTooDeep);
                }
                self.advance();
                open = open.saturating_add(1);
                objects = objects << 1 | object;
                if !self.take(if object == 1 { b'}' } else { b']' }) {
                    if object == 1 {
                        self.key()?;
                    }
                    continue;
                }
                depth = depth.saturating_sub(1);
                open = open.saturating_sub(1);
                objects >>= 1;
            }
            // A value is complete: close what ends here.
            while open > 0 {
                let object = objects & 1 == 1;
                if self.take(b',') {
                    if object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if object { b'}' } else { b']' })?;
                depth = depth.saturating_sub(1);
                open = open.saturating_sub(1);
                objects >>= 1;
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn key(&mut self) -> Result<(), DecodeErrorKind> {
        self.expect(b'"')?;
        self.string_rest()?;
        self.expect(b':')
    }

    /// Skips a string, a number or a literal.
    fn scalar(&mut self) -> Result<(), DecodeErrorKind> {
        match self.token() {
            Some(b'"') => {
                self.advance();
                self.string_rest().map(|_| ())
            }
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(DecodeErrorKind::InvalidJson),
        }
    }

    fn number(&mut self) -> Result<(), DecodeErrorKind> {
        if self.peek() == Some(b'-') {
            self.advance();
        }
        self.digits()?;
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance();
            if let Some(b'+' | b'-') = self.peek() {
                self.advance();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), DecodeErrorKind> {
        let start = self.rest;
        while let [b'0'..=b'9', after @ ..] = self.rest {
            self.rest = after;
        }
        if self.rest.len() == start.len() {
            return Err(DecodeErrorKind::InvalidJson);
        }
        Ok(())
    }
}

/// Resolves the escapes of a string that the scanner has passed. Halves of surrogate pairs that
/// stand alone become U+FFFD.
#[cold]
fn unescape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        text.push_str(&lossy(plain));
        rest = match special {
            [] => return text,
            [b'\\', b'u', after @ ..] => {
                let (unit, after) = code_unit(after);
                let (character, after) = character(unit, after);
                text.push(character);
                after
            }
            [b'\\', byte, after @ ..] => {
                text.push(match byte {
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    other => char::from(*other),
                });
                after
            }
            [_, after @ ..] => after,
        };
    }
}

/// The four digits after `\u`.
fn code_unit(bytes: &[u8]) -> (u32, &[u8]) {
    let (digits, rest) = bytes.split_at_checked(4).unwrap_or((bytes, &[]));
    let unit =
        digits.iter().fold(0, |unit, digit| unit << 4 | u32::from(hex_value(*digit).unwrap_or(0)));
    (unit, rest)
}

/// The character that begins with `unit`, which may need a second escape.
fn character(unit: u32, rest: &[u8]) -> (char, &[u8]) {
    if let (0xd800..0xdc00, [b'\\', b'u', after @ ..]) = (unit, rest) {
        let (low, after) = code_unit(after);
        if (0xdc00..0xe000).contains(&low) {
            let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after);
        }
    }
    (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest)
}
