//! Why a proxy made no connection. The conversation with it is the driver's.

/// Why a SOCKS5 proxy made no connection to a server.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// There was no connection to the proxy itself.
    #[error("the proxy itself cannot be reached; check its address and that it runs")]
    NotReached,
    /// What answers does not speak SOCKS5.
    #[error("what answers there does not speak SOCKS5; check the proxy's port")]
    NotSocks5,
    /// The proxy closed before it had answered.
    #[error("the proxy closed before it had answered; its log may say why")]
    CutShort,
    /// The proxy takes none of the ways to say who the client is.
    #[error("the proxy demands user and password, or another proof; give it those")]
    CredentialsRequired,
    /// The proxy does not take user and password.
    #[error("the proxy refused user and password; check them")]
    CredentialsRefused,
    /// The proxy's rules forbid it.
    #[error("the proxy's rules do not allow a connection to this server; ask whoever runs it")]
    NotAllowed,
    /// The proxy finds no way to the server's network or host.
    #[error("the proxy cannot reach the server, or does not know its name; check the address")]
    Unreachable,
    /// Nobody listens at the address, as the proxy sees it.
    #[error("the server refused the proxy's connection; nobody listens at this address")]
    Refused,
    /// The proxy makes no connections, or none to addresses of this kind.
    #[error("the proxy makes no connections to addresses of this kind")]
    NotSupported,
    /// Any other answer, with its number.
    #[error("the proxy answered with failure {0}; its log may say why")]
    Other(u8),
}
