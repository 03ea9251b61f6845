//! No runtime may lack a case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

use rocketmq_suite::conformance::CASES;

fn suite() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders of `runtimes` that start clients.
fn adapters() -> Vec<String> {
    let runtimes = suite().join("../../runtimes");
    let names = fs::read_dir(&runtimes).expect("the runtimes").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let starts = |name: &String| {
        let library = fs::read_to_string(runtimes.join(name).join("src/lib.rs"));
        library.is_ok_and(|text| text.contains("impl Runtime for"))
    };
    names.filter(starts).collect()
}

/// The test program of each, and of the simulation, and under which modules each case has to be
/// there.
fn programs() -> Vec<(String, &'static [&'static str])> {
    let program = |name: &str| format!("conformance_{}", name.replace('-', "_"));
    let modules = |name: &str| -> &[&str] {
        if name == "tokio" { &["multi_thread::", "current_thread::"] } else { &[""] }
    };
    let adapters = adapters();
    let runtimes = adapters.iter().map(|name| &**name).chain(["sim"]);
    runtimes.map(|name| (program(name), modules(name))).collect()
}

#[test]
fn there_are_many_cases_and_each_is_named_once() {
    let distinct: BTreeSet<_> = CASES.iter().collect();
    assert_eq!(distinct.len(), CASES.len());
    assert!(CASES.len() > 60, "{} cases", CASES.len());
}

#[test]
fn every_runtime_runs_the_list() {
    let programs = programs();
    assert_eq!(programs.len(), 4, "{programs:?}");
    for (program, modules) in programs {
        let path = suite().join("tests").join(&program).with_extension("rs");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lists = text.matches("\nrocketmq_suite::conformance!(").count()
            + text.matches("\n    rocketmq_suite::conformance!(").count();
        assert_eq!(lists, modules.len(), "{program}");
        assert!(!text.contains("#![cfg") && !text.contains("#[cfg"), "{program} leaves tests out");
    }
}

/// Asks the test programs that were built together with this one.
#[test]
fn every_program_has_every_case() {
    for (program, modules) in programs() {
        let Some(path) = built(&program) else {
            println!("not asked: {program} is not built, or older than its source");
            continue;
        };
        let output = Command::new(&path).args(["--list", "--format", "terse"]).output();
        let output = output.expect("a test program lists its tests").stdout;
        let listed = String::from_utf8(output).expect("names are UTF-8");
        let listed: BTreeSet<&str> =
            listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
        for case in modules.iter().flat_map(|module| CASES.iter().map(move |case| (module, case))) {
            let name = [*case.0, *case.1].concat();
            assert!(listed.contains(&*name), "{program} lacks {name}");
        }
    }
}

/// The newest executable of a test program next to this one.
fn built(program: &str) -> Option<PathBuf> {
    let this = env::current_exe().expect("this program has a path");
    let files = fs::read_dir(this.parent()?).ok()?.flatten();
    let executable = |path: &PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = stem.rsplit_once('-').map_or("", |(name, _)| name);
        name == program && path.extension().unwrap_or_default() == env::consts::EXE_EXTENSION
    };
    let newest = files.map(|file| file.path()).filter(executable).max_by_key(|path| time(path))?;
    let sources = [
        suite().join("src/conformance/mod.rs"),
        suite().join("tests").join(program).with_extension("rs"),
    ];
    sources.iter().all(|source| time(source) < time(&newest)).then_some(newest)
}

fn time(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
