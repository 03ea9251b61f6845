//! What an answer to a send means: one table, read by every kind of send.

use crate::error::Delivery;
use crate::permission::PermissionReason;
use crate::unsuitable::Unsuitable;
use crate::wire::{ResponseCode, SendStatus};

/// What an answer says about the attempt and what follows from it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) attempt: AttemptVerdict,
    pub(super) next: Next,
    /// The route may be out of date.
    pub(super) refresh_route: bool,
    pub(super) fault: Fault,
    /// The client itself was refused, not this message.
    pub(super) denied: Option<PermissionReason>,
}

/// What became of the message at this broker.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum AttemptVerdict {
    Stored(SendStatus),
    Failed(Delivery),
}

/// What the send does next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It is over.
    Final,
    /// Another broker.
    AnotherBroker,
    /// Another broker, after a back-off.
    BackOff,
    /// Another broker; the connection takes no new request.
    Drain,
}

/// What the attempt says about the broker.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing: the message or the client is at fault.
    None,
    /// It works.
    Success,
    /// It has too much to do.
    Busy,
    /// It cannot store messages, or cannot be reached.
    Unavailable,
}

/// Reads the table. `retry_codes` are codes outside it that are worth another broker.
// Apart from the rest of the table: nearly all answers are of this kind.
#[inline]
pub(super) fn verdict(code: ResponseCode, remark: &str, retry_codes: &[i32]) -> Verdict {
    let fails = planted!(WeakAcknowledgementFails) && code != ResponseCode::SUCCESS;
    match SendStatus::from_code(code).filter(|_| !fails) {
        Some(status) => Verdict {
            attempt: AttemptVerdict::Stored(status),
            next: Next::Final,
            refresh_route: false,
            fault: Fault::Success,
            denied: None,
        },
        None => not_stored(code, remark, retry_codes),
    }
}

/// The rows of the answers that do not say that the message is stored.
fn not_stored(code: ResponseCode, remark: &str, retry_codes: &[i32]) -> Verdict {
    use Delivery::{Refused, Unknown};
    let row = |delivery, next, refresh_route, fault| Verdict {
        attempt: AttemptVerdict::Failed(delivery),
        next,
        refresh_route,
        fault,
        denied: None,
    };
    // Another broker would refuse it as well.
    if let Some(reason) = PermissionReason::of(code, remark) {
        let denied = row(Refused, Next::Final, false, Fault::None);
        return Verdict { denied: Some(reason), ..denied };
    }
    match code {
        ResponseCode::SERVICE_NOT_AVAILABLE if planted!(Row14Final) => {
            row(Refused, Next::Final, true, Fault::Unavailable)
        }
        ResponseCode::MESSAGE_ILLEGAL if planted!(Row13Retried) => {
            row(Refused, Next::AnotherBroker, false, Fault::None)
        }
        ResponseCode::SYSTEM_ERROR if planted!(Row1Refused) => {
            row(Refused, Next::AnotherBroker, false, Fault::Busy)
        }
        ResponseCode::SYSTEM_BUSY if planted!(Row2Final) => {
            row(Refused, Next::Final, false, Fault::Busy)
        }
        ResponseCode::TOPIC_NOT_EXIST if planted!(Row17Final) => {
            row(Refused, Next::Final, true, Fault::None)
        }
        // Another broker may have its timer on.
        ResponseCode::SYSTEM_ERROR if Unsuitable::of(code, remark).is_some() => {
            row(Refused, Next::AnotherBroker, false, Fault::None)
        }
        // Java: SendMessageProcessor#handlePutMessageResult: also an unknown or missing store
        // result, so the message may be there.
        ResponseCode::SYSTEM_ERROR => row(Unknown, Next::AnotherBroker, false, Fault::Busy),
        ResponseCode::SYSTEM_BUSY | ResponseCode::FLOW_CONTROL => {
            row(Refused, Next::BackOff, false, Fault::Busy)
        }
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED
        | ResponseCode::VERSION_NOT_SUPPORTED
        | ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST
        | ResponseCode::MESSAGE_ILLEGAL => row(Refused, Next::Final, false, Fault::None),
        ResponseCode::INVALID_PARAMETER => row(Refused, Next::Final, true, Fault::None),
        ResponseCode::SERVICE_NOT_AVAILABLE | ResponseCode::NOT_LEADER_FOR_QUEUE => {
            row(Refused, Next::AnotherBroker, true, Fault::Unavailable)
        }
        // The permission may be missing on that broker only.
        ResponseCode::NO_PERMISSION | ResponseCode::TOPIC_NOT_EXIST => {
            row(Refused, Next::AnotherBroker, true, Fault::None)
        }
        ResponseCode::NO_BUYER_ID | ResponseCode::NOT_IN_CURRENT_UNIT => {
            row(Refused, Next::AnotherBroker, false, Fault::None)
        }
        // Java: NettyRemotingAbstract#processRequestCommand refuses before processing.
        ResponseCode::GO_AWAY => row(Refused, Next::Drain, true, Fault::Unavailable),
        code if retry_codes.contains(&code.0) => {
            row(Unknown, Next::AnotherBroker, false, Fault::None)
        }
        _ => row(Unknown, Next::Final, false, Fault::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttemptVerdict::{Failed, Stored};
    use Delivery::{Refused, Unknown};
    use PermissionReason::{
        MissingPermission, NoCredentials, Other, UnknownAccessKey, WrongSecret,
    };

    /// The table of the design, row by row.
    #[test]
    fn every_row_of_the_table() {
        type Row = (i32, &'static str, AttemptVerdict, Next, bool, Fault, Option<PermissionReason>);
        let rows: [Row; 27] = [
            (0, "", Stored(SendStatus::SendOk), Next::Final, false, Fault::Success, None),
            (
                10,
                "",
                Stored(SendStatus::FlushDiskTimeout),
                Next::Final,
                false,
                Fault::Success,
                None,
            ),
            (
                11,
                "",
                Stored(SendStatus::SlaveNotAvailable),
                Next::Final,
                false,
                Fault::Success,
                None,
            ),
            (
                12,
                "",
                Stored(SendStatus::FlushSlaveTimeout),
                Next::Final,
                false,
                Fault::Success,
                None,
            ),
            (
                1,
                "org.apache.rocketmq.acl.common.AclException: x",
                Failed(Refused),
                Next::Final,
                false,
                Fault::None,
                Some(Other),
            ),
            (
                1,
                "java.lang.NullPointerException",
                Failed(Unknown),
                Next::AnotherBroker,
                false,
                Fault::Busy,
                None,
            ),
            (999, "", Failed(Unknown), Next::Final, false, Fault::None, None),
            (-7, "", Failed(Unknown), Next::Final, false, Fault::None, None),
            (777, "", Failed(Unknown), Next::AnotherBroker, false, Fault::None, None),
            (2, "", Failed(Refused), Next::BackOff, false, Fault::Busy, None),
            (215, "", Failed(Refused), Next::BackOff, false, Fault::Busy, None),
            (3, "", Failed(Refused), Next::Final, false, Fault::None, None),
            (15, "", Failed(Refused), Next::Final, false, Fault::None, None),
            (26, "", Failed(Refused), Next::Final, false, Fault::None, None),
            (13, "", Failed(Refused), Next::Final, false, Fault::None, None),
            (29, "", Failed(Refused), Next::Final, true, Fault::None, None),
            (14, "", Failed(Refused), Next::AnotherBroker, true, Fault::Unavailable, None),
            (501, "", Failed(Refused), Next::AnotherBroker, true, Fault::Unavailable, None),
            (
                16,
                "check signature failed.",
                Failed(Refused),
                Next::Final,
                false,
                Fault::None,
                Some(WrongSecret),
            ),
            (
                16,
                "User:x is not found.",
                Failed(Refused),
                Next::Final,
                false,
                Fault::None,
                Some(UnknownAccessKey),
            ),
            (
                16,
                "username cannot be null.",
                Failed(Refused),
                Next::Final,
                false,
                Fault::None,
                Some(NoCredentials),
            ),
            (
                16,
                "User:x has no permission to access Topic:T from 127.0.0.1, no matched policies.",
                Failed(Refused),
                Next::Final,
                false,
                Fault::None,
                Some(MissingPermission),
            ),
            (
                16,
                "the broker is read-only",
                Failed(Refused),
                Next::AnotherBroker,
                true,
                Fault::None,
                None,
            ),
            (17, "", Failed(Refused), Next::AnotherBroker, true, Fault::None, None),
            (204, "", Failed(Refused), Next::AnotherBroker, false, Fault::None, None),
            (205, "", Failed(Refused), Next::AnotherBroker, false, Fault::None, None),
            (1500, "", Failed(Refused), Next::Drain, true, Fault::Unavailable, None),
        ];
        for (code, remark, attempt, next, refresh_route, fault, denied) in rows {
            let expected = Verdict { attempt, next, refresh_route, fault, denied };
            assert_eq!(verdict(ResponseCode(code), remark, &[777]), expected, "{code} {remark}");
        }
    }
}
