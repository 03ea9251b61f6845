//! What the application and the servers do besides plain sends.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    Address, ClockReading, ConfigBuilder, CorrelationId, Credentials, Decision, FetchReason,
    GroupId, Instant, Lease, MessageQueue, ProviderFailure, Query, QueryId, QueryRequest, Target,
    TracerId, TransactionState, WallTime,
};
use rocketmq_testkit::wire::{Command, FLAG_ONEWAY, LogMessage, request_code};

use super::super::model::Purpose;
use super::{BROKERS, GROUPS, Run, STEPS_MS, TOPICS, WALL_MS};

const STATES: [TransactionState; 3] =
    [TransactionState::Commit, TransactionState::Rollback, TransactionState::Undecided];

/// Settings that go with all this, by the bits of `choice`.
pub(super) fn settings(config: ConfigBuilder, choice: u8) -> ConfigBuilder {
    let config = match choice >> 3 & 1 {
        0 => config,
        _ => config.credentials(credentials(1)),
    };
    match choice >> 4 & 1 {
        0 => config,
        _ => config.credentials_provider(|_: FetchReason| pending()),
    }
}

fn credentials(number: u8) -> Credentials {
    Credentials::new(format!("key-{number}"), "secret").expect("legal credentials")
}

impl Run<'_> {
    pub(super) fn service(&mut self, choice: u8) {
        // What the application says goes by what it has been told.
        let informed = self.polled;
        match choice % 24 {
            3..=6 | 11..=15 | 19..=21 if !informed => {}
            0..=2 => self.send(Purpose::Half),
            3..=5 => self.decide(),
            6 => self.leave(),
            7..=10 => self.broker_asks(),
            11 | 12 => self.answer_check(),
            13..=15 => self.request(),
            16..=18 => self.broker_passes_a_reply_on(),
            19 => self.forget_request(),
            20 => self.credentials(),
            21 => self.query(),
            22 => self.queues(),
            _ => self.settings(),
        }
    }

    fn deadline(&mut self) -> Instant {
        let budget = STEPS_MS[self.choices.below(STEPS_MS.len())] * 1_000_000;
        Instant::from_nanos(self.now.as_nanos() + budget)
    }

    // ---- Transactions -----------------------------------------------------------------------

    /// One of those begun, late ones mostly; or one of another process.
    fn transaction(&mut self) -> UniqueKey {
        let keys = self.model.services.keys();
        match keys.len().checked_sub(self.choices.below(8) + 1) {
            Some(index) => keys[index],
            None => keys.last().copied().unwrap_or_else(|| self.unique_keys.next(WALL_MS)),
        }
    }

    fn decide(&mut self) {
        let (key, deadline) = (self.transaction(), self.deadline());
        if !self.model.services.keys().contains(&key) {
            return;
        }
        let decision = if self.choices.flag() { Decision::Commit } else { Decision::Rollback };
        self.model.services.decided(key, decision, deadline);
        let now = self.clock();
        self.client.end_transaction(now, key, decision, deadline);
    }

    fn leave(&mut self) {
        let key = self.transaction();
        let (abandons, now) = (self.choices.flag(), self.clock());
        if abandons {
            self.client.abandon_transaction(now, key);
        } else {
            self.client.forget_transaction(now, key);
        }
        self.model.services.left(key, abandons);
    }

    fn broker_asks(&mut self) {
        let Some(conn) = self.connection() else { return };
        let (key, choice) = (self.transaction(), self.choices.byte());
        let group = GROUPS[usize::from(choice & 3) % GROUPS.len()];
        let host = SocketAddr::from(([127, 0, 0, 1], 10_911));
        let offset = 7 + i64::from(choice >> 6);
        let message = LogMessage {
            topic: TOPICS[0].to_owned(),
            queue_id: 0,
            flag: 0,
            queue_offset: offset,
            commit_log_offset: offset,
            sys_flag: 4,
            // That of the copy that counts, of one left behind, or of neither.
            born_timestamp_ms: WALL_MS + i64::from(choice >> 5 & 1),
            born_host: host,
            store_timestamp_ms: WALL_MS,
            store_host: host,
            body: b"body".to_vec(),
            properties: format!("PGROUP\u{1}{group}\u{2}UNIQ_KEY\u{1}{key}\u{2}"),
        };
        let mut body = message.encode();
        if choice & 0x3c == 0x3c {
            body.truncate(self.choices.below(body.len()));
        }
        let mut question = Command::request(request_code::CHECK_TRANSACTION_STATE, 1)
            .field("topic", "RMQ_SYS_TRANS_HALF_TOPIC")
            .field("tranStateTableOffset", offset.to_string())
            .field("commitLogOffset", offset.to_string())
            .field("msgId", key.to_string())
            .field("transactionId", key.to_string())
            .with_body(body);
        if choice & 4 == 4 {
            question = question.field("bname", format!("broker-{}", choice >> 3 & 3));
        }
        question.flag = FLAG_ONEWAY;
        self.model.services.broker_asked();
        self.deliver(conn, &question.encode());
    }

    fn answer_check(&mut self) {
        let checks = self.model.services.checks();
        let choice = usize::from(self.choices.byte());
        let Some(id) = checks.get(choice / 4 % checks.len().max(1)).copied() else { return };
        let state = STATES[choice % 4 % STATES.len()];
        let now = self.clock();
        self.model.services.answered_check(id, state == TransactionState::Commit);
        self.client.answer_check(now, id, state);
    }

    // ---- Requests ---------------------------------------------------------------------------

    fn correlation_id(&mut self) -> CorrelationId {
        CorrelationId::from_random(u128::from(self.choices.byte()))
    }

    fn request(&mut self) {
        let id = self.correlation_id();
        self.send(Purpose::Request(id));
    }

    /// A request that waits for its reply, or any other.
    fn some_request(&mut self) -> CorrelationId {
        let waiting = self.model.services.requests();
        let choice = usize::from(self.choices.byte());
        match waiting.get(choice % (waiting.len() + 1)) {
            Some(id) => *id,
            None => self.correlation_id(),
        }
    }

    fn broker_passes_a_reply_on(&mut self) {
        let Some(conn) = self.connection() else { return };
        let (id, choice) = (self.some_request(), self.choices.byte());
        let properties = format!("MSG_TYPE\u{1}reply\u{2}CORRELATION_ID\u{1}{id}\u{2}");
        let mut reply = Command::request(request_code::PUSH_REPLY_MESSAGE_TO_CLIENT, 2)
            .field("producerGroup", "answers")
            .field("topic", "c_REPLY_TOPIC")
            .field("queueId", "0")
            .field("flag", "0")
            .field("sysFlag", (choice & 3).to_string())
            .field("bornTimestamp", "1")
            .field("bornHost", "127.0.0.1:1")
            .field("storeTimestamp", "2")
            .field("storeHost", "127.0.0.1:10911")
            .field("properties", properties)
            .with_body("reply");
        if choice >= 240 {
            reply.ext.remove("queueId");
        }
        self.model.services.pushed(id);
        self.deliver(conn, &reply.encode());
    }

    fn forget_request(&mut self) {
        let (id, now) = (self.some_request(), self.clock());
        self.client.forget_request(now, id);
        self.model.services.forgot(id);
    }

    // ---- The rest ---------------------------------------------------------------------------

    pub(super) fn register_traced(&mut self, now: Instant, name: &str) -> Option<GroupId> {
        let tracer = TracerId(self.model.services.tracers.len() as u64);
        let clock = ClockReading { instant: self.now, wall: WallTime::from_millis(WALL_MS) };
        let group = match self.choices.below(4) {
            0 => self.client.register(now, name),
            1 => self.client.register_trace_sender(now, name),
            _ => {
                self.model.services.tracers.insert(tracer);
                self.client.register_traced(now, name, tracer, TOPICS[1], clock)
            }
        };
        group.ok()
    }

    fn credentials(&mut self) {
        let (choice, now) = (self.choices.byte(), self.clock());
        let fetch = self.model.services.fetch;
        let expires_in = Duration::from_millis(STEPS_MS[usize::from(choice >> 4) % 12]);
        let lease = Lease::new(credentials(choice >> 2)).expires_in(expires_in);
        match (choice & 3, fetch) {
            (0, _) => self.client.set_credentials(now, Some(credentials(choice >> 2))),
            (1, _) => self.client.set_credentials(now, None),
            (2, Some(fetch)) => self.client.handle_credentials(now, fetch, Ok(lease)),
            (_, Some(fetch)) => {
                let failure = ProviderFailure::Failed("no vault");
                self.client.handle_credentials(now, fetch, Err(failure));
            }
            (_, None) => self.client.handle_credentials(now, u64::from(choice), Ok(lease)),
        }
        if choice & 2 == 2 {
            self.model.services.fetch = None;
        }
    }

    fn query(&mut self) {
        let (choice, deadline) = (self.choices.byte(), self.deadline());
        let id = QueryId(self.next_waiter);
        self.next_waiter += 1;
        let topic = TOPICS[0];
        let to = match usize::from(choice) % (BROKERS.len() + 1) {
            0 => Target::NameServers,
            number => Target::Broker(BROKERS[number - 1].parse::<Address>().expect("legal")),
        };
        let request = match choice >> 4 & 3 {
            0 => QueryRequest::Route { topic: topic.into() },
            1 => QueryRequest::BrokerInfo,
            2 => QueryRequest::MaxOffset {
                topic: topic.into(),
                queue: MessageQueue::new("broker-0", 0),
            },
            _ => QueryRequest::Recall {
                topic: topic.into(),
                producer_group: GROUPS[0].into(),
                broker_name: "broker-0".into(),
                handle: "any".into(),
            },
        };
        self.model.services.queried(id, deadline);
        let now = self.clock();
        self.client.query(now, id, Query { to, request }, deadline);
        if choice >> 6 == 3 {
            let earlier = QueryId(id.0.saturating_sub(u64::from(choice & 3)));
            self.client.cancel_query(now, earlier);
            // One that has ended has said so before.
            self.drain();
            self.model.services.query_cancelled(earlier);
        }
    }

    fn queues(&mut self) {
        let (topic, deadline) = (TOPICS[self.choices.below(TOPICS.len())], self.deadline());
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.model.services.asked_for_queues(waiter, deadline);
        let now = self.clock();
        self.client.query_queues(now, waiter, topic, deadline);
    }

    fn settings(&mut self) {
        let (choice, now) = (self.choices.byte(), self.clock());
        if choice & 1 == 1 {
            return self.client.set_in_flight_max(now, u32::from(choice >> 6));
        }
        let all = ["127.0.0.1:9876", "ns:9876"];
        let count = usize::from(choice >> 1 & 1) + 1;
        let addresses = all.iter().take(count).map(|text| text.parse().expect("legal"));
        self.client.set_name_servers(now, addresses.collect());
    }
}
