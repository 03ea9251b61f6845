//! The records of a message trace, as clients write them into ordinary messages.

use super::Stored;

/// One record: its kind and its fields in order, as text.
// Java: TraceDataEncoder#decoderFromTraceDataString
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// `Pub`, `SubBefore`, `SubAfter`, `EndTransaction` or `Recall`.
    pub kind: String,
    /// What follows, an absent text being the word `null`.
    pub fields: Vec<String>,
}

impl TraceRecord {
    /// Fields of a kind, by their names in Java; of a kind that is not known here, none.
    fn names(&self) -> &'static [&'static str] {
        match &*self.kind {
            "Pub" => &[
                "timeStamp",
                "regionId",
                "groupName",
                "topic",
                "msgId",
                "tags",
                "keys",
                "storeHost",
                "bodyLength",
                "costTime",
                "msgType",
                "offsetMsgId",
                "success",
            ],
            "EndTransaction" => &[
                "timeStamp",
                "regionId",
                "groupName",
                "topic",
                "msgId",
                "tags",
                "keys",
                "storeHost",
                "msgType",
                "transactionId",
                "transactionState",
                "fromTransactionCheck",
            ],
            "Recall" => &["timeStamp", "regionId", "groupName", "topic", "msgId", "success"],
            _ => &[],
        }
    }

    /// A field by its name in Java.
    ///
    /// # Panics
    /// If records of this kind have no such field, or this one has not as many as it should.
    pub fn field(&self, name: &str) -> &str {
        assert_eq!(self.fields.len(), self.names().len(), "{self:?}");
        let place = self.names().iter().position(|known| *known == name);
        &self.fields[place.unwrap_or_else(|| panic!("no field {name} in {self:?}"))]
    }
}

impl Stored {
    /// The records of the trace in the body, which is read as text. Each has to be ended.
    ///
    /// # Panics
    /// If the body is no text, or its last record is cut short.
    pub fn trace_records(&self) -> Vec<TraceRecord> {
        let text = std::str::from_utf8(&self.body).expect("records are text");
        assert!(text.ends_with('\u{2}'), "the last record is cut short: {text:?}");
        let record = |text: &str| {
            let mut fields = text.split('\u{1}').map(str::to_owned);
            let kind = fields.next().unwrap_or_default();
            TraceRecord { kind, fields: fields.collect() }
        };
        text.split_terminator('\u{2}').map(record).collect()
    }
}
