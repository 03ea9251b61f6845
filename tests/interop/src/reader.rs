//! The official Java client, reading back what the servers stored.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::digest::unhex;
use crate::jvm::{Jvm, Launch};
use crate::{Outcome, Result, Sent, Servers};

/// Between two lines of an answer; the first one includes the start of the Java process.
const LINE_LIMIT: Duration = Duration::from_secs(60);

/// One stored message as the Java client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The topic.
    pub topic: String,
    /// The name of the broker.
    pub broker: String,
    /// The queue of that broker.
    pub queue: i32,
    /// The offset in that queue.
    pub offset: i64,
    /// The length of the body, decompressed.
    pub length: usize,
    /// The SHA-256 digest of the body, decompressed.
    pub sha256: String,
    /// The body itself if it is no longer than 64 bytes.
    pub body: Option<Vec<u8>>,
    /// The tag, empty if there is none.
    pub tags: String,
    /// The keys, separated by spaces, empty if there are none.
    pub keys: String,
    /// The user's 32 bits.
    pub flag: i32,
    /// The client's id of the message.
    pub unique_key: String,
    /// The broker's id of the message.
    pub offset_message_id: String,
    /// When the client made it, in Unix milliseconds.
    pub born_timestamp: i64,
    /// All properties, the system's too.
    pub properties: BTreeMap<String, String>,
}

/// A Java process with the official client of the servers' version. Dropping it kills the process.
#[derive(Debug)]
pub struct Reader {
    jvm: Mutex<Jvm>,
}

impl Reader {
    /// Starts the Java process; it connects when it is first asked.
    pub fn start(servers: &Servers) -> Result<Self> {
        Self::start_with(servers, &[])
    }

    /// The same with credentials, for servers with access control.
    pub fn start_as(servers: &Servers, access_key: &str, secret_key: &str) -> Result<Self> {
        let access = format!("-Dinterop.accessKey={access_key}");
        Self::start_with(servers, &[access, format!("-Dinterop.secretKey={secret_key}")])
    }

    fn start_with(servers: &Servers, flags: &[String]) -> Result<Self> {
        let home = servers.folder().join("reader");
        fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        let mut launch = Launch::new(servers.environment(), servers.version(), "reader", &home)?;
        launch.flags = flags.to_vec();
        launch.program = vec!["Reader".to_owned(), servers.name_server()];
        Ok(Self { jvm: Mutex::new(launch.start()?) })
    }

    /// Everything that is stored in `topics`; a topic without route has nothing. Every broker of a
    /// topic must be up.
    pub fn read(&self, topics: &[&str]) -> Result<Vec<ReadBack>> {
        let lines = self.ask(&format!("read {}", topics.join(" ")))?;
        lines.iter().filter(|line| line["absent"] != true).map(parse).collect()
    }

    /// Sends `count` messages with the Java producer (with tags, keys, flag and properties): how
    /// the reader itself is checked, and how a newcomer looks to other clients.
    pub fn send(&self, topic: &str, count: usize) -> Result<Vec<Sent>> {
        let lines = self.ask(&format!("send {topic} {count}"))?;
        lines
            .iter()
            .map(|line| {
                let read = parse(line)?;
                let mut properties = read.properties;
                properties.retain(|name, _| !crate::compare::is_system(name));
                let body = read.body.ok_or("the sender's bodies are short")?;
                let (broker, queue, offset) = (read.broker, read.queue, read.offset);
                let outcome = match line["status"].as_str() {
                    Some("SEND_OK") => Outcome::Acknowledged { broker, queue, offset },
                    _ => Outcome::Weak { broker, queue, offset },
                };
                Ok(Sent {
                    topic: read.topic,
                    body,
                    tags: read.tags,
                    keys: read.keys,
                    flag: read.flag,
                    properties,
                    unique_key: read.unique_key,
                    outcome,
                })
            })
            .collect()
    }

    fn ask(&self, command: &str) -> Result<Vec<Value>> {
        let mut jvm = self.jvm.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        jvm.tell(command)?;
        let mut lines = Vec::new();
        loop {
            let text = jvm.line(Instant::now() + LINE_LIMIT)?;
            let line: Value = serde_json::from_str(&text)
                .map_err(|error| format!("the reader printed {text:?}: {error}"))?;
            if let Some(error) = line["error"].as_str() {
                return Err(format!("the reader failed at `{command}`: {error}"));
            }
            if line["end"] == true {
                let absent = lines.iter().filter(|line: &&Value| line["absent"] == true).count();
                return match line["count"].as_u64() {
                    Some(count) if count as usize + absent == lines.len() => Ok(lines),
                    count => Err(format!("{} lines for a count of {count:?}", lines.len())),
                };
            }
            lines.push(line);
        }
    }
}

fn parse(line: &Value) -> Result<ReadBack> {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| {
        line[key].as_i64().ok_or_else(|| format!("the reader printed no {key}: {line}"))
    };
    let small = |key: &str| i32::try_from(number(key)?).map_err(|e| format!("{key}: {e}"));
    let properties = line["properties"].as_object().into_iter().flatten();
    Ok(ReadBack {
        topic: text("topic"),
        broker: text("broker"),
        queue: small("queue")?,
        offset: number("offset")?,
        length: usize::try_from(number("length")?).map_err(|e| e.to_string())?,
        sha256: text("sha256"),
        body: line["body"].as_str().and_then(unhex),
        tags: text("tags"),
        keys: text("keys"),
        flag: small("flag")?,
        unique_key: text("unique_key"),
        offset_message_id: text("offset_message_id"),
        born_timestamp: line["born_timestamp"].as_i64().unwrap_or_default(),
        properties: properties
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    })
}
