//! Credentials that come from somewhere, and change while the client runs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use super::Credentials;

/// What a [`CredentialsProvider`] works on.
pub type ProviderFuture = Pin<Box<dyn Future<Output = Result<Lease, ProviderFailure>> + Send>>;

/// Where credentials come from: a vault, a file that is written anew, a token service.
///
/// Set it with [`ConfigBuilder::credentials_provider`](crate::ConfigBuilder::credentials_provider).
/// It is asked at the start, again before what it gave expires, and after a server has refused the
/// key or the signature; once at a time, not more often than every ten seconds after refusals, and
/// given up after thirty. Until it has answered for the first time no request leaves, unless there
/// are [`Config::credentials`](crate::Config::credentials) to begin with: sends wait within their
/// own time, and end as
/// [`SendErrorKind::NoCredentials`](crate::SendErrorKind::NoCredentials). When it fails later, or
/// panics, the client goes on with what it has, and asks again after a while.
///
/// Any function that gives such a future is one:
///
/// ```
/// use std::time::Duration;
/// use rocketmq_core::{Config, Credentials, FetchReason, Lease, ProviderFailure};
///
/// let provider = |_why: FetchReason| async {
///     let credentials = Credentials::new("orders-service", "12345678")
///         .map_err(|_| ProviderFailure::Failed("the vault holds no usable key"))?;
///     Ok(Lease::new(credentials).expires_in(Duration::from_secs(3_600)))
/// };
/// let config = Config::builder("127.0.0.1:9876").credentials_provider(provider).build()?;
/// # Ok::<(), rocketmq_core::ConfigError>(())
/// ```
pub trait CredentialsProvider: Send + Sync + 'static {
    /// Fetches credentials. Called and polled on the driver's task: it must not block. Dropped
    /// when it takes too long or the client ends.
    fn fetch(&self, why: FetchReason) -> ProviderFuture;
}

impl<F, T> CredentialsProvider for F
where
    F: Fn(FetchReason) -> T + Send + Sync + 'static,
    T: Future<Output = Result<Lease, ProviderFailure>> + Send + 'static,
{
    fn fetch(&self, why: FetchReason) -> ProviderFuture {
        Box::pin(self(why))
    }
}

/// Why a [`CredentialsProvider`] is asked.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FetchReason {
    /// The client starts.
    Start,
    /// What it gave expires soon.
    Expiry,
    /// A server refused the access key or the signature.
    Refused,
    /// It failed before.
    Retry,
}

/// Credentials, and for how long they are good.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Lease {
    /// The credentials.
    pub credentials: Credentials,
    /// Time from now until servers refuse them; `None` if that is not known, or never.
    pub expires_in: Option<Duration>,
}

impl Lease {
    /// Credentials of which nobody knows when they expire.
    pub fn new(credentials: Credentials) -> Lease {
        Lease { credentials, expires_in: None }
    }

    /// With the time for which they are good from now. The next ones are fetched when four fifths
    /// of it have passed, but not within a second.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Lease {
        self.expires_in = Some(time);
        self
    }
}

/// Why a [`CredentialsProvider`] gave nothing.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderFailure {
    /// It says so. The text is one of the program's own, so that it cannot hold a secret: events
    /// and errors show it.
    #[error("{0}")]
    Failed(&'static str),
    /// It panicked.
    #[error("it panicked")]
    Panicked,
    /// It has not answered in time.
    #[error("it has not answered")]
    TimedOut,
}

/// The provider of one client. `Debug` shows that there is one.
#[derive(Clone)]
pub(crate) struct Source(pub(crate) Arc<dyn CredentialsProvider>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a provider")
    }
}
