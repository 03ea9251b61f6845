//! The broker: stores messages, keeps its clients, ends transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::config::{AUTO_CREATE_TOPIC, ClusterConfig, HALF_TOPIC, ServerVersion, TopicConfig};
use super::store::{Incoming, Store};
use super::transactions::{TRANSACTION_MASK, TRANSACTION_PREPARED, Transactions, make_half};
use super::{ConnectionId, HeartbeatRecord, UnregisterRecord};
use crate::wire::{
    Command, FLAG_RESPONSE, Fields, Heartbeat, StaticQueues, decode_batch, offset_message_id,
    parse_properties, property, request_code as request, response_code as answer,
};

// Java: MessageDecoder, the length of stored properties is a signed 16-bit number.
const PROPERTY_BYTES_MAX: usize = 32_767;

// Java: TopicValidator.NOT_ALLOWED_SEND_TOPIC_SET.
const FORBIDDEN_TOPICS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    HALF_TOPIC,
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// What a request is processed with.
pub(super) struct Context<'a> {
    pub(super) config: &'a ClusterConfig,
    pub(super) now_ns: u64,
    pub(super) connection: ConnectionId,
    pub(super) address: SocketAddr,
}

/// What comes of a request.
pub(super) enum Reply {
    Answer(Command),
    Nothing,
    CloseConnection,
    /// Sends a request to another client first; its answer decides.
    Push {
        to: ConnectionId,
        push: Command,
        answer: Command,
    },
}

/// One broker; its log survives a restart, the rest of what it knows about clients does not.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    pub(super) name: String,
    pub(super) topics: BTreeMap<String, TopicConfig>,
    /// Which logical queues of static topics it leads.
    pub(super) static_topics: BTreeMap<String, StaticQueues>,
    pub(super) store: Store,
    pub(super) clients: BTreeMap<String, ConnectionId>,
    pub(super) heartbeats: Vec<HeartbeatRecord>,
    pub(super) unregistrations: Vec<UnregisterRecord>,
    /// Whether name servers know it.
    pub(super) registered: bool,
    /// The addresses it announces; by default its own as master.
    pub(super) announced: Option<BTreeMap<i64, String>>,
    /// Unique keys of timer messages that were taken back.
    pub(super) recalled: BTreeSet<String>,
    pub(super) transactions: Transactions,
    /// When it is woken to look after half messages.
    pub(super) wake_ns: Option<u64>,
    next_queue: i64,
}

struct SendHeader<'a> {
    group: &'a str,
    topic: &'a str,
    default_topic: &'a str,
    default_queues: i64,
    queue_id: i32,
    sys_flag: i32,
    born_timestamp_ms: i64,
    flag: i32,
    properties: &'a str,
    batch: bool,
}

impl Broker {
    pub(super) fn new(name: String, config: &ClusterConfig) -> Self {
        Self {
            name,
            topics: config.broker_topics(),
            static_topics: BTreeMap::new(),
            store: Store::default(),
            clients: BTreeMap::new(),
            heartbeats: Vec::new(),
            unregistrations: Vec::new(),
            registered: true,
            announced: None,
            recalled: BTreeSet::new(),
            transactions: Transactions::default(),
            wake_ns: None,
            next_queue: 0,
        }
    }

    pub(super) fn process(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        match command.code {
            code if request::SENDS.contains(&code) => self.send(context, command),
            request::HEART_BEAT => self.heartbeat(context, command),
            request::UNREGISTER_CLIENT => self.unregister(context, command),
            request::END_TRANSACTION => self.end_transaction(context, command),
            code if request::ADMINISTRATION.contains(&code) => self.administrate(context, command),
            code => Reply::Answer(respond(context.config, command, unsupported(code))),
        }
    }

    /// Forgets a connection's clients.
    // Java: ClientHousekeepingService#onChannelClose.
    pub(super) fn connection_closed(&mut self, connection: ConnectionId) {
        self.clients.retain(|_, client| *client != connection);
        self.transactions.connection_closed(connection);
    }

    fn send(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        let config = context.config;
        let stored = parse_send_header(command)
            .and_then(|mut header| {
                // Clients know the logical number only, here and in what is stored.
                let logical = header.queue_id;
                header.queue_id = self.own_queue(header.topic, logical)?;
                self.check(config, &header, context.connection)?;
                header.queue_id = logical;
                Ok(header)
            })
            .and_then(|header| {
                let queue_id = self.choose_queue(&header);
                let stored = self.put(context, command, &header, queue_id)?;
                Ok((header, queue_id, stored))
            });
        // Both fields come with refusals too, once the header could be read.
        // Java: SendMessageProcessor#preSend.
        let decorate = |mut response: Command| {
            response.ext = Fields::with_capacity(160);
            response.ext.insert("MSG_REGION", &config.region);
            response.ext.insert("TRACE_ON", if config.trace_on { "true" } else { "false" });
            response
        };
        let (header, queue_id, stored) = match stored {
            Ok(stored) => stored,
            Err(refusal) => return Reply::Answer(decorate(respond(config, command, refusal))),
        };
        let mut response = decorate(respond(config, command, (answer::SUCCESS, None)));
        // Java: SendMessageProcessor#sendBatchMessage, inner batch.
        let unit = header.batch && config.batch_topics.contains(header.topic);
        let batch_key = property(header.properties, "UNIQ_KEY").filter(|_| unit);
        if let Some(key) = batch_key {
            response.ext.insert("batchUniqId", key);
        }
        let ids: Vec<_> = stored
            .iter()
            .take(if batch_key.is_some() { 1 } else { usize::MAX })
            .map(|(_, commit_log_offset)| offset_message_id(context.address, *commit_log_offset))
            .collect();
        response.ext.insert("msgId", ids.join(","));
        response.ext.insert("queueId", queue_id.to_string());
        response.ext.insert("queueOffset", stored[0].0.to_string());
        let is_reply =
            matches!(command.code, request::SEND_REPLY_MESSAGE | request::SEND_REPLY_MESSAGE_V2);
        if is_reply {
            return self.push_reply(context, command, &header, response);
        }
        // Absent in 4.9 (measured). Java: SendMessageProcessor#handlePutMessageResult.
        if config.version > ServerVersion::V4_9
            && let Some(key) = property(header.properties, "UNIQ_KEY")
        {
            response.ext.insert("transactionId", key);
        }
        let prepared = header.sys_flag & TRANSACTION_MASK != 0;
        if let Some(handle) = self.recall_handle(context, header.topic, header.properties)
            && !header.batch
            && !prepared
        {
            response.ext.insert("recallHandle", handle);
        }
        Reply::Answer(response)
    }

    // Java: AbstractSendMessageProcessor#msgCheck.
    fn check(
        &mut self,
        config: &ClusterConfig,
        header: &SendHeader<'_>,
        connection: ConnectionId,
    ) -> Result<(), Refusal> {
        // Code 1 on 4.9 and 5.1, code 29 later (measured).
        let illegal = if config.version >= ServerVersion::V5_5 {
            answer::INVALID_PARAMETER
        } else {
            answer::SYSTEM_ERROR
        };
        let topic = header.topic;
        if let Some(remark) = illegal_topic(topic) {
            return Err((illegal, Some(remark)));
        }
        if FORBIDDEN_TOPICS.contains(&topic) {
            let remark = format!("Sending message to topic[{topic}] is forbidden.");
            return Err((answer::NO_PERMISSION, Some(remark)));
        }
        if !self.topics.contains_key(topic) {
            if let Some(group) = topic.strip_prefix("%RETRY%") {
                let remark = format!("subscription group not exist, {group}");
                return Err((answer::SUBSCRIPTION_GROUP_NOT_EXIST, Some(remark)));
            }
            self.create_topic(config, header);
        }
        let Some(queues) = self.topics.get(topic) else {
            let remark = format!(
                "topic[{topic}] not exist, apply first please!\n\
                 See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
            );
            return Err((answer::TOPIC_NOT_EXIST, Some(remark)));
        };
        if i64::from(header.queue_id) >= queues.write_queues.max(queues.read_queues) {
            let remark = format!(
                "request queueId[{}] is illegal, TopicConfig [topicName={topic}, \
                 readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType=SINGLE_TAG, \
                 topicSysFlag=0, order=false] Producer: connection {}",
                header.queue_id,
                queues.read_queues,
                queues.write_queues,
                perm_text(queues.perm),
                connection.0,
            );
            return Err((illegal, Some(remark)));
        }
        Ok(())
    }

    // Java: TopicConfigManager#createTopicInSendMessageMethod.
    fn create_topic(&mut self, config: &ClusterConfig, header: &SendHeader<'_>) {
        let default_topic = header.default_topic;
        if default_topic == AUTO_CREATE_TOPIC && !config.auto_create_topics {
            return;
        }
        let Some(template) = self.topics.get(default_topic).filter(|topic| topic.perm & 1 != 0)
        else {
            return;
        };
        let queues = header.default_queues.min(template.write_queues).max(0);
        let created = TopicConfig { perm: template.perm & !1, ..TopicConfig::new(queues) };
        self.topics.insert(header.topic.to_owned(), created);
    }

    // A real broker draws at random. Java: SendMessageProcessor#sendMessage, queueIdInt < 0.
    fn choose_queue(&mut self, header: &SendHeader<'_>) -> i32 {
        let queues = self.topics.get(header.topic).map_or(0, |topic| topic.write_queues);
        if header.queue_id >= 0 || queues <= 0 {
            return header.queue_id.max(0);
        }
        self.next_queue = (self.next_queue + 1) % queues;
        self.next_queue as i32
    }

    /// Stores one message or a batch: queue offset and commit log offset of each.
    fn put(
        &mut self,
        context: &Context<'_>,
        command: &Command,
        header: &SendHeader<'_>,
        queue_id: i32,
    ) -> Result<Vec<(u64, u64)>, Refusal> {
        let config = context.config;
        let old = config.version == ServerVersion::V4_9;
        if command.body.is_empty() && !old {
            // The processor dereferences the body before it checks it (measured).
            return Err(exception("java.lang.NullPointerException"));
        }
        if command.body.len() > config.body_bytes_max {
            if header.batch && !old {
                return Err(exception("java.lang.RuntimeException: message body size exceeded"));
            }
            return Err(illegal_message(config));
        }
        if property_bytes_stored(config, header.properties) > PROPERTY_BYTES_MAX {
            return Err(illegal_message(config));
        }
        let one = |body: Vec<u8>, flag: i32, properties: &str| Incoming {
            topic: header.topic.to_owned(),
            queue_id,
            body,
            properties: parse_properties(properties),
            sys_flag: header.sys_flag,
            flag,
            born_timestamp_ms: header.born_timestamp_ms,
            store_ns: context.now_ns,
            group: header.group.to_owned(),
            connection: context.connection,
        };
        if !header.batch {
            let mut message = one(command.body.clone(), header.flag, header.properties);
            // Java: SendMessageProcessor#sendMessage.
            message.properties.insert("CLUSTER", &config.cluster_name);
            let half = header.sys_flag & TRANSACTION_MASK == TRANSACTION_PREPARED;
            if half {
                make_half(&mut message);
            }
            let stored = self.store.append(&self.name, message);
            let place = (stored.queue_offset, stored.commit_log_offset);
            if half {
                self.half_stored(config, context.now_ns, place.1);
            }
            return Ok(vec![place]);
        }
        check_batch(header)?;
        let messages = decode_batch(&command.body)
            .map_err(|error| exception(&format!("java.nio.BufferUnderflowException: {error}")))?;
        // Before 5.5 each gets the properties of the batch behind its own (measured: 4.9.7, 5.1.4
        // and 5.3.3 store so many bytes more). Java: MessageExtEncoder#encode(MessageExtBatch).
        let more = if config.version < ServerVersion::V5_5 { header.properties } else { "" };
        let properties = |own: String| {
            let separator = if own.ends_with('\u{2}') { "" } else { "\u{2}" };
            [&*own, separator, more].concat()
        };
        Ok(messages
            .into_iter()
            .map(|message| one(message.body, message.flag, &properties(message.properties)))
            .map(|message| {
                let stored = self.store.append(&self.name, message);
                (stored.queue_offset, stored.commit_log_offset)
            })
            .collect())
    }

    // Java: ReplyMessageProcessor#pushReplyMessage.
    fn push_reply(
        &mut self,
        context: &Context<'_>,
        command: &Command,
        header: &SendHeader<'_>,
        answer: Command,
    ) -> Reply {
        let client = property(header.properties, "REPLY_TO_CLIENT").unwrap_or_default();
        let Some(to) = self.clients.get(client).copied() else {
            let remark = format!("push reply message fail, channel of <{client}> not found.");
            let refusal = (answer::SYSTEM_ERROR, Some(remark));
            return Reply::Answer(respond(context.config, command, refusal));
        };
        let mut push = server_request(context.config, request::PUSH_REPLY_MESSAGE_TO_CLIENT);
        let mut field = |name: &str, value: &str| push.ext.insert(name, value);
        field("producerGroup", header.group);
        field("topic", header.topic);
        field("defaultTopic", header.default_topic);
        field("defaultTopicQueueNums", &header.default_queues.to_string());
        field("queueId", &header.queue_id.to_string());
        field("sysFlag", &header.sys_flag.to_string());
        field("bornTimestamp", &header.born_timestamp_ms.to_string());
        field("flag", &header.flag.to_string());
        field("properties", header.properties);
        field("bornHost", "127.0.0.1:1");
        field("storeHost", &context.address.to_string());
        field("storeTimestamp", &wall_ms(context.config, context.now_ns).to_string());
        push.body = command.body.clone();
        Reply::Push { to, push, answer }
    }

    // Java: ClientManageProcessor#heartBeat.
    fn heartbeat(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        let Ok(heartbeat) = Heartbeat::decode(&command.body) else {
            // A body without a client id makes a real broker close the connection (measured).
            return Reply::CloseConnection;
        };
        // Java: ProducerManager#registerProducer, which notes where a client is with the first
        // heartbeat of a group on a connection alone.
        let (groups, now_ns) = (&heartbeat.producer_groups, context.now_ns);
        if self.transactions.producer_seen(groups, context.connection, now_ns) {
            self.clients.insert(heartbeat.client_id.clone(), context.connection);
        }
        self.heartbeats.push(HeartbeatRecord {
            at_ns: context.now_ns,
            connection: context.connection,
            heartbeat,
        });
        let mut response = respond(context.config, command, (answer::SUCCESS, None));
        if context.config.version > ServerVersion::V4_9 {
            response.ext.insert("IS_SUPPORT_HEART_BEAT_V2", "true");
            response.ext.insert("IS_SUB_CHANGE", "true");
        }
        Reply::Answer(response)
    }

    // Java: ClientManageProcessor#unregisterClient, ProducerManager#unregisterProducer, which
    // forgets where the client is whatever other groups it has.
    fn unregister(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        let field = |name: &str| command.ext.get(name).map(str::to_owned);
        if let Some(group) = command.ext.get("producerGroup") {
            self.transactions.producer_left(group, context.connection);
            self.clients.remove(command.ext.get("clientID").unwrap_or_default());
        }
        self.unregistrations.push(UnregisterRecord {
            at_ns: context.now_ns,
            connection: context.connection,
            client_id: field("clientID").unwrap_or_default(),
            producer_group: field("producerGroup"),
            consumer_group: field("consumerGroup"),
        });
        Reply::Answer(respond(context.config, command, (answer::SUCCESS, None)))
    }
}

/// Code and remark of an answer.
pub(super) type Refusal = (i32, Option<String>);

/// An answer to this request, without fields.
pub(super) fn respond(config: &ClusterConfig, to: &Command, (code, remark): Refusal) -> Command {
    Command {
        code,
        language: 0,
        version: config.version.ordinal(),
        opaque: to.opaque,
        flag: FLAG_RESPONSE,
        remark,
        ext: Fields::new(),
        body: Vec::new(),
        encoding: config.encoding_for(to.encoding),
    }
}

/// A request as a broker sends it to clients: always JSON (measured).
pub(super) fn server_request(config: &ClusterConfig, code: i32) -> Command {
    let mut request = Command::request(code, 0);
    request.language = 0;
    request.version = config.version.ordinal();
    request
}

// Java: NettyRemotingAbstract#processRequestCommand, the text starts with a space.
pub(super) fn unsupported(code: i32) -> Refusal {
    (answer::REQUEST_CODE_NOT_SUPPORTED, Some(format!(" request type {code} not supported")))
}

/// The cluster's wall clock.
pub(super) fn wall_ms(config: &ClusterConfig, now_ns: u64) -> i64 {
    config.wall_start_ms.saturating_add((now_ns / 1_000_000) as i64)
}

// Java: SendMessageRequestHeader, SendMessageRequestHeaderV2. A missing or unreadable required
// field ends as an exception text in code 1.
fn parse_send_header(command: &Command) -> Result<SendHeader<'_>, Refusal> {
    let long_names = matches!(command.code, request::SEND_MESSAGE | request::SEND_REPLY_MESSAGE);
    let field = |long: &str, short: &str| command.ext.get(if long_names { long } else { short });
    let number = |long: &str, short: &str| -> Result<i64, Refusal> {
        let text = field(long, short).ok_or_else(|| exception("java.lang.NullPointerException"))?;
        text.parse().map_err(|_| {
            let name = "java.lang.NumberFormatException";
            exception(&format!("{name}: For input string: \"{text}\""))
        })
    };
    let int = |long: &str, short: &str| -> Result<i32, Refusal> {
        i32::try_from(number(long, short)?)
            .map_err(|_| exception("java.lang.NumberFormatException: out of range"))
    };
    let text = |long: &str, short: &str| field(long, short).unwrap_or_default();
    let topic = field("topic", "b");
    Ok(SendHeader {
        group: text("producerGroup", "a"),
        topic: topic.ok_or_else(|| exception("java.lang.NullPointerException"))?,
        default_topic: text("defaultTopic", "c"),
        default_queues: number("defaultTopicQueueNums", "d")?,
        queue_id: int("queueId", "e")?,
        sys_flag: int("sysFlag", "f")?,
        born_timestamp_ms: number("bornTimestamp", "g")?,
        flag: int("flag", "h")?,
        properties: text("properties", "i"),
        batch: text("batch", "m").eq_ignore_ascii_case("true"),
    })
}

// Java: SendMessageProcessor#sendBatchMessage, CommitLog#asyncPutMessages.
fn check_batch(header: &SendHeader<'_>) -> Result<(), Refusal> {
    let illegal = |remark: &str| Err((answer::MESSAGE_ILLEGAL, Some(remark.to_owned())));
    if header.topic.starts_with("%RETRY%") {
        return illegal("batch request does not support retry group");
    }
    let delayed = property(header.properties, "DELAY").is_some_and(|level| level != "0");
    if header.sys_flag & TRANSACTION_MASK != 0 || delayed {
        return illegal("the message is illegal: a batch is neither delayed nor prepared");
    }
    Ok(())
}

// Java: NettyRemotingAbstract, an exception of a processor becomes code 1 with its text.
fn exception(text: &str) -> Refusal {
    (answer::SYSTEM_ERROR, Some(text.to_owned()))
}

// Java: SendMessageProcessor#handlePutMessageResult.
fn illegal_message(config: &ClusterConfig) -> Refusal {
    let remark = format!(
        "the message is illegal, maybe msg body or properties length not matched. msg body \
         length limit {}B, msg properties length limit 32KB.",
        config.body_bytes_max
    );
    (answer::MESSAGE_ILLEGAL, Some(remark))
}

// Java: TopicValidator#validateTopic.
pub(super) fn illegal_topic(topic: &str) -> Option<String> {
    if topic.trim().is_empty() {
        return Some("The specified topic is blank.".into());
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"%|-_".contains(&byte);
    if !topic.bytes().all(legal) {
        let remark = "The specified topic contains illegal characters, allowing only \
                      ^[%|a-zA-Z0-9_-]+$";
        return Some(remark.into());
    }
    let longest = if topic.starts_with("%RETRY%") { 255 } else { 127 };
    (topic.len() > longest).then(|| "The specified topic is longer than topic max length.".into())
}

// What the broker adds counts against the limit. The longest accepted strings are measured:
// 32,639 and 32,705 (with UNIQ_KEY and WAIT) on 5.5.0, 32,745 and 32,755 on 4.9.7.
fn property_bytes_stored(config: &ClusterConfig, sent: &str) -> usize {
    let cluster = "CLUSTER".len() + 1 + config.cluster_name.len();
    if config.version == ServerVersion::V4_9 {
        let wait = property(sent, "WAIT").map_or(0, |value| 6 + value.len());
        return sent.len() - wait.min(sent.len()) + cluster;
    }
    let region = "MSG_REGION".len() + 1 + config.region.len() + 1 + "TRACE_ON\u{1}true\u{2}".len();
    let unique_key = if property(sent, "UNIQ_KEY").is_some() { 0 } else { 66 };
    sent.len() + cluster + 1 + region + unique_key
}

// Java: PermName#perm2String.
fn perm_text(perm: i32) -> String {
    [(4, 'R'), (2, 'W'), (1, 'X')]
        .iter()
        .map(|(bit, letter)| if perm & bit != 0 { *letter } else { '-' })
        .collect()
}
