//! How queues are chosen end to end: off, on with a detector, and as Java 5.0.0 did.

use std::sync::Arc;
use std::time::Duration;

use rocketmq_core::{
    ConfigBuilder, Delivery, Detector, Event, Forbidden, Interceptor, LatencyClass, QueueStrategy,
    SendContext, SendErrorKind,
};
use rocketmq_testkit::cluster::{Fault, Node, RouteOverride, Rule, TopicConfig};
use rocketmq_testkit::world::World;

use crate::common::{A, B, TOPIC, cluster, config, events, ms, script_sends, secs, warm_with};

fn java500(config: ConfigBuilder) -> ConfigBuilder {
    config.queue_strategy(QueueStrategy::Java500)
}

fn off(config: ConfigBuilder) -> ConfigBuilder {
    config.latency_avoidance(false)
}

fn detecting(config: ConfigBuilder) -> ConfigBuilder {
    config.detector(Some(Detector::default()))
}

/// Where the first attempt of one send after the other goes.
fn firsts(world: &mut World, count: usize) -> Vec<(Node, i32)> {
    let send = |number: usize| {
        let id = world.send(TOPIC, &format!("m{number}"));
        world.wait(id);
        let frame = world.frames_of(id)[0];
        (frame.node, frame.queue_id())
    };
    (0..count).map(send).collect()
}

fn faults(world: &World) -> Vec<(String, Duration)> {
    let updates = events(world, |event| matches!(event, Event::FaultUpdated { .. }));
    let read = |(at, event): (Duration, Event)| match event {
        Event::FaultUpdated { broker_name, isolated_until } => {
            let until = Duration::from_nanos(isolated_until.as_nanos());
            (broker_name.to_string(), until.saturating_sub(at))
        }
        _ => unreachable!("only these were asked for"),
    };
    updates.into_iter().map(read).collect()
}

fn reachable(world: &World) -> Vec<(String, bool)> {
    let changes = events(world, |event| matches!(event, Event::BrokerReachable { .. }));
    let read = |(_, event)| match event {
        Event::BrokerReachable { broker_name, reachable } => (broker_name.to_string(), reachable),
        _ => unreachable!("only these were asked for"),
    };
    changes.into_iter().map(read).collect()
}

// ---- Java's list ----------------------------------------------------------------------------

#[test]
fn off_and_java_5_0_0_walk_javas_list() {
    for settings in [off, java500] {
        let mut world = warm_with(1, 2, settings);
        let list: Vec<_> = [A, B].iter().flat_map(|node| (0..4).map(|q| (*node, q))).collect();
        let walked = firsts(&mut world, 20);
        let start = list.iter().position(|queue| *queue == walked[0]).unwrap();
        let expected: Vec<_> = (0..20).map(|step| list[(start + step) % 8]).collect();
        assert_eq!(walked, expected);
        world.finish();
    }
}

#[test]
fn off_remembers_nothing_of_brokers() {
    let mut world = warm_with(1, 2, off);
    script_sends(&mut world, A, Fault::answer(14, "not available"));
    firsts(&mut world, 16);
    assert_eq!(faults(&world), []);
    world.finish();
}

#[test]
fn without_a_selectable_queue_every_strategy_says_so() {
    let settings: [fn(ConfigBuilder) -> ConfigBuilder; 4] =
        [|config| config, off, java500, |config| off(java500(config))];
    for settings in settings {
        let read_only = TopicConfig { perm: 4, ..TopicConfig::new(4) };
        let cluster = cluster(2).topic_with("ReadOnly", read_only);
        let mut world = World::new(1, cluster, config(settings));
        let id = world.send("ReadOnly", "m");
        let outcome = world.wait(id);
        assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::NoWritableQueue);
        assert_eq!(outcome.delivery(), Some(Delivery::NotSent));
        world.finish();
    }
}

/// The same once the brokers that the route names have lost their masters.
#[test]
fn without_a_master_left_every_strategy_says_so() {
    for settings in [off, java500] {
        let mut world = World::new(1, cluster(1).topic("Other", 1), config(settings));
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored());
        // What the route of another topic says of a broker holds for all.
        let mut route = world.cluster().route("Other").unwrap();
        route.brokers[0].addresses = [(1, "10.0.0.9:10911".to_owned())].into();
        world.with(|cluster| {
            cluster.override_routes("Other", Some(RouteOverride::Route(route)));
        });
        let other = world.send("Other", "m");
        assert!(world.wait(other).error().is_some());
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::NoWritableQueue);
        world.finish();
    }
}

// ---- Java 5.0.0 -----------------------------------------------------------------------------

#[test]
fn java_5_0_0_isolates_for_ten_minutes_after_any_refusal() {
    for code in [1, 2, 3, 13, 14, 17, 1500, 777] {
        let mut world = warm_with(1, 2, java500);
        let fault = if code == 1500 { Fault::go_away() } else { Fault::answer(code, "no") };
        world.with(|cluster| cluster.script(A, Rule::sends().times(1), fault));
        while world.frames().iter().all(|frame| !frame.is_send() || frame.node != A) {
            firsts(&mut world, 1);
        }
        // Its latency was the round trip: the isolation counts from the answer.
        assert_eq!(faults(&world), [("broker-a".to_owned(), secs(600))], "{code}");
        let around = firsts(&mut world, 16);
        assert!(around.iter().all(|(node, _)| *node == B), "{code}: {around:?}");
        world.run_for(secs(601));
        let around = firsts(&mut world, 16);
        assert_eq!(around.iter().filter(|(node, _)| *node == A).count(), 8, "{code}: and back");
        world.finish();
    }
}

/// Refuses messages with this body.
struct Refuses(&'static str);

impl Interceptor for Refuses {
    fn check_forbidden(&self, context: &SendContext<'_>) -> Result<(), Forbidden> {
        if context.body == self.0 { Err(Forbidden::new("not today")) } else { Ok(()) }
    }
}

/// There, a refusal of the hook is a failure of the client like any other. Otherwise it says
/// nothing about the broker, which was never asked.
#[test]
fn java_5_0_0_isolates_after_a_refusal_by_the_application_too() {
    let refusing = |c: ConfigBuilder| c.interceptor(Arc::new(Refuses("secret")));
    for strategy in [QueueStrategy::Java500, QueueStrategy::Current] {
        let mut world = warm_with(1, 2, |c| refusing(c).queue_strategy(strategy));
        let id = world.send(TOPIC, "secret");
        let outcome = world.wait(id);
        let kind = outcome.error().expect("refused").kind();
        assert!(matches!(kind, SendErrorKind::Invalid(_)), "{kind:?}");
        if strategy == QueueStrategy::Current {
            assert_eq!(faults(&world), []);
            world.finish();
            continue;
        }
        let [(refused, until)] = &faults(&world)[..] else { panic!("{:?}", faults(&world)) };
        assert_eq!(*until, secs(600));
        let other = if refused == "broker-a" { B } else { A };
        let around = firsts(&mut world, 16);
        assert!(around.iter().all(|(node, _)| *node == other), "{refused}: {around:?}");
        world.finish();
    }
}

#[test]
fn java_5_0_0_avoids_a_slow_broker_by_its_own_table() {
    for (delay, avoided) in [(500, 0), (600, 30), (1_200, 60), (2_100, 120)] {
        let mut world = warm_with(1, 2, java500);
        let slow = Fault::delay(ms(delay));
        world.with(|cluster| cluster.script(A, Rule::sends().times(1), slow));
        // The time of one attempt of three would be over: one broker only would get it all.
        while world.frames().iter().all(|frame| !frame.is_send() || frame.node != A) {
            let id =
                world.submit(rocketmq_testkit::world::SendSpec::new(TOPIC, "m").timeout(secs(20)));
            assert!(world.wait(id).is_stored());
        }
        let expected = (avoided > 0).then(|| ("broker-a".to_owned(), secs(avoided)));
        assert_eq!(faults(&world), expected.into_iter().collect::<Vec<_>>(), "{delay}");
        world.finish();
    }
}

#[test]
fn java_5_0_0_with_all_brokers_isolated_still_sends() {
    let mut world = warm_with(1, 3, java500);
    let nodes = [A, B, Node::Broker(2)];
    for node in nodes {
        script_sends(&mut world, node, Fault::answer(14, "no"));
    }
    let id = world.send(TOPIC, "all refuse");
    assert_eq!(world.wait(id).failed_attempts().len(), 3, "each is available until it refuses");
    for node in nodes {
        world.with(|cluster| cluster.clear_script(node));
    }
    // Nobody is available: half of three is one, the one that was fastest; its success ends it.
    let around = firsts(&mut world, 8);
    assert!(around.iter().all(|(node, _)| *node == around[0].0), "{around:?}");
    world.finish();
}

// ---- The classes of latency -----------------------------------------------------------------

#[test]
fn the_classes_of_latency_can_be_configured() {
    let classes = vec![LatencyClass::from_millis(10, 0), LatencyClass::from_millis(40, 7_000)];
    let mut world = warm_with(1, 1, |config| config.latency_classes(classes));
    script_sends(&mut world, A, Fault::delay(ms(50)));
    firsts(&mut world, 1);
    assert_eq!(faults(&world), [("broker-a".to_owned(), secs(7))]);
    world.finish();
}

// ---- The detector ---------------------------------------------------------------------------

/// Makes a broker that still holds its connections say and hear nothing for so long.
fn lose(world: &mut World, node: Node, length: Duration) {
    world.part(node, length);
    world.run_for(secs(5));
}

#[test]
fn p16_the_detector_finds_a_lost_broker_before_a_send_does_and_finds_it_again() {
    let mut world = warm_with(1, 2, detecting);
    lose(&mut world, A, secs(12));
    assert_eq!(reachable(&world), [("broker-a".to_owned(), false)]);
    let around = firsts(&mut world, 12);
    assert!(around.iter().all(|(node, _)| *node == B), "{around:?}");
    assert_eq!(faults(&world), [], "no send had to find out");
    world.run_for(secs(20));
    assert_eq!(reachable(&world)[1..], [("broker-a".to_owned(), true)]);
    let around = firsts(&mut world, 12);
    assert_eq!(around.iter().filter(|(node, _)| *node == A).count(), 6, "and it is used again");
    world.finish();
}

#[test]
fn without_a_detector_a_send_finds_out() {
    for settings in [
        |config: ConfigBuilder| config,
        |config: ConfigBuilder| off(detecting(config)),
        |config: ConfigBuilder| java500(detecting(config)),
    ] {
        let mut world = warm_with(1, 2, settings);
        lose(&mut world, A, secs(12));
        assert_eq!(reachable(&world), []);
        let around = firsts(&mut world, 12);
        assert!(around.iter().any(|(node, _)| *node == A), "off by default, and of no use there");
        world.run_for(secs(20));
        world.finish();
    }
}

/// 4.2, second step: a broker that was slow is better than one that cannot be reached.
#[test]
fn reachable_comes_before_unreachable() {
    let mut world = warm_with(1, 2, detecting);
    world.with(|cluster| cluster.script(A, Rule::sends().times(1), Fault::delay(ms(1_900))));
    while faults(&world).is_empty() {
        let spec = rocketmq_testkit::world::SendSpec::new(TOPIC, "m").timeout(secs(9));
        let id = world.submit(spec);
        assert!(world.wait(id).is_stored());
    }
    assert_eq!(faults(&world), [("broker-a".to_owned(), secs(5))]);
    world.part(B, secs(8));
    world.run_for(ms(4_500));
    assert_eq!(reachable(&world), [("broker-b".to_owned(), false)]);
    let id = world.send(TOPIC, "m");
    let receipt = world.wait(id).receipt().cloned().expect("stored");
    assert_eq!(&*receipt.broker_name, "broker-a", "it is avoided, but it is there");
    // What goes to the other one is lost on the way, and seen only here.
    assert!(receipt.failed_attempts.is_empty(), "{receipt:?}");
    world.run_for(secs(20));
    world.finish();
}

#[test]
fn a_broker_that_talks_is_not_asked() {
    let mut world = warm_with(1, 2, detecting);
    world.run_for(secs(60));
    let asked = world.cluster().heartbeats(0).len();
    assert!((25..=45).contains(&asked), "{asked} in 60 s of silence");
    for _ in 0..150 {
        firsts(&mut world, 2);
        world.run_for(ms(400));
    }
    let busy = world.cluster().heartbeats(0).len() - asked;
    assert!(busy <= 3, "{busy} in 60 s of traffic: the ordinary heartbeats");
    assert_eq!(reachable(&world), []);
    world.finish();
}

#[test]
fn a_broker_that_is_about_to_leave_is_not_reachable() {
    let mut world = warm_with(1, 2, detecting);
    world.with(|cluster| cluster.script(A, Rule::heartbeats().always(), Fault::go_away()));
    world.run_for(secs(5));
    assert_eq!(reachable(&world), [("broker-a".to_owned(), false)]);
    world.with(|cluster| cluster.clear_script(A));
    world.run_for(secs(5));
    assert_eq!(reachable(&world)[1..], [("broker-a".to_owned(), true)]);
    world.finish();
}
