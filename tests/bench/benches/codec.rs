//! Times of the codec and of whole sends in the machine. What they cost exactly is counted by the
//! program `counts`; these are to see what it means in nanoseconds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rocketmq_bench::machine::{Machine, Settings};
use rocketmq_bench::samples;
use rocketmq_core::wire::{
    Command, Encoding, StoredPlace, UniqueKeySource, decode_route, split_frame,
};

const ENCODINGS: [(Encoding, &str); 2] = [(Encoding::Json, "json"), (Encoding::Binary, "binary")];

fn encode(criterion: &mut Criterion) {
    for (encoding, name) in ENCODINGS {
        let mut out = Vec::with_capacity(4_096);
        criterion.bench_function(&format!("encode_send/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                samples::push_send(&mut out, encoding, black_box(123_456), 128)
            });
        });
    }
}

fn decode(criterion: &mut Criterion) {
    for (encoding, name) in ENCODINGS {
        let frame = samples::answer(encoding, 123_456);
        criterion.bench_function(&format!("split_frame/{name}"), |bencher| {
            bencher.iter(|| split_frame(black_box(&frame)).map(|frame| frame.is_some()));
        });
        criterion.bench_function(&format!("decode_send_response/{name}"), |bencher| {
            bencher.iter(|| {
                let frame = split_frame(black_box(&frame)).ok().flatten()?;
                let command = Command::decode(frame.encoding, frame.header).ok()?;
                StoredPlace::read(&command.ext_fields).position
            });
        });
    }
    for brokers in [1, 64] {
        let body = samples::route(brokers, 4);
        let mut group = criterion.benchmark_group("decode_route");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{brokers}_brokers"), |bencher| {
            bencher.iter(|| decode_route(black_box(&body)));
        });
    }
}

fn prepare(criterion: &mut Criterion) {
    let keys = UniqueKeySource::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 77, 1, 0);
    criterion.bench_function("unique_key", |bencher| {
        bencher.iter(|| keys.next(black_box(1_800_000_000_000)));
    });
    let machine = Machine::new(Settings::new(Encoding::Json, Encoding::Json));
    criterion.bench_function("prepare_message", |bencher| bencher.iter(|| machine.prepare()));
}

/// Sixty-four sends from the call to the receipt.
fn cycle(criterion: &mut Criterion) {
    const BATCH: usize = 64;
    let all = [
        ("json", Settings::new(Encoding::Json, Encoding::Json)),
        ("binary", Settings::new(Encoding::Binary, Encoding::Binary)),
        ("binary_answered_in_json", Settings::new(Encoding::Binary, Encoding::Json)),
    ];
    for (name, settings) in all {
        let mut machine = Machine::new(settings);
        let conns = machine.broker_connections(&settings);
        let mut group = criterion.benchmark_group("machine_64_sends");
        group.throughput(Throughput::Elements(BATCH as u64));
        let machine = std::cell::RefCell::new(machine);
        group.bench_function(name, |bencher| {
            let setup = || {
                let mut machine = machine.borrow_mut();
                machine.pass_time();
                machine.broker_answers(&conns, BATCH);
                (0..BATCH).map(|_| machine.prepare()).collect::<Vec<_>>()
            };
            let send = |mut messages: Vec<_>| {
                let mut machine = machine.borrow_mut();
                machine.send(&mut messages);
                while let Some(conn) = machine.load() {
                    black_box(machine.receive(conn));
                }
                messages
            };
            bencher.iter_batched(setup, send, BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, encode, decode, prepare, cycle);
criterion_main!(benches);
