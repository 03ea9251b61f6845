//! Runs in which everything follows from one number: what the cluster is, how the network and the
//! loop behave, what is sent, and what breaks.
//!
//! A run has four phases. While faults strike, messages are sent, cancelled and lost. Then all is
//! healed, and after a while every message must be acknowledged. Then the clients close, and
//! nothing may be left. What must hold at all times is checked at all times.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_core::wire::Encoding;
use rocketmq_core::{Config, Event, Mode};

use super::{Habits, LinkProfile, Outcome, Random, Relaxed, Segmentation, SendId, SendSpec, World};
use crate::cluster::{ClusterConfig, ReplyEncoding, ServerVersion, TopicConfig};
use crate::network::{Writes, nanos};

mod faults;

use faults::Menu;

const TOPICS: [&str; 2] = ["Orders", "Invoices"];

/// After this time without faults every message must be acknowledged: one round of heartbeats to
/// find what is dead, with the time-out of one and of the probe after it.
const RECOVERY: Duration = Duration::from_secs(35);

/// What a run was and did.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash of the story; equal for equal seeds.
    pub hash: u128,
    /// What happened, and how often.
    pub marks: BTreeMap<String, u64>,
}

/// Runs one seed.
///
/// # Panics
/// If something does not hold that must hold of every run; the message ends with the story.
pub fn run(seed: u64, echo: bool) -> Report {
    let mut random = Random::new(seed).fork(0x5a);
    let plan = Plan::draw(&mut random);
    let mut world = World::new(seed, plan.cluster.clone(), plan.config.clone());
    if echo {
        world.trace.echo();
        world.note(format!("{plan:?}"));
    }
    for client in 1..plan.clients {
        world.add_client(plan.config.clone(), &format!("group-{client}"));
    }
    world.set_habits(plan.habits.clone());
    world.set_profile(plan.profile.clone());
    world.relax(plan.menu.relaxed());
    plan.load(&mut world, &mut random);
    plan.menu.strike(&mut world, &mut random, nanos(plan.span));
    world.run_for(plan.span);
    faults::heal(&mut world, &TOPICS, plan.queues);
    plan.recover(&mut world);
    world.finish();
    Report { seed, hash: world.trace.hash(), marks: marks(&world) }
}

/// Everything that is drawn before the run.
#[derive(Debug)]
struct Plan {
    cluster: ClusterConfig,
    config: Config,
    clients: usize,
    brokers: usize,
    queues: i64,
    habits: Habits,
    profile: LinkProfile,
    menu: Menu,
    span: Duration,
    sends: u64,
    closes_early: bool,
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

impl Plan {
    fn draw(random: &mut Random) -> Plan {
        let millis = Duration::from_millis;
        let brokers = random.between(1, 3) as usize;
        let name_servers = random.between(1, 2) as usize;
        let queues = random.between(1, 8) as i64;
        let version = [ServerVersion::V4_9, ServerVersion::V5_1, ServerVersion::V5_5];
        let replies = [
            ReplyEncoding::Mirror,
            ReplyEncoding::Always(crate::wire::Encoding::Json),
            ReplyEncoding::Always(crate::wire::Encoding::Binary),
        ];
        let cluster = ClusterConfig::new()
            .brokers(brokers)
            .name_servers(name_servers)
            .version(pick(random, &version))
            .reply_encoding(pick(random, &replies));
        let cluster = TOPICS.iter().fold(cluster, |c, topic| c.topic(*topic, queues));
        let config = World::config(name_servers)
            .encoding(pick(random, &[Encoding::Json, Encoding::Binary]))
            .long_send_header(random.chance(300))
            .retries_max(pick(random, &[0, 1, 2, 2, 2, 4]))
            .send_timeout(pick(random, &[millis(500), millis(3000), millis(3000), millis(8000)]))
            .latency_avoidance(random.chance(800))
            .retry_weak_acknowledgement(random.chance(300))
            .retry_only_if_not_stored(random.chance(200))
            .unsent_bytes_max(pick(random, &[400, 4096, 65536]))
            .build();
        let config = config.expect("every draw is legal");
        let profile = LinkProfile {
            connect: millis(pick(random, &[0, 1, 30])),
            delay: Duration::from_micros(pick(random, &[50, 500, 20_000])),
            jitter: millis(pick(random, &[0, 2, 40])),
            segmentation: pick(
                random,
                &[
                    Segmentation::Whole,
                    Segmentation::Bytes,
                    Segmentation::Random(20),
                    Segmentation::Random(500),
                ],
            ),
            buffer_bytes: pick(random, &[300, 5_000, 256 * 1024]),
            writes: if random.chance(500) { Writes::Partial } else { Writes::Whole },
            ..LinkProfile::default()
        };
        let habits = Habits {
            late_timers: millis(pick(random, &[0, 0, 3, 300])),
            noise: pick(random, &[0, 30, 300]),
            lazy: pick(random, &[0, 0, 100]),
        };
        Plan {
            cluster,
            config,
            clients: random.between(1, 2) as usize,
            brokers,
            queues,
            habits,
            profile,
            menu: Menu::draw(random, brokers, name_servers),
            span: Duration::from_secs(random.between(10, 60)),
            sends: random.between(100, 300),
            closes_early: random.chance(150),
        }
    }

    /// Sends, cancels and closes, spread over the time of the faults.
    fn load(&self, world: &mut World, random: &mut Random) {
        let span = nanos(self.span);
        for number in 0..self.sends {
            // Half of them in bursts.
            let burst = random.below(4) * span / 4;
            let at = if random.chance(500) { random.below(span) } else { burst };
            let spec = self.message(random, number);
            let cancel = random.chance(60).then(|| random.below(200_000_000));
            world.after(Duration::from_nanos(at), move |world| {
                let id = world.submit(spec);
                if let Some(delay) = cancel {
                    world.after(Duration::from_nanos(delay), move |world| {
                        world.cancel(id);
                    });
                }
            });
        }
        if self.closes_early && self.clients > 1 {
            let at = Duration::from_nanos(random.below(span));
            let grace = Duration::from_millis(random.below(4000));
            world.after(at, move |world| world.shutdown(1, grace));
        }
    }

    fn message(&self, random: &mut Random, number: u64) -> SendSpec {
        let length = pick(random, &[1, 10, 100, 1_000, 5_000]) as usize;
        let body = format!("{number} ").repeat(length / 4 + 1);
        let topic = if random.chance(40) { "Fresh" } else { pick(random, &TOPICS) };
        let spec = SendSpec::new(topic, body).by(random.below(self.clients as u64) as usize);
        match random.below(20) {
            0..=2 => spec.oneway(),
            3..=5 => {
                let broker = broker_name(random.below(self.brokers as u64));
                spec.to(&broker, random.below(self.queues as u64) as u32)
            }
            6 => spec.retries(random.below(4) as u32),
            7 => spec.timeout(Duration::from_millis(random.below(500))),
            8 => spec.wait_stored(false),
            _ => spec,
        }
    }

    /// I-23: without faults every message gets through, after a while.
    fn recover(&self, world: &mut World) {
        let healed = world.now();
        let gate = healed + nanos(RECOVERY) + nanos(self.grace());
        let mut probes: Vec<SendId> = Vec::new();
        while world.now() < gate + 5_000_000_000 {
            for topic in TOPICS {
                let spec = SendSpec::new(topic, "after the storm").timeout(Duration::from_secs(3));
                probes.push(world.submit(spec));
            }
            // Few before the gate: a client that is idle has to recover as well.
            let pause = if world.now() < gate { 2_000 } else { 250 };
            world.run_for(Duration::from_millis(pause));
        }
        for complaint in super::check::heartbeats(world, 0, self.brokers) {
            world.complain(complaint);
        }
        world.run_until_idle();
        for id in probes {
            let record = world.record(id);
            let due = record.started_ns >= gate;
            let stored = record.outcome.as_ref().is_some_and(Outcome::is_stored);
            if due && !stored {
                let (number, outcome) = (id.0, record.outcome.clone());
                world.complain(format!("I-23: send #{number} after the storm: {outcome:?}"));
                world.verify();
            }
        }
        self.quiet(world);
    }

    /// What a sloppy loop adds to the time of recovery: three timers in a row are late.
    fn grace(&self) -> Duration {
        self.habits.late_timers * 3 + self.profile.jitter * 4
    }

    /// I-14: nothing is left of what has ended.
    fn quiet(&self, world: &mut World) {
        // Give what is late the time to come, and requests the time to end.
        world.run_for(Duration::from_secs(8));
        for client in 0..self.clients {
            if world.closed_ns(client).is_some() {
                continue;
            }
            let done = world
                .run_until(Duration::from_secs(10), |world| world.tables(client).requests == 0);
            let tables = world.tables(client);
            let addresses = self.brokers + self.config.name_servers.len();
            let small = tables.operations == 0
                && tables.addresses <= addresses
                && tables.connections <= addresses
                && tables.brokers <= self.brokers
                && tables.topics <= TOPICS.len() + 2;
            if !(done && small) {
                world.complain(format!("I-14: at rest, and still {tables:?}"));
                world.verify();
            }
        }
    }
}

/// What a run reached, so that a swarm that reaches too little can be told from one that is fine.
fn marks(world: &World) -> BTreeMap<String, u64> {
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    let mut mark = |name: String| *marks.entry(name).or_default() += 1;
    for record in world.records() {
        if record.cancelled_ns.is_some() {
            mark("cancelled".into());
        }
        match &record.outcome {
            Some(Outcome::Stored(receipt)) => {
                mark(format!("stored {:?}", receipt.status));
                mark(format!("stored after {} failed", receipt.failed_attempts.len()));
                if receipt.position.is_none() {
                    mark("stored without receipt".into());
                }
            }
            Some(Outcome::Sent(_)) => mark("sent oneway".into()),
            Some(Outcome::Failed(error)) => {
                let kind = format!("{:?}", error.kind());
                let kind = kind.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
                mark(format!("failed {kind} {:?}", error.delivery()));
                if record.spec.mode == Mode::Oneway {
                    mark("failed oneway".into());
                }
            }
            Some(Outcome::Rejected(_)) => mark("rejected".into()),
            None => {}
        }
        let outcome = record.outcome.as_ref();
        for attempt in outcome.map(Outcome::failed_attempts).unwrap_or_default() {
            mark(format!("attempt {:?} {:?}", attempt.stage, attempt.delivery));
        }
    }
    for peer in &world.clients {
        for (_, event) in &peer.events {
            match event {
                Event::Disconnected { reason, .. } => {
                    let reason = format!("{reason:?}");
                    let reason = reason.split('(').next().unwrap_or_default();
                    mark(format!("disconnected {reason}"));
                }
                Event::ConnectFailed { failure, .. } => mark(format!("dial {failure:?}")),
                Event::LateAnswer { op, .. } => mark(format!("late answer {}", op.is_some())),
                Event::RouteFailed { .. } => mark("route failed".into()),
                Event::RequestRefused { .. } => mark("request refused".into()),
                Event::HeartbeatFailed { .. } => mark("heartbeat failed".into()),
                _ => {}
            }
        }
    }
    marks
}

/// What the faults of a menu excuse.
pub(super) fn excuse(loss: bool, addresses: bool) -> Relaxed {
    Relaxed { loss, lies: false, addresses }
}

/// A topic as it was in the beginning.
pub(super) fn topic(queues: i64) -> TopicConfig {
    TopicConfig::new(queues)
}

fn broker_name(index: u64) -> String {
    format!("broker-{}", char::from(b'a' + index as u8))
}
