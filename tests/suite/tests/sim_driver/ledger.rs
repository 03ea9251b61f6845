//! What users were told about each message, and whether it was true.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmq_driver::{Delivery, SendError, SendReceipt};
use rocketmq_testkit::SimHandle;

/// What became of one message, as far as its user knows.
#[derive(Debug)]
pub(crate) enum Told {
    /// Acknowledged.
    Stored(Box<SendReceipt>),
    /// Handed to a socket.
    Sent,
    Failed(SendError),
    /// Nobody waited for the end.
    Dropped,
    /// The future was never polled.
    NeverPolled,
}

impl From<SendReceipt> for Told {
    fn from(receipt: SendReceipt) -> Told {
        Told::Stored(Box::new(receipt))
    }
}

/// One message. Its body is like no other.
#[derive(Debug)]
struct Entry {
    body: String,
    told: Told,
}

/// Every message of a run.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// Attempts of a message of which nothing else is known.
const ATTEMPTS_MAX: usize = 5;

impl Ledger {
    /// Notes how a message ended. What was acknowledged has to be in the store by now.
    pub(crate) fn note(&self, cx: &SimHandle, body: &str, told: Told) {
        if let Told::Stored(receipt) = &told
            && receipt.position.is_some()
        {
            let stored = cx.stored_as(receipt);
            assert_eq!(stored.body, body.as_bytes(), "{receipt:?}");
        }
        self.entries.lock().unwrap().push(Entry { body: body.to_owned(), told });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// How often each kind of end occurred.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let kind = |entry: &Entry| match &entry.told {
            Told::Stored(_) => "stored".to_owned(),
            Told::Sent => "sent".to_owned(),
            Told::Failed(error) => {
                let kind = format!("{:?}", error.kind());
                let kind = kind.split(['(', ' ']).next().unwrap_or_default();
                format!("{kind} {:?}", error.delivery())
            }
            Told::Dropped => "dropped".to_owned(),
            Told::NeverPolled => "never polled".to_owned(),
        };
        self.entries.lock().unwrap().iter().map(kind).collect()
    }

    /// Holds everything that was told against what is stored, when nothing is under way any more.
    pub(crate) fn judge(&self, cx: &SimHandle) {
        let stored = cx.stored("Orders");
        for Entry { body, told } in self.entries.lock().unwrap().iter() {
            let copies = stored.iter().filter(|stored| stored.body == body.as_bytes()).count();
            let legal = match told {
                Told::Stored(receipt) => {
                    let _ = receipt.position.map(|_| cx.stored_as(receipt));
                    1..=receipt.failed_attempts.len() + 1
                }
                // The socket had it, and the broker may have died.
                Told::Sent => 0..=1,
                Told::Failed(error) => match error.delivery() {
                    Delivery::NotSent | Delivery::Refused => 0..=0,
                    Delivery::Unknown => 0..=error.attempts().len(),
                },
                Told::Dropped => 0..=ATTEMPTS_MAX,
                Told::NeverPolled => 0..=0,
            };
            if !legal.contains(&copies) {
                cx.fail(&format!("{body} has {copies} copies, legal are {legal:?}: {told:?}"));
            }
        }
    }
}

/// Claims that something took no longer than it may: to the nanosecond.
pub(crate) fn in_time(cx: &SimHandle, what: &str, begun: Duration, limit: Duration) {
    let took = cx.now() - begun;
    if took > limit {
        cx.fail(&format!("{what} took {took:?}, it may take {limit:?}"));
    }
}
