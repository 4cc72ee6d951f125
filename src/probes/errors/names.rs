//! Names of errors, from the kernel's own tables as the `syscalls` crate has them.

use std::borrow::Cow;

use syscalls::Errno;

/// No such file or directory. (These three are the same everywhere: include/uapi/asm-generic/errno-base.h.)
pub const ENOENT: u32 = 2;
/// A signal came first.
pub const EINTR: u32 = 4;
/// Nothing is there yet; of `futex`: the value is another.
pub const EAGAIN: u32 = 11;

/// The name of an error, such as `ENOENT`; `errno 530` for one the table does not know.
pub fn name(errno: u32) -> Cow<'static, str> {
    known(errno).and_then(|e| e.name()).map_or_else(|| format!("errno {errno}").into(), Into::into)
}

/// What it means, such as `No such file or directory`; empty for one the table does not know.
pub fn meaning(errno: u32) -> &'static str {
    known(errno).and_then(|e| e.description()).unwrap_or_default()
}

fn known(errno: u32) -> Option<Errno> {
    i32::try_from(errno).ok().map(Errno::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names_and_meanings() {
        assert_eq!((name(2).as_ref(), meaning(2)), ("ENOENT", "No such file or directory"));
        assert_eq!(name(11), "EAGAIN");
        assert_eq!((name(4_000).as_ref(), meaning(4_000)), ("errno 4000", ""));
    }
}
