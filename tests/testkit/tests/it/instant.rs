//! The server for benchmarks.

use std::io::{ErrorKind, Write};

use rocketmq_testkit::cluster::ReplyEncoding;
use rocketmq_testkit::wire::{Command, Encoding};
use rocketmq_testkit::{InstantConfig, InstantServer};
use serde_json::Value;

use crate::common::{Client, SEND_BINARY, hex, send, with_opaque};

fn client(server: &InstantServer) -> Client {
    Client::connect(server.address())
}

#[test]
fn it_is_name_server_and_broker_at_one_address() {
    let server = InstantServer::start().expect("a loopback port");
    let mut client = client(&server);
    let answer = client.ask(&Command::request(105, 3).field("topic", "Any"));
    let route: Value = serde_json::from_slice(&answer.body).expect("strict JSON");
    let address = server.name_server_addresses();
    assert_eq!(route["brokerDatas"][0]["brokerAddrs"]["0"], address.as_str());
    assert_eq!(route["queueDatas"][0]["writeQueueNums"], 4);
    let heartbeat = Command::request(34, 4).with_body(b"{\"clientID\":\"c\"}");
    assert_eq!((client.ask(&heartbeat).code, server.messages()), (0, 0));
    assert_eq!(client.ask(&Command::request(4711, 5)).code, 3);
}

#[test]
fn receipts_answer_their_requests_in_every_encoding() {
    for (reply_encoding, expected) in [
        (ReplyEncoding::Always(Encoding::Json), [Encoding::Json, Encoding::Json]),
        (ReplyEncoding::Always(Encoding::Binary), [Encoding::Binary, Encoding::Binary]),
        (ReplyEncoding::Mirror, [Encoding::Json, Encoding::Binary]),
    ] {
        let config = InstantConfig { reply_encoding, ..InstantConfig::default() };
        let server = InstantServer::start_with(config).expect("a loopback port");
        let mut client = client(&server);
        for opaque in [0, 7, 10, 2_147_483_647, -1, i32::MIN] {
            for (encoding, expected) in [Encoding::Json, Encoding::Binary].into_iter().zip(expected)
            {
                // The text of a property must not be taken for the header's own fields.
                let decoy = "x\u{1}\"opaque\":99,\"flag\":2\u{2}";
                let mut request = with_opaque(send("T", 0, "K", b"x"), opaque).field("i", decoy);
                request = request.field("flag", "2").field("code", "34");
                request.encoding = encoding;
                let receipt = client.ask(&request);
                assert_eq!((receipt.code, receipt.opaque, receipt.flag), (0, opaque, 1));
                assert_eq!(receipt.encoding, expected);
                assert_eq!(&receipt.ext["queueOffset"], "0");
                assert_eq!(&receipt.ext["queueId"], "0");
                assert_eq!(receipt.ext["msgId"].len(), 32);
                assert_eq!(receipt.ext["transactionId"].len(), 32);
            }
        }
        assert_eq!(server.messages(), 12);
    }
}

#[test]
fn large_frames_and_pieces_arrive_whole() {
    let server = InstantServer::start().expect("a loopback port");
    let mut client = client(&server);
    let big = vec![7; 1_000_000];
    let bytes: Vec<u8> = (0..20)
        .flat_map(|id| {
            let body = if id % 5 == 0 { big.as_slice() } else { b"x" };
            with_opaque(send("T", 0, "K", body), id).encode()
        })
        .collect();
    let mut writer = client.stream.try_clone().expect("a handle");
    let writing = std::thread::spawn(move || {
        for piece in bytes.chunks(99_991) {
            writer.write_all(piece).expect("the connection is open");
        }
    });
    for id in 0..20 {
        assert_eq!(client.receive().expect("an answer").opaque, id);
    }
    writing.join().expect("all written");
    assert_eq!(server.messages(), 20);
}

#[test]
fn oneway_messages_are_counted_and_not_answered() {
    let server = InstantServer::start().expect("a loopback port");
    let mut client = client(&server);
    // Code 10 has a field of this name, and it is not the flag that counts.
    let mut oneway = send("T", 0, "K", b"x").field("flag", "0");
    oneway.flag = 2;
    client.send(&oneway);
    client.stream.write_all(&hex(SEND_BINARY)).expect("the connection is open");
    assert_eq!(client.receive().expect("an answer").opaque, 1);
    assert_eq!(client.ask(&with_opaque(send("T", 0, "K", b"x"), 8)).opaque, 8);
    assert_eq!(server.messages(), 3);
}

#[test]
fn what_is_no_frame_ends_the_connection_and_dropping_the_server_the_rest() {
    let server = InstantServer::start().expect("a loopback port");
    let mut bad = client(&server);
    bad.stream.write_all(&[0xff; 8]).expect("the connection is open");
    let end = bad.receive().expect_err("no answer").kind();
    assert_ne!(end, ErrorKind::WouldBlock, "it ends at once");
    let mut good = client(&server);
    assert_eq!(good.ask(&send("T", 0, "K", b"x")).code, 0);
    let address = server.address();
    drop(server);
    assert!(good.receive().is_err());
    assert!(std::net::TcpStream::connect(address).is_err());
}
