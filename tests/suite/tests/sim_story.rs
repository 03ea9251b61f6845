//! The story of a run and its timeline say what happened, no less and no more.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use rocketmq_core::Event;
use rocketmq_testkit::cluster::{ClusterConfig, Fault, Node, Rule};
use rocketmq_testkit::world::story::{Ending, Story, Tone};
use rocketmq_testkit::world::swarm::{self, Options};
use rocketmq_testkit::world::{Outcome, SendSpec, World, timeline};

/// Some with many faults, some with few.
const SEEDS: std::ops::Range<u64> = 1..16;

fn world(seed: u64) -> World {
    swarm::simulate_world(seed, &Options::default()).0
}

#[test]
fn a_story_has_every_send_and_every_attempt() {
    for seed in SEEDS {
        let world = world(seed);
        let story = Story::of(&world);
        assert_eq!(story.sends.len(), world.records().len());
        let started = (0..story.clients).flat_map(|client| world.events(client));
        let started = started.filter(|(_, it)| matches!(it, Event::AttemptStarted { .. })).count();
        assert_eq!(story.attempts().count(), started, "seed {seed}");
        // Two ways to the same number: what was on the wire, and what was found for attempts.
        let frames = world.frames().iter().filter(|frame| frame.is_send());
        let whole = frames.filter(|frame| frame.written_ns.is_some()).count();
        let written = story.attempts().filter(|(_, attempt)| attempt.written_ns.is_some()).count();
        assert_eq!(written, whole, "seed {seed}");
        assert_eq!(story.copies as usize, world.cluster().stored_all().count());
        for (send, record) in story.sends.iter().zip(world.records()) {
            let stored = record.outcome.as_ref().is_some_and(Outcome::is_stored);
            assert_eq!(send.ending.is_stored(), stored, "seed {seed}, send {}", send.number);
            assert_eq!(send.oneway, record.is_oneway());
            let ends = send.attempts.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns);
            assert!(ends, "seed {seed}: attempts of send {} overlap", send.number);
        }
    }
}

#[test]
fn a_story_tells_each_fault_each_phase_and_what_came_of_it() {
    for seed in SEEDS {
        let story = Story::of(&world(seed));
        let text = story.to_string();
        for fault in &story.faults {
            assert!(text.contains(&format!("fault {}: {}", fault.number, fault.name)), "{text}");
        }
        for phase in ["safety", "heal", "liveness", "close"] {
            assert!(text.contains(&format!("{phase} begins")), "{phase}: {text}");
        }
        assert!(text.contains("violations    none"), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let headings = story.lines().iter().filter(|line| line.tone == Tone::Heading).count();
        assert!(headings >= 7, "{text}");
    }
}

/// One broker stores the message and its answer comes when the client has gone on.
#[test]
fn a_late_answer_is_told_from_a_stored_and_an_unknown_one() {
    let cluster = ClusterConfig::new().brokers(2).topic("Orders", 1);
    let config = World::config(1).send_timeout(std::time::Duration::from_secs(3)).build().unwrap();
    let mut world = World::new(1, cluster, config);
    world.with(|cluster| {
        for broker in 0..2 {
            let slow = Fault::delay(std::time::Duration::from_millis(1_200));
            cluster.script(Node::Broker(broker), Rule::sends().times(1), slow);
        }
    });
    let id = world.submit(SendSpec::new("Orders", "late"));
    assert!(world.wait(id).is_stored());
    let calm = world.send("Orders", "calm");
    assert!(world.wait(calm).is_stored());
    world.finish();
    let story = Story::of(&world);
    assert_eq!(story.sends[0].ending, Ending::Late, "{story}");
    assert_eq!(story.sends[0].attempts[0].ending, Ending::Late, "{story}");
    assert_eq!(story.sends[1].ending, Ending::Stored, "{story}");
    assert_eq!((story.count(Ending::Late), story.sends[0].copies), (1, 2));
}

// ---- The picture ----------------------------------------------------------------------------

/// Reads elements and attributes as XML defines them and counts the names; panics where it is none.
fn elements(svg: &str) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        text(&rest[..start]);
        let end = rest.find('>').unwrap_or_else(|| panic!("a tag without end: {rest:.60}"));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in the wrong order");
            continue;
        }
        let alone = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{tag}");
        *counts.entry(name.to_owned()).or_default() += 1;
        let mut quoted = attributes.split('"');
        while let Some(name) = quoted.next().filter(|name| !name.trim().is_empty()) {
            assert!(name.ends_with('=') && !name.contains('<'), "{tag}");
            text(quoted.next().expect("a value in quotes"));
        }
        if !alone {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "left open: {open:?}");
    counts
}

/// Text without anything that XML forbids.
fn text(text: &str) {
    assert!(!text.contains(['<', '>']) && !text.contains(|c: char| c.is_control() && c != '\n'));
    for after in text.split('&').skip(1) {
        let name = after.split(';').next();
        assert!(matches!(name, Some("amp" | "lt" | "gt" | "quot")), "&{after:.20}");
    }
}

#[test]
fn a_timeline_is_xml_with_every_lane_and_every_fault() {
    for seed in SEEDS {
        let story = Story::of(&world(seed));
        let svg = timeline::draw(&story);
        let counts = elements(&svg);
        for lane in &story.lanes {
            assert!(svg.contains(&format!(">{}</text>", lane.name)), "{}", lane.name);
        }
        let world_lane = usize::from(story.faults.iter().any(|fault| fault.node.is_none()));
        let lanes = story.lanes.len() + story.clients + world_lane;
        assert_eq!(svg.matches("<g class=\"lane\">").count(), lanes);
        for fault in &story.faults {
            assert!(svg.contains(&format!("<g data-fault=\"{}\">", fault.number)));
        }
        assert_eq!(svg.matches("data-fault").count(), story.faults.len());
        // A bar for each send and each attempt, or a word about those that do not fit.
        let bars = svg.matches("<title>send ").count();
        let left_out: usize = svg
            .split(" more that do not fit")
            .filter_map(|text| text.rsplit_once("and ")?.1.parse::<usize>().ok())
            .sum();
        assert_eq!(bars + left_out, story.sends.len() + story.attempts().count(), "seed {seed}");
        assert!(counts["title"] > bars && !svg.contains("<script"));
    }
}

#[test]
fn words_of_others_stay_words_in_a_picture() {
    let mut story = Story::of(&world(1));
    let nasty = "</title><script>\"&\u{1b}[2J\u{0}]]>";
    story.violations.push(nasty.to_owned());
    story.sends[0].words = nasty.to_owned();
    story.lanes[0].name = nasty.to_owned();
    let counts = elements(&timeline::draw(&story));
    assert!(!counts.contains_key("script"));
}
