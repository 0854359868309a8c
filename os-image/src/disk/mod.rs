//! Disk images of virtual machines, read in place: qcow2 and VMDK.
//!
//! An image is presented as pieces of equal size, each of which is data or zero. Its metadata is not trusted: memory is
//! bounded by one table and one piece, sizes are checked before they are used, and no other file is ever opened (a
//! backing file or an external data file is refused).

mod qcow2;
mod vmdk;

pub use qcow2::Qcow2;
pub use vmdk::Vmdk;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The largest supported disk, in bytes; the index of a packed image can only describe smaller ones.
pub const SIZE_MAX: u64 = 1 << 41;

/// A file that can be read at any offset.
pub trait ReadAt {
    /// Fills `buffer` from offset `at`; a shorter file is an error.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let from = usize::try_from(at).map_err(|_| end())?;
        let to = from.checked_add(buffer.len()).ok_or_else(end)?;
        buffer.copy_from_slice(self.get(from..to).ok_or_else(end)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.len()).unwrap_or(u64::MAX))
    }
}

/// A disk that is read in pieces.
pub trait DiskImage {
    /// Size of the disk in bytes.
    fn size(&self) -> u64;
    /// Length in bytes of every piece but the last, which may be shorter: a power of two, at most 2 MiB.
    fn piece_size(&self) -> u32;
    /// Reads piece `number` into `buffer`, which has exactly the length of that piece. `false` if the piece is zero;
    /// `buffer` is unchanged then.
    fn piece(&mut self, number: u64, buffer: &mut [u8]) -> Result<bool, DiskImageError>;

    /// Number of pieces, the last one included.
    fn pieces(&self) -> u64 {
        self.size().div_ceil(self.piece_size().into())
    }

    /// Length of piece `number` in bytes.
    fn piece_length(&self, number: u64) -> usize {
        let rest = self
            .size()
            .saturating_sub(number.saturating_mul(self.piece_size().into()));
        let length =
            u32::try_from(rest).map_or(self.piece_size(), |rest| rest.min(self.piece_size()));
        usize::try_from(length).unwrap_or(usize::MAX)
    }
}

/// Why a disk image cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskImageError {
    /// The file cannot be read; an unexpected end means that it is truncated.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// It is damaged, or crafted.
    #[error("the {format} image is damaged: {problem}")]
    Damaged {
        /// `qcow2` or `VMDK`.
        format: &'static str,
        /// The inconsistency, as a clause.
        problem: &'static str,
    },
    /// It is a valid image of an unsupported kind.
    #[error("the {format} image {problem}")]
    Unsupported {
        /// `qcow2` or `VMDK`.
        format: &'static str,
        /// The unsupported property, as a predicate: `is …`, `has …`.
        problem: &'static str,
        /// The hint: an instruction to the user.
        hint: &'static str,
    },
    /// Its disk is larger than supported.
    #[error("its disk has {size} bytes, but at most {SIZE_MAX} are supported")]
    TooLarge {
        /// Size of the disk in bytes.
        size: u64,
    },
}

impl DiskImageError {
    /// The hint: an instruction to the user.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Damaged { .. } => "fetch or export the image again",
            Self::Unsupported { hint, .. } => hint,
            Self::TooLarge { .. } => "shrink the disk before it is exported",
        }
    }
}

/// The part of `head` that a file of `size` bytes fills.
fn within(head: &mut [u8], size: u64) -> &mut [u8] {
    let length = usize::try_from(size).map_or(head.len(), |size| size.min(head.len()));
    head.split_at_mut(length).0
}

/// The big-endian number at `at`, or `None` if `bytes` are shorter.
fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part: &[u8; N] = bytes.get(at..)?.first_chunk()?;
    Some(
        part.iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// The little-endian number at `at`, or `None` if `bytes` are shorter.
fn le<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part: &[u8; N] = bytes.get(at..)?.first_chunk()?;
    Some(
        part.iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// Inflates exactly `out.len()` bytes; `zlib`: whether a zlib header comes first.
fn inflate(bytes: &[u8], out: &mut [u8], zlib: bool) -> Option<()> {
    let mut stream = flate2::Decompress::new(zlib);
    let status = stream.decompress(bytes, out, flate2::FlushDecompress::Finish);
    // the rest of the last sector may be filled; only the length of the output is checked
    let whole = u64::try_from(out.len()).ok() == Some(stream.total_out());
    (status.is_ok() && whole).then_some(())
}

#[cfg(test)]
mod tests;
