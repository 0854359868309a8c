//! What the node will boot from: a root with a system in it, and a place for boot code on every disk that gets some.

use std::collections::BTreeSet;

use host::units::{Bytes, Extent};

use crate::model::error::Kind;
use crate::model::index::DiskIndex;
use crate::model::node::Firmware;
use crate::model::storage::{BlockRef, Mount, RaidLevel, Role};

use super::diagnostics::Diagnostics;
use super::keep;
use crate::model::plan::STAMP;
use crate::model::plan::{Plan, PlannedDisk, PlannedFilesystem};

/// How far a BIOS that counts sectors in 32 bits can read.
const BIOS_REACH: Bytes = Bytes(2 << 40);

/// Refuses what would be installed but never start.
pub(super) fn bootable(plan: &Plan, diagnostics: &mut Diagnostics) {
    match plan.root() {
        None => diagnostics.refuse_run(
            Kind::Request,
            "no filesystem is mounted on /",
            "give one of the volumes the mount point `/`",
        ),
        Some(root) if plan[root].image.is_none() && !plan[root].keep_data => {
            diagnostics.refuse_run(
                Kind::Request,
                "no image is written to /, so nothing would start",
                "add an image for `/` to the request",
            );
        }
        Some(_) => {}
    }
    if !plan.disks.iter().any(|disk| disk.bootloader) {
        diagnostics.warn("no disk gets boot code: what starts this node is up to you");
    }
    for (index, disk) in plan.disks().filter(|(_, disk)| disk.bootloader) {
        place_for_boot_code(disk, plan.firmware, diagnostics);
        if !has_room_for_stamp(plan, index) {
            diagnostics.warn(format!(
                "{} has no room for the identity stamp before its first partition",
                disk.device
            ));
        }
    }
    if plan.firmware == Firmware::Bios {
        within_reach(plan, diagnostics);
    }
    boot_not_mirrored(plan, diagnostics);
}

fn disk_of(member: &BlockRef) -> Option<DiskIndex> {
    match member {
        BlockRef::Partition { disk, .. } => Some(*disk),
        _ => None,
    }
}

/// Whether a disk may fail without taking what is on `on` with it.
fn is_mirrored(plan: &Plan, on: BlockRef) -> bool {
    match on {
        BlockRef::Raid(raid) => {
            let raid = &plan[raid];
            let disks: BTreeSet<DiskIndex> = raid.members.iter().filter_map(disk_of).collect();
            raid.level == RaidLevel::Raid1 && disks.len() > 1
        }
        BlockRef::Logical(volume) => plan.group_of(volume).is_some_and(|group| {
            let mut volumes = group.physical_volumes.iter();
            volumes.all(|volume| is_mirrored(plan, plan[*volume].on))
        }),
        BlockRef::Partition { .. } | BlockRef::Undefined(_) => false,
    }
}

/// A mirror under / is of no use where the kernel is on one of the disks only, as Fuel's own layouts have it.
fn boot_not_mirrored(plan: &Plan, diagnostics: &mut Diagnostics) {
    let Some(boot) = filesystem_on(plan, "/boot") else {
        return;
    };
    let root = filesystem_on(plan, "/");
    if root.is_some_and(|root| is_mirrored(plan, root.on)) && !is_mirrored(plan, boot.on) {
        diagnostics.warn(format!(
            "/ is mirrored, but /boot (on {}) is not: without its disk this node does not start",
            boot.device
        ));
    }
}

fn filesystem_on<'a>(plan: &'a Plan, mount: &str) -> Option<&'a PlannedFilesystem> {
    let is_there = |mounted: &Mount| matches!(mounted, Mount::Path(path) if path == mount);
    let mut filesystems = plan.filesystems.iter();
    filesystems.find(|filesystem| filesystem.mount.as_ref().is_some_and(is_there))
}

fn place_for_boot_code(disk: &PlannedDisk, firmware: Firmware, diagnostics: &mut Diagnostics) {
    let what = match firmware {
        Firmware::Bios => "`bios_grub` partition for GRUB's core image",
        Firmware::Uefi => "EFI system partition",
    };
    if !disk
        .partitions
        .iter()
        .any(|partition| partition.role == role(firmware))
    {
        diagnostics.refuse_run(
            Kind::Request,
            format!("{} gets boot code, but it has no {what}", disk.device),
            "add the partition, or do not ask for boot code on this disk",
        );
    }
}

/// The role of the partition that boot code goes into.
pub(super) const fn role(firmware: Firmware) -> Role {
    match firmware {
        Firmware::Bios => Role::BiosGrub,
        Firmware::Uefi => Role::Esp,
    }
}

/// The partitions that boot code goes into.
pub(super) fn targets(plan: &Plan) -> impl Iterator<Item = BlockRef> {
    let marked = plan.disks().filter(|(_, disk)| disk.bootloader);
    marked.flat_map(|(index, disk)| {
        disk.partitions
            .iter()
            .filter(|partition| partition.role == role(plan.firmware))
            .map(move |partition| BlockRef::Partition {
                disk: index,
                number: partition.number,
            })
    })
}

/// Whether the stamp would be on the disk, before every partition, including kept ones that are not in the request.
pub(super) fn has_room_for_stamp(plan: &Plan, index: DiskIndex) -> bool {
    let disk = &plan[index];
    let taken = keep::bytes(plan, index);
    disk.size >= STAMP.end()
        && disk
            .partitions
            .iter()
            .all(|partition| partition.extent.start >= STAMP.end())
        && !taken.iter().any(|kept| kept.overlaps(STAMP))
}

fn within_reach(plan: &Plan, diagnostics: &mut Diagnostics) {
    let Some(filesystem) = filesystem_on(plan, "/boot").or_else(|| filesystem_on(plan, "/")) else {
        return;
    };
    let BlockRef::Partition { disk, number } = filesystem.on else {
        return;
    };
    let beyond = plan
        .partition(disk, number)
        .is_some_and(|partition| partition.extent.end() > BIOS_REACH);
    if beyond {
        diagnostics.warn(format!(
            "{} ends beyond {BIOS_REACH}, where some BIOSes cannot read a kernel",
            filesystem.device
        ));
    }
}

/// Where a core image or an ESP begins: enough of it that nothing finds it any more.
pub(super) fn head(extent: Extent) -> Extent {
    Extent {
        start: extent.start,
        length: extent.length.min(Bytes::MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::index::RaidIndex;
    use crate::model::plan::PlannedRaid;
    use crate::testing::sample_request::{empty_disk, lvm_request, node, part, plan_of};

    #[test]
    fn a_mirror_under_the_root_alone_is_worth_a_word_and_no_other_is() {
        let machine = node(vec![empty_disk("/dev/sda", 20480)]);
        let plan = plan_of(&lvm_request(), &machine).unwrap();
        let array = |level: RaidLevel, members| PlannedRaid {
            device: "/dev/md0".to_owned(),
            level,
            metadata: crate::model::storage::RaidMetadata::Default,
            members,
            spares: Vec::new(),
            uuid: uuid::Uuid::nil(),
            keep_data: false,
        };
        let two = || vec![part(0, 4), part(1, 4)];
        for (root, boot, is_said) in [
            (array(RaidLevel::Raid1, two()), None, true),
            (
                array(RaidLevel::Raid1, two()),
                Some(array(RaidLevel::Raid1, two())),
                false,
            ),
            (array(RaidLevel::Raid0, two()), None, false),
            (array(RaidLevel::Raid1, vec![part(0, 4)]), None, false),
            (
                array(RaidLevel::Raid1, vec![part(0, 4), part(0, 7)]),
                None,
                false,
            ),
        ] {
            let case = format!("{root:?} {boot:?}");
            let mut plan = plan.clone();
            plan.physical_volumes[0].on = BlockRef::Raid(RaidIndex(0));
            plan.raids = vec![root];
            if let Some(boot) = boot {
                plan.raids.push(boot);
                plan.filesystems[0].on = BlockRef::Raid(RaidIndex(1));
            }
            let mut diagnostics = Diagnostics::default();
            boot_not_mirrored(&plan, &mut diagnostics);
            assert_eq!(!diagnostics.warnings.is_empty(), is_said, "{case}");
        }
    }
}
