//! How sends ended: for machines, for people, and summed up.

use rocketmq_tokio::{
    Delivery, OnewayReceipt, SendError, SendErrorKind, SendReceipt, SendStatus, TransactionError,
};

pub(crate) mod failure;
pub(crate) mod json;
pub(crate) mod stored;
pub(crate) mod summary;

/// How one send ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With an acknowledgement.
    Stored(SendReceipt),
    /// Handed to a socket, which is all that a oneway send asks for.
    Sent(OnewayReceipt),
    /// Without an acknowledgement.
    Failed(SendError),
    /// As a transaction that was begun, and whose end was not acknowledged.
    NotDecided(SendReceipt, TransactionError),
}

/// The same in one word.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    AcknowledgedWeak,
    AcknowledgedNoReceipt,
    Sent,
    Refused,
    NotSent,
    Unknown,
    Invalid,
}

impl Outcome {
    /// That of a failure.
    pub(crate) fn of(error: &SendError) -> Outcome {
        match (error.kind(), error.delivery()) {
            (SendErrorKind::Invalid(_) | SendErrorKind::InvalidBatch(_), _) => Outcome::Invalid,
            (_, delivery) => delivery.into(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Acknowledged => "acknowledged",
            Outcome::AcknowledgedWeak => "acknowledged_weak",
            Outcome::AcknowledgedNoReceipt => "acknowledged_no_receipt",
            Outcome::Sent => "sent",
            Outcome::Refused => "refused",
            Outcome::NotSent => "not_sent",
            Outcome::Unknown => "unknown",
            Outcome::Invalid => "invalid",
        }
    }
}

impl Ended {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Ended::Stored(receipt) if receipt.status != SendStatus::SendOk => {
                Outcome::AcknowledgedWeak
            }
            Ended::Stored(receipt) if receipt.position.is_none() => Outcome::AcknowledgedNoReceipt,
            Ended::Stored(_) => Outcome::Acknowledged,
            Ended::Sent(_) => Outcome::Sent,
            Ended::Failed(error) => Outcome::of(error),
            Ended::NotDecided(_, error) => error.delivery().into(),
        }
    }
}

impl From<Delivery> for Outcome {
    fn from(delivery: Delivery) -> Outcome {
        match delivery {
            Delivery::NotSent => Outcome::NotSent,
            Delivery::Refused => Outcome::Refused,
            Delivery::Unknown => Outcome::Unknown,
        }
    }
}
