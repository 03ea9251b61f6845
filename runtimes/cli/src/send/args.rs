//! The options of `rmq send`.

use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use rocketmq_tokio::{
    Address, Compression, Config, Decision, Encoding, MessageQueue, QueueStrategy, Selector,
    WhenDown,
};

use crate::access::AccessArguments;
use crate::args::{RuntimeName, address_rule, millis, name_servers, property};
use crate::transport::TransportArguments;

/// Most sends that may be open at once.
const IN_FLIGHT_MAX: i64 = 65_536;

/// Largest body that can be asked for; far beyond what brokers take.
const SIZE_MAX: i64 = 16 << 20;

/// Most messages of a batch: the client's own bound.
const BATCH_MAX: i64 = 16_384;

/// Longest delay: the most seconds that a broker can be set up to allow.
const DELAY_SECONDS_MAX: u64 = i32::MAX as u64;

const CONNECTION: &str = "Connection";
const MESSAGES: &str = "Messages";
const QUEUES: &str = "Choice of the queue";
const BODIES: &str = "Batches and compression";
const TIMES: &str = "Pace and time";
const OUTPUT: &str = "Output";

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
                  --json prints these keys for each message, null where unknown or of no meaning: \
                  outcome\n(acknowledged, acknowledged_weak, acknowledged_no_receipt, sent, \
                  refused, not_sent, unknown,\ninvalid), status, topic, broker, queue, offset, \
                  unique_key, offset_message_id, recall_handle,\n\
                  batch (its number, from 1), transaction (commit, rollback, undecided), kind, \
                  code,\nelapsed_ms, and attempts with broker, address, queue, stage, \
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
        value_parser = name_servers,
        help_heading = CONNECTION
    )]
    pub(crate) name_server: String,

    /// Topic to send to
    #[arg(short, long, value_parser = topic, help_heading = CONNECTION)]
    pub(crate) topic: String,

    /// Producer group
    #[arg(short, long, default_value = "rmq", help_heading = CONNECTION)]
    pub(crate) group: String,

    /// Namespace of topic and group: servers know them as NAMESPACE%NAME
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        help_heading = CONNECTION
    )]
    pub(crate) namespace: String,

    /// Address of a broker as reachable from here, when it announces another one (containers,
    /// NAT, tunnels); may be repeated
    #[arg(
        long = "map",
        value_name = "ANNOUNCED=REACHABLE",
        value_parser = address_rule,
        help_heading = CONNECTION
    )]
    pub(crate) address_rules: Vec<(Address, Address)>,

    /// Send to the brokers' VIP ports, two below the announced ones
    #[arg(long, help_heading = CONNECTION)]
    pub(crate) vip: bool,

    /// Encoding of the headers sent
    #[arg(long, value_enum, default_value_t = EncodingName::Json, help_heading = CONNECTION)]
    pub(crate) encoding: EncodingName,

    /// Async runtime that carries the client
    #[arg(long, value_enum, default_value_t = RuntimeName::Tokio, help_heading = CONNECTION)]
    pub(crate) runtime: RuntimeName,

    /// Body of the message
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, help_heading = MESSAGES)]
    pub(crate) body: Option<String>,

    /// Bytes per body, filled with letters
    #[arg(
        short,
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(..=SIZE_MAX),
        help_heading = MESSAGES
    )]
    pub(crate) size: Option<u32>,

    /// How many messages of --body or --size to send
    #[arg(
        short,
        long,
        value_name = "N",
        requires = "content",
        default_value_t = 1,
        help_heading = MESSAGES
    )]
    pub(crate) count: u64,

    /// Tag, by which consumers filter
    #[arg(long, help_heading = MESSAGES)]
    pub(crate) tag: Option<String>,

    /// Keys by which the message can be found, separated by spaces
    #[arg(long, value_name = "K1 K2 …", help_heading = MESSAGES)]
    pub(crate) keys: Option<String>,

    /// Property of the message; may be repeated
    #[arg(
        long = "property",
        value_name = "NAME=VALUE",
        value_parser = property,
        help_heading = MESSAGES
    )]
    pub(crate) properties: Vec<(String, String)>,

    /// Have messages delivered after this time, such as 500ms, 90s, 1h30m or 2d
    ///
    /// Needs brokers of 5.0 or later with their timer on. They count in whole seconds and refuse
    /// what is further away than their limit, 3 days by default.
    #[arg(long, value_name = "DURATION", value_parser = delay, help_heading = MESSAGES)]
    pub(crate) deliver_after: Option<Duration>,

    /// Have messages delivered later by a level
    ///
    /// As brokers come, 1 to 18 mean 1 s, 5 s, 10 s, 30 s, 1 to 10 minutes, 20 and 30 minutes, 1
    /// and 2 hours. A level beyond the last counts as the last.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)),
        help_heading = MESSAGES
    )]
    pub(crate) delay_level: Option<u32>,

    /// Send each message as a transaction, and end that so
    ///
    /// The message is delivered with the commit, or never. If it is left undecided, its broker asks
    /// the producers of --group by and by; rmq is not one of them any more.
    #[arg(long, value_enum, value_name = "END", help_heading = MESSAGES)]
    pub(crate) transaction: Option<EndName>,

    /// Queue to send to, instead of a choice by the client
    #[arg(long, value_name = "BROKER:ID", value_parser = queue, help_heading = QUEUES)]
    pub(crate) queue: Option<MessageQueue>,

    /// How the queue of a message is chosen [default: round-robin]
    ///
    /// The hashes need a sharding key, and send messages with one key to one queue. It is the
    /// first of --keys, which all messages have in common; without --keys it is the number of the
    /// message, counted from 0 (of a batch: of its first message).
    #[arg(long, value_enum, value_name = "HOW", help_heading = QUEUES)]
    pub(crate) selector: Option<SelectorName>,

    /// Keep the order of all messages, as those of this key
    ///
    /// They go to the queue of the key (or to --queue), one after the other, however many may be
    /// in flight, and none is sent again whose fate is unknown. What comes next goes on if one
    /// fails.
    ///
    /// While the broker of that queue is down, a message waits for it until its --timeout is
    /// over; --when-down says otherwise.
    #[arg(long, value_name = "KEY", help_heading = QUEUES)]
    pub(crate) order_by: Option<String>,

    /// What a message does while the broker of its queue is down [default: wait]
    ///
    /// For --order-by, --queue, and the hashes of --selector; the others take another broker
    /// anyway. With --queue alone, wait means as many attempts as --retries says.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = QUEUES)]
    pub(crate) when_down: Option<WhenDownName>,

    /// How the client chooses among all queues [default: current]
    #[arg(long, value_enum, value_name = "NAME", help_heading = QUEUES)]
    pub(crate) strategy: Option<StrategyName>,

    /// Whether brokers that were slow or failed lately are avoided
    ///
    /// Off, only the broker of the last attempt is, as in the Java client unless it is told
    /// otherwise, whatever --strategy says.
    #[arg(
        long,
        value_enum,
        value_name = "ON|OFF",
        default_value_t = Switch::On,
        help_heading = QUEUES
    )]
    pub(crate) latency_avoidance: Switch,

    /// Send up to N messages in one request, to one queue
    ///
    /// Each message has a receipt of its own; brokers store a batch whole or not at all. A batch
    /// is sent when it has N messages, or nothing more comes. Batches are never compressed and
    /// have no delay.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=BATCH_MAX),
        help_heading = BODIES
    )]
    pub(crate) batch: Option<u32>,

    /// How bodies are compressed [default: zlib if it is built in]
    ///
    /// A body that does not get smaller is sent as it is.
    #[arg(long, value_enum, value_name = "HOW", help_heading = BODIES)]
    pub(crate) compression: Option<CompressionName>,

    /// Compress bodies of this many bytes and more [default: 4096]
    #[arg(long, value_name = "BYTES", help_heading = BODIES)]
    pub(crate) compress_over: Option<usize>,

    /// Do not ask brokers for an acknowledgement
    #[arg(long, help_heading = TIMES)]
    pub(crate) oneway: bool,

    /// Sends open at the same time; a batch is one
    #[arg(
        short = 'k',
        long,
        value_name = "K",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=IN_FLIGHT_MAX),
        help_heading = TIMES
    )]
    pub(crate) in_flight: u32,

    /// Messages per second, at most
    #[arg(short, long, value_name = "R", value_parser = rate, help_heading = TIMES)]
    pub(crate) rate: Option<f64>,

    /// Attempts after the first, for each message or batch
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = TIMES)]
    pub(crate) retries: u32,

    /// Time for each message or batch, with all its attempts
    #[arg(
        long,
        value_name = "MS",
        default_value = "3000",
        value_parser = millis,
        help_heading = TIMES
    )]
    pub(crate) timeout: Duration,

    /// Print one line of JSON for each message on standard output, as soon as its send has ended
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) access: AccessArguments,

    #[command(flatten)]
    pub(crate) transport: TransportArguments,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingName {
    Json,
    Binary,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Encoding {
        match name {
            EncodingName::Json => Encoding::Json,
            EncodingName::Binary => Encoding::Binary,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndName {
    /// Deliver the message
    Commit,
    /// Never deliver the message
    Rollback,
    /// Leave it to other processes of the group
    Undecided,
}

impl EndName {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        self.decision().map_or("undecided", Decision::name)
    }

    pub(crate) fn decision(self) -> Option<Decision> {
        match self {
            EndName::Commit => Some(Decision::Commit),
            EndName::Rollback => Some(Decision::Rollback),
            EndName::Undecided => None,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelectorName {
    /// In turn, by --strategy, around brokers that fail
    RoundRobin,
    /// The queue that a Java producer takes for the same key (SelectMessageQueueByHash)
    JavaHash,
    /// The queue that a Go producer takes for the same sharding key (NewHashQueueSelector)
    GoHash,
    /// By rendezvous: few keys move when brokers or queues come or go
    Rendezvous,
    /// By chance, around brokers that fail
    Random,
}

impl SelectorName {
    /// Whether it looks at a sharding key.
    pub(super) fn is_hash(self) -> bool {
        !matches!(self, SelectorName::RoundRobin | SelectorName::Random)
    }

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            SelectorName::RoundRobin => "round-robin",
            SelectorName::JavaHash => "java-hash",
            SelectorName::GoHash => "go-hash",
            SelectorName::Rendezvous => "rendezvous",
            SelectorName::Random => "random",
        }
    }

    pub(super) fn selector(self, key: &str) -> Selector {
        match self {
            SelectorName::RoundRobin => Selector::round_robin(),
            SelectorName::JavaHash => Selector::java_hash(key),
            SelectorName::GoHash => Selector::go_hash(key),
            SelectorName::Rendezvous => Selector::rendezvous(key),
            SelectorName::Random => Selector::random(),
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenDownName {
    /// Waits for it until --timeout is over
    Wait,
    /// Fails at once
    Fail,
    /// Goes to a queue of another broker, which gives up the order
    Move,
}

impl From<WhenDownName> for WhenDown {
    fn from(name: WhenDownName) -> WhenDown {
        match name {
            WhenDownName::Wait => WhenDown::Wait,
            WhenDownName::Fail => WhenDown::Fail,
            WhenDownName::Move => WhenDown::Move,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    /// Java's of today with its known faults mended
    Current,
    /// That of Java 5.0.0 to the letter
    #[value(name = "java-5.0.0")]
    Java500,
}

impl From<StrategyName> for QueueStrategy {
    fn from(name: StrategyName) -> QueueStrategy {
        match name {
            StrategyName::Current => QueueStrategy::Current,
            StrategyName::Java500 => QueueStrategy::Java500,
        }
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionName {
    /// Not at all
    None,
    /// As a zlib stream, which every consumer reads
    Zlib,
    /// As an LZ4 frame; has to be built in (cargo feature lz4)
    Lz4,
    /// As a Zstandard frame; has to be built in (cargo feature zstd)
    Zstd,
}

impl From<CompressionName> for Compression {
    fn from(name: CompressionName) -> Compression {
        match name {
            CompressionName::None => Compression::None,
            CompressionName::Zlib => Compression::Zlib,
            CompressionName::Lz4 => Compression::Lz4,
            CompressionName::Zstd => Compression::Zstd,
        }
    }
}

fn topic(text: &str) -> Result<String, String> {
    // Any name server does: only the topic is checked.
    let config = Config::builder("127.0.0.1:9876").topic(text).build();
    config.map(|_| text.to_owned()).map_err(|error| error.to_string())
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

/// A time above zero with its units.
fn delay(text: &str) -> Result<Duration, String> {
    let delay = duration(text).filter(|delay| !delay.is_zero());
    let delay =
        delay.ok_or("write numbers with units above zero, for example 500ms, 90s or 1h30m")?;
    if delay > Duration::from_secs(DELAY_SECONDS_MAX) {
        return Err(format!(
            "no broker allows more than {DELAY_SECONDS_MAX}s; the usual limit is 3d"
        ));
    }
    Ok(delay)
}

/// Reads whole numbers, each with its unit, the largest unit first.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut units, mut millis) = (text, UNITS.iter(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        // What has been passed over cannot come any more, so each unit comes once.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command};
    use clap::{CommandFactory, Parser};

    fn send(extra: &[&str]) -> Result<SendArguments, clap::Error> {
        let base = ["rmq", "send", "-n", "localhost:9876", "--topic", "orders"];
        match Arguments::try_parse_from(base.iter().chain(extra))?.command {
            Command::Send(arguments) => Ok(*arguments),
            _ => panic!("a send was asked for"),
        }
    }

    #[test]
    fn defaults_are_as_documented() {
        let arguments = send(&[]).unwrap();
        assert_eq!((&*arguments.group, arguments.in_flight, arguments.count), ("rmq", 1, 1));
        assert_eq!((arguments.retries, arguments.timeout), (2, Duration::from_secs(3)));
        assert_eq!(arguments.encoding, EncodingName::Json);
        assert_eq!(arguments.runtime, RuntimeName::Tokio);
        assert!(arguments.body.is_none() && arguments.size.is_none() && !arguments.json);
        assert_eq!((arguments.latency_avoidance, arguments.vip), (Switch::On, false));
        assert_eq!((arguments.batch, &*arguments.namespace), (None, ""));
        // These are the client's own, which the help tells in words.
        let client = Config::builder("a:1").build().unwrap();
        assert_eq!(client.compress_over, 4_096);
        assert_eq!(client.queue_strategy, QueueStrategy::Current);
        assert_eq!(
            (WhenDown::default(), Selector::default()),
            (WhenDown::Wait, Selector::round_robin())
        );
        assert_eq!(client.compression == Compression::Zlib, Compression::Zlib.is_built());
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
    fn delays_have_units() {
        for (text, millis) in [
            ("1ms", 1),
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("3d", 259_200_000),
            ("2147483647s", 2_147_483_647_000),
        ] {
            assert_eq!(delay(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "0s",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1x",
            "1 s",
            "1s1h",
            "1s1s",
            "1m2",
            "2147483648s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(delay(bad).is_err(), "{bad}");
        }
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
            &["--batch", "0"],
            &["--batch", "16385"],
            &["--delay-level", "0"],
            &["--deliver-after", "soon"],
            &["--compress-over", "-1"],
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

    #[test]
    fn unknown_words_are_answered_with_the_known_ones() {
        for (option, words) in [
            ("--selector", "round-robin, java-hash, go-hash, rendezvous, random"),
            ("--strategy", "current, java-5.0.0"),
            ("--compression", "none, zlib, lz4, zstd"),
            ("--latency-avoidance", "on, off"),
            ("--when-down", "wait, fail, move"),
        ] {
            let error = send(&[option, "bogus"]).expect_err(option).to_string();
            assert!(error.contains(words) && error.contains(option), "{error}");
        }
        for name in SelectorName::value_variants() {
            let value = name.to_possible_value().expect("shown");
            assert_eq!(value.get_name(), name.name());
        }
    }

    #[test]
    fn every_option_is_told_under_a_heading() {
        let mut command = Arguments::command();
        let command = command.find_subcommand_mut("send").expect("there is one");
        let help = command.render_long_help().to_string();
        for option in command.get_arguments().filter(|option| option.get_id() != "help") {
            assert!(option.get_help_heading().is_some(), "{option}");
            assert!(help.contains(&format!("--{}", option.get_long().expect("a long name"))));
        }
        for heading in [CONNECTION, MESSAGES, QUEUES, BODIES, TIMES, OUTPUT] {
            assert!(help.contains(&format!("{heading}:\n")), "{heading}");
        }
    }
}
