//! Connections through a SOCKS5 proxy, on every runtime with sockets.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use rocketmq_driver::{
    Address, AddressMap, AttemptFailure, Client, ClientOptions, Config, ConfigBuilder,
    ConnectFailure, Delivery, Message, ProxyFailure, SendError, SendReceipt, Socks5, Socks5Error,
    TlsConfig,
};
use rocketmq_testkit::cluster::{ClusterConfig, Node};
use rocketmq_testkit::loopback::ProxyFault;
use rocketmq_testkit::tls::{Authority, TlsMode};
use rocketmq_testkit::{LoopbackCluster, SocksProxy};

const TOPIC: &str = "Orders";

#[derive(Clone, Copy, Debug)]
enum Runtime {
    Tokio,
    Smol,
    AsyncStd,
}

const RUNTIMES: [Runtime; 3] = [Runtime::Tokio, Runtime::Smol, Runtime::AsyncStd];

impl Runtime {
    /// Runs `work` with a client.
    fn run<T>(self, options: ClientOptions, work: impl AsyncFnOnce(Client) -> T) -> T {
        match self {
            Runtime::Tokio => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    work(rocketmq_tokio::start(options).expect("inside of a runtime")).await
                })
            }
            Runtime::Smol => smol::block_on(async { work(rocketmq_smol::start(options)).await }),
            Runtime::AsyncStd => {
                async_std::task::block_on(async { work(rocketmq_async_std::start(options)).await })
            }
        }
    }

    /// Sends one message.
    fn send(self, options: ClientOptions) -> Result<SendReceipt, SendError> {
        self.run(options, async |client| {
            let producer = client.producer("orders").expect("legal");
            let sent = producer.send(Message::new(TOPIC, "hello")).await;
            client.close(Duration::from_secs(1)).await;
            sent
        })
    }
}

fn cluster() -> LoopbackCluster {
    let cluster = LoopbackCluster::start(ClusterConfig::new().topic(TOPIC, 4));
    cluster.expect("loopback sockets")
}

fn through(proxy: &SocksProxy) -> Socks5 {
    Socks5::new(proxy.address().to_string().parse().expect("an address"))
}

fn options(config: ConfigBuilder, proxy: Socks5) -> ClientOptions {
    ClientOptions::new(config.build().expect("legal")).with_socks5(proxy)
}

/// Everything is reached through the proxy, by addresses in figures and by names that nobody else
/// knows.
#[test]
fn all_connections_go_through_the_proxy() {
    for runtime in RUNTIMES {
        let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
        proxy.with(|proxy| {
            proxy.alias("names.invalid", [127, 0, 0, 1].into());
            proxy.alias("broker.invalid", [127, 0, 0, 1].into());
            proxy.send_piecemeal();
        });
        let [names, broker] =
            [Node::NameServer(0), Node::Broker(0)].map(|node| cluster.address(node));
        let named: Address = format!("broker.invalid:{}", broker.port()).parse().expect("legal");
        let map = AddressMap::new().with_rule(broker.to_string().parse().expect("legal"), named);
        let by_name = Config::builder(&format!("names.invalid:{}", names.port())).address_map(map);
        runtime.send(options(by_name, through(&proxy))).expect("sent");
        let by_address = Config::builder(&names.to_string());
        runtime.send(options(by_address, through(&proxy))).expect("sent");
        assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 2);
        let targets: Vec<String> =
            proxy.with(|proxy| proxy.seen().iter().map(|seen| seen.target.clone()).collect());
        let expected = [
            format!("names.invalid:{}", names.port()),
            format!("broker.invalid:{}", broker.port()),
            names.to_string(),
            broker.to_string(),
        ];
        assert_eq!(targets, expected, "{runtime:?}");
    }
}

/// The proxy hears user and password when it asks for them, and only then.
#[test]
fn the_proxy_is_told_user_and_password_if_it_asks() {
    for runtime in RUNTIMES {
        let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
        let config = || Config::builder(&cluster.name_server_addresses());
        let known = through(&proxy).with_credentials("user", "p@ss:word").expect("legal");
        runtime.send(options(config(), known.clone())).expect("sent");
        assert!(proxy.with(|proxy| proxy.seen().iter().all(|seen| seen.credentials.is_none())));
        proxy.with(|proxy| proxy.demand("user", "p@ss:word"));
        let before = proxy.with(|proxy| proxy.seen().len());
        runtime.send(options(config(), known)).expect("sent");
        let told = Some(("user".to_owned(), "p@ss:word".to_owned()));
        let seen = proxy.with(|proxy| proxy.seen()[before..].to_vec());
        assert!(seen.len() > 1 && seen.iter().all(|seen| seen.credentials == told), "{seen:?}");
        let wrong = through(&proxy).with_credentials("user", "wrong").expect("legal");
        fails(runtime, config(), wrong, ProxyFailure::CredentialsRefused);
        fails(runtime, config(), through(&proxy), ProxyFailure::CredentialsRequired);
        assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 2);
    }
}

/// TLS is spoken with the servers, and the proxy sees none of it.
#[test]
fn tls_goes_through_the_proxy() {
    for runtime in RUNTIMES {
        let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
        let authority = Authority::new("socks");
        let server = authority.server(&["names.invalid", "127.0.0.1"]).mode(TlsMode::Enforcing);
        cluster.with(|cluster| cluster.set_tls_everywhere(&server));
        proxy.with(|proxy| proxy.alias("names.invalid", [127, 0, 0, 1].into()));
        let port = cluster.address(Node::NameServer(0)).port();
        let config = Config::builder(&format!("names.invalid:{port}"));
        let tls = TlsConfig::builder().roots_pem(authority.pem()).build().expect("legal");
        runtime.send(options(config, through(&proxy)).with_tls(tls)).expect("sent");
        let met = cluster.with(|cluster| cluster.tls_handshakes().to_vec());
        assert_eq!(met[0].server_name.as_deref(), Some("names.invalid"), "{met:?}");
    }
}

/// The look-up of name servers by URL goes the same way.
#[test]
fn the_look_up_by_url_goes_through_the_proxy() {
    let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
    let names = cluster.name_server_addresses();
    cluster.with(|cluster| cluster.answer_lookups(&names));
    proxy.with(|proxy| proxy.alias("list.invalid", [127, 0, 0, 1].into()));
    let port = cluster.address(Node::NameServer(0)).port();
    let config = Config::builder("").name_server_url(&format!("http://list.invalid:{port}/list"));
    Runtime::Tokio.send(options(config, through(&proxy))).expect("sent");
    assert_eq!(cluster.with(|cluster| cluster.lookups().len()), 1);
    let first = proxy.with(|proxy| proxy.seen()[0].target.clone());
    assert_eq!(first, format!("list.invalid:{port}"));
}

#[track_caller]
fn fails(runtime: Runtime, config: ConfigBuilder, proxy: Socks5, expected: ProxyFailure) {
    let expected = AttemptFailure::Connect(ConnectFailure::Proxy(expected));
    let options = options(config.send_timeout(Duration::from_millis(400)), proxy);
    runtime.run(options, async |client| {
        let producer = client.producer("orders").expect("legal");
        let start = Instant::now();
        loop {
            let error = producer.send(Message::new(TOPIC, "lost")).await.expect_err("no way");
            assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
            if error.name_servers().iter().any(|server| server.failure == expected) {
                assert!(error.to_string().contains("SOCKS5: "), "{error}");
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{error}, and not {expected:?}");
        }
        client.close(Duration::from_millis(100)).await;
    });
}

/// Whatever a proxy answers that is not a connection has a failure of its own.
#[test]
fn every_answer_of_a_proxy_is_told_apart() {
    let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
    let names = cluster.name_server_addresses();
    let refuse = ProxyFault::Refuse;
    let greeting = |bytes: &[u8]| ProxyFault::Greeting(bytes.to_vec());
    let answer = |bytes: &[u8]| ProxyFault::Answer(bytes.to_vec());
    for (fault, expected) in [
        (refuse(1), ProxyFailure::Other(1)),
        (refuse(2), ProxyFailure::NotAllowed),
        (refuse(3), ProxyFailure::Unreachable),
        (refuse(4), ProxyFailure::Unreachable),
        (refuse(5), ProxyFailure::Refused),
        (refuse(6), ProxyFailure::Unreachable),
        (refuse(7), ProxyFailure::NotSupported),
        (refuse(8), ProxyFailure::NotSupported),
        (refuse(200), ProxyFailure::Other(200)),
        (greeting(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProxyFailure::NotSocks5),
        (greeting(&[4, 90]), ProxyFailure::NotSocks5),
        (greeting(&[5, 2]), ProxyFailure::CredentialsRequired),
        (greeting(&[5, 1]), ProxyFailure::CredentialsRequired),
        (greeting(&[5]), ProxyFailure::CutShort),
        (greeting(&[]), ProxyFailure::CutShort),
        (answer(&[5, 0, 0, 9, 0, 0]), ProxyFailure::NotSocks5),
        (answer(&[4, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ProxyFailure::NotSocks5),
        (answer(&[5, 0, 0, 1, 0, 0]), ProxyFailure::CutShort),
        (answer(&[5, 0, 0, 3, 255, 0]), ProxyFailure::CutShort),
        (answer(&[]), ProxyFailure::CutShort),
    ] {
        proxy.with(|proxy| proxy.set_fault(Some(fault.clone())));
        println!("{fault:?}");
        fails(Runtime::Tokio, Config::builder(&names), through(&proxy), expected);
    }
    // Nobody listens there.
    proxy.with(|proxy| proxy.set_fault(None));
    let dead = Config::builder("127.0.0.1:1");
    fails(Runtime::Tokio, dead, through(&proxy), ProxyFailure::Refused);
    let unknown = Config::builder("nobody.invalid:9876");
    fails(Runtime::Tokio, unknown, through(&proxy), ProxyFailure::Unreachable);
    let gone = Socks5::new("127.0.0.1:1".parse().expect("legal"));
    for runtime in RUNTIMES {
        fails(runtime, Config::builder(&names), gone.clone(), ProxyFailure::NotReached);
    }
    assert_eq!(cluster.with(|cluster| cluster.frames().len()), 0, "a server was asked something");
}

/// A proxy that says nothing costs the connect timeout, not more.
#[test]
fn a_silent_proxy_costs_the_connect_timeout() {
    let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
    proxy.with(|proxy| proxy.set_fault(Some(ProxyFault::Silent)));
    let config = Config::builder(&cluster.name_server_addresses())
        .connect_timeout(Duration::from_millis(200))
        .send_timeout(Duration::from_secs(1));
    for runtime in RUNTIMES {
        let error = runtime.send(options(config.clone(), through(&proxy))).expect_err("no way");
        let timed_out = AttemptFailure::Connect(ConnectFailure::TimedOut);
        let failures: Vec<_> = error.name_servers().iter().map(|it| it.failure.clone()).collect();
        assert_eq!(failures, [timed_out], "{error}");
    }
}

#[test]
fn a_diagnosis_names_the_proxy() {
    let (cluster, proxy) = (cluster(), SocksProxy::start().expect("a port"));
    let config = Config::builder(&cluster.name_server_addresses());
    let sound = Runtime::Tokio.run(options(config.clone(), through(&proxy)), async |client| {
        client.diagnose(Some(TOPIC)).await.to_string()
    });
    let named = format!("connects through the SOCKS5 proxy at {}", proxy.address());
    assert!(sound.contains(&named), "{sound}");
    proxy.with(|proxy| proxy.set_fault(Some(ProxyFault::Refuse(2))));
    let refused = Runtime::Tokio.run(options(config, through(&proxy)), async |client| {
        client.diagnose(Some(TOPIC)).await.to_string()
    });
    assert!(refused.contains("the proxy's rules do not allow"), "{refused}");
    assert!(refused.contains("check the proxy"), "{refused}");
}

#[test]
fn a_proxy_is_read_from_text_and_shows_no_password() {
    let read = |text: &str| text.parse::<Socks5>();
    let proxy = read("user:p@ss:word@proxy.example:1080").expect("legal");
    let same = Socks5::new("proxy.example:1080".parse().expect("legal"));
    assert_eq!(proxy, same.clone().with_credentials("user", "p@ss:word").expect("legal"));
    assert_eq!(read("proxy.example:1080"), Ok(same.clone()));
    assert_eq!(read("[::1]:1080").expect("legal").address().to_string(), "[::1]:1080");
    assert!(!format!("{proxy:?}").contains("p@ss"), "{proxy:?}");
    for (text, error) in [
        ("user:secret", Socks5Error::Address),
        ("user:secret@", Socks5Error::Address),
        ("user:secret@host", Socks5Error::Address),
        ("user@host:1", Socks5Error::Credentials),
        (":secret@host:1", Socks5Error::Credentials),
        ("user:@host:1", Socks5Error::Credentials),
    ] {
        let seen = read(text).expect_err(text);
        assert!(!seen.to_string().contains("secret"), "{seen}");
        assert_eq!(seen, error, "{text}");
    }
    let long = "x".repeat(256);
    assert_eq!(same.clone().with_credentials(&long, "a"), Err(Socks5Error::Credentials));
    assert!(same.with_credentials(&long[1..], &long[1..]).is_ok());
}
