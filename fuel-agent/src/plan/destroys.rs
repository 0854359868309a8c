//! Which bytes a step destroys: computed from the step, so that nothing it does can be forgotten.

use host::units::{Bytes, Extent};

use crate::model::index::{DiskIndex, PhysicalVolumeIndex};
use crate::model::node::Firmware;
use crate::model::storage::BlockRef;

use super::{boot, extents, keep};
use crate::model::plan::{ImageTarget, Plan, PlannedImage, STAMP};
use crate::model::step::{Arm, Configure, Destroyed, ImageStep, Make, Release, Step};

/// Bytes whose old content is gone after the step, on disks in ascending order.
///
/// What is made on a logical volume is given as its physical volumes: LVM decides where in them. Where a layout is kept
/// that would claim too much, so there it is the volume's own node, like an array's.
pub(super) fn step(step: &Step, plan: &Plan) -> Vec<Destroyed> {
    match step {
        Step::Disarm { disk, areas } => on_disk(plan, *disk, disarmed(plan, *disk, areas)),
        Step::Make(make) => made(make, plan),
        Step::Image(ImageStep::Write { image, .. } | ImageStep::Unpack(image)) => {
            by_image(plan, &plan[*image])
        }
        Step::Configure(Configure::Configdrive(on)) => through(plan, *on),
        Step::Arm(Arm::BootCode(disk)) => on_disk(plan, *disk, boot_code(plan, *disk)),
        Step::Arm(Arm::Stamp(disk)) => on_disk(plan, *disk, vec![STAMP]),
        Step::Release(
            Release::StopRaid { .. }
            | Release::DeactivateVolumeGroup { .. }
            | Release::CloseMapping { .. },
        )
        | Step::ActivateKept
        | Step::Image(ImageStep::Grow(_) | ImageStep::ReadTable(_))
        | Step::Configure(
            Configure::MoveContent { .. }
            | Configure::Fstab
            | Configure::Identity
            | Configure::BootConfig
            | Configure::LoadKernel,
        )
        | Step::Verify => Vec::new(),
    }
}

fn by_image(plan: &Plan, image: &PlannedImage) -> Vec<Destroyed> {
    match image.onto {
        ImageTarget::Filesystem(filesystem) => through(plan, plan[filesystem].on),
        ImageTarget::Disk(disk) => {
            let size = plan[disk].size;
            // its first MiB is voided also where the image is shorter
            let image = image.facts.raw_size_bytes.unwrap_or(size);
            let (start, length) = (Bytes::ZERO, image.max(extents::END).min(size));
            on_disk(plan, disk, vec![Extent { start, length }])
        }
    }
}

fn made(make: &Make, plan: &Plan) -> Vec<Destroyed> {
    let beneath = |on| on_disks(plan, &extents::backing_extents(plan, on));
    match make {
        Make::Wipe { disk, extents } => on_disk(plan, *disk, extents.clone()),
        Make::Table(disk) => {
            let planned = &plan[*disk];
            let table = extents::table(planned.table, planned.size, planned.sector_size);
            on_disk(plan, *disk, table)
        }
        Make::Raid(raid) => beneath(BlockRef::Raid(*raid)),
        Make::PhysicalVolume(volume) => label(plan, *volume),
        Make::VolumeGroup(group) => plan[*group]
            .physical_volumes
            .iter()
            .flat_map(|volume| label(plan, *volume))
            .collect(),
        Make::LogicalVolume(volume) => beneath(BlockRef::Logical(*volume)),
        Make::Filesystem(filesystem) => through(plan, plan[*filesystem].on),
    }
}

fn on_disk(plan: &Plan, disk: DiskIndex, extents: Vec<Extent>) -> Vec<Destroyed> {
    let extents: Vec<_> = extents.into_iter().map(|extent| (disk, extent)).collect();
    on_disks(plan, &extents)
}

/// Everything that can be written to through `on`.
fn through(plan: &Plan, on: BlockRef) -> Vec<Destroyed> {
    let stands = plan.keeps_partitions && !matches!(on, BlockRef::Partition { .. });
    if stands {
        return vec![Destroyed {
            device: plan.node_of(on),
            offset: Bytes::ZERO,
            length: plan.size_of(on).unwrap_or_default(),
        }];
    }
    on_disks(plan, &extents::backing_extents(plan, on))
}

fn on_disks(plan: &Plan, extents: &[(DiskIndex, Extent)]) -> Vec<Destroyed> {
    let mut destroyed = Vec::new();
    for (index, disk) in plan.disks() {
        let here = extents
            .iter()
            .filter(|(disk, _)| *disk == index)
            .map(|(_, extent)| *extent);
        destroyed.extend(
            extents::union(here.collect())
                .into_iter()
                .map(|extent| Destroyed {
                    device: disk.device.clone(),
                    offset: extent.start,
                    length: extent.length,
                }),
        );
    }
    destroyed
}

fn disarmed(plan: &Plan, disk: DiskIndex, areas: &[Extent]) -> Vec<Extent> {
    let mut all = vec![keep::BOOT_CODE, STAMP];
    all.extend(areas);
    extents::difference(extents::union(all), &keep::bytes(plan, disk))
}

/// What `pvcreate` writes: label and metadata in front of the data, the second metadata area behind it.
fn label(plan: &Plan, volume: PhysicalVolumeIndex) -> Vec<Destroyed> {
    let volume = &plan[volume];
    let BlockRef::Partition { .. } = volume.on else {
        return through(plan, volume.on);
    };
    let area = volume.metadata_size.saturating_add(Bytes::MIB);
    let mut pieces = Vec::new();
    for (disk, extent) in extents::backing_extents(plan, volume.on) {
        let first = Extent {
            start: extent.start,
            length: area.min(extent.length),
        };
        let last = Extent {
            start: extent.end().saturating_sub(first.length),
            length: first.length,
        };
        pieces.extend([(disk, first), (disk, last)]);
    }
    on_disks(plan, &pieces)
}

fn boot_code(plan: &Plan, disk: DiskIndex) -> Vec<Extent> {
    let targets = boot::targets(plan).flat_map(|on| extents::backing_extents(plan, on));
    let mut places: Vec<Extent> = targets
        .filter(|(on, _)| *on == disk)
        .map(|(_, extent)| extent)
        .collect();
    if plan.firmware == Firmware::Bios {
        places.push(keep::BOOT_CODE);
    }
    places
}
