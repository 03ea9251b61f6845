//! Settings about who the client is.

use alloc::sync::Arc;

use super::{Config, ConfigBuilder};
use crate::credentials::{Credentials, CredentialsProvider, Source};

impl Config {
    /// Who is asked for credentials, set by [`ConfigBuilder::credentials_provider`].
    pub fn credentials_provider(&self) -> Option<&Arc<dyn CredentialsProvider>> {
        self.credentials_source.as_ref().map(|source| &source.0)
    }
}

impl ConfigBuilder {
    /// Sets [`Config::credentials`]; none by default. With a provider as well they serve until it
    /// has answered.
    pub fn credentials(mut self, credentials: Credentials) -> ConfigBuilder {
        self.config.credentials = Some(credentials);
        self
    }

    /// Has credentials fetched by `provider`, at the start and whenever others are needed; see
    /// [`CredentialsProvider`].
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider) -> ConfigBuilder {
        self.config.credentials_source = Some(Source(Arc::new(provider)));
        self
    }
}
