//! Positioned reads and writes within one extent of an open file: a whole device, a whole file, or the part of a file
//! that stands for a partition.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::O_DIRECT;

use super::{BlockDevice, DirectWriter};
use crate::ioctl::block;
use crate::units::{Bytes, Extent};

/// Bytes per write of zeros, where the device cannot zero by itself.
const PIECE: usize = 1 << 20;

/// One extent of an open file.
#[derive(Debug)]
pub struct Window {
    file: File,
    extent: Extent,
    sector_size: Bytes,
    writable: bool,
    read_only: bool,
    /// Whether it is a regular file that had a directory entry when it was opened.
    is_named: bool,
    lost: Option<Errno>,
}

impl Window {
    /// The window `extent` of `file`. `writable`: how the file was opened; `read_only`: the device's own flag.
    pub(super) fn new(file: File, extent: Extent, sector_size: Bytes, writable: bool) -> Self {
        let is_named = file
            .metadata()
            .is_ok_and(|it| it.is_file() && it.nlink() > 0);
        Self {
            file,
            is_named,
            extent,
            sector_size,
            writable,
            read_only: false,
            lost: None,
        }
    }

    pub(super) fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Where in the file the `length` bytes at `at` lie; an error where not all of them are within the window.
    fn place(&self, at: Bytes, length: u64, beyond: io::ErrorKind) -> io::Result<u64> {
        let end = at.checked_add(Bytes(length));
        let is_within = end.is_some_and(|end| end <= self.extent.length);
        match self.extent.start.checked_add(at) {
            Some(place) if is_within => Ok(place.0),
            _ => {
                let size = self.extent.length;
                let what = format!("{length} bytes at {at} are beyond the end, which is at {size}");
                Err(io::Error::new(beyond, what))
            }
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(Errno::EBADF.into())
        }
    }

    /// Zeroes by writing.
    fn write_zeros(&mut self, extent: Extent) -> io::Result<()> {
        let zeros = vec![0_u8; PIECE];
        let mut at = extent.start;
        while at < extent.end() {
            let left = extent.end().saturating_sub(at).0;
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            self.write_at(zeros.get(..length).unwrap_or_default(), at)?;
            at = at.saturating_add(Bytes(u64::try_from(length).unwrap_or(left)));
        }
        Ok(())
    }

    /// Zeroes by `fallocate`; `false` where device or filesystem have no fast way.
    fn punch(&self, extent: Extent) -> io::Result<bool> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let start = self.place(extent.start, extent.length.0, io::ErrorKind::InvalidInput)?;
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, length) = (
            start.try_into().map_err(invalid)?,
            extent.length.0.try_into().map_err(invalid)?,
        );
        loop {
            match fallocate(&self.file, mode, start, length) {
                Ok(()) => return Ok(true),
                Err(Errno::EINTR) => {}
                // ENODEV and ENOSYS: the device or filesystem does not support the call at all.
                Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOSYS | Errno::EINVAL) => {
                    return Ok(false);
                }
                Err(other) => return Err(other.into()),
            }
        }
    }
}

impl BlockDevice for Window {
    fn size(&self) -> Bytes {
        self.extent.length
    }

    fn sector_size(&self) -> Bytes {
        self.sector_size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()> {
        let place = self.place(at, count(buffer), io::ErrorKind::UnexpectedEof)?;
        // Retries on EINTR and continues after a short read.
        self.file.read_exact_at(buffer, place)
    }

    fn write_at(&mut self, bytes: &[u8], at: Bytes) -> io::Result<()> {
        self.check_writable()?;
        let place = self.place(at, count(bytes), io::ErrorKind::InvalidInput)?;
        self.file.write_all_at(bytes, place)
    }

    fn zero(&mut self, extent: Extent) -> io::Result<()> {
        self.check_writable()?;
        self.place(extent.start, extent.length.0, io::ErrorKind::InvalidInput)?;
        // Block devices refuse a hole that does not consist of whole sectors: the unaligned ends are written.
        let sector = self.sector_size;
        let inner_start = extent.start.align_up(sector).unwrap_or(extent.end());
        let inner_end = extent.end().align_down(sector);
        if inner_start >= inner_end {
            return self.write_zeros(extent);
        }
        let run = |start: Bytes, end: Bytes| Extent {
            start,
            length: end.saturating_sub(start),
        };
        let inner = run(inner_start, inner_end);
        if !self.punch(inner)? {
            self.write_zeros(inner)?;
        }
        self.write_zeros(run(extent.start, inner_start))?;
        self.write_zeros(run(inner_end, extent.end()))
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(errno) = self.lost {
            return Err(errno.into());
        }
        self.check_whole()?;
        // Also where this was opened for reading: it flushes what other descriptors wrote.
        let synced = nix::unistd::fsync(&self.file);
        // The kernel reports lost pages once: a second fsync would succeed.
        synced.map_err(|errno| {
            self.lost = Some(errno);
            errno.into()
        })
    }

    fn check_whole(&self) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        // a file that had no name when it was opened is a temporary file by intent
        check_file(&self.file, self.extent.end(), self.is_named)
    }

    fn drop_cache(&mut self) -> io::Result<()> {
        match block::flush_buffers(&self.file) {
            // A regular file: every reader gets the cached pages.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOTTY) => Ok(()),
            done => done,
        }
    }

    fn direct(&self) -> io::Result<Option<DirectWriter>> {
        self.check_writable()?;
        let alignment = u64::try_from(DirectWriter::ALIGNMENT).map_err(io::Error::other)?;
        if !self.extent.start.is_aligned(Bytes(alignment)) {
            return Ok(None);
        }
        // By descriptor, not by path: the path may lead to another file by now.
        let name = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(O_DIRECT);
        match options.open(name) {
            Ok(file) => Ok(Some(DirectWriter::new(file, self.extent))),
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Fails where the regular file, written up to `end`, is shorter than that or was deleted.
pub(super) fn check_file(file: &File, end: Bytes, is_named: bool) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    if is_named && metadata.nlink() == 0 {
        let what = "the file was deleted while it was written";
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let length = Bytes(metadata.len());
    if length < end {
        let what = format!("the file was truncated to {length} while it was written");
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok(())
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: u64 = 64 << 10;

    #[test]
    fn a_file_that_was_cut_or_deleted_is_not_flushed() {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().set_len(FILE).unwrap();
        let extent = Extent {
            start: Bytes(512),
            length: Bytes(FILE - 512),
        };
        let opened = File::options().read(true).write(true).open(named.path());
        let mut window = Window::new(opened.unwrap(), extent, Bytes(512), true);
        window.check_whole().unwrap();
        window.flush().unwrap();
        named.as_file().set_len(FILE - 1).unwrap();
        let error = window.flush().unwrap_err();
        let expected = "was truncated to 65535 B";
        assert!(error.to_string().contains(expected), "{error}");
        named.as_file().set_len(FILE).unwrap();
        window.flush().unwrap();
        named.close().unwrap();
        let error = window.flush().unwrap_err();
        assert!(error.to_string().contains("was deleted"), "{error}");
    }

    fn filled() -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![0xaa; FILE.try_into().unwrap()], 0)
            .unwrap();
        file
    }

    fn content(window: &Window) -> Vec<u8> {
        let mut all = vec![0; FILE.try_into().unwrap()];
        window.file.read_exact_at(&mut all, 0).unwrap();
        all
    }

    fn window(start: u64, length: u64) -> Window {
        let extent = Extent::new(Bytes(start), Bytes(length)).unwrap();
        Window::new(filled(), extent, Bytes(512), true)
    }

    proptest! {
        #[test]
        fn a_write_changes_its_bytes_and_no_other_or_fails(
            start in 0..FILE, length in 0..FILE, at in 0..FILE, data in prop::collection::vec(1_u8..=9, 0..2000),
        ) {
            let length = length.min(FILE - start);
            let mut window = window(start, length);
            let fits = at + count(&data) <= length;
            prop_assert_eq!(window.write_at(&data, Bytes(at)).is_ok(), fits);
            let mut expected = vec![0xaa; FILE.try_into().unwrap()];
            if fits {
                let from = usize::try_from(start + at).unwrap();
                expected[from..from + data.len()].copy_from_slice(&data);
                let mut back = vec![0; data.len()];
                window.read_at(&mut back, Bytes(at)).unwrap();
                prop_assert_eq!(&back, &data);
            }
            prop_assert!(content(&window) == expected);
        }

        #[test]
        fn zeroing_changes_its_bytes_and_no_other_or_fails(
            start in 0..FILE, length in 0..FILE, at in 0..FILE, amount in 0..FILE,
        ) {
            let length = length.min(FILE - start);
            let mut window = window(start, length);
            let fits = at + amount <= length;
            let zeroed = window.zero(Extent::new(Bytes(at), Bytes(amount)).unwrap());
            prop_assert_eq!(zeroed.is_ok(), fits);
            let from = if fits { start + at..start + at + amount } else { 0..0 };
            for (place, byte) in (0..FILE).zip(content(&window)) {
                prop_assert_eq!(byte, if from.contains(&place) { 0 } else { 0xaa }, "at {}", place);
            }
        }

        #[test]
        fn a_read_beyond_the_end_is_an_error(start in 0..FILE, length in 0..FILE, at: u64, amount in 0_usize..2000) {
            let length = length.min(FILE - start);
            let window = window(start, length);
            let fits = u128::from(at) + u128::try_from(amount).unwrap() <= u128::from(length);
            prop_assert_eq!(window.read_at(&mut vec![0; amount], Bytes(at)).is_ok(), fits);
        }
    }

    #[test]
    fn what_is_opened_for_reading_is_not_written() {
        let extent = Extent::new(Bytes(0), Bytes(FILE)).unwrap();
        let mut window = Window::new(filled(), extent, Bytes(512), false);
        window.write_at(b"x", Bytes(0)).unwrap_err();
        window.zero(extent).unwrap_err();
        window.direct().unwrap_err();
        assert!(content(&window).iter().all(|byte| *byte == 0xaa));
    }

    #[test]
    fn an_error_tells_how_far_beyond() {
        let error = window(0, 1024).write_at(&[0; 600], Bytes(512)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "600 bytes at 512 B are beyond the end, which is at 1 KiB"
        );
    }
}
