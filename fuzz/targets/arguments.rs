//! The command line, an argument a line. It belongs to the program, whose file is taken in here.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use clap::Parser as _;

#[path = "../../src/cli.rs"]
#[allow(dead_code, reason = "only parsing is tried")]
mod cli;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let arguments = bytes.split(|&b| b == b'\n').map(OsStr::from_bytes);
    if let Err(error) = cli::Cli::try_parse_from([OsStr::new("kscope")].into_iter().chain(arguments)) {
        assert!(!error.to_string().is_empty());
    }
});
