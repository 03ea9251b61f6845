//! A simulation for services: the real client, and the code that uses it, against simulated
//! servers, in virtual time.
//!
//! [`Sim`] is an executor, a clock, a network and a cluster in one. It runs the unmodified driver
//! with its handles and futures, and any `async` code around them, on one thread. Time is a number
//! that jumps to whatever happens next, so an hour of waiting costs nothing. One seed decides
//! everything that is left to chance, in the network and in the order in which tasks run: the same
//! seed tells the same story, for ever.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use rocketmq_driver::Message;
//! use rocketmq_testkit::Sim;
//! use rocketmq_testkit::cluster::{ClusterConfig, Node};
//!
//! let mut sim = Sim::new(42, ClusterConfig::new().brokers(2).topic("Orders", 4));
//! sim.run(async |cx| {
//!     let producer = cx.producer("shop");
//!     producer.send(Message::new("Orders", "first")).await.expect("both brokers work");
//!
//!     // A broker dies for ten seconds.
//!     cx.with(|cluster| cluster.kill(Node::Broker(0)));
//!     cx.after(Duration::from_secs(10), |cluster| cluster.restart(Node::Broker(0)));
//!     let receipt = producer.send(Message::new("Orders", "second")).await.expect("the other one");
//!     cx.stored_once(receipt.unique_key);
//!
//!     cx.sleep(Duration::from_secs(3_600)).await; // takes no time
//!     producer.close(Duration::from_secs(1)).await;
//!     cx.assert_nothing_left();
//! });
//! ```
//!
//! # When a test fails
//!
//! Whatever panics inside of [`Sim::run`], the seed and the last lines of the story come with it.
//! Run the same test with that seed and it fails at the same place. [`Sim::check_seeds`] runs one
//! over many seeds and says how to repeat the one that failed.
//!
//! # What is not simulated
//!
//! Code that asks the system for the time, sleeps by itself, starts threads or opens sockets leaves
//! the simulation. Let the code under test sleep through something that the test provides (see
//! [`SimHandle::sleep`]), and [`SimHandle::thread`] for threads. For tests with a real runtime and
//! real sockets there is [`LoopbackCluster`](crate::LoopbackCluster).

use std::env;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::cluster::ClusterConfig;

mod executor;
mod guest;
mod handle;
mod judge;
mod stream;
mod task;

pub use guest::Guest;
pub use handle::SimHandle;
pub use judge::Leftovers;
pub use stream::{SimRuntime, SimStream, SimTimer};
pub use task::SimTask;

use executor::Core;

/// Names one seed, for [`Sim::check_seeds`] to run that one alone and to tell its story.
pub const SEED_VARIABLE: &str = "ROCKETMQ_SIM_SEED";

/// A cluster, a network, a clock and an executor, all simulated.
///
/// See the [module](self) for what it is good for. Dropping it drops all of its tasks.
pub struct Sim {
    core: Arc<Core>,
}

impl Sim {
    /// A simulation that has not begun. The same seed and the same test give the same story.
    pub fn new(seed: u64, cluster: ClusterConfig) -> Sim {
        Sim { core: Core::new(seed, cluster) }
    }

    /// Runs a test until it returns. Tasks that it has started stand still afterwards, and go on
    /// with the next call.
    ///
    /// # Panics
    /// If the test does, or a task. If nothing can ever happen any more while the test still waits.
    /// If something goes in circles without letting time pass.
    pub fn run<T>(&mut self, test: impl AsyncFnOnce(SimHandle) -> T) -> T {
        /// Tells the story of a test that panics.
        struct Tell<'a>(&'a Core);
        impl Drop for Tell<'_> {
            fn drop(&mut self) {
                if thread::panicking()
                    && let Some(story) = self.0.untold()
                {
                    let at = Duration::from_nanos(self.0.now());
                    let seed = self.0.seed;
                    eprintln!("seed {seed}, at {at:?}; the last lines of the story:\n{story}");
                }
            }
        }
        let _tell = Tell(&self.core);
        self.core.block_on(test(self.handle()))
    }

    /// A handle on the simulation, to ask it something between two runs.
    pub fn handle(&self) -> SimHandle {
        SimHandle::new(&self.core)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Equal for two runs if and only if the same tasks ran in the same order, and the same bytes
    /// went the same ways at the same times.
    pub fn story_hash(&self) -> u128 {
        self.core.state().trace.hash()
    }

    /// The end of the story: up to so many lines.
    pub fn story(&self, lines: usize) -> String {
        self.core.state().trace.tail(lines)
    }

    /// Writes the story to standard error from now on.
    pub fn tell(&mut self) {
        self.core.state().trace.echo();
    }

    /// Runs a test once for each seed, each time with new servers. Returns how many seeds there
    /// were, and how much virtual time passed in all.
    ///
    /// When a seed fails, its number is written to standard error, and the panic goes on. To repeat
    /// it alone, with its story, run the same test with the environment variable
    /// `ROCKETMQ_SIM_SEED` set to that number.
    ///
    /// ```
    /// use rocketmq_driver::Message;
    /// use rocketmq_testkit::Sim;
    /// use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
    ///
    /// let cluster = ClusterConfig::new().brokers(2).topic("Orders", 4);
    /// let checked = Sim::check_seeds(0..20, cluster, async |cx| {
    ///     cx.rough_links();
    ///     let (broker, busy) = (Node::Broker(0), Fault::answer(2, "busy"));
    ///     cx.with(|cluster| cluster.script(broker, Rule::sends(), busy));
    ///     let producer = cx.producer("shop");
    ///     let receipt = producer.send(Message::new("Orders", "an order")).await.expect("retried");
    ///     cx.stored_once(receipt.unique_key);
    /// });
    /// assert_eq!(checked.seeds, 20);
    /// ```
    ///
    /// # Panics
    /// If the test does, or if the environment variable is no number.
    pub fn check_seeds(
        seeds: impl IntoIterator<Item = u64>,
        cluster: ClusterConfig,
        test: impl AsyncFn(SimHandle),
    ) -> Checked {
        let mut checked = Checked { seeds: 0, simulated: Duration::ZERO };
        let only = env::var(SEED_VARIABLE).ok().map(|text| {
            text.parse::<u64>().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is no number"))
        });
        let seeds: Box<dyn Iterator<Item = u64>> = match only {
            Some(seed) => Box::new([seed].into_iter()),
            None => Box::new(seeds.into_iter()),
        };
        for seed in seeds {
            let mut sim = Sim::new(seed, cluster.clone());
            if only.is_some() {
                sim.tell();
            }
            let run = catch_unwind(AssertUnwindSafe(|| sim.run(async |cx| test(cx).await)));
            if let Err(panic) = run {
                eprintln!(
                    "seed {seed} fails, after {} that did not. To repeat it alone, set \
                     {SEED_VARIABLE}={seed} and run the same test",
                    checked.seeds
                );
                resume_unwind(panic);
            }
            checked.seeds += 1;
            checked.simulated += sim.handle().now();
        }
        checked
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sim");
        debug.field("seed", &self.core.seed).field("now_ns", &self.core.now());
        debug.finish_non_exhaustive()
    }
}

/// What [`Sim::check_seeds`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Runs, one for each seed.
    pub seeds: u64,
    /// Virtual time of all runs.
    pub simulated: Duration,
}
