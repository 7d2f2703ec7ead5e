//! libFuzzer looks for inputs that break [`fuzz::decide`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::decide(bytes));
