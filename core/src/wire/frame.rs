//! The frame: a length, a word that names the header's encoding and length, a header, a body.

use super::error::{DecodeError, DecodeErrorKind, PeerHint};
use crate::limits::{FRAME_LENGTH_MAX, HEADER_LENGTH_MAX};

/// Bytes of the length prefix.
// Java: NettyDecoder#NettyDecoder
pub const LENGTH_PREFIX: usize = 4;

/// Bytes of the word that holds the encoding and the header's length. The length prefix counts
/// them.
// Java: RemotingCommand#markProtocolType
pub const HEADER_WORD: usize = 4;

/// Bytes of a binary header before the remark's and the extension fields' own bytes.
// Java: RocketMQSerializable#calTotalLen
pub(super) const BINARY_HEADER_MIN: usize = 21;

/// The shortest JSON header is an empty object.
pub(super) const JSON_HEADER_MIN: usize = 2;

/// How a header is written. The body is not affected.
// Java: SerializeType
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// A JSON object; RocketMQ calls it `JSON`.
    // Java: SerializeType#JSON
    #[default]
    Json,
    /// Fixed fields and length-prefixed pairs; RocketMQ calls it `ROCKETMQ`.
    // Java: SerializeType#ROCKETMQ
    Binary,
}

impl Encoding {
    /// The byte that names this encoding in a frame.
    pub const fn code(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::Binary => 1,
        }
    }

    /// The encoding that a frame's byte names.
    // Java: SerializeType#valueOf
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Json),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    const fn shortest_header(self) -> usize {
        match self {
            Self::Json => JSON_HEADER_MIN,
            Self::Binary => BINARY_HEADER_MIN,
        }
    }
}

/// One frame, borrowed from the buffer that it was received into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How the header is written.
    pub encoding: Encoding,
    /// The header's bytes, not looked at yet.
    pub header: &'a [u8],
    /// The body's bytes; an empty body and no body are the same.
    pub body: &'a [u8],
    /// Bytes of the whole frame on the wire, the length prefix included.
    pub length: usize,
}

/// Takes the first frame off `buf`, without copying. `None` means that more bytes are needed.
///
/// What cannot become a frame is refused as early as its bytes show it: the length after four
/// bytes, the header word after eight. A peer of another protocol is thus found out at once
/// instead of being waited for.
///
/// # Errors
///
/// The bytes can never become a frame. There is no way to go on with this connection.
// Java: NettyDecoder#decode, RemotingCommand#decode
#[inline]
pub fn split_frame(buf: &[u8]) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some((prefix, rest)) = buf.split_first_chunk::<LENGTH_PREFIX>() else {
        return Ok(None);
    };
    let length = checked_length(*prefix)?;
    let Some((word, _)) = rest.split_first_chunk::<HEADER_WORD>() else {
        return Ok(None);
    };
    let (encoding, header_length) = checked_word(*prefix, *word, length)?;
    let Some((frame, _)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let parts = frame.get(HEADER_WORD..).and_then(|rest| rest.split_at_checked(header_length));
    // The checks above leave no way to get here without both parts.
    let Some((header, body)) = parts else {
        return Err(header_too_long(header_length));
    };
    Ok(Some(Frame { encoding, header, body, length: LENGTH_PREFIX.saturating_add(length) }))
}

fn checked_length(prefix: [u8; LENGTH_PREFIX]) -> Result<usize, DecodeError> {
    let length = u32::from_be_bytes(prefix);
    let kind = if (HEADER_WORD..=FRAME_LENGTH_MAX).contains(&(length as usize)) {
        return Ok(length as usize);
    } else if let Some(hint) = hint_of(prefix) {
        DecodeErrorKind::NotRocketmq(hint)
    } else if length > i32::MAX as u32 {
        DecodeErrorKind::LengthNegative
    } else if length as usize > FRAME_LENGTH_MAX {
        DecodeErrorKind::LengthTooLarge { length }
    } else {
        DecodeErrorKind::LengthTooSmall
    };
    Err(DecodeError::new(kind, 0))
}

fn checked_word(
    prefix: [u8; LENGTH_PREFIX],
    word: [u8; HEADER_WORD],
    length: usize,
) -> Result<(Encoding, usize), DecodeError> {
    let [code, high, middle, low] = word;
    // A SETTINGS frame, the first that an HTTP/2 server sends, has its type in the fourth byte and
    // the stream 0 after a byte of flags. It reads as a header of no bytes at all.
    if prefix[3] == 4 && code <= 1 && [high, middle, low] == [0; 3] {
        let kind = DecodeErrorKind::NotRocketmq(PeerHint::Http2);
        return Err(DecodeError::new(kind, LENGTH_PREFIX));
    }
    let Some(encoding) = Encoding::from_code(code) else {
        return Err(DecodeError::new(DecodeErrorKind::UnknownEncoding(code), LENGTH_PREFIX));
    };
    let header_length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if header_length > HEADER_LENGTH_MAX || header_length > length.saturating_sub(HEADER_WORD) {
        return Err(header_too_long(header_length));
    }
    if header_length < encoding.shortest_header() {
        let kind = DecodeErrorKind::HeaderTooShort { length: header_length as u32 };
        return Err(DecodeError::new(kind, LENGTH_PREFIX));
    }
    Ok((encoding, header_length))
}

#[cold]
fn header_too_long(length: usize) -> DecodeError {
    // The length has 24 bits.
    DecodeError::new(DecodeErrorKind::HeaderTooLong { length: length as u32 }, LENGTH_PREFIX)
}

/// What the first four bytes of a peer that is no RocketMQ server give away.
#[cold]
fn hint_of(prefix: [u8; LENGTH_PREFIX]) -> Option<PeerHint> {
    match &prefix {
        [0x15, 3, _, _] => Some(PeerHint::TlsAlert),
        [0x16, 3, _, _] => Some(PeerHint::TlsHandshake),
        b"HTTP" => Some(PeerHint::Http1),
        b"PRI " => Some(PeerHint::Http2),
        b"SSH-" => Some(PeerHint::Ssh),
        text if text.iter().all(|byte| (b' '..=b'~').contains(byte)) => Some(PeerHint::Text),
        _ => None,
    }
}
