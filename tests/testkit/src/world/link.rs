//! Connections as TCP shows them: ordered bytes that come late, in any pieces, or not at all.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_core::ConnId;

use super::random::Random;
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
    /// Into which pieces received bytes are cut.
    pub segmentation: Segmentation,
    /// Bytes that fit between a writer and a reader that does not read.
    pub buffer_bytes: usize,
    /// The socket takes any part of what it is offered, also nothing.
    pub partial_writes: bool,
}

impl Default for LinkProfile {
    fn default() -> Self {
        Self {
            connect: Duration::from_micros(300),
            delay: Duration::from_micros(200),
            jitter: Duration::ZERO,
            segmentation: Segmentation::Whole,
            buffer_bytes: 256 * 1024,
            partial_writes: false,
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

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order, after what was sent.
    Fin,
    /// With an error on both sides.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes under way, with the time of their arrival.
    pub(super) chunks: VecDeque<(u64, Vec<u8>)>,
    /// Bytes that the reader has not taken.
    pub(super) held: usize,
    pub(super) last_arrival: u64,
    /// Bytes that were ever put in.
    pub(super) written: u64,
    /// The connection breaks once so many bytes were put in.
    pub(super) cut: Option<(u64, Cut)>,
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
            all.extend_from_slice(&bytes);
        }
        self.held -= all.len();
        all
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
    pub(super) conn: ConnId,
    pub(super) node: Option<Node>,
    pub(super) address: String,
    pub(super) profile: LinkProfile,
    pub(super) random: Random,
    /// The dial has succeeded.
    pub(super) connected: bool,
    /// The client still holds its end.
    pub(super) client_open: bool,
    /// The server knows the connection.
    pub(super) server_open: bool,
    /// Half-open: no byte and no end gets through any more, in either direction.
    pub(super) silent: bool,
    /// The server takes nothing out of its buffer.
    pub(super) unread: bool,
    /// The client waits for room in the socket.
    pub(super) blocked: bool,
    pub(super) to_server: Pipe,
    pub(super) to_client: Pipe,
    pub(super) inbox: BytesMut,
}

impl Link {
    pub(super) fn new(
        client: usize,
        conn: ConnId,
        node: Option<Node>,
        address: String,
        profile: LinkProfile,
        random: Random,
    ) -> Self {
        Self {
            client,
            conn,
            node,
            address,
            profile,
            random,
            connected: false,
            client_open: true,
            server_open: false,
            silent: false,
            unread: false,
            blocked: false,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            inbox: BytesMut::new(),
        }
    }

    /// Room in the client's socket.
    pub(super) fn room(&self) -> usize {
        self.profile.buffer_bytes.saturating_sub(self.to_server.held)
    }

    /// When bytes written now arrive.
    pub(super) fn arrival(&mut self, now: u64) -> u64 {
        let delay = super::random::nanos(self.profile.delay);
        now + delay + self.random.up_to(self.profile.jitter)
    }

    /// Lengths of the pieces into which `total` received bytes are cut.
    pub(super) fn pieces(&mut self, total: usize) -> Vec<usize> {
        let most = match self.profile.segmentation {
            Segmentation::Whole => return vec![total; usize::from(total > 0)],
            Segmentation::Bytes => 1,
            Segmentation::Random(most) => most.max(1) as u64,
        };
        // A fork per cut: how bytes are cut must not change what the link draws otherwise.
        let mut random = self.random.fork(self.to_client.written ^ (self.to_server.written << 24));
        let mut rest = total;
        let mut pieces = Vec::new();
        while rest > 0 {
            let piece = (random.between(1, most) as usize).min(rest);
            pieces.push(piece);
            rest -= piece;
        }
        pieces
    }
}
