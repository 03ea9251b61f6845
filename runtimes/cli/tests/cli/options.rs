//! Compression, delays, namespaces and the VIP port, by what the servers got.

use std::time::Duration;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Stored};
use rocketmq_testkit::wire::request_code::SEND_MESSAGE_V2;
use rocketmq_tokio::{Compression, decompress};

use crate::common::{Done, TOPIC, rmq_send, run, script, single};

/// Sends one message and gives it as it was stored.
fn stored(cluster: &LoopbackCluster, extra: &[&str]) -> (Done, Stored) {
    let done = run(rmq_send(cluster, &[&["--json"], extra].concat()));
    assert_eq!(done.status, Some(0), "{done:?}");
    let key = done.line()["unique_key"].as_str().expect("a key").to_owned();
    let stored = cluster.with(|cluster| cluster.stored_by_key(&key)).pop();
    (done, stored.expect("it is stored"))
}

#[test]
fn bodies_are_compressed_as_they_are_told() {
    let cluster = single();
    let letters: Vec<u8> = (b'a'..=b'z').cycle().take(5_000).collect();
    let (zlib, plain) = (Compression::Zlib.is_built(), 0);
    // Java: MessageSysFlag, compressed (0x1) and by which method (0x700).
    let zlib_flags = if zlib { 0x301 } else { plain };
    for (extra, flags) in [
        (&["--size=5000"][..], zlib_flags),
        (&["--size=5000", "--compression=none"], plain),
        (&["--size=4095"], plain),
        (&["--size=5000", "--compress-over=5001"], plain),
        (&["--size=200", "--compress-over=200"], zlib_flags),
    ] {
        let (_, stored) = stored(&cluster, extra);
        assert_eq!(stored.sys_flag, flags, "{extra:?}");
        let read = decompress(flags, &stored.body.clone().into(), 1 << 20).expect("readable");
        assert_eq!(read, letters[..read.len()]);
        let size: usize = extra[0].strip_prefix("--size=").and_then(|it| it.parse().ok()).unwrap();
        assert_eq!((read.len(), stored.body.len() < size), (size, flags != plain), "{extra:?}");
    }
    for (method, flags) in
        [(Compression::Zlib, 0x301), (Compression::Lz4, 0x101), (Compression::Zstd, 0x201)]
    {
        if method.is_built() {
            let option = format!("--compression={method}");
            let (_, stored) = stored(&cluster, &["--size=5000", &option]);
            assert_eq!(stored.sys_flag, flags, "{method}");
        }
    }
}

#[test]
fn delays_are_properties_of_the_message() {
    let cluster = single();
    let delays = |stored: &Stored| {
        ["DELAY", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"]
            .map(|name| stored.properties.get(name).map(str::to_owned))
    };
    let (_, level) = stored(&cluster, &["--body=x", "--delay-level=3"]);
    assert_eq!(delays(&level), [Some("3".into()), None, None]);
    let (_, after) = stored(&cluster, &["--body=x", "--deliver-after=1m30s"]);
    assert_eq!(delays(&after), [None, Some("90000".into()), None]);
    let (done, at_once) = stored(&cluster, &["--body=x"]);
    assert_eq!(delays(&at_once), [None, None, None]);
    assert!(done.line()["recall_handle"].is_null());
}

#[test]
fn a_recall_handle_is_told() {
    let cluster = single();
    script(&cluster, Fault::with_field("recallHandle", "handle-7"));
    let (done, _) = stored(&cluster, &["--body=x", "--deliver-after=1h"]);
    assert_eq!(done.line()["recall_handle"], "handle-7");
    let done = run(rmq_send(&cluster, &["--body=x", "--deliver-after=1h"]));
    assert!(done.stderr.contains("SEND_OK; recall handle handle-7"), "{done:?}");
}

#[test]
fn a_namespace_is_on_the_wire_and_not_in_the_report() {
    let topic = format!("shop%{TOPIC}");
    let config = ClusterConfig::new().topic(&topic, 4).auto_create_topics(false);
    let cluster = LoopbackCluster::start(config).expect("loopback ports");
    let (done, stored) = stored(&cluster, &["--body=x", "--namespace=shop", "--group=till"]);
    assert_eq!((&*stored.topic, &*stored.group), (&*topic, "shop%till"));
    assert_eq!(done.line()["topic"], TOPIC);
    let missing = run(rmq_send(&cluster, &["--body=x"]));
    assert_eq!(missing.status, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("--namespace"), "{missing:?}");
}

#[test]
fn messages_go_to_the_vip_port_if_they_shall() {
    let config = ClusterConfig::new().topic(TOPIC, 4).auto_create_topics(false).vip_ports(true);
    let cluster = LoopbackCluster::start(config).expect("loopback ports");
    for (extra, vip) in [(&["--body=x"][..], false), (&["--body=x", "--vip"], true)] {
        cluster.with(|cluster| cluster.clear_frames());
        let (done, _) = stored(&cluster, extra);
        let ways: Vec<_> = cluster.with(|cluster| {
            let frames = cluster.frames_of(Node::Broker(0), SEND_MESSAGE_V2);
            frames.iter().map(|frame| frame.vip).collect()
        });
        assert_eq!(ways, [vip]);
        let port = cluster.with(|cluster| cluster.vip_address(Node::Broker(0)));
        let port = port.expect("there is one").to_string();
        assert_eq!(done.line()["attempts"][0]["address"] == port, vip);
    }
}

#[test]
fn a_closed_vip_port_is_named_with_what_to_do() {
    let cluster = single();
    let extra = ["--body=x", "--vip", "--timeout=500", "--retries=0"];
    let done = run(rmq_send(&cluster, &extra));
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("leave --vip out"), "{done:?}");
    let whole = cluster.wait_until(Duration::ZERO, |cluster| cluster.stored_all().count() == 0);
    assert!(whole, "{done:?}");
}
