//! The detector: brokers are asked from time to time whether they can be reached.

use alloc::sync::Arc;

use super::control::ControlKind;
use super::timers::TimerKey;
use super::{Client, Life};
use crate::error::AttemptFailure;
use crate::output::{Event, EventSet};
use crate::slab::Key;
use crate::strategy::{Detector, QueueStrategy};
use crate::wire::ResponseCode;

impl Client {
    /// The detector, if there is one and the strategy asks it.
    fn detector(&self) -> Option<Detector> {
        let asked =
            self.config.latency_avoidance && self.config.queue_strategy == QueueStrategy::Current;
        self.config.detector.filter(|_| asked)
    }

    /// Sets the time of the next round: up to a fifth early, so that clients spread out.
    pub(super) fn schedule_detector(&mut self) {
        let Some(detector) = self.detector() else { return };
        let spread = detector.interval / 5;
        let wait = detector.interval - spread * 2 + self.rng.jitter(spread * 2);
        self.timers.schedule(self.now + wait, TimerKey::Detector);
    }

    /// Asks every broker that has been silent, each on its own: one that does not answer delays
    /// nobody.
    // Java: LatencyFaultToleranceImpl#detectByOneRound
    pub(super) fn detect(&mut self) {
        if self.life != Life::Running {
            return;
        }
        let Some(detector) = self.detector() else { return };
        self.schedule_detector();
        if self.groups.iter().all(Option::is_none) {
            return;
        }
        for broker in self.brokers.keys() {
            let Some(endpoint) = self.brokers.get(broker).and_then(|broker| broker.master) else {
                continue;
            };
            let asks = |kind: &ControlKind| *kind == ControlKind::Reach { broker };
            if self.heard_lately(endpoint, detector) {
                self.reached(broker, true);
            } else if !self.controls.iter().any(|(_, control)| asks(&control.kind)) {
                self.start_control(endpoint, ControlKind::Reach { broker }, detector.timeout);
            }
        }
    }

    /// Whether the peer sent anything since half an interval ago: an answer to the last question is
    /// older than that.
    fn heard_lately(&self, endpoint: Key, detector: Detector) -> bool {
        let conn = self.conn_to(endpoint);
        let session = conn.and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
        session.is_some_and(|session| {
            let silent = self.now.saturating_since(session.last_received);
            session.frames > 0 && silent < detector.interval / 2
        })
    }

    /// A broker answered the detector. Any answer shows that it is there, unless it says that it is
    /// about to leave.
    pub(super) fn reach_answered(&mut self, broker: Key, code: ResponseCode) {
        let leaves = code == ResponseCode::GO_AWAY || code == ResponseCode::SERVICE_NOT_AVAILABLE;
        self.reached(broker, !leaves);
    }

    /// A broker did not answer the detector.
    pub(super) fn reach_failed(&mut self, broker: Key, failure: &AttemptFailure) {
        // The question has not left yet: that says nothing about the broker.
        if *failure != AttemptFailure::GivenUp {
            self.reached(broker, false);
        }
    }

    fn reached(&mut self, broker: Key, reachable: bool) {
        let (now, life) = (self.now, self.life);
        let Some(detector) = self.detector() else { return };
        let Some(broker) = self.brokers.get_mut(broker).filter(|_| life == Life::Running) else {
            return;
        };
        // The next round comes before that, and says it again if it is still so.
        let until = now + detector.interval * 2 + detector.timeout;
        let news = broker.fault.set_reachable(now, reachable, until);
        if !reachable {
            self.trouble_until = self.trouble_until.max(until);
        }
        if news {
            let broker_name = Arc::clone(&broker.name);
            self.event(EventSet::FAULTS, || Event::BrokerReachable { broker_name, reachable });
        }
    }
}
