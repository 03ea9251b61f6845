//! What happens on the way: bytes arrive, dials end, servers act, connections go.

use std::time::Duration;

use super::link::{Cut, Link};
use super::{
    DialFailure, DialFault, Direction, End, Event, LinkId, Network, Notice, Random, nanos,
};
use crate::cluster::{Action, ActionKind, ConnectionId, Listener, Node, Process};

/// A socket that took less than it could is ready again within this time.
const RETRY_MAX_NS: u64 = 200_000;

impl Network {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Dialled(id) => self.dialled(id),
            Event::ToServer(id) => self.deliver_to_server(id),
            Event::ToClient(id) => self.deliver_to_client(id),
            Event::EndToServer(id) => self.end_to_server(id),
            Event::EndToClient(id, end) => self.end_to_client(id, end),
            Event::Writable(id) => {
                if let Some(link) = self.links.get_mut(&id).filter(|link| link.client_open) {
                    (link.blocked, link.retries) = (false, false);
                    self.notices.push_back(Notice::Writable(id));
                }
            }
            Event::Act(action) => self.act(action),
        }
        self.absorb();
    }

    /// Plans what the servers want done.
    pub(super) fn absorb(&mut self) {
        while let Some(action) = self.cluster.poll_action() {
            self.plan(self.now.max(action.at_ns), Event::Act(action));
        }
    }

    /// The client's socket takes bytes.
    pub(super) fn put(&mut self, id: LinkId, offered: &[u8]) -> usize {
        let now = self.now;
        let corruption = self.corruption_of(id);
        let Some(link) = self.links.get_mut(&id) else { return 0 };
        let dead = !link.connected || !link.client_open || link.ended == Some(End::Reset);
        // Whoever goes on writing after a cut must not get through what it was to stop.
        if dead || link.to_server.over || link.retries {
            return 0;
        }
        let taken = link.room(offered.len());
        let (length, cut) = link.to_server.until_cut(taken);
        if length > 0 {
            let mut bytes = offered[..length].to_vec();
            if link.profile.recorded {
                link.recorded.extend_from_slice(&bytes);
            }
            corrupt(&mut bytes, corruption, &mut link.random);
            let carried = link.to_server.carry(now, length, link.profile.bandwidth);
            let at = link.arrival(carried);
            let at = link.to_server.put(at, bytes);
            self.plan(at, Event::ToServer(id));
        }
        if let Some(cut) = cut {
            self.cut_now(id, cut);
        } else if length < offered.len() {
            self.wait_for_room(id);
        }
        length
    }

    /// A writer waits: for the reader if the buffer is full, else for a moment.
    fn wait_for_room(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.to_server.held >= link.profile.buffer_bytes {
            link.blocked = true;
            return;
        }
        if std::mem::replace(&mut link.retries, true) {
            return;
        }
        let at = self.now + link.random.between(1, RETRY_MAX_NS);
        self.plan(at, Event::Writable(id));
    }

    fn corruption_of(&self, id: LinkId) -> u64 {
        let node = self.links.get(&id).and_then(|link| link.node);
        node.and_then(|node| self.corruption.get(&node)).copied().unwrap_or(0)
    }

    fn dialled(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id).filter(|link| link.client_open && !link.connected)
        else {
            return;
        };
        let (client, node) = (link.client, link.node);
        let Some(node) = node else {
            return self.fail(id, DialFailure::Unreachable);
        };
        if self.is_hole(node) {
            return;
        }
        let parted = [Direction::ToServer, Direction::ToClient]
            .into_iter()
            .any(|direction| self.partitions.contains(&(client, node, direction)));
        if parted {
            if let Some(link) = self.links.get_mut(&id) {
                link.dial_waits = true;
            }
            return;
        }
        let fault = self.dial_faults.get(&node).copied();
        let state = self.cluster.node_state(node);
        let open = state.listener != Listener::Refusing && state.process != Process::Dead;
        match fault {
            Some(DialFault::Refused) => self.fail(id, DialFailure::Refused),
            Some(DialFault::NoName) => self.fail(id, DialFailure::NoName),
            Some(DialFault::ClosedAtOnce) if open => {
                self.connect(id);
                let at = self.links.get_mut(&id).map_or(self.now, |link| link.arrival(self.now));
                self.plan(at, Event::EndToClient(id, End::Eof));
            }
            _ if !open => self.fail(id, DialFailure::Refused),
            _ => {
                self.connect(id);
                if let Some(link) = self.links.get_mut(&id) {
                    link.server_open = true;
                }
                self.cluster.handle_connected(self.now, node, ConnectionId(id.0));
                let vip = self.cluster.vip_address(node).map(|address| address.to_string());
                if vip.is_some_and(|vip| self.links.get(&id).is_some_and(|it| it.address == vip)) {
                    self.cluster.mark_vip(ConnectionId(id.0));
                }
            }
        }
    }

    fn connect(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.connected = true;
            self.notices.push_back(Notice::Connected(id));
        }
    }

    fn fail(&mut self, id: LinkId, failure: DialFailure) {
        self.links.remove(&id);
        self.notices.push_back(Notice::Failed(id, failure));
    }

    fn deliver_to_server(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get(&id) else { return };
        let Some(node) = link.node.filter(|_| link.server_open && !link.silent) else {
            return;
        };
        // A process that stands still leaves the bytes where they are.
        let running = self.cluster.node_state(node).process == Process::Running;
        let mute = self.cluster.is_mute(ConnectionId(id.0));
        if !running || mute || link.unread || self.is_stopped(link, Direction::ToServer) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let bytes = link.to_server.take(now);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let before = link.to_server.written - rest.len() as u64;
            let (head, tail) = rest.split_at(link.piece(rest.len(), before ^ (1 << 63)));
            rest = tail;
            self.cluster.handle_bytes(now, node, ConnectionId(id.0), head);
        }
        let over = link.end_waits.0 && link.to_server.chunks.is_empty();
        if link.blocked && link.client_open && !bytes.is_empty() {
            self.plan(now, Event::Writable(id));
        }
        if over {
            self.server_end(id);
        }
    }

    fn deliver_to_client(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get(&id) else { return };
        if !link.client_open || link.silent || self.is_stopped(link, Direction::ToClient) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let bytes = link.to_client.take(now);
        if !bytes.is_empty() {
            link.arrive(bytes);
            self.notices.push_back(Notice::Readable(id));
        }
    }

    fn end_to_server(&mut self, id: LinkId) {
        // What arrived before the end is read before the end, if anybody reads.
        self.deliver_to_server(id);
        let Some(link) = self.links.get(&id).filter(|link| link.server_open) else {
            return;
        };
        let stopped = self.is_stopped(link, Direction::ToServer);
        // A process that stands still finds bytes and end when it goes on.
        let stalled =
            link.node.is_some_and(|node| self.cluster.node_state(node).process == Process::Stalled);
        let unfinished = !link.silent && !link.unread && !link.to_server.chunks.is_empty();
        if stopped || (stalled && unfinished) {
            if let Some(link) = self.links.get_mut(&id) {
                link.end_waits.0 = true;
            }
            return;
        }
        self.server_end(id);
    }

    /// The server learns that the connection is over.
    fn server_end(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.server_open = false;
            self.cluster.handle_closed(self.now, ConnectionId(id.0));
        }
        self.tidy(id);
    }

    fn end_to_client(&mut self, id: LinkId, end: End) {
        self.deliver_to_client(id);
        let Some(link) = self.links.get(&id).filter(|link| link.client_open && !link.silent) else {
            return;
        };
        let stopped = self.is_stopped(link, Direction::ToClient);
        let Some(link) = self.links.get_mut(&id).filter(|link| link.ended.is_none()) else {
            return;
        };
        if stopped {
            link.end_waits.1.get_or_insert(end);
            return;
        }
        link.ended = Some(end);
        self.notices.push_back(Notice::Ended(id, end));
    }

    /// Drops a connection that nobody holds any more.
    pub(super) fn tidy(&mut self, id: LinkId) {
        let done = |link: &Link| !link.client_open && !link.server_open;
        if self.links.get(&id).is_some_and(done) {
            self.links.remove(&id);
        }
    }

    /// Breaks a connection for both sides.
    fn cut_now(&mut self, id: LinkId, cut: Cut) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.to_server.cut = None;
        link.to_server.over = cut != Cut::Half;
        let at = link.to_server.last_arrival.max(self.now);
        if cut != Cut::Half {
            self.plan(at, Event::EndToServer(id));
        }
        self.finish(id, self.now, cut.end());
    }

    /// The server's end is finished; the client hears of it at `at`.
    fn finish(&mut self, id: LinkId, at: u64, end: End) {
        if let Some(link) = self.links.get_mut(&id) {
            link.finished.get_or_insert(end);
        }
        self.plan(at, Event::EndToClient(id, end));
    }

    /// The lines of a server behave in another way; what is under way comes no later than it
    /// would on the new ones.
    pub(super) fn hasten(&mut self, node: Node) {
        let mine = self.links.iter().filter(|(_, link)| link.node == Some(node));
        let ids: Vec<_> = mine.map(|(id, _)| *id).collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            if link.profile.bandwidth.is_some() {
                continue;
            }
            let at = link.arrival(self.now);
            link.to_server.hasten(at);
            link.to_client.hasten(at);
            let (over, finished) = (!link.client_open, link.finished);
            self.plan(at, Event::ToServer(id));
            self.plan(at, Event::ToClient(id));
            if over {
                self.plan(at, Event::EndToServer(id));
            }
            if let Some(end) = finished {
                self.plan(at, Event::EndToClient(id, end));
            }
        }
    }

    /// What waited for the end of a partition goes on, within `spread`.
    pub(super) fn revive(&mut self, id: LinkId, spread: Duration) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let at = self.now.saturating_add(link.random.below(nanos(spread).saturating_add(1)));
        let dial = std::mem::take(&mut link.dial_waits);
        let end = link.end_waits.1.take();
        self.plan(at, Event::ToServer(id));
        self.plan(at, Event::ToClient(id));
        if dial {
            self.plan(at, Event::Dialled(id));
        }
        if let Some(end) = end {
            self.plan(at, Event::EndToClient(id, end));
        }
    }

    /// A server gets bytes that it has got before, on another connection.
    pub(super) fn deliver_again(&mut self, node: Node, bytes: &[u8]) {
        let state = self.cluster.node_state(node);
        if state.process != Process::Running || state.listener != Listener::Open {
            return;
        }
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let random = Random::new(self.seed).fork(id.0);
        let mut link =
            Link::new(usize::MAX, Some(node), String::new(), self.profile.clone(), random);
        (link.connected, link.client_open, link.server_open) = (true, false, true);
        let at = link.arrival(self.now);
        let at = link.to_server.put(at, bytes.to_vec());
        self.links.insert(id, link);
        self.cluster.handle_connected(self.now, node, ConnectionId(id.0));
        self.plan(at, Event::ToServer(id));
        self.plan(at + RETRY_MAX_NS, Event::EndToServer(id));
        self.absorb();
    }

    /// A server does something with a connection.
    fn act(&mut self, mut action: Action) {
        let state = self.cluster.node_state(action.node);
        if state.process == Process::Stalled {
            self.held.push(action);
            return;
        }
        if action.kind == ActionKind::Wake {
            self.cluster.handle_wake(self.now, action.node);
            return;
        }
        let id = LinkId(action.connection.0);
        let sealed = self.cluster.seal(action.node, action.connection, &mut action.kind);
        if let Some(bytes) = sealed.filter(|_| state.process != Process::Dead) {
            self.send(id, bytes);
        }
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        match action.kind {
            ActionKind::Write(_) | ActionKind::Wake => {}
            ActionKind::Close | ActionKind::Reset => {
                let reset = action.kind == ActionKind::Reset;
                let end = if reset { End::Reset } else { End::Eof };
                link.server_open = false;
                // Bytes towards a server that is gone are lost.
                link.to_server.chunks.clear();
                link.to_server.held = 0;
                self.cluster.handle_closed(now, action.connection);
                let at = link.arrival(now).max(link.to_client.last_arrival);
                self.finish(id, at, end);
                self.tidy(id);
            }
        }
    }

    /// A server writes.
    fn send(&mut self, id: LinkId, mut bytes: Vec<u8>) {
        let (now, corruption) = (self.now, self.corruption_of(id));
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.server_open || link.to_client.over {
            return;
        }
        let (length, cut) = link.to_client.until_cut(bytes.len());
        bytes.truncate(length);
        corrupt(&mut bytes, corruption, &mut link.random);
        let carried = link.to_client.carry(now, length, link.profile.bandwidth);
        let at = link.arrival(carried);
        let at = link.to_client.put(at, bytes);
        link.to_client.over = cut.is_some();
        self.plan(at, Event::ToClient(id));
        if let Some(cut) = cut {
            self.finish(id, at, cut.end());
            if cut != Cut::Half {
                self.plan(at, Event::EndToServer(id));
            }
        }
    }
}

/// Changes so many of a million bytes.
fn corrupt(bytes: &mut [u8], per_million: u64, random: &mut Random) {
    if per_million == 0 {
        return;
    }
    for byte in bytes {
        if random.below(1_000_000) < per_million {
            *byte ^= 1 << random.below(8);
        }
    }
}
