//! Disks with a partition table: GPT and MBR.

use std::ops::Range;

use host::partition_table::{gpt, mbr};

use super::Disk;

fn has_boot_code(head: &[u8]) -> bool {
    head.iter().take(440).any(|byte| *byte != 0)
}

pub(super) fn gpt_disk(head: &[u8], sector_size: u32, size: u64) -> Option<Disk> {
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
pub(super) fn mbr_disk(head: &[u8], size: u64) -> Option<Disk> {
    let entries = mbr::entries(head.first_chunk()?)?;
    let used = || entries.iter().filter(|entry| entry.kind != 0);
    let mut partitions = Vec::new();
    for entry in used() {
        let end = entry.start.checked_add(entry.length)?;
        let part = within(entry.start..end, 512, size)?;
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
