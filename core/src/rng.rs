//! The core's source of chance: a small seeded generator, forked by name so that a new draw in one
//! place does not shift all the others and old seeds stay useful.

use core::time::Duration;

/// xoshiro256++ by Blackman and Vigna, seeded through splitmix64. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    pub fn from_seed(seed: u64) -> Rng {
        let mut state = seed;
        Rng { state: core::array::from_fn(|_| split_mix(&mut state)) }
    }

    /// An independent generator for the subsystem `label`. Forking draws nothing from `self`.
    pub fn fork(&self, label: &str) -> Rng {
        // FNV-1a over the label, mixed with the state.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let [a, b, c, d] = self.state;
        Rng::from_seed(hash ^ a ^ b.rotate_left(16) ^ c.rotate_left(32) ^ d.rotate_left(48))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number in `0..bound`; 0 if `bound` is 0. The bias is below 2^-32 for the bounds used here.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A duration between half of `full` and `full`: the jitter of every back-off.
    pub fn jitter(&mut self, full: Duration) -> Duration {
        let half = full / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let draw = (u128::from(self.next_u64()) * u128::from(span)) >> 64;
        half + Duration::from_nanos(draw as u64)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence_and_forks_differ() {
        let mut a = Rng::from_seed(7);
        let mut b = Rng::from_seed(7);
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        let mut x = a.fork("x");
        let mut y = a.fork("y");
        assert_ne!(x.next_u64(), y.next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::from_seed(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn jitter_is_between_half_and_full() {
        let mut rng = Rng::from_seed(2);
        let full = Duration::from_millis(100);
        assert!((0..100).all(|_| (full / 2..=full).contains(&rng.jitter(full))));
    }
}
