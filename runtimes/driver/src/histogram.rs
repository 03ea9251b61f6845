//! How long sends took, in few numbers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Parts of each power of two.
const PARTS: u64 = 16;

/// Places for every duration of up to 2^64 ns.
const PLACES: usize = 61 * PARTS as usize;

/// A histogram of durations. Each power of two is cut into 16 equal parts, so what it tells of a
/// duration is at most a sixteenth too much, from nanoseconds to centuries, in under 8 KiB.
///
/// ```
/// use std::time::Duration;
/// use rocketmq_driver::Histogram;
///
/// let mut all = Histogram::new();
/// for millis in 1..=100 {
///     all.record(Duration::from_millis(millis));
/// }
/// let p99 = all.quantile(0.99).expect("there is something in it");
/// assert!(p99 >= Duration::from_millis(99) && p99 <= Duration::from_millis(100));
/// assert_eq!((all.count(), all.max()), (100, Duration::from_millis(100)));
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// As many places as are needed; none while it is empty.
    places: Vec<u64>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Histogram {
    /// Without any duration.
    pub fn new() -> Histogram {
        Histogram::default()
    }

    /// Adds a duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = nanos(duration);
        let place = place_of(ns);
        if self.places.len() <= place {
            self.places.resize(place + 1, 0);
        }
        if let Some(count) = self.places.get_mut(place) {
            *count += 1;
        }
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all that `other` holds, as if it had been recorded here: for the numbers of several
    /// clients or processes.
    pub fn merge(&mut self, other: &Histogram) {
        if self.places.len() < other.places.len() {
            self.places.resize(other.places.len(), 0);
        }
        for (count, more) in self.places.iter_mut().zip(&other.places) {
            *count += more;
        }
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All durations together, exactly.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The longest duration, exactly; zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that the share `q` of all others do not exceed: 0.5 for the median, 0.99 for
    /// the hundredth from the top. It is never less than the true one, and at most a sixteenth
    /// more. `None` if there is no duration.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let rank = rank.clamp(1, self.count.max(1));
        let mut seen = 0;
        let place = self.places.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(last_of(place).min(self.max_ns)))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

/// What one thread records and others read. No lock, no allocation; a record is three loads and
/// stores.
pub(crate) struct Recorder {
    places: [AtomicU64; PLACES],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            places: [const { AtomicU64::new(0) }; PLACES],
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }

    /// Adds a duration. Only ever called by one thread at a time: the driver's.
    #[inline]
    pub(crate) fn record(&self, duration: Duration) {
        let ns = nanos(duration);
        if let Some(count) = self.places.get(place_of(ns)) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        let sum = self.sum_ns.load(Ordering::Relaxed);
        self.sum_ns.store(sum.saturating_add(ns), Ordering::Relaxed);
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.store(ns, Ordering::Relaxed);
        }
    }

    /// What was recorded by now; a record under way may be in it in part.
    pub(crate) fn snapshot(&self) -> Histogram {
        let mut places: Vec<u64> =
            self.places.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let used = places.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        places.truncate(used);
        let count = places.iter().sum();
        let max_ns = self.max_ns.load(Ordering::Relaxed);
        Histogram { places, count, sum_ns: self.sum_ns.load(Ordering::Relaxed), max_ns }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The place of a duration.
#[inline]
fn place_of(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let shift = u64::from(ns.ilog2()) - 4;
    ((shift + 1) * PARTS + (ns >> shift) % PARTS) as usize
}

/// The longest duration in a place.
fn last_of(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    let shift = (place / PARTS - 1) as u32;
    let next = u128::from(PARTS + place % PARTS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rocketmq_core::Rng;

    use super::*;

    /// Durations of every size.
    fn some(rng: &mut Rng, number: u32) -> Vec<u64> {
        let one = |_| {
            let wide = u64::from(rng.below(u32::MAX)) << 32 | u64::from(rng.below(u32::MAX));
            wide >> rng.below(64)
        };
        (0..number).map(one).collect()
    }

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
        histogram
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list_or_a_sixteenth_more() {
        let mut rng = Rng::from_seed(5);
        for round in 0..300 {
            let mut values = some(&mut rng, 1 + round);
            let histogram = of(&values);
            values.sort_unstable();
            assert_eq!(histogram.count(), values.len() as u64);
            assert_eq!(histogram.max(), Duration::from_nanos(*values.last().unwrap()));
            for q in [0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((q * values.len() as f64).ceil() as usize).max(1);
                let exact = values[rank - 1];
                let told = nanos(histogram.quantile(q).unwrap());
                let most = exact.saturating_add(exact / 16);
                assert!((exact..=most).contains(&told), "{q} of {}: {exact} {told}", values.len());
            }
        }
        assert_eq!(Histogram::new().quantile(0.5), None);
    }

    #[test]
    fn every_place_ends_where_the_next_begins() {
        for place in 0..PLACES {
            let last = last_of(place);
            assert_eq!(place_of(last), place);
            if let Some(next) = last.checked_add(1) {
                assert_eq!(place_of(next), place + 1);
            }
        }
        assert_eq!(place_of(u64::MAX), PLACES - 1);
    }

    #[test]
    fn merged_is_recorded_in_one_and_so_is_what_a_recorder_gives() {
        let mut rng = Rng::from_seed(6);
        for _ in 0..100 {
            let (few, many) = (some(&mut rng, 3), some(&mut rng, 40));
            let sum_fits = |values: &[u64]| values.iter().map(|ns| ns >> 20).collect::<Vec<_>>();
            let (few, many) = (sum_fits(&few), sum_fits(&many));
            let all: Vec<u64> = few.iter().chain(&many).copied().collect();
            let mut merged = of(&few);
            merged.merge(&of(&many));
            assert_eq!(merged, of(&all));
            assert_eq!(merged.sum(), Duration::from_nanos(all.iter().sum()));
            let recorder = Recorder::new();
            all.iter().for_each(|ns| recorder.record(Duration::from_nanos(*ns)));
            assert_eq!(recorder.snapshot(), merged);
        }
    }
}
