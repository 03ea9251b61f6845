//! One connection of the driver: dial, receive buffer, and the wakers of both directions.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use rocketmq_core::{CloseReason, ConnId, ConnectFailure};

use crate::runtime::Runtime;
use crate::signal::{Signal, Source};
use crate::transport::{Channel, Dial, tls_failure};

/// Room for one read at first. It grows with what arrives.
const READ_MIN: usize = 8 * 1024;

/// Largest room for one read.
const READ_MAX: usize = 64 * 1024;

/// Reads in a row that used less than a quarter of the room, after which it is halved.
const SHORT_READS_MAX: u32 = 16;

pub(crate) struct Connection<R: Runtime> {
    pub(crate) id: ConnId,
    socket: Socket<R::Stream>,
    /// What was received and is not a whole frame yet.
    pub(crate) received: BytesMut,
    /// Room for the next read.
    room: usize,
    short_reads: u32,
    read: Direction,
    write: Direction,
    /// The socket takes no more until it reports itself.
    pub(crate) blocked: bool,
    /// It stands in the driver's list of connections with bytes to write.
    pub(crate) listed: bool,
    /// The peer has sent something.
    heard: bool,
}

enum Socket<S> {
    Dialing(Dial<S>),
    Open(Channel<S>),
}

/// One direction with a waker of its own.
struct Direction {
    source: Arc<Source>,
    waker: Waker,
}

impl Direction {
    fn new(name: usize, signal: &Arc<Signal>) -> Direction {
        let source = Source::new(name, signal);
        let waker = Waker::from(Arc::clone(&source));
        Direction { source, waker }
    }

    fn context(&self) -> Context<'_> {
        self.source.rearm();
        Context::from_waker(&self.waker)
    }
}

impl<R: Runtime> Connection<R> {
    /// One that is dialed. Its directions report themselves as `2 * slot` and `2 * slot + 1`.
    pub(crate) fn new(id: ConnId, dial: Dial<R::Stream>, signal: &Arc<Signal>) -> Connection<R> {
        let name = 2 * id.slot();
        Connection {
            id,
            socket: Socket::Dialing(dial),
            received: BytesMut::new(),
            room: READ_MIN,
            short_reads: 0,
            read: Direction::new(name, signal),
            write: Direction::new(name + 1, signal),
            blocked: false,
            listed: false,
            heard: false,
        }
    }

    pub(crate) fn is_dialing(&self) -> bool {
        matches!(self.socket, Socket::Dialing(_))
    }

    /// Goes on dialing.
    pub(crate) fn poll_dial(&mut self) -> Poll<Result<(), ConnectFailure>> {
        let Socket::Dialing(dial) = &mut self.socket else { return Poll::Pending };
        match ready!(dial.as_mut().poll(&mut self.read.context())) {
            Ok(channel) => {
                self.socket = Socket::Open(channel);
                Poll::Ready(Ok(()))
            }
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }

    /// Reads once.
    pub(crate) fn poll_read(&mut self) -> Poll<Result<(), CloseReason>> {
        let Socket::Open(stream) = &mut self.socket else { return Poll::Pending };
        if self.received.capacity() - self.received.len() < self.room / 2 {
            self.received.reserve(self.room);
        }
        let room = self.received.capacity() - self.received.len();
        match ready!(stream.poll_read(&mut self.read.context(), &mut self.received)) {
            Ok(0) if !self.heard && stream.is_plain() => Poll::Ready(Err(CloseReason::Wordless)),
            Ok(0) => Poll::Ready(Err(CloseReason::Eof)),
            Ok(n) => {
                self.heard = true;
                self.adapt(n, room);
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(close_reason(&error))),
        }
    }

    /// Writes once.
    pub(crate) fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, CloseReason>> {
        let Socket::Open(stream) = &mut self.socket else { return Poll::Pending };
        match ready!(stream.poll_write_vectored(&mut self.write.context(), slices)) {
            Ok(0) => Poll::Ready(Err(CloseReason::Io)),
            Ok(n) => Poll::Ready(Ok(n)),
            Err(error) => Poll::Ready(Err(close_reason(&error))),
        }
    }

    /// Whether the connection has taken bytes that its socket has not.
    pub(crate) fn needs_flush(&self) -> bool {
        matches!(&self.socket, Socket::Open(channel) if channel.needs_flush())
    }

    /// Goes on with those.
    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), CloseReason>> {
        let Socket::Open(channel) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let flushed = ready!(channel.poll_flush(&mut self.write.context()));
        Poll::Ready(flushed.map_err(|error| close_reason(&error)))
    }

    /// Tells the peer, as far as that works at once.
    pub(crate) fn close(mut self) {
        if let Socket::Open(stream) = &mut self.socket {
            let _ = stream.poll_close(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Lets the buffer follow the traffic: doubled when a read fills it, halved when many reads in
    /// a row leave most of it empty, and given back when it is large and empty.
    fn adapt(&mut self, n: usize, room: usize) {
        if n >= room {
            self.room = (self.room * 2).min(READ_MAX);
            self.short_reads = 0;
        } else if n >= self.room / 4 {
            self.short_reads = 0;
        } else {
            self.short_reads += 1;
            if self.short_reads >= SHORT_READS_MAX && self.room > READ_MIN {
                self.room /= 2;
                self.short_reads = 0;
            }
        }
    }

    /// To be called when nothing more can be read: an idle connection keeps a small buffer only.
    pub(crate) fn idle(&mut self) {
        if self.received.is_empty() && self.received.capacity() > 2 * self.room {
            self.received = BytesMut::new();
        }
    }
}

pub(crate) fn connect_failure(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        ErrorKind::TimedOut => ConnectFailure::TimedOut,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => ConnectFailure::Unreachable,
        // `runtime::name_not_resolved`.
        ErrorKind::NotFound => ConnectFailure::NameNotResolved,
        _ => ConnectFailure::Other,
    }
}

pub(crate) fn close_reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        ErrorKind::InvalidData => tls_failure(error).map_or(CloseReason::Io, CloseReason::Tls),
        ErrorKind::UnexpectedEof => CloseReason::Eof,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        _ => CloseReason::Io,
    }
}
