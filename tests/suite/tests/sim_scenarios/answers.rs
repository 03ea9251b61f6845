//! The table of what an answer means, row by row, end to end.

use rocketmq_core::wire::{ResponseCode, SendStatus};
use rocketmq_core::{AttemptFailure, Delivery, PermissionReason, SendErrorKind, Stage, Unsuitable};
use rocketmq_testkit::cluster::{Fault, Rule};
use rocketmq_testkit::world::SendSpec;

use crate::common::{A, B, TOPIC, elapsed, ms, script_sends, secs, send_via, warm, warm_with};

struct Row {
    code: i32,
    remark: &'static str,
    delivery: Delivery,
    /// Whether another broker is tried.
    again: bool,
    denied: bool,
}

const fn row(code: i32, remark: &'static str, delivery: Delivery, again: bool) -> Row {
    Row { code, remark, delivery, again, denied: false }
}

const fn denied(code: i32, remark: &'static str) -> Row {
    Row { code, remark, delivery: Delivery::Refused, again: false, denied: true }
}

const ROWS: [Row; 24] = [
    denied(1, "org.apache.rocketmq.acl.common.AclException: no"),
    row(1, "store failed", Delivery::Unknown, true),
    row(777, "never heard of", Delivery::Unknown, false),
    row(-5, "negative", Delivery::Unknown, false),
    row(2, "[TIMEOUT_CLEAN_QUEUE]broker busy", Delivery::Refused, true),
    row(215, "flow control", Delivery::Refused, true),
    row(3, "not supported", Delivery::Refused, false),
    row(15, "version", Delivery::Refused, false),
    row(26, "no group", Delivery::Refused, false),
    row(13, "illegal", Delivery::Refused, false),
    row(29, "parameter", Delivery::Refused, false),
    row(14, "not available", Delivery::Refused, true),
    row(501, "not leader", Delivery::Refused, true),
    denied(16, "check signature failed."),
    denied(16, "User:rocket is not found."),
    denied(16, "username cannot be null."),
    denied(16, "User:rocket is disabled."),
    denied(
        16,
        "User:rocket has no permission to access Topic:T from 10.0.0.9, the decision is deny.",
    ),
    row(16, "the broker is read-only", Delivery::Refused, true),
    row(17, "topic not exist", Delivery::Refused, true),
    row(204, "no buyer", Delivery::Refused, true),
    row(205, "not in unit", Delivery::Refused, true),
    row(1500, "go away", Delivery::Refused, true),
    row(777, "configured", Delivery::Unknown, true),
];

#[test]
fn every_refusal_has_its_verdict_kind_and_next_step() {
    for Row { code, remark, delivery, again, denied } in ROWS {
        let retry_codes = if remark == "configured" { vec![777] } else { Vec::new() };
        let mut world = warm_with(1, 2, |c| c.retry_codes(retry_codes));
        for node in [A, B] {
            script_sends(&mut world, node, Fault::answer(code, remark));
        }
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let error = outcome.error().unwrap_or_else(|| panic!("{code} {remark}: {outcome:?}"));
        assert_eq!(error.delivery(), delivery, "{code} {remark}");
        let attempts = error.attempts();
        assert_eq!(attempts.len(), if again { 3 } else { 1 }, "{code} {remark}");
        let (answer, text) = (ResponseCode(code), Box::from(remark));
        let kind = if denied {
            let reason = PermissionReason::of(answer, &text).expect("a reason");
            SendErrorKind::PermissionDenied { reason, code: answer, remark: text }
        } else {
            SendErrorKind::Broker { code: answer, remark: text }
        };
        assert_eq!(error.kind(), &kind);
        for attempt in attempts {
            assert_eq!((attempt.stage, attempt.delivery), (Stage::Answered, delivery));
            let answered = AttemptFailure::Answered { code: answer, remark: remark.into() };
            assert_eq!(attempt.failure, answered);
        }
        if again {
            assert_ne!(attempts[0].broker_name, attempts[1].broker_name);
        }
        assert_eq!(world.frames_of(id).len(), attempts.len());
        assert!(world.cluster().stored(TOPIC).len() == 1, "only the one that warmed up");
        world.finish();
    }
}

#[test]
fn what_brokers_have_against_a_message_is_told_apart() {
    let rows = [
        (
            1,
            "accurate timer message is not enabled, timerWheelEnable is false",
            Unsuitable::NoTimer,
            3,
        ),
        (
            13,
            "timer message illegal, the delay time should not be bigger than the max delay \
             259200000ms; or if set del msg, the delay time should be bigger than the current time",
            Unsuitable::DelayTooLong,
            1,
        ),
        (
            13,
            "TopicMessageType validate failed, the expected type is FIFO, but actual type is DELAY",
            Unsuitable::TopicType,
            1,
        ),
        (
            13,
            "TopicMessageType validate failed, the expected type is UNSPECIFIED, but actual type \
             is NORMAL",
            Unsuitable::NoTopicType,
            1,
        ),
    ];
    for (code, text, expected, attempts) in rows {
        let mut world = warm(2);
        for node in [A, B] {
            script_sends(&mut world, node, Fault::answer(code, text));
        }
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let error = outcome.error().unwrap_or_else(|| panic!("{code} {text}: {outcome:?}"));
        let kind = SendErrorKind::Unsuitable {
            reason: expected,
            code: ResponseCode(code),
            remark: text.into(),
        };
        assert_eq!(error.kind(), &kind);
        assert_eq!(error.delivery(), Delivery::Refused);
        assert_eq!(error.attempts().len(), attempts, "{text}");
        assert!(error.to_string().contains(expected.advice()), "{error}");
        world.finish();
    }
}

#[test]
fn a_refusal_of_one_broker_ends_well_at_another() {
    for Row { code, remark, delivery, again, .. } in ROWS {
        if !again || remark == "configured" {
            continue;
        }
        let mut world = warm(2);
        script_sends(&mut world, A, Fault::answer(code, remark));
        let id = send_via(&mut world, A);
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap_or_else(|| panic!("{code}: {outcome:?}"));
        assert_eq!(&*receipt.broker_name, "broker-b");
        assert_eq!(receipt.failed_attempts.len(), 1);
        assert_eq!(receipt.failed_attempts[0].delivery, delivery);
        let wait = if code == 2 || code == 215 { ms(30) } else { ms(5) };
        assert!(elapsed(&world, id) < wait, "{code}: at once");
        world.finish();
    }
}

#[test]
fn code_1_is_unknown_because_the_message_may_be_there() {
    let mut world = warm_with(1, 2, |c| c.retry_only_if_not_stored(true));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer_after_storing(1, "UNKNOWN_ERROR"));
    }
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Unknown));
    assert_eq!(outcome.failed_attempts().len(), 1, "no second copy is risked");
    assert_eq!(world.cluster().stored(TOPIC).len(), 2);
    world.finish();
}

#[test]
fn one_unknown_attempt_makes_the_send_unknown_whatever_follows() {
    let mut world = warm(2);
    script_sends(&mut world, A, Fault::answer_after_storing(1, "UNKNOWN_ERROR"));
    script_sends(&mut world, B, Fault::answer(13, "illegal"));
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    let error = outcome.error().unwrap();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(error.attempts()[1].delivery, Delivery::Refused);
    assert!(matches!(error.kind(), SendErrorKind::Broker { code: ResponseCode(13), .. }));
    world.finish();
}

#[test]
fn weak_acknowledgements_are_receipts() {
    let rows = [
        (10, SendStatus::FlushDiskTimeout),
        (12, SendStatus::FlushSlaveTimeout),
        (11, SendStatus::SlaveNotAvailable),
    ];
    for (code, status) in rows {
        let mut world = warm(2);
        for node in [A, B] {
            script_sends(&mut world, node, Fault::weak_acknowledgement(code));
        }
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap();
        assert_eq!(receipt.status, status);
        assert!(receipt.position.is_some() && receipt.failed_attempts.is_empty());
        assert_eq!(world.frames_of(id).len(), 1);
        world.finish();
    }
}

#[test]
fn a_weak_acknowledgement_is_tried_elsewhere_if_so_configured() {
    // The other broker does better.
    let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap();
    assert_eq!((receipt.status, &*receipt.broker_name), (SendStatus::SendOk, "broker-b"));
    assert_eq!(world.frames_of(id).len(), 2);
    world.finish();

    // The other one fails for good: the weak receipt is the answer.
    let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    script_sends(&mut world, B, Fault::answer(13, "illegal"));
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    let receipt = outcome.receipt().unwrap();
    assert_eq!(receipt.status, SendStatus::SlaveNotAvailable);
    assert_eq!(&*receipt.broker_name, "broker-a");
    assert_eq!(receipt.failed_attempts.len(), 1, "{:?}", receipt.failed_attempts);
    world.finish();

    // The other one never answers.
    let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(10));
    script_sends(&mut world, B, Fault::silent());
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    assert_eq!(outcome.receipt().unwrap().status, SendStatus::FlushDiskTimeout);
    assert!(elapsed(&world, id) <= ms(3_001));
    world.finish();
}

#[test]
fn t44_success_without_a_readable_receipt_is_stored_and_never_retried() {
    let faults = [
        Fault::without_receipt(),
        Fault::without_field("queueId"),
        Fault::without_field("queueOffset"),
        Fault::with_field("queueId", "-1"),
        Fault::with_field("queueId", "seven"),
        Fault::with_field("queueOffset", "99999999999999999999"),
        Fault::with_field("queueOffset", "-3"),
    ];
    for fault in faults {
        let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true));
        for node in [A, B] {
            script_sends(&mut world, node, fault.clone());
        }
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        let receipt = outcome.receipt().unwrap();
        assert_eq!((receipt.status, receipt.position), (SendStatus::SendOk, None), "{fault:?}");
        assert_eq!(world.frames_of(id).len(), 1);
        assert_eq!(world.cluster().stored(TOPIC).len(), 2);
        world.finish();
    }
}

#[test]
fn t46_busy_brokers_get_a_pause_with_jitter() {
    let mut gaps = Vec::new();
    for seed in 0..10 {
        let mut world = warm_with(seed, 2, |c| c);
        for node in [A, B] {
            script_sends(&mut world, node, Fault::answer(2, "busy"));
        }
        let id = world.send(TOPIC, "m");
        world.wait(id);
        let frames = world.frames_of(id);
        assert_eq!(frames.len(), 3);
        let pause =
            |n: usize| (frames[n + 1].first_ns - frames[n].answer.as_ref().unwrap().at_ns) / 1_000;
        assert!((10_000..=20_000).contains(&pause(0)), "{}", pause(0));
        assert!((20_000..=40_000).contains(&pause(1)), "{}", pause(1));
        gaps.push(pause(0));
        world.finish();
    }
    gaps.sort_unstable();
    gaps.dedup();
    assert!(gaps.len() > 5, "{gaps:?}");
}

#[test]
fn t47_a_huge_remark_is_cut() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::answer(13, "ä".repeat(300_000)));
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    let SendErrorKind::Broker { remark, .. } = outcome.error().unwrap().kind() else {
        panic!("{outcome:?}")
    };
    assert_eq!(remark.len(), 4096);
    world.finish();
}

#[test]
fn t45_go_away_moves_on_at_once_and_is_an_attempt() {
    let mut world = warm(2);
    script_sends(&mut world, A, Fault::go_away());
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    assert_eq!(&*outcome.receipt().unwrap().broker_name, "broker-b");
    assert!(elapsed(&world, id) < ms(5));
    world.run_for(ms(10));
    assert_eq!(world.connections(0, A), 0, "the connection has drained");
    world.finish();
}

#[test]
fn t45_go_away_of_the_only_broker_is_answered_with_a_fresh_connection() {
    let mut world = warm(1);
    // An older request is still under way on the connection that is to go.
    world.with(|cluster| cluster.script(A, Rule::sends().times(1), Fault::delay(secs(1))));
    let older = world.send(TOPIC, "older");
    world.run_for(ms(1));
    world.with(|cluster| cluster.script(A, Rule::sends().times(1), Fault::go_away()));
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    let links: Vec<u64> = world.frames_of(id).iter().map(|frame| frame.link).collect();
    assert_eq!(links.len(), 2);
    assert_ne!(links[0], links[1]);
    assert_eq!(world.connections(0, A), 2, "the old one drains");
    assert!(world.wait(older).is_stored());
    world.run_for(ms(10));
    assert_eq!(world.connections(0, A), 1);
    world.finish();
}

#[test]
fn t45_go_away_for_ever_ends_after_all_attempts() {
    let mut world = warm(1);
    script_sends(&mut world, A, Fault::go_away());
    let dials = world.trace().total();
    let id = world.send(TOPIC, "m");
    let outcome = world.wait(id);
    assert_eq!(outcome.delivery(), Some(Delivery::Refused));
    assert_eq!(world.frames_of(id).len(), 3);
    assert!(world.trace().total() - dials < 60, "no loop of dials");
    world.finish();
}

#[test]
fn t45_go_away_in_answer_to_a_heartbeat_or_a_query_drains_too() {
    let mut world = warm(1);
    world.with(|cluster| {
        cluster.script(A, Rule::heartbeats().times(1), Fault::go_away());
        cluster.script(crate::common::NS, Rule::routes().times(1), Fault::go_away());
    });
    let links = |world: &rocketmq_testkit::world::World| {
        let name_server = world.cluster().connections(crate::common::NS);
        (world.cluster().connections(A), name_server)
    };
    let before = links(&world);
    world.run_for(secs(40));
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    world.run_for(secs(35));
    let after = links(&world);
    assert_eq!((after.0.len(), after.1.len()), (1, 1));
    assert!(before.0 != after.0 && before.1 != after.1, "both servers see a fresh connection");
    world.finish();
}

#[test]
fn oneway_messages_are_not_answered_and_end_with_their_last_byte() {
    let mut world = warm(2);
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    assert!(matches!(world.wait(id), rocketmq_testkit::world::Outcome::Sent(_)));
    world.run_for(ms(5));
    assert_eq!(world.cluster().stored(TOPIC).len(), 2);
    let frame = world.frames_of(id)[0].clone();
    assert!(frame.command.is_oneway() && frame.answer.is_none());
    // A broker that answers all the same confuses nobody.
    script_sends(&mut world, A, Fault::answer(2, "busy").even_oneway());
    script_sends(&mut world, B, Fault::answer(2, "busy").even_oneway());
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    world.wait(id);
    world.run_for(secs(4));
    world.finish();
}

#[test]
fn a_weak_acknowledgement_is_bettered_by_one_untried_broker_at_most() {
    // Nobody else is there: the same broker would only store a second copy.
    let mut world = warm_with(1, 1, |c| c.retry_weak_acknowledgement(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = world.send(TOPIC, "m");
    assert_eq!(world.wait(id).receipt().unwrap().status, SendStatus::SlaveNotAvailable);
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();

    // The other one fails in a way that would be worth further attempts.
    let mut world = warm_with(1, 2, |c| c.retry_weak_acknowledgement(true).retries_max(5));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    script_sends(&mut world, B, Fault::answer(1, "store failed"));
    let id = send_via(&mut world, A);
    assert_eq!(world.wait(id).receipt().unwrap().status, SendStatus::SlaveNotAvailable);
    assert_eq!(world.frames_of(id).len(), 2);
    world.finish();

    // Whoever wants no copy more wants none here either.
    let mut world =
        warm_with(1, 2, |c| c.retry_weak_acknowledgement(true).retry_only_if_not_stored(true));
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = send_via(&mut world, A);
    assert_eq!(world.wait(id).receipt().unwrap().status, SendStatus::SlaveNotAvailable);
    assert_eq!(world.frames_of(id).len(), 1);
    world.finish();
}

#[test]
fn a_send_keeps_its_group_when_the_group_goes() {
    let mut world = warm(1);
    let group = world.group(0);
    let id = world.send(TOPIC, "m");
    world.unregister(0, group);
    assert!(world.wait(id).is_stored());
    let stored = world.cluster().stored(TOPIC);
    let own = stored.iter().find(|stored| stored.body == b"m").expect("it is there");
    assert!(!own.group.is_empty());
}
