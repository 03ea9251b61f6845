//! Sending the records of traced producers, beside what the application sends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rocketmq_core::wire::TraceRecord;
use rocketmq_core::{
    ClockReading, GroupError, GroupId, Instant, OpId, PreparedMessage, SendCommand, TracerId,
    limits,
};

use super::Driver;
use crate::runtime::Runtime;
use crate::trace::{Collector, TraceMessage, TraceStart};

/// The traced producers, and the messages with their records that are in flight.
#[derive(Debug, Default)]
pub(super) struct Tracers {
    list: BTreeMap<TracerId, Tracer>,
    open: HashMap<OpId, Open>,
    /// Bytes of the bodies in flight.
    open_bytes: usize,
    next: u64,
    /// The client closes, and all that is left has time until then.
    last_call: Option<Instant>,
}

#[derive(Debug)]
struct Tracer {
    collector: Collector,
    /// The group that sends; `None` if it could not be registered.
    sender: Option<GroupId>,
    /// The number of the producer that is traced; `None` once it has gone.
    producer: Option<u32>,
}

#[derive(Debug)]
struct Open {
    tracer: TracerId,
    records: usize,
    bytes: usize,
}

impl Tracers {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn is_open(&self, op: OpId) -> bool {
        !self.open.is_empty() && self.open.contains_key(&op)
    }

    pub(super) fn add(&mut self, tracer: TracerId, record: &TraceRecord) {
        if let Some(tracer) = self.list.get_mut(&tracer) {
            tracer.collector.add(record);
        }
    }

    /// The last handle of a producer has gone: its records wait for no others.
    pub(super) fn producer_gone(&mut self, producer: u32) {
        for tracer in self.list.values_mut().filter(|it| it.producer == Some(producer)) {
            tracer.producer = None;
        }
    }

    /// Nothing waits, and nothing is in flight.
    fn is_idle(&self) -> bool {
        self.open.is_empty() && self.list.values().all(|tracer| tracer.collector.is_empty())
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.open.is_empty()
            || (self.open.len() < limits::TRACES_IN_FLIGHT_MAX as usize
                && self.open_bytes + bytes <= limits::TRACES_IN_FLIGHT_BYTES_MAX)
    }

    /// The driver ends: nothing is sent any more.
    pub(super) fn drop_all(&mut self) {
        for (_, Open { tracer, records, .. }) in self.open.drain() {
            if let Some(tracer) = self.list.get(&tracer) {
                tracer.collector.counters.dropped(records);
            }
        }
        self.list.values_mut().for_each(|tracer| tracer.collector.drop_all());
    }
}

impl<R: Runtime> Driver<R> {
    /// Registers a producer, and the group that sends its records. If that one cannot be, all
    /// records are dropped: a trace never stands in the way of what it tells of.
    // Java: AsyncTraceDispatcher#genGroupNameForTrace
    pub(super) fn register_traced(
        &mut self,
        now: Instant,
        producer: u32,
        name: &str,
        start: TraceStart,
    ) -> Option<GroupId> {
        let id = TracerId(self.tracers.next);
        self.tracers.next += 1;
        let clock = ClockReading { instant: now, wall: self.shared.clock.wall() };
        let topic = start.options.topic.clone();
        let group = self.machine.register_traced(now, name, id, &topic, clock).ok()?;
        let mut sender = None;
        // Nobody else uses such names; if somebody does, another number is free.
        for number in 1..=limits::GROUPS_MAX {
            match self.machine.register_trace_sender(now, &self.sender_name(name, number)) {
                Err(GroupError::Duplicate(_)) => {}
                registered => {
                    sender = registered.ok();
                    break;
                }
            }
        }
        let collector = Collector::new(start, &self.shared.config, now);
        self.tracers.list.insert(id, Tracer { collector, sender, producer: Some(producer) });
        Some(group)
    }

    /// The name of a group that sends records. What is too long is cut.
    fn sender_name(&self, group: &str, number: usize) -> String {
        let namespace = &self.shared.config.namespace;
        let around = "_INNER_TRACE_PRODUCER--PRODUCE-0000".len() + namespace.len() + 1;
        let room = limits::GROUP_LENGTH_MAX.saturating_sub(around);
        let group: String = group.chars().take(room).collect();
        format!("_INNER_TRACE_PRODUCER-{group}-PRODUCE-{number}")
    }

    /// Whether the close waits: as long as the application's sends are under way, and then for the
    /// records that tell of them, within its deadline.
    pub(super) fn awaits_traces(&mut self, now: Instant, deadline: Instant) -> bool {
        if self.tracers.is_empty() || now >= deadline {
            return false;
        }
        // The records of what has just ended.
        self.carry_out(now);
        if self.is_sending() {
            return true;
        }
        let end = (now + limits::TRACE_SEND_TIMEOUT).min(deadline);
        let end = *self.tracers.last_call.get_or_insert(end);
        now < end && !self.tracers.is_idle()
    }

    /// Whether sends of the application, or transactions, are under way.
    fn is_sending(&self) -> bool {
        self.machine.in_flight() > self.tracers.open.len()
            || self.machine.table_sizes().transactions > 0
    }

    /// Sends the messages with records that are due, as far as there is room, and forgets the
    /// producers that have gone and of which nothing is left.
    pub(super) fn send_traces(&mut self, now: Instant) {
        if self.closing.as_ref().is_some_and(|closing| closing.begun) {
            return;
        }
        let gone = self.tracers.list.values().any(|tracer| tracer.producer.is_none());
        if !gone && self.traces_due() > now {
            return;
        }
        let ids: Vec<TracerId> = self.tracers.list.keys().copied().collect();
        for id in ids {
            while let Some(message) = self.next_trace(now, id) {
                self.send_trace(now, id, message);
            }
            let Some(tracer) = self.tracers.list.get(&id) else { continue };
            let in_flight = self.tracers.open.values().any(|open| open.tracer == id);
            let left = tracer.producer.is_some() || !tracer.collector.is_empty() || in_flight;
            if !left && !self.machine.is_tracing(id) {
                let sender = self.tracers.list.remove(&id).and_then(|tracer| tracer.sender);
                if let Some(sender) = sender {
                    self.machine.unregister(now, sender);
                }
            }
        }
    }

    /// The next message of a producer's trace, if one is due and there is room for it.
    fn next_trace(&mut self, now: Instant, id: TracerId) -> Option<TraceMessage> {
        let closing = self.closing.is_some();
        let tracer = self.tracers.list.get_mut(&id)?;
        let hurry = closing || tracer.producer.is_none();
        let message = tracer.collector.next(now, hurry)?;
        if self.tracers.has_room(message.message.body().len()) {
            return Some(message);
        }
        let tracer = self.tracers.list.get_mut(&id)?;
        tracer.collector.put_back(message);
        None
    }

    fn send_trace(&mut self, now: Instant, id: TracerId, message: TraceMessage) {
        let TraceMessage { message, records } = message;
        let bytes = message.body().len();
        let Some(tracer) = self.tracers.list.get(&id) else { return };
        let (sender, counters) = (tracer.sender, Arc::clone(&tracer.collector.counters));
        let shared = Arc::clone(&self.shared);
        let clock = ClockReading { instant: now, wall: shared.clock.wall() };
        let unique_key = shared.identity.next_key(clock.wall, &*shared.clock);
        // Never compressed: this is the task that moves the application's bytes.
        let prepared = PreparedMessage::new(message, unique_key, clock, &shared.config);
        let (Some(sender), Ok(prepared)) = (sender, prepared) else {
            return counters.dropped(records);
        };
        let end = now + limits::TRACE_SEND_TIMEOUT;
        let end = end.min(self.tracers.last_call.unwrap_or(end));
        let op = shared.lend_op();
        self.tracers.open.insert(op, Open { tracer: id, records, bytes });
        self.tracers.open_bytes += bytes;
        if self.machine.send(now, op, prepared, SendCommand::new(sender, now, end)).is_err() {
            self.trace_ended(op, false);
        }
    }

    /// A message with records has been stored, or has not.
    pub(super) fn trace_ended(&mut self, op: OpId, stored: bool) {
        let Some(Open { tracer, records, bytes }) = self.tracers.open.remove(&op) else { return };
        self.tracers.open_bytes -= bytes;
        self.shared.take_op_back(op);
        let Some(tracer) = self.tracers.list.get(&tracer) else { return };
        match stored {
            true => tracer.collector.counters.sent(records),
            false => tracer.collector.counters.dropped(records),
        }
    }

    /// When there is something to do about traces.
    pub(super) fn traces_due(&self) -> Instant {
        let Tracers { list, last_call, .. } = &self.tracers;
        match &self.closing {
            Some(closing) if closing.begun => return Instant::FAR_FUTURE,
            // The close goes on as soon as all has ended.
            Some(_) if !self.is_sending() && (last_call.is_none() || self.tracers.is_idle()) => {
                return Instant::ZERO;
            }
            _ => {}
        }
        let mut due = last_call.unwrap_or(Instant::FAR_FUTURE);
        // Without room it goes on when there is some again. A producer that has gone is forgotten
        // with the end of its last send, which wakes the driver as well.
        let closing = self.closing.is_some();
        for Tracer { collector, producer, .. } in list.values() {
            if self.tracers.has_room(collector.ready_bytes().unwrap_or_default()) {
                due = due.min(collector.due(closing || producer.is_none()));
            }
        }
        due
    }
}
