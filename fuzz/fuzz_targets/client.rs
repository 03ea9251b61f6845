//! See `rocketmq_suite::fuzz::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocketmq_suite::fuzz::client(data));
