//! `rmq send --transaction` and `rmq request`.

use std::process::Child;
use std::time::{Duration, Instant};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Fault, HALF_TOPIC, Node, Rule, Stored};
use rocketmq_testkit::wire::request_code::END_TRANSACTION;

use crate::common::{Done, cluster, rmq, rmq_send, run, single};

#[test]
fn a_transaction_ends_as_it_is_told() {
    for (end, delivered, said) in
        [("commit", 1, "committed"), ("rollback", 0, "rolled back"), ("undecided", 0, "undecided")]
    {
        let cluster = cluster();
        let words = ["--body", "x", "--transaction", end];
        let done = run(rmq_send(&cluster, &[&words[..], &["--json"]].concat()));
        assert_eq!(done.status, Some(0), "{done:?}");
        let line = done.line();
        assert_eq!((&line["outcome"], &line["transaction"]), (&"acknowledged".into(), &end.into()));
        let key = line["unique_key"].as_str().expect("a key");
        let stored = cluster.with(|cluster| cluster.stored_by_key(key));
        let count = |topic| stored.iter().filter(|stored| stored.topic == topic).count();
        assert_eq!((count(HALF_TOPIC), count("Orders")), (1, delivered), "{end}");
        let open = cluster.with(|cluster| cluster.open_transactions());
        assert_eq!(open, usize::from(end == "undecided"));
        let done = run(rmq_send(&cluster, &words));
        assert!(done.stderr.contains(said), "{done:?}");
    }
}

#[test]
fn an_end_without_answer_is_told_as_unknown() {
    let cluster = single();
    let rule = Rule::code(END_TRANSACTION).always();
    cluster.with(|cluster| cluster.script(Node::Broker(0), rule, Fault::silent()));
    let words = ["--body", "x", "--timeout", "500", "--transaction", "commit"];
    let done = run(rmq_send(&cluster, &[&words[..], &["--json"]].concat()));
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = done.line();
    assert_eq!((&line["outcome"], &line["kind"]), (&"unknown".into(), &"lost".into()));
    assert!(line["code"].is_null() && line["offset"].is_number(), "{line}");
    let done = run(rmq_send(&cluster, &words));
    assert!(done.stderr.contains("do not repeat it"), "{done:?}");
}

#[test]
fn what_is_no_transaction_is_refused_at_once() {
    let cluster = single();
    for words in [["--batch", "2"], ["--delay-level", "3"], ["--oneway", "--json"]] {
        let words = [&words[..], &["--body", "x", "--transaction", "commit"]].concat();
        let done = run(rmq_send(&cluster, &words));
        assert_eq!(done.status, Some(2), "{done:?}");
        assert!(done.stderr.contains("--transaction and --"), "{done:?}");
    }
    let done = run(rmq_send(&cluster, &["--body", "x", "--transaction", "perhaps"]));
    assert_eq!(done.status, Some(2), "{done:?}");
}

fn ask(cluster: &LoopbackCluster, words: &[&str]) -> Child {
    let mut command = rmq(&["request", "Orders"]);
    let command = command.args(words).args(["--name-server", &cluster.name_server_addresses()]);
    command.spawn().expect("the binary runs")
}

/// Pushes this body in reply to the first request.
fn reply(cluster: &LoopbackCluster, body: &[u8]) -> Stored {
    let limit = Instant::now() + Duration::from_secs(20);
    let request = loop {
        if let Some(request) = cluster.with(|cluster| cluster.stored("Orders").pop()) {
            break request;
        }
        assert!(Instant::now() < limit, "nobody asks");
        std::thread::sleep(Duration::from_millis(5));
    };
    let id = request.properties.get("CORRELATION_ID").expect("an id");
    let client = request.properties.get("REPLY_TO_CLIENT").expect("a client");
    let properties = format!("CORRELATION_ID\u{1}{id}\u{2}TAGS\u{1}told\u{2}");
    cluster.with(|cluster| {
        let push = cluster.reply_request(&properties, body);
        let to = cluster.client_connection(0, client).expect("greeted");
        cluster.send_request(Node::Broker(0), to, push).expect("open");
    });
    request
}

fn done(child: Child) -> Done {
    Done::from(child.wait_with_output().expect("the binary ends"))
}

#[test]
fn a_request_prints_its_reply() {
    let cluster = single();
    let patient = ["--timeout", "20000"];
    let words = ["price?", "--tag", "ask", "--keys", "a b", "--property", "city=Bonn", "--json"];
    let child = ask(&cluster, &[&words[..], &patient].concat());
    let request = reply(&cluster, "sieben €".as_bytes());
    assert_eq!(request.body, b"price?");
    assert_eq!(request.keys.as_deref(), Some("a b"));
    assert_eq!(request.properties.get("city"), Some("Bonn"));
    let done = done(child);
    assert_eq!(done.status, Some(0), "{done:?}");
    let line: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((&line["outcome"], &line["body"]), (&"replied".into(), &"sieben €".into()));
    assert_eq!((&line["tag"], &line["producer_group"]), (&"told".into(), &"answers".into()));
    let id = request.properties.get("CORRELATION_ID").expect("an id");
    assert_eq!(line["correlation_id"], id);
    assert!(line["error"].is_null() && line["body_hex"].is_null(), "{line}");

    let cluster = single();
    let child = ask(&cluster, &[&["price?"][..], &patient].concat());
    reply(&cluster, b"seven");
    let done = self::done(child);
    assert!(done.stdout.contains("reply of group \"answers\"") && done.stdout.contains("seven"));
}

#[test]
fn a_request_without_reply_says_where_it_is() {
    let cluster = single();
    let done = done(ask(&cluster, &["anybody?", "--timeout", "500", "--json"]));
    assert_eq!(done.status, Some(1), "{done:?}");
    let line: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(line["outcome"], "no_reply");
    let stored = cluster.with(|cluster| cluster.stored("Orders"));
    assert_eq!(line["unique_key"].as_str(), stored[0].unique_key.as_deref());
    let done = self::done(ask(&cluster, &["anybody?", "--timeout", "500"]));
    assert!(done.stderr.contains("no reply in time"), "{done:?}");
    let mut nowhere = rmq(&["request", "Nowhere", "x", "--json", "--name-server"]);
    nowhere.arg(cluster.name_server_addresses());
    let done = run(nowhere);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stdout.contains("\"outcome\":\"not_sent\""), "{done:?}");
}
