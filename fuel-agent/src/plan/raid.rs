//! md arrays: levels, members, and how much of them is left for what is put on top.

use host::units::Bytes;

use crate::model::error::Kind;
use crate::model::index::DiskIndex;
use crate::model::inventory::{Inventory, StackKind};
use crate::model::storage::{BlockRef, RaidLevel, RaidSpec};

use super::diagnostics::Diagnostics;
use super::{Ids, PlanError};
use crate::model::plan::{Plan, PlannedRaid};

/// Plans the arrays in the order of the request.
pub(super) fn arrays(
    specs: &[RaidSpec],
    ids: &mut dyn Ids,
    plan: &mut Plan,
    diagnostics: &mut Diagnostics,
) {
    for spec in specs {
        if plan.raids.iter().any(|raid| raid.device == spec.device) {
            diagnostics.error(PlanError::NamedTwice {
                name: spec.device.clone(),
            });
        }
        let raid = PlannedRaid {
            device: spec.device.clone(),
            level: spec.level,
            metadata: spec.metadata,
            members: spec.members.clone(),
            spares: spec.spares.clone(),
            uuid: ids.uuid(),
            keep_data: spec.keep_data,
        };
        members(&raid, plan, diagnostics);
        plan.raids.push(raid);
    }
}

fn members(raid: &PlannedRaid, plan: &Plan, diagnostics: &mut Diagnostics) {
    let device = &raid.device;
    if raid.members.is_empty() {
        diagnostics.refuse_run(
            Kind::Request,
            format!("{device} has no members"),
            "give it at least one partition",
        );
    }
    let sizes: Vec<Bytes> = raid
        .members
        .iter()
        .filter_map(|member| plan.size_of(*member))
        .collect();
    if let (Some(least), Some(most)) = (sizes.iter().min(), sizes.iter().max())
        && least != most
    {
        diagnostics.warn(format!(
            "the members of {device} are from {least} to {most} large; each is used as the smallest"
        ));
    }
    let mut disks: Vec<DiskIndex> = Vec::new();
    for member in &raid.members {
        let BlockRef::Partition { disk, .. } = member else {
            continue;
        };
        if disks.contains(disk) {
            diagnostics.warn(format!(
                "{device} has two members on {}: it does not outlive that disk",
                plan[*disk].device
            ));
        }
        disks.push(*disk);
    }
}

/// A name that the plan gives, and that something on a disk outside of the plan has already.
pub(super) fn taken_names(plan: &Plan, inventory: &Inventory, diagnostics: &mut Diagnostics) {
    for stack in &inventory.stacks {
        if stack
            .disks
            .iter()
            .any(|disk| plan.disks.iter().any(|planned| planned.device == *disk))
        {
            continue;
        }
        let taken = match stack.kind {
            StackKind::Raid => {
                stack.active && plan.raids.iter().any(|raid| raid.device == stack.name)
            }
            StackKind::VolumeGroup => plan
                .volume_groups
                .iter()
                .any(|group| group.name == stack.name),
            StackKind::Crypt | StackKind::Mapping | StackKind::Btrfs => false,
        };
        if taken {
            let disks = stack.disks.join(", ");
            let place = if disks.is_empty() {
                "another disk"
            } else {
                &disks
            };
            diagnostics.refuse_run(
                Kind::Refused,
                format!(
                    "the name `{}` is taken by something on {place}, which is not chosen",
                    stack.name
                ),
                "rename the old one, detach its disk, or choose another name",
            );
        }
    }
}

/// About how much an array holds. mdadm puts up to 128 MiB in front of the data of the newer formats, so that it can
/// grow later: a power of two not above a thousandth of the member, and the superblock, rounded up to whole MiB.
pub(super) fn capacity(raid: &PlannedRaid, plan: &Plan) -> Option<Bytes> {
    let sizes: Vec<Bytes> = raid
        .members
        .iter()
        .filter_map(|member| plan.size_of(*member))
        .collect();
    let least = *sizes.iter().min()?;
    let overhead = if raid.metadata.at_end() {
        Bytes(128 << 10)
    } else {
        let mut room = 128u64 << 20;
        while room > Bytes::MIB.0 && room.saturating_mul(1 << 10) > least.0 {
            room >>= 1;
        }
        Bytes(room).saturating_add(Bytes::MIB)
    };
    let each = least.saturating_sub(overhead);
    match raid.level {
        RaidLevel::Raid0 => {
            let count = u64::try_from(sizes.len()).ok()?;
            each.0.checked_mul(count).map(Bytes)
        }
        RaidLevel::Raid1 => Some(each),
    }
}
