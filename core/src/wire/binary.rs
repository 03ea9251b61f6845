//! Binary headers: 21 fixed bytes, a remark and length-prefixed pairs.

use super::command::{Command, ExtFields};
use super::error::{DecodeError, DecodeErrorKind};
use super::json::Text;
use super::send_response::Noted;
use super::text::lossy;
use crate::limits::EXT_FIELDS_MAX;

/// Takes fields off a slice; every read says whether the bytes were there.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    #[inline]
    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    #[inline]
    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    /// Takes `length` bytes; a negative length has none.
    #[inline]
    fn bytes(&mut self, length: i32) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes one pair of the extension fields.
    // Java: RocketMQSerializable#mapDeserialize
    #[inline]
    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let key_length = self.i16()?;
        let key = self.bytes(i32::from(key_length))?;
        let value_length = self.i32()?;
        let value = self.bytes(value_length)?;
        Some((key, value))
    }
}

/// Reads and checks a whole binary header.
// Java: RocketMQSerializable#rocketMQProtocolDecode
#[inline]
pub(super) fn decode(header: &[u8]) -> Result<Command<'_>, DecodeError> {
    let mut reader = Reader { rest: header };
    let at = |rest: &[u8], kind| DecodeError::new(kind, header.len().saturating_sub(rest.len()));
    let fixed = (|| {
        let code = reader.i16()?;
        let [language] = reader.take()?;
        Some((code, language, reader.i16()?, reader.i32()?, reader.i32()?))
    })();
    let Some((code, language, version, opaque, flag)) = fixed else {
        let kind = DecodeErrorKind::HeaderTooShort { length: header.len() as u32 };
        return Err(DecodeError::new(kind, 0));
    };
    let before_remark = reader.rest;
    let Some(remark) = reader.i32().and_then(|length| reader.bytes(length)) else {
        return Err(at(before_remark, DecodeErrorKind::RemarkLength));
    };
    let before_ext = reader.rest;
    let Some(ext) = reader.i32().and_then(|length| reader.bytes(length)) else {
        return Err(at(before_ext, DecodeErrorKind::ExtLength));
    };
    if !reader.rest.is_empty() {
        return Err(at(reader.rest, DecodeErrorKind::LeftoverBytes));
    }
    let noted = check_pairs(ext)
        .map_err(|(kind, left)| DecodeError::new(kind, header.len().saturating_sub(left)))?;
    Ok(Command {
        code: i32::from(code),
        language: super::command::known_language(language),
        version: i32::from(version),
        opaque,
        flag,
        // An empty remark and none are the same on the wire.
        remark: if remark.is_empty() { None } else { Some(lossy(remark)) },
        ext_fields: ExtFields::binary(ext, noted),
    })
}

/// Walks over all pairs once and notes what a receipt has. An error comes with the number of
/// bytes left.
#[inline]
fn check_pairs(ext: &[u8]) -> Result<Option<Noted>, (DecodeErrorKind, usize)> {
    let mut reader = Reader { rest: ext };
    let mut count = 0_usize;
    let (mut noted, mut complete) = (Noted::default(), true);
    while !reader.rest.is_empty() {
        let left = reader.rest.len();
        count = count.saturating_add(1);
        if count > EXT_FIELDS_MAX {
            return Err((DecodeErrorKind::TooManyExtFields, left));
        }
        let Some((key, value)) = reader.pair() else {
            return Err((DecodeErrorKind::ExtEntry, left));
        };
        complete &= noted.add(key, value);
    }
    Ok(complete.then_some(noted))
}

/// Takes the next pair off `ext`. The Java peer reads an empty key or value as null: a pair
/// without a key does not exist, one without a value is there but absent.
#[inline]
pub(super) fn next_pair<'a>(ext: &mut &'a [u8]) -> Option<(Text<'a>, Option<Text<'a>>)> {
    let mut reader = Reader { rest: ext };
    loop {
        let (key, value) = reader.pair()?;
        *ext = reader.rest;
        if !key.is_empty() {
            let value = (!value.is_empty()).then(|| Text::plain(value));
            return Some((Text::plain(key), value));
        }
    }
}
