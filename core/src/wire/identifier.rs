//! Offset message ids: where a broker has stored a message.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::text::hex_value;

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
    // Java: MessageDecoder#decodeMessageId
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.as_bytes();
        let host_digits = match text.len() {
            32 => 8,
            56 => 32,
            _ => return Err(OffsetMessageIdError),
        };
        let (host, rest) = text.split_at_checked(host_digits).ok_or(OffsetMessageIdError)?;
        let (port, offset) = rest.split_at_checked(8).ok_or(OffsetMessageIdError)?;
        let host = match u32::try_from(hex_number(host)?) {
            Ok(bits) if host_digits == 8 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(hex_number(host)?)),
        };
        let port = u16::try_from(hex_number(port)?).map_err(|_| OffsetMessageIdError)?;
        let offset = u64::try_from(hex_number(offset)?).map_err(|_| OffsetMessageIdError)?;
        Ok(Self { host, port, commit_log_offset: offset.cast_signed() })
    }
}

/// At most 32 digits.
fn hex_number(digits: &[u8]) -> Result<u128, OffsetMessageIdError> {
    digits.iter().try_fold(0, |number, digit| {
        let value = hex_value(*digit).ok_or(OffsetMessageIdError)?;
        Ok(number << 4 | u128::from(value))
    })
}
