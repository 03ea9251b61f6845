//! Certificates for tests, and servers that speak TLS. Needs the feature `tls`.
//!
//! The servers run rustls' own server side; who may connect, and with which certificate, is up to
//! the test:
//!
//! ```
//! use rocketmq_testkit::LoopbackCluster;
//! use rocketmq_testkit::cluster::ClusterConfig;
//! use rocketmq_testkit::tls::{Authority, TlsMode};
//!
//! let authority = Authority::new("a test's own");
//! let cluster = LoopbackCluster::start(ClusterConfig::new())?;
//! let server = authority.server(&["127.0.0.1", "localhost"]).mode(TlsMode::Enforcing);
//! cluster.with(|cluster| cluster.set_tls_everywhere(&server));
//! // … give authority.pem() to the client, and let it connect …
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// What a server does with connections that are not encrypted, and with those that are.
// Java: TlsMode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// Encrypted ones are closed.
    Disabled,
    /// Both are served, on the same port.
    Permissive,
    /// Plain ones are closed without a word.
    Enforcing,
}

/// What a server does instead of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// Nothing, for ever.
    Silent,
    /// It closes at the first bytes.
    Close,
    /// It sends these bytes.
    Bytes(Vec<u8>),
    /// It sends so many bytes of its part of the handshake, and closes.
    CutAfter(usize),
}

/// How a server speaks TLS.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) mode: TlsMode,
    pub(crate) fault: Option<TlsFault>,
}

/// Dates long gone, for [`Authority::issue`].
pub const EXPIRED: (i32, i32) = (1990, 1999);

/// Dates yet to come, for [`Authority::issue`].
pub const NOT_YET: (i32, i32) = (3000, 3010);

/// Dates that are always good, for [`Authority::issue`].
pub const GOOD: (i32, i32) = (1970, 3000);

impl Authority {
    /// A fresh one, valid for about a thousand years.
    pub fn new(name: &str) -> Authority {
        let mut params = params(&[], GOOD);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        let key = KeyPair::generate().expect("a key can be made");
        let pem = params.self_signed(&key).expect("the parameters are sound").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, which clients are to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these host names and addresses, valid from the begin of one year to that
    /// of another.
    ///
    /// # Panics
    /// If a name cannot stand in a certificate, or there is no such year.
    pub fn issue(&self, names: &[&str], (from, to): (i32, i32)) -> Identity {
        let mut params = params(names, (from, to));
        params.distinguished_name.push(DnType::CommonName, "issued by a test");
        params.use_authority_key_identifier_extension = true;
        params
            .extended_key_usages
            .extend([ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server with a good certificate for these host names and addresses. It serves plain
    /// connections, too.
    ///
    /// # Panics
    /// As [`Authority::issue`].
    pub fn server(&self, names: &[&str]) -> ServerTls {
        ServerTls::new(&self.issue(names, GOOD))
    }
}

fn params(names: &[&str], (from, to): (i32, i32)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names of hosts");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

impl ServerTls {
    /// A server with this certificate, which asks clients for none and serves plain connections,
    /// too.
    ///
    /// # Panics
    /// If certificate and key cannot be used.
    pub fn new(identity: &Identity) -> ServerTls {
        ServerTls::build(identity, None, rustls::ALL_VERSIONS)
    }

    /// The same that speaks TLS 1.2 alone.
    ///
    /// # Panics
    /// If certificate and key cannot be used.
    pub fn tls12(identity: &Identity) -> ServerTls {
        ServerTls::build(identity, None, &[&rustls::version::TLS12])
    }

    /// The same that demands a certificate of an authority from its clients.
    ///
    /// # Panics
    /// If certificate and key cannot be used.
    pub fn with_client_authority(identity: &Identity, clients: &Authority) -> ServerTls {
        ServerTls::build(identity, Some(clients), rustls::ALL_VERSIONS)
    }

    /// The same with TLS 1.2 alone.
    ///
    /// # Panics
    /// If certificate and key cannot be used.
    pub fn tls12_with_client_authority(identity: &Identity, clients: &Authority) -> ServerTls {
        ServerTls::build(identity, Some(clients), &[&rustls::version::TLS12])
    }

    fn build(
        identity: &Identity,
        clients: Option<&Authority>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ServerTls {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_protocol_versions(versions).expect("ring has both versions");
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key as PEM");
        let key = provider.key_provider.load_private_key(key).expect("a key that ring can use");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                for root in certificates(authority.pem()) {
                    roots.add(root).expect("an authority's certificate");
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        // Not read: servers may well show what nobody can parse.
        let shown = CertifiedKey::new(certificates(&identity.certificate), key);
        let config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        ServerTls { config: Arc::new(config), mode: TlsMode::Permissive, fault: None }
    }

    /// Sets what happens to connections of either kind.
    #[must_use]
    pub fn mode(mut self, mode: TlsMode) -> ServerTls {
        self.mode = mode;
        self
    }

    /// Does something else at the first bytes of TLS.
    #[must_use]
    pub fn fault(mut self, fault: TlsFault) -> ServerTls {
        self.fault = Some(fault);
        self
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    all.expect("certificates as PEM")
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ServerTls");
        debug.field("mode", &self.mode).field("fault", &self.fault).finish_non_exhaustive()
    }
}
