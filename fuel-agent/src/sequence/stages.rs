//! What each stage of a run does: the rehearsal first, then the steps of the plan, then what undoes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::cancel::Cancel;

use super::discovery::combine;
use super::executor::Executor;
use super::machine::Machine;
use super::preflight::Preflight;
use super::report_file::ReportFile;
use super::rundir::RunDir;
use super::state_file::StateFile;
use super::steps::{Execution, StepContext};
use super::{RunOutcome, StageHandler, changed, guarded};
use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::report::{Report, ReverifiedImage};
use crate::model::stage::Stage;
use crate::settings::{End, Settings};

/// Settings, paths and identity of a run.
#[derive(Debug)]
pub struct RunContext<'a> {
    /// Settings of the run.
    pub settings: &'a Settings,
    /// Run folder, which holds its state.
    pub folder: &'a RunDir,
    /// The state file, which `status` reads.
    pub state_file: &'a StateFile,
    /// Second path of the report.
    pub report: Option<PathBuf>,
    /// Identity of the machine.
    pub machine: Machine,
    /// Whether the request was fetched by the node itself.
    pub pulled: bool,
    /// When it began, as RFC 3339.
    pub started: String,
    /// Set by SIGTERM.
    pub cancel: Cancel,
}

/// A whole run, as a handler of its stages.
pub struct Run<'a> {
    pub(super) preflight: Preflight<'a>,
    pub(super) executor: &'a mut dyn Executor,
    pub(super) events: &'a dyn Events,
    pub(super) about: RunContext<'a>,
    pub(super) began: Instant,
    pub(super) progress: Progress,
    pub(super) last_report: Option<Report>,
}

/// How far a run has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) execution: Execution,
    /// The node already is what is asked for, and this is its `instance-id`.
    pub(super) installed: Option<String>,
    /// What `reverify` found on the disks of a node that is installed by its stamp.
    pub(super) reverified: Vec<ReverifiedImage>,
    /// The lock on the run folder is held.
    pub(super) locked: bool,
    /// Another agent has it.
    pub(super) locked_out: bool,
    /// Where the report goes beside the run's folder, once that was found out.
    pub(super) report_file: Option<ReportFile>,
}

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub fn new(
        preflight: Preflight<'a>,
        executor: &'a mut dyn Executor,
        about: RunContext<'a>,
    ) -> Self {
        Self {
            events: preflight.events,
            preflight,
            executor,
            about,
            began: Instant::now(),
            progress: Progress::default(),
            last_report: None,
        }
    }

    /// The report, once the stage of that name was there.
    pub const fn last_report(&self) -> Option<&Report> {
        self.last_report.as_ref()
    }

    fn init(&mut self) -> Result<(), Error> {
        let begun = self.executor.begin();
        if let Err(error) = &begun {
            self.progress.locked_out = error.kind == Kind::Refused;
        }
        begun?;
        self.progress.locked = true;
        self.about.state_file.begin().map_err(|error| {
            let path = self.about.folder.state_file();
            let what = format!("cannot write the state of the run to {}", path.display());
            Error::new(Kind::Internal, what)
                .because(error)
                .hint("`df` shows what is full; nothing was touched")
        })?;
        self.executor.make_room()?;
        // A node that is installed must not end as a failure because the orchestrator cannot be reached.
        let Some(path) = &self.about.report else {
            return Ok(());
        };
        let found = ReportFile::find(path).map_err(|error| {
            let what = format!("the report cannot be written to {}", path.display());
            Error::new(Kind::Usage, what)
                .because(error)
                .hint("name another file with `--report`, or make room")
        });
        self.progress.report_file = Some(found?);
        Ok(())
    }

    fn setup(&mut self) -> Result<(), Error> {
        let request = self.preflight.known.request()?;
        self.about.state_file.request(&request.digest);
        // A completion that an earlier run left pending: this run will send a newer one.
        self.set_pending(None)
    }

    fn validate(&mut self) -> Result<(), Error> {
        let plan = self.preflight.known.plan()?;
        let mut unknown = plan.images.iter().filter(|image| !image.facts.has_digest());
        if let (Some(image), false) = (unknown.next(), self.about.settings.allow_unverified) {
            // What was looked up and has none is refused by the plan; this one was never looked up.
            let what = format!("{} was not checked (`--offline`)", image.url);
            return Err(Error::new(Kind::Image, what)
                .hint("run without `--offline`, or allow it with `--allow-unverified`"));
        }
        let may_skip = self.about.pulled && !self.about.settings.reinstall;
        if may_skip {
            let installed = self.executor.installed(plan)?;
            if installed.is_some() && self.is_as_written()? {
                self.progress.installed = installed;
            }
        }
        if let Some(instance) = &self.progress.installed {
            self.events.emit(&Event::Note {
                stage: Stage::Validate,
                message: format!(
                    "result: already-installed: the stamp names this request and these images (instance {instance}); \
                     nothing is written"
                ),
            });
        }
        Ok(())
    }

    /// The last check before the first write: nothing may have changed, and nothing else may hold a disk.
    fn prepare(&mut self) -> Result<(), Error> {
        let known = &mut self.preflight.known;
        let (request, before) = (known.request()?, known.inventory()?);
        // Before the last look: what that finds is what is held.
        for disk in &known.plan()?.disks {
            self.executor.hold(Path::new(&disk.device))?;
        }
        let now = self.preflight.discovery.inventory(request)?;
        let real = self.preflight.discovery.reality()?;
        let execution = &mut self.progress.execution;
        let plan = execution.approve(known.plan()?, before, &now, real.as_ref())?;
        let lines = changed::overwritten(&plan, before);
        for (index, what) in lines.iter().enumerate() {
            self.events.emit(&Event::Step {
                stage: Stage::Prepare,
                number: index + 1,
                of: lines.len(),
                what: what.clone(),
            });
        }
        execution.claim(&plan, before, &mut *self.executor)?;
        self.executor.probe_kept(&plan, &mut execution.state)
    }

    /// Performs the plan's steps of a stage.
    fn steps(&mut self, stage: Stage) -> Result<(), Error> {
        let mut context = StepContext {
            executor: &mut *self.executor,
            events: self.events,
            cancel: &self.about.cancel,
        };
        let execution = &mut self.progress.execution;
        execution.perform(|step| step.stage == stage, &mut context)
    }

    fn clean_up(&mut self, so_far: &RunOutcome) -> Result<(), Error> {
        if !self.progress.locked {
            return Ok(());
        }
        let armed_in_vain = self.is_armed_in_vain(so_far);
        let plan = self.progress.execution.plan();
        let mut errors = Vec::new();
        // First of all, and a defect in it does not keep the rest from being done.
        if let (Some(plan), true) = (&plan, armed_in_vain) {
            let disarmed = guarded(|| Ok(self.executor.disarm_again(plan)));
            errors = disarmed.unwrap_or_else(|error| vec![error]);
        }
        errors.extend(
            self.executor
                .clean_up(plan.as_deref(), &mut self.progress.execution.state),
        );
        combine("cannot clean up", errors)
    }

    /// Whether the run failed when disks may have had boot code already, and no completion will be sent: a node
    /// reported as failed must not boot from its disks.
    fn is_armed_in_vain(&self, so_far: &RunOutcome) -> bool {
        let Some((stage, error)) = &so_far.failure else {
            return false;
        };
        // A node that was as requested before the run stays so.
        self.progress.execution.state.touched
            && match stage {
                Stage::Bootloader | Stage::Commit => true,
                // Ended before the completion could be noted: it is told as failed. What is incomplete never got its
                // boot code.
                Stage::Closeup => error.kind != Kind::Incomplete && !self.has_pending(),
                _ => false,
            }
    }

    /// What happens to the machine in the end.
    pub(super) fn end(&self) -> End {
        let default = if self.about.pulled {
            End::Reboot
        } else {
            End::None
        };
        self.about.settings.end.unwrap_or(default)
    }

    pub(super) const fn preflight(&self) -> &Preflight<'a> {
        &self.preflight
    }

    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Warnings, as they were printed.
    pub(super) fn warnings_told(&self) -> Vec<String> {
        self.about.state_file.warnings()
    }

    pub(super) fn times(&self) -> (&str, Duration) {
        (&self.about.started, self.began.elapsed())
    }
}

impl StageHandler for Run<'_> {
    fn has(&self, stage: Stage) -> bool {
        let plan = self.preflight.known.plan.as_ref();
        let has_steps = || plan.is_some_and(|it| it.steps.iter().any(|step| step.stage == stage));
        if stage == Stage::Prepare {
            return self.progress.installed.is_none();
        }
        if (Stage::Release..=Stage::Commit).contains(&stage) {
            // Nothing is written to a node that is as asked.
            return self.progress.installed.is_none() && has_steps();
        }
        true
    }

    fn stage(&mut self, stage: Stage, so_far: &RunOutcome) -> Result<(), Error> {
        self.preflight.stage(stage, so_far)?;
        match stage {
            Stage::Boot | Stage::Discover | Stage::Plan => Ok(()),
            Stage::Init => self.init(),
            Stage::Setup => self.setup(),
            Stage::Validate => self.validate(),
            Stage::Prepare => self.prepare(),
            Stage::Release
            | Stage::Partition
            | Stage::Raid
            | Stage::Lvm
            | Stage::Filesystem
            | Stage::Image
            | Stage::Configure
            | Stage::Configdrive
            | Stage::Verify
            | Stage::Commit => self.steps(stage),
            Stage::Bootloader => {
                self.reserve_completion(so_far)?;
                self.steps(stage)
            }
            Stage::Closeup => self.closeup(so_far),
            Stage::Cleanup => self.clean_up(so_far),
            Stage::Report => self.report(so_far),
            Stage::Terminate => match self.end() {
                End::None => Ok(()),
                end => {
                    // What is still to be printed would end with the machine.
                    self.events.flush();
                    self.executor.end(end)
                }
            },
        }
    }

    fn touched(&self) -> bool {
        self.progress.execution.state.touched
    }

    fn has_pending(&self) -> bool {
        self.about.folder.owed().is_some()
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
