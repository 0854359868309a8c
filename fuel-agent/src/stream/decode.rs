//! The stage that unpacks: what the first bytes say is compared with the request, then blocks come out.

use std::io::{self, BufRead, Cursor, Read};
use std::sync::mpsc::SyncSender;

use flate2::bufread::MultiGzDecoder;
use host::units::Bytes;
use os_image::container::{HEAD_LENGTH, ZSTD_WINDOW_LOG_MAX};

use super::digest::Digests;
use super::error::StreamError;
use super::input::{Break, Input};
use super::{BLOCK_LENGTH, Block, Flow};
use crate::http::pool::Pool;
use crate::http::source::Source;
use crate::request::spec::Container;
use crate::sources::check_head;

/// Unpacks the whole source; starts over when it does.
pub(super) fn run(
    source: Box<dyn Source + '_>,
    url: &str,
    container: Container,
    pool: &Pool,
    out: &SyncSender<Flow>,
) -> Result<(), StreamError> {
    let mut decoder = Decoder {
        input: Input::new(source),
        url,
        container,
        pool,
        out,
        raw: 0,
    };
    while decoder.pass()? == Pass::StartOver {
        send(out, Flow::StartOver)?;
    }
    let length = decoder.raw;
    let digests = Digests {
        length,
        ..Digests::default()
    };
    send(out, Flow::End(digests))
}

pub(super) fn send(out: &SyncSender<Flow>, flow: Flow) -> Result<(), StreamError> {
    out.send(flow).map_err(|_| StreamError::HungUp)
}

/// How one pass through the source ended, if not by an error.
#[derive(PartialEq, Eq)]
enum Pass {
    Complete,
    StartOver,
}

struct Decoder<'a> {
    input: Input<'a>,
    url: &'a str,
    container: Container,
    pool: &'a Pool,
    out: &'a SyncSender<Flow>,
    /// Bytes that have come out in this pass.
    raw: u64,
}

impl Decoder<'_> {
    fn pass(&mut self) -> Result<Pass, StreamError> {
        self.raw = 0;
        match self.unpack() {
            Ok(()) => Ok(Pass::Complete),
            Err(Trouble::Ours(error)) => Err(error),
            Err(Trouble::Reading(error)) => match self.input.broken() {
                Some(Break::StartOver) => Ok(Pass::StartOver),
                Some(Break::Failed(error)) => Err(error.into()),
                None => Err(self.corrupt(&error)),
            },
        }
    }

    fn unpack(&mut self) -> Result<(), Trouble> {
        let mut head = Vec::with_capacity(HEAD_LENGTH);
        let most = u64::try_from(HEAD_LENGTH).unwrap_or(u64::MAX);
        (&mut self.input).take(most).read_to_end(&mut head)?;
        check_head(&head, self.container).map_err(|why| StreamError::Mismatch {
            url: self.url.to_owned(),
            why,
        })?;
        let (pool, out) = (self.pool, self.out);
        let mut whole = Cursor::new(head).chain(&mut self.input);
        let raw = &mut self.raw;
        match self.container {
            Container::Raw => blocks(&mut whole, pool, out, raw)?,
            Container::Gzip => blocks(&mut MultiGzDecoder::new(&mut whole), pool, out, raw)?,
            Container::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut whole)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                blocks(&mut decoder, pool, out, raw)?;
            }
        }
        // a decoder that is content before the source is at its end has left something out
        if whole.fill_buf()?.is_empty() {
            return Ok(());
        }
        Err(Trouble::Ours(StreamError::Corrupt {
            url: self.url.to_owned(),
            raw: Bytes(self.raw),
            why: "something follows after its end".to_owned(),
        }))
    }

    fn corrupt(&self, error: &io::Error) -> StreamError {
        let (url, raw) = (self.url.to_owned(), Bytes(self.raw));
        let why = error.to_string();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return StreamError::Truncated { url, raw };
        }
        // zstd's own words for a window above the limit, in a frame that is not the first
        if why.contains("too much memory") {
            return StreamError::Window {
                url,
                limit: Bytes(1 << ZSTD_WINDOW_LOG_MAX),
            };
        }
        StreamError::Corrupt { url, raw, why }
    }
}

/// Why a pass ended.
enum Trouble {
    /// Reading failed: the decoder's fault, or the source's.
    Reading(io::Error),
    /// Anything else.
    Ours(StreamError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

impl From<StreamError> for Trouble {
    fn from(error: StreamError) -> Self {
        Self::Ours(error)
    }
}

/// Reads `decoded` to its end, in blocks that are full but for the last.
fn blocks(
    decoded: &mut dyn Read,
    pool: &Pool,
    out: &SyncSender<Flow>,
    raw: &mut u64,
) -> Result<(), Trouble> {
    loop {
        let mut bytes = pool.take();
        while !bytes.is_full() {
            match decoded.read(bytes.spare()) {
                Ok(0) => break,
                Ok(count) => bytes.grow(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (at, length) = (*raw, bytes.len());
        if length == 0 {
            return Ok(());
        }
        *raw += u64::try_from(length).unwrap_or(u64::MAX);
        let zeros = 0;
        send(out, Flow::Block(Block { at, bytes, zeros }))?;
        if length < BLOCK_LENGTH {
            return Ok(());
        }
    }
}
