//! What is known about a broker's health, and for how long it is avoided.

use core::time::Duration;

use super::verdict::Fault;
use crate::time::Instant;

/// Latency from which a broker is avoided, and for how long.
// Java: MQFaultStrategy#latencyMax, #notAvailableDuration; the classes below 550 ms avoid nothing.
const CLASSES: [(u64, u64); 5] =
    [(15_000, 30_000), (5_000, 10_000), (3_000, 6_000), (1_800, 5_000), (550, 2_000)];

/// The lowest of these latencies.
const AVOIDED_FROM: Duration = Duration::from_millis(550);

/// A broker's record. It decays by time alone: every exclusion has an end.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct FaultItem {
    isolated_until: Instant,
}

impl FaultItem {
    /// Notes how an attempt went. Returns the new end of the isolation if it changed.
    ///
    /// Only completed round trips and faults of the broker count; a success ends an isolation
    /// unless it was slow itself. Java never shortens one, and lets one bad message isolate.
    // Java: LatencyFaultToleranceImpl#updateFaultItem
    pub(super) fn update(
        &mut self,
        now: Instant,
        latency: Duration,
        fault: Fault,
    ) -> Option<Instant> {
        let keeps = planted!(IsolationNeverEnds) && fault == Fault::Success;
        if planted!(IsolationNeverSet) || keeps {
            return None;
        }
        if fault == Fault::Success && latency < AVOIDED_FROM && self.isolated_until <= now {
            // Nearly every attempt: all was well, and is.
            return None;
        }
        let effective = match fault {
            Fault::None => return None,
            Fault::Success => latency,
            Fault::Busy => latency.max(AVOIDED_FROM),
            // Java: MQFaultStrategy#updateFaultItem takes 10 s for an isolation.
            Fault::Unavailable => Duration::from_secs(10),
        };
        let never = planted!(IsolationNeverEnds);
        let until = if never { Instant::FAR_FUTURE } else { now + isolation(effective) };
        let changed = if fault == Fault::Success {
            (until > now || self.isolated_until > now) && self.isolated_until != until
        } else {
            until > self.isolated_until
        };
        if !changed {
            return None;
        }
        self.isolated_until = until;
        Some(until)
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        now >= self.isolated_until
    }
}

// Java: MQFaultStrategy#computeNotAvailableDuration
fn isolation(latency: Duration) -> Duration {
    let class = CLASSES.iter().find(|(from, _)| latency >= Duration::from_millis(*from));
    class.map_or(Duration::ZERO, |(_, millis)| Duration::from_millis(*millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_classes_are_javas() {
        let rows = [
            (0, 0),
            (49, 0),
            (50, 0),
            (100, 0),
            (549, 0),
            (550, 2_000),
            (1_799, 2_000),
            (1_800, 5_000),
            (3_000, 6_000),
            (5_000, 10_000),
            (14_999, 10_000),
            (15_000, 30_000),
        ];
        for (latency, expected) in rows {
            let got = isolation(Duration::from_millis(latency));
            assert_eq!(got, Duration::from_millis(expected), "{latency}");
        }
    }

    #[test]
    fn a_fault_isolates_and_a_fast_success_ends_it() {
        let second = Duration::from_secs(1);
        let now = Instant::from_nanos(1_000);
        let mut item = FaultItem::default();
        assert_eq!(item.update(now, second, Fault::None), None);
        assert_eq!(item.update(now, second, Fault::Unavailable), Some(now + second * 10));
        assert!(!item.is_available(now + second * 9));
        assert!(item.is_available(now + second * 10));
        assert_eq!(item.update(now, second, Fault::Busy), None, "a shorter one changes nothing");
        assert_eq!(item.update(now, second / 100, Fault::Success), Some(now));
        assert!(item.is_available(now));
        assert_eq!(item.update(now, second / 100, Fault::Success), None);
    }
}
