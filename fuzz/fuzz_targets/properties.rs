//! See `rocketmq_suite::fuzz::properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketmq_suite::fuzz::properties(data));
