//! Partition tables, read and written: GPT (with the backup where the primary is broken) and MBR with its chain of
//! logical partitions. Reading follows the kernel's rules.
//!
//! ```text
//!   gpt   parses and encodes headers and entries; makes, writes and compares both copies of a table
//!   mbr   the four entries of a boot sector, logical partitions, the protective MBR in front of a GPT
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod gpt;
pub mod mbr;
#[cfg(test)]
mod tests;

use std::io;

use crate::blockdev::BlockDevice;
use crate::units::{Bytes, Extent};

/// Kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// GUID partition table.
    Gpt,
    /// MBR.
    Dos,
}

impl TableKind {
    /// The name that blkid and udev use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Dos => "dos",
        }
    }
}

/// A partition table that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTable {
    /// Its kind.
    pub kind: TableKind,
    /// Its partitions, in the order of their numbers; of an MBR, logical ones last.
    pub partitions: Vec<FoundPartition>,
}

/// A partition in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    /// The kernel's partition number.
    pub number: u32,
    /// Its extent. An extended partition is only as long as the kernel makes it: too short for a filesystem.
    pub extent: Extent,
    /// Its type as udev writes it: a lower-case GUID, or `0x83`.
    pub type_id: String,
    /// Its own identifier, in the byte order of the disk, which is that of UEFI's device paths too; GPT only.
    pub guid: Option<[u8; 16]>,
}

/// Reads the table of `device`; `None` where there is none that the kernel would accept.
pub fn read(device: &dyn BlockDevice) -> io::Result<Option<FoundTable>> {
    if device.size() < Bytes(4096) {
        return Ok(None);
    }
    let mut first = [0_u8; 512];
    device.read_at(&mut first, Bytes::ZERO)?;
    let Some(entries) = mbr::entries(&first) else {
        return Ok(None);
    };
    // A GPT counts only with its protective MBR: without one it is left over on a wiped disk.
    if entries.iter().any(|entry| entry.kind == mbr::PROTECTIVE)
        && let Some(partitions) = gpt::read(device)?
    {
        let kind = TableKind::Gpt;
        return Ok(Some(FoundTable { kind, partitions }));
    }
    Ok(Some(FoundTable {
        kind: TableKind::Dos,
        partitions: mbr::read(device, &entries)?,
    }))
}

/// A range of sectors as an extent; `None` where it is not within the device.
fn run_of(device: &dyn BlockDevice, start: u64, length: u64) -> Option<Extent> {
    let size = device.sector_size().0;
    let extent = Extent::new(
        Bytes(start.checked_mul(size)?),
        Bytes(length.checked_mul(size)?),
    )?;
    (extent.end() <= device.size()).then_some(extent)
}

fn bytes(from: &[u8], at: usize, length: usize) -> &[u8] {
    from.get(at..at.saturating_add(length)).unwrap_or_default()
}

/// A little-endian number of up to eight bytes; bytes beyond the end count as zero.
fn number(from: &[u8], at: usize, length: usize) -> u64 {
    let digits = bytes(from, at, length).iter().rev();
    digits.fold(0, |value, byte| value << 8 | u64::from(*byte))
}
