//! Runs in virtual time.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::rmq;

const KEYS: [&str; 11] = [
    "seed",
    "outcome",
    "hash",
    "invariant",
    "violations",
    "simulated_ms",
    "elapsed_ms",
    "sends",
    "events",
    "faults",
    "replay",
];

/// Status, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = rmq(arguments).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// A file that no other test uses.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

#[test]
fn a_seed_has_its_story_and_its_picture() {
    let svg = file("four.svg");
    let path = svg.to_str().expect("a plain path");
    let (status, story, errors) = run(&["sim", "--seed", "4", "--svg", path]);
    assert_eq!((status, &*errors), (0, ""), "{story}");
    for part in ["Seed 4\n", "What happens\n", "fault 0: ", "What came of it\n", "rmq sim --seed 4"]
    {
        assert!(story.contains(part), "{part}: {story}");
    }
    let picture = fs::read_to_string(&svg).expect("the picture is written");
    assert!(picture.starts_with("<svg ") && picture.contains(">broker-a</text>"));
    let (_, again, _) = run(&["sim", "--seed", "4"]);
    let hash = |text: &str| text.lines().find(|it| it.contains("hash")).map(str::to_owned);
    assert!(hash(&story).is_some() && hash(&story) == hash(&again));
}

/// The line of JSON about a run of seed 4.
fn seed_four(cuts: &[&str]) -> Value {
    let arguments: Vec<_> = ["sim", "--seed", "4", "--json"].iter().chain(cuts).copied().collect();
    let (status, line, _) = run(&arguments);
    assert_eq!(status, 0, "{line}");
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn cuts_leave_less() {
    let whole = seed_four(&[]);
    let less = seed_four(&["--only-strikes", "0", "--only-sends", "none"]);
    assert!(whole["faults"].as_u64() > Some(1) && less["faults"] == 1, "{whole} {less}");
    // What is left are the probes after the healing.
    assert!(whole["sends"].as_u64() > less["sends"].as_u64(), "{whole} {less}");
    assert_eq!(less["replay"], "rmq sim --seed 4 --only-strikes 0 --only-sends none");
    let short = seed_four(&["--span", "2.5s"]);
    assert!(whole["simulated_ms"].as_f64() > short["simulated_ms"].as_f64(), "{whole} {short}");
    assert_eq!(short["replay"], "rmq sim --seed 4 --span 2.5s");
}

#[test]
fn a_range_is_told_in_order_with_its_hashes() {
    let hashes = file("hashes");
    let path = hashes.to_str().expect("a plain path");
    let arguments = ["sim", "--seeds", "10..18", "--jobs", "3", "--json", "--hashes", path];
    let (status, lines, errors) = run(&arguments);
    assert_eq!(status, 0, "{errors}");
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seeds: Vec<_> = lines.iter().filter_map(|line| line["seed"].as_u64()).collect();
    assert_eq!(seeds, (10..18).collect::<Vec<_>>());
    for line in &lines {
        assert_eq!(line.as_object().expect("an object").len(), KEYS.len());
        assert!(KEYS.iter().all(|key| line.get(key).is_some()), "{line}");
        assert_eq!((&line["outcome"], &line["invariant"]), (&"held".into(), &Value::Null));
    }
    let written = fs::read_to_string(&hashes).expect("the hashes are written");
    let expected = lines
        .iter()
        .map(|line| format!("{} {}\n", line["seed"], line["hash"].as_str().expect("text")));
    assert_eq!(written, expected.collect::<String>());
    assert!(errors.contains("8 seeds in ") && errors.contains("violations: 0"), "{errors}");
}

#[test]
fn a_small_range_lacks_marks() {
    let arguments = ["sim", "--seeds", "1..3", "--require-marks", "--twice"];
    let (status, text, _) = run(&arguments);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("never reached: ") && text.contains("every run was made twice"));
}

#[test]
fn a_run_can_be_kept() {
    let list = file("runs.txt");
    let path = list.to_str().expect("a plain path");
    let arguments =
        ["sim", "--seed", "5", "--span", "2.5s", "--save", path, "--note", "nothing at all"];
    assert_eq!(run(&arguments).0, 0);
    assert_eq!(run(&arguments).0, 0);
    let text = fs::read_to_string(&list).expect("the list is written");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let ends =
        |line: &&str| line.starts_with("5 | span=2.5s | 20") && line.ends_with("nothing at all");
    assert!(lines.iter().all(ends), "{text}");
}

#[test]
fn a_range_may_end_with_the_last_number() {
    let last = ["sim", "--seeds", "18446744073709551614..18446744073709551615", "--jobs", "2"];
    let (status, text, _) = run(&last);
    assert_eq!(status, 0, "{text}");
    assert!(text.starts_with("1 seed in "), "{text}");
}

#[test]
fn what_there_is_can_be_listed() {
    let (status, text, _) = run(&["sim", "--list-faults"]);
    assert_eq!(status, 0);
    assert!(text.contains("  Kill ") && text.lines().count() > 60, "{text}");
    let (status, text, _) = run(&["sim", "--list-invariants"]);
    assert_eq!((status, text.lines().count()), (0, 32), "{text}");
    assert!(text.contains("I-20") && text.contains("not yet applicable"), "{text}");
}

#[test]
fn what_cannot_work_is_a_usage_error() {
    for arguments in [
        &["sim"][..],
        &["sim", "--seed", "1", "--seeds", "1..2"],
        &["sim", "--seeds", "2..2"],
        &["sim", "--seeds", "5"],
        &["sim", "--seed", "-1"],
        &["sim", "--seed", "1", "--only-strikes", "4..2"],
        &["sim", "--seed", "1", "--span", "0"],
        &["sim", "--seeds", "1..2", "--svg", "x.svg"],
        &["sim", "--seeds", "1..2", "--jobs", "0"],
        &["sim", "--seed", "1", "--save", "/nowhere/at/all", "--note", " "],
        &["sim", "--seed", "1", "--svg", "/nowhere/at/all.svg"],
        &["sim", "--seeds", "1..2", "--hashes", "/nowhere/at/all"],
    ] {
        let (status, _, errors) = run(arguments);
        assert_eq!(status, 2, "{arguments:?}");
        assert!(!errors.is_empty());
    }
}
