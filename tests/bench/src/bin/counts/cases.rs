//! What is counted without any runtime.

use std::hint::black_box;

use bytes::BytesMut;
use rocketmq_bench::machine::{Machine, Settings};
use rocketmq_bench::samples;
use rocketmq_core::PreparedMessage;
use rocketmq_core::wire::Encoding::{self, Binary, Json};
use rocketmq_core::wire::{Command, StoredPlace, decode_route, split_frame};

use crate::allocations;

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    kind: Kind,
    /// The most that it may cost in instructions, whatever it did before.
    pub(crate) target: Option<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// A whole send in the machine: `batch` at once, with `standing` further ones in flight.
    Cycle { settings: Settings, batch: usize, standing: usize },
    /// The frame of a send up to its body.
    Encode(Encoding),
    /// An answer's frame, header and receipt.
    Decode(Encoding),
    /// A message on the caller's side: unique key, checks, properties.
    Prepare,
    /// A route over eight brokers with four queues each.
    Route,
}

const fn cycle(requests: Encoding, answers: Encoding, batch: usize) -> Kind {
    let settings =
        Settings { requests, answers, brokers: 1, queues: 4, trouble: false, signed: false };
    Kind::Cycle { settings, batch, standing: 0 }
}

const fn signed(encoding: Encoding) -> Kind {
    let (requests, answers) = (encoding, encoding);
    let settings =
        Settings { requests, answers, brokers: 1, queues: 4, trouble: false, signed: true };
    Kind::Cycle { settings, batch: 64, standing: 0 }
}

const fn queues(brokers: usize, queues: u32, trouble: bool) -> Kind {
    let (requests, answers) = (Binary, Binary);
    let settings = Settings { requests, answers, brokers, queues, trouble, signed: false };
    Kind::Cycle { settings, batch: 1, standing: 0 }
}

const fn standing(standing: usize) -> Kind {
    let (requests, answers) = (Binary, Binary);
    let settings =
        Settings { requests, answers, brokers: 1, queues: 4, trouble: false, signed: false };
    Kind::Cycle { settings, batch: 1, standing }
}

const fn case(name: &'static str, kind: Kind, target: Option<f64>) -> Case {
    Case { name, kind, target }
}

/// All of them, in the order of the table.
pub(crate) const CASES: [Case; 22] = [
    case("core-json-1", cycle(Json, Json, 1), Some(5_000.0)),
    case("core-json-64", cycle(Json, Json, 64), Some(5_000.0)),
    case("core-binary-1", cycle(Binary, Binary, 1), Some(3_000.0)),
    case("core-binary-64", cycle(Binary, Binary, 64), Some(3_000.0)),
    case("core-binary-answered-in-json-64", cycle(Binary, Json, 64), None),
    case("core-json-signed-64", signed(Json), None),
    case("core-binary-signed-64", signed(Binary), None),
    case("encode-json", Kind::Encode(Json), None),
    case("encode-binary", Kind::Encode(Binary), None),
    case("decode-json", Kind::Decode(Json), None),
    case("decode-binary", Kind::Decode(Binary), None),
    case("prepare", Kind::Prepare, None),
    case("queues-4", queues(1, 4, false), None),
    case("queues-1024", queues(1, 1_024, false), None),
    case("queues-65536", queues(1, 65_536, false), None),
    case("brokers-1", queues(1, 1, false), None),
    case("brokers-64", queues(64, 1, false), None),
    case("brokers-64-one-unreachable", queues(64, 1, true), None),
    case("in-flight-64", standing(64), None),
    case("in-flight-4096", standing(4_096), None),
    case("in-flight-32768", standing(32_768), None),
    case("route", Kind::Route, None),
];

/// One cost over another, and the most that it may be.
pub(crate) const RATIOS: [(&str, &str, f64); 4] = [
    ("queues-1024", "queues-4", 1.1),
    ("queues-65536", "queues-4", 1.1),
    ("brokers-64", "brokers-1", 1.3),
    // The deadlines are in a heap: its depth doubles from 64 to 4,096.
    ("in-flight-4096", "in-flight-64", 1.3),
];

/// Cases of which allocations are counted, and how many are allowed.
pub(crate) const ALLOCATIONS: [(&str, f64); 7] = [
    ("core-json-1", 0.0),
    ("core-json-64", 0.0),
    ("core-binary-64", 0.0),
    ("core-json-signed-64", 0.0),
    ("core-binary-signed-64", 0.0),
    ("brokers-64", 0.0),
    ("prepare", 1.0),
];

pub(crate) fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

impl Case {
    /// Runs the case `count` times after a warm-up; the allocations of those times. The profiler
    /// counts what happens in functions whose names begin with `measured`.
    pub(crate) fn run(&self, count: usize) -> usize {
        match self.kind {
            Kind::Cycle { settings, batch, standing } => {
                run_cycles(&settings, batch, standing, count)
            }
            Kind::Encode(encoding) => run_encode(encoding, count),
            Kind::Decode(encoding) => run_decode(encoding, count),
            Kind::Prepare => run_prepare(count),
            Kind::Route => {
                let body = samples::route(8, 4);
                repeat(count, || measured_route(&body))
            }
        }
    }
}

/// Allocations of `count` calls after a warm-up.
fn repeat(count: usize, mut call: impl FnMut()) -> usize {
    let before = allocations();
    for _ in 0..count {
        call();
    }
    allocations() - before
}

/// Sends before the counting starts, so that every table has its size.
const WARM_UP: usize = 512;

fn run_cycles(settings: &Settings, batch: usize, standing: usize, count: usize) -> usize {
    let mut machine = Machine::new(*settings);
    let conns = machine.broker_connections(settings);
    let mut messages: Vec<PreparedMessage> = Vec::with_capacity(batch.max(standing));
    messages.extend((0..standing).map(|_| machine.prepare()));
    machine.send(&mut messages);
    let mut total = 0;
    let rounds = (WARM_UP + count) / batch;
    let mut turn = 0;
    for round in 0..rounds {
        machine.pass_time();
        messages.extend((0..batch).map(|_| machine.prepare()));
        let measured = round >= WARM_UP / batch;
        let before = allocations();
        if measured {
            machine.measured_send(&mut messages);
        } else {
            machine.send(&mut messages);
        }
        total += if measured { allocations() - before } else { 0 };
        // Sends go to the brokers in turn, and so do the answers.
        let next = turn % conns.len();
        machine.broker_answers(&[&conns[next..], &conns[..next]].concat(), batch);
        turn += batch;
        while let Some(conn) = machine.load() {
            let before = allocations();
            if measured {
                machine.measured_receive(conn);
            } else {
                machine.receive(conn);
            }
            total += if measured { allocations() - before } else { 0 };
        }
    }
    total
}

fn run_encode(encoding: Encoding, count: usize) -> usize {
    let mut out = Vec::with_capacity(4_096);
    let mut opaque = 1_000;
    repeat(count, || {
        out.clear();
        opaque += 1;
        measured_encode(&mut out, encoding, opaque);
    })
}

#[inline(never)]
fn measured_encode(out: &mut Vec<u8>, encoding: Encoding, opaque: i32) {
    samples::push_send(out, encoding, opaque, 128).expect("a frame that fits");
}

fn run_decode(encoding: Encoding, count: usize) -> usize {
    let frame = samples::answer(encoding, 1_234);
    repeat(count, || measured_decode(&frame))
}

#[inline(never)]
fn measured_decode(bytes: &[u8]) {
    let frame = split_frame(bytes).expect("a frame").expect("a whole frame");
    let command = Command::decode(frame.encoding, frame.header).expect("a header");
    let place = StoredPlace::read(&command.ext_fields);
    black_box(place.position.expect("a receipt"));
}

fn run_prepare(count: usize) -> usize {
    let machine = Machine::new(Settings::new(Json, Json));
    repeat(count, || measured_prepare(&machine))
}

#[inline(never)]
fn measured_prepare(machine: &Machine) {
    black_box(machine.prepare());
}

#[inline(never)]
fn measured_route(body: &[u8]) {
    let bytes = BytesMut::from(body);
    black_box(decode_route(&bytes).expect("a route"));
}
