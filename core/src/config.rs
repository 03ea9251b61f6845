//! Everything that is chosen before a client exists. Afterwards it is immutable and valid.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::address::{Address, AddressError, AddressMap};
use crate::compression::Compression;
use crate::credentials::{Credentials, Source};
use crate::discovery::{NameServerUrl, UrlError};
use crate::interceptor::{Interceptor, Interceptors};
use crate::limits;
use crate::output::EventSet;
use crate::strategy::{Detector, LatencyClass, QueueStrategy};
use crate::transaction::TransactionSettings;
use crate::wire::Encoding;

mod access;
mod names;

/// When a periodic duty runs first, and how often after that.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Periodic {
    /// Time from the start to the first run.
    pub first: Duration,
    /// Time from one run to the next; more than zero.
    pub period: Duration,
}

/// How many attempts may be made again, over all sends of a client.
///
/// Every message or batch that is stored earns a share of one retry, time earns some, and each
/// attempt that follows one that has put load on a broker (a busy answer, an internal error, or no
/// answer at all) spends one. A send that finds the budget used up ends with its last failure, and
/// [`SendError::is_retry_withheld`](crate::SendError::is_retry_withheld) says so. Attempts that
/// follow a failed dial, a message that never left, or a refusal without work (not available,
/// no permission, no such topic, go away) are free, and so is a better receipt after a weak one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RetryBudget {
    /// Retries that may be made in one blow; `None` for twice the sends that may be in flight.
    pub burst: Option<u32>,
    /// Retries earned by 100 messages stored.
    pub percent: u32,
    /// Retries earned by each second.
    pub per_second: u32,
}

impl RetryBudget {
    /// [`limits::RETRY_PERCENT`] and [`limits::RETRIES_PER_SECOND`], and a burst of twice what may
    /// be in flight.
    pub const DEFAULT: RetryBudget = RetryBudget {
        burst: None,
        percent: limits::RETRY_PERCENT,
        per_second: limits::RETRIES_PER_SECOND,
    };

    /// With a burst of so many retries.
    #[must_use]
    pub const fn with_burst(mut self, retries: u32) -> RetryBudget {
        self.burst = Some(retries);
        self
    }

    /// With so many retries for 100 messages stored.
    #[must_use]
    pub const fn with_percent(mut self, percent: u32) -> RetryBudget {
        self.percent = percent;
        self
    }

    /// With so many retries for each second.
    #[must_use]
    pub const fn with_per_second(mut self, retries: u32) -> RetryBudget {
        self.per_second = retries;
        self
    }
}

/// The settings of one client. Made by [`Config::builder`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name servers, in the order in which they are tried at first.
    pub name_servers: Vec<Address>,
    /// Where the list of name servers is looked up if [`Config::name_servers`] is empty: at the
    /// start, again after [`Config::discovery`], and with its period. An answer that is empty, or
    /// that cannot be had, leaves the list as it is.
    // Java: DefaultTopAddressing#fetchNSAddr
    pub name_server_url: Option<NameServerUrl>,
    /// When the list of name servers is looked up again.
    // Java: MQClientInstance#startScheduledTask, fetchNameServerAddr
    pub discovery: Periodic,
    /// How brokers tell this client from others: `IP@INSTANCE[@UNIT]`. A driver fills in its own
    /// if this is empty. Brokers take two clients of the same id for one.
    // Java: ClientConfig#buildMQClientId
    pub client_id: Box<str>,
    /// The address in a client id that the driver fills in; `None` for that of this host.
    // Java: ClientConfig#clientIP
    pub client_ip: Option<IpAddr>,
    /// The instance in a client id that the driver fills in. Empty or `DEFAULT` gives every client
    /// one of its own. Two clients of one host must not share any other.
    // Java: ClientConfig#instanceName, ClientConfig#changeInstanceNameToPID
    pub instance_name: Box<str>,
    /// The unit of a deployment that the client belongs to, or empty: the last part of a client id
    /// that the driver fills in, and a part of the URL that is asked for name servers.
    // Java: ClientConfig#unitName
    pub unit_name: Box<str>,
    /// Marks messages as sent by a client of a unit.
    // Java: ClientConfig#unitMode
    pub unit_mode: bool,
    /// The namespace whose topics and groups are meant, or empty. On the wire they are called
    /// `NAMESPACE%NAME`; receipts, errors and events show the names that were given. Topics of the
    /// system belong to no namespace. It is never derived from an address.
    // Java: ClientConfig#namespace, NamespaceUtil#wrapNamespace
    pub namespace: Box<str>,
    /// The namespace that proxies and brokers are told with every request, in fields of its own:
    /// names stay as they are. Empty if there is none.
    // Java: ClientConfig#namespaceV2, NamespaceRpcHook
    pub namespace_v2: Box<str>,
    /// Sends messages to the broker's VIP port, two below the announced one, where nothing else
    /// holds them up. A broker whose announced port is below 3 has none and is sent to as ever.
    /// [`AddressMap::reachable_vip`] tells how the port of a mapped address is found.
    // Java: ClientConfig#vipChannelEnabled
    pub vip_channel: bool,
    /// Encoding of the headers that are sent. What a peer sends is read by its own mark.
    pub encoding: Encoding,
    /// Sends with the long field names of code 10 instead of the short ones of code 310.
    // Java: system property org.apache.rocketmq.client.sendSmartMsg = false
    pub long_send_header: bool,
    /// Time that one send may take in all, from the call to its end.
    // Java: DefaultMQProducer#sendMsgTimeout
    pub send_timeout: Duration,
    /// Attempts after the first.
    // Java: DefaultMQProducer#retryTimesWhenSendFailed
    pub retries_max: u32,
    /// Least time that an attempt gets, and least time left for which another is started.
    pub attempt_timeout_min: Duration,
    /// Most sends in flight.
    // Java: DefaultMQProducer#backPressureForAsyncSendNum
    pub in_flight_messages_max: u32,
    /// Most bytes of bodies in flight.
    // Java: DefaultMQProducer#backPressureForAsyncSendSize
    pub in_flight_bytes_max: usize,
    /// Most sends in flight to one topic; `None` bounds all topics together only.
    pub topic_in_flight_messages_max: Option<u32>,
    /// Most bytes of bodies in flight to one topic; `None` bounds all topics together only.
    pub topic_in_flight_bytes_max: Option<usize>,
    /// Waits for room as long as it takes: the time of a send starts when it has room, instead of
    /// with the call.
    pub unlimited_wait_for_room: bool,
    /// Largest body of a message, in bytes.
    // Java: DefaultMQProducer#maxMessageSize
    pub body_length_max: usize,
    /// How bodies are compressed, on the task of the caller.
    ///
    /// A body that does not get smaller is sent as it is. Limits and back-pressure count the body
    /// as the caller hands it in, which is what a send holds until its end.
    // Java: DefaultMQProducer#compressType
    pub compression: Compression,
    /// How hard to try: 1 to 9 for zlib, 1 to 22 for Zstandard.
    // Java: DefaultMQProducer#compressLevel
    pub compression_level: u32,
    /// Bodies of this many bytes and more are compressed.
    // Java: DefaultMQProducer#compressMsgBodyOverHowmuch
    pub compress_over: usize,
    /// Uses the route of [`Config::create_topic_key`] for a topic that does not exist, so that a
    /// broker that allows it creates the topic with the first message.
    pub create_topics: bool,
    /// Topic whose route and settings a new topic takes.
    // Java: DefaultMQProducer#createTopicKey
    pub create_topic_key: Box<str>,
    /// Queues of a topic that is created by a send, on each broker: 1 to 65,536.
    // Java: DefaultMQProducer#defaultTopicQueueNums
    pub default_topic_queue_nums: u32,
    /// Topics whose routes are looked up at the start, before the first send.
    pub topics: Vec<Box<str>>,
    /// Time after which a dial has failed.
    // Java: NettyClientConfig#connectTimeoutMillis
    pub connect_timeout: Duration,
    /// Time for the answer to a request other than a send.
    // Java: ClientConfig#mqClientApiTimeout
    pub request_timeout: Duration,
    /// Time without an answer from a name server after which the next one is asked as well.
    pub name_server_patience: Duration,
    /// Refresh of all known routes. The period gets a jitter of a tenth.
    // Java: ClientConfig#pollNameServerInterval
    pub route_refresh: Periodic,
    /// Cleaning of brokers that no route names, then a heartbeat to the master of every broker.
    // Java: ClientConfig#heartbeatBrokerInterval
    pub heartbeat: Periodic,
    /// Time without a byte in either direction after which a connection is closed; more than zero.
    /// [`Duration::MAX`] never closes one.
    // Java: NettySystemConfig#clientChannelMaxIdleTimeSeconds
    pub connection_idle_max: Duration,
    /// Wait after the first failed dial of an address; doubles with each, with jitter.
    pub dial_back_off_min: Duration,
    /// Longest wait between two dials of an address.
    pub dial_back_off_max: Duration,
    /// Wait before the next attempt after a busy answer, with jitter. It doubles with each busy
    /// answer in a row, of one send or of the brokers that are left to try, to 500 ms at most, and
    /// shrinks as they store again.
    pub busy_back_off: Duration,
    /// Bounds how many attempts are made again, over all sends, so that brokers in trouble are not
    /// buried in retries; `None` for no bound.
    pub retry_budget: Option<RetryBudget>,
    /// Avoids every broker that failed in this send, and brokers that were slow or failed lately.
    /// Off is the Java client's default: only the broker of the last attempt is avoided.
    // Java: ClientConfig#sendLatencyEnable
    pub latency_avoidance: bool,
    /// How a queue is chosen.
    pub queue_strategy: QueueStrategy,
    /// For how long a broker is avoided after which latency, lowest first; empty for the classes of
    /// the strategy.
    // Java: MQFaultStrategy#setLatencyMax and #setNotAvailableDuration, which check nothing
    pub latency_classes: Vec<LatencyClass>,
    /// Asks brokers from time to time whether they can be reached. Only with latency avoidance and
    /// [`QueueStrategy::Current`].
    // Java: ClientConfig#startDetectorEnable
    pub detector: Option<Detector>,
    /// Tries one more broker after a weak acknowledgement, while time and attempts last. Sends to
    /// one queue, ordered ones, and all with [`Config::retry_only_if_not_stored`] keep their
    /// receipt.
    // Java: DefaultMQProducer#retryAnotherBrokerWhenNotStoreOK
    pub retry_weak_acknowledgement: bool,
    /// Ends a send with its first unknown attempt instead of risking a duplicate.
    pub retry_only_if_not_stored: bool,
    /// Answer codes outside the built-in table that are worth another broker.
    pub retry_codes: Vec<i32>,
    /// Announced to reachable broker addresses.
    pub address_map: AddressMap,
    /// Bytes per connection that are framed ahead of the socket.
    pub unsent_bytes_max: usize,
    /// For how long decisions about transactions are remembered, and how long the application may
    /// take to answer a broker that asks about one.
    pub transactions: TransactionSettings,
    /// Events that are reported.
    pub events: EventSet,
    /// What every request is signed with; `None` signs none.
    // Java: AclClientRPCHook
    pub credentials: Option<Credentials>,
    pub(crate) credentials_source: Option<Source>,
    /// Code of the application that is called in the course of every send and every request.
    pub interceptors: Interceptors,
}

impl Config {
    /// Starts from the defaults. `name_servers` is a list like `10.0.0.1:9876;10.0.0.2:9876`.
    pub fn builder(name_servers: &str) -> ConfigBuilder {
        let config = Config::defaults();
        ConfigBuilder { name_servers: name_servers.into(), url: None, config }
    }

    /// Most operations open at once, cancelled ones included: the bound of
    /// [`OpId::index`](crate::OpId::index).
    pub fn operations_max(&self) -> u32 {
        self.in_flight_messages_max.saturating_mul(2)
    }

    fn defaults() -> Config {
        let seconds = Duration::from_secs;
        let millis = Duration::from_millis;
        Config {
            name_servers: Vec::new(),
            name_server_url: None,
            discovery: Periodic { first: seconds(10), period: seconds(120) },
            client_id: "".into(),
            client_ip: None,
            instance_name: "".into(),
            unit_name: "".into(),
            unit_mode: false,
            namespace: "".into(),
            namespace_v2: "".into(),
            vip_channel: false,
            encoding: Encoding::Json,
            long_send_header: false,
            send_timeout: seconds(3),
            retries_max: 2,
            attempt_timeout_min: millis(10),
            in_flight_messages_max: limits::IN_FLIGHT_MESSAGES_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            topic_in_flight_messages_max: None,
            topic_in_flight_bytes_max: None,
            unlimited_wait_for_room: false,
            body_length_max: limits::BODY_LENGTH_MAX,
            compression: Compression::default(),
            compression_level: limits::COMPRESSION_LEVEL,
            compress_over: limits::COMPRESS_OVER,
            create_topics: true,
            create_topic_key: "TBW102".into(),
            default_topic_queue_nums: 4,
            topics: Vec::new(),
            connect_timeout: seconds(3),
            request_timeout: seconds(3),
            name_server_patience: millis(400),
            route_refresh: Periodic { first: millis(10), period: seconds(30) },
            heartbeat: Periodic { first: seconds(1), period: seconds(30) },
            connection_idle_max: seconds(120),
            dial_back_off_min: millis(100),
            dial_back_off_max: seconds(3),
            busy_back_off: millis(20),
            retry_budget: Some(RetryBudget::DEFAULT),
            latency_avoidance: true,
            queue_strategy: QueueStrategy::Current,
            latency_classes: Vec::new(),
            detector: None,
            retry_weak_acknowledgement: false,
            retry_only_if_not_stored: false,
            retry_codes: Vec::new(),
            address_map: AddressMap::new(),
            unsent_bytes_max: limits::UNSENT_BYTES_MAX,
            transactions: TransactionSettings::DEFAULT,
            events: EventSet::STATE_CHANGES,
            credentials: None,
            credentials_source: None,
            interceptors: Interceptors::default(),
        }
    }
}

/// Collects settings for a [`Config`]; nothing is checked before [`ConfigBuilder::build`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigBuilder {
    name_servers: String,
    url: Option<Result<NameServerUrl, UrlError>>,
    config: Config,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(mut self, $name: $type) -> ConfigBuilder {
                self.config.$name = $name;
                self
            }
        )*
    };
}

impl ConfigBuilder {
    setters! {
        /// Sets [`Config::discovery`]; 10 s, then every 2 minutes by default.
        discovery: Periodic;
        /// Sets [`Config::unit_mode`]; off by default.
        unit_mode: bool;
        /// Sets [`Config::vip_channel`]; off by default.
        vip_channel: bool;
        /// Sets [`Config::encoding`]; JSON by default.
        encoding: Encoding;
        /// Sets [`Config::long_send_header`]; off by default.
        long_send_header: bool;
        /// Sets [`Config::send_timeout`]; 3 s by default.
        send_timeout: Duration;
        /// Sets [`Config::retries_max`]; 2 by default.
        retries_max: u32;
        /// Sets [`Config::attempt_timeout_min`]; 10 ms by default.
        attempt_timeout_min: Duration;
        /// Sets [`Config::in_flight_messages_max`]; 1,024 by default.
        in_flight_messages_max: u32;
        /// Sets [`Config::in_flight_bytes_max`]; 100 MiB by default.
        in_flight_bytes_max: usize;
        /// Sets [`Config::unlimited_wait_for_room`]; off by default.
        unlimited_wait_for_room: bool;
        /// Sets [`Config::body_length_max`]; 4 MiB by default.
        body_length_max: usize;
        /// Sets [`Config::compression`]; zlib by default.
        compression: Compression;
        /// Sets [`Config::compression_level`]; 5 by default.
        compression_level: u32;
        /// Sets [`Config::compress_over`]; 4 KiB by default.
        compress_over: usize;
        /// Sets [`Config::create_topics`]; on by default.
        create_topics: bool;
        /// Sets [`Config::default_topic_queue_nums`]; 4 by default.
        default_topic_queue_nums: u32;
        /// Sets [`Config::connect_timeout`]; 3 s by default.
        connect_timeout: Duration;
        /// Sets [`Config::request_timeout`]; 3 s by default.
        request_timeout: Duration;
        /// Sets [`Config::name_server_patience`]; 400 ms by default.
        name_server_patience: Duration;
        /// Sets [`Config::route_refresh`]; 10 ms, then every 30 s by default.
        route_refresh: Periodic;
        /// Sets [`Config::heartbeat`]; 1 s, then every 30 s by default.
        heartbeat: Periodic;
        /// Sets [`Config::connection_idle_max`]; 120 s by default.
        connection_idle_max: Duration;
        /// Sets [`Config::dial_back_off_min`]; 100 ms by default.
        dial_back_off_min: Duration;
        /// Sets [`Config::dial_back_off_max`]; 3 s by default. It counts where it is less than
        /// [`Config::dial_back_off_min`].
        dial_back_off_max: Duration;
        /// Sets [`Config::busy_back_off`]; 20 ms by default.
        busy_back_off: Duration;
        /// Sets [`Config::retry_budget`]; [`RetryBudget::DEFAULT`] by default.
        retry_budget: Option<RetryBudget>;
        /// Sets [`Config::latency_avoidance`]; on by default.
        latency_avoidance: bool;
        /// Sets [`Config::queue_strategy`]; [`QueueStrategy::Current`] by default.
        queue_strategy: QueueStrategy;
        /// Sets [`Config::latency_classes`]; those of the strategy by default.
        latency_classes: Vec<LatencyClass>;
        /// Sets [`Config::detector`]; none by default.
        detector: Option<Detector>;
        /// Sets [`Config::retry_weak_acknowledgement`]; off by default.
        retry_weak_acknowledgement: bool;
        /// Sets [`Config::retry_only_if_not_stored`]; off by default.
        retry_only_if_not_stored: bool;
        /// Sets [`Config::retry_codes`]; none by default.
        retry_codes: Vec<i32>;
        /// Sets [`Config::address_map`]; addresses are reachable as announced by default.
        address_map: AddressMap;
        /// Sets [`Config::unsent_bytes_max`]; 64 KiB by default.
        unsent_bytes_max: usize;
        /// Sets [`Config::transactions`]; [`TransactionSettings::DEFAULT`] by default.
        transactions: TransactionSettings;
        /// Sets [`Config::events`]; [`EventSet::STATE_CHANGES`] by default.
        events: EventSet;
    }

    /// Sets [`Config::topic_in_flight_messages_max`]; no bound by default.
    pub fn topic_in_flight_messages_max(mut self, messages: u32) -> ConfigBuilder {
        self.config.topic_in_flight_messages_max = Some(messages);
        self
    }

    /// Sets [`Config::topic_in_flight_bytes_max`]; no bound by default.
    pub fn topic_in_flight_bytes_max(mut self, bytes: usize) -> ConfigBuilder {
        self.config.topic_in_flight_bytes_max = Some(bytes);
        self
    }

    /// Sets [`Config::client_id`]. Two clients must never share one.
    pub fn client_id(mut self, client_id: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.client_id = client_id.into();
        self
    }

    /// Sets [`Config::create_topic_key`]; `TBW102` by default.
    pub fn create_topic_key(mut self, topic: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.create_topic_key = topic.into();
        self
    }

    /// Adds an interceptor behind those that are there. It is called on the driver's task.
    pub fn interceptor(mut self, interceptor: Arc<dyn Interceptor>) -> ConfigBuilder {
        self.config.interceptors.push(interceptor);
        self
    }

    /// Adds a topic to [`Config::topics`].
    pub fn topic(mut self, topic: impl Into<Box<str>>) -> ConfigBuilder {
        self.config.topics.push(topic.into());
        self
    }

    /// Checks everything and makes the settings final.
    ///
    /// # Errors
    /// Names the first setting that cannot work.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut config = self.config;
        config.name_servers = Address::parse_list(&self.name_servers)?;
        if config.name_servers.len() > limits::NAME_SERVERS_MAX {
            let max = limits::NAME_SERVERS_MAX as u64;
            return Err(ConfigError::TooLarge { setting: "name_servers", max });
        }
        let url = self.url.transpose()?.map(|url| url.of_unit(&config.unit_name));
        config.name_server_url = url.transpose()?;
        if config.name_servers.is_empty() && config.name_server_url.is_none() {
            return Err(ConfigError::NoNameServer);
        }
        config.check_names()?;
        let positive: [(&'static str, bool); 16] = [
            ("discovery.period", !config.discovery.period.is_zero()),
            ("send_timeout", !config.send_timeout.is_zero()),
            ("topic_in_flight_messages_max", config.topic_in_flight_messages_max != Some(0)),
            ("topic_in_flight_bytes_max", config.topic_in_flight_bytes_max != Some(0)),
            ("body_length_max", config.body_length_max > 0),
            ("compression_level", config.compression_level > 0),
            ("default_topic_queue_nums", config.default_topic_queue_nums > 0),
            ("request_timeout", !config.request_timeout.is_zero()),
            ("connect_timeout", !config.connect_timeout.is_zero()),
            // Java: NettyClientConfig switches it off with 0. Here that would close all at once.
            ("connection_idle_max", !config.connection_idle_max.is_zero()),
            ("dial_back_off_min", !config.dial_back_off_min.is_zero()),
            ("dial_back_off_max", !config.dial_back_off_max.is_zero()),
            ("route_refresh.period", !config.route_refresh.period.is_zero()),
            ("heartbeat.period", !config.heartbeat.period.is_zero()),
            ("transactions.memory", !config.transactions.memory.is_zero()),
            ("transactions.check_timeout", !config.transactions.check_timeout.is_zero()),
        ];
        if let Some((setting, _)) = positive.into_iter().find(|(_, positive)| !positive) {
            return Err(ConfigError::Zero { setting });
        }
        check_in_flight_max(config.in_flight_messages_max, config.in_flight_bytes_max)?;
        check_strategy(&config)?;
        if !config.compression.is_built() {
            return Err(ConfigError::CompressionNotBuilt { compression: config.compression });
        }
        if config.compression_level > config.compression.level_max() {
            let max = u64::from(config.compression.level_max());
            return Err(ConfigError::TooLarge { setting: "compression_level", max });
        }
        if config.default_topic_queue_nums > limits::QUEUES_PER_BROKER_MAX {
            let max = u64::from(limits::QUEUES_PER_BROKER_MAX);
            return Err(ConfigError::TooLarge { setting: "default_topic_queue_nums", max });
        }
        let frame_room = limits::FRAME_LENGTH_MAX - limits::HEADER_LENGTH_OWN_MAX;
        if config.body_length_max > frame_room {
            let max = frame_room as u64;
            return Err(ConfigError::TooLarge { setting: "body_length_max", max });
        }
        Ok(config)
    }
}

/// Checks what Java leaves unchecked until an attempt fails.
fn check_strategy(config: &Config) -> Result<(), ConfigError> {
    let classes = &config.latency_classes;
    if classes.len() > limits::LATENCY_CLASSES_MAX {
        let max = limits::LATENCY_CLASSES_MAX as u64;
        return Err(ConfigError::TooLarge { setting: "latency_classes", max });
    }
    let rises = |pair: &[LatencyClass]| matches!(pair, [low, high] if low.from < high.from);
    if let Some(index) = classes.windows(2).position(|pair| !rises(pair)) {
        return Err(ConfigError::LatencyClasses { index: index + 1 });
    }
    let too_long = |class: &LatencyClass| class.avoided > limits::AVOIDED_MAX;
    if classes.iter().any(too_long) {
        let max = limits::AVOIDED_MAX.as_millis() as u64;
        return Err(ConfigError::TooLarge { setting: "latency_classes.avoided in ms", max });
    }
    let Some(detector) = &config.detector else { return Ok(()) };
    if detector.interval.is_zero() {
        return Err(ConfigError::Zero { setting: "detector.interval" });
    }
    if detector.timeout.is_zero() {
        return Err(ConfigError::Zero { setting: "detector.timeout" });
    }
    if detector.timeout > detector.interval {
        let max = u64::try_from(detector.interval.as_millis()).unwrap_or(u64::MAX);
        return Err(ConfigError::TooLarge { setting: "detector.timeout in ms", max });
    }
    Ok(())
}

/// Settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of name servers is empty.
    #[error("no name server is given; pass HOST:PORT, usually port 9876")]
    NoNameServer,
    /// The URL that is to be asked for name servers cannot be.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A namespace cannot be a part of a topic's name.
    #[error("{namespace:?} is not a namespace: up to 127 letters, digits, %, |, - and _")]
    Namespace {
        /// The namespace.
        namespace: Box<str>,
    },
    /// An address cannot be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A topic name is not legal.
    #[error("topic \"{topic}\": {error}")]
    Topic {
        /// The name.
        topic: Box<str>,
        /// What is wrong with it.
        error: crate::invalid::InvalidMessage,
    },
    /// A setting must be more than zero.
    #[error("{setting} must be more than zero")]
    Zero {
        /// Its name.
        setting: &'static str,
    },
    /// A setting is larger than the client can handle.
    #[error("{setting} must be at most {max}")]
    TooLarge {
        /// Its name.
        setting: &'static str,
        /// The largest possible value.
        max: u64,
    },
    /// The latency classes are not in order.
    #[error("latency_classes[{index}] must begin later than the class before; sort them by `from`")]
    LatencyClasses {
        /// The first class that is out of order, from 0.
        index: usize,
    },
    /// A compression is asked for that is not part of this build.
    #[error(
        "compression {compression} is not built in; turn on the cargo feature \"{compression}\""
    )]
    CompressionNotBuilt {
        /// The compression.
        compression: Compression,
    },
    /// A producer group cannot be used.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// A producer group that cannot be registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The name is blank, too long, reserved or holds an illegal character.
    // Java: Validators#checkGroup
    #[error(
        "\"{0}\" is not a producer group: 1 to 120 characters of letters, digits, %, |, - and _, \
         and not DEFAULT_PRODUCER"
    )]
    Illegal(String),
    /// The name is too long once it has its namespace.
    #[error(
        "producer group \"{0}\" has more than 120 characters with its namespace; choose a shorter \
         name"
    )]
    TooLongInNamespace(String),
    /// The client already has a producer of this group.
    #[error("this client already has a producer of group \"{0}\"; clone that producer instead")]
    Duplicate(String),
    /// The client has [`limits::GROUPS_MAX`] groups already.
    #[error("this client already has 1,024 producer groups; use another client")]
    TooMany,
    /// The client is closing or closed.
    #[error("the client is closed")]
    Closed,
}

/// Checks bounds on what is in flight.
///
/// # Errors
/// If one of them is 0, or there are more messages than the client can handle.
pub fn check_in_flight_max(messages: u32, bytes: usize) -> Result<(), ConfigError> {
    let max = limits::OPERATIONS_MAX / 2;
    if messages == 0 {
        return Err(ConfigError::Zero { setting: "in_flight_messages_max" });
    }
    if bytes == 0 {
        return Err(ConfigError::Zero { setting: "in_flight_bytes_max" });
    }
    if messages > max {
        return Err(ConfigError::TooLarge {
            setting: "in_flight_messages_max",
            max: u64::from(max),
        });
    }
    Ok(())
}

/// Checks the name of a producer group.
///
/// # Errors
/// If it is blank, longer than 120 bytes, `DEFAULT_PRODUCER`, or holds another character than
/// letters, digits, `%`, `|`, `-` and `_`.
// Java: Validators#checkGroup, DefaultMQProducerImpl#checkConfig
pub fn check_group(group: &str) -> Result<(), GroupError> {
    let legal = !group.is_empty()
        && group.len() <= limits::GROUP_LENGTH_MAX
        && group != "DEFAULT_PRODUCER"
        && group.bytes().all(is_name_byte);
    let cut = || group.chars().take(limits::GROUP_LENGTH_MAX + 1).collect();
    if legal { Ok(()) } else { Err(GroupError::Illegal(cut())) }
}

/// Bytes that topics and groups are made of.
// Java: TopicValidator#VALID_CHAR_BIT_MAP
#[inline]
pub(crate) fn is_name_byte(byte: u8) -> bool {
    // A table: this is asked of every byte of every message's topic.
    const NAME_BYTES: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < table.len() {
            let (letter, sign) = ((byte as u8).is_ascii_alphanumeric(), byte as u8);
            table[byte] = letter || matches!(sign, b'%' | b'|' | b'-' | b'_');
            byte += 1;
        }
        table
    };
    NAME_BYTES.get(usize::from(byte)).is_some_and(|is| *is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_needs_a_name_server_that_can_be_read() {
        assert_eq!(Config::builder(" ; ").build().unwrap_err(), ConfigError::NoNameServer);
        assert!(matches!(Config::builder("nowhere").build(), Err(ConfigError::Address(_))));
        assert_eq!(Config::builder("a:1;b:2").build().unwrap().name_servers.len(), 2);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let zero = Config::builder("a:1").in_flight_messages_max(0).build().unwrap_err();
        assert_eq!(zero, ConfigError::Zero { setting: "in_flight_messages_max" });
        let idle = Config::builder("a:1").connection_idle_max(Duration::ZERO).build().unwrap_err();
        assert_eq!(idle, ConfigError::Zero { setting: "connection_idle_max" });
        let large = Config::builder("a:1").body_length_max(16 << 20).build().unwrap_err();
        assert!(matches!(large, ConfigError::TooLarge { setting: "body_length_max", .. }));
        let topic = Config::builder("a:1").topic("a/b").build().unwrap_err();
        assert!(matches!(topic, ConfigError::Topic { .. }));
        // On the wire it is a signed number.
        let queues = |count| Config::builder("a:1").default_topic_queue_nums(count).build();
        assert!(queues(65_536).is_ok());
        let setting = "default_topic_queue_nums";
        let too_many = ConfigError::TooLarge { setting, max: 65_536 };
        assert_eq!(queues(65_537).unwrap_err(), too_many);
    }

    #[test]
    fn classes_and_detectors_that_cannot_work_are_named() {
        let ms = LatencyClass::from_millis;
        let classes = |list: &[LatencyClass]| {
            Config::builder("a:1").latency_classes(list.to_vec()).build().map(drop)
        };
        assert_eq!(classes(&[]), Ok(()));
        assert_eq!(classes(&[ms(5, 0), ms(6, 9), ms(7, 3)]), Ok(()));
        for (unsorted, index) in
            [(&[ms(5, 0), ms(5, 9)][..], 1), (&[ms(1, 0), ms(3, 0), ms(2, 0)], 2)]
        {
            assert_eq!(classes(unsorted), Err(ConfigError::LatencyClasses { index }));
        }
        let longest = limits::AVOIDED_MAX.as_millis() as u64;
        assert_eq!(classes(&[ms(5, longest)]), Ok(()));
        let setting = "latency_classes.avoided in ms";
        let too_long = Err(ConfigError::TooLarge { setting, max: longest });
        assert_eq!(classes(&[ms(5, longest + 1)]), too_long);
        let most = limits::LATENCY_CLASSES_MAX as u64;
        let many: Vec<_> = (0..=most).map(|from| ms(from, 0)).collect();
        let too_many = Err(ConfigError::TooLarge { setting: "latency_classes", max: most });
        assert_eq!(classes(&many[..most as usize]), Ok(()));
        assert_eq!(classes(&many), too_many);

        let detector = |timeout, interval| {
            let [timeout, interval] = [timeout, interval].map(Duration::from_millis);
            let mut detector = Detector::default();
            (detector.timeout, detector.interval) = (timeout, interval);
            Config::builder("a:1").detector(Some(detector)).build().map(drop)
        };
        assert_eq!(detector(200, 200), Ok(()));
        let zero = |setting| Err(ConfigError::Zero { setting });
        assert_eq!(detector(0, 2_000), zero("detector.timeout"));
        assert_eq!(detector(200, 0), zero("detector.interval"));
        let setting = "detector.timeout in ms";
        assert_eq!(detector(201, 200), Err(ConfigError::TooLarge { setting, max: 200 }));
    }

    #[test]
    fn a_compression_that_is_not_built_is_refused_with_what_to_do() {
        for compression in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
            let built = Config::builder("a:1").compression(compression).build();
            if compression.is_built() {
                assert_eq!(built.unwrap().compression, compression);
                let level = compression.level_max() + 1;
                let high = Config::builder("a:1").compression(compression).compression_level(level);
                let setting = "compression_level";
                let max = u64::from(level - 1);
                assert_eq!(high.build().unwrap_err(), ConfigError::TooLarge { setting, max });
                continue;
            }
            let error = built.unwrap_err();
            assert_eq!(error, ConfigError::CompressionNotBuilt { compression });
            let feature = alloc::format!("cargo feature \"{compression}\"");
            assert!(alloc::format!("{error}").contains(&feature), "{error}");
        }
        let none = Config::builder("a:1").compression(Compression::None).build().unwrap();
        assert_eq!(none.compression, Compression::None);
    }

    #[test]
    fn groups_are_checked_as_java_does() {
        assert!(check_group("orders-%RETRY%|_1").is_ok());
        let long = "x".repeat(121);
        for bad in ["", " ", "DEFAULT_PRODUCER", "a b", "grüße", &long] {
            assert!(check_group(bad).is_err(), "{bad}");
        }
    }
}
