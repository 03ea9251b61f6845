//! Transactions: what they are decided as, what brokers ask about them, and what can go wrong when
//! they end.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::error::{AttemptFailure, Delivery};
use crate::limits;
use crate::permission::PermissionReason;
use crate::wire::{ResponseCode, StoredMessage, UniqueKey};

/// How a transaction ends: the message is delivered, or it never is.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// The message is delivered.
    Commit,
    /// The message is never delivered.
    Rollback,
}

impl Decision {
    /// In lower case, as in machine-readable output.
    pub const fn name(self) -> &'static str {
        match self {
            Decision::Commit => "commit",
            Decision::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a transaction when a broker asks.
// Java: LocalTransactionState
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum TransactionState {
    /// The local work is done: the message is to be delivered.
    Commit,
    /// The local work was not done: the message is never to be delivered.
    Rollback,
    /// Not known yet. The broker asks again later, and gives the message up in the end.
    Undecided,
}

impl TransactionState {
    /// As requests have it.
    // Java: MessageSysFlag#TRANSACTION_COMMIT_TYPE, #TRANSACTION_ROLLBACK_TYPE,
    // #TRANSACTION_NOT_TYPE
    pub(crate) const fn code(self) -> &'static str {
        match self {
            TransactionState::Commit => "8",
            TransactionState::Rollback => "12",
            TransactionState::Undecided => "0",
        }
    }

    /// The decision, if there is one.
    pub const fn decision(self) -> Option<Decision> {
        match self {
            TransactionState::Commit => Some(Decision::Commit),
            TransactionState::Rollback => Some(Decision::Rollback),
            TransactionState::Undecided => None,
        }
    }
}

impl From<Decision> for TransactionState {
    fn from(decision: Decision) -> TransactionState {
        match decision {
            Decision::Commit => TransactionState::Commit,
            Decision::Rollback => TransactionState::Rollback,
        }
    }
}

/// Names a check while it is open, for [`Client::answer_check`](crate::Client::answer_check).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CheckId(pub(crate) u64);

/// A broker asks about a transaction that this client knows nothing of: another process of the
/// group has begun it, or this one before it was started again, or its value was dropped.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TransactionCheck {
    /// The address of the broker.
    pub address: Arc<str>,
    /// The transaction's id: the unique key of its message.
    pub transaction_id: Box<str>,
    /// The message. Its places are those of the broker's working copy.
    pub message: StoredMessage,
}

/// What became of a broker's question about a transaction.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// Answered with what this client remembers, because the broker has not acknowledged it.
    Remembered(Decision),
    /// Answered as undecided: the local work is under way.
    UnderWay,
    /// Not answered: the broker has acknowledged the decision, or may have got it just now.
    Settled,
    /// Rolled back: a copy of a half message that an attempt has left behind whose fate was
    /// unknown. The transaction has another one.
    Leftover,
    /// The application is asked, when it is its turn.
    Asked,
    /// Answered with what the application says.
    Answered(TransactionState),
    /// Answered as undecided: the application took too long.
    Late,
    /// Answered as undecided: [`limits::CHECKS_MAX`] are open.
    TooMany,
    /// Not answered: no producer of the group is registered here, or the client closes.
    NotServed,
}

/// Settings of transactions.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransactionSettings {
    /// For how long a decision is remembered, to answer brokers that ask about it; longer than they
    /// ask. Those of 4.x ask for up to 15 minutes with their own settings
    /// (`transactionCheckInterval` times `transactionCheckMax`), those of 5.x for half of that.
    pub memory: Duration,
    /// Time after a decision has left in which the broker's questions about it are not answered: it
    /// may have got it and not have noted it yet, and every commit that it gets delivers one more
    /// copy. Longer than brokers of 5.x take to note (`transactionOpBatchInterval`, 3 s).
    pub settle: Duration,
    /// Time that the application has to answer the question of a broker, and that a question waits
    /// for its turn at most; then the answer is "undecided", and the broker asks again.
    pub check_timeout: Duration,
}

impl TransactionSettings {
    /// [`limits::TRANSACTION_MEMORY`], [`limits::DECISION_SETTLE`] and [`limits::CHECK_TIMEOUT`].
    pub const DEFAULT: TransactionSettings = TransactionSettings {
        memory: limits::TRANSACTION_MEMORY,
        settle: limits::DECISION_SETTLE,
        check_timeout: limits::CHECK_TIMEOUT,
    };

    /// With this memory.
    #[must_use]
    pub const fn with_memory(mut self, memory: Duration) -> TransactionSettings {
        self.memory = memory;
        self
    }

    /// With this much time before questions about a decision are answered.
    #[must_use]
    pub const fn with_settle(mut self, settle: Duration) -> TransactionSettings {
        self.settle = settle;
        self
    }

    /// With this much time for the answer to a check.
    #[must_use]
    pub const fn with_check_timeout(mut self, timeout: Duration) -> TransactionSettings {
        self.check_timeout = timeout;
        self
    }
}

/// A decision that the broker has not acknowledged. It stands all the same: the broker asks about
/// it by and by, and this client answers, as long as it runs and
/// [`TransactionSettings::memory`] lasts. After that the application is asked.
#[derive(Clone, PartialEq, Debug)]
pub struct TransactionError(Box<Failure>);

#[derive(Clone, PartialEq, Debug)]
struct Failure {
    decision: Decision,
    unique_key: UniqueKey,
    kind: TransactionErrorKind,
    delivery: Delivery,
    broker_name: Arc<str>,
    address: Arc<str>,
    elapsed: Duration,
}

/// Why a decision was not acknowledged.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionErrorKind {
    /// There was no answer.
    #[error("{0}")]
    Lost(AttemptFailure),
    /// The broker answered with something else than success.
    #[error("the broker answered {code}: {remark}")]
    Refused {
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The broker refused the client: unknown key, wrong signature or missing permission.
    #[error("permission denied, {code}: {remark}; {reason}")]
    PermissionDenied {
        /// What the broker has against the client.
        reason: PermissionReason,
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The transaction is not under way in this client: it has been decided before, or forgotten
    /// when the client closed.
    #[error("the transaction is not under way")]
    NotUnderWay,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The client's driver has ended: its runtime was shut down, or it panicked.
    #[error("the client's driver has ended, perhaps with its runtime")]
    DriverStopped,
}

impl TransactionErrorKind {
    /// In lower case, as in machine-readable output.
    pub const fn name(&self) -> &'static str {
        match self {
            TransactionErrorKind::Lost(_) => "lost",
            TransactionErrorKind::Refused { .. } => "refused",
            TransactionErrorKind::PermissionDenied { .. } => "permission_denied",
            TransactionErrorKind::NotUnderWay => "not_under_way",
            TransactionErrorKind::Closed => "closed",
            TransactionErrorKind::DriverStopped => "driver_stopped",
        }
    }

    /// The broker's answer, if there was one.
    pub const fn code(&self) -> Option<i32> {
        match self {
            TransactionErrorKind::Refused { code, .. }
            | TransactionErrorKind::PermissionDenied { code, .. } => Some(code.0),
            _ => None,
        }
    }
}

impl TransactionError {
    /// An error of which nothing but the reason is known.
    pub fn new(
        decision: Decision,
        unique_key: UniqueKey,
        kind: TransactionErrorKind,
        delivery: Delivery,
    ) -> TransactionError {
        let (broker_name, address) = (Arc::default(), Arc::default());
        let elapsed = Duration::ZERO;
        TransactionError(Box::new(Failure {
            decision,
            unique_key,
            kind,
            delivery,
            broker_name,
            address,
            elapsed,
        }))
    }

    /// The same error with another reason.
    #[must_use]
    pub fn with_kind(mut self, kind: TransactionErrorKind) -> TransactionError {
        self.0.kind = kind;
        self
    }

    pub(crate) fn at(mut self, broker: &Arc<str>, address: &Arc<str>, elapsed: Duration) -> Self {
        self.0.broker_name = Arc::clone(broker);
        self.0.address = Arc::clone(address);
        self.0.elapsed = elapsed;
        self
    }

    /// What was decided.
    pub fn decision(&self) -> Decision {
        self.0.decision
    }

    /// The transaction's id: the unique key of its message.
    pub fn unique_key(&self) -> UniqueKey {
        self.0.unique_key
    }

    /// What went wrong.
    pub fn kind(&self) -> &TransactionErrorKind {
        &self.0.kind
    }

    /// Whether the broker may have taken the decision in: with
    /// [`Unknown`](Delivery::Unknown) it may.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The broker that has the half message; empty if nobody was asked.
    pub fn broker_name(&self) -> &str {
        &self.0.broker_name
    }

    /// The address that was used; empty if nobody was asked.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Time from the call to its end.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { decision, unique_key, kind, delivery, broker_name, address, elapsed } =
            &*self.0;
        write!(f, "{decision} of transaction {unique_key}: {kind}")?;
        if !broker_name.is_empty() {
            write!(f, "; broker \"{broker_name}\" at {address}, after {elapsed:?}")?;
        }
        f.write_str(match delivery {
            Delivery::NotSent => "; it was not sent",
            Delivery::Refused => "; it was refused",
            Delivery::Unknown => "; it may have been taken in",
        })?;
        match kind {
            TransactionErrorKind::NotUnderWay => Ok(()),
            TransactionErrorKind::Closed | TransactionErrorKind::DriverStopped => {
                f.write_str("; the broker will ask another process of the group")
            }
            _ => write!(f, "; do not repeat it: the broker will ask, and is told {decision} then"),
        }
    }
}

impl core::error::Error for TransactionError {}
