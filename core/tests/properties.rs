//! Properties of the codec over arbitrary input.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rocketmq_core::wire::{
    Command, Encoding, RequestCode, RequestHead, SendResponse, decode_route, encode_request,
    properties, split_frame,
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

fn receipt_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "queueId",
        "queueOffset",
        "queueId",
        "queueOffset",
        "msgId",
        "recallHandle",
        "TRACE_ON",
        "MSG_REGION",
        "unknown",
    ])
}

fn receipt_value() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9]", "[1-9][0-9]{1,7}", Just("false".to_owned()), text()]
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
        fields in prop::collection::vec((receipt_key(), prop::option::of(receipt_value())), 0..11),
    ) {
        let object = |comma: &str, colon: &str| {
            let pair = |(key, value): &(&str, Option<String>)| {
                format!("\"{key}\"{colon}{}", serde_json::to_string(value).unwrap())
            };
            let pairs: Vec<_> = fields.iter().map(pair).collect();
            format!("{{\"extFields\"{colon}{{{}}},\"flag\":1}}", pairs.join(comma))
        };
        let (compact, spaced) = (object(",", ":"), object(" , ", " : "));
        let compact = Command::decode(Encoding::Json, compact.as_bytes()).unwrap();
        let spaced = Command::decode(Encoding::Json, spaced.as_bytes()).unwrap();
        let receipt = SendResponse::read(&compact.ext_fields);
        prop_assert_eq!(&receipt, &SendResponse::read(&spaced.ext_fields));
        let last = |key: &str| compact.ext_fields.get(key);
        if let Some(receipt) = receipt {
            prop_assert_eq!(Some(receipt.queue_id.to_string().into()), last("queueId"));
            prop_assert_eq!(receipt.offset_message_id, last("msgId"));
            prop_assert_eq!(receipt.recall_handle, last("recallHandle"));
            prop_assert_eq!(receipt.trace_on, last("TRACE_ON").is_none_or(|on| on != "false"));
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
