//! Every case on smol.

use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rocketmq_smol::{Client, ClientOptions, Config, SmolRuntime};
use rocketmq_suite::conformance::{BoxFuture, Harness, Mortal};
use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::ClusterConfig;
use smol::Executor;
use smol::channel::Sender;

/// The global executor, as in most programs.
struct Smol;

impl Harness for Smol {
    type Cluster = LoopbackCluster;

    fn new(_run: u64) -> Smol {
        Smol
    }

    fn cluster(&self, config: ClusterConfig) -> LoopbackCluster {
        LoopbackCluster::start(config).expect("the loopback interface works")
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(future).detach();
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        let timer = smol::Timer::after(time);
        async move {
            timer.await;
        }
    }

    fn start(&self, options: impl Into<ClientOptions>) -> Client {
        rocketmq_smol::start(options)
    }

    fn client(&self, config: Config) -> (Client, BoxFuture) {
        let (client, driver) = Client::new(config, SmolRuntime::new(None));
        (client, Box::pin(driver))
    }

    fn mortal(&self) -> Box<dyn Mortal> {
        Box::new(Background::new())
    }
}

/// An executor that is run by a thread of its own.
struct Background {
    executor: Arc<Executor<'static>>,
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Background {
    fn new() -> Background {
        let executor = Arc::new(Executor::new());
        let (end, ended) = smol::channel::bounded(1);
        let running = Arc::clone(&executor);
        let thread = thread::spawn(move || {
            let _ = smol::block_on(running.run(ended.recv()));
        });
        Background { executor, end, thread }
    }
}

impl Mortal for Background {
    fn start(&self, config: Config) -> Client {
        rocketmq_smol::start_on(config, Arc::clone(&self.executor))
    }

    fn spawn(&self, future: BoxFuture) {
        self.executor.spawn(future).detach();
    }

    fn end(self: Box<Self>) {
        self.end.try_send(()).expect("the thread waits for it");
        self.thread.join().expect("the thread has not panicked");
        // The last handle of whoever made the executor goes here.
        drop(self.executor);
    }
}

rocketmq_suite::conformance!(Smol);
