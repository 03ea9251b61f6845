//! Where things go: time to the right, rows downwards.

use super::super::story::Story;

/// Points for a second of the first phase, in which most happens, and of all others.
const DENSE: f64 = 34.0;
const SPARSE: f64 = 11.0;
/// The picture is at least and at most so wide, lanes alone.
const WIDTH_MIN: f64 = 700.0;
const WIDTH_MAX: f64 = 6_000.0;
/// Least space between two numbers of the axis.
const TICK_MIN: f64 = 48.0;

/// Steps of the axis, in milliseconds.
const STEPS: [u64; 12] =
    [10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000];

/// Where a moment is drawn: stretches of time, each with a scale of its own.
pub(super) struct Scale {
    /// Start, end, left, points for a nanosecond.
    stretches: Vec<(u64, u64, f64, f64)>,
}

impl Scale {
    pub(super) fn of(story: &Story) -> Scale {
        let sends = story.sends.iter().map(|send| send.end_ns.unwrap_or(story.end_ns));
        let connections = story.connections.iter().filter_map(|it| it.end.as_ref()).map(|it| it.0);
        let last = sends.chain(connections).max().unwrap_or(story.end_ns);
        // Nothing but waiting comes after that.
        let end = last.saturating_add(500_000_000).min(story.end_ns).max(1);
        let middle = story.phases.first().map_or(end, |phase| phase.end_ns).clamp(1, end);
        let mut parts = vec![(0, middle, DENSE)];
        if middle < end {
            parts.push((middle, end, SPARSE));
        }
        let points = |part: &(u64, u64, f64)| (part.1 - part.0) as f64 / 1e9 * part.2;
        let wish: f64 = parts.iter().map(points).sum();
        let factor = wish.clamp(WIDTH_MIN, WIDTH_MAX) / wish;
        let mut left = 0.0;
        let mut stretches = Vec::new();
        for part in parts {
            stretches.push((part.0, part.1, left, part.2 * factor / 1e9));
            left += points(&part) * factor;
        }
        Scale { stretches }
    }

    pub(super) fn width(&self) -> f64 {
        self.stretches.last().map_or(0.0, |last| last.2 + (last.1 - last.0) as f64 * last.3)
    }

    pub(super) fn x(&self, ns: u64) -> f64 {
        let stretch = self.stretches.iter().rev().find(|stretch| stretch.0 <= ns);
        stretch
            .map_or(0.0, |(start, end, left, scale)| left + (ns.min(*end) - start) as f64 * scale)
    }

    /// Places and numbers of the axis.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for (start, end, left, scale) in &self.stretches {
            let wide = |step: &&u64| **step as f64 * 1e6 * scale >= TICK_MIN;
            let step = STEPS.iter().find(wide).copied().unwrap_or(3_600_000) * 1_000_000;
            let mut at = start.div_ceil(step) * step;
            while at <= *end {
                let x = left + (at - start) as f64 * scale;
                if ticks.last().is_none_or(|last| x - last.0 >= TICK_MIN * 0.8) {
                    let decimals =
                        if step < 100_000_000 { 2 } else { usize::from(step < 1_000_000_000) };
                    ticks.push((x, format!("{:.decimals$} s", at as f64 / 1e9)));
                }
                at += step;
            }
        }
        ticks
    }
}

/// Which span goes into which row.
pub(super) struct Rows {
    /// `None`: there was no row left.
    pub(super) of: Vec<Option<usize>>,
    pub(super) count: usize,
    pub(super) left_out: usize,
}

impl Rows {
    pub(super) fn height(&self, row: f64) -> f64 {
        self.count as f64 * row
    }
}

/// Puts spans into as few rows as it takes for none to touch another, in the order of their starts.
pub(super) fn pack(spans: &[(f64, f64)], gap: f64, rows_max: usize) -> Rows {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by(|a, b| spans[*a].0.total_cmp(&spans[*b].0));
    let mut ends: Vec<f64> = Vec::new();
    let mut of = vec![None; spans.len()];
    for index in order {
        let (start, end) = spans[index];
        let row = match ends.iter().position(|taken| *taken + gap <= start) {
            Some(row) => row,
            None if ends.len() < rows_max => {
                ends.push(0.0);
                ends.len() - 1
            }
            None => continue,
        };
        ends[row] = end;
        of[index] = Some(row);
    }
    let left_out = of.iter().filter(|row| row.is_none()).count();
    Rows { of, count: ends.len(), left_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_in_one_row_do_not_touch() {
        let spans: Vec<_> = (0..200)
            .map(|i| (f64::from(i * 37 % 101), f64::from(i * 37 % 101 + i % 9 + 1)))
            .collect();
        let rows = pack(&spans, 1.0, usize::MAX);
        for (a, row) in rows.of.iter().enumerate() {
            for (b, other) in rows.of.iter().enumerate().skip(a + 1) {
                let apart = spans[a].1 + 1.0 <= spans[b].0 || spans[b].1 + 1.0 <= spans[a].0;
                assert!(row != other || apart, "{:?} {:?}", spans[a], spans[b]);
            }
        }
        assert_eq!(rows.left_out, 0);
        let few = pack(&spans, 1.0, 2);
        assert_eq!((few.count, few.of.iter().flatten().count() + few.left_out), (2, 200));
        assert!(few.left_out > 0);
    }
}
