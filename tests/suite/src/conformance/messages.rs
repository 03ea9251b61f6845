//! What is sent besides the message, and how its body gets smaller on the way.

use std::time::Duration;

use rocketmq_driver::{
    Compression, Delivery, InvalidMessage, Message, SendErrorKind, SendOptions, WallTime,
    decompress,
};

use super::Harness;
use super::scene::*;

const MAX: usize = 4 << 20;

/// Stored small, read back as it was; what is short or does not get smaller goes as it is.
pub async fn bodies_are_compressed_when_that_helps<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let long = "an order, and another. ".repeat(1_000);
    for (method, flags) in [
        (None, 0x301),
        (Some(Compression::Zlib), 0x301),
        (Some(Compression::Lz4), 0x101),
        (Some(Compression::Zstd), 0x201),
        (Some(Compression::None), 0),
    ] {
        let mut options = SendOptions::new();
        options.compression = method;
        let receipt = producer.send_with(message(&long), options.clone()).await.expect("sent");
        let stored = stored_once(&cluster, &receipt);
        assert_eq!(stored.sys_flag, flags, "{method:?}");
        assert_eq!(stored.body.len() < long.len() / 10, flags != 0, "{method:?}");
        let read = decompress(flags, &stored.body.into(), MAX).expect("readable");
        assert_eq!(read, long.as_bytes(), "{method:?}");

        for body in [long.as_bytes()[..4_095].to_vec(), noise(10_000, 3)] {
            let message = Message::new(TOPIC, body.clone());
            let receipt = producer.send_with(message, options.clone()).await.expect("sent");
            let stored = stored_once(&cluster, &receipt);
            assert!((stored.sys_flag, &stored.body) == (0, &body), "{method:?}");
        }
    }
    idle(on, &producer).await;
}

/// The caller's own, not the smaller one.
pub async fn a_message_that_was_compressed_comes_back_as_it_was<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).create_topics(false));
    let given = Message::new("Nowhere", "order ".repeat(2_000)).with_delay_level(2);
    let error = producer.send(given.clone()).await.expect_err("there is no such topic");
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(error.into_message(), Some(given));
    idle(on, &producer).await;
}

/// As properties, each on its own; both at once are refused.
pub async fn delays_reach_the_broker<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let second = Duration::from_secs(1);
    let soon = WallTime::from_millis(1_000);
    let rows = [
        (message("level").with_delay_level(3), "DELAY", "3"),
        (message("after").deliver_after(2 * second), "TIMER_DELAY_MS", "2000"),
        (message("at").deliver_at(soon), "TIMER_DELIVER_MS", "1000"),
    ];
    for (message, name, value) in rows {
        let receipt = producer.send(message).await.expect("sent");
        let stored = stored_once(&cluster, &receipt);
        let delays = ["DELAY", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"];
        let set: Vec<_> = delays.iter().filter(|it| stored.properties.contains_key(it)).collect();
        assert_eq!((set, &stored.properties[name]), (vec![&name], value));
        assert_eq!(stored.sys_flag, 0);
    }
    let both = message("both").with_delay_level(3).deliver_after(second);
    let (first, second) = ("TIMER_DELAY_MS", "DELAY");
    let kind = SendErrorKind::Invalid(InvalidMessage::DelayTwice { first, second });
    failed(producer.send(both).await, &kind, Delivery::NotSent);
    idle(on, &producer).await;
}
