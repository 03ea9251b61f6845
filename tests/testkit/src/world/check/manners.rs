//! I-08: pauses are kept. I-07: what only one field says. I-19: connections end for the reason that
//! is given, and addresses are dialled neither too soon nor too late. I-22: a close keeps its time.
//! I-24: nobody waits for what has come already.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rocketmq_core::{CloseReason, Event, SendErrorKind, limits};

use super::facts::{Facts, Moment, SendFacts};
use super::{Found, Observer, Seen};
use crate::cluster::Node;
use crate::network::nanos;
use crate::wire::parse_properties;
use crate::world::{Outcome, SendRecord, WireFrame};

const MS: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Manners {
    called: Vec<Called>,
    open: BTreeSet<usize>,
    lives: BTreeMap<u64, Life>,
    /// The connection that ended last, by client and address.
    last_gone: BTreeMap<(usize, String), Life>,
    /// Dials of an address that failed, by client: when the last one did.
    failed: BTreeMap<(usize, String), Moment>,
    /// Clients and topics whose route has just come.
    routed: Vec<(usize, String, Moment)>,
    /// Attempts that are known to have failed, by send.
    over: BTreeMap<usize, u32>,
    /// Sends and attempts whose connection has just ended.
    lost: Vec<(usize, u32)>,
}

/// What the application asked for, as far as one field of the frame says it.
#[derive(Debug)]
struct Called {
    wait_stored: bool,
    wall_ms: i64,
}

/// Signs of life on a connection.
#[derive(Clone, Debug, Default)]
struct Life {
    heard: u64,
    /// When the socket took the last byte of something.
    said: u64,
    /// A frame has begun to come since then, and has not ended.
    partial: Option<u64>,
}

impl Observer for Manners {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        let now = facts.now;
        match seen {
            Seen::Frame { frame } => {
                if frame.written_ns.is_some() {
                    self.lives.entry(frame.link).or_default().said = now.ns;
                }
                self.frame(facts, frame, found);
            }
            Seen::Dialled { client, address, .. } => self.dialled(facts, *client, address, found),
            Seen::Connected { link } => {
                let life = Life { heard: now.ns, said: now.ns, partial: None };
                self.lives.insert(*link, life);
            }
            Seen::Read { link, partial, whole } => {
                let life = self.lives.entry(*link).or_default();
                life.heard = now.ns;
                if !partial {
                    life.partial = None;
                } else if *whole || life.partial.is_none() {
                    life.partial = Some(now.ns);
                }
            }
            Seen::Gone { link } => self.gone(facts, *link),
            Seen::Event { client, event } => self.event(facts, *client, event, found),
            Seen::Ended { client, op, outcome } => {
                if let Some(send) = facts.by_op(*client, *op) {
                    self.open.remove(&send);
                    after_the_close(facts, send, outcome, found);
                }
            }
            Seen::Closed { client } => closed(facts, *client, found),
            Seen::Rest { client, .. } => self.rest(facts, *client, found),
            _ => {}
        }
    }
}

impl Manners {
    pub(super) fn called(&mut self, record: &SendRecord) {
        self.open.insert(self.called.len());
        let wait_stored = record.spec.wait_stored;
        self.called.push(Called { wait_stored, wall_ms: record.wall_ms });
    }

    fn frame(&self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let Some(send) = facts.send_of(frame) else { return };
        let (known, called) = (&facts.sends[send], &self.called[send]);
        let properties = parse_properties(frame.properties());
        if properties.get("WAIT") != Some(&called.wait_stored.to_string()) {
            found.add(7, format!("send #{send} does not say whether to wait for the store"));
        }
        let ext = &frame.command.ext;
        let born = ext.get("g").or_else(|| ext.get("bornTimestamp"));
        let born = born.and_then(|text| text.parse::<i64>().ok());
        // A later attempt is born later, by the clock that does not jump.
        let passed = frame.first_ns.saturating_sub(known.called.ns) / MS + 1;
        let right = called.wall_ms..=called.wall_ms.saturating_add(passed as i64);
        let exact = !facts.clients[known.client].wrong_clock;
        if exact && born.is_none_or(|born| !right.contains(&born)) {
            found.add(28, format!("send #{send} is born at {born:?}, not in {right:?}"));
        }
    }

    // ---- Dials ------------------------------------------------------------------------------

    fn dialled(&self, facts: &Facts, client: usize, address: &str, found: &mut Found) {
        let known = &facts.clients[client];
        let Some(failed) = self.failed.get(&(client, address.to_owned())) else { return };
        let passed = facts.now.ns.saturating_sub(failed.ns);
        // The shortest pause is half of the first one.
        let exact = !known.wrong_clock && !facts.vague;
        if exact && passed < nanos(known.config.dial_back_off_min) / 2 {
            let passed = Duration::from_nanos(passed);
            found.add(19, format!("{address} is dialled again {passed:?} after that failed"));
        }
    }

    fn event(&mut self, facts: &Facts, client: usize, event: &Event, found: &mut Found) {
        let known = &facts.clients[client];
        match event {
            Event::ConnectFailed { address, retry_at, .. } => {
                // It failed before it was told.
                self.failed.insert((client, address.to_string()), facts.settled);
                let latest = facts.now.ns.saturating_add(nanos(known.config.dial_back_off_max));
                if !known.wrong_clock && retry_at.as_nanos() > latest {
                    found.add(19, format!("{address} is not dialled before {retry_at:?}"));
                }
            }
            Event::Disconnected { address, reason, .. } => {
                let life = self.last_gone.remove(&(client, address.to_string()));
                if let Some(life) = life.filter(|_| !known.wrong_clock) {
                    reasonable(facts, client, (address, *reason), &life, found);
                }
            }
            Event::RouteChanged { topic, brokers, .. } if *brokers > 0 => {
                self.routed.push((client, topic.to_string(), facts.now));
            }
            Event::AttemptFailed { op, number, .. } => {
                if let Some(send) = facts.by_op(client, *op) {
                    self.over.insert(send, *number);
                }
            }
            Event::AttemptStarted { op, .. } => {
                if let Some(send) = facts.by_op(client, *op) {
                    paused(facts, send, found);
                }
            }
            _ => {}
        }
    }

    // ---- Ends of connections ----------------------------------------------------------------

    fn gone(&mut self, facts: &Facts, link: u64) {
        let Some(known) = facts.links.get(&link) else { return };
        let life = self.lives.remove(&link).unwrap_or_default();
        self.last_gone.insert((known.client, known.address.clone()), life);
        for send in &self.open {
            let open = &facts.sends[*send];
            let Some(last) = open.starts.len().checked_sub(1) else { continue };
            let awaited = !open.is_oneway() && open.client == known.client;
            let frame = open.frame_of(last).filter(|frame| awaited && frame.link == link);
            if frame.is_some_and(|frame| frame.whole.is_some() && frame.answer.is_none()) {
                self.lost.push((*send, open.starts[last].number));
            }
        }
    }

    fn rest(&mut self, facts: &Facts, client: usize, found: &mut Found) {
        let over = &self.over;
        self.lost.retain(|(send, number)| {
            let known = &facts.sends[*send];
            let told = over.get(send).is_some_and(|over| over >= number);
            let mine = known.client == client;
            if mine && known.is_open() && !told {
                found.add(24, format!("send #{send} is not told that its connection ended"));
            }
            !mine
        });
        let open = &self.open;
        self.routed.retain(|(of, topic, at)| {
            let waits = |send: &&usize| {
                let known = &facts.sends[**send];
                known.client == client
                    && known.topic == *topic
                    && known.called < *at
                    && known.starts.is_empty()
                    && !known.waits_for_broker
                    && !has_its_turn_to_come(facts, open, **send)
            };
            if *of == client
                && let Some(send) = open.iter().find(waits)
            {
                found.add(24, format!("send #{send} waits for the route of {topic}, which came"));
            }
            *of != client
        });
        for (link, life) in &self.lives {
            let Some(known) = facts.links.get(link).filter(|it| it.client == client) else {
                continue;
            };
            let most = nanos(limits::PARTIAL_FRAME_AGE_MAX) + facts.slack();
            let old = |since: u64| facts.now.ns > since.saturating_add(most);
            if life.partial.is_some_and(old) && !facts.clients[client].wrong_clock {
                let address = &known.address;
                found.add(19, format!("{address} has not ended a frame for long, and lives"));
            }
        }
    }
}

/// I-19: a connection that the client gives up has earned it.
fn reasonable(
    facts: &Facts,
    client: usize,
    (address, reason): (&str, CloseReason),
    life: &Life,
    found: &mut Found,
) {
    let now = facts.now.ns;
    let idle = nanos(facts.clients[client].config.connection_idle_max);
    // The decision fell before it was told.
    let lazy = if facts.lazy { MS } else { 0 };
    let (since, least) = match reason {
        CloseReason::Idle => (life.heard.max(life.said), idle),
        // A name server is given up as soon as one query is.
        CloseReason::Silent if is_broker(facts, client, address) => {
            (life.heard, nanos(limits::PROBE_TIMEOUT))
        }
        CloseReason::WriteStalled => (life.said, nanos(limits::WRITE_STALL_MAX)),
        CloseReason::PartialFrame => {
            (life.partial.unwrap_or(now), nanos(limits::PARTIAL_FRAME_AGE_MAX))
        }
        _ => return,
    };
    if now.saturating_sub(since) < least.saturating_sub(lazy) {
        let passed = Duration::from_nanos(now.saturating_sub(since));
        found.add(19, format!("{address} is left as {reason:?} after {passed:?} only"));
    }
}

fn is_broker(facts: &Facts, client: usize, address: &str) -> bool {
    let mut links = facts.links.values().rev();
    let known = links.find(|link| link.client == client && link.address == address);
    known.is_some_and(|link| matches!(link.node, Some(Node::Broker(_))))
}

/// I-08: after a busy answer the next attempt has to wait.
fn paused(facts: &Facts, send: usize, found: &mut Found) {
    let known = &facts.sends[send];
    let client = &facts.clients[known.client];
    let Some((start, before)) = known.starts.split_last() else { return };
    let Some(frame) = before.len().checked_sub(1).and_then(|last| known.frame_of(last)) else {
        return;
    };
    let Some(answer) = frame.answer.as_ref().filter(|it| [2, 215].contains(&it.code)) else {
        return;
    };
    // Undrained, the attempt may have been over before the answer came.
    let whole = frame.whole.is_some_and(|whole| whole < answer.at) && !facts.lazy;
    let passed = start.at.ns.saturating_sub(answer.at.ns);
    // The jitter takes up to a half of it.
    let least = nanos(client.config.busy_back_off) / 2;
    let early = if facts.vague { facts.late.max(MS) } else { 0 };
    if whole && !client.wrong_clock && !known.is_oneway() && passed + early < least {
        let passed = Duration::from_nanos(passed);
        found.add(8, format!("send #{send} goes on {passed:?} after a busy answer"));
    }
}

/// Whether another send is before this one in the order of its key.
fn has_its_turn_to_come(facts: &Facts, open: &BTreeSet<usize>, send: usize) -> bool {
    let known = &facts.sends[send];
    let lane = (known.client, &known.topic, known.order);
    let in_lane = |other: &SendFacts| (other.client, &other.topic, other.order) == lane;
    known.order.is_some() && open.range(..send).any(|other| in_lane(&facts.sends[*other]))
}

/// I-22: a client that closes takes nothing new, and gives the rest no more than its time.
fn after_the_close(facts: &Facts, send: usize, outcome: &Outcome, found: &mut Found) {
    let known = &facts.sends[send];
    let client = &facts.clients[known.client];
    let Some((at, until)) = client.shut else { return };
    let refused = matches!(outcome, Outcome::Rejected(SendErrorKind::Closed));
    if known.called > at && !refused {
        found.add(22, format!("send #{send} is taken in after the close"));
    }
    let latest = until.saturating_add(facts.slack());
    if facts.now.ns > latest && !refused && !client.wrong_clock {
        let late = Duration::from_nanos(facts.now.ns - until);
        found.add(22, format!("send #{send} ended {late:?} after the time for that"));
    }
}

/// I-22: saying farewell takes no longer than it may.
fn closed(facts: &Facts, client: usize, found: &mut Found) {
    let known = &facts.clients[client];
    let Some((_, until)) = known.shut else { return };
    let most = nanos(limits::UNREGISTER_TIMEOUT) + facts.slack() * 2;
    if facts.now.ns > until.saturating_add(most) && !known.wrong_clock {
        let late = Duration::from_nanos(facts.now.ns - until);
        found.add(22, format!("client {client} closed {late:?} after the time for that"));
    }
}
