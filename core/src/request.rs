//! Requests: messages whose sender waits for a message in return.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use bytes::Bytes;

use crate::compression::COMPRESSED;
use crate::message::Message;
use crate::time::WallTime;
use crate::wire::{StoredMessage, UniqueKey, property, split_keys, value_of};

/// Tells which request a reply belongs to. Shown as other clients show theirs, as the text of a
/// random UUID.
// Java: CorrelationIdUtil#createCorrelationId
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(u128);

impl CorrelationId {
    /// An id of these random bits, 122 of which it keeps. Whoever can guess them can answer in
    /// place of another.
    pub const fn from_random(bits: u128) -> CorrelationId {
        // RFC 9562, 5.4: version 4 and variant 10.
        let rest = bits & !(0xf << 76) & !(0b11 << 62);
        CorrelationId(rest | (4 << 76) | (0b10 << 62))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, mask: u128| (self.0 >> shift) & mask;
        let (a, b, c) = (part(96, 0xffff_ffff), part(80, 0xffff), part(64, 0xffff));
        let (d, e) = (part(48, 0xffff), part(0, 0xffff_ffff_ffff));
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CorrelationId {
    type Err = CorrelationIdError;

    /// Reads the text that [`CorrelationId`] is shown as, and nothing else.
    fn from_str(text: &str) -> Result<CorrelationId, CorrelationIdError> {
        let mut bits = 0_u128;
        for (index, byte) in text.bytes().enumerate() {
            match (index, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23 | 36.., _) => return Err(CorrelationIdError),
                (_, b'0'..=b'9') => bits = (bits << 4) | u128::from(byte - b'0'),
                (_, b'a'..=b'f') => bits = (bits << 4) | u128::from(byte - b'a' + 10),
                _ => return Err(CorrelationIdError),
            }
        }
        if text.len() == 36 { Ok(CorrelationId(bits)) } else { Err(CorrelationIdError) }
    }
}

/// A text that is no [`CorrelationId`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a correlation id: a UUID in lower case")]
pub struct CorrelationIdError;

/// The reply to a request, as a broker has passed it on.
// Java: ClientRemotingProcessor#receiveReplyMessage
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyMessage {
    /// The topic of replies of the cluster.
    pub topic: Box<str>,
    /// The producer group that has replied.
    pub producer_group: Box<str>,
    /// The queue that it has chosen.
    pub queue_id: i32,
    /// The application's number.
    pub flag: i32,
    /// Bits about the body.
    // Java: MessageSysFlag
    pub sys_flag: i32,
    /// When the reply was made, by the clock of whoever has replied.
    pub born_time: WallTime,
    /// Where it came from, as the broker saw it; `None` if the broker's text is no address.
    pub born_host: Option<SocketAddr>,
    /// When the broker passed it on, by its clock.
    pub store_time: WallTime,
    /// The address that the broker announces; `None` if its text is no address.
    pub store_host: Option<SocketAddr>,
    /// All properties, in the order of the broker.
    pub properties: Vec<(Box<str>, Box<str>)>,
    /// The body. It is compressed if [`is_compressed`](Self::is_compressed) says so; drivers
    /// decompress it before they hand it out.
    pub body: Bytes,
}

impl ReplyMessage {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        value_of(&self.properties, name)
    }

    /// The unique key that the replying producer gave it.
    pub fn unique_key(&self) -> Option<UniqueKey> {
        self.property(property::UNIQ_KEY)?.parse().ok()
    }

    /// The keys of the application.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        split_keys(self.property(property::KEYS).unwrap_or_default())
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(property::TAGS)
    }

    /// Which request it belongs to.
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.property(property::CORRELATION_ID)?.parse().ok()
    }

    /// Whether the body is compressed.
    pub fn is_compressed(&self) -> bool {
        self.sys_flag & COMPRESSED != 0
    }

    /// Puts the decompressed body in place of the compressed one.
    pub fn set_decompressed(&mut self, body: Bytes) {
        self.body = body;
        self.sys_flag &= !COMPRESSED;
    }
}

/// Of the body only its length: what is printed ends up in logs.
impl fmt::Debug for ReplyMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyMessage")
            .field("topic", &self.topic)
            .field("producer_group", &self.producer_group)
            .field("sys_flag", &self.sys_flag)
            .field("born_host", &self.born_host)
            .field("store_host", &self.store_host)
            .field("properties", &self.properties)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// Why a request that a broker has stored gets no reply.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NoReply {
    /// None came in time.
    TimedOut,
    /// The client was closed.
    Closed,
    /// The client's driver ended before its time: its runtime was shut down, or it panicked.
    DriverStopped,
}

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoReply::TimedOut => "no reply in time",
            NoReply::Closed => "the client was closed before a reply came",
            NoReply::DriverStopped => "the client's driver ended before a reply came",
        })
    }
}

impl Message {
    /// The reply to a message that was sent as a request; send it like any other message, and the
    /// broker passes it on to whoever waits for it. If that client is not connected to the broker,
    /// the answer is
    /// [`ResponseCode::SYSTEM_ERROR`](crate::wire::ResponseCode::SYSTEM_ERROR), and whether the
    /// reply is stored all the same is not known.
    ///
    /// # Errors
    /// If `request` is not a request, or has not come from a broker.
    ///
    /// ```
    /// use rocketmq_core::{Message, NotARequest};
    /// use rocketmq_core::wire::StoredMessage;
    ///
    /// fn answer(request: &StoredMessage) -> Result<Message, NotARequest> {
    ///     Message::reply_to(request, "in stock")
    /// }
    /// ```
    // Java: MessageUtil#createReplyMessage, which replies to messages without a correlation id too
    pub fn reply_to(
        request: &StoredMessage,
        body: impl Into<Bytes>,
    ) -> Result<Message, NotARequest> {
        let of = |name: &'static str| {
            let value = request.property(name).filter(|value| !value.is_empty());
            value.ok_or(NotARequest { missing: name })
        };
        let cluster = of(property::CLUSTER)?;
        let mut message = Message::new(reply_topic(cluster).to_string(), body);
        for name in [property::CORRELATION_ID, property::REPLY_TO_CLIENT] {
            message = message.with_system_property(name, Some(of(name)?.into()));
        }
        let time_to_live = request.property(property::TTL).map(Into::into);
        Ok(message
            .with_system_property(property::TTL, time_to_live)
            .with_system_property(property::MSG_TYPE, Some(REPLY.into())))
    }
}

/// A message to which there is nothing to reply.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message has no property {missing}: it was not sent as a request")]
#[non_exhaustive]
pub struct NotARequest {
    /// The property that is absent.
    pub missing: &'static str,
}

/// What [`property::MSG_TYPE`] says of replies.
// Java: MixAll#REPLY_MESSAGE_FLAG
pub(crate) const REPLY: &str = "reply";

/// The topic to which replies go in a cluster. Brokers make it when they start.
// Java: MixAll#getReplyTopic
pub(crate) fn reply_topic(cluster: &str) -> Box<str> {
    format!("{cluster}_REPLY_TOPIC").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_ids_are_random_uuids() {
        let id = CorrelationId::from_random(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-4def-8123-456789abcdef");
        let id = CorrelationId::from_random(u128::MAX);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        let kept: u128 = (0..128)
            .map(|bit| CorrelationId::from_random(1 << bit))
            .filter(|id| *id != CorrelationId::from_random(0))
            .count() as u128;
        assert_eq!(kept, 122, "bits that make a difference");
    }

    #[test]
    fn other_texts_are_no_correlation_ids() {
        let good = "01234567-89ab-4def-8123-456789abcdef";
        assert!(good.parse::<CorrelationId>().is_ok());
        for bad in [
            "",
            "01234567-89ab-4def-8123-456789abcde",
            "01234567-89ab-4def-8123-456789abcdef0",
            "01234567-89AB-4def-8123-456789abcdef",
            "01234567089ab-4def-8123-456789abcdef",
            "0123456789ab4def8123456789abcdef",
            "0123456-789ab-4def-8123-456789abcdef",
            "01234567-89ab-4def-8123-456789abcdéf",
        ] {
            assert_eq!(bad.parse::<CorrelationId>(), Err(CorrelationIdError), "{bad}");
        }
    }
}
