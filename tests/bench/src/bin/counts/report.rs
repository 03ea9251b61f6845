//! Measures everything, compares, and prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::{cases, tokio_cases, valgrind};

/// How far instructions may exceed what is recorded. Counts of one thread repeat to 0.1 %.
const SLACK: f64 = 1.02;

/// The same for whole processes: how many answers a read brings is up to the system.
const PROCESS_SLACK: f64 = 1.15;

/// How far allocations for a send may exceed what is recorded; buffers grow now and then.
const ALLOCATIONS_SLACK: f64 = 0.05;

const HEADER: &str = "\
# What one send costs. Written by: cargo run --release -p rocketmq-bench --bin counts -- update
# Compared by: cargo run --release -p rocketmq-bench --bin counts -- check
# Lines \"above-target\" are written by hand: those numbers are known to miss their targets.
";

/// A number with what it is compared with.
struct Row {
    /// `instructions` or `allocations`.
    unit: &'static str,
    name: &'static str,
    value: f64,
    /// The most allowed beside the target, when a number is recorded.
    slack: fn(f64) -> f64,
    target: Option<f64>,
}

/// What is recorded: the environment, and the numbers by unit and name.
#[derive(Default)]
struct Recorded {
    environment: String,
    numbers: BTreeMap<String, f64>,
    /// Those that are above their targets and are known to be; written by hand.
    known: BTreeSet<String>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.txt")
}

fn read() -> Result<Recorded, String> {
    let path = path();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut recorded = Recorded::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(environment) = line.strip_prefix("environment ") {
            recorded.environment = environment.to_owned();
        } else if let Some(name) = line.strip_prefix("above-target ") {
            recorded.known.insert(name.to_owned());
        } else if let Some((name, number)) = line.rsplit_once(' ') {
            let number = number.parse().map_err(|_| format!("not a number: {line}"))?;
            recorded.numbers.insert(name.to_owned(), number);
        }
    }
    Ok(recorded)
}

/// Writes the numbers of now.
pub(crate) fn update() -> Result<bool, String> {
    let mut rows = measure_allocations()?;
    rows.extend(measure_instructions()?);
    let mut text = format!("{HEADER}environment {}\n", valgrind::environment());
    for row in &rows {
        text += &format!("{} {} {}\n", row.unit, row.name, shown(row));
    }
    for name in read().map(|recorded| recorded.known).unwrap_or_default() {
        text += &format!("above-target {name}\n");
    }
    fs::write(path(), text).map_err(|error| error.to_string())?;
    Ok(true)
}

/// Prints allocations alone.
pub(crate) fn allocations() -> Result<bool, String> {
    Ok(print(&measure_allocations()?, &Recorded::default(), false))
}

/// Compares; whether nothing is above what it may be.
pub(crate) fn check() -> Result<bool, String> {
    let recorded = read()?;
    let mut good = print(&measure_allocations()?, &recorded, true);
    if !valgrind::is_there() {
        println!("instructions: not run: no valgrind");
        let required = std::env::var("ROCKETMQ_COUNTS_REQUIRED").is_ok_and(|value| value == "1");
        return Ok(good && !required);
    }
    let environment = valgrind::environment();
    let same = environment == recorded.environment;
    if !same {
        println!("instructions: not compared with counts.txt: its environment differs");
        println!("  recorded: {}\n  here:     {environment}", recorded.environment);
    }
    let rows = measure_instructions()?;
    good &= print(&rows, &recorded, same);
    Ok(good & print_ratios(&rows))
}

fn measure_allocations() -> Result<Vec<Row>, String> {
    let row = |name, value, target| Row {
        unit: "allocations",
        name,
        value,
        slack: |recorded| recorded + ALLOCATIONS_SLACK,
        target: Some(target),
    };
    let mut rows = Vec::new();
    for (name, target) in cases::ALLOCATIONS {
        let case = cases::find(name).ok_or("a case that is not there")?;
        let count = 8_192;
        rows.push(row(name, case.run(count) as f64 / count as f64, target));
    }
    for case in &tokio_cases::CASES {
        let count = 32_768;
        let value = case.run(count)? as f64 / count as f64;
        rows.push(row(case.name, value, tokio_cases::ALLOCATIONS_MAX));
    }
    Ok(rows)
}

fn measure_instructions() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for case in &cases::CASES {
        let (name, target) = (case.name, case.target);
        let value = valgrind::instructions(case)?;
        let slack = |recorded| recorded * SLACK;
        rows.push(Row { unit: "instructions", name, value, slack, target });
    }
    for case in &tokio_cases::CASES {
        let name = case.name;
        let value = valgrind::instructions_of_process(case)?;
        let slack = |recorded| recorded * PROCESS_SLACK;
        // A lone send pays for its own turns of the runtime.
        let target = name.ends_with("-64").then_some(tokio_cases::INSTRUCTIONS_MAX);
        rows.push(Row { unit: "instructions", name, value, slack, target });
    }
    Ok(rows)
}

fn shown(row: &Row) -> String {
    if row.unit == "allocations" {
        format!("{:.2}", row.value)
    } else {
        format!("{:.0}", row.value)
    }
}

/// Prints rows; whether all are within bounds.
fn print(rows: &[Row], recorded: &Recorded, compare: bool) -> bool {
    println!("{:<13} {:<34} {:>9} {:>9} {:>7}", "", "", "measured", "recorded", "target");
    let mut good = true;
    for row in rows {
        let name = format!("{} {}", row.unit, row.name);
        let before = recorded.numbers.get(&name).copied().filter(|_| compare);
        let known = recorded.known.contains(&name);
        let (fine, verdict) = judge(row, before, known, compare);
        good &= fine;
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |it| it.to_string());
        let (unit, name, value) = (row.unit, row.name, shown(row));
        let (before, target) = (number(before), number(row.target));
        println!("{unit:<13} {name:<34} {value:>9} {before:>9} {target:>7} {verdict}");
    }
    good
}

/// Whether a number is within bounds, and what to say of it. `before` is what is recorded, and
/// `known` whether it is recorded as above its target.
fn judge(row: &Row, before: Option<f64>, known: bool, compare: bool) -> (bool, String) {
    let target = row.target.unwrap_or(f64::INFINITY);
    let above = row.value > target + 0.005;
    if let Some(before) = before.filter(|before| row.value > (row.slack)(*before)) {
        let percent = (row.value / before - 1.0) * 100.0;
        return (false, format!("FAILED: {percent:+.1} % above"));
    }
    match (above, known) {
        (true, true) => (true, "above the target, as known".to_owned()),
        (true, false) => (false, "FAILED: above the target".to_owned()),
        (false, true) => (false, "FAILED: within the target, strike it off the list".to_owned()),
        (false, false) if compare && before.is_none() => (false, "FAILED: not recorded".to_owned()),
        (false, false) => (true, String::new()),
    }
}

fn print_ratios(rows: &[Row]) -> bool {
    let value = |name: &str| rows.iter().find(|row| row.name == name).map_or(0.0, |row| row.value);
    let mut good = true;
    for (name, base, most) in cases::RATIOS {
        let ratio = value(name) / value(base);
        let fine = ratio <= most;
        good &= fine;
        let verdict = if fine { "" } else { "FAILED: above the target" };
        let name = format!("{name} / {base}");
        println!("{:<13} {name:<34} {ratio:>9.2} {:>9} {most:>7} {verdict}", "ratio", "");
    }
    good
}
