//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rocketmq_tokio::{Address, Config};

use crate::ask::args::{
    DiagnoseArguments, OffsetsArguments, RecallArguments, RequestArguments, RouteArguments,
    TopicArguments, ViewArguments,
};
use crate::send::args::SendArguments;
use crate::sim::SimArguments;

/// Client for Apache RocketMQ. Not affiliated with the Apache Software Foundation.
#[derive(Debug, Parser)]
#[command(name = "rmq", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch a client send while a broker dies; needs no RocketMQ and no set-up
    Demo(DemoArguments),
    /// Send messages: from the command line, of a given size, or one per line of standard input
    Send(Box<SendArguments>),
    /// Send a message and wait for the reply to it
    Request(Box<RequestArguments>),
    /// Show where the queues of a topic are
    Route(RouteArguments),
    /// Create topics
    Topic(TopicArguments),
    /// Show how many messages the queues of a topic have
    Offsets(OffsetsArguments),
    /// Show a stored message
    View(ViewArguments),
    /// Take a timer message back before it is delivered
    Recall(RecallArguments),
    /// Find out what keeps messages from being sent
    Diagnose(DiagnoseArguments),
    /// Run clients and a whole cluster in virtual time, with faults, all from one number
    Sim(Box<SimArguments>),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Async runtime that carries the client
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    Tokio,
    Smol,
    AsyncStd,
}

pub(crate) fn name_servers(text: &str) -> Result<String, String> {
    let config = Config::builder(text).build();
    config.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis| *millis > 0);
    let millis = millis.ok_or("write milliseconds above zero, for example 500")?;
    Ok(Duration::from_millis(millis))
}

pub(crate) fn address_rule(text: &str) -> Result<(Address, Address), String> {
    let (announced, reachable) = text
        .split_once('=')
        .ok_or("write ANNOUNCED=REACHABLE, for example 172.17.0.2:10911=127.0.0.1:10911")?;
    let address = |text: &str| text.parse::<Address>().map_err(|error| error.to_string());
    Ok((address(announced)?, address(reachable)?))
}

pub(crate) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, for example region=eu".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }
}
