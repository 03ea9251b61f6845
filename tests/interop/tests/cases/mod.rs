//! Our client against real servers: what it says was sent, and what the Java client reads back.

use std::time::Duration;

use rocketmq_interop::{Case, Comparison, Context, Outcome, Result, Sent, compare};
use rocketmq_tokio::{
    Client, ClientOptions, Config, ConfigBuilder, Delivery, Encoding, Interceptor, Message,
    PendingSend, Producer, RequestCode, RequestContext, SendError, SendReceipt, SendStatus,
};

mod access;
mod batches;
mod bodies;
mod delays;
mod encrypted;
mod faults;
mod names;
mod plain;
mod proxied;
mod questions;
mod queues;
mod requests;
mod traces;
mod transactions;

/// All cases of our client: the plain ones on every runtime and with both encodings.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for runtime in [Runtime::Tokio, Runtime::Smol, Runtime::AsyncStd] {
        for encoding in [Encoding::Json, Encoding::Binary] {
            let setting = Setting { runtime, encoding };
            let mut add =
                |name: &'static str, case: fn(&Context, Setting) -> Result<Comparison>| {
                    let (encoding, runtime) = (setting.encoding_name(), setting.runtime.name());
                    cases.push(Case::new(encoding, runtime, name, move |c: &Context| {
                        case(c, setting)
                    }));
                };
            for (name, case) in plain::CASES {
                add(name, *case);
            }
            // A broker that is killed takes seconds: each runtime once, both encodings in turn.
            let binary = encoding == Encoding::Binary;
            if binary != (runtime == Runtime::Smol) {
                continue;
            }
            for (name, case) in faults::CASES.iter().chain(encrypted::CASES) {
                add(name, *case);
            }
            // What a feature puts on the wire differs by encoding, not by runtime.
            if runtime != Runtime::AsyncStd {
                for (name, case) in FEATURES.iter().copied().flatten() {
                    add(name, *case);
                }
            }
        }
    }
    for (name, case) in proxied::CASES {
        for (runtime, encoding) in
            [(Runtime::Tokio, Encoding::Json), (Runtime::Smol, Encoding::Binary)]
        {
            let setting = Setting { runtime, encoding };
            let (encoding, runtime) = (setting.encoding_name(), runtime.name());
            let one = Case::new(encoding, runtime, name, move |c: &Context| case(c, setting));
            cases.push(one.only_on(&["5.5.0"]));
        }
    }
    for (name, case) in transactions::LONG {
        let setting = Setting { runtime: Runtime::Tokio, encoding: Encoding::Json };
        let long = Case::new("json", "tokio", name, move |c: &Context| case(c, setting));
        cases.push(long.only_on(&["4.9.7", "5.5.0"]));
    }
    cases
}

const FEATURES: &[&[NamedCase]] = &[
    bodies::CASES,
    batches::CASES,
    names::CASES,
    delays::CASES,
    queues::CASES,
    questions::CASES,
    requests::CASES,
    access::CASES,
    traces::CASES,
    transactions::CASES,
];

/// A message, and what came of handing it to a producer.
type Submitted = (Message, std::result::Result<PendingSend, SendError>);

/// Waits for sends one after the other and notes how each of them ended.
async fn all_told(submitted: Vec<Submitted>) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (message, submitted) in submitted {
        let result = match submitted {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        sent.push(told(&message, result));
    }
    sent
}

/// A case and its name.
type NamedCase = (&'static str, fn(&Context, Setting) -> Result<Comparison>);

/// The runtime that drives the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runtime {
    Tokio,
    Smol,
    AsyncStd,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Runtime::Tokio => "tokio",
            Runtime::Smol => "smol",
            Runtime::AsyncStd => "async-std",
        }
    }

    /// Runs `work` with a client on this runtime, and closes the client.
    fn run<T>(self, options: impl Into<ClientOptions>, work: impl AsyncFnOnce(&Client) -> T) -> T {
        let closing = Duration::from_secs(10);
        match self {
            Runtime::Tokio => {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let client = rocketmq_tokio::start(options).expect("inside of a runtime");
                    let result = work(&client).await;
                    client.close(closing).await;
                    result
                })
            }
            Runtime::Smol => smol::block_on(async {
                let client = rocketmq_smol::start(options);
                let result = work(&client).await;
                client.close(closing).await;
                result
            }),
            Runtime::AsyncStd => async_std::task::block_on(async {
                let client = rocketmq_async_std::start(options);
                let result = work(&client).await;
                client.close(closing).await;
                result
            }),
        }
    }
}

/// What a case runs with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    runtime: Runtime,
    encoding: Encoding,
}

impl Setting {
    fn encoding_name(self) -> &'static str {
        if self.encoding == Encoding::Json { "json" } else { "binary" }
    }

    fn config(self, context: &Context) -> ConfigBuilder {
        Config::builder(&context.servers.name_server()).encoding(self.encoding)
    }

    /// Runs `work` with a producer, and compares what it was told with what is stored.
    fn check(
        self,
        context: &Context,
        config: ConfigBuilder,
        topics: &[&str],
        work: impl AsyncFnOnce(&Producer) -> Vec<Sent>,
    ) -> Result<Comparison> {
        let sent = self.run(config, async |_, producer| work(producer).await)?;
        Ok(compare(&sent, &context.reader.read(topics)?))
    }

    /// Runs `work` with a client and a producer of it.
    fn run<T>(
        self,
        config: ConfigBuilder,
        work: impl AsyncFnOnce(&Client, &Producer) -> T,
    ) -> Result<T> {
        let config = config.build().map_err(|error| error.to_string())?;
        Ok(self.runtime.run(config, async |client| {
            let producer = client.producer("interop").expect("a legal group");
            work(client, &producer).await
        }))
    }
}

/// A message as the comparison wants to see it.
fn sent(message: &Message, unique_key: String, outcome: Outcome) -> Sent {
    let mut sent = Sent::new(message.topic(), message.body(), &unique_key, outcome);
    sent.tags = message.tag().unwrap_or_default().to_owned();
    sent.keys = message.keys().collect::<Vec<_>>().join(" ");
    sent.flag = message.flag();
    sent.properties =
        message.properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    sent
}

/// What the client said about a message.
fn told(message: &Message, result: Result<SendReceipt, SendError>) -> Sent {
    match result {
        Ok(receipt) => {
            let outcome = match receipt.position {
                None => Outcome::Stored,
                Some(position) => {
                    let broker = receipt.broker_name.to_string();
                    let queue = position.queue_id as i32;
                    let offset = position.queue_offset as i64;
                    if receipt.status == SendStatus::SendOk {
                        Outcome::Acknowledged { broker, queue, offset }
                    } else {
                        Outcome::Weak { broker, queue, offset }
                    }
                }
            };
            sent(message, receipt.unique_key.to_string(), outcome)
        }
        Err(error) => failed(message, &error),
    }
}

fn failed(message: &Message, error: &SendError) -> Sent {
    let outcome = match error.delivery() {
        Delivery::NotSent => Outcome::NotSent,
        Delivery::Refused => Outcome::Refused,
        Delivery::Unknown => Outcome::Unknown,
    };
    // A message that is refused before it is prepared has no key; the comparison wants one each.
    let key = error.unique_key().map(|key| key.to_string());
    let key = key.unwrap_or_else(|| format!("none-{}", message.flag()));
    sent(message, key, outcome)
}

fn expect(held: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if held { Ok(()) } else { Err(otherwise()) }
}

/// Whether the servers are of a version like `5.4` or later.
fn since(context: &Context, version: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> { text.split('.').flat_map(str::parse).collect() };
    numbers(context.servers.version()) >= numbers(version)
}

/// An error as a sentence.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Puts the counts and complaints of several comparisons together.
fn all_of(comparisons: impl IntoIterator<Item = Comparison>) -> Comparison {
    comparisons.into_iter().fold(Comparison::default(), |mut all, one| {
        all.sent += one.sent;
        all.acknowledged += one.acknowledged;
        all.weak += one.weak;
        all.oneway += one.oneway;
        all.oneway_found += one.oneway_found;
        all.unknown += one.unknown;
        all.unknown_found += one.unknown_found;
        all.refused += one.refused;
        all.not_sent += one.not_sent;
        all.read_back += one.read_back;
        all.missing.extend(one.missing);
        all.wrong.extend(one.wrong);
        all.unexpected.extend(one.unexpected);
        all.duplicates.extend(one.duplicates);
        all
    })
}

/// Counts the requests of a client by their code.
#[derive(Default)]
struct Requests(std::sync::Mutex<std::collections::BTreeMap<RequestCode, usize>>);

impl Requests {
    fn count(&self, code: RequestCode) -> usize {
        self.0.lock().expect("nobody panics with it").get(&code).copied().unwrap_or_default()
    }
}

impl Interceptor for Requests {
    fn request(&self, request: &mut RequestContext<'_>) {
        let mut counts = self.0.lock().expect("nobody panics with it");
        *counts.entry(request.code).or_default() += 1;
    }
}
