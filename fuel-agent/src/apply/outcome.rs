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
