//! The content of a raw image by its first bytes: a disk with a partition table or a filesystem, and the size that it
//! declares.

mod filesystem;
mod table;

use std::ops::Range;

use filesystem::{btrfs, ext, fat, other, swap, xfs};
use table::{gpt_disk, mbr_disk};

use crate::container::FileFormat;

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

#[cfg(test)]
mod tests;
