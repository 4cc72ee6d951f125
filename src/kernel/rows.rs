//! Rows of procfs' tables, read by the crate `procfs`.
//!
//! The crate parses a table as UTF-8 and gives it up whole for one row that it does not know. Mount points, cgroups and names are
//! what users call them. So each row is given to it by itself, with what is no UTF-8 replaced.
//!
//! Not here: opening files, and tables that kscope reads itself (ARCHITECTURE.md, "The crate procfs, and where not").
//! Invariant: a row that the crate cannot read hides no other.

use procfs::{FromBufRead, FromBufReadSI, current_system_info};

/// The rows of a table without a head. An empty line is none.
pub fn rows<T: FromBufRead>(table: &[u8]) -> impl Iterator<Item = T> {
    lines(table).filter_map(row)
}

/// One row, or a file that is one.
pub fn row<T: FromBufRead>(line: &[u8]) -> Option<T> {
    T::from_buf_read(String::from_utf8_lossy(line).as_bytes()).ok()
}

/// One row of a table of which the crate leaves out the first line, and which is in the order of this machine's bytes.
pub fn row_below_head<T: FromBufReadSI>(line: &[u8]) -> Option<T> {
    let table = format!("\n{}", String::from_utf8_lossy(line));
    T::from_buf_read(table.as_bytes(), current_system_info()).ok()
}

/// The lines of a table.
pub fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use procfs::MountEntry;

    use super::*;

    #[test]
    fn a_strange_row_hides_no_other() {
        let table = b"a /one tmpfs rw 0 0\nnonsense\n\nb /\xff\xfe tmpfs rw 0 0\nc /three tmpfs rw 0 0\n";
        let mounts: Vec<String> = rows::<Vec<MountEntry>>(table).flatten().map(|mount| mount.fs_file).collect();
        assert_eq!(mounts, ["/one", "/\u{fffd}\u{fffd}", "/three"]);
    }
}
