//! The body of a route answer: which brokers hold which queues of a topic.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::loose_json::quote_bare_keys;
use crate::limits::{
    ADDRESS_LENGTH_MAX, QUEUES_PER_BROKER_MAX, ROUTE_BODY_LENGTH_MAX, ROUTE_BROKERS_MAX,
};

/// Most addresses of one broker name: a master and its slaves. Real ones have a few, and without a
/// bound a few bytes of the body would cost a whole allocation each.
pub const ADDRESSES_PER_BROKER_MAX: usize = 64;

/// The permission bits of a queue.
// Java: PermName#PERM_READ
const PERM_READ: i32 = 1 << 2;
// Java: PermName#PERM_WRITE
const PERM_WRITE: i32 = 1 << 1;

/// Where the queues of a topic are.
// Java: TopicRouteData
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRoute {
    /// The brokers with at least one address, in the order of the answer.
    pub brokers: Vec<BrokerData>,
    /// How many queues each broker has, in the order of the answer.
    pub queues: Vec<QueueData>,
    /// `broker:count;broker:count`: the queues of an ordered topic.
    pub order_topic_conf: Option<Box<str>>,
    /// The parts of a topic whose queues are numbered over all brokers.
    pub static_queues: Vec<TopicQueueMapping>,
}

/// One broker name: a master and its slaves.
// Java: BrokerData
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerData {
    /// The cluster.
    pub cluster: Box<str>,
    /// The name that queues refer to.
    pub broker_name: Box<str>,
    /// Broker id and address, sorted by id; the id 0 is the master. The addresses are as sent,
    /// but neither empty nor longer than [`ADDRESS_LENGTH_MAX`].
    pub addresses: Vec<(i64, Box<str>)>,
    /// Whether a slave may stand in for the master.
    pub enable_acting_master: bool,
    /// The zone, where zones are in use.
    pub zone_name: Option<Box<str>>,
}

/// The queues of a topic on one broker name.
// Java: QueueData
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueData {
    /// The broker.
    pub broker_name: Box<str>,
    /// Queues to read from, numbered from 0. As sent: negative means none.
    pub read_queue_nums: i32,
    /// Queues to write to, numbered from 0. As sent: negative means none.
    pub write_queue_nums: i32,
    /// Permission bits.
    // Java: PermName
    pub perm: i32,
    /// Unit bits.
    // Java: TopicSysFlag
    pub topic_sys_flag: i32,
}

impl QueueData {
    /// Whether producers may send to these queues.
    // Java: PermName#isWriteable
    pub const fn is_writable(&self) -> bool {
        self.perm & PERM_WRITE != 0
    }

    /// Whether consumers may read these queues.
    // Java: PermName#isReadable
    pub const fn is_readable(&self) -> bool {
        self.perm & PERM_READ != 0
    }
}

/// One broker's part of a static topic.
// Java: TopicQueueMappingInfo
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicQueueMapping {
    /// The broker.
    pub bname: Box<str>,
    /// The group of mappings that are numbered together; parts without one do not count.
    pub scope: Option<Box<str>>,
    /// The mapping with the highest epoch is the valid one.
    pub epoch: i64,
    /// Logical queues in this scope.
    pub total_queues: i32,
    /// Logical queue and physical queue on this broker, sorted by the logical one.
    pub curr_id_map: Vec<(i32, i32)>,
}

/// Why a route answer cannot be used. The route known before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The body is longer than [`ROUTE_BODY_LENGTH_MAX`].
    #[error("the route has {length} bytes, more than {ROUTE_BODY_LENGTH_MAX}")]
    BodyTooLong {
        /// Bytes of the body.
        length: usize,
    },
    /// Nested deeper than [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX).
    #[error("the route is nested deeper than {}", crate::limits::JSON_DEPTH_MAX)]
    NestingTooDeep,
    /// Not JSON, or not what a route looks like.
    #[error("the route is malformed at line {line}, column {column}: {reason}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was found there.
        reason: Box<str>,
    },
    /// More than [`ROUTE_BROKERS_MAX`] entries.
    #[error("the route has more than {ROUTE_BROKERS_MAX} {entries}")]
    TooManyEntries {
        /// What there are too many of.
        entries: &'static str,
    },
    /// More than [`QUEUES_PER_BROKER_MAX`] queues.
    #[error("the route has {queues} queues on {broker}, more than {QUEUES_PER_BROKER_MAX}")]
    TooManyQueues {
        /// The broker.
        broker: Box<str>,
        /// Queues as sent.
        queues: i64,
    },
    /// More than [`ADDRESSES_PER_BROKER_MAX`] addresses.
    #[error("the route has more than {ADDRESSES_PER_BROKER_MAX} addresses of {broker}")]
    TooManyAddresses {
        /// The broker.
        broker: Box<str>,
    },
}

/// Reads the body of a route answer, strict JSON or the loose form of old name servers, whose
/// integer keys are bare. Integers may be strings, unknown members are passed over, and `null`
/// means absent. Entries without a broker name or without an address are left out.
///
/// Memory stays within a small multiple of the body: queues are counted, not listed.
///
/// # Errors
///
/// The body is malformed or beyond a bound; see [`RouteError`].
// Java: TopicRouteData#decode
pub fn decode_route(body: &[u8]) -> Result<TopicRoute, RouteError> {
    if body.len() > ROUTE_BODY_LENGTH_MAX {
        return Err(RouteError::BodyTooLong { length: body.len() });
    }
    let text = quote_bare_keys(body).ok_or(RouteError::NestingTooDeep)?;
    let text = match text {
        Cow::Borrowed(bytes) => super::text::lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    };
    let raw: Object<RawRoute> =
        serde_json::from_str(&text).map_err(|error| RouteError::Invalid {
            line: error.line(),
            column: error.column(),
            reason: reason_of(&error),
        })?;
    raw.0.checked()
}

/// The parser's message without the peer's text in full length.
fn reason_of(error: &serde_json::Error) -> Box<str> {
    let mut reason = alloc::format!("{error}");
    let end = reason.char_indices().nth(100).map_or(reason.len(), |(end, _)| end);
    reason.truncate(end);
    reason.into_boxed_str()
}

/// The answer as it is parsed; every member may be absent or null.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawRoute {
    broker_datas: Nullable<List<BrokerData>>,
    queue_datas: Nullable<List<QueueData>>,
    order_topic_conf: Option<Box<str>>,
    topic_queue_mapping_by_broker: Nullable<NamedList<TopicQueueMapping>>,
}

impl RawRoute {
    fn checked(self) -> Result<TopicRoute, RouteError> {
        Ok(TopicRoute {
            brokers: self.broker_datas.0.checked()?,
            queues: self.queue_datas.0.checked()?,
            order_topic_conf: self.order_topic_conf.filter(|conf| !conf.is_empty()),
            static_queues: self.topic_queue_mapping_by_broker.0.0.checked()?,
        })
    }
}

/// What is kept of an entry. Entries are checked one by one, so that many empty ones cost nothing.
trait Entry: Sized {
    /// What there can be too many of.
    const ENTRIES: &'static str;

    /// The entry as it is parsed.
    type Raw: for<'de> Deserialize<'de>;

    /// Checks an entry, `None` when it is to be left out. `key` is its key in a map.
    fn checked(key: &str, raw: Self::Raw) -> Result<Option<Self>, RouteError>;
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawBroker {
    cluster: Option<Box<str>>,
    broker_name: Option<Box<str>>,
    broker_addrs: Nullable<Addresses>,
    enable_acting_master: Nullable<bool>,
    zone_name: Option<Box<str>>,
}

impl Entry for BrokerData {
    const ENTRIES: &'static str = "brokers";

    type Raw = RawBroker;

    fn checked(_: &str, raw: RawBroker) -> Result<Option<Self>, RouteError> {
        let Some(name) = raw.broker_name.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let Addresses { found, surplus } = raw.broker_addrs.0;
        if surplus {
            return Err(RouteError::TooManyAddresses { broker: name });
        }
        if found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            cluster: raw.cluster.unwrap_or_default(),
            broker_name: name,
            addresses: found.into_iter().collect(),
            enable_acting_master: raw.enable_acting_master.0,
            zone_name: raw.zone_name.filter(|zone| !zone.is_empty()),
        }))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawQueue {
    broker_name: Option<Box<str>>,
    read_queue_nums: Integer,
    write_queue_nums: Integer,
    perm: Integer,
    topic_sys_flag: Option<Integer>,
    /// The name up to 4.8.0.
    topic_syn_flag: Option<Integer>,
}

impl Entry for QueueData {
    const ENTRIES: &'static str = "queue entries";

    type Raw = RawQueue;

    fn checked(_: &str, raw: RawQueue) -> Result<Option<Self>, RouteError> {
        let Some(name) = raw.broker_name.filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        for queues in [raw.read_queue_nums.0, raw.write_queue_nums.0] {
            if queues > i64::from(QUEUES_PER_BROKER_MAX) {
                return Err(RouteError::TooManyQueues { broker: name, queues });
            }
        }
        let flag = raw.topic_sys_flag.or(raw.topic_syn_flag).unwrap_or_default();
        Ok(Some(Self {
            broker_name: name,
            read_queue_nums: raw.read_queue_nums.clamped(),
            write_queue_nums: raw.write_queue_nums.clamped(),
            perm: raw.perm.clamped(),
            topic_sys_flag: flag.clamped(),
        }))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawMapping {
    bname: Option<Box<str>>,
    scope: Option<Box<str>>,
    epoch: Integer,
    total_queues: Integer,
    curr_id_map: Nullable<IdMap>,
}

impl Entry for TopicQueueMapping {
    const ENTRIES: &'static str = "static mappings";

    type Raw = RawMapping;

    fn checked(key: &str, raw: RawMapping) -> Result<Option<Self>, RouteError> {
        let bname = raw.bname.filter(|name| !name.is_empty()).unwrap_or_else(|| Box::from(key));
        let queues = raw.total_queues.0;
        if queues > i64::from(QUEUES_PER_BROKER_MAX) {
            return Err(RouteError::TooManyQueues { broker: bname, queues });
        }
        let mut curr_id_map = raw.curr_id_map.0.0;
        curr_id_map.sort_by_key(|(logical, _)| *logical);
        curr_id_map.shrink_to_fit();
        Ok(Some(Self {
            bname,
            scope: raw.scope,
            epoch: raw.epoch.0,
            total_queues: raw.total_queues.clamped(),
            curr_id_map,
        }))
    }
}

/// An integer of up to 64 bits: a number, a string or null. Strict JSON of Java has large ones as
/// strings.
#[derive(Default, Clone, Copy)]
struct Integer(i64);

impl Integer {
    /// The nearest number of 32 bits.
    fn clamped(self) -> i32 {
        self.0.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
        Ok(Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
        Ok(Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Integer, E> {
        let value = super::text::parse_decimal(value.trim().as_bytes());
        value.map(Integer).ok_or_else(|| E::custom("a string that is not an integer"))
    }

    fn visit_unit<E: Error>(self) -> Result<Integer, E> {
        Ok(Integer(0))
    }
}

/// A value whose default stands in for null.
#[derive(Default)]
struct Nullable<T>(T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(deserializer)?;
        Ok(Self(value.unwrap_or_default()))
    }
}

/// A value that has to be an object; derived code would read an array of its members, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Entries that were checked, and the first error among them. At most [`ROUTE_BROKERS_MAX`] are
/// looked at.
struct List<T> {
    kept: Vec<T>,
    seen: usize,
    refused: Option<RouteError>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), seen: 0, refused: None }
    }
}

impl<T: Entry> List<T> {
    fn push(&mut self, key: &str, raw: Option<T::Raw>) {
        self.seen = self.seen.saturating_add(1);
        if self.refused.is_some() {
            return;
        }
        if self.seen > ROUTE_BROKERS_MAX {
            self.refused = Some(RouteError::TooManyEntries { entries: T::ENTRIES });
        }
        match raw.map(|raw| T::checked(key, raw)) {
            Some(Ok(entry)) => self.kept.extend(entry),
            Some(Err(error)) => self.refused = Some(error),
            None => {}
        }
    }

    fn checked(mut self) -> Result<Vec<T>, RouteError> {
        self.kept.shrink_to_fit();
        self.refused.map_or(Ok(self.kept), Err)
    }
}

impl<'de, T: Entry> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Entry> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut list = List::default();
        while let Some(raw) = seq.next_element::<Option<Object<T::Raw>>>()? {
            list.push("", raw.map(|raw| raw.0));
        }
        Ok(list)
    }
}

/// The entries of a map.
struct NamedList<T>(List<T>);

impl<T> Default for NamedList<T> {
    fn default() -> Self {
        Self(List::default())
    }
}

impl<'de, T: Entry> Deserialize<'de> for NamedList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedListVisitor(PhantomData))
    }
}

struct NamedListVisitor<T>(PhantomData<T>);

impl<'de, T: Entry> Visitor<'de> for NamedListVisitor<T> {
    type Value = NamedList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NamedList<T>, A::Error> {
        let mut list = List::default();
        while let Some((key, raw)) = map.next_entry::<Cow<'de, str>, Option<Object<T::Raw>>>()? {
            list.push(&key, raw.map(|raw| raw.0));
        }
        Ok(NamedList(list))
    }
}

/// Broker ids and addresses; of equal ids the last one counts. What cannot be an id or an address
/// is passed over.
#[derive(Default)]
struct Addresses {
    found: BTreeMap<i64, Box<str>>,
    surplus: bool,
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AddressesVisitor)
    }
}

struct AddressesVisitor;

impl<'de> Visitor<'de> for AddressesVisitor {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from broker id to address")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Addresses, A::Error> {
        let mut addresses = Addresses::default();
        while let Some((id, address)) = map.next_entry::<Cow<'de, str>, Option<Cow<'de, str>>>()? {
            let Some(id) = super::text::parse_decimal(id.trim().as_bytes()) else {
                continue;
            };
            let Some(address) = address else { continue };
            if address.is_empty() || address.len() > ADDRESS_LENGTH_MAX {
                continue;
            }
            if addresses.found.len() < ADDRESSES_PER_BROKER_MAX {
                addresses.found.insert(id, Box::from(address));
            } else {
                addresses.surplus = true;
            }
        }
        Ok(addresses)
    }
}

/// Logical and physical queue numbers; pairs that are not numbers of 32 bits are passed over.
#[derive(Default)]
struct IdMap(Vec<(i32, i32)>);

impl<'de> Deserialize<'de> for IdMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(IdMapVisitor)
    }
}

struct IdMapVisitor;

impl<'de> Visitor<'de> for IdMapVisitor {
    type Value = IdMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from queue to queue")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IdMap, A::Error> {
        let mut pairs = Vec::new();
        while let Some((logical, physical)) = map.next_entry::<Cow<'de, str>, Integer>()? {
            let logical = super::text::parse_decimal(logical.trim().as_bytes());
            let logical = logical.and_then(|id| i32::try_from(id).ok());
            if let (Some(logical), Ok(physical)) = (logical, i32::try_from(physical.0)) {
                pairs.push((logical, physical));
            }
        }
        Ok(IdMap(pairs))
    }
}
