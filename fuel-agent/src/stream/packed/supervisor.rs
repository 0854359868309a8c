//! The thread that has called: it makes zeros, tells progress, hears whoever says stop, and thinks the way over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::error::StreamError;
use super::choice::{Measured, is_looking_too_slow};
use super::engine::Engine;
use super::scheduler::{ChunkOrigin, ChunkScheduler};
use crate::events::Event;
use crate::model::stage::Stage;
use os_image::index::Index;

/// Zeros are made so many bytes at a time, or one chunk: whoever writes meanwhile waits for no more than that, and
/// somebody who says stop is heard.
const ZEROS_MOST: u64 = 8 << 20;

/// How often progress is told and the way is thought over.
const TICK: Duration = Duration::from_millis(100);

/// Chunks in a row that the disk does not hold, after which it is not asked about the rest.
const MISSES: usize = 32;

/// What the calling thread knows.
pub(super) struct Supervisor<'a, 'e, 'd> {
    pub(super) engine: &'a Engine<'e, 'd>,
    pub(super) scheduler: &'a ChunkScheduler<'a>,
    /// Whether the disk is read, and may cease to be.
    pub(super) is_checking: bool,
    /// The last chunk of those looked at first that the disk held.
    pub(super) last_held: Option<usize>,
    /// When progress was told last.
    pub(super) told: Option<Instant>,
}

impl Supervisor<'_, '_, '_> {
    /// Until every chunk is done, or somebody failed; `why` gains a reason when the way changes.
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
                self.tell(true);
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
            self.tell(false);
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

    /// Why the disk is not to be read any further, where that is so.
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
        is_looking_too_slow(&measured).then(|| {
            "reading the disk is slower than writing it, so the rest is written in full".to_owned()
        })
    }

    fn tell(&mut self, last: bool) {
        if !last && self.told.is_some_and(|told| told.elapsed() < TICK) {
            return;
        }
        self.told = Some(Instant::now());
        self.engine.events.tell(&Event::Progress {
            stage: Stage::Image,
            what: self.engine.name.clone(),
            done_bytes: self.scheduler.progress().done,
            total_bytes: Some(self.engine.index.raw_size()),
        });
    }
}

/// How long the data file is for each byte of the image.
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
