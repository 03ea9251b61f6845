//! `--socks5`: every command goes through the proxy, and nothing shows its password.

use rocketmq_testkit::SocksProxy;

use crate::common::{RUNTIMES, TOPIC, cluster, rmq, rmq_send, run};

const SECRET: &str = "s3cret";

fn proxy() -> SocksProxy {
    let proxy = SocksProxy::start().expect("a port");
    proxy.with(|proxy| proxy.demand("user", SECRET));
    proxy
}

#[test]
fn every_runtime_goes_through_the_proxy() {
    let (cluster, proxy) = (cluster(), proxy());
    let through = format!("user:{SECRET}@{}", proxy.address());
    let names = cluster.name_server_addresses();
    for runtime in RUNTIMES {
        let before = proxy.with(|proxy| proxy.seen().len());
        let send = ["--body=x", "--socks5", &through, "--runtime", runtime];
        let done = run(rmq_send(&cluster, &send));
        assert_eq!(done.status, Some(0), "{done:?}");
        let mut command = rmq(&["diagnose", TOPIC, "-n", &names, "--runtime", runtime]);
        command.env("RMQ_SOCKS5", &through);
        let done = run(command);
        assert_eq!(done.status, Some(0), "{done:?}");
        let named = format!("through the SOCKS5 proxy at {}", proxy.address());
        assert!(done.stdout.contains(&named), "{done:?}");
        let after = proxy.with(|proxy| proxy.seen().len());
        assert!(after >= before + 4, "{before} {after}");
    }
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), RUNTIMES.len());
}

#[test]
fn what_is_wrong_with_a_proxy_is_told_without_its_password() {
    let (cluster, proxy) = (cluster(), proxy());
    let names = cluster.name_server_addresses();
    let refused = format!("user:{SECRET}x@{}", proxy.address());
    let cases = [
        (refused, 1, "the proxy refused user and password"),
        (format!("user:{SECRET}"), 2, "--socks5: the proxy's address cannot be read"),
        (format!("user:{SECRET}@host"), 2, "--socks5: the proxy's address cannot be read"),
        (format!(":{SECRET}@host:1"), 2, "--socks5: user and password of a proxy"),
    ];
    for (through, status, says) in cases {
        for environment in [false, true] {
            let arguments = ["diagnose", "-n", &names, "--timeout=500", "--socks5", &through];
            let mut command = rmq(&arguments[..if environment { 4 } else { 6 }]);
            if environment {
                command.env("RMQ_SOCKS5", &through);
            }
            let done = run(command);
            assert_eq!(done.status, Some(status), "{done:?}");
            assert!(format!("{}{}", done.stdout, done.stderr).contains(says), "{done:?}");
            assert!(!format!("{done:?}").contains(SECRET), "{done:?}");
        }
    }
    let mut help = rmq(&["send", "--help"]);
    help.env("RMQ_SOCKS5", SECRET);
    let help = run(help);
    assert!(help.stdout.contains("--socks5") && !help.stdout.contains(SECRET), "{help:?}");
}
