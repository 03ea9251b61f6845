//! The commands that ask: what they print for people and machines, and their exit status.

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use serde_json::Value;

use super::common::*;

fn ask(cluster: &LoopbackCluster, arguments: &[&str]) -> Done {
    let mut command = rmq(arguments);
    command.args(["--name-server", &cluster.name_server_addresses()]);
    run(command)
}

/// The lines, each with exactly these keys.
fn json(done: &Done, keys: &[&str]) -> Vec<Value> {
    let lines = done.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty(), "{done:?}");
    for line in &lines {
        keys_are(line, keys);
    }
    lines
}

const ROUTE: [&str; 4] = ["topic", "order", "queues", "error"];
const ERROR: [&str; 6] = ["request", "kind", "code", "address", "elapsed_ms", "text"];
const CREATED: [&str; 5] = ["topic", "queues", "type", "brokers", "error"];
const OFFSETS: [&str; 7] = ["topic", "broker", "queue", "min", "max", "messages", "error"];
const FINDING: [&str; 6] = ["severity", "subject", "name", "address", "what", "remedy"];
const MESSAGE: [&str; 19] = [
    "topic",
    "queue",
    "offset",
    "commit_log_offset",
    "offset_message_id",
    "unique_key",
    "tag",
    "keys",
    "properties",
    "flag",
    "sys_flag",
    "compressed",
    "born_ms",
    "born_host",
    "stored_ms",
    "store_host",
    "reconsume_times",
    "body",
    "body_hex",
];

#[test]
fn a_route_names_brokers_and_queues() {
    let cluster = cluster();
    let done = ask(&cluster, &["route", TOPIC]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(done.stdout.lines().count(), 2);
    assert!(done.stdout.contains("broker \"broker-a\": 4 to write, 4 to read"), "{done:?}");
    let done = ask(&cluster, &["route", TOPIC, "--json"]);
    let lines = json(&done, &ROUTE);
    assert_eq!(lines[0]["queues"][1]["write_queues"], 4);
    assert!(lines[0]["error"].is_null());

    let done = ask(&cluster, &["route", "Missing", "--json"]);
    assert_eq!(done.status, Some(1), "{done:?}");
    let lines = json(&done, &ROUTE);
    keys_are(&lines[0]["error"], &ERROR);
    assert_eq!(lines[0]["error"]["kind"], "topic_not_found");
    let done = ask(&cluster, &["route", "Missing"]);
    assert!(done.stdout.is_empty() && done.stderr.contains("does not exist"), "{done:?}");
}

#[test]
fn a_topic_is_created_and_its_offsets_are_shown() {
    let cluster = cluster();
    let create = ["topic", "create", "Bills", "--queues", "2", "--type", "fifo"];
    let done = ask(&cluster, &create);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(done.stdout.matches("created with 2 queues").count(), 2, "{done:?}");
    let sent = rmq(&["send", "--topic", "Bills", "--body", "x", "--count", "3"]);
    let mut sent = sent;
    sent.args(["--name-server", &cluster.name_server_addresses()]);
    assert_eq!(run(sent).status, Some(0));
    let done = ask(&cluster, &["offsets", "Bills"]);
    assert!(done.stdout.ends_with("3 messages in 4 queues\n"), "{done:?}");
    let done = ask(&cluster, &["offsets", "Bills", "--json"]);
    let lines = json(&done, &OFFSETS);
    let messages: i64 = lines.iter().map(|line| line["messages"].as_i64().unwrap()).sum();
    assert_eq!((lines.len(), messages), (4, 3));
    cluster.with(|cluster| cluster.kill(Node::Broker(1)));
    let done = ask(&cluster, &["offsets", "Bills", "--json"]);
    assert_eq!(done.status, Some(1));
    let lines = json(&done, &OFFSETS);
    assert_eq!(lines.iter().filter(|line| line["error"].is_null()).count(), 2);

    let done = ask(&cluster, &[&create[..], &["--json"]].concat());
    assert_eq!(done.status, Some(1), "one broker is dead");
    let lines = json(&done, &CREATED);
    assert_eq!(lines[0]["type"], "fifo");
    let created = |index: usize| lines[0]["brokers"][index]["created"].as_bool().unwrap();
    assert!(created(0) != created(1), "{lines:?}");
    assert_eq!(ask(&cluster, &["topic", "create", "x", "--queues", "0"]).status, Some(2));
    assert_eq!(ask(&cluster, &["topic", "create", "TBW102", "--queues", "1"]).status, Some(1));
}

#[test]
fn a_message_is_shown_by_both_of_its_ids() {
    let cluster = cluster();
    let arguments = ["--body", "look at me", "--tag", "t", "--keys", "k1 k2", "--json"];
    let sent = run(rmq_send(&cluster, &arguments)).line();
    for id in ["offset_message_id", "unique_key"] {
        let id = sent[id].as_str().unwrap();
        let done = ask(&cluster, &["view", TOPIC, id]);
        assert_eq!(done.status, Some(0), "{done:?}");
        assert!(done.stdout.contains("body, 10 B: look at me"), "{done:?}");
        let done = ask(&cluster, &["view", TOPIC, id, "--json"]);
        let keys: Vec<_> = MESSAGE.iter().copied().chain(["error"]).collect();
        let lines = json(&done, &keys);
        assert_eq!(lines[0]["body"], "look at me");
        assert_eq!(lines[0]["keys"], serde_json::json!(["k1", "k2"]));
        assert_eq!(lines[0]["queue"], sent["queue"]);
        assert_eq!(lines[0]["unique_key"], sent["unique_key"]);
    }
    let done = ask(&cluster, &["view", TOPIC, "no-such-key"]);
    assert_eq!(done.status, Some(1));
    assert!(done.stderr.contains("no such message"), "{done:?}");
}

#[test]
fn a_timer_message_is_recalled_once_it_may_be() {
    let brokers = ClusterConfig::new().brokers(1).topic(TOPIC, 2);
    for (config, status) in [(brokers.clone().recalls(true), 0), (brokers, 1)] {
        let cluster = LoopbackCluster::start(config).unwrap();
        let sent = run(rmq_send(&cluster, &["--body", "x", "--deliver-after", "1h", "--json"]));
        let sent = sent.line();
        let (handle, key) = (sent["recall_handle"].as_str().unwrap(), &sent["unique_key"]);
        let done = ask(&cluster, &["recall", TOPIC, handle]);
        assert_eq!(done.status, Some(status), "{done:?}");
        let done = ask(&cluster, &["recall", TOPIC, handle, "--json"]);
        assert_eq!(done.status, Some(status), "{done:?}");
        let lines = json(&done, &["topic", "handle", "recalled", "error"]);
        assert_eq!(lines[0]["handle"], handle);
        assert_eq!(lines[0]["recalled"], status == 0);
        let recalled = cluster.with(|cluster| cluster.recalled());
        if status == 0 {
            let told = ask(&cluster, &["recall", TOPIC, handle]).stdout;
            assert_eq!(told.trim(), format!("recalled {}", key.as_str().unwrap()));
            assert_eq!(recalled, [key.as_str().unwrap()]);
        } else {
            assert_eq!(lines[0]["error"]["kind"], "recall_disabled");
            assert!(recalled.is_empty());
        }
    }
}

#[test]
fn a_diagnosis_ends_with_1_if_something_is_broken() {
    let cluster = cluster();
    let done = ask(&cluster, &["diagnose", TOPIC]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("8 writable queues on 2 brokers"), "{done:?}");
    cluster.with(|cluster| cluster.kill(Node::Broker(0)));
    let done = ask(&cluster, &["diagnose", TOPIC, "--json"]);
    assert_eq!(done.status, Some(1), "{done:?}");
    let lines = json(&done, &FINDING);
    let problem = lines.iter().find(|line| line["severity"] == "problem").unwrap();
    assert_eq!((&problem["subject"], &problem["name"]), (&"broker".into(), &"broker-a".into()));
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(remedy.contains("--map"), "{remedy}");
}

/// What a broker does not tell is not claimed.
#[test]
fn a_diagnosis_tells_of_clocks_what_brokers_told() {
    const RUNTIME_INFO: i32 = 28;
    let ahead = ClusterConfig::new().topic(TOPIC, 4).broker_clock_ahead_ms(60_000);
    let cluster = LoopbackCluster::start(ahead).expect("loopback ports");
    let clocks = |extra: &[&str]| {
        let done = ask(&cluster, &[&["diagnose", TOPIC], extra].concat());
        assert_eq!(done.status, Some(0), "{done:?}");
        for word in ["credential", "access key", "secret"] {
            assert!(!done.stdout.contains(word), "no broker was asked: {done:?}");
        }
        let lines = done.stdout.lines().filter(|line| line.contains("clock"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let told = clocks(&[]);
    assert_eq!(told.len(), 1, "{told:?}");
    let seconds = ["its clock is 59 s ahead", "its clock is 60 s ahead"];
    assert!(seconds.iter().any(|words| told[0].contains(words)), "{told:?}");
    assert!(told[0].starts_with("warning ") && told[0].contains("NTP"), "{told:?}");
    cluster.with(|cluster| {
        let rule = Rule::code(RUNTIME_INFO).always();
        cluster.script(Node::Broker(0), rule, Fault::answer(16, "not for you"));
    });
    let told = clocks(&[]);
    assert!(told.len() == 1 && told[0].contains("not checked"), "{told:?}");
    assert!(!told[0].contains("ahead") && !told[0].contains("agrees"), "{told:?}");
}
