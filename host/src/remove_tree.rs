//! Removes a folder in which something may still be mounted: never across a mount point, not even that of a bind mount
//! of the same filesystem. A mounted filesystem holds data that is not part of the folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, SFlag};
use nix::unistd::{self, UnlinkatFlags};

/// Removes `folder` and everything in it; a missing folder is no error. Links are removed, not followed. Stops with an
/// error at the first mount point, without entering it.
pub fn remove_folder(folder: &Path) -> io::Result<()> {
    // The path to the folder may cross mounts and links; paths below it may not.
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = match fcntl::openat(AT_FDCWD, folder, flags, stat::Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(()),
        opened => File::from(opened?),
    };
    empty(open.as_fd(), folder)?;
    drop(open);
    fs::remove_dir(folder)
}

/// Removes everything in `folder` except the entry `kept`, which need not exist; the folder stays. Stops at mount
/// points like [`remove_folder`].
pub(crate) fn empty_folder_but(folder: &Path, kept: &OsStr) -> io::Result<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = fcntl::openat(AT_FDCWD, folder, flags, stat::Mode::empty())?;
    for name in names(open.as_fd())? {
        let name = name?.file_name();
        if name != kept {
            remove(open.as_fd(), Path::new(&name), folder)?;
        }
    }
    Ok(())
}

fn names(folder: BorrowedFd<'_>) -> io::Result<fs::ReadDir> {
    fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn empty(folder: BorrowedFd<'_>, shown: &Path) -> io::Result<()> {
    for entry in names(folder)? {
        remove(folder, Path::new(&entry?.file_name()), shown)?;
    }
    Ok(())
}

/// Removes one entry of any kind; `shown` is its folder's path for messages.
fn remove(folder: BorrowedFd<'_>, name: &Path, shown: &Path) -> io::Result<()> {
    let found = stat::fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFDIR {
        return Ok(unistd::unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?);
    }
    let how = OpenHow::new()
        .flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV);
    let shown = shown.join(name);
    let inner = fcntl::openat2(folder, name, how).map_err(|errno| match errno {
        Errno::EXDEV => {
            let what = format!("something is mounted at {}", shown.display());
            io::Error::new(io::ErrorKind::ResourceBusy, what)
        }
        other => other.into(),
    })?;
    empty(inner.as_fd(), &shown)?;
    Ok(unistd::unlinkat(folder, name, UnlinkatFlags::RemoveDir)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_goes_with_all_that_is_in_it_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (folder, outside) = (place.path().join("work"), place.path().join("outside"));
        fs::create_dir_all(folder.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "untouched").unwrap();
        fs::write(folder.join("a/b/file"), "x").unwrap();
        symlink(&outside, folder.join("a/link")).unwrap();
        symlink("/nowhere", folder.join("broken")).unwrap();
        remove_folder(&folder).unwrap();
        assert!(!folder.exists() && outside.join("victim").exists());
        remove_folder(&folder).unwrap();
    }

    #[test]
    fn a_link_in_the_folders_place_is_not_what_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "untouched").unwrap();
        symlink(&outside, place.path().join("work")).unwrap();
        remove_folder(&place.path().join("work")).unwrap_err();
        assert!(outside.join("victim").exists());
    }
}
