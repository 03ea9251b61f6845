//! Who this process is: seeds, its address, the client's name and the source of unique keys.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rocketmq_core::wire::{UniqueKey, UniqueKeySource};
use rocketmq_core::{Config, WallTime};

use crate::runtime::Clock;

/// Makes the unique keys of one client, with a new source after a fork.
#[derive(Debug)]
pub(crate) struct Identity {
    host: IpAddr,
    source: RwLock<(u32, UniqueKeySource)>,
    /// Whether the next key is to be preceded by a look at the process number. Asking for it is a
    /// system call, so it is done once for each turn of the driver and not for each key: a child
    /// whose driver does not turn sends nothing.
    check: AtomicBool,
}

impl Identity {
    pub(crate) fn new(host: IpAddr, process: u32, loader: u32) -> Identity {
        let source = UniqueKeySource::new(host, process, loader, 0);
        Identity { host, source: RwLock::new((process, source)), check: AtomicBool::new(true) }
    }

    /// The name under which brokers know the client: `IP@INSTANCE[@UNIT]`. The instance is
    /// `PROCESS#SEED` unless the settings name one.
    // Java: ClientConfig#buildMQClientId, ClientConfig#changeInstanceNameToPID
    pub(crate) fn client_id(&self, config: &Config, seed: u64) -> String {
        // Java: NetworkUtil#normalizeHostAddress
        let mut id = match config.client_ip.unwrap_or(self.host) {
            IpAddr::V4(ip) => format!("{ip}@"),
            IpAddr::V6(ip) => format!("[{ip}]@"),
        };
        match &*config.instance_name {
            "" | "DEFAULT" => {
                let process = self.source.read().unwrap_or_else(PoisonError::into_inner).0;
                id += &format!("{process}#{seed}");
            }
            instance => id += instance,
        }
        if !config.unit_name.trim().is_empty() {
            id = id + "@" + &config.unit_name;
        }
        id
    }

    /// The next unique key.
    pub(crate) fn next_key(&self, wall: WallTime, clock: &dyn Clock) -> UniqueKey {
        if self.check.swap(false, Ordering::Relaxed) {
            let process = clock.process_id();
            let known = self.source.read().unwrap_or_else(PoisonError::into_inner).0;
            if process != known {
                let source = UniqueKeySource::new(self.host, process, clock.seed() as u32, 0);
                *self.source.write().unwrap_or_else(PoisonError::into_inner) = (process, source);
            }
        }
        self.source.read().unwrap_or_else(PoisonError::into_inner).1.next(wall.as_millis())
    }

    /// Has the process number looked at again before the next key.
    pub(crate) fn check_process(&self) {
        self.check.store(true, Ordering::Relaxed);
    }
}

/// 64 bits that the operating system has a part in. The process and the time are mixed in because
/// the standard library's own state is the same on both sides of a fork.
pub(crate) fn seed() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    hasher.write_u128(since.as_nanos());
    hasher.finish()
}

/// The address of the interface that leads to the world. Connecting a UDP socket sends nothing: it
/// only asks the system for a route, here to a network that is reserved for documentation.
pub(crate) fn local_address() -> IpAddr {
    let ask = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback();
    ask().ok().filter(usable).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use rocketmq_core::ConfigBuilder;

    use super::*;

    #[test]
    fn client_ids_are_made_of_address_instance_and_unit() {
        let id = |host: &str, set: fn(ConfigBuilder) -> ConfigBuilder| {
            let identity = Identity::new(host.parse().unwrap(), 77, 1);
            identity.client_id(&set(Config::builder("a:1")).build().unwrap(), 5)
        };
        assert_eq!(id("10.0.0.1", |c| c), "10.0.0.1@77#5");
        assert_eq!(id("::1", |c| c), "[::1]@77#5");
        assert_eq!(id("10.0.0.1", |c| c.instance_name("DEFAULT")), "10.0.0.1@77#5");
        assert_eq!(id("10.0.0.1", |c| c.instance_name("till-3")), "10.0.0.1@till-3");
        assert_eq!(id("10.0.0.1", |c| c.unit_name(" ")), "10.0.0.1@77#5");
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(id("::1", |c| c.client_ip(Ipv4Addr::LOCALHOST.into())), "127.0.0.1@77#5");
        let identity = Identity::new(ip, 77, 1);
        let config = Config::builder("a:1").instance_name("i").unit_name("east").build().unwrap();
        assert_eq!(identity.client_id(&config, 5), "192.0.2.7@i@east");
    }

    #[test]
    fn seeds_differ_and_the_address_is_one() {
        assert_ne!(seed(), seed());
        assert!(!local_address().is_unspecified());
    }
}
