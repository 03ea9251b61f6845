//! The loop: what happens next, and what the machine wants done about it.

use bytes::BytesMut;
use rocketmq_core::{CloseReason, ConnId, ConnectFailure, Instant, Output};

use super::link::{Cut, Link};
use super::random::nanos;
use super::{DialFault, Happening, Random, World, check, outcome_of};
use crate::cluster::{Action, ActionKind, ConnectionId, Listener, Node, Process};

impl World {
    /// Does what comes next, unless it is later than `until`. Whether something was done.
    pub(super) fn step(&mut self, until: u64) -> bool {
        let planned = self.agenda.first_key_value().map(|(key, _)| key.0);
        let timer = (0..self.clients.len()).filter_map(|c| Some((self.wake(c)?, c))).min();
        let next = [planned, timer.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.standing = if next > self.now { 0 } else { self.standing + 1 };
        if self.standing > 50_000 {
            self.complain("the world stands still: endless work at one moment".to_owned());
            self.report();
        }
        self.now = self.now.max(next);
        // At one moment either may come first.
        let tie = planned == timer.map(|(at, _)| at) && self.random.chance(500);
        match timer {
            Some((at, client)) if at == next && (planned != Some(next) || tie) => {
                self.serve_timer(client);
            }
            _ => {
                if let Some((_, what)) = self.agenda.pop_first() {
                    self.happen(what);
                }
            }
        }
        if self.habits.noise > 0 && self.random.chance(self.habits.noise) {
            self.make_noise();
        }
        self.after_input();
        true
    }

    /// Drains the machines, unless the loop is lazy this time.
    pub(super) fn after_input(&mut self) {
        if self.habits.lazy > 0 && self.random.chance(self.habits.lazy) {
            let later = self.now + self.random.between(1, 300_000);
            self.plan(later, Happening::Nudge);
            return;
        }
        self.settle();
    }

    /// Does everything that machines and servers want done now.
    pub(super) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for client in 0..self.clients.len() {
                while let Some(output) = self.clients[client].machine.poll_output() {
                    quiet = false;
                    self.output(client, output);
                }
                while let Some(conn) = self.clients[client].machine.poll_transmit() {
                    quiet = false;
                    self.write(client, conn);
                }
            }
            while let Some(action) = self.cluster.poll_action() {
                quiet = false;
                self.plan(self.now.max(action.at_ns), Happening::Act(action));
            }
            if quiet {
                break;
            }
        }
        for client in 0..self.clients.len() {
            for complaint in check::at_rest(self, client) {
                self.complain(complaint);
            }
        }
        if !self.complaints.is_empty() {
            self.report();
        }
    }

    // ---- Timers -----------------------------------------------------------------------------

    /// When a client's next deadline is served: on time, or late by habit.
    fn wake(&mut self, client: usize) -> Option<u64> {
        let late = self.habits.late_timers;
        let peer = &mut self.clients[client];
        let (deadline, _) = peer.machine.poll_timeout()?;
        if let Some((known, at)) = peer.wake
            && known == deadline
        {
            return Some(at);
        }
        let on_time = deadline.as_nanos().saturating_add_signed(-peer.clock_error);
        let at = if late.is_zero() { on_time } else { on_time + self.random.up_to(late) };
        self.clients[client].wake = Some((deadline, at));
        Some(at)
    }

    fn serve_timer(&mut self, client: usize) {
        let clock = self.clock(client);
        let reason = self.clients[client].machine.poll_timeout().map(|(_, reason)| reason);
        self.note(format!("c{client} < timeout {reason:?}"));
        let peer = &mut self.clients[client];
        peer.wake = None;
        peer.machine.handle_timeout(clock);
        let stuck = peer.machine.poll_timeout().is_some_and(|(next, _)| next <= clock);
        peer.zero_polls = if stuck { peer.zero_polls + 1 } else { 0 };
        // The machine holds a clock that was set back, so its deadlines can look overdue.
        if peer.zero_polls > 3 && peer.clock_error == 0 {
            self.complain("I-16: a deadline stays in the past".to_owned());
        }
    }

    /// Inputs that mean nothing, to whoever takes them.
    fn make_noise(&mut self) {
        let client = self.random.below(self.clients.len() as u64) as usize;
        let clock = self.clock(client);
        let pick = self.random.draw();
        let peer = &mut self.clients[client];
        let stale = peer.gone.get((pick % 16).min(peer.gone.len() as u64) as usize).copied();
        let count = (peer.links.len() as u64).max(1);
        let live = peer.links.iter().nth((pick % count) as usize);
        let live = live.map(|(conn, link)| (*conn, *link));
        match (pick >> 32) % 6 {
            0 => peer.machine.handle_timeout(Instant::from_nanos(clock.as_nanos() / 2)),
            1 => {
                if let Some((conn, _)) = live {
                    peer.machine.handle_transmitted(clock, conn, 0);
                }
            }
            2 => {
                if let Some(conn) = stale {
                    peer.machine.handle_transmitted(clock, conn, 1 << 20);
                    peer.machine.handle_closed(clock, conn, CloseReason::Io);
                }
            }
            3 => {
                if let Some(conn) = stale {
                    let mut junk = BytesMut::from(&b"junk for nobody"[..]);
                    peer.machine.handle_received(clock, conn, &mut junk);
                    let failure = ConnectFailure::Other;
                    peer.machine.handle_connected(clock, conn, Err(failure));
                }
            }
            4 => {
                if let Some((conn, link)) = live
                    && let Some(link) = self.links.get_mut(&link)
                    && link.connected
                {
                    // Nothing new came, but whoever drives it looks again.
                    peer.machine.handle_received(clock, conn, &mut link.inbox);
                    peer.machine.handle_connected(clock, conn, Ok(()));
                }
            }
            _ => {
                // The same bytes are offered twice before the socket is asked.
                if let Some((conn, _)) = live {
                    let _ = peer.machine.transmit_chunks(conn).count();
                }
            }
        }
    }

    // ---- What the machine wants -------------------------------------------------------------

    fn output(&mut self, client: usize, output: Output) {
        if self.clients[client].closed_ns.is_some() {
            self.complain(format!("I-22: output after Closed: {output:?}"));
        }
        match output {
            Output::Connect { conn, address } => self.dial(client, conn, &address.to_string()),
            Output::Close { conn, reason } => {
                self.note(format!("c{client} > close {conn} {reason}"));
                let link = self.clients[client].links.get(&conn).copied();
                if let Some(link) = link.filter(|_| reason == CloseReason::Shutdown)
                    && let Some(complaint) = check::at_farewell(self, link)
                {
                    self.complain(complaint);
                }
                self.client_closes(client, conn);
            }
            Output::Complete { op, result } => match outcome_of(result) {
                Some(outcome) => self.end_send(client, op, outcome),
                None => self.complain(format!("{op} ended in a way that the world does not know")),
            },
            Output::Ready { waiter, result } => {
                self.note(format!("c{client} > ready {waiter} {}", result.is_ok()));
                let now = self.now;
                self.clients[client].ready.push((now, waiter, result));
            }
            Output::Closed => {
                self.note(format!("c{client} > closed"));
                self.clients[client].closed_ns = Some(self.now);
            }
            Output::Event(event) => {
                self.note(format!("c{client} > {event:?}"));
                let now = self.now;
                self.clients[client].events.push((now, event));
            }
            other => self.complain(format!("the world does not know {other:?}")),
        }
    }

    fn dial(&mut self, client: usize, conn: ConnId, address: &str) {
        let node = self.resolve(address);
        self.note(format!("c{client} > connect {conn} {address} {node:?}"));
        let id = self.next_link;
        self.next_link += 1;
        if let Some(complaint) = check::at_dial(self, client, address) {
            self.complain(complaint);
        }
        let profile = node.and_then(|node| self.profiles.get(&node));
        let profile = profile.unwrap_or(&self.profile).clone();
        let wait = nanos(profile.connect) + self.random.up_to(profile.jitter);
        let random = Random::new(self.seed).fork(id);
        let link = Link::new(client, conn, node, address.to_owned(), profile, random);
        self.links.insert(id, link);
        self.clients[client].links.insert(conn, id);
        let fault = node.and_then(|node| self.dial_faults.get(&node).copied());
        let hole =
            node.is_some_and(|node| self.cluster.node_state(node).listener == Listener::BlackHole);
        if fault != Some(DialFault::BlackHole) && (!hole || fault.is_some()) {
            self.plan(self.now + wait, Happening::Dialled(id));
        }
    }

    fn resolve(&self, address: &str) -> Option<Node> {
        let known = self.aliases.get(address).copied();
        let listens = |node: &Node| self.cluster.address(*node).to_string() == address;
        known.or_else(|| self.cluster.nodes().into_iter().find(listens))
    }

    /// Offers a connection's bytes to its socket.
    pub(super) fn write(&mut self, client: usize, conn: ConnId) {
        let Some(id) = self.clients[client].links.get(&conn).copied() else {
            return;
        };
        loop {
            let Some(link) = self.links.get_mut(&id).filter(|l| l.connected && l.client_open)
            else {
                return;
            };
            let room = link.room();
            if room == 0 {
                link.blocked = true;
                return;
            }
            let partial = link.profile.partial_writes;
            let want = if partial { link.random.below(room as u64 + 1) as usize } else { room };
            // Small steps are where the machine has to be right.
            let want = if partial && link.random.chance(500) { want.min(64) } else { want };
            let mut bytes = Vec::new();
            let mut more = false;
            for chunk in self.clients[client].machine.transmit_chunks(conn) {
                let take = chunk.len().min(want - bytes.len());
                bytes.extend_from_slice(&chunk[..take]);
                more |= take < chunk.len();
            }
            let (length, cut) = link.to_server.until_cut(bytes.len());
            bytes.truncate(length);
            self.take(id, bytes);
            if let Some(cut) = cut {
                return self.cut_now(id, cut);
            }
            if !more {
                return;
            }
            if want == 0 || partial {
                let later = self.now + self.random.between(0, 200_000);
                self.plan(later, Happening::Writable(id));
                return;
            }
        }
    }

    /// The socket takes bytes.
    fn take(&mut self, id: u64, bytes: Vec<u8>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let (client, conn, length) = (link.client, link.conn, bytes.len());
        if length > 0 {
            if let Some(node) = link.node {
                self.tap.sent(id, client, node, now, &bytes);
            }
            let at = link.arrival(now);
            let at = link.to_server.put(at, bytes);
            self.plan(at, Happening::ToServer(id));
            self.note(format!("c{client} > {conn} takes {length}"));
        }
        let clock = self.clock(client);
        self.clients[client].machine.handle_transmitted(clock, conn, length);
    }

    // ---- What happens -----------------------------------------------------------------------

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Dialled(id) => self.dialled(id),
            Happening::ToServer(id) => self.deliver_to_server(id),
            Happening::ToClient(id) => self.deliver_to_client(id),
            Happening::EndToServer(id) => self.end_to_server(id),
            Happening::EndToClient(id, reason) => self.end_to_client(id, reason),
            Happening::Writable(id) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.blocked = false;
                    let (client, conn) = (link.client, link.conn);
                    self.write(client, conn);
                }
            }
            Happening::Act(action) => self.act(action),
            Happening::Nudge => {}
            Happening::Call(call) => call(self),
        }
    }

    fn dialled(&mut self, id: u64) {
        let Some(link) = self.links.get(&id).filter(|link| link.client_open) else {
            return;
        };
        let (client, conn, node) = (link.client, link.conn, link.node);
        let fault = node.and_then(|node| self.dial_faults.get(&node).copied());
        let state = node.map(|node| self.cluster.node_state(node));
        let result = match (fault, state) {
            (Some(DialFault::Refused), _) => Err(ConnectFailure::Refused),
            (Some(DialFault::NoName), _) => Err(ConnectFailure::NameNotResolved),
            (Some(DialFault::BlackHole), _) => return,
            (None, None) => Err(ConnectFailure::Unreachable),
            (None, Some(state)) if state.listener == Listener::BlackHole => return,
            (None, Some(state)) => {
                let open = state.listener != Listener::Refusing && state.process != Process::Dead;
                if open { Ok(()) } else { Err(ConnectFailure::Refused) }
            }
        };
        self.note(format!("c{client} < connected {conn} {result:?}"));
        if let (Ok(()), Some(node), Some(link)) = (result, node, self.links.get_mut(&id)) {
            link.connected = true;
            link.server_open = true;
            self.cluster.handle_connected(self.now, node, ConnectionId(id));
        } else {
            self.forget(id);
        }
        let clock = self.clock(client);
        self.clients[client].machine.handle_connected(clock, conn, result);
    }

    fn deliver_to_server(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(node) = link.node.filter(|_| link.server_open && !link.silent) else {
            return;
        };
        // A process that stands still leaves the bytes where they are.
        let running = self.cluster.node_state(node).process == Process::Running;
        let mute = self.cluster.is_mute(ConnectionId(id));
        if !running || mute || link.unread {
            return;
        }
        let bytes = link.to_server.take(now);
        let mut rest = &bytes[..];
        for piece in link.pieces(bytes.len()) {
            let (head, tail) = rest.split_at(piece);
            rest = tail;
            self.cluster.handle_bytes(now, node, ConnectionId(id), head);
        }
        let Some(link) = self.links.get(&id) else { return };
        if !link.client_open && link.to_server.chunks.is_empty() {
            self.server_end(id);
        } else if link.blocked && !bytes.is_empty() {
            self.plan(now, Happening::Writable(id));
        }
    }

    /// The server learns that the connection is over.
    fn server_end(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.server_open = false;
            self.cluster.handle_closed(self.now, ConnectionId(id));
        }
        self.tidy(id);
    }

    fn deliver_to_client(&mut self, id: u64) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|l| l.client_open && !l.silent) else {
            return;
        };
        let (client, conn) = (link.client, link.conn);
        let bytes = link.to_client.take(now);
        if bytes.is_empty() {
            return;
        }
        self.note(format!("c{client} < {conn} receives {}", bytes.len()));
        self.tap.received(id, now, &bytes);
        let clock = self.clock(client);
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut rest = &bytes[..];
        for piece in link.pieces(bytes.len()) {
            let (head, tail) = rest.split_at(piece);
            rest = tail;
            link.inbox.extend_from_slice(head);
            self.clients[client].machine.handle_received(clock, conn, &mut link.inbox);
        }
    }

    fn end_to_server(&mut self, id: u64) {
        // What arrived before the end is read before the end, if anybody reads.
        self.deliver_to_server(id);
        let Some(link) = self.links.get(&id).filter(|link| link.server_open) else {
            return;
        };
        // A process that stands still finds bytes and end when it goes on.
        let stalled =
            link.node.is_some_and(|node| self.cluster.node_state(node).process == Process::Stalled);
        let later = stalled && !link.silent && !link.unread && !link.to_server.chunks.is_empty();
        if !later {
            self.server_end(id);
        }
    }

    fn end_to_client(&mut self, id: u64, reason: CloseReason) {
        self.deliver_to_client(id);
        let Some(link) = self.links.get(&id).filter(|link| link.client_open && !link.silent) else {
            return;
        };
        let (client, conn) = (link.client, link.conn);
        self.note(format!("c{client} < closed {conn} {reason}"));
        self.forget(id);
        let clock = self.clock(client);
        self.clients[client].machine.handle_closed(clock, conn, reason);
    }

    // ---- Ends of connections ----------------------------------------------------------------

    /// The client closes its end; what the socket has taken still arrives.
    fn client_closes(&mut self, client: usize, conn: ConnId) {
        if !self.clients[client].closed.insert(conn) {
            self.complain(format!("{conn} is closed twice"));
        }
        let Some(id) = self.clients[client].links.get(&conn).copied() else {
            // The peer was faster, and the machine had not heard of it.
            return;
        };
        self.forget(id);
        if let Some(link) = self.links.get_mut(&id) {
            let at = link.arrival(self.now).max(link.to_server.last_arrival);
            self.plan(at, Happening::EndToServer(id));
        }
    }

    /// The client's end is gone.
    fn forget(&mut self, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client_open) else {
            return;
        };
        link.client_open = false;
        let (client, conn, node) = (link.client, link.conn, link.node);
        self.tap.ended(id, client, node, self.now);
        let peer = &mut self.clients[client];
        peer.links.remove(&conn);
        peer.gone.insert(0, conn);
        peer.gone.truncate(16);
        self.tidy(id);
    }

    /// Drops a connection that nobody holds any more.
    fn tidy(&mut self, id: u64) {
        let done = |link: &Link| !link.client_open && !link.server_open;
        if self.links.get(&id).is_some_and(done) {
            self.links.remove(&id);
        }
    }

    /// Breaks a connection for both sides.
    fn cut_now(&mut self, id: u64, cut: Cut) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = link.to_server.last_arrival.max(self.now);
        let reason = match cut {
            Cut::Fin => CloseReason::Eof,
            Cut::Reset => CloseReason::Reset,
        };
        self.plan(at, Happening::EndToServer(id));
        self.plan(self.now, Happening::EndToClient(id, reason));
    }

    /// A server does something with a connection.
    fn act(&mut self, action: Action) {
        let state = self.cluster.node_state(action.node);
        if state.process == Process::Stalled {
            self.held.push(action);
            return;
        }
        let (id, now) = (action.connection.0, self.now);
        let Some(link) = self.links.get_mut(&id) else { return };
        if state.process == Process::Dead && matches!(action.kind, ActionKind::Write(_)) {
            return;
        }
        match action.kind {
            ActionKind::Write(mut bytes) => {
                if !link.server_open {
                    return;
                }
                let (length, cut) = link.to_client.until_cut(bytes.len());
                bytes.truncate(length);
                let at = link.arrival(now);
                let at = link.to_client.put(at, bytes);
                self.plan(at, Happening::ToClient(id));
                if let Some(cut) = cut {
                    let reason = match cut {
                        Cut::Fin => CloseReason::Eof,
                        Cut::Reset => CloseReason::Reset,
                    };
                    self.plan(at, Happening::EndToClient(id, reason));
                    self.plan(at, Happening::EndToServer(id));
                }
            }
            ActionKind::Close | ActionKind::Reset => {
                let reset = action.kind == ActionKind::Reset;
                let reason = if reset { CloseReason::Reset } else { CloseReason::Eof };
                link.server_open = false;
                // Bytes towards a server that is gone are lost.
                link.to_server.chunks.clear();
                self.cluster.handle_closed(now, action.connection);
                let at = link.arrival(now).max(link.to_client.last_arrival);
                self.plan(at, Happening::EndToClient(id, reason));
                self.tidy(id);
            }
        }
    }
}
