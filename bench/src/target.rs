//! The disk that is written: a loop device with direct I/O over a preallocated file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use host::blockdev::{Access, Devices, NodeDevices};
use host::ioctl::block;
use host::ioctl::loops::{LoopDevice, LoopOptions};
use nix::fcntl::{FallocateFlags, fallocate};

use crate::writer::{self, ByteRange};

/// Bytes that are compared at once.
const BLOCK: usize = 1 << 20;

/// Where only data is compared, the size of the parts that are skipped if the image is zero there.
const GRANULE: usize = 4096;

/// What tools write to: a loop device over a file, and its size in bytes.
#[derive(Debug)]
pub(crate) struct Target {
    disk: LoopDevice,
    file: PathBuf,
    size: u64,
}

/// What the kernel has counted for a device since it was attached. Zeroing counts as writing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes read.
    pub(crate) read: u64,
    /// Bytes written.
    pub(crate) written: u64,
}

impl Target {
    /// Makes a file in `work` with all blocks allocated, and attaches it.
    pub(crate) fn attach(work: &Path, size: u64) -> Result<Self> {
        let path = work.join("target.img");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context("cannot make the target's file")?;
        file.set_len(size)?;
        let length = size.try_into().context("the target is too large")?;
        fallocate(&file, FallocateFlags::empty(), 0, length)
            .context("cannot allocate the target's blocks")?;
        let options = LoopOptions {
            direct_io: true,
            ..LoopOptions::default()
        };
        let disk = LoopDevice::attach(&file, options).context("cannot attach the target")?;
        Ok(Self {
            disk,
            file: path,
            size,
        })
    }

    /// Device path, like `/dev/loop3`.
    pub(crate) fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Fills it with 0xAA: no zero is there by chance, and every block of the file is written.
    pub(crate) fn fill_stale(&self) -> Result<()> {
        let all = ByteRange {
            start: 0,
            length: self.size,
        };
        writer::write(&self.file, &[all], 4)?;
        self.drop_caches()
    }

    /// Drops all caches, and lets the kernel forget partitions.
    pub(crate) fn drop_caches(&self) -> Result<()> {
        let mut device = NodeDevices::new().open(self.path(), Access::Read)?;
        device.flush()?;
        device.drop_cache()?;
        // An error: the kernel has no parser for the table, or knows no partition.
        let _ = block::reread_partitions(&File::open(self.path())?);
        fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop caches")
    }

    /// The counters of the device.
    pub(crate) fn counters(&self) -> Result<Counters> {
        let name = self.path().file_name().unwrap_or_default();
        let path = Path::new("/sys/class/block").join(name).join("stat");
        let text = fs::read_to_string(&path).context("cannot read the target's counters")?;
        parse_counters(&text).with_context(|| format!("unexpected format of {}", path.display()))
    }

    /// Compares it with an image: all of it, or only where the image is not zero.
    pub(crate) fn compare(&self, image: &Path, only_data: bool) -> Result<()> {
        self.drop_caches()?;
        let (disk, image) = (File::open(self.path())?, File::open(image)?);
        let size = image.metadata()?.len();
        ensure!(size <= self.size, "the image is larger than the target");
        let (mut is, mut should) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
            let is = is.get_mut(..length).unwrap_or_default();
            let should = should.get_mut(..length).unwrap_or_default();
            disk.read_exact_at(is, at)?;
            image.read_exact_at(should, at)?;
            if let Some(offset) = difference(is, should, only_data) {
                bail!("byte {} of the target differs from the image", at + offset);
            }
            at += u64::try_from(length)?;
        }
        Ok(())
    }
}

/// The first byte that differs; with `only_data`, where the image is not zero.
fn difference(is: &[u8], should: &[u8], only_data: bool) -> Option<u64> {
    if is == should {
        return None;
    }
    let zeros = [0; GRANULE];
    let mut offset = 0;
    for (is, should) in is.chunks(GRANULE).zip(should.chunks(GRANULE)) {
        // slices are compared by memcmp, which is fast in unoptimised builds too
        let matters = !only_data || zeros.get(..should.len()) != Some(should);
        if matters && is != should {
            let mut bytes = is.iter().zip(should);
            let index = bytes.position(|(is, should)| is != should);
            return Some(offset + u64::try_from(index.unwrap_or_default()).unwrap_or_default());
        }
        offset += u64::try_from(is.len()).unwrap_or_default();
    }
    None
}

/// Reads `/sys/block/NAME/stat`: sectors of 512 bytes are in the third and the seventh column.
fn parse_counters(text: &str) -> Option<Counters> {
    let columns: Vec<&str> = text.split_whitespace().collect();
    let sectors = |index: usize| columns.get(index)?.parse::<u64>().ok();
    Some(Counters {
        read: sectors(2)? * 512,
        written: sectors(6)? * 512,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_sectors_of_512_bytes() {
        let text = "  10  0  8  1  20  0  16  2  0  3  3  0  0  0  0  0  0\n";
        let counters = parse_counters(text).unwrap();
        assert_eq!((counters.read, counters.written), (4096, 8192));
        assert!(parse_counters("1 2 3").is_none());
    }

    #[test]
    fn the_first_difference_is_found_and_zeros_can_be_skipped() {
        let mut should = vec![0; 3 * GRANULE];
        should[GRANULE] = 1;
        let mut is = should.clone();
        assert_eq!(difference(&is, &should, false), None);
        is[2 * GRANULE + 7] = 0xaa;
        assert_eq!(difference(&is, &should, false), Some(2 * 4096 + 7));
        assert_eq!(difference(&is, &should, true), None);
        is[GRANULE + 9] = 0xaa;
        assert_eq!(difference(&is, &should, true), Some(4096 + 9));
    }
}
