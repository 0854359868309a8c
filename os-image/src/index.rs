//! The chunk index of a packed image in memory: binary, and bounded in size.

use std::cell::OnceCell;
use std::fmt;

use crate::error::InvalidManifest;

/// Maximum memory in bytes of an image's index. `pack` chooses the chunk size accordingly.
pub const INDEX_LIMIT: usize = 8 << 20;

/// The smallest chunk size, 1 MiB.
pub(crate) const CHUNK_SIZE_MIN: u32 = 1 << 20;
/// The largest chunk size, 16 MiB: two forms of a chunk are in memory while it is written.
pub const CHUNK_SIZE_MAX: u32 = 16 << 20;

/// No zstd frame is shorter: magic number, a header of two bytes, one block header.
const FRAME_MIN: u32 = 9;

/// Marks a zero chunk in [`Entry::offset_and_zero`]; no file is so long that its offsets need this bit.
const ZERO: u64 = 1 << 63;

/// One piece of the raw image and the zstd frame that it is packed as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Offset in the raw image, in bytes.
    pub raw_offset: u64,
    /// Length in the raw image, in bytes.
    pub raw_length: u32,
    /// Offset of its frame in the data file, in bytes.
    pub packed_offset: u64,
    /// Length of its frame in bytes.
    pub packed_length: u32,
    /// BLAKE3 of the raw bytes.
    pub raw_digest: [u8; 32],
    /// BLAKE3 of the frame.
    pub packed_digest: [u8; 32],
    /// Whether all raw bytes are zero; if so, `raw_digest` is that of so many zeros (checked by the reader).
    pub zero: bool,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("raw_offset", &self.raw_offset)
            .field("raw_length", &self.raw_length)
            .field("packed_offset", &self.packed_offset)
            .field("packed_length", &self.packed_length)
            .field("zero", &self.zero)
            .finish_non_exhaustive()
    }
}

/// The stored part of a chunk; the rest follows from its number and its neighbour.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    offset_and_zero: u64,
    raw_digest: [u8; 32],
    packed_digest: [u8; 32],
}

/// Bytes of memory per chunk.
const ENTRY_SIZE: u64 = 72;
const _: () = assert!(size_of::<Entry>() == 72);

/// The chunks of an image, in order, without gaps in either form: an `Index` that exists is consistent.
#[derive(Clone, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    chunk_size: u32,
    raw_size: u64,
    packed_size: u64,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("chunks", &self.entries.len())
            .field("chunk_size", &self.chunk_size)
            .field("raw_size", &self.raw_size)
            .field("packed_size", &self.packed_size)
            .finish()
    }
}

impl Index {
    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no chunks; an index that was read has at least one.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Length in bytes of every chunk but the last, which may be shorter. A power of two.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Length of the raw image in bytes.
    pub fn raw_size(&self) -> u64 {
        self.raw_size
    }

    /// Length of the data file in bytes.
    pub fn packed_size(&self) -> u64 {
        self.packed_size
    }

    /// The `i`th chunk, counted from 0.
    pub fn chunk(&self, i: usize) -> Option<Chunk> {
        let entry = self.entries.get(i)?;
        let raw_offset = u64::try_from(i).ok()?.checked_mul(self.chunk_size.into())?;
        let next = i.checked_add(1).and_then(|i| self.entries.get(i));
        let end = next.map_or(self.packed_size, Entry::offset);
        Some(Chunk {
            raw_offset,
            raw_length: length_at(raw_offset, self.raw_size, self.chunk_size),
            packed_offset: entry.offset(),
            packed_length: u32::try_from(end.checked_sub(entry.offset())?).ok()?,
            raw_digest: entry.raw_digest,
            packed_digest: entry.packed_digest,
            zero: entry.offset_and_zero & ZERO != 0,
        })
    }

    /// All chunks, in order.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> + '_ {
        (0..self.entries.len()).filter_map(|i| self.chunk(i))
    }
}

impl Entry {
    fn offset(&self) -> u64 {
        self.offset_and_zero & !ZERO
    }
}

/// The number of chunks of an image of `raw_size` bytes.
fn count(raw_size: u64, chunk_size: u32) -> u64 {
    raw_size.div_ceil(chunk_size.into())
}

/// The raw length of the chunk that begins at `offset`.
fn length_at(offset: u64, raw_size: u64, chunk_size: u32) -> u32 {
    let rest = raw_size.saturating_sub(offset);
    u32::try_from(rest).map_or(chunk_size, |rest| rest.min(chunk_size))
}

/// The longest frame, in bytes, that zstd makes of `length` bytes (`ZSTD_COMPRESSBOUND` of zstd.h).
pub(crate) const fn packed_length_max(length: u32) -> u32 {
    const SMALL: u32 = 128 << 10;
    let margin = SMALL.saturating_sub(length) >> 11;
    length.saturating_add(length >> 8).saturating_add(margin)
}

/// The chunk size for an image of `raw_size` bytes: at least `smallest`, doubled until the index fits in
/// [`INDEX_LIMIT`]. `None` if even chunks of 16 MiB are too many.
pub fn chunk_size_for(raw_size: u64, smallest: u32) -> Option<u32> {
    let limit = u64::try_from(INDEX_LIMIT).ok()?;
    let mut size = smallest;
    while size <= CHUNK_SIZE_MAX {
        if count(raw_size, size).saturating_mul(ENTRY_SIZE) <= limit {
            return Some(size);
        }
        size = size.checked_mul(2)?;
    }
    None
}

/// Builds an index from the chunks of an image, one by one, and refuses the first invalid one.
#[derive(Debug)]
pub struct IndexBuilder {
    index: Index,
    /// Digests of zeros of a chunk's length and of the last chunk's length, computed on first use.
    zeros: OnceCell<[u8; 32]>,
    tail_zeros: OnceCell<[u8; 32]>,
}

impl IndexBuilder {
    /// For an image of `raw_size` bytes in chunks of `chunk_size`, whose index may take `limit` bytes of memory; all of
    /// that memory is allocated here.
    pub fn new(raw_size: u64, chunk_size: u32, limit: usize) -> Result<Self, InvalidManifest> {
        if !chunk_size.is_power_of_two() || !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&chunk_size)
        {
            return Err(InvalidManifest::ChunkSize(chunk_size.into()));
        }
        let chunks = count(raw_size, chunk_size);
        let needed = chunks.saturating_mul(ENTRY_SIZE);
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let too_large = InvalidManifest::IndexTooLarge {
            chunks,
            needed,
            limit,
        };
        if needed > limit {
            return Err(too_large);
        }
        let mut entries = Vec::new();
        let capacity = usize::try_from(chunks).map_err(|_| too_large.clone())?;
        entries.try_reserve_exact(capacity).map_err(|_| too_large)?;
        Ok(Self {
            index: Index {
                entries,
                chunk_size,
                raw_size,
                packed_size: 0,
            },
            zeros: OnceCell::new(),
            tail_zeros: OnceCell::new(),
        })
    }

    /// Bytes of memory that the index takes.
    pub(crate) fn memory(&self) -> usize {
        self.index
            .entries
            .capacity()
            .saturating_mul(size_of::<Entry>())
    }

    /// Required offsets of the next chunk in the raw image and in the data file.
    pub fn next_offsets(&self) -> (u64, u64) {
        let taken = u64::try_from(self.index.entries.len()).unwrap_or(u64::MAX);
        let raw = taken.saturating_mul(self.index.chunk_size.into());
        (raw, self.index.packed_size)
    }

    /// Adds the next chunk, after checking it.
    pub fn push(&mut self, chunk: &Chunk) -> Result<(), InvalidManifest> {
        let index = &self.index;
        let taken = u64::try_from(index.entries.len()).unwrap_or(u64::MAX);
        let expected = count(index.raw_size, index.chunk_size);
        if taken >= expected {
            return Err(InvalidManifest::Count {
                expected,
                found: taken.saturating_add(1),
            });
        }
        let (raw_offset, packed_offset) = self.next_offsets();
        let offsets = [
            ("raw", raw_offset, chunk.raw_offset),
            ("packed", packed_offset, chunk.packed_offset),
        ];
        for (form, expected, found) in offsets {
            if expected != found {
                return Err(InvalidManifest::Offset {
                    form,
                    expected,
                    found,
                });
            }
        }
        let raw_length = length_at(raw_offset, index.raw_size, index.chunk_size);
        if chunk.raw_length != raw_length {
            return Err(InvalidManifest::RawLength {
                expected: raw_length,
                found: chunk.raw_length.into(),
            });
        }
        let most = packed_length_max(raw_length);
        if !(FRAME_MIN..=most).contains(&chunk.packed_length) {
            return Err(InvalidManifest::PackedLength {
                least: FRAME_MIN,
                most,
                found: chunk.packed_length.into(),
            });
        }
        if chunk.zero != (chunk.raw_digest == self.zeros(raw_length)) {
            return Err(InvalidManifest::Zero(chunk.zero));
        }
        self.index.entries.push(Entry {
            offset_and_zero: chunk.packed_offset | if chunk.zero { ZERO } else { 0 },
            raw_digest: chunk.raw_digest,
            packed_digest: chunk.packed_digest,
        });
        // cannot overflow: every frame is bounded, and so is their number
        self.index.packed_size = self
            .index
            .packed_size
            .saturating_add(chunk.packed_length.into());
        Ok(())
    }

    /// Returns the index, if all chunks were added and add up to `packed_size`.
    pub fn finish(self, packed_size: u64) -> Result<Index, InvalidManifest> {
        let found = u64::try_from(self.index.entries.len()).unwrap_or(u64::MAX);
        let expected = count(self.index.raw_size, self.index.chunk_size);
        if found != expected {
            return Err(InvalidManifest::Count { expected, found });
        }
        if self.index.packed_size != packed_size {
            return Err(InvalidManifest::PackedSize {
                expected: packed_size,
                found: self.index.packed_size,
            });
        }
        Ok(self.index)
    }

    fn zeros(&self, length: u32) -> [u8; 32] {
        let known = if length == self.index.chunk_size {
            &self.zeros
        } else {
            &self.tail_zeros
        };
        *known.get_or_init(|| zeros_digest(length))
    }
}

/// BLAKE3 of `length` zero bytes.
pub(crate) fn zeros_digest(length: u32) -> [u8; 32] {
    static PIECE: [u8; 64 << 10] = [0; 64 << 10];
    let mut hasher = blake3::Hasher::new();
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    while left > 0 {
        let piece = PIECE.get(..left).unwrap_or(&PIECE);
        hasher.update(piece);
        left = left.saturating_sub(piece.len());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunk_size_grows_with_the_image_so_that_the_index_fits() {
        const GIB: u64 = 1 << 30;
        for (raw_size, smallest, chunk_size) in [
            (512, 1, Some(1)),
            (3 * GIB, 2, Some(2)),
            (113 * GIB, 1, Some(1)),
            (114 * GIB, 1, Some(2)),
            (1024 * GIB, 1, Some(16)),
            (1820 * GIB, 1, Some(16)),
            (1821 * GIB, 1, None),
            (u64::MAX, 1, None),
        ] {
            let found = chunk_size_for(raw_size, smallest << 20);
            assert_eq!(found, chunk_size.map(|mib: u32| mib << 20), "{raw_size}");
            if let Some(chunk_size) = found {
                let builder = IndexBuilder::new(raw_size, chunk_size, INDEX_LIMIT).unwrap();
                assert!(builder.memory() <= INDEX_LIMIT);
            }
        }
    }

    #[test]
    fn the_bound_of_a_frame_is_the_one_that_zstd_gives() {
        for length in [0, 1, 512, (128 << 10) - 1, 128 << 10, 1 << 20, 16 << 20] {
            let zstd = zstd::zstd_safe::compress_bound(usize::try_from(length).unwrap());
            assert_eq!(
                usize::try_from(packed_length_max(length)),
                Ok(zstd),
                "{length}"
            );
        }
    }

    #[test]
    fn zeros_have_the_digest_of_zeros() {
        for length in [1, 512, 65_536, 65_537, 1 << 20] {
            let zeros = vec![0; usize::try_from(length).unwrap()];
            assert_eq!(blake3::hash(&zeros), zeros_digest(length));
        }
    }
}
