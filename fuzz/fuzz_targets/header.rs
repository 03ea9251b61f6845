//! See `rocketmq_suite::fuzz::header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketmq_suite::fuzz::header(data));
