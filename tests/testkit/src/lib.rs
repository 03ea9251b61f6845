//! Test RocketMQ code without RocketMQ: name servers and brokers in memory that lag, lie and die
//! on command.
//!
//! The servers speak the remoting protocol byte for byte, with a codec of their own, and behave as
//! real ones were measured to behave. They start in a millisecond, need no Java, and can do what a
//! real broker will not do when a test wants it: store a message and lose the answer, answer twice,
//! stand still, cut a connection in the middle of a frame.
//!
//! # Which one to take
//!
//! All three run the same servers, told what to do by the same methods of
//! [`Cluster`](cluster::Cluster), and asked by the same methods what they have stored.
//!
//! | | runs | time | network | repeatable |
//! |---|---|---|---|---|
//! | [`Sim`] | your service with the real client | virtual | simulated | by a seed |
//! | [`LoopbackCluster`] | any client on any runtime | real | loopback sockets | no |
//! | [`World`](world::World) | the client's state machine | virtual | simulated | by a seed |
//!
//! Begin with [`Sim`]: it is the fastest, and finds what depends on who is first. Have a few tests
//! with [`LoopbackCluster`] on the runtime that you use. [`World`](world::World) is for those who
//! work on the client itself: it looks into the machine at every step.
//!
//! # A service in the simulation
//!
//! Add this crate as a development dependency. In a test, make a [`Sim`] with the servers that you
//! want, start a client with [`SimHandle::producer`] or [`SimHandle::start`], give it to your code,
//! break something, and ask in the end what is stored. Here a broker is busy and another one dies,
//! under 20 seeds:
//!
//! ```
//! use std::time::Duration;
//!
//! use rocketmq_driver::{Message, Producer, SendError}; // or from rocketmq_tokio and its like
//! use rocketmq_testkit::Sim;
//! use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
//!
//! /// The code under test.
//! async fn place_orders(producer: &Producer, orders: u32) -> Result<(), SendError> {
//!     for order in 0..orders {
//!         producer.send(Message::new("Orders", format!("order {order}"))).await?;
//!     }
//!     Ok(())
//! }
//!
//! let cluster = ClusterConfig::new().brokers(3).topic("Orders", 4);
//! Sim::check_seeds(0..20, cluster, async |cx| {
//!     cx.rough_links();
//!     let (busy, dies) = (Node::Broker(0), Node::Broker(1));
//!     cx.with(|cluster| cluster.script(busy, Rule::sends().times(5), Fault::answer(2, "busy")));
//!     cx.after(Duration::from_millis(200), move |cluster| cluster.kill(dies));
//!
//!     let producer = cx.producer("shop");
//!     place_orders(&producer, 30).await.expect("there is always another broker");
//!
//!     assert!(cx.stored("Orders").len() >= 30);
//!     producer.close(Duration::from_secs(1)).await;
//!     cx.assert_nothing_left();
//! });
//! ```
//!
//! `examples/failover` is a whole service, with an outbox, that loses no order whatever dies. The
//! module [`sim`] says what a service has to keep to, and what to do when a test fails.
//!
//! # Any client over sockets
//!
//! Start a [`LoopbackCluster`], give your client
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
//! assert_eq!(&answer.ext["queueOffset"], "1");
//! assert_eq!(cluster.with(|cluster| cluster.stored("Orders").len()), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The parts
//!
//! * [`cluster::Cluster`]: the servers as a state machine without sockets, threads or a clock. Its
//!   methods are the script and the witness of a test.
//! * [`network::Network`]: simulated connections to them.
//! * [`wire`]: frames and bodies, plainly encoded and decoded.
//! * `tls`, with the feature of that name: certificates, and servers that encrypt.
//! * [`SocksProxy`]: a SOCKS5 proxy in front of servers on loopback sockets.
//! * [`InstantServer`]: answers every send at once, for benchmarks of clients.
//!
//! # What is not imitated
//!
//! Consumers (pulling, offsets), delayed delivery, storage on disk, authentication. Requests
//! about these are answered with code 3, as a server does that does not know them; a delayed
//! message is stored at once.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod instant;
pub mod loopback;
pub mod network;
pub mod sim;
#[cfg(feature = "tls")]
pub mod tls;
pub mod wire;
pub mod world;

pub use instant::{InstantConfig, InstantServer};
pub use loopback::{LoopbackCluster, SocksProxy};
pub use sim::{Sim, SimHandle};
