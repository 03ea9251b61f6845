//! Giving up a send at every stage of its life.

use rocketmq_core::{AttemptFailure, Delivery, SendErrorKind, Stage};
use rocketmq_testkit::cluster::Fault;
use rocketmq_testkit::world::{LinkProfile, SendId, World};

use crate::common::{
    A, B, NS, TOPIC, ms, script_sends, secs, warm, warm_up, warm_with, world, world_with,
};

/// Cancels and expects the end at once: nothing of this attempt has left.
fn ends_at_once(world: &mut World, id: SendId, delivery: Delivery) {
    assert!(world.cancel(id), "it ends at once");
    let outcome = world.outcome(id).unwrap().clone();
    let error = outcome.error().unwrap();
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Cancelled, delivery));
    assert!(!error.message().unwrap().body().is_empty(), "the message comes back");
    assert!(!world.cancel(id), "a second cancel finds nothing");
}

#[test]
fn while_the_route_is_looked_up() {
    let mut world = world(1);
    world.with(|cluster| cluster.blackhole(NS));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    ends_at_once(&mut world, id, Delivery::NotSent);
    assert!(world.outcome(id).unwrap().failed_attempts().is_empty());
    world.with(|cluster| cluster.accept(NS));
    world.run_for(secs(8));
    assert!(world.cluster().stored(TOPIC).is_empty());
    world.finish();
}

#[test]
fn while_the_connection_is_made() {
    let mut world = world(1);
    world.with(|cluster| cluster.blackhole(A));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    ends_at_once(&mut world, id, Delivery::NotSent);
    let attempt = world.outcome(id).unwrap().failed_attempts()[0].clone();
    assert_eq!((attempt.stage, attempt.failure), (Stage::Connect, AttemptFailure::GivenUp));
    world.with(|cluster| cluster.accept(A));
    world.run_for(secs(8));
    assert!(world.cluster().stored(TOPIC).is_empty());
    world.finish();
}

/// A world whose broker has taken 600 bytes and takes no more, with sends in every state.
fn clogged() -> (World, Vec<SendId>) {
    let mut world = world_with(1, 1, |c| c.unsent_bytes_max(1_000));
    let narrow = LinkProfile { buffer_bytes: 600, ..LinkProfile::default() };
    world.set_profile_of(A, narrow);
    warm_up(&mut world);
    world.with(|cluster| cluster.stall(A));
    let ids = (0..10).map(|n| world.send(TOPIC, &format!("message {n}"))).collect();
    world.run_for(ms(20));
    (world, ids)
}

#[test]
fn while_it_waits_to_be_framed_or_to_be_written() {
    // From the back: queued behind the bound; from the second on: framed, no byte taken.
    for position in [9, 8, 3, 2] {
        let (mut world, ids) = clogged();
        let id = ids[position];
        assert!(world.frames_of(id).is_empty());
        ends_at_once(&mut world, id, Delivery::NotSent);
        world.with(|cluster| cluster.resume(A));
        world.run_until_idle();
        let others = ids.iter().filter(|other| **other != id);
        others.for_each(|other| assert!(world.outcome(*other).unwrap().is_stored()));
        assert_eq!(world.cluster().stored(TOPIC).len(), 10, "warm-up and nine of ten");
        world.finish();
    }
}

#[test]
fn while_it_is_half_written_it_goes_on() {
    let (mut world, ids) = clogged();
    // The first is written, the second has begun.
    assert_eq!(world.frames_of(ids[0]).len(), 1);
    assert!(world.frames_of(ids[1]).is_empty());
    assert!(!world.cancel(ids[1]), "half of it is out");
    assert!(world.outcome(ids[1]).is_none());
    world.with(|cluster| cluster.resume(A));
    world.run_until_idle();
    assert!(world.outcome(ids[1]).unwrap().is_stored());
    world.finish();
}

#[test]
fn while_the_answer_is_awaited_it_ends_with_the_answer() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::delay(ms(300)));
    }
    let id = world.send(TOPIC, "m");
    world.run_for(ms(100));
    assert!(!world.cancel(id));
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_detached_send_has_no_further_attempt() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer(14, "no").delayed_by(ms(300)));
    }
    let id = world.send(TOPIC, "m");
    world.run_for(ms(100));
    assert!(!world.cancel(id));
    assert_eq!(world.wait(id).delivery(), Some(Delivery::Refused));
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();
}

#[test]
fn while_it_backs_off() {
    let mut world = warm_with(1, 2, |c| c.busy_back_off(ms(400)));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer(2, "busy"));
    }
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    ends_at_once(&mut world, id, Delivery::Refused);
    world.run_for(secs(1));
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();
}

#[test]
fn after_an_unknown_attempt_the_verdict_stays_unknown() {
    let mut world = warm_with(1, 2, |c| c.busy_back_off(ms(400)));
    script_sends(&mut world, A, Fault::answer(1, "perhaps"));
    script_sends(&mut world, B, Fault::answer(2, "busy"));
    let id = crate::common::send_via(&mut world, A);
    world.run_for(ms(50));
    ends_at_once(&mut world, id, Delivery::Unknown);
    world.finish();
}
