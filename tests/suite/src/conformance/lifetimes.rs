//! Clients, drivers and runtimes that end before others do.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rocketmq_driver::{
    Client, CloseReport, Delivery, EventStream, OnewayFuture, PendingSend, Periodic, Producer,
    SendErrorKind, SendFuture, SubmitFuture,
};
use rocketmq_testkit::cluster::{Fault, Rule};

use super::scene::*;
use super::{BoxFuture, Harness, Park, Servers};

const STOPPED: SendErrorKind = SendErrorKind::DriverStopped;

/// Bytes out, waiting for room, and everything else that may be pending.
struct Pending {
    client: Client,
    producer: Producer,
    unanswered: PendingSend,
    waiting: std::pin::Pin<Box<SendFuture>>,
    flush: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Pending {
    /// With a client that has room for one message, and a broker that stores and says nothing.
    async fn new<H: Harness>(on: &H, cluster: &impl Servers, client: Client) -> Pending {
        let silent = Fault::silent_after_storing();
        cluster.with(|cluster| cluster.script(A, Rule::sends().always(), silent));
        let producer = of(&client);
        let unanswered = producer.submit(message("unanswered")).await.expect("room");
        until(on, "the broker has it", || count(cluster) == 1).await;
        let mut waiting = Box::pin(producer.send(message("waiting")));
        assert!(poll_once(waiting.as_mut()).is_none());
        let flushing = client.clone();
        let mut flush: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { flushing.flush().await });
        assert!(poll_once(flush.as_mut()).is_none());
        Pending { client, producer, unanswered, waiting, flush }
    }

    /// Everybody is answered, with the truth.
    async fn judge<H: Harness>(self, on: &H) {
        let result = promptly(on, "the unanswered send", self.unanswered).await;
        let error = failed(result, &STOPPED, Delivery::Unknown);
        assert_eq!(error.into_message(), Some(message("unanswered")));
        let result = promptly(on, "the waiting send", self.waiting).await;
        let error = failed(result, &STOPPED, Delivery::NotSent);
        assert_eq!(error.into_message(), Some(message("waiting")));
        promptly(on, "the flush", self.flush).await;
        // The driver counts while it ends, after it has answered.
        let counted = || {
            let stats = self.client.stats();
            (stats.accepted, stats.unknown, stats.not_sent) == (1, 1, 1)
        };
        until(on, "everything is counted", counted).await;
        judge_calls(on, &self.client, &self.producer).await;
    }
}

/// Calls after the end.
async fn judge_calls<H: Harness>(on: &H, client: &Client, producer: &Producer) {
    let result = promptly(on, "a later send", producer.send(message("late"))).await;
    let error = failed(result, &STOPPED, Delivery::NotSent);
    assert_eq!(error.into_message(), Some(message("late")));
    failed(producer.try_submit(message("late")), &STOPPED, Delivery::NotSent);
    let result = promptly(on, "a later submit", producer.submit(message("late"))).await;
    failed(result, &STOPPED, Delivery::NotSent);
    let result = promptly(on, "a later oneway send", producer.send_oneway(message("late"))).await;
    failed(result, &STOPPED, Delivery::NotSent);
    promptly(on, "a later flush", producer.flush()).await;
    promptly(on, "a later wait_ready", client.wait_ready(PROMPT)).await.expect_err("nobody");
    client.producer("refunds").expect_err("nobody would serve it");
    let mut events = client.events();
    let next = async { while events.next().await.is_some() {} };
    promptly(on, "the stream of events", next).await;
    let report = promptly(on, "a later close", client.close(PROMPT)).await;
    assert_eq!((report.acknowledged, report.failed), (0, 0));
    let stats = client.stats();
    assert_eq!((stats.in_flight, stats.in_flight_bytes, stats.waiting), (0, 0, 0));
}

/// The executor is dropped under a working client.
pub async fn the_end_of_the_runtime_answers_everybody<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let mortal = on.mortal();
    let client = mortal.start(build(config(&cluster).in_flight_messages_max(1)));
    let pending = Pending::new(on, &cluster, client).await;
    mortal.end();
    pending.judge(on).await;
}

/// Nothing has been sent.
pub async fn the_end_of_the_runtime_before_a_route_is_known<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    cluster.with(|cluster| cluster.stall(NAMES));
    let mortal = on.mortal();
    let client = mortal.start(build(config(&cluster).in_flight_messages_max(1)));
    let producer = of(&client);
    let mut ready = Box::pin(client.wait_ready(4 * PROMPT));
    assert!(poll_once(ready.as_mut()).is_none());
    let early = producer.submit(message("early")).await.expect("room");
    let mut waiting = Box::pin(producer.submit(message("waiting")));
    assert!(poll_once(waiting.as_mut()).is_none());
    until(on, "the driver has it", || client.stats().accepted == 1).await;
    let mut close = Box::pin(client.close(4 * PROMPT));
    let closing = poll_once(close.as_mut()).is_none();
    mortal.end();
    promptly(on, "wait_ready", ready).await.expect_err("nobody");
    let error = promptly(on, "the send", early).await.expect_err("not sent");
    assert_eq!((error.kind(), error.delivery()), (&STOPPED, Delivery::NotSent));
    promptly(on, "the waiting submit", waiting).await.expect_err("not sent");
    let report: CloseReport = promptly(on, "close", close).await;
    assert_eq!((closing, report.acknowledged, report.failed), (true, 0, 2));
    cluster.with(|cluster| cluster.resume(NAMES));
    assert!(bodies(&cluster).is_empty());
}

/// Whoever spawns the driver may drop it.
pub async fn a_dropped_driver_answers_everybody<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (client, driver) = on.client(build(config(&cluster).in_flight_messages_max(1)));
    let driver = Arc::new(Mutex::new(Some(driver)));
    on.spawn(shared(Arc::clone(&driver)));
    let pending = Pending::new(on, &cluster, client).await;
    drop(driver.lock().unwrap().take());
    pending.judge(on).await;
}

/// Polls a future that somebody else may drop.
fn shared(future: Arc<Mutex<Option<BoxFuture>>>) -> impl Future<Output = ()> + Send {
    poll_fn(move |cx| match &mut *future.lock().unwrap() {
        Some(future) => future.as_mut().poll(cx),
        None => Poll::Ready(()),
    })
}

/// Dropped before its first poll, with sends that came before.
pub async fn a_driver_that_never_ran_answers_everybody<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (client, driver) = on.client(build(config(&cluster).in_flight_messages_max(1)));
    let producer = of(&client);
    let accepted = producer.try_submit(message("accepted")).expect("room");
    let mut waiting = Box::pin(producer.send(message("waiting")));
    assert!(poll_once(waiting.as_mut()).is_none());
    let mut ready = Box::pin(client.wait_ready(PROMPT));
    assert!(poll_once(ready.as_mut()).is_none());
    drop(driver);
    failed(promptly(on, "the send", accepted).await, &STOPPED, Delivery::NotSent);
    failed(promptly(on, "the other send", waiting).await, &STOPPED, Delivery::NotSent);
    promptly(on, "wait_ready", ready).await.expect_err("nobody");
    judge_calls(on, &client, &producer).await;
}

/// The driver has not even seen what it is asked to close.
pub async fn a_driver_that_never_ran_reports_to_who_closes<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let (client, driver) = on.client(build(config(&cluster)));
    let producer = of(&client);
    let held = producer.try_submit(message("held")).expect("room");
    drop(producer.try_submit(message("unclaimed")).expect("room"));
    let mut close = Box::pin(client.close(PROMPT));
    assert!(poll_once(close.as_mut()).is_none());
    drop(driver);
    let report = promptly(on, "close", close).await;
    assert_eq!((report.acknowledged, report.failed, report.failures.len()), (0, 2, 2));
    assert!(report.failures.iter().any(|(key, _)| *key == held.unique_key()));
    failed(promptly(on, "the send", held).await, &STOPPED, Delivery::NotSent);
    let [error] = &report.unclaimed[..] else { panic!("{report:?}") };
    assert_eq!((error.kind(), error.delivery()), (&STOPPED, Delivery::NotSent));
    assert_eq!(error.message(), Some(&message("unclaimed")));
}

/// The runtime of a task that sends is not the client's.
pub async fn a_client_outlives_the_runtimes_it_is_used_from<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    for _ in 0..3 {
        let other = on.mortal();
        let before = count(&cluster);
        let theirs = producer.clone();
        other.spawn(Box::pin(async move { while theirs.send(message("theirs")).await.is_ok() {} }));
        until(on, "they have sent", || count(&cluster) > before + 5).await;
        other.end();
        fence(on, &producer).await;
    }
    idle(on, &producer).await;
}

/// A thread that knows nothing but how to park.
pub async fn handles_are_used_without_any_runtime<H: Harness>(on: &H) {
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    let theirs = producer.clone();
    let thread = on.thread(move |park| {
        let sent = park_on(park, theirs.send(message("parked")));
        let pending = park_on(park, theirs.submit(message("parked")));
        let pending = pending.map(|pending| park_on(park, pending));
        park_on(park, theirs.flush());
        (sent, pending)
    });
    let (sent, pending) = promptly(on, "the thread", thread).await;
    stored_once(&cluster, &sent.expect("sent"));
    stored_once(&cluster, &pending.expect("room").expect("sent"));
    fence(on, &producer).await;
}

fn park_on<F: Future>(park: &dyn Park, future: F) -> F::Output {
    let waker = park.waker();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        park.park();
    }
}

/// Nothing to do means no wake. Duties that come round are far away here.
pub async fn an_idle_client_is_not_polled<H: Harness>(on: &H) {
    let cluster = cluster(on, 2);
    let far = Duration::from_secs(3_600);
    let duty = Periodic { first: far, period: far };
    let quiet = config(&cluster).heartbeat(duty).route_refresh(duty).connection_idle_max(far);
    let (client, mut driver) = on.client(build(quiet));
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    on.spawn(poll_fn(move |cx| {
        counter.fetch_add(1, Ordering::Relaxed);
        driver.as_mut().poll(cx)
    }));
    let producer = of(&client);
    for result in all((0..20).map(|number| producer.send(message(number)))).await {
        result.expect("sent");
    }
    idle(on, &producer).await;
    // What follows the last answer.
    on.sleep(Duration::from_millis(100)).await;
    let before = polls.load(Ordering::Relaxed);
    on.sleep(Duration::from_millis(300)).await;
    let idle = polls.load(Ordering::Relaxed) - before;
    assert!(before > 0 && idle <= 1, "polled {idle} times with nothing to do");
    fence(on, &producer).await;
}

/// What compiles is right; sizes keep tasks that send small.
pub async fn handles_cross_threads_and_futures_are_small<H: Harness>(on: &H) {
    fn handle<T: Send + Sync + 'static>() {}
    fn future<T: Future + Send + 'static>(future: T, bytes: usize) {
        let size = size_of_val(&future);
        assert!(size <= bytes, "{} has {size} bytes", std::any::type_name::<T>());
    }
    handle::<Client>();
    handle::<Producer>();
    handle::<PendingSend>();
    handle::<EventStream>();
    handle::<SendFuture>();
    handle::<SubmitFuture>();
    handle::<OnewayFuture>();
    let cluster = cluster(on, 1);
    let producer = producer(on, config(&cluster));
    future(producer.send(message("x")), 512);
    future(producer.submit(message("x")), 512);
    future(producer.send_oneway(message("x")), 512);
    future(producer.try_submit(message("x")).expect("room"), 128);
    let (theirs, client) = (producer.clone(), producer.client());
    future(async move { theirs.send(message("x")).await }, 640);
    future(async move { client.flush().await }, 128);
}
