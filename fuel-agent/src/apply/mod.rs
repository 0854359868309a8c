//! Effects without decisions: one file per kind of step.
//!
//! ```text
//!   release                    what is stacked on the chosen disks is stopped; what is kept is activated
//!   disarm                     nothing on the disks boots any more
//!   partition_table, gpt       old signatures, partition tables, the kernel's partitions
//!   raid, lvm, clear           arrays, volume groups, volumes; what an earlier system left in a new one
//!   filesystem, staging        made, grown; by way of a staging file where a disk is a file
//!   signature, probe           what blkid finds on a device; whether the kernel mounts it
//!   image, content             image bytes onto their device, archives into their filesystem; the files below a
//!                              mount point into its filesystem
//!   target, target_tree        the installed system's tree, mounted
//!   fstab, identity, network   files written into it
//!   bootconfig, configdrive    GRUB's configuration; the cloud-init data
//!   verify                     everything read back
//!   bootcode, stamp            what makes the node bootable, last
//!   reverify                   images of an installed node, compared with its disks
//!   undo                       release of what was made, at the end of the run
//!   context, outcome           what steps share, and their results
//! ```
//!
//! `perform` matches on the step and calls the file that performs it; whatever is decided was decided in `plan`.

pub mod bootcode;
pub mod bootconfig;
mod clear;
pub mod configdrive;
pub mod content;
pub mod context;
pub mod disarm;
mod disk_region;
pub mod filesystem;
pub mod fstab;
mod gpt;
pub mod identity;
pub mod image;
pub mod lvm;
mod network;
#[cfg(test)]
#[path = "tests/on_loops.rs"]
mod on_loops;
pub mod outcome;
pub mod partition_table;
pub mod probe;
pub mod raid;
pub mod release;
pub mod reverify;
mod signature;
mod staging;
pub mod stamp;
pub mod target;
mod target_tree;
pub mod undo;
pub mod verify;

use context::Context;
use outcome::{Outcome, StepRun};

use crate::model::error::{Error, Kind};
use crate::model::index::ImageIndex;
use crate::model::step::{Arm, Configure, ImageStep, Make, PlannedStep, Step};

/// Performs steps that go together: those that write images. One [`StepRun`] for each, in their order; where any
/// failed, one is [`StepResult::Failed`](outcome::StepResult::Failed) and it is the first that did.
pub fn perform_together(steps: &[&PlannedStep], context: &mut Context<'_>) -> Vec<StepRun> {
    let images = steps.iter().map(|planned| planned.step.image());
    if let Some(images) = images.collect::<Option<Vec<ImageIndex>>>() {
        return image::write_together(context, &images);
    }
    // the plan's own check refuses it
    let error = Error::new(Kind::Internal, "only images are written at the same time");
    StepRun::none_of(steps.len(), error)
}

/// Performs one step of an approved plan.
pub fn perform(step: &PlannedStep, context: &mut Context<'_>) -> Result<Outcome, Error> {
    match &step.step {
        Step::Release(step) => release::perform(context, step),
        Step::Disarm { disk, areas } => disarm::disarm(context, *disk, areas),
        Step::Make(step) => make(context, step),
        Step::ActivateKept => release::activate_kept(context),
        Step::Image(ImageStep::Write { image, .. }) => image::write(context, *image),
        Step::Image(ImageStep::Unpack(image)) => image::unpack(context, *image),
        Step::Image(ImageStep::Grow(filesystem)) => filesystem::grow(context, *filesystem),
        Step::Image(ImageStep::ReadTable(disk)) => Ok(partition_table::read(context, *disk)),
        Step::Configure(step) => configure(context, step),
        Step::Verify => verify::verify(context),
        Step::Arm(Arm::BootCode(disk)) => bootcode::install(context, *disk),
        Step::Arm(Arm::Stamp(disk)) => stamp::write(context, *disk),
    }
}

fn make(context: &mut Context<'_>, step: &Make) -> Result<Outcome, Error> {
    match step {
        Make::Wipe { disk, extents } => partition_table::wipe(context, *disk, extents),
        Make::Table(disk) => partition_table::write(context, *disk),
        Make::Raid(raid) => raid::make(context, *raid),
        Make::PhysicalVolume(volume) => lvm::make_physical_volume(context, *volume),
        Make::VolumeGroup(group) => lvm::make_volume_group(context, *group),
        Make::LogicalVolume(volume) => lvm::make_logical_volume(context, *volume),
        Make::Filesystem(filesystem) => filesystem::make(context, *filesystem),
    }
}

fn configure(context: &mut Context<'_>, step: &Configure) -> Result<Outcome, Error> {
    match step {
        Configure::MoveContent { from, to, path } => content::relocate(context, *from, *to, path),
        Configure::Fstab => target::within(context, fstab::write),
        Configure::Identity => target::within(context, identity::write),
        Configure::BootConfig => target::within(context, bootconfig::write),
        Configure::LoadKernel => target::within(context, bootconfig::load_next),
        Configure::Configdrive(on) => configdrive::write(context, *on),
    }
}

#[cfg(test)]
mod tests {
    use super::outcome::StepResult;
    use super::*;
    use crate::testing::step_harness::StepHarness;

    #[test]
    fn every_step_of_a_group_has_a_result_although_none_could_begin() {
        let mut harness = StepHarness::new();
        for steps in [
            vec![
                Step::Configure(Configure::Fstab),
                Step::Configure(Configure::Identity),
                Step::Verify,
            ],
            vec![
                Step::Image(ImageStep::Write {
                    image: ImageIndex(0),
                    with_previous: false,
                }),
                Step::Configure(Configure::Fstab),
            ],
        ] {
            let performed = harness.group(&steps);
            assert_eq!(performed.len(), steps.len());
            assert!(matches!(performed[0].ending, StepResult::Failed(_)));
            let mut others = performed[1..].iter();
            assert!(others.all(|it| matches!(it.ending, StepResult::Stopped)));
        }
    }
}
