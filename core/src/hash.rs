//! The hashes by which messages with one key come to one queue.
//!
//! None of them may ever change: other programs, and other versions of this one, send messages
//! with the same keys and have to find the same queues.

/// The hash of `java.lang.String#hashCode`: over UTF-16 units, wrapping.
pub(crate) fn java_string(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// FNV-1a with 32 bits.
pub(crate) fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// FNV-1a with 64 bits, mixed so that every bit depends on all of the input.
pub(crate) fn mixed_64(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// Two hashes in one; which one comes first matters.
pub(crate) fn combine(first: u64, second: u64) -> u64 {
    mix(first.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(second))
}

/// The last step of splitmix64, a bijection.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The score of a bin for weighted rendezvous: the bin with the least one wins, and each wins as
/// often as its share of all weight. `hash` is that of key and bin; `weight` is more than 0.
///
/// A bin that gains weight only gains keys, and one that comes or goes takes or gives its own.
// Minus the logarithm of a uniform number, an exponential one, over the weight.
pub(crate) fn rendezvous_score(hash: u64, weight: u32) -> f64 {
    minus_ln(hash) / f64::from(weight)
}

/// Minus the natural logarithm of `hash`, read as a fraction between 0 and 1.
// There is no logarithm without std. Only basic operations, so every machine gets the same bits.
fn minus_ln(hash: u64) -> f64 {
    const UNIT: f64 = 1.0 / (1_u64 << 52) as f64;
    let fraction = ((hash >> 12) as f64 + 0.5) * UNIT;
    let bits = fraction.to_bits();
    // fraction = mantissa × 2^exponent, with the mantissa near 1.
    let mut exponent = (bits >> 52) as i32 - 1022;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3fe0_0000_0000_0000);
    if mantissa < core::f64::consts::FRAC_1_SQRT_2 {
        mantissa *= 2.0;
        exponent -= 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); |s| stays below 0.172, so 10 terms reach 53 bits.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in (0..10).rev() {
        sum = sum * square + 1.0 / f64::from(2 * odd + 1);
    }
    -(2.0 * s * sum + f64::from(exponent) * core::f64::consts::LN_2)
}

/// Jump consistent hash by Lamping and Veach: a bin in `0..bins`, 0 if there is none. With one bin
/// more, only the keys of the new bin move. Takes some 20 steps for 2^31 bins.
pub(crate) fn jump(mut key: u64, bins: u32) -> u32 {
    let mut bin = 0;
    let mut next = 0.0;
    while next < f64::from(bins) {
        bin = next as u32;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Truncated, as the reference does; it stays below 2^63.
        let drawn = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = (((f64::from(bin) + 1.0) * drawn) as u64) as f64;
    }
    bin
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a JVM.
    #[test]
    fn java_strings_hash_as_in_java() {
        let known = [
            ("", 0),
            ("a", 97),
            ("order-42", 1_234_255_197),
            ("用户", 954_895),
            ("order-1000", 708_180_862),
            ("foobar", -1_268_878_963),
            ("😀", 1_772_899),
            ("polygenelubricants", i32::MIN),
            ("😀x", 54_959_989),
            ("Aa", 2_112),
            ("BB", 2_112),
        ];
        for (text, hash) in known {
            assert_eq!(java_string(text), hash, "{text}");
        }
    }

    /// From Go's `hash/fnv`.
    #[test]
    fn bytes_hash_as_in_go() {
        let known = [
            ("", 2_166_136_261),
            ("a", 3_826_002_220),
            ("order-42", 1_461_995_252),
            ("用户", 467_979_193),
            ("order-1000", 2_456_764_191),
            ("foobar", 3_214_735_720),
            ("😀", 866_293_256),
        ];
        for (text, hash) in known {
            assert_eq!(fnv1a_32(text.as_bytes()), hash, "{text}");
        }
    }

    /// The values that other implementations of the paper test against.
    #[test]
    fn jumps_land_where_the_reference_lands() {
        let known = [
            (1, 1, 0),
            (42, 57, 43),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1_024, 520),
            (7, 0, 0),
        ];
        for (key, bins, bin) in known {
            assert_eq!(jump(key, bins), bin, "{key} {bins}");
        }
        assert!(jump(u64::MAX, u32::MAX) < u32::MAX);
    }

    #[test]
    fn one_bin_more_moves_only_what_goes_to_it() {
        for key in 0..2_000_u64 {
            let key = mix(key);
            let mut bin = jump(key, 1);
            for bins in 2..40 {
                let next = jump(key, bins);
                assert!(next == bin || next == bins - 1, "{key} {bins}");
                bin = next;
            }
        }
    }

    /// No outcome of this function may change between versions.
    #[test]
    fn mixed_hashes_are_fixed_for_good() {
        let known = [("", MIXED_EMPTY), ("a", MIXED_A), ("order-42", MIXED_ORDER)];
        for (text, hash) in known {
            assert_eq!(mixed_64(text.as_bytes()), hash, "{text}");
        }
        assert_ne!(combine(1, 2), combine(2, 1));
    }

    const MIXED_EMPTY: u64 = 0xf52a_15e9_a9b5_e89b;
    const MIXED_A: u64 = 0x02c0_bdbf_4814_20f8;
    const MIXED_ORDER: u64 = 0x586d_07f2_8908_894f;

    /// By Python's `decimal` with 60 digits.
    #[test]
    fn logarithms_are_right() {
        for (hash, right) in [
            (u64::MAX, 1.1102230246251565e-16),
            (u64::MAX - (1 << 12), 3.33066907387547e-16),
            (0, 36.7368005696771),
            (1 << 11, 36.7368005696771),
            (1 << 63, 0.6931471805599451),
            ((1 << 63) - 1, 0.6931471805599455),
            (0x4164_d839_9f76_7c45, 1.3647480904384655),
            (0x5bc8_fbbc_bde5_c099, 1.025727565206296),
            (0xb0c1_1fde_cb91_ce37, 0.3704162882318262),
            (0xd76d_4330_f144_6bea, 0.17255623761164027),
            (0xa6eb_8c9e_bd69_fe29, 0.42766210314594966),
            (0x87b0_b125_ec1d_7da0, 0.6348030757791495),
            (0xd721_0dff_076c_e2ef, 0.173939039334389),
            (0xc6a5_3877_7733_0bdb, 0.25365615472100456),
            (0x003f_f17f_d374, 18.02271213346246),
            (0x000d_a623_3255, 19.5670453583398),
        ] {
            let own = minus_ln(hash);
            assert!((own - right).abs() <= right * 1e-14, "{hash:x}: {own} {right}");
        }
    }
}
