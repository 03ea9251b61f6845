//! One row for each rule on messages, and what a message turns into.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::time::Instant;
use crate::wire::{UniqueKeySource, properties};

const NOW: i64 = 1_700_000_000_000;

fn prepare_with(message: Message, config: &Config) -> Result<PreparedMessage, InvalidMessage> {
    let key = UniqueKeySource::new(core::net::IpAddr::from([10, 0, 0, 1]), 1, 2, 0).next(NOW);
    let clock = ClockReading { instant: Instant::ZERO, wall: WallTime::from_millis(NOW) };
    let given = message.clone();
    PreparedMessage::new(message, key, clock, config).map_err(|(error, message)| {
        assert_eq!(message, given, "it comes back as it was");
        error
    })
}

fn prepare(message: Message) -> Result<PreparedMessage, InvalidMessage> {
    let config = Config::builder("127.0.0.1:9876").body_length_max(1_000).build().unwrap();
    prepare_with(message, &config)
}

fn message() -> Message {
    Message::new("Orders", "body")
}

/// What is sent besides the unique key.
fn sent(prepared: &PreparedMessage) -> Vec<(String, String)> {
    let text = prepared.properties.plain();
    let all = properties(&text).filter(|(name, _)| *name != "UNIQ_KEY");
    all.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn system(name: &'static str, value: &str) -> Message {
    message().with_system_property(name, Some(value.to_string()))
}

#[test]
fn every_rule_refuses_and_names_what_is_wrong() {
    let topic = |topic: String| Message::new(topic, "body");
    let property = |name: &'static str, value: &'static str| message().with_property(name, value);
    let far = Duration::from_millis(limits::DELAY_MS_MAX + 1);
    let too_late = WallTime::from_millis(NOW + limits::DELAY_MS_MAX as i64 + 1);
    // What Java refuses (Validators, MessageConst), and what it would send to be misread or lost.
    let rows: Vec<(Message, &str)> = alloc::vec![
        (topic("".into()), "the topic is empty"),
        (topic(" ".into()), "the topic holds ' '"),
        (topic("t".repeat(128)), "the topic has 128 bytes, more than 127"),
        (topic("a/b".into()), "the topic holds '/'"),
        (topic("..".into()), "the topic holds '.'"),
        (topic("a\nb".into()), "the topic holds '\\n'"),
        (topic("grün".into()), "the topic holds 'ü'"),
        (topic("SCHEDULE_TOPIC_XXXX".into()), "the topic is reserved"),
        (topic("RMQ_SYS_TRANS_HALF_TOPIC".into()), "the topic is reserved"),
        (topic("RMQ_SYS_TRANS_OP_HALF_TOPIC".into()), "the topic is reserved"),
        (topic("TRANS_CHECK_MAX_TIME_TOPIC".into()), "the topic is reserved"),
        (topic("SELF_TEST_TOPIC".into()), "the topic is reserved"),
        (topic("OFFSET_MOVED_EVENT".into()), "the topic is reserved"),
        (Message::new("Orders", ""), "the body is empty"),
        (Message::new("Orders", "b".repeat(1_001)), "the body has 1001 bytes, more than body_len"),
        (property("INNER_MULTI_DISPATCH", "%LMQ%a/b"), "\"INNER_MULTI_DISPATCH\" holds '/'"),
        (property("INNER_MULTI_DISPATCH", "a\\b"), "\"INNER_MULTI_DISPATCH\" holds '\\\\'"),
        (property("a\u{1}b", "x"), "property name \"a\\u{1}b\""),
        (property("a\u{2}b", "x"), "property name \"a\\u{2}b\""),
        (property("a", "x\u{2}TRAN_MSG\u{1}true"), "the value of property \"a\""),
        (property("a", "x\u{1}y"), "the value of property \"a\""),
        (property("", "x"), "property name \"\""),
        (property(" ", "x"), "property name \" \""),
        (property("a", ""), "the value of property \"a\" is blank"),
        (property("a", "\t"), "the value of property \"a\" is blank"),
        (
            property("DELAY", "3"),
            "\"DELAY\" is reserved by RocketMQ; use Message::with_delay_level"
        ),
        (property("TRAN_MSG", "true"), "\"TRAN_MSG\" is reserved"),
        (property("MSG_TYPE", "reply"), "\"MSG_TYPE\" is reserved"),
        (property("INSTANCE_ID", "ns"), "\"INSTANCE_ID\" is reserved"),
        (message().with_property("p", "v".repeat(32_001)), "more than 32,000"),
        (message().with_tag(" "), "the tag is blank"),
        (message().with_tag("a\u{2}b"), "the tag is blank or holds"),
        (message().with_key(""), "key \"\" is blank"),
        (message().with_key("a b"), "key \"a b\" is blank, or holds a space"),
        (message().with_key("a\u{1}"), "key \"a\\u{1}\""),
        (message().deliver_after(far), "the delay in TIMER_DELAY_MS is more than 2,147,483,647 s"),
        (message().deliver_after(Duration::MAX), "the delay in TIMER_DELAY_MS is more than"),
        (message().deliver_at(too_late), "the delay in TIMER_DELIVER_MS is more than"),
        (
            message().with_delay_level(3).deliver_after(Duration::from_secs(1)),
            "both TIMER_DELAY_MS and DELAY say when to deliver",
        ),
        (
            message().deliver_at(WallTime::from_millis(NOW)).with_delay_level(3),
            "both DELAY and TIMER_DELIVER_MS say",
        ),
        (
            message().deliver_at(WallTime::from_millis(5)).deliver_after(Duration::from_secs(1)),
            "both TIMER_DELAY_MS and TIMER_DELIVER_MS say",
        ),
    ];
    for (message, expected) in rows {
        let shown = format!("{message:?}").chars().take(200).collect::<String>();
        let error = prepare(message).expect_err(&shown).to_string();
        assert!(error.contains(expected), "{shown}\nsays: {error}");
    }
}

#[test]
fn what_java_lets_through_goes_through() {
    let longest = "t".repeat(127);
    for topic in ["TBW102", "BenchmarkTest", "RMQ_SYS_TRACE_TOPIC", "%RETRY%group", &longest] {
        assert!(prepare(Message::new(topic.to_string(), "b")).is_ok(), "{topic}");
    }
    assert!(prepare(Message::new("Orders", "b".repeat(1_000))).is_ok());
    for name in ["__SHARDINGKEY", "__STARTDELIVERTIME", "CHECK_IMMUNITY_TIME_IN_SECONDS"] {
        assert!(prepare(message().with_property(name, "7")).is_ok(), "{name}");
    }
    let queues = message().with_property("INNER_MULTI_DISPATCH", "%LMQ%a,%LMQ%b");
    assert!(prepare(queues).is_ok());
    assert!(prepare(message().with_tag("a || b")).is_ok(), "left to who sets it");
}

#[test]
fn every_reserved_name_is_refused_from_applications_alone() {
    for name in crate::wire::RESERVED_PROPERTIES {
        let error = prepare(message().with_property(*name, "1")).unwrap_err();
        assert_eq!(error, InvalidMessage::PropertyReserved { name: name.to_string() });
        assert!(prepare(system(name, "1")).is_ok(), "{name}");
    }
}

#[test]
fn delays_become_the_properties_of_java() {
    let ms = |ms| Duration::from_millis(ms);
    let at = |ms| message().deliver_at(WallTime::from_millis(ms));
    let rows = [
        (message().with_delay_level(1), Some(("DELAY", "1"))),
        (message().with_delay_level(1).with_delay_level(18), Some(("DELAY", "18"))),
        (message().with_delay_level(4).with_delay_level(0), None),
        (message().deliver_after(ms(60_000)), Some(("TIMER_DELAY_MS", "60000"))),
        (message().deliver_after(ms(1)).deliver_after(ms(2)), Some(("TIMER_DELAY_MS", "2"))),
        (message().deliver_after(Duration::from_nanos(1)), Some(("TIMER_DELAY_MS", "1"))),
        (message().deliver_after(ms(5)).deliver_after(ms(0)), None),
        (
            message().deliver_after(ms(limits::DELAY_MS_MAX)),
            Some(("TIMER_DELAY_MS", "2147483647000")),
        ),
        (at(NOW + 5), Some(("TIMER_DELIVER_MS", "1700000000005"))),
        (at(-1), Some(("TIMER_DELIVER_MS", "-1"))),
        (at(NOW + limits::DELAY_MS_MAX as i64), Some(("TIMER_DELIVER_MS", "3847483647000"))),
    ];
    for (message, expected) in rows {
        // In whatever order, and among others.
        let message = message.with_property("own", "x").with_property("own", "y");
        assert_eq!(message.properties().collect::<Vec<_>>(), [("own", "y")], "not the user's");
        let prepared = prepare(message).unwrap();
        let own = [("own", "y"), ("WAIT", "true")];
        let expected: Vec<_> = expected.into_iter().chain(own).collect();
        let sent = sent(&prepared);
        let sent: Vec<_> = sent.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(sent, expected);
        assert!(prepared.special.is_none(), "nothing that a plain send has not");
    }
}

#[test]
fn half_messages_are_marked_whatever_the_case() {
    for (value, flag) in [("true", 4), ("TRUE", 4), ("tRuE", 4), ("false", 0), ("true ", 0)] {
        let prepared = prepare(system("TRAN_MSG", value)).unwrap();
        assert_eq!(prepared.sys_flag(), flag, "{value:?}");
        assert_eq!(sent(&prepared)[0], ("TRAN_MSG".to_string(), value.to_string()));
        // Both bits when the body is compressed as well.
        let mut compressed = prepared;
        compressed.set_body(Bytes::from_static(b"x"), 0x301);
        assert_eq!(compressed.sys_flag(), 0x301 | flag);
        assert_eq!(
            (&compressed.body()[..], &compressed.message().body()[..]),
            (&b"x"[..], &b"body"[..])
        );
        assert_eq!(compressed.into_message().body(), "body", "what the caller gets back");
    }
    assert_eq!(prepare(message()).unwrap().sys_flag(), 0);
}

#[test]
fn replies_have_a_code_of_their_own() {
    let code = |message, long| prepare(message).unwrap().kind().request_code(long).0;
    assert_eq!((code(message(), false), code(message(), true)), (310, 10));
    let reply = || system("MSG_TYPE", "reply");
    assert_eq!((code(reply(), false), code(reply(), true)), (325, 324));
    assert_eq!(code(system("MSG_TYPE", "other"), false), 310);
}

#[test]
fn a_retry_topic_has_its_counts_in_the_header_too() {
    let counted = |topic: &'static str, times: &str, max: &str| {
        Message::new(topic, "body")
            .with_system_property("RECONSUME_TIME", Some(times.to_string()))
            .with_system_property("MAX_RECONSUME_TIMES", Some(max.to_string()))
    };
    let prepared = prepare(counted("%RETRY%orders", "3", "16")).unwrap();
    let special = prepared.special.as_deref().unwrap();
    assert_eq!((special.reconsume_times, special.max_reconsume_times), (3, Some(16)));
    assert!(prepare(counted("Orders", "3", "16")).unwrap().special.is_none(), "no retry topic");
    assert!(prepare(Message::new("%RETRY%orders", "body")).unwrap().special.is_none());
    let error = prepare(counted("%RETRY%orders", "three", "16")).unwrap_err();
    assert_eq!(error, InvalidMessage::PropertyValue { name: "RECONSUME_TIME".to_string() });
}
