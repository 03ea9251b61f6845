//! Brokers by name, as routes describe them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Client;
use super::busy::Busy;
use super::control::ControlKind;
use super::fault::FaultItem;
use crate::address::Address;
use crate::slab::{Key, Slab};
use crate::wire::BrokerData;

/// The broker id of a master.
// Java: MixAll#MASTER_ID
const MASTER_ID: i64 = 0;

/// One broker: a master and its slaves under one name.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) name: Arc<str>,
    /// Where messages go. A slave is never written to.
    pub(super) master: Option<Key>,
    /// Where all else goes: the same, unless messages go to the VIP port.
    pub(super) greeted: Option<Key>,
    pub(super) fault: FaultItem,
    pub(super) busy: Busy,
}

/// Tells the names of brokers; none of one that is forgotten.
pub(super) fn name_in<'a>(brokers: &'a Slab<Broker>) -> impl Fn(Key) -> &'a str {
    |key| brokers.get(key).map_or("", |broker| &broker.name)
}

impl Client {
    /// Takes over what a route says about a broker: the address of its master may have changed.
    pub(super) fn update_broker(&mut self, data: &BrokerData) -> Key {
        let announced = data.addresses.iter().find(|(id, _)| *id == MASTER_ID);
        // An address that cannot be read is as good as none.
        let announced: Option<Address> = announced.and_then(|(_, text)| text.parse().ok());
        let vip = announced.as_ref().filter(|_| self.config.vip_channel);
        let vip = vip.and_then(|address| self.config.address_map.reachable_vip(address));
        let greeted =
            announced.map(|address| self.endpoint(self.config.address_map.reachable(address)));
        let master = match vip {
            Some(vip) => Some(self.endpoint(vip)),
            None => greeted,
        };
        let key = self.broker_named(&data.broker_name);
        let Some(broker) = self.brokers.get_mut(key) else {
            return key;
        };
        let old = core::mem::replace(&mut broker.master, master);
        let old_greeted = core::mem::replace(&mut broker.greeted, greeted);
        if let Some(old) = old.filter(|old| Some(*old) != master) {
            self.release_endpoint(old);
        }
        if let Some(old) = old_greeted.filter(|key| Some(*key) != greeted && Some(*key) != old) {
            self.release_endpoint(old);
        }
        key
    }

    /// The entry of a broker, made if it is new, and then without an address.
    pub(super) fn broker_named(&mut self, name: &str) -> Key {
        if let Some(key) = self.brokers_by_name.get(name) {
            return *key;
        }
        let name: Arc<str> = name.into();
        let fault = FaultItem::default();
        let broker = Broker {
            name: Arc::clone(&name),
            master: None,
            greeted: None,
            fault,
            busy: Busy::default(),
        };
        let key = self.brokers.insert(broker);
        self.brokers_by_name.insert(name, key);
        key
    }

    /// Whether a name server or a broker's master lives at the address, or a query or the end
    /// of a transaction is under way.
    pub(super) fn is_endpoint_used(&self, endpoint: Key) -> bool {
        self.name_servers.contains(&endpoint)
            || self.brokers.iter().any(|(_, broker)| {
                broker.master == Some(endpoint) || broker.greeted == Some(endpoint)
            })
            || self.is_queried(endpoint)
            || self.controls.iter().any(|(_, control)| {
                control.endpoint == endpoint
                    && matches!(control.kind, ControlKind::EndTransaction(_))
            })
    }

    /// Whether an address is a broker's VIP port, where nothing but messages goes.
    pub(super) fn is_vip(&self, endpoint: Key) -> bool {
        let vip = |broker: &Broker| broker.master == Some(endpoint);
        self.config.vip_channel
            && !self.name_servers.contains(&endpoint)
            && self.brokers.iter().any(|(_, broker)| vip(broker))
            && !self.brokers.iter().any(|(_, broker)| broker.greeted == Some(endpoint))
    }

    /// Forgets brokers that no route names, and addresses that nothing names.
    // Java: MQClientInstance#cleanOfflineBroker
    pub(super) fn clean_offline_brokers(&mut self) {
        let mut named: Vec<Key> = Vec::new();
        for (_, topic) in self.topics.iter() {
            for route in topic.route.iter() {
                let lists = [route.publish.brokers(), route.publish.hashed()];
                named.extend(lists.into_iter().flatten().map(|queues| queues.broker));
            }
        }
        named.sort_unstable();
        for key in self.brokers.keys() {
            if named.binary_search(&key).is_err()
                && !planted!(OfflineBrokerKept)
                && let Some(broker) = self.brokers.remove(key)
            {
                self.brokers_by_name.remove(&broker.name);
            }
        }
        for key in self.endpoints.keys() {
            if !self.is_endpoint_used(key) {
                self.release_endpoint(key);
            }
        }
    }

    /// Where heartbeats go.
    pub(super) fn broker_masters(&self) -> Vec<Key> {
        let mut masters: Vec<Key> =
            self.brokers.iter().filter_map(|(_, broker)| broker.greeted).collect();
        masters.sort_unstable();
        masters.dedup();
        masters
    }
}
