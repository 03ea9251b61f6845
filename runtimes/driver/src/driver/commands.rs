//! What handles ask for: taken from the queue, given to the machine.

use std::sync::Arc;

use rocketmq_core::{
    CancelOutcome, ClockReading, Instant, OpId, PreparedMessage, Room, SendCommand, SendError,
    SendErrorKind,
};

use super::{COMMANDS_KEPT, Closing, Driver};
use crate::client::CloseReport;
use crate::gather::{Group, Held};
use crate::ledger::Member;
use crate::runtime::Runtime;
use crate::shared::{Command, Exchange, Request};
use crate::slot::Slot;

impl<R: Runtime> Driver<R> {
    pub(super) fn take_commands(&mut self, now: Instant) -> Exchange {
        self.shared.identity.check_process();
        let counts = self.ledger.counts(self.open_connections);
        let exchange = self.shared.exchange(
            now,
            counts,
            &mut self.batch,
            &mut self.expired,
            &mut self.ledger.wakers,
        );
        for (request, bound) in self.expired.drain(..) {
            self.ledger.refuse(request, SendErrorKind::Backpressure(bound), now);
        }
        let mut batch = std::mem::take(&mut self.batch);
        let taken = batch.len();
        for command in batch.drain(..) {
            self.execute(now, command);
        }
        if taken < batch.capacity() / 4 {
            batch.shrink_to(COMMANDS_KEPT);
        }
        self.batch = batch;
        if exchange.handles_gone && self.closing.is_none() {
            // Every send has a deadline of its own.
            let deadline = Instant::FAR_FUTURE;
            self.closing = Some(Closing { deadline, slots: Vec::new(), begun: false });
        }
        exchange
    }

    fn execute(&mut self, now: Instant, command: Command) {
        match command {
            Command::Send { op, room, request } => self.send(now, op, room, request),
            Command::SendGroup { op, group } => self.send_group(now, op, group),
            Command::Cancel { op } => {
                if let CancelOutcome::Ended(error) = self.machine.cancel(now, op) {
                    self.ledger.end(op, Err(error));
                }
            }
            Command::Register { group, name, checks, trace } => {
                let index = group as usize;
                if self.groups.len() <= index {
                    self.groups.resize(index + 1, None);
                    self.check_handlers.resize(index + 1, None);
                }
                if let Some(slot) = self.check_handlers.get_mut(index) {
                    *slot = checks;
                }
                // The handle has made the same checks. If the machine is closing all the same,
                // sends of the group are refused as closed.
                let registered = match trace {
                    None => self.machine.register(now, &name).ok(),
                    Some(trace) => self.register_traced(now, group, &name, trace),
                };
                if let Some(slot) = self.groups.get_mut(index) {
                    *slot = registered;
                }
            }
            Command::Unregister { group: number } => {
                let group = self.groups.get_mut(number as usize).and_then(Option::take);
                if let Some(group) = group {
                    self.machine.unregister(now, group);
                }
                self.tracers.producer_gone(number);
                if let Some(slot) = self.check_handlers.get_mut(number as usize) {
                    *slot = None;
                }
            }
            Command::Resize { messages_max } => self.machine.set_in_flight_max(now, messages_max),
            Command::SetCredentials { credentials } => {
                self.machine.set_credentials(now, credentials);
            }
            Command::SetNameServers { addresses } => {
                self.machine.set_name_servers(now, addresses);
            }
            Command::NameServers { slot } => {
                let used = self.machine.name_servers().to_vec();
                self.ledger.wakers.extend(slot.end(used));
            }
            Command::WaitReady { slot, deadline } => {
                self.next_ready += 1;
                self.ready_slots.push((self.next_ready, slot));
                self.machine.wait_ready(now, self.next_ready, deadline);
            }
            Command::Queues { topic, slot, deadline } => {
                self.next_ready += 1;
                self.queues_slots.insert(self.next_ready, slot);
                self.machine.query_queues(now, self.next_ready, &topic, deadline);
            }
            Command::Flush { slot } => self.ledger.flush(slot),
            Command::Close { slot, deadline } => self.close(now, slot, deadline),
            Command::Query { id, query, slot, deadline } => {
                self.queries.enter(id, slot);
                self.machine.query(now, id, *query, deadline);
            }
            Command::CancelQuery { id } => {
                if self.queries.take(id).is_some() {
                    self.machine.cancel_query(now, id);
                }
            }
            Command::EndTransaction { unique_key, decision, deadline, slot } => {
                self.ends.enter(unique_key, decision, slot);
                self.machine.end_transaction(now, unique_key, decision, deadline);
            }
            Command::AbandonTransaction { unique_key } => {
                self.machine.abandon_transaction(now, unique_key);
            }
            Command::ForgetTransaction { unique_key } => {
                self.machine.forget_transaction(now, unique_key);
            }
            Command::AwaitReply { id, slot } => self.requests.enter(id, slot),
            Command::ForgetRequest { id } => {
                if self.requests.forget(id) {
                    self.machine.forget_request(now, id);
                }
            }
            Command::AnswerCheck { id, state } => {
                self.answering.remove(&id);
                self.machine.answer_check(now, id, state);
            }
        }
    }

    /// Sends what was gathered as one batch.
    fn send_group(&mut self, now: Instant, op: OpId, group: Group) {
        let shared = Arc::clone(&self.shared);
        let started = group.iter().map(|held| held.request.started).min().unwrap_or(now);
        let deadline = group.iter().map(|held| held.request.deadline).min().unwrap_or(now);
        let mut messages = Vec::with_capacity(group.len());
        let mut members = Vec::with_capacity(group.len());
        let mut first = None;
        for Held { request, room, .. } in group {
            let later = request.started.saturating_since(started);
            members.push(Member { slot: Arc::clone(&request.slot), room, later });
            let Request { message, group, mode, selection, when_down, order, slot, .. } = request;
            messages.push(message);
            first.get_or_insert((group, mode, selection, when_down, order, slot));
        }
        let Some((group, mode, selection, when_down, order, slot)) = first else { return };
        let called = ClockReading { instant: now, wall: shared.clock.wall() };
        let unique_key = shared.identity.next_key(called.wall, &*shared.clock);
        let others = members.split_off(1);
        let Some(Member { room, .. }) = members.pop() else { return };
        match PreparedMessage::gathered(messages, unique_key, called, &shared.config) {
            Ok(message) => {
                let request = Request {
                    message,
                    group,
                    mode,
                    selection,
                    when_down,
                    order,
                    retries_max: None,
                    started,
                    deadline,
                    time_with_room: None,
                    slot,
                    announce: false,
                    gather: false,
                };
                self.send_with(now, op, room, request, others);
            }
            // Only what fits was gathered.
            Err((reason, messages)) => {
                self.ledger.enter(op, slot, room);
                self.ledger.join(op, others);
                let messages = messages.into_iter().map(PreparedMessage::into_message).collect();
                self.ledger.end(op, Err(SendError::invalid_batch(reason, messages)));
            }
        }
    }

    fn send(&mut self, now: Instant, op: OpId, room: Room, request: Request) {
        self.send_with(now, op, room, request, Vec::new());
    }

    #[inline]
    fn send_with(
        &mut self,
        now: Instant,
        op: OpId,
        room: Room,
        request: Request,
        others: Vec<Member>,
    ) {
        self.fresh_bytes += room.bytes();
        let started = request.started;
        let deadline = request.time_with_room.map_or(request.deadline, |time| now + time);
        self.ledger.enter(op, request.slot, room);
        if !others.is_empty() {
            self.ledger.join(op, others);
        }
        let group = self.groups.get(request.group as usize).copied().flatten();
        let result = match group {
            Some(group) => {
                let command = SendCommand {
                    group,
                    mode: request.mode,
                    selection: request.selection,
                    when_down: request.when_down,
                    order: request.order,
                    retries_max: request.retries_max,
                    started,
                    deadline,
                };
                let sent = self.machine.send(now, op, request.message, command);
                sent.map_err(|rejected| (rejected.kind, rejected.message))
            }
            None => Err((SendErrorKind::Closed, request.message)),
        };
        if let Err((kind, message)) = result {
            let error = SendError::not_sent_prepared(kind, message);
            self.ledger.end(op, Err(error.with_elapsed(now.saturating_since(started))));
        }
    }

    fn close(&mut self, now: Instant, slot: Arc<Slot<CloseReport>>, deadline: Instant) {
        self.ledger.begin_report();
        let closing = self.closing.get_or_insert_with(|| Closing {
            deadline,
            slots: Vec::new(),
            begun: false,
        });
        closing.slots.push(slot);
        if deadline < closing.deadline {
            closing.deadline = deadline;
            if closing.begun {
                self.machine.shutdown(now, deadline);
            }
        }
    }

    /// Those who wait for room are let in while there is time; only then does the machine close,
    /// because it takes nothing in afterwards.
    pub(super) fn go_on_closing(&mut self, now: Instant, waiting: usize) {
        let Some(closing) = &self.closing else { return };
        let deadline = closing.deadline;
        if closing.begun || (waiting > 0 && now < deadline) || self.awaits_traces(now, deadline) {
            return;
        }
        if let Some(closing) = &mut self.closing {
            closing.begun = true;
        }
        for request in self.shared.take_waiting() {
            self.ledger.refuse(request, SendErrorKind::Closed, now);
        }
        self.machine.shutdown(now, deadline);
    }
}
