//! The command line.

use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use rocketmq_tokio::{Address, Config, MessageQueue};

use crate::ask::args::{
    DiagnoseArguments, OffsetsArguments, RouteArguments, TopicArguments, ViewArguments,
};
use crate::sim::SimArguments;

/// Most sends that may be open at once.
const IN_FLIGHT_MAX: i64 = 65_536;

/// Largest body that can be asked for; far beyond what brokers take.
const SIZE_MAX: i64 = 16 << 20;

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
    /// Show where the queues of a topic are
    Route(RouteArguments),
    /// Create topics
    Topic(TopicArguments),
    /// Show how many messages the queues of a topic have
    Offsets(OffsetsArguments),
    /// Show a stored message
    View(ViewArguments),
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

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("content").args(["body", "size"]),
    after_help = "Without --body and --size, each line of standard input is one message; empty \
                  lines are skipped.\n\
                  \n\
                  Exit status: 0 if every message was acknowledged (with --oneway: handed to the \
                  socket),\n1 if some were not, 2 if the command line cannot work. Ctrl-C stops \
                  sending, waits for the\nsends under way and reports; a second Ctrl-C ends at \
                  once.\n\
                  \n\
                  --json prints these keys, null where unknown: outcome (acknowledged, \
                  acknowledged_weak,\nacknowledged_no_receipt, sent, refused, not_sent, unknown, \
                  invalid), status, topic, broker,\nqueue, offset, unique_key, offset_message_id, \
                  kind, code, elapsed_ms, and attempts with broker,\naddress, queue, stage, \
                  elapsed_ms, code, remark.\n\
                  \n\
                  Example: rmq send -n 127.0.0.1:9876 --topic TopicTest --body hello --count 10"
)]
pub(crate) struct SendArguments {
    /// Name servers
    #[arg(
        short,
        long,
        env = "NAMESRV_ADDR",
        value_name = "HOST:PORT[;HOST:PORT…]",
        value_parser = name_servers
    )]
    pub(crate) name_server: String,

    /// Topic to send to
    #[arg(short, long, value_parser = topic)]
    pub(crate) topic: String,

    /// Producer group
    #[arg(short, long, default_value = "rmq")]
    pub(crate) group: String,

    /// Body of the message
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) body: Option<String>,

    /// Bytes per body, filled with letters
    #[arg(
        short,
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(..=SIZE_MAX)
    )]
    pub(crate) size: Option<u32>,

    /// How many messages of --body or --size to send
    #[arg(short, long, value_name = "N", requires = "content", default_value_t = 1)]
    pub(crate) count: u64,

    /// Tag, by which consumers filter
    #[arg(long)]
    pub(crate) tag: Option<String>,

    /// Keys by which the message can be found, separated by spaces
    #[arg(long, value_name = "K1 K2 …")]
    pub(crate) keys: Option<String>,

    /// Property of the message; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,

    /// Queue to send to, instead of a choice by the client
    #[arg(long, value_name = "BROKER:ID", value_parser = queue)]
    pub(crate) queue: Option<MessageQueue>,

    /// Do not ask brokers for an acknowledgement
    #[arg(long)]
    pub(crate) oneway: bool,

    /// Sends open at the same time
    #[arg(
        short = 'k',
        long,
        value_name = "K",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=IN_FLIGHT_MAX)
    )]
    pub(crate) in_flight: u32,

    /// Messages per second, at most
    #[arg(short, long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,

    /// Attempts after the first, for each message
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) retries: u32,

    /// Time for each message, with all its attempts
    #[arg(long, value_name = "MS", default_value = "3000", value_parser = millis)]
    pub(crate) timeout: Duration,

    /// Address of a broker as reachable from here, when it announces another one (containers,
    /// NAT, tunnels); may be repeated
    #[arg(long = "map", value_name = "ANNOUNCED=REACHABLE", value_parser = address_rule)]
    pub(crate) address_rules: Vec<(Address, Address)>,

    /// Encoding of the headers sent
    #[arg(long, value_enum, default_value_t = EncodingName::Json)]
    pub(crate) encoding: EncodingName,

    /// Async runtime that carries the client
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio)]
    pub(crate) runtime: RuntimeName,

    /// Print one line of JSON for each message on standard output, as soon as its send has ended
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    Tokio,
    Smol,
    AsyncStd,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingName {
    Json,
    Binary,
}

pub(crate) fn name_servers(text: &str) -> Result<String, String> {
    let config = Config::builder(text).build();
    config.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn topic(text: &str) -> Result<String, String> {
    // Any name server does: only the topic is checked.
    let config = Config::builder("127.0.0.1:9876").topic(text).build();
    config.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, for example region=eu".to_owned()),
    }
}

fn queue(text: &str) -> Result<MessageQueue, String> {
    let parts = text.rsplit_once(':').filter(|(broker, _)| !broker.is_empty());
    let queue = parts.and_then(|(broker, id)| Some(MessageQueue::new(broker, id.parse().ok()?)));
    queue.ok_or_else(|| "write the broker's name and a number, for example broker-a:0".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write a number above zero, for example 50 or 0.5".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn send(extra: &[&str]) -> Result<SendArguments, clap::Error> {
        let base = ["rmq", "send", "-n", "localhost:9876", "--topic", "orders"];
        match Arguments::try_parse_from(base.iter().chain(extra))?.command {
            Command::Send(arguments) => Ok(*arguments),
            _ => panic!("a send was asked for"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_are_as_documented() {
        let arguments = send(&[]).unwrap();
        assert_eq!((&*arguments.group, arguments.in_flight, arguments.count), ("rmq", 1, 1));
        assert_eq!((arguments.retries, arguments.timeout), (2, Duration::from_secs(3)));
        assert_eq!(arguments.encoding, EncodingName::Json);
        assert_eq!(arguments.runtime, RuntimeName::Tokio);
        assert!(arguments.body.is_none() && arguments.size.is_none() && !arguments.json);
    }

    #[test]
    fn values_are_read() {
        let arguments = send(&[
            "--queue",
            "a:b:3",
            "--property",
            "x=y=z",
            "--property=e=",
            "--map",
            "10.0.0.1:10911=localhost:1",
            "--runtime",
            "async-std",
            "--encoding=binary",
            "--rate=0.5",
            "--timeout=250",
        ])
        .unwrap();
        assert_eq!(arguments.queue, Some(MessageQueue::new("a:b", 3)));
        assert_eq!(arguments.properties, [("x".into(), "y=z".into()), ("e".into(), "".into())]);
        let (announced, reachable) = &arguments.address_rules[0];
        assert_eq!(
            (announced.to_string(), reachable.to_string()),
            ("10.0.0.1:10911".into(), "localhost:1".into())
        );
        assert_eq!(arguments.runtime, RuntimeName::AsyncStd);
        assert_eq!(arguments.rate, Some(0.5));
        assert_eq!(arguments.timeout, Duration::from_millis(250));
    }

    #[test]
    fn what_cannot_work_is_a_usage_error() {
        for bad in [
            &["--body", "x", "--size", "1"][..],
            &["--count", "3"],
            &["--queue", "broker-a"],
            &["--queue", ":1"],
            &["--queue", "a:-1"],
            &["--property", "=x"],
            &["--property", "x"],
            &["--rate", "0"],
            &["--rate", "inf"],
            &["--rate", "nan"],
            &["--timeout", "0"],
            &["--timeout", "-1"],
            &["--in-flight", "0"],
            &["--in-flight", "65537"],
            &["--map", "10.0.0.1:1"],
            &["--map", "a:1=b"],
            &["--runtime", "glommio"],
            &["--group"],
        ] {
            let error = send(bad).expect_err(&format!("{bad:?}"));
            assert_eq!(error.exit_code(), 2, "{bad:?}");
        }
        for (name_server, topic) in [("nowhere", "t"), (";", "t"), ("a:1", "a/b"), ("a:1", "")] {
            let line = ["rmq", "send", "-n", name_server, "--topic", topic];
            let error = Arguments::try_parse_from(line).expect_err(name_server);
            assert_eq!(error.exit_code(), 2, "{name_server} {topic}");
        }
    }
}
