//! What the sender was told, held against what is stored.

use std::collections::{BTreeMap, HashMap};

use crate::{ReadBack, sha256};

/// What the sender was told about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A receipt: the message must be exactly there.
    Acknowledged {
        /// The name of the broker.
        broker: String,
        /// The queue of that broker.
        queue: i32,
        /// The offset in that queue.
        offset: i64,
    },
    /// A receipt with a weak status (codes 10, 11, 12): stored here all the same.
    Weak {
        /// The name of the broker.
        broker: String,
        /// The queue of that broker.
        queue: i32,
        /// The offset in that queue.
        offset: i64,
    },
    /// Stored, the place being unknown: a committed transaction, or success without a receipt.
    Stored,
    /// Sent oneway: may be there or not, and is counted.
    SentOneway,
    /// May be there or not.
    Unknown,
    /// Must not be there: it never left.
    NotSent,
    /// Must not be there: every broker that was tried said no.
    Refused,
}

/// One message as it was handed to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The topic.
    pub topic: String,
    /// The body, before compression.
    pub body: Vec<u8>,
    /// The tag, empty if there is none.
    pub tags: String,
    /// The keys, separated by spaces, empty if there are none.
    pub keys: String,
    /// The user's 32 bits.
    pub flag: i32,
    /// The user's properties.
    pub properties: BTreeMap<String, String>,
    /// The client's id of the message.
    pub unique_key: String,
    /// What the sender was told.
    pub outcome: Outcome,
}

impl Sent {
    /// A message without tag, keys, flag and properties.
    pub fn new(topic: &str, body: &[u8], unique_key: &str, outcome: Outcome) -> Self {
        Self {
            topic: topic.to_owned(),
            body: body.to_owned(),
            tags: String::new(),
            keys: String::new(),
            flag: 0,
            properties: BTreeMap::new(),
            unique_key: unique_key.to_owned(),
            outcome,
        }
    }
}

/// The result of [`compare()`]: numbers, and a sentence for everything that is not as it must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// All messages handed to the sender.
    pub sent: usize,
    /// Acknowledged, or known to be stored.
    pub acknowledged: usize,
    /// Acknowledged with a weak status.
    pub weak: usize,
    /// Sent oneway.
    pub oneway: usize,
    /// Of these, found.
    pub oneway_found: usize,
    /// Of unknown fate.
    pub unknown: usize,
    /// Of these, found.
    pub unknown_found: usize,
    /// Refused by the servers.
    pub refused: usize,
    /// Never sent.
    pub not_sent: usize,
    /// Messages read back, copies included.
    pub read_back: usize,
    /// Acknowledged messages that are nowhere.
    pub missing: Vec<String>,
    /// Messages with another content, or in another place, than they must have.
    pub wrong: Vec<String>,
    /// Messages that are stored and must not be: refused, never sent, or nobody's.
    pub unexpected: Vec<String>,
    /// Further copies of a message. Sending again after an unknown fate makes them: they do not
    /// fail the comparison unless [`exactly_once`](Self::exactly_once) is asked for.
    pub duplicates: Vec<String>,
}

impl Comparison {
    /// Whether everything is as the sender was told.
    pub fn passed(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty() && self.unexpected.is_empty()
    }

    /// Counts duplicates as unexpected: for cases where nothing had to be sent again.
    pub fn exactly_once(mut self) -> Self {
        self.unexpected.extend(self.duplicates.iter().map(|text| format!("a duplicate: {text}")));
        self
    }

    /// Everything that is not as it must be, in sentences.
    pub fn complaints(&self) -> impl Iterator<Item = String> {
        let named = |name: &'static str, list: &'_ [String]| {
            list.iter().map(|text| format!("{name}: {text}")).collect::<Vec<_>>()
        };
        let lists = [
            named("missing", &self.missing),
            named("wrong", &self.wrong),
            named("unexpected", &self.unexpected),
            named("duplicate", &self.duplicates),
        ];
        lists.into_iter().flatten()
    }
}

/// Holds what was `sent` against everything that was `read` from the same topics.
pub fn compare(sent: &[Sent], read: &[ReadBack]) -> Comparison {
    let mut result =
        Comparison { sent: sent.len(), read_back: read.len(), ..Comparison::default() };
    let mut stock = Stock::new(read);
    let mut keys = HashMap::new();
    for (number, sent) in sent.iter().enumerate() {
        if let Some(other) = keys.insert(&sent.unique_key, number) {
            let key = &sent.unique_key;
            result.wrong.push(format!("messages {other} and {number} have one unique key {key:?}"));
            continue;
        }
        settle(sent, &mut stock, &mut result);
    }
    for (message, taken) in stock.read.iter().zip(stock.taken) {
        if !taken {
            let (topic, key, place) = (&message.topic, &message.unique_key, place(message));
            let complaint = format!("nobody sent {topic} {key:?} at {place}");
            result.unexpected.push(complaint);
        }
    }
    result
}

/// The messages read back, findable by id, with a mark on those that were accounted for.
struct Stock<'a> {
    read: &'a [ReadBack],
    taken: Vec<bool>,
    by_key: HashMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Stock<'a> {
    fn new(read: &'a [ReadBack]) -> Self {
        let mut by_key: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, message) in read.iter().enumerate() {
            let key = (message.topic.as_str(), message.unique_key.as_str());
            by_key.entry(key).or_default().push(index);
        }
        Self { read, taken: vec![false; read.len()], by_key }
    }

    /// All stored copies of a message.
    fn take(&mut self, sent: &Sent) -> Vec<&'a ReadBack> {
        let key = (sent.topic.as_str(), sent.unique_key.as_str());
        let found = self.by_key.get(&key).map_or(&[][..], Vec::as_slice);
        found.iter().for_each(|&index| self.taken[index] = true);
        found.iter().map(|&index| &self.read[index]).collect()
    }
}

fn settle(sent: &Sent, stock: &mut Stock<'_>, result: &mut Comparison) {
    let copies = stock.take(sent);
    let name = format!("{} {:?}", sent.topic, sent.unique_key);
    match &sent.outcome {
        Outcome::Acknowledged { broker, queue, offset }
        | Outcome::Weak { broker, queue, offset } => {
            let there = |copy: &&&ReadBack| {
                (&copy.broker, copy.queue, copy.offset) == (broker, *queue, *offset)
            };
            let promised = format!("{broker} queue {queue} offset {offset}");
            if copies.is_empty() {
                result.missing.push(format!("{name}, acknowledged at {promised}"));
            } else if copies.iter().find(there).is_none() {
                let first = place(copies[0]);
                result.wrong.push(format!("{name}, acknowledged at {promised}, is at {first}"));
            }
        }
        Outcome::Stored if copies.is_empty() => result.missing.push(name.clone()),
        Outcome::NotSent | Outcome::Refused => {
            let told = if sent.outcome == Outcome::Refused { "refused" } else { "not sent" };
            let found = copies.iter().map(|copy| format!("{name}, {told}, is at {}", place(copy)));
            result.unexpected.extend(found);
        }
        Outcome::Stored | Outcome::SentOneway | Outcome::Unknown => {}
    }
    let found = usize::from(!copies.is_empty());
    match &sent.outcome {
        Outcome::Acknowledged { .. } | Outcome::Stored => result.acknowledged += 1,
        Outcome::Weak { .. } => result.weak += 1,
        Outcome::SentOneway => {
            (result.oneway, result.oneway_found) = (result.oneway + 1, result.oneway_found + found)
        }
        Outcome::Unknown => {
            (result.unknown, result.unknown_found) =
                (result.unknown + 1, result.unknown_found + found)
        }
        Outcome::NotSent => result.not_sent += 1,
        Outcome::Refused => result.refused += 1,
    }
    if copies.len() > 1 {
        let places: Vec<_> = copies.iter().map(|copy| place(copy)).collect();
        result.duplicates.push(format!("{name} is at {}", places.join(" and ")));
    }
    for copy in copies {
        let differences = differences(sent, copy);
        if !differences.is_empty() {
            let all = differences.join("; ");
            result.wrong.push(format!("{name} at {}: {all}", place(copy)));
        }
    }
}

fn place(message: &ReadBack) -> String {
    let (broker, queue, offset) = (&message.broker, message.queue, message.offset);
    format!("{broker} queue {queue} offset {offset}")
}

fn differences(sent: &Sent, read: &ReadBack) -> Vec<String> {
    let mut list = Vec::new();
    let mut check = |what: &str, sent: String, read: String| {
        if sent != read {
            list.push(format!("{what} {sent:?} became {read:?}"));
        }
    };
    check("length", sent.body.len().to_string(), read.length.to_string());
    check("digest", sha256(&sent.body), read.sha256.clone());
    check("tags", sent.tags.clone(), read.tags.clone());
    check("keys", sent.keys.clone(), read.keys.clone());
    check("flag", sent.flag.to_string(), read.flag.to_string());
    let shown = |value: Option<&String>| value.map_or("nothing".to_owned(), |v| format!("={v}"));
    for (name, value) in &sent.properties {
        let what = format!("property {name}");
        check(&what, shown(Some(value)), shown(read.properties.get(name)));
    }
    for (name, value) in &read.properties {
        if !is_system(name) && !sent.properties.contains_key(name) {
            check(&format!("property {name}"), shown(None), shown(Some(value)));
        }
    }
    list
}

/// Whether clients and brokers add this property on their own.
pub(crate) fn is_system(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "BORN_TIMESTAMP",
        "CHECK_IMMUNITY_TIME_IN_SECONDS",
        "CLUSTER",
        "CONSUME_START_TIME",
        "DELAY",
        "INNER_BASE",
        "INNER_NUM",
        "INSTANCE_ID",
        "KEYS",
        "MAX_OFFSET",
        "MIN_OFFSET",
        "MSG_REGION",
        "PGROUP",
        "REAL_QID",
        "REAL_TOPIC",
        "TAGS",
        "TRACE_ON",
        "TRANSACTION_CHECK_TIMES",
        "TRAN_MSG",
        "TRAN_PREPARED_QUEUE_OFFSET",
        "TRANS_OFFSET",
        "UNIQ_KEY",
        "WAIT",
        "__BORNHOST",
        "__CRC32#",
        "__SHARDINGKEY",
        "__transactionId__",
    ];
    NAMES.contains(&name) || name.starts_with("TIMER_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(number: i64) -> Outcome {
        Outcome::Acknowledged { broker: "broker-a".to_owned(), queue: 1, offset: number }
    }

    fn sent(number: i64, outcome: Outcome) -> Sent {
        let mut sent = Sent::new("T", b"body", &format!("key{number}"), outcome);
        sent.tags = "tag".to_owned();
        sent.properties.insert("city".to_owned(), "Ulm".to_owned());
        sent
    }

    fn read(number: i64) -> ReadBack {
        ReadBack {
            topic: "T".to_owned(),
            broker: "broker-a".to_owned(),
            queue: 1,
            offset: number,
            length: 4,
            sha256: sha256(b"body"),
            tags: "tag".to_owned(),
            unique_key: format!("key{number}"),
            properties: [("city", "Ulm"), ("UNIQ_KEY", "key"), ("TAGS", "tag")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..ReadBack::default()
        }
    }

    #[test]
    fn all_there() {
        let result = compare(&[sent(0, receipt(0)), sent(1, receipt(1))], &[read(1), read(0)]);
        assert!(result.passed(), "{result:?}");
        assert_eq!((result.sent, result.acknowledged, result.read_back), (2, 2, 2));
    }

    #[test]
    fn an_acknowledged_message_is_missing() {
        let result = compare(&[sent(0, receipt(0)), sent(1, receipt(1))], &[read(0)]);
        assert!(!result.passed());
        assert_eq!(result.missing.len(), 1);
        let mut weak = sent(1, receipt(1));
        weak.outcome = Outcome::Weak { broker: "broker-a".to_owned(), queue: 1, offset: 1 };
        assert_eq!(compare(&[weak], &[]).missing.len(), 1);
        assert_eq!(compare(&[sent(1, Outcome::Stored)], &[]).missing.len(), 1);
    }

    #[test]
    fn every_part_that_differs_is_wrong() {
        type Change = fn(&mut ReadBack);
        let changes: [(&str, Change); 11] = [
            ("broker", |m| m.broker = "broker-b".to_owned()),
            ("queue", |m| m.queue = 2),
            ("offset", |m| m.offset = 9),
            ("length", |m| m.length = 5),
            ("digest", |m| m.sha256 = sha256(b"other")),
            ("tags", |m| m.tags.clear()),
            ("keys", |m| m.keys = "more".to_owned()),
            ("flag", |m| m.flag = 1),
            ("value", |m| _ = m.properties.insert("city".to_owned(), "Bonn".to_owned())),
            ("lost property", |m| _ = m.properties.remove("city")),
            ("new property", |m| _ = m.properties.insert("x".to_owned(), "y".to_owned())),
        ];
        for (what, change) in changes {
            let mut message = read(0);
            change(&mut message);
            let result = compare(&[sent(0, receipt(0))], &[message]);
            assert!(!result.passed(), "{what}");
            assert_eq!((result.wrong.len(), result.missing.len()), (1, 0), "{what}");
        }
    }

    #[test]
    fn another_topic_or_key_is_missing_here_and_unexpected_there() {
        let changes: [fn(&mut ReadBack); 2] =
            [|m| m.topic = "U".to_owned(), |m| m.unique_key = "other".to_owned()];
        for change in changes {
            let mut message = read(0);
            change(&mut message);
            let result = compare(&[sent(0, receipt(0))], &[message]);
            assert_eq!((result.missing.len(), result.unexpected.len()), (1, 1));
        }
    }

    #[test]
    fn nobodys_message_is_unexpected() {
        let result = compare(&[sent(0, receipt(0))], &[read(0), read(1)]);
        assert!(!result.passed());
        assert_eq!(result.unexpected.len(), 1);
    }

    #[test]
    fn refused_and_not_sent_must_be_absent() {
        for outcome in [Outcome::Refused, Outcome::NotSent] {
            assert!(compare(&[sent(0, outcome.clone())], &[]).passed());
            let result = compare(&[sent(0, outcome)], &[read(0)]);
            assert!(!result.passed());
            assert_eq!(result.unexpected.len(), 1);
        }
    }

    #[test]
    fn unknown_and_oneway_may_be_there_or_not_but_not_changed() {
        let both = [sent(0, Outcome::Unknown), sent(1, Outcome::SentOneway)];
        let result = compare(&both, &[]);
        assert!(result.passed());
        assert_eq!((result.unknown, result.unknown_found), (1, 0));
        let result = compare(&both, &[read(0), read(1)]);
        assert!(result.passed());
        assert_eq!((result.unknown_found, result.oneway, result.oneway_found), (1, 1, 1));
        let mut changed = read(0);
        changed.tags.clear();
        assert!(!compare(&both, &[changed]).passed());
    }

    #[test]
    fn duplicates_are_listed_and_fail_where_once_is_asked_for() {
        let mut copy = read(0);
        copy.offset = 7;
        let result = compare(&[sent(0, receipt(7))], &[read(0), copy]);
        assert!(result.passed());
        assert_eq!(result.duplicates.len(), 1);
        assert!(!result.exactly_once().passed());
    }

    #[test]
    fn two_messages_with_one_key_are_wrong() {
        let result = compare(&[sent(0, receipt(0)), sent(0, Outcome::Unknown)], &[read(0)]);
        assert!(!result.passed());
    }
}
