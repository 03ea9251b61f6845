//! What a broken or hostile peer may send, one test a rule, and what a caller may not send.

use rocketmq_core::limits::{
    EXT_FIELDS_MAX, EXT_KEY_LENGTH_MAX, FRAME_LENGTH_MAX, HEADER_LENGTH_ENCODE_MAX,
    HEADER_LENGTH_MAX, JSON_DEPTH_MAX,
};
use rocketmq_core::wire::{
    Command, DecodeErrorKind, EncodeError, Encoding, PeerHint, RequestCode, RequestHead,
    SendHeader, SendResponse, encode_heartbeat, encode_request, encode_send, split_frame,
};

/// The kind of error that these bytes are refused for, which must be final: fewer bytes are not
/// enough to tell, more bytes change nothing.
fn refused(bytes: &[u8]) -> DecodeErrorKind {
    for short in 0..bytes.len() {
        assert_eq!(split_frame(&bytes[..short]), Ok(None), "{short} bytes");
    }
    let error = split_frame(bytes).unwrap_err();
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(&[b'x'; 64]);
    assert_eq!(split_frame(&longer), Err(error));
    assert!(error.offset() < bytes.len());
    assert!(!error.to_string().is_empty());
    error.kind()
}

fn word(bytes: [u8; 4], word: u32) -> Vec<u8> {
    [bytes, word.to_be_bytes()].concat()
}

/// A binary header with these variable parts.
fn binary(remark_length: i32, remark: &[u8], ext_length: i32, ext: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 1, 0xdf, 0, 0, 0, 1, 0, 0, 0, 1];
    header.extend_from_slice(&remark_length.to_be_bytes());
    header.extend_from_slice(remark);
    header.extend_from_slice(&ext_length.to_be_bytes());
    header.extend_from_slice(ext);
    header
}

fn binary_ext(ext: &[u8]) -> Vec<u8> {
    binary(0, b"", ext.len() as i32, ext)
}

fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut pair = (key.len() as i16).to_be_bytes().to_vec();
    pair.extend_from_slice(key);
    pair.extend_from_slice(&(value.len() as i32).to_be_bytes());
    pair.extend_from_slice(value);
    pair
}

fn binary_error(header: &[u8]) -> DecodeErrorKind {
    Command::decode(Encoding::Binary, header).unwrap_err().kind()
}

fn json(header: &str) -> Command<'_> {
    Command::decode(Encoding::Json, header.as_bytes()).unwrap()
}

fn json_error(header: &str) -> DecodeErrorKind {
    Command::decode(Encoding::Json, header.as_bytes()).unwrap_err().kind()
}

#[test]
fn t01_negative_length_is_cut_after_four_bytes() {
    assert_eq!(refused(&[0xff; 4]), DecodeErrorKind::LengthNegative);
    assert_eq!(refused(&[0x80, 0, 0, 0]), DecodeErrorKind::LengthNegative);
}

#[test]
fn t02_too_long_a_frame_is_cut_after_four_bytes() {
    let longest = FRAME_LENGTH_MAX as u32;
    assert_eq!(longest, 16_777_212);
    assert_eq!(split_frame(&longest.to_be_bytes()), Ok(None));
    let length = longest + 1;
    assert_eq!(refused(&length.to_be_bytes()), DecodeErrorKind::LengthTooLarge { length });
    let length = 0x7fff_ffff_u32;
    assert_eq!(refused(&length.to_be_bytes()), DecodeErrorKind::LengthTooLarge { length });
}

#[test]
fn t03_too_short_a_frame_is_cut() {
    for length in 0..4_u32 {
        assert_eq!(refused(&length.to_be_bytes()), DecodeErrorKind::LengthTooSmall);
    }
}

#[test]
fn t04_header_longer_than_its_frame_is_cut_on_the_eighth_byte() {
    let kind = DecodeErrorKind::HeaderTooLong { length: 7 };
    assert_eq!(refused(&word([0, 0, 0, 10], 7)), kind);
    assert_eq!(split_frame(&word([0, 0, 0, 11], 7)), Ok(None));
    let length = HEADER_LENGTH_MAX as u32;
    assert_eq!(split_frame(&word([0, 0xff, 0, 0], length)), Ok(None));
    let kind = DecodeErrorKind::HeaderTooLong { length: length + 1 };
    assert_eq!(refused(&word([0, 0xff, 0, 0], length + 1)), kind);
}

#[test]
fn t05_header_too_short_for_its_encoding_is_cut_on_the_eighth_byte() {
    let kind = |length| DecodeErrorKind::HeaderTooShort { length };
    assert_eq!(refused(&word([0, 0, 0, 40], 1)), kind(1));
    assert_eq!(split_frame(&word([0, 0, 0, 40], 2)), Ok(None));
    assert_eq!(refused(&word([0, 0, 0, 40], 0x0100_0014)), kind(20));
    assert_eq!(split_frame(&word([0, 0, 0, 40], 0x0100_0015)), Ok(None));
}

#[test]
fn t06_unknown_encoding_is_cut_on_the_eighth_byte() {
    for code in 2..=255_u8 {
        let header = u32::from(code) << 24 | 21;
        assert_eq!(refused(&word([0, 0, 0, 40], header)), DecodeErrorKind::UnknownEncoding(code));
    }
}

#[test]
fn t07_remark_length_that_lies_is_cut() {
    for length in [-1, i32::MIN, i32::MAX, 7] {
        let header = binary(length, b"ab", 0, b"");
        assert_eq!(binary_error(&header), DecodeErrorKind::RemarkLength, "{length}");
    }
    let header = binary(2, b"ab", 0, b"");
    let command = Command::decode(Encoding::Binary, &header).unwrap();
    assert_eq!(command.remark.as_deref(), Some("ab"));
}

#[test]
fn t08_ext_length_that_lies_is_cut() {
    for length in [-1, i32::MIN, i32::MAX, 9] {
        let header = binary(0, b"", length, &pair(b"a", b"b"));
        assert_eq!(binary_error(&header), DecodeErrorKind::ExtLength, "{length}");
    }
}

#[test]
fn t09_malformed_pairs_are_cut() {
    let pairs: [&[u8]; 7] = [
        &[0xff, 0xff, 0, 0, 0, 0],
        &[0, 1, b'k', 0x7f, 0xff, 0xff, 0xff],
        &[0, 1, b'k', 0xff, 0xff, 0xff, 0xff],
        &[0, 1, b'k'],
        &[0, 9, b'k'],
        &[0],
        &[0, 1, b'k', 0, 0, 0],
    ];
    for ext in pairs {
        let after = [pair(b"a", b"b"), ext.to_vec()].concat();
        for ext in [ext, &after] {
            assert_eq!(binary_error(&binary_ext(ext)), DecodeErrorKind::ExtEntry, "{ext:?}");
        }
    }
}

#[test]
fn t10_bytes_left_over_are_cut_and_the_body_is_never_eaten() {
    let mut header = binary_ext(&pair(b"a", b"b"));
    header.push(0);
    assert_eq!(binary_error(&header), DecodeErrorKind::LeftoverBytes);
    for text in ["{}x", "{}{}", "{} ,", "{\"code\":1}\0"] {
        assert_eq!(json_error(text), DecodeErrorKind::LeftoverBytes, "{text}");
    }
    assert_eq!(json(" {} \n").code, 0);
    // The map goes one byte into the body: only the header's bytes count.
    let ext = pair(b"a", b"bc");
    let (inside, body) = ext.split_at(ext.len() - 1);
    let header = binary(0, b"", ext.len() as i32, inside);
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(1 << 24 | header.len() as u32).to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    let split = split_frame(&frame).unwrap().unwrap();
    assert_eq!(split.body, body);
    assert_eq!(binary_error(split.header), DecodeErrorKind::ExtLength);
}

#[test]
fn t11_of_equal_binary_keys_the_last_wins() {
    let ext = [pair(b"queueId", b"1"), pair(b"b", b"2"), pair(b"queueId", b"3")].concat();
    let header = binary_ext(&ext);
    let command = Command::decode(Encoding::Binary, &header).unwrap();
    assert_eq!(command.ext_fields.get("queueId").as_deref(), Some("3"));
    assert_eq!(command.ext_fields.iter().count(), 3);
}

#[test]
fn t12_of_equal_json_keys_the_last_wins() {
    let text = r#"{"code":1,"extFields":{"a":"1","b":"2"},"opaque":1,"code":2,"extFields":{"a":"3","a":"4"},"opaque":5}"#;
    let command = json(text);
    assert_eq!((command.code, command.opaque), (2, 5));
    assert_eq!(command.ext_fields.get("a").as_deref(), Some("4"));
    assert_eq!(command.ext_fields.get("b"), None);
    let nulled = json(r#"{"extFields":{"a":"1","a":null},"remark":"x","remark":null}"#);
    assert_eq!((nulled.ext_fields.get("a"), nulled.remark), (None, None));
}

#[test]
fn t13_too_many_fields_are_cut() {
    let many = |count| binary_ext(&pair(b"", b"").repeat(count));
    assert!(
        Command::decode(Encoding::Binary, &many(EXT_FIELDS_MAX)).unwrap().ext_fields.is_empty()
    );
    let error = Command::decode(Encoding::Binary, &many(EXT_FIELDS_MAX + 1)).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooManyExtFields);
    let many =
        |count| format!("{{\"extFields\":{{{}\"z\":\"\"}}}}", "\"a\":\"b\",".repeat(count - 1));
    assert_eq!(json(&many(EXT_FIELDS_MAX)).ext_fields.iter().count(), EXT_FIELDS_MAX);
    assert_eq!(json_error(&many(EXT_FIELDS_MAX + 1)), DecodeErrorKind::TooManyExtFields);
}

#[test]
fn t14_deep_nesting_is_cut_everywhere() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let per = open.matches(['[', '{']).count();
        for (before, after, around) in [
            ("{\"unknown\":", "}", 1),
            ("{\"extFields\":{\"a\":", "}}", 2),
            ("{\"remark\":", "}", 1),
        ] {
            let nested = |count: usize| {
                format!("{before}{}1{}{after}", open.repeat(count), close.repeat(count))
            };
            let fits = (JSON_DEPTH_MAX - around) / per;
            json(&nested(fits));
            for count in [fits + 1, fits + 2, 20_000] {
                assert_eq!(json_error(&nested(count)), DecodeErrorKind::NestingTooDeep);
            }
        }
    }
}

#[test]
fn t15_bad_utf8_is_replaced_and_the_request_completes() {
    let header = b"{\"opaque\":9,\"remark\":\"a\xffb\\n\xc3\",\"extFields\":{\"k\xfe\":\"v\xed\xa0\x80\",\"queueId\":\"1\"}}";
    let command = Command::decode(Encoding::Json, header).unwrap();
    assert_eq!(command.opaque, 9);
    assert_eq!(command.remark.as_deref(), Some("a\u{fffd}b\n\u{fffd}"));
    assert_eq!(command.ext_fields.get("k\u{fffd}").as_deref(), Some("v\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!(command.ext_fields.get("queueId").as_deref(), Some("1"));

    let header = binary(2, b"\xffx", 10, &pair(b"\xfe", b"v\xfd!"));
    let command = Command::decode(Encoding::Binary, &header).unwrap();
    assert_eq!(command.remark.as_deref(), Some("\u{fffd}x"));
    assert_eq!(command.ext_fields.get("\u{fffd}").as_deref(), Some("v\u{fffd}!"));
}

#[test]
fn t16_unknown_languages_versions_flags_and_fields_are_ignored() {
    let text = r#"{"suspended":false,"x":[1,{"y":[-1.5e+3,true,false,null,"\u00e9"]},{},[]],"language":"KLINGON","version":99999,"flag":13,"code":-1000,"serializeTypeCurrentRPC":"JSON"}"#;
    let command = json(text);
    assert_eq!((command.language, command.version, command.flag), (255, 99_999, 13));
    assert_eq!(command.code, -1000);
    assert!(command.is_response() && !command.is_oneway());
    for (language, code) in
        [("\"RUST\"", 12), ("12", 12), ("14", 255), ("null", 255), ("-1", 255), ("{}", 255)]
    {
        let text = format!("{{\"language\":{language}}}");
        assert_eq!(json(&text).language, code, "{language}");
    }
    let mut header = binary_ext(b"");
    header[2] = 77;
    assert_eq!(Command::decode(Encoding::Binary, &header).unwrap().language, 255);
    assert_eq!(json("{}").language, 0);
}

#[test]
fn t17_numbers_out_of_range_are_cut_and_never_sent() {
    for key in ["code", "opaque", "flag", "version"] {
        for number in ["2147483648", "-2147483649", "99999999999999999999999", "1.0", "1e3"] {
            let text = format!("{{\"{key}\":{number}}}");
            assert_eq!(json_error(&text), DecodeErrorKind::NumberOutOfRange, "{text}");
        }
        for wrong in ["\"1\"", "true", "-", "{}", "[1]", ""] {
            let text = format!("{{\"{key}\":{wrong}}}");
            assert_eq!(json_error(&text), DecodeErrorKind::InvalidJson, "{text}");
        }
    }
    assert_eq!(json("{\"code\":2147483647,\"opaque\":-2147483648}").opaque, i32::MIN);
    assert_eq!(json("{\"opaque\":null}").opaque, 0);

    let mut out = b"before".to_vec();
    let mut head = RequestHead {
        encoding: Encoding::Binary,
        code: RequestCode(200_050),
        opaque: 1,
        oneway: false,
    };
    let error = encode_request(&mut out, &head, &[], &[]);
    assert_eq!(error, Err(EncodeError::CodeOutOfRange(200_050)));
    head.encoding = Encoding::Json;
    head.opaque = -1;
    assert_eq!(encode_request(&mut out, &head, &[], &[]), Err(EncodeError::OpaqueNegative(-1)));
    assert_eq!(out, b"before");
    head.opaque = 1;
    encode_request(&mut out, &head, &[], &[]).unwrap();
}

#[test]
fn t18_what_no_peer_could_read_is_refused_and_takes_nothing() {
    let head = |encoding| RequestHead {
        encoding,
        code: RequestCode::SEND_MESSAGE_V2,
        opaque: 1,
        oneway: false,
    };
    let key = "k".repeat(EXT_KEY_LENGTH_MAX + 1);
    let value = "v".repeat(HEADER_LENGTH_ENCODE_MAX);
    let body = vec![0; FRAME_LENGTH_MAX - 20];
    for encoding in [Encoding::Json, Encoding::Binary] {
        let head = head(encoding);
        let mut out = b"before".to_vec();
        let mut request = |ext: &[(&str, &str)], body| {
            let error = encode_request(&mut out, &head, ext, body).unwrap_err();
            assert_eq!(out, b"before", "{error}");
            error
        };
        assert_eq!(request(&[("a", "b"), ("", "c")], &[]), EncodeError::KeyEmpty);
        let error = EncodeError::KeyTooLong { length: key.len() };
        assert_eq!(request(&[(&key, "b")], &[]), error);
        assert!(matches!(request(&[("a", &value)], &[]), EncodeError::HeaderTooLong { .. }));
        assert!(matches!(request(&[], &body), EncodeError::FrameTooLong { .. }));
        let header = SendHeader { properties: &value, ..send_header() };
        let error = encode_send(&mut out, &head, &header, 0).unwrap_err();
        assert!(matches!(error, EncodeError::HeaderTooLong { .. }));
        let error = encode_send(&mut out, &head, &send_header(), usize::MAX).unwrap_err();
        assert!(matches!(error, EncodeError::FrameTooLong { .. }));
        let wrong = RequestHead { code: RequestCode::HEART_BEAT, ..head };
        let error = encode_send(&mut out, &wrong, &send_header(), 0).unwrap_err();
        assert_eq!(error, EncodeError::NotASend(RequestCode::HEART_BEAT));
        assert_eq!(out, b"before");
        encode_request(&mut out, &head, &[(&key[1..], "b")], &[]).unwrap();
    }
}

#[test]
fn t18_the_longest_frame_is_exactly_the_limit() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let code = RequestCode::SEND_MESSAGE_V2;
        let head = RequestHead { encoding, code, opaque: 1, oneway: false };
        let mut out = Vec::new();
        encode_send(&mut out, &head, &send_header(), 0).unwrap();
        let room = FRAME_LENGTH_MAX + 4 - out.len();
        encode_send(&mut out, &head, &send_header(), room + 1).unwrap_err();
        out.clear();
        encode_send(&mut out, &head, &send_header(), room).unwrap();
        out.resize(out.len() + room, 0);
        assert_eq!(split_frame(&out).unwrap().unwrap().length, FRAME_LENGTH_MAX + 4);
    }
}

fn send_header() -> SendHeader<'static> {
    SendHeader {
        producer_group: "",
        topic: "T",
        default_topic: "",
        default_topic_queue_nums: 4,
        queue_id: -1,
        sys_flag: 0,
        born_timestamp_ms: i64::MIN,
        flag: i32::MIN,
        properties: "",
        reconsume_times: 10,
        unit_mode: true,
        max_reconsume_times: Some(99),
        batch: true,
        broker_name: "",
    }
}

#[test]
fn t18_empty_fields_are_left_out() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        for code in [RequestCode::SEND_MESSAGE, RequestCode::SEND_BATCH_MESSAGE] {
            let head = RequestHead { encoding, code, opaque: 1, oneway: true };
            let mut out = Vec::new();
            encode_send(&mut out, &head, &send_header(), 0).unwrap();
            let frame = split_frame(&out).unwrap().unwrap();
            let command = Command::decode(encoding, frame.header).unwrap();
            assert!(command.is_oneway());
            assert!(command.ext_fields.iter().all(|(_, value)| !value.is_empty()));
            assert_eq!(command.ext_fields.iter().count(), 10);
            let long = code == RequestCode::SEND_MESSAGE;
            let get = |letter, name| {
                command.ext_fields.get(if long { name } else { letter }).unwrap().into_owned()
            };
            assert_eq!(get("g", "bornTimestamp"), i64::MIN.to_string());
            assert_eq!(get("h", "flag"), i32::MIN.to_string());
            assert_eq!(get("l", "maxReconsumeTimes"), "99");
            assert_eq!(get("m", "batch"), "true");
            out.clear();
            encode_request(&mut out, &head, &[("a", ""), ("b", "c")], &[]).unwrap();
            let frame = split_frame(&out).unwrap().unwrap();
            let command = Command::decode(encoding, frame.header).unwrap();
            assert!(command.ext_fields.iter().eq([("b".into(), "c".into())]));
        }
    }
}

#[test]
fn t20_other_protocols_are_found_out_within_eight_bytes() {
    let hint = |bytes: &[u8]| match refused(bytes) {
        DecodeErrorKind::NotRocketmq(hint) => hint,
        other => panic!("{other}"),
    };
    assert_eq!(hint(b"\x15\x03\x03\0"), PeerHint::TlsAlert);
    assert_eq!(hint(b"\x16\x03\x01\x02"), PeerHint::TlsHandshake);
    assert_eq!(hint(b"HTTP"), PeerHint::Http1);
    assert_eq!(hint(b"PRI "), PeerHint::Http2);
    assert_eq!(hint(b"SSH-"), PeerHint::Ssh);
    assert_eq!(hint(b"220 "), PeerHint::Text);
    assert_eq!(hint(b"\0\0\x12\x04\0\0\0\0"), PeerHint::Http2);
    assert_eq!(hint(b"\0\0\x00\x04\x01\0\0\0"), PeerHint::Http2);
    let error = split_frame(b"\x15\x03\x03\0\x02\x02\x28").unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[test]
fn t21_a_shifted_stream_is_cut_at_the_first_impossible_prefix() {
    let mut wire = Vec::new();
    for opaque in 0..600 {
        encode_heartbeat(&mut wire, Encoding::Json, opaque, "id", &["g"]).unwrap();
    }
    let length = split_frame(&wire).unwrap().unwrap().length;
    // How many frames a reader takes before it has to give the connection up.
    let taken = |wire: &[u8]| {
        let mut rest = wire;
        for count in 0.. {
            match split_frame(rest) {
                Ok(Some(frame)) if Command::decode(frame.encoding, frame.header).is_ok() => {
                    rest = &rest[frame.length..];
                }
                Ok(None) if rest.is_empty() => return (count, true),
                Ok(_) | Err(_) => return (count, false),
            }
        }
        unreachable!()
    };
    assert_eq!(taken(&wire), (600, true));
    let mut lost = wire.clone();
    lost.remove(length + 1);
    assert_eq!(taken(&lost), (1, false));
    let mut doubled = wire;
    doubled.insert(length - 1, b' ');
    assert_eq!(taken(&doubled), (1, false));
}

#[test]
fn t44_receipts_that_cannot_be_read_are_none() {
    let ext = [
        r#"null"#,
        r#"{}"#,
        r#"{"queueId":"1"}"#,
        r#"{"queueOffset":"1"}"#,
        r#"{"queueId":"-1","queueOffset":"1"}"#,
        r#"{"queueId":"1","queueOffset":"-1"}"#,
        r#"{"queueId":"2147483648","queueOffset":"1"}"#,
        r#"{"queueId":"1","queueOffset":"9223372036854775808"}"#,
        r#"{"queueId":"x","queueOffset":"1"}"#,
        r#"{"queueId":"","queueOffset":"1"}"#,
        r#"{"queueId":"1","queueId":null,"queueOffset":"1"}"#,
        r#"{"queueId":{},"queueOffset":"1"}"#,
    ];
    for ext in ext {
        let text = format!("{{\"extFields\":{ext}}}");
        assert_eq!(SendResponse::read(&json(&text).ext_fields), None, "{ext}");
    }
    let text = r#"{"extFields":{"queueId":2147483647,"queueOffs\u0065t":9223372036854775807,"TRACE_ON":false,"batchUniqId":"B","recallHandle":"R\/"}}"#;
    let command = json(text);
    let receipt = SendResponse::read(&command.ext_fields).unwrap();
    assert_eq!((receipt.queue_id, receipt.queue_offset), (i32::MAX, i64::MAX));
    assert!(!receipt.trace_on);
    assert_eq!(receipt.batch_unique_id.as_deref(), Some("B"));
    assert_eq!(receipt.recall_handle.as_deref(), Some("R/"));
}

#[test]
fn heartbeats_are_escaped() {
    let mut out = Vec::new();
    encode_heartbeat(&mut out, Encoding::Binary, 3, "a\"\\\n\u{1f600}@1", &["g1", "g\u{1}2"])
        .unwrap();
    let frame = split_frame(&out).unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(frame.body).unwrap();
    let expected = serde_json::json!({
        "clientID": "a\"\\\n\u{1f600}@1",
        "consumerDataSet": [],
        "heartbeatFingerprint": 0,
        "producerDataSet": [{"groupName": "g1"}, {"groupName": "g\u{1}2"}],
        "withoutSub": false,
    });
    assert_eq!(body, expected);
}

#[test]
fn json_headers_may_be_written_in_any_way() {
    let text = "\n{ \"remark\" : \"\\u00e9\\ud83d\\ude00\\ud83d\\n\\\"\\/\\ud800\\udc00\" ,\t\"co\\u0064e\":  -7 ,\r\n\"extFields\" : { \"n\" : 5 , \"b\" : true , \"z\" : null , \"o\" : [1, 2] , \"e\" : \"\" } }";
    let command = json(text);
    assert_eq!(command.code, -7);
    assert_eq!(command.remark.as_deref(), Some("é😀\u{fffd}\n\"/\u{10000}"));
    let fields: Vec<_> = command.ext_fields.iter().collect();
    let expected = [("n", "5"), ("b", "true"), ("o", "[1, 2]"), ("e", "")];
    assert_eq!(fields, expected.map(|(key, value)| (key.into(), value.into())));
    let wrong = [
        "",
        "[]",
        "null",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{a:1}",
        "{\"a\":tru}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"extFields\":[]}",
        "{\"extFields\":1}",
        "{\"extFields\":{\"a\":1,}}",
        "{\"a\":{\"b\"}}",
        "{\"a\":{1:2}}",
    ];
    for text in wrong {
        assert_eq!(json_error(text), DecodeErrorKind::InvalidJson, "{text}");
    }
}
