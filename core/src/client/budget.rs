//! A bound on attempts after the first, over all sends: an outage must not multiply the load.

use crate::config::RetryBudget;
use crate::time::Instant;

/// One retry. All sums are whole numbers.
const RETRY: u64 = 100;

/// A bucket of retries: it begins full, and stored messages and time fill it again.
#[derive(Debug)]
pub(super) struct Budget {
    /// What is left, in hundredths of a retry.
    left: u64,
    /// Most that can be left. 0 with a percentage of 0 is no retry at all; without a budget it is
    /// never asked.
    full: u64,
    /// Hundredths of a retry earned by one stored message.
    per_message: u64,
    per_second: u64,
    /// Until when time has been counted.
    counted: Instant,
    bounded: bool,
}

impl Budget {
    /// `in_flight` is the burst if the settings name none.
    pub(super) fn new(settings: Option<RetryBudget>, in_flight: u32, now: Instant) -> Budget {
        let full = u64::from(settings.and_then(|it| it.burst).unwrap_or(in_flight)) * RETRY;
        Budget {
            left: full,
            full,
            per_message: settings.map_or(0, |it| u64::from(it.percent)),
            per_second: settings.map_or(0, |it| u64::from(it.per_second) * RETRY),
            counted: now,
            bounded: settings.is_some(),
        }
    }

    /// The bound on what is in flight has changed.
    pub(super) fn set_burst(&mut self, settings: Option<RetryBudget>, in_flight: u32) {
        let full = u64::from(settings.and_then(|it| it.burst).unwrap_or(in_flight)) * RETRY;
        // What has been spent stays spent.
        self.left = (self.left + full).saturating_sub(self.full).min(full);
        self.full = full;
    }

    /// A message was stored.
    #[inline]
    pub(super) fn earn(&mut self) {
        if self.left < self.full {
            self.left = (self.left + self.per_message).min(self.full);
        }
    }

    /// Takes one retry. `false` if there is none.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        if !self.bounded {
            return true;
        }
        self.count_time(now);
        if self.left < RETRY {
            return false;
        }
        self.left -= RETRY;
        true
    }

    /// Adds what time has earned. What is too short for a hundredth is counted the next time.
    fn count_time(&mut self, now: Instant) {
        let nanos = now.saturating_since(self.counted).as_nanos();
        let earned = nanos * u128::from(self.per_second) / NANOS;
        if earned == 0 {
            return;
        }
        self.left =
            u64::try_from(u128::from(self.left) + earned).unwrap_or(u64::MAX).min(self.full);
        let used = earned * NANOS / u128::from(self.per_second.max(1));
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        self.counted = self.counted + core::time::Duration::from_nanos(used);
    }
}

/// Nanoseconds of a second.
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: RetryBudget =
        RetryBudget::DEFAULT.with_burst(3).with_percent(50).with_per_second(2);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn spent(budget: &mut Budget, now: Instant) -> u32 {
        (0..1_000).take_while(|_| budget.spend(now)).count() as u32
    }

    #[test]
    fn it_begins_full_and_messages_and_time_fill_it() {
        let mut budget = Budget::new(Some(SETTINGS), 7, at(0));
        assert_eq!(spent(&mut budget, at(0)), 3);
        budget.earn();
        assert_eq!(spent(&mut budget, at(0)), 0, "half a retry is none");
        budget.earn();
        assert_eq!(spent(&mut budget, at(0)), 1);
        assert_eq!(spent(&mut budget, at(499)), 0);
        assert_eq!(spent(&mut budget, at(500)), 1, "what was asked before is not lost");
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!(spent(&mut budget, at(60_000)), 3, "never more than full");
    }

    #[test]
    fn without_a_burst_of_its_own_it_follows_what_may_be_in_flight() {
        let settings = RetryBudget { burst: None, ..SETTINGS };
        let mut budget = Budget::new(Some(settings), 4, at(0));
        assert!(budget.spend(at(0)));
        budget.set_burst(Some(settings), 6);
        assert_eq!(spent(&mut budget, at(0)), 5);
        budget.set_burst(Some(settings), 2);
        assert_eq!(spent(&mut budget, at(0)), 0);
        budget.set_burst(Some(settings), 6);
        assert_eq!(spent(&mut budget, at(0)), 4);
    }

    #[test]
    fn switched_off_it_bounds_nothing_and_at_zero_it_allows_nothing() {
        assert_eq!(spent(&mut Budget::new(None, 0, at(0)), at(0)), 1_000);
        let none = RetryBudget { burst: Some(0), percent: 100, per_second: 100 };
        assert_eq!(spent(&mut Budget::new(Some(none), 5, at(0)), at(9_000)), 0);
    }

    proptest! {
        /// Whatever happens: no more than the burst, the share of the messages and that of time.
        #[test]
        fn it_never_allows_more_than_it_has_earned(
            steps in prop::collection::vec((0_u64..700, any::<bool>()), 0..300),
            percent in 0_u32..200,
            per_second in 0_u32..20,
            burst in 0_u32..20,
        ) {
            let settings = RetryBudget { burst: Some(burst), percent, per_second };
            let mut budget = Budget::new(Some(settings), 1, at(0));
            let (mut now, mut stored, mut retries) = (0, 0_u64, 0_u64);
            for (millis, success) in steps {
                now += millis;
                if success {
                    budget.earn();
                    stored += 1;
                } else {
                    retries += u64::from(budget.spend(at(now)));
                }
                let earned = stored * u64::from(percent) * 10 + now * u64::from(per_second);
                prop_assert!(retries * 1_000 <= u64::from(burst) * 1_000 + earned);
            }
        }
    }
}
