//! Names of RocketMQ's versions.

use alloc::format;
use alloc::string::String;

/// From this number on versions are regular: ten minor versions of each major one, ten patches of
/// each minor one, and a snapshot before every release.
// Java: MQVersion.Version#V4_1_0_SNAPSHOT
const FIRST_REGULAR: i32 = 232;

/// Where the count would begin with 4.0.0.
const ORIGIN: i32 = 213;

/// Stands for everything that is newer than the peer knows.
// Java: MQVersion.Version#HIGHER_VERSION
const HIGHER: i32 = 612;

/// The version behind a number that headers carry, such as `5.3.3` for 479.
// Java: MQVersion
pub fn version_name(version: i32) -> String {
    if version < FIRST_REGULAR {
        return format!("before 4.1.0 (number {version})");
    }
    if version >= HIGHER {
        return format!("after 5.9.9 (number {version})");
    }
    // Snapshots are even and come right before their release.
    let release = (version | 1) - ORIGIN;
    let count = release / 2;
    let suffix = if version % 2 == 0 { "-SNAPSHOT" } else { "" };
    format!("{}.{}.{}{suffix}", 4 + count / 100, count / 10 % 10, count % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_releases() {
        // The table of the protocol reference.
        for (number, name) in [
            (232, "4.1.0-SNAPSHOT"),
            (317, "4.5.2"),
            (333, "4.6.0"),
            (393, "4.9.0"),
            (399, "4.9.3"),
            (400, "4.9.4-SNAPSHOT"),
            (401, "4.9.4"),
            (407, "4.9.7"),
            (411, "4.9.9"),
            (412, "5.0.0-SNAPSHOT"),
            (413, "5.0.0"),
            (433, "5.1.0"),
            (441, "5.1.4"),
            (453, "5.2.0"),
            (473, "5.3.0"),
            (479, "5.3.3"),
            (513, "5.5.0"),
        ] {
            assert_eq!(version_name(number), name);
        }
        assert_eq!(version_name(121), "before 4.1.0 (number 121)");
        assert_eq!(version_name(i32::MAX), "after 5.9.9 (number 2147483647)");
        assert_eq!(version_name(i32::MIN), "before 4.1.0 (number -2147483648)");
    }
}
