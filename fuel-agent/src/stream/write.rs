//! The stage that writes: data past the page cache, runs of zeros by the device, the first block last.

use std::io;
use std::sync::mpsc::Receiver;

use host::blockdev::DirectWriter;
use host::units::{Bytes, Extent};

use super::digest::{Digests, GRANULE};
use super::direct_write_queue::{Completed, DirectWriteQueue};
use super::error::StreamError;
use super::progress::ProgressReporter;
use super::slice::Slice;
use super::{BLOCK_LENGTH, Block, Job, StreamMessage};
use crate::model::url::redacted;
use crate::source::Meter;

const ALIGNMENT: usize = DirectWriter::ALIGNMENT;

/// Longest extent zeroed by one call, so that a cancellation is noticed in between.
const ZERO_RUN: u64 = 1 << 30;

/// Writes the blocks of one image.
pub(super) struct Writer<'a> {
    job: Job<'a>,
    url: String,
    /// For writes past the page cache, if the device supports direct I/O.
    direct: Option<DirectWriteQueue>,
    /// Whether the device has refused direct I/O.
    cached: bool,
    /// The first block, held back.
    head: Option<Block>,
    /// Zeros that have not been written yet.
    zeros: Extent,
    /// End of the furthest write, including passes before the source started over.
    reached: u64,
    progress: ProgressReporter<'a>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(job: Job<'a>, meter: &Meter) -> Result<Self, StreamError> {
        let direct = job.target.direct();
        let direct = direct
            .map_err(|source| StreamError::Disk {
                doing: "open",
                device: job.device.to_owned(),
                offset: 0,
                source,
            })?
            .map(DirectWriteQueue::new)
            .transpose()
            .map_err(|source| StreamError::Thread { source })?;
        Ok(Self {
            url: redacted(job.url),
            direct,
            cached: false,
            head: None,
            zeros: empty_extent(0),
            reached: 0,
            progress: ProgressReporter::new(job.url, job.expected.raw_size, meter, job.events),
            job,
        })
    }

    /// Writes all blocks, then verifies the image.
    pub(super) fn run(mut self, input: &Receiver<StreamMessage>) -> Result<Digests, StreamError> {
        loop {
            if self.job.client.is_cancelled() {
                return Err(StreamError::Cancelled);
            }
            match self.next(input)? {
                StreamMessage::Block(block) => self.take(block)?,
                // the head on the disk is zeroed already, and everything else is overwritten in the new pass
                StreamMessage::StartOver => {
                    self.wait_for_writes()?;
                    (self.head, self.zeros) = (None, empty_extent(0));
                }
                StreamMessage::End(digests) => {
                    self.finish(&digests)?;
                    return Ok(digests);
                }
            }
        }
    }

    /// The next message. While none has arrived, waits for writes in progress: their errors are noticed at once, and
    /// the buffers of failed ones do not starve the stages before this one.
    fn next(&mut self, input: &Receiver<StreamMessage>) -> Result<StreamMessage, StreamError> {
        loop {
            if let Ok(message) = input.try_recv() {
                return Ok(message);
            }
            let completed = match &mut self.direct {
                Some(queue) => queue.complete()?,
                None => None,
            };
            match completed {
                Some(completed) => self.completed(completed)?,
                None => return input.recv().map_err(|_| StreamError::HungUp),
            }
        }
    }

    fn take(&mut self, block: Block) -> Result<(), StreamError> {
        let end = block.at.saturating_add(count(block.bytes.len()));
        self.check_length(end)?;
        let whole = self.job.target.check_whole();
        whole.map_err(|source| self.failed("write", block.at, source))?;
        if block.at == 0 {
            self.clear_head()?;
            self.head = Some(block);
        } else {
            self.write_block(&block)?;
        }
        self.reached = self.reached.max(end);
        self.progress.report(end);
        Ok(())
    }

    /// Checks that an image that reaches to `end` fits the target and is not longer than stated.
    fn check_length(&self, end: u64) -> Result<(), StreamError> {
        if let Some(expected) = self.job.expected.raw_size
            && Bytes(end) > expected
        {
            return Err(StreamError::Length {
                url: self.url.clone(),
                found: expected,
                more: true,
                expected,
            });
        }
        if Bytes(end) > self.job.target.size() {
            return Err(StreamError::TooLarge {
                url: self.url.clone(),
                device: self.job.device.to_owned(),
                size: self.job.target.size(),
                needed: None,
            });
        }
        Ok(())
    }

    /// Zeroes the place of the first block, also if the image is shorter: from here on the disk holds neither the old
    /// filesystem or partition table nor the new one.
    fn clear_head(&mut self) -> Result<(), StreamError> {
        let extent = Extent {
            start: Bytes::ZERO,
            length: self.job.target.size().min(Bytes(count(BLOCK_LENGTH))),
        };
        self.zero(extent)?;
        self.flush()
    }

    fn write_block(&mut self, block: &Block) -> Result<(), StreamError> {
        let mut at = block.at;
        let mut granules = block.bytes.chunks(GRANULE).enumerate().peekable();
        while let Some((index, first)) = granules.next() {
            let zero = block.zeros & 1 << index != 0;
            let mut length = first.len();
            while let Some((_, more)) =
                granules.next_if(|(next, _)| (block.zeros & 1 << *next != 0) == zero)
            {
                length = length.saturating_add(more.len());
            }
            let start = index.saturating_mul(GRANULE);
            if zero {
                self.zero_later(at, count(length))?;
            } else {
                self.make_zeros()?;
                self.write(&block.bytes.part(start..start.saturating_add(length)), at)?;
            }
            // one that is too large is beyond the end of every disk, which the write says
            at = at.saturating_add(count(length));
        }
        Ok(())
    }

    /// Collects adjacent zeros, so that they are written by one call.
    fn zero_later(&mut self, at: u64, length: u64) -> Result<(), StreamError> {
        if self.zeros.end() != Bytes(at) {
            self.make_zeros()?;
            self.zeros = empty_extent(at);
        }
        self.zeros.length = self.zeros.length.saturating_add(Bytes(length));
        if self.zeros.length.0 >= ZERO_RUN {
            self.make_zeros()?;
        }
        Ok(())
    }

    fn make_zeros(&mut self) -> Result<(), StreamError> {
        let zeros = std::mem::replace(&mut self.zeros, empty_extent(0));
        if zeros.length == Bytes::ZERO {
            return Ok(());
        }
        self.zero(zeros)
    }

    fn zero(&mut self, extent: Extent) -> Result<(), StreamError> {
        let zeroed = self.job.target.zero(extent);
        zeroed.map_err(|source| self.failed("zero", extent.start.0, source))
    }

    /// Uses direct I/O for the aligned part; the tail is shorter than one alignment unit.
    fn write(&mut self, bytes: &Slice, at: u64) -> Result<(), StreamError> {
        let Some(queue) = self.direct.as_mut().filter(|_| !self.cached) else {
            return self.write_cached(bytes, at);
        };
        let aligned = bytes.len().saturating_sub(bytes.len() % ALIGNMENT);
        if aligned > 0 {
            let completed = queue.start(bytes.part(0..aligned), at)?;
            completed.map_or(Ok(()), |completed| self.completed(completed))?;
        }
        match bytes.get(aligned..).unwrap_or_default() {
            [] => Ok(()),
            tail => self.write_cached(tail, at.saturating_add(count(aligned))),
        }
    }

    /// Waits for all writes in progress.
    fn wait_for_writes(&mut self) -> Result<(), StreamError> {
        while let Some(queue) = &mut self.direct
            && let Some(completed) = queue.complete()?
        {
            self.completed(completed)?;
        }
        Ok(())
    }

    fn completed(&mut self, completed: Completed) -> Result<(), StreamError> {
        let Completed { at, failed } = completed;
        match failed {
            None => Ok(()),
            // the device needs a larger alignment than ours: use the page cache for everything
            Some((error, bytes)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.cached = true;
                self.write_cached(&bytes, at)
            }
            Some((error, _)) => Err(self.failed("write", at, error)),
        }
    }

    fn write_cached(&mut self, bytes: &[u8], at: u64) -> Result<(), StreamError> {
        let written = self.job.target.write_at(bytes, Bytes(at));
        written.map_err(|source| self.failed("write", at, source))
    }

    /// Returns when everything has reached the medium.
    fn flush(&mut self) -> Result<(), StreamError> {
        self.wait_for_writes()?;
        let flushed = self.job.target.flush();
        flushed.map_err(|source| self.failed("flush", self.reached, source))
    }

    fn failed(&self, doing: &'static str, offset: u64, source: io::Error) -> StreamError {
        StreamError::Disk {
            doing,
            device: self.job.device.to_owned(),
            offset,
            source,
        }
    }

    /// Everything has arrived: flush, verify, then write the head.
    fn finish(&mut self, digests: &Digests) -> Result<(), StreamError> {
        self.make_zeros()?;
        self.wait_for_writes()?;
        if self.reached > digests.length {
            // the source started over with a shorter version: zero what is left of the longer one
            let start = Bytes(digests.length);
            let length = Bytes(self.reached).saturating_sub(start);
            self.zero(Extent { start, length })?;
        }
        self.flush()?;
        self.job.expected.verify(&self.url, digests)?;
        let put = self.put_head();
        if put.is_err() {
            // Firmware may start half a head too. The first error is the one that is returned.
            let _ = self.clear_head();
        }
        put?;
        self.progress.report_end(digests.length);
        Ok(())
    }

    fn put_head(&mut self) -> Result<(), StreamError> {
        if let Some(head) = self.head.take() {
            self.write(&head.bytes, 0)?;
        }
        self.flush()
    }
}

const fn empty_extent(at: u64) -> Extent {
    Extent {
        start: Bytes(at),
        length: Bytes::ZERO,
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
