//! Properties of the codec over arbitrary input.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rocketmq_core::wire::{
    Command, Encoding, RequestCode, RequestHead, ResponseCode, SendResponse, StoredPlace,
    decode_route, encode_request, encode_response, properties, split_frame,
};

/// Text with many of the characters that matter to a scanner.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,20}", "[\\x00-\\x7f]{0,24}", "[\"\\\\/\\x01\\x02{}:,é漢😀a]{0,24}"]
}

/// Pieces that make a header likely to get far.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u00e9",
        "\"code\":",
        "\"opaque\":",
        "1",
        "-",
        "\"extFields\":{",
        "\"a\":\"b\"",
        "\"remark\":",
        "null",
        "true",
        " ",
        "1e9",
        "é",
        "0:",
        "\"brokerDatas\":[",
        "\"queueDatas\":[",
        "\"brokerAddrs\":{",
        "\"brokerName\":\"b\"",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

fn receipt_field() -> impl Strategy<Value = (&'static str, Option<String>)> {
    (receipt_key(), prop::option::weighted(0.95, receipt_value()))
}

fn receipt_key() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        2 => Just("queueId"),
        2 => Just("queueOffset"),
        2 => Just("msgId"),
        1 => Just("transactionId"),
        1 => Just("TRACE_ON"),
        1 => Just("MSG_REGION"),
        1 => prop::sample::select(vec!["recallHandle", "unknown", "", "queue", "m\\u0073gId"]),
    ]
}

fn receipt_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,3}",
        2 => "[0-9A-Fa-f]{32}",
        1 => "[0-9A-F]{56}",
        1 => "-?[0-9]{9,20}",
        1 => prop::sample::select(vec!["true", "false", "DefaultRegion", "DefaultRegion2"])
            .prop_map(str::to_owned),
        1 => text(),
    ]
}

fn decode_all(bytes: &[u8]) {
    let _ = split_frame(bytes);
    let _ = decode_route(bytes);
    for encoding in [Encoding::Json, Encoding::Binary] {
        if let Ok(command) = Command::decode(encoding, bytes) {
            for (key, value) in &command.ext_fields {
                let last = command.ext_fields.get(&key);
                assert!(last.is_some() || encoding == Encoding::Json || value.is_empty());
            }
            let _ = SendResponse::read(&command.ext_fields);
        }
    }
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(properties(text).all(|(name, value)| !name.is_empty() && !value.is_empty()));
    }
}

/// All frames of a stream that arrives in `pieces`.
fn frames(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut buffer = Vec::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Ok(Some(frame)) = split_frame(&buffer) {
            frames.push([frame.header, frame.body].concat());
            let length = frame.length;
            buffer.drain(..length);
        }
    }
    frames
}

fn decoded(frame: &[u8]) -> (i32, i32, bool, BTreeMap<String, String>, Vec<u8>) {
    let frame = split_frame(frame).unwrap().unwrap();
    let command = Command::decode(frame.encoding, frame.header).unwrap();
    let fields = command.ext_fields.iter();
    let fields = fields.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    (command.code, command.opaque, command.is_oneway(), fields, frame.body.to_vec())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        decode_all(&bytes);
    }

    #[test]
    fn almost_json_never_panics(bytes in almost_json()) {
        decode_all(&bytes);
    }

    #[test]
    fn what_a_strict_parser_accepts_is_accepted(bytes in almost_json()) {
        let strict: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
        if strict.is_ok_and(|value| value.is_object()) {
            let accepted = Command::decode(Encoding::Json, &bytes).is_ok();
            // Only the types of the known fields may differ from what a header has.
            let text = String::from_utf8_lossy(&bytes);
            let known = ["code", "opaque", "extFields"].iter().any(|name| text.contains(name));
            prop_assert!(accepted || known);
        }
    }

    #[test]
    fn both_encodings_agree(
        code in 0..i32::from(i16::MAX),
        opaque in 0..i32::MAX,
        oneway in any::<bool>(),
        fields in prop::collection::btree_map(text(), text(), 0..12),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let fields: BTreeMap<_, _> =
            fields.into_iter().filter(|(k, v)| !k.is_empty() && !v.is_empty()).collect();
        let pairs: Vec<_> =
            fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected = (code, opaque, oneway, fields.clone(), body.clone());
        for encoding in [Encoding::Json, Encoding::Binary] {
            let head = RequestHead { encoding, code: RequestCode(code), opaque, oneway };
            let mut out = Vec::new();
            encode_request(&mut out, &head, &pairs, &body).unwrap();
            prop_assert_eq!(&decoded(&out), &expected);
            if encoding == Encoding::Json {
                let frame = split_frame(&out).unwrap().unwrap();
                let strict: serde_json::Value = serde_json::from_slice(frame.header).unwrap();
                prop_assert_eq!(&strict["extFields"], &serde_json::to_value(&fields).unwrap());
            }
        }
    }

    #[test]
    fn a_receipt_reads_the_same_however_it_is_written(
        fields in prop::collection::vec(receipt_field(), 0..9),
        opaque in any::<i32>(),
        version in prop_oneof![0..600, any::<i32>()],
        end in prop_oneof![9 => Just("}"), 1 => Just("},"), 1 => Just("")],
    ) {
        // Exactly as brokers do, and with space, which takes another way through the decoder.
        let header = |comma: &str, colon: &str| {
            let pair = |(key, value): &(&str, Option<String>)| {
                format!("\"{key}\"{colon}{}", serde_json::to_string(value).unwrap())
            };
            let pairs: Vec<_> = fields.iter().map(pair).collect();
            let members = [
                format!("\"code\"{colon}0"),
                format!("\"extFields\"{colon}{{{}}}", pairs.join(comma)),
                format!("\"flag\"{colon}1"),
                format!("\"language\"{colon}\"JAVA\""),
                format!("\"opaque\"{colon}{opaque}"),
                format!("\"serializeTypeCurrentRPC\"{colon}\"JSON\""),
                format!("\"version\"{colon}{version}"),
            ];
            format!("{{{}{end}", members.join(comma))
        };
        let (compact, spaced) = (header(",", ":"), header(" , ", " : "));
        let compact = Command::decode(Encoding::Json, compact.as_bytes());
        let spaced = Command::decode(Encoding::Json, spaced.as_bytes());
        prop_assert_eq!(compact.is_ok(), end == "}");
        prop_assert_eq!(spaced.is_ok(), end == "}");
        let (Ok(compact), Ok(spaced)) = (compact, spaced) else { return Ok(()) };
        prop_assert_eq!((compact.code, compact.flag, compact.language), (0, 1, 0));
        prop_assert_eq!((compact.opaque, compact.version), (opaque, version));
        prop_assert_eq!((spaced.opaque, spaced.version), (opaque, version));
        let pairs: Vec<_> = compact.ext_fields.iter().collect();
        prop_assert_eq!(pairs, spaced.ext_fields.iter().collect::<Vec<_>>());
        let whole = SendResponse::read(&spaced.ext_fields);
        prop_assert_eq!(&SendResponse::read(&compact.ext_fields), &whole);
        let expected = whole.map(|whole| StoredPlace {
            position: Some((whole.queue_id as u32, whole.queue_offset as u64)),
            offset_message_id: whole.offset_message_id.and_then(|id| id.parse().ok()),
            recall_handle: whole.recall_handle,
        });
        let expected = expected.unwrap_or_default();
        prop_assert_eq!(&StoredPlace::read(&compact.ext_fields), &expected);
        prop_assert_eq!(&StoredPlace::read(&spaced.ext_fields), &expected);

        // Binary headers have no null and nothing empty.
        let mut filled: Vec<_> = compact.ext_fields.iter().collect();
        filled.retain(|(key, value)| !key.is_empty() && !value.is_empty());
        if filled.len() == fields.len() {
            let pairs: Vec<_> = filled.iter().map(|(key, value)| (&**key, &**value)).collect();
            let mut out = Vec::new();
            let code = ResponseCode::SUCCESS;
            encode_response(&mut out, Encoding::Binary, opaque, code, None, &pairs, &[]).unwrap();
            let frame = split_frame(&out).unwrap().unwrap();
            let binary = Command::decode(Encoding::Binary, frame.header).unwrap();
            prop_assert_eq!(&StoredPlace::read(&binary.ext_fields), &expected);
        }
    }

    #[test]
    fn cutting_a_stream_changes_nothing(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
        garbage in prop::collection::vec(any::<u8>(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut wire = Vec::new();
        for (opaque, body) in (0..).zip(&bodies) {
            let encoding = if opaque % 2 == 0 { Encoding::Json } else { Encoding::Binary };
            let code = RequestCode::HEART_BEAT;
            let head = RequestHead { encoding, code, opaque, oneway: false };
            encode_request(&mut wire, &head, &[], body).unwrap();
        }
        wire.extend_from_slice(&garbage);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts.into_iter().chain([wire.len()]) {
            pieces.push(&wire[start..cut]);
            start = cut;
        }
        let whole = frames(&[&wire]);
        prop_assert!(whole.len() >= bodies.len());
        prop_assert_eq!(frames(&pieces), whole);
        let single: Vec<_> = wire.chunks(1).collect();
        prop_assert_eq!(frames(&single).len(), frames(&[&wire]).len());
    }
}
