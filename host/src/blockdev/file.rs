//! Regular files that stand for disks: partitioning, images and filesystems without root and without a spare disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::window::Window;
use super::{Access, BlockDevice, Devices, forecast};
use crate::partition_table;
use crate::units::{Bytes, Extent};

/// Logical sector size of disks that are files.
const SECTOR: Bytes = Bytes(512);

/// A regular file that stands for a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDisk {
    /// Path of the disk that the file stands for, like `/dev/sda`.
    pub device: PathBuf,
    /// Absolute path of the regular file.
    pub file: PathBuf,
    /// Size in bytes.
    pub size: Bytes,
    partitions: Vec<(u32, Extent)>,
}

/// Whether two paths lead to one file: by the same resolved path, or by hard links.
fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    a == b || identity(a).is_some_and(|it| identity(b) == Some(it))
}

/// The path of a file that is not there yet, with the links in its folder's path followed.
fn with_real_folder(file: &Path) -> PathBuf {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    }
}

/// Disks that are files. The machine's real disks cannot be opened through this.
#[derive(Clone, Debug, Default)]
pub struct FileDevices {
    disks: Vec<FileDisk>,
}

impl FileDevices {
    /// No disks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `file` stand for the disk `name` (`sda` or `/dev/sda`). With a size the file is made, sparse, or extended,
    /// but never truncated; without one it must exist.
    pub fn add(&mut self, name: &str, file: &Path, size: Option<Bytes>) -> io::Result<()> {
        let device = Path::new("/dev").join(name);
        self.check_name(&device)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(size.is_some());
        let opened = options.open(file)?;
        if !opened.metadata()?.is_file() {
            return Err(not_regular(file));
        }
        let length = Bytes(opened.metadata()?.len());
        check_size(file, length, size)?;
        if let Some(size) = size {
            opened.set_len(size.0)?;
        }
        let size = size.unwrap_or(length);
        self.push(&device, file.canonicalize()?, size)
    }

    fn check_name(&self, device: &Path) -> io::Result<()> {
        if self.disks.iter().any(|disk| disk.device == device) {
            return Err(invalid(format!(
                "there are two disks `{}`",
                device.display()
            )));
        }
        Ok(())
    }

    /// Registers the disk and reads its partition table.
    fn push(&mut self, device: &Path, file: PathBuf, size: Bytes) -> io::Result<()> {
        if let Some(other) = self.disks.iter().find(|disk| is_same(&disk.file, &file)) {
            let (file, other) = (file.display(), other.device.display());
            return Err(invalid(format!("{file} already stands for `{other}`")));
        }
        self.disks.push(FileDisk {
            device: device.to_owned(),
            file,
            size,
            partitions: Vec::new(),
        });
        self.learn_partitions(device)
    }

    /// Reads the partitions of a disk.
    fn learn_partitions(&mut self, device: &Path) -> io::Result<()> {
        let opened = self.open(device, Access::Read);
        let table = match opened.and_then(|opened| partition_table::read(opened.as_ref())) {
            Ok(table) => table,
            // Added by `look_at`: the file may not exist yet, or be shorter than it will be.
            Err(error) if is_short(&error) => None,
            Err(error) => return Err(error),
        };
        let partitions = table.map(|table| table.partitions).unwrap_or_default();
        let known = partitions.iter().map(|found| (found.number, found.extent));
        self.disk_mut(device)?.partitions = known.collect();
        Ok(())
    }

    /// Like [`Self::add`] for a read-only run: no file is created or extended. A missing file with a size given stands
    /// for an empty disk that cannot be opened.
    pub fn look_at(&mut self, name: &str, file: &Path, size: Option<Bytes>) -> io::Result<()> {
        let device = Path::new("/dev").join(name);
        self.check_name(&device)?;
        let (path, length) = match (file.metadata(), size) {
            (Ok(meta), _) if !meta.is_file() => return Err(not_regular(file)),
            (Ok(meta), _) => {
                check_size(file, Bytes(meta.len()), size)?;
                (file.canonicalize()?, size.unwrap_or(Bytes(meta.len())))
            }
            (Err(error), Some(size)) if error.kind() == io::ErrorKind::NotFound => {
                check_size(file, Bytes::ZERO, Some(size))?;
                (with_real_folder(file), size)
            }
            (Err(error), _) => return Err(error),
        };
        self.push(&device, path, length)
    }

    /// The disks, in the order they were added.
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

    /// The file behind `path`, a disk or partition, and which part of it.
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

/// Checks that a file of `length` may stand for a disk once it is extended to `size`, where that is given.
fn check_size(file: &Path, length: Bytes, size: Option<Bytes>) -> io::Result<()> {
    let (file, wanted) = (file.display(), size.unwrap_or(length));
    if wanted == Bytes::ZERO || !wanted.is_aligned(SECTOR) {
        let rule = format!("not a whole number of {SECTOR} sectors");
        return Err(invalid(format!("{file} is {wanted} long: {rule}")));
    }
    if wanted < length {
        let what = format!("{file} is {length} long and would be truncated to {wanted}");
        return Err(invalid(what));
    }
    Ok(())
}

fn is_short(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn not_regular(file: &Path) -> io::Error {
    invalid(format!("{} is not a regular file", file.display()))
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
        // The kernel's errors in these two cases.
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

    fn read_table(&mut self, disk: &Path) -> io::Result<()> {
        self.learn_partitions(disk)
    }

    fn is_file(&self, disk: &Path) -> bool {
        self.locate(disk).is_ok()
    }

    fn backing(&self, path: &Path) -> Option<(PathBuf, Extent)> {
        let (disk, extent) = self.locate(path).ok()?;
        Some((disk.file.clone(), extent))
    }
}
