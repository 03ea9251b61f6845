//! Time as plain numbers: it can be written to a trace, made up by a fuzzer and run by a simulator.

use core::ops::Add;
use core::time::Duration;

/// A point on the monotonic clock: nanoseconds since the client was made.
///
/// Whoever drives the core reads the clock and passes it to every input. A value earlier than the
/// latest one seen is treated as the latest one.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment at which the client was made.
    pub const ZERO: Instant = Instant(0);
    /// Later than anything that is ever scheduled (584 years).
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// The point `nanos` nanoseconds after the client was made.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the client was made.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::FAR_FUTURE`].
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

/// A point of the wall clock: milliseconds since 1970 in UTC, as it travels on the wire.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime(i64);

impl WallTime {
    /// The point `millis` milliseconds after the start of 1970 in UTC.
    pub const fn from_millis(millis: i64) -> WallTime {
        WallTime(millis)
    }

    /// Milliseconds since the start of 1970 in UTC.
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// Both clocks read at one moment. The born time of a later attempt is derived from the pair, so
/// that a jump of the wall clock changes nothing but what is read from it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockReading {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock.
    pub wall: WallTime,
}

impl ClockReading {
    /// The wall time at `instant`, going by the monotonic clock alone.
    pub fn wall_at(&self, instant: Instant) -> WallTime {
        let passed = instant.saturating_since(self.instant).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        WallTime(self.wall.0.saturating_add(passed))
    }
}
