//! What the steps share: the plan and the machine, what earlier steps found out, and the ways to open, run and wait.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::blockdev::{Access, BlockDevice, DiskChanged};
use host::exec::{Cmd, ExecError, Output};
use host::{Host, wait};

use super::outcome::Outcome;
use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::index::{DiskIndex, FilesystemIndex, ImageIndex};
use crate::model::report::ImageOutcome;
use crate::model::stage::Stage;
use crate::model::storage::BlockRef;
use crate::plan::approve::ApprovedPlan;
use crate::tools::Tool;

/// Apply's settings beside the plan: where things are on this machine, and how careful to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for mounts and temporary files of this run; exists, and no other process uses it.
    pub work: PathBuf,
    /// Folder of GRUB's platforms: `i386-pc/`, `x86_64-efi/`.
    pub grub: PathBuf,
    /// Images without a digest may be written.
    pub allow_unverified: bool,
    /// Policy for packed images.
    pub packed: crate::source::policy::PackedPolicy,
    /// Timeouts, retries and trust for HTTP.
    pub http: crate::http::HttpSettings,
}

/// What steps find out that later steps need.
#[derive(Debug, Default)]
pub struct State {
    /// Whether any chosen disk has been written to.
    pub touched: bool,
    /// Real UUID of each filesystem of the plan that is there.
    pub filesystem_uuids: BTreeMap<FilesystemIndex, String>,
    /// The installed system's tree while it is mounted.
    pub target: Option<Target>,
    /// Where GRUB's things were put, once they are there.
    pub boot_folder: Option<BootFolder>,
    /// What became of each image that was written.
    pub images: BTreeMap<ImageIndex, ImageOutcome>,
}

/// The installed system's filesystems, mounted below one folder in the order of their depth.
#[derive(Debug)]
pub struct Target {
    /// Where `/` of the installed system is now.
    pub root: PathBuf,
    /// Mount points below it, in the order they were mounted; unmounted in reverse.
    pub mounts: Vec<PathBuf>,
}

/// Where GRUB finds its things once the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFolder {
    /// UUID of the filesystem they are in.
    pub uuid: String,
    /// Path of GRUB's folder within that filesystem.
    pub path: String,
    /// Path of GRUB's folder in the installed system, without leading slash.
    pub in_tree: String,
}

/// Everything that performing a step may use.
pub struct Context<'a> {
    /// The approved plan that the steps belong to.
    pub plan: &'a ApprovedPlan,
    /// The machine.
    pub host: &'a mut Host,
    /// Receives progress and warnings.
    pub events: &'a dyn Events,
    /// Paths and policies on this machine.
    pub options: &'a Options,
    /// Results of earlier steps that later ones need.
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
            BlockRef::Raid(raid) => Ok(PathBuf::from(&self.plan[raid].device)),
            BlockRef::Logical(volume) => Ok(PathBuf::from(&self.plan[volume].device)),
            // Such a plan is refused long before: nothing is written to what the request does not make.
            BlockRef::Undefined(_) => {
                let what = "a step is about a device that the request names without making it";
                Err(Error::new(Kind::Internal, what))
            }
        }
    }

    /// Device node of a disk.
    pub fn disk(&self, disk: DiskIndex) -> &'a Path {
        Path::new(&self.plan[disk].device)
    }

    /// Whether the disk is a regular file that stands for one.
    pub fn is_file(&self, disk: DiskIndex) -> bool {
        self.host.devices.is_file(self.disk(disk))
    }

    /// Whether any of the disks is a regular file: then nothing can be mounted, mapped or assembled.
    pub fn on_files(&self) -> bool {
        self.plan.disks().any(|(disk, _)| self.is_file(disk))
    }

    /// The outcome of a step that needs a mount, device-mapper or md, where disks are regular files.
    pub(super) fn skipped_on_files(&self, why: &str) -> Option<Outcome> {
        self.on_files().then(|| Outcome::Skipped {
            why: format!("a disk is a regular file, and {why}"),
        })
    }

    /// Opens a node, for a purpose that the error names: `cannot PURPOSE NODE`.
    pub(super) fn open(
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
    pub(super) fn run(
        &mut self,
        cmd: &Cmd,
        what: impl FnOnce() -> String,
    ) -> Result<Output, Error> {
        self.ask(cmd).map_err(|source| tool_error(what(), source))
    }

    /// Runs a tool, again and again while another program holds the device that it is for.
    pub(super) fn ask(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        let host = &mut *self.host;
        wait::run_while_busy(host.exec.as_mut(), cmd, HELD_PATIENCE, &host.cancel)
    }

    /// Warns and goes on.
    pub(super) fn warn(&self, stage: Stage, message: String) {
        let stage = Some(stage);
        self.events.emit(&Event::Warning { stage, message });
    }

    /// Fails with `Interrupted` once the run is cancelled.
    pub(super) fn check_cancel(&self) -> Result<(), Error> {
        if self.host.cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped as asked"));
        }
        Ok(())
    }

    /// Lets udev come to rest, so that it holds nothing that is about to be changed, and has seen what was. Where there
    /// is no udev there is nothing to wait for.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
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
    pub(super) fn await_node(&self, node: &Path) -> Result<(), Error> {
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

/// How long a program that opens every new device may hold one that a tool is to change.
const HELD_PATIENCE: Duration = Duration::from_secs(30);

/// How long a node may take to appear.
pub(super) const NODE_PATIENCE: Duration = Duration::from_secs(30);

/// Whether a node is not there, or nothing is behind it.
pub(crate) fn is_not_there(error: &io::Error) -> bool {
    // ENODEV and ENXIO: the node is there already, what it stands for is not.
    const NODEV: i32 = 19;
    const NXIO: i32 = 6;
    error.kind() == io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(NODEV | NXIO))
}

/// Why a device could not be opened for writing: above all, that it is in use or cannot be written to.
pub(crate) fn not_opened(device: &Path, error: io::Error) -> Error {
    let (kind, why, hint) = match error.kind() {
        _ if DiskChanged::is(&error) => (Kind::Refused, "is another disk now", DISK_CHANGED_HINT),
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

/// What to do where the path of a chosen disk leads to another one.
const DISK_CHANGED_HINT: &str = "nothing was written to the other disk; look why the chosen one disappeared (`dmesg`: \
     cabling, a reset of its controller), and run again";

/// An error of a disk from one of the kernel. Another disk in its place is not written to: that is a refusal.
pub(crate) fn disk_error(what: String, device: &Path) -> impl FnOnce(io::Error) -> Error {
    let device = device.display().to_string();
    move |source| {
        if DiskChanged::is(&source) {
            let refused = Error::new(Kind::Refused, what).hint(DISK_CHANGED_HINT);
            return refused.device(device).because(source);
        }
        Error::new(Kind::Disk, what).device(device).because(source)
    }
}

/// An error from one of a tool.
pub(super) fn tool_error(what: String, source: ExecError) -> Error {
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
