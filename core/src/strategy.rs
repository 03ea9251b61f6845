//! What a client may be told about the choice of queues and the memory of slow brokers.

use core::time::Duration;

/// How a queue is chosen when the caller leaves it to the client.
///
/// With [`Config::latency_avoidance`](crate::Config::latency_avoidance) off, both are Java's plain
/// round robin, which only avoids the broker of the attempt before.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum QueueStrategy {
    /// Java's strategy of today with its known faults mended. Queues of different brokers follow
    /// each other; a retry avoids every broker that was tried in this send; only transport faults
    /// and busy or unavailable brokers count as faults; a success makes a broker well again.
    #[default]
    Current,
    /// The strategy of Java 5.0.0 to the letter: the first broker that is available, even the one
    /// that has just failed; if none is, one of the better half. Any failure avoids a broker for
    /// ten minutes, even a refusal by [`Interceptor::check_forbidden`]. For comparison, and for
    /// those who rely on it.
    ///
    /// [`Interceptor::check_forbidden`]: crate::Interceptor::check_forbidden
    Java500,
}

impl QueueStrategy {
    /// The latency classes that the strategy uses unless others are configured, lowest first.
    pub const fn latency_classes(self) -> &'static [LatencyClass] {
        match self {
            QueueStrategy::Current => &CURRENT,
            QueueStrategy::Java500 => &JAVA_5_0_0,
        }
    }
}

/// Attempts that took at least `from` let their broker be avoided for `avoided`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct LatencyClass {
    /// The least latency of the class.
    pub from: Duration,
    /// For how long the broker is avoided; zero for not at all.
    pub avoided: Duration,
}

impl LatencyClass {
    /// A class given in milliseconds.
    pub const fn from_millis(from: u64, avoided: u64) -> LatencyClass {
        let (from, avoided) = (Duration::from_millis(from), Duration::from_millis(avoided));
        LatencyClass { from, avoided }
    }
}

// Java: MQFaultStrategy#latencyMax, #notAvailableDuration since 5.1.4
const CURRENT: [LatencyClass; 7] = [
    LatencyClass::from_millis(50, 0),
    LatencyClass::from_millis(100, 0),
    LatencyClass::from_millis(550, 2_000),
    LatencyClass::from_millis(1_800, 5_000),
    LatencyClass::from_millis(3_000, 6_000),
    LatencyClass::from_millis(5_000, 10_000),
    LatencyClass::from_millis(15_000, 30_000),
];

// Java: MQFaultStrategy#latencyMax, #notAvailableDuration up to 5.1.3
const JAVA_5_0_0: [LatencyClass; 7] = [
    LatencyClass::from_millis(50, 0),
    LatencyClass::from_millis(100, 0),
    LatencyClass::from_millis(550, 30_000),
    LatencyClass::from_millis(1_000, 60_000),
    LatencyClass::from_millis(2_000, 120_000),
    LatencyClass::from_millis(3_000, 180_000),
    LatencyClass::from_millis(15_000, 600_000),
];

/// Asks brokers from time to time whether they can be reached, so that a dead one is avoided before
/// a send finds out, and one that came back is used again.
///
/// A broker that sent anything within half an interval is reachable without being asked. The
/// question is a heartbeat: unlike the offset query of the Java client it needs neither a topic nor
/// a permission. A broker that does not answer counts as unreachable until it does, or until two
/// intervals have passed without another failure.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Detector {
    /// Time from one round to the next, with a jitter of a fifth; more than zero.
    // Java: ClientConfig#detectInterval
    pub interval: Duration,
    /// Time for the answer; more than zero and at most the interval.
    // Java: ClientConfig#detectTimeout
    pub timeout: Duration,
}

impl Default for Detector {
    /// Every 2 s, 200 ms for the answer, as Java has it.
    fn default() -> Detector {
        Detector { interval: Duration::from_secs(2), timeout: Duration::from_millis(200) }
    }
}
