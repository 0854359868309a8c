//! MBR tables, with their chain of logical partitions.

use std::io;

use super::{FoundPartition, bytes, number, run_of};
use crate::blockdev::BlockDevice;
use crate::units::Bytes;

/// The longest chain of logical partitions that is followed; a ring of them has no end.
const LONGEST_CHAIN: u32 = 128;

/// An entry of an MBR or of a link in the chain, in sectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: u8,
    start: u64,
    length: u64,
}

impl Entry {
    const fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    const fn is_used(self) -> bool {
        self.kind != 0 && self.length != 0
    }
}

/// The four entries, or `None` where this is no MBR: the boot sector of a FAT or NTFS ends with the same two bytes.
pub(super) fn entries(sector: &[u8; 512]) -> Option<[Entry; 4]> {
    let filesystem = ["FAT12", "FAT16", "FAT32"].iter().any(|name| {
        [0x36, 0x52]
            .iter()
            .any(|at| bytes(sector, *at, name.len()) == name.as_bytes())
    }) || bytes(sector, 3, 4) == b"NTFS";
    if bytes(sector, 510, 2) != [0x55, 0xaa] || filesystem {
        return None;
    }
    let entry = |index: usize| {
        let at = 446 + 16 * index;
        let flag = *sector.get(at)?;
        matches!(flag, 0 | 0x80).then_some(Entry {
            kind: *sector.get(at + 4)?,
            start: number(sector, at + 8, 4),
            length: number(sector, at + 12, 4),
        })
    };
    Some([entry(0)?, entry(1)?, entry(2)?, entry(3)?])
}

pub(super) fn read(
    device: &dyn BlockDevice,
    entries: &[Entry; 4],
) -> io::Result<Vec<FoundPartition>> {
    let sector = device.sector_size();
    let mut found = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        if entry.is_used() {
            // The kernel's length for an extended partition: room for a boot loader, none for a filesystem.
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
                *next += 1;
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
