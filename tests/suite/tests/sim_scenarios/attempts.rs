//! Time, transport and the choice of the next attempt.

use rocketmq_core::wire::Encoding;
use rocketmq_core::{
    AttemptFailure, CloseReason, ConnectFailure, Delivery, Event, SendErrorKind, Stage,
};
use rocketmq_testkit::cluster::{Fault, Node, Rule};
use rocketmq_testkit::world::{Cut, LinkProfile, Outcome, SendSpec, World};

use crate::common::{
    A, B, TOPIC, cluster, config, elapsed, events, ms, script_sends, secs, send_via, warm, warm_up,
    warm_with, world, world_with,
};

#[test]
fn one_silent_broker_of_three_costs_a_third_of_the_time() {
    let mut world = warm(3);
    script_sends(&mut world, A, Fault::silent());
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap();
    let took = elapsed(&world, id);
    assert!((secs(1)..ms(1_010)).contains(&took), "{took:?}");
    let failed = &receipt.failed_attempts[0];
    assert_eq!(failed.failure, AttemptFailure::TimedOut);
    assert_eq!((failed.stage, failed.delivery), (Stage::Await, Delivery::Unknown));
    // It is avoided from now on.
    for n in 0..9 {
        let id = world.send(TOPIC, &format!("m{n}"));
        world.wait(id);
        assert!(elapsed(&world, id) < ms(5));
    }
    world.finish();
}

#[test]
fn a_single_slow_broker_gets_all_the_time_there_is() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(ms(2_900)));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert!(outcome.is_stored(), "{outcome:?}");
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();
}

#[test]
fn all_brokers_silent_is_a_timeout_that_may_be_stored() {
    let mut world = warm(3);
    for node in [A, B, Node::Broker(2)] {
        script_sends(&mut world, node, Fault::silent());
    }
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    let error = outcome.error().unwrap();
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Timeout, Delivery::Unknown));
    let mut names: Vec<_> = error.attempts().iter().map(|a| a.broker_name.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert_eq!(elapsed(&world, id), secs(3));
    world.finish();
}

#[test]
fn a_black_holed_broker_does_not_eat_the_budget() {
    for seed in 0..6 {
        let mut world = world_with(seed, 2, |c| c);
        world.with(|cluster| cluster.blackhole(A));
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap();
        assert_eq!(&*receipt.broker_name, "broker-b");
        if let Some(failed) = receipt.failed_attempts.first() {
            assert_eq!((failed.stage, failed.delivery), (Stage::Connect, Delivery::NotSent));
            assert_eq!(failed.failure, AttemptFailure::TimedOut);
        }
        assert!(elapsed(&world, id) < ms(1_010));
        world.finish();
    }
}

#[test]
fn a_refused_connection_moves_on_at_once() {
    let mut seen = false;
    for seed in 0..6 {
        let mut world = world_with(seed, 2, |c| c);
        world.with(|cluster| cluster.kill(A));
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        if let Some(failed) = outcome.receipt().unwrap().failed_attempts.first() {
            seen = true;
            assert_eq!(failed.failure, AttemptFailure::Connect(ConnectFailure::Refused));
            assert_eq!((failed.stage, failed.delivery), (Stage::Connect, Delivery::NotSent));
        }
        assert!(elapsed(&world, id) < ms(10));
        world.finish();
    }
    assert!(seen, "one of six seeds begins with the dead broker");
}

#[test]
fn a_single_broker_that_comes_back_in_time_gets_the_message() {
    for seed in 0..10 {
        let mut world = world_with(seed, 1, |c| c);
        world.with(|cluster| cluster.kill(A));
        let id = world.send(TOPIC, "m");
        world.run_for(ms(700));
        world.with(|cluster| cluster.restart(A));
        let outcome = world.wait(id);
        assert!(outcome.is_stored(), "seed {seed}: {outcome:?}");
        world.finish();
    }
}

#[test]
fn a_broker_killed_with_sends_in_flight_loses_none() {
    let mut world = warm(2);
    world.with(|cluster| cluster.stall(A));
    let ids: Vec<_> = (0..40).map(|n| world.send(TOPIC, &format!("m{n}"))).collect();
    world.run_for(ms(50));
    let waiting = ids.iter().filter(|id| world.outcome(**id).is_none()).count();
    assert!((15..=25).contains(&waiting), "{waiting}");
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(50));
    for id in ids {
        let outcome = world.outcome(id).expect("moved on at once").clone();
        assert!(outcome.is_stored(), "{outcome:?}");
        for attempt in outcome.failed_attempts() {
            assert_eq!(attempt.delivery, Delivery::Unknown);
            assert_eq!(attempt.failure, AttemptFailure::Closed(CloseReason::Reset));
        }
    }
    world.finish();
}

#[test]
fn what_did_not_leave_before_the_kill_was_not_sent() {
    let mut world = world_with(1, 1, |c| c.retries_max(0).unsent_bytes_max(2_000));
    let narrow = LinkProfile { buffer_bytes: 1_000, ..LinkProfile::default() };
    world.set_profile_of(A, narrow);
    warm_up(&mut world);
    world.with(|cluster| cluster.stall(A));
    let ids: Vec<_> = (0..30).map(|n| world.send(TOPIC, &format!("m{n}"))).collect();
    world.run_for(ms(50));
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(50));
    let mut seen = [0; 2];
    for id in ids {
        let frames = world.frames_of(id);
        let written = frames.iter().any(|frame| frame.written_ns.is_some());
        let outcome = world.outcome(id).expect("it ended with the connection").clone();
        let expected = if written { Delivery::Unknown } else { Delivery::NotSent };
        assert_eq!(outcome.delivery(), Some(expected));
        assert_eq!(outcome.error().unwrap().kind(), &SendErrorKind::Transport);
        seen[usize::from(written)] += 1;
    }
    assert!(seen[0] > 20 && seen[1] >= 1, "{seen:?}");
    world.finish();
}

fn cut_at(more: u64, cut: Cut, encoding: Encoding) -> (World, Outcome, usize) {
    let mut world = warm_with(1, 1, |c| c.retries_max(0).encoding(encoding));
    world.cut_outgoing(A, more, cut);
    let id = world.send(TOPIC, "the body");
    let outcome = world.wait(id);
    let frames = world.frames_of(id);
    let whole = frames.iter().filter(|frame| frame.written_ns.is_some()).count();
    (world, outcome, whole)
}

#[test]
fn t85_a_reset_at_every_byte_of_the_request_has_the_right_verdict() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let mut k = 0;
        loop {
            let (mut world, outcome, whole) = cut_at(k, Cut::Reset, encoding);
            let delivery = outcome.delivery();
            if whole == 1 {
                assert_eq!(delivery, Some(Delivery::Unknown), "byte {k}, {encoding:?}");
                world.finish();
                break;
            }
            assert_eq!(delivery, Some(Delivery::NotSent), "byte {k}, {encoding:?}");
            let attempt = &outcome.failed_attempts()[0];
            assert_eq!(attempt.stage, Stage::Write, "byte {k}");
            assert_eq!(attempt.failure, AttemptFailure::Closed(CloseReason::Reset));
            // Every run is judged, but not every one needs a minute of virtual close.
            if k % 16 == 0 {
                world.finish();
            } else {
                world.verify();
            }
            k += 1;
        }
        assert!(k > 100, "{k}");
    }
}

#[test]
fn t85_an_answer_cut_at_any_byte_is_unknown_and_retried() {
    for k in [0, 1, 3, 4, 8, 9, 30, 60] {
        for cut in [Cut::Reset, Cut::Fin] {
            let mut world = warm_with(1, 2, |c| c);
            world.cut_incoming(A, k, cut);
            let id = send_via(&mut world, A);
            let outcome = world.wait(id);
            let receipt = outcome.receipt().unwrap();
            assert_eq!(&*receipt.broker_name, "broker-b");
            assert_eq!(receipt.failed_attempts[0].delivery, Delivery::Unknown);
            assert_eq!(receipt.failed_attempts[0].stage, Stage::Await);
            world.run_for(ms(1));
            let key = world.record(id).unique_key.clone();
            assert_eq!(world.cluster().stored_by_key(&key).len(), 2);
            world.finish();
        }
    }
}

#[test]
fn a_late_answer_is_adopted_while_a_later_attempt_runs() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::delay(ms(1_700)));
    }
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap();
    let took = elapsed(&world, id);
    assert!((ms(1_700)..ms(1_710)).contains(&took), "{took:?}");
    assert_eq!(world.frames_of(id).len(), 2);
    let first = world.frames_of(id)[0].node;
    assert_eq!(&*receipt.broker_name, if first == A { "broker-a" } else { "broker-b" });
    // The attempt that worked did not fail; the other one may be a second copy, and is.
    let [other] = &receipt.failed_attempts[..] else { panic!("{receipt:?}") };
    assert_ne!(other.broker_name, receipt.broker_name);
    let told = (other.stage, &other.failure, other.delivery);
    assert_eq!(told, (Stage::Await, &AttemptFailure::GivenUp, Delivery::Unknown));
    // The answer to the other one comes when nobody waits any more.
    world.run_for(secs(2));
    let op = world.record(id).op;
    let late = events(&world, |e| matches!(e, Event::LateAnswer { op: Some(o), .. } if *o == op));
    assert_eq!(late.len(), 1);
    assert_eq!(world.cluster().stored(TOPIC).iter().filter(|it| it.body == b"m").count(), 2);
    world.finish();
}

#[test]
fn a_late_refusal_turns_unknown_into_refused() {
    let mut world = warm(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer(13, "illegal").delayed_by(ms(1_300)));
    }
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    let error = outcome.error().unwrap();
    assert_eq!(error.delivery(), Delivery::Refused);
    assert!(error.attempts().iter().all(|a| a.stage == Stage::Answered));
    world.finish();
}

#[test]
fn a_late_answer_after_the_end_is_an_event() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::delay(secs(5)));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Unknown));
    world.run_for(secs(4));
    let op = world.record(id).op;
    let late = events(&world, |e| matches!(e, Event::LateAnswer { .. }));
    assert_eq!(late.len(), 1);
    assert!(matches!(late[0].1, Event::LateAnswer { op: Some(o), code: 0, .. } if o == op));
    assert_eq!(world.connections(0, A), 1, "a slow broker is not a silent one");
    world.finish();
}

#[test]
fn a_given_queue_is_tried_on_that_queue_only() {
    let mut world = warm(3);
    script_sends(&mut world, B, Fault::answer(14, "not available"));
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-b", 2));
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Refused));
    let frames = world.frames_of(id);
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.node == B && frame.queue_id() == 2));
    world.with(|cluster| cluster.clear_script(B));
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-b", 2));
    let queue = world.wait(id).receipt().unwrap().queue().unwrap();
    assert_eq!((queue.broker_name(), queue.queue_id()), ("broker-b", 2));
    world.finish();
}

#[test]
fn a_given_queue_of_an_unknown_broker_is_no_queue() {
    let mut world = warm(1);
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-x", 0));
    let outcome = world.wait(id);
    let error = outcome.error().unwrap();
    assert_eq!(error.kind(), &SendErrorKind::NoSuchQueue("broker-x".into()));
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::NotSent, 0));
    assert!(elapsed(&world, id) < ms(10));
    world.finish();
}

#[test]
fn retry_only_if_not_stored_stops_at_the_first_unknown() {
    let mut world = warm_with(1, 2, |c| c.retry_only_if_not_stored(true));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::silent_after_storing().then_reset());
    }
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Unknown));
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();

    // What was surely not stored is tried again.
    let mut world = warm_with(1, 2, |c| c.retry_only_if_not_stored(true));
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    let id = send_via(&mut world, A);
    assert!(world.wait(id).is_stored());
    world.finish();
}

#[test]
fn a_oneway_message_is_never_sent_twice() {
    // The first byte has left: this was the only try.
    let mut world = warm(2);
    for node in [A, B] {
        world.cut_outgoing(node, 40, Cut::Reset);
    }
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::NotSent), "a fragment is no message");
    assert_eq!(outcome.failed_attempts().len(), 1);
    world.finish();

    // No byte has left: another broker may have it.
    let mut world = warm(2);
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(1));
    for n in 0..4 {
        let id = world.submit(SendSpec::new(TOPIC, format!("m{n}")).oneway());
        assert!(matches!(world.wait(id), Outcome::Sent(_)));
    }
    world.run_for(ms(1));
    assert_eq!(world.cluster().stored(TOPIC).iter().filter(|m| m.broker == "broker-b").count(), {
        let warm = world.cluster().stored(TOPIC)[0].broker == "broker-b";
        4 + usize::from(warm)
    });
    world.finish();
}

#[test]
fn the_wait_property_is_that_of_the_message() {
    let mut world = warm(1);
    let yes = world.submit(SendSpec::new(TOPIC, "m"));
    let no = world.submit(SendSpec::new(TOPIC, "m").wait_stored(false));
    world.run_until_idle();
    for (id, wait) in [(yes, "true"), (no, "false")] {
        let key = world.record(id).unique_key.clone();
        let stored = world.cluster().stored_by_key(&key);
        assert_eq!(&stored[0].properties["WAIT"], wait);
    }
    world.finish();
}

#[test]
fn latency_avoidance_off_skips_only_the_last_broker() {
    let mut world = warm_with(1, 2, |c| c.latency_avoidance(false));
    script_sends(&mut world, A, Fault::answer(14, "not available"));
    let mut via = [0; 2];
    for n in 0..12 {
        let id = world.send(TOPIC, &format!("m{n}"));
        assert!(world.wait(id).is_stored());
        let first = world.frames_of(id)[0].node;
        via[usize::from(first == B)] += 1;
    }
    // Nobody is avoided for longer than one attempt. A walk of Java's list meets A once, goes on to
    // the first queue of B with the retry, and takes the other three of B with the next sends.
    assert_eq!(via, [3, 9]);
    world.finish();
}

#[test]
fn a_faulty_broker_is_avoided_and_comes_back() {
    let mut world = warm(2);
    world.with(|cluster| cluster.script(A, Rule::sends().times(1), Fault::answer(14, "no")));
    let id = send_via(&mut world, A);
    world.wait(id);
    let firsts = |world: &mut World, count: usize| -> usize {
        let mut to_a = 0;
        for n in 0..count {
            let id = world.send(TOPIC, &format!("m{n}"));
            world.wait(id);
            to_a += usize::from(world.frames_of(id)[0].node == A);
        }
        to_a
    };
    assert_eq!(firsts(&mut world, 10), 0, "isolated");
    world.run_for(secs(11));
    assert_eq!(firsts(&mut world, 10), 5, "and back after ten seconds");
    world.finish();
}

#[test]
fn sends_spread_evenly_over_all_queues() {
    let mut world = world(3);
    for n in 0..120 {
        world.send(TOPIC, &format!("m{n}"));
    }
    world.run_until_idle();
    let mut counts = std::collections::BTreeMap::new();
    for stored in world.cluster().stored(TOPIC) {
        *counts.entry((stored.broker, stored.queue_id)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 12);
    assert!(counts.values().all(|count| *count == 10), "{counts:?}");
    world.finish();
}

#[test]
fn wall_clock_jumps_change_nothing_but_what_is_read_from_it() {
    let run = |jumps: bool| {
        let mut world = World::new(9, cluster(2), config(|c| c));
        for n in 0..60_u64 {
            let wall = [0, 4_000_000_000_000, 1_600_000_000_000, i64::from(i32::MAX) * 1000];
            if jumps {
                world.jump_wall(wall[n as usize % 4]);
            }
            if n == 20 {
                world.with(|cluster| cluster.stall(A));
            }
            if n == 40 {
                world.with(|cluster| cluster.resume(A));
            }
            world.send(TOPIC, &format!("m{n}"));
            world.run_for(ms(500));
        }
        world.finish();
        let ends = world.records().iter().map(|record| {
            let receipt = record.outcome.as_ref().and_then(Outcome::receipt);
            (record.ended_ns, receipt.map(|r| (r.broker_name.to_string(), r.position)))
        });
        ends.collect::<Vec<_>>()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn t71_a_monotonic_clock_that_steps_back_is_held() {
    let mut world = warm(2);
    world.with(|cluster| cluster.stall(A));
    for n in 0..10 {
        world.send(TOPIC, &format!("m{n}"));
        world.run_for(ms(20));
        world.set_clock_error(0, -1_000_000_000 * (n % 2));
        world.run_for(ms(20));
        world.set_clock_error(0, 0);
    }
    world.run_until_idle();
    world.with(|cluster| cluster.resume(A));
    assert!(world.records().iter().all(|r| r.outcome.as_ref().unwrap().is_stored()));
    world.finish();
}

/// The last attempt dials again and again, since nothing else is left to try.
#[test]
fn a_dial_that_hangs_is_given_up_after_the_connect_timeout() {
    let mut world = world_with(1, 1, |c| c.connect_timeout(ms(300)));
    world.with(|cluster| cluster.blackhole(A));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.failed_attempts().len(), 3);
    for attempt in outcome.failed_attempts() {
        assert_eq!(attempt.failure, AttemptFailure::Connect(ConnectFailure::TimedOut));
        assert_eq!((attempt.stage, attempt.delivery), (Stage::Connect, Delivery::NotSent));
    }
    assert_eq!(outcome.failed_attempts()[0].elapsed, ms(300));
    world.finish();
}
