//! I-09: isolated brokers are avoided. I-10: retries spread, and attempts leave time for others.
//!
//! A replica of what the client remembers of its brokers, made from the attempts that it
//! announced and from the times at which they ended. It is judged only where it is exact: where
//! the loop takes every output at once, and the route is known for sure.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_core::{AttemptFailure, Config, Event, Instant, QueueStrategy};

use super::attempts::{lacks_timer, share};
use super::delivery::stems_from;
use super::facts::{Facts, FrameFacts, Moment, SendFacts, Start};
use super::routes::{Published, Routes};
use super::{Found, Seen};
use crate::world::Outcome;

const MS: u64 = 1_000_000;

/// From which latency a broker is avoided, and for how long, in milliseconds.
// Java: MQFaultStrategy#latencyMax, #notAvailableDuration.
const CLASSES: [(u64, u64); 7] = [
    (50, 0),
    (100, 0),
    (550, 2_000),
    (1_800, 5_000),
    (3_000, 6_000),
    (5_000, 10_000),
    (15_000, 30_000),
];

/// The same for the strategy of Java 5.0.0.
const CLASSES_5_0_0: [(u64, u64); 7] = [
    (50, 0),
    (100, 0),
    (550, 30_000),
    (1_000, 60_000),
    (2_000, 120_000),
    (3_000, 180_000),
    (15_000, 600_000),
];

/// What an end of an attempt says about the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Well,
    Busy,
    Unavailable,
}

#[derive(Debug, Default)]
pub(super) struct Avoidance {
    clients: Vec<BTreeMap<String, Broker>>,
    /// When a route of a client changed last.
    changed: Vec<Moment>,
}

/// What a client remembers of a broker.
#[derive(Debug, Default)]
struct Broker {
    /// It is avoided until then.
    until: u64,
    /// What the client said about that last.
    announced: Option<u64>,
    /// No route named it for a while, so it may have been forgotten.
    vague: bool,
    /// When that was so last.
    lost: Moment,
}

impl Avoidance {
    pub(super) fn see(
        &mut self,
        facts: &Facts,
        routes: &Routes,
        seen: &Seen<'_>,
        found: &mut Found,
    ) {
        match seen {
            Seen::Client { .. } => {
                self.clients.push(BTreeMap::new());
                self.changed.push(Moment::default());
            }
            Seen::Answer { frame: Some(frame), .. } if frame.is_route_query() => {
                self.forget(facts, frame.client, routes);
            }
            Seen::Event { client, event } => self.event(facts, routes, *client, event, found),
            Seen::Ended { client, op, outcome: Outcome::Stored(receipt) } => {
                let Some(send) = facts.by_op(*client, *op) else { return };
                let known = &facts.sends[send];
                let Some(start) = known.starts.last() else { return };
                // An earlier attempt that was answered late says nothing, nor does a weak receipt
                // that had to do in the end.
                let current = known.frame_of(known.starts.len() - 1);
                let answer = current.and_then(|frame| frame.answer.as_ref());
                if answer.is_some_and(|it| it.at.ns == facts.now.ns && stems_from(receipt, it)) {
                    self.note(facts, routes, *client, (start, Sign::Well), found);
                }
            }
            _ => {}
        }
    }

    /// The client forgets what it knows of brokers that no route names any more, sooner or later.
    fn forget(&mut self, facts: &Facts, client: usize, routes: &Routes) {
        for (name, broker) in self.clients.get_mut(client).into_iter().flatten() {
            if !routes.is_named(client, name) {
                (broker.vague, broker.lost) = (true, facts.now);
            }
        }
    }

    fn event(
        &mut self,
        facts: &Facts,
        routes: &Routes,
        client: usize,
        event: &Event,
        found: &mut Found,
    ) {
        if facts.vague || facts.clients[client].wrong_clock {
            return;
        }
        match event {
            Event::RouteChanged { .. } => self.changed[client] = facts.now,
            Event::FaultUpdated { broker_name, isolated_until } => {
                let Some(brokers) = self.clients.get_mut(client) else { return };
                let broker = brokers.entry(broker_name.to_string()).or_default();
                if is_java500(&facts.clients[client].config) && *isolated_until == Instant::ZERO {
                    // Dropped, because it has no queue of the topic of a send.
                    broker.until = 0;
                } else {
                    broker.announced = Some(isolated_until.as_nanos());
                }
            }
            Event::AttemptFailed { op, number, failure, .. } => {
                let Some(send) = facts.by_op(client, *op) else { return };
                let known = &facts.sends[send];
                let Some(start) = known.starts.get(*number as usize - 1) else { return };
                let config = &facts.clients[client].config;
                if let Some(sign) = sign_of(failure, is_java500(config)) {
                    self.note(facts, routes, client, (start, sign), found);
                }
                // After a weak acknowledgement there is one more attempt, and no other.
                let weak = |frame: &FrameFacts| frame.answer.as_ref().is_some_and(|a| a.is_weak());
                let last = *number >= known.attempts_max || known.frames.iter().any(weak);
                if *failure == AttemptFailure::TimedOut && !last {
                    too_long(facts, routes, send, start, found);
                }
            }
            Event::AttemptStarted { op, .. } => {
                if let Some(send) = facts.by_op(client, *op) {
                    self.chosen(facts, routes, send, found);
                }
            }
            _ => {}
        }
    }

    /// An attempt ended: is the broker avoided from now on?
    fn note(
        &mut self,
        facts: &Facts,
        routes: &Routes,
        client: usize,
        (start, sign): (&Start, Sign),
        found: &mut Found,
    ) {
        if facts.vague || facts.clients[client].wrong_clock {
            return;
        }
        let Some(brokers) = self.clients.get_mut(client) else { return };
        let broker = brokers.entry(start.broker.clone()).or_default();
        let config = &facts.clients[client].config;
        let java500 = is_java500(config);
        if !config.latency_avoidance {
            if broker.announced.take().is_some() {
                found.add(9, format!("{} is avoided although nobody asks", start.broker));
            }
            return;
        }
        let now = facts.now.ns;
        let latency = match sign {
            Sign::Well => now - start.at.ns,
            _ if java500 => 30_000 * MS,
            Sign::Busy => (now - start.at.ns).max(550 * MS),
            Sign::Unavailable => 10_000 * MS,
        };
        let until = now + isolation(config, latency);
        let announced = broker.announced.take();
        // What is learnt from an attempt that is older than that is lost with the broker.
        if start.at < broker.lost && announced.is_none() {
            return;
        }
        // Between two routes it may have been lost for a moment that no answer shows.
        if start.at < self.changed[client] && announced.is_none() {
            broker.vague = true;
            return;
        }
        if broker.vague || !routes.is_named(client, &start.broker) {
            // What the client says of it now is the new beginning.
            broker.vague = announced.is_none();
            broker.until = announced.unwrap_or(broker.until);
            return;
        }
        let changed = match sign {
            // What was known is replaced by whatever comes.
            _ if java500 => until > now || broker.until > now,
            // Only a success ends an isolation before its time.
            Sign::Well => (until > now || broker.until > now) && broker.until != until,
            _ => until > broker.until,
        };
        if changed {
            broker.until = until;
        }
        let expected = changed.then_some(until);
        if announced != expected {
            let (name, told) = (&start.broker, announced.map(Duration::from_nanos));
            let right = expected.map(Duration::from_nanos);
            found.add(9, format!("{name} is avoided until {told:?}, not {right:?} ({sign:?})"));
        }
    }

    // ---- The choice -------------------------------------------------------------------------

    /// A broker was chosen: was there a better one?
    fn chosen(&self, facts: &Facts, routes: &Routes, send: usize, found: &mut Found) {
        let known = &facts.sends[send];
        let Some((start, before)) = known.starts.split_last() else { return };
        let Some(published) = certain(routes, known, start, before) else { return };
        let tried = |name: &str| before.iter().any(|start| *start.broker == *name);
        let client = known.client;
        let reachable = |name: &&String| routes.master(client, name).is_some();
        let others = || published.keys().filter(reachable).filter(|it| **it != start.broker);
        let config = &facts.clients[known.client].config;
        let last = before.last().is_some_and(|last| last.broker == start.broker);
        let (name, now) = (&start.broker, facts.now.ns);
        if !config.latency_avoidance {
            if last && others().next().is_some() {
                found.add(10, format!("send #{send} tries {name} again at once, not another"));
            }
            return;
        }
        // Java does not draw.
        if is_java500(config) && !known.random {
            let known = |other: &&String| !self.is_vague(client, other);
            let well = |other: &&String| known(other) && !self.is_isolated(client, other, now);
            if !self.is_vague(client, name)
                && self.is_isolated(client, name, now)
                && let Some(other) = others().find(well)
            {
                found.add(9, format!("send #{send} goes to {name}, isolated, not to {other}"));
            }
            return;
        }
        if tried(name) {
            if others().any(|other| !tried(other)) {
                found.add(10, format!("send #{send} tries {name} again, but not another"));
            } else if last && others().next().is_some() {
                found.add(10, format!("send #{send} tries {name} again at once, not another"));
            }
            return;
        }
        let isolated = |name: &str| self.is_isolated(client, name, now);
        let vague = |name: &str| self.is_vague(client, name);
        // Whom the detector misses cannot be told from here.
        if config.detector.is_some() {
            return;
        }
        let well = |other: &&String| {
            !tried(other)
                && !vague(other)
                && !isolated(other)
                && is_connected(facts, routes, known.client, other)
        };
        if isolated(name)
            && !vague(name)
            && let Some(other) = others().find(well)
        {
            found.add(9, format!("send #{send} goes to {name}, which is avoided, not to {other}"));
        }
    }

    fn is_vague(&self, client: usize, name: &str) -> bool {
        let broker = self.clients.get(client).and_then(|brokers| brokers.get(name));
        broker.is_some_and(|broker| broker.vague)
    }

    fn is_isolated(&self, client: usize, name: &str, now: u64) -> bool {
        let broker = self.clients.get(client).and_then(|brokers| brokers.get(name));
        broker.is_some_and(|broker| broker.until > now)
    }
}

/// The route of a send, if it is certain and was the same since the first attempt.
fn certain<'a>(
    routes: &'a Routes,
    known: &SendFacts,
    start: &Start,
    before: &[Start],
) -> Option<&'a Published> {
    if known.has_own_queue {
        return None;
    }
    let view = routes.view(known.client, &known.topic)?;
    let since = before.first().unwrap_or(start);
    let sure = view.maybe.is_empty() && !view.vague && view.since <= since.after;
    view.sure.as_ref().filter(|_| sure)
}

/// Whether the client has a connection to a broker's master that takes requests.
fn is_connected(facts: &Facts, routes: &Routes, client: usize, name: &str) -> bool {
    let Some(address) = routes.master(client, name) else { return false };
    let live = facts.live(client, address);
    live.iter().any(|link| facts.links.get(link).is_some_and(|link| link.sent_away.is_none()))
}

/// I-10: an attempt that ran out of time left some for the others.
fn too_long(facts: &Facts, routes: &Routes, send: usize, start: &Start, found: &mut Found) {
    let known = &facts.sends[send];
    let before = &known.starts[..start.number as usize - 1];
    let Some(published) = certain(routes, known, start, before) else { return };
    let tried = |name: &String| known.starts.iter().any(|start| start.broker == *name);
    let share = share(known, start, &facts.clients[known.client].config);
    let elapsed = facts.now.ns - start.at.ns;
    if !published.keys().all(tried) && elapsed > share + facts.slack() {
        let (number, elapsed) = (start.number, Duration::from_nanos(elapsed));
        let share = Duration::from_nanos(share);
        found.add(10, format!("attempt {number} of send #{send} took {elapsed:?}, not {share:?}"));
    }
}

pub(super) fn is_java500(config: &Config) -> bool {
    config.queue_strategy == QueueStrategy::Java500
}

/// For how many nanoseconds a broker is avoided after this latency.
fn isolation(config: &Config, latency: u64) -> u64 {
    let own: Vec<(u64, u64)> = config
        .latency_classes
        .iter()
        .map(|class| (class.from.as_millis() as u64, class.avoided.as_millis() as u64))
        .collect();
    let classes = match own.as_slice() {
        [] if is_java500(config) => &CLASSES_5_0_0,
        [] => &CLASSES,
        own => own,
    };
    let class = classes.iter().rev().find(|(from, _)| latency >= from * MS);
    class.map_or(0, |(_, millis)| millis * MS)
}

/// What a failure says about the broker.
fn sign_of(failure: &AttemptFailure, java500: bool) -> Option<Sign> {
    match failure {
        AttemptFailure::Answered { code, remark } => match code.0 {
            0 | 10 | 11 | 12 => Some(Sign::Well),
            1 if !remark.starts_with("org.apache.rocketmq.acl") && !lacks_timer(remark) => {
                Some(Sign::Busy)
            }
            2 | 215 => Some(Sign::Busy),
            14 | 501 | 1500 => Some(Sign::Unavailable),
            // Even what is the message's own fault.
            _ if java500 => Some(Sign::Unavailable),
            _ => None,
        },
        AttemptFailure::Connect(_)
        | AttemptFailure::Closed(_)
        | AttemptFailure::NoAddress
        | AttemptFailure::TimedOut => Some(Sign::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_classes_are_javas() {
        let config = crate::world::World::config(1).build().unwrap();
        let rows = [
            (0, 0),
            (99, 0),
            (549, 0),
            (550, 2_000),
            (1_800, 5_000),
            (3_000, 6_000),
            (5_000, 10_000),
            (14_999, 10_000),
            (15_000, 30_000),
        ];
        for (latency, expected) in rows {
            assert_eq!(isolation(&config, latency * MS), expected * MS, "{latency}");
        }
    }
}
