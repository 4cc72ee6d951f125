//! Who holds a file's lock, from the text of `/proc/locks`.
//!
//! Pure. Not here: reading it.

/// A lock that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The file: major and minor number of its device, and its inode.
    pub file: (u32, u32, u64),
    /// The process; `None` for a lock of an open file description, which no process owns.
    pub pid: Option<u32>,
}

/// The locks that are held. Lines of those who wait for one are marked with an arrow.
pub fn held(text: &str) -> impl Iterator<Item = Held> + '_ {
    text.lines().filter(|line| !line.contains("->")).filter_map(parse)
}

/// A line such as `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131074 0 EOF`.
fn parse(line: &str) -> Option<Held> {
    let mut fields = line.split_whitespace().skip(4);
    let pid: i64 = fields.next()?.parse().ok()?;
    let mut file = fields.next()?.split(':');
    let mut number = || u32::from_str_radix(file.next()?, 16).ok();
    let (major, minor) = (number()?, number()?);
    let inode = file.next()?.parse().ok()?;
    Some(Held { file: (major, minor, inode), pid: u32::try_from(pid).ok().filter(|pid| *pid > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_told_from_those_who_wait() {
        let text = "1: FLOCK  ADVISORY  WRITE 4711 fe:01:131074 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 4712 fe:01:131074 0 EOF\n\
                    2: OFDLCK ADVISORY  READ -1 08:10:9 0 EOF\nnonsense\n3: POSIX";
        let all: Vec<_> = held(text).collect();
        assert_eq!(all, [Held { file: (0xfe, 1, 131_074), pid: Some(4711) }, Held { file: (8, 16, 9), pid: None },]);
    }
}
