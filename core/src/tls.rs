//! Why a connection could not be encrypted. The encryption itself is the driver's.

/// Why TLS with a server failed.
///
/// The client never falls back to plain text: nothing was sent that a failed handshake did not
/// protect.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The server answered something else than TLS.
    #[error(
        "the server does not speak TLS at this port; check the port and its tls.server.mode, or \
         connect without TLS"
    )]
    NotTls,
    /// The server closed the connection at the first bytes of TLS.
    // RocketMQ: TlsModeHandler with tls.server.mode=disabled; before 4.2.0 a wrong length.
    #[error(
        "the server closed the connection at the first bytes of TLS: it does not speak TLS \
         (tls.server.mode=disabled), or is another service; check the port, or connect without TLS"
    )]
    HungUp,
    /// No trusted authority stands behind the server's certificate.
    #[error(
        "the server's certificate is of no authority that is trusted here; give the certificate \
         of its authority as a root"
    )]
    UnknownIssuer,
    /// The server's certificate is for other hosts.
    #[error(
        "the server's certificate is not for this host; connect by a name or address that stands \
         in it, or set the server name to one of those"
    )]
    WrongName,
    /// The server's certificate is too old.
    #[error("the server's certificate has expired; renew it, or set the clock of this machine")]
    Expired,
    /// The server's certificate is too new.
    #[error("the server's certificate is not valid yet; check the clock of this machine")]
    NotValidYet,
    /// The server's certificate was revoked.
    #[error("the server's certificate has been revoked; give the server another one")]
    Revoked,
    /// The server's certificate cannot be verified, whoever issued it.
    #[error(
        "the server's certificate cannot be verified: it is malformed, of X.509 version 1, for \
         another purpose, or that of an authority itself; give the server one of version 3 of its \
         own"
    )]
    UnusableCertificate,
    /// The server wants to know who the client is.
    #[error("the server demands a certificate of the client; give the client one, with its key")]
    ClientCertificateRequired,
    /// The server does not take the client's certificate, and said so with this alert.
    #[error(
        "the server refused the client's certificate (alert {0}); check its dates, and that the \
         server trusts its authority (tls.server.trustCertPath)"
    )]
    ClientCertificateRefused(u8),
    /// Client and server have no version or cipher suite in common.
    #[error(
        "client and server have no TLS version or cipher suite in common; the server needs TLS \
         1.2 or 1.3"
    )]
    NothingInCommon,
    /// The connection ended in the middle of the handshake.
    #[error("the server closed in the middle of the handshake; its log may say why")]
    CutShort,
    /// The host cannot stand in a certificate.
    #[error("the host is no name that a certificate can have; set the server name")]
    InvalidName,
    /// The server ended the connection with this alert.
    #[error("the server ended it with alert {0}; its log may say why")]
    Alert(u8),
    /// What came is TLS, but not as it has to be.
    #[error("the server broke the rules of TLS, or something on the way altered its bytes")]
    Broken,
    /// Anything else, on this side.
    #[error("TLS failed on this side; check the client's TLS settings")]
    Other,
}

impl TlsFailure {
    /// The failure in a word of lower case, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            TlsFailure::NotTls => "not_tls",
            TlsFailure::HungUp => "hung_up",
            TlsFailure::UnknownIssuer => "unknown_issuer",
            TlsFailure::WrongName => "wrong_name",
            TlsFailure::Expired => "expired",
            TlsFailure::NotValidYet => "not_valid_yet",
            TlsFailure::Revoked => "revoked",
            TlsFailure::UnusableCertificate => "unusable_certificate",
            TlsFailure::ClientCertificateRequired => "client_certificate_required",
            TlsFailure::ClientCertificateRefused(_) => "client_certificate_refused",
            TlsFailure::NothingInCommon => "nothing_in_common",
            TlsFailure::CutShort => "cut_short",
            TlsFailure::InvalidName => "invalid_name",
            TlsFailure::Alert(_) => "alert",
            TlsFailure::Broken => "broken",
            TlsFailure::Other => "other",
        }
    }

    /// Whether the server turned the client away. With TLS 1.3 that may come after the client's
    /// first requests; a server that does so has read none of them.
    // RFC 8446, 4.4.2.4 and 6.2: the handshake has failed, so no data is delivered.
    pub const fn refuses_client(self) -> bool {
        let required = matches!(self, TlsFailure::ClientCertificateRequired);
        required || matches!(self, TlsFailure::ClientCertificateRefused(_))
    }
}
