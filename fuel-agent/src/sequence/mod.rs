//! The stages in their order, with their gates: what runs after what, and what becomes of errors.
//!
//! ```text
//!   run_stages           the order, the gates, time, panics; first error wins        this file
//!   discovery            trait Discovery: what a run learns; reading only, all that plan and dry runs hold
//!   node_discovery       the real Discovery
//!   request_source       where the request comes from; stand_in: files that stand for disks
//!   signed_request       the signature of a request; validity: its time and its node
//!   executor             trait Executor: what a run does
//!   host_executor        the real Executor
//!   preflight            the stages before the first write
//!   stages               the whole run
//!   reverify             an installed node, compared with its images
//!   steps                the steps of an approved plan
//!   write                one image onto one device: the same steps without the stages
//!   boot_code            whether boot code can be made here
//!   completion_stage     what a run says of itself: completion, report, failure
//!   changed              whether the machine still is what was planned for
//!   summary              a run as a report and as the facts of callbacks
//!   machine              who this machine is
//!   completion           callbacks: URL, body, and which answers accept
//!   template             `{names}` in URLs, headers and bodies
//!   report_file          where `--report` points
//!   rundir               /run/provision: lock, state, report, log, what is owed
//!   state_file           the state of a run; small_file: files that are written in one piece
//! ```

pub(crate) mod boot_code;
mod changed;
pub mod completion;
mod completion_stage;
pub mod discovery;
pub mod executor;
pub mod host_executor;
pub mod machine;
pub mod node_discovery;
pub mod preflight;
mod report_file;
pub mod request_source;
mod reverify;
pub mod rundir;
mod signed_request;
mod small_file;
pub mod stages;
pub mod stand_in;
pub mod state_file;
mod steps;
mod summary;
pub mod template;
mod validity;
pub mod write;

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use host::cancel::Cancel;

use crate::events::{Event, Events};
use crate::model::error::{Error, Kind};
use crate::model::report::StageRecord;
use crate::model::stage::Stage;

/// How a walk through the stages went.
#[derive(Debug, Default)]
pub struct RunOutcome {
    /// Stages that ran, in order.
    pub stages: Vec<StageRecord>,
    /// The first error, and the stage it happened in. It decides the exit status.
    pub failure: Option<(Stage, Error)>,
    /// Errors after the first: of clean-up and report.
    pub unclean: Vec<(Stage, Error)>,
}

/// Performs the stages.
pub trait StageHandler {
    /// Whether there is anything to do in this stage; one without is not reported.
    fn has(&self, stage: Stage) -> bool;
    /// Does one stage's work; `so_far` is how the walk went until now.
    fn stage(&mut self, stage: Stage, so_far: &RunOutcome) -> Result<(), Error>;
    /// Whether a disk has been written to.
    fn touched(&self) -> bool;
    /// Whether a completion is pending that has not been accepted.
    fn has_pending(&self) -> bool;
}

/// Walks through all stages. After the first error only those run that always do; their errors never hide it. A panic
/// is an error like any other, so that clean-up and report still come.
pub fn run_stages(work: &mut dyn StageHandler, events: &dyn Events, cancel: &Cancel) -> RunOutcome {
    let mut outcome = RunOutcome::default();
    for stage in Stage::ALL {
        if stage == Stage::Cleanup {
            cancel.begin_clean_up();
        }
        let open = outcome.failure.is_none() || stage.always();
        // A run cancelled after its last stage must not reboot the node.
        let unwanted = stage == Stage::Terminate && cancel.was_cancelled();
        if !open || unwanted || !work.has(stage) {
            continue;
        }
        events.emit(&Event::StageStart { stage });
        let began = Instant::now();
        let result = if cancel.is_cancelled() && !stage.always() {
            Err(interrupted(stage, false))
        } else {
            guarded(|| work.stage(stage, &outcome))
        };
        let took = began.elapsed();
        let result = judged(result, stage, work, cancel);
        let ok = result.is_ok();
        if let Err(error) = result {
            tell(&error, stage, work.touched(), events);
            match outcome.failure {
                None => outcome.failure = Some((stage, error)),
                Some(_) => outcome.unclean.push((stage, error)),
            }
        }
        events.emit(&Event::StageEnd { stage, took, ok });
        outcome.stages.push(StageRecord { stage, ok, took });
    }
    outcome
}

/// Outcome of a stage, given whether the run was cancelled meanwhile: then it stops here, even if it had come to its
/// end; but a completion that was accepted stays so.
fn judged(
    result: Result<(), Error>,
    stage: Stage,
    work: &dyn StageHandler,
    cancel: &Cancel,
) -> Result<(), Error> {
    if !cancel.is_cancelled() {
        return result;
    }
    let has_pending = stage == Stage::Closeup && work.has_pending();
    match result {
        Ok(()) if stage < Stage::Closeup => Err(interrupted(stage, false)),
        Err(error) if error.kind != Kind::Interrupted => {
            Err(interrupted(stage, has_pending).because(error))
        }
        other => other,
    }
}

/// `has_pending`: it was the completion that was interrupted, and it is noted. A signal that comes before finds a node
/// whose disks are disarmed again in the clean-up.
fn interrupted(stage: Stage, has_pending: bool) -> Error {
    let hint = if has_pending {
        "the node is installed; `provision notify` offers the completion again"
    } else {
        "run again"
    };
    let what = format!("interrupted during the stage `{stage}`");
    Error::new(Kind::Interrupted, what).hint(hint).retryable()
}

/// Reports an error as an event.
pub fn tell(error: &Error, stage: Stage, touched: bool, events: &dyn Events) {
    events.emit(&Event::Error {
        stage,
        message: error.one_line(),
        device: error.device.clone(),
        hint: error.hint.clone(),
        retryable: error.retryable,
        touched,
    });
}

thread_local! {
    /// Message and place of the last panic of this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics off standard error, which `--dialect json` promises to leave alone, and records their messages.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let text = format!("{}{place}", panic_text(info.payload()));
        tracing::error!(panic = text, "panic");
        PANIC.set(Some(text));
    }));
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Runs `work`; a panic becomes an internal error.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = PANIC
            .take()
            .unwrap_or_else(|| panic_text(payload.as_ref()).to_owned());
        Err(
            Error::new(Kind::Internal, "the agent has a defect and stopped")
                .because(text)
                .hint("report this with the log file"),
        )
    })
}

#[cfg(test)]
mod run_stages_tests;
#[cfg(test)]
mod tests;
