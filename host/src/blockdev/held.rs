//! Disks that are held open, so that a device path keeps meaning the disk that was looked at.
//!
//! A path like `/dev/sdb` is a place, not a disk: after a reset of its controller another disk may be found there. While
//! a descriptor is open the kernel does not give the number of its device to another one, and
//! what is opened for writing is compared with it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::stat::{major, minor};

use crate::ioctl::block;
use crate::units::Bytes;

/// A device path leads to another disk than the one that is held, or a write would go to a disk that is not held.
#[derive(Debug, thiserror::Error)]
#[error("{} is not the disk that was chosen", path.display())]
pub struct DiskChanged {
    /// The path that was opened.
    pub path: PathBuf,
}

impl DiskChanged {
    /// Whether `error` says so.
    pub fn is(error: &io::Error) -> bool {
        error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }

    fn error(path: &Path) -> io::Error {
        io::Error::other(Self {
            path: path.to_owned(),
        })
    }
}

/// Files of a disk's sysfs folder with its serial number (virtio, `NVMe`, SCSI) or world-wide name.
const IDENTIFIERS: [&str; 5] = [
    "serial",
    "device/serial",
    "device/vpd_pg80",
    "wwid",
    "device/wwid",
];

/// The longest of these files, in bytes.
const LONGEST_IDENTIFIER: u64 = 4096;

/// What a disk is recognised by while the machine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// Number of the whole disk, also where a partition was opened.
    device: u64,
    /// The kernel's count of disks that it has found (`BLKGETDISKSEQ`, Linux 5.15): no two disks have the same until the
    /// next boot. `None` where the kernel does not count.
    sequence: Option<u64>,
    /// What the kernel shows of [`IDENTIFIERS`], each as it is; `None` where it shows nothing.
    identifiers: [Option<Vec<u8>>; IDENTIFIERS.len()],
}

/// An open device: the disk that it is or is a part of, and its own size where it is the disk.
struct Opened {
    identity: Identity,
    size: Option<Bytes>,
    /// Whether it lies on other devices (md, device-mapper): its own descriptor says nothing of disks.
    is_stacked: bool,
}

impl Opened {
    fn of(file: &File, sys: &Path) -> io::Result<Self> {
        let number = file.metadata()?.rdev();
        let name = format!("{}:{}", major(number), minor(number));
        let folder = sys.join("dev/block").join(name).canonicalize()?;
        let is_partition = folder.join("partition").exists();
        let disk = match folder.parent().filter(|_| is_partition) {
            Some(disk) => disk,
            None => &folder,
        };
        let device = if is_partition {
            number_in(disk)?
        } else {
            number
        };
        let slaves = fs::read_dir(disk.join("slaves"));
        let is_stacked = slaves.is_ok_and(|mut it| it.next().is_some());
        Ok(Self {
            identity: Identity {
                device,
                sequence: block::disk_sequence(file)?,
                identifiers: identifiers(disk),
            },
            size: (!is_partition).then(|| block::size(file)).transpose()?,
            is_stacked,
        })
    }
}

/// The identifiers of the disk with this sysfs folder. A file that cannot be read, or is empty, is one that the disk does
/// not have: the same disk has none the next time either.
fn identifiers(disk: &Path) -> [Option<Vec<u8>>; IDENTIFIERS.len()] {
    IDENTIFIERS.map(|name| {
        let mut bytes = Vec::new();
        let file = File::open(disk.join(name)).ok()?;
        file.take(LONGEST_IDENTIFIER).read_to_end(&mut bytes).ok()?;
        Some(bytes).filter(|bytes| !bytes.trim_ascii().is_empty())
    })
}

/// Number of the device with this sysfs folder.
fn number_in(folder: &Path) -> io::Result<u64> {
    let file = folder.join("dev");
    let text = fs::read_to_string(&file)?;
    let number = || {
        let (major, minor) = text.trim().split_once(':')?;
        let number = nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?);
        Some(number)
    };
    number().ok_or_else(|| {
        let what = format!("{} contains `{}`", file.display(), text.trim());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    identity: Identity,
    size: Option<Bytes>,
    /// Keeps the device's number from being given to another disk.
    _open: File,
}

/// The disks that are held. Clones hold the same descriptors.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldDisks(Vec<Arc<Held>>);

impl HeldDisks {
    /// Holds what `path` leads to now; again, where it is held already.
    pub(super) fn hold(&mut self, path: &Path, sys: &Path) -> io::Result<()> {
        let open = File::open(path)?;
        let Opened { identity, size, .. } = Opened::of(&open, sys)?;
        self.0.retain(|held| held.path != path);
        self.0.push(Arc::new(Held {
            path: path.to_owned(),
            identity,
            size,
            _open: open,
        }));
        Ok(())
    }

    /// Fails unless `file`, opened by `path`, is on a disk that may be used: for a path that is held, that one; for writing,
    /// any that is held. What lies on other devices is made of held disks, or was refused by the plan.
    pub(super) fn check(
        &self,
        file: &File,
        path: &Path,
        writable: bool,
        sys: &Path,
    ) -> io::Result<()> {
        let named = self.0.iter().find(|held| held.path == path);
        if self.0.is_empty() || (named.is_none() && !writable) {
            return Ok(());
        }
        let opened = Opened::of(file, sys)?;
        let is_right = match named {
            Some(held) => held.identity == opened.identity && held.size == opened.size,
            None => opened.is_stacked || self.0.iter().any(|held| held.identity == opened.identity),
        };
        if is_right {
            Ok(())
        } else {
            Err(DiskChanged::error(path))
        }
    }

    /// Fails where `path` is held and leads to a device of another number: for what is done by path, without a descriptor.
    pub(super) fn check_number(&self, path: &Path) -> io::Result<()> {
        let Some(held) = self.0.iter().find(|held| held.path == path) else {
            return Ok(());
        };
        match fs::metadata(path) {
            Ok(found) if found.rdev() == held.identity.device => Ok(()),
            Ok(_) => Err(DiskChanged::error(path)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_what_the_kernel_shows_and_absent_stays_absent() {
        let folder = tempfile::tempdir().unwrap();
        let none = identifiers(folder.path());
        assert_eq!(none, [const { None }; IDENTIFIERS.len()]);
        fs::create_dir(folder.path().join("device")).unwrap();
        for (at, name) in IDENTIFIERS.iter().enumerate() {
            let file = folder.path().join(name);
            fs::write(&file, "\n").unwrap();
            assert_eq!(identifiers(folder.path()), none, "{name} is empty");
            fs::write(&file, b"S3X9\0\xff\n").unwrap();
            let found = identifiers(folder.path());
            assert_eq!(found[at].as_deref(), Some(&b"S3X9\0\xff\n"[..]));
            assert_eq!(found.iter().flatten().count(), 1);
            fs::write(&file, vec![b'x'; 9000]).unwrap();
            assert_eq!(identifiers(folder.path())[at].as_ref().unwrap().len(), 4096);
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            assert_eq!(identifiers(folder.path()), none, "{name} cannot be read");
        }
    }
}
