//! Block devices: a device node under `/dev`, or a regular file that stands for a disk.
//!
//! Callers name a disk and a partition number and get a device to read and write; how the two kinds differ is known
//! only here.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod direct;
mod file;
mod held;
mod node;
mod window;

pub use direct::DirectWriter;
pub use file::{FileDevices, FileDisk};
pub use held::DiskChanged;
pub use node::NodeDevices;
pub use window::Window;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lock::{DiskLock, LockError};
use crate::units::{Bytes, Extent};

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read-only.
    Read,
    /// Reading and writing through the page cache.
    Write,
    /// Reading and writing with exclusive access (`O_EXCL`: fails while it is mounted or claimed by md, LVM, swap).
    Exclusive,
}

/// An open disk, partition, or file that stands for one. Offsets count from its own beginning.
pub trait BlockDevice: Send {
    /// Size in bytes.
    fn size(&self) -> Bytes;
    /// Logical sector size in bytes: 512 or 4096.
    fn sector_size(&self) -> Bytes;
    /// Whether writing is refused by the device itself.
    fn read_only(&self) -> bool;
    /// Fills `buffer` from `at`; an end before that is an error.
    fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()>;
    /// Writes all of `bytes` at `at`; beyond the end is an error.
    fn write_at(&mut self, bytes: &[u8], at: Bytes) -> io::Result<()>;
    /// Makes the extent read as zeros: by the device where it can without a slow fallback, else by writing.
    fn zero(&mut self, extent: Extent) -> io::Result<()>;
    /// Returns when everything written is on the medium. An error is returned by all later calls too: the kernel
    /// reports a lost write only once.
    fn flush(&mut self) -> io::Result<()>;
    /// Fails where written data would be lost: the regular file behind it was truncated or deleted since it was
    /// opened. It costs one `stat` of the file; nothing is read.
    fn check_whole(&self) -> io::Result<()> {
        Ok(())
    }
    /// Writes and drops cached pages, so that the next read comes from the medium. Does nothing where there is no cache
    /// to drop.
    fn drop_cache(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Direct I/O on the same device; `None` where it is not supported (tmpfs, a fake, an unaligned start). Its writes
    /// are flushed by [`Self::flush`] of this device.
    fn direct(&self) -> io::Result<Option<DirectWriter>> {
        Ok(None)
    }
}

/// Opens devices, by the path of a disk and the number of a partition.
///
/// Device paths of partitions are never built from strings: the real implementation asks sysfs.
pub trait Devices: Send {
    /// Holds `disk` open to the end. From then on its path leads to that disk or to an error of [`DiskChanged`], and
    /// nothing is opened for writing that is on a disk that is not held.
    fn hold(&mut self, disk: &Path) -> io::Result<()> {
        let _ = disk;
        Ok(())
    }
    /// Opens a disk or any other block device.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>>;
    /// The device of partition `number` of `disk`; `NotFound` until the kernel knows it.
    fn partition(&self, disk: &Path, number: u32) -> io::Result<PathBuf>;
    /// The kernel's partitions of `disk`, by number.
    fn partitions(&self, disk: &Path) -> io::Result<Vec<(u32, Extent)>>;
    /// Adds a partition to the kernel's list and waits for its device.
    fn add_partition(&mut self, disk: &Path, number: u32, extent: Extent) -> io::Result<()>;
    /// Removes a partition from the kernel's list; an unknown one is no error.
    fn remove_partition(&mut self, disk: &Path, number: u32) -> io::Result<()>;
    /// Has the partition table that is on `disk` now read; no error where the disk can have no partitions. A kernel
    /// without a parser for that kind of table forgets all partitions.
    fn read_table(&mut self, disk: &Path) -> io::Result<()>;
    /// The devices below `node`: members of an array, devices of a mapping. Empty for a disk, and for implementations
    /// without stacked devices.
    fn slaves(&self, node: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = node;
        Ok(Vec::new())
    }
    /// Whether `disk` is a regular file that stands for a disk: nothing on it can be mounted or mapped.
    fn is_file(&self, disk: &Path) -> bool;
    /// The regular file behind `path`, a disk or a partition, and which part of it; `None` for device nodes.
    fn backing(&self, path: &Path) -> Option<(PathBuf, Extent)> {
        let _ = path;
        None
    }
    /// Takes the lock that udev respects (see [`crate::lock`]) for a change of the disk's table; `None` if udev does
    /// not watch the disk.
    fn lock(&self, disk: &Path, limit: Duration) -> Result<Option<DiskLock>, LockError> {
        let _ = (disk, limit);
        Ok(None)
    }
}

/// The kernel's name for partition `number` of `disk`, built from strings: for messages, and for disks that are not
/// device nodes.
pub fn forecast(disk: &Path, number: u32) -> PathBuf {
    let name = disk.display();
    let digit = name.to_string().ends_with(|c: char| c.is_ascii_digit());
    let separator = if digit { "p" } else { "" };
    PathBuf::from(format!("{name}{separator}{number}"))
}
