//! Packs the chunks of a raw image on all cores: data file, gzip file, index and digests in one pass.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::Sender;
use host::cancel::Cancel;
use host::move_tree::next_data;
use indicatif::ProgressBar;
use os_image::codec::{Packed, Packer, is_zero};
use os_image::index::{Chunk, INDEX_LIMIT, Index, IndexBuilder};

use super::gzip::{Deflater, Frame};
use crate::file_digest::{Digesting, FileDigest, WithMd5};
use crate::pipeline;

/// Input and parameters.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The raw image, readable at any offset.
    pub(crate) file: &'a File,
    /// Length of the raw image in bytes.
    pub(crate) size: u64,
    /// Extents that are recorded as zero without being read: sorted, without overlaps.
    pub(crate) free: &'a [Range<u64>],
    /// Bytes per chunk.
    pub(crate) chunk_size: u32,
    /// zstd's level.
    pub(crate) level: i32,
    /// gzip's level.
    pub(crate) gzip_level: u32,
    /// Whether md5 is computed too.
    pub(crate) md5: WithMd5,
    /// Number of threads that pack.
    pub(crate) threads: usize,
}

/// Results of packing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Index of all chunks.
    pub(crate) index: Index,
    /// Size and digests of the raw image, with zeros in the free extents.
    pub(crate) raw: FileDigest,
    /// Size and digests of the data file.
    pub(crate) packed: FileDigest,
    /// Size and digests of the gzip file, if it was made.
    pub(crate) gzip: Option<FileDigest>,
}

/// Buffers of a chunk; they are reused.
#[derive(Clone, Debug, Default)]
struct Slot {
    raw: Vec<u8>,
    frame: Vec<u8>,
    deflated: Vec<u8>,
}

/// State of a packing thread.
#[derive(Debug)]
struct Worker {
    packer: Packer,
    deflater: Option<Deflater>,
    /// The last packed chunk of zeros. Half of a typical image is zero, and all such chunks are equal.
    zero: Option<(Slot, Packed)>,
}

impl Worker {
    fn pack(&mut self, slot: &mut Slot) -> io::Result<Packed> {
        let zero = is_zero(&slot.raw);
        let same = |(known, _): &&(Slot, Packed)| known.raw.len() == slot.raw.len();
        if let Some((known, packed)) = self.zero.as_ref().filter(same).filter(|_| zero) {
            slot.frame.clone_from(&known.frame);
            slot.deflated.clone_from(&known.deflated);
            return Ok(*packed);
        }
        if let Some(deflater) = &mut self.deflater {
            deflater.deflate(&slot.raw, &mut slot.deflated)?;
        }
        let packed = self.packer.pack(&slot.raw, &mut slot.frame)?;
        if packed.zero {
            self.zero = Some((slot.clone(), packed));
        }
        Ok(packed)
    }
}

/// A packed chunk for the digest threads, and the channel that its buffers are returned to.
type Passing = (Slot, Sender<Slot>);

impl Job<'_> {
    /// Packs into `data`, and into `gzip` if given.
    pub(crate) fn run(
        &self,
        data: &File,
        gzip: Option<&File>,
        cancel: &Cancel,
        bar: &ProgressBar,
    ) -> Result<Done> {
        let mut index = IndexBuilder::new(self.size, self.chunk_size, INDEX_LIMIT)?;
        let mut out = Digesting::new(BufWriter::with_capacity(1 << 20, data), self.md5);
        let mut gzip =
            gzip.map(|file| Digesting::new(BufWriter::with_capacity(1 << 20, file), self.md5));
        if let Some(gzip) = &mut gzip {
            Frame::begin(gzip).context("cannot write the gzip file")?;
        }
        let (to_digest, passing) = sync_channel(1);
        let with_gzip = gzip.is_some();
        let (raw, frame) = thread::scope(|scope| {
            let whole = scope.spawn(move || self.digest(&passing, with_gzip));
            let packed = self.pack(with_gzip, cancel, |slot, packed, give_back| {
                let chunk = chunk(&slot, &packed, index.next_offsets())?;
                index.push(&chunk)?;
                out.write_all(&slot.frame)
                    .context("cannot write the data file")?;
                if let Some(gzip) = &mut gzip {
                    gzip.write_all(&slot.deflated)
                        .context("cannot write the gzip file")?;
                }
                bar.inc(chunk.raw_length.into());
                let ended = |_| anyhow!("the digest thread has ended");
                to_digest.send((slot, give_back.clone())).map_err(ended)
            });
            drop(to_digest);
            let whole = whole
                .join()
                .map_err(|_| anyhow!("the digest thread has panicked"));
            packed.and(whole)
        })?;
        out.flush().context("cannot write the data file")?;
        let packed = out.finish().1;
        let gzip = gzip.map(|mut gzip| {
            frame
                .end(&mut gzip)
                .and_then(|()| gzip.flush())
                .context("cannot write the gzip file")?;
            anyhow::Ok(gzip.finish().1)
        });
        Ok(Done {
            index: index.finish(packed.size)?,
            raw,
            packed,
            gzip: gzip.transpose()?,
        })
    }

    fn pack(
        &self,
        with_gzip: bool,
        cancel: &Cancel,
        take: impl FnMut(Slot, Packed, &Sender<Slot>) -> Result<()>,
    ) -> Result<()> {
        let count = self.size.div_ceil(self.chunk_size.into());
        let slots = std::iter::repeat_with(Slot::default).take(pipeline::slots(self.threads));
        let begin = || {
            Ok(Worker {
                packer: Packer::new(self.level)?,
                deflater: with_gzip.then(|| Deflater::new(self.gzip_level)),
                zero: None,
            })
        };
        let work = |worker: &mut Worker, number, slot: &mut Slot| {
            self.read(number, &mut slot.raw)
                .context("cannot read the image")?;
            worker.pack(slot).context("cannot pack a chunk")
        };
        pipeline::in_order(
            count,
            slots.collect(),
            self.threads,
            cancel,
            begin,
            work,
            take,
        )
    }

    /// The digests of the whole raw image, from chunks in order. md5 takes as long as the rest together, so it has a
    /// thread of its own.
    fn digest(&self, passing: &Receiver<Passing>, with_gzip: bool) -> (FileDigest, Frame) {
        let (to_md5, for_md5) = sync_channel::<Passing>(1);
        thread::scope(|scope| {
            let md5 = (self.md5 == WithMd5::Yes).then(|| scope.spawn(move || md5(&for_md5)));
            let (mut digest, frame) = sha256(passing, md5.is_some().then_some(&to_md5), with_gzip);
            drop(to_md5);
            digest.md5 = md5.and_then(|md5| md5.join().ok());
            (digest, frame)
        })
    }

    /// Reads chunk `number`; holes and free extents are zeros without being read.
    fn read(&self, number: u64, raw: &mut Vec<u8>) -> io::Result<()> {
        let start = number * u64::from(self.chunk_size);
        let end = self.size.min(start + u64::from(self.chunk_size));
        raw.clear();
        raw.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        let mut at = start;
        while let Some((from, to)) = next_data(self.file, at, end)? {
            for used in used_parts(from..to, self.free) {
                self.file
                    .read_exact_at(part(raw, &used, start)?, used.start)?;
            }
            at = to;
        }
        Ok(())
    }
}

/// The index entry of a chunk at the offsets `at` (raw, packed).
fn chunk(slot: &Slot, packed: &Packed, at: (u64, u64)) -> Result<Chunk> {
    Ok(Chunk {
        raw_offset: at.0,
        raw_length: u32::try_from(slot.raw.len())?,
        packed_offset: at.1,
        packed_length: u32::try_from(slot.frame.len())?,
        raw_digest: packed.raw_digest,
        packed_digest: packed.packed_digest,
        zero: packed.zero,
    })
}

/// The part of the buffer for the bytes of `range`; the buffer begins at offset `start` of the image.
fn part<'b>(raw: &'b mut [u8], range: &Range<u64>, start: u64) -> io::Result<&'b mut [u8]> {
    let from = usize::try_from(range.start - start).map_err(io::Error::other)?;
    let to = usize::try_from(range.end - start).map_err(io::Error::other)?;
    raw.get_mut(from..to)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// The parts of `range` that are not free.
fn used_parts(range: Range<u64>, free: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = free.partition_point(|hole| hole.end <= range.start);
    let mut parts = Vec::new();
    let mut at = range.start;
    for hole in free
        .iter()
        .skip(first)
        .take_while(|hole| hole.start < range.end)
    {
        if hole.start > at {
            parts.push(at..hole.start);
        }
        at = hole.end;
    }
    if at < range.end {
        parts.push(at..range.end);
    }
    parts
}

fn sha256(
    passing: &Receiver<Passing>,
    to_md5: Option<&SyncSender<Passing>>,
    with_gzip: bool,
) -> (FileDigest, Frame) {
    let mut digest = Digesting::new(io::sink(), WithMd5::No);
    let mut frame = Frame::default();
    for (slot, give_back) in passing {
        // a sink takes everything
        let _ = digest.write_all(&slot.raw);
        if with_gzip {
            frame.update(&slot.raw);
        }
        match to_md5 {
            // the md5 thread ends early only by a panic, which `join` reports
            Some(to_md5) => drop(to_md5.send((slot, give_back))),
            None => drop(give_back.send(slot)),
        }
    }
    (digest.finish().1, frame)
}

fn md5(passing: &Receiver<Passing>) -> [u8; 16] {
    use md5::Digest;
    let mut digest = md5::Md5::new();
    for (slot, give_back) in passing {
        digest.update(&slot.raw);
        drop(give_back.send(slot));
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests;
