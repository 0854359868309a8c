//! Parsers of the kernel's lists of mounts and swap in `/proc`.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// Device number, `MAJOR:MINOR`; an anonymous one, which is not a disk's, for btrfs and the like.
    pub device: String,
    /// Mount point.
    pub target: PathBuf,
    /// Filesystem type.
    pub kind: String,
    /// The source as given to mount.
    pub source: OsString,
}

/// Reads the text of `/proc/self/mountinfo`; a malformed line is skipped.
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountInfo> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse_mount)
        .collect()
}

/// `ID PARENT MAJ:MIN ROOT TARGET OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER-OPTIONS`
fn parse_mount(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.nth(2)?;
    let target = fields.nth(1)?;
    fields.find(|field| *field == b"-")?;
    let (kind, source) = (fields.next()?, fields.next()?);
    Some(MountInfo {
        device: String::from_utf8_lossy(device).into_owned(),
        target: PathBuf::from(unescaped(target)),
        kind: String::from_utf8_lossy(kind).into_owned(),
        source: unescaped(source),
    })
}

/// The active swap devices and files.
pub fn swaps() -> io::Result<Vec<PathBuf>> {
    match fs::read("/proc/swaps") {
        Ok(text) => Ok(parse_swaps(&text)),
        // A kernel without swap.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads the text of `/proc/swaps`: a heading, then a line each, the name first.
pub fn parse_swaps(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    lines
        .filter_map(|line| line.split(u8::is_ascii_whitespace).next())
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(unescaped(name)))
        .collect()
}

/// Undoes the kernel's escapes: space, tab, newline, backslash and `#` are a backslash and three octal digits.
fn unescaped(text: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, octal(after)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => plain.push(first),
        }
    }
    OsString::from_vec(plain)
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_escapes_and_optional_fields() {
        let text = br"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 propagate_from:2 - ext3 /dev/sd\011a rw,errors=continue
37 35 0:44 / /run rw - tmpfs tmpfs rw
38 35 0:45 /sub /b rw shared:3 - btrfs /dev/sdb1 rw
a line that is not a mount
39 35 0:46 / /x\999 rw - overlay none rw
";
        let found: Vec<(String, String, String, String)> = parse_mountinfo(text)
            .into_iter()
            .map(|mount| {
                let target = mount.target.display().to_string();
                let source = mount.source.to_string_lossy().into_owned();
                (mount.device, target, mount.kind, source)
            })
            .collect();
        let line = |a: &str, b: &str, c: &str, d: &str| {
            (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
        };
        assert_eq!(
            found,
            [
                line("254:0", "/", "ext4", "/dev/vda"),
                line("98:0", "/mnt 2\\x", "ext3", "/dev/sd\ta"),
                line("0:44", "/run", "tmpfs", "tmpfs"),
                line("0:45", "/b", "btrfs", "/dev/sdb1"),
                line("0:46", "/x\\999", "overlay", "none"),
            ]
        );
    }

    #[test]
    fn swaps_are_read_without_their_heading() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/dm-1                               partition\t999420\t\t0\t\t-2
/swap\\040file file 1 0 -3
";
        let expected = ["/dev/dm-1", "/swap file"].map(PathBuf::from);
        assert_eq!(parse_swaps(text), expected);
        assert!(parse_swaps(b"").is_empty());
    }
}
