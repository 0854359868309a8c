//! The calling thread of the engine: zeroes extents, reports progress, watches for cancellation and re-evaluates the
//! write mode.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::error::StreamError;
use super::choice::{Measured, is_checking_too_slow};
use super::engine::Engine;
use super::scheduler::{ChunkOrigin, ChunkScheduler};
use crate::events::Event;
use crate::model::stage::Stage;
use os_image::index::Index;

/// Most bytes zeroed by one call (at least one chunk), so that writes of other threads wait only briefly and a
/// cancellation is noticed in between.
const ZEROS_MOST: u64 = 8 << 20;

/// Interval of progress reports and of re-evaluations.
const TICK: Duration = Duration::from_millis(100);

/// Consecutive chunks not found on the disk after which the rest is not looked for.
const MISSES: usize = 32;

/// State of the calling thread.
pub(super) struct Supervisor<'a, 'e, 'd> {
    pub(super) engine: &'a Engine<'e, 'd>,
    pub(super) scheduler: &'a ChunkScheduler<'a>,
    /// Whether the disk is being checked and the check may still be stopped (`delta=auto`).
    pub(super) is_checking: bool,
    /// Highest number of a sampled chunk that the disk holds.
    pub(super) last_held: Option<usize>,
    /// Time of the last progress event.
    pub(super) reported_at: Option<Instant>,
}

impl Supervisor<'_, '_, '_> {
    /// Runs until every chunk is done or a thread has failed; a change of the write mode adds its reason to `why`.
    pub(super) fn until_over(&mut self, why: &Mutex<String>) -> Result<(), StreamError> {
        let chunk = u64::from(self.engine.index.chunk_size());
        let most = usize::try_from(ZEROS_MOST / chunk).unwrap_or(1).max(1);
        loop {
            if self.engine.client.is_cancelled() {
                return Err(StreamError::Cancelled);
            }
            if let Some(zeros) = self.scheduler.next_zeros(most) {
                self.zero(&zeros)?;
                self.scheduler.done(zeros, ChunkOrigin::Zeroed);
            } else if self.scheduler.is_over_within(TICK) {
                self.report(true);
                return Ok(());
            }
            if self.is_checking
                && let Some(reason) = self.should_stop_checking()
            {
                self.is_checking = false;
                self.scheduler.stop_checking();
                self.engine.note(&format!("{}: {reason}", self.engine.name));
                let mut why = why.lock().unwrap_or_else(PoisonError::into_inner);
                *why = format!("{why}; {reason}");
            }
            self.report(false);
        }
    }

    fn zero(&self, chunks: &std::ops::Range<usize>) -> Result<(), StreamError> {
        let index = self.engine.index;
        let first = index.chunk(chunks.start);
        let last = chunks.end.checked_sub(1).and_then(|last| index.chunk(last));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(StreamError::HungUp);
        };
        let end = last.raw_offset + u64::from(last.raw_length);
        self.engine
            .target
            .zero(first.raw_offset, end - first.raw_offset)
    }

    /// The reason to stop checking the disk, if there is one.
    fn should_stop_checking(&self) -> Option<String> {
        let progress = self.scheduler.progress();
        let is_ahead = |held: usize| held > progress.checked;
        if progress.misses_in_a_row >= MISSES && !self.last_held.is_some_and(is_ahead) {
            return Some(format!(
                "it held none of the last {} chunks, so the rest is written in full",
                progress.misses_in_a_row
            ));
        }
        let engine = self.engine;
        let measured = Measured {
            checked: progress.checked,
            matched: progress.matched,
            reading: engine.reading.rate(),
            fetching: engine.fetching.rate(),
            working: engine.working.rate(),
            packed_share: share(engine.index),
        };
        is_checking_too_slow(&measured).then(|| {
            "reading the disk is slower than writing it, so the rest is written in full".to_owned()
        })
    }

    fn report(&mut self, last: bool) {
        if !last && self.reported_at.is_some_and(|last| last.elapsed() < TICK) {
            return;
        }
        self.reported_at = Some(Instant::now());
        self.engine.events.emit(&Event::Progress {
            stage: Stage::Image,
            what: self.engine.name.clone(),
            done_bytes: self.scheduler.progress().done,
            total_bytes: Some(self.engine.index.raw_size()),
        });
    }
}

/// Packed bytes per raw byte, over the chunks with data.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "an estimate"
)]
fn share(index: &Index) -> f64 {
    let data = index.iter().filter(|chunk| !chunk.zero);
    let (raw, packed) = data.fold((0_u64, 0_u64), |(raw, packed), chunk| {
        (
            raw + u64::from(chunk.raw_length),
            packed + u64::from(chunk.packed_length),
        )
    });
    packed as f64 / raw.max(1) as f64
}
