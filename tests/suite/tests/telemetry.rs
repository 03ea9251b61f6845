//! What the driver says to `tracing`, seen by a subscriber that keeps every word.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{EventSet, Message};
use rocketmq_testkit::Sim;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// One span: its fields by name, its events, and whether it has closed.
#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    fields: BTreeMap<String, String>,
    events: Vec<String>,
    handles: usize,
}

#[derive(Default)]
struct State {
    spans: BTreeMap<u64, Span>,
    /// Every value of every field of every span and event.
    words: Vec<String>,
}

/// Keeps everything, for one thread.
#[derive(Clone, Default)]
struct Capture {
    state: Arc<Mutex<State>>,
    entered: Arc<Mutex<Vec<u64>>>,
    next: Arc<AtomicU64>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let name = attributes.metadata().name();
        let mut span = Span { name, handles: 1, ..Span::default() };
        attributes.record(&mut Fields(&mut span.fields));
        let mut state = self.state.lock().unwrap();
        state.words.extend(span.fields.values().cloned());
        state.spans.insert(id, span);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = BTreeMap::new();
        values.record(&mut Fields(&mut fields));
        let mut state = self.state.lock().unwrap();
        state.words.extend(fields.values().cloned());
        state.spans.get_mut(&id.into_u64()).expect("it is open").fields.extend(fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let mut state = self.state.lock().unwrap();
        state.words.extend(fields.values().cloned());
        let inside = self.entered.lock().unwrap().last().copied();
        if let Some(span) = inside.and_then(|id| state.spans.get_mut(&id)) {
            span.events.push(fields.remove("message").unwrap_or_default());
        }
    }

    fn enter(&self, id: &Id) {
        self.entered.lock().unwrap().push(id.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.entered.lock().unwrap().pop();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.state.lock().unwrap().spans.get_mut(&id.into_u64()).expect("open").handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.state.lock().unwrap();
        let span = state.spans.get_mut(&id.into_u64()).expect("it was opened");
        span.handles -= 1;
        span.handles == 0
    }
}

/// Runs sends that go well, over two brokers, badly, and not at all.
fn captured() -> (Vec<Span>, Vec<String>, Vec<String>) {
    let capture = Capture::default();
    let mut keys = Vec::new();
    tracing::subscriber::with_default(capture.clone(), || {
        let mut sim = Sim::new(7, ClusterConfig::new().brokers(2).topic("Orders", 4));
        keys = sim.run(async |cx| {
            let config = cx.config().events(EventSet::ALL);
            let client = cx.start(config.build().expect("the settings work"));
            let producer = client.producer("shop").expect("the group is free");
            let message = || {
                Message::new("Orders", "secret body")
                    .with_tag("secret-tag")
                    .with_key("secret-key")
                    .with_property("colour", "secret-value")
            };
            let mut keys = vec![producer.send(message()).await.expect("sent").unique_key];
            let node = Node::Broker(0);
            cx.with(|cluster| {
                cluster.script(node, Rule::sends().nth(2), Fault::answer(14, "no"));
            });
            for _ in 0..4 {
                keys.push(producer.send(message()).await.expect("sent").unique_key);
            }
            for node in [Node::Broker(0), Node::Broker(1)] {
                cx.with(|cluster| {
                    cluster.clear_script(node);
                    cluster.script(node, Rule::sends(), Fault::answer(13, "illegal"));
                });
            }
            let error = producer.send(message()).await.expect_err("refused");
            keys.push(error.unique_key().expect("it had one"));
            let invalid = message().with_key("secret key with spaces");
            let error = producer.send(invalid).await.expect_err("invalid");
            keys.push(error.unique_key().expect("it had one"));
            keys.push(producer.send_oneway(message()).await.expect("handed over").unique_key);
            // Nobody awaits this one: its span closes all the same.
            let pending = producer.try_submit(message()).expect("room");
            keys.push(pending.unique_key());
            client.flush().await;
            drop(producer.send(message()));
            let is_open = |span: &&Span| span.handles > 0;
            let open = capture.state.lock().unwrap().spans.values().filter(is_open).count();
            assert_eq!(open, 0, "every span closes with its send, not with its handle");
            drop(pending);
            client.close(Duration::from_secs(1)).await;
            keys
        });
    });
    let state = std::mem::take(&mut *capture.state.lock().unwrap());
    let keys = keys.into_iter().map(|key| key.to_string()).collect();
    (state.spans.into_values().collect(), state.words, keys)
}

#[test]
fn every_send_has_one_span_with_the_names_of_opentelemetry_and_its_outcome() {
    let (spans, _, keys) = captured();
    // One more was made and never polled.
    assert_eq!(spans.len(), keys.len() + 1);
    for (span, key) in spans.iter().zip(&keys) {
        assert_eq!(span.name, "send");
        let field = |name: &str| span.fields.get(name).map(String::as_str);
        assert_eq!(field("messaging.system"), Some("rocketmq"));
        assert_eq!(field("messaging.operation.type"), Some("send"));
        assert_eq!(field("messaging.destination.name"), Some("Orders"));
        assert_eq!(field("messaging.message.body.size"), Some("11"));
        assert_eq!(field("otel.name"), Some("send Orders"));
        assert_eq!(span.handles, 0, "closed");
        let kind = field("error.type");
        assert_eq!(field("otel.status_code"), kind.map(|_| "ERROR"));
        assert!(field("delivery").is_some(), "{span:?}");
        if kind != Some("invalid") {
            assert_eq!(field("messaging.message.id"), Some(&**key), "{span:?}");
        }
    }
    let of = |index: usize, name: &str| spans[index].fields.get(name).map(String::as_str);
    assert_eq!((of(0, "delivery"), of(0, "attempts")), (Some("stored"), Some("1")));
    assert_eq!(spans[0].events, ["attempt started"]);
    let retried = spans.iter().filter(|span| {
        let attempts = span.fields.get("attempts").map(String::as_str);
        attempts == Some("2")
            && span.events == ["attempt started", "attempt failed", "attempt started"]
    });
    assert_eq!(retried.count(), 1, "{spans:#?}");
    assert_eq!((of(5, "error.type"), of(6, "error.type")), (Some("broker"), Some("invalid")));
    assert_eq!(spans[5].events, ["attempt started", "attempt failed", "send failed"]);
    assert_eq!(of(7, "delivery"), Some("handed over"));
}

#[test]
fn i30_neither_bodies_nor_properties_are_told() {
    let (_, words, _) = captured();
    assert!(words.len() > 100, "it says something");
    for word in words {
        assert!(!word.contains("secret"), "{word}");
    }
}

/// The same words as for a single send; and of a message that is refused, still none.
#[test]
fn a_batch_has_a_span_with_its_outcome_and_tells_nothing_of_its_messages() {
    let capture = Capture::default();
    tracing::subscriber::with_default(capture.clone(), || {
        let mut sim = Sim::new(7, ClusterConfig::new().brokers(2).topic("Orders", 4));
        sim.run(async |cx| {
            let producer = cx.producer("shop");
            let message = |key| Message::new("Orders", "secret body").with_key(key);
            producer.send_batch([message("secret-1"), message("secret-2")]).await.expect("sent");
            let bad = [message("secret-1"), message("secret key with spaces")];
            producer.send_batch(bad).await.expect_err("one of them cannot be sent");
            producer.close(Duration::from_secs(1)).await;
        });
    });
    let state = std::mem::take(&mut *capture.state.lock().unwrap());
    let of = |index: usize, name: &str| {
        let span = state.spans.values().nth(index).expect("a span for each batch");
        span.fields.get(name).cloned().unwrap_or_default()
    };
    let names = ["messaging.batch.message_count", "delivery", "attempts", "error.type"];
    assert_eq!(names.map(|name| of(0, name)), ["2", "stored", "1", ""]);
    assert!(of(0, "server.address").ends_with(":10911"), "{:?}", of(0, "server.address"));
    assert_eq!(of(1, "error.type"), "invalid_batch");
    assert!(state.words.iter().all(|word| !word.contains("secret")), "{:?}", state.words);
}
