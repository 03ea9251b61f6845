//! A message as an application makes it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

/// A message to be sent. The body is shared, never copied, when the message is cloned.
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Message {
    pub(crate) topic: Cow<'static, str>,
    pub(crate) body: Bytes,
    pub(crate) tag: Option<Cow<'static, str>>,
    pub(crate) keys: Vec<Cow<'static, str>>,
    pub(crate) properties: Vec<(Cow<'static, str>, Cow<'static, str>)>,
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
            wait_stored: true,
            flag: 0,
        }
    }

    /// Sets the tag, by which consumers filter. It should hold no `||`.
    pub fn with_tag(mut self, tag: impl Into<Cow<'static, str>>) -> Message {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key, by which the message can be found. It must hold no space: a space separates
    /// keys on the wire.
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
        match self.properties.iter_mut().find(|(known, _)| *known == name) {
            Some(property) => property.1 = value,
            None => self.properties.push((name, value)),
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
        self.properties.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether the broker waits for flush and replication.
    pub fn wait_stored(&self) -> bool {
        self.wait_stored
    }

    /// The application's number.
    pub fn flag(&self) -> i32 {
        self.flag
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
