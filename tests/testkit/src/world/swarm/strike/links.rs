//! Faults of connections.

use std::time::Duration;

use super::{Blow, Kind, pick};
use crate::cluster::Node;
use crate::network::{Cut, DialFault, Direction, LinkProfile, Segmentation, Writes};
use crate::world::World;

/// What waited behind a partition comes within this time.
const SPREAD: Duration = Duration::from_millis(300);

const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

impl Blow {
    pub(super) fn link(&mut self, world: &mut World) {
        let (node, all) = (self.node, 0..self.clients);
        match self.kind {
            Kind::Partition => self.part(world, all, &[node], &BOTH),
            Kind::PartitionOut => self.part(world, all, &[node], &BOTH[..1]),
            Kind::PartitionIn => self.part(world, all, &[node], &BOTH[1..]),
            Kind::PartitionOfClient => {
                let client = self.random.below(self.clients as u64) as usize;
                let nodes = world.cluster().nodes();
                self.part(world, client..client + 1, &nodes, &BOTH);
            }
            Kind::PartitionOfSide => {
                let mut nodes = world.cluster().nodes();
                nodes.retain(|_| self.random.chance(500));
                let directions = pick(&mut self.random, &[&BOTH[..], &BOTH[..1], &BOTH[1..]]);
                self.part(world, all, &nodes, directions);
            }
            Kind::Swizzle => self.swizzle(world),
            Kind::Clog => {
                let links: Vec<_> = world.network().open_links().map(|(id, ..)| id).collect();
                if links.is_empty() {
                    return;
                }
                let link = pick(&mut self.random, &links);
                world.network().clog(link);
                self.afterwards(world, move |world| world.network().unclog(link, SPREAD));
            }
            Kind::ResetOut | Kind::FinOut => {
                let cut = if self.kind == Kind::ResetOut { Cut::Reset } else { Cut::Fin };
                world.cut_outgoing(node, self.random.below(2_000), cut);
            }
            Kind::ResetIn | Kind::FinIn | Kind::HalfClose => {
                let cut = match self.kind {
                    Kind::ResetIn => Cut::Reset,
                    Kind::FinIn => Cut::Fin,
                    _ => Cut::Half,
                };
                world.cut_incoming(node, self.random.below(600), cut);
            }
            Kind::HalfOpen => world.silence(node),
            Kind::Unread => world.stop_reading(node),
            Kind::Resets => world.with(|cluster| cluster.reset_connections(node)),
            Kind::Replay => world.network().replay(node),
            Kind::Corruption => {
                let rate = pick(&mut self.random, &[200, 5_000, 100_000]);
                world.network().corrupt(node, rate);
                self.afterwards(world, move |world| world.network().corrupt(node, 0));
            }
            Kind::Mute => {
                self.for_a_while(world, |c| c.mute(node), move |c| c.accept(node));
            }
            Kind::Refusing => {
                self.for_a_while(world, |c| c.refuse(node), move |c| c.accept(node));
            }
            Kind::BlackHole => {
                self.for_a_while(world, |c| c.blackhole(node), move |c| c.accept(node));
            }
            Kind::DialRefused => self.dial(world, DialFault::Refused),
            Kind::DialBlackHole => self.dial(world, DialFault::BlackHole),
            Kind::DialNoName => self.dial(world, DialFault::NoName),
            Kind::DialClosed => self.dial(world, DialFault::ClosedAtOnce),
            _ => self.reshape(world),
        }
    }

    fn part(
        &mut self,
        world: &mut World,
        clients: std::ops::Range<usize>,
        nodes: &[Node],
        directions: &[Direction],
    ) {
        for (client, node) in clients.flat_map(|client| nodes.iter().map(move |n| (client, *n))) {
            for direction in directions.iter().copied() {
                world.network().part(client, node, direction);
                self.afterwards(world, move |world| {
                    world.network().rejoin(client, node, direction, SPREAD);
                });
            }
        }
    }

    /// Connections stop one by one within half of the time, and go on within the other half.
    fn swizzle(&mut self, world: &mut World) {
        let links: Vec<_> = world.network().open_links().map(|(id, ..)| id).collect();
        let half = u64::try_from(self.length.as_nanos() / 2).unwrap_or(u64::MAX);
        for link in links {
            let stops = Duration::from_nanos(self.random.below(half + 1));
            let goes_on = Duration::from_nanos(half + self.random.below(half + 1));
            world.after(stops, move |world| world.network().clog(link));
            world.after(goes_on, move |world| world.network().unclog(link, SPREAD));
        }
    }

    fn dial(&mut self, world: &mut World, fault: DialFault) {
        let node = self.node;
        world.set_dial_fault(node, Some(fault));
        self.afterwards(world, move |world| world.set_dial_fault(node, None));
    }

    /// The lines to a server behave in another way, live ones too.
    fn reshape(&mut self, world: &mut World) {
        let mut profile: LinkProfile = self.profile.clone();
        match self.kind {
            Kind::Delay => profile.delay = self.millis(&[30, 300, 1_000, 5_000]),
            Kind::Jitter => profile.jitter = self.millis(&[5, 50, 500]),
            Kind::Bandwidth => {
                profile.bandwidth = Some(pick(&mut self.random, &[1, 100, 2_000, 20_000]));
            }
            Kind::SmallBuffer => profile.buffer_bytes = 300,
            Kind::ByteReads => profile.segmentation = Segmentation::Bytes,
            Kind::PrefixReads => profile.segmentation = Segmentation::Random(7),
            Kind::ByteWrites => profile.writes = Writes::Bytes,
            Kind::PartialWrites => profile.writes = Writes::Partial,
            _ => profile.writes = Writes::Blocking,
        }
        let node = self.node;
        world.network().reshape(node, Some(profile));
        self.afterwards(world, move |world| world.network().reshape(node, None));
    }
}
