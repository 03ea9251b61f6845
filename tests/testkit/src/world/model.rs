//! What a send may legally end as, computed from what was seen of it and from nothing else.
//!
//! The rules are written down a second time here, in their own words: from the frames on the wire,
//! the answers, the calls and the clock follow the endings that are legal, and the one that the
//! client reported must be among them. No verdict of the client is asked.
//!
//! A client that is not drained at once reports an end a little after it came about. What happened
//! in between may or may not have been known, so every moment in between is tried.

use std::fmt::Write as _;
use std::time::Duration;

use rocketmq_core::{
    Attempt, AttemptFailure, Delivery, InvalidMessage, SendError, SendErrorKind, Stage,
};

use super::Outcome;
use super::check::{
    AnswerFacts, End, Facts, Found, FrameFacts, Moment, SendFacts, Start, is_denial, is_final,
    is_refusal, share, stems_from,
};
use crate::network::nanos;

/// Longest pause before another attempt.
const BACK_OFF_MAX: u64 = 500_000_000;

#[cfg(test)]
mod tests;

/// What became of one frame by some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its last byte was never handed over, and never will be.
    Cut,
    /// Its first byte is out, the rest may follow.
    Begun,
    /// It is out, and was not answered.
    Unanswered,
    /// The broker refused the message.
    Refused,
    /// The broker said something that leaves it open.
    Unclear,
    /// The broker has it.
    Stored,
}

/// A send at some moment.
struct Story<'a> {
    facts: &'a Facts,
    send: &'a SendFacts,
    end: &'a End,
    /// What is known is what happened until then.
    known: Moment,
}

/// Says why the end of a send is not legal.
pub(super) fn judge(facts: &Facts, index: usize, found: &mut Found) {
    let send = &facts.sends[index];
    let Some(end) = &send.end else { return };
    if facts.clients[send.client].wrong_clock {
        return;
    }
    let mut first = None;
    for known in moments(send, end) {
        let story = Story { facts, send, end, known };
        match story.objection() {
            None => return,
            Some(objection) => first = first.or(Some(objection)),
        }
    }
    if let Some((number, why)) = first {
        let mut text = format!("send #{index} must not end like this: {why}");
        let _ = write!(text, "; it ended as {}", end.outcome.line());
        found.add(number, text);
    }
}

/// The last moments of which the client may have known when it decided: from the latest on.
fn moments(send: &SendFacts, end: &End) -> Vec<Moment> {
    let answers = send.frames.iter().filter_map(|frame| frame.answer.as_ref()).map(|it| it.at);
    let wholes = send.frames.iter().filter_map(|frame| frame.whole);
    let mut moments: Vec<_> = answers.chain(wholes).chain(send.cancelled).collect();
    moments.retain(|at| *at > end.after && *at <= end.at);
    // Just before each of them.
    let before = |at: Moment| Moment { ns: at.ns, seq: at.seq - 1 };
    let mut moments: Vec<_> = moments.into_iter().map(before).collect();
    moments.extend([end.at, end.after]);
    moments.sort_unstable();
    moments.dedup();
    moments.reverse();
    moments
}

type Objection = Option<(u8, String)>;

fn object(number: u8, why: impl Into<String>) -> Objection {
    Some((number, why.into()))
}

impl Story<'_> {
    fn objection(&self) -> Objection {
        match &self.end.outcome {
            Outcome::Stored(receipt) => self.stored(receipt),
            Outcome::Sent(receipt) => self.sent(&receipt.failed_attempts),
            Outcome::Failed(error) => self.failed(error),
            Outcome::Rejected(kind) => self.rejected(kind),
        }
    }

    // ---- What was known ---------------------------------------------------------------------

    fn answer<'a>(&self, frame: &'a FrameFacts) -> Option<&'a AnswerFacts> {
        let heard = frame.answer.as_ref().filter(|answer| answer.at <= self.known);
        heard.filter(|_| !self.send.is_oneway())
    }

    /// Whether an answer came with the end of its connection: what comes behind bytes that break
    /// the protocol is not read.
    fn is_unread(&self, frame: &FrameFacts) -> bool {
        let gone = self.facts.links.get(&frame.link).and_then(|link| link.gone);
        gone.is_some_and(|gone| self.answer(frame).is_some_and(|it| it.at.ns == gone.ns))
    }

    fn is_lost(&self, frame: &FrameFacts) -> bool {
        let link = self.facts.links.get(&frame.link);
        link.is_none_or(|link| link.gone.is_some_and(|gone| gone <= self.known))
    }

    fn fate(&self, frame: &FrameFacts) -> Fate {
        match self.answer(frame) {
            Some(answer) if answer.is_stored() => Fate::Stored,
            Some(answer) if is_refusal(answer) => Fate::Refused,
            Some(_) => Fate::Unclear,
            None if frame.whole.is_some_and(|at| at <= self.known) => Fate::Unanswered,
            None if self.is_lost(frame) => Fate::Cut,
            None => Fate::Begun,
        }
    }

    /// Frames of which something was out by then, with what became of them.
    fn fates(&self) -> Vec<(&FrameFacts, Fate)> {
        let begun = self.send.frames.iter().filter(|frame| frame.begun <= self.end.at);
        begun.map(|frame| (frame, self.fate(frame))).collect()
    }

    /// Attempts that had begun.
    fn starts(&self) -> &[Start] {
        let begun = self.send.starts.partition_point(|start| start.at <= self.end.at);
        &self.send.starts[..begun]
    }

    fn is_cancelled(&self) -> bool {
        self.send.cancelled.is_some_and(|at| at <= self.end.at)
    }

    /// Something was begun on one of the client's connections that was cut too short to be read:
    /// it may have been this message.
    fn has_fragment(&self) -> bool {
        let mut links = self.facts.links.values();
        links.any(|link| {
            link.client == self.send.client
                && link
                    .fragment
                    .is_some_and(|(begun, over)| begun <= self.end.at && over >= self.send.called)
        })
    }

    // ---- Well -------------------------------------------------------------------------------

    fn stored(&self, receipt: &rocketmq_core::SendReceipt) -> Objection {
        if self.send.is_oneway() {
            return object(2, "a oneway message has no receipt");
        }
        let fates = self.fates();
        let told = |(frame, _): &&(&FrameFacts, Fate)| {
            self.answer(frame).is_some_and(|answer| stems_from(receipt, answer))
        };
        if !fates.iter().any(|fate| told(&fate)) {
            return object(12, "no broker said that to this send");
        }
        // Two brokers may say the same.
        let there = |frame: &FrameFacts| {
            let link = self.facts.links.get(&frame.link);
            link.is_none_or(|link| link.address == *receipt.address)
        };
        let Some((frame, _)) = fates.iter().filter(told).find(|(frame, _)| there(frame)) else {
            return object(12, format!("the receipt came from another than {}", receipt.address));
        };
        let started = self.starts().len();
        let Some(attempt) = self.send.attempt_of(frame) else {
            return object(8, "no attempt carried it");
        };
        if *self.send.starts[attempt].broker != *receipt.broker_name {
            return object(12, format!("it was not {} that stored it", receipt.broker_name));
        }
        let weak = self.answer(frame).is_some_and(AnswerFacts::is_weak);
        let better = fates
            .iter()
            .any(|(frame, _)| self.answer(frame).is_some_and(|it| it.is_stored() && !it.is_weak()));
        if weak && better {
            return object(31, "a better receipt was there");
        }
        let failed = receipt.failed_attempts.len();
        // The one that succeeded is no failure.
        if failed + 1 != started {
            return object(4, format!("{failed} failed attempts of {started}"));
        }
        self.attempts(&receipt.failed_attempts, Some(attempt))
    }

    fn sent(&self, failed: &[Attempt]) -> Objection {
        let fates = self.fates();
        if !self.send.is_oneway() {
            return object(2, "it was to be answered");
        }
        if !fates.iter().any(|(_, fate)| *fate == Fate::Unanswered) {
            return object(5, "it was not written");
        }
        if failed.len() + 1 != self.starts().len() {
            return object(4, format!("{} failed attempts", failed.len()));
        }
        self.attempts(failed, None)
    }

    // ---- Not taken in -----------------------------------------------------------------------

    fn rejected(&self, kind: &SendErrorKind) -> Objection {
        let client = &self.facts.clients[self.send.client];
        if !self.send.starts.is_empty() || !self.send.frames.is_empty() {
            return object(5, "it was rejected and sent");
        }
        match kind {
            // Scenarios unregister groups; the swarm does not.
            SendErrorKind::Closed if client.shut.is_some() || self.facts.ungrouped => None,
            SendErrorKind::Backpressure(_) => None,
            _ => object(2, format!("{kind} is no reason to reject it")),
        }
    }

    // ---- Failed -----------------------------------------------------------------------------

    fn failed(&self, error: &SendError) -> Objection {
        let fates = self.fates();
        let stored =
            |(frame, fate): &(&FrameFacts, Fate)| *fate == Fate::Stored && !self.is_unread(frame);
        let stored = fates.iter().any(stored);
        if stored && *error.kind() != SendErrorKind::Cancelled {
            return object(1, "a broker had acknowledged it");
        }
        let begun = self.starts().len();
        if error.attempts().len() != begun {
            let told = error.attempts().len();
            return object(4, format!("{told} attempts, {begun} had begun"));
        }
        self.delivery(error, &fates)
            .or_else(|| self.attempts(error.attempts(), None))
            .or_else(|| self.kind(error))
    }

    /// I-05: neither more nor less than can be proved.
    fn delivery(&self, error: &SendError, fates: &[(&FrameFacts, Fate)]) -> Objection {
        let has = |wanted: &[Fate]| fates.iter().any(|(_, fate)| wanted.contains(fate));
        let unknown = has(&[Fate::Unanswered, Fate::Unclear, Fate::Stored]);
        // What has begun may end as a whole frame, or be cut and prove nothing.
        let maybe = has(&[Fate::Begun]) || self.has_fragment();
        let cut = has(&[Fate::Cut]);
        let refused = has(&[Fate::Refused]);
        let told = error.delivery();
        let sum = error.attempts().iter().map(|attempt| attempt.delivery).max();
        if sum.unwrap_or(Delivery::NotSent) != told {
            return object(5, format!("{told:?} does not follow from its attempts"));
        }
        let legal = match told {
            // An attempt that ran out of time between its first and its last byte was unknown,
            // even if its connection was lost afterwards.
            Delivery::Unknown => unknown || maybe || cut,
            Delivery::Refused => refused && !unknown,
            Delivery::NotSent => !refused && !unknown,
        };
        if legal {
            return None;
        }
        let fates: Vec<_> = fates.iter().map(|(_, fate)| fate).collect();
        object(5, format!("{told:?} is not what follows from {fates:?}"))
    }

    /// What is told of the attempts is what was seen. `but`: the one that is not among them.
    fn attempts(&self, told: &[Attempt], but: Option<usize>) -> Objection {
        let starts = self.starts();
        let numbers = (0..starts.len()).filter(|number| Some(*number) != but);
        for (attempt, number) in told.iter().zip(numbers) {
            let start = &starts[number];
            if *attempt.broker_name != *start.broker || attempt.queue_id != start.queue_id {
                return object(17, format!("attempt {} went elsewhere", number + 1));
            }
            let objection = self.attempt(attempt, number);
            if objection.is_some() {
                return objection;
            }
        }
        None
    }

    fn attempt(&self, told: &Attempt, number: usize) -> Objection {
        let frame = self.send.frame_of(number).filter(|frame| frame.begun <= self.end.at);
        let fate = frame.map(|frame| self.fate(frame));
        let number = number + 1;
        let answer = frame.and_then(|frame| self.answer(frame));
        if let AttemptFailure::Answered { code, .. } = &told.failure {
            let right = answer.is_some_and(|answer| answer.code == code.0);
            if !right {
                return object(12, format!("nobody answered {} to attempt {number}", code.0));
            }
        } else if answer.is_some()
            && told.failure != AttemptFailure::GivenUp
            && !frame.is_some_and(|frame| self.is_unread(frame))
        {
            return object(12, format!("attempt {number} was answered: {}", told.failure));
        }
        let given_up = matches!(told.failure, AttemptFailure::TimedOut | AttemptFailure::GivenUp);
        let legal = match (told.delivery, fate) {
            (Delivery::NotSent, None | Some(Fate::Cut))
            | (Delivery::Refused, Some(Fate::Refused))
            | (
                Delivery::Unknown,
                Some(Fate::Begun | Fate::Unanswered | Fate::Unclear | Fate::Stored),
            ) => true,
            // It was given up between its first and its last byte, and lost afterwards.
            (Delivery::Unknown, Some(Fate::Cut)) => given_up,
            (Delivery::Unknown, None) => given_up && self.has_fragment(),
            _ => false,
        };
        if !legal {
            let told = told.delivery;
            return object(5, format!("attempt {number} is {told:?}, but it was {fate:?}"));
        }
        let whole = frame.is_some_and(|frame| frame.whole.is_some_and(|at| at <= self.known));
        let stage = match told.stage {
            Stage::Answered => answer.is_some(),
            Stage::Await => whole,
            // The rest may have followed.
            Stage::Write => !whole || told.delivery == Delivery::Unknown,
            Stage::Connect | Stage::Select => fate.is_none(),
        };
        (!stage).then(|| (5, format!("attempt {number} was not at {}", told.stage)))
    }

    // ---- Why it failed ----------------------------------------------------------------------

    fn kind(&self, error: &SendError) -> Objection {
        let last = error.attempts().last();
        match error.kind() {
            SendErrorKind::Cancelled => {
                let out = self.fates().iter().any(|(frame, fate)| {
                    let last = self.send.attempt_of(frame) == self.starts().len().checked_sub(1);
                    last && matches!(fate, Fate::Begun | Fate::Unanswered)
                });
                if !self.is_cancelled() {
                    return object(2, "nobody cancelled it");
                }
                out.then(|| (5, "its last attempt was out already".to_owned()))
            }
            SendErrorKind::Closed => match self.facts.clients[self.send.client].shut {
                Some((_, until)) if self.end.at.ns >= until => None,
                Some(_) => object(22, "the time for the close is not over"),
                None => object(22, "nobody closed the client"),
            },
            SendErrorKind::Broker { .. } | SendErrorKind::Transport | SendErrorKind::Timeout
                if error.is_retry_withheld() =>
            {
                self.withheld(last)
            }
            SendErrorKind::Timeout => self.timeout(last),
            SendErrorKind::WaitedForOrder => self.waited(),
            SendErrorKind::NameServerUnreachable => {
                if self.end.at.ns < self.send.deadline_ns {
                    return object(3, "its time was not over");
                }
                last.and_then(|_| object(17, "there was a route"))
            }
            SendErrorKind::Broker { code, .. } | SendErrorKind::Unsuitable { code, .. } => {
                self.refused(code.0, false)
            }
            SendErrorKind::PermissionDenied { code, .. } => self.refused(code.0, true),
            SendErrorKind::Transport => self.transport(last),
            SendErrorKind::TopicNotFound
            | SendErrorKind::NoWritableQueue
            | SendErrorKind::NoSuchQueue(_) => None,
            SendErrorKind::Invalid(InvalidMessage::Forbidden(_))
            | SendErrorKind::InterceptorPanicked => {
                let config = &self.facts.clients[self.send.client].config;
                config.interceptors.is_empty().then(|| (2, "nobody could forbid it".to_owned()))
            }
            other => object(2, format!("{other} is no end of a send")),
        }
    }

    /// A retry may only be withheld after the client has made as many as it has at least, and after
    /// an attempt that has put load on a broker.
    fn withheld(&self, last: Option<&Attempt>) -> Objection {
        let Some(budget) = self.facts.clients[self.send.client].config.retry_budget else {
            return object(10, "its retries have no bound");
        };
        let busy = |failure: &AttemptFailure| match failure {
            AttemptFailure::Answered { code, .. } => matches!(code.0, 2 | 215),
            _ => false,
        };
        if !last.is_some_and(|it| it.delivery == Delivery::Unknown || busy(&it.failure)) {
            return object(10, "its last attempt has put no load on a broker");
        }
        let config = &self.facts.clients[self.send.client].config;
        let burst = budget.burst.unwrap_or(2 * config.in_flight_messages_max) as usize;
        let own = self.facts.sends.iter().filter(|send| send.client == self.send.client);
        let made: usize = own.map(|send| self.retries(send)).sum();
        (made < burst).then(|| (10, format!("only {made} retries were made of {burst}")))
    }

    /// Whether it may have no attempt after one that may have stored it.
    fn ends_with_unknown(&self) -> bool {
        let config = &self.facts.clients[self.send.client].config;
        config.retry_only_if_not_stored || self.send.order.is_some()
    }

    /// Its time was over while another one of its order was open.
    fn waited(&self) -> Objection {
        let own = |other: &&SendFacts| {
            let of = |send: &SendFacts| (send.client, send.order, send.topic.clone());
            of(other) == of(self.send) && other.called < self.send.called
        };
        let open = |other: &SendFacts| other.end.as_ref().is_none_or(|end| end.at >= self.end.at);
        let before = self.facts.sends.iter().filter(own);
        if self.send.order.is_none() || !self.starts().is_empty() {
            return object(11, "it did not wait for its turn");
        }
        if self.end.at.ns < self.send.deadline_ns {
            return object(3, "its time was not over");
        }
        let mut before = before.peekable();
        (before.peek().is_none() || !before.any(open))
            .then(|| (11, "none was open before it".to_owned()))
    }

    /// How often a send had been tried again by now, the attempt included that it may be about to
    /// make.
    fn retries(&self, send: &SendFacts) -> usize {
        let begun = send.starts.partition_point(|start| start.at <= self.end.at);
        let Some(last) = begun.checked_sub(1) else { return 0 };
        let is_open = send.end.as_ref().is_none_or(|end| end.at > self.end.at);
        let answered = send.frame_of(last).is_some_and(|frame| frame.answer.is_some());
        last + usize::from(is_open && answered)
    }

    fn timeout(&self, last: Option<&Attempt>) -> Objection {
        let config = &self.facts.clients[self.send.client].config;
        let least = nanos(config.attempt_timeout_min);
        // Too little is left for another attempt, or nothing at all.
        if self.end.at.ns + least >= self.send.deadline_ns {
            return None;
        }
        let over = last.is_some_and(|last| last.failure == AttemptFailure::TimedOut);
        let unknown = last.is_some_and(|last| last.delivery == Delivery::Unknown);
        let only = self.is_cancelled()
            || (self.ends_with_unknown() && unknown)
            || (self.send.is_oneway() && unknown);
        match self.starts().last() {
            Some(start) if over && only => {
                let due = start.after.ns.max(start.at.ns.saturating_sub(self.facts.slack()));
                let due = due + share(self.send, start, config);
                (self.end.at.ns + self.facts.slack() < due)
                    .then(|| (3, "its last attempt had time left".to_owned()))
            }
            _ => {
                let left = Duration::from_nanos(self.send.deadline_ns - self.end.at.ns);
                object(3, format!("{left:?} of its time were left"))
            }
        }
    }

    fn refused(&self, code: i32, denied: bool) -> Objection {
        let Some(number) = self.starts().len().checked_sub(1) else {
            return object(12, "it was never sent");
        };
        let frame = self.send.frame_of(number);
        let Some(answer) = frame.and_then(|frame| self.answer(frame)) else {
            return object(12, "its last attempt was not answered");
        };
        if answer.code != code {
            return object(12, format!("its last answer was {}", answer.code));
        }
        if is_denial(answer) != denied {
            return object(12, format!("{code} \"{}\" is of another kind", answer.remark));
        }
        let config = &self.facts.clients[self.send.client].config;
        if is_final(answer, &config.retry_codes)
            || (self.ends_with_unknown() && !is_refusal(answer))
        {
            return None;
        }
        // One that has nowhere else to go pauses before it asks the same broker again.
        let own = self.send.has_own_queue;
        let bound = own && (self.send.queue.is_none() || self.send.order.is_some());
        let pauses = matches!(code, 2 | 215) || bound;
        let pause = if pauses { BACK_OFF_MAX } else { 0 };
        self.early(pause)
    }

    fn transport(&self, last: Option<&Attempt>) -> Objection {
        let Some(last) = last else { return object(12, "it had no attempt") };
        let lost = match &last.failure {
            AttemptFailure::Closed(_) => {
                let frame = self.send.frame_of(self.starts().len() - 1);
                frame.is_none_or(|frame| self.is_lost(frame))
            }
            AttemptFailure::Connect(_) | AttemptFailure::NoAddress => true,
            _ => false,
        };
        if !lost {
            return object(12, "its connection was not lost");
        }
        let unknown = last.delivery == Delivery::Unknown;
        let only = (self.ends_with_unknown() && unknown)
            || (self.send.fails_with_broker && last.stage == Stage::Connect)
            // Once its first byte is out, a oneway message is never sent again.
            || (self.send.is_oneway() && last.stage >= Stage::Write);
        if only { None } else { self.early(0) }
    }

    /// I-08, I-10: a send that may go on goes on.
    fn early(&self, pause: u64) -> Objection {
        let config = &self.facts.clients[self.send.client].config;
        let started = self.starts().len() as u32;
        let next = self.end.at.ns + pause + nanos(config.attempt_timeout_min);
        let done = started >= self.send.attempts_max
            || self.is_cancelled()
            || next > self.send.deadline_ns;
        if done {
            return None;
        }
        object(10, format!("it had {started} attempts of {}, and time", self.send.attempts_max))
    }
}
