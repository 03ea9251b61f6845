//! What the driver sends, next to what the Java producer was recorded to send for the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rocketmq_driver::Message;
use rocketmq_testkit::Sim;
use rocketmq_testkit::cluster::ClusterConfig;
use serde_json::Value;

/// Flags and properties of recorded sends for which `wanted` holds.
fn recorded(wanted: impl Fn(&str, &str) -> bool) -> Vec<(i32, BTreeMap<String, String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/tests/golden");
    let mut sends = Vec::new();
    for entry in fs::read_dir(folder).expect("the recordings").flatten() {
        let text = fs::read_to_string(entry.path()).expect("readable");
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let fields = &record["header"]["extFields"];
            let (Some(flags), Some(properties)) = (fields["f"].as_str(), fields["i"].as_str())
            else {
                continue;
            };
            if record["header"]["code"] != 310 || !wanted(flags, properties) {
                continue;
            }
            let pairs = properties.split_terminator('\u{2}').map(|pair| {
                let (name, value) = pair.split_once('\u{1}').expect("a pair");
                (name.to_owned(), value.to_owned())
            });
            let all: BTreeMap<_, _> = pairs.filter(|(name, _)| name != "UNIQ_KEY").collect();
            sends.push((flags.parse().expect("a number"), all));
        }
    }
    sends
}

#[test]
fn delays_and_compressed_bodies_are_sent_as_by_java() {
    let plain = || Message::new("Orders", "body");
    let level =
        (plain().with_delay_level(1), recorded(|_, text| text.contains("DELAY\u{1}1\u{2}")));
    let timer = plain().deliver_after(Duration::from_secs(2));
    let timer = (timer, recorded(|_, text| text.contains("TIMER_DELAY_MS\u{1}2000\u{2}")));
    // The recorded body was 5,000 zeros.
    let zlib = Message::new("Orders", vec![0; 5_000]);
    let zlib = (zlib, recorded(|flags, _| flags == "769"));
    for (message, recorded) in [level, timer, zlib] {
        assert!(recorded.len() >= 4, "{message:?}: {recorded:?}");
        let mut sim = Sim::new(3, ClusterConfig::new().topic("Orders", 4));
        sim.run(async |cx| {
            let producer = cx.producer("shop");
            let receipt = producer.send(message.clone()).await.expect("sent");
            let stored = cx.stored_as(&receipt);
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            // The broker adds where it is.
            let made = |name: &str| name == "UNIQ_KEY" || name == "CLUSTER";
            let own = stored.properties.iter().filter(|(name, _)| !made(name));
            let ours = (stored.sys_flag, own.map(owned).collect::<BTreeMap<_, _>>());
            for theirs in &recorded {
                assert_eq!(&ours, theirs, "{message:?}");
            }
            producer.close(Duration::from_secs(1)).await;
        });
    }
}
