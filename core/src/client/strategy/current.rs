//! Java's strategy of today, mended: the brokers of the best tier take turns.

/// What the choice knows of a broker that has a master.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::client) struct Standing {
    pub(in crate::client) tried: Tried,
    /// It was neither slow nor faulty lately.
    pub(in crate::client) available: bool,
    /// It is connected or may be dialled, and the detector has not missed it.
    pub(in crate::client) reachable: bool,
}

/// Whether the send has tried a broker.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::client) enum Tried {
    No,
    Earlier,
    /// In the attempt before.
    Last,
}

/// The tier of a broker; the lowest is taken.
///
/// Java's order is: available, reachable, any; each but for the last. Here no broker is tried twice
/// while another is untried, and one that is known to be unreachable is not called available.
// Java: MQFaultStrategy#selectOneMessageQueue
pub(in crate::client) fn tier(standing: Standing) -> u8 {
    match (standing.tried, standing.available, standing.reachable) {
        (Tried::No, true, true) => 0,
        (Tried::No, false, true) => 1,
        (Tried::No, _, false) => 2,
        (Tried::Earlier, ..) => 3,
        (Tried::Last, ..) => 4,
    }
}
