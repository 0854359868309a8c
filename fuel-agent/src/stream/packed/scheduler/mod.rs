//! The state of every chunk and what to do next. All threads of an image share one scheduler.
//!
//! ```text
//!   Unknown ──check──▶ Done                 the disk holds it
//!      └─────────────▶ Missing ──fetcher──▶ Requested ──▶ Received ──worker──▶ Done
//!                         ▲                        │ broke off, or wrong
//!                         └────────────────────────┘
//! ```

mod groups;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use host::cancel::Cancel;
use os_image::index::Index;

use super::super::error::StreamError;
use crate::pool::Buffer;
pub(super) use groups::Group;

/// State of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The disk has not been checked for it.
    Unknown,
    /// It has to be fetched or zeroed.
    Missing,
    /// The fetcher of this number has requested it.
    Requested(u8),
    /// It is in memory.
    Received,
    /// The disk holds it.
    Done,
}

/// A chunk that a fetcher has received.
pub(super) struct Arrived {
    /// Number of the chunk.
    pub(super) chunk: usize,
    /// Its compressed frame.
    pub(super) packed: Buffer,
    /// Index of the mirror that sent it.
    pub(super) mirror: usize,
}

/// Counters of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Raw bytes of chunks that are done.
    pub(super) done: u64,
    /// Raw bytes that the disk held already.
    pub(super) kept: u64,
    /// Raw bytes of chunks that were fetched and written.
    pub(super) written: u64,
    /// Chunks that the disk was checked for.
    pub(super) checked: usize,
    /// Chunks of these that the disk held.
    pub(super) matched: usize,
    /// Chunks checked since the last one that the disk held.
    pub(super) misses_in_a_row: usize,
}

struct State {
    phases: Vec<Phase>,
    /// Data chunks in phase `Missing`.
    missing: BTreeSet<usize>,
    /// Zero chunks in phase `Missing`.
    zeros: BTreeSet<usize>,
    /// Lowest number that may still be `Unknown`.
    unchecked: usize,
    /// Chunks that are not `Done`.
    left: usize,
    /// Chunks that are `Done`: of zeros, of data.
    done: [usize; 2],
    arrived: VecDeque<Arrived>,
    /// When each fetcher delivered last.
    last_received: [Option<Instant>; FETCHERS_MAX],
    failed: Option<StreamError>,
    progress: Progress,
}

/// Most fetchers of one image.
pub(super) const FETCHERS_MAX: usize = 4;

/// Assigns work to the threads of one image.
pub(super) struct ChunkScheduler<'a> {
    index: &'a Index,
    /// Chunks of zeros in the image.
    zeros: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// Cancels pending requests.
    stop: Cancel,
}

/// How a chunk got onto the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkOrigin {
    /// The disk held it before.
    Kept,
    /// It was fetched and written.
    Written,
    /// It was zeroed.
    Zeroed,
}

impl<'a> ChunkScheduler<'a> {
    /// With `unknown` the disk is checked for all chunks but the first, whose place is zeroed before anything else;
    /// otherwise all chunks are fetched.
    pub(super) fn new(index: &'a Index, unknown: bool, stop: Cancel) -> Self {
        let scheduler = Self {
            index,
            zeros: index.iter().filter(|chunk| chunk.zero).count(),
            state: Mutex::new(State {
                phases: vec![Phase::Unknown; index.len()],
                missing: BTreeSet::new(),
                zeros: BTreeSet::new(),
                unchecked: 0,
                left: index.len(),
                done: [0; 2],
                arrived: VecDeque::new(),
                last_received: [None; FETCHERS_MAX],
                failed: None,
                progress: Progress::default(),
            }),
            changed: Condvar::new(),
            stop,
        };
        if unknown {
            scheduler.mark_missing(&mut scheduler.lock(), 0);
        } else {
            scheduler.stop_checking();
        }
        scheduler
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no code panics while holding the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, limit: Duration) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn mark_missing(&self, state: &mut State, chunk: usize) {
        let is_zero = self.index.chunk(chunk).is_some_and(|chunk| chunk.zero);
        state.phases[chunk] = Phase::Missing;
        if is_zero {
            state.zeros.insert(chunk);
        } else {
            state.missing.insert(chunk);
        }
    }

    /// Stops checking the disk: all unchecked chunks become missing.
    pub(super) fn stop_checking(&self) {
        let mut state = self.lock();
        for chunk in state.unchecked..self.index.len() {
            if state.phases[chunk] == Phase::Unknown {
                self.mark_missing(&mut state, chunk);
            }
        }
        state.unchecked = self.index.len();
        self.changed.notify_all();
    }

    /// The next chunk to check the disk for; `None` if there is none left.
    pub(super) fn next_unchecked(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.is_over() && state.unchecked < self.index.len() {
            let chunk = state.unchecked;
            state.unchecked += 1;
            if state.phases[chunk] == Phase::Unknown {
                return Some(chunk);
            }
        }
        None
    }

    /// Records the result of a check. The chunk may have been received meanwhile.
    pub(super) fn checked(&self, chunk: usize, holds: bool) {
        let mut state = self.lock();
        state.progress.checked += 1;
        if holds {
            state.progress.matched += 1;
            state.progress.misses_in_a_row = 0;
        } else {
            state.progress.misses_in_a_row += 1;
        }
        if state.phases[chunk] != Phase::Unknown {
            return;
        }
        if holds {
            self.finish(&mut state, chunk, ChunkOrigin::Kept);
        } else {
            self.mark_missing(&mut state, chunk);
        }
        self.changed.notify_all();
    }

    fn finish(&self, state: &mut State, chunk: usize, how: ChunkOrigin) {
        let found = self.index.chunk(chunk);
        let length = u64::from(found.map_or(0, |chunk| chunk.raw_length));
        let is_data = found.is_none_or(|chunk| !chunk.zero);
        state.phases[chunk] = Phase::Done;
        state.left -= 1;
        state.done[usize::from(is_data)] += 1;
        state.progress.done += length;
        match how {
            ChunkOrigin::Kept => state.progress.kept += length,
            ChunkOrigin::Written => state.progress.written += length,
            ChunkOrigin::Zeroed => {}
        }
    }

    /// Records that the disk holds these chunks now.
    pub(super) fn done(&self, chunks: std::ops::Range<usize>, how: ChunkOrigin) {
        let mut state = self.lock();
        for chunk in chunks {
            self.finish(&mut state, chunk, how);
        }
        self.changed.notify_all();
    }

    /// Whether the share of zero chunks done exceeds that of data chunks. A disk does not write while it zeroes an
    /// extent: zeroed all at once, they would block the writers, and then the fetchers for want of buffers.
    fn zeros_are_ahead(&self, state: &State) -> bool {
        let [zeros, data] = state.done;
        let all_data = self.index.len() - self.zeros;
        data < all_data && zeros * all_data > data * self.zeros
    }

    /// Takes up to `most` consecutive zero chunks off the list. `None` while data lags behind or when the image is done
    /// or has failed.
    pub(super) fn next_zeros(&self, most: usize) -> Option<std::ops::Range<usize>> {
        let mut state = self.lock();
        if state.is_over() || self.zeros_are_ahead(&state) {
            return None;
        }
        let first = state.zeros.pop_first()?;
        let mut end = first + 1;
        while end - first < most && state.zeros.remove(&end) {
            end += 1;
        }
        Some(first..end)
    }

    /// Accepts a chunk that was received; drops it if it is not needed any more. Returns whether the fetcher should go
    /// on.
    pub(super) fn arrived(&self, fetcher: u8, arrived: Arrived) -> bool {
        let mut state = self.lock();
        state.mark_received(fetcher);
        if state.is_over() {
            return false;
        }
        let chunk = arrived.chunk;
        let is_zero = self.index.chunk(chunk).is_none_or(|chunk| chunk.zero);
        let is_needed = matches!(
            state.phases.get(chunk),
            Some(Phase::Unknown | Phase::Missing | Phase::Requested(_))
        );
        if is_needed && !is_zero {
            state.missing.remove(&chunk);
            state.phases[chunk] = Phase::Received;
            state.arrived.push_back(arrived);
            self.changed.notify_all();
        }
        true
    }

    /// A fetcher broke off: its outstanding chunks become missing again.
    pub(super) fn give_back(&self, fetcher: u8) {
        let mut state = self.lock();
        for chunk in 0..self.index.len() {
            if state.phases[chunk] == Phase::Requested(fetcher) {
                self.mark_missing(&mut state, chunk);
            }
        }
        self.changed.notify_all();
    }

    /// Makes a received chunk missing again: it was wrong, or out of order where that matters.
    pub(super) fn refetch(&self, chunk: usize) {
        self.mark_missing(&mut self.lock(), chunk);
        self.changed.notify_all();
    }

    /// Waits for the next received chunk. `None` when the image is done or has failed.
    pub(super) fn next_arrived(&self) -> Option<Arrived> {
        let mut state = self.lock();
        loop {
            if let Some(arrived) = state.arrived.pop_front() {
                return Some(arrived);
            }
            if state.is_over() {
                return None;
            }
            state = self.wait(state, Duration::from_secs(1));
        }
    }

    /// Waits until a chunk is missing (`true`), or the image is done or has failed (`false`).
    pub(super) fn wait_for_missing(&self) -> bool {
        let mut state = self.lock();
        while !state.is_over() && state.missing.is_empty() {
            state = self.wait(state, Duration::from_secs(1));
        }
        !state.is_over()
    }

    /// Ends the transfer with an error; the first error counts.
    pub(super) fn fail(&self, error: StreamError) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        state.arrived.clear();
        self.stop.cancel();
        self.changed.notify_all();
    }

    /// Waits up to `limit` for a change, or not at all if zero chunks are due. Returns whether the image is done or has
    /// failed.
    pub(super) fn is_over_within(&self, limit: Duration) -> bool {
        let state = self.lock();
        let has_zeros = !state.zeros.is_empty() && !self.zeros_are_ahead(&state);
        if state.is_over() || has_zeros {
            return state.is_over();
        }
        self.wait(state, limit).is_over()
    }

    /// Current counters.
    pub(super) fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// Final counters, or the first error.
    pub(super) fn result(self) -> Result<Progress, StreamError> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None if state.left == 0 => Ok(state.progress),
            None => Err(StreamError::HungUp),
        }
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.left == 0 || self.failed.is_some()
    }

    fn mark_received(&mut self, fetcher: u8) {
        if let Some(last) = self.last_received.get_mut(usize::from(fetcher)) {
            *last = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
