use std::time::Duration;

use rocketmq_core::{Delivery, Event, SendErrorKind};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, RouteOverride, Rule, TopicConfig};
use rocketmq_testkit::wire::{BrokerData, QueueData, TopicRoute, request_code};
use rocketmq_testkit::world::World;

use crate::common::{A, B, NS, TOPIC, cluster, config, events, ms, secs, warm, world, world_with};

#[test]
fn a_hundred_first_sends_look_the_route_up_once() {
    let mut world = world(2);
    world.run_for(secs(1));
    let ids: Vec<_> = (0..100).map(|n| world.send(TOPIC, &format!("m{n}"))).collect();
    world.run_until_idle();
    assert!(ids.iter().all(|id| world.outcome(*id).unwrap().is_stored()));
    assert_eq!(world.cluster().route_queries(0, TOPIC), 1);
    assert_eq!(world.cluster().stored(TOPIC).len(), 100);
    world.finish();
}

#[test]
fn an_unknown_topic_is_made_from_the_default_topic() {
    let mut world = world(1);
    let ids: Vec<_> = (0..10).map(|n| world.send("New", &format!("m{n}"))).collect();
    world.run_until_idle();
    assert!(ids.iter().all(|id| world.outcome(*id).unwrap().is_stored()));
    assert_eq!(world.cluster().stored("New").len(), 10);
    assert_eq!(world.cluster().route_queries(0, "TBW102"), 1);
    world.finish();
}

#[test]
fn a_topic_that_nobody_may_create_is_not_found() {
    for forbid in [true, false] {
        let servers = ClusterConfig::new().auto_create_topics(!forbid).topic(TOPIC, 4);
        let mut world = World::new(1, servers, config(|c| c.create_topics(forbid)));
        let id = world.send("New", "m");
        let outcome = world.wait(id);
        let error = outcome.error().unwrap();
        assert_eq!(error.kind(), &SendErrorKind::TopicNotFound);
        assert_eq!((error.delivery(), error.attempts().len()), (Delivery::NotSent, 0));
        assert!(world.now() < 1_000_000_000, "at once, not at the deadline");
        // Others are not affected, and a topic that comes to exist is found.
        world.with(|cluster| cluster.set_topic(0, "New", TopicConfig::new(4)));
        world.run_for(secs(1));
        let id = world.send("New", "m");
        assert!(world.wait(id).is_stored());
        world.finish();
    }
}

#[test]
fn a_broker_that_creates_no_topic_leaves_the_default_route() {
    let mut world = world(2);
    let fault = Fault::answer(17, "topic[New] not exist");
    world.with(|cluster| cluster.script(B, Rule::sends().topic("New").always(), fault));
    let ids: Vec<_> = (0..2).map(|n| world.send("New", &format!("m{n}"))).collect();
    world.run_until_idle();
    let refused = ids.iter().filter(|id| world.frames_of(**id).len() == 2).count();
    assert_eq!(refused, 1, "one of two tries the broker that refuses, and then the other");
    for n in 0..20 {
        let id = world.send("New", &format!("later {n}"));
        assert!(world.wait(id).is_stored());
        assert!(world.frames_of(id).iter().all(|frame| frame.node == A));
    }
    world.finish();
}

#[test]
fn brokers_of_the_default_route_stay_for_a_minute_after_the_first_has_the_topic() {
    let mut world = world(2);
    let first = world.send("New", "first");
    let broker = world.wait(first).receipt().unwrap().broker_name.to_string();
    world.run_for(secs(35));
    assert_eq!(world.cluster().route("New").unwrap().brokers.len(), 1);
    for n in 0..8 {
        world.send("New", &format!("m{n}"));
    }
    world.run_until_idle();
    let stored = world.cluster().stored("New");
    assert!(stored.iter().any(|message| message.broker != broker), "the other got its chance");
    world.finish();

    let mut world = self::world(2);
    let first = world.send("New", "first");
    let broker = world.wait(first).receipt().unwrap().broker_name.to_string();
    world.run_for(secs(100));
    for n in 0..8 {
        world.send("New", &format!("m{n}"));
    }
    world.run_until_idle();
    let stored = world.cluster().stored("New");
    assert!(stored.iter().all(|message| message.broker == broker), "the grace is over");
    world.finish();
}

#[test]
fn t67_a_known_route_outlives_a_name_server_that_forgot_it() {
    let mut world = warm(2);
    world.with(|cluster| cluster.forget_routes(0));
    for n in 0..20 {
        let id = world.send(TOPIC, &format!("m{n}"));
        assert!(world.wait(id).is_stored());
        world.run_for(secs(5));
    }
    // It is no grace for ever: after two minutes the topic is believed to be gone.
    world.run_for(secs(100));
    let id = world.send(TOPIC, "late");
    assert_eq!(world.wait(id).error().unwrap().kind(), &SendErrorKind::TopicNotFound);
    world.with(|cluster| cluster.learn_routes(0));
    world.run_for(secs(2));
    let id = world.send(TOPIC, "back");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_known_route_outlives_all_name_servers() {
    let mut world = warm(2);
    world.with(|cluster| cluster.kill(NS));
    for n in 0..30 {
        let id = world.send(TOPIC, &format!("m{n}"));
        assert!(world.wait(id).is_stored());
        world.run_for(secs(10));
    }
    assert!(!events(&world, |e| matches!(e, Event::RouteFailed { .. })).is_empty());
    world.finish();
}

#[test]
fn a_bad_route_body_keeps_the_old_route() {
    for body in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe", b"{\"queueDatas\":7}"] {
        let mut world = warm(2);
        let says = RouteOverride::Body(body.to_vec());
        world.with(|cluster| cluster.override_routes(TOPIC, Some(says)));
        world.run_for(secs(70));
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored(), "{body:?}");
        world.finish();
    }
}

#[test]
fn routes_are_refreshed_every_30_s_or_up_to_a_tenth_earlier() {
    let mut world = warm(1);
    world.run_for(secs(600));
    let code = request_code::GET_ROUTEINFO_BY_TOPIC;
    let queries = world.cluster().frames_of(NS, code);
    let times: Vec<u64> = queries.iter().map(|frame| frame.at_ns).collect();
    let gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    let gaps = &gaps[1..];
    assert!((20..=23).contains(&gaps.len()), "{gaps:?}");
    assert!(gaps.iter().all(|gap| (27_000..30_050).contains(gap)), "{gaps:?}");
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(most - least > 500, "{gaps:?}");
    world.finish();
}

#[test]
fn a_refresh_that_failed_is_tried_again_within_seconds() {
    let mut world = warm(2);
    world.with(|cluster| cluster.stall(NS));
    world.run_for(secs(30));
    assert!(!events(&world, |e| matches!(e, Event::RouteFailed { .. })).is_empty());
    world.with(|cluster| {
        cluster.resume(NS);
        cluster.set_topic(0, TOPIC, TopicConfig::new(8));
    });
    world.run_for(secs(9));
    let changed = events(&world, |e| matches!(e, Event::RouteChanged { queues: 12, .. }));
    assert_eq!(changed.len(), 1, "not only with the next refresh");
    world.finish();
}

#[test]
fn a_broken_name_server_is_not_asked_more_often_because_more_is_sent() {
    let mut world = world(1);
    let fault = Fault::answer(1, "not ready");
    world.with(|cluster| cluster.script(NS, Rule::routes().always(), fault));
    for n in 0..300 {
        world.send(TOPIC, &format!("m{n}"));
        world.run_for(ms(3));
    }
    let queries = world.cluster().route_queries(0, TOPIC);
    assert!(queries <= 14, "{queries} queries in 0.9 s");
    world.run_until_idle();
    world.finish();
}

fn route(brokers: &[(&str, &[(i64, &str)])], queues: &[(&str, i64, i32)]) -> TopicRoute {
    let broker = |(name, addresses): &(&str, &[(i64, &str)])| BrokerData {
        cluster: "DefaultCluster".into(),
        broker_name: (*name).into(),
        addresses: addresses.iter().map(|(id, text)| (*id, (*text).into())).collect(),
    };
    let queue = |(name, count, perm): &(&str, i64, i32)| QueueData {
        broker_name: (*name).into(),
        read_queues: *count,
        write_queues: *count,
        perm: *perm,
    };
    TopicRoute {
        brokers: brokers.iter().map(broker).collect(),
        queues: queues.iter().map(queue).collect(),
        ..TopicRoute::default()
    }
}

#[test]
fn hostile_routes_end_in_a_typed_error_and_cost_nothing() {
    let good: &[(i64, &str)] = &[(0, "10.0.0.1:10911")];
    let rows: Vec<(TopicRoute, &str)> = vec![
        (route(&[("broker-a", good)], &[("broker-a", 4, 4)]), "read only"),
        (route(&[("broker-a", good)], &[("broker-a", 0, 6)]), "no queue"),
        (route(&[("broker-a", good)], &[("broker-a", -4, 6)]), "negative"),
        (route(&[("broker-a", good)], &[("broker-x", 4, 6)]), "queues of nobody"),
        (route(&[("broker-a", &[(1, "10.0.0.1:10911")])], &[("broker-a", 4, 6)]), "no master"),
        (route(&[("broker-a", &[(0, "")])], &[("broker-a", 4, 6)]), "no address"),
        (route(&[("broker-a", &[(0, "a;b:1")])], &[("broker-a", 4, 6)]), "no host"),
        (route(&[("broker-a", &[(0, "10.0.0.1:0")])], &[("broker-a", 4, 6)]), "no port"),
        (route(&[], &[]), "empty"),
    ];
    for (route, name) in rows {
        let mut world = world(1);
        let says = RouteOverride::Route(route);
        world.with(|cluster| cluster.override_routes(TOPIC, Some(says)));
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let error = outcome.error().unwrap();
        assert_eq!(error.kind(), &SendErrorKind::NoWritableQueue, "{name}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(world.now() < 1_000_000_000, "{name}: at once");
        // When the route is mended, so is the client: a send that failed for the route looks again.
        world.run_for(secs(2));
        world.with(|cluster| cluster.override_routes(TOPIC, None));
        world.send(TOPIC, "fails as well, or finds the queue");
        world.run_for(secs(1));
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored(), "{name}");
        world.finish();
    }
}

#[test]
fn t60_a_route_with_two_billion_queues_is_malformed() {
    let mut world = world(1);
    let huge =
        route(&[("broker-a", &[(0, "10.0.0.1:10911")])], &[("broker-a", i32::MAX as i64, 6)]);
    let says = RouteOverride::Route(huge);
    world.with(|cluster| cluster.override_routes(TOPIC, Some(says)));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::NameServerUnreachable);
    assert_eq!(outcome.delivery(), Some(Delivery::NotSent));
    world.finish();
}

#[test]
fn a_master_that_is_gone_for_one_topic_is_not_chosen_for_another() {
    let mut world = World::new(1, cluster(2).topic("Other", 4), config(|c| c));
    crate::common::warm_up(&mut world);
    // Only the route of the other topic says so yet.
    let slave: &[(i64, &str)] = &[(1, "10.0.0.9:10911")];
    let other: &[(i64, &str)] = &[(0, "10.0.0.2:10911")];
    let says = route(
        &[("broker-a", slave), ("broker-b", other)],
        &[("broker-a", 4, 6), ("broker-b", 4, 6)],
    );
    world.with(|cluster| cluster.override_routes("Other", Some(RouteOverride::Route(says))));
    let id = world.send("Other", "m");
    assert!(world.wait(id).is_stored());
    for n in 0..8 {
        let id = world.send(TOPIC, &format!("m{n}"));
        let outcome = world.wait(id);
        assert!(outcome.is_stored(), "{outcome:?}");
    }
    world.finish();
}

#[test]
fn t66_a_broker_that_moves_is_followed_and_its_old_connection_drains() {
    let mut world = warm(1);
    world.relax(rocketmq_testkit::world::Relaxed { addresses: true, ..Default::default() });
    let slow = Fault::delay(secs(2));
    world.with(|cluster| cluster.script(A, Rule::sends().times(1), slow));
    world.run_for(secs(26));
    let during = world.send(TOPIC, "on the old connection");
    world.run_for(ms(1));
    world.with(|cluster| cluster.set_address(A, "10.0.0.77:10911".parse().unwrap()));
    world.run_for(secs(40));
    assert!(world.outcome(during).unwrap().is_stored(), "it drains before it closes");
    let id = world.send(TOPIC, "m");
    let receipt = world.wait(id).receipt().cloned().unwrap();
    assert_eq!(&*receipt.address, "10.0.0.77:10911");
    assert_eq!(world.connections(0, A), 1, "the old connection is closed");
    assert_eq!(world.tables(0).addresses, 2);
    world.finish();
}

#[test]
fn a_broker_that_left_all_routes_is_forgotten() {
    let mut world = warm(2);
    assert_eq!(world.connections(0, B), 1);
    world.with(|cluster| cluster.unregister_broker(1));
    world.run_for(secs(65));
    assert_eq!(world.connections(0, B), 0);
    let tables = world.tables(0);
    assert_eq!((tables.brokers, tables.addresses, tables.connections), (1, 2, 2));
    world.with(|cluster| cluster.register_broker(1));
    world.run_for(secs(65));
    assert_eq!(world.connections(0, B), 1, "and greeted again when it is back");
    world.finish();
}

#[test]
fn route_flips_leave_nothing_behind() {
    let mut world = warm(2);
    world.relax(rocketmq_testkit::world::Relaxed { addresses: true, ..Default::default() });
    for round in 0..20_u64 {
        let address = format!("10.0.7.{}:10911", round + 1).parse().unwrap();
        world.with(|cluster| cluster.set_address(A, address));
        world.run_for(secs(32));
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored());
    }
    world.run_for(secs(65));
    let tables = world.tables(0);
    assert_eq!((tables.brokers, tables.addresses, tables.connections), (2, 3, 3), "{tables:?}");
    world.finish();
}

#[test]
fn an_ipv6_address_without_brackets_is_dialled() {
    let mut world = world(1);
    world.with(|cluster| {
        cluster.set_address(A, "[2001:db8::7]:10911".parse().unwrap());
        cluster.announce(0, [(0, "2001:db8::7:10911".to_owned())].into());
    });
    let id = world.send(TOPIC, "m");
    let receipt = world.wait(id).receipt().cloned().unwrap();
    assert_eq!(&*receipt.address, "[2001:db8::7]:10911");
    world.finish();
}

#[test]
fn announced_addresses_are_mapped_to_reachable_ones() {
    let map = rocketmq_core::AddressMap::new()
        .with_rule("10.0.0.1:10911".parse().unwrap(), "localhost:30911".parse().unwrap());
    let mut world = world_with(1, 1, |c| c.address_map(map));
    world.alias("localhost:30911", A);
    let id = world.send(TOPIC, "m");
    let receipt = world.wait(id).receipt().cloned().unwrap();
    assert_eq!(&*receipt.address, "localhost:30911");
    assert_eq!(world.connections(0, A), 1);
    world.finish();
}

#[test]
fn heartbeats_come_every_30_s_while_all_is_well() {
    let mut world = warm(3);
    world.run_for(secs(400));
    for broker in 0..3 {
        let times: Vec<u64> = world.cluster().heartbeats(broker).iter().map(|h| h.at_ns).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(Duration::from_nanos(gap) <= secs(31), "{times:?}");
        assert!(world.now() - times.last().unwrap() <= 31_000_000_000);
        let groups = &world.cluster().heartbeats(broker)[0].heartbeat.producer_groups;
        assert_eq!(groups, &["group"]);
    }
    world.finish();
}

/// P25: neither what never existed nor what was deleted is asked for longer than it is used.
#[test]
fn topics_that_nobody_sends_to_are_forgotten_and_no_longer_asked_for() {
    let cluster = cluster(1).topic("Deleted", 2);
    let mut world = World::new(1, cluster, config(|c| c.create_topics(false)));
    let id = world.send("Deleted", "m");
    assert!(world.wait(id).is_stored());
    world.with(|cluster| cluster.remove_topic(0, "Deleted"));
    let names: Vec<_> = (0..50).map(|number| format!("Nowhere{number}")).collect();
    for name in &names {
        let id = world.send(name, "m");
        assert_eq!(world.wait(id).error().unwrap().kind(), &SendErrorKind::TopicNotFound);
    }
    assert_eq!(world.tables(0).topics, 51);
    for _ in 0..12 {
        let id = world.send(TOPIC, "used");
        assert!(world.wait(id).is_stored());
        world.run_for(secs(60));
    }
    assert_eq!(world.tables(0).topics, 1);
    let asked = |world: &World| -> u64 {
        let all = names.iter().map(String::as_str).chain(["Deleted"]);
        all.map(|name| world.cluster().route_queries(0, name)).sum()
    };
    let before = asked(&world);
    assert!(before <= 51 * 23, "{before}: every 30 s at most");
    world.run_for(secs(300));
    assert_eq!(asked(&world), before);
    world.finish();
}
