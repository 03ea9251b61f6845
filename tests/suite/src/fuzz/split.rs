//! The same bytes at once and in pieces.

use bytes::BytesMut;
use rocketmq_core::{ConnId, Message, Output};

use super::bytes::Choices;
use super::world::World;

/// How the bytes of a stream are cut must not matter: the client does and says the same.
///
/// The first byte says on which connection, the next eight how long the pieces are, in turn.
pub fn split(data: &[u8]) {
    let mut choices = Choices::new(data);
    let to_broker = choices.flag();
    let lengths: Vec<usize> = (0..8).map(|_| choices.below(64) + 1).collect();
    let stream = choices.rest();

    let mut whole = start();
    let conn = if to_broker { whole.broker } else { whole.name_server };
    let mut buffer = BytesMut::from(stream);
    whole.client.handle_received(whole.now, conn, &mut buffer);
    let rest = buffer;

    let mut pieces = start();
    let mut buffer = BytesMut::new();
    let mut at = 0;
    for length in lengths.iter().cycle() {
        let end = stream.len().min(at + length);
        buffer.extend_from_slice(&stream[at..end]);
        pieces.client.handle_received(pieces.now, conn, &mut buffer);
        at = end;
        if at == stream.len() {
            break;
        }
    }
    assert_eq!(buffer, rest, "bytes that wait for more");
    assert_eq!(end(pieces, conn), end(whole, conn));
}

/// Three sends wait for their answers, numbered 1 to 3; the heartbeat had 0.
fn start() -> World {
    let mut world = World::with_broker();
    for body in ["a", "b", "c"] {
        world.send(Message::new("T", body)).expect("a legal message");
    }
    let broker = world.broker;
    let numbers: Vec<_> = world.frames(broker).iter().map(|frame| frame.opaque).collect();
    assert_eq!(numbers, [1, 2, 3]);
    world
}

fn end(mut world: World, conn: ConnId) -> (Vec<Output>, Vec<u8>, usize) {
    let outputs = std::iter::from_fn(|| world.client.poll_output()).collect();
    while world.client.poll_transmit().is_some() {}
    let bytes = world.client.transmit_chunks(conn).collect::<Vec<_>>().concat();
    (outputs, bytes, world.client.in_flight())
}
