//! Static topics in routes: queues that are numbered over all brokers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bodies::json_string;

/// The logical queues of a static topic that one broker has.
// Java: TopicQueueMappingInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticQueues {
    /// Whose queues.
    pub broker_name: String,
    /// Which mappings are numbered together.
    pub scope: String,
    /// Of two brokers that claim a queue, the one with the higher epoch has it.
    pub epoch: i64,
    /// Logical queues of the topic, over all brokers.
    pub total: i64,
    /// Logical queue to the broker's own.
    pub queues: BTreeMap<i32, i32>,
}

impl StaticQueues {
    /// Queues of the scope that real clusters use.
    // Java: MixAll#METADATA_SCOPE_GLOBAL.
    pub fn new(broker_name: impl Into<String>, epoch: i64, total: i64) -> Self {
        let scope = "__global__".into();
        Self { broker_name: broker_name.into(), scope, epoch, total, queues: BTreeMap::new() }
    }

    /// A logical queue, and which of the broker's own it is.
    #[must_use]
    pub fn queue(mut self, logical: i32, own: i32) -> Self {
        self.queues.insert(logical, own);
        self
    }

    /// The entry of a route, key included. Java writes integers that JavaScript cannot hold as
    /// strings, if the JSON is to be strict.
    pub(super) fn to_json(&self, topic: &str, strict: bool) -> String {
        let mark = if strict { "\"" } else { "" };
        let ids: Vec<_> =
            self.queues.iter().map(|(id, own)| format!("{mark}{id}{mark}:{own}")).collect();
        let name = json_string(&self.broker_name, strict);
        let large = strict && self.epoch.unsigned_abs() > (1 << 53) - 1;
        let epoch = if large { format!("\"{}\"", self.epoch) } else { self.epoch.to_string() };
        format!(
            "{name}:{{\"bname\":{name},\"currIdMap\":{{{}}},\"dirty\":false,\"epoch\":{epoch},\
             \"scope\":{},\"topic\":{},\"totalQueues\":{}}}",
            ids.join(","),
            json_string(&self.scope, strict),
            json_string(topic, strict),
            self.total
        )
    }

    pub(super) fn from_json(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| {
            let text = value.as_str().and_then(|text| text.parse().ok());
            value.as_i64().or(text).unwrap_or(0)
        };
        let ids = value["currIdMap"].as_object().into_iter().flatten();
        Self {
            broker_name: text("bname"),
            scope: text("scope"),
            epoch: number(&value["epoch"]),
            total: number(&value["totalQueues"]),
            queues: ids
                .filter_map(|(id, own)| Some((id.parse().ok()?, number(own) as i32)))
                .collect(),
        }
    }
}
