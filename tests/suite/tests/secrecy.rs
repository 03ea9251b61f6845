//! Nothing that a client says shows a secret: not its handles, errors, events, diagnoses, panics or
//! `tracing` output, whatever goes well or wrong. (What the command line says is looked at there.)
//!
//! Run with `--features tracing` for the last of these.
#![allow(missing_docs)]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_core::{Client as Machine, Instant};
use rocketmq_driver::{
    ConfigBuilder, Credentials, CredentialsError, Encoding, EventSet, FetchReason, Interceptor,
    Lease, Message, ProviderFailure, RequestContext, ResponseContext, SendOptions, TopicSettings,
};
use rocketmq_testkit::cluster::{AccessControl, ClusterConfig, Fault, Node, Rule, ServerVersion};
use rocketmq_testkit::{Sim, SimHandle};

const KEY: &str = "orders-service";
const SECRET: &str = "hush~12345678";
const WRONG: &str = "hush~87654321";
const TOKEN: &str = "pass~me~on";

/// Everything that was said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn text(&self, text: impl ToString) {
        self.0.lock().unwrap().push(text.to_string());
    }

    /// In both ways of `Debug`.
    fn debug(&self, value: &impl Debug) {
        self.text(format!("{value:?}"));
        self.text(format!("{value:#?}"));
    }

    fn error<T: Debug, E: Debug + ToString>(&self, result: &Result<T, E>) {
        self.debug(result);
        if let Err(error) = result {
            self.text(error.to_string());
        }
    }

    /// What was said that holds a part of a secret: as text, and as a list of bytes.
    fn leaks(&self) -> Vec<String> {
        let bytes = |text: &str| {
            let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
            numbers.join(", ")
        };
        let mut secrets = Vec::new();
        for secret in ["hush~", "pass~me"] {
            secrets.extend([secret.to_owned(), bytes(secret), bytes(secret).replace(' ', "\n")]);
        }
        let said = self.0.lock().unwrap();
        let plain = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let leaks = |text: &&String| {
            secrets.iter().any(|secret| text.contains(secret) || plain(text).contains(secret))
        };
        said.iter().filter(leaks).cloned().collect()
    }
}

/// Says all that interceptors get to see.
struct Tells(Said);

impl Interceptor for Tells {
    fn request(&self, request: &mut RequestContext<'_>) {
        self.0.debug(request);
        self.0.error(&request.add_field("Signature", "mine"));
    }

    fn response(&self, response: &ResponseContext<'_>) {
        self.0.debug(response);
    }
}

fn users() -> AccessControl {
    AccessControl::new().producer(KEY, SECRET, ["Orders"]).admin("administrator", SECRET)
}

fn credentials(key: &str, secret: &str) -> Credentials {
    Credentials::new(key, secret).expect("legal").with_security_token(TOKEN).expect("legal")
}

/// Whatever can happen to one client, one after the other.
async fn live(cx: &SimHandle, said: &Said, config: ConfigBuilder) {
    let config = config
        .events(EventSet::ALL)
        .interceptor(Arc::new(Tells(said.clone())))
        .send_timeout(Duration::from_millis(700))
        .request_timeout(Duration::from_millis(500));
    said.debug(&config);
    let config = config.build().expect("legal");
    said.debug(&config);
    let client = cx.start(config);
    let mut events = client.events();
    let producer = client.producer("shop").expect("legal");
    let faults = [
        None,
        Some(Fault::answer(16, "check signature failed.")),
        Some(Fault::answer(1, "java.lang.NullPointerException")),
        Some(Fault::answer(2, "busy")),
        Some(Fault::garbage("HTTP/1.1 400 Bad Request\r\n\r\n")),
        Some(Fault::silent()),
        Some(Fault::close()),
    ];
    for fault in faults {
        cx.with(|cluster| {
            for node in [Node::Broker(0), Node::Broker(1), Node::NameServer(0)] {
                cluster.clear_script(node);
                if let Some(fault) = &fault {
                    cluster.script(node, Rule::sends().always(), fault.clone());
                    cluster.script(node, Rule::code(105).always(), fault.clone());
                }
            }
        });
        for topic in ["Orders", "Others"] {
            said.error(&producer.send(Message::new(topic, "hello")).await);
        }
        let oneway = producer.send_oneway(Message::new("Orders", "hello")).await;
        said.error(&oneway);
        said.error(&producer.send_batch([Message::new("Orders", "hello")]).await);
        said.error(&client.admin().create_topic(TopicSettings::new("New", 1)).await);
        said.error(&client.admin().offsets("Orders").await);
        said.error(&client.queues("Others").await);
        said.error(&client.wait_ready(Duration::from_millis(300)).await);
        let diagnosis = client.diagnose(Some("Orders")).await;
        said.debug(&diagnosis);
        said.text(diagnosis);
    }
    said.error(&producer.send(Message::new("not a topic", "hello")).await);
    let options = SendOptions::new().with_timeout(Duration::from_secs(60));
    let open = producer.submit_with(Message::new("Orders", "open"), options).await;
    said.debug(&open);
    client.set_credentials(Some(credentials("administrator", WRONG)));
    said.error(&producer.send(Message::new("Orders", "hello")).await);
    client.set_credentials(None);
    said.error(&producer.send(Message::new("Orders", "hello")).await);
    said.debug(&client);
    said.debug(&producer);
    said.debug(&client.stats());
    said.debug(&client.close(Duration::from_secs(1)).await);
    while let Some(event) = events.try_next() {
        said.debug(&event);
    }
    said.debug(&events);
}

fn lives(said: &Said) {
    for version in [ServerVersion::V4_9, ServerVersion::V5_5] {
        for encoding in [Encoding::Json, Encoding::Binary] {
            for (key, secret) in [(KEY, SECRET), (KEY, WRONG), ("nobody12", SECRET)] {
                let access = users().at_name_servers(secret == WRONG);
                let cluster = ClusterConfig::new().brokers(2).topic("Orders", 2).version(version);
                said.debug(&access);
                let mut sim = Sim::new(3, cluster.access(access));
                sim.run(async |cx| {
                    let config = cx.config().encoding(encoding);
                    live(&cx, said, config.credentials(credentials(key, secret))).await;
                });
            }
        }
    }
    let mut sim = Sim::new(3, ClusterConfig::new().brokers(2).topic("Orders", 2).access(users()));
    sim.run(async |cx| {
        let calls = Mutex::new(0);
        let provider = move |_why: FetchReason| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            let call = *calls;
            async move {
                assert!(call != 2, "asked for by the test");
                let lease = Lease::new(credentials(KEY, SECRET));
                match call {
                    1 => Err(ProviderFailure::Failed("the vault is sealed")),
                    _ => Ok(lease.expires_in(Duration::from_secs(2))),
                }
            }
        };
        live(&cx, said, cx.config().credentials_provider(provider)).await;
    });
}

#[test]
fn nothing_that_a_client_says_shows_a_secret() {
    let said = Said::default();
    let panics = said.clone();
    std::panic::set_hook(Box::new(move |panic| panics.text(panic)));
    #[cfg(feature = "tracing")]
    tracing::subscriber::with_default(capture::Capture(said.clone()), || lives(&said));
    #[cfg(not(feature = "tracing"))]
    lives(&said);
    let _ = std::panic::take_hook();
    let own = credentials(KEY, SECRET);
    said.debug(&own);
    said.debug(&Lease::new(own.clone()));
    let broken = [
        Credentials::new(KEY, format!("{SECRET}\n")),
        Credentials::new(format!("{SECRET}\n"), ""),
        own.clone().with_security_token(format!("{TOKEN}\0")),
        Credentials::new(KEY, SECRET.repeat(1_000)),
    ];
    for broken in broken {
        let error: CredentialsError = broken.expect_err("illegal");
        said.error(&Err::<(), _>(error));
    }
    assert_eq!(said.leaks(), [""; 0]);
    // It has seen what there was to see.
    let all = said.0.lock().unwrap().join("\n");
    for part in [
        "orde…",
        "PermissionDenied",
        "WrongSecret",
        "the vault is sealed",
        "asked for by the test",
        "CredentialsRefreshed",
        "refuses this client",
        "AttemptStarted",
        "belongs to the client",
    ] {
        assert!(all.contains(part), "nobody said {part}");
    }
    assert_eq!(cfg!(feature = "tracing"), all.contains("messaging.system=\"rocketmq\""));
}

/// The machine in the middle of its work, with requests that no socket has taken yet.
#[test]
fn the_machine_shows_neither_secrets_nor_what_is_on_the_wire() {
    let said = Said::default();
    let config = rocketmq_core::Config::builder("10.0.0.1:9876").topic("Orders");
    let config = config.credentials(credentials(KEY, SECRET)).build().unwrap();
    let mut machine = Machine::new(config, 1, Instant::ZERO);
    let (first, _) = machine.poll_timeout().expect("the first look-up");
    machine.handle_timeout(first);
    let Some(rocketmq_core::Output::Connect { conn, .. }) = machine.poll_output() else {
        panic!("it dials");
    };
    machine.handle_connected(first, conn, Ok(()));
    assert_eq!(machine.poll_transmit(), Some(conn));
    let bytes: Vec<u8> = machine.transmit_chunks(conn).flatten().copied().collect();
    let written = String::from_utf8_lossy(&bytes);
    assert!(written.contains(TOKEN) && written.contains("Signature"), "{written}");
    said.debug(&machine);
    assert_eq!(said.leaks(), [""; 0]);
    assert!(said.0.lock().unwrap()[0].contains("orde…"));
}

/// What would be found if it were there.
#[test]
fn a_leak_is_found() {
    for leak in [
        format!("the secret is {SECRET}"),
        format!("{:?}", Some(TOKEN)),
        format!("{:?}", SECRET.as_bytes()),
        format!("{:#?}", TOKEN.as_bytes()),
    ] {
        let said = Said::default();
        said.text("nothing");
        assert_eq!(said.leaks().len(), 0);
        said.text(&leak);
        assert_eq!(said.leaks(), [leak]);
    }
}

#[cfg(feature = "tracing")]
mod capture {
    //! Keeps every word of every span and event.

    use std::fmt::Debug;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::Said;

    pub(super) struct Capture(pub(super) Said);

    struct Words<'a>(&'a Said);

    impl Visit for Words<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.text(format!("{}={value:?}", field.name()));
        }
    }

    impl Subscriber for Capture {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            attributes.record(&mut Words(&self.0));
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut Words(&self.0));
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            event.record(&mut Words(&self.0));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }
}
