//! Every bound of the core, in one place, each with its reason.
//!
//! A bound that a user may change is a field of `Config`; what stands here is
//! either its default or fixed for good.

use core::time::Duration;

// ---- What a peer may send -------------------------------------------------------------------

/// Largest value of a frame's length prefix. The Java peer's limit of 16 MiB counts the prefix
/// itself, so 16,777,213 is already refused.
// Java: NettyDecoder, com.rocketmq.remoting.frameMaxLength
pub const FRAME_LENGTH_MAX: usize = 16 * 1024 * 1024 - 4;

/// Largest header inside a received frame. Real ones stay under 2 KiB; a remark with a Java stack
/// trace reaches some tens of KiB.
pub const HEADER_LENGTH_MAX: usize = 1024 * 1024;

/// Largest header of a frame that we send: the length is a 24 bit field.
// Java: RemotingCommand#markProtocolType
pub const HEADER_LENGTH_ENCODE_MAX: usize = (1 << 24) - 1;

/// Most extension fields in one received header. Without it one frame could carry 2,796,197 empty
/// pairs.
pub const EXT_FIELDS_MAX: usize = 1_024;

/// Longest key of an extension field: its length is a signed 16 bit field in binary headers.
// Java: RocketMQSerializable#writeStr
pub const EXT_KEY_LENGTH_MAX: usize = 32_767;

/// Deepest nesting of received JSON, headers and bodies alike, so that no parser recurses far.
pub const JSON_DEPTH_MAX: usize = 32;

/// Longest remark kept of an answer, in bytes. A remark is shown to people; 4 KiB is enough.
pub const REMARK_LENGTH_MAX: usize = 4 * 1024;

/// Longest time between the first and the last byte of a received frame.
pub const PARTIAL_FRAME_AGE_MAX: Duration = Duration::from_secs(15);

/// Largest body of a route answer.
pub const ROUTE_BODY_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// Most brokers in one route.
pub const ROUTE_BROKERS_MAX: usize = 4_096;

/// Most queues of one topic on one broker. More is a malformed route; Java would build one object
/// for each.
pub const QUEUES_PER_BROKER_MAX: u32 = 65_536;

/// Longest address text in a route: a host name of 255 bytes, a colon and a port.
pub const ADDRESS_LENGTH_MAX: usize = 255 + 6;

// ---- What a caller may send -----------------------------------------------------------------

/// Longest topic.
// Java: Validators#checkTopic, TOPIC_MAX_LENGTH
pub const TOPIC_LENGTH_MAX: usize = 127;

/// Longest producer group.
// Java: Validators#checkGroup, CHARACTER_MAX_LENGTH
pub const GROUP_LENGTH_MAX: usize = 120;

/// Largest body by default, before compression. The broker's own default is the same.
// Java: DefaultMQProducer#maxMessageSize
pub const BODY_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// Longest property string in bytes. Brokers refuse more than 32,767 after adding their own; the
/// shortest limit measured on real ones is 32,639.
pub const PROPERTIES_LENGTH_MAX: usize = 32_000;
