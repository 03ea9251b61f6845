//! A message as an application makes it.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::time::WallTime;
use crate::wire::property;

/// A message to be sent. The body is shared, never copied, when the message is cloned.
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Message {
    pub(crate) topic: Cow<'static, str>,
    pub(crate) body: Bytes,
    pub(crate) tag: Option<Cow<'static, str>>,
    pub(crate) keys: Vec<Cow<'static, str>>,
    /// First those of RocketMQ's own, then those of the application.
    pub(crate) properties: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// How many are RocketMQ's own; there are 51 such names.
    pub(crate) system: u8,
    pub(crate) wait_stored: bool,
    pub(crate) flag: i32,
}

impl Message {
    /// A message with nothing but a topic and a body. Everything is checked when it is sent.
    pub fn new(topic: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Message {
        Message {
            topic: topic.into(),
            body: body.into(),
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            system: 0,
            wait_stored: true,
            flag: 0,
        }
    }

    /// Sets the tag, by which consumers filter. A message has at most one. In what consumers
    /// subscribe to, `||` stands between tags, so no subscription can ask for a tag that holds it.
    pub fn with_tag(mut self, tag: impl Into<Cow<'static, str>>) -> Message {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key, by which the message can be found. It must hold no space: a space separates
    /// keys on the wire, and a key with one would be found as two.
    pub fn with_key(mut self, key: impl Into<Cow<'static, str>>) -> Message {
        self.keys.push(key.into());
        self
    }

    /// Adds a property of the application. A second one of the same name replaces the first.
    pub fn with_property(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Message {
        let (name, value) = (name.into(), value.into());
        let mut own = self.properties.iter_mut().skip(usize::from(self.system));
        match own.find(|(known, _)| *known == name) {
            Some(property) => property.1 = value,
            None => self.properties.push((name, value)),
        }
        self
    }

    /// Has the message delivered later, by a level: with the settings that brokers come with, 1 to
    /// 18 mean 1 s, 5 s, 10 s, 30 s, 1 to 10 minutes, 20 and 30 minutes, 1 and 2 hours. A level
    /// beyond the last counts as the last, and 0 takes the delay back.
    ///
    /// A message has either a level or a time ([`Message::deliver_after`],
    /// [`Message::deliver_at`]): brokers would let the level win and drop the time.
    ///
    /// ```
    /// use rocketmq_core::Message;
    ///
    /// let message = Message::new("Reminders", "in ten seconds").with_delay_level(3);
    /// ```
    // Java: Message#setDelayTimeLevel
    pub fn with_delay_level(self, level: u32) -> Message {
        self.with_system_property(property::DELAY, (level > 0).then(|| level.to_string()))
    }

    /// Has the message delivered after some time, which runs from when the broker takes it in: an
    /// attempt that is repeated begins it anew. Part of a millisecond counts as a whole one; zero
    /// takes the delay back.
    ///
    /// Needs brokers of 5.0 or later with their timer on: others deliver at once, or refuse. They
    /// count in whole seconds, and refuse what is further away than their limit, 3 days by default,
    /// with [`ResponseCode::MESSAGE_ILLEGAL`](crate::wire::ResponseCode::MESSAGE_ILLEGAL). The
    /// receipt has a [`recall_handle`](crate::SendReceipt::recall_handle) if the broker gives one.
    ///
    /// ```
    /// use core::time::Duration;
    /// use rocketmq_core::Message;
    ///
    /// let message = Message::new("Reminders", "later").deliver_after(Duration::from_secs(90));
    /// ```
    // Java: Message#setDelayTimeMs
    pub fn deliver_after(self, delay: Duration) -> Message {
        let millis = delay.as_nanos().div_ceil(1_000_000);
        self.with_system_property(
            property::TIMER_DELAY_MS,
            (millis > 0).then(|| millis.to_string()),
        )
    }

    /// Has the message delivered at some time of the broker's clock; at once if that has passed.
    /// Needs the same as [`Message::deliver_after`].
    // Java: Message#setDeliverTimeMs
    pub fn deliver_at(self, time: WallTime) -> Message {
        let millis = time.as_millis().to_string();
        self.with_system_property(property::TIMER_DELIVER_MS, Some(millis))
    }

    /// Sets one of RocketMQ's own properties, or takes it back. Not for applications: what these
    /// properties say decides how the message is sent.
    #[doc(hidden)]
    pub fn with_system_property(mut self, name: &'static str, value: Option<String>) -> Message {
        let mut system = self.properties.iter().take(usize::from(self.system));
        let known = system.position(|(known, _)| known == name);
        match (known, value) {
            (None, None) => {}
            (Some(index), None) => {
                self.properties.remove(index);
                self.system -= 1;
            }
            (None, Some(value)) => {
                // In front: the application's own keep their place behind.
                self.properties.insert(0, (name.into(), value.into()));
                self.system += 1;
            }
            (Some(index), Some(value)) => {
                if let Some(property) = self.properties.get_mut(index) {
                    property.1 = value.into();
                }
            }
        }
        self
    }

    /// Whether the broker answers only after the message is flushed and replicated as it is
    /// configured to do. On by default.
    // Java: Message#setWaitStoreMsgOK, property WAIT
    pub fn with_wait_stored(mut self, wait_stored: bool) -> Message {
        self.wait_stored = wait_stored;
        self
    }

    /// Sets a number that travels with the message and that RocketMQ does not look at.
    // Java: Message#setFlag
    pub fn with_flag(mut self, flag: i32) -> Message {
        self.flag = flag;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The tag, if one is set.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// The application's properties.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.properties.iter().skip(usize::from(self.system));
        own.map(|(name, value)| (&**name, &**value))
    }

    /// Whether the broker waits for flush and replication.
    pub fn wait_stored(&self) -> bool {
        self.wait_stored
    }

    /// The application's number.
    pub fn flag(&self) -> i32 {
        self.flag
    }

    /// Whether it holds properties of RocketMQ's own, such as a delay. Brokers look at those of a
    /// whole request, not at those of the messages in a batch.
    pub(crate) fn is_marked(&self) -> bool {
        self.system > 0
    }

    pub(crate) fn has_system_property(&self, name: &str) -> bool {
        let mut system = self.properties.iter().take(usize::from(self.system));
        system.any(|(known, _)| *known == *name)
    }

    pub(crate) fn topic_shared(&self) -> Cow<'static, str> {
        self.topic.clone()
    }

    pub(crate) fn into_topic(self) -> Cow<'static, str> {
        self.topic
    }

    /// Takes the topic out of a message that is about to go.
    pub(crate) fn take_topic(&mut self) -> Cow<'static, str> {
        core::mem::take(&mut self.topic)
    }
}

/// Of the body only its length: errors carry the message, and end up in logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("tag", &self.tag)
            .field("keys", &self.keys)
            .field("properties", &self.properties)
            .field("wait_stored", &self.wait_stored)
            .field("flag", &self.flag)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{SendError, SendErrorKind};

    #[test]
    fn i30_a_body_is_not_shown_by_the_error_that_carries_it() {
        let message = Message::new("Orders", "a secret order").with_tag("paid");
        let error = SendError::not_sent(SendErrorKind::Closed, message);
        let shown = alloc::format!("{error:?} {error}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("14 bytes") && shown.contains("paid"), "{shown}");
    }
}
