//! libFuzzer looks for inputs that break [`fuzz::marks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::marks(bytes));
