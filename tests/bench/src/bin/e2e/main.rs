//! Our client beside the least that a tokio client can be, against a server in another process.
//!
//! ```text
//! e2e [--quick] [--mirror]   CPU, rate and latency at 1, 64, 512 in flight, floor and ours in turn
//! e2e blackhole              one broker of three is a black hole, then silent
//! e2e tls [--quick]          CPU of our client with TLS beside that without, in turn
//! e2e in-flight [N]          N sends (100,000) in flight at a broker that stands still
//! ```
//!
//! Only ratios to the floor of the same run mean anything elsewhere. `--mirror` has the server
//! answer in the encoding of the request; real ones answer in JSON.

mod blackhole;
mod floor;
mod in_flight;
mod tls;

use std::process::ExitCode;

use rocketmq_bench::process;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["server", kind] => process::serve(kind).map(|()| true).map_err(Failure::from),
        ["blackhole"] => blackhole::run(),
        ["tls"] => tls::run(false),
        ["tls", "--quick"] => tls::run(true),
        ["in-flight"] => in_flight::run(100_000),
        ["in-flight", count] => count.parse().map_err(Failure::from).and_then(in_flight::run),
        ref options if options.iter().all(|option| ["--quick", "--mirror"].contains(option)) => {
            floor::run(options.contains(&"--quick"), options.contains(&"--mirror"))
        }
        _ => {
            Err("usage: e2e [--quick] [--mirror] | tls [--quick] | blackhole | in-flight [N]"
                .into())
        }
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
