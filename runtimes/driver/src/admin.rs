//! Calls about topics, offsets and stored messages.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocketmq_core::wire::{BrokerData, OffsetMessageId, StoredMessage, TopicRoute};
use rocketmq_core::{
    Address, Answer, AnswerValue, BrokerInfo, Instant, MessageQueue, Query, QueryError,
    QueryErrorKind, QueryRequest, Target, TopicSettings, WallTime,
};

use crate::client::Handle;
use crate::compression::decompress;
use crate::query::Asked;

/// The broker id of a master.
// Java: MixAll#MASTER_ID
const MASTER_ID: i64 = 0;

/// A topic that is there in every set-up, and on every broker.
// Java: TopicConfigManager, TopicValidator#RMQ_SYS_SELF_TEST_TOPIC
pub(crate) const EVERYWHERE: &str = "SELF_TEST_TOPIC";

/// What is asked of a queue's broker, whichever offset it is.
const OFFSET: &str = "offset of the queue";

/// Questions under way at once in one call.
const AT_ONCE: usize = 256;

/// Queues of one topic that are asked for in one call. Name servers only announce numbers: a few
/// bytes of theirs must not become millions of questions.
const QUEUES_MAX: u64 = 65_536;

/// Bytes of bodies that are decompressed in one call: a few bytes can stand for very many.
const DECOMPRESSED_MAX: usize = 64 * 1024 * 1024;

/// Most messages asked of each broker for one key.
// Java: MQAdminImpl#queryMessageByUniqKey
const SAME_KEY_MAX: u32 = 32;

/// Calls about topics, offsets and stored messages, made with [`Client::admin`]. Clones are cheap.
///
/// Every call asks the name servers for the topic's route first, so that it sees brokers that came
/// since, and takes [`Config::request_timeout`] in all at most unless
/// [`with_timeout`](Admin::with_timeout) says otherwise. Nothing is tried twice, except that one
/// name server is asked after the other.
///
/// # Cancel safety
/// Dropping the future of any call gives up what was not answered yet. Only
/// [`create_topic`](Admin::create_topic) changes anything: dropped, it may have created the topic
/// on some brokers.
///
/// [`Client::admin`]: crate::Client::admin
/// [`Config::request_timeout`]: crate::Config::request_timeout
#[derive(Clone)]
pub struct Admin {
    handle: Arc<Handle>,
    timeout: Duration,
}

impl Admin {
    pub(crate) fn new(handle: Arc<Handle>) -> Admin {
        let timeout = handle.shared.config.request_timeout;
        Admin { handle, timeout }
    }

    /// Sets the time for each call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Admin {
        self.timeout = timeout;
        self
    }

    /// Where the queues of a topic are, as the name servers say now.
    ///
    /// # Errors
    /// If no name server gave a route; the error names each with what happened.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute, QueryError> {
        Call::new(self).route(topic).await
    }

    /// Creates a topic on every broker that takes new topics, or changes it where it exists: on
    /// the master of each broker in the route of
    /// [`Config::create_topic_key`](crate::Config::create_topic_key), or, where brokers do not
    /// create topics by themselves, of all brokers.
    ///
    /// # Errors
    /// If the settings are not possible, no broker is known, or every broker refused; then the
    /// error is that of the first. If some did and some did not, the result says which.
    // Java: MQAdminImpl#createTopic, which tries each broker five times
    pub async fn create_topic(&self, settings: TopicSettings) -> Result<TopicCreation, QueryError> {
        let call = Call::new(self);
        let default_topic = &self.handle.shared.config.create_topic_key;
        let route = match call.route(default_topic).await {
            Err(error) if *error.kind() == QueryErrorKind::TopicNotFound => {
                call.route(EVERYWHERE).await?
            }
            route => route?,
        };
        let topic = settings.name.clone();
        let request = QueryRequest::CreateTopic {
            default_topic: default_topic.clone(),
            settings: Box::new(settings),
        };
        let masters = masters(&route);
        let asked: Vec<_> = masters
            .into_iter()
            .map(|(name, address)| {
                let asked = call.broker(address.clone(), request.clone());
                (name, address, asked)
            })
            .collect();
        let mut brokers = Vec::new();
        for (broker_name, address, asked) in asked {
            let result = asked.await.map(drop);
            brokers.push(BrokerResult { broker_name, address, result });
        }
        if brokers.iter().any(|broker| broker.result.is_ok()) {
            return Ok(TopicCreation { topic, brokers });
        }
        let first = brokers.into_iter().find_map(|broker| broker.result.err());
        Err(first.unwrap_or_else(|| QueryError::new(QueryErrorKind::NoBroker, request.name())))
    }

    /// The offsets of all queues of a topic, by broker and number.
    ///
    /// # Errors
    /// If there is no route, or it names more than 65,536 queues. What a broker does not answer is
    /// an error of its queues alone.
    pub async fn offsets(&self, topic: &str) -> Result<Vec<QueueOffsets>, QueryError> {
        let call = Call::new(self);
        let route = call.route(topic).await?;
        let masters = masters(&route);
        let places = queues_of(&route)?;
        let mut offsets = Vec::new();
        for chunk in places.chunks(AT_ONCE / 2) {
            let asked: Vec<_> = chunk
                .iter()
                .map(|queue| {
                    let address = address_of(&masters, queue.broker_name(), OFFSET)?;
                    let (topic, queue) = (|| topic.into(), || queue.clone());
                    let min = QueryRequest::MinOffset { topic: topic(), queue: queue() };
                    let max = QueryRequest::MaxOffset { topic: topic(), queue: queue() };
                    Ok((call.broker(address.clone(), min), call.broker(address, max)))
                })
                .collect();
            for (queue, asked) in chunk.iter().zip(asked) {
                let range = match asked {
                    Ok((min, max)) => range(min, max).await,
                    Err(error) => Err(error),
                };
                offsets.push(QueueOffsets { queue: queue.clone(), range });
            }
        }
        Ok(offsets)
    }

    /// The offset that the next message of a queue will get.
    ///
    /// # Errors
    /// If the topic or the broker is not known, or the broker gave no answer.
    pub async fn max_offset(&self, topic: &str, queue: &MessageQueue) -> Result<u64, QueryError> {
        let request = QueryRequest::MaxOffset { topic: topic.into(), queue: queue.clone() };
        offset(&Call::new(self).of_queue(topic, queue, request).await?)
    }

    /// The offset of the oldest message that a queue still has.
    ///
    /// # Errors
    /// As [`max_offset`](Admin::max_offset).
    pub async fn min_offset(&self, topic: &str, queue: &MessageQueue) -> Result<u64, QueryError> {
        let request = QueryRequest::MinOffset { topic: topic.into(), queue: queue.clone() };
        offset(&Call::new(self).of_queue(topic, queue, request).await?)
    }

    /// The offset of the first message of a queue that was stored at `time` or after, by the
    /// broker's clock; [`max_offset`](Admin::max_offset) if there is none. Brokers before 5.0 give
    /// that of the message whose time is nearest, which may be the one before.
    ///
    /// # Errors
    /// As [`max_offset`](Admin::max_offset).
    pub async fn search_offset(
        &self,
        topic: &str,
        queue: &MessageQueue,
        time: SystemTime,
    ) -> Result<u64, QueryError> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let time = WallTime::from_millis(i64::try_from(since).unwrap_or(i64::MAX));
        let (topic_text, queue_name) = (topic.into(), queue.clone());
        let request = QueryRequest::SearchOffset { topic: topic_text, queue: queue_name, time };
        offset(&Call::new(self).of_queue(topic, queue, request).await?)
    }

    /// When the oldest message that a queue still has was stored, by the broker's clock; `None` if
    /// the queue is empty.
    ///
    /// # Errors
    /// As [`max_offset`](Admin::max_offset).
    pub async fn earliest_time(
        &self,
        topic: &str,
        queue: &MessageQueue,
    ) -> Result<Option<SystemTime>, QueryError> {
        let request = QueryRequest::EarliestTime { topic: topic.into(), queue: queue.clone() };
        let answer = Call::new(self).of_queue(topic, queue, request).await?;
        let AnswerValue::Time(time) = answer.value else { return Err(unexpected(&answer)) };
        let since = u64::try_from(time.as_millis()).ok().map(Duration::from_millis);
        Ok(since.and_then(|since| UNIX_EPOCH.checked_add(since)))
    }

    /// One stored message. `id` is what stands in a send's receipt: the offset message id, which
    /// names the broker and is found at once, or the unique key, for which every broker of the
    /// topic is asked. A text that may be either is tried as both.
    ///
    /// The body is decompressed if this build can do that; otherwise it is as stored, and
    /// [`is_compressed`](StoredMessage::is_compressed) says so.
    ///
    /// # Errors
    /// If `id` is neither, or no broker has the message or could be asked.
    // Java: DefaultMQProducer#viewMessage, MQAdminImpl#viewMessage, #queryMessageByUniqKey
    pub async fn view(&self, topic: &str, id: &str) -> Result<StoredMessage, QueryError> {
        let call = Call::new(self);
        let id = id.trim();
        let place = id.parse::<OffsetMessageId>().ok();
        let by_place = match place {
            Some(place) => {
                // The other way needs time, too.
                match call.half().view(topic, place).await {
                    Ok(message) => return Ok(message),
                    Err(error) => Some(error),
                }
            }
            None => None,
        };
        if id.is_empty() || id.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(QueryError::new(QueryErrorKind::InvalidId, "message by its id"));
        }
        match call.find(topic, id, true, SAME_KEY_MAX).await {
            Ok(messages) => {
                let named = messages.into_iter().find(|message| message.unique_key() == Some(id));
                let kind = QueryErrorKind::MessageNotFound;
                named.ok_or_else(|| QueryError::new(kind, "messages by key"))
            }
            Err(error) if *error.kind() == QueryErrorKind::MessageNotFound => {
                Err(by_place.unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Messages of a topic with a key of the application, at most `max` of each broker (and as
    /// many as it allows, mostly 32), in the order in which they were stored.
    ///
    /// # Errors
    /// If no broker has any, or one that might have could not be asked.
    // Java: MQAdminImpl#queryMessage
    pub async fn messages_by_key(
        &self,
        topic: &str,
        key: &str,
        max: u32,
    ) -> Result<Vec<StoredMessage>, QueryError> {
        let mut messages = Call::new(self).find(topic, key, false, max).await?;
        messages.retain(|message| message.keys().any(|known| known == key));
        messages.sort_by_key(|message| message.store_time);
        if messages.is_empty() {
            return Err(QueryError::new(QueryErrorKind::MessageNotFound, "messages by key"));
        }
        Ok(messages)
    }

    /// What a broker says about itself, by the address that it announces. Brokers may keep this
    /// to administrators.
    ///
    /// # Errors
    /// If the broker gave no answer or refused.
    pub async fn broker_info(&self, address: &Address) -> Result<BrokerInfo, QueryError> {
        let call = Call::new(self);
        let answer = call.broker(address.clone(), QueryRequest::BrokerInfo).await?;
        match answer.value {
            AnswerValue::Broker(info) => Ok(info),
            _ => Err(unexpected(&answer)),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A topic that was created, or changed.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TopicCreation {
    /// The topic.
    pub topic: Box<str>,
    /// Every broker that was asked; at least one did it.
    pub brokers: Vec<BrokerResult>,
}

impl TopicCreation {
    /// Whether every broker did it.
    pub fn is_complete(&self) -> bool {
        self.brokers.iter().all(|broker| broker.result.is_ok())
    }
}

/// What one broker did.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct BrokerResult {
    /// Its name.
    pub broker_name: Box<str>,
    /// The address that its master announces.
    pub address: Address,
    /// How it went.
    pub result: Result<(), QueryError>,
}

/// The offsets of one queue.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct QueueOffsets {
    /// The queue.
    pub queue: MessageQueue,
    /// Its messages, or why they are not known.
    pub range: Result<OffsetRange, QueryError>,
}

/// The messages that a queue has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OffsetRange {
    /// The offset of the oldest message.
    pub min: u64,
    /// The offset that the next message will get.
    pub max: u64,
}

/// One call: everything it asks has the same end.
pub(crate) struct Call<'a> {
    handle: &'a Arc<Handle>,
    deadline: Instant,
}

impl<'a> Call<'a> {
    fn new(admin: &'a Admin) -> Call<'a> {
        Call::within(&admin.handle, admin.timeout)
    }

    pub(crate) fn within(handle: &'a Arc<Handle>, timeout: Duration) -> Call<'a> {
        Call { handle, deadline: handle.shared.clock.now() + timeout }
    }

    /// The same with half of the time that is left.
    fn half(&self) -> Call<'a> {
        let now = self.handle.shared.clock.now();
        Call { handle: self.handle, deadline: now + self.deadline.saturating_since(now) / 2 }
    }

    pub(crate) fn ask(&self, to: Target, request: QueryRequest) -> Asked {
        Asked::start(self.handle, Query { to, request }, self.deadline)
    }

    pub(crate) fn broker(&self, announced: Address, request: QueryRequest) -> Asked {
        self.ask(Target::Broker(announced), request)
    }

    pub(crate) async fn route(&self, topic: &str) -> Result<TopicRoute, QueryError> {
        let request = QueryRequest::Route { topic: topic.into() };
        let answer = self.ask(Target::NameServers, request).await?;
        match answer.value {
            AnswerValue::Route(route) => Ok(route),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Asks the master of a queue's broker.
    async fn of_queue(
        &self,
        topic: &str,
        queue: &MessageQueue,
        request: QueryRequest,
    ) -> Result<Answer, QueryError> {
        self.of_broker(topic, queue.broker_name(), OFFSET, request).await
    }

    /// Asks the master of a broker in the topic's route. `what` stands in the error if there is
    /// none.
    pub(crate) async fn of_broker(
        &self,
        topic: &str,
        broker_name: &str,
        what: &'static str,
        request: QueryRequest,
    ) -> Result<Answer, QueryError> {
        let route = self.route(topic).await?;
        let address = address_of(&masters(&route), broker_name, what)?;
        self.broker(address, request).await
    }

    async fn view(&self, topic: &str, id: OffsetMessageId) -> Result<StoredMessage, QueryError> {
        let request = QueryRequest::ViewMessage {
            topic: topic.into(),
            commit_log_offset: id.commit_log_offset,
        };
        let address = Address::new(&id.host.to_string(), id.port);
        let address =
            address.map_err(|_| QueryError::new(QueryErrorKind::InvalidId, request.name()))?;
        let mut answer = self.broker(address, request).await?;
        match &mut answer.value {
            AnswerValue::Messages(messages) if !messages.is_empty() => {
                decompress_all(messages);
                Ok(messages.swap_remove(0))
            }
            _ => Err(unexpected(&answer)),
        }
    }

    /// Asks every broker of the topic for messages with a key.
    async fn find(
        &self,
        topic: &str,
        key: &str,
        unique: bool,
        max: u32,
    ) -> Result<Vec<StoredMessage>, QueryError> {
        let request =
            QueryRequest::FindMessages { topic: topic.into(), key: key.into(), unique, max };
        let route = self.route(topic).await?;
        let asked: Vec<_> = route
            .brokers
            .iter()
            .filter_map(any_address)
            .map(|address| self.broker(address, request.clone()))
            .collect();
        let (mut found, mut failed) = (Vec::new(), None);
        for asked in asked {
            match asked.await.map(|answer| answer.value) {
                Ok(AnswerValue::Messages(messages)) => found.extend(messages),
                Ok(_) => {}
                Err(error) if *error.kind() == QueryErrorKind::MessageNotFound => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let missing = || QueryError::new(QueryErrorKind::MessageNotFound, request.name());
        decompress_all(&mut found);
        if found.is_empty() { Err(failed.unwrap_or_else(missing)) } else { Ok(found) }
    }
}

/// Decompresses bodies as far as [`DECOMPRESSED_MAX`] allows. One that cannot be read, or for
/// which there is no room, stays as it is stored, and says so.
fn decompress_all(messages: &mut [StoredMessage]) {
    let mut left = DECOMPRESSED_MAX;
    for message in messages.iter_mut().filter(|message| message.is_compressed()) {
        if let Ok(body) = decompress(message.sys_flag, &message.body, left) {
            left -= body.len();
            message.body = body;
            // Java: MessageDecoder#decode clears this bit alone, too.
            message.sys_flag &= !1;
        }
    }
}

/// All queues of a route, each once, by broker and number.
fn queues_of(route: &TopicRoute) -> Result<Vec<MessageQueue>, QueryError> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for data in &route.queues {
        let count = data.read_queue_nums.max(data.write_queue_nums).max(0).unsigned_abs();
        let known = counts.entry(&data.broker_name).or_default();
        *known = count.max(*known);
    }
    let total: u64 = counts.values().map(|count| u64::from(*count)).sum();
    if total > QUEUES_MAX {
        let reason = format!("the route has {total} queues, more than {QUEUES_MAX}").into();
        return Err(QueryError::new(QueryErrorKind::BadAnswer(reason), "offsets of the topic"));
    }
    let of = |(name, count): (&str, u32)| {
        let name: Arc<str> = name.into();
        (0..count).map(move |id| MessageQueue::new(Arc::clone(&name), id))
    };
    Ok(counts.into_iter().flat_map(of).collect())
}

/// Brokers with a master whose announced address can be read, each once.
pub(crate) fn masters(route: &TopicRoute) -> Vec<(Box<str>, Address)> {
    let mut masters: Vec<(Box<str>, Address)> = Vec::new();
    for data in &route.brokers {
        let announced = data.addresses.iter().find(|(id, _)| *id == MASTER_ID);
        let known = masters.iter().any(|(name, _)| *name == data.broker_name);
        if let Some(address) = announced.and_then(|(_, text)| text.parse().ok())
            && !known
        {
            masters.push((data.broker_name.clone(), address));
        }
    }
    masters
}

/// The master, or a slave where there is none: both can be read from.
// Java: BrokerData#selectBrokerAddr
fn any_address(data: &BrokerData) -> Option<Address> {
    // Sorted by id, and the master has the smallest.
    data.addresses.iter().find_map(|(_, text)| text.parse().ok())
}

fn address_of(
    masters: &[(Box<str>, Address)],
    broker_name: &str,
    what: &'static str,
) -> Result<Address, QueryError> {
    let known = masters.iter().find(|(name, _)| **name == *broker_name);
    known
        .map(|(_, address)| address.clone())
        .ok_or_else(|| QueryError::new(QueryErrorKind::NoSuchBroker(broker_name.into()), what))
}

async fn range(min: Asked, max: Asked) -> Result<OffsetRange, QueryError> {
    let (min, max) = (offset(&min.await?)?, offset(&max.await?)?);
    Ok(OffsetRange { min, max })
}

/// Brokers say −1 where there is nothing.
fn offset(answer: &Answer) -> Result<u64, QueryError> {
    match answer.value {
        AnswerValue::Offset(offset) => Ok(u64::try_from(offset).unwrap_or(0)),
        _ => Err(unexpected(answer)),
    }
}

/// The machine answers what was asked; this is for the compiler.
fn unexpected(answer: &Answer) -> QueryError {
    let address = &answer.address;
    let reason = format!("{address} answered another question").into();
    QueryError::new(QueryErrorKind::BadAnswer(reason), "query")
}
