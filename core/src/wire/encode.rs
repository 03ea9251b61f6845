//! Writing frames: straight into the caller's buffer, without a map in between.

use alloc::vec::Vec;

use super::codes::{RequestCode, ResponseCode};
use super::command::{FLAG_ONEWAY, FLAG_RESPONSE};
use super::frame::{Encoding, HEADER_WORD, LENGTH_PREFIX};
use super::text::push_escaped;
use crate::limits::{EXT_KEY_LENGTH_MAX, FRAME_LENGTH_MAX, HEADER_LENGTH_ENCODE_MAX};

/// The language that this client calls itself: `RUST`.
// Java: LanguageCode#RUST
pub const CLIENT_LANGUAGE: u8 = 12;

/// The version that this client calls itself: `V5_3_3`. Name servers then answer routes in strict
/// JSON, and brokers that shut down say GO_AWAY.
// Java: MQVersion.Version#V5_3_3
pub const CLIENT_VERSION: i16 = 479;

/// The end of a JSON header's fixed fields; has to agree with the two constants above.
const JSON_SENDER: &[u8] = b",\"language\":\"RUST\",\"version\":479}";

/// Room for what a header holds besides its strings, so that one reservation is enough.
pub(super) const FIXED_ROOM: usize = 384;

/// Why something cannot be sent. The buffer is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The header has more bytes than its length field can say.
    #[error("the header has {length} bytes, more than {HEADER_LENGTH_ENCODE_MAX}")]
    HeaderTooLong {
        /// Bytes of the header.
        length: usize,
    },
    /// The frame has more bytes than a peer accepts.
    #[error("the frame has {length} bytes, more than {FRAME_LENGTH_MAX}")]
    FrameTooLong {
        /// What the length prefix would say.
        length: usize,
    },
    /// The key of an extension field is empty.
    #[error("an extension field has an empty key")]
    KeyEmpty,
    /// The key of an extension field has more bytes than its length field can say.
    #[error("the key of an extension field has {length} bytes, more than {EXT_KEY_LENGTH_MAX}")]
    KeyTooLong {
        /// Bytes of the key.
        length: usize,
    },
    /// Binary headers have 16 bits for the code.
    #[error("the code {0} does not fit in a binary header, use JSON")]
    CodeOutOfRange(i32),
    /// Requests are numbered from 0 to 2^31 - 1.
    #[error("the request number {0} is negative")]
    OpaqueNegative(i32),
    /// The request code does not send a message.
    #[error("{0} does not send a message")]
    NotASend(RequestCode),
}

/// What every request has, whatever it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// How to write the header. The answer may come in the other encoding.
    pub encoding: Encoding,
    /// What is asked for.
    pub code: RequestCode,
    /// The number that the answer will carry; not negative.
    pub opaque: i32,
    /// Whether no answer is wanted.
    pub oneway: bool,
}

impl RequestHead {
    /// The parts of a header, checked.
    #[inline]
    pub(super) fn start(&self) -> Result<Start<'static>, EncodeError> {
        if self.opaque < 0 {
            return Err(EncodeError::OpaqueNegative(self.opaque));
        }
        let flag = if self.oneway { FLAG_ONEWAY } else { 0 };
        let start = Start { code: self.code.0, opaque: self.opaque, flag, remark: None };
        start.checked(self.encoding)
    }
}

/// Appends a whole request with the fields `ext` and `body`. Fields with an empty value are left
/// out: a server reads them as null from binary headers and then fails to check signatures.
///
/// # Errors
///
/// The request cannot be written or would be refused by every peer; see [`EncodeError`].
// Java: RemotingCommand#encode
pub fn encode_request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    ext: &[(&str, &str)],
    body: &[u8],
) -> Result<(), EncodeError> {
    let start = head.start()?;
    write_frame(out, head.encoding, &start, ext, |out| out.extend_from_slice(body))
}

/// Appends a whole response to a request of the peer. `opaque` is that of the request and may be
/// any number.
///
/// # Errors
///
/// The response cannot be written or would be refused by every peer; see [`EncodeError`].
// Java: RemotingCommand#createResponseCommand
pub fn encode_response(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    code: ResponseCode,
    remark: Option<&str>,
    ext: &[(&str, &str)],
    body: &[u8],
) -> Result<(), EncodeError> {
    let start = Start { code: code.0, opaque, flag: FLAG_RESPONSE, remark };
    let start = start.checked(encoding)?;
    write_frame(out, encoding, &start, ext, |out| out.extend_from_slice(body))
}

/// Appends a request for the route of `topic`, asking for strict JSON.
///
/// # Errors
///
/// See [`encode_request`].
// Java: MQClientAPIImpl#getTopicRouteInfoFromNameServer
pub fn encode_route_query(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    topic: &str,
) -> Result<(), EncodeError> {
    let code = RequestCode::GET_ROUTEINFO_BY_TOPIC;
    let head = RequestHead { encoding, code, opaque, oneway: false };
    encode_request(out, &head, &[("topic", topic), ("acceptStandardJsonOnly", "true")], &[])
}

/// Appends a heartbeat of a client that only produces.
///
/// # Errors
///
/// See [`encode_request`].
// Java: MQClientAPIImpl#sendHeartbeat, HeartbeatData
pub fn encode_heartbeat(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    client_id: &str,
    producer_groups: &[&str],
) -> Result<(), EncodeError> {
    let head = RequestHead { encoding, code: RequestCode::HEART_BEAT, opaque, oneway: false };
    write_frame(out, encoding, &head.start()?, &[], |out| {
        out.extend_from_slice(b"{\"clientID\":\"");
        push_escaped(out, client_id);
        out.extend_from_slice(b"\",\"consumerDataSet\":[],\"heartbeatFingerprint\":0");
        out.extend_from_slice(b",\"producerDataSet\":[");
        for (index, group) in producer_groups.iter().enumerate() {
            let opening: &[u8] = if index == 0 { b"{" } else { b",{" };
            out.extend_from_slice(opening);
            out.extend_from_slice(b"\"groupName\":\"");
            push_escaped(out, group);
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"],\"withoutSub\":false}");
    })
}

/// Appends the request that takes a producer group of a client back.
///
/// # Errors
///
/// See [`encode_request`].
// Java: MQClientAPIImpl#unregisterClient, UnregisterClientRequestHeader
pub fn encode_unregister(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    client_id: &str,
    producer_group: &str,
) -> Result<(), EncodeError> {
    let code = RequestCode::UNREGISTER_CLIENT;
    let head = RequestHead { encoding, code, opaque, oneway: false };
    encode_request(out, &head, &[("clientID", client_id), ("producerGroup", producer_group)], &[])
}

/// What stands before and after the extension fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    code: i32,
    opaque: i32,
    flag: i32,
    remark: Option<&'a str>,
}

impl Start<'_> {
    fn checked(self, encoding: Encoding) -> Result<Self, EncodeError> {
        // The Java peer cuts the code to 16 bits without a word.
        if encoding == Encoding::Binary && i16::try_from(self.code).is_err() {
            return Err(EncodeError::CodeOutOfRange(self.code));
        }
        Ok(self)
    }

    /// Writes all of a JSON header up to its extension fields' opening brace.
    #[inline]
    pub(super) fn json_before(&self, out: &mut Vec<u8>) {
        if self.code == RequestCode::SEND_MESSAGE_V2.0 {
            // The request that is written more often than any other.
            out.extend_from_slice(b"{\"code\":310,\"extFields\":{");
            return;
        }
        out.extend_from_slice(b"{\"code\":");
        push_decimal(out, i64::from(self.code));
        out.extend_from_slice(b",\"extFields\":{");
    }

    /// Writes what follows the extension fields' closing brace.
    #[inline]
    pub(super) fn json_after(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"flag\":");
        push_decimal(out, i64::from(self.flag));
        out.extend_from_slice(b",\"opaque\":");
        push_decimal(out, i64::from(self.opaque));
        if let Some(remark) = self.remark {
            out.extend_from_slice(b",\"remark\":\"");
            push_escaped(out, remark);
            out.push(b'"');
        }
        out.extend_from_slice(JSON_SENDER);
    }

    /// Writes all of a binary header up to the length of the extension fields.
    // Java: RocketMQSerializable#rocketMQProtocolEncode
    #[inline]
    pub(super) fn binary_before(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let code = i16::try_from(self.code).map_err(|_| EncodeError::CodeOutOfRange(self.code))?;
        let [code_high, code_low] = code.to_be_bytes();
        let [version_high, version_low] = CLIENT_VERSION.to_be_bytes();
        out.extend_from_slice(&[code_high, code_low, CLIENT_LANGUAGE, version_high, version_low]);
        out.extend_from_slice(&self.opaque.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        push_long_text(out, self.remark.unwrap_or_default().as_bytes())
    }
}

fn write_frame(
    out: &mut Vec<u8>,
    encoding: Encoding,
    start: &Start<'_>,
    ext: &[(&str, &str)],
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<(), EncodeError> {
    for (key, _) in ext {
        match key.len() {
            0 => return Err(EncodeError::KeyEmpty),
            length if length > EXT_KEY_LENGTH_MAX => {
                return Err(EncodeError::KeyTooLong { length });
            }
            _ => {}
        }
    }
    let filled = ext.iter().copied().filter(|(_, value)| !value.is_empty());
    let frame = OpenFrame::new(out, encoding);
    let written = match encoding {
        Encoding::Json => {
            write_json_header(out, start, filled);
            Ok(())
        }
        Encoding::Binary => write_binary_header(out, start, filled),
    };
    let header_length = frame.header_length(out);
    frame.close(out, written, header_length, |out| body(out))
}

fn write_json_header<'a>(
    out: &mut Vec<u8>,
    start: &Start<'_>,
    ext: impl Iterator<Item = (&'a str, &'a str)>,
) {
    start.json_before(out);
    for (index, (key, value)) in ext.enumerate() {
        let quote: &[u8] = if index == 0 { b"\"" } else { b",\"" };
        out.extend_from_slice(quote);
        push_escaped(out, key);
        out.extend_from_slice(b"\":\"");
        push_escaped(out, value);
        out.push(b'"');
    }
    out.push(b'}');
    start.json_after(out);
}

fn write_binary_header<'a>(
    out: &mut Vec<u8>,
    start: &Start<'_>,
    ext: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), EncodeError> {
    start.binary_before(out)?;
    let map = OpenLength::new(out);
    for (key, value) in ext {
        let length = i16::try_from(key.len());
        let length = length.map_err(|_| EncodeError::KeyTooLong { length: key.len() })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key.as_bytes());
        push_long_text(out, value.as_bytes())?;
    }
    map.close(out)
}

/// Appends a length of 32 bits and the bytes.
#[inline]
pub(super) fn push_long_text(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length = bytes.len();
    let prefix = i32::try_from(length).map_err(|_| EncodeError::HeaderTooLong { length })?;
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a number in decimal digits.
#[inline]
pub(super) fn push_decimal(out: &mut Vec<u8>, value: i64) {
    if let 0..=9 = value {
        out.push(b'0' + value as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// A length of 32 bits whose value is known only when its content is written.
pub(super) struct OpenLength {
    position: usize,
}

impl OpenLength {
    #[inline]
    pub(super) fn new(out: &mut Vec<u8>) -> Self {
        let position = out.len();
        out.extend_from_slice(&[0; 4]);
        Self { position }
    }

    #[inline]
    pub(super) fn close(self, out: &mut [u8]) -> Result<(), EncodeError> {
        let length = out.len().saturating_sub(self.position).saturating_sub(4);
        let value = i32::try_from(length).map_err(|_| EncodeError::HeaderTooLong { length })?;
        patch(out, self.position, value.to_be_bytes());
        Ok(())
    }
}

#[inline]
fn patch(out: &mut [u8], position: usize, bytes: [u8; 4]) {
    let target = out.get_mut(position..).and_then(|rest| rest.first_chunk_mut::<4>());
    if let Some(target) = target {
        *target = bytes;
    }
}

/// A frame whose two lengths are known only when its header is written.
pub(super) struct OpenFrame {
    position: usize,
    encoding: Encoding,
}

impl OpenFrame {
    #[inline]
    pub(super) fn new(out: &mut Vec<u8>, encoding: Encoding) -> Self {
        let position = out.len();
        out.extend_from_slice(&[0; LENGTH_PREFIX + HEADER_WORD]);
        Self { position, encoding }
    }

    /// Bytes of the header, as long as nothing follows it.
    #[inline]
    pub(super) fn header_length(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.position).saturating_sub(LENGTH_PREFIX + HEADER_WORD)
    }

    /// Appends the body and fills in the lengths, or takes back all that was written.
    fn close(
        self,
        out: &mut Vec<u8>,
        written: Result<(), EncodeError>,
        header_length: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), EncodeError> {
        let position = self.position;
        let result = written.and_then(|()| {
            let before_body = out.len();
            body(out);
            let body_length = out.len().saturating_sub(before_body);
            self.fill(out, header_length, body_length)
        });
        if result.is_err() {
            out.truncate(position);
        }
        result
    }

    /// Fills in the lengths for a body that the caller appends, or takes back all that was
    /// written.
    #[inline]
    pub(super) fn close_before_body(
        self,
        out: &mut Vec<u8>,
        written: Result<(), EncodeError>,
        body_length: usize,
    ) -> Result<(), EncodeError> {
        let position = self.position;
        let header_length = self.header_length(out);
        let result = written.and_then(|()| self.fill(out, header_length, body_length));
        if result.is_err() {
            out.truncate(position);
        }
        result
    }

    // Java: RemotingCommand#fastEncodeHeader
    #[inline]
    fn fill(
        &self,
        out: &mut [u8],
        header_length: usize,
        body_length: usize,
    ) -> Result<(), EncodeError> {
        if header_length > HEADER_LENGTH_ENCODE_MAX {
            return Err(EncodeError::HeaderTooLong { length: header_length });
        }
        let length = HEADER_WORD.saturating_add(header_length).saturating_add(body_length);
        let prefix = match u32::try_from(length) {
            Ok(prefix) if length <= FRAME_LENGTH_MAX => prefix,
            _ => return Err(EncodeError::FrameTooLong { length }),
        };
        // The check above keeps the length within the lower 24 bits.
        let word = u32::from(self.encoding.code()) << 24 | header_length as u32;
        patch(out, self.position, prefix.to_be_bytes());
        patch(out, self.position.saturating_add(LENGTH_PREFIX), word.to_be_bytes());
        Ok(())
    }
}
