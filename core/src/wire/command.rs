//! The header of a frame: what is asked or answered, and its extension fields.

use alloc::borrow::Cow;
use core::fmt;

use super::error::{DecodeError, DecodeErrorKind};
use super::frame::Encoding;
use super::json::{Scanner, Text, Value};
use super::send_response::Noted;
use super::{binary, text};
use crate::limits::EXT_FIELDS_MAX;

/// Set in the flag of responses.
// Java: RemotingCommand#RPC_TYPE
pub const FLAG_RESPONSE: i32 = 1;

/// Set in the flag of requests that want no response.
// Java: RemotingCommand#RPC_ONEWAY
pub const FLAG_ONEWAY: i32 = 1 << 1;

/// [`Command::language`] of a peer whose language is not known.
pub const LANGUAGE_UNKNOWN: u8 = 255;

/// Languages by their code.
// Java: LanguageCode
const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP",
    "OMS", "RUST", "NODE_JS",
];

/// A decoded header, borrowed from the received frame.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// A request code or a response code, see [`is_response`](Self::is_response).
    pub code: i32,
    /// The peer's language; 255 when unknown.
    // Java: LanguageCode
    pub language: u8,
    /// The peer's version.
    // Java: MQVersion.Version
    pub version: i32,
    /// The number of the request; an answer has that of its request. 0 when absent.
    pub opaque: i32,
    /// Bit 0: response; bit 1: no answer wanted. Others are not known and kept.
    pub flag: i32,
    /// Text for people, mostly of an error.
    pub remark: Option<Cow<'a, str>>,
    /// The fields that depend on the code.
    pub ext_fields: ExtFields<'a>,
}

impl<'a> Command<'a> {
    /// Reads and checks a whole header, so that nothing read from it later can fail.
    ///
    /// Unknown keys, languages, versions and flag bits are accepted, text that is not UTF-8 is
    /// read with U+FFFD in its place, and of keys that stand twice the last one counts. JSON keys
    /// may come in any order. Nothing is allocated but what an escaped or replaced remark needs.
    ///
    /// # Errors
    ///
    /// The header is malformed or beyond a bound of [`limits`](crate::limits); its frame and its
    /// connection are of no use.
    // Java: RemotingCommand#headerDecode
    #[inline]
    pub fn decode(encoding: Encoding, header: &'a [u8]) -> Result<Self, DecodeError> {
        match encoding {
            Encoding::Json => decode_json(header),
            Encoding::Binary => binary::decode(header),
        }
    }

    /// Whether this answers a request of ours; otherwise it is a request of the peer.
    // Java: RemotingCommand#isResponseType
    #[inline]
    pub const fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether a request wants no answer.
    // Java: RemotingCommand#isOnewayRPC
    #[inline]
    pub const fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

// Java: RemotingSerializable#decode of a RemotingCommand
fn decode_json(header: &[u8]) -> Result<Command<'_>, DecodeError> {
    match plain_receipt(header) {
        Some(command) => Ok(command),
        None => decode_any_json(header),
    }
}

/// Reads the header of a receipt exactly as every broker writes it: nearly all headers that a
/// producer gets are one, and comparing with what is known costs a fraction of finding out.
#[inline]
fn plain_receipt(header: &[u8]) -> Option<Command<'_>> {
    let object = header.strip_prefix(b"{\"code\":0,\"extFields\":")?;
    let (noted, rest) = Noted::split_json(object)?;
    let fields = object.get(..object.len().checked_sub(rest.len())?)?;
    let rest = rest.strip_prefix(b",\"flag\":1,\"language\":\"JAVA\",\"opaque\":")?;
    let (opaque, rest) = split_number(rest)?;
    let rest = rest.strip_prefix(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":")?;
    let (version, rest) = split_number(rest)?;
    if rest != b"}" {
        return None;
    }
    Some(Command {
        code: 0,
        language: 0,
        version,
        opaque,
        flag: FLAG_RESPONSE,
        remark: None,
        ext_fields: ExtFields { fields: Fields::Json(fields), noted: Some(noted) },
    })
}

/// Takes digits of a number that is sure to fit.
#[inline]
fn split_number(text: &[u8]) -> Option<(i32, &[u8])> {
    let mut value = 0;
    for (length, &byte) in text.iter().take(10).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return if length > 0 { Some((value, text.get(length..)?)) } else { None };
        }
        if length == 9 {
            return None;
        }
        value = value * 10 + i32::from(digit);
    }
    None
}

#[inline(never)]
fn decode_any_json(header: &[u8]) -> Result<Command<'_>, DecodeError> {
    let mut scanner = Scanner::new(header);
    let mut command = Command {
        code: 0,
        language: 0,
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        ext_fields: ExtFields::default(),
    };
    match read_fields(&mut scanner, &mut command) {
        Ok(()) => Ok(command),
        Err(kind) => {
            let offset = header.len().saturating_sub(scanner.rest().len());
            Err(DecodeError::new(kind, offset))
        }
    }
}

#[inline]
fn read_fields<'a>(
    scanner: &mut Scanner<'a>,
    command: &mut Command<'a>,
) -> Result<(), DecodeErrorKind> {
    scanner.expect(b'{')?;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first)? {
        let owned;
        let name = if let Some(name) = key.unescaped_bytes() {
            name
        } else {
            owned = key.decode();
            owned.as_bytes()
        };
        match name {
            b"code" if planted!(JsonInOneOrder) && command.flag != 0 => {
                return Err(DecodeErrorKind::InvalidJson);
            }
            b"code" => command.code = scanner.integer()?,
            b"flag" => command.flag = scanner.integer()?,
            b"opaque" => command.opaque = scanner.integer()?,
            b"version" => command.version = scanner.integer()?,
            b"language" => command.language = language(scanner.value(1)?),
            b"remark" => command.remark = remark(scanner.value(1)?),
            b"extFields" => command.ext_fields = read_ext_fields(scanner)?,
            _ => {
                scanner.value(1)?;
            }
        }
    }
    match scanner.token() {
        Some(_) => Err(DecodeErrorKind::LeftoverBytes),
        None => Ok(()),
    }
}

fn remark(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) | Value::Other(text) => Some(text.decode()),
    }
}

/// Checks the whole map now; it is read again, without a way to fail, when fields are asked for.
#[inline]
fn read_ext_fields<'a>(scanner: &mut Scanner<'a>) -> Result<ExtFields<'a>, DecodeErrorKind> {
    if scanner.token() == Some(b'n') {
        scanner.value(1)?;
        return Ok(ExtFields::default());
    }
    let start = scanner.rest();
    scanner.expect(b'{')?;
    let mut first = true;
    let mut count = 0_usize;
    while scanner.next_key(&mut first)?.is_some() {
        count = count.saturating_add(1);
        if count > EXT_FIELDS_MAX {
            return Err(DecodeErrorKind::TooManyExtFields);
        }
        scanner.value(2)?;
    }
    Ok(ExtFields { fields: Fields::Json(scanner.since(start)), noted: None })
}

/// A language by its name or its number.
fn language(value: Value<'_>) -> u8 {
    match value {
        Value::Null => LANGUAGE_UNKNOWN,
        Value::String(name) => {
            let known = LANGUAGES.iter().position(|language| name.is(language));
            known.and_then(|code| u8::try_from(code).ok()).unwrap_or(LANGUAGE_UNKNOWN)
        }
        Value::Other(number) => {
            let number = number.unescaped_bytes().and_then(text::parse_decimal);
            let code = number.and_then(|code| u8::try_from(code).ok());
            code.map_or(LANGUAGE_UNKNOWN, known_language)
        }
    }
}

/// A language code, or [`LANGUAGE_UNKNOWN`] for one that no release has.
// Java: LanguageCode#valueOf
#[inline]
pub(super) const fn known_language(code: u8) -> u8 {
    if (code as usize) < LANGUAGES.len() { code } else { LANGUAGE_UNKNOWN }
}

/// The extension fields of a header, read where they stand in the frame. Reading walks over all
/// of them, so a reader of many fields should walk once with [`iter`](Self::iter).
#[derive(Clone, Copy, Default)]
pub struct ExtFields<'a> {
    fields: Fields<'a>,
    /// What the check came by, if these are a receipt's fields.
    noted: Option<Noted>,
}

/// Fields that were checked by `Command::decode`.
#[derive(Clone, Copy, Default)]
enum Fields<'a> {
    #[default]
    None,
    /// The object with its braces.
    Json(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> ExtFields<'a> {
    #[inline]
    pub(super) const fn binary(pairs: &'a [u8], noted: Option<Noted>) -> Self {
        let fields = if pairs.is_empty() { Fields::None } else { Fields::Binary(pairs) };
        Self { fields, noted }
    }

    /// A receipt's place, if it was noted when the fields were checked.
    #[inline]
    pub(super) const fn noted(&self) -> Option<Noted> {
        self.noted
    }

    /// All fields in the order of the frame. A key that stands twice comes twice; a null value
    /// (or an empty one of a binary header, which means the same) is left out. JSON numbers and
    /// booleans come as their text.
    #[inline]
    pub fn iter(&self) -> ExtFieldsIter<'a> {
        ExtFieldsIter(self.raw())
    }

    /// The value of the last field called `name`; `None` when there is none or it is null.
    // Java: HashMap#put keeps the last of equal keys
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let last = self.raw().filter(|(key, _)| key.is(name)).last();
        last.and_then(|(_, value)| value).map(Text::decode)
    }

    /// Whether there is no field with a value.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The fields as they stand in the frame, null values included.
    #[inline]
    pub(super) fn raw(&self) -> RawFields<'a> {
        match self.fields {
            Fields::None => RawFields::Binary(&[]),
            Fields::Binary(pairs) => RawFields::Binary(pairs),
            Fields::Json(object) => {
                let mut scanner = Scanner::new(object);
                scanner.take(b'{');
                RawFields::Json { scanner, first: true }
            }
        }
    }
}

impl fmt::Debug for ExtFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &ExtFields<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);
    type IntoIter = ExtFieldsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The iterator of [`ExtFields::iter`].
#[derive(Debug, Clone)]
pub struct ExtFieldsIter<'a>(RawFields<'a>);

impl<'a> Iterator for ExtFieldsIter<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (key, Some(value)) = self.0.next()? {
                return Some((key.decode(), value.decode()));
            }
        }
    }
}

/// Walks over fields without decoding them.
#[derive(Debug, Clone)]
pub(super) enum RawFields<'a> {
    Json { scanner: Scanner<'a>, first: bool },
    Binary(&'a [u8]),
}

impl<'a> Iterator for RawFields<'a> {
    type Item = (Text<'a>, Option<Text<'a>>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Json { scanner, first } => {
                let key = scanner.next_key(first).ok()??;
                let value = match scanner.value(2).ok()? {
                    Value::Null => None,
                    Value::String(text) | Value::Other(text) => Some(text),
                };
                Some((key, value))
            }
            Self::Binary(pairs) => binary::next_pair(pairs),
        }
    }
}
