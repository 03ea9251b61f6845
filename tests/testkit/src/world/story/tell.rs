//! Tells a story in lines for people: what happened in the order of time, then what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{AttemptStory, Ending, FaultStory, SendStory, Story};

/// Lines of one kind that are shown before the rest is counted.
const ALIKE_MAX: usize = 2;

/// Why connections end when their client is closed; that goes without saying.
const SHUT_DOWN: &str = "the client is closed";

/// Lines of one kind belong together if no more time than this is between them.
const ALIKE_NS: u64 = 3_000_000_000;

/// A line of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryLine {
    /// What it is about.
    pub tone: Tone,
    /// The text, without an end of line.
    pub text: String,
}

/// What a line of a story is about, for those who have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// A new part begins.
    Heading,
    /// Nothing special.
    Plain,
    /// Something breaks.
    Fault,
    /// All is well.
    Good,
    /// Something that must hold does not.
    Bad,
}

impl StoryLine {
    /// A line.
    pub fn new(tone: Tone, text: impl Into<String>) -> StoryLine {
        StoryLine { tone, text: text.into() }
    }
}

/// Something that happened, before lines like it are put together.
struct Moment {
    at_ns: u64,
    /// Equal for moments that are alike, and what they have in common.
    kind: String,
    tone: Tone,
    text: String,
    /// Sends that went well are counted up to here.
    divides: bool,
    explained: Option<&'static str>,
}

impl Story {
    /// The whole story, line by line.
    pub fn lines(&self) -> Vec<StoryLine> {
        let mut lines = vec![StoryLine::new(Tone::Heading, format!("Seed {}", self.seed))];
        lines.extend(self.about.iter().map(|text| plain(format!("  {text}"))));
        heading(&mut lines, "What happens");
        self.course(&mut lines);
        heading(&mut lines, "What came of it");
        self.closing(&mut lines);
        lines
    }

    /// The last lines of what happened.
    pub fn tail(&self, count: usize) -> Vec<StoryLine> {
        let mut lines = Vec::new();
        self.course(&mut lines);
        lines.split_off(lines.len().saturating_sub(count))
    }

    fn course(&self, lines: &mut Vec<StoryLine>) {
        let mut moments = self.moments();
        moments.sort_by_key(|moment| moment.at_ns);
        let mut known = BTreeSet::new();
        let mut well = Well::new(self);
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for moment in moments {
            if moment.divides {
                well.tell(moment.at_ns, lines);
            }
            let group = groups.entry(moment.kind.clone()).or_default();
            let old = group.count > 0 && moment.at_ns > group.last_ns + ALIKE_NS;
            if old || moment.divides {
                *group = Group::default();
            }
            group.count += 1;
            group.last_ns = moment.at_ns;
            if group.count <= ALIKE_MAX {
                lines.push(StoryLine::new(moment.tone, at(moment.at_ns, &moment.text)));
                // What a kind of fault is, is said once.
                if let Some(text) = moment.explained.filter(|text| known.insert(*text)) {
                    lines.push(plain(format!("  {:13}{text}", "")));
                }
            } else if let Some(line) = group.line.and_then(|line| lines.get_mut(line)) {
                *line = group.summary(&moment.kind);
            } else {
                group.first_ns = moment.at_ns;
                group.line = Some(lines.len());
                lines.push(group.summary(&moment.kind));
            }
        }
        well.tell_rest(self.end_ns, lines);
    }

    fn moments(&self) -> Vec<Moment> {
        let mut moments = Vec::new();
        for phase in &self.phases {
            let length = short(phase.end_ns.saturating_sub(phase.start_ns));
            let text = format!("{} begins, for {length}", phase.name);
            moments.push(Moment::dividing(phase.start_ns, Tone::Heading, text));
        }
        for fault in &self.faults {
            self.tell_fault(fault, &mut moments);
        }
        for isolation in &self.isolations {
            let length = short(isolation.end_ns - isolation.start_ns);
            let (client, name) = (isolation.client, self.name(isolation.node));
            moments.push(Moment {
                at_ns: isolation.start_ns,
                kind: format!("client {client} avoids {name}"),
                tone: Tone::Plain,
                text: format!("client {client} avoids {name} for {length}"),
                divides: false,
                explained: None,
            });
        }
        for connection in &self.connections {
            let (Some((at_ns, why)), Some(node)) = (&connection.end, connection.node) else {
                continue;
            };
            if why == SHUT_DOWN {
                continue;
            }
            let (client, name) = (connection.client, self.name(node));
            let text = format!("client {client} loses its connection to {name}: {why}");
            moments.push(Moment::new(*at_ns, text.clone(), text));
        }
        for note in &self.notes {
            let text = format!("client {}: {}", note.client, note.text);
            moments.push(Moment::new(
                note.at_ns,
                format!("client {}: {}", note.client, note.kind),
                text,
            ));
        }
        for send in &self.sends {
            tell_send(send, &mut moments);
        }
        moments
    }

    fn tell_fault(&self, fault: &FaultStory, moments: &mut Vec<Moment>) {
        let whom = fault.node.map_or(String::new(), |node| format!(" at {}", self.name(node)));
        let (number, name) = (fault.number, &fault.name);
        let length = fault.end_ns.saturating_sub(fault.start_ns);
        let text = match length {
            0 => format!("fault {number}: {name}{whom}"),
            _ => format!("fault {number}: {name}{whom}, for {}", short(length)),
        };
        let moment = Moment::dividing(fault.start_ns, Tone::Fault, text);
        let explained = Some(fault.text).filter(|text| !text.is_empty());
        moments.push(Moment { explained, ..moment });
        if length > 0 {
            let text = format!("fault {number} ends: {name}{whom}");
            moments.push(Moment::dividing(fault.end_ns, Tone::Plain, text));
        }
    }

    fn closing(&self, lines: &mut Vec<StoryLine>) {
        let endings = Ending::ALL.map(|ending| (ending, self.count(ending)));
        let endings: Vec<_> = endings
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(ending, count)| format!("{count} {}", ending.name()))
            .collect();
        lines.push(plain(format!("  {:<14}{} ({})", "sends", self.sends.len(), list(&endings))));
        let written = self.attempts().filter(|(_, it)| it.written_ns.is_some()).count();
        let attempts = self.attempts().count();
        lines.push(plain(format!("  {:<14}{attempts}, {written} written to the end", "attempts")));
        let twice = self.sends.iter().filter(|send| send.copies > 1).count();
        let copies = self.copies;
        let text =
            format!("  {:<14}{copies} on the brokers, of {twice} sends more than one", "copies");
        lines.push(plain(text));
        let lost = self.sends.iter().filter(|send| send.ending.is_stored() && send.copies == 0);
        if let count @ 1.. = lost.count() {
            let text =
                format!("  {:<14}{count} acknowledged sends of which no copy is left", "lost");
            lines.push(plain(text));
        }
        lines.push(plain(format!("  {:<14}{}", "faults", self.faults.len())));
        let (lines_told, hash) = (self.trace_lines, self.hash);
        let time = Duration::from_nanos(self.end_ns).as_secs_f64();
        lines.push(plain(format!("  {:<14}{time:.2} s simulated", "time")));
        lines.push(plain(format!("  {:<14}{lines_told} lines, hash {hash:032x}", "trace")));
        if self.violations.is_empty() {
            let text = format!("  {:<14}none: everything that is checked held", "violations");
            lines.push(StoryLine::new(Tone::Good, text));
        }
        for violation in &self.violations {
            lines.push(StoryLine::new(Tone::Bad, format!("  {:<14}{violation}", "violation")));
        }
    }
}

impl Moment {
    fn new(at_ns: u64, kind: String, text: String) -> Moment {
        Moment { at_ns, kind, tone: Tone::Plain, text, divides: false, explained: None }
    }

    fn dividing(at_ns: u64, tone: Tone, text: String) -> Moment {
        Moment { at_ns, kind: String::new(), tone, text, divides: true, explained: None }
    }
}

/// Moments that are alike.
#[derive(Default)]
struct Group {
    count: usize,
    first_ns: u64,
    last_ns: u64,
    /// The line that stands for those that are not shown.
    line: Option<usize>,
}

impl Group {
    fn summary(&self, kind: &str) -> StoryLine {
        let more = self.count - ALIKE_MAX;
        let until = match self.last_ns - self.first_ns {
            0..1_000_000 => String::new(),
            _ => format!(", the last at {:.3} s", seconds(self.last_ns)),
        };
        plain(at(self.first_ns, &format!("… and {more} more: {kind}{until}")))
    }
}

/// The sends that went well, in the order of their ends.
struct Well<'a> {
    ends: Vec<(u64, &'a SendStory)>,
    told: usize,
}

impl Well<'_> {
    fn new(story: &Story) -> Well<'_> {
        let sends = story.sends.iter().filter(|send| went_well(send));
        let mut ends: Vec<_> =
            sends.filter_map(|send| send.end_ns.map(|end_ns| (end_ns, send))).collect();
        ends.sort_by_key(|(end_ns, send)| (*end_ns, send.number));
        Well { ends, told: 0 }
    }

    /// Sums up what went well until the story ends.
    fn tell_rest(&mut self, end_ns: u64, lines: &mut Vec<StoryLine>) {
        let last = self.told;
        self.tell(u64::MAX, lines);
        // Other lines may have come after the last of them.
        if let Some(line) = lines.last_mut().filter(|_| self.told > last) {
            let text = line.text.split_once(" s  ").map_or("", |(_, text)| text);
            line.text = at(end_ns, text);
        }
    }

    /// Sums up what went well up to a moment.
    fn tell(&mut self, until_ns: u64, lines: &mut Vec<StoryLine>) {
        let rest = self.ends.get(self.told..).unwrap_or_default();
        let new: Vec<_> = rest.iter().take_while(|(end_ns, _)| *end_ns < until_ns).collect();
        self.told += new.len();
        let mut times: Vec<_> = new.iter().map(|(end_ns, send)| end_ns - send.start_ns).collect();
        times.sort_unstable();
        let (Some(last), Some(median)) = (new.last(), times.get(times.len() / 2)) else { return };
        let sends = if new.len() == 1 { "1 send goes" } else { &format!("{} sends go", new.len()) };
        let text = format!("{sends} through at once, median {}", short(*median));
        lines.push(plain(at(last.0, &text)));
    }
}

/// Whether there is nothing to tell about a send.
fn went_well(send: &SendStory) -> bool {
    let plain = matches!(send.ending, Ending::Stored | Ending::Sent);
    plain && send.attempts.len() == 1 && send.cancelled_ns.is_none()
}

fn tell_send(send: &SendStory, moments: &mut Vec<Moment>) {
    if went_well(send) {
        return;
    }
    let (number, client) = (send.number, send.client);
    let mut failed: Vec<_> = send.attempts.iter().filter(|it| it.failure.is_some()).collect();
    // If nothing came between the last attempt and the end, one line tells both.
    let at_once = |it: &&AttemptStory| Some(it.end_ns) == send.end_ns && !send.ending.is_stored();
    let last = failed.pop_if(|it| at_once(it));
    for attempt in failed {
        let text = format!("send {number}, {}", tell_attempt(attempt));
        moments.push(Moment::new(attempt.end_ns, alike(attempt), text));
    }
    if let Some(at_ns) = send.cancelled_ns {
        let text = format!("send {number} is cancelled");
        moments.push(Moment::new(at_ns, "sends are cancelled".into(), text));
    }
    let Some(end_ns) = send.end_ns else { return };
    let copies = match send.copies {
        0 | 1 => String::new(),
        copies => format!(", {copies} copies"),
    };
    let length = short(end_ns - send.start_ns);
    let (text, kind) = match (last, send.ending) {
        (Some(last), ending) => (
            format!("send {number} ends, {}: {}{copies}", ending.name(), tell_attempt(last)),
            format!("sends end, {}, {}", ending.name(), alike(last)),
        ),
        (None, ending) => (
            format!("send {number} of client {client}, after {length}: {}{copies}", send.words),
            if ending.is_stored() {
                "stored weakly or after trouble".to_owned()
            } else {
                send.words.clone()
            },
        ),
    };
    moments.push(Moment::new(end_ns, kind, text));
}

fn tell_attempt(attempt: &AttemptStory) -> String {
    let AttemptStory { number, broker, queue, stage, ending, .. } = attempt;
    let length = short(attempt.end_ns - attempt.start_ns);
    let failure = attempt.failure.as_deref().unwrap_or("no failure");
    let ending = match ending {
        Ending::NotSent => "not sent",
        Ending::Refused => "refused",
        Ending::Late => "its answer comes late",
        _ => "may be stored",
    };
    format!("attempt {number}, {broker} queue {queue}, {stage} after {length}: {failure}: {ending}")
}

fn alike(attempt: &AttemptStory) -> String {
    let failure = attempt.failure.as_deref().unwrap_or_default();
    format!("{}, {}: {failure}", attempt.broker, attempt.stage)
}

/// The words of a peer or of an error: the beginning, without repetitions.
pub(in crate::world) fn brief(text: &str) -> String {
    let mut out = String::new();
    let mut last = (None, 0);
    for c in text.chars() {
        let count = if last.0 == Some(c) { last.1 + 1 } else { 1 };
        last = (Some(c), count);
        match count {
            ..=4 => out.push(if c.is_control() { ' ' } else { c }),
            5 => out.push('…'),
            _ => {}
        }
    }
    let out = out.trim_end_matches([' ', ':']).to_owned();
    match out.char_indices().nth(140) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

fn heading(lines: &mut Vec<StoryLine>, text: &str) {
    lines.push(plain(String::new()));
    lines.push(StoryLine::new(Tone::Heading, text));
}

fn plain(text: String) -> StoryLine {
    StoryLine::new(Tone::Plain, text)
}

fn at(at_ns: u64, text: &str) -> String {
    format!("  {:8.3} s  {text}", seconds(at_ns))
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// A time with as many digits as say something.
pub(in crate::world) fn short(ns: u64) -> String {
    let millis = ns as f64 / 1e6;
    match millis {
        0.0..10.0 => format!("{millis:.2} ms"),
        10.0..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}

fn list(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
