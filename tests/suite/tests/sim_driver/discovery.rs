//! The look-up of the name servers in virtual time: when it happens, and what its answers change.

use std::time::Duration;

use rocketmq_driver::{Config, ConfigBuilder, Event, Message, SendOptions, Severity};
use rocketmq_testkit::cluster::{ClusterConfig, Node};
use rocketmq_testkit::{Sim, SimHandle};

use crate::message;

const LOOKUP: Node = Node::NameServer(0);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn servers() -> ClusterConfig {
    ClusterConfig::new().name_servers(3).topic("Orders", 4)
}

fn config(cx: &SimHandle) -> ConfigBuilder {
    let address = cx.look(|cluster| cluster.address(LOOKUP));
    Config::builder("").name_server_url(&format!("http://{address}/list"))
}

fn address(cx: &SimHandle, index: usize) -> String {
    cx.look(|cluster| cluster.address(Node::NameServer(index)).to_string())
}

/// When the service was asked, in whole seconds.
fn asked(cx: &SimHandle) -> Vec<u64> {
    cx.look(|cluster| cluster.lookups().iter().map(|it| it.at_ns / 1_000_000_000).collect())
}

/// At the start, after 10 s, and then every 2 minutes, whatever the answers are.
#[test]
fn the_list_is_looked_up_at_the_start_after_ten_seconds_and_every_two_minutes() {
    Sim::new(1, servers()).run(async |cx| {
        let list = address(&cx, 1);
        cx.with(|cluster| cluster.answer_lookups(&list));
        let client = cx.start(config(&cx).build().unwrap());
        cx.sleep(seconds(260)).await;
        assert_eq!(asked(&cx), [0, 10, 130, 250]);
        // An empty answer, an unchanged one and none at all keep the list.
        let producer = client.producer("shop").unwrap();
        let answers = ["\r\n".to_owned(), list.clone(), "no list".into(), format!("{list};{list}")];
        for answer in answers {
            cx.with(|cluster| cluster.answer_lookups(&answer));
            cx.sleep(seconds(120)).await;
            producer.send(message("m")).await.expect("the list is there");
            assert_eq!(cx.look(|cluster| cluster.connections(Node::NameServer(1)).len()), 1);
        }
        assert_eq!(asked(&cx), [0, 10, 130, 250, 370, 490, 610, 730]);
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// Another list is used at once, and the one before no longer (P29).
#[test]
fn a_different_answer_replaces_the_list() {
    Sim::check_seeds(0..20, servers(), async |cx| {
        cx.rough_links();
        let lists = [address(&cx, 1), address(&cx, 2)];
        cx.with(|cluster| cluster.answer_lookups(&lists[0]));
        let client = cx.start(config(&cx).build().unwrap());
        let mut events = client.events();
        let producer = client.producer("shop").unwrap();
        producer.send(message("first")).await.expect("sent");
        cx.with(|cluster| cluster.answer_lookups(&lists[1]));
        cx.sleep(seconds(14)).await;
        assert_eq!(cx.look(|cluster| cluster.connections(Node::NameServer(1)).len()), 0);
        cx.with(|cluster| cluster.kill(Node::NameServer(1)));
        producer.send(Message::new("New", "m")).await.expect("the other one answers");
        assert!(cx.look(|cluster| cluster.route_queries(2, "New")) > 0);
        client.close(seconds(1)).await;
        let mut changes = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::NameServersChanged { addresses } = event {
                changes.push(addresses.join(";"));
            }
        }
        assert_eq!(changes, lists);
    });
}

/// As long as there is no list, a look-up that failed is repeated within seconds, and one that
/// hangs is given up after three.
#[test]
fn without_a_list_failed_look_ups_are_repeated_soon() {
    Sim::new(3, servers()).run(async |cx| {
        let producer = cx.start(config(&cx).build().unwrap()).producer("shop").unwrap();
        let refused = producer.send(message("lost")).await.expect_err("nobody answers");
        let text = refused.to_string();
        assert!(text.contains("looking up the name servers failed: no answer in time"), "{text}");
        cx.sleep(seconds(37)).await;
        let times = asked(&cx);
        // 3 s each, and one to two seconds between.
        assert!((8..=10).contains(&times.len()), "{times:?}");
        let connections = cx.look(|cluster| cluster.connections(LOOKUP).len());
        assert!(connections <= 1, "what was given up is closed");
        let list = address(&cx, 1);
        cx.with(|cluster| cluster.answer_lookups(&list));
        let options = SendOptions::new().with_timeout(seconds(10));
        producer.send_with(message("found"), options).await.expect("within its time");
        producer.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// Closing ends a look-up under way.
#[test]
fn close_ends_a_look_up() {
    Sim::new(4, servers()).run(async |cx| {
        let client = cx.start(config(&cx).build().unwrap());
        cx.sleep(seconds(1)).await;
        assert_eq!(cx.look(|cluster| cluster.connections(LOOKUP).len()), 1);
        client.close(seconds(1)).await;
        cx.sleep(seconds(1)).await;
        assert_eq!(cx.look(|cluster| cluster.connections(LOOKUP).len()), 0);
        cx.assert_nothing_left();
    });
}

/// An answer in any pieces, at any speed, ends in the same list or in a typed error.
#[test]
fn answers_come_in_any_pieces() {
    let chunked = |list: &str| {
        let (a, b) = list.split_at(list.len() / 2);
        let chunks = [a, b].map(|part| format!("{:x}\r\n{part}\r\n", part.len())).concat();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    Sim::check_seeds(0..40, servers(), async |cx| {
        cx.rough_links();
        let list = address(&cx, 1);
        let answer = match cx.seed() % 3 {
            0 => chunked(&list),
            1 => format!("HTTP/1.0 200 OK\r\n\r\n{list}"),
            _ => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}\n", list.len() + 1),
        };
        cx.with(|cluster| cluster.answer_lookups_with(answer));
        let producer = cx.start(config(&cx).build().unwrap()).producer("shop").unwrap();
        let receipt = producer.send(message("m")).await.expect("the list is read");
        cx.stored_once(receipt.unique_key);
        producer.close(seconds(1)).await;
    });
}

/// A connection to a VIP port hears no heartbeat: we close it before the broker would, and the
/// next message dials anew without anybody noticing (P38).
#[test]
fn a_vip_connection_is_closed_in_time_and_made_again_silently() {
    let servers = ClusterConfig::new().topic("Orders", 4).vip_ports(true);
    Sim::new(5, servers).run(async |cx| {
        let producer = cx.start(cx.config().vip_channel(true).build().unwrap());
        let producer = producer.producer("shop").unwrap();
        for _ in 0..3 {
            let receipt = producer.send(message("m")).await.expect("sent");
            assert!(receipt.failed_attempts.is_empty());
            // The first heartbeat makes the other connection.
            cx.sleep(seconds(2)).await;
            assert_eq!(cx.look(|cluster| cluster.connections(Node::Broker(0)).len()), 2);
            cx.sleep(seconds(57)).await;
            assert_eq!(cx.look(|cluster| cluster.connections(Node::Broker(0)).len()), 2);
            cx.sleep(seconds(5)).await;
            assert_eq!(cx.look(|cluster| cluster.connections(Node::Broker(0)).len()), 1);
        }
        let vip = cx.look(|cluster| cluster.frames().iter().filter(|it| it.vip).count());
        assert_eq!(vip, 3, "nothing but the messages");
        producer.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// A diagnosis looks at the servers that are in use, not at those of the settings.
#[test]
fn a_diagnosis_asks_the_name_servers_that_are_in_use() {
    Sim::new(1, servers()).run(async |cx| {
        let [old, new] = [1, 2].map(|index| address(&cx, index));
        let client = cx.start(Config::builder(&old).build().unwrap());
        client.set_name_servers(&new).unwrap();
        cx.with(|cluster| cluster.kill(Node::NameServer(1)));
        let text = client.diagnose(Some("Orders")).await.to_string();
        assert!(text.contains(&new) && !text.contains(&old), "{text}");

        // One that has just begun to look them up is waited for.
        cx.with(|cluster| cluster.answer_lookups(&new));
        let client = cx.start(config(&cx).build().unwrap());
        let diagnosis = client.diagnose(Some("Orders")).await;
        assert!(diagnosis.to_string().contains(&new), "{diagnosis}");
        assert_eq!(diagnosis.severity(), Severity::Ok, "{diagnosis}");
    });
}

/// Without a list a diagnosis says why there is none, and nothing of what it could not look at.
#[test]
fn a_diagnosis_says_that_the_look_up_fails() {
    Sim::new(1, servers()).run(async |cx| {
        cx.with(|cluster| cluster.answer_lookups_with("HTTP/1.1 404 Not Found\r\n\r\n"));
        let client = cx.start(config(&cx).build().unwrap());
        let diagnosis = client.diagnose(Some("Orders")).await;
        let problems = diagnosis.findings.iter().filter(|it| it.severity != Severity::Ok);
        let [problem] = &*problems.collect::<Vec<_>>() else { panic!("{diagnosis}") };
        let text = problem.to_string();
        assert!(text.contains("/list") && text.contains("status 404, not 200"), "{text}");
        assert!(text.contains("check name_server_url"), "{text}");
        assert!(!diagnosis.to_string().contains("Orders"), "{diagnosis}");
    });
}
