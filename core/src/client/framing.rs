//! The frame of an attempt.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::Client;
use super::credentials::complete_frame;
use super::hooks::NotFramed;
use super::operation::Mode;
use super::outbox::Owner;
use super::requests::Request;
use super::session::Queued;
use super::verdict::Next;
use crate::error::{AttemptFailure, Delivery, SendErrorKind, Stage};
use crate::id::{ConnId, OpId};
use crate::interceptor::{Hook, SendAttempt};
use crate::invalid::InvalidMessage;
use crate::namespace;
use crate::prepared::SendKind;
use crate::slab::Key;
use crate::wire::{
    Encoding, PropertyText, RequestHead, SendHeader, encode_send, encode_send_escaped,
    insert_fields, sign_send,
};

impl Client {
    /// Writes the frame of an attempt that waited on a connection, unless it has ended since.
    pub(super) fn frame_send(&mut self, conn: ConnId, id: OpId, number: u32) {
        let Some(op) = self.ops.get_mut(id).filter(|op| op.number == number) else {
            return;
        };
        let Some(current) = op.current.as_mut().filter(|current| current.conn == Some(conn)) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(Key::from_u64(conn.0)) else {
            return;
        };
        let oneway = op.command.mode == Mode::Oneway;
        let opaque = if oneway {
            Some(session.requests.skip())
        } else {
            session.requests.insert(Request::Send { op: id, number })
        };
        let Some(opaque) = opaque else {
            // No room: fill asked before, so this is unreachable; waiting again is always right.
            session.queue.push_front(Queued::Send { op: id, number });
            return;
        };
        let message = &op.message.message;
        let head = RequestHead {
            encoding: self.config.encoding,
            code: op.message.kind().request_code(self.config.long_send_header),
            opaque,
            oneway: oneway && !planted!(OnewayAnswered),
        };
        // Prepared for this very encoding, unless with the settings of another client.
        let (properties, escaped) = match &op.message.properties {
            PropertyText::Escaped(text) if head.encoding == Encoding::Json => {
                (Cow::Borrowed(""), Some(text))
            }
            text => (text.plain(), None),
        };
        let retry = number > 1;
        let spoilt = spoilt_properties(&op.message.properties, retry);
        let (properties, escaped) = match &spoilt {
            Some(text) => (Cow::Borrowed(text.as_str()), None),
            None => (properties, escaped),
        };
        let topic = match &*self.config.namespace {
            "" => Cow::Borrowed(message.topic()),
            namespace => match self.topics.get(op.topic) {
                Some(topic) => Cow::Borrowed(&*topic.wire),
                None if op.message.kind() == SendKind::Reply => Cow::Borrowed(message.topic()),
                // Forgotten, because the send outlives the time for which topics are remembered.
                None => namespace::wrap(namespace, message.topic()),
            },
        };
        let special = op.message.special.as_deref();
        let mut born = op.message.clock.wall_at(self.now);
        if op.message.is_half() {
            born = self.transactions.birth(&op.message.unique_key, number, born);
        }
        let header = SendHeader {
            producer_group: &op.group,
            topic: &topic,
            default_topic: &self.config.create_topic_key,
            default_topic_queue_nums: self.config.default_topic_queue_nums as i32,
            queue_id: current.queue_id as i32,
            sys_flag: op.message.sys_flag(),
            born_timestamp_ms: if planted!(BornOnWrongClock) {
                (self.now.as_nanos() / 1_000_000) as i64
            } else {
                born.as_millis()
            },
            flag: message.flag(),
            properties: &properties,
            reconsume_times: special.map_or(0, |special| special.reconsume_times),
            unit_mode: self.config.unit_mode,
            max_reconsume_times: special.and_then(|special| special.max_reconsume_times),
            batch: op.message.kind() == SendKind::Batch,
            broker_name: &current.broker_name,
        };
        let owner = Owner::Send { op: id, number };
        let mut body = op.message.body();
        let shorter;
        if planted!(BodyCutOnRetry) && retry {
            shorter = body.slice(..body.len() - 1);
            body = &shorter;
        }
        let config = &self.config;
        let extra = &self.extra_fields;
        let signing = self.access.signing.as_ref();
        let encode = |out: &mut Vec<u8>| -> Result<(), NotFramed> {
            let start = out.len();
            match escaped {
                Some(text) => encode_send_escaped(out, &head, &header, text, body.len())?,
                None => encode_send(out, &head, &header, body.len())?,
            }
            if !extra.is_empty() {
                insert_fields(out, start, extra)?;
            }
            if !config.interceptors.is_empty() {
                let send = SendAttempt { unique_key: op.message.unique_key, attempt: number };
                let address = &current.address;
                return complete_frame(config, signing, address, Some(send), out, start, body);
            }
            // Of each attempt anew: the queue, the broker and the time are signed, too.
            let Some(signing) = signing else { return Ok(()) };
            let (long, escaped) = (config.long_send_header, escaped.map(|text| &**text));
            Ok(sign_send(out, start, signing, &header, long, escaped, body)?)
        };
        let pushed = session.outbox.push(owner, body, encode);
        current.opaque = opaque;
        current.stage = Stage::Write;
        if let Err(reason) = pushed {
            session.requests.remove(opaque);
            self.send_not_framed(id, reason);
        }
        if planted!(OnewaySentEarly) && oneway {
            self.attempt_written(id, number);
        }
    }

    /// Ends a send whose attempt could not be written: no other would fare better.
    #[cold]
    fn send_not_framed(&mut self, id: OpId, reason: NotFramed) {
        let (stage, delivery) = (Stage::Write, Delivery::NotSent);
        match reason {
            NotFramed::Encoding(error) => {
                self.fail_current(id, stage, AttemptFailure::GivenUp, delivery);
                self.fail(id, SendErrorKind::Invalid(InvalidMessage::Encoding(error)));
            }
            NotFramed::Panicked => {
                let unique_key = self.ops.get(id).map(|op| op.message.unique_key);
                self.report_panic(Hook::Request, unique_key);
                let failure = AttemptFailure::InterceptorPanicked;
                self.attempt_failed(id, stage, failure, delivery, Next::Final);
            }
        }
    }
}

/// The properties with a mistake, if one is planted.
fn spoilt_properties(properties: &PropertyText, retry: bool) -> Option<String> {
    if planted!(KeyRegenerated) && retry {
        return Some(properties.plain().replace("UNIQ_KEY\u{1}", "UNIQ_KEY\u{1}7"));
    }
    if planted!(PropertiesChangedOnRetry) && retry {
        return Some(properties.plain().replace("WAIT", "retry\u{1}1\u{2}WAIT"));
    }
    if planted!(WaitLost) {
        return Some(properties.plain().replace("WAIT\u{1}", "WAITED\u{1}"));
    }
    None
}
