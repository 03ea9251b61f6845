//! Why a broker takes messages, and not this one, read from what it says.

use core::fmt;

use crate::wire::ResponseCode;

/// What a broker or proxy has against a message.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Unsuitable {
    /// It is to be delivered at a time, and the broker's timer is off. Brokers of 4.x have none,
    /// say nothing about it, and deliver at once.
    NoTimer,
    /// It is to be delivered later than the broker allows.
    DelayTooLong,
    /// The topic takes messages of another type: one with a time of delivery went to a topic for
    /// ordered ones, say. Proxies look at that, and brokers do not.
    TopicType,
    /// The topic has no type that is known, mostly because it does not exist: proxies do not create
    /// topics.
    NoTopicType,
}

const UNSPECIFIED: &str = "TopicMessageType validate failed, the expected type is UNSPECIFIED";

/// The first words of remarks, and the code with which they come.
// Java: SendMessageProcessor#handlePutMessageResult [5.0]; DefaultTopicMessageTypeValidator
const REMARKS: [(ResponseCode, &str, Unsuitable); 4] = [
    (ResponseCode::MESSAGE_ILLEGAL, UNSPECIFIED, Unsuitable::NoTopicType),
    (ResponseCode::SYSTEM_ERROR, "accurate timer message is not enabled", Unsuitable::NoTimer),
    (ResponseCode::MESSAGE_ILLEGAL, "timer message illegal", Unsuitable::DelayTooLong),
    (ResponseCode::MESSAGE_ILLEGAL, "TopicMessageType validate failed", Unsuitable::TopicType),
];

impl Unsuitable {
    /// Reads an answer. `None` if it says something else.
    ///
    /// ```
    /// use rocketmq_core::Unsuitable;
    /// use rocketmq_core::wire::ResponseCode;
    ///
    /// let remark = "accurate timer message is not enabled, timerWheelEnable is false";
    /// let reason = Unsuitable::of(ResponseCode::SYSTEM_ERROR, remark);
    /// assert_eq!(reason, Some(Unsuitable::NoTimer));
    /// ```
    pub fn of(code: ResponseCode, remark: &str) -> Option<Unsuitable> {
        let says = |(with, words, _): &&(ResponseCode, &str, _)| {
            code == *with && remark.starts_with(words)
        };
        REMARKS.iter().find(says).map(|(_, _, reason)| *reason)
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Unsuitable::NoTimer => {
                "set timerWheelEnable on the broker, or use a delay level instead of a time"
            }
            Unsuitable::DelayTooLong => {
                "deliver it sooner, or raise timerMaxDelaySec on the broker"
            }
            Unsuitable::NoTopicType => {
                "check its name, or create it, with a type on servers of 5.x"
            }
            Unsuitable::TopicType => "use a topic of the type of the message, or one of type MIXED",
        }
    }
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unsuitable::NoTimer => "the broker has no timer",
            Unsuitable::DelayTooLong => "the broker allows no delay as long",
            Unsuitable::NoTopicType => "the topic does not exist, or has no type",
            Unsuitable::TopicType => "the topic takes messages of another type",
        })
    }
}
