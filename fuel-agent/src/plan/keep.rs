//! What stays: which bytes, whether the layout that is to be kept is really there, and what asks for both at once.

use host::units::{Bytes, Extent};

use crate::model::error::Kind;
use crate::model::index::DiskIndex;
use crate::model::inventory::{Disk, Inventory, StackKind};
use crate::model::node::Firmware;
use crate::model::storage::{BlockRef, Table};

use super::diagnostics::Diagnostics;
use super::text::format;
use super::{boot, extents, wipe};
use crate::model::partition_type::{BIOS_GRUB, PartitionType};
use crate::model::plan::{Plan, PlannedDisk, PlannedPartition};

/// Bytes of the boot code in the first sector: never kept, whatever else is.
pub(super) const BOOT_CODE: Extent = Extent {
    start: Bytes::ZERO,
    length: Bytes(440),
};

/// The real disk behind a planned one.
pub(super) fn real<'a>(disk: &PlannedDisk, inventory: &'a Inventory) -> Option<&'a Disk> {
    inventory.disks.iter().find(|real| real.path == disk.device)
}

/// Bytes of a disk that no step may destroy. None where its table is made anew.
pub(super) fn bytes(plan: &Plan, index: DiskIndex) -> Vec<Extent> {
    let disk = &plan[index];
    if !plan.keeps_partitions {
        return Vec::new();
    }
    let mut kept = extents::difference(
        extents::table(disk.table, disk.size, disk.sector_size),
        &[BOOT_CODE],
    );
    for partition in &disk.partitions {
        let on = BlockRef::Partition {
            disk: index,
            number: partition.number,
        };
        if partition.keep_data || stays(plan, on) {
            kept.push(partition.extent);
        }
    }
    kept.extend(disk.others.iter().map(|(_, extent)| *extent));
    extents::union(kept)
}

/// Whether what is on a partition stays because of what is built on it: a kept filesystem, or any array or group, which
/// are used again as they are.
fn stays(plan: &Plan, on: BlockRef) -> bool {
    let filesystem = plan.filesystems.iter().any(|filesystem| {
        filesystem.on == on && filesystem.keep_data && filesystem.image.is_none()
    });
    let volume = plan.physical_volumes.iter().any(|volume| volume.on == on);
    let member = plan
        .raids
        .iter()
        .any(|raid| raid.members.contains(&on) || raid.spares.contains(&on));
    filesystem || volume || member
}

/// Records the existing partitions that are not in the plan; they stay where a layout is kept.
pub(super) fn find_others(plan: &mut Plan, inventory: &Inventory) {
    if !plan.keeps_partitions {
        return;
    }
    for disk in &mut plan.disks {
        let Some(real) = real(disk, inventory) else {
            continue;
        };
        let unknown = |number: u32| {
            !disk
                .partitions
                .iter()
                .any(|partition| partition.number == number)
        };
        let others = real.partitions.iter().filter(|old| unknown(old.number));
        disk.others = others
            .map(|old| {
                (
                    old.number,
                    Extent {
                        start: old.start_bytes,
                        length: old.size_bytes,
                    },
                )
            })
            .collect();
    }
}

/// Nodes whose content stays, beside those on partitions: kept logical volumes, and kept filesystems on arrays and
/// volumes.
pub(super) fn nodes(plan: &Plan) -> Vec<String> {
    let mut nodes: Vec<String> = plan
        .filesystems
        .iter()
        .filter(|filesystem| filesystem.keep_data && filesystem.image.is_none())
        .map(|filesystem| filesystem.device.clone())
        .collect();
    nodes.extend(
        plan.logical_volumes
            .iter()
            .filter(|volume| volume.spec.keep_data)
            .map(|volume| volume.device.clone()),
    );
    nodes.extend(
        plan.raids
            .iter()
            .filter(|raid| raid.keep_data)
            .map(|raid| raid.device.clone()),
    );
    nodes
}

/// Each place where the request keeps what it also overwrites, in words.
pub(super) fn conflicts(plan: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    for filesystem in &plan.filesystems {
        let what = match filesystem.image {
            Some(_) => "an image",
            None => "a new filesystem",
        };
        if filesystem.keep_data {
            if filesystem.image.is_some() {
                found.push(format!(
                    "{} ({}) is to be kept, but {what} would overwrite it",
                    filesystem.device,
                    format::purpose(filesystem.mount.as_ref())
                ));
            }
        } else if let Some(kept) = kept_beneath(plan, filesystem.on) {
            found.push(format!(
                "{kept} is to be kept, but {} on it would get {what}",
                filesystem.device
            ));
        }
    }
    let mut overwritten: Vec<(BlockRef, &str)> =
        boot::targets(plan).map(|on| (on, "boot code")).collect();
    overwritten.extend(plan.configdrive.map(|on| (on, "the configdrive")));
    for (on, what) in overwritten {
        if kept_beneath(plan, on).is_some() || stays(plan, on) {
            found.push(format!(
                "{} is to be kept, but {what} would overwrite it",
                plan.node_of(on)
            ));
        }
    }
    found
}

/// Something beneath `on`, itself included, that the request marks as kept.
fn kept_beneath(plan: &Plan, on: BlockRef) -> Option<String> {
    match on {
        BlockRef::Partition { disk, number } => plan
            .partition(disk, number)
            .filter(|partition| partition.keep_data)
            .map(|partition| partition.device.clone()),
        BlockRef::Raid(raid) => {
            let raid = &plan[raid];
            if raid.keep_data {
                return Some(raid.device.clone());
            }
            raid.members
                .iter()
                .find_map(|member| kept_beneath(plan, *member))
        }
        BlockRef::Logical(volume) => {
            if plan[volume].spec.keep_data {
                return Some(plan[volume].device.clone());
            }
            let group = plan.group_of(volume)?;
            if group.keep_data {
                return Some(format!("volume group `{}`", group.name));
            }
            group
                .physical_volumes
                .iter()
                .find_map(|volume| kept_beneath(plan, plan[*volume].on))
        }
        BlockRef::Undefined(_) => None,
    }
}

/// Refuses to keep what is not there as the request describes it, and what would be overwritten.
pub(super) fn check(plan: &Plan, inventory: &Inventory, diagnostics: &mut Diagnostics) {
    for conflict in conflicts(plan) {
        diagnostics.refuse_run(
            Kind::Refused,
            conflict,
            "drop `keep_data` where the data may go, or drop the image for it",
        );
    }
    for difference in differences(plan, inventory) {
        diagnostics.refuse_run(
            Kind::Refused,
            difference,
            "correct the layout in the request, or drop `keep_data` and lose what is on these disks",
        );
    }
    for disk in &plan.disks {
        foreign_esps(plan, disk, inventory, diagnostics);
        for (number, extent) in &disk.others {
            let (device, length, start) = (&disk.device, extent.length, extent.start);
            diagnostics.warn(format!(
                "partition {number} of {device} ({length} at {start}) is not in the request; it stays as it is"
            ));
        }
    }
}

/// On UEFI an EFI system partition that is not in the request would go on booting while the node is rewritten, and
/// after a failure: it is not disarmed, because it is not part of the plan.
fn foreign_esps(
    plan: &Plan,
    disk: &PlannedDisk,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let (Firmware::Uefi, Some(real)) = (plan.firmware, real(disk, inventory)) else {
        return;
    };
    let is_other = |number: u32| disk.others.iter().any(|(other, _)| *other == number);
    let found = real.partitions.iter().filter(|old| {
        let guid = old.partition_type.as_ref().and_then(PartitionType::guid);
        let is_bios = guid == Some(BIOS_GRUB);
        is_other(old.number) && wipe::may_boot(old) && !is_bios
    });
    for old in found {
        diagnostics.refuse_run(
            Kind::Refused,
            format!(
                "{} may boot this UEFI node, stays as it is, and is not in the request",
                old.path
            ),
            "put it into the request as the EFI system partition, or remove it from the disk",
        );
    }
}

/// Where what is to be kept does not exist, or is not as the request states.
pub(super) fn differences(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    if !plan.keeps_partitions {
        return Vec::new();
    }
    let mut found = Vec::new();
    for disk in &plan.disks {
        let Some(real) = real(disk, inventory) else {
            continue;
        };
        match other_table(disk, real) {
            Some(other) => found.push(format!(
                "{} has {other}, so nothing on it can be kept",
                disk.device
            )),
            None => found.extend(
                disk.partitions
                    .iter()
                    .filter_map(|partition| differs(partition, real)),
            ),
        }
    }
    found.extend(missing_groups(plan, inventory));
    found.extend(missing_arrays(plan, inventory));
    found
}

/// What the disk has in place of the table that is to be kept.
fn other_table(disk: &PlannedDisk, real: &Disk) -> Option<String> {
    let wanted = match disk.table {
        Table::Gpt => "gpt",
        Table::Msdos => "dos",
    };
    match real.table.as_deref() {
        Some(found) if found == wanted => None,
        Some(found) => Some(format!(
            "a partition table of kind `{found}`, not `{wanted}`"
        )),
        // An inventory that lists partitions without naming the table.
        None if !real.partitions.is_empty() => None,
        None => Some("no partition table".to_owned()),
    }
}

fn differs(partition: &PlannedPartition, real: &Disk) -> Option<String> {
    let (device, extent) = (&partition.device, partition.extent);
    let old = real
        .partitions
        .iter()
        .find(|old| old.number == partition.number);
    let Some(old) = old else {
        return Some(format!(
            "{device} is not there, so its layout cannot be kept"
        ));
    };
    ((old.start_bytes, old.size_bytes) != (extent.start, extent.length)).then(|| {
        format!(
            "{device} is {} at {}, but the layout to keep has {} at {}",
            old.size_bytes, old.start_bytes, extent.length, extent.start
        )
    })
}

fn missing_groups(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let is_there = |name: &str| {
        let mut stacks = inventory.stacks.iter();
        stacks.any(|stack| stack.kind == StackKind::VolumeGroup && stack.name == name)
    };
    plan.volume_groups
        .iter()
        .filter(|group| !is_there(&group.name))
        .map(|group| {
            format!(
                "volume group `{}` is to be kept, but this node does not have it",
                group.name
            )
        })
        .collect()
}

/// An array is the same if it has the same members; its name may have become another.
fn missing_arrays(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let mut missing = Vec::new();
    for raid in &plan.raids {
        let members = raid.members.iter().chain(&raid.spares);
        let mut wanted: Vec<Option<&str>> = members
            .map(|member| old_node(plan, *member, inventory))
            .collect();
        wanted.sort_unstable();
        let mut stacks = inventory
            .stacks
            .iter()
            .filter(|stack| stack.kind == StackKind::Raid);
        let found = stacks.any(|stack| {
            let mut members: Vec<Option<&str>> =
                stack.members.iter().map(|member| member.to_str()).collect();
            members.sort_unstable();
            members == wanted
        });
        if !found {
            missing.push(format!(
                "array {} is to be kept, but this node has no array of its partitions",
                raid.device
            ));
        }
    }
    missing
}

/// The node that a partition of the plan has now.
pub(super) fn old_node<'a>(plan: &Plan, on: BlockRef, inventory: &'a Inventory) -> Option<&'a str> {
    let BlockRef::Partition { disk, number } = on else {
        return None;
    };
    let real = real(&plan[disk], inventory)?;
    real.partitions
        .iter()
        .find(|old| old.number == number)
        .map(|old| old.path.as_str())
}
