//! `--tls` and what goes with it, against servers that take nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::tls::{Authority, GOOD, Identity, ServerTls, TlsMode};

use crate::common::{RUNTIMES, TOPIC, cluster, rmq, rmq_send, run};

/// Files of one test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).expect("a folder");
        Files(folder)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn server(authority: &Authority) -> Identity {
    authority.issue(&["127.0.0.1"], GOOD)
}

fn enforce(cluster: &LoopbackCluster, tls: ServerTls) {
    cluster.with(|cluster| cluster.set_tls_everywhere(&tls.mode(TlsMode::Enforcing)));
}

#[test]
fn every_runtime_sends_over_tls() {
    let files = Files::new("every_runtime_sends_over_tls");
    let (cluster, authority) = (cluster(), Authority::new("cli"));
    enforce(&cluster, ServerTls::with_client_authority(&server(&authority), &authority));
    let client = authority.issue(&["client"], GOOD);
    let ca = files.write("ca.pem", authority.pem());
    let (cert, key) =
        (files.write("client.pem", &client.certificate), files.write("client.key", &client.key));
    let tls = ["--tls", "--ca", &ca, "--cert", &cert, "--key", &key];
    for runtime in RUNTIMES {
        let send = [&tls[..], &["--json", "--body", "hello", "--runtime", runtime]].concat();
        let done = run(rmq_send(&cluster, &send));
        assert_eq!(done.status, Some(0), "{done:?}");
        assert_eq!(done.line()["outcome"], "acknowledged");
        let names = cluster.name_server_addresses();
        let ask = ["diagnose", TOPIC, "-n", &names, "--runtime", runtime];
        let done = run(rmq(&[&ask[..], &tls].concat()));
        assert_eq!(done.status, Some(0), "{done:?}");
        assert_eq!(done.stdout.matches("answered over TLS 1.3").count(), 3, "{done:?}");
        assert!(done.stdout.contains("TLS: the given authorities are trusted"), "{done:?}");
    }
    let stored = cluster.with(|cluster| cluster.stored(TOPIC).len());
    assert_eq!(stored, RUNTIMES.len());
    let shown = cluster.with(|cluster| {
        cluster.tls_handshakes().iter().all(|handshake| handshake.client_certificate)
    });
    assert!(shown);
}

#[test]
fn the_insecure_mode_warns_and_the_server_name_counts() {
    let files = Files::new("the_insecure_mode_warns_and_the_server_name_counts");
    let (cluster, authority) = (cluster(), Authority::new("cli"));
    enforce(&cluster, authority.server(&["elsewhere.example"]));
    let ca = files.write("ca.pem", authority.pem());
    let done = run(rmq_send(&cluster, &["--body=x", "--tls", "--tls-insecure"]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stderr.contains("warning: no server is verified"), "{done:?}");
    let named = ["--body=x", "--tls", "--ca", &ca, "--server-name", "elsewhere.example"];
    let done = run(rmq_send(&cluster, &named));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(!done.stderr.contains("warning"), "{done:?}");
    let wrong = ["--body=x", "--tls", "--ca", &ca, "--timeout=500"];
    let done = run(rmq_send(&cluster, &wrong));
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("certificate is not for this host"), "{done:?}");
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 2);
}

#[test]
fn options_of_tls_need_each_other_and_files_that_are_there() {
    let files = Files::new("options_of_tls_need_each_other");
    let ca = files.write("ca.pem", Authority::new("cli").pem());
    let junk = files.write("junk.pem", "no certificate");
    let cases: [(&[&str], &str); 8] = [
        (&["--ca", &ca], "--tls"),
        (&["--tls-insecure"], "--tls"),
        (&["--server-name", "a"], "--tls"),
        (&["--tls", "--cert", &ca], "--key"),
        (&["--tls", "--tls-insecure", "--ca", &ca], "--tls-insecure"),
        (&["--tls", "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem cannot be read"),
        (&["--tls", "--ca", &junk], "there is no certificate in it"),
        (&["--tls", "--ca", &ca, "--server-name", "a:1"], "\"a:1\" is no server name"),
    ];
    for (extra, says) in cases {
        let send = [&["send", "-n", "127.0.0.1:1", "-t", TOPIC, "--body=x"], extra].concat();
        let ask = [&["route", TOPIC, "-n", "127.0.0.1:1"], extra].concat();
        for command in [send, ask] {
            let done = run(rmq(&command));
            assert_eq!(done.status, Some(2), "{extra:?} {done:?}");
            assert!(done.stderr.contains(says), "{extra:?} {done:?}");
        }
    }
}

#[test]
fn a_diagnosis_tells_what_keeps_a_client_out() {
    let files = Files::new("a_diagnosis_tells_what_keeps_a_client_out");
    let (cluster, authority) = (cluster(), Authority::new("cli"));
    enforce(&cluster, ServerTls::new(&server(&authority)));
    let other = files.write("other.pem", Authority::new("another").pem());
    let names = cluster.name_server_addresses();
    let cases: [(&[&str], &str); 2] = [
        (&[], "it may demand TLS"),
        (&["--tls", "--ca", &other], "of no authority that is trusted here"),
    ];
    for (extra, says) in cases {
        let done = run(rmq(&[&["diagnose", "-n", &names], extra].concat()));
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stdout.contains(says), "{done:?}");
        assert!(done.stdout.contains("to do:"), "{done:?}");
    }
    assert!(cluster.with(|cluster| cluster.frames().is_empty()), "a server was asked something");
}
