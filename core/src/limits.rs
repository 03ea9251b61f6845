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

/// Longest handle of a timer message that is read, in bytes. It holds a topic, a broker's name, a
/// number and a unique key, and goes into the header of a request.
pub const RECALL_HANDLE_LENGTH_MAX: usize = 1024;

/// Longest time between the first and the last byte of a received frame.
pub const PARTIAL_FRAME_AGE_MAX: Duration = Duration::from_secs(15);

/// Largest body of a route answer.
pub const ROUTE_BODY_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// Most brokers in one route.
pub const ROUTE_BROKERS_MAX: usize = 4_096;

/// Most brokers named in the error of a send whose topic nobody takes messages for: people read it.
pub const UNWRITABLE_BROKERS_MAX: usize = 16;

/// Most queues of one topic on one broker. More is a malformed route; Java would build one object
/// for each.
pub const QUEUES_PER_BROKER_MAX: u32 = 65_536;

/// Most stored messages in one answer. Brokers give 32 unless told otherwise; without a bound a
/// frame could hold 180,000 empty ones.
pub const STORED_MESSAGES_MAX: usize = 1_024;

/// Longest table that a broker describes itself with. Real ones have some 5 KiB.
pub const TABLE_LENGTH_MAX: usize = 256 * 1024;

/// Longest address text in a route: a host name of 255 bytes, a colon and a port.
pub const ADDRESS_LENGTH_MAX: usize = 255 + 6;

/// Longest text of a check that its answer repeats, in bytes. Real ones are names and ids.
pub const CHECK_TEXT_LENGTH_MAX: usize = 1024;

// ---- What a caller may send -----------------------------------------------------------------

/// Longest topic.
// Java: Validators#checkTopic, TOPIC_MAX_LENGTH
pub const TOPIC_LENGTH_MAX: usize = 127;

/// Longest producer group.
// Java: Validators#checkGroup, CHARACTER_MAX_LENGTH
pub const GROUP_LENGTH_MAX: usize = 120;

/// Longest access key and longest secret key. Services give out some 30 characters.
pub const CREDENTIAL_LENGTH_MAX: usize = 1024;

/// Longest security token: token services give out some 1,000 characters, and say that it may
/// become more. It goes into the header of every request.
pub const SECURITY_TOKEN_LENGTH_MAX: usize = 16 * 1024;

/// Time for a provider to give credentials.
pub const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// Least time after which credentials that expire are fetched again.
pub const CREDENTIALS_REFRESH_MIN: Duration = Duration::from_secs(1);

/// Least time between two questions to a provider for refusals: thousands of sends may be refused
/// at once, and a service that gives out tokens counts the questions.
pub const CREDENTIALS_REFUSED_MIN: Duration = Duration::from_secs(10);

/// Wait after the first failure of a provider; doubles with each.
pub const CREDENTIALS_RETRY: Duration = Duration::from_secs(1);

/// Longest wait after a failure of a provider.
pub const CREDENTIALS_RETRY_MAX: Duration = Duration::from_secs(60);

/// Largest body by default, before compression. The broker's own default is the same.
// Java: DefaultMQProducer#maxMessageSize
pub const BODY_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// Level of compression by default.
// Java: DefaultMQProducer#compressLevel
pub const COMPRESSION_LEVEL: u32 = 5;

/// Length from which on bodies are compressed by default.
// Java: DefaultMQProducer#compressMsgBodyOverHowmuch
pub const COMPRESS_OVER: usize = 4 * 1024;

/// Longest delay of a message in ms. Brokers keep their own limit, three days by default, in a
/// signed number of 32 bits of seconds; what lies beyond can wrap around and be delivered at once.
// Java: MessageStoreConfig#timerMaxDelaySec, HookUtils#transformTimerMessage
pub const DELAY_MS_MAX: u64 = i32::MAX as u64 * 1_000;

/// Longest property string in bytes. Brokers refuse more than 32,767 after adding their own; the
/// shortest limit measured on real ones is 32,639.
pub const PROPERTIES_LENGTH_MAX: usize = 32_000;

/// Most messages of one batch: the header of the answer holds an id of up to 57 bytes for each, and
/// has to stay below [`HEADER_LENGTH_MAX`].
pub const BATCH_MESSAGES_MAX: usize = 16_384;

/// Room kept for the header of our own frames beside the largest body: properties, names and
/// numbers, all of them escaped.
pub const HEADER_LENGTH_OWN_MAX: usize = 256 * 1024;

// ---- What is held at once -------------------------------------------------------------------

/// Sends in flight per client by default.
// Java: DefaultMQProducer#backPressureForAsyncSendNum
pub const IN_FLIGHT_MESSAGES_MAX: u32 = 1_024;

/// Bytes of bodies in flight per client by default.
// Java: DefaultMQProducer#backPressureForAsyncSendSize
pub const IN_FLIGHT_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Largest table of operations that can be configured: 2^22 of some 600 bytes are 2.5 GiB.
pub const OPERATIONS_MAX: u32 = 1 << 22;

/// Bytes framed ahead of the socket on one connection by default: enough for one full write of a
/// fast link, and little enough to cancel what lies behind.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Bodies from this length on are handed to the socket as they are instead of being copied.
pub const BODY_COPY_MAX: usize = 4 * 1024;

/// Fields that interceptors may add to one request: a signature, a key and a token are three.
pub const ADDED_FIELDS_MAX: usize = 64;

/// Bytes of all fields that interceptors add to one request, so that they fit into
/// [`HEADER_LENGTH_OWN_MAX`] even if every byte has to be escaped.
pub const ADDED_FIELD_BYTES_MAX: usize = 32 * 1024;

/// Requests in flight on one connection. What comes beyond waits for an answer.
// Java: NettyClientConfig#clientAsyncSemaphoreValue
pub const REQUESTS_PER_CONNECTION_MAX: usize = 65_535;

/// Dials under way at once; further addresses wait their turn.
pub const DIALS_MAX: usize = 64;

/// Dials under way at which none is begun for a heartbeat alone: dead brokers that nobody sends to
/// must not hold up those that somebody does.
pub const GREETING_DIALS_MAX: usize = 16;

/// Answers that may still come for requests given up, remembered per connection.
pub const LATE_ANSWERS_MAX: usize = 64;

/// Queries to servers open at once.
pub const OPEN_QUERIES_MAX: usize = 1_024;

/// Transactions that are under way or remembered. The half message of one takes some 200 bytes, so
/// all of them 50 MiB. Those whose end a broker has acknowledged make room for new ones.
pub const TRANSACTIONS_MAX: usize = 1 << 18;

/// Longest properties of a reply, in bytes. Brokers store no more than 32,767.
pub const REPLY_PROPERTIES_LENGTH_MAX: usize = 65_535;

/// Requests that wait for a reply: as many as sends in flight of a busy process. Each holds its
/// receipt's worth of memory until its time is over.
pub const REQUESTS_MAX: usize = 65_536;

/// Clusters of one route whose brokers are greeted before a request. Real routes name one.
pub const REPLY_CLUSTERS_MAX: usize = 8;

/// The part of its time that a request gives to greeting brokers that have not answered a greeting
/// yet: one in so many. A broker that is away must not use up the time of the others.
pub const GREETING_SHARE: u32 = 4;

/// Checks of brokers that the application has not answered.
// Java: TransactionMQProducer#checkRequestHoldMax
pub const CHECKS_MAX: usize = 2_000;

/// Bytes of the bodies of messages that the application has not been asked about yet: enough for
/// [`CHECKS_MAX`] of 32 KiB.
pub const CHECK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks that the application is asked about at once; the others wait. They mostly end in a
/// database, which is not to be stormed after an outage.
pub const CHECKS_ASKED_MAX: usize = 16;

/// Time for which a decision is remembered by default: twice as long as brokers of 4.x ask about
/// it, and four times as long as those of 5.x.
// Java: BrokerConfig#transactionCheckInterval times #transactionCheckMax
pub const TRANSACTION_MEMORY: Duration = Duration::from_secs(1_800);

/// Time that the application has to answer a check by default. Brokers ask again after 30 s or
/// more.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after a decision has left in which a check about it is not answered: the broker may have
/// taken it in and not have noted it yet, and each commit that it gets delivers one more copy.
/// Brokers of 5.x note decisions every 3 s.
// Java: BrokerConfig#transactionOpBatchInterval
pub const DECISION_SETTLE: Duration = Duration::from_secs(5);

/// Connections on which a decision is tried, as long as no broker has processed it.
pub const DECISION_TRIES_MAX: u32 = 3;

/// Addresses up to which those that were only asked once are kept until the next heartbeat, for
/// further queries; each may have a connection.
pub const ASKED_ADDRESSES_MAX: usize = 256;

/// Producer groups of one client.
pub const GROUPS_MAX: usize = 1_024;

/// Topics that one client knows. A topic that nobody has sent to for [`TOPIC_IDLE_MAX`] makes room.
pub const TOPICS_MAX: usize = 65_536;

/// Questions for the queues of topics that wait at once: as many as sends could wait for routes in
/// a busy process.
pub const QUEUE_WAITERS_MAX: usize = 65_536;

/// Time after which the route of a topic that nobody sends to is forgotten.
pub const TOPIC_IDLE_MAX: Duration = Duration::from_secs(600);

/// Time for which a route is kept although the name servers say that the topic does not exist:
/// longer than a restarted name server needs to hear from every broker again.
// Java: BrokerController registers every 30 s (registerNameServerPeriod)
pub const ROUTE_GRACE: Duration = Duration::from_secs(120);

/// Time for which brokers of the default route stay beside the first broker that has a new topic.
pub const DEFAULT_ROUTE_GRACE: Duration = Duration::from_secs(60);

/// Least time between two look-ups of one topic.
pub const LOOKUP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Time after which a look-up that failed for all name servers is tried again while sends wait.
pub const LOOKUP_RETRY: Duration = Duration::from_millis(200);

/// Time after which a refresh that failed for all name servers is tried again: well before the
/// next one is due, so that one lost answer does not keep a route out of date for a minute.
pub const REFRESH_RETRY: Duration = Duration::from_secs(5);

/// Time for the answer to a probe of a connection that has been silent.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time without progress after which a connection that does not take our bytes is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(15);

/// Time for the answer to a look-up of the name servers.
// Java: DefaultTopAddressing#fetchNSAddr
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest wait before a failed look-up of the name servers is tried again while none is known.
/// Java waits for the next regular one, up to two minutes, in which no send can succeed.
pub const FETCH_RETRY: Duration = Duration::from_secs(2);

/// Most name servers in a list; more is no list but a mistake.
pub const NAME_SERVERS_MAX: usize = 1_024;

/// Longest answer to a look-up of the name servers, head included: a thousand addresses fit.
pub const FETCH_LENGTH_MAX: usize = 64 * 1024;

/// Longest wait for the answers to unregister at close.
pub const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait of the busy back-off.
pub const BUSY_BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// Retries earned by 100 messages stored. As many as messages: a cluster of which every second
/// answer is "busy" still gets all messages through, and brokers in trouble see at most twice the
/// load while anything is stored at all. Without a budget an outage triples it.
pub const RETRY_PERCENT: u32 = 100;

/// Retries earned by each second, for clients that send little. No broker notices ten more
/// messages in a second, and a client that sends one in a second never runs out.
pub const RETRIES_PER_SECOND: u32 = 10;

/// Requests of a peer that are refused with an answer, in a second on one connection. Real brokers
/// ask a producer a few times a minute; the rest of a flood is dropped.
pub const REFUSALS_PER_SECOND: u32 = 100;

/// Classes of latency that can be configured. Java has seven.
pub const LATENCY_CLASSES_MAX: usize = 64;

/// Longest time for which a broker can be avoided: every exclusion has an end that somebody waits
/// for. Java's longest is ten minutes.
pub const AVOIDED_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most attempts after the first, whatever the settings say.
pub const RETRIES_MAX: u32 = 15;

/// Pause before a send looks again for the broker of its queue that no route has an address of. The
/// route itself is looked up at most every [`LOOKUP_INTERVAL_MIN`].
pub const BROKER_WAIT: Duration = Duration::from_millis(200);

/// Messages with records of the trace that are in flight at once, over all groups of a client. They
/// go beside what the application has in flight, and must stay a small part of it.
pub const TRACES_IN_FLIGHT_MAX: u32 = 32;

/// Bytes of those messages: what a broker that is slow to read can be behind with, before users'
/// messages on the same connection feel it. One message is always let through.
pub const TRACES_IN_FLIGHT_BYTES_MAX: usize = 1024 * 1024;

/// Records of one group that wait to be sent. What comes on top is dropped.
// Java: AsyncTraceDispatcher#traceContextQueue
pub const TRACE_RECORDS_MAX: usize = 2_048;

/// Bytes of those records as text: 2,048 plain ones are half a megabyte, and those of large batches
/// must not be a thousand times as much.
pub const TRACE_RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most records in one message.
// Java: AsyncTraceDispatcher#batchNum
pub const TRACE_BATCH_MAX: usize = 20;

/// Longest body of a message with records. Java looks after it has added a record, and may exceed
/// it.
// Java: AsyncTraceDispatcher#maxMsgSize
pub const TRACE_BODY_LENGTH_MAX: usize = 128_000;

/// Bytes of the keys of a message with records; half of what brokers take for all properties. Keys
/// beyond that are left out, the records are not.
pub const TRACE_KEYS_LENGTH_MAX: usize = 16_000;

/// Time for a message with records, and for all that is left at the end.
// Java: AsyncTraceDispatcher#getAndCreateTraceProducer, #WAIT_FOR_SHUTDOWN
pub const TRACE_SEND_TIMEOUT: Duration = Duration::from_secs(5);
