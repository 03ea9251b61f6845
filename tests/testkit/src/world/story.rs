//! The story of one run as plain data: who sent what, what each attempt met, what broke, and when.
//!
//! It is made from what was on the wire, what the servers hold and what the clients reported, after
//! the run or in the middle of one. [`Story::lines`] tells it to people, and
//! [`timeline`](super::timeline) draws it.

use std::fmt;

use rocketmq_core::{Delivery, Stage};

use super::World;
use crate::cluster::Node;

mod read;
mod tell;

pub(in crate::world) use tell::short;
pub use tell::{StoryLine, Tone};

/// One run from its beginning to its end, or as far as it got.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Story {
    /// The seed.
    pub seed: u64,
    /// What the cluster, the clients and the network were, a line for each.
    pub about: Vec<String>,
    /// Name servers, then brokers.
    pub lanes: Vec<Lane>,
    /// How many clients there were.
    pub clients: usize,
    /// The parts of the run, in order.
    pub phases: Vec<PhaseStory>,
    /// What broke, in order.
    pub faults: Vec<FaultStory>,
    /// Brokers that a client avoided, in order.
    pub isolations: Vec<Isolation>,
    /// Connections that were made, in order.
    pub connections: Vec<ConnectionStory>,
    /// Every send, in the order of the calls.
    pub sends: Vec<SendStory>,
    /// What else the clients reported.
    pub notes: Vec<Note>,
    /// Messages that the brokers hold.
    pub copies: u64,
    /// What did not hold.
    pub violations: Vec<String>,
    /// Time at which the story ends.
    pub end_ns: u64,
    /// Lines of the trace.
    pub trace_lines: u64,
    /// Hash of the trace.
    pub hash: u128,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Which.
    pub node: Node,
    /// Its name.
    pub name: String,
}

/// A part of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseStory {
    /// Its name.
    pub name: String,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// Something that broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultStory {
    /// Its place in the plan.
    pub number: usize,
    /// The name of its kind.
    pub name: String,
    /// What happens; empty if the kind is not one of the menu.
    pub text: &'static str,
    /// Which server it struck; `None`: clients or the network.
    pub node: Option<Node>,
    /// When it began.
    pub start_ns: u64,
    /// When it ended; the same as its start if it was over at once.
    pub end_ns: u64,
}

/// A time in which a client chose other brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// The client.
    pub client: usize,
    /// The broker.
    pub node: Node,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// A connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStory {
    /// The client.
    pub client: usize,
    /// The server; `None` if its address has changed since.
    pub node: Option<Node>,
    /// When it was made.
    pub start_ns: u64,
    /// When it ended, and why.
    pub end: Option<(u64, String)>,
}

/// Something that a client reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at_ns: u64,
    /// Who.
    pub client: usize,
    /// Equal for notes of which one stands for all.
    pub kind: String,
    /// What.
    pub text: String,
}

/// One send.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendStory {
    /// Its place in the order of the calls.
    pub number: usize,
    /// Who sent it.
    pub client: usize,
    /// The topic.
    pub topic: String,
    /// Whether no answer was asked for.
    pub oneway: bool,
    /// When the application called.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: Option<u64>,
    /// When the application gave it up.
    pub cancelled_ns: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The same in words.
    pub words: String,
    /// Every attempt.
    pub attempts: Vec<AttemptStory>,
    /// How many copies the brokers hold.
    pub copies: usize,
}

/// One attempt, as the wire saw it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttemptStory {
    /// 1 for the first.
    pub number: u32,
    /// The broker's name.
    pub broker: String,
    /// The broker.
    pub node: Option<Node>,
    /// The queue on it.
    pub queue: u32,
    /// When the queue was chosen.
    pub start_ns: u64,
    /// When the socket had taken the last byte.
    pub written_ns: Option<u64>,
    /// When the first answer came, and its code. It may have come after the end.
    pub answer: Option<(u64, i32)>,
    /// When the attempt ended.
    pub end_ns: u64,
    /// How far it got until then.
    pub stage: Stage,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What became of the message.
    pub ending: Ending,
}

/// How a send or an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// A broker stored it.
    Stored,
    /// A broker stored it with less durability than it is configured for, or without saying where.
    Weak,
    /// A broker stored it, and its answer came after the client had given that attempt up.
    Late,
    /// Oneway: all of it went into a socket.
    Sent,
    /// Every broker that had it refused it.
    Refused,
    /// A broker had it and did not say what became of it.
    Unknown,
    /// No broker had all of it.
    NotSent,
    /// It has not ended.
    Open,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 8] = [
        Ending::Stored,
        Ending::Weak,
        Ending::Late,
        Ending::Sent,
        Ending::Refused,
        Ending::Unknown,
        Ending::NotSent,
        Ending::Open,
    ];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Stored => "stored",
            Ending::Weak => "weak",
            Ending::Late => "late",
            Ending::Sent => "sent",
            Ending::Refused => "refused",
            Ending::Unknown => "unknown",
            Ending::NotSent => "not sent",
            Ending::Open => "open",
        }
    }

    /// Whether a broker acknowledged it.
    pub fn is_stored(self) -> bool {
        matches!(self, Ending::Stored | Ending::Weak | Ending::Late)
    }
}

impl From<Delivery> for Ending {
    fn from(delivery: Delivery) -> Ending {
        match delivery {
            Delivery::NotSent => Ending::NotSent,
            Delivery::Refused => Ending::Refused,
            Delivery::Unknown => Ending::Unknown,
        }
    }
}

impl Story {
    /// What has happened in a world so far.
    pub fn of(world: &World) -> Story {
        read::story(world)
    }

    /// The name of a server.
    pub fn name(&self, node: Node) -> &str {
        self.lanes.iter().find(|lane| lane.node == node).map_or("?", |lane| &lane.name)
    }

    /// Every attempt with its send.
    pub fn attempts(&self) -> impl Iterator<Item = (&SendStory, &AttemptStory)> {
        self.sends.iter().flat_map(|send| send.attempts.iter().map(move |attempt| (send, attempt)))
    }

    /// How many sends ended so.
    pub fn count(&self, ending: Ending) -> usize {
        self.sends.iter().filter(|send| send.ending == ending).count()
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{}", line.text))
    }
}
