//! Addresses of name servers and brokers, and the map from announced to reachable ones.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::limits::ADDRESS_LENGTH_MAX;

/// A host and a port. The host is an IP address or a name; a name is resolved anew at each dial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    host: Host,
    port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// An IP address, used as it is.
    Ip(IpAddr),
    /// A name that the runtime resolves.
    Name(Box<str>),
}

impl Address {
    /// An address from its parts. `host` may be an IP address, with or without brackets, or a name.
    ///
    /// # Errors
    /// If `host` is neither.
    pub fn new(host: &str, port: u16) -> Result<Address, AddressError> {
        let invalid = |kind| AddressError { text: bounded(host), kind };
        if port == 0 {
            return Err(invalid(AddressErrorKind::Port));
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Address { host: Host::Ip(ip), port });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 255 || !host.chars().all(legal) {
            return Err(invalid(AddressErrorKind::Host));
        }
        Ok(Address { host: Host::Name(host.into()), port })
    }

    /// Reads a list separated by `;` or `,`. Blank entries are skipped.
    ///
    /// # Errors
    /// At the first entry that is not an address.
    pub fn parse_list(text: &str) -> Result<Vec<Address>, AddressError> {
        let entries = text.split([';', ',']).map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Address::from_str).collect()
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address two ports below, if there is one.
    fn vip(&self) -> Option<Address> {
        let port = self.port.checked_sub(2).filter(|port| *port > 0)?;
        Some(Address { host: self.host.clone(), port })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `host:port`, split at the last colon: brokers announce IPv6 without brackets too.
    // Java: NetworkUtil#string2SocketAddress
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let invalid = |kind| AddressError { text: bounded(text), kind };
        if text.len() > ADDRESS_LENGTH_MAX {
            return Err(invalid(AddressErrorKind::TooLong));
        }
        if text.contains("://") {
            return Err(invalid(AddressErrorKind::Scheme));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid(AddressErrorKind::Port))?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
        let port = port.ok_or_else(|| invalid(AddressErrorKind::Port))?;
        Address::new(host, port).map_err(|error| invalid(error.kind))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(ip) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A text that is not `host:port`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{text}\" is not an address: {kind}; write HOST:PORT, for example 127.0.0.1:9876")]
pub struct AddressError {
    text: String,
    kind: AddressErrorKind,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum AddressErrorKind {
    #[error("it is too long")]
    TooLong,
    #[error("the host is neither an IP address nor a host name")]
    Host,
    // Java: ClientConfig#namesrvAddr, cut to what follows the last slash
    #[error(
        "it begins with a scheme; name the servers themselves, or set name_server_url if their \
         list is to be looked up there"
    )]
    Scheme,
    #[error("the port is missing or not in 1..=65535")]
    Port,
}

fn bounded(text: &str) -> String {
    let cut = text.chars().take(80).collect::<String>();
    cut.escape_debug().to_string()
}

/// Turns the address that a broker announces into one that this process can reach: for brokers in
/// containers, behind NAT or a tunnel, and for tests.
#[derive(Clone, Default)]
pub struct AddressMap {
    rules: Vec<(Address, Address)>,
    function: Option<Arc<MapFunction>>,
}

type MapFunction = dyn Fn(&Address) -> Option<Address> + Send + Sync;

impl AddressMap {
    /// Every address is reachable as announced.
    pub fn new() -> AddressMap {
        AddressMap::default()
    }

    /// Adds a rule for one announced address. The first rule that matches wins.
    #[must_use]
    pub fn with_rule(mut self, announced: Address, reachable: Address) -> AddressMap {
        self.rules.push((announced, reachable));
        self
    }

    /// Sets a function that is asked when no rule matches; `None` means "as announced". It must
    /// give the same answer to the same question, or simulated runs cannot be replayed, and must
    /// not panic: it runs inside the client, which would end.
    #[must_use]
    pub fn with_function<F>(mut self, function: F) -> AddressMap
    where
        F: Fn(&Address) -> Option<Address> + Send + Sync + 'static,
    {
        self.function = Some(Arc::new(function));
        self
    }

    /// The reachable address for an announced one.
    pub fn reachable(&self, announced: Address) -> Address {
        self.mapped(&announced).unwrap_or(announced)
    }

    /// The reachable address for that of an announced one's VIP port: two below it, where brokers
    /// take sends apart from all else. `None` if there is no such port.
    ///
    /// The map is asked for the VIP address first. If it says nothing about that one, but maps the
    /// announced one, the VIP port is taken to be two below there.
    // Java: MixAll#brokerVIPChannel
    pub fn reachable_vip(&self, announced: &Address) -> Option<Address> {
        let vip = announced.vip()?;
        if let Some(mapped) = self.mapped(&vip) {
            return Some(mapped);
        }
        match self.mapped(announced) {
            Some(mapped) => mapped.vip(),
            None => Some(vip),
        }
    }

    fn mapped(&self, announced: &Address) -> Option<Address> {
        if let Some((_, reachable)) = self.rules.iter().find(|(from, _)| from == announced) {
            return Some(reachable.clone());
        }
        self.function.as_ref().and_then(|function| function(announced))
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("AddressMap");
        debug.field("rules", &self.rules).field("function", &self.function.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Address>().map_or_else(|_| "error".into(), |address| address.to_string())
    }

    #[test]
    fn t64_addresses_are_read_by_one_function() {
        assert_eq!(parsed("10.0.0.1:10911"), "10.0.0.1:10911");
        assert_eq!(parsed("::1:20911"), "[::1]:20911");
        assert_eq!(parsed("[::1]:20911"), "[::1]:20911");
        assert_eq!(parsed("broker-a.example:1"), "broker-a.example:1");
        for bad in
            ["10.0.0.1", "h:0", "h:65536", "h:-1", "h:+1", "h :1", "h\n:1", "a;b:1", ":1", "h:"]
        {
            assert_eq!(parsed(bad), "error", "{bad}");
        }
    }

    #[test]
    fn lists_are_separated_by_semicolon_or_comma() {
        let list = Address::parse_list("a:1; b:2,c:3;").unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2", "c:3"]);
        assert!(Address::parse_list("a:1;b").is_err());
    }

    #[test]
    fn a_scheme_in_a_list_is_named() {
        for list in ["http://10.0.0.1:9876", "a:1;https://b:2"] {
            let error = Address::parse_list(list).unwrap_err();
            assert!(error.to_string().contains("name_server_url"), "{error}");
        }
    }

    #[test]
    fn the_vip_port_of_a_mapped_address_is_found() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let vip = |map: &AddressMap, text| map.reachable_vip(&address(text));
        let none = AddressMap::new();
        assert_eq!(vip(&none, "10.0.0.1:10911"), Some(address("10.0.0.1:10909")));
        assert_eq!(vip(&none, "[::1]:3"), Some(address("[::1]:1")));
        assert_eq!((vip(&none, "h:2"), vip(&none, "h:1")), (None, None));
        // Two ports below the mapped one, unless the map says where.
        let map = none.with_rule(address("10.0.0.1:10911"), address("localhost:20911"));
        assert_eq!(vip(&map, "10.0.0.1:10911"), Some(address("localhost:20909")));
        assert_eq!(vip(&map, "10.0.0.2:10911"), Some(address("10.0.0.2:10909")));
        let map = map.with_rule(address("10.0.0.1:10909"), address("localhost:7"));
        assert_eq!(vip(&map, "10.0.0.1:10911"), Some(address("localhost:7")));
        let map = AddressMap::new().with_function(|a| Address::new("nat", a.port()).ok());
        assert_eq!(vip(&map, "10.0.0.1:10911"), Some(address("nat:10909")));
    }

    #[test]
    fn the_first_rule_wins_and_the_function_is_asked_last() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let map = AddressMap::new()
            .with_rule(address("10.0.0.1:1"), address("localhost:2"))
            .with_function(|a| Address::new("mapped", a.port()).ok());
        assert_eq!(map.reachable(address("10.0.0.1:1")), address("localhost:2"));
        assert_eq!(map.reachable(address("10.0.0.9:7")), address("mapped:7"));
        assert_eq!(AddressMap::new().reachable(address("x:7")), address("x:7"));
    }
}
