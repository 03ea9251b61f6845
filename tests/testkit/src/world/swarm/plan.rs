//! Everything that is drawn before a run, as data that can be looked at and cut down.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmq_core::Config;
use rocketmq_core::wire::Encoding;

use super::kinds::Kind;
use super::{Cuts, options};
use crate::cluster::{ClusterConfig, ReplyEncoding, ServerVersion, TopicConfig};
use crate::network::{LinkProfile, Random, Segmentation, Writes, nanos};
use crate::world::check::SECRET;
use crate::world::{Habits, SendSpec, World};

/// The topics that exist from the beginning.
pub(super) const TOPICS: [&str; 2] = ["Orders", "Invoices"];

/// Streams of chance: one for each subject, so that a change of one leaves the others alone.
mod stream {
    pub(super) const CLUSTER: u64 = 1;
    pub(super) const CONFIG: u64 = 2;
    pub(super) const NETWORK: u64 = 3;
    pub(super) const LOAD: u64 = 4;
    pub(super) const FAULTS: u64 = 5;
    pub(super) const OPTIONS: u64 = 6;
}

/// A run before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many producer groups they belong to.
    pub groups: usize,
    /// How many brokers there are.
    pub brokers: usize,
    /// How many name servers there are.
    pub name_servers: usize,
    /// How many queues a topic has on the first broker.
    pub queues: i64,
    /// Whether each following broker has one queue more than the one before.
    pub more_queues: bool,
    /// How long faults strike.
    pub span: Duration,
    /// What the application does, in the order of time.
    pub sends: Vec<PlannedSend>,
    /// What breaks, in the order of time.
    pub strikes: Vec<Strike>,
    /// Which kinds of faults this run is about.
    pub kinds: Vec<Kind>,
    pub(super) cluster: ClusterConfig,
    pub(super) config: Config,
    pub(super) habits: Habits,
    pub(super) profile: LinkProfile,
}

/// A send that will be called.
#[derive(Clone, Debug)]
pub struct PlannedSend {
    /// Its place in the plan before anything was cut off.
    pub number: usize,
    /// When it is called.
    pub at_ns: u64,
    /// When it is cancelled, after the call.
    pub cancelled_after_ns: Option<u64>,
    pub(super) spec: SendSpec,
}

/// A fault that will strike.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Its place in the plan before anything was cut off.
    pub number: usize,
    /// When it begins.
    pub at_ns: u64,
    /// How long it lasts, if it has a length.
    pub length_ns: u64,
    /// What it is.
    pub kind: Kind,
    /// Decides everything else about it.
    pub(super) random: Random,
}

pub(super) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Plan {
        let root = Random::new(seed).fork(0x706c_616e);
        let random = &mut root.fork(stream::CLUSTER);
        let brokers = pick(random, &[1, 2, 2, 3, 3, 4, 5]);
        let name_servers = pick(random, &[1, 1, 2, 2, 3]);
        let queues = random.between(1, 8) as i64;
        let clients = pick(random, &[1, 1, 2, 2, 3, 4]);
        let groups = (random.between(1, 2) as usize).min(clients);
        let spans = [10, 10, 15, 15, 20, 20, 20, 30, 30, 30, 60, 120];
        let span = Duration::from_secs(pick(random, &spans));
        let cluster = draw_cluster(random, brokers, name_servers, queues);
        let faults = &mut root.fork(stream::FAULTS);
        let kinds = draw_kinds(faults, brokers);
        let strikes = draw_strikes(faults, &kinds, span);
        let mut plan = Plan {
            seed,
            clients,
            groups,
            brokers,
            name_servers,
            queues,
            more_queues: random.chance(400),
            span,
            sends: Vec::new(),
            strikes,
            cluster,
            config: draw_config(&mut root.fork(stream::CONFIG), name_servers),
            habits: Habits::default(),
            profile: draw_profile(&mut root.fork(stream::NETWORK), &kinds),
            kinds,
        };
        plan.habits = draw_habits(faults, &plan.kinds);
        plan.sends = plan.draw_sends(&mut root.fork(stream::LOAD));
        options::draw(&mut root.fork(stream::OPTIONS), &mut plan);
        plan
    }

    /// Leaves out what the cuts leave out.
    pub(super) fn cut(&mut self, cuts: &Cuts) {
        let kept = |wanted: &Option<BTreeSet<usize>>, number: usize| {
            wanted.as_ref().is_none_or(|wanted| wanted.contains(&number))
        };
        self.span = cuts.span.map_or(self.span, |span| span.min(self.span));
        let end = nanos(self.span);
        self.strikes.retain(|strike| kept(&cuts.strikes, strike.number) && strike.at_ns <= end);
        // Whatever comes in turns is over when all is healed, also when that is sooner.
        for strike in &mut self.strikes {
            strike.length_ns = strike.length_ns.min(end - strike.at_ns);
        }
        self.sends.retain(|send| kept(&cuts.sends, send.number) && send.at_ns <= end);
    }

    /// At least ten sends a second, half of them in bursts.
    fn draw_sends(&self, random: &mut Random) -> Vec<PlannedSend> {
        let span = nanos(self.span);
        let rate = pick(random, &[10, 12, 20]);
        let bursts = random.between(1, 4);
        let count = self.span.as_secs() * rate;
        let mut sends: Vec<_> = (0..count)
            .map(|number| {
                let burst = random.below(bursts) * span / bursts;
                let bursting = random.chance(300);
                let at_ns = if bursting { burst } else { random.below(span) };
                let spec = self.draw_send(random, number);
                let cancelled_after_ns = random.chance(50).then(|| random.below(200_000_000));
                PlannedSend { number: 0, at_ns, cancelled_after_ns, spec }
            })
            .collect();
        sends.sort_by_key(|send| send.at_ns);
        sends.iter_mut().enumerate().for_each(|(number, send)| send.number = number);
        sends
    }

    fn draw_send(&self, random: &mut Random, number: u64) -> SendSpec {
        let length = pick(random, &[1, 10, 10, 100, 100, 100, 1_000, 5_000]) as usize;
        let mut body = format!("{number} ").repeat(length / 4 + 1);
        if body.len() >= SECRET.len() {
            body.replace_range(..SECRET.len(), SECRET);
        }
        let topic = if random.chance(30) { "Fresh" } else { pick(random, &TOPICS) };
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

    /// How many queues a topic has on a broker.
    pub(super) fn queues_on(&self, broker: usize) -> i64 {
        self.queues + if self.more_queues { broker as i64 } else { 0 }
    }

    /// Plans all sends.
    pub(super) fn load(&self, world: &mut World) {
        world.with(|cluster| {
            for (broker, topic) in (0..self.brokers).flat_map(|b| TOPICS.map(|topic| (b, topic))) {
                cluster.set_topic(broker, topic, TopicConfig::new(self.queues_on(broker)));
            }
        });
        for planned in &self.sends {
            let (spec, cancelled) = (planned.spec.clone(), planned.cancelled_after_ns);
            world.after(Duration::from_nanos(planned.at_ns), move |world| {
                let id = world.submit(spec);
                if let Some(delay) = cancelled {
                    world.after(Duration::from_nanos(delay), move |world| {
                        world.cancel(id);
                    });
                }
            });
        }
    }
}

fn draw_cluster(
    random: &mut Random,
    brokers: usize,
    name_servers: usize,
    queues: i64,
) -> ClusterConfig {
    let version = [ServerVersion::V4_9, ServerVersion::V5_1, ServerVersion::V5_5];
    let replies = [
        ReplyEncoding::Mirror,
        ReplyEncoding::Always(crate::wire::Encoding::Json),
        ReplyEncoding::Always(crate::wire::Encoding::Binary),
    ];
    let cluster = ClusterConfig::new()
        .brokers(brokers)
        .slaves(pick(random, &[0, 1, 2]))
        .name_servers(name_servers)
        .version(pick(random, &version))
        .reply_encoding(pick(random, &replies))
        .record_frames(false);
    TOPICS.iter().fold(cluster, |cluster, topic| cluster.topic(*topic, queues))
}

fn draw_config(random: &mut Random, name_servers: usize) -> Config {
    let millis = Duration::from_millis;
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
    config.expect("every draw is legal")
}

/// The seed first chooses which faults exist, so that some runs are about few of them.
fn draw_kinds(random: &mut Random, brokers: usize) -> Vec<Kind> {
    let share = pick(random, &[20, 60, 150, 300]);
    let corrupt = random.chance(30);
    let kinds = Kind::ALL.iter().copied().filter(|kind| match kind {
        // A flipped bit can forge an answer, so few promises can be judged then.
        Kind::Corruption => corrupt,
        // The same as one broker's death.
        Kind::KillAll if brokers == 1 => false,
        _ => random.chance(share),
    });
    kinds.collect()
}

/// Each kind has a rate and a length of its own; none, and there is one fault in ten seconds.
fn draw_strikes(random: &mut Random, kinds: &[Kind], span: Duration) -> Vec<Strike> {
    let mut strikes = Vec::new();
    let mut strike = |random: &mut Random, kind: Kind, typical_ms: u64| {
        // Some are there from the beginning.
        let early = random.chance(100);
        let at_ns = if early { 0 } else { random.below(nanos(span)) };
        let own = random.fork(strikes.len() as u64);
        let length_ns = random.between(typical_ms / 2, typical_ms * 3 / 2) * 1_000_000;
        // Whatever comes in turns is over when all is healed.
        let length_ns = length_ns.min(nanos(span) - at_ns);
        strikes.push(Strike { number: 0, at_ns, length_ns, kind, random: own });
    };
    for kind in kinds {
        let per_minute = pick(random, &[3, 6, 20]);
        let typical_ms = pick(random, &[20, 500, 500, 3_000, 3_000, 12_000, 60_000]);
        // What lasts long comes seldom, or nothing else would ever happen.
        let most = (span.as_secs() * 2_000 / typical_ms).max(1);
        let count = (per_minute * span.as_secs() / 60).clamp(1, most);
        (0..count).for_each(|_| strike(random, *kind, typical_ms));
    }
    strikes.sort_by_key(|strike| strike.at_ns);
    strikes.iter_mut().enumerate().for_each(|(number, strike)| strike.number = number);
    strikes
}

fn draw_profile(random: &mut Random, kinds: &[Kind]) -> LinkProfile {
    let millis = Duration::from_millis;
    LinkProfile {
        connect: millis(pick(random, &[0, 1, 30])),
        delay: Duration::from_micros(pick(random, &[50, 500, 20_000])),
        jitter: millis(pick(random, &[0, 2, 40])),
        segmentation: pick(
            random,
            &[Segmentation::Whole, Segmentation::Random(500), Segmentation::Random(20)],
        ),
        buffer_bytes: pick(random, &[5_000, 256 * 1024]),
        writes: pick(random, &[Writes::Whole, Writes::Whole, Writes::Partial]),
        recorded: kinds.contains(&Kind::Replay),
        ..LinkProfile::default()
    }
}

/// Faults that last for the whole run.
fn draw_habits(random: &mut Random, kinds: &[Kind]) -> Habits {
    let on = |kind: Kind| kinds.contains(&kind);
    let late = if on(Kind::LateTimers) { pick(random, &[3, 300, 5_000]) } else { 0 };
    Habits {
        late_timers: Duration::from_millis(late),
        noise: if on(Kind::Noise) { pick(random, &[30, 300]) } else { 0 },
        lazy: if on(Kind::Lazy) { 100 } else { 0 },
    }
}

pub(super) fn broker_name(index: u64) -> String {
    format!("broker-{}", char::from(b'a' + index as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_dense_and_differ() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            let seconds = plan.span.as_secs();
            assert!(plan.sends.len() as u64 >= 10 * seconds, "seed {seed}");
            assert!(plan.sends.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
            assert!(plan.strikes.iter().all(|strike| strike.at_ns < seconds * 1_000_000_000));
        }
        assert_ne!(Plan::draw(1).sends.len(), Plan::draw(2).sends.len());
    }

    #[test]
    fn cuts_keep_what_they_name() {
        let mut plan = Plan::draw(3);
        let cuts = Cuts {
            strikes: Some(BTreeSet::from([0])),
            sends: Some(BTreeSet::from([2, 5])),
            span: Some(Duration::from_secs(5)),
        };
        let expected = Plan::draw(3).sends.iter().filter(|s| [2, 5].contains(&s.number)).count();
        plan.cut(&cuts);
        assert!(plan.sends.len() <= expected && plan.strikes.len() <= 1);
        assert_eq!(plan.span, Duration::from_secs(5));
    }

    #[test]
    fn no_fault_outlasts_the_span_that_is_left() {
        let mut long = 0;
        for seed in 0..50 {
            let mut plan = Plan::draw(seed);
            let ends = |plan: &Plan, limit: u64| {
                plan.strikes.iter().filter(|it| it.at_ns + it.length_ns > limit).count()
            };
            let limit = 3_000_000_000;
            long += ends(&plan, limit);
            plan.cut(&Cuts { span: Some(Duration::from_nanos(limit)), ..Cuts::default() });
            assert_eq!(ends(&plan, limit), 0, "seed {seed}");
        }
        assert!(long > 0, "no plan of these has a fault that lasts");
    }
}
