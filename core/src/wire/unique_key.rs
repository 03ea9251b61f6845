//! Unique keys: the id that a producer gives a message, kept over all retries.

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use core::sync::atomic::{AtomicU64, Ordering};

use super::text::{hex_digits, hex_value};

/// Bytes of a key of an IPv6 host.
const LENGTH_MAX: usize = 28;

/// Bytes after the address.
const LENGTH_AFTER_ADDRESS: usize = 12;

/// Bits of the counter, the lowest of a source's state.
const COUNTER_BITS: u32 = 16;

/// The latest time that the state has room for.
const TIME_MAX: i64 = (1 << (64 - COUNTER_BITS)) - 1;

const MS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// No month yet; the number of a month counts from the year 0 and is far below.
const NO_MONTH: u64 = u64::MAX;

/// The unique key of a message: an address, a process, a time and a counter. Displays as 32 or 56
/// upper-case hexadecimal digits.
// Java: MessageClientIDSetter#createUniqID
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UniqueKey {
    /// The key's bytes, filled up with zeros.
    bytes: [u8; LENGTH_MAX],
    length: u8,
}

impl UniqueKey {
    /// The raw bytes: 16 with an IPv4 address, 28 with an IPv6 address.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Appends the upper-case hexadecimal digits.
    pub fn write_hex(&self, out: &mut String) {
        self.with_hex(|digits| out.push_str(digits));
    }

    /// Calls `take` with the upper-case hexadecimal digits.
    pub(crate) fn with_hex(&self, take: impl FnOnce(&str)) {
        let (digits, length) = self.digits();
        take(digits.get(..length).and_then(|d| str::from_utf8(d).ok()).unwrap_or_default());
    }

    /// The address of the producer's host.
    // Java: MessageClientIDSetter#getIPFromID
    pub fn ip(&self) -> IpAddr {
        if usize::from(self.length) == LENGTH_MAX {
            IpAddr::V6(Ipv6Addr::from(self.field::<16>(0)))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.field::<4>(0)))
        }
    }

    /// The low 16 bits of the producer's process number.
    // Java: MessageClientIDSetter#getPidFromID
    pub fn process_id(&self) -> u16 {
        u16::from_be_bytes(self.field(self.address_length()))
    }

    /// The number that tells apart clients of one process.
    pub fn loader(&self) -> u32 {
        u32::from_be_bytes(self.field(self.address_length() + 2))
    }

    /// Milliseconds from the start of the month, in the producer's time zone, to the key's time.
    // Java: MessageClientIDSetter#getNearlyTimeFromID
    pub fn month_ms(&self) -> u32 {
        u32::from_be_bytes(self.field(self.address_length() + 6))
    }

    /// The counter.
    pub fn counter(&self) -> u16 {
        u16::from_be_bytes(self.field(self.address_length() + 10))
    }

    fn address_length(&self) -> usize {
        usize::from(self.length).saturating_sub(LENGTH_AFTER_ADDRESS)
    }

    /// Every position used lies within the array.
    fn field<const N: usize>(&self, position: usize) -> [u8; N] {
        let field = self.bytes.get(position..).and_then(|rest| rest.first_chunk::<N>());
        field.copied().unwrap_or([0; N])
    }

    fn digits(&self) -> ([u8; 2 * LENGTH_MAX], usize) {
        let mut digits = [b'0'; 2 * LENGTH_MAX];
        let (words, _) = self.as_bytes().as_chunks::<4>();
        for (digits, word) in digits.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *digits = hex_digits(u32::from_be_bytes(*word));
        }
        (digits, 2 * usize::from(self.length))
    }
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, length) = self.digits();
        f.pad(digits.get(..length).and_then(|d| str::from_utf8(d).ok()).unwrap_or_default())
    }
}

impl fmt::Debug for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqueKey({self})")
    }
}

/// The text is not a unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a unique key: 32 or 56 hexadecimal digits")]
pub struct UniqueKeyError;

impl FromStr for UniqueKey {
    type Err = UniqueKeyError;

    /// Reads 32 or 56 digits of either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = match text.len() {
            32 => 16,
            56 => 28,
            _ => return Err(UniqueKeyError),
        };
        let mut bytes = [0; LENGTH_MAX];
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let high = hex_value(*high).ok_or(UniqueKeyError)?;
            *byte = high << 4 | hex_value(*low).ok_or(UniqueKeyError)?;
        }
        Ok(Self { bytes, length })
    }
}

/// Makes unique keys. Keys of one source never repeat, whatever the wall clock does and however
/// many are made in one millisecond. May be shared between threads.
#[derive(Debug)]
pub struct UniqueKeySource {
    /// Address, process and a zero loader, filled up with zeros.
    prefix: [u8; LENGTH_MAX],
    length: u8,
    loader: u32,
    utc_offset_ms: i64,
    /// The time of the last key in ms since 1970 above its counter. It only ever grows, which is
    /// what makes keys unique.
    last: AtomicU64,
    /// The month of the first key.
    first_month: AtomicU64,
    /// The month of the last key, so that the calendar is asked once a month.
    month: AtomicU64,
}

impl UniqueKeySource {
    /// A source for one process. `loader` tells apart sources of one process and host, a random
    /// number is best. `utc_offset_ms` is the local time zone's distance from UTC, east positive.
    pub fn new(host: IpAddr, process_id: u32, loader: u32, utc_offset_ms: i64) -> Self {
        let mut prefix = [0; LENGTH_MAX];
        let address_length = match host {
            IpAddr::V4(host) => put(&mut prefix, 0, host.octets()),
            IpAddr::V6(host) => put(&mut prefix, 0, host.octets()),
        };
        // Java keeps the low half of the number, too.
        put(&mut prefix, address_length, (process_id as u16).to_be_bytes());
        Self {
            prefix,
            length: (address_length + LENGTH_AFTER_ADDRESS) as u8,
            loader,
            // No place on earth is a whole day away from UTC.
            utc_offset_ms: utc_offset_ms.clamp(-MS_PER_DAY, MS_PER_DAY),
            last: AtomicU64::new(u64::from(u16::MAX)),
            first_month: AtomicU64::new(NO_MONTH),
            month: AtomicU64::new(0),
        }
    }

    /// The next key, made at `wall_ms` milliseconds since 1970 in UTC.
    // Java: MessageClientIDSetter#createUniqID
    pub fn next(&self, wall_ms: i64) -> UniqueKey {
        let wall = wall_ms.clamp(0, TIME_MAX).cast_unsigned();
        let step = |last: u64| {
            if wall > last >> COUNTER_BITS {
                // A new millisecond: the counter goes on and may wrap.
                wall << COUNTER_BITS | (last.wrapping_add(1) & u64::from(u16::MAX))
            } else {
                // The same one, or a clock that was set back: a counter that wraps carries into
                // the time, so this pair was not used either.
                last.wrapping_add(1)
            }
        };
        let mut last = self.last.load(Ordering::Relaxed);
        let made = loop {
            let next = step(last);
            let swapped =
                self.last.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed);
            match swapped {
                Ok(_) => break next,
                Err(other) => last = other,
            }
        };
        self.key(made)
    }

    fn key(&self, made: u64) -> UniqueKey {
        let local_ms = (made >> COUNTER_BITS).cast_signed() + self.utc_offset_ms;
        let (month, month_start_ms) = self.month_of(local_ms);
        // A month has fewer than 2^32 ms.
        let month_ms = (local_ms - month_start_ms) as u32;
        let counter = (made & u64::from(u16::MAX)) as u16;
        let loader = self.loader.wrapping_add(self.months_since_first(month));
        let mut bytes = self.prefix;
        let position = usize::from(self.length).saturating_sub(LENGTH_AFTER_ADDRESS) + 2;
        let position = put(&mut bytes, position, loader.to_be_bytes());
        let position = put(&mut bytes, position, month_ms.to_be_bytes());
        put(&mut bytes, position, counter.to_be_bytes());
        UniqueKey { bytes, length: self.length }
    }

    /// As [`month_of`], with a look at the month of the last key first.
    #[inline]
    fn month_of(&self, local_ms: i64) -> (u64, i64) {
        // The month's number, its first day and its number of days.
        let known = self.month.load(Ordering::Relaxed);
        let start_ms = i64::from((known >> 8) as u32 & 0x00ff_ffff) * MS_PER_DAY;
        if (start_ms..start_ms + i64::from(known as u8) * MS_PER_DAY).contains(&local_ms) {
            return (known >> 32, start_ms);
        }
        self.look_up_month(local_ms)
    }

    #[cold]
    fn look_up_month(&self, local_ms: i64) -> (u64, i64) {
        let (month, start_ms) = month_of(local_ms);
        // No month is longer, and none so short that this were not in the next one.
        let (_, end_ms) = month_of(start_ms + 31 * MS_PER_DAY);
        let day = |ms: i64| (ms / MS_PER_DAY).cast_unsigned();
        // Of the time before 1970 a producer in the far west sees a few hours, if any.
        if start_ms >= 0 {
            let known = month << 32 | day(start_ms) << 8 | day(end_ms - start_ms);
            self.month.store(known, Ordering::Relaxed);
        }
        (month, start_ms)
    }

    /// The time in a key starts again every month, so a process that lives longer would repeat
    /// itself. Java's does. Here the loader's number moves on by one a month.
    fn months_since_first(&self, month: u64) -> u32 {
        let first = self.first_month.load(Ordering::Relaxed);
        let first = if first == NO_MONTH {
            let set = self.first_month.compare_exchange(
                NO_MONTH,
                month,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            set.map_or_else(|other| other, |_| month)
        } else {
            first
        };
        // Any two months differ by less than 2^32, and equal differences mean equal months.
        month.wrapping_sub(first) as u32
    }
}

/// Writes `field` at `position` and returns the position after it.
fn put<const N: usize>(bytes: &mut [u8; LENGTH_MAX], position: usize, field: [u8; N]) -> usize {
    if let Some(target) = bytes.get_mut(position..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *target = field;
    }
    position + N
}

/// The number of the month, counted from the year 0, that holds a time of the proleptic Gregorian
/// calendar in ms since 1970, and the month's first ms.
///
/// Years are counted from March, so that the leap day comes last and the lengths of months follow
/// a straight line: 153 days in every five months.
fn month_of(ms: i64) -> (u64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // From 1 March of the year 0 to 1 January 1970.
    const DAYS_BEFORE_1970: i64 = 719_468;
    let day = ms.div_euclid(MS_PER_DAY);
    let day_of_ages = day + DAYS_BEFORE_1970;
    let era = day_of_ages.div_euclid(DAYS_PER_ERA);
    let day_of_era = day_of_ages.rem_euclid(DAYS_PER_ERA);
    // Takes out the leap days: one in 4 years, none in 100, one in 400.
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let first_day_of_year = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - first_day_of_year;
    let month_from_march = (5 * day_of_year + 2) / 153;
    let first_day_of_month = (153 * month_from_march + 2) / 5;
    let month = (era * 400 + year_of_era) * 12 + month_from_march;
    (month.cast_unsigned(), (day - (day_of_year - first_day_of_month)) * MS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::{MS_PER_DAY, UniqueKeySource, month_of};

    #[test]
    fn months_follow_the_calendar_for_eight_centuries() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut day = 0;
        let mut number = month_of(0).0;
        let source = UniqueKeySource::new([127, 0, 0, 1].into(), 1, 1, 0);
        assert_eq!(source.month_of(-1), month_of(-1));
        for year in 1970..2770 {
            for (month, length) in lengths.into_iter().enumerate() {
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let length = length + i64::from(month == 1 && leap);
                let first = day * MS_PER_DAY;
                let last = (day + length) * MS_PER_DAY - 1;
                assert_eq!(month_of(first), (number, first), "{year} {month}");
                assert_eq!(month_of(last), (number, first), "{year} {month}");
                for ms in [first, first - 1, first, last, last] {
                    assert_eq!(source.month_of(ms), month_of(ms), "{year} {month}");
                }
                day += length;
                number += 1;
            }
        }
    }
}
