//! The mistakes, and which of them is made.

use core::sync::atomic::{AtomicUsize, Ordering};

/// One more than the place of the chosen one in [`Bug::ALL`]; 0 for none.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Chooses the mistake that every client of this process makes from now on.
pub fn choose(bug: Option<Bug>) {
    CHOSEN.store(bug.map_or(0, |bug| bug as usize + 1), Ordering::Relaxed);
}

/// Whether this is the one.
// Kept apart, so that a test can find it in a binary that has it.
#[inline(never)]
pub fn is_chosen(bug: Bug) -> bool {
    CHOSEN.load(Ordering::Relaxed) == bug as usize + 1
}

macro_rules! bugs {
    ($(#[doc = $breaks:literal] $name:ident,)*) => {
        /// A mistake and what it breaks.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        pub enum Bug {
            $(#[doc = $breaks] $name,)*
        }

        impl Bug {
            /// Every mistake.
            pub const ALL: &[Bug] = &[$(Bug::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$name => stringify!($name),)*
                }
            }

            /// What it breaks.
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Bug::$name => $breaks,)*
                }
            }
        }
    };
}

bugs! {
    /// Every send ends twice. Must be found at once.
    Canary,

    // ---- Attempts and deadlines
    /// A send has one attempt more than allowed.
    AttemptCapIgnored,
    /// A send's own number of retries does not count.
    RetriesOptionIgnored,
    /// An attempt after GO_AWAY is not counted.
    GoAwayNotCounted,
    /// Each retry moves the deadline.
    DeadlinePerAttempt,
    /// The deadline's timer is set by the wall clock.
    DeadlineOnWallClock,
    /// The first attempt may take all the time that there is.
    ShareIgnored,
    /// An attempt is given up after a quarter of its time.
    AttemptEndsEarly,
    /// The next attempt begins as soon as the one before is written.
    RetryWhileUnderWay,
    /// No pause after a busy answer.
    BusyBackOffZero,
    /// A send that was cancelled is tried again.
    DetachedRetried,
    /// A cancelled send stays in the socket's queue.
    CancelledSent,
    /// A oneway message is tried again although bytes of it have left.
    OnewayRetried,
    /// An unknown attempt is retried although the settings forbid it.
    RetryOnlyIfNotStoredIgnored,
    /// A weak acknowledgement is retried although the settings do not ask for it.
    WeakAlwaysRetried,

    // ---- What answers mean, and verdicts
    /// Code 14 ends a send.
    Row14Final,
    /// Code 13 is retried.
    Row13Retried,
    /// Code 1 is a refusal.
    Row1Refused,
    /// Code 2 ends a send.
    Row2Final,
    /// Code 17 ends a send.
    Row17Final,
    /// A weak acknowledgement is an error.
    WeakAcknowledgementFails,
    /// A frame that was written is reported as not sent.
    NotSentAfterWritten,
    /// The last attempt's verdict hides that an earlier one is unknown.
    RefusedAfterUnknown,
    /// What was refused for sure is reported as unknown.
    UnknownForRefused,
    /// A oneway message is reported as sent as soon as it is framed.
    OnewaySentEarly,
    /// A late success does not end the send.
    LateAnswerNotAdopted,
    /// A send ends twice.
    CompletedTwice,
    /// An answer with an unknown number ends the oldest request.
    AnswerOfAnother,
    /// Request numbers are used again soon.
    RequestNumberReused,
    /// A send is not told that the connection of its attempt has ended.
    LostNotTold,

    // ---- The message
    /// Every attempt has a unique key of its own.
    KeyRegenerated,
    /// A retry adds a property.
    PropertiesChangedOnRetry,
    /// A retry lacks the body's last byte.
    BodyCutOnRetry,
    /// WAIT is not sent.
    WaitLost,
    /// The born time is the time of the attempt since the client began, not of the day.
    BornOnWrongClock,
    /// Oneway requests ask for an answer.
    OnewayAnswered,

    // ---- Choice of a queue
    /// A given queue counts for the first attempt only.
    GivenQueueMoved,
    /// A retry goes to the number of the first attempt's queue.
    QueueIdKept,
    /// The number of queues is counted from 1.
    QueueIdOneMore,
    /// A retry may go to the broker that just failed.
    SameBrokerTwice,
    /// Isolation does not keep a broker from being chosen.
    IsolationIgnored,
    /// No fault isolates.
    IsolationNeverSet,
    /// Isolation never ends.
    IsolationNeverEnds,
    /// The fault of one broker isolates another.
    IsolationOfAnother,

    // ---- Routes
    /// Routes are not refreshed.
    RouteKeptForEver,
    /// An error of a name server forgets the route.
    RouteDroppedOnError,
    /// A name server that does not know a topic makes a client forget its route at once.
    RouteDroppedWhenMissing,
    /// The queues of a new route are ignored as long as the brokers stay the same.
    RouteShrinkIgnored,
    /// A failed send does not have its route looked up.
    RefreshSoonForgotten,
    /// A topic is looked up although a look-up is under way.
    LookupTwice,
    /// No pause after a look-up that failed.
    LookupStorm,
    /// Only the first name server is ever asked.
    NameServerNotRotated,
    /// A send that waits for a route is not woken by it.
    WaiterNotWoken,
    /// Brokers that no route names are kept and greeted.
    OfflineBrokerKept,
    /// JSON is read only if its keys are in alphabetical order.
    JsonInOneOrder,

    // ---- Connections
    /// A connection that was asked to go away takes new requests.
    GoAwayIgnored,
    /// GO_AWAY closes at once, with everything under way.
    GoAwayClosesAtOnce,
    /// An address is dialled while its connection lives.
    DialledTwice,
    /// A dial has no end.
    DialWithoutEnd,
    /// A failed dial is repeated at once.
    DialBackOffZero,
    /// The pause between dials grows without limit.
    DialBackOffUnbounded,
    /// A failed dial keeps its slot.
    DialSlotLost,
    /// A partial frame may take for ever.
    PartialFrameAgeIgnored,
    /// A write without progress is never noticed.
    WriteStallIgnored,
    /// Progress does not end a stalled write.
    WriteStallNotReset,
    /// A connection is idle after an eighth of the time.
    IdleTooEarly,
    /// A silent connection is never probed.
    ProbeForgotten,
    /// A connection on which answers come counts as silent.
    SilentThoughHeard,
    /// A read that ends inside a length prefix loses these bytes.
    PrefixSplitLost,
    /// A read that ends inside a frame loses its last byte.
    StraddlingByteLost,
    /// One byte less counts as taken than the socket took.
    TransmitOffByOne,
    /// Taking a frame back leaves one byte of it.
    TakeBackLeavesByte,

    // ---- Heartbeats
    /// Heartbeats come half as often.
    HeartbeatPeriodDoubled,
    /// Only one broker is greeted.
    HeartbeatToFirstOnly,
    /// A new connection is not greeted.
    HeartbeatMissingOnConnect,
    /// There is one round of heartbeats.
    HeartbeatsStop,

    // ---- Transactions
    /// A decision that got no answer is sent again.
    TransactionToldAgain,
    /// A commit that was acknowledged is told again when the broker asks.
    TransactionAcknowledgedTold,
    /// A check is answered although the decision has just left.
    TransactionNotSettled,
    /// A decision that got no answer is forgotten.
    TransactionForgotten,
    /// The application is asked about work that is under way.
    TransactionWorkUnseen,
    /// The end of a copy that was left behind is taken for the end of the transaction.
    TransactionEndedByLeftover,
    /// A copy that was left behind is treated like the transaction's own.
    TransactionLeftoverKept,
    /// Nobody knows that the beginning has failed.
    TransactionFailureForgotten,
    /// A transaction that has ended still counts as under way.
    TransactionStaysLive,
    /// The decision is not the one that was made.
    TransactionTurnedRound,

    // ---- Memory, timers, the end
    /// A cancelled send keeps its slot.
    SlotLostPerCancel,
    /// Requests are left in the table when their connection ends.
    RequestLeftAtClose,
    /// The connection's timer outlives it.
    ConnectionTimerKept,
    /// A send's timer outlives it.
    TimerKept,
    /// A retry has no timer.
    TimerLost,
    /// A deadline is told too early.
    PollTimeoutPast,
    /// The connection timer is set again for a time that has passed.
    TimerLoops,
    /// Brokers are not told of the end.
    UnregisterMissed,
    /// Brokers are told of the end twice.
    UnregisterTwice,
    /// Closing leaves a connection open.
    ConnectionLeftAtClose,
    /// A client that is closing takes new sends.
    SendAfterClose,
    /// The grace of a close has no end.
    GraceIgnored,
}
