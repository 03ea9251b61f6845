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
    /// An attempt that begins before this says nothing new if it is answered "busy".
    told_until: Instant,
}

/// Doublings beyond this reach [`limits::BUSY_BACK_OFF_MAX`] from any sensible first wait.
const LEVEL_MAX: u32 = 16;

/// The longest wait after this many doublings.
fn pause(first: Duration, doublings: u32) -> Duration {
    first.saturating_mul(1 << doublings.min(LEVEL_MAX)).min(limits::BUSY_BACK_OFF_MAX)
}

impl Busy {
    /// The broker answered "busy" to an attempt that began at `started`; `first` is the first wait.
    /// Attempts that were not kept waiting since the last one say the same once more: however many
    /// sends are under way, the wait doubles once for each time that it was waited for.
    pub(super) fn answered_busy(&mut self, now: Instant, started: Instant, first: Duration) {
        if self.level == 0 || started >= self.told_until {
            // The shortest that jitter makes of it.
            self.told_until = now + pause(first, self.level) / 2;
            self.level = (self.level + 1).min(LEVEL_MAX);
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
    /// least busy broker that it may try next.
    pub(super) fn busy_pause(&mut self, id: OpId) -> Duration {
        let Some(op) = self.ops.get(id) else { return Duration::ZERO };
        let level = op.busy.max(self.busy_level(op).saturating_sub(1));
        let left = op.command.deadline.saturating_since(self.now);
        let first = self.config.busy_back_off;
        // One that has grown leaves half of the time to the attempt; the first wait is the least.
        self.rng.jitter(pause(first, level).min((left / 2).max(first)))
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
    fn it_rises_once_for_each_time_that_it_was_waited_for() {
        let first = Duration::from_millis(20);
        let mut busy = Busy::default();
        for _ in 0..100 {
            busy.answered_busy(at(100), at(99), first);
        }
        assert_eq!(busy.level, 1);
        // They were kept waiting, each for another time.
        for begun in 110..120 {
            busy.answered_busy(at(begun + 1), at(begun), first);
        }
        assert_eq!(busy.level, 2);
        busy.answered_busy(at(132), at(131), first);
        assert_eq!(busy.level, 3);
        busy.stored();
        assert_eq!(busy.level, 2);
        for _ in 0..5 {
            busy.stored();
        }
        assert_eq!(busy, Busy { level: 0, ..busy });
        for second in 1..100 {
            busy.answered_busy(at(second * 1_000), at(second * 1_000), first);
        }
        assert_eq!(busy.level, LEVEL_MAX);
        assert_eq!(pause(first, 3), first * 8);
        assert_eq!(pause(first, LEVEL_MAX), limits::BUSY_BACK_OFF_MAX);
    }
}
