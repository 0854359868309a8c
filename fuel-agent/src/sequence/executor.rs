//! What a run does to the node, and its calls to the orchestrator.

use std::path::Path;
use std::time::Duration;

use host::units::Bytes;

use super::completion::Call;
use crate::apply::context::State;
use crate::apply::outcome::{Outcome, StepRun};
use crate::model::error::Error;
use crate::model::plan::Plan;
use crate::model::report::ReverifiedImage;
use crate::model::step::PlannedStep;
use crate::plan::approve::ApprovedPlan;
use crate::settings::End;

/// Facts about an open disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size of the disk.
    pub size: Bytes,
    /// Size of a logical sector.
    pub sector_size: Bytes,
}

/// Changes the node for a run. The real one is `sequence::host_executor::HostExecutor`, which holds the host; tests
/// bring their own.
pub trait Executor {
    /// Takes the lock, held to the end of the run. Refused where another agent has it.
    fn begin(&mut self) -> Result<(), Error>;
    /// Removes what an earlier run left in its folder, and checks that there is room for this one.
    fn make_room(&mut self) -> Result<(), Error>;
    /// The `instance-id` of what is installed, if the node already is what the plan asks for: the stamps on its disks
    /// name the same request and the same images, and its boot code is there.
    fn installed(&mut self, plan: &Plan) -> Result<Option<String>, Error>;
    /// Compares the images of an installed node with its disks, each with the error that kept it from being compared.
    fn reverify(&mut self, plan: &Plan) -> Result<Vec<(ReverifiedImage, Option<Error>)>, Error>;
    /// Holds the disk open to the end of the run: from then on its path leads to it or to an error, and no other disk
    /// is written to. One that is not there is no error here: the look that follows says so.
    fn hold(&mut self, disk: &Path) -> Result<(), Error>;
    /// Opens the disk so that nothing else can hold it, and lets it go again.
    fn probe_exclusive(&mut self, disk: &Path) -> Result<Geometry, Error>;
    /// Opens for reading a disk that something may hold.
    fn geometry(&mut self, disk: &Path) -> Result<Geometry, Error>;
    /// Looks at the kept filesystems that can be looked at before anything is written, and writes nothing.
    fn probe_kept(&mut self, plan: &ApprovedPlan, state: &mut State) -> Result<(), Error>;
    /// Performs one step.
    fn step(
        &mut self,
        plan: &ApprovedPlan,
        step: &PlannedStep,
        state: &mut State,
    ) -> Result<Outcome, Error>;
    /// Performs steps that go together, at the same time: one [`StepRun`] for each, in their order. The first that
    /// fails stops the others.
    fn together(
        &mut self,
        plan: &ApprovedPlan,
        steps: &[&PlannedStep],
        state: &mut State,
    ) -> Vec<StepRun>;
    /// Takes back all that makes the node boot, because the run failed when it may have been there already. All that
    /// cannot be taken back is reported.
    fn disarm_again(&mut self, plan: &ApprovedPlan) -> Vec<Error>;
    /// Unmounts and deactivates what the run mounted and activated, and removes what is temporary. All that cannot be
    /// undone is reported; after one failure the rest is tried all the same.
    fn clean_up(&mut self, plan: Option<&ApprovedPlan>, state: &mut State) -> Vec<Error>;
    /// Makes a call, again and again until it is accepted or `budget` is used up.
    fn notify(&mut self, call: &Call, budget: Duration) -> Result<(), Error>;
    /// Reboots or switches off. Returns only where that cannot be done.
    fn end(&mut self, end: End) -> Result<(), Error>;
}
