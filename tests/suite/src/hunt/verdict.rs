//! What a hunt brought, and how one process tells another.

/// A seed that failed, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The seed.
    pub seed: u64,
    /// The number of the invariant that was broken first.
    pub invariant: String,
    /// The first complaint.
    pub complaint: String,
}

impl Finding {
    /// From what the failed run said.
    pub fn new(seed: u64, text: &str) -> Finding {
        let complaint = first_complaint(text);
        Finding { seed, invariant: invariant_of(&complaint), complaint }
    }

    /// As one line.
    pub fn line(&self) -> String {
        format!("found {} {} {}", self.seed, self.invariant, self.complaint)
    }

    /// From such a line.
    pub fn read(line: &str) -> Option<Finding> {
        let mut parts = line.strip_prefix("found ")?.splitn(3, ' ');
        let seed = parts.next()?.parse().ok()?;
        let invariant = parts.next()?.to_owned();
        Some(Finding { seed, invariant, complaint: parts.next()?.to_owned() })
    }
}

/// The first complaint of a failed run: the line after the title, or the only line.
fn first_complaint(text: &str) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let title = lines.next().unwrap_or_default();
    let complaint = if title.ends_with(':') { lines.next().unwrap_or(title) } else { title };
    complaint.trim().chars().take(160).collect()
}

/// The number with which a complaint begins, like `I-05`; a panic of the machine itself is a
/// breach of `I-29`, any other complaint has no number.
pub fn invariant_of(complaint: &str) -> String {
    let tag = complaint.split(':').next().unwrap_or_default();
    let number = |tag: &str| {
        let digits = tag.strip_prefix("I-").or_else(|| tag.strip_prefix("T-"));
        digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    };
    if number(tag) {
        return tag.to_owned();
    }
    let own = ["assertion", "attempt to", "range end", "index out of", "called `", "slice index"];
    let panicked = own.iter().any(|start| complaint.starts_with(start));
    if panicked { "I-29".to_owned() } else { "other".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_complaint_names_the_invariant() {
        let text = "the simulation failed, seed 3:\n  I-13: twice\n  I-05: truth\nthe story:\n";
        let found = Finding::new(3, text);
        assert_eq!(found.invariant, "I-13");
        assert_eq!(found.complaint, "I-13: twice");
        assert_eq!(Finding::new(1, "assertion failed: x").invariant, "I-29");
        assert_eq!(Finding::new(1, "sent no frame: junk").invariant, "other");
        assert_eq!(Finding::new(1, "I-: odd").invariant, "other");
        assert_eq!(Finding::new(1, "").complaint, "");
    }

    #[test]
    fn a_finding_survives_the_way_between_processes() {
        let found = Finding::new(17, "T-45: send #3 began after GO_AWAY");
        assert_eq!(Finding::read(&found.line()), Some(found));
        assert_eq!(Finding::read("clean"), None);
        assert_eq!(Finding::read("found x I-05 text"), None);
    }
}
