//! Counts attempts and adds a field to every request. An interceptor that signs requests would read
//! all fields and the body, and add its signature in the same place.
//!
//! Needs no broker: without the environment variable `NAMESRV_ADDR` it starts a small cluster in
//! this process.

mod support;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocketmq_tokio::{AttemptOutcome, Config, Interceptor, Message, RequestContext, SendContext};

#[derive(Default)]
struct Meter {
    attempts: AtomicU64,
    not_stored: AtomicU64,
    bytes: AtomicU64,
}

impl Interceptor for Meter {
    fn after_send(&self, _context: &SendContext<'_>, outcome: &AttemptOutcome<'_>) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, AttemptOutcome::Failed(_)) {
            self.not_stored.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn request(&self, request: &mut RequestContext<'_>) {
        self.bytes.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        // The one way in which this fails is a frame that would be too long.
        let _ = request.add_field("Tenant", "east");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers = support::Servers::new()?;
    run(servers.name_servers()).await
}

pub(crate) async fn run(name_servers: &str) -> Result<(), Box<dyn Error>> {
    let meter = Arc::new(Meter::default());
    let watching: Arc<dyn Interceptor> = Arc::<Meter>::clone(&meter);
    let config = Config::builder(name_servers).interceptor(watching).build()?;
    let client = rocketmq_tokio::start(config)?;
    let producer = client.producer("example")?;
    for number in 0..10 {
        producer.send(Message::new("TopicTest", format!("hello {number}"))).await?;
    }
    client.close(Duration::from_secs(3)).await;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("{} attempts, {} failed", count(&meter.attempts), count(&meter.not_stored));
    println!("{} bytes in the bodies of all requests", count(&meter.bytes));
    Ok(())
}
