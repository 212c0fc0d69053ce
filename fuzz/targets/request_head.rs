//! Runs `checks/request_head.rs` on what the fuzzer makes up.
#![no_main]

#[path = "../checks/request_head.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
