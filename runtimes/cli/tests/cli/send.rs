//! What is sent, and how.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rocketmq_testkit::cluster::{Fault, Node, TopicConfig};

use crate::common::{
    RUNTIMES, TOPIC, checked, cluster, rmq, rmq_send, run, run_with_input, script, single,
};

fn bodies(cluster: &rocketmq_testkit::LoopbackCluster) -> Vec<Vec<u8>> {
    cluster.with(|cluster| cluster.stored(TOPIC).into_iter().map(|stored| stored.body).collect())
}

#[test]
fn each_line_of_standard_input_is_a_message_sent_as_it_is() {
    let cluster = single();
    let done = run_with_input(rmq_send(&cluster, &["--json"]), b"one\n\ntwo\r\n\xff\xfe\n\nlast");
    assert_eq!(done.status, Some(0), "{done:?}");
    let mut bodies = bodies(&cluster);
    bodies.sort();
    let mut wanted = [&b"one"[..], b"two", b"\xff\xfe", b"last"];
    wanted.sort_unstable();
    assert_eq!(bodies, wanted);
    assert_eq!(done.lines().len(), 4);
    assert!(done.stderr.contains("line 2 is empty: skipped"), "{done:?}");
    assert!(done.stderr.contains("line 5 is empty: skipped"), "{done:?}");
}

#[test]
fn no_input_is_nothing_to_do() {
    let cluster = single();
    let done = run(rmq_send(&cluster, &[]));
    assert_eq!((done.status, &*done.stdout), (Some(0), ""), "{done:?}");
    assert!(done.stderr.contains("0 sends"), "{done:?}");
}

#[test]
fn a_line_beyond_what_can_be_sent_is_invalid_and_the_next_one_goes() {
    let cluster = single();
    let mut input = vec![b'x'; 5 << 20];
    input.extend_from_slice(b"\nnext\n");
    let done = run_with_input(rmq_send(&cluster, &["--json"]), &input);
    assert_eq!(done.status, Some(1), "{done:?}");
    let outcomes: Vec<_> = done.lines().into_iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["invalid", "acknowledged"]);
    assert_eq!(bodies(&cluster), [b"next"]);
}

#[test]
fn slow_input_does_not_hold_up_what_was_read() {
    let cluster = single();
    let mut child =
        rmq_send(&cluster, &["--json"]).stdin(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    for word in ["first", "second"] {
        // The next line is written only after the answer to this one is there.
        writeln!(stdin, "{word}").expect("the binary reads");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(checked(line.trim_end())["outcome"], "acknowledged");
    }
    drop(stdin);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn a_body_is_repeated_or_made_of_the_given_size() {
    let cluster = single();
    let done = run(rmq_send(&cluster, &["--body", "grüße", "--count", "3"]));
    assert_eq!((done.status, &*done.stdout), (Some(0), ""), "{done:?}");
    assert_eq!(bodies(&cluster), vec!["grüße".as_bytes(); 3]);
    assert!(done.stderr.contains("3 sends to topic \"Orders\""), "{done:?}");
    assert!(done.stderr.contains("latency: min "), "{done:?}");
    let done = run(rmq_send(&cluster, &["--size", "30"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(bodies(&cluster)[3], b"abcdefghijklmnopqrstuvwxyzabcd");
    assert!(done.stderr.contains("stored on broker \"broker-a\" queue"), "{done:?}");
}

#[test]
fn tag_keys_properties_and_group_arrive() {
    let cluster = single();
    let extra = ["--body=x", "--tag=eu", "--keys= a  b ", "--property=k=v=w", "--group=billing"];
    let done = run(rmq_send(&cluster, &extra));
    assert_eq!(done.status, Some(0), "{done:?}");
    let stored = cluster.with(|cluster| cluster.stored(TOPIC)).remove(0);
    assert_eq!((stored.tags.as_deref(), stored.keys.as_deref()), (Some("eu"), Some("a b")));
    assert_eq!(stored.properties.get("k"), Some("v=w"));
    assert_eq!(stored.group, "billing");
    run(rmq_send(&cluster, &["--body=x"]));
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC))[1].group, "rmq");
}

#[test]
fn a_given_queue_takes_all_messages() {
    let cluster = cluster();
    let done = run(rmq_send(&cluster, &["--json", "--body=x", "--count=6", "--queue=broker-b:3"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    for (offset, line) in done.lines().into_iter().enumerate() {
        assert_eq!((&line["broker"], &line["queue"]), (&"broker-b".into(), &3.into()));
        assert_eq!(line["offset"], offset);
    }
    let done = run(rmq_send(&cluster, &["--body=x", "--queue=nobody:0", "--timeout=500"]));
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("\"nobody\"") && done.stderr.contains("--queue"), "{done:?}");
}

#[test]
fn many_sends_are_open_at_once_on_every_runtime() {
    for runtime in RUNTIMES {
        let cluster = cluster();
        script(&cluster, Fault::delay(Duration::from_millis(50)));
        let begin = Instant::now();
        let extra = ["--size=64", "--count=400", "-k", "100", "--runtime", runtime];
        let done = run(rmq_send(&cluster, &extra));
        assert_eq!(done.status, Some(0), "{done:?}");
        // One after the other they would take 20 s.
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(bodies(&cluster).len(), 400);
        assert!(done.stderr.contains("acknowledged 400, failed 0"), "{done:?}");
    }
}

#[test]
fn one_at_a_time_is_the_default() {
    let cluster = single();
    script(&cluster, Fault::delay(Duration::from_millis(20)));
    let begin = Instant::now();
    let done = run(rmq_send(&cluster, &["--body=x", "--count=10"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
}

#[test]
fn a_rate_is_kept_however_many_may_be_open() {
    let cluster = single();
    let begin = Instant::now();
    let done = run(rmq_send(&cluster, &["--body=x", "--count=30", "--rate=50", "-k", "30"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    // The first goes at once, the last after 29 intervals of 20 ms.
    assert!(begin.elapsed() >= Duration::from_millis(580), "{:?}", begin.elapsed());
}

#[test]
fn headers_are_json_or_binary() {
    for (extra, binary) in [(&["--body=x"][..], 0), (&["--body=x", "--encoding=binary"], 1)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let base = ["send", "-n", &address, "--topic=Orders", "--timeout=200"];
        let mut child = rmq(&[&base, extra].concat()).spawn().expect("the binary runs");
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut head).expect("a frame");
        assert_eq!(head[4], binary, "the mark of the encoding");
        child.wait().expect("an end");
    }
    let cluster = single();
    let done = run(rmq_send(&cluster, &["--body=x", "--encoding=binary", "--count=5"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(bodies(&cluster).len(), 5);
}

#[test]
fn the_name_server_comes_from_the_environment_too() {
    let cluster = single();
    let mut command = rmq(&["send", "--topic", TOPIC, "--body", "x"]);
    command.env("NAMESRV_ADDR", cluster.name_server_addresses());
    assert_eq!(run(command).status, Some(0));
    let mut command = rmq_send(&cluster, &["--body", "x"]);
    command.env("NAMESRV_ADDR", "127.0.0.1:1");
    assert_eq!(run(command).status, Some(0), "the option wins");
}

#[test]
fn announced_addresses_are_mapped_to_reachable_ones() {
    let cluster = single();
    let reachable = cluster.address(Node::Broker(0)).to_string();
    let announced = "192.0.2.7:10911";
    cluster.with(|cluster| {
        cluster.announce(0, [(0, announced.to_owned())].into());
        cluster.set_topic(0, TOPIC, TopicConfig::new(4));
    });
    let rule = format!("{announced}={reachable}");
    let done = run(rmq_send(&cluster, &["--json", "--body=x", "--map", &rule]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(done.line()["attempts"][0]["address"], reachable);
}

#[test]
fn a_number_of_retries_is_kept() {
    let cluster = cluster();
    script(&cluster, Fault::answer(14, "no"));
    for retries in [0, 1] {
        let option = format!("--retries={retries}");
        let line = run(rmq_send(&cluster, &["--json", "--body=x", &option])).line();
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(retries + 1), "{line}");
    }
}
