//! Makes the entries of an archive below one folder; nothing outside of it is ever touched.
//!
//! An archive is not trusted. No component of a path may be a symbolic link, not even one that the archive has just
//! made: that is an error; targets of links are not examined. Every folder is opened relative to its parent, by name.
//!
//! A later entry replaces an existing one, as with tar; a folder only where it is empty, and a folder never replaces a
//! symbolic link.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod folders;
mod metadata;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd::{self, LinkatFlags, UnlinkatFlags};

use folders::{Folders, is_folder, parts, refused};
pub use metadata::Metadata;

use crate::remove_tree;

/// The folder that mkfs makes in every ext filesystem.
const LOST: &str = "lost+found";

/// Makes entries below one folder.
#[derive(Debug)]
pub struct Unpacker {
    root: PathBuf,
    folders: Folders,
    /// Whether a folder with a default access control list was made: later entries may inherit from it.
    inherits_acl: bool,
}

/// A regular file whose data is being written.
#[derive(Debug)]
pub struct NewFile(File);

/// An entry that is not a file, folder or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNode {
    /// A character device: major and minor number.
    Character(u32, u32),
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Pipe,
}

impl NewFile {
    /// Writes all of `bytes` at `at`.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }
}

impl Unpacker {
    /// Makes entries below `root`, which must exist.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            folders: Folders::open(root)?,
            inherits_acl: false,
        })
    }

    /// Makes a folder, or sets the metadata of the root. An existing folder keeps its content and gets the metadata.
    pub fn folder(&mut self, path: &Path, metadata: &Metadata<'_>) -> io::Result<()> {
        let folder = match parts(path)?.split_last() {
            None => self.folders.root()?,
            Some((name, above)) => {
                let parent = self.folders.enter(above)?;
                match stat::mkdirat(parent, *name, Mode::S_IRWXU) {
                    Err(Errno::EEXIST) if !is_folder(parent, name)? => {
                        remove_existing(parent, name, true)?;
                        stat::mkdirat(parent, *name, Mode::S_IRWXU)?;
                    }
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.folders.enter(&parts(path)?)?
            }
        };
        if self.inherits_acl {
            metadata::remove_inherited_acls(folder)?;
        }
        metadata.apply_to(folder)?;
        self.inherits_acl |= metadata.has_default_acl();
        self.folders.note_modified(metadata.modified());
        Ok(())
    }

    /// Makes a sparse regular file of that size; [`Self::complete`] sets its metadata.
    pub fn file(&mut self, path: &Path, size: u64) -> io::Result<NewFile> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = self.make(path, |parent, name| {
            fcntl::openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        })?;
        let file = File::from(made);
        if size > 0 {
            file.set_len(size)?;
        }
        Ok(NewFile(file))
    }

    /// Sets the metadata of a file after all of its data.
    pub fn complete(&self, file: &NewFile, metadata: &Metadata<'_>) -> io::Result<()> {
        if self.inherits_acl {
            metadata::remove_inherited_acls(&file.0)?;
        }
        metadata.apply_to(&file.0)?;
        metadata::set_modified(&file.0, metadata.modified())
    }

    /// Makes a symbolic link; its target may be anything.
    pub fn symlink(&mut self, path: &Path, to: &OsStr, metadata: &Metadata<'_>) -> io::Result<()> {
        self.make(path, |parent, name| unistd::symlinkat(to, parent, name))?;
        let (parent, name) = self.place(path)?;
        metadata.apply_to_link(parent, name)
    }

    /// Makes a device or a pipe.
    pub fn special(
        &mut self,
        path: &Path,
        what: DeviceNode,
        metadata: &Metadata<'_>,
    ) -> io::Result<()> {
        let (kind, device) = match what {
            DeviceNode::Character(major, minor) => (SFlag::S_IFCHR, Some((major, minor))),
            DeviceNode::Block(major, minor) => (SFlag::S_IFBLK, Some((major, minor))),
            DeviceNode::Pipe => (SFlag::S_IFIFO, None),
        };
        let device = device.map_or(0, |(major, minor)| {
            stat::makedev(major.into(), minor.into())
        });
        self.make(path, |parent, name| {
            stat::mknodat(parent, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device)
        })?;
        let inherits_acl = self.inherits_acl;
        let (parent, name) = self.place(path)?;
        metadata.apply_to_special(parent, name, inherits_acl)
    }

    /// Makes a hard link to the entry at `to`, which must not be a folder.
    pub fn hard_link(&mut self, path: &Path, to: &Path) -> io::Result<()> {
        let to_parts = parts(to)?;
        let (Some((to_name, above)), false) = (to_parts.split_last(), path == to) else {
            return Err(refused("is a link to itself or to the root"));
        };
        let missing = || {
            refused(&format!(
                "is a link to `{}`, which does not exist",
                to.display()
            ))
        };
        let above: PathBuf = above.iter().collect();
        let source = self.folder_of_link(&above)?.ok_or_else(missing)?;
        let found = match stat::fstatat(&source, *to_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(missing()),
            found => found?,
        };
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
            return Err(refused("is a link to a folder"));
        }
        let (parent, name) = self.place(path)?;
        if let Ok(there) = stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            && there.st_ino == found.st_ino
        {
            return Ok(());
        }
        self.make(path, |parent, name| {
            unistd::linkat(&source, *to_name, parent, name, LinkatFlags::empty())
        })
    }

    /// Opens the folder of a hard link's target; a symbolic link in its path is an error.
    fn folder_of_link(&self, above: &Path) -> io::Result<Option<File>> {
        if above.as_os_str().is_empty() {
            return self.folders.base().try_clone().map(Some);
        }
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(resolve | ResolveFlag::RESOLVE_NO_XDEV);
        match fcntl::openat2(self.folders.base(), above, how) {
            Ok(folder) => Ok(Some(File::from(folder))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(Errno::ELOOP) => {
                let shown = above.display();
                let why = format!("is a link into `{shown}`, which leads through a symbolic link");
                Err(refused(&why))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The open folder of a path, and the path's last name.
    fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&File, &'a OsStr)> {
        let parts = parts(path)?;
        let Some((name, above)) = parts.split_last() else {
            return Err(refused("would replace the root folder"));
        };
        Ok((self.folders.enter(above)?, name))
    }

    /// Makes an entry with `make`, after removing an existing one.
    fn make<T>(
        &mut self,
        path: &Path,
        make: impl Fn(&File, &OsStr) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let (parent, name) = self.place(path)?;
        match make(parent, name) {
            Err(Errno::EEXIST) => {
                remove_existing(parent, name, false)?;
                Ok(make(parent, name)?)
            }
            done => Ok(done?),
        }
    }

    /// Sets the folders' times and flushes the filesystem; to be called after the last entry.
    pub fn close(mut self) -> io::Result<()> {
        self.folders.leave()?;
        Ok(unistd::syncfs(self.folders.base())?)
    }

    /// Removes everything that was made: the folder is as empty as a new filesystem.
    pub fn start_over(&mut self) -> io::Result<()> {
        self.folders.leave()?;
        remove_tree::empty_folder_but(&self.root, OsStr::new(LOST))?;
        metadata::reset(self.folders.base())?;
        self.folders = Folders::open(&self.root)?;
        self.inherits_acl = false;
        Ok(())
    }
}

/// Removes the entry that a new one replaces.
fn remove_existing(parent: &File, name: &OsStr, is_for_folder: bool) -> io::Result<()> {
    let found = stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFDIR {
        return match unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY) => Err(refused("would replace a folder that is not empty")),
            removed => Ok(removed?),
        };
    }
    if is_for_folder && kind == SFlag::S_IFLNK {
        return Err(refused("is a folder and would replace a symbolic link"));
    }
    Ok(unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?)
}

#[cfg(test)]
mod tests;
