//! The strategies against plain models that keep one entry per queue and count as Java does.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::current::{Standing, Tried, tier};
use super::java500::{Choice, Entry};
use super::{Queue, java500, plain};
use crate::client::publish::{BrokerQueues, PublishInfo, queue_at};
use crate::client::static_topic::LogicalQueues;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::TopicQueueMapping;

fn key(index: usize) -> Key {
    Key { index: index as u32, generation: 1 }
}

fn name(index: usize) -> String {
    format!("broker-{index}")
}

/// A topic as the core keeps it and as the models do: broker and queue, in Java's order.
#[derive(Clone, Debug)]
struct Topic {
    brokers: usize,
    info: PublishInfo,
    list: Vec<Queue>,
}

impl Topic {
    /// Brokers with so many queues each, told to the core in another order.
    fn plain(counts: &[u32]) -> Topic {
        let names: Vec<String> = (0..counts.len()).map(name).collect();
        let queues = counts.iter().enumerate().rev();
        let queues = queues.map(|(i, n)| BrokerQueues { broker: key(i), write_queues: *n });
        let info = PublishInfo::new(queues, |key| &names[key.index as usize]);
        let list = counts.iter().enumerate().flat_map(|(i, n)| (0..*n).map(move |q| (key(i), q)));
        Topic { brokers: counts.len(), info, list: list.collect() }
    }

    /// A static topic whose queue `n` is on broker `owners[n]`, or on none.
    fn logical(brokers: usize, owners: &[Option<usize>]) -> Topic {
        let mapping = |broker: usize| TopicQueueMapping {
            bname: name(broker).into(),
            scope: Some("__global__".into()),
            epoch: 1,
            total_queues: owners.len() as i32,
            curr_id_map: (0..)
                .zip(owners)
                .filter(|(_, owner)| **owner == Some(broker))
                .map(|(queue, _)| (queue, 0))
                .collect(),
        };
        let mappings: Vec<_> = (0..brokers).map(mapping).collect();
        let names: Vec<String> = (0..brokers).map(name).collect();
        let of = |wanted: &str| names.iter().position(|name| name == wanted).map(key);
        let queues = LogicalQueues::new(&mappings, of);
        let info = PublishInfo::of_static(queues, |key| &names[key.index as usize]);
        let owned = (0..).zip(owners).filter_map(|(queue, owner)| Some((key((*owner)?), queue)));
        Topic { brokers, info, list: owned.collect() }
    }

    fn any() -> impl Strategy<Value = Topic> {
        let counts = prop::collection::vec(0_u32..6, 1..5);
        let owners = prop::collection::vec(prop::option::of(0_usize..4), 0..12);
        prop_oneof![
            counts.prop_map(|counts| Topic::plain(&counts)),
            owners.prop_map(|owners| Topic::logical(4, &owners)),
        ]
    }

    fn queues_of(&self, broker: Key) -> Vec<u32> {
        self.list.iter().filter(|(owner, _)| *owner == broker).map(|(_, queue)| *queue).collect()
    }
}

/// Counters, those before the wrap of 31 and of 32 bits among them.
fn counters() -> impl Strategy<Value = u32> {
    let before = |wrap: u32| (0_u32..12).prop_map(move |early| wrap.wrapping_sub(early));
    prop_oneof![any::<u32>(), before(0x7fff_ffff), before(0), 0_u32..12]
}

fn check<T: core::fmt::Debug>(of: impl Strategy<Value = T>, test: impl Fn(T)) {
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&of, |value| {
            test(value);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

// ---- Java, transcribed ----------------------------------------------------------------------

/// `ThreadLocalIndex`.
struct Index(i32);

impl Index {
    fn increment_and_get(&mut self) -> i32 {
        self.0 = self.0.wrapping_add(1);
        self.0 & 0x7fff_ffff
    }
}

/// `Math.abs` and `%` of Java, and 0 for what is negative after that.
fn position(index: i32, size: usize) -> usize {
    let absolute = index.wrapping_abs();
    usize::try_from(absolute.wrapping_rem(size as i32)).unwrap_or(0)
}

/// `TopicPublishInfo#selectOneMessageQueue()`
fn model_next(list: &[Queue], index: &mut Index) -> Queue {
    list[position(index.increment_and_get(), list.len())]
}

/// `TopicPublishInfo#selectOneMessageQueue(lastBrokerName)`
fn model_plain(list: &[Queue], index: &mut Index, last: Option<Key>) -> Queue {
    let Some(last) = last else { return model_next(list, index) };
    for _ in 0..list.len() {
        let queue = model_next(list, index);
        if queue.0 != last {
            return queue;
        }
    }
    model_next(list, index)
}

/// An entry of `LatencyFaultToleranceImpl`: whether it is available, its latency and its start.
type Fault = (bool, u64, u64);

/// `LatencyFaultToleranceImpl#pickOneAtLeast`; equal entries in the order of their names.
fn model_pick(table: &BTreeMap<usize, Fault>, worst: &mut Index) -> Option<usize> {
    let mut entries: Vec<_> = table.iter().map(|(broker, fault)| (*broker, *fault)).collect();
    entries.sort_by_key(|(broker, (available, latency, start))| {
        (if *available { 0 } else { 1 }, *latency, *start, name(*broker))
    });
    if entries.is_empty() {
        return None;
    }
    let half = entries.len() / 2;
    if half == 0 {
        return Some(entries[0].0);
    }
    Some(entries[worst.increment_and_get() as usize % half].0)
}

/// `MQFaultStrategy#selectOneMessageQueue` of the user's document, with the queue as a value.
fn model_java500(
    topic: &Topic,
    index: &mut Index,
    worst: &mut Index,
    table: &BTreeMap<usize, Fault>,
) -> (Queue, Option<Key>) {
    let list = &topic.list;
    let available = |broker: Key| table.get(&(broker.index as usize)).is_none_or(|fault| fault.0);
    let mut number = index.increment_and_get();
    for _ in 0..list.len() {
        let queue = list[position(number, list.len())];
        number = number.wrapping_add(1);
        if available(queue.0) {
            return (queue, None);
        }
    }
    let best = model_pick(table, worst);
    let queues = best.map(|best| topic.queues_of(key(best))).unwrap_or_default();
    if queues.is_empty() {
        return (model_next(list, index), best.map(key));
    }
    index.increment_and_get();
    let nth = index.increment_and_get() as usize % queues.len();
    (best.map(|best| (key(best), queues[nth])).unwrap(), None)
}

// ---- Off ------------------------------------------------------------------------------------

#[test]
fn off_is_javas_round_robin_whatever_the_counter_and_the_last_broker() {
    let last = prop::option::of(0_usize..5);
    check((Topic::any(), counters(), last), |(topic, start, last)| {
        let last = last.map(key);
        let (mut counter, mut index) = (start, Index(start as i32));
        for _ in 0..4 {
            let got = plain(&topic.info, &mut counter, last, |_| true);
            if topic.list.is_empty() {
                assert_eq!(got, None);
                continue;
            }
            assert_eq!(got, Some(model_plain(&topic.list, &mut index, last)));
            assert_eq!(counter, index.0 as u32, "as many steps");
        }
    });
}

/// 4.2 with latency avoidance off: not the last broker, then any.
#[test]
fn off_row_by_row() {
    let topic = Topic::plain(&[2, 2]);
    let walk = |last, count: usize| -> Vec<(u32, u32)> {
        let mut counter = u32::MAX;
        let choices = (0..count).map(|_| plain(&topic.info, &mut counter, last, |_| true));
        choices.map(|choice| choice.map(|(broker, queue)| (broker.index, queue)).unwrap()).collect()
    };
    let all = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)];
    assert_eq!(walk(None, 5), all, "no last broker: all queues of one, then of the next");
    assert_eq!(walk(Some(key(0)), 3), [(1, 0), (1, 1), (1, 0)], "never the last");
    let alone = Topic::plain(&[3]);
    let mut counter = u32::MAX;
    let only = plain(&alone.info, &mut counter, Some(key(0)), |_| true);
    assert_eq!((only, counter), (Some((key(0), 0)), 3), "any, after one walk around in vain");
}

#[test]
fn brokers_without_a_master_are_passed_over_at_no_loss() {
    let usable = prop::collection::vec(any::<bool>(), 5);
    let last = prop::option::of(0_usize..5);
    check((Topic::any(), counters(), last, usable), |(topic, start, last, usable)| {
        let is_usable = |broker: Key| usable[broker.index as usize];
        let exists = topic.list.iter().any(|(broker, _)| is_usable(*broker));
        let mut counter = start;
        let off = plain(&topic.info, &mut counter, last.map(key), is_usable);
        let entries =
            || (0..topic.brokers).map(|broker| entry(broker, (false, broker as u64, 0))).collect();
        let on = java500::choose(&topic.info, &mut counter, &mut 0, |_| false, is_usable, entries);
        for queue in [off, on.queue] {
            assert_eq!(queue.is_some(), exists);
            assert!(queue.is_none_or(|queue| is_usable(queue.0) && topic.list.contains(&queue)));
        }
    });
}

// ---- Java 5.0.0 -----------------------------------------------------------------------------

fn entry(broker: usize, (available, latency, start): Fault) -> Entry {
    Entry {
        broker: key(broker),
        name: name(broker).into(),
        available,
        latency: Duration::from_millis(latency),
        start: Instant::from_nanos(start),
    }
}

fn java500_of(
    topic: &Topic,
    counter: &mut u32,
    worst: &mut u32,
    table: &BTreeMap<usize, Fault>,
) -> Choice {
    let available = |broker: Key| table.get(&(broker.index as usize)).is_none_or(|fault| fault.0);
    let entries = || table.iter().map(|(broker, fault)| entry(*broker, *fault)).collect();
    java500::choose(&topic.info, counter, worst, available, |_| true, entries)
}

#[test]
fn java_5_0_0_is_the_document_whatever_the_counters_and_the_faults() {
    // Brokers 4 and 5 have faults, but perhaps no queue of the topic.
    let fault = (prop::bool::weighted(0.3), 0_u64..3, 0_u64..3);
    let table = prop::collection::btree_map(0_usize..6, fault, 0..6);
    check((Topic::any(), counters(), counters(), table), |(topic, start, worst_start, table)| {
        let (mut counter, mut index) = (start, Index(start as i32));
        let (mut worst, mut model_worst) = (worst_start, Index(worst_start as i32));
        let mut table = table;
        for _ in 0..4 {
            let got = java500_of(&topic, &mut counter, &mut worst, &table);
            if topic.list.is_empty() {
                assert_eq!(got, Choice { queue: None, dropped: None });
                return;
            }
            let expected = model_java500(&topic, &mut index, &mut model_worst, &table);
            assert_eq!((got.queue, got.dropped), (Some(expected.0), expected.1));
            assert_eq!((counter, worst), (index.0 as u32, model_worst.0 as u32), "steps");
            if let Some(dropped) = got.dropped {
                table.remove(&(dropped.index as usize));
            }
        }
    });
}

/// The rows of 4.6, column 5.0.0.
#[test]
fn java_5_0_0_row_by_row() {
    let topic = Topic::plain(&[2, 2, 2]);
    let choose = |counter: &mut u32, worst: &mut u32, faults: &[(usize, Fault)]| {
        let table = faults.iter().copied().collect();
        let choice = java500_of(&topic, counter, worst, &table);
        let queue = choice.queue.map(|(broker, queue)| (broker.index, queue)).unwrap();
        (queue, choice.dropped.map(|broker| broker.index))
    };
    let (mut counter, mut worst) = (u32::MAX, u32::MAX);
    let down = |latency| (false, latency, 0);
    // Step 1: the first available queue; one step of the counter however far the scan goes.
    assert_eq!(choose(&mut counter, &mut worst, &[]), ((0, 0), None));
    assert_eq!(choose(&mut counter, &mut worst, &[(0, down(1))]), ((1, 0), None));
    assert_eq!(counter, 1);
    // Step 2: one of the better half, here of six; its own counter; the next index but one.
    let all: Vec<_> = (0..6).map(|broker| (broker, down(10 - broker as u64))).collect();
    let three = [(0, down(3)), (1, down(2)), (2, down(1))];
    assert_eq!(choose(&mut counter, &mut worst, &three), ((2, 0), None), "half of three is one");
    assert_eq!((counter, worst), (4, 0));
    // Step 3: the best has no queue of the topic, so its entry goes, and any queue is taken.
    assert_eq!(choose(&mut counter, &mut worst, &all), ((0, 0), Some(4)));
    assert_eq!((counter, worst), (6, 1));
    // One entry: the best, without a step of its counter.
    let lone = Topic::plain(&[2]);
    let table = [(0, down(9))].into_iter().collect();
    let choice = java500_of(&lone, &mut counter, &mut worst, &table);
    assert_eq!((choice.queue, worst), (Some((key(0), 1)), 1));
}

#[test]
fn java_5_0_0_takes_position_0_behind_the_largest_number_and_then_turns_around() {
    let topic = Topic::plain(&[1, 1, 1, 1]);
    // Of 4 queues, 2^31 - 2 is at position 2 and 2^31 - 1 at 3; then comes position 0, and then
    // 2^31 - 1 again: position 1 is never looked at.
    for (wanted, expected) in [(2, 2), (3, 3), (0, 0), (1, 3)] {
        let mut counter = 0x7fff_fffd;
        let available = |broker: Key| broker == key(wanted);
        let choice =
            java500::choose(&topic.info, &mut counter, &mut 0, available, |_| true, Vec::new);
        // What is not looked at is not found; then simply the next.
        assert_eq!(choice.queue, Some((key(expected), 0)), "{wanted}");
    }
}

#[test]
fn java_5_0_0_without_any_entry_takes_the_next() {
    let topic = Topic::plain(&[2, 2]);
    let mut counter = u32::MAX;
    let choice = java500::choose(&topic.info, &mut counter, &mut 0, |_| false, |_| true, Vec::new);
    assert_eq!(choice, Choice { queue: Some((key(0), 1)), dropped: None });
    assert_eq!(counter, 1);
}

// ---- On, the current strategy ---------------------------------------------------------------

/// 4.2 with latency avoidance on, mended by P13: available, reachable, any, then what was tried.
#[test]
fn on_row_by_row() {
    use Tried::{Earlier, Last, No};
    let rows = [
        (No, true, true, 0),
        (No, false, true, 1),
        (No, true, false, 2),
        (No, false, false, 2),
        (Earlier, true, true, 3),
        (Earlier, true, false, 3),
        (Earlier, false, true, 3),
        (Earlier, false, false, 3),
        (Last, true, true, 4),
        (Last, true, false, 4),
        (Last, false, true, 4),
        (Last, false, false, 4),
    ];
    for (tried, available, reachable, expected) in rows {
        let standing = Standing { tried, available, reachable };
        assert_eq!(tier(standing), expected, "{standing:?}");
    }
}

/// P19: the round over the brokers of a tier against a list that is written out row by row.
#[test]
fn the_round_is_the_list_written_row_by_row() {
    let wanted = prop::collection::vec(any::<bool>(), 5);
    check((Topic::any(), any::<u32>(), wanted), |(topic, position, wanted)| {
        let chosen: Vec<_> = topic
            .info
            .brokers()
            .iter()
            .copied()
            .filter(|queues| wanted[queues.broker.index as usize])
            .collect();
        let mut rows = Vec::new();
        for row in 0..12 {
            for queues in &chosen {
                rows.extend(topic.queues_of(queues.broker).get(row).map(|q| (queues.broker, *q)));
            }
        }
        let got = queue_at(&chosen, position);
        let got = got.map(|(broker, nth)| (broker, topic.info.queue_id(broker, nth)));
        let expected = (position as usize).checked_rem(rows.len()).map(|index| rows[index]);
        assert_eq!(got, expected);
    });
}

// ---- Cost -----------------------------------------------------------------------------------

/// No list of so many queues is built and none is walked: this would take hours or all memory.
#[test]
fn two_to_the_31_queues_cost_nothing() {
    let many = i32::MAX as u32;
    for counts in [[many - 2, 1, 1], [1, many - 2, 1], [many, many, many]] {
        let queues = (0..3).zip(counts);
        let queues =
            queues.map(|(index, count)| BrokerQueues { broker: key(index), write_queues: count });
        let info = PublishInfo::new(queues, |key| ["a", "b", "c"][key.index as usize]);
        let asked = core::cell::Cell::new(0_u32);
        let asks = |answer: bool| {
            asked.set(asked.get() + 1);
            answer
        };
        for start in [0, 7, 0x7fff_fffd, u32::MAX] {
            let mut counter = start;
            let off = plain(&info, &mut counter, Some(key(0)), |_| asks(true));
            assert_ne!(off.unwrap().0, key(0));
            let available = |broker| asks(broker == key(2));
            let entries = || (0..3).map(|broker| entry(broker, (false, 1, 0))).collect();
            let on = java500::choose(&info, &mut counter, &mut 0, available, |_| true, entries);
            assert!(on.queue.is_some());
            assert!(queue_at(info.brokers(), start).is_some());
        }
        assert!(asked.get() < 100, "{} questions", asked.get());
    }
}
