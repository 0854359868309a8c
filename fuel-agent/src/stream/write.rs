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

/// Zeros are made so many at a time at most, so that somebody who says stop is heard.
const ZERO_RUN: u64 = 1 << 30;

/// Writes the blocks of one image.
pub(super) struct Writer<'a> {
    job: Job<'a>,
    url: String,
    /// The way past the page cache, where there is one.
    direct: Option<DirectWriteQueue>,
    /// Whether the device has refused that way.
    cached: bool,
    /// The first block, held back.
    head: Option<Block>,
    /// Zeros that are still to be made.
    zeros: Extent,
    /// The furthest that was ever written, also before starting over.
    reached: u64,
    telling: ProgressReporter<'a>,
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
            zeros: nothing(0),
            reached: 0,
            telling: ProgressReporter::new(job.url, job.expected.raw_size, meter, job.events),
            job,
        })
    }

    /// Writes everything that comes, then checks it.
    pub(super) fn run(mut self, input: &Receiver<StreamMessage>) -> Result<Digests, StreamError> {
        loop {
            if self.job.client.is_cancelled() {
                return Err(StreamError::Cancelled);
            }
            match self.next(input)? {
                StreamMessage::Block(block) => self.take(block)?,
                // the head on the disk is void already; what was written is written again
                StreamMessage::StartOver => {
                    self.settle()?;
                    (self.head, self.zeros) = (None, nothing(0));
                }
                StreamMessage::End(digests) => {
                    self.finish(&digests)?;
                    return Ok(digests);
                }
            }
        }
    }

    /// What comes next. As long as nothing is there, writes that are under way are waited for: whatever they have to
    /// say is heard, and what they failed to write does not keep its buffer from those who need one to go on.
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
            self.void()?;
            self.head = Some(block);
        } else {
            self.write_block(&block)?;
        }
        self.reached = self.reached.max(end);
        self.telling.tell(end);
        Ok(())
    }

    /// Whether an image that reaches to `end` still fits, and is not longer than it should be.
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

    /// Takes away what was in place of the first block, also where the image is shorter than that: from here on no old
    /// filesystem or table is there, and no new one yet.
    fn void(&mut self) -> Result<(), StreamError> {
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
                length += more.len();
            }
            let start = index * GRANULE;
            if zero {
                self.zero_later(at, count(length))?;
            } else {
                self.make_zeros()?;
                self.write(&block.bytes.part(start..start + length), at)?;
            }
            at += count(length);
        }
        Ok(())
    }

    /// Zeros one after the other are made at once.
    fn zero_later(&mut self, at: u64, length: u64) -> Result<(), StreamError> {
        if self.zeros.end() != Bytes(at) {
            self.make_zeros()?;
            self.zeros = nothing(at);
        }
        self.zeros.length = self.zeros.length.saturating_add(Bytes(length));
        if self.zeros.length.0 >= ZERO_RUN {
            self.make_zeros()?;
        }
        Ok(())
    }

    fn make_zeros(&mut self) -> Result<(), StreamError> {
        let zeros = std::mem::replace(&mut self.zeros, nothing(0));
        if zeros.length == Bytes::ZERO {
            return Ok(());
        }
        self.zero(zeros)
    }

    fn zero(&mut self, extent: Extent) -> Result<(), StreamError> {
        let zeroed = self.job.target.zero(extent);
        zeroed.map_err(|source| self.failed("zero", extent.start.0, source))
    }

    /// Writes past the page cache what can be written so; the rest is less than one of its units.
    fn write(&mut self, bytes: &Slice, at: u64) -> Result<(), StreamError> {
        let Some(queue) = self.direct.as_mut().filter(|_| !self.cached) else {
            return self.write_cached(bytes, at);
        };
        let straight = bytes.len() - bytes.len() % ALIGNMENT;
        if straight > 0 {
            let completed = queue.start(bytes.part(0..straight), at)?;
            completed.map_or(Ok(()), |completed| self.completed(completed))?;
        }
        match &bytes[straight..] {
            [] => Ok(()),
            tail => self.write_cached(tail, at + count(straight)),
        }
    }

    /// Waits for every write that is under way.
    fn settle(&mut self) -> Result<(), StreamError> {
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
            // a disk that asks for more than we know of: it gets everything through the cache
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

    /// Returns when everything is on the medium.
    fn flush(&mut self) -> Result<(), StreamError> {
        self.settle()?;
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

    /// Everything has come: it is flushed, checked, and made whole.
    fn finish(&mut self, digests: &Digests) -> Result<(), StreamError> {
        self.make_zeros()?;
        self.settle()?;
        if self.reached > digests.length {
            // an earlier version was longer; its end is not part of this one
            let start = Bytes(digests.length);
            let length = Bytes(self.reached).saturating_sub(start);
            self.zero(Extent { start, length })?;
        }
        self.flush()?;
        self.job.expected.verify(&self.url, digests)?;
        if let Some(head) = self.head.take() {
            self.write(&head.bytes, 0)?;
        }
        self.flush()?;
        self.telling.tell_end(digests.length);
        Ok(())
    }
}

const fn nothing(at: u64) -> Extent {
    Extent {
        start: Bytes(at),
        length: Bytes::ZERO,
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
