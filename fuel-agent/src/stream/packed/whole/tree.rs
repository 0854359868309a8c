//! BLAKE3 of the whole image, merged from values of its chunks.
//!
//! The digest of a chunk is the root of a tree of its own and cannot be merged; the whole needs the value that the
//! chunk has at its place in the tree of the whole. The chunk length is a power of two and each offset a multiple of
//! it, so each chunk is one subtree. The last may be shorter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use os_image::hex;
use os_image::index::{Chunk, Index};

use crate::stream::error::StreamError;

/// Zeros are digested in units of this many bytes.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The values of all chunks: 33 bytes of memory each.
pub(super) struct Tree<'a> {
    index: &'a Index,
    values: Mutex<Vec<Option<ChainingValue>>>,
}

/// A hasher for `chunk` at its place in the whole.
pub(super) fn hasher(chunk: &Chunk) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(chunk.raw_offset);
    hasher
}

impl<'a> Tree<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self {
            index,
            values: Mutex::new(vec![None; index.len()]),
        }
    }

    fn values(&self) -> MutexGuard<'_, Vec<Option<ChainingValue>>> {
        // no code panics while holding the lock
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the value of a chunk that `subtree` has digested completely.
    pub(super) fn put(&self, number: usize, subtree: &blake3::Hasher) {
        let value = subtree.finalize_non_root();
        if let Some(place) = self.values().get_mut(number) {
            *place = Some(value);
        }
    }

    /// The digest of the whole in hexadecimal. All data chunks have to be stored; zero chunks are computed here.
    pub(super) fn root(
        &self,
        is_cancelled: impl Fn() -> bool + Sync,
    ) -> Result<String, StreamError> {
        if let (1, Some(only)) = (self.index.len(), self.index.chunk(0)) {
            // the only chunk is the root itself, and is verified already
            return Ok(hex::text(&only.raw_digest));
        }
        self.fill_zeros(&is_cancelled);
        if is_cancelled() {
            return Err(StreamError::Cancelled);
        }
        let values = self.values();
        let middle = left_of(values.len());
        let (left, right) = values.split_at(middle);
        let root = match (merged(left), merged(right)) {
            (Some(left), Some(right)) => merge_subtrees_root(&left, &right, Mode::Hash),
            _ => return Err(StreamError::HungUp),
        };
        Ok(hex::text(root.as_bytes()))
    }

    /// Computes the values of zero chunks on all processors. They differ: the value depends on the offset.
    fn fill_zeros(&self, is_cancelled: &(impl Fn() -> bool + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((number, chunk)) = self.following(&next)
                && !is_cancelled()
            {
                if chunk.zero {
                    self.put(number, &zeros(&chunk));
                }
            }
        };
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            for _ in 1..cores {
                // if a thread cannot be started, the others do its share
                let spawned = thread::Builder::new().spawn_scoped(scope, work);
                drop(spawned);
            }
            work();
        });
    }

    fn following(&self, next: &AtomicUsize) -> Option<(usize, Chunk)> {
        let number = next.fetch_add(1, Ordering::Relaxed);
        self.index.chunk(number).map(|chunk| (number, chunk))
    }
}

/// A hasher of a zero chunk at its place.
fn zeros(chunk: &Chunk) -> blake3::Hasher {
    let mut hasher = hasher(chunk);
    let mut left = usize::try_from(chunk.raw_length).unwrap_or(usize::MAX);
    while left > 0 {
        let count = left.min(ZEROS.len());
        hasher.update(&ZEROS[..count]);
        left -= count;
    }
    hasher
}

/// Number of subtrees left of the root, of two or more: the largest power of two below `count`.
fn left_of(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The merged value, or `None` if a chunk is missing.
fn merged(values: &[Option<ChainingValue>]) -> Option<ChainingValue> {
    match values {
        [] => None,
        [only] => *only,
        _ => {
            let (left, right) = values.split_at(left_of(values.len()));
            Some(merge_subtrees_non_root(
                &merged(left)?,
                &merged(right)?,
                Mode::Hash,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use os_image::codec::Packer;
    use os_image::index::IndexBuilder;

    use super::*;

    const CHUNK: usize = 1 << 20;

    fn index_of(raw: &[u8]) -> Index {
        let mut packer = Packer::new(1).unwrap();
        let size = u64::try_from(raw.len()).unwrap();
        let mut builder = IndexBuilder::new(size, 1 << 20, 1 << 20).unwrap();
        let mut frame = Vec::new();
        for piece in raw.chunks(CHUNK) {
            let done = packer.pack(piece, &mut frame).unwrap();
            let (raw_offset, packed_offset) = builder.next_offsets();
            builder
                .push(&Chunk {
                    raw_offset,
                    raw_length: u32::try_from(piece.len()).unwrap(),
                    packed_offset,
                    packed_length: u32::try_from(frame.len()).unwrap(),
                    raw_digest: done.raw_digest,
                    packed_digest: done.packed_digest,
                    zero: done.zero,
                })
                .unwrap();
        }
        let (_, packed_size) = builder.next_offsets();
        builder.finish(packed_size).unwrap()
    }

    #[test]
    fn the_chunks_together_have_the_digest_of_the_whole() {
        for length in [
            512,
            CHUNK,
            CHUNK + 512,
            2 * CHUNK,
            3 * CHUNK - 512,
            4 * CHUNK,
            5 * CHUNK + 1024,
            8 * CHUNK,
            9 * CHUNK + 4096,
        ] {
            let raw: Vec<u8> = (0..length)
                .map(|at| {
                    if at / CHUNK % 3 == 1 {
                        0
                    } else {
                        u8::try_from(at % 251).unwrap()
                    }
                })
                .collect();
            let index = index_of(&raw);
            let tree = Tree::new(&index);
            for (number, chunk) in index.iter().enumerate().filter(|(_, chunk)| !chunk.zero) {
                let mut subtree = hasher(&chunk);
                subtree.update(raw.chunks(CHUNK).nth(number).unwrap());
                tree.put(number, &subtree);
            }
            let root = tree.root(|| false).unwrap();
            assert_eq!(root, hex::text(blake3::hash(&raw).as_bytes()), "{length}");
        }
    }

    #[test]
    fn a_chunk_that_is_missing_makes_no_digest() {
        let raw = vec![7; 3 * CHUNK];
        let index = index_of(&raw);
        let tree = Tree::new(&index);
        assert!(tree.root(|| false).is_err());
        assert!(matches!(tree.root(|| true), Err(StreamError::Cancelled)));
    }
}
