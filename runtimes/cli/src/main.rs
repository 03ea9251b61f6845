//! `rmq`: sends messages to Apache RocketMQ from the command line, and shows in a demo what the
//! client does when a broker dies, or in a simulation in which anything may break.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod access;
mod args;
mod ask;
mod console;
mod demo;
mod interrupt;
mod report;
mod runtime;
mod send;
mod sim;
mod text;
mod transport;

use args::{Arguments, Command};

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Send(arguments) => send::run(*arguments),
        Command::Request(arguments) => ask::request(&arguments),
        Command::Route(arguments) => ask::route(&arguments),
        Command::Topic(arguments) => ask::topic(&arguments),
        Command::Offsets(arguments) => ask::offsets(&arguments),
        Command::View(arguments) => ask::view(&arguments),
        Command::Recall(arguments) => ask::recall(&arguments),
        Command::Diagnose(arguments) => ask::diagnose(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
    }
}

/// Everything asked for was done.
const DONE: u8 = 0;
/// Some of it was not.
const INCOMPLETE: u8 = 1;
/// The command line cannot work; clap's own status.
const USAGE: u8 = 2;
