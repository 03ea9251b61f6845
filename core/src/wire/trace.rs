//! Records of the message trace: what became of a message, as text inside of ordinary messages.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;

use super::properties::split_keys;
use crate::time::WallTime;
use crate::transaction::TransactionState;

/// Stands between two fields of a record.
// Java: TraceConstants#CONTENT_SPLITOR
const FIELD_END: char = '\u{1}';

/// Ends a record.
// Java: TraceConstants#FIELD_SPLITOR
const RECORD_END: char = '\u{2}';

/// What Java writes for a text that is not there.
const ABSENT: &str = "null";

/// What became of a message, for the trace topic. Readers are the console, `mqadmin` and whoever
/// looks for a message by its id or its keys.
///
/// Topics and groups are named without their namespace. A text that holds one of the two bytes
/// that separate fields and records (1 and 2) is written with a space in its place: one bad value
/// must not make the rest of the message unreadable.
///
/// ```
/// use rocketmq_core::WallTime;
/// use rocketmq_core::wire::{RecallRecord, TraceRecord};
///
/// let record = TraceRecord::Recall(RecallRecord {
///     time: WallTime::from_millis(1_700_000_000_000),
///     region: "DefaultRegion".into(),
///     group: "PG".into(),
///     topic: "T".into(),
///     message_id: "U1".into(),
///     success: true,
/// });
/// let mut text = String::new();
/// record.encode(&mut text);
/// let fields = "Recall|1700000000000|DefaultRegion|PG|T|U1|true";
/// assert_eq!(text, fields.replace('|', "\u{1}") + "\u{2}");
/// ```
// Java: TraceDataEncoder#encoderFromContextBean
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TraceRecord {
    /// A broker answered a send.
    Pub(PubRecord),
    /// A message is about to be consumed.
    SubBefore(SubBeforeRecord),
    /// A message was consumed, or could not be.
    SubAfter(SubAfterRecord),
    /// A broker is told how a transaction ends.
    EndTransaction(EndTransactionRecord),
    /// A broker answered the recall of a timer message.
    Recall(RecallRecord),
}

/// A broker answered a send: one attempt with an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PubRecord {
    /// When the attempt began.
    pub time: WallTime,
    /// The broker's region.
    pub region: Box<str>,
    /// The producer group.
    pub group: Box<str>,
    /// The message's topic.
    pub topic: Box<str>,
    /// The message's unique key; of a batch, those of all its messages with commas between.
    pub message_id: Box<str>,
    /// The tag.
    pub tag: Option<Box<str>>,
    /// The keys, with spaces between.
    pub keys: Option<Box<str>>,
    /// The broker's address.
    pub store_host: Box<str>,
    /// Bytes of the body as it was sent.
    pub body_length: usize,
    /// Time until the answer, written in whole milliseconds.
    pub cost: Duration,
    /// What kind of message it is.
    pub message_type: TraceMessageType,
    /// The broker's id of the message.
    pub offset_message_id: Option<Box<str>>,
    /// Whether it was stored as safely as the broker is configured for.
    pub success: bool,
}

/// A message is about to be consumed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubBeforeRecord {
    /// When.
    pub time: WallTime,
    /// The broker's region.
    pub region: Box<str>,
    /// The consumer group.
    pub group: Box<str>,
    /// Names the call of the listener; its [`SubAfterRecord`] has the same.
    pub request_id: Box<str>,
    /// The message's unique key.
    pub message_id: Box<str>,
    /// How often it was consumed before.
    pub retry_times: u32,
    /// The keys, with spaces between.
    pub keys: Option<Box<str>>,
}

/// A message was consumed, or could not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubAfterRecord {
    /// Names the call of the listener.
    pub request_id: Box<str>,
    /// The message's unique key.
    pub message_id: Box<str>,
    /// Time for one message, written in whole milliseconds.
    pub cost: Duration,
    /// Whether the listener was content.
    pub success: bool,
    /// The keys, with spaces between.
    pub keys: Option<Box<str>>,
    /// What the listener said: 0 success, 1 time out, 2 exception, 3 nothing, 4 failure.
    // Java: ConsumeReturnType
    pub context_code: i32,
    /// When, and the consumer group; `None` for the channel `CLOUD` of Java, which has neither.
    pub origin: Option<(WallTime, Box<str>)>,
}

/// A broker is told how a transaction ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndTransactionRecord {
    /// When.
    pub time: WallTime,
    /// The broker's region.
    pub region: Box<str>,
    /// The producer group.
    pub group: Box<str>,
    /// The message's topic.
    pub topic: Box<str>,
    /// The message's unique key.
    pub message_id: Box<str>,
    /// The tag.
    pub tag: Option<Box<str>>,
    /// The keys, with spaces between.
    pub keys: Option<Box<str>>,
    /// The broker's address.
    pub store_host: Box<str>,
    /// What kind of message it is: [`TraceMessageType::Commit`], whatever the decision.
    pub message_type: TraceMessageType,
    /// The transaction's id.
    pub transaction_id: Box<str>,
    /// What the broker is told.
    pub state: TransactionState,
    /// Whether the broker has asked.
    pub from_check: bool,
}

/// A broker answered the recall of a timer message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecallRecord {
    /// When the answer came.
    pub time: WallTime,
    /// The broker's region.
    pub region: Box<str>,
    /// The producer group.
    pub group: Box<str>,
    /// The message's topic.
    pub topic: Box<str>,
    /// The message's unique key.
    pub message_id: Box<str>,
    /// Whether it was recalled.
    pub success: bool,
}

/// Kinds of messages as records tell them apart.
// Java: MessageType, by its ordinal
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TraceMessageType {
    /// Delivered at once.
    Normal = 0,
    /// The first half of a transaction.
    Half = 1,
    /// The end of a transaction.
    Commit = 2,
    /// Delivered later.
    Delay = 3,
    /// One of an order.
    Order = 4,
}

impl TraceRecord {
    /// Appends the record as one text.
    pub fn encode(&self, out: &mut String) {
        // A `String` takes all that is written to it.
        let _ = match self {
            TraceRecord::Pub(record) => record.encode(out),
            TraceRecord::SubBefore(record) => record.encode(out),
            TraceRecord::SubAfter(record) => record.encode(out),
            TraceRecord::EndTransaction(record) => record.encode(out),
            TraceRecord::Recall(record) => record.encode(out),
        };
        out.push(RECORD_END);
    }

    /// The topic that the record is about; empty for what is consumed, whose records do not name
    /// it.
    pub fn topic(&self) -> &str {
        match self {
            TraceRecord::Pub(record) => &record.topic,
            TraceRecord::EndTransaction(record) => &record.topic,
            TraceRecord::Recall(record) => &record.topic,
            TraceRecord::SubBefore(_) | TraceRecord::SubAfter(_) => "",
        }
    }

    /// What the record is found by: the message's id and its keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let (id, keys) = match self {
            TraceRecord::Pub(record) => (&record.message_id, &record.keys),
            TraceRecord::SubBefore(record) => (&record.message_id, &record.keys),
            TraceRecord::SubAfter(record) => (&record.message_id, &record.keys),
            TraceRecord::EndTransaction(record) => (&record.message_id, &record.keys),
            TraceRecord::Recall(record) => (&record.message_id, &None),
        };
        let id = Some(&**id).filter(|id| !id.is_empty());
        id.into_iter().chain(split_keys(keys.as_deref().unwrap_or_default()))
    }
}

impl PubRecord {
    fn encode(&self, out: &mut String) -> fmt::Result {
        let Self { region, group, topic, message_id, .. } = self;
        opening(out, "Pub", self.time, [region, group, topic, message_id])?;
        optional(out, self.tag.as_deref());
        optional(out, self.keys.as_deref());
        text(out, &self.store_host);
        write!(out, "{FIELD_END}{}{FIELD_END}{}", self.body_length, millis(self.cost))?;
        write!(out, "{FIELD_END}{}", self.message_type as u8)?;
        optional(out, self.offset_message_id.as_deref());
        write!(out, "{FIELD_END}{}", self.success)
    }
}

impl SubBeforeRecord {
    fn encode(&self, out: &mut String) -> fmt::Result {
        let Self { region, group, request_id, message_id, .. } = self;
        opening(out, "SubBefore", self.time, [region, group, request_id, message_id])?;
        write!(out, "{FIELD_END}{}", self.retry_times)?;
        optional(out, self.keys.as_deref());
        Ok(())
    }
}

impl SubAfterRecord {
    fn encode(&self, out: &mut String) -> fmt::Result {
        out.push_str("SubAfter");
        text(out, &self.request_id);
        text(out, &self.message_id);
        write!(out, "{FIELD_END}{}{FIELD_END}{}", millis(self.cost), self.success)?;
        optional(out, self.keys.as_deref());
        write!(out, "{FIELD_END}{}{FIELD_END}", self.context_code)?;
        if let Some((time, group)) = &self.origin {
            write!(out, "{}", time.as_millis())?;
            text(out, group);
        }
        Ok(())
    }
}

impl EndTransactionRecord {
    fn encode(&self, out: &mut String) -> fmt::Result {
        let Self { region, group, topic, message_id, .. } = self;
        opening(out, "EndTransaction", self.time, [region, group, topic, message_id])?;
        optional(out, self.tag.as_deref());
        optional(out, self.keys.as_deref());
        text(out, &self.store_host);
        write!(out, "{FIELD_END}{}", self.message_type as u8)?;
        text(out, &self.transaction_id);
        // Java: LocalTransactionState
        let state = match self.state {
            TransactionState::Commit => "COMMIT_MESSAGE",
            TransactionState::Rollback => "ROLLBACK_MESSAGE",
            TransactionState::Undecided => "UNKNOW",
        };
        write!(out, "{FIELD_END}{state}{FIELD_END}{}", self.from_check)
    }
}

impl RecallRecord {
    fn encode(&self, out: &mut String) -> fmt::Result {
        let Self { region, group, topic, message_id, .. } = self;
        opening(out, "Recall", self.time, [region, group, topic, message_id])?;
        write!(out, "{FIELD_END}{}", self.success)
    }
}

/// What most records begin with.
fn opening(out: &mut String, kind: &str, time: WallTime, texts: [&str; 4]) -> fmt::Result {
    write!(out, "{kind}{FIELD_END}{}", time.as_millis())?;
    texts.into_iter().for_each(|value| text(out, value));
    Ok(())
}

/// Java reads it as an `int`.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn optional(out: &mut String, value: Option<&str>) {
    text(out, value.unwrap_or(ABSENT));
}

fn text(out: &mut String, value: &str) {
    out.push(FIELD_END);
    if value.contains([FIELD_END, RECORD_END]) {
        let separates = |c: char| matches!(c, FIELD_END | RECORD_END);
        out.extend(value.chars().map(|c| if separates(c) { ' ' } else { c }));
    } else {
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn publication() -> PubRecord {
        PubRecord {
            time: WallTime::from_millis(1_700_000_000_000),
            region: "DefaultRegion".into(),
            group: "PG".into(),
            topic: "T".into(),
            message_id: "U1".into(),
            tag: None,
            keys: Some("k1 k2".into()),
            store_host: "10.0.0.1:10911".into(),
            body_length: 5,
            cost: Duration::from_micros(3_900),
            message_type: TraceMessageType::Normal,
            offset_message_id: Some("O1".into()),
            success: true,
        }
    }

    fn end(message_type: TraceMessageType, state: TransactionState) -> EndTransactionRecord {
        let PubRecord { time, region, group, topic, message_id, tag, keys, store_host, .. } =
            publication();
        EndTransactionRecord {
            time,
            region,
            group,
            topic,
            message_id,
            tag,
            keys,
            store_host,
            message_type,
            transaction_id: "TX".into(),
            state,
            from_check: false,
        }
    }

    fn after(origin: Option<(WallTime, Box<str>)>) -> SubAfterRecord {
        SubAfterRecord {
            request_id: "RQ".into(),
            message_id: "U1".into(),
            cost: Duration::from_millis(3),
            success: true,
            keys: Some("k1 k2".into()),
            context_code: 0,
            origin,
        }
    }

    fn before() -> SubBeforeRecord {
        SubBeforeRecord {
            time: WallTime::from_millis(1_700_000_000_000),
            region: "DefaultRegion".into(),
            group: "PG".into(),
            request_id: "RQ".into(),
            message_id: "U1".into(),
            retry_times: 0,
            keys: Some("k1 k2".into()),
        }
    }

    fn recall() -> RecallRecord {
        let PubRecord { time, region, group, topic, message_id, success, .. } = publication();
        RecallRecord { time, region, group, topic, message_id, success }
    }

    fn encoded(record: TraceRecord) -> String {
        let mut out = String::from("before ");
        record.encode(&mut out);
        let text = out.strip_prefix("before ").unwrap();
        text.replace('\u{1}', "·").replace('\u{2}', "¶")
    }

    /// The lines are what `TraceDataEncoder` of the official client made of the same values.
    #[test]
    fn records_are_those_of_java() {
        let commit = TransactionState::Commit;
        let origin = (WallTime::from_millis(1_700_000_000_000), "PG".into());
        for (record, java) in [
            (
                TraceRecord::Pub(publication()),
                "Pub·1700000000000·DefaultRegion·PG·T·U1·null·k1 k2·10.0.0.1:10911·5·3·0·O1·true¶",
            ),
            (
                TraceRecord::SubBefore(before()),
                "SubBefore·1700000000000·DefaultRegion·PG·RQ·U1·0·k1 k2¶",
            ),
            (
                TraceRecord::SubAfter(after(Some(origin))),
                "SubAfter·RQ·U1·3·true·k1 k2·0·1700000000000·PG¶",
            ),
            (TraceRecord::SubAfter(after(None)), "SubAfter·RQ·U1·3·true·k1 k2·0·¶"),
            (
                TraceRecord::EndTransaction(end(TraceMessageType::Normal, commit)),
                "EndTransaction·1700000000000·DefaultRegion·PG·T·U1·null·k1 k2·10.0.0.1:10911·0·TX\
                 ·COMMIT_MESSAGE·false¶",
            ),
            (TraceRecord::Recall(recall()), "Recall·1700000000000·DefaultRegion·PG·T·U1·true¶"),
        ] {
            assert_eq!(encoded(record), java);
        }
    }

    #[test]
    fn the_other_values_of_java() {
        for (state, name) in [
            (TransactionState::Rollback, "·2·TX·ROLLBACK_MESSAGE·false¶"),
            (TransactionState::Undecided, "·2·TX·UNKNOW·false¶"),
        ] {
            let text = encoded(TraceRecord::EndTransaction(end(TraceMessageType::Commit, state)));
            assert!(text.ends_with(name), "{text}");
        }
        let bare = PubRecord {
            keys: None,
            offset_message_id: None,
            message_type: TraceMessageType::Delay,
            cost: Duration::MAX,
            success: false,
            ..publication()
        };
        let text = encoded(TraceRecord::Pub(bare));
        assert!(text.contains("·U1·null·null·10.0.0.1:10911·5·2147483647·3·null·false¶"), "{text}");
    }

    #[test]
    fn no_value_ends_a_field_or_a_record() {
        let evil: Box<str> = "a\u{1}b\u{2}c".into();
        let record = PubRecord {
            region: evil.clone(),
            group: evil.clone(),
            topic: evil.clone(),
            message_id: evil.clone(),
            tag: Some(evil.clone()),
            keys: Some(evil.clone()),
            store_host: evil.clone(),
            offset_message_id: Some(evil),
            ..publication()
        };
        let text = encoded(TraceRecord::Pub(record));
        assert_eq!((text.matches('·').count(), text.matches('¶').count()), (13, 1), "{text}");
        assert_eq!(text.matches("a b c").count(), 8, "{text}");
    }

    #[test]
    fn a_record_is_found_by_id_and_keys() {
        let record = TraceRecord::Pub(publication());
        assert_eq!(record.keys().collect::<Vec<_>>(), ["U1", "k1", "k2"]);
        assert_eq!(record.topic(), "T");
        let recall = TraceRecord::Recall(recall());
        assert_eq!(recall.keys().collect::<Vec<_>>(), ["U1"]);
        assert_eq!(TraceRecord::SubBefore(before()).topic(), "");
    }
}
