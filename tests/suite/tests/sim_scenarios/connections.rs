//! Connections that go silent, stall, idle or speak in fragments.

use rocketmq_core::{CloseReason, Delivery, Event};
use rocketmq_testkit::cluster::Fault;
use rocketmq_testkit::wire::Command;
use rocketmq_testkit::world::{Cut, Habits, LinkProfile, SendSpec, World, Writes};

use crate::common::{
    A, B, NS, TOPIC, cluster, config, elapsed, events, ms, secs, warm, warm_up, warm_with, world,
};

fn closings(world: &World, wanted: CloseReason) -> Vec<u64> {
    let matching = events(
        world,
        |event| matches!(event, Event::Disconnected { reason, .. } if *reason == wanted),
    );
    matching.into_iter().map(|(at, _)| at.as_millis() as u64).collect()
}

#[test]
fn t48_a_half_open_connection_is_probed_and_cut() {
    let mut world = warm(1);
    world.silence(A);
    let start = world.now() / 1_000_000;
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Unknown));
    world.run_for(ms(1_100));
    assert_eq!(closings(&world, CloseReason::Silent), [start + 4_000]);
    let id = world.send(TOPIC, "on a fresh connection");
    assert!(world.wait(id).is_stored());
    assert!(elapsed(&world, id) < ms(200));
    world.finish();
}

#[test]
fn a_read_that_brings_nothing_is_no_sign_of_life() {
    let mut world = warm(1);
    world.set_habits(Habits { noise: 1_000, ..Habits::default() });
    world.silence(A);
    for n in 0..40 {
        world.submit(SendSpec::new(TOPIC, format!("m{n}")).timeout(secs(1)));
        world.run_for(ms(100));
    }
    assert_eq!(closings(&world, CloseReason::Silent).len(), 1);
    world.finish();
}

#[test]
fn a_half_open_connection_without_sends_is_found_by_the_heartbeat() {
    let mut world = warm(2);
    world.silence(A);
    world.run_for(secs(35));
    assert_eq!(closings(&world, CloseReason::Silent).len(), 1);
    for n in 0..8 {
        let id = world.send(TOPIC, &format!("m{n}"));
        assert!(world.wait(id).is_stored());
        assert!(elapsed(&world, id) < ms(200));
    }
    world.finish();
}

#[test]
fn a_half_open_name_server_is_replaced() {
    let mut world = warm(1);
    world.silence(NS);
    world.run_for(secs(70));
    assert_eq!(closings(&world, CloseReason::Silent).len(), 1);
    world.with(|cluster| {
        cluster.set_topic(0, "Fresh", rocketmq_testkit::cluster::TopicConfig::new(2))
    });
    let id = world.send("Fresh", "m");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_connection_without_a_group_is_closed_when_idle_for_two_minutes() {
    let mut world = World::new(1, cluster(1), config(|c| c));
    warm_up(&mut world);
    let quiet = world.add_client(config(|c| c), "leaves");
    let id = world.submit(SendSpec::new(TOPIC, "m").by(quiet));
    let outcome = world.wait(id);
    assert!(outcome.is_stored(), "{outcome:?}");
    world.unregister(quiet, world.group(quiet));
    world.run_for(secs(119));
    assert_eq!(world.connections(quiet, A), 1);
    world.run_for(secs(2));
    assert_eq!(world.connections(quiet, A), 0);
    world.register(quiet, "again");
    assert_eq!(world.connections(quiet, NS), 1, "routes are refreshed, so this one is in use");
    assert_eq!(world.connections(0, A), 1, "heartbeats keep this one");
    let id = world.submit(SendSpec::new(TOPIC, "again").by(quiet));
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn t49_a_frame_that_does_not_end_is_cut_after_15_s() {
    let mut world = warm(2);
    let start = world.now() / 1_000_000;
    let mut frame = Command::request(40, 1).encode();
    frame.truncate(12);
    world.with(|cluster| {
        let connection = cluster.connections(A)[0];
        cluster.send_frame(A, connection, frame);
    });
    // Byte by byte does not help the peer.
    for n in 0..20 {
        world.run_for(secs(1));
        world.with(|cluster| {
            if let Some(connection) = cluster.connections(A).first().copied()
                && n < 14
            {
                cluster.send_frame(A, connection, vec![b' ']);
            }
        });
    }
    assert_eq!(closings(&world, CloseReason::PartialFrame), [start + 15_000]);
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn t50_a_peer_that_never_reads_is_cut_and_disturbs_nobody() {
    let mut world = World::new(1, cluster(2), config(|c| c));
    world.set_profile_of(A, LinkProfile { buffer_bytes: 2_000, ..LinkProfile::default() });
    warm_up(&mut world);
    world.stop_reading(A);
    let body = "x".repeat(1_500);
    for n in 0..40 {
        let id = world.submit(SendSpec::new(TOPIC, body.clone()).to("broker-b", n % 4));
        world.submit(SendSpec::new(TOPIC, body.clone()).to("broker-a", n % 4).retries(0));
        let outcome = world.wait(id);
        assert!(outcome.is_stored() && elapsed(&world, id) < ms(5), "{outcome:?}");
    }
    world.run_for(secs(20));
    assert!(world.records()[1..].iter().all(|record| {
        let pinned_to_a = record.outcome.as_ref().unwrap().failed_attempts().len() == 1;
        pinned_to_a || record.outcome.as_ref().unwrap().is_stored()
    }));
    let gone = closings(&world, CloseReason::Silent).len()
        + closings(&world, CloseReason::WriteStalled).len();
    assert!(gone >= 1);
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-a", 0));
    assert!(world.wait(id).is_stored(), "a fresh connection is read");
    world.finish();
}

#[test]
fn t88_a_dial_that_hangs_does_not_delay_others() {
    let mut world = world(1);
    world.with(|cluster| {
        cluster.set_topic(0, "Second", rocketmq_testkit::cluster::TopicConfig::new(1))
    });
    let other = World::config(1).build().unwrap();
    let mut two = World::new(2, cluster(2), other);
    two.with(|cluster| cluster.blackhole(A));
    let id = two.send(TOPIC, "finds the route");
    two.wait(id);
    let dead = two.submit(SendSpec::new(TOPIC, "m").to("broker-a", 0));
    for n in 0..20 {
        let id = two.submit(SendSpec::new(TOPIC, format!("m{n}")).to("broker-b", 0));
        assert!(two.wait(id).is_stored());
        assert!(elapsed(&two, id) < ms(5));
    }
    assert_eq!(two.wait(dead).delivery(), Some(Delivery::NotSent));
    two.finish();
    world.finish();
}

#[test]
fn garbage_from_a_broker_cuts_that_connection_only() {
    let rows: [&[u8]; 8] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff\xff\xff\xff\x00\x00\x00\x00",
        b"\x00\x00\x00\x02\x00\x00",
        b"\x7f\xff\xff\xff\x00\x00\x00\x00",
        b"\x00\x00\x00\x10\x07\x00\x00\x02{}",
        b"\x00\x00\x12\x04\x00\x00\x00\x00",
    ];
    for row in rows {
        let mut world = warm(2);
        let b_link = world.cluster().connections(B)[0];
        crate::common::script_sends(&mut world, A, Fault::garbage(row));
        let id = crate::common::send_via(&mut world, A);
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap();
        let failed = &receipt.failed_attempts[0];
        assert_eq!(failed.delivery, Delivery::Unknown);
        let protocol = |reason: &CloseReason| matches!(reason, CloseReason::Protocol(_));
        assert!(
            matches!(&failed.failure, rocketmq_core::AttemptFailure::Closed(r) if protocol(r)),
            "{row:?}: {failed}"
        );
        assert!(elapsed(&world, id) < ms(5), "{row:?}");
        assert_eq!(world.cluster().connections(B), [b_link]);
        world.finish();
    }
}

#[test]
fn a_broker_that_closes_every_connection_is_not_dialled_in_a_loop() {
    let mut world = warm_with(1, 1, |c| c);
    world.with(|cluster| {
        let any = rocketmq_testkit::cluster::Rule::any().always();
        cluster.script(A, any, Fault::close());
    });
    let before = world.trace().total();
    for n in 0..100 {
        world.send(TOPIC, &format!("m{n}"));
        world.run_for(ms(100));
    }
    world.run_until_idle();
    let dials = events(&world, |e| {
        matches!(e, Event::Connected { address, .. }
        if &**address == "10.0.0.1:10911")
    });
    assert!(
        dials.len() < 30,
        "{} dials in 13 s, {} lines",
        dials.len(),
        world.trace().total() - before
    );
    world.with(|cluster| cluster.clear_script(A));
    world.run_for(secs(4));
    let id = world.send(TOPIC, "back");
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn half_a_megabyte_goes_through_a_small_socket_in_small_pieces() {
    let mut world = World::new(3, cluster(1), config(|c| c));
    world.set_profile(LinkProfile {
        buffer_bytes: 700,
        writes: Writes::Partial,
        segmentation: rocketmq_testkit::world::Segmentation::Random(50),
        ..LinkProfile::default()
    });
    let big: String = (0..500_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let id = world.submit(SendSpec::new(TOPIC, big.clone()).timeout(secs(60)));
    let small = world.submit(SendSpec::new(TOPIC, "small").timeout(secs(60)));
    assert!(world.wait(id).is_stored() && world.wait(small).is_stored());
    let stored = world.cluster().stored(TOPIC);
    assert!(stored.iter().any(|message| message.body == big.as_bytes()));
    world.finish();
}

/// The simulated network keeps its word too: a stream that was cut does not go on behind the hole.
#[test]
fn nothing_that_a_server_writes_after_a_cut_arrives() {
    for more in [1, 10, 26, 100] {
        let mut world = warm(1);
        world.cut_incoming(A, more, Cut::Fin);
        for n in 0..3 {
            world.send(TOPIC, &format!("m{n}"));
        }
        world.run_until_idle();
        let broken = events(&world, |event| {
            matches!(event, Event::Disconnected { reason: CloseReason::Protocol(_), .. })
        });
        assert_eq!(broken.len(), 0, "cut after {more} bytes");
        assert_eq!(closings(&world, CloseReason::Eof).len(), 1, "cut after {more} bytes");
        world.finish();
    }
}
