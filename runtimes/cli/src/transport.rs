//! How servers are reached: through a proxy, over TLS. The same for every command.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use rocketmq_tokio::{ClientOptions, Config, Socks5, Socks5Error};

#[derive(Debug, Args)]
#[command(next_help_heading = "Proxy and TLS")]
pub(crate) struct TransportArguments {
    /// Connect through this SOCKS5 proxy, which resolves host names, too
    #[arg(
        long,
        env = "RMQ_SOCKS5",
        hide_env_values = true,
        value_name = "[USER:PASSWORD@]HOST:PORT"
    )]
    socks5: Option<Secret>,

    /// Encrypt all connections; servers are verified by the authorities of this machine
    #[arg(long)]
    pub(crate) tls: bool,

    /// Verify servers by the authorities in this file instead
    #[arg(long, value_name = "PEM-FILE", requires = "tls", conflicts_with = "tls_insecure")]
    pub(crate) ca: Option<PathBuf>,

    /// Show this certificate to servers that ask for one
    #[arg(long, value_name = "PEM-FILE", requires = "tls", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of --cert
    #[arg(long, value_name = "PEM-FILE", requires = "tls", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Expect this name in the certificates of all servers, whatever address is dialed
    #[arg(long, value_name = "NAME", requires = "tls", conflicts_with = "tls_insecure")]
    pub(crate) server_name: Option<String>,

    /// Accept any certificate, so that whoever is in between can read and alter everything: for the
    /// one that RocketMQ makes for itself
    #[arg(long, requires = "tls")]
    pub(crate) tls_insecure: bool,
}

/// What must not be shown.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl TransportArguments {
    /// How a client with these settings connects. Warns of what is dangerous.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub(crate) fn options(&self, config: Config) -> Result<ClientOptions, String> {
        let mut options = ClientOptions::new(config);
        if let Some(proxy) = &self.socks5 {
            // Not parsed by clap, whose error would show it.
            let proxy: Socks5 =
                proxy.0.parse().map_err(|error: Socks5Error| format!("--socks5: {error}"))?;
            options = options.with_socks5(proxy);
        }
        if !self.tls {
            return Ok(options);
        }
        self.encrypted(options)
    }

    #[cfg(feature = "tls")]
    fn encrypted(&self, options: ClientOptions) -> Result<ClientOptions, String> {
        let mut tls = rocketmq_tokio::TlsConfig::builder();
        if let Some(path) = &self.ca {
            tls = tls.roots_pem(read(path)?);
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.client_certificate_pem(read(certificate)?, read(key)?);
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        if self.tls_insecure {
            crate::console::write_line("rmq: warning: no server is verified (--tls-insecure)");
            tls = tls.dangerous_accept_any_certificate();
        }
        let tls = tls.build().map_err(|error| error.to_string())?;
        Ok(options.with_tls(tls))
    }

    #[cfg(not(feature = "tls"))]
    fn encrypted(&self, _: ClientOptions) -> Result<ClientOptions, String> {
        Err("this rmq was built without TLS; build it with the feature tls".to_owned())
    }
}

#[cfg(feature = "tls")]
fn read(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
