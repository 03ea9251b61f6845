//! Runs in which everything follows from one number: what the cluster is, how the network and the
//! loop behave, what is sent, and what breaks.
//!
//! A run has four phases. While faults strike, messages are sent, cancelled and lost. Then all is
//! healed, and after a while every message must be acknowledged. Then the clients close, and
//! nothing may be left. What must hold at all times is checked at all times.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

mod expected;
mod kinds;
mod marks;
mod options;
mod plan;
mod regressions;
mod shrink;
mod strike;

pub use expected::expected_marks;
pub use kinds::{Group, Kind};
pub use plan::{Plan, PlannedSend, Strike};
pub use regressions::{Regression, numbers, parse_numbers, parse_span};
pub use shrink::{Shrunk, Size, plan_size, shrink, subject};

use super::{Outcome, Relaxed, SendId, SendSpec, World};
use crate::network::{Segmentation, nanos};
use plan::TOPICS;

const SECOND: u64 = 1_000_000_000;

/// After this time without faults every message must be acknowledged: one round of heartbeats to
/// find what is dead, with the time-out of one and of the probe after it.
const RECOVERY: Duration = Duration::from_secs(35);

/// How to run a seed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Writes the story to standard error while it happens.
    pub echo: bool,
    /// Keeps the whole story, not only its end.
    pub keep_story: bool,
    /// What is left of the plan.
    pub cuts: Cuts,
    /// Whether faults strike at all.
    pub faults: bool,
    /// Cuts what is received in another way than the plan says.
    pub segmentation: Option<Segmentation>,
    /// Whether the wall clock jumps, if the plan says so.
    pub wall_jumps: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            echo: false,
            keep_story: false,
            cuts: Cuts::default(),
            faults: true,
            segmentation: None,
            wall_jumps: true,
        }
    }
}

/// What is left of a plan; by default everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Numbers of the strikes that are kept.
    pub strikes: Option<BTreeSet<usize>>,
    /// Numbers of the sends that are kept.
    pub sends: Option<BTreeSet<usize>>,
    /// How long the phase of faults lasts at most.
    pub span: Option<Duration>,
}

/// What a run was and did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash of the story; equal for equal seeds.
    pub hash: u128,
    /// What happened, and how often.
    pub marks: BTreeMap<String, u64>,
    /// Simulated time, in nanoseconds.
    pub simulated_ns: u64,
    /// The part of it in which faults struck and at least ten messages a second were sent.
    pub busy_ns: u64,
    /// The real time which that part took.
    pub busy_real: Duration,
    /// Lines of the story in that part.
    pub busy_events: u64,
    /// How many sends there were.
    pub sends: u64,
    /// Lines of the story: inputs, outputs and what the network did.
    pub events: u64,
    /// How many faults struck.
    pub strikes: u64,
}

/// A run that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The run as far as it got.
    pub report: Report,
    /// What does not hold, or how the system under test panicked.
    pub violations: Vec<String>,
    /// The last lines of the story.
    pub tail: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "the simulation failed, seed {}:", self.report.seed)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
        write!(f, "the last lines of the story:\n{}", self.tail)
    }
}

/// Runs one seed.
///
/// Violations come back as values; a panic of the system under test is one of them. It is still
/// told to the panic hook: who runs many seeds may want to silence that.
///
/// # Errors
/// What did not hold, with the end of the story.
pub fn simulate(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    let (_, result) = simulate_world(seed, options);
    result
}

/// As [`simulate`], and gives the world as it was in the end.
pub fn simulate_world(seed: u64, options: &Options) -> (World, Result<Report, Box<Failure>>) {
    let plan = plan_of(seed, options);
    let mut world = World::new(seed, plan.cluster.clone(), plan.config.clone());
    let mut busy = Busy::default();
    let run = AssertUnwindSafe(|| plan.run(&mut world, options, &mut busy));
    let panic = catch_unwind(run).err();
    let report = report(&world, seed, &busy);
    let mut violations: Vec<_> = world.violations.iter().map(ToString::to_string).collect();
    if let Some(panic) = panic
        && violations.is_empty()
    {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        violations.push(format!("I-29: panic: {text}"));
    }
    if violations.is_empty() {
        return (world, Ok(report));
    }
    let tail = world.trace.tail(50);
    (world, Err(Box::new(Failure { report, violations, tail })))
}

/// The plan of a seed, as far as the options leave it.
pub fn plan_of(seed: u64, options: &Options) -> Plan {
    let mut plan = Plan::draw(seed);
    plan.cut(&options.cuts);
    if !options.faults {
        plan.strikes.clear();
    }
    if !options.wall_jumps {
        plan.strikes.retain(|it| !matches!(it.kind, Kind::WallJump | Kind::WallFar));
    }
    if let Some(segmentation) = options.segmentation {
        plan.profile.segmentation = segmentation;
    }
    plan
}

/// How much the part of a run took in which there was much to do.
#[derive(Default)]
struct Busy {
    simulated_ns: u64,
    events: u64,
    real: Duration,
}

fn report(world: &World, seed: u64, busy: &Busy) -> Report {
    Report {
        seed,
        hash: world.trace.hash(),
        marks: marks::of(world),
        simulated_ns: world.now(),
        busy_ns: busy.simulated_ns,
        busy_real: busy.real,
        busy_events: busy.events,
        sends: world.records().len() as u64,
        events: world.trace.total(),
        strikes: world.faults().len() as u64,
    }
}

impl Plan {
    fn run(&self, world: &mut World, options: &Options, busy: &mut Busy) {
        if options.keep_story {
            world.keep_trace();
        }
        if options.echo {
            world.trace.echo();
            world.note(format_args!("{self:?}"));
        }
        for client in 1..self.clients {
            let group = format!("group-{}", client % self.groups);
            world.add_client(self.config.clone(), &group);
        }
        world.set_habits(self.habits.clone());
        world.set_profile(self.profile.clone());
        world.relax(self.relaxed());
        self.load(world);
        strike::plan(world, self);
        world.begin_phase("safety");
        // Real time is measured for the report; nothing in the run depends on it.
        let began = Instant::now();
        world.run_for(self.span);
        *busy = Busy {
            simulated_ns: nanos(self.span),
            events: world.trace.total(),
            real: began.elapsed(),
        };
        world.begin_phase("heal");
        strike::heal(world, self);
        self.recover(world);
        world.begin_phase("close");
        world.finish();
    }

    /// What the faults of this run excuse.
    fn relaxed(&self) -> Relaxed {
        let has = |wanted: &[Kind]| self.strikes.iter().any(|s| wanted.contains(&s.kind));
        Relaxed {
            loss: has(&[Kind::Loss]),
            // A frame that is delivered again may be taken where it was refused before; an answer
            // with an old number may meet the request of another connection.
            lies: has(&[Kind::Replay, Kind::OldOpaque, Kind::OtherConnection, Kind::Corruption]),
            addresses: has(&[
                Kind::Moved,
                Kind::MasterGone,
                Kind::HostileRoute,
                Kind::RouteFlips,
                Kind::RoutesDisagree,
                Kind::EmptyRoute,
                Kind::StaleRoutes,
                Kind::Forgets,
                Kind::BrokerRemoved,
                Kind::TopicRemoved,
                Kind::QueuesShrunk,
                Kind::QueuesGrown,
                Kind::ReadOnly,
                Kind::LooseJson,
            ]),
            replays: has(&[Kind::Replay]),
            corruption: has(&[Kind::Corruption]),
        }
    }

    /// I-23: without faults every message gets through, after a while.
    fn recover(&self, world: &mut World) {
        let healed = world.now();
        let gate = healed + nanos(RECOVERY) + nanos(self.grace());
        let mut probes: Vec<SendId> = Vec::new();
        while world.now() < gate + 4 * SECOND {
            let open: Vec<_> =
                (0..self.clients).filter(|c| *c == 0 || !world.closing(*c)).collect();
            for topic in TOPICS {
                let client = open[probes.len() / 2 % open.len()];
                let spec = SendSpec::new(topic, "after the storm").by(client);
                probes.push(world.submit(spec.timeout(Duration::from_secs(3))));
            }
            // Few before the gate: a client that is idle has to recover as well.
            if world.now() < gate {
                world.run_for(Duration::from_secs(2));
            } else {
                world.begin_phase("liveness");
                world.run_for(Duration::from_millis(100));
            }
        }
        world.greets(0, self.brokers);
        world.run_until_idle();
        for id in probes {
            let record = world.record(id);
            let due = record.started_ns >= gate;
            let stored = record.outcome.as_ref().is_some_and(Outcome::is_stored);
            if due && !stored {
                let (number, outcome) = (id.0, record.outcome.clone());
                world.violate(23, format!("send #{number} after the storm: {outcome:?}"));
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
            if world.closing(client) {
                continue;
            }
            let addresses = self.brokers + self.config.name_servers.len();
            // A broker that only a lie had named may stay in a default route for a minute, and
            // then goes with the next round of heartbeats.
            let at_rest = |world: &World| {
                let tables = world.tables(client);
                tables.requests == 0
                    && tables.operations == 0
                    && tables.addresses <= addresses
                    && tables.connections <= addresses
                    && tables.brokers <= self.brokers
                    && tables.topics <= TOPICS.len() + 2
            };
            let done = world.run_until(Duration::from_secs(60), at_rest);
            let tables = world.tables(client);
            if !done {
                world.violate(14, format!("at rest, and still {tables:?}"));
                world.verify();
            }
        }
    }
}
