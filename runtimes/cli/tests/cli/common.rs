//! Running the binary and reading what it says.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use serde_json::Value;

pub(crate) const TOPIC: &str = "Orders";
pub(crate) const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

/// The keys of every line, in order.
pub(crate) const KEYS: [&str; 15] = [
    "outcome",
    "status",
    "topic",
    "broker",
    "queue",
    "offset",
    "unique_key",
    "offset_message_id",
    "recall_handle",
    "batch",
    "transaction",
    "kind",
    "code",
    "elapsed_ms",
    "attempts",
];

/// The keys of every attempt, in order.
pub(crate) const ATTEMPT_KEYS: [&str; 7] =
    ["broker", "address", "queue", "stage", "elapsed_ms", "code", "remark"];

/// Two brokers with four queues each, and no creation of topics.
pub(crate) fn cluster() -> LoopbackCluster {
    let config = ClusterConfig::new().brokers(2).topic(TOPIC, 4).auto_create_topics(false);
    LoopbackCluster::start(config).expect("loopback ports")
}

/// One broker, for faults that must not be evaded.
pub(crate) fn single() -> LoopbackCluster {
    let config = ClusterConfig::new().topic(TOPIC, 4).auto_create_topics(false);
    LoopbackCluster::start(config).expect("loopback ports")
}

pub(crate) fn script(cluster: &LoopbackCluster, fault: Fault) {
    cluster.with(|cluster| {
        for node in cluster.nodes() {
            if matches!(node, Node::Broker(_)) {
                cluster.script(node, Rule::sends().always(), fault.clone());
            }
        }
    });
}

/// Where the environment may have credentials.
pub(crate) const ACCESS: [&str; 4] = [
    "ROCKETMQ_ACCESS_KEY",
    "ROCKETMQ_SECRET_KEY",
    "ROCKETMQ_SECURITY_TOKEN",
    "ROCKETMQ_CREDENTIALS_FILE",
];

/// The binary, without anything of the environment that could change what it does.
pub(crate) fn rmq(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rmq"));
    for name in ["NAMESRV_ADDR", "NO_COLOR", "RMQ_SOCKS5"].iter().chain(&ACCESS) {
        command.env_remove(name);
    }
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `rmq send` to [`TOPIC`].
pub(crate) fn rmq_send(cluster: &LoopbackCluster, arguments: &[&str]) -> Command {
    let mut command = rmq(&["send", "--topic", TOPIC]);
    command.args(["--name-server", &cluster.name_server_addresses()]).args(arguments);
    command
}

/// Runs to the end.
pub(crate) fn run(mut command: Command) -> Done {
    Done::from(command.output().expect("the binary runs"))
}

/// Runs to the end with this on standard input.
pub(crate) fn run_with_input(mut command: Command, input: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary runs");
    feed(&mut child, input);
    Done::from(child.wait_with_output().expect("the binary ends"))
}

/// Gives all of the input and ends it.
pub(crate) fn feed(child: &mut Child, input: &[u8]) {
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("the binary reads");
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn from(output: Output) -> Done {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Done {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The lines of JSON, each with exactly the documented keys.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(checked).collect()
    }

    /// The only line.
    pub(crate) fn line(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }
}

/// Reads a line and checks its keys and types.
pub(crate) fn checked(text: &str) -> Value {
    assert!(!text.contains(char::is_control), "{text}");
    let line: Value = serde_json::from_str(text).expect(text);
    keys_are(&line, &KEYS);
    let is = |key: &str, fits: fn(&Value) -> bool| {
        assert!(line[key].is_null() || fits(&line[key]), "{key}: {text}");
    };
    let texts = ["status", "broker", "unique_key", "offset_message_id", "recall_handle", "kind"];
    for key in texts {
        is(key, Value::is_string);
    }
    for key in ["queue", "offset", "batch", "code"] {
        is(key, Value::is_i64);
    }
    assert!(line["outcome"].is_string() && line["topic"].is_string(), "{text}");
    assert!(line["elapsed_ms"].is_f64(), "{text}");
    for attempt in line["attempts"].as_array().expect(text) {
        keys_are(attempt, &ATTEMPT_KEYS);
        let stage = attempt["stage"].as_str().expect(text);
        assert!(["select", "connect", "write", "await", "answered"].contains(&stage), "{text}");
        assert!(attempt["elapsed_ms"].is_f64() || attempt["elapsed_ms"].is_null(), "{text}");
    }
    line
}

pub(crate) fn keys_are(value: &Value, keys: &[&str]) {
    let object = value.as_object().expect("an object");
    let mut found: Vec<_> = object.keys().map(String::as_str).collect();
    let mut wanted = keys.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
