//! Reads and writes files of an installed system that is not running, below one folder and never outside it.
//!
//! An image is not trusted to keep its symbolic links to itself: every path is resolved as if the folder were the root
//! (`crate::resolve`), so that `/etc -> ../../etc` or `/boot -> /mnt` leads where it would lead in the installed
//! system, and not into ours. Writing is atomic and flushed: a new file takes the old one's name.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd::{self, UnlinkatFlags};

use crate::resolve;

/// The root folder of an installed system.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

/// Kind of the entry at a path, symbolic links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A device, a socket, a pipe.
    Other,
}

/// Maximum length in bytes of a file that [`Tree::read`] takes.
const LONGEST: u64 = 16 << 20;

impl Tree {
    /// The tree below `root`, which must exist.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
        Ok(Self {
            root: fcntl::open(root, flags, Mode::empty())?,
        })
    }

    fn resolve(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        resolve::open(&self.root, path, flags)
    }

    /// Path in the running system of the folder at `path`: without links, below the root.
    pub fn real_path(&self, path: &str) -> io::Result<PathBuf> {
        let found = self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// Like [`Self::real_path`] for a file.
    pub fn real_file(&self, path: &str) -> io::Result<PathBuf> {
        let found = self.resolve(path, OFlag::O_PATH)?;
        std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    /// Kind of the entry at `path`; `None` where there is none, or a dangling link.
    pub(crate) fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let found = match self.resolve(path, OFlag::O_PATH) {
            Ok(found) => found,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mode = SFlag::from_bits_truncate(stat::fstat(&found)?.st_mode) & SFlag::S_IFMT;
        Ok(Some(match mode {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Folder,
            _ => Kind::Other,
        }))
    }

    /// Whether a regular file is at `path`.
    pub fn is_file(&self, path: &str) -> io::Result<bool> {
        Ok(self.kind(path)? == Some(Kind::File))
    }

    /// Whether a folder is at `path`.
    pub fn is_folder(&self, path: &str) -> io::Result<bool> {
        Ok(self.kind(path)? == Some(Kind::Folder))
    }

    /// Content of a file; `None` where it does not exist. Bytes that are not UTF-8 are replaced.
    pub fn read(&self, path: &str) -> io::Result<Option<String>> {
        if self.kind(path)? != Some(Kind::File) {
            return Ok(None);
        }
        let file = File::from(self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The length of the file at `path`, links followed.
    pub fn length(&self, path: &str) -> io::Result<u64> {
        let found = self.resolve(path, OFlag::O_PATH)?;
        Ok(u64::try_from(stat::fstat(&found)?.st_size).unwrap_or_default())
    }

    /// The names in a folder, sorted; empty where it does not exist.
    pub fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let found = match self.resolve(folder, OFlag::O_DIRECTORY | OFlag::O_RDONLY) {
            Ok(found) => found,
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/self/fd/{}", found.as_raw_fd()))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Makes a folder and its parents; existing ones keep owner and mode.
    pub fn make_folder(&self, path: &str, mode: u32) -> io::Result<()> {
        self.folder(path, mode).map(drop)
    }

    fn folder(&self, path: &str, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
        match self.resolve(path, flags) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            done => return done,
        }
        let (above, name) = split(path)?;
        let parent = self.folder(above, mode)?;
        match stat::mkdirat(&parent, name, Mode::from_bits_truncate(mode)) {
            Ok(()) => stat::fchmodat(
                &parent,
                name,
                Mode::from_bits_truncate(mode),
                stat::FchmodatFlags::FollowSymlink,
            )?,
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        File::from(parent).sync_all()?;
        self.resolve(path, flags)
    }

    /// Writes a file atomically: to a temporary name, flushed, then renamed. Parent folders are made. A symbolic link
    /// of that name is replaced, not followed.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
        let (above, name) = split(path)?;
        let folder = self.folder(above, 0o755)?;
        put(&folder, name, content.as_ref(), mode, true)?;
        File::from(folder).sync_all()
    }

    /// Copies those regular files of `from`, a folder of the running system, that `chosen` accepts into a folder of the
    /// tree, then flushes its filesystem. Returns their number.
    pub fn copy_in(
        &self,
        from: &Path,
        to: &str,
        chosen: impl Fn(&str) -> bool,
    ) -> io::Result<usize> {
        let folder = self.folder(to, 0o755)?;
        let mut copied = 0_usize;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if chosen(&name) && std::fs::metadata(entry.path())?.is_file() {
                put(&folder, &name, &std::fs::read(entry.path())?, 0o644, false)?;
                copied = copied.saturating_add(1);
            }
        }
        Ok(unistd::syncfs(&folder).map(|()| copied)?)
    }

    /// Makes a symbolic link; an existing entry stays.
    pub fn link(&self, path: &str, to: &str) -> io::Result<()> {
        let (above, name) = split(path)?;
        let folder = self.folder(above, 0o755)?;
        match unistd::symlinkat(to, &folder, name) {
            Ok(()) => File::from(folder).sync_all(),
            Err(Errno::EEXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file or a link (not its target). Returns whether there was one.
    pub fn remove(&self, path: &str) -> io::Result<bool> {
        let (above, name) = split(path)?;
        let folder = match self.resolve(above, OFlag::O_DIRECTORY | OFlag::O_RDONLY) {
            Ok(folder) => folder,
            Err(error) if is_absence(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        match unistd::unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => File::from(folder).sync_all().map(|()| true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes `name` in an open folder: to a temporary name first, then renamed.
fn put(folder: &OwnedFd, name: &str, content: &[u8], mode: u32, flush: bool) -> io::Result<()> {
    let passing = format!(".{name}.new");
    // left by an interrupted run or part of the image, and possibly a link: not to be written through
    match unistd::unlinkat(folder, passing.as_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode);
    let mut file = File::from(fcntl::openat(folder, passing.as_str(), flags, mode)?);
    let written = file
        .write_all(content)
        .and_then(|()| stat::fchmod(&file, mode).map_err(io::Error::from))
        .and_then(|()| if flush { file.sync_all() } else { Ok(()) })
        .and_then(|()| Ok(fcntl::renameat(folder, passing.as_str(), folder, name)?));
    if written.is_err() {
        // the first error is the one that matters
        let _ = unistd::unlinkat(folder, passing.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}

/// Folder and last name of a path.
fn split(path: &str) -> io::Result<(&str, &str)> {
    let path = path.trim_matches('/');
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.is_empty() || name == "." || name == ".." {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{path}` names no file"),
        ));
    }
    Ok((above, name))
}

/// Whether the error means that the path does not exist: no entry, or a component that is not a folder.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let tree = Tree::open(&folder.path().join("root")).unwrap();
        (folder, tree)
    }

    #[test]
    fn what_is_written_is_read() {
        let (folder, tree) = tree();
        let root = folder.path().join("root");
        tree.write("/etc/network/hostname", "node-1\n", 0o600)
            .unwrap();
        tree.write("etc/network/hostname", "node-2\n", 0o644)
            .unwrap();
        assert_eq!(
            tree.read("/etc/network/hostname").unwrap().as_deref(),
            Some("node-2\n")
        );
        assert_eq!(tree.list("etc/network").unwrap(), ["hostname"]);
        assert_eq!(tree.length("etc/network/hostname").unwrap(), 7);
        let path = root.join("etc/network/hostname");
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o7777,
            0o644
        );
        assert!(tree.remove("etc/network/hostname").unwrap());
        assert!(!tree.remove("etc/network/hostname").unwrap());
        assert!(!tree.remove("nowhere/at/all").unwrap());
        assert_eq!(tree.read("etc/network/hostname").unwrap(), None);
    }

    #[test]
    fn links_out_of_the_tree_lead_back_into_it() {
        let (folder, tree) = tree();
        let root = folder.path().join("root");
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("victim"), "untouched").unwrap();
        for (name, to) in [
            ("up", "../outside"),
            ("absolute", outside.to_str().unwrap()),
            ("far", "../../../../../../../../.."),
        ] {
            symlink(to, root.join(name)).unwrap();
        }
        assert!(
            tree.write("up/victim", "x", 0o644).is_err(),
            "the link leads nowhere in the tree"
        );
        tree.write("far/victim", "x", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("victim")).unwrap(), "x");
        assert_eq!(tree.kind("absolute/victim").unwrap(), None);
        assert_eq!(tree.list("up").unwrap(), Vec::<String>::new());
        tree.write("../../escaped", "x", 0o644).unwrap();
        assert!(root.join("escaped").is_file());
        assert_eq!(
            std::fs::read_to_string(outside.join("victim")).unwrap(),
            "untouched"
        );
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_link_of_the_same_name_is_replaced_not_followed() {
        let (folder, tree) = tree();
        let root = folder.path().join("root");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        symlink(&victim, root.join("fstab")).unwrap();
        symlink(&victim, root.join(".fstab.new")).unwrap();
        tree.write("fstab", "mine", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(tree.read("fstab").unwrap().as_deref(), Some("mine"));
        assert_eq!(tree.list("").unwrap(), ["fstab"]);
    }

    #[test]
    fn folders_are_copied_flat_and_counted() {
        let (folder, tree) = tree();
        let from = folder.path().join("modules");
        std::fs::create_dir_all(from.join("deeper.mod")).unwrap();
        for name in ["lvm.mod", "moddep.lst", "kernel.img"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        let copied = tree
            .copy_in(&from, "boot/grub/i386-pc", |name| !name.ends_with("img"))
            .unwrap();
        assert_eq!(copied, 2);
        assert_eq!(
            tree.list("boot/grub/i386-pc").unwrap(),
            ["lvm.mod", "moddep.lst"]
        );
    }

    #[test]
    fn kinds_follow_links() {
        let (_folder, tree) = tree();
        tree.write("usr/lib/os-release", "ID=debian\n", 0o644)
            .unwrap();
        tree.make_folder("etc", 0o755).unwrap();
        tree.link("etc/os-release", "../usr/lib/os-release")
            .unwrap();
        tree.link("etc/os-release", "/elsewhere").unwrap();
        tree.link("gone", "/nowhere").unwrap();
        assert_eq!(tree.kind("etc/os-release").unwrap(), Some(Kind::File));
        assert_eq!(tree.kind("etc").unwrap(), Some(Kind::Folder));
        assert_eq!(tree.kind("gone").unwrap(), None);
        assert_eq!(tree.kind("etc/os-release/x").unwrap(), None);
        assert!(tree.is_file("etc/os-release").unwrap() && tree.is_folder("usr").unwrap());
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let (_folder, tree) = tree();
        for path in ["", "/", ".", "..", "etc/.."] {
            assert!(tree.write(path, "x", 0o644).is_err(), "{path}");
        }
    }
}
