//! Messages as brokers keep them and give them out.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::Deserialize;

use super::identifier::OffsetMessageId;
use super::loose_json::quote_bare_keys;
use super::properties::{properties, property, split_keys, value_of};
use super::text::lossy;
use crate::compression::COMPRESSED;
use crate::limits::{STORED_MESSAGES_MAX, TABLE_LENGTH_MAX};
use crate::time::WallTime;

/// The topic's length is one byte.
// Java: MessageVersion#MESSAGE_VERSION_V1
const MAGIC_V1: u32 = 0xdaa3_20a7;

/// The topic's length is two bytes. [5.1]
// Java: MessageVersion#MESSAGE_VERSION_V2
const MAGIC_V2: u32 = 0xdaa3_20ab;

// Java: MessageSysFlag
const BORN_HOST_IPV6: i32 = 0x10;
const STORE_HOST_IPV6: i32 = 0x20;

/// A message as a broker has stored it.
// Java: MessageExt
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// The topic.
    pub topic: Box<str>,
    /// The queue.
    pub queue_id: i32,
    /// The place in the queue.
    pub queue_offset: i64,
    /// The place in the broker's log, in bytes.
    pub commit_log_offset: i64,
    /// The application's number.
    pub flag: i32,
    /// Bits about the body, the transaction and the hosts.
    // Java: MessageSysFlag
    pub sys_flag: i32,
    /// When the producer made it, by its own clock.
    pub born_time: WallTime,
    /// Where it came from, as the broker saw it.
    pub born_host: SocketAddr,
    /// When the broker stored it.
    pub store_time: WallTime,
    /// The address that the broker announces.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// The place of the prepared message of its transaction.
    pub prepared_transaction_offset: i64,
    /// Checksum of the body as stored.
    pub body_crc: u32,
    /// All properties, in the order of the broker.
    pub properties: Vec<(Box<str>, Box<str>)>,
    /// The body as stored: compressed if [`is_compressed`](Self::is_compressed) says so.
    pub body: Bytes,
}

impl StoredMessage {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        value_of(&self.properties, name)
    }

    /// The unique key that the producer gave it.
    pub fn unique_key(&self) -> Option<&str> {
        self.property(property::UNIQ_KEY)
    }

    /// The keys of the application.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        split_keys(self.property(property::KEYS).unwrap_or_default())
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(property::TAGS)
    }

    /// Whether the producer has compressed the body.
    pub fn is_compressed(&self) -> bool {
        self.sys_flag & COMPRESSED != 0
    }

    /// The name by which the broker finds the message again.
    // Java: MessageDecoder#createMessageId
    pub fn offset_message_id(&self) -> OffsetMessageId {
        OffsetMessageId {
            host: self.store_host.ip(),
            port: self.store_host.port(),
            commit_log_offset: self.commit_log_offset,
        }
    }
}

/// Of the body only its length: what is printed ends up in logs.
impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage")
            .field("topic", &self.topic)
            .field("queue_id", &self.queue_id)
            .field("queue_offset", &self.queue_offset)
            .field("commit_log_offset", &self.commit_log_offset)
            .field("sys_flag", &self.sys_flag)
            .field("store_host", &self.store_host)
            .field("properties", &self.properties)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Why stored messages cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// A length goes beyond the message, or leaves bytes of it over.
    #[error("a length in message {index} is wrong")]
    Length {
        /// Which message, from 0.
        index: usize,
    },
    /// The layout is unknown.
    #[error("message {index} has the unknown layout {magic:#010x}")]
    Magic {
        /// Which message, from 0.
        index: usize,
        /// What marks the layout.
        magic: u32,
    },
    /// A port is not in 0..=65535.
    #[error("a port in message {index} is not possible")]
    Port {
        /// Which message, from 0.
        index: usize,
    },
    /// More than [`STORED_MESSAGES_MAX`].
    #[error("more than {STORED_MESSAGES_MAX} messages")]
    TooMany,
}

/// Reads messages that stand one after the other, as brokers give them out.
///
/// Memory stays within a small multiple of the bytes. Text that is not UTF-8 is read with U+FFFD
/// in its place. Bodies stay compressed, and their checksums are not looked at, as Java does.
///
/// # Errors
///
/// The bytes are malformed or beyond a bound; see [`StoredError`].
// Java: MessageDecoder#decodes, #decode
pub fn decode_stored(mut bytes: &[u8]) -> Result<Vec<StoredMessage>, StoredError> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let index = messages.len();
        if index >= STORED_MESSAGES_MAX {
            return Err(StoredError::TooMany);
        }
        let error = StoredError::Length { index };
        let size = bytes.first_chunk::<4>().map(|size| u32::from_be_bytes(*size)).ok_or(error)?;
        let (message, rest) = bytes.split_at_checked(size as usize).ok_or(error)?;
        messages.push(Reader { rest: message, index }.message()?);
        bytes = rest;
    }
    Ok(messages)
}

/// Reads one message.
struct Reader<'a> {
    rest: &'a [u8],
    index: usize,
}

impl<'a> Reader<'a> {
    fn message(mut self) -> Result<StoredMessage, StoredError> {
        self.u32()?;
        let magic = self.u32()?;
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(StoredError::Magic { index: self.index, magic });
        }
        let body_crc = self.u32()?;
        let queue_id = self.i32()?;
        let flag = self.i32()?;
        let queue_offset = self.i64()?;
        let commit_log_offset = self.i64()?;
        let sys_flag = self.i32()?;
        let born_time = WallTime::from_millis(self.i64()?);
        let born_host = self.host(sys_flag & BORN_HOST_IPV6 != 0)?;
        let store_time = WallTime::from_millis(self.i64()?);
        let store_host = self.host(sys_flag & STORE_HOST_IPV6 != 0)?;
        let reconsume_times = self.i32()?;
        let prepared_transaction_offset = self.i64()?;
        let length = self.u32()?;
        let body = Bytes::copy_from_slice(self.take(length as usize)?);
        let length = match magic {
            MAGIC_V1 => usize::from(self.array::<1>()?[0]),
            _ => usize::from(u16::from_be_bytes(*self.array()?)),
        };
        let topic = lossy(self.take(length)?).into();
        let text = match self.rest {
            // The length may be absent with the properties.
            [] => &[],
            _ => {
                let length = u16::from_be_bytes(*self.array()?);
                self.take(usize::from(length))?
            }
        };
        if !self.rest.is_empty() {
            return Err(StoredError::Length { index: self.index });
        }
        let owned = |(name, value): (&str, &str)| (name.into(), value.into());
        Ok(StoredMessage {
            topic,
            queue_id,
            queue_offset,
            commit_log_offset,
            flag,
            sys_flag,
            born_time,
            born_host,
            store_time,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body_crc,
            properties: properties(&lossy(text)).map(owned).collect(),
            body,
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], StoredError> {
        let error = StoredError::Length { index: self.index };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(error)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], StoredError> {
        let error = StoredError::Length { index: self.index };
        let (taken, rest) = self.rest.split_first_chunk().ok_or(error)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, StoredError> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    fn i32(&mut self) -> Result<i32, StoredError> {
        Ok(i32::from_be_bytes(*self.array()?))
    }

    fn i64(&mut self) -> Result<i64, StoredError> {
        Ok(i64::from_be_bytes(*self.array()?))
    }

    fn host(&mut self, ipv6: bool) -> Result<SocketAddr, StoredError> {
        let ip = if ipv6 {
            IpAddr::from(*self.array::<16>()?)
        } else {
            IpAddr::from(*self.array::<4>()?)
        };
        let port = u16::try_from(self.u32()?);
        let port = port.map_err(|_| StoredError::Port { index: self.index })?;
        Ok(SocketAddr::new(ip, port))
    }
}

#[derive(Deserialize)]
struct RawTable {
    table: BTreeMap<Box<str>, Option<Box<str>>>,
}

/// Reads a table of names and values; null values are left out.
// Java: KVTable
pub(crate) fn decode_table(body: &[u8]) -> Result<BTreeMap<Box<str>, Box<str>>, &'static str> {
    if body.len() > TABLE_LENGTH_MAX {
        return Err("the table is longer than 256 KiB");
    }
    let text = quote_bare_keys(body).ok_or("the table is nested too deep")?;
    let raw: RawTable =
        serde_json::from_slice(&text).map_err(|_| "not a table of names and values")?;
    let filled = raw.table.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(filled.collect())
}
