//! An extent of a disk as something to read, write and seek in, for code that makes or reads a filesystem.
//!
//! The first sector can be held back: everything else is written, flushed and checked before it, and until it follows
//! no program finds a filesystem there.

use std::io::{self, Read, Seek, SeekFrom, Write};

use host::blockdev::BlockDevice;
use host::units::{Bytes, Extent};

/// A window onto an open disk.
pub(super) struct DiskRegion<'a> {
    device: &'a mut dyn BlockDevice,
    extent: Extent,
    at: u64,
    held: Option<Vec<u8>>,
}

impl<'a> DiskRegion<'a> {
    /// The window `extent` of `device`.
    pub(super) fn new(device: &'a mut dyn BlockDevice, extent: Extent) -> Self {
        Self {
            device,
            extent,
            at: 0,
            held: None,
        }
    }

    /// The same, with its first sector kept in memory until [`DiskRegion::release`].
    pub(super) fn holding_back(device: &'a mut dyn BlockDevice, extent: Extent) -> Self {
        let sector = usize::try_from(device.sector_size().0).unwrap_or(4096);
        Self {
            held: Some(vec![0; sector]),
            ..Self::new(device, extent)
        }
    }

    /// Returns when everything written so far is on the medium.
    pub(super) fn flush_disk(&mut self) -> io::Result<()> {
        self.device.flush()
    }

    /// Writes what was held back, flushes, and reads it back.
    pub(super) fn release(mut self) -> io::Result<()> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        write_and_check(self.device, &held, self.extent.start)
    }

    fn left(&self) -> u64 {
        self.extent.length.0.saturating_sub(self.at)
    }

    /// How many of `wanted` bytes are on the same side of the held sector's end, and whether they are held.
    fn stretch(&self, wanted: usize) -> (usize, bool) {
        let wanted = usize::try_from(self.left()).map_or(wanted, |left| left.min(wanted));
        let held = self.held.as_ref().map_or(0, Vec::len);
        match usize::try_from(self.at) {
            Ok(at) if at < held => (wanted.min(held - at), true),
            _ => (wanted, false),
        }
    }

    fn held_mut(&mut self, length: usize) -> &mut [u8] {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        let held = self.held.as_mut().and_then(|held| held.get_mut(at..));
        held.and_then(|held| held.get_mut(..length))
            .unwrap_or_default()
    }
}

/// Writes, flushes, reads back: a disk that acknowledges writes which it loses is detected here if it can be.
pub(super) fn write_and_check(
    device: &mut dyn BlockDevice,
    bytes: &[u8],
    at: Bytes,
) -> io::Result<()> {
    device.write_at(bytes, at)?;
    device.flush()?;
    let mut back = vec![0; bytes.len()];
    device.read_at(&mut back, at)?;
    if back == bytes {
        return Ok(());
    }
    let what = format!("what was written at {at} reads back differently");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

impl Read for DiskRegion<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, held) = self.stretch(buffer.len());
        let Some(buffer) = buffer.get_mut(..length) else {
            return Ok(0);
        };
        if held {
            buffer.copy_from_slice(self.held_mut(length));
        } else {
            let at = self.extent.start.saturating_add(Bytes(self.at));
            self.device.read_at(buffer, at)?;
        }
        self.at = self.at.saturating_add(amount(length));
        Ok(length)
    }
}

impl Write for DiskRegion<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (length, held) = self.stretch(bytes.len());
        let bytes = bytes.get(..length).unwrap_or_default();
        if held {
            self.held_mut(length).copy_from_slice(bytes);
        } else {
            let at = self.extent.start.saturating_add(Bytes(self.at));
            self.device.write_at(bytes, at)?;
        }
        self.at = self.at.saturating_add(amount(length));
        Ok(length)
    }

    /// Nothing is buffered here; the disk itself is flushed once, at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for DiskRegion<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.extent.length.0.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn amount(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::blockdev::{Access, Devices};
    use host::fake::FakeDevices;

    const EXTENT: Extent = Extent {
        start: Bytes(4096),
        length: Bytes(2000),
    };

    fn disk() -> FakeDevices {
        FakeDevices::new().with("/dev/sda", Bytes::MIB)
    }

    fn content(disk: &FakeDevices) -> Vec<u8> {
        disk.content("/dev/sda", EXTENT).unwrap()
    }

    #[test]
    fn what_is_held_back_comes_last() {
        let disk = disk();
        let mut device = disk.open("/dev/sda".as_ref(), Access::Write).unwrap();
        let mut region = DiskRegion::holding_back(device.as_mut(), EXTENT);
        region.write_all(&[1; 1000]).unwrap();
        region.seek(SeekFrom::Start(500)).unwrap();
        let mut back = [0; 20];
        region.read_exact(&mut back).unwrap();
        assert_eq!(back, [1; 20]);
        let before = content(&disk);
        assert_eq!(
            (&before[..512], &before[512..1000]),
            (&[0; 512][..], &[1; 488][..])
        );
        region.release().unwrap();
        let after = content(&disk);
        assert_eq!(
            (&after[..1000], &after[1000..]),
            (&[1; 1000][..], &[0; 1000][..])
        );
    }

    #[test]
    fn its_end_is_the_extents_end() {
        let disk = disk();
        let mut device = disk.open("/dev/sda".as_ref(), Access::Write).unwrap();
        let mut region = DiskRegion::new(device.as_mut(), EXTENT);
        assert_eq!(region.seek(SeekFrom::End(-10)).unwrap(), 1990);
        assert_eq!(region.write(&[1; 20]).unwrap(), 10);
        assert_eq!(region.write(&[1; 20]).unwrap(), 0);
        assert_eq!(region.read(&mut [0; 20]).unwrap(), 0);
        assert!(region.seek(SeekFrom::Current(-3000)).is_err());
    }
}
