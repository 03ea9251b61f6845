//! What a cluster is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::access::AccessControl;
use super::transactions::CheckTimes;
use crate::wire::Encoding;

/// The template topic of auto-creation.
// Java: TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";

/// Where prepared messages wait for their commit.
// Java: TopicValidator.RMQ_SYS_TRANS_HALF_TOPIC.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

/// Which servers the cluster imitates where releases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerVersion {
    /// 4.9.7: mirrors the request's encoding, no `transactionId` in receipts, illegal arguments
    /// are code 1, an empty body is stored, name servers ignore requests they do not know.
    V4_9,
    /// 5.1.4: answers in JSON, illegal arguments are code 1.
    V5_1,
    /// 5.5.0: answers in JSON, illegal arguments are code 29.
    V5_5,
}

impl ServerVersion {
    /// The ordinal that servers of this version send.
    // Java: MQVersion.
    pub fn ordinal(self) -> i32 {
        match self {
            Self::V4_9 => 407,
            Self::V5_1 => 441,
            Self::V5_5 => 513,
        }
    }
}

/// In which encoding servers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplyEncoding {
    /// Always in this one.
    Always(Encoding),
    /// In that of the request.
    Mirror,
}

/// The queues of one topic on one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Queues to read from.
    pub read_queues: i64,
    /// Queues to write to.
    pub write_queues: i64,
    /// Bit 2 read, bit 1 write, bit 0 inherit.
    pub perm: i32,
}

impl TopicConfig {
    /// This many queues, readable and writable.
    pub fn new(queues: i64) -> Self {
        Self { read_queues: queues, write_queues: queues, perm: 6 }
    }
}

/// What a [`Cluster`](super::Cluster) consists of; one name server and one broker by default.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    pub(crate) name_servers: usize,
    pub(crate) brokers: usize,
    pub(crate) slaves: usize,
    pub(crate) topics: BTreeMap<String, TopicConfig>,
    pub(crate) auto_create_topics: bool,
    pub(crate) recalls: bool,
    pub(crate) version: ServerVersion,
    pub(crate) reply_encoding: Option<ReplyEncoding>,
    pub(crate) cluster_name: String,
    pub(crate) region: String,
    pub(crate) trace_on: bool,
    pub(crate) wall_start_ms: i64,
    pub(crate) broker_clock_ahead_ms: i64,
    pub(crate) record_frames: bool,
    pub(crate) body_bytes_max: usize,
    pub(crate) batch_topics: BTreeSet<String>,
    pub(crate) vip_ports: bool,
    pub(crate) access: Option<AccessControl>,
    check_times: Option<CheckTimes>,
}

impl ClusterConfig {
    /// One name server and one broker of version 5.5 that creates topics by itself.
    pub fn new() -> Self {
        Self {
            name_servers: 1,
            brokers: 1,
            slaves: 0,
            topics: BTreeMap::new(),
            auto_create_topics: true,
            recalls: false,
            version: ServerVersion::V5_5,
            reply_encoding: None,
            cluster_name: "DefaultCluster".to_owned(),
            region: "DefaultRegion".to_owned(),
            trace_on: true,
            wall_start_ms: 1_700_000_000_000,
            broker_clock_ahead_ms: 0,
            record_frames: true,
            body_bytes_max: 4 * 1024 * 1024,
            batch_topics: BTreeSet::new(),
            vip_ports: false,
            access: None,
            check_times: None,
        }
    }

    /// How many name servers.
    #[must_use]
    pub fn name_servers(mut self, count: usize) -> Self {
        self.name_servers = count;
        self
    }

    /// How many brokers, named `broker-a`, `broker-b` and so on.
    #[must_use]
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// How many slaves each broker has. They are addresses in routes, where nobody listens: a
    /// producer must not dial them.
    #[must_use]
    pub fn slaves(mut self, count: usize) -> Self {
        self.slaves = count;
        self
    }

    /// A topic with this many queues on every broker.
    #[must_use]
    pub fn topic(self, name: impl Into<String>, queues: i64) -> Self {
        self.topic_with(name, TopicConfig::new(queues))
    }

    /// A topic on every broker.
    #[must_use]
    pub fn topic_with(mut self, name: impl Into<String>, config: TopicConfig) -> Self {
        self.topics.insert(name.into(), config);
        self
    }

    /// Whether brokers create unknown topics at the first send (and the route of `TBW102` exists).
    #[must_use]
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.auto_create_topics = on;
        self
    }

    /// Whether brokers take timer messages back; off by default, as on real ones.
    // Java: BrokerConfig#recallMessageEnable.
    #[must_use]
    pub fn recalls(mut self, on: bool) -> Self {
        self.recalls = on;
        self
    }

    /// The region that brokers say they are in; `DefaultRegion` by default.
    // Java: BrokerConfig#regionId.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Whether brokers say that they want a trace; on by default.
    // Java: BrokerConfig#traceOn.
    #[must_use]
    pub fn trace_on(mut self, on: bool) -> Self {
        self.trace_on = on;
        self
    }

    /// Whether brokers listen on their VIP ports as well, two below their own; off by default.
    #[must_use]
    pub fn vip_ports(mut self, on: bool) -> Self {
        self.vip_ports = on;
        self
    }

    /// Who may do what; everybody everything by default.
    // Java: BrokerConfig#aclEnable, AuthConfig#authenticationEnabled, #authorizationEnabled.
    #[must_use]
    pub fn access(mut self, access: AccessControl) -> Self {
        self.access = Some(access);
        self
    }

    /// When brokers ask about transactions that are not decided: for the first time after `first`,
    /// then `most` times in all with `every` between. By default as real brokers of the version do:
    /// after 6 s, every 30 s (4.9: 60 s), 15 times.
    // Java: BrokerConfig#transactionTimeOut, #transactionCheckInterval, #transactionCheckMax.
    #[must_use]
    pub fn transaction_checks(mut self, first: Duration, every: Duration, most: u32) -> Self {
        let nanos = |time: Duration| time.as_nanos() as u64;
        let (first_ns, every_ns) = (nanos(first), nanos(every));
        self.check_times = Some(CheckTimes { first_ns, every_ns, most });
        self
    }

    /// Which servers to imitate.
    #[must_use]
    pub fn version(mut self, version: ServerVersion) -> Self {
        self.version = version;
        self
    }

    /// In which encoding servers answer; by default as real servers of the version do.
    #[must_use]
    pub fn reply_encoding(mut self, encoding: ReplyEncoding) -> Self {
        self.reply_encoding = Some(encoding);
        self
    }

    /// The wall clock, Unix milliseconds, at time 0 of the cluster.
    #[must_use]
    pub fn wall_start_ms(mut self, ms: i64) -> Self {
        self.wall_start_ms = ms;
        self
    }

    /// How far the clocks of brokers are ahead of the cluster's in what they say of themselves,
    /// in milliseconds; negative if they are behind. Stored messages have the cluster's time.
    #[must_use]
    pub fn broker_clock_ahead_ms(mut self, ms: i64) -> Self {
        self.broker_clock_ahead_ms = ms;
        self
    }

    /// Whether every received frame is logged; on by default, off for long loads.
    #[must_use]
    pub fn record_frames(mut self, on: bool) -> Self {
        self.record_frames = on;
        self
    }

    /// The largest body brokers take; 4 MiB by default.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// A topic with this many queues on every broker, whose queues keep batches as one unit: a
    /// batch has one id, and the answer names its unique key. Consumers still see its messages one
    /// by one, at offsets that follow each other, and that is how they are stored here.
    // Java: QueueTypeUtils#isBatchCq, queue.type=BatchCQ.
    #[must_use]
    pub fn batch_topic(mut self, name: impl Into<String>, queues: i64) -> Self {
        let name = name.into();
        self.batch_topics.insert(name.clone());
        self.topic(name, queues)
    }

    pub(super) fn check_times(&self) -> CheckTimes {
        let every_s = if self.version > ServerVersion::V4_9 { 30 } else { 60 };
        let (first_ns, every_ns) = (6_000_000_000, every_s * 1_000_000_000);
        self.check_times.unwrap_or(CheckTimes { first_ns, every_ns, most: 15 })
    }

    pub(crate) fn encoding_for(&self, request: Encoding) -> Encoding {
        let default = match self.version {
            // 4.9 mirrors, 5.x answers in its own encoding (both measured).
            ServerVersion::V4_9 => ReplyEncoding::Mirror,
            _ => ReplyEncoding::Always(Encoding::Json),
        };
        match self.reply_encoding.unwrap_or(default) {
            ReplyEncoding::Always(encoding) => encoding,
            ReplyEncoding::Mirror => request,
        }
    }

    /// The topics of a fresh broker.
    pub(super) fn broker_topics(&self) -> BTreeMap<String, TopicConfig> {
        let mut topics = self.topics.clone();
        topics.entry("SELF_TEST_TOPIC".into()).or_insert(TopicConfig::new(1));
        topics.entry(format!("{}_REPLY_TOPIC", self.cluster_name)).or_insert(TopicConfig::new(1));
        if self.auto_create_topics {
            // The inherit bit lets topics be made after it.
            let template = TopicConfig { perm: 7, ..TopicConfig::new(4) };
            topics.entry(AUTO_CREATE_TOPIC.into()).or_insert(template);
        }
        topics
    }

    pub(super) fn broker_name(index: usize) -> String {
        match u8::try_from(index) {
            Ok(index) if index < 26 => format!("broker-{}", char::from(b'a' + index)),
            _ => format!("broker-{index}"),
        }
    }

    pub(super) fn default_address(node: super::Node) -> SocketAddr {
        let (network, index, port) = match node {
            super::Node::NameServer(index) => (1, index, 9876),
            super::Node::Broker(index) => (0, index, 10911),
        };
        let ip = Ipv4Addr::new(10, network, (index / 250) as u8, (index % 250) as u8 + 1);
        SocketAddr::from((ip, port))
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self::new()
    }
}
