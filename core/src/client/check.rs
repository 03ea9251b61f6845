//! What brokers ask about transactions: answered from memory where this client knows, else by the
//! application.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;

use super::control::ControlKind;
use super::timers::{TimerId, TimerKey};
use super::transaction::{End, State};
use super::{Client, Life};
use crate::id::{ConnId, GroupId};
use crate::limits;
use crate::namespace;
use crate::output::{Event, EventSet, Output};
use crate::slab::Key;
use crate::time::{Instant, WallTime};
use crate::transaction::{CheckId, CheckOutcome, Decision, TransactionCheck, TransactionState};
use crate::wire::{CheckRequest, Command, StoredMessage, UniqueKey, property};

/// The checks that the application has to answer.
#[derive(Debug, Default)]
pub(super) struct Checks {
    open: BTreeMap<CheckId, OpenCheck>,
    /// Those that wait until it has answered others.
    waiting: VecDeque<CheckId>,
    /// How many it works on.
    asked: usize,
    /// Bytes of the bodies of messages that it was not asked about yet.
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct OpenCheck {
    endpoint: Key,
    /// What is to be answered.
    answer: Option<Box<End>>,
    group: GroupId,
    /// What the application is asked; `None` once it was.
    question: Option<Box<TransactionCheck>>,
    timer: TimerId,
}

impl Checks {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.open.len() < limits::CHECKS_MAX && self.bytes + bytes <= limits::CHECK_BYTES_MAX
    }

    fn is_open(&self, end: &End) -> bool {
        let same = |check: &End| {
            (&check.unique_key_text, &check.broker_name) == (&end.unique_key_text, &end.broker_name)
        };
        self.open.values().filter_map(|check| check.answer.as_deref()).any(same)
    }
}

impl Client {
    /// The application says what has become of the transaction that it was asked about. Answers
    /// that are too late, or to no question, do nothing.
    pub fn answer_check(&mut self, now: Instant, id: CheckId, state: TransactionState) {
        self.advance(now);
        if self.checks.open.get(&id).is_none_or(|check| check.question.is_some()) {
            return;
        }
        let Some(mut check) = self.checks.open.remove(&id) else { return };
        self.timers.cancel(&mut check.timer);
        self.checks.asked -= 1;
        if let Some(mut end) = check.answer {
            end.state = state;
            self.report_check(&end, check.endpoint, CheckOutcome::Answered(state));
            self.remember(&end);
            self.answer_later(check.endpoint, *end);
        }
        self.ask_application();
    }

    /// A broker asks about a transaction. Whether that could be read.
    // Java: ClientRemotingProcessor#checkTransactionState
    pub(super) fn checked(&mut self, conn: ConnId, command: &Command<'_>, body: &[u8]) -> bool {
        let Some(endpoint) = self.session(conn).map(|session| session.endpoint) else {
            return true;
        };
        let Some(request) = CheckRequest::read(command, body) else { return false };
        let group = request.message.property(property::PGROUP).unwrap_or_default();
        let is_it = |known: &Option<Arc<str>>| known.as_deref() == Some(group);
        let index = self.groups.iter().position(is_it);
        let known = index.and_then(|index| Some((index, self.groups.get(index)?.clone()?)));
        let (index, group) = match known {
            Some((index, group)) => (GroupId(index as u32), group),
            None => (GroupId(u32::MAX), group.into()),
        };
        let labels = self.labels_of_stored(&group, &request.message);
        let text: Box<str> = request.message.unique_key().unwrap_or_default().into();
        let end = End {
            unique_key: text.parse().ok(),
            unique_key_text: text,
            transaction_id: request.transaction_id,
            topic: request.topic,
            group,
            broker_name: (*request.broker_name).into(),
            queue_offset: request.queue_offset,
            commit_log_offset: request.commit_log_offset,
            state: TransactionState::Undecided,
            from_check: true,
            caller: None,
            labels,
        };
        let born = request.message.born_time;
        let outcome = match end.unique_key.and_then(|key| self.answer_of(&key, &end, born)) {
            Some(outcome) => outcome,
            None if index.0 == u32::MAX || self.life != Life::Running => CheckOutcome::NotServed,
            None if self.checks.is_open(&end) => return true,
            None if !self.checks.has_room(request.message.body.len()) => CheckOutcome::TooMany,
            None => {
                self.report_check(&end, endpoint, CheckOutcome::Asked);
                self.open_check(endpoint, index, end, request.message);
                return true;
            }
        };
        self.report_check(&end, endpoint, outcome);
        match outcome {
            CheckOutcome::Remembered(decision) => self.answer_now(conn, end, decision.into()),
            CheckOutcome::Leftover => {
                // All others are answered once in a while, or without an answer to wait for.
                let now = self.now;
                if self.session(conn).is_some_and(|session| session.may_refuse(now)) {
                    // It is not the transaction that ends.
                    let key = end.unique_key.filter(|_| planted!(TransactionEndedByLeftover));
                    let end = End { unique_key: key, ..end };
                    self.answer_now(conn, end, TransactionState::Rollback);
                }
            }
            CheckOutcome::UnderWay | CheckOutcome::TooMany => {
                self.answer_now(conn, end, TransactionState::Undecided);
            }
            _ => {}
        }
        true
    }

    /// What this client knows of a transaction, a copy of whose half message was born then; `None`
    /// if nothing.
    fn answer_of(&mut self, key: &UniqueKey, end: &End, born: WallTime) -> Option<CheckOutcome> {
        let (now, settle) = (self.now, self.config.transactions.settle);
        let patience = settle.max(self.config.request_timeout);
        let written = self.is_end_written(key);
        self.transactions.forget_old(now);
        let entry = self.transactions.get_mut(key)?;
        let left_over = entry.is_left_over(born) && !planted!(TransactionLeftoverKept);
        Some(match &mut entry.state {
            State::Preparing { .. } => CheckOutcome::UnderWay,
            _ if left_over => CheckOutcome::Leftover,
            State::Undecided if planted!(TransactionWorkUnseen) => return None,
            State::Undecided => {
                // The broker asks about a copy that it has made of the half message: ending that
                // one ends its questions.
                // Java: TransactionalMessageServiceImpl#putBackHalfMsgQueue
                if let Some(half) = &mut entry.half {
                    half.queue_offset = end.queue_offset;
                    half.commit_log_offset = end.commit_log_offset;
                }
                CheckOutcome::UnderWay
            }
            State::Ending { decision, told } => {
                // An answer that takes longer than any may is not to be waited for: the broker does
                // not ask for ever.
                if now.saturating_since(*told) < patience || !written {
                    CheckOutcome::Settled
                } else {
                    *told = now;
                    CheckOutcome::Remembered(*decision)
                }
            }
            State::Decided { decision, acknowledged, told } => {
                let just_told = now.saturating_since(*told) < settle;
                let just_told = just_told && !planted!(TransactionNotSettled);
                let final_word = *acknowledged && !planted!(TransactionAcknowledgedTold);
                if just_told || (final_word && *decision == Decision::Commit) {
                    CheckOutcome::Settled
                } else {
                    *told = now;
                    CheckOutcome::Remembered(*decision)
                }
            }
        })
    }

    // ---- The application --------------------------------------------------------------------

    fn open_check(&mut self, endpoint: Key, group: GroupId, end: End, mut message: StoredMessage) {
        let id = CheckId(self.checks.next);
        self.checks.next += 1;
        message.topic = namespace::unwrap(&self.config.namespace, &message.topic).into();
        let address = self.endpoints.get(endpoint).map(|it| Arc::clone(&it.text));
        let question = TransactionCheck {
            address: address.unwrap_or_default(),
            transaction_id: end.unique_key_text.clone(),
            message,
        };
        let deadline = self.now + self.config.transactions.check_timeout;
        let timer = self.timers.schedule(deadline, TimerKey::Check(id));
        self.checks.bytes += question.message.body.len();
        let (answer, question) = (Some(Box::new(end)), Some(Box::new(question)));
        self.checks.open.insert(id, OpenCheck { endpoint, answer, group, question, timer });
        self.checks.waiting.push_back(id);
        self.ask_application();
    }

    /// Hands out the questions that are next.
    fn ask_application(&mut self) {
        while self.checks.asked < limits::CHECKS_ASKED_MAX
            && let Some(id) = self.checks.waiting.pop_front()
        {
            let deadline = self.now + self.config.transactions.check_timeout;
            let Some(open) = self.checks.open.get_mut(&id) else { continue };
            let Some(check) = open.question.take() else { continue };
            self.checks.bytes -= check.message.body.len();
            self.timers.cancel(&mut open.timer);
            let group = open.group;
            let asks = open.answer.as_deref().map(|end| &end.group);
            let registered = self.groups.get(group.0 as usize).and_then(Option::as_ref);
            if asks.is_none() || asks != registered {
                // Its producers have gone, and perhaps others have come in their place.
                let gone = self.checks.open.remove(&id);
                if let Some((end, endpoint)) = gone.and_then(|it| Some((it.answer?, it.endpoint))) {
                    self.report_check(&end, endpoint, CheckOutcome::NotServed);
                }
                continue;
            }
            // Its time begins with the question.
            open.timer = self.timers.schedule(deadline, TimerKey::Check(id));
            self.checks.asked += 1;
            self.outputs.push_back(Output::CheckTransaction { id, group, check });
        }
    }

    /// The time of a check is over: that to wait for its turn, or that to answer it.
    pub(super) fn check_timeout(&mut self, id: CheckId) {
        let Some(check) = self.checks.open.remove(&id) else { return };
        match &check.question {
            Some(question) => {
                self.checks.bytes -= question.message.body.len();
                self.checks.waiting.retain(|waiting| *waiting != id);
            }
            None => {
                self.checks.asked -= 1;
                self.outputs.push_back(Output::AbandonCheck { id });
            }
        }
        if let Some(end) = check.answer {
            self.report_check(&end, check.endpoint, CheckOutcome::Late);
            self.answer_later(check.endpoint, *end);
        }
        self.ask_application();
    }

    /// The client closes: nobody is asked any more.
    pub(super) fn end_checks(&mut self) {
        for (_, mut check) in core::mem::take(&mut self.checks).open {
            self.timers.cancel(&mut check.timer);
        }
    }

    // ---- The answer -------------------------------------------------------------------------

    /// Answers on the connection that the question came from.
    fn answer_now(&mut self, conn: ConnId, end: End, state: TransactionState) {
        let unsent_max = self.config.unsent_bytes_max;
        let Some(session) = self.session(conn) else { return };
        let endpoint = session.endpoint;
        // Brokers ask again. One that asks without reading or answering costs no memory.
        if session.outbox.unsent() >= unsent_max || session.queue.len() >= limits::CHECKS_MAX {
            return;
        }
        let end = End { state, ..end };
        self.trace_end(&end, endpoint);
        let kind = ControlKind::EndTransaction(Arc::new(end));
        self.start_control_first(conn, kind, self.config.request_timeout);
    }

    /// Answers at the address that the question came from.
    fn answer_later(&mut self, endpoint: Key, end: End) {
        self.trace_end(&end, endpoint);
        let kind = ControlKind::EndTransaction(Arc::new(end));
        self.start_control(endpoint, kind, self.config.request_timeout);
    }

    fn report_check(&mut self, end: &End, endpoint: Key, outcome: CheckOutcome) {
        let address = self.endpoints.get(endpoint).map(|it| Arc::clone(&it.text));
        self.event(EventSet::TRANSACTIONS, || Event::TransactionChecked {
            producer_group: end.group.to_string().into(),
            transaction_id: end.unique_key_text.clone(),
            address: address.unwrap_or_default(),
            outcome,
        });
    }
}
