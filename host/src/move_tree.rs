//! Moves files from one filesystem to another with all their metadata: owners, modes, times, hard links, holes,
//! extended attributes (which include ACLs and capabilities), devices, symbolic links.
//!
//! Links are moved, never followed. Nothing is removed before everything has been copied and flushed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek};

/// Bytes per read.
const PIECE: usize = 1 << 20;

/// Moves everything in `from` into the folder `to`, which gets owner, mode and attributes of `from`. `from` stays,
/// empty.
///
/// After an error `from` is complete and `to` may hold a part of it.
pub fn move_content(from: &Path, to: &Path) -> io::Result<()> {
    let mut links = HashMap::new();
    for name in names(from)? {
        copy(&from.join(&name), &to.join(&name), &mut links)?;
    }
    take_over(from, to, &fs::symlink_metadata(from)?)?;
    nix::unistd::syncfs(File::open(to)?)?;
    for name in names(from)? {
        remove(&from.join(name))?;
    }
    Ok(())
}

/// Names in a folder except `lost+found`, which mkfs makes in every ext filesystem.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != "lost+found" {
            names.push(name);
        }
    }
    Ok(names)
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Copies one entry of any kind. `links` maps (device, inode) of files with several links to their first copy.
fn copy(from: &Path, to: &Path, links: &mut HashMap<(u64, u64), PathBuf>) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    let kind = found.file_type();
    if !kind.is_dir() && found.nlink() > 1 {
        if let Some(first) = links.get(&(found.dev(), found.ino())) {
            return fs::hard_link(first, to);
        }
        links.insert((found.dev(), found.ino()), to.to_owned());
    }
    if kind.is_dir() {
        match fs::create_dir(to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name), links)?;
        }
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        copy_data(from, to, found.len())?;
    } else {
        let special = if kind.is_block_device() {
            SFlag::S_IFBLK
        } else if kind.is_char_device() {
            SFlag::S_IFCHR
        } else if kind.is_fifo() {
            SFlag::S_IFIFO
        } else {
            SFlag::S_IFSOCK
        };
        mknod(
            to,
            special,
            Mode::from_bits_truncate(found.mode()),
            found.rdev(),
        )?;
    }
    take_over(from, to, &found)
}

/// Copies metadata: owner first, since chown clears capabilities and set-id bits; then mode, attributes, times.
fn take_over(from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    if !found.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    copy_attributes(from, to)?;
    let access = TimeSpec::new(found.atime(), found.atime_nsec());
    let change = TimeSpec::new(found.mtime(), found.mtime_nsec());
    Ok(utimensat(
        nix::fcntl::AT_FDCWD,
        to,
        &access,
        &change,
        UtimensatFlags::NoFollowSymlink,
    )?)
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let listed = match xattr::list(from) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in listed {
        if let Some(value) = xattr::get(from, &name)? {
            xattr::set(to, &name, &value)?;
        }
    }
    Ok(())
}

/// Copies the data extents; holes stay holes.
fn copy_data(from: &Path, to: &Path, length: u64) -> io::Result<()> {
    let (source, goal) = (
        File::open(from)?,
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(to)?,
    );
    goal.set_len(length)?;
    let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE).max(1))];
    let mut at = 0;
    while let Some((start, end)) = next_data(&source, at, length)? {
        at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(buffer.len());
            source.read_exact_at(&mut buffer[..wanted], at)?;
            goal.write_all_at(&buffer[..wanted], at)?;
            at += u64::try_from(wanted).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// The next data extent at or after `at` and before `end`, as (start, end).
pub fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= end {
        return Ok(None);
    }
    match seek(file, at, Whence::SeekData) {
        Ok(Some(start)) if start < end => {
            let stop = seek(file, start, Whence::SeekHole)?.unwrap_or(end);
            Ok(Some((start, stop.min(end))))
        }
        Ok(_) => Ok(None),
        // The filesystem does not support SEEK_HOLE: all of it is data.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(Some((at, end))),
        Err(error) => Err(error),
    }
}

/// Offset of the next data or hole at or after `at`; `None` behind the last.
fn seek(file: &File, at: u64, what: Whence) -> io::Result<Option<u64>> {
    let offset = i64::try_from(at).map_err(io::Error::other)?;
    match lseek(file.as_fd(), offset, what) {
        Ok(found) => Ok(Some(u64::try_from(found).map_err(io::Error::other)?)),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        (folder, from, to)
    }

    #[test]
    fn everything_that_belongs_to_a_file_comes_along() {
        let (_folder, from, to) = tree();
        fs::create_dir(from.join("log")).unwrap();
        fs::write(from.join("log/a"), "text").unwrap();
        fs::set_permissions(from.join("log/a"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(from.join("log/a"), from.join("b")).unwrap();
        symlink("/nowhere/at/all", from.join("link")).unwrap();
        mknod(
            &from.join("pipe"),
            SFlag::S_IFIFO,
            Mode::from_bits_truncate(0o600),
            0,
        )
        .unwrap();
        let attribute = xattr::set(from.join("b"), "user.note", b"kept").is_ok();
        let before = fs::metadata(from.join("b")).unwrap();
        move_content(&from, &to).unwrap();
        assert_eq!(
            fs::read_dir(&from).unwrap().count(),
            0,
            "the folder stays, empty"
        );
        let (a, b) = (
            fs::metadata(to.join("log/a")).unwrap(),
            fs::metadata(to.join("b")).unwrap(),
        );
        assert_eq!((a.ino(), a.nlink()), (b.ino(), 2), "two names of one file");
        assert_eq!(
            (a.mode() & 0o7777, a.mtime_nsec()),
            (0o4750, before.mtime_nsec())
        );
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere/at/all")
        );
        assert!(
            fs::symlink_metadata(to.join("pipe"))
                .unwrap()
                .file_type()
                .is_fifo()
        );
        if attribute {
            assert_eq!(
                xattr::get(to.join("b"), "user.note").unwrap().as_deref(),
                Some(&b"kept"[..])
            );
        }
    }

    #[test]
    fn holes_stay_holes() {
        let (_folder, from, to) = tree();
        let file = File::create(from.join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"in the middle", 32 << 20).unwrap();
        drop(file);
        move_content(&from, &to).unwrap();
        let moved = fs::metadata(to.join("sparse")).unwrap();
        assert_eq!(moved.len(), 64 << 20);
        assert!(moved.blocks() * 512 < 4 << 20, "{} blocks", moved.blocks());
        let mut text = [0; 13];
        File::open(to.join("sparse"))
            .unwrap()
            .read_exact_at(&mut text, 32 << 20)
            .unwrap();
        assert_eq!(&text, b"in the middle");
    }

    #[test]
    fn what_cannot_be_copied_is_still_there() {
        let (_folder, from, to) = tree();
        fs::write(from.join("a"), "1").unwrap();
        fs::write(to.join("a"), "another's").unwrap();
        assert!(move_content(&from, &to).is_err());
        assert_eq!(fs::read(from.join("a")).unwrap(), b"1");
    }
}
