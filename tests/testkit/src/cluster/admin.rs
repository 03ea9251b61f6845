//! What a broker answers besides messages: topics, offsets, stored messages, itself.

use super::broker::{Broker, Context, Refusal, Reply, illegal_topic, respond, wall_ms};
use super::config::{ClusterConfig, ServerVersion, TopicConfig};
use super::store::Stored;
use crate::wire::{
    Command, LogMessage, format_properties, request_code as request, response_code as answer,
};

/// When brokers say they were started, before the cluster's time 0.
const UPTIME_MS: i64 = 90_061_000;

/// The most messages that a search gives.
// Java: MessageStoreConfig#maxMsgsNumBatch, defaultQueryMaxNum.
const SEARCH_MAX: usize = 32;

/// What the index has of a key, and all that it has: other keys may have the same.
// Java: IndexFile#indexKeyHashMethod.
fn index_hash(key: &str) -> i32 {
    key.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

impl Broker {
    /// Answers a request of an application that does not send.
    // Java: AdminBrokerProcessor, QueryMessageProcessor.
    pub(super) fn administrate(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        let config = context.config;
        let answered = match command.code {
            request::UPDATE_AND_CREATE_TOPIC => self.update_topic(config, command),
            request::VIEW_MESSAGE_BY_ID => self.view(context, command),
            request::QUERY_MESSAGE => self.search(context, command),
            request::RECALL_MESSAGE => self.recall(context, command),
            request::GET_BROKER_RUNTIME_INFO => Ok(self.describe(context, command)),
            _ => self.offset(context, command),
        };
        let mut answer = answered.unwrap_or_else(|refusal| respond(config, command, refusal));
        if command.code == request::RECALL_MESSAGE && config.version >= ServerVersion::V5_5 {
            // Java: RecallMessageProcessor#processRequest.
            answer.ext.insert("MSG_REGION", &config.region);
        }
        Reply::Answer(answer)
    }

    // Java: AdminBrokerProcessor#updateAndCreateTopic.
    fn update_topic(
        &mut self,
        config: &ClusterConfig,
        command: &Command,
    ) -> Result<Command, Refusal> {
        let illegal = if config.version >= ServerVersion::V5_5 {
            answer::INVALID_PARAMETER
        } else {
            answer::SYSTEM_ERROR
        };
        let topic = text(command, "topic")?;
        if let Some(remark) = illegal_topic(topic) {
            return Err((illegal, Some(remark)));
        }
        let settings = TopicConfig {
            read_queues: number(command, "readQueueNums")?,
            write_queues: number(command, "writeQueueNums")?,
            perm: number(command, "perm")? as i32,
        };
        self.topics.insert(topic.to_owned(), settings);
        Ok(respond(config, command, (answer::SUCCESS, None)))
    }

    // Java: AdminBrokerProcessor#getMaxOffset, #getMinOffset, #searchOffsetByTimestamp,
    // #getEarliestMsgStoretime.
    fn offset(&self, context: &Context<'_>, command: &Command) -> Result<Command, Refusal> {
        let config = context.config;
        let topic = text(command, "topic")?;
        let queue_id = number(command, "queueId")? as i32;
        let queue = || self.store.queue(topic, queue_id);
        let stored_ms = |stored: &Stored| wall_ms(config, stored.store_ns);
        let response = respond(config, command, (answer::SUCCESS, None));
        Ok(match command.code {
            request::GET_MAX_OFFSET => response.field("offset", queue().count().to_string()),
            request::GET_MIN_OFFSET => response.field("offset", "0"),
            request::SEARCH_OFFSET_BY_TIMESTAMP => {
                let time = number(command, "timestamp")?;
                let before = queue().take_while(|stored| stored_ms(stored) < time).count();
                response.field("offset", before.to_string())
            }
            _ => {
                let first = queue().next().map_or(-1, stored_ms);
                response.field("timestamp", first.to_string())
            }
        })
    }

    // Java: QueryMessageProcessor#viewMessageById.
    fn view(&self, context: &Context<'_>, command: &Command) -> Result<Command, Refusal> {
        let offset = number(command, "offset")?;
        let found = u64::try_from(offset).ok();
        let Some(stored) = found.and_then(|offset| self.store.at_commit_log_offset(offset)) else {
            let remark = format!("can not find message by the offset, {offset}");
            return Err((answer::SYSTEM_ERROR, Some(remark)));
        };
        let response = respond(context.config, command, (answer::SUCCESS, None));
        Ok(response.with_body(as_kept(context, stored).encode()))
    }

    // Java: QueryMessageProcessor#queryMessage.
    fn search(&self, context: &Context<'_>, command: &Command) -> Result<Command, Refusal> {
        let (topic, key) = (text(command, "topic")?, text(command, "key")?);
        let (from, until) = (number(command, "beginTimestamp")?, number(command, "endTimestamp")?);
        let unique = command.ext.get("_UNIQUE_KEY_QUERY") == Some("true");
        let asked = usize::try_from(number(command, "maxNum")?).unwrap_or(0);
        let most = if unique { SEARCH_MAX } else { asked.min(SEARCH_MAX) };
        let named = |stored: &&Stored| {
            let same = |known: &str| index_hash(known) == index_hash(key);
            match unique {
                true => stored.unique_key.as_deref().is_some_and(same),
                false => stored.keys.as_deref().is_some_and(|keys| keys.split(' ').any(same)),
            }
        };
        let in_time =
            |stored: &&Stored| (from..=until).contains(&wall_ms(context.config, stored.store_ns));
        let found = self.store.iter().filter(|stored| stored.topic == topic);
        let found: Vec<_> = found.filter(named).filter(in_time).take(most).collect();
        if found.is_empty() {
            let remark = "can not find message, maybe time range not correct";
            return Err((answer::QUERY_NOT_FOUND, Some(remark.into())));
        }
        let bodies = found.iter().flat_map(|stored| as_kept(context, stored).encode());
        let response = respond(context.config, command, (answer::SUCCESS, None));
        Ok(response
            .field("indexLastUpdateTimestamp", wall_ms(context.config, 0).to_string())
            .field("indexLastUpdatePhyoffset", "0")
            .with_body(bodies.collect::<Vec<_>>()))
    }

    // Java: AdminBrokerProcessor#prepareRuntimeInfo, StoreStatsService#getFormatRuntime.
    fn describe(&self, context: &Context<'_>, command: &Command) -> Command {
        let config = context.config;
        let boot = config.wall_start_ms - UPTIME_MS;
        let age = (wall_ms(config, context.now_ns) + config.broker_clock_ahead_ms - boot) / 1_000;
        let runtime = format!(
            "[ {} days, {} hours, {} minutes, {} seconds ]",
            age / 86_400,
            age / 3_600 % 24,
            age / 60 % 60,
            age % 60
        );
        let version = config.version.ordinal();
        let body = format!(
            "{{\"table\":{{\"bootTimestamp\":\"{boot}\",\"runtime\":\"{runtime}\",\
             \"brokerVersion\":\"{version}\",\"msgPutTotalTodayNow\":\"{}\"}}}}",
            self.store.iter().count()
        );
        respond(config, command, (answer::SUCCESS, None)).with_body(body.into_bytes())
    }
}

/// A message as the log has it.
fn as_kept(context: &Context<'_>, stored: &Stored) -> LogMessage {
    LogMessage {
        topic: stored.topic.clone(),
        queue_id: stored.queue_id,
        flag: stored.flag,
        queue_offset: stored.queue_offset as i64,
        commit_log_offset: stored.commit_log_offset as i64,
        sys_flag: stored.sys_flag,
        born_timestamp_ms: stored.born_timestamp_ms,
        born_host: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        store_timestamp_ms: wall_ms(context.config, stored.store_ns),
        store_host: context.address,
        body: stored.body.clone(),
        properties: format_properties(&stored.properties),
    }
}

fn text<'a>(command: &'a Command, name: &str) -> Result<&'a str, Refusal> {
    let missing = || {
        let remark = format!("the custom field <{name}> is null");
        (answer::SYSTEM_ERROR, Some(remark))
    };
    command.ext.get(name).ok_or_else(missing)
}

fn number(command: &Command, name: &str) -> Result<i64, Refusal> {
    let text = text(command, name)?;
    text.parse().map_err(|_| {
        let remark = format!("java.lang.NumberFormatException: For input string: \"{text}\"");
        (answer::SYSTEM_ERROR, Some(remark))
    })
}
