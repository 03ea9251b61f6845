//! Frames that the official Java client and real servers exchanged (see `golden/convert.py`):
//! every one decodes to what an independent decoder saw, every request can be written again, and
//! every route can be read.

use std::collections::BTreeMap;
use std::path::Path;

use rocketmq_core::wire::{
    Command, Encoding, RequestCode, RequestHead, ResponseCode, SendHeader, SendResponse,
    SendStatus, decode_route, encode_request, encode_response, encode_send, split_frame,
};
use serde_json::Value;

type Fields = BTreeMap<String, String>;

struct Recording {
    name: String,
    header: Value,
    frame: Vec<u8>,
}

fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut recordings = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let record: Value = serde_json::from_str(line).unwrap();
            let digits = record["frame"].as_str().unwrap().as_bytes();
            let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            recordings.push(Recording {
                name: format!("{}:{}", path.file_name().unwrap().display(), number + 1),
                header: record["header"].clone(),
                frame: digits.chunks(2).map(pair).collect(),
            });
        }
    }
    recordings
}

/// All fields; of keys that stand twice the last.
fn fields(command: &Command<'_>) -> Fields {
    let pairs = command.ext_fields.iter();
    pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// The recorder's fields. In binary headers an empty value is a null.
fn recorded_fields(header: &Value, encoding: Encoding) -> Fields {
    let Some(object) = header["extFields"].as_object() else {
        return Fields::new();
    };
    let pairs = object.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let kept = pairs.filter(|(_, value)| encoding == Encoding::Json || !value.is_empty());
    kept.map(|(key, value)| (key.clone(), value.to_owned())).collect()
}

fn without_empty(mut fields: Fields) -> Fields {
    fields.retain(|_, value| !value.is_empty());
    fields
}

#[test]
fn every_frame_decodes_to_what_the_recorder_saw() {
    let recordings = recordings();
    let mut receipts = 0;
    for Recording { name, header, frame } in &recordings {
        let split = split_frame(frame).unwrap().unwrap();
        assert_eq!(split.length, frame.len(), "{name}");
        let command = Command::decode(split.encoding, split.header).unwrap();
        let integer = |key: &str| header[key].as_i64().unwrap() as i32;
        assert_eq!(command.code, integer("code"), "{name}");
        assert_eq!(command.opaque, integer("opaque"), "{name}");
        assert_eq!(command.flag, integer("flag"), "{name}");
        assert_eq!(command.version, integer("version"), "{name}");
        // Only Java was recorded.
        assert!(header["language"] == "JAVA" || header["language"] == 0, "{name}");
        assert_eq!(command.language, 0, "{name}");
        let remark = header["remark"].as_str().filter(|text| !text.is_empty());
        assert_eq!(command.remark.as_deref().filter(|text| !text.is_empty()), remark, "{name}");
        let expected = recorded_fields(header, split.encoding);
        assert_eq!(fields(&command), expected, "{name}");
        for (key, value) in &expected {
            assert_eq!(command.ext_fields.get(key).as_deref(), Some(value.as_str()), "{name}");
        }
        assert_eq!(command.ext_fields.is_empty(), expected.is_empty(), "{name}");
        if expected.contains_key("queueOffset") && expected.contains_key("MSG_REGION") {
            let receipt = SendResponse::read(&command.ext_fields).unwrap();
            assert!(SendStatus::from_code(ResponseCode(command.code)).is_some(), "{name}");
            assert_eq!(receipt.queue_id.to_string(), expected["queueId"], "{name}");
            assert_eq!(receipt.queue_offset.to_string(), expected["queueOffset"], "{name}");
            assert_eq!(receipt.offset_message_id.as_deref(), Some(expected["msgId"].as_str()));
            let key = expected.get("transactionId").map(String::as_str);
            assert_eq!(receipt.transaction_id.as_deref(), key, "{name}");
            receipts += 1;
        }
    }
    assert!(recordings.len() >= 1_200, "{}", recordings.len());
    assert!(receipts >= 100, "{receipts}");
}

#[test]
fn every_request_and_answer_can_be_written_again() {
    let (mut requests, mut sends, mut answers) = (0, 0, 0);
    for Recording { name, frame, .. } in recordings() {
        let split = split_frame(&frame).unwrap().unwrap();
        let command = Command::decode(split.encoding, split.header).unwrap();
        let expected = without_empty(fields(&command));
        let mut out = b"before".to_vec();
        if command.is_response() {
            answers += 1;
            let pairs = pairs(&expected);
            let code = ResponseCode(command.code);
            let remark = command.remark.as_deref();
            let (encoding, opaque) = (split.encoding, command.opaque);
            encode_response(&mut out, encoding, opaque, code, remark, &pairs, split.body).unwrap();
        } else {
            requests += 1;
            let head = RequestHead {
                encoding: split.encoding,
                code: RequestCode(command.code),
                opaque: command.opaque,
                oneway: command.is_oneway(),
            };
            if [10, 310, 320, 324, 325].contains(&command.code) {
                sends += 1;
                let header = send_header(&expected, command.code);
                encode_send(&mut out, &head, &header, split.body.len()).unwrap();
                out.extend_from_slice(split.body);
            } else {
                encode_request(&mut out, &head, &pairs(&expected), split.body).unwrap();
            }
        }
        let again = split_frame(out.strip_prefix(b"before").unwrap()).unwrap().unwrap();
        assert_eq!(again.length, out.len() - 6, "{name}");
        assert_eq!((again.encoding, again.body), (split.encoding, split.body), "{name}");
        let decoded = Command::decode(again.encoding, again.header).unwrap();
        assert_eq!((decoded.code, decoded.opaque), (command.code, command.opaque), "{name}");
        assert_eq!((decoded.flag, decoded.language), (command.flag, 12), "{name}");
        assert_eq!(decoded.remark, command.remark, "{name}");
        assert_eq!(fields(&decoded), expected, "{name}");
    }
    assert!(requests >= 640, "{requests}");
    assert!(sends >= 170, "{sends}");
    assert!(answers >= 550, "{answers}");
}

fn pairs(fields: &Fields) -> Vec<(&str, &str)> {
    fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn send_header(fields: &Fields, code: i32) -> SendHeader<'_> {
    let long = [10, 324].contains(&code);
    let text = |letter: &str, name: &str| {
        fields.get(if long { name } else { letter }).map_or("", String::as_str)
    };
    let number = |letter, name| text(letter, name).parse::<i32>().unwrap();
    let times = text("l", "maxReconsumeTimes");
    SendHeader {
        producer_group: text("a", "producerGroup"),
        topic: text("b", "topic"),
        default_topic: text("c", "defaultTopic"),
        default_topic_queue_nums: number("d", "defaultTopicQueueNums"),
        queue_id: number("e", "queueId"),
        sys_flag: number("f", "sysFlag"),
        born_timestamp_ms: text("g", "bornTimestamp").parse().unwrap(),
        flag: number("h", "flag"),
        properties: text("i", "properties"),
        reconsume_times: number("j", "reconsumeTimes"),
        unit_mode: text("k", "unitMode") == "true",
        max_reconsume_times: (!times.is_empty()).then(|| times.parse().unwrap()),
        batch: text("m", "batch") == "true",
        broker_name: text("n", "bname"),
    }
}

#[test]
fn every_route_can_be_read() {
    let mut routes = 0;
    for Recording { name, frame, .. } in recordings() {
        let split = split_frame(&frame).unwrap().unwrap();
        if !split.body.starts_with(b"{\"brokerDatas\"") {
            continue;
        }
        routes += 1;
        let route = decode_route(split.body).unwrap();
        assert_eq!(&*route.brokers[0].broker_name, "broker-a", "{name}");
        assert_eq!(&*route.brokers[0].cluster, "DefaultCluster", "{name}");
        let [(0, address)] = route.brokers[0].addresses.as_slice() else { panic!("{name}") };
        assert!(address.starts_with("127.0.0."), "{name}");
        assert_eq!(&*route.queues[0].broker_name, "broker-a", "{name}");
        assert!(route.queues[0].is_writable() && route.queues[0].is_readable(), "{name}");
        assert!((1..=16).contains(&route.queues[0].write_queue_nums), "{name}");
    }
    assert!(routes >= 60, "{routes}");
}
