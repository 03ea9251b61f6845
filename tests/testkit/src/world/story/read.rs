//! Reads the story of a run off its world.

use std::collections::BTreeMap;

use rocketmq_core::wire::{Encoding, SendStatus};
use rocketmq_core::{AttemptFailure, Event, Mode, OpId, Stage};

use super::super::swarm::Kind;
use super::super::{Outcome, SendRecord, WireFrame, World};
use super::tell::brief;
use super::{
    AttemptStory, ConnectionStory, Ending, FaultStory, Isolation, Lane, Note, PhaseStory,
    SendStory, Story,
};
use crate::cluster::{Node, ServerVersion};
use crate::network::Segmentation;
use crate::wire::response_code;

const WEAK: [i32; 3] = [
    response_code::FLUSH_DISK_TIMEOUT,
    response_code::SLAVE_NOT_AVAILABLE,
    response_code::FLUSH_SLAVE_TIMEOUT,
];

/// Codes that are said before a message is stored, never after.
const REFUSALS: [i32; 14] = [2, 3, 13, 14, 15, 16, 17, 26, 29, 204, 205, 215, 501, 1500];

pub(super) fn story(world: &World) -> Story {
    let mut lanes = Vec::new();
    for node in world.cluster().nodes() {
        let name = match node {
            Node::NameServer(index) => format!("name server {}", index + 1),
            Node::Broker(index) => world.cluster().broker_name(index),
        };
        lanes.push(Lane { node, name });
    }
    lanes.sort_by_key(|lane| matches!(lane.node, Node::Broker(_)));
    let clients = world.clients.len();
    let mut story = Story {
        seed: world.seed(),
        about: about(world),
        lanes,
        clients,
        phases: phases(world),
        faults: faults(world),
        isolations: Vec::new(),
        connections: Vec::new(),
        sends: sends(world),
        notes: Vec::new(),
        copies: world.cluster().stored_all().count() as u64,
        violations: world.violations().iter().map(ToString::to_string).collect(),
        end_ns: world.now(),
        trace_lines: world.trace().total(),
        hash: world.trace().hash(),
    };
    for client in 0..clients {
        isolations(world, client, &mut story);
        connections(world, client, &mut story);
        notes(world, client, &mut story);
    }
    story.isolations.sort_by_key(|isolation| isolation.start_ns);
    story.connections.sort_by_key(|connection| connection.start_ns);
    story.notes.sort_by_key(|note| note.at_ns);
    story
}

// ---- What it was ----------------------------------------------------------------------------

fn about(world: &World) -> Vec<String> {
    let cluster = world.cluster().config();
    let version = match cluster.version {
        ServerVersion::V4_9 => "4.9",
        ServerVersion::V5_1 => "5.1",
        ServerVersion::V5_5 => "5.5",
    };
    let topics = cluster.topics.iter();
    let topics: Vec<_> =
        topics.map(|(name, topic)| format!("{name} ({} queues)", topic.write_queues)).collect();
    let mut about = vec![format!(
        "{}, {} as in {version}, {}; topics {}",
        counted(cluster.name_servers, "name server"),
        counted(cluster.brokers, "broker"),
        counted(world.clients.len(), "client"),
        if topics.is_empty() { "none".to_owned() } else { topics.join(", ") },
    )];
    if let Some(peer) = world.clients.first() {
        let config = peer.machine.config();
        let encoding = match config.encoding {
            Encoding::Json => "JSON",
            Encoding::Binary => "binary",
        };
        let mut line = format!(
            "sends: {encoding} headers, {} within {:?}",
            counted(config.retries_max as usize + 1, "attempt"),
            config.send_timeout
        );
        for (on, what) in [
            (config.latency_avoidance, ", slow and failed brokers are avoided"),
            (config.retry_weak_acknowledgement, ", weak acknowledgements are tried again"),
            (config.retry_only_if_not_stored, ", nothing that may be stored is tried again"),
        ] {
            line.push_str(if on { what } else { "" });
        }
        about.push(line);
    }
    about.push(links(world));
    about
}

fn links(world: &World) -> String {
    let profile = world.network.profile();
    let pieces = match profile.segmentation {
        Segmentation::Whole => "whole".to_owned(),
        Segmentation::Random(most) => format!("in pieces of up to {most} bytes"),
        Segmentation::Bytes => "byte by byte".to_owned(),
    };
    let mut line = format!(
        "links: {:?} each way plus up to {:?}, received {pieces}, room for {} bytes",
        profile.delay, profile.jitter, profile.buffer_bytes
    );
    let habits = &world.habits;
    if !habits.late_timers.is_zero() {
        line.push_str(&format!("; timers up to {:?} late", habits.late_timers));
    }
    line
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn phases(world: &World) -> Vec<PhaseStory> {
    let ends = world.phases().iter().skip(1).map(|(_, at)| *at).chain([world.now()]);
    let phases = world.phases().iter().zip(ends);
    let phases = phases.map(|((name, start_ns), end_ns)| PhaseStory {
        name: (*name).to_owned(),
        start_ns: *start_ns,
        end_ns,
    });
    phases.collect()
}

fn faults(world: &World) -> Vec<FaultStory> {
    // Whatever lasts longer is healed there.
    let healed = world.phases().iter().find(|(name, _)| *name == "heal");
    let last = healed.map_or(world.now(), |(_, at)| *at);
    let faults = world.faults().iter().map(|fault| FaultStory {
        number: fault.number,
        name: fault.name.to_owned(),
        text: Kind::ALL
            .iter()
            .find(|kind| kind.name() == fault.name)
            .map_or("", |kind| kind.text()),
        node: fault.node,
        start_ns: fault.begin_ns,
        end_ns: fault.end_ns.min(last).max(fault.begin_ns),
    });
    faults.collect()
}

// ---- Sends ----------------------------------------------------------------------------------

/// What a client reported about an operation.
#[derive(Default)]
struct Reports {
    /// Time, number, broker, queue.
    started: Vec<(u64, u32, String, u32)>,
    /// Time, number, failure.
    failed: Vec<(u64, u32, AttemptFailure)>,
}

fn sends(world: &World) -> Vec<SendStory> {
    let mut reports: BTreeMap<(usize, OpId), Reports> = BTreeMap::new();
    for (client, peer) in world.clients.iter().enumerate() {
        for (at, event) in &peer.events {
            match event {
                Event::AttemptStarted { op, number, broker_name, queue_id, .. } => {
                    let start = (*at, *number, broker_name.to_string(), *queue_id);
                    reports.entry((client, *op)).or_default().started.push(start);
                }
                Event::AttemptFailed { op, number, failure, .. } => {
                    let failed = (*at, *number, failure.clone());
                    reports.entry((client, *op)).or_default().failed.push(failed);
                }
                _ => {}
            }
        }
    }
    let mut frames: BTreeMap<&str, Vec<&WireFrame>> = BTreeMap::new();
    for frame in world.frames() {
        if let Some(key) = &frame.unique_key {
            frames.entry(key).or_default().push(frame);
        }
    }
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for stored in world.cluster().stored_all() {
        *copies.entry(stored.unique_key.as_deref().unwrap_or("")).or_default() += 1;
    }
    let nodes: BTreeMap<String, Node> = (0..world.cluster().config().brokers)
        .map(|index| (world.cluster().broker_name(index), Node::Broker(index)))
        .collect();
    let sends = world.records().iter().enumerate().map(|(number, record)| {
        let reports = reports.remove(&(record.spec.client, record.op)).unwrap_or_default();
        let frames = frames.remove(&*record.unique_key).unwrap_or_default();
        let attempts = attempts(world, record, &reports, &frames, &nodes);
        SendStory {
            number,
            client: record.spec.client,
            topic: record.spec.topic.clone(),
            oneway: record.spec.mode == Mode::Oneway,
            start_ns: record.started_ns,
            end_ns: record.ended_ns,
            cancelled_ns: record.cancelled_ns,
            ending: ending(record, &attempts),
            words: words(record),
            attempts,
            copies: copies.remove(&*record.unique_key).unwrap_or(0),
        }
    });
    sends.collect()
}

fn ending(record: &SendRecord, attempts: &[AttemptStory]) -> Ending {
    match &record.outcome {
        None => Ending::Open,
        Some(Outcome::Stored(receipt)) => {
            let weak = receipt.status != SendStatus::SendOk || receipt.position.is_none();
            if attempts.iter().any(|attempt| attempt.ending == Ending::Late) {
                Ending::Late
            } else if weak {
                Ending::Weak
            } else {
                Ending::Stored
            }
        }
        Some(Outcome::Sent(_)) => Ending::Sent,
        Some(outcome) => outcome.delivery().map_or(Ending::Open, Ending::from),
    }
}

fn words(record: &SendRecord) -> String {
    match &record.outcome {
        None => "open".to_owned(),
        Some(Outcome::Stored(receipt)) => {
            let place = receipt.position.map_or(", position unknown".to_owned(), |position| {
                format!(" queue {} at offset {}", position.queue_id, position.queue_offset)
            });
            let status = match receipt.status {
                SendStatus::SendOk => String::new(),
                status => format!(" ({})", status.name()),
            };
            format!("stored on {}{place}{status}", receipt.broker_name)
        }
        Some(Outcome::Sent(receipt)) => {
            format!("sent to {} queue {}", receipt.broker_name, receipt.queue_id)
        }
        Some(Outcome::Failed(error)) => {
            format!("{}; {}", brief(&error.kind().to_string()), error.delivery())
        }
        Some(Outcome::Rejected(kind)) => format!("not taken in: {}", brief(&kind.to_string())),
    }
}

fn attempts(
    world: &World,
    record: &SendRecord,
    reports: &Reports,
    frames: &[&WireFrame],
    nodes: &BTreeMap<String, Node>,
) -> Vec<AttemptStory> {
    let over = record.ended_ns.unwrap_or(world.now());
    let frames_of = frames_of(reports, frames, nodes);
    let mut attempts = Vec::new();
    for (place, (start_ns, number, broker, queue)) in reports.started.iter().enumerate() {
        let next = reports.started.get(place + 1).map_or(over, |next| next.0);
        let failed = reports.failed.iter().find(|failed| failed.1 == *number);
        let end_ns = failed.map_or(next, |failed| failed.0).max(*start_ns);
        let node = nodes.get(broker).copied();
        let frame = frames_of.get(&place);
        let written_ns = frame.and_then(|frame| frame.written_ns);
        let answer = frame.and_then(|frame| frame.answer.as_ref());
        let answer = answer.map(|answer| (answer.at_ns, answer.code));
        let in_time = answer.filter(|(at, _)| *at <= end_ns);
        let stage = match (in_time, written_ns, frame) {
            (Some(_), _, _) => Stage::Answered,
            (None, Some(at), _) if at <= end_ns => Stage::Await,
            (None, _, Some(_)) => Stage::Write,
            (None, _, None) => Stage::Connect,
        };
        let failure = failed.map(|failed| brief(&failed.2.to_string()));
        attempts.push(AttemptStory {
            number: *number,
            broker: broker.clone(),
            node,
            queue: *queue,
            start_ns: *start_ns,
            written_ns,
            answer,
            end_ns,
            stage,
            failure,
            ending: attempt_ending(record, stage, in_time, answer),
        });
    }
    attempts
}

/// The frame of each attempt that came as far as the wire. Bytes leave after the queue was chosen:
/// from the last frame on, each belongs to the last attempt at its broker that can have sent it.
fn frames_of<'a>(
    reports: &Reports,
    frames: &[&'a WireFrame],
    nodes: &BTreeMap<String, Node>,
) -> BTreeMap<usize, &'a WireFrame> {
    let mut found = BTreeMap::new();
    for frame in frames.iter().rev() {
        let mut places = reports.started.iter().enumerate().rev();
        let place = places.find(|(place, (start_ns, _, broker, queue))| {
            !found.contains_key(place)
                && *start_ns <= frame.first_ns
                && nodes.get(broker) == Some(&frame.node)
                && i64::from(*queue) == i64::from(frame.queue_id())
        });
        if let Some((place, _)) = place {
            found.insert(place, *frame);
        }
    }
    found
}

/// What one attempt did with the message, by the wire alone.
fn attempt_ending(
    record: &SendRecord,
    stage: Stage,
    in_time: Option<(u64, i32)>,
    answer: Option<(u64, i32)>,
) -> Ending {
    let by_code = |code| match code {
        response_code::SUCCESS => Ending::Stored,
        code if WEAK.contains(&code) => Ending::Weak,
        code if REFUSALS.contains(&code) => Ending::Refused,
        // Anything else may be said after the message was stored.
        _ => Ending::Unknown,
    };
    let stored = record.outcome.as_ref().is_some_and(Outcome::is_stored);
    match (in_time, answer) {
        (Some((_, code)), _) => by_code(code),
        (None, Some((at, code)))
            if stored && record.ended_ns == Some(at) && by_code(code).is_stored() =>
        {
            Ending::Late
        }
        _ if stage < Stage::Await => Ending::NotSent,
        _ if record.ended_ns.is_none() => Ending::Open,
        _ if matches!(record.outcome, Some(Outcome::Sent(_))) => Ending::Sent,
        _ => Ending::Unknown,
    }
}

// ---- What else the clients reported ---------------------------------------------------------

fn isolations(world: &World, client: usize, story: &mut Story) {
    let mut open: BTreeMap<Node, Isolation> = BTreeMap::new();
    let error = world.clients[client].clock_error;
    for (at, event) in &world.clients[client].events {
        let Event::FaultUpdated { broker_name, isolated_until } = event else { continue };
        let Some(node) = story.lanes.iter().find(|lane| *lane.name == **broker_name) else {
            continue;
        };
        let node = node.node;
        let until = isolated_until.as_nanos().saturating_add_signed(-error);
        if let Some(mut isolation) = open.remove(&node) {
            if isolation.end_ns >= *at && until > *at {
                isolation.end_ns = until;
                open.insert(node, isolation);
                continue;
            }
            isolation.end_ns = isolation.end_ns.min(*at);
            story.isolations.push(isolation);
        }
        if until > *at {
            open.insert(node, Isolation { client, node, start_ns: *at, end_ns: until });
        }
    }
    let now = world.now();
    let rest = open.into_values().map(|i| Isolation { end_ns: i.end_ns.min(now), ..i });
    story.isolations.extend(rest.filter(|isolation| isolation.end_ns > isolation.start_ns));
}

fn connections(world: &World, client: usize, story: &mut Story) {
    let mut open = BTreeMap::new();
    for (at, event) in &world.clients[client].events {
        match event {
            Event::Connected { conn, address } => {
                let node = world.network.resolve(address);
                open.insert(*conn, story.connections.len());
                let connection = ConnectionStory { client, node, start_ns: *at, end: None };
                story.connections.push(connection);
            }
            Event::Disconnected { conn, reason, .. } => {
                let entry = open.remove(conn).and_then(|at| story.connections.get_mut(at));
                if let Some(connection) = entry {
                    connection.end = Some((*at, reason.to_string()));
                }
            }
            _ => {}
        }
    }
}

fn notes(world: &World, client: usize, story: &mut Story) {
    let whom = |address: &str| match world.network.resolve(address) {
        Some(node) => story.name(node).to_owned(),
        None => address.to_owned(),
    };
    let mut notes = Vec::new();
    for (at, event) in &world.clients[client].events {
        let (kind, text) = match event {
            Event::ConnectFailed { address, failure, .. } => {
                let text =
                    format!("no connection to {}: {}", whom(address), brief(&failure.to_string()));
                (text.clone(), text)
            }
            Event::RouteChanged { topic, brokers, queues } => (
                format!("route of {topic}"),
                format!(
                    "route of {topic}: {} on {}",
                    counted(*queues as usize, "writable queue"),
                    counted(*brokers as usize, "broker")
                ),
            ),
            Event::RouteFailed { topic, address, failure } => {
                let text = format!(
                    "no route of {topic} from {}: {}",
                    whom(address),
                    brief(&failure.to_string())
                );
                (text.clone(), text)
            }
            Event::HeartbeatFailed { address, failure } => {
                let text = format!(
                    "heartbeat to {} failed: {}",
                    whom(address),
                    brief(&failure.to_string())
                );
                (text.clone(), text)
            }
            Event::LateAnswer { code, op, .. } => {
                let whose =
                    if op.is_some() { "to a send that goes on" } else { "nobody waits for" };
                (format!("an answer {whose}"), format!("an answer {whose}: code {code}"))
            }
            Event::RequestRefused { code, .. } => {
                ("a request is refused".to_owned(), format!("a broker's request {code} is refused"))
            }
            _ => continue,
        };
        notes.push(Note { at_ns: *at, client, kind, text });
    }
    story.notes.extend(notes);
}
