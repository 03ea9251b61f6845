//! What a large range of seeds must reach. A mark that is never reached means that a part of the
//! machine, or a fault, is not tried at all.

use super::Kind;

/// Marks besides the kinds of faults.
///
/// Not among them: what no plan of the swarm can bring about yet (waits for readiness, bounds of
/// what is in flight, connections that are idle for minutes), and pairs that cannot be (a dial
/// that fails proves that nothing was sent).
const OTHERS: &[&str] = &[
    "attempt Answered Refused",
    "attempt Answered Unknown",
    "attempt Await Unknown",
    "attempt Connect NotSent",
    "attempt Write NotSent",
    "attempt Write Unknown",
    "cancelled",
    "dial NameNotResolved",
    "dial Refused",
    "dial TimedOut",
    "dial Unreachable",
    "disconnected Drained",
    "disconnected Eof",
    "disconnected Protocol",
    "disconnected Reset",
    "disconnected Shutdown",
    "disconnected Silent",
    "disconnected WriteStalled",
    "event AttemptFailed",
    "event AttemptStarted",
    "event BrokerReachable",
    "event Connected",
    "event FaultUpdated",
    "event RouteChanged",
    "failed Broker Refused",
    "failed Broker Unknown",
    "failed Cancelled NotSent",
    "failed Cancelled Refused",
    "failed Cancelled Unknown",
    "failed Closed NotSent",
    "failed Closed Unknown",
    "failed NameServerUnreachable NotSent",
    "failed NoSuchQueue NotSent",
    "failed NoWritableQueue NotSent",
    "failed NoWritableQueue Unknown",
    "failed Timeout NotSent",
    "failed Timeout Refused",
    "failed Timeout Unknown",
    "failed TopicNotFound NotSent",
    "failed Transport NotSent",
    "failed Transport Refused",
    "failed Transport Unknown",
    "failed WaitedForOrder NotSent",
    "failed oneway",
    "heartbeat failed",
    "late answer false",
    "late answer true",
    "rejected Closed",
    "request refused",
    "route failed",
    "sent oneway",
    "stored FlushDiskTimeout",
    "stored FlushSlaveTimeout",
    "stored SendOk",
    "stored SlaveNotAvailable",
    "stored after 0 failed",
    "stored after 1 failed",
    "stored after 2 failed",
    "stored after 3 failed",
    "stored after 4 failed",
    "stored by GoHash",
    "stored by JavaHash",
    "stored by Queue",
    "stored by Random",
    "stored by Rendezvous",
    "stored in order",
    "stored without receipt",
    "timeout Connection",
    "timeout Detector",
    "timeout Dial",
    "timeout Heartbeat",
    "timeout Lookup",
    "timeout Request",
    "timeout RouteRefresh",
    "timeout Send",
    "timeout Shutdown",
];

/// Every mark that ten thousand seeds must reach: each kind of fault, each stage at which an
/// attempt can fail with what that proves, each kind of error, each reason of a timer, each end of
/// a dial and of a connection.
pub fn expected_marks() -> Vec<String> {
    let faults = Kind::ALL.iter().map(|kind| format!("fault {}", kind.name()));
    faults.chain(OTHERS.iter().map(|mark| (*mark).to_owned())).collect()
}
