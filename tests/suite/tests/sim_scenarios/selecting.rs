//! Queues chosen by hash, by chance or given, judged by where the messages are.

use std::collections::BTreeMap;

use rocketmq_core::{MessageQueue, Selection, SendErrorKind};
use rocketmq_testkit::cluster::RouteOverride;
use rocketmq_testkit::world::{SendSpec, World};

use crate::common::{TOPIC, secs, world};

/// Three brokers with 2, 3 and 4 queues. The name server lists them as c, a, b.
fn uneven() -> World {
    let mut world = world(3);
    let mut route = world.cluster().route(TOPIC).unwrap();
    for (queues, count) in route.queues.iter_mut().zip([2, 3, 4]) {
        queues.write_queues = count;
    }
    route.queues.rotate_right(1);
    world.with(|cluster| cluster.override_routes(TOPIC, Some(RouteOverride::Route(route))));
    world
}

fn place(world: &mut World, selection: Selection) -> (String, u32) {
    let id = world.submit(SendSpec::new(TOPIC, "m").select(selection));
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap_or_else(|| panic!("{outcome:?}"));
    (receipt.broker_name.to_string(), receipt.position.unwrap().queue_id)
}

fn list(ranges: [(&str, u32); 3]) -> Vec<(String, u32)> {
    let queues = |(name, count): (&str, u32)| {
        (0..count).map(move |queue| (name.to_owned(), queue)).collect::<Vec<_>>()
    };
    ranges.into_iter().flat_map(queues).collect()
}

#[test]
fn java_hashes_walk_javas_list() {
    let mut world = uneven();
    let list = list([("broker-a", 2), ("broker-b", 3), ("broker-c", 4)]);
    for (key, position) in [("order-42", 3), ("foobar", 4), ("a", 7), ("", 0)] {
        // From a JVM: Math.abs(key.hashCode() % 9)
        let place = place(&mut world, Selection::java_hash(key));
        assert_eq!(place, list[position], "{key}");
    }
    for hash in [0, 1, 8, 9, -1, -10, i32::MIN, i32::MAX] {
        let position = (hash % 9_i32).unsigned_abs() as usize;
        assert_eq!(place(&mut world, Selection::JavaHash(hash)), list[position], "{hash}");
    }
    world.finish();
}

#[test]
fn go_hashes_walk_gos_list() {
    let mut world = uneven();
    // What the name server said, turned round.
    let list = list([("broker-b", 3), ("broker-a", 2), ("broker-c", 4)]);
    for hash in [0_u32, 1, 4, 8, 9, u32::MAX] {
        let position = (hash % 9) as usize;
        assert_eq!(place(&mut world, Selection::GoHash(hash)), list[position], "{hash}");
    }
    world.finish();
}

#[test]
fn chance_reaches_every_queue_and_goes_around_a_dead_broker() {
    let mut world = uneven();
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        *seen.entry(place(&mut world, Selection::Random)).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
    assert!(seen.values().all(|count| (8..45).contains(count)), "{seen:?}");
    world.with(|cluster| cluster.kill(crate::common::A));
    for _ in 0..20 {
        assert_ne!(place(&mut world, Selection::Random).0, "broker-a");
    }
    world.finish();
}

#[test]
fn a_queue_that_no_broker_has_is_no_such_queue() {
    let mut world = world(1);
    let queue = MessageQueue::new("broker-x", 0);
    let id = world.submit(SendSpec::new(TOPIC, "m").select(Selection::Queue(queue)));
    let error = world.wait(id).error().cloned().expect("it fails");
    assert!(matches!(error.kind(), SendErrorKind::NoSuchQueue(name) if **name == *"broker-x"));
    world.run_for(secs(1));
    world.finish();
}
