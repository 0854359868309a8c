//! Performing the steps of an approved plan: by a run stage by stage, by `write` one after the other.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use host::cancel::Cancel;

use super::changed;
use super::executor::Executor;
use crate::apply::context::State;
use crate::apply::outcome::{Outcome, StepResult, StepRun};
use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::index::DiskIndex;
use crate::model::inventory::Inventory;
use crate::model::plan::Plan;
use crate::model::report::ReportedStep;
use crate::model::step::{Configure, PlannedStep, Release, Step};
use crate::plan::approve::{ApprovedPlan, NotApproved, approve};

/// Why a step did not come to its end that failed only since another did.
const STOPPED: &str = "stopped, as what was done at the same time failed";

/// How far the steps of a plan have come.
#[derive(Debug, Default)]
pub(super) struct Execution {
    pub(super) state: State,
    pub(super) steps: Vec<ReportedStep>,
    /// Why the run is incomplete: a reason for each step that was skipped.
    pub(super) incomplete: Vec<String>,
    /// Disks that were opened so that nothing else could hold them.
    claimed: Vec<DiskIndex>,
    /// The plan, once the last check before the first write has passed.
    approved: Option<Arc<ApprovedPlan>>,
}

/// What a step is performed with.
pub struct StepContext<'a> {
    /// Changes the machine.
    pub executor: &'a mut dyn Executor,
    /// Receives the events of each step.
    pub events: &'a dyn Events,
    /// Set by SIGTERM: no step begins after it.
    pub cancel: &'a Cancel,
}

impl std::fmt::Debug for StepContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepContext").finish_non_exhaustive()
    }
}

impl Execution {
    /// The plan that is being carried out; nothing was done of one that was not approved.
    pub(super) fn plan(&self) -> Option<Arc<ApprovedPlan>> {
        self.approved.clone()
    }

    /// The last check before the first write: nothing may have changed since `before`.
    pub(super) fn approve(
        &mut self,
        plan: &Plan,
        before: &Inventory,
        now: &Inventory,
        real: Option<&Inventory>,
    ) -> Result<Arc<ApprovedPlan>, Error> {
        let approved = approve(plan, before, now, real).map_err(not_approved)?;
        Ok(Arc::clone(self.approved.insert(Arc::new(approved))))
    }

    /// Sees that nothing else holds the disks of the approved plan, and that each is as large as it was planned for.
    /// One that is held by what the plan releases is claimed after that.
    pub(super) fn claim(
        &mut self,
        plan: &Plan,
        before: &Inventory,
        executor: &mut dyn Executor,
    ) -> Result<(), Error> {
        let held = changed::released_disks(plan, before);
        for (disk, planned) in plan.disks() {
            let device = Path::new(&planned.device);
            let found = if held.contains(&disk) {
                executor.geometry(device)?
            } else {
                let found = executor.probe_exclusive(device)?;
                self.claimed.push(disk);
                found
            };
            changed::is_as_planned(planned, found)?;
        }
        Ok(())
    }

    /// Performs those steps of the approved plan that are `wanted`, in their order.
    pub(super) fn perform(
        &mut self,
        wanted: impl Fn(&PlannedStep) -> bool,
        context: &mut StepContext<'_>,
    ) -> Result<(), Error> {
        let approved = self.plan().ok_or_else(|| {
            let what = "a step was to be performed before the plan was approved";
            Error::new(Kind::Internal, what)
        })?;
        let plan = &*approved;
        let of = plan.steps.len();
        let steps: Vec<&PlannedStep> = plan.steps.iter().filter(|step| wanted(step)).collect();
        for group in steps.chunk_by(|_, next| next.step.goes_with_previous()) {
            for step in group {
                if context.cancel.is_cancelled() {
                    let what = format!("stopped before step {} of {of}", step.number);
                    return Err(Error::new(Kind::Interrupted, what).retryable());
                }
                context.events.emit(&Event::Step {
                    stage: step.stage,
                    number: step.number,
                    of,
                    what: step.what.clone(),
                });
            }
            let performed = self.group(plan, group, &mut *context.executor);
            let ended = group.iter().zip(performed);
            let failed: Vec<Error> = ended
                .filter_map(|(step, performed)| self.note(step, performed))
                .collect();
            if let Some(first) = failed.into_iter().next() {
                return Err(first);
            }
        }
        Ok(())
    }

    /// Performs steps that go together, of which most are alone: a result for each, whatever happens.
    fn group(
        &mut self,
        plan: &ApprovedPlan,
        group: &[&PlannedStep],
        executor: &mut dyn Executor,
    ) -> Vec<StepRun> {
        for step in group {
            // What was held when the run began has been released by the steps before this one.
            if let Step::Disarm { disk, .. } = step.step
                && !self.claimed.contains(&disk)
            {
                if let Err(error) = executor.probe_exclusive(Path::new(&plan[disk].device)) {
                    return StepRun::none_of(group.len(), error);
                }
                self.claimed.push(disk);
            }
        }
        // Before it is done: a step that fails half way has touched the disk too.
        self.state.touched |= group.iter().any(|step| writes(step));
        let found = &mut self.state;
        match group {
            [step] => {
                let began = Instant::now();
                let ending = executor.step(plan, step, found).into();
                let took = began.elapsed();
                vec![StepRun { ending, took }]
            }
            several => executor.together(plan, several, found),
        }
    }

    /// Notes how a step ended; gives its error, where it is one.
    fn note(&mut self, step: &PlannedStep, performed: StepRun) -> Option<Error> {
        let (outcome, why) = match &performed.ending {
            StepResult::Done(Outcome::Changed) => ("changed", None),
            StepResult::Done(Outcome::Unchanged) => ("unchanged", None),
            StepResult::Done(Outcome::Skipped { why }) => ("skipped", Some(why.clone())),
            StepResult::Failed(_) => ("failed", None),
            StepResult::Stopped => ("failed", Some(STOPPED.to_owned())),
        };
        if let StepResult::Done(Outcome::Skipped { why }) = &performed.ending {
            let reason = format!("step {} ({}): {why}", step.number, step.what);
            self.incomplete.push(reason);
        }
        self.steps.push(ReportedStep {
            number: step.number,
            stage: step.stage,
            what: step.what.clone(),
            outcome,
            why,
            took: performed.took,
        });
        match performed.ending {
            StepResult::Failed(error) => Some(error),
            StepResult::Done(_) | StepResult::Stopped => None,
        }
    }
}

fn not_approved(why: NotApproved) -> Error {
    match why {
        NotApproved::Refused(what) => Error::new(
            Kind::Internal,
            format!("a refused plan was to be carried out: {what}"),
        ),
        NotApproved::Changed(what) => {
            let what = format!("the machine has changed since it was looked at: {what}");
            Error::new(Kind::Refused, what)
                .hint("run again")
                .retryable()
        }
        NotApproved::OtherNode(what) => {
            let what = format!("the inventory is not this node's: {what}");
            Error::new(Kind::Refused, what).hint("run without `--inventory`")
        }
    }
}

/// Whether a step changes a disk: all do, from the release on.
const fn writes(step: &PlannedStep) -> bool {
    match step.step {
        Step::Release(Release::StopRaid { .. })
        | Step::Disarm { .. }
        | Step::Make(_)
        | Step::Image(_)
        | Step::Configure(
            Configure::MoveContent { .. }
            | Configure::Fstab
            | Configure::Identity
            | Configure::BootConfig
            | Configure::Configdrive(_),
        )
        | Step::Verify
        | Step::Arm(_) => true,
        Step::Release(Release::DeactivateVolumeGroup { .. } | Release::CloseMapping { .. })
        | Step::ActivateKept
        | Step::Configure(Configure::LoadKernel) => false,
    }
}
