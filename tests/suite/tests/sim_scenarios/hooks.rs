//! Interceptors: what they see, in which order, how often, and what a refusal or a panic does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rocketmq_core::wire::{Encoding, RequestCode, ResponseCode, SendStatus, UniqueKey};
use rocketmq_core::{
    AttemptFailure, AttemptOutcome, Config, Delivery, Event, FieldError, Forbidden, Hook,
    Interceptor, InvalidMessage, MessageType, Mode, RequestContext, ResponseContext, Rng,
    SendContext, SendErrorKind, Stage,
};
use rocketmq_testkit::cluster::{Fault, Node, Rule};
use rocketmq_testkit::world::{LinkProfile, Outcome, SendId, SendSpec, World};

use crate::common::{
    A, B, NS, TOPIC, cluster, config, events, ms, script_sends, secs, send_via, warm_up,
};

/// How an attempt ended, as an interceptor saw it.
#[derive(Clone, PartialEq, Debug)]
enum End {
    Stored(SendStatus),
    Sent,
    Failed(Stage, Delivery, AttemptFailure),
}

#[derive(Clone, PartialEq, Debug)]
enum Call {
    Check,
    Before,
    After(End),
}

/// Writes down all that it is told, and refuses or panics when it is asked to.
#[derive(Default)]
struct Tape {
    calls: Mutex<Vec<(UniqueKey, u32, Call)>>,
    /// Refuses attempts with this number of messages with this body.
    refuses: Mutex<Option<(&'static str, u32)>>,
    panics: Mutex<Option<Hook>>,
    answers: Mutex<Vec<(RequestCode, Option<u32>, i32)>>,
}

impl Tape {
    fn push(&self, context: &SendContext<'_>, call: Call) {
        self.calls.lock().unwrap().push((context.unique_key, context.attempt, call));
    }

    fn panic_at(&self, hook: Hook) {
        let asked = *self.panics.lock().unwrap();
        assert_ne!(asked, Some(hook), "as asked for");
    }

    fn of(&self, world: &World, id: SendId) -> Vec<(u32, Call)> {
        let calls = self.calls.lock().unwrap();
        let key = &world.record(id).unique_key;
        let own = calls.iter().filter(|(known, ..)| known.to_string() == *key);
        own.map(|(_, attempt, call)| (*attempt, call.clone())).collect()
    }

    /// Ends of all attempts of a send, in order. Each was asked about, began and ended, in turn.
    fn ends(&self, world: &World, id: SendId) -> Vec<End> {
        let calls = self.of(world, id);
        let mut ends = Vec::new();
        for (index, three) in calls.chunks(3).enumerate() {
            let number = index as u32 + 1;
            let [(a, Call::Check), (b, Call::Before), (c, Call::After(end))] = three else {
                panic!("attempt {number}: {three:?}");
            };
            assert_eq!([*a, *b, *c], [number; 3]);
            ends.push(end.clone());
        }
        ends
    }
}

impl Interceptor for Tape {
    fn check_forbidden(&self, context: &SendContext<'_>) -> Result<(), Forbidden> {
        self.push(context, Call::Check);
        self.panic_at(Hook::CheckForbidden);
        match *self.refuses.lock().unwrap() {
            Some((body, attempt)) if context.body == body && context.attempt == attempt => {
                Err(Forbidden::new("not today"))
            }
            _ => Ok(()),
        }
    }

    fn before_send(&self, context: &SendContext<'_>) {
        self.push(context, Call::Before);
        self.panic_at(Hook::BeforeSend);
    }

    fn after_send(&self, context: &SendContext<'_>, outcome: &AttemptOutcome<'_>) {
        let end = match outcome {
            AttemptOutcome::Stored(receipt) => {
                assert_eq!(receipt.topic, TOPIC);
                assert_eq!(*receipt.broker_name, *context.broker_name);
                assert_eq!(*receipt.address, *context.broker_address);
                assert_eq!(receipt.unique_key, context.unique_key);
                End::Stored(receipt.status)
            }
            AttemptOutcome::Sent { .. } => End::Sent,
            AttemptOutcome::Failed(attempt) => {
                assert_eq!(*attempt.broker_name, *context.broker_name);
                assert_eq!(attempt.queue_id, context.queue_id);
                End::Failed(attempt.stage, attempt.delivery, attempt.failure.clone())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(context.message.topic(), TOPIC, "the message is still whole");
        self.push(context, Call::After(end));
        self.panic_at(Hook::AfterSend);
    }

    fn request(&self, request: &mut RequestContext<'_>) {
        if request.send.is_some() {
            self.panic_at(Hook::Request);
        }
    }

    fn response(&self, response: &ResponseContext<'_>) {
        let attempt = response.send.map(|send| send.attempt);
        self.answers.lock().unwrap().push((response.request, attempt, response.code.0));
        self.panic_at(Hook::Response);
    }
}

fn guard(call: &mut dyn FnMut()) {
    drop(catch_unwind(AssertUnwindSafe(call)));
}

fn guarded(mut config: Config) -> Config {
    config.interceptors.guard(guard);
    config
}

fn cold_world(brokers: usize) -> (World, Arc<Tape>) {
    let tape = Arc::new(Tape::default());
    let settings = config(|c| {
        c.interceptor(Arc::clone(&tape) as Arc<dyn Interceptor>)
            .retry_weak_acknowledgement(true)
            .busy_back_off(ms(400))
    });
    (World::new(1, cluster(brokers), guarded(settings)), tape)
}

fn warm_world(brokers: usize) -> (World, Arc<Tape>) {
    let (mut world, tape) = cold_world(brokers);
    warm_up(&mut world);
    (world, tape)
}

fn stored() -> End {
    End::Stored(SendStatus::SendOk)
}

#[test]
fn an_attempt_that_is_answered_is_told_once_with_its_receipt_or_its_refusal() {
    let (mut world, tape) = warm_world(2);
    let id = world.send(TOPIC, "m");
    assert!(world.wait(id).is_stored());
    assert_eq!(tape.ends(&world, id), [stored()]);
    script_sends(&mut world, A, Fault::answer(14, "no"));
    let id = send_via(&mut world, A);
    assert!(world.wait(id).is_stored());
    let failure = AttemptFailure::Answered { code: ResponseCode(14), remark: "no".into() };
    let refused = End::Failed(Stage::Answered, Delivery::Refused, failure);
    assert_eq!(tape.ends(&world, id), [refused, stored()]);
    world.finish();
}

#[test]
fn a_weak_acknowledgement_is_told_as_stored_also_if_another_broker_is_tried() {
    let (mut world, tape) = warm_world(2);
    script_sends(&mut world, A, Fault::weak_acknowledgement(11));
    let id = send_via(&mut world, A);
    assert!(world.wait(id).is_stored());
    assert_eq!(tape.ends(&world, id), [End::Stored(SendStatus::SlaveNotAvailable), stored()]);
    world.finish();
}

#[test]
fn an_attempt_without_an_answer_is_told_as_timed_out_or_lost() {
    let (mut world, tape) = warm_world(2);
    script_sends(&mut world, A, Fault::silent());
    let id = send_via(&mut world, A);
    assert!(world.wait(id).is_stored());
    let silent = End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::TimedOut);
    assert_eq!(tape.ends(&world, id), [silent, stored()]);
    world.run_for(secs(30));
    world.with(|cluster| cluster.clear_script(A));
    script_sends(&mut world, A, Fault::reset());
    let id = send_via(&mut world, A);
    world.wait(id);
    let ends = tape.ends(&world, id);
    let End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::Closed(_)) = &ends[0] else {
        panic!("{ends:?}");
    };
    world.finish();
}

/// The first attempt is told as unknown, the second as given up: each once, though the first is
/// the one whose receipt the send ends with.
#[test]
fn a_late_answer_that_is_adopted_does_not_tell_an_attempt_twice() {
    let (mut world, tape) = warm_world(2);
    script_sends(&mut world, A, Fault::delay(ms(1_600)));
    script_sends(&mut world, B, Fault::silent());
    let id = send_via(&mut world, A);
    let outcome = world.wait(id);
    assert_eq!(*outcome.receipt().expect("adopted").broker_name, *"broker-a");
    let silent = End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::TimedOut);
    let given_up = End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::GivenUp);
    assert_eq!(tape.ends(&world, id), [silent, given_up]);
    world.finish();
}

#[test]
fn cancelled_attempts_are_told_when_they_end() {
    // While the connection is made: at once.
    let (mut world, tape) = cold_world(1);
    world.with(|cluster| cluster.blackhole(A));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    assert!(world.cancel(id));
    let given_up = End::Failed(Stage::Connect, Delivery::NotSent, AttemptFailure::GivenUp);
    assert_eq!(tape.ends(&world, id), [given_up]);
    world.finish();
    // While the route is looked up: there is no attempt.
    let (mut world, tape) = cold_world(1);
    world.with(|cluster| cluster.blackhole(NS));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    assert!(world.cancel(id));
    assert_eq!(tape.of(&world, id), []);
    world.finish();
    // While the answer is awaited: with the answer, or when its time is over.
    for (fault, end) in [
        (Fault::delay(ms(300)), stored()),
        (Fault::silent(), End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::TimedOut)),
    ] {
        let (mut world, tape) = warm_world(1);
        script_sends(&mut world, A, fault);
        let id = world.send(TOPIC, "m");
        world.run_for(ms(100));
        assert!(!world.cancel(id), "detached");
        assert_eq!(tape.of(&world, id), [(1, Call::Check), (1, Call::Before)]);
        world.wait(id);
        assert_eq!(tape.ends(&world, id), [end]);
        world.finish();
    }
    // While it backs off: nothing more is told.
    let (mut world, tape) = warm_world(1);
    script_sends(&mut world, A, Fault::answer(2, "busy"));
    let id = world.send(TOPIC, "m");
    world.run_for(ms(50));
    let told = tape.ends(&world, id);
    assert!(told.len() == 1 && world.cancel(id));
    assert_eq!(tape.ends(&world, id), told);
    world.finish();
}

#[test]
fn attempts_that_the_end_of_the_client_cuts_short_are_told() {
    let (mut world, tape) = warm_world(2);
    for node in [A, B] {
        script_sends(&mut world, node, Fault::silent());
    }
    let id = world.submit(SendSpec::new(TOPIC, "m").timeout(secs(60)));
    world.run_for(ms(10));
    world.shutdown(0, secs(1));
    world.wait(id);
    let given_up = End::Failed(Stage::Await, Delivery::Unknown, AttemptFailure::GivenUp);
    assert_eq!(tape.ends(&world, id), [given_up]);
    world.finish();
}

#[test]
fn a_oneway_attempt_is_told_when_the_socket_has_it_or_never_will() {
    let (mut world, tape) = warm_world(1);
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway());
    world.wait(id);
    assert_eq!(tape.ends(&world, id), [End::Sent]);
    world.finish();
    let (mut world, tape) = cold_world(1);
    world.with(|cluster| cluster.blackhole(A));
    let id = world.submit(SendSpec::new(TOPIC, "m").oneway().retries(0));
    world.wait(id);
    let ends = tape.ends(&world, id);
    assert!(matches!(ends[..], [End::Failed(Stage::Connect, Delivery::NotSent, _)]), "{ends:?}");
    world.finish();
}

/// Whatever happens: every attempt that began has one end, and before the next begins.
#[test]
fn in_any_trouble_each_attempt_begins_once_and_ends_once() {
    let (mut attempts, mut kinds) = (0, BTreeMap::new());
    for seed in 0..60 {
        let tape = Arc::new(Tape::default());
        let (dials, sends) = (ms(50), ms(700));
        let settings = config(|c| {
            c.interceptor(Arc::clone(&tape) as Arc<dyn Interceptor>)
                .send_timeout(sends)
                .connect_timeout(dials)
                .retry_weak_acknowledgement(seed % 2 == 0)
                .unsent_bytes_max(2_000)
        });
        let mut world = World::new(seed, cluster(3), settings);
        world.set_profile_of(B, LinkProfile { buffer_bytes: 600, ..LinkProfile::default() });
        let mut rng = Rng::from_seed(seed);
        let mut ids = Vec::new();
        for _ in 0..80 {
            trouble(&mut world, &mut rng);
            let spec = SendSpec::new(TOPIC, format!("m{}", rng.below(9)));
            ids.push(world.submit(if rng.below(4) == 0 { spec.oneway() } else { spec }));
            world.run_for(ms(u64::from(rng.below(30))));
            if rng.below(4) == 0 {
                let one = ids[rng.below(ids.len() as u32) as usize];
                world.cancel(one);
            }
        }
        if rng.below(2) == 0 {
            world.shutdown(0, ms(u64::from(rng.below(300))));
        }
        world.run_for(secs(10));
        for id in ids {
            let outcome = world.outcome(id).expect("it has ended").clone();
            let ends = tape.ends(&world, id);
            let failed = outcome.failed_attempts().len();
            let good = usize::from(outcome.is_stored() || matches!(outcome, Outcome::Sent(_)));
            assert_eq!(ends.len(), failed + good, "seed {seed}: {outcome:?} {ends:?}");
            attempts += ends.len();
            for end in ends {
                let kind = match end {
                    End::Failed(stage, delivery, _) => format!("{stage:?} {delivery:?}"),
                    other => format!("{other:?}"),
                };
                *kinds.entry(kind).or_insert(0) += 1;
            }
        }
    }
    assert!(attempts > 5_000 && kinds.len() >= 9, "{attempts} {kinds:?}");
}

fn trouble(world: &mut World, rng: &mut Rng) {
    let node = Node::Broker(rng.below(3) as usize);
    let fault = match rng.below(24) {
        0 => Fault::silent(),
        1 => Fault::silent_after_storing(),
        2 => Fault::delay(ms(u64::from(rng.below(900)))),
        3 => Fault::answer(14, "no"),
        4 => Fault::answer(2, "busy"),
        5 => Fault::answer(1, "perhaps"),
        6 => Fault::weak_acknowledgement(10),
        7 => Fault::reset(),
        8 => Fault::go_away(),
        9 => Fault::garbage(*b"no frame"),
        10 => return world.with(|cluster| cluster.kill(node)),
        11..=13 => return world.with(|cluster| cluster.restart(node)),
        14 => return world.with(|cluster| cluster.stall(node)),
        15..=17 => return world.with(|cluster| cluster.resume(node)),
        _ => return,
    };
    world.with(|cluster| cluster.script(node, Rule::sends().times(3), fault));
}

/// A refusal is about the message: no broker is asked instead.
#[test]
fn a_refusal_ends_the_send_and_nothing_leaves() {
    let (mut world, tape) = warm_world(2);
    *tape.refuses.lock().unwrap() = Some(("secret", 1));
    let id = world.send(TOPIC, "secret");
    let outcome = world.wait(id);
    let error = outcome.error().expect("refused");
    let forbidden = InvalidMessage::Forbidden(Forbidden::new("not today"));
    assert_eq!(*error.kind(), SendErrorKind::Invalid(forbidden));
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::NotSent, 0));
    assert!(error.to_string().contains("not today"), "{error}");
    assert_eq!(error.message().map(|message| &message.body()[..]), Some(&b"secret"[..]));
    assert_eq!(tape.of(&world, id), [(1, Call::Check)]);
    assert_eq!(world.frames_of(id).len(), 0);
    world.finish();
}

#[test]
fn a_refusal_after_an_unknown_attempt_leaves_the_verdict_unknown() {
    let (mut world, tape) = warm_world(2);
    *tape.refuses.lock().unwrap() = Some(("secret", 2));
    for node in [A, B] {
        script_sends(&mut world, node, Fault::answer_after_storing(1, "perhaps"));
    }
    let id = world.send(TOPIC, "secret");
    let outcome = world.wait(id);
    let error = outcome.error().expect("refused");
    assert!(matches!(error.kind(), SendErrorKind::Invalid(InvalidMessage::Forbidden(_))));
    assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Unknown, 1));
    let calls = tape.of(&world, id);
    assert_eq!(calls.last(), Some(&(2, Call::Check)));
    assert_eq!(calls.len(), 4);
    world.finish();
}

#[test]
fn a_panic_fails_its_own_send_or_nothing_and_is_told() {
    for (hook, fails) in [
        (Hook::CheckForbidden, true),
        (Hook::BeforeSend, true),
        (Hook::Request, true),
        (Hook::AfterSend, false),
        (Hook::Response, false),
    ] {
        let (mut world, tape) = warm_world(2);
        *tape.panics.lock().unwrap() = Some(hook);
        let id = world.send(TOPIC, "m");
        let outcome = world.wait(id);
        *tape.panics.lock().unwrap() = None;
        let told = events(&world, |event| matches!(event, Event::InterceptorPanicked { .. }));
        assert_eq!(told.len(), 1, "{hook}");
        let Event::InterceptorPanicked { hook: named, unique_key } = &told[0].1 else {
            unreachable!("filtered")
        };
        let key = unique_key.expect("of a send").to_string();
        assert_eq!((*named, key), (hook, world.record(id).unique_key.clone()));
        if fails {
            let error = outcome.error().expect("failed");
            assert_eq!(*error.kind(), SendErrorKind::InterceptorPanicked, "{hook}");
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert_eq!(world.frames_of(id).len(), 0);
            let began = hook != Hook::CheckForbidden;
            assert_eq!(error.attempts().len(), usize::from(began));
            if began {
                assert!(matches!(
                    tape.ends(&world, id)[..],
                    [End::Failed(_, Delivery::NotSent, AttemptFailure::InterceptorPanicked)]
                ));
            }
        } else {
            assert!(outcome.is_stored(), "{hook}: {outcome:?}");
            assert_eq!(tape.ends(&world, id), [stored()]);
        }
        // Others go on as if nothing had been.
        let id = world.send(TOPIC, "next");
        assert!(world.wait(id).is_stored());
        world.finish();
    }
}

/// Sees one send, and remembers what it saw.
#[derive(Default)]
struct Witness(Mutex<Vec<String>>);

impl Interceptor for Witness {
    fn before_send(&self, context: &SendContext<'_>) {
        assert_eq!(context.message_type, MessageType::Normal);
        assert_eq!((context.namespace, context.unit_mode), (None, false));
        let servers: Vec<_> = context.name_servers.iter().map(ToString::to_string).collect();
        let client = context.client_address().unwrap_or_default();
        let mode = if context.mode == Mode::Awaited { "awaited" } else { "oneway" };
        let line = format!(
            "{} {client} {} {mode} {} {} {} {} {}",
            servers.join(";"),
            context.group,
            context.broker_name,
            context.broker_address,
            context.queue_id,
            context.message.topic(),
            String::from_utf8_lossy(context.body),
        );
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn the_context_of_an_attempt_is_what_the_wire_shows() {
    let witness = Arc::new(Witness::default());
    let settings = config(|c| c.interceptor(Arc::clone(&witness) as Arc<dyn Interceptor>));
    let mut world = World::new(1, cluster(2), settings);
    let id = world.submit(SendSpec::new(TOPIC, "the body").oneway());
    world.wait(id);
    world.run_for(ms(10));
    let frame = world.frames_of(id)[0];
    let names = world.cluster().address(NS);
    let address = world.cluster().address(frame.node);
    let ext = |name: &str| frame.command.ext.get(name).expect("a field").to_owned();
    let line = witness.0.lock().unwrap()[0].clone();
    let expected =
        format!("{} oneway {} {address} {} Orders the body", ext("a"), ext("n"), ext("e"));
    assert!(line.starts_with(&format!("{names} ")) && line.ends_with(&expected), "{line}");
    world.finish();
}

/// Adds fields, as one that routes by zone would.
struct Zone;

impl Interceptor for Zone {
    fn request(&self, request: &mut RequestContext<'_>) {
        request.add_field("ZoneName", "östlich \"7\"").expect("it is new");
        for (key, value) in [("a", "x"), ("l", "x"), ("ZoneName", "x")] {
            let refused = request.add_field(key, value);
            assert_eq!(refused, Err(FieldError::Taken { key: key.into() }));
        }
        let own = request.fields().next().map(|(key, _)| key.into_owned()).expect("a field");
        assert!(matches!(request.add_field(own, "x"), Err(FieldError::Taken { .. })));
        assert_eq!(request.add_field("Empty", ""), Err(FieldError::Empty));
        assert_eq!(request.add_field("", "x"), Err(FieldError::Empty));
        assert_eq!(request.add_field("Long", "x".repeat(40_000)), Err(FieldError::TooMuch));
    }
}

/// Signs what it sees.
struct Signer;

impl Interceptor for Signer {
    fn request(&self, request: &mut RequestContext<'_>) {
        let fields: BTreeMap<_, _> =
            request.fields().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        let sum = sum(request.code.0, request.opaque, request.oneway, &fields, request.body());
        request.add_field("Signature", sum).expect("it is new");
    }
}

/// Stands for a signature: any other field, value or body has another one.
fn sum(
    code: i32,
    opaque: i32,
    oneway: bool,
    fields: &BTreeMap<String, String>,
    body: &[u8],
) -> String {
    let text = format!("key of the signer {code} {opaque} {oneway} {fields:?} {body:?}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The servers compute the sum over the fields that they received, with a codec of their own.
#[test]
fn p57_a_signature_made_last_is_over_exactly_what_servers_receive() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let settings = config(|c| {
            c.interceptor(Arc::new(Zone)).interceptor(Arc::new(Signer)).encoding(encoding)
        });
        let mut world = World::new(1, cluster(2), settings);
        for body in ["small", &"large ".repeat(2_000)] {
            let id = world.send(TOPIC, body);
            assert!(world.wait(id).is_stored());
            let id = world.submit(SendSpec::new(TOPIC, body).oneway());
            world.wait(id);
        }
        script_sends(&mut world, A, Fault::answer(14, "no"));
        let id = send_via(&mut world, A);
        assert!(world.wait(id).is_stored(), "each attempt is signed anew");
        world.run_for(secs(40));
        let mut codes = BTreeMap::new();
        for frame in world.frames() {
            let command = &frame.command;
            let mut fields: BTreeMap<String, String> = command
                .ext
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect();
            let signature = fields.remove("Signature").expect("every request is signed");
            assert_eq!(fields["ZoneName"], "östlich \"7\"");
            let oneway = command.is_oneway();
            let (code, opaque) = (command.code, command.opaque);
            assert_eq!(signature, sum(code, opaque, oneway, &fields, &command.body), "{fields:?}");
            *codes.entry(code).or_insert(0) += 1;
        }
        assert!(codes[&310] >= 6, "{codes:?}");
        world.finish();
    }
}
