//! Fields that are put into a frame after it was written.

use alloc::string::String;
use alloc::vec::Vec;

use super::encode::{EncodeError, push_long_text};
use super::frame::{Encoding, HEADER_WORD, LENGTH_PREFIX};
use super::text::push_escaped;
use crate::limits::{EXT_KEY_LENGTH_MAX, FRAME_LENGTH_MAX, HEADER_LENGTH_ENCODE_MAX};

/// The header of the frame that begins with `frame`, and what follows it there.
pub(crate) fn split_written(frame: &[u8]) -> Option<(Encoding, &[u8], &[u8])> {
    let (lengths, rest) = frame.split_first_chunk::<{ LENGTH_PREFIX + HEADER_WORD }>()?;
    let [_, _, _, _, encoding, high, middle, low] = *lengths;
    let encoding =
        if encoding == Encoding::Binary.code() { Encoding::Binary } else { Encoding::Json };
    let (header, body) =
        rest.split_at_checked(u32::from_be_bytes([0, high, middle, low]) as usize)?;
    Some((encoding, header, body))
}

/// Puts `fields`, whose keys and values are not empty, before those of the frame of ours that
/// begins at `start`.
///
/// # Errors
///
/// The frame would be refused by every peer; it is as it was before.
pub(crate) fn insert_fields(
    out: &mut Vec<u8>,
    start: usize,
    fields: &[(String, String)],
) -> Result<(), EncodeError> {
    let frame = out.get(start..).unwrap_or_default();
    let Some((encoding, header, _)) = split_written(frame) else {
        return Ok(());
    };
    let bytes = match encoding {
        Encoding::Json => json_fields(header, fields),
        Encoding::Binary => binary_fields(fields)?,
    };
    insert(out, start, |_, _| [&bytes, &[], &[]])
}

/// Puts bytes before the fields of the frame of ours that begins at `start`. `pieces` is told the
/// encoding, and whether other fields follow.
///
/// # Errors
///
/// The frame would be refused by every peer; it is as it was before.
pub(super) fn insert<'a>(
    out: &mut Vec<u8>,
    start: usize,
    pieces: impl FnOnce(Encoding, bool) -> [&'a [u8]; 3],
) -> Result<(), EncodeError> {
    let frame = out.get(start..).unwrap_or_default();
    let Some((encoding, header, _)) = split_written(frame) else {
        return Ok(());
    };
    let Some(length) = frame.first_chunk::<LENGTH_PREFIX>() else {
        return Ok(());
    };
    let (place, more) = match encoding {
        Encoding::Json => {
            let place = json_place(header);
            (place, header.get(place) != Some(&b'}'))
        }
        Encoding::Binary => (binary_place(header), true),
    };
    let pieces = pieces(encoding, more);
    let added: usize = pieces.iter().map(|piece| piece.len()).sum();
    let length = u32::from_be_bytes(*length) as usize + added;
    let header_length = header.len() + added;
    if header_length > HEADER_LENGTH_ENCODE_MAX {
        return Err(EncodeError::HeaderTooLong { length: header_length });
    }
    if length > FRAME_LENGTH_MAX {
        return Err(EncodeError::FrameTooLong { length });
    }
    let at = start + LENGTH_PREFIX + HEADER_WORD + place;
    if encoding == Encoding::Binary {
        // The length of all fields stands right before them.
        let known = out.get(at - 4..).and_then(|rest| rest.first_chunk::<4>()).copied();
        let known = u32::from_be_bytes(known.unwrap_or_default());
        overwrite(out, at - 4, known + added as u32);
    }
    let end = out.len();
    out.resize(end + added, 0);
    out.copy_within(at..end, at + added);
    let mut gap = out.get_mut(at..at + added).unwrap_or_default();
    for piece in pieces {
        let (target, rest) = core::mem::take(&mut gap).split_at_mut(piece.len());
        target.copy_from_slice(piece);
        gap = rest;
    }
    overwrite(out, start, length as u32);
    let word = u32::from(encoding.code()) << 24 | header_length as u32;
    overwrite(out, start + LENGTH_PREFIX, word);
    Ok(())
}

/// Where fields go in a JSON header.
fn json_place(header: &[u8]) -> usize {
    // Before it there is nothing but the code, a number.
    const OPENING: &[u8] = b"\"extFields\":{";
    let found = header.windows(OPENING.len()).position(|window| window == OPENING);
    found.unwrap_or_default() + OPENING.len()
}

/// Where fields go in a binary header.
// Java: RocketMQSerializable#rocketMQProtocolEncode
fn binary_place(header: &[u8]) -> usize {
    /// Code, language, version, opaque and flag, before the remark.
    const REMARK: usize = 2 + 1 + 2 + 4 + 4;
    let remark = header.get(REMARK..).and_then(|rest| rest.first_chunk::<4>());
    let remark = u32::from_be_bytes(remark.copied().unwrap_or_default()) as usize;
    REMARK + 4 + remark + 4
}

/// What fields look like in a JSON header.
fn json_fields(header: &[u8], fields: &[(String, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in fields {
        bytes.push(b'"');
        push_escaped(&mut bytes, key);
        bytes.extend_from_slice(b"\":\"");
        push_escaped(&mut bytes, value);
        bytes.extend_from_slice(b"\",");
    }
    if header.get(json_place(header)) == Some(&b'}') {
        bytes.pop();
    }
    bytes
}

/// The same for a binary header.
// Java: RocketMQSerializable#rocketMQProtocolEncode
fn binary_fields(fields: &[(String, String)]) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    for (key, value) in fields {
        let length = key.len();
        let prefix = i16::try_from(length).map_err(|_| EncodeError::KeyTooLong { length })?;
        debug_assert!(length <= EXT_KEY_LENGTH_MAX);
        bytes.extend_from_slice(&prefix.to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
        push_long_text(&mut bytes, value.as_bytes())?;
    }
    Ok(bytes)
}

fn overwrite(out: &mut [u8], position: usize, value: u32) {
    let target = out.get_mut(position..).and_then(|rest| rest.first_chunk_mut::<4>());
    if let Some(target) = target {
        *target = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::rng::Rng;
    use crate::wire::{
        Command, RequestCode, RequestHead, encode_heartbeat, encode_request, split_frame,
    };

    fn text(rng: &mut Rng) -> String {
        const LETTERS: [char; 8] = ['a', 'Z', '"', '\\', '\n', 'ü', '{', '𝄞'];
        (0..1 + rng.below(6)).map(|_| LETTERS[rng.below(8) as usize]).collect()
    }

    /// Written afterwards means the same as written at once.
    #[test]
    fn added_fields_are_read_back_with_all_others_and_the_body() {
        let mut rng = Rng::from_seed(11);
        for round in 0..2_000 {
            let encoding = if round % 2 == 0 { Encoding::Json } else { Encoding::Binary };
            let own: Vec<_> = (0..rng.below(4)).map(|_| (text(&mut rng), text(&mut rng))).collect();
            let more: Vec<_> =
                (0..1 + rng.below(4)).map(|_| (text(&mut rng), text(&mut rng))).collect();
            let code = RequestCode(rng.below(400) as i32);
            let head = RequestHead { encoding, code, opaque: round, oneway: round % 3 == 0 };
            let pairs: Vec<_> = own.iter().map(|(key, value)| (&**key, &**value)).collect();
            let mut out = vec![7; rng.below(5) as usize];
            let start = out.len();
            encode_request(&mut out, &head, &pairs, b"the body").unwrap();
            let before = out.clone();
            insert_fields(&mut out, start, &more).unwrap();
            assert_eq!(out[..start], before[..start]);
            let frame = split_frame(&out[start..]).unwrap().unwrap();
            assert_eq!((frame.length, frame.body), (out.len() - start, &b"the body"[..]));
            let command = Command::decode(encoding, frame.header).unwrap();
            assert_eq!((command.code, command.opaque), (code.0, round));
            assert_eq!(command.is_oneway(), head.oneway);
            let fields: Vec<_> = command.ext_fields.iter().collect();
            let expected: Vec<_> = more.iter().chain(&own).collect();
            assert_eq!(fields.len(), expected.len());
            for ((key, value), expected) in fields.iter().zip(expected) {
                assert_eq!((&**key, &**value), (&*expected.0, &*expected.1));
            }
        }
    }

    #[test]
    fn a_request_without_fields_gets_its_first() {
        for encoding in [Encoding::Json, Encoding::Binary] {
            let mut out = Vec::new();
            encode_heartbeat(&mut out, encoding, 5, "client", &["group"]).unwrap();
            let body = split_written(&out).unwrap().2.to_vec();
            insert_fields(&mut out, 0, &[("Key".into(), "value".into())]).unwrap();
            let frame = split_frame(&out).unwrap().unwrap();
            assert_eq!(frame.body, body);
            let command = Command::decode(frame.encoding, frame.header).unwrap();
            assert_eq!(command.ext_fields.get("Key").as_deref(), Some("value"));
        }
    }

    #[test]
    fn a_frame_that_would_be_too_long_stays_as_it_was() {
        let mut out = Vec::new();
        let head = RequestHead {
            encoding: Encoding::Json,
            code: RequestCode::HEART_BEAT,
            opaque: 0,
            oneway: false,
        };
        let body = vec![0; FRAME_LENGTH_MAX - 200];
        encode_request(&mut out, &head, &[], &body).unwrap();
        let before = out.clone();
        let result = insert_fields(&mut out, 0, &[("key".into(), "v".repeat(300))]);
        assert!(matches!(result, Err(EncodeError::FrameTooLong { .. })));
        assert!(out == before);
    }
}
