//! What was on the wire, frame by frame, read with the test kit's own codec.

use std::collections::BTreeMap;

use crate::cluster::Node;
use crate::wire::{Command, parse_properties, request_code, split_frame};

/// A request of a client as it went into a socket.
#[derive(Clone, Debug)]
pub struct WireFrame {
    /// The connection.
    pub link: u64,
    /// The client.
    pub client: usize,
    /// The server.
    pub node: Node,
    /// When its first byte was taken by the socket.
    pub first_ns: u64,
    /// When its last byte was; `None` if that never happened.
    pub written_ns: Option<u64>,
    /// The request.
    pub command: Command,
    /// Property `UNIQ_KEY` of a send.
    pub unique_key: Option<String>,
    /// The first answer that the client received for it on this connection.
    pub answer: Option<WireAnswer>,
}

/// An answer as the client received it.
#[derive(Clone, Debug)]
pub struct WireAnswer {
    /// When.
    pub at_ns: u64,
    /// Its code.
    pub code: i32,
    /// Its fields.
    pub ext: BTreeMap<String, String>,
}

impl WireFrame {
    /// Whether it carries a message.
    pub fn is_send(&self) -> bool {
        request_code::SENDS.contains(&self.command.code)
    }

    /// The topic of a send or of a route query.
    pub fn topic(&self) -> &str {
        let ext = &self.command.ext;
        let names: &[&str] =
            if self.command.code == request_code::SEND_MESSAGE_V2 { &["b"] } else { &["topic"] };
        names.iter().find_map(|name| ext.get(*name)).map_or("", String::as_str)
    }

    /// The queue of a send.
    pub fn queue_id(&self) -> i32 {
        let queue = self.command.ext.get("e").or_else(|| self.command.ext.get("queueId"));
        queue.and_then(|text| text.parse().ok()).unwrap_or(-1)
    }

    /// The properties of a send, as sent.
    pub fn properties(&self) -> &str {
        let text = self.command.ext.get("i").or_else(|| self.command.ext.get("properties"));
        text.map_or("", String::as_str)
    }
}

/// Listens to every connection.
#[derive(Debug, Default)]
pub(super) struct Tap {
    pub(super) frames: Vec<WireFrame>,
    /// Answers of clients to requests of servers: connection, code, request id.
    pub(super) client_answers: Vec<(u64, i32, i32)>,
    /// Frames by connection and request id.
    open: BTreeMap<(u64, i32), usize>,
    /// Frames begun and never finished, too short to tell what they were: client and times.
    pub(super) fragments: Vec<(usize, u64, u64)>,
    sides: BTreeMap<u64, Sides>,
    pub(super) complaints: Vec<String>,
}

#[derive(Debug, Default)]
struct Sides {
    sent: Vec<u8>,
    first_ns: u64,
    received: Vec<u8>,
    /// The server's bytes are no frames any more.
    deaf: bool,
}

impl Tap {
    /// A socket took bytes of a client.
    pub(super) fn sent(&mut self, link: u64, client: usize, node: Node, now: u64, bytes: &[u8]) {
        let side = self.sides.entry(link).or_default();
        if side.sent.is_empty() {
            side.first_ns = now;
        }
        side.sent.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut side.sent);
        let mut first_ns = side.first_ns;
        loop {
            match split_frame(&rest) {
                Ok(Some(length)) => {
                    let behind = rest.split_off(length);
                    match Command::decode(&rest) {
                        Ok(command) => {
                            self.frame(link, client, node, (first_ns, Some(now)), command);
                        }
                        Err(error) => self.complaints.push(format!("sent garbage: {error}")),
                    }
                    first_ns = now;
                    rest = behind;
                }
                Ok(None) => break,
                Err(error) => {
                    self.complaints.push(format!("sent no frame: {error}"));
                    rest.clear();
                    break;
                }
            }
        }
        let side = self.sides.entry(link).or_default();
        side.first_ns = first_ns;
        side.sent = rest;
    }

    /// The client's end of a connection is gone: what was begun stays a fragment.
    pub(super) fn ended(&mut self, link: u64, client: usize, node: Option<Node>, now: u64) {
        let Some(side) = self.sides.remove(&link).filter(|side| !side.sent.is_empty()) else {
            return;
        };
        match (node, Command::decode_prefix(&side.sent)) {
            (Some(node), Ok(command)) => {
                self.frame(link, client, node, (side.first_ns, None), command);
            }
            _ => self.fragments.push((client, side.first_ns, now)),
        }
    }

    fn frame(
        &mut self,
        link: u64,
        client: usize,
        node: Node,
        (first_ns, written_ns): (u64, Option<u64>),
        command: Command,
    ) {
        if command.is_response() {
            self.client_answers.push((link, command.code, command.opaque));
            return;
        }
        let mut frame = WireFrame {
            link,
            client,
            node,
            first_ns,
            written_ns,
            command,
            unique_key: None,
            answer: None,
        };
        if frame.is_send() {
            frame.unique_key = parse_properties(frame.properties()).remove("UNIQ_KEY");
        }
        let key = (link, frame.command.opaque);
        if let Some(old) = self.open.insert(key, self.frames.len()) {
            let old = &self.frames[old];
            // I-13; nothing in a simulation lives long enough to wrap.
            self.complaints.push(format!(
                "I-13: request id {} used twice on connection {link} (codes {} and {})",
                key.1, old.command.code, frame.command.code
            ));
        }
        self.frames.push(frame);
    }

    /// A client received bytes.
    pub(super) fn received(&mut self, link: u64, now: u64, bytes: &[u8]) {
        let side = self.sides.entry(link).or_default();
        if side.deaf {
            return;
        }
        side.received.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some(rest) = side.received.get(taken..) {
            let Ok(Some(length)) = split_frame(rest) else {
                side.deaf = split_frame(rest).is_err();
                break;
            };
            let command = rest.get(..length).map(Command::decode);
            taken += length;
            let Some(Ok(command)) = command else {
                side.deaf = true;
                break;
            };
            let frame = self.open.get(&(link, command.opaque)).copied();
            if let Some(frame) = frame.and_then(|index| self.frames.get_mut(index))
                && command.is_response()
                && frame.answer.is_none()
            {
                let answer = WireAnswer { at_ns: now, code: command.code, ext: command.ext };
                frame.answer = Some(answer);
            }
        }
        side.received.drain(..taken);
    }
}
