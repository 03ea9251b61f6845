//! Batches: what brokers get, and one receipt for each message.

use std::collections::BTreeSet;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Fault, Node, Stored};
use rocketmq_testkit::wire::request_code::SEND_BATCH_MESSAGE;

use crate::common::{RUNTIMES, TOPIC, cluster, rmq_send, run, run_with_input, script, single};

/// The bodies of each request for a batch, by their number of messages.
fn batches(cluster: &LoopbackCluster) -> usize {
    let node = |index| Node::Broker(index);
    cluster.with(|cluster| {
        let brokers = cluster.nodes().iter().filter(|node| matches!(node, Node::Broker(_))).count();
        (0..brokers).map(|it| cluster.frames_of(node(it), SEND_BATCH_MESSAGE).len()).sum()
    })
}

#[test]
fn lines_go_in_batches_with_a_receipt_for_each_on_every_runtime() {
    for runtime in RUNTIMES {
        let cluster = cluster();
        let extra = ["--json", "--batch=3", "--runtime", runtime];
        let done = run_with_input(rmq_send(&cluster, &extra), b"a\nb\n\nc\nd\ne\nf\ng\n");
        assert_eq!(done.status, Some(0), "{done:?}");
        assert_eq!(batches(&cluster), 3);
        let lines = done.lines();
        let numbers: Vec<_> = lines.iter().filter_map(|line| line["batch"].as_u64()).collect();
        assert_eq!(numbers, [1, 1, 1, 2, 2, 2, 3]);
        for (line, body) in lines.iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
            let key = line["unique_key"].as_str().expect("a key");
            let mut found = cluster.with(|cluster| cluster.stored_by_key(key));
            assert_eq!(found.len(), 1, "{line}");
            let Stored { broker, queue_id, queue_offset, body: stored, .. } = found.remove(0);
            assert_eq!(stored, body.as_bytes());
            assert_eq!((&line["broker"], &line["queue"]), (&broker.into(), &queue_id.into()));
            assert_eq!(line["offset"], queue_offset);
            assert_eq!(line["outcome"], "acknowledged");
        }
        assert!(done.stderr.contains("7 messages in 3 batches to topic \"Orders\""), "{done:?}");
        assert!(done.stderr.contains("acknowledged 7, failed 0"), "{done:?}");
    }
}

#[test]
fn many_batches_are_open_at_once_and_each_is_whole() {
    let cluster = cluster();
    let extra = ["--json", "--size=20", "--count=1000", "--batch=16", "-k", "8"];
    let done = run(rmq_send(&cluster, &extra));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(batches(&cluster), 63);
    let keys: BTreeSet<_> =
        done.lines().iter().map(|line| line["unique_key"].to_string()).collect();
    assert_eq!(keys.len(), 1_000);
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 1_000);
}

#[test]
fn without_the_option_there_are_no_batches() {
    let cluster = single();
    let done = run(rmq_send(&cluster, &["--json", "--body=x", "--count=3"]));
    assert_eq!(batches(&cluster), 0);
    assert!(done.lines().iter().all(|line| line["batch"].is_null()), "{done:?}");
    assert!(done.stderr.contains("3 sends to topic"), "{done:?}");
}

#[test]
fn a_batch_that_fails_is_told_for_each_message_to_machines_and_once_to_people() {
    let cluster = single();
    script(&cluster, Fault::answer(14, "not now"));
    let extra = ["--body=x", "--count=2", "--batch=2", "--retries=0"];
    let done = run(rmq_send(&cluster, &[&extra[..], &["--json"]].concat()));
    assert_eq!(done.status, Some(1), "{done:?}");
    let lines = done.lines();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!((&line["outcome"], &line["code"]), (&"refused".into(), &14.into()));
        assert_eq!((&line["batch"], &line["kind"]), (&1.into(), &"broker".into()));
        assert_eq!(line["attempts"][0]["remark"], "not now");
        assert!(line["unique_key"].is_string());
    }
    assert_ne!(lines[0]["unique_key"], lines[1]["unique_key"]);
    let done = run(rmq_send(&cluster, &extra));
    assert_eq!((done.status, &*done.stdout), (Some(1), ""), "{done:?}");
    let told = "batch of 2 messages to topic \"Orders\" failed";
    assert_eq!(done.stderr.matches(told).count(), 1, "{done:?}");
    assert!(done.stderr.contains("acknowledged 0, failed 2 (2 refused)"), "{done:?}");
}

#[test]
fn the_keys_of_a_lost_batch_are_those_of_its_messages() {
    let cluster = single();
    script(&cluster, Fault::silent_after_storing());
    let extra = ["--json", "--body=x", "--count=2", "--batch=2", "--retries=0", "--timeout=300"];
    let done = run(rmq_send(&cluster, &extra));
    assert_eq!(done.status, Some(1), "{done:?}");
    for line in done.lines() {
        assert_eq!(line["outcome"], "unknown");
        let key = line["unique_key"].as_str().expect("a key").to_owned();
        assert_eq!(cluster.with(|cluster| cluster.stored_by_key(&key).len()), 1, "{line}");
    }
}

#[test]
fn what_cannot_be_a_batch_reaches_nobody_and_says_what_to_do() {
    let cluster = single();
    let extra = ["--size=3000000", "--count=2", "--batch=2"];
    let done = run(rmq_send(&cluster, &[&extra[..], &["--json"]].concat()));
    assert_eq!(done.status, Some(1), "{done:?}");
    for line in done.lines() {
        assert_eq!((&line["outcome"], &line["kind"]), (&"invalid".into(), &"invalid_batch".into()));
    }
    let done = run(rmq_send(&cluster, &extra));
    for words in ["4194304", "To do: lower --batch", "failed 2 (2 invalid)"] {
        assert!(done.stderr.contains(words), "{words}: {done:?}");
    }
    assert_eq!(cluster.with(|cluster| cluster.stored_all().count()), 0);
}
