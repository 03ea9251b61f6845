//! Bytes made by others are read; what is made here is read back; hostile bytes cost little.

use super::*;

const METHODS: [Compression; 3] = [Compression::Zlib, Compression::Lz4, Compression::Zstd];

fn built() -> impl Iterator<Item = Compression> {
    METHODS.into_iter().filter(|method| method.is_built())
}

fn bytes(hex: &str) -> Bytes {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn orders() -> Vec<u8> {
    b"order 4711 paid; ".repeat(400)
}

/// A body that gets smaller the less its bytes differ.
fn body(length: usize, values: u32, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) % values) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Flags, the frame, and what is in it.
fn frames_of_others() -> Vec<(i32, &'static str, Vec<u8>)> {
    const ZLIB: i32 = 0x301;
    const LZ4: i32 = 0x101;
    const ZSTD: i32 = 0x201;
    let hello = || b"hello hello hello hello".to_vec();
    vec![
        // By Java's compressors.
        (ZLIB, "785ecb48cdc9c957c8402701680308b1", hello()),
        (LZ4, "04224d186070730f0000006868656c6c6f2006005068656c6c6f00000000", hello()),
        (ZSTD, "28b52ffd00586400003068656c6c6f200100994b11010000", hello()),
        // As recorded from the Java producer.
        (ZLIB, "785eedc13101000000c2a0f54f6d0a3fa00000000080b70113880001", vec![0; 5_000]),
        // Older producers, and those in Go, do not say how.
        (0x1, "785ecb48cdc9c957c8402701680308b1", hello()),
        // By Python's zlib: the lowest level, and with a flush in the middle.
        (
            ZLIB,
            "7801edd8b10900200c04c055b2822058388da08555c4fd0b97b0bcd65234f9bfbc73dda8ad943863cf1e\
             e9c07d780e7e83616016da0d56a3642018c98562b19aa02529893a322220248484901012424248080921\
             2124ff84e401bdad0599",
            orders(),
        ),
        (
            ZLIB,
            "789cca2f4a492d5230313734542848cc4cb156c8a7be00000000ffffedc8210100000080a0ffaf1d2244\
             841042082184104208218410420821c43702bdad0599",
            orders(),
        ),
        // By the tool of LZ4: with checksums, linked blocks, a length.
        (
            LZ4,
            "04224d186440a736000000ff026f72646572203437313120706169643b201100ffffffffffffffffffff\
             ffffffffffffffffffffffffffffffff81506169643b200000000096ee09f5",
            orders(),
        ),
        (
            LZ4,
            "04224d186c40901a0000000000006036000000ff026f72646572203437313120706169643b201100ffff\
             ffffffffffffffffffffffffffffffffffffffffffffffff81506169643b200000000096ee09f5",
            orders(),
        ),
        (
            LZ4,
            "04224d187440bd36000000ff026f72646572203437313120706169643b201100ffffffffffffffffffff\
             ffffffffffffffffffffffffffffffff81506169643b2069a69e4d0000000096ee09f5",
            orders(),
        ),
        // By the tool of Zstandard: with length and checksum, and as a stream.
        (
            ZSTD,
            "28b52ffd649019cd0000886f72646572203437313120706169643b200100f994fab90426058bf1",
            orders(),
        ),
        (
            ZSTD,
            "28b52ffd0458cd0000886f72646572203437313120706169643b200100f994fab90426058bf1",
            orders(),
        ),
    ]
}

#[test]
fn frames_of_others_are_read() {
    let mut read = 0;
    for (flags, hex, body) in frames_of_others() {
        let method = Compression::of_sys_flag(flags).unwrap();
        let result = decompress(flags, &bytes(hex), body.len());
        if !method.is_built() {
            assert_eq!(result, Err(DecompressError::NotBuilt { compression: method }));
            continue;
        }
        assert_eq!(result.as_deref(), Ok(&body[..]), "{hex}");
        let result = decompress(flags, &bytes(hex), body.len() - 1);
        assert_eq!(result, Err(DecompressError::TooLarge { max: body.len() - 1 }), "{hex}");
        read += 1;
    }
    assert!(read > 0 || built().next().is_none());
}

#[test]
fn what_is_cut_short_or_changed_is_never_taken_for_whole() {
    for (flags, hex, body) in frames_of_others() {
        let method = Compression::of_sys_flag(flags).unwrap();
        if !method.is_built() {
            continue;
        }
        let whole = bytes(hex);
        for length in 0..whole.len() {
            let result = decompress(flags, &whole.slice(..length), 1 << 20);
            let damaged = Err(DecompressError::Damaged { compression: method });
            assert_eq!(result, damaged, "{method}, {length} bytes of {hex}");
        }
        for index in 0..whole.len() {
            for bit in [1, 6] {
                let mut changed = whole.to_vec();
                changed[index] ^= 1 << bit;
                // No more than that it ends, within the bound: LZ4 of Java has no checksum.
                if let Ok(read) = decompress(flags, &changed.into(), body.len()) {
                    assert!(read.len() <= body.len());
                }
            }
        }
    }
}

#[test]
fn bodies_come_back_whatever_they_are() {
    for method in built() {
        let mut compressed = 0;
        for (seed, length) in [1, 2, 63, 100, 4_095, 4_096, 70_000, 1 << 20].into_iter().enumerate()
        {
            for values in [1, 2, 16, 200, 256] {
                // Levels alternate, so encoders are used again and made anew.
                for level in if length > 100_000 { 1..2 } else { 1..7 } {
                    let body = body(length, values, seed as u32);
                    let Some(small) = compress(method, level, &body) else { continue };
                    assert!(small.len() < length);
                    let back = decompress(method.sys_flag(), &small, length);
                    assert!(back.is_ok_and(|back| back == body), "{method}, {length}, {values}");
                    compressed += 1;
                }
            }
        }
        assert!(compressed > 50, "{method}: {compressed}");
    }
}

#[test]
fn a_body_that_does_not_get_smaller_is_left_alone() {
    for method in built() {
        assert_eq!(compress(method, 5, b""), None);
        assert_eq!(compress(method, 5, b"x"), None);
        assert_eq!(compress(method, 5, &body(10_000, 256, 7)), None, "{method}");
        // The next body is not disturbed by the one that was broken off.
        let small = compress(method, 5, &orders()).unwrap();
        assert!(small.len() < 200, "{method}: {}", small.len());
        assert_eq!(decompress(method.sys_flag(), &small, 10_000).as_deref(), Ok(&orders()[..]));
    }
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let bomb = vec![0; 16 << 20];
    for method in built() {
        let small = compress(method, 5, &bomb).unwrap();
        assert!(small.len() < bomb.len() / 200, "{method}: {}", small.len());
        for max in [0, 1, 1_000, bomb.len() - 1] {
            let result = decompress(method.sys_flag(), &small, max);
            assert_eq!(result, Err(DecompressError::TooLarge { max }), "{method}");
        }
        assert!(decompress(method.sys_flag(), &small, bomb.len()).is_ok());
    }
}

#[test]
fn flags_decide_how_a_body_is_read() {
    let body = Bytes::from_static(b"plain");
    assert_eq!(decompress(0, &body, 0), Ok(body.clone()), "nothing to do");
    assert_eq!(decompress(0x300, &body, 0), Ok(body.clone()), "not compressed");
    let unknown = Err(DecompressError::UnknownMethod { method: 5 });
    assert_eq!(decompress(0x501, &body, 100), unknown);
}

/// Java's own bytes where nothing is left to the encoder.
#[cfg(feature = "lz4")]
#[test]
fn lz4_is_framed_as_java_does() {
    let hello = b"hello hello hello hello";
    let mut out = Vec::new();
    lz4::compress(hello, 64, &mut out).unwrap();
    assert_eq!(&out[..7], &bytes("04224d18607073")[..]);
    assert_eq!(decompress(0x101, &out.into(), 23).as_deref(), Ok(&hello[..]));
    // A block that is not compressed between two that are.
    let mut mixed = vec![7; 4 << 20];
    mixed.extend(body(4 << 20, 256, 3));
    mixed.extend([8; 100]);
    let small = compress(Compression::Lz4, 5, &mixed).unwrap();
    assert!(decompress(0x101, &small, mixed.len()).is_ok_and(|back| back == mixed));
}

#[cfg(feature = "zlib")]
#[test]
fn zlib_begins_as_that_of_java() {
    let small = compress(Compression::Zlib, 5, &orders()).unwrap();
    assert_eq!(&small[..2], [0x78, 0x5e]);
}
