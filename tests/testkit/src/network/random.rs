//! The source of chance.

use std::time::Duration;

/// SplitMix64 by Steele, Lea and Flood: tiny, fast, and good enough to choose faults with. A
/// generator of our own keeps old seeds alive whatever other crates do, and it shares nothing
/// with the one of the system under test.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed ^ 0x5851_f42d_4c95_7f2d }
    }

    /// An independent generator. Forking draws nothing, so a new fork leaves the others alone.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        let mut fork = Self { state: self.state ^ label.wrapping_mul(0x9fb2_1c65_1e98_df25) };
        fork.draw();
        Self { state: fork.draw() }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A duration up to `max`, in nanoseconds.
    pub fn up_to(&mut self, max: Duration) -> u64 {
        self.below(nanos(max) + 1)
    }
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_independent_and_repeatable() {
        let root = Random::new(7);
        let mut a = root.fork(1);
        let mut b = root.fork(2);
        let first = a.draw();
        assert_ne!(first, b.draw());
        assert_eq!(root.fork(1).draw(), first);
        assert!((0..1000).all(|_| (3..=5).contains(&a.between(3, 5))));
    }
}
