//! The content of a raw image by its first bytes: a disk with a partition table or a filesystem, and the size that it
//! declares.

use std::ops::Range;

use host::partition_table::{gpt, mbr};

use crate::container::FileFormat;
use crate::hex;

/// Number of leading bytes needed: the last superblock that is probed is btrfs's, at 64 KiB.
pub const HEAD_LENGTH: usize = 128 << 10;

/// The content of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Not a raw image: compressed, an archive, or a disk image of a virtual machine.
    File(FileFormat),
    /// A disk with a partition table.
    Disk(Disk),
    /// One filesystem.
    Filesystem(Filesystem),
    /// No known content.
    Unknown,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// Kind of the partition table: `gpt` or `dos`.
    pub table: &'static str,
    /// Whether its first sector has boot code, which a BIOS would start.
    pub bios: bool,
    /// Whether it has an EFI system partition.
    pub uefi: bool,
    /// Size in bytes of the disk that the GPT was made for (its backup is in the last sector).
    pub size: Option<u64>,
    /// The partitions within the image, in bytes; without the logical ones of a DOS table.
    pub partitions: Vec<Range<u64>>,
}

/// A filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Type as blkid names it, like `ext4`.
    pub kind: &'static str,
    /// UUID as written in fstab; empty if it has none.
    pub uuid: String,
    /// Sector size in bytes that it was made for, if it depends on one.
    pub sector_size: u32,
    /// The largest sector size in bytes of a disk from which it can be mounted.
    pub sector_size_max: u32,
    /// The size in bytes that its superblock declares, if that is read.
    size: Option<u64>,
}

impl Filesystem {
    /// The size in bytes that it declares, if that is read.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }
}

impl Content {
    /// The content of an image that begins with `head`: [`HEAD_LENGTH`] bytes, or the whole image if it is shorter.
    pub fn of(head: &[u8]) -> Self {
        let file = FileFormat::by(head);
        if file != FileFormat::Raw {
            return Self::File(file);
        }
        match (look(head, u64::MAX), other(head)) {
            (Self::Unknown, Some(other)) => Self::Filesystem(other),
            // a filesystem's boot sector looks like a table; a hybrid CD image is a disk
            (Self::Disk(disk), Some(other)) if disk.table == "dos" && other.kind != "iso9660" => {
                Self::Filesystem(other)
            }
            (found, _) => found,
        }
    }

    /// The size in bytes that the content itself declares, if that is read.
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::Disk(disk) => disk.size,
            Self::Filesystem(filesystem) => filesystem.size,
            Self::File(_) | Self::Unknown => None,
        }
    }
}

/// The content of an image of `size` bytes, without comparing the size that it declares; never [`Content::File`].
pub fn look(head: &[u8], size: u64) -> Content {
    for sector_size in [512, 4096] {
        if let Some(disk) = gpt_disk(head, sector_size, size) {
            return Content::Disk(disk);
        }
    }
    let kinds = [ext, xfs, btrfs, swap, fat];
    if let Some(filesystem) = kinds.iter().find_map(|kind| kind(head)) {
        return Content::Filesystem(filesystem);
    }
    match mbr_disk(head, size) {
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

/// A UUID in its text form.
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

/// The sector size that a filesystem declares; 4096 where that is not a valid size.
const fn largest_sector(size: u32) -> u32 {
    if size >= 512 && size.is_power_of_two() {
        size
    } else {
        4096
    }
}

fn has_boot_code(head: &[u8]) -> bool {
    head.iter().take(440).any(|byte| *byte != 0)
}

fn gpt_disk(head: &[u8], sector_size: u32, size: u64) -> Option<Disk> {
    let sector = head
        .chunks_exact(usize::try_from(sector_size).ok()?)
        .nth(1)?;
    if !sector.starts_with(gpt::SIGNATURE) {
        return None;
    }
    // With a wrong checksum it still is a GPT, but its partitions, an ESP among them, are unknown.
    let header = gpt::Header::parse(sector, 1);
    let entries = header.and_then(|header| {
        let list = header.list_range(sector_size.into())?;
        let list = usize::try_from(list.start).ok()?..usize::try_from(list.end).ok()?;
        header.entries(head.get(list)?)
    });
    let entries = entries.unwrap_or_default();
    let part = |entry: &gpt::Entry| {
        let sectors = entry.first..entry.last.saturating_add(1);
        within(sectors, sector_size, size)
    };
    Some(Disk {
        sector_size,
        table: "gpt",
        bios: has_boot_code(head),
        uefi: entries.iter().any(|entry| entry.type_guid == gpt::ESP),
        size: header.and_then(|header| {
            let sectors = header.other.checked_add(1)?;
            sectors.checked_mul(sector_size.into())
        }),
        partitions: entries.iter().filter_map(part).collect(),
    })
}

/// The partition in bytes, if the entry is in use and lies within the image.
fn within(sectors: Range<u64>, sector_size: u32, size: u64) -> Option<Range<u64>> {
    let bytes = |sector: u64| sector.checked_mul(sector_size.into());
    let part = bytes(sectors.start)?..bytes(sectors.end)?;
    (part.start > 0 && part.start < part.end && part.end <= size).then_some(part)
}

/// Whether a boot sector has partitions that lie on the disk: boot sectors of filesystems have 55 AA too.
fn mbr_disk(head: &[u8], size: u64) -> Option<Disk> {
    let entries = mbr::entries(head.first_chunk()?)?;
    let used = || entries.iter().filter(|entry| entry.kind != 0);
    let mut partitions = Vec::new();
    for entry in used() {
        let part = within(entry.start..entry.start + entry.length, 512, size)?;
        // An extended partition begins with a table of its own; its content belongs to logical partitions.
        if !entry.is_extended() {
            partitions.push(part);
        }
    }
    (used().count() > 0).then(|| Disk {
        sector_size: 512,
        table: "dos",
        bios: has_boot_code(head),
        uefi: used().any(|entry| entry.kind == mbr::ESP),
        size: None,
        partitions,
    })
}

/// Tells ext2, ext3 and ext4 apart by their features, as blkid does.
fn ext(head: &[u8]) -> Option<Filesystem> {
    const SUPERBLOCK: usize = 1024;
    const HAS_JOURNAL: u32 = 0x4;
    /// The features that ext3 supports: `filetype`, `recover`, `meta_bg` and `sparse_super`, `large_file`, `btree_dir`.
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
        // its log and headers are written in these; it cannot be mounted if they are smaller than the disk's
        sector_size: if sector_size == 4096 { 4096 } else { 512 },
        sector_size_max: largest_sector(sector_size),
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
        sector_size_max: largest_sector(le32(head, SUPERBLOCK + 144)),
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
        sector_size_max: largest_sector(sector_size),
        size: Some(u64::from(sectors) * u64::from(sector_size)),
    })
}

/// Other filesystems: offset of the magic, the magic, and blkid's name.
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

    const SIZE: u64 = 64 << 20;

    /// A GPT with these partitions: first and last sector.
    fn guid(sector_size: u64, entries: &[(u64, u64)]) -> Vec<u8> {
        let list = entries.iter().flat_map(|(first, last)| {
            let mut entry = [0; 128];
            entry[..16].fill(7);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            entry
        });
        let list: Vec<u8> = list.collect();
        let end = SIZE / sector_size - 1;
        let header = gpt::Header {
            place: 1,
            other: end,
            first_usable: 34,
            last_usable: end - 33,
            disk_guid: uuid::Uuid::from_u128(1),
            list: 2,
            count: entries.len().try_into().unwrap(),
            entry_length: 128,
            list_sum: gpt::crc32(&list),
        };
        let mut head = vec![0; HEAD_LENGTH];
        let mut put = |sector: u64, bytes: &[u8]| {
            let at = usize::try_from(sector * sector_size).unwrap();
            head[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(1, &header.encode());
        put(2, &list);
        head
    }

    #[test]
    fn a_gpt_with_a_wrong_checksum_is_one_but_its_partitions_are_not_known() {
        for broken in [512 + 40, 1024 + 40] {
            let mut head = guid(512, &[(2048, 4095)]);
            head[broken] ^= 1;
            let Content::Disk(disk) = look(&head, SIZE) else {
                panic!("not a disk")
            };
            assert_eq!((disk.table, disk.partitions), ("gpt", vec![]), "{broken}");
        }
    }

    /// Zeros with some bytes in them.
    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD_LENGTH];
        head[at..at + bytes.len()].copy_from_slice(bytes);
        head
    }

    #[test]
    fn content_is_recognised_by_the_first_bytes() {
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
