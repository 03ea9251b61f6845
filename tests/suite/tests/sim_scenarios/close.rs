//! Closing the client with anything under way.

use std::collections::BTreeMap;

use rocketmq_core::{AttemptFailure, Delivery, SendErrorKind};
use rocketmq_testkit::cluster::{Fault, Node, Rule};
use rocketmq_testkit::world::{DialFault, Outcome, SendSpec, World};

use crate::common::{
    A, B, NS, TOPIC, cluster, config, elapsed, ms, script_sends, secs, warm, world,
};

#[test]
fn sends_under_way_are_waited_for_and_brokers_are_told_once() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::delay(ms(500)));
    }
    let ids: Vec<_> = (0..20).map(|n| world.send(TOPIC, &format!("m{n}"))).collect();
    world.run_for(ms(10));
    world.shutdown(0, secs(5));
    let rejected = world.send(TOPIC, "too late");
    assert_eq!(world.outcome(rejected), Some(&Outcome::Rejected(SendErrorKind::Closed)));
    assert!(world.run_until(secs(10), |world| world.closed_ns(0).is_some()));
    assert!(ids.iter().all(|id| world.outcome(*id).unwrap().is_stored()));
    assert!(world.now() < 2_700_000_000, "closed as soon as all had ended");
    world.run_for(ms(5));
    for broker in 0..2 {
        let told = world.cluster().unregistrations(broker);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].producer_group.as_deref(), Some("group"));
        assert!(world.cluster().connections(Node::Broker(broker)).is_empty());
    }
    world.finish();
}

#[test]
fn the_deadline_ends_what_does_not_end_by_itself() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::silent());
    }
    let awaited = world.submit(SendSpec::new(TOPIC, "m").timeout(secs(60)));
    world.run_for(ms(10));
    world.shutdown(0, secs(1));
    let outcome = world.wait(awaited);
    let error = outcome.error().unwrap();
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Closed, Delivery::Unknown));
    assert_eq!(elapsed(&world, awaited), ms(1_010));
    world.finish();
}

#[test]
fn a_second_shutdown_only_brings_the_deadline_forward() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::silent());
    let id = world.submit(SendSpec::new(TOPIC, "m").timeout(secs(60)));
    world.run_for(ms(10));
    world.shutdown(0, secs(30));
    world.run_for(ms(100));
    world.shutdown(0, secs(50));
    world.shutdown(0, ms(200));
    assert!(world.run_until(secs(3), |world| world.closed_ns(0).is_some()));
    assert_eq!(world.outcome(id).unwrap().delivery(), Some(Delivery::Unknown));
    world.shutdown(0, secs(1));
    world.run_for(secs(100));
    world.finish();
}

#[test]
fn a_client_that_never_did_anything_closes_at_once() {
    let mut world = world(1);
    world.shutdown(0, secs(5));
    assert!(world.closed_ns(0).is_some());
    world.finish();
}

#[test]
fn close_while_routes_are_looked_up() {
    // The other name server has no connection yet: nobody may dial it now.
    for seed in 0..8 {
        let config = World::config(2).build().unwrap();
        let mut world = World::new(seed, cluster(1).name_servers(2), config);
        for server in 0..2 {
            let node = Node::NameServer(server);
            world.with(|cluster| cluster.script(node, Rule::any().always(), Fault::silent()));
        }
        let id = world.send(TOPIC, "m");
        world.run_for(ms(100));
        world.shutdown(0, ms(50));
        assert!(world.run_until(secs(3), |world| world.closed_ns(0).is_some()));
        assert_eq!(world.outcome(id).unwrap().delivery(), Some(Delivery::NotSent));
        world.finish();
    }
}

#[test]
fn t87_close_while_dialling() {
    let mut world = world(2);
    for node in [A, B] {
        world.with(|cluster| cluster.blackhole(node));
    }
    let ids: Vec<_> = (0..50).map(|n| world.send(TOPIC, &format!("m{n}"))).collect();
    world.run_for(ms(100));
    world.shutdown(0, ms(100));
    assert!(world.run_until(secs(3), |world| world.closed_ns(0).is_some()));
    for id in ids {
        let outcome = world.outcome(id).unwrap();
        assert_eq!(outcome.delivery(), Some(Delivery::NotSent));
        assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::Closed);
    }
    world.finish();
}

#[test]
fn t87_close_with_ten_thousand_in_flight_ends_every_one() {
    let mut world = crate::common::world_with(1, 2, |c| c.in_flight_messages_max(10_000));
    crate::common::warm_up(&mut world);
    world.with(|cluster| cluster.stall(A));
    for n in 0..10_000 {
        world.send(TOPIC, &format!("m{n}"));
    }
    world.run_for(ms(20));
    world.shutdown(0, ms(100));
    assert!(world.run_until(secs(3), |world| world.closed_ns(0).is_some()));
    let ended = |wanted: Option<Delivery>| {
        let outcomes = world.records().iter().filter_map(|record| record.outcome.as_ref());
        outcomes.filter(|outcome| outcome.delivery() == wanted).count()
    };
    assert_eq!(ended(None), 5_001, "the warm-up and what the other broker has");
    let (unknown, not_sent) = (ended(Some(Delivery::Unknown)), ended(Some(Delivery::NotSent)));
    assert_eq!(unknown + not_sent, 5_000);
    assert!(unknown > 100 && not_sent > 100, "{unknown} in the socket, {not_sent} behind it");
}

#[test]
fn a_broker_that_does_not_answer_delays_the_close_by_a_second_at_most() {
    let mut world = warm(2);
    world.with(|cluster| cluster.stall(A));
    world.shutdown(0, secs(5));
    let before = world.now();
    assert!(world.run_until(secs(10), |world| world.closed_ns(0).is_some()));
    assert!(world.now() - before <= 1_001_000_000);
    world.finish();
}

#[test]
fn a_name_server_that_dies_during_the_close_changes_nothing() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(secs(1)));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(10));
    world.shutdown(0, secs(5));
    world.with(|cluster| cluster.kill(NS));
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn clients_that_share_a_cluster_do_not_share_anything_else() {
    let mut world = warm(2);
    let other = world.add_client(config(|c| c), "other");
    let mine = world.send(TOPIC, "mine");
    let theirs = world.submit(SendSpec::new(TOPIC, "theirs").by(other));
    assert!(world.wait(mine).is_stored() && world.wait(theirs).is_stored());
    world.shutdown(other, secs(1));
    world.run_for(secs(1));
    assert!(world.closed_ns(other).is_some() && world.closed_ns(0).is_none());
    let id = world.send(TOPIC, "still here");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_group_that_leaves_is_unregistered_and_the_others_stay() {
    let mut world = warm(1);
    let second = world.register(0, "second");
    world.run_for(ms(10));
    let groups = |world: &World| {
        world.cluster().heartbeats(0).last().unwrap().heartbeat.producer_groups.clone()
    };
    assert_eq!(groups(&world), ["group", "second"]);
    world.unregister(0, second);
    world.run_for(secs(31));
    assert_eq!(groups(&world), ["group"]);
    assert_eq!(world.cluster().unregistrations(0).len(), 1);
    world.finish();
}

#[test]
fn a_route_that_ends_the_last_send_of_a_closing_client_leaves_nothing() {
    let mut world = warm(2);
    for node in [A, B] {
        world.set_dial_fault(node, Some(DialFault::BlackHole));
        world.with(|cluster| cluster.reset_connections(node));
    }
    world.run_for(ms(5));
    let pending = SendSpec::new(TOPIC, "pending").to("broker-a", 0).retries(1).timeout(secs(20));
    let pending = world.submit(pending);
    // The dial's end has the route looked up; by then broker-a has no master any more.
    world.with(|cluster| cluster.announce(0, BTreeMap::from([(1, "10.2.0.1:10911".to_owned())])));
    world.shutdown(0, secs(20));
    let outcome = world.wait(pending);
    let last = outcome.failed_attempts().last().map(|attempt| &attempt.failure);
    assert_eq!(last, Some(&AttemptFailure::NoAddress), "{outcome:?}");
    assert!(world.run_until(secs(2), |world| world.closed_ns(0).is_some()));
    assert_eq!((world.tables(0).brokers, world.tables(0).addresses), (0, 0));
    world.finish();
}

/// A broker that comes back while the client says farewell to the others is not greeted any more:
/// nobody would tell it that the client is gone.
#[test]
fn a_client_that_says_farewell_greets_nobody() {
    let mut world = warm(2);
    world.with(|cluster| cluster.kill(B));
    // One greeting is lost with the connection, one dials in vain, one waits for the next dial.
    for group in ["second", "third", "fourth"] {
        world.register(0, group);
        world.run_for(ms(5));
    }
    world.with(|cluster| cluster.stall(A));
    world.shutdown(0, ms(0));
    world.with(|cluster| cluster.restart(B));
    let greeted = world.cluster().heartbeats(1).len();
    assert!(world.run_until(secs(10), |world| world.closed_ns(0).is_some()));
    world.run_for(ms(5));
    assert_eq!(world.cluster().heartbeats(1).len(), greeted);
    world.finish();
}
