//! Writing to files that may block: FIFOs, consoles, pipes whose reader is slow or gone.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::wait;
use nix::errno::Errno;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Opens an existing file for appending, neither creating nor truncating it, without waiting for a reader: a FIFO that
/// no process reads is the error `ENXIO`.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(path)
}

/// A writer that polls for room on a non-blocking file, and writes to a blocking one as usual. Nothing is buffered.
#[derive(Debug)]
pub struct PollingWriter(File);

impl PollingWriter {
    /// Writes to `file`.
    pub const fn new(file: File) -> Self {
        Self(file)
    }

    /// Writes to a duplicate of the descriptor `stream`.
    pub fn copy_of(stream: impl AsFd) -> io::Result<Self> {
        let copy = stream.as_fd().try_clone_to_owned()?;
        Ok(Self(File::from(copy)))
    }

    /// Writes all of `bytes`; the error `TimedOut` where that takes longer than `limit`. The limit holds only for a
    /// file from [`open`]: writing to any other blocks in the kernel.
    pub fn write_within(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        let deadline = wait::deadline(limit);
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.0.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    // rounded up, or the last millisecond would be a busy loop
                    let left =
                        u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
                    self.wait(left.into())?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&self, timeout: PollTimeout) -> io::Result<()> {
        let mut files = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut files, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Write for PollingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollTimeout::NONE)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::io::Read;

    /// A FIFO with the end that reads from it.
    fn fifo(folder: &Path) -> (std::path::PathBuf, File) {
        let path = folder.join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(&path)
            .unwrap();
        (path, reader)
    }

    #[test]
    fn a_fifo_without_a_reader_is_an_error_and_not_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let (path, reader) = fifo(folder.path());
        drop(reader);
        let error = open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENXIO));
        let error = open(&folder.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_reader_that_does_not_read_ends_a_bounded_write() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut reader) = fifo(folder.path());
        let mut writer = PollingWriter::new(open(&path).unwrap());
        let much = vec![7; 4 << 20];
        let error = writer
            .write_within(&much, Duration::from_millis(5))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // and a later reader gets what fitted
        let mut start = [0; 4096];
        reader.read_exact(&mut start).unwrap();
        assert_eq!(start, [7; 4096]);
    }

    #[test]
    fn a_writer_waits_for_room_though_its_descriptor_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, reader) = fifo(folder.path());
        let mut writer = PollingWriter::new(open(&path).unwrap());
        let reading = std::thread::spawn(move || {
            // blocking from here on, as `cat` would
            let path = folder.path().join("fifo");
            let mut again = File::open(&path).unwrap();
            drop(reader);
            let mut all = Vec::new();
            again.read_to_end(&mut all).unwrap();
            all.len()
        });
        writer.write_all(&vec![1; 1 << 20]).unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap(), 1 << 20);
    }
}
