//! Partitions: their extents, types and identifiers, and whether they fit on the real disk.

use host::units::{Bytes, Extent};
use uuid::Uuid;

use crate::model::error::Kind;
use crate::model::inventory::Disk;
use crate::model::node::Firmware;
use crate::model::storage::{DiskSpec, PartitionSpec, Role, Table};

use super::diagnostics::Diagnostics;
use super::text::format;
use super::{Ids, PlanError, extents};
use crate::model::plan::{PlannedDisk, PlannedPartition};

use crate::model::partition_type::{BIOS_GRUB, ESP, LVM, PartitionType, RAID, SWAP};

/// Highest number in a GPT of the usual 128 entries.
const NUMBERS: u32 = 128;

/// The disk as it will be. `disk` is the real one, where it was found.
pub(super) fn disk(
    spec: &DiskSpec,
    disk: Option<&Disk>,
    firmware: Firmware,
    ids: &mut dyn Ids,
    diagnostics: &mut Diagnostics,
) -> PlannedDisk {
    let unknown = Disk::default();
    let real = disk.unwrap_or(&unknown);
    let mut planned = PlannedDisk {
        device: if disk.is_some() {
            real.path.clone()
        } else {
            spec.path.clone()
        },
        disk_id: if real.serial.is_empty() {
            real.wwn.clone()
        } else {
            real.serial.clone()
        },
        model: real.model.clone(),
        size: real.size_bytes,
        sector_size: sector_size(real, diagnostics),
        table: spec.table,
        guid: ids.uuid(),
        bootloader: spec.bootloader,
        partitions: Vec::new(),
        others: Vec::new(),
    };
    planned.partitions = spec
        .partitions
        .iter()
        .map(|partition| self::partition(partition, &planned, firmware, ids, diagnostics))
        .collect();
    apart(&planned, diagnostics);
    if disk.is_some() {
        fits(&planned, diagnostics);
    }
    if spec.table == Table::Msdos {
        diagnostics.refuse_run(
            Kind::Request,
            format!(
                "{}: an MBR partition table is planned but not yet written",
                planned.device
            ),
            "ask for the label `gpt`",
        );
    }
    planned
}

fn sector_size(disk: &Disk, diagnostics: &mut Diagnostics) -> Bytes {
    match disk.logical_sector_size {
        0 | 512 => Bytes(512),
        4096 => Bytes(4096),
        other => {
            diagnostics.does_not_fit(
                Kind::Hardware,
                format!("{} has sectors of {other} bytes", disk.path),
                "format it with sectors of 512 or 4096 bytes, or choose another disk",
            );
            Bytes(512)
        }
    }
}

fn partition(
    spec: &PartitionSpec,
    disk: &PlannedDisk,
    firmware: Firmware,
    ids: &mut dyn Ids,
    diagnostics: &mut Diagnostics,
) -> PlannedPartition {
    let device = format::partition_node(&disk.device, spec.number);
    let extent = Extent::new(spec.start, spec.size).filter(|extent| extent.length > Bytes::ZERO);
    if extent.is_none() {
        diagnostics.error(PlanError::Size {
            disk: disk.device.clone(),
            number: spec.number,
            start: spec.start,
            size: spec.size,
        });
    }
    PlannedPartition {
        number: spec.number,
        device,
        extent: extent.unwrap_or(Extent {
            start: spec.start,
            length: Bytes::ZERO,
        }),
        role: spec.role,
        partition_type: spec
            .partition_type
            .clone()
            .or_else(|| standard_type(spec, firmware).map(PartitionType::from)),
        name: String::new(),
        legacy_boot: has_flag(spec, "legacy_boot"),
        guid: ids.uuid(),
        keep_data: spec.keep_data,
    }
}

fn has_flag(spec: &PartitionSpec, flag: &str) -> bool {
    spec.flags.iter().any(|other| other == flag)
}

/// The type that a role or a flag has by itself. Fuel's EFI placeholder stays a placeholder on a BIOS node.
fn standard_type(spec: &PartitionSpec, firmware: Firmware) -> Option<Uuid> {
    match spec.role {
        Role::BiosGrub => Some(BIOS_GRUB),
        Role::Raid => Some(RAID),
        Role::Pv => Some(LVM),
        Role::Swap => Some(SWAP),
        Role::Esp
            if firmware == Firmware::Uefi || has_flag(spec, "boot") || has_flag(spec, "esp") =>
        {
            Some(ESP)
        }
        Role::Esp | Role::Boot | Role::Data | Role::Configdrive if has_flag(spec, "raid") => {
            Some(RAID)
        }
        Role::Esp | Role::Boot | Role::Data | Role::Configdrive if has_flag(spec, "lvm") => {
            Some(LVM)
        }
        Role::Esp | Role::Boot | Role::Data | Role::Configdrive => None,
    }
}

/// Numbers are proper, extents are aligned and share no byte.
fn apart(disk: &PlannedDisk, diagnostics: &mut Diagnostics) {
    for (index, partition) in disk.partitions.iter().enumerate() {
        let number = |why| PlanError::Number {
            disk: disk.device.clone(),
            number: partition.number,
            why,
        };
        if partition.number == 0 || partition.number > NUMBERS {
            diagnostics.error(number("is not between 1 and 128"));
        }
        if !partition.extent.start.is_aligned(disk.sector_size)
            || !partition.extent.length.is_aligned(disk.sector_size)
        {
            diagnostics.error(PlanError::Unaligned {
                disk: disk.device.clone(),
                number: partition.number,
                sector: disk.sector_size,
            });
        }
        for earlier in &disk.partitions[..index] {
            if earlier.number == partition.number {
                diagnostics.error(number("is given twice"));
            }
            if earlier.extent.overlaps(partition.extent) {
                diagnostics.error(PlanError::Overlap {
                    disk: disk.device.clone(),
                    first: earlier.number,
                    second: partition.number,
                    extents: [earlier.extent, partition.extent],
                });
            }
        }
    }
}

/// What a table of this kind leaves for partitions on this disk.
pub(super) fn usable(disk: &PlannedDisk) -> Extent {
    let regions = extents::table(disk.table, disk.size, disk.sector_size);
    let start = regions[0].end();
    let end = regions.get(1).map_or(disk.size, |tail| tail.start);
    Extent {
        start,
        length: end.saturating_sub(start),
    }
}

fn fits(disk: &PlannedDisk, diagnostics: &mut Diagnostics) {
    let usable = usable(disk);
    let (device, size) = (&disk.device, disk.size);
    for partition in &disk.partitions {
        if partition.extent.start < usable.start {
            diagnostics.does_not_fit(
                Kind::Request,
                format!(
                    "{} begins at {}, where the partition table lies",
                    partition.device, partition.extent.start
                ),
                "begin it at 1 MiB or later",
            );
        }
    }
    let end = disk
        .partitions
        .iter()
        .map(|partition| partition.extent.end())
        .max()
        .unwrap_or_default();
    if end > usable.end() {
        let missing = end
            .saturating_sub(usable.end())
            .align_up(Bytes::MIB)
            .unwrap_or(end);
        diagnostics.does_not_fit(
            Kind::Hardware,
            format!(
                "the layout of {device} ends at {end}, but the disk ({size}) has room up to {}",
                usable.end().align_down(Bytes::MIB)
            ),
            format!("shrink its volumes by at least {missing}, or use a larger disk"),
        );
    }
}
