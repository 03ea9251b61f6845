//! Byte examples that were made by the Java classes and hold for every client.

use rocketmq_core::wire::{
    Command, Encoding, OffsetMessageId, RequestCode, RequestHead, SendHeader, SendResponse,
    UniqueKey, UniqueKeySource, encode_batch_entry, encode_request, encode_send, properties,
    push_property, split_frame,
};

const PROPERTIES: &str = "4b455953 01 6b31206b32 02
    554e49515f4b4559 01 3746303030303031303030313030303030303030303030303030303030303241 02
    57414954 01 74727565 02
    54414753 01 54616741 02";

const SEND: &str = "000000ec 010000e6
    0136 0c 01df 00000001 00000000 00000000 000000d1
    0001 61 00000002 5047
    0001 62 00000001 54
    0001 63 00000006 544257313032
    0001 64 00000001 34
    0001 65 00000001 31
    0001 66 00000001 30
    0001 67 0000000d 31373030303030303030303030
    0001 68 00000001 30
    0001 69 00000049
    4b455953016b31206b3202554e49515f4b455901374630303030303130303031303030303030303030303030303030
    3030303241025741495401747275650254414753015461674102
    0001 6a 00000001 30
    0001 6b 00000005 66616c7365
    0001 6d 00000005 66616c7365
    0001 6e 00000008 62726f6b65722d61
    6869";

const SEND_RESPONSE: &str = "000000c6 010000c2
    0000 00 01df 00000001 00000001 00000000 000000ad
    0005 6d73674964 00000020 4330413830303031303030303241394630303030303030303030303030303634
    0007 71756575654964 00000001 31
    000b 71756575654f6666736574 00000001 35
    000d 7472616e73616374696f6e4964 00000020
    3746303030303031303030313030303030303030303030303030303030303241
    0008 54524143455f4f4e 00000004 74727565
    000a 4d53475f524547494f4e 0000000d 44656661756c74526567696f6e";

const SEND_RESPONSE_JSON: &str = r#"{"code":0,"extFields":{"queueId":"1","transactionId":"7F00000100010000000000000000002A","msgId":"C0A8000100002A9F0000000000000064","TRACE_ON":"true","MSG_REGION":"DefaultRegion","queueOffset":"5"},"flag":1,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":479}"#;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn property_string() -> String {
    let mut text = String::new();
    let pairs = [
        ("KEYS", "k1 k2"),
        ("UNIQ_KEY", "7F00000100010000000000000000002A"),
        ("WAIT", "true"),
        ("TAGS", "TagA"),
    ];
    for (name, value) in pairs {
        push_property(&mut text, name, value).unwrap();
    }
    assert!(properties(&text).eq(pairs));
    text
}

fn send_header(properties: &str) -> SendHeader<'_> {
    SendHeader {
        producer_group: "PG",
        topic: "T",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 1,
        sys_flag: 0,
        born_timestamp_ms: 1_700_000_000_000,
        flag: 0,
        properties,
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: "broker-a",
    }
}

fn head(encoding: Encoding, code: RequestCode, opaque: i32) -> RequestHead {
    RequestHead { encoding, code, opaque, oneway: false }
}

#[test]
fn a_route_query_in_json_has_the_fields_of_the_vector() {
    let mut out = Vec::new();
    let head = head(Encoding::Json, RequestCode::GET_ROUTEINFO_BY_TOPIC, 7);
    encode_request(&mut out, &head, &[("topic", "TopicTest")], &[]).unwrap();
    let ours = split_frame(&out).unwrap().unwrap();
    assert_eq!(ours.length, out.len());
    let expected = r#"{"code":105,"extFields":{"topic":"TopicTest"},"flag":0,"language":"RUST","opaque":7,"serializeTypeCurrentRPC":"JSON","version":479}"#;
    let mut expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    // Java overwrites this one from the frame's type byte, so it is not sent.
    expected.as_object_mut().unwrap().remove("serializeTypeCurrentRPC");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(ours.header).unwrap(), expected);
}

#[test]
fn a_route_query_in_binary_is_the_vector() {
    let mut out = Vec::new();
    let head = head(Encoding::Binary, RequestCode::GET_ROUTEINFO_BY_TOPIC, 7);
    encode_request(&mut out, &head, &[("topic", "TopicTest")], &[]).unwrap();
    let expected = "0000002d 01000029 0069 0c 01df 00000007 00000000 00000000 00000014
        0005 746f706963 00000009 546f70696354657374";
    assert_eq!(out, bytes(expected));
}

#[test]
fn a_property_string_is_the_vector() {
    let text = property_string();
    assert_eq!(text.as_bytes(), bytes(PROPERTIES));
    assert_eq!(text.len(), 73);
}

#[test]
fn a_send_in_binary_is_the_vector() {
    let text = property_string();
    let mut out = Vec::new();
    let head = head(Encoding::Binary, RequestCode::SEND_MESSAGE_V2, 1);
    encode_send(&mut out, &head, &send_header(&text), 2).unwrap();
    out.extend_from_slice(b"hi");
    assert_eq!(out, bytes(SEND));
}

#[test]
fn a_send_in_json_has_the_fields_of_the_binary_vector_and_stays_short() {
    let text = property_string();
    let mut out = Vec::new();
    let head = head(Encoding::Json, RequestCode::SEND_MESSAGE_V2, 1);
    encode_send(&mut out, &head, &send_header(&text), 2).unwrap();
    out.extend_from_slice(b"hi");
    let frame = split_frame(&out).unwrap().unwrap();
    assert_eq!((frame.body, frame.length), (&b"hi"[..], out.len()));
    assert!(frame.header.len() <= 400, "{}", frame.header.len());
    let strict: serde_json::Value = serde_json::from_slice(frame.header).unwrap();
    assert_eq!(strict["language"], "RUST");

    let wire = bytes(SEND);
    let binary = split_frame(&wire).unwrap().unwrap();
    let binary = Command::decode(Encoding::Binary, binary.header).unwrap();
    let json = Command::decode(Encoding::Json, frame.header).unwrap();
    assert_eq!(sorted(&json), sorted(&binary));
    assert_eq!((json.code, json.opaque, json.flag), (310, 1, 0));
}

fn sorted(command: &Command<'_>) -> Vec<(String, String)> {
    let pairs = command.ext_fields.iter();
    let mut pairs: Vec<_> =
        pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    pairs.sort();
    pairs
}

#[test]
fn a_send_response_reads_the_same_in_both_encodings() {
    let wire = bytes(SEND_RESPONSE);
    let frame = split_frame(&wire).unwrap().unwrap();
    assert_eq!(frame.encoding, Encoding::Binary);
    let binary = Command::decode(Encoding::Binary, frame.header).unwrap();
    let json = Command::decode(Encoding::Json, SEND_RESPONSE_JSON.as_bytes()).unwrap();
    for command in [binary, json] {
        assert!(command.is_response() && !command.is_oneway());
        assert_eq!((command.code, command.language, command.version), (0, 0, 479));
        assert_eq!((command.opaque, command.flag), (1, 1));
        assert_eq!(command.remark, None);
        let expected = SendResponse {
            queue_id: 1,
            queue_offset: 5,
            offset_message_id: Some("C0A8000100002A9F0000000000000064".into()),
            transaction_id: Some("7F00000100010000000000000000002A".into()),
            batch_unique_id: None,
            recall_handle: None,
            region_id: Some("DefaultRegion".into()),
            trace_on: true,
        };
        assert_eq!(SendResponse::read(&command.ext_fields), Some(expected));
    }
}

#[test]
fn the_end_of_a_transaction_decodes_with_its_remark() {
    let wire = bytes(
        "000000dc 010000d8 0025 0c 01df 00000002 00000002 00000003 72c3a9 000000c0
        000d 70726f647563657247726f7570 00000002 5047
        0005 626e616d65 00000008 62726f6b65722d61
        000f 636f6d6d69744c6f674f6666736574 00000004 31303234
        0005 746f706963 00000001 54
        0005 6d73674964 00000002 5531
        0014 7472616e53746174655461626c654f6666736574 00000001 35
        0010 636f6d6d69744f72526f6c6c6261636b 00000001 38
        000d 7472616e73616374696f6e4964 00000002 5531
        0014 66726f6d5472616e73616374696f6e436865636b 00000005 66616c7365",
    );
    let frame = split_frame(&wire).unwrap().unwrap();
    let command = Command::decode(frame.encoding, frame.header).unwrap();
    assert!(command.is_oneway() && !command.is_response());
    assert_eq!((command.code, command.language), (37, 12));
    assert_eq!(command.remark.as_deref(), Some("ré"));
    assert_eq!(command.ext_fields.get("commitLogOffset").as_deref(), Some("1024"));
    assert_eq!(command.ext_fields.get("fromTransactionCheck").as_deref(), Some("false"));
    assert_eq!(command.ext_fields.iter().count(), 9);
}

#[test]
fn a_batch_is_the_vector() {
    let mut out = Vec::new();
    encode_batch_entry(&mut out, 0, "UNIQ_KEY\u{1}U1\u{2}", b"A").unwrap();
    encode_batch_entry(&mut out, 258, "TAGS\u{1}x\u{2}", b"BC").unwrap();
    let expected = "00000023 00000000 00000000 00000000 00000001 41
        000c 554e49515f4b455901553102
        0000001f 00000000 00000000 00000102 00000002 4243 0007 54414753017802";
    assert_eq!(out, bytes(expected));
    assert!(encode_batch_entry(&mut out, 0, &"x".repeat(32_768), b"A").is_err());
    assert_eq!(out, bytes(expected));
}

#[test]
fn a_unique_key_is_the_vector() {
    let expected = [
        ("192.168.0.9", "C0A800090E1630946E0947B76000002A"),
        ("fd00::2", "FD0000000000000000000000000000020E1630946E0947B76000002A"),
    ];
    for (host, text) in expected {
        let source = UniqueKeySource::new(host.parse().unwrap(), 3606, 0x3094_6E09, 0);
        let key = (0..=42).map(|_| source.next(1_700_000_000_000)).last().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(text.to_lowercase().parse(), Ok(key));
        let mut written = String::from(">");
        key.write_hex(&mut written);
        assert_eq!(written.strip_prefix('>'), Some(text));
        assert_eq!(key.ip(), host.parse::<std::net::IpAddr>().unwrap());
        assert_eq!((key.process_id(), key.loader()), (3606, 0x3094_6E09));
        assert_eq!((key.month_ms(), key.counter()), (1_203_200_000, 42));
        assert_eq!(key.as_bytes(), bytes(text));
    }
    for wrong in ["", "C0A8", "G0A800090E1630946E0947B76000002A"] {
        assert!(wrong.parse::<UniqueKey>().is_err(), "{wrong}");
    }
}

#[test]
fn offset_message_ids_are_the_vectors() {
    let expected = [
        ("192.168.0.1", "C0A8000100002A9F0000000000000400"),
        ("fd00::1", "FD00000000000000000000000000000100002A9F0000000000000400"),
    ];
    for (host, text) in expected {
        let id: OffsetMessageId = text.to_lowercase().parse().unwrap();
        assert_eq!(id.host, host.parse::<std::net::IpAddr>().unwrap());
        assert_eq!((id.port, id.commit_log_offset), (10_911, 1024));
        assert_eq!(id.to_string(), text);
    }
    for wrong in ["", "C0A80001", "C0A8000100012A9F0000000000000400", &"é".repeat(16)] {
        assert!(wrong.parse::<OffsetMessageId>().is_err(), "{wrong}");
    }
}
