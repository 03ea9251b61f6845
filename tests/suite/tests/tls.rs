//! TLS against peers that are not servers at all, on real sockets: that no plain byte leaves, and
//! that nothing a peer sends makes the client hang, grow or panic.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::network::Cut;
use rocketmq_testkit::tls::{Authority, GOOD};
use rocketmq_testkit::{LoopbackCluster, Sim, SimHandle};
use rocketmq_tokio::{
    AttemptFailure, ClientOptions, CloseReason, Config, ConnectFailure, Delivery, Message,
    SendError, TlsConfig, TlsConfigBuilder, TlsConfigError,
};

/// A peer, and what it has heard.
struct Peer {
    address: SocketAddr,
    /// Of each connection, in the order in which they came.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Bytes that connections took from it.
    sent: Arc<Mutex<u64>>,
}

impl Peer {
    /// Answers the first bytes of each connection with `answer`, so often, and reads on.
    fn start(answer: Vec<u8>, times: usize) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heard, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (all, count) = (Arc::clone(&heard), Arc::clone(&sent));
        // Ends with the process: nobody can wake it out of accept.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, count, answer) = (Arc::clone(&all), Arc::clone(&count), answer.clone());
                thread::spawn(move || serve(stream, &all, &count, &answer, times));
            }
        });
        Peer { address, heard, sent }
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Vec<u8>>>,
    count: &Mutex<u64>,
    answer: &[u8],
    times: usize,
) {
    let mut buffer = vec![0; 64 * 1024];
    let number = {
        let mut all = all.lock().expect("nobody panics with it");
        all.push(Vec::new());
        all.len() - 1
    };
    let note = |bytes: &[u8]| {
        all.lock().expect("nobody panics with it")[number].extend_from_slice(bytes);
    };
    match stream.read(&mut buffer) {
        Ok(length) if length > 0 => note(&buffer[..length]),
        _ => return,
    }
    for _ in 0..times {
        if stream.write_all(answer).is_err() {
            break;
        }
        *count.lock().expect("nobody panics with it") += answer.len() as u64;
    }
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        note(&buffer[..length]);
    }
}

const BROKER: Node = Node::Broker(0);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The error of one send to a cluster behind `peer`.
fn send(peer: &Peer) -> SendError {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let config = Config::builder(&peer.address.to_string())
            .send_timeout(Duration::from_millis(600))
            .connect_timeout(CONNECT_TIMEOUT);
        let authority = Authority::new("trusted");
        let tls = TlsConfig::builder().roots_pem(authority.pem()).build().expect("legal");
        let options = ClientOptions::new(config.build().expect("legal")).with_tls(tls);
        let client = rocketmq_tokio::start(options).expect("inside of a runtime");
        let producer = client.producer("Plaintext-group").expect("legal");
        let error = producer.send(Message::new("Plaintext-topic", "Plaintext-body")).await;
        client.close(Duration::from_millis(100)).await;
        error.expect_err("nobody is there to store it")
    })
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a record's length").to_be_bytes();
    [&[kind, 3, 3], &length[..], body].concat()
}

/// What peers say in place of a handshake.
fn answers() -> Vec<(&'static str, Vec<u8>, usize)> {
    let large = vec![0; 16 * 1024];
    let hello = |length: u32| {
        let length = length.to_be_bytes();
        record(0x16, &[&[2], &length[1..], &large[..1024]].concat())
    };
    vec![
        ("nothing", Vec::new(), 0),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1),
        ("a frame of RocketMQ", b"\0\0\0\x17\0\0\0\x13{\"code\":0,\"opaque\":0}".to_vec(), 1),
        ("zeros for ever", vec![0; 4_096], usize::MAX),
        ("the letters of HTTP for ever", b"HTTP/1.1 200 OK\r\n".repeat(256), usize::MAX),
        ("records that are too long", [&[0x16, 3, 3, 0xff, 0xff], &large[..]].concat(), 100_000),
        ("empty records for ever", record(0x16, &[]), usize::MAX),
        ("changes of the cipher for ever", record(0x14, &[1]), usize::MAX),
        ("warnings for ever", record(0x15, &[1, 0]), usize::MAX),
        ("a hello that is never whole", hello(0x00ff_ffff), usize::MAX),
        ("a hello of zeros", hello(1_020), 1),
        ("a fatal alert", record(0x15, &[2, 40]), 1),
        ("application data", record(0x17, &large), usize::MAX),
        ("one byte of a record", vec![0x16], 1),
    ]
}

#[test]
fn no_plain_byte_leaves_whatever_the_server_answers() {
    let cases: Vec<_> = answers()
        .into_iter()
        .map(|(what, answer, times)| {
            thread::spawn(move || {
                let peer = Peer::start(answer, times);
                let start = Instant::now();
                let error = send(&peer);
                assert!(start.elapsed() < CONNECT_TIMEOUT + Duration::from_secs(5), "{what}");
                (what, times, peer, error)
            })
        })
        .collect();
    for case in cases {
        let (what, times, peer, error) = case.join().expect("no panic");
        assert_eq!(error.delivery(), Delivery::NotSent, "{what}: {error}");
        if times > 0 && what != "one byte of a record" {
            let failures = error.name_servers().iter().map(|server| &server.failure);
            let tls = |failure: &AttemptFailure| {
                matches!(failure, AttemptFailure::Connect(ConnectFailure::Tls(_)))
            };
            assert!(failures.into_iter().any(tls), "{what}: {error}");
        }
        let heard = peer.heard.lock().expect("nobody panics with it");
        assert!(!heard.is_empty(), "{what}");
        for bytes in heard.iter() {
            // A handshake, or the alert that ends it.
            assert!(matches!(bytes.first(), None | Some(0x16)), "{what}: {bytes:?}");
            let plain = bytes.windows(9).any(|window| window == b"Plaintext");
            let frame = bytes.windows(6).any(|window| window == b"\"code\"");
            assert!(!plain && !frame, "{what}: {bytes:?}");
        }
        // What the sockets of both sides hold is taken from it all the same.
        let sent = *peer.sent.lock().expect("nobody panics with it");
        let most = 8 * 1024 * 1024 * heard.len() as u64;
        assert!(sent < most, "{what}: {sent} bytes over {} connections", heard.len());
    }
}

/// Settings that cannot work are refused when they are built, each with what is wrong.
#[test]
fn tls_settings_that_cannot_work_are_named() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    let (mine, theirs) = (authority.issue(&["a"], GOOD), other.issue(&["a"], GOOD));
    let refused = |tls: TlsConfigBuilder| tls.build().expect_err("it cannot work");
    let new = TlsConfig::builder;
    for junk in ["", "no certificate", &mine.key] {
        let error = refused(new().roots_pem(junk));
        assert!(matches!(error, TlsConfigError::Roots(_)), "{error}");
        let error = refused(new().client_certificate_pem(junk, &mine.key));
        assert!(matches!(error, TlsConfigError::ClientCertificate(_)), "{error}");
    }
    let broken = mine.certificate.replace("-----END", "-----");
    assert!(matches!(refused(new().roots_pem(broken)), TlsConfigError::Roots(_)));
    for (certificate, key) in [
        (&mine.certificate, &theirs.key),
        (&mine.certificate, &mine.certificate),
        (&mine.certificate, &String::new()),
    ] {
        let error = refused(new().client_certificate_pem(certificate, key));
        assert!(matches!(error, TlsConfigError::ClientCertificate(_)), "{error}");
    }
    for kind in ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"] {
        let error = refused(new().client_certificate_pem(&mine.certificate, kind));
        assert_eq!(error, TlsConfigError::EncryptedKey);
        assert!(error.to_string().contains("openssl pkey"), "{error}");
    }
    let trusting = || new().roots_pem(authority.pem());
    let error = refused(trusting().dangerous_accept_any_certificate());
    assert_eq!(error, TlsConfigError::RootsWithoutUse);
    for name in ["", "a:1", "a b", "http://a"] {
        let error = refused(trusting().server_name(name));
        assert_eq!(error, TlsConfigError::ServerName(name.to_owned()));
    }
}

/// What people log shows who is trusted, and no key.
#[test]
fn tls_settings_show_nothing_secret() {
    let authority = Authority::new("one");
    let mine = authority.issue(&["a"], GOOD);
    let tls = TlsConfig::builder()
        .roots_pem(authority.pem())
        .client_certificate_pem(&mine.certificate, &mine.key);
    let (builder, tls) = (format!("{tls:?}"), tls.build().expect("legal"));
    assert_eq!(builder, "TlsConfigBuilder { .. }");
    let secret: Vec<&str> = mine.key.lines().filter(|line| !line.starts_with('-')).collect();
    let insecure = TlsConfig::builder().dangerous_accept_any_certificate().build();
    let insecure = insecure.expect("legal");
    assert!(insecure.accepts_any_certificate() && !tls.accepts_any_certificate());
    let config = Config::builder("127.0.0.1:1").build().expect("legal");
    let options = ClientOptions::new(config).with_tls(tls.clone());
    for text in [builder, format!("{tls:?}"), format!("{options:?}"), format!("{insecure:?}")] {
        assert!(secret.iter().all(|line| !text.contains(line)), "{text}");
        assert!(text.contains("TlsConfig"), "{text}");
    }
    assert!(format!("{insecure:?}").contains("Anybody"), "{insecure:?}");
    assert!(format!("{tls:?}").contains("client_certificate: true"), "{tls:?}");
}

/// Whom the machine trusts does not include the authority of a test.
#[test]
fn the_platforms_authorities_are_the_default() {
    // A machine without any says so when the settings are built.
    let Ok(tls) = TlsConfig::new() else {
        println!("not run: this machine trusts no authority");
        return;
    };
    assert!(format!("{tls:?}").contains("Platform"), "{tls:?}");
    let cluster = LoopbackCluster::start(ClusterConfig::new().topic("Orders", 4));
    let cluster = cluster.expect("loopback sockets");
    let authority = Authority::new("one");
    cluster.with(|cluster| cluster.set_tls_everywhere(&authority.server(&["127.0.0.1"])));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let start = async |tls: TlsConfig| {
            let config = Config::builder(&cluster.name_server_addresses());
            let config = config.send_timeout(Duration::from_secs(2)).build().expect("legal");
            let client = rocketmq_tokio::start(ClientOptions::new(config).with_tls(tls));
            let producer = client.expect("a runtime").producer("orders").expect("legal");
            producer.send(Message::new("Orders", "hello")).await
        };
        let error = start(tls).await.expect_err("nobody here trusts the test's authority");
        assert!(error.to_string().contains("of no authority that is trusted"), "{error}");
        let both = TlsConfig::builder().roots_pem(authority.pem()).with_platform_roots();
        start(both.build().expect("legal")).await.expect("with its authority it is trusted");
    });
}

/// An end that TLS has not announced may have been made by somebody in between.
#[test]
fn an_end_without_good_bye_is_told_from_an_orderly_one() {
    let authority = Authority::new("one");
    let tls = TlsConfig::builder().roots_pem(authority.pem()).server_name("cluster.test");
    let tls = tls.build().expect("legal");
    let failure = |break_it: fn(&SimHandle)| {
        let mut sim = Sim::new(1, ClusterConfig::new().topic("Orders", 4));
        let server = authority.server(&["cluster.test"]);
        sim.run(async |cx| {
            cx.with(|cluster| cluster.set_tls_everywhere(&server));
            let config = cx.config().retries_max(0).build().expect("legal");
            let client = cx.start(ClientOptions::new(config).with_tls(tls.clone()));
            let producer = client.producer("orders").expect("legal");
            producer.send(Message::new("Orders", "hello")).await.expect("sent");
            break_it(&cx);
            let error = producer.send(Message::new("Orders", "lost")).await.expect_err("cut");
            assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
            error.attempts()[0].failure.clone()
        })
    };
    let closed = failure(|cx| {
        let fault = Fault::silent_after_storing().then_close();
        cx.with(|cluster| cluster.script(BROKER, Rule::sends().always(), fault));
    });
    assert_eq!(closed, AttemptFailure::Closed(CloseReason::Eof));
    let cut = failure(|cx| cx.with_network(|network| network.cut_incoming(BROKER, 5, Cut::Fin)));
    assert_eq!(cut, AttemptFailure::Closed(CloseReason::Reset));
    let spoilt = failure(|cx| cx.with_network(|network| network.corrupt(BROKER, 200_000)));
    // What is left of the server's alert may be less than a record.
    let broken = matches!(
        spoilt,
        AttemptFailure::Closed(CloseReason::Tls(_) | CloseReason::Eof | CloseReason::Reset)
    );
    assert!(broken, "{spoilt:?}");
}
