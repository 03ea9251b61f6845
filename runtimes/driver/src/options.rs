//! Settings of a client beyond those of the machine: how its connections are made.

use rocketmq_core::Config;

use crate::socks::Socks5;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// Settings with which a client starts: a [`Config`], and how its connections are made.
///
/// Whatever takes these takes a bare [`Config`] as well.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) config: Config,
    pub(crate) socks5: Option<Socks5>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
}

impl ClientOptions {
    /// Plain connections, straight to the servers.
    pub fn new(config: Config) -> ClientOptions {
        ClientOptions {
            config,
            socks5: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Makes all connections through a proxy.
    #[must_use]
    pub fn with_socks5(mut self, proxy: Socks5) -> ClientOptions {
        self.socks5 = Some(proxy);
        self
    }

    /// Encrypts all connections to name servers and brokers; see the page `tls` of the manual.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: TlsConfig) -> ClientOptions {
        self.tls = Some(tls);
        self
    }

    /// The settings of the machine.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl From<Config> for ClientOptions {
    fn from(config: Config) -> ClientOptions {
        ClientOptions::new(config)
    }
}
