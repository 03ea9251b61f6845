//! Many seeds: users, faults, recovery, close, and nothing left.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_driver::{Client, ClientOptions, Message, Producer, SendOptions, Stats, TlsConfig};
use rocketmq_testkit::cluster::ClusterConfig;
use rocketmq_testkit::network::Random;
use rocketmq_testkit::tls::{Authority, ServerTls, TlsMode};
use rocketmq_testkit::{Sim, SimHandle};

use super::chaos;
use super::ledger::{Ledger, Told, in_time};
use super::users::User;

/// Telling the brokers is given so much time beyond that of the close.
const FAREWELL: Duration = Duration::from_secs(1);

/// After this without a fault every send succeeds again: a refresh of the route and a back-off.
const RECOVERY: Duration = Duration::from_secs(35);

/// A client of a run, and how long its sends may take.
struct Party {
    client: Client,
    producer: Producer,
    longest: Duration,
    /// It is killed during the run.
    process: Option<SimHandle>,
}

/// Servers that take nothing but TLS, and the clients for them.
struct Encrypted {
    server: ServerTls,
    client: TlsConfig,
}

impl Encrypted {
    fn new() -> Encrypted {
        let authority = Authority::new("swarm");
        let server = authority.server(&["cluster.test"]).mode(TlsMode::Enforcing);
        let client = TlsConfig::builder().roots_pem(authority.pem()).server_name("cluster.test");
        Encrypted { server, client: client.build().expect("legal") }
    }
}

fn cluster(random: &mut Random) -> ClusterConfig {
    ClusterConfig::new()
        .name_servers(random.between(1, 3) as usize)
        .brokers(random.between(1, 4) as usize)
        .topic("Orders", 4)
}

fn party(cx: &SimHandle, random: &mut Random, tls: Option<&Encrypted>) -> Party {
    let timeout = Duration::from_millis(random.between(20, 3_000));
    let mut config = cx.config().send_timeout(timeout).retries_max(random.below(4) as u32);
    if random.chance(500) {
        config = config.in_flight_messages_max(random.between(1, 12) as u32);
    }
    if random.chance(300) {
        config = config.in_flight_bytes_max(random.between(20, 200) as usize);
    }
    let process = random.chance(200).then(|| cx.process());
    let mut options = ClientOptions::new(config.build().expect("legal"));
    if let Some(tls) = tls {
        options = options.with_tls(tls.client.clone());
    }
    let client = process.as_ref().unwrap_or(cx).start(options);
    let producer = client.producer("shop").expect("legal");
    let longest = timeout.max(Duration::from_secs(2));
    Party { client, producer, longest, process }
}

/// One seed. Returns how its messages ended.
async fn run(cx: SimHandle, tls: Option<&Encrypted>) -> Vec<String> {
    let mut random = cx.random();
    if let Some(tls) = tls {
        cx.with(|cluster| cluster.set_tls_everywhere(&tls.server));
    }
    cx.rough_links();
    let brokers = cx.look(|cluster| cluster.nodes()).len() as u64;
    let ledger = Ledger::default();
    let mut tasks = Vec::new();
    let parties = (0..random.between(1, 3)).map(|_| party(&cx, &mut random, tls));
    let parties: Vec<Party> = parties.collect();
    for (number, party) in parties.iter().enumerate() {
        for task in 0..random.between(1, 6) {
            let user = User {
                cx: cx.clone(),
                name: format!("{number}-{task}"),
                producer: party.producer.clone(),
                ledger: ledger.clone(),
                random: random.fork(number as u64 * 100 + task),
                brokers,
                timeout: party.client.config().send_timeout,
                longest: party.longest,
            };
            tasks.push(cx.spawn(user.run(random.between(5, 25) as usize)));
        }
    }
    let length = Duration::from_millis(random.between(100, 12_000));
    for process in parties.iter().filter_map(|party| party.process.clone()) {
        let when = cx.sleep(Duration::from_micros(random.below(length.as_micros() as u64)));
        tasks.push(cx.spawn(async move {
            when.await;
            process.kill();
        }));
    }
    let chaos = cx.spawn(chaos::rage(cx.clone(), random.fork(77), length));
    // Some close while everything is at its worst.
    let early = random.chance(300);
    if early {
        cx.sleep(Duration::from_micros(random.below(6_000_000))).await;
        close(&cx, &mut random, &parties).await;
    }
    for task in tasks {
        task.await;
    }
    chaos.await;
    // What was delayed, and who comes back late.
    cx.sleep(Duration::from_secs(5)).await;
    if !early {
        recover(&cx, &parties, &ledger).await;
        close(&cx, &mut random, &parties).await;
    }
    drop(parties);
    cx.sleep(Duration::from_secs(60)).await;
    cx.assert_nothing_left();
    ledger.judge(&cx);
    assert!(ledger.len() > 3);
    ledger.kinds()
}

/// All clients send again.
async fn recover(cx: &SimHandle, parties: &[Party], ledger: &Ledger) {
    let alive = parties.iter().filter(|party| party.process.is_none());
    for (number, party) in alive.enumerate() {
        let begun = cx.now();
        for attempt in 0.. {
            let body = format!("recovery-{number}-{attempt}");
            let message = Message::new("Orders", body.clone());
            // With less time, slow links alone are a reason to fail.
            let options = SendOptions::new().with_timeout(Duration::from_secs(3));
            let result = party.producer.send_with(message, options).await;
            let done = result.is_ok();
            ledger.note(cx, &body, result.map_or_else(Told::Failed, Told::from));
            if done {
                break;
            }
            in_time(cx, "recovery", begun, RECOVERY);
            cx.sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Closes all clients, twice and at once; then nothing is left of them.
async fn close(cx: &SimHandle, random: &mut Random, parties: &[Party]) {
    let mut closes = Vec::new();
    for party in parties {
        for _ in 0..random.between(1, 2) {
            let (cx2, client) = (cx.clone(), party.client.clone());
            let limit = Duration::from_micros(random.below(3_000_000));
            closes.push(cx.spawn(async move {
                let begun = cx2.now();
                let report = client.close(limit).await;
                in_time(&cx2, "a close", begun, limit + FAREWELL);
                assert_eq!(report.failed as usize, report.failures.len());
            }));
        }
    }
    for close in closes {
        close.await;
    }
    for party in parties {
        let stats = party.client.stats();
        assert_eq!((stats.in_flight, stats.in_flight_bytes, stats.waiting), (0, 0, 0));
        assert!(stats.connections == 0 || party.process.is_some());
        let Stats { accepted, acknowledged, oneway, refused, not_sent, unknown, .. } = stats;
        // Those that never had room were not sent either.
        let tried = acknowledged + oneway + refused + unknown;
        assert!(tried <= accepted && accepted <= tried + not_sent, "{stats:?}");
    }
}

/// One seed, from its own cluster on.
fn run_seed(seed: u64) -> (u128, Vec<String>) {
    let config = cluster(&mut Random::new(seed).fork(5));
    let mut sim = Sim::new(seed, config);
    let kinds = sim.run(async |cx| run(cx, None).await);
    (sim.story_hash(), kinds)
}

#[test]
fn every_future_ends_in_time_with_the_truth_and_nothing_is_left() {
    let mut seen = BTreeMap::<String, u64>::new();
    for seed in seeds(300) {
        let (_, kinds) = run_seed(seed);
        for kind in kinds {
            *seen.entry(kind).or_default() += 1;
        }
    }
    println!("{seen:#?}");
    if std::env::var(SEEDS).is_ok() {
        return;
    }
    for kind in [
        "stored",
        "sent",
        "dropped",
        "never polled",
        "Timeout NotSent",
        "Timeout Unknown",
        "Cancelled NotSent",
        "Closed NotSent",
        "Closed Unknown",
        "Backpressure NotSent",
        "NameServerUnreachable NotSent",
        "Broker Refused",
        "DriverStopped NotSent",
        "DriverStopped Unknown",
    ] {
        assert!(seen.contains_key(kind), "no message ended as {kind}: {seen:#?}");
    }
}

/// The same with every connection encrypted, over links that take and bring bytes in any pieces and
/// break anywhere. Handshakes are not repeatable, so what one seed does differs from run to run.
#[test]
fn every_promise_is_kept_over_tls() {
    let tls = Encrypted::new();
    let mut seen = BTreeMap::<String, u64>::new();
    for seed in seeds(100) {
        let config = cluster(&mut Random::new(seed).fork(5));
        let mut sim = Sim::new(seed, config);
        let (kinds, shaken) = sim.run(async |cx| {
            let kinds = run(cx.clone(), Some(&tls)).await;
            (kinds, cx.look(|cluster| cluster.tls_handshakes().len()))
        });
        *seen.entry("handshake".to_owned()).or_default() += shaken as u64;
        for kind in kinds {
            *seen.entry(kind).or_default() += 1;
        }
    }
    println!("{seen:#?}");
    if std::env::var(SEEDS).is_ok() {
        return;
    }
    for kind in ["handshake", "stored", "sent", "Timeout NotSent", "Timeout Unknown"] {
        assert!(seen.contains_key(kind), "no message ended as {kind}: {seen:#?}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..30 {
        let (first, second) = (run_seed(seed), run_seed(seed));
        assert_eq!(first, second, "seed {seed} is not repeatable");
    }
}

/// Other seeds: `from..to`.
const SEEDS: &str = "ROCKETMQ_SIM_SEEDS";

fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(SEEDS) else { return 0..count };
    let (from, to) = text.split_once("..").expect("from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}
