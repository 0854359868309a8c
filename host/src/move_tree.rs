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
/// Memory for files of which more links may come, in bytes. A system has a few thousand of them; an image made to do
/// harm has millions.
const LINKS_MAX: usize = 32 << 20;

/// Moves everything in `from` into the folder `to`, which gets owner, mode and attributes of `from`. `from` stays,
/// empty.
///
/// After an error `from` is complete and `to` may hold a part of it. [`io::ErrorKind::QuotaExceeded`]: more files have
/// several links than are kept in mind.
pub fn move_content(from: &Path, to: &Path) -> io::Result<()> {
    move_within(from, to, LINKS_MAX)
}

fn move_within(from: &Path, to: &Path, memory: usize) -> io::Result<()> {
    let mut links = Links::new(memory);
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

/// Copies of files that have links which were not seen yet. In memory that is bounded.
struct Links {
    /// By device and inode of the original: the first copy, and how many links of the original are still to come.
    first: HashMap<(u64, u64), (PathBuf, u64)>,
    /// Bytes that are left for more.
    memory: usize,
}

impl Links {
    fn new(memory: usize) -> Self {
        Self {
            first: HashMap::new(),
            memory,
        }
    }

    /// What an entry for the copy `to` takes, roughly.
    fn cost(to: &Path) -> usize {
        to.as_os_str().len().saturating_add(96)
    }

    /// The copy of an earlier link of the same file. Forgotten with its last link: a file whose links all lie below
    /// one folder takes memory for a moment only.
    fn earlier(&mut self, found: &Metadata) -> Option<PathBuf> {
        let key = (found.dev(), found.ino());
        let (first, left) = self.first.get_mut(&key)?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Some(first.clone());
        }
        let (first, _) = self.first.remove(&key)?;
        self.memory = self.memory.saturating_add(Self::cost(&first));
        Some(first)
    }

    /// Notes the first copy of a file, `from`, that has more links.
    fn note(&mut self, from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
        let left = self.memory.checked_sub(Self::cost(to)).ok_or_else(|| {
            let what = format!(
                "too many files have links elsewhere (hard links): {} would be the {}th to keep in mind",
                from.display(),
                self.first.len().saturating_add(1)
            );
            io::Error::new(io::ErrorKind::QuotaExceeded, what)
        })?;
        self.memory = left;
        let links = found.nlink().saturating_sub(1);
        let copy = (to.to_owned(), links);
        self.first.insert((found.dev(), found.ino()), copy);
        Ok(())
    }
}

/// Copies one entry of any kind.
fn copy(from: &Path, to: &Path, links: &mut Links) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    let kind = found.file_type();
    if !kind.is_dir() && found.nlink() > 1 {
        if let Some(first) = links.earlier(&found) {
            return fs::hard_link(first, to);
        }
        links.note(from, to, &found)?;
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

    /// A hundred files with two links each: apart in one folder each, or next to each other.
    fn linked(from: &Path, apart: bool) {
        fs::create_dir(from.join("a")).unwrap();
        fs::create_dir(from.join("b")).unwrap();
        for n in 0..100 {
            let (first, second) = if apart {
                (from.join(format!("a/{n}")), from.join(format!("b/{n}")))
            } else {
                let folder = from.join(format!("a/{n}"));
                fs::create_dir(&folder).unwrap();
                (folder.join("x"), folder.join("y"))
            };
            fs::write(&first, n.to_string()).unwrap();
            fs::hard_link(&first, &second).unwrap();
        }
    }

    #[test]
    fn links_take_memory_only_until_the_last_of_them_was_seen() {
        let (_folder, from, to) = tree();
        linked(&from, false);
        let memory = 2 * Links::cost(&to.join("a/99/x"));
        move_within(&from, &to, memory).unwrap();
        for n in 0..100 {
            let (x, y) = (to.join(format!("a/{n}/x")), to.join(format!("a/{n}/y")));
            let (x, y) = (fs::metadata(x).unwrap(), fs::metadata(y).unwrap());
            assert_eq!((x.ino(), x.nlink()), (y.ino(), 2));
        }
    }

    #[test]
    fn more_links_than_are_kept_in_mind_are_an_error_that_names_the_file() {
        let (_folder, from, to) = tree();
        linked(&from, true);
        let memory = 50 * Links::cost(&to.join("a/99"));
        let error = move_within(&from, &to, memory).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        let text = error.to_string();
        let named = from.display().to_string();
        assert!(
            text.contains(&named) && text.ends_with(" to keep in mind"),
            "{text}"
        );
        let left = fs::read_dir(from.join("a")).unwrap().count();
        assert_eq!(left, 100, "what was to be moved is complete");
    }

    #[test]
    fn a_link_outside_of_what_is_moved_is_never_seen_and_the_others_are_one_file() {
        let (folder, from, to) = tree();
        fs::write(from.join("a"), "text").unwrap();
        fs::hard_link(from.join("a"), from.join("b")).unwrap();
        fs::hard_link(from.join("a"), folder.path().join("outside")).unwrap();
        move_content(&from, &to).unwrap();
        let (a, b) = (to.join("a"), to.join("b"));
        let (a, b) = (fs::metadata(a).unwrap(), fs::metadata(b).unwrap());
        assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
        assert_eq!(fs::read(folder.path().join("outside")).unwrap(), b"text");
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
