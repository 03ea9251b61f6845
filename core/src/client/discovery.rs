//! The list of name servers: where it comes from, and what a different one changes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::control::ControlKind;
use super::timers::{TimerId, TimerKey};
use super::{Client, Life};
use crate::address::Address;
use crate::config::Config;
use crate::discovery::{DiscoveryFailure, NameServerUrl};
use crate::error::{AttemptFailure, CloseReason, NameServerFailure};
use crate::limits;
use crate::output::{Event, EventSet, Output};
use crate::slab::Key;
use crate::time::Instant;

/// What is known about the look-up of the list.
#[derive(Debug)]
pub(super) struct Discovery {
    /// Set as long as the list is looked up.
    url: Option<Arc<NameServerUrl>>,
    /// Look-ups begun; names the latest.
    fetches: u64,
    /// One is under way.
    under_way: bool,
    /// Why the latest failed.
    failure: Option<DiscoveryFailure>,
    /// The next one begins, or the one under way has taken too long.
    timer: TimerId,
    /// When the next regular one begins.
    next_regular: Option<Instant>,
}

impl Discovery {
    pub(super) fn new(config: &Config) -> Discovery {
        let url = config.name_server_url.clone().filter(|_| config.name_servers.is_empty());
        Discovery {
            url: url.map(Arc::new),
            fetches: 0,
            under_way: false,
            failure: None,
            timer: TimerId::NONE,
            next_regular: None,
        }
    }
}

impl Client {
    /// The name servers, in the order in which they were given.
    pub fn name_servers(&self) -> &[Address] {
        &self.config.name_servers
    }

    /// Replaces the list of name servers, and ends its look-up if there is one: from now on it is
    /// what is set here. An empty list changes nothing.
    ///
    /// Servers that are no longer in the list are not asked any more, and their connections close;
    /// what they were being asked is asked of the others. Routes are kept.
    pub fn set_name_servers(&mut self, now: Instant, addresses: Vec<Address>) {
        self.advance(now);
        if addresses.is_empty() || self.life == Life::Closed {
            return;
        }
        self.end_discovery();
        self.adopt_name_servers(addresses);
    }

    /// The look-up `fetch` has ended: with the first line of the answer's body, or with the reason
    /// why there is none.
    pub fn handle_name_servers(
        &mut self,
        now: Instant,
        fetch: u64,
        result: Result<&str, DiscoveryFailure>,
    ) {
        self.advance(now);
        if !self.discovery.under_way || fetch != self.discovery.fetches {
            return;
        }
        match result.and_then(|line| self.read_list(line)) {
            Ok(addresses) => {
                self.fetch_ended(None);
                if !addresses.is_empty() {
                    self.adopt_name_servers(addresses);
                }
            }
            Err(failure) => self.fetch_ended(Some(failure)),
        }
    }

    /// Takes the list of the settings, or has one looked up.
    pub(super) fn begin_with_name_servers(&mut self) {
        let addresses = self.config.name_servers.clone();
        for address in addresses {
            let endpoint = self.endpoint(address);
            if !self.name_servers.contains(&endpoint) {
                self.name_servers.push(endpoint);
            }
        }
        // Clients that start together should not all begin with the same server.
        let servers = self.name_servers.len() as u32;
        self.chosen_name_server = self.rng.fork("name server").below(servers) as usize;
        if self.discovery.url.is_some() {
            self.discovery.next_regular = Some(self.now + self.config.discovery.first);
            self.discovery.timer = self.timers.schedule(self.now, TimerKey::Discovery);
        }
    }

    /// A look-up is due, or the one under way has taken too long.
    pub(super) fn discovery_timeout(&mut self) {
        self.discovery.timer = TimerId::NONE;
        if self.discovery.under_way {
            let fetch = self.discovery.fetches;
            self.outputs.push_back(Output::AbandonFetch { fetch });
            return self.fetch_ended(Some(DiscoveryFailure::TimedOut));
        }
        let Some(url) = self.discovery.url.as_ref().map(Arc::clone) else { return };
        while self.discovery.next_regular.is_some_and(|at| at <= self.now) {
            let period = self.config.discovery.period;
            self.discovery.next_regular = self.discovery.next_regular.map(|at| at + period);
            if self.discovery.next_regular.is_some_and(|at| at <= self.now) {
                // A clock that jumped ahead owes no look-ups.
                self.discovery.next_regular = Some(self.now + period);
            }
        }
        self.discovery.fetches += 1;
        self.discovery.under_way = true;
        let fetch = self.discovery.fetches;
        let deadline = self.now + limits::FETCH_TIMEOUT;
        self.discovery.timer = self.timers.schedule(deadline, TimerKey::Discovery);
        self.outputs.push_back(Output::FetchNameServers { fetch, url });
    }

    /// What to say of the look-up to who got no route, as long as there is no list.
    pub(super) fn discovery_failure(&self) -> Option<NameServerFailure> {
        let url = self.discovery.url.as_ref().filter(|_| self.name_servers.is_empty())?;
        let failure = self.discovery.failure.clone().unwrap_or(DiscoveryFailure::TimedOut);
        let address = alloc::format!("{url}").into();
        Some(NameServerFailure { address, failure: AttemptFailure::Discovery(failure) })
    }

    /// Nothing is looked up from now on.
    pub(super) fn end_discovery(&mut self) {
        self.timers.cancel(&mut self.discovery.timer);
        self.discovery.url = None;
        self.discovery.failure = None;
        if core::mem::take(&mut self.discovery.under_way) {
            let fetch = self.discovery.fetches;
            self.outputs.push_back(Output::AbandonFetch { fetch });
        }
    }

    /// An empty line is a list that says nothing, once there is one.
    fn read_list(&self, line: &str) -> Result<Vec<Address>, DiscoveryFailure> {
        let addresses = Address::parse_list(line).map_err(DiscoveryFailure::BadList)?;
        if addresses.len() > limits::NAME_SERVERS_MAX {
            return Err(DiscoveryFailure::TooLong);
        }
        if addresses.is_empty() && self.name_servers.is_empty() {
            return Err(DiscoveryFailure::Empty);
        }
        Ok(addresses)
    }

    fn fetch_ended(&mut self, failure: Option<DiscoveryFailure>) {
        self.discovery.under_way = false;
        self.timers.cancel(&mut self.discovery.timer);
        let mut at = self.discovery.next_regular.unwrap_or(self.now);
        if failure.is_some() && self.name_servers.is_empty() {
            at = at.min(self.now + self.rng.jitter(limits::FETCH_RETRY));
        }
        self.discovery.timer = self.timers.schedule(at, TimerKey::Discovery);
        self.discovery.failure.clone_from(&failure);
        if let (Some(failure), Some(url)) = (failure, self.discovery.url.as_ref().map(Arc::clone)) {
            self.event(EventSet::ROUTES, || Event::DiscoveryFailed { url, failure });
        }
    }

    /// Takes over a list that is not empty. The same servers in another order are no other list.
    // Java: NettyRemotingClient#updateNameServerAddressList
    fn adopt_name_servers(&mut self, addresses: Vec<Address>) {
        let mut listed: Vec<Key> = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let endpoint = self.endpoint(address.clone());
            if !listed.contains(&endpoint) {
                listed.push(endpoint);
            }
        }
        let known = |key: &Key| self.name_servers.contains(key);
        if listed.len() == self.name_servers.len() && listed.iter().all(known) {
            return;
        }
        let chosen = self.name_servers.get(self.chosen_name_server).copied();
        let place = listed.iter().position(|key| Some(*key) == chosen);
        let gone: Vec<Key> =
            self.name_servers.iter().copied().filter(|key| !listed.contains(key)).collect();
        let servers = listed.len() as u32;
        self.name_servers = listed;
        self.config.name_servers = addresses;
        self.chosen_name_server = place.unwrap_or_else(|| self.rng.below(servers) as usize);
        self.name_server_answered &= place.is_some();
        self.tell_name_servers();
        for server in gone {
            self.leave_name_server(server);
        }
        self.look_up_what_is_wanted();
    }

    fn tell_name_servers(&mut self) {
        let texts = self.name_servers.iter().filter_map(|key| self.endpoints.get(*key));
        let addresses: Arc<[Arc<str>]> = texts.map(|endpoint| Arc::clone(&endpoint.text)).collect();
        self.event(EventSet::ROUTES, || Event::NameServersChanged { addresses });
    }

    /// Asks nothing any more of a server that is not listed, and closes its connection unless a
    /// broker lives there as well.
    fn leave_name_server(&mut self, server: Key) {
        let asks = |kind: &ControlKind| matches!(kind, ControlKind::RouteQuery { .. });
        let controls = self.controls.iter();
        let asked: Vec<Key> = controls
            .filter(|(_, control)| control.endpoint == server && asks(&control.kind))
            .map(|(key, _)| key)
            .collect();
        for control in asked {
            self.control_failed(control, AttemptFailure::GivenUp);
        }
        if self.is_endpoint_used(server) {
            return;
        }
        let conn = self.conn_to(server);
        if let Some(conn) = conn {
            self.close_session(conn, CloseReason::Drained, true);
        }
        self.release_endpoint(server);
    }

    /// Starts what waited for a name server.
    fn look_up_what_is_wanted(&mut self) {
        for key in self.topics.keys() {
            let unknown = self.topics.get(key).is_some_and(|topic| topic.route.is_none());
            if unknown && (self.is_lookup_wanted(key) || self.is_declared(key)) {
                self.start_lookup(key);
            }
        }
        if !self.ready_waiters.is_empty() {
            self.look_up_for_readiness();
        }
    }

    pub(super) fn is_declared(&self, key: Key) -> bool {
        let name = self.topics.get(key).map(|topic| &topic.name);
        name.is_some_and(|name| self.config.topics.iter().any(|topic| **topic == **name))
    }
}
