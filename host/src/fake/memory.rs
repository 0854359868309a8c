//! Sparse content of any length in memory.

use std::collections::BTreeMap;

use crate::units::Extent;

/// Bytes per allocated piece; one that was never written reads as zeros.
const PIECE: u64 = 4096;

/// The content of a disk.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// Calls `each` for every piece of the range with its key, the offset within it, and the part of the range.
    fn pieces(at: u64, length: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut done = 0_usize;
        while done < length {
            let place = at + u64::try_from(done).unwrap_or(u64::MAX);
            let inside = usize::try_from(place % PIECE).unwrap_or(0);
            let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
            let run = (piece - inside).min(length - done);
            each(place / PIECE, inside, done..done + run);
            done += run;
        }
    }

    /// Fills `buffer` from `at`.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) {
        Self::pieces(at, buffer.len(), |key, inside, run| {
            let target = buffer.get_mut(run.clone()).unwrap_or_default();
            match self
                .pieces
                .get(&key)
                .and_then(|p| p.get(inside..inside + run.len()))
            {
                Some(bytes) => target.copy_from_slice(bytes),
                None => target.fill(0),
            }
        });
    }

    /// Writes `bytes` at `at`.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        Self::pieces(at, bytes.len(), |key, inside, run| {
            let source = bytes.get(run.clone()).unwrap_or_default();
            let empty = || vec![0; usize::try_from(PIECE).unwrap_or(0)];
            let piece = self.pieces.entry(key).or_insert_with(empty);
            if let Some(target) = piece.get_mut(inside..inside + run.len()) {
                target.copy_from_slice(source);
            }
        });
    }

    /// Zeroes a range of any length, visiting only allocated pieces.
    pub(super) fn clear(&mut self, extent: Extent) {
        let (start, end) = (extent.start.0, extent.end().0);
        let touched: Vec<u64> = self
            .pieces
            .range(start / PIECE..end.div_ceil(PIECE))
            .map(|(key, _)| *key)
            .collect();
        for key in touched {
            let (from, to) = (start.max(key * PIECE), end.min((key + 1) * PIECE));
            let length = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
            self.write(from, &vec![0; length]);
        }
    }
}
