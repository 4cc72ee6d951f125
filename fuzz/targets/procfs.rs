#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kscope::untrusted::read("procfs", bytes));
