//! Instructions, as Valgrind counts them.

use std::process::Command;

use crate::cases::Case;
use crate::tokio_cases::TokioCase;

/// How often a case runs under Valgrind.
const COUNT: usize = 2_048;

pub(crate) fn is_there() -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// What makes counts differ apart from the code: the compiler and the C library.
pub(crate) fn environment() -> String {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let library = first_line("ldd", "--version");
    let library = library.rsplit(' ').next().unwrap_or_default();
    format!("{}, {} glibc {library}", first_line(&rustc, "--version"), std::env::consts::ARCH)
}

/// Instructions for one time, of what the case measures.
pub(crate) fn instructions(case: &Case) -> Result<f64, String> {
    let toggle = ["--collect-atstart=no", "--toggle-collect=*measured_*"];
    Ok(collected(case.name, COUNT, &toggle)? as f64 / COUNT as f64)
}

/// Instructions for one send of everything in the process. Two sizes, so that the start cancels.
pub(crate) fn instructions_of_process(case: &TokioCase) -> Result<f64, String> {
    let (few, many) = (4_096, 12_288);
    let costs = [collected(case.name, few, &[])?, collected(case.name, many, &[])?];
    Ok((costs[1] as f64 - costs[0] as f64) / (many - few) as f64)
}

fn collected(case: &str, count: usize, options: &[&str]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).args(options);
    command.arg(program).args(["run", case, &count.to_string()]);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    match line.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(number) if output.status.success() && number > 0 => Ok(number),
        _ => Err(format!("{case} did not run under valgrind: {text}")),
    }
}
