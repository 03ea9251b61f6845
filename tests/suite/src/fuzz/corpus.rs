//! The committed seeds, and a small mutator, for runs without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use rocketmq_core::Rng;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The seeds of a target, in the order of their names.
///
/// # Panics
///
/// When the folder cannot be read.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().map(|name| name.display().to_string());
        (name.unwrap_or_default(), fs::read(&path).expect("a readable seed"))
    };
    paths.into_iter().map(read).collect()
}

/// The tokens of the dictionary that libFuzzer uses.
///
/// # Panics
///
/// When it cannot be read.
pub fn dictionary() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder().join("rocketmq.dict")).expect("the dictionary");
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix('"')).map(unescape).collect()
}

/// Knows `\\`, `\"` and `\xAB`.
fn unescape(token: &str) -> Vec<u8> {
    let mut rest = token.as_bytes();
    let mut out = Vec::new();
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..] => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).expect("ASCII");
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                tail
            }
            [b'\\', byte, tail @ ..] | [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return out,
        }
    }
}

/// Makes inputs out of others by chance; the same seed gives the same inputs.
pub struct Mutator {
    rng: Rng,
    dictionary: Vec<Vec<u8>>,
    length_max: usize,
}

impl Mutator {
    /// A mutator whose inputs are not longer than `length_max`.
    pub fn new(seed: u64, length_max: usize) -> Self {
        Self { rng: Rng::from_seed(seed), dictionary: dictionary(), length_max }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound.max(1) as u32) as usize
    }

    /// The next input: one of `pool`, changed in a few places, or noise.
    pub fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut data = match self.below(16) {
            0 => Vec::new(),
            _ if pool.is_empty() => Vec::new(),
            _ => {
                let index = self.below(pool.len());
                pool[index].clone()
            }
        };
        if data.is_empty() {
            let length = self.below(self.length_max.min(256));
            data = (0..length).map(|_| self.rng.next_u64() as u8).collect();
        }
        for _ in 0..=self.below(6) {
            self.mutate(&mut data, pool);
        }
        data.truncate(self.length_max);
        data
    }

    fn mutate(&mut self, data: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(data.len() + 1);
        let end = (at + self.below(16)).min(data.len());
        match self.below(9) {
            0 => data.truncate(at),
            1 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.rng.below(8);
                }
            }
            2 | 3 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = self.rng.next_u64() as u8;
                }
            }
            4 => drop(data.drain(at..end)),
            5 => {
                let repeated = data[at..end].to_vec();
                data.splice(at..at, repeated);
            }
            6 | 7 if !self.dictionary.is_empty() => {
                let index = self.below(self.dictionary.len());
                let token = self.dictionary[index].clone();
                let until =
                    if self.rng.below(2) == 0 { at } else { (at + token.len()).min(data.len()) };
                data.splice(at..until, token);
            }
            _ if !pool.is_empty() => {
                // The tail of another one.
                let index = self.below(pool.len());
                let other = &pool[index];
                let from = self.rng.below(other.len() as u32 + 1) as usize;
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => data.push(self.rng.next_u64() as u8),
        }
    }
}
