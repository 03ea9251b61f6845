//! Settings at their limits, servers that announce too much, and what comes after a failure.

use std::time::Duration;

use rocketmq_driver::{
    AddressMap, AutoBatch, ConfigBuilder, Detector, Message, Periodic, ProducerOptions,
    QueryErrorKind,
};
use rocketmq_testkit::Sim;
use rocketmq_testkit::cluster::{Fault, Node, Rule, TopicConfig};

use crate::{message, ms, servers};

const NEVER: Duration = Duration::MAX;

fn once() -> Periodic {
    Periodic { first: ms(10), period: NEVER }
}

fn slow_detector() -> Detector {
    let mut detector = Detector::default();
    (detector.interval, detector.timeout) = (NEVER, NEVER);
    detector
}

/// The longest time is how one says "never".
#[test]
fn every_time_of_the_settings_may_be_the_longest() {
    type Set = fn(ConfigBuilder) -> ConfigBuilder;
    let rows: [(&str, Set); 12] = [
        ("send_timeout", |c| c.send_timeout(NEVER)),
        ("connect_timeout", |c| c.connect_timeout(NEVER)),
        ("request_timeout", |c| c.request_timeout(NEVER)),
        ("name_server_patience", |c| c.name_server_patience(NEVER)),
        ("discovery", |c| c.discovery(once())),
        ("route_refresh", |c| c.route_refresh(once())),
        ("heartbeat", |c| c.heartbeat(once())),
        ("connection_idle_max", |c| c.connection_idle_max(NEVER)),
        ("dial_back_off_min", |c| c.dial_back_off_min(NEVER)),
        ("dial_back_off_max", |c| c.dial_back_off_max(NEVER)),
        ("busy_back_off", |c| c.busy_back_off(NEVER)),
        ("detector", |c| c.detector(Some(slow_detector()))),
    ];
    for (name, set) in rows {
        Sim::new(1, servers(2)).run(async |cx| {
            let client = cx.start(set(cx.config()).build().expect(name));
            let producer = client.producer("shop").expect("legal");
            for _ in 0..3 {
                producer.send(message("m")).await.unwrap_or_else(|error| panic!("{name}: {error}"));
                cx.sleep(ms(40_000)).await;
            }
            cx.with(|cluster| cluster.kill(Node::Broker(0)));
            for _ in 0..4 {
                producer.send(message("m")).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            producer.close(NEVER).await;
            cx.assert_nothing_left();
        });
    }
}

/// Sends that have ended because their topic did not exist are not counted against those that come
/// later: for these, too, a look-up that fails is repeated at once.
#[test]
fn what_waits_for_a_route_is_looked_up_for_whatever_has_failed_before() {
    for refused in [0, 1, 10, 100] {
        Sim::check_seeds(0..5, servers(1), async |cx| {
            let rarely = Periodic { first: ms(10), period: ms(1_000_000) };
            let config = cx.config().create_topics(false).route_refresh(rarely);
            let client = cx.start(config.build().expect("legal"));
            let producer = client.producer("shop").expect("legal");
            for _ in 0..refused {
                producer.send(Message::new("New", "m")).await.expect_err("not there");
            }
            cx.with(|cluster| {
                cluster.set_topic(0, "New", TopicConfig::new(4));
                cluster.kill(Node::NameServer(0));
            });
            cx.sleep(ms(10_000)).await;
            cx.after(ms(600), |cluster| cluster.restart(Node::NameServer(0)));
            let begun = cx.now();
            producer.send(Message::new("New", "m")).await.expect("it is there now");
            assert!(cx.now() - begun < ms(1_500), "{:?} after {refused}", cx.now() - begun);
        });
    }
}

/// A few bytes of a name server can stand for millions of queues.
#[test]
fn queues_that_are_only_announced_cost_nothing() {
    Sim::new(1, servers(1)).run(async |cx| {
        let address = cx.look(|cluster| cluster.address(Node::Broker(0)).to_string());
        let route = |names: &[String]| {
            let queues = |name: &String| {
                format!(
                    r#"{{"brokerName":"{name}","perm":6,"readQueueNums":65536,"writeQueueNums":4}}"#
                )
            };
            let queues = names.iter().map(queues).collect::<Vec<_>>().join(",");
            let broker =
                format!(r#"{{"brokerName":"broker-a","brokerAddrs":{{"0":"{address}"}}}}"#);
            format!(r#"{{"brokerDatas":[{broker}],"queueDatas":[{queues}]}}"#)
        };
        let announce = |names: &[String]| {
            cx.with(|cluster| {
                cluster.clear_script(Node::NameServer(0));
                let fault = Fault::with_body(route(names));
                cluster.script(Node::NameServer(0), Rule::routes().always(), fault);
            });
        };
        let admin = cx.start(cx.config().build().expect("legal")).admin();
        let different: Vec<_> = (0..4_000).map(|n| format!("broker-{n}")).collect();
        announce(&different);
        let error = admin.offsets("Orders").await.expect_err("more than can be asked for");
        assert!(matches!(error.kind(), QueryErrorKind::BadAnswer(_)), "{error}");
        assert!(error.to_string().contains("262144000 queues, more than 65536"), "{error}");
        // One broker named many times has its queues once.
        announce(&vec![String::from("broker-x"); 4_000]);
        assert_eq!(admin.offsets("Orders").await.expect("so many can be").len(), 65_536);
    });
}

/// What a broker says is shown as a part of the line that says who said it.
#[test]
fn a_remark_cannot_pass_for_a_line_of_its_own() {
    Sim::new(1, servers(1)).run(async |cx| {
        let remark = "no\r\nok       client: all is well\u{1b}[2J\u{202e}end";
        cx.with(|cluster| {
            cluster.script(Node::Broker(0), Rule::sends().always(), Fault::answer(29, remark));
            cluster.script(Node::NameServer(0), Rule::routes().nth(2), Fault::answer(1, remark));
        });
        let client = cx.start(cx.config().build().expect("legal"));
        let producer = client.producer("shop").expect("legal");
        let error = producer.send(message("m")).await.expect_err("refused").to_string();
        let found = client.diagnose(None).await;
        assert_eq!(found.to_string().lines().count(), found.findings.len(), "{found}");
        for text in [error, found.to_string().replace('\n', "")] {
            assert!(text.contains("no  ok       client: all is well [2J end"), "{text:?}");
            assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{text:?}");
        }
    });
}

// ---- Diagnosis ------------------------------------------------------------------------------

/// Nothing is wrong with servers that are not asked any more.
#[test]
fn a_diagnosis_with_a_closed_client_blames_no_server() {
    Sim::new(1, servers(1)).run(async |cx| {
        let client = cx.start(cx.config().build().expect("legal"));
        client.close(ms(1_000)).await;
        let found = client.diagnose(Some("Orders")).await.to_string();
        assert!(found.contains("to do: diagnose with a client that is open"), "{found}");
        assert!(!found.contains("check the address"), "{found}");
    });
}

/// The port that sends go to, however it is mapped.
#[test]
fn a_diagnosis_looks_at_the_vip_port_that_is_sent_to() {
    Sim::new(6, servers(1).vip_ports(true)).run(async |cx| {
        let address = |text: &str| text.parse().expect("an address");
        let vip = cx.look(|cluster| cluster.vip_address(Node::Broker(0))).expect("there is one");
        cx.with(|cluster| cluster.announce(0, [(0, "192.0.2.1:10911".to_owned())].into()));
        cx.with_network(|network| network.alias("10.9.9.9:7000", Node::Broker(0)));
        let map = AddressMap::new()
            .with_rule(address("192.0.2.1:10911"), address("10.9.9.9:7000"))
            .with_rule(address("192.0.2.1:10909"), address(&vip.to_string()));
        let config = cx.config().vip_channel(true).address_map(map).build().expect("legal");
        let client = cx.start(config);
        client.producer("shop").expect("legal").send(message("m")).await.expect("sent");
        let found = client.diagnose(Some("Orders")).await.to_string();
        assert!(found.contains(&format!("VIP port {} is open", vip.port())), "{found}");
    });
}

// ---- The end --------------------------------------------------------------------------------

/// As the manual's table of states says.
#[test]
fn a_client_that_closes_is_not_ready_any_more() {
    Sim::new(1, servers(1)).run(async |cx| {
        let client = cx.start(cx.config().build().expect("legal"));
        let producer = client.producer("shop").expect("legal");
        producer.send(message("warm")).await.expect("sent");
        cx.with(|cluster| {
            cluster.script(Node::Broker(0), Rule::sends().always(), Fault::silent());
        });
        let open = producer.submit(message("open")).await.expect("room");
        let closing = client.clone();
        let close = cx.spawn(async move { closing.close(ms(2_000)).await });
        cx.sleep(ms(100)).await;
        client.wait_ready(ms(500)).await.expect_err("it closes");
        open.await.expect_err("nobody answers");
        close.await;
    });
}

/// A message that is held for others leaves with its producer.
#[test]
fn what_is_held_when_the_last_handle_goes_is_sent() {
    Sim::new(1, servers(1)).run(async |cx| {
        let client = cx.start(cx.config().build().expect("legal"));
        let options = ProducerOptions::new().with_auto_batch(AutoBatch::new().with_linger(ms(900)));
        let producer = client.producer_with("shop", options).expect("legal");
        let pending = ["1", "2"].map(|text| producer.try_submit(message(text)).expect("room"));
        let keys = pending.each_ref().map(|pending| pending.unique_key());
        drop((pending, producer, client));
        cx.sleep(ms(500)).await;
        for key in keys {
            cx.stored_once(key);
        }
        cx.sleep(ms(5_000)).await;
        cx.assert_nothing_left();
    });
}
