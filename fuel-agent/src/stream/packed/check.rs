//! Checks the disk for chunks: samples a few to see whether that is worth it, then all.

use os_image::codec::is_zero;
use os_image::index::{Chunk, Index};

use super::super::error::StreamError;
use super::choice::Sample;
use super::engine::Engine;
use super::meter::Meter;
use super::scheduler::ChunkScheduler;
use super::target::Target;
use crate::pool::{Buffer, Pool};

/// Bytes read from the disk at once.
pub(super) const PIECE: usize = 1 << 20;

/// Chunks that are sampled.
const SAMPLES: usize = 8;

/// Bytes at the beginning of a chunk that show whether its place was ever written.
const BLANK_PROBE: usize = 4096;

/// Samples data chunks spread over the image.
pub(super) fn sample(index: &Index, target: &Target<'_>, pool: &Pool, meter: &Meter) -> Sample {
    let mut buffer = pool.take();
    let mut found = Sample::default();
    let chosen = spread(index);
    for number in &chosen {
        let Some(chunk) = index.chunk(*number) else {
            continue;
        };
        found.sampled += 1;
        let room = buffer.spare().get_mut(..BLANK_PROBE).unwrap_or_default();
        let is_read = target.read(room, chunk.raw_offset).is_ok();
        if is_read && room.iter().all(|byte| *byte == 0) {
            found.blank += 1;
        }
    }
    if found.blank == found.sampled {
        return found;
    }
    for number in chosen {
        let Some(chunk) = index.chunk(number) else {
            continue;
        };
        let read = |room: &mut [u8], at| target.read(room, at);
        if holds(&chunk, read, &mut buffer, meter, None) {
            found.held += 1;
            found.last_held = Some(number);
        }
    }
    found
}

/// Numbers of full-length data chunks at equal distances, in order, without the first.
fn spread(index: &Index) -> Vec<usize> {
    let is_data = |number: &usize| {
        let chunk = index.chunk(*number);
        chunk.is_some_and(|chunk| !chunk.zero && chunk.raw_length == index.chunk_size())
    };
    let data: Vec<usize> = (1..index.len()).filter(is_data).collect();
    let count = SAMPLES.min(data.len());
    (0..count)
        .filter_map(|n| data.get((2 * n + 1) * data.len() / (2 * count)).copied())
        .collect()
}

/// Whether the disk that `read` reads holds a chunk. A chunk that cannot be read is written anew, which shows whether the disk can still
/// be written. `subtree` digests the same bytes for the digest of the whole.
pub(super) fn holds(
    chunk: &Chunk,
    read: impl Fn(&mut [u8], u64) -> Result<(), StreamError>,
    buffer: &mut Buffer,
    meter: &Meter,
    mut subtree: Option<&mut blake3::Hasher>,
) -> bool {
    let _busy = meter.begin();
    // comparing with zeros is several times as fast as a digest
    let mut hasher = (!chunk.zero).then(blake3::Hasher::new);
    let (mut at, mut left) = (
        chunk.raw_offset,
        usize::try_from(chunk.raw_length).unwrap_or(0),
    );
    while left > 0 {
        let length = left.min(PIECE);
        let room = buffer.spare().get_mut(..length).unwrap_or_default();
        if let Err(error) = read(room, at) {
            tracing::warn!(at, %error, "unreadable");
            return false;
        }
        match &mut hasher {
            Some(hasher) => {
                hasher.update(room);
                if let Some(subtree) = &mut subtree {
                    subtree.update(room);
                }
            }
            None if is_zero(room) => {}
            None => return false,
        }
        meter.add(u64::try_from(length).unwrap_or(u64::MAX));
        at += u64::try_from(length).unwrap_or(u64::MAX);
        left -= length;
    }
    hasher.is_none_or(|hasher| *hasher.finalize().as_bytes() == chunk.raw_digest)
}

/// Checks chunk after chunk until none is left or checking is stopped.
pub(super) fn run(
    engine: &Engine<'_, '_>,
    scheduler: &ChunkScheduler<'_>,
) -> Result<(), StreamError> {
    let mut buffer = engine.checks.take();
    while let Some(number) = scheduler.next_unchecked() {
        let Some(chunk) = engine.index.chunk(number) else {
            return Err(StreamError::HungUp);
        };
        let mut subtree = engine.whole.subtree(&chunk);
        let read = |room: &mut [u8], at| engine.target.read(room, at);
        let holds = holds(&chunk, read, &mut buffer, &engine.reading, subtree.as_mut());
        if holds && !chunk.zero {
            engine.whole.put(number, subtree.as_ref());
        }
        scheduler.checked(number, holds);
    }
    Ok(())
}
