//! Certificates for real servers, and the settings with which they use them.

use std::path::Path;
use std::sync::Arc;

use rocketmq_testkit::tls::{Authority, GOOD, Identity};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::Result;
use crate::environment::write;

/// Servers that speak TLS alone, show a certificate for 127.0.0.1, and demand one from clients.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate of the authority that issued all others, as PEM.
    pub authority: String,
    /// Whom servers let in.
    pub client: Identity,
    server: Identity,
}

impl Tls {
    /// Fresh certificates.
    pub fn new() -> Tls {
        let authority = Authority::new("interop");
        let server = authority.issue(&["127.0.0.1", "localhost"], GOOD);
        let client = authority.issue(&["client.example"], GOOD);
        Tls { authority: authority.pem().to_owned(), client, server }
    }

    /// Writes the files into `folder`, and gives the flags of every JVM, servers and clients.
    // Java: TlsSystemConfig, TlsHelper#extractTlsConfigFromFile
    pub(crate) fn install(&self, folder: &Path) -> Result<Vec<String>> {
        let files = [
            ("ca.pem", &self.authority),
            ("server.pem", &self.server.certificate),
            ("server.key", &self.server.key),
            ("client.pem", &self.client.certificate),
            ("client.key", &self.client.key),
        ];
        for (name, text) in files {
            write(&folder.join(name), text)?;
        }
        let path = |name: &str| folder.join(name).display().to_string();
        let settings = [
            ("tls.test.mode.enable", "false".to_owned()),
            ("tls.server.need.client.auth", "require".to_owned()),
            ("tls.server.authClient", "true".to_owned()),
            ("tls.server.certPath", path("server.pem")),
            ("tls.server.keyPath", path("server.key")),
            ("tls.server.trustCertPath", path("ca.pem")),
            ("tls.client.authServer", "true".to_owned()),
            ("tls.client.certPath", path("client.pem")),
            ("tls.client.keyPath", path("client.key")),
            ("tls.client.trustCertPath", path("ca.pem")),
        ];
        let lines = settings.map(|(key, value)| format!("{key}={value}\n"));
        write(&folder.join("tls.properties"), &lines.concat())?;
        Ok(vec![
            "-Dtls.server.mode=enforcing".to_owned(),
            "-Dtls.enable=true".to_owned(),
            format!("-Dtls.config.file={}", path("tls.properties")),
        ])
    }

    /// The client's side, for the suite's own questions.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes());
        let mut roots = RootCertStore::empty();
        let root = certificate(&self.authority).map_err(|e| text(&e))?;
        roots.add(root).map_err(|e| text(&e))?;
        let own = certificate(&self.client.certificate).map_err(|e| text(&e))?;
        let key = PrivateKeyDer::from_pem_slice(self.client.key.as_bytes());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(|e| text(&e))?;
        let config = config.with_root_certificates(roots);
        let config = config.with_client_auth_cert(vec![own], key.map_err(|e| text(&e))?);
        config.map(Arc::new).map_err(|e| text(&e))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}
