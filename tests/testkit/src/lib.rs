//! Test RocketMQ code without RocketMQ: name servers and brokers in memory that lag, lie and die
//! on command.
//!
//! The servers speak the remoting protocol byte for byte, with a codec of their own, and behave as
//! real ones were measured to behave. They start in a millisecond, need no Java, and can do what a
//! real broker will not do when a test wants it: store a message and lose the answer, answer twice,
//! stand still, cut a connection in the middle of a frame.
//!
//! * [`LoopbackCluster`]: name servers and brokers on loopback ports, for any client.
//! * [`cluster::Cluster`]: the same servers as a state machine without sockets, threads or a clock,
//!   for simulated networks. Its methods are the script and the witness of a test.
//! * [`InstantServer`]: answers every send at once, for benchmarks of clients.
//! * [`wire`]: frames and bodies, plainly encoded and decoded.
//!
//! # For users
//!
//! Add it as a development dependency, start a cluster in a test, give your client
//! [`name_server_addresses`](LoopbackCluster::name_server_addresses), make the servers misbehave
//! with [`with`](LoopbackCluster::with), and ask them afterwards what they stored. Every test can
//! have a cluster of its own: they share nothing, and dropping one ends its threads and sockets.
//!
//! Here the client is a raw socket, and the broker stores a message but loses its first answer:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use rocketmq_testkit::LoopbackCluster;
//! use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
//! use rocketmq_testkit::wire::Command;
//!
//! let cluster = LoopbackCluster::start(ClusterConfig::new().topic("Orders", 4))?;
//! let broker = Node::Broker(0);
//! cluster.with(|cluster| {
//!     cluster.script(broker, Rule::sends().topic("Orders"), Fault::silent_after_storing());
//! });
//!
//! let send = |opaque| {
//!     Command::request(310, opaque)
//!         .field("a", "group")
//!         .field("b", "Orders")
//!         .field("c", "TBW102")
//!         .field("d", "4")
//!         .field("e", "2") // queue
//!         .field("f", "0")
//!         .field("g", "1700000000000")
//!         .field("h", "0")
//!         .with_body("an order")
//! };
//! let mut client = TcpStream::connect(cluster.address(broker))?;
//! client.write_all(&send(1).encode())?;
//! client.write_all(&send(2).encode())?;
//! let mut buffer = [0; 4096];
//! let length = client.read(&mut buffer)?;
//! let answer = Command::decode(&buffer[..length])?;
//!
//! assert_eq!((answer.code, answer.opaque), (0, 2), "the first answer never comes");
//! assert_eq!(answer.ext["queueOffset"], "1");
//! assert_eq!(cluster.with(|cluster| cluster.stored("Orders").len()), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is not imitated: consumers (pulling, offsets), delayed delivery, storage on disk,
//! authentication, TLS. Requests about these are answered with code 3, as a server does that does
//! not know them; a delayed message is stored at once.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod instant;
pub mod loopback;
pub mod network;
pub mod sim;
pub mod wire;
pub mod world;

pub use instant::{InstantConfig, InstantServer};
pub use loopback::LoopbackCluster;
pub use sim::{Sim, SimHandle};
