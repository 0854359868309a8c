//! Iterates over an archive: headers, the data between them, and the end.

use std::io::{self, BufRead};

use super::extended::{Extended, Scope};
use super::header::{BLOCK, Header};
use super::sparse::Piece;
use super::{ArchiveError, Entry};

/// The longest extended header, and the longest name by itself.
const EXTENDED_MOST: u64 = 1 << 20;

/// Limit in bytes of the headers before one entry: an archive of headers only would never end.
const HEADERS_MOST: u64 = 8 * EXTENDED_MOST;

/// Limit in bytes of the zeros after the end. `tar` writes at most one record of them, which is far shorter.
const ZEROS_MOST: u64 = 64 << 20;

/// [`BLOCK`] as `u64`, the type of offsets in the archive.
pub(super) const BLOCK_LENGTH: u64 = 512;

/// An archive that is being read.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    /// Bytes read so far: the offset in the archive.
    at: u64,
    /// Values of global headers, which hold for all entries that do not override them.
    global: Extended,
    /// Segments of the current entry that are still to be read, the last one first.
    pub(super) pieces: Vec<Piece>,
    /// Padding after the data of the current entry, in bytes.
    pub(super) padding: u64,
    /// Bytes that the last call returned; the next call consumes them.
    taken: usize,
    /// Name of the current entry, for error messages.
    pub(super) current: Option<String>,
}

/// The extended headers before an entry.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) extended: Extended,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    /// Whether there was at least one.
    is_any: bool,
}

impl<R: BufRead> Archive<R> {
    /// Reads an archive from its first byte.
    pub fn new(input: R) -> Self {
        Self {
            input,
            at: 0,
            global: Extended::default(),
            pieces: Vec::new(),
            padding: 0,
            taken: 0,
            current: None,
        }
    }

    /// Reads the next entry; the rest of the previous entry's data is skipped. `None` at the end: two blocks of zeros,
    /// followed by nothing but zeros up to the last byte of the input.
    pub fn advance(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip_data()?;
        let mut before = Before {
            extended: self.global.clone(),
            ..Before::default()
        };
        let start = self.at;
        loop {
            let at = self.at;
            if at.saturating_sub(start) > HEADERS_MOST {
                let why =
                    format!("is behind more than {HEADERS_MOST} bytes of others, and of no entry");
                return Err(ArchiveError::Header { at, why });
            }
            let Some(header) = self.header()? else {
                if before.is_any {
                    let why = "ends the archive, but an extended header announced one more entry"
                        .to_owned();
                    return Err(ArchiveError::Header { at, why });
                }
                return self.rest().map(|()| None);
            };
            let failed = |why| ArchiveError::Header { at, why };
            match header.kind() {
                b'x' => {
                    let text = self.text(&header, at)?;
                    let read = before.extended.read(&text, Scope::Next);
                    read.map_err(failed)?;
                }
                b'g' => {
                    let text = self.text(&header, at)?;
                    self.global.read(&text, Scope::All).map_err(failed)?;
                    before.extended.read(&text, Scope::All).map_err(failed)?;
                    continue;
                }
                b'L' => before.long_name = Some(terminated(self.text(&header, at)?)),
                b'K' => before.long_link = Some(terminated(self.text(&header, at)?)),
                // a volume label does not affect the entries
                b'V' => {
                    self.text(&header, at)?;
                    continue;
                }
                _ => return self.entry(&header, before).map(Some),
            }
            before.is_any = true;
        }
    }

    /// The next bytes of the current entry's data, and their offset in the file; `None` after the last ones. There are
    /// holes between them.
    pub fn data(&mut self) -> Result<Option<(u64, &[u8])>, ArchiveError> {
        self.settle();
        let (at, Some(piece)) = (self.at, self.pieces.last().copied()) else {
            return Ok(None);
        };
        let bytes = self.input.fill_buf();
        let bytes = bytes.map_err(|source| ArchiveError::Read { at, source })?;
        if bytes.is_empty() {
            let entry = self.current.clone();
            return Err(ArchiveError::Truncated { at, entry });
        }
        let bytes = bytes.get(..fitting(piece.length)).unwrap_or(bytes);
        self.taken = bytes.len();
        Ok(Some((piece.offset, bytes)))
    }

    /// Consumes the bytes that the last call returned.
    fn settle(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.input.consume(taken);
        let taken = count(taken);
        self.at = self.at.saturating_add(taken);
        if let Some(piece) = self.pieces.last_mut() {
            // a piece ends within its file, and no more is taken than it has
            piece.offset = piece.offset.saturating_add(taken);
            piece.length = piece.length.saturating_sub(taken);
            if piece.length == 0 {
                self.pieces.pop();
            }
        }
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        self.settle();
        while let Some(piece) = self.pieces.pop() {
            self.skip(piece.length)?;
        }
        let padding = std::mem::take(&mut self.padding);
        self.skip(padding)?;
        self.current = None;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), ArchiveError> {
        let mut left = length;
        while left > 0 {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                return Err(self.truncated());
            }
            let passed = bytes.len().min(fitting(left));
            self.input.consume(passed);
            self.at = self.at.saturating_add(count(passed));
            left = left.saturating_sub(count(passed));
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        let at = self.at;
        let bytes = self.input.fill_buf();
        bytes.map_err(|source| ArchiveError::Read { at, source })
    }

    fn truncated(&self) -> ArchiveError {
        let entry = self.current.clone();
        ArchiveError::Truncated { at: self.at, entry }
    }

    fn fill_exactly(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.at = self.at.saturating_add(count(bytes.len()));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(source) => Err(ArchiveError::Read {
                at: self.at,
                source,
            }),
        }
    }

    pub(super) fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill_exactly(&mut block)?;
        Ok(block)
    }

    /// Reads the next header; `None` if two blocks of zeros come instead.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let at = self.at;
        let block = self.block().map_err(|error| match error {
            // too short for a single header
            ArchiveError::Truncated { .. } if at == 0 => ArchiveError::NotTar,
            error => error,
        })?;
        if block == [0; BLOCK] && at > 0 {
            if self.block()? == [0; BLOCK] {
                return Ok(None);
            }
            let why =
                "is behind a single block of zeros, but two have to end an archive".to_owned();
            let at = at.saturating_add(BLOCK_LENGTH);
            return Err(ArchiveError::Header { at, why });
        }
        match Header::parse(&block) {
            Ok(header) if at > 0 || header.is_known() => Ok(Some(header)),
            Ok(_) => Err(ArchiveError::NotTar),
            Err(_) if at == 0 => Err(ArchiveError::NotTar),
            Err(why) => Err(ArchiveError::Header {
                at,
                why: why.to_owned(),
            }),
        }
    }

    /// Reads the rest of the input after the end marker: zeros, in whole blocks.
    fn rest(&mut self) -> Result<(), ArchiveError> {
        let start = self.at;
        loop {
            if self.at.saturating_sub(start) > ZEROS_MOST {
                return Err(ArchiveError::Endless { most: ZEROS_MOST });
            }
            let bytes = self.fill()?;
            let length = bytes.len();
            let other = bytes.iter().position(|byte| *byte != 0);
            if let Some(place) = other {
                let at = self.at.saturating_add(count(place));
                return Err(ArchiveError::Trailing { at });
            }
            if length == 0 && !self.at.is_multiple_of(BLOCK_LENGTH) {
                return Err(self.truncated());
            }
            if length == 0 {
                return Ok(());
            }
            self.input.consume(length);
            self.at = self.at.saturating_add(count(length));
        }
    }

    /// Reads the data of an extended header.
    fn text(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, ArchiveError> {
        let failed = |why: String| ArchiveError::Header { at, why };
        let size = header.size().map_err(|why| failed(why.to_owned()))?;
        if size > EXTENDED_MOST {
            return Err(failed(format!(
                "announces an extended header of {size} bytes, but at most {EXTENDED_MOST} are supported"
            )));
        }
        let mut text = vec![0; fitting(size)];
        self.fill_exactly(&mut text)?;
        self.skip(padding(size))?;
        Ok(text)
    }
}

/// A name up to its zero byte.
fn terminated(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|byte| *byte == 0) {
        text.truncate(end);
    }
    text
}

/// The number of bytes from the end of the data to the next block boundary.
pub(super) fn padding(length: u64) -> u64 {
    length.wrapping_neg() % BLOCK_LENGTH
}

/// Converts a length, saturating at `usize::MAX`.
fn fitting(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
