//! Reads and writes past the page cache, by several threads at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::window::check_file;
use crate::units::{Bytes, Extent};

/// A device opened without the page cache (`O_DIRECT`). Offsets count from the start of its extent; a request outside
/// of the extent is refused, since the underlying file may continue with the next partition.
///
/// What was written is on the medium once [`super::BlockDevice::flush`] of the device has returned.
#[derive(Debug)]
pub struct DirectWriter {
    file: File,
    extent: Extent,
}

impl DirectWriter {
    /// Alignment in bytes of addresses, offsets and lengths that satisfies direct I/O on every known disk. Many disks
    /// accept less.
    pub const ALIGNMENT: usize = 4096;

    /// The part `extent` of `file`.
    pub(crate) const fn new(file: File, extent: Extent) -> Self {
        Self { file, extent }
    }

    /// Writes all of `bytes` at `at`; [`io::ErrorKind::InvalidInput`] where they are not within the device or not
    /// aligned as the device requires: then write through the page cache.
    pub fn write_at(&self, bytes: &[u8], at: Bytes) -> io::Result<()> {
        self.file.write_all_at(bytes, self.place(at, bytes.len())?)
    }

    /// Fills `buffer` from `at`; errors as with [`Self::write_at`].
    pub fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()> {
        self.file
            .read_exact_at(buffer, self.place(at, buffer.len())?)
    }

    /// The same as [`super::BlockDevice::check_whole`], for threads that hold no [`super::BlockDevice`].
    pub fn check_whole(&self) -> io::Result<()> {
        check_file(&self.file, self.extent.end(), true)
    }

    /// Offset in the file.
    fn place(&self, at: Bytes, length: usize) -> io::Result<u64> {
        let end = u64::try_from(length)
            .ok()
            .and_then(|length| at.checked_add(Bytes(length)));
        let is_within = end.is_some_and(|end| end <= self.extent.length);
        match self.extent.start.checked_add(at) {
            Some(place) if is_within => Ok(place.0),
            _ => {
                let size = self.extent.length;
                let what = format!("{length} bytes at {at} are beyond the end, which is at {size}");
                Err(io::Error::new(io::ErrorKind::InvalidInput, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: usize = 64 << 10;

    proptest! {
        #[test]
        fn nothing_outside_of_the_extent_is_read_or_written(
            start in 0..FILE, length in 0..FILE, at: u64, near in 0..FILE,
            data in prop::collection::vec(1_u8..=9, 0..2000),
        ) {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&vec![0xaa; FILE], 0).unwrap();
            let length = length.min(FILE - start);
            let bytes = |count: usize| Bytes(u64::try_from(count).unwrap());
            let extent = Extent::new(bytes(start), bytes(length)).unwrap();
            let writer = DirectWriter::new(file.try_clone().unwrap(), extent);
            let mut expected = vec![0xaa; FILE];
            for at in [Bytes(at), bytes(near)] {
                let end = at.0.checked_add(bytes(data.len()).0);
                let fits = end.is_some_and(|end| end <= extent.length.0);
                prop_assert_eq!(writer.write_at(&data, at).is_ok(), fits);
                let mut back = vec![0; data.len()];
                prop_assert_eq!(writer.read_at(&mut back, at).is_ok(), fits);
                if fits {
                    let from = start + usize::try_from(at.0).unwrap();
                    expected[from..from + data.len()].copy_from_slice(&data);
                    prop_assert_eq!(&back, &data);
                }
            }
            let mut found = vec![0; FILE];
            file.read_exact_at(&mut found, 0).unwrap();
            prop_assert!(found == expected);
        }
    }
}
