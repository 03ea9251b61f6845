//! I-19: one connection to an address. I-21: greetings. I-22: an end that leaves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::avoidance::is_java500;
use super::facts::Facts;
use super::{Found, Observer, Seen};
use crate::cluster::{Cluster, Node};
use crate::network::nanos;
use crate::wire::request_code;
use crate::world::WireFrame;

#[derive(Debug, Default)]
pub(super) struct Connections {
    words: BTreeMap<u64, Words>,
}

/// What was said on a connection.
#[derive(Debug, Default)]
struct Words {
    greeted: bool,
    /// Farewells by group.
    farewells: BTreeMap<String, u32>,
}

impl Observer for Connections {
    fn see(&mut self, facts: &Facts, seen: &Seen<'_>, found: &mut Found) {
        match seen {
            Seen::Dialled { link, client, address, .. } => {
                let live = facts.live(*client, address).iter().filter(|id| *id != link);
                let away = |id: &u64| facts.links.get(id).is_some_and(|l| l.sent_away.is_some());
                if let Some(rival) = live.into_iter().find(|id| !away(id))
                    && !facts.relaxed.addresses
                {
                    found.add(19, format!("{address} is dialled while connection {rival} lives"));
                }
            }
            Seen::Gone { link } => drop(self.words.remove(link)),
            Seen::Leaves { link, excused } if !excused => self.leaves(facts, *link, found),
            Seen::Frame { frame } => self.frame(facts, frame, found),
            _ => {}
        }
    }

    fn finish(&mut self, facts: &Facts, over: bool, found: &mut Found) {
        let open = facts.clients.iter().enumerate().filter(|(_, client)| client.closed.is_none());
        let open = open.filter(|_| over);
        open.for_each(|(client, _)| found.add(22, format!("client {client} never closed")));
        if over && facts.links.values().any(|link| link.gone.is_none()) {
            found.add(22, "a connection outlives its client");
        }
    }
}

impl Connections {
    fn frame(&mut self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let (client, code) = (frame.client, frame.command.code);
        let closed = facts.clients.get(client).and_then(|client| client.closed);
        if closed.is_some_and(|closed| frame.first_ns > closed.ns) {
            found.add(22, format!("client {client} sent {code} after the close"));
        }
        let words = self.words.entry(frame.link).or_default();
        words.greeted |= code == request_code::HEART_BEAT;
        if code == request_code::UNREGISTER_CLIENT {
            let group = frame.command.ext.get("producerGroup").unwrap_or_default().to_owned();
            let count = words.farewells.entry(group).or_default();
            *count += 1;
            if *count > 1 {
                found.add(22, format!("client {client} unregistered twice on one connection"));
            }
        }
        self.sent_away(facts, frame, found);
    }

    /// A connection whose peer asked to go away takes nothing new.
    fn sent_away(&self, facts: &Facts, frame: &WireFrame, found: &mut Found) {
        let Some(away) = facts.links.get(&frame.link).and_then(|link| link.sent_away) else {
            return;
        };
        let Some(send) = facts.send_of(frame) else { return };
        let known = &facts.sends[send];
        let filed = known.frames.iter().find(|filed| filed.opaque == frame.command.opaque);
        let start = filed.and_then(|filed| known.attempt_of(filed));
        let began = start.map_or(known.called, |start| known.starts[start].after);
        if away <= began {
            let link = frame.link;
            found.add(19, format!("send #{send} began on connection {link} after GO_AWAY"));
        }
    }

    /// I-22: a healthy connection on which a broker was greeted is not closed without a farewell.
    fn leaves(&self, facts: &Facts, link: u64, found: &mut Found) {
        let Some(known) = facts.links.get(&link) else { return };
        let Some(words) = self.words.get(&link) else { return };
        let broker = matches!(known.node, Some(Node::Broker(_))) && !facts.relaxed.addresses;
        if broker && words.greeted && words.farewells.is_empty() && known.sent_away.is_none() {
            let node = known.node;
            found.add(22, format!("connection {link} leaves {node:?} without a word"));
        }
    }
}

/// I-21: a client greets every broker about every 30 s while all is well.
pub(super) fn greets(
    facts: &Facts,
    cluster: &Cluster,
    client: usize,
    brokers: usize,
    found: &mut Found,
) {
    let config = &facts.clients[client].config;
    let period = nanos(config.heartbeat.period) + nanos(Duration::from_secs(1));
    // Java 5.0.0 sends nothing to a broker for ten minutes after a failure: a connection that was
    // lost is made again for the next heartbeat.
    let rounds = if is_java500(config) { 2 } else { 1 };
    let period = period * rounds + facts.slack() * 2;
    let greeted = |broker: &usize| {
        let mine = cluster.heartbeats(*broker).iter().rev();
        let last = mine.into_iter().find(|h| *h.heartbeat.client_id == *config.client_id);
        last.is_some_and(|heartbeat| heartbeat.at_ns + period >= facts.now.ns)
    };
    for broker in (0..brokers).filter(|broker| !greeted(broker)) {
        found.add(21, format!("client {client} does not greet broker {broker}"));
    }
}
