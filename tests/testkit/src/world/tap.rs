//! What was on the wire, frame by frame, read with the test kit's own codec.

use std::collections::BTreeMap;

use super::check::{Checks, Moment, Seen, Violation};
use crate::cluster::Node;
use crate::wire::{Command, Fields, property, request_code, split_frame};

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
    /// Its place among all that was seen.
    pub(super) begun: Moment,
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
    pub ext: Fields,
    /// What it says in words.
    pub remark: String,
    /// The rest of an answer about a route; nothing of others.
    pub body: Vec<u8>,
}

impl WireFrame {
    /// A frame that was begun at this time.
    pub(super) fn new(
        link: u64,
        (client, node): (usize, Node),
        begun: Moment,
        command: Command,
    ) -> WireFrame {
        let mut frame = WireFrame {
            link,
            client,
            node,
            first_ns: begun.ns,
            begun,
            written_ns: None,
            command,
            unique_key: None,
            answer: None,
        };
        if frame.is_send() {
            frame.unique_key = property(frame.properties(), "UNIQ_KEY").map(str::to_owned);
        }
        frame
    }

    /// Whether it asks a name server for a route.
    pub fn is_route_query(&self) -> bool {
        self.command.code == request_code::GET_ROUTEINFO_BY_TOPIC
    }

    /// Whether it carries a message.
    pub fn is_send(&self) -> bool {
        request_code::SENDS.contains(&self.command.code)
    }

    /// The topic of a send or of a route query.
    pub fn topic(&self) -> &str {
        let ext = &self.command.ext;
        let names: &[&str] =
            if self.command.code == request_code::SEND_MESSAGE_V2 { &["b"] } else { &["topic"] };
        names.iter().find_map(|name| ext.get(name)).unwrap_or("")
    }

    /// The queue of a send.
    pub fn queue_id(&self) -> i32 {
        let queue = self.command.ext.get("e").or_else(|| self.command.ext.get("queueId"));
        queue.and_then(|text| text.parse().ok()).unwrap_or(-1)
    }

    /// The properties of a send, as sent.
    pub fn properties(&self) -> &str {
        let text = self.command.ext.get("i").or_else(|| self.command.ext.get("properties"));
        text.unwrap_or("")
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
    sides: BTreeMap<u64, Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    client: usize,
    sent: Vec<u8>,
    /// When the first of these bytes was taken.
    begun: Moment,
    received: Vec<u8>,
    /// The server's bytes are no frames any more.
    deaf: bool,
}

impl Tap {
    /// A socket took bytes of a client.
    pub(super) fn sent(
        &mut self,
        link: u64,
        (client, node): (usize, Node),
        now: u64,
        bytes: &[u8],
        checks: &mut Checks,
    ) {
        let side = self.sides.entry(link).or_default();
        side.client = client;
        if side.sent.is_empty() {
            side.begun = checks.moment(now);
        }
        side.sent.extend_from_slice(bytes);
        let sent = std::mem::take(&mut side.sent);
        let mut taken = 0;
        let mut begun = side.begun;
        loop {
            let rest = sent.get(taken..).unwrap_or_default();
            match split_frame(rest) {
                Ok(Some(length)) => {
                    taken += length;
                    match Command::decode(&rest[..length]) {
                        Ok(command) => {
                            let frame = WireFrame::new(link, (client, node), begun, command);
                            self.frame(WireFrame { written_ns: Some(now), ..frame }, now, checks);
                        }
                        Err(error) => {
                            checks.violation(Violation::new(7, format!("sent garbage: {error}")));
                        }
                    }
                    begun = checks.moment(now);
                }
                Ok(None) => break,
                Err(error) => {
                    checks.violation(Violation::new(7, format!("sent no frame: {error}")));
                    taken = sent.len();
                    break;
                }
            }
        }
        let side = self.sides.entry(link).or_default();
        side.begun = begun;
        side.sent = sent;
        side.sent.drain(..taken);
    }

    /// The client's end of a connection is gone: what was begun stays a fragment.
    pub(super) fn ended(
        &mut self,
        link: u64,
        client: usize,
        node: Option<Node>,
        now: u64,
        checks: &mut Checks,
    ) {
        let Some(side) = self.sides.remove(&link).filter(|side| !side.sent.is_empty()) else {
            return;
        };
        match (node, Command::decode_prefix(&side.sent)) {
            (Some(node), Ok(command)) => {
                let frame = WireFrame::new(link, (client, node), side.begun, command);
                self.frame(frame, now, checks);
            }
            _ => checks.see(now, Seen::Fragment { link, begun: side.begun }),
        }
    }

    /// Whether a frame of a client is half written.
    pub(super) fn is_unfinished(&self, client: usize) -> bool {
        self.sides.values().any(|side| side.client == client && !side.sent.is_empty())
    }

    fn frame(&mut self, frame: WireFrame, now: u64, checks: &mut Checks) {
        let (link, command) = (frame.link, &frame.command);
        if command.is_response() {
            self.client_answers.push((link, command.code, command.opaque));
            return;
        }
        let key = (link, command.opaque);
        if let Some(old) = self.open.insert(key, self.frames.len()) {
            let old = &self.frames[old];
            // Nothing in a simulation lives long enough to wrap.
            let text = format!(
                "request id {} used twice on connection {link} (codes {} and {})",
                key.1, old.command.code, command.code
            );
            checks.violation(Violation::new(13, text));
        }
        checks.see(now, Seen::Frame { frame: &frame });
        self.frames.push(frame);
    }

    /// A client received bytes.
    pub(super) fn received(&mut self, link: u64, now: u64, bytes: &[u8], checks: &mut Checks) {
        let side = self.sides.entry(link).or_default();
        if side.deaf {
            return;
        }
        let begins = side.received.is_empty();
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
            if !command.is_response() {
                continue;
            }
            let frame = self.open.get(&(link, command.opaque)).copied();
            let frame = frame.and_then(|index| self.frames.get_mut(index));
            let route = |frame: &&mut WireFrame| frame.is_route_query();
            let body = if frame.as_ref().is_some_and(route) { command.body } else { Vec::new() };
            let (code, ext) = (command.code, command.ext);
            let remark = command.remark.unwrap_or_default();
            let answer = WireAnswer { at_ns: now, code, ext, remark, body };
            checks.see(now, Seen::Answer { link, frame: frame.as_deref(), answer: &answer });
            if let Some(frame) = frame {
                frame.answer.get_or_insert(answer);
            }
        }
        side.received.drain(..taken);
        let (whole, partial) = (taken > 0, !side.received.is_empty() && !side.deaf);
        // Bytes in the middle of a frame tell nothing new.
        if whole || begins {
            checks.see(now, Seen::Read { link, whole, partial });
        }
    }
}
