//! What things are called on the wire, and to which port they go.

use std::net::{IpAddr, Ipv4Addr};

use rocketmq_driver::{ConfigBuilder, Encoding, GroupError, Message, SendErrorKind};
use rocketmq_testkit::cluster::{ClusterConfig, FrameRecord};
use rocketmq_testkit::wire::request_code;

use super::scene::*;
use super::{Harness, Servers};

const SEND: i32 = request_code::SEND_MESSAGE_V2;

fn frames(cluster: &impl Servers) -> Vec<FrameRecord> {
    cluster.with(|cluster| cluster.frames().to_vec())
}

/// The ids and groups of all heartbeats of the first broker.
fn greetings(cluster: &impl Servers) -> Vec<(String, Vec<String>)> {
    cluster.with(|cluster| {
        let heartbeats = cluster.heartbeats(0).iter().map(|record| &record.heartbeat);
        heartbeats.map(|it| (it.client_id.clone(), it.producer_groups.clone())).collect()
    })
}

/// Brokers and name servers see names with their namespace; the user never does.
pub async fn a_namespace_is_on_the_wire_and_nowhere_else<H: Harness>(on: &H) {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let cluster = on.cluster(ClusterConfig::new().topic("shop%Orders", 4));
        let config = config(&cluster).namespace("shop").encoding(encoding).create_topics(false);
        let client = on.start(build(config.route_refresh(RARELY)));
        let producer = of(&client);
        assert_eq!(producer.group(), "orders");
        let receipt = promptly(on, "the send", producer.send(message("m"))).await.expect("sent");
        assert_eq!(receipt.topic, "Orders");
        let wrapped = promptly(on, "the send", producer.send(Message::new("shop%Orders", "w")));
        assert_eq!(wrapped.await.expect("it is wrapped once").topic, "shop%Orders");
        let stored = cluster.with(|cluster| cluster.stored("shop%Orders"));
        assert_eq!(stored.len(), 2);
        for stored in stored {
            assert_eq!(stored.group, "shop%orders");
            assert_eq!(stored.properties.get("INSTANCE_ID"), Some("shop"));
        }
        until(on, "a heartbeat", || !greetings(&cluster).is_empty()).await;
        assert_eq!(greetings(&cluster)[0].1, ["shop%orders"]);
        // Errors speak of the topic that was given, and so do the reasons in them.
        let lost = promptly(on, "the send", producer.send(Message::new("Nowhere", "m"))).await;
        let error = lost.expect_err("there is no such topic");
        assert_eq!((error.kind(), error.topic()), (&SendErrorKind::TopicNotFound, "Nowhere"));
        assert!(!error.to_string().contains("shop%"), "{error}");
        assert_eq!(cluster.with(|cluster| cluster.route_queries(0, "shop%Nowhere")), 1);
        // Two spellings of one group.
        for name in ["orders", "shop%orders"] {
            let twice = client.producer(name).err();
            assert_eq!(twice, Some(GroupError::Duplicate(name.into())));
        }
        let long = client.producer(&"x".repeat(116)).err();
        assert!(matches!(long, Some(GroupError::TooLongInNamespace(_))), "{long:?}");
        promptly(on, "close", client.close(PROMPT)).await;
        let left = cluster.with(|cluster| cluster.unregistrations(0).to_vec());
        assert!(left.iter().all(|it| it.producer_group.as_deref() == Some("shop%orders")));
        assert!(!left.is_empty());
    }
}

/// The topics of the system are those of everybody.
pub async fn a_namespace_leaves_the_default_topic_alone<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster).namespace("shop").route_refresh(RARELY));
    let sent = promptly(on, "the send", producer.send(Message::new("New", "m"))).await;
    assert_eq!(sent.expect("it is made from the default topic").topic, "New");
    assert_eq!(cluster.with(|cluster| cluster.stored("shop%New").len()), 1);
    assert_eq!(cluster.with(|cluster| cluster.route_queries(0, "TBW102")), 1);
}

/// Two fields in every request, whatever it is for; names stay.
pub async fn a_namespace_of_the_second_version_is_in_every_request<H: Harness>(on: &H) {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let cluster = cluster(on, 2);
        let config = config(&cluster).namespace_v2("shop").encoding(encoding);
        let producer = producer(on, config);
        fence(on, &producer).await;
        promptly(on, "a oneway send", producer.send_oneway(message("o"))).await.expect("sent");
        until(on, "a heartbeat", || !greetings(&cluster).is_empty()).await;
        promptly(on, "close", producer.close(PROMPT)).await;
        let frames = frames(&cluster);
        let codes = [SEND, 105, request_code::HEART_BEAT, request_code::UNREGISTER_CLIENT];
        assert!(codes.iter().all(|code| frames.iter().any(|frame| frame.code == *code)));
        for frame in frames {
            assert_eq!(frame.ext.get("nsd"), Some("true"), "{frame:?}");
            assert_eq!(frame.ext.get("ns"), Some("shop"), "{frame:?}");
            assert_eq!(frame.ext.get("topic").unwrap_or("Orders"), "Orders");
        }
        assert_eq!(greetings(&cluster)[0].1, ["orders"]);
        assert_eq!(bodies(&cluster).len(), 2);
    }
}

/// Only messages.
pub async fn messages_go_to_the_vip_port_and_all_else_does_not<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().vip_ports(true));
    let producer = producer(on, config(&cluster).vip_channel(true));
    for number in 0..3 {
        let receipt = promptly(on, "the send", producer.send(message(number))).await.expect("sent");
        let vip = cluster.with(|cluster| cluster.vip_address(A)).expect("there is one");
        assert_eq!(*receipt.address, *vip.to_string());
    }
    let beats = || frames(&cluster).iter().any(|it| it.code == request_code::HEART_BEAT);
    until(on, "a heartbeat", beats).await;
    promptly(on, "close", producer.close(PROMPT)).await;
    let frames = frames(&cluster);
    assert!(frames.iter().all(|frame| frame.vip == (frame.code == SEND)), "{frames:?}");
    assert!(frames.iter().any(|frame| frame.code == request_code::UNREGISTER_CLIENT));
}

/// Address, instance and unit, or whatever the settings say.
pub async fn brokers_know_the_client_by_its_id<H: Harness>(on: &H) {
    async fn id<H: Harness>(on: &H, set: impl Fn(ConfigBuilder) -> ConfigBuilder) -> String {
        let cluster = cluster(on, 1);
        let producer = producer(on, set(config(&cluster)));
        fence(on, &producer).await;
        until(on, "a heartbeat", || !greetings(&cluster).is_empty()).await;
        let unit = frames(&cluster).iter().find(|it| it.code == SEND).map(|it| it.ext.clone());
        let mode = unit.expect("a send").get("k").map(str::to_owned);
        let greetings = greetings(&cluster);
        assert_eq!(greetings[0].0, *producer.client().config().client_id);
        assert!(greetings.iter().all(|greeting| greeting == &greetings[0]));
        format!("{} {}", greetings[0].0, mode.unwrap_or_default())
    }
    let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    let unit = |c: ConfigBuilder| c.client_ip(ip).instance_name("till").unit_name("east");
    assert_eq!(id(on, unit).await, "192.0.2.9@till@east false");
    let mode = |c: ConfigBuilder| unit(c).client_id("mine").unit_mode(true);
    assert_eq!(id(on, mode).await, "mine true");
    let own = id(on, |c| c).await;
    assert!(own != id(on, |c| c).await, "every client has one of its own: {own}");
}

/// Brokers hear of a group before it sends, if a topic is named (P47).
pub async fn a_named_topic_makes_brokers_know_the_group<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let client = on.start(build(config(&cluster).topic(TOPIC)));
    let (first, second) = (of(&client), client.producer("refunds").expect("free"));
    let both = |broker: usize| {
        cluster.with(|cluster| {
            let mut heartbeats = cluster.heartbeats(broker).iter();
            heartbeats.any(|it| it.heartbeat.producer_groups == ["orders", "refunds"])
        })
    };
    until(on, "both brokers know both groups", || both(0) && both(1)).await;
    assert_eq!(count(&cluster), 0, "nothing was sent");
    drop((first, second));
}
