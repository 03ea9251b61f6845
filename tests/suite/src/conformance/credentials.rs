//! Servers with access control, and clients that are let in, or are not.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    AttemptFailure, Client, ConfigBuilder, Credentials, Delivery, Encoding, Event, EventStream,
    FetchReason, FieldError, Interceptor, Lease, NotReady, PermissionReason, ProviderFailure,
    QueryErrorKind, RequestContext, SendErrorKind, TopicSettings,
};
use rocketmq_testkit::cluster::{AccessControl, ClusterConfig, ServerVersion};

use super::scene::*;
use super::{Harness, Servers};

const KEY: &str = "orders-service";
const SECRET: &str = "hush~12345678";
const TOKEN: &str = "pass~me~on";

/// Time for what is to fail.
const SHORT: Duration = Duration::from_millis(400);

/// Who may do what in most cases: the service, and somebody for the rest.
fn users() -> AccessControl {
    AccessControl::new().producer(KEY, SECRET, [TOPIC]).admin("administrator", SECRET)
}

fn credentials(key: &str, secret: &str) -> Credentials {
    Credentials::new(key, secret).expect("legal")
}

fn right() -> Credentials {
    credentials(KEY, SECRET)
}

fn guarded<H: Harness>(on: &H, version: ServerVersion) -> H::Cluster {
    let access = users().at_name_servers(true);
    cluster_with(on, ClusterConfig::new().brokers(2).version(version).access(access))
}

/// Adds fields that come before, between and behind those of the client.
struct Adds(Mutex<Vec<FieldError>>);

impl Interceptor for Adds {
    fn request(&self, request: &mut RequestContext<'_>) {
        for name in ["1st", "Between", "zone", "\u{10000}", "\u{ffff}"] {
            request.add_field(name, format!("({name})")).expect("it is new");
        }
        assert!(request.fields().all(|(name, _)| name != "Signature" && name != "AccessKey"));
        for name in ["AccessKey", "SecurityToken", "Signature"] {
            let error = request.add_field(name, "mine").expect_err("it belongs to the client");
            self.0.lock().unwrap().push(error);
        }
    }
}

/// Everything that a client may say, to servers that look at every word.
pub async fn every_request_is_signed<H: Harness>(on: &H) {
    for version in [ServerVersion::V4_9, ServerVersion::V5_1, ServerVersion::V5_5] {
        for encoding in [Encoding::Json, Encoding::Binary] {
            for plain in [true, false] {
                signed_with(on, version, encoding, plain).await;
            }
        }
    }
}

async fn signed_with<H: Harness>(on: &H, version: ServerVersion, encoding: Encoding, plain: bool) {
    let cluster = guarded(on, version);
    let adds = Arc::new(Adds(Mutex::default()));
    let who = credentials("administrator", SECRET);
    let mut config = config(&cluster).encoding(encoding).long_send_header(!plain);
    if plain {
        config = config.credentials(who);
    } else {
        let who = who.with_security_token(TOKEN).expect("legal");
        config = config.credentials(who).namespace_v2("shops").interceptor(Arc::clone(&adds) as _);
    }
    let producer = producer(on, config);
    let client = producer.client();
    let long = "ü\"\\\u{7}".repeat(2_000);
    for body in ["hello", &*long] {
        let message = message(body).with_tag("a\"b").with_property("colour", "grün");
        let receipt = producer.send(message).await.expect("sent");
        stored_once(&cluster, &receipt);
    }
    producer.send_batch([message("1"), message("2")]).await.expect("sent");
    producer.send_oneway(message("oneway")).await.expect("sent");
    let transaction = producer.begin_transaction(message("paid")).await.expect("begun");
    transaction.commit().await.expect("committed");
    let admin = client.admin();
    admin.create_topic(TopicSettings::new("New", 2)).await.expect("created");
    let queues = client.queues(TOPIC).await.expect("known");
    admin.max_offset(TOPIC, &queues.get(0).expect("one")).await.expect("an offset");
    until(on, "all is stored", || count(&cluster) == 6).await;
    client.close(PROMPT).await;
    let frames = cluster.with(|cluster| cluster.frames().to_vec());
    for frame in frames.iter().filter(|frame| frame.flag & 1 == 0) {
        let has = |name: &str| frame.ext.get(name).is_some_and(|value| !value.is_empty());
        assert!(has("AccessKey") && has("Signature"), "{frame:?}");
        assert_eq!(has("SecurityToken"), !plain, "{frame:?}");
        assert_eq!(has("zone"), !plain, "{frame:?}");
    }
    for code in [105, 34, 35, if plain { 310 } else { 10 }, 37, 17, 30] {
        assert!(frames.iter().any(|frame| frame.code == code), "no {code}");
    }
    let belongs = |error: &FieldError| matches!(error, FieldError::Taken { .. });
    assert!(adds.0.lock().unwrap().iter().all(belongs));
}

/// What is wrong with somebody, and how servers see it.
fn strangers() -> [(Option<Credentials>, PermissionReason); 4] {
    [
        (None, PermissionReason::NoCredentials),
        (Some(credentials("somebody-else", SECRET)), PermissionReason::UnknownAccessKey),
        (Some(credentials(KEY, "guessed")), PermissionReason::WrongSecret),
        (Some(credentials("reader-service", SECRET)), PermissionReason::MissingPermission),
    ]
}

/// One attempt, whatever is wrong and whoever says so, and a word on what to do.
pub async fn a_refused_client_is_told_why_and_tries_no_other_broker<H: Harness>(on: &H) {
    for version in [ServerVersion::V4_9, ServerVersion::V5_1, ServerVersion::V5_5] {
        let access = users().producer("reader-service", SECRET, ["Other"]);
        let config = ClusterConfig::new().brokers(2).version(version).access(access);
        let cluster = cluster_with(on, config);
        for (who, expected) in strangers() {
            let settings = super::scene::config(&cluster);
            let producer = producer(
                on,
                match who {
                    Some(who) => settings.credentials(who),
                    None => settings,
                },
            );
            let error = producer.send(message("no")).await.expect_err("refused");
            let SendErrorKind::PermissionDenied { reason, .. } = error.kind() else {
                panic!("{error}");
            };
            assert_eq!(*reason, expected, "{error}");
            assert_eq!((error.delivery(), error.attempts().len()), (Delivery::Refused, 1));
            assert!(error.to_string().contains(expected.advice()), "{error}");
            let settings = TopicSettings::new("New", 1);
            let error = producer.client().admin().create_topic(settings).await.expect_err("no");
            let QueryErrorKind::PermissionDenied { reason, .. } = error.kind() else {
                panic!("{error}");
            };
            assert_eq!(*reason, expected, "{error}");
            assert!(error.to_string().contains(expected.advice()), "{error}");
        }
        assert_eq!(count(&cluster), 0);
    }
}

/// A proxy that stands in for the name server refuses the route: no send waits for its time.
pub async fn a_refused_route_ends_sends_at_once<H: Harness>(on: &H) {
    let cluster = guarded(on, ServerVersion::V5_5);
    let slow = config(&cluster).credentials(credentials(KEY, "guessed"));
    let client = on.start(build(slow.send_timeout(10 * PROMPT)));
    let producer = of(&client);
    let error = promptly(on, "the refusal", producer.send(message("no"))).await;
    let error = error.expect_err("refused");
    let SendErrorKind::PermissionDenied { reason, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*reason, PermissionReason::WrongSecret);
    assert_eq!((error.delivery(), error.name_servers().len()), (Delivery::NotSent, 1), "{error}");
    client.set_credentials(Some(right()));
    fence(on, &producer).await;
}

/// Keys change on both sides, and the client goes on with its connections and routes.
pub async fn credentials_are_replaced_while_the_client_runs<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new().access(users()));
    let client = on.start(build(config(&cluster).credentials(right())));
    let producer = of(&client);
    fence(on, &producer).await;
    let next = users().producer(KEY, "the next one", [TOPIC]);
    cluster.with(|cluster| cluster.set_access(Some(next)));
    let error = producer.send(message("old")).await.expect_err("refused");
    let SendErrorKind::PermissionDenied { reason, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*reason, PermissionReason::WrongSecret);
    client.set_credentials(Some(credentials(KEY, "the next one")));
    fence(on, &producer).await;
    client.set_credentials(None);
    let error = producer.send(message("nobody")).await.expect_err("refused");
    let SendErrorKind::PermissionDenied { reason, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*reason, PermissionReason::NoCredentials);
    assert_eq!(bodies(&cluster), ["fence", "fence"]);
    assert_eq!(client.stats().connections, 2);
}

/// A client whose credentials come from `provider`, and its events.
fn provided<H: Harness>(on: &H, config: ConfigBuilder) -> (Client, EventStream) {
    // Before the driver runs, so that no event is missed.
    let (client, driver) = on.client(build(config));
    let events = client.events();
    on.spawn(driver);
    (client, events)
}

/// Asked before anything leaves, and again before its answer expires.
pub async fn a_provider_is_asked_at_the_start_and_before_expiry<H: Harness>(on: &H) {
    let cluster = guarded(on, ServerVersion::V5_5);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let provider = {
        let asked = Arc::clone(&asked);
        move |why: FetchReason| {
            let mut asked = asked.lock().unwrap();
            asked.push(why);
            let secret = if asked.len() == 1 { SECRET } else { "the next one" };
            async move {
                let lease = Lease::new(credentials(KEY, secret));
                // Four fifths of it are a second.
                Ok(lease.expires_in(Duration::from_millis(1_250)))
            }
        }
    };
    let (client, _events) = provided(on, config(&cluster).credentials_provider(provider));
    let producer = of(&client);
    fence(on, &producer).await;
    assert_eq!(*asked.lock().unwrap(), [FetchReason::Start]);
    let next = users().producer(KEY, "the next one", [TOPIC]);
    cluster.with(|cluster| cluster.set_access(Some(next)));
    until(on, "it is asked again", || asked.lock().unwrap().len() > 1).await;
    assert_eq!(asked.lock().unwrap()[1], FetchReason::Expiry);
    fence(on, &producer).await;
    let frames = cluster.with(|cluster| cluster.frames().to_vec());
    assert!(frames.iter().all(|frame| frame.ext.get("Signature").is_some()));
}

/// Nothing leaves without credentials, and nobody waits longer than for its own time.
pub async fn a_provider_that_never_answers_costs_each_call_its_own_time<H: Harness>(on: &H) {
    let cluster = guarded(on, ServerVersion::V5_5);
    let never = |_why: FetchReason| pending::<Result<Lease, ProviderFailure>>();
    let config = config(&cluster).credentials_provider(never);
    let (client, _events) = provided(on, config.send_timeout(SHORT).request_timeout(SHORT));
    let producer = of(&client);
    let start = on.now();
    let error = producer.send(message("no")).await;
    let kind = SendErrorKind::NoCredentials(ProviderFailure::TimedOut);
    let error = failed(error, &kind, Delivery::NotSent);
    assert!(on.since(start) >= SHORT && on.since(start) < SHORT + H::TOLERANCE, "{error}");
    let error = client.admin().create_topic(TopicSettings::new("New", 1)).await.expect_err("no");
    let lost = QueryErrorKind::Lost(AttemptFailure::NoCredentials(ProviderFailure::TimedOut));
    assert_eq!(*error.kind(), lost, "{error}");
    let NotReady { name_servers } = client.wait_ready(SHORT).await.expect_err("not ready");
    let failure = AttemptFailure::NoCredentials(ProviderFailure::TimedOut);
    assert!(name_servers.iter().any(|server| server.failure == failure), "{name_servers:?}");
    assert_eq!(cluster.with(|cluster| cluster.frames().len()), 0, "nothing left");
    // What is set by hand opens the way.
    client.set_credentials(Some(right()));
    until_sent(on, &producer).await;
}

/// What fails, and what panics at once or later, costs nothing but time.
pub async fn a_provider_that_fails_or_panics_is_asked_again<H: Harness>(on: &H) {
    let cluster = guarded(on, ServerVersion::V5_5);
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = {
        let calls = Arc::clone(&calls);
        move |why: FetchReason| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(why, if call == 0 { FetchReason::Start } else { FetchReason::Retry });
            assert!(call != 1, "asked for by the case");
            async move {
                match call {
                    0 => Err(ProviderFailure::Failed("the vault is sealed")),
                    2 => panic!("asked for by the case"),
                    _ => Ok(Lease::new(right())),
                }
            }
        }
    };
    let (client, mut events) = provided(on, config(&cluster).credentials_provider(provider));
    let producer = of(&client);
    let early = super::scene::message("early");
    let options = rocketmq_driver::SendOptions::new().with_timeout(SHORT);
    let error = producer.send_with(early, options).await.expect_err("no credentials");
    let SendErrorKind::NoCredentials(failure) = error.kind() else { panic!("{error}") };
    // A machine with other work may be late, and the provider has been asked again by then.
    let sealed = ProviderFailure::Failed("the vault is sealed");
    assert!([sealed, ProviderFailure::Panicked].contains(failure), "{error}");
    assert!(error.to_string().contains(&failure.to_string()), "{error}");
    fence(on, &producer).await;
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        match event {
            Event::CredentialsFailed { failure, .. } => told.push(Some(failure)),
            Event::CredentialsRefreshed { expires_in: None } => told.push(None),
            _ => {}
        }
    }
    let panicked = Some(ProviderFailure::Panicked);
    assert_eq!(told, [Some(sealed), panicked, panicked, None]);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}
