//! Why connections are not made, and why they end.

use crate::proxy::ProxyFailure;
use crate::tls::TlsFailure;
use crate::wire::DecodeErrorKind;

/// Why a dial failed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// Nobody listens at the address.
    #[error("connection refused; nobody listens at this address")]
    Refused,
    /// No answer in time.
    #[error("no answer; the address may be wrong or blocked by a firewall")]
    TimedOut,
    /// No way to the host or network.
    #[error("host or network unreachable")]
    Unreachable,
    /// The host name could not be resolved.
    #[error("the host name could not be resolved")]
    NameNotResolved,
    /// The connection could not be encrypted.
    #[error("TLS: {0}")]
    Tls(TlsFailure),
    /// The proxy made no connection.
    #[error("SOCKS5: {0}")]
    Proxy(ProxyFailure),
    /// Any other error of the operating system.
    #[error("the operating system refused")]
    Other,
}

/// Why a connection ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it.
    #[error("closed by the peer")]
    Eof,
    /// The peer closed it and had not sent a single byte, over a connection without TLS.
    // RocketMQ: TlsModeHandler closes a plain connection without a word if TLS is enforced.
    #[error(
        "closed by the peer without a word; it may demand TLS (tls.server.mode), or be another \
         service"
    )]
    Wordless,
    /// The peer reset it.
    #[error("reset by the peer")]
    Reset,
    /// TLS failed on the open connection.
    #[error("TLS: {0}")]
    Tls(TlsFailure),
    /// Any other error of the operating system.
    #[error("an error of the operating system")]
    Io,
    /// The peer sent something that is not RocketMQ's protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(DecodeErrorKind),
    /// The peer answered a request that it had not been sent yet.
    #[error("the peer answered a request before it was sent")]
    EarlyAnswer,
    /// A frame began and did not end in time.
    #[error("a frame began and did not end in time")]
    PartialFrame,
    /// Requests were not answered, nor was a probe.
    #[error("the peer is silent")]
    Silent,
    /// The peer took none of our bytes for too long.
    #[error("the peer takes no bytes")]
    WriteStalled,
    /// Nothing happened on it for too long.
    #[error("idle")]
    Idle,
    /// No route names the address any more, or the peer asked to go away.
    #[error("no longer needed")]
    Drained,
    /// The client was closed.
    #[error("the client is closed")]
    Shutdown,
}
