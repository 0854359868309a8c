//! One image onto one device: planned, approved and performed like a run, with the same executor. No other stage.

use std::path::Path;

use super::discovery::{combine, refusal_errors};
use super::steps::Execution;
pub use super::steps::StepContext;
use crate::events::Event;
use crate::model::error::{Error, Kind};
use crate::model::plan::{Plan, PlannedImage, RefusedBy};
use crate::model::report::ImageOutcome;
use crate::model::stage::Stage;
use crate::plan::Options;
use crate::plan::write::{self, Target};

/// Writes an image onto `target`, which `probe` reads again before the first write.
pub fn write(
    image: PlannedImage,
    target: &Target,
    probe: impl FnOnce() -> Result<Target, Error>,
    options: &Options,
    context: &mut StepContext<'_>,
) -> Result<ImageOutcome, Error> {
    let plan = write::plan(image, target, options);
    for message in plan.warnings.clone() {
        let stage = Some(Stage::Plan);
        context.events.emit(&Event::Warning { stage, message });
    }
    check(&plan)?;
    context.executor.begin()?;
    for disk in &plan.disks {
        context.executor.hold(Path::new(&disk.device))?;
    }
    let (before, now) = (target.inventory(), probe()?.inventory());
    let mut execution = Execution::default();
    execution.approve(&plan, &before, &now, None)?;
    execution.claim(&plan, &before, context.executor)?;
    execution.perform(|_| true, context)?;
    let written = execution.state.images.into_values().next();
    written.ok_or_else(|| Error::new(Kind::Internal, "the image was not written"))
}

/// Everything that is wrong, of the target before the image that is to fit it.
fn check(plan: &Plan) -> Result<(), Error> {
    let refused = |by: RefusedBy| {
        let refusals = plan.refusals.iter().filter(move |refusal| refusal.by == by);
        refusal_errors(refusals)
    };
    combine("the target is refused", refused(RefusedBy::Run))?;
    combine("the image does not fit", refused(RefusedBy::Plan))
}
