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
    /// When the broker put it where it is, in Unix milliseconds.
    pub store_timestamp: i64,
    /// Bits about the body as stored and the transaction.
    pub sys_flag: i32,
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
        Self::start_with(servers, "reader", &[])
    }

    /// The same for the topics and groups of a namespace, which are named without it.
    pub fn start_in(servers: &Servers, namespace: &str) -> Result<Self> {
        let flag = format!("-Dinterop.namespace={namespace}");
        Self::start_with(servers, &format!("reader-{namespace}"), &[flag])
    }

    /// The same with credentials, for servers with access control.
    pub fn start_as(servers: &Servers, access_key: &str, secret_key: &str) -> Result<Self> {
        let access = format!("-Dinterop.accessKey={access_key}");
        let secret = format!("-Dinterop.secretKey={secret_key}");
        Self::start_with(servers, "reader", &[access, secret])
    }

    fn start_with(servers: &Servers, name: &str, flags: &[String]) -> Result<Self> {
        let home = servers.folder().join(name);
        fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        let mut launch = Launch::new(servers.environment(), servers.version(), "reader", &home)?;
        launch.flags = [flags, servers.tls_flags()].concat();
        launch.program = vec!["Reader".to_owned(), servers.name_server()];
        Ok(Self { jvm: Mutex::new(launch.start()?) })
    }

    /// The last that the Java process has told on standard error.
    pub fn said(&self) -> String {
        self.jvm.lock().map(|jvm| jvm.said()).unwrap_or_default()
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
        lines.iter().map(|line| sent(line, None)).collect()
    }

    /// The same with bodies of `length` bytes each: the Java producer compresses those of 4 KiB and
    /// more.
    pub fn send_long(&self, topic: &str, count: usize, length: usize) -> Result<Vec<Sent>> {
        let lines = self.ask(&format!("send {topic} {count} {length}"))?;
        let body = |number| format!("body {number} ").into_bytes().into_iter().cycle();
        let lines = lines.iter().enumerate();
        lines.map(|(number, line)| sent(line, Some(body(number).take(length).collect()))).collect()
    }

    /// Sends a message for each key, which is its body too, with the Java producer. The queue is
    /// the one that its `SelectMessageQueueByHash` chooses. Keys must not hold spaces.
    pub fn send_by_hash(&self, topic: &str, keys: &[String]) -> Result<Vec<Sent>> {
        let lines = self.ask(&format!("hash {topic} {}", keys.join(" ")))?;
        let keys = keys.iter().map(|key| Some(key.clone().into_bytes()));
        lines.iter().zip(keys).map(|(line, body)| sent(line, body)).collect()
    }

    /// Has a Java consumer reply to what is sent to `topic`, from now on: to a body with `re: ` and
    /// the same, under the tag `reply` and with the property `number` of the request.
    pub fn respond(&self, topic: &str) -> Result<()> {
        self.ask(&format!("respond {topic}")).map(drop)
    }

    /// Has the Java producer ask `count` times, one after the other, under the keys `ask-0` and so
    /// on, and gives what it got in reply.
    pub fn request(&self, topic: &str, count: usize, timeout: Duration) -> Result<Vec<Value>> {
        self.ask(&format!("request {topic} {count} {}", timeout.as_millis()))
    }

    /// Runs RocketMQ's own administration tool. It reports failures as text alone: look at what it
    /// was to bring about.
    pub fn mqadmin(&self, servers: &Servers, command: &str, words: &str) -> Result<()> {
        let name_server = servers.name_server();
        self.ask(&format!("mqadmin {command} -n {name_server} {words}")).map(drop)
    }

    /// The signature that Java's client gives a request with these fields and this body.
    pub fn sign(
        &self,
        access_key: &str,
        secret_key: &str,
        token: Option<&str>,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<String> {
        let hex =
            |bytes: &[u8]| bytes.iter().fold("-".to_owned(), |text, b| text + &format!("{b:02x}"));
        let own = [access_key, secret_key, token.unwrap_or_default()].map(|it| hex(it.as_bytes()));
        let mut words = vec![own.join(" "), hex(body)];
        words.extend(
            fields.iter().flat_map(|(name, value)| [name, value]).map(|it| hex(it.as_bytes())),
        );
        let lines = self.ask(&format!("sign {}", words.join(" ")))?;
        let signature = lines.first().and_then(|line| line["signature"].as_str());
        signature.map(str::to_owned).ok_or_else(|| format!("the reader printed {lines:?}"))
    }

    /// The records of the message trace that are stored in `topics`, decoded by the official
    /// client: each as its fields by name.
    pub fn read_traces(&self, topics: &[&str]) -> Result<Vec<BTreeMap<String, String>>> {
        let lines = self.ask(&format!("traces {}", topics.join(" ")))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fields = |line: &Value| {
            let fields = line.as_object().into_iter().flatten();
            fields.map(|(name, value)| (name.clone(), text(value))).collect()
        };
        Ok(lines.iter().filter(|line| line["absent"] != true).map(fields).collect())
    }

    /// What the official client's classes make of records of the message trace when they read
    /// them and write them again, and how many they find. `channel` is `LOCAL` or `CLOUD`.
    pub fn encode_traces(&self, channel: &str, records: &str) -> Result<(String, u64)> {
        let hex = records.bytes().fold("-".to_owned(), |text, b| text + &format!("{b:02x}"));
        let lines = self.ask(&format!("encode {channel} {hex}"))?;
        let line = lines.first().ok_or("the reader printed nothing")?;
        match (line["text"].as_str(), line["records"].as_u64()) {
            (Some(text), Some(count)) => Ok((text.to_owned(), count)),
            _ => Err(format!("the reader printed {line}")),
        }
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

/// What the Java producer sent. Without a `body` it is short enough to be in the line.
fn sent(line: &Value, body: Option<Vec<u8>>) -> Result<Sent> {
    let read = parse(line)?;
    let mut properties = read.properties;
    properties.retain(|name, _| !crate::compare::is_system(name));
    let body = body.or(read.body).ok_or("the sender's bodies are short")?;
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
        store_timestamp: line["store_timestamp"].as_i64().unwrap_or_default(),
        sys_flag: line["sys_flag"].as_i64().unwrap_or_default() as i32,
        properties: properties
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    })
}
