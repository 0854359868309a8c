//! The open folders from the root down to where an entry is being made. Memory depends on their depth, not on their
//! number.
//!
//! Creating an entry in a folder changes the folder's modification time. It is set again when the folder is left: to
//! the time of its archive entry, or, where it is entered again, to the time that it had then.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::sys::stat::{self, Mode, SFlag};
use nix::sys::time::TimeSpec;

use super::metadata::set_modified;

/// Maximum depth of nested folders: each is an open file descriptor.
const DEPTH_MAX: usize = 256;

/// How a folder is opened from the one above it.
const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// An open folder.
#[derive(Debug)]
struct Open {
    name: OsString,
    folder: File,
    modified: TimeSpec,
}

impl Open {
    fn new(name: OsString, folder: File) -> io::Result<Self> {
        let found = stat::fstat(&folder)?;
        Ok(Self {
            name,
            folder,
            modified: TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
        })
    }
}

/// The root, and the open folders below it.
#[derive(Debug)]
pub(super) struct Folders {
    root: Open,
    below: Vec<Open>,
}

impl Folders {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = File::options()
            .read(true)
            .custom_flags(flags.bits())
            .open(root)?;
        Ok(Self {
            root: Open::new(OsString::new(), folder)?,
            below: Vec::new(),
        })
    }

    /// The root, without leaving the current folder.
    pub(super) const fn base(&self) -> &File {
        &self.root.folder
    }

    /// Goes back to the root.
    pub(super) fn root(&mut self) -> io::Result<&File> {
        self.leave_to(0)?;
        Ok(self.base())
    }

    /// Goes to a folder. Missing ones are made, owned by root with mode 0755.
    pub(super) fn enter(&mut self, path: &[&OsStr]) -> io::Result<&File> {
        if path.len() > DEPTH_MAX {
            return Err(refused(&format!("is in more than {DEPTH_MAX} folders")));
        }
        let pairs = self.below.iter().zip(path);
        let common = pairs.take_while(|(open, name)| open.name == **name).count();
        self.leave_to(common)?;
        for name in path.iter().skip(common) {
            let folder = open(self.here(), name)?;
            self.below.push(Open::new((*name).to_owned(), folder)?);
        }
        Ok(self.here())
    }

    fn here(&self) -> &File {
        let open = self.below.last().unwrap_or(&self.root);
        &open.folder
    }

    /// Sets the modification time that the current folder gets when it is left.
    pub(super) fn note_modified(&mut self, modified: TimeSpec) {
        let open = self.below.last_mut().unwrap_or(&mut self.root);
        open.modified = modified;
    }

    fn leave_to(&mut self, depth: usize) -> io::Result<()> {
        while self.below.len() > depth
            && let Some(open) = self.below.pop()
        {
            set_modified(&open.folder, open.modified)?;
        }
        Ok(())
    }

    /// Leaves all folders, the root too.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.leave_to(0)?;
        set_modified(&self.root.folder, self.root.modified)
    }
}

fn open(parent: &File, name: &OsStr) -> io::Result<File> {
    match fcntl::openat(parent, name, FLAGS, Mode::empty()) {
        Err(Errno::ENOENT) => {
            stat::mkdirat(parent, name, Mode::S_IRWXU)?;
            let made = File::from(fcntl::openat(parent, name, FLAGS, Mode::empty())?);
            stat::fchmod(&made, Mode::from_bits_truncate(0o755))?;
            Ok(made)
        }
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let found = stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
            let what = match kind {
                SFlag::S_IFLNK => "a symbolic link",
                _ => "not a folder",
            };
            let name = name.display();
            Err(refused(&format!("is below `{name}`, which is {what}")))
        }
        opened => Ok(File::from(opened?)),
    }
}

/// Whether the entry is a folder; a symbolic link to one is not.
pub(super) fn is_folder(parent: &File, name: &OsStr) -> io::Result<bool> {
    let found = stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// The names that a path consists of; `..`, and an absolute path, are errors.
pub(super) fn parts(path: &Path) -> io::Result<Vec<&OsStr>> {
    let parts = path.components().map(|part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err(refused("has a path that leads out of the root")),
    });
    parts.collect()
}

/// The error of an entry that must not be made.
pub(super) fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}
