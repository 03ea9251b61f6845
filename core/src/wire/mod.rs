//! The wire format: frames, headers, the bodies that a producer meets, and message identifiers.
//!
//! Decoding borrows from the received bytes and is safe on any input. Encoding appends to a
//! caller's buffer and leaves it as it was when it refuses.

mod added;
mod batch;
mod binary;
mod codes;
mod command;
mod encode;
mod error;
mod frame;
mod identifier;
mod json;
mod loose_json;
mod properties;
mod reply;
mod route;
mod send_header;
mod send_response;
mod signed;
mod stored;
mod text;
mod trace;
mod transaction;
mod unique_key;
mod version;

pub(crate) use added::{insert_fields, split_written};
pub use batch::{BATCH_ENTRY_OVERHEAD, BatchError, encode_batch_entry};
pub use codes::{RequestCode, ResponseCode, SendStatus, send_request_code};
pub use command::{
    Command, ExtFields, ExtFieldsIter, FLAG_ONEWAY, FLAG_RESPONSE, LANGUAGE_UNKNOWN,
};
pub use encode::{
    CLIENT_LANGUAGE, CLIENT_VERSION, EncodeError, RequestHead, encode_heartbeat, encode_request,
    encode_response, encode_route_query, encode_unregister,
};
pub use error::{DecodeError, DecodeErrorKind, PeerHint};
pub use frame::{Encoding, Frame, HEADER_WORD, LENGTH_PREFIX, split_frame};
pub use identifier::{OffsetMessageId, OffsetMessageIdError};
pub use properties::{
    Properties, PropertyError, RESERVED_PROPERTIES, is_reserved, properties, property,
    push_property,
};
pub(crate) use properties::{PropertyText, PropertyWriter, check_property, split_keys, value_of};
pub(crate) use reply::read_reply;
pub use route::{
    ADDRESSES_PER_BROKER_MAX, BrokerData, QueueData, RouteError, TopicQueueMapping, TopicRoute,
    decode_route,
};
pub(crate) use send_header::encode_send_escaped;
pub use send_header::{SendHeader, encode_send};
pub(crate) use send_response::batch_message_ids;
pub use send_response::{SendResponse, StoredPlace};
pub(crate) use signed::{Mac, MacKey, render_prefix, sign_send, sign_written};
pub(crate) use stored::decode_table;
pub use stored::{StoredError, StoredMessage, decode_stored};
pub use trace::{
    EndTransactionRecord, PubRecord, RecallRecord, SubAfterRecord, SubBeforeRecord,
    TraceMessageType, TraceRecord,
};
pub(crate) use transaction::CheckRequest;
pub use transaction::{EndTransaction, encode_end_transaction};
pub use unique_key::{UniqueKey, UniqueKeyError, UniqueKeySource};
pub use version::version_name;
