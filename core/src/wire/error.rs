//! What a frame or a header can be refused for.

use core::fmt;

/// Why received bytes are not a frame or not a header. The connection they came from cannot be
/// used any more: frames carry no marker to find the next one by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset})")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: usize,
}

impl DecodeError {
    /// Builds the error for the byte at `offset`.
    pub(super) const fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// What is wrong.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Where it was noticed, in bytes: from the first byte of the frame for
    /// [`split_frame`](super::split_frame), from the first byte of the header for
    /// [`Command::decode`](super::Command::decode).
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

/// The kinds of [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The length prefix has its top bit set.
    #[error("the frame announces a negative length: the peer is broken or out of step")]
    LengthNegative,
    /// The length prefix is above [`FRAME_LENGTH_MAX`](crate::limits::FRAME_LENGTH_MAX).
    #[error(
        "the frame announces {length} bytes, more than the limit of {}: the peer is out of step, \
         or answers with more than any RocketMQ peer accepts",
        crate::limits::FRAME_LENGTH_MAX
    )]
    LengthTooLarge {
        /// The announced length, without the prefix.
        length: u32,
    },
    /// The length prefix leaves no room for the header word.
    #[error("the frame announces a length below 4: the peer is broken or out of step")]
    LengthTooSmall,
    /// The header is longer than its frame, or than
    /// [`HEADER_LENGTH_MAX`](crate::limits::HEADER_LENGTH_MAX).
    #[error("the frame announces a header of {length} bytes, longer than its frame or the limit")]
    HeaderTooLong {
        /// The announced length of the header.
        length: u32,
    },
    /// The header is shorter than the shortest header of its encoding.
    #[error("the frame announces a header of {length} bytes, too short to be one")]
    HeaderTooShort {
        /// The announced length of the header.
        length: u32,
    },
    /// The byte that names the header's encoding is neither 0 nor 1.
    #[error("the header encoding {0} is unknown: the peer is broken or out of step")]
    UnknownEncoding(u8),
    /// The first bytes belong to another protocol.
    #[error("the peer does not speak the RocketMQ remoting protocol: {0}")]
    NotRocketmq(PeerHint),
    /// The JSON header does not parse, or a known field has the wrong type.
    #[error("the JSON header is malformed")]
    InvalidJson,
    /// The JSON header is nested deeper than
    /// [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX).
    #[error("the JSON header is nested deeper than {}", crate::limits::JSON_DEPTH_MAX)]
    NestingTooDeep,
    /// A number of the JSON header is not an integer of 32 bits.
    #[error("a number of the JSON header is not a 32 bit integer")]
    NumberOutOfRange,
    /// The length of the remark is negative or goes past the header.
    #[error("the remark goes past the end of the binary header")]
    RemarkLength,
    /// The length of the extension fields is negative or goes past the header.
    #[error("the extension fields go past the end of the binary header")]
    ExtLength,
    /// A key or a value is cut short, or its length is negative.
    #[error("an extension field of the binary header is malformed")]
    ExtEntry,
    /// The header has bytes after its last field.
    #[error("the header has bytes left over: the peer is out of step")]
    LeftoverBytes,
    /// More extension fields than [`EXT_FIELDS_MAX`](crate::limits::EXT_FIELDS_MAX).
    #[error("the header has more than {} extension fields", crate::limits::EXT_FIELDS_MAX)]
    TooManyExtFields,
}

/// What a peer that does not speak the protocol seems to be instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerHint {
    /// A TLS alert: the server expects TLS and got plain text.
    TlsAlert,
    /// A TLS handshake record.
    TlsHandshake,
    /// An HTTP/1 response.
    Http1,
    /// HTTP/2, gRPC for instance.
    Http2,
    /// An SSH banner.
    Ssh,
    /// Printable text of some other protocol.
    Text,
}

impl fmt::Display for PeerHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsAlert => "it answered with a TLS alert, so turn TLS on for this address",
            Self::TlsHandshake => "it sent a TLS handshake, so this is not a server's port",
            Self::Http1 => "it answered with HTTP, check the port",
            Self::Http2 => "it answered with HTTP/2, which the gRPC port of a proxy does",
            Self::Ssh => "it is an SSH server, check the port",
            Self::Text => "it answered with plain text, check the port",
        })
    }
}
