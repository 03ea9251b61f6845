//! Answers that come before their request has left.

use bytes::{Bytes, BytesMut};
use rocketmq_core::wire::{Encoding, ResponseCode, UniqueKeySource, encode_response};
use rocketmq_core::{
    Client, ClockReading, CloseReason, Completion, Config, ConnId, Delivery, Instant, Message,
    OpId, Output, PreparedMessage, SendCommand, SendError,
};

const ROUTE: &[u8] = br#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"a","cluster":"c"}],"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1,"writeQueueNums":1}]}"#;
const NOW: Instant = Instant::from_nanos(1);

fn dialled(client: &mut Client) -> ConnId {
    let dial = |output| match output {
        Output::Connect { conn, .. } => Some(conn),
        _ => None,
    };
    std::iter::from_fn(|| client.poll_output()).find_map(dial).expect("a dial")
}

fn answer(client: &mut Client, conn: ConnId, opaque: i32, code: i32, body: &[u8]) {
    let mut frame = Vec::new();
    let code = ResponseCode(code);
    encode_response(&mut frame, Encoding::Json, opaque, code, Some("early"), &[], body).unwrap();
    client.handle_received(NOW, conn, &mut BytesMut::from(&frame[..]));
}

/// A client with one framed send of which the socket has taken `taken` bytes.
fn framed(taken: usize) -> (Client, ConnId) {
    let config = Config::builder("127.0.0.1:9876").retries_max(0).build().unwrap();
    let keys = UniqueKeySource::new([127, 0, 0, 1].into(), 1, 1, 0);
    let message = Message::new("T", Bytes::from_static(b"body"));
    let clock = ClockReading::default();
    let message = PreparedMessage::new(message, keys.next(0), clock, &config).unwrap();
    let mut client = Client::new(config, 1, Instant::ZERO);
    let group = client.register(NOW, "group").unwrap();
    let command = SendCommand::new(group, NOW, Instant::from_nanos(3_000_000_000));
    client.send(NOW, OpId { index: 0, generation: 0 }, message, command).unwrap();
    let names = dialled(&mut client);
    client.handle_connected(NOW, names, Ok(()));
    assert_eq!(client.poll_transmit(), Some(names));
    answer(&mut client, names, 0, 0, ROUTE);
    let broker = dialled(&mut client);
    client.handle_connected(NOW, broker, Ok(()));
    assert_eq!(client.poll_transmit(), Some(broker));
    client.handle_transmitted(NOW, broker, taken);
    (client, broker)
}

fn ended(client: &mut Client) -> (Option<CloseReason>, Option<Result<Completion, SendError>>) {
    let (mut closed, mut completed) = (None, None);
    while let Some(output) = client.poll_output() {
        match output {
            Output::Close { reason, .. } => closed = Some(reason),
            Output::Complete { result, .. } => completed = Some(result),
            _ => {}
        }
    }
    (closed, completed)
}

/// The heartbeat is request 0 of the connection, the send request 1.
#[test]
fn an_answer_before_the_last_byte_cuts_the_connection_and_is_not_believed() {
    for (code, all_but) in [(13, 1), (13, usize::MAX), (0, 1), (0, usize::MAX), (1500, 1)] {
        let (client, broker) = framed(0);
        let length = client.transmit_chunks(broker).map(<[u8]>::len).sum::<usize>();
        let (mut client, broker) = framed(length.saturating_sub(all_but));
        answer(&mut client, broker, 1, code, &[]);
        let (closed, completed) = ended(&mut client);
        assert_eq!(closed, Some(CloseReason::EarlyAnswer), "{code}");
        let error = completed.expect("the only attempt has ended").expect_err("nothing was sent");
        assert_eq!(error.delivery(), Delivery::NotSent, "{code}");
        assert_eq!(client.transmit_chunks(broker).count(), 0);
    }
}

#[test]
fn an_answer_after_the_last_byte_is_believed() {
    let (mut client, broker) = framed(usize::MAX);
    answer(&mut client, broker, 1, 13, &[]);
    let (closed, completed) = ended(&mut client);
    assert_eq!(closed, None);
    let error = completed.expect("it has ended").expect_err("it was refused");
    assert_eq!(error.delivery(), Delivery::Refused);
}
