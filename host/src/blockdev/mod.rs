//! Block devices: a node under `/dev`, or a regular file that stands for a disk.
//!
//! Everyone above says which disk, and which partition of it, and gets something to read and write; how the two kinds
//! differ is known only here.

mod direct;
mod file;
mod node;
mod window;

pub use direct::DirectWriter;
pub use file::{FileDevices, FileDisk};
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
    /// For looking only.
    Read,
    /// For reading and writing through the page cache.
    Write,
    /// For reading and writing, with exclusive access (`O_EXCL`: fails while it is mounted or claimed by md, LVM,
    /// swap).
    Exclusive,
}

/// An open disk, partition, or file that stands for one. Offsets count from its own beginning.
pub trait BlockDevice: Send {
    /// Size in bytes.
    fn size(&self) -> Bytes;
    /// Its logical sector size: 512 or 4096.
    fn sector_size(&self) -> Bytes;
    /// Whether writing is refused by the device itself.
    fn read_only(&self) -> bool;
    /// Fills `buffer` from `at`; an end before that is an error.
    fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()>;
    /// Writes all of `bytes` at `at`; beyond the end is an error.
    fn write_at(&mut self, bytes: &[u8], at: Bytes) -> io::Result<()>;
    /// Makes the extent read as zeros: by the device where it can without a slow fallback, else by writing.
    fn zero(&mut self, extent: Extent) -> io::Result<()>;
    /// Returns when everything written is on the medium; its error means that it is not, and stays: the kernel tells
    /// of a lost write only once.
    fn flush(&mut self) -> io::Result<()>;
    /// Fails where written data would be lost: the regular file behind it was truncated or deleted since it was
    /// opened. It costs one `stat` of the file; nothing is read.
    fn check_whole(&self) -> io::Result<()> {
        Ok(())
    }
    /// Lets the next read come from the medium: what is cached of it is written and dropped. Nothing to do where there
    /// is no cache, or none that could be dropped.
    fn drop_cache(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// The way to the same device past the page cache; `None` where that cannot be had (tmpfs, a fake, a beginning that
    /// is not aligned). What was written so is flushed through this device.
    fn direct(&self) -> io::Result<Option<DirectWriter>> {
        Ok(None)
    }
}

/// The way to devices, by the name of a disk and the number of a partition.
///
/// Node names of partitions are never built from strings: the real implementation asks sysfs.
pub trait Devices: Send {
    /// Opens a disk, or any block device node.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>>;
    /// The node of partition `number` of `disk`, once the kernel knows it.
    fn partition(&self, disk: &Path, number: u32) -> io::Result<PathBuf>;
    /// The partitions that the kernel knows of `disk`, by number.
    fn partitions(&self, disk: &Path) -> io::Result<Vec<(u32, Extent)>>;
    /// Tells the kernel of a partition and waits for its node.
    fn add_partition(&mut self, disk: &Path, number: u32, extent: Extent) -> io::Result<()>;
    /// Makes the kernel forget a partition; an unknown one is no error.
    fn remove_partition(&mut self, disk: &Path, number: u32) -> io::Result<()>;
    /// The nodes that the kernel has put `node` together of: members of an array, what a mapping lies on. None for a
    /// disk, and where nothing can be put together.
    fn slaves(&self, node: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = node;
        Ok(Vec::new())
    }
    /// Whether `disk` is a regular file that stands for a disk: nothing on it can be mounted or mapped.
    fn is_file(&self, disk: &Path) -> bool;
    /// The regular file that `path`, a disk or a partition, is kept in, and which part of it that is; `None` for nodes.
    fn backing(&self, path: &Path) -> Option<(PathBuf, Extent)> {
        let _ = path;
        None
    }
    /// Takes the lock that udev heeds (see [`crate::lock`]) for a change of the disk's table; `None` if udev does not
    /// watch the disk.
    fn lock(&self, disk: &Path, limit: Duration) -> Result<Option<DiskLock>, LockError> {
        let _ = (disk, limit);
        Ok(None)
    }
}

/// What the kernel would call partition `number` of `disk`: for people, and for disks that are no nodes.
pub fn forecast(disk: &Path, number: u32) -> PathBuf {
    let name = disk.display();
    let digit = name.to_string().ends_with(|c: char| c.is_ascii_digit());
    let separator = if digit { "p" } else { "" };
    PathBuf::from(format!("{name}{separator}{number}"))
}
