//! Measures everything, compares, and prints the table.

use std::collections::BTreeMap;
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
struct Recorded {
    environment: String,
    numbers: BTreeMap<String, f64>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("counts.txt")
}

fn read() -> Result<Recorded, String> {
    let path = path();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut recorded = Recorded { environment: String::new(), numbers: BTreeMap::new() };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(environment) = line.strip_prefix("environment ") {
            recorded.environment = environment.to_owned();
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
    fs::write(path(), text).map_err(|error| error.to_string())?;
    Ok(true)
}

/// Prints allocations alone.
pub(crate) fn allocations() -> Result<bool, String> {
    let numbers = BTreeMap::new();
    let recorded = Recorded { environment: String::new(), numbers };
    Ok(print(&measure_allocations()?, &recorded, false))
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
        let known = recorded.numbers.get(&format!("{} {}", row.unit, row.name)).copied();
        let known = known.filter(|_| compare);
        let target = row.target.unwrap_or(f64::INFINITY);
        let mut verdict = String::new();
        if row.value > target + 0.005 {
            verdict = " above the target".to_owned();
        } else if let Some(known) = known.filter(|known| row.value > (row.slack)(*known)) {
            verdict = format!(" {:+.1} % above", (row.value / known - 1.0) * 100.0);
        } else if compare && known.is_none() {
            verdict = " not recorded".to_owned();
        }
        good &= verdict.is_empty();
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |it| it.to_string());
        let (unit, name, value) = (row.unit, row.name, shown(row));
        let (known, target) = (number(known), number(row.target));
        println!("{unit:<13} {name:<34} {value:>9} {known:>9} {target:>7}{verdict}");
    }
    good
}

fn print_ratios(rows: &[Row]) -> bool {
    let value = |name: &str| rows.iter().find(|row| row.name == name).map_or(0.0, |row| row.value);
    let mut good = true;
    for (name, base, most) in cases::RATIOS {
        let ratio = value(name) / value(base);
        let fine = ratio <= most;
        good &= fine;
        let verdict = if fine { "" } else { " above the target" };
        let name = format!("{name} / {base}");
        println!("{:<13} {name:<34} {ratio:>9.2} {:>9} {most:>7}{verdict}", "ratio", "");
    }
    good
}
