//! The list of what must hold of every run, by number.

use std::fmt;

/// How an invariant is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By an observer of the world, or by twin runs.
    Checked,
    /// It is about something that the client cannot do yet.
    NotYet(&'static str),
    /// By something else than the world.
    Elsewhere(&'static str),
}

/// What must hold of every run. The numbers stay for ever; violations are named by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Invariant(u8);

struct Row {
    name: &'static str,
    rule: &'static str,
    status: Status,
}

const fn checked(name: &'static str, rule: &'static str) -> Row {
    Row { name, rule, status: Status::Checked }
}

/// In the order of their numbers, from 1 on.
const ROWS: [Row; 32] = [
    checked("durable ack", "what a receipt says is in the broker's log, then and in the end"),
    checked("exactly one end", "a send ends once, after its call, and nothing follows"),
    checked("deadline", "a send has ended when its time is over"),
    checked("attempts", "a message is on the wire as often as allowed, a oneway message once"),
    checked("truth", "what a failure claims about the message is all that can be proved"),
    checked("duplicates", "there are no more copies than frames fully written"),
    checked("same message", "all attempts carry the same message, and nothing else is sent"),
    checked(
        "legal retries",
        "no attempt after the end or a final answer, nor before the last one ended",
    ),
    checked("avoidance", "an isolated broker is chosen only if no other is to be had"),
    checked("spread", "retries go to other brokers, and leave time for them"),
    checked("order", "on one connection, messages for one queue keep the order of the calls"),
    checked("correlation", "a receipt stems from an answer to a frame of this very send"),
    checked("request ids", "no two requests on a connection share an id"),
    checked("memory", "tables hold what is open, and nothing at rest"),
    checked("back-pressure", "what is framed ahead of a socket is bounded"),
    checked("timers", "there are few deadlines, none stays in the past"),
    checked("route faith", "every attempt goes where a route in force says"),
    checked("route keep", "name servers are asked once at a time, and not too often"),
    checked("connections", "an address has one connection that takes new requests"),
    Row {
        name: "transactions",
        rule: "every half message is resolved, once, to whom asked",
        status: Status::NotYet("the client has no transactions"),
    },
    checked("heartbeat", "while all is well every broker is greeted in time"),
    checked("close", "after the close nothing is left and nothing is sent"),
    checked("recovery", "without faults every message gets through, after a while"),
    checked("progress", "an open send has a deadline that will end it"),
    checked("isolation of faults", "sends to healthy brokers do not feel a fault elsewhere"),
    checked("determinism", "the same seed tells the same story"),
    checked("segmentation", "the same bytes in other pieces end the same"),
    checked("clock", "the wall clock changes nothing but time stamps and ids; ids are unique"),
    Row {
        name: "no panic",
        rule: "nothing panics and no number overflows",
        status: Status::Elsewhere("every run, built with debug assertions and overflow checks"),
    },
    checked("secrecy", "bodies appear in no event, no error and no story"),
    checked("weak acks", "weak acknowledgements are reported as such, and bettered only if wanted"),
    Row {
        name: "batches",
        rule: "a batch is stored whole or not at all, and each member ends once",
        status: Status::Elsewhere("batches under faults, with the driver that makes them"),
    },
];

impl Invariant {
    /// Number 1 to 32.
    ///
    /// # Panics
    /// If there is no such number.
    pub const fn number(number: u8) -> Invariant {
        assert!(number >= 1 && number as usize <= ROWS.len(), "there is no such invariant");
        Invariant(number)
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Invariant> {
        (1..=ROWS.len() as u8).map(Invariant)
    }

    fn row(self) -> &'static Row {
        &ROWS[usize::from(self.0) - 1]
    }

    /// In two words.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// In one line.
    pub fn rule(self) -> &'static str {
        self.row().rule
    }

    /// How it is looked after.
    pub fn status(self) -> Status {
        self.row().status
    }
}

/// As in `I-07`.
impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I-{:02}", self.0)
    }
}

/// Something that does not hold although it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What does not hold.
    pub invariant: Invariant,
    /// Where it does not.
    pub text: String,
}

impl Violation {
    /// A violation of invariant `number`.
    pub fn new(number: u8, text: impl Into<String>) -> Violation {
        Violation { invariant: Invariant::number(number), text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

impl std::error::Error for Violation {}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<Violation>);

impl Found {
    pub(crate) fn add(&mut self, number: u8, text: impl Into<String>) {
        // The first ones tell the story; a broken run can have thousands.
        if self.0.len() < 100 {
            self.0.push(Violation::new(number, text));
        }
    }
}
