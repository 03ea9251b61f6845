//! TLS between the bytes of a host and the frames of the servers.
//!
//! Everything inside of the cluster is plain. Bytes are decrypted where they come in, and encrypted
//! when the host carries an action out: not before, because a later action may overtake a delayed
//! one, and records of TLS have to leave in the order in which they were made.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

use super::{ActionKind, Cluster, ConnectionId, Ending, Node};
use crate::tls::{ServerTls, TlsFault, TlsMode};

/// The first byte of a connection that is encrypted.
// Java: TlsHelper / NettyRemotingServer: HANDSHAKE_MAGIC_CODE.
const HANDSHAKE: u8 = 0x16;

/// Encrypted bytes handed to a session at once.
const PIECE: usize = 4_096;

/// A handshake that a server completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHandshake {
    /// When.
    pub at_ns: u64,
    /// Which server.
    pub node: Node,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Whether it went on from an earlier one, without certificates.
    pub resumed: bool,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The name that the client asked for; none if it dialed an address in figures.
    pub server_name: Option<String>,
    /// Whether the client showed a certificate.
    pub client_certificate: bool,
}

/// What the servers speak, and with whom.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsState {
    servers: BTreeMap<Node, ServerTls>,
    /// `None` when it is over: what is still to be written then must not go out in plain text.
    sessions: BTreeMap<ConnectionId, Option<Session>>,
    handshakes: Vec<TlsHandshake>,
    turned_away: usize,
}

/// The server's side of one connection. Clones are the same session.
#[derive(Clone)]
struct Session(Arc<Mutex<ServerConnection>>);

impl Session {
    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// How servers speak TLS. Needs the feature `tls`.
impl Cluster {
    /// From now on new connections of this server may, or have to, be encrypted. A server that was
    /// told nothing takes TLS for a broken frame, as those before 4.2.0 do.
    pub fn set_tls(&mut self, node: Node, tls: ServerTls) {
        self.tls.servers.insert(node, tls);
    }

    /// The same for all servers.
    pub fn set_tls_everywhere(&mut self, tls: &ServerTls) {
        for node in self.nodes() {
            self.set_tls(node, tls.clone());
        }
    }

    /// The handshakes that servers completed, in order.
    pub fn tls_handshakes(&self) -> &[TlsHandshake] {
        &self.tls.handshakes
    }

    /// How many handshakes failed on a server's side, or were not to be.
    pub fn tls_turned_away(&self) -> usize {
        self.tls.turned_away
    }

    /// Takes bytes of a connection. Gives the plain ones; `None` if there are none to look at.
    pub(super) fn unseal<'a>(
        &mut self,
        node: Node,
        connection: ConnectionId,
        bytes: &'a [u8],
    ) -> Option<std::borrow::Cow<'a, [u8]>> {
        if let Some(session) = self.tls.sessions.get(&connection) {
            let session = session.clone()?;
            return self.decrypt(node, connection, &session, bytes).map(Into::into);
        }
        let untouched = self.connections.get(&connection)?.untouched;
        let Some(server) = self.tls.servers.get(&node).filter(|_| untouched) else {
            return Some(bytes.into());
        };
        let encrypted = bytes.first() == Some(&HANDSHAKE);
        match (encrypted, server.mode) {
            (true, TlsMode::Disabled) | (false, TlsMode::Enforcing) => {
                self.turn_away(node, connection);
                return None;
            }
            (false, _) => return Some(bytes.into()),
            (true, _) => {}
        }
        match server.fault.clone() {
            None | Some(TlsFault::CutAfter(_)) => {}
            Some(fault) => return self.play(node, connection, fault),
        }
        let session = ServerConnection::new(Arc::clone(&server.config)).ok()?;
        let session = Session(Arc::new(Mutex::new(session)));
        self.tls.sessions.insert(connection, Some(session.clone()));
        self.decrypt(node, connection, &session, bytes).map(Into::into)
    }

    fn turn_away(&mut self, node: Node, connection: ConnectionId) {
        self.tls.turned_away += 1;
        self.end(0, node, connection, Ending::Close);
    }

    fn play<T>(&mut self, node: Node, connection: ConnectionId, fault: TlsFault) -> Option<T> {
        match fault {
            TlsFault::Close => self.turn_away(node, connection),
            TlsFault::Bytes(bytes) => {
                self.push_action(0, node, connection, ActionKind::Write(bytes));
                self.tls.turned_away += 1;
                // It reads no more, and neither does it close.
                if let Some(state) = self.connections.get_mut(&connection) {
                    state.mute = true;
                }
            }
            TlsFault::Silent | TlsFault::CutAfter(_) => {
                self.tls.turned_away += 1;
                if let Some(state) = self.connections.get_mut(&connection) {
                    state.mute = true;
                }
            }
        }
        None
    }

    fn decrypt(
        &mut self,
        node: Node,
        connection: ConnectionId,
        session: &Session,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let mut state = session.lock();
        let shaking = state.is_handshaking();
        let mut plain = Vec::new();
        let mut failed = false;
        for piece in bytes.chunks(PIECE) {
            let mut rest = piece;
            while !rest.is_empty() && !failed {
                failed = !matches!(state.read_tls(&mut rest), Ok(1..));
                failed |= state.process_new_packets().is_err();
                // Would-block is the usual end of it.
                let _ = state.reader().read_to_end(&mut plain);
            }
        }
        let speaks = state.wants_write();
        let done = (shaking && !state.is_handshaking()).then(|| TlsHandshake {
            at_ns: self.now_ns,
            node,
            connection,
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                _ => "1.3",
            },
            server_name: state.server_name().map(str::to_owned),
            client_certificate: state.peer_certificates().is_some(),
        });
        drop(state);
        self.tls.handshakes.extend(done);
        if speaks {
            // Its bytes are made when the host writes them.
            self.push_action(0, node, connection, ActionKind::Write(Vec::new()));
        }
        if failed {
            self.turn_away(node, connection);
            return None;
        }
        let fault = self.tls.servers.get(&node).and_then(|server| server.fault.clone());
        if matches!(fault, Some(TlsFault::CutAfter(_))) {
            self.turn_away(node, connection);
            return None;
        }
        (!plain.is_empty()).then_some(plain)
    }

    /// The bytes that the host has to write for an action: frames as they go over the wire. To be
    /// called when the action is carried out, not before.
    pub fn seal(
        &mut self,
        node: Node,
        connection: ConnectionId,
        kind: &mut ActionKind,
    ) -> Option<Vec<u8>> {
        let plain = match kind {
            ActionKind::Write(bytes) => Some(std::mem::take(bytes)),
            ActionKind::Close | ActionKind::Reset => None,
        };
        let Some(session) = self.tls.sessions.get(&connection) else { return plain };
        let session = session.clone()?;
        let mut state = session.lock();
        let mut sealed = Vec::new();
        state.set_buffer_limit(None);
        let _ = state.writer().write_all(&plain.unwrap_or_default());
        if *kind == ActionKind::Close {
            state.send_close_notify();
        }
        while state.wants_write() && state.write_tls(&mut sealed).is_ok() {}
        drop(state);
        let fault = self.tls.servers.get(&node).and_then(|server| server.fault.as_ref());
        let cut = match fault {
            Some(TlsFault::CutAfter(most)) if !sealed.is_empty() => Some(*most),
            _ => None,
        };
        sealed.truncate(cut.unwrap_or(sealed.len()));
        if cut.is_some() || !matches!(kind, ActionKind::Write(_)) {
            self.tls.sessions.insert(connection, None);
        }
        (!sealed.is_empty() && *kind != ActionKind::Reset).then_some(sealed)
    }
}
