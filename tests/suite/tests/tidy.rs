//! Rules of the house that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Every Rust file of the repository, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["core", "runtimes", "tests", "fuzz"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the search found {} files only", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            files.push((name, text));
        }
    }
}

/// Fails with every offence, not only the first.
fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn lines_have_at_most_100_columns_and_files_800_lines() {
    let mut offences = Vec::new();
    for (name, text) in sources() {
        let count = text.lines().count();
        if count > 800 {
            offences.push(format!("{name}: {count} lines"));
        }
        // Bytes as a peer sends them stand in tests as one literal.
        let data = |line: &str| name.contains("/tests/") && line.contains('"');
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > 100 && !data(line) {
                offences.push(format!("{name}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    none(offences);
}

#[test]
fn nothing_is_left_to_be_done_in_comments() {
    // Spelled in parts, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    let mut offences = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                offences.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    none(offences);
}

/// The core must not be able to name a clock, a socket or a thread.
#[test]
fn the_core_is_no_std_and_so_are_its_dependencies() {
    let library = fs::read_to_string(root().join("core/src/lib.rs")).expect("the core");
    assert!(library.contains("#![no_std]") && library.contains("#![forbid(unsafe_code)]"));
    let mut offences = Vec::new();
    let mut looked_at = 0;
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("core/src/")) {
        looked_at += 1;
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let used = ["std::", "extern crate std", "println!", "dbg!"]
                .iter()
                .any(|banned| code.match_indices(banned).any(|(at, _)| !code[..at].ends_with('_')));
            if used {
                offences.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    assert!(looked_at > 20);
    none(offences);

    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", "rocketmq-core", "-e", "normal,features", "--prefix", "none"])
        .args(["--no-default-features", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("bytes"), "cargo tree printed: {tree}");
    // Crates that run in the compiler may use what they like.
    let in_compiler = ["proc-macro2", "quote", "syn", "serde_derive", "thiserror-impl"];
    let offences: Vec<String> = tree
        .lines()
        .filter(|line| line.contains("feature \"std\""))
        .filter(|line| !in_compiler.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("a dependency of the core has its std feature on: {line}"))
        .collect();
    none(offences);
}

/// Every code is declared in one file, where the macro demands its Java class.
#[test]
fn every_protocol_code_cites_its_java_source() {
    let mut offences = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("core/src/")) {
        for (number, line) in text.lines().enumerate() {
            let bare = ["RequestCode(", "ResponseCode("].iter().any(|code| {
                let mut after = line.match_indices(code).map(|(at, _)| &line[at + code.len()..]);
                after.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
            });
            if bare {
                offences.push(format!("{name}:{}: a code without a name: {line}", number + 1));
            }
        }
    }
    none(offences);
    let codes = fs::read_to_string(root().join("core/src/wire/codes.rs")).expect("the codes");
    let listed = codes.lines().filter(|line| line.contains("Code::") && line.contains(" = "));
    assert!(listed.count() > 40, "codes.rs lists too few codes to be the right file");
}

/// Adapters hold no policy: one that grows has taken something that belongs below.
#[test]
fn adapters_stay_small() {
    let mut offences = Vec::new();
    for adapter in ["tokio", "smol", "async-std"] {
        let prefix = format!("runtimes/{adapter}/src/");
        let code: usize = sources()
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(_, text)| text.lines().filter(|line| is_code(line)).count())
            .sum();
        assert!(code > 20, "{adapter} has {code} lines of code only");
        if code > 150 {
            offences.push(format!("runtimes/{adapter}: {code} lines of code"));
        }
    }
    none(offences);
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

#[test]
fn the_readme_names_the_examples_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for adapter in ["tokio", "smol", "async-std"] {
        let example = format!("runtimes/{adapter}/examples/send.rs");
        assert!(root().join(&example).is_file(), "{example} does not exist");
        assert!(readme.contains(&example), "the README does not mention {example}");
    }
}

#[test]
fn the_readme_links_to_files_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let local: Vec<&str> = links.map(|(to, _)| to).filter(|to| !to.contains("://")).collect();
    assert!(local.len() > 15, "{local:?}");
    none(local.iter().filter(|to| !root().join(to).exists()).map(ToString::to_string).collect());
}
