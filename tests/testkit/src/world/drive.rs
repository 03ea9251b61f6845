//! The loop: what happens next, and what the machine wants done about it.

use bytes::BytesMut;
use rocketmq_core::{CloseReason, ConnId, ConnectFailure, Instant, Output};

use super::{Happening, Seen, Wire, World, outcome_of};
use crate::network::{DialFailure, End, LinkId, Notice};

impl World {
    /// Does what comes next, unless it is later than `until`. Whether something was done.
    pub(super) fn step(&mut self, until: u64) -> bool {
        let planned = self.agenda.first_key_value().map(|(key, _)| key.0);
        let traffic = self.network.next_at();
        let timer = (0..self.clients.len()).filter_map(|c| Some((self.wake(c)?, c))).min();
        let next = [planned, traffic, timer.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.network.advance(until);
            return false;
        };
        self.standing = if next > self.now() { 0 } else { self.standing + 1 };
        if self.standing > 50_000 {
            self.violate(24, "the world stands still: endless work at one moment");
            self.report();
        }
        self.network.advance(next);
        // At one moment any of them may come first.
        let due = |at: Option<u64>| at.is_some_and(|at| at <= next);
        let timer = timer.filter(|(at, _)| *at <= next).map(|(_, client)| client);
        let tie = timer.is_some() && (due(planned) || due(traffic)) && self.random.chance(500);
        match timer {
            Some(client) if tie || !(due(planned) || due(traffic)) => self.serve_timer(client),
            _ if due(planned) && !(due(traffic) && self.random.chance(500)) => {
                if let Some((_, what)) = self.agenda.pop_first() {
                    self.happen(what);
                }
            }
            _ => drop(self.network.step()),
        }
        self.pass_on();
        if self.habits.noise > 0 && self.random.chance(self.habits.noise) {
            self.make_noise();
        }
        self.after_input();
        true
    }

    /// Drains the machines, unless the loop is lazy this time.
    pub(super) fn after_input(&mut self) {
        if self.habits.lazy > 0 && self.random.chance(self.habits.lazy) {
            let later = self.now() + self.random.between(1, 300_000);
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
                if !self.clients[client].machine.is_touched() {
                    continue;
                }
                quiet &= !self.fetch(client);
                while let Some(conn) = self.clients[client].machine.outlet().poll_transmit() {
                    quiet = false;
                    self.write(client, conn);
                }
            }
            if quiet {
                break;
            }
        }
        for client in 0..self.clients.len() {
            let peer = &mut self.clients[client];
            if !peer.machine.is_touched() {
                continue;
            }
            peer.machine.rest();
            let (tables, links) = (peer.machine.table_sizes(), peer.links.len());
            let next = peer.machine.outlet().poll_timeout().map(|(at, _)| at);
            self.see(Seen::Rest { client, tables: &tables, next, links });
        }
        self.checks.settled();
        self.judge();
    }

    /// Fetches what a machine has to say. Whether there was something.
    pub(super) fn fetch(&mut self, client: usize) -> bool {
        let mut any = false;
        while let Some(output) = self.clients[client].machine.outlet().poll_output() {
            any = true;
            self.output(client, output);
        }
        any
    }

    // ---- Timers -----------------------------------------------------------------------------

    /// When a client's next deadline is served: on time, or late by habit.
    fn wake(&mut self, client: usize) -> Option<u64> {
        let late = self.habits.late_timers;
        let peer = &mut self.clients[client];
        let (deadline, _) = peer.machine.outlet().poll_timeout()?;
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
        self.note(format_args!("c{client} < timeout {reason:?}"));
        if let Some(reason) = reason {
            match self.timeouts.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => self.timeouts.push((reason, 1)),
            }
        }
        let peer = &mut self.clients[client];
        peer.wake = None;
        peer.machine.handle_timeout(clock);
        let stuck = peer.machine.poll_timeout().is_some_and(|(next, _)| next <= clock);
        peer.zero_polls = if stuck { peer.zero_polls + 1 } else { 0 };
        // The machine holds a clock that was set back, so its deadlines can look overdue.
        if peer.zero_polls > 3 && peer.clock_error == 0 {
            self.violate(16, "a deadline stays in the past");
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
        let live = live.map(|(conn, _)| *conn);
        match (pick >> 32) % 6 {
            0 => peer.machine.handle_timeout(Instant::from_nanos(clock.as_nanos() / 2)),
            1 => {
                if let Some(conn) = live {
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
                if let Some(conn) = live
                    && let Some(wire) = peer.links.get_mut(&conn)
                    && wire.connected
                {
                    // Nothing new came, but whoever drives it looks again.
                    peer.machine.handle_received(clock, conn, &mut wire.inbox);
                    peer.machine.handle_connected(clock, conn, Ok(()));
                }
            }
            _ => {
                // The same bytes are offered twice before the socket is asked.
                if let Some(conn) = live {
                    let _ = peer.machine.transmit_chunks(conn).count();
                }
            }
        }
    }

    // ---- What the machine wants -------------------------------------------------------------

    fn output(&mut self, client: usize, output: Output) {
        if self.clients[client].closed_ns.is_some() {
            self.violate(22, format!("output after Closed: {output:?}"));
        }
        match output {
            Output::Connect { conn, address } => self.dial(client, conn, &address.to_string()),
            Output::Close { conn, reason } => {
                self.note(format_args!("c{client} > close {conn} {reason}"));
                let link = self.clients[client].links.get(&conn).map(|wire| wire.link);
                if let Some(link) = link.filter(|_| reason == CloseReason::Shutdown) {
                    let excused = !self.network.is_clear(link);
                    self.see(Seen::Leaves { link: link.0, excused });
                }
                self.client_closes(client, conn);
            }
            Output::Complete { op, result } => match outcome_of(result) {
                Some(outcome) => self.end_send(client, op, outcome),
                None => {
                    self.violate(2, format!("{op} ended in a way that the world does not know"))
                }
            },
            Output::Ready { waiter, result } => {
                self.note(format_args!("c{client} > ready {waiter} {}", result.is_ok()));
                let now = self.now();
                self.clients[client].ready.push((now, waiter, result));
            }
            Output::Closed => {
                self.note(format_args!("c{client} > closed"));
                self.clients[client].closed_ns = Some(self.network.now());
                self.see(Seen::Closed { client });
            }
            Output::Event(event) => {
                self.note(format_args!("c{client} > {event:?}"));
                self.see(Seen::Event { client, event: &event });
                let now = self.now();
                self.clients[client].events.push((now, event));
            }
            other => self.violate(2, format!("the world does not know {other:?}")),
        }
    }

    fn dial(&mut self, client: usize, conn: ConnId, address: &str) {
        let node = self.network.resolve(address);
        self.note(format_args!("c{client} > connect {conn} {address} {node:?}"));
        let brokers = 0..self.cluster().config().brokers;
        if brokers.flat_map(|broker| self.cluster().slaves(broker)).any(|(_, it)| it == address) {
            self.violate(17, format!("{conn} goes to {address}, which is a slave"));
        }
        let link = self.network.dial(client, address);
        self.see(Seen::Dialled { link: link.0, client, address, node });
        let wire = Wire { link, connected: false, inbox: BytesMut::new() };
        self.clients[client].links.insert(conn, wire);
        self.owners.insert(link, (client, conn));
    }

    /// Offers a connection's bytes to its socket, until the socket or the machine has enough.
    pub(super) fn write(&mut self, client: usize, conn: ConnId) {
        loop {
            let peer = &mut self.clients[client];
            let Some(wire) = peer.links.get(&conn).filter(|wire| wire.connected) else {
                return;
            };
            let link = wire.link;
            let mut bytes = Vec::new();
            for chunk in peer.machine.transmit_chunks(conn) {
                bytes.extend_from_slice(chunk);
            }
            self.checks.see(self.network.now(), Seen::Offered { client, bytes: bytes.len() });
            let taken = self.network.write(link, &bytes);
            if taken > 0 {
                if let Some(node) = self.network.node(link) {
                    let now = self.network.now();
                    self.tap.sent(link.0, (client, node), now, &bytes[..taken], &mut self.checks);
                }
                self.note(format_args!("c{client} > {conn} takes {taken}"));
            }
            let clock = self.clock(client);
            self.clients[client].machine.handle_transmitted(clock, conn, taken);
            if taken < bytes.len() || bytes.is_empty() {
                return;
            }
        }
    }

    // ---- What happens -----------------------------------------------------------------------

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Nudge => {}
            Happening::Call(call) => call(self),
        }
    }

    /// Passes on what the network has to say.
    fn pass_on(&mut self) {
        while let Some(notice) = self.network.poll_notice() {
            match notice {
                Notice::Connected(link) => self.connected(link),
                Notice::Failed(link, failure) => self.connect_failed(link, failure),
                Notice::Readable(link) => self.receive(link),
                Notice::Writable(link) => {
                    if let Some((client, conn)) = self.owners.get(&link).copied() {
                        self.write(client, conn);
                    }
                }
                Notice::Ended(link, end) => self.ended(link, end),
            }
        }
    }

    fn connected(&mut self, link: LinkId) {
        let Some((client, conn)) = self.owners.get(&link).copied() else { return };
        self.note(format_args!("c{client} < connected {conn}"));
        if let Some(wire) = self.clients[client].links.get_mut(&conn) {
            wire.connected = true;
        }
        self.see(Seen::Connected { link: link.0 });
        let clock = self.clock(client);
        self.clients[client].machine.handle_connected(clock, conn, Ok(()));
    }

    fn connect_failed(&mut self, link: LinkId, failure: DialFailure) {
        let Some((client, conn)) = self.owners.get(&link).copied() else { return };
        self.note(format_args!("c{client} < connect {conn} failed: {failure:?}"));
        self.forget(link);
        let failure = match failure {
            DialFailure::Refused => ConnectFailure::Refused,
            DialFailure::Unreachable => ConnectFailure::Unreachable,
            DialFailure::NoName => ConnectFailure::NameNotResolved,
        };
        let clock = self.clock(client);
        self.clients[client].machine.handle_connected(clock, conn, Err(failure));
    }

    fn receive(&mut self, link: LinkId) {
        let Some((client, conn)) = self.owners.get(&link).copied() else { return };
        let (clock, now) = (self.clock(client), self.now());
        let mut total = 0;
        while let Some(piece) = self.network.read(link) {
            total += piece.len();
            self.tap.received(link.0, now, &piece, &mut self.checks);
            let peer = &mut self.clients[client];
            let Some(wire) = peer.links.get_mut(&conn) else { break };
            wire.inbox.extend_from_slice(&piece);
            peer.machine.handle_received(clock, conn, &mut wire.inbox);
        }
        self.note(format_args!("c{client} < {conn} receives {total}"));
    }

    fn ended(&mut self, link: LinkId, end: End) {
        let Some((client, conn)) = self.owners.get(&link).copied() else { return };
        let reason = match end {
            End::Eof => CloseReason::Eof,
            End::Reset => CloseReason::Reset,
        };
        self.note(format_args!("c{client} < closed {conn} {reason}"));
        self.forget(link);
        let clock = self.clock(client);
        self.clients[client].machine.handle_closed(clock, conn, reason);
    }

    // ---- Ends of connections ----------------------------------------------------------------

    /// The client closes its end.
    fn client_closes(&mut self, client: usize, conn: ConnId) {
        if !self.clients[client].closed.insert(conn) {
            self.violate(22, format!("{conn} is closed twice"));
        }
        // The peer may have been faster, and the machine had not heard of it.
        if let Some(wire) = self.clients[client].links.get(&conn) {
            self.forget(wire.link);
        }
    }

    /// The client's end is gone.
    fn forget(&mut self, link: LinkId) {
        let Some((client, conn)) = self.owners.remove(&link) else { return };
        let node = self.network.node(link);
        self.network.close(link);
        let now = self.network.now();
        self.tap.ended(link.0, client, node, now, &mut self.checks);
        self.see(Seen::Gone { link: link.0 });
        let peer = &mut self.clients[client];
        peer.links.remove(&conn);
        peer.gone.insert(0, conn);
        peer.gone.truncate(16);
    }
}
