//! The three runtimes behind one face.

use std::future::Future;
use std::io;

use rocketmq_tokio::{Client, ClientOptions, StartError};

use crate::args::RuntimeName;

impl RuntimeName {
    /// Runs a future to its end on the calling thread.
    ///
    /// # Errors
    /// If the runtime cannot be made.
    pub(crate) fn block_on<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            RuntimeName::Tokio => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                let output = runtime.block_on(future);
                // A name that is still being looked up must not hold up the end.
                runtime.shutdown_background();
                Ok(output)
            }
            RuntimeName::Smol => Ok(smol::block_on(future)),
            RuntimeName::AsyncStd => Ok(async_std::task::block_on(future)),
        }
    }

    /// Starts a client; to be called from within [`RuntimeName::block_on`].
    ///
    /// # Errors
    /// As the adapters.
    pub(crate) fn start(self, options: impl Into<ClientOptions>) -> Result<Client, StartError> {
        match self {
            RuntimeName::Tokio => rocketmq_tokio::start(options),
            RuntimeName::Smol => Ok(rocketmq_smol::start(options)),
            RuntimeName::AsyncStd => Ok(rocketmq_async_std::start(options)),
        }
    }

    /// The adapter's crate.
    pub(crate) fn crate_name(self) -> &'static str {
        match self {
            RuntimeName::Tokio => "rocketmq-tokio",
            RuntimeName::Smol => "rocketmq-smol",
            RuntimeName::AsyncStd => "rocketmq-async-std",
        }
    }
}
