//! xz: any number of streams with padding between them; blocks that state their length are unpacked in parallel.

use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, Error, MtStreamBuilder, Status, Stream};
use os_image::container::WINDOW_MAX;
use os_image::members::Trailing;

/// Memory of the decoder besides the dictionary, in bytes, rounded up.
const OVERHEAD: u64 = 1 << 20;

/// Unpacks what it reads from `input`.
pub(super) struct Xz<R> {
    input: R,
    /// The stream in progress; `None` between two streams.
    stream: Option<Stream>,
    /// Consecutive streams without data, including the current one until it yields a byte.
    empty: u32,
    threads: usize,
}

/// Most consecutive streams without data.
const EMPTY_MOST: u32 = 1000;

/// First byte of a stream header.
const FIRST: u8 = 0xfd;

impl<R: BufRead> Xz<R> {
    /// Blocks are unpacked by up to `threads` threads while their memory stays within [`WINDOW_MAX`]; a single block
    /// may use that much too, and no more.
    pub(super) fn new(input: R, threads: usize) -> io::Result<Self> {
        Ok(Self {
            input,
            stream: Some(stream(threads)?),
            empty: 1,
            threads,
        })
    }

    /// Starts the next stream, if there is one. Streams may be followed by zeros, a multiple of four.
    fn begin(&mut self) -> io::Result<bool> {
        let mut padding = 0_usize;
        let more = loop {
            let bytes = self.input.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let (empty, more) = (bytes.is_empty(), zeros < bytes.len());
            self.input.consume(zeros);
            padding = padding.saturating_add(zeros);
            if empty || more {
                break more;
            }
        };
        let is_stream = self.input.fill_buf()?.first() == Some(&FIRST);
        if more && !is_stream {
            let trailing = if padding == 0 {
                Trailing::Other
            } else {
                Trailing::BehindZeros
            };
            return Err(trailing.error());
        }
        if !padding.is_multiple_of(4) {
            let why = format!("{padding} zeros follow after its end, and xz pads by fours");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if more {
            self.empty = self.empty.saturating_add(1);
            if self.empty > EMPTY_MOST {
                let why = format!("more than {EMPTY_MOST} streams in a row are empty");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            self.stream = Some(stream(self.threads)?);
        }
        Ok(more)
    }
}

fn stream(threads: usize) -> Result<Stream, Error> {
    MtStreamBuilder::new()
        .threads(u32::try_from(threads).unwrap_or(1))
        .memlimit_threading(WINDOW_MAX)
        .memlimit_stop(WINDOW_MAX + OVERHEAD)
        .decoder()
}

/// Whether `error` says that the decoder would exceed its memory limit.
pub(super) fn is_too_wide(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.and_then(|inner| inner.downcast_ref()) == Some(&Error::MemLimit)
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(stream) = &mut self.stream else {
                if self.begin()? {
                    continue;
                }
                return Ok(0);
            };
            let input = self.input.fill_buf()?;
            let ended = input.is_empty();
            let action = if ended { Action::Finish } else { Action::Run };
            let before = (stream.total_in(), stream.total_out());
            let status = stream.process(input, target, action)?;
            let taken = stream.total_in().saturating_sub(before.0);
            let given = stream.total_out().saturating_sub(before.1);
            self.input.consume(length(taken));
            match status {
                Status::StreamEnd => self.stream = None,
                // no progress was possible twice in a row
                Status::MemNeeded if ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                Status::MemNeeded => return Err(Error::Data.into()),
                Status::Ok | Status::GetCheck => {}
            }
            if given > 0 {
                self.empty = 0;
                return Ok(length(given));
            }
        }
    }
}

/// Counts of one call fit, since the buffers that it was given do.
fn length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
