//! The report: one row per case, and a closing line.

use std::fmt::Write as _;

use crate::Comparison;

/// One case and how it went.
#[derive(Debug, Clone)]
pub struct Row {
    /// The version of RocketMQ.
    pub version: String,
    /// How request headers were encoded.
    pub encoding: String,
    /// What the client ran on.
    pub runtime: String,
    /// The name of the case.
    pub case: String,
    /// How long the case took.
    pub seconds: f64,
    /// The numbers; or why there are none.
    pub result: Result<Comparison, String>,
}

impl Row {
    /// Whether the case went through and everything is as the sender was told.
    pub fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(Comparison::passed)
    }
}

/// Prints rows as they come, so that one sees where a long run stands.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

/// Complaints of one row that are printed; the rest is counted.
const SHOWN: usize = 12;

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row and prints it, with what is wrong below it.
    pub fn push(&mut self, row: Row) {
        if self.rows.is_empty() {
            println!("{}", heading());
        }
        println!("{}", line(&row));
        let complaints: Vec<String> = match &row.result {
            Ok(comparison) => comparison.complaints().collect(),
            Err(reason) => vec![reason.clone()],
        };
        complaints.iter().take(SHOWN).for_each(|text| println!("    {text}"));
        if complaints.len() > SHOWN {
            println!("    and {} more", complaints.len() - SHOWN);
        }
        self.rows.push(row);
    }

    /// How many rows failed.
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| !row.passed()).count()
    }

    /// `N passed, N failed`.
    pub fn summary(&self) -> String {
        format!("{} passed, {} failed", self.rows.len() - self.failed(), self.failed())
    }
}

const COLUMNS: [&str; 12] = [
    "sent", "acked", "weak", "oneway", "unknown", "refused", "unsent", "read", "missing", "wrong",
    "extra", "copies",
];

fn heading() -> String {
    let mut text = format!("{:<7} {:<7} {:<10} {:<26}", "version", "header", "runtime", "case");
    for name in COLUMNS {
        let _ = write!(text, " {name:>7}");
    }
    text + " seconds"
}

fn line(row: &Row) -> String {
    let Row { version, encoding, runtime, case, seconds, result } = row;
    let mut text = format!("{version:<7} {encoding:<7} {runtime:<10} {case:<26}");
    match result {
        Ok(c) => {
            let numbers = [
                c.sent,
                c.acknowledged,
                c.weak,
                c.oneway,
                c.unknown,
                c.refused,
                c.not_sent,
                c.read_back,
                c.missing.len(),
                c.wrong.len(),
                c.unexpected.len(),
                c.duplicates.len(),
            ];
            for number in numbers {
                let _ = write!(text, " {number:>7}");
            }
        }
        Err(_) => text.push_str(&" ".repeat(8 * COLUMNS.len())),
    }
    let verdict = if row.passed() { "ok" } else { "FAILED" };
    let _ = write!(text, " {seconds:>7.1} {verdict}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(result: Result<Comparison, String>) -> Row {
        Row {
            version: "5.5.0".to_owned(),
            encoding: "json".to_owned(),
            runtime: "tokio".to_owned(),
            case: "plain".to_owned(),
            seconds: 1.25,
            result,
        }
    }

    #[test]
    fn counts_what_failed() {
        let mut table = Table::new();
        table.push(row(Ok(Comparison::default())));
        table.push(row(Err("no reason".to_owned())));
        let missing = vec!["one".to_owned()];
        table.push(row(Ok(Comparison { missing, ..Comparison::default() })));
        assert_eq!(table.summary(), "1 passed, 2 failed");
    }

    #[test]
    fn columns_line_up() {
        let wide = heading().len();
        assert_eq!(line(&row(Ok(Comparison::default()))).len(), wide + " ok".len());
        assert_eq!(line(&row(Err(String::new()))).len(), wide + " FAILED".len());
    }
}
