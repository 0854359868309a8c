//! Filesystems, by their superblocks.

use super::Filesystem;
use crate::hex;

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

/// Tells ext2, ext3 and ext4 apart by their features, as blkid does.
pub(super) fn ext(head: &[u8]) -> Option<Filesystem> {
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

pub(super) fn xfs(head: &[u8]) -> Option<Filesystem> {
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

pub(super) fn btrfs(head: &[u8]) -> Option<Filesystem> {
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

pub(super) fn swap(head: &[u8]) -> Option<Filesystem> {
    if at(head, 4086)? != *b"SWAPSPACE2" {
        return None;
    }
    Some(Filesystem {
        kind: "swap",
        uuid: uuid_at(head, 1024 + 12),
        sector_size: 512,
        sector_size_max: 4096,
        size: u64::from(le32(head, 1024 + 4))
            .checked_add(1)?
            .checked_mul(4096),
    })
}

pub(super) fn fat(head: &[u8]) -> Option<Filesystem> {
    let (low, high) = if at(head, 82)? == *b"FAT32   " {
        (67, 69)
    } else if at(head, 54)? == *b"FAT16   " || at(head, 54)? == *b"FAT12   " {
        (39, 41)
    } else {
        return None;
    };
    let (low, high) = (le16(head, low), le16(head, high));
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
        size: u64::from(sectors).checked_mul(sector_size.into()),
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

pub(super) fn other(head: &[u8]) -> Option<Filesystem> {
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
