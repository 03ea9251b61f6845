//! Draws the story of a run: time from left to right, a lane for each client and server.
//!
//! Sends are bars in the lane of their client, attempts are bars in the lane of their broker, both
//! in the colour of their end. Faults are shaded spans with a label, times in which a client
//! avoided a broker are hatched, connections are thin lines. Every mark says more when the pointer
//! rests on it. The picture stands alone: no script, no font, nothing to load; it follows the
//! reader's preference for light or dark.

use std::collections::BTreeMap;

use super::story::{AttemptStory, Ending, FaultStory, SendStory, Story, short};
use crate::cluster::Node;

mod layout;
mod svg;

use layout::{Rows, Scale, pack};
use svg::Svg;

/// Left of it are the names of the lanes.
const LEFT: f64 = 124.0;
const RIGHT: f64 = 24.0;
/// Height of a line of labels.
const LABEL: f64 = 14.0;
/// Height of a bar, and of its row.
const BAR: f64 = 5.0;
const ROW: f64 = 6.5;
/// Bars that would be narrower are drawn so wide.
const LEAST: f64 = 2.5;
/// Height of the hatched strip of one client.
const STRIP: f64 = 6.0;
/// Rows of bars in a lane; what does not fit is counted.
const ROWS_MAX: usize = 64;
/// Space above and below what is in a lane.
const PAD: f64 = 4.0;

/// Where the attempts of a send are drawn: left, right and middle of each.
type Places = BTreeMap<usize, Vec<(f64, f64, f64)>>;

/// The timeline of a story, as SVG.
pub fn draw(story: &Story) -> String {
    let scale = Scale::of(story);
    let mut picture = Picture {
        story,
        right: LEFT + scale.width(),
        scale,
        svg: Svg::new(),
        y: 0.0,
        places: Places::new(),
    };
    picture.head();
    let top = picture.y;
    picture.phases();
    picture.axis();
    let lanes = picture.y;
    // Lines of the grid lie below everything, and their length is known only in the end.
    let behind = picture.svg.len();
    picture.world_lane();
    (0..story.clients).for_each(|client| picture.client_lane(client));
    for lane in &story.lanes {
        picture.server_lane(lane.node, &lane.name);
    }
    picture.links();
    let grid = picture.grid(lanes, picture.y);
    picture.svg.insert(behind, grid);
    picture.foot();
    let (width, height) = (picture.right + RIGHT, picture.y.max(top) + 8.0);
    picture.svg.finish(width, height, &format!("Timeline of seed {}", story.seed))
}

struct Picture<'a> {
    story: &'a Story,
    scale: Scale,
    right: f64,
    svg: Svg,
    /// What is above is drawn.
    y: f64,
    places: Places,
}

impl Picture<'_> {
    fn x(&self, ns: u64) -> f64 {
        LEFT + self.scale.x(ns)
    }

    /// Left and right of a span, never too narrow to be seen.
    fn span(&self, start_ns: u64, end_ns: u64) -> (f64, f64) {
        let start = self.x(start_ns).min(self.right - LEAST);
        (start, self.x(end_ns).max(start + LEAST))
    }

    // ---- Around the lanes -------------------------------------------------------------------

    fn head(&mut self) {
        self.y = 26.0;
        self.svg.text(12.0, self.y, "title", &format!("Seed {}", self.story.seed));
        for line in &self.story.about {
            self.y += 15.0;
            self.svg.text(12.0, self.y, "dim", line);
        }
        self.y += 12.0;
        self.legend();
    }

    fn legend(&mut self) {
        let mut x = 12.0;
        let y = self.y;
        let kinds = [("fault", "a fault"), ("avoid", "avoided by a client"), ("conn", "connected")];
        let endings = Ending::ALL.map(|ending| (class(ending), ending.name()));
        for (class, name) in endings.into_iter().chain(kinds) {
            let (top, height) = if class == "conn" { (y + 4.0, 2.0) } else { (y, 10.0) };
            self.svg.rect(class, (x, top), (16.0, height), None);
            self.svg.text(x + 21.0, y + 9.0, "dim", name);
            x += 21.0 + svg::text_width(name) + 16.0;
        }
        self.right = self.right.max(x);
        self.y += 18.0;
    }

    fn phases(&mut self) {
        for (place, phase) in self.story.phases.iter().enumerate() {
            let (start, end) = (self.x(phase.start_ns), self.x(phase.end_ns));
            if end - start < 1.0 {
                continue;
            }
            let length = short(phase.end_ns.saturating_sub(phase.start_ns));
            let title = format!("{}: {length}", phase.name);
            let class = ["phase0", "phase1"][place % 2];
            self.svg.rect(class, (start, self.y), (end - start, LABEL), Some(&title));
            let fits = [title.as_str(), phase.name.as_str()].into_iter();
            let mut fits = fits.filter(|text| svg::text_width(text) + 8.0 <= end - start);
            if let Some(text) = fits.next() {
                self.svg.text(start + 4.0, self.y + 10.5, "label", text);
            }
        }
        if !self.story.phases.is_empty() {
            self.y += LABEL + 2.0;
        }
    }

    fn axis(&mut self) {
        let ticks = self.scale.ticks();
        for (x, text) in ticks {
            self.svg.text(LEFT + x + 2.0, self.y + 11.0, "dim", &text);
        }
        self.y += 16.0;
    }

    fn grid(&self, top: f64, bottom: f64) -> String {
        let mut grid = Svg::new();
        for (x, _) in self.scale.ticks() {
            grid.line("grid", (LEFT + x, top - 14.0), (LEFT + x, bottom));
        }
        grid.into_body()
    }

    fn foot(&mut self) {
        for violation in self.story.violations.iter().take(8) {
            self.y += 16.0;
            let text: String = violation.chars().take(200).collect();
            self.svg.text(12.0, self.y, "bad", &text);
        }
    }

    // ---- Lanes ------------------------------------------------------------------------------

    /// Draws the floor of a lane and its name, and moves on below it.
    fn lane(&mut self, name: &str, height: f64, draw: impl FnOnce(&mut Self, f64)) {
        let height = height + 2.0 * PAD;
        self.svg.open("lane");
        let size = (self.right - LEFT, height);
        self.svg.rect("floor", (LEFT, self.y), size, None);
        self.svg.text(12.0, self.y + PAD + 9.0, "name", name);
        draw(self, self.y + PAD);
        self.svg.close();
        self.y += height + 3.0;
    }

    /// Faults that strike no single server.
    fn world_lane(&mut self) {
        let faults: Vec<_> =
            self.story.faults.iter().filter(|fault| fault.node.is_none()).collect();
        if faults.is_empty() {
            return;
        }
        let rows = self.fault_rows(&faults);
        let height = rows.count as f64 * LABEL;
        self.lane("network, clients", height, |picture, y| {
            picture.faults(&faults, &rows, y, height);
        });
    }

    fn client_lane(&mut self, client: usize) {
        let story = self.story;
        let sends: Vec<_> = story.sends.iter().filter(|send| send.client == client).collect();
        let spans =
            |send: &&SendStory| self.span(send.start_ns, send.end_ns.unwrap_or(story.end_ns));
        let spans: Vec<_> = sends.iter().map(spans).collect();
        let rows = pack(&spans, 1.0, ROWS_MAX);
        let height = rows.height(ROW).max(LABEL) + overflow_height(&rows);
        self.lane(&format!("client {client}: sends"), height, |picture, y| {
            for ((send, span), row) in sends.iter().zip(&spans).zip(&rows.of) {
                if let Some(row) = row {
                    let at = (span.0, y + *row as f64 * ROW);
                    let size = (span.1 - span.0, BAR);
                    picture.svg.rect(class(send.ending), at, size, Some(&about_send(send)));
                }
            }
            picture.overflow(&rows, y);
        });
    }

    fn server_lane(&mut self, node: Node, name: &str) {
        let story = self.story;
        let faults: Vec<_> = story.faults.iter().filter(|fault| fault.node == Some(node)).collect();
        let attempts: Vec<_> =
            story.attempts().filter(|(_, attempt)| attempt.node == Some(node)).collect();
        let labels = self.fault_rows(&faults);
        let spans: Vec<_> =
            attempts.iter().map(|(_, it)| self.span(it.start_ns, it.end_ns)).collect();
        let rows = pack(&spans, 1.0, ROWS_MAX);
        let avoided = story.isolations.iter().any(|isolation| isolation.node == node);
        let strips = if avoided { story.clients as f64 * STRIP } else { 0.0 };
        let wires = story.clients as f64 * 3.0 + 3.0;
        let bars = rows.height(ROW).max(if faults.is_empty() { LABEL } else { 2.0 });
        let labels_height = labels.count as f64 * LABEL;
        let height = labels_height + strips + wires + bars + overflow_height(&rows);
        self.lane(name, height, |picture, y| {
            picture.faults(&faults, &labels, y, height);
            let mut y = y + labels_height;
            picture.avoided(node, y);
            y += strips;
            picture.connections(node, y);
            y += wires;
            for (((send, attempt), span), row) in attempts.iter().zip(&spans).zip(&rows.of) {
                if let Some(row) = row {
                    picture.attempt(send, attempt, *span, y + *row as f64 * ROW);
                }
            }
            picture.overflow(&rows, y);
        });
    }

    fn attempt(&mut self, send: &SendStory, attempt: &AttemptStory, span: (f64, f64), y: f64) {
        let size = (span.1 - span.0, BAR);
        let title = about_attempt(send, attempt);
        self.svg.rect(class(attempt.ending), (span.0, y), size, Some(&title));
        if let Some(written) = attempt.written_ns.map(|ns| self.x(ns))
            && written > span.0 + 2.0
            && written < span.1 - 2.0
        {
            self.svg.line("written", (written, y), (written, y + BAR));
        }
        if send.attempts.len() > 1 {
            let place = (span.0, span.1, y + BAR / 2.0);
            self.places.entry(send.number).or_default().push(place);
        }
    }

    /// Thin lines from each attempt to the next one of the same send.
    fn links(&mut self) {
        for mut places in std::mem::take(&mut self.places).into_values() {
            places.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in places.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                self.svg.line("link", (from.1, from.2), (to.0, to.2));
            }
        }
    }

    /// Where the labels of faults go: none over another.
    fn fault_rows(&self, faults: &[&FaultStory]) -> Rows {
        let spans: Vec<_> = faults.iter().map(|fault| self.fault_span(fault).1).collect();
        pack(&spans, 3.0, usize::MAX)
    }

    /// The span of a fault, and that of its label with it.
    fn fault_span(&self, fault: &FaultStory) -> ((f64, f64), (f64, f64)) {
        let (start, end) = self.span(fault.start_ns, fault.end_ns);
        let width = svg::text_width(&fault_label(fault)) + 6.0;
        let left = start.min(self.right - width);
        ((start, end), (left, end.max(left + width)))
    }

    fn faults(&mut self, faults: &[&FaultStory], rows: &Rows, y: f64, height: f64) {
        for (fault, row) in faults.iter().zip(&rows.of) {
            let ((start, end), (left, _)) = self.fault_span(fault);
            let top = y + row.unwrap_or(0) as f64 * LABEL;
            let length = short(fault.end_ns.saturating_sub(fault.start_ns));
            let (label, from) = (fault_label(fault), when(fault.start_ns));
            let title = format!("{label}: {length} from {from}. {}", fault.text);
            self.svg.open_fault(fault.number);
            let depth = y + height - top;
            self.svg.rect("shade", (start, top), (end - start, depth), Some(&title));
            self.svg.rect("fault", (start, top), (end - start, LABEL - 2.0), Some(&title));
            self.svg.text(left + 3.0, top + 9.5, "label", &fault_label(fault));
            self.svg.close();
        }
    }

    fn avoided(&mut self, node: Node, y: f64) {
        for isolation in self.story.isolations.iter().filter(|it| it.node == node) {
            let (start, end) = self.span(isolation.start_ns, isolation.end_ns);
            let length = short(isolation.end_ns - isolation.start_ns);
            let client = isolation.client;
            let from = when(isolation.start_ns);
            let title = format!("avoided by client {client} for {length} from {from}");
            let at = (start, y + client as f64 * STRIP);
            let end = end.min(self.right);
            self.svg.rect("avoid", at, (end - start, STRIP - 1.5), Some(&title));
        }
    }

    fn connections(&mut self, node: Node, y: f64) {
        for connection in self.story.connections.iter().filter(|it| it.node == Some(node)) {
            let end_ns = connection.end.as_ref().map_or(self.story.end_ns, |end| end.0);
            let (start, end) = self.span(connection.start_ns, end_ns);
            let why = connection.end.as_ref().map_or("open", |end| &end.1);
            let title = format!(
                "connection of client {}, {} to {}: {why}",
                connection.client,
                when(connection.start_ns),
                when(end_ns)
            );
            let at = (start, y + connection.client as f64 * 3.0);
            let end = end.min(self.right);
            self.svg.rect("conn", at, (end - start, 1.5), Some(&title));
        }
    }

    fn overflow(&mut self, rows: &Rows, y: f64) {
        if rows.left_out > 0 {
            let text = format!("and {} more that do not fit", rows.left_out);
            self.svg.text(LEFT + 4.0, y + rows.height(ROW) + 10.0, "dim", &text);
        }
    }
}

fn overflow_height(rows: &Rows) -> f64 {
    if rows.left_out > 0 { LABEL } else { 0.0 }
}

/// The class that gives the colour.
fn class(ending: Ending) -> &'static str {
    match ending {
        Ending::NotSent => "notsent",
        named => named.name(),
    }
}

fn fault_label(fault: &FaultStory) -> String {
    format!("{} {}", fault.number, fault.name)
}

fn when(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

fn about_send(send: &SendStory) -> String {
    let length = send.end_ns.map_or("open".to_owned(), |end_ns| short(end_ns - send.start_ns));
    let cancelled = if send.cancelled_ns.is_some() { ", cancelled" } else { "" };
    let (number, topic, from) = (send.number, &send.topic, when(send.start_ns));
    let more = match (send.attempts.len(), send.copies) {
        (1, 1) => String::new(),
        (attempts, copies) => format!("; attempts: {attempts}, copies: {copies}"),
    };
    format!("send {number} to {topic} at {from}, {length}{cancelled}: {}{more}", send.words)
}

fn about_attempt(send: &SendStory, attempt: &AttemptStory) -> String {
    let AttemptStory { number, broker, queue, stage, .. } = attempt;
    let (send, from) = (send.number, when(attempt.start_ns));
    let length = short(attempt.end_ns - attempt.start_ns);
    let what = attempt.failure.as_deref().unwrap_or(attempt.ending.name());
    let late = attempt.answer.filter(|(at, _)| *at > attempt.end_ns);
    let late =
        late.map_or(String::new(), |(at, code)| format!("; answered {code} at {}", when(at)));
    format!(
        "send {send}, attempt {number}: {broker} queue {queue} at {from}, {stage} after {length}: \
         {what}{late}"
    )
}
