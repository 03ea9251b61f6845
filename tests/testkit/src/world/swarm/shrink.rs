//! Looks for a smaller run that breaks the same promise: fewer faults, fewer sends, less time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Cuts, Failure, Options, plan_of, simulate};

/// A run as small as it could be made.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left of the plan.
    pub cuts: Cuts,
    /// Faults and sends that are left, and time.
    pub size: Size,
    /// How many runs it took.
    pub runs: u32,
    /// How the small run fails.
    pub failure: Box<Failure>,
}

/// How much there is in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Faults.
    pub strikes: usize,
    /// Sends.
    pub sends: usize,
    /// The phase of faults.
    pub span: Duration,
}

/// Which promise a violation is about: its number, or else its words without their numbers.
pub fn subject(violation: &str) -> String {
    let head = violation.split(':').next().unwrap_or_default();
    let is_number = |tail: &str| tail.len() == 2 && tail.bytes().all(|b| b.is_ascii_digit());
    match head.split_once('-') {
        Some((letter, tail)) if letter.len() == 1 && is_number(tail) => match head {
            // Panics differ: the words tell which one it is.
            "I-29" => words(violation),
            _ => head.to_owned(),
        },
        _ => words(violation),
    }
}

fn words(violation: &str) -> String {
    let letters = violation.chars().filter(|c| !c.is_ascii_digit());
    letters.take(60).collect()
}

/// Makes a failing run smaller, with at most `runs_max` runs. `tell` hears of every success.
///
/// What is left breaks the same promise, but perhaps in another way.
pub fn shrink(
    seed: u64,
    options: &Options,
    failure: &Failure,
    runs_max: u32,
    mut tell: impl FnMut(u32, Size),
) -> Shrunk {
    let plan = plan_of(seed, options);
    let wanted: BTreeSet<_> = failure.violations.iter().take(1).map(|v| subject(v)).collect();
    let mut last = failure.clone();
    let run = |cuts: &Cuts| {
        let options = Options { cuts: cuts.clone(), ..options.clone() };
        let failure = simulate(seed, &options).err()?;
        let same = failure.violations.iter().any(|v| wanted.contains(&subject(v)));
        same.then_some(*failure)
    };
    let start = Search {
        strikes: plan.strikes.iter().map(|strike| strike.number).collect(),
        sends: plan.sends.iter().map(|send| send.number).collect(),
        span: plan.span,
    };
    let (best, runs) = search(start, runs_max, run, |runs, best, failure| {
        last = failure;
        tell(runs, best.size());
    });
    // What was cut off before is left out as well.
    let whole = plan_size(seed, &Options { cuts: Cuts::default(), ..options.clone() });
    Shrunk { cuts: best.cuts(&whole), size: best.size(), runs, failure: Box::new(last) }
}

/// How much there is in the plan of a seed.
pub fn plan_size(seed: u64, options: &Options) -> Size {
    let plan = plan_of(seed, options);
    Size { strikes: plan.strikes.len(), sends: plan.sends.len(), span: plan.span }
}

/// What is left while it is looked for less.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Search {
    strikes: Vec<usize>,
    sends: Vec<usize>,
    span: Duration,
}

impl Search {
    fn size(&self) -> Size {
        Size { strikes: self.strikes.len(), sends: self.sends.len(), span: self.span }
    }

    /// As cuts of a plan; what is whole is not mentioned.
    fn cuts(&self, whole: &Size) -> Cuts {
        let set = |numbers: &[usize], all| {
            (numbers.len() < all).then(|| numbers.iter().copied().collect::<BTreeSet<_>>())
        };
        Cuts {
            strikes: set(&self.strikes, whole.strikes),
            sends: set(&self.sends, whole.sends),
            span: Some(self.span).filter(|span| *span < whole.span),
        }
    }

    fn all(&self) -> Cuts {
        Cuts {
            strikes: Some(self.strikes.iter().copied().collect()),
            sends: Some(self.sends.iter().copied().collect()),
            span: Some(self.span),
        }
    }
}

/// Faults, then sends, then time, again and again until nothing more can be left out.
fn search<F>(
    start: Search,
    runs_max: u32,
    mut run: impl FnMut(&Cuts) -> Option<F>,
    mut tell: impl FnMut(u32, &Search, F),
) -> (Search, u32) {
    let mut best = start;
    let mut runs = 0;
    let mut fails = |candidate: &Search| {
        if runs >= runs_max {
            return false;
        }
        runs += 1;
        match run(&candidate.all()) {
            Some(failure) => {
                tell(runs, candidate, failure);
                true
            }
            None => false,
        }
    };
    loop {
        let before = best.clone();
        let (sends, span) = (best.sends.clone(), best.span);
        best.strikes = minimal(best.strikes, |strikes| {
            fails(&Search { strikes: strikes.to_vec(), sends: sends.clone(), span })
        });
        let strikes = best.strikes.clone();
        best.sends = minimal(best.sends, |sends| {
            fails(&Search { strikes: strikes.clone(), sends: sends.to_vec(), span })
        });
        best.span = shorter(&best, &mut fails);
        if best == before {
            return (best, runs);
        }
    }
}

/// The shortest span, to about a twentieth.
fn shorter(best: &Search, fails: &mut impl FnMut(&Search) -> bool) -> Duration {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (mut low, mut high) = (0, millis(best.span));
    while high - low > (high / 20).max(50) {
        let middle = low + (high - low) / 2;
        let span = Duration::from_millis(middle);
        if fails(&Search { span, ..best.clone() }) { high = middle } else { low = middle }
    }
    best.span.min(Duration::from_millis(high))
}

/// Leaves out what is not needed for `fails` to hold: big parts first, single items last.
///
/// This is the delta debugging of Zeller and Hildebrandt, without trying a part alone but the first
/// time: what is wrong with a run mostly needs little of it.
fn minimal(mut items: Vec<usize>, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    if items.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while items.len() >= 2 {
        let size = items.len().div_ceil(parts);
        let mut reduced = false;
        let mut start = 0;
        while start < items.len() {
            let end = (start + size).min(items.len());
            let mut rest = items.clone();
            rest.drain(start..end);
            if !rest.is_empty() && fails(&rest) {
                items = rest;
                reduced = true;
            } else {
                start = end;
            }
        }
        if size == 1 {
            if !reduced {
                break;
            }
        } else {
            parts = (parts * 2).min(items.len());
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_left_out() {
        let mut runs = 0;
        let left = minimal((0..400).collect(), |items| {
            runs += 1;
            [3, 39, 40].iter().all(|wanted| items.contains(wanted))
        });
        assert_eq!(left, [3, 39, 40]);
        assert!(runs < 100, "{runs} runs");
        assert!(minimal((0..9).collect(), |_| true).is_empty());
        assert_eq!(minimal((0..9).collect(), |items| items.len() == 9).len(), 9);
    }

    fn whole() -> Search {
        Search {
            strikes: (0..40).collect(),
            sends: (0..300).collect(),
            span: Duration::from_secs(30),
        }
    }

    fn needs(cuts: &Cuts) -> Option<()> {
        let has = |set: &Option<BTreeSet<usize>>, wanted: &[usize]| {
            wanted.iter().all(|number| set.as_ref().is_some_and(|set| set.contains(number)))
        };
        let long = cuts.span.is_some_and(|span| span >= Duration::from_millis(4_200));
        (has(&cuts.strikes, &[3, 9]) && has(&cuts.sends, &[12, 41]) && long).then_some(())
    }

    #[test]
    fn faults_sends_and_time_shrink_together() {
        let (best, runs) = search(whole(), 1_000, needs, |_, _, ()| {});
        let cuts = best.cuts(&whole().size());
        assert_eq!(cuts.strikes, Some(BTreeSet::from([3, 9])));
        assert_eq!(cuts.sends, Some(BTreeSet::from([12, 41])));
        let span = cuts.span.unwrap();
        assert!(span >= Duration::from_millis(4_200) && span < Duration::from_millis(4_700));
        assert!(runs < 200, "{runs} runs");
    }

    #[test]
    fn the_number_of_runs_is_bounded_and_the_best_so_far_is_kept() {
        let mut told = Vec::new();
        let (best, runs) = search(whole(), 10, needs, |runs, best, ()| {
            told.push((runs, best.clone()));
        });
        assert_eq!(runs, 10);
        assert!(needs(&best.all()).is_some(), "what is left still fails");
        assert_eq!(told.last().map(|(_, last)| last.size().strikes), Some(best.strikes.len()));
    }

    #[test]
    fn a_promise_is_known_by_its_number_and_a_panic_by_its_words() {
        assert_eq!(subject("I-03: send #4 ended late"), "I-03");
        assert_eq!(subject("T-45: send #4 began"), "T-45");
        assert_eq!(subject("stall: send #4 does not end"), subject("stall: send #77 does not end"));
        assert_ne!(subject("I-29: panic: a"), subject("I-29: panic: b"));
    }
}
