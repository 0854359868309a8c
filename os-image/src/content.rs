//! What a raw image is, by its first bytes: a disk with a partition table, or a filesystem, and how long it says it is.

use std::ops::Range;

use crate::container::FileFormat;
use crate::hex;

/// How many first bytes are enough: the last superblock that is looked for is btrfs's, at 64 KiB.
pub const HEAD_LENGTH: usize = 128 << 10;

/// `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`, as it lies on a disk.
const ESP: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Another file, as it is: compressed, an archive, or a disk image of a virtual machine.
    File(FileFormat),
    /// A disk with a partition table.
    Disk(Disk),
    /// One filesystem.
    Filesystem(Filesystem),
    /// Nothing that is known here.
    Unknown,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in its sectors.
    pub sector_size: u32,
    /// `gpt` or `dos`.
    pub table: &'static str,
    /// Whether its first sector has boot code, which a BIOS would start.
    pub bios: bool,
    /// Whether it has an EFI system partition.
    pub uefi: bool,
    /// Bytes of the disk that a GPT was made for: its second copy lies at the end.
    pub size: Option<u64>,
    /// Its partitions that lie within the image, but for logical ones of a DOS table; in bytes.
    pub partitions: Vec<Range<u64>>,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// As blkid calls it.
    pub kind: &'static str,
    /// As it stands in fstab; empty where it has none.
    pub uuid: String,
    /// Bytes in the sectors it was made for, where it depends on them.
    pub sector_size: u32,
    /// Bytes in the largest sectors of a disk from which it can be mounted.
    pub sector_size_max: u32,
    /// How long it says it is, where that is read.
    size: Option<u64>,
}

impl Filesystem {
    /// How many bytes it says it has, where that is read.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Content {
    /// What an image is that begins with `head`: [`HEAD_LENGTH`] bytes, or all of it where it is shorter.
    pub fn of(head: &[u8]) -> Self {
        let file = FileFormat::by(head);
        if file != FileFormat::Raw {
            return Self::File(file);
        }
        match (look(head, u64::MAX), other(head)) {
            (Self::Unknown, Some(other)) => Self::Filesystem(other),
            // boot sectors of filesystems pass for tables; an image of a CD that starts from a disk as well is a disk
            (Self::Disk(disk), Some(other)) if disk.table == "dos" && other.kind != "iso9660" => {
                Self::Filesystem(other)
            }
            (found, _) => found,
        }
    }

    /// How many bytes long it says it is itself, where that is read.
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::Disk(disk) => disk.size,
            Self::Filesystem(filesystem) => filesystem.size,
            Self::File(_) | Self::Unknown => None,
        }
    }
}

/// What is there in `size` bytes, whatever it says of its own length; never [`Content::File`].
pub fn look(head: &[u8], size: u64) -> Content {
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
    let digits = hex::text(bytes);
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
        size: le64(head, header + 32)
            .saturating_add(1)
            .checked_mul(sector_size.into()),
        partitions,
    })
}

/// A partition in bytes, where it is one and lies within the image.
fn within(sectors: Range<u64>, sector_size: u32, size: u64) -> Option<Range<u64>> {
    let bytes = |sector: u64| sector.checked_mul(sector_size.into());
    let part = bytes(sectors.start)?..bytes(sectors.end)?;
    (part.start > 0 && part.start < part.end && part.end <= size).then_some(part)
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
        size: None,
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
        sector_size_max: 1024 << block_shift,
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
        sector_size_max: sector_size,
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
        sector_size_max: le32(head, SUPERBLOCK + 144),
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
        sector_size_max: 4096,
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
        sector_size_max: sector_size,
        size: Some(u64::from(sectors) * u64::from(sector_size)),
    })
}

/// What else is known by sight: where its magic lies, and the name that blkid has for it.
const OTHERS: [(usize, &[u8], &str); 12] = [
    (0, b"LUKS\xba\xbe", "crypto_LUKS"),
    (0, b"hsqs", "squashfs"),
    (3, b"NTFS    ", "ntfs"),
    (3, b"EXFAT   ", "exfat"),
    (512 + 24, b"LVM2 001", "LVM2_member"),
    (1024, &0xf2f5_2010_u32.to_le_bytes(), "f2fs"),
    (1024, &0xe0f5_e1e2_u32.to_le_bytes(), "erofs"),
    (4096, &0xa92b_4efc_u32.to_le_bytes(), "linux_raid_member"),
    (0, &0xa92b_4efc_u32.to_le_bytes(), "linux_raid_member"),
    (32 << 10, b"JFS1", "jfs"),
    ((32 << 10) + 1, b"CD001", "iso9660"),
    ((64 << 10) + 52, b"ReIsEr", "reiserfs"),
];

fn other(head: &[u8]) -> Option<Filesystem> {
    let is_there = |(at, magic, _): &&(usize, &[u8], &str)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    let (_, _, kind) = OTHERS.iter().find(is_there)?;
    Some(Filesystem {
        kind,
        uuid: String::new(),
        sector_size: 512,
        sector_size_max: 4096,
        size: None,
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

    /// Zeros with some bytes in them.
    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD_LENGTH];
        head[at..at + bytes.len()].copy_from_slice(bytes);
        head
    }

    #[test]
    fn an_image_is_what_its_first_bytes_say() {
        let kind = |head: &[u8]| match Content::of(head) {
            Content::File(found) => found.to_string(),
            Content::Disk(disk) => format!("{} {}", disk.table, disk.sector_size),
            Content::Filesystem(filesystem) => filesystem.kind.to_owned(),
            Content::Unknown => "unknown".to_owned(),
        };
        let mut cd = with(32769, b"CD001");
        let mut ntfs = dos(&[(7, 2048, 2048)]);
        ntfs[3..11].copy_from_slice(b"NTFS    ");
        for (head, expected) in [
            (with(0, b"QFI\xfb"), "qcow2"),
            (with(0, b"vhdxfile"), "VHDX"),
            (guid(4096, &[(6, 7)]), "gpt 4096"),
            (guid(512, &[(2048, 4095)]), "gpt 512"),
            (dos(&[(0x83, 2048, 4096)]), "dos 512"),
            (ntfs, "ntfs"),
            (cd.clone(), "iso9660"),
            (with(0, b"XFSB"), "xfs"),
            (with(536, b"LVM2 001"), "LVM2_member"),
            (with(4096, &[0xfc, 0x4e, 0x2b, 0xa9]), "linux_raid_member"),
            (vec![0; HEAD_LENGTH], "unknown"),
            (Vec::new(), "unknown"),
        ] {
            assert_eq!(kind(&head), expected);
        }
        // a hybrid, as installers of Linux are
        cd[..512].copy_from_slice(&dos(&[(0x17, 64, 1 << 20)])[..512]);
        assert_eq!(kind(&cd), "dos 512");
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
