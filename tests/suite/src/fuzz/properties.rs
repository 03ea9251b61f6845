//! Property strings: what is written is read, and nothing can be smuggled in.

use std::collections::BTreeMap;

use rocketmq_core::wire::{is_reserved, properties as read, push_property};
use rocketmq_core::{Message, SendErrorKind};

use super::bytes::Choices;
use super::world::World;

/// Reading any text, writing it again, and a message whose parts the input chooses.
pub fn properties(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    rewrite(&text);
    inject(&text);
    message(data);
}

/// What is read and can be written reads the same again.
fn rewrite(text: &str) {
    let mut out = String::new();
    let mut expected = Vec::new();
    for (name, value) in read(text) {
        assert!(!name.is_empty() && !value.is_empty());
        if push_property(&mut out, name, value).is_ok() {
            expected.push((name, value));
        }
    }
    let found: Vec<_> = read(&out).collect();
    assert_eq!(found, expected);
}

/// The text up to the first line end as a name, the rest as a value.
fn inject(text: &str) {
    let (name, value) = text.split_once('\n').unwrap_or((text, "value"));
    let before = "A\u{1}b\u{2}";
    let mut out = before.to_owned();
    match push_property(&mut out, name, value) {
        Ok(()) => {
            assert!(!name.trim().is_empty() && !value.trim().is_empty());
            let found: Vec<_> = read(&out).collect();
            assert_eq!(found, [("A", "b"), (name, value)]);
        }
        Err(error) => {
            let separator = |text: &str| text.contains(['\u{1}', '\u{2}']);
            let blank = name.trim().is_empty() || value.trim().is_empty();
            assert!(blank || separator(name) || separator(value), "{error}");
            assert_eq!(out, before);
        }
    }
}

/// A message that is accepted arrives with exactly the properties that it was given.
fn message(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut next = || {
        let length = choices.below(24);
        String::from_utf8_lossy(choices.take(length)).into_owned()
    };
    let (tag, key, name, value) = (next(), next(), next(), next());
    let mut message = Message::new("T", "body").with_property(name.clone(), value.clone());
    let mut expected = BTreeMap::from([(name.clone(), value)]);
    if !tag.is_empty() {
        message = message.with_tag(tag.clone());
        expected.insert("TAGS".to_owned(), tag);
    }
    if !key.is_empty() {
        message = message.with_key(key.clone()).with_key("second");
        expected.insert("KEYS".to_owned(), format!("{key} second"));
    }
    let mut world = World::with_broker();
    let (op, unique_key) = match world.send(message) {
        Ok(names) => names,
        Err(error) => {
            assert!(matches!(error, SendErrorKind::Invalid(_)), "{error}");
            return;
        }
    };
    assert!(!is_reserved(&name));
    let frames = world.frames(world.broker);
    let [frame] = &frames[..] else {
        panic!("{op} left as {} frames", frames.len());
    };
    expected.insert("UNIQ_KEY".to_owned(), unique_key.to_string());
    expected.insert("WAIT".to_owned(), "true".to_owned());
    let found: BTreeMap<String, String> =
        read(&frame.ext["i"]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(found, expected);
    let again = rocketmq_testkit::wire::parse_properties(&frame.ext["i"]);
    assert_eq!(again, expected.iter().collect());
}
