use rocketmq_core::WallTime;
use rocketmq_core::wire::RecallRecord;

use super::*;

const START: Instant = Instant::from_nanos(7_000_000_000);

fn config() -> Config {
    Config::builder("a:1").build().unwrap()
}

fn collector(options: TraceOptions) -> Collector {
    let start = TraceStart { options, counters: Arc::default() };
    Collector::new(start, &config(), START)
}

fn record(topic: &str, id: &str) -> TraceRecord {
    TraceRecord::Recall(RecallRecord {
        time: WallTime::from_millis(1),
        region: "R".into(),
        group: "G".into(),
        topic: topic.into(),
        message_id: id.into(),
        success: true,
    })
}

/// The ids of the records of a message, in order.
fn ids(message: &TraceMessage) -> Vec<String> {
    let body = std::str::from_utf8(message.message.body()).unwrap();
    let id = |record: &str| record.split('\u{1}').nth(5).unwrap().to_owned();
    let ids: Vec<_> = body.split_terminator('\u{2}').map(id).collect();
    assert_eq!(ids.len(), message.records);
    ids
}

fn all(collector: &mut Collector, now: Instant) -> Vec<TraceMessage> {
    std::iter::from_fn(|| collector.next(now, false)).collect()
}

#[test]
fn records_wait_for_others_or_for_the_interval() {
    let mut collector = collector(TraceOptions::new().with_batch(3));
    assert_eq!(collector.due(false), Instant::FAR_FUTURE);
    for id in ["1", "2"] {
        collector.add(&record("T", id));
    }
    let interval = START + Duration::from_secs(5);
    assert_eq!((collector.due(false), collector.due(true)), (interval, Instant::ZERO));
    assert_eq!(all(&mut collector, START), []);
    let late = all(&mut collector, interval);
    assert_eq!(late.iter().map(ids).collect::<Vec<_>>(), [["1", "2"]]);
    for id in 1..=3 {
        assert_eq!(collector.next(interval, false), None);
        collector.add(&record("T", &format!("exactly {id}")));
    }
    assert_eq!(collector.next(interval, false).map(|it| it.records), Some(3));
    for id in 1..=7 {
        collector.add(&record("T", &id.to_string()));
    }
    assert_eq!(collector.due(false), Instant::ZERO);
    let full = all(&mut collector, interval);
    assert_eq!(full.iter().map(ids).collect::<Vec<_>>(), [["1", "2", "3"], ["4", "5", "6"]]);
    assert_eq!(collector.due(false), interval + Duration::from_secs(5));
    let rest = collector.next(interval, true).unwrap();
    assert_eq!((ids(&rest), collector.is_empty()), (vec!["7".to_owned()], true));
}

#[test]
fn each_topic_has_a_message_of_its_own_and_each_key_stands_once() {
    let mut collector = collector(TraceOptions::new().with_topic("Trace").with_batch(4));
    for (topic, id) in [("B", "1"), ("A", "2 x"), ("B", "1"), ("B", "3\n")] {
        collector.add(&record(topic, id));
    }
    let messages = all(&mut collector, START);
    let keys = |message: &TraceMessage| message.message.keys().collect::<Vec<_>>().join(" ");
    assert_eq!(messages.iter().map(keys).collect::<Vec<_>>(), ["2 x", "1"]);
    assert!(messages.iter().all(|it| it.message.topic() == "Trace"));
    assert_eq!(ids(&messages[1]), ["1", "1", "3\n"]);
}

#[test]
fn no_message_is_too_long() {
    let mut collector = collector(TraceOptions::new());
    let long = |n: usize| format!("{n}{}", "x".repeat(limits::TRACE_BODY_LENGTH_MAX / 3));
    for n in 0..10 {
        collector.add(&record("T", &long(n)));
    }
    let messages = all(&mut collector, START);
    assert_eq!(messages.iter().map(|it| it.records).collect::<Vec<_>>(), [2; 5]);
    let order: Vec<_> = messages.iter().flat_map(ids).map(|id| id[..1].to_owned()).collect();
    assert_eq!(order.concat(), "0123456789");
    for message in &messages {
        assert!(message.message.body().len() <= limits::TRACE_BODY_LENGTH_MAX);
        assert_eq!(message.message.keys().count(), 0, "too long to be found by");
    }
    assert_eq!(collector.counters.read().dropped, 0);
    collector.add(&record("T", &"x".repeat(limits::TRACE_BODY_LENGTH_MAX)));
    let counts = collector.counters.read();
    assert_eq!((counts.recorded, counts.dropped, collector.is_empty()), (11, 1, true));
    for n in 0..20 {
        let key = format!("{n}{}", "k".repeat(limits::TRACE_KEYS_LENGTH_MAX / 4));
        collector.add(&record("T", &key));
    }
    let message = collector.next(START, true).unwrap();
    assert_eq!((message.records, message.message.keys().count()), (10, 3), "the rest is left out");
}

#[test]
fn what_waits_is_bounded_by_number_and_bytes() {
    let mut few = collector(TraceOptions::new());
    for n in 0..limits::TRACE_RECORDS_MAX + 5 {
        few.add(&record("T", &n.to_string()));
    }
    assert_eq!(few.counters.read().dropped, 5);
    // The first are kept.
    assert_eq!(ids(&few.next(START, false).unwrap())[0], "0");
    few.drop_all();
    let counts = few.counters.read();
    assert_eq!(counts.recorded, counts.dropped + 10, "one message is out: {counts:?}");
    let mut large = collector(TraceOptions::new());
    for n in 0..100 {
        large.add(&record("T", &format!("{n}{}", "x".repeat(100_000))));
    }
    assert_eq!(large.counters.read().dropped, 80, "2 MiB hold 20");
    let sent: usize = all(&mut large, START).iter().map(|it| it.records).sum();
    assert_eq!(sent, 20);
    large.add(&record("T", "1"));
    assert_eq!(large.counters.read().dropped, 80, "there is room again");
}

#[test]
fn settings_out_of_range_are_refused() {
    let check = |options: TraceOptions| options.check(&config());
    assert_eq!(check(TraceOptions::new()), Ok(()));
    for batch in [0, limits::TRACE_BATCH_MAX + 1] {
        let error = check(TraceOptions::new().with_batch(batch)).unwrap_err();
        assert_eq!(error, TraceError::Batch { batch, max: 20 });
    }
    for interval in [Duration::ZERO, Duration::from_secs(3_601)] {
        let error = check(TraceOptions::new().with_interval(interval)).unwrap_err();
        assert!(matches!(error, TraceError::Interval { .. }), "{error}");
    }
    for topic in ["", "no good", "SCHEDULE_TOPIC_XXXX"] {
        let error = check(TraceOptions::new().with_topic(topic)).unwrap_err();
        assert!(matches!(error, TraceError::Topic { .. }), "{error}");
    }
}
