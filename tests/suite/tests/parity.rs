//! Holds tests/PARITY.md to the tree: what it names as a proof exists, and no row lacks one without
//! a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rocketmq_suite::conformance;

/// How a row may begin that has no test: it must go on with the reason.
const REASONS: [&str; 3] = ["not applicable: ", "later: ", "by construction: "];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The names of all tests below `folder`.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let mut rest = text.lines();
            while let Some(line) = rest.next() {
                if line.trim() != "#[test]" && !line.trim().starts_with("#[tokio::test") {
                    continue;
                }
                let head = rest.by_ref().map(str::trim).find(|line| !line.starts_with("#["));
                let head = head.unwrap_or_default().trim_start_matches("async ");
                let name = head.strip_prefix("fn ").unwrap_or_default();
                names.insert(name.split(['(', '<']).next().unwrap_or_default().to_owned());
            }
        }
    }
}

fn tests() -> BTreeSet<String> {
    let mut names: BTreeSet<_> = conformance::CASES.iter().map(|&case| case.to_owned()).collect();
    for folder in ["core", "runtimes", "tests"] {
        collect(&root().join(folder), &mut names);
    }
    assert!(names.len() > 400, "the search found {} tests only", names.len());
    names
}

/// What is between single backticks.
fn in_backticks(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What is wrong with a row, if anything.
fn complaint(row: &str, tests: &BTreeSet<String>) -> Option<String> {
    // A pipe that belongs to the text is written with a backslash.
    let row = row.replace("\\|", "/");
    let cells: Vec<_> = row.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [what, here, proof] = cells[..] else { return Some("has not three columns".into()) };
    if what.is_empty() || here.is_empty() {
        return Some("says nothing".into());
    }
    if let Some(unknown) = in_backticks(proof).find(|name| !tests.contains(*name)) {
        return Some(format!("names {unknown}, which is no test"));
    }
    let is_reason = |start: &str| proof.strip_prefix(start).is_some_and(|why| why.len() > 10);
    if in_backticks(proof).next().is_none() && !REASONS.iter().any(|start| is_reason(start)) {
        return Some("has neither a test nor a reason".into());
    }
    None
}

fn rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_row = |line: &str| {
        line.starts_with('|') && !line.starts_with("| ---") && !line.ends_with("| proof |")
    };
    text.lines().enumerate().filter(move |(_, line)| is_row(line))
}

#[test]
fn every_row_has_a_test_that_exists_or_a_reason() {
    let text = fs::read_to_string(root().join("tests/PARITY.md")).expect("the list");
    let tests = tests();
    assert!(rows(&text).count() > 150, "the list has {} rows only", rows(&text).count());
    let complaints: Vec<_> = rows(&text)
        .filter_map(|(number, row)| {
            complaint(row, &tests).map(|why| format!("line {}: {why}: {row}", number + 1))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn all_pitfalls_are_listed_once_and_in_order() {
    let text = fs::read_to_string(root().join("tests/PARITY.md")).expect("the list");
    let pitfalls: Vec<u32> = rows(&text)
        .filter_map(|(_, row)| row.strip_prefix("| P")?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(pitfalls, (1..=57).collect::<Vec<_>>());
}

#[test]
fn a_row_without_proof_is_noticed() {
    let tests: BTreeSet<_> = ["exists".to_owned()].into();
    let wrong = |row| complaint(row, &tests).unwrap_or_default();
    assert_eq!(wrong("| a | b | `exists` |"), "");
    assert_eq!(wrong("| a | b | later: with transactions |"), "");
    assert_eq!(wrong("| a \\| b | c | `exists`, on sockets |"), "");
    assert_eq!(wrong("| a | b | `gone` |"), "names gone, which is no test");
    assert_eq!(wrong("| a | b | `exists`, `gone` |"), "names gone, which is no test");
    for bare in ["| a | b | |", "| a | b | yes |", "| a | b | later: |", "| a | b | later: x |"] {
        assert_eq!(wrong(bare), "has neither a test nor a reason", "{bare}");
    }
    assert_eq!(wrong("| a | | `exists` |"), "says nothing");
    assert_eq!(wrong("| a | b |"), "has not three columns");
}
