//! Adapts a source to the [`BufRead`] that decoders take. The reason for an interruption is kept for the pipeline,
//! which can tell a source error from a decoder error.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use crate::http::HttpError;
use crate::pool::Buffer;
use crate::source::{Source, SourceEvent};

/// Why reading ended before the source did.
pub(super) enum Interruption {
    /// The source starts over.
    StartOver,
    /// The source has failed.
    Failed(HttpError),
    /// The given number of bytes was read and almost nothing was unpacked from them.
    NoOutput(u64),
}

/// Bytes that may be read beyond [`MAX_PACKED_PER_RAW`] times the unpacked ones: metadata, padding, empty blocks.
const NO_OUTPUT_LIMIT: u64 = 64 << 20;

/// The most packed bytes for one unpacked byte. No container expands incompressible data by more than a few percent.
const MAX_PACKED_PER_RAW: u64 = 4;

/// Bytes unpacked in this pass, as the decoder counts them. Clones share one count.
#[derive(Clone, Debug, Default)]
pub(super) struct Unpacked(Rc<Cell<u64>>);

impl Unpacked {
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn set(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

/// Reads from a source, through one pooled buffer at a time.
pub(super) struct Input<'a> {
    source: Box<dyn Source + 'a>,
    buffer: Option<Buffer>,
    consumed: usize,
    /// Bytes read since the beginning of this pass.
    taken: u64,
    unpacked: Unpacked,
    ended: bool,
    broken: Option<Interruption>,
}

impl<'a> Input<'a> {
    /// `unpacked` is compared with what was read: see [`Interruption::NoOutput`].
    pub(super) fn new(source: Box<dyn Source + 'a>, unpacked: Unpacked) -> Self {
        Self {
            source,
            buffer: None,
            consumed: 0,
            taken: 0,
            unpacked,
            ended: false,
            broken: None,
        }
    }

    /// Why reading failed, if the source was the reason and not the decoder.
    pub(super) fn broken(&mut self) -> Option<Interruption> {
        self.broken.take()
    }

    /// Stops a source that never ends and never unpacks to anything; it would be read for ever.
    fn check_output(&mut self) -> io::Result<()> {
        let most = (self.unpacked.get().saturating_mul(MAX_PACKED_PER_RAW))
            .saturating_add(NO_OUTPUT_LIMIT);
        if self.taken <= most {
            return Ok(());
        }
        self.broken = Some(Interruption::NoOutput(self.taken));
        Err(io::Error::other("hardly anything comes out of it"))
    }

    fn advance(&mut self) -> io::Result<()> {
        let why = match self.source.next() {
            Ok(SourceEvent::Bytes(buffer)) => {
                (self.buffer, self.consumed) = (Some(buffer), 0);
                return Ok(());
            }
            Ok(SourceEvent::End) => {
                self.ended = true;
                return Ok(());
            }
            Ok(SourceEvent::StartOver) => {
                self.taken = 0;
                Interruption::StartOver
            }
            Err(error) => Interruption::Failed(error),
        };
        self.broken = Some(why);
        Err(io::Error::other("the source broke off"))
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            let left = self
                .buffer
                .as_ref()
                .map_or(0, |buffer| buffer.len().saturating_sub(self.consumed));
            if left > 0 || self.ended {
                break;
            }
            // return the buffer to the pool before waiting for the next one
            self.buffer = None;
            self.check_output()?;
            self.advance()?;
        }
        let rest = self
            .buffer
            .as_deref()
            .and_then(|bytes| bytes.get(self.consumed..));
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.consumed = self.consumed.saturating_add(count);
        let count = u64::try_from(count).unwrap_or(0);
        self.taken = self.taken.saturating_add(count);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(target)?;
        self.consume(count);
        Ok(count)
    }
}
