//! Queries, byte by byte: what is asked is what the official Java client asks, and what real
//! brokers answered can be read (see `golden/convert.py`), whatever is wrong with it is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use rocketmq_core::wire::{
    Command, StoredError, StoredMessage, decode_stored, encode_response, split_frame,
};
use rocketmq_core::{
    Address, Answer, AnswerValue, AttemptFailure, Client, CloseReason, Config, ConnId,
    ConnectFailure, Instant, MessageQueue, Output, Query, QueryError, QueryErrorKind, QueryId,
    QueryRequest, RecallHandle, Target, TopicSettings, WallTime,
};
use serde_json::Value;

type Fields = BTreeMap<String, String>;

struct Exchange {
    name: String,
    code: i32,
    request: Fields,
    answer: Vec<u8>,
}

/// Pairs of request and answer with these codes, of all recordings.
fn exchanges(codes: &[i32]) -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let frames: Vec<Vec<u8>> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|record| hex(record["frame"].as_str().unwrap()))
            .collect();
        for (place, frame) in frames.iter().enumerate() {
            let request = decoded(frame);
            if request.is_response() || !codes.contains(&request.code) {
                continue;
            }
            let opaque = request.opaque;
            let answers =
                |frame: &&Vec<u8>| decoded(frame).is_response() && decoded(frame).opaque == opaque;
            let Some(answer) = frames[place..].iter().find(answers) else { continue };
            found.push(Exchange {
                name: format!("{}:{}", path.file_name().unwrap().display(), place + 1),
                code: request.code,
                request: fields(&request),
                answer: answer.clone(),
            });
        }
    }
    found
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn decoded(frame: &[u8]) -> Command<'_> {
    let split = split_frame(frame).unwrap().unwrap();
    Command::decode(split.encoding, split.header).unwrap()
}

fn fields(command: &Command<'_>) -> Fields {
    let pairs = command.ext_fields.iter();
    let pairs = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
    pairs.filter(|(_, value)| !value.is_empty()).collect()
}

const SECOND: Duration = Duration::from_secs(1);
const ID: QueryId = QueryId(7);

/// A client whose connections and time are in the hands of the test.
struct Bench {
    client: Client,
    now: Instant,
}

impl Bench {
    fn new(name_servers: &str) -> Bench {
        let config = Config::builder(name_servers).build().unwrap();
        Bench { client: Client::new(config, 1, Instant::ZERO), now: Instant::ZERO }
    }

    fn ask(&mut self, to: Target, request: QueryRequest) {
        let deadline = self.now + 3 * SECOND;
        self.client.query(self.now, ID, Query { to, request }, deadline);
    }

    fn dial(&mut self) -> (ConnId, String) {
        loop {
            match self.client.poll_output().expect("a dial") {
                Output::Connect { conn, address } => return (conn, address.to_string()),
                Output::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn answer(&mut self) -> Option<Result<Answer, QueryError>> {
        while let Some(output) = self.client.poll_output() {
            if let Output::Answer { id, result } = output {
                assert_eq!(id, ID);
                return Some(result);
            }
        }
        None
    }

    /// Lets the dial succeed and takes the request off the wire.
    fn connect(&mut self, conn: ConnId) -> Vec<u8> {
        self.client.handle_connected(self.now, conn, Ok(()));
        self.request(conn)
    }

    fn request(&mut self, conn: ConnId) -> Vec<u8> {
        assert_eq!(self.client.poll_transmit(), Some(conn));
        let frame: Vec<u8> = self.client.transmit_chunks(conn).flatten().copied().collect();
        self.client.handle_transmitted(self.now, conn, frame.len());
        frame
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.client.handle_received(self.now, conn, &mut BytesMut::from(bytes));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.client.handle_timeout(self.now);
    }

    /// Asks a broker, answers with `frame` under the right number, and gives both ends.
    fn try_round(
        &mut self,
        request: QueryRequest,
        frame: &[u8],
    ) -> (Fields, Result<Answer, QueryError>) {
        self.ask(Target::Broker(address("10.0.0.1:10911")), request);
        let (conn, _) = self.dial();
        let asked = self.connect(conn);
        let asked = decoded(&asked);
        let split = split_frame(frame).unwrap().unwrap();
        let answer = decoded(frame);
        let ext = fields(&answer);
        let ext: Vec<_> = ext.iter().map(|(key, value)| (&**key, &**value)).collect();
        let (code, remark) = (rocketmq_core::wire::ResponseCode(answer.code), &answer.remark);
        let mut out = Vec::new();
        encode_response(
            &mut out,
            split.encoding,
            asked.opaque,
            code,
            remark.as_deref(),
            &ext,
            split.body,
        )
        .unwrap();
        let sent = fields(&asked);
        self.receive(conn, &out);
        (sent, self.answer().unwrap())
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn queue_of(fields: &Fields) -> (Box<str>, MessageQueue) {
    let name = fields.get("bname").map_or("broker-a", String::as_str);
    let queue = MessageQueue::new(name, fields["queueId"].parse().unwrap());
    (fields["topic"].as_str().into(), queue)
}

/// The query that asks what was recorded.
fn query_of(code: i32, fields: &Fields) -> QueryRequest {
    let topic: Box<str> = fields.get("topic").map_or("GoldenTopic", String::as_str).into();
    match code {
        12 => QueryRequest::FindMessages {
            topic,
            key: fields["key"].as_str().into(),
            unique: fields["_UNIQUE_KEY_QUERY"] == "true",
            max: fields["maxNum"].parse().unwrap(),
        },
        17 => QueryRequest::CreateTopic {
            default_topic: fields["defaultTopic"].as_str().into(),
            settings: Box::new(TopicSettings::new(topic, fields["readQueueNums"].parse().unwrap())),
        },
        29 => {
            let (topic, queue) = queue_of(fields);
            let time = WallTime::from_millis(fields["timestamp"].parse().unwrap());
            QueryRequest::SearchOffset { topic, queue, time }
        }
        30 => {
            let (topic, queue) = queue_of(fields);
            QueryRequest::MaxOffset { topic, queue }
        }
        31 => {
            let (topic, queue) = queue_of(fields);
            QueryRequest::MinOffset { topic, queue }
        }
        32 => {
            let (topic, queue) = queue_of(fields);
            QueryRequest::EarliestTime { topic, queue }
        }
        33 => QueryRequest::ViewMessage {
            topic,
            commit_log_offset: fields["offset"].parse().unwrap(),
        },
        370 => QueryRequest::Recall {
            topic,
            producer_group: fields["producerGroup"].as_str().into(),
            broker_name: fields["bname"].as_str().into(),
            handle: fields["recallHandle"].as_str().into(),
        },
        code => panic!("{code}"),
    }
}

const CODES: [i32; 8] = [12, 17, 29, 30, 31, 32, 33, 370];

#[test]
fn every_recorded_question_is_asked_alike_and_its_answer_is_read() {
    let mut seen = BTreeMap::new();
    for Exchange { name, code, request, answer } in exchanges(&CODES) {
        let mut recorded = request.clone();
        let mut bench = Bench::new("ns:9876");
        let (mut sent, result) = bench.try_round(query_of(code, &request), &answer);
        let got = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        *seen.entry(code).or_insert(0) += 1;
        // Older clients leave out names of brokers, bounds and more.
        for later in ["bname", "boundaryType", "committed", "indexType", "topic"] {
            if !recorded.contains_key(later) {
                sent.remove(later);
            }
        }
        if code == 12 {
            for searched in ["beginTimestamp", "endTimestamp"] {
                assert!(sent.remove(searched).is_some() && recorded.remove(searched).is_some());
            }
        }
        // So is this one.
        recorded.remove("force");
        sent.remove("force");
        assert_eq!(sent, recorded, "{name}");
        let ext = fields(&decoded(&answer));
        match (code, &got.value) {
            (17, AnswerValue::Done) => {}
            (370, AnswerValue::Done) => {
                let handle: RecallHandle = request["recallHandle"].parse().unwrap();
                assert_eq!(handle.to_string(), request["recallHandle"], "{name}");
                assert_eq!(*handle.unique_key, *ext["msgId"], "{name}");
            }
            (29..=31, AnswerValue::Offset(offset)) => {
                assert_eq!(offset.to_string(), ext["offset"], "{name}");
            }
            (32, AnswerValue::Time(time)) => {
                assert_eq!(time.as_millis().to_string(), ext["timestamp"], "{name}");
            }
            (33, AnswerValue::Messages(messages)) => {
                assert_eq!(messages.len(), 1, "{name}");
                let offset = messages[0].commit_log_offset.to_string();
                assert_eq!(offset, request["offset"], "{name}");
                check(&messages[0]);
            }
            (12, AnswerValue::Messages(messages)) => {
                let key = request["key"].as_str();
                for message in messages {
                    let named =
                        message.unique_key() == Some(key) || message.keys().any(|k| k == key);
                    assert!(named, "{name}: {message:?}");
                    check(message);
                }
            }
            (code, value) => panic!("{name}: {code} {value:?}"),
        }
    }
    for code in CODES {
        // Two of the four versions recall.
        let least = if code == 370 { 4 } else { 6 };
        assert!(seen.get(&code).is_some_and(|times| *times >= least), "{code}: {seen:?}");
    }
}

fn check(message: &StoredMessage) {
    assert_eq!(&*message.topic, "GoldenTopic");
    assert!(message.born_host.ip().is_loopback() && message.store_host.ip().is_loopback());
    assert!(message.store_time >= message.born_time && message.born_time.as_millis() > 1 << 40);
    assert!(message.unique_key().is_some_and(|key| key.len() >= 32));
    assert!(!message.body.is_empty() && message.queue_id < 4);
}

const STORED_V1: &str = "0000006b daa320a7 3610a686 00000003 00000000 0000000000000009
    0000000000000400 00000000 0000018bcfe56800 c0a80009 0000d431 0000018bcfe56805 c0a80001
    00002a9f 00000000 0000000000000000 00000005 68656c6c6f 01 54 000a 54414753015461674102";
const STORED_V2: &str = "00000084 daa320ab 3610a686 00000003 00000000 0000000000000009
    0000000000000400 00000030 0000018bcfe56800 fd000000000000000000000000000009 0000d431
    0000018bcfe56805 fd000000000000000000000000000001 00002a9f 00000000 0000000000000000
    00000005 68656c6c6f 0001 54 000a 54414753015461674102";

#[test]
fn stored_messages_are_the_vectors() {
    let both = [hex(STORED_V1), hex(STORED_V2)].concat();
    let messages = decode_stored(&both).unwrap();
    let [v1, v2] = messages.as_slice() else { panic!("{messages:?}") };
    for message in [v1, v2] {
        assert_eq!((&*message.topic, &*message.body), ("T", &b"hello"[..]));
        assert_eq!((message.queue_id, message.queue_offset, message.flag), (3, 9, 0));
        assert_eq!(message.tag(), Some("TagA"));
        assert_eq!(message.born_time.as_millis(), 1_700_000_000_000);
        assert_eq!(message.store_time.as_millis(), 1_700_000_000_005);
        assert_eq!(message.body_crc, 0x3610_a686);
        assert!(!message.is_compressed());
    }
    assert_eq!(v1.born_host, "192.168.0.9:54321".parse().unwrap());
    assert_eq!(v1.offset_message_id().to_string(), "C0A8000100002A9F0000000000000400");
    let long = "FD00000000000000000000000000000100002A9F0000000000000400";
    assert_eq!(v2.offset_message_id().to_string(), long);
    assert_eq!(decode_stored(&[]), Ok(Vec::new()));
}

#[test]
fn stored_messages_that_are_cut_or_spoilt_are_errors() {
    let good = hex(STORED_V1);
    for end in 1..good.len() {
        assert!(decode_stored(&good[..end]).is_err(), "cut at {end}");
    }
    let spoilt = |place: usize, bytes: &[u8]| {
        let mut spoilt = good.clone();
        spoilt[place..place + bytes.len()].copy_from_slice(bytes);
        decode_stored(&spoilt)
    };
    let length = Err(StoredError::Length { index: 0 });
    // The size, the length of the body, of the topic and of the properties.
    for (place, width) in [(0, 4), (84, 4), (93, 1), (95, 2)] {
        assert_eq!(spoilt(place, &[0xff; 4][..width]), length, "{place}");
    }
    assert_eq!(spoilt(0, &[0; 4]), length);
    // The properties end before the message does.
    assert_eq!(spoilt(95, &[0, 9]), length);
    // Cut where its size says so; the properties alone may be missing, with their length.
    for end in 4..good.len() {
        let size = (end as u32).to_be_bytes();
        let cut = [&size, &good[4..end]].concat();
        assert_eq!(decode_stored(&cut).is_ok(), end == 95, "cut to {end}");
    }
    assert_eq!(spoilt(52, &[0, 1, 0, 0]), Err(StoredError::Port { index: 0 }));
    let blank = 0xcbd4_3194_u32;
    let magic = Err(StoredError::Magic { index: 0, magic: blank });
    assert_eq!(spoilt(4, &blank.to_be_bytes()), magic);
    assert_eq!(decode_stored(&good.repeat(1_024)).unwrap().len(), 1_024);
    assert_eq!(decode_stored(&good.repeat(1_025)), Err(StoredError::TooMany));
    let mut latin = good.clone();
    latin[94] = 0xff;
    assert_eq!(&*decode_stored(&latin).unwrap()[0].topic, "\u{fffd}");
}

fn route(topic: &str) -> QueryRequest {
    QueryRequest::Route { topic: topic.into() }
}

#[test]
fn name_servers_are_asked_one_after_another_and_all_are_named_in_the_error() {
    let mut bench = Bench::new("a:1;b:2;c:3");
    bench.ask(Target::NameServers, route("T"));
    let mut dialled = Vec::new();
    let (conn, first) = bench.dial();
    dialled.push(first);
    bench.client.handle_connected(bench.now, conn, Err(ConnectFailure::Refused));
    let (conn, second) = bench.dial();
    dialled.push(second);
    bench.connect(conn);
    // Half of the three seconds is the second's share.
    bench.wait(Duration::from_millis(1_499));
    assert_eq!(bench.answer(), None);
    bench.wait(Duration::from_millis(1));
    let (conn, third) = bench.dial();
    dialled.push(third);
    bench.connect(conn);
    bench.receive(conn, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = bench.answer().unwrap().unwrap_err();
    assert!(matches!(
        error.kind(),
        QueryErrorKind::Lost(AttemptFailure::Closed(CloseReason::Protocol(_)))
    ));
    let named: Vec<_> = error.name_servers().iter().map(|server| &*server.address).collect();
    assert_eq!(named, dialled);
    dialled.sort();
    assert_eq!(dialled, ["a:1", "b:2", "c:3"]);
    assert_eq!(error.elapsed(), Duration::from_millis(1_500));
    assert_eq!(bench.client.table_sizes().open_queries, 0);
}

#[test]
fn a_query_ends_at_its_deadline_and_names_the_failed_dial_if_there_was_one() {
    let mut bench = Bench::new("ns:9876");
    let target = Target::Server(address("10.0.0.1:10911"));
    bench.ask(target.clone(), QueryRequest::BrokerInfo);
    let (conn, _) = bench.dial();
    bench.client.handle_connected(bench.now, conn, Err(ConnectFailure::Refused));
    let refused = QueryErrorKind::Lost(AttemptFailure::Connect(ConnectFailure::Refused));
    assert_eq!(bench.answer().unwrap().unwrap_err().kind(), &refused);
    // The next one waits for the pause after the failed dial, and has no time for it.
    let query = Query { to: target, request: QueryRequest::BrokerInfo };
    bench.client.query(bench.now, ID, query, bench.now + Duration::from_nanos(1));
    bench.wait(Duration::from_nanos(1));
    assert_eq!(bench.answer().unwrap().unwrap_err().kind(), &refused);
}

#[test]
fn cancelled_queries_say_nothing_and_a_close_ends_the_others() {
    let mut bench = Bench::new("ns:9876");
    let target = Target::Server(address("10.0.0.1:10911"));
    bench.ask(target.clone(), QueryRequest::BrokerInfo);
    bench.client.cancel_query(bench.now, ID);
    bench.client.cancel_query(bench.now, ID);
    let open = |bench: &Bench| {
        let sizes = bench.client.table_sizes();
        (sizes.open_queries, sizes.requests)
    };
    assert_eq!(open(&bench), (0, 0), "whatever becomes of the dial");
    let (conn, _) = bench.dial();
    bench.client.handle_connected(bench.now, conn, Ok(()));
    assert_eq!(bench.client.poll_transmit(), None, "nobody is asked any more");
    // One that was asked already is answered, to nobody.
    bench.ask(target.clone(), QueryRequest::BrokerInfo);
    let asked = bench.request(conn);
    bench.client.cancel_query(bench.now, ID);
    assert_eq!(open(&bench), (0, 0));
    let (asked, code) = (decoded(&asked), rocketmq_core::wire::ResponseCode(1));
    let (json, mut late) = (rocketmq_core::wire::Encoding::Json, Vec::new());
    encode_response(&mut late, json, asked.opaque, code, Some("late"), &[], &[]).unwrap();
    bench.receive(conn, &late);
    assert_eq!(bench.answer(), None);

    bench.ask(target.clone(), QueryRequest::BrokerInfo);
    bench.client.shutdown(bench.now, bench.now + SECOND);
    assert_eq!(bench.answer().unwrap().unwrap_err().kind(), &QueryErrorKind::Closed);
    bench.ask(target, QueryRequest::BrokerInfo);
    assert_eq!(bench.answer().unwrap().unwrap_err().kind(), &QueryErrorKind::Closed);
    assert_eq!(bench.answer(), None);
}

#[test]
fn the_number_of_open_queries_is_bounded() {
    let mut bench = Bench::new("ns:9876");
    let query = || Query {
        to: Target::Server(address("10.0.0.1:10911")),
        request: QueryRequest::BrokerInfo,
    };
    let deadline = bench.now + SECOND;
    for id in 0..1_025 {
        bench.client.query(bench.now, QueryId(id), query(), deadline);
    }
    let mut refused = 0;
    while let Some(output) = bench.client.poll_output() {
        if let Output::Answer { id, result } = output {
            assert_eq!(
                (id, result.unwrap_err().kind()),
                (QueryId(1_024), &QueryErrorKind::TooMany)
            );
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
}

#[test]
fn addresses_that_were_only_asked_are_forgotten() {
    let mut bench = Bench::new("ns:9876");
    for port in 1..=400 {
        bench.ask(Target::Server(address(&format!("h:{port}"))), QueryRequest::BrokerInfo);
        let (conn, _) = bench.dial();
        bench.client.handle_connected(bench.now, conn, Err(ConnectFailure::Refused));
        assert!(bench.answer().unwrap().is_err());
    }
    let kept = bench.client.table_sizes().addresses;
    assert!((100..=257).contains(&kept), "{kept}");
    bench.wait(40 * SECOND);
    assert_eq!(bench.client.table_sizes().addresses, 1, "the name server's");
}

#[test]
fn what_a_broker_may_answer_instead() {
    let response = |code: i32, remark: &str| {
        let mut out = Vec::new();
        let code = rocketmq_core::wire::ResponseCode(code);
        let json = rocketmq_core::wire::Encoding::Json;
        encode_response(&mut out, json, 0, code, Some(remark), &[], b"{}").unwrap();
        out
    };
    let view = || QueryRequest::ViewMessage { topic: "T".into(), commit_log_offset: 1 };
    let info = || QueryRequest::BrokerInfo;
    let kind = |request: QueryRequest, code, remark: &str| {
        let (_, result) = Bench::new("ns:9876").try_round(request, &response(code, remark));
        result.unwrap_err().kind().clone()
    };
    let gone = "can not find message by the offset, 1";
    assert_eq!(kind(view(), 1, gone), QueryErrorKind::MessageNotFound);
    assert_eq!(kind(view(), 22, "x"), QueryErrorKind::MessageNotFound);
    assert_eq!(kind(info(), 17, "x"), QueryErrorKind::TopicNotFound);
    assert!(matches!(kind(info(), 1, gone), QueryErrorKind::Refused { .. }));
    let acl = "org.apache.rocketmq.acl.common.AclException: no accessKey";
    assert!(matches!(kind(info(), 1, acl), QueryErrorKind::PermissionDenied { .. }));
    assert!(matches!(kind(info(), 0, ""), QueryErrorKind::BadAnswer(_)));
    assert!(matches!(kind(view(), 0, ""), QueryErrorKind::BadAnswer(_)));
    let max = QueryRequest::MaxOffset { topic: "T".into(), queue: MessageQueue::new("b", 0) };
    assert!(matches!(kind(max, 0, ""), QueryErrorKind::BadAnswer(_)));
}

#[test]
fn questions_that_cannot_be_right_are_not_asked() {
    let mut bench = Bench::new("ns:9876");
    bench.ask(Target::NameServers, route("no good"));
    let error = bench.answer().unwrap().unwrap_err();
    assert!(matches!(error.kind(), QueryErrorKind::InvalidTopic(_)), "{error}");
    assert_eq!(bench.client.table_sizes().connections, 0);
}
