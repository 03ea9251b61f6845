//! The cluster behind real sockets.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{Cluster, ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::wire::Command;
use serde_json::Value;

use crate::common::{Client, send, with_opaque};

const BROKER: Node = Node::Broker(0);

fn start() -> LoopbackCluster {
    let config = ClusterConfig::new().name_servers(2).brokers(2).topic("T", 4);
    LoopbackCluster::start(config).expect("loopback ports")
}

fn message(opaque: i32) -> Command {
    with_opaque(send("T", 0, &format!("K{opaque}"), b"x"), opaque)
}

fn connect(cluster: &LoopbackCluster) -> Client {
    Client::connect(cluster.address(BROKER))
}

/// How the connection ended, however long it takes to notice.
fn end_of(client: &mut Client) -> ErrorKind {
    client.receive().expect_err("the connection ended").kind()
}

#[test]
fn a_client_finds_its_broker_by_the_route() {
    let cluster = start();
    let addresses = cluster.name_server_addresses();
    let addresses: Vec<_> = addresses.split(';').collect();
    assert_eq!(addresses.len(), 2);
    let mut client = Client::connect(addresses[1].parse().expect("an address"));
    let answer = client.ask(&Command::request(105, 1).field("topic", "T"));
    let route: Value = serde_json::from_slice(&answer.body).expect("strict JSON");
    let broker = route["brokerDatas"][0]["brokerAddrs"]["0"].as_str().expect("an address");
    assert_eq!(broker, cluster.address(BROKER).to_string());
    let mut client = Client::connect(broker.parse().expect("an address"));
    assert_eq!(&client.ask(&message(1)).ext["queueOffset"], "0");
    assert_eq!(cluster.with(|cluster| cluster.stored_by_key("K1").len()), 1);
    assert_eq!(cluster.with(|cluster| cluster.frames_of(BROKER, 310).len()), 1);
}

#[test]
fn many_clients_are_served_at_once_and_all_is_stored() {
    let cluster = start();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let mut connection = connect(&cluster);
            scope.spawn(move || {
                let ids = client * 1000..client * 1000 + 200;
                ids.clone().for_each(|id| connection.send(&message(id)));
                for id in ids {
                    assert_eq!(connection.receive().expect("an answer").opaque, id);
                }
            });
        }
    });
    let stored = cluster.with(|cluster| cluster.stored("T"));
    assert_eq!(stored.len(), 1600);
    assert_eq!(stored.last().map(|last| last.queue_offset), Some(1599));
}

#[test]
fn a_delayed_answer_takes_its_time_and_holds_nobody_up() {
    let cluster = start();
    let delay = Duration::from_millis(150);
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), Fault::delay(delay)));
    let mut client = connect(&cluster);
    let begin = Instant::now();
    client.send(&message(1));
    client.send(&message(2));
    assert_eq!(client.receive().expect("an answer").opaque, 2);
    assert_eq!(client.receive().expect("an answer").opaque, 1);
    assert!(begin.elapsed() >= delay);
}

#[test]
fn resets_and_closes_look_different_to_a_client() {
    let cluster = start();
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), Fault::reset()));
    let mut client = connect(&cluster);
    client.send(&message(1));
    assert_eq!(end_of(&mut client), ErrorKind::ConnectionReset);
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), Fault::none().then_close()));
    let mut client = connect(&cluster);
    client.send(&message(2));
    assert_eq!(client.receive().expect("an answer").code, 0);
    assert_eq!(end_of(&mut client), ErrorKind::UnexpectedEof);
    let later = Fault::close().delayed_by(Duration::from_millis(50));
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), later));
    let mut client = connect(&cluster);
    client.send(&message(3));
    assert_eq!(end_of(&mut client), ErrorKind::UnexpectedEof);
    // A kill does not wait for an end that was to come later.
    let later = Fault::close().delayed_by(Duration::from_secs(3600));
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), later));
    let mut client = connect(&cluster);
    client.send(&message(4));
    let seen = |cluster: &mut Cluster| cluster.frames_of(BROKER, 310).len() == 4;
    assert!(cluster.wait_until(Duration::from_secs(5), seen));
    cluster.with(|cluster| cluster.kill(BROKER));
    assert_eq!(end_of(&mut client), ErrorKind::ConnectionReset);
}

#[test]
fn a_killed_broker_refuses_until_it_restarts_on_the_same_port() {
    let cluster = start();
    let address = cluster.address(BROKER);
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&message(1)).code, 0);
    for round in 2..5 {
        cluster.with(|cluster| cluster.kill(BROKER));
        assert_eq!(end_of(&mut client), ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        cluster.with(|cluster| cluster.restart(BROKER));
        client = Client::connect(address);
        assert_eq!(&client.ask(&message(round)).ext["queueOffset"], (round - 1).to_string());
    }
    cluster.with(|cluster| cluster.refuse(BROKER));
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(client.ask(&message(9)).code, 0, "open connections go on");
}

#[test]
fn a_stalled_broker_accepts_and_answers_after_it_resumed() {
    let cluster = start();
    let mut before = connect(&cluster);
    assert_eq!(before.ask(&message(1)).code, 0);
    let late = Fault::delay(Duration::from_millis(30));
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), late));
    before.send(&message(2));
    assert!(cluster.wait_until(Duration::from_secs(5), |it| it.stored("T").len() == 2));
    cluster.with(|cluster| cluster.stall(BROKER));
    let mut during = connect(&cluster);
    during.send(&message(3));
    before.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid timeout");
    assert_eq!(end_of(&mut before), ErrorKind::WouldBlock, "not even what was due");
    assert_eq!(cluster.with(|cluster| cluster.stored("T").len()), 2);
    cluster.with(|cluster| cluster.resume(BROKER));
    before.stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a valid timeout");
    assert_eq!(before.receive().expect("an answer").opaque, 2);
    assert_eq!(during.receive().expect("an answer").opaque, 3);
}

#[test]
fn a_black_hole_makes_connecting_hang_until_it_ends() {
    let cluster = start();
    let address = cluster.address(BROKER);
    cluster.with(|cluster| cluster.blackhole(BROKER));
    let patience = Duration::from_millis(300);
    for _ in 0..2 {
        let begin = Instant::now();
        let error = TcpStream::connect_timeout(&address, patience).expect_err("nobody accepts");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= patience);
    }
    cluster.with(|cluster| cluster.accept(BROKER));
    assert_eq!(connect(&cluster).ask(&message(1)).code, 0);
}

#[test]
fn a_mute_broker_accepts_and_never_reads() {
    let cluster = start();
    cluster.with(|cluster| cluster.mute(BROKER));
    let mut client = connect(&cluster);
    client.send(&message(1));
    client.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid timeout");
    assert_eq!(client.stream.read(&mut [0]).expect_err("silence").kind(), ErrorKind::WouldBlock);
    cluster.with(|cluster| cluster.accept(BROKER));
    assert_eq!(connect(&cluster).ask(&message(2)).code, 0);
    assert_eq!(cluster.with(|cluster| cluster.frames().len()), 1);
}

#[test]
fn the_broker_can_speak_first() {
    let cluster = start();
    let mut client = connect(&cluster);
    assert!(
        cluster.wait_until(Duration::from_secs(5), |it| { !it.connections(BROKER).is_empty() })
    );
    let sent = cluster.with(|cluster| {
        let to = cluster.connections(BROKER)[0];
        let request = cluster.broker_request(40).field("consumerGroup", "CG");
        cluster.send_request(BROKER, to, request)
    });
    let request = client.receive().expect("a request");
    assert_eq!((request.code, Some(request.opaque)), (40, sent));
    drop(client);
    assert!(cluster.wait_until(Duration::from_secs(5), |it| { it.connections(BROKER).is_empty() }));
}

#[test]
fn dropping_the_cluster_ends_everything_promptly() {
    let cluster = start();
    let address = cluster.address(BROKER);
    let far = Fault::delay(Duration::from_secs(3600));
    cluster.with(|cluster| cluster.script(BROKER, Rule::sends(), far));
    let mut waiting = connect(&cluster);
    waiting.send(&message(1));
    assert!(cluster.wait_until(Duration::from_secs(5), |it| it.stored("T").len() == 1));
    cluster.with(|cluster| {
        cluster.stall(BROKER);
        cluster.mute(Node::Broker(1));
        cluster.blackhole(Node::NameServer(0));
    });
    let mut stalled = connect(&cluster);
    let _mute = Client::connect(cluster.address(Node::Broker(1)));
    let begin = Instant::now();
    cluster.stop();
    assert!(begin.elapsed() < Duration::from_secs(5));
    end_of(&mut waiting);
    end_of(&mut stalled);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_panic_while_scripting_does_not_spread() {
    let cluster = start();
    let attempt = std::panic::AssertUnwindSafe(|| cluster.with(|_| panic!("a failing assertion")));
    assert!(std::panic::catch_unwind(attempt).is_err());
    assert_eq!(connect(&cluster).ask(&message(1)).code, 0);
}
