//! The story of a run: one line per input or output, and a hash over all of them.

use std::collections::VecDeque;

/// FNV-1a with 128 bits over every line ever written; the last lines as text.
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

    pub(crate) fn push(&mut self, line: String) {
        if self.echo {
            eprintln!("{line}");
        }
        self.hash_bytes(line.bytes().chain([b'\n']));
        self.total += 1;
        if self.lines.len() >= self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Makes a number part of the hash, without a line.
    pub(crate) fn absorb(&mut self, number: u64) {
        self.hash_bytes(number.to_le_bytes());
    }

    fn hash_bytes(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.hash ^= u128::from(byte);
            // The prime of FNV-1a with 128 bits: 2^88 + 2^8 + 0x3b.
            self.hash = self.hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}
