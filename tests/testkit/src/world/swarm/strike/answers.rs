//! What brokers answer instead of the truth.

use std::time::Duration;

use super::{Blow, Kind, pick};
use crate::cluster::{Fault, Node, Rule};
use crate::wire::Command;
use crate::world::World;

impl Blow {
    pub(super) fn answer(&mut self, world: &mut World) {
        let broker = Node::Broker(self.broker);
        match self.kind {
            Kind::ServerRequests | Kind::CompressedGarbage => self.requests(world, broker),
            Kind::OtherConnection => self.on_another_connection(world),
            Kind::GoAwayAlways => {
                self.rule(world, broker, Rule::sends().always(), Fault::go_away());
            }
            Kind::OutOfOrder => {
                for _ in 0..20 {
                    let delay = Duration::from_millis(self.random.below(200));
                    self.rule(world, broker, Rule::sends(), Fault::delay(delay));
                }
            }
            _ => {
                let fault = self.fault(world, broker);
                let times = pick(&mut self.random, &[1, 3, 20]);
                let rule = Rule::sends().after(self.random.below(4)).times(times);
                let late = self.kind != Kind::AnswerLate && self.random.chance(150);
                let delay = if late { self.millis(&[1, 100, 700, 2_000]) } else { Duration::ZERO };
                let late = if late { fault.delayed_by(delay) } else { fault };
                self.rule(world, broker, rule, late);
            }
        }
    }

    fn fault(&mut self, world: &World, broker: Node) -> Fault {
        let bytes = self.random.below(400) as usize;
        match self.kind {
            Kind::FlushDiskTimeout => Fault::weak_acknowledgement(10),
            Kind::SlaveNotAvailable => Fault::weak_acknowledgement(11),
            Kind::FlushSlaveTimeout => Fault::weak_acknowledgement(12),
            Kind::GoAwayOnce => Fault::go_away(),
            Kind::WithoutReceipt => Fault::without_receipt(),
            Kind::MalformedReceipt => {
                let wrong = ["many", "-1", "99999999999999999999", ""];
                let field = pick(&mut self.random, &["queueOffset", "queueId", "msgId"]);
                Fault::with_field(field, pick(&mut self.random, &wrong))
            }
            Kind::AnswerLost => Fault::silent_after_storing(),
            Kind::RequestLost => Fault::silent(),
            Kind::AnswerTwice => Fault::twice(),
            Kind::AnswerLate => Fault::delay(self.millis(&[1_100, 3_200, 9_000])),
            Kind::WrongOpaque => Fault::wrong_opaque(1 << 30),
            Kind::OldOpaque => match self.old_opaque(world, broker) {
                Some(opaque) => Fault::wrong_opaque(opaque),
                None => Fault::twice(),
            },
            Kind::OnewayAnswered => Fault::none().even_oneway(),
            Kind::LongRemark => {
                let length = pick(&mut self.random, &[100, 20_000, 20_000, 1_000_000]);
                Fault::answer(2, "x".repeat(length))
            }
            Kind::OddJson => Fault::none().in_odd_json(),
            Kind::HalfFrame => {
                let announced = pick(&mut self.random, &[500, 100_000, 16_000_000_u32]);
                let word = if announced > 100_000 { 0 } else { 100 };
                let begin = [announced.to_be_bytes(), u32::to_be_bytes(word)].concat();
                Fault::garbage_after_storing(begin)
            }
            Kind::Garbage => Fault::garbage(self.junk(bytes)),
            Kind::GarbageAfterStoring => Fault::garbage_after_storing(self.junk(bytes)),
            Kind::CloseInsteadOfAnswer => Fault::close(),
            Kind::ResetAfterStoring => Fault::silent_after_storing().then_reset(),
            Kind::ResetInRequest => Fault::reset_in_request(bytes),
            Kind::ResetInAnswer => Fault::reset_in_answer(bytes),
            _ => self.refusal(),
        }
    }

    fn refusal(&mut self) -> Fault {
        let code = match self.kind {
            Kind::SystemError => 1,
            Kind::Busy => 2,
            Kind::FlowControl => 215,
            Kind::MessageIllegal => 13,
            Kind::ServiceNotAvailable => 14,
            Kind::NoPermission => 16,
            Kind::TopicNotExist => 17,
            Kind::InvalidParameter => 29,
            Kind::NotLeader => 501,
            Kind::OtherFinal => pick(&mut self.random, &[3, 15, 26]),
            Kind::OtherRetried => pick(&mut self.random, &[204, 205]),
            Kind::UnknownCode => pick(&mut self.random, &[777, 5_000, i32::MAX]),
            _ => -1,
        };
        let remark = "x".repeat(pick(&mut self.random, &[0, 10, 200]));
        // Only these may have stored the message: a broker does not lie in a simulation.
        let unsure = matches!(self.kind, Kind::SystemError | Kind::UnknownCode)
            || self.kind == Kind::NegativeCode;
        if unsure && self.random.chance(500) {
            Fault::answer_after_storing(code, remark)
        } else {
            Fault::answer(code, remark)
        }
    }

    fn junk(&mut self, length: usize) -> Vec<u8> {
        (0..length + 8).map(|_| self.random.draw() as u8).collect()
    }

    /// The number of a request of this server's connections that was answered already.
    fn old_opaque(&self, world: &World, broker: Node) -> Option<i32> {
        let mut answered = world.frames().iter().rev().take(200);
        let old = answered.find(|frame| frame.node == broker && frame.answer.is_some())?;
        let opaque = old.command.opaque;
        // Not one that is open on another connection: that would be a lie, not an accident.
        let open = |frame: &&crate::world::WireFrame| {
            frame.command.opaque >= opaque && frame.answer.is_none() && frame.node == broker
        };
        (!world.frames().iter().rev().take(500).any(|frame| open(&frame))).then_some(opaque)
    }

    /// The answer to a request that is open on one connection comes on another one, which has no
    /// such request.
    fn on_another_connection(&mut self, world: &mut World) {
        let recent = || world.frames().iter().rev().take(300);
        let open = recent()
            .find(|frame| frame.is_send() && frame.answer.is_none() && frame.written_ns.is_some());
        let Some(open) = open.map(|frame| (frame.link, frame.command.opaque)) else { return };
        let other = recent().find(|frame| {
            let used = |other: &&crate::world::WireFrame| {
                other.link == frame.link && other.command.opaque >= open.1
            };
            frame.link != open.0 && !recent().any(|other| used(&other))
        });
        let Some(other) = other.map(|frame| (frame.link, frame.node)) else { return };
        let answer = Command::request(0, open.1)
            .field("msgId", "0A00000100002A9F0000000000000000")
            .field("queueId", "0")
            .field("queueOffset", "4711");
        let answer = Command { flag: crate::wire::FLAG_RESPONSE, ..answer };
        let (link, node) = other;
        let connection = crate::cluster::ConnectionId(link);
        world.with(|cluster| cluster.send_frame(node, connection, answer.encode()));
    }

    fn requests(&mut self, world: &mut World, broker: Node) {
        let body = if self.kind == Kind::CompressedGarbage { "x\u{9c}junk" } else { "junk" };
        for _ in 0..self.random.between(1, 30) {
            let code = pick(&mut self.random, &[39, 40, 307, 326, 12_345]);
            world.with(|cluster| {
                let connections = cluster.connections(broker);
                if let Some(connection) = connections.first() {
                    let mut request = cluster.broker_request(code).with_body(body);
                    request.ext.insert("sysFlag", "1");
                    cluster.send_request(broker, *connection, request);
                }
            });
        }
    }
}
