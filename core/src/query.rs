//! Questions to name servers and brokers besides sends, and their answers.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::address::Address;
use crate::error::{AttemptFailure, NameServerFailure};
use crate::invalid::InvalidMessage;
use crate::limits;
use crate::namespace;
use crate::permission::PermissionReason;
use crate::prepared::check_topic;
use crate::recall::RecallHandleError;
use crate::receipt::MessageQueue;
use crate::time::WallTime;
use crate::wire::{RequestCode, ResponseCode, StoredMessage, TopicRoute, decode_table};

/// Names a query while it is open. The caller chooses it, and a different one for each.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryId(pub u64);

/// A question to a server, see [`Client::query`](crate::Client::query).
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// Who is asked.
    pub to: Target,
    /// What is asked.
    pub request: QueryRequest,
}

/// Who is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Target {
    /// The name servers, one after another until one gives an answer: each gets an equal share of
    /// the time that is left.
    NameServers,
    /// The broker that announces this address, reached through the address map.
    Broker(Address),
    /// The server at this very address.
    Server(Address),
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum QueryRequest {
    /// Where the queues of a topic are; of a name server. Gives [`AnswerValue::Route`].
    Route {
        /// The topic.
        topic: Box<str>,
    },
    /// Creates a topic, or changes one that exists. Gives [`AnswerValue::Done`].
    CreateTopic {
        /// The topic whose settings are the template where nothing is said.
        default_topic: Box<str>,
        /// The topic.
        settings: Box<TopicSettings>,
    },
    /// The offset that the next message of a queue will get. Gives [`AnswerValue::Offset`].
    MaxOffset {
        /// The topic.
        topic: Box<str>,
        /// The queue.
        queue: MessageQueue,
    },
    /// The offset of the oldest message that a queue still has. Gives [`AnswerValue::Offset`].
    MinOffset {
        /// The topic.
        topic: Box<str>,
        /// The queue.
        queue: MessageQueue,
    },
    /// The offset of the first message of a queue that was stored at a time or after; brokers
    /// before 5.0 take the message whose time is nearest. Gives [`AnswerValue::Offset`].
    SearchOffset {
        /// The topic.
        topic: Box<str>,
        /// The queue.
        queue: MessageQueue,
        /// The time, by the broker's clock.
        time: WallTime,
    },
    /// When the oldest message that a queue still has was stored. Gives [`AnswerValue::Time`].
    EarliestTime {
        /// The topic.
        topic: Box<str>,
        /// The queue.
        queue: MessageQueue,
    },
    /// The message at a place in a broker's log. Gives [`AnswerValue::Messages`] with one.
    ViewMessage {
        /// Its topic; brokers of 5.x ask for it to check permissions.
        topic: Box<str>,
        /// The place, in bytes.
        commit_log_offset: i64,
    },
    /// Messages with a key. Gives [`AnswerValue::Messages`], oldest first as the broker has them.
    FindMessages {
        /// Their topic.
        topic: Box<str>,
        /// The key.
        key: Box<str>,
        /// The key is a unique key, and not one of the application's.
        unique: bool,
        /// The most that are wanted. A broker has a bound of its own, mostly 32.
        max: u32,
    },
    /// Takes a timer message back before it is delivered; of the broker that has it. Gives
    /// [`AnswerValue::Done`].
    Recall {
        /// Its topic.
        topic: Box<str>,
        /// The group that asks, as servers know it.
        producer_group: Box<str>,
        /// The broker, as the handle names it.
        broker_name: Box<str>,
        /// The text of its [`RecallHandle`](crate::RecallHandle).
        handle: Box<str>,
    },
    /// What a broker says about itself. Gives [`AnswerValue::Broker`].
    BrokerInfo,
}

impl QueryRequest {
    /// What was asked for, in words.
    pub fn name(&self) -> &'static str {
        match self {
            QueryRequest::Route { .. } => "route of the topic",
            QueryRequest::CreateTopic { .. } => "creation of the topic",
            QueryRequest::MaxOffset { .. } => "largest offset of the queue",
            QueryRequest::MinOffset { .. } => "smallest offset of the queue",
            QueryRequest::SearchOffset { .. } => "offset by time",
            QueryRequest::EarliestTime { .. } => "time of the oldest message",
            QueryRequest::ViewMessage { .. } => "message by its place",
            QueryRequest::FindMessages { .. } => "messages by key",
            QueryRequest::Recall { .. } => "recall of the message",
            QueryRequest::BrokerInfo => "description of the broker",
        }
    }

    /// Whether a server does something about it, and not only answers.
    fn changes(&self) -> bool {
        matches!(self, QueryRequest::CreateTopic { .. } | QueryRequest::Recall { .. })
    }

    pub(crate) fn code(&self) -> RequestCode {
        match self {
            QueryRequest::Route { .. } => RequestCode::GET_ROUTEINFO_BY_TOPIC,
            QueryRequest::CreateTopic { .. } => RequestCode::UPDATE_AND_CREATE_TOPIC,
            QueryRequest::MaxOffset { .. } => RequestCode::GET_MAX_OFFSET,
            QueryRequest::MinOffset { .. } => RequestCode::GET_MIN_OFFSET,
            QueryRequest::SearchOffset { .. } => RequestCode::SEARCH_OFFSET_BY_TIMESTAMP,
            QueryRequest::EarliestTime { .. } => RequestCode::GET_EARLIEST_MSG_STORETIME,
            QueryRequest::ViewMessage { .. } => RequestCode::VIEW_MESSAGE_BY_ID,
            QueryRequest::FindMessages { .. } => RequestCode::QUERY_MESSAGE,
            QueryRequest::Recall { .. } => RequestCode::RECALL_MESSAGE,
            QueryRequest::BrokerInfo => RequestCode::GET_BROKER_RUNTIME_INFO,
        }
    }

    /// Gives the topic the name under which servers know it, if it can be one.
    // Java: MQAdminImpl's callers wrap it: DefaultMQProducer#withNamespace
    pub(crate) fn enter_namespace(&mut self, namespace: &str) -> Result<(), QueryErrorKind> {
        match self {
            QueryRequest::CreateTopic { settings, .. } => {
                settings.name = namespace::wrap(namespace, &settings.name).into();
                settings.check()
            }
            QueryRequest::Route { topic }
            | QueryRequest::MaxOffset { topic, .. }
            | QueryRequest::MinOffset { topic, .. }
            | QueryRequest::SearchOffset { topic, .. }
            | QueryRequest::EarliestTime { topic, .. }
            | QueryRequest::ViewMessage { topic, .. }
            | QueryRequest::FindMessages { topic, .. }
            | QueryRequest::Recall { topic, .. } => {
                *topic = namespace::wrap(namespace, topic).into();
                check_topic(topic, "").map_err(QueryErrorKind::InvalidTopic)
            }
            QueryRequest::BrokerInfo => Ok(()),
        }
    }
}

/// A topic that is to be created, or changed if it exists.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
#[non_exhaustive]
pub struct TopicSettings {
    /// Its name.
    pub name: Box<str>,
    /// Queues to read from on each broker.
    pub read_queues: u32,
    /// Queues to write to on each broker.
    pub write_queues: u32,
    /// Permission bits: 4 read, 2 write.
    // Java: PermName
    pub perm: i32,
    /// Unit bits.
    // Java: TopicSysFlag
    pub topic_sys_flag: i32,
    /// Whether the route names the queues in a fixed order.
    pub order: bool,
    /// Attributes of 5.x, like `message.type`.
    // Java: TopicAttributes
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// The kind of messages that a topic of 5.x takes.
// Java: TopicMessageType
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TopicType {
    /// Plain messages.
    Normal,
    /// Messages in order.
    Fifo,
    /// Messages that are delivered later.
    Delay,
    /// Messages of transactions.
    Transaction,
    /// All of these.
    Mixed,
}

impl TopicType {
    /// Java's name.
    pub const fn name(self) -> &'static str {
        match self {
            TopicType::Normal => "NORMAL",
            TopicType::Fifo => "FIFO",
            TopicType::Delay => "DELAY",
            TopicType::Transaction => "TRANSACTION",
            TopicType::Mixed => "MIXED",
        }
    }
}

impl TopicSettings {
    /// A topic with this many queues on each broker, readable and writable.
    pub fn new(name: impl Into<Box<str>>, queues: u32) -> TopicSettings {
        TopicSettings {
            name: name.into(),
            read_queues: queues,
            write_queues: queues,
            perm: 6,
            topic_sys_flag: 0,
            order: false,
            attributes: Vec::new(),
        }
    }

    /// Sets the kind of messages that the topic takes. Brokers before 5.0 do not look at it.
    pub fn with_type(self, topic_type: TopicType) -> TopicSettings {
        self.with_attribute("message.type", topic_type.name())
    }

    /// Sets an attribute of 5.x. A second one of the same name replaces the first.
    pub fn with_attribute(
        mut self,
        name: impl Into<Box<str>>,
        value: impl Into<Box<str>>,
    ) -> TopicSettings {
        let (name, value) = (name.into(), value.into());
        self.attributes.retain(|(known, _)| *known != name);
        self.attributes.push((name, value));
        self
    }

    /// The attributes as a request carries them: `+name=value,+name=value`.
    // Java: AttributeParser#parseToString
    pub(crate) fn attribute_text(&self) -> String {
        let mut out = String::new();
        for (index, (name, value)) in self.attributes.iter().enumerate() {
            out.push_str(if index == 0 { "+" } else { ",+" });
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
        out
    }

    // Java: MQAdminImpl#createTopic, Validators#checkTopic, #isSystemTopic
    fn check(&self) -> Result<(), QueryErrorKind> {
        check_topic(&self.name, "").map_err(QueryErrorKind::InvalidTopic)?;
        if namespace::is_system(&self.name) {
            return Err(QueryErrorKind::InvalidTopic(InvalidMessage::TopicReserved));
        }
        let queues = self.read_queues.max(self.write_queues);
        if queues == 0 || queues > limits::QUEUES_PER_BROKER_MAX {
            return Err(QueryErrorKind::InvalidQueues { queues });
        }
        let separates = |c: char| matches!(c, ',' | '=') || c.is_control();
        let bad = |text: &str| text.is_empty() || text.contains(separates);
        match self.attributes.iter().find(|(name, value)| bad(name) || bad(value)) {
            Some((name, _)) => Err(QueryErrorKind::InvalidAttribute { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// The answer to a query.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The address of the server that answered.
    pub address: Arc<str>,
    /// The version that it calls itself, see [`version_name`](crate::wire::version_name).
    pub version: i32,
    /// Time from the query to the answer, dialling included.
    pub elapsed: Duration,
    /// What it said.
    pub value: AnswerValue,
}

/// What a server said.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum AnswerValue {
    /// It did what was asked for.
    Done,
    /// A route.
    Route(TopicRoute),
    /// An offset in a queue.
    Offset(i64),
    /// A time by the broker's clock.
    Time(WallTime),
    /// Stored messages; never none.
    Messages(Vec<StoredMessage>),
    /// A broker about itself.
    Broker(BrokerInfo),
}

/// What a broker says about itself.
// Java: AdminBrokerProcessor#prepareRuntimeInfo, StoreStatsService#getRuntimeInfo
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrokerInfo {
    table: BTreeMap<Box<str>, Box<str>>,
}

impl BrokerInfo {
    pub(crate) fn decode(body: &[u8]) -> Result<BrokerInfo, &'static str> {
        Ok(BrokerInfo { table: decode_table(body)? })
    }

    /// One entry by RocketMQ's name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.table.get(name).map(|value| &**value)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.table.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The broker's clock when it answered, to the second: it says when it started and how long it
    /// has been running. `None` if it says neither.
    // Java: StoreStatsService#getFormatRuntime
    pub fn clock(&self) -> Option<WallTime> {
        let boot = self.get("bootTimestamp")?.parse::<i64>().ok()?;
        let text = self.get("runtime")?;
        // Like "[ 1 days, 2 hours, 3 minutes, 4 seconds ]"; thousands of days have a comma.
        let mut numbers = text
            .split([' ', '['])
            .map(|word| word.replace(',', ""))
            .filter_map(|word| word.parse::<i64>().ok());
        let mut seconds = 0_i64;
        for unit in [86_400, 3_600, 60, 1] {
            seconds = seconds.checked_add(numbers.next()?.checked_mul(unit)?)?;
        }
        let millis = seconds.checked_mul(1_000)?.checked_add(boot)?;
        (seconds >= 0 && numbers.next().is_none()).then(|| WallTime::from_millis(millis))
    }
}

/// Why a query got no answer, or not the one that was hoped for.
#[derive(Clone, PartialEq, Debug)]
pub struct QueryError(Box<Failure>);

#[derive(Clone, PartialEq, Debug)]
struct Failure {
    kind: QueryErrorKind,
    request: &'static str,
    /// A change was asked for, of a server.
    changes: bool,
    address: Option<Arc<str>>,
    elapsed: Duration,
    name_servers: Vec<NameServerFailure>,
}

/// What went wrong with a query.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryErrorKind {
    /// The topic's name is not legal.
    #[error("{0}")]
    InvalidTopic(InvalidMessage),
    /// The number of queues is not possible.
    #[error("{queues} queues per broker; use 1 to 65,536")]
    InvalidQueues {
        /// The number.
        queues: u32,
    },
    /// An attribute's name or value is empty or holds a comma, `=` or a control character.
    #[error("attribute {name:?} or its value is empty or holds a comma, = or a control character")]
    InvalidAttribute {
        /// Its name.
        name: Box<str>,
    },
    /// The text is neither an offset message id nor can it be a unique key.
    #[error(
        "the text is neither the offset message id nor the unique key of a message; both stand in \
         a send's receipt"
    )]
    InvalidId,
    /// The text is not the handle of a timer message.
    #[error("{RecallHandleError}")]
    InvalidRecallHandle,
    /// The handle is that of a message of another topic, which servers know under this name.
    #[error(
        "the handle is of a message in the topic that servers call \"{0}\"; name that topic, with \
         a client of its namespace"
    )]
    ForeignRecallHandle(Box<str>),
    /// The broker does not recall this message.
    #[error(
        "the broker does not recall the message: {remark}; it may have been delivered by now, or \
         the handle is another broker's"
    )]
    NotRecallable {
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The broker recalls no messages at all.
    #[error(
        "the broker recalls no messages ({code}: {remark}); it needs RocketMQ 5.3.2 or newer with \
         recallMessageEnable=true"
    )]
    RecallDisabled {
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The servers do not know the topic.
    #[error("the topic does not exist; check its name or create it")]
    TopicNotFound,
    /// No broker has the message.
    #[error("no such message; check its id and topic, or it was deleted for its age")]
    MessageNotFound,
    /// The topic's route does not name the broker, or no master of it.
    #[error("no master of broker \"{0}\" is in the topic's route; check the broker's name")]
    NoSuchBroker(Box<str>),
    /// The topic's route has no broker that can be asked.
    #[error("the topic's route names no broker with a master")]
    NoBroker,
    /// The server refused the client: unknown key, wrong signature or missing permission.
    #[error("permission denied, {code}: {remark}; {reason}")]
    PermissionDenied {
        /// What the server has against the client.
        reason: PermissionReason,
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// The server answered with something else than success.
    #[error("the server answered {code}: {remark}")]
    Refused {
        /// Its answer.
        code: ResponseCode,
        /// Its explanation, cut to 4 KiB.
        remark: Box<str>,
    },
    /// There was no answer.
    #[error("{0}")]
    Lost(AttemptFailure),
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    BadAnswer(Box<str>),
    /// Too many queries are open.
    #[error("1,024 queries are open; wait for one of them")]
    TooMany,
    /// The client is closing or closed.
    #[error("the client is closed")]
    Closed,
    /// The client's driver has ended: its runtime was shut down, or it panicked.
    #[error("the client's driver has ended, perhaps with its runtime")]
    DriverStopped,
}

impl QueryError {
    /// An error of which nothing but the reason is known. `request` is what was asked for, as
    /// [`QueryRequest::name`] has it.
    pub fn new(kind: QueryErrorKind, request: &'static str) -> QueryError {
        let name_servers = Vec::new();
        let (changes, address, elapsed) = (false, None, Duration::ZERO);
        let failure = Failure { kind, request, changes, address, elapsed, name_servers };
        QueryError(Box::new(failure))
    }

    /// Of a request that a server was to have, after `elapsed`.
    pub(crate) fn of_request(
        kind: QueryErrorKind,
        request: &QueryRequest,
        address: Option<Arc<str>>,
        elapsed: Duration,
    ) -> QueryError {
        let mut error = QueryError::new(kind, request.name());
        error.0.changes = request.changes();
        (error.0.address, error.0.elapsed) = (address, elapsed);
        error
    }

    pub(crate) fn with_name_servers(mut self, failures: Vec<NameServerFailure>) -> Self {
        self.0.name_servers = failures;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &QueryErrorKind {
        &self.0.kind
    }

    /// What was asked for, in words.
    pub fn request(&self) -> &'static str {
        self.0.request
    }

    /// Whether a server may have done what was asked all the same: created the topic, recalled the
    /// message. Questions do nothing.
    pub fn may_be_done(&self) -> bool {
        let open = match &self.0.kind {
            QueryErrorKind::Lost(failure) => !matches!(
                failure,
                AttemptFailure::Connect(_)
                    | AttemptFailure::NoAddress
                    | AttemptFailure::NoCredentials(_)
                    | AttemptFailure::Discovery(_)
            ),
            QueryErrorKind::Refused { code, .. } => *code == ResponseCode::SYSTEM_ERROR,
            QueryErrorKind::BadAnswer(_) | QueryErrorKind::Closed => true,
            // What was on its way is not known any more.
            QueryErrorKind::DriverStopped => return true,
            _ => false,
        };
        open && self.0.changes
    }

    /// The address of the server that was asked last, if one was.
    pub fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// The code of the server's answer, if it answered with something else than success.
    pub fn code(&self) -> Option<ResponseCode> {
        match &self.0.kind {
            QueryErrorKind::Refused { code, .. }
            | QueryErrorKind::RecallDisabled { code, .. }
            | QueryErrorKind::PermissionDenied { code, .. } => Some(*code),
            QueryErrorKind::NotRecallable { .. } => Some(ResponseCode::ILLEGAL_OPERATION),
            _ => None,
        }
    }

    /// The server's explanation, cut to 4 KiB.
    pub fn remark(&self) -> Option<&str> {
        match &self.0.kind {
            QueryErrorKind::Refused { remark, .. }
            | QueryErrorKind::RecallDisabled { remark, .. }
            | QueryErrorKind::NotRecallable { remark }
            | QueryErrorKind::PermissionDenied { remark, .. } => Some(remark),
            _ => None,
        }
    }

    /// Time from the query to its end.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The name servers that were asked and gave no answer, with what happened.
    pub fn name_servers(&self) -> &[NameServerFailure] {
        &self.0.name_servers
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = &*self.0;
        write!(f, "{}: {}", failure.request, failure.kind)?;
        for server in &failure.name_servers {
            write!(f, "; name server {}: {}", server.address, server.failure)?;
        }
        match &failure.address {
            Some(address) if failure.name_servers.is_empty() => {
                write!(f, "; server {address}, after {:?}", failure.elapsed)
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for QueryError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(boot: &str, runtime: &str) -> BrokerInfo {
        let body = alloc::format!(
            r#"{{"table":{{"bootTimestamp":"{boot}","runtime":"{runtime}","x":null}}}}"#
        );
        BrokerInfo::decode(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_brokers_clock_is_its_start_and_its_age() {
        let clock = |boot, runtime| info(boot, runtime).clock().map(WallTime::as_millis);
        let young = "[ 0 days, 0 hours, 0 minutes, 7 seconds ]";
        assert_eq!(clock("1700000000000", young), Some(1_700_000_007_000));
        let old = "[ 1,002 days, 3 hours, 4 minutes, 5 seconds ]";
        let seconds = 1_002 * 86_400 + 3 * 3_600 + 4 * 60 + 5;
        assert_eq!(clock("1000", old), Some(1_000 + seconds * 1_000));
        for bad in ["", "[ 1 days ]", "[ -9 days, 0 hours, 0 minutes, 1 seconds ]", "x y z"] {
            assert_eq!(clock("1000", bad), None, "{bad}");
        }
        assert_eq!(clock("soon", young), None);
        let far = "[ 9223372036854775807 days, 0 hours, 0 minutes, 0 seconds ]";
        assert_eq!(clock("1000", far), None);
    }

    #[test]
    fn topics_that_cannot_be_created_are_refused_with_the_reason() {
        let refused = |settings: TopicSettings| settings.check().unwrap_err();
        assert!(TopicSettings::new("T", 4).with_type(TopicType::Fifo).check().is_ok());
        assert!(matches!(refused(TopicSettings::new("a/b", 4)), QueryErrorKind::InvalidTopic(_)));
        for name in ["TBW102", "rmq_sys_x"] {
            let error = QueryErrorKind::InvalidTopic(InvalidMessage::TopicReserved);
            assert_eq!(refused(TopicSettings::new(name, 4)), error);
        }
        for queues in [0, 65_537] {
            let error = QueryErrorKind::InvalidQueues { queues };
            assert_eq!(refused(TopicSettings::new("T", queues)), error);
        }
        let forged = TopicSettings::new("T", 1).with_attribute("a", "b,-c");
        assert_eq!(refused(forged), QueryErrorKind::InvalidAttribute { name: "a".into() });
    }

    #[test]
    fn attributes_are_written_as_changes() {
        let settings = TopicSettings::new("T", 1)
            .with_type(TopicType::Normal)
            .with_attribute("x", "y")
            .with_type(TopicType::Delay);
        assert_eq!(settings.attribute_text(), "+x=y,+message.type=DELAY");
    }
}
