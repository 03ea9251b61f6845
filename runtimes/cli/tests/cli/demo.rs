//! `rmq demo`.

use crate::common::{RUNTIMES, rmq, run};

#[test]
fn a_broker_dies_and_nothing_acknowledged_is_lost_on_any_runtime() {
    for runtime in RUNTIMES {
        let done = run(rmq(&["demo", "--runtime", runtime]));
        assert_eq!((done.status, &*done.stderr), (Some(0), ""), "{}", done.stdout);
        for part in [
            &format!("rocketmq-{runtime}"),
            "broker-b is killed",
            "broker-b is back",
            "broker-b queue",
            "may be stored",
            "600 of 600 acknowledged",
            "Lost: 0.",
        ] {
            assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
        }
        assert!(!done.stdout.contains('\u{1b}'), "colours without a terminal: {}", done.stdout);
        assert!(done.stdout.lines().count() <= 32, "{}", done.stdout);
        assert!(done.stdout.lines().all(|line| line.chars().count() <= 100), "{}", done.stdout);
    }
}

#[test]
fn what_was_acknowledged_by_the_dead_broker_is_counted_apart_from_what_it_stored() {
    let done = run(rmq(&["demo"]));
    let row = |name: &str| {
        let start = format!("  {name} ");
        let is_row = |line: &&str| line.starts_with(&start) && line.contains(" acknowledged");
        let line = done.stdout.lines().find(is_row).expect(name);
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |place: usize| words[place].parse::<u32>().expect("a number");
        (number(1), number(3))
    };
    let rows = ["broker-a", "broker-b", "broker-c"].map(row);
    let acknowledged: u32 = rows.iter().map(|(_, acknowledged)| acknowledged).sum();
    assert_eq!(acknowledged, 600, "{}", done.stdout);
    assert_eq!((rows[0].0, rows[2].0), (rows[0].1, rows[2].1), "{}", done.stdout);
    assert!(rows[1].0 > rows[1].1, "sends were under way as it died: {}", done.stdout);
}
