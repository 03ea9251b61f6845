//! Ends of simulated connections: what still arrives, and what must not.

use std::time::Duration;

use rocketmq_testkit::cluster::{ClusterConfig, Node};
use rocketmq_testkit::network::{Cut, Direction, LinkId, Network};

use crate::common::{KEY, send};

const A: Node = Node::Broker(0);

/// Lets everything happen that comes within a second.
fn settle(network: &mut Network) {
    let until = network.now() + 1_000_000_000;
    while let Some(at) = network.next_at().filter(|at| *at <= until) {
        network.advance(at);
        network.step();
    }
    network.advance(until);
}

/// A connection to the broker.
fn dialled() -> (Network, LinkId) {
    let mut network = Network::new(7, ClusterConfig::new().topic("T", 4));
    let address = network.cluster().address(A).to_string();
    let link = network.dial(0, &address);
    settle(&mut network);
    (network, link)
}

fn message() -> Vec<u8> {
    send("T", 1, KEY, b"hi").encode()
}

#[test]
fn what_was_written_before_a_close_arrives_after_a_partition() {
    let (mut network, link) = dialled();
    network.part(0, A, Direction::ToServer);
    let bytes = message();
    assert_eq!(network.write(link, &bytes), bytes.len());
    network.close(link);
    settle(&mut network);
    assert_eq!(network.cluster().stored("T").len(), 0);
    network.rejoin(0, A, Direction::ToServer, Duration::ZERO);
    settle(&mut network);
    assert_eq!(network.cluster().stored("T").len(), 1);
    assert!(network.cluster().connections(A).is_empty(), "the server learns of the end as well");
}

#[test]
fn nothing_passes_a_cut_although_the_writer_goes_on_at_once() {
    for cut in [Cut::Fin, Cut::Reset] {
        let (mut network, link) = dialled();
        let bytes = message();
        network.cut_outgoing(A, 20, cut);
        assert_eq!(network.write(link, &bytes), 20, "{cut:?}");
        assert_eq!(network.write(link, &bytes[20..]), 0, "{cut:?}");
        settle(&mut network);
        assert_eq!(network.cluster().stored("T").len(), 0, "{cut:?}");
    }
    let (mut network, link) = dialled();
    let bytes = message();
    network.cut_outgoing(A, 20, Cut::Half);
    let first = network.write(link, &bytes);
    assert_eq!(network.write(link, &bytes[first..]), bytes.len() - first, "it goes on reading");
    settle(&mut network);
    assert_eq!(network.cluster().stored("T").len(), 1);
}
