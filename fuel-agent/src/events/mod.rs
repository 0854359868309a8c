//! Events of a run and the listeners that print or store them: bars, lines, JSON, log file.
//!
//! ```text
//!   bars    a person at a terminal: one line a stage, a bar while bytes move
//!   lines   a serial console, a log collector: plain lines, at most one of progress a second
//!   json    a program: one object a line, the contract of docs/commands.md
//!   log     the log file: everything, with the command lines that `tracing` hears of
//!   joint   several that move bytes at the same time, as one
//!   clock   times as RFC 3339
//!   sink    a stream that goes quiet, instead of failing, when its reader has gone
//!   outbox  a queue before a stream that may not be read: the run goes on
//! ```

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
        /// What is moved, in a word or two: where several move at the same time, another for each.
        what: String,
        /// Bytes done.
        done_bytes: u64,
        /// Bytes in all, where known.
        total_bytes: Option<u64>,
    },
    /// Something was decided on the way that people may want to know of.
    Note {
        /// Where.
        stage: Stage,
        /// What.
        message: String,
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
