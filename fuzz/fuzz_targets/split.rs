//! See `rocketmq_suite::fuzz::split`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketmq_suite::fuzz::split(data));
