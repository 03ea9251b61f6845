//! What must hold for all that a client does besides plain sends.

use std::collections::{BTreeMap, BTreeSet};

use rocketmq_core::wire::UniqueKey;
use rocketmq_core::{
    CheckId, Client, Completion, CorrelationId, Decision, Delivery, Instant, NoReply, OpId, Output,
    QueryId, TableSizes, TracerId, TransactionError, TransactionErrorKind, limits,
};
use rocketmq_testkit::wire::{Command, response_code};

/// What a message is sent for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::fuzz) enum Purpose {
    Delivery,
    /// It begins a transaction.
    Half,
    /// A reply is waited for.
    Request(CorrelationId),
}

/// A transaction, as the application and its broker see it.
#[derive(Default)]
struct Transaction {
    /// The application waits for these ends, the first call first.
    ending: Vec<(Decision, Instant)>,
    /// How often the application said that it commits.
    commits: u32,
    /// Ends that arrived without having been asked for.
    told: u32,
    /// Answers to those, and how many of them say that the broker did nothing.
    answers: u32,
    go_aways: u32,
    /// What the broker took in well.
    done: BTreeSet<String>,
}

/// A request without a reply.
struct Awaited {
    op: OpId,
    deadline: Instant,
    stored: bool,
}

#[derive(Default)]
pub(in crate::fuzz) struct Services {
    /// Half messages whose send is open, and whether anybody wants them.
    preparing: BTreeMap<OpId, (UniqueKey, bool)>,
    /// Those that are stored and neither decided nor forgotten.
    undecided: BTreeSet<UniqueKey>,
    transactions: BTreeMap<UniqueKey, Transaction>,
    requests: BTreeMap<CorrelationId, Awaited>,
    /// Replies that brokers have passed on.
    pushed: BTreeSet<CorrelationId>,
    /// Questions of brokers that the application works on, about these transactions.
    checks: BTreeMap<CheckId, Option<UniqueKey>>,
    /// Questions that brokers have asked.
    asked: usize,
    queries: BTreeMap<QueryId, Instant>,
    queue_waiters: BTreeMap<u64, Instant>,
    pub(in crate::fuzz) tracers: BTreeSet<TracerId>,
    /// The question to the provider of credentials that is under way.
    pub(in crate::fuzz) fetch: Option<u64>,
}

// ---- What the application does ------------------------------------------------------------------

impl Services {
    /// Keys of all transactions there have been.
    pub(in crate::fuzz) fn keys(&self) -> Vec<UniqueKey> {
        self.transactions.keys().copied().collect()
    }

    pub(in crate::fuzz) fn checks(&self) -> Vec<CheckId> {
        self.checks.keys().copied().collect()
    }

    pub(in crate::fuzz) fn requests(&self) -> Vec<CorrelationId> {
        self.requests.keys().copied().collect()
    }

    /// A send was taken in.
    pub(in crate::fuzz) fn sent(
        &mut self,
        op: OpId,
        purpose: Purpose,
        key: UniqueKey,
        deadline: Instant,
    ) {
        match purpose {
            Purpose::Delivery => {}
            Purpose::Half => {
                self.preparing.insert(op, (key, true));
                self.transactions.insert(key, Transaction::default());
            }
            Purpose::Request(id) => {
                let entry = Awaited { op, deadline, stored: false };
                assert!(self.requests.insert(id, entry).is_none(), "{id} is taken in twice");
            }
        }
    }

    /// Whether a send may be refused although there is room for it.
    pub(in crate::fuzz) fn refuses(&self, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Request(id) if self.requests.contains_key(&id))
    }

    /// Nobody waits for the receipt of a send any more.
    pub(in crate::fuzz) fn detached(&mut self, op: OpId) {
        if let Some((_, wanted)) = self.preparing.get_mut(&op) {
            *wanted = false;
        }
    }

    /// A send has ended, well or not.
    pub(in crate::fuzz) fn send_ended(&mut self, op: OpId, completion: Option<&Completion>) {
        let stored = matches!(completion, Some(Completion::Stored(_)));
        if let Some((key, wanted)) = self.preparing.remove(&op)
            && stored
            && wanted
        {
            self.undecided.insert(key);
        }
        self.requests.retain(|_, entry| {
            entry.stored |= entry.op == op;
            stored || entry.op != op
        });
    }

    /// The application decides.
    pub(in crate::fuzz) fn decided(&mut self, key: UniqueKey, to: Decision, deadline: Instant) {
        let Some(entry) = self.transactions.get_mut(&key) else { return };
        entry.ending.push((to, deadline));
        entry.commits += u32::from(to == Decision::Commit);
    }

    /// The application gives a transaction up, or leaves it to others; that one only if it is
    /// undecided.
    pub(in crate::fuzz) fn left(&mut self, key: UniqueKey, abandons: bool) {
        if self.transactions.get(&key).is_some_and(|entry| !entry.ending.is_empty()) {
            return;
        }
        self.undecided.remove(&key);
        for (_, wanted) in self.preparing.values_mut().filter(|(it, _)| abandons && *it == key) {
            *wanted = false;
        }
    }

    /// The application answers a question: about which transaction, if it may still be heard.
    pub(in crate::fuzz) fn answered_check(&mut self, id: CheckId, commits: bool) {
        if let Some(Some(key)) = self.checks.remove(&id) {
            self.transactions.entry(key).or_default().commits += u32::from(commits);
        }
    }

    pub(in crate::fuzz) fn forgot(&mut self, id: CorrelationId) {
        self.requests.remove(&id);
    }

    pub(in crate::fuzz) fn queried(&mut self, id: QueryId, deadline: Instant) {
        self.queries.insert(id, deadline);
    }

    pub(in crate::fuzz) fn query_cancelled(&mut self, id: QueryId) {
        self.queries.remove(&id);
    }

    pub(in crate::fuzz) fn asked_for_queues(&mut self, waiter: u64, deadline: Instant) {
        self.queue_waiters.insert(waiter, deadline);
    }
}

// ---- What brokers do ----------------------------------------------------------------------------

impl Services {
    /// The end of a transaction has arrived at a broker.
    pub(in crate::fuzz) fn told(&mut self, request: &Command) {
        let Some(key) = key_of(request) else { return };
        let entry = self.transactions.entry(key).or_default();
        let state = request.ext.get("commitOrRollback");
        if state == Some(COMMIT) {
            assert!(entry.commits > 0, "{key} is committed, and nobody has said so");
        }
        if request.ext.get("fromTransactionCheck") == Some("false") {
            entry.told += 1;
            let most = 1 + entry.go_aways;
            assert!(entry.told <= most, "{key} has ended {} times", entry.told);
            assert!(state == Some(COMMIT) || state == Some(ROLLBACK), "{key}: {state:?}");
        }
    }

    /// A broker answers the end of a transaction, for the first time.
    pub(in crate::fuzz) fn end_answered(&mut self, request: &Command, code: i32) {
        let Some(key) = key_of(request) else { return };
        if request.ext.get("fromTransactionCheck") != Some("false") {
            return;
        }
        let entry = self.transactions.entry(key).or_default();
        entry.answers += 1;
        match code {
            response_code::SUCCESS => {
                let state = request.ext.get("commitOrRollback").unwrap_or_default();
                entry.done.insert(state.to_owned());
            }
            response_code::GO_AWAY => entry.go_aways += 1,
            _ => {}
        }
    }

    /// A broker asks, and the application may be asked.
    pub(in crate::fuzz) fn broker_asked(&mut self) {
        self.asked += 1;
    }

    /// A broker passes a reply on.
    pub(in crate::fuzz) fn pushed(&mut self, id: CorrelationId) {
        self.pushed.insert(id);
    }
}

// ---- What the client says -----------------------------------------------------------------------

impl Services {
    /// `lied`: servers have sent what is no honest answer.
    pub(in crate::fuzz) fn take_in(&mut self, output: Output, lied: bool) {
        match output {
            Output::TransactionEnded { unique_key, result } => {
                self.ended(unique_key, result.err(), lied);
            }
            Output::TransactionLeft { unique_key } => {
                assert!(self.undecided.remove(&unique_key), "{unique_key} is not undecided");
            }
            Output::CheckTransaction { id, check, .. } => {
                let key = check.transaction_id.parse().ok();
                let begun = self.preparing.values().map(|(key, _)| key).chain(&self.undecided);
                let here = begun.copied().find(|begun| Some(*begun) == key);
                assert_eq!(here, None, "the application is asked about what it works on");
                assert!(self.checks.insert(id, key).is_none(), "{id:?} is asked twice");
                let most = limits::CHECKS_ASKED_MAX;
                assert!(self.checks.len() <= most, "{} questions at once", self.checks.len());
            }
            Output::AbandonCheck { id } => {
                assert!(self.checks.remove(&id).is_some(), "{id:?} is not under way");
            }
            Output::Replied { correlation_id: id, result } => {
                let entry = self.requests.remove(&id);
                let entry = entry.unwrap_or_else(|| panic!("nobody waits for a reply to {id}"));
                match result {
                    Ok(reply) => {
                        assert_eq!(reply.correlation_id(), Some(id));
                        assert!(lied || self.pushed.contains(&id), "nobody replied to {id}");
                    }
                    Err(NoReply::TimedOut | NoReply::Closed) => assert!(entry.stored, "{id}"),
                    Err(other) => panic!("{id}: {other}"),
                }
            }
            Output::Answer { id, .. } => {
                assert!(self.queries.remove(&id).is_some(), "{id:?} was not asked");
            }
            Output::Queues { waiter, .. } => {
                assert!(self.queue_waiters.remove(&waiter).is_some(), "{waiter} did not ask");
            }
            Output::FetchCredentials { fetch, .. } => self.fetch = Some(fetch),
            Output::AbandonCredentials { fetch } => {
                assert_eq!(self.fetch.take(), Some(fetch), "not what is under way");
            }
            Output::Trace { tracer, record } => {
                assert!(self.tracers.contains(&tracer), "{tracer:?} is nobody's");
                let mut text = String::new();
                record.encode(&mut text);
                assert!(text.ends_with('\u{2}'), "{text:?}");
            }
            // Others may be added; an event needs no reaction.
            _ => {}
        }
    }

    /// The end of a transaction is reported: once for each call, and truthfully.
    fn ended(&mut self, key: UniqueKey, error: Option<TransactionError>, lied: bool) {
        let entry = self.transactions.get_mut(&key).expect("a transaction of this client");
        let Some(error) = error else {
            assert!(!entry.ending.is_empty(), "{key} ended, and nobody waits for that");
            let (decision, _) = entry.ending.remove(0);
            let code = if decision == Decision::Commit { COMMIT } else { ROLLBACK };
            assert!(lied || entry.done.contains(code), "no broker has said {decision} of {key}");
            self.undecided.remove(&key);
            return;
        };
        // A call that is refused says so before those before it end.
        let named = entry.ending.iter().rposition(|(decision, _)| *decision == error.decision());
        let at = named.unwrap_or_else(|| panic!("nobody waits for this: {error}"));
        entry.ending.remove(at);
        assert_eq!(error.unique_key(), key);
        // Such a call has changed nothing.
        let closed = *error.kind() == TransactionErrorKind::Closed;
        if *error.kind() == TransactionErrorKind::NotUnderWay
            || closed && error.broker_name().is_empty()
        {
            entry.commits -= u32::from(error.decision() == Decision::Commit);
            return;
        }
        self.undecided.remove(&key);
        match error.delivery() {
            Delivery::NotSent => assert!(entry.told <= entry.go_aways, "{error}"),
            Delivery::Refused => {
                assert!(lied || entry.done.is_empty(), "{error}");
                assert!(lied || entry.answers >= entry.told, "{error}");
            }
            Delivery::Unknown => {}
        }
    }
}

// ---- What must hold -----------------------------------------------------------------------------

impl Services {
    /// What must hold after every input, once nothing is left to be polled. Gives the number of
    /// timers that there may be for it.
    pub(super) fn check(&self, client: &mut Client, sizes: &TableSizes) -> usize {
        let live = self.preparing.len() + self.undecided.len();
        assert!(sizes.transactions <= live, "{sizes:?}: {live} transactions are under way");
        assert!(sizes.decisions <= self.transactions.len(), "{sizes:?}");
        assert!(sizes.checks <= self.asked, "{sizes:?}: {} questions", self.asked);
        assert_eq!(sizes.replies, self.requests.len());
        assert!(sizes.open_queries <= self.queries.len(), "{sizes:?}");
        assert_eq!(sizes.queue_waiters, self.queue_waiters.len());
        if let Some(first) = self.deadlines().min() {
            let at = client.poll_timeout().map(|(at, _)| at);
            assert!(at.is_some_and(|at| at <= first), "no timer for what ends at {first:?}");
        }
        let credentials = usize::from(client.config().credentials_provider().is_some());
        sizes.checks + sizes.replies + sizes.queue_waiters + credentials
    }

    /// What must hold after the client was told that it is `now`.
    pub(super) fn check_time(&self, now: Instant) {
        for deadline in self.deadlines() {
            assert!(deadline > now, "something has outlived its deadline, {deadline:?}");
        }
    }

    /// What must hold once the client is closed: nobody is kept waiting.
    pub(in crate::fuzz) fn check_end(&self) {
        assert_eq!(self.deadlines().next(), None);
        assert!(self.preparing.is_empty() && self.requests.is_empty());
        assert!(self.undecided.is_empty(), "{:?} were not reported", self.undecided);
    }

    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let ending = self.transactions.values().flat_map(|entry| &entry.ending);
        let ending = ending.map(|(_, deadline)| *deadline);
        let stored = self.requests.values().filter(|entry| entry.stored);
        let replies = stored.map(|entry| entry.deadline);
        let queries = self.queries.values().chain(self.queue_waiters.values()).copied();
        ending.chain(replies).chain(queries)
    }
}

// Java: MessageSysFlag#TRANSACTION_COMMIT_TYPE, #TRANSACTION_ROLLBACK_TYPE
const COMMIT: &str = "8";
const ROLLBACK: &str = "12";

fn key_of(request: &Command) -> Option<UniqueKey> {
    request.ext.get("msgId")?.parse().ok()
}
