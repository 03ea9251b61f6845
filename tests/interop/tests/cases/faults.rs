//! Servers that are killed, stalled and restarted while messages are sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rocketmq_interop::{Comparison, Context, Result, Sent};
use rocketmq_tokio::{Message, Producer};

use super::{NamedCase, Setting, expect, told};

pub(super) const CASES: &[NamedCase] = &[
    ("broker killed and restarted", broker_killed),
    ("broker stalled for 5 s", broker_stalled),
    ("name server restarted", name_server_restarted),
];

/// Sends in rounds of 16 until told to stop, about 1,500 messages a second.
async fn load(producer: &Producer, topic: &str, stop: &AtomicBool) -> Vec<Sent> {
    let mut all = Vec::new();
    let limit = Instant::now() + Duration::from_secs(60);
    while !stop.load(Ordering::Relaxed) && Instant::now() < limit {
        let mut round = Vec::new();
        for _ in 0..16 {
            let body = format!("message {}", all.len() + round.len());
            let message = Message::new(topic.to_owned(), body).with_tag("load");
            round.push((message.clone(), producer.submit(message).await));
        }
        for (message, submitted) in round {
            let result = match submitted {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            all.push(told(&message, result));
        }
        // The driver is on other threads, so that this pause holds nothing up.
        std::thread::sleep(Duration::from_millis(10));
    }
    all
}

/// Runs the load while `happen` does something to the servers.
fn under_load(
    context: &Context,
    setting: Setting,
    label: &str,
    happen: impl FnOnce() -> Result<()> + Send,
) -> Result<Comparison> {
    let topic = context.topic(label);
    context.servers.create_topic(&topic, 4)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let happening = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            let result = happen();
            std::thread::sleep(Duration::from_millis(1_500));
            stop.store(true, Ordering::Relaxed);
            result
        });
        let comparison = setting.check(context, setting.config(context), &[&topic], async |p| {
            load(p, &topic, &stop).await
        })?;
        happening.join().map_err(|_| "the fault panicked".to_owned())??;
        expect(comparison.acknowledged > 200, || format!("{comparison:?}"))?;
        // With a second broker at hand no send has a reason to fail.
        let failed = comparison.refused + comparison.not_sent + comparison.unknown;
        expect(failed == 0, || format!("{failed} sends failed: {comparison:?}"))?;
        Ok(comparison)
    })
}

fn broker_killed(context: &Context, setting: Setting) -> Result<Comparison> {
    under_load(context, setting, "killed", || {
        context.servers.kill_broker(0);
        std::thread::sleep(Duration::from_millis(1_000));
        context.servers.restart_broker(0)
    })
}

fn broker_stalled(context: &Context, setting: Setting) -> Result<Comparison> {
    under_load(context, setting, "stalled", || {
        context.servers.stall_broker(1)?;
        std::thread::sleep(Duration::from_secs(5));
        context.servers.resume_broker(1)
    })
}

fn name_server_restarted(context: &Context, setting: Setting) -> Result<Comparison> {
    under_load(context, setting, "name-server", || {
        context.servers.kill_name_server();
        std::thread::sleep(Duration::from_millis(500));
        context.servers.restart_name_server()
    })
}
