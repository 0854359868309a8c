//! Block devices of this machine, and their partitions as listed in sysfs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::O_EXCL;
use nix::sys::stat::{major, minor};

use super::held::HeldDisks;
use super::window::Window;
use super::{Access, BlockDevice, Devices};
use crate::ioctl::block;
use crate::lock::{self, DiskLock, LockError};
use crate::units::{Bytes, Extent, KernelSectors};
use crate::wait;

/// How long a device node may take to appear, or an old partition to become free (udev probes new ones).
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an exclusive open is retried while a program that probes new devices holds the device.
const HELD_PATIENCE: Duration = Duration::from_secs(5);

/// How long a program that looks at the new partitions may keep the kernel from reading their table.
const REREAD_PATIENCE: Duration = Duration::from_secs(10);

/// The block devices of this machine.
#[derive(Clone, Debug)]
pub struct NodeDevices {
    sys: PathBuf,
    dev: PathBuf,
    patience: Duration,
    held: HeldDisks,
}

impl Default for NodeDevices {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeDevices {
    /// Devices under `/dev`, described by `/sys`.
    pub fn new() -> Self {
        Self::below("/sys", "/dev")
    }

    /// With other roots, for tests.
    pub fn below(sys: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Self {
        Self {
            sys: sys.into(),
            dev: dev.into(),
            patience: PATIENCE,
            held: HeldDisks::default(),
        }
    }

    /// Opens a disk for reading, for what is asked of the kernel about it.
    fn open_disk(&self, disk: &Path) -> io::Result<File> {
        let file = open_disk(disk)?;
        self.held.check(&file, disk, false, &self.sys)?;
        Ok(file)
    }

    /// The sysfs folder of a device: by its number where `disk` is a device node, so that links and names in
    /// `/dev/mapper` are resolved; else by its name.
    fn folder(&self, disk: &Path) -> io::Result<PathBuf> {
        let meta = fs::metadata(disk);
        if let Ok(meta) = &meta
            && meta.file_type().is_block_device()
        {
            let number = format!("{}:{}", major(meta.rdev()), minor(meta.rdev()));
            return self.sys.join("dev/block").join(number).canonicalize();
        }
        let name = disk.strip_prefix(&self.dev).unwrap_or(disk);
        let name = name.to_string_lossy().replace('/', "!");
        let folder = self.sys.join("class/block").join(name);
        // If neither exists, the error to report is that of the device node.
        folder
            .canonicalize()
            .map_err(|error| meta.err().unwrap_or(error))
    }
}

/// A partition as listed in sysfs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    number: u32,
    extent: Extent,
    node: String,
}

/// The partitions in a disk's sysfs folder, by number.
fn known(folder: &Path) -> io::Result<Vec<Known>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let folder = entry?.path();
        match read_known(&folder) {
            Ok(partition) => found.extend(partition),
            // The partition was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|partition| partition.number);
    Ok(found)
}

fn read_known(folder: &Path) -> io::Result<Option<Known>> {
    let marker = folder.join("partition");
    if !marker.exists() {
        return Ok(None);
    }
    let number = read_number(&marker)?;
    Ok(Some(Known {
        number: number.try_into().map_err(io::Error::other)?,
        extent: Extent {
            start: read_sectors(&folder.join("start"))?,
            length: read_sectors(&folder.join("size"))?,
        },
        node: name_of(folder)?,
    }))
}

/// Device name of a sysfs folder, from `uevent`. Without a `DEVNAME` line it is the folder's name, in which sysfs
/// writes `!` for `/`.
fn name_of(folder: &Path) -> io::Result<String> {
    let uevent = fs::read_to_string(folder.join("uevent"))?;
    let mut lines = uevent.lines();
    if let Some(name) = lines.find_map(|line| line.strip_prefix("DEVNAME=")) {
        return Ok(name.to_owned());
    }
    let name = folder.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().replace('!', "/"))
}

fn read_number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let not_a_number = |_| {
        let what = format!("{} contains `{}`", file.display(), text.trim());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    text.trim().parse().map_err(not_a_number)
}

fn read_sectors(file: &Path) -> io::Result<Bytes> {
    let sectors = KernelSectors(read_number(file)?);
    sectors
        .to_bytes()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn open_disk(disk: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(disk)
}

impl Devices for NodeDevices {
    fn hold(&mut self, disk: &Path) -> io::Result<()> {
        self.held.hold(disk, &self.sys)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        let writable = access != Access::Read;
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        if access == Access::Exclusive {
            options.custom_flags(O_EXCL);
        }
        let file = wait::while_busy(HELD_PATIENCE, || options.open(path))?;
        if !file.metadata()?.file_type().is_block_device() {
            let what = format!("{} is not a block device", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.held.check(&file, path, writable, &self.sys)?;
        let extent = Extent {
            start: Bytes::ZERO,
            length: block::size(&file)?,
        };
        let (sector, read_only) = (block::sector_size(&file)?, block::read_only(&file)?);
        // The kernel would open it and fail only at the first write.
        if writable && read_only {
            return Err(io::Error::from_raw_os_error(nix::libc::EROFS));
        }
        let window = Window::new(file, extent, sector, writable).with_read_only(read_only);
        Ok(Box::new(window))
    }

    fn partition(&self, disk: &Path, number: u32) -> io::Result<PathBuf> {
        self.held.check_number(disk)?;
        let known = known(&self.folder(disk)?)?;
        let found = known.into_iter().find(|known| known.number == number);
        let node = found.map(|known| self.dev.join(known.node));
        node.ok_or_else(|| {
            let what = format!("the kernel has no partition {number} of {}", disk.display());
            io::Error::new(io::ErrorKind::NotFound, what)
        })
    }

    fn partitions(&self, disk: &Path) -> io::Result<Vec<(u32, Extent)>> {
        let known = known(&self.folder(disk)?)?;
        Ok(known.into_iter().map(|k| (k.number, k.extent)).collect())
    }

    fn add_partition(&mut self, disk: &Path, number: u32, extent: Extent) -> io::Result<()> {
        let before = self.partitions(disk)?;
        match before.iter().find(|(known, _)| *known == number) {
            // Another program, such as udev after a change, may have made the kernel read the new table first.
            Some((_, known)) if *known == extent => {}
            Some((_, known)) => {
                let what = format!(
                    "the kernel still has partition {number} of {} as {} at {}",
                    disk.display(),
                    known.length,
                    known.start
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            None => wait::while_busy(HELD_PATIENCE, || {
                match block::add_partition(&self.open_disk(disk)?, number, extent) {
                    Err(_) if self.partitions(disk)?.contains(&(number, extent)) => Ok(()),
                    other => other,
                }
            })?,
        }
        wait::until(self.patience, || {
            let node = self.partition(disk, number)?;
            let there = match open_disk(&node) {
                Ok(file) => block::size(&file)? == extent.length,
                Err(error) if is_not_yet(&error) => false,
                Err(error) => return Err(error),
            };
            Ok(there.then_some(()))
        })
    }

    fn remove_partition(&mut self, disk: &Path, number: u32) -> io::Result<()> {
        let file = self.open_disk(disk)?;
        // udev probes a new partition for a moment; any other user still holds it after the wait.
        wait::while_busy(self.patience, || {
            match block::delete_partition(&file, number) {
                Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(()),
                other => other,
            }
        })
    }

    fn read_table(&mut self, disk: &Path) -> io::Result<()> {
        let file = self.open_disk(disk)?;
        match wait::while_busy(REREAD_PATIENCE, || block::reread_partitions(&file)) {
            // No partitions on this kind of device at all.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            read => read,
        }
    }

    fn slaves(&self, node: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = self.folder(node)?.join("slaves");
        let listed = match fs::read_dir(&folder) {
            // A partition has no such folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut nodes = Vec::new();
        for entry in listed {
            nodes.push(self.dev.join(name_of(&entry?.path())?));
        }
        nodes.sort();
        Ok(nodes)
    }

    fn is_file(&self, _disk: &Path) -> bool {
        false
    }

    fn lock(&self, disk: &Path, limit: Duration) -> Result<Option<DiskLock>, LockError> {
        lock::disk_lock(disk, limit).map(Some)
    }
}

/// Whether the device node does not exist yet, or still belongs to a removed partition.
fn is_not_yet(error: &io::Error) -> bool {
    use nix::libc::{ENODEV, ENOENT, ENXIO};
    matches!(error.raw_os_error(), Some(ENOENT | ENXIO | ENODEV))
}
