//! Faults of clocks, and of the application.

use std::time::Duration;

use super::{Blow, Kind, TOPICS, pick};
use crate::world::{SendId, SendSpec, World};

const HOUR_MS: i64 = 3_600_000;

impl Blow {
    pub(super) fn local(&mut self, world: &mut World) {
        match self.kind {
            Kind::WallJump => {
                let by = self.random.below(2 * HOUR_MS as u64) as i64 - HOUR_MS;
                world.jump_wall(world.wall_ms_now().saturating_add(by).max(0));
            }
            Kind::WallFar => {
                let walls = [0, 1_600_000_000_000, 2_147_483_648_000, 4_294_967_296_000];
                world.jump_wall(pick(&mut self.random, &walls));
            }
            Kind::Burst => {
                let count = pick(&mut self.random, &[30, 100, 300]);
                for number in 0..count {
                    let topic = pick(&mut self.random, &TOPICS);
                    let client = self.random.below(self.clients as u64) as usize;
                    world.submit(SendSpec::new(topic, format!("burst {number}")).by(client));
                }
            }
            Kind::CancelStorm => {
                let open: Vec<_> = (0..world.records().len())
                    .map(SendId)
                    .filter(|id| world.outcome(*id).is_none())
                    .collect();
                for id in open {
                    world.cancel(id);
                }
            }
            // The first one is left to tell whether all is well in the end.
            Kind::CloseClient if self.clients > 1 => {
                let client = self.random.between(1, self.clients as u64 - 1) as usize;
                world.shutdown(client, Duration::from_millis(self.random.below(4_000)));
            }
            Kind::GroupsChange => {
                let client = self.random.below(self.clients as u64) as usize;
                if world.closed_ns(client).is_some() || world.closing(client) {
                    return;
                }
                let old = world.group(client);
                world.register(client, &format!("later-group-{}", self.number));
                self.afterwards(world, move |world| world.unregister(client, old));
            }
            // Timers, noise and laziness last for the whole run.
            _ => {}
        }
    }
}
