//! Disk images of virtual machines, read where they lie: qcow2 and VMDK.
//!
//! An image is looked at as pieces of equal size, each of which is data or zero. Nothing is trusted that stands in one: memory
//! is a table and a piece, sizes are bounded before anything is done, and no other file is ever opened (neither a backing
//! file nor an external data file: both are refused).

mod qcow2;
mod vmdk;

pub use qcow2::Qcow2;
pub use vmdk::Vmdk;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The largest disk that is read: what the index of a packed image can describe is less.
pub const SIZE_MAX: u64 = 1 << 41;

/// Bytes that can be read anywhere.
pub trait ReadAt {
    /// Fills `buffer` from `at`; an end before that is an error.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// How many bytes there are.
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

/// A disk in pieces.
pub trait DiskImage {
    /// Bytes of the disk.
    fn size(&self) -> u64;
    /// Bytes of every piece but the last, which may be shorter: a power of two, at most 2 MiB.
    fn piece_size(&self) -> u32;
    /// Reads piece `number` into `buffer`, which has exactly the length of that piece; `false` where it is zero: then
    /// `buffer` is left as it is.
    fn piece(&mut self, number: u64, buffer: &mut [u8]) -> Result<bool, DiskImageError>;

    /// How many pieces there are.
    fn pieces(&self) -> u64 {
        self.size().div_ceil(self.piece_size().into())
    }

    /// The length of piece `number`.
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
    /// The bytes of the file did not arrive; an unexpected end says that it is cut off.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// It is damaged, or made to hurt.
    #[error("the {format} image is damaged: {problem}")]
    Damaged {
        /// `qcow2` or `VMDK`.
        format: &'static str,
        /// What cannot be.
        problem: &'static str,
    },
    /// It is a valid image of a kind that is not read.
    #[error("the {format} image {problem}")]
    Unsupported {
        /// `qcow2` or `VMDK`.
        format: &'static str,
        /// What it has or is.
        problem: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Its disk is larger than any that is read.
    #[error("its disk has {size} bytes, and at most {SIZE_MAX} are read")]
    TooLarge {
        /// Bytes of the disk.
        size: u64,
    },
}

impl DiskImageError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Damaged { .. } => "fetch or export the image again",
            Self::Unsupported { hint, .. } => hint,
            Self::TooLarge { .. } => "shrink the disk before it is exported",
        }
    }
}

/// The big-endian number at `at`, or nothing where `bytes` end before.
fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part: &[u8; N] = bytes.get(at..)?.first_chunk()?;
    Some(
        part.iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// The little-endian number at `at`, or nothing where `bytes` end before.
fn le<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let part: &[u8; N] = bytes.get(at..)?.first_chunk()?;
    Some(
        part.iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

/// Inflates exactly as many bytes as `out` has room for, and no more; `zlib` says whether a zlib header comes first.
fn inflate(bytes: &[u8], out: &mut [u8], zlib: bool) -> Option<()> {
    let mut stream = flate2::Decompress::new(zlib);
    let status = stream.decompress(bytes, out, flate2::FlushDecompress::Finish);
    // whoever packed it may have filled the rest of a sector; what counts is that all of the piece came out
    let whole = u64::try_from(out.len()).ok() == Some(stream.total_out());
    (status.is_ok() && whole).then_some(())
}

#[cfg(test)]
mod tests;
