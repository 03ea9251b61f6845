//! TLS over any socket of a runtime, without a runtime's own crates.
//!
//! Reads touch the reading side of the socket alone, and writes the writing side, so the wakers of
//! both directions never get mixed up. What reading gives rise to (answers to key updates) waits
//! for a flush, which [`TlsStream::needs_flush`] asks for.

use std::future::poll_fn;
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::sync::Arc;
use std::task::{self, Poll, ready};

use bytes::{Buf, BytesMut};
use rocketmq_core::TlsFailure;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};

use super::failure::{Context, classify, io_error};
use crate::runtime::Stream;

/// Room for one read of encrypted bytes: a whole record of the largest size.
const READ_ROOM: usize = 17 * 1024;

/// Encrypted bytes that wait for the socket, at most, and by that what one write takes.
const UNSENT_MAX: usize = 64 * 1024;

/// Reads of the socket in one call that bring nothing to the caller, after which others get their
/// turn: a peer may send empty records for ever.
const BARREN_READS_MAX: usize = 8;

/// An encrypted connection.
pub(crate) struct TlsStream<S> {
    socket: S,
    session: ClientConnection,
    /// What was read from the socket and not yet by the session.
    incoming: BytesMut,
    has_certificate: bool,
    /// The server has sent something.
    heard: bool,
    /// The server has sent plain text, so its handshake is over as well.
    served: bool,
    /// Why nothing more comes, once the plain text before it has been read.
    failed: Option<TlsFailure>,
}

impl<S: Stream> TlsStream<S> {
    /// Runs the handshake.
    pub(super) async fn connect(
        socket: S,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<TlsStream<S>, TlsFailure> {
        let has_certificate = config.client_auth_cert_resolver.has_certs();
        let context = Context { has_certificate, version_known: false, served: false };
        let session = ClientConnection::new(config, name);
        let mut session = session.map_err(|error| classify(&error, context))?;
        session.set_buffer_limit(Some(UNSENT_MAX));
        let incoming = BytesMut::new();
        let (heard, served, failed) = (false, false, None);
        let mut stream =
            TlsStream { socket, session, incoming, has_certificate, heard, served, failed };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), TlsFailure>> {
        for _ in 0..BARREN_READS_MAX {
            let flushed = self.poll_flush(cx);
            if !self.session.is_handshaking() {
                return flushed.map_err(|_| TlsFailure::CutShort);
            }
            // If it was not the socket that is slow but the end, the read tells more about that.
            match ready!(self.poll_fill(cx)) {
                Ok(count) if count > 0 => self.heard = true,
                _ if self.heard => return Poll::Ready(Err(TlsFailure::CutShort)),
                _ => return Poll::Ready(Err(TlsFailure::HungUp)),
            }
            self.digest();
            if let Some(failure) = self.failed {
                // The server is told why.
                let _ = self.poll_flush(cx);
                return Poll::Ready(Err(failure));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Appends plain text to `buf`, as much as there is room for. Zero bytes are an orderly end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut task::Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut reads_left = BARREN_READS_MAX;
        loop {
            if let Some(count) = self.take_plain(buf)? {
                return Poll::Ready(Ok(count));
            }
            if !self.incoming.is_empty() {
                self.digest();
                continue;
            }
            if reads_left == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            reads_left -= 1;
            if ready!(self.poll_fill(cx))? == 0 {
                // The session knows whether the server has said good-bye.
                let _ = self.session.read_tls(&mut io::empty());
                let _ = self.session.process_new_packets();
            }
        }
    }

    /// Moves decrypted bytes to `buf`; `None` if there are none yet.
    fn take_plain(&mut self, buf: &mut BytesMut) -> io::Result<Option<usize>> {
        let before = buf.len();
        let mut ended = false;
        loop {
            let room = buf.capacity() - buf.len();
            let mut reader = self.session.reader();
            match reader.fill_buf() {
                _ if room == 0 => break,
                Ok([]) => {
                    ended = true;
                    break;
                }
                Ok(chunk) => {
                    let chunk = chunk.get(..room).unwrap_or(chunk);
                    buf.extend_from_slice(chunk);
                    let count = chunk.len();
                    reader.consume(count);
                }
                // Cut off: what is missing may be an answer, but no frame is mistaken for whole.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.failed.get_or_insert(TlsFailure::CutShort);
                    break;
                }
                Err(_) => break,
            }
        }
        let count = buf.len() - before;
        self.served |= count > 0;
        match self.failed {
            _ if count > 0 => Ok(Some(count)),
            Some(TlsFailure::CutShort) => Err(ErrorKind::ConnectionReset.into()),
            Some(failure) => Err(io_error(failure)),
            None if ended => Ok(Some(0)),
            None => Ok(None),
        }
    }

    /// Reads from the socket once. The session has had all that came before.
    fn poll_fill(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.reserve(READ_ROOM);
        self.socket.poll_read(cx, &mut self.incoming)
    }

    /// Gives what was read to the session, as long as that has room for plain text.
    fn digest(&mut self) {
        while !self.incoming.is_empty() && self.failed.is_none() {
            let mut rest = &self.incoming[..];
            // Its only error with a slice is that its plain text has to be read first.
            let Ok(taken) = self.session.read_tls(&mut rest) else { return };
            if taken == 0 {
                break;
            }
            self.incoming.advance(taken);
            let context = Context {
                has_certificate: self.has_certificate,
                version_known: self.session.protocol_version().is_some(),
                served: self.served,
            };
            if let Err(error) = self.session.process_new_packets() {
                self.failed = Some(classify(&error, context));
            }
        }
        // Behind the end of the session nothing means anything.
        self.incoming.clear();
    }

    /// Takes plain text, at most as much as one write of the socket may be long. What the socket
    /// does not take at once waits for the next write or flush; until it is gone, nothing more is
    /// taken.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut task::Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let count = self.session.writer().write_vectored(slices)?;
        // Bytes may be on their way, so an error must not hide that they were taken. It comes
        // again with the next call.
        let _ = self.poll_flush(cx);
        Poll::Ready(Ok(count))
    }

    /// Whether there are encrypted bytes that the socket has not taken.
    pub(crate) fn needs_flush(&self) -> bool {
        self.session.wants_write()
    }

    /// Hands those to the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut sink = Sink { socket: &mut self.socket, cx };
            match self.session.write_tls(&mut sink) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says good-bye, as far as that works at once.
    pub(crate) fn poll_close(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        let _ = self.poll_flush(cx);
        self.socket.poll_close(cx)
    }

    /// The version in use.
    pub(super) fn version(&self) -> &'static str {
        match self.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        }
    }
}

/// The writing side of a socket, for a session.
struct Sink<'a, 'b, S> {
    socket: &'a mut S,
    cx: &'a mut task::Context<'b>,
}

impl<S: Stream> Write for Sink<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write_vectored(self.cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
