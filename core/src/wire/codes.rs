//! Request codes, response codes and what a send's response code means.

use core::fmt;

/// Declares the codes of one Java class as associated constants with their names.
macro_rules! codes {
    ($type:ident, $($(#[doc = $doc:literal])+ $class:ident :: $name:ident = $code:literal,)+) => {
        impl $type {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nJava: `", stringify!($class), "#", stringify!($name), "`.")]
                pub const $name: Self = Self($code);
            )+

            /// Java's name of the code; `"UNKNOWN"` for one that is not listed here.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => stringify!($name),)+
                    _ => "UNKNOWN",
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ({})", self.name(), self.0)
            }
        }
    };
}

/// What a request asks for. Displays as `SEND_MESSAGE_V2 (310)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestCode(pub i32);

codes! { RequestCode,
    /// One message, long field names.
    RequestCode::SEND_MESSAGE = 10,
    /// Messages of a queue, for consumers.
    RequestCode::PULL_MESSAGE = 11,
    /// Messages by their keys.
    RequestCode::QUERY_MESSAGE = 12,
    /// Makes or changes a topic.
    RequestCode::UPDATE_AND_CREATE_TOPIC = 17,
    /// What a broker says about itself.
    RequestCode::GET_BROKER_RUNTIME_INFO = 28,
    /// The offset of a queue at a time.
    RequestCode::SEARCH_OFFSET_BY_TIMESTAMP = 29,
    /// One past the last offset of a queue.
    RequestCode::GET_MAX_OFFSET = 30,
    /// The first offset of a queue.
    RequestCode::GET_MIN_OFFSET = 31,
    /// When the oldest message of a queue was stored.
    RequestCode::GET_EARLIEST_MSG_STORETIME = 32,
    /// One message by its offset message id.
    RequestCode::VIEW_MESSAGE_BY_ID = 33,
    /// Announces a client and its groups to a broker.
    RequestCode::HEART_BEAT = 34,
    /// Takes one group of a client back.
    RequestCode::UNREGISTER_CLIENT = 35,
    /// Commits or rolls back a half message.
    RequestCode::END_TRANSACTION = 37,
    /// From a broker: what became of this transaction?
    RequestCode::CHECK_TRANSACTION_STATE = 39,
    /// From a broker: the consumers of a group have changed.
    RequestCode::NOTIFY_CONSUMER_IDS_CHANGED = 40,
    /// A value of the name server's key-value store.
    RequestCode::GET_KV_CONFIG = 101,
    /// The brokers and queues of a topic.
    RequestCode::GET_ROUTEINFO_BY_TOPIC = 105,
    /// All brokers of a cluster.
    RequestCode::GET_BROKER_CLUSTER_INFO = 106,
    /// All topics that a name server knows.
    RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206,
    /// From a broker, for consumers.
    RequestCode::RESET_CONSUMER_CLIENT_OFFSET = 220,
    /// From a broker, for consumers.
    RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT = 221,
    /// From a broker, for consumers.
    RequestCode::GET_CONSUMER_RUNNING_INFO = 307,
    /// From a broker, for consumers.
    RequestCode::CONSUME_MESSAGE_DIRECTLY = 309,
    /// One message, field names of one letter.
    RequestCode::SEND_MESSAGE_V2 = 310,
    /// Several messages of one topic, field names of one letter.
    RequestCode::SEND_BATCH_MESSAGE = 320,
    /// The reply to a request message, long field names.
    RequestCode::SEND_REPLY_MESSAGE = 324,
    /// The reply to a request message, field names of one letter.
    RequestCode::SEND_REPLY_MESSAGE_V2 = 325,
    /// From a broker: the reply to a request message of ours.
    RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT = 326,
    /// Takes a timer message back before it is delivered.
    RequestCode::RECALL_MESSAGE = 370,
}

/// How a request ended. Displays as `SYSTEM_BUSY (2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseCode(pub i32);

codes! { ResponseCode,
    /// Done; for a send: stored.
    RemotingSysResponseCode::SUCCESS = 0,
    /// Anything unexpected, see the remark.
    RemotingSysResponseCode::SYSTEM_ERROR = 1,
    /// The broker limits its load.
    RemotingSysResponseCode::SYSTEM_BUSY = 2,
    /// The peer does not know the request: it is too old, or a proxy.
    RemotingSysResponseCode::REQUEST_CODE_NOT_SUPPORTED = 3,
    /// Defined, but not used by the servers.
    RemotingSysResponseCode::TRANSACTION_FAILED = 4,
    /// Stored, but not on disk in time.
    ResponseCode::FLUSH_DISK_TIMEOUT = 10,
    /// Stored, but there is no slave to copy to.
    ResponseCode::SLAVE_NOT_AVAILABLE = 11,
    /// Stored, but not copied to the slaves in time.
    ResponseCode::FLUSH_SLAVE_TIMEOUT = 12,
    /// The message is refused, now and later.
    ResponseCode::MESSAGE_ILLEGAL = 13,
    /// The broker cannot write.
    ResponseCode::SERVICE_NOT_AVAILABLE = 14,
    /// A proxy misses the broker's name in the request.
    ResponseCode::VERSION_NOT_SUPPORTED = 15,
    /// Not writable, or not allowed for this client.
    ResponseCode::NO_PERMISSION = 16,
    /// The topic is not known and not made on the way.
    ResponseCode::TOPIC_NOT_EXIST = 17,
    /// Defined, but not used by the servers.
    ResponseCode::TOPIC_EXIST_ALREADY = 18,
    /// A query found nothing.
    ResponseCode::QUERY_NOT_FOUND = 22,
    /// A filter expression does not compile.
    ResponseCode::SUBSCRIPTION_PARSE_FAILED = 23,
    /// The group of a retry topic is not known.
    ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST = 26,
    /// A topic or a queue number that cannot be.
    ResponseCode::INVALID_PARAMETER = 29,
    /// Of deployments in units.
    ResponseCode::NO_BUYER_ID = 204,
    /// Of deployments in units.
    ResponseCode::NOT_IN_CURRENT_UNIT = 205,
    /// A message id that names nothing.
    ResponseCode::NO_MESSAGE = 208,
    /// The broker container has no such broker.
    ResponseCode::BROKER_NOT_EXIST = 211,
    /// The broker limits its load.
    ResponseCode::FLOW_CONTROL = 215,
    /// This broker does not lead that queue of a static topic.
    ResponseCode::NOT_LEADER_FOR_QUEUE = 501,
    /// A recall or the end of a transaction is refused.
    ResponseCode::ILLEGAL_OPERATION = 604,
    /// The server is about to stop and wants the request on another connection.
    ResponseCode::GO_AWAY = 1500,
    /// A request between brokers failed.
    ResponseCode::RPC_UNKNOWN = -1000,
    /// A request between brokers failed.
    ResponseCode::RPC_ADDR_IS_NULL = -1002,
    /// A request between brokers failed.
    ResponseCode::RPC_SEND_TO_CHANNEL_FAILED = -1004,
    /// A request between brokers failed.
    ResponseCode::RPC_TIME_OUT = -1006,
}

/// The code to send a message with: `reply` for a message of the type `reply`, `batch` for
/// several messages in one, `v1` for brokers that only know the long field names.
// Java: MQClientAPIImpl#sendMessage
pub const fn send_request_code(message_type_is_reply: bool, batch: bool, v1: bool) -> RequestCode {
    match (message_type_is_reply, batch, v1) {
        (true, _, true) => RequestCode::SEND_REPLY_MESSAGE,
        (true, _, false) => RequestCode::SEND_REPLY_MESSAGE_V2,
        (false, true, _) => RequestCode::SEND_BATCH_MESSAGE,
        (false, false, true) => RequestCode::SEND_MESSAGE,
        (false, false, false) => RequestCode::SEND_MESSAGE_V2,
    }
}

/// How safely a message was stored. All four mean that it is stored.
// Java: SendStatus
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendStatus {
    /// As the broker is set up to store.
    // Java: SendStatus#SEND_OK
    SendOk,
    /// The disk was late.
    // Java: SendStatus#FLUSH_DISK_TIMEOUT
    FlushDiskTimeout,
    /// The slaves were late.
    // Java: SendStatus#FLUSH_SLAVE_TIMEOUT
    FlushSlaveTimeout,
    /// There is no slave.
    // Java: SendStatus#SLAVE_NOT_AVAILABLE
    SlaveNotAvailable,
}

impl SendStatus {
    /// Java's name, such as `SEND_OK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendOk => "SEND_OK",
            Self::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            Self::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            Self::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        }
    }

    /// The status that a send's response code stands for; `None` for the codes of a failed send.
    // Java: MQClientAPIImpl#processSendResponse
    pub const fn from_code(code: ResponseCode) -> Option<Self> {
        match code {
            ResponseCode::SUCCESS => Some(Self::SendOk),
            ResponseCode::FLUSH_DISK_TIMEOUT => Some(Self::FlushDiskTimeout),
            ResponseCode::FLUSH_SLAVE_TIMEOUT => Some(Self::FlushSlaveTimeout),
            ResponseCode::SLAVE_NOT_AVAILABLE => Some(Self::SlaveNotAvailable),
            _ => None,
        }
    }
}

impl fmt::Display for SendStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
