//! Runs all threads of one image, from the first sample of the disk to the last flush.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Instant;

use host::cancel::Cancel;
use host::units::Bytes;
use os_image::index::Index;

use super::super::digest::Digests;
use super::super::error::StreamError;
use super::check;
use super::choice;
use super::fetcher::{self, FetchContext};
use super::meter::Meter;
use super::mirror::Mirrors;
use super::scheduler::{ChunkScheduler, Progress};
use super::supervisor::Supervisor;
use super::target::Target;
use super::thread_budget::{ThreadBudget, longest};
use super::whole::Whole;
use super::worker::{self, WriterContext};
use crate::events::{Event, Events};
use crate::http::Client;
use crate::model::report::{PackedOutcome, WriteMode};
use crate::model::stage::Stage;
use crate::pool::Pool;
use crate::source::FoundManifest;
use crate::source::policy::DeltaPolicy;

/// Threads that read the disk; enough to fill its queue.
pub(super) const CHECKERS: usize = 4;

/// Outcome of a written image.
pub(super) struct Written {
    way: WriteMode,
    why: String,
    progress: Progress,
    /// Digests of the whole image that were computed.
    pub(super) digests: Digests,
}

/// Everything that writing one image needs. Rates are measured while reading the disk, fetching, and unpacking.
pub(super) struct Engine<'a, 'd> {
    pub(super) index: &'a Index,
    pub(super) mirrors: &'a Mirrors,
    pub(super) target: &'a Target<'d>,
    pub(super) client: &'a Client,
    pub(super) events: &'a dyn Events,
    /// File name of the image, for messages.
    pub(super) name: String,
    /// Images written at the same time, including this one.
    pub(super) at_once: usize,
    pub(super) stop: Cancel,
    pub(super) deadline: Option<Instant>,
    pub(super) retries: AtomicU32,
    pub(super) reading: Meter,
    pub(super) fetching: Meter,
    pub(super) working: Meter,
    /// Buffers for reading the disk.
    pub(super) checks: Pool,
    /// Digests of the whole image that others than the manifest state.
    pub(super) whole: Whole<'a>,
}

impl Engine<'_, '_> {
    /// Writes the image to its target.
    pub(super) fn run(&self, policy: DeltaPolicy, ranges: bool) -> Result<Written, StreamError> {
        let mut last_held = None;
        let (way, why) = choice::first(policy, ranges, || {
            let sample = check::sample(self.index, self.target, &self.checks, &self.reading);
            last_held = sample.last_held;
            sample
        });
        self.note(&format!(
            "{}: {} write, because {why}",
            self.name,
            word(way)
        ));
        self.target.clear_head()?;
        let scheduler = ChunkScheduler::new(self.index, way == WriteMode::Delta, self.stop.clone());
        let why = Mutex::new(why);
        self.work(&scheduler, way, |scheduler| {
            let mut supervisor = Supervisor {
                engine: self,
                scheduler,
                is_checking: way == WriteMode::Delta && policy == DeltaPolicy::Auto,
                last_held,
                reported_at: None,
            };
            if let Err(error) = supervisor.until_over(&why) {
                scheduler.fail(error);
            }
        });
        let progress = scheduler.result()?;
        let digests = self.whole.verify(self)?;
        self.target.finish()?;
        let why = why.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Written {
            way,
            why,
            progress,
            digests,
        })
    }

    /// Runs the threads for as long as `supervisor` runs.
    fn work(
        &self,
        scheduler: &ChunkScheduler<'_>,
        way: WriteMode,
        supervisor: impl FnOnce(&ChunkScheduler<'_>),
    ) {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let budget = if self.whole.is_in_order() {
            ThreadBudget::in_order()
        } else {
            ThreadBudget::of(self.index, self.mirrors.len(), cores, self.at_once)
        };
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let packed = Pool::new(
            budget.fetchers + budget.workers,
            length(longest(self.index)),
        );
        let raw = Pool::new(budget.workers, length(self.index.chunk_size().into()));
        let fetch_context = FetchContext {
            client: self.client,
            scheduler,
            mirrors: self.mirrors,
            pool: &packed,
            stop: &self.stop,
            deadline: self.deadline,
            events: self.events,
            fetchers: u64::try_from(budget.fetchers).unwrap_or(1),
            retries: &self.retries,
            meter: &self.fetching,
            length: self.index.packed_size(),
        };
        let writer_context = WriterContext {
            index: self.index,
            scheduler,
            mirrors: self.mirrors,
            target: self.target,
            whole: &self.whole,
            pool: &raw,
            meter: &self.working,
        };
        let (fetch_context, writer_context) = (&fetch_context, &writer_context);
        thread::scope(|scope| {
            for _ in 0..budget.workers {
                spawn(scope, "unpack", scheduler, || worker::run(writer_context));
            }
            for number in (0..budget.fetchers).filter_map(|number| u8::try_from(number).ok()) {
                spawn(scope, "fetch", scheduler, move || {
                    fetcher::run(fetch_context, number)
                });
            }
            let checkers = if way == WriteMode::Delta { CHECKERS } else { 0 };
            for _ in 0..checkers {
                spawn(scope, "check", scheduler, || check::run(self, scheduler));
            }
            supervisor(scheduler);
            // pending requests are dropped
            self.stop.cancel();
        });
    }

    /// The outcome for the report.
    pub(super) fn outcome(&self, found: &FoundManifest, written: &Written) -> PackedOutcome {
        let (kept, put) = (written.progress.kept, self.target.written());
        PackedOutcome {
            manifest_sha256: found.sha256.clone(),
            release: found.manifest.release,
            signed_by: found.signed_by.clone(),
            way: written.way,
            why: written.why.clone(),
            read_bytes: Bytes(self.reading.bytes()),
            kept_bytes: Bytes(kept),
            written_bytes: Bytes(put),
            zeroed_bytes: Bytes(self.index.raw_size().saturating_sub(kept + put)),
            mirrors: self.mirrors.outcomes(),
        }
    }

    /// Reports a decision.
    pub(super) fn note(&self, message: &str) {
        self.events.emit(&Event::Note {
            stage: Stage::Image,
            message: message.to_owned(),
        });
    }
}

fn word(way: WriteMode) -> &'static str {
    match way {
        WriteMode::Full => "full",
        WriteMode::Delta => "delta",
    }
}

/// Starts a thread of the engine; its error becomes the error of the image.
fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    scheduler: &'scope ChunkScheduler<'_>,
    work: impl FnOnce() -> Result<(), StreamError> + Send + 'scope,
) {
    let guarded = move || {
        let work = std::panic::AssertUnwindSafe(work);
        match std::panic::catch_unwind(work) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => scheduler.fail(error),
            Err(_) => scheduler.fail(StreamError::Panicked),
        }
    };
    let thread = thread::Builder::new().name(name.to_owned());
    if let Err(source) = thread.spawn_scoped(scope, guarded) {
        scheduler.fail(StreamError::Thread { source });
    }
}
