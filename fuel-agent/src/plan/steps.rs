//! The steps, in the order of the stages.

use crate::inventory::Inventory;
use crate::model::stage::Stage;

use super::text::describe;
use super::{boot, concurrency, content, destroys, wipe};
use crate::model::filesystem::FilesystemType;
use crate::model::plan::{Plan, PlannedImage};
use crate::model::step::{Arm, Configure, ImageStep, Make, PlannedStep, Step};

/// Numbers all steps that lead to the layout; `release` lets go of what is on the disks now.
pub(super) fn steps(plan: &Plan, inventory: &Inventory, release: Vec<Step>) -> Vec<PlannedStep> {
    let mut steps = release;
    disarm(plan, inventory, &mut steps);
    if plan.keeps_partitions {
        keep(plan, inventory, &mut steps);
    } else {
        make(plan, inventory, &mut steps);
    }
    fill(plan, inventory, &mut steps);
    finish(plan, &mut steps);
    steps
        .into_iter()
        .enumerate()
        .map(|(index, step)| PlannedStep {
            number: index + 1,
            stage: stage(&step),
            what: describe::step(&step, plan),
            destroys: destroys::step(&step, plan),
            step,
        })
        .collect()
}

fn disarm(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    steps.extend((0..plan.disks.len()).map(|disk| Step::Disarm {
        disk,
        areas: wipe::boot_areas(plan, disk, inventory),
    }));
}

/// The kept layout: nothing is made but signatures wiped where something new goes, and what is there is started.
fn keep(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    for disk in 0..plan.disks.len() {
        wipe(plan, disk, inventory, steps);
    }
    if !plan.raids.is_empty() || !plan.volume_groups.is_empty() {
        steps.push(Step::ActivateKept);
    }
}

fn make(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    for disk in 0..plan.disks.len() {
        wipe(plan, disk, inventory, steps);
        steps.push(Step::Make(Make::Table(disk)));
    }
    steps.extend((0..plan.raids.len()).map(|raid| Step::Make(Make::Raid(raid))));
    steps.extend(
        (0..plan.physical_volumes.len())
            .map(|physical_volume| Step::Make(Make::PhysicalVolume(physical_volume))),
    );
    steps.extend(
        (0..plan.volume_groups.len())
            .map(|volume_group| Step::Make(Make::VolumeGroup(volume_group))),
    );
    steps.extend(
        (0..plan.logical_volumes.len())
            .map(|logical_volume| Step::Make(Make::LogicalVolume(logical_volume))),
    );
}

fn wipe(plan: &Plan, disk: usize, inventory: &Inventory, steps: &mut Vec<Step>) {
    let extents = wipe::signatures(plan, disk, inventory);
    if !extents.is_empty() {
        steps.push(Step::Make(Make::Wipe { disk, extents }));
    }
}

/// Filesystems, images, and the files of the installed system.
fn fill(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    let made = |index: &usize| plan.is_made(&plan.filesystems[*index]);
    steps.extend(
        (0..plan.filesystems.len())
            .filter(made)
            .map(|filesystem| Step::Make(Make::Filesystem(filesystem))),
    );
    steps.extend(concurrency::writes(plan, inventory));
    let is_grown = |image: &&PlannedImage| {
        let kind = image.format.filesystem();
        kind.and_then(FilesystemType::growth).is_some()
    };
    steps.extend(
        (plan.images.iter().filter(is_grown))
            .map(|image| Step::Image(ImageStep::Grow(image.filesystem))),
    );
    if plan.root().is_some() {
        steps.extend(content::moves(plan));
        steps.push(Step::Configure(Configure::Fstab));
        if plan.node.is_some() {
            steps.push(Step::Configure(Configure::Identity));
        }
        steps.push(Step::Configure(Configure::BootConfig));
        if plan.kexec {
            steps.push(Step::Configure(Configure::LoadKernel));
        }
    }
    if let Some(on) = plan.configdrive {
        steps.push(Step::Configure(Configure::Configdrive(on)));
    }
}

/// Reading back, and only then what makes the node bootable.
fn finish(plan: &Plan, steps: &mut Vec<Step>) {
    steps.push(Step::Verify);
    let marked = || (0..plan.disks.len()).filter(|disk| plan.disks[*disk].bootloader);
    steps.extend(marked().map(|disk| Step::Arm(Arm::BootCode(disk))));
    steps.extend(
        marked()
            .filter(|disk| boot::has_room_for_stamp(plan, *disk))
            .map(|disk| Step::Arm(Arm::Stamp(disk))),
    );
}

/// The stage that performs a step.
const fn stage(step: &Step) -> Stage {
    match step {
        Step::Release(_) | Step::Disarm { .. } => Stage::Release,
        Step::Make(Make::Wipe { .. } | Make::Table(_)) => Stage::Partition,
        Step::Make(Make::Raid(_)) => Stage::Raid,
        Step::Make(Make::PhysicalVolume(_) | Make::VolumeGroup(_) | Make::LogicalVolume(_))
        | Step::ActivateKept => Stage::Lvm,
        Step::Make(Make::Filesystem(_)) => Stage::Filesystem,
        Step::Image(_) => Stage::Image,
        Step::Configure(Configure::Configdrive(_)) => Stage::Configdrive,
        Step::Configure(
            Configure::MoveContent { .. }
            | Configure::Fstab
            | Configure::Identity
            | Configure::BootConfig
            | Configure::LoadKernel,
        ) => Stage::Configure,
        Step::Verify => Stage::Verify,
        Step::Arm(Arm::BootCode(_)) => Stage::Bootloader,
        Step::Arm(Arm::Stamp(_)) => Stage::Commit,
    }
}
