//! A client of which the name server and the broker have been found, and its servers' answers.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use rocketmq_core::wire::{Encoding, UniqueKey, UniqueKeySource};
use rocketmq_core::{
    Client, ClockReading, Config, ConnId, EventSet, GroupId, Instant, Message, OpId, OpIds, Output,
    PreparedMessage, SendCommand, SendErrorKind, WallTime,
};
use rocketmq_testkit::wire::{
    BrokerData, Command, FLAG_RESPONSE, QueueData, TopicRoute, split_frame,
};

/// 2027-01-15.
pub(super) const WALL_MS: i64 = 1_800_000_000_000;

pub(super) fn unique_keys() -> UniqueKeySource {
    UniqueKeySource::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 77, 0x0bad_cafe, 0)
}

/// An answer as servers write it.
pub(super) fn answer(opaque: i32, code: i32) -> Command {
    let mut answer = Command::request(code, opaque);
    (answer.language, answer.version, answer.flag) = (0, 513, FLAG_RESPONSE);
    answer
}

/// The acknowledgement of a send.
pub(super) fn receipt(opaque: i32, code: i32) -> Command {
    answer(opaque, code)
        .field("MSG_REGION", "DefaultRegion")
        .field("TRACE_ON", "true")
        .field("msgId", "7F00000100002A9F0000000000000000")
        .field("queueId", "0")
        .field("queueOffset", "7")
}

/// A route over brokers `broker-0`, `broker-1` and so on, one for each address, with 4 queues each.
pub(super) fn route_body(addresses: &[String]) -> Vec<u8> {
    let name = |index: usize| format!("broker-{index}");
    let queues = (0..addresses.len()).map(|index| QueueData {
        broker_name: name(index),
        read_queues: 4,
        write_queues: 4,
        perm: 6,
    });
    let brokers = addresses.iter().enumerate().map(|(index, address)| BrokerData {
        cluster: "c".to_owned(),
        broker_name: name(index),
        addresses: [(0, address.clone())].into(),
    });
    let route = TopicRoute {
        queues: queues.collect(),
        brokers: brokers.collect(),
        ..TopicRoute::default()
    };
    route.to_json(true, true).into_bytes()
}

/// Whole frames on the wire; every byte must belong to one.
pub(super) fn parse_frames(mut bytes: &[u8]) -> Vec<Command> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = split_frame(bytes).expect("a frame").expect("a whole frame");
        frames.push(Command::decode(&bytes[..length]).expect("a readable header"));
        bytes = &bytes[length..];
    }
    frames
}

pub(super) struct World {
    pub(super) client: Client,
    pub(super) name_server: ConnId,
    pub(super) broker: ConnId,
    pub(super) now: Instant,
    group: GroupId,
    ops: OpIds,
    unique_keys: UniqueKeySource,
}

impl World {
    /// The route of topic `T` is known, and its only broker is connected and has been greeted.
    pub(super) fn with_broker() -> World {
        let config = Config::builder("127.0.0.1:9876").topic("T").client_id("fuzz");
        let config = config.events(EventSet::ALL).encoding(Encoding::Json).build();
        let mut client = Client::new(config.expect("legal settings"), 1, Instant::ZERO);
        let group = client.register(Instant::ZERO, "g").expect("a legal group");
        let (now, _) = client.poll_timeout().expect("a look-up is due");
        client.handle_timeout(now);
        let name_server = connect(&mut client, now);
        let ops = OpIds::new();
        let unique_keys = unique_keys();
        let mut world =
            World { client, name_server, broker: name_server, now, group, ops, unique_keys };
        let [query] = &world.frames(name_server)[..] else {
            panic!("one query is due");
        };
        let route = answer(query.opaque, 0).with_body(route_body(&["127.0.0.1:10911".to_owned()]));
        world.receive(name_server, &route.encode());
        let heartbeat = Instant::from_nanos(1_000_000_000);
        world.now = heartbeat;
        world.client.handle_timeout(heartbeat);
        world.broker = connect(&mut world.client, heartbeat);
        let [greeting] = &world.frames(world.broker)[..] else {
            panic!("one heartbeat is due");
        };
        let welcome = answer(greeting.opaque, 0);
        world.receive(world.broker, &welcome.encode());
        while world.client.poll_output().is_some() {}
        world
    }

    pub(super) fn send(&mut self, message: Message) -> Result<(OpId, UniqueKey), SendErrorKind> {
        let clock = ClockReading { instant: self.now, wall: WallTime::from_millis(WALL_MS) };
        let unique_key = self.unique_keys.next(WALL_MS);
        let prepared = PreparedMessage::new(message, unique_key, clock, self.client.config());
        let prepared = prepared.map_err(|(error, _)| SendErrorKind::Invalid(error))?;
        let op = self.ops.allocate();
        let deadline = self.now + self.client.config().send_timeout;
        let command = SendCommand::new(self.group, self.now, deadline);
        let sent = self.client.send(self.now, op, prepared, command);
        sent.map(|()| (op, unique_key)).map_err(|rejected| rejected.kind)
    }

    /// Takes over everything that waits for `conn`'s socket.
    pub(super) fn frames(&mut self, conn: ConnId) -> Vec<Command> {
        while self.client.poll_transmit().is_some() {}
        let bytes = self.client.transmit_chunks(conn).collect::<Vec<_>>().concat();
        self.client.handle_transmitted(self.now, conn, bytes.len());
        parse_frames(&bytes)
    }

    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let mut buffer = BytesMut::from(bytes);
        self.client.handle_received(self.now, conn, &mut buffer);
        assert!(buffer.is_empty(), "whole frames are taken");
    }
}

/// Lets the one dial succeed that is asked for.
fn connect(client: &mut Client, now: Instant) -> ConnId {
    loop {
        match client.poll_output().expect("a dial is due") {
            Output::Connect { conn, .. } => {
                client.handle_connected(now, conn, Ok(()));
                return conn;
            }
            _ => continue,
        }
    }
}
