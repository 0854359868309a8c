//! Groups of consecutive chunks for one request: large enough that requests do not dominate, small enough that all
//! fetchers end at about the same time.

use std::time::Duration;

use super::{ChunkScheduler, Phase, State};
use crate::source::range::ByteRange;

/// Zero chunks between data chunks are fetched along with them up to this many bytes: cheaper than another request.
const GAP_LIMIT: u64 = 64 * 1024;

/// After this time without data from a fetcher, others request its chunks too.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Consecutive chunks of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Group {
    /// Number of the first chunk.
    pub(in super::super) first: usize,
    /// Their range in the data file.
    pub(in super::super) wanted: ByteRange,
}

impl ChunkScheduler<'_> {
    /// Takes consecutive missing chunks of about `bytes` bytes, at least one; waits while chunks may become missing
    /// again. `None` when the image is done or has failed.
    pub(in super::super) fn next_group(
        &self,
        fetcher: u8,
        bytes: u64,
        fetchers: u64,
    ) -> Option<Group> {
        let mut state = self.lock();
        loop {
            if state.is_over() {
                return None;
            }
            if !state.missing.is_empty() {
                return self.take_group(&mut state, fetcher, bytes, fetchers);
            }
            if let Some(group) = self.take_over(&mut state, fetcher) {
                return Some(group);
            }
            state = self.wait(state, STALL_TIMEOUT / 4);
        }
    }

    fn take_group(
        &self,
        state: &mut State,
        fetcher: u8,
        bytes: u64,
        fetchers: u64,
    ) -> Option<Group> {
        // smaller groups towards the end, so that all fetchers end together
        let share = usize::try_from(fetchers.max(1) * 2).unwrap_or(1);
        let most = (state.missing.len() / share).max(1);
        let first = *state.missing.first()?;
        let mut group = Vec::new();
        let (mut taken, mut length, mut gap) = (0, 0, 0);
        for chunk in first..self.index.len() {
            let is_missing = state.missing.contains(&chunk);
            let found = self.index.chunk(chunk)?;
            let packed = u64::from(found.packed_length);
            if is_missing {
                if taken == most || (taken > 0 && length + packed > bytes) {
                    break;
                }
                (taken, gap) = (taken + 1, 0);
            } else {
                gap += packed;
                if !found.zero || gap > GAP_LIMIT {
                    break;
                }
            }
            length += packed;
            group.push((chunk, found.packed_length, is_missing));
        }
        // drop the zero chunks at the end
        while group.last().is_some_and(|(_, _, is_missing)| !is_missing) {
            group.pop();
        }
        for (chunk, _, is_missing) in &group {
            if *is_missing {
                state.missing.remove(chunk);
                state.phases[*chunk] = Phase::Requested(fetcher);
            }
        }
        state.mark_received(fetcher);
        let lengths = group.iter().map(|(_, length, _)| *length).collect();
        self.group(first, lengths)
    }

    fn group(&self, first: usize, lengths: Vec<u32>) -> Option<Group> {
        let start = self.index.chunk(first)?.packed_offset;
        Some(Group {
            first,
            wanted: ByteRange { start, lengths },
        })
    }

    /// Takes a chunk that another fetcher has been waiting for too long: a stalled mirror must not delay the end.
    fn take_over(&self, state: &mut State, fetcher: u8) -> Option<Group> {
        let mut phases = state.phases.iter();
        let overdue = phases.position(|phase| match phase {
            Phase::Requested(other) if *other != fetcher => state
                .last_received
                .get(usize::from(*other))
                .is_some_and(|last| last.is_some_and(|last| last.elapsed() > STALL_TIMEOUT)),
            _ => false,
        })?;
        state.phases[overdue] = Phase::Requested(fetcher);
        state.mark_received(fetcher);
        self.group(overdue, vec![self.index.chunk(overdue)?.packed_length])
    }

    /// All chunks, for a server that does not support ranges.
    pub(in super::super) fn everything(&self) -> ByteRange {
        ByteRange {
            start: 0,
            lengths: self.index.iter().map(|chunk| chunk.packed_length).collect(),
        }
    }
}
