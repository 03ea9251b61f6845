//! From an address to a connection that frames can be sent over: the socket, and what lies around
//! it. Here alone it is decided whether a connection is encrypted.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use rocketmq_core::{Address, ConnectFailure, ProxyFailure, TlsFailure};

use crate::connection::connect_failure;
use crate::options::ClientOptions;
use crate::runtime::{Runtime, Stream};
use crate::socks::{self, Socks5};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsStream};

/// A dial under way, the handshakes included.
pub(crate) type Dial<S> = Pin<Box<dyn Future<Output = Result<Channel<S>, ConnectFailure>> + Send>>;

/// A dial under way, up to the socket.
pub(crate) type Socket<S> = Pin<Box<dyn Future<Output = Result<S, ConnectFailure>> + Send>>;

/// How the connections of one client are made.
pub(crate) struct Transport {
    proxy: Option<Arc<Socks5>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
}

impl Transport {
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "the clock is for TLS"))]
    pub(crate) fn new<R: Runtime>(options: &ClientOptions, runtime: &R) -> Transport {
        Transport {
            proxy: options.socks5.clone().map(Arc::new),
            #[cfg(feature = "tls")]
            tls: Tls::new(options.tls.clone(), runtime),
        }
    }

    /// The proxy that all connections go through.
    pub(crate) fn proxy(&self) -> Option<&Socks5> {
        self.proxy.as_deref()
    }

    /// A socket that leads to `address`, through the proxy if there is one.
    pub(crate) fn socket<R: Runtime>(&self, runtime: &R, address: &Address) -> Socket<R::Stream> {
        let tunnel = self.proxy.clone().map(|proxy| (proxy, address.clone()));
        let next = self.proxy.as_ref().map_or(address, |proxy| proxy.address());
        let connect = runtime.connect(next);
        Box::pin(async move {
            match (connect.await, tunnel) {
                (Ok(socket), None) => Ok(socket),
                (Err(error), None) => Err(connect_failure(&error)),
                (Ok(socket), Some((proxy, target))) => socks::open(socket, &proxy, &target).await,
                (Err(_), Some(_)) => Err(ConnectFailure::Proxy(ProxyFailure::NotReached)),
            }
        })
    }

    /// Dials `address`. Whatever fails on the way fails the dial: an encrypted connection never
    /// becomes a plain one.
    pub(crate) fn dial<R: Runtime>(&self, runtime: &R, address: &Address) -> Dial<R::Stream> {
        let socket = self.socket(runtime, address);
        #[cfg(feature = "tls")]
        if let Some(handshake) = self.tls.handshake(address) {
            return Box::pin(async move {
                Ok(Channel::Tls(Box::new(handshake.run(socket.await?).await?)))
            });
        }
        Box::pin(async move { Ok(Channel::Plain(socket.await?)) })
    }
}

/// A connection that is open.
pub(crate) enum Channel<S> {
    Plain(S),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<S>>),
}

impl<S: Stream> Channel<S> {
    /// Appends what has arrived to `buf`; zero bytes are the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Channel::Plain(stream) => stream.poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => stream.poll_read(cx, buf),
        }
    }

    /// Takes as many bytes as there is room for, and hands on what the socket takes.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Channel::Plain(stream) => stream.poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => stream.poll_write_vectored(cx, slices),
        }
    }

    /// Tells the peer that nothing more comes, as far as that works at once.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Channel::Plain(stream) => stream.poll_close(cx),
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => stream.poll_close(cx),
        }
    }

    /// Whether it holds bytes that the socket did not take.
    #[inline]
    pub(crate) fn needs_flush(&self) -> bool {
        match self {
            Channel::Plain(_) => false,
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => stream.needs_flush(),
        }
    }

    /// Hands those on.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Channel::Plain(_) => {
                let _ = cx;
                Poll::Ready(Ok(()))
            }
            #[cfg(feature = "tls")]
            Channel::Tls(stream) => stream.poll_flush(cx),
        }
    }

    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Channel::Plain(_))
    }
}

/// What failed in TLS, if this error is of TLS.
pub(crate) fn tls_failure(error: &io::Error) -> Option<TlsFailure> {
    #[cfg(feature = "tls")]
    return crate::tls::failure_of(error);
    #[cfg(not(feature = "tls"))]
    {
        let _ = error;
        None
    }
}
