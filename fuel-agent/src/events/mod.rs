//! Events of a run and the listeners that print or store them: bars, lines, JSON, log file.
//!
//! ```text
//!   bars    a terminal: one line per stage, a bar while bytes move
//!   lines   a serial console, a log collector: plain lines, at most one progress line a second
//!   json    a program: one object per line, the contract of docs/commands.md
//!   log     the log file: everything, with the command lines that go to `tracing`
//!   joint   the sum of transfers at the same time
//!   clock   times as RFC 3339
//!   sink    a stream that drops everything after its first error
//!   outbox  a queue before a stream that may not be read, so that the run is not blocked
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod bars;
pub mod clock;
pub mod joint;
pub mod json;
pub mod lines;
pub mod log;
pub mod outbox;
pub mod sink;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::stage::Stage;

/// An event of a run. `--dialect json` prints one object per line for most of them.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stage begins.
    StageStart {
        /// The stage.
        stage: Stage,
    },
    /// A stage has ended.
    StageEnd {
        /// The stage.
        stage: Stage,
        /// Its duration.
        took: std::time::Duration,
        /// Whether it succeeded.
        ok: bool,
    },
    /// A step begins; not part of `--dialect json`.
    Step {
        /// The stage it belongs to.
        stage: Stage,
        /// Number of the step in the plan, from 1.
        number: usize,
        /// Number of steps in the plan.
        of: usize,
        /// Description in one line.
        what: String,
    },
    /// Progress of a transfer.
    Progress {
        /// The stage of the transfer.
        stage: Stage,
        /// Short name, different for each of several transfers at the same time.
        what: String,
        /// Bytes transferred.
        done_bytes: u64,
        /// Bytes in all, if known.
        total_bytes: Option<u64>,
    },
    /// A decision of the agent, for information.
    Note {
        /// The current stage.
        stage: Stage,
        /// The decision and its reason.
        message: String,
    },
    /// A problem that does not end the run.
    Warning {
        /// The current stage; `None` before the first.
        stage: Option<Stage>,
        /// The problem, and what to check.
        message: String,
    },
    /// The run has failed.
    Error {
        /// The stage that failed.
        stage: Stage,
        /// The error with its causes, on one line.
        message: String,
        /// Path of the device concerned.
        device: Option<String>,
        /// Advice for the user.
        hint: Option<String>,
        /// Whether the same request may succeed when it is run again.
        retryable: bool,
        /// Whether any disk was written to.
        touched: bool,
    },
    /// The report: the last event of a run.
    Report {
        /// The report as JSON.
        report: serde_json::Value,
        /// The file it was written to, if any.
        path: Option<Box<Path>>,
    },
}

/// A listener. Emitting an event never fails and never waits for long: no listener may stop a run.
pub trait Events: Send + Sync {
    /// Handles one event.
    fn emit(&self, event: &Event);

    /// Handles an event that happened at `time`; for listeners that print times.
    fn emit_at(&self, event: &Event, _time: SystemTime) {
        self.emit(event);
    }

    /// Waits until all events so far have been written, for a bounded time.
    fn flush(&self) {}
}

/// Passes each event to every listener in turn.
#[derive(Default)]
pub struct FanOut(Vec<Arc<dyn Events>>);

impl FanOut {
    /// Listeners, in the order in which they get each event.
    pub fn new(listeners: Vec<Arc<dyn Events>>) -> Self {
        Self(listeners)
    }
}

impl std::fmt::Debug for FanOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FanOut").field(&self.0.len()).finish()
    }
}

impl Events for FanOut {
    fn emit(&self, event: &Event) {
        for listener in &self.0 {
            listener.emit(event);
        }
    }

    fn flush(&self) {
        for listener in &self.0 {
            listener.flush();
        }
    }
}

/// Discards all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence;

impl Events for Silence {
    fn emit(&self, _: &Event) {}
}
