//! Which queue a message goes to, and in which order, by what the brokers stored.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Fault, Node, Rule, Stored};

use crate::common::{TOPIC, cluster, rmq_send, run, run_with_input, script};

const A: &str = "broker-a";
const B: &str = "broker-b";

type Place = (String, i32);

fn place(stored: &Stored) -> Place {
    (stored.broker.clone(), stored.queue_id)
}

/// Where the messages of one run were stored, in the order of their numbers.
fn places(cluster: &LoopbackCluster, extra: &[&str]) -> Vec<Place> {
    let done = run(rmq_send(cluster, &[&["--json", "--body=x"], extra].concat()));
    assert_eq!(done.status, Some(0), "{done:?}");
    let key = |line: &serde_json::Value| line["unique_key"].as_str().expect("a key").to_owned();
    let keys: Vec<_> = done.lines().iter().map(key).collect();
    let find = |key: &String| cluster.with(|cluster| cluster.stored_by_key(key)).remove(0);
    keys.iter().map(find).map(|stored| place(&stored)).collect()
}

/// All queues, those of the first broker in front.
fn list(brokers: [&str; 2]) -> Vec<Place> {
    let queue = |number: usize| (String::from(brokers[number / 4]), (number % 4) as i32);
    (0..8).map(queue).collect()
}

/// `String#hashCode`, for ASCII.
fn java(key: &str) -> usize {
    let hash = key.bytes().fold(0_i32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
    (hash % 8).unsigned_abs() as usize
}

/// FNV-1a, 32 bits.
fn go(key: &str) -> usize {
    let hash =
        key.bytes().fold(2_166_136_261_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(16_777_619));
    (hash % 8) as usize
}

#[test]
fn hashes_go_by_the_first_key() {
    let cluster = cluster();
    for key in ["order-42", "foobar", "customer-7"] {
        let keys = format!("--keys={key} other");
        let places = |name: &str| places(&cluster, &["--count=3", &keys, name]);
        assert_eq!(places("--selector=java-hash"), vec![list([A, B])[java(key)].clone(); 3]);
        // Go takes the brokers of the name server's answer turned round.
        assert_eq!(places("--selector=go-hash"), vec![list([B, A])[go(key)].clone(); 3]);
        // Those that are ordered by a key go where the rendezvous of the key is.
        let order = format!("--order-by={key}");
        assert_eq!(places("--selector=rendezvous"), places(&order));
    }
}

#[test]
fn hashes_go_by_the_number_of_the_message_if_there_is_no_key() {
    let cluster = cluster();
    let numbers: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let java: Vec<_> = numbers.iter().map(|key| list([A, B])[java(key)].clone()).collect();
    assert_eq!(places(&cluster, &["--count=20", "--selector=java-hash"]), java);
    let go: Vec<_> = numbers.iter().map(|key| list([B, A])[go(key)].clone()).collect();
    assert_eq!(places(&cluster, &["--count=20", "--selector=go-hash"]), go);
    let by_rendezvous = |count: &str| places(&cluster, &[count, "--selector=rendezvous"]);
    let all = by_rendezvous("--count=40");
    assert!(all.iter().collect::<BTreeSet<_>>().len() > 4, "{all:?}");
    assert_eq!(all[..10], by_rendezvous("--count=10"));
    // A batch goes by its first message.
    let batches = places(&cluster, &["--count=20", "--batch=5", "--selector=java-hash"]);
    let first: Vec<_> = (0..20).map(|number| java[number / 5 * 5].clone()).collect();
    assert_eq!(batches, first);
}

#[test]
fn the_client_chooses_in_turn_or_by_chance() {
    let cluster = cluster();
    let brokers = |extra: &[&str]| {
        let places = places(&cluster, &[&["--count=40"], extra].concat());
        places.windows(2).filter(|pair| pair[0].0 != pair[1].0).count()
    };
    // Today's strategy goes from broker to broker, that of Java 5.0.0 and the plain one through the
    // list of queues.
    assert_eq!(brokers(&[]), 39);
    assert_eq!(brokers(&["--selector=round-robin", "--strategy=current"]), 39);
    assert_eq!(brokers(&["--latency-avoidance=on"]), 39);
    let listed = 9..=10;
    assert!(listed.contains(&brokers(&["--strategy=java-5.0.0"])));
    assert!(listed.contains(&brokers(&["--latency-avoidance=off"])));
    let chance = brokers(&["--selector=random"]);
    assert!((11..39).contains(&chance), "{chance}");
}

#[test]
fn brokers_that_fail_are_avoided_unless_that_is_off() {
    let failures = |extra: &[&str]| {
        let cluster = cluster();
        cluster.with(|cluster| {
            let refusal = Fault::answer(14, "not now");
            cluster.script(Node::Broker(0), Rule::sends().always(), refusal);
        });
        let base = ["--json", "--body=x", "--count=24", "--retries=0"];
        let done = run(rmq_send(&cluster, &[&base, extra].concat()));
        done.lines().iter().filter(|line| line["outcome"] == "refused").count()
    };
    assert_eq!(failures(&[]), 1);
    assert_eq!(failures(&["--strategy=java-5.0.0"]), 1);
    assert_eq!(failures(&["--latency-avoidance=off"]), 12);
    assert_eq!(failures(&["--strategy=java-5.0.0", "--latency-avoidance=off"]), 12);
}

#[test]
fn an_order_is_kept_however_many_may_be_in_flight() {
    let input: String = (0..60).map(|number| format!("{number}\n")).collect();
    let bodies: Vec<_> = (0..60).map(|number| number.to_string().into_bytes()).collect();
    for extra in [&["--order-by=k"][..], &["--order-by=k", "--batch=4"]] {
        let cluster = cluster();
        // One is refused at first, so that those behind it could overtake it.
        cluster.with(|cluster| {
            for node in [Node::Broker(0), Node::Broker(1)] {
                let refusal = Fault::answer(2, "busy");
                cluster.script(node, Rule::sends().nth(2), refusal);
            }
        });
        let extra = [&["--json", "-k", "16", "--timeout=8000"], extra].concat();
        let done = run_with_input(rmq_send(&cluster, &extra), input.as_bytes());
        assert_eq!(done.status, Some(0), "{done:?}");
        let stored = cluster.with(|cluster| cluster.stored(TOPIC));
        assert_eq!(stored.iter().map(place).collect::<BTreeSet<_>>().len(), 1);
        let found: Vec<_> = stored.into_iter().map(|stored| stored.body).collect();
        assert_eq!(found, bodies, "{extra:?}");
    }
}

#[test]
fn an_order_in_a_given_queue_is_kept_there() {
    let cluster = cluster();
    let extra = ["--count=6", "--order-by=k", "--queue=broker-b:2", "-k", "6"];
    assert_eq!(places(&cluster, &extra), vec![(String::from("broker-b"), 2); 6]);
}

#[test]
fn a_message_waits_fails_or_moves_while_its_broker_is_down() {
    let cluster = cluster();
    let home = places(&cluster, &["--order-by=k"]).remove(0);
    let index = usize::from(home.0 == "broker-b");
    cluster.with(|cluster| cluster.refuse(Node::Broker(index)));
    let send = |extra: &[&str]| {
        let base = ["--json", "--body=x", "--order-by=k", "--timeout=1500"];
        let done = run(rmq_send(&cluster, &[&base, extra].concat()));
        let line = done.line();
        (done.status, line["elapsed_ms"].as_f64().expect("a time"), line)
    };
    for extra in [&[][..], &["--when-down=wait"]] {
        let (status, time, line) = send(extra);
        assert_eq!((status, &line["outcome"]), (Some(1), &"not_sent".into()), "{line}");
        assert!(time >= 1_400.0, "{line}");
    }
    let (status, time, line) = send(&["--when-down=fail"]);
    assert_eq!((status, &line["outcome"]), (Some(1), &"not_sent".into()), "{line}");
    assert!(time < 1_000.0, "{line}");
    let (status, _, line) = send(&["--when-down=move"]);
    assert_eq!(status, Some(0), "{line}");
    assert_ne!(line["broker"], home.0);
    let queue = format!("--queue={}:{}", home.0, home.1);
    let line = run(rmq_send(&cluster, &["--json", "--body=x", &queue, "--when-down=move"])).line();
    assert!(line["outcome"] == "acknowledged" && line["broker"] != home.0, "{line}");
}

#[test]
fn a_message_that_waits_is_sent_when_its_broker_is_back() {
    let cluster = cluster();
    let home = places(&cluster, &["--order-by=k"]).remove(0);
    let node = Node::Broker(usize::from(home.0 == "broker-b"));
    cluster.with(|cluster| cluster.refuse(node));
    script(&cluster, Fault::none());
    let extra = ["--json", "--body=x", "--order-by=k", "--timeout=20000"];
    let child = rmq_send(&cluster, &extra).spawn().expect("the binary runs");
    std::thread::sleep(Duration::from_millis(500));
    cluster.with(|cluster| cluster.accept(node));
    let done = crate::common::Done::from(child.wait_with_output().expect("an end"));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(done.line()["broker"], home.0);
}
