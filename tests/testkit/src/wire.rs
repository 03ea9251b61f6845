//! The test cluster's own codec for the remoting protocol.
//!
//! It is written to be obviously right: headers become sorted texts by name, everything is copied.
//! It shares no code with the client, so that a mistake in one of the two cannot hide
//! behind the same mistake in the other.
//!
//! # Examples
//!
//! ```
//! use rocketmq_testkit::wire::{Command, Encoding, split_frame};
//!
//! let mut request = Command::request(105, 7);
//! request.ext.insert("topic", "Orders");
//! request.encoding = Encoding::Binary;
//! let frame = request.encode();
//! assert_eq!(split_frame(&frame), Ok(Some(frame.len())));
//! assert_eq!(Command::decode(&frame), Ok(request));
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

mod bodies;
mod fields;
mod header;
mod mapping;
mod odd;

pub use bodies::{
    BatchMessage, BrokerData, Heartbeat, LogMessage, QueueData, TopicRoute, cluster_info_json,
    decode_batch, encode_batch, quote_keys,
};
pub use fields::Fields;
pub use mapping::StaticQueues;

/// The largest frame a Java peer accepts, its four length bytes included.
// Java: NettyDecoder, com.rocketmq.remoting.frameMaxLength.
pub const FRAME_BYTES_MAX: usize = 16_777_216;

/// Flag bit 0: the command is a response.
// Java: RemotingCommand#RPC_TYPE.
pub const FLAG_RESPONSE: i32 = 1;

/// Flag bit 1: nobody waits for a response.
// Java: RemotingCommand#RPC_ONEWAY.
pub const FLAG_ONEWAY: i32 = 2;

/// Request codes the cluster knows by name.
// Java: RequestCode.
pub mod request_code {
    /// A message, long field names.
    pub const SEND_MESSAGE: i32 = 10;
    /// A message, one-letter field names.
    pub const SEND_MESSAGE_V2: i32 = 310;
    /// A message or a batch, one-letter field names.
    pub const SEND_BATCH_MESSAGE: i32 = 320;
    /// A reply to a request message, long field names.
    pub const SEND_REPLY_MESSAGE: i32 = 324;
    /// A reply to a request message, one-letter field names.
    pub const SEND_REPLY_MESSAGE_V2: i32 = 325;
    /// Broker to client: the reply to a request message.
    pub const PUSH_REPLY_MESSAGE_TO_CLIENT: i32 = 326;
    /// A client says that it is alive.
    pub const HEART_BEAT: i32 = 34;
    /// A client leaves.
    pub const UNREGISTER_CLIENT: i32 = 35;
    /// Commit or roll back.
    pub const END_TRANSACTION: i32 = 37;
    /// Broker to client: was this transaction committed?
    pub const CHECK_TRANSACTION_STATE: i32 = 39;
    /// Broker to client: the consumers of a group changed.
    pub const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;
    /// Stored messages with a key.
    pub const QUERY_MESSAGE: i32 = 12;
    /// Makes or changes a topic.
    pub const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    /// What a broker says about itself.
    pub const GET_BROKER_RUNTIME_INFO: i32 = 28;
    /// The offset of a queue at a time.
    pub const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
    /// The offset that a queue's next message gets.
    pub const GET_MAX_OFFSET: i32 = 30;
    /// The offset of a queue's oldest message.
    pub const GET_MIN_OFFSET: i32 = 31;
    /// When a queue's oldest message was stored.
    pub const GET_EARLIEST_MSG_STORETIME: i32 = 32;
    /// The stored message at a place in the log.
    pub const VIEW_MESSAGE_BY_ID: i32 = 33;
    /// Takes a timer message back.
    pub const RECALL_MESSAGE: i32 = 370;
    /// Name server: the route of a topic.
    pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
    /// Name server: all brokers of all clusters.
    pub const GET_BROKER_CLUSTER_INFO: i32 = 106;
    /// Broker to client: describe a running consumer.
    pub const GET_CONSUMER_RUNNING_INFO: i32 = 307;

    /// Every code of an application that asks a broker for something else than to store.
    pub const ADMINISTRATION: [i32; 9] = [
        RECALL_MESSAGE,
        QUERY_MESSAGE,
        UPDATE_AND_CREATE_TOPIC,
        GET_BROKER_RUNTIME_INFO,
        SEARCH_OFFSET_BY_TIMESTAMP,
        GET_MAX_OFFSET,
        GET_MIN_OFFSET,
        GET_EARLIEST_MSG_STORETIME,
        VIEW_MESSAGE_BY_ID,
    ];

    /// Every code that carries a message to store.
    pub const SENDS: [i32; 5] = [
        SEND_MESSAGE,
        SEND_MESSAGE_V2,
        SEND_BATCH_MESSAGE,
        SEND_REPLY_MESSAGE,
        SEND_REPLY_MESSAGE_V2,
    ];
}

/// Response codes the cluster gives by itself.
// Java: RemotingSysResponseCode, ResponseCode.
pub mod response_code {
    /// Done.
    pub const SUCCESS: i32 = 0;
    /// Anything unexpected, an exception in the broker included.
    pub const SYSTEM_ERROR: i32 = 1;
    /// Flow control.
    pub const SYSTEM_BUSY: i32 = 2;
    /// The server does not know the request code.
    pub const REQUEST_CODE_NOT_SUPPORTED: i32 = 3;
    /// Stored, the disk flush came late.
    pub const FLUSH_DISK_TIMEOUT: i32 = 10;
    /// Stored, there is no slave.
    pub const SLAVE_NOT_AVAILABLE: i32 = 11;
    /// Stored, the slave came late.
    pub const FLUSH_SLAVE_TIMEOUT: i32 = 12;
    /// Body or properties too large.
    pub const MESSAGE_ILLEGAL: i32 = 13;
    /// The broker cannot write.
    pub const SERVICE_NOT_AVAILABLE: i32 = 14;
    /// Not writable, or a forbidden topic.
    pub const NO_PERMISSION: i32 = 16;
    /// Unknown topic.
    pub const TOPIC_NOT_EXIST: i32 = 17;
    /// The group of a retry topic is unknown.
    pub const SUBSCRIPTION_GROUP_NOT_EXIST: i32 = 26;
    /// Illegal topic or queue id, from 5.3 on.
    pub const INVALID_PARAMETER: i32 = 29;
    /// The queue of a static topic is with another broker.
    pub const NOT_LEADER_FOR_QUEUE: i32 = 501;
    /// No message was found.
    pub const QUERY_NOT_FOUND: i32 = 22;
    /// A recall is refused.
    pub const ILLEGAL_OPERATION: i32 = 604;
    /// The server drains before it stops.
    pub const GO_AWAY: i32 = 1500;
}

/// How a header is written; the type byte of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Type 0.
    Json,
    /// Type 1, called `ROCKETMQ` in Java.
    Binary,
}

/// Why bytes are no frame. A server closes the connection on any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// What is wrong, in words.
    pub what: String,
}

impl WireError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for WireError {}

/// One request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Request or response code.
    pub code: i32,
    /// The sender's language, Java's number (0 Java, 12 Rust; an unknown name becomes 7, other).
    pub language: u8,
    /// The sender's version ordinal.
    pub version: i32,
    /// Request id, echoed in the response.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`], [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Text for people, mostly about errors.
    pub remark: Option<String>,
    /// The custom header: `extFields`.
    pub ext: Fields,
    /// Everything after the header.
    pub body: Vec<u8>,
    /// How the header is or was written.
    pub encoding: Encoding,
}

impl Command {
    /// A request as this crate's tests send it: JSON, Rust, version 479, no fields.
    pub fn request(code: i32, opaque: i32) -> Self {
        Self {
            code,
            language: 12,
            version: 479,
            opaque,
            flag: 0,
            remark: None,
            ext: Fields::new(),
            body: Vec::new(),
            encoding: Encoding::Json,
        }
    }

    /// The same request with one more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.ext.insert(name, value);
        self
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether this answers something.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether nobody waits for an answer.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    /// Decodes one whole frame, its four length bytes included.
    ///
    /// # Errors
    ///
    /// Whatever makes a Java peer close the connection.
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        match split_frame(frame)? {
            Some(length) if length == frame.len() => Self::decode_prefix(frame),
            _ => Err(WireError::new("not exactly one frame")),
        }
    }

    /// Decodes a frame of which the end of the body may be missing.
    ///
    /// # Errors
    ///
    /// As [`Command::decode`], and when the header is not complete.
    pub fn decode_prefix(frame: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        reader.i32()?;
        let word = reader.i32()?.cast_unsigned();
        let header_length = (word & 0x00ff_ffff) as usize;
        match word >> 24 {
            0 => {
                let mut command = header::decode(reader.bytes(header_length)?)?;
                command.body = reader.rest().to_vec();
                Ok(command)
            }
            1 => {
                if reader.left() < header_length {
                    return Err(WireError::new("header is not complete"));
                }
                let mut command = decode_binary_header(&mut reader, header_length)?;
                // Java reads on from where the header reader stopped, not from H.
                // Java: RemotingCommand#decode(ByteBuf).
                command.body = reader.rest().to_vec();
                Ok(command)
            }
            other => Err(WireError::new(format!("unknown serialize type {other}"))),
        }
    }

    /// The whole frame, its four length bytes included.
    ///
    /// Nothing is checked, as in Java: an over-long part gives a frame that the peer refuses.
    pub fn encode(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Json => self.frame(0, |out| header::encode(self, out)),
            Encoding::Binary => self.frame(1, |out| self.encode_binary_header(out)),
        }
    }

    /// Puts a header of this kind between the two length words and the body.
    fn frame(&self, kind: u32, write_header: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = Vec::with_capacity(512 + self.body.len());
        frame.extend_from_slice(&[0; 8]);
        write_header(&mut frame);
        let word = (kind << 24) | ((frame.len() - 8) as u32 & 0x00ff_ffff);
        frame[4..8].copy_from_slice(&word.to_be_bytes());
        frame.extend_from_slice(&self.body);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    // Java: RocketMQSerializable#rocketMQProtocolEncode.
    fn encode_binary_header(&self, header: &mut Vec<u8>) {
        header.extend_from_slice(&(self.code as i16).to_be_bytes());
        header.push(self.language);
        header.extend_from_slice(&(self.version as i16).to_be_bytes());
        header.extend_from_slice(&self.opaque.to_be_bytes());
        header.extend_from_slice(&self.flag.to_be_bytes());
        let remark = self.remark.as_deref().unwrap_or_default();
        header.extend_from_slice(&(remark.len() as u32).to_be_bytes());
        header.extend_from_slice(remark.as_bytes());
        let fields: usize = self.ext.iter().map(|(name, value)| 6 + name.len() + value.len()).sum();
        header.extend_from_slice(&(fields as u32).to_be_bytes());
        for (name, value) in self.ext.iter() {
            header.extend_from_slice(&(name.len() as u16).to_be_bytes());
            header.extend_from_slice(name.as_bytes());
            header.extend_from_slice(&(value.len() as u32).to_be_bytes());
            header.extend_from_slice(value.as_bytes());
        }
    }
}

/// Looks for one whole frame at the start of `buffer`: its length, or `None` while bytes are
/// missing.
///
/// # Errors
///
/// As soon as the bytes at hand can no longer become a frame, like Java's decoder.
// Java: NettyDecoder, LengthFieldBasedFrameDecoder(FRAME_MAX_LENGTH, 0, 4, 0, 4).
pub fn split_frame(buffer: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let total = u32::from_be_bytes(*prefix) as usize + 4;
    if total > FRAME_BYTES_MAX {
        return Err(WireError::new(format!("frame of {total} bytes is too long")));
    }
    if total < 8 {
        return Err(WireError::new(format!("frame of {total} bytes is too short")));
    }
    if buffer.len() < total {
        return Ok(None);
    }
    // Java waits for the whole frame before it looks at the header length.
    let word = u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]);
    if word as usize > total - 8 {
        return Err(WireError::new(format!("bad header length {word}")));
    }
    Ok(Some(total))
}

// Java: RocketMQSerializable#rocketMQProtocolDecode, #mapDeserialize.
fn decode_binary_header(reader: &mut Reader<'_>, limit: usize) -> Result<Command, WireError> {
    let code = i32::from(reader.i16()?);
    let language = reader.u8()?;
    let version = i32::from(reader.i16()?);
    let opaque = reader.i32()?;
    let flag = reader.i32()?;
    let remark_length = reader.i32()?;
    let remark = reader.java_string(i64::from(remark_length), limit)?.map(Cow::into_owned);
    let mut ext = Fields::new();
    let ext_length = reader.i32()?;
    if ext_length > 0 {
        let ext_length = ext_length as usize;
        if ext_length > limit {
            return Err(WireError::new("map is longer than the header"));
        }
        let end = reader.position + ext_length;
        ext = Fields::with_capacity(ext_length.min(reader.left()));
        while reader.position < end {
            let name_length = i64::from(reader.i16()?);
            let name = reader.java_string(name_length, ext_length)?;
            let value_length = i64::from(reader.i32()?);
            let value = reader.java_string(value_length, ext_length)?;
            // An empty string reads back as null in Java; a null is as good as absent here.
            if let (Some(name), Some(value)) = (name, value) {
                ext.insert(name, value);
            }
        }
    }
    Ok(Command {
        code,
        language,
        version,
        opaque,
        flag,
        remark,
        ext,
        body: Vec::new(),
        encoding: Encoding::Binary,
    })
}

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP",
    "OMS", "RUST", "NODE_JS",
];

// Java: LanguageCode.
fn language_name(code: u8) -> &'static str {
    LANGUAGES.get(usize::from(code)).copied().unwrap_or("OTHER")
}

fn language_code(name: &str) -> Option<u8> {
    LANGUAGES.iter().position(|known| *known == name).map(|code| code as u8)
}

/// Reads a property string: `name 0x01 value 0x02`, repeated.
///
/// Pieces without a name or a value are dropped, as the Java decoder drops them.
// Java: MessageDecoder#string2messageProperties.
pub fn parse_properties(text: &str) -> Fields {
    let mut properties = Fields::with_capacity(text.len());
    for (name, value) in properties_in(text) {
        properties.insert(name, value);
    }
    properties
}

/// One property out of a property string; as in a map, the last of several counts.
pub(crate) fn property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    properties_in(text).filter(|(known, _)| *known == name).last().map(|(_, value)| value)
}

fn properties_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pieces = text.split('\u{2}').filter(|piece| piece.len() >= 3);
    pieces
        .filter_map(|piece| piece.split_once('\u{1}'))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// Writes a property string, sorted by name.
// Java: MessageDecoder#messageProperties2String.
pub fn format_properties(properties: &Fields) -> String {
    let mut text = String::with_capacity(properties_bytes(properties));
    for (name, value) in properties.iter() {
        text.extend([name, "\u{1}", value, "\u{2}"]);
    }
    text
}

/// Length of a property string.
pub(crate) fn properties_bytes(properties: &Fields) -> usize {
    properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
}

/// The offset message id: store host and commit log offset in upper-case hexadecimal.
///
/// 32 digits for an IPv4 host, 56 for IPv6.
// Java: MessageDecoder#createMessageId.
pub fn offset_message_id(host: SocketAddr, commit_log_offset: u64) -> String {
    let mut id = String::with_capacity(56);
    match host.ip() {
        IpAddr::V4(ip) => push_hex(&mut id, &ip.octets()),
        IpAddr::V6(ip) => push_hex(&mut id, &ip.octets()),
    }
    push_hex(&mut id, &u32::from(host.port()).to_be_bytes());
    push_hex(&mut id, &commit_log_offset.to_be_bytes());
    id
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value & 15)]);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
}

/// Reads an offset message id back.
pub fn parse_offset_message_id(id: &str) -> Option<(SocketAddr, u64)> {
    if !id.is_ascii() || !(id.len() == 32 || id.len() == 56) {
        return None;
    }
    let (ip, rest) = id.split_at(id.len() - 24);
    let ip = if ip.len() == 8 {
        IpAddr::from(u32::from_str_radix(ip, 16).ok()?.to_be_bytes())
    } else {
        IpAddr::from(u128::from_str_radix(ip, 16).ok()?.to_be_bytes())
    };
    let port = u16::try_from(u32::from_str_radix(&rest[..8], 16).ok()?).ok()?;
    Some((SocketAddr::new(ip, port), u64::from_str_radix(&rest[8..], 16).ok()?))
}

/// Takes big-endian numbers and strings off the front of a byte string.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        if count > self.left() {
            return Err(WireError::new(format!("{count} bytes wanted, {} left", self.left())));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn i16(&mut self) -> Result<i16, WireError> {
        let bytes = self.bytes(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    // Java: RocketMQSerializable#readStr. Length 0 is null.
    fn java_string(
        &mut self,
        length: i64,
        limit: usize,
    ) -> Result<Option<Cow<'a, str>>, WireError> {
        if length == 0 {
            return Ok(None);
        }
        let length =
            usize::try_from(length).map_err(|_| WireError::new("negative string length"))?;
        if length > limit {
            return Err(WireError::new(format!("string of {length} bytes is over the limit")));
        }
        let bytes = self.bytes(length)?;
        // The strict reading is the fast one, and nearly always right.
        Ok(Some(match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }
}
