//! The one retry machine: choosing a queue, trying, reading the answer, trying again.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Client;
use super::operation::{Current, Mode, Op, OpState, Outstanding};
use super::outbox::{Owner, TakenBack};
use super::receive::remark_of;
use super::session::{Late, Queued};
use super::timers::TimerKey;
use super::verdict::{AttemptVerdict, Fault, Next, verdict};
use crate::error::{
    Attempt, AttemptFailure, CloseReason, Delivery, SendError, SendErrorKind, Stage,
};
use crate::id::{ConnId, OpId};
use crate::limits;
use crate::output::{Completion, Event, EventSet, Output};
use crate::permission::PermissionReason;
use crate::receipt::{OnewayReceipt, SendReceipt};
use crate::slab::Key;
use crate::time::Instant;
use crate::unsuitable::Unsuitable;
use crate::wire::{Command, ResponseCode, SendStatus, StoredPlace, batch_message_ids};

impl Client {
    /// The next attempt of a send, with a queue chosen anew.
    pub(super) fn next_attempt(&mut self, id: OpId) {
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        let retry = op.number > 0;
        if planted!(DeadlinePerAttempt) && retry {
            op.command.deadline =
                self.now + op.command.deadline.saturating_since(op.command.started);
        }
        let remaining = op.command.deadline.saturating_since(self.now);
        if remaining.is_zero() || (retry && remaining < self.config.attempt_timeout_min) {
            self.fail(id, SendErrorKind::Timeout);
            return;
        }
        let asks = !op.greeted && op.message.correlation_id().is_some();
        if asks && self.greet_for(id) {
            return;
        }
        let chosen = match self.choose(id) {
            Ok(chosen) => chosen,
            Err(kind) => {
                // Java: DefaultMQProducerImpl#tryToFindTopicPublishInfo looks again as well.
                if let Some(topic) = self.ops.get(id).map(|op| op.topic) {
                    self.refresh_soon(topic, id, ResponseCode::SUCCESS);
                }
                return self.fail_or_wait(id, kind);
            }
        };
        if self.has_interceptors()
            && let Err(kind) = self.check_forbidden(id, &chosen)
        {
            return self.fail(id, kind);
        }
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        let attempts_left = op.attempts_max.saturating_sub(op.number).max(1);
        // As long as another broker is there to be tried, each attempt leaves time for the rest.
        let until = if chosen.others && attempts_left > 1 && !planted!(ShareIgnored) {
            let share = (remaining / attempts_left).max(self.config.attempt_timeout_min);
            self.now + share.min(remaining) / if planted!(AttemptEndsEarly) { 4 } else { 1 }
        } else {
            op.command.deadline
        };
        let until = if planted!(DeadlineOnWallClock) {
            Instant::from_nanos(op.message.clock.wall_at(until).as_millis() as u64)
        } else {
            until
        };
        op.number += 1;
        op.state = OpState::Sending;
        op.current = Some(Current {
            broker: chosen.broker,
            broker_name: chosen.broker_name,
            address: chosen.address,
            queue_id: match op.failed.last() {
                Some(last) if planted!(QueueIdKept) => last.queue_id,
                _ => chosen.queue_id + u32::from(planted!(QueueIdOneMore)),
            },
            endpoint: chosen.endpoint,
            conn: chosen.conn,
            opaque: 0,
            started: self.now,
            stage: Stage::Connect,
        });
        self.timers.cancel(&mut op.timer);
        if !(planted!(TimerLost) && retry) {
            op.timer = self.timers.schedule(until, TimerKey::Op(id));
        }
        let number = op.number;
        let fails_with_broker = op.fails_with_broker();
        if self.config.events.contains(EventSet::ATTEMPT_STARTS) && !self.carries_records(id) {
            self.report_start(id);
        }
        if self.has_interceptors() && self.before_send(id).is_err() {
            let failure = AttemptFailure::InterceptorPanicked;
            return self.attempt_failed(id, Stage::Select, failure, Delivery::NotSent, Next::Final);
        }
        let queued = Queued::Send { op: id, number };
        match chosen.conn {
            Some(conn) => self.enqueue_on(conn, queued),
            None => self.enqueue(chosen.endpoint, queued),
        }
        if fails_with_broker {
            self.fail_if_down(id, chosen.endpoint);
        }
    }

    /// No queue could be chosen. A send that waits for the broker of its queue looks again later.
    fn fail_or_wait(&mut self, id: OpId, kind: SendErrorKind) {
        let again = self.now + self.rng.jitter(limits::BROKER_WAIT);
        let Some(op) = self.ops.get_mut(id) else { return };
        let away = matches!(kind, SendErrorKind::NoSuchQueue(_));
        if !away || !op.waits_for_broker() || again >= op.command.deadline {
            return self.fail(id, kind);
        }
        op.state = OpState::BackingOff;
        self.timers.cancel(&mut op.timer);
        op.timer = self.timers.schedule(again, TimerKey::Op(id));
    }

    /// Ends the attempt that has just begun if its address is not even to be dialled yet.
    fn fail_if_down(&mut self, id: OpId, endpoint: Key) {
        let now = self.now;
        let down = self.endpoints.get(endpoint).filter(|e| e.conn.is_none() && e.retry_at > now);
        if let Some(failure) = down.and_then(|endpoint| endpoint.last_failure) {
            self.transport_failed(id, AttemptFailure::Connect(failure), Next::Final);
        }
    }

    fn report_start(&mut self, id: OpId) {
        let Some(op) = self.ops.get(id) else { return };
        let Some(current) = &op.current else { return };
        let (number, queue_id) = (op.number, current.queue_id);
        let (unique_key, broker_name) = (op.message.unique_key, Arc::clone(&current.broker_name));
        let event = Event::AttemptStarted { op: id, unique_key, number, broker_name, queue_id };
        self.outputs.push_back(Output::Event(event));
    }

    /// The last byte of an attempt's frame was handed to the socket.
    pub(super) fn attempt_written(&mut self, id: OpId, number: u32) {
        let Some(op) = self.ops.get_mut(id).filter(|op| op.number == number) else {
            return;
        };
        let Some(current) = op.current.as_mut() else {
            return;
        };
        current.stage = Stage::Await;
        if planted!(RetryWhileUnderWay) && !op.is_last_attempt() {
            return self.attempt_timeout(id);
        }
        if op.command.mode == Mode::Awaited {
            return;
        }
        if self.has_interceptors() {
            self.after_sent(id);
        }
        let Some(mut op) = self.end(id) else { return };
        let Some(current) = op.current.take() else {
            return;
        };
        let receipt = OnewayReceipt {
            unique_key: op.message.unique_key,
            topic: op.message.message.into_topic(),
            broker_name: current.broker_name,
            address: current.address,
            queue_id: current.queue_id,
            elapsed: self.now.saturating_since(op.command.started),
            failed_attempts: op.failed,
        };
        self.complete(id, Ok(Completion::Sent(receipt)));
    }

    // ---- The answer -------------------------------------------------------------------------

    /// A broker answered attempt `number` of a send.
    pub(super) fn send_answered(
        &mut self,
        conn: ConnId,
        id: OpId,
        number: u32,
        code: ResponseCode,
        command: &Command<'_>,
    ) {
        let Some(op) = self.ops.get_mut(id) else {
            return self.stray_answer(conn, command);
        };
        op.outstanding.retain(|entry| (entry.conn, entry.number) != (conn, number));
        let under_way = op.number == number && op.current.is_some();
        let remark = command.remark.as_deref().unwrap_or_default();
        let verdict = verdict(code, remark, &self.config.retry_codes);
        match verdict.attempt {
            AttemptVerdict::Stored(_) if planted!(LateAnswerNotAdopted) && !under_way => {
                self.stray_answer(conn, command);
            }
            AttemptVerdict::Stored(status) => {
                if self.has_traces() {
                    self.trace_send(id, number, status, command);
                }
                self.stored(id, number, under_way, status, command);
            }
            AttemptVerdict::Failed(delivery) if under_way => {
                let refresh = verdict.refresh_route.then_some(op.topic);
                let failure = AttemptFailure::Answered { code, remark: remark_of(command) };
                self.record_fault(id, verdict.fault);
                if let Some(topic) = refresh {
                    self.refresh_soon(topic, id, code);
                }
                if verdict.next == Next::Drain {
                    if let Some(op) = self.ops.get_mut(id).filter(|_| planted!(GoAwayNotCounted)) {
                        op.attempts_max += 1;
                    }
                    self.drain(conn);
                }
                self.attempt_failed(id, Stage::Answered, failure, delivery, verdict.next);
            }
            AttemptVerdict::Failed(delivery) => {
                // An earlier attempt, given up as unknown, is known now.
                let index = (number as usize).wrapping_sub(1);
                if let Some(attempt) = op.failed.get_mut(index) {
                    attempt.delivery = delivery;
                    attempt.stage = Stage::Answered;
                    attempt.failure = AttemptFailure::Answered { code, remark: remark_of(command) };
                }
                self.stray_answer(conn, command);
            }
        }
    }

    /// A broker stored the message: at the attempt under way, or at an earlier one whose answer
    /// comes late, which makes the one under way superfluous.
    fn stored(
        &mut self,
        id: OpId,
        number: u32,
        under_way: bool,
        status: SendStatus,
        command: &Command<'_>,
    ) {
        if under_way {
            self.record_fault(id, Fault::Success);
        }
        let now = self.now;
        let place = StoredPlace::read(&command.ext_fields);
        let weak = status != SendStatus::SendOk && place.position.is_some();
        let again = weak && under_way && self.is_worth_a_better_receipt(id);
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        if let Some(batch) = op.message.batch_mut() {
            batch.ids = batch_message_ids(&command.ext_fields, batch.members.len());
        }
        if again {
            // One more broker, whatever it says.
            op.attempts_max = op.number + 1;
            op.weak = op.receipt(now, number, op.current.clone(), status, place).map(Box::new);
            let failure = AttemptFailure::Answered {
                code: ResponseCode(command.code),
                remark: remark_of(command),
            };
            // A copy exists, whatever becomes of the next attempt.
            let next = Next::AnotherBroker;
            self.attempt_failed(id, Stage::Answered, failure, Delivery::Unknown, next);
            return;
        }
        let index = (number as usize).wrapping_sub(1);
        if !under_way && op.failed.get(index).is_none() {
            return;
        }
        let placed = place.position.is_some() && place.offset_message_id.is_some();
        if op.message.is_half() && (weak || !placed) {
            return self.half_stored_badly(id, number, under_way, status, command);
        }
        // The attempt that was answered is over: nothing of it is to be given up below.
        let answered = if under_way { op.current.take() } else { None };
        let stage = op.current.as_ref().map(|current| current.stage);
        let stays_out = self.leave(id);
        if !self.carries_records(id) {
            self.budget.earn();
        }
        if let Some(stage) = stage {
            // Its sender has to know that there may be another copy.
            let delivery = if stays_out { Delivery::NotSent } else { Delivery::Unknown };
            self.fail_current(id, stage, AttemptFailure::GivenUp, delivery);
        }
        let told = if self.has_interceptors() { answered.clone() } else { None };
        // Taken apart where it is: a send is too large to be moved for nothing.
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        let Some(mut receipt) = op.receipt(now, number, answered, status, place) else {
            return;
        };
        let batch = op.message.take_batch();
        receipt.failed_attempts = core::mem::take(&mut op.failed);
        if !under_way {
            // The attempt that succeeded after all is no failure.
            receipt.failed_attempts.remove(index);
        }
        let half = op.message.is_half().then_some(op.detached);
        let request = op.message.correlation_id();
        match told {
            Some(current) => self.after_stored(id, &current, &mut receipt),
            None => receipt.topic = op.message.message.take_topic(),
        }
        self.ops.discard(id);
        if let Some(detached) = half {
            self.half_stored(&receipt, number, !detached);
        }
        if let Some(request) = request {
            self.request_stored(&request, id);
        }
        if let Some(batch) = batch {
            return self.complete(id, Ok(Completion::StoredBatch(batch.receipts(&receipt))));
        }
        if planted!(CompletedTwice) && !under_way {
            self.complete(id, Ok(Completion::Stored(receipt.clone())));
        }
        self.complete(id, Ok(Completion::Stored(receipt)));
    }

    /// A broker has stored the message that begins a transaction, but not as it should: it is
    /// rolled back. From an earlier attempt, it is but another copy that is left over.
    // Java: DefaultMQProducerImpl#sendMessageInTransaction, which rolls back all but SEND_OK
    #[cold]
    fn half_stored_badly(
        &mut self,
        id: OpId,
        number: u32,
        under_way: bool,
        status: SendStatus,
        command: &Command<'_>,
    ) {
        let place = StoredPlace::read(&command.ext_fields);
        let Some(op) = self.ops.get(id).filter(|_| under_way) else { return };
        let receipt = op.receipt(self.now, number, op.current.clone(), status, place);
        let code = ResponseCode(command.code);
        let failure = AttemptFailure::Answered { code, remark: remark_of(command) };
        self.fail_current(id, Stage::Answered, failure, Delivery::Unknown);
        if let Some(receipt) = receipt {
            self.half_unusable(&receipt, number);
        }
        self.fail(id, SendErrorKind::NotPrepared { status });
    }

    /// Whether a weak acknowledgement is to be bettered at a broker that was not tried yet.
    fn is_worth_a_better_receipt(&self, id: OpId) -> bool {
        let settings = &self.config;
        let Some(op) = self.ops.get(id) else { return false };
        let Some(current) = &op.current else { return false };
        (settings.retry_weak_acknowledgement || planted!(WeakAlwaysRetried))
            && !settings.retry_only_if_not_stored
            && op.weak.is_none()
            && !op.is_last_attempt()
            && op.command.selection.is_free()
            && op.command.order.is_none()
            // One more copy would be one more reply.
            && op.message.correlation_id().is_none()
            && !self.carries_records(id)
            && self.topics.get(op.topic).and_then(|topic| topic.route.as_ref()).is_some_and(
                |route| {
                    let untried = |broker| broker != current.broker && !op.tried.contains(&broker);
                    route.publish.brokers().iter().any(|queues| untried(queues.broker))
                },
            )
    }

    // ---- Failure ----------------------------------------------------------------------------

    /// The attempt under way came to nothing on the way to or from the broker.
    pub(super) fn transport_failed(&mut self, id: OpId, failure: AttemptFailure, next: Next) {
        let Some(op) = self.ops.get(id) else { return };
        let Some(current) = op.current.as_ref() else {
            return;
        };
        let (stage, topic) = (self.stage_of(current), op.topic);
        // What a server has turned away before its handshake was over, it has not read.
        let turned_away = matches!(failure,
            AttemptFailure::Closed(CloseReason::Tls(tls)) if tls.refuses_client());
        let unsent = stage < Stage::Await || turned_away || planted!(NotSentAfterWritten);
        let delivery = if unsent { Delivery::NotSent } else { Delivery::Unknown };
        let never_left = stage == Stage::Connect;
        self.record_fault(id, Fault::Unavailable);
        if never_left {
            self.refresh_soon(topic, id, ResponseCode::SUCCESS);
        }
        self.attempt_failed(id, stage, failure, delivery, next);
    }

    /// How far the attempt is; one that waits on a live connection for its turn is writing.
    fn stage_of(&self, current: &Current) -> Stage {
        let session = current.conn.and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
        match current.stage {
            Stage::Connect if session.is_some_and(|session| session.ready) => Stage::Write,
            stage => stage,
        }
    }

    /// Ends the attempt under way and decides what follows.
    pub(super) fn attempt_failed(
        &mut self,
        id: OpId,
        stage: Stage,
        failure: AttemptFailure,
        delivery: Delivery,
        next: Next,
    ) {
        let (now, only_once) = (self.now, self.config.retry_only_if_not_stored);
        let vague = planted!(UnknownForRefused) && delivery == Delivery::Refused;
        let delivery = if vague { Delivery::Unknown } else { delivery };
        let Some(current) = self.fail_current(id, stage, failure.clone(), delivery) else {
            return;
        };
        let traces = self.carries_records(id);
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        let (number, unique_key) = (op.number, op.message.unique_key);
        op.tried.push(current.broker);
        if next == Next::BackOff
            && !traces
            && let Some(broker) = self.brokers.get_mut(current.broker)
        {
            broker.busy.answered_busy(now, current.started, self.config.busy_back_off);
        }
        let weak = op.weak.is_some() && op.failed.last().is_some_and(is_weak);
        // What may be stored must not be stored again behind what comes after it.
        let only_once = only_once || op.command.order.is_some();
        let gives_up = stage == Stage::Connect && op.fails_with_broker();
        let moved = op.is_moved(&failure).then_some((op.topic, op.command.deadline));
        // The same broker again, without delay, would hear the same question.
        let same = delivery == Delivery::Refused && next != Next::Drain && op.waits_for_broker();
        let same = same && next != Next::Final;
        let mut retry_at = if (op.detached && !planted!(DetachedRetried))
            || next == Next::Final
            || op.is_last_attempt()
            || gives_up
            || (delivery == Delivery::Unknown
                && only_once
                && !planted!(RetryOnlyIfNotStoredIgnored))
        {
            None
        } else if (next == Next::BackOff || same) && !planted!(BusyBackOffZero) {
            Some(now + self.busy_pause(id))
        } else {
            Some(now)
        };
        if let (Some(at), Some((topic, deadline))) = (retry_at, moved)
            && self.is_static(topic)
        {
            // Before the new route is here, the old broker would say the same again.
            let later = self.lookup_due(topic) + self.rng.jitter(limits::BROKER_WAIT);
            let in_time = later + self.config.attempt_timeout_min <= deadline;
            retry_at = Some(if in_time { later } else { at });
        }
        let Some(op) = self.ops.get_mut(id) else {
            return;
        };
        op.busy += u32::from(next == Next::BackOff || same);
        let last_start = op.command.deadline;
        let mut retry_at =
            retry_at.filter(|at| *at + self.config.attempt_timeout_min <= last_start);
        // Only what has put load on a broker counts. A weak receipt is bettered by choice.
        let loads = (next == Next::BackOff || delivery == Delivery::Unknown) && !weak;
        if loads && retry_at.is_some() && (traces || !self.budget.spend(now)) {
            op.withheld = true;
            retry_at = None;
        }
        let withheld = op.withheld && !traces;
        if !traces {
            self.event(EventSet::ATTEMPT_FAILURES, || Event::AttemptFailed {
                op: id,
                unique_key,
                number,
                broker_name: current.broker_name,
                failure,
                retry_at,
            });
        }
        if withheld {
            self.event(EventSet::ATTEMPT_FAILURES, || Event::RetryWithheld {
                op: id,
                unique_key,
                number,
            });
        }
        match retry_at {
            None => self.fail_as_last_attempt(id),
            Some(at) if at == now => self.next_attempt(id),
            Some(at) => {
                let Some(op) = self.ops.get_mut(id) else {
                    return;
                };
                op.state = OpState::BackingOff;
                self.timers.cancel(&mut op.timer);
                op.timer = self.timers.schedule(at, TimerKey::Op(id));
            }
        }
    }

    /// A timer of a send has passed.
    pub(super) fn op_timeout(&mut self, id: OpId) {
        let Some(op) = self.ops.get(id) else { return };
        match op.state {
            OpState::InOrder => self.fail(id, SendErrorKind::WaitedForOrder),
            OpState::Routing => self.fail_without_route(id),
            OpState::Greeting => self.greeting_timeout(id),
            OpState::Begun | OpState::BackingOff => self.next_attempt(id),
            OpState::Sending => self.attempt_timeout(id),
        }
    }

    fn attempt_timeout(&mut self, id: OpId) {
        let Some(op) = self.ops.get(id) else { return };
        let Some(current) = op.current.clone() else {
            return;
        };
        let (number, topic) = (op.number, op.topic);
        let stage = self.stage_of(&current);
        let taken_back = self.take_back(id, number, &current);
        let mut delivery = Delivery::NotSent;
        let mut failure = AttemptFailure::TimedOut;
        if taken_back == TakenBack::Started || stage == Stage::Await {
            // The rest of a started frame must follow, so the broker may get the message yet.
            delivery = Delivery::Unknown;
            let oneway = op_mode(self.ops.get(id)) == Some(Mode::Oneway);
            if let Some(conn) = current.conn.filter(|_| !oneway) {
                let outstanding = Outstanding { conn, opaque: current.opaque, number };
                if let Some(op) = self.ops.get_mut(id) {
                    op.outstanding.push(outstanding);
                }
                self.suspect(conn, current.started);
            }
        } else if stage == Stage::Connect {
            let endpoint = self.endpoints.get(current.endpoint);
            if let Some(known) = endpoint.and_then(|endpoint| endpoint.last_failure) {
                failure = AttemptFailure::Connect(known);
            }
            self.refresh_soon(topic, id, ResponseCode::SUCCESS);
        }
        self.record_fault(id, Fault::Unavailable);
        let started_oneway =
            delivery == Delivery::Unknown && op_mode(self.ops.get(id)) == Some(Mode::Oneway);
        let only = started_oneway && !planted!(OnewayRetried);
        let next = if only { Next::Final } else { Next::AnotherBroker };
        self.attempt_failed(id, stage, failure, delivery, next);
    }

    /// Takes an attempt's frame back if none of its bytes has left, and forgets its number.
    pub(super) fn take_back(&mut self, id: OpId, number: u32, current: &Current) -> TakenBack {
        let Some(conn) = current.conn else {
            return TakenBack::Absent;
        };
        if current.stage != Stage::Write {
            return TakenBack::Absent;
        }
        let Some(session) = self.session(conn) else {
            return TakenBack::Absent;
        };
        let taken = session.outbox.take_back(Owner::Send { op: id, number });
        if taken == TakenBack::Removed {
            session.requests.remove(current.opaque);
            if session.outbox.unsent() == 0 {
                session.stalled_since = None;
            }
            self.close_if_drained(conn);
        }
        taken
    }

    /// A request got no answer: if nothing at all came since, find out whether the peer lives.
    fn suspect(&mut self, conn: ConnId, since: Instant) {
        if self.session(conn).is_some_and(|session| session.last_received <= since) {
            self.probe(conn);
        }
    }

    // ---- The end ----------------------------------------------------------------------------

    /// Ends a send whose last attempt has failed: the kind follows from that attempt.
    fn fail_as_last_attempt(&mut self, id: OpId) {
        let Some(op) = self.ops.get(id) else { return };
        let over = op.command.deadline <= self.now + self.config.attempt_timeout_min;
        let kind = match op.failed.last().map(|attempt| &attempt.failure) {
            Some(AttemptFailure::Answered { code, remark }) => {
                let (code, remark) = (*code, remark.clone());
                let denied = PermissionReason::of(code, &remark);
                match (denied, Unsuitable::of(code, &remark)) {
                    (Some(reason), _) => SendErrorKind::PermissionDenied { reason, code, remark },
                    (_, Some(reason)) => SendErrorKind::Unsuitable { reason, code, remark },
                    (None, None) => SendErrorKind::Broker { code, remark },
                }
            }
            Some(AttemptFailure::TimedOut) => SendErrorKind::Timeout,
            Some(AttemptFailure::InterceptorPanicked) => SendErrorKind::InterceptorPanicked,
            Some(AttemptFailure::Closed(_)) if over => SendErrorKind::Timeout,
            _ => SendErrorKind::Transport,
        };
        self.fail(id, kind);
    }

    /// Ends a send with an error, or with its weak receipt if it has one.
    pub(super) fn fail(&mut self, id: OpId, kind: SendErrorKind) {
        let Some((error, weak)) = self.end_failed(id, kind) else {
            return;
        };
        self.complete(id, weak.ok_or(error));
    }

    /// Removes a send that has no attempt under way any more, and says how it failed.
    pub(super) fn end_failed(
        &mut self,
        id: OpId,
        kind: SendErrorKind,
    ) -> Option<(SendError, Option<Completion>)> {
        let mut op = self.end(id)?;
        let (delivery, now) = (op.delivery(), self.now);
        let kind = match op.weak.take_if(|_| op.message.is_half()) {
            Some(weak) => SendErrorKind::NotPrepared { status: weak.status },
            None => kind,
        };
        let elapsed = now.saturating_since(op.command.started);
        let weak = op.weak.map(|receipt| SendReceipt {
            topic: op.message.message.topic_shared(),
            failed_attempts: op.failed.iter().filter(|a| !is_weak(a)).cloned().collect(),
            elapsed,
            ..*receipt
        });
        let weak = weak.map(|receipt| match op.message.batch() {
            Some(batch) => Completion::StoredBatch(batch.receipts(&receipt)),
            None => Completion::Stored(receipt),
        });
        let error = SendError::of(kind, delivery, op.failed, op.message, elapsed);
        let error = error.with_retry_withheld(op.withheld);
        let unwritable = match error.kind() {
            SendErrorKind::NoWritableQueue => self.topics.get(op.topic).map(|it| &it.unwritable),
            _ => None,
        };
        Some((error.with_unwritable(unwritable.cloned().unwrap_or_default()), weak))
    }

    /// Removes a send from every table. What is still on the wire is remembered as late.
    pub(super) fn end(&mut self, id: OpId) -> Option<Op> {
        self.leave(id);
        let op = self.ops.remove(id)?;
        if op.message.is_half() {
            self.half_ended(op.message.unique_key, &op.failed);
        }
        if let Some(request) = op.message.correlation_id() {
            self.request_failed(&request, id);
        }
        if op.state == OpState::Routing {
            self.tidy_waiters(op.topic);
        }
        Some(op)
    }

    /// Removes a send from every table but that of the sends. Whether the attempt under way, if
    /// there is one, has sent nothing and never will.
    fn leave(&mut self, id: OpId) -> bool {
        let Some(op) = self.ops.get_mut(id) else {
            return true;
        };
        if !planted!(TimerKept) {
            self.timers.cancel(&mut op.timer);
        }
        if op.state == OpState::Routing
            && let Some(topic) = self.topics.get_mut(op.topic)
        {
            topic.forget_waiter(id);
        }
        let op = match op.command.order {
            None => op,
            Some(order) => {
                let topic = op.topic;
                self.leave_order(id, topic, order);
                let Some(op) = self.ops.get_mut(id) else {
                    return true;
                };
                op
            }
        };
        // An earlier attempt was answered: the one under way is given up.
        let (awaited, number) = (op.command.mode == Mode::Awaited, op.number);
        let unique_key = op.message.unique_key;
        let left = op.current.as_ref().filter(|current| awaited && current.stage >= Stage::Write);
        let request = left.and_then(|current| Some((current.conn?, current.opaque)));
        let connecting = left.is_none();
        let unwritten = left.filter(|current| current.stage == Stage::Write).cloned();
        for entry in core::mem::take(&mut op.outstanding) {
            self.remember_late(entry.conn, Late { opaque: entry.opaque, op: id, unique_key });
        }
        if unwritten.is_some_and(|it| self.take_back(id, number, &it) == TakenBack::Removed) {
            return true;
        }
        if let Some((conn, opaque)) = request {
            self.remember_late(conn, Late { opaque, op: id, unique_key });
        }
        connecting
    }

    fn remember_late(&mut self, conn: ConnId, late: Late) {
        let Some(session) = self.session(conn) else {
            return;
        };
        if session.requests.remove(late.opaque).is_some() {
            session.remember_late(late);
            self.close_if_drained(conn);
        }
    }

    #[inline]
    pub(super) fn complete(&mut self, op: OpId, result: Result<Completion, SendError>) {
        if planted!(Canary) {
            self.outputs.push_back(Output::Complete { op, result: result.clone() });
        }
        self.outputs.push_back(Output::Complete { op, result });
        self.begin_due();
        self.check_drained();
    }
}

/// Whether an attempt is the one that brought a weak receipt.
pub(super) fn is_weak(attempt: &Attempt) -> bool {
    match &attempt.failure {
        AttemptFailure::Answered { code, .. } => SendStatus::from_code(*code).is_some(),
        _ => false,
    }
}

fn op_mode(op: Option<&Op>) -> Option<Mode> {
    op.map(|op| op.command.mode)
}
