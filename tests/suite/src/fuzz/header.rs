//! Headers in both encodings.

use rocketmq_core::limits::HEADER_LENGTH_MAX;
use rocketmq_core::wire::{
    Command, EncodeError, Encoding, FLAG_ONEWAY, FLAG_RESPONSE, RequestCode, RequestHead,
    ResponseCode, encode_request, encode_response, split_frame,
};

/// What a header says, apart from who wrote it.
#[derive(Clone, Debug, PartialEq)]
struct Meaning {
    code: i32,
    opaque: i32,
    response: bool,
    oneway: bool,
    remark: Option<String>,
    fields: Vec<(String, String)>,
}

/// What decodes can be encoded and decodes to the same, in both encodings, and encoding it once
/// more gives the same bytes.
pub fn header(data: &[u8]) {
    let Some((first, header)) = data.split_first() else {
        return;
    };
    let encoding = if first & 1 == 1 { Encoding::Binary } else { Encoding::Json };
    let Ok(command) = Command::decode(encoding, header) else {
        return;
    };
    let Some(meaning) = meaning(&command) else {
        return;
    };
    let json = round_trip(&meaning, Encoding::Json);
    let binary = round_trip(&meaning, Encoding::Binary);
    if let (Some(json), Some(binary)) = (json, binary) {
        assert_eq!(json, binary);
    }
}

/// `None` for what this client could not write: it never repeats a key.
fn meaning(command: &Command<'_>) -> Option<Meaning> {
    let pairs = command.ext_fields.iter();
    let pairs = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
    // An empty value means null in binary headers and is not written in either.
    let fields: Vec<_> = pairs.filter(|(_, value)| !value.is_empty()).collect();
    let mut keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() < fields.len() {
        return None;
    }
    let response = command.is_response();
    let remark = command.remark.as_deref().filter(|text| response && !text.is_empty());
    Some(Meaning {
        code: command.code,
        opaque: command.opaque,
        response,
        oneway: command.is_oneway() && !response,
        remark: remark.map(str::to_owned),
        fields,
    })
}

fn encode(meaning: &Meaning, encoding: Encoding) -> Result<Vec<u8>, EncodeError> {
    let pairs = meaning.fields.iter();
    let pairs: Vec<_> = pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut out = b"before".to_vec();
    let (code, opaque) = (meaning.code, meaning.opaque);
    let result = if meaning.response {
        let remark = meaning.remark.as_deref();
        let code = ResponseCode(code);
        encode_response(&mut out, encoding, opaque, code, remark, &pairs, b"body")
    } else {
        let code = RequestCode(code);
        let head = RequestHead { encoding, code, opaque, oneway: meaning.oneway };
        encode_request(&mut out, &head, &pairs, b"body")
    };
    assert!(out.starts_with(b"before"));
    if result.is_err() {
        assert_eq!(out, b"before", "a refusal leaves the buffer as it was");
    }
    result.map(|()| out.split_off(6))
}

/// What comes back, `None` when the encoding cannot hold it.
fn round_trip(meaning: &Meaning, encoding: Encoding) -> Option<Meaning> {
    let bytes = match encode(meaning, encoding) {
        Ok(bytes) => bytes,
        Err(error) => {
            check_refusal(meaning, encoding, &error);
            return None;
        }
    };
    if bytes.len() > HEADER_LENGTH_MAX {
        return None;
    }
    let frame = split_frame(&bytes).expect("our own frame").expect("a whole frame");
    assert_eq!((frame.encoding, frame.body, frame.length), (encoding, &b"body"[..], bytes.len()));
    let command = Command::decode(encoding, frame.header).expect("our own header");
    let flags = [(FLAG_RESPONSE, meaning.response), (FLAG_ONEWAY, meaning.oneway)];
    let flag: i32 = flags.iter().filter(|(_, on)| *on).map(|(flag, _)| flag).sum();
    assert_eq!(command.flag, flag);
    let decoded = self::meaning(&command).expect("no key is repeated");
    assert_eq!(decoded, *meaning, "{encoding:?}");
    assert_eq!(encode(&decoded, encoding).as_deref(), Ok(&bytes[..]), "a fixed point");
    Some(decoded)
}

fn check_refusal(meaning: &Meaning, encoding: Encoding, error: &EncodeError) {
    let key = |test: fn(usize) -> bool| meaning.fields.iter().any(|(key, _)| test(key.len()));
    let fair = match error {
        EncodeError::CodeOutOfRange(code) => {
            encoding == Encoding::Binary && i16::try_from(*code).is_err()
        }
        EncodeError::OpaqueNegative(opaque) => !meaning.response && *opaque < 0,
        EncodeError::KeyEmpty => key(|length| length == 0),
        EncodeError::KeyTooLong { .. } => key(|length| length > 32_767),
        _ => false,
    };
    assert!(fair, "{error} for {meaning:?}");
}
