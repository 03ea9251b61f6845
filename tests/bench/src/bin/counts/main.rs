//! Counts what a send costs in instructions and allocations: exact, so that a change that costs
//! something cannot hide in the noise of a clock.
//!
//! ```text
//! counts check     compares with tests/bench/counts.txt and with the targets; fails when above
//! counts update    writes tests/bench/counts.txt
//! counts run CASE N   does one case alone, for a profiler
//! ```
//!
//! Instructions are counted by Valgrind, and only compared when they were recorded with the same
//! compiler and C library. Without Valgrind they are not counted, unless `ROCKETMQ_COUNTS_REQUIRED`
//! is 1: then that is a failure.

mod cases;
mod report;
mod tokio_cases;
mod valgrind;

use std::alloc::System;
use std::process::ExitCode;

use rocketmq_bench::process;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations so far, moved ones included.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["check"] => report::check(),
        ["update"] => report::update(),
        ["allocations"] => report::allocations(),
        ["run", case, count] => run(case, count),
        ["server", kind] => process::serve(kind).map(|()| true).map_err(|error| error.to_string()),
        _ => Err("usage: counts check | update | allocations | run CASE N".to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, count: &str) -> Result<bool, String> {
    let count = count.parse::<usize>().map_err(|error| error.to_string())?;
    let allocations = if let Some(case) = cases::find(name) {
        case.run(count)
    } else if let Some(case) = tokio_cases::find(name) {
        case.run(count)?
    } else {
        return Err(format!("no case is called {name}"));
    };
    println!("{count} times {name}: {allocations} allocations");
    Ok(true)
}
