//! Runs `checks/static_path.rs` on what the fuzzer makes up.
#![no_main]

#[path = "../checks/static_path.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
