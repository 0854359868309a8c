//! What is zeroed before anything new is made: old boot areas when disarming, old signatures when partitioning.

use host::units::{Bytes, Extent};

use crate::inventory::{Disk, ExistingPartition, Inventory};
use crate::model::node::Firmware;
use crate::model::storage::{BlockRef, Role};

use super::{boot, extents, keep, layout};
use crate::model::plan::{Plan, PlannedDisk};

/// Where core images and ESPs begin that are on the disk now and are not kept.
pub(super) fn boot_areas(plan: &Plan, index: usize, inventory: &Inventory) -> Vec<Extent> {
    let disk = &plan.disks[index];
    let mut areas = Vec::new();
    if let Some(real) = keep::real(disk, inventory) {
        areas.extend(
            real.partitions
                .iter()
                .filter(|old| may_boot(old))
                .map(|old| boot::head(place(old))),
        );
        areas.extend(gap(real));
    }
    if plan.keeps_partitions {
        let role = |role: Role| {
            role == Role::BiosGrub || (role == Role::Esp && plan.firmware == Firmware::Uefi)
        };
        let ours = disk
            .partitions
            .iter()
            .filter(|partition| role(partition.role));
        areas.extend(ours.map(|partition| boot::head(partition.extent)));
    }
    spared(plan, index, areas)
}

/// Extents of the disk whose old signatures go.
pub(super) fn signatures(plan: &Plan, index: usize, inventory: &Inventory) -> Vec<Extent> {
    let disk = &plan.disks[index];
    let mut places = Vec::new();
    if plan.keeps_partitions {
        for partition in &disk.partitions {
            if is_made_anew(
                plan,
                BlockRef::Partition {
                    disk: index,
                    number: partition.number,
                },
            ) {
                places.extend(extents::ends(partition.extent));
            }
        }
    } else {
        places.extend(extents::ends(whole(disk)));
        if let Some(real) = keep::real(disk, inventory) {
            places.extend(
                real.partitions
                    .iter()
                    .flat_map(|old| extents::ends(place(old))),
            );
        }
        places.extend(
            disk.partitions
                .iter()
                .flat_map(|partition| extents::ends(partition.extent)),
        );
    }
    spared(plan, index, places)
}

/// The extents without kept bytes, without what is beyond the disk, and without the first sector: that is where the stub lies
/// that hands on to the next boot device, until the table is written with it.
fn spared(plan: &Plan, index: usize, extents: Vec<Extent>) -> Vec<Extent> {
    let disk = &plan.disks[index];
    let mut without = keep::bytes(plan, index);
    without.push(Extent {
        start: Bytes::ZERO,
        length: disk.sector_size,
    });
    let inside = extents
        .into_iter()
        .filter_map(|extent| extents::intersection(extent, whole(disk)))
        .collect();
    extents::difference(extents::union(inside), &extents::union(without))
}

fn whole(disk: &PlannedDisk) -> Extent {
    Extent {
        start: Bytes::ZERO,
        length: disk.size.align_down(disk.sector_size),
    }
}

fn place(old: &ExistingPartition) -> Extent {
    Extent {
        start: old.start_bytes,
        length: old.size_bytes,
    }
}

/// Whether firmware or boot code may look into an old partition.
pub(super) fn may_boot(old: &ExistingPartition) -> bool {
    match &old.type_guid {
        Some(guid) => [layout::BIOS_GRUB, layout::ESP, "0xef"]
            .iter()
            .any(|boots| boots.eq_ignore_ascii_case(guid)),
        None => old.signature.as_deref() == Some("vfat"),
    }
}

/// Behind the MBR of a disk without GPT: where core images lie that have no partition.
fn gap(disk: &Disk) -> Option<Extent> {
    if disk.table.as_deref() != Some("dos") {
        return None;
    }
    let first = disk
        .partitions
        .iter()
        .map(|old| old.start_bytes)
        .min()
        .unwrap_or(Bytes::MIB);
    Some(Extent {
        start: Bytes::ZERO,
        length: first.min(Bytes::MIB),
    })
}

/// Whether something is written straight onto a partition.
fn is_made_anew(plan: &Plan, on: BlockRef) -> bool {
    let filesystem = plan.filesystems.iter().any(|filesystem| {
        filesystem.on == on && (!filesystem.keep_data || filesystem.image.is_some())
    });
    filesystem || plan.configdrive == Some(on)
}
