//! Output of the tools, correct and inconsistent.

use super::*;

const DUMPE2FS: &str = "\
Filesystem volume name:   <none>
Filesystem features:      has_journal extent 64bit flex_bg
Filesystem state:         clean
Free blocks:              13
Free inodes:              100
First block:              1
Block size:               1024


Group 0: (Blocks 1-8192) csum 0x1234 [ITABLE_ZEROED]
  Primary superblock at 1, Group descriptors at 2-2
  10 free blocks, 100 free inodes, 2 directories
  Free blocks: 7-9, 20, 30-35
  Free inodes: 12-100
Group 1: (Blocks 8193-16384) csum 0x1234 [ITABLE_ZEROED]
  3 free blocks, 0 free inodes, 0 directories
  Free blocks: 36-38
  Free inodes: 
Group 2: (Blocks 16385-24576)
  Free blocks: 
";

const XFS_DB: &str = "\
blocksize = 4096
agblocks = 100
fdblocks = 12
    agno    agbno      len
       0        6        1
       0       10        6
       2       95        5
   from      to extents  blocks    pct
      1       1      16      16   0.03
";

#[test]
fn lists_are_read_as_bytes() {
    let extents = parse_ext(DUMPE2FS).unwrap();
    assert_eq!(
        extents,
        [
            7 << 10..10 << 10,
            20 << 10..21 << 10,
            30 << 10..36 << 10,
            36 << 10..39 << 10
        ]
    );
    assert_eq!(joined(extents)[2], 30 << 10..39 << 10);
    let extents = parse_xfs(XFS_DB).unwrap();
    assert_eq!(
        extents,
        [6 << 12..7 << 12, 10 << 12..16 << 12, 295 << 12..300 << 12]
    );
}

#[test]
fn lists_that_do_not_add_up_are_refused() {
    for (old, new, says) in [
        (
            "state:         clean",
            "state:         not clean with errors",
            "not clean: not clean with errors",
        ),
        (
            "has_journal",
            "has_journal needs_recovery",
            "journal was not replayed",
        ),
        ("has_journal", "bigalloc", "the filesystem has bigalloc"),
        (
            "Free blocks:              13",
            "Free blocks:              14",
            "not as long as its superblock",
        ),
        ("36-38", "38-36", "not as long as its superblock"),
        ("36-38", "36-x8", "`x8` is not a block number"),
        (
            "Block size:               1024",
            "",
            "superblock cannot be read",
        ),
    ] {
        assert!(DUMPE2FS.contains(old), "{old}");
        let error = parse_ext(&DUMPE2FS.replace(old, new)).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{new}: {error:#}");
    }
    for (old, new, says) in [
        (
            "fdblocks = 12",
            "fdblocks = 13",
            "not as long as its superblock",
        ),
        (
            "       95        5",
            "       96        5",
            "outside of its group",
        ),
        ("       95        5", "       95", "cannot be read"),
        ("agblocks = 100", "", "superblock cannot be read"),
        (
            "       2       95",
            "18446744073709551615 95",
            "outside of it",
        ),
    ] {
        assert!(XFS_DB.contains(old), "{old}");
        let error = parse_xfs(&XFS_DB.replace(old, new)).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{new}: {error:#}");
    }
}
