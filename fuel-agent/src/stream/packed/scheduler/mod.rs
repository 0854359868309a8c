//! What is known of each chunk, and who does what next: the one thing that all threads of an image share.
//!
//! ```text
//!   Unknown ──check──▶ Done                 what the disk holds is right
//!      └─────────────▶ Missing ──a lane asks──▶ Coming ──▶ Here ──a worker writes──▶ Done
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

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody has looked whether the disk holds it.
    Unknown,
    /// It has to be fetched, or made zero.
    Missing,
    /// The lane of this number has asked for it.
    Coming(u8),
    /// It is in memory.
    Here,
    /// The disk holds it.
    Done,
}

/// A chunk that has come.
pub(super) struct Arrived {
    /// Which.
    pub(super) chunk: usize,
    /// Its frame.
    pub(super) packed: Buffer,
    /// Which mirror sent it.
    pub(super) mirror: usize,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Raw bytes of chunks that are done.
    pub(super) done: u64,
    /// Raw bytes that were on the disk already.
    pub(super) kept: u64,
    /// Raw bytes of chunks that came and were written.
    pub(super) written: u64,
    /// Chunks that were looked for on the disk, and how many of them it held.
    pub(super) checked: usize,
    /// Chunks that the disk held.
    pub(super) matched: usize,
    /// Chunks since the last one that the disk held.
    pub(super) misses_in_a_row: usize,
}

struct State {
    phases: Vec<Phase>,
    /// Data chunks in phase `Missing`.
    missing: BTreeSet<usize>,
    /// Zero chunks in phase `Missing`.
    zeros: BTreeSet<usize>,
    /// All before it are not `Unknown`.
    unchecked: usize,
    /// Chunks not `Done`.
    left: usize,
    /// Chunks that are `Done`, of zeros and of data.
    done: [usize; 2],
    arrived: VecDeque<Arrived>,
    /// When each lane delivered last.
    heard: [Option<Instant>; LANES_MAX],
    failed: Option<StreamError>,
    progress: Progress,
}

/// How many lanes there may be.
pub(super) const LANES_MAX: usize = 4;

/// The board.
pub(super) struct ChunkScheduler<'a> {
    index: &'a Index,
    /// Chunks of zeros in the image.
    zeros: usize,
    state: Mutex<State>,
    changed: Condvar,
    /// Ends whatever waits for a server.
    stop: Cancel,
}

/// How the disk came to hold a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkOrigin {
    /// It held it.
    Kept,
    /// It was written.
    Written,
    /// It was made zero.
    Zeroed,
}

impl<'a> ChunkScheduler<'a> {
    /// All chunks have to come but for those that `unknown` wants to be looked for. The first is never looked for: what
    /// was in its place is gone before anything else is done.
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
                heard: [None; LANES_MAX],
                failed: None,
                progress: Progress::default(),
            }),
            changed: Condvar::new(),
            stop,
        };
        if unknown {
            scheduler.miss(&mut scheduler.lock(), 0);
        } else {
            scheduler.stop_checking();
        }
        scheduler
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // nobody panics while holding it
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, limit: Duration) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn miss(&self, state: &mut State, chunk: usize) {
        let is_zero = self.index.chunk(chunk).is_some_and(|chunk| chunk.zero);
        state.phases[chunk] = Phase::Missing;
        if is_zero {
            state.zeros.insert(chunk);
        } else {
            state.missing.insert(chunk);
        }
    }

    /// What the disk holds is of no interest any more: everything that nobody looked at has to come.
    pub(super) fn stop_checking(&self) {
        let mut state = self.lock();
        for chunk in state.unchecked..self.index.len() {
            if state.phases[chunk] == Phase::Unknown {
                self.miss(&mut state, chunk);
            }
        }
        state.unchecked = self.index.len();
        self.changed.notify_all();
    }

    /// The next chunk to look for on the disk; `None` when there is none any more.
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

    /// Whether the disk holds a chunk that was looked for. It may have come meanwhile.
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
            self.miss(&mut state, chunk);
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

    /// The disk holds these chunks now.
    pub(super) fn done(&self, chunks: std::ops::Range<usize>, how: ChunkOrigin) {
        let mut state = self.lock();
        for chunk in chunks {
            self.finish(&mut state, chunk, how);
        }
        self.changed.notify_all();
    }

    /// Whether a larger share of the zeros is there than of the data. A disk does not write while it makes zeros: done
    /// all at once, they would leave whoever unpacks without a place to put things.
    fn zeros_are_ahead(&self, state: &State) -> bool {
        let [zeros, data] = state.done;
        let all_data = self.index.len() - self.zeros;
        data < all_data && zeros * all_data > data * self.zeros
    }

    /// Zero chunks one after the other that have to be made, `most` of them; they are no longer on the board's list.
    /// None while data lags behind, and none once all is over.
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

    /// A chunk that has come; dropped where nobody waits for it. Whether to go on.
    pub(super) fn arrived(&self, fetcher: u8, arrived: Arrived) -> bool {
        let mut state = self.lock();
        state.hear(fetcher);
        if state.is_over() {
            return false;
        }
        let chunk = arrived.chunk;
        let is_zero = self.index.chunk(chunk).is_none_or(|chunk| chunk.zero);
        let is_welcome = matches!(
            state.phases.get(chunk),
            Some(Phase::Unknown | Phase::Missing | Phase::Coming(_))
        );
        if is_welcome && !is_zero {
            state.missing.remove(&chunk);
            state.phases[chunk] = Phase::Here;
            state.arrived.push_back(arrived);
            self.changed.notify_all();
        }
        true
    }

    /// A lane broke off: what it was waiting for has to be asked for again.
    pub(super) fn give_back(&self, fetcher: u8) {
        let mut state = self.lock();
        for chunk in 0..self.index.len() {
            if state.phases[chunk] == Phase::Coming(fetcher) {
                self.miss(&mut state, chunk);
            }
        }
        self.changed.notify_all();
    }

    /// A chunk that came and is wrong has to come again.
    pub(super) fn again(&self, chunk: usize) {
        self.miss(&mut self.lock(), chunk);
        self.changed.notify_all();
    }

    /// The next chunk that has come; waits for it. `None` when all is over.
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

    /// Waits until something is missing or all is over; whether something is missing.
    pub(super) fn waits_for_more(&self) -> bool {
        let mut state = self.lock();
        while !state.is_over() && state.missing.is_empty() {
            state = self.wait(state, Duration::from_secs(1));
        }
        !state.is_over()
    }

    /// Ends it all; the first error is the one that counts.
    pub(super) fn fail(&self, error: StreamError) {
        let mut state = self.lock();
        state.failed.get_or_insert(error);
        state.arrived.clear();
        self.stop.cancel();
        self.changed.notify_all();
    }

    /// Waits for something to happen, not longer than `limit`, but not where zeros are to be made; whether it is over.
    pub(super) fn is_over_within(&self, limit: Duration) -> bool {
        let state = self.lock();
        let has_zeros = !state.zeros.is_empty() && !self.zeros_are_ahead(&state);
        if state.is_over() || has_zeros {
            return state.is_over();
        }
        self.wait(state, limit).is_over()
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// What it came to.
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

    fn hear(&mut self, fetcher: u8) {
        if let Some(heard) = self.heard.get_mut(usize::from(fetcher)) {
            *heard = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
