//! What requests are signed with, and when a provider is asked for it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hooks::{NotFramed, request_hooks};
use super::timers::{TimerId, TimerKey};
use super::{Client, Life};
use crate::config::Config;
use crate::credentials::{Credentials, FetchReason, Lease, ProviderFailure, Signing};
use crate::error::{AttemptFailure, SendErrorKind};
use crate::interceptor::SendAttempt;
use crate::limits;
use crate::output::{Event, EventSet, Output};
use crate::permission::PermissionReason;
use crate::time::Instant;
use crate::wire::{ResponseCode, sign_written};

/// What is known about the client's credentials.
#[derive(Debug)]
pub(super) struct Access {
    /// None if requests leave unsigned.
    pub(super) signing: Option<Signing>,
    /// There is a provider.
    provided: bool,
    /// Nothing leaves before the first credentials.
    awaited: bool,
    /// Questions asked; names the latest.
    fetches: u64,
    /// One is under way.
    under_way: bool,
    /// When the latest was asked.
    asked_at: Option<Instant>,
    /// Why the next one is asked.
    why: FetchReason,
    /// Failures in a row, and the latest of them.
    failures: u32,
    failure: Option<ProviderFailure>,
    /// The next one is asked, or the one under way has taken too long.
    timer: TimerId,
    timer_at: Instant,
}

impl Access {
    pub(super) fn new(config: &Config, extra: &[(String, String)]) -> Access {
        let signing = config.credentials.clone().map(|own| Signing::new(own, extra));
        let provided = config.credentials_source.is_some();
        Access {
            awaited: provided && signing.is_none(),
            signing,
            provided,
            fetches: 0,
            under_way: false,
            asked_at: None,
            why: FetchReason::Start,
            failures: 0,
            failure: None,
            timer: TimerId::NONE,
            timer_at: Instant::FAR_FUTURE,
        }
    }
}

impl Client {
    /// Signs every request with `credentials` from the next one that is written on, or none with
    /// `None`. A provider is asked on as before, and what it gives next replaces them.
    pub fn set_credentials(&mut self, now: Instant, credentials: Option<Credentials>) {
        self.advance(now);
        self.use_credentials(credentials);
    }

    /// The provider has answered the question `fetch`, or failed. Answers to others are ignored.
    pub fn handle_credentials(
        &mut self,
        now: Instant,
        fetch: u64,
        result: Result<Lease, ProviderFailure>,
    ) {
        self.advance(now);
        let expected = self.access.under_way && fetch == self.access.fetches;
        if !expected || self.life == Life::Closed {
            return;
        }
        self.fetch_of_credentials_ended(result);
    }

    /// Has the provider asked at once, if there is one.
    pub(super) fn begin_with_credentials(&mut self) {
        if self.access.provided {
            self.schedule_credentials(FetchReason::Start, self.now);
        }
    }

    /// The provider is to be asked, or has taken too long.
    pub(super) fn credentials_timeout(&mut self) {
        self.access.timer = TimerId::NONE;
        self.access.timer_at = Instant::FAR_FUTURE;
        if self.access.under_way {
            let fetch = self.access.fetches;
            self.outputs.push_back(Output::AbandonCredentials { fetch });
            return self.fetch_of_credentials_ended(Err(ProviderFailure::TimedOut));
        }
        if self.life == Life::Closed {
            return;
        }
        self.access.fetches += 1;
        self.access.under_way = true;
        self.access.asked_at = Some(self.now);
        let (fetch, why) = (self.access.fetches, self.access.why);
        self.outputs.push_back(Output::FetchCredentials { fetch, why });
        self.schedule_credentials(why, self.now + limits::CREDENTIALS_TIMEOUT);
    }

    fn fetch_of_credentials_ended(&mut self, result: Result<Lease, ProviderFailure>) {
        self.access.under_way = false;
        self.timers.cancel(&mut self.access.timer);
        self.access.timer_at = Instant::FAR_FUTURE;
        match result {
            Ok(Lease { credentials, expires_in }) => {
                (self.access.failures, self.access.failure) = (0, None);
                self.use_credentials(Some(credentials));
                self.event(EventSet::CREDENTIALS, || Event::CredentialsRefreshed { expires_in });
                if let Some(time) = expires_in {
                    let wait = (time - time / 5).max(limits::CREDENTIALS_REFRESH_MIN);
                    self.schedule_credentials(FetchReason::Expiry, self.now + wait);
                }
            }
            Err(failure) => {
                self.access.failure = Some(failure);
                let doubled = 1_u32.checked_shl(self.access.failures).unwrap_or(u32::MAX);
                self.access.failures = self.access.failures.saturating_add(1).min(16);
                let full = limits::CREDENTIALS_RETRY.saturating_mul(doubled);
                let wait = self.rng.jitter(full.min(limits::CREDENTIALS_RETRY_MAX));
                let retry_at = self.now + wait;
                self.event(EventSet::CREDENTIALS, || Event::CredentialsFailed {
                    failure,
                    retry_at,
                });
                self.schedule_credentials(FetchReason::Retry, retry_at);
            }
        }
    }

    fn use_credentials(&mut self, credentials: Option<Credentials>) {
        self.access.signing = credentials.map(|own| Signing::new(own, &self.extra_fields));
        if core::mem::take(&mut self.access.awaited) {
            // What has been held back goes now.
            for key in self.sessions.keys() {
                self.mark_dirty(crate::id::ConnId(key.to_u64()));
            }
        }
    }

    /// A server refused this client. If a provider may know better, it is asked: soon, but not
    /// more often than it can be of use.
    #[cold]
    pub(super) fn credentials_refused(&mut self, code: ResponseCode, remark: &str) {
        let refused = PermissionReason::of(code, remark).is_some_and(PermissionReason::is_identity);
        if !refused || !self.access.provided || self.access.under_way {
            return;
        }
        let earliest = self.access.asked_at.map(|at| at + limits::CREDENTIALS_REFUSED_MIN);
        let at = earliest.map_or(self.now, |at| at.max(self.now));
        if at < self.access.timer_at {
            self.schedule_credentials(FetchReason::Refused, at);
        }
    }

    fn schedule_credentials(&mut self, why: FetchReason, at: Instant) {
        self.timers.cancel(&mut self.access.timer);
        self.access.why = why;
        self.access.timer_at = at;
        self.access.timer = self.timers.schedule(at, TimerKey::Credentials);
    }

    /// Whether a provider is there whose answers may have to be asked for again.
    #[inline]
    pub(super) fn has_provider(&self) -> bool {
        self.access.provided
    }

    /// Why nothing may leave yet, if that is so.
    pub(super) fn credentials_awaited(&self) -> Option<ProviderFailure> {
        let failure = self.access.failure.unwrap_or(ProviderFailure::TimedOut);
        self.access.awaited.then_some(failure)
    }

    /// The refusal among what the name servers said: a proxy that stands in for one checks who
    /// asks.
    pub(super) fn denial_among<'a>(
        failures: impl IntoIterator<Item = &'a AttemptFailure>,
    ) -> Option<SendErrorKind> {
        failures.into_iter().find_map(|failure| match failure {
            AttemptFailure::Answered { code, remark } => {
                let reason = PermissionReason::of(*code, remark)?;
                let remark = remark.clone();
                Some(SendErrorKind::PermissionDenied { reason, code: *code, remark })
            }
            _ => None,
        })
    }
}

/// Completes the frame of a request that begins at `start`: with the fields of interceptors, and
/// last the signature. `body` is what follows the frame, if it holds no body itself.
#[cold]
pub(super) fn complete_frame(
    config: &Config,
    signing: Option<&Signing>,
    address: &Arc<str>,
    send: Option<SendAttempt>,
    out: &mut Vec<u8>,
    start: usize,
    body: &[u8],
) -> Result<(), NotFramed> {
    if !config.interceptors.is_empty() {
        request_hooks(config, signing.is_some(), address, send, out, start, body)?;
    }
    match signing {
        Some(signing) => Ok(sign_written(out, start, &signing.credentials, body)?),
        None => Ok(()),
    }
}
