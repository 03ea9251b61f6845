//! What the benchmarks share.

pub mod bare;
pub mod load;
pub mod machine;
pub mod process;
pub mod samples;
