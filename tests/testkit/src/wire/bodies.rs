//! Bodies of commands: routes, heartbeats, batches, stored messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Reader, StaticQueues, WireError};

/// One broker's queues of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueData {
    /// Whose queues.
    pub broker_name: String,
    /// Queues to read from.
    pub read_queues: i64,
    /// Queues to write to.
    pub write_queues: i64,
    /// Bit 2 read, bit 1 write, bit 0 inherit.
    pub perm: i32,
}

/// One broker name and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerData {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name.
    pub broker_name: String,
    /// Broker id to address; id 0 is the master.
    pub addresses: BTreeMap<i64, String>,
}

/// A topic's route as a name server gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRoute {
    /// Queues, broker by broker.
    pub queues: Vec<QueueData>,
    /// Brokers.
    pub brokers: Vec<BrokerData>,
    /// The parts of a static topic.
    pub static_queues: Vec<StaticQueues>,
    /// The topic, which only the parts of a static topic name.
    pub static_topic: String,
}

impl TopicRoute {
    /// The body of the answer.
    ///
    /// `strict` quotes map keys; without it integer keys are bare, as fastjson writes them, which
    /// no standard JSON parser reads. `acting_master` adds the field that 5.x knows.
    // Java: TopicRouteData, ClientRequestProcessor#getRouteInfoByTopic.
    pub fn to_json(&self, strict: bool, acting_master: bool) -> String {
        let brokers: Vec<_> =
            self.brokers.iter().map(|broker| broker.to_json(strict, acting_master)).collect();
        let queues: Vec<_> = self
            .queues
            .iter()
            .map(|queue| {
                format!(
                    "{{\"brokerName\":{},\"perm\":{},\"readQueueNums\":{},\"topicSysFlag\":0,\
                     \"writeQueueNums\":{}}}",
                    json_string(&queue.broker_name, strict),
                    queue.perm,
                    queue.read_queues,
                    queue.write_queues
                )
            })
            .collect();
        let static_queues: Vec<_> =
            self.static_queues.iter().map(|it| it.to_json(&self.static_topic, strict)).collect();
        let static_queues = if static_queues.is_empty() {
            String::new()
        } else {
            format!(",\"topicQueueMappingByBroker\":{{{}}}", static_queues.join(","))
        };
        format!(
            "{{\"brokerDatas\":[{}],\"filterServerTable\":{{}},\"queueDatas\":[{}]\
             {static_queues}}}",
            brokers.join(","),
            queues.join(",")
        )
    }
}

impl TopicRoute {
    /// Reads the body of an answer, strict JSON or not; `None` if it is no route.
    pub fn from_json(text: &str) -> Option<TopicRoute> {
        let value: Value = serde_json::from_str(&quote_keys(text)).ok()?;
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let queues = value.get("queueDatas")?.as_array()?.iter().map(|data| QueueData {
            broker_name: text(&data["brokerName"]),
            read_queues: number(&data["readQueueNums"]),
            write_queues: number(&data["writeQueueNums"]),
            perm: number(&data["perm"]) as i32,
        });
        let brokers = value.get("brokerDatas")?.as_array()?.iter().map(|data| {
            let addresses = data["brokerAddrs"].as_object().into_iter().flatten();
            BrokerData {
                cluster: text(&data["cluster"]),
                broker_name: text(&data["brokerName"]),
                addresses: addresses
                    .filter_map(|(id, address)| Some((id.parse().ok()?, text(address))))
                    .collect(),
            }
        });
        let mappings = value.get("topicQueueMappingByBroker").and_then(Value::as_object);
        let mappings = mappings.into_iter().flat_map(|it| it.values());
        Some(TopicRoute {
            queues: queues.collect(),
            brokers: brokers.collect(),
            static_queues: mappings.clone().map(StaticQueues::from_json).collect(),
            static_topic: mappings.map(|it| text(&it["topic"])).next().unwrap_or_default(),
        })
    }
}

impl BrokerData {
    fn to_json(&self, strict: bool, acting_master: bool) -> String {
        let mark = if strict { "\"" } else { "" };
        let addresses: Vec<_> = self
            .addresses
            .iter()
            .map(|(id, address)| format!("{mark}{id}{mark}:{}", json_string(address, strict)))
            .collect();
        let acting_master = if acting_master { ",\"enableActingMaster\":false" } else { "" };
        format!(
            "{{\"brokerAddrs\":{{{}}},\"brokerName\":{},\"cluster\":{}{acting_master}}}",
            addresses.join(","),
            json_string(&self.broker_name, strict),
            json_string(&self.cluster, strict),
        )
    }
}

/// The body of the cluster info answer, which is never strict JSON.
// Java: ClusterInfo, DefaultRequestProcessor#getBrokerClusterInfo.
pub fn cluster_info_json(brokers: &[BrokerData], acting_master: bool) -> String {
    let mut clusters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut table = Vec::new();
    for broker in brokers {
        let name = json_string(&broker.broker_name, false);
        table.push(format!("{name}:{}", broker.to_json(false, acting_master)));
        clusters.entry(&broker.cluster).or_default().push(name);
    }
    let clusters: Vec<_> = clusters
        .iter()
        .map(|(cluster, names)| format!("{}:[{}]", json_string(cluster, false), names.join(",")))
        .collect();
    format!(
        "{{\"brokerAddrTable\":{{{}}},\"clusterAddrTable\":{{{}}}}}",
        table.join(","),
        clusters.join(",")
    )
}

/// Puts quotes around bare integer keys, so that a standard parser reads fastjson's loose form.
pub fn quote_keys(loose: &str) -> String {
    let mut strict = String::with_capacity(loose.len() + 16);
    let (mut in_string, mut escaped, mut key_may_follow) = (false, false, false);
    let mut characters = loose.chars().peekable();
    while let Some(character) = characters.next() {
        if !in_string && key_may_follow && (character.is_ascii_digit() || character == '-') {
            let mut number = character.to_string();
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                number.push(digit);
            }
            let is_key = characters.peek() == Some(&':');
            let mark = if is_key { "\"" } else { "" };
            let _ = write!(strict, "{mark}{number}{mark}");
            key_may_follow = false;
            continue;
        }
        strict.push(character);
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            in_string = character == '"';
            key_may_follow = matches!(character, '{' | ',');
        }
    }
    strict
}

// The strict form also escapes the slash and everything outside ASCII.
// Java: fastjson SerializerFeature.BrowserCompatible.
pub(super) fn json_string(text: &str, strict: bool) -> String {
    let plain = Value::from(text).to_string();
    if !strict {
        return plain;
    }
    let mut escaped = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            '/' => escaped.push_str("\\/"),
            ascii if ascii.is_ascii() => escaped.push(ascii),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04X}");
                }
            }
        }
    }
    escaped
}

/// What a client says about itself in a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Identifies the client.
    pub client_id: String,
    /// Groups it produces in.
    pub producer_groups: Vec<String>,
    /// Groups it consumes in.
    pub consumer_groups: Vec<String>,
}

impl Heartbeat {
    /// Reads the body of a heartbeat.
    ///
    /// # Errors
    ///
    /// What makes a broker close the connection: no JSON object, no `clientID`, sets that are no
    /// lists of groups.
    // Java: HeartbeatData; missing sets are read as empty.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| WireError::new(format!("heartbeat: {error}")))?;
        let client_id = value.get("clientID").and_then(Value::as_str);
        Ok(Self {
            client_id: client_id.ok_or_else(|| WireError::new("no clientID"))?.to_owned(),
            producer_groups: group_names(&value, "producerDataSet")?,
            consumer_groups: group_names(&value, "consumerDataSet")?,
        })
    }

    /// Writes the body of a heartbeat.
    pub fn encode(&self) -> Vec<u8> {
        let groups = |names: &[String]| -> Value {
            names.iter().map(|name| serde_json::json!({ "groupName": name })).collect()
        };
        serde_json::json!({
            "clientID": self.client_id,
            "consumerDataSet": groups(&self.consumer_groups),
            "producerDataSet": groups(&self.producer_groups),
        })
        .to_string()
        .into_bytes()
    }
}

fn group_names(heartbeat: &Value, set: &str) -> Result<Vec<String>, WireError> {
    let bad = || WireError::new(format!("{set} is no list of groups"));
    match heartbeat.get(set) {
        None => Ok(Vec::new()),
        Some(Value::Array(groups)) => groups
            .iter()
            .map(|group| group.get("groupName").and_then(Value::as_str).map(str::to_owned))
            .map(|name| name.ok_or_else(bad))
            .collect(),
        Some(_) => Err(bad()),
    }
}

/// One message of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchMessage {
    /// The application's flag.
    pub flag: i32,
    /// The body.
    pub body: Vec<u8>,
    /// The property string, unparsed.
    pub properties: String,
}

/// Reads the body of a batch.
///
/// # Errors
///
/// When a length does not fit or the batch is empty.
// Java: MessageExtEncoder#encode(MessageExtBatch): size, magic and CRC are read and ignored.
pub fn decode_batch(body: &[u8]) -> Result<Vec<BatchMessage>, WireError> {
    let mut reader = Reader::new(body);
    let mut messages = Vec::new();
    while reader.left() > 0 {
        reader.bytes(12)?;
        let flag = reader.i32()?;
        let length = reader.i32()?;
        let length = usize::try_from(length).map_err(|_| WireError::new("negative body length"))?;
        let body = reader.bytes(length)?.to_vec();
        let length = reader.i16()?;
        let length =
            usize::try_from(length).map_err(|_| WireError::new("negative properties length"))?;
        let properties = String::from_utf8_lossy(reader.bytes(length)?).into_owned();
        messages.push(BatchMessage { flag, body, properties });
    }
    if messages.is_empty() {
        return Err(WireError::new("empty batch"));
    }
    Ok(messages)
}

/// Writes the body of a batch.
// Java: MessageDecoder#encodeMessages.
pub fn encode_batch(messages: &[BatchMessage]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let size = 22 + message.body.len() + message.properties.len();
        bytes.extend_from_slice(&(size as u32).to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&message.flag.to_be_bytes());
        bytes.extend_from_slice(&(message.body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&message.body);
        bytes.extend_from_slice(&(message.properties.len() as u16).to_be_bytes());
        bytes.extend_from_slice(message.properties.as_bytes());
    }
    bytes
}

/// A message in the form brokers keep and hand out, for the body of a transaction check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMessage {
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: i32,
    /// The application's flag.
    pub flag: i32,
    /// Place in the queue.
    pub queue_offset: i64,
    /// Place in the commit log.
    pub commit_log_offset: i64,
    /// Compression and transaction bits; the bits of IPv6 hosts are set by `encode`.
    pub sys_flag: i32,
    /// When the client made it.
    pub born_timestamp_ms: i64,
    /// Where the client was.
    pub born_host: SocketAddr,
    /// When the broker stored it.
    pub store_timestamp_ms: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// The body as stored.
    pub body: Vec<u8>,
    /// The property string.
    pub properties: String,
}

impl LogMessage {
    /// Version 1 for topics of up to 127 bytes, version 2 for longer ones.
    // Java: MessageDecoder#encode, MessageVersion.
    pub fn encode(&self) -> Vec<u8> {
        let long_topic = self.topic.len() > 127;
        let sys_flag = self.sys_flag
            | if self.born_host.is_ipv6() { 0x10 } else { 0 }
            | if self.store_host.is_ipv6() { 0x20 } else { 0 };
        let mut bytes = vec![0; 4];
        let magic: u32 = if long_topic { 0xdaa3_20ab } else { 0xdaa3_20a7 };
        bytes.extend_from_slice(&magic.to_be_bytes());
        bytes.extend_from_slice(&(crc32(&self.body) & 0x7fff_ffff).to_be_bytes());
        bytes.extend_from_slice(&self.queue_id.to_be_bytes());
        bytes.extend_from_slice(&self.flag.to_be_bytes());
        bytes.extend_from_slice(&self.queue_offset.to_be_bytes());
        bytes.extend_from_slice(&self.commit_log_offset.to_be_bytes());
        bytes.extend_from_slice(&sys_flag.to_be_bytes());
        bytes.extend_from_slice(&self.born_timestamp_ms.to_be_bytes());
        push_host(&mut bytes, self.born_host);
        bytes.extend_from_slice(&self.store_timestamp_ms.to_be_bytes());
        push_host(&mut bytes, self.store_host);
        // Reconsume times and the offset of a prepared message are 0 here.
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&self.body);
        if long_topic {
            bytes.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        } else {
            bytes.push(self.topic.len() as u8);
        }
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend_from_slice(&(self.properties.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.properties.as_bytes());
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        bytes
    }
}

fn push_host(bytes: &mut Vec<u8>, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
    bytes.extend_from_slice(&u32::from(host.port()).to_be_bytes());
}

// The polynomial of zlib, one bit at a time: the cluster needs it for a few bytes only.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}
