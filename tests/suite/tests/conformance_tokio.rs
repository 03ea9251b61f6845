//! Every case on tokio, with both of its schedulers, and what tokio alone has.

use std::future::Future;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rocketmq_suite::conformance::{BoxFuture, Harness, Mortal};
use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_tokio::{
    Client, ClientOptions, Config, Delivery, Message, SendErrorKind, SendReceipt, StartError,
    TokioRuntime,
};
use tokio::runtime::{Builder, Handle, Runtime};

fn build(mut builder: Builder) -> Runtime {
    builder.enable_all().build().expect("a runtime can be made")
}

/// Both harnesses differ in the scheduler alone.
macro_rules! harness {
    ($name:ident, $builder:expr) => {
        struct $name(Runtime);

        impl Harness for $name {
            type Cluster = LoopbackCluster;

            fn new(_run: u64) -> $name {
                $name(build($builder))
            }

            fn cluster(&self, config: ClusterConfig) -> LoopbackCluster {
                LoopbackCluster::start(config).expect("the loopback interface works")
            }

            fn block_on<F: Future>(&self, future: F) -> F::Output {
                self.0.block_on(future)
            }

            fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
                self.0.spawn(future);
            }

            fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
                tokio::time::sleep(time)
            }

            fn start(&self, options: impl Into<ClientOptions>) -> Client {
                rocketmq_tokio::start(options).expect("cases run inside of the runtime")
            }

            fn client(&self, config: Config) -> (Client, BoxFuture) {
                let runtime = TokioRuntime::new(self.0.handle().clone());
                let (client, driver) = Client::new(config, runtime);
                (client, Box::pin(driver))
            }

            fn mortal(&self) -> Box<dyn Mortal> {
                Box::new(Background::new(build($builder)))
            }
        }
    };
}

/// A runtime that is driven by a thread of its own.
struct Background {
    handle: Handle,
    end: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Background {
    fn new(runtime: Runtime) -> Background {
        let handle = runtime.handle().clone();
        let (end, ended) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        });
        Background { handle, end, thread }
    }
}

impl Mortal for Background {
    fn start(&self, config: Config) -> Client {
        rocketmq_tokio::start_on(config, &self.handle)
    }

    fn spawn(&self, future: BoxFuture) {
        self.handle.spawn(future);
    }

    fn end(self: Box<Self>) {
        self.end.send(()).expect("the thread waits for it");
        self.thread.join().expect("the thread has not panicked");
    }
}

mod multi_thread {
    use super::*;

    harness!(MultiThread, {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    });
    rocketmq_suite::conformance!(MultiThread);
}

mod current_thread {
    use super::*;

    harness!(CurrentThread, Builder::new_current_thread());
    rocketmq_suite::conformance!(CurrentThread);
}

fn cluster() -> LoopbackCluster {
    let config = ClusterConfig::new().topic("Orders", 4);
    LoopbackCluster::start(config).expect("the loopback interface works")
}

/// With a paused clock the three seconds of a send pass at once, and at their end it fails.
#[tokio::test]
async fn a_paused_clock_is_obeyed() {
    let cluster = cluster();
    let producer =
        rocketmq_tokio::producer(&cluster.name_server_addresses(), "orders").expect("works");
    producer.send(Message::new("Orders", "hello")).await.expect("sent");
    let silent = Fault::silent();
    cluster.with(|cluster| cluster.script(Node::Broker(0), Rule::sends().always(), silent));
    tokio::time::pause();
    let (real, paused) = (Instant::now(), tokio::time::Instant::now());
    let error = producer.send(Message::new("Orders", "lost")).await.expect_err("no answer");
    assert_eq!((error.kind(), error.delivery()), (&SendErrorKind::Timeout, Delivery::Unknown));
    let passed = paused.elapsed();
    let three = Duration::from_secs(3);
    assert!(passed >= three && passed < three + Duration::from_millis(100), "{passed:?}");
    assert!(error.elapsed() >= three, "{error}");
    assert!(real.elapsed() < three, "it took {:?}", real.elapsed());
    tokio::time::resume();
    cluster.with(|cluster| cluster.clear_script(Node::Broker(0)));
    producer.send(Message::new("Orders", "hello")).await.expect("sent");
}

/// A clock that is paused before the start, with nobody to talk to.
#[tokio::test(start_paused = true)]
async fn a_client_starts_with_a_paused_clock() {
    let cluster = cluster();
    cluster.with(|cluster| cluster.kill(Node::NameServer(0)));
    let producer =
        rocketmq_tokio::producer(&cluster.name_server_addresses(), "orders").expect("works");
    let real = Instant::now();
    let error = producer.send(Message::new("Orders", "lost")).await.expect_err("nobody");
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.elapsed() <= Duration::from_millis(3_100), "{error}");
    assert!(real.elapsed() < Duration::from_secs(3), "it took {:?}", real.elapsed());
}

#[test]
fn start_needs_a_runtime_around_it_and_start_on_does_not() {
    let cluster = cluster();
    let config = Config::builder(&cluster.name_server_addresses()).build().expect("works");
    assert_eq!(rocketmq_tokio::start(config.clone()).err(), Some(StartError::NoRuntime));
    let outside = rocketmq_tokio::producer(&cluster.name_server_addresses(), "orders");
    assert_eq!(outside.err(), Some(StartError::NoRuntime));
    let runtime = build(Builder::new_multi_thread());
    let client = rocketmq_tokio::start_on(config, runtime.handle());
    let producer = client.producer("orders").expect("free");
    let sent = runtime.block_on(producer.send(Message::new("Orders", "hello")));
    let SendReceipt { unique_key, .. } = sent.expect("sent");
    let stored = cluster.with(|cluster| cluster.stored_by_key(&unique_key.to_string()));
    assert_eq!(stored.len(), 1);
}
