//! Mistakes that can be planted, to see that the tests find them.
//!
//! Only a build with `--cfg rocketmq_planted` knows them, and in that one none is made until it is
//! chosen. In every other build each site reads `false` and is gone.

/// Whether the named mistake is to be made here. Every mistake has a line in `planted/bug.rs`.
#[cfg(not(rocketmq_planted))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

#[cfg(rocketmq_planted)]
macro_rules! planted {
    ($bug:ident) => {
        crate::planted::is_chosen(crate::planted::Bug::$bug)
    };
}

#[cfg(rocketmq_planted)]
mod bug;
#[cfg(rocketmq_planted)]
pub use bug::{Bug, choose, is_chosen};
