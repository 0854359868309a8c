//! How a step ended.

use std::time::Duration;

use crate::model::error::Error;

/// What one step did to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something is different now.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// It could not be done here, and that is no error (a file that stands for a disk, for example); the run ends
    /// incomplete.
    Skipped {
        /// The reason, for the report.
        why: String,
    },
}

/// Result of a step.
#[derive(Debug)]
pub enum StepResult {
    /// It was performed, or skipped with a reason.
    Done(Outcome),
    /// It failed with this error.
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
    /// Result of the step.
    pub ending: StepResult,
    /// Duration by the monotonic clock.
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
