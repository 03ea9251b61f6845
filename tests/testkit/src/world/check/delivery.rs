//! I-01, I-05, I-06, I-12: what is said about a message is true.

use std::collections::BTreeMap;

use rocketmq_core::{Delivery, SendReceipt};

use super::facts::{AnswerFacts, Facts, SendFacts};
use super::{Found, Logs};
use crate::world::Outcome;

/// Codes of the ways in which a message is stored.
fn code_of(receipt: &SendReceipt) -> i32 {
    use rocketmq_core::wire::SendStatus;
    match receipt.status {
        SendStatus::SendOk => 0,
        SendStatus::FlushDiskTimeout => 10,
        SendStatus::SlaveNotAvailable => 11,
        SendStatus::FlushSlaveTimeout => 12,
    }
}

/// Whether a receipt says what the answer says.
pub(crate) fn stems_from(receipt: &SendReceipt, answer: &AnswerFacts) -> bool {
    let position = receipt.position.map(|p| (p.queue_id, p.queue_offset));
    answer.code == code_of(receipt) && answer.position == position
}

/// I-01, I-12, I-31: the receipt of a send that has just ended.
pub(super) fn receipt_holds(facts: &Facts, send: usize, logs: &dyn Logs, found: &mut Found) {
    let known = &facts.sends[send];
    let Some(Outcome::Stored(receipt)) = known.end.as_ref().map(|end| &end.outcome) else { return };
    let mut answers = known.frames.iter().filter_map(|frame| frame.answer.as_ref());
    if !answers.any(|answer| answer.is_stored() && stems_from(receipt, answer)) {
        let weak = known.frames.iter().filter_map(|frame| frame.answer.as_ref());
        let number = if weak.into_iter().any(AnswerFacts::is_stored) { 31 } else { 12 };
        found.add(number, format!("nobody told the sender of #{send} what its receipt says"));
    }
    is_held(facts, send, receipt, logs, found);
}

/// I-01: what a receipt says is in the log.
fn is_held(facts: &Facts, send: usize, receipt: &SendReceipt, logs: &dyn Logs, found: &mut Found) {
    let known = &facts.sends[send];
    if receipt.unique_key.to_string() != known.unique_key {
        found.add(1, format!("the receipt of send #{send} is about another message"));
    }
    if facts.relaxed.lies || facts.relaxed.loss {
        return;
    }
    let position = receipt.position.map(|p| (p.queue_id, p.queue_offset));
    let (broker, topic) = (&*receipt.broker_name, &known.topic);
    if !logs.holds(broker, topic, &known.unique_key, position) {
        let text = format!("send #{send} is acknowledged at {broker} {position:?}, but not there");
        found.add(1, text);
    }
}

/// The end of all time: what is stored now is the truth.
pub(super) fn finish(facts: &Facts, over: bool, logs: &dyn Logs, found: &mut Found) {
    let mut copies = logs.copies();
    for (send, known) in facts.sends.iter().enumerate() {
        let count = copies.remove(&known.unique_key).unwrap_or(0);
        if over {
            truth(facts, send, known, count, logs, found);
        }
    }
    strangers(facts, &copies, found);
}

fn strangers(facts: &Facts, copies: &BTreeMap<String, usize>, found: &mut Found) {
    if !copies.is_empty() && !facts.relaxed.lies {
        found.add(7, format!("a broker holds messages that nobody sent: {copies:?}"));
    }
}

fn truth(
    facts: &Facts,
    send: usize,
    known: &SendFacts,
    copies: usize,
    logs: &dyn Logs,
    found: &mut Found,
) {
    let whole = known.whole_frames();
    if copies > whole {
        found.add(6, format!("{copies} copies of send #{send}, {whole} frames written"));
    }
    let Some(end) = &known.end else { return };
    match &end.outcome {
        Outcome::Stored(receipt) => is_held(facts, send, receipt, logs, found),
        Outcome::Sent(_) if whole == 0 => {
            found.add(5, format!("oneway send #{send} was sent, they say; it was not"));
        }
        outcome => match outcome.delivery() {
            Some(Delivery::NotSent) if copies > 0 || whole > 0 => {
                found.add(5, format!("send #{send} is NotSent: {copies} copies, {whole} frames"));
            }
            Some(Delivery::Refused) if copies > 0 && !facts.relaxed.lies => {
                found.add(5, format!("send #{send} is Refused, yet it is stored"));
            }
            _ => {}
        },
    }
}
