//! The story of a run: one line per input or output, and a hash over all of them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// A hash over every line ever written; the last lines as text.
///
/// The hash is made like FNV-1a with 128 bits, of blocks instead of bytes: each line is cut into
/// blocks of 16 bytes, read with the lowest byte first, the last filled up with zeros, and its
/// length follows as one block more. As with a wide block the highest bits would reach nothing,
/// they are folded back down after each product.
#[derive(Debug)]
pub struct Trace {
    hash: u128,
    lines: VecDeque<String>,
    keep: usize,
    total: u64,
    echo: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        // The offset basis of FNV-1a with 128 bits.
        let hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        Self { hash, lines: VecDeque::new(), keep: 400, total: 0, echo: false }
    }

    /// Keeps every line from now on.
    pub fn keep_all(&mut self) {
        self.keep = usize::MAX;
    }

    /// Writes every line to standard error from now on.
    pub fn echo(&mut self) {
        self.echo = true;
    }

    /// Equal for two runs if and only if they told the same story.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// How many lines there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The lines that were kept, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(String::as_str)
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).fold(String::new(), |text, line| text + line + "\n")
    }

    /// Adds a line with the time before it, and gives it back as it is told.
    pub(crate) fn push(&mut self, now_ns: u64, text: fmt::Arguments<'_>) -> &str {
        // The oldest line makes room for the newest.
        let oldest = if self.lines.len() >= self.keep { self.lines.pop_front() } else { None };
        let mut line = oldest.unwrap_or_default();
        line.clear();
        push_time(&mut line, now_ns);
        // Writing to memory does not fail.
        let _ = line.write_fmt(text);
        if self.echo {
            eprintln!("{line}");
        }
        self.hash_bytes(line.as_bytes());
        self.total += 1;
        self.lines.push_back(line);
        self.lines.back().map_or("", String::as_str)
    }

    /// Makes a number part of the hash, without a line.
    pub(crate) fn absorb(&mut self, number: u64) {
        self.hash_block(number.into());
    }

    fn hash_bytes(&mut self, bytes: &[u8]) {
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            let block = block.first_chunk().copied().unwrap_or_default();
            self.hash_block(u128::from_le_bytes(block));
        }
        let mut last = [0; 16];
        last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
        self.hash_block(u128::from_le_bytes(last));
        // Zeros that fill up are none of the line, and lines do not run into each other.
        self.hash_block(bytes.len() as u128);
    }

    /// Both steps can be undone, so no block is ever forgotten.
    fn hash_block(&mut self, block: u128) {
        self.hash = (self.hash ^ block).wrapping_mul(PRIME);
        self.hash ^= self.hash >> 67;
    }
}

/// The prime of FNV-1a with 128 bits: 2^88 + 2^8 + 0x3b.
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Seconds with nine places, and a space.
fn push_time(line: &mut String, now_ns: u64) {
    let _ = write!(line, "{}.", now_ns / 1_000_000_000);
    let mut digits = [b' '; 10];
    let mut rest = now_ns % 1_000_000_000;
    for digit in digits[..9].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    line.extend(digits.map(char::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(lines: &[&str]) -> u128 {
        let mut trace = Trace::new();
        lines.iter().for_each(|line| _ = trace.push(0, format_args!("{line}")));
        trace.hash()
    }

    #[test]
    fn a_line_has_its_time_before_it() {
        let mut trace = Trace::new();
        assert_eq!(trace.push(12_000_000_345, format_args!("a {}", 1)), "12.000000345 a 1");
        for number in 0..1_000 {
            trace.push(u64::MAX, format_args!("{}", "x".repeat(number % 7)));
        }
        assert_eq!((trace.total(), trace.lines().len()), (1_001, 400));
        assert_eq!(trace.tail(2), "18446744073.709551615 xxxx\n18446744073.709551615 xxxxx\n");
    }

    #[test]
    fn every_byte_and_every_end_of_a_line_counts() {
        // The same on every machine, or seeds could not be compared.
        let known = 0xe852_a79d_154b_15fc_19e2_9164_140c_a133;
        assert_eq!(hash(&["a line", "and another"]), known);
        let lines = ["", "\0", "x", "x\0", "0123456", "0123456789abcdef", "\n", "a\nb"];
        let mut hashes: Vec<_> = lines.iter().map(|line| hash(&[line])).collect();
        hashes.extend([hash(&[]), hash(&["a", "b"]), hash(&["b", "a"]), hash(&["ab", ""])]);
        for place in 0..40 {
            let mut line = [b'.'; 40];
            line[place] = b'/';
            hashes.push(hash(&[&String::from_utf8_lossy(&line)]));
        }
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
