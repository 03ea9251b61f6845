//! Mistakes that can be planted are planted somewhere, and nowhere in the library that users get.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Every file below a folder with this ending, with its text.
fn files(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            found.push((path, text));
        }
    }
    found
}

/// The names between `start` and `end` wherever `start` stands.
fn names<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    let mut after = text.split(start);
    after.next();
    after.filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn every_mistake_has_its_place_and_every_place_its_mistake() {
    let core = root().join("core/src");
    let list = fs::read_to_string(core.join("planted/bug.rs")).expect("the list");
    let list = list.split("\nbugs! {").nth(1).expect("the list of mistakes");
    let known: Vec<&str> = list
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
        .collect();
    assert!(known.len() >= 60, "{} mistakes only", known.len());
    let sources = files(&core, ".rs");
    let mut planted = Vec::new();
    for (_, text) in sources.iter().filter(|(path, _)| !path.ends_with("planted.rs")) {
        planted.extend(names(text, "planted!(", ')'));
    }
    let missing: Vec<_> = known.iter().filter(|name| !planted.contains(name)).collect();
    assert!(missing.is_empty(), "planted nowhere: {missing:?}");
    // In an ordinary build the compiler does not read the names.
    let unknown: Vec<_> = planted.iter().filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "planted, but not in the list: {unknown:?}");
}

/// The switch is a matter of one command line: no file of the repository sets it.
#[test]
fn an_ordinary_build_plants_nothing() {
    let switch = ["rocketmq", "_planted"].concat();
    let mut offences = Vec::new();
    for (path, text) in files(&root(), ".toml") {
        let declared = format!("check-cfg = [\"cfg({switch})\"]");
        if text.replace(&declared, "").contains(&switch) {
            offences.push(path);
        }
    }
    assert!(offences.is_empty(), "{offences:?}");
    let library = fs::read_to_string(root().join("core/src/planted.rs")).expect("the module");
    let ordinary = format!(
        "#[cfg(not({switch}))]\nmacro_rules! planted {{\n    ($bug:ident) => {{\n        false\n"
    );
    assert!(library.contains(&ordinary), "without the switch every place reads `false`");
    for line in ["mod bug;", "pub use bug::"] {
        let guarded = format!("#[cfg({switch})]\n{line}");
        assert!(library.contains(&guarded), "{line} is there without the switch");
    }
}

/// A program that runs the machine has no trace of the module, unless it was asked for.
#[test]
fn this_program_holds_what_its_build_asked_for() {
    // Without this the linker would leave the machine out.
    rocketmq_suite::hunt::run_seed(1).expect("it is clean");
    let program = fs::read(std::env::current_exe().expect("its path")).expect("it can be read");
    let holds = |word: &str| program.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(holds("rocketmq_core"), "names of functions are missing: nothing can be told");
    // As it stands in the name of each of its functions.
    let module = ["rocketmq_core", "7planted"].concat();
    assert_eq!(holds(&module), cfg!(rocketmq_planted));
}
