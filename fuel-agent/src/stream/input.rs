//! A source as decoders like it: bytes one after the other, or an error that is remembered for whoever knows more.

use std::io::{self, BufRead, Read};

use crate::http::HttpError;
use crate::pool::Buffer;
use crate::source::{Source, SourceEvent};

/// Why reading ended before the source did.
pub(super) enum Interruption {
    /// The source starts over.
    StartOver,
    /// The source has failed.
    Failed(HttpError),
}

/// Reads from a source.
pub(super) struct Input<'a> {
    source: Box<dyn Source + 'a>,
    buffer: Option<Buffer>,
    consumed: usize,
    ended: bool,
    broken: Option<Interruption>,
}

impl<'a> Input<'a> {
    pub(super) fn new(source: Box<dyn Source + 'a>) -> Self {
        Self {
            source,
            buffer: None,
            consumed: 0,
            ended: false,
            broken: None,
        }
    }

    /// Why reading failed, where that was not the decoder's doing.
    pub(super) fn broken(&mut self) -> Option<Interruption> {
        self.broken.take()
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
            Ok(SourceEvent::StartOver) => Interruption::StartOver,
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
                .map_or(0, |buffer| buffer.len() - self.consumed);
            if left > 0 || self.ended {
                break;
            }
            // back to the pool before the next one is waited for
            self.buffer = None;
            self.advance()?;
        }
        let rest = self
            .buffer
            .as_deref()
            .and_then(|bytes| bytes.get(self.consumed..));
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count;
    }
}

impl Read for Input<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(target.len());
        target[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
