//! What must hold of every run, judged from outside: from the wire, the servers' logs and the
//! calls of the application, never from the machine's own word alone.
//!
//! The numbers are those of the project's list of invariants.

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmq_core::wire::SendStatus;
use rocketmq_core::{AttemptFailure, Delivery, Event, Mode, SendReceipt};

use super::{Outcome, SendRecord, WireFrame, World};
use crate::cluster::Node;
use crate::network::LinkId;
use crate::wire::{parse_properties, request_code, response_code};

/// Codes after which a send has another attempt only if it was under way already.
const FINAL: [i32; 5] = [3, 13, 15, 26, 29];
const STORED: [i32; 4] = [
    response_code::SUCCESS,
    response_code::FLUSH_DISK_TIMEOUT,
    response_code::SLAVE_NOT_AVAILABLE,
    response_code::FLUSH_SLAVE_TIMEOUT,
];

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Checks at the moment at which a send ends.
pub(super) fn at_end(world: &World, index: usize) -> Vec<String> {
    let record = &world.sends[index];
    let mut found = Vec::new();
    let slack = MS + slack(world);
    let ended = record.ended_ns.unwrap_or(u64::MAX);
    if ended > record.deadline_ns.saturating_add(slack) {
        let late = Duration::from_nanos(ended - record.deadline_ns);
        found.push(format!("I-03: send #{index} ended {late:?} after its deadline"));
    }
    if let Some(Outcome::Stored(receipt)) = &record.outcome {
        found.extend(receipt_holds(world, index, receipt));
    }
    found
}

/// By how much a sloppy loop may be late.
fn slack(world: &World) -> u64 {
    let lazy = if world.habits.lazy > 0 { MS } else { 0 };
    super::nanos(world.habits.late_timers) + lazy
}

/// I-01: what a receipt says is in the log.
fn receipt_holds(world: &World, index: usize, receipt: &SendReceipt) -> Option<String> {
    let record = &world.sends[index];
    if receipt.unique_key.to_string() != record.unique_key {
        return Some(format!("I-01: the receipt of send #{index} is about another message"));
    }
    if world.relaxed.lies || world.relaxed.loss {
        return None;
    }
    let held = world.cluster().stored_all().any(|stored| {
        stored.unique_key.as_deref() == Some(&record.unique_key)
            && stored.topic == record.spec.topic
            && stored.broker == *receipt.broker_name
            && receipt.position.is_none_or(|position| {
                stored.queue_id == position.queue_id as i32
                    && stored.queue_offset == position.queue_offset
            })
    });
    let (broker, position) = (&receipt.broker_name, receipt.position);
    (!held).then(|| {
        format!("I-01: send #{index} is acknowledged at {broker} {position:?}, but not there")
    })
}

/// Checks whenever a machine has been drained.
pub(super) fn at_rest(world: &mut World, client: usize) -> Vec<String> {
    let mut found = Vec::new();
    let slack = slack(world);
    let (now, peer) = (world.now(), &mut world.clients[client]);
    let tables = peer.machine.table_sizes();
    let next = peer.machine.poll_timeout();
    if let Some((deadline, index)) = peer.deadlines.first() {
        match next {
            None => found.push(format!("I-24: send #{index} is open without any timer")),
            Some((at, _)) if at > *deadline && peer.clock_error == 0 => {
                found.push(format!("I-24: the next timer is after the deadline of send #{index}"));
            }
            Some(_) => {}
        }
        let overdue = world.sends[*index].deadline_ns.saturating_add(MS + slack);
        if now > overdue && peer.clock_error == 0 {
            found.push(format!("I-03: send #{index} is still open after its deadline"));
        }
    }
    if tables.operations != peer.open.len() {
        let (machine, open) = (tables.operations, peer.open.len());
        found.push(format!("I-14: {machine} operations in the table, {open} sends are open"));
    }
    let bound = tables.operations
        + tables.requests
        + tables.connections * 3
        + tables.addresses
        + tables.topics
        + 8;
    if tables.timers > bound {
        found.push(format!("I-16: {} timers, more than {bound}: {tables:?}", tables.timers));
    }
    if peer.closed_ns.is_some() {
        let left = tables.operations
            + tables.connections
            + tables.addresses
            + tables.topics
            + tables.brokers
            + tables.requests
            + tables.timers;
        if left > 0 || next.is_some() || !peer.links.is_empty() {
            found.push(format!("I-22: left after the close: {tables:?}, {next:?}"));
        }
    }
    found
}

/// I-19: an address has one connection that takes new requests.
pub(super) fn at_dial(world: &World, client: usize, address: &str) -> Option<String> {
    if world.relaxed.addresses {
        return None;
    }
    let rival = world.network.open_links().find(|(id, of, dialled)| {
        let sent_away = || {
            let code = Some(response_code::GO_AWAY);
            let frames = world.tap.frames.iter().filter(|frame| frame.link == id.0);
            frames.into_iter().any(|frame| frame.answer.as_ref().map(|a| a.code) == code)
        };
        *of == client && *dialled == address && !sent_away()
    });
    rival.map(|(id, _, _)| format!("I-19: {address} is dialled while connection {} lives", id.0))
}

/// Checks of the whole story.
pub(super) fn all(world: &World) -> Vec<String> {
    let mut found = world.tap.complaints.clone();
    let mut frames: BTreeMap<&str, Vec<&WireFrame>> = BTreeMap::new();
    for frame in world.tap.frames.iter() {
        if let Some(key) = &frame.unique_key {
            frames.entry(key).or_default().push(frame);
        }
    }
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for stored in world.cluster().stored_all() {
        *copies.entry(stored.unique_key.as_deref().unwrap_or("")).or_default() += 1;
    }
    let gone = sent_away(world);
    let mut keys: Vec<&str> = world.sends.iter().map(|send| &*send.unique_key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        found.push("I-28: two messages share a unique key".to_owned());
    }
    for (index, record) in world.sends.iter().enumerate() {
        let frames = frames.remove(&*record.unique_key).unwrap_or_default();
        let copies = copies.remove(&*record.unique_key).unwrap_or(0);
        let story = Story { world, index, record, frames: &frames, copies };
        story.attempts(&mut found);
        story.sameness(&mut found);
        story.legality(&mut found);
        story.not_sent_away(&gone, &mut found);
        story.spread(&mut found);
        if world.finished {
            story.truth(&mut found);
        }
    }
    if !copies.is_empty() && !world.relaxed.lies {
        found.push(format!("a broker holds messages that nobody sent: {copies:?}"));
    }
    queries(world, &mut found);
    if world.finished {
        closed(world, &mut found);
    }
    found
}

/// Everything known about one send.
struct Story<'a> {
    world: &'a World,
    index: usize,
    record: &'a SendRecord,
    frames: &'a [&'a WireFrame],
    copies: usize,
}

impl Story<'_> {
    /// I-02, I-04.
    fn attempts(&self, found: &mut Vec<String>) {
        let index = self.index;
        if self.world.finished && self.record.outcome.is_none() {
            found.push(format!("I-02: send #{index} never ended"));
        }
        let oneway = self.record.spec.mode == Mode::Oneway;
        let most = if oneway { 1 } else { self.record.attempts_max as usize };
        if self.frames.len() > most {
            let count = self.frames.len();
            found.push(format!("I-04: send #{index} was on the wire {count} times, not {most}"));
        }
        let ended = self.record.ended_ns.unwrap_or(u64::MAX);
        if self.frames.iter().any(|frame| frame.first_ns > ended) {
            found.push(format!("I-08: an attempt of send #{index} began after its end"));
        }
    }

    /// I-07: the same message each time.
    fn sameness(&self, found: &mut Vec<String>) {
        let whole = self.frames.iter().filter(|frame| frame.written_ns.is_some());
        for frame in whole {
            let properties = parse_properties(frame.properties());
            let same = frame.command.body == self.record.spec.body
                && frame.topic() == self.record.spec.topic
                && properties.get("number") == Some(&self.index.to_string());
            if !same {
                found.push(format!("I-07: an attempt of send #{} is altered", self.index));
            }
        }
        let differ = |pair: &[&WireFrame]| pair[0].properties() != pair[1].properties();
        if self.frames.windows(2).any(differ) {
            found.push(format!("I-07: send #{} changed its properties", self.index));
        }
    }

    /// I-08: no attempt after an answer that settles the matter.
    fn legality(&self, found: &mut Vec<String>) {
        let weak_retry =
            self.world.clients[self.record.spec.client].machine.config().retry_weak_acknowledgement;
        for (position, frame) in self.frames.iter().enumerate() {
            let Some(answer) = &frame.answer else { continue };
            let weak = answer.code != response_code::SUCCESS && weak_retry;
            let done = STORED.contains(&answer.code) && !weak;
            let later = &self.frames[position + 1..];
            // Begun means chosen: its bytes may have to wait for a connection.
            let last = !self.begun_between(frame.first_ns, answer.at_ns);
            let settled = done || (FINAL.contains(&answer.code) && last);
            if settled && later.iter().any(|next| next.first_ns > answer.at_ns) {
                let (index, code) = (self.index, answer.code);
                found.push(format!("I-08: send #{index} went on after the answer {code}"));
            }
        }
    }

    /// Whether an attempt began after `from` and before `to`.
    fn begun_between(&self, from: u64, to: u64) -> bool {
        let events = self.world.events(self.record.spec.client).iter();
        let wanted = self.record.op;
        events.filter(|(at, _)| *at > from && *at < to).any(|(_, event)| match event {
            Event::AttemptStarted { op, .. } => *op == wanted,
            _ => false,
        })
    }

    /// A connection whose peer asked to go away takes nothing new.
    fn not_sent_away(&self, gone: &BTreeMap<u64, u64>, found: &mut Vec<String>) {
        let started = self.record.started_ns;
        let after = |frame: &&&WireFrame| gone.get(&frame.link).is_some_and(|at| *at < started);
        if let Some(frame) = self.frames.iter().find(after) {
            let (index, link) = (self.index, frame.link);
            found.push(format!("T-45: send #{index} began on connection {link} after GO_AWAY"));
        }
    }

    /// I-10: another broker first, and time left for it.
    fn spread(&self, found: &mut Vec<String>) {
        let config = self.world.clients[self.record.spec.client].machine.config();
        let Some(outcome) = &self.record.outcome else { return };
        if !config.latency_avoidance || self.record.spec.queue.is_some() {
            return;
        }
        // Events do not tell for which brokers of a route there is an address.
        if self.brokers_known() < 2 || self.world.relaxed.addresses {
            return;
        }
        let mut names: Vec<&str> =
            outcome.failed_attempts().iter().map(|attempt| &*attempt.broker_name).collect();
        if let Outcome::Stored(receipt) = outcome
            && names.len() == 1
        {
            names.push(&receipt.broker_name);
        }
        let late = self.frames.iter().any(|f| {
            f.answer.as_ref().is_some_and(|a| {
                // An adopted late answer names the first broker twice, and rightly so.
                STORED.contains(&a.code)
                    && self.frames.last().is_some_and(|l| l.first_ns != f.first_ns)
            })
        });
        // Without the weakly acknowledged one, the first of the list is not the first attempt.
        let weak = outcome.receipt().is_some_and(|r| r.status != SendStatus::SendOk);
        // A broker that does not create the topic leaves the default route, without an event.
        let excluded = || {
            let mine = |f: &&WireFrame| f.topic() == self.record.spec.topic;
            let mut frames = self.world.tap.frames.iter().filter(mine);
            frames.any(|f| f.answer.as_ref().is_some_and(|a| a.code == 17))
        };
        if names.len() >= 2 && names[0] == names[1] && !late && !weak && !excluded() {
            let (index, name) = (self.index, names[0]);
            found.push(format!("I-10: send #{index} tried {name} twice, though there is another"));
        }
        let budget = self.record.deadline_ns - self.record.started_ns;
        let least = super::nanos(config.attempt_timeout_min);
        let share = (budget / u64::from(self.record.attempts_max)).max(least);
        let share = share + MS + slack(self.world);
        if let Some(first) = outcome.failed_attempts().first()
            && first.failure == AttemptFailure::TimedOut
            && self.record.attempts_max > 1
            && !weak
            && first.elapsed.as_nanos() as u64 > share
        {
            let (index, elapsed) = (self.index, first.elapsed);
            found.push(format!("I-10: the first attempt of send #{index} took {elapsed:?}"));
        }
    }

    /// Fewest brokers with a writable queue of which the client knew while the send was open.
    fn brokers_known(&self) -> u32 {
        let ended = self.record.ended_ns.unwrap_or(u64::MAX);
        let mut known = None;
        let mut fewest = u32::MAX;
        for (at, event) in self.world.events(self.record.spec.client) {
            if let Event::RouteChanged { topic, brokers, .. } = event
                && **topic == *self.record.spec.topic
                && *at <= ended
            {
                if *at > self.record.started_ns {
                    fewest = fewest.min(*brokers);
                }
                known = Some((*at, *brokers));
                if *at <= self.record.started_ns {
                    fewest = *brokers;
                }
            }
        }
        if known.is_none() { 0 } else { fewest }
    }

    /// I-05, I-06, I-12, at the end of all time.
    fn truth(&self, found: &mut Vec<String>) {
        let (index, relaxed) = (self.index, self.world.relaxed);
        let whole = self.frames.iter().filter(|frame| frame.written_ns.is_some()).count();
        if self.copies > whole {
            let copies = self.copies;
            found.push(format!("I-06: {copies} copies of send #{index}, {whole} frames written"));
        }
        let answers = || self.frames.iter().filter_map(|frame| frame.answer.as_ref());
        match &self.record.outcome {
            Some(Outcome::Stored(receipt)) => {
                if !answers().any(|answer| STORED.contains(&answer.code)) {
                    found.push(format!("I-12: nobody acknowledged send #{index} to its sender"));
                }
                found.extend(receipt_holds(self.world, index, receipt));
            }
            Some(Outcome::Sent(_)) if whole == 0 => {
                found.push(format!("I-05: oneway send #{index} was sent, they say; it was not"));
            }
            Some(outcome) => match outcome.delivery() {
                Some(Delivery::NotSent) if self.copies > 0 || whole > 0 => {
                    found.push(format!(
                        "I-05: send #{index} is NotSent: {} copies, {whole} frames",
                        self.copies
                    ));
                }
                Some(Delivery::Refused) if self.copies > 0 && !relaxed.lies => {
                    found.push(format!("I-05: send #{index} is Refused, yet it is stored"));
                }
                Some(Delivery::Refused) if answers().count() == 0 => {
                    found.push(format!("I-05: send #{index} is Refused, yet nobody answered"));
                }
                Some(Delivery::Unknown) if self.proved() => {
                    found.push(format!("I-05: send #{index} is Unknown without a reason"));
                }
                _ => {}
            },
            None => {}
        }
    }

    /// Whether every attempt on the wire was whole and refused for sure: nothing is unknown then.
    fn proved(&self) -> bool {
        let (client, started) = (self.record.spec.client, self.record.started_ns);
        let ended = self.record.ended_ns.unwrap_or(u64::MAX);
        let fragment = self
            .world
            .tap
            .fragments
            .iter()
            .any(|(of, first, last)| *of == client && *first <= ended && *last >= started);
        if fragment {
            return false;
        }
        self.frames.iter().all(|frame| {
            let certain = |code: i32| {
                [2, 3, 13, 14, 15, 16, 17, 26, 29, 204, 205, 215, 501, 1500].contains(&code)
            };
            let answer = frame.answer.as_ref().filter(|answer| answer.at_ns <= ended);
            answer.is_some_and(|answer| certain(answer.code))
        })
    }
}

/// Connections on which a client was asked to go away, and when.
fn sent_away(world: &World) -> BTreeMap<u64, u64> {
    let mut gone = BTreeMap::new();
    for frame in world.tap.frames.iter() {
        if let Some(answer) = &frame.answer
            && answer.code == response_code::GO_AWAY
        {
            let at = gone.entry(frame.link).or_insert(answer.at_ns);
            *at = answer.at_ns.min(*at);
        }
    }
    gone
}

/// I-22: a healthy connection on which a broker was greeted is not closed without a farewell.
pub(super) fn at_farewell(world: &World, id: LinkId) -> Option<String> {
    let excused = world.relaxed.addresses || !world.network.is_clear(id);
    let node = world.network.node(id).filter(|node| matches!(node, Node::Broker(_)) && !excused)?;
    let sent = |code: i32| {
        let mine = world.tap.frames.iter().filter(|frame| frame.link == id.0);
        mine.into_iter().any(|frame| frame.command.code == code)
    };
    let silent = !sent(request_code::UNREGISTER_CLIENT) && sent(request_code::HEART_BEAT);
    let away = sent_away(world).contains_key(&id.0);
    (silent && !away).then(|| format!("I-22: connection {} leaves {node:?} without a word", id.0))
}

/// I-21: a client greets every broker about every 30 s while all is well.
pub(super) fn heartbeats(world: &World, client: usize, brokers: usize) -> Vec<String> {
    let config = world.clients[client].machine.config();
    let period = super::nanos(config.heartbeat.period) + SECOND + slack(world) * 2;
    let greeted = |broker: &usize| {
        let mine = world.cluster().heartbeats(*broker).iter().rev();
        let last = mine.into_iter().find(|h| *h.heartbeat.client_id == *config.client_id);
        last.is_some_and(|heartbeat| heartbeat.at_ns + period >= world.now())
    };
    let missed = (0..brokers).filter(|broker| !greeted(broker));
    missed.map(|broker| format!("I-21: client {client} does not greet broker {broker}")).collect()
}

/// I-18: name servers are asked once at a time for one topic, and not too often.
fn queries(world: &World, found: &mut Vec<String>) {
    let mut asked: BTreeMap<(usize, Node, &str), Vec<&WireFrame>> = BTreeMap::new();
    let template = &world.clients[0].machine.config().create_topic_key;
    for frame in world.tap.frames.iter() {
        // The template is asked for on behalf of any number of topics.
        if frame.command.code == request_code::GET_ROUTEINFO_BY_TOPIC
            && frame.topic() != &**template
        {
            asked.entry((frame.client, frame.node, frame.topic())).or_default().push(frame);
        }
    }
    for ((client, node, topic), frames) in asked {
        let timeout = super::nanos(world.clients[client].machine.config().request_timeout);
        for pair in frames.windows(2) {
            let given_up = pair[0].first_ns.saturating_add(timeout);
            let answered = pair[0].answer.as_ref().map_or(given_up, |answer| answer.at_ns);
            let free = answered.min(given_up).min(lost_at(world, pair[0]));
            if pair[1].first_ns < free && pair[0].link == pair[1].link {
                let at = Duration::from_nanos(pair[1].first_ns);
                found.push(format!("I-18: {node:?} was asked twice at once for {topic}, {at:?}"));
            }
        }
        // With sends waiting, a failed look-up is tried again after 100 to 200 ms.
        for window in frames.windows(16) {
            if window[15].first_ns - window[0].first_ns < SECOND {
                let at = Duration::from_nanos(window[0].first_ns);
                found.push(format!("I-18: {node:?} was asked 16 times in 1 s for {topic}, {at:?}"));
                break;
            }
        }
    }
}

/// When a frame that was not fully written was lost with its connection.
fn lost_at(world: &World, frame: &WireFrame) -> u64 {
    let open = world.network.is_open(LinkId(frame.link));
    if open { u64::MAX } else { frame.first_ns }
}

/// I-22: nothing happens after the close.
fn closed(world: &World, found: &mut Vec<String>) {
    for (client, peer) in world.clients.iter().enumerate() {
        let Some(closed) = peer.closed_ns else {
            found.push(format!("I-22: client {client} never closed"));
            continue;
        };
        let late = world.tap.frames.iter().find(|f| f.client == client && f.first_ns > closed);
        if let Some(late) = late {
            found.push(format!("I-22: client {client} sent {} after the close", late.command.code));
        }
        let mut told: BTreeMap<(u64, Option<&String>), u32> = BTreeMap::new();
        let unregisters = world.tap.frames.iter().filter(|frame| {
            frame.client == client && frame.command.code == request_code::UNREGISTER_CLIENT
        });
        for frame in unregisters {
            let group = frame.command.ext.get("producerGroup");
            *told.entry((frame.link, group)).or_default() += 1;
        }
        if told.values().any(|count| *count > 1) {
            found.push(format!("I-22: client {client} unregistered twice on one connection"));
        }
    }
    if world.network.open_links().next().is_some() {
        found.push("I-22: a connection outlives its client".to_owned());
    }
}
