//! Offset message ids: where a broker has stored a message.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use super::text::parse_hex;

/// The place of a stored message: the broker's address and the offset in its log. Displays as the
/// upper-case hexadecimal text that brokers send.
// Java: MessageDecoder#createMessageId
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// The address that the broker announces.
    pub host: IpAddr,
    /// The broker's port.
    pub port: u16,
    /// The offset in the broker's log, in bytes.
    pub commit_log_offset: i64,
}

/// The text is not one offset message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an offset message id: 32 or 56 hexadecimal digits, with a port below 65,536")]
pub struct OffsetMessageIdError;

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            IpAddr::V4(host) => write!(f, "{:08X}", host.to_bits())?,
            IpAddr::V6(host) => write!(f, "{:032X}", host.to_bits())?,
        }
        write!(f, "{:08X}{:016X}", self.port, self.commit_log_offset)
    }
}

impl FromStr for OffsetMessageId {
    type Err = OffsetMessageIdError;

    /// Reads 32 digits (IPv4) or 56 digits (IPv6) of either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_digits(text.as_bytes()).ok_or(OffsetMessageIdError)
    }
}

impl OffsetMessageId {
    /// Reads 32 digits (IPv4) or 56 digits (IPv6) of either case.
    // Java: MessageDecoder#decodeMessageId
    pub(crate) fn from_digits(digits: &[u8]) -> Option<Self> {
        let (host, [port, high, low]) = match digits.as_chunks::<8>() {
            ([host, port, high, low], []) => {
                let [host, place @ ..] = parse_hex([*host, *port, *high, *low])?;
                (IpAddr::V4(host.into()), place)
            }
            ([a, b, c, d, port, high, low], []) => {
                let [a, b, c, d, place @ ..] = parse_hex([*a, *b, *c, *d, *port, *high, *low])?;
                let [a, b, c, d] = [a, b, c, d].map(u128::from);
                (IpAddr::V6(Ipv6Addr::from_bits(a << 96 | b << 64 | c << 32 | d)), place)
            }
            _ => return None,
        };
        let offset = u64::from(high) << 32 | u64::from(low);
        Some(Self {
            host,
            port: u16::try_from(port).ok()?,
            commit_log_offset: offset.cast_signed(),
        })
    }
}
