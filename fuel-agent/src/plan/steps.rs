//! The steps, in the order of the stages.

use crate::model::index::DiskIndex;
use crate::model::inventory::Inventory;
use crate::model::stage::Stage;

use super::text::describe;
use super::{boot, concurrency, content, destroys, wipe};
use crate::model::filesystem::FilesystemType;
use crate::model::plan::{Plan, PlannedImage};
use crate::model::step::{Arm, Configure, ImageStep, Make, PlannedStep, Step};

/// Numbers all steps that lead to the layout; `release` stops what is on the disks now.
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
    numbered(plan, steps)
}

/// The steps with their numbers and stages, what each does, and what it destroys.
pub(super) fn numbered(plan: &Plan, steps: Vec<Step>) -> Vec<PlannedStep> {
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
    steps.extend(plan.disks().map(|(disk, _)| Step::Disarm {
        disk,
        areas: wipe::boot_areas(plan, disk, inventory),
    }));
}

/// The kept layout: nothing is made but signatures wiped where something new goes, and what is there is started.
fn keep(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    for (disk, _) in plan.disks() {
        wipe(plan, disk, inventory, steps);
    }
    if !plan.raids.is_empty() || !plan.volume_groups.is_empty() {
        steps.push(Step::ActivateKept);
    }
}

fn make(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    for (disk, _) in plan.disks() {
        wipe(plan, disk, inventory, steps);
        steps.push(Step::Make(Make::Table(disk)));
    }
    let raids = plan.raids().map(|(raid, _)| Make::Raid(raid));
    let physical_volumes = plan.physical_volumes();
    let physical_volumes = physical_volumes.map(|(volume, _)| Make::PhysicalVolume(volume));
    let groups = plan.volume_groups();
    let groups = groups.map(|(group, _)| Make::VolumeGroup(group));
    let logical_volumes = plan.logical_volumes();
    let logical_volumes = logical_volumes.map(|(volume, _)| Make::LogicalVolume(volume));
    let volumes = physical_volumes.chain(groups).chain(logical_volumes);
    steps.extend(raids.chain(volumes).map(Step::Make));
}

fn wipe(plan: &Plan, disk: DiskIndex, inventory: &Inventory, steps: &mut Vec<Step>) {
    let extents = wipe::signatures(plan, disk, inventory);
    if !extents.is_empty() {
        steps.push(Step::Make(Make::Wipe { disk, extents }));
    }
}

/// Filesystems, images, and the files of the installed system.
fn fill(plan: &Plan, inventory: &Inventory, steps: &mut Vec<Step>) {
    let filesystems = plan.filesystems();
    let made = filesystems.filter(|(_, filesystem)| plan.is_made(filesystem));
    steps.extend(made.map(|(filesystem, _)| Step::Make(Make::Filesystem(filesystem))));
    steps.extend(concurrency::writes(plan, inventory));
    let is_grown = |image: &&PlannedImage| {
        let kind = image.format.filesystem();
        kind.and_then(FilesystemType::growth).is_some()
    };
    let grown = plan.images.iter().filter(is_grown);
    let grown = grown.filter_map(PlannedImage::filesystem);
    steps.extend(grown.map(|filesystem| Step::Image(ImageStep::Grow(filesystem))));
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
    let marked = || {
        let disks = plan.disks().filter(|(_, disk)| disk.bootloader);
        disks.map(|(disk, _)| disk)
    };
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
