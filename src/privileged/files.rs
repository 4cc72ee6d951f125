//! Which files a process may open at all (Landlock), and making those that the user asked for.
//!
//! Invariant: a file that is made here is its owner's alone, and its owner is who called.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::{Gid, Uid, fchown};

use super::rights::Caller;

/// Leaves this process and its threads to come nothing but reading below these paths: no writing, no TCP, no sockets with
/// abstract names. How much of that this kernel does.
pub fn read_only(below: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // All that there was when this was written; a kernel that knows less does less.
    let all = ABI::V5;
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(all))?
        .handle_access(AccessNet::from_all(all))?
        .scope(Scope::AbstractUnixSocket)?
        .create()?;
    // What is not there needs no rule.
    let there = below.iter().filter_map(|path| PathFd::new(path).ok());
    let ruleset = ruleset.add_rules(there.map(|path| Ok::<_, RulesetError>(PathBeneath::new(path, read))))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// A file that the user asked for: made for the caller alone, or opened as it is. It is emptied when it is written.
pub fn create(path: &Path, caller: Option<Caller>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            if let Some(Caller { uid, gid }) = caller {
                fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            Ok(file)
        }
        // A link that leads nowhere yet, too: what it leads to is made.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create(true).open(path),
        Err(error) => Err(error),
    }
}
