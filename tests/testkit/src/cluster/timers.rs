//! The handles of timer messages, and how these are taken back. Nothing is delivered here.

use super::broker::{Broker, Context, Refusal, respond, unsupported, wall_ms};
use super::config::ServerVersion;
use crate::wire::{Command, property, response_code as answer};

/// What timers count in, and how far ahead they go.
// Java: MessageStoreConfig#timerPrecisionMs, #timerMaxDelaySec.
const PRECISION_MS: i64 = 1_000;
const DELAY_MAX_MS: i64 = 3 * 24 * 3_600 * 1_000;

impl Broker {
    /// The handle of a message that was stored, if it waits for a timer.
    // Java: HookUtils#transformTimerMessage, SendMessageProcessor#attachRecallHandle.
    pub(super) fn recall_handle(
        &self,
        context: &Context<'_>,
        topic: &str,
        properties: &str,
    ) -> Option<String> {
        let now_ms = wall_ms(context.config, context.now_ns);
        let number = |name: &str| property(properties, name)?.parse::<i64>().ok();
        let deliver_ms = number("TIMER_DELAY_SEC")
            .map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1_000)))
            .or_else(|| Some(now_ms.saturating_add(number("TIMER_DELAY_MS")?)))
            .or_else(|| number("TIMER_DELIVER_MS"))?;
        let out_ms = deliver_ms.saturating_sub(1) / PRECISION_MS * PRECISION_MS;
        let delayed = number("DELAY").is_some_and(|level| level > 0);
        let old = context.config.version < ServerVersion::V5_5;
        if deliver_ms <= now_ms || delayed || old || topic.starts_with("%RETRY%") {
            return None;
        }
        let unique_key = property(properties, "UNIQ_KEY")?;
        let handle = format!("v1 {topic} {} {} {unique_key}", self.name, out_ms + 1);
        Some(base64(handle.as_bytes()))
    }

    /// Notes that a message is not to be delivered, whether or not it is there.
    // Java: RecallMessageProcessor#processRequest.
    pub(super) fn recall(
        &mut self,
        context: &Context<'_>,
        command: &Command,
    ) -> Result<Command, Refusal> {
        let config = context.config;
        if config.version < ServerVersion::V5_5 {
            return Err(unsupported(command.code));
        }
        if !config.recalls {
            let remark = "recall failed, operation is forbidden";
            return Err((answer::NO_PERMISSION, Some(remark.into())));
        }
        let topic = command.ext.get("topic").unwrap_or_default();
        if !self.topics.contains_key(topic) {
            let remark = format!("recall failed, the topic[{topic}] not exist");
            return Err((answer::TOPIC_NOT_EXIST, Some(remark)));
        }
        let illegal = |remark: &str| (answer::ILLEGAL_OPERATION, Some(remark.to_owned()));
        let handle = command.ext.get("recallHandle").and_then(from_base64).unwrap_or_default();
        let items: Vec<_> = handle.split(' ').collect();
        let ["v1", of_topic, broker, deliver_ms, unique_key, ..] = items[..] else {
            return Err(illegal("recall handle is invalid"));
        };
        if of_topic != topic {
            return Err(illegal("recall failed, topic not match"));
        }
        if broker != self.name {
            return Err(illegal("recall failed, broker service not available"));
        }
        let left_ms = deliver_ms.parse::<i64>().unwrap_or(0) - wall_ms(config, context.now_ns);
        if left_ms <= 0 || left_ms >= DELAY_MAX_MS {
            return Err(illegal("recall failed, timestamp invalid"));
        }
        self.recalled.insert(unique_key.to_owned());
        Ok(respond(config, command, (answer::SUCCESS, None)).field("msgId", unique_key))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs with padding, as Java's `Base64.getUrlEncoder()` writes it.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Reads it back. `None` if it is something else.
fn from_base64(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            let digit = group.get(place).map(|digit| DIGITS.iter().position(|it| it == digit));
            bits = bits << 6 | digit.unwrap_or(Some(0))? as u32;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{base64, from_base64};

    #[test]
    fn handles_are_written_as_by_java() {
        let handle = "v1 T broker-a 1700000060001 7F00000100010000000000000000002A";
        let encoded =
            "djEgVCBicm9rZXItYSAxNzAwMDAwMDYwMDAxIDdGMDAwMDAxMDAwMTAwMDAwMDAwMDAwMDAwMDAwMDJB";
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), (handle, encoded)]
        {
            assert_eq!(base64(text.as_bytes()), expected);
            assert_eq!(from_base64(expected).as_deref(), Some(text));
        }
        assert_eq!(from_base64("no handle"), None);
    }
}
