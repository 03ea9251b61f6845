//! The comparison with the floor.

use std::time::Duration;

use rocketmq_bench::bare::Bare;
use rocketmq_bench::load::{self, End, Outcome};
use rocketmq_bench::process::{self, Kind, Server};
use rocketmq_bench::samples;
use rocketmq_core::wire::Encoding;
use rocketmq_tokio::{Compression, Config, Producer};
use tokio::runtime::Runtime;

use crate::Failure;

const DEPTHS: [usize; 3] = [1, 64, 512];
const BODIES: [usize; 3] = [128, 4 * 1024, 64 * 1024];

/// How many times the floor's CPU a message of 128 bytes may cost in the median over all depths,
/// runtimes and encodings. Far above what is measured: it is there to catch a lost wake or a copy
/// too many, not a slow machine.
const RATIO_MAX: f64 = 6.0;

/// One line of the table.
struct Setting {
    encoding: Encoding,
    in_flight: usize,
    body: usize,
}

/// Runs of the floor and of ours, in the order in which they were made.
#[derive(Default)]
struct Pair {
    floor: Vec<Outcome>,
    ours: Vec<Outcome>,
}

/// Prints the table; whether every message was stored and none cost far too much.
pub(crate) fn run(quick: bool, mirror: bool) -> Result<bool, Failure> {
    let (time, repetitions) = if quick { (150, 1) } else { (1_000, 3) };
    let time = Duration::from_millis(time);
    let kind = if mirror { Kind::InstantMirror } else { Kind::InstantJson };
    let server = Server::start(kind)?;
    let before = (process::cpu_of_all(), process::cpu_in_ticks() + server.cpu());
    let started = std::time::Instant::now();
    let (mut failed, mut small) = (0, Vec::new());
    for multi_thread in [false, true] {
        let name = if multi_thread { "2 threads" } else { "1 thread" };
        println!("{name}, medians of {} runs of {time:?} each", 2 * repetitions);
        print_head();
        for encoding in [Encoding::Json, Encoding::Binary] {
            for body in BODIES {
                for in_flight in DEPTHS {
                    let setting = Setting { encoding, in_flight, body };
                    let runtime = runtime(multi_thread)?;
                    let pair = measure(&runtime, &server, &setting, time, repetitions)?;
                    failed += pair.ours.iter().map(|outcome| outcome.failed).sum::<u64>();
                    let ratio = print_row(&setting, &pair);
                    small.extend((body == BODIES[0]).then_some(ratio));
                }
            }
        }
    }
    let all = process::cpu_of_all() - before.0;
    let own = process::cpu_in_ticks() + server.cpu() - before.1;
    let foreign = all.saturating_sub(own).as_secs_f64() / started.elapsed().as_secs_f64();
    let ratio = median(small);
    println!("CPU of other processes meanwhile: {:.0} % of one core", foreign * 100.0);
    println!("128 bytes: {ratio:.2} times the floor's CPU in the median, {RATIO_MAX} allowed");
    println!("failed sends: {failed}");
    print_allocations();
    Ok(failed == 0 && ratio <= RATIO_MAX)
}

fn runtime(multi_thread: bool) -> std::io::Result<Runtime> {
    if multi_thread {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }
}

fn measure(
    runtime: &Runtime,
    server: &Server,
    setting: &Setting,
    time: Duration,
    repetitions: usize,
) -> Result<Pair, Failure> {
    let body = samples::body(setting.body);
    let mut pair = Pair::default();
    runtime.block_on(async {
        let floor = Bare::connect(server.address(), setting.encoding, setting.body).await?;
        let ours = producer(server, setting.encoding).await?;
        let warm_up = End::After(time / 5);
        load::run(&floor, setting.in_flight, &body, warm_up).await;
        load::run(&ours, setting.in_flight, &body, warm_up).await;
        for _ in 0..repetitions {
            let end = End::After(time);
            pair.floor.push(load::run(&floor, setting.in_flight, &body, end).await);
            pair.ours.push(load::run(&ours, setting.in_flight, &body, end).await);
            pair.ours.push(load::run(&ours, setting.in_flight, &body, end).await);
            pair.floor.push(load::run(&floor, setting.in_flight, &body, end).await);
        }
        ours.close(Duration::from_secs(3)).await;
        Ok(pair)
    })
}

async fn producer(server: &Server, encoding: Encoding) -> Result<Producer, Failure> {
    // The floor does not compress either, and servers get the same bytes.
    let config = Config::builder(server.address())
        .topic(samples::TOPIC)
        .encoding(encoding)
        .compression(Compression::None);
    let client = rocketmq_tokio::start(config.build()?)?;
    let producer = client.producer(samples::GROUP)?;
    producer.wait_ready(Duration::from_secs(3)).await?;
    Ok(producer)
}

// ---- The table ------------------------------------------------------------------------------

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn median_of(outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> f64 {
    median(outcomes.iter().map(value).collect())
}

fn range_of(outcomes: &[Outcome], value: impl Fn(&Outcome) -> f64) -> String {
    let values: Vec<f64> = outcomes.iter().map(value).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{least:.2}-{most:.2}")
}

fn print_head() {
    println!(
        "{:<7}{:>6}{:>7} |{:>8}{:>8}{:>13}{:>7} |{:>9}{:>9}{:>7} |{:>14}{:>7}{:>16}",
        "header",
        "body",
        "flight",
        "CPU µs:",
        "floor",
        "ours [range]",
        "ratio",
        "kmsg/s:",
        "floor",
        "ours",
        "p50 µs: floor",
        "ours",
        "p99: floor ours",
    );
}

/// Prints one line and returns the ratio of CPU.
fn print_row(setting: &Setting, pair: &Pair) -> f64 {
    let cpu = |outcomes: &[Outcome]| median_of(outcomes, Outcome::cpu_us);
    let rate = |outcomes: &[Outcome]| median_of(outcomes, Outcome::rate) / 1e3;
    let at = |outcomes: &[Outcome], quantile| median_of(outcomes, |o| o.latency_us(quantile));
    let (floor, ours) = (&pair.floor[..], &pair.ours[..]);
    let ratio = cpu(ours) / cpu(floor);
    println!(
        "{:<7}{:>6}{:>7} |{:>16.2}{:>8.2} {:>13}{:>6.2} |{:>18.1}{:>7.1} \
         |{:>14.0}{:>7.0}{:>9.0}{:>7.0}",
        format!("{:?}", setting.encoding).to_lowercase(),
        setting.body,
        setting.in_flight,
        cpu(floor),
        cpu(ours),
        range_of(ours, Outcome::cpu_us),
        ratio,
        rate(floor),
        rate(ours),
        at(floor, 0.5),
        at(ours, 0.5),
        at(floor, 0.99),
        at(ours, 0.99),
    );
    ratio
}

/// Counting allocations slows them down, so another program counts them, in a run of its own.
fn print_allocations() {
    let counts = std::env::current_exe().map(|path| path.with_file_name("counts"));
    match counts {
        Ok(counts) if counts.exists() => {
            // What it finds is only shown here; its own check judges it.
            let _ = std::process::Command::new(counts).arg("allocations").status();
        }
        _ => println!("allocations: not counted, the program counts is not built"),
    }
}
