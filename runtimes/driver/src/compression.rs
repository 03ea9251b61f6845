//! Bodies made smaller on the task of the caller, and read back with a bound on their size.

#[cfg(any(feature = "zlib", feature = "lz4", feature = "zstd"))]
use std::cell::RefCell;
#[cfg(any(feature = "zlib", feature = "lz4", feature = "zstd"))]
use std::io::Read;

use bytes::Bytes;
use rocketmq_core::{Compression, Config, InvalidMessage, PreparedMessage, SendKind};

use crate::producer::SendOptions;

/// Compresses the body of a message if the settings ask for it and it gets smaller. Done once for
/// all attempts.
// Java: DefaultMQProducerImpl#tryToCompressMessage, at each attempt, and used even if larger
#[inline]
pub(crate) fn compress_message(
    message: &mut PreparedMessage,
    options: &SendOptions,
    config: &Config,
) -> Result<(), InvalidMessage> {
    let method = options.compression.unwrap_or(config.compression);
    let small = message.body().len() < config.compress_over;
    if method == Compression::None || small && method.is_built() {
        return Ok(());
    }
    compress_with(method, message, config)
}

fn compress_with(
    method: Compression,
    message: &mut PreparedMessage,
    config: &Config,
) -> Result<(), InvalidMessage> {
    if !method.is_built() {
        return Err(InvalidMessage::CompressionNotBuilt { compression: method });
    }
    // The messages of a batch are stored one by one, and what says how they are compressed is not.
    if message.kind() == SendKind::Batch {
        return Ok(());
    }
    let level = config.compression_level.min(method.level_max());
    if let Some(body) = compress(method, level, message.body()) {
        message.set_body(body, method.sys_flag());
    }
    Ok(())
}

/// The compressed body, if it is smaller.
// What a build without a method leaves unused.
#[cfg_attr(not(any(feature = "zlib", feature = "zstd")), allow(unused_variables, unused_mut))]
fn compress(method: Compression, level: u32, body: &[u8]) -> Option<Bytes> {
    // One byte less than the body is all the room there is: what does not fit is not wanted.
    let room = body.len().checked_sub(1)?;
    let mut out = Vec::with_capacity(room);
    let packed: Option<()> = match method {
        #[cfg(feature = "zlib")]
        Compression::Zlib => zlib::compress(level, body, &mut out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(body, room, &mut out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstandard::compress(level, body, &mut out),
        _ => None,
    };
    packed?;
    // Held until the send ends, so without the room that was not needed.
    out.shrink_to_fit();
    Some(out.into())
}

/// Reads the body of a message back, as its flags say that it is compressed. A body that is not
/// compressed is given as it is.
///
/// Memory is bounded: by `max`, by the window that a Zstandard body asks for (at most 128 MiB), and
/// by the blocks of an LZ4 body (at most 4 MiB each).
///
/// # Errors
/// If the result would have more than `max` bytes, the body is damaged or cut short, its method is
/// unknown, or that is not part of this build.
///
/// ```
/// use rocketmq_driver::{Compression, decompress};
///
/// let body = bytes::Bytes::from_static(b"as it was sent");
/// let flags = Compression::None.sys_flag();
/// assert_eq!(decompress(flags, &body, 4 << 20)?, body);
/// # Ok::<(), rocketmq_driver::DecompressError>(())
/// ```
// Java: MessageDecoder#decode, Compressor#decompress, which have no bound
pub fn decompress(sys_flag: i32, body: &Bytes, max: usize) -> Result<Bytes, DecompressError> {
    let method = Compression::of_sys_flag(sys_flag)
        .map_err(|method| DecompressError::UnknownMethod { method })?;
    if !method.is_built() {
        return Err(DecompressError::NotBuilt { compression: method });
    }
    let read: Option<Vec<u8>> = match method {
        Compression::None => return Ok(body.clone()),
        #[cfg(feature = "zlib")]
        Compression::Zlib => zlib::decompress(body, max),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(body, max),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstandard::decompress(body, max),
        _ => None,
    };
    match read {
        Some(out) if out.len() > max => Err(DecompressError::TooLarge { max }),
        Some(out) => Ok(out.into()),
        None => Err(DecompressError::Damaged { compression: method }),
    }
}

/// A body that cannot be read back.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// It would get too large.
    #[error("the body has more than {max} bytes when decompressed")]
    TooLarge {
        /// The most that was allowed.
        max: usize,
    },
    /// Its bytes are not what its flags say, or end too early.
    #[error("the body cannot be read as {compression}")]
    Damaged {
        /// How it should be compressed.
        compression: Compression,
    },
    /// Its flags name a method that is not known.
    #[error("the body is compressed with unknown method {method}")]
    UnknownMethod {
        /// The number of the method.
        method: u8,
    },
    /// Its method is not part of this build.
    #[error(
        "compression {compression} is not built in; turn on the cargo feature \"{compression}\""
    )]
    NotBuilt {
        /// The method.
        compression: Compression,
    },
}

/// Reads to the end, or one byte beyond `max`, which tells that there is more.
#[cfg(any(feature = "zlib", feature = "lz4", feature = "zstd"))]
fn read_capped(reader: impl Read, max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let most = u64::try_from(max).ok()?.saturating_add(1);
    reader.take(most).read_to_end(&mut out).ok()?;
    Some(out)
}

/// A stream of RFC 1950.
// Java: ZlibCompressor
#[cfg(feature = "zlib")]
mod zlib {
    use super::{RefCell, read_capped};
    use flate2::{Compress, FlushCompress, Status};

    thread_local! {
        /// The last encoder of this thread, for its level: some 300 KiB that need not be made
        /// anew.
        static ENCODER: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    }

    /// Nothing if there is not enough room.
    pub(super) fn compress(level: u32, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        ENCODER.with_borrow_mut(|kept| {
            if kept.as_ref().is_some_and(|(of, _)| *of != level) {
                *kept = None;
            }
            let make = || (level, Compress::new(flate2::Compression::new(level), true));
            let (_, encoder) = kept.get_or_insert_with(make);
            encoder.reset();
            let status = encoder.compress_vec(body, out, FlushCompress::Finish).ok()?;
            (status == Status::StreamEnd).then_some(())
        })
    }

    pub(super) fn decompress(body: &[u8], max: usize) -> Option<Vec<u8>> {
        read_capped(flate2::bufread::ZlibDecoder::new(body), max)
    }
}

/// Blocks of up to 4 MiB that know nothing of each other, in one frame without checksums.
// Java: Lz4Compressor, LZ4FrameOutputStream
#[cfg(feature = "lz4")]
mod lz4 {
    use super::{Read, RefCell, read_capped};
    use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
    use lz4_flex::frame::FrameDecoder;

    /// The magic number, version 1 with independent blocks, blocks of 4 MiB, and the checksum of
    /// the two bytes before: what Java writes.
    const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    const BLOCK: usize = 4 << 20;
    const END: [u8; 4] = [0; 4];
    /// In the length of a block that is not compressed.
    const AS_IT_IS: u32 = 1 << 31;

    thread_local! {
        /// The table of this thread: at most 16 KiB.
        static TABLE: RefCell<CompressTable> = RefCell::new(CompressTable::small());
    }

    /// Nothing if there is not enough room.
    pub(super) fn compress(body: &[u8], room: usize, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(&HEADER);
        for block in body.chunks(BLOCK) {
            let start = out.len() + 4;
            // The encoder wants room for the worst case.
            out.resize(start + get_maximum_output_size(block.len()), 0);
            let into = out.get_mut(start..)?;
            let packed =
                TABLE.with_borrow_mut(|it| compress_into_with_table(block, into, it)).ok()?;
            let mut prefix = u32::try_from(packed).ok()?;
            if packed < block.len() {
                out.truncate(start + packed);
            } else {
                prefix = u32::try_from(block.len()).ok()? | AS_IT_IS;
                out.truncate(start);
                out.extend_from_slice(block);
            }
            out.get_mut(start - 4..start)?.copy_from_slice(&prefix.to_le_bytes());
        }
        out.extend_from_slice(&END);
        (out.len() <= room).then_some(())
    }

    pub(super) fn decompress(body: &[u8], max: usize) -> Option<Vec<u8>> {
        // The decoder takes the end of its input for the end of the frame. With a mark of the end
        // behind the input, one that is cut short eats of that.
        let mut left = &END[..];
        let out = {
            let mut decoder = FrameDecoder::new(Read::chain(body, &mut left));
            read_capped(&mut decoder, max)?
        };
        (left.len() == END.len() || out.len() > max).then_some(out)
    }
}

/// A frame of RFC 8878.
// Java: ZstdCompressor
#[cfg(feature = "zstd")]
mod zstandard {
    use super::{RefCell, read_capped};
    use zstd::bulk::Compressor;

    /// The largest window that the most thorough level of Java's writer asks for.
    const WINDOW_LOG_MAX: u32 = 27;

    thread_local! {
        /// The last encoder of this thread, for its level.
        static ENCODER: RefCell<Option<(u32, Compressor<'static>)>> = const { RefCell::new(None) };
    }

    /// Nothing if there is not enough room.
    pub(super) fn compress(level: u32, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        ENCODER.with_borrow_mut(|kept| {
            if kept.as_ref().is_none_or(|(of, _)| *of != level) {
                *kept = Some((level, Compressor::new(i32::try_from(level).ok()?).ok()?));
            }
            let (_, encoder) = kept.as_mut()?;
            encoder.compress_to_buffer(body, out).ok().map(drop)
        })
    }

    pub(super) fn decompress(body: &[u8], max: usize) -> Option<Vec<u8>> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(body).ok()?;
        decoder.window_log_max(WINDOW_LOG_MAX).ok()?;
        read_capped(decoder.single_frame(), max)
    }
}

#[cfg(test)]
mod tests;
