//! Heartbeats: brokers know a producer by them, and a connection is kept alive by them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::control::ControlKind;
use super::credentials::complete_frame;
use super::hooks::NotFramed;
use super::outbox::Owner;
use super::query::encode_query;
use super::requests::Request;
use super::timers::TimerKey;
use super::{Client, Life};
use crate::error::AttemptFailure;
use crate::id::ConnId;
use crate::interceptor::Hook;
use crate::slab::Key;
use crate::wire::{
    encode_end_transaction, encode_heartbeat, encode_route_query, encode_unregister, insert_fields,
};

impl Client {
    /// Cleans what no route names any more, then greets every broker, on the named timer.
    // Java: MQClientInstance#startScheduledTask, cleanOfflineBroker and sendHeartbeatToAllBroker
    pub(super) fn heartbeat_round(&mut self) {
        let period = self.config.heartbeat.period;
        let next = self.now + period * if planted!(HeartbeatPeriodDoubled) { 2 } else { 1 };
        if !planted!(HeartbeatsStop) {
            self.timers.schedule(next, TimerKey::Heartbeat);
        }
        self.clean_idle_topics();
        self.clean_offline_brokers();
        self.heartbeat_all();
    }

    /// Greets the master of every known broker, dialling if needed. Each on its own: one that does
    /// not answer delays nobody.
    pub(super) fn heartbeat_all(&mut self) {
        if self.groups.iter().all(Option::is_none) || self.life != Life::Running {
            return;
        }
        let greeted = if planted!(HeartbeatToFirstOnly) { 1 } else { usize::MAX };
        for endpoint in self.broker_masters().into_iter().take(greeted) {
            let kind = ControlKind::Heartbeat { probe: false };
            self.start_control(endpoint, kind, self.config.request_timeout);
        }
    }

    /// Greets a broker on a new connection, before anything else is sent on it.
    pub(super) fn heartbeat_on_connect(&mut self, conn: ConnId, endpoint: Key) {
        let is_broker = self.brokers.iter().any(|(_, broker)| broker.greeted == Some(endpoint));
        if planted!(HeartbeatMissingOnConnect) {
            return;
        }
        if is_broker && self.groups.iter().any(Option::is_some) && self.life == Life::Running {
            let kind = ControlKind::Heartbeat { probe: false };
            self.start_control_first(conn, kind, self.config.request_timeout);
        }
    }

    /// Tells every connected broker that a group is gone. Whether anybody was told.
    // Java: MQClientInstance#unregisterClient
    pub(super) fn unregister_everywhere(&mut self, group: &Arc<str>) -> bool {
        let mut told = false;
        if planted!(UnregisterMissed) {
            return told;
        }
        for endpoint in self.broker_masters() {
            let conn = self.conn_to(endpoint);
            let session = conn.and_then(|conn| self.sessions.get(Key::from_u64(conn.0)));
            if let Some(conn) = conn.filter(|_| session.is_some_and(|session| session.ready)) {
                let kind = ControlKind::Unregister { group: Arc::clone(group) };
                if planted!(UnregisterTwice) {
                    self.start_control_first(conn, kind.clone(), crate::limits::UNREGISTER_TIMEOUT);
                }
                self.start_control_first(conn, kind, crate::limits::UNREGISTER_TIMEOUT);
                told = true;
            }
        }
        told
    }

    /// Writes the frame of a request that waited on a connection, unless it has ended since.
    pub(super) fn frame_control(&mut self, conn: ConnId, key: Key) {
        let shown = self.has_interceptors() || self.access.signing.is_some();
        let address = shown.then(|| self.address_of(conn));
        let endpoint = self.controls.get(key).map(|control| control.endpoint);
        let vip = endpoint.is_some_and(|endpoint| self.is_vip(endpoint));
        let Some(control) = self.controls.get_mut(key) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(Key::from_u64(conn.0)) else {
            return;
        };
        let oneway = matches!(&control.kind, ControlKind::EndTransaction(end) if end.is_oneway());
        let opaque = match oneway {
            true => Some(session.requests.skip()),
            false => session.requests.insert(Request::Control(key)),
        };
        let Some(opaque) = opaque else {
            return;
        };
        control.opaque = Some(opaque);
        control.conn = Some(conn);
        let (encoding, client_id) = (self.config.encoding, &self.config.client_id);
        // On the VIP port a probe asks for a sign of life, and registers nobody.
        let groups = self.groups.iter().flatten().filter(|_| !vip);
        let groups: Vec<&str> = groups.map(|group| &**group).collect();
        let config = &self.config;
        let extra = &self.extra_fields;
        let signing = self.access.signing.as_ref();
        let encode = |out: &mut Vec<u8>| -> Result<(), NotFramed> {
            let start = out.len();
            match &control.kind {
                ControlKind::RouteQuery { name, .. } => {
                    encode_route_query(out, encoding, opaque, name)?;
                }
                ControlKind::Heartbeat { .. } | ControlKind::Reach { .. } => {
                    encode_heartbeat(out, encoding, opaque, client_id, &groups)?;
                }
                ControlKind::Unregister { group } => {
                    encode_unregister(out, encoding, opaque, client_id, group)?;
                }
                ControlKind::EndTransaction(end) => {
                    encode_end_transaction(out, encoding, opaque, &end.on_wire())?;
                }
                ControlKind::Query { request, .. } => {
                    encode_query(out, encoding, opaque, request)?;
                }
            }
            if !extra.is_empty() {
                insert_fields(out, start, extra)?;
            }
            match &address {
                Some(address) => complete_frame(config, signing, address, None, out, start, &[]),
                None => Ok(()),
            }
        };
        match session.outbox.push(Owner::Control(key), &Bytes::new(), encode) {
            // Nobody answers it.
            Ok(()) if oneway => drop(self.end_control(key)),
            Ok(()) => {}
            // Only a client id of megabytes gets here; the request ends like any other.
            Err(NotFramed::Encoding(_)) => self.control_failed(key, AttemptFailure::GivenUp),
            Err(NotFramed::Panicked) => {
                self.report_panic(Hook::Request, None);
                self.control_failed(key, AttemptFailure::InterceptorPanicked);
            }
        }
    }
}
