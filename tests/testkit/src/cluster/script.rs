//! Scripts: which requests a node treats badly, and how.
//!
//! A [`Rule`] says which requests are meant, a [`Fault`] what happens to them. Rules of a node are
//! tried in the order in which they were added; the first that applies decides.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use rocketmq_testkit::cluster::{Cluster, ClusterConfig, Fault, Node, Rule};
//!
//! let mut cluster = Cluster::new(ClusterConfig::new().topic("Orders", 4));
//! let broker = Node::Broker(0);
//! // The third send to this topic is stored, but the broker says that it failed.
//! cluster.script(
//!     broker,
//!     Rule::sends().topic("Orders").nth(3),
//!     Fault::answer_after_storing(1, "flush failed"),
//! );
//! // Every later answer to a send takes a second.
//! cluster.script(broker, Rule::sends().always(), Fault::delay(Duration::from_secs(1)));
//! ```

use std::time::Duration;

use crate::wire::{Command, request_code, response_code};

/// Which requests a fault applies to: by default the next one that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    codes: Option<Vec<i32>>,
    topic: Option<String>,
    skip: u64,
    left: Option<u64>,
}

impl Rule {
    /// Any request.
    pub fn any() -> Self {
        Self { codes: None, topic: None, skip: 0, left: Some(1) }
    }

    /// Requests with this code.
    pub fn code(code: i32) -> Self {
        Self { codes: Some(vec![code]), ..Self::any() }
    }

    /// Every request that carries a message.
    pub fn sends() -> Self {
        Self { codes: Some(request_code::SENDS.to_vec()), ..Self::any() }
    }

    /// Route queries.
    pub fn routes() -> Self {
        Self::code(request_code::GET_ROUTEINFO_BY_TOPIC)
    }

    /// Heartbeats.
    pub fn heartbeats() -> Self {
        Self::code(request_code::HEART_BEAT)
    }

    /// Only requests about this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Only the `n`th matching request from now on, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// Lets the first `n` matching requests pass.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Applies to this many matching requests.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.left = Some(n);
        self
    }

    /// Applies until the script is cleared.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.left = None;
        self
    }

    fn matches(&self, command: &Command) -> bool {
        let code = self.codes.as_ref().is_none_or(|codes| codes.contains(&command.code));
        let topic = self.topic.as_ref().is_none_or(|topic| topic_of(command) == Some(topic));
        code && topic
    }

    fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}

/// The topic a request names, whichever of the header layouts it has.
pub(super) fn topic_of(command: &Command) -> Option<&str> {
    match command.code {
        request_code::SEND_MESSAGE_V2
        | request_code::SEND_BATCH_MESSAGE
        | request_code::SEND_REPLY_MESSAGE_V2 => command.ext.get("b"),
        _ => command.ext.get("topic"),
    }
}

/// What happens to a request that a [`Rule`] matches.
///
/// A constructor chooses the main effect, the methods add to it. A delay counts from the moment
/// the request arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    pub(super) effect: Effect,
    pub(super) delay_ns: u64,
    pub(super) copies_more: u32,
    pub(super) opaque: Option<i32>,
    pub(super) fields: Vec<(String, Option<String>)>,
    pub(super) clear_fields: bool,
    pub(super) body: Option<Vec<u8>>,
    pub(super) even_oneway: bool,
    pub(super) odd_json: bool,
    pub(super) cut_answer: Option<usize>,
    pub(super) ending: Option<Ending>,
}

/// Whether a request is processed, and what is said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Effect {
    #[default]
    Process,
    Instead(i32, Option<String>),
    After(i32, Option<String>),
    Weak(i32),
    Ignore,
    Swallow,
    Bytes {
        bytes: Vec<u8>,
        process: bool,
    },
    CutRequest(usize),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Close,
    Reset,
}

impl Fault {
    /// Processes the request as if there were no rule: for use with the methods below.
    pub fn none() -> Self {
        Self::default()
    }

    /// Answers this code instead of processing the request.
    pub fn answer(code: i32, remark: impl Into<String>) -> Self {
        Self::with(Effect::Instead(code, Some(remark.into())))
    }

    /// Processes the request, then answers this code without a receipt.
    pub fn answer_after_storing(code: i32, remark: impl Into<String>) -> Self {
        Self::with(Effect::After(code, Some(remark.into())))
    }

    /// Stores the message and answers one of 10, 11, 12 with the receipt.
    pub fn weak_acknowledgement(code: i32) -> Self {
        Self::with(Effect::Weak(code))
    }

    /// Answers `GO_AWAY`, as a broker does that drains before it stops; nothing is stored.
    pub fn go_away() -> Self {
        Self::answer(response_code::GO_AWAY, "please go away")
    }

    /// Processes the request and answers success without any field.
    pub fn without_receipt() -> Self {
        Self { clear_fields: true, ..Self::default() }
    }

    /// Processes the request; this field is missing from the answer.
    pub fn without_field(name: impl Into<String>) -> Self {
        Self { fields: vec![(name.into(), None)], ..Self::default() }
    }

    /// Processes the request; this field of the answer has this value.
    pub fn with_field(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { fields: vec![(name.into(), Some(value.into()))], ..Self::default() }
    }

    /// Processes the request; the answer has this body.
    pub fn with_body(body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..Self::default() }
    }

    /// Neither processes nor answers.
    pub fn silent() -> Self {
        Self::with(Effect::Ignore)
    }

    /// Processes, but never answers.
    pub fn silent_after_storing() -> Self {
        Self::with(Effect::Swallow)
    }

    /// Processes at once, answers after this time.
    pub fn delay(delay: Duration) -> Self {
        Self::default().delayed_by(delay)
    }

    /// Processes and answers twice.
    pub fn twice() -> Self {
        Self { copies_more: 1, ..Self::default() }
    }

    /// Processes; the answer carries this request id.
    pub fn wrong_opaque(opaque: i32) -> Self {
        Self { opaque: Some(opaque), ..Self::default() }
    }

    /// Writes these bytes instead of processing the request.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Self {
        Self::with(Effect::Bytes { bytes: bytes.into(), process: false })
    }

    /// Processes the request, then writes these bytes instead of the answer.
    pub fn garbage_after_storing(bytes: impl Into<Vec<u8>>) -> Self {
        Self::with(Effect::Bytes { bytes: bytes.into(), process: true })
    }

    /// Resets the connection once this many bytes of the request are in; nothing is processed.
    ///
    /// A rule that looks at code or topic needs the header to decide, so it acts no earlier than
    /// the last byte of the header. More bytes than the frame has means the last byte.
    pub fn reset_in_request(bytes: usize) -> Self {
        Self::with(Effect::CutRequest(bytes))
    }

    /// Processes, writes this many bytes of the answer, then resets the connection.
    pub fn reset_in_answer(bytes: usize) -> Self {
        Self { cut_answer: Some(bytes), ending: Some(Ending::Reset), ..Self::default() }
    }

    /// Neither processes nor answers: closes the connection.
    pub fn close() -> Self {
        Self::silent().then_close()
    }

    /// Neither processes nor answers: resets the connection.
    pub fn reset() -> Self {
        Self::silent().then_reset()
    }

    /// Answers this much later.
    #[must_use]
    pub fn delayed_by(mut self, delay: Duration) -> Self {
        self.delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.ending = Some(Ending::Close);
        self
    }

    /// Resets the connection after the answer.
    #[must_use]
    pub fn then_reset(mut self) -> Self {
        self.ending = Some(Ending::Reset);
        self
    }

    /// Answers oneway requests too, as a broker does that clears its overfull queue.
    // Java: RequestTask#returnResponse does not look at the flag.
    #[must_use]
    pub fn even_oneway(mut self) -> Self {
        self.even_oneway = true;
        self
    }

    /// The header of the answer, if it is JSON, has another order, spaces and unknown fields.
    #[must_use]
    pub fn in_odd_json(mut self) -> Self {
        self.odd_json = true;
        self
    }

    fn with(effect: Effect) -> Self {
        Self { effect, ..Self::default() }
    }

    pub(super) fn processes(&self) -> bool {
        match self.effect {
            Effect::Process | Effect::After(..) | Effect::Weak(_) | Effect::Swallow => true,
            Effect::Bytes { process, .. } => process,
            Effect::Instead(..) | Effect::Ignore | Effect::CutRequest(_) => false,
        }
    }
}

/// Names a rule of a script, to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// The rules of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    rules: Vec<(RuleId, Rule, Fault)>,
    added: u64,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule, fault: Fault) -> RuleId {
        let id = RuleId(self.added);
        self.added += 1;
        self.rules.push((id, rule, fault));
        id
    }

    pub(super) fn remove(&mut self, id: RuleId) {
        self.rules.retain(|(known, ..)| *known != id);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The fault for this request; a matching request counts for every rule it passes.
    pub(super) fn decide(&mut self, command: &Command) -> Option<Fault> {
        let found = self
            .rules
            .iter_mut()
            .filter(|(_, rule, _)| !rule.is_spent() && rule.matches(command))
            .find_map(|(_, rule, fault)| rule.take().then(|| fault.clone()));
        self.rules.retain(|(_, rule, _)| !rule.is_spent());
        found
    }

    /// The fault for a request of which too little has arrived to tell what it is.
    pub(super) fn decide_blind(&mut self, arrived: usize) -> Option<Fault> {
        let (_, rule, fault) = self.rules.first_mut()?;
        let blind = rule.codes.is_none() && rule.topic.is_none() && rule.skip == 0;
        let due = matches!(fault.effect, Effect::CutRequest(bytes) if arrived >= bytes);
        if !(blind && due) {
            return None;
        }
        rule.take();
        let fault = fault.clone();
        self.rules.retain(|(_, rule, _)| !rule.is_spent());
        Some(fault)
    }
}
