//! What is told while a run goes on, and the listeners that hear it: bars, lines, JSON, log file.

use std::path::Path;

use crate::stage::Stage;

/// Something that happened. `--dialect json` prints one object a line for each.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stage begins.
    StageStart {
        /// Which.
        stage: Stage,
    },
    /// A stage has ended.
    StageEnd {
        /// Which.
        stage: Stage,
        /// How long it took.
        took: std::time::Duration,
        /// Whether it did what it should.
        ok: bool,
    },
    /// A step begins: for people and the log.
    Step {
        /// The stage it belongs to.
        stage: Stage,
        /// Its number.
        number: usize,
        /// Of how many.
        of: usize,
        /// One line.
        what: String,
    },
    /// Bytes have moved.
    Progress {
        /// The stage that moves them.
        stage: Stage,
        /// What is moved, in a word or two.
        what: String,
        /// Bytes done.
        done_bytes: u64,
        /// Bytes in all, where known.
        total_bytes: Option<u64>,
    },
    /// We went on although something was odd.
    Warning {
        /// Where.
        stage: Option<Stage>,
        /// What.
        message: String,
    },
    /// The run has failed.
    Error {
        /// Where.
        stage: Stage,
        /// What, with its causes.
        message: String,
        /// The device concerned.
        device: Option<String>,
        /// What to try.
        hint: Option<String>,
        /// Whether running the same request again makes sense.
        retryable: bool,
        /// Whether any disk was written to.
        touched: bool,
    },
    /// The last event of a run: its report, as JSON.
    Report {
        /// The whole report.
        report: serde_json::Value,
        /// Where it was written, if it was.
        path: Option<Box<Path>>,
    },
}

/// Hears events. Telling never fails and never waits for long: no listener may stop a run.
pub trait Events: Send + Sync {
    /// Takes note of one event.
    fn tell(&self, event: &Event);
}
