//! TLS: who is let in, who is refused, and that nothing ever goes out in plain text.

use std::time::Duration;

use rocketmq_driver::{
    AddressMap, AttemptFailure, Client, ClientOptions, CloseReason, ConfigBuilder, ConnectFailure,
    Delivery, Message, Producer, SendErrorKind, TlsConfig, TlsConfigBuilder, TlsFailure,
};
use rocketmq_testkit::cluster::{ClusterConfig, Node};
use rocketmq_testkit::tls::{
    Authority, EXPIRED, GOOD, Identity, NOT_YET, ServerTls, TlsFault, TlsMode,
};

use super::scene::*;
use super::{Harness, Servers};

const TIMEOUT: Duration = Duration::from_millis(300);

/// The authority that clients trust here.
fn authority() -> Authority {
    Authority::new("the cluster's authority")
}

/// Names of all servers.
fn names(cluster: &impl Servers) -> Vec<String> {
    let nodes = cluster.with(|cluster| cluster.nodes());
    nodes.into_iter().map(|node| cluster.address(node).ip().to_string()).collect()
}

fn issued(authority: &Authority, cluster: &impl Servers, dates: (i32, i32)) -> Identity {
    let names = names(cluster);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    authority.issue(&names, dates)
}

/// Every server serves encrypted connections alone.
fn enforce(cluster: &impl Servers, tls: ServerTls) {
    let tls = tls.mode(TlsMode::Enforcing);
    cluster.with(|cluster| cluster.set_tls_everywhere(&tls));
}

fn trusting(authority: &Authority) -> TlsConfigBuilder {
    TlsConfig::builder().roots_pem(authority.pem())
}

fn built(tls: TlsConfigBuilder) -> TlsConfig {
    tls.build().expect("the settings work")
}

fn start<H: Harness>(on: &H, config: ConfigBuilder, tls: TlsConfigBuilder) -> Client {
    on.start(ClientOptions::new(build(config)).with_tls(built(tls)))
}

/// Sends until the name server's failure is this one; nothing may get through before.
async fn refused<H: Harness>(
    on: &H,
    cluster: &impl Servers,
    tls: TlsConfigBuilder,
    failure: AttemptFailure,
) {
    let client = start(on, config(cluster).send_timeout(TIMEOUT), tls);
    refuses(on, cluster, &of(&client), failure).await;
}

async fn refuses<H: Harness>(
    on: &H,
    cluster: &impl Servers,
    producer: &Producer,
    failure: AttemptFailure,
) {
    let start = on.now();
    loop {
        let result = promptly(on, "the send", producer.send(message("secret"))).await;
        let error = failed(result, &SendErrorKind::NameServerUnreachable, Delivery::NotSent);
        if error.name_servers().iter().any(|server| server.failure == failure) {
            assert!(error.to_string().contains(&failure.to_string()), "{error}");
            break;
        }
        assert!(on.since(start) < PROMPT, "{error}, and not {failure:?}");
    }
    let frames = cluster.with(|cluster| cluster.frames().len());
    assert_eq!(frames, 0, "a server was asked something");
}

fn dial(failure: TlsFailure) -> AttemptFailure {
    AttemptFailure::Connect(ConnectFailure::Tls(failure))
}

/// Name servers and brokers are reached over TLS alone, and show certificates for their addresses.
pub async fn servers_are_verified_and_messages_arrive<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let authority = authority();
    for tls in [ServerTls::new, ServerTls::tls12] {
        enforce(&cluster, tls(&issued(&authority, &cluster, GOOD)));
        let client = start(on, config(&cluster), trusting(&authority));
        let producer = of(&client);
        for number in 0..8 {
            let sent = promptly(on, "a send", producer.send(message(number))).await;
            stored_once(&cluster, &sent.expect("sent"));
        }
        promptly(on, "the close", client.close(PROMPT)).await;
    }
    let met = cluster.with(|cluster| cluster.tls_handshakes().to_vec());
    for version in ["1.2", "1.3"] {
        for node in [NAMES, A, B] {
            let there = met.iter().any(|it| it.node == node && it.version == version);
            assert!(there, "{node:?} {version} {met:?}");
        }
    }
    assert_eq!(cluster.with(|cluster| cluster.tls_turned_away()), 0);
}

/// Whose certificate names somebody else is not who was meant; a given name is what counts.
pub async fn a_server_of_another_name_is_refused<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    enforce(&cluster, authority.server(&["elsewhere.example", "192.0.2.1"]));
    let wrong = dial(TlsFailure::WrongName);
    refused(on, &cluster, trusting(&authority), wrong.clone()).await;
    let other = trusting(&authority).server_name("neither.example");
    refused(on, &cluster, other, wrong).await;
    for name in ["elsewhere.example", "192.0.2.1"] {
        let client = start(on, config(&cluster), trusting(&authority).server_name(name));
        fence(on, &of(&client)).await;
    }
}

/// A server dialed by a name has to show that name.
pub async fn the_name_that_is_dialed_is_verified<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let by_name = cluster.address_by_name(NAMES);
    let (host, _) = by_name.rsplit_once(':').expect("a port");
    let tls = authority.server(&[host]).mode(TlsMode::Enforcing);
    cluster.with(|cluster| cluster.set_tls(NAMES, tls));
    let broker = cluster.address(A);
    let mapped = cluster.address_by_name(A);
    let (broker_host, _) = mapped.rsplit_once(':').expect("a port");
    let tls = authority.server(&[broker_host]).mode(TlsMode::Enforcing);
    cluster.with(|cluster| cluster.set_tls(A, tls));
    let rule = (broker.to_string().parse().expect("legal"), mapped.parse().expect("legal"));
    let map = AddressMap::new().with_rule(rule.0, rule.1);
    let settings = || rocketmq_driver::Config::builder(&by_name).send_timeout(2 * PROMPT);
    // Mapped: what is dialed counts, and not what the broker announces.
    let client = start(on, settings().address_map(map), trusting(&authority));
    fence(on, &of(&client)).await;
    let client = start(on, settings().send_timeout(TIMEOUT), trusting(&authority));
    let producer = of(&client);
    let wrong = dial(TlsFailure::WrongName);
    let start = on.now();
    loop {
        let result = promptly(on, "the send", producer.send(message("secret"))).await;
        let error = result.expect_err("the broker's address is not in its certificate");
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        if error.attempts().iter().any(|attempt| attempt.failure == wrong) {
            break;
        }
        assert!(on.since(start) < PROMPT, "{error}");
    }
    assert_eq!(bodies(&cluster), ["fence"]);
    let asked = cluster.with(|cluster| cluster.tls_handshakes()[0].server_name.clone());
    assert_eq!(asked.as_deref(), Some(host));
}

/// Nobody whom the client trusts has issued the certificate.
pub async fn a_server_of_an_unknown_authority_is_refused<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    enforce(&cluster, ServerTls::new(&issued(&Authority::new("another"), &cluster, GOOD)));
    refused(on, &cluster, trusting(&authority()), dial(TlsFailure::UnknownIssuer)).await;
}

/// Before and after its time.
pub async fn a_certificate_out_of_its_time_is_refused<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    for (dates, failure) in [(EXPIRED, TlsFailure::Expired), (NOT_YET, TlsFailure::NotValidYet)] {
        enforce(&cluster, ServerTls::new(&issued(&authority, &cluster, dates)));
        refused(on, &cluster, trusting(&authority), dial(failure)).await;
    }
}

/// With TLS 1.3 the server's refusal comes behind the client's first request, which was not read.
pub async fn a_certificate_of_the_client_is_shown_when_demanded<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let server = issued(&authority, &cluster, GOOD);
    let known = authority.issue(&["client.example"], GOOD);
    let stranger = Authority::new("another").issue(&["client.example"], GOOD);
    let versions = [
        ServerTls::with_client_authority(&server, &authority),
        ServerTls::tls12_with_client_authority(&server, &authority),
    ];
    for (index, tls) in versions.into_iter().enumerate() {
        enforce(&cluster, tls);
        let late = |failure| match index {
            0 => AttemptFailure::Closed(CloseReason::Tls(failure)),
            _ => dial(failure),
        };
        let required = late(TlsFailure::ClientCertificateRequired);
        let before = cluster.with(|cluster| cluster.frames().len());
        if before == 0 {
            refused(on, &cluster, trusting(&authority), required).await;
            let unknown =
                trusting(&authority).client_certificate_pem(&stranger.certificate, &stranger.key);
            // unknown_ca
            let failure = late(TlsFailure::ClientCertificateRefused(48));
            refused(on, &cluster, unknown, failure).await;
        }
        let shown = trusting(&authority).client_certificate_pem(&known.certificate, &known.key);
        let client = start(on, config(&cluster), shown);
        fence(on, &of(&client)).await;
        cluster.with(|cluster| {
            assert!(cluster.tls_handshakes().iter().all(|it| it.client_certificate));
        });
        promptly(on, "the close", client.close(PROMPT)).await;
        cluster.with(|cluster| cluster.clear_frames());
    }
}

/// A broker turns the client away that the name server let in: what was written to it was not read.
pub async fn a_message_to_who_turns_the_client_away_was_not_sent<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let server = issued(&authority, &cluster, GOOD);
    enforce(&cluster, ServerTls::new(&server));
    let demanding = ServerTls::with_client_authority(&server, &authority);
    cluster.with(|cluster| cluster.set_tls(A, demanding));
    let settings = config(&cluster).send_timeout(TIMEOUT).retries_max(0);
    let client = start(on, settings, trusting(&authority));
    let producer = of(&client);
    let required = CloseReason::Tls(TlsFailure::ClientCertificateRequired);
    let start = on.now();
    loop {
        let result = promptly(on, "the send", producer.send(message("secret"))).await;
        let error = result.expect_err("the broker demands a certificate");
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        let failures = error.attempts().iter().map(|attempt| &attempt.failure);
        if failures.into_iter().any(|it| *it == AttemptFailure::Closed(required)) {
            break;
        }
        assert!(on.since(start) < PROMPT, "{error}");
    }
    assert_eq!(bodies(&cluster), [""; 0]);
}

/// RocketMQ's own: self-signed, for `localhost`, and of version 1 or without any names.
pub async fn any_certificate_is_accepted_if_that_is_said<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let version_one = Identity {
        certificate: include_str!("../../fixtures/x509v1.pem").to_owned(),
        key: include_str!("../../fixtures/x509v1.key.pem").to_owned(),
    };
    let expired = Authority::new("another").issue(&["localhost"], EXPIRED);
    for identity in [version_one.clone(), expired] {
        for tls in [ServerTls::new, ServerTls::tls12] {
            enforce(&cluster, tls(&identity));
            let insecure = TlsConfig::builder().dangerous_accept_any_certificate();
            let client = start(on, config(&cluster), insecure);
            fence(on, &of(&client)).await;
            promptly(on, "the close", client.close(PROMPT)).await;
        }
    }
    cluster.with(|cluster| cluster.clear_frames());
    enforce(&cluster, ServerTls::new(&version_one));
    refused(on, &cluster, trusting(&authority()), dial(TlsFailure::UnusableCertificate)).await;
}

/// A client without TLS is told what the silent close of its connection may mean.
pub async fn a_plain_client_is_told_that_a_server_may_demand_tls<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    enforce(&cluster, authority().server(&["localhost"]));
    let client = on.start(build(config(&cluster).send_timeout(TIMEOUT)));
    let wordless = AttemptFailure::Closed(CloseReason::Wordless);
    assert!(wordless.to_string().contains("may demand TLS"), "{wordless}");
    refuses(on, &cluster, &of(&client), wordless).await;
    let diagnosis = promptly(on, "the diagnosis", client.diagnose(None)).await.to_string();
    assert!(diagnosis.contains("TLS"), "{diagnosis}");
}

/// Nothing is ever said in plain text instead.
pub async fn a_server_without_tls_is_told_apart<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    // As before 4.2.0: the hello of TLS is a frame of an impossible length.
    refused(on, &cluster, trusting(&authority), dial(TlsFailure::HungUp)).await;
    let server = issued(&authority, &cluster, GOOD);
    let disabled = ServerTls::new(&server).mode(TlsMode::Disabled);
    cluster.with(|cluster| cluster.set_tls_everywhere(&disabled));
    refused(on, &cluster, trusting(&authority), dial(TlsFailure::HungUp)).await;
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0\x40", "\x15"] {
        let fault = TlsFault::Bytes(answer.into());
        enforce(&cluster, ServerTls::new(&server).fault(fault));
        let client = start(on, config(&cluster).send_timeout(TIMEOUT), trusting(&authority));
        if answer.len() > 1 {
            refuses(on, &cluster, &of(&client), dial(TlsFailure::NotTls)).await;
        } else {
            // The begin of an alert, of which nothing more comes.
            let error = of(&client).send(message("secret")).await.expect_err("no handshake");
            assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        }
    }
}

/// Wherever the server's part of the handshake ends.
pub async fn a_handshake_that_is_cut_short_fails_the_dial<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let server = issued(&authority, &cluster, GOOD);
    for length in [1, 5, 60, 127, 400] {
        let fault = TlsFault::CutAfter(length);
        enforce(&cluster, ServerTls::new(&server).fault(fault));
        refused(on, &cluster, trusting(&authority), dial(TlsFailure::CutShort)).await;
    }
}

/// A broker that accepts connections and never answers the handshake costs a dial, no message.
pub async fn a_server_that_never_answers_the_handshake_is_left<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let authority = authority();
    let server = ServerTls::new(&issued(&authority, &cluster, GOOD));
    enforce(&cluster, server.clone());
    cluster.with(|cluster| cluster.set_tls(A, server.fault(TlsFault::Silent)));
    let client = start(on, config(&cluster).connect_timeout(TIMEOUT), trusting(&authority));
    let producer = of(&client);
    for number in 0..4 {
        let sent = promptly(on, "a send", producer.send(message(number))).await.expect("sent");
        assert_eq!(&*sent.broker_name, "broker-b");
        stored_once(&cluster, &sent);
    }
}

/// More than fits into any buffer, both ways, and thousands at once.
pub async fn large_and_many_messages_are_encrypted<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    enforce(&cluster, ServerTls::new(&issued(&authority, &cluster, GOOD)));
    let client = start(on, config(&cluster), trusting(&authority));
    let producer = of(&client);
    for length in [0x4000 - 1, 0x4000, 0x4000 + 1, 1 << 20, (4 << 20) - 1] {
        let body = noise(length, length);
        let message = Message::new(TOPIC, body.clone());
        let sent = promptly(on, "a send", producer.send(message)).await.expect("sent");
        assert_eq!(stored_once(&cluster, &sent).body, body);
    }
    let mut pending = Vec::new();
    for number in 0..2_000 {
        pending.push(promptly(on, "room", producer.submit(message(number))).await.expect("room"));
    }
    for sent in promptly(on, "all", all(pending)).await {
        sent.expect("sent");
    }
    let mut numbers: Vec<u32> = bodies_that_are_numbers(&cluster).into_iter().collect::<Vec<_>>();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
}

fn bodies_that_are_numbers(cluster: &impl Servers) -> Vec<u32> {
    let stored = cluster.with(|cluster| cluster.stored(TOPIC));
    let text = stored.iter().filter_map(|stored| std::str::from_utf8(&stored.body).ok());
    text.filter_map(|text| text.parse().ok()).collect()
}

/// What the first handshake has proved spares the second one its certificates.
pub async fn the_second_connection_resumes_the_first<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let server = issued(&authority, &cluster, GOOD);
    for tls in [ServerTls::new, ServerTls::tls12] {
        enforce(&cluster, tls(&server));
        let client = start(on, config(&cluster), trusting(&authority));
        let producer = of(&client);
        fence(on, &producer).await;
        cluster.with(|cluster| cluster.reset_connections(A));
        until(on, "a connection is made anew", || {
            cluster.with(|cluster| cluster.connections(A).is_empty())
        })
        .await;
        fence(on, &producer).await;
        let met = cluster.with(|cluster| cluster.tls_handshakes().to_vec());
        let with_broker: Vec<bool> =
            met.iter().filter(|it| it.node == A).map(|it| it.resumed).collect();
        assert!(with_broker.ends_with(&[false, true]), "{with_broker:?}");
        promptly(on, "the close", client.close(PROMPT)).await;
    }
}

/// New settings are for connections from then on; the open ones serve on.
pub async fn tls_settings_are_replaced_while_the_client_runs<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (old, new) = (authority(), Authority::new("the new one"));
    enforce(&cluster, ServerTls::new(&issued(&old, &cluster, GOOD)));
    let client = start(on, config(&cluster), trusting(&old));
    let producer = of(&client);
    fence(on, &producer).await;
    // The servers' certificates are renewed first; nobody who is connected notices.
    enforce(&cluster, ServerTls::new(&issued(&new, &cluster, GOOD)));
    client.set_tls(built(trusting(&new)));
    fence(on, &producer).await;
    let before = cluster.with(|cluster| cluster.tls_handshakes().len());
    cluster.with(|cluster| cluster.reset_connections(A));
    fence(on, &producer).await;
    let met = cluster.with(|cluster| cluster.tls_handshakes()[before..].to_vec());
    assert!(met.iter().any(|it| it.node == A && !it.resumed), "{met:?}");
    assert_eq!(cluster.with(|cluster| cluster.tls_turned_away()), 0);
}

/// A client that began without TLS can be told to begin with it, and never the other way round.
pub async fn tls_is_turned_on_while_the_client_runs<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let authority = authority();
    let server = ServerTls::new(&issued(&authority, &cluster, GOOD));
    cluster.with(|cluster| cluster.set_tls_everywhere(&server));
    let client = on.start(build(config(&cluster)));
    let producer = of(&client);
    fence(on, &producer).await;
    assert_eq!(cluster.with(|cluster| cluster.tls_handshakes().len()), 0);
    client.set_tls(built(trusting(&authority)));
    enforce(&cluster, server);
    cluster.with(|cluster| {
        cluster.nodes().into_iter().for_each(|node| cluster.reset_connections(node));
    });
    fence(on, &producer).await;
    let nodes: Vec<Node> =
        cluster.with(|cluster| cluster.tls_handshakes().iter().map(|it| it.node).collect());
    assert!(nodes.contains(&A), "{nodes:?}");
}

/// A diagnosis says with whom the client speaks TLS, and what to do about who cannot be trusted.
pub async fn a_diagnosis_looks_at_tls<H: Harness>(on: &H) {
    let cluster = cluster_with(on, ClusterConfig::new());
    let authority = authority();
    let server = issued(&authority, &cluster, GOOD);
    enforce(&cluster, ServerTls::new(&server));
    let client = start(on, config(&cluster), trusting(&authority));
    let sound = promptly(on, "the diagnosis", client.diagnose(Some(TOPIC))).await.to_string();
    assert!(sound.contains("the given authorities are trusted"), "{sound}");
    assert_eq!(sound.matches("TLS 1.3").count(), 2, "{sound}");
    let insecure = TlsConfig::builder().dangerous_accept_any_certificate();
    let client = start(on, config(&cluster), insecure);
    let insecure = promptly(on, "the diagnosis", client.diagnose(Some(TOPIC))).await.to_string();
    assert!(insecure.contains("warning  client: TLS: NOBODY IS VERIFIED"), "{insecure}");
    let client = start(on, config(&cluster), trusting(&Authority::new("another")));
    let refused = promptly(on, "the diagnosis", client.diagnose(Some(TOPIC))).await.to_string();
    assert!(refused.contains("problem  name server"), "{refused}");
    assert!(refused.contains("of no authority that is trusted here"), "{refused}");
}
