//! Reads the tables of sockets in `/proc/PID/net`, each once for each network.
//!
//! Not here: what is in them (`sockets.rs`). Invariant: a table that cannot be read is an empty one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

use super::sockets::{TABLES, socket};

/// The tables that were read, by network namespace and by place in [`TABLES`]: long ones take milliseconds to read.
#[derive(Debug, Default)]
pub struct SocketTables(HashMap<(PathBuf, usize), Vec<u8>>);

impl SocketTables {
    /// What the tables of a process's network say of the socket with this inode.
    pub fn named(&mut self, pid: u32, inode: u64) -> Option<String> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        // One that we may not see is taken for the process's own.
        let namespace = fs::read_link(dir.join("ns/net")).unwrap_or(dir);
        TABLES.iter().enumerate().find_map(|(at, (file, kind))| {
            socket(self.0.entry((namespace.clone(), at)).or_insert_with(|| read(pid, file)), kind, inode)
        })
    }
}

fn read(pid: u32, table: &str) -> Vec<u8> {
    // With room from the beginning: each read looks through the kernel's whole hash table for what comes next, 2 ms and more.
    let mut bytes = Vec::with_capacity(64 << 10);
    if let Ok(mut file) = File::open(format!("/proc/{pid}/net/{table}")) {
        // What was read until an error is as good.
        let _ = file.read_to_end(&mut bytes);
    }
    bytes
}
