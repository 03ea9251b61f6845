//! What is left of a plan as text, and the list of runs that are replayed for ever.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Cuts, Options};

/// A run that once found something, one line of a file.
///
/// The fields are separated by bars: seed, cuts (or `-`), date, and what it found.
///
/// ```
/// use rocketmq_testkit::world::swarm::Regression;
///
/// let line = "7 | strikes=3,9 sends=12,40..44 span=4.5s | 2026-01-31 | a send that never ended";
/// let run: Regression = line.parse().unwrap();
/// assert!(run.cuts.sends.as_ref().unwrap().contains(&43));
/// assert_eq!(run.to_string(), line);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What is left of its plan.
    pub cuts: Cuts,
    /// The day, as `YYYY-MM-DD`.
    pub date: String,
    /// What it found.
    pub found: String,
}

impl Regression {
    /// All of a file. Empty lines and those that begin with `#` mean nothing.
    ///
    /// # Errors
    /// The number of the line that cannot be read, and why.
    pub fn parse_all(text: &str) -> Result<Vec<Regression>, String> {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(number, line)| line.parse().map_err(|error| format!("line {number}: {error}")))
            .collect()
    }

    /// How to run it.
    pub fn options(&self) -> Options {
        Options { cuts: self.cuts.clone(), ..Options::default() }
    }
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A bar or an end of line would be taken for the end of the field.
        let found = self.found.replace('|', "/").replace(char::is_control, " ");
        write!(f, "{} | {} | {} | {found}", self.seed, self.cuts, self.date)
    }
}

impl FromStr for Regression {
    type Err = String;

    fn from_str(line: &str) -> Result<Regression, String> {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let [seed, cuts, date, found] = fields[..] else {
            return Err("not four fields: seed | cuts | date | what it found".to_owned());
        };
        let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?;
        let parts: Vec<_> = date.split('-').map(|part| (part.len(), part.parse::<u32>())).collect();
        if !matches!(parts[..], [(4, Ok(_)), (2, Ok(1..=12)), (2, Ok(1..=31))]) {
            return Err(format!("{date:?} is no date like 2026-01-31"));
        }
        if found.is_empty() {
            return Err("it does not say what was found".to_owned());
        }
        Ok(Regression { seed, cuts: cuts.parse()?, date: date.to_owned(), found: found.to_owned() })
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.strikes.as_ref().map(|set| format!("strikes={}", numbers(set))));
        parts.extend(self.sends.as_ref().map(|set| format!("sends={}", numbers(set))));
        parts.extend(self.span.map(|span| format!("span={}s", span.as_secs_f64())));
        f.write_str(if parts.is_empty() { "-" } else { "" })?;
        f.write_str(&parts.join(" "))
    }
}

impl FromStr for Cuts {
    type Err = String;

    fn from_str(text: &str) -> Result<Cuts, String> {
        let mut cuts = Cuts::default();
        for part in text.split_whitespace().filter(|part| *part != "-") {
            match part.split_once('=') {
                Some(("strikes", list)) => cuts.strikes = Some(parse_numbers(list)?),
                Some(("sends", list)) => cuts.sends = Some(parse_numbers(list)?),
                Some(("span", span)) => cuts.span = Some(parse_span(span)?),
                _ => return Err(format!("{part:?} is neither strikes=, sends= nor span=")),
            }
        }
        Ok(cuts)
    }
}

impl Cuts {
    /// The options of `rmq sim` that make these cuts.
    pub fn arguments(&self) -> String {
        let mut text = String::new();
        for (name, set) in [("strikes", &self.strikes), ("sends", &self.sends)] {
            match set {
                Some(set) if set.is_empty() => text.push_str(&format!(" --only-{name} none")),
                Some(set) => text.push_str(&format!(" --only-{name} {}", numbers(set))),
                None => {}
            }
        }
        if let Some(span) = self.span {
            text.push_str(&format!(" --span {}s", span.as_secs_f64()));
        }
        text
    }
}

/// Numbers as a list of single ones and of ranges without their end: `12,40..44`.
pub fn numbers(set: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in set {
        match runs.last_mut() {
            Some((_, end)) if *end == *number => *end += 1,
            _ => runs.push((*number, *number + 1)),
        }
    }
    let texts: Vec<_> = runs
        .iter()
        .map(|(start, end)| match end - start {
            1 => start.to_string(),
            2 => format!("{start},{}", start + 1),
            _ => format!("{start}..{end}"),
        })
        .collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(",") }
}

/// Reads what [`numbers`] writes.
///
/// # Errors
/// What cannot be read.
pub fn parse_numbers(list: &str) -> Result<BTreeSet<usize>, String> {
    let mut set = BTreeSet::new();
    if list == "none" {
        return Ok(set);
    }
    for part in list.split(',') {
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < 1_000_000);
        let range = match part.split_once("..") {
            Some((start, end)) => number(start).zip(number(end)),
            None => number(part).map(|number| (number, number + 1)),
        };
        let (start, end) = range
            .filter(|(start, end)| start < end)
            .ok_or_else(|| format!("{part:?} is neither a number nor a range like 40..44"))?;
        set.extend(start..end);
    }
    Ok(set)
}

/// Reads a time like `4.5s`.
///
/// # Errors
/// What cannot be read.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| !span.is_zero() && *span <= Duration::from_secs(3600))
        .ok_or_else(|| format!("{text:?} is no time like 4.5s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let cuts = Cuts {
            strikes: Some(BTreeSet::from([3, 9, 10])),
            sends: Some((40..44).chain([12, 50]).collect()),
            span: Some(Duration::from_millis(4_567)),
        };
        assert_eq!(cuts.to_string(), "strikes=3,9,10 sends=12,40..44,50 span=4.567s");
        assert_eq!(cuts.to_string().parse(), Ok(cuts.clone()));
        assert_eq!(
            cuts.arguments(),
            " --only-strikes 3,9,10 --only-sends 12,40..44,50 --span 4.567s"
        );
        for cuts in [Cuts::default(), Cuts { strikes: Some(BTreeSet::new()), ..Cuts::default() }] {
            assert_eq!(cuts.to_string().parse(), Ok(cuts));
        }
        let found = "a | b\nc".to_owned();
        let run = Regression { seed: 7, cuts, date: "2026-01-31".into(), found };
        let back: Regression = run.to_string().parse().unwrap();
        assert_eq!((back.seed, &back.cuts, &*back.found), (7, &run.cuts, "a / b c"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for bad in [
            "7 | - | 2026-01-31",
            "7 | - | 2026-01-31 | ",
            "x | - | 2026-01-31 | text",
            "7 | - | 31.1.2026 | text",
            "7 | - | 2026-13-31 | text",
            "7 | strikes=4..4 | 2026-01-31 | text",
            "7 | sends=a | 2026-01-31 | text",
            "7 | span=0s | 2026-01-31 | text",
            "7 | span=-1s | 2026-01-31 | text",
            "7 | faults=1 | 2026-01-31 | text",
            "7 | sends=0..99999999999 | 2026-01-31 | text",
        ] {
            let file = format!("# a comment\n\n{bad}\n");
            let error = Regression::parse_all(&file).expect_err(bad);
            assert!(error.starts_with("line 3: "), "{error}");
        }
    }
}
