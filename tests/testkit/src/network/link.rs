//! Connections as TCP shows them: ordered bytes that come late, in any pieces, or not at all.

use std::collections::VecDeque;
use std::time::Duration;

use super::End;
use super::random::{Random, nanos};
use crate::cluster::Node;

/// How connections behave while nothing breaks.
#[derive(Clone, Debug)]
pub struct LinkProfile {
    /// Time from the dial to its end.
    pub connect: Duration,
    /// Time of a byte from one end to the other.
    pub delay: Duration,
    /// At most so much is added to the delay, anew for each write.
    pub jitter: Duration,
    /// Bytes per second, each way; `None`: no limit.
    pub bandwidth: Option<u64>,
    /// Into which pieces received bytes are cut.
    pub segmentation: Segmentation,
    /// Bytes that fit between a writer and a reader that does not read.
    pub buffer_bytes: usize,
    /// How the client's socket takes bytes.
    pub writes: Writes,
    /// What clients send is kept, for [`Network::replay`](super::Network::replay).
    pub recorded: bool,
}

impl Default for LinkProfile {
    fn default() -> Self {
        Self {
            connect: Duration::from_micros(300),
            delay: Duration::from_micros(200),
            jitter: Duration::ZERO,
            bandwidth: None,
            segmentation: Segmentation::Whole,
            buffer_bytes: 256 * 1024,
            writes: Writes::Whole,
            recorded: false,
        }
    }
}

/// Into which pieces received bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segmentation {
    /// Everything that is there comes at once.
    Whole,
    /// Pieces of up to this many bytes, by chance.
    Random(usize),
    /// Byte by byte.
    Bytes,
}

/// How a socket takes the bytes that it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// As many as there is room for.
    Whole,
    /// Any part, often a small one, also nothing.
    Partial,
    /// One at a time.
    Bytes,
    /// Every first try finds no room.
    Blocking,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order, after what was sent.
    Fin,
    /// With an error on both sides.
    Reset,
    /// The server finishes its side in order, and goes on reading.
    Half,
}

impl Cut {
    /// What the client sees.
    pub(super) fn end(self) -> End {
        match self {
            Cut::Fin | Cut::Half => End::Eof,
            Cut::Reset => End::Reset,
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes under way, with the time of their arrival.
    pub(super) chunks: VecDeque<(u64, Vec<u8>)>,
    /// Bytes that the reader has not taken.
    pub(super) held: usize,
    pub(super) last_arrival: u64,
    /// Until then the line is busy with earlier bytes.
    busy_until: u64,
    /// Bytes that were ever put in.
    pub(super) written: u64,
    /// The connection breaks once so many bytes were put in.
    pub(super) cut: Option<(u64, Cut)>,
    /// It broke: what is written from now on is lost.
    pub(super) over: bool,
}

impl Pipe {
    /// Puts bytes in and says when they arrive: never before those put in earlier.
    pub(super) fn put(&mut self, at: u64, bytes: Vec<u8>) -> u64 {
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.held += bytes.len();
        self.written += bytes.len() as u64;
        self.chunks.push_back((at, bytes));
        at
    }

    /// Takes out what has arrived.
    pub(super) fn take(&mut self, now: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some((at, _)) = self.chunks.front()
            && *at <= now
            && let Some((_, bytes)) = self.chunks.pop_front()
        {
            if all.is_empty() {
                all = bytes;
            } else {
                all.extend_from_slice(&bytes);
            }
        }
        self.held -= all.len();
        all
    }

    /// When the line has carried `length` more bytes at `bandwidth`.
    pub(super) fn carry(&mut self, now: u64, length: usize, bandwidth: Option<u64>) -> u64 {
        let Some(bandwidth) = bandwidth else { return now };
        let time = (length as u64).saturating_mul(1_000_000_000) / bandwidth.max(1);
        self.busy_until = self.busy_until.max(now).saturating_add(time);
        self.busy_until
    }

    /// What is under way arrives by `at`: the line has become faster.
    pub(super) fn hasten(&mut self, at: u64) {
        self.busy_until = self.busy_until.min(at);
        self.last_arrival = self.last_arrival.min(at);
        self.chunks.iter_mut().for_each(|(arrival, _)| *arrival = (*arrival).min(at));
    }

    /// How many of `len` bytes may still be put in before the cut.
    pub(super) fn until_cut(&self, len: usize) -> (usize, Option<Cut>) {
        match self.cut {
            Some((at, cut)) if self.written + len as u64 >= at => {
                (at.saturating_sub(self.written) as usize, Some(cut))
            }
            _ => (len, None),
        }
    }
}

/// One connection between a client and a server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) node: Option<Node>,
    pub(super) address: String,
    pub(super) profile: LinkProfile,
    pub(super) random: Random,
    /// The dial has succeeded.
    pub(super) connected: bool,
    /// The dial waits for the end of a partition.
    pub(super) dial_waits: bool,
    /// The client still holds its end.
    pub(super) client_open: bool,
    /// The server knows the connection.
    pub(super) server_open: bool,
    /// The client has learnt that nothing more comes.
    pub(super) ended: Option<End>,
    /// How the server's end has finished, be the client told yet or not.
    pub(super) finished: Option<End>,
    /// Ends that wait for the end of a partition.
    pub(super) end_waits: (bool, Option<End>),
    /// Half-open: no byte and no end gets through any more, in either direction.
    pub(super) silent: bool,
    /// Nothing gets through for now.
    pub(super) clogged_to_server: bool,
    pub(super) clogged_to_client: bool,
    /// The server takes nothing out of its buffer.
    pub(super) unread: bool,
    /// The client waits for room in the socket.
    pub(super) blocked: bool,
    /// It is planned already that the client tries to write again.
    pub(super) retries: bool,
    /// A first try has found no room.
    pub(super) refused_once: bool,
    pub(super) to_server: Pipe,
    pub(super) to_client: Pipe,
    /// What has arrived at the client and was not read.
    pub(super) inbox: Vec<u8>,
    /// So much of the inbox was read.
    read: usize,
    taken: u64,
    /// What the client has sent, if it is recorded.
    pub(super) recorded: Vec<u8>,
}

impl Link {
    pub(super) fn new(
        client: usize,
        node: Option<Node>,
        address: String,
        profile: LinkProfile,
        random: Random,
    ) -> Self {
        Self {
            client,
            node,
            address,
            profile,
            random,
            connected: false,
            dial_waits: false,
            client_open: true,
            server_open: false,
            ended: None,
            finished: None,
            end_waits: (false, None),
            silent: false,
            clogged_to_server: false,
            clogged_to_client: false,
            unread: false,
            blocked: false,
            retries: false,
            refused_once: false,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            inbox: Vec::new(),
            read: 0,
            taken: 0,
            recorded: Vec::new(),
        }
    }

    /// How many of `offered` bytes the client's socket takes.
    pub(super) fn room(&mut self, offered: usize) -> usize {
        let room = self.profile.buffer_bytes.saturating_sub(self.to_server.held).min(offered);
        match self.profile.writes {
            Writes::Whole => room,
            Writes::Bytes => room.min(1),
            Writes::Blocking => {
                self.refused_once = !self.refused_once;
                if self.refused_once { 0 } else { room }
            }
            Writes::Partial => {
                let any = self.random.below(room as u64 + 1) as usize;
                // Small steps are where a client has to be right.
                if self.random.chance(500) { any.min(64) } else { any }
            }
        }
    }

    /// When something written now arrives, without the time on a narrow line.
    pub(super) fn arrival(&mut self, now: u64) -> u64 {
        let delay = nanos(self.profile.delay);
        now.saturating_add(delay).saturating_add(self.random.up_to(self.profile.jitter))
    }

    /// The next piece of the inbox.
    pub(super) fn next_piece(&mut self) -> Option<Vec<u8>> {
        let rest = self.inbox.len() - self.read;
        if rest == 0 {
            return None;
        }
        let length = self.piece(rest, self.taken);
        self.taken += length as u64;
        if length == self.inbox.len() {
            return Some(std::mem::take(&mut self.inbox));
        }
        let piece = self.inbox[self.read..self.read + length].to_vec();
        self.read += length;
        if self.read == self.inbox.len() {
            self.inbox.clear();
            self.read = 0;
        }
        Some(piece)
    }

    /// Bytes have arrived at the client.
    pub(super) fn arrive(&mut self, bytes: Vec<u8>) {
        if self.inbox.is_empty() {
            self.inbox = bytes;
        } else {
            self.inbox.extend_from_slice(&bytes);
        }
    }

    /// Length of the next of the pieces into which `rest` bytes are cut. How bytes are cut must
    /// not change what the link draws otherwise: each cut has a generator of its own, named by
    /// how many bytes were before it.
    pub(super) fn piece(&self, rest: usize, before: u64) -> usize {
        match self.profile.segmentation {
            Segmentation::Whole => rest,
            Segmentation::Bytes => rest.min(1),
            Segmentation::Random(most) => {
                let mut random = self.random.fork(before);
                (random.between(1, most.max(1) as u64) as usize).min(rest)
            }
        }
    }
}
