//! What all messages have in common.

use std::time::Duration;

use bytes::Bytes;
use rocketmq_tokio::{Message, SendOptions};

use super::args::{SelectorName, SendArguments};

/// What all messages have in common. The texts live as long as the process, so that messages
/// need no copies of them.
pub(super) struct Template {
    topic: &'static str,
    tag: Option<&'static str>,
    keys: Vec<&'static str>,
    properties: Vec<(&'static str, &'static str)>,
    deliver_after: Option<Duration>,
    delay_level: Option<u32>,
    options: SendOptions,
    /// The hash that chooses the queue by the number of the message.
    by_number: Option<SelectorName>,
}

impl Template {
    pub(super) fn new(arguments: SendArguments) -> Template {
        let keys: &'static str = arguments.keys.clone().unwrap_or_default().leak();
        let keys: Vec<_> = keys.split_whitespace().collect();
        let numbered = arguments.selector.filter(|name| name.is_hash() && keys.is_empty());
        let options = options(&arguments, keys.first().copied());
        let properties = arguments.properties.into_iter();
        Template {
            topic: arguments.topic.leak(),
            tag: arguments.tag.map(|tag| &*tag.leak()),
            keys,
            properties: properties.map(|(name, value)| (&*name.leak(), &*value.leak())).collect(),
            deliver_after: arguments.deliver_after,
            delay_level: arguments.delay_level,
            options,
            by_number: numbered,
        }
    }

    pub(super) fn message(&self, body: Bytes) -> Message {
        let mut message = Message::new(self.topic, body);
        if let Some(tag) = self.tag {
            message = message.with_tag(tag);
        }
        for key in &self.keys {
            message = message.with_key(*key);
        }
        for (name, value) in &self.properties {
            message = message.with_property(*name, *value);
        }
        if let Some(delay) = self.deliver_after {
            message = message.deliver_after(delay);
        }
        if let Some(level) = self.delay_level {
            message = message.with_delay_level(level);
        }
        message
    }

    /// How the message of this number, or the batch that begins with it, is sent.
    pub(super) fn options(&self, number: u64) -> SendOptions {
        let options = self.options.clone();
        match self.by_number {
            Some(hash) => options.with_selector(hash.selector(&number.to_string())),
            None => options,
        }
    }
}

fn options(arguments: &SendArguments, key: Option<&str>) -> SendOptions {
    let mut options = SendOptions::new();
    if let Some(selector) = arguments.selector {
        options = options.with_selector(selector.selector(key.unwrap_or_default()));
    }
    if let Some(queue) = &arguments.queue {
        options = options.with_queue(queue.clone());
    }
    if let Some(key) = &arguments.order_by {
        options = options.ordered(key);
    }
    if let Some(when_down) = arguments.when_down {
        options = options.with_when_down(when_down.into());
    }
    options
}
