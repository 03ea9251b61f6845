//! A client alone, driven by inputs in any order at any time.

use std::time::Duration;

use bytes::BytesMut;
use rocketmq_core::wire::{Encoding, UniqueKeySource};
use rocketmq_core::{
    CancelOutcome, Client, ClockReading, CloseReason, Config, ConnId, ConnectFailure, EventSet,
    GroupId, Instant, Message, MessageQueue, Mode, OpId, PreparedMessage, Selection, SendCommand,
    SendErrorKind, WallTime,
};
use rocketmq_testkit::wire::{Command, request_code};

use super::bytes::Choices;
use super::model::{Bounds, Model, Open, Purpose};
use super::world::{WALL_MS, answer, receipt, route_body, unique_keys};

mod services;

const TOPICS: [&str; 3] = ["T", "U", "%RETRY%g"];
const GROUPS: [&str; 3] = ["g", "h", "DEFAULT_PRODUCER"];
const BROKERS: [&str; 3] = ["127.0.0.1:10911", "127.0.0.2:10911", "broker-c:10911"];
/// A broker of the route is reached under its own address or, now and then, under this one.
const MOVED: &str = "127.0.0.1:10921";
const STORED: [i32; 4] = [0, 10, 11, 12];
const REFUSED: [i32; 12] = [1, 2, 3, 13, 14, 16, 17, 26, 29, 215, 1500, -5];
const STEPS_MS: [u64; 12] = [0, 1, 9, 10, 100, 400, 1_000, 3_000, 15_000, 30_000, 120_000, 600_000];
const FAILURES: [ConnectFailure; 3] =
    [ConnectFailure::Refused, ConnectFailure::TimedOut, ConnectFailure::NameNotResolved];

/// Any inputs in any order: see the model above for what must hold.
pub fn client(data: &[u8]) {
    client_outcome(data);
}

/// As [`client`]; the digest of all that came out, to compare two runs.
pub fn client_outcome(data: &[u8]) -> u64 {
    let mut run = Run::new(Choices::new(data));
    while !run.choices.is_over() {
        run.step();
    }
    run.finish();
    run.model.digest()
}

struct Run<'a> {
    choices: Choices<'a>,
    client: Client,
    model: Model,
    now: Instant,
    /// Besides sends: transactions, requests, traces, credentials, queries.
    serves: bool,
    /// Subtracted from the time of the next input.
    step_back_ms: u64,
    groups: Vec<GroupId>,
    /// One more than the limit, which can grow.
    generations: [u32; 9],
    unique_keys: UniqueKeySource,
    bounds: Bounds,
    unsent_max: usize,
    /// Outputs are not polled for so many steps.
    hold: usize,
    /// Nothing has happened since outputs were polled for.
    polled: bool,
    next_waiter: u64,
}

impl<'a> Run<'a> {
    fn new(mut choices: Choices<'a>) -> Self {
        let first = choices.byte();
        let serves = first & 4 == 4;
        let servers = if first & 1 == 1 { "127.0.0.1:9876;ns:9876" } else { "127.0.0.1:9876" };
        let switches = choices.byte();
        let on = |bit: u8| switches >> bit & 1 == 1;
        let unsent_max = if on(0) { 300 } else { 64 * 1024 };
        let mut config = Config::builder(servers)
            .client_id("fuzz")
            .encoding(if on(1) { Encoding::Binary } else { Encoding::Json })
            .long_send_header(on(2))
            .latency_avoidance(on(3))
            .retry_weak_acknowledgement(on(4))
            .retry_only_if_not_stored(on(5))
            .create_topics(on(6))
            .unsent_bytes_max(unsent_max)
            .in_flight_messages_max(4)
            .retries_max(choices.below(4) as u32)
            .events(EventSet::ALL);
        if on(7) {
            config = config.topic("T");
        }
        if serves {
            config = services::settings(config, first);
        }
        let config = config.build().expect("legal settings");
        let seed = u64::from(choices.byte());
        // The addresses are the name servers, each broker's first and second, and one of a proxy.
        // The topics are those of messages and of new topics, and that of replies.
        let topics = TOPICS.len() + 1 + usize::from(serves);
        let bounds = Bounds { topics, addresses: 6, brokers: 3, shutdowns: 0 };
        Self {
            choices,
            client: Client::new(config, seed, Instant::ZERO),
            model: Model::default(),
            now: Instant::ZERO,
            serves,
            step_back_ms: 0,
            groups: Vec::new(),
            generations: [0; 9],
            unique_keys: unique_keys(),
            bounds,
            unsent_max,
            hold: 0,
            polled: true,
            next_waiter: 0,
        }
    }

    fn step(&mut self) {
        match self.choices.byte() {
            service if self.serves && service >= 128 => self.service(service),
            other => self.common(other),
        }
        self.polled = self.hold == 0;
        if self.polled {
            self.settle();
        } else {
            self.hold -= 1;
        }
    }

    fn common(&mut self, choice: u8) {
        match choice % 20 {
            0..=2 => self.send(Purpose::Delivery),
            3 => self.cancel(),
            4 | 5 => self.pass_time(),
            6 | 7 => self.next_timeout(),
            8 | 9 => self.dial_ends(),
            10 | 11 => self.transmit(),
            12..=14 => self.answer(),
            15 => self.junk(),
            16 => self.connection_ends(),
            17 => self.register(),
            18 => self.wait_ready(),
            _ => self.rare(),
        }
    }

    fn drain(&mut self) {
        self.model.drain(&mut self.client);
        for op in self.model.freed.drain(..) {
            self.generations[op.index as usize] += 1;
        }
    }

    fn settle(&mut self) {
        self.drain();
        self.model.check(&mut self.client, &self.bounds);
    }

    /// The time as the next input tells it: now, or earlier once after a step back.
    fn clock(&mut self) -> Instant {
        let back = std::mem::take(&mut self.step_back_ms) * 1_000_000;
        Instant::from_nanos(self.now.as_nanos().saturating_sub(back))
    }

    fn connection(&mut self) -> Option<ConnId> {
        let all = self.model.connections();
        // Late ones mostly, for they are the live ones.
        let back = self.choices.below(8);
        let index = all.len().checked_sub(back + 1).or(all.len().checked_sub(1))?;
        Some(all[index])
    }

    // ---- The application --------------------------------------------------------------------

    fn send(&mut self, purpose: Purpose) {
        // Slot 8 is beyond the limit.
        let index = self.choices.below(9) as u32;
        let generation = self.generations.get(index as usize).copied().unwrap_or(0);
        let op = OpId { index, generation };
        if !self.polled && self.model.open.contains_key(&op) {
            // It may have ended without our having polled that, and the name is not free before.
            return;
        }
        let shape = self.choices.byte();
        let body = if shape & 1 == 1 { vec![b'x'; 5_000] } else { b"body".to_vec() };
        let topic = TOPICS[self.choices.below(TOPICS.len())];
        let message = Message::new(topic, body).with_property("p", "v");
        let clock = ClockReading { instant: self.now, wall: WallTime::from_millis(WALL_MS) };
        let key = self.unique_keys.next(WALL_MS);
        let config = self.client.config();
        let prepared = match purpose {
            Purpose::Delivery => PreparedMessage::new(message, key, clock, config),
            Purpose::Half => PreparedMessage::half(message, key, GROUPS[0], clock, config),
            Purpose::Request(id) => {
                let time_to_live = Duration::from_secs(3);
                PreparedMessage::request(message, key, id, time_to_live, clock, config)
            }
        };
        let prepared = prepared.expect("a legal message");
        let budget = STEPS_MS[self.choices.below(8)] * 1_000_000;
        let deadline = Instant::from_nanos(self.now.as_nanos() + budget);
        let mode = if shape & 2 == 2 { Mode::Oneway } else { Mode::Awaited };
        let broker = |n: u8| MessageQueue::new(format!("broker-{}", n % 4), u32::from(n));
        let queue = (shape & 12 == 12).then(|| broker(shape >> 4));
        let Some(group) = self.groups.get(usize::from(shape >> 6)).or(self.groups.first()) else {
            return;
        };
        let (group, started) = (*group, self.now);
        let command = SendCommand {
            mode,
            selection: queue.map_or(Selection::Any, Selection::Queue),
            ..SendCommand::new(group, started, deadline)
        };
        let now = self.clock();
        match self.client.send(now, op, prepared, command) {
            Ok(()) => {
                let open = Open { deadline, mode, key: key.to_string() };
                assert!(self.model.open.insert(op, open).is_none(), "{op} is taken twice");
                self.model.services.sent(op, purpose, key, deadline);
            }
            Err(rejected) => {
                let known = self.model.open.contains_key(&op) || index == 8;
                let closing = rejected.kind == SendErrorKind::Closed && self.bounds.shutdowns > 0;
                let closing = closing || self.model.services.refuses(purpose);
                assert!(known || closing, "{}", rejected.kind);
            }
        }
    }

    fn cancel(&mut self) {
        let index = self.choices.below(9) as u32;
        let generation = self.generations.get(index as usize).copied().unwrap_or(0);
        let op = OpId { index, generation };
        let now = self.clock();
        match self.client.cancel(now, op) {
            CancelOutcome::Ended(error) => {
                let open = self.model.open.remove(&op).expect("only an open send can end");
                self.model.check_failure(&open, &error);
                self.model.services.send_ended(op, None);
                self.generations[index as usize] += 1;
            }
            CancelOutcome::Detached => {
                assert!(self.model.open.contains_key(&op));
                self.model.services.detached(op);
            }
            // It may have ended already, without our having polled that.
            CancelOutcome::NotFound => {}
        }
    }

    fn register(&mut self) {
        let now = self.clock();
        let which = self.choices.below(GROUPS.len() + 1);
        if let Some(name) = GROUPS.get(which) {
            let group = match self.serves {
                true => self.register_traced(now, name),
                false => self.client.register(now, name).ok(),
            };
            self.groups.extend(group);
        } else if let Some(group) = self.groups.pop() {
            self.client.unregister(now, group);
        }
    }

    fn wait_ready(&mut self) {
        let deadline = self.now.as_nanos() + STEPS_MS[self.choices.below(8)] * 1_000_000;
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.model.waiters.insert(waiter);
        let now = self.clock();
        self.client.wait_ready(now, waiter, Instant::from_nanos(deadline));
    }

    fn rare(&mut self) {
        match self.choices.below(16) {
            0 => {
                let deadline = self.now.as_nanos() + STEPS_MS[self.choices.below(9)] * 1_000_000;
                self.bounds.shutdowns += 1;
                let now = self.clock();
                self.client.shutdown(now, Instant::from_nanos(deadline));
            }
            1..=4 => self.step_back_ms = STEPS_MS[self.choices.below(STEPS_MS.len())],
            _ => self.hold = self.choices.below(6) + 1,
        }
    }

    // ---- The world --------------------------------------------------------------------------

    fn pass_time(&mut self) {
        let step = STEPS_MS[self.choices.below(STEPS_MS.len())] * 1_000_000;
        self.advance_to(Instant::from_nanos(self.now.as_nanos() + step));
    }

    fn next_timeout(&mut self) {
        if let Some((at, _)) = self.client.poll_timeout() {
            self.advance_to(at.max(self.now));
        }
    }

    fn advance_to(&mut self, now: Instant) {
        self.now = now;
        self.client.handle_timeout(now);
        self.drain();
        self.model.check_time(&mut self.client, now);
    }

    fn dial_ends(&mut self) {
        let Some(conn) = self.connection() else { return };
        let failure = self.choices.byte();
        let now = self.clock();
        if !failure.is_multiple_of(4) {
            self.client.handle_connected(now, conn, Ok(()));
            if let Some(peer) = self.model.peers.get_mut(&conn) {
                peer.connected = true;
            }
        } else {
            let failure = FAILURES[usize::from(failure / 4) % FAILURES.len()];
            self.client.handle_connected(now, conn, Err(failure));
            // For a connection that is up this is a report that it has gone.
            self.model.peer_closed(conn);
        }
    }

    fn connection_ends(&mut self) {
        let Some(conn) = self.connection() else { return };
        let reasons = [CloseReason::Eof, CloseReason::Reset, CloseReason::Io];
        let reason = reasons[self.choices.below(reasons.len())];
        let now = self.clock();
        self.client.handle_closed(now, conn, reason);
        self.model.peer_closed(conn);
    }

    fn transmit(&mut self) {
        while self.client.poll_transmit().is_some() {}
        let Some(conn) = self.connection() else { return };
        let portion = [1, 9, 150, usize::MAX, usize::MAX, usize::MAX][self.choices.below(6)];
        let bytes = self.client.transmit_chunks(conn).collect::<Vec<_>>().concat();
        // One frame may go beyond, and answers have the same room once more.
        let most = 2 * self.unsent_max + 16 * 1024;
        assert!(bytes.len() <= most, "{} bytes wait for the socket", bytes.len());
        let taken = bytes.len().min(portion);
        self.model.transmitted(conn, &bytes[..taken]);
        let now = self.clock();
        self.client.handle_transmitted(now, conn, taken);
        let left: usize = self.client.transmit_chunks(conn).map(<[u8]>::len).sum();
        assert!(left == bytes.len() - taken || left == 0, "{left} bytes are left");
    }

    /// A server sends bytes, and the client takes what it can use.
    fn deliver(&mut self, conn: ConnId, bytes: &[u8]) {
        let now = self.clock();
        let Some(peer) = self.model.peers.get_mut(&conn) else {
            // Read before the connection was closed, and reported after.
            let mut buffer = BytesMut::from(bytes);
            self.client.handle_received(now, conn, &mut buffer);
            return;
        };
        peer.to_client.extend_from_slice(bytes);
        self.client.handle_received(now, conn, &mut peer.to_client);
    }

    fn answer(&mut self) {
        let Some(conn) = self.connection() else { return };
        let choice = self.choices.byte();
        let Some(peer) = self.model.peers.get_mut(&conn) else {
            return;
        };
        let rest = std::mem::take(&mut peer.held_back);
        if !rest.is_empty() {
            return self.deliver(conn, &rest);
        }
        if peer.requests.is_empty() {
            return;
        }
        let index = usize::from(choice >> 4) % peer.requests.len();
        // Now and then a request is answered again later.
        let request = if choice & 7 == 7 {
            peer.requests[index].clone()
        } else {
            peer.requests.remove(index)
        };
        let reply = self.reply(conn, &request);
        let mut bytes = reply.encode();
        if choice & 8 == 8 {
            let rest = bytes.split_off(bytes.len() / 2);
            if let Some(peer) = self.model.peers.get_mut(&conn) {
                peer.held_back = rest;
            }
        }
        self.deliver(conn, &bytes);
    }

    fn reply(&mut self, conn: ConnId, request: &Command) -> Command {
        let choice = usize::from(self.choices.byte());
        let mut reply = match request.code {
            request_code::GET_ROUTEINFO_BY_TOPIC if choice < 16 => answer(request.opaque, 17),
            request_code::GET_ROUTEINFO_BY_TOPIC if choice < 24 => answer(request.opaque, 1),
            request_code::GET_ROUTEINFO_BY_TOPIC if choice < 32 => {
                answer(request.opaque, 0).with_body("{\"brokerDatas\":[{]}")
            }
            request_code::GET_ROUTEINFO_BY_TOPIC => {
                answer(request.opaque, 0).with_body(route(choice))
            }
            code if request_code::SENDS.contains(&code) => {
                let stored = choice >= 96;
                let codes: &[i32] = if stored { &STORED } else { &REFUSED };
                let code = codes[choice % codes.len()];
                self.model.answered(conn, request, stored);
                receipt(request.opaque, code)
            }
            code => {
                let said = if choice < 32 { REFUSED[choice % 12] } else { 0 };
                if code == request_code::END_TRANSACTION {
                    self.model.end_answered(conn, request, said);
                }
                answer(request.opaque, said)
            }
        };
        if choice % 5 == 1 {
            reply.remark = Some("[REJECTREQUEST]system busy".to_owned());
        }
        reply
    }

    fn junk(&mut self) {
        let Some(conn) = self.connection() else { return };
        let length = self.choices.below(64);
        let bytes = self.choices.take(length).to_vec();
        self.model.lied = true;
        self.deliver(conn, &bytes);
    }

    // ---- The end ----------------------------------------------------------------------------

    /// Closes the client. It has to come to an end by time alone, with every send ended.
    fn finish(&mut self) {
        self.settle();
        let deadline = Instant::from_nanos(self.now.as_nanos() + 1_000_000_000);
        self.bounds.shutdowns += 1;
        self.client.shutdown(self.now, deadline);
        self.settle();
        let mut rounds = 0;
        while let Some((at, _)) = self.client.poll_timeout() {
            self.advance_to(at.max(self.now));
            self.settle();
            rounds += 1;
            assert!(rounds < 10_000, "the shutdown does not end");
        }
        assert!(self.model.closed, "the shutdown got stuck");
        assert!(self.model.open.is_empty() && self.model.waiters.is_empty());
        self.model.services.check_end();
        let latest = Instant::from_nanos(deadline.as_nanos() + 5_000_000_000);
        assert!(self.now <= latest, "the shutdown took until {:?}", self.now);
        let conn = self.model.connections().pop();
        if let Some(conn) = conn.filter(|conn| !self.model.is_live(*conn)) {
            self.client.handle_connected(self.now, conn, Ok(()));
            self.client.handle_closed(self.now, conn, CloseReason::Eof);
            self.settle();
        }
    }
}

/// A route over the brokers whose bits are set; the first may have moved.
fn route(choice: usize) -> Vec<u8> {
    let chosen = BROKERS.iter().enumerate().filter(|(index, _)| choice >> index & 1 == 1);
    let mut addresses: Vec<String> = chosen.map(|(_, address)| (*address).to_owned()).collect();
    if choice & 8 == 8
        && let Some(first) = addresses.first_mut()
    {
        *first = MOVED.to_owned();
    }
    route_body(&addresses)
}
