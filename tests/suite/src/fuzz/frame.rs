//! Any bytes as a stream of frames.

use rocketmq_core::limits::{EXT_FIELDS_MAX, FRAME_LENGTH_MAX};
use rocketmq_core::wire::{Command, Frame, SendResponse, split_frame};

/// Nothing panics; frames cover their bytes exactly; memory follows the input; and what is known
/// after some bytes does not change when more come.
pub fn frame(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(frame)) = split_frame(rest) {
        check_parts(rest, &frame);
        read_header(&frame);
        rest = &rest[frame.length..];
    }
    check_prefixes(rest);
    check_prefixes(data);
}

fn check_parts(buffer: &[u8], frame: &Frame<'_>) {
    assert!(frame.length <= buffer.len() && frame.length <= FRAME_LENGTH_MAX + 4);
    let parts = [&buffer[..8], frame.header, frame.body].concat();
    assert_eq!(parts, buffer[..frame.length]);
}

fn read_header(frame: &Frame<'_>) {
    let command = match Command::decode(frame.encoding, frame.header) {
        Ok(command) => command,
        Err(error) => {
            assert!(error.to_string().len() < 300, "{error}");
            return;
        }
    };
    // Each byte that is not UTF-8 becomes three.
    let bound = frame.header.len() * 3;
    let fields: Vec<_> = command.ext_fields.iter().collect();
    let bytes: usize = fields.iter().map(|(key, value)| key.len() + value.len()).sum();
    let remark = command.remark.as_deref().unwrap_or_default();
    assert!(bytes + remark.len() <= bound && fields.len() <= EXT_FIELDS_MAX);
    assert_eq!(command.ext_fields.is_empty(), fields.is_empty());
    if let Some((key, _)) = fields.last() {
        // Walking and looking up agree, unless a later null took the field away.
        let last = fields.iter().rev().find(|(other, _)| other == key);
        let found = command.ext_fields.get(key);
        assert!(found.is_none() || found == last.map(|(_, value)| value.clone()), "{key}");
    }
    if let Some(response) = SendResponse::read(&command.ext_fields) {
        assert!(response.queue_id >= 0 && response.queue_offset >= 0);
    }
}

/// A refusal stays one, and a frame stays the same frame.
fn check_prefixes(data: &[u8]) {
    let whole = split_frame(data);
    let middle = data.len() / 2;
    let lengths = (0..data.len().min(16)).chain([middle, data.len().saturating_sub(1)]);
    for length in lengths {
        match split_frame(&data[..length]) {
            Ok(None) => {}
            Ok(Some(frame)) => assert_eq!(whole, Ok(Some(frame))),
            Err(error) => assert_eq!(whole, Err(error)),
        }
    }
}
