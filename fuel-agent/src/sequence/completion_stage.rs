//! Results of a run for others: the completion, what stays pending of it, the report, the failure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::StageHandler as _;
use super::completion::{self, PendingCompletion};
use super::discovery::combine;
use super::report_file::ReportFile;
use super::small_file::replace;
use super::stages::Run;
use super::template::Facts;
use super::{RunOutcome, summary};
use crate::events::Event;
use crate::model::error::{Error, Kind};
use crate::model::report::Report;
use crate::model::stage::Stage;

/// How long the failure callback is tried: the caller of the run waits for this too.
const FAILURE_BUDGET: Duration = Duration::from_mins(1);

impl Run<'_> {
    /// Sends the completion, or keeps it pending.
    pub(super) fn closeup(&mut self, so_far: &RunOutcome) -> Result<(), Error> {
        if let Some(first) = self.progress.execution.incomplete.first() {
            let more = self.progress.execution.incomplete.len() - 1;
            let what = match more {
                0 => format!("the installation is incomplete: {first}"),
                _ => format!("the installation is incomplete: {first}; and {more} more"),
            };
            return Err(
                Error::new(Kind::Incomplete, what).hint("the report lists all that is pending")
            );
        }
        let Some(owed) = self.completion(so_far)? else {
            return Ok(());
        };
        // Before the first try: it stays pending if the agent is killed meanwhile.
        self.set_pending(Some(&owed))?;
        self.executor
            .notify(&owed.call, self.about.settings.notify_budget)
            .map_err(|error| {
                let url = &owed.call.url;
                let what =
                    format!("the node is installed, but {url} did not accept the completion");
                Error::new(Kind::Notify, what)
                    .because(error)
                    .hint("`provision notify` offers it again; the node is not rebooted")
                    .retryable()
            })?;
        // The orchestrator knows; that it may be told again is no reason to call the run failed.
        if let Err(error) = self.set_pending(None) {
            self.events.emit(&Event::Warning {
                stage: Some(Stage::Closeup),
                message: format!(
                    "{}; `provision notify` would offer it again",
                    error.one_line()
                ),
            });
        }
        Ok(())
    }

    /// The completion as it would be sent now, if one is to be sent.
    fn completion(&self, so_far: &RunOutcome) -> Result<Option<PendingCompletion>, Error> {
        let report = summary::report(self, so_far, None);
        let facts = self.facts(&report);
        let call = completion::call(&self.about.settings.success, &facts)?;
        Ok(call.map(|call| PendingCompletion {
            call,
            request_digest: report.request_digest.clone().unwrap_or_default(),
            end: self.end(),
        }))
    }

    /// Takes the room for the note of the completion before the node counts as installed: afterwards it must not fail
    /// for want of room.
    pub(super) fn reserve_completion(&self, so_far: &RunOutcome) -> Result<(), Error> {
        let Some(draft) = self.completion(so_far)? else {
            return Ok(());
        };
        self.about.folder.reserve_pending(&draft).map_err(|error| {
            let what = "no room for the note of the completion that will be owed";
            Error::new(Kind::Internal, what)
                .because(error)
                .hint("`df` shows what is full; make room and run again")
        })
    }

    pub(super) fn set_pending(&self, owed: Option<&PendingCompletion>) -> Result<(), Error> {
        self.about.folder.set_pending(owed).map_err(|error| {
            Error::new(
                Kind::Internal,
                "cannot keep note of the completion that is owed",
            )
            .because(error)
        })
    }

    /// Writes the report, and sends the failure callback.
    pub(super) fn report(&mut self, so_far: &RunOutcome) -> Result<(), Error> {
        let report = summary::report(self, so_far, so_far.failure.as_ref());
        let json = serde_json::to_value(&report).unwrap_or(Value::Null);
        let mut errors = self.write_report(&json);
        errors.extend(self.tell_failure(so_far, &report).err());
        self.events.emit(&Event::Report {
            report: json,
            path: self.about.report.clone().map(PathBuf::into_boxed_path),
        });
        if self.progress.locked {
            self.about.state_file.end(report.exit_status);
        }
        self.last_report = Some(report);
        combine("cannot report", errors)
    }

    /// To the run's folder, unless another run has that, and to the path of the command line.
    fn write_report(&mut self, json: &Value) -> Vec<Error> {
        let text = format!("{json:#}\n");
        let failed = |path: &Path, error| {
            let what = format!("cannot write the report to {}", path.display());
            Error::new(Kind::Internal, what).because(error)
        };
        let mut errors = Vec::new();
        if self.progress.locked {
            self.about.folder.give_back_reserve();
            let path = self.about.folder.report();
            let written = replace(&path, text.as_bytes());
            errors.extend(written.err().map(|error| failed(&path, error)));
        }
        if let Some(path) = &self.about.report {
            // A run that ended before it looked there does so now.
            let found = match self.progress.report_file.take() {
                Some(found) => Ok(found),
                None => ReportFile::find(path),
            };
            let written = found.and_then(|mut file| file.write(text.as_bytes()));
            errors.extend(written.err().map(|error| failed(path, error)));
        }
        errors
    }

    /// Another run's orchestrator gets no callback that this one could not begin, nor that an installed node failed.
    fn tell_failure(&mut self, so_far: &RunOutcome, report: &Report) -> Result<(), Error> {
        let Some((stage, error)) = &so_far.failure else {
            return Ok(());
        };
        // Stopped while it offered the completion: the node is installed, starts from its disks, and goes on owing
        // that.
        let owed = *stage == Stage::Closeup && self.has_pending();
        // What was accepted stays so: a clean-up that fails afterwards shows in the exit status and the report.
        let accepted = (so_far.stages.iter()).any(|it| it.stage == Stage::Closeup && it.ok);
        if self.progress.locked_out || error.kind == Kind::Notify || accepted || owed {
            return Ok(());
        }
        let facts = self.facts(report);
        let Some(call) = completion::call(&self.about.settings.failure, &facts)? else {
            return Ok(());
        };
        let budget = self.about.settings.notify_budget.min(FAILURE_BUDGET);
        self.executor.notify(&call, budget)
    }

    pub(super) fn facts(&self, report: &Report) -> Facts {
        let request = self.preflight.known.request.as_ref();
        summary::facts(report, request, &self.about.machine)
    }
}
