//! Ends from outside: signals, and readers that go away.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Cluster, Fault};

use crate::common::{Done, RUNTIMES, TOPIC, rmq_send, script, single};

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

fn wait_for_sends(cluster: &LoopbackCluster, count: usize) {
    let stored = |cluster: &mut Cluster| cluster.stored(TOPIC).len() >= count;
    assert!(cluster.wait_until(PATIENCE, stored), "{count} messages never came");
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_the_sends_under_way_end_and_reports() {
    for runtime in RUNTIMES {
        let cluster = single();
        script(&cluster, Fault::delay(Duration::from_millis(300)));
        let extra = ["--json", "--size=10", "--count=100000", "-k", "4", "--runtime", runtime];
        let child = rmq_send(&cluster, &extra).spawn().expect("the binary runs");
        // Stored, but not answered yet.
        wait_for_sends(&cluster, 4);
        signal(&child, "-INT");
        let done = Done::from(child.wait_with_output().expect("an end"));
        assert_eq!(done.status, Some(1), "not all were sent: {done:?}");
        let lines = done.lines();
        assert!(lines.iter().all(|line| line["outcome"] == "acknowledged"), "{done:?}");
        assert_eq!(lines.len(), cluster.with(|cluster| cluster.stored(TOPIC).len()));
        assert!(lines.len() < 20, "{}", lines.len());
        assert!(done.stderr.contains("stopping: the sends under way"), "{done:?}");
        assert!(
            done.stderr.contains(" sends to topic") && done.stderr.contains("never sent: 99,9")
        );
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_while_waiting_for_input_is_a_good_end() {
    let cluster = single();
    let mut child = rmq_send(&cluster, &[]).stdin(Stdio::piped()).spawn().expect("the binary runs");
    writeln!(child.stdin.as_mut().expect("a pipe"), "one").expect("the binary reads");
    wait_for_sends(&cluster, 1);
    // The pipe stays open, so that the binary still waits for a line.
    let stdin = child.stdin.take();
    signal(&child, "-TERM");
    let done = Done::from(child.wait_with_output().expect("an end"));
    drop(stdin);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stderr.contains("acknowledged 1, failed 0"), "{done:?}");
}

#[cfg(unix)]
#[test]
fn sends_that_do_not_end_in_time_are_reported_with_their_verdict() {
    let cluster = single();
    script(&cluster, Fault::silent_after_storing());
    let extra = ["--json", "--body=x", "--timeout=60000", "--retries=0"];
    let child = rmq_send(&cluster, &extra).spawn().expect("the binary runs");
    wait_for_sends(&cluster, 1);
    let begin = Instant::now();
    signal(&child, "-INT");
    let done = Done::from(child.wait_with_output().expect("an end"));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(done.status, Some(1), "{done:?}");
    let line = done.line();
    assert_eq!((&line["outcome"], &line["kind"]), (&"unknown".into(), &"closed".into()));
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_at_once() {
    let cluster = single();
    script(&cluster, Fault::silent_after_storing());
    let mut child = rmq_send(&cluster, &["--body=x", "--timeout=60000"]).spawn().expect("a start");
    wait_for_sends(&cluster, 1);
    signal(&child, "-INT");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut note = String::new();
    stderr.read_line(&mut note).expect("a line");
    assert!(note.starts_with("stopping"), "{note}");
    let begin = Instant::now();
    signal(&child, "-INT");
    let status = child.wait().expect("an end");
    assert_eq!(status.code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let cluster = single();
    let extra = ["--json", "--size=10", "--count=1000000", "-k", "8"];
    let mut child = rmq_send(&cluster, &extra).spawn().expect("the binary runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    let done = Done::from(child.wait_with_output().expect("an end"));
    assert_eq!(done.status, Some(1), "not all were sent: {done:?}");
    assert!(!done.stderr.contains("panicked") && !done.stderr.contains("roken pipe"), "{done:?}");
    assert!(done.stderr.contains("never sent"), "{done:?}");
}

#[test]
fn a_closed_standard_error_is_no_reason_to_stop() {
    let cluster = single();
    let mut child =
        rmq_send(&cluster, &["--json", "--body=x", "--count=3"]).spawn().expect("a start");
    drop(child.stderr.take());
    let done = Done::from(child.wait_with_output().expect("an end"));
    assert_eq!((done.status, done.lines().len()), (Some(0), 3), "{done:?}");
}

/// What waits for the rest of its batch is not sent, and that is told.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_half_a_batch_unsent() {
    let cluster = single();
    let mut command = rmq_send(&cluster, &["--json", "--batch=3"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"1\n2\n3\n4\n5\n").expect("the binary reads");
    wait_for_sends(&cluster, 3);
    // The lines behind the batch came in the same write.
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-TERM");
    let done = Done::from(child.wait_with_output().expect("an end"));
    drop(stdin);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert_eq!(done.lines().len(), 3);
    assert!(done.stderr.contains("3 messages in 1 batch to topic"), "{done:?}");
    assert!(done.stderr.contains("never sent: 2 messages"), "{done:?}");
    assert_eq!(cluster.with(|cluster| cluster.stored(TOPIC).len()), 3);
}
