//! The machine alone, with servers that answer at once: no socket, no clock, no runtime.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rocketmq_core::wire::{Encoding, UniqueKeySource, encode_response};
use rocketmq_core::{
    Client, ClockReading, Completion, Config, ConnId, Credentials, GroupId, Instant, OpId, OpIds,
    Output, PreparedMessage, SendCommand, WallTime,
};

use crate::samples;

/// What a machine is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of requests.
    pub requests: Encoding,
    /// Of answers; real 5.x brokers always answer in JSON.
    pub answers: Encoding,
    /// Brokers of the topic.
    pub brokers: usize,
    /// Queues on each broker.
    pub queues: u32,
    /// A dial of one broker has failed lately, so that queues are chosen with care.
    pub trouble: bool,
    /// There are credentials.
    pub signed: bool,
}

impl Settings {
    /// One broker with four queues.
    pub fn new(requests: Encoding, answers: Encoding) -> Settings {
        Settings { requests, answers, brokers: 1, queues: 4, trouble: false, signed: false }
    }
}

/// A client whose connections are all up.
pub struct Machine {
    client: Client,
    now: Instant,
    group: GroupId,
    ids: OpIds,
    keys: UniqueKeySource,
    body: Bytes,
    answers: Encoding,
    /// What brokers have to answer: the connection and the answer's bytes.
    pending: VecDeque<(ConnId, Vec<u8>)>,
    /// The number of the next request, by slot of the connection.
    numbers: Vec<i32>,
    buffer: BytesMut,
}

/// Far from any timer of the client.
const START: Duration = Duration::from_secs(2);

const FOREVER: Duration = Duration::from_secs(1_000_000);

impl Machine {
    /// A client that has found its brokers and has greeted them.
    ///
    /// # Panics
    ///
    /// When the client does something else than expected.
    pub fn new(settings: Settings) -> Machine {
        let config = Config::builder("127.0.0.1:9876").topic(samples::TOPIC).client_id("bench");
        let config = config.encoding(settings.requests).in_flight_messages_max(1 << 16);
        // So that any number of sends goes out at once, and trouble lasts.
        let config = config.unsent_bytes_max(usize::MAX).dial_back_off_min(FOREVER);
        let config = config.dial_back_off_max(FOREVER);
        let own = Credentials::new("orders-service", "12345678").expect("legal");
        let config = if settings.signed { config.credentials(own) } else { config };
        let config = config.build().expect("legal settings");
        let mut client = Client::new(config, 1, Instant::ZERO);
        let group = client.register(Instant::ZERO, samples::GROUP).expect("a legal group");
        let mut machine = Machine {
            client,
            now: Instant::ZERO,
            group,
            ids: OpIds::new(),
            keys: UniqueKeySource::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 77, 0x0bad_cafe, 0),
            body: samples::body(128),
            answers: settings.answers,
            pending: VecDeque::new(),
            numbers: vec![0; 1_024],
            buffer: BytesMut::with_capacity(4 << 20),
        };
        machine.find_brokers(&settings);
        machine.now = machine.now + START;
        machine
    }

    fn find_brokers(&mut self, settings: &Settings) {
        let (first, _) = self.client.poll_timeout().expect("a look-up is due");
        self.now = first;
        self.client.handle_timeout(first);
        let name_server = self.connect_all(1);
        self.flush();
        // Its first request has the number 0.
        let route = samples::route(settings.brokers, settings.queues);
        self.answer_control(name_server[0], 0, &route);
        // The heartbeat dials every broker.
        self.now = Instant::ZERO + Duration::from_secs(1);
        self.client.handle_timeout(self.now);
        let brokers = self.connect_all(settings.brokers - usize::from(settings.trouble));
        self.flush();
        for broker in brokers {
            self.answer_control(broker, 0, &[]);
            self.numbers[broker.slot()] = 1;
        }
        while self.client.poll_output().is_some() {}
    }

    /// Lets the first `good` dials succeed and the rest fail. Some begin only when others have
    /// ended.
    fn connect_all(&mut self, good: usize) -> Vec<ConnId> {
        let mut connected = Vec::new();
        while let Some(output) = self.client.poll_output() {
            let Output::Connect { conn, .. } = output else { continue };
            if connected.len() < good {
                connected.push(conn);
                self.client.handle_connected(self.now, conn, Ok(()));
            } else {
                let failure = rocketmq_core::ConnectFailure::Refused;
                self.client.handle_connected(self.now, conn, Err(failure));
            }
        }
        connected
    }

    fn answer_control(&mut self, conn: ConnId, opaque: i32, body: &[u8]) {
        let mut frame = Vec::new();
        let code = rocketmq_core::wire::ResponseCode::SUCCESS;
        encode_response(&mut frame, Encoding::Json, opaque, code, None, &[], body)
            .expect("an answer that fits");
        let mut buffer = BytesMut::from(&frame[..]);
        self.client.handle_received(self.now, conn, &mut buffer);
    }

    /// What the caller of a send does on its own task.
    pub fn prepare(&self) -> PreparedMessage {
        let wall = 1_800_000_000_000 + self.now.as_nanos() as i64 / 1_000_000;
        let clock = ClockReading { instant: self.now, wall: WallTime::from_millis(wall) };
        let message = samples::message(&self.body);
        PreparedMessage::new(message, self.keys.next(wall), clock, self.client.config())
            .expect("a legal message")
    }

    /// Hands messages in and takes their frames out, as a driver does for one write.
    #[inline(never)]
    pub fn send(&mut self, messages: &mut Vec<PreparedMessage>) {
        for message in messages.drain(..) {
            let op: OpId = self.ids.allocate();
            let deadline = self.now + Duration::from_secs(3);
            let command = SendCommand::new(self.group, self.now, deadline);
            self.client.send(self.now, op, message, command).expect("room for a send");
        }
        self.flush();
    }

    #[inline(always)]
    fn flush(&mut self) {
        while let Some(conn) = self.client.poll_transmit() {
            let bytes = self.client.transmit_chunks(conn).map(<[u8]>::len).sum();
            self.client.handle_transmitted(self.now, conn, bytes);
        }
    }

    /// Writes down the answers to `count` sends, in turn over `conns`.
    pub fn broker_answers(&mut self, conns: &[ConnId], count: usize) {
        for conn in conns.iter().cycle().take(count) {
            let number = &mut self.numbers[conn.slot()];
            let answer = samples::answer(self.answers, *number);
            *number += 1;
            match self.pending.back_mut() {
                Some((last, bytes)) if last == conn => bytes.extend(answer),
                _ => self.pending.push_back((*conn, answer)),
            }
        }
    }

    /// [`send`](Self::send) under the name that the profiler looks for.
    #[inline(never)]
    pub fn measured_send(&mut self, messages: &mut Vec<PreparedMessage>) {
        self.send(messages);
    }

    /// Puts the next answers into the buffer of their connection.
    pub fn load(&mut self) -> Option<ConnId> {
        let (conn, bytes) = self.pending.pop_front()?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&bytes);
        Some(conn)
    }

    /// Takes in what [`load`](Self::load) has put down, and tells the callers. How many.
    ///
    /// # Panics
    ///
    /// When a send failed.
    #[inline(never)]
    pub fn receive(&mut self, conn: ConnId) -> usize {
        self.client.handle_received(self.now, conn, &mut self.buffer);
        let mut completed = 0;
        while let Some(output) = self.client.poll_output() {
            if let Output::Complete { op, result } = output {
                let stored = matches!(&result, Ok(Completion::Stored(_)));
                assert!(stored, "a send failed");
                self.ids.free(op);
                completed += 1;
            }
        }
        completed
    }

    /// [`receive`](Self::receive) under the name that the profiler looks for.
    #[inline(never)]
    pub fn measured_receive(&mut self, conn: ConnId) -> usize {
        self.receive(conn)
    }

    /// Lets a microsecond pass.
    pub fn pass_time(&mut self) {
        self.now = self.now + Duration::from_micros(1);
    }

    /// The connections to brokers, in the order in which one send after the other uses them.
    pub fn broker_connections(&mut self, settings: &Settings) -> Vec<ConnId> {
        let count = settings.brokers - usize::from(settings.trouble);
        (0..count).map(|_| self.probe()).collect()
    }

    /// Sends one message and sees where it goes.
    fn probe(&mut self) -> ConnId {
        let message = self.prepare();
        let op = self.ids.allocate();
        let deadline = self.now + Duration::from_secs(3);
        let command = SendCommand::new(self.group, self.now, deadline);
        self.client.send(self.now, op, message, command).expect("room for a send");
        let conn = self.client.poll_transmit().expect("a frame");
        let bytes = self.client.transmit_chunks(conn).map(<[u8]>::len).sum();
        self.client.handle_transmitted(self.now, conn, bytes);
        self.broker_answers(&[conn], 1);
        let conn = self.load().expect("an answer");
        assert_eq!(self.receive(conn), 1);
        conn
    }
}
