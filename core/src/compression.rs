//! How bodies are compressed on the wire. The bytes themselves are made and read by the driver.

use core::fmt;

/// Set in the flags of a message whose body is compressed.
// Java: MessageSysFlag#COMPRESSED_FLAG
pub(crate) const COMPRESSED: i32 = 0x1;

/// Where the flags say how.
// Java: MessageSysFlag#COMPRESSION_TYPE_COMPARATOR
const METHOD: i32 = 0x700;

/// How a body is compressed.
// Java: CompressionType
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// As a zlib stream. The only one that every consumer reads: those before Java 4.9.4, and
    /// those in Go, take whatever is compressed for zlib.
    Zlib,
    /// As an LZ4 frame. It has no levels.
    Lz4,
    /// As a Zstandard frame.
    Zstd,
}

impl Compression {
    /// The flags of a message whose body is compressed like this.
    pub const fn sys_flag(self) -> i32 {
        match self {
            Compression::None => 0,
            Compression::Lz4 => COMPRESSED | 0x100,
            Compression::Zstd => COMPRESSED | 0x200,
            Compression::Zlib => COMPRESSED | 0x300,
        }
    }

    /// Reads the flags of a message.
    ///
    /// # Errors
    /// The number of a method that is not known.
    // Java: CompressionType#findByValue, for which no method at all is zlib
    pub const fn of_sys_flag(sys_flag: i32) -> Result<Compression, u8> {
        if sys_flag & COMPRESSED == 0 {
            return Ok(Compression::None);
        }
        match (sys_flag & METHOD) >> 8 {
            0 | 3 => Ok(Compression::Zlib),
            1 => Ok(Compression::Lz4),
            2 => Ok(Compression::Zstd),
            unknown => Err(unknown as u8),
        }
    }

    /// Whether this build can do it: each method is a cargo feature of its own name, of the crate
    /// for the runtime. Of them `zlib` is on by default.
    pub const fn is_built(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Zlib => cfg!(feature = "zlib"),
            Compression::Lz4 => cfg!(feature = "lz4"),
            Compression::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// The highest level; levels begin at 1.
    pub const fn level_max(self) -> u32 {
        match self {
            Compression::Zlib => 9,
            Compression::Zstd | Compression::Lz4 | Compression::None => 22,
        }
    }
}

/// zlib as in Java, or none in a build without it.
impl Default for Compression {
    fn default() -> Compression {
        if Compression::Zlib.is_built() { Compression::Zlib } else { Compression::None }
    }
}

/// The name as a word: `none`, `zlib`, `lz4`, `zstd`; also that of the cargo feature.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Zlib => "zlib",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_java() {
        let flags = [
            (Compression::None, 0),
            (Compression::Lz4, 0x101),
            (Compression::Zstd, 0x201),
            (Compression::Zlib, 0x301),
        ];
        for (method, flag) in flags {
            assert_eq!(method.sys_flag(), flag);
            // Bits for other things change nothing.
            assert_eq!(Compression::of_sys_flag(flag | 0xfe), Ok(method));
        }
        assert_eq!(Compression::of_sys_flag(0x700), Ok(Compression::None), "not compressed");
        assert_eq!(Compression::of_sys_flag(0x1), Ok(Compression::Zlib), "before Java 4.9.4");
        for number in 4..8 {
            assert_eq!(Compression::of_sys_flag(1 | number << 8), Err(number as u8));
        }
    }
}
