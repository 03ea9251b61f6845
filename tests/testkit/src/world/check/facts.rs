//! What was seen so far, filed by send, by connection and by client.

use std::collections::{BTreeMap, BTreeSet};

use rocketmq_core::{Config, Event, Instant, Mode, OpId, OrderKey, Selection, WhenDown};

use super::super::{Outcome, Relaxed, SendRecord, SendSpec, WireAnswer, WireFrame};
use super::Seen;
use crate::cluster::Node;
use crate::wire::response_code;

/// When something was seen: the time, and its place among all that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) ns: u64,
    pub(crate) seq: u64,
}

/// Everything that was seen, so far as somebody may ask.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) now: Moment,
    /// What the machines had to say by then had all been taken from them.
    pub(crate) settled: Moment,
    /// Timers are served up to so many nanoseconds too late.
    pub(crate) late: u64,
    /// The machines are not drained after every input.
    pub(crate) lazy: bool,
    /// The machines may act before or after the time that their outputs seem to tell.
    pub(crate) vague: bool,
    pub(crate) relaxed: Relaxed,
    /// A client forgot a group.
    pub(crate) ungrouped: bool,
    pub(crate) clients: Vec<ClientFacts>,
    pub(crate) sends: Vec<SendFacts>,
    /// Answers to route queries, by connection and id.
    answered: BTreeSet<(u64, i32)>,
    pub(crate) links: BTreeMap<u64, LinkFacts>,
    by_key: BTreeMap<String, usize>,
    /// Connections that are held or dialled, by client and address.
    live: BTreeMap<(usize, String), Vec<u64>>,
}

/// A client.
#[derive(Debug)]
pub(crate) struct ClientFacts {
    pub(crate) config: Config,
    /// When the application closed it, and until when sends may go on.
    pub(crate) shut: Option<(Moment, u64)>,
    pub(crate) closed: Option<Moment>,
    /// Its clock was wrong at some time.
    pub(crate) wrong_clock: bool,
    /// Sends that have not ended.
    pub(crate) open: usize,
    by_op: BTreeMap<OpId, usize>,
}

/// A connection, from the dial on.
#[derive(Debug)]
pub(crate) struct LinkFacts {
    pub(crate) client: usize,
    pub(crate) address: String,
    pub(crate) node: Option<Node>,
    pub(crate) connected: Option<Moment>,
    /// When the client's end was gone.
    pub(crate) gone: Option<Moment>,
    /// When the peer first asked to go away.
    pub(crate) sent_away: Option<Moment>,
    /// Answers that came over it.
    pub(crate) received: u64,
    /// When something was begun on it that was cut too short to be read, and when it ended.
    pub(crate) fragment: Option<(Moment, Moment)>,
}

/// A send.
#[derive(Debug)]
pub(crate) struct SendFacts {
    pub(crate) client: usize,
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
    pub(crate) mode: Mode,
    pub(crate) queue: Option<(String, u32)>,
    /// What is to choose its queue, unless that may move.
    pub(crate) choice: Option<Selection>,
    /// Its queue is drawn.
    pub(crate) random: bool,
    /// It had no choice of the broker.
    pub(crate) has_own_queue: bool,
    /// It ends when the broker of its queue cannot be reached.
    pub(crate) fails_with_broker: bool,
    /// It waits for the broker of its queue, and looks for that from time to time.
    pub(crate) waits_for_broker: bool,
    /// The order in which it belongs.
    pub(crate) order: Option<OrderKey>,
    pub(crate) unique_key: String,
    pub(crate) attempts_max: u32,
    pub(crate) called: Moment,
    pub(crate) deadline_ns: u64,
    /// The same on the client's clock.
    pub(crate) deadline: Instant,
    pub(crate) cancelled: Option<Moment>,
    pub(crate) starts: Vec<Start>,
    pub(crate) frames: Vec<FrameFacts>,
    pub(crate) end: Option<End>,
}

/// An attempt, as the client announced it.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The decision fell after this.
    pub(crate) after: Moment,
    pub(crate) at: Moment,
    pub(crate) number: u32,
    pub(crate) broker: String,
    pub(crate) queue_id: u32,
}

/// A frame that carried a send.
#[derive(Clone, Debug)]
pub(crate) struct FrameFacts {
    pub(crate) link: u64,
    pub(crate) opaque: i32,
    pub(crate) queue_id: i32,
    /// When the socket took its first byte.
    pub(crate) begun: Moment,
    /// When the socket took its last byte, if it did.
    pub(crate) whole: Option<Moment>,
    pub(crate) answer: Option<AnswerFacts>,
}

/// The first answer to a frame.
#[derive(Clone, Debug)]
pub(crate) struct AnswerFacts {
    pub(crate) at: Moment,
    pub(crate) code: i32,
    pub(crate) remark: String,
    pub(crate) position: Option<(u32, u64)>,
}

/// The end of a send.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The decision fell after this.
    pub(crate) after: Moment,
    pub(crate) at: Moment,
    pub(crate) outcome: Outcome,
}

impl AnswerFacts {
    fn new(at: Moment, answer: &WireAnswer) -> AnswerFacts {
        let number = |name: &str| answer.ext.get(name).map(|text| text.parse::<i64>());
        let position = match (number("queueId"), number("queueOffset")) {
            (Some(Ok(queue)), Some(Ok(offset))) => {
                u32::try_from(queue).ok().zip(u64::try_from(offset).ok())
            }
            _ => None,
        };
        let remark = answer.remark.clone();
        AnswerFacts { at, code: answer.code, remark, position }
    }

    /// The broker says that it has the message.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(
            self.code,
            response_code::SUCCESS
                | response_code::FLUSH_DISK_TIMEOUT
                | response_code::SLAVE_NOT_AVAILABLE
                | response_code::FLUSH_SLAVE_TIMEOUT
        )
    }

    /// Stored, but with less durability than asked for.
    pub(crate) fn is_weak(&self) -> bool {
        self.is_stored() && self.code != response_code::SUCCESS
    }
}

impl SendFacts {
    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    pub(crate) fn is_oneway(&self) -> bool {
        self.mode == Mode::Oneway
    }

    /// Which of the announced attempts a frame belongs to.
    pub(crate) fn attempt_of(&self, frame: &FrameFacts) -> Option<usize> {
        let mine = |start: &Start| {
            start.at.seq <= frame.begun.seq
                && i64::from(start.queue_id) == i64::from(frame.queue_id)
        };
        self.starts.iter().rposition(mine)
    }

    /// The frame of an announced attempt.
    pub(crate) fn frame_of(&self, attempt: usize) -> Option<&FrameFacts> {
        self.frames.iter().find(|frame| self.attempt_of(frame) == Some(attempt))
    }

    /// Frames of which the socket took the last byte.
    pub(crate) fn whole_frames(&self) -> usize {
        self.frames.iter().filter(|frame| frame.whole.is_some()).count()
    }
}

impl Facts {
    pub(crate) fn by_key(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn by_op(&self, client: usize, op: OpId) -> Option<usize> {
        self.clients.get(client)?.by_op.get(&op).copied()
    }

    /// The send that a frame carries.
    pub(crate) fn send_of(&self, frame: &WireFrame) -> Option<usize> {
        frame.unique_key.as_deref().and_then(|key| self.by_key(key))
    }

    /// Connections of a client to an address, dials included.
    pub(crate) fn live(&self, client: usize, address: &str) -> &[u64] {
        self.live.get(&(client, address.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Whether a route query was answered.
    pub(crate) fn answered(&self, link: u64, opaque: i32) -> bool {
        self.answered.contains(&(link, opaque))
    }

    /// By how much a sloppy loop may be late.
    pub(crate) fn slack(&self) -> u64 {
        self.late + if self.lazy { 1_000_000 } else { 0 }
    }

    /// Files a call. False if its unique key is in use.
    pub(super) fn call(&mut self, record: &SendRecord, client: usize, body: &[u8]) -> bool {
        let send = self.sends.len();
        let queue = match &record.spec.selection {
            Selection::Queue(queue) => Some(queue),
            _ => None,
        };
        let free = matches!(record.spec.selection, Selection::Any | Selection::Random);
        self.sends.push(SendFacts {
            client,
            topic: record.spec.topic.clone(),
            body: body.to_vec(),
            mode: record.spec.mode,
            choice: may_not_move(&record.spec).then(|| record.spec.selection.clone()),
            queue: queue.map(|queue| (queue.broker_name().to_owned(), queue.queue_id())),
            random: record.spec.selection == Selection::Random,
            has_own_queue: !free || record.spec.order.is_some(),
            fails_with_broker: !free && record.spec.when_down == WhenDown::Fail,
            waits_for_broker: !free
                && record.spec.when_down == WhenDown::Wait
                && (queue.is_none() || record.spec.order.is_some()),
            order: record.spec.order,
            unique_key: record.unique_key.clone(),
            attempts_max: record.attempts_max,
            called: self.now,
            deadline_ns: record.deadline_ns,
            deadline: record.deadline,
            cancelled: None,
            starts: Vec::new(),
            frames: Vec::new(),
            end: None,
        });
        if let Some(client) = self.clients.get_mut(client) {
            client.open += 1;
            client.by_op.insert(record.op, send);
        }
        self.by_key.insert(record.unique_key.clone(), send).is_none()
    }

    /// Files what was seen, before anybody judges it.
    pub(super) fn file(&mut self, seen: &Seen<'_>) {
        let now = self.now;
        match seen {
            Seen::Client { config } => self.clients.push(ClientFacts {
                config: (*config).clone(),
                shut: None,
                closed: None,
                wrong_clock: false,
                open: 0,
                by_op: BTreeMap::new(),
            }),
            Seen::Cancelled { send } => {
                let known = self.sends.get_mut(*send);
                if let Some(known) = known.filter(|known| known.is_open()) {
                    known.cancelled.get_or_insert(now);
                }
            }
            Seen::Shut { client, until_ns } => {
                if let Some(client) = self.clients.get_mut(*client) {
                    let until = client.shut.map_or(*until_ns, |(_, known)| known.min(*until_ns));
                    client.shut = Some((client.shut.map_or(now, |(at, _)| at), until));
                }
            }
            Seen::Dialled { link, client, address, node } => {
                let facts = LinkFacts {
                    client: *client,
                    address: (*address).to_owned(),
                    node: *node,
                    connected: None,
                    gone: None,
                    sent_away: None,
                    received: 0,
                    fragment: None,
                };
                self.links.insert(*link, facts);
                let key = (*client, (*address).to_owned());
                self.live.entry(key).or_default().push(*link);
            }
            Seen::Connected { link } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.connected = Some(now);
                }
            }
            Seen::Gone { link } => {
                if let Some(known) = self.links.get_mut(link) {
                    known.gone.get_or_insert(now);
                    let key = (known.client, known.address.clone());
                    if let Some(live) = self.live.get_mut(&key) {
                        live.retain(|id| id != link);
                    }
                }
            }
            Seen::Fragment { link, begun } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.fragment = Some((*begun, now));
                }
            }
            Seen::Frame { frame } => self.frame(frame),
            Seen::Answer { link, frame, answer } => self.answer(*link, *frame, answer),
            Seen::Event { client, event } => self.event(*client, event),
            Seen::Ended { client, op, outcome } => self.ended(*client, *op, outcome),
            Seen::Closed { client } => {
                if let Some(client) = self.clients.get_mut(*client) {
                    client.closed.get_or_insert(now);
                }
            }
            Seen::WrongClock { client } => {
                if let Some(client) = self.clients.get_mut(*client) {
                    client.wrong_clock = true;
                }
            }
            Seen::Ungrouped => self.ungrouped = true,
            Seen::Read { .. } | Seen::Rest { .. } | Seen::Offered { .. } | Seen::Leaves { .. } => {}
        }
    }

    fn frame(&mut self, frame: &WireFrame) {
        let now = self.now;
        let Some(send) = self.send_of(frame) else { return };
        let send = &mut self.sends[send];
        let facts = FrameFacts {
            link: frame.link,
            opaque: frame.command.opaque,
            queue_id: frame.queue_id(),
            begun: frame.begun,
            whole: frame.written_ns.map(|_| now),
            answer: None,
        };
        // In the order in which they were begun: one may be stuck while a later one goes through.
        let place = send.frames.partition_point(|known| known.begun <= facts.begun);
        send.frames.insert(place, facts);
    }

    fn answer(&mut self, link: u64, frame: Option<&WireFrame>, answer: &WireAnswer) {
        let now = self.now;
        if let Some(link) = self.links.get_mut(&link) {
            link.received += 1;
            if answer.code == response_code::GO_AWAY && frame.is_some() {
                link.sent_away.get_or_insert(now);
            }
        }
        let Some(frame) = frame.filter(|frame| frame.answer.is_none()) else { return };
        if frame.is_route_query() {
            self.answered.insert((link, frame.command.opaque));
        }
        let Some(send) = self.send_of(frame) else { return };
        let send = &mut self.sends[send];
        let id = (frame.link, frame.command.opaque);
        let mut frames = send.frames.iter_mut();
        if let Some(known) = frames.find(|known| (known.link, known.opaque) == id) {
            known.answer = Some(AnswerFacts::new(now, answer));
        }
    }

    fn event(&mut self, client: usize, event: &Event) {
        let Event::AttemptStarted { op, number, broker_name, queue_id, .. } = event else {
            return;
        };
        let (after, at) = (self.settled, self.now);
        let Some(send) = self.by_op(client, *op) else { return };
        let (number, queue_id) = (*number, *queue_id);
        let broker = broker_name.to_string();
        self.sends[send].starts.push(Start { after, at, number, broker, queue_id });
    }

    fn ended(&mut self, client: usize, op: OpId, outcome: &Outcome) {
        let (after, at) = (self.settled, self.now);
        let Some(send) = self.by_op(client, op) else { return };
        if self.sends[send].is_open() {
            self.sends[send].end = Some(End { after, at, outcome: outcome.clone() });
            self.clients[client].open -= 1;
        }
    }
}

/// Its queue is a matter of its key, whatever happens to the broker.
fn may_not_move(spec: &SendSpec) -> bool {
    let by_key = matches!(
        spec.selection,
        Selection::JavaHash(_) | Selection::GoHash(_) | Selection::Rendezvous(_)
    );
    by_key && spec.when_down != WhenDown::Move
}
