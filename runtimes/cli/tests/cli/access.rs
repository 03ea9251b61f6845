//! Credentials on the command line, in the environment and in a file, and that none is ever shown.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{AccessControl, ClusterConfig};

use crate::common::{ACCESS, Done, TOPIC, rmq, rmq_send, run};

const KEY: &str = "orders-service";
const SECRET: &str = "hush~12345678";
const TOKEN: &str = "hush~pass~me";

/// One broker that lets one user send to one topic.
fn guarded() -> LoopbackCluster {
    let access = AccessControl::new().producer(KEY, SECRET, [TOPIC]).admin("root", SECRET);
    let config = ClusterConfig::new().topic(TOPIC, 4).topic("Closed", 1).access(access);
    LoopbackCluster::start(config).expect("loopback ports")
}

/// Runs to the end, and looks at every word.
fn quietly(command: Command) -> Done {
    let done = run(command);
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains("hush"), "{done:?}");
    }
    done
}

/// A file that is gone after the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("rmq-access-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("a file");
        File(path)
    }

    fn only_for_its_owner(self, only: bool) -> File {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if only { 0o600 } else { 0o644 };
            fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        self
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn credentials_come_from_options_the_environment_or_a_file() {
    let cluster = guarded();
    let tokens = || {
        let frames = cluster.with(|cluster| cluster.frames().to_vec());
        cluster.with(|cluster| cluster.clear_frames());
        frames.iter().filter(|frame| frame.ext.get("SecurityToken") == Some(TOKEN)).count()
    };
    let base = ["--body=x", "--json"];
    let options = ["--access-key", KEY, "--secret-key", SECRET, "--security-token", TOKEN];
    let done = quietly(rmq_send(&cluster, &[&base[..], &options].concat()));
    assert_eq!(done.line()["outcome"], "acknowledged", "{done:?}");
    assert!(tokens() >= 2);

    let mut command = rmq_send(&cluster, &base);
    command.env(ACCESS[0], KEY).env(ACCESS[1], SECRET).env(ACCESS[2], TOKEN);
    let done = quietly(command);
    assert_eq!(done.line()["outcome"], "acknowledged", "{done:?}");
    assert!(tokens() >= 2);

    let text = format!("# ours\nAccessKey={KEY}\n SecretKey = {SECRET} \r\nSecurityToken={TOKEN}");
    let file = File::new("keys", &text).only_for_its_owner(true);
    for by_option in [true, false] {
        let mut command = rmq_send(&cluster, &base);
        if by_option {
            command.args(["--credentials-file", file.path()]);
        } else {
            command.env(ACCESS[3], file.path());
            // Set to nothing is not set.
            command.env(ACCESS[0], "");
        }
        let done = quietly(command);
        assert_eq!(done.line()["outcome"], "acknowledged", "{done:?}");
        assert!(!done.stderr.contains("chmod"), "{done:?}");
        assert!(tokens() >= 2);
    }
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 4);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_is_warned_of() {
    let cluster = guarded();
    let text = format!("AccessKey={KEY}\nSecretKey={SECRET}\n");
    let file = File::new("open", &text).only_for_its_owner(false);
    let done = quietly(rmq_send(&cluster, &["--body=x", "--credentials-file", file.path()]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stderr.contains("chmod 600"), "{done:?}");
}

#[test]
fn every_command_that_asks_servers_takes_credentials() {
    let cluster = guarded();
    let names = cluster.name_server_addresses();
    let handle =
        "djEgT3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwNjAwMDEgN0YwMDAwMDEwMDAxMDAwMDAwMDAwMDAwMDAwMDAwMkE=";
    let before = cluster.with(|cluster| cluster.frames().len());
    assert_eq!(before, 0);
    for line in [
        &["route", TOPIC][..],
        &["topic", "create", "New", "--queues", "1"],
        &["offsets", TOPIC],
        &["view", TOPIC, "7F00000100010000000000000000002A"],
        &["recall", TOPIC, handle],
        &["diagnose", TOPIC],
    ] {
        for json in [false, true] {
            cluster.with(|cluster| cluster.clear_frames());
            let mut command = rmq(line);
            command.args(["-n", &names, "--access-key", "root", "--secret-key", SECRET]);
            if json {
                command.arg("--json");
            }
            let done = quietly(command);
            assert!(matches!(done.status, Some(0 | 1)), "{done:?}");
            let frames = cluster.with(|cluster| cluster.frames().to_vec());
            let requests: Vec<_> = frames.iter().filter(|frame| frame.flag & 1 == 0).collect();
            assert!(!requests.is_empty(), "{line:?}");
            let signed = requests.iter().all(|frame| frame.ext.get("Signature").is_some());
            assert!(signed, "{line:?}: {requests:?}");
            assert!(!done.stdout.contains("signature"), "{done:?}");
        }
    }
}

#[test]
fn refusals_say_which_option_to_look_at() {
    let cluster = guarded();
    for (options, words) in [
        (&[][..], "give --access-key and --secret-key"),
        (&["--access-key", "nobody", "--secret-key", SECRET], "check --access-key"),
        (&["--access-key", KEY, "--secret-key", "hush~wrong"], "check --secret-key"),
    ] {
        let done = quietly(rmq_send(&cluster, &[&["--body=x"], options].concat()));
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(
            done.stderr.contains("permission denied") && done.stderr.contains(words),
            "{done:?}"
        );
        let done = quietly(rmq_send(&cluster, &[&["--body=x", "--json"], options].concat()));
        let line = done.line();
        assert_eq!((&line["kind"], &line["code"]), (&"permission_denied".into(), &16.into()));
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{line}");
    }
    let mut command = rmq(&["send", "--topic", "Closed", "--body=x", "--access-key", KEY]);
    command.args(["--secret-key", SECRET, "-n", &cluster.name_server_addresses()]);
    let done = quietly(command);
    assert!(done.stderr.contains("check the permissions of the user"), "{done:?}");
}

#[test]
fn a_diagnosis_tells_what_brokers_think_of_the_credentials() {
    let cluster = guarded();
    let names = cluster.name_server_addresses();
    let diagnose = |options: &[&str]| {
        let mut command = rmq(&["diagnose", TOPIC, "-n", &names]);
        command.args(options);
        quietly(command)
    };
    let done = diagnose(&["--access-key", KEY, "--secret-key", SECRET]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("accepts the credentials, or checks none"), "{done:?}");
    for (options, words) in [
        (&[][..], "give the client an access key"),
        (&["--access-key", "nobody", "--secret-key", SECRET], "does not know the access key"),
        (&["--access-key", KEY, "--secret-key", "hush~wrong"], "check the secret key"),
    ] {
        let done = diagnose(options);
        assert_eq!(done.status, Some(1), "{done:?}");
        let problem = done.stdout.lines().find(|line| line.starts_with("problem ")).unwrap();
        assert!(problem.contains("refuses this client") && problem.contains(words), "{problem}");
        assert!(!done.stdout.contains("accepts the credentials"), "{done:?}");
    }
}

#[test]
fn halves_and_doubles_are_usage_errors_that_show_nothing() {
    let file = |name: &str, text: &str| File::new(name, text).only_for_its_owner(true);
    let whole = file("whole", &format!("AccessKey={KEY}\nSecretKey={SECRET}"));
    let half = file("half", &format!("SecretKey={SECRET}"));
    let odd = file("odd", &format!("{SECRET}\n"));
    let empty = file("empty", "# nothing\n");
    for (options, words) in [
        (&["--access-key", "hush-hush"][..], "give --secret-key"),
        (&["--secret-key", SECRET], "give --access-key"),
        (&["--secret-key", "-hush"], "give --access-key"),
        (&["--security-token", TOKEN], "give --access-key and --secret-key"),
        (&["--access-key", KEY, "--secret-key", "hush\u{7}"], "control character"),
        (&["--credentials-file", whole.path(), "--secret-key", SECRET], "leave one or the other"),
        (&["--credentials-file", half.path()], "AccessKey="),
        (&["--credentials-file", odd.path()], "line 1"),
        (&["--credentials-file", empty.path()], "neither"),
        (&["--credentials-file", "/nowhere/at/all"], "cannot read /nowhere/at/all"),
        (&["--secret-key", SECRET, "--secret-key", SECRET], "--secret-key"),
        (&["--secret-key", SECRET, "--no-such-option"], "--no-such-option"),
    ] {
        for command in [&["send", "--topic", TOPIC, "--body=x"][..], &["route", TOPIC]] {
            let mut command = rmq(command);
            command.args(["-n", "127.0.0.1:1"]).args(options);
            let done = quietly(command);
            assert_eq!(done.status, Some(2), "{options:?}: {done:?}");
            assert!(done.stderr.contains(words), "{options:?}: {done:?}");
        }
    }
}

/// Help shows what variables there are, and not what is in them.
#[test]
fn help_shows_no_value_of_the_environment() {
    for line in [&["send", "--help"][..], &["route", "--help"], &["topic", "create", "-h"]] {
        let mut command = rmq(line);
        command.env(ACCESS[0], "hush-a").env(ACCESS[1], SECRET).env(ACCESS[2], TOKEN);
        let done = quietly(command);
        assert_eq!(done.status, Some(0), "{done:?}");
        for name in ACCESS {
            assert!(done.stdout.contains(name), "{done:?}");
        }
    }
}
