//! Asking a provider for credentials.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rocketmq_core::{CredentialsProvider, FetchReason, Lease, ProviderFailure, ProviderFuture};

use crate::guard::guarded;
use crate::signal::Source;

type Answer = Result<Lease, ProviderFailure>;

/// One question under way. A panic of the provider is an answer like any other.
pub(crate) struct Question {
    fetch: u64,
    future: Option<ProviderFuture>,
    source: Arc<Source>,
    waker: Waker,
}

impl Question {
    pub(crate) fn new(
        fetch: u64,
        provider: &Arc<dyn CredentialsProvider>,
        why: FetchReason,
        source: Arc<Source>,
    ) -> Question {
        let future = guarded(|| provider.fetch(why));
        let waker = Waker::from(Arc::clone(&source));
        Question { fetch, future, source, waker }
    }

    /// Goes on; ready with the number of the question and the answer.
    pub(crate) fn poll(&mut self) -> Poll<(u64, Answer)> {
        self.source.rearm();
        let Some(future) = &mut self.future else {
            return Poll::Ready((self.fetch, Err(ProviderFailure::Panicked)));
        };
        let mut cx = Context::from_waker(&self.waker);
        match guarded(|| future.as_mut().poll(&mut cx)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(answer)) => Poll::Ready((self.fetch, answer)),
            None => Poll::Ready((self.fetch, Err(ProviderFailure::Panicked))),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let future = self.future.take();
        guarded(|| drop(future));
    }
}
