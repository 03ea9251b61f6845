//! What people read when a send fails: the whole text of each error, kept in the page of the manual
//! that shows them.
//!
//! Each says what happened, where, whether the message may be stored, and what to do next. To take
//! over texts that have changed, run this with `UPDATE_ERROR_TEXTS=1` and read the difference.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use rocketmq_driver::{
    ClientOptions, ConfigBuilder, Message, RetryBudget, SendError, SendOptions, TlsConfig,
    TlsConfigBuilder,
};
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule, TopicConfig};
use rocketmq_testkit::tls::{Authority, EXPIRED, GOOD, ServerTls, TlsMode};
use rocketmq_testkit::{Sim, SimHandle};

const A: Node = Node::Broker(0);
const NAMES: Node = Node::NameServer(0);
const TOPIC: &str = "Orders";

/// From the root of the repository.
const PAGE: &str = "runtimes/driver/src/manual/errors.md";

const INTRODUCTION: &str = "\
Error texts: what people read when a send fails.

Each says what happened, where, what to do next, and whether the message may be stored. These are
the texts of [`SendError`] in a simulation, each broken into lines behind its semicolons. What a
program should look at is [`SendError::kind`] and [`SendError::delivery`], not the text.

";

/// The text of the error with which the one send of a scenario fails.
struct Texts(String);

impl Texts {
    fn add(&mut self, title: &str, error: &SendError) {
        let text = error.to_string().replace("; ", ";\n  ");
        let _ = write!(self.0, "# {title}\n\n```text\n{text}\n```\n\n");
    }

    /// The same for a client with TLS and a server with another.
    fn tell_over_tls(&mut self, title: &str, server: Option<ServerTls>, client: TlsConfigBuilder) {
        let mut sim = Sim::new(1, ClusterConfig::new().topic(TOPIC, 4));
        let error = sim.run(async |cx| {
            if let Some(server) = server {
                cx.with(|cluster| cluster.set_tls(NAMES, server));
            }
            let options = ClientOptions::new(cx.config().build().expect("legal"));
            let client = cx.start(options.with_tls(client.build().expect("legal")));
            lost(&client.producer("shop").expect("legal")).await
        });
        self.add(title, &error);
    }

    fn tell(
        &mut self,
        title: &str,
        cluster: ClusterConfig,
        settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder,
        scenario: impl AsyncFnOnce(&SimHandle, &rocketmq_driver::Producer) -> SendError,
    ) {
        let mut sim = Sim::new(1, cluster.topic(TOPIC, 4));
        let error = sim.run(async |cx| {
            let config = settings(cx.config()).build().expect("legal");
            let producer = cx.start(config).producer("shop").expect("legal");
            scenario(&cx, &producer).await
        });
        self.add(title, &error);
    }
}

fn message() -> Message {
    Message::new(TOPIC, "hello")
}

async fn lost(producer: &rocketmq_driver::Producer) -> SendError {
    producer.send(message()).await.expect_err("it cannot be sent")
}

fn same(config: ConfigBuilder) -> ConfigBuilder {
    config
}

fn name_servers(texts: &mut Texts) {
    let one = ClusterConfig::new;
    texts.tell("Wrong port: nobody listens", one(), same, async |cx, producer| {
        cx.with(|cluster| cluster.kill(NAMES));
        lost(producer).await
    });
    texts.tell("Name server is not one: a web server", one(), same, async |cx, producer| {
        let page = Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n");
        cx.with(|cluster| cluster.script(NAMES, Rule::any().always(), page));
        lost(producer).await
    });
    texts.tell("Name server is not one: a broker", one(), same, async |cx, producer| {
        // What a broker answers to a request for a route.
        let unknown = Fault::answer(3, "[CODE]request type 105 not supported");
        cx.with(|cluster| cluster.script(NAMES, Rule::any().always(), unknown));
        lost(producer).await
    });
    texts.tell("Name server blocked by a firewall", one(), same, async |cx, producer| {
        cx.with(|cluster| cluster.blackhole(NAMES));
        lost(producer).await
    });
}

fn encrypted(texts: &mut Texts) {
    let authority = Authority::new("ours");
    let trusting = || TlsConfig::builder().roots_pem(authority.pem());
    let server = || authority.server(&["10.1.0.1"]);
    texts.tell("Server demands TLS", ClusterConfig::new(), same, async |cx, producer| {
        cx.with(|cluster| cluster.set_tls(NAMES, server().mode(TlsMode::Enforcing)));
        lost(producer).await
    });
    texts.tell_over_tls("Server speaks no TLS", None, trusting());
    let stranger = TlsConfig::builder().roots_pem(Authority::new("another").pem());
    texts.tell_over_tls("Certificate of an unknown authority", Some(server()), stranger);
    let elsewhere = authority.server(&["elsewhere.example"]);
    texts.tell_over_tls("Certificate for another host", Some(elsewhere), trusting());
    let expired = ServerTls::new(&authority.issue(&["10.1.0.1"], EXPIRED));
    texts.tell_over_tls("Certificate out of date", Some(expired), trusting());
    let identity = authority.issue(&["10.1.0.1"], GOOD);
    let demanding = ServerTls::with_client_authority(&identity, &authority);
    texts.tell_over_tls("Certificate of the client missing", Some(demanding), trusting());
}

fn topics(texts: &mut Texts) {
    let closed = || ClusterConfig::new().auto_create_topics(false);
    texts.tell("No such topic", closed(), same, async |_, producer| {
        producer.send(Message::new("Nowhere", "hello")).await.expect_err("no topic")
    });
    let read_only = TopicConfig { perm: 4, ..TopicConfig::new(4) };
    let cluster = closed().brokers(2).topic_with("ReadOnly", read_only);
    texts.tell("Topic without write permission", cluster, same, async |_, producer| {
        producer.send(Message::new("ReadOnly", "hello")).await.expect_err("read-only")
    });
    texts.tell("Broker without write permission", closed(), same, async |cx, producer| {
        let remark = "the broker[broker-a] sending message is forbidden";
        cx.with(|cluster| cluster.script(A, Rule::sends().always(), Fault::answer(16, remark)));
        lost(producer).await
    });
    texts.tell("No master for a given queue", closed(), same, async |_, producer| {
        let queue = rocketmq_driver::MessageQueue::new("broker-z", 0);
        producer.send_to(queue, message()).await.expect_err("no such broker")
    });
}

fn brokers(texts: &mut Texts) {
    let one = ClusterConfig::new;
    texts.tell("Broker address unreachable: refused", one(), same, async |cx, producer| {
        cx.with(|cluster| cluster.kill(A));
        lost(producer).await
    });
    texts.tell("Broker address unreachable: no answer", one(), same, async |cx, producer| {
        cx.with(|cluster| cluster.blackhole(A));
        lost(producer).await
    });
    texts.tell("Connection lost while the answer is awaited", one(), same, async |cx, producer| {
        let fault = Fault::silent_after_storing().then_reset();
        cx.with(|cluster| cluster.script(A, Rule::sends().always(), fault));
        lost(producer).await
    });
    texts.tell("Broker busy", one().brokers(2), same, async |cx, producer| {
        let busy = Fault::answer(2, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control");
        cx.with(|cluster| {
            for node in [A, Node::Broker(1)] {
                cluster.script(node, Rule::sends().always(), busy.clone());
            }
        });
        lost(producer).await
    });
    let none = RetryBudget::DEFAULT.with_burst(0).with_percent(0).with_per_second(0);
    let settings = |config: ConfigBuilder| config.retry_budget(Some(none));
    texts.tell("Retry budget used up", one(), settings, async |cx, producer| {
        let busy = Fault::answer(2, "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control");
        cx.with(|cluster| cluster.script(A, Rule::sends().always(), busy));
        lost(producer).await
    });
    texts.tell("Deadline over", one().brokers(2), same, async |cx, producer| {
        cx.with(|cluster| {
            for node in [A, Node::Broker(1)] {
                cluster.script(node, Rule::sends().always(), Fault::silent());
            }
        });
        lost(producer).await
    });
    texts.tell("Permission denied", one(), same, async |cx, producer| {
        let denied = Fault::answer(16, "check signature failed.");
        cx.with(|cluster| cluster.script(A, Rule::sends().always(), denied));
        lost(producer).await
    });
}

fn messages(texts: &mut Texts) {
    let one = ClusterConfig::new;
    texts.tell(
        "Message too large",
        one(),
        |c| c.body_length_max(1_000),
        async |_, producer| {
            let large = Message::new(TOPIC, "x".repeat(1_001));
            producer.send(large).await.expect_err("too large")
        },
    );
    let settings = |config: ConfigBuilder| config.in_flight_bytes_max(1_000);
    texts.tell("Message larger than all room", one(), settings, async |_, producer| {
        let large = Message::new(TOPIC, "x".repeat(1_001));
        producer.send(large).await.expect_err("too large")
    });
    texts.tell("Illegal property", one(), same, async |_, producer| {
        let property = message().with_property("colour", "red\u{1}green");
        producer.send(property).await.expect_err("illegal")
    });
    texts.tell("Property with a name of the client's own", one(), same, async |_, producer| {
        let property = message().with_property("UNIQ_KEY", "mine");
        producer.send(property).await.expect_err("illegal")
    });
    let full = |config: ConfigBuilder| config.in_flight_messages_max(1);
    texts.tell("Queue full", one(), full, async |cx, producer| {
        cx.with(|cluster| cluster.stall(A));
        let _first = producer.try_submit(message()).expect("room for one");
        producer.try_submit(message()).expect_err("full")
    });
    let full = |config: ConfigBuilder| config.topic_in_flight_bytes_max(8);
    texts.tell("No room for the topic in time", one(), full, async |cx, producer| {
        cx.with(|cluster| cluster.stall(A));
        let _first = producer.try_submit(message()).expect("room for one");
        let options = SendOptions::new().with_timeout(Duration::from_millis(50));
        producer.send_with(message(), options).await.expect_err("full")
    });
    texts.tell("After the close", one(), same, async |_, producer| {
        producer.close(Duration::from_secs(1)).await;
        lost(producer).await
    });
}

#[test]
fn every_text_says_what_where_and_what_next() {
    let mut texts = Texts(INTRODUCTION.to_owned());
    name_servers(&mut texts);
    encrypted(&mut texts);
    topics(&mut texts);
    brokers(&mut texts);
    messages(&mut texts);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    if env::var_os("UPDATE_ERROR_TEXTS").is_some() {
        fs::write(&path, &texts.0).expect("the file can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (now, kept) in texts.0.lines().zip(kept.lines()) {
        assert_eq!(now, kept);
    }
    assert_eq!(texts.0, kept);
}

#[test]
fn every_text_says_whether_the_message_may_be_stored() {
    let page = include_str!("../../../runtimes/driver/src/manual/errors.md");
    let texts = page.split("```text\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let errors: Vec<_> = texts.map(|(text, _)| text).collect();
    assert!(errors.iter().all(|error| error.starts_with("send to")));
    assert!(errors.len() > 15);
    let told = ["was not sent", "no broker stored", "may have been stored"];
    for error in errors {
        assert!(told.iter().any(|told| error.contains(told)), "{error}");
    }
}
