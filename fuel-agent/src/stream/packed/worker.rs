//! A worker verifies a received chunk, unpacks it, verifies the result and writes it.

use os_image::codec::{ChunkError, Unpacker};
use os_image::index::{Chunk, Index};

use super::super::error::StreamError;
use super::error::PackedError;
use super::meter::Meter;
use super::mirror::Mirrors;
use super::scheduler::{Arrived, ChunkOrigin, ChunkScheduler};
use super::target::Target;
use super::whole::Whole;
use crate::pool::Pool;
use host::units::Bytes;

/// Shared by all workers of an image.
pub(super) struct WriterContext<'a, 'd> {
    pub(super) index: &'a Index,
    pub(super) scheduler: &'a ChunkScheduler<'a>,
    pub(super) mirrors: &'a Mirrors,
    pub(super) target: &'a Target<'d>,
    pub(super) whole: &'a Whole<'a>,
    /// Buffers for unpacked chunks, one per worker.
    pub(super) pool: &'a Pool,
    /// Counts unpacked bytes and the time spent on them.
    pub(super) meter: &'a Meter,
}

/// Runs until the image is done or has failed; its error becomes the error of the image.
pub(super) fn run(context: &WriterContext<'_, '_>) -> Result<(), StreamError> {
    let mut unpacker = Unpacker::new().map_err(|source| StreamError::Thread { source })?;
    let mut raw = context.pool.take();
    while let Some(arrived) = context.scheduler.next_arrived() {
        let Arrived {
            chunk: number,
            packed,
            mirror,
        } = arrived;
        let Some(chunk) = context.index.chunk(number) else {
            return Err(StreamError::HungUp);
        };
        let _busy = context.meter.begin();
        let length = usize::try_from(chunk.raw_length).unwrap_or(usize::MAX);
        raw.clear();
        let room = raw.spare().get_mut(..length).unwrap_or_default();
        let checked = unpacker.unpack(&chunk, &packed, room);
        // return the buffer to the pool before waiting for the disk
        drop(packed);
        match checked {
            Ok(()) => raw.grow(length),
            Err(ChunkError::Packed) => {
                context.refuse(number, &chunk, mirror)?;
                continue;
            }
            Err(why) => return Err(context.contradiction(number, mirror, why)),
        }
        if !context.whole.take(number, &chunk, &raw) {
            context.scheduler.refetch(number);
            continue;
        }
        context.target.write_chunk(&raw, chunk.raw_offset)?;
        context.meter.add(chunk.raw_length.into());
        context
            .scheduler
            .done(number..number + 1, ChunkOrigin::Written);
    }
    Ok(())
}

impl WriterContext<'_, '_> {
    fn name(&self, mirror: usize) -> String {
        let found = self.mirrors.mirror(mirror);
        found.map_or_else(String::new, |mirror| mirror.file.name().to_owned())
    }

    /// The frame matches the manifest but does not unpack to its chunk: no mirror can have a better one.
    fn contradiction(&self, chunk: usize, mirror: usize, why: ChunkError) -> StreamError {
        let url = self.name(mirror);
        PackedError::Contradiction { url, chunk, why }.into()
    }

    /// Fetches a wrong chunk again, from another mirror if there is one.
    fn refuse(&self, number: usize, chunk: &Chunk, mirror: usize) -> Result<(), StreamError> {
        let url = self.name(mirror);
        tracing::warn!(url, chunk = number, "wrong bytes; fetching again");
        let why = PackedError::WrongChunk {
            url,
            chunk: number,
            offset: Bytes(chunk.packed_offset),
        };
        self.mirrors.sent_wrong(mirror, number, why)?;
        self.scheduler.refetch(number);
        Ok(())
    }
}
