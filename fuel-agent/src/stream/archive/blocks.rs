//! Adapts the pipeline's messages to the reader that the archive parser takes. The reason for an interruption is kept
//! for the extractor.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::Receiver;

use host::units::Bytes;

use crate::http::Client;
use crate::stream::digest::Digests;
use crate::stream::error::StreamError;
use crate::stream::progress::ProgressReporter;
use crate::stream::{Block, StreamMessage};

/// Why reading ended before the archive did.
pub(super) enum Interruption {
    /// The source starts over: everything read so far is void.
    StartOver,
    /// The pipeline failed.
    Failed(StreamError),
}

/// Bounds on the length of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths<'a> {
    /// Redacted URL of the archive.
    pub(super) url: &'a str,
    /// Path of the filesystem's device.
    pub(super) device: &'a str,
    /// Unpacked length of the archive, if its metadata states it.
    pub(super) expected: Option<Bytes>,
    /// Size of that device.
    pub(super) volume: Bytes,
}

/// How far an archive may exceed its stated length, or twice the volume. A version that is being replaced on the server
/// may be longer than the right one. An archive that fits is hardly longer than its filesystem; one that makes the same
/// files again and again never ends.
const LENGTH_MARGIN: Bytes = Bytes(64 << 20);

impl Lengths<'_> {
    /// Checks that an archive that reaches to `end` is within its bounds.
    fn check(&self, end: Bytes) -> Result<(), StreamError> {
        let twice = Bytes(self.volume.0.saturating_mul(2));
        if end <= self.expected.unwrap_or(twice).saturating_add(LENGTH_MARGIN) {
            return Ok(());
        }
        Err(match self.expected {
            Some(expected) => StreamError::Length {
                url: self.url.to_owned(),
                found: expected,
                more: true,
                expected,
            },
            None => StreamError::TooLarge {
                url: self.url.to_owned(),
                device: self.device.to_owned(),
                size: self.volume,
                needed: None,
            },
        })
    }
}

/// Reads one pass of the source.
pub(super) struct Blocks<'a, 'b> {
    input: &'a Receiver<StreamMessage>,
    client: &'a Client,
    progress: &'a mut ProgressReporter<'b>,
    lengths: Lengths<'a>,
    block: Option<Block>,
    consumed: usize,
    digests: Option<Digests>,
    broken: Option<Interruption>,
}

impl<'a, 'b> Blocks<'a, 'b> {
    pub(super) fn new(
        input: &'a Receiver<StreamMessage>,
        client: &'a Client,
        progress: &'a mut ProgressReporter<'b>,
        lengths: Lengths<'a>,
    ) -> Self {
        Self {
            input,
            client,
            progress,
            lengths,
            block: None,
            consumed: 0,
            digests: None,
            broken: None,
        }
    }

    /// The digests if the archive was read to its end, `None` if it was not; the reason if the source or the pipeline
    /// interrupted it.
    pub(super) fn end(self) -> Result<Option<Digests>, Interruption> {
        match self.broken {
            Some(broken) => Err(broken),
            None => Ok(self.digests),
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        let broken = if self.client.is_cancelled() {
            Interruption::Failed(StreamError::Cancelled)
        } else {
            match self.input.recv() {
                Ok(StreamMessage::Block(block)) => {
                    let length = u64::try_from(block.bytes.len()).unwrap_or(u64::MAX);
                    match self.lengths.check(Bytes(block.at.saturating_add(length))) {
                        Ok(()) => {
                            self.progress.report(block.at);
                            (self.block, self.consumed) = (Some(block), 0);
                            return Ok(());
                        }
                        Err(error) => Interruption::Failed(error),
                    }
                }
                Ok(StreamMessage::End(digests)) => {
                    self.digests = Some(digests);
                    return Ok(());
                }
                Ok(StreamMessage::StartOver) => Interruption::StartOver,
                Err(_) => Interruption::Failed(StreamError::HungUp),
            }
        };
        self.broken = Some(broken);
        Err(io::Error::other("the source broke off"))
    }
}

impl BufRead for Blocks<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            let length = self.block.as_ref().map_or(0, |block| block.bytes.len());
            if self.consumed < length || self.digests.is_some() {
                break;
            }
            // return the block to the pool before waiting for the next one
            self.block = None;
            self.advance()?;
        }
        let block = self.block.as_ref();
        let rest = block.and_then(|block| block.bytes.get(self.consumed..));
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.consumed = self.consumed.saturating_add(count);
    }
}

impl Read for Blocks<'_, '_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(target)?;
        self.consume(count);
        Ok(count)
    }
}
