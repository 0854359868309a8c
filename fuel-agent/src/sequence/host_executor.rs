//! The real [`Executor`]: what holds the host, the lock and the way to the orchestrator.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use host::Host;
use host::blockdev::{Access, BlockDevice};
use host::cancel::Cancel;
use host::lock::{Lock, LockError};
use host::mount::{KernelMounts, Mounts};
use host::power::{self, PowerAction, end_machine};
use host::remove_tree::remove_folder;

use super::completion::Call;
use super::executor::{Executor, Geometry};
use super::rundir::RunDir;
use super::small_file::room_for;
use crate::apply::context::{Context, State};
use crate::apply::outcome::{Outcome, StepRun};
use crate::apply::undo::{self, Acquired};
use crate::apply::{self, bootcode, stamp};
use crate::events::Events;
use crate::http;
use crate::model::error::{Error, Kind};
use crate::model::plan::Plan;
use crate::model::report::ReverifiedImage;
use crate::model::step::PlannedStep;
use crate::plan::approve::ApprovedPlan;
use crate::settings::End;

/// What a run writes into its folder, at most, where disks are disks: core images of GRUB, log and report.
const WORK_ROOM: usize = 4 << 20;

/// Holds what can change the machine.
pub struct HostExecutor<'a> {
    host: LazyHost,
    events: &'a dyn Events,
    options: apply::context::Options,
    folder: &'a RunDir,
    cancel: Cancel,
    lock: Option<Lock>,
    /// What this run made or took up, in that order.
    made: Vec<Acquired>,
}

/// The host, made when it is first needed: files that stand for disks are made with it, and nothing is to be made
/// before the request has been validated.
enum LazyHost {
    NotYet(Box<dyn Fn() -> Result<Host, Error>>),
    Made(Host),
}

impl LazyHost {
    fn host(&mut self) -> Result<&mut Host, Error> {
        if let Self::NotYet(make) = self {
            *self = Self::Made(make()?);
        }
        match self {
            Self::Made(host) => Ok(host),
            Self::NotYet(_) => Err(Error::new(Kind::Internal, "the host is not set up")),
        }
    }
}

impl<'a> HostExecutor<'a> {
    /// An executor that will hold the host that `make` makes; nothing is done yet.
    pub fn new(
        make: impl Fn() -> Result<Host, Error> + 'static,
        events: &'a dyn Events,
        options: apply::context::Options,
        folder: &'a RunDir,
        cancel: Cancel,
    ) -> Self {
        Self {
            host: LazyHost::NotYet(Box::new(make)),
            events,
            options,
            folder,
            cancel,
            lock: None,
            made: Vec::new(),
        }
    }

    fn remove_work(&self) -> Option<Error> {
        let error = remove_folder(&self.options.work).err()?;
        let what = format!("cannot remove {}", self.options.work.display());
        Some(Error::new(Kind::Internal, what).because(error))
    }
}

fn geometry_of(device: &dyn BlockDevice) -> Geometry {
    Geometry {
        size: device.size(),
        sector_size: device.sector_size(),
    }
}

/// Unmounts whatever is mounted below a folder, the last first.
fn unmount_below(folder: &Path, mounts: &mut dyn Mounts) -> Vec<Error> {
    let mounted = match mounts.mounted() {
        Ok(mounted) => mounted,
        Err(error) => {
            let what = "cannot find out what is mounted";
            return vec![Error::new(Kind::Disk, what).because(error)];
        }
    };
    let ours = mounted
        .into_iter()
        .rev()
        .filter(|(_, target)| target.starts_with(folder));
    ours.filter_map(|(device, target)| {
        let error = mounts.unmount(&target).err()?;
        let what = format!("cannot unmount {}", target.display());
        Some(Error::new(Kind::Disk, what).device(device).because(error))
    })
    .collect()
}

impl std::fmt::Debug for HostExecutor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// Why this machine's lock was not given, for people.
pub(crate) fn lock_error(error: LockError) -> Error {
    match error {
        LockError::Held { holder, .. } => {
            let by = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Error::new(Kind::Refused, format!("another agent is running{by}"))
                .hint("`provision status` shows its progress; wait for its end, or stop it")
                .retryable()
        }
        LockError::Io { .. } => Error::new(Kind::Internal, "cannot take the lock of this machine")
            .because(error)
            .hint("check whether its folder is full or read-only (`df`, `mount`)"),
    }
}

impl Executor for HostExecutor<'_> {
    fn begin(&mut self) -> Result<(), Error> {
        self.lock = Some(Lock::acquire(&self.folder.lock()).map_err(lock_error)?);
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Error> {
        // An earlier run that was killed may have left mounts; they would hold the disks.
        let left = unmount_below(&self.options.work, &mut KernelMounts);
        super::discovery::combine("cannot clear away an earlier run", left)?;
        if let Some(error) = self.remove_work() {
            return Err(error);
        }
        let work = &self.options.work;
        let made = fs::create_dir(work)
            .and_then(|()| self.folder.reserve())
            .and_then(|()| room_for(&work.join("room"), WORK_ROOM));
        made.map_err(|error| {
            let what = format!(
                "not enough space for the work files of a run in {}",
                work.display()
            );
            Error::new(Kind::Internal, what)
                .because(error)
                .hint("`df` shows what is full; nothing was touched")
        })
    }

    fn installed(&mut self, plan: &Plan) -> Result<Option<String>, Error> {
        let devices = self.host.host()?.devices.as_ref();
        let failed = |error: io::Error| {
            Error::new(Kind::Disk, "cannot find out whether the node is installed").because(error)
        };
        let mut instance = None;
        for disk in plan.disks.iter().filter(|disk| disk.bootloader) {
            let device = devices
                .open(Path::new(&disk.device), Access::Read)
                .map_err(failed)?;
            match stamp::read(device.as_ref()).map_err(failed)? {
                Some(stamp) if stamp.is_of(plan) => instance = Some(stamp.instance_id),
                _ => return Ok(None),
            }
        }
        let armed = bootcode::is_armed(plan, devices).map_err(failed)?;
        Ok(instance.filter(|_| armed))
    }

    fn reverify(&mut self, plan: &Plan) -> Result<Vec<(ReverifiedImage, Option<Error>)>, Error> {
        apply::reverify::reverify(plan, self.host.host()?, &self.options, self.events)
    }

    fn hold(&mut self, disk: &Path) -> Result<(), Error> {
        match self.host.host()?.devices.hold(disk) {
            Err(error) if !apply::context::is_not_there(&error) => {
                let what = format!("cannot open {}", disk.display());
                Err(apply::context::disk_error(what, disk)(error))
            }
            _ => Ok(()),
        }
    }

    fn probe_exclusive(&mut self, disk: &Path) -> Result<Geometry, Error> {
        let opened = self.host.host()?.devices.open(disk, Access::Exclusive);
        let device = opened.map_err(|error| apply::context::not_opened(disk, error))?;
        if device.read_only() {
            let error = io::ErrorKind::ReadOnlyFilesystem.into();
            return Err(apply::context::not_opened(disk, error));
        }
        Ok(geometry_of(device.as_ref()))
    }

    fn geometry(&mut self, disk: &Path) -> Result<Geometry, Error> {
        let opened = self.host.host()?.devices.open(disk, Access::Read);
        let what = || format!("cannot open {}", disk.display());
        let device = opened.map_err(|error| apply::context::disk_error(what(), disk)(error))?;
        Ok(geometry_of(device.as_ref()))
    }

    fn probe_kept(&mut self, plan: &ApprovedPlan, state: &mut State) -> Result<(), Error> {
        let mut context = Context {
            plan,
            host: self.host.host()?,
            events: self.events,
            options: &self.options,
            state,
        };
        apply::probe::kept_partitions(&mut context)
    }

    fn step(
        &mut self,
        plan: &ApprovedPlan,
        step: &PlannedStep,
        state: &mut State,
    ) -> Result<Outcome, Error> {
        // Noted before it is tried: half a success may have to be released too.
        let before = self.made.len();
        for made in undo::made_by(&step.step, plan) {
            if !self.made.contains(&made) {
                self.made.push(made);
            }
        }
        let mut context = Context {
            plan,
            host: self.host.host()?,
            events: self.events,
            options: &self.options,
            state,
        };
        let result = apply::perform(step, &mut context);
        // What was not made here must not be released: this machine may have one of the same name.
        if let Ok(Outcome::Skipped { .. }) = result {
            self.made.truncate(before);
        }
        result
    }

    fn together(
        &mut self,
        plan: &ApprovedPlan,
        steps: &[&PlannedStep],
        state: &mut State,
    ) -> Vec<StepRun> {
        let host = match self.host.host() {
            Ok(host) => host,
            Err(error) => return StepRun::none_of(steps.len(), error),
        };
        let mut context = Context {
            plan,
            host,
            events: self.events,
            options: &self.options,
            state,
        };
        apply::perform_together(steps, &mut context)
    }

    fn disarm_again(&mut self, plan: &ApprovedPlan) -> Vec<Error> {
        match self.host.host() {
            Ok(host) => bootcode::disarm_again(plan, host),
            Err(error) => vec![error],
        }
    }

    fn clean_up(&mut self, plan: Option<&ApprovedPlan>, state: &mut State) -> Vec<Error> {
        state.target = None;
        let mut errors = match &mut self.host {
            LazyHost::Made(host) => unmount_below(&self.options.work, host.mounts.as_mut()),
            LazyHost::NotYet(_) => Vec::new(),
        };
        if let (LazyHost::Made(host), Some(plan)) = (&mut self.host, plan) {
            let mut context = Context {
                plan,
                host,
                events: self.events,
                options: &self.options,
                state,
            };
            for made in std::mem::take(&mut self.made).into_iter().rev() {
                errors.extend(undo::release(&mut context, made).err());
            }
        }
        // A folder with something mounted in it must not be emptied: that would empty what is mounted.
        if errors.is_empty() {
            errors.extend(self.remove_work());
        }
        errors
    }

    fn notify(&mut self, call: &Call, budget: Duration) -> Result<(), Error> {
        // The run's own flag stops nothing any more once clean-up has begun; a signal that comes now ends the call.
        let stop = Cancel::new();
        stop.on_signals().map_err(|error| {
            Error::new(Kind::Internal, "cannot listen to signals").because(error)
        })?;
        if self.cancel.is_cancelled() {
            return Err(http::HttpError::Cancelled.into());
        }
        let client = http::Client::new(&self.options.http, stop)?;
        let accepted = http::notify(&client, &call.notice(), budget)?;
        tracing::info!(
            status = accepted.status,
            attempts = accepted.attempts,
            "accepted"
        );
        Ok(())
    }

    fn end(&mut self, action: End) -> Result<(), Error> {
        end(action)
    }
}

/// Reboots or switches off, at once. Returns only where that cannot be done, or is not asked for.
pub fn end(end: End) -> Result<(), Error> {
    let action = match end {
        End::None => return Ok(()),
        End::Reboot => PowerAction::Reboot,
        End::Poweroff => PowerAction::PowerOff,
        // An installation of an earlier run, or a kernel that could not be loaded: that was reported then.
        End::Kexec if !power::next_kernel_is_loaded() => PowerAction::Reboot,
        End::Kexec => PowerAction::Kexec,
    };
    match end_machine(action) {
        Ok(never) => match never {},
        Err(error) => Err(Error::new(Kind::Internal, "cannot end this machine")
            .because(error)
            .hint("reboot it by hand: it is installed")),
    }
}
