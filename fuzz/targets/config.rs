//! The configuration file. It belongs to the program, whose files are taken in here.
#![no_main]

#[path = "../../src/cli.rs"]
#[allow(dead_code, reason = "only what the configuration needs is used")]
mod cli;
#[path = "../../src/config.rs"]
#[allow(dead_code, reason = "files are not read here")]
mod config;
#[path = "../../src/failure.rs"]
#[allow(dead_code, reason = "files are not read here")]
mod failure;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(sentence) = config::parse(text) {
        assert!(!sentence.is_empty());
    }
});
