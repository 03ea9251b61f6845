//! Bytes in, commands out, each to whom it belongs.

use alloc::boxed::Box;

use bytes::{Buf, Bytes, BytesMut};

use super::Client;
use super::outbox::Owner;
use super::requests::Request;
use crate::error::{CloseReason, Stage};
use crate::id::{ConnId, OpId};
use crate::limits::REMARK_LENGTH_MAX;
use crate::output::{Event, EventSet};
use crate::wire::{
    Command, DecodeErrorKind, Encoding, RequestCode, ResponseCode, encode_response, split_frame,
};

impl Client {
    pub(super) fn received(&mut self, conn: ConnId, buf: &mut BytesMut) {
        let now = self.now;
        let Some(session) = self.session(conn).filter(|session| session.ready) else {
            buf.clear();
            return;
        };
        // A read that brought nothing says nothing about the peer.
        if buf.is_empty() {
            return;
        }
        if !planted!(SilentThoughHeard) {
            session.last_received = now;
        }
        session.last_activity = now;
        let mut consumed = 0;
        let violation = loop {
            let rest = buf.get(consumed..).unwrap_or_default();
            match split_frame(rest) {
                Ok(None) => {
                    if planted!(PrefixSplitLost) && rest.len() < 4 {
                        consumed += rest.len();
                    }
                    break None;
                }
                // By reference: a command is too large to be moved for nothing.
                Ok(Some(frame)) => match &Command::decode(frame.encoding, frame.header) {
                    Ok(command) => {
                        consumed += frame.length;
                        self.dispatch(conn, frame.encoding, command, frame.body);
                    }
                    Err(error) => break Some(error.kind()),
                },
                Err(error) => break Some(error.kind()),
            }
        };
        match violation {
            None => buf.advance(consumed),
            Some(kind) => self.cut(conn, kind),
        }
        let Some(session) = self.session(conn) else {
            buf.clear();
            return;
        };
        if planted!(StraddlingByteLost) {
            buf.truncate(buf.len().saturating_sub(1));
        }
        let partial = !buf.is_empty() && !planted!(PartialFrameAgeIgnored);
        if !partial {
            session.partial_since = None;
        } else if consumed > 0 || session.partial_since.is_none() {
            session.partial_since = Some(now);
            self.arm_connection_timer(conn);
        }
        self.close_if_drained(conn);
    }

    /// The peer does not speak the protocol: its bytes cannot be trusted from here on.
    fn cut(&mut self, conn: ConnId, kind: DecodeErrorKind) {
        self.close_session(conn, CloseReason::Protocol(kind), true);
    }

    fn dispatch(&mut self, conn: ConnId, encoding: Encoding, command: &Command<'_>, body: &[u8]) {
        let Some(session) = self.session(conn) else {
            return;
        };
        session.frames += 1;
        if !command.is_response() {
            let served = match RequestCode(command.code) {
                RequestCode::CHECK_TRANSACTION_STATE => self.checked(conn, command, body),
                RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT => {
                    self.replied(conn, encoding, command, body);
                    true
                }
                _ => false,
            };
            if !served {
                self.refuse_request(conn, encoding, command);
            }
            return;
        }
        let code = ResponseCode(command.code);
        let mut request = session.requests.remove(command.opaque);
        if planted!(AnswerOfAnother) && request.is_none() {
            let oldest = session.requests.iter().next();
            request = oldest.and_then(|(opaque, _)| session.requests.remove(opaque));
        }
        match request {
            // Nobody can answer what has not left: believing it would call a message refused that
            // is sent afterwards.
            Some(Request::Send { op, number }) if self.is_unsent_attempt(conn, op, number) => {
                self.close_session(conn, CloseReason::EarlyAnswer, true);
                return;
            }
            Some(Request::Send { op, number }) => {
                if self.has_interceptors() {
                    self.response_hooks(conn, Request::Send { op, number }, command, body);
                }
                self.send_answered(conn, op, number, code, command);
            }
            Some(Request::Control(key)) if self.is_unsent_end(key) => {
                self.close_session(conn, CloseReason::EarlyAnswer, true);
                return;
            }
            Some(Request::Control(key)) => {
                if self.has_interceptors() {
                    self.response_hooks(conn, Request::Control(key), command, body);
                }
                if let Some(control) = self.controls.get_mut(key) {
                    control.opaque = None;
                }
                self.control_answered(key, command, body);
            }
            None => self.stray_answer(conn, command),
        }
        if code != ResponseCode::SUCCESS && self.has_provider() {
            self.credentials_refused(code, command.remark.as_deref().unwrap_or_default());
        }
        if code == ResponseCode::GO_AWAY {
            self.drain(conn);
        }
        let Some(session) = self.session(conn) else {
            return;
        };
        let (draining, held_back) = (session.draining, !session.queue.is_empty());
        if held_back {
            // Frames may have waited for this: the table of requests has room again.
            self.mark_dirty(conn);
        }
        if draining {
            // At once, so that what follows a farewell is dropped no matter whether it was read
            // together with it.
            self.close_if_drained(conn);
        }
    }

    /// Whether the socket has not taken the last byte of an attempt.
    fn is_unsent_attempt(&mut self, conn: ConnId, op: OpId, number: u32) -> bool {
        let entry = self.ops.get(op).filter(|entry| entry.number == number);
        let stage = entry.and_then(|entry| entry.current.as_ref()).map(|current| current.stage);
        if stage == Some(Stage::Await) {
            return false;
        }
        let owner = Owner::Send { op, number };
        self.session(conn).is_some_and(|session| session.outbox.owners().any(|o| o == owner))
    }

    /// An answer for which nobody waits is worth showing: through a proxy it can be the only trace
    /// of why a request timed out.
    pub(super) fn stray_answer(&mut self, conn: ConnId, command: &Command<'_>) {
        let opaque = command.opaque;
        let Some(session) = self.session(conn) else {
            return;
        };
        let known = session.late.iter().position(|late| late.opaque == opaque);
        let late = known.and_then(|index| session.late.remove(index));
        self.event(EventSet::STRAYS, || Event::LateAnswer {
            conn,
            opaque,
            op: late.map(|late| late.op),
            unique_key: late.map(|late| late.unique_key),
            code: command.code,
            remark: remark_of(command),
        });
    }

    /// A producer serves no request but checks of transactions and replies; whoever wants an answer
    /// is told so.
    // Java: NettyRemotingAbstract#processRequestCommand
    fn refuse_request(&mut self, conn: ConnId, encoding: Encoding, command: &Command<'_>) {
        let (code, now) = (command.code, self.now);
        let answered = !command.is_oneway();
        // One that asks without end gets few answers.
        if answered && self.session(conn).is_some_and(|session| session.may_refuse(now)) {
            let said = ResponseCode::REQUEST_CODE_NOT_SUPPORTED;
            let remark = "this client does not serve the request";
            self.answer(conn, encoding, command, said, remark);
        }
        self.event(EventSet::STRAYS, || Event::RequestRefused { conn, code });
    }

    /// Answers a request of the peer, if it wants an answer.
    pub(super) fn answer(
        &mut self,
        conn: ConnId,
        encoding: Encoding,
        command: &Command<'_>,
        code: ResponseCode,
        remark: &str,
    ) {
        let (opaque, unsent_max) = (command.opaque, self.config.unsent_bytes_max);
        let session = self.session(conn).filter(|_| !command.is_oneway());
        // A peer that asks without reading gets no answer, so that it costs no memory.
        if let Some(session) = session.filter(|it| it.outbox.unsent() < unsent_max) {
            let remark = Some(remark).filter(|remark| !remark.is_empty());
            let encode = |out: &mut alloc::vec::Vec<u8>| {
                encode_response(out, encoding, opaque, code, remark, &[], &[])
            };
            // Refused by the encoder only for an opaque that cannot be answered.
            let _ = session.outbox.push(Owner::Answer, &Bytes::new(), encode);
            self.mark_dirty(conn);
        }
    }
}

/// The remark of an answer, cut to what is worth keeping. It is shown in errors, logs and
/// terminals, where a line of its own could pass for another text than the peer's.
pub(super) fn remark_of(command: &Command<'_>) -> Box<str> {
    let remark = command.remark.as_deref().unwrap_or_default();
    let mut end = remark.len().min(REMARK_LENGTH_MAX);
    while !remark.is_char_boundary(end) {
        end -= 1;
    }
    let remark = remark.get(..end).unwrap_or_default();
    if remark.chars().any(is_control) {
        return remark.chars().map(|c| if is_control(c) { ' ' } else { c }).collect();
    }
    remark.into()
}

/// Whether a character moves, hides or turns round what is shown instead of being shown itself.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}
