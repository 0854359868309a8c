//! MBR tables, with their chain of logical partitions, and the protective MBR in front of a GPT.

use std::io;

use super::{FoundPartition, bytes, number, run_of};
use crate::blockdev::BlockDevice;
use crate::units::Bytes;

/// The longest chain of logical partitions that is followed; a ring of them has no end.
const LONGEST_CHAIN: u32 = 128;

/// Length of the boot code at the start of the first sector, which writing a table does not change.
pub const BOOT_CODE: Bytes = Bytes(440);

/// Type of an EFI system partition.
pub const ESP: u8 = 0xef;

/// Type of the entry that protects a GPT from tools that know only MBR.
pub(super) const PROTECTIVE: u8 = 0xee;

/// Offset of the four entries.
const ENTRIES: usize = 446;

/// The last two bytes of a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// An entry of an MBR or of a link in the chain, in sectors.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Type; 0 where the entry is not in use.
    pub kind: u8,
    /// First sector; of a logical partition, relative to its link in the chain.
    pub start: u64,
    /// Number of sectors.
    pub length: u64,
}

impl Entry {
    /// Whether it holds logical partitions.
    pub const fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    const fn is_used(self) -> bool {
        self.kind != 0 && self.length != 0
    }
}

/// The four entries, or `None` where this is not an MBR: the boot sector of a FAT or NTFS ends with the same two bytes.
pub fn entries(sector: &[u8; 512]) -> Option<[Entry; 4]> {
    let filesystem = ["FAT12", "FAT16", "FAT32"].iter().any(|name| {
        [0x36, 0x52]
            .iter()
            .any(|at| bytes(sector, *at, name.len()) == name.as_bytes())
    }) || bytes(sector, 3, 4) == b"NTFS";
    if bytes(sector, 510, 2) != SIGNATURE || filesystem {
        return None;
    }
    let (list, _) = bytes(sector, ENTRIES, 64).as_chunks::<16>();
    let entry = |index: usize| {
        let bytes = list.get(index)?;
        matches!(bytes[0], 0 | 0x80).then_some(Entry {
            kind: bytes[4],
            start: number(bytes, 8, 4),
            length: number(bytes, 12, 4),
        })
    };
    Some([entry(0)?, entry(1)?, entry(2)?, entry(3)?])
}

/// The first sector of a disk of `sectors` sectors with a GPT, without boot code: one entry over the whole disk, or as
/// much of it as 32 bits can count.
pub fn protective(sectors: u64) -> [u8; 512] {
    let length = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let mut entry = [0; 16];
    // The CHS fields: from the second sector to the largest address that CHS has.
    entry[..8].copy_from_slice(&[0, 0, 2, 0, PROTECTIVE, 0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    entry[12..].copy_from_slice(&length.to_le_bytes());
    let mut sector = [0; 512];
    sector[ENTRIES..ENTRIES + 16].copy_from_slice(&entry);
    sector[510..].copy_from_slice(&SIGNATURE);
    sector
}

pub(super) fn read(
    device: &dyn BlockDevice,
    entries: &[Entry; 4],
) -> io::Result<Vec<FoundPartition>> {
    let sector = device.sector_size();
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        if entry.is_used() {
            // The kernel's length of an extended partition: enough for a boot loader, too short for a filesystem.
            let stub = Entry {
                length: entry.length.min(1024_u64.div_ceil(sector.0)),
                ..*entry
            };
            let entry = if entry.is_extended() { &stub } else { entry };
            found.extend(partition(device, number, entry, 0));
        }
    }
    let mut next = 5;
    for extended in entries.iter().filter(|entry| entry.is_extended()) {
        follow(device, extended.start, &mut next, &mut found)?;
    }
    Ok(found)
}

/// Walks the chain of logical partitions of an extended one that starts at sector `first`.
fn follow(
    device: &dyn BlockDevice,
    first: u64,
    next: &mut u32,
    found: &mut Vec<FoundPartition>,
) -> io::Result<()> {
    let mut link = first;
    for _ in 0..LONGEST_CHAIN {
        let at = Bytes(link.saturating_mul(device.sector_size().0));
        if at.saturating_add(Bytes(512)) > device.size() {
            break;
        }
        let mut sector = [0_u8; 512];
        device.read_at(&mut sector, at)?;
        let Some([one, two, ..]) = entries(&sector) else {
            break;
        };
        for entry in [one, two] {
            if entry.is_used() && !entry.is_extended() {
                found.extend(partition(device, *next, &entry, link));
                *next = next.saturating_add(1);
            }
        }
        let mut further = [one, two].into_iter();
        match further.find(|entry| entry.is_used() && entry.is_extended()) {
            Some(entry) => link = first.saturating_add(entry.start),
            None => break,
        }
    }
    Ok(())
}

fn partition(
    device: &dyn BlockDevice,
    number: u32,
    entry: &Entry,
    base: u64,
) -> Option<FoundPartition> {
    Some(FoundPartition {
        number,
        extent: run_of(device, base.checked_add(entry.start)?, entry.length)?,
        type_id: format!("{:#x}", entry.kind),
        guid: None,
    })
}
