//! Sends that keep the order of a key, while everything around them fails.
//!
//! `World::finish` judges each run by I-11: one at a time, in the order of the calls, never again
//! after an unknown attempt, and the acknowledged ones in that order in the log.

use std::collections::BTreeMap;

use rocketmq_core::{Delivery, Selection, SendErrorKind, WhenDown};
use rocketmq_testkit::cluster::{Fault, Node, RouteOverride, Rule, TopicConfig};
use rocketmq_testkit::network::Random;
use rocketmq_testkit::wire::TopicRoute;
use rocketmq_testkit::world::{SendId, SendSpec, World};

use crate::common::{A, TOPIC, elapsed, ms, script_sends, secs, warm, warm_with, world};

fn spec(key: &str, number: usize) -> SendSpec {
    SendSpec::new(TOPIC, format!("{key} {number}")).ordered(key)
}

/// Sends with one key, all at once.
fn row(world: &mut World, key: &str, count: usize) -> Vec<SendId> {
    (0..count).map(|number| world.submit(spec(key, number))).collect()
}

/// A key whose queue is on this broker.
fn key_on(world: &mut World, node: Node) -> String {
    for number in 0..64 {
        let key = format!("key {number}");
        let id = world.submit(spec(&key, 0));
        assert!(world.wait(id).is_stored());
        if world.frames_of(id)[0].node == node {
            return key;
        }
    }
    panic!("no key belongs to {node:?}");
}

/// The bodies with a key, in the order of the log; all of them have to be in one queue.
fn log(world: &World, key: &str) -> Vec<String> {
    let prefix = format!("{key} ");
    let stored = world.cluster().stored(TOPIC);
    let mut bodies: BTreeMap<(String, i32), Vec<String>> = BTreeMap::new();
    for stored in stored {
        let body = String::from_utf8(stored.body).expect("text");
        if body.starts_with(&prefix) {
            bodies.entry((stored.broker, stored.queue_id)).or_default().push(body);
        }
    }
    assert!(bodies.len() <= 1, "{bodies:?}");
    bodies.into_values().next().unwrap_or_default()
}

fn bodies(key: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{key} {number}")).collect()
}

#[test]
fn of_one_key_one_send_is_under_way_and_other_keys_do_not_wait() {
    let mut world = warm(2);
    let slow = key_on(&mut world, A);
    world.run_for(secs(1));
    world.with(|cluster| {
        let delay = Fault::delay(ms(100));
        cluster.script(A, Rule::sends().times(3), delay);
    });
    let row = row(&mut world, &slow, 3);
    let other = world.submit(spec("other", 0));
    world.run_for(ms(50));
    assert!(world.outcome(other).is_some(), "another key");
    assert_eq!(row.iter().filter(|id| !world.frames_of(**id).is_empty()).count(), 1);
    assert_eq!(world.tables(0).orders, 1);
    world.run_until_idle();
    for (number, id) in row.iter().enumerate() {
        assert!(elapsed(&world, *id) >= ms(100) * (number as u32 + 1), "they take turns");
    }
    assert_eq!(log(&world, &slow)[1..], bodies(&slow, 0..3));
    assert_eq!(world.tables(0).orders, 0);
    world.finish();
}

#[test]
fn a_long_row_that_fails_at_once_is_no_deep_recursion() {
    let mut world = World::new(
        1,
        crate::common::cluster(1).auto_create_topics(false),
        crate::common::config(|c| c.create_topics(false).in_flight_messages_max(20_000)),
    );
    let ids: Vec<_> = (0..10_000)
        .map(|number| world.submit(SendSpec::new("Nowhere", number.to_string()).ordered("k")))
        .collect();
    world.run_until_idle();
    for id in ids {
        let error = world.outcome(id).unwrap().error().unwrap();
        assert_eq!(error.kind(), &SendErrorKind::TopicNotFound);
    }
    world.finish();
}

#[test]
fn an_unknown_attempt_is_the_last_and_those_behind_go_on() {
    let mut world = warm(2);
    let key = key_on(&mut world, A);
    world.with(|cluster| cluster.script(A, Rule::sends().nth(1), Fault::silent_after_storing()));
    let first = world.submit(spec(&key, 1).timeout(secs(1)));
    let row = row(&mut world, &key, 2);
    world.run_until_idle();
    let error = world.outcome(first).unwrap().error().unwrap();
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Unknown, 1));
    assert!(row.iter().all(|id| world.outcome(*id).unwrap().is_stored()));
    // It may come at its place, as here.
    assert_eq!(log(&world, &key)[1..], [bodies(&key, [1]), bodies(&key, 0..2)].concat());
    world.finish();
}

#[test]
fn a_lost_connection_after_the_last_byte_ends_an_ordered_send() {
    let mut world = warm(2);
    let key = key_on(&mut world, A);
    world.with(|cluster| cluster.script(A, Rule::sends().nth(1), Fault::silent().then_reset()));
    let row = row(&mut world, &key, 3);
    world.run_until_idle();
    let error = world.outcome(row[0]).unwrap().error().unwrap();
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Unknown, 1));
    assert_eq!(log(&world, &key)[1..], bodies(&key, 1..3));
    world.finish();
}

#[test]
fn a_refused_send_is_repeated_in_its_queue_before_the_next_one_starts() {
    for code in [2, 14, 16] {
        let mut world = warm(2);
        let key = key_on(&mut world, A);
        world.with(|cluster| {
            let busy = Fault::answer(code, "not now");
            cluster.script(A, Rule::sends().times(2), busy);
        });
        let row = row(&mut world, &key, 3);
        world.run_until_idle();
        let nodes: Vec<_> = world.frames_of(row[0]).iter().map(|frame| frame.node).collect();
        assert_eq!(nodes, [A, A, A], "{code}");
        assert!(elapsed(&world, row[0]) > ms(20), "with pauses");
        assert_eq!(log(&world, &key)[1..], bodies(&key, 0..3));
        world.finish();
    }
}

#[test]
fn waiting_for_the_broker_lasts_until_it_is_back() {
    let mut world = warm(2);
    let key = key_on(&mut world, A);
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(10));
    world.after(secs(2), |world| world.with(|cluster| cluster.restart(A)));
    let ids: Vec<_> =
        (0..5).map(|number| world.submit(spec(&key, number).timeout(secs(10)))).collect();
    world.run_for(secs(1));
    assert!(ids.iter().all(|id| world.outcome(*id).is_none()));
    world.run_until_idle();
    for id in ids {
        let outcome = world.outcome(id).unwrap();
        assert!(outcome.is_stored(), "{outcome:?}");
    }
    assert_eq!(log(&world, &key)[1..], bodies(&key, 0..5));
    world.finish();
}

#[test]
fn a_wait_ends_with_the_time_of_each_send() {
    let mut world = warm(2);
    let key = key_on(&mut world, A);
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(10));
    let first = world.submit(spec(&key, 0).timeout(secs(2)));
    let behind = world.submit(spec(&key, 1).timeout(secs(1)));
    world.run_until_idle();
    let error = world.outcome(first).unwrap().error().unwrap();
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Transport, Delivery::NotSent));
    assert_eq!(elapsed(&world, first), secs(2));
    assert!(!error.attempts().is_empty());
    let error = world.outcome(behind).unwrap().error().unwrap();
    assert_eq!(
        (error.kind(), error.delivery(), error.attempts().len()),
        (&SendErrorKind::WaitedForOrder, Delivery::NotSent, 0)
    );
    assert_eq!(elapsed(&world, behind), secs(1));
    world.finish();
}

#[test]
fn failing_takes_no_time_and_moving_finds_another_broker() {
    let mut world = warm(3);
    let key = key_on(&mut world, A);
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(10));
    let fails = world.submit(spec(&key, 0).when_down(WhenDown::Fail).timeout(secs(10)));
    world.run_until_idle();
    let error = world.outcome(fails).unwrap().error().unwrap();
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Transport, Delivery::NotSent));
    assert!(elapsed(&world, fails) < ms(100), "{:?}", elapsed(&world, fails));
    // The address is not even to be dialled yet: the same answer.
    let fails = world.submit(spec(&key, 1).when_down(WhenDown::Fail).retries(0));
    world.run_for(ms(1));
    assert!(world.outcome(fails).is_some(), "without waiting for the next dial");
    let error = world.wait(fails).error().cloned().expect("it fails");
    assert_eq!((error.kind(), error.attempts().len()), (&SendErrorKind::Transport, 1));
    let moved: Vec<_> =
        (2..6).map(|number| world.submit(spec(&key, number).when_down(WhenDown::Move))).collect();
    world.run_until_idle();
    let places: Vec<_> = moved
        .iter()
        .map(|id| {
            let outcome = world.outcome(*id).unwrap();
            let receipt = outcome.receipt().unwrap_or_else(|| panic!("{outcome:?}"));
            (receipt.broker_name.to_string(), receipt.position.unwrap().queue_id)
        })
        .collect();
    assert!(places.iter().all(|place| *place == places[0] && place.0 != "broker-a"), "{places:?}");
    world.finish();
}

#[test]
fn an_order_configuration_keeps_the_queue_of_a_broker_that_is_away() {
    let mut world = warm(2);
    // In the order of the configuration, which names brokers whether they are there or not.
    let with_conf = |route: &TopicRoute| {
        let json = route.to_json(true, false);
        let json = json.replacen('{', r#"{"orderTopicConf":"broker-b:4;broker-a:4","#, 1);
        RouteOverride::Body(json.into_bytes())
    };
    let route = world.cluster().route(TOPIC).unwrap();
    let whole = with_conf(&route);
    let mut rest = route.clone();
    rest.brokers.retain(|broker| broker.broker_name != "broker-a");
    rest.queues.retain(|queues| queues.broker_name != "broker-a");
    let without = with_conf(&rest);
    world.with(|cluster| cluster.override_routes(TOPIC, Some(whole.clone())));
    world.run_for(secs(40));
    // 4 is the first queue of broker-a there.
    let to = |number: usize| {
        let spec = SendSpec::new(TOPIC, format!("conf {number}")).timeout(secs(90));
        spec.select(Selection::JavaHash(4))
    };
    let id = world.submit(to(0));
    assert_eq!(&*world.wait(id).receipt().unwrap().broker_name, "broker-a");
    world.with(|cluster| {
        cluster.kill(A);
        cluster.override_routes(TOPIC, Some(without));
    });
    world.run_for(secs(70));
    let id = world.submit(to(1));
    world.run_for(secs(3));
    assert!(world.outcome(id).is_none(), "it waits for the broker");
    assert!(world.frames_of(id).is_empty());
    world.with(|cluster| {
        cluster.restart(A);
        cluster.override_routes(TOPIC, Some(whole));
    });
    let receipt = world.wait(id).receipt().cloned().expect("stored");
    assert_eq!((&*receipt.broker_name, receipt.position.unwrap().queue_id), ("broker-a", 0));
    world.finish();
}

#[test]
fn cancelling_gives_the_turn_to_the_next_one() {
    let mut world = warm(2);
    let key = key_on(&mut world, A);
    script_sends(&mut world, A, Fault::delay(ms(200)));
    let row = row(&mut world, &key, 4);
    assert!(world.cancel(row[2]), "it had not started");
    world.run_for(ms(50));
    assert!(!world.cancel(row[0]), "its bytes have left");
    world.run_for(ms(50));
    assert!(world.frames_of(row[1]).is_empty(), "the first one is still on its way");
    world.run_until_idle();
    assert!(world.frames_of(row[2]).is_empty());
    assert_eq!(log(&world, &key)[1..], bodies(&key, [0, 1, 3]));
    world.finish();
}

#[test]
fn a_close_lets_the_row_go_on_while_it_has_time() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(ms(100)));
    let row = row(&mut world, "k", 5);
    world.shutdown(0, ms(250));
    world.run_until_idle();
    let stored = row.iter().filter(|id| world.outcome(**id).unwrap().is_stored()).count();
    assert_eq!(stored, 2);
    for id in &row[3..] {
        let error = world.outcome(*id).unwrap().error().unwrap();
        assert_eq!(
            (error.kind(), error.delivery(), error.attempts().len()),
            (&SendErrorKind::Closed, Delivery::NotSent, 0)
        );
    }
    world.finish();
}

#[test]
fn a_grown_route_moves_few_keys_and_keeps_the_order_in_each_queue() {
    let mut world = world(3);
    world.with(|cluster| cluster.unregister_broker(2));
    world.run_for(secs(2));
    for round in 0..40 {
        for key in 0..12 {
            world.submit(spec(&format!("key {key}"), round).timeout(secs(20)));
        }
        if round == 10 {
            world.with(|cluster| cluster.register_broker(2));
        }
        if round == 20 {
            world.with(|cluster| cluster.set_topic(0, TOPIC, TopicConfig::new(7)));
        }
        world.run_for(secs(3));
    }
    world.run_until_idle();
    assert!(world.records().iter().all(|record| record.outcome.as_ref().unwrap().is_stored()));
    let mut queues: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for record in world.records() {
        let receipt = record.outcome.as_ref().unwrap().receipt().unwrap();
        let body = String::from_utf8(record.body().to_vec()).unwrap();
        let key = body.rsplit_once(' ').unwrap().0.to_owned();
        let place = (receipt.broker_name.to_string(), receipt.position.unwrap().queue_id);
        let places = queues.entry(key).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
    let moves: usize = queues.values().map(|places| places.len() - 1).sum();
    assert!((1..=14).contains(&moves), "{moves} moves: {queues:?}");
    assert!(queues.values().all(|places| places.len() <= 3), "{queues:?}");
    world.finish();
}

/// Many keys, and brokers that die, lag, refuse and lose connections, by chance.
#[test]
fn whatever_happens_the_acknowledged_messages_of_a_key_are_in_order() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut world = warm_with(seed, 3, |c| c.send_timeout(secs(4)));
        let policies = [WhenDown::Wait, WhenDown::Fail, WhenDown::Move];
        for number in 0..150 {
            let key = format!("key {}", random.below(5));
            let policy = policies[random.below(3) as usize];
            world.submit(spec(&key, number).when_down(policy));
            world.run_for(ms(random.below(60)));
            let node = Node::Broker(random.below(3) as usize);
            match random.below(24) {
                0 => {
                    world.with(|cluster| cluster.kill(node));
                    let after = ms(200 + random.below(2_000));
                    world.after(after, move |world| world.with(|cluster| cluster.restart(node)));
                }
                1 => world.part(node, ms(100 + random.below(1_500))),
                2 => drop(world.with(|cluster| {
                    cluster.script(node, Rule::sends().times(3), Fault::delay(ms(700)))
                })),
                3 => drop(world.with(|cluster| {
                    cluster.script(node, Rule::sends().times(2), Fault::answer(2, "busy"))
                })),
                4 => drop(world.with(|cluster| {
                    cluster.script(node, Rule::sends().times(1), Fault::silent_after_storing())
                })),
                5 => world.with(|cluster| cluster.reset_connections(node)),
                6 => {
                    let back = random.below(5) as usize;
                    world.cancel(SendId((world.records().len() - 1).saturating_sub(back)));
                }
                _ => {}
            }
        }
        world.finish();
        let stored = world.records().iter().filter(|r| r.outcome.as_ref().unwrap().is_stored());
        assert!(stored.count() > 60, "seed {seed}");
    }
}

#[test]
fn topics_do_not_wait_for_each_other() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(ms(100)));
    let one = world.submit(spec("k", 0));
    let other = world.submit(SendSpec::new("Another", "k 0").ordered("k"));
    world.run_for(ms(50));
    assert!(world.outcome(one).is_none(), "it is under way");
    assert_eq!(world.frames_of(other).len(), 1);
    world.run_until_idle();
    world.finish();
}
