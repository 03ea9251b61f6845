//! What the application and the servers know while a client is driven by chance, and what must
//! hold whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::BytesMut;
use rocketmq_core::{
    Client, Completion, ConnId, Delivery, Instant, Mode, OpId, Output, SendError, SendErrorKind,
};
use rocketmq_testkit::wire::{Command, parse_properties, request_code, split_frame};

mod services;

pub(super) use services::{Purpose, Services};

/// A send that has not ended, as the application sees it.
pub(super) struct Open {
    pub(super) deadline: Instant,
    pub(super) mode: Mode,
    /// Its unique key in hexadecimal digits.
    pub(super) key: String,
}

/// The far end of a connection.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) connected: bool,
    /// What came from the client and is no whole frame yet.
    from_client: Vec<u8>,
    /// What was sent to the client and not taken by it, as in a driver's buffer.
    pub(super) to_client: BytesMut,
    /// The rest of an answer of which the first part has been sent.
    pub(super) held_back: Vec<u8>,
    /// Requests that can be answered.
    pub(super) requests: Vec<Command>,
    /// Numbers of the sends that were answered.
    answered: BTreeSet<i32>,
}

/// What happened to a message at the servers.
#[derive(Default, Clone, Copy)]
struct Fate {
    /// Whole frames that left.
    arrived: u32,
    /// Answers given.
    answers: u32,
    stored: bool,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) peers: BTreeMap<ConnId, Peer>,
    pub(super) open: BTreeMap<OpId, Open>,
    pub(super) waiters: BTreeSet<u64>,
    pub(super) services: Services,
    /// Bytes that are no honest answer were sent: what brokers did is not known any more.
    pub(super) lied: bool,
    pub(super) closed: bool,
    /// Names that may be used again.
    pub(super) freed: Vec<OpId>,
    closed_connections: BTreeSet<ConnId>,
    seen_connections: BTreeSet<ConnId>,
    fates: BTreeMap<String, Fate>,
    digest: DefaultHasher,
}

impl Model {
    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Names of connections in the order of their creation, dead ones included.
    pub(super) fn connections(&self) -> Vec<ConnId> {
        self.seen_connections.iter().copied().collect()
    }

    pub(super) fn is_live(&self, conn: ConnId) -> bool {
        self.peers.contains_key(&conn)
    }

    /// The other side, or the system, ended a connection: the client will not close it.
    pub(super) fn peer_closed(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }

    /// Takes in everything that the client has to say.
    pub(super) fn drain(&mut self, client: &mut Client) {
        while let Some(output) = client.poll_output() {
            self.take_in(output);
        }
    }

    fn take_in(&mut self, output: Output) {
        std::mem::discriminant(&output).hash(&mut self.digest);
        if self.closed {
            let ends_at_once = matches!(
                output,
                Output::Ready { .. }
                    | Output::Queues { .. }
                    | Output::Answer { .. }
                    | Output::TransactionEnded { .. }
            );
            assert!(ends_at_once, "after Closed: {output:?}");
        }
        match output {
            Output::Connect { conn, address } => {
                conn.hash(&mut self.digest);
                address.to_string().hash(&mut self.digest);
                assert!(self.seen_connections.insert(conn), "{conn} is used twice");
                self.peers.insert(conn, Peer::default());
            }
            Output::Close { conn, .. } => {
                conn.hash(&mut self.digest);
                assert!(self.seen_connections.contains(&conn), "{conn} was never dialled");
                assert!(self.closed_connections.insert(conn), "{conn} is closed twice");
                self.peers.remove(&conn);
            }
            Output::Complete { op, result } => {
                op.hash(&mut self.digest);
                let open = self.open.remove(&op);
                let open = open.unwrap_or_else(|| panic!("{op} ended, but was not open"));
                self.services.send_ended(op, result.as_ref().ok());
                match result {
                    Ok(completion) => self.check_success(&open, &completion),
                    Err(error) => self.check_failure(&open, &error),
                }
                self.freed.push(op);
            }
            Output::Ready { waiter, .. } => {
                assert!(self.waiters.remove(&waiter), "waiter {waiter} ended, but did not wait");
            }
            Output::Closed => {
                assert!(self.open.is_empty(), "closed with open sends");
                assert!(self.peers.is_empty(), "closed with open connections");
                self.closed = true;
            }
            other => self.services.take_in(other, self.lied),
        }
    }

    fn check_success(&self, open: &Open, completion: &Completion) {
        let fate = self.fates.get(&open.key).copied().unwrap_or_default();
        match completion {
            Completion::Stored(receipt) => {
                assert_eq!(receipt.unique_key.to_string(), open.key);
                assert_eq!(open.mode, Mode::Awaited);
                assert!(self.lied || fate.stored, "no broker said that it stored {}", open.key);
            }
            Completion::Sent(receipt) => {
                assert_eq!(receipt.unique_key.to_string(), open.key);
                assert_eq!(open.mode, Mode::Oneway);
                assert_eq!(fate.arrived, 1, "a oneway message leaves once");
            }
            other => panic!("unknown completion {other:?}"),
        }
    }

    /// What an error says must be true: the message is given back, and its delivery is no guess.
    pub(super) fn check_failure(&self, open: &Open, error: &SendError) {
        let fate = self.fates.get(&open.key).copied().unwrap_or_default();
        let key = error.unique_key().map(|key| key.to_string());
        assert_eq!(key.as_deref(), Some(open.key.as_str()));
        assert!(error.message().is_some() && !error.to_string().is_empty());
        if *error.kind() == SendErrorKind::Cancelled {
            assert!(error.delivery() != Delivery::NotSent || fate.arrived == 0, "{error}");
        }
        match error.delivery() {
            Delivery::NotSent => assert_eq!(fate.arrived, 0, "{error}"),
            Delivery::Refused => {
                assert!(self.lied || !fate.stored, "{error}");
                assert!(self.lied || fate.answers >= fate.arrived, "{error}");
            }
            Delivery::Unknown => {}
        }
    }

    /// The system took `bytes` of a connection.
    pub(super) fn transmitted(&mut self, conn: ConnId, bytes: &[u8]) {
        bytes.hash(&mut self.digest);
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        assert!(peer.connected || bytes.is_empty(), "{conn} has bytes before it is connected");
        peer.from_client.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = split_frame(&peer.from_client[at..]).expect("our own frame") {
            let frame = &peer.from_client[at..at + length];
            let command = Command::decode(frame).expect("our own header");
            at += length;
            if command.code == request_code::END_TRANSACTION {
                self.services.told(&command);
            }
            if request_code::SENDS.contains(&command.code) {
                self.fates.entry(key_of(&command)).or_default().arrived += 1;
            }
            if !command.is_oneway() && !command.is_response() {
                peer.requests.push(command);
            }
        }
        peer.from_client.drain(..at);
    }

    /// A broker answers a send. Only the first answer counts: one request has one outcome.
    pub(super) fn answered(&mut self, conn: ConnId, request: &Command, stored: bool) {
        let peer = self.peers.get_mut(&conn);
        if peer.is_none_or(|peer| !peer.answered.insert(request.opaque)) {
            return;
        }
        let fate = self.fates.entry(key_of(request)).or_default();
        fate.answers += 1;
        fate.stored |= stored;
    }

    /// A broker answers the end of a transaction.
    pub(super) fn end_answered(&mut self, conn: ConnId, request: &Command, code: i32) {
        let peer = self.peers.get_mut(&conn);
        if peer.is_some_and(|peer| peer.answered.insert(request.opaque)) {
            self.services.end_answered(request, code);
        }
    }

    /// What must hold after every input, once nothing is left to be polled.
    pub(super) fn check(&self, client: &mut Client, bounds: &Bounds) {
        let sizes = client.table_sizes();
        assert_eq!(sizes.operations, self.open.len());
        assert_eq!(client.in_flight(), self.open.len());
        assert_eq!(sizes.connections, self.peers.len());
        assert!(sizes.topics <= bounds.topics, "{sizes:?}");
        assert!(self.lied || sizes.addresses <= bounds.addresses, "{sizes:?}");
        assert!(self.lied || sizes.brokers <= bounds.brokers, "{sizes:?}");
        let owners = sizes.operations + sizes.requests + sizes.topics + sizes.addresses;
        let owners = owners + 2 * sizes.connections + self.waiters.len();
        let owners = owners + self.services.check(client, &sizes);
        // The two rounds, and one for each call of shutdown.
        let most = owners + 2 + bounds.shutdowns;
        assert!(sizes.timers <= most, "{sizes:?}: more than {most} timers");
        let deadline = client.poll_timeout().map(|(at, _)| at);
        if sizes.operations + sizes.requests + sizes.connections + self.waiters.len() > 0 {
            assert!(deadline.is_some(), "{sizes:?}: nothing would ever happen");
        }
        if let Some(first) = self.open.values().map(|open| open.deadline).min() {
            assert!(deadline <= Some(first), "no timer for the send that ends at {first:?}");
        }
        if self.closed {
            self.services.check_end();
            assert_eq!(deadline, None);
            let left = sizes.addresses + sizes.topics + sizes.brokers + sizes.requests;
            assert_eq!(left + sizes.timers, 0, "{sizes:?}");
        }
    }

    /// What must hold after the client was told that it is `now`.
    pub(super) fn check_time(&self, client: &mut Client, now: Instant) {
        if let Some((at, reason)) = client.poll_timeout() {
            assert!(at > now, "{reason:?} would be called for again and again");
        }
        for (op, open) in &self.open {
            assert!(open.deadline > now, "{op} has outlived its deadline");
        }
        self.services.check_time(now);
    }
}

/// How large tables may be, from what was put in.
pub(super) struct Bounds {
    pub(super) topics: usize,
    pub(super) addresses: usize,
    pub(super) brokers: usize,
    pub(super) shutdowns: usize,
}

fn key_of(request: &Command) -> String {
    let properties = request.ext.get("i").or(request.ext.get("properties"));
    let properties = properties.map(parse_properties).unwrap_or_default();
    properties.get("UNIQ_KEY").unwrap_or_default().to_owned()
}
