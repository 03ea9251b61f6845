//! Goes through a list of cases: the main function of a test target without harness.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::{Comparison, Reader, Result, Row, ServerOptions, Servers, Table, environment};

/// Set to 1 where the machine must have what the suite needs: absence is a failure then.
const REQUIRED: &str = "ROCKETMQ_INTEROP_REQUIRED";

/// What a case works with: the servers of one version, shared by all cases that run on them.
#[derive(Debug)]
pub struct Context {
    /// The official client. It lives in the servers' folder, so it goes before them.
    pub reader: Reader,
    /// The name server and brokers. A case that kills or stalls one brings it back.
    pub servers: Servers,
    topics: AtomicUsize,
}

impl Context {
    /// Starts the servers and the reader.
    pub fn start(
        environment: &crate::Environment,
        version: &str,
        options: &ServerOptions,
    ) -> Result<Self> {
        let servers = Servers::start(environment, version, options)?;
        let reader = Reader::start(&servers)?;
        Ok(Self { servers, reader, topics: AtomicUsize::new(0) })
    }

    /// Other servers of the same version beside these, for as long as what is returned lives.
    pub fn beside(&self, options: &ServerOptions) -> Result<Self> {
        Self::start(self.servers.environment(), self.servers.version(), options)
    }

    /// A topic name that no other case has. The topic is not created.
    pub fn topic(&self, label: &str) -> String {
        let number = self.topics.fetch_add(1, Ordering::Relaxed);
        format!("interop_{number}_{label}")
    }
}

/// What a case does, and what came of it.
type Body = Box<dyn Fn(&Context) -> Result<Comparison>>;

/// One case, run once against every version.
pub struct Case {
    /// How request headers are encoded: `json`, `binary`.
    pub encoding: String,
    /// What the client runs on: `tokio`, `smol`, `async-std`.
    pub runtime: String,
    /// The name.
    pub name: String,
    /// The versions that it is run on; empty for all.
    versions: &'static [&'static str],
    run: Body,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{}::{}", self.encoding, self.runtime, self.name)
    }
}

impl Case {
    /// A case made of a function; its panic is a failure too.
    pub fn new(
        encoding: &str,
        runtime: &str,
        name: &str,
        run: impl Fn(&Context) -> Result<Comparison> + 'static,
    ) -> Self {
        let [encoding, runtime, name] = [encoding, runtime, name].map(str::to_owned);
        Self { encoding, runtime, name, versions: &[], run: Box::new(run) }
    }

    /// The same on these versions alone: for what takes long and differs little.
    pub fn only_on(self, versions: &'static [&'static str]) -> Self {
        Self { versions, ..self }
    }

    fn is_for(&self, version: &str) -> bool {
        self.versions.is_empty() || self.versions.contains(&version)
    }
}

/// The command line, as far as it is ours: `cargo test` passes flags meant for its own harness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    list: bool,
    ignored: bool,
    exact: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Arguments {
    /// Of this process.
    pub fn from_env() -> Self {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(words: impl IntoIterator<Item = String>) -> Self {
        let mut arguments = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.list = true,
                "--ignored" => arguments.ignored = true,
                "--exact" => arguments.exact = true,
                "--skip" => arguments.skips.extend(words.next()),
                // Flags of the usual harness whose value must not be taken for a filter.
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    words.next();
                }
                word if word.starts_with('-') => {}
                _ => arguments.filters.push(word),
            }
        }
        arguments
    }

    fn selects(&self, name: &str) -> bool {
        let matches = |filter: &String| match self.exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        };
        // No case is marked as ignored, so none is left when only those are wanted.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}

/// Runs every selected case against every version, the servers of a version being started once.
///
/// `cache` is a folder of the build directory. A case is named `version::encoding::runtime::name`.
pub fn run(
    arguments: &Arguments,
    cache: &Path,
    versions: &[&str],
    options: &ServerOptions,
    cases: &[Case],
) -> ExitCode {
    let selected = |version: &str| -> Vec<&Case> {
        cases
            .iter()
            .filter(|case| case.is_for(version))
            .filter(|case| arguments.selects(&format!("{version}::{case:?}")))
            .collect()
    };
    let versions: Vec<&str> =
        versions.iter().copied().filter(|version| !selected(version).is_empty()).collect();
    if arguments.list {
        for version in versions {
            selected(version).iter().for_each(|case| println!("{version}::{case:?}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let environment = match environment(cache, &versions) {
        Ok(environment) => environment,
        Err(reason) => {
            println!("not run: {reason}");
            let required = std::env::var(REQUIRED).is_ok_and(|value| value == "1");
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let begin = Instant::now();
    let mut table = Table::new();
    for version in versions {
        run_version(&environment, version, options, &selected(version), &mut table);
    }
    println!("{} in {:.1} s", table.summary(), begin.elapsed().as_secs_f64());
    if table.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_version(
    environment: &crate::Environment,
    version: &str,
    options: &ServerOptions,
    cases: &[&Case],
    table: &mut Table,
) {
    let row = |encoding: &str, runtime: &str, case: &str, begin: Instant, result| Row {
        version: version.to_owned(),
        encoding: encoding.to_owned(),
        runtime: runtime.to_owned(),
        case: case.to_owned(),
        seconds: begin.elapsed().as_secs_f64(),
        result,
    };
    let begin = Instant::now();
    let mut context = match Context::start(environment, version, options) {
        Ok(context) => context,
        Err(reason) => return table.push(row("-", "-", "start", begin, Err(reason))),
    };
    println!("RocketMQ {version} started in {:.1} s", begin.elapsed().as_secs_f64());
    for case in cases {
        let begin = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&context)))
            .unwrap_or_else(|panic| Err(format!("panic: {}", said(&*panic))));
        let row = row(&case.encoding, &case.runtime, &case.name, begin, result);
        let passed = row.passed();
        table.push(row);
        if !passed {
            // The next case deserves a fair chance.
            let healed = context.servers.heal().and_then(|()| Reader::start(&context.servers));
            match healed {
                Ok(reader) => context.reader = reader,
                Err(reason) => println!("    the servers cannot be brought back: {reason}"),
            }
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn foreign_flags_are_ignored() {
        let arguments = parse("--quiet --nocapture --test-threads 1 --color=always --format terse");
        assert_eq!(arguments, Arguments::default());
        assert!(arguments.selects("5.5.0::json::tokio::plain"));
    }

    #[test]
    fn filters() {
        let name = "5.5.0::json::tokio::plain";
        assert!(parse("tokio").selects(name));
        assert!(parse("smol 5.5").selects(name));
        assert!(!parse("smol").selects(name));
        assert!(!parse("tokio --skip plain").selects(name));
        assert!(!parse("--exact tokio").selects(name));
        assert!(parse(&format!("--exact {name}")).selects(name));
        assert!(!parse("--ignored").selects(name));
    }
}
