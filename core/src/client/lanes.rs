//! Sends that keep an order: of all with one topic and one key, one is under way at a time.

use alloc::collections::{BTreeMap, VecDeque};

use super::Client;
use super::operation::OpState;
use super::timers::TimerKey;
use crate::id::OpId;
use crate::selection::OrderKey;
use crate::slab::Key;

/// Stale entries that a lane may hold however few of its sends wait.
const GONE_MAX: usize = 16;

/// All orders in which a send is open. Empty, and without memory, while none is used.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<(Key, OrderKey), Lane>,
    /// Sends whose turn has come.
    due: VecDeque<OpId>,
    /// The sends of `due` are being begun: others that end meanwhile only add to it.
    beginning: bool,
}

/// One order. It exists while a send of it is under way.
#[derive(Debug)]
struct Lane {
    first: OpId,
    /// Those behind it, in the order in which they came. As many as there are open sends at most.
    waiting: VecDeque<OpId>,
    /// Entries of `waiting` whose send has ended.
    gone: usize,
}

impl Lanes {
    /// Number of orders in which a send is open.
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether a send of the topic keeps an order.
    pub(super) fn uses(&self, topic: Key) -> bool {
        let of_topic = (topic, OrderKey::MIN)..=(topic, OrderKey::MAX);
        self.lanes.range(of_topic).next().is_some()
    }

    /// Every send ends now: no turn comes any more.
    pub(super) fn clear(&mut self) {
        *self = Lanes::default();
    }

    /// Whether it is the send's turn at once; otherwise it waits.
    fn enter(&mut self, topic: Key, order: OrderKey, id: OpId) -> bool {
        if let Some(lane) = self.lanes.get_mut(&(topic, order)) {
            lane.waiting.push_back(id);
            return false;
        }
        self.lanes.insert((topic, order), Lane { first: id, waiting: VecDeque::new(), gone: 0 });
        true
    }

    /// A send has ended. If it was under way, the next one's turn has come.
    fn leave(&mut self, topic: Key, order: OrderKey, id: OpId, is_open: impl Fn(OpId) -> bool) {
        let Some(lane) = self.lanes.get_mut(&(topic, order)) else { return };
        if lane.first == id {
            while let Some(next) = lane.waiting.pop_front() {
                if is_open(next) {
                    lane.first = next;
                    self.due.push_back(next);
                    return;
                }
                lane.gone = lane.gone.saturating_sub(1);
            }
            self.lanes.remove(&(topic, order));
            return;
        }
        if lane.waiting.back() == Some(&id) {
            lane.waiting.pop_back();
            return;
        }
        lane.gone += 1;
        if lane.gone > lane.waiting.len() / 2 + GONE_MAX {
            lane.waiting.retain(|waiting| *waiting != id && is_open(*waiting));
            lane.gone = 0;
        }
    }
}

impl Client {
    /// Begins a send that belongs in an order, when its turn comes.
    pub(super) fn begin_in_order(&mut self, id: OpId, topic: Key, order: OrderKey) {
        if self.lanes.enter(topic, order, id) {
            return self.route_and_attempt(id);
        }
        let Some(op) = self.ops.get_mut(id) else { return };
        op.state = OpState::InOrder;
        op.timer = self.timers.schedule(op.command.deadline, TimerKey::Op(id));
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.last_used = self.now;
        }
    }

    /// A send is about to be removed: nothing of it can leave any more, except what has left.
    pub(super) fn leave_order(&mut self, id: OpId, topic: Key, order: OrderKey) {
        let ops = &self.ops;
        self.lanes.leave(topic, order, id, |waiting| ops.get(waiting).is_some());
    }

    /// Begins the sends whose turn has come. Not from within itself, so that a long row of sends
    /// that fail at once is no deep recursion.
    pub(super) fn begin_due(&mut self) {
        if self.lanes.due.is_empty() || self.lanes.beginning {
            return;
        }
        self.lanes.beginning = true;
        while let Some(id) = self.lanes.due.pop_front() {
            if let Some(op) = self.ops.get_mut(id) {
                self.timers.cancel(&mut op.timer);
                self.route_and_attempt(id);
            }
        }
        self.lanes.beginning = false;
    }
}
