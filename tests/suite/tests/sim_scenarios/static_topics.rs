//! Static topics: queues that are numbered over all brokers and may move between them.

use std::collections::BTreeMap;

use rocketmq_core::wire::ResponseCode;
use rocketmq_core::{
    AttemptFailure, ConfigBuilder, Delivery, QueueStrategy, Selection, SendErrorKind, WhenDown,
};
use rocketmq_testkit::cluster::Fault;
use rocketmq_testkit::wire::StaticQueues;
use rocketmq_testkit::world::{SendSpec, World};

use crate::common::{A, B, cluster, config, ms, script_sends, secs};

const STATIC: &str = "Static";
const MOCK: &str = "__syslo__global__";

/// Queues 0 and 2 are on `broker-a`, 1 and 3 on `broker-b`; 4 is on none.
fn world(settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> World {
    let mut world = World::new(1, cluster(2), config(settings));
    world.with(|cluster| {
        let a = StaticQueues::new("broker-a", 100, 5).queue(0, 0).queue(2, 1);
        let b = StaticQueues::new("broker-b", 101, 5).queue(1, 0).queue(3, 1);
        cluster.set_static_topic(0, STATIC, a);
        cluster.set_static_topic(1, STATIC, b);
    });
    world
}

fn send(world: &mut World) -> (String, u32) {
    let id = world.send(STATIC, "m");
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap_or_else(|| panic!("{outcome:?}"));
    let frame = world.frames_of(id).last().copied().unwrap();
    let position = receipt.position.unwrap();
    assert_eq!(i64::from(frame.queue_id()), i64::from(position.queue_id), "the logical number");
    assert_eq!(frame.command.ext.get("n"), Some(&*receipt.broker_name), "the real broker's name");
    (receipt.broker_name.to_string(), position.queue_id)
}

#[test]
fn messages_go_to_the_real_broker_with_the_logical_number() {
    let mut world = world(|config| config);
    let mut seen: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for _ in 0..12 {
        *seen.entry(send(&mut world)).or_default() += 1;
    }
    let expected = [("broker-a", 0), ("broker-a", 2), ("broker-b", 1), ("broker-b", 3)];
    let expected = expected.map(|(broker, queue)| ((broker.to_owned(), queue), 3));
    assert_eq!(seen, BTreeMap::from(expected), "evenly, and never to a queue that nobody has");
    world.finish();
}

#[test]
fn javas_list_of_a_static_topic_is_in_the_order_of_its_numbers() {
    for settings in [
        |config: ConfigBuilder| config.latency_avoidance(false),
        |config: ConfigBuilder| config.queue_strategy(QueueStrategy::Java500),
    ] {
        let mut world = world(settings);
        let walked: Vec<u32> = (0..9).map(|_| send(&mut world).1).collect();
        let expected: Vec<u32> = (0..9).map(|step| (walked[0] + step) % 4).collect();
        assert_eq!(walked, expected);
        world.finish();
    }
}

/// Java sees one broker name for all queues: it can neither avoid a broker nor remember its faults.
#[test]
fn a_retry_avoids_the_real_broker_and_its_faults_are_remembered() {
    let mut world = world(|config| config);
    send(&mut world);
    script_sends(&mut world, A, Fault::answer(14, "not available"));
    let mut refused = 0;
    for _ in 0..12 {
        let id = world.send(STATIC, "m");
        let receipt = world.wait(id).receipt().cloned().unwrap();
        assert_eq!(&*receipt.broker_name, "broker-b");
        refused += receipt.failed_attempts.len();
    }
    assert_eq!(refused, 1, "once, and then the broker is avoided");
    world.finish();
}

#[test]
fn a_given_logical_queue_goes_to_whoever_has_it() {
    let mut world = world(|config| config);
    for (queue, broker) in [(0, "broker-a"), (1, "broker-b"), (2, "broker-a"), (3, "broker-b")] {
        let id = world.submit(SendSpec::new(STATIC, "m").to(MOCK, queue));
        let receipt = world.wait(id).receipt().cloned().unwrap();
        assert_eq!((&*receipt.broker_name, receipt.position.unwrap().queue_id), (broker, queue));
    }
    for nobody in [4, 5, u32::MAX] {
        let id = world.submit(SendSpec::new(STATIC, "m").to(MOCK, nobody));
        let outcome = world.wait(id);
        let error = outcome.error().unwrap();
        assert_eq!(error.kind(), &SendErrorKind::NoSuchQueue(MOCK.into()));
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
    world.finish();
}

/// Queue 0 moves to `broker-b`, and no name server said so yet.
fn move_queue_0(world: &mut World) {
    world.with(|cluster| {
        cluster.set_static_topic(0, STATIC, StaticQueues::new("", 100, 5).queue(2, 1));
        let b = StaticQueues::new("", 102, 5).queue(1, 0).queue(3, 1).queue(0, 2);
        cluster.set_static_topic(1, STATIC, b);
    });
}

#[test]
fn not_leader_moves_on_and_refreshes_the_route() {
    let mut world = world(|config| config);
    send(&mut world);
    world.run_for(secs(2));
    move_queue_0(&mut world);
    let mut asked = world.cluster().route_queries(0, STATIC);
    let mut refused = 0;
    for _ in 0..12 {
        let id = world.send(STATIC, "m");
        let receipt = world.wait(id).receipt().cloned().unwrap();
        for attempt in &receipt.failed_attempts {
            let AttemptFailure::Answered { code, .. } = &attempt.failure else { panic!() };
            assert_eq!((*code, attempt.queue_id), (ResponseCode::NOT_LEADER_FOR_QUEUE, 0));
            assert_eq!(attempt.delivery, Delivery::Refused);
            refused += 1;
        }
        world.run_for(ms(5));
    }
    assert_eq!(refused, 1, "the new route came at once");
    asked = world.cluster().route_queries(0, STATIC) - asked;
    assert_eq!(asked, 1);
    let id = world.submit(SendSpec::new(STATIC, "m").to(MOCK, 0));
    assert_eq!(&*world.wait(id).receipt().unwrap().broker_name, "broker-b");
    world.finish();
}

/// The route was looked up a moment ago, so the next look-up has to wait, and so has the send: the
/// same broker would say the same again.
#[test]
fn a_queue_of_the_caller_that_has_moved_is_found_again() {
    for when_down in [WhenDown::Wait, WhenDown::Fail] {
        let mut world = world(|config| config);
        send(&mut world);
        world.run_for(ms(100));
        move_queue_0(&mut world);
        let spec = SendSpec::new(STATIC, "m").to(MOCK, 0).when_down(when_down);
        let id = world.submit(spec);
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap_or_else(|| panic!("{outcome:?}"));
        let place = (&*receipt.broker_name, receipt.position.unwrap().queue_id);
        assert_eq!(place, ("broker-b", 0));
        assert_eq!(receipt.failed_attempts.len(), 1, "none is wasted on the old route");
        world.finish();
    }
}

/// Without the time for a look-up the attempts are made all the same: the queue may come back.
#[test]
fn a_queue_that_has_moved_is_asked_for_again_where_it_was_if_time_is_short() {
    let mut world = world(|config| config.send_timeout(ms(300)));
    send(&mut world);
    world.run_for(ms(100));
    move_queue_0(&mut world);
    let id = world.submit(SendSpec::new(STATIC, "m").to(MOCK, 0));
    let outcome = world.wait(id);
    let error = outcome.error().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!((error.attempts().len(), error.delivery()), (3, Delivery::Refused));
    world.finish();
}

#[test]
fn the_newest_epoch_has_a_queue_that_two_claim() {
    let mut world = world(|config| config);
    world.with(|cluster| {
        let b = StaticQueues::new("", 102, 5).queue(1, 0).queue(3, 1).queue(0, 2);
        cluster.set_static_topic(1, STATIC, b);
    });
    let id = world.submit(SendSpec::new(STATIC, "m").to(MOCK, 0));
    assert_eq!(&*world.wait(id).receipt().unwrap().broker_name, "broker-b");
    world.finish();
}

#[test]
fn queues_of_brokers_that_cannot_be_written_to_are_left_out() {
    let mut world = world(|config| config);
    world.with(|cluster| {
        cluster.announce(0, [(1, "10.0.0.1:10911".to_owned())].into());
    });
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    for _ in 0..6 {
        let (broker, queue) = send(&mut world);
        assert_eq!(broker, "broker-b");
        *seen.entry(queue).or_default() += 1;
    }
    assert_eq!(seen, BTreeMap::from([(1, 3), (3, 3)]), "no turn is spent on the others");
    // Hashes do not count them either.
    for (hash, queue) in [(0, 1), (1, 3), (2, 1), (3, 3)] {
        assert_eq!(hashed(&mut world, Selection::JavaHash(hash)), ("broker-b".to_owned(), queue));
    }
    world.finish();
    let mut world = self::world(|config| config);
    world.with(|cluster| {
        for broker in [0, 1] {
            cluster.announce(broker, [(1, "10.0.0.1:10911".to_owned())].into());
        }
    });
    let id = world.send(STATIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::NoWritableQueue);
    world.finish();
}

/// Where a key goes, at the first attempt.
fn hashed(world: &mut World, selection: Selection) -> (String, u32) {
    let id = world.submit(SendSpec::new(STATIC, "m").select(selection));
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap_or_else(|| panic!("{outcome:?}"));
    assert!(receipt.failed_attempts.is_empty(), "{receipt:?}");
    (receipt.broker_name.to_string(), receipt.position.unwrap().queue_id)
}

#[test]
fn hashes_choose_among_the_logical_numbers() {
    let mut world = world(|config| config);
    let owner =
        |queue: u32| if queue.is_multiple_of(2) { "broker-a" } else { "broker-b" }.to_owned();
    for hash in [0, 1, 2, 3, 7, -1, -6, i32::MIN, i32::MAX] {
        let queue = (hash % 4_i32).unsigned_abs();
        let place = hashed(&mut world, Selection::JavaHash(hash));
        assert_eq!(place, (owner(queue), queue), "{hash}");
    }
    for hash in [0_u32, 1, 2, 3, 6, u32::MAX] {
        let place = hashed(&mut world, Selection::GoHash(hash));
        assert_eq!(place, (owner(hash % 4), hash % 4), "{hash}");
    }
    world.finish();
}

/// Its number stays, so no key changes its queue.
#[test]
fn keys_follow_a_queue_that_moves() {
    let mut world = world(|config| config);
    let places = |world: &mut World| -> Vec<(String, u32)> {
        let keys = (0..40).map(|number| format!("key {number}"));
        keys.map(|key| hashed(world, Selection::rendezvous(key.as_bytes()))).collect()
    };
    let before = places(&mut world);
    for queue in 0..4 {
        assert!(before.iter().filter(|(_, known)| *known == queue).count() > 2, "{before:?}");
    }
    move_queue_0(&mut world);
    world.run_for(secs(40));
    let follow = |(broker, queue): &(String, u32)| match queue {
        0 => ("broker-b".to_owned(), 0),
        _ => (broker.clone(), *queue),
    };
    assert_eq!(places(&mut world), before.iter().map(follow).collect::<Vec<_>>());
    world.finish();
}

#[test]
fn a_static_topic_with_a_busy_broker_ends_well_at_the_other() {
    let mut world = world(|config| config);
    script_sends(&mut world, B, Fault::answer(2, "busy"));
    for _ in 0..6 {
        assert_eq!(send(&mut world).0, "broker-a");
    }
    world.finish();
}
