//! What comes out of an archive, made one after the other below one folder: nothing outside of it is ever touched.
//!
//! An archive is not trusted. No part of a path is ever followed where it is a symbolic link, be it one that the
//! archive made a moment before: that is an error, and the targets of links are not examined. Every folder is opened
//! from the one above it, by its name alone.
//!
//! What is there already makes way for what comes later, as with tar; a folder only where it is empty, and a link never
//! for a folder.

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

/// What every ext filesystem has of its own.
const LOST: &str = "lost+found";

/// Makes things below one folder.
#[derive(Debug)]
pub struct Unpacker {
    root: PathBuf,
    folders: Folders,
    /// Whether a folder may pass on an access control list of its own to what is made in it.
    is_passed_on: bool,
}

/// A regular file whose data is still to come.
#[derive(Debug)]
pub struct NewFile(File);

/// Something that is neither a file nor a folder nor a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNode {
    /// A character device, by its numbers.
    Character(u32, u32),
    /// A block device, by its numbers.
    Block(u32, u32),
    /// A named pipe.
    Pipe,
}

impl NewFile {
    /// Writes some of its data.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }
}

impl Unpacker {
    /// Below `root`, which exists.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            folders: Folders::open(root)?,
            is_passed_on: false,
        })
    }

    /// A folder, or the root itself. One that is there stays, with what is in it, and gets what belongs to the new one.
    pub fn folder(&mut self, path: &Path, metadata: &Metadata<'_>) -> io::Result<()> {
        let folder = match parts(path)?.split_last() {
            None => self.folders.root()?,
            Some((name, above)) => {
                let parent = self.folders.enter(above)?;
                match stat::mkdirat(parent, *name, Mode::S_IRWXU) {
                    Err(Errno::EEXIST) if !is_folder(parent, name)? => {
                        make_way(parent, name, true)?;
                        stat::mkdirat(parent, *name, Mode::S_IRWXU)?;
                    }
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.folders.enter(&parts(path)?)?
            }
        };
        if self.is_passed_on {
            metadata::forget_lists(folder)?;
        }
        metadata.give_to(folder)?;
        self.is_passed_on |= metadata.are_passed_on();
        self.folders.note_modified(metadata.modified());
        Ok(())
    }

    /// A regular file of that size, holes all over until it is written to; [`Self::complete`] gives it what belongs to
    /// it.
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

    /// The file has all of its data.
    pub fn complete(&self, file: &NewFile, metadata: &Metadata<'_>) -> io::Result<()> {
        if self.is_passed_on {
            metadata::forget_lists(&file.0)?;
        }
        metadata.give_to(&file.0)?;
        metadata::set_modified(&file.0, metadata.modified())
    }

    /// A symbolic link with any target.
    pub fn symlink(&mut self, path: &Path, to: &OsStr, metadata: &Metadata<'_>) -> io::Result<()> {
        self.make(path, |parent, name| unistd::symlinkat(to, parent, name))?;
        let (parent, name) = self.place(path)?;
        metadata.give_to_link(parent, name)
    }

    /// A device or a pipe.
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
        let is_passed_on = self.is_passed_on;
        let (parent, name) = self.place(path)?;
        metadata.give_to_special(parent, name, is_passed_on)
    }

    /// Another name of the entry at `to`, which is not a folder.
    pub fn hard_link(&mut self, path: &Path, to: &Path) -> io::Result<()> {
        let to_parts = parts(to)?;
        let (Some((to_name, above)), false) = (to_parts.split_last(), path == to) else {
            return Err(refused("is a link to itself or to the root"));
        };
        let missing = || {
            refused(&format!(
                "is a link to `{}`, which is not there",
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

    /// The folder that a hard link leads into, through no symbolic link.
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

    /// The folder of a path, and its name in there.
    fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&File, &'a OsStr)> {
        let parts = parts(path)?;
        let Some((name, above)) = parts.split_last() else {
            return Err(refused("would take the place of the root"));
        };
        Ok((self.folders.enter(above)?, name))
    }

    /// Makes something that must not be there; what is, makes way.
    fn make<T>(
        &mut self,
        path: &Path,
        make: impl Fn(&File, &OsStr) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let (parent, name) = self.place(path)?;
        match make(parent, name) {
            Err(Errno::EEXIST) => {
                make_way(parent, name, false)?;
                Ok(make(parent, name)?)
            }
            done => Ok(done?),
        }
    }

    /// Everything is there: the folders get their times, and all of it is on the medium.
    pub fn close(mut self) -> io::Result<()> {
        self.folders.leave()?;
        Ok(unistd::syncfs(self.folders.base())?)
    }

    /// Nothing of it shall be there: the folder is as empty as a new filesystem.
    pub fn start_over(&mut self) -> io::Result<()> {
        self.folders.leave()?;
        remove_tree::empty_folder_but(&self.root, OsStr::new(LOST))?;
        metadata::take_from(self.folders.base())?;
        self.folders = Folders::open(&self.root)?;
        self.is_passed_on = false;
        Ok(())
    }
}

/// Removes what is in the place of something new.
fn make_way(parent: &File, name: &OsStr, is_for_folder: bool) -> io::Result<()> {
    let found = stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFDIR {
        return match unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY) => Err(refused(
                "would take the place of a folder with something in it",
            )),
            removed => Ok(removed?),
        };
    }
    if is_for_folder && kind == SFlag::S_IFLNK {
        return Err(refused("is a folder where a symbolic link is"));
    }
    Ok(unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?)
}

#[cfg(test)]
mod tests;
