//! What the tests of this crate share: recorded bytes and a client that sends raw frames.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rocketmq_testkit::cluster::{ActionKind, Cluster, ClusterConfig, ConnectionId, Node};
use rocketmq_testkit::wire::{Command, Fields, format_properties, split_frame};

pub(crate) const KEY: &str = "7F00000100010000000000000000002A";

/// A route query for `TopicTest`, made by the Java classes: JSON header.
pub(crate) const ROUTE_JSON: &str = "00000087000000837b22636f6465223a3130352c226578744669656c6473223a7b22\
    746f706963223a22546f70696354657374227d2c22666c6167223a302c226c616e6775616765223a22525553542\
    22c226f7061717565223a372c2273657269616c697a655479706543757272656e74525043223a224a534f4e222c\
    2276657273696f6e223a3437397d";

/// The same with a binary header.
pub(crate) const ROUTE_BINARY: &str = "0000002d0100002900690c01df00000007000000000000000000000014\
    0005746f70696300000009546f70696354657374";

/// A send of `hi` to queue 1 of topic `T`, made by the Java classes: binary header.
pub(crate) const SEND_BINARY: &str = "000000ec010000e601360c01df000000010000000000000000000000d1\
    0001610000000250470001620000000154000163000000065442573130320001640000000134000165000000\
    013100016600000001300001670000000d313730303030303030303030300001680000000130000169000000\
    494b455953016b31206b3202554e49515f4b4559013746303030303031303030313030303030303030303030\
    303030303030303241025741495401747275650254414753015461674102\
    00016a000000013000016b0000000566616c736500016d0000000566616c736500016e0000000862726f6b65\
    722d616869";

/// A success receipt with a binary header, made by the Java classes.
pub(crate) const RECEIPT_BINARY: &str = "000000c6010000c200000001df000000010000000100000000000000ad\
    00056d7367496400000020433041383030303130303030324139463030303030303030303030303030363400\
    0771756575654964000000013100\
    0b71756575654f66667365740000000135000d7472616e73616374696f6e4964000000203746303030303031\
    3030303130303030303030303030303030303030303032410008\
    54524143455f4f4e0000000474727565000a4d53475f524547494f4e0000000d44656661756c74526567696f6e";

/// Two messages as a batch body, made by the Java classes.
pub(crate) const BATCH: &str = "0000002300000000000000000000000000000001 41000c554e49515f4b4559015531 02\
    0000001f0000000000000000000001020000000242430007 54414753017802";

/// Ends a transaction oneway with the remark `ré`, made by the Java classes.
pub(crate) const END_TRANSACTION: &str = "000000dc010000d800250c01df000000020000000200000003 72c3a9\
    000000c0000d70726f647563657247726f7570000000025047000562\
    6e616d650000000862726f6b65722d61000f636f6d6d69744c6f674f6666736574000000043130323400\
    05746f70696300000001540005 6d7367496400000002553100\
    147472616e53746174655461626c654f66667365740000000135001063\
    6f6d6d69744f72526f6c6c6261636b0000000138000d7472616e73616374696f6e496400000002553100\
    1466726f6d5472616e73616374696f6e436865636b0000000566616c7365";

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

/// A send with one-letter fields.
pub(crate) fn send(topic: &str, queue_id: i32, key: &str, body: &[u8]) -> Command {
    let properties = [("KEYS", "k1 k2"), ("TAGS", "TagA"), ("UNIQ_KEY", key), ("WAIT", "true")];
    let properties = Fields::from_iter(properties);
    Command::request(310, 1)
        .field("a", "PG")
        .field("b", topic)
        .field("c", "TBW102")
        .field("d", "4")
        .field("e", queue_id.to_string())
        .field("f", "0")
        .field("g", "1700000000000")
        .field("h", "0")
        .field("i", format_properties(&properties))
        .field("j", "0")
        .field("k", "false")
        .field("m", "false")
        .field("n", "broker-a")
        .with_body(body)
}

pub(crate) fn with_opaque(mut command: Command, opaque: i32) -> Command {
    command.opaque = opaque;
    command
}

/// A cluster without sockets and one connection to one of its nodes.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) node: Node,
    pub(crate) connection: ConnectionId,
}

/// What came out of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Answer(Command),
    Bytes(Vec<u8>),
    Close,
    Reset,
}

impl Seen {
    pub(crate) fn answer(self) -> Command {
        match self {
            Self::Answer(answer) => answer,
            other => panic!("an answer was expected, not {other:?}"),
        }
    }
}

impl Bench {
    pub(crate) fn new(config: ClusterConfig, node: Node) -> Self {
        let mut cluster = Cluster::new(config);
        let connection = ConnectionId(1);
        cluster.handle_connected(0, node, connection);
        Self { cluster, node, connection }
    }

    pub(crate) fn broker(config: ClusterConfig) -> Self {
        Self::new(config, Node::Broker(0))
    }

    pub(crate) fn name_server(config: ClusterConfig) -> Self {
        Self::new(config, Node::NameServer(0))
    }

    pub(crate) fn reconnect(&mut self) {
        self.connection = ConnectionId(self.connection.0 + 1);
        self.cluster.handle_connected(0, self.node, self.connection);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.cluster.handle_bytes(0, self.node, self.connection, bytes);
        self.drain()
    }

    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        self.drain_timed().into_iter().map(|(_, seen)| seen).collect()
    }

    pub(crate) fn drain_timed(&mut self) -> Vec<(u64, Seen)> {
        std::iter::from_fn(|| self.cluster.poll_action())
            .filter(|action| action.kind != ActionKind::Wake)
            .map(|action| {
                let seen = match action.kind {
                    ActionKind::Wake => unreachable!("left out"),
                    ActionKind::Write(bytes) => match Command::decode(&bytes) {
                        Ok(answer) => Seen::Answer(answer),
                        Err(_) => Seen::Bytes(bytes),
                    },
                    ActionKind::Close => Seen::Close,
                    ActionKind::Reset => Seen::Reset,
                };
                (action.at_ns, seen)
            })
            .collect()
    }

    /// Sends a request that gets exactly one answer.
    pub(crate) fn ask(&mut self, command: &Command) -> Command {
        let mut seen = self.bytes(&command.encode());
        assert_eq!(seen.len(), 1, "one answer expected: {seen:?}");
        seen.remove(0).answer()
    }
}

/// A raw client on a socket.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
            .expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a valid timeout");
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, command: &Command) {
        self.stream.write_all(&command.encode()).expect("the connection is open");
    }

    /// The next frame, or how the connection ended.
    pub(crate) fn receive(&mut self) -> std::io::Result<Command> {
        loop {
            if let Ok(Some(length)) = split_frame(&self.buffer) {
                let frame: Vec<u8> = self.buffer.drain(..length).collect();
                return Command::decode(&frame).map_err(std::io::Error::other);
            }
            let mut part = [0; 4096];
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&part[..count]);
        }
    }

    pub(crate) fn ask(&mut self, command: &Command) -> Command {
        self.send(command);
        self.receive().expect("an answer")
    }
}
