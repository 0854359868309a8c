//! What must hold of every finished plan, whatever it was made from.

use host::units::{Bytes, Extent};

use crate::model::index::IndexedBy;
use crate::model::inventory::Inventory;

use super::{boot, destroys, extents, keep, layout};
use crate::model::plan::{Plan, RefusedBy};
use crate::model::step::{Arm, Configure, Destroyed, ImageStep, Make, PlannedStep, Step};

/// The rules that the plan breaks: defects of the planner. Empty for a sound plan.
///
/// - partitions of a disk share no byte, are aligned, and are between the copies of its table;
/// - what a step lists as destroyed is what it destroys, and is on chosen disks, inside them;
/// - no step destroys what is kept, unless the plan is refused for just that;
/// - each disk is disarmed before anything else is written to it, and what arms it comes after the verification;
/// - stages are in order, steps are numbered, indexes lead somewhere.
pub fn violations(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let mut broken = Vec::new();
    let fits = !plan
        .refusals
        .iter()
        .any(|refusal| refusal.by == RefusedBy::Plan);
    if fits {
        partitions(plan, &mut broken);
    }
    order(plan, &mut broken);
    let keeps =
        fits && keep::conflicts(plan).is_empty() && keep::differences(plan, inventory).is_empty();
    for planned in &plan.steps {
        if !leads_somewhere(&planned.step, plan) {
            broken.push(format!("step {} points nowhere", planned.number));
            continue;
        }
        if planned.destroys != destroys::step(&planned.step, plan) {
            broken.push(format!(
                "step {} does not say what it destroys",
                planned.number
            ));
        }
        for destroyed in &planned.destroys {
            chosen(plan, planned, destroyed, fits, &mut broken);
            if keeps {
                kept(plan, planned, destroyed, &mut broken);
            }
        }
    }
    broken
}

fn partitions(plan: &Plan, broken: &mut Vec<String>) {
    for disk in &plan.disks {
        let usable = layout::usable(disk);
        for (index, partition) in disk.partitions.iter().enumerate() {
            let (extent, device) = (partition.extent, &partition.device);
            if !usable.contains(extent) || extent.length == Bytes::ZERO {
                broken.push(format!("{device} lies outside of {}", disk.device));
            }
            if !extent.start.is_aligned(disk.sector_size)
                || !extent.length.is_aligned(disk.sector_size)
            {
                broken.push(format!("{device} is not aligned"));
            }
            for other in &disk.partitions[..index] {
                if other.number == partition.number || other.extent.overlaps(extent) {
                    broken.push(format!("{} and {device} collide", other.device));
                }
            }
        }
    }
}

fn order(plan: &Plan, broken: &mut Vec<String>) {
    let position = |wanted: &dyn Fn(&Step) -> bool| {
        plan.steps.iter().position(|planned| wanted(&planned.step))
    };
    let verified = position(&|step| *step == Step::Verify);
    for (index, planned) in plan.steps.iter().enumerate() {
        if planned.number != index + 1 {
            broken.push(format!("step {} is number {}", index + 1, planned.number));
        }
        if index > 0 && plan.steps[index - 1].stage > planned.stage {
            broken.push(format!(
                "step {} comes too late for its stage",
                planned.number
            ));
        }
        let follows = |before: usize| {
            matches!(
                plan.steps[before].step,
                Step::Image(ImageStep::Write { .. })
            )
        };
        if planned.step.goes_with_previous() && !index.checked_sub(1).is_some_and(follows) {
            broken.push(format!("step {} goes with no other image", planned.number));
        }
        let arms = matches!(planned.step, Step::Arm(_));
        if arms && verified.is_none_or(|verified| verified > index) {
            broken.push(format!(
                "step {} arms a disk that was not verified",
                planned.number
            ));
        }
        let writes = !planned.destroys.is_empty() && !matches!(planned.step, Step::Disarm { .. });
        if writes {
            for (disk, _) in plan.disks() {
                let disarmed = position(
                    &|step| matches!(step, Step::Disarm { disk: other, .. } if *other == disk),
                );
                if disarmed.is_none_or(|disarmed| disarmed > index) {
                    broken.push(format!(
                        "step {} writes before disk {} is disarmed",
                        planned.number, disk.0
                    ));
                }
            }
        }
    }
}

fn leads_somewhere(step: &Step, plan: &Plan) -> bool {
    match step {
        Step::Release(_) | Step::ActivateKept | Step::Verify => true,
        Step::Disarm { disk, .. }
        | Step::Image(ImageStep::ReadTable(disk))
        | Step::Arm(Arm::BootCode(disk)) => plan.has(*disk),
        Step::Make(make) => match make {
            Make::Wipe { disk, .. } | Make::Table(disk) => plan.has(*disk),
            Make::Raid(raid) => plan.has(*raid),
            Make::PhysicalVolume(volume) => plan.has(*volume),
            Make::VolumeGroup(group) => plan.has(*group),
            Make::LogicalVolume(volume) => plan.has(*volume),
            Make::Filesystem(filesystem) => plan.has(*filesystem),
        },
        Step::Image(ImageStep::Write { image, .. }) => plan.has(*image),
        Step::Image(ImageStep::Unpack(image)) => {
            plan.has(*image) && plan.filled_by(&plan[*image]).is_some()
        }
        Step::Image(ImageStep::Grow(filesystem)) => plan.has(*filesystem),
        Step::Configure(configure) => match configure {
            Configure::MoveContent { from, to, .. } => plan.has(*from) && plan.has(*to),
            Configure::Configdrive(on) => plan.configdrive == Some(*on),
            Configure::Fstab
            | Configure::Identity
            | Configure::BootConfig
            | Configure::LoadKernel => true,
        },
        Step::Arm(Arm::Stamp(disk)) => plan.has(*disk) && boot::has_room_for_stamp(plan, *disk),
    }
}

/// On a chosen disk and inside it; or, in a kept layout, on an array or volume of the plan.
fn chosen(
    plan: &Plan,
    planned: &PlannedStep,
    destroyed: &Destroyed,
    fits: bool,
    broken: &mut Vec<String>,
) {
    let bytes = Extent {
        start: destroyed.offset,
        length: destroyed.length,
    };
    let on_disk = plan.disks.iter().any(|disk| {
        disk.device == destroyed.device
            && (!fits
                || Extent {
                    start: Bytes::ZERO,
                    length: disk.size,
                }
                .contains(bytes))
    });
    let on_kept = plan.keeps_partitions
        && (plan
            .raids
            .iter()
            .any(|raid| raid.device == destroyed.device)
            || plan
                .logical_volumes
                .iter()
                .any(|volume| volume.device == destroyed.device));
    let on_undefined = plan.undefined.contains(&destroyed.device);
    if !on_disk && !on_kept && !on_undefined {
        broken.push(format!(
            "step {} destroys bytes of {}, which is not chosen, or beyond its end",
            planned.number, destroyed.device
        ));
    }
}

fn kept(plan: &Plan, planned: &PlannedStep, destroyed: &Destroyed, broken: &mut Vec<String>) {
    let bytes = Extent {
        start: destroyed.offset,
        length: destroyed.length,
    };
    let hits = plan.disks().any(|(index, disk)| {
        disk.device == destroyed.device
            && keep::bytes(plan, index)
                .iter()
                .any(|kept| extents::intersection(*kept, bytes).is_some())
    });
    if hits || keep::nodes(plan).contains(&destroyed.device) {
        broken.push(format!(
            "step {} destroys what is kept on {}",
            planned.number, destroyed.device
        ));
    }
}
