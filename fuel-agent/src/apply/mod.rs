//! Effects without decisions: one file per kind of step.
//!
//! ```text
//!   release                    letting go of what lies on the chosen disks
//!   disarm                     nothing on them boots any more
//!   table, gpt          old signatures, partition tables, the kernel's view of them
//!   raid, lvm                  arrays, volume groups, volumes
//!   filesystem, scratch        made, grown; on files by way of a file of their own
//!   signature                  what blkid finds on a device
//!   image, content             image bytes onto their device, archives into their filesystem; what lies under a mount point into its filesystem
//!   target                     the installed system's tree, mounted
//!   fstab, identity, bootconfig, configdrive      files written into it, and beside it
//!   verify                     everything read back
//!   bootcode, stamp            what makes the node bootable, last
//!   undo                       letting go of what was made, at the end of the run
//! ```
//!
//! `perform` matches on the step and calls the file that knows how; whatever is decided was decided in `plan`.

pub mod bootcode;
pub mod bootconfig;
pub mod configdrive;
pub mod content;
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
pub mod partition_table;
pub mod raid;
pub mod release;
#[cfg(test)]
pub(crate) mod sample;
mod signature;
mod staging;
pub mod stamp;
#[cfg(test)]
pub(crate) mod step_harness;
pub mod target;
mod target_tree;
pub mod undo;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::blockdev::{Access, BlockDevice};
use host::exec::{Cmd, ExecError, Output};
use host::{Host, wait};

use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::report::ImageOutcome;
use crate::model::stage::Stage;
use crate::model::step::{PlannedStep, Step};
use crate::model::storage::BlockRef;
use crate::plan::approve::ApprovedPlan;
use crate::tools::Tool;

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

/// How a step ended.
#[derive(Debug)]
pub enum StepResult {
    /// It was performed.
    Done(Outcome),
    /// It failed.
    Failed(Error),
    /// It was performed at the same time as one that failed, and stopped for that.
    Stopped,
}

impl From<Result<Outcome, Error>> for StepResult {
    fn from(result: Result<Outcome, Error>) -> Self {
        match result {
            Ok(outcome) => Self::Done(outcome),
            Err(error) => Self::Failed(error),
        }
    }
}

/// A step that was performed, if only in part.
#[derive(Debug)]
pub struct StepRun {
    /// How it ended.
    pub ending: StepResult,
    /// How long it took.
    pub took: Duration,
}

impl StepRun {
    /// For each of several steps that could not even begin for the same reason: the first failed, the others stopped.
    pub(crate) fn none_of(count: usize, error: Error) -> Vec<Self> {
        let others = (1..count).map(|_| StepResult::Stopped);
        let results = std::iter::once(StepResult::Failed(error)).chain(others);
        results
            .map(|ending| Self {
                ending,
                took: Duration::ZERO,
            })
            .collect()
    }
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
    /// What holds for packed images.
    pub packed: crate::source::policy::PackedPolicy,
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
    pub plan: &'a ApprovedPlan,
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

impl<'a> Context<'a> {
    /// The node of something that holds a filesystem, a physical volume or an array member, as it is now.
    pub fn node(&self, on: BlockRef) -> Result<PathBuf, Error> {
        match on {
            BlockRef::Partition { disk, number } => {
                let disk = self.disk(disk);
                let node = self.host.devices.partition(disk, number);
                node.map_err(|source| {
                    let what = format!("cannot find partition {number} of {}", disk.display());
                    disk_error(what, disk)(source)
                })
            }
            BlockRef::Raid(raid) => Ok(PathBuf::from(&self.plan.raids[raid].device)),
            BlockRef::Logical(volume) => {
                Ok(PathBuf::from(&self.plan.logical_volumes[volume].device))
            }
            // Such a plan is refused long before: nothing is written to what the request does not make.
            BlockRef::Undefined(_) => {
                let what = "a step is about a device that the request names without making it";
                Err(Error::new(Kind::Internal, what))
            }
        }
    }

    /// The node of a disk.
    pub fn disk(&self, disk: usize) -> &'a Path {
        Path::new(&self.plan.disks[disk].device)
    }

    /// Whether the disk is a regular file that stands for one.
    pub fn is_file(&self, disk: usize) -> bool {
        self.host.devices.is_file(self.disk(disk))
    }

    /// Whether any of the disks is a regular file: then nothing can be mounted, mapped or assembled.
    pub fn on_files(&self) -> bool {
        (0..self.plan.disks.len()).any(|disk| self.is_file(disk))
    }

    /// The outcome of a step that needs a mount, device-mapper or md, where disks are regular files.
    fn skipped_on_files(&self, why: &str) -> Option<Outcome> {
        self.on_files().then(|| Outcome::Skipped {
            why: format!("a disk is a regular file, and {why}"),
        })
    }

    /// Opens a node, for a purpose that the error names: `cannot PURPOSE NODE`.
    fn open(
        &self,
        node: &Path,
        access: Access,
        purpose: &str,
    ) -> Result<Box<dyn BlockDevice>, Error> {
        let what = format!("cannot {purpose} {}", node.display());
        let opened = self.host.devices.open(node, access);
        opened.map_err(disk_error(what, node))
    }

    /// Runs a tool; `what` could not be done where it fails.
    fn run(&mut self, cmd: &Cmd, what: impl FnOnce() -> String) -> Result<Output, Error> {
        self.ask(cmd).map_err(|source| tool_error(what(), source))
    }

    /// Runs a tool, again and again while another program holds the device that it is for.
    fn ask(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        let host = &mut *self.host;
        wait::run_while_busy(host.exec.as_mut(), cmd, HELD_PATIENCE, &host.cancel)
    }

    /// Says that something is odd and goes on.
    fn warn(&self, stage: Stage, message: String) {
        let stage = Some(stage);
        self.events.tell(&Event::Warning { stage, message });
    }

    /// Stops where somebody has asked for it.
    fn check_cancel(&self) -> Result<(), Error> {
        if self.host.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped as asked"));
        }
        Ok(())
    }

    /// Lets udev come to rest, so that it holds nothing that is about to be changed, and has seen what was. Where there is
    /// no udev there is nothing to wait for.
    fn settle(&mut self) -> Result<(), Error> {
        if self.host.exec.find(Tool::Udevadm.into()).is_none() {
            return Ok(());
        }
        // Status 1 is its own time limit: something else is slow, and whatever that holds shows where it matters.
        let cmd = Cmd::new(Tool::Udevadm)
            .args(["settle", "--timeout=60"])
            .accept(&[0, 1])
            .timeout(Duration::from_secs(90));
        self.run(&cmd, || "cannot wait for udev".to_owned())
            .map(drop)
    }

    /// Waits until a node can be opened: md and device-mapper make theirs a moment after the tool has ended.
    fn await_node(&self, node: &Path) -> Result<(), Error> {
        let found = wait::until_or_cancelled(NODE_PATIENCE, &self.host.cancel, || {
            match self.host.devices.open(node, Access::Read) {
                Ok(_) => Ok(Some(())),
                Err(error) if is_not_there(&error) => Ok(None),
                Err(error) => Err(error),
            }
        });
        found.map_err(|source| {
            if source.kind() == io::ErrorKind::Interrupted {
                return Error::new(Kind::Interrupted, "stopped as asked");
            }
            disk_error(format!("{} does not appear", node.display()), node)(source)
        })
    }
}

/// How long a program that looks at every new device may hold one that a tool is to change.
const HELD_PATIENCE: Duration = Duration::from_secs(30);

/// How long a node may take to appear.
const NODE_PATIENCE: Duration = Duration::from_secs(30);

/// Whether a node is not there, or nothing is behind it.
fn is_not_there(error: &io::Error) -> bool {
    // ENODEV and ENXIO: the node is there already, what it stands for is not.
    const NODEV: i32 = 19;
    const NXIO: i32 = 6;
    error.kind() == io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(NODEV | NXIO))
}

/// Why a device could not be opened for writing: above all, that it is in use or cannot be written to.
pub(crate) fn not_opened(device: &Path, error: io::Error) -> Error {
    let (kind, why, hint) = match error.kind() {
        io::ErrorKind::ResourceBusy => (
            Kind::Refused,
            "is in use",
            "unmount it, stop what is stacked on it (`lsblk` shows both), or choose another one",
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => (
            Kind::Refused,
            "is read-only",
            "clear its write protection (`blockdev --setrw`, or a switch on it), or choose another one",
        ),
        _ => (
            Kind::Disk,
            "cannot be opened for writing",
            "look for errors of this disk in the kernel log (`dmesg`)",
        ),
    };
    Error::new(kind, format!("{} {why}", device.display()))
        .device(device.display())
        .because(error)
        .hint(hint)
}

/// An error of a disk from one of the kernel.
fn disk_error(what: String, device: &Path) -> impl FnOnce(io::Error) -> Error {
    let device = device.display().to_string();
    move |source| Error::new(Kind::Disk, what).device(device).because(source)
}

/// An error from one of a tool.
fn tool_error(what: String, source: ExecError) -> Error {
    let hint = match &source {
        ExecError::Missing { program } => Some(format!(
            "put the package `{}` into the ramdisk",
            program.package()
        )),
        held if held.is_busy() => Some(
            "look what holds the device (`lsblk`, `fuser --verbose`), and run again".to_owned(),
        ),
        _ => None,
    };
    let kind = match &source {
        ExecError::Cancelled { .. } => Kind::Interrupted,
        _ => Kind::Tool,
    };
    let error = Error::new(kind, what).because(source);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Performs steps that go together: those that write images. One [`StepRun`] for each, in their order; where any failed,
/// one is [`StepResult::Failed`] and it is the first that did.
pub fn perform_together(steps: &[&PlannedStep], context: &mut Context<'_>) -> Vec<StepRun> {
    let images = steps.iter().map(|planned| planned.step.image());
    if let Some(images) = images.collect::<Option<Vec<usize>>>() {
        return image::write_together(context, &images);
    }
    // the plan's own check refuses it
    let error = Error::new(Kind::Internal, "only images are written at the same time");
    StepRun::none_of(steps.len(), error)
}

/// Performs one step.
pub fn perform(step: &PlannedStep, context: &mut Context<'_>) -> Result<Outcome, Error> {
    match &step.step {
        Step::StopRaid { device, .. } => release::stop_raid(context, device),
        Step::DeactivateVolumeGroup { name } => release::deactivate_volume_group(context, name),
        Step::CloseMapping { name } => release::close_mapping(context, name),
        Step::Disarm { disk, areas } => disarm::disarm(context, *disk, areas),
        Step::Wipe { disk, extents } => partition_table::wipe(context, *disk, extents),
        Step::WriteTable { disk } => partition_table::write(context, *disk),
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
        Step::WriteImage { image, .. } => image::write(context, *image),
        Step::UnpackArchive { image } => image::unpack(context, *image),
        Step::GrowFilesystem { filesystem } => filesystem::grow(context, *filesystem),
        Step::MoveContent { from, to, path } => content::relocate(context, *from, *to, path),
        Step::WriteFstab => target::within(context, fstab::write),
        Step::WriteIdentity => target::within(context, identity::write),
        Step::WriteBootConfig => target::within(context, bootconfig::write),
        Step::LoadKernel => target::within(context, bootconfig::load_next),
        Step::WriteConfigdrive { on } => configdrive::write(context, *on),
        Step::Verify => verify::verify(context),
        Step::InstallBootcode { disk } => bootcode::install(context, *disk),
        Step::WriteStamp { disk } => stamp::write(context, *disk),
    }
}

#[cfg(test)]
mod tests {
    use super::step_harness::StepHarness;
    use super::*;

    #[test]
    fn every_step_of_a_group_has_a_result_although_none_could_begin() {
        let mut harness = StepHarness::new();
        for steps in [
            vec![Step::WriteFstab, Step::WriteIdentity, Step::Verify],
            vec![
                Step::WriteImage {
                    image: 0,
                    with_previous: false,
                },
                Step::WriteFstab,
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
