//! Transactions at a broker: half messages, how they end, and the questions that it asks about
//! those that do not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ConnectionId;
use super::broker::{Broker, Context, Reply, respond, server_request, wall_ms};
use super::config::{ClusterConfig, HALF_TOPIC, ServerVersion};
use super::store::{Incoming, Stored};
use crate::wire::{
    Command, FLAG_ONEWAY, LogMessage, format_properties, offset_message_id,
    request_code as request, response_code as answer,
};

// Java: MessageSysFlag.TRANSACTION_*_TYPE, the two bits that tell what a message is.
pub(super) const TRANSACTION_MASK: i32 = 0xc;
pub(super) const TRANSACTION_PREPARED: i32 = 0x4;
const TRANSACTION_COMMIT: i32 = 0x8;
const TRANSACTION_ROLLBACK: i32 = 0xc;

/// Where half messages end that nobody decides about.
// Java: TopicValidator.RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC.
const CHECK_MAX_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// How often decisions are noted. [5.0]
// Java: BrokerConfig#transactionOpBatchInterval.
const NOTED_AFTER_NS: u64 = 3_000_000_000;

/// A producer without a heartbeat for so long is forgotten.
// Java: ProducerManager#CHANNEL_EXPIRED_TIMEOUT.
const PRODUCER_EXPIRES_NS: u64 = 120_000_000_000;

/// When a broker asks about transactions that are not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckTimes {
    pub(crate) first_ns: u64,
    pub(crate) every_ns: u64,
    pub(crate) most: u32,
}

/// What a broker knows about transactions besides its log.
#[derive(Clone, Debug, Default)]
pub(super) struct Transactions {
    /// Half messages without a noted end, by place in the log.
    open: BTreeMap<u64, OpenHalf>,
    /// Who produces for a group, by its heartbeats, and when each came last.
    producers: BTreeMap<String, BTreeMap<ConnectionId, u64>>,
    turn: usize,
    /// Ends that were lost in a crash, or were of a half message that had been put back, by place
    /// in the log.
    lost_ends: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct OpenHalf {
    due_ns: u64,
    checks: u32,
    /// When its end came, which is noted later.
    ended_ns: Option<u64>,
}

impl Transactions {
    /// Whether one of the groups is new there.
    pub(super) fn producer_seen(
        &mut self,
        groups: &[String],
        connection: ConnectionId,
        now_ns: u64,
    ) -> bool {
        let mut new = false;
        for group in groups {
            let connections = self.producers.entry(group.clone()).or_default();
            new |= connections.insert(connection, now_ns).is_none();
        }
        new
    }

    pub(super) fn producer_left(&mut self, group: &str, connection: ConnectionId) {
        if let Some(connections) = self.producers.get_mut(group) {
            connections.remove(&connection);
        }
    }

    pub(super) fn connection_closed(&mut self, connection: ConnectionId) {
        for connections in self.producers.values_mut() {
            connections.remove(&connection);
        }
    }

    /// The process dies: ends that were not noted yet are forgotten.
    pub(super) fn crash(&mut self) {
        self.producers.clear();
        for (offset, half) in &mut self.open {
            if half.ended_ns.take().is_some() {
                self.lost_ends.push(*offset);
            }
        }
    }

    /// Half messages that the broker will ask about.
    pub(super) fn open(&self) -> usize {
        self.open.values().filter(|half| half.ended_ns.is_none()).count()
    }

    pub(super) fn lost_ends(&self) -> &[u64] {
        &self.lost_ends
    }

    /// The next producer of a group. One that has fallen silent is none for ever.
    // Java: ProducerManager#getAvailableChannel, in turn; #scanNotActiveChannel.
    fn producer(&mut self, group: &str, now_ns: u64) -> Option<ConnectionId> {
        let connections = self.producers.get_mut(group)?;
        connections.retain(|_, last_ns| now_ns.saturating_sub(*last_ns) <= PRODUCER_EXPIRES_NS);
        self.turn = self.turn.wrapping_add(1);
        let index = self.turn.checked_rem(connections.len())?;
        connections.keys().nth(index).copied()
    }
}

impl Broker {
    /// A half message was stored. When it is time to look after it.
    pub(super) fn half_stored(
        &mut self,
        config: &ClusterConfig,
        now_ns: u64,
        commit_log_offset: u64,
    ) {
        let half = self.store.at_commit_log_offset(commit_log_offset);
        let immune = half.and_then(|half| half.properties.get("CHECK_IMMUNITY_TIME_IN_SECONDS"));
        let immune = immune.and_then(|seconds| seconds.parse::<u64>().ok());
        let wait_ns = immune.map_or(config.check_times().first_ns, |it| it * 1_000_000_000);
        let due_ns = now_ns.saturating_add(wait_ns);
        let half = OpenHalf { due_ns, checks: 0, ended_ns: None };
        self.transactions.open.insert(commit_log_offset, half);
    }

    /// When half messages are to be looked after, at the earliest.
    pub(super) fn next_check(&self) -> Option<u64> {
        self.transactions.open.values().map(|half| half.due_ns).min()
    }

    /// Asks about half messages whose time has come: who is asked, and what.
    // Java: TransactionalMessageServiceImpl#check.
    pub(super) fn check_transactions(
        &mut self,
        config: &ClusterConfig,
        now_ns: u64,
        address: SocketAddr,
    ) -> Vec<(ConnectionId, Command)> {
        let times = config.check_times();
        let noted_ns = if config.version > ServerVersion::V4_9 { NOTED_AFTER_NS } else { 0 };
        let noted = |half: &OpenHalf| half.ended_ns.is_some_and(|it| it + noted_ns <= now_ns);
        self.transactions.open.retain(|_, half| !noted(half));
        let due = self.transactions.open.iter().filter(|(_, half)| half.due_ns <= now_ns);
        let due: Vec<(u64, OpenHalf)> = due.map(|(offset, half)| (*offset, *half)).collect();
        let mut questions = Vec::new();
        for (offset, half) in due {
            self.transactions.open.remove(&offset);
            let Some(stored) = self.store.at_commit_log_offset(offset).cloned() else { continue };
            let mut again = again(&stored, now_ns);
            let checks = half.checks + 1;
            if checks > times.most {
                again.topic = CHECK_MAX_TOPIC.to_owned();
                self.store.append(&self.name, again);
                continue;
            }
            // Java: TransactionalMessageServiceImpl#putBackHalfMsgQueue.
            again.properties.insert("TRANSACTION_CHECK_TIMES", checks.to_string());
            let copy = self.store.append(&self.name, again).clone();
            let due_ns = now_ns.saturating_add(times.every_ns);
            let half = OpenHalf { due_ns, checks, ended_ns: half.ended_ns };
            self.transactions.open.insert(copy.commit_log_offset, half);
            let group = copy.properties.get("PGROUP").unwrap_or_default().to_owned();
            if let Some(producer) = self.transactions.producer(&group, now_ns) {
                questions.push((producer, check_request(config, address, &copy)));
            }
        }
        questions
    }

    /// Whether a half message that was put back has another copy that is still asked about.
    fn works_with_copy_of(&self, half: &Stored) -> bool {
        let open = self.transactions.open.iter().filter(|(_, open)| open.ended_ns.is_none());
        let mut copies = open.filter_map(|(offset, _)| self.store.at_commit_log_offset(*offset));
        copies.any(|copy| copy.unique_key == half.unique_key)
    }

    // Java: EndTransactionProcessor#processRequest. Every commit that arrives delivers one more
    // copy, even after a rollback (measured).
    pub(super) fn end_transaction(&mut self, context: &Context<'_>, command: &Command) -> Reply {
        let config = context.config;
        let number = |name: &str| command.ext.get(name).and_then(|text| text.parse::<u64>().ok());
        let decision = number("commitOrRollback").unwrap_or(0) as i32;
        if decision != TRANSACTION_COMMIT && decision != TRANSACTION_ROLLBACK {
            return Reply::Nothing;
        }
        let half = number("commitLogOffset")
            .and_then(|offset| self.store.at_commit_log_offset(offset))
            .filter(|half| half.topic == HALF_TOPIC)
            .cloned();
        let group = command.ext.get("producerGroup");
        let refusal = match &half {
            None => Some("Find prepared transaction message failed"),
            Some(half) if half.properties.get("PGROUP") != group => {
                Some("The producer group wrong")
            }
            Some(half) if number("tranStateTableOffset") != Some(half.queue_offset) => {
                Some("The transaction state table offset wrong")
            }
            Some(_) => None,
        };
        let Some(half) = half.filter(|_| refusal.is_none()) else {
            let refusal = (answer::SYSTEM_ERROR, refusal.map(Into::into));
            return Reply::Answer(respond(config, command, refusal));
        };
        if let Some(open) = self.transactions.open.get_mut(&half.commit_log_offset) {
            open.ended_ns.get_or_insert(context.now_ns);
        } else if self.works_with_copy_of(&half) {
            self.transactions.lost_ends.push(half.commit_log_offset);
        }
        if decision == TRANSACTION_ROLLBACK {
            let remark = Some("not set any response code".into());
            return Reply::Answer(respond(config, command, (answer::SUCCESS, remark)));
        }
        let message = restore_half(&half, context);
        self.store.append(&self.name, message);
        Reply::Answer(respond(config, command, (answer::SUCCESS, None)))
    }
}

/// A half message as it is written once more.
fn again(half: &Stored, now_ns: u64) -> Incoming {
    Incoming {
        topic: half.topic.clone(),
        queue_id: half.queue_id,
        body: half.body.clone(),
        properties: half.properties.clone(),
        sys_flag: half.sys_flag,
        flag: half.flag,
        born_timestamp_ms: half.born_timestamp_ms,
        store_ns: now_ns,
        group: half.group.clone(),
        connection: half.connection,
    }
}

// Java: TransactionalMessageBridge#parseHalfMessageInner.
pub(super) fn make_half(message: &mut Incoming) {
    let topic = std::mem::replace(&mut message.topic, HALF_TOPIC.to_owned());
    message.properties.insert("REAL_TOPIC", topic);
    message.properties.insert("REAL_QID", message.queue_id.to_string());
    message.queue_id = 0;
    message.sys_flag &= !TRANSACTION_MASK;
}

// Java: EndTransactionProcessor#endMessageTransaction.
fn restore_half(half: &Stored, context: &Context<'_>) -> Incoming {
    let mut properties = half.properties.clone();
    let topic = properties.remove("REAL_TOPIC").unwrap_or_default();
    let queue_id = properties.remove("REAL_QID").and_then(|id| id.parse().ok()).unwrap_or(0);
    Incoming {
        topic,
        queue_id,
        body: half.body.clone(),
        properties,
        sys_flag: half.sys_flag | TRANSACTION_COMMIT,
        flag: half.flag,
        born_timestamp_ms: half.born_timestamp_ms,
        store_ns: context.now_ns,
        group: half.group.clone(),
        connection: context.connection,
    }
}

/// The body of a transaction check: the prepared message with its real topic and queue.
// Java: AbstractTransactionalMessageCheckListener#sendCheckMessage.
pub(super) fn check_request(config: &ClusterConfig, address: SocketAddr, half: &Stored) -> Command {
    let id = half.unique_key.clone().unwrap_or_default();
    let mut properties = half.properties.clone();
    let topic = properties.remove("REAL_TOPIC").unwrap_or_default();
    let queue_id = properties.remove("REAL_QID").and_then(|id| id.parse().ok()).unwrap_or(0);
    // What every stored message of 5.x has; nowhere else does it matter here.
    // Java: SendMessageProcessor#sendMessage.
    if config.version > ServerVersion::V4_9 {
        properties.insert("MSG_REGION", &config.region);
        properties.insert("TRACE_ON", config.trace_on.to_string());
    }
    let message = LogMessage {
        topic,
        queue_id,
        flag: half.flag,
        queue_offset: half.queue_offset as i64,
        commit_log_offset: half.commit_log_offset as i64,
        sys_flag: half.sys_flag,
        born_timestamp_ms: half.born_timestamp_ms,
        born_host: SocketAddr::from(([127, 0, 0, 1], 1)),
        store_timestamp_ms: wall_ms(config, half.store_ns),
        store_host: address,
        body: half.body.clone(),
        properties: format_properties(&properties),
    };
    let mut command = server_request(config, request::CHECK_TRANSACTION_STATE)
        // The half topic: the field is filled before the real topic is restored.
        .field("topic", HALF_TOPIC)
        .field("tranStateTableOffset", half.queue_offset.to_string())
        .field("commitLogOffset", half.commit_log_offset.to_string())
        .field("msgId", id.clone())
        .field("transactionId", id)
        .field("offsetMsgId", offset_message_id(address, half.commit_log_offset))
        .with_body(message.encode());
    // Absent in 4.9 (measured).
    if config.version > ServerVersion::V4_9 {
        command.ext.insert("bname", &half.broker);
    }
    command.flag = FLAG_ONEWAY;
    command
}
