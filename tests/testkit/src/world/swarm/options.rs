//! What an application may choose besides: in half of the plans, so that the other half is about
//! the settings that most have.

use std::time::Duration;

use rocketmq_core::{Detector, Mode, QueueStrategy, Selection, WhenDown};

use super::plan::{Plan, pick};
use crate::network::Random;

/// Lays options over a plan that is drawn.
pub(super) fn draw(random: &mut Random, plan: &mut Plan) {
    if random.chance(500) {
        return;
    }
    if random.chance(300) {
        plan.config.queue_strategy = QueueStrategy::Java500;
    }
    if random.chance(200) {
        let interval = Duration::from_millis(pick(random, &[200, 2_000, 5_000]));
        plan.config.detector = Some(Detector { interval, ..Detector::default() });
    }
    if random.chance(300) {
        plan.config.retry_budget = None;
    }
    let keys = pick(random, &[1, 2, 5, 20]);
    let (ordered, by_key) = (pick(random, &[0, 100, 400]), pick(random, &[0, 100, 300]));
    for send in &mut plan.sends {
        let spec = &mut send.spec;
        if spec.mode != Mode::Awaited || spec.selection != Selection::Any {
            continue;
        }
        let key = format!("key {}", random.below(keys));
        let when_down = pick(random, &[WhenDown::Wait, WhenDown::Fail, WhenDown::Move]);
        if random.chance(ordered) {
            *spec = spec.clone().ordered(&key).when_down(when_down);
        } else if random.chance(by_key) {
            let selection = match random.below(4) {
                0 => Selection::java_hash(&key),
                1 => Selection::go_hash(key.as_bytes()),
                2 => Selection::rendezvous(key.as_bytes()),
                _ => Selection::Random,
            };
            *spec = spec.clone().select(selection).when_down(when_down);
        }
    }
}
