//! Every outcome, as `--json` and as words for people, with its exit status.

use std::time::{Duration, Instant};

use rocketmq_testkit::cluster::{Fault, Node};

use crate::common::{Done, RUNTIMES, cluster, rmq, rmq_send, run, script, single};

const QUICK: [&str; 5] = ["--json", "--body", "x", "--timeout", "800"];

#[test]
fn an_acknowledgement_tells_where_the_message_is_on_every_runtime() {
    let cluster = cluster();
    for (round, runtime) in RUNTIMES.iter().enumerate() {
        let done = run(rmq_send(&cluster, &["--json", "--body", "hello", "--runtime", runtime]));
        assert_eq!(done.status, Some(0), "{done:?}");
        let line = done.line();
        let stored =
            cluster.with(|cluster| cluster.stored_by_key(line["unique_key"].as_str()?).pop());
        let stored = stored.expect("a copy under the key of the line");
        assert_eq!(line["outcome"], "acknowledged");
        assert_eq!((&line["status"], &line["code"]), (&"SEND_OK".into(), &0.into()));
        assert_eq!(line["topic"], "Orders");
        assert_eq!(line["broker"], stored.broker);
        assert_eq!(line["queue"], stored.queue_id);
        assert_eq!(line["offset"], stored.queue_offset);
        assert_eq!(line["offset_message_id"].as_str().map(str::len), Some(32));
        assert!(line["kind"].is_null());
        let attempts = line["attempts"].as_array().expect("a list");
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0]["stage"], "answered");
        assert_eq!(attempts[0]["code"], 0);
        assert_eq!(attempts[0]["queue"], stored.queue_id);
        assert_eq!(stored.body, b"hello");
        assert_eq!(cluster.with(|cluster| cluster.stored("Orders").len()), round + 1);
    }
}

#[test]
fn weak_acknowledgements_are_acknowledgements() {
    for (code, status) in
        [(10, "FLUSH_DISK_TIMEOUT"), (11, "SLAVE_NOT_AVAILABLE"), (12, "FLUSH_SLAVE_TIMEOUT")]
    {
        let cluster = single();
        script(&cluster, Fault::weak_acknowledgement(code));
        let done = run(rmq_send(&cluster, &QUICK));
        assert_eq!(done.status, Some(0), "{done:?}");
        let line = done.line();
        assert_eq!(
            (&line["outcome"], &line["status"]),
            (&"acknowledged_weak".into(), &status.into())
        );
        assert_eq!((&line["code"], &line["attempts"][0]["code"]), (&code.into(), &code.into()));
        assert!(done.stderr.contains("1 weakly"), "{done:?}");
    }
}

#[test]
fn a_success_without_receipt_is_stored_at_an_unknown_place() {
    let cluster = single();
    script(&cluster, Fault::without_receipt());
    let done = run(rmq_send(&cluster, &QUICK));
    assert_eq!(done.status, Some(0), "{done:?}");
    let line = done.line();
    assert_eq!(line["outcome"], "acknowledged_no_receipt");
    assert_eq!(line["broker"], "broker-a");
    assert!(line["queue"].is_null() && line["offset"].is_null());
    assert!(line["offset_message_id"].is_null());
}

#[test]
fn a_oneway_message_is_sent_and_no_more() {
    let cluster = single();
    let done = run(rmq_send(&cluster, &["--oneway", "--json", "--body", "x", "--count", "5"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    for line in done.lines() {
        assert_eq!((&line["outcome"], &line["broker"]), (&"sent".into(), &"broker-a".into()));
        assert!(line["status"].is_null() && line["offset"].is_null() && line["code"].is_null());
        assert_eq!(line["attempts"][0]["stage"], "await");
        assert_eq!(line["attempts"][0]["queue"], line["queue"]);
    }
    let all =
        |cluster: &mut rocketmq_testkit::cluster::Cluster| cluster.stored("Orders").len() == 5;
    assert!(cluster.wait_until(Duration::from_secs(5), all));
    assert!(done.stderr.contains("sent oneway 5"), "{done:?}");
}

#[test]
fn a_refusal_comes_with_every_attempt() {
    let cluster = cluster();
    script(&cluster, Fault::answer(14, "not now"));
    let done = run(rmq_send(&cluster, &QUICK));
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = done.line();
    assert_eq!((&line["outcome"], &line["kind"]), (&"refused".into(), &"broker".into()));
    assert_eq!(line["code"], 14);
    assert!(line["status"].is_null() && line["broker"].is_null() && line["offset"].is_null());
    let attempts = line["attempts"].as_array().expect("a list");
    assert!(attempts.len() >= 2, "{line}");
    for attempt in attempts {
        assert_eq!((&attempt["code"], &attempt["remark"]), (&14.into(), &"not now".into()));
        assert_eq!(attempt["stage"], "answered");
    }
    assert_ne!(attempts[0]["broker"], attempts[1]["broker"]);
}

#[test]
fn a_lost_answer_leaves_the_fate_unknown() {
    let cluster = single();
    script(&cluster, Fault::silent_after_storing());
    let done =
        run(rmq_send(&cluster, &["--json", "--body", "x", "--timeout", "300", "--retries=0"]));
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = done.line();
    assert_eq!((&line["outcome"], &line["kind"]), (&"unknown".into(), &"timeout".into()));
    assert_eq!(line["attempts"][0]["stage"], "await");
    assert!(line["attempts"][0]["code"].is_null());
    assert!(line["elapsed_ms"].as_f64() >= Some(290.0), "{line}");
    let key = line["unique_key"].as_str().expect("a key").to_owned();
    assert_eq!(cluster.with(|cluster| cluster.stored_by_key(&key).len()), 1);
}

#[test]
fn without_a_connection_nothing_is_sent() {
    let cluster = single();
    cluster.with(|cluster| cluster.refuse(Node::Broker(0)));
    let done = run(rmq_send(&cluster, &QUICK));
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = done.line();
    assert_eq!(line["outcome"], "not_sent");
    assert_eq!(line["attempts"][0]["stage"], "connect");
    let address = cluster.address(Node::Broker(0)).to_string();
    assert_eq!(line["attempts"][0]["address"], address);
    assert!(line["attempts"][0]["remark"].as_str().is_some_and(|text| text.contains("refused")));
}

#[test]
fn what_cannot_be_sent_is_invalid_and_reaches_nobody() {
    let cluster = single();
    for content in [&["--body", ""][..], &["--size", "0"], &["--size", "5000000"]] {
        let done = run(rmq_send(&cluster, &[&["--json"], content].concat()));
        assert_eq!(done.status, Some(1), "{done:?}");
        let line = done.line();
        assert_eq!((&line["outcome"], &line["kind"]), (&"invalid".into(), &"invalid".into()));
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(0));
    }
    let done = run(rmq_send(&cluster, &["--json", "--body", "x", "--property", "KEYS=a"]));
    assert_eq!(done.line()["outcome"], "invalid");
    assert_eq!(cluster.with(|cluster| cluster.stored_all().count()), 0);
}

#[test]
fn a_message_that_was_retried_tells_both_attempts() {
    let cluster = cluster();
    cluster.with(|cluster| cluster.refuse(Node::Broker(0)));
    let done = run(rmq_send(&cluster, &["--json", "--body", "x", "--count", "4"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    let lines = done.lines();
    let retried = lines.iter().find(|line| line["attempts"][1].is_object()).expect("a retry");
    assert_eq!(retried["outcome"], "acknowledged");
    assert_eq!(retried["attempts"][0]["broker"], "broker-a");
    assert_eq!(retried["attempts"][0]["stage"], "connect");
    assert_eq!(retried["attempts"][1]["broker"], "broker-b");
    assert_eq!(retried["attempts"][1]["stage"], "answered");
    assert!(done.stderr.contains("after a retry"), "{done:?}");
}

#[test]
fn a_wrong_name_server_is_named_with_what_to_do() {
    // The cluster keeps the port for itself while nobody listens there.
    let cluster = single();
    cluster.with(|cluster| cluster.refuse(Node::NameServer(0)));
    let address = cluster.name_server_addresses();
    let send = |extra: &[&str]| {
        let base = ["send", "-n", &address, "--topic", "Orders", "--body", "x", "--timeout", "500"];
        run(rmq(&[&base, extra].concat()))
    };
    let done = send(&[]);
    assert_eq!(done.status, Some(1), "{done:?}");
    for words in [&*address, "refused", "--name-server", "9876", "was not sent"] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    assert_eq!(done.stdout, "");
    let line = send(&["--json"]).line();
    assert_eq!(line["kind"], "name_server_unreachable");
    assert_eq!(line["outcome"], "not_sent");
    let asked = &line["attempts"][0];
    assert_eq!((&asked["stage"], &asked["address"]), (&"select".into(), &address.as_str().into()));
    assert!(asked["broker"].is_null() && asked["queue"].is_null() && asked["code"].is_null());
    assert!(asked["remark"].as_str().is_some_and(|remark| remark.contains("refused")), "{asked}");
}

#[test]
fn a_missing_topic_is_named_with_what_to_do() {
    let cluster = single();
    let addresses = cluster.name_server_addresses();
    let send = |extra: &[&str]| {
        let base = ["send", "-n", &addresses, "--topic", "Nowhere", "--body", "x"];
        run(rmq(&[&base, extra].concat()))
    };
    let done = send(&[]);
    assert_eq!(done.status, Some(1), "{done:?}");
    for words in ["\"Nowhere\"", "does not exist", "create"] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    let line = send(&["--json"]).line();
    assert_eq!((&line["kind"], &line["outcome"]), (&"topic_not_found".into(), &"not_sent".into()));
}

#[test]
fn words_of_a_peer_cannot_steer_the_terminal() {
    let cluster = single();
    let remark = format!("\u{1b}]0;owned\u{7}\u{9b}31m\nsecond line {}", "x".repeat(20_000));
    script(&cluster, Fault::answer(13, remark));
    let done = run(rmq_send(&cluster, &["--body", "x"]));
    assert_eq!(done.status, Some(1), "{done:?}");
    let escape = |c: char| c.is_control() && c != '\n';
    assert!(!done.stderr.contains(escape), "{}", done.stderr);
    assert!(done.stderr.contains(" ]0;owned "), "{}", done.stderr);
    assert!(!done.stderr.lines().any(|line| line.starts_with("second")), "{}", done.stderr);
    // The remark is told once as the reason and once with its attempt.
    assert!(done.stderr.len() < 10_000, "{}", done.stderr.len());
    let line = run(rmq_send(&cluster, &QUICK)).line();
    let told = line["attempts"][0]["remark"].as_str().expect("a remark");
    assert!(told.len() <= 4096 && told.starts_with(" ]0;owned"), "{told}");
}

#[test]
fn a_failure_is_one_line_for_people() {
    let cluster = cluster();
    script(&cluster, Fault::answer(2, "too busy"));
    let done = run(rmq_send(&cluster, &["--body", "x", "--timeout", "500"]));
    assert_eq!((done.status, &*done.stdout), (Some(1), ""), "{done:?}");
    let lines: Vec<_> = done.stderr.lines().collect();
    for words in ["SYSTEM_BUSY (2): too busy", "attempt 1: broker \"broker-", "attempt 2", "--rate"]
    {
        assert!(lines[0].contains(words), "{words}: {}", lines[0]);
    }
    assert!(lines[1].starts_with("1 send to topic \"Orders\" in "), "{done:?}");
    assert_eq!(lines[2], "  acknowledged 0, failed 1 (1 refused)");
}

#[test]
fn what_the_command_line_cannot_mean_is_status_2() {
    let cluster = single();
    for extra in [
        &["--group", "a b", "--body", "x"][..],
        &["--count", "2"],
        &["--body", "x", "--size", "1"],
        &["--bogus"],
    ] {
        let done = run(rmq_send(&cluster, extra));
        assert_eq!((done.status, &*done.stdout), (Some(2), ""), "{done:?}");
        assert!(done.stderr.starts_with("error: "), "{done:?}");
    }
    let done = run(rmq(&["send", "--topic", "Orders", "--body", "x"]));
    assert_eq!(done.status, Some(2), "no name server: {done:?}");
    assert!(done.stderr.contains("--name-server"), "{done:?}");
    assert_eq!(cluster.with(|cluster| cluster.stored_all().count()), 0);
}

#[test]
fn a_line_is_printed_as_soon_as_its_send_has_ended() {
    use std::io::BufRead;

    let cluster = single();
    let begin = Instant::now();
    let mut child = rmq_send(&cluster, &["--json", "--body=x", "--count=2", "--rate=0.5"])
        .spawn()
        .expect("the binary runs");
    let mut first = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut first).expect("a line");
    let at_first = begin.elapsed();
    let mut second = String::new();
    stdout.read_line(&mut second).expect("a line");
    let between = begin.elapsed() - at_first;
    assert!(between >= Duration::from_millis(1_000), "{between:?}");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(Done::from(output).status, Some(0));
}
