//! Writes and reads ramdisks: `newc` cpio, packed with zstd. The same tree gives the same bytes.

use std::io::{self, Read, Write};

use cpio::newc;

use crate::tree::{EntryKind, Tree};

/// Default level of zstd. Up to level 19 the window is 8 MiB, the maximum that the kernel unpacks.
pub(crate) const LEVEL: i32 = 12;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// Writes the tree as a cpio archive. Every entry has the modification time `time` and the owner root.
pub(crate) fn write_cpio<W: Write>(tree: &Tree, time: u32, mut out: W) -> io::Result<W> {
    for (index, (path, entry)) in tree.entries().enumerate() {
        let ino = u32::try_from(index + 1).map_err(io::Error::other)?;
        let builder = newc::Builder::new(path)
            .ino(ino)
            .nlink(if entry.kind == EntryKind::Folder {
                2
            } else {
                1
            })
            .mtime(time);
        let (kind, bytes): (u32, &[u8]) = match &entry.kind {
            EntryKind::Folder => (FOLDER, &[]),
            EntryKind::File(bytes) => (FILE, bytes),
            EntryKind::Link(target) => (LINK, target.as_bytes()),
            EntryKind::Character { .. } => (CHARACTER, &[]),
        };
        let builder = builder.mode(kind | entry.permissions);
        let builder = match entry.kind {
            EntryKind::Character { major, minor } => builder.rdev_major(major).rdev_minor(minor),
            _ => builder,
        };
        let size = u32::try_from(bytes.len())
            .map_err(|_| io::Error::other(format!("`{path}` is too large for a cpio archive")))?;
        let mut file = builder.write(out, size);
        file.write_all(bytes)?;
        out = file.finish()?;
    }
    newc::trailer(out)
}

/// Packs bytes on all cores; the result does not depend on their number.
pub(crate) fn pack(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(u64::try_from(bytes.len()).ok())?;
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// An entry of an archive that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredEntry {
    /// Path, without a leading slash.
    pub(crate) path: String,
    /// Kind and permissions, as in `st_mode`.
    pub(crate) mode: u32,
    /// Content of a file, or a link's target.
    pub(crate) bytes: Vec<u8>,
}

/// Unpacks a ramdisk into memory.
pub(crate) fn read(packed: impl Read) -> io::Result<Vec<StoredEntry>> {
    let mut source = io::BufReader::new(zstd::Decoder::new(packed)?);
    let mut stored = Vec::new();
    loop {
        let mut reader = newc::Reader::new(source)?;
        if reader.entry().is_trailer() {
            return Ok(stored);
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        stored.push(StoredEntry {
            path: reader.entry().name().to_owned(),
            mode: reader.entry().mode(),
            bytes,
        });
        source = reader.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(order: bool) -> Tree {
        let mut tree = Tree::new();
        let script = EntryKind::File(b"#!/bin/sh\n".to_vec());
        let console = EntryKind::Character { major: 5, minor: 1 };
        let mut steps = [
            ("init", 0o755, script),
            ("tmp", 0o1777, EntryKind::Folder),
            (
                "sbin/modprobe",
                0o777,
                EntryKind::Link("../bin/kmod".to_owned()),
            ),
            ("dev/console", 0o600, console),
        ];
        if order {
            steps.reverse();
        }
        for (path, permissions, kind) in steps {
            tree.insert("a", path, permissions, kind).unwrap();
        }
        tree
    }

    #[test]
    fn the_order_of_insertion_does_not_matter() {
        let first = write_cpio(&sample(false), 7, Vec::new()).unwrap();
        let second = write_cpio(&sample(true), 7, Vec::new()).unwrap();
        assert_eq!(first, second);
        assert_eq!(pack(&first, LEVEL).unwrap(), pack(&second, LEVEL).unwrap());
    }

    #[test]
    fn the_archive_reads_back_with_kinds_and_permissions() {
        let packed = pack(&write_cpio(&sample(false), 7, Vec::new()).unwrap(), LEVEL).unwrap();
        let stored = read(packed.as_slice()).unwrap();
        let find = |path: &str| stored.iter().find(|s| s.path == path).unwrap();
        assert_eq!(find("init").mode, 0o100_755);
        assert_eq!(find("tmp").mode, 0o041_777);
        assert_eq!(find("usr/sbin/modprobe").bytes, b"../bin/kmod");
        assert_eq!(find("dev/console").mode, 0o020_600);
        assert_eq!(find("bin").bytes, b"usr/bin");
    }

    #[test]
    fn a_truncated_ramdisk_is_an_error() {
        let packed = pack(&write_cpio(&sample(false), 7, Vec::new()).unwrap(), LEVEL).unwrap();
        assert!(read(&packed[..packed.len() - 5]).is_err());
        assert!(read(&b"nothing"[..]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_content_comes_back(
            files in proptest::collection::btree_map(
                "[a-z]{1,8}",
                proptest::collection::vec(any::<u8>(), 0..200),
                0..8,
            ),
        ) {
            let mut tree = Tree::new();
            for (name, bytes) in &files {
                tree.insert("a", &format!("data/{name}"), 0o644, EntryKind::File(bytes.clone())).unwrap();
            }
            let packed = pack(&write_cpio(&tree, 0, Vec::new()).unwrap(), LEVEL).unwrap();
            let stored = read(packed.as_slice()).unwrap();
            for (name, bytes) in files {
                let path = format!("data/{name}");
                prop_assert_eq!(&stored.iter().find(|s| s.path == path).unwrap().bytes, &bytes);
            }
        }
    }
}
