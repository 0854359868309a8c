//! Effects without decisions: one file per kind of step.
//!
//! `perform` matches on the step and calls the file that knows how; whatever is decided was decided in `plan`.

pub mod bootcode;
pub mod bootconfig;
pub mod configdrive;
pub mod content;
pub mod disarm;
pub mod filesystem;
pub mod fstab;
mod guid_table;
pub mod identity;
pub mod image;
mod installed;
pub mod lvm;
mod medium;
mod network;
pub mod raid;
pub mod release;
#[cfg(test)]
pub(crate) mod sample;
mod scratch;
mod signature;
pub mod stamp;
pub mod table;
pub mod target;
pub mod verify;

use std::path::{Path, PathBuf};

use host::Host;

use crate::error::Error;
use crate::events::Events;
use crate::plan::Plan;
use crate::plan::step::{PlannedStep, Step};
use crate::request::spec::BlockRef;
pub use crate::stream::ImageOutcome;

/// What one step did to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something is different now.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// It could not be done here, and that is no error (a file that stands for a disk, say); the run ends incomplete.
    Skipped {
        /// Why.
        why: String,
    },
}

/// What apply is told beside the plan: where things are on this machine, and how careful to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for mounts and temporary files of this run; exists, and is ours alone.
    pub work: PathBuf,
    /// Where GRUB's platforms lie: `i386-pc/`, `x86_64-efi/`.
    pub grub: PathBuf,
    /// Images without a digest may be written.
    pub allow_unverified: bool,
    /// How sources are fetched.
    pub http: crate::http::HttpSettings,
}

/// What steps find out that later steps need.
#[derive(Debug, Default)]
pub struct State {
    /// Whether any chosen disk has been written to.
    pub touched: bool,
    /// Real UUID of each filesystem of the plan, once it is there (index as in the plan).
    pub filesystem_uuids: Vec<Option<String>>,
    /// The installed system's tree while it is mounted.
    pub target: Option<target::Target>,
    /// Where GRUB's things were put, once they are there.
    pub boot_folder: Option<bootconfig::BootFolder>,
    /// What became of each image (index as in the plan).
    pub images: Vec<Option<ImageOutcome>>,
}

/// Everything that performing a step may use.
pub struct Context<'a> {
    /// What is being done.
    pub plan: &'a Plan,
    /// The machine.
    pub host: &'a mut Host,
    /// Who hears of it.
    pub events: &'a dyn Events,
    /// Where things are.
    pub options: &'a Options,
    /// What was found out so far.
    pub state: &'a mut State,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The node of something that holds a filesystem, a physical volume or an array member, as it is now.
    pub fn node(&self, on: BlockRef) -> Result<PathBuf, Error> {
        match on {
            BlockRef::Partition { disk, number } => {
                let disk = Path::new(&self.plan.disks[disk].device);
                self.host.devices.partition(disk, number).map_err(|source| {
                    Error::new(
                        crate::error::Kind::Disk,
                        format!("cannot find partition {number} of {}", disk.display()),
                    )
                    .device(disk.display())
                    .because(source)
                })
            }
            BlockRef::Raid(raid) => Ok(PathBuf::from(&self.plan.raids[raid].device)),
            BlockRef::Logical(volume) => {
                Ok(PathBuf::from(&self.plan.logical_volumes[volume].device))
            }
            // Such a plan is refused long before: nothing is written to what the request does not make.
            BlockRef::Undefined(_) => Err(Error::new(
                crate::error::Kind::Internal,
                "a step is about a device that the request names without making it",
            )),
        }
    }

    /// Whether the disk is a regular file that stands for one.
    pub fn is_file(&self, disk: usize) -> bool {
        self.host
            .devices
            .is_file(Path::new(&self.plan.disks[disk].device))
    }
}

/// Performs one step.
pub fn perform(step: &PlannedStep, context: &mut Context<'_>) -> Result<Outcome, Error> {
    if matches!(
        step.step,
        Step::WriteFstab | Step::WriteIdentity | Step::WriteBootConfig
    ) {
        target::ensure(context, host::mount::MountMode::Write)?;
    }
    match &step.step {
        Step::StopRaid { device, .. } => release::stop_raid(context, device),
        Step::DeactivateVolumeGroup { name } => release::deactivate_volume_group(context, name),
        Step::CloseMapping { name } => release::close_mapping(context, name),
        Step::Disarm { disk, areas } => disarm::disarm(context, *disk, areas),
        Step::Wipe { disk, extents } => table::wipe(context, *disk, extents),
        Step::WriteTable { disk } => table::write(context, *disk),
        Step::MakeRaid { raid } => raid::make(context, *raid),
        Step::MakePhysicalVolume { physical_volume } => {
            lvm::make_physical_volume(context, *physical_volume)
        }
        Step::MakeVolumeGroup { volume_group } => lvm::make_volume_group(context, *volume_group),
        Step::MakeLogicalVolume { logical_volume } => {
            lvm::make_logical_volume(context, *logical_volume)
        }
        Step::ActivateKept => release::activate_kept(context),
        Step::MakeFilesystem { filesystem } => filesystem::make(context, *filesystem),
        Step::WriteImage { image } => image::write(context, *image),
        Step::GrowFilesystem { filesystem } => filesystem::grow(context, *filesystem),
        Step::MoveContent { from, to, path } => content::relocate(context, *from, *to, path),
        Step::WriteFstab => fstab::write(context),
        Step::WriteIdentity => identity::write(context),
        Step::WriteBootConfig => bootconfig::write(context),
        Step::WriteConfigdrive { on } => configdrive::write(context, *on),
        Step::Verify => verify::verify(context),
        Step::InstallBootcode { disk } => bootcode::install(context, *disk),
        Step::WriteStamp { disk } => stamp::write(context, *disk),
    }
}
