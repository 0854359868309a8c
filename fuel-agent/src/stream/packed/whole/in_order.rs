//! Digests of the whole image if the target discards it: chunks are digested in their order, and fetched again
//! otherwise.

use std::sync::{Mutex, PoisonError};

use os_image::index::Index;

use crate::model::digest::Algorithm;
use crate::stream::digest::{Digests, Hasher};

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Digests chunks from the first to the last.
pub(super) struct InOrder<'a> {
    index: &'a Index,
    state: Mutex<State>,
}

struct State {
    /// Number of the next chunk.
    next: usize,
    hashers: Vec<Hasher>,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(index: &'a Index, algorithms: &[Algorithm]) -> Self {
        let hashers = algorithms.iter().map(|algorithm| Hasher::new(*algorithm));
        Self {
            index,
            state: Mutex::new(State {
                next: 0,
                hashers: hashers.collect(),
            }),
        }
    }

    /// Digests a data chunk and the zero chunks before it; `false` if it is not the next one.
    pub(super) fn take(&self, number: usize, raw: &[u8]) -> bool {
        // no code panics while holding the lock
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take_zeros(self.index);
        if state.next != number {
            return false;
        }
        state.next += 1;
        state.update(raw);
        true
    }

    /// Digests the zero chunks at the end. Sets no digest if a chunk is missing.
    pub(super) fn finish(&self, digests: &mut Digests) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.take_zeros(self.index);
        if state.next == self.index.len() {
            for hasher in state.hashers.drain(..) {
                hasher.finish(digests);
            }
        }
    }
}

impl State {
    fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
    }

    /// Zero chunks are not fetched: they are digested when it is their turn.
    fn take_zeros(&mut self, index: &Index) {
        while let Some(chunk) = index.chunk(self.next).filter(|chunk| chunk.zero) {
            let mut left = usize::try_from(chunk.raw_length).unwrap_or(usize::MAX);
            while left > 0 {
                let count = left.min(ZEROS.len());
                self.update(&ZEROS[..count]);
                left -= count;
            }
            self.next += 1;
        }
    }
}
