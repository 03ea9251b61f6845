//! Providers of credentials in virtual time: how often they are asked, and what it costs when they
//! do not answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    Client, ConfigBuilder, Credentials, Event, FetchReason, Lease, PermissionReason,
    ProviderFailure, SendErrorKind,
};
use rocketmq_testkit::cluster::{AccessControl, ClusterConfig};
use rocketmq_testkit::{Sim, SimHandle};

use crate::message;

const SECRET: &str = "hush~12345678";

fn users(secret: &str) -> AccessControl {
    AccessControl::new().producer("shop", secret, ["Orders"])
}

fn servers() -> ClusterConfig {
    ClusterConfig::new().brokers(2).topic("Orders", 4).access(users(SECRET))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a vault says; nothing for no answer at all.
type Answer = Option<Result<Lease, ProviderFailure>>;

/// Answers in turn, and notes when it was asked, and why.
#[derive(Clone)]
struct Vault {
    asked: Arc<Mutex<Vec<(u64, FetchReason)>>>,
    /// What it says next, the last for ever.
    says: Arc<Mutex<Vec<Answer>>>,
}

impl Vault {
    fn new(says: impl IntoIterator<Item = Answer>) -> Vault {
        Vault { asked: Arc::default(), says: Arc::new(Mutex::new(says.into_iter().collect())) }
    }

    fn start(&self, cx: &SimHandle, config: ConfigBuilder) -> Client {
        let (vault, clock) = (self.clone(), cx.clone());
        let provider = move |why: FetchReason| {
            vault.asked.lock().unwrap().push((clock.now().as_millis() as u64, why));
            let mut says = vault.says.lock().unwrap();
            let next = if says.len() > 1 { says.remove(0) } else { says[0].clone() };
            async move {
                match next {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        };
        cx.start(config.credentials_provider(provider).build().unwrap())
    }

    /// When it was asked, in whole seconds.
    fn asked(&self) -> Vec<(u64, FetchReason)> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(ms, why)| (ms / 1_000, *why)).collect()
    }
}

fn lease(secret: &str) -> Answer {
    Some(Ok(Lease::new(Credentials::new("shop", secret).unwrap())))
}

fn expiring(secret: &str, time: Duration) -> Answer {
    Some(Ok(Lease::new(Credentials::new("shop", secret).unwrap()).expires_in(time)))
}

/// Thousands of refusals are one question, and the next comes ten seconds after the last.
#[test]
fn a_provider_is_asked_for_refusals_every_ten_seconds_at_most() {
    Sim::new(1, servers()).run(async |cx| {
        let vault = Vault::new([lease("wrong"), lease("wrong"), lease(SECRET)]);
        let client = vault.start(&cx, cx.config());
        let producer = client.producer("shop").unwrap();
        let mut sent_at = None;
        while sent_at.is_none() && cx.now() < seconds(60) {
            for _ in 0..20 {
                match producer.send(message("m")).await {
                    Ok(_) => sent_at = sent_at.or(Some(cx.now().as_secs())),
                    Err(error) => {
                        let SendErrorKind::PermissionDenied { reason, .. } = error.kind() else {
                            panic!("{error}");
                        };
                        assert_eq!(*reason, PermissionReason::WrongSecret);
                        assert_eq!(error.attempts().len(), 1, "{error}");
                    }
                }
            }
            cx.sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(sent_at, Some(20));
        use FetchReason::{Refused, Start};
        assert_eq!(vault.asked(), [(0, Start), (10, Refused), (20, Refused)]);
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// A permission that is missing is nothing that other credentials of the same kind would mend.
#[test]
fn a_missing_permission_asks_no_provider() {
    let nothing = AccessControl::new().producer("shop", SECRET, ["Other"]);
    Sim::new(1, servers().access(nothing)).run(async |cx| {
        let vault = Vault::new([lease(SECRET)]);
        let client = vault.start(&cx, cx.config());
        let producer = client.producer("shop").unwrap();
        for _ in 0..30 {
            let error = producer.send(message("m")).await.unwrap_err();
            assert!(matches!(error.kind(), SendErrorKind::PermissionDenied { .. }), "{error}");
            cx.sleep(seconds(1)).await;
        }
        assert_eq!(vault.asked().len(), 1);
    });
}

/// At four fifths of the time; what is short-lived is not asked for without end.
#[test]
fn credentials_are_fetched_before_they_expire() {
    Sim::new(1, servers()).run(async |cx| {
        let says = [
            expiring(SECRET, seconds(100)),
            expiring(SECRET, seconds(10)),
            expiring(SECRET, Duration::ZERO),
            lease(SECRET),
        ];
        let vault = Vault::new(says);
        let client = vault.start(&cx, cx.config());
        cx.sleep(seconds(300)).await;
        use FetchReason::{Expiry, Start};
        assert_eq!(vault.asked(), [(0, Start), (80, Expiry), (88, Expiry), (89, Expiry)]);
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// The old credentials serve while nothing better comes, even beyond their time.
#[test]
fn a_provider_that_fails_later_costs_no_send() {
    Sim::new(1, servers()).run(async |cx| {
        let sealed = ProviderFailure::Failed("the vault is sealed");
        let vault = Vault::new([expiring(SECRET, seconds(10)), Some(Err(sealed))]);
        let client = vault.start(&cx, cx.config());
        let mut events = client.events();
        let producer = client.producer("shop").unwrap();
        for _ in 0..200 {
            producer.send(message("m")).await.expect("sent with what there is");
            cx.sleep(seconds(1)).await;
        }
        let asked = vault.asked();
        // After 8 s, then 1, 2, 4, … 60 s later at most and half of that at least.
        let waits: Vec<u64> = asked[1..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        for (number, wait) in waits.iter().enumerate() {
            let full = (1_u64 << number).min(60);
            assert!((full / 2..=full + 1).contains(wait), "{asked:?}");
        }
        assert!(waits.len() >= 6, "{asked:?}");
        let mut failures = 0;
        while let Some(event) = events.try_next() {
            if let Event::CredentialsFailed { failure, .. } = event {
                assert_eq!(failure, sealed);
                failures += 1;
            }
        }
        assert_eq!(failures, asked.len() - 1);
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// What has waited leaves as soon as there are credentials, with no other cause.
#[test]
fn a_send_that_waits_leaves_with_the_first_credentials() {
    Sim::new(1, servers()).run(async |cx| {
        let clock = cx.clone();
        let provider = move |_why: FetchReason| {
            let clock = clock.clone();
            async move {
                clock.sleep(seconds(1)).await;
                lease(SECRET).expect("an answer")
            }
        };
        let client = cx.start(cx.config().credentials_provider(provider).build().unwrap());
        let producer = client.producer("shop").unwrap();
        producer.send(message("early")).await.expect("sent");
        let late = cx.now() - seconds(1);
        assert!(late < Duration::from_millis(100), "{late:?} after the credentials");
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// Given up after half a minute; a client that ends takes its question along.
#[test]
fn a_question_without_answer_is_given_up() {
    Sim::new(1, servers()).run(async |cx| {
        let vault = Vault::new([None, None, lease(SECRET)]);
        let client = vault.start(&cx, cx.config());
        let mut events = client.events();
        let producer = client.producer("shop").unwrap();
        let error = producer.send(message("early")).await.unwrap_err();
        let kind = SendErrorKind::NoCredentials(ProviderFailure::TimedOut);
        assert_eq!(*error.kind(), kind, "{error}");
        assert_eq!(cx.now(), seconds(3), "its own time");
        cx.sleep(seconds(70)).await;
        let asked = vault.asked();
        let whys: Vec<_> = asked.iter().map(|(_, why)| *why).collect();
        assert_eq!(whys, [FetchReason::Start, FetchReason::Retry, FetchReason::Retry]);
        assert!((30..=31).contains(&asked[1].0) && (61..=63).contains(&asked[2].0), "{asked:?}");
        producer.send(message("late")).await.expect("sent");
        let failure = |event| match event {
            Event::CredentialsFailed { failure, .. } => Some(failure),
            _ => None,
        };
        let failed: Vec<_> = std::iter::from_fn(|| events.try_next()).filter_map(failure).collect();
        assert_eq!(failed, [ProviderFailure::TimedOut; 2]);
        client.close(seconds(1)).await;
        cx.assert_nothing_left();
    });
}

/// Closing does not wait for a provider.
#[test]
fn a_client_without_credentials_closes_at_once() {
    Sim::new(1, servers()).run(async |cx| {
        let vault = Vault::new([None]);
        let client = vault.start(&cx, cx.config());
        let producer = client.producer("shop").unwrap();
        cx.sleep(seconds(1)).await;
        let before = cx.now();
        client.close(seconds(5)).await;
        assert!(cx.now() - before < Duration::from_millis(10), "{:?}", cx.now() - before);
        drop(producer);
        cx.assert_nothing_left();
    });
}
