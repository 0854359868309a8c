//! Regular files that stand for disks: partitioning, images and filesystems without root and without a spare disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::window::Window;
use super::{Access, BlockDevice, Devices, forecast};
use crate::units::{Bytes, Extent};

/// The files' sectors.
const SECTOR: Bytes = Bytes(512);

/// A regular file that stands for a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDisk {
    /// The node that it stands for: `/dev/sda`.
    pub device: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub size: Bytes,
    partitions: Vec<(u32, Extent)>,
}

/// Disks that are files. The machine's real ones cannot be seen through this.
#[derive(Clone, Debug, Default)]
pub struct FileDevices {
    disks: Vec<FileDisk>,
}

impl FileDevices {
    /// No disks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `file` stand for the disk `name` (`sda` or `/dev/sda`). With a size it is made, sparse, or brought to that
    /// size; without one it has to be there.
    pub fn add(&mut self, name: &str, file: &Path, size: Option<Bytes>) -> io::Result<()> {
        let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let device = Path::new("/dev").join(name);
        if self.disks.iter().any(|disk| disk.device == device) {
            return invalid(format!("there are two disks `{}`", device.display()));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(size.is_some());
        let opened = options.open(file)?;
        if !opened.metadata()?.is_file() {
            return invalid(format!("{} is not a regular file", file.display()));
        }
        if let Some(size) = size {
            opened.set_len(size.0)?;
        }
        let size = Bytes(opened.metadata()?.len());
        if size == Bytes::ZERO || !size.is_aligned(SECTOR) {
            return invalid(format!(
                "{} is {size} long, and a disk has a whole number of sectors of {SECTOR}",
                file.display()
            ));
        }
        let file = file.canonicalize()?;
        if let Some(other) = self.disks.iter().find(|disk| disk.file == file) {
            let (file, other) = (file.display(), other.device.display());
            return invalid(format!("{file} stands for `{other}` already"));
        }
        self.disks.push(FileDisk {
            device,
            file,
            size,
            partitions: Vec::new(),
        });
        Ok(())
    }

    /// The disks, in the order they were given.
    pub fn disks(&self) -> &[FileDisk] {
        &self.disks
    }

    fn disk(&self, path: &Path) -> io::Result<&FileDisk> {
        let found = self.disks.iter().find(|disk| disk.device == path);
        found.ok_or_else(|| no_such(path))
    }

    fn disk_mut(&mut self, path: &Path) -> io::Result<&mut FileDisk> {
        let found = self.disks.iter_mut().find(|disk| disk.device == path);
        found.ok_or_else(|| no_such(path))
    }

    /// The file that `path` means, and which part of it.
    fn locate(&self, path: &Path) -> io::Result<(&FileDisk, Extent)> {
        let whole = |disk: &FileDisk| Extent {
            start: Bytes::ZERO,
            length: disk.size,
        };
        for disk in &self.disks {
            if disk.device == path {
                return Ok((disk, whole(disk)));
            }
            let mut partitions = disk.partitions.iter();
            if let Some((_, extent)) =
                partitions.find(|(number, _)| forecast(&disk.device, *number) == path)
            {
                return Ok((disk, *extent));
            }
        }
        Err(no_such(path))
    }
}

fn no_such(path: &Path) -> io::Error {
    let what = format!("no file stands for `{}`", path.display());
    io::Error::new(io::ErrorKind::NotFound, what)
}

impl Devices for FileDevices {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        let (disk, extent) = self.locate(path)?;
        let writable = access != Access::Read;
        let file: File = OpenOptions::new()
            .read(true)
            .write(writable)
            .open(&disk.file)?;
        Ok(Box::new(Window::new(file, extent, SECTOR, writable)))
    }

    fn partition(&self, disk: &Path, number: u32) -> io::Result<PathBuf> {
        let found = self.disk(disk)?;
        if found.partitions.iter().any(|(known, _)| *known == number) {
            return Ok(forecast(disk, number));
        }
        Err(no_such(&forecast(disk, number)))
    }

    fn partitions(&self, disk: &Path) -> io::Result<Vec<(u32, Extent)>> {
        Ok(self.disk(disk)?.partitions.clone())
    }

    fn add_partition(&mut self, disk: &Path, number: u32, extent: Extent) -> io::Result<()> {
        let found = self.disk_mut(disk)?;
        if found.partitions.contains(&(number, extent)) {
            return Ok(());
        }
        let inside = extent.length != Bytes::ZERO
            && Extent::new(extent.start, extent.length).is_some()
            && extent.end() <= found.size;
        let mut others = found.partitions.iter();
        let free = others.all(|(known, other)| *known != number && !other.overlaps(extent));
        // What the kernel says in these two cases.
        if !inside {
            return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        }
        if number == 0 || !free {
            return Err(io::Error::from_raw_os_error(nix::libc::EBUSY));
        }
        found.partitions.push((number, extent));
        found.partitions.sort_by_key(|(number, _)| *number);
        Ok(())
    }

    fn remove_partition(&mut self, disk: &Path, number: u32) -> io::Result<()> {
        let found = self.disk_mut(disk)?;
        found.partitions.retain(|(known, _)| *known != number);
        Ok(())
    }

    fn is_file(&self, disk: &Path) -> bool {
        self.locate(disk).is_ok()
    }
}
