//! Transactions from the half message to the end: what is under way, what was decided, and what a
//! broker has acknowledged.
//!
//! A decision leaves once. Every commit that arrives delivers one more copy, so one whose fate is
//! unknown is not sent again: the broker asks in the end, and is answered from memory.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::control::{Control, ControlKind};
use super::outbox::{Owner, TakenBack};
use super::tracing::Labels;
use super::verdict::{AttemptVerdict, verdict};
use super::{Client, Life};
use crate::address::Address;
use crate::error::{Attempt, AttemptFailure, CloseReason, Delivery};
use crate::limits;
use crate::output::Output;
use crate::prepared::PreparedMessage;
use crate::receipt::SendReceipt;
use crate::slab::Key;
use crate::time::{Instant, WallTime};
use crate::transaction::{Decision, TransactionError, TransactionErrorKind, TransactionState};
use crate::wire::{EndTransaction, ResponseCode, UniqueKey};

/// A transaction that is under way or remembered.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) group: Arc<str>,
    /// Its topic as servers know it.
    topic: Arc<str>,
    /// Where the broker has the half message: its last word on that.
    pub(super) half: Option<Half>,
    /// Attempts at sending the half message, and when their copies were born; once it is stored,
    /// all but the one that counts. By that time copies are told apart, wherever they are.
    others: Vec<(u32, WallTime)>,
    pub(super) state: State,
    /// What is recorded of its message, if anything is.
    labels: Option<Box<Labels>>,
}

/// Where a half message is.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub(super) broker_name: Arc<str>,
    /// The address that stored it.
    address: Arc<str>,
    pub(super) queue_offset: i64,
    pub(super) commit_log_offset: i64,
}

impl Transaction {
    /// Whether a copy of the half message, born then, is not the one that counts.
    pub(super) fn is_left_over(&self, born: WallTime) -> bool {
        self.half.is_some() && self.others.iter().any(|(_, other)| *other == born)
    }

    /// The attempt with this number has stored the half message.
    fn keep(&mut self, number: u32, half: Option<Half>) {
        self.half = half;
        self.others.retain(|(other, _)| *other != number);
        self.others.shrink_to_fit();
    }
}

impl Half {
    /// Of a half message whose place nobody knows.
    fn nowhere() -> Half {
        let (broker_name, address) = (Arc::default(), Arc::default());
        Half { broker_name, address, queue_offset: 0, commit_log_offset: 0 }
    }
}

/// How far a transaction is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// The half message is being sent. `abandoned`: nobody wants it any more.
    Preparing { abandoned: bool },
    /// The local work is under way.
    Undecided,
    /// The decision is on its way since `told`.
    Ending { decision: Decision, told: Instant },
    /// Decided, and told to the broker at some time.
    Decided { decision: Decision, acknowledged: bool, told: Instant },
}

/// One message to a broker about a transaction.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct End {
    pub(super) unique_key: Option<UniqueKey>,
    pub(super) unique_key_text: Box<str>,
    pub(super) transaction_id: Box<str>,
    pub(super) topic: Box<str>,
    pub(super) group: Arc<str>,
    pub(super) broker_name: Arc<str>,
    pub(super) queue_offset: i64,
    pub(super) commit_log_offset: i64,
    pub(super) state: TransactionState,
    pub(super) from_check: bool,
    /// Who waits for the answer; `None` if nobody does.
    pub(super) caller: Option<Caller>,
    /// What is recorded of the message, if anything is.
    pub(super) labels: Option<Box<Labels>>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Caller {
    started: Instant,
    deadline: Instant,
    tries: u32,
}

impl End {
    pub(super) fn on_wire(&self) -> EndTransaction<'_> {
        EndTransaction {
            topic: &self.topic,
            producer_group: &self.group,
            queue_offset: self.queue_offset,
            commit_log_offset: self.commit_log_offset,
            state: self.state,
            from_check: self.from_check,
            unique_key: &self.unique_key_text,
            transaction_id: &self.transaction_id,
            broker_name: &self.broker_name,
        }
    }

    /// Whether brokers do not answer it.
    pub(super) fn is_oneway(&self) -> bool {
        self.state == TransactionState::Undecided
    }
}

/// The transactions of a client.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    entries: BTreeMap<UniqueKey, Transaction>,
    /// Those that are not decided, or whose caller waits.
    live: usize,
    /// When each decision is forgotten, in that order.
    decided: VecDeque<(Instant, UniqueKey)>,
    /// Those that make room for others, the first one first: acknowledged ones, and those that the
    /// application can be asked about as well.
    spare: VecDeque<UniqueKey>,
}

impl Transactions {
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn remembered(&self) -> usize {
        self.entries.len() - self.live
    }

    pub(super) fn get_mut(&mut self, key: &UniqueKey) -> Option<&mut Transaction> {
        self.entries.get_mut(key)
    }

    fn state(&self, key: &UniqueKey) -> Option<State> {
        self.entries.get(key).map(|entry| entry.state)
    }

    /// A half message is about to leave for the attempt with this number, at `now` by the wall
    /// clock: when it is born. No two copies are at once.
    // Java: TransactionalMessageBridge#renewHalfMessageInner, which keeps the time
    #[cold]
    pub(super) fn birth(&mut self, key: &UniqueKey, number: u32, now: WallTime) -> WallTime {
        let Some(entry) = self.entries.get_mut(key) else { return now };
        let after = |(_, last): &(u32, WallTime)| last.as_millis().saturating_add(1);
        let earliest = entry.others.last().map_or(i64::MIN, after);
        let born = WallTime::from_millis(now.as_millis().max(earliest));
        entry.others.push((number, born));
        born
    }

    /// Forgets what is out of date, and as much of what is acknowledged as it takes to have room
    /// for one more. Whether there is.
    fn make_room(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        while self.entries.len() >= limits::TRANSACTIONS_MAX {
            match self.spare.pop_front() {
                Some(key) => self.forget_decided(&key),
                None => return false,
            }
        }
        // Names of what was forgotten early must not pile up.
        let names_max = 2 * limits::TRANSACTIONS_MAX;
        let entries = &self.entries;
        if self.decided.len() > names_max {
            self.decided.retain(|(_, key)| entries.contains_key(key));
        }
        if self.spare.len() > names_max {
            self.spare.retain(|key| entries.contains_key(key));
        }
        true
    }

    /// Forgets what is out of date.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while let Some((at, key)) = self.decided.front().copied()
            && at <= now
        {
            self.decided.pop_front();
            self.forget_decided(&key);
        }
    }

    /// Lets a decision make room for others.
    fn spare(&mut self, key: UniqueKey) {
        self.spare.push_back(key);
    }

    fn forget_decided(&mut self, key: &UniqueKey) {
        if matches!(self.state(key), Some(State::Decided { .. })) {
            self.entries.remove(key);
        }
    }

    /// Notes a decision that the broker has not acknowledged, and remembers it until `forgotten`.
    fn decide(&mut self, key: UniqueKey, decision: Decision, now: Instant, forgotten: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        // What is decided stays decided.
        if let State::Decided { told, .. } = &mut entry.state {
            *told = now;
            return;
        }
        self.live -= usize::from(!planted!(TransactionStaysLive));
        self.decided.push_back((forgotten, key));
        entry.state = State::Decided { decision, acknowledged: false, told: now };
        // What is told later, questions name. A group that has gone must not be held for so long.
        entry.group = Arc::default();
        entry.labels = None;
    }

    /// A broker has acknowledged a decision, if it is the one that was made.
    fn acknowledge(
        &mut self,
        key: UniqueKey,
        decision: Decision,
        now: Instant,
        forgotten: Instant,
    ) {
        let is_it = |made: Decision| made == decision || planted!(TransactionEndedByLeftover);
        let ending = |state| matches!(state, State::Ending { decision: made, .. } if is_it(made));
        if self.state(&key).is_some_and(ending) {
            // Told when the broker asked, while the first word is still waited for.
            self.decide(key, decision, now, forgotten);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let State::Decided { acknowledged, decision: made, .. } = &mut entry.state
            && is_it(*made)
            && !*acknowledged
        {
            *acknowledged = true;
            self.spare.push_back(key);
        }
    }

    fn remove_live(&mut self, key: &UniqueKey) {
        if self.entries.remove(key).is_some() {
            self.live -= 1;
        }
    }
}

impl Client {
    // ---- What the application wants ---------------------------------------------------------

    /// Ends a transaction, whose half message is stored: [`PreparedMessage::half`] has been
    /// acknowledged. The end is reported as [`Output::TransactionEnded`], at `deadline` at the
    /// latest.
    ///
    /// [`PreparedMessage::half`]: crate::PreparedMessage::half
    pub fn end_transaction(
        &mut self,
        now: Instant,
        unique_key: UniqueKey,
        decision: Decision,
        deadline: Instant,
    ) {
        self.advance(now);
        let kind = match self.transactions.state(&unique_key) {
            _ if matches!(self.life, Life::Unregistering | Life::Closed) => {
                TransactionErrorKind::Closed
            }
            Some(State::Undecided) => {
                let caller = Caller { started: self.now, deadline, tries: 0 };
                return self.tell_home(unique_key, decision, Some(caller));
            }
            _ => TransactionErrorKind::NotUnderWay,
        };
        let result = Err(TransactionError::new(decision, unique_key, kind, Delivery::NotSent));
        self.outputs.push_back(Output::TransactionEnded { unique_key, result });
    }

    /// Nobody is interested in a transaction whose half message was to be sent: it is rolled back,
    /// as soon as it is stored if it is not yet.
    pub fn abandon_transaction(&mut self, now: Instant, unique_key: UniqueKey) {
        self.advance(now);
        match self.transactions.get_mut(&unique_key).map(|entry| &mut entry.state) {
            Some(State::Preparing { abandoned }) => *abandoned = true,
            Some(State::Undecided) => {
                self.roll_back(unique_key);
                self.check_drained();
            }
            _ => {}
        }
    }

    /// The application does not decide about a transaction here: whatever its broker asks about it
    /// from now on, the application is asked, in this process or another one of the group.
    pub fn forget_transaction(&mut self, now: Instant, unique_key: UniqueKey) {
        self.advance(now);
        if self.transactions.state(&unique_key) == Some(State::Undecided) {
            self.transactions.remove_live(&unique_key);
            self.check_drained();
        }
    }

    // ---- The half message -------------------------------------------------------------------

    /// A half message is about to be sent. Whether there is room for its transaction.
    #[inline(never)]
    pub(super) fn begin_transaction(
        &mut self,
        message: &PreparedMessage,
        group: &Arc<str>,
        topic: Key,
    ) -> bool {
        let key = message.unique_key;
        let wire = self.topics.get(topic).map(|topic| Arc::clone(&topic.wire));
        if !self.transactions.make_room(self.now) {
            return false;
        }
        let entry = Transaction {
            group: Arc::clone(group),
            topic: wire.unwrap_or_default(),
            half: None,
            others: Vec::new(),
            state: State::Preparing { abandoned: false },
            labels: self.labels(group, message),
        };
        match self.transactions.state(&key) {
            None | Some(State::Decided { .. }) => {
                self.transactions.entries.insert(key, entry);
                self.transactions.live += 1;
                true
            }
            // Two at once would be one to the broker's questions.
            Some(_) => false,
        }
    }

    /// A half message is stored, and its place known. `wanted`: somebody waits for that.
    pub(super) fn half_stored(&mut self, receipt: &SendReceipt, number: u32, wanted: bool) {
        let key = receipt.unique_key;
        let half = half_of(receipt);
        let Some(entry) = self.transactions.get_mut(&key) else { return };
        let State::Preparing { abandoned } = entry.state else { return };
        debug_assert!(half.is_some(), "the caller has looked");
        entry.keep(number, half);
        entry.state = State::Undecided;
        if abandoned || !wanted {
            self.roll_back(key);
        }
    }

    /// A half message was acknowledged in a way on which nothing can be built. If its place is
    /// known it is rolled back there.
    pub(super) fn half_unusable(&mut self, receipt: &SendReceipt, number: u32) {
        let half = half_of(receipt);
        let Some(entry) = self.transactions.get_mut(&receipt.unique_key) else { return };
        if matches!(entry.state, State::Preparing { .. }) {
            entry.keep(number, half);
            self.roll_back(receipt.unique_key);
        }
    }

    /// The send of a half message has ended, and nobody knows of one that is stored. If there may
    /// be one all the same, it is rolled back when its broker asks.
    pub(super) fn half_ended(&mut self, key: UniqueKey, failed: &[Attempt]) {
        let Some(entry) = self.transactions.get_mut(&key) else { return };
        if !matches!(entry.state, State::Preparing { .. }) {
            return;
        }
        let unknown = failed.iter().any(|attempt| attempt.delivery == Delivery::Unknown);
        if !unknown || planted!(TransactionFailureForgotten) {
            self.transactions.remove_live(&key);
        } else {
            self.decide(key, Decision::Rollback);
            // If nothing was stored, nobody will ever ask.
            self.transactions.spare(key);
        }
    }

    fn decide(&mut self, key: UniqueKey, decision: Decision) {
        let forgotten = self.now + self.config.transactions.memory;
        self.transactions.decide(key, decision, self.now, forgotten);
    }

    /// Remembers what the application has said about a transaction of unknown origin, so that it
    /// is not asked again. Without room it is.
    pub(super) fn remember(&mut self, end: &End) {
        let (Some(key), Some(decision)) = (end.unique_key, end.state.decision()) else { return };
        if !self.transactions.make_room(self.now) || self.transactions.state(&key).is_some() {
            return;
        }
        let entry = Transaction {
            group: Arc::clone(&end.group),
            topic: Arc::default(),
            half: None,
            others: Vec::new(),
            state: State::Undecided,
            labels: None,
        };
        self.transactions.entries.insert(key, entry);
        self.transactions.live += 1;
        self.decide(key, decision);
        self.transactions.spare(key);
    }

    // ---- To the broker ----------------------------------------------------------------------

    /// Rolls a transaction back that nobody waits for.
    fn roll_back(&mut self, key: UniqueKey) {
        self.tell_home(key, Decision::Rollback, None);
    }

    /// Tells the broker that has the half message how the transaction ends.
    fn tell_home(&mut self, key: UniqueKey, decision: Decision, caller: Option<Caller>) {
        let now = self.now;
        let awaited = caller.is_some();
        let Some(entry) = self.transactions.get_mut(&key) else { return };
        // Without its place it can be ended when the broker asks, and not before.
        let half = entry.half.clone();
        if awaited {
            entry.state = State::Ending { decision, told: now };
        }
        let home = half.clone().unwrap_or_else(Half::nowhere);
        let text: Box<str> = key.to_string().into();
        let end = End {
            unique_key: Some(key),
            transaction_id: text.clone(),
            unique_key_text: text,
            topic: (*entry.topic).into(),
            group: Arc::clone(&entry.group),
            broker_name: Arc::clone(&home.broker_name),
            queue_offset: home.queue_offset,
            commit_log_offset: home.commit_log_offset,
            state: match decision {
                Decision::Rollback if planted!(TransactionTurnedRound) => TransactionState::Commit,
                decision => decision.into(),
            },
            from_check: false,
            caller,
            // Told once, and not needed afterwards: checks bring their own.
            labels: entry.labels.take(),
        };
        if !awaited {
            self.decide(key, decision);
        }
        let timeout = match &end.caller {
            Some(caller) => caller.deadline.saturating_since(now),
            None => self.config.request_timeout,
        };
        let Some(endpoint) = half.and_then(|half| self.home_of(&half)) else {
            let failure = AttemptFailure::NoAddress;
            return self.end_lost(&end, &home.address, failure, Delivery::NotSent);
        };
        self.trace_end(&end, endpoint);
        let kind = ControlKind::EndTransaction(Arc::new(end));
        self.start_control(endpoint, kind, timeout);
    }

    /// The address of the master of the broker that has a half message: what routes say, else
    /// where it was stored.
    // Java: DefaultMQProducerImpl#endTransaction, findBrokerAddressInPublish
    fn home_of(&mut self, half: &Half) -> Option<Key> {
        let broker = self.brokers_by_name.get(&*half.broker_name);
        let broker = broker.and_then(|key| self.brokers.get(*key));
        if let Some(greeted) = broker.and_then(|broker| broker.greeted) {
            return Some(greeted);
        }
        let address: Address = half.address.parse().ok()?;
        Some(self.endpoint(address))
    }

    /// A broker answered the end of a transaction, or the proxy of RocketMQ 5. That one also
    /// acknowledges what it cannot pass on, so the broker is told when it asks.
    // Java: proxy TransactionActivity, which does not look at what becomes of it: ends before the
    // first check have no TransactionData there
    pub(super) fn end_answered(
        &mut self,
        control: &Control,
        end: &End,
        code: ResponseCode,
        remark: Box<str>,
        proxied: bool,
    ) {
        let address = self.text_of(control.endpoint);
        if code == ResponseCode::SUCCESS {
            if let Some((key, decision)) = end.unique_key.zip(end.state.decision()) {
                if end.caller.is_some() {
                    self.decide(key, decision);
                }
                let forgotten = self.now + self.config.transactions.memory;
                match proxied {
                    // The broker may have to be told; if there is no room, it asks somebody else.
                    true => self.transactions.spare(key),
                    false => self.transactions.acknowledge(key, decision, self.now, forgotten),
                }
            }
            if let (Some(_), Some(unique_key)) = (&end.caller, end.unique_key) {
                self.outputs.push_back(Output::TransactionEnded { unique_key, result: Ok(()) });
            }
            return self.check_drained();
        }
        if code == ResponseCode::GO_AWAY && self.try_again(control.endpoint, end, 1) {
            return;
        }
        let verdict = verdict(code, &remark, &[]);
        let delivery = match verdict.attempt {
            // Java: EndTransactionProcessor#processRequest, on a slave
            AttemptVerdict::Stored(_) if code == ResponseCode::SLAVE_NOT_AVAILABLE => {
                Delivery::Refused
            }
            AttemptVerdict::Stored(_) => Delivery::Unknown,
            AttemptVerdict::Failed(_) if is_refusal(&remark) => Delivery::Refused,
            AttemptVerdict::Failed(delivery) => delivery,
        };
        let kind = match verdict.denied {
            Some(reason) => TransactionErrorKind::PermissionDenied { reason, code, remark },
            None => TransactionErrorKind::Refused { code, remark },
        };
        self.end_failed_as(end, &address, kind, delivery);
    }

    /// The end of a transaction got no answer. One that has not left may leave on another
    /// connection.
    pub(super) fn end_unanswered(&mut self, control: &Control, end: &End, failure: AttemptFailure) {
        let left = control.written && !planted!(TransactionToldAgain);
        let closing = failure == AttemptFailure::Closed(CloseReason::Shutdown);
        let again = planted!(TransactionToldAgain) || failure != AttemptFailure::TimedOut;
        if !left && !closing && again {
            // A dial that failed has its own pause.
            let tries = u32::from(!matches!(failure, AttemptFailure::Connect(_)));
            if self.try_again(control.endpoint, end, tries) {
                return;
            }
        }
        let delivery = if left { Delivery::Unknown } else { Delivery::NotSent };
        let address = self.text_of(control.endpoint);
        let failure = match failure {
            AttemptFailure::TimedOut if !left => self.pending_failure(control.endpoint),
            failure => failure,
        };
        self.end_lost(end, &address, failure, delivery);
    }

    /// Sends a decision that no broker has processed once more, if somebody waits for it and there
    /// is time.
    fn try_again(&mut self, endpoint: Key, end: &End, more: u32) -> bool {
        let Some(caller) = &end.caller else { return false };
        let left = caller.deadline.saturating_since(self.now);
        let tries = caller.tries + more;
        if left < self.config.attempt_timeout_min
            || tries >= limits::DECISION_TRIES_MAX
            || matches!(self.life, Life::Unregistering | Life::Closed)
        {
            return false;
        }
        let entry = end.unique_key.and_then(|key| self.transactions.get_mut(&key));
        let half = entry.and_then(|entry| entry.half.clone());
        // The broker may have a new master by now.
        let endpoint = half.and_then(|half| self.home_of(&half)).unwrap_or(endpoint);
        let caller = Some(Caller { tries, ..caller.clone() });
        let kind = ControlKind::EndTransaction(Arc::new(End { caller, ..end.clone() }));
        self.start_control(endpoint, kind, left);
        true
    }

    fn end_lost(
        &mut self,
        end: &End,
        address: &Arc<str>,
        failure: AttemptFailure,
        delivery: Delivery,
    ) {
        self.end_failed_as(end, address, TransactionErrorKind::Lost(failure), delivery);
    }

    fn end_failed_as(
        &mut self,
        end: &End,
        address: &Arc<str>,
        kind: TransactionErrorKind,
        delivery: Delivery,
    ) {
        let Some((key, decision)) = end.unique_key.zip(end.state.decision()) else { return };
        if planted!(TransactionForgotten) {
            self.transactions.remove_live(&key);
        }
        if let Some(caller) = &end.caller {
            // What the broker may have taken in stands, and so does what it has not.
            self.decide(key, decision);
            let elapsed = self.now.saturating_since(caller.started);
            let error = TransactionError::new(decision, key, kind, delivery);
            let result = Err(error.at(&end.broker_name, address, elapsed));
            self.outputs.push_back(Output::TransactionEnded { unique_key: key, result });
        }
        self.check_drained();
    }

    /// Whether a decision has left and is waited for.
    pub(super) fn is_end_written(&self, key: &UniqueKey) -> bool {
        self.controls.iter().any(|(_, control)| match &control.kind {
            ControlKind::EndTransaction(end) => {
                control.written && end.caller.is_some() && end.unique_key == Some(*key)
            }
            _ => false,
        })
    }

    /// Whether a request is the end of a transaction that has not left: nobody can answer it.
    pub(super) fn is_unsent_end(&self, key: Key) -> bool {
        self.controls.get(key).is_some_and(|control| {
            matches!(control.kind, ControlKind::EndTransaction(_)) && !control.written
        })
    }

    fn text_of(&self, endpoint: Key) -> Arc<str> {
        self.endpoints.get(endpoint).map(|it| Arc::clone(&it.text)).unwrap_or_default()
    }

    /// Before a request that has run out of time ends: whether its bytes have left. Those that
    /// have not never will.
    pub(super) fn take_back_end(&mut self, key: Key) {
        let Some(control) = self.controls.get(key) else { return };
        if control.written || !matches!(control.kind, ControlKind::EndTransaction(_)) {
            return;
        }
        let Some(conn) = control.conn else { return };
        let Some(session) = self.session(conn) else { return };
        let taken = session.outbox.take_back(Owner::Control(key));
        if taken == TakenBack::Removed && session.outbox.unsent() == 0 {
            session.stalled_since = None;
        }
        if taken == TakenBack::Started
            && let Some(control) = self.controls.get_mut(key)
        {
            control.written = true;
        }
    }

    // ---- The end of the client --------------------------------------------------------------

    /// The time of the shutdown is over: what is under way ends now.
    pub(super) fn end_transactions(&mut self) {
        let awaited = |control: &Control| match &control.kind {
            ControlKind::EndTransaction(end) => end.caller.is_some(),
            _ => false,
        };
        let open = self.controls.iter().filter(|(_, control)| awaited(control));
        let open: Vec<Key> = open.map(|(key, _)| key).collect();
        for key in open {
            self.take_back_end(key);
            let Some(control) = self.end_control(key) else { continue };
            let ControlKind::EndTransaction(end) = &control.kind else { continue };
            let delivery = if control.written { Delivery::Unknown } else { Delivery::NotSent };
            let address = self.text_of(control.endpoint);
            self.end_failed_as(end, &address, TransactionErrorKind::Closed, delivery);
        }
        let entries = self.transactions.entries.iter();
        let left = entries.filter(|(_, entry)| entry.state == State::Undecided);
        let left: Vec<UniqueKey> = left.map(|(key, _)| *key).collect();
        for unique_key in left {
            self.transactions.remove_live(&unique_key);
            self.outputs.push_back(Output::TransactionLeft { unique_key });
        }
    }
}

fn half_of(receipt: &SendReceipt) -> Option<Half> {
    let position = receipt.position?;
    Some(Half {
        broker_name: Arc::clone(&receipt.broker_name),
        address: Arc::clone(&receipt.address),
        queue_offset: i64::try_from(position.queue_offset).ok()?,
        // Java: MessageDecoder#decodeMessageId
        commit_log_offset: receipt.offset_message_id?.commit_log_offset,
    })
}

/// Whether a broker says that it has no half message as described: nothing was done.
// Java: EndTransactionProcessor#checkPrepareMessage
fn is_refusal(remark: &str) -> bool {
    const REFUSALS: [&str; 4] = [
        "Find prepared transaction message failed",
        "The producer group wrong",
        "The transaction state table offset wrong",
        "The commit log offset wrong",
    ];
    REFUSALS.iter().any(|refusal| remark.starts_with(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::id::TracerId;
    use crate::message::Message;
    use crate::time::ClockReading;

    /// A decision is remembered for half an hour, and its group may go long before that.
    #[test]
    fn a_remembered_decision_does_not_hold_its_group() {
        let now = Instant::ZERO;
        let config = Config::builder("10.0.0.1:9876").build().unwrap();
        let mut client = Client::new(config, 1, now);
        let (tracer, clock) = (TracerId(1), ClockReading::default());
        let id = client.register_traced(now, "shop", tracer, "T", clock).unwrap();
        let group = client.groups.first().cloned().flatten().unwrap();
        let topic = client.topic("Orders").unwrap();
        let key = "7F000001000100000000000000000001".parse().unwrap();
        let message = Message::new("Orders", "m");
        let message = PreparedMessage::half(message, key, "shop", clock, client.config()).unwrap();
        assert!(client.begin_transaction(&message, &group, topic));
        drop(group);
        client.unregister(now, id);
        assert!(client.is_tracing(tracer), "it may still be decided");
        client.decide(key, Decision::Commit);
        assert_eq!(client.table_sizes().decisions, 1);
        assert!(!client.is_tracing(tracer));
    }
}
