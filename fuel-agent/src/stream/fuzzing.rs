//! A door for the fuzzer: the decoders of the data path, as they run in it.

use std::sync::mpsc::sync_channel;
use std::thread;

use super::decode::{self, RequestedImage};
use super::{BLOCK_COUNT, BLOCK_LENGTH, StreamMessage};
use crate::http::HttpError;
use crate::model::request::Container;
use crate::pool::Pool;
use crate::source::{Source, SourceEvent};

/// A file in memory.
struct Memory<'a> {
    rest: &'a [u8],
    pool: Pool,
}

impl Source for Memory<'_> {
    fn next(&mut self) -> Result<SourceEvent, HttpError> {
        if self.rest.is_empty() {
            return Ok(SourceEvent::End);
        }
        let mut buffer = self.pool.take();
        let count = buffer.push(self.rest);
        self.rest = self.rest.get(count..).unwrap_or_default();
        Ok(SourceEvent::Bytes(buffer))
    }
}

/// Unpacks `file`, at most `blocks` blocks of it, in parts of `part` bytes; returns how many bytes came out.
pub fn unpack(container: Container, file: &[u8], part: usize, blocks: usize) -> u64 {
    let wanted = RequestedImage {
        url: "http://h/i",
        container,
        format: "",
    };
    let pool = Pool::new(BLOCK_COUNT, BLOCK_LENGTH);
    let source = Box::new(Memory {
        rest: file,
        pool: Pool::new(2, part.max(1)),
    });
    let (out, blocks_of) = sync_channel(1);
    thread::scope(|scope| {
        let sink = scope.spawn(move || {
            let mut raw = 0_u64;
            for message in blocks_of.into_iter().take(blocks) {
                if let StreamMessage::Block(block) = message {
                    assert_eq!(block.at, raw, "blocks in their order");
                    let length = u64::try_from(block.bytes.len()).unwrap_or(u64::MAX);
                    raw = raw.saturating_add(length);
                }
            }
            raw
        });
        if let Err(error) = decode::run(source, wanted, &pool, &out) {
            let _ = host::error::one_line(&error);
        }
        drop(out);
        sink.join().unwrap_or(0)
    })
}
