//! Events of the core as `tracing` events. Levels go by meaning: `warn` for what a person may have
//! to look at, `info` for changes of state, `debug` for single attempts.

use rocketmq_core::{Event, SendError};
use tracing::{debug, info, warn};

const SYSTEM: &str = "rocketmq";

/// Emits one event of the core.
pub(crate) fn event(event: &Event) {
    match event {
        Event::Connected { address, .. } => {
            info!(messaging.system = SYSTEM, server.address = %address, "connected");
        }
        Event::ConnectFailed { address, failure, .. } => {
            warn!(messaging.system = SYSTEM, server.address = %address, %failure, "connect failed");
        }
        Event::Disconnected { address, reason, .. } => {
            info!(messaging.system = SYSTEM, server.address = %address, %reason, "disconnected");
        }
        Event::RouteChanged { topic, brokers, queues } => info!(
            messaging.system = SYSTEM,
            messaging.destination.name = %topic,
            brokers,
            queues,
            "route changed"
        ),
        Event::RouteFailed { topic, address, failure } => warn!(
            messaging.system = SYSTEM,
            messaging.destination.name = %topic,
            server.address = %address,
            %failure,
            "route look-up failed"
        ),
        Event::AttemptStarted { op, number, broker_name, queue_id } => debug!(
            messaging.system = SYSTEM,
            messaging.operation.name = "send",
            messaging.destination.partition.id = queue_id,
            broker = %broker_name,
            %op,
            attempt = number,
            "attempt started"
        ),
        Event::AttemptFailed { op, number, broker_name, failure, retry_at } => debug!(
            messaging.system = SYSTEM,
            messaging.operation.name = "send",
            broker = %broker_name,
            %op,
            attempt = number,
            %failure,
            again = retry_at.is_some(),
            "attempt failed"
        ),
        other => debug!(messaging.system = SYSTEM, event = ?other, "client event"),
    }
}

/// Emits the failure of a whole send. Neither body nor properties appear.
pub(crate) fn failure(error: &SendError) {
    warn!(
        messaging.system = SYSTEM,
        messaging.operation.name = "send",
        messaging.destination.name = error.topic(),
        messaging.message.id = error.unique_key().map(tracing::field::display),
        delivery = ?error.delivery(),
        %error,
        "send failed"
    );
}
