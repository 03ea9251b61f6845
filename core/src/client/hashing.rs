//! The queue of a send that belongs to one: by hash, or given. Computed from ranges, so the cost
//! depends on the number of brokers alone.

use alloc::sync::Arc;

use super::Client;
use super::connection::Endpoint;
use super::operation::Op;
use super::publish::{BrokerQueues, PublishInfo, total};
use super::selection::Chosen;
use crate::error::SendErrorKind;
use crate::hash;
use crate::id::OpId;
use crate::selection::{Selection, WhenDown};
use crate::slab::Key;

/// Where the walk through the list of all queues comes to `position`.
pub(super) fn queue_in(list: &[BrokerQueues], position: u64) -> Option<(Key, u32)> {
    let mut rest = position;
    for queues in list {
        let count = u64::from(queues.write_queues);
        if rest < count {
            return Some((queues.broker, rest as u32));
        }
        rest -= count;
    }
    None
}

/// The queue that Java's hash selector takes.
// Java: SelectMessageQueueByHash#select: the remainder has the sign of the hash.
fn java_queue(list: &[BrokerQueues], hash: i32) -> Option<(Key, u32)> {
    queue_in(list, java_position(total(list), hash)?)
}

fn java_position(queues: u64, hash: i32) -> Option<u64> {
    let queues = i64::try_from(queues).ok().filter(|queues| *queues > 0)?;
    Some((i64::from(hash) % queues).unsigned_abs())
}

/// The queue that Go's hash selector takes, on a machine with 64 bits.
// Go: producer/selector.go hashQueueSelector
fn go_queue(list: &[BrokerQueues], hash: u32) -> Option<(Key, u32)> {
    queue_in(list, u64::from(hash).checked_rem(total(list))?)
}

/// The queue that wins the rendezvous of `key`. `names` are the hashes of the brokers' names.
fn rendezvous(list: impl Iterator<Item = (BrokerQueues, u64)>, key: u64) -> Option<(Key, u32)> {
    let mut best: Option<(f64, BrokerQueues)> = None;
    for (queues, name) in list {
        let score = hash::rendezvous_score(hash::combine(key, name), queues.write_queues);
        // Of equals the first wins; the order of the list does not depend on the name server.
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, queues));
        }
    }
    let (_, queues) = best?;
    Some((queues.broker, hash::jump(key, queues.write_queues)))
}

/// The queue of a static topic. Its numbers stay when a queue goes to another broker, so the hashes
/// choose among the numbers.
fn static_queue(publish: &PublishInfo, selection: &Selection) -> Option<(Key, u32)> {
    let queues = publish.queues();
    let position = match selection {
        Selection::JavaHash(hash) => java_position(queues, *hash)?,
        Selection::GoHash(hash) => u64::from(*hash).checked_rem(queues)?,
        Selection::Rendezvous(key) => hash::jump(*key, u32::try_from(queues).ok()?).into(),
        Selection::Any | Selection::Random | Selection::Queue(_) => return None,
    };
    publish.listed_at(position)
}

impl Client {
    /// The queue of a send that belongs to one.
    pub(super) fn choose_own(&self, id: OpId) -> Result<Chosen, SendErrorKind> {
        let op = self.ops.get(id).ok_or(SendErrorKind::Cancelled)?;
        let own = self.own_queue(op);
        let moves = op.command.when_down == WhenDown::Move;
        if moves && own.as_ref().map_or(true, |(broker, _)| self.is_down(op, *broker)) {
            // With none better, its own queue is as good as any.
            if let Some(chosen) = self.refuge(op) {
                return Ok(chosen);
            }
        }
        let (broker, queue_id) = own?;
        let Some(mut chosen) = self.chosen(broker, queue_id) else {
            let name = self.brokers.get(broker).map(|broker| Arc::clone(&broker.name));
            return Err(SendErrorKind::NoSuchQueue(name.as_deref().unwrap_or_default().into()));
        };
        chosen.others = moves && self.refuge(op).is_some();
        Ok(chosen)
    }

    fn own_queue(&self, op: &Op) -> Result<(Key, u32), SendErrorKind> {
        let selection = &op.command.selection;
        if let Selection::Queue(queue) = selection {
            let broker = self.given_broker(op, queue);
            let broker = broker.filter(|key| self.chosen(*key, 0).is_some());
            let known = broker.map(|broker| (broker, queue.queue_id()));
            return known.ok_or_else(|| SendErrorKind::NoSuchQueue(queue.broker_name().into()));
        }
        let route = self.topics.get(op.topic).and_then(|topic| topic.route.as_ref());
        let publish = &route.ok_or(SendErrorKind::TopicNotFound)?.publish;
        let queue = match selection {
            _ if publish.is_static() => static_queue(publish, selection),
            Selection::JavaHash(hash) => java_queue(publish.hashed(), *hash),
            Selection::GoHash(hash) => go_queue(publish.go_listed(), *hash),
            Selection::Rendezvous(key) => rendezvous(self.with_names(publish.hashed()), *key),
            Selection::Any | Selection::Random | Selection::Queue(_) => None,
        };
        queue.ok_or(SendErrorKind::NoWritableQueue)
    }

    fn with_names(&self, list: &[BrokerQueues]) -> impl Iterator<Item = (BrokerQueues, u64)> {
        let named = |queues: &BrokerQueues| {
            let broker = self.brokers.get(queues.broker)?;
            Some((*queues, hash::mixed_64(broker.name.as_bytes())))
        };
        list.iter().filter_map(named)
    }

    /// A queue of another broker for a send whose own broker is down: by rendezvous, so that a key
    /// has one refuge.
    fn refuge(&self, op: &Op) -> Option<Chosen> {
        let route = self.topics.get(op.topic)?.route.as_ref()?;
        let own = self.own_queue(op).ok();
        let fit = |(queues, _): &(BrokerQueues, u64)| {
            own.is_none_or(|(broker, _)| broker != queues.broker)
                && !self.is_down(op, queues.broker)
        };
        let key = match (&op.command.selection, op.command.order) {
            (_, Some(order)) => order.get(),
            (Selection::JavaHash(hash), None) => u64::from(*hash as u32),
            (Selection::GoHash(hash), None) => u64::from(*hash),
            (Selection::Rendezvous(key), None) => *key,
            (Selection::Queue(queue), None) => u64::from(queue.queue_id()),
            (Selection::Any | Selection::Random, None) => 0,
        };
        let fits = self.with_names(route.publish.brokers()).filter(fit);
        let (broker, nth) = rendezvous(fits, key)?;
        let mut chosen = self.chosen(broker, route.publish.queue_id(broker, nth))?;
        chosen.others = true;
        Some(chosen)
    }

    /// Whether the broker has failed in this send, or cannot be reached right now.
    fn is_down(&self, op: &Op, broker: Key) -> bool {
        let master = self.brokers.get(broker).and_then(|broker| broker.master);
        let endpoint = master.and_then(|master| self.endpoints.get(master));
        let reachable =
            |endpoint: &Endpoint| endpoint.conn.is_some() || endpoint.retry_at <= self.now;
        op.tried.contains(&broker) || !endpoint.is_some_and(reachable)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    fn list(counts: &[u32]) -> Vec<BrokerQueues> {
        let key = |index: usize| Key { index: index as u32, generation: 1 };
        let range = |(i, n): (usize, &u32)| BrokerQueues { broker: key(i), write_queues: *n };
        counts.iter().enumerate().map(range).collect()
    }

    /// What Java and Go build: one entry per queue.
    fn naive(list: &[BrokerQueues]) -> Vec<(Key, u32)> {
        let each = |b: &BrokerQueues| (0..b.write_queues).map(|queue| (b.broker, queue)).collect();
        list.iter().flat_map(|b| -> Vec<_> { each(b) }).collect()
    }

    #[test]
    fn hashes_take_the_place_in_the_list_that_java_and_go_take() {
        let mut rng = Rng::from_seed(11);
        for round in 0..3_000 {
            let brokers = 1 + rng.below(6) as usize;
            let counts: Vec<u32> = (0..brokers).map(|_| 1 + rng.below(9)).collect();
            let list = list(&counts);
            let queues = naive(&list);
            let special = [0, 1, -1, i32::MIN, i32::MAX, i32::MIN + 1];
            let hash = special.get(round).copied().unwrap_or(rng.next_u64() as i32);
            // As Java writes it: the remainder first, then its absolute value.
            let java = (hash % queues.len() as i32).unsigned_abs() as usize;
            assert_eq!(java_queue(&list, hash), Some(queues[java]), "{counts:?} {hash}");
            let go = hash as u32 as usize % queues.len();
            assert_eq!(go_queue(&list, hash as u32), Some(queues[go]), "{counts:?} {hash}");
        }
    }

    /// From a JVM: hash, number of queues, position.
    #[test]
    fn java_positions_from_a_jvm() {
        let known = [
            ("foobar", [0, 1, 3, 3, 7, 3]),
            ("polygenelubricants", [0, 2, 0, 0, 8, 0]),
            ("order-42", [0, 0, 1, 5, 9, 13]),
            ("用户", [0, 1, 3, 7, 7, 15]),
        ];
        for (text, positions) in known {
            for (queues, position) in [1, 3, 4, 8, 12, 16].into_iter().zip(positions) {
                let list = list(&[queues]);
                let key = Key { index: 0, generation: 1 };
                let chosen = java_queue(&list, hash::java_string(text));
                assert_eq!(chosen, Some((key, position)), "{text} {queues}");
            }
        }
    }

    #[test]
    fn no_queue_is_no_panic_and_huge_counts_cost_nothing() {
        for empty in [list(&[]), list(&[0, 0])] {
            assert_eq!(java_queue(&empty, 7), None);
            assert_eq!(go_queue(&empty, 7), None);
        }
        assert_eq!(rendezvous(named(&[]).into_iter(), 7), None);
        let huge = [i32::MAX as u32, i32::MAX as u32];
        assert!(java_queue(&list(&huge), i32::MIN).is_some());
        assert!(go_queue(&list(&huge), u32::MAX).is_some());
        assert!(rendezvous(named(&huge).into_iter(), u64::MAX).is_some());
    }

    fn named(counts: &[u32]) -> Vec<(BrokerQueues, u64)> {
        let name = |b: BrokerQueues| {
            let name = alloc::format!("broker-{}", b.broker.index);
            (b, hash::mixed_64(name.as_bytes()))
        };
        list(counts).into_iter().map(name).collect()
    }

    const KEYS: u64 = 20_000;

    fn map_of(brokers: &[(BrokerQueues, u64)]) -> Vec<(Key, u32)> {
        let keys = (0..KEYS).map(|number| hash::mixed_64(&number.to_le_bytes()));
        keys.filter_map(|key| rendezvous(brokers.iter().copied(), key)).collect()
    }

    #[test]
    fn every_queue_gets_its_share_of_keys() {
        for counts in [&[4, 4, 4][..], &[1, 8, 3], &[16], &[2, 30]] {
            let mut shares = BTreeMap::new();
            for queue in map_of(&named(counts)) {
                *shares.entry(queue).or_insert(0_u64) += 1;
            }
            let queues = u64::from(counts.iter().sum::<u32>());
            assert_eq!(shares.len() as u64, queues, "{counts:?}");
            for (queue, share) in shares {
                let fair = KEYS / queues;
                assert!(share.abs_diff(fair) < fair / 5 + 30, "{counts:?} {queue:?}: {share}");
            }
        }
    }

    /// Adds one broker to three of four queues each: a quarter of all keys goes to it, and no
    /// other moves.
    #[test]
    fn a_new_broker_takes_its_share_and_moves_nothing_else() {
        let (old, new) = (map_of(&named(&[4, 4, 4])), map_of(&named(&[4, 4, 4, 4])));
        let mut moved = 0;
        for (old, new) in old.iter().zip(&new).filter(|(old, new)| old != new) {
            assert_eq!(new.0.index, 3, "{old:?} moved to {new:?}");
            moved += 1;
        }
        let share = KEYS / 4;
        assert!(u64::abs_diff(moved, share) < share / 10, "{moved} of {KEYS} moved");
    }

    /// Gives one of three brokers a fifth queue: keys move to that broker and inside it to the new
    /// queue only, 19 % of them instead of the 8 % that cannot be avoided; a plain hash would move
    /// 92 %.
    #[test]
    fn a_new_queue_moves_keys_to_its_broker_only() {
        let (old, new) = (map_of(&named(&[4, 4, 4])), map_of(&named(&[4, 5, 4])));
        let mut moved = 0;
        for (old, new) in old.iter().zip(&new).filter(|(old, new)| old != new) {
            assert_eq!(new.0.index, 1, "{old:?} moved to {new:?}");
            assert!(old.0 != new.0 || new.1 == 4, "{old:?} moved to {new:?}");
            moved += 1;
        }
        // (n - w) / n(n + 1) come from other brokers, w / n(w + 1) from the broker's own queues.
        let share = KEYS * 8 / (12 * 13) + KEYS * 4 / (12 * 5);
        assert!(u64::abs_diff(moved, share) < share / 10, "{moved} of {KEYS} moved, not {share}");
    }

    #[test]
    fn the_order_of_the_brokers_does_not_matter() {
        let brokers = named(&[3, 5, 2, 7]);
        let turned: Vec<_> = brokers.iter().rev().copied().collect();
        assert_eq!(map_of(&brokers), map_of(&turned));
    }

    /// What other programs compute today, they and this one compute for ever.
    #[test]
    fn rendezvous_is_fixed_for_good() {
        let names = ["broker-a", "broker-b", "broker-c"];
        let brokers: Vec<_> = list(&[4, 4, 8])
            .into_iter()
            .zip(names)
            .map(|(queues, name)| (queues, hash::mixed_64(name.as_bytes())))
            .collect();
        let places = ["a", "order-42", "用户", "order-1000", ""].map(|key| {
            let key = hash::mixed_64(key.as_bytes());
            rendezvous(brokers.iter().copied(), key).map(|(broker, queue)| (broker.index, queue))
        });
        assert_eq!(places, PLACES.map(Some));
    }

    const PLACES: [(u32, u32); 5] = [(2, 1), (0, 1), (1, 2), (2, 6), (1, 0)];
}
