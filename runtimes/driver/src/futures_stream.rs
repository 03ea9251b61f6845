//! A [`Stream`] over any socket of the futures-io traits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use crate::runtime::Stream;

/// Largest single read: one copy of this much costs less than a microsecond.
const SCRATCH: usize = 16 * 1024;

/// A socket of the futures-io traits.
///
/// Those traits read into initialised memory only. Here that is a scratch buffer, zeroed once, from
/// which what was read is copied: cheaper than zeroing the receive buffer for every read.
#[derive(Debug)]
pub struct FuturesStream<S> {
    socket: S,
    scratch: Box<[u8]>,
}

impl<S> FuturesStream<S> {
    /// Wraps a connected socket.
    pub fn new(socket: S) -> FuturesStream<S> {
        FuturesStream { socket, scratch: vec![0; SCRATCH].into() }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for FuturesStream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = (buf.capacity() - buf.len()).min(SCRATCH);
        let scratch = self.scratch.get_mut(..room).unwrap_or_default();
        let n = ready!(Pin::new(&mut self.socket).poll_read(cx, scratch))?;
        buf.extend_from_slice(scratch.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
