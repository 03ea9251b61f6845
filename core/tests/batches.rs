//! Batches against a naive model: their bytes, their sizes, and where they are cut.

use proptest::prelude::*;
use rocketmq_core::wire::{Encoding, UniqueKey, UniqueKeySource, properties};
use rocketmq_core::{Batches, ClockReading, Config, Message, PreparedMessage};

/// One message as it is in the body of a batch.
#[derive(Debug, PartialEq)]
struct Entry {
    flag: i32,
    body: Vec<u8>,
    properties: Vec<(String, String)>,
    length: usize,
}

/// Reads the layout of a batch's body word by word.
// Java: MessageDecoder#decodeMessages
fn read(mut bytes: &[u8]) -> Vec<Entry> {
    let mut take = |count: usize| {
        let (head, rest) = bytes.split_at(count);
        bytes = rest;
        (head.to_vec(), rest.is_empty())
    };
    let word = |bytes: Vec<u8>| i32::from_be_bytes(bytes.try_into().unwrap());
    let mut entries = Vec::new();
    loop {
        let length = word(take(4).0) as usize;
        assert_eq!(take(8).0, [0; 8]);
        let flag = word(take(4).0);
        let body_length = word(take(4).0) as usize;
        let body = take(body_length).0;
        let count = i16::from_be_bytes(take(2).0.try_into().unwrap()) as usize;
        let (text, done) = take(count);
        assert_eq!(length, 22 + body_length + count);
        let text = String::from_utf8(text).unwrap();
        let pairs = properties(&text).map(|(name, value)| (name.to_owned(), value.to_owned()));
        entries.push(Entry { flag, body, properties: pairs.collect(), length });
        if done {
            return entries;
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let body = prop::collection::vec(any::<u8>(), 1..200);
    let text = "[a-zA-Z\"\\\\é✓/ ]{0,20}";
    (body, any::<i32>(), text, text, 0..12_u8, 0..12_u8).prop_map(
        |(body, flag, value, tag, topic, wait)| {
            // Mostly one topic, so that batches are long.
            let topic = if topic == 0 { "Refunds" } else { "Orders" };
            let message = Message::new(topic, body)
                .with_flag(flag)
                .with_wait_stored(wait > 0)
                .with_property("city", format!("x{value}"));
            if tag.is_empty() { message } else { message.with_tag(format!("t{tag}")) }
        },
    )
}

fn host(ipv6: bool) -> UniqueKeySource {
    let address = if ipv6 { "2001:db8::1" } else { "127.0.0.1" };
    UniqueKeySource::new(address.parse().unwrap(), 7, 7, 0)
}

fn batch(messages: &[Message], keys: &UniqueKeySource, config: &Config) -> PreparedMessage {
    let clock = ClockReading::default();
    let prepare = |message: &Message| {
        PreparedMessage::new(message.clone(), keys.next(0), clock, config).unwrap()
    };
    let members = messages.iter().map(prepare).collect();
    PreparedMessage::batch_of(members, keys.next(0), clock, config).unwrap()
}

proptest! {
    #[test]
    fn batches_are_as_long_as_they_can_be_and_hold_every_message_once(
        messages in prop::collection::vec(message(), 0..40),
        bytes_max in 100_usize..3_000,
        (ipv6, binary) in any::<(bool, bool)>(),
    ) {
        let encoding = if binary { Encoding::Binary } else { Encoding::Json };
        let config = Config::builder("127.0.0.1:9876").encoding(encoding).build().unwrap();
        let keys = host(ipv6);
        let key: UniqueKey = keys.next(0);
        let batches: Vec<_> =
            Batches::new(messages.iter().cloned(), key, &config, bytes_max).collect();
        prop_assert_eq!(batches.concat(), messages);
        for (index, messages) in batches.iter().enumerate() {
            let whole = batch(messages, &keys, &config);
            let length = whole.body().len();
            prop_assert!(length <= bytes_max || messages.len() == 1);
            let entries = read(whole.body());
            prop_assert_eq!(entries.len(), messages.len());
            for (entry, message) in entries.iter().zip(messages) {
                prop_assert_eq!(&entry.body, &message.body().to_vec());
                prop_assert_eq!(entry.flag, message.flag());
                let value = |name: &str| {
                    let pair = entry.properties.iter().find(|(known, _)| known == name);
                    pair.map(|(_, value)| value.as_str())
                };
                let city = message.properties().next().map(|(_, value)| value);
                prop_assert_eq!((value("city"), value("TAGS")), (city, message.tag()));
                let key = value("UNIQ_KEY");
                prop_assert!(key.is_some_and(|key| key != whole.unique_key().to_string()));
            }
            let alike = |other: &Message| {
                let first = &messages[0];
                other.topic() == first.topic() && other.wait_stored() == first.wait_stored()
            };
            prop_assert!(messages.iter().all(alike));
            // The next message would not have fitted, or differs.
            if let Some(next) = batches.get(index + 1).map(|next| &next[0]) && alike(next) {
                let more = [messages.as_slice(), std::slice::from_ref(next)].concat();
                let more = batch(&more, &keys, &config);
                prop_assert!(more.body().len() > bytes_max);
            }
        }
    }
}
