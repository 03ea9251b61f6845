//! Interceptors of the application, and the numbers that it can ask for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{
    AttemptOutcome, Delivery, Event, Forbidden, Histogram, Hook, Interceptor, InvalidMessage,
    RequestContext, ResponseContext, SendContext, SendErrorKind,
};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{Harness, Servers};

/// Does what the body of the message says, and counts attempts.
#[derive(Default)]
struct Obedient {
    /// Begun and ended.
    attempts: Mutex<(u32, u32)>,
}

/// How the injected panics are told from others.
const PANIC: &str = "asked for by the case";

impl Obedient {
    fn obey(&self, body: &[u8], hook: Hook) {
        assert!(body != hook.to_string().as_bytes(), "{PANIC}");
    }
}

impl Interceptor for Obedient {
    fn check_forbidden(&self, context: &SendContext<'_>) -> Result<(), Forbidden> {
        self.obey(context.body, Hook::CheckForbidden);
        if context.body == "forbidden" { Err(Forbidden::new("as it says")) } else { Ok(()) }
    }

    fn before_send(&self, context: &SendContext<'_>) {
        self.attempts.lock().unwrap().0 += 1;
        self.obey(context.body, Hook::BeforeSend);
    }

    fn after_send(&self, context: &SendContext<'_>, outcome: &AttemptOutcome<'_>) {
        self.attempts.lock().unwrap().1 += 1;
        self.obey(context.body, Hook::AfterSend);
        if let AttemptOutcome::Stored(receipt) = outcome {
            assert_eq!(receipt.unique_key, context.unique_key);
        }
    }

    fn request(&self, request: &mut RequestContext<'_>) {
        request.add_field("Zone", "north").expect("it is new");
        let body = request.body().to_vec();
        self.obey(&body, Hook::Request);
    }

    fn response(&self, response: &ResponseContext<'_>) {
        assert!(response.remark != Hook::Response.to_string(), "{PANIC}");
    }
}

/// A panic or a refusal costs the send that it is about, and nothing else.
pub async fn interceptors_that_panic_or_refuse_cost_their_own_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let interceptor = Arc::new(Obedient::default());
    let config = config(&cluster).interceptor(Arc::clone(&interceptor) as Arc<dyn Interceptor>);
    let producer = producer(on, config);
    let mut events = producer.client().events();
    fence(on, &producer).await;
    for hook in [Hook::CheckForbidden, Hook::BeforeSend, Hook::Request] {
        let others = (0..10).map(|number| producer.submit(message(number)));
        let others = all(others).await;
        let result = producer.send(message(hook)).await;
        let error = failed(result, &SendErrorKind::InterceptorPanicked, Delivery::NotSent);
        assert_eq!(error.into_message(), Some(message(hook)));
        for pending in others {
            let receipt = pending.expect("room").await.expect("sent");
            stored_once(&cluster, &receipt);
        }
    }
    let receipt = producer.send(message(Hook::AfterSend)).await.expect("sent all the same");
    stored_once(&cluster, &receipt);
    let remark = Hook::Response.to_string();
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::answer(14, remark)));
    let receipt = producer.send(message("again")).await.expect("sent by another attempt");
    assert_eq!(receipt.failed_attempts.len(), 1);
    let error = producer.send(message("forbidden")).await.expect_err("forbidden");
    let kind = SendErrorKind::Invalid(InvalidMessage::Forbidden(Forbidden::new("as it says")));
    assert_eq!((error.kind(), error.delivery()), (&kind, Delivery::NotSent));
    producer.send_oneway(message("oneway")).await.expect("the socket has it");
    idle(on, &producer).await;
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::InterceptorPanicked { hook, unique_key } = event {
            assert!(unique_key.is_some());
            told.push(hook);
        }
    }
    let expected =
        [Hook::CheckForbidden, Hook::BeforeSend, Hook::Request, Hook::AfterSend, Hook::Response];
    assert_eq!(told, expected);
    let (begun, ended) = *interceptor.attempts.lock().unwrap();
    assert!(begun == ended && begun > 36, "{begun} {ended}");
    let zones = |cluster: &rocketmq_testkit::cluster::Cluster| {
        cluster.frames().iter().all(|frame| frame.ext.get("Zone") == Some("north"))
    };
    assert!(cluster.with(|cluster| zones(cluster)), "in every request of every kind");
}

/// Also when the driver is dropped with attempts under way.
pub async fn interceptors_hear_of_attempts_that_a_dropped_driver_leaves<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let interceptor = Arc::new(Obedient::default());
    let config = config(&cluster).interceptor(Arc::clone(&interceptor) as Arc<dyn Interceptor>);
    let (client, mut driver) = on.client(build(config));
    let producer = of(&client);
    cluster.with(|cluster| cluster.script(A, Rule::sends().always(), Fault::silent()));
    let pending = producer.try_submit(message("lost")).expect("room");
    let stored = async {
        until(on, "it is with the broker", || {
            let _ = poll_once(driver.as_mut());
            cluster.with(|cluster| !cluster.frames_of(A, 310).is_empty())
        })
        .await;
    };
    promptly(on, "the send", stored).await;
    assert_eq!(*interceptor.attempts.lock().unwrap(), (1, 0));
    drop(driver);
    let error = pending.await.expect_err("the driver is gone");
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(*interceptor.attempts.lock().unwrap(), (1, 1));
}

/// Acknowledged sends and no others, as long as their receipts say.
pub async fn the_histogram_holds_the_latency_of_every_stored_send<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let mut expected = Histogram::new();
    for number in 0..20 {
        if number % 5 == 0 {
            let slow = Fault::delay(Duration::from_millis(30));
            cluster.with(|cluster| cluster.script(A, Rule::sends(), slow));
        }
        let receipt = producer.send(message(number)).await.expect("sent");
        expected.record(receipt.elapsed);
    }
    cluster.with(|cluster| cluster.script(A, Rule::sends(), Fault::answer(13, "no")));
    producer.send(message("refused")).await.expect_err("refused");
    producer.send_oneway(message("oneway")).await.expect("the socket has it");
    idle(on, &producer).await;
    let latency = producer.client().stats().latency;
    assert_eq!(latency, expected);
    assert!(latency.quantile(0.95) >= Some(Duration::from_millis(30)), "{latency:?}");
}
