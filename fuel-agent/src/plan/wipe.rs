//! What is zeroed before anything new is made: old boot areas when disarming, old signatures when partitioning.

use host::units::{Bytes, Extent};

use crate::model::index::DiskIndex;
use crate::model::inventory::{Disk, ExistingPartition, Inventory};
use crate::model::node::Firmware;
use crate::model::storage::{BlockRef, Role};

use super::{boot, extents, keep};
use crate::model::plan::{Plan, PlannedDisk};

/// Where core images and ESPs begin that are on the disk now and are not kept.
pub(super) fn boot_areas(plan: &Plan, index: DiskIndex, inventory: &Inventory) -> Vec<Extent> {
    let disk = &plan[index];
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

/// Where a device of `size` bytes that gets an image may hold old signatures that the image does not cover: at its own
/// ends, and at those of the partitions that it has. The image has `image` bytes, where that is known.
pub(super) fn around_image(size: Bytes, old: &[Extent], image: Option<Bytes>) -> Vec<Extent> {
    let whole = Extent {
        start: Bytes::ZERO,
        length: size,
    };
    let parts = std::iter::once(whole).chain(old.iter().copied());
    let places = parts.flat_map(extents::ends);
    let inside = places.filter_map(|place| extents::intersection(place, whole));
    // the head is voided by the data path, and written last
    let covered = Extent {
        start: Bytes::ZERO,
        length: image.unwrap_or_default().max(extents::END),
    };
    extents::difference(extents::union(inside.collect()), &[covered])
}

/// Extents of the disk whose old signatures go.
pub(super) fn signatures(plan: &Plan, index: DiskIndex, inventory: &Inventory) -> Vec<Extent> {
    let disk = &plan[index];
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
                places.extend(extents::signatures(partition.extent));
            }
        }
    } else {
        places.extend(extents::signatures(whole(disk)));
        if let Some(real) = keep::real(disk, inventory) {
            places.extend(
                real.partitions
                    .iter()
                    .flat_map(|old| extents::signatures(place(old))),
            );
        }
        places.extend(
            disk.partitions
                .iter()
                .flat_map(|partition| extents::signatures(partition.extent)),
        );
    }
    spared(plan, index, places)
}

/// The extents without kept bytes, without what is beyond the disk, and without the first sector: it holds the stub
/// that starts the next boot device, until the table is written with it.
pub(super) fn spared(plan: &Plan, index: DiskIndex, extents: Vec<Extent>) -> Vec<Extent> {
    let disk = &plan[index];
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

/// All of a disk that is in whole sectors.
pub(super) fn whole(disk: &PlannedDisk) -> Extent {
    Extent {
        start: Bytes::ZERO,
        length: disk.size.align_down(disk.sector_size),
    }
}

/// Extent of an old partition.
pub(super) fn place(old: &ExistingPartition) -> Extent {
    Extent {
        start: old.start_bytes,
        length: old.size_bytes,
    }
}

/// Whether firmware or boot code may look into an old partition.
pub(super) fn may_boot(old: &ExistingPartition) -> bool {
    match &old.partition_type {
        Some(known) => known.boots(),
        None => old.signature.as_deref() == Some("vfat"),
    }
}

/// Behind the MBR of a disk without GPT: where core images are that have no partition.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(start: u64, length: u64) -> Extent {
        Extent {
            start: Bytes(start << 20),
            length: Bytes(length << 20),
        }
    }

    #[test]
    fn what_an_image_does_not_cover_loses_its_signatures() {
        let size = Bytes(100 << 20);
        let old = [mib(1, 59), mib(60, 40)];
        for (image, expected) in [
            (Some(Bytes(10 << 20)), vec![mib(59, 2), mib(99, 1)]),
            (Some(Bytes(60 << 20)), vec![mib(60, 1), mib(99, 1)]),
            (Some(size), vec![]),
            // how far it reaches is unknown
            (None, vec![mib(1, 1), mib(59, 2), mib(99, 1)]),
            (Some(Bytes(1000)), vec![mib(1, 1), mib(59, 2), mib(99, 1)]),
        ] {
            assert_eq!(around_image(size, &old, image), expected, "{image:?}");
        }
        assert_eq!(around_image(Bytes(4096), &[], None), vec![]);
    }
}
