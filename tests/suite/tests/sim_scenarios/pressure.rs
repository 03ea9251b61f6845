//! What keeps brokers in trouble from being buried: pauses that adapt, and a budget for retries.
//! And weak receipts, which are never lost.

use rocketmq_core::wire::SendStatus;
use rocketmq_core::{AttemptFailure, Delivery, Event, RetryBudget, SendErrorKind};
use rocketmq_testkit::cluster::{Fault, TopicConfig};
use rocketmq_testkit::world::{Outcome, SendId, SendSpec, World};

use crate::common::{
    A, B, NS, TOPIC, config, elapsed, events, ms, script_sends, secs, send_via, warm, warm_with,
    world_with,
};

// ---- Pauses after busy answers --------------------------------------------------------------

/// Milliseconds from each busy answer to the next attempt.
fn pauses(world: &World, id: SendId) -> Vec<u64> {
    let frames = world.frames_of(id);
    let pause = |pair: &[&rocketmq_testkit::world::WireFrame]| {
        (pair[1].first_ns - pair[0].answer.as_ref().expect("answered").at_ns) / 1_000_000
    };
    frames.windows(2).map(pause).collect()
}

#[test]
fn pauses_grow_over_sends_while_brokers_are_busy_and_shrink_as_they_store() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    let mut first = Vec::new();
    for _ in 0..6 {
        let id = world.send(TOPIC, "m");
        world.wait(id);
        first.push(pauses(&world, id)[0]);
    }
    // It doubles twice in each send, and is the same for the first attempt of the next one.
    let bounds = [(10, 20), (40, 80), (160, 320), (250, 500), (250, 500), (250, 500)];
    for (pause, (from, to)) in first.iter().zip(bounds) {
        assert!((from..=to).contains(pause), "{first:?}");
    }
    world.with(|cluster| cluster.clear_script(A));
    for _ in 0..40 {
        let id = world.send(TOPIC, "m");
        assert!(world.wait(id).is_stored());
    }
    script_sends(&mut world, A, Fault::answer(215, "flow control"));
    let id = world.send(TOPIC, "m");
    world.wait(id);
    assert!((10..=20).contains(&pauses(&world, id)[0]), "{:?}", pauses(&world, id));
    world.finish();
}

#[test]
fn a_broker_that_is_not_busy_is_not_kept_waiting_for_one_that_is() {
    let mut world = warm_with(1, 2, |c| c.latency_avoidance(false));
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    for _ in 0..12 {
        let id = send_via(&mut world, A);
        assert!(world.wait(id).is_stored());
        assert!(elapsed(&world, id) <= ms(30), "{:?}", elapsed(&world, id));
    }
    world.finish();
}

#[test]
fn many_busy_answers_at_once_count_as_one() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    let ids: Vec<_> = (0..50).map(|_| world.send(TOPIC, "m")).collect();
    world.run_until_idle();
    for id in ids {
        let pauses = pauses(&world, id);
        // Else the second would wait 500 ms already.
        assert!(pauses[0] <= 20 && pauses[1] <= 40, "{pauses:?}");
    }
    world.finish();
}

#[test]
fn a_pause_never_goes_beyond_the_time_of_the_send() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    for _ in 0..4 {
        let id = world.send(TOPIC, "m");
        world.wait(id);
    }
    // A pause of 250 ms or more would be due.
    let id = world.submit(SendSpec::new(TOPIC, "m").timeout(ms(200)));
    let outcome = world.wait(id);
    let error = outcome.error().expect("busy");
    assert!(matches!(error.kind(), SendErrorKind::Broker { .. }), "{error}");
    assert_eq!(error.delivery(), Delivery::Refused);
    assert!(error.attempts().len() > 1, "{error}");
    assert!(elapsed(&world, id) <= ms(200));
    world.finish();
}

#[test]
fn a_refused_connection_costs_no_pause_and_no_budget() {
    let budget = RetryBudget::DEFAULT.with_burst(0).with_percent(0).with_per_second(0);
    let mut world = warm_with(1, 2, |c| c.retry_budget(Some(budget)));
    world.with(|cluster| cluster.kill(A));
    world.run_for(ms(10));
    for _ in 0..8 {
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        assert!(outcome.is_stored(), "{outcome:?}");
        assert!(elapsed(&world, id) <= ms(5), "{:?}", elapsed(&world, id));
    }
    world.finish();
}

// ---- The budget for retries -----------------------------------------------------------------

/// A client with so many retries and no more.
fn with_budget(brokers: usize, budget: RetryBudget) -> World {
    let mut world = warm_with(1, brokers, |c| c.retry_budget(Some(budget)));
    world.run_for(secs(1));
    world
}

fn budget(burst: u32) -> RetryBudget {
    RetryBudget::DEFAULT.with_burst(burst).with_percent(0).with_per_second(0)
}

#[test]
fn an_outage_is_not_multiplied_and_the_error_says_why() {
    let mut world = with_budget(2, budget(5));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer(2, "busy"));
    }
    let ids: Vec<_> = (0..20).map(|_| world.send(TOPIC, "m")).collect();
    world.run_until_idle();
    let frames: usize = ids.iter().map(|id| world.frames_of(*id).len()).sum();
    assert_eq!(frames, 20 + 5);
    let mut withheld = 0;
    for id in &ids {
        let error = world.outcome(*id).and_then(Outcome::error).expect("busy");
        assert!(matches!(error.kind(), SendErrorKind::Broker { .. }), "{error}");
        assert_eq!(error.delivery(), Delivery::Refused);
        let told = error.to_string().contains("retry_budget");
        assert_eq!(told, error.is_retry_withheld(), "{error}");
        assert_eq!(error.is_retry_withheld(), error.attempts().len() < 3, "{error}");
        withheld += usize::from(told);
    }
    let told = events(&world, |event| matches!(event, Event::RetryWithheld { .. }));
    assert_eq!(told.len(), withheld);
    assert!(withheld >= 15);
    world.finish();
}

#[test]
fn what_a_timeout_costs_is_counted_too_and_the_message_stays_unknown() {
    let mut world = with_budget(2, budget(0));
    script_sends(&mut world, A, Fault::silent_after_storing());
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    let error = outcome.error().expect("withheld");
    assert_eq!(error.kind(), &SendErrorKind::Timeout);
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(error.is_retry_withheld());
    assert_eq!(error.attempts().len(), 1);
    world.finish();
}

#[test]
fn messages_that_are_stored_and_time_earn_retries() {
    let earning = RetryBudget::DEFAULT.with_burst(2).with_percent(50).with_per_second(0);
    let mut world = with_budget(2, earning);
    script_sends(&mut world, A, Fault::answer(1, "store failed"));
    let mut stored = 0;
    // The first is full, then every retry has to be earned by two messages.
    for _ in 0..20 {
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        stored += usize::from(outcome.is_stored());
        world.run_for(secs(3));
    }
    assert!(stored >= 19, "{stored} of 20");
    world.finish();

    let earning = RetryBudget::DEFAULT.with_burst(1).with_percent(0).with_per_second(1);
    let mut world = with_budget(2, earning);
    script_sends(&mut world, A, Fault::answer(1, "store failed"));
    for _ in 0..3 {
        let id = send_via(&mut world, A);
        assert!(world.wait(id).is_stored());
        world.run_for(secs(3));
    }
    world.finish();
}

#[test]
fn refusals_without_work_and_better_receipts_are_free() {
    for (code, remark) in
        [(14, "not available"), (16, "read-only"), (17, "no topic"), (501, "no leader"), (1500, "")]
    {
        let mut world = with_budget(2, budget(0));
        script_sends(&mut world, A, Fault::answer(code, remark));
        let id = send_via(&mut world, A);
        assert!(world.wait(id).is_stored(), "{code}");
        world.finish();
    }
    let none = budget(0);
    let settings = |c: rocketmq_core::ConfigBuilder| {
        c.retry_budget(Some(none)).retry_weak_acknowledgement(true)
    };
    let mut world = warm_with(1, 2, settings);
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = send_via(&mut world, A);
    assert_eq!(world.wait(id).receipt().expect("stored").status, SendStatus::SendOk);
    world.finish();
}

#[test]
fn the_default_budget_lets_everything_in_flight_be_sent_again_at_once() {
    let mut world = warm_with(1, 2, |c| c.in_flight_messages_max(1_000).retries_max(2));
    script_sends(&mut world, A, Fault::silent());
    let ids: Vec<_> = (0..1_000).map(|_| world.send(TOPIC, "m")).collect();
    world.run_until_idle();
    assert!(ids.iter().all(|id| world.outcome(*id).is_some_and(Outcome::is_stored)));
    world.finish();
}

#[test]
fn without_a_budget_every_attempt_is_made() {
    let mut world = warm_with(1, 2, |c| c.in_flight_messages_max(1).retry_budget(None));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer(2, "busy"));
    }
    for _ in 0..30 {
        let id = world.send(TOPIC, "m");
        world.wait(id);
        assert_eq!(world.frames_of(id).len(), 3);
    }
    world.finish();
}

// ---- Weak receipts --------------------------------------------------------------------------

/// A send that has a weak receipt of A while B is asked for a better one and is silent.
fn bettering(seed: u64) -> (World, SendId) {
    let settings =
        |c: rocketmq_core::ConfigBuilder| c.retry_weak_acknowledgement(true).send_timeout(secs(3));
    let mut world = warm_with(seed, 2, settings);
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    script_sends(&mut world, B, Fault::silent());
    let id = send_via(&mut world, A);
    world.run_for(ms(20));
    assert_eq!(world.frames_of(id).len(), 2, "B was asked");
    (world, id)
}

fn assert_weak(outcome: Option<&Outcome>) {
    let receipt = outcome.and_then(Outcome::receipt).unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!(receipt.status, SendStatus::SlaveNotAvailable);
    assert_eq!(&*receipt.broker_name, "broker-a");
}

#[test]
fn a_weak_receipt_outlives_a_cancel_a_close_a_reset_and_the_loss_of_all_brokers() {
    // Cancelled while bytes of the second attempt are out.
    let (mut world, id) = bettering(1);
    world.cancel(id);
    assert_weak(Some(&world.wait(id)));
    world.finish();

    // Closed.
    let (mut world, id) = bettering(2);
    world.shutdown(0, ms(100));
    world.run_for(ms(200));
    assert_weak(world.outcome(id));
    world.finish();

    // The connection is lost.
    let (mut world, id) = bettering(3);
    world.with(|cluster| cluster.reset_connections(B));
    assert_weak(Some(&world.wait(id)));
    world.finish();

    // Every server is lost.
    let (mut world, id) = bettering(4);
    world.with(|cluster| [A, B, NS].into_iter().for_each(|node| cluster.kill(node)));
    assert_weak(Some(&world.wait(id)));
    world.finish();
}

#[test]
fn a_cancel_before_the_second_attempt_has_left_returns_the_weak_receipt() {
    // B cannot be dialled, so the second attempt waits for its connection.
    let mut world = world_with(1, 2, |c| c.retry_weak_acknowledgement(true));
    world.with(|cluster| cluster.blackhole(B));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let mut found = None;
    for number in 0..16 {
        let id = world.send(TOPIC, &format!("{number}"));
        world.run_for(ms(40));
        if world.outcome(id).is_none() && world.frames_of(id).len() == 1 {
            found = Some(id);
            break;
        }
        world.cancel(id);
        world.run_for(ms(10));
    }
    let id = found.expect("a send waits for B after A's receipt");
    world.cancel(id);
    world.run_for(ms(5));
    assert_weak(world.outcome(id));
    world.finish();
}

#[test]
fn a_late_weak_receipt_of_a_given_up_attempt_ends_the_send_well() {
    // A answers after its share of the time, while B is silent.
    for better in [false, true] {
        let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(better));
        script_sends(&mut world, A, Fault::weak_acknowledgement(11).delayed_by(ms(1_800)));
        script_sends(&mut world, B, Fault::silent());
        let id = send_via(&mut world, A);
        let outcome = world.wait(id);
        assert_weak(Some(&outcome));
        assert!(elapsed(&world, id) < ms(2_000), "{:?}", elapsed(&world, id));
        // The one at B may have stored it as well.
        let other = &outcome.failed_attempts()[0];
        assert_eq!((&other.failure, other.delivery), (&AttemptFailure::GivenUp, Delivery::Unknown));
        world.finish();
    }
}

#[test]
fn a_weak_receipt_of_a_given_queue_or_an_order_is_final_and_a_oneway_message_has_none() {
    let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = world.submit(SendSpec::new(TOPIC, "m").to("broker-a", 1));
    assert_weak(Some(&world.wait(id)));
    assert_eq!(world.frames_of(id).len(), 1);
    // Another broker would be another queue, and the order would be lost.
    script_sends(&mut world, B, Fault::weak_acknowledgement(11));
    let row: Vec<_> = (0..3)
        .map(|number| world.submit(SendSpec::new(TOPIC, format!("{number}")).ordered("key")))
        .collect();
    for id in row {
        let outcome = world.wait(id);
        assert_eq!(outcome.receipt().unwrap().status, SendStatus::SlaveNotAvailable);
        assert_eq!(world.frames_of(id).len(), 1);
    }
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    assert!(matches!(world.wait(id), Outcome::Sent(_)));
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();
}

// ---- Routes and new topics ------------------------------------------------------------------

#[test]
fn what_may_be_the_routes_fault_asks_for_it_at_most_once_a_second() {
    // The code of the answer and whether the route is asked for.
    let rows = [
        (14, true),
        (16, true),
        (17, true),
        (501, true),
        (1500, true),
        (29, true),
        (1, false),
        (2, false),
        (13, false),
        (204, false),
        (215, false),
        (777, false),
    ];
    for (code, asks) in rows {
        // Nothing else asks.
        let never = rocketmq_core::Periodic { first: secs(3_000), period: secs(3_000) };
        let mut world = warm_with(1, 2, |c| c.route_refresh(never));
        for node in [A, B] {
            script_sends(&mut world, node, Fault::answer(code, "no"));
        }
        let before = world.cluster().route_queries(0, TOPIC);
        for _ in 0..30 {
            let id = world.send(TOPIC, "m");
            world.wait(id);
            world.run_for(ms(100));
        }
        let asked = world.cluster().route_queries(0, TOPIC) - before;
        let seconds = world.now() / 1_000_000_000;
        assert_eq!(asked > 0, asks, "{code}: {asked}");
        assert!(asked <= seconds, "{code}: {asked} in {seconds} s");
        world.finish();
    }
}

#[test]
fn a_failed_dial_asks_for_the_route_at_most_once_a_second() {
    let never = rocketmq_core::Periodic { first: secs(3_000), period: secs(3_000) };
    let mut world = warm_with(1, 1, |c| c.route_refresh(never));
    world.with(|cluster| cluster.kill(A));
    let before = world.cluster().route_queries(0, TOPIC);
    for _ in 0..20 {
        let id = world.submit(SendSpec::new(TOPIC, "m").timeout(ms(150)));
        world.wait(id);
    }
    let asked = world.cluster().route_queries(0, TOPIC) - before;
    assert!((1..=4).contains(&asked), "{asked}");
    world.finish();
}

#[test]
fn a_new_topic_takes_the_named_key_and_no_more_queues_than_asked_for() {
    // (queues of the key, asked for, queues that are used)
    for (has, asked, used) in [(8, 4, 4), (8, 6, 6), (2, 4, 2)] {
        // Its permission to be inherited from is bit 0.
        let like = TopicConfig { perm: 7, ..TopicConfig::new(has) };
        let settings = config(|c| c.create_topic_key("Like").default_topic_queue_nums(asked));
        let cluster = crate::common::cluster(1).topic_with("Like", like);
        let mut world = World::new(1, cluster, settings);
        for number in 0..24 {
            let id = world.send("New", &number.to_string());
            let outcome = world.wait(id);
            assert!(outcome.is_stored(), "{outcome:?}");
        }
        let mut queues: Vec<_> =
            world.cluster().stored("New").iter().map(|stored| stored.queue_id).collect();
        queues.sort_unstable();
        queues.dedup();
        assert_eq!(queues, (0..used).collect::<Vec<i32>>(), "{has} {asked}");
        // What the broker is told to make it from, and how large.
        for frame in world.frames().iter().filter(|frame| frame.command.code == 310) {
            let told = |name: &str| frame.command.ext.get(name).map(str::to_owned);
            assert_eq!(told("c").as_deref(), Some("Like"));
            assert_eq!(told("d"), Some(asked.to_string()));
        }
        world.finish();
    }
}
