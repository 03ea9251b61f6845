//! Queries: questions of the application besides sends. Each is one request to one server, except
//! that name servers are asked one after another.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::control::ControlKind;
use super::receive::remark_of;
use super::{Client, Life};
use crate::error::{AttemptFailure, CloseReason, NameServerFailure};
use crate::limits;
use crate::namespace;
use crate::output::Output;
use crate::permission::PermissionReason;
use crate::query::{
    Answer, AnswerValue, BrokerInfo, Query, QueryError, QueryErrorKind, QueryId, QueryRequest,
    Target, TopicSettings,
};
use crate::receipt::MessageQueue;
use crate::slab::Key;
use crate::time::{Instant, WallTime};
use crate::wire::{
    Command, EncodeError, Encoding, RequestHead, ResponseCode, decode_route, decode_stored,
    encode_request, encode_route_query,
};

/// A query that has not ended.
#[derive(Debug)]
pub(super) struct OpenQuery {
    id: QueryId,
    request: Arc<QueryRequest>,
    /// Who is asked now.
    endpoint: Key,
    /// The request that is under way.
    control: Option<Key>,
    /// Name servers that were not asked yet, the next one last.
    unasked: Vec<Key>,
    /// Name servers that gave no answer.
    failed: Vec<NameServerFailure>,
    /// One of them does not know the topic.
    not_found: bool,
    of_name_servers: bool,
    started: Instant,
    deadline: Instant,
}

impl Client {
    /// Asks a server. The end is reported as [`Output::Answer`] under `id`, once, at `deadline` at
    /// the latest: also if the query is refused at once, because it cannot be right, too many are
    /// open, or the client is closing. A query is not repeated.
    pub fn query(&mut self, now: Instant, id: QueryId, mut query: Query, deadline: Instant) {
        self.advance(now);
        let refused = match query.request.enter_namespace(&self.config.namespace) {
            Err(kind) => Some(kind),
            Ok(()) if self.life != Life::Running => Some(QueryErrorKind::Closed),
            Ok(()) if self.open_queries.len() >= limits::OPEN_QUERIES_MAX => {
                Some(QueryErrorKind::TooMany)
            }
            Ok(()) => None,
        };
        if let Some(kind) = refused {
            let result = Err(QueryError::new(kind, query.request.name()));
            return self.outputs.push_back(Output::Answer { id, result });
        }
        let of_name_servers = query.to == Target::NameServers;
        let mut unasked = match query.to {
            Target::NameServers => self.name_servers_in_turn(),
            Target::Broker(announced) => {
                let address = self.config.address_map.reachable(announced);
                alloc::vec![self.endpoint(address)]
            }
            Target::Server(address) => alloc::vec![self.endpoint(address)],
        };
        let Some(endpoint) = unasked.pop() else {
            // Only name servers can be none.
            let said = self.discovery_failure().map(|said| said.failure);
            let kind = QueryErrorKind::Lost(said.unwrap_or(AttemptFailure::NoAddress));
            let result = Err(QueryError::new(kind, query.request.name()));
            return self.outputs.push_back(Output::Answer { id, result });
        };
        let started = self.now;
        let key = self.open_queries.insert(OpenQuery {
            id,
            request: Arc::new(query.request),
            endpoint,
            control: None,
            unasked,
            failed: Vec::new(),
            not_found: false,
            of_name_servers,
            started,
            deadline,
        });
        self.ask(key);
    }

    /// Gives a query up: nothing is reported about it any more.
    pub fn cancel_query(&mut self, now: Instant, id: QueryId) {
        self.advance(now);
        let named = self.open_queries.iter().find(|(_, query)| query.id == id).map(|(key, _)| key);
        let Some(query) = named.and_then(|key| self.open_queries.remove(key)) else {
            return;
        };
        if let Some(control) = query.control {
            self.end_control(control);
        }
        self.forget_asked(query.endpoint);
    }

    /// All name servers, the chosen one last.
    fn name_servers_in_turn(&self) -> Vec<Key> {
        let servers = self.name_servers.len();
        let turn = (0..servers).rev().map(|step| (self.chosen_name_server + step) % servers);
        turn.filter_map(|index| self.name_servers.get(index).copied()).collect()
    }

    /// Sends the request to the server whose turn it is.
    fn ask(&mut self, key: Key) {
        let now = self.now;
        let Some(query) = self.open_queries.get(key) else {
            return;
        };
        // Those that come later keep their share of the time.
        let share = query.deadline.saturating_since(now) / (query.unasked.len() as u32 + 1);
        let kind = ControlKind::Query { query: key, request: Arc::clone(&query.request) };
        let control = self.start_control(query.endpoint, kind, share);
        // It may have ended already, and another one begun.
        if self.controls.get(control).is_some()
            && let Some(query) = self.open_queries.get_mut(key)
        {
            query.control = Some(control);
        }
    }

    /// Whether a query is under way at an address.
    pub(super) fn is_queried(&self, endpoint: Key) -> bool {
        self.open_queries.iter().any(|(_, query)| query.endpoint == endpoint)
    }

    /// Addresses that were only asked stay until the next cleaning, for further queries, unless
    /// there are many.
    fn forget_asked(&mut self, endpoint: Key) {
        if self.endpoints.len() > limits::ASKED_ADDRESSES_MAX {
            self.release_endpoint(endpoint);
        }
    }

    /// The request of a query got no answer.
    pub(super) fn query_lost(&mut self, key: Key, failure: AttemptFailure) {
        let Some(query) = self.open_queries.get(key) else {
            return;
        };
        let failure = match failure {
            // Not even a connection: that of the last dial is the better reason.
            AttemptFailure::TimedOut => self.pending_failure(query.endpoint),
            failure => failure,
        };
        if failure == AttemptFailure::Closed(CloseReason::Shutdown) {
            return self.end_open_query(key, Err(QueryErrorKind::Closed), 0);
        }
        self.query_failed_at(key, QueryErrorKind::Lost(failure));
    }

    /// The request of a query was answered.
    pub(super) fn query_reply(&mut self, key: Key, command: &Command<'_>, body: &[u8]) {
        let Some(query) = self.open_queries.get(key) else {
            return;
        };
        match read(&query.request, command, body) {
            Ok(mut value) => {
                if let AnswerValue::Messages(messages) = &mut value {
                    for message in messages {
                        let namespace = &self.config.namespace;
                        message.topic = namespace::unwrap(namespace, &message.topic).into();
                    }
                }
                self.end_open_query(key, Ok(value), command.version);
            }
            Err(kind) => self.query_failed_at(key, kind),
        }
    }

    /// The server whose turn it is was no help.
    fn query_failed_at(&mut self, key: Key, kind: QueryErrorKind) {
        let Some(query) = self.open_queries.get_mut(key) else {
            return;
        };
        query.control = None;
        query.not_found |= kind == QueryErrorKind::TopicNotFound;
        if query.of_name_servers {
            let failure = match &kind {
                QueryErrorKind::Lost(failure) => failure.clone(),
                QueryErrorKind::BadAnswer(reason) => AttemptFailure::BadRoute(reason.clone()),
                QueryErrorKind::Refused { code, remark }
                | QueryErrorKind::PermissionDenied { code, remark, .. } => {
                    AttemptFailure::Answered { code: *code, remark: remark.clone() }
                }
                _ => AttemptFailure::Answered {
                    code: ResponseCode::TOPIC_NOT_EXIST,
                    remark: "no route for the topic".into(),
                },
            };
            if let Some(endpoint) = self.endpoints.get(query.endpoint) {
                let address = Arc::clone(&endpoint.text);
                query.failed.push(NameServerFailure { address, failure });
            }
            if let Some(next) = query.unasked.pop()
                && query.deadline > self.now
            {
                query.endpoint = next;
                return self.ask(key);
            }
        }
        let kind = if query.not_found { QueryErrorKind::TopicNotFound } else { kind };
        self.end_open_query(key, Err(kind), 0);
    }

    fn end_open_query(
        &mut self,
        key: Key,
        result: Result<AnswerValue, QueryErrorKind>,
        version: i32,
    ) {
        let Some(query) = self.open_queries.remove(key) else {
            return;
        };
        let address = self.endpoints.get(query.endpoint).map(|endpoint| Arc::clone(&endpoint.text));
        let elapsed = self.now.saturating_since(query.started);
        let result = match result {
            Ok(value) => {
                Ok(Answer { address: address.unwrap_or_default(), version, elapsed, value })
            }
            Err(kind) => {
                let error = QueryError::of_request(kind, &query.request, address, elapsed);
                Err(error.with_name_servers(query.failed))
            }
        };
        self.outputs.push_back(Output::Answer { id: query.id, result });
        self.forget_asked(query.endpoint);
    }

    /// The client closes: nobody is asked any more.
    pub(super) fn end_open_queries(&mut self) {
        for key in self.open_queries.keys() {
            if let Some(control) = self.open_queries.get(key).and_then(|query| query.control) {
                self.end_control(control);
            }
            self.end_open_query(key, Err(QueryErrorKind::Closed), 0);
        }
    }
}

/// What an answer means.
fn read(
    request: &QueryRequest,
    command: &Command<'_>,
    body: &[u8],
) -> Result<AnswerValue, QueryErrorKind> {
    let code = ResponseCode(command.code);
    if code != ResponseCode::SUCCESS {
        return Err(refusal(request, code, remark_of(command)));
    }
    let bad = |reason: String| QueryErrorKind::BadAnswer(reason.into());
    let number = |name: &str| {
        let text = command.ext_fields.get(name);
        let number = text.and_then(|text| text.parse::<i64>().ok());
        number.ok_or_else(|| bad(alloc::format!("no number \"{name}\"")))
    };
    Ok(match request {
        QueryRequest::Route { .. } => {
            AnswerValue::Route(decode_route(body).map_err(|error| bad(error.to_string()))?)
        }
        QueryRequest::CreateTopic { .. } | QueryRequest::Recall { .. } => AnswerValue::Done,
        QueryRequest::MaxOffset { .. }
        | QueryRequest::MinOffset { .. }
        | QueryRequest::SearchOffset { .. } => AnswerValue::Offset(number("offset")?),
        QueryRequest::EarliestTime { .. } => {
            AnswerValue::Time(WallTime::from_millis(number("timestamp")?))
        }
        QueryRequest::ViewMessage { .. } | QueryRequest::FindMessages { .. } => {
            let messages = decode_stored(body).map_err(|error| bad(error.to_string()))?;
            if messages.is_empty() {
                return Err(QueryErrorKind::MessageNotFound);
            }
            AnswerValue::Messages(messages)
        }
        QueryRequest::BrokerInfo => {
            AnswerValue::Broker(BrokerInfo::decode(body).map_err(|reason| bad(reason.into()))?)
        }
    })
}

fn refusal(request: &QueryRequest, code: ResponseCode, remark: Box<str>) -> QueryErrorKind {
    if let Some(reason) = PermissionReason::of(code, &remark) {
        return QueryErrorKind::PermissionDenied { reason, code, remark };
    }
    let views = matches!(request, QueryRequest::ViewMessage { .. });
    let recalls = matches!(request, QueryRequest::Recall { .. });
    match code {
        ResponseCode::TOPIC_NOT_EXIST => QueryErrorKind::TopicNotFound,
        // Java: QueryMessageProcessor#queryMessage
        ResponseCode::QUERY_NOT_FOUND => QueryErrorKind::MessageNotFound,
        // Java: QueryMessageProcessor#viewMessageById, the only text for it.
        ResponseCode::SYSTEM_ERROR if views && remark.starts_with("can not find message") => {
            QueryErrorKind::MessageNotFound
        }
        // Java: RecallMessageProcessor#processRequest [5.3.2]
        ResponseCode::ILLEGAL_OPERATION if recalls => QueryErrorKind::NotRecallable { remark },
        ResponseCode::REQUEST_CODE_NOT_SUPPORTED if recalls => {
            QueryErrorKind::RecallDisabled { code, remark }
        }
        ResponseCode::NO_PERMISSION if recalls && remark.starts_with("recall failed") => {
            QueryErrorKind::RecallDisabled { code, remark }
        }
        code => QueryErrorKind::Refused { code, remark },
    }
}

/// Appends the frame of a query.
pub(super) fn encode_query(
    out: &mut Vec<u8>,
    encoding: Encoding,
    opaque: i32,
    request: &QueryRequest,
) -> Result<(), EncodeError> {
    let place = |topic: &str, queue: &MessageQueue, more: &[(&'static str, String)]| {
        let mut fields = alloc::vec![
            ("topic", topic.to_string()),
            ("queueId", queue.queue_id().to_string()),
            ("bname", queue.broker_name().to_string()),
        ];
        fields.extend_from_slice(more);
        fields
    };
    let fields = match request {
        QueryRequest::Route { topic } => return encode_route_query(out, encoding, opaque, topic),
        QueryRequest::CreateTopic { default_topic, settings } => creation(default_topic, settings),
        QueryRequest::MaxOffset { topic, queue } => {
            // Java: GetMaxOffsetRequestHeader#committed
            place(topic, queue, &[("committed", String::from("true"))])
        }
        QueryRequest::MinOffset { topic, queue } | QueryRequest::EarliestTime { topic, queue } => {
            place(topic, queue, &[])
        }
        QueryRequest::SearchOffset { topic, queue, time } => {
            let time = time.as_millis().to_string();
            let lower = String::from("LOWER");
            place(topic, queue, &[("timestamp", time), ("boundaryType", lower)])
        }
        QueryRequest::ViewMessage { topic, commit_log_offset } => {
            let offset = commit_log_offset.to_string();
            alloc::vec![("topic", topic.to_string()), ("offset", offset)]
        }
        QueryRequest::FindMessages { topic, key, unique, max } => search(topic, key, *unique, *max),
        // Java: RecallMessageRequestHeader
        QueryRequest::Recall { topic, producer_group, broker_name, handle } => {
            let own = |text: &str| text.to_string();
            alloc::vec![
                ("producerGroup", own(producer_group)),
                ("topic", own(topic)),
                ("recallHandle", own(handle)),
                ("bname", own(broker_name)),
            ]
        }
        QueryRequest::BrokerInfo => Vec::new(),
    };
    let head = RequestHead { encoding, code: request.code(), opaque, oneway: false };
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
    encode_request(out, &head, &fields, &[])
}

// Java: CreateTopicRequestHeader, MQClientAPIImpl#createTopic
fn creation(default_topic: &str, settings: &TopicSettings) -> Vec<(&'static str, String)> {
    alloc::vec![
        ("topic", settings.name.to_string()),
        ("defaultTopic", default_topic.to_string()),
        ("readQueueNums", settings.read_queues.to_string()),
        ("writeQueueNums", settings.write_queues.to_string()),
        ("perm", settings.perm.to_string()),
        ("topicFilterType", String::from("SINGLE_TAG")),
        ("topicSysFlag", settings.topic_sys_flag.to_string()),
        ("order", settings.order.to_string()),
        ("attributes", settings.attribute_text()),
        ("force", String::from("false")),
    ]
}

// Java: MQAdminImpl#queryMessage, which looks back three days for a unique key; without a bound
// older messages are found too, and the broker stops at the number that is wanted.
fn search(topic: &str, key: &str, unique: bool, max: u32) -> Vec<(&'static str, String)> {
    alloc::vec![
        ("topic", topic.to_string()),
        ("key", key.to_string()),
        ("maxNum", max.min(i32::MAX as u32).to_string()),
        ("beginTimestamp", 0.to_string()),
        ("endTimestamp", i64::MAX.to_string()),
        ("_UNIQUE_KEY_QUERY", unique.to_string()),
        // Java: MessageConst#INDEX_UNIQUE_TYPE, #INDEX_KEY_TYPE [5.4]
        ("indexType", String::from(if unique { "U" } else { "K" })),
    ]
}
