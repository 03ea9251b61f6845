use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec;

use super::*;
use crate::rng::Rng;
use crate::wire::{
    RequestCode, RequestHead, encode_heartbeat, encode_request, encode_send, encode_send_escaped,
    insert_fields, split_frame,
};

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Binary];

fn credentials(token: Option<&str>) -> Credentials {
    let credentials = Credentials::new("AKEY", "SKEY12345678").unwrap();
    match token {
        Some(token) => credentials.with_security_token(token).unwrap(),
        None => credentials,
    }
}

fn head(encoding: Encoding, code: RequestCode) -> RequestHead {
    RequestHead { encoding, code, opaque: 7, oneway: false }
}

/// A field of the frame, which has to be there once.
fn field(frame: &[u8], name: &str) -> Option<String> {
    let frame = split_frame(frame).unwrap().unwrap();
    let command = Command::decode(frame.encoding, frame.header).unwrap();
    let mut found = command.ext_fields.iter().filter(|(key, _)| key == name);
    let value = found.next().map(|(_, value)| value.into_owned());
    assert_eq!(found.next(), None, "{name} twice");
    value
}

/// RFC 2202, with keys shorter and longer than a block.
#[test]
fn the_mac_is_hmac_sha1() {
    let mac = |key: &[u8], pieces: &[&[u8]]| {
        let mut mac = MacKey::new(key).start();
        pieces.iter().for_each(|piece| mac.update(piece));
        let text = mac.finish();
        let bytes = STANDARD.decode(text).unwrap();
        bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect::<String>()
    };
    let hi: &[&[u8]] = &[b"Hi", b"", b" There"];
    assert_eq!(mac(&[0x0b; 20], hi), "b617318655057264e28bc0b6fb378c8ef146be00");
    let what: &[&[u8]] = &[b"what do ya want for nothing?"];
    assert_eq!(mac(b"Jefe", what), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    let long: &[&[u8]] = &[b"Test Using Larger Than Block-Size Key - Hash Key First"];
    assert_eq!(mac(&[0xaa; 80], long), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

/// Signatures computed by the Java classes.
#[test]
fn requests_are_signed_as_by_the_java_hook() {
    for encoding in ENCODINGS {
        for (token, signature) in
            [(None, "5aIpCh9pRb4PrVKzNGtSBfFrRpE="), (Some("TOK"), "uz26NB293tuTayOcUvQoNwPBPJk=")]
        {
            let mut out = vec![9; 3];
            let head = head(encoding, RequestCode::GET_ROUTEINFO_BY_TOPIC);
            encode_request(&mut out, &head, &[("topic", "TopicTest")], b"").unwrap();
            sign_written(&mut out, 3, &credentials(token), b"").unwrap();
            assert_eq!(out[..3], [9; 3]);
            let frame = &out[3..];
            assert_eq!(field(frame, "Signature").as_deref(), Some(signature), "{encoding:?}");
            assert_eq!(field(frame, "AccessKey").as_deref(), Some("AKEY"));
            assert_eq!(field(frame, "SecurityToken").as_deref(), token);
            assert_eq!(field(frame, "topic").as_deref(), Some("TopicTest"));
        }
    }
}

const PROPERTIES: &str = "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}7F00000100010000000000000000002A\u{2}\
                          WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}";

/// The same for a send with properties and a body, both ways.
#[test]
fn a_send_is_signed_as_by_the_java_hook() {
    for encoding in ENCODINGS {
        let mut out = Vec::new();
        let header = example(PROPERTIES);
        encode_send(&mut out, &head(encoding, RequestCode::SEND_MESSAGE_V2), &header, 2).unwrap();
        let mut other = out.clone();
        let signing = Signing::new(credentials(None), &[]);
        sign_send(&mut out, 0, &signing, &header, false, None, b"hi").unwrap();
        sign_written(&mut other, 0, &signing.credentials, b"hi").unwrap();
        assert!(out == other, "{encoding:?}");
        out.extend_from_slice(b"hi");
        assert_eq!(field(&out, "Signature").as_deref(), Some(EXAMPLE), "{encoding:?}");
    }
}

const EXAMPLE: &str = "qP6PLDGE85MzWQJz6jOVGN80SFU=";

fn example(properties: &str) -> SendHeader<'_> {
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

fn text(rng: &mut Rng, length_max: u32) -> String {
    const LETTERS: [&str; 10] =
        ["a", "\u{1f}", "\"", "\\", "\n", "\u{1}", "\u{2}", "ü", "{", "\u{1d11e}"];
    (0..rng.below(length_max + 1)).map(|_| LETTERS[rng.below(10) as usize]).collect()
}

/// Two ways to the same signature: from the parts of a send, and from its frame.
#[test]
fn what_is_signed_is_what_stands_in_the_frame() {
    let mut rng = Rng::from_seed(7);
    for round in 0..3_000 {
        let encoding = ENCODINGS[round % 2];
        let (group, topic, default, name) =
            (text(&mut rng, 3), text(&mut rng, 9), text(&mut rng, 2), text(&mut rng, 3));
        let properties = text(&mut rng, 60);
        let number = |rng: &mut Rng| rng.next_u64() as i32 >> rng.below(32);
        let header = SendHeader {
            producer_group: &group,
            topic: &topic,
            default_topic: &default,
            default_topic_queue_nums: number(&mut rng),
            queue_id: number(&mut rng),
            sys_flag: number(&mut rng),
            born_timestamp_ms: rng.next_u64() as i64,
            flag: number(&mut rng),
            properties: &properties,
            reconsume_times: number(&mut rng),
            unit_mode: rng.below(2) == 0,
            max_reconsume_times: (rng.below(2) == 0).then(|| number(&mut rng)),
            batch: rng.below(2) == 0,
            broker_name: &name,
        };
        let long = rng.below(2) == 0;
        let code = if long { RequestCode::SEND_MESSAGE } else { RequestCode::SEND_MESSAGE_V2 };
        let head = head(encoding, code);
        let extra: &[(String, String)] = match rng.below(3) {
            0 => &[],
            1 => {
                &[("nsd".to_owned(), "true".to_owned()), ("ns".to_owned(), text(&mut rng, 4) + "x")]
            }
            _ => &[("B".to_owned(), "1".to_owned()), ("zz\u{ffff}".to_owned(), "ä".to_owned())],
        };
        let token = text(&mut rng, 5).replace(char::is_control, "");
        let own = credentials((!token.is_empty()).then_some(&token));
        let mut out = vec![1; rng.below(4) as usize];
        let start = out.len();
        let body = text(&mut rng, 200);
        let mut escaped = String::new();
        crate::wire::text::push_escaped_text(&mut escaped, &properties);
        let escaped = (encoding == Encoding::Json && rng.below(2) == 0).then_some(&*escaped);
        match escaped {
            Some(escaped) => {
                let header = SendHeader { properties: "", ..header };
                encode_send_escaped(&mut out, &head, &header, escaped, body.len()).unwrap();
            }
            None => encode_send(&mut out, &head, &header, body.len()).unwrap(),
        }
        if !extra.is_empty() {
            insert_fields(&mut out, start, extra).unwrap();
        }
        let mut other = out.clone();
        let signing = Signing::new(own.clone(), extra);
        let header =
            SendHeader { properties: if escaped.is_some() { "" } else { &properties }, ..header };
        sign_send(&mut out, start, &signing, &header, long, escaped, body.as_bytes()).unwrap();
        sign_written(&mut other, start, &own, body.as_bytes()).unwrap();
        assert!(out == other, "round {round}");
        out.extend_from_slice(body.as_bytes());
        let frame = &out[start..];
        assert_eq!(field(frame, "Signature").unwrap(), by_the_book(frame, "SKEY12345678"));
    }
}

/// The signature over what a frame has, made in the plainest way.
fn by_the_book(frame: &[u8], secret: &str) -> String {
    let frame = split_frame(frame).unwrap().unwrap();
    let command = Command::decode(frame.encoding, frame.header).unwrap();
    let mut fields: Vec<(Vec<u16>, String)> = command
        .ext_fields
        .iter()
        .filter(|(name, _)| name != "Signature")
        .map(|(name, value)| (name.encode_utf16().collect(), value.into_owned()))
        .collect();
    fields.sort();
    let mut content: Vec<u8> =
        fields.into_iter().flat_map(|(_, value)| value.into_bytes()).collect();
    content.extend_from_slice(frame.body);
    STANDARD.encode(hmac_sha1_compact::HMAC::mac(&content, secret.as_bytes()))
}

/// Java compares names by UTF-16 code units: a letter beyond the first 65,536 comes before U+E000,
/// although its code point is larger.
#[test]
fn names_are_sorted_as_java_sorts_them() {
    for encoding in ENCODINGS {
        let mut out = Vec::new();
        let fields = [("\u{e000}", "2"), ("\u{10000}", "1"), ("b", "0")];
        encode_request(&mut out, &head(encoding, RequestCode::HEART_BEAT), &fields, b"x").unwrap();
        sign_written(&mut out, 0, &credentials(None), b"").unwrap();
        let expected = hmac_sha1_compact::HMAC::mac(b"AKEY012x", b"SKEY12345678");
        assert_eq!(field(&out, "Signature"), Some(STANDARD.encode(expected)));
    }
}

#[test]
fn a_request_without_fields_and_with_a_body_is_signed() {
    for encoding in ENCODINGS {
        let mut out = Vec::new();
        encode_heartbeat(&mut out, encoding, 3, "10.0.0.1@1", &["PG"]).unwrap();
        let body = split_frame(&out).unwrap().unwrap().body.to_vec();
        sign_written(&mut out, 0, &credentials(Some("a\"b")), b"").unwrap();
        let frame = split_frame(&out).unwrap().unwrap();
        assert_eq!(frame.body, body);
        assert_eq!(field(&out, "SecurityToken").as_deref(), Some("a\"b"));
        assert_eq!(field(&out, "Signature").unwrap(), by_the_book(&out, "SKEY12345678"));
    }
}

#[test]
fn a_frame_that_would_be_too_long_stays_as_it_was() {
    let mut out = Vec::new();
    let body = vec![0; crate::limits::FRAME_LENGTH_MAX - 200];
    encode_request(&mut out, &head(Encoding::Json, RequestCode::HEART_BEAT), &[], &body).unwrap();
    let before = out.clone();
    let own = credentials(Some(&"t".repeat(300)));
    let result = sign_written(&mut out, 0, &own, b"");
    assert!(
        matches!(result, Err(EncodeError::FrameTooLong { .. })),
        "{}",
        result.is_ok().to_string()
    );
    assert!(out == before);
}
