//! See `rocketmq_suite::fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketmq_suite::fuzz::frame(data));
