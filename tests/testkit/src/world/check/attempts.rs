//! I-04: not too many attempts. I-07: each carries the same message. I-08: none that is not legal.
//! I-31: weak acknowledgements are bettered only if that is wanted.

use std::time::Duration;

use rocketmq_core::{Config, Event, EventSet};

use super::facts::{AnswerFacts, Facts, FrameFacts, SendFacts, Start};
use super::{Found, Observer, Seen};
use crate::network::nanos;
use crate::wire::parse_properties;
use crate::world::WireFrame;

#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Properties of the first frame of each send.
    properties: Vec<Option<String>>,
}

impl Observer for Attempts {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Frame { frame } if frame.is_send() => self.frame(facts, frame, found),
            Seen::Event { client, event: Event::AttemptStarted { op, number, .. } } => {
                match facts.by_op(*client, *op) {
                    Some(send) => started(facts, send, *number, found),
                    None => found.add(8, format!("an attempt of {op}, which never began")),
                }
            }
            _ => {}
        }
    }
}

impl Attempts {
    fn frame(&mut self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let Some(send) = facts.send_of(frame) else {
            return found.add(7, "a frame carries a message that nobody sent");
        };
        let known = &facts.sends[send];
        let most = if known.is_oneway() { 1 } else { known.attempts_max as usize };
        if known.frames.len() > most {
            let count = known.frames.len();
            found.add(4, format!("send #{send} was on the wire {count} times, not {most}"));
        }
        if known.end.as_ref().is_some_and(|end| frame.first_ns > end.at.ns) {
            found.add(8, format!("an attempt of send #{send} went out after its end"));
        }
        if known.client != frame.client {
            found.add(7, format!("client {} sends #{send}, which is another's", frame.client));
        }
        let announced = facts.clients[known.client].config.events;
        if announced.contains(EventSet::ATTEMPT_STARTS) {
            let mine = |f: &&FrameFacts| (f.link, f.opaque) == (frame.link, frame.command.opaque);
            let filed = known.frames.iter().find(mine);
            if known.frames.len() > known.starts.len()
                || filed.is_none_or(|filed| known.attempt_of(filed).is_none())
            {
                found.add(8, format!("send #{send} went out without an attempt to that queue"));
            }
        }
        self.same(send, known, frame, found);
    }

    fn same(&mut self, send: usize, known: &SendFacts, frame: &WireFrame, found: &mut Found) {
        if self.properties.len() <= send {
            self.properties.resize(send + 1, None);
        }
        match &self.properties[send] {
            Some(first) if first != frame.properties() => {
                found.add(7, format!("send #{send} changed its properties"));
            }
            Some(_) => {}
            None => {
                let number = parse_properties(frame.properties()).remove("number");
                if number.is_none_or(|number| number != send.to_string()) {
                    found.add(7, format!("send #{send} lost a property"));
                }
                self.properties[send] = Some(frame.properties().to_owned());
            }
        }
        let whole = frame.written_ns.is_some();
        let body = &frame.command.body;
        let same = if whole { *body == known.body } else { known.body.starts_with(body) };
        if !same || frame.topic() != known.topic {
            found.add(7, format!("an attempt of send #{send} is altered"));
        }
        if frame.command.is_oneway() != known.is_oneway() {
            found.add(7, format!("an attempt of send #{send} is of another kind"));
        }
    }
}

/// Whether a send may begin the attempt that it just announced.
fn started(facts: &Facts, send: usize, number: u32, found: &mut Found) {
    let known = &facts.sends[send];
    let Some((start, before)) = known.starts.split_last() else { return };
    if number as usize != known.starts.len() {
        found.add(2, format!("attempt {number} of send #{send} follows {}", before.len()));
    }
    if number > known.attempts_max {
        found.add(4, format!("send #{send} began attempt {number} of {}", known.attempts_max));
    }
    if known.end.as_ref().is_some_and(|end| end.at <= facts.settled) {
        found.add(8, format!("an attempt of send #{send} began after its end"));
    }
    if known.cancelled.is_some_and(|at| at <= start.after) {
        found.add(8, format!("an attempt of send #{send} began after it was cancelled"));
    }
    if let Some((name, queue_id)) = &known.queue
        // The broker of a static topic's queue is whoever has it.
        && !(name.starts_with("__syslo__") && *queue_id == start.queue_id)
        && (*name != start.broker || *queue_id != start.queue_id)
    {
        let (broker, queue) = (&start.broker, start.queue_id);
        found.add(17, format!("send #{send} goes to {broker} {queue}, not to its own queue"));
    }
    let config = &facts.clients[known.client].config;
    for frame in &known.frames {
        let attempt = known.attempt_of(frame);
        let last = attempt.is_some_and(|attempt| attempt + 1 == before.len());
        let answer = frame.answer.as_ref().filter(|answer| answer.at <= start.after);
        if let Some(answer) = answer.filter(|_| !known.is_oneway()) {
            settled(config, known, send, (answer, last), found);
        }
    }
    if let Some(previous) = before.last() {
        predecessor(facts, send, previous, start, found);
    }
}

/// I-08: an answer that settles the matter was there before the attempt began.
fn settled(
    config: &Config,
    known: &SendFacts,
    send: usize,
    (answer, last): (&AnswerFacts, bool),
    found: &mut Found,
) {
    let code = answer.code;
    if answer.is_stored() {
        let weak = known.frames.iter().filter_map(|frame| frame.answer.as_ref());
        let first = weak.filter(|answer| answer.is_weak()).count() == 1;
        let wanted = config.retry_weak_acknowledgement && !config.retry_only_if_not_stored;
        let again = wanted && last && first && answer.position.is_some() && !known.has_own_queue;
        if !answer.is_weak() {
            found.add(8, format!("send #{send} went on after it was stored"));
        } else if !again {
            found.add(31, format!("send #{send} went on after the answer {code}"));
        }
    } else if last && is_final(answer, &config.retry_codes) {
        found.add(8, format!("send #{send} went on after the answer {code}"));
    } else if last && config.retry_only_if_not_stored && !is_refusal(answer) {
        found.add(8, format!("send #{send} went on although {code} leaves open what became of it"));
    }
}

/// I-08: the previous attempt is over: answered, lost, or out of time.
fn predecessor(facts: &Facts, send: usize, previous: &Start, start: &Start, found: &mut Found) {
    let known = &facts.sends[send];
    let Some(frame) = known.frame_of(known.starts.len() - 2) else { return };
    let config = &facts.clients[known.client].config;
    let lost = facts.links.get(&frame.link).is_none_or(|link| link.gone.is_some());
    if frame.whole.is_none() || frame.answer.is_some() || known.is_oneway() {
        return;
    }
    if config.retry_only_if_not_stored && frame.whole.is_some_and(|at| at <= start.after) {
        found.add(8, format!("send #{send} went on although it may have been stored"));
    }
    let early = if facts.vague { facts.slack() } else { 0 };
    let began = previous.after.ns.max(previous.at.ns.saturating_sub(early));
    let elapsed = start.at.ns.saturating_sub(began);
    if !lost && elapsed < share(known, previous, config).saturating_sub(early) {
        let elapsed = Duration::from_nanos(elapsed);
        found.add(8, format!("send #{send} gave up an attempt after {elapsed:?}, without reason"));
    }
}

/// The share of an attempt in the time that was left when it began.
pub(crate) fn share(known: &SendFacts, start: &Start, config: &Config) -> u64 {
    let left = known.deadline_ns.saturating_sub(start.at.ns);
    let attempts = u64::from(known.attempts_max.saturating_sub(start.number - 1).max(1));
    (left / attempts).max(nanos(config.attempt_timeout_min)).min(left)
}

/// The broker refused the message for sure.
pub(crate) fn is_refusal(answer: &AnswerFacts) -> bool {
    match answer.code {
        2 | 3 | 13 | 14 | 15 | 16 | 17 | 26 | 29 | 204 | 205 | 215 | 501 | 1500 => true,
        1 => answer.remark.starts_with("org.apache.rocketmq.acl") || lacks_timer(&answer.remark),
        _ => false,
    }
}

/// The broker takes no message for later.
pub(crate) fn lacks_timer(remark: &str) -> bool {
    remark.starts_with("accurate timer message is not enabled")
}

/// The broker refused the client rather than the message.
pub(crate) fn is_denial(answer: &AnswerFacts) -> bool {
    let remark = &answer.remark;
    match answer.code {
        1 => remark.starts_with("org.apache.rocketmq.acl"),
        16 => {
            remark.contains("username cannot be null")
                || remark.contains("check signature failed")
                || remark.contains("has no permission to access")
                || (remark.contains("User:")
                    && ["not found", "is disabled"].iter().any(|end| remark.contains(end)))
        }
        _ => false,
    }
}

/// After this answer to the attempt under way there is no other attempt.
pub(crate) fn is_final(answer: &AnswerFacts, retry_codes: &[i32]) -> bool {
    match answer.code {
        3 | 13 | 15 | 26 | 29 => true,
        1 | 2 | 14 | 16 | 17 | 204 | 205 | 215 | 501 | 1500 => is_denial(answer),
        other => !retry_codes.contains(&other),
    }
}
