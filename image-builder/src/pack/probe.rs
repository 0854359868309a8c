//! What a raw image is, by its first bytes: a disk with a partition table, or a filesystem, and whether all of it is there.

use std::ops::Range;

use anyhow::Result;

use crate::error::refused;

/// How many first bytes are enough: the last superblock that is looked for is btrfs's, at 64 KiB.
pub(crate) const HEAD_LENGTH: usize = 128 << 10;

/// `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`, as it lies on a disk.
const ESP: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A disk with a partition table.
    Disk(Disk),
    /// One filesystem.
    Filesystem(Filesystem),
    /// Nothing that is known here.
    Unknown,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Bytes in its sectors.
    pub(crate) sector_size: u32,
    /// `gpt` or `dos`.
    pub(crate) table: &'static str,
    /// Whether its first sector has boot code, which a BIOS would start.
    pub(crate) bios: bool,
    /// Whether it has an EFI system partition.
    pub(crate) uefi: bool,
    /// Its partitions that lie within the image, but for logical ones of a DOS table; in bytes.
    pub(crate) partitions: Vec<Range<u64>>,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// As blkid calls it.
    pub(crate) kind: &'static str,
    /// As it stands in fstab; empty where it has none.
    pub(crate) uuid: String,
    /// Bytes in the sectors it was made for, where it depends on them.
    pub(crate) sector_size: u32,
    /// How long it says it is, where that is read.
    size: Option<u64>,
}

impl Filesystem {
    /// How many bytes it says it has, where that is read.
    pub(crate) const fn size(&self) -> Option<u64> {
        self.size
    }
}

/// Looks at the first [`HEAD_LENGTH`] bytes of an image of `size` bytes; refuses one that says itself that it is longer.
pub(crate) fn of(head: &[u8], size: u64) -> Result<Content> {
    let content = look(head, size);
    let says = match &content {
        Content::Disk(disk) => gpt_end(head, disk),
        Content::Filesystem(filesystem) => filesystem.size,
        Content::Unknown => None,
    };
    match says {
        Some(says) if says > size => Err(refused(
            format!("the image has {size} bytes, but says that it has {says}: it is cut off"),
            "fetch or copy it again",
        )),
        _ => Ok(content),
    }
}

/// What is there, whatever it says of its own length.
pub(super) fn look(head: &[u8], size: u64) -> Content {
    for sector_size in [512, 4096] {
        if let Some(disk) = gpt(head, sector_size, size) {
            return Content::Disk(disk);
        }
    }
    let kinds = [ext, xfs, btrfs, swap, fat];
    if let Some(filesystem) = kinds.iter().find_map(|kind| kind(head)) {
        return Content::Filesystem(filesystem);
    }
    match mbr(head, size) {
        Some(disk) => Content::Disk(disk),
        None => Content::Unknown,
    }
}

fn at<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..)?.first_chunk().copied()
}

fn le16(head: &[u8], offset: usize) -> u16 {
    at(head, offset).map_or(0, u16::from_le_bytes)
}

fn le32(head: &[u8], offset: usize) -> u32 {
    at(head, offset).map_or(0, u32::from_le_bytes)
}

fn le64(head: &[u8], offset: usize) -> u64 {
    at(head, offset).map_or(0, u64::from_le_bytes)
}

/// Sixteen bytes as they are written.
fn uuid(bytes: &[u8]) -> String {
    let digits = os_image::hex::text(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    let parts: Vec<&str> = parts
        .into_iter()
        .filter_map(|part| digits.get(part))
        .collect();
    parts.join("-")
}

fn uuid_at(head: &[u8], offset: usize) -> String {
    at::<16>(head, offset).map_or_else(String::new, |bytes| uuid(&bytes))
}

fn has_boot_code(head: &[u8]) -> bool {
    head.iter().take(440).any(|byte| *byte != 0)
}

fn gpt(head: &[u8], sector_size: u32, size: u64) -> Option<Disk> {
    let header = usize::try_from(sector_size).ok()?;
    if at(head, header)? != *b"EFI PART" {
        return None;
    }
    // the entries: where they are wrong, no ESP is found, which the options can put right
    let first = le64(head, header + 72).checked_mul(sector_size.into())?;
    let length = usize::try_from(le32(head, header + 84)).ok()?.max(128);
    let entries = usize::try_from(le32(head, header + 80)).ok()?.min(512);
    let first = usize::try_from(first).ok()?;
    let (mut uefi, mut partitions) = (false, Vec::new());
    for n in 0..entries {
        let Some(at) = n.checked_mul(length).and_then(|at| first.checked_add(at)) else {
            break;
        };
        let entry = head.get(at..).unwrap_or_default();
        uefi |= entry.first_chunk() == Some(&ESP);
        if entry.first_chunk().is_some_and(|kind| *kind != [0; 16]) {
            let sectors = le64(entry, 32)..le64(entry, 40).saturating_add(1);
            partitions.extend(within(sectors, sector_size, size));
        }
    }
    Some(Disk {
        sector_size,
        table: "gpt",
        bios: has_boot_code(head),
        uefi,
        partitions,
    })
}

/// A partition in bytes, where it is one and lies within the image.
fn within(sectors: Range<u64>, sector_size: u32, size: u64) -> Option<Range<u64>> {
    let bytes = |sector: u64| sector.checked_mul(sector_size.into());
    let part = bytes(sectors.start)?..bytes(sectors.end)?;
    (part.start > 0 && part.start < part.end && part.end <= size).then_some(part)
}

/// Where the second copy of a GPT ends: the end of its disk.
fn gpt_end(head: &[u8], disk: &Disk) -> Option<u64> {
    if disk.table != "gpt" {
        return None;
    }
    let header = usize::try_from(disk.sector_size).ok()?;
    let last = le64(head, header + 32);
    Some(
        last.saturating_add(1)
            .saturating_mul(disk.sector_size.into()),
    )
}

/// Types of partitions that hold others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// A boot sector with partitions that lie on the disk: filesystems begin with 55 AA too.
fn mbr(head: &[u8], size: u64) -> Option<Disk> {
    if at(head, 510)? != [0x55, 0xaa] {
        return None;
    }
    let (mut used, mut partitions) = (0, Vec::new());
    let mut uefi = false;
    for n in 0..4 {
        let entry = head.get(446 + n * 16..)?.get(..16)?;
        let (start, sectors) = (u64::from(le32(entry, 8)), u64::from(le32(entry, 12)));
        if entry.iter().all(|byte| *byte == 0) {
            continue;
        }
        let plausible = [0, 0x80].contains(&entry[0]) && entry[4] != 0;
        let part = within(start..start + sectors, 512, size).filter(|_| plausible)?;
        used += 1;
        // what an extended one begins with belongs to nobody, and what lies in it is others'
        if !EXTENDED.contains(&entry[4]) {
            partitions.push(part);
        }
        uefi |= entry[4] == 0xef;
    }
    (used > 0).then(|| Disk {
        sector_size: 512,
        table: "dos",
        bios: has_boot_code(head),
        uefi,
        partitions,
    })
}

/// ext2, 3 and 4 differ by their features, as blkid has it.
fn ext(head: &[u8]) -> Option<Filesystem> {
    const SUPERBLOCK: usize = 1024;
    const HAS_JOURNAL: u32 = 0x4;
    /// What ext3 knows: `filetype`, `recover`, `meta_bg` and `sparse_super`, `large_file`, `btree_dir`.
    const EXT3: (u32, u32) = (0x2 | 0x4 | 0x10, 0x1 | 0x2 | 0x4);
    let superblock = head.get(SUPERBLOCK..SUPERBLOCK + 1024)?;
    let block_shift = le32(superblock, 24);
    if le16(superblock, 56) != 0xef53 || block_shift > 6 {
        return None;
    }
    let (compatible, incompatible, read_only) = (
        le32(superblock, 92),
        le32(superblock, 96),
        le32(superblock, 100),
    );
    let kind = if incompatible & !EXT3.0 != 0 || read_only & !EXT3.1 != 0 {
        "ext4"
    } else if compatible & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let high = if incompatible & 0x80 == 0 {
        0
    } else {
        le32(superblock, 0x150)
    };
    let blocks = u64::from(high) << 32 | u64::from(le32(superblock, 4));
    Some(Filesystem {
        kind,
        uuid: uuid_at(superblock, 104),
        sector_size: 512,
        size: blocks.checked_mul(1024 << block_shift),
    })
}

fn xfs(head: &[u8]) -> Option<Filesystem> {
    if at(head, 0)? != *b"XFSB" {
        return None;
    }
    let block_size = u64::from(u32::from_be_bytes(at(head, 4)?));
    let blocks = u64::from_be_bytes(at(head, 8)?);
    let sector_size = u32::from(u16::from_be_bytes(at(head, 102)?));
    Some(Filesystem {
        kind: "xfs",
        uuid: uuid_at(head, 32),
        // its log and headers are written in these; smaller ones than the disk's cannot be mounted
        sector_size: if sector_size == 4096 { 4096 } else { 512 },
        size: blocks.checked_mul(block_size),
    })
}

fn btrfs(head: &[u8]) -> Option<Filesystem> {
    const SUPERBLOCK: usize = 64 << 10;
    if at(head, SUPERBLOCK + 64)? != *b"_BHRfS_M" {
        return None;
    }
    Some(Filesystem {
        kind: "btrfs",
        uuid: uuid_at(head, SUPERBLOCK + 32),
        sector_size: 512,
        size: Some(le64(head, SUPERBLOCK + 112)),
    })
}

fn swap(head: &[u8]) -> Option<Filesystem> {
    if at(head, 4086)? != *b"SWAPSPACE2" {
        return None;
    }
    Some(Filesystem {
        kind: "swap",
        uuid: uuid_at(head, 1024 + 12),
        sector_size: 512,
        size: Some((u64::from(le32(head, 1024 + 4)) + 1) * 4096),
    })
}

fn fat(head: &[u8]) -> Option<Filesystem> {
    let serial = if at(head, 82)? == *b"FAT32   " {
        67
    } else if at(head, 54)? == *b"FAT16   " || at(head, 54)? == *b"FAT12   " {
        39
    } else {
        return None;
    };
    let [low, high] = [le16(head, serial), le16(head, serial + 2)];
    let sector_size = u32::from(le16(head, 11));
    let sectors = match le16(head, 19) {
        0 => le32(head, 32),
        few => few.into(),
    };
    Some(Filesystem {
        kind: "vfat",
        uuid: format!("{high:04X}-{low:04X}"),
        sector_size: if sector_size == 4096 { 4096 } else { 512 },
        size: Some(u64::from(sectors) * u64::from(sector_size)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A boot sector with these partitions: type, first sector, sectors.
    fn dos(entries: &[(u8, u32, u32)]) -> Vec<u8> {
        let mut head = vec![0; HEAD_LENGTH];
        for (n, (kind, start, sectors)) in entries.iter().enumerate() {
            let at = 446 + n * 16;
            head[at + 4] = *kind;
            head[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            head[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head
    }

    /// A GPT with these partitions: first and last sector.
    fn guid(sector_size: usize, entries: &[(u64, u64)]) -> Vec<u8> {
        let mut head = vec![0; HEAD_LENGTH];
        head[sector_size..sector_size + 8].copy_from_slice(b"EFI PART");
        head[sector_size + 72] = 2;
        head[sector_size + 80] = 128;
        head[sector_size + 84] = 128;
        for (n, (first, last)) in entries.iter().enumerate() {
            let at = 2 * sector_size + n * 128;
            head[at..at + 16].fill(7);
            head[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
            head[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
        }
        head
    }

    #[test]
    fn partitions_are_those_that_lie_within_the_image_and_hold_no_others() {
        const SIZE: u64 = 64 << 20;
        let mib = |range: Range<u64>| range.start << 20..range.end << 20;
        for (head, expected) in [
            (
                dos(&[(0x83, 2048, 4096), (0x05, 8192, 8192)]),
                vec![mib(1..3)],
            ),
            (
                guid(512, &[(2048, 4095), (4096, 6143)]),
                vec![mib(1..2), mib(2..3)],
            ),
            (guid(4096, &[(256, 511)]), vec![mib(1..2)]),
            // beyond the end, the wrong way round, without an end
            (
                guid(512, &[(2048, 1 << 30), (4096, 2048), (2048, u64::MAX)]),
                vec![],
            ),
            (guid(4096, &[(u64::MAX, u64::MAX)]), vec![]),
        ] {
            let Content::Disk(disk) = look(&head, SIZE) else {
                panic!("no disk")
            };
            assert_eq!(disk.partitions, expected);
        }
    }
}
