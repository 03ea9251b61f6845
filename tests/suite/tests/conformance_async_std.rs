//! Every case on async-std.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use async_std::task::{self, JoinHandle};
use rocketmq_async_std::{AsyncStdRuntime, Client, ClientOptions, Config};
use rocketmq_suite::conformance::{BoxFuture, Harness, Mortal};
use rocketmq_testkit::LoopbackCluster;
use rocketmq_testkit::cluster::ClusterConfig;

struct AsyncStd;

impl Harness for AsyncStd {
    type Cluster = LoopbackCluster;

    fn new(_run: u64) -> AsyncStd {
        AsyncStd
    }

    fn cluster(&self, config: ClusterConfig) -> LoopbackCluster {
        LoopbackCluster::start(config).expect("the loopback interface works")
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        task::block_on(future)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        task::spawn(future);
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
        task::sleep(time)
    }

    fn start(&self, options: impl Into<ClientOptions>) -> Client {
        rocketmq_async_std::start(options)
    }

    fn client(&self, config: Config) -> (Client, BoxFuture) {
        let (client, driver) = Client::new(config, AsyncStdRuntime::new());
        (client, Box::pin(driver))
    }

    fn mortal(&self) -> Box<dyn Mortal> {
        Box::new(Tasks::default())
    }
}

/// async-std has one executor, which never ends. Its tasks can be cancelled, which drops them as
/// the end of an executor does.
#[derive(Default)]
struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Mortal for Tasks {
    fn start(&self, config: Config) -> Client {
        let (client, driver) = Client::new(config, AsyncStdRuntime::new());
        self.spawn(Box::pin(driver));
        client
    }

    fn spawn(&self, future: BoxFuture) {
        self.0.lock().unwrap().push(task::spawn(future));
    }

    fn end(self: Box<Self>) {
        for task in self.0.into_inner().unwrap() {
            // Cancels in the background.
            task::spawn(task.cancel());
        }
    }
}

rocketmq_suite::conformance!(AsyncStd);
