//! Why a message cannot be sent.

use alloc::string::String;

use crate::compression::Compression;
use crate::error::Bound;
use crate::interceptor::Forbidden;
use crate::wire::{EncodeError, property};

/// A part of a message that cannot be sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The topic is empty.
    #[error("the topic is empty")]
    TopicEmpty,
    /// The topic is too long.
    #[error("the topic has {length} bytes, more than 127")]
    TopicTooLong {
        /// Its length in bytes, with its namespace.
        length: usize,
    },
    /// The topic holds a character that is not allowed.
    #[error("the topic holds {character:?}; only letters, digits, %, |, - and _ are allowed")]
    TopicCharacter {
        /// The first such character.
        character: char,
    },
    /// The topic belongs to RocketMQ itself.
    #[error("the topic is reserved by RocketMQ")]
    TopicReserved,
    /// The body is empty.
    #[error("the body is empty; brokers of 5.x refuse that")]
    BodyEmpty,
    /// The body is too large.
    #[error(
        "the body has {length} bytes, more than body_length_max = {max}; send less, or raise it \
         here and maxMessageSize at the brokers"
    )]
    BodyTooLarge {
        /// Its length in bytes.
        length: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The body would never have room among what is in flight.
    #[error(
        "the body has {length} bytes, more than all room for what is in flight, {max}; {bound}; \
         send less, or raise it"
    )]
    LargerThanBudget {
        /// Its length in bytes.
        length: usize,
        /// The whole room.
        max: usize,
        /// What bounds it.
        bound: Bound,
    },
    /// The tag is blank or holds a control character.
    #[error("the tag is blank or holds U+0001 or U+0002")]
    Tag,
    /// A key is blank, or holds a space or a control character.
    #[error("key {key:?} is blank, or holds a space, U+0001 or U+0002")]
    Key {
        /// The key.
        key: String,
    },
    /// A property's name is empty, or holds a control character.
    #[error("property name {name:?} is blank, or holds U+0001 or U+0002")]
    PropertyName {
        /// The name.
        name: String,
    },
    /// A property's name belongs to RocketMQ itself.
    #[error("property {name:?} is reserved by RocketMQ{}", instead_of(name))]
    PropertyReserved {
        /// The name.
        name: String,
    },
    /// A property's value is blank (it would be lost) or holds a control character.
    #[error("the value of property {name:?} is blank, or holds U+0001 or U+0002")]
    PropertyValue {
        /// The property's name.
        name: String,
    },
    /// Property `INNER_MULTI_DISPATCH`, a list of queues, holds a separator of paths.
    // Java: Validators#checkMessage
    #[error("property \"INNER_MULTI_DISPATCH\" holds {character:?}, which separates folders")]
    DispatchPath {
        /// The separator.
        character: char,
    },
    /// Both a delay level and a timer are set, or two timers. Brokers would pass over one of them
    /// without a word.
    #[error("both {first} and {second} say when to deliver; set one of them")]
    DelayTwice {
        /// The property that is there first.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// A message of a transaction has a delay level, which brokers pass over.
    #[error(
        "a message of a transaction cannot have a delay level; use Message::deliver_after, which \
         begins with the commit"
    )]
    DelayInTransaction,
    /// The message is to be delivered later than any broker can be set up to allow.
    #[error(
        "the delay in {property} is more than 2,147,483,647 s; brokers allow 3 days by default"
    )]
    DelayTooLong {
        /// The property that holds it.
        property: &'static str,
    },
    /// A compression is asked for that is not part of this build.
    #[error(
        "compression {compression} is not built in; turn on the cargo feature \"{compression}\""
    )]
    CompressionNotBuilt {
        /// The compression.
        compression: Compression,
    },
    /// All properties together are too long.
    #[error("the properties have {length} bytes in all, more than 32,000")]
    PropertiesTooLong {
        /// Their length in bytes, as sent.
        length: usize,
    },
    /// An interceptor refused to let the message out.
    #[error("{0}")]
    Forbidden(Forbidden),
    /// The message does not fit into a frame.
    #[error("the message cannot be put into a frame: {0}")]
    Encoding(EncodeError),
}

/// How a reserved property is set, for those that can be.
fn instead_of(name: &str) -> &'static str {
    match name {
        property::KEYS => "; use Message::with_key",
        property::TAGS => "; use Message::with_tag",
        property::WAIT => "; use Message::with_wait_stored",
        property::DELAY => "; use Message::with_delay_level",
        property::TIMER_DELAY_SEC | property::TIMER_DELAY_MS => "; use Message::deliver_after",
        property::TIMER_DELIVER_MS => "; use Message::deliver_at",
        _ => "",
    }
}
