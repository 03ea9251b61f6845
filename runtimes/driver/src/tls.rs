//! Encrypted connections: what the user sets, and what the driver makes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocketmq_core::{Address, ConnectFailure, Host, TlsFailure, WallTime};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use crate::runtime::{Runtime, Stream};

mod failure;
mod stream;
mod trust;

pub(crate) use failure::failure_of;
pub(crate) use stream::TlsStream;

/// Servers of which something is kept; one more makes the client forget the others.
const SERVERS_MAX: usize = 1_024;

/// Sessions kept for each, and by that names: there is one.
const SESSIONS_MAX: usize = 2;

/// How connections are encrypted: whom the client trusts, and who it is itself. Cheap to clone.
///
/// Servers have to show a certificate that an authority trusted here has issued for the host to
/// which the client connects. The page `tls` of the manual tells the whole story.
///
/// ```
/// use rocketmq_driver::{ClientOptions, Config, TlsConfig};
///
/// # fn example(ca: &[u8]) -> Result<ClientOptions, Box<dyn std::error::Error>> {
/// let tls = TlsConfig::builder().roots_pem(ca).build()?; // ca: the text of ca.pem
/// let config = Config::builder("broker.example:9876").build()?;
/// Ok(ClientOptions::new(config).with_tls(tls))
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    trust: Trust,
    /// Certificates are judged by the clock of the runtime.
    runtime_clock: bool,
}

/// Whom the client trusts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    Platform,
    Roots,
    PlatformAndRoots,
    Anybody,
    /// What the user's own settings of rustls say.
    Custom,
}

impl Trust {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Trust::Platform => "the authorities of this machine are trusted",
            Trust::Roots => "the given authorities are trusted",
            Trust::PlatformAndRoots => {
                "the authorities of this machine and the given ones are trusted"
            }
            Trust::Anybody => "NOBODY IS VERIFIED",
            Trust::Custom => "the application's own rules are used",
        }
    }
}

impl TlsConfig {
    /// Verifies servers by the authorities that this machine trusts.
    ///
    /// # Errors
    /// If the machine's authorities cannot be read.
    pub fn new() -> Result<TlsConfig, TlsConfigError> {
        TlsConfig::builder().build()
    }

    /// For everything else.
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder::default()
    }

    /// Settings of rustls as they are, for what the builder does not offer: revocation lists, keys
    /// in hardware, a verifier of one's own. The clock is theirs, too.
    pub fn from_rustls(config: Arc<ClientConfig>) -> TlsConfig {
        let (server_name, trust, runtime_clock) = (None, Trust::Custom, false);
        TlsConfig { config, server_name, trust, runtime_clock }
    }

    /// Whether nobody is verified: see [`TlsConfigBuilder::dangerous_accept_any_certificate`].
    pub fn accepts_any_certificate(&self) -> bool {
        self.trust == Trust::Anybody
    }

    fn with_clock(mut self, clock: &Arc<dyn TimeProvider>) -> TlsConfig {
        if self.runtime_clock {
            let mut config = ClientConfig::clone(&self.config);
            config.time_provider = Arc::clone(clock);
            self.config = Arc::new(config);
        }
        self
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("trust", &self.trust)
            .field("client_certificate", &self.config.client_auth_cert_resolver.has_certs())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Makes a [`TlsConfig`]. Nothing is checked before [`TlsConfigBuilder::build`].
#[derive(Default)]
#[must_use]
pub struct TlsConfigBuilder {
    roots: Vec<Result<CertificateDer<'static>, TlsConfigError>>,
    platform: bool,
    identity: Option<Result<Identity, TlsConfigError>>,
    server_name: Option<String>,
    accept_any: bool,
    provider: Option<Arc<CryptoProvider>>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl TlsConfigBuilder {
    /// Trusts the authorities in this text of PEM, with one or more certificates, in place of those
    /// of the machine. May be called more than once.
    pub fn roots_pem(mut self, pem: impl AsRef<[u8]>) -> TlsConfigBuilder {
        let before = self.roots.len();
        for root in CertificateDer::pem_slice_iter(pem.as_ref()) {
            self.roots.push(root.map_err(|e| TlsConfigError::Roots(e.to_string())));
        }
        if self.roots.len() == before {
            let what = "there is no certificate in it; it has to be PEM".to_owned();
            self.roots.push(Err(TlsConfigError::Roots(what)));
        }
        self
    }

    /// The same with certificates that were read already.
    pub fn roots(
        mut self,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> TlsConfigBuilder {
        self.roots.extend(roots.into_iter().map(Ok));
        self
    }

    /// Trusts the authorities of the machine beside the given ones.
    pub fn with_platform_roots(mut self) -> TlsConfigBuilder {
        self.platform = true;
        self
    }

    /// Shows this certificate to servers that ask for one: its text of PEM, with those of the
    /// authorities in between behind it, and that of its private key, which must not be encrypted.
    pub fn client_certificate_pem(
        mut self,
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> TlsConfigBuilder {
        self.identity = Some(identity(certificates.as_ref(), key.as_ref()));
        self
    }

    /// The same with certificates and a key that were read already.
    pub fn client_certificate(
        mut self,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> TlsConfigBuilder {
        self.identity = Some(Ok((certificates, key)));
        self
    }

    /// Expects this name, or address, in the certificates of all servers, whatever address is
    /// dialed: for clusters whose servers share one certificate, or announce addresses that stand
    /// in none.
    pub fn server_name(mut self, name: impl Into<String>) -> TlsConfigBuilder {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts every server, whoever it is.
    ///
    /// Whoever can redirect the traffic can then read and alter every message, and take what the
    /// client signs: the encryption protects against listening alone. It is the only way to talk to
    /// servers with the certificate that RocketMQ makes for itself (`tls.test.mode.enable`, its
    /// default), which names no host and changes with each start. No certificate is even read, so
    /// it works with those of X.509 version 1 as well.
    pub fn dangerous_accept_any_certificate(mut self) -> TlsConfigBuilder {
        self.accept_any = true;
        self
    }

    /// Cryptography from elsewhere than `ring`. The default of the process is never looked at.
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> TlsConfigBuilder {
        self.provider = Some(provider);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Tells which part cannot be used.
    pub fn build(self) -> Result<TlsConfig, TlsConfigError> {
        let provider = match self.provider {
            Some(provider) => provider,
            None => Arc::new(rustls::crypto::ring::default_provider()),
        };
        let roots = self.roots.into_iter().collect::<Result<Vec<_>, _>>()?;
        let trust = match (self.accept_any, self.platform, roots.is_empty()) {
            (true, false, true) => Trust::Anybody,
            (true, ..) => return Err(TlsConfigError::RootsWithoutUse),
            (false, true, false) => Trust::PlatformAndRoots,
            (false, false, false) => Trust::Roots,
            (false, _, true) => Trust::Platform,
        };
        let server_name = self.server_name.map(name_of).transpose()?;
        let verifier = verifier(trust, roots, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsConfigError::Provider(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match self.identity.transpose()? {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => config
                .with_client_auth_cert(certificates, key)
                .map_err(|e| TlsConfigError::ClientCertificate(e.to_string()))?,
        };
        let config = Arc::new(config);
        Ok(TlsConfig { config, server_name, trust, runtime_clock: true })
    }
}

impl fmt::Debug for TlsConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigBuilder").finish_non_exhaustive()
    }
}

/// Why TLS settings cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A root certificate cannot be read.
    #[error("the certificates of the authorities (roots) cannot be used: {0}")]
    Roots(String),
    /// The machine trusts nobody.
    #[error("the authorities of this machine cannot be read: {0}; give roots of your own")]
    PlatformRoots(String),
    /// Roots were given, and so was the word that nobody is to be verified.
    #[error("accepting any certificate makes roots useless; give one or the other")]
    RootsWithoutUse,
    /// The client's certificate or its key cannot be used, or do not fit together.
    #[error("the client's certificate or its key cannot be used: {0}")]
    ClientCertificate(String),
    /// The client's key is protected by a password.
    #[error("the client's key is encrypted; decrypt it first: openssl pkey -in KEY -out PLAIN")]
    EncryptedKey,
    /// The name can stand in no certificate.
    #[error("\"{0}\" is no server name; write a host name or an IP address, without a port")]
    ServerName(String),
    /// The cryptography provider lacks something.
    #[error("the cryptography provider cannot be used: {0}")]
    Provider(String),
}

fn identity(certificates: &[u8], key: &[u8]) -> Result<Identity, TlsConfigError> {
    let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
    let failed = |what: String| TlsConfigError::ClientCertificate(what);
    let chain = chain.map_err(|e| failed(format!("certificate: {e}")))?;
    if chain.is_empty() {
        return Err(failed("there is no certificate in it; it has to be PEM".to_owned()));
    }
    match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => Ok((chain, key)),
        // Both forms of PEM say it in plain words.
        Err(_) if String::from_utf8_lossy(key).contains("ENCRYPTED") => {
            Err(TlsConfigError::EncryptedKey)
        }
        Err(error) => Err(failed(format!("key: {error}"))),
    }
}

fn name_of(name: String) -> Result<ServerName<'static>, TlsConfigError> {
    ServerName::try_from(name.clone()).map_err(|_| TlsConfigError::ServerName(name))
}

fn verifier(
    trust: Trust,
    roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
    let provider = Arc::clone(provider);
    if trust == Trust::Anybody {
        return Ok(Arc::new(trust::Anybody::new(&provider)));
    }
    if trust != Trust::Roots {
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider);
        let verifier = verifier.map_err(|e| TlsConfigError::PlatformRoots(e.to_string()))?;
        return Ok(Arc::new(verifier));
    }
    let failed = |what: String| TlsConfigError::Roots(what);
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|e| failed(e.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
    let verifier: Arc<dyn ServerCertVerifier> =
        verifier.build().map_err(|e| failed(e.to_string()))?;
    Ok(verifier)
}

/// The TLS of one client.
pub(crate) struct Tls {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn TimeProvider>,
}

#[derive(Default)]
struct State {
    current: Option<TlsConfig>,
    servers: BTreeMap<Address, Server>,
}

/// What is kept of one server.
#[derive(Default)]
struct Server {
    /// The settings with sessions of this server alone: what one server remembers means nothing to
    /// another, even if both have one name.
    config: Option<Arc<ClientConfig>>,
    /// The version of TLS of the latest connection.
    version: Option<&'static str>,
}

impl State {
    fn server(&mut self, address: &Address) -> &mut Server {
        if self.servers.len() >= SERVERS_MAX && !self.servers.contains_key(address) {
            self.servers.clear();
        }
        self.servers.entry(address.clone()).or_default()
    }
}

impl Tls {
    pub(crate) fn new<R: Runtime>(config: Option<TlsConfig>, runtime: &R) -> Tls {
        let runtime = runtime.clone();
        let clock: Arc<dyn TimeProvider> = Arc::new(RuntimeClock(move || Runtime::wall(&runtime)));
        let tls = Tls { state: Arc::default(), clock };
        config.into_iter().for_each(|config| tls.set(config));
        tls
    }

    /// Uses these settings for all handshakes from now on. Sessions of the old ones are not gone on
    /// with: they would spare a server the verification by the new ones.
    pub(crate) fn set(&self, config: TlsConfig) {
        let current = Some(config.with_clock(&self.clock));
        *lock(&self.state) = State { current, servers: BTreeMap::new() };
    }

    /// Whom the client trusts; `None` without TLS.
    pub(crate) fn trust(&self) -> Option<Trust> {
        lock(&self.state).current.as_ref().map(|config| config.trust)
    }

    /// The version with which the server was reached last.
    pub(crate) fn version(&self, address: &Address) -> Option<&'static str> {
        lock(&self.state).servers.get(address).and_then(|server| server.version)
    }

    /// What is to be done on a socket to `address`; `None` without TLS.
    pub(crate) fn handshake(&self, address: &Address) -> Option<Handshake> {
        let mut state = lock(&self.state);
        let TlsConfig { config, server_name, trust, .. } = state.current.clone()?;
        let own_sessions = || {
            if trust == Trust::Custom {
                return config;
            }
            let mut config = ClientConfig::clone(&config);
            config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
            Arc::new(config)
        };
        let config = state.server(address).config.get_or_insert_with(own_sessions);
        let (config, address) = (Arc::clone(config), address.clone());
        drop(state);
        let state = Arc::clone(&self.state);
        Some(Handshake { config, server_name, address, state })
    }
}

/// A handshake that is yet to begin.
pub(crate) struct Handshake {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    address: Address,
    state: Arc<Mutex<State>>,
}

impl Handshake {
    /// Runs it.
    pub(crate) async fn run<S: Stream>(self, socket: S) -> Result<TlsStream<S>, ConnectFailure> {
        let name = match self.server_name {
            Some(name) => name,
            None => host_name(&self.address).map_err(ConnectFailure::Tls)?,
        };
        let stream = TlsStream::connect(socket, self.config, name).await;
        let stream = stream.map_err(ConnectFailure::Tls)?;
        lock(&self.state).server(&self.address).version = Some(stream.version());
        Ok(stream)
    }
}

/// The name to verify: that of the address that is dialed. An address in figures has to stand in
/// the certificate as such.
fn host_name(address: &Address) -> Result<ServerName<'static>, TlsFailure> {
    match address.host() {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => {
            ServerName::try_from(name.to_string()).map_err(|_| TlsFailure::InvalidName)
        }
    }
}

/// The clock of a runtime, so that certificates expire by virtual time in a simulation.
struct RuntimeClock<F>(F);

impl<F: Fn() -> WallTime + Send + Sync> TimeProvider for RuntimeClock<F> {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from((self.0)().as_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

impl<F> fmt::Debug for RuntimeClock<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuntimeClock")
    }
}

/// What a panicking thread leaves behind is whole: values are replaced, not altered.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
