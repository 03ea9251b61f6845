//! Replies that a broker passes on.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::command::Command;
use super::properties::properties;
use crate::limits::{CHECK_TEXT_LENGTH_MAX, REPLY_PROPERTIES_LENGTH_MAX};
use crate::request::ReplyMessage;
use crate::time::WallTime;

/// Reads what a broker passes on; `None` if it lacks what brokers always say, or is beyond a bound.
// Java: ReplyMessageRequestHeader, ClientRemotingProcessor#receiveReplyMessage
pub(crate) fn read_reply(command: &Command<'_>, body: &[u8]) -> Option<ReplyMessage> {
    let fields = &command.ext_fields;
    let text = |name: &str| -> Option<Box<str>> {
        let text = fields.get(name)?;
        (text.len() <= CHECK_TEXT_LENGTH_MAX).then(|| text.as_ref().into())
    };
    let number = |name: &str| fields.get(name)?.parse::<i64>().ok();
    let int = |name: &str| fields.get(name)?.parse::<i32>().ok();
    let text_of_properties = fields.get("properties").unwrap_or_default();
    if text_of_properties.len() > REPLY_PROPERTIES_LENGTH_MAX {
        return None;
    }
    let owned = |(name, value): (&str, &str)| (name.into(), value.into());
    Some(ReplyMessage {
        topic: text("topic")?,
        producer_group: text("producerGroup")?,
        queue_id: int("queueId")?,
        flag: int("flag")?,
        sys_flag: int("sysFlag")?,
        born_time: WallTime::from_millis(number("bornTimestamp")?),
        born_host: host(&text("bornHost")?),
        store_time: WallTime::from_millis(number("storeTimestamp")?),
        store_host: host(&text("storeHost")?),
        properties: properties(&text_of_properties).map(owned).collect(),
        body: Bytes::copy_from_slice(body),
    })
}

/// An address and a port. IPv6 addresses stand without brackets, so the last colon counts.
// Java: NetworkUtil#string2SocketAddress
fn host(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip: IpAddr = ip.trim_matches(['[', ']']).split('%').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_brackets() {
        let read = |text: &str| host(text).map(|host| alloc::format!("{host}"));
        assert_eq!(read("10.0.0.1:10911").as_deref(), Some("10.0.0.1:10911"));
        assert_eq!(read("0:0:0:0:0:0:0:1:10911").as_deref(), Some("[::1]:10911"));
        assert_eq!(read("[::1]:10911").as_deref(), Some("[::1]:10911"));
        assert_eq!(read("fe80:0:0:0:0:0:0:1%eth0:1").as_deref(), Some("[fe80::1]:1"));
        for bad in ["", "10.0.0.1", "host:1", ":1", "10.0.0.1:65536", "10.0.0.1:"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
