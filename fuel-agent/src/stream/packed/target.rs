//! The target of a packed image, shared by several threads; uses direct I/O if the device supports it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use host::blockdev::{BlockDevice, DirectWriter};
use host::units::{Bytes, Extent};

use super::super::error::StreamError;
use crate::pool::Buffer;

const ALIGNMENT: usize = DirectWriter::ALIGNMENT;

/// Zeros are detected in units of this many bytes.
const GRANULE: usize = 64 * 1024;

/// Zeros within a chunk are left to the device from this length on; shorter runs are written.
const ZEROS_LEAST: usize = 512 * 1024;

/// Bytes of the image that are written last.
pub(super) const HEAD: usize = 1 << 20;

static ZEROS: [u8; GRANULE] = [0; GRANULE];

/// A device that several threads write to.
pub(super) struct Target<'a> {
    /// For buffered writes, zeroing and flushing.
    device: Mutex<&'a mut dyn BlockDevice>,
    name: &'a str,
    size: u64,
    /// For direct I/O.
    direct: Option<DirectWriter>,
    /// The device has refused direct I/O: it needs a larger alignment than ours.
    no_direct: AtomicBool,
    /// The head, once it was received.
    head: Mutex<Vec<u8>>,
    written: AtomicU64,
}

impl<'a> Target<'a> {
    pub(super) fn new(device: &'a mut dyn BlockDevice, name: &'a str) -> Result<Self, StreamError> {
        let direct = device.direct();
        let direct = direct.map_err(|source| failed("open", name, 0, source))?;
        Ok(Self {
            size: device.size().0,
            device: Mutex::new(device),
            name,
            direct,
            no_direct: AtomicBool::new(false),
            head: Mutex::default(),
            written: AtomicU64::new(0),
        })
    }

    fn device(&self) -> MutexGuard<'_, &'a mut dyn BlockDevice> {
        // no code panics while holding the lock
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self) -> MutexGuard<'_, Vec<u8>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn direct(&self) -> Option<&DirectWriter> {
        let direct = self.direct.as_ref();
        direct.filter(|_| !self.no_direct.load(Ordering::Relaxed))
    }

    /// Bytes written, without zeroed ones.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Zeroes the place of the head, also if the image is shorter: from here on the disk holds neither the old
    /// filesystem or partition table nor the new one.
    pub(super) fn clear_head(&self) -> Result<(), StreamError> {
        self.zero(0, self.size.min(count(HEAD)))?;
        self.flush()
    }

    /// Writes a chunk to its place, except for the head, which is kept for [`Self::finish`].
    pub(super) fn write_chunk(&self, bytes: &[u8], at: u64) -> Result<(), StreamError> {
        self.check_whole(at)?;
        let (head, rest) = if at == 0 {
            bytes.split_at(bytes.len().min(HEAD))
        } else {
            bytes.split_at(0)
        };
        if !head.is_empty() {
            *self.head() = head.to_vec();
        }
        let mut at = at + count(head.len());
        for (run, is_zero) in Runs(rest) {
            if is_zero {
                self.zero(at, count(run.len()))?;
            } else {
                self.write(run, at)?;
            }
            at += count(run.len());
        }
        Ok(())
    }

    /// Checks that the file that stands for a disk still exists with its length. Avoids the lock if possible: it is
    /// held while extents are zeroed.
    fn check_whole(&self, at: u64) -> Result<(), StreamError> {
        let checked = match &self.direct {
            Some(direct) => direct.check_whole(),
            None => self.device().check_whole(),
        };
        checked.map_err(|source| failed("write", self.name, at, source))
    }

    /// Writes the head, after everything else.
    pub(super) fn finish(&self) -> Result<(), StreamError> {
        self.flush()?;
        let head = std::mem::take(&mut *self.head());
        // a head of zeros is on the disk already
        if head.is_empty() {
            return Ok(());
        }
        let put = self.write(&head, 0).and_then(|()| self.flush());
        if put.is_err() {
            // Firmware may start half a head too. The first error is the one that is returned.
            let _ = self.clear_head();
        }
        put
    }

    /// Flushes everything and drops it from the page cache, so that it is read from the medium.
    pub(super) fn flush_to_medium(&self) -> Result<(), StreamError> {
        self.flush()?;
        let dropped = self.device().drop_cache();
        dropped.map_err(|source| failed("flush", self.name, 0, source))
    }

    /// Copies the head, which is not on the device yet; `false` if it is, being zeros.
    pub(super) fn copy_head(&self, buffer: &mut Buffer) -> bool {
        let head = self.head();
        buffer.push(&head);
        !head.is_empty()
    }

    fn flush(&self) -> Result<(), StreamError> {
        let flushed = self.device().flush();
        flushed.map_err(|source| failed("flush", self.name, 0, source))
    }

    pub(super) fn zero(&self, at: u64, length: u64) -> Result<(), StreamError> {
        let extent = Extent {
            start: Bytes(at),
            length: Bytes(length),
        };
        let zeroed = self.device().zero(extent);
        zeroed.map_err(|source| failed("zero", self.name, at, source))
    }

    /// Uses direct I/O for the aligned part; the tail is shorter than one alignment unit.
    fn write(&self, bytes: &[u8], at: u64) -> Result<(), StreamError> {
        self.written
            .fetch_add(count(bytes.len()), Ordering::Relaxed);
        let (body, tail) = bytes.split_at(bytes.len() - bytes.len() % ALIGNMENT);
        let is_written = self.write_direct(body, at);
        let is_written = is_written.map_err(|source| failed("write", self.name, at, source))?;
        let (rest, at) = if is_written {
            (tail, at + count(body.len()))
        } else {
            (bytes, at)
        };
        if rest.is_empty() {
            return Ok(());
        }
        let written = self.device().write_at(rest, Bytes(at));
        written.map_err(|source| failed("write", self.name, at, source))
    }

    /// Returns whether it was written.
    fn write_direct(&self, bytes: &[u8], at: u64) -> io::Result<bool> {
        let is_aligned = bytes.as_ptr().align_offset(ALIGNMENT) == 0;
        let Some(direct) = self.direct().filter(|_| is_aligned) else {
            return Ok(false);
        };
        match direct.write_at(bytes, Bytes(at)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.no_direct.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads from the device, past the page cache if possible.
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), StreamError> {
        let unit = count(ALIGNMENT);
        let whole = count(buffer.len()).is_multiple_of(unit) && at.is_multiple_of(unit);
        let is_read = match self.direct().filter(|_| whole) {
            None => Ok(false),
            Some(direct) => match direct.read_at(buffer, Bytes(at)) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
                Err(error) => Err(error),
            },
        };
        let read = match is_read {
            Ok(true) => Ok(()),
            Ok(false) => self.device().read_at(buffer, Bytes(at)),
            Err(error) => Err(error),
        };
        read.map_err(|source| failed("read", self.name, at, source))
    }
}

/// Splits bytes into long runs of zeros and what lies between them.
struct Runs<'a>(&'a [u8]);

impl<'a> Iterator for Runs<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        if bytes.is_empty() {
            return None;
        }
        let leading = zeros(bytes);
        let length = if leading > 0 {
            leading
        } else {
            let mut at = 0;
            while at < bytes.len() && (at == 0 || zeros(&bytes[at..]) == 0) {
                at = (at + GRANULE).min(bytes.len());
            }
            at
        };
        let (run, rest) = bytes.split_at(length);
        self.0 = rest;
        Some((run, leading > 0))
    }
}

/// Number of zeros that `bytes` begins with; 0 if they are too few to be worth a system call.
fn zeros(bytes: &[u8]) -> usize {
    let is_zero = |granule: &&[u8]| *granule == &ZEROS[..granule.len()];
    let granules = bytes.chunks(GRANULE).take_while(is_zero);
    let length = granules.map(<[u8]>::len).sum();
    if length >= ZEROS_LEAST { length } else { 0 }
}

fn failed(doing: &'static str, device: &str, offset: u64, source: io::Error) -> StreamError {
    StreamError::Disk {
        doing,
        device: device.to_owned(),
        offset,
        source,
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_runs_of_zeros_are_left_to_the_device() {
        const LONG: usize = ZEROS_LEAST;
        let data = |length: usize| vec![1; length];
        let zeros = |length: usize| vec![0; length];
        for (parts, expected) in [
            (vec![data(GRANULE)], vec![(GRANULE, false)]),
            (vec![zeros(LONG)], vec![(LONG, true)]),
            (vec![zeros(LONG - GRANULE)], vec![(LONG - GRANULE, false)]),
            (
                vec![data(GRANULE), zeros(LONG), data(5)],
                vec![(GRANULE, false), (LONG, true), (5, false)],
            ),
            (
                vec![
                    data(GRANULE),
                    zeros(LONG - GRANULE),
                    data(GRANULE),
                    zeros(LONG + 7),
                ],
                vec![(LONG + GRANULE, false), (LONG + 7, true)],
            ),
            // zeros that begin within a granule count from the next one
            (
                vec![data(1), zeros(LONG + GRANULE)],
                vec![(GRANULE, false), (LONG + 1, true)],
            ),
            (vec![], vec![]),
        ] {
            let bytes = parts.concat();
            let found: Vec<(usize, bool)> = Runs(&bytes)
                .map(|(run, is_zero)| (run.len(), is_zero))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
