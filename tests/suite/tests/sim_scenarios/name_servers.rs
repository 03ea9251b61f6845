use rocketmq_core::{AttemptFailure, ConnectFailure, Delivery, SendErrorKind};
use rocketmq_testkit::cluster::{Fault, Node, RouteOverride, Rule};
use rocketmq_testkit::world::{DialFault, World};

use crate::common::{NS, TOPIC, cluster, elapsed, ms, secs, world};

fn two_name_servers(seed: u64) -> World {
    let config = World::config(2).build().unwrap();
    World::new(seed, cluster(1).name_servers(2), config)
}

type Break = fn(&mut World, Node);

/// Every way in which a name server fails to give a route, with and without an answer.
const BREAKS: [(&str, Break); 9] = [
    ("black hole", |world, node| world.with(|cluster| cluster.blackhole(node))),
    ("refused", |world, node| world.with(|cluster| cluster.refuse(node))),
    ("mute", |world, node| world.with(|cluster| cluster.mute(node))),
    ("stalled", |world, node| world.with(|cluster| cluster.stall(node))),
    ("no name", |world, node| world.set_dial_fault(node, Some(DialFault::NoName))),
    ("garbage", |world, node| {
        let fault = Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n");
        world.with(|cluster| cluster.script(node, Rule::any().always(), fault));
    }),
    ("slow", |world, node| {
        let fault = Fault::delay(secs(2));
        world.with(|cluster| cluster.script(node, Rule::any().always(), fault));
    }),
    ("error", |world, node| {
        let fault = Fault::answer(1, "not ready");
        world.with(|cluster| cluster.script(node, Rule::any().always(), fault));
    }),
    ("bad route", |world, node| {
        let Node::NameServer(index) = node else { return };
        let says = RouteOverride::Body(b"{]".to_vec());
        world.with(|cluster| cluster.override_route(index, TOPIC, Some(says)));
    }),
];

#[test]
fn t68_the_second_name_server_is_used_inside_the_budget_from_cold_start() {
    for (name, break_it) in BREAKS {
        // The seed decides which of the two is asked first.
        for seed in 0..6 {
            let mut world = two_name_servers(seed);
            break_it(&mut world, NS);
            let id = world.send(TOPIC, "m");
            let outcome = world.wait(id);
            assert!(outcome.is_stored(), "{name}, seed {seed}: {outcome:?}");
            assert!(elapsed(&world, id) < ms(500), "{name}, seed {seed}");
            world.run_for(secs(70));
            let id = world.send(TOPIC, "later");
            assert!(world.wait(id).is_stored());
            assert!(elapsed(&world, id) < ms(50), "{name}: known routes do not wait");
            world.finish();
        }
    }
}

#[test]
fn a_name_server_that_says_not_found_does_not_hide_one_that_knows() {
    for seed in 0..6 {
        let mut world = two_name_servers(seed);
        world.with(|cluster| cluster.forget_routes(0));
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored(), "seed {seed}");
        assert_eq!(world.cluster().stored(TOPIC).len(), 1);
        world.finish();
    }
}

#[test]
fn a_name_server_that_is_back_after_a_second_is_in_time_for_the_send() {
    for seed in 0..10 {
        let mut world = crate::common::world_with(seed, 1, |c| c);
        world.with(|cluster| cluster.kill(NS));
        let id = world.send(TOPIC, "m");
        world.run_for(secs(1));
        world.with(|cluster| cluster.restart(NS));
        let outcome = world.wait(id);
        assert!(outcome.is_stored(), "seed {seed}: {outcome:?}");
        world.finish();
    }
}

#[test]
fn without_any_name_server_the_error_names_each_and_why() {
    let config = World::config(2).build().unwrap();
    let mut world = World::new(3, cluster(1).name_servers(2), config);
    world.with(|cluster| cluster.kill(NS));
    world.with(|cluster| cluster.blackhole(Node::NameServer(1)));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    let error = outcome.error().unwrap();
    assert_eq!(error.kind(), &SendErrorKind::NameServerUnreachable);
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(elapsed(&world, id), secs(3));
    let failures = error.name_servers();
    let of = |address: &str| &failures.iter().find(|f| &*f.address == address).unwrap().failure;
    assert_eq!(of("10.1.0.1:9876"), &AttemptFailure::Connect(ConnectFailure::Refused));
    assert!(matches!(
        of("10.1.0.2:9876"),
        AttemptFailure::TimedOut | AttemptFailure::Connect(ConnectFailure::TimedOut)
    ));
    world.finish();
}

#[test]
fn readiness_is_told_once_a_name_server_answers_or_the_wait_is_over() {
    let mut world = world(1);
    world.with(|cluster| cluster.kill(NS));
    world.wait_ready(1, ms(500));
    world.wait_ready(2, secs(5));
    world.run_for(secs(1));
    world.with(|cluster| cluster.restart(NS));
    world.run_for(secs(5));
    let told: Vec<_> = world.ready().iter().map(|(_, waiter, r)| (*waiter, r.is_ok())).collect();
    assert_eq!(told, [(1, false), (2, true)]);
    assert_eq!(world.ready()[0].0, 500_000_000);
    assert!(world.ready()[1].0 < 2_500_000_000);
    world.finish();
}

#[test]
fn many_topics_do_not_ask_one_name_server_twice_at_once() {
    let servers = (0..20).fold(cluster(2), |c, n| c.topic(format!("T{n}"), 4));
    let config = World::config(1).build().unwrap();
    let mut world = World::new(5, servers, config);
    for n in 0..60 {
        world.send(&format!("T{}", n % 20), "m");
    }
    world.run_until_idle();
    assert_eq!(world.cluster().stored_all().count(), 60);
    assert_eq!(world.connections(0, NS), 1);
    world.finish();
}
