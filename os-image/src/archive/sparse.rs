//! The map of a sparse file: the segments whose data is in the archive, in four formats, checked in one place.

use super::extended::digits;
use super::header::{SparseFields, number, unsigned};

/// A file has at most this many segments; each takes 16 bytes of memory.
pub(super) const PIECES_MOST: usize = 1 << 18;

/// A segment of data in a file; there are holes between segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Offset in the file, in bytes.
    pub(crate) offset: u64,
    /// Length in bytes.
    pub(crate) length: u64,
}

/// The records of extended headers for a sparse file: `GNU.sparse.…`, formats 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) name: Option<Vec<u8>>,
    /// Size of the file in bytes (`size`, or `realsize` in format 1.0).
    size: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    /// The announced number of segments.
    count: Option<u64>,
    /// The last `offset`, until its `numbytes` comes.
    offset: Option<u64>,
    pieces: Option<Vec<Piece>>,
}

/// How the data of an entry is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// Not sparse: all bytes of the file, in order.
    Dense,
    /// Sparse, with a map from the headers.
    Known {
        /// Size of the file in bytes, holes included.
        size: u64,
        pieces: Vec<Piece>,
    },
    /// Sparse, with a map before the data (format 1.0).
    InFront {
        /// Size of the file in bytes, holes included.
        size: u64,
    },
}

impl Records {
    /// Takes one record; `what` is its keyword without `GNU.sparse.`.
    pub(super) fn take(&mut self, what: &[u8], value: &[u8]) -> Result<(), String> {
        let number = || digits(value).ok_or_else(|| "has a malformed number".to_owned());
        match what {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or("has a length without an offset")?;
                let length = number()?;
                self.add(Piece { offset, length })?;
            }
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').map(digits);
                let numbers: Option<Vec<u64>> = numbers.collect();
                let numbers = numbers.as_deref().map(<[u64]>::as_chunks);
                let Some((pairs, [])) = numbers else {
                    return Err("has a malformed list of pieces".to_owned());
                };
                for [offset, length] in pairs.iter().copied() {
                    self.add(Piece { offset, length })?;
                }
            }
            _ => return Err("is sparse in an unsupported format".to_owned()),
        }
        Ok(())
    }

    fn add(&mut self, piece: Piece) -> Result<(), String> {
        let pieces = self.pieces.get_or_insert_default();
        if pieces.len() >= PIECES_MOST {
            return Err(too_many());
        }
        pieces.push(piece);
        Ok(())
    }

    /// The map, of an entry that is not sparse by its own header.
    pub(super) fn map(self) -> Result<Map, String> {
        let form = (self.major.unwrap_or(0), self.minor);
        let is_said = self.size.is_some() || self.pieces.is_some() || self.major.is_some();
        match (form, self.size, self.pieces) {
            ((1, Some(0)), Some(size), None) => Ok(Map::InFront { size }),
            ((0, _), Some(size), pieces) => {
                let pieces = pieces.unwrap_or_default();
                let count = self.count.and_then(|count| usize::try_from(count).ok());
                if self.count.is_some() && count != Some(pieces.len()) {
                    return Err("has not as many pieces as it announces".to_owned());
                }
                Ok(Map::Known { size, pieces })
            }
            _ if is_said => Err("is sparse in an unsupported format".to_owned()),
            _ => Ok(Map::Dense),
        }
    }
}

fn too_many() -> String {
    format!("is in more than {PIECES_MOST} pieces")
}

/// Adds the segments in a header, or in a block after it.
pub(super) fn from_fields(
    fields: &SparseFields<'_>,
    pieces: &mut Vec<Piece>,
) -> Result<(), String> {
    for pair in fields.pieces.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        if length.starts_with(&[0]) && number(length) == Some(0) {
            break;
        }
        let (Some(offset), Some(length)) = (unsigned(offset), unsigned(length)) else {
            return Err("has a piece whose offset is not a number".to_owned());
        };
        if pieces.len() >= PIECES_MOST {
            return Err(too_many());
        }
        pieces.push(Piece { offset, length });
    }
    Ok(())
}

/// A number of format 1.0 that is being read: decimal digits up to a line end.
#[derive(Debug, Default)]
pub(super) struct Line {
    value: u64,
    digits: usize,
}

impl Line {
    /// Takes one more byte; returns the number at its line end.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<u64>, String> {
        let bad = || "has a malformed list of pieces".to_owned();
        if byte == b'\n' && self.digits > 0 {
            return Ok(Some(std::mem::take(self).value));
        }
        let digit = char::from(byte).to_digit(10).ok_or_else(bad)?;
        self.digits = self.digits.saturating_add(1);
        let shifted = self.value.checked_mul(10).ok_or_else(bad)?;
        self.value = shifted.checked_add(u64::from(digit)).ok_or_else(bad)?;
        Ok(None)
    }
}

/// Checks that the segments are in order, within the file, and together as long as `stored`. Empty segments are
/// dropped: they only mark the end of the file.
pub(super) fn checked(pieces: Vec<Piece>, size: u64, stored: u64) -> Result<Vec<Piece>, String> {
    let (mut end, mut sum) = (0, 0_u64);
    for piece in &pieces {
        let after = piece.offset.checked_add(piece.length);
        let after = after.filter(|after| piece.offset >= end && *after <= size);
        end = after.ok_or_else(|| {
            let Piece { offset, length } = piece;
            format!(
                "has a piece of {length} bytes at {offset} that overlaps another, or lies outside of its {size} bytes"
            )
        })?;
        sum = sum.saturating_add(piece.length);
    }
    if sum != stored {
        return Err(format!(
            "has {sum} bytes by its list of pieces, and {stored} by its size"
        ));
    }
    Ok(pieces
        .into_iter()
        .filter(|piece| piece.length > 0)
        .collect())
}
