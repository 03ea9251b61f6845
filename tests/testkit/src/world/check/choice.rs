//! I-17: while the route stays as it is, messages with one key go to one queue, in every attempt.

use std::collections::BTreeMap;

use rocketmq_core::Event;

use super::facts::{Facts, Moment};
use super::routes::Routes;
use super::{Found, Seen};

#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The last attempt with each key.
    last: BTreeMap<Key, Chosen>,
}

/// Client, topic, and what chose, in words that no other choice has.
type Key = (usize, String, String);

#[derive(Debug)]
struct Chosen {
    send: usize,
    after: Moment,
    broker: String,
    queue_id: u32,
}

impl Choice {
    pub(super) fn see(
        &mut self,
        facts: &Facts,
        routes: &Routes,
        seen: &Seen<'_>,
        found: &mut Found,
    ) {
        let Seen::Event { client, event: Event::AttemptStarted { op, .. } } = seen else { return };
        let Some(send) = facts.by_op(*client, *op) else { return };
        let known = &facts.sends[send];
        let (Some(choice), Some(start)) = (&known.choice, known.starts.last()) else { return };
        let key = (*client, known.topic.clone(), format!("{choice:?}"));
        let (broker, queue_id) = (start.broker.clone(), start.queue_id);
        let chosen = Chosen { send, after: start.after, broker, queue_id };
        let Some(last) = self.last.insert(key, chosen) else { return };
        let Some(view) = routes.view(*client, &known.topic) else { return };
        let same = view.sure.is_some() && view.maybe.is_empty() && !view.vague;
        if same
            && view.since <= last.after
            && (&last.broker, last.queue_id) != (&start.broker, start.queue_id)
        {
            let (broker, queue, other) = (&start.broker, start.queue_id, last.send);
            let before = format!("{} {}", last.broker, last.queue_id);
            found.add(17, format!("send #{send} goes to {broker} {queue}, #{other} to {before}"));
        }
    }
}
