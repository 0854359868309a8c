//! The stage that unpacks: compares the first bytes with the request, then emits blocks.

mod frames;
pub(super) mod qcow2;
mod xz;

use std::io::{self, BufRead, Cursor, Read};
use std::sync::mpsc::SyncSender;
use std::thread;

use host::units::Bytes;
use os_image::container::{HEAD_LENGTH, WINDOW_MAX};
use os_image::members::{self, Trailing};

use super::digest::Digests;
use super::error::StreamError;
use super::input::{Input, Interruption, Unpacked};
use super::slice::Slice;
use super::{Block, StreamMessage};
use crate::model::request::Container;
use crate::pool::Pool;
use crate::source::Source;
use crate::source::check::{check_content, check_head};
use xz::Xz;

/// What the request says of an image, with its redacted URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestedImage<'a> {
    pub(super) url: &'a str,
    pub(super) container: Container,
    pub(super) format: &'a str,
}

/// Unpacks the whole source, from the beginning again each time it starts over.
pub(super) fn run(
    source: Box<dyn Source + '_>,
    wanted: RequestedImage<'_>,
    pool: &Pool,
    out: &SyncSender<StreamMessage>,
) -> Result<(), StreamError> {
    let raw = Unpacked::default();
    let mut decoder = Decoder {
        input: Input::new(source, raw.clone()),
        outlet: Outlet {
            wanted,
            pool,
            out,
            raw,
        },
    };
    while decoder.pass()? == Pass::StartOver {
        send(out, StreamMessage::StartOver)?;
    }
    end(&decoder.outlet)
}

/// Sends the end of the image, with its length.
fn end(outlet: &Outlet<'_>) -> Result<(), StreamError> {
    let digests = Digests {
        length: outlet.raw.get(),
        ..Digests::default()
    };
    send(outlet.out, StreamMessage::End(digests))
}

pub(super) fn send(
    out: &SyncSender<StreamMessage>,
    message: StreamMessage,
) -> Result<(), StreamError> {
    out.send(message).map_err(|_| StreamError::HungUp)
}

/// How a pass through the source ended without an error.
#[derive(PartialEq, Eq)]
enum Pass {
    Complete,
    StartOver,
}

struct Decoder<'a> {
    input: Input<'a>,
    outlet: Outlet<'a>,
}

impl Decoder<'_> {
    fn pass(&mut self) -> Result<Pass, StreamError> {
        self.outlet.raw.set(0);
        match self.unpack() {
            Ok(()) => Ok(Pass::Complete),
            Err(DecodeError::Stream(error)) => Err(error),
            Err(DecodeError::Io(error)) => match self.input.broken() {
                Some(Interruption::StartOver) => Ok(Pass::StartOver),
                Some(Interruption::Failed(error)) => Err(error.into()),
                Some(Interruption::NoOutput(packed)) => Err(StreamError::NoOutput {
                    url: self.outlet.wanted.url.to_owned(),
                    packed: Bytes(packed),
                    raw: Bytes(self.outlet.raw.get()),
                }),
                None => Err(self.corrupt(&error)),
            },
        }
    }

    fn unpack(&mut self) -> Result<(), DecodeError> {
        let mut head = Vec::with_capacity(HEAD_LENGTH);
        let most = u64::try_from(HEAD_LENGTH).unwrap_or(u64::MAX);
        (&mut self.input).take(most).read_to_end(&mut head)?;
        let RequestedImage {
            url,
            container,
            format,
        } = self.outlet.wanted;
        check_head(&head, container, format).map_err(|why| StreamError::Mismatch {
            url: url.to_owned(),
            why,
        })?;
        let mut whole = Cursor::new(head).chain(&mut self.input);
        let outlet = &mut self.outlet;
        match container {
            Container::Raw => outlet.drain(&mut whole)?,
            Container::Gzip => outlet.drain(&mut members::gzip(&mut whole))?,
            Container::Bzip2 => outlet.drain(&mut members::bzip2(&mut whole))?,
            Container::Xz => outlet.drain(&mut Xz::new(&mut whole, cores())?)?,
            Container::Zstd => frames::unpack(&mut whole, outlet)?,
            // qcow2 is not a stream: `decode::qcow2` reads it, and a call from here is a defect
            Container::Qcow2 => return Err(DecodeError::Stream(StreamError::Panicked)),
        }
        // bytes left behind the decoder's end mean that it has not read everything
        if whole.fill_buf()?.is_empty() {
            return Ok(());
        }
        Err(Trailing::Other.error().into())
    }

    fn corrupt(&self, error: &io::Error) -> StreamError {
        let url = self.outlet.wanted.url.to_owned();
        let raw = Bytes(self.outlet.raw.get());
        let why = error.to_string();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return StreamError::Truncated { url, raw };
        }
        // the error of liblzma is typed; zstd's is known by its message only
        if xz::is_too_wide(error) || why.contains("too much memory") {
            let limit = Bytes(WINDOW_MAX);
            return StreamError::Window { url, limit };
        }
        // zstd's message for bytes behind a frame that are not a frame
        let is_no_frame = why == "Unknown frame descriptor";
        if let Some(what) = Trailing::of(error).or(is_no_frame.then_some(Trailing::Other)) {
            return StreamError::Trailing { url, raw, what };
        }
        StreamError::Corrupt { url, raw, why }
    }
}

/// Processors available to this process.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Why a pass failed.
enum DecodeError {
    /// The input could not be read or decoded.
    Io(io::Error),
    /// The pipeline failed: a mismatch, a stage that is gone.
    Stream(StreamError),
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StreamError> for DecodeError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// Where the decoder's output goes.
struct Outlet<'a> {
    wanted: RequestedImage<'a>,
    pool: &'a Pool,
    out: &'a SyncSender<StreamMessage>,
    /// Bytes emitted in this pass.
    raw: Unpacked,
}

impl Outlet<'_> {
    /// Reads `decoded` to its end, in full blocks except for the last.
    fn drain(&mut self, decoded: &mut dyn Read) -> Result<(), DecodeError> {
        loop {
            let mut bytes = self.pool.take();
            while !bytes.is_full() {
                match decoded.read(bytes.spare()) {
                    Ok(0) => break,
                    Ok(count) => bytes.grow(count),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let full = bytes.is_full();
            if !bytes.is_empty() {
                self.send(bytes.into())?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn send(&mut self, bytes: Slice) -> Result<(), StreamError> {
        let at = self.raw.get();
        if at == 0 {
            let checked = check_content(&bytes, self.wanted.format);
            checked.map_err(|why| StreamError::Mismatch {
                url: self.wanted.url.to_owned(),
                why,
            })?;
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.raw.set(at.saturating_add(length));
        let zeros = 0;
        send(self.out, StreamMessage::Block(Block { at, bytes, zeros }))
    }
}
