//! A scanner for JSON headers. It borrows, never recurses and allocates only for escaped strings.
//!
//! It is a little more tolerant than the standard, as the Java peer's parser is: raw control
//! characters inside strings and leading zeros of numbers pass.

use alloc::borrow::Cow;
use alloc::string::String;

use super::error::DecodeErrorKind;
use super::text::{hex_value, lossy, plain_length};
use crate::limits::JSON_DEPTH_MAX;

/// A piece of a header: known to be UTF-8, or not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// Checked once for the whole header.
    Text(&'a str),
    /// Holds something that is not UTF-8, or was not checked.
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    /// Checks the whole header once, so that its strings need no further check.
    #[inline]
    pub(super) fn new(header: &'a [u8]) -> Self {
        core::str::from_utf8(header).map_or(Self::Bytes(header), Self::Text)
    }

    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The piece from `start` to `end`, which the scanner has found and which thus exists.
    #[inline]
    pub(super) fn slice(self, start: usize, end: usize) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.get(start..end).unwrap_or_default()),
            Self::Bytes(bytes) => Self::Bytes(bytes.get(start..end).unwrap_or_default()),
        }
    }
}

/// The inside of a string, or the text of another value, as it stands in the header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    source: Source<'a>,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Text that stands for itself.
    #[inline]
    pub(super) const fn plain(source: Source<'a>) -> Self {
        Self { source, escaped: false }
    }

    /// The bytes of text without escapes.
    #[inline]
    pub(super) fn unescaped_bytes(self) -> Option<&'a [u8]> {
        if self.escaped { None } else { Some(self.source.bytes()) }
    }

    /// The text that is meant: borrowed when nothing has to be replaced.
    #[inline]
    pub(super) fn decode(self) -> Cow<'a, str> {
        match self.source {
            source if self.escaped => Cow::Owned(unescape(source.bytes())),
            Source::Text(text) => Cow::Borrowed(text),
            Source::Bytes(bytes) => lossy(bytes),
        }
    }

    /// Whether the text that is meant equals `name`.
    #[inline]
    pub(super) fn is(self, name: &str) -> bool {
        let bytes = self.source.bytes();
        if !self.escaped && bytes == name.as_bytes() {
            return true;
        }
        // Replaced and escaped bytes may still spell the name.
        (self.escaped || !bytes.is_ascii()) && self.decode() == name
    }
}

/// Where a piece of text stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: usize,
    end: usize,
    /// Whether it is the inside of a string with escapes.
    escaped: bool,
}

impl Span {
    /// Whether escapes have to be resolved.
    #[inline]
    pub(super) const fn is_escaped(self) -> bool {
        self.escaped
    }

    /// The text that stands here in `source`.
    #[inline]
    pub(super) fn of(self, source: Source<'_>) -> Text<'_> {
        Text { source: source.slice(self.start, self.end), escaped: self.escaped }
    }
}

/// One value of an object, as far as the caller needs to tell kinds apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// `null`.
    Null,
    /// The inside of a string.
    String(Span),
    /// A number, `true`, `false`, an object or an array, as written.
    Other(Span),
}

/// Walks over one JSON text. An error stands where [`position`](Self::position) stopped.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// The bytes of a piece, escapes unresolved.
    #[inline]
    pub(super) fn bytes_of(&self, span: Span) -> &'a [u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    #[inline]
    fn advance(&mut self) {
        // Only called after a byte was seen here, so this stays within the text.
        self.position = self.position.saturating_add(1);
    }

    /// The next byte that is not white space, not taken yet.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.advance(),
                other => return other,
            }
        }
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
    pub(super) fn next_key(&mut self, first: &mut bool) -> Result<Option<Span>, DecodeErrorKind> {
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
    fn string_rest(&mut self) -> Result<Span, DecodeErrorKind> {
        let start = self.position;
        self.position = start.saturating_add(plain_length(self.rest()));
        if self.peek() == Some(b'"') {
            let span = Span { start, end: self.position, escaped: false };
            self.advance();
            return Ok(span);
        }
        self.escaped_rest(start)
    }

    /// Reads a string on, from its first backslash or the end of the text.
    #[cold]
    fn escaped_rest(&mut self, start: usize) -> Result<Span, DecodeErrorKind> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    let span = Span { start, end: self.position, escaped: true };
                    self.advance();
                    return Ok(span);
                }
                Some(_) => self.escape()?,
                None => return Err(DecodeErrorKind::InvalidJson),
            }
            self.position = self.position.saturating_add(plain_length(self.rest()));
        }
    }

    /// Checks one escape, standing at its backslash.
    fn escape(&mut self) -> Result<(), DecodeErrorKind> {
        self.advance();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.advance(),
            Some(b'u') => {
                self.advance();
                for _ in 0..4 {
                    if self.peek().and_then(hex_value).is_none() {
                        return Err(DecodeErrorKind::InvalidJson);
                    }
                    self.advance();
                }
            }
            _ => return Err(DecodeErrorKind::InvalidJson),
        }
        Ok(())
    }

    /// Reads any value. `depth` is the number of objects and arrays that it stands in.
    #[inline(always)]
    pub(super) fn value(&mut self, depth: usize) -> Result<Value, DecodeErrorKind> {
        if self.take(b'"') {
            return Ok(Value::String(self.string_rest()?));
        }
        self.other_value(depth)
    }

    #[inline(never)]
    fn other_value(&mut self, depth: usize) -> Result<Value, DecodeErrorKind> {
        let start = self.position;
        if self.peek() == Some(b'n') {
            self.literal(b"null")?;
            return Ok(Value::Null);
        }
        self.skip(depth)?;
        Ok(Value::Other(Span { start, end: self.position, escaped: false }))
    }

    /// Reads an integer of 32 bits; `null` is 0, as it is for a Java `int`.
    #[inline]
    pub(super) fn integer(&mut self) -> Result<i32, DecodeErrorKind> {
        let token = self.token();
        let negative = token == Some(b'-');
        if negative {
            self.advance();
        } else if token == Some(b'n') {
            return self.literal(b"null").map(|()| 0);
        }
        let start = self.position;
        let mut value = 0_i64;
        while let Some(digit) = self.peek().map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10)
        {
            value = value.saturating_mul(10).saturating_add(i64::from(digit));
            self.advance();
        }
        if self.position == start {
            return Err(DecodeErrorKind::InvalidJson);
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return Err(DecodeErrorKind::NumberOutOfRange);
        }
        let value = if negative { -value } else { value };
        i32::try_from(value).map_err(|_| DecodeErrorKind::NumberOutOfRange)
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), DecodeErrorKind> {
        if !self.rest().starts_with(word) {
            return Err(DecodeErrorKind::InvalidJson);
        }
        self.position = self.position.saturating_add(word.len());
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
        let start = self.position;
        while let Some(b'0'..=b'9') = self.peek() {
            self.advance();
        }
        if self.position == start {
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
