//! A service that tells clients the list of name servers, over HTTP. It lives on the port of every
//! name server, so that it can be stalled and killed like one; real ones have it elsewhere.

use super::{ActionKind, Cluster, ConnectionId, Node};

/// Longest request that is waited for.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// What the service answers, and whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookup {
    answer: Option<Vec<u8>>,
    requests: Vec<LookupRecord>,
}

/// A request to the look-up service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupRecord {
    /// When it was complete.
    pub at_ns: u64,
    /// On the port of which name server.
    pub node: Node,
    /// Its first line and its headers, each with its line end.
    pub head: String,
}

impl Cluster {
    /// The look-up service answers with this list of name servers from now on. Before, it answers
    /// nothing.
    pub fn answer_lookups(&mut self, list: &str) {
        let length = list.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        self.answer_lookups_with(head + list);
    }

    /// The look-up service answers with these very bytes from now on, and closes.
    pub fn answer_lookups_with(&mut self, answer: impl Into<Vec<u8>>) {
        self.lookup.answer = Some(answer.into());
    }

    /// The requests that the look-up service has received.
    pub fn lookups(&self) -> &[LookupRecord] {
        &self.lookup.requests
    }

    /// Whether the connection carries HTTP, whose request is answered then.
    pub(super) fn serve_lookup(&mut self, node: Node, connection: ConnectionId) -> bool {
        let buffer = self.connections.get(&connection).map(|state| state.buffer.as_slice());
        let Some(buffer) = buffer.filter(|buffer| buffer.starts_with(b"GET ")) else {
            return false;
        };
        if !matches!(node, Node::NameServer(_)) || buffer.len() > REQUEST_BYTES_MAX {
            return false;
        }
        if !buffer.ends_with(b"\r\n\r\n") {
            return true;
        }
        let head = String::from_utf8_lossy(buffer).into_owned();
        self.lookup.requests.push(LookupRecord { at_ns: self.now_ns, node, head });
        if let Some(state) = self.connections.get_mut(&connection) {
            state.buffer.clear();
        }
        if let Some(answer) = self.lookup.answer.clone() {
            self.push_action(0, node, connection, ActionKind::Write(answer));
            self.push_action(0, node, connection, ActionKind::Close);
        }
        true
    }
}
