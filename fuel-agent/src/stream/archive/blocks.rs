//! What flows, as a reader of archives likes it: bytes one after the other, or an error that is remembered for whoever knows more.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::Receiver;

use crate::http::Client;
use crate::stream::digest::Digests;
use crate::stream::error::StreamError;
use crate::stream::progress::ProgressReporter;
use crate::stream::{Block, StreamMessage};

/// Why reading ended before the archive did.
pub(super) enum Interruption {
    /// Everything so far is void.
    StartOver,
    /// Nothing more comes.
    Failed(StreamError),
}

/// Reads one pass of what flows.
pub(super) struct Blocks<'a, 'b> {
    input: &'a Receiver<StreamMessage>,
    client: &'a Client,
    telling: &'a mut ProgressReporter<'b>,
    block: Option<Block>,
    consumed: usize,
    digests: Option<Digests>,
    broken: Option<Interruption>,
}

impl<'a, 'b> Blocks<'a, 'b> {
    pub(super) fn new(
        input: &'a Receiver<StreamMessage>,
        client: &'a Client,
        telling: &'a mut ProgressReporter<'b>,
    ) -> Self {
        Self {
            input,
            client,
            telling,
            block: None,
            consumed: 0,
            digests: None,
            broken: None,
        }
    }

    /// What all of it comes to, if all of it was read; or why not, where that was not the archive's doing.
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
                    self.telling.tell(block.at);
                    (self.block, self.consumed) = (Some(block), 0);
                    return Ok(());
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
            // back to the pool before the next one is waited for
            self.block = None;
            self.advance()?;
        }
        let block = self.block.as_ref();
        let rest = block.and_then(|block| block.bytes.get(self.consumed..));
        Ok(rest.unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count;
    }
}

impl Read for Blocks<'_, '_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(target.len());
        target[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
