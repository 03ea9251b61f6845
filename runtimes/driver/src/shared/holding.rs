//! Sends that have room and wait for others to leave with.

use rocketmq_core::{Instant, Room};

use super::{Command, Placement, Request, State};
use crate::gather::{Gatherer, Group, Held};

impl State {
    /// Holds a send that has its room until others leave with it. Also whether the driver has to be
    /// woken.
    pub(super) fn hold(&mut self, now: Instant, request: Request, room: Room) -> (Placement, bool) {
        let number = self.next_number;
        self.next_number += 1;
        let _ = request.slot.hold(false);
        let mut leaving = Vec::new();
        let held = Held { number, request, room };
        match self.gatherers.get_mut(&held.request.group) {
            Some(gatherer) => {
                gatherer.hold(now, held, &mut leaving);
                self.leaves_at = self.leaves_at.min(gatherer.leaves_at().unwrap_or(self.leaves_at));
            }
            None => leaving.push(vec![held]),
        }
        self.leave_together(leaving);
        let wake = self.leaves_at < self.armed || !self.commands.is_empty();
        (Placement::Waiting(number), wake)
    }

    /// Hands what is held to the driver, without waiting for more.
    pub(super) fn let_go(&mut self) {
        let mut leaving = Vec::new();
        self.gatherers.values_mut().for_each(|gatherer| gatherer.all(&mut leaving));
        self.leaves_at = Instant::FAR_FUTURE;
        self.leave_together(leaving);
    }

    /// As [`State::let_go`], of what has lingered until `now`.
    pub(super) fn let_go_due(&mut self, now: Instant) {
        if self.leaves_at > now {
            return;
        }
        let mut leaving = Vec::new();
        self.gatherers.values_mut().for_each(|gatherer| gatherer.due(now, &mut leaving));
        let next = self.gatherers.values().filter_map(Gatherer::leaves_at).min();
        self.leaves_at = next.unwrap_or(Instant::FAR_FUTURE);
        self.leave_together(leaving);
    }

    pub(super) fn leave_together(&mut self, leaving: Vec<Group>) {
        for mut group in leaving {
            if group.len() > 1 {
                let op = self.ids.allocate();
                self.commands.push_back(Command::SendGroup { op, group });
            } else if let Some(Held { request, room, .. }) = group.pop() {
                let request = Request { announce: false, ..request };
                self.accept(request, room);
            }
        }
    }

    /// Takes a send out that is held.
    pub(super) fn unhold(&mut self, number: u64) -> Option<Request> {
        let take = |gatherer: &mut Gatherer| gatherer.take(number);
        let Held { request, room, .. } = self.gatherers.values_mut().find_map(take)?;
        self.admission.release(room);
        Some(request)
    }
}
