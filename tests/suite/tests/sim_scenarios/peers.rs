//! Answers nobody asked for, and requests of brokers.

use std::time::Duration;

use rocketmq_core::{Delivery, Event};
use rocketmq_testkit::cluster::{ConnectionId, Fault, Rule};
use rocketmq_testkit::wire::{Command, FLAG_ONEWAY, FLAG_RESPONSE, request_code};
use rocketmq_testkit::world::{LinkProfile, Segmentation, SendSpec, World, Writes};

use crate::common::{
    A, B, TOPIC, cluster, config, events, ms, script_sends, secs, warm, warm_with,
};

fn late_answers(world: &World) -> usize {
    events(world, |event| matches!(event, Event::LateAnswer { .. })).len()
}

fn answer_frame(opaque: i32) -> Vec<u8> {
    let mut answer = Command::request(0, opaque)
        .field("msgId", "0A00000100002A9F0000000000000000")
        .field("queueId", "0")
        .field("queueOffset", "7");
    answer.flag = FLAG_RESPONSE;
    answer.encode()
}

#[test]
fn t31_a_second_answer_is_an_event() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::twice());
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.run_for(ms(5));
    assert_eq!(late_answers(&world), 1);
    assert_eq!(world.cluster().stored(TOPIC).len(), 2);
    world.finish();
}

#[test]
fn t30_an_unknown_number_completes_nobody() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::wrong_opaque(123_456));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Unknown));
    assert_eq!(late_answers(&world), 1);
    assert_eq!(world.connections(0, A), 1, "a stray answer is no reason to cut");
    world.finish();
}

#[test]
fn t33_an_answer_on_another_connection_completes_nobody() {
    let mut world = warm(2);
    script_sends(&mut world, A, Fault::silent());
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-a", 0).retries(0));
    world.run_for(ms(10));
    let frame = world.frames_of(id)[0];
    let (link, opaque) = (frame.link, frame.command.opaque);
    world.with(|cluster| {
        let other = cluster.connections(B)[0];
        assert_ne!(other, ConnectionId(link));
        assert!(cluster.send_frame(B, other, answer_frame(opaque)));
    });
    world.run_for(ms(10));
    assert!(world.outcome(id).is_none());
    assert_eq!(late_answers(&world), 1);
    assert_eq!(world.wait(id).delivery(), Some(Delivery::Unknown));
    world.finish();
}

#[test]
fn t34_a_request_with_the_number_of_a_pending_one_completes_nobody() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(ms(100)));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(10));
    let frame = world.frames_of(id)[0];
    let (link, opaque) = (frame.link, frame.command.opaque);
    world.with(|cluster| {
        let request = Command::request(40, opaque).encode();
        assert!(cluster.send_frame(A, ConnectionId(link), request));
    });
    world.run_for(ms(10));
    assert!(world.outcome(id).is_none());
    assert_eq!(world.client_answers(), [(link, 3, opaque)]);
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn t36_requests_of_brokers_are_answered_with_3_unless_oneway() {
    let mut world = warm(1);
    let mut expected = Vec::new();
    let connection = world.cluster().connections(A)[0];
    for code in [39, 40, 307, 309, 220, 221, 9_999] {
        let opaque = world.with(|cluster| {
            let request = cluster.broker_request(code).field("jstackEnable", "true");
            cluster.send_request(A, connection, request)
        });
        expected.push((connection.0, 3, opaque.unwrap()));
        world.with(|cluster| {
            let mut request = cluster.broker_request(code).with_body("anything");
            request.flag = FLAG_ONEWAY;
            cluster.send_request(A, connection, request);
        });
    }
    world.run_for(ms(50));
    assert_eq!(world.client_answers(), expected);
    let refused = events(&world, |event| matches!(event, Event::RequestRefused { .. }));
    assert_eq!(refused.len(), 14);
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_flood_of_requests_by_a_peer_that_does_not_read_costs_no_memory() {
    let mut world = warm(1);
    world.stop_reading(A);
    let connection = world.cluster().connections(A)[0];
    for _ in 0..200 {
        let flood: Vec<u8> = (0..200).flat_map(|n| Command::request(39, n).encode()).collect();
        world.with(|cluster| cluster.send_frame(A, connection, flood));
        world.run_for(ms(1));
    }
    // The socket took 256 KiB, and the client holds 64 KiB more at most.
    let answers = world.client_answers().len() * 120;
    assert!(answers < 400 * 1024, "{answers}");
    world.run_for(secs(40));
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn t36_of_a_flood_of_requests_few_are_answered() {
    let mut world = warm(1);
    let connection = world.cluster().connections(A)[0];
    let flood = |world: &mut World| {
        let flood: Vec<u8> = (0..500).flat_map(|n| Command::request(40, n).encode()).collect();
        world.with(|cluster| cluster.send_frame(A, connection, flood));
        world.run_for(secs(1));
        world.client_answers().len()
    };
    assert_eq!(flood(&mut world), 100);
    assert_eq!(flood(&mut world), 200, "a second later there is room again");
    assert_eq!(world.connections(0, A), 1, "and the connection lives");
    world.finish();
}

#[test]
fn t35_an_answer_to_a_oneway_send_is_an_event_and_no_second_end() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::answer(2, "busy").even_oneway());
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    let outcome = world.wait(id);
    assert!(matches!(outcome, rocketmq_testkit::world::Outcome::Sent(_)), "{outcome:?}");
    world.run_for(ms(50));
    assert_eq!(late_answers(&world), 1);
    assert_eq!(world.frames_of(id).len(), 1, "and it is not sent again");
    world.finish();
}

#[test]
fn t35_a_frame_with_both_flags_is_an_answer() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(ms(100)));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(10));
    let (link, opaque) = (world.frames_of(id)[0].link, world.frames_of(id)[0].command.opaque);
    let frame = |opaque: i32| {
        let mut answer = Command::request(14, opaque);
        answer.flag = FLAG_RESPONSE | FLAG_ONEWAY;
        answer.encode()
    };
    // To a number that nobody has: dropped, and not taken for a request.
    world.with(|cluster| cluster.send_frame(A, ConnectionId(link), frame(opaque + 77)));
    world.run_for(ms(10));
    assert!(world.outcome(id).is_none());
    assert_eq!(late_answers(&world), 1);
    assert_eq!(world.client_answers(), []);
    assert!(world.wait(id).is_stored());
    world.finish();
}

/// A heartbeat is a frame like any other, and so is its answer: they may come in any pieces.
#[test]
fn heartbeats_and_their_answers_come_in_fragments() {
    let byte_by_byte = LinkProfile {
        buffer_bytes: 64,
        writes: Writes::Partial,
        segmentation: Segmentation::Random(1),
        ..LinkProfile::default()
    };
    let mut world = World::new(1, cluster(2), config(|c| c));
    world.set_profile(byte_by_byte);
    world.run_for(ms(100));
    for number in 0..300 {
        world.register(0, &format!("group-{number}"));
    }
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.run_for(secs(65));
    for broker in 0..2 {
        let last = world.cluster().heartbeats(broker).last().unwrap();
        assert_eq!(last.heartbeat.producer_groups.len(), 301, "every group, and in one piece");
    }
    let failed = events(&world, |event| matches!(event, Event::HeartbeatFailed { .. }));
    assert_eq!(failed, []);
    world.finish();
}

#[test]
fn a_heartbeat_that_is_not_answered_is_an_event_and_delays_no_other() {
    let mut world = warm(3);
    world.with(|cluster| cluster.script(A, Rule::heartbeats().always(), Fault::silent()));
    let before = world.cluster().heartbeats(1).len();
    let start = world.now();
    world.run_for(secs(62));
    let times: Vec<u64> =
        world.cluster().heartbeats(1)[before..].iter().map(|h| h.at_ns - start).collect();
    assert_eq!(times.len(), 2, "{times:?}");
    assert!(times[1] - times[0] < 30_500_000_000, "P39: {times:?}");
    let failed = events(&world, |event| matches!(event, Event::HeartbeatFailed { .. }));
    assert!(!failed.is_empty());
    world.finish();
}

/// 10.8: what no route names any more is forgotten, and its connection is not left open.
#[test]
fn a_broker_that_left_all_routes_is_forgotten() {
    let mut world = warm(2);
    assert_eq!((world.tables(0).brokers, world.connections(0, B)), (2, 1));
    world.with(|cluster| cluster.unregister_broker(1));
    let heard = world.cluster().heartbeats(1).len();
    world.run_for(secs(65));
    assert_eq!((world.tables(0).brokers, world.connections(0, B)), (1, 0));
    let more = world.cluster().heartbeats(1).len() - heard;
    assert!(more <= 1, "{more} heartbeats to a broker that nobody names");
    world.with(|cluster| cluster.register_broker(1));
    world.run_for(secs(65));
    assert_eq!((world.tables(0).brokers, world.connections(0, B)), (2, 1), "and known again");
    world.finish();
}

/// Requests other than sends have a time of their own.
#[test]
fn a_request_without_an_answer_ends_after_the_request_timeout() {
    let mut world = warm_with(1, 1, |c| c.request_timeout(ms(700)));
    world.with(|cluster| cluster.script(A, Rule::heartbeats().always(), Fault::silent()));
    world.run_for(secs(40));
    let beats = world.cluster().frames_of(A, request_code::HEART_BEAT);
    let failed = events(&world, |event| matches!(event, Event::HeartbeatFailed { .. }));
    let (at, _) = failed[0];
    let waited = beats.iter().map(|beat| at.saturating_sub(Duration::from_nanos(beat.at_ns)));
    let waited: Vec<_> = waited.collect();
    assert!(waited.iter().any(|waited| (ms(699)..=ms(700)).contains(waited)), "{waited:?}");
    world.finish();
}

/// 10.6: nobody sends to slaves, so nobody greets them.
#[test]
fn slaves_are_neither_dialled_nor_greeted() {
    let mut world = warm(1);
    let master = world.cluster().address(A).to_string();
    let addresses = [(0, master), (1, "10.0.0.99:10911".to_owned())];
    world.with(|cluster| cluster.announce(0, addresses.into()));
    world.run_for(secs(100));
    let dials = events(&world, |event| match event {
        Event::Connected { address, .. } | Event::ConnectFailed { address, .. } => {
            &**address == "10.0.0.99:10911"
        }
        _ => false,
    });
    assert_eq!(dials, []);
    assert_eq!(world.tables(0).addresses, 2, "name server and master");
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.finish();
}
