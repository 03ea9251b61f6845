//! What went wrong in TLS, in the words of the core.

use std::fmt;
use std::io::{self, ErrorKind};

use rocketmq_core::TlsFailure;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The same inside of an error of IO, which is what a stream gives.
#[derive(Debug)]
struct Failed(TlsFailure);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

pub(super) fn io_error(failure: TlsFailure) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Failed(failure))
}

/// The failure inside of an error of a [`TlsStream`](super::TlsStream).
pub(crate) fn failure_of(error: &io::Error) -> Option<TlsFailure> {
    error.get_ref()?.downcast_ref::<Failed>().map(|failed| failed.0)
}

/// What was known when something failed.
#[derive(Clone, Copy)]
pub(super) struct Context {
    /// The client has a certificate to show.
    pub(super) has_certificate: bool,
    /// The server has shown that it speaks TLS.
    pub(super) version_known: bool,
    /// The server has sent plain text, so it had nothing against the client.
    pub(super) served: bool,
}

pub(super) fn classify(error: &Error, context: Context) -> TlsFailure {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => alerted(*alert, context),
        Error::PeerIncompatible(_) => TlsFailure::NothingInCommon,
        // The first bytes are no record of TLS.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) if !context.version_known => TlsFailure::NotTls,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord
        | Error::NoCertificatesPresented => TlsFailure::Broken,
        Error::UnsupportedNameType => TlsFailure::InvalidName,
        _ => TlsFailure::Other,
    }
}

fn certificate(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailure::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::NotValidYet
        }
        CertificateError::Revoked => TlsFailure::Revoked,
        // What is signed by somebody else under the name of a trusted one.
        CertificateError::BadSignature => TlsFailure::UnknownIssuer,
        _ => TlsFailure::UnusableCertificate,
    }
}

fn alerted(alert: AlertDescription, context: Context) -> TlsFailure {
    let number = u8::from(alert);
    match alert {
        _ if context.served => TlsFailure::Alert(number),
        // OpenSSL answers an empty list with the first of these, a JDK with the second.
        AlertDescription::CertificateRequired => TlsFailure::ClientCertificateRequired,
        AlertDescription::BadCertificate if !context.has_certificate => {
            TlsFailure::ClientCertificateRequired
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
            if context.has_certificate =>
        {
            TlsFailure::ClientCertificateRefused(number)
        }
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            TlsFailure::NothingInCommon
        }
        _ => TlsFailure::Alert(number),
    }
}
