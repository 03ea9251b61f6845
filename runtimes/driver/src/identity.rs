//! Who this process is: seeds, its address, the client's name and the source of unique keys.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rocketmq_core::WallTime;
use rocketmq_core::wire::{UniqueKey, UniqueKeySource};

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

    /// The name under which brokers know the client: `IP@PROCESS#NANOSECONDS`.
    // Java: ClientConfig#buildMQClientId, ClientConfig#changeInstanceNameToPID
    pub(crate) fn client_id(&self, seed: u64) -> String {
        let process = self.source.read().unwrap_or_else(PoisonError::into_inner).0;
        format!("{}@{process}#{seed}", self.host)
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
    use super::*;

    #[test]
    fn seeds_differ_and_the_address_is_one() {
        assert_ne!(seed(), seed());
        assert!(!local_address().is_unspecified());
    }
}
