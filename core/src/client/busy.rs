//! How long to wait after a busy answer: longer while brokers stay busy.

use core::time::Duration;

use super::Client;
use super::operation::Op;
use crate::id::OpId;
use crate::limits;
use crate::time::Instant;

/// How busy a broker is, as far as its answers tell.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Busy {
    /// Busy answers in a row, less those made up for by messages stored since.
    level: u32,
    /// When the level rose last.
    raised_at: Instant,
}

/// Doublings beyond this reach [`limits::BUSY_BACK_OFF_MAX`] from any sensible first wait.
const LEVEL_MAX: u32 = 16;

impl Busy {
    /// The broker answered "busy" to an attempt that began at `started`. Answers to attempts that
    /// were under way together say the same once.
    pub(super) fn answered_busy(&mut self, now: Instant, started: Instant) {
        if self.level == 0 || started >= self.raised_at {
            self.level = (self.level + 1).min(LEVEL_MAX);
            self.raised_at = now;
        }
    }

    /// The broker stored a message.
    #[inline]
    pub(super) fn stored(&mut self) {
        self.level = self.level.saturating_sub(1);
    }
}

impl Client {
    /// How long a send waits after a busy answer: by its own busy answers, and by those of the
    /// least busy broker that it may try next. Never so long that the attempt has no time.
    pub(super) fn busy_pause(&mut self, id: OpId) -> Duration {
        let Some(op) = self.ops.get(id) else { return Duration::ZERO };
        let level = op.busy.max(self.busy_level(op).saturating_sub(1));
        let left = op.command.deadline.saturating_since(self.now);
        let full = self.config.busy_back_off.saturating_mul(1 << level.min(LEVEL_MAX));
        self.rng.jitter(full.min(limits::BUSY_BACK_OFF_MAX).min(left / 2))
    }

    fn busy_level(&self, op: &Op) -> u32 {
        let level = |key| self.brokers.get(key).map_or(0, |broker| broker.busy.level);
        let route = self.topics.get(op.topic).and_then(|topic| topic.route.as_ref());
        let given = !op.command.selection.is_free();
        let others = route.filter(|_| !given).map(|route| route.publish.brokers());
        let untried = others.unwrap_or_default().iter().filter(|it| !op.tried.contains(&it.broker));
        let least = untried.map(|queues| level(queues.broker)).min();
        least.unwrap_or_else(|| op.tried.iter().map(|broker| level(*broker)).min().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn answers_to_attempts_that_were_under_way_together_count_once() {
        let mut busy = Busy::default();
        for _ in 0..100 {
            busy.answered_busy(at(10), at(5));
        }
        assert_eq!(busy.level, 1);
        busy.answered_busy(at(20), at(11));
        busy.answered_busy(at(21), at(11));
        assert_eq!(busy.level, 2);
        busy.stored();
        assert_eq!(busy.level, 1);
        for _ in 0..5 {
            busy.stored();
        }
        assert_eq!(busy.level, 0);
        for round in 0..100 {
            busy.answered_busy(at(100 + round), at(100 + round));
        }
        assert_eq!(busy.level, LEVEL_MAX);
    }
}
