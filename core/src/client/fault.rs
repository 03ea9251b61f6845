//! What is known about a broker's health, and for how long it is avoided.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Client;
use super::verdict::Fault;
use crate::config::Config;
use crate::id::OpId;
use crate::output::{Event, EventSet};
use crate::slab::Key;
use crate::strategy::{LatencyClass, QueueStrategy};
use crate::time::Instant;

/// What Java takes for the latency of an attempt that failed.
// Java: MQFaultStrategy#updateFaultItem, now and in 5.0.0
const ISOLATION: Duration = Duration::from_secs(10);
const ISOLATION_JAVA_5_0_0: Duration = Duration::from_secs(30);

/// For how long a broker is avoided after which latency.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    /// Highest first.
    classes: Vec<LatencyClass>,
    /// The lowest latency that lets a broker be avoided at all.
    avoided_from: Duration,
    strategy: QueueStrategy,
}

impl Latency {
    pub(super) fn new(config: &Config) -> Latency {
        let mut classes = config.latency_classes.clone();
        if classes.is_empty() {
            classes = config.queue_strategy.latency_classes().to_vec();
        }
        classes.reverse();
        let avoided = classes.iter().rev().find(|class| !class.avoided.is_zero());
        let avoided_from = avoided.map_or(Duration::MAX, |class| class.from);
        Latency { classes, avoided_from, strategy: config.queue_strategy }
    }

    // Java: MQFaultStrategy#computeNotAvailableDuration
    fn avoided(&self, latency: Duration) -> Duration {
        let class = self.classes.iter().find(|class| latency >= class.from);
        class.map_or(Duration::ZERO, |class| class.avoided)
    }
}

/// A broker's record. It decays by time alone: every exclusion has an end.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct FaultItem {
    isolated_until: Instant,
    /// The detector missed it, and does not trust it until then.
    unreachable_until: Instant,
    /// The strategy of Java 5.0.0 only: there is an entry, with the latency of the last attempt.
    known: bool,
    latency: Duration,
}

impl FaultItem {
    /// Notes how an attempt went. Returns the new end of the isolation if it changed.
    #[inline]
    pub(super) fn update(
        &mut self,
        now: Instant,
        latency: Duration,
        fault: Fault,
        table: &Latency,
    ) -> Option<Instant> {
        match table.strategy {
            QueueStrategy::Current => self.update_current(now, latency, fault, table),
            QueueStrategy::Java500 => self.update_java500(now, latency, fault, table),
        }
    }

    /// Only completed round trips and faults of the broker count; a success ends an isolation
    /// unless it was slow itself. Java never shortens one, and lets one bad message isolate.
    // Java: LatencyFaultToleranceImpl#updateFaultItem
    #[inline]
    fn update_current(
        &mut self,
        now: Instant,
        latency: Duration,
        fault: Fault,
        table: &Latency,
    ) -> Option<Instant> {
        let keeps = planted!(IsolationNeverEnds) && fault == Fault::Success;
        if planted!(IsolationNeverSet) || keeps {
            return None;
        }
        let fast = latency < table.avoided_from;
        if fault == Fault::Success && fast && self.isolated_until <= now {
            // Nearly every attempt: all was well, and is.
            return None;
        }
        let effective = match fault {
            Fault::None => return None,
            Fault::Success => latency,
            Fault::Busy => latency.max(table.avoided_from),
            Fault::Unavailable => ISOLATION,
        };
        let never = planted!(IsolationNeverEnds);
        let until = if never { Instant::FAR_FUTURE } else { now + table.avoided(effective) };
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

    /// Every end counts, and each replaces what was known. Whatever is no success isolates, even a
    /// refusal that is the message's own fault.
    // Java: LatencyFaultToleranceImpl#updateFaultItem of 5.0.0
    fn update_java500(
        &mut self,
        now: Instant,
        latency: Duration,
        fault: Fault,
        table: &Latency,
    ) -> Option<Instant> {
        let effective = if fault == Fault::Success { latency } else { ISOLATION_JAVA_5_0_0 };
        let until = now + table.avoided(effective);
        let told = until > now || self.isolated_until > now;
        (self.known, self.latency, self.isolated_until) = (true, latency, until);
        told.then_some(until)
    }

    #[inline]
    pub(super) fn is_available(&self, now: Instant) -> bool {
        now >= self.isolated_until
    }

    /// When it is, or was, available again.
    pub(super) fn available_from(&self) -> Instant {
        self.isolated_until
    }

    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn latency(&self) -> Duration {
        self.latency
    }

    /// Drops what is known of its latency.
    // Java: LatencyFaultToleranceImpl#remove
    pub(super) fn forget(&mut self) {
        let unreachable_until = self.unreachable_until;
        *self = FaultItem { unreachable_until, ..FaultItem::default() };
    }

    pub(super) fn is_reachable(&self, now: Instant) -> bool {
        now >= self.unreachable_until
    }

    /// Notes whether the broker can be reached; if not, it counts as unreachable until then.
    /// Whether that is news.
    pub(super) fn set_reachable(&mut self, now: Instant, reachable: bool, until: Instant) -> bool {
        let before = self.is_reachable(now);
        self.unreachable_until = if reachable { Instant::ZERO } else { until };
        before != reachable
    }
}

impl Client {
    /// Notes what the end of the attempt under way says about its broker.
    pub(super) fn record_fault(&mut self, id: OpId, fault: Fault) {
        if self.carries_records(id) {
            return;
        }
        if let Some(current) = self.ops.get(id).and_then(|op| op.current.as_ref()) {
            let latency = self.now.saturating_since(current.started);
            self.record_fault_of(current.broker, latency, fault);
        }
    }

    #[inline]
    pub(super) fn record_fault_of(&mut self, mut broker: Key, latency: Duration, fault: Fault) {
        let now = self.now;
        if planted!(IsolationOfAnother) {
            broker = self.brokers.keys().first().copied().unwrap_or(broker);
        }
        let Some(broker) = self.brokers.get_mut(broker) else {
            return;
        };
        if fault == Fault::Success {
            broker.busy.stored();
        }
        // Java: MQFaultStrategy#updateFaultItem does nothing with the strategy off.
        if !self.config.latency_avoidance {
            return;
        }
        if let Some(until) = broker.fault.update(now, latency, fault, &self.latency) {
            let broker_name = Arc::clone(&broker.name);
            self.fault_updated(broker_name, until);
        }
    }

    fn fault_updated(&mut self, broker_name: Arc<str>, isolated_until: Instant) {
        self.trouble_until = self.trouble_until.max(isolated_until);
        self.event(EventSet::FAULTS, || Event::FaultUpdated { broker_name, isolated_until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(strategy: QueueStrategy) -> Latency {
        let config = Config::builder("a:1").queue_strategy(strategy).build().unwrap();
        Latency::new(&config)
    }

    fn rows(strategy: QueueStrategy, rows: &[(u64, u64)]) {
        let table = table(strategy);
        for (latency, expected) in rows {
            let got = table.avoided(Duration::from_millis(*latency));
            assert_eq!(got, Duration::from_millis(*expected), "{latency}");
        }
    }

    #[test]
    fn latency_classes_are_javas() {
        let current = [
            (0, 0),
            (49, 0),
            (50, 0),
            (100, 0),
            (549, 0),
            (550, 2_000),
            (1_799, 2_000),
            (1_800, 5_000),
            (2_999, 5_000),
            (3_000, 6_000),
            (4_999, 6_000),
            (5_000, 10_000),
            (10_000, 10_000),
            (14_999, 10_000),
            (15_000, 30_000),
            (u64::MAX / 2, 30_000),
        ];
        rows(QueueStrategy::Current, &current);
        let java500 = [
            (0, 0),
            (50, 0),
            (100, 0),
            (549, 0),
            (550, 30_000),
            (999, 30_000),
            (1_000, 60_000),
            (1_999, 60_000),
            (2_000, 120_000),
            (2_999, 120_000),
            (3_000, 180_000),
            (14_999, 180_000),
            (15_000, 600_000),
            (30_000, 600_000),
        ];
        rows(QueueStrategy::Java500, &java500);
    }

    #[test]
    fn a_fault_isolates_and_a_fast_success_ends_it() {
        let table = table(QueueStrategy::Current);
        let second = Duration::from_secs(1);
        let now = Instant::from_nanos(1_000);
        let mut item = FaultItem::default();
        let mut update = |latency, fault| item.update(now, latency, fault, &table);
        assert_eq!(update(second, Fault::None), None);
        assert_eq!(update(second, Fault::Unavailable), Some(now + second * 10));
        assert_eq!(update(second, Fault::Busy), None, "a shorter one changes nothing");
        assert!(!item.is_available(now + second * 9));
        assert!(item.is_available(now + second * 10));
        assert_eq!(item.update(now, second / 100, Fault::Success, &table), Some(now));
        assert!(item.is_available(now));
        assert_eq!(item.update(now, second / 100, Fault::Success, &table), None);
    }

    #[test]
    fn java_5_0_0_isolates_after_any_failure_and_always_sets() {
        let table = table(QueueStrategy::Java500);
        let second = Duration::from_secs(1);
        let now = Instant::from_nanos(1_000);
        for fault in [Fault::None, Fault::Busy, Fault::Unavailable] {
            let mut item = FaultItem::default();
            assert!(!item.is_known());
            assert_eq!(item.update(now, second, fault, &table), Some(now + second * 600));
            assert!(item.is_known() && item.latency() == second);
            let slow = item.update(now, second, Fault::Success, &table);
            assert_eq!(slow, Some(now + second * 60), "a shorter one replaces it");
            assert_eq!(item.update(now, second / 100, Fault::Success, &table), Some(now));
            assert!(item.is_available(now) && item.available_from() == now);
            assert_eq!(item.update(now, second / 100, Fault::Success, &table), None);
            item.forget();
            assert!(!item.is_known());
        }
    }

    #[test]
    fn the_table_can_be_replaced() {
        let classes =
            alloc::vec![LatencyClass::from_millis(10, 0), LatencyClass::from_millis(20, 70)];
        let config = Config::builder("a:1").latency_classes(classes).build().unwrap();
        let table = Latency::new(&config);
        assert_eq!(table.avoided_from, Duration::from_millis(20));
        let avoided = [5, 10, 19, 20, 9_000].map(|ms| table.avoided(Duration::from_millis(ms)));
        assert_eq!(avoided.map(|avoided| avoided.as_millis()), [0, 0, 0, 70, 70]);
    }

    #[test]
    fn what_the_detector_misses_is_reachable_again_in_time() {
        let now = Instant::from_nanos(1_000);
        let until = now + Duration::from_secs(4);
        let mut item = FaultItem::default();
        assert!(item.is_reachable(now));
        assert!(!item.set_reachable(now, true, until), "no news");
        assert!(item.set_reachable(now, false, until));
        assert!(!item.set_reachable(now, false, until));
        assert!(!item.is_reachable(now) && item.is_reachable(until), "P15: it has an end");
        assert!(item.set_reachable(now, true, until), "P16: and the detector can end it");
    }
}
